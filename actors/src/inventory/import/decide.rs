//! What becomes of the rows of a chunk: pure, as the decisions of a batch are.

use std::collections::HashSet;

use crate::catalog::STOCK_MAX;
use crate::feed::EventKind;
use crate::import::store::{Lines, Resolved};
use crate::import::{Chunk, Counts, RowFault, StockChange};
use crate::inventory::decide::{Entry, FirstStock, Writes};
use crate::types::{CategoryId, Money, ProductId};

/// Why stock changed, in the ledger.
const REASON: &str = "import";

/// What nobody else changes until the transaction ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Locked {
    /// The categories, of those that the rows name, that exist.
    pub(super) categories: HashSet<i64>,
    /// The products whose stock is locked.
    pub(super) products: HashSet<i64>,
}

/// What a chunk comes to.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// The line of its last row; 0 without any.
    pub(super) up_to: i64,
    pub(super) counts: Counts,
    pub(super) faults: Vec<RowFault>,
    /// New products, by their rows' lines.
    pub(super) created: Lines,
    /// Products whose catalogue row changes, by their rows' lines.
    pub(super) edited: Lines,
    /// Stocks and the ledger.
    pub(super) writes: Writes,
    pub(super) events: Vec<EventKind>,
}

/// Decides a chunk. `None` when a row needs what is not there: a product that is not locked, or an id for
/// a new one; it did not when they were taken. Without `locked`, everything is as it would be with it.
pub(super) fn decide(chunk: &Chunk, rows: &[Resolved], locked: Option<&Locked>) -> Option<Decided> {
    let mut decided = Decided { up_to: rows.last().map_or(0, |row| row.line), ..Decided::default() };
    for row in rows {
        decided.row(chunk, row, locked)?;
    }
    Some(decided)
}

impl Decided {
    fn row(&mut self, chunk: &Chunk, row: &Resolved, locked: Option<&Locked>) -> Option<()> {
        let faults = self.faults.len();
        let category = self.category(chunk, row, locked);
        let (product, after) = match row.product {
            Some(product) => (Some(product), self.stock_after(row)),
            None => (row.new_id, self.first_stock(row)),
        };
        if self.faults.len() > faults {
            self.counts.refused += 1;
            return Some(());
        }
        let id = match (product, locked) {
            (Some(id), _) => ProductId(id),
            (None, None) => ProductId(0),
            // Its product was removed just now, so that no id was drawn for a new one.
            (None, Some(_)) => return None,
        };
        // A new product without one has been refused.
        if let (None, Some(category)) = (row.product, category) {
            self.counts.created += 1;
            if self.created.lines.is_empty() {
                // Of what is new, the lists have to hear; one event does for all of them.
                self.events.push(EventKind::Product { product: id });
            }
            self.created.push(row.line, id);
            self.writes.first_stock.push(FirstStock { product: id, quantity: after, category });
            self.change(chunk, id, after, after, row.price.unwrap_or(Money::ZERO));
            return Some(());
        }
        let delta = after - row.quantity;
        if !row.is_edited && delta == 0 {
            self.counts.unchanged += 1;
            return Some(());
        }
        if locked.is_some_and(|locked| !locked.products.contains(&id.0)) {
            return None;
        }
        self.counts.updated += 1;
        if row.is_edited {
            self.edited.push(row.line, id);
            self.events.push(EventKind::Product { product: id });
        }
        let price = row.price.unwrap_or(row.price_now);
        if delta != 0 {
            self.writes.stock.insert(id, after);
        }
        if delta != 0 || price != row.price_now {
            self.change(chunk, id, delta, after, price);
        }
        Some(())
    }

    /// Writes down that a stock, or a price, is another one.
    fn change(&mut self, chunk: &Chunk, product: ProductId, delta: i64, stock: i64, price: Money) {
        if delta != 0 {
            let entry = Entry { product, delta, reason: REASON.to_owned(), by: chunk.by };
            self.writes.entries.push(entry);
        }
        self.events.push(EventKind::Stock { product, stock, price });
    }

    /// The category that it names, which has to exist.
    fn category(&mut self, chunk: &Chunk, row: &Resolved, locked: Option<&Locked>) -> Option<CategoryId> {
        let place = usize::try_from(row.category? - 1).unwrap_or(usize::MAX);
        match chunk.categories.get(place) {
            None | Some(0) => self.refuse(row, "category", "there is no such category, nor room for it"),
            Some(id) if locked.is_some_and(|locked| !locked.categories.contains(id)) => {
                self.refuse(row, "category", "this category has just been removed");
            }
            Some(id) => return Some(CategoryId(*id)),
        }
        None
    }

    /// What there will be of a known product.
    fn stock_after(&mut self, row: &Resolved) -> i64 {
        match row.stock {
            None => row.quantity,
            Some(StockChange::Count(count)) => count,
            Some(StockChange::Delta(delta)) => {
                let after = row.quantity.saturating_add(delta);
                if after < 0 {
                    self.refuse(row, "stock_delta", &format!("there are only {} in stock", row.quantity));
                } else if after > STOCK_MAX && delta > 0 {
                    self.refuse(row, "stock_delta", &format!("there would be more than {STOCK_MAX}"));
                }
                after
            }
        }
    }

    /// What there will be of a new product, which has to be described whole.
    fn first_stock(&mut self, row: &Resolved) -> i64 {
        let wanted = [
            ("name", row.has_name),
            ("category", row.category.is_some()),
            ("price", row.price.is_some()),
            ("stock", row.stock.is_some()),
        ];
        for (column, _) in wanted.into_iter().filter(|(_, is_there)| !is_there) {
            self.refuse(row, column, "a new product needs it");
        }
        self.stock_after(row)
    }

    fn refuse(&mut self, row: &Resolved, column: &'static str, what: &str) {
        let fault = RowFault { line: row.line, column: Some(column.into()), what: what.to_owned() };
        self.faults.push(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::UserId;

    const PRICE: Money = Money::from_cents(150);

    fn chunk() -> Chunk {
        Chunk {
            id: "daily".to_owned(),
            run: 1,
            by: Some(UserId(9)),
            categories: [4, 0].into(),
            after: 0,
            rows_max: 10,
            locks_first: true,
        }
    }

    fn known(line: i64, product: i64, stock: Option<StockChange>) -> Resolved {
        let quantity = 5;
        Resolved { line, product: Some(product), stock, quantity, price_now: PRICE, ..Resolved::default() }
    }

    fn unknown(line: i64, id: i64) -> Resolved {
        Resolved {
            line,
            new_id: Some(id),
            has_name: true,
            price: Some(PRICE),
            category: Some(1),
            stock: Some(StockChange::Count(3)),
            ..Resolved::default()
        }
    }

    /// What there will be of an unknown one.
    fn first(id: i64) -> FirstStock {
        FirstStock { product: ProductId(id), quantity: 3, category: CategoryId(4) }
    }

    fn locked(products: &[i64]) -> Locked {
        Locked { categories: [4].into(), products: products.iter().copied().collect() }
    }

    fn faults(decided: &Decided) -> Vec<(i64, &str)> {
        decided.faults.iter().map(|fault| (fault.line, fault.column.as_deref().unwrap_or(""))).collect()
    }

    #[test]
    fn counts_and_differences_become_stock_entries_and_events() {
        let rows = [
            known(2, 1, Some(StockChange::Count(7))),
            known(3, 2, Some(StockChange::Delta(-5))),
            known(4, 3, Some(StockChange::Count(5))),
            known(5, 4, Some(StockChange::Delta(0))),
            unknown(6, 50),
        ];
        let decided = decide(&chunk(), &rows, Some(&locked(&[1, 2]))).unwrap();
        assert_eq!(decided.counts, Counts { created: 1, updated: 2, unchanged: 2, refused: 0 });
        assert_eq!(decided.writes.stock, [(ProductId(1), 7), (ProductId(2), 0)].into());
        assert_eq!(decided.writes.first_stock, [first(50)]);
        let deltas: Vec<i64> = decided.writes.entries.iter().map(|entry| entry.delta).collect();
        assert_eq!(deltas, [2, -5, 3]);
        assert!(decided.writes.entries.iter().all(|entry| entry.by == Some(UserId(9))));
        let stock = |product, stock| EventKind::Stock { product: ProductId(product), stock, price: PRICE };
        let new = EventKind::Product { product: ProductId(50) };
        assert_eq!(decided.events, [stock(1, 7), stock(2, 0), new, stock(50, 3)]);
        assert_eq!((decided.up_to, decided.created.lines), (6, vec![6]));
        assert_eq!((decided.created.products, decided.edited.lines), (vec![50], vec![]));
    }

    #[test]
    fn an_edit_that_leaves_stock_and_price_is_not_told_on_the_feed() {
        let edited = Resolved { is_edited: true, price: Some(PRICE), ..known(2, 1, None) };
        let dearer = Resolved { is_edited: true, price: Some(Money::from_cents(151)), ..known(3, 2, None) };
        let decided = decide(&chunk(), &[edited, dearer], Some(&locked(&[1, 2]))).unwrap();
        let stock = EventKind::Stock { product: ProductId(2), stock: 5, price: Money::from_cents(151) };
        let [first, second] = [1, 2].map(|id| EventKind::Product { product: ProductId(id) });
        assert_eq!(decided.events, [first, second, stock]);
        assert!(decided.writes.stock.is_empty() && decided.writes.entries.is_empty());
        assert_eq!(decided.edited, Lines { lines: vec![2, 3], products: vec![1, 2] });
    }

    #[test]
    fn what_cannot_be_is_refused_and_named() {
        let rows = [
            known(2, 1, Some(StockChange::Delta(-6))),
            known(3, 2, Some(StockChange::Delta(STOCK_MAX))),
            Resolved { category: Some(2), ..unknown(4, 50) },
            Resolved { category: Some(3), ..unknown(5, 51) },
            Resolved { line: 6, ..Resolved::default() },
            Resolved { stock: Some(StockChange::Delta(-1)), ..unknown(7, 52) },
            unknown(8, 53),
        ];
        let decided = decide(&chunk(), &rows, Some(&locked(&[1, 2]))).unwrap();
        assert_eq!(decided.counts, Counts { created: 1, updated: 0, unchanged: 0, refused: 6 });
        let named = [
            (2, "stock_delta"),
            (3, "stock_delta"),
            (4, "category"),
            (5, "category"),
            (6, "name"),
            (6, "category"),
            (6, "price"),
            (6, "stock"),
            (7, "stock_delta"),
        ];
        assert_eq!(faults(&decided), named);
        assert_eq!(decided.writes.first_stock, [first(53)]);
    }

    #[test]
    fn a_category_that_has_just_been_removed_is_named() {
        let gone = Locked::default();
        let decided = decide(&chunk(), &[unknown(2, 50)], Some(&gone)).unwrap();
        assert_eq!(faults(&decided), [(2, "category")]);
        assert!(decide(&chunk(), &[unknown(2, 50)], None).unwrap().faults.is_empty());
    }

    #[test]
    fn a_change_that_is_not_locked_is_none_of_this_transactions() {
        let rows = [known(2, 1, Some(StockChange::Count(7)))];
        assert!(decide(&chunk(), &rows, Some(&locked(&[2]))).is_none());
        assert!(decide(&chunk(), &rows, None).is_some());
        let unchanged = [known(2, 1, Some(StockChange::Count(5)))];
        assert!(decide(&chunk(), &unchanged, Some(&locked(&[]))).is_some());
        let without_id = [Resolved { new_id: None, ..unknown(2, 50) }];
        assert!(decide(&chunk(), &without_id, Some(&locked(&[]))).is_none());
    }
}
