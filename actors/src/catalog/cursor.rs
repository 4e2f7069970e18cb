//! Where a page of products begins, and the seal that makes it ours.
//!
//! Promises: a position is made of values, not of a count of rows, so that products which come and go
//! elsewhere in the list move nothing; a sealed position is accepted by every node of the shop, for
//! the very list that it was made for, and not at all when a single bit of it was changed.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};

use super::list::{Order, is_position};
use super::{Column, Product, ProductQuery};
use crate::types::Timestamp;

/// Keeps these seals apart from everything else that is signed with keys of the same secret.
const PURPOSE: &[u8] = b"emporium: product cursors, 1";

/// The value of one ordering column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CursorKey {
    /// Cents, a quantity, or an id.
    Number(i64),
    /// A name.
    Text(String),
    /// When it was made.
    Time(Timestamp),
}

/// A position in a list: among those products that have these values in the first columns of its
/// order, which ends with the id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProductCursor {
    /// One value for each of the first columns, at least one.
    pub keys: Vec<CursorKey>,
    /// Whether the position is before those products. Otherwise, it is behind them.
    pub is_before: bool,
}

impl ProductCursor {
    /// Behind this product.
    pub(super) fn behind(product: &Product, order: &Order) -> Self {
        let keys = order.keys().iter().map(|(column, _)| column.value_of(product)).collect();
        Self { keys, is_before: false }
    }

    /// Whether it can stand in that list.
    fn is_of(&self, query: &ProductQuery) -> bool {
        if query.by_relevance { is_position(self) } else { self.fits(&Order::of(query)) }
    }

    /// Whether it can stand in a list of that order.
    pub(super) fn fits(&self, order: &Order) -> bool {
        let columns = order.keys();
        (1..=columns.len()).contains(&self.keys.len())
            && self.keys.iter().zip(columns).all(|(key, (column, _))| match column {
                Column::Id | Column::Price | Column::Stock => matches!(key, CursorKey::Number(_)),
                Column::Name => matches!(key, CursorKey::Text(name) if !name.contains('\0')),
                Column::CreatedAt => matches!(key, CursorKey::Time(_)),
            })
    }
}

/// Seals cursors, and knows its own seals again.
#[derive(Clone)]
pub struct CursorSeal {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl CursorSeal {
    /// A seal that is the same on every node that has this secret, and tells nothing about it.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let derived = authenticate(PURPOSE, &EncodingKey::from_secret(secret.as_bytes()));
        let key = derived.as_bytes();
        Self { encoding: EncodingKey::from_secret(key), decoding: DecodingKey::from_secret(key) }
    }

    /// The seal of a cursor in this list.
    #[must_use]
    pub fn seal(&self, query: &ProductQuery, cursor: &ProductCursor) -> String {
        authenticate(&message(query, cursor), &self.encoding)
    }

    /// Whether the cursor is one of ours, given out for this list.
    #[must_use]
    pub fn is_genuine(&self, query: &ProductQuery, cursor: &ProductCursor, seal: &str) -> bool {
        cursor.is_of(query)
            && crypto::verify(seal, &message(query, cursor), &self.decoding, Algorithm::HS256)
                .unwrap_or(false)
    }
}

/// The code of a message, in text. HMAC takes any key and any message.
fn authenticate(message: &[u8], key: &EncodingKey) -> String {
    crypto::sign(message, key, Algorithm::HS256).unwrap_or_default()
}

/// Everything that tells this position in this list from any other. The fields and their parts have
/// names and quotes around them, so that no two lists are written alike.
fn message(query: &ProductQuery, cursor: &ProductCursor) -> Vec<u8> {
    let ProductQuery { terms, ordering, by_relevance, categories, min_price, max_price, in_stock } = query;
    let ProductCursor { keys, is_before } = cursor;
    let (min_price, max_price) = (min_price.map(|price| price.cents()), max_price.map(|price| price.cents()));
    let ordering: Vec<_> = ordering.iter().map(|(column, direction)| (sealed(*column), direction)).collect();
    let by_relevance = if *by_relevance { " by relevance" } else { "" };
    let categories: Vec<i64> = categories.iter().map(|category| category.0).collect();
    let keys: Vec<_> = keys
        .iter()
        .map(|key| match key {
            CursorKey::Number(number) => format!("number {number}"),
            CursorKey::Text(text) => format!("text {text}"),
            CursorKey::Time(time) => format!("time {time}"),
        })
        .collect();
    format!(
        "terms {terms:?} ordering {ordering:?} categories {categories:?} min_price {min_price:?} \
         max_price {max_price:?} in_stock {in_stock:?} at {keys:?} before {is_before:?}{by_relevance}"
    )
    .into_bytes()
}

/// What a seal calls a column: otherwise once its order has become another, lest a list that was begun on a node of
/// the version before go on in that order, and miss products or show them twice.
const fn sealed(column: Column) -> &'static str {
    match column {
        Column::Name => "name in any case",
        column => column.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Direction;
    use crate::types::{CategoryId, Money};

    fn query() -> ProductQuery {
        ProductQuery { ordering: vec![(Column::Price, Direction::Ascending)], ..ProductQuery::default() }
    }

    fn cursor(price: i64, id: i64) -> ProductCursor {
        ProductCursor { keys: vec![CursorKey::Number(price), CursorKey::Number(id)], is_before: false }
    }

    #[test]
    fn every_node_of_a_shop_knows_its_seals_and_no_other_shop_does() {
        let seal = CursorSeal::new("the secret of a shop, of which nodes know").seal(&query(), &cursor(5, 7));
        let same = CursorSeal::new("the secret of a shop, of which nodes know");
        let other = CursorSeal::new("the secret of another shop, by another name");
        assert!(same.is_genuine(&query(), &cursor(5, 7), &seal));
        assert!(!other.is_genuine(&query(), &cursor(5, 7), &seal));
    }

    #[test]
    fn a_seal_holds_for_one_position_in_one_list() {
        let ours = CursorSeal::new("the secret of a shop, of which nodes know");
        let seal = ours.seal(&query(), &cursor(5, 7));
        for moved in [cursor(5, 8), cursor(6, 7), ProductCursor { is_before: true, ..cursor(5, 7) }] {
            assert!(!ours.is_genuine(&query(), &moved, &seal), "{moved:?}");
        }
        let others = [
            ProductQuery { ordering: vec![(Column::Price, Direction::Descending)], ..query() },
            ProductQuery { ordering: vec![(Column::Stock, Direction::Ascending)], ..query() },
            ProductQuery { terms: vec!["a".to_owned()], ..query() },
            ProductQuery { categories: vec![CategoryId(1)], ..query() },
            ProductQuery { min_price: Some(Money::ZERO), ..query() },
            ProductQuery { max_price: Some(Money::ZERO), ..query() },
            ProductQuery { in_stock: true, ..query() },
            ProductQuery { by_relevance: true, ..query() },
        ];
        for other in others {
            assert!(!ours.is_genuine(&other, &cursor(5, 7), &seal), "{other:?}");
        }
        for broken in ["", "x", &seal[1..], &seal.replace(&seal[..1], "~")] {
            assert!(!ours.is_genuine(&query(), &cursor(5, 7), broken), "{broken:?}");
        }
    }

    #[test]
    fn a_position_among_names_in_their_former_order_is_nobody_s() {
        let query =
            ProductQuery { ordering: vec![(Column::Name, Direction::Ascending)], ..ProductQuery::default() };
        let cursor = ProductCursor {
            keys: vec![CursorKey::Text("pen".to_owned()), CursorKey::Number(7)],
            is_before: false,
        };
        let now = String::from_utf8(message(&query, &cursor)).unwrap();
        let before = now.replace("name in any case", "name");
        assert_ne!(now, before);
        let ours = CursorSeal::new("the secret of a shop, of which nodes know");
        assert!(ours.is_genuine(&query, &cursor, &authenticate(now.as_bytes(), &ours.encoding)));
        assert!(!ours.is_genuine(&query, &cursor, &authenticate(before.as_bytes(), &ours.encoding)));
    }

    #[test]
    fn what_cannot_stand_in_the_order_is_refused_whatever_its_seal() {
        let ours = CursorSeal::new("the secret of a shop, of which nodes know");
        let text = CursorKey::Text(String::new());
        for keys in [vec![], vec![text], vec![CursorKey::Number(1); 3]] {
            let cursor = ProductCursor { keys, is_before: true };
            let seal = ours.seal(&query(), &cursor);
            assert!(!ours.is_genuine(&query(), &cursor, &seal), "{cursor:?}");
        }
    }
}
