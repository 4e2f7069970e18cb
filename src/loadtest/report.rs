//! What a run came to, for people and for programs, and whether the shop kept its promises.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::books::{Audit, Comparison};
use super::heard::FeedsReport;
use super::html;
use super::machine::Machine;
use super::options::OutputArgs;
use super::receipts::OrdersChecked;
use super::recorder::{Counts, Figures, milliseconds};
use super::usage::Usage;

/// The results cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub(crate) struct ReportError {
    path: String,
    source: io::Error,
}

/// What a table and a page of plots are made of.
pub(crate) struct Page<'a> {
    pub scenario: &'a str,
    pub holds: bool,
    pub broken: &'a [String],
    /// Name and value; a row without a name goes on with the one before.
    pub rows: Vec<(String, String)>,
    pub figures: &'a Figures,
}

/// Results that can be told.
pub(crate) trait Told: Serialize {
    /// For people.
    fn page(&self) -> Page<'_>;
}

/// Tells results wherever they are wanted; the exit code is the verdict.
pub(crate) fn tell(told: &impl Told, output: &OutputArgs) -> Result<ExitCode, ReportError> {
    let page = told.page();
    let table = write_table(&page, &mut io::stdout().lock());
    table.map_err(|source| ReportError { path: "the table".to_owned(), source })?;
    if let Some(path) = &output.json {
        write_file(path, |out| {
            serde_json::to_writer_pretty(&mut *out, told)?;
            writeln!(out)
        })?;
    }
    if let Some(path) = &output.html {
        write_file(path, |out| out.write_all(html::page(&page).as_bytes()))?;
    }
    Ok(if page.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), ReportError> {
    let written = File::create(path).map(BufWriter::new).and_then(|mut out| {
        write(&mut out)?;
        out.flush()
    });
    written.map_err(|source| ReportError { path: path.display().to_string(), source })
}

fn write_table(page: &Page<'_>, out: &mut impl Write) -> io::Result<()> {
    for (name, value) in &page.rows {
        writeln!(out, "  {name:<24}{value}")?;
    }
    writeln!(out, "  {:<24}{}", "verdict", verdict(page))
}

/// The verdict in words.
pub(crate) fn verdict(page: &Page<'_>) -> String {
    if page.holds { "holds".to_owned() } else { format!("BROKEN: {}", page.broken.join("; ")) }
}

/// All that a run came to, of any scenario but `replay`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub scenario: &'static str,
    /// Whether the shop kept its promises; what it broke is in `broken`.
    pub holds: bool,
    pub broken: Vec<String>,
    pub settings: Vec<(&'static str, String)>,
    pub figures: Figures,
    pub usage: Usage,
    /// The own books against the shop's orders and stock; `None` where nothing was sold.
    pub orders: Option<OrdersChecked>,
    /// What sockets heard; `None` where there were none.
    pub feeds: Option<FeedsReport>,
    pub stock: Option<Comparison>,
    pub units_left: Option<i64>,
    pub audit_before: Option<Audit>,
    pub audit_after: Option<Audit>,
    pub machine: Machine,
    /// Where it is set, failed requests break nothing.
    #[serde(skip)]
    pub allow_failures: bool,
    /// Of one product alone: an order of so many units may be refused only if there are fewer.
    #[serde(skip)]
    pub least_wanted: Option<i64>,
}

impl Report {
    /// Not yet judged.
    pub(crate) fn new(
        scenario: &'static str,
        settings: Vec<(&'static str, String)>,
        figures: Figures,
        usage: Usage,
    ) -> Self {
        Self {
            scenario,
            holds: false,
            broken: Vec::new(),
            settings,
            figures,
            usage,
            orders: None,
            feeds: None,
            stock: None,
            units_left: None,
            audit_before: None,
            audit_after: None,
            machine: Machine::here(),
            allow_failures: false,
            least_wanted: None,
        }
    }

    /// Judges: fills in what was broken, and so whether the verdict holds. Refusals break nothing,
    /// unless there was stock.
    pub(crate) fn judge(mut self) -> Self {
        let Counts { done, sold_out, failed, .. } = self.figures.operations;
        let mut broken = Vec::new();
        if failed > 0 && !self.allow_failures {
            broken.push(format!("{failed} requests failed"));
        }
        if done + sold_out == 0 {
            broken.push("not one request was answered as it should be".to_owned());
        }
        if let Some(orders) = &self.orders {
            broken.extend(orders.broken());
        }
        if let Some(stock) = &self.stock {
            broken.extend(stock.broken());
        }
        if let Some(feeds) = &self.feeds {
            broken.extend(feeds.broken());
        }
        let has_expired = self.orders.as_ref().is_none_or(|orders| orders.expired > 0);
        if let (Some(wanted), Some(left), false) = (self.least_wanted, self.units_left, has_expired)
            && sold_out > 0
            && left >= wanted
        {
            broken.push(format!("{sold_out} orders were refused although {left} units are left"));
        }
        if let Some(audit) = self.audit_after.as_ref().filter(|audit| !audit.ok) {
            broken.push(format!("the audit names {} products", audit.discrepancies.len()));
        }
        self.holds = broken.is_empty();
        self.broken = broken;
        self
    }
}

impl Told for Report {
    fn page(&self) -> Page<'_> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        for (name, value) in &self.settings {
            row(name, value.clone());
        }
        figure_rows(&self.figures, &mut row);
        if let Some(feeds) = &self.feeds {
            feeds.rows(&mut row);
        }
        if let Some(orders) = &self.orders {
            row(
                "own books",
                format!(
                    "{} acknowledged, {} in the shop; {} missing, {} twice, {} altered, {} unacknowledged ({} answers lost)",
                    orders.acknowledged,
                    orders.listed,
                    orders.missing,
                    orders.repeated,
                    orders.altered,
                    orders.unacknowledged,
                    orders.unknown
                ),
            );
        }
        if let Some(stock) = &self.stock {
            stock_rows(stock, &mut row);
        }
        if let Some(left) = self.units_left {
            row("units left", left.to_string());
        }
        if let Some(audit) = &self.audit_after {
            row("audit", audit.in_words());
        }
        usage_rows(&self.usage, &mut row);
        row("machine", self.machine.in_words());
        Page {
            scenario: self.scenario,
            holds: self.holds,
            broken: &self.broken,
            rows,
            figures: &self.figures,
        }
    }
}

/// Counts, rates and latency.
fn figure_rows(figures: &Figures, row: &mut impl FnMut(&str, String)) {
    let counts = &figures.operations;
    row("measured", format!("{:.2} s after {:.1} s of warm-up", figures.seconds, figures.warm_up_seconds));
    row(
        "operations",
        format!(
            "{} done, {} refused (out of stock), {} refused (busy), {} failed",
            counts.done, counts.sold_out, counts.busy, counts.failed
        ),
    );
    for (reason, count) in &figures.failures {
        row("", format!("{count} x {reason}"));
    }
    row(
        "throughput",
        format!("{:.1} done/s, {:.1} answers/s", figures.done_per_second, figures.answers_per_second),
    );
    if figures.missed > 0 {
        row("rate not met", format!("{} operations could not even be sent", figures.missed));
    }
    let latency = &figures.latency_us;
    let times = [
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p99", latency.p99),
        ("p99.9", latency.p999),
        ("max", latency.max),
    ];
    row("latency", times.map(|(name, time)| format!("{name} {}", milliseconds(time))).join(", "));
    if figures.kinds.len() > 1 {
        for kind in figures.kinds.iter().filter(|kind| kind.counts.all() > 0) {
            let latency = &kind.latency_us;
            row(
                &format!("  {}", kind.name),
                format!(
                    "{}, p50 {}, p99 {}",
                    kind.counts.all(),
                    milliseconds(latency.p50),
                    milliseconds(latency.p99)
                ),
            );
        }
    }
}

/// Stock against own books.
pub(crate) fn stock_rows(stock: &Comparison, row: &mut impl FnMut(&str, String)) {
    row(
        "stock",
        format!(
            "{} products, {} differing, {} below zero",
            stock.products, stock.differing, stock.below_zero
        ),
    );
    for difference in &stock.differences {
        row("", format!("{difference:?}"));
    }
}

/// How busy everything was.
pub(crate) fn usage_rows(usage: &Usage, row: &mut impl FnMut(&str, String)) {
    row("load generator", usage.sentence());
    if let Some(server) = &usage.server {
        let mib = |kib: Option<u64>| kib.map_or("unknown".to_owned(), |kib| format!("{} MiB", kib / 1024));
        let cpu = server.cpu.map_or("unknown".to_owned(), |cpu| format!("{cpu:.2}"));
        row(
            "server",
            format!(
                "{cpu} cores; resident {} before, {} at most",
                mib(server.rss_before_kib),
                mib(server.rss_max_kib)
            ),
        );
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::loadtest::recorder::{Outcome, Recorder};

    pub(crate) fn figures(outcomes: &[Outcome]) -> Figures {
        let mut recorder =
            Recorder::begin(&["order", "list"], Duration::ZERO, Some(Duration::from_secs(1))).unwrap();
        for outcome in outcomes {
            let now = Instant::now();
            recorder.record(0, recorder.time(now), now, now + Duration::from_micros(1234), outcome.clone());
        }
        recorder.figures()
    }

    pub(crate) fn usage() -> Usage {
        Usage { generator_cpu: Some(0.25), generator_waited: Some(0.1), machine_cpu: Some(1.0), server: None }
    }

    fn report(outcomes: &[Outcome]) -> Report {
        let audit =
            Audit { ok: true, products: 1, orders: 1, units_in: 5, units_out: 1, discrepancies: Vec::new() };
        let mut report =
            Report::new("flash-sale", vec![("load", "closed".to_owned())], figures(outcomes), usage());
        report.orders = Some(OrdersChecked { acknowledged: 1, listed: 1, ..OrdersChecked::default() });
        report.stock = Some(Comparison { products: 1, differing: 0, below_zero: 0, differences: Vec::new() });
        report.units_left = Some(0);
        report.audit_after = Some(audit);
        report.least_wanted = Some(1);
        report
    }

    #[test]
    fn refusals_break_nothing() {
        let judged = report(&[Outcome::Done, Outcome::SoldOut, Outcome::Busy]).judge();
        assert!(judged.holds, "{:?}", judged.broken);
    }

    #[test]
    fn each_broken_promise_breaks_the_verdict() {
        let breaks: [fn(&mut Report); 8] = [
            |r| r.figures.operations.failed = 1,
            |r| r.orders.as_mut().unwrap().missing = 1,
            |r| r.orders.as_mut().unwrap().repeated = 1,
            |r| r.orders.as_mut().unwrap().unacknowledged = 1,
            |r| r.stock.as_mut().unwrap().differing = 1,
            |r| r.stock.as_mut().unwrap().below_zero = 1,
            |r| r.audit_after.as_mut().unwrap().ok = false,
            |r| r.units_left = Some(3),
        ];
        for break_it in breaks {
            let mut broken = report(&[Outcome::Done, Outcome::SoldOut]);
            break_it(&mut broken);
            let judged = broken.judge();
            assert!(!judged.holds && judged.broken.len() == 1, "{:?}", judged.broken);
        }
        assert!(!report(&[]).judge().holds, "a shop that does nothing breaks it too");
    }

    #[test]
    fn failures_can_be_allowed_but_not_what_they_leave_behind() {
        let mut allowed = report(&[Outcome::Done, Outcome::Failed("gone".to_owned())]);
        allowed.allow_failures = true;
        allowed = allowed.judge();
        assert!(allowed.holds, "{:?}", allowed.broken);
        allowed.orders.as_mut().unwrap().missing = 1;
        assert!(!allowed.judge().holds);
    }

    #[test]
    fn the_table_names_the_figures() {
        let report = report(&[Outcome::Done, Outcome::Failed("500 oops".to_owned())]).judge();
        let mut out = Vec::new();
        write_table(&report.page(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for words in ["1 done", "1 x 500 oops", "1.23 ms", "25 % of one core", "BROKEN: 1 requests failed"] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
}
