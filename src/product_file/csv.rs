//! Records of CSV (RFC 4180) out of bytes as they come, and what to do when they are none.
//!
//! The usual readers take whatever follows an opened quotation mark for its field, to the end of the file
//! if need be, and keep a record of any length in memory. Here a record has at most [`RECORD_BYTES_MAX`];
//! of one that is longer, or whose quotes do not fit, the first line is given up and reading goes on
//! with the next line. Each byte is looked at no more than a few times, whatever the file holds: between
//! a mark that opens and the end of its broken field there is no other mark that could open one.

use std::borrow::Cow;

/// The longest record, in bytes, line breaks within it included.
pub(super) const RECORD_BYTES_MAX: usize = 1 << 20;

/// Where reading is within a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the beginning of a field.
    Begin,
    /// In a field without quotation marks; a mark in it is a character.
    Plain,
    /// Between quotation marks.
    Quoted,
    /// Behind a mark that closes, or is the first of two.
    Mark,
    /// Behind a field in marks.
    Closed,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A record, which the reader shows.
    Record,
    /// A line that is no record, for the reason given.
    Broken { line: i64, field: usize, what: String },
    /// Nothing before more bytes have come; after the last ones, the end.
    Wait,
}

/// A field of the record that was read last.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: usize,
    end: usize,
    /// Whether there are marks that stand for one.
    has_pairs: bool,
}

/// Reads records.
#[derive(Debug)]
pub(super) struct Records {
    buffer: Vec<u8>,
    /// Where the record begins, and how far it has been looked at.
    start: usize,
    at: usize,
    state: State,
    /// Fields of the record, as many as are kept.
    fields: Vec<Field>,
    /// The most fields that are kept; the others are counted.
    kept_max: usize,
    count: usize,
    field: Field,
    /// The line of the record, from 1, and the line breaks in it.
    line: i64,
    breaks: i64,
    /// Where the record ends, once it is complete.
    end: Option<usize>,
    /// Whether the rest of the line is given up.
    is_skipping: bool,
    is_last: bool,
}

impl Records {
    /// A reader that keeps the first `kept_max` fields of a record.
    pub(super) fn new(kept_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            at: 0,
            state: State::Begin,
            fields: Vec::new(),
            kept_max,
            count: 0,
            field: Field { start: 0, end: 0, has_pairs: false },
            line: 1,
            breaks: 0,
            end: None,
            is_skipping: false,
            is_last: false,
        }
    }

    /// More bytes have come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.consume();
        self.forget(self.start);
        self.buffer.extend_from_slice(bytes);
    }

    /// No more bytes will come.
    pub(super) fn finish(&mut self) {
        self.is_last = true;
    }

    /// The line on which the record begins.
    pub(super) fn line(&self) -> i64 {
        self.line
    }

    /// How many fields the record has, those that are not kept included.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A field of the record, its marks taken off and surrounding blanks with them.
    pub(super) fn field(&self, at: usize) -> &[u8] {
        self.fields.get(at).map_or(&[], |field| self.buffer[field.start..field.end].trim_ascii())
    }

    /// Whether marks in the field stand for one each.
    pub(super) fn has_pairs(&self, at: usize) -> bool {
        self.fields.get(at).is_some_and(|field| field.has_pairs)
    }

    /// Reads on to the next record.
    pub(super) fn step(&mut self) -> Step {
        loop {
            self.consume();
            if self.is_skipping && !self.skip() {
                return Step::Wait;
            }
            match self.scan() {
                Ok(false) => return Step::Wait,
                Ok(true) if self.is_blank() => {}
                Ok(true) => return Step::Record,
                Err(what) => {
                    let broken = Step::Broken { line: self.line, field: self.count, what };
                    self.give_line_up();
                    return broken;
                }
            }
        }
    }

    /// Gives back the memory of what has been read: the first so many bytes.
    fn forget(&mut self, read: usize) {
        self.buffer.drain(..read);
        self.start -= read;
        self.at -= read;
        for field in self.fields.iter_mut().chain([&mut self.field]) {
            field.start -= read;
            field.end -= read;
        }
    }

    /// Goes behind the record that was shown.
    fn consume(&mut self) {
        if let Some(end) = self.end.take() {
            self.line += self.breaks + 1;
            self.begin(end);
        }
    }

    fn begin(&mut self, at: usize) {
        (self.start, self.at, self.state) = (at, at, State::Begin);
        self.fields.clear();
        (self.count, self.breaks) = (0, 0);
        self.field = Field { start: at, end: at, has_pairs: false };
    }

    /// Whether the line that was read holds nothing.
    fn is_blank(&self) -> bool {
        self.count == 1 && self.field(0).is_empty() && !self.buffer[self.start..self.at].contains(&b'"')
    }

    /// Gives up the line on which the record begins.
    fn give_line_up(&mut self) {
        self.begin(self.start);
        self.is_skipping = true;
    }

    /// Drops bytes up to the end of the line; `false` when it has not come yet.
    fn skip(&mut self) -> bool {
        match self.buffer[self.start..].iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                self.line += 1;
                self.is_skipping = false;
                self.begin(self.start + at + 1);
                true
            }
            None => {
                self.buffer.clear();
                self.begin(0);
                false
            }
        }
    }

    /// Looks at bytes up to the end of the record; `false` when it has not come yet.
    fn scan(&mut self) -> Result<bool, String> {
        while let Some(byte) = self.buffer.get(self.at).copied() {
            if self.at - self.start >= RECORD_BYTES_MAX {
                return Err(self.too_long());
            }
            let at = self.at;
            self.at += 1;
            match (self.state, byte) {
                (State::Begin | State::Plain, b',') => self.end_field(at),
                (State::Begin | State::Plain, b'\n') => return Ok(self.end_record(at)),
                (State::Begin, b'"') => (self.state, self.field.start) = (State::Quoted, at + 1),
                (State::Begin, _) => self.state = State::Plain,
                (State::Plain, _) => {}
                (State::Quoted, b'"') => (self.state, self.field.end) = (State::Mark, at),
                (State::Quoted, b'\n') => self.breaks += 1,
                (State::Quoted, _) => {}
                (State::Mark, b'"') => (self.state, self.field.has_pairs) = (State::Quoted, true),
                (State::Mark | State::Closed, b',') => self.end_field(self.field.end),
                (State::Mark | State::Closed, b'\n') => return Ok(self.end_record(self.field.end)),
                (State::Mark | State::Closed, b' ' | b'\t' | b'\r') => self.state = State::Closed,
                (State::Mark | State::Closed, _) => {
                    return Err("there is text behind a closing quotation mark".to_owned());
                }
            }
        }
        if !self.is_last || self.at == self.start {
            return Ok(false);
        }
        match self.state {
            State::Quoted => Err("a quotation mark is opened and never closed".to_owned()),
            State::Begin | State::Plain => Ok(self.end_record(self.at)),
            State::Mark | State::Closed => Ok(self.end_record(self.field.end)),
        }
    }

    fn too_long(&self) -> String {
        match self.state {
            State::Quoted if self.breaks > 0 => {
                format!("a quotation mark is opened and not closed within {RECORD_BYTES_MAX} bytes")
            }
            _ => format!("the row is longer than {RECORD_BYTES_MAX} bytes"),
        }
    }

    fn end_field(&mut self, end: usize) {
        self.count += 1;
        if self.fields.len() < self.kept_max {
            self.fields.push(Field { end, ..self.field });
        }
        self.state = State::Begin;
        self.field = Field { start: self.at, end: self.at, has_pairs: false };
    }

    fn end_record(&mut self, end: usize) -> bool {
        self.end_field(end);
        self.end = Some(self.at);
        true
    }
}

/// A field's text with each pair of marks made one.
pub(super) fn single_marks(text: &str, has_pairs: bool) -> Cow<'_, str> {
    if has_pairs { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a file reads as: by line, the fields or the reason against them; in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Vec<(i64, Result<Vec<String>, String>)> {
        let mut records = Records::new(10);
        let mut told = Vec::new();
        let mut drain = |records: &mut Records| loop {
            match records.step() {
                Step::Record => {
                    let field = |at| {
                        let text = String::from_utf8_lossy(records.field(at)).into_owned();
                        single_marks(&text, records.has_pairs(at)).into_owned()
                    };
                    told.push((records.line(), Ok((0..records.count().min(10)).map(field).collect())));
                }
                Step::Broken { line, what, .. } => told.push((line, Err(what))),
                Step::Wait => return,
            }
        };
        for piece in bytes.chunks(piece) {
            records.push(piece);
            drain(&mut records);
            assert!(records.buffer.len() <= RECORD_BYTES_MAX + 2 * piece.len());
        }
        records.finish();
        drain(&mut records);
        told
    }

    fn fields(text: &str) -> Vec<(i64, Result<Vec<String>, String>)> {
        let whole = read(text.as_bytes(), usize::MAX);
        for piece in [1, 2, 3, 7] {
            assert_eq!(read(text.as_bytes(), piece), whole, "in pieces of {piece}");
        }
        whole
    }

    fn record(line: i64, fields: &[&str]) -> (i64, Result<Vec<String>, String>) {
        (line, Ok(fields.iter().map(|field| (*field).to_owned()).collect()))
    }

    #[test]
    fn records_as_the_standard_has_them() {
        let text = "a, b ,c\r\n\"x, y\",\"say \"\"hi\"\"\",\"two\nlines\"\n\n  \r\n,,\n\"\",5\" nail,z";
        let told = fields(text);
        let expected = [
            record(1, &["a", "b", "c"]),
            record(2, &["x, y", "say \"hi\"", "two\nlines"]),
            record(6, &["", "", ""]),
            record(7, &["", "5\" nail", "z"]),
        ];
        assert_eq!(told, expected);
        assert_eq!(fields(""), []);
        assert_eq!(fields("\n\n"), []);
        assert_eq!(fields("a\n\"\"\n"), [record(1, &["a"]), record(2, &[""])]);
    }

    #[test]
    fn a_broken_row_costs_its_own_line_alone() {
        let told = fields("a,\"b\" c\nd,\"e\nf,g\nh,\"i\"\n");
        assert_eq!(told[0].1, Err("there is text behind a closing quotation mark".to_owned()));
        // From d on, the mark before i closes.
        assert_eq!(told[1].1, Err("there is text behind a closing quotation mark".to_owned()));
        assert_eq!(told[2..], [record(3, &["f", "g"]), record(4, &["h", "i"])]);
        let told = fields("a,\"b\nc,d\n");
        assert_eq!(told[0], (1, Err("a quotation mark is opened and never closed".to_owned())));
        assert_eq!(told[1..], [record(2, &["c", "d"])]);
    }

    #[test]
    fn a_record_without_end_is_given_up_in_constant_memory() {
        let long = "x".repeat(3 * RECORD_BYTES_MAX);
        for text in [format!("{long}\na,b\n"), format!("\"{long}\na,b\n"), format!("1,\"{long}\"\na,b\n")] {
            let told = read(text.as_bytes(), 4096);
            assert!(told[0].1.as_ref().is_err_and(|what| what.contains("longer than 1048576")), "{told:?}");
            assert_eq!(told[1..], [record(2, &["a", "b"])]);
        }
        let lines = "line,\n".repeat(RECORD_BYTES_MAX / 4);
        let told = read(format!("a,\"\n{lines}").as_bytes(), 4096);
        assert_eq!(told.len(), 1 + RECORD_BYTES_MAX / 4);
        assert!(told[0].1.as_ref().is_err_and(|what| what.contains("not closed within")), "{:?}", told[0]);
        assert_eq!(told.last(), Some(&record(RECORD_BYTES_MAX as i64 / 4 + 1, &["line", ""])));
    }

    #[test]
    fn a_million_columns_are_counted_and_not_kept() {
        let mut records = Records::new(10);
        records.push(",".repeat(999_999).as_bytes());
        records.push(b"\n");
        assert_eq!(records.step(), Step::Record);
        assert_eq!((records.count(), records.fields.len()), (1_000_000, 10));
    }

    proptest! {
        #[test]
        fn what_another_writer_wrote_is_read_back(
            rows in prop::collection::vec(prop::collection::vec("[a\", \n\r\té]{0,6}", 2..5), 0..6),
            piece in 1_usize..9,
        ) {
            let mut writer = ::csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let trimmed = |text: &String| text.trim_matches([' ', '\t', '\r', '\n']).to_owned();
            let expected: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(trimmed).collect()).collect();
            let told: Vec<Vec<String>> = read(&bytes, piece).into_iter().map(|(_, row)| row.unwrap()).collect();
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn any_bytes_are_read_alike_in_any_pieces(bytes in "[a\",\n]{0,40}", piece in 1_usize..9) {
            prop_assert_eq!(read(bytes.as_bytes(), piece), read(bytes.as_bytes(), usize::MAX));
        }
    }
}
