//! How far a long run has come: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

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
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} {per_sec} {eta}");
            let bar = ProgressBar::new(total).with_message(step);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
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
        // Nobody may be reading; that is no reason to stop.
        writeln!(std::io::stderr(), "{}: {}/{}", self.step, self.done, self.total).ok();
    }
}
