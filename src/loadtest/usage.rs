//! How busy a run kept the load generator itself, the machine, and a server process that was named.
//!
//! Read from `/proc`; where that is missing, so are the figures.

#![allow(clippy::float_arithmetic, reason = "shares to be read, not amounts")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::{JoinHandle, spawn_local};

/// What `/proc/…/stat` counts in; 100 on every Linux that is not built by hand.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often the memory of the server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From this share of a core on, the generator may be what limits a run: it has one thread.
const BUSY: f64 = 0.9;

/// What a run took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Usage {
    /// CPU time of the load generator, as a share of one core over the whole run; it has one thread, so
    /// 1 is the most.
    pub generator_cpu: Option<f64>,
    /// How long it waited for a core although it had work, as a share of the run.
    pub generator_waited: Option<f64>,
    /// All cores of the machine, as a share of their time.
    pub machine_cpu: Option<f64>,
    /// The server process, where one was named.
    pub server: Option<ServerUsage>,
}

/// What a server process took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerUsage {
    /// CPU time in cores.
    pub cpu: Option<f64>,
    /// Resident memory before the run, and the most during it.
    pub rss_before_kib: Option<u64>,
    pub rss_max_kib: Option<u64>,
}

impl Usage {
    /// Whether the figures may be the generator's limit rather than the server's.
    pub(crate) fn is_generator_limited(&self) -> bool {
        self.generator_cpu.is_some_and(|share| share > BUSY)
    }

    /// For people.
    pub(crate) fn sentence(&self) -> String {
        let percent = |share: Option<f64>| match share {
            Some(share) => format!("{:.0} %", share * 100.0),
            None => "unknown".to_owned(),
        };
        format!(
            "{} of one core, and {} of the time waiting for one; machine {} busy{}",
            percent(self.generator_cpu),
            percent(self.generator_waited),
            percent(self.machine_cpu),
            if self.is_generator_limited() { " -- THE GENERATOR MAY BE THE LIMIT" } else { "" }
        )
    }
}

/// Measures from its beginning to its end.
pub(crate) struct Meter {
    began: Instant,
    own: Option<u64>,
    waited: Option<u64>,
    machine: Option<(u64, u64)>,
    server: Option<Watched>,
}

struct Watched {
    pid: u32,
    ticks: Option<u64>,
    rss_before_kib: Option<u64>,
    rss_max_kib: Rc<Cell<Option<u64>>>,
    task: JoinHandle<()>,
}

impl Meter {
    /// Begins; needs a `LocalSet` where a server is named.
    pub(crate) fn begin(server_pid: Option<u32>) -> Self {
        Self {
            began: Instant::now(),
            own: own_nanos(WORKED),
            waited: own_nanos(WAITED),
            machine: machine_ticks(),
            server: server_pid.map(Watched::begin),
        }
    }

    /// What was taken since.
    pub(crate) fn end(self) -> Usage {
        let seconds = self.began.elapsed().as_secs_f64().max(f64::EPSILON);
        let cores = |before: Option<u64>, after: Option<u64>| {
            Some(after?.saturating_sub(before?) as f64 / TICKS_PER_SECOND / seconds)
        };
        let own = |before: Option<u64>, field| {
            Some(own_nanos(field)?.saturating_sub(before?) as f64 / 1e9 / seconds)
        };
        let machine = self.machine.zip(machine_ticks()).map(|(before, after)| {
            let all = after.1.saturating_sub(before.1).max(1);
            after.0.saturating_sub(before.0) as f64 / all as f64
        });
        Usage {
            generator_cpu: own(self.own, WORKED),
            generator_waited: own(self.waited, WAITED),
            machine_cpu: machine,
            server: self.server.map(|watched| {
                watched.task.abort();
                let rss_now = rss_kib(watched.pid);
                ServerUsage {
                    cpu: cores(watched.ticks, cpu_ticks(&watched.pid.to_string())),
                    rss_before_kib: watched.rss_before_kib,
                    rss_max_kib: watched.rss_max_kib.get().max(rss_now),
                }
            }),
        }
    }
}

impl Watched {
    fn begin(pid: u32) -> Self {
        let rss_max_kib = Rc::new(Cell::new(None));
        let most = rss_max_kib.clone();
        let task = spawn_local(async move {
            loop {
                most.set(most.get().max(rss_kib(pid)));
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        let (ticks, rss_before_kib) = (cpu_ticks(&pid.to_string()), rss_kib(pid));
        Self { pid, ticks, rss_before_kib, rss_max_kib, task }
    }
}

/// CPU time of a process, all its threads, in ticks.
fn cpu_ticks(process: &str) -> Option<u64> {
    ticks_in(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// User and system time are the 14th and 15th fields; the second is a name that may hold anything.
fn ticks_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The fields of `/proc/thread-self/schedstat`.
const WORKED: usize = 0;
const WAITED: usize = 1;

/// How long this thread, which is the whole generator, has had a core, or waited for one.
fn own_nanos(field: usize) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(field)?.parse().ok()
}

/// Busy and all ticks of the machine's cores.
fn machine_ticks() -> Option<(u64, u64)> {
    machine_ticks_in(&std::fs::read_to_string("/proc/stat").ok()?)
}

fn machine_ticks_in(stat: &str) -> Option<(u64, u64)> {
    // user nice system idle iowait irq softirq steal; guest time is in the user's already.
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    let all: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((all - idle, all))
}

/// Resident memory of a process.
pub(crate) fn rss_kib(pid: u32) -> Option<u64> {
    rss_in(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn rss_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read_as_it_writes_them() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 9 0 0 0 120 30 0 0 20 0 4 0 1 2 3";
        assert_eq!(ticks_in(stat), Some(150));
        assert_eq!(ticks_in("nonsense"), None);
        assert_eq!(machine_ticks_in("cpu  10 1 5 70 10 1 2 1 4 0\ncpu0 1"), Some((20, 100)));
        assert_eq!(rss_in("Name:\tx\nVmRSS:\t   4321 kB\n"), Some(4321));
    }

    #[tokio::test]
    async fn work_of_this_process_shows() {
        let local = tokio::task::LocalSet::new();
        let usage = local
            .run_until(async {
                let meter = Meter::begin(Some(std::process::id()));
                let until = Instant::now() + Duration::from_millis(200);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                tokio::task::yield_now().await;
                meter.end()
            })
            .await;
        // On a busy machine most of the work is waiting for a core.
        let (worked, waited) = (usage.generator_cpu.unwrap_or(0.0), usage.generator_waited.unwrap_or(0.0));
        assert!(worked > 0.0 && worked + waited > 0.1, "{usage:?}");
        assert!(usage.server.is_some_and(|server| server.rss_max_kib > Some(1000)));
    }
}
