//! Load scenarios: the shop under pressure, over real HTTP and WebSocket, and a verdict on what it
//! promises.
//!
//! Promises: a scenario keeps books of its own and believes nothing that it can check; its exit code
//! is 0 only if every check held (1: something was broken; 2: there is no verdict).

mod account;
mod books;
pub mod client;
mod orders_file;
mod progress;
mod replay;
mod verdict;
mod watch;

use std::io::Write;
use std::process::ExitCode;

pub use replay::ReplayArgs;

/// Put a running shop under load and check what it promises.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadtestArgs {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Scenario {
    Replay(ReplayArgs),
}

/// What the exit code is when a scenario could not be played to its end.
const NO_VERDICT: u8 = 2;

/// Plays a scenario. Blocks; must not be called from within a runtime.
#[must_use]
pub fn run(args: &LoadtestArgs) -> ExitCode {
    // One thread: the load shares the machine with the shop, and wakes nobody across threads.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return give_up(&error),
    };
    let played = match &args.scenario {
        Scenario::Replay(args) => runtime.block_on(replay::play(args)),
    };
    played.unwrap_or_else(|error| give_up(&error))
}

fn give_up(error: &dyn std::error::Error) -> ExitCode {
    // Nobody may be reading; the exit code says it too.
    writeln!(std::io::stderr(), "error: {error}").ok();
    ExitCode::from(NO_VERDICT)
}
