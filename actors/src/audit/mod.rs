//! Audit: does every unit add up?
//!
//! For every product, what was put in (first stock, counts, corrections, imports), less what live
//! orders hold or took, is its stock: at any instant, even mid-load and after any crash. One
//! statement checks it, in one snapshot.

mod store;

pub(crate) use store::QUERIES;

use serde::Serialize;

use crate::db::{Db, StoreError};
use crate::types::{ProductId, Timestamp};

/// The conservation check.
#[derive(Clone, Debug)]
pub struct Audit {
    db: Db,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Whether every unit adds up.
    pub ok: bool,
    /// The snapshot's time.
    pub checked_at: Timestamp,
    /// Products checked, deleted ones included.
    pub products: i64,
    /// Orders there are, whatever their status.
    pub orders: i64,
    /// Units ever put in, net.
    pub units_in: i64,
    /// Units that live orders hold or took.
    pub units_out: i64,
    /// The products that do not add up.
    pub discrepancies: Vec<Discrepancy>,
}

/// A product whose stock is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// Which.
    pub product: ProductId,
    /// Its sku, if it has one.
    pub sku: Option<String>,
    /// Its name, if there is such a product at all.
    pub name: Option<String>,
    /// What its stock should be.
    pub expected: i64,
    /// What it is; `None` when it has no stock row at all.
    pub actual: Option<i64>,
}

impl Audit {
    /// An audit of this database.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Checks every product.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn check(&self) -> Result<AuditReport, StoreError> {
        store::check_conservation(&self.db).await
    }
}
