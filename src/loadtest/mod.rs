//! Load scenarios: the shop under pressure, over real HTTP and WebSocket, and a verdict on what it
//! promises.
//!
//! Promises: a scenario keeps books of its own and believes nothing that it can check; its exit code
//! is 0 only if every check held (1: something was broken; 2: there is no verdict); the figures say
//! how busy the load generator itself was.
//!
//! ```text
//! options      what can be told        stage      products and customers of the run's own, the check
//! schedule     when requests begin     goods, account, session, wire, client
//! drive        the clients             receipts, books, watch
//! feeds        its sockets             sockets, heard
//! recorder     the figures             report, plot, html, usage, machine
//! ```

mod account;
mod bare;
mod books;
mod browse;
mod buyers;
mod catalog;
pub mod client;
mod drive;
mod feeds;
mod goods;
mod heard;
mod html;
mod machine;
mod mixed;
mod options;
mod orders_file;
mod plot;
mod popularity;
mod progress;
mod readers;
mod receipts;
mod recorder;
mod replay;
mod report;
mod schedule;
mod session;
mod sockets;
mod stage;
mod usage;
mod verdict;
mod watch;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

pub use bare::BareArgs;
pub use browse::BrowseArgs;
pub use buyers::{FlashSaleArgs, SpreadArgs};
pub use catalog::CatalogArgs;
pub use feeds::FeedsArgs;
pub use mixed::MixedArgs;
pub use replay::ReplayArgs;

use report::{Report, tell};
use stage::StageError;

/// Put a running shop under load and check what it promises
///
/// Makes products and customers of its own where it sells, and holds what was acknowledged to them
/// against the shop's orders, stock and audit. The exit code is the verdict.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadtestArgs {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Scenario {
    FlashSale(FlashSaleArgs),
    Spread(SpreadArgs),
    Replay(ReplayArgs),
    Browse(BrowseArgs),
    Catalog(CatalogArgs),
    Mixed(MixedArgs),
    Feeds(FeedsArgs),
    #[command(hide = true)]
    Bare(BareArgs),
}

/// What the exit code is when a scenario could not be played to its end.
const NO_VERDICT: u8 = 2;

/// Plays a scenario. Blocks; must not be called from within a runtime.
#[must_use]
pub fn run(args: &LoadtestArgs) -> ExitCode {
    if let Scenario::Bare(args) = &args.scenario {
        return bare::serve(args).unwrap_or_else(|error| give_up(&error));
    }
    // One thread: the load shares the machine with the shop, and wakes nobody across threads.
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, play(&args.scenario)),
        Err(error) => give_up(&error),
    }
}

async fn play(scenario: &Scenario) -> ExitCode {
    let (report, output) = match scenario {
        Scenario::FlashSale(args) => (buyers::flash_sale(args).await, args.output()),
        Scenario::Spread(args) => (buyers::spread(args).await, args.output()),
        Scenario::Browse(args) => (browse::browse(args).await, args.output()),
        Scenario::Catalog(args) => (catalog::catalog(args).await, args.output()),
        Scenario::Mixed(args) => (mixed::mixed(args).await, args.output()),
        Scenario::Feeds(args) => (feeds::feeds(args).await, args.output()),
        Scenario::Replay(args) => return replay::play(args).await.unwrap_or_else(|error| give_up(&error)),
        Scenario::Bare(_) => return ExitCode::from(NO_VERDICT),
    };
    let told = report.map(Report::judge).and_then(|report| tell(&report, output).map_err(StageError::from));
    told.unwrap_or_else(|error| give_up(&error))
}

fn give_up(error: &dyn std::error::Error) -> ExitCode {
    // Nobody may be reading; the exit code says it too.
    writeln!(std::io::stderr(), "error: {error}").ok();
    ExitCode::from(NO_VERDICT)
}
