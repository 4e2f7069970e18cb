//! How a command fails, said to the person who typed it.

use emporium_actors::StartError;
use emporium_actors::accounts::AccountError;
use emporium_actors::catalog::CatalogError;
use emporium_actors::db::{ConnectError, MigrateError, StoreError};
use emporium_actors::import::ImportError;

use crate::application::BindError;
use crate::embedded::EmbeddedError;
use crate::settings::SettingsError;

/// Why a command failed; its text is what is shown, and says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("log.filter (RUST_LOG) is no filter: {0}")]
    LogFilter(String),
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error("{}{}", .0, advice(.0))]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Migrate(#[from] MigrateError),
    #[error(
        "the database has not been migrated for this version of the shop\nRun `emporium migrate` first; `emporium serve` does so itself"
    )]
    NotMigrated,
    #[error("{0}; try again, or look at the log above")]
    Store(#[from] StoreError),
    #[error("the shop could not start: {0}")]
    Start(#[from] StartError),
    #[error("{}{}", .0, in_use(.0))]
    Bind(#[from] BindError),
    #[error("the server failed: {0}")]
    Serve(std::io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("cannot write: {0}")]
    Write(std::io::Error),
    #[error("{path} was not imported, nothing has changed:\n{reason}")]
    Unusable { path: String, reason: String },
    #[error("{}{}", .0, again(.0))]
    Import(ImportError),
    #[error("the catalogue that the demo grows from cannot be read: {0}")]
    Demo(csv::Error),
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    #[error("{}", refusals(.0))]
    Account(#[from] AccountError),
    #[error("no password on standard input; it is the first line")]
    NoPassword,
}

fn advice(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Unreachable { .. } => {
            "\nCheck that it runs, and DATABASE_URL; without DATABASE_URL the shop keeps a Postgres of its own"
        }
        ConnectError::Url(_) => "\nIt looks like postgres://user:password@host:5432/database?sslmode=require",
        ConnectError::Certificates { .. } => "\nDATABASE_CA_FILE names a PEM file of certificate authorities",
        _ => "",
    }
}

fn in_use(error: &BindError) -> &'static str {
    match error.source.kind() {
        std::io::ErrorKind::AddrInUse => {
            "\nAnother program has this port; choose another one, such as PORT=8001"
        }
        std::io::ErrorKind::PermissionDenied => {
            "\nPorts below 1024 are for root; choose another one, such as PORT=8000"
        }
        _ => "\nHOST and PORT say where to listen",
    }
}

fn again(error: &ImportError) -> &'static str {
    match error {
        ImportError::UnderWay => "\nWait until it has ended",
        ImportError::IdReused => "\nNothing has changed; give the import an --id of its own",
        _ => "\nWhat was done stays done; the same import again does the rest",
    }
}

fn refusals(error: &AccountError) -> String {
    match error {
        AccountError::Refused(fields) => {
            let lines = fields.iter().map(|(field, message)| format!("{field}: {message}"));
            lines.collect::<Vec<_>>().join("\n")
        }
        error => error.to_string(),
    }
}
