//! What this node knows to be sold out, so that in a sale that is over a refusal is the cheapest
//! answer of all: no batch, no database.
//!
//! Promises: it is never behind a write that this node has answered, and at most [`LAG_MAX`] behind
//! the other nodes; where the log has not been read for that long it knows nothing. A refusal from
//! here is what the database would have said at a moment within that time.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::feed::{EventKind, Listener};
use crate::orders::{OrderLine, Shortage};
use crate::types::{ProductId, Seq};

/// How far behind the log this may be.
const LAG_MAX: Duration = Duration::from_secs(1);
/// The most products remembered; past it, all are forgotten and learned anew.
const PRODUCTS_MAX: usize = 100_000;

/// Whether products are sold out, as far as this node has been told.
#[derive(Debug, Default)]
pub(crate) struct SoldOut {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The last event about each product, and whether it left nothing. Own commits are told before
    /// the log is read, so events may come twice, and older ones after newer ones.
    products: HashMap<ProductId, (Seq, bool)>,
    /// Nothing at or before this number is believed any more.
    floor: Seq,
    read_at: Option<Instant>,
}

impl SoldOut {
    /// What these lines are short of, where every one of them is known to be sold out.
    pub(crate) fn shortages(&self, lines: &[OrderLine]) -> Option<Vec<Shortage>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = known.read_at.is_some_and(|at| at.elapsed() < LAG_MAX);
        let is_out = |line: &OrderLine| known.products.get(&line.product).is_some_and(|&(_, is_out)| is_out);
        if !is_fresh || !lines.iter().all(is_out) {
            return None;
        }
        let shortage =
            |line: &OrderLine| Shortage { product: line.product, requested: line.quantity, available: 0 };
        Some(lines.iter().map(shortage).collect())
    }
}

impl Known {
    fn learn(&mut self, product: ProductId, seq: Seq, is_out: bool) {
        if seq <= self.floor {
            return;
        }
        if self.products.len() >= PRODUCTS_MAX {
            self.floor = self.products.values().map(|(seq, _)| *seq).max().unwrap_or(self.floor);
            self.products = HashMap::new();
        }
        let entry = self.products.entry(product).or_insert((seq, is_out));
        if seq >= entry.0 {
            *entry = (seq, is_out);
        }
    }
}

impl Listener for SoldOut {
    fn on_event(&self, seq: Seq, kind: &EventKind) {
        let (product, is_out) = match *kind {
            EventKind::Stock { product, stock, .. } => (product, stock == 0),
            // Not sold out but unknown, which is for the batch to say.
            EventKind::Removed { product } => (product, false),
            _ => return,
        };
        self.known.write().unwrap_or_else(PoisonError::into_inner).learn(product, seq, is_out);
    }

    fn on_read(&self, _: Seq, began: Instant) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).read_at = Some(began);
    }

    fn on_gap(&self, seq: Seq) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.floor = known.floor.max(seq);
        known.products = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Money;

    const CUP: ProductId = ProductId(1);

    fn stock(stock: i64) -> EventKind {
        EventKind::Stock { product: CUP, stock, price: Money::ZERO }
    }

    fn is_out(sold_out: &SoldOut) -> bool {
        sold_out.shortages(&[OrderLine { product: CUP, quantity: 2 }]).is_some()
    }

    #[test]
    fn the_event_with_the_highest_number_counts() {
        let sold_out = SoldOut::default();
        sold_out.on_read(Seq(0), Instant::now());
        assert!(!is_out(&sold_out));
        sold_out.on_event(Seq(5), &stock(0));
        assert!(is_out(&sold_out));
        sold_out.on_event(Seq(7), &stock(3));
        sold_out.on_event(Seq(6), &stock(0));
        assert!(!is_out(&sold_out), "an older event told late changes nothing");
        sold_out.on_event(Seq(8), &stock(0));
        sold_out.on_event(Seq(9), &EventKind::Removed { product: CUP });
        assert!(!is_out(&sold_out));
    }

    #[test]
    fn nothing_is_known_where_the_log_is_not_read() {
        let sold_out = SoldOut::default();
        sold_out.on_event(Seq(5), &stock(0));
        assert!(!is_out(&sold_out));
        sold_out.on_read(Seq(5), Instant::now());
        assert!(is_out(&sold_out));
        sold_out.known.write().unwrap().read_at = Instant::now().checked_sub(LAG_MAX);
        assert!(!is_out(&sold_out));
    }

    #[test]
    fn an_order_with_anything_left_in_it_is_for_the_batch() {
        let sold_out = SoldOut::default();
        sold_out.on_read(Seq(0), Instant::now());
        sold_out.on_event(Seq(5), &stock(0));
        let lines = [CUP, ProductId(2)].map(|product| OrderLine { product, quantity: 1 });
        assert!(sold_out.shortages(&lines).is_none());
    }

    #[test]
    fn what_was_forgotten_is_not_learned_from_old_events() {
        let mut known = Known::default();
        for n in 0..=i64::try_from(PRODUCTS_MAX).unwrap() {
            known.learn(ProductId(n), Seq(n + 1), true);
        }
        assert_eq!(known.products.len(), 1);
        known.learn(ProductId(3), Seq(4), true);
        assert!(!known.products.contains_key(&ProductId(3)));
    }
}
