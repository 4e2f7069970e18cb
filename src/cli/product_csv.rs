//! Products from CSV: every row checked before any is written.
//!
//! The header names `sku,name,description,category,price,stock` in any order; `description` may be
//! left out. Every mistake is found in one reading, with its line and column.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read;

use csv::{ByteRecord, ReaderBuilder, Trim};
use emporium_actors::catalog::{ImportRow, STOCK_MAX};
use emporium_actors::types::Money;

/// The most mistakes that are shown one by one.
const SHOWN_MAX: usize = 20;
/// The most rows in one file; they are held in memory until all have been checked.
const ROWS_MAX: usize = 5_000_000;
/// The longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 100_000;
const COLUMNS: [&str; 6] = ["sku", "name", "description", "category", "price", "stock"];
const OPTIONAL: &str = "description";

/// The mistakes of a file: the first few, and how many there are.
#[derive(Debug, Default)]
pub(super) struct Findings {
    shown: Vec<String>,
    count: usize,
}

impl Findings {
    fn add(&mut self, line: u64, column: &str, what: &str) {
        self.count += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(format!("line {line}, column {column}: {what}"));
        }
    }

    fn whole(what: String) -> Self {
        Self { shown: vec![what], count: 1 }
    }
}

impl std::fmt::Display for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown.join("\n"))?;
        match self.count - self.shown.len() {
            0 => Ok(()),
            more => write!(f, "\nand {more} more, {} in all", self.count),
        }
    }
}

/// Why a file gave no rows.
#[derive(Debug)]
pub(super) enum Rejection {
    /// It could not be read to its end.
    Unreadable(std::io::Error),
    /// It says something that cannot be.
    Findings(Findings),
}

/// Every row, or every mistake.
pub(super) fn read(source: impl Read) -> Result<Vec<ImportRow>, Rejection> {
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(source);
    let mut record = ByteRecord::new();
    if !next(&mut reader, &mut record)? {
        return Err(Rejection::Findings(Findings::whole(
            "it is empty; the first line names the columns".to_owned(),
        )));
    }
    let header = Header::of(&record).map_err(|what| Rejection::Findings(Findings::whole(what)))?;
    let mut check = Check { header, findings: Findings::default(), lines_by_sku: HashMap::new() };
    let mut rows = Vec::new();
    while next(&mut reader, &mut record)? {
        if rows.len() == ROWS_MAX {
            let what = format!("it has more than {ROWS_MAX} rows; import it in parts");
            return Err(Rejection::Findings(Findings::whole(what)));
        }
        rows.extend(check.row(&record));
    }
    match check.findings.count {
        0 => Ok(rows),
        _ => Err(Rejection::Findings(check.findings)),
    }
}

fn next(reader: &mut csv::Reader<impl Read>, record: &mut ByteRecord) -> Result<bool, Rejection> {
    reader.read_byte_record(record).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => Rejection::Unreadable(error),
        kind => Rejection::Findings(Findings::whole(format!("it is not CSV: {kind:?}"))),
    })
}

/// Where each column of ours is in the file.
struct Header {
    positions: [Option<usize>; COLUMNS.len()],
    width: usize,
}

impl Header {
    fn of(record: &ByteRecord) -> Result<Self, String> {
        let mut positions = [None; COLUMNS.len()];
        for (at, bytes) in record.iter().enumerate() {
            let name = String::from_utf8_lossy(bytes);
            // Spreadsheets begin a file with a byte order mark.
            let name = name.trim_start_matches('\u{feff}').trim().to_lowercase();
            let Some(column) = COLUMNS.iter().position(|column| **column == name) else {
                return Err(format!(
                    "line 1: there is no column {name:?}; the columns are {}",
                    COLUMNS.join(",")
                ));
            };
            if positions[column].replace(at).is_some() {
                return Err(format!("line 1: column {name} is named twice"));
            }
        }
        let missing = COLUMNS.iter().zip(positions).filter(|(name, at)| at.is_none() && **name != OPTIONAL);
        let missing = missing.map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        if !missing.is_empty() {
            return Err(format!(
                "line 1: column {missing} is missing; the columns are {}",
                COLUMNS.join(",")
            ));
        }
        Ok(Self { positions, width: record.len() })
    }
}

struct Check {
    header: Header,
    findings: Findings,
    lines_by_sku: HashMap<String, u64>,
}

impl Check {
    /// The row, if there is nothing to find in it.
    fn row(&mut self, record: &ByteRecord) -> Option<ImportRow> {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != self.header.width {
            let what = format!("{} fields, but the header has {}", record.len(), self.header.width);
            self.findings.add(line, "(all)", &what);
            return None;
        }
        let sku = self.text(record, line, "sku", 1, 64).filter(|sku| self.is_first(sku, line));
        let name = self.text(record, line, "name", 1, 100);
        let description = self.text(record, line, OPTIONAL, 0, DESCRIPTION_CHARS_MAX);
        let category = self.text(record, line, "category", 1, 100);
        let price = self.parsed(record, line, "price", price);
        let stock = self.parsed(record, line, "stock", stock);
        Some(ImportRow {
            sku: sku?,
            name: name?,
            description: description.filter(|text| !text.is_empty()),
            category: category?,
            price: price?,
            stock: stock?,
        })
    }

    fn is_first(&mut self, sku: &str, line: u64) -> bool {
        let Some(before) = self.lines_by_sku.insert(sku.to_owned(), line) else { return true };
        self.findings.add(line, "sku", &format!("{sku} is on line {before} already"));
        false
    }

    /// A text of `least` to `most` characters; a column that the file does not have is empty.
    fn text(
        &mut self,
        record: &ByteRecord,
        line: u64,
        column: &'static str,
        least: usize,
        most: usize,
    ) -> Option<String> {
        let at =
            COLUMNS.iter().position(|name| *name == column).and_then(|column| self.header.positions[column]);
        let bytes = at.and_then(|at| record.get(at)).unwrap_or_default();
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.findings.add(line, column, "it is not UTF-8");
            return None;
        };
        let chars = text.chars().count();
        let fault = if text.contains('\0') {
            "it contains a null character".to_owned()
        } else if chars < least {
            "it is empty".to_owned()
        } else if chars > most {
            format!("{chars} characters; at most {most} are allowed")
        } else {
            return Some(text.to_owned());
        };
        self.findings.add(line, column, &fault);
        None
    }

    fn parsed<T>(
        &mut self,
        record: &ByteRecord,
        line: u64,
        column: &'static str,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let text = self.text(record, line, column, 1, 40)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(what) => {
                self.findings.add(line, column, &format!("{text:?} is {what}"));
                None
            }
        }
    }
}

fn price(text: &str) -> Result<Money, &'static str> {
    const BOUNDS: &str = "not a price from 0 to 99999999.99 with at most two decimals";
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return Err(BOUNDS);
    }
    let mut cents = whole.to_owned();
    write!(cents, "{decimals:0<2}").map_err(|_| BOUNDS)?;
    let price = cents.parse().map(Money::from_cents).map_err(|_| BOUNDS)?;
    if price > Money::PRICE_MAX { Err(BOUNDS) } else { Ok(price) }
}

fn stock(text: &str) -> Result<i64, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let stock = text.parse().ok().filter(|stock| digits && *stock <= STOCK_MAX);
    stock.ok_or("not a whole number from 0 to 2147483647")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> String {
        match read(text.as_bytes()) {
            Err(Rejection::Findings(findings)) => findings.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_may_come_in_any_order_and_texts_hold_anything() {
        let text = "\u{feff}Price,stock,category,name,sku\r\n0.85,860,\"Gifts, & more\",\"A \"\"globe\"\"\nof Ürs\",10002\r\n7,0,Gifts,B,x\r\n";
        let rows = read(text.as_bytes()).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[0],
            ImportRow {
                sku: "10002".into(),
                name: "A \"globe\"\nof Ürs".into(),
                description: None,
                category: "Gifts, & more".into(),
                price: Money::from_cents(85),
                stock: 860,
            }
        );
        assert_eq!(rows[1].price, Money::from_cents(700));
    }

    #[test]
    fn every_mistake_is_named_with_line_and_column() {
        let text = "sku,name,category,price,stock\n\
                    a,A,C,1.5,1\n\
                    a,,C,1.999,-1\n\
                    b,B,C,99999999.99,2147483647\n\
                    c,C,C,100000000,2147483648\n\
                    d,D,C,1\n\
                    e,E,C,1e3,1.0\n";
        let found = findings(text);
        for expected in [
            "line 3, column sku: a is on line 2 already",
            "line 3, column name: it is empty",
            "line 3, column price: \"1.999\" is not a price",
            "line 3, column stock: \"-1\" is not a whole number",
            "line 5, column price: \"100000000\"",
            "line 5, column stock: \"2147483648\"",
            "line 6, column (all): 4 fields, but the header has 5",
            "line 7, column price: \"1e3\"",
            "line 7, column stock: \"1.0\"",
        ] {
            assert!(found.contains(expected), "{expected} is not in\n{found}");
        }
        assert_eq!(found.lines().count(), 9);
    }

    #[test]
    fn at_most_twenty_mistakes_are_shown() {
        let text = format!("sku,name,category,price,stock\n{}", "x,X,C,1,-\n".repeat(50));
        let found = findings(&text);
        assert_eq!(found.lines().count(), 21);
        assert!(found.ends_with("and 79 more, 99 in all"), "{found}");
    }

    #[test]
    fn a_wrong_header_is_named() {
        assert!(findings("sku,name\n").contains("category, price, stock is missing"));
        assert!(findings("sku,sku\n").contains("named twice"));
        assert!(findings("sku,colour\n").contains("\"colour\""));
        assert!(findings("").contains("empty"));
    }
}
