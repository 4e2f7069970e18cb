//! Whether the shop sells, here or on another node.
//!
//! Promises: what this node sells is known when its batch begins, what another one does as soon as this node
//! has read of it in the log.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::feed::{EventKind, Listener};
use crate::types::Seq;

/// Counts signs of trade.
#[derive(Debug, Default)]
pub(crate) struct Trade {
    signs: AtomicU64,
}

impl Trade {
    /// A batch begins, or an order was told of.
    pub(super) fn goes_on(&self) {
        self.signs.fetch_add(1, Ordering::Relaxed);
    }

    /// How many signs there were so far; as long as it stays the same, nobody buys.
    pub(super) fn signs(&self) -> u64 {
        self.signs.load(Ordering::Relaxed)
    }
}

impl Listener for Trade {
    fn on_event(&self, _: Seq, kind: &EventKind) {
        if matches!(kind, EventKind::Order { .. }) {
            self.goes_on();
        }
    }
}
