//! `emporium import`: products from a CSV file.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use emporium_actors::Shop;
use emporium_actors::catalog::{ImportReport, ImportRow};

use super::CliError;
use super::connection::connected;
use super::product_csv::{self, Rejection};
use super::terminal::{self, Progress};
use crate::settings::Settings;

/// Bring products in from a CSV file; known by their sku, new ones are made and known ones updated
///
/// The first line names the columns sku,name,description,category,price,stock in any order
/// (description may be left out). Missing categories are made. Every row is checked before anything
/// is written, and the same import again changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; `-` is standard input
    file: PathBuf,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<ExitCode, CliError> {
    // A wrong file is said before a database is started for it.
    let rows = read(&args.file).await?;
    connected(settings, async |connection| {
        let shop = connection.shop(settings).await?;
        let report = write(&shop, rows).await;
        shop.stop().await;
        terminal::line(&summary(&report?));
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Every row of the file, or a [`CliError`] with every mistake in it.
pub(super) async fn read(file: &Path) -> Result<Vec<ImportRow>, CliError> {
    let file = file.to_owned();
    let path = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let work = tokio::task::spawn_blocking(move || {
        if file == Path::new("-") {
            return product_csv::read(std::io::stdin().lock());
        }
        product_csv::read(File::open(&file).map_err(Rejection::Unreadable)?)
    });
    match work.await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(Rejection::Unreadable(source))) => Err(CliError::Read { path, source }),
        Ok(Err(Rejection::Findings(findings))) => {
            Err(CliError::Rows { path, findings: findings.to_string() })
        }
        Err(stopped) => Err(CliError::Read { path, source: stopped.into() }),
    }
}

/// Writes the rows and shows how far it is.
pub(super) async fn write(shop: &Shop, rows: Vec<ImportRow>) -> Result<ImportReport, CliError> {
    let total = rows.len();
    let progress = Progress::new("importing products", total);
    let done = Cell::new(0);
    let report = shop
        .catalog
        .import(rows, &|count| {
            done.set(count);
            progress.at(count);
        })
        .await;
    progress.finish();
    report.map_err(|source| CliError::Import { done: done.get(), rows: total, source })
}

/// A report in words.
pub(super) fn summary(report: &ImportReport) -> String {
    let ImportReport { created, updated, unchanged } = report;
    format!(
        "{} products: {created} new, {updated} updated, {unchanged} unchanged",
        created + updated + unchanged
    )
}
