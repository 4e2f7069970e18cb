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
pub(crate) use migrate::QUERIES;
pub use migrate::{MigrateError, is_migrated, migrate};
pub use pool::{ConnectError, Database, DatabaseSettings, Db};
pub(crate) use query::{Query, queries};
