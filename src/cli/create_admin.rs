//! `emporium create-admin`: a staff account.

use std::io::BufRead;
use std::process::ExitCode;

use super::connection::connected;
use super::{CliError, password, terminal};
use crate::settings::Settings;

/// Make a staff account, which may write the catalogue and see every order
///
/// The password is the first line of standard input with --password-stdin, else ADMIN_PASSWORD,
/// else a generated one, which is shown once.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name to sign in with
    #[arg(long)]
    username: String,
    /// The address for password resets
    #[arg(long)]
    email: String,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<ExitCode, CliError> {
    let given = given_password(args)?;
    let generated = given.is_none();
    let password = given.unwrap_or_else(password::generate);
    connected(settings, async |connection| {
        let shop = connection.shop(settings).await?;
        let made = shop.accounts.create_admin(&args.username, &args.email, &password).await;
        shop.stop().await;
        let user = made?;
        terminal::line(&format_args!("{} may now sign in as staff", user.username));
        if generated {
            terminal::line(&format_args!("password: {password}  (shown only this once)"));
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

fn given_password(args: &Args) -> Result<Option<String>, CliError> {
    if !args.password_stdin {
        return Ok(std::env::var("ADMIN_PASSWORD").ok().filter(|password| !password.is_empty()));
    }
    let mut line = String::new();
    let fail = |source| CliError::Read { path: "standard input".to_owned(), source };
    std::io::stdin().lock().read_line(&mut line).map_err(fail)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(CliError::NoPassword) } else { Ok(Some(password.to_owned())) }
}
