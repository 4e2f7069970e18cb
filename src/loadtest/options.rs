//! What every scenario can be told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::books::Audit;
use super::client::{Client, Target};
use super::schedule::Pace;
use super::stage::StageError;

/// Where the shop is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ShopArgs {
    /// The shop, as http://host:port; may be one node or a load balancer.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    pub url: Target,
    /// A staff account, to prepare and to check the run.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub staff: String,
    /// Its password.
    #[arg(long, value_name = "PASSWORD", env = "ADMIN_PASSWORD", hide_env_values = true, default_value = "")]
    pub staff_password: String,
}

impl ShopArgs {
    /// Signs in as staff, and insists on an audit that is clean before the run.
    pub(crate) async fn enter(&self) -> Result<(Arc<Account>, Audit), StageError> {
        if self.staff_password.is_empty() {
            return Err(StageError::NoPassword);
        }
        let mut client = Client::new(self.url.clone());
        let staff = Account::sign_in(&mut client, self.staff.clone(), self.staff_password.clone()).await?;
        let audit = Audit::read(&mut client, &staff).await?;
        match audit.ok {
            true => Ok((Arc::new(staff), audit)),
            false => Err(StageError::NotClean(audit.discrepancies.len())),
        }
    }
}

/// How much, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Connections. In a closed loop, each sends its next request when it has its answer; in an open
    /// loop, the most requests under way at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=8192))]
    pub clients: u16,
    /// Open loop: so many operations a second, each timed from the moment it was meant to begin, so that
    /// stalls count. Without it, a closed loop
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// The measured time, as in 10, 10s, 500ms or 5m; 10 s unless the run is bounded otherwise
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub duration: Option<Duration>,
    /// At the beginning; not measured, though checked
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "2s")]
    pub warm_up: Duration,
    /// How long an answer may take
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "30s")]
    pub timeout: Duration,
    /// Failed requests do not break the verdict, only what they leave behind; for runs in which servers
    /// are killed
    #[arg(long)]
    pub allow_failures: bool,
    /// Also report memory and CPU time of this process, the server's, where it runs on this machine
    #[arg(long, value_name = "PID")]
    pub watch_pid: Option<u32>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where results go besides the table.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Also write every figure to this file
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,
    /// Also write a report with plots to this file: one HTML file that needs no other
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,
}

impl LoadArgs {
    /// When operations begin.
    pub(crate) fn pace(&self, operations: Option<u64>) -> Pace {
        let default = operations.is_none().then_some(Duration::from_secs(10));
        Pace { rate: self.rate, warm_up: self.warm_up, duration: self.duration.or(default), operations }
    }

    /// How the clients work, in words.
    pub(crate) fn loop_in_words(&self) -> String {
        match self.rate {
            Some(rate) => format!("open loop, {rate}/s asked for, at most {} at once", self.clients),
            None => format!("closed loop, {} clients", self.clients),
        }
    }
}

/// `10`, `10s`, `500ms`, `5m` or `1h`, up to a day.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().map_err(|_| "it begins with no number".to_owned())?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        other => return Err(format!("{other:?} is none of ms, s, m and h")),
    };
    let time = number.checked_mul(unit_ms).filter(|ms| *ms <= 86_400_000);
    time.map(Duration::from_millis).ok_or_else(|| "it is more than a day".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in
            [("10", 10_000), ("10s", 10_000), ("250ms", 250), ("2m", 120_000), ("24h", 86_400_000)]
        {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "1.5s", "25h", "1 s", "99999999999999999999s", "5d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
