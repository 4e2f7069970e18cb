//! A page of products: what a reader may ask for, and the statement that answers it.
//!
//! Promises: the statement is put together from the fragments of `sql/catalog/list_products.sql` and
//! from nothing else, every value is a parameter; it starts at the cursor instead of counting rows,
//! so a page costs the same however deep it is.

use std::fmt::Write;

use time::OffsetDateTime;
use tokio_postgres::types::{ToSql, Type};

use super::{CatalogError, Product};
use crate::types::{CategoryId, Money, PageRequest, ProductId, Timestamp};

/// The most words a search may have.
pub const TERMS_MAX: usize = 20;

/// What products can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// The price of one.
    Price,
    /// How many there are.
    Stock,
    /// The name, in the database's collation.
    Name,
    /// When it was made.
    CreatedAt,
}

impl Column {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Price, Self::Stock, Self::Name, Self::CreatedAt];

    /// Its name in the contract, and of its fragment.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Stock => "stock",
            Self::Name => "name",
            Self::CreatedAt => "created_at",
        }
    }

    /// The reverse of [`Self::as_str`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.as_str() == name)
    }

    fn key_of(self, product: &Product) -> CursorKey {
        match self {
            Self::Price => CursorKey::Number(product.price.cents()),
            Self::Stock => CursorKey::Number(product.stock),
            Self::Name => CursorKey::Text(product.name.clone()),
            Self::CreatedAt => CursorKey::Time(product.created_at),
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

/// Which products, in which order. Ties, and a list without an ordering, are ordered by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductQuery {
    /// Each must occur in name, description or sku, in any case; at most [`TERMS_MAX`].
    pub terms: Vec<String>,
    /// No column twice.
    pub ordering: Vec<(Column, Direction)>,
    /// One of these; all when empty.
    pub categories: Vec<CategoryId>,
    /// At this price or above.
    pub min_price: Option<Money>,
    /// At this price or below.
    pub max_price: Option<Money>,
    /// Only what there is some of.
    pub in_stock: bool,
}

/// The value of one ordering column in the last row of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CursorKey {
    /// Cents, or a quantity.
    Number(i64),
    /// A name.
    Text(String),
    /// When it was made.
    Time(Timestamp),
}

/// Where a page of products begins: after the product with these values and this id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductCursor {
    /// One value for each column of the ordering.
    pub keys: Vec<CursorKey>,
    /// Its id.
    pub id: ProductId,
}

impl ProductCursor {
    /// The position after `last` in a list of that order.
    pub(crate) fn after(last: &Product, ordering: &[(Column, Direction)]) -> Self {
        Self { keys: ordering.iter().map(|(column, _)| column.key_of(last)).collect(), id: last.id }
    }

    /// Whether it can stand in a list of that order.
    #[must_use]
    pub fn fits(&self, ordering: &[(Column, Direction)]) -> bool {
        self.keys.len() == ordering.len()
            && self.keys.iter().zip(ordering).all(|(key, (column, _))| match column {
                Column::Price | Column::Stock => matches!(key, CursorKey::Number(_)),
                Column::Name => matches!(key, CursorKey::Text(name) if !name.contains('\0')),
                Column::CreatedAt => matches!(key, CursorKey::Time(_)),
            })
    }
}

/// A parameter of a composed statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    /// bigint
    Number(i64),
    /// bigint[]
    Numbers(Vec<i64>),
    /// text
    Text(String),
    /// timestamptz
    Time(OffsetDateTime),
}

impl Param {
    /// As the driver takes it, with its type, so that the statement needs no round trip to prepare.
    pub(crate) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Number(value) => (value, Type::INT8),
            Self::Numbers(values) => (values, Type::INT8_ARRAY),
            Self::Text(value) => (value, Type::TEXT),
            Self::Time(value) => (value, Type::TIMESTAMPTZ),
        }
    }
}

impl From<&CursorKey> for Param {
    fn from(key: &CursorKey) -> Self {
        match key {
            CursorKey::Number(value) => Self::Number(*value),
            CursorKey::Text(value) => Self::Text(value.clone()),
            CursorKey::Time(value) => Self::Time(value.0),
        }
    }
}

/// A composed statement with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its text.
    pub sql: String,
    /// Its parameters, `$1` first.
    pub params: Vec<Param>,
}

impl Statement {
    /// The statement for one page, which asks for one row more than the page holds.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`] when the cursor belongs to another order.
    pub(crate) fn compose(
        query: &ProductQuery,
        page: &PageRequest<ProductCursor>,
    ) -> Result<Self, CatalogError> {
        let mut statement = Self::default();
        statement.push("select", &[]);
        for term in query.terms.iter().take(TERMS_MAX) {
            statement.filter("term", Param::Text(literal(term)));
        }
        if !query.categories.is_empty() {
            let ids = query.categories.iter().map(|category| category.0).collect();
            statement.filter("categories", Param::Numbers(ids));
        }
        if let Some(price) = query.min_price {
            statement.filter("min_price", Param::Number(price.cents()));
        }
        if let Some(price) = query.max_price {
            statement.filter("max_price", Param::Number(price.cents()));
        }
        if query.in_stock {
            statement.push("in_stock", &[]);
        }
        if let Some(cursor) = &page.after {
            if !cursor.fits(&query.ordering) {
                return Err(CatalogError::InvalidCursor);
            }
            statement.start_after(cursor, &query.ordering);
        }
        statement.order(&query.ordering, page.size);
        Ok(statement)
    }

    /// Adds a fragment whose one value bears the fragment's name.
    fn filter(&mut self, name: &str, value: Param) {
        let number = self.param(value);
        self.push(name, &[(name, &number)]);
    }

    /// The row-wise comparison for columns that run in different directions, from the last column
    /// to the first: after in this one, or equal in it and after in the rest.
    fn start_after(&mut self, cursor: &ProductCursor, ordering: &[(Column, Direction)]) {
        let id = self.param(Param::Number(cursor.id.0));
        let mut position = fill("after_id", &[("id", &id)]);
        let mut leading = None;
        for ((column, direction), key) in ordering.iter().zip(&cursor.keys).rev() {
            let (column, value) = (fragment(column.as_str()), self.param(key.into()));
            let (after, from) = match direction {
                Direction::Ascending => ("after_ascending", "from_ascending"),
                Direction::Descending => ("after_descending", "from_descending"),
            };
            position = fill(after, &[("column", column), ("value", &value), ("rest", &position)]);
            leading = Some((from, column, value));
        }
        if let Some((from, column, value)) = leading {
            self.push(from, &[("column", column), ("value", &value)]);
        }
        self.push("after", &[("position", &position)]);
    }

    fn order(&mut self, ordering: &[(Column, Direction)], size: usize) {
        let columns: Vec<String> = ordering
            .iter()
            .map(|(column, direction)| {
                let name = match direction {
                    Direction::Ascending => "ascending",
                    Direction::Descending => "descending",
                };
                fill(name, &[("column", fragment(column.as_str()))])
            })
            .collect();
        let rows = i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1);
        let limit = self.param(Param::Number(rows));
        self.push("order", &[("columns", &columns.join(" ")), ("limit", &limit)]);
    }

    fn param(&mut self, value: Param) -> String {
        self.params.push(value);
        format!("${}", self.params.len())
    }

    fn push(&mut self, name: &str, words: &[(&str, &str)]) {
        // Writing to a String cannot fail.
        writeln!(self.sql, "{}", fill(name, words)).ok();
    }
}

/// A term as a LIKE pattern that matches just it: `%`, `_` and `\` are ordinary characters.
fn literal(term: &str) -> String {
    let mut pattern = String::with_capacity(term.len());
    for character in term.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

const FRAGMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/catalog/list_products.sql"));

/// The text below `-- fragment: name`, up to the next comment; empty when there is none.
fn fragment(name: &str) -> &'static str {
    let mut rest = FRAGMENTS;
    while let Some((_, below)) = rest.split_once("-- fragment: ") {
        let (title, text) = below.split_once('\n').unwrap_or((below, ""));
        if title == name {
            return text.split_once("--").map_or(text, |(text, _)| text).trim_end();
        }
        rest = below;
    }
    ""
}

/// A fragment with its words in braces replaced.
fn fill(name: &str, words: &[(&str, &str)]) -> String {
    words
        .iter()
        .fold(fragment(name).to_owned(), |text, (word, with)| text.replace(&format!("{{{word}}}"), with))
}

/// Representative statements for the test that prepares them: each ordering of up to two columns,
/// as a first and as a later page, without filters and with all of them.
#[must_use]
pub fn list_products_samples() -> Vec<String> {
    let full = ProductQuery {
        terms: vec!["one".to_owned(), "two".to_owned()],
        ordering: Vec::new(),
        categories: vec![CategoryId(1)],
        min_price: Some(Money::ZERO),
        max_price: Some(Money::PRICE_MAX),
        in_stock: true,
    };
    let mut orderings = vec![Vec::new()];
    for (first, direction) in directed() {
        orderings.push(vec![(first, direction)]);
        for (second, other) in directed().filter(|(second, _)| *second != first) {
            orderings.push(vec![(first, direction), (second, other)]);
        }
    }
    let mut samples = Vec::new();
    for ordering in orderings {
        let keys = ordering.iter().map(|(column, _)| sample_key(*column)).collect();
        let after = Some(ProductCursor { keys, id: ProductId(1) });
        for after in [None, after] {
            let page = PageRequest { after, size: 1 };
            let plain = ProductQuery { ordering: ordering.clone(), ..ProductQuery::default() };
            let filtered = ProductQuery { ordering: ordering.clone(), ..full.clone() };
            samples.extend([plain, filtered].iter().filter_map(|q| Statement::compose(q, &page).ok()));
        }
    }
    samples.into_iter().map(|statement| statement.sql).collect()
}

fn directed() -> impl Iterator<Item = (Column, Direction)> {
    let directions = [Direction::Ascending, Direction::Descending];
    Column::ALL.into_iter().flat_map(move |column| directions.map(|direction| (column, direction)))
}

fn sample_key(column: Column) -> CursorKey {
    match column {
        Column::Price | Column::Stock => CursorKey::Number(0),
        Column::Name => CursorKey::Text(String::new()),
        Column::CreatedAt => CursorKey::Time(Timestamp(OffsetDateTime::UNIX_EPOCH)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_page() -> PageRequest<ProductCursor> {
        PageRequest { after: None, size: 10 }
    }

    fn one_line(sql: &str) -> String {
        sql.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_plain_list_has_no_conditions_but_the_deletion_mark() {
        let statement = Statement::compose(&ProductQuery::default(), &first_page()).unwrap();
        let sql = one_line(&statement.sql);
        assert!(sql.ends_with("WHERE p.deleted_at IS NULL ORDER BY p.id LIMIT $1"), "{sql}");
        assert_eq!(statement.params, [Param::Number(11)]);
    }

    #[test]
    fn columns_may_run_in_different_directions() {
        let query = ProductQuery {
            ordering: vec![(Column::Price, Direction::Descending), (Column::Name, Direction::Ascending)],
            ..ProductQuery::default()
        };
        let keys = vec![CursorKey::Number(500), CursorKey::Text("pen".to_owned())];
        let page = PageRequest { after: Some(ProductCursor { keys, id: ProductId(7) }), size: 10 };
        let statement = Statement::compose(&query, &page).unwrap();
        let sql = one_line(&statement.sql);
        let expected = "AND p.price_cents <= $3 AND (p.price_cents < $3 OR (p.price_cents = $3 AND \
                        (p.name > $2 OR (p.name = $2 AND p.id > $1)))) \
                        ORDER BY p.price_cents DESC, p.name ASC, p.id LIMIT $4";
        assert!(sql.ends_with(expected), "{sql}");
        let expected =
            [Param::Number(7), Param::Text("pen".to_owned()), Param::Number(500), Param::Number(11)];
        assert_eq!(statement.params, expected);
    }

    #[test]
    fn pattern_characters_are_ordinary_in_terms() {
        let query = ProductQuery { terms: vec![r"50%_a\b".to_owned()], ..ProductQuery::default() };
        let statement = Statement::compose(&query, &first_page()).unwrap();
        assert_eq!(statement.params.first(), Some(&Param::Text(r"50\%\_a\\b".to_owned())));
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let by_price =
            ProductQuery { ordering: vec![(Column::Price, Direction::Ascending)], ..ProductQuery::default() };
        for keys in
            [vec![], vec![CursorKey::Text(String::new())], vec![CursorKey::Number(1), CursorKey::Number(1)]]
        {
            let page = PageRequest { after: Some(ProductCursor { keys, id: ProductId(1) }), size: 1 };
            assert_eq!(Statement::compose(&by_price, &page), Err(CatalogError::InvalidCursor));
        }
    }

    #[test]
    fn every_fragment_is_found_and_filled() {
        for sql in list_products_samples() {
            assert!(!sql.contains(['{', '}']), "{sql}");
            assert!(!sql.contains("--"), "{sql}");
        }
        for name in ["term", "categories", "min_price", "max_price", "in_stock", "after", "after_id", "order"]
        {
            assert!(!fragment(name).is_empty(), "{name}");
        }
        assert!(Column::ALL.iter().all(|column| !fragment(column.as_str()).is_empty()));
    }
}
