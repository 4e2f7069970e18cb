//! Objects out of bytes as they come, one a line.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::row::{COLUMNS, Cell, Cells, column};

/// The longest line, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// How much of a name that is no column's is shown, in characters.
const NAME_CHARS_MAX: usize = 40;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A line, which the reader shows.
    Line,
    /// A line that is too long.
    TooLong { line: i64 },
    /// Nothing before more bytes have come; after the last ones, the end.
    Wait,
}

/// Reads lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where the line begins, how far it has been looked at, and where it ends once that is known.
    start: usize,
    at: usize,
    end: Option<usize>,
    /// Lines before it.
    before: i64,
    is_skipping: bool,
    is_last: bool,
}

impl Lines {
    /// More bytes have come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.consume();
        self.buffer.drain(..self.start);
        self.at -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// No more bytes will come.
    pub(super) fn finish(&mut self) {
        self.is_last = true;
    }

    /// The number of the line that was read, from 1.
    pub(super) fn line(&self) -> i64 {
        self.before + 1
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end.unwrap_or(self.start)]
    }

    /// Reads on to the next line that holds anything.
    pub(super) fn step(&mut self) -> Step {
        loop {
            self.consume();
            let length = self.buffer[self.at..].iter().position(|byte| *byte == b'\n');
            self.at = length.map_or(self.buffer.len(), |length| self.at + length);
            if self.is_skipping && length.is_none() {
                self.buffer.clear();
                (self.start, self.at) = (0, 0);
                return Step::Wait;
            }
            if !std::mem::take(&mut self.is_skipping) {
                if self.at - self.start > LINE_BYTES_MAX {
                    self.is_skipping = true;
                    return Step::TooLong { line: self.line() };
                }
                if length.is_none() && (!self.is_last || self.at == self.start) {
                    return Step::Wait;
                }
                self.end = Some(self.at);
                if !self.bytes().trim_ascii().is_empty() {
                    return Step::Line;
                }
            }
            self.end = Some(self.at);
        }
    }

    /// Goes behind the line that was shown.
    fn consume(&mut self) {
        if let Some(end) = self.end.take() {
            self.before += 1;
            self.start = (end + 1).min(self.buffer.len());
            self.at = self.start;
        }
    }
}

/// The cells of a line, or what is wrong with it, and in which column.
pub(super) fn cells(line: &[u8]) -> Result<Cells<'static>, (Option<String>, String)> {
    match serde_json::from_slice(line) {
        Ok(Members(members)) => members.map_err(|(name, what)| (Some(name), what)),
        Err(error) if error.is_data() => Err((None, "it is JSON, but no object".to_owned())),
        Err(error) => Err((None, format!("it is no JSON: {error}"))),
    }
}

/// The members of an object as cells, or the name of one that cannot be.
struct Members(Result<Cells<'static>, (String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
        let mut cells = Cells::default();
        let mut wrong = None;
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            let name: String =
                if column(&name).is_some() { name } else { name.chars().take(NAME_CHARS_MAX).collect() };
            let Some(place) = column(&name) else {
                let what = format!("there is no such column; the columns are {}", COLUMNS.join(", "));
                wrong.get_or_insert((name, what));
                continue;
            };
            if cells[place] != Cell::Absent {
                wrong.get_or_insert((name, "it is there twice".to_owned()));
            }
            cells[place] = match value {
                Value::Null => Cell::Null,
                Value::String(text) => Cell::Text(text.into()),
                Value::Number(number) => Cell::Number(number.to_string()),
                Value::Bool(_) | Value::Array(_) | Value::Object(_) => Cell::Other,
            };
        }
        Ok(Members(wrong.map_or(Ok(cells), Err)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Vec<(i64, Option<String>)> {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        let mut drain = |lines: &mut Lines| loop {
            match lines.step() {
                Step::Line => {
                    told.push((lines.line(), Some(String::from_utf8_lossy(lines.bytes()).into_owned())));
                }
                Step::TooLong { line } => told.push((line, None)),
                Step::Wait => return,
            }
        };
        for piece in bytes.chunks(piece) {
            lines.push(piece);
            drain(&mut lines);
        }
        lines.finish();
        drain(&mut lines);
        told
    }

    #[test]
    fn lines_are_counted_blank_ones_too() {
        let text = b"a\n\n  \r\nbc\nd";
        let told = |line, text: &str| (line, Some(text.to_owned()));
        for piece in [1, 2, 3, 100] {
            assert_eq!(read(text, piece), [told(1, "a"), told(4, "bc"), told(5, "d")], "{piece}");
        }
        assert_eq!(read(b"", 1), []);
        assert_eq!(read(b"a\n", 1), [told(1, "a")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let long = "x".repeat(3 * LINE_BYTES_MAX);
        for piece in [4096, 1 << 21, usize::MAX] {
            let told = read(format!("a\n{long}\nb\n{long}").as_bytes(), piece);
            let expected = [(1, Some("a".to_owned())), (2, None), (3, Some("b".to_owned())), (4, None)];
            assert_eq!(told, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn only_objects_with_known_members_are_rows() {
        assert!(cells(br#"{"sku":"A","stock":7,"price":1.50,"description":null}"#).is_ok());
        for (line, column) in [
            (&b"[]"[..], None),
            (b"7", None),
            (b"{", None),
            (b"sku,name", None),
            (b"{\"sku\":\"\xff\"}", None),
            (br#"{"colour":"red"}"#, Some("colour")),
            (br#"{"sku":"A","sku":"B"}"#, Some("sku")),
        ] {
            let (named, what) = cells(line).err().unwrap();
            assert_eq!(named.as_deref(), column, "{what}");
        }
        let deep = format!("{{\"sku\":{}", "[".repeat(100_000));
        assert!(cells(deep.as_bytes()).is_err());
    }
}
