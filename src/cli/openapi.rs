//! `emporium openapi`: the contract, for programs that make clients of it.

use std::io::Write;
use std::process::ExitCode;

use crate::http::schema::OPENAPI;

/// Print the contract as an OpenAPI 3.1 document, as `GET /api/schema/` gives it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  emporium openapi > openapi.json")]
pub(super) struct Args {}

pub(super) fn run() -> ExitCode {
    match std::io::stdout().write_all(OPENAPI.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read it has seen enough.
        Err(_) => ExitCode::FAILURE,
    }
}
