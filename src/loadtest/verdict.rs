//! What a replay came to: its figures, and whether the shop kept its promises.

use std::collections::BTreeMap;

use serde::Serialize;

use super::books::{Audit, Comparison};
use super::machine::Machine;
use super::recorder::{Figures, milliseconds};
use super::report::{Page, Told, stock_rows, usage_rows};
use super::usage::Usage;
use super::watch::FeedReport;

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
    /// From the first sending of an order to its answer, retries included.
    pub figures: Figures,
    pub usage: Usage,
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
        let mut broken = self.books.broken();
        if self.orders.failed > 0 {
            broken.push(format!("{} orders failed", self.orders.failed));
        }
        if !self.audit_after.ok {
            broken.push(format!("the audit names {} products", self.audit_after.discrepancies.len()));
        }
        if !self.feed.is_complete() {
            broken.push("the order feed is incomplete or disordered".to_owned());
        }
        self.holds = broken.is_empty();
        self.broken = broken;
        self
    }
}

impl Told for Verdict {
    fn page(&self) -> Page<'_> {
        let Self { orders, feed, .. } = self;
        let latency = &self.figures.latency_us;
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        row("orders placed", orders.placed.to_string());
        row("orders refused", format!("{} (out of stock)", orders.refused));
        row("orders failed", orders.failed.to_string());
        for (reason, count) in &orders.failures {
            row("", format!("{count} x {reason}"));
        }
        row("lines, units placed", format!("{}, {}", orders.lines, orders.units));
        row("sent again", orders.retries.to_string());
        row("clients, customers", format!("{}, {}", self.clients, self.customers));
        row("time", format!("{:.2} s", self.seconds));
        row(
            "throughput",
            format!("{:.1} orders/s, {:.1} lines/s", self.orders_per_second, self.lines_per_second),
        );
        let times = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("max", latency.max)];
        row("latency", times.map(|(name, time)| format!("{name} {}", milliseconds(time))).join(", "));
        row("units in stock", format!("{} before, {} after", self.units_before, self.units_after));
        stock_rows(&self.books, &mut row);
        row("audit", self.audit_after.in_words());
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
        row("order feed", told);
        if let Some(reason) = &feed.gave_up {
            row("", reason.clone());
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::loadtest::recorder::{Outcome, per_second};
    use crate::loadtest::report::tests::{figures, usage};

    fn verdict() -> Verdict {
        let audit =
            Audit { ok: true, products: 1, orders: 1, units_in: 5, units_out: 1, discrepancies: Vec::new() };
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
            figures: figures(&[Outcome::Done]),
            usage: usage(),
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
        let judged = verdict().judge();
        let text = format!("{:?}", judged.page().rows);
        assert!(text.contains("p50 1.23 ms") && text.contains("0.5 orders/s"), "{text}");
    }
}
