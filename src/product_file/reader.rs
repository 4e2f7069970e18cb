//! Rows out of a file as it comes.

use std::borrow::Cow;

use emporium_actors::import::{FAULTS_MAX, ImportRow, RowFault};

use super::row::{self, COLUMNS, Cell, Cells, check};
use super::{Format, csv, ndjson};

/// The most columns of a file.
const COLUMNS_MAX: usize = 100;
/// What spreadsheets put before the text, and what they do where it is not UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const OTHER_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
/// Columns whose empty cell in CSV says nothing; in the others there must be something.
const MAY_BE_EMPTY: [&str; 3] = ["description", "stock", "stock_delta"];

/// What reading gave.
#[derive(Debug, Default)]
pub(crate) struct Yield {
    /// Rows to be taken away.
    pub(crate) rows: Vec<ImportRow>,
    /// What is wrong with the others: the first [`FAULTS_MAX`].
    pub(crate) faults: Vec<RowFault>,
    /// How many rows are refused.
    pub(crate) refused: i64,
}

impl Yield {
    fn refuse(&mut self, faults: impl IntoIterator<Item = RowFault>) {
        self.refused += 1;
        let room = FAULTS_MAX.saturating_sub(self.faults.len());
        self.faults.extend(faults.into_iter().take(room));
    }

    fn refuse_whole(&mut self, line: i64, column: Option<Cow<'static, str>>, what: String) {
        self.refuse([RowFault { line, column, what }]);
    }
}

/// Reads rows.
#[derive(Debug)]
pub(super) struct Reader {
    /// The first bytes, until it is known how the file begins.
    beginning: Option<Vec<u8>>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    Csv(csv::Records, Option<Header>),
    Ndjson(ndjson::Lines),
}

impl Reader {
    pub(super) fn new(format: Format) -> Self {
        let rows = match format {
            Format::Csv => Rows::Csv(csv::Records::new(COLUMNS_MAX), None),
            Format::Ndjson => Rows::Ndjson(ndjson::Lines::default()),
        };
        Self { beginning: Some(Vec::new()), rows }
    }

    /// More bytes have come. An error is of the whole file, and nothing is to be read after it.
    pub(super) fn push(&mut self, bytes: &[u8], found: &mut Yield) -> Result<(), String> {
        match &mut self.beginning {
            None => self.read(bytes, found),
            Some(beginning) => {
                beginning.extend_from_slice(bytes);
                if beginning.len() < BYTE_ORDER_MARK.len() { Ok(()) } else { self.begin(found) }
            }
        }
    }

    /// No more bytes will come.
    pub(super) fn finish(&mut self, found: &mut Yield) -> Result<(), String> {
        self.begin(found)?;
        match &mut self.rows {
            Rows::Csv(records, _) => records.finish(),
            Rows::Ndjson(lines) => lines.finish(),
        }
        self.read(&[], found)?;
        match &self.rows {
            Rows::Csv(_, None) => Err("it is empty; the first line names the columns".to_owned()),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, found: &mut Yield) -> Result<(), String> {
        let Some(beginning) = self.beginning.take() else { return Ok(()) };
        if OTHER_MARKS.iter().any(|mark| beginning.starts_with(mark)) {
            return Err("it is UTF-16; save it as UTF-8".to_owned());
        }
        self.read(beginning.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&beginning), found)
    }

    fn read(&mut self, bytes: &[u8], found: &mut Yield) -> Result<(), String> {
        match &mut self.rows {
            Rows::Csv(records, header) => {
                records.push(bytes);
                read_records(records, header, found)
            }
            Rows::Ndjson(lines) => {
                lines.push(bytes);
                read_lines(lines, found);
                Ok(())
            }
        }
    }
}

fn read_records(
    records: &mut csv::Records,
    header: &mut Option<Header>,
    found: &mut Yield,
) -> Result<(), String> {
    loop {
        match (records.step(), &header) {
            (csv::Step::Wait, _) => return Ok(()),
            (csv::Step::Record, Some(header)) => header.row(records, found),
            (csv::Step::Record, None) => *header = Some(Header::of(records)?),
            (csv::Step::Broken { line, what, .. }, None) => return Err(format!("line {line}: {what}")),
            (csv::Step::Broken { line, field, what }, Some(header)) => {
                found.refuse_whole(line, header.name(field), what);
            }
        }
    }
}

fn read_lines(lines: &mut ndjson::Lines, found: &mut Yield) {
    loop {
        match lines.step() {
            ndjson::Step::Wait => return,
            ndjson::Step::TooLong { line } => {
                let what = format!("the line is longer than {} bytes", ndjson::LINE_BYTES_MAX);
                found.refuse_whole(line, None, what);
            }
            ndjson::Step::Line => match ndjson::cells(lines.bytes()) {
                Ok(cells) => add(lines.line(), &cells, found),
                Err((column, what)) => found.refuse_whole(lines.line(), column.map(Cow::Owned), what),
            },
        }
    }
}

fn add(line: i64, cells: &Cells<'_>, found: &mut Yield) {
    let mut faults = Vec::new();
    match check(line, cells, &mut faults) {
        Some(row) => found.rows.push(row),
        None => found.refuse(faults),
    }
}

/// Which column of ours each column of the file is.
#[derive(Debug)]
struct Header {
    columns: Vec<usize>,
}

impl Header {
    fn of(records: &csv::Records) -> Result<Self, String> {
        let refuse = |what: String| Err(format!("line {}: {what}", records.line()));
        if records.count() > COLUMNS_MAX {
            return refuse(format!("it has {} columns; at most {COLUMNS_MAX} are allowed", records.count()));
        }
        let names: Vec<_> =
            (0..records.count()).map(|at| String::from_utf8_lossy(records.field(at))).collect();
        let (known, unknown): (Vec<_>, Vec<_>) =
            names.iter().map(|name| row::column(name).ok_or(name)).partition(Result::is_ok);
        if !unknown.is_empty() {
            let named: Vec<String> = unknown.into_iter().filter_map(Result::err).map(|n| shown(n)).collect();
            return refuse(format!(
                "there is no column {}; the columns are {}",
                named.join(", "),
                COLUMNS.join(", ")
            ));
        }
        let columns: Vec<usize> = known.into_iter().flatten().collect();
        if let Some(twice) =
            (0..COLUMNS.len()).find(|column| columns.iter().filter(|at| *at == column).count() > 1)
        {
            return refuse(format!("column {} is named twice", COLUMNS[twice]));
        }
        if !columns.contains(&0) {
            return refuse("column sku is missing, which products are known by".to_owned());
        }
        Ok(Self { columns })
    }

    /// The name of a column of the file.
    fn name(&self, field: usize) -> Option<Cow<'static, str>> {
        self.columns.get(field).map(|column| Cow::Borrowed(COLUMNS[*column]))
    }

    fn row(&self, records: &csv::Records, found: &mut Yield) {
        let line = records.line();
        if records.count() != self.columns.len() {
            let what = format!("{} fields, but the header has {}", records.count(), self.columns.len());
            return found.refuse_whole(line, None, what);
        }
        let mut cells = Cells::default();
        for (field, column) in self.columns.iter().enumerate() {
            let Ok(text) = std::str::from_utf8(records.field(field)) else {
                return found.refuse_whole(line, self.name(field), "it is not UTF-8".to_owned());
            };
            if !text.is_empty() || !MAY_BE_EMPTY.contains(&COLUMNS[*column]) {
                cells[*column] = Cell::Text(csv::single_marks(text, records.has_pairs(field)));
            }
        }
        add(line, &cells, found);
    }
}

/// A name of somebody's own, no longer than one cares to read.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(40).collect();
    if short.len() < name.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, bytes: &[u8]) -> Result<Yield, String> {
        let mut found = Yield::default();
        let mut reader = Reader::new(format);
        for piece in bytes.chunks(5) {
            reader.push(piece, &mut found)?;
        }
        reader.finish(&mut found)?;
        Ok(found)
    }

    fn faults(found: &Yield) -> Vec<(i64, &str)> {
        found.faults.iter().map(|fault| (fault.line, fault.column.as_deref().unwrap_or("-"))).collect()
    }

    #[test]
    fn columns_may_come_in_any_order_and_case_and_texts_hold_anything() {
        let text = "\u{feff}\"Price\",STOCK,category,name, sku\r\n0.85,860,\"Gifts, & more\",\"A \"\"globe\"\"\nof Ürs\",10002\r\n7,0,Gifts,B,x\r\n";
        let found = read(Format::Csv, text.as_bytes()).unwrap();
        assert_eq!(found.faults, []);
        let lines: Vec<i64> = found.rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 4]);
        assert_eq!(found.rows[0].name.as_deref(), Some("A \"globe\"\nof Ürs"));
        assert_eq!((found.rows[0].sku.as_str(), found.rows[1].sku.as_str()), ("10002", "x"));
    }

    #[test]
    fn bad_rows_are_named_and_counted_and_the_good_ones_read() {
        let text = b"sku,name,price,stock,stock_delta\n\
            a,A,1.5,1,\n\
            b,,1.999,-1,\n\
            c,C,1\n\
            d,D\xff,1,1,\n\
            e,\"E\"x,1,1,\n\
            f,F,1,,+3\n\
            g,\"G,1,,1\n";
        let found = read(Format::Csv, text).unwrap();
        let skus: Vec<&str> = found.rows.iter().map(|row| row.sku.as_str()).collect();
        assert_eq!(skus, ["a", "f"]);
        let named =
            [(3, "name"), (3, "price"), (3, "stock"), (4, "-"), (5, "name"), (6, "name"), (8, "name")];
        assert_eq!((faults(&found), found.refused), (named.to_vec(), 5));
    }

    #[test]
    fn a_file_without_usable_columns_is_refused_whole() {
        for (text, named) in [
            (&b""[..], "empty"),
            (b"name,price\n", "sku is missing"),
            (b"sku,SKU\n", "named twice"),
            (b"sku,colour,size\n", "\"colour\", \"size\""),
            (b"sku,\"name\n", "never closed"),
            (b"\xff\xfes\0k\0u\0", "UTF-16"),
            (b"\x1f\x8b\x08 garbage\n", "no column"),
        ] {
            let what = read(Format::Csv, text).err().unwrap();
            assert!(what.contains(named), "{what}");
        }
        let wide = format!("sku{}\n", ",name".repeat(200_000));
        assert!(read(Format::Csv, wide.as_bytes()).err().unwrap().contains("200001 columns"));
        let long = format!("sku,{}\n", "x".repeat(500));
        assert!(read(Format::Csv, long.as_bytes()).err().unwrap().len() < 250);
        assert!(read(Format::Csv, b"sku").unwrap().rows.is_empty());
    }

    #[test]
    fn objects_say_what_rows_say_and_null_besides() {
        let text = "{\"sku\":\"A\",\"description\":null,\"price\":1.50,\"stock\":7}\n\
                    \n\
                    {\"sku\":\"B\",\"stock_delta\":-3}\n\
                    {\"sku\":\"C\",\"colour\":\"red\"}\n\
                    [1]\n\
                    {\"sku\":null,\"name\":true}\n";
        let found = read(Format::Ndjson, text.as_bytes()).unwrap();
        let lines: Vec<i64> = found.rows.iter().map(|row| row.line).collect();
        assert_eq!((lines, found.rows[0].description.clone()), (vec![1, 3], Some(None)));
        assert_eq!(faults(&found), [(4, "colour"), (5, "-"), (6, "sku"), (6, "name")]);
        assert!(read(Format::Ndjson, b"").unwrap().rows.is_empty());
    }

    #[test]
    fn no_more_faults_are_told_than_anybody_reads() {
        let text = format!("sku,price\n{}", "x,-\n".repeat(FAULTS_MAX + 10));
        let found = read(Format::Csv, text.as_bytes()).unwrap();
        assert_eq!((found.faults.len(), found.refused), (FAULTS_MAX, FAULTS_MAX as i64 + 10));
    }
}
