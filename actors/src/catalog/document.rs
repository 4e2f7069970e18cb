//! Answers as the contract shows them: JSON that is written once, in which a stock can be replaced.
//!
//! Promises: what is handed out is shared, never copied; a sale rewrites the digits of the stock and
//! nothing else, without asking the database; two documents with one tag have the same bytes, on
//! whichever node they were made.

use std::fmt::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Product;

/// How a product's JSON introduces its stock. No text in it reads the same: there, a quote has a
/// backslash before it.
const STOCK: &[u8] = b"\"stock\":";

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Document {
    /// JSON, UTF-8.
    pub body: Bytes,
    /// Tells this content from every other that the same address may show, as a strong entity tag,
    /// quotes included: `"<edit version>-<stock>"` of a product, digests of everything else.
    pub tag: Bytes,
    /// Where the next page is, in the words of whoever asked for this one to be loaded.
    pub next: Option<Bytes>,
    /// `body` in other codings, each made when it is first wanted.
    pub packed: [OnceLock<Bytes>; Self::PACKINGS],
    /// The part of the tag that stays as long as nothing but stocks changes.
    label: Box<str>,
    /// Where in the body they stand, in that order.
    stocks: Box<[Stock]>,
}

/// A stock within a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stock {
    product: i64,
    quantity: i64,
    /// Where its digits begin, in bytes.
    at: usize,
}

/// All of a document but its body, to be kept elsewhere.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outline {
    label: String,
    next: Option<String>,
    stocks: Vec<Stock>,
}

impl Document {
    /// How many other codings a document can be kept in.
    pub const PACKINGS: usize = 2;

    /// Of a product.
    pub(super) fn of_product(product: &Product) -> Self {
        let mut draft = Draft::default();
        draft.push(product);
        Self::assemble(draft.text.into(), product.version.to_string().into(), None, draft.stocks.into())
    }

    /// Of a page of products; `next` tells where the next one is.
    pub(super) fn of_page(products: &[Product], next: Option<Bytes>) -> Self {
        let mut draft = Draft::default();
        draft.text.push(b'[');
        for (position, product) in products.iter().enumerate() {
            if position > 0 {
                draft.text.push(b',');
            }
            draft.push(product);
        }
        draft.text.push(b']');
        let label = draft.digest(next.as_ref());
        Self::assemble(draft.text.into(), label, next, draft.stocks.into())
    }

    /// Of anything that has no stock.
    pub(super) fn of(value: &impl Serialize) -> Self {
        let mut draft = Draft::default();
        draft.write(value);
        let label = draft.digest(None);
        Self::assemble(draft.text.into(), label, None, draft.stocks.into())
    }

    fn assemble(body: Bytes, label: Box<str>, next: Option<Bytes>, stocks: Box<[Stock]>) -> Self {
        let tag = tag_of(&label, &stocks);
        Self { body, tag, next, packed: Default::default(), label, stocks }
    }

    /// The same with the stocks that are known by now; `None` where that changes nothing.
    pub(super) fn restocked(&self, known: impl Fn(i64) -> Option<i64>) -> Option<Self> {
        let now = |stock: &Stock| known(stock.product).unwrap_or(stock.quantity);
        if self.stocks.iter().all(|stock| now(stock) == stock.quantity) {
            return None;
        }
        let mut text = Vec::with_capacity(self.body.len() + 4 * self.stocks.len());
        let mut stocks = Vec::with_capacity(self.stocks.len());
        let mut from = 0;
        for stock in &self.stocks {
            text.extend_from_slice(self.body.get(from..stock.at).unwrap_or_default());
            from = stock.at + digits(stock.quantity);
            let (at, quantity) = (text.len(), now(stock));
            stocks.push(Stock { at, quantity, ..*stock });
            // Writing to a vector cannot fail.
            std::io::Write::write_fmt(&mut text, format_args!("{quantity}")).ok();
        }
        text.extend_from_slice(self.body.get(from..).unwrap_or_default());
        Some(Self::assemble(text.into(), self.label.clone(), self.next.clone(), stocks.into()))
    }

    /// Taken apart, to be kept elsewhere.
    pub(super) fn outline(&self) -> Outline {
        let next = self.next.as_ref().map(|next| String::from_utf8_lossy(next).into_owned());
        Outline { label: self.label.clone().into(), next, stocks: self.stocks.to_vec() }
    }

    /// The reverse of [`Self::outline`]; `None` where outline and body are not of one document.
    pub(super) fn of_outline(outline: Outline, body: Bytes) -> Option<Self> {
        let mut from = 0;
        for stock in &outline.stocks {
            let end = stock.at.checked_add(digits(stock.quantity))?;
            if stock.at < from || body.get(stock.at..end)? != stock.quantity.to_string().as_bytes() {
                return None;
            }
            from = end;
        }
        let next = outline.next.map(Bytes::from);
        Some(Self::assemble(body, outline.label.into(), next, outline.stocks.into()))
    }

    /// How much memory it takes, in bytes, with everything that may come to it later.
    pub(super) fn weight(&self) -> usize {
        let next = self.next.as_ref().map_or(0, Bytes::len);
        size_of::<Self>() + 2 * self.body.len() + next + self.stocks.len() * size_of::<Stock>()
    }
}

/// A body while it is written.
#[derive(Default)]
struct Draft {
    text: Vec<u8>,
    stocks: Vec<Stock>,
}

impl Draft {
    fn write(&mut self, value: &impl Serialize) {
        // Strings, numbers and nulls always serialize, and a vector takes them all.
        serde_json::to_writer(&mut self.text, value).ok();
    }

    fn push(&mut self, product: &Product) {
        let begin = self.text.len();
        self.write(product);
        // From the end, where only two times of a fixed length follow.
        let found = self.text[begin..].windows(STOCK.len()).rposition(|window| window == STOCK);
        if let Some(found) = found {
            let at = begin + found + STOCK.len();
            self.stocks.push(Stock { product: product.id.0, quantity: product.stock, at });
        }
    }

    /// A digest of everything but the stocks.
    fn digest(&self, next: Option<&Bytes>) -> Box<str> {
        let mut hash = Sha256::new();
        let mut from = 0;
        for stock in &self.stocks {
            hash.update(&self.text[from..stock.at]);
            from = stock.at + digits(stock.quantity);
        }
        hash.update(&self.text[from..]);
        hash.update(next.map(Bytes::as_ref).unwrap_or_default());
        short(hash)
    }
}

/// How many bytes a number takes.
fn digits(number: i64) -> usize {
    let size = number.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
    size + usize::from(number < 0)
}

fn tag_of(label: &str, stocks: &[Stock]) -> Bytes {
    let tag = match stocks {
        [] => format!("\"{label}\""),
        [stock] => format!("\"{label}-{}\"", stock.quantity),
        _ => {
            let mut hash = Sha256::new();
            stocks.iter().for_each(|stock| hash.update(stock.quantity.to_le_bytes()));
            format!("\"{label}-{}\"", short(hash))
        }
    };
    tag.into()
}

/// As many digits as make an accident impossible.
fn short(hash: Sha256) -> Box<str> {
    let text = hash.finalize().iter().take(12).fold(String::with_capacity(24), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    });
    text.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::types::{CategoryId, Money, ProductId, Timestamp};

    fn product(id: i64, name: &str, stock: i64) -> Product {
        let at = Timestamp(OffsetDateTime::UNIX_EPOCH);
        Product {
            id: ProductId(id),
            sku: Some(name.to_owned()),
            name: name.to_owned(),
            description: Some(format!("\"stock\":{name}, \\\"stock\\\":")),
            price: Money::from_cents(150),
            category: CategoryId(1),
            stock,
            created_at: at,
            updated_at: at,
            version: 3,
            stock_version: 1,
        }
    }

    fn page(stocks: &[i64], name: &str) -> Document {
        let products: Vec<Product> = (1..).zip(stocks).map(|(id, stock)| product(id, name, *stock)).collect();
        Document::of_page(&products, Some(Bytes::from_static(b"there")))
    }

    proptest! {
        #[test]
        fn a_restocked_page_is_the_page_that_would_have_been_written(
            before in prop::collection::vec(any::<i64>(), 0..5),
            after in prop::collection::vec(any::<i64>(), 5),
            name in "[a-z\"\\\\:]{0,12}|.{0,8}",
        ) {
            let after = &after[..before.len()];
            let written = page(after, &name);
            let restocked = page(&before, &name).restocked(|id| after.get(id as usize - 1).copied());
            match restocked {
                None => prop_assert_eq!(&before[..], after),
                Some(restocked) => {
                    prop_assert_eq!(&restocked.body, &written.body);
                    prop_assert_eq!(&restocked.tag, &written.tag);
                    prop_assert_eq!(&restocked.stocks, &written.stocks);
                    prop_assert_ne!(&restocked.tag, &page(&before, &name).tag);
                }
            }
        }

        #[test]
        fn a_document_survives_being_taken_apart(stocks in prop::collection::vec(any::<i64>(), 0..4)) {
            let before = page(&stocks, "lamp");
            let outline = serde_json::to_string(&before.outline()).unwrap();
            let outline = serde_json::from_str(&outline).unwrap();
            let after = Document::of_outline(outline, before.body.clone()).unwrap();
            prop_assert_eq!((&after.tag, &after.next, &after.stocks), (&before.tag, &before.next, &before.stocks));
        }

        #[test]
        fn numbers_are_as_long_as_they_are(number in any::<i64>()) {
            for number in [number, number % 100, 0, i64::MIN, i64::MAX] {
                prop_assert_eq!(digits(number), number.to_string().len());
            }
        }
    }

    #[test]
    fn a_product_is_told_by_its_edit_version_and_its_stock() {
        let lamp = Document::of_product(&product(7, "lamp", 10));
        assert_eq!(lamp.tag, "\"3-10\"");
        let sold = lamp.restocked(|id| (id == 7).then_some(9)).unwrap();
        assert_eq!((&sold.tag[..], lamp.body.len() - 1), (&b"\"3-9\""[..], sold.body.len()));
        assert!(lamp.restocked(|_| None).is_none());
        assert!(lamp.restocked(|_| Some(10)).is_none());
    }

    #[test]
    fn an_outline_of_another_document_is_refused() {
        let (one, other) = (page(&[10, 20], "lamp"), page(&[10], "lamp"));
        assert!(Document::of_outline(one.outline(), other.body.clone()).is_none());
        let mut outline = other.outline();
        outline.stocks[0].at = usize::MAX;
        assert!(Document::of_outline(outline, other.body).is_none());
    }
}
