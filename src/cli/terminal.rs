//! What the program says to people: results on standard output, progress and errors on standard
//! error.
//!
//! Nobody may be reading (a closed pipe); then the words are lost and the work goes on.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often plain lines report progress.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// A line on standard output.
pub(super) fn line(text: &dyn Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// An error on standard error; further lines of its text are advice, and indented.
pub(super) fn error(error: &dyn Display) {
    let text = error.to_string().replace('\n', "\n       ");
    writeln!(std::io::stderr().lock(), "error: {text}").ok();
}

/// How far a piece of work has come: a bar on a terminal, a plain line every few seconds elsewhere.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    plain_next: std::cell::Cell<Instant>,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} ({per_sec}, {eta} left)");
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.with_message(what)
        });
        Self { bar, what, total, plain_next: std::cell::Cell::new(Instant::now() + PLAIN_INTERVAL) }
    }

    pub(super) fn at(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.plain_next.get() <= Instant::now() {
            self.plain_next.set(Instant::now() + PLAIN_INTERVAL);
            writeln!(std::io::stderr().lock(), "{} {done} of {}", self.what, self.total).ok();
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
