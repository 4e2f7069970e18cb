//! `emporium migrate`: the schema, up to date.

use std::process::ExitCode;

use emporium_actors::db;

use super::connection::connected;
use super::{CliError, terminal};
use crate::settings::Settings;

/// Bring the database's schema up to date (`serve` does so itself)
///
/// Safe while other nodes run, and when several do it at once: they wait for the first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(_args: &Args, settings: &Settings) -> Result<ExitCode, CliError> {
    connected(settings, async |connection| {
        let applied = db::migrate(&connection.database).await?;
        for name in &applied {
            terminal::line(&format_args!("applied {name}"));
        }
        if applied.is_empty() {
            terminal::line(&"the schema is up to date");
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
