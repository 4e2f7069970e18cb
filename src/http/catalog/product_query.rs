//! What a client may ask of the list of products, and the cursor that leads to its next page.

use emporium_actors::catalog::{Column, CursorKey, Direction, ProductCursor, ProductQuery, TERMS_MAX};
use emporium_actors::types::{CategoryId, Money, PageRequest, ProductId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::search;
use crate::http::error::{ApiError, FieldErrors};
use crate::http::fields::{Boolean, PrimaryKey, Refusal, Rule, Total};
use crate::http::query::Query;
use crate::http::respond;

/// A list as it was asked for.
pub(super) struct ListRequest {
    /// Which products, in which order.
    pub(super) query: ProductQuery,
    /// Which page of them.
    pub(super) page: PageRequest<ProductCursor>,
}

/// A cursor on the wire, within the opaque text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireCursor {
    /// The ordering it belongs to, as [`show_ordering`] writes it.
    ordering: String,
    /// The last row's values, as text: numbers, names, microseconds since 1970.
    keys: Vec<String>,
    /// The last row's id.
    id: i64,
}

impl ListRequest {
    /// Reads the parameters.
    ///
    /// # Errors
    /// `400` with every unusable one, `404` for a cursor of another list.
    pub(super) fn parse(query: &Query) -> Result<Self, ApiError> {
        let mut errors = FieldErrors::default();
        let mut read = Reader { query, errors: &mut errors };
        let products = ProductQuery {
            terms: read.terms(),
            ordering: parse_ordering(query.get("ordering").unwrap_or_default()),
            categories: read.categories(),
            min_price: read.parameter("min_price", parse_bound),
            max_price: read.parameter("max_price", parse_bound),
            in_stock: read.parameter("in_stock", |text| Boolean.read(&text.into())).unwrap_or(false),
        };
        if !errors.is_empty() {
            return Err(ApiError::validation(errors));
        }
        let PageRequest { after, size } = respond::page_request::<WireCursor>(query)?;
        let after = match after {
            None => None,
            Some(wire) => Some(read_cursor(&wire, &products.ordering).ok_or_else(respond::invalid_cursor)?),
        };
        Ok(Self { query: products, page: PageRequest { after, size } })
    }

    /// The cursor to the next page, for the wire.
    pub(super) fn show_cursor(&self, cursor: &ProductCursor) -> WireCursor {
        let keys = cursor.keys.iter().map(|key| match key {
            CursorKey::Number(number) => number.to_string(),
            CursorKey::Text(text) => text.clone(),
            CursorKey::Time(time) => (time.0.unix_timestamp_nanos() / 1000).to_string(),
        });
        WireCursor { ordering: show_ordering(&self.query.ordering), keys: keys.collect(), id: cursor.id.0 }
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

/// As a client would write it.
fn show_ordering(ordering: &[(Column, Direction)]) -> String {
    let members = ordering.iter().map(|(column, direction)| match direction {
        Direction::Ascending => column.as_str().to_owned(),
        Direction::Descending => format!("-{}", column.as_str()),
    });
    members.collect::<Vec<_>>().join(",")
}

/// The position that a cursor stands for in a list of this order, if it belongs to one.
fn read_cursor(wire: &WireCursor, ordering: &[(Column, Direction)]) -> Option<ProductCursor> {
    if wire.ordering != show_ordering(ordering) || wire.keys.len() != ordering.len() {
        return None;
    }
    let keys = wire.keys.iter().zip(ordering).map(|(text, (column, _))| match column {
        Column::Price | Column::Stock => text.parse().ok().map(CursorKey::Number),
        Column::Name => Some(CursorKey::Text(text.clone())),
        Column::CreatedAt => {
            let nanos = text.parse::<i64>().ok().map(|micros| i128::from(micros) * 1000)?;
            let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
            Some(CursorKey::Time(Timestamp(time)))
        }
    });
    let cursor = ProductCursor { keys: keys.collect::<Option<_>>()?, id: ProductId(wire.id) };
    cursor.fits(ordering).then_some(cursor)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn parse(query: &str) -> Result<ListRequest, String> {
        let req = TestRequest::with_uri(&format!("/?{query}")).to_http_request();
        ListRequest::parse(&Query::of(&req)).map_err(|error| serde_json::to_string(&error).unwrap())
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
    fn a_cursor_leads_back_to_its_row_in_its_own_order_alone() {
        let ordering = parse_ordering("-price,name,created_at,stock");
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_736_922_698_809_214_000).unwrap();
        let cursor = ProductCursor {
            keys: vec![
                CursorKey::Number(150),
                CursorKey::Text("Pen, \"blue\"".to_owned()),
                CursorKey::Time(Timestamp(time)),
                CursorKey::Number(3),
            ],
            id: ProductId(9),
        };
        let query = ProductQuery { ordering: ordering.clone(), ..ProductQuery::default() };
        let request = ListRequest { query, page: PageRequest { after: None, size: 1 } };
        let wire = request.show_cursor(&cursor);
        assert_eq!(read_cursor(&wire, &ordering), Some(cursor));
        assert_eq!(read_cursor(&wire, &parse_ordering("price,name,created_at,stock")), None);
        assert_eq!(read_cursor(&wire, &[]), None);
    }
}
