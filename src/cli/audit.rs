//! `emporium audit`: does every unit add up?

use std::process::ExitCode;

use emporium_actors::audit::{Audit, AuditReport, Discrepancy};

use super::connection::connected;
use super::{CliError, terminal};
use crate::settings::Settings;

/// Check that every unit adds up; exit code 1 names the products that do not
///
/// For each product, what was put in, less what live orders hold or took, must be its stock. The
/// check reads one snapshot, so it may run at any time, on a shop that is selling.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<ExitCode, CliError> {
    connected(settings, async |connection| {
        connection.require_migrated().await?;
        let report = Audit::new(connection.database.db()).check().await?;
        if args.json {
            let text =
                serde_json::to_string_pretty(&report).map_err(|error| CliError::Write(error.into()))?;
            terminal::line(&text);
        } else {
            show(&report);
        }
        Ok(if report.discrepancies.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

fn show(report: &AuditReport) {
    terminal::line(&format_args!(
        "{} products, {} orders at {}: {} units in, {} sold or held",
        report.products, report.orders, report.checked_at, report.units_in, report.units_out
    ));
    if report.discrepancies.is_empty() {
        terminal::line(&"every unit adds up");
        return;
    }
    terminal::line(&format_args!("{} products do not add up:", report.discrepancies.len()));
    for Discrepancy { product, sku, name, expected, actual } in &report.discrepancies {
        let name = name.as_deref().unwrap_or("(no such product)");
        let sku = sku.as_deref().map(|sku| format!(", sku {sku}")).unwrap_or_default();
        let actual = actual.map_or_else(|| "none".to_owned(), |actual| actual.to_string());
        terminal::line(&format_args!(
            "  product {product}{sku}, {name}: expected {expected}, actual {actual}"
        ));
    }
}
