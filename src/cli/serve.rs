//! `emporium serve`: the shop, open.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use emporium_actors::{Shop, db};

use super::connection::{Connection, Interruption};
use super::first_run::{self, NewAdmin};
use super::{CliError, terminal};
use crate::application::Application;
use crate::embedded::Embedded;
use crate::settings::Settings;

/// How often the private Postgres is looked after.
const REVIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Files that the process has open besides its clients' connections, at most: connections to
/// databases and mail servers, logs, libraries.
const OTHER_FILES_MAX: u64 = 512;

/// Open the shop: REST and live feeds over WebSocket
///
/// Migrates the database first. Ends in order on SIGTERM or Ctrl-C: stops being ready, closes the
/// feeds, finishes the requests under way, then stops its private Postgres, if it has one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For a first look: import this file if the shop has no products, and make an `admin` if it
    /// has no staff
    #[arg(long, value_name = "FILE")]
    first_run: Option<PathBuf>,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<ExitCode, CliError> {
    let mut interrupted = Interruption::listen()?;
    // What is wrong with the settings is said before a database is touched.
    settings.shop_of_a_node()?;
    let connection = match Connection::open_unless(settings, &mut interrupted).await? {
        Ok(connection) => connection,
        Err(code) => return Ok(code),
    };
    let result = open(args, settings, &connection, &mut interrupted).await;
    connection.close().await;
    result
}

async fn open(
    args: &Args,
    settings: &Settings,
    connection: &Connection,
    interrupted: &mut Interruption,
) -> Result<ExitCode, CliError> {
    let prepared = tokio::select! {
        prepared = prepare(args, settings, connection) => prepared?,
        code = interrupted.wait() => return Ok(code),
    };
    let (shop, new_admin) = prepared;
    let mut http = settings.http.clone();
    http.connections_max = affordable_connections(http.connections_max);
    let application = Application::build(http, shop.clone())?;
    greet(application.addr(), settings, connection, new_admin.as_ref());

    let stopper = application.stopper();
    let nurse = connection.embedded.clone().map(|embedded| actix::spawn(look_after(embedded)));
    let mut served = actix::spawn(application.run());
    let ended = tokio::select! {
        ended = &mut served => ended,
        _ = interrupted.wait() => {
            tracing::info!("stopping; a second signal ends it at once");
            tokio::select! {
                () = stopper.stop() => {}
                _ = interrupted.wait() => tracing::warn!("stopped without waiting"),
            }
            Ok(Ok(()))
        }
    };
    if let Some(nurse) = nurse {
        nurse.abort();
        // Its hold on the private Postgres must be gone before that can be stopped.
        nurse.await.ok();
    }
    match ended {
        Ok(result) => result.map_err(CliError::Serve)?,
        Err(stopped) => return Err(CliError::Serve(stopped.into())),
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the system let this process open as many files as it may, and says how many of `wanted`
/// connections that is enough for. A server that runs out of files accepts nobody and cannot say so.
fn affordable_connections(wanted: usize) -> usize {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot find out how many files may be open");
            return wanted;
        }
    };
    let affordable = usize::try_from(limit.saturating_sub(OTHER_FILES_MAX)).unwrap_or(usize::MAX).max(1);
    if affordable < wanted {
        tracing::warn!(
            open_files_max = limit,
            connections_max = affordable,
            "the system allows too few open files for http.connections_max = {wanted}; serving fewer \
             connections. Raise the limit (ulimit -Hn, or LimitNOFILE= of systemd), or ask for fewer"
        );
    }
    wanted.min(affordable)
}

/// The shop on a migrated database, and what a first run adds to it.
async fn prepare(
    args: &Args,
    settings: &Settings,
    connection: &Connection,
) -> Result<(Shop, Option<NewAdmin>), CliError> {
    for name in db::migrate(&connection.database).await? {
        tracing::info!(name, "applied a migration");
    }
    let shop = Shop::start(settings.shop_of_a_node()?, connection.database.clone()).await?;
    let new_admin = match &args.first_run {
        Some(file) => first_run::prepare(&shop, file, settings).await?,
        None => None,
    };
    Ok((shop, new_admin))
}

fn greet(addr: SocketAddr, settings: &Settings, connection: &Connection, new_admin: Option<&NewAdmin>) {
    let host = match addr.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let base = format!("http://{host}:{}", addr.port());
    let database = match &connection.embedded {
        Some(embedded) => format!("a private PostgreSQL in {}", embedded.home().display()),
        None => connection.database.place(),
    };
    terminal::line(&format_args!("Emporium is open at {base}/"));
    terminal::line(&format_args!("  catalogue    {base}/api/products/"));
    terminal::line(&format_args!("  database     {database}"));
    if settings.database_url.is_none() {
        terminal::line(&format_args!("  data folder  {}", settings.data.display()));
    }
    if let Some(NewAdmin { username, password }) = new_admin {
        terminal::line(&format_args!(
            "  staff        {username}, password {password}  (shown only this once)"
        ));
        terminal::line(&format_args!(
            "  sign in      curl -s {base}/api/auth/login/ -H 'Content-Type: application/json' \\\n\
             \x20                 -d '{{\"username\":\"{username}\",\"password\":\"{password}\"}}'"
        ));
    }
    terminal::line(&"Ctrl-C stops it.");
}

/// Starts the private Postgres again if it was killed; the shop answers 503 meanwhile.
async fn look_after(embedded: Arc<Embedded>) {
    let mut failing = false;
    loop {
        actix::clock::sleep(REVIVE_INTERVAL).await;
        match embedded.revive().await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                tracing::error!(%error, "the private Postgres is down and does not start");
                failing = true;
            }
            Err(_) => {}
        }
    }
}
