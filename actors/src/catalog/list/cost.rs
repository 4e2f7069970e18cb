//! What reading takes, in nanoseconds, as measured with a million products, more than the database keeps in
//! its own memory. What the machine takes for all of it does not matter: only what costs less is asked.

/// A product in the order in which they were made, which is nearly that of the table.
pub(super) const WALKED_NEAR: u64 = 1_000;
/// A product in any other order.
pub(super) const WALKED: u64 = 2_500;
/// A stock, all of which is in its index.
pub(super) const WALKED_STOCK: u64 = 800;
/// Looking up the stock of a product; after the one before it.
pub(super) const LOOKED_UP_NEAR: u64 = 1_500;
/// The same, or the product of a stock; anywhere in the table.
pub(super) const LOOKED_UP: u64 = 3_000;
/// A product that is fetched from anywhere in the table, compared and sorted.
pub(super) const GATHERED: u64 = 4_000;
/// An entry of the search index that is passed: those of each key all are, since there is hardly a page
/// of them that can be left out.
pub(super) const ENTRY: u64 = 20;
/// An entry of the rarest key, for which the others are asked.
pub(super) const ASKED: u64 = 100;
/// The same, for each stretch that is asked for one that has all keys.
pub(super) const ASKED_STRETCH: u64 = 20;
/// A key that is asked for, besides.
pub(super) const KEY: u64 = 40_000;
/// A stretch of ids that a search is narrowed to, with its entries.
pub(super) const ID_STRETCH: u64 = 100_000;
/// A stretch of prices, without them.
pub(super) const PRICE_STRETCH: u64 = 30_000;
