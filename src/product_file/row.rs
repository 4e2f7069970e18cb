//! What the cells of a row say, checked by itself.

use std::borrow::Cow;

use emporium_actors::catalog::STOCK_MAX;
use emporium_actors::import::{CategoryRef, ImportRow, RowFault, StockChange};
use emporium_actors::types::{CategoryId, Money};

/// The longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 100_000;
/// The longest number, in characters.
const NUMBER_CHARS_MAX: usize = 40;
/// The columns, in the order in which an export writes them; the last one is for imports alone.
pub(super) const COLUMNS: [&str; 7] =
    ["sku", "name", "description", "category", "price", "stock", "stock_delta"];

/// The place of a column among [`COLUMNS`], by its name in any case.
pub(super) fn column(name: &str) -> Option<usize> {
    COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(name.trim()))
}

/// What a row says in a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Cell<'a> {
    /// Nothing: what is there stays.
    #[default]
    Absent,
    /// That there is none.
    Null,
    /// This text.
    Text(Cow<'a, str>),
    /// This number, as it was written.
    Number(String),
    /// Something that no column takes.
    Other,
}

/// What a row says, by column.
pub(super) type Cells<'a> = [Cell<'a>; COLUMNS.len()];

/// The row that the cells make; `None` after telling what is wrong with them.
pub(super) fn check(line: i64, cells: &Cells<'_>, faults: &mut Vec<RowFault>) -> Option<ImportRow> {
    let before = faults.len();
    let mut check = Check { line, faults };
    let [sku, name, description, category, price, stock, delta] = cells;
    if *sku == Cell::Absent {
        check.fault(0, "it is missing");
    }
    let sku = check.text(0, sku, 1, 64);
    let name = check.text(1, name, 1, 100);
    let description = match description {
        Cell::Absent => None,
        Cell::Null => Some(None),
        given => check.text(2, given, 0, DESCRIPTION_CHARS_MAX).map(|text| Some(text.into_owned())),
    };
    let category = check.category(category);
    let price = check.number(4, price, parse_price);
    let stock = check.stock(stock, delta);
    if check.faults.len() > before {
        return None;
    }
    let name = name.map(Cow::into_owned);
    Some(ImportRow { line, sku: sku?.into_owned(), name, description, price, category, stock })
}

struct Check<'a> {
    line: i64,
    faults: &'a mut Vec<RowFault>,
}

impl Check<'_> {
    fn fault(&mut self, column: usize, what: impl Into<String>) {
        let column = COLUMNS.get(column).map(|name| Cow::Borrowed(*name));
        self.faults.push(RowFault { line: self.line, column, what: what.into() });
    }

    /// A text of so many characters, surrounding blanks not counted; `None` where the row says nothing, or
    /// something wrong.
    fn text<'c>(
        &mut self,
        column: usize,
        cell: &'c Cell<'_>,
        least: usize,
        most: usize,
    ) -> Option<Cow<'c, str>> {
        let text: &'c str = match cell {
            Cell::Absent => return None,
            Cell::Text(text) => text.trim(),
            Cell::Number(number) => number,
            Cell::Null => {
                self.fault(column, "it may not be null");
                return None;
            }
            Cell::Other => {
                self.fault(column, "it is neither a text nor a number");
                return None;
            }
        };
        let chars = text.chars().count();
        if chars < least {
            self.fault(column, "it is empty");
        } else if chars > most {
            self.fault(column, format!("{chars} characters; at most {most} are allowed"));
        } else if text.contains('\0') {
            self.fault(column, "it contains a null character");
        } else {
            return Some(Cow::Borrowed(text));
        }
        None
    }

    fn number<T>(
        &mut self,
        column: usize,
        cell: &Cell<'_>,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(column, cell, 1, NUMBER_CHARS_MAX)?;
        match parse(&text) {
            Ok(number) => Some(number),
            Err(wanted) => {
                self.fault(column, format!("{text:?} is not {wanted}"));
                None
            }
        }
    }

    fn category(&mut self, cell: &Cell<'_>) -> Option<CategoryRef> {
        const COLUMN: usize = 3;
        if let Cell::Number(number) = cell {
            let id = number.parse().ok().filter(|id| *id > 0).map(|id| CategoryRef::Id(CategoryId(id)));
            if id.is_none() {
                self.fault(COLUMN, format!("{number} is no category's id"));
            }
            return id;
        }
        self.text(COLUMN, cell, 1, 100).map(|name| CategoryRef::Name(name.into_owned()))
    }

    fn stock(&mut self, count: &Cell<'_>, delta: &Cell<'_>) -> Option<StockChange> {
        const DELTA: usize = 6;
        if *count != Cell::Absent && *delta != Cell::Absent {
            self.fault(DELTA, "a row has either a stock or a stock_delta");
            return None;
        }
        let count = self.number(5, count, parse_stock).map(StockChange::Count);
        count.or_else(|| self.number(DELTA, delta, parse_delta).map(StockChange::Delta))
    }
}

fn parse_price(text: &str) -> Result<Money, String> {
    let wanted = || "a price from 0 to 99999999.99 with at most two decimals".to_owned();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return Err(wanted());
    }
    let price = format!("{whole}{decimals:0<2}").parse().map(Money::from_cents).map_err(|_| wanted())?;
    if price > Money::PRICE_MAX { Err(wanted()) } else { Ok(price) }
}

fn parse_stock(text: &str) -> Result<i64, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let stock = text.parse().ok().filter(|stock| digits && *stock <= STOCK_MAX);
    stock.ok_or_else(|| format!("a whole number from 0 to {STOCK_MAX}"))
}

fn parse_delta(text: &str) -> Result<i64, String> {
    let delta = text.parse().ok().filter(|delta| (-STOCK_MAX..=STOCK_MAX).contains(delta));
    delta.ok_or_else(|| format!("a whole number from -{STOCK_MAX} to {STOCK_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: [&str; COLUMNS.len()]) -> Cells<'_> {
        texts.map(|text| if text == "-" { Cell::Absent } else { Cell::Text(text.into()) })
    }

    fn faults(texts: [&str; COLUMNS.len()]) -> Vec<String> {
        let mut faults = Vec::new();
        assert_eq!(check(7, &cells(texts), &mut faults).is_none(), !faults.is_empty());
        assert!(faults.iter().all(|fault| fault.line == 7));
        faults
            .into_iter()
            .map(|fault| format!("{}: {}", fault.column.unwrap_or_default(), fault.what))
            .collect()
    }

    #[test]
    fn a_row_says_what_its_cells_say_and_no_more() {
        let mut faults = Vec::new();
        let row = check(3, &cells([" A ", "Pen", "", "Office", "1.5", "7", "-"]), &mut faults).unwrap();
        let expected = ImportRow {
            line: 3,
            sku: "A".to_owned(),
            name: Some("Pen".to_owned()),
            description: Some(Some(String::new())),
            price: Some(Money::from_cents(150)),
            category: Some(CategoryRef::Name("Office".to_owned())),
            stock: Some(StockChange::Count(7)),
        };
        assert_eq!(row, expected);
        let row = check(3, &cells(["A", "-", "-", "-", "-", "-", "-7"]), &mut faults).unwrap();
        assert_eq!((row.name, row.description, row.price, row.category), (None, None, None, None));
        assert_eq!(row.stock, Some(StockChange::Delta(-7)));
        let mut with_id = cells(["A", "-", "-", "-", "-", "-", "-"]);
        with_id[2] = Cell::Null;
        with_id[3] = Cell::Number("4".to_owned());
        let row = check(3, &with_id, &mut faults).unwrap();
        assert_eq!((row.description, row.category), (Some(None), Some(CategoryRef::Id(CategoryId(4)))));
        assert_eq!(faults, []);
    }

    #[test]
    fn everything_that_is_wrong_with_a_row_is_named() {
        let long = "x".repeat(101);
        assert_eq!(faults(["-", "A", "-", "-", "-", "-", "-"]), ["sku: it is missing"]);
        let told = faults(["", "", "a\0", &long, "1.999", "-1", "-"]);
        let columns: Vec<&str> = told.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(columns, ["sku", "name", "description", "category", "price", "stock"], "{told:?}");
        assert_eq!(told[3], "category: 101 characters; at most 100 are allowed");
        assert!(faults(["A", "-", "-", "-", "-", "1", "1"])[0].starts_with("stock_delta: a row has either"));
        for price in ["1e3", "-1", "+1", "1.", ".5", "100000000", "1,5", "٣", "99999999.999", "NaN"] {
            assert_eq!(faults(["A", "-", "-", "-", price, "-", "-"]).len(), 1, "{price}");
        }
        for stock in ["1.0", "+1", "2147483648", "9999999999999999999999", "1 000", "x"] {
            assert_eq!(faults(["A", "-", "-", "-", "-", stock, "-"]).len(), 1, "{stock}");
        }
        for delta in ["1.5", "-2147483648", "-9223372036854775808", "99999999999999999999", "--1"] {
            assert_eq!(faults(["A", "-", "-", "-", "-", "-", delta]).len(), 1, "{delta}");
        }
        for fine in ["0", "99999999.99", "00000000001.50"] {
            assert_eq!(faults(["A", "-", "-", "-", fine, "2147483647", "-"]), [""; 0], "{fine}");
        }
        let mut other = cells(["A", "-", "-", "-", "-", "-", "-"]);
        (other[1], other[4]) = (Cell::Null, Cell::Other);
        let mut told = Vec::new();
        assert!(check(1, &other, &mut told).is_none() && told.len() == 2, "{told:?}");
    }
}
