//! A command's way to the database: the one that was named, or the private one.

use std::process::ExitCode;
use std::sync::Arc;

use emporium_actors::Shop;
use emporium_actors::db::{self, Database};
use tokio::signal::unix::{SignalKind, signal};

use super::CliError;
use crate::embedded::Embedded;
use crate::settings::Settings;

/// A database in use. End it with [`Connection::close`], so that a private Postgres stops with its
/// last user.
pub(super) struct Connection {
    pub(super) database: Arc<Database>,
    pub(super) embedded: Option<Arc<Embedded>>,
}

impl Connection {
    /// Connects; starts the private Postgres where no other was named.
    pub(super) async fn open(settings: &Settings) -> Result<Self, CliError> {
        let (url, embedded) = match &settings.database_url {
            Some(url) => (url.clone(), None),
            None => {
                let embedded = Embedded::start(&settings.data).await?;
                (embedded.url(), Some(Arc::new(embedded)))
            }
        };
        match Database::connect(&settings.database(url)).await {
            Ok(database) => Ok(Self { database: Arc::new(database), embedded }),
            Err(error) => {
                stop(embedded).await;
                Err(error.into())
            }
        }
    }

    /// Connects; an interruption takes effect once that is done, so that a private Postgres which
    /// has just been started is stopped again. The inner error is the exit code then.
    pub(super) async fn open_unless(
        settings: &Settings,
        interrupted: &mut Interruption,
    ) -> Result<Result<Self, ExitCode>, CliError> {
        let mut opening = std::pin::pin!(Self::open(settings));
        tokio::select! {
            connection = &mut opening => connection.map(Ok),
            code = interrupted.wait() => {
                opening.await?.close().await;
                Ok(Err(code))
            }
        }
    }

    /// Refuses a database that lacks migrations; the private one, which is nobody else's to look
    /// after, is migrated instead.
    pub(super) async fn require_migrated(&self) -> Result<(), CliError> {
        if db::is_migrated(&self.database.db()).await? {
            return Ok(());
        }
        if self.embedded.is_none() {
            return Err(CliError::NotMigrated);
        }
        db::migrate(&self.database).await?;
        Ok(())
    }

    /// The shop for a command, on a migrated database.
    pub(super) async fn shop(&self, settings: &Settings) -> Result<Shop, CliError> {
        self.require_migrated().await?;
        Ok(Shop::start(settings.shop_of_a_command(), self.database.clone()).await?)
    }

    /// Closes the connections, and stops the private Postgres if nobody else uses it.
    pub(super) async fn close(self) {
        drop(self.database);
        stop(self.embedded).await;
    }
}

/// Runs `work` on a connection, and closes it however the work ends, by a signal too.
pub(super) async fn connected(
    settings: &Settings,
    work: impl AsyncFnOnce(&Connection) -> Result<ExitCode, CliError>,
) -> Result<ExitCode, CliError> {
    let mut interrupted = Interruption::listen()?;
    let connection = match Connection::open_unless(settings, &mut interrupted).await? {
        Ok(connection) => connection,
        Err(code) => return Ok(code),
    };
    let result = tokio::select! {
        result = work(&connection) => result,
        code = interrupted.wait() => Ok(code),
    };
    connection.close().await;
    result
}

/// SIGINT and SIGTERM, heard from the moment this is made.
pub(super) struct Interruption {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interruption {
    pub(super) fn listen() -> Result<Self, CliError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(CliError::Signals)?,
            terminate: signal(SignalKind::terminate()).map_err(CliError::Signals)?,
        })
    }

    /// Waits for either, and gives the exit code that says which (128 + its number).
    pub(super) async fn wait(&mut self) -> ExitCode {
        tokio::select! {
            _ = self.interrupt.recv() => ExitCode::from(130),
            _ = self.terminate.recv() => ExitCode::from(143),
        }
    }
}

async fn stop(embedded: Option<Arc<Embedded>>) {
    let Some(embedded) = embedded.and_then(Arc::into_inner) else { return };
    if let Err(error) = embedded.stop().await {
        tracing::warn!(%error, "the private Postgres did not stop");
    }
}
