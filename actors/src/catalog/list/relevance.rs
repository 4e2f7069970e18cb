//! The best first: how well products fit a search, and how pages in that order are read.
//!
//! First come those whose name begins with the search, by name, which puts the very name first. An index
//! has them in this order. Then come the others: those with all words at beginnings of words of the name,
//! those with all words in the name, the one whose sku is the search, and the rest; each kind by id. No
//! index has that order, so as many of the others as [`BLOCK`] are compared, the next ones by id after
//! them, and so on. Hence a search that no more products fit is in this order as a whole; one that more do
//! goes through them in blocks, each in this order by itself.
//!
//! Promises: a page compares at most [`BLOCKS_MAX`] blocks, and reads each of them as any list by id is
//! read; every product that stays as it is is seen once, since names and blocks are told apart by what
//! does not change: the name, and the ids between which a block lies, which its cursor holds.

use super::letters::capital;
use super::{CursorKey, Product, ProductCursor, ProductLister, ProductQuery};
use crate::catalog::{CatalogError, store};
use crate::types::{Page, PageRequest};

/// How many products are compared with each other.
pub const BLOCK: usize = 2_000;
/// How many blocks a page may take.
const BLOCKS_MAX: usize = 2;
/// How many pages by id a block may take. One, unless products have come into the middle of it.
const READS_MAX: usize = 4;

/// A text as searches compare it: in capitals, as nearly as can be told here.
pub(in crate::catalog) fn fold(text: &str) -> String {
    text.chars().map(capital).collect()
}

/// Whether a word of `text` begins with `word`, both in the form of a search.
pub(in crate::catalog) fn has_word_beginning(text: &str, word: &str) -> bool {
    let mut is_within = false;
    text.char_indices().any(|(at, c)| {
        let begins = !is_within;
        is_within = c.is_alphanumeric();
        begins && text[at..].starts_with(word)
    })
}

/// How well a product fits; the smallest is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Its name begins with the search.
    Beginning,
    /// Each word is at the beginning of a word of the name.
    Words,
    /// Each word is in the name.
    Name,
    /// The search is its sku.
    Sku,
    /// The words are somewhere.
    Rest,
}

/// The words of a search.
struct Search {
    terms: Vec<String>,
    /// All of them, a blank between.
    whole: String,
}

impl Search {
    fn of(query: &ProductQuery) -> Self {
        let terms: Vec<String> = query.terms.iter().map(|term| fold(term)).collect();
        let whole = terms.join(" ");
        Self { terms, whole }
    }

    fn fit(&self, product: &Product) -> Fit {
        let name = fold(&product.name);
        if name.starts_with(&self.whole) {
            Fit::Beginning
        } else if self.terms.iter().all(|term| has_word_beginning(&name, term)) {
            Fit::Words
        } else if self.terms.iter().all(|term| name.contains(term)) {
            Fit::Name
        } else if product.sku.as_ref().is_some_and(|sku| fold(sku) == self.whole) {
            Fit::Sku
        } else {
            Fit::Rest
        }
    }
}

/// Where in the list a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    /// Among the names that begin with the search: behind this form of a name, and this id.
    Names(String, i64),
    /// Before the block of those whose ids are higher than that.
    Block(i64),
    /// Within the block of those whose ids are higher than the first and not higher than the second:
    /// behind this fit, and this id.
    Within(i64, i64, i64, i64),
}

impl Position {
    fn of(cursor: &ProductCursor) -> Option<Self> {
        use CursorKey::{Number, Text};
        match cursor.keys.as_slice() {
            _ if cursor.is_before => None,
            [Text(form), Number(id)] if !form.contains('\0') => Some(Self::Names(form.clone(), *id)),
            [Number(after)] => Some(Self::Block(*after)),
            [Number(after), Number(until), Number(fit), Number(id)] => {
                Some(Self::Within(*after, *until, *fit, *id))
            }
            _ => None,
        }
    }

    fn cursor(self) -> ProductCursor {
        use CursorKey::{Number, Text};
        let keys = match self {
            Self::Names(form, id) => vec![Text(form), Number(id)],
            Self::Block(after) => vec![Number(after)],
            Self::Within(after, until, fit, id) => [after, until, fit, id].map(Number).to_vec(),
        };
        ProductCursor { keys, is_before: false }
    }
}

/// Whether a cursor can stand in a list by relevance.
pub(in crate::catalog) fn is_position(cursor: &ProductCursor) -> bool {
    Position::of(cursor).is_some()
}

/// A part of a page.
struct Part {
    items: Vec<Product>,
    /// Where the list goes on.
    next: Option<Position>,
    /// Whether there certainly is more.
    has_more: bool,
}

/// The products of a block, with their ranks, and the ids between which it lies.
struct Block {
    ranked: Vec<((i64, i64), Product)>,
    until: i64,
    /// Whether no product is behind it.
    is_last: bool,
}

impl ProductLister {
    /// A page of a list by relevance.
    ///
    /// # Errors
    /// As of [`Self::page`].
    pub(super) async fn page_by_relevance(
        &self,
        query: &ProductQuery,
        page: &PageRequest<ProductCursor>,
    ) -> Result<Page<Product, ProductCursor>, CatalogError> {
        let search = Search::of(query);
        let mut next = match &page.after {
            None => Some(Position::Names(String::new(), i64::MIN)),
            Some(cursor) => Some(Position::of(cursor).ok_or(CatalogError::InvalidCursor)?),
        };
        let (mut items, mut blocks) = (Vec::new(), 0);
        while let Some(position) = next.take() {
            let wanted = page.size - items.len();
            let part = if let Position::Names(form, id) = &position {
                self.names(query, &search, (form, *id), wanted).await?
            } else {
                blocks += 1;
                self.part_of_block(query, &search, &position, wanted).await?
            };
            items.extend(part.items);
            next = part.next;
            let is_short = matches!((&position, &next), (Position::Names(..), Some(Position::Names(..))));
            if part.has_more || is_short || blocks == BLOCKS_MAX {
                break;
            }
        }
        Ok(Page { items, next: next.map(Position::cursor) })
    }

    /// Of those whose name begins with the search.
    async fn names(
        &self,
        query: &ProductQuery,
        search: &Search,
        (form, id): (&str, i64),
        wanted: usize,
    ) -> Result<Part, CatalogError> {
        let client = self.db.client("catalog/list_products_by_beginning.sql").await?;
        let rows =
            store::list_products_by_beginning(&client, query, &search.whole, (form, id), wanted + 2).await?;
        drop(client);
        let is_full = rows.len() > wanted + 1;
        let (mut items, mut at) = (Vec::new(), (form.to_owned(), id));
        for (form, row) in rows {
            // Who is not taken here is taken among the others: both go by the same comparison.
            let is_taken = row.fits && search.fit(&row.product) == Fit::Beginning;
            if is_taken && items.len() == wanted {
                return Ok(Part { items, next: Some(Position::Names(at.0, at.1)), has_more: true });
            }
            at = (form, row.product.id.0);
            if row.is_end {
                items.extend(is_taken.then_some(row.product));
                return Ok(Part { items, next: Some(Position::Names(at.0, at.1)), has_more: false });
            }
            items.extend(is_taken.then_some(row.product));
        }
        let next = if is_full { Position::Names(at.0, at.1) } else { Position::Block(i64::MIN) };
        Ok(Part { items, next: Some(next), has_more: false })
    }

    /// Of the others, from there on.
    async fn part_of_block(
        &self,
        query: &ProductQuery,
        search: &Search,
        position: &Position,
        wanted: usize,
    ) -> Result<Part, CatalogError> {
        let (after, until, from) = match position {
            Position::Within(after, until, fit, id) => (*after, Some(*until), (*fit, *id)),
            Position::Block(after) => (*after, None, (i64::MIN, i64::MIN)),
            Position::Names(..) => (i64::MIN, None, (i64::MIN, i64::MIN)),
        };
        let Block { mut ranked, until, is_last } = self.block(query, search, after, until).await?;
        ranked.retain(|(rank, _)| *rank > from);
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        let has_more = ranked.len() > wanted;
        ranked.truncate(wanted);
        let next = match ranked.last().map_or(from, |(rank, _)| *rank) {
            (fit, id) if has_more => Some(Position::Within(after, until, fit, id)),
            _ => (!is_last).then_some(Position::Block(until)),
        };
        Ok(Part { items: ranked.into_iter().map(|(_, product)| product).collect(), next, has_more })
    }

    /// The block that begins behind an id, and ends where it did when it was first read, if it was.
    async fn block(
        &self,
        query: &ProductQuery,
        search: &Search,
        after: i64,
        until: Option<i64>,
    ) -> Result<Block, CatalogError> {
        let by_id = ProductQuery { by_relevance: false, ..query.clone() };
        let (mut at, mut products) = (Some(after), Vec::new());
        for _ in 0..READS_MAX {
            let start = at
                .filter(|id| *id > i64::MIN)
                .map(|id| ProductCursor { keys: vec![CursorKey::Number(id)], is_before: false });
            let page = self.page_in_order(&by_id, &PageRequest { after: start, size: BLOCK }).await?;
            products.extend(page.items);
            at = page.next.as_ref().and_then(last_id);
            if at.is_none_or(|at| until.is_none_or(|until| at >= until)) {
                break;
            }
        }
        // A block has no end where there is nothing behind it.
        let end = at.unwrap_or(i64::MAX);
        let until = until.map_or(end, |until| until.min(end));
        let is_last = at.is_none() && products.last().is_none_or(|product| product.id.0 <= until);
        let ranked = products
            .into_iter()
            .filter(|product| product.id.0 <= until)
            .map(|product| ((search.fit(&product) as i64, product.id.0), product))
            .filter(|((fit, _), _)| *fit != Fit::Beginning as i64)
            .collect();
        Ok(Block { ranked, until, is_last })
    }
}

/// The id up to which a list by id has been read.
fn last_id(cursor: &ProductCursor) -> Option<i64> {
    match cursor.keys.first() {
        Some(CursorKey::Number(id)) if cursor.is_before => Some(id - 1),
        Some(CursorKey::Number(id)) => Some(*id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_begins_behind_what_is_neither_letter_nor_digit() {
        for (text, word, has) in [
            ("RED T-LIGHT", "LIGHT", true),
            ("RED T-LIGHT", "RED T", true),
            ("RED T-LIGHT", "T-L", true),
            ("RED T-LIGHT", "-L", false),
            ("RED T-LIGHT", "IGHT", false),
            ("3D ÉTOILE", "É", true),
            ("3D ÉTOILE", "D", false),
            ("AAA", "AA", true),
            ("", "A", false),
        ] {
            assert_eq!(has_word_beginning(text, word), has, "{text} {word}");
        }
    }

    #[test]
    fn a_position_survives_the_way_into_a_cursor_and_back() {
        let names = Position::Names("PEN".to_owned(), 7);
        for position in [names, Position::Block(9), Position::Within(1, 2, 3, 4)] {
            assert_eq!(Position::of(&position.clone().cursor()), Some(position));
        }
        let number = CursorKey::Number(1);
        for (keys, is_before) in [(vec![], false), (vec![number.clone(); 2], false), (vec![number], true)] {
            assert!(!is_position(&ProductCursor { keys, is_before }));
        }
    }
}
