//! The catalogue as an import would bring it in.

use crate::types::{Money, ProductId};

/// The most products of a page of an export.
pub const EXPORT_PAGE_ROWS: usize = 1000;

/// A product as an export shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRow {
    /// Which.
    pub id: ProductId,
    /// What an import knows it by; without one, no import can.
    pub sku: Option<String>,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// The name of its category.
    pub category: String,
    /// The price of one.
    pub price: Money,
    /// How many there are.
    pub stock: i64,
}
