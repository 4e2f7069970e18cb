//! The way to Postgres: a runtime of its own, pools, migrations, and how a statement can fail.
//!
//! Promises: connections are driven by threads that do nothing else, so a busy HTTP worker never
//! delays somebody who borrowed its connection; every connection carries statement, lock and
//! idle-in-transaction timeouts; every failure names its statement.

mod error;
mod migrate;
mod pool;
mod query;

pub use error::StoreError;
pub use migrate::{MigrateError, is_migrated, migrate};
pub use pool::{ConnectError, Database, DatabaseSettings, Db};
pub(crate) use query::{Query, queries};

/// Every statement of the shop, by name, the composed ones in representative forms; for a test that
/// prepares them all against a migrated database.
#[must_use]
pub fn all_statements() -> Vec<(&'static str, String)> {
    use crate::{accounts, audit, cart, catalog, feed, idempotency, inventory, mailer, orders, redis};
    let areas = [
        accounts::QUERIES,
        audit::QUERIES,
        cart::store::QUERIES,
        catalog::store::QUERIES,
        feed::store::QUERIES,
        idempotency::store::QUERIES,
        inventory::store::QUERIES,
        mailer::store::QUERIES,
        orders::store::QUERIES,
        redis::store::QUERIES,
    ];
    let fixed = areas.into_iter().flatten().map(|query| (query.name, query.sql.to_owned()));
    let composed = catalog::list_products_samples().into_iter().map(|sql| ("catalog/list_products.sql", sql));
    fixed.chain(composed).collect()
}
