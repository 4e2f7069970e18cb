//! How a page is read: from which source, and what its rows come to.

use std::cmp::Ordering;

use super::super::cursor::{CursorKey, ProductCursor};
use super::super::{Product, ProductQuery};
use super::guess::Guess;
use super::lessons::Lesson;
use super::sample::{Sample, SampleRow};
use super::{Column, Found, ListedRow, Order};
use crate::types::{CategoryId, Money};

/// The most products that a statement reads from its source, and so the most that it sorts.
pub const ROWS_MAX: usize = 10_000;
/// The most categories that are each read in order.
const MERGED_MAX: usize = 64;

/// A page that is to be read.
pub(super) struct Wanted<'a> {
    pub query: &'a ProductQuery,
    pub order: &'a Order,
    /// Where it begins.
    pub start: Option<ProductCursor>,
    /// How many products it has.
    pub size: usize,
    /// Where it began, whatever part of it has been read since.
    pub since: Option<ProductCursor>,
    /// How many products that part has; none while nothing has been read.
    pub found: Option<usize>,
    /// What an earlier search has taught.
    pub lesson: Option<Lesson>,
    /// Whether sources that are read whole are to be thought of.
    pub may_gather: bool,
    /// Whether a search may be narrowed to those who come next.
    pub may_narrow: bool,
    /// How many of the first columns are equal in more products than can be sorted.
    pub level_min: usize,
}

impl<'a> Wanted<'a> {
    /// A page that nobody has tried to read yet.
    pub(super) fn new(
        query: &'a ProductQuery,
        order: &'a Order,
        start: Option<ProductCursor>,
        size: usize,
    ) -> Self {
        let since = start.clone();
        Self {
            query,
            order,
            start,
            size,
            since,
            found: None,
            lesson: None,
            may_gather: true,
            may_narrow: true,
            level_min: 0,
        }
    }

    /// Goes on from there, where so many were found before.
    pub(super) fn go_on(&mut self, at: ProductCursor, found: usize) {
        self.start = Some(at);
        self.size -= found;
        self.found = Some(self.found.unwrap_or_default() + found);
        self.level_min = 0;
    }

    /// The values at the beginning.
    pub(super) fn start_keys(&self) -> &[CursorKey] {
        self.start.as_ref().map_or(&[], |start| &start.keys)
    }

    fn starts_before(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.is_before)
    }

    /// Whether the page begins among products that are equal in the first `level` columns.
    pub(super) fn begins_within(&self, level: usize) -> bool {
        let len = self.start_keys().len();
        level == 0 || len > level || (len == level && self.starts_before())
    }

    fn has_conditions(&self) -> bool {
        *self.query != ProductQuery { ordering: self.query.ordering.clone(), ..ProductQuery::default() }
    }

    /// The price, if only one is asked for.
    pub(super) fn one_price(&self) -> Option<Money> {
        self.query.min_price.filter(|price| self.query.max_price == Some(*price))
    }

    /// Whether an index that is read by this column gives only those whose price is asked for. That of
    /// the prices has all of one price by id.
    pub(super) fn is_of_price(&self, column: Column) -> bool {
        column == Column::Price || (column == Column::Id && self.one_price().is_some())
    }

    /// Whether order or conditions look at the stock.
    pub(super) fn sees_stock(&self) -> bool {
        self.query.in_stock || self.order.keys().iter().any(|(column, _)| *column == Column::Stock)
    }

    /// Whether a product is at or behind the beginning.
    pub(super) fn is_at_or_behind_start(&self, row: &SampleRow) -> bool {
        self.is_at_or_behind(self.start.as_ref(), row)
    }

    /// Whether a product, which is before the beginning, was passed by the part that has been read.
    pub(super) fn is_passed(&self, row: &SampleRow) -> bool {
        self.found.is_some() && self.is_at_or_behind(self.since.as_ref(), row)
    }

    /// Whether a product is in the stretch where the page began and `next`, or the end, is not reached.
    pub(super) fn is_between(&self, row: &SampleRow, next: Option<&ProductCursor>) -> bool {
        let is_behind = next.is_some_and(|next| self.is_at_or_behind(Some(next), row));
        !is_behind && self.is_at_or_behind(self.since.as_ref(), row)
    }

    fn is_at_or_behind(&self, place: Option<&ProductCursor>, row: &SampleRow) -> bool {
        let keys = place.map_or(&[][..], |place| &place.keys);
        match row.beside_position(self.order, keys) {
            Ordering::Greater => true,
            Ordering::Equal => place.is_none_or(|place| place.is_before),
            Ordering::Less => false,
        }
    }
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In order: all products, or those of one category.
    Products(Option<CategoryId>),
    /// In order, one after the other: those of each category that is asked for.
    EachCategory,
    /// In order: all stocks.
    Stock,
    /// Whole: those whose text has these letters, in LIKE patterns; of the categories alone that are
    /// asked for, if the second is set.
    Words(Vec<String>, bool),
    /// Whole: those who have the unusual characters of the words.
    Symbols,
    /// Whole: those of the categories that are asked for.
    Categories,
    /// Whole: those whose price is asked for.
    Prices,
    /// Whole: those of which there are some.
    InStock,
}

/// How a page is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub source: Source,
    /// In order: the column whose index gives it. The columns before are equal in all products.
    pub level: usize,
    /// The most rows of the source.
    pub budget: usize,
    /// Whole: the value in the first column at which the stretch ends that it is narrowed to.
    pub until: Option<CursorKey>,
    /// In order: whether the page is expected to be full before the budget is used up.
    pub is_hopeful: bool,
}

impl Plan {
    /// By the index on the column at that level.
    pub(super) fn in_order(source: Source, level: usize, budget: usize) -> Self {
        Self { source, level, budget, until: None, is_hopeful: true }
    }

    /// All that the source has.
    pub(super) fn whole(source: Source) -> Self {
        // One more tells that these are not all.
        Self { source, level: 0, budget: ROWS_MAX + 1, until: None, is_hopeful: true }
    }

    /// Whether the rows come in the order of the list.
    pub(super) fn is_in_order(&self) -> bool {
        matches!(self.source, Source::Products(_) | Source::EachCategory | Source::Stock)
    }

    /// The plan of a page that an index gives as it is; `None` where one has to guess.
    pub(super) fn without_doubt(wanted: &Wanted<'_>) -> Option<Self> {
        let query = wanted.query;
        let (column, _) = *wanted.order.keys().first()?;
        let has_prices = query.min_price.is_some() || query.max_price.is_some();
        let is_easy = wanted.order.is_exact(0)
            && query.terms.is_empty()
            && (!has_prices || wanted.is_of_price(column))
            && (!query.in_stock || column == Column::Stock);
        if !is_easy {
            return None;
        }
        let source = match query.categories.as_slice() {
            [] if column == Column::Stock => Source::Stock,
            [] => Source::Products(None),
            _ if matches!(column, Column::Stock | Column::Name) => return None,
            [category] => Source::Products(Some(*category)),
            several if several.len() <= MERGED_MAX && several.len() * (wanted.size + 1) <= ROWS_MAX => {
                Source::EachCategory
            }
            _ => return None,
        };
        // Every row fits.
        Some(Self::in_order(source, 0, wanted.size + 1))
    }

    /// The plan that is expected to be the shortest.
    pub(super) fn choose(wanted: &Wanted<'_>, sample: &Sample) -> Self {
        Guess::new(wanted, sample).best()
    }

    /// What the rows that the statement gave come to.
    pub(super) fn read(&self, rows: Vec<ListedRow>, wanted: &Wanted<'_>) -> Found {
        if self.is_in_order() { self.read_in_order(rows, wanted) } else { self.read_whole(rows, wanted) }
    }

    fn read_whole(&self, rows: Vec<ListedRow>, wanted: &Wanted<'_>) -> Found {
        if rows.first().is_some_and(|row| row.is_end) {
            return Found::TooMany;
        }
        let items: Vec<Product> = rows.into_iter().filter(|row| row.fits).map(|row| row.product).collect();
        match &self.until {
            _ if items.len() > wanted.size => full(items, wanted),
            None => Found::Page(items, None),
            Some(end) => Found::Part(items, ProductCursor { keys: vec![end.clone()], is_before: true }),
        }
    }

    fn read_in_order(&self, rows: Vec<ListedRow>, wanted: &Wanted<'_>) -> Found {
        let mut items = Vec::new();
        for row in rows {
            let ListedRow { product, fits, is_end } = row;
            if is_end && !wanted.order.is_exact(self.level) {
                return self.broke_off(items, &product, wanted);
            }
            let at = is_end.then(|| self.position(&product, wanted, wanted.order.keys().len()));
            if fits {
                items.push(product);
            }
            if items.len() > wanted.size {
                return full(items, wanted);
            }
            if let Some(keys) = at {
                let at = ProductCursor { keys, is_before: false };
                return Found::Beginning { items, at, is_surprise: self.is_hopeful };
            }
        }
        match self.level {
            0 => Found::Page(items, None),
            level => {
                let keys = wanted.start_keys().iter().take(level).cloned().collect();
                Found::Part(items, ProductCursor { keys, is_before: false })
            }
        }
    }

    /// Nobody knows who is first among those who are equal to the last row in the walked column.
    fn broke_off(&self, items: Vec<Product>, last: &Product, wanted: &Wanted<'_>) -> Found {
        let at = ProductCursor { keys: self.position(last, wanted, self.level + 1), is_before: true };
        let begins_there = match wanted.start_keys() {
            [] => items.is_empty() && !wanted.has_conditions(),
            keys => keys.get(..=self.level) == Some(&*at.keys),
        };
        match begins_there {
            true => Found::TooManyAlike(at),
            false if items.is_empty() => Found::Part(items, at),
            false => Found::Beginning { items, at, is_surprise: self.is_hopeful },
        }
    }

    /// The values of the first `len` columns at this product, as far as the source goes by them.
    fn position(&self, product: &Product, wanted: &Wanted<'_>, len: usize) -> Vec<CursorKey> {
        let columns = wanted.order.keys().iter().take(len).skip(self.level);
        let before = wanted.start_keys().iter().take(self.level).cloned();
        before.chain(columns.map(|(column, _)| column.value_of(product))).collect()
    }
}

/// A page, and one row more.
fn full(mut items: Vec<Product>, wanted: &Wanted<'_>) -> Found {
    items.truncate(wanted.size);
    let next = items.last().map(|last| ProductCursor::behind(last, wanted.order));
    Found::Page(items, next)
}
