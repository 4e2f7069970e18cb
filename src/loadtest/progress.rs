//! How far a long run has come: a bar on a terminal, a line now and then elsewhere.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::{JoinHandle, spawn_local};

use super::recorder::{Recorder, milliseconds, per_second};
use super::schedule::Pace;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often a terminal shows what goes on.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// The progress of one step of a run, told on the error stream.
pub(crate) struct Progress {
    step: &'static str,
    total: u64,
    done: u64,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins a step of `total` parts.
    pub(crate) fn begin(step: &'static str, total: usize) -> Self {
        let total = total as u64;
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| bar(total, "{msg:24} {wide_bar} {pos}/{len} {per_sec} {eta}").with_message(step));
        let progress = Self { step, total, done: 0, told: Instant::now(), bar };
        if progress.bar.is_none() {
            progress.tell();
        }
        progress
    }

    /// One part more is done.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        } else if self.told.elapsed() > LINE_EVERY {
            self.told = Instant::now();
            self.tell();
        }
    }

    /// The step has ended.
    pub(crate) fn end(&self) {
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None => self.tell(),
        }
    }

    fn tell(&self) {
        say(&format!("{}: {}/{}", self.step, self.done, self.total));
    }
}

/// The figures of the moment while clients are at work.
pub(crate) struct Live {
    task: JoinHandle<()>,
    bar: Option<ProgressBar>,
}

impl Live {
    /// Shows them until [`Live::end`]. Needs a `LocalSet`.
    pub(crate) fn begin(recorder: Rc<RefCell<Recorder>>, pace: Pace) -> Self {
        let end = pace.end();
        let bar = std::io::stderr().is_terminal().then(|| match end {
            Some(end) => bar(end.as_secs(), "{pos:>4}/{len} s {bar:20} {msg}"),
            None => bar(0, "{pos:>4} s {msg}"),
        });
        let shown = bar.clone();
        let task = spawn_local(async move {
            let every = if shown.is_some() { SHOW_EVERY } else { LINE_EVERY };
            loop {
                tokio::time::sleep(every).await;
                let (time, text) = moment(&recorder.borrow(), pace.warm_up);
                match &shown {
                    Some(bar) => {
                        bar.set_position(time.as_secs());
                        bar.set_message(text);
                    }
                    None => say(&format!("{:>4} s  {text}", time.as_secs())),
                }
            }
        });
        Self { task, bar }
    }

    /// No more.
    pub(crate) async fn end(self) {
        self.task.abort();
        // What it borrowed is given back once it is gone.
        self.task.await.ok();
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is going on: the run's own time, and the last whole step.
fn moment(recorder: &Recorder, warm_up: Duration) -> (Duration, String) {
    let time = recorder.time(Instant::now());
    if time < warm_up {
        return (time, "warming up".to_owned());
    }
    let (tick, counts) = recorder.latest();
    let Some(tick) = tick else { return (time, "measuring".to_owned()) };
    let rate = per_second(tick.counts.done, recorder.tick());
    let text = format!(
        "{rate:.0}/s  p50 {}  p99 {}  sold out {}  busy {}  failed {}",
        milliseconds(tick.p50),
        milliseconds(tick.p99),
        counts.sold_out,
        counts.busy,
        counts.failed
    );
    (time, text)
}

fn bar(total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new(total);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Nobody may be reading; that is no reason to stop.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}
