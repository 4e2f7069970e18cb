//! What the catalogue holds.

use serde::Serialize;

use crate::types::{CategoryId, Money, ProductId, Timestamp};

/// The most units a write may set a stock to.
pub const STOCK_MAX: i64 = 2_147_483_647;
/// The most categories there may be.
pub const CATEGORIES_MAX: i64 = 10_000;

/// A category as the contract shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Category {
    /// Its id.
    pub id: i64,
    /// Its name, unique among those not deleted.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
}

/// A category to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCategory {
    /// Its name: 1 to 100 characters.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
}

/// Changes to a category; `None` keeps what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CategoryChanges {
    /// Its name: 1 to 100 characters.
    pub name: Option<String>,
    /// Free text; `Some(None)` takes it away.
    pub description: Option<Option<String>>,
}

/// A product as the contract shows it, with the versions that make its `ETag`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// The shop's own number for it, unique among products not deleted.
    pub sku: Option<String>,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// The price of one.
    pub price: Money,
    /// Its category.
    pub category: CategoryId,
    /// How many there are.
    pub stock: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last edited; a sale is no edit.
    pub updated_at: Timestamp,
    /// Grows with every edit.
    #[serde(skip)]
    pub version: i64,
    /// Grows with every change of stock.
    #[serde(skip)]
    pub stock_version: i64,
}

/// A product to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProduct {
    /// The shop's own number for it.
    pub sku: Option<String>,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// The price of one.
    pub price: Money,
    /// Its category.
    pub category: CategoryId,
    /// Its first stock, 0 to [`STOCK_MAX`].
    pub stock: i64,
}

/// Changes to a product; `None` keeps what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductChanges {
    /// The shop's own number; `Some(None)` takes it away.
    pub sku: Option<Option<String>>,
    /// Its name.
    pub name: Option<String>,
    /// Free text; `Some(None)` takes it away.
    pub description: Option<Option<String>>,
    /// The price of one.
    pub price: Option<Money>,
    /// Its category.
    pub category: Option<CategoryId>,
    /// A count: what the stock is at the moment of the commit.
    pub stock: Option<i64>,
}
