//! The statement of a page: the fragments of `sql/catalog/list_products.sql`, put together as a plan
//! wants it.
//!
//! Promises: nothing but those fragments is in its text, every value is a parameter.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::LazyLock;

use time::OffsetDateTime;
use tokio_postgres::types::{ToSql, Type};

use super::super::ProductQuery;
use super::super::cursor::{CursorKey, ProductCursor};
use super::plan::{Plan, Source, Wanted};
use super::{Column, Direction, Order, TERMS_MAX};
use crate::types::{CategoryId, Money, Timestamp};

/// A parameter of a composed statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::catalog) enum Param {
    /// bigint
    Number(i64),
    /// bigint[]
    Numbers(Vec<i64>),
    /// text
    Text(String),
    /// text[]
    Texts(Vec<String>),
    /// timestamptz
    Time(OffsetDateTime),
}

impl Param {
    /// As the driver takes it, with its type, so that the statement needs no round trip to prepare.
    pub(in crate::catalog) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Number(value) => (value, Type::INT8),
            Self::Numbers(values) => (values, Type::INT8_ARRAY),
            Self::Text(value) => (value, Type::TEXT),
            Self::Texts(values) => (values, Type::TEXT_ARRAY),
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
pub(in crate::catalog) struct Statement {
    /// Its text.
    pub sql: String,
    /// Its parameters, `$1` first.
    pub params: Vec<Param>,
}

impl Statement {
    /// The statement that reads a page so. It asks for one row more than the page holds, and for the
    /// one at which the source breaks off.
    pub(super) fn compose(wanted: &Wanted<'_>, plan: &Plan) -> Self {
        let mut composer = Composer { wanted, plan, params: Vec::new() };
        let sql = composer.page();
        Self { sql, params: composer.params }
    }

    /// The statement that runs this one and tells how.
    pub(super) fn explained(self) -> Self {
        Self { sql: fill("explain", &[("statement", &self.sql)]), ..self }
    }
}

struct Composer<'a> {
    wanted: &'a Wanted<'a>,
    plan: &'a Plan,
    params: Vec<Param>,
}

impl Composer<'_> {
    fn page(&mut self) -> String {
        let source = self.source();
        let conditions = self.conditions();
        let fits = all(&conditions);
        let wanted: Vec<String> =
            conditions.iter().map(|condition| fill("or_end", &[("condition", condition)])).collect();
        let wanted = all(&wanted);
        let order = self.order();
        let limit = self.number(self.wanted.size + 2);
        let is_stock = self.is_of_stock();
        let (page, rest) = match is_stock || self.sees_stock() {
            true => {
                ("page_with_stock", fragment(if is_stock { "rest_of_stock" } else { "rest_of_products" }))
            }
            false => ("page", ""),
        };
        let words = [
            ("source", source.as_str()),
            ("fits", &fits),
            ("wanted", &wanted),
            ("order", &order),
            ("limit", &limit),
            ("rest", rest),
        ];
        fill(page, &words)
    }

    /// Whether rows come from the stock, and what else is known of a product is looked up.
    fn is_of_stock(&self) -> bool {
        matches!(self.plan.source, Source::Stock | Source::InStock)
    }

    /// Whether order or conditions look at the stock.
    fn sees_stock(&self) -> bool {
        self.wanted.query.in_stock
            || self.wanted.order.keys().iter().any(|(column, _)| *column == Column::Stock)
    }

    // The source.

    fn source(&mut self) -> String {
        let query = self.wanted.query;
        let mut conditions = Vec::new();
        let walked = match &self.plan.source {
            Source::Words(patterns, is_within) => {
                for pattern in patterns {
                    let pattern = self.param(Param::Text(pattern.clone()));
                    conditions.push(fill("pattern", &[("pattern", &pattern)]));
                }
                if *is_within {
                    let categories = self.category_ids();
                    conditions.push(fill("search_categories", &[("categories", &categories)]));
                }
                conditions.extend(self.stretch());
                None
            }
            Source::Symbols => {
                // Whatever else is in these words is compared.
                let symbols = self.param(Param::Text(query.terms.concat()));
                conditions.push(fill("symbols", &[("symbols", &symbols)]));
                None
            }
            Source::Categories => {
                conditions.extend(self.categories());
                None
            }
            Source::Prices => {
                conditions.extend(self.prices());
                Some((Column::Price, Direction::Ascending))
            }
            Source::InStock => {
                conditions.push(fragment("in_stock").to_owned());
                Some((Column::Stock, Direction::Ascending))
            }
            Source::Products(_) | Source::EachCategory | Source::Stock => {
                conditions.extend(self.beginning());
                self.wanted.order.keys().get(self.plan.level).copied()
            }
        };
        let budget = self.number(self.plan.budget);
        let Some(walked) = walked else {
            let conditions = and(&conditions);
            return fill("products_in_no_order", &[("conditions", &conditions), ("budget", &budget)]);
        };
        let table = if self.is_of_stock() { "stock" } else { "products" };
        let order = self.walked_order(walked);
        let words = [("conditions", and(&conditions)), ("order", order), ("budget", budget)];
        let source = fill(table, &words.each_ref().map(|(word, text)| (*word, text.as_str())));
        match self.plan.source {
            Source::EachCategory => {
                let categories = self.category_ids();
                fill("products_of_each_category", &[("categories", &categories), ("source", &source)])
            }
            _ => source,
        }
    }

    /// The order of an index: a column, and the id in the same direction.
    fn walked_order(&self, (column, direction): (Column, Direction)) -> String {
        let id = self.column_within(Column::Id);
        match column {
            Column::Id => directed(id, direction),
            _ => format!("{}, {}", directed(self.column_within(column), direction), directed(id, direction)),
        }
    }

    /// What a column is within the source, where the form of a name has yet to be worked out.
    fn column_within(&self, column: Column) -> &'static str {
        match column {
            Column::Name => fragment("name_within_source"),
            _ => self.column_of_source(column),
        }
    }

    /// What a column of the source is called outside it.
    fn column_of_source(&self, column: Column) -> &'static str {
        match column {
            Column::Id if self.is_of_stock() => fragment("stock_id"),
            _ => named(column),
        }
    }

    /// What the source in order is bounded by, its beginning included.
    fn beginning(&mut self) -> Vec<String> {
        let Some((column, direction)) = self.wanted.order.keys().get(self.plan.level).copied() else {
            return Vec::new();
        };
        let mut conditions = Vec::new();
        match &self.plan.source {
            Source::Products(Some(category)) => {
                let category = self.param(Param::Number(category.0));
                conditions.push(fill("category", &[("category", &category)]));
            }
            Source::EachCategory => conditions.push(fragment("this_category").to_owned()),
            _ => {}
        }
        match column {
            Column::Price => conditions.extend(self.prices()),
            Column::Id => conditions.extend(self.one_price()),
            Column::Stock if self.wanted.query.in_stock => conditions.push(fragment("in_stock").to_owned()),
            _ => {}
        }
        let keys = self.keys_from_level();
        let name = self.column_within(column);
        let is_before = self.wanted.start.as_ref().is_some_and(|start| start.is_before);
        match keys.as_slice() {
            [] => {}
            [key] => {
                let value = self.value(column, key);
                conditions.push(compare(name, &value, direction, is_before));
            }
            // Exactly behind that product, however many have the same value.
            [key, id] if self.starts_exactly() => {
                let (value, last) = (self.value(column, key), self.param(id.into()));
                let pair = if direction == Direction::Ascending { "pair_above" } else { "pair_below" };
                let words = [
                    ("column", name),
                    ("id", self.column_within(Column::Id)),
                    ("value", &value),
                    ("last", &last),
                ];
                conditions.push(fill(pair, &words));
            }
            [key, ..] => {
                let value = self.value(column, key);
                conditions.push(compare(name, &value, direction, true));
            }
        }
        conditions
    }

    /// The values at which the page begins, of the walked column and those that follow.
    fn keys_from_level(&self) -> Vec<CursorKey> {
        let level = if self.plan.is_in_order() { self.plan.level } else { 0 };
        self.wanted.start_keys().iter().skip(level).cloned().collect()
    }

    /// Whether the source begins just where the page does.
    fn starts_exactly(&self) -> bool {
        self.plan.is_in_order()
            && match self.keys_from_level().len() {
                0 | 1 => true,
                2 => self.wanted.order.is_exact(self.plan.level) && !self.starts_before(),
                _ => false,
            }
    }

    fn starts_before(&self) -> bool {
        self.wanted.start.as_ref().is_some_and(|start| start.is_before)
    }

    /// What a search is narrowed to, in whole stretches. Where in the last one it ends is compared
    /// afterwards: here, the planner would take it for something to look up.
    fn stretch(&mut self) -> Option<String> {
        let until = self.plan.until.as_ref()?;
        let (column, direction) = self.wanted.order.keys().first().copied()?;
        let end = self.param(until.into());
        let begin = match self.wanted.start_keys().first() {
            Some(key) => self.param(key.into()),
            None => {
                let outermost = if direction == Direction::Ascending { "lowest" } else { "highest" };
                fill(outermost, &[("column", named(column))])
            }
        };
        let (low, high) = if direction == Direction::Ascending { (begin, end) } else { (end, begin) };
        let stretch = if column == Column::Id { "id_stretch" } else { "price_stretch" };
        Some(fill(stretch, &[("low", &low), ("high", &high)]))
    }

    fn before_end(&mut self) -> Option<String> {
        let until = self.plan.until.as_ref()?;
        let (column, direction) = self.wanted.order.keys().first().copied()?;
        let end = self.param(until.into());
        let name = if direction == Direction::Ascending { "below" } else { "above" };
        Some(fill(name, &[("column", named(column)), ("value", &end)]))
    }

    // What is still to be compared.

    fn conditions(&mut self) -> Vec<String> {
        let query = self.wanted.query;
        let mut conditions = Vec::new();
        conditions.extend(self.terms());
        let knows_category = match &self.plan.source {
            Source::Products(category) => category.is_some(),
            Source::Words(_, is_within) => *is_within,
            Source::EachCategory | Source::Categories => true,
            _ => false,
        };
        if self.is_of_stock() {
            conditions.extend(self.categories_by("stock_categories"));
        }
        if !knows_category {
            conditions.extend(self.categories());
        }
        let is_of_price = self.walked().is_some_and(|column| self.wanted.is_of_price(column));
        if !is_of_price && self.plan.source != Source::Prices {
            conditions.extend(self.prices());
        }
        if query.in_stock && !self.is_of_stock() {
            conditions.push(fragment("in_stock").to_owned());
        }
        conditions.extend(self.before_end());
        conditions.extend(self.alike());
        conditions.extend(self.position());
        conditions
    }

    /// The column by which the source is read, if it is in order.
    fn walked(&self) -> Option<Column> {
        let walked = self.wanted.order.keys().get(self.plan.level)?;
        self.plan.is_in_order().then_some(walked.0)
    }

    /// Every word, as a whole.
    fn terms(&mut self) -> Option<String> {
        let terms: Vec<String> =
            self.wanted.query.terms.iter().take(TERMS_MAX).map(|term| literal(term)).collect();
        if terms.is_empty() {
            return None;
        }
        let terms = self.param(Param::Texts(terms));
        Some(fill("all_terms", &[("terms", &terms)]))
    }

    fn category_ids(&mut self) -> String {
        let mut ids: Vec<i64> = self.wanted.query.categories.iter().map(|category| category.0).collect();
        // One that is named twice is not read twice.
        ids.sort_unstable();
        ids.dedup();
        self.param(Param::Numbers(ids))
    }

    fn categories(&mut self) -> Option<String> {
        self.categories_by("categories")
    }

    fn categories_by(&mut self, name: &str) -> Option<String> {
        if self.wanted.query.categories.is_empty() {
            return None;
        }
        let categories = self.category_ids();
        Some(fill(name, &[("categories", &categories)]))
    }

    fn one_price(&mut self) -> Option<String> {
        let price = self.wanted.one_price()?;
        let price = self.param(Param::Number(price.cents()));
        Some(fill("equal", &[("column", named(Column::Price)), ("value", &price)]))
    }

    fn prices(&mut self) -> Vec<String> {
        let ProductQuery { min_price, max_price, .. } = self.wanted.query;
        let bounds = [("min_price", *min_price), ("max_price", *max_price)];
        let mut bound = |(name, price): (&str, Option<Money>)| {
            let price = self.param(Param::Number(price?.cents()));
            Some(fill(name, &[("price", &price)]))
        };
        bounds.into_iter().filter_map(&mut bound).collect()
    }

    /// The columns before the one by which the source goes are as at the beginning of the page.
    fn alike(&mut self) -> Vec<String> {
        if !self.plan.is_in_order() {
            return Vec::new();
        }
        let columns: Vec<Column> =
            self.wanted.order.keys().iter().take(self.plan.level).map(|(column, _)| *column).collect();
        let keys: Vec<CursorKey> = self.wanted.start_keys().iter().take(self.plan.level).cloned().collect();
        columns
            .into_iter()
            .zip(&keys)
            .map(|(column, key)| {
                let value = self.value(column, key);
                fill("equal", &[("column", named(column)), ("value", &value)])
            })
            .collect()
    }

    /// The row-wise comparison with where the page begins, for columns that run in different
    /// directions, from the last one to the first: behind in this one, or equal in it and behind in
    /// the rest.
    fn position(&mut self) -> Option<String> {
        let keys = self.keys_from_level();
        if keys.is_empty() || self.starts_exactly() {
            return None;
        }
        let level =
            self.wanted.order.keys().len().min(if self.plan.is_in_order() { self.plan.level } else { 0 });
        let columns: Vec<(Column, Direction)> =
            self.wanted.order.keys().iter().skip(level).copied().collect();
        let is_before = self.starts_before();
        let mut position: Option<String> = None;
        for ((column, direction), key) in columns.into_iter().zip(&keys).rev() {
            let value = self.value(column, key);
            let name = named(column);
            position = Some(match position {
                None => compare(name, &value, direction, is_before),
                Some(rest) => {
                    let first = compare(name, &value, direction, false);
                    let equal = fill("equal", &[("column", name), ("value", &value)]);
                    fill("either", &[("first", &first), ("equal", &equal), ("rest", &rest)])
                }
            });
        }
        position
    }

    fn order(&self) -> String {
        let (plan, keys) = (self.plan, self.wanted.order.keys());
        // By the names that the source has for them, lest the database sort what is in order.
        let mut members: Vec<String> = keys
            .iter()
            .map(|(column, direction)| directed(self.column_of_source(*column), *direction))
            .collect();
        // First of all, or of those who are equal as far as the source goes.
        let end_first = fragment("end_first").to_owned();
        if !plan.is_in_order() {
            members.insert(0, end_first);
        } else {
            members.drain(..plan.level.min(keys.len()));
            if !self.wanted.order.is_exact(plan.level) {
                members.insert(1.min(members.len()), end_first);
            }
        }
        members.join(", ")
    }

    /// A value, as that column is compared with it.
    fn value(&mut self, column: Column, key: &CursorKey) -> String {
        let value = self.param(key.into());
        match column {
            Column::Name => fill("name_value", &[("value", &value)]),
            _ => value,
        }
    }

    fn number(&mut self, number: usize) -> String {
        self.param(Param::Number(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn param(&mut self, value: Param) -> String {
        self.params.push(value);
        format!("${}", self.params.len())
    }
}

/// What a column is called.
fn named(column: Column) -> &'static str {
    fragment(match column {
        Column::Price => "price",
        Column::Stock => "quantity",
        Column::Name => "name",
        Column::CreatedAt => "created_at",
        Column::Id => "id",
    })
}

fn directed(column: &str, direction: Direction) -> String {
    let name = match direction {
        Direction::Ascending => "ascending",
        Direction::Descending => "descending",
    };
    fill(name, &[("column", column)])
}

/// Behind a value in that direction; or at it, too.
fn compare(column: &str, value: &str, direction: Direction, or_equal: bool) -> String {
    let name = match (direction, or_equal) {
        (Direction::Ascending, false) => "above",
        (Direction::Ascending, true) => "from_above",
        (Direction::Descending, false) => "below",
        (Direction::Descending, true) => "from_below",
    };
    fill(name, &[("column", column), ("value", value)])
}

fn all(conditions: &[String]) -> String {
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") }
}

fn and(conditions: &[String]) -> String {
    conditions.iter().fold(String::new(), |mut text, condition| {
        // Writing to a String cannot fail.
        write!(text, " AND {condition}").ok();
        text
    })
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

/// The fragments, by name: the text below `-- fragment: name`, up to the next comment.
static FRAGMENTS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/catalog/list_products.sql"));
    let titled = file.split("-- fragment: ").skip(1).filter_map(|below| below.split_once('\n'));
    titled
        .map(|(name, text)| (name, text.split_once("\n--").map_or(text, |(text, _)| text).trim_end()))
        .collect()
});

/// A fragment; empty when there is none of that name.
fn fragment(name: &str) -> &'static str {
    FRAGMENTS.get(name).copied().unwrap_or_default()
}

/// A fragment with its words in braces replaced.
fn fill(name: &str, words: &[(&str, &str)]) -> String {
    words
        .iter()
        .fold(fragment(name).to_owned(), |text, (word, with)| text.replace(&format!("{{{word}}}"), with))
}

/// Representative statements for the test that prepares them: each order of up to two columns, from
/// each source, from the beginning and from positions within, without conditions and with all of them.
#[must_use]
pub fn list_products_samples() -> Vec<String> {
    let full = ProductQuery {
        terms: vec!["one".to_owned(), "two".to_owned()],
        ordering: Vec::new(),
        by_relevance: false,
        categories: vec![CategoryId(1)],
        min_price: Some(Money::ZERO),
        max_price: Some(Money::PRICE_MAX),
        in_stock: true,
    };
    let mut orderings = vec![Vec::new()];
    for (first, direction) in directions() {
        orderings.push(vec![(first, direction)]);
        let others = directions().filter(|(second, _)| *second != first);
        orderings.extend(others.map(|second| vec![(first, direction), second]));
    }
    let mut samples = BTreeSet::new();
    for ordering in orderings {
        for query in [ProductQuery::default(), full.clone()] {
            let query = ProductQuery { ordering: ordering.clone(), ..query };
            let order = Order::of(&query);
            for start in sample_starts(&order) {
                let wanted = Wanted::new(&query, &order, start, 1);
                let plans = sample_plans(&wanted);
                samples.extend(plans.iter().map(|plan| Statement::compose(&wanted, plan).sql));
            }
        }
    }
    samples.into_iter().collect()
}

fn directions() -> impl Iterator<Item = (Column, Direction)> {
    let directions = [Direction::Ascending, Direction::Descending];
    Column::ALL.into_iter().flat_map(move |column| directions.map(|direction| (column, direction)))
}

fn sample_starts(order: &Order) -> Vec<Option<ProductCursor>> {
    let key = |(column, _): &(Column, Direction)| match column {
        Column::Id | Column::Price | Column::Stock => CursorKey::Number(0),
        Column::Name => CursorKey::Text(String::new()),
        Column::CreatedAt => CursorKey::Time(Timestamp(OffsetDateTime::UNIX_EPOCH)),
    };
    let keys: Vec<CursorKey> = order.keys().iter().map(key).collect();
    let before = ProductCursor { keys: keys.iter().take(1).cloned().collect(), is_before: true };
    vec![None, Some(before), Some(ProductCursor { keys, is_before: false })]
}

fn sample_plans(wanted: &Wanted<'_>) -> Vec<Plan> {
    let mut plans = Vec::new();
    let levels = wanted.order.keys().iter().enumerate();
    for (level, (column, _)) in levels.filter(|(level, _)| wanted.begins_within(*level)) {
        let of_category = Source::Products(wanted.query.categories.first().copied());
        let sources = match column {
            Column::Stock => vec![Source::Stock],
            _ if level > 0 || wanted.query.categories.is_empty() => vec![of_category],
            _ => vec![of_category, Source::EachCategory],
        };
        plans.extend(sources.into_iter().map(|source| Plan::in_order(source, level, 1)));
    }
    if wanted.query.in_stock {
        let words = Source::Words(vec!["one".to_owned()], true);
        let whole = [words.clone(), Source::Symbols, Source::Categories, Source::Prices, Source::InStock];
        plans.extend(whole.map(Plan::whole));
        if matches!(wanted.order.keys().first(), Some((Column::Id | Column::Price, _))) {
            plans.push(Plan { until: Some(CursorKey::Number(9)), ..Plan::whole(words) });
        }
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_line(sql: &str) -> String {
        sql.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn composed(query: &ProductQuery, keys: Vec<CursorKey>, plan: &Plan) -> (String, Vec<Param>) {
        let order = Order::of(query);
        let start = (!keys.is_empty()).then_some(ProductCursor { keys, is_before: false });
        let statement = Statement::compose(&Wanted::new(query, &order, start, 10), plan);
        (one_line(&statement.sql), statement.params)
    }

    fn by(ordering: &[(Column, Direction)]) -> ProductQuery {
        ProductQuery { ordering: ordering.to_vec(), ..ProductQuery::default() }
    }

    fn in_order(source: Source, level: usize) -> Plan {
        Plan::in_order(source, level, 11)
    }

    #[test]
    fn a_plain_list_has_no_conditions_but_the_deletion_mark() {
        let (sql, params) =
            composed(&ProductQuery::default(), Vec::new(), &in_order(Source::Products(None), 0));
        let expected = "WHERE p.deleted_at IS NULL ORDER BY p.id ASC LIMIT $1 ) p WHERE true ORDER BY p.id ASC LIMIT $2 )";
        assert!(sql.contains(expected), "{sql}");
        assert_eq!(params, [Param::Number(11), Param::Number(12)]);
    }

    #[test]
    fn a_page_starts_in_the_index_just_behind_the_last_one_among_any_number_of_ties() {
        let query = by(&[(Column::Price, Direction::Descending)]);
        let keys = vec![CursorKey::Number(500), CursorKey::Number(7)];
        let (sql, params) = composed(&query, keys, &in_order(Source::Products(None), 0));
        let expected = "AND (p.price_cents, p.id) < ($1, $2) ORDER BY p.price_cents DESC, p.id DESC LIMIT $3 ) p WHERE true";
        assert!(sql.contains(expected), "{sql}");
        assert_eq!(params[..2], [Param::Number(500), Param::Number(7)]);
    }

    #[test]
    fn columns_may_run_in_different_directions() {
        let query = by(&[(Column::Price, Direction::Descending), (Column::Name, Direction::Ascending)]);
        let keys = vec![CursorKey::Number(500), CursorKey::Text("pen".to_owned()), CursorKey::Number(7)];
        let (sql, _) = composed(&query, keys.clone(), &in_order(Source::Products(None), 0));
        for expected in [
            "WHERE p.deleted_at IS NULL AND p.price_cents <= $1 ORDER BY p.price_cents DESC, p.id DESC",
            "(p.price_cents < $5 OR (p.price_cents = $5 AND (p.form > search_form($4::text) OR (p.form = search_form($4::text) AND p.id < $3))))",
            "ORDER BY p.price_cents DESC, is_end DESC, p.form ASC, p.id DESC",
        ] {
            assert!(sql.contains(expected), "{expected} in {sql}");
        }
        // Among those of one price, by the index of the names.
        let (sql, _) = composed(&query, keys, &in_order(Source::Products(None), 1));
        for expected in [
            "AND search_form(p.name) COLLATE \"C\" >= search_form($1::text) \
             ORDER BY search_form(p.name) COLLATE \"C\" ASC, p.id ASC",
            "p.price_cents = $3",
            "ORDER BY p.form ASC, is_end DESC, p.id DESC",
        ] {
            assert!(sql.contains(expected), "{expected} in {sql}");
        }
    }

    #[test]
    fn pattern_characters_are_ordinary_in_terms() {
        let query = ProductQuery { terms: vec![r"50%_a\b".to_owned()], ..ProductQuery::default() };
        let (_, params) = composed(&query, Vec::new(), &in_order(Source::Products(None), 0));
        assert!(params.contains(&Param::Texts(vec![r"50\%\_a\\b".to_owned()])), "{params:?}");
    }

    #[test]
    fn every_fragment_is_found_and_filled() {
        for sql in list_products_samples() {
            assert!(!sql.contains(['{', '}']), "{sql}");
            assert!(!sql.contains("--"), "{sql}");
            for hole in ["AND )", "AND  ", "( OR", "ORDER BY ,", "= )"] {
                assert!(!sql.contains(hole), "{sql}");
            }
        }
        assert!(FRAGMENTS.values().all(|text| !text.is_empty()));
    }
}
