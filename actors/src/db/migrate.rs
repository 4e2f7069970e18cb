//! Brings the schema up to date, once, however many nodes start together.

use tokio_postgres::Client;

use super::{ConnectError, Database, queries};

queries! {
    LOCK_MIGRATIONS = "db/lock_migrations.sql";
    HAS_HISTORY = "db/has_history.sql";
    GET_NEWEST_MIGRATION = "db/get_newest_migration.sql";
}

mod embedded {
    refinery::embed_migrations!("../sql/migrations");
}

/// Any constant serves, as long as no other program on the database uses it.
const LOCK: i64 = 0x656d_706f_7269_756d;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The lock could not be had, or the connection broke.
    #[error("cannot migrate: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed or differs from the one applied under its number.
    #[error("cannot migrate: {0}")]
    Migration(#[from] refinery::Error),
}

/// Applies what is missing and returns the names of what was applied.
///
/// Runs under an advisory lock on a connection of its own without a statement timeout, so that
/// nodes starting together wait for the first; tolerates migrations that a newer binary applied.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(database: &Database) -> Result<Vec<String>, MigrateError> {
    let (mut config, tls) = database.config();
    config.options("-c statement_timeout=0 -c TimeZone=UTC");
    let work = database.handle().spawn(async move {
        let (mut client, connection) = config.connect(tls).await?;
        let driver = tokio::spawn(connection);
        let applied = apply(&mut client).await;
        drop(client);
        driver.await.ok();
        applied
    });
    work.await.unwrap_or_else(|stopped| Err(ConnectError::Pool(stopped.to_string()).into()))
}

async fn apply(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    client.execute(LOCK_MIGRATIONS.sql, &[&LOCK]).await?;
    let runner = embedded::migrations::runner().set_abort_missing(false);
    let report = runner.run_async(client).await;
    // The lock goes with the connection, whatever happened.
    Ok(report?.applied_migrations().iter().map(ToString::to_string).collect())
}

/// Whether every migration of this binary has been applied.
///
/// # Errors
/// When the database does not answer.
pub async fn is_migrated(db: &super::Db) -> Result<bool, super::StoreError> {
    let client = db.client(HAS_HISTORY.name).await?;
    let newest =
        embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    let known = HAS_HISTORY.opt(&client, &[]).await?.is_some_and(|row| row.get(0));
    if !known {
        return Ok(false);
    }
    let applied = GET_NEWEST_MIGRATION.opt(&client, &[]).await?.and_then(|row| row.get::<_, Option<i32>>(0));
    Ok(applied >= newest)
}
