//! Logs, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::CliError;
use crate::settings::LogSettings;

/// Starts logging for the whole process.
pub(super) fn start(settings: &LogSettings) -> Result<(), CliError> {
    let filter =
        EnvFilter::try_new(&settings.filter).map_err(|error| CliError::LogFilter(error.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    let started = if settings.json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    // A second start in one process keeps the first.
    started.ok();
    Ok(())
}
