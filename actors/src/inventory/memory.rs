//! What a lane remembers from one batch to the next, so that a sale need not read it anew.
//!
//! Promises: what is remembered counts only where the database says that it still holds: whoever locks a
//! stock compares the version of what stands beside it, and whoever does not has stock and versions checked
//! by the statement that writes. So no other node's sale or edit is ever missed. Memory is bounded.

use std::collections::{HashMap, VecDeque};

use super::decide::Decided;
use super::facts::{Shelf, Wanted};
use crate::types::{Money, ProductId};

/// The most products remembered; past it, all are forgotten and read anew.
const PRODUCTS_MAX: usize = 50_000;
/// The most batches that read first after what was remembered has turned out wrong.
const DOUBT_MAX: u32 = 63;

/// What a sale has to know of a product besides its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) name: String,
    pub(crate) price: Money,
    pub(crate) removed: bool,
}

/// A product as it was last seen.
#[derive(Debug)]
struct Known {
    shelf_version: i64,
    label: Label,
    /// Its stock and the version of that, as this node's last batch left them.
    stock: Option<(i64, i64)>,
}

/// What there is to start a batch of sales on, without reading.
#[derive(Debug)]
pub(crate) struct Recalled {
    /// The products that it sells.
    pub(crate) shelves: HashMap<ProductId, Shelf>,
    /// An id for each of its orders, the last one first.
    pub(crate) order_ids: Vec<i64>,
}

/// The memory of a lane.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: HashMap<ProductId, Known>,
    /// Ids that were drawn for orders and not used, the earliest first.
    order_ids: VecDeque<i64>,
    /// Batches that are still to read first.
    doubt: u32,
    /// How many that were, the last time.
    last_doubt: u32,
}

impl Memory {
    /// What a product is called, if it is known under this version.
    pub(crate) fn label(&self, product: ProductId, shelf_version: i64) -> Option<&Label> {
        let known = self.known.get(&product)?;
        (known.shelf_version == shelf_version).then_some(&known.label)
    }

    pub(crate) fn learn(&mut self, product: ProductId, shelf_version: i64, label: Label) {
        if self.known.len() >= PRODUCTS_MAX && !self.known.contains_key(&product) {
            self.known.clear();
        }
        self.known.insert(product, Known { shelf_version, label, stock: None });
    }

    /// Learns a product with its stock, unless a batch has left something later meanwhile.
    pub(crate) fn learn_stock(
        &mut self,
        product: ProductId,
        shelf_version: i64,
        label: Label,
        (quantity, version): (i64, i64),
    ) {
        if self.known.get(&product).and_then(|known| known.stock).is_some_and(|(_, left)| left > version) {
            return;
        }
        self.learn(product, shelf_version, label);
        self.note([(product, quantity, version)].into_iter());
    }

    /// Whether the next batch may rest on what is remembered.
    pub(crate) fn trusts(&mut self) -> bool {
        let trusts = self.doubt == 0;
        self.doubt = self.doubt.saturating_sub(1);
        trusts
    }

    /// The products, of those wanted, whose stock is not remembered.
    pub(crate) fn unknown(&self, wanted: &Wanted) -> Vec<i64> {
        let is_known = |id: &i64| self.known.get(&ProductId(*id)).is_some_and(|known| known.stock.is_some());
        wanted.products.iter().copied().filter(|id| !is_known(id)).collect()
    }

    /// What is wanted, if all of it is remembered.
    pub(crate) fn recall(&mut self, wanted: &Wanted) -> Option<Recalled> {
        let orders = usize::try_from(wanted.orders_to_place).ok()?;
        if self.order_ids.len() < orders {
            return None;
        }
        let shelves: Option<_> = wanted.products.iter().map(|&id| self.shelf(ProductId(id))).collect();
        Some(Recalled { shelves: shelves?, order_ids: self.order_ids.drain(..orders).rev().collect() })
    }

    fn shelf(&self, product: ProductId) -> Option<(ProductId, Shelf)> {
        let Known { shelf_version, label, stock } = self.known.get(&product)?;
        let (quantity, stock_version) = (*stock)?;
        let Label { name, price, removed } = label.clone();
        let (before, shelf_version) = (quantity, *shelf_version);
        Some((product, Shelf { name, price, removed, quantity, before, stock_version, shelf_version }))
    }

    /// A batch has been committed, or has changed nothing, and its products are as it left them.
    pub(crate) fn leave(&mut self, decided: &Decided) {
        self.note(decided.left());
        self.forget(decided.outdated());
    }

    fn note(&mut self, stocks: impl Iterator<Item = (ProductId, i64, i64)>) {
        for (product, quantity, stock_version) in stocks {
            if let Some(known) = self.known.get_mut(&product) {
                known.stock = Some((quantity, stock_version));
            }
        }
    }

    /// Somebody else has changed, or may have changed, these products.
    pub(crate) fn forget(&mut self, products: impl Iterator<Item = ProductId>) {
        for product in products {
            if let Some(known) = self.known.get_mut(&product) {
                known.stock = None;
            }
        }
    }

    /// What was remembered held.
    pub(crate) fn held(&mut self) {
        self.last_doubt = 0;
    }

    /// What was remembered did not hold: another node sells the same. While that goes on, the
    /// next batches read first, twice as many each time.
    pub(crate) fn missed(&mut self) {
        self.last_doubt = (self.last_doubt * 2 + 1).min(DOUBT_MAX);
        self.doubt = self.last_doubt;
    }

    /// How many ids to draw, so that there are enough for `now` and as many as are likely after.
    pub(crate) fn ids_to_draw(&self, now: i64, after: i64) -> i64 {
        let kept = i64::try_from(self.order_ids.len()).unwrap_or(i64::MAX);
        (now + after - kept).max(0)
    }

    /// Takes ids back that were recalled and not used.
    pub(crate) fn put_back(&mut self, order_ids: Vec<i64>) {
        order_ids.into_iter().for_each(|id| self.order_ids.push_front(id));
    }

    /// Keeps ids that were drawn for orders.
    pub(crate) fn keep_ids(&mut self, ids: Vec<i64>) {
        self.order_ids.extend(ids);
    }

    /// The earliest `count` ids, as far as there are so many, the last one first.
    pub(crate) fn take_ids(&mut self, count: i64) -> Vec<i64> {
        let count = usize::try_from(count).unwrap_or(0).min(self.order_ids.len());
        self.order_ids.drain(..count).rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUP: ProductId = ProductId(1);

    fn label(name: &str) -> Label {
        Label { name: name.to_owned(), price: Money::ZERO, removed: false }
    }

    fn one_cup() -> Wanted {
        Wanted { orders_to_place: 1, products: vec![CUP.0], ..Wanted::default() }
    }

    /// A memory of a cup, five of which were left.
    fn memory() -> Memory {
        let mut memory = Memory::default();
        memory.learn(CUP, 3, label("cup"));
        memory.note([(CUP, 5, 7)].into_iter());
        memory.keep_ids(vec![11, 12, 13]);
        memory
    }

    #[test]
    fn a_label_counts_under_its_version_alone() {
        let mut memory = memory();
        assert_eq!(memory.label(CUP, 3), Some(&label("cup")));
        assert_eq!(memory.label(CUP, 4), None);
        assert_eq!(memory.label(CUP, 2), None);
        memory.learn(CUP, 4, label("mug"));
        assert_eq!(memory.label(CUP, 4), Some(&label("mug")));
        assert_eq!(memory.label(CUP, 3), None);
    }

    #[test]
    fn there_is_a_bound() {
        let mut memory = Memory::default();
        for id in 0..=PRODUCTS_MAX as i64 {
            memory.learn(ProductId(id), 1, label(""));
        }
        assert_eq!(memory.known.len(), 1);
    }

    #[test]
    fn what_was_left_is_recalled_with_ids_in_their_order() {
        let mut memory = memory();
        let recalled = memory.recall(&one_cup()).unwrap();
        let cup = &recalled.shelves[&CUP];
        assert_eq!((cup.quantity, cup.stock_version, cup.shelf_version), (5, 7, 3));
        assert_eq!(recalled.order_ids, [11]);
        assert_eq!(memory.ids_to_draw(4, 2), 4);
        assert_eq!(memory.take_ids(2), [13, 12], "the next order takes the last of these");
        assert!(memory.recall(&one_cup()).is_none(), "no id is left");
    }

    #[test]
    fn what_was_forgotten_or_never_left_is_not_recalled() {
        let mut memory = memory();
        memory.forget([CUP].into_iter());
        assert!(memory.recall(&one_cup()).is_none());
        assert_eq!(memory.unknown(&one_cup()), [CUP.0]);
        memory.note([(CUP, 4, 8), (ProductId(2), 1, 1)].into_iter());
        memory.learn_stock(CUP, 3, label("cup"), (9, 7));
        assert!(memory.unknown(&one_cup()).is_empty());
        assert_eq!(memory.recall(&one_cup()).unwrap().shelves[&CUP].quantity, 4, "what was read is older");
        let two = Wanted { products: vec![1, 2], ..one_cup() };
        assert!(memory.recall(&two).is_none(), "of the second, no name is known");
        memory.learn(CUP, 4, label("mug"));
        assert!(memory.recall(&one_cup()).is_none(), "an edit outdates the stock's version, too");
    }

    #[test]
    fn doubt_doubles_until_something_holds() {
        let mut memory = memory();
        let mut read_first = || {
            memory.missed();
            (0..).take_while(|_| !memory.trusts()).count()
        };
        assert_eq!([read_first(), read_first(), read_first()], [1, 3, 7]);
        assert_eq!((0..5).map(|_| read_first()).last(), Some(DOUBT_MAX as usize));
        memory.held();
        memory.missed();
        assert!(!memory.trusts() && memory.trusts());
    }
}
