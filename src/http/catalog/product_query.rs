//! What a client may ask of the list of products, and the cursor that leads to its next page.

use emporium_actors::catalog::{
    Column, CursorKey, CursorSeal, Direction, ProductCursor, ProductQuery, TERMS_MAX,
};
use emporium_actors::types::{CategoryId, Money, PageRequest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::search;
use crate::http::error::{ApiError, FieldErrors};
use crate::http::fields::{Boolean, PrimaryKey, Refusal, Rule, Total};
use crate::http::query::Query;
use crate::http::respond;

/// What stands in `ordering` where those that fit the search best are to be first.
const RELEVANCE: &str = "relevance";

/// A list as it was asked for.
pub(super) struct ListRequest {
    /// Which products, in which order.
    pub(super) query: ProductQuery,
    /// Whether misspelled words are to be replaced.
    is_fuzzy: bool,
    /// Which page of them.
    pub(super) page: PageRequest<ProductCursor>,
    seal: CursorSeal,
}

/// A cursor on the wire, within the opaque text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireCursor {
    /// The values of the first columns of the list's order, as text: numbers, names, microseconds
    /// since 1970.
    keys: Vec<String>,
    /// Whether the page begins with those who have these values, and not behind them.
    is_before: bool,
    /// What makes it ours, and of this very list.
    seal: String,
}

impl ListRequest {
    /// Reads the parameters; cursors are to have this seal.
    ///
    /// # Errors
    /// `400` with every unusable one, a cursor of another list among them.
    pub(super) fn parse(query: &Query, seal: &CursorSeal) -> Result<Self, ApiError> {
        let mut errors = FieldErrors::default();
        let mut read = Reader { query, errors: &mut errors };
        let ordering = query.get("ordering").unwrap_or_default();
        let terms = read.terms();
        let products = ProductQuery {
            by_relevance: read.by_relevance(ordering, &terms),
            terms,
            ordering: parse_ordering(ordering),
            categories: read.categories(),
            min_price: read.parameter("min_price", parse_bound),
            max_price: read.parameter("max_price", parse_bound),
            in_stock: read.boolean("in_stock"),
        };
        let is_fuzzy = read.boolean("fuzzy");
        if !errors.is_empty() {
            return Err(ApiError::validation(errors));
        }
        let PageRequest { after, size } = respond::page_request::<WireCursor>(query)?;
        let after = match after {
            None => None,
            Some(wire) => Some(read_cursor(&wire, &products, seal).ok_or_else(respond::invalid_cursor)?),
        };
        Ok(Self { query: products, is_fuzzy, page: PageRequest { after, size }, seal: seal.clone() })
    }

    /// Whether another list may be given instead: a page behind a cursor is of the list that was given.
    pub(super) fn may_correct(&self) -> bool {
        self.is_fuzzy && self.page.after.is_none() && !self.query.terms.is_empty()
    }

    /// The parameters that ask for what was found in the end; `query` are those of this request.
    pub(super) fn query_for(&self, query: Query, found: &ProductQuery) -> Query {
        if found.terms == self.query.terms {
            query
        } else {
            query.with("search", search::quoted(&found.terms))
        }
    }

    /// The cursor to the next page of what was found, for the wire.
    pub(super) fn show_cursor(&self, found: &ProductQuery, cursor: &ProductCursor) -> WireCursor {
        let keys = cursor.keys.iter().map(|key| match key {
            CursorKey::Number(number) => number.to_string(),
            CursorKey::Text(text) => text.clone(),
            CursorKey::Time(time) => (time.0.unix_timestamp_nanos() / 1000).to_string(),
        });
        let seal = self.seal.seal(found, cursor);
        WireCursor { keys: keys.collect(), is_before: cursor.is_before, seal }
    }
}

/// Reads parameters, noting the unusable ones.
struct Reader<'a> {
    query: &'a Query,
    errors: &'a mut FieldErrors,
}

impl Reader<'_> {
    /// A parameter that is there and not blank.
    fn parameter<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Refusal>) -> Option<T> {
        let text = self.query.get(name).map(str::trim).filter(|text| !text.is_empty())?;
        parse(text).map_err(|refusal| self.note(name, refusal)).ok()
    }

    fn boolean(&mut self, name: &str) -> bool {
        self.parameter(name, |text| Boolean.read(&text.into())).unwrap_or(false)
    }

    /// Whether the best are to be first, which leaves nothing to other columns.
    fn by_relevance(&mut self, ordering: &str, terms: &[String]) -> bool {
        let by_relevance = ordering.split(',').any(|member| member.trim() == RELEVANCE);
        if by_relevance && !parse_ordering(ordering).is_empty() {
            self.errors.add("ordering", "Relevance cannot be combined with other columns.");
        } else if by_relevance && terms.is_empty() {
            self.errors.add("ordering", "Relevance needs a search.");
        }
        by_relevance
    }

    fn terms(&mut self) -> Vec<String> {
        let text = self.query.get("search").unwrap_or_default();
        if text.contains('\0') {
            self.errors.add("search", "Null characters are not allowed.");
            return Vec::new();
        }
        let terms = search::terms(text);
        if terms.len() > TERMS_MAX {
            self.errors.add("search", format!("Ensure there are no more than {TERMS_MAX} words."));
        }
        terms
    }

    /// Ids with commas between; an id that nothing has is no error, it only finds nothing.
    fn categories(&mut self) -> Vec<CategoryId> {
        let parse = |text: &str| {
            let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
            ids.map(|id| PrimaryKey.read(&id.into()).map(CategoryId)).collect::<Result<Vec<_>, _>>()
        };
        self.parameter("category", parse).unwrap_or_default()
    }

    fn note(&mut self, name: &str, refusal: Refusal) {
        match refusal {
            Refusal::Null => self.errors.add(name, "This field may not be null."),
            Refusal::Because(messages) => {
                messages.into_iter().for_each(|message| self.errors.add(name, message));
            }
        }
    }
}

/// An amount that may lie outside of what prices can be, as long as it is an amount.
fn parse_bound(text: &str) -> Result<Money, Refusal> {
    match text.strip_prefix('-') {
        Some(size) if size.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            Total.read(&size.into()).map(|amount| Money::from_cents(-amount.cents()))
        }
        _ => Total.read(&Value::from(text)),
    }
}

/// Known columns in their order, the first of a repeated one; others are dropped.
fn parse_ordering(text: &str) -> Vec<(Column, Direction)> {
    let mut ordering: Vec<(Column, Direction)> = Vec::new();
    for member in text.split(',').map(str::trim) {
        let (name, direction) = match member.strip_prefix('-') {
            Some(name) => (name, Direction::Descending),
            None => (member, Direction::Ascending),
        };
        let Some(column) = Column::from_name(name) else { continue };
        if ordering.iter().all(|(known, _)| *known != column) {
            ordering.push((column, direction));
        }
    }
    ordering
}

/// The position that a cursor stands for in this list, if it was given out for it.
fn read_cursor(wire: &WireCursor, query: &ProductQuery, seal: &CursorSeal) -> Option<ProductCursor> {
    let columns: Vec<Column> = match query.by_relevance {
        // A form of a name and an id, or ids and a rank.
        true if wire.keys.len() == 2 => vec![Column::Name, Column::Id],
        true => vec![Column::Id; wire.keys.len().min(4)],
        false => query.ordering.iter().map(|(column, _)| *column).chain([Column::Id]).collect(),
    };
    let keys = wire.keys.iter().zip(columns).map(|(text, column)| match column {
        Column::Id | Column::Price | Column::Stock => text.parse().ok().map(CursorKey::Number),
        Column::Name => Some(CursorKey::Text(text.clone())),
        Column::CreatedAt => {
            let nanos = text.parse::<i64>().ok().map(|micros| i128::from(micros) * 1000)?;
            let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
            Some(CursorKey::Time(Timestamp(time)))
        }
    });
    let cursor = ProductCursor { keys: keys.collect::<Option<_>>()?, is_before: wire.is_before };
    (cursor.keys.len() == wire.keys.len() && seal.is_genuine(query, &cursor, &wire.seal)).then_some(cursor)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn seal() -> CursorSeal {
        CursorSeal::new("a secret for tests alone, long enough to sign with")
    }

    fn parse(query: &str) -> Result<ListRequest, String> {
        let req = TestRequest::with_uri(&format!("/?{query}")).to_http_request();
        let parsed = ListRequest::parse(&Query::of(&req), &seal());
        parsed.map_err(|error| serde_json::to_string(&error).unwrap())
    }

    #[test]
    fn unknown_orderings_are_dropped_and_repeated_ones_keep_the_first() {
        let request = parse("ordering=-price,%20stock,price,id,--name,%2Bname,PRICE,?").ok().unwrap();
        let expected = [(Column::Price, Direction::Descending), (Column::Stock, Direction::Ascending)];
        assert_eq!(request.query.ordering, expected);
    }

    #[test]
    fn filters_are_read() {
        let query =
            parse("category=1,%202&min_price=0.5&max_price=-1&in_stock=true&search=a,b").ok().unwrap().query;
        assert_eq!(query.categories, [CategoryId(1), CategoryId(2)]);
        assert_eq!(query.min_price, Some(Money::from_cents(50)));
        assert_eq!(query.max_price, Some(Money::from_cents(-100)));
        assert!(query.in_stock);
        assert_eq!(query.terms, ["a", "b"]);
        assert_eq!(
            parse("category=&min_price=&in_stock=false&search=").ok().unwrap().query,
            ProductQuery::default()
        );
    }

    #[test]
    fn unusable_values_are_named_all_at_once() {
        let words = ["w"; 21].join("+");
        let refusal =
            parse(&format!("category=x&min_price=cheap&in_stock=maybe&search={words}")).err().unwrap();
        for name in ["category", "min_price", "in_stock", "search"] {
            assert!(refusal.contains(&format!("\"{name}\":[\"")), "{refusal}");
        }
        assert!(parse("search=a%00").is_err());
        for bound in ["--1", "-+1", "NaN", "1e400", "0.001"] {
            assert!(parse(&format!("max_price={bound}")).is_err(), "{bound}");
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_row_in_its_own_list_alone() {
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_736_922_698_809_214_000).unwrap();
        let keys = [
            CursorKey::Number(150),
            CursorKey::Text("Pen, \"blue\"".to_owned()),
            CursorKey::Time(Timestamp(time)),
            CursorKey::Number(3),
            CursorKey::Number(9),
        ];
        let list = "ordering=-price,name,created_at,stock&search=pen";
        let request = parse(list).ok().unwrap();
        for (len, is_before) in [(5, false), (1, true), (2, false)] {
            let cursor = ProductCursor { keys: keys[..len].to_vec(), is_before };
            let wire = request.show_cursor(&request.query, &cursor);
            assert_eq!(read_cursor(&wire, &request.query, &seal()), Some(cursor));
            for other in [
                "",
                "ordering=price,name,created_at,stock&search=pen",
                "ordering=-price,name,created_at,stock",
            ] {
                let other = parse(other).ok().unwrap();
                assert_eq!(read_cursor(&wire, &other.query, &seal()), None);
            }
            let longer = WireCursor { keys: [&wire.keys[..], &["1".to_owned()]].concat(), ..wire };
            assert_eq!(read_cursor(&longer, &request.query, &seal()), None);
        }
    }
}
