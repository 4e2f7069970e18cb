//! What a replay came to: its figures, and whether the shop kept its promises.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;

use super::books::{Audit, Comparison};
use super::watch::FeedReport;

/// The slowest answer that is told exactly.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Failures told one by one.
const FAILURES_TOLD_MAX: usize = 10;

/// Counts of what became of the orders.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Orders {
    /// Acknowledged with `201`.
    pub placed: u64,
    /// Answered `409 out_of_stock`.
    pub refused: u64,
    /// Anything else.
    pub failed: u64,
    /// Requests sent again, after "not now" or a broken connection.
    pub retries: u64,
    /// Lines of the orders placed, a sku counted once per order.
    pub lines: u64,
    /// Units of the orders placed.
    pub units: i64,
    /// Why orders failed, and how many for each reason.
    pub failures: BTreeMap<String, u64>,
}

impl Orders {
    /// An order failed.
    pub(crate) fn fail(&mut self, reason: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_TOLD_MAX || self.failures.contains_key(&reason) {
            *self.failures.entry(reason).or_default() += 1;
        }
    }
}

/// From the first sending of an order to its answer, retries included, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl Latency {
    /// A histogram to record microseconds into, to three digits.
    pub(crate) fn histogram() -> Result<Histogram<u64>, CreationError> {
        Histogram::new_with_max(LATENCY_MAX_US, 3)
    }

    /// Its figures.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

/// The machine that ran the load, which is also the shop's where both share it.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: Option<String>,
    memory: Option<String>,
    system: String,
    emporium: &'static str,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        let fact = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?.split_once(':')?.1;
            Some(line.trim().to_owned())
        };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: fact("/proc/cpuinfo", "model name"),
            memory: fact("/proc/meminfo", "MemTotal"),
            system: format!("{} {} {}", std::env::consts::OS, std::env::consts::ARCH, kernel.trim()),
            emporium: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// All that a replay came to.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub scenario: &'static str,
    /// Whether the shop kept its promises; what it broke is in `broken`.
    pub holds: bool,
    pub broken: Vec<String>,
    pub clients: usize,
    pub customers: usize,
    pub orders: Orders,
    pub seconds: f64,
    pub orders_per_second: f64,
    pub lines_per_second: f64,
    pub latency_us: Latency,
    pub units_before: i64,
    pub units_after: i64,
    pub books: Comparison,
    pub audit_before: Audit,
    pub audit_after: Audit,
    pub feed: FeedReport,
    pub machine: Machine,
}

impl Verdict {
    /// Judges: fills in what was broken, and so whether the verdict holds. Refusals for lack of stock
    /// break nothing.
    pub(crate) fn judge(mut self) -> Self {
        let broken = [
            (self.orders.failed > 0, format!("{} orders failed", self.orders.failed)),
            (
                self.books.differing > 0,
                format!("{} products differ from the own books", self.books.differing),
            ),
            (self.books.below_zero > 0, format!("{} products are below zero", self.books.below_zero)),
            (
                !self.audit_after.ok,
                format!("the audit names {} products", self.audit_after.discrepancies.len()),
            ),
            (!self.feed.is_complete(), "the order feed is incomplete or disordered".to_owned()),
        ];
        self.broken = broken.into_iter().filter_map(|(is_broken, what)| is_broken.then_some(what)).collect();
        self.holds = self.broken.is_empty();
        self
    }

    /// Writes the table that ends a run.
    pub(crate) fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { orders, latency_us: latency, feed, books, .. } = self;
        let mut row = |name: &str, value: String| writeln!(out, "  {name:<22}{value}");
        row("orders placed", orders.placed.to_string())?;
        row("orders refused", format!("{} (out of stock)", orders.refused))?;
        row("orders failed", orders.failed.to_string())?;
        for (reason, count) in &orders.failures {
            row("", format!("{count} x {reason}"))?;
        }
        row("lines, units placed", format!("{}, {}", orders.lines, orders.units))?;
        row("sent again", orders.retries.to_string())?;
        row("clients, customers", format!("{}, {}", self.clients, self.customers))?;
        row("time", format!("{:.2} s", self.seconds))?;
        row(
            "throughput",
            format!("{:.1} orders/s, {:.1} lines/s", self.orders_per_second, self.lines_per_second),
        )?;
        let times = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("max", latency.max)];
        row("latency", times.map(|(name, time)| format!("{name} {}", milliseconds(time))).join(", "))?;
        row("units in stock", format!("{} before, {} after", self.units_before, self.units_after))?;
        let compared = format!(
            "{} products, {} differing, {} below zero",
            books.products, books.differing, books.below_zero
        );
        row("own books", compared)?;
        for difference in &books.differences {
            row("", format!("{difference:?}"))?;
        }
        let audit = &self.audit_after;
        let clean = if audit.ok {
            "clean".to_owned()
        } else {
            format!("{} discrepancies", audit.discrepancies.len())
        };
        row(
            "audit",
            format!("{clean}: {} units in, {} out, {} orders", audit.units_in, audit.units_out, audit.orders),
        )?;
        let told = format!(
            "{} placed, {} missing, {} repeated, {} unacknowledged, {} out of order, {} resets, {} reconnects",
            feed.placed,
            feed.missing,
            feed.repeated,
            feed.unacknowledged,
            feed.out_of_order,
            feed.resets,
            feed.reconnects
        );
        row("order feed", told)?;
        if let Some(reason) = &feed.gave_up {
            row("", reason.clone())?;
        }
        row("machine", format!("{} cores, {}", self.machine.cores, self.machine.system))?;
        let verdict =
            if self.holds { "holds".to_owned() } else { format!("BROKEN: {}", self.broken.join("; ")) };
        row("verdict", verdict)
    }
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

/// `count` in `time`, as a rate.
#[allow(clippy::float_arithmetic, reason = "a rate to be read, not an amount")]
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn verdict() -> Verdict {
        let audit =
            Audit { ok: true, products: 1, orders: 1, units_in: 5, units_out: 1, discrepancies: Vec::new() };
        let mut histogram = Latency::histogram().unwrap();
        histogram.record(1234).unwrap();
        Verdict {
            scenario: "replay",
            holds: false,
            broken: Vec::new(),
            clients: 1,
            customers: 1,
            orders: Orders { placed: 1, refused: 2, lines: 1, units: 1, ..Orders::default() },
            seconds: 2.0,
            orders_per_second: per_second(1, Duration::from_secs(2)),
            lines_per_second: per_second(1, Duration::from_secs(2)),
            latency_us: Latency::of(&histogram),
            units_before: 5,
            units_after: 4,
            books: Comparison { products: 1, differing: 0, below_zero: 0, differences: Vec::new() },
            audit_before: audit.clone(),
            audit_after: audit,
            feed: FeedReport {
                placed: 1,
                missing: 0,
                repeated: 0,
                unacknowledged: 0,
                out_of_order: 0,
                resets: 0,
                reconnects: 1,
                gave_up: None,
            },
            machine: Machine::here(),
        }
    }

    #[test]
    fn refusals_and_reconnects_break_nothing() {
        assert!(verdict().judge().holds);
    }

    #[test]
    fn each_broken_promise_breaks_the_verdict() {
        let breaks: [fn(&mut Verdict); 7] = [
            |v| v.orders.fail("500".to_owned()),
            |v| v.books.differing = 1,
            |v| v.books.below_zero = 1,
            |v| v.audit_after.ok = false,
            |v| v.feed.missing = 1,
            |v| v.feed.repeated = 1,
            |v| v.feed.out_of_order = 1,
        ];
        for break_it in breaks {
            let mut broken = verdict();
            break_it(&mut broken);
            let judged = broken.judge();
            assert!(!judged.holds && judged.broken.len() == 1, "{:?}", judged.broken);
        }
    }

    #[test]
    fn the_table_names_the_figures() {
        let mut out = Vec::new();
        verdict().judge().write_table(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("p50 1.23 ms") && text.contains("0.5 orders/s") && text.contains("holds"),
            "{text}"
        );
    }
}
