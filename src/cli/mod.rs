//! The command line.
//!
//! A file a command, all of one shape: `Args`, and `run`, which takes the settings and ends in an
//! exit code or a [`CliError`]. Promises: exit code 0 is success, 1 failure, 2 a wrong call (or a
//! load test without a verdict), 130 and 143 an interruption; errors go to standard error as
//! `error: …` with what to do about it; long work shows its progress on a terminal and plain lines
//! elsewhere.

mod audit;
mod connection;
mod create_admin;
mod demo;
mod error;
mod export;
mod first_run;
mod import;
mod logging;
mod migrate;
mod openapi;
mod password;
mod serve;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::loadtest::{self, LoadtestArgs};
use crate::settings::{Environment, Settings};

use error::CliError;

/// A shop's backend: catalogue, carts, orders and live stock, over REST and WebSocket.
///
/// Without any settings it keeps a private PostgreSQL of its own in the folder `data`, so
/// `emporium serve` is all it takes to try it.
#[derive(Debug, Parser)]
#[command(name = "emporium", version, after_help = VARIABLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const VARIABLES: &str = "\
Settings come from the environment:
  DATABASE_URL   PostgreSQL to use; without it, a private one in `data`
  REDIS_URL      Redis for caching and rate limits; without it, per process
  SMTP_URL       mail server; without it, mail is written to `data/mail`
  JWT_SECRET     signs tokens, at least 32 bytes; needed with DATABASE_URL
  HOST, PORT     where to listen; 127.0.0.1 and 8000
  RUST_LOG       what to log; info
  EMPORIUM_ENV   `production` for a node behind a load balancer
  EMPORIUM_DATA  another folder than `data`
Everything else that can be set stands in config/default.toml.

Examples:
  emporium serve --first-run config/demo/online-retail/products.csv
  emporium create-admin --username ada --email ada@example.com
  emporium import products.csv";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Migrate(migrate::Args),
    CreateAdmin(create_admin::Args),
    Import(import::Args),
    Export(export::Args),
    Demo(demo::Args),
    Audit(audit::Args),
    Loadtest(Box<LoadtestArgs>),
    Openapi(openapi::Args),
}

/// Runs the program on its arguments and environment.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    dispatch(cli.command).unwrap_or_else(|error| {
        terminal::error(&error);
        ExitCode::FAILURE
    })
}

fn dispatch(command: Command) -> Result<ExitCode, CliError> {
    match &command {
        // It needs neither settings nor a database, and a runtime of its own.
        Command::Loadtest(args) => return Ok(loadtest::run(args)),
        Command::Openapi(_) => return Ok(openapi::run()),
        _ => {}
    }
    let settings = Settings::load(&Environment::of_this_process())?;
    logging::start(&settings.log)?;
    actix::System::new().block_on(async {
        match command {
            Command::Serve(args) => serve::run(&args, &settings).await,
            Command::Migrate(args) => migrate::run(&args, &settings).await,
            Command::CreateAdmin(args) => create_admin::run(&args, &settings).await,
            Command::Import(args) => import::run(&args, &settings).await,
            Command::Export(args) => export::run(&args, &settings).await,
            Command::Demo(args) => demo::run(&args, &settings).await,
            Command::Audit(args) => audit::run(&args, &settings).await,
            Command::Loadtest(_) | Command::Openapi(_) => Ok(ExitCode::SUCCESS),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
