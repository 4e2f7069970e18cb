//! The file of a replay: one row per line of an invoice, in time order.
//!
//! Promises: rows of one invoice become one order, lines of one sku are added up; a row that does not
//! parse is named by its number, and nothing is replayed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

/// One order to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invoice {
    /// Its number in the file.
    pub number: String,
    /// Who bought; `guest-…` where nobody was recorded.
    pub customer: String,
    /// What and how many, no sku twice, in the order of the file.
    pub lines: Vec<(String, i64)>,
}

impl Invoice {
    /// Whether the buyer is unknown.
    pub(crate) fn is_guest(&self) -> bool {
        self.customer.starts_with("guest-")
    }
}

/// Why the file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrdersFileError {
    /// It cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not the CSV that a replay needs.
    #[error("{path}: {reason}")]
    Row {
        /// The file.
        path: String,
        /// Which row, and what is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Row {
    invoice: String,
    customer: String,
    sku: String,
    quantity: i64,
}

/// Reads a whole file, gzipped if its name ends in `.gz`.
pub(crate) fn read(path: &Path) -> Result<Vec<Invoice>, OrdersFileError> {
    let name = path.display().to_string();
    let file =
        File::open(path).map_err(|source| OrdersFileError::Unreadable { path: name.clone(), source })?;
    let file = BufReader::new(file);
    let invoices = if path.extension().is_some_and(|ending| ending == "gz") {
        parse(MultiGzDecoder::new(file))
    } else {
        parse(file)
    };
    invoices.map_err(|reason| OrdersFileError::Row { path: name, reason })
}

fn parse(input: impl Read) -> Result<Vec<Invoice>, String> {
    let mut invoices: Vec<Invoice> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in csv::Reader::from_reader(input).deserialize() {
        let row: Row = row.map_err(|error| error.to_string())?;
        if row.quantity < 1 {
            return Err(format!("invoice {}, sku {}: quantity {}", row.invoice, row.sku, row.quantity));
        }
        let place = *places.entry(row.invoice.clone()).or_insert(invoices.len());
        if place == invoices.len() {
            invoices.push(Invoice { number: row.invoice, customer: row.customer, lines: Vec::new() });
        }
        let lines = &mut invoices[place].lines;
        match lines.iter_mut().find(|(sku, _)| *sku == row.sku) {
            Some((_, quantity)) => *quantity += row.quantity,
            None => lines.push((row.sku, row.quantity)),
        }
    }
    if invoices.is_empty() { Err("there are no orders in it".to_owned()) } else { Ok(invoices) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "placed_at,invoice,customer,sku,quantity,unit_price\n";

    #[test]
    fn rows_of_one_invoice_become_one_order_and_lines_of_one_sku_are_added_up() {
        let rows = "2010-12-01 08:26:00,1,17,A,6,4.25\n2010-12-01 08:26:00,1,17,B,2,1.00\n\
                    2010-12-01 08:27:00,2,guest-2,A,1,4.25\n2010-12-01 08:26:00,1,17,A,4,4.25\n";
        let invoices = parse(format!("{HEAD}{rows}").as_bytes()).unwrap();
        assert_eq!(invoices.len(), 2);
        assert_eq!(invoices[0].lines, [("A".to_owned(), 10), ("B".to_owned(), 2)]);
        assert!(!invoices[0].is_guest() && invoices[1].is_guest());
    }

    #[test]
    fn a_bad_row_is_named() {
        for rows in ["", "t,1,17,A,six,4.25\n", "t,1,17,A,0,4.25\n", "t,1\n"] {
            assert!(parse(format!("{HEAD}{rows}").as_bytes()).is_err(), "{rows}");
        }
        let error = parse(format!("{HEAD}t,1,17,A,1,1\nt,1,17,A,six,1\n").as_bytes()).unwrap_err();
        assert!(error.contains("line: 3"), "{error}");
    }
}
