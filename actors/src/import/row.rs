//! What a row of an import says.

use std::borrow::Cow;

use crate::types::{CategoryId, Money};

/// A product as an import describes it, already checked by itself against the contract's bounds. What it
/// does not say keeps what is there; a new product needs name, price, category and stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// The line of the content on which the row begins, from 1; grows from row to row.
    pub line: i64,
    /// What the product is known by: 1 to 64 characters.
    pub sku: String,
    /// Its name: 1 to 100 characters.
    pub name: Option<String>,
    /// Free text; `Some(None)` takes it away.
    pub description: Option<Option<String>>,
    /// The price of one.
    pub price: Option<Money>,
    /// Its category.
    pub category: Option<CategoryRef>,
    /// What becomes of its stock.
    pub stock: Option<StockChange>,
}

/// How a row names a category.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CategoryRef {
    /// By its name, 1 to 100 characters, or by its id where no category has such a name; made if there is
    /// neither.
    Name(String),
    /// By its id.
    Id(CategoryId),
}

/// What becomes of a stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockChange {
    /// It is so many at the moment when the row is done: 0 to [`crate::catalog::STOCK_MAX`].
    Count(i64),
    /// So many more, or fewer; at most [`crate::catalog::STOCK_MAX`] either way.
    Delta(i64),
}

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// The line on which the row begins, from 1.
    pub line: i64,
    /// The column that is at fault, where it is one.
    pub column: Option<Cow<'static, str>>,
    /// What is wrong, in words.
    pub what: String,
}
