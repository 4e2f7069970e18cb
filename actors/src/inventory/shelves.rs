//! What a lane remembers of products, so that a sale need not read them anew.
//!
//! Promises: what is remembered counts only where the locked stock says that it still holds (its
//! `shelf_version`), so another node's edit is never missed; memory is bounded.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{Money, ProductId};

/// The most products remembered; past it, all are forgotten and read anew.
const PRODUCTS_MAX: usize = 50_000;

/// What a sale has to know of a product besides its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) name: Arc<str>,
    pub(crate) price: Money,
    pub(crate) removed: bool,
}

/// The labels last read, each with the version that it was read under.
#[derive(Debug, Default)]
pub(crate) struct Shelves {
    known: HashMap<ProductId, (i64, Label)>,
}

impl Shelves {
    /// A label, if it is known under this version.
    pub(crate) fn get(&self, product: ProductId, version: i64) -> Option<&Label> {
        self.known.get(&product).filter(|(known, _)| *known == version).map(|(_, label)| label)
    }

    pub(crate) fn learn(&mut self, product: ProductId, version: i64, label: Label) {
        if self.known.len() >= PRODUCTS_MAX && !self.known.contains_key(&product) {
            self.known.clear();
        }
        self.known.insert(product, (version, label));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_counts_under_its_version_alone() {
        let mut shelves = Shelves::default();
        let label = |name: &str| Label { name: name.into(), price: Money::ZERO, removed: false };
        shelves.learn(ProductId(1), 3, label("cup"));
        assert_eq!(shelves.get(ProductId(1), 3), Some(&label("cup")));
        assert_eq!(shelves.get(ProductId(1), 4), None);
        assert_eq!(shelves.get(ProductId(1), 2), None);
        shelves.learn(ProductId(1), 4, label("mug"));
        assert_eq!(shelves.get(ProductId(1), 4), Some(&label("mug")));
        assert_eq!(shelves.get(ProductId(1), 3), None);
    }

    #[test]
    fn there_is_a_bound() {
        let mut shelves = Shelves::default();
        for id in 0..=PRODUCTS_MAX as i64 {
            let label = Label { name: "".into(), price: Money::ZERO, removed: false };
            shelves.learn(ProductId(id), 1, label);
        }
        assert_eq!(shelves.known.len(), 1);
    }
}
