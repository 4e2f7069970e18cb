//! Lists of products: what a reader may ask for, and how a page of it is read at any size of the
//! catalogue.
//!
//! A page is one statement, made of the fragments of `sql/catalog/list_products.sql` and of nothing
//! else, every value a parameter. It reads rows from one source: from an index that has the order of
//! the list, where the page is full as soon as enough of them fit; or from an index of those who meet
//! one of the conditions, all of which are then sorted. Which is the shorter way depends on how many
//! products fit and on where they are in the order. That is guessed beforehand from a sample of the
//! catalogue that the node keeps ([`sample`], [`guess`], [`search`]); the database's own planner is asked
//! for nothing but the index that [`statement`] leaves it. The guess decides how fast a page is read, and
//! never what is on it: what a source leaves out is told, and another one is then asked.
//!
//! Promises: a statement looks at no more than [`LIST_ROWS_MAX`] products, and a page takes another one
//! only where the guess was wrong; nothing is counted and nothing is skipped, so that a page costs the
//! same however deep it is. Where so many products are not enough to find a whole page of those who
//! fit, the page is short, and its cursor goes on behind what was looked at; only where [`STATEMENTS_MAX`]
//! statements have found none at all is it empty. Products come in the order asked for, ties by id in the
//! direction of the first column.

mod cost;
mod guess;
mod lessons;
mod letters;
mod plan;
mod relevance;
mod sample;
mod search;
mod spelling;
mod statement;

use std::sync::Arc;

use tokio::runtime::Handle;

use super::cursor::{CursorKey, ProductCursor};
use super::{CatalogError, Product, store};
use crate::db::Db;
use crate::types::{CategoryId, Money, Page, PageRequest};
use lessons::Lessons;
pub use plan::ROWS_MAX as LIST_ROWS_MAX;
use plan::{Plan, Wanted};
pub use relevance::BLOCK as RANKED_TOGETHER;
pub(super) use relevance::{fold, has_word_beginning, is_position};
pub(super) use sample::SampleRow;
use sample::Sampler;
pub use statement::list_products_samples;
pub(super) use statement::{Param, Statement};

/// The most words a search may have.
pub const TERMS_MAX: usize = 20;
/// Stretches of a list that are looked through for one page, before a short one is given out.
const STRETCHES_MAX: usize = 3;
/// What every statement of a list is told under.
pub(super) const LIST_PRODUCTS: &str = "catalog/list_products.sql";
/// Statements that a page may take at most, those included that do not get on.
const STATEMENTS_MAX: usize = 8;

/// What products can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// The price of one.
    Price,
    /// How many there are.
    Stock,
    /// The name in any case: in capitals, as searches compare it, and by code point.
    Name,
    /// When it was made.
    CreatedAt,
    /// The id, by which every order ends; it cannot be asked for.
    Id,
}

impl Column {
    /// All that can be asked for.
    pub const ALL: [Self; 4] = [Self::Price, Self::Stock, Self::Name, Self::CreatedAt];

    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Stock => "stock",
            Self::Name => "name",
            Self::CreatedAt => "created_at",
            Self::Id => "id",
        }
    }

    /// The column of that name, if it can be asked for.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.as_str() == name)
    }

    pub(super) fn value_of(self, product: &Product) -> CursorKey {
        match self {
            Self::Price => CursorKey::Number(product.price.cents()),
            Self::Stock => CursorKey::Number(product.stock),
            Self::Name => CursorKey::Text(product.name.clone()),
            Self::CreatedAt => CursorKey::Time(product.created_at),
            Self::Id => CursorKey::Number(product.id.0),
        }
    }
}

/// Which way a column is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl Direction {
    /// What is first in this direction, given what is smaller.
    fn apply(self, smaller: std::cmp::Ordering) -> std::cmp::Ordering {
        match self {
            Self::Ascending => smaller,
            Self::Descending => smaller.reverse(),
        }
    }
}

/// Which products, in which order. Ties are ordered by id, in the direction of the first column; a
/// list without an ordering by id from the first on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductQuery {
    /// Each must occur in name, description or sku, in any case; at most [`TERMS_MAX`].
    pub terms: Vec<String>,
    /// No column twice.
    pub ordering: Vec<(Column, Direction)>,
    /// Whether those are first that fit the terms best; there are terms then, and no other ordering.
    pub by_relevance: bool,
    /// One of these; all when empty.
    pub categories: Vec<CategoryId>,
    /// At this price or above.
    pub min_price: Option<Money>,
    /// At this price or below.
    pub max_price: Option<Money>,
    /// Only what there is some of.
    pub in_stock: bool,
}

/// The whole order of a list: what was asked for, and then the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order(Vec<(Column, Direction)>);

impl Order {
    /// The order of this query's list.
    pub(super) fn of(query: &ProductQuery) -> Self {
        let of_ties = query.ordering.first().map_or(Direction::Ascending, |(_, direction)| *direction);
        Self(query.ordering.iter().copied().chain([(Column::Id, of_ties)]).collect())
    }

    /// Its columns, the id last.
    pub(super) fn keys(&self) -> &[(Column, Direction)] {
        &self.0
    }

    /// Whether the index on the column at `level` gives, among products that are equal in all columns
    /// before, exactly this order. Otherwise it gives it up to ties in that column.
    fn is_exact(&self, level: usize) -> bool {
        let last = self.0.len() - 1;
        level == last
            || (level + 1 == last && self.0.get(level).map(|key| key.1) == self.0.last().map(|key| key.1))
    }
}

/// A row of a page's statement.
pub(super) struct ListedRow {
    /// The product.
    pub product: Product,
    /// Whether it belongs to the list.
    pub fits: bool,
    /// Whether the source broke off here.
    pub is_end: bool,
}

/// What a statement came to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A whole page, or all there is; and where the next one begins, if there is one.
    Page(Vec<Product>, Option<ProductCursor>),
    /// Some, and the position up to which these are all; the rest is elsewhere.
    Part(Vec<Product>, ProductCursor),
    /// The same, after as many rows as a statement may read. It is a surprise if they should have been
    /// enough.
    Beginning { items: Vec<Product>, at: ProductCursor, is_surprise: bool },
    /// More than can be sorted; who is first among them is not known.
    TooMany,
    /// More that are equal in the columns of this position, the list's first ones, than can be sorted.
    TooManyAlike(ProductCursor),
}

/// Reads lists. Shared by everybody who wants one.
pub(super) struct ProductLister {
    db: Db,
    sampler: Arc<Sampler>,
    lessons: Lessons,
}

impl ProductLister {
    /// Reads from `db`; what is done beside that is done on `threads`.
    pub(super) fn new(db: Db, threads: Handle) -> Self {
        let sampler = Sampler::new(db.clone(), threads);
        Self { db, sampler, lessons: Lessons::default() }
    }

    /// A page of a list.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`] when the cursor belongs to another order, or when the
    /// database is out of reach.
    pub(super) async fn page(
        &self,
        query: &ProductQuery,
        page: &PageRequest<ProductCursor>,
    ) -> Result<Page<Product, ProductCursor>, CatalogError> {
        match query.by_relevance {
            true => self.page_by_relevance(query, page).await,
            false => self.page_in_order(query, page).await,
        }
    }

    /// A page of a list that is ordered by columns.
    async fn page_in_order(
        &self,
        query: &ProductQuery,
        page: &PageRequest<ProductCursor>,
    ) -> Result<Page<Product, ProductCursor>, CatalogError> {
        let order = Order::of(query);
        if page.after.as_ref().is_some_and(|cursor| !cursor.fits(&order)) {
            return Err(CatalogError::InvalidCursor);
        }
        let mut wanted = Wanted::new(query, &order, page.after.clone(), page.size);
        wanted.lesson = self.lessons.of(&wanted);
        let (mut items, mut stretches) = (Vec::new(), 0);
        for _ in 0..STATEMENTS_MAX {
            let (found, at, is_over) = match self.step(&wanted).await? {
                Found::Page(found, next) => {
                    items.extend(found);
                    if let Some(sample) = self.sampler.at_hand() {
                        self.lessons.learn(&wanted, &sample, items.len(), next.as_ref());
                    }
                    return Ok(Page { items, next });
                }
                // What it had tells how far the next one has to reach.
                Found::Part(found, at) => (found, at, false),
                Found::Beginning { items, at, is_surprise } => {
                    // Perhaps the catalogue is not any more as it was thought to be.
                    let may_go_on = is_surprise && self.sampler.renew().await?;
                    (items, at, !may_go_on)
                }
                Found::TooManyAlike(at) => {
                    wanted.level_min = at.keys.len();
                    // A page that begins among them begins where it does.
                    wanted.start.get_or_insert(at);
                    continue;
                }
                Found::TooMany => {
                    (wanted.may_gather, wanted.lesson) = (false, None);
                    self.sampler.renew().await?;
                    continue;
                }
            };
            let len = found.len();
            items.extend(found);
            stretches += 1;
            let is_enough = is_over || items.len() == page.size || stretches >= STRETCHES_MAX;
            // Many a reader would take an empty page for the end of the list.
            if is_enough && !items.is_empty() {
                return Ok(Page { items, next: Some(at) });
            }
            // Where two had too few, so may the next one.
            wanted.may_narrow = stretches < 2;
            wanted.go_on(at, len);
        }
        match wanted.start {
            Some(at) if stretches > 0 => Ok(Page { items, next: Some(at) }),
            // Six are enough for a stretch: one that finds too many, and one for each column.
            _ => Err(CatalogError::Internal),
        }
    }

    /// How the first statement of a page is run, in the words of the database.
    ///
    /// # Errors
    /// As of [`Self::page`].
    pub(super) async fn explain(
        &self,
        query: &ProductQuery,
        page: &PageRequest<ProductCursor>,
    ) -> Result<String, CatalogError> {
        let order = Order::of(query);
        if page.after.as_ref().is_some_and(|cursor| !cursor.fits(&order)) {
            return Err(CatalogError::InvalidCursor);
        }
        let wanted = Wanted::new(query, &order, page.after.clone(), page.size);
        let statement = Statement::compose(&wanted, &self.plan(&wanted).await?);
        let client = self.db.client(LIST_PRODUCTS).await?;
        Ok(store::explain(&client, &statement.explained()).await?)
    }

    async fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan, CatalogError> {
        Ok(match Plan::without_doubt(wanted) {
            Some(plan) => plan,
            None => Plan::choose(wanted, &*self.sampler.sample().await?),
        })
    }

    async fn step(&self, wanted: &Wanted<'_>) -> Result<Found, CatalogError> {
        let plan = self.plan(wanted).await?;
        let statement = Statement::compose(wanted, &plan);
        let client = self.db.client(LIST_PRODUCTS).await?;
        let rows = store::list_products(&client, &statement).await?;
        drop(client);
        Ok(plan.read(rows, wanted))
    }
}
