//! What the load generator knows by itself of stock and sales, to hold against the shop's word.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::client::{Client, ClientError, Request};

/// The most differences that are told one by one.
const TOLD_MAX: usize = 20;

/// Every product with its stock, at one moment.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Stock by product.
    pub stock: HashMap<i64, i64>,
    /// Product by sku.
    pub by_sku: HashMap<String, i64>,
}

/// A product whose stock is not what the acknowledged orders leave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Difference {
    product: i64,
    expected: i64,
    actual: Option<i64>,
}

/// How the shop's stock and the own books compare.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// Products compared.
    pub products: usize,
    /// Products whose stock differs from before − units acknowledged.
    pub differing: usize,
    /// Products whose stock is below zero.
    pub below_zero: usize,
    /// The first of the differences.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether the books agree.
    pub(crate) fn agrees(&self) -> bool {
        self.differing == 0 && self.below_zero == 0
    }

    /// What does not agree.
    pub(crate) fn broken(&self) -> Vec<String> {
        let findings = [
            (self.differing, "products differ from the own books"),
            (self.below_zero, "products are below zero"),
        ];
        let broken = findings.into_iter().filter(|(count, _)| *count > 0);
        broken.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

/// The answer of `GET /api/audit/`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Audit {
    /// Whether the shop's books agree.
    pub ok: bool,
    /// Products checked.
    #[serde(default)]
    pub products: i64,
    /// Orders checked.
    #[serde(default)]
    pub orders: i64,
    /// Units put in.
    #[serde(default)]
    pub units_in: i64,
    /// Units that live orders hold or took.
    #[serde(default)]
    pub units_out: i64,
    /// Products that do not agree.
    pub discrepancies: Vec<serde_json::Value>,
}

impl Audit {
    /// Asks the shop to check itself.
    pub(crate) async fn read(client: &mut Client, staff: &Account) -> Result<Self, ClientError> {
        let answer = staff.send(client, Request::get("/api/audit/")).await?.answer;
        if answer.status != 200 {
            return Err(answer.unexpected("cannot read the audit"));
        }
        answer.json()
    }

    /// For people.
    pub(crate) fn in_words(&self) -> String {
        let clean = match self.ok {
            true => "clean".to_owned(),
            false => format!("{} discrepancies", self.discrepancies.len()),
        };
        format!("{clean}: {} units in, {} out, {} orders", self.units_in, self.units_out, self.orders)
    }
}

impl Shelf {
    /// Walks the whole product list, page by page.
    pub(crate) async fn read(client: &mut Client, staff: &Account) -> Result<Self, ClientError> {
        Self::walk(client, staff, "/api/products/?page_size=1000".to_owned()).await
    }

    /// Walks the products of one category.
    pub(crate) async fn read_category(
        client: &mut Client,
        staff: &Account,
        category: i64,
    ) -> Result<Self, ClientError> {
        Self::walk(client, staff, format!("/api/products/?category={category}&page_size=1000")).await
    }

    async fn walk(client: &mut Client, staff: &Account, first: String) -> Result<Self, ClientError> {
        #[derive(Deserialize)]
        struct Product {
            id: i64,
            sku: Option<String>,
            stock: i64,
        }
        let mut shelf = Self::default();
        let mut next = Some(first);
        while let Some(path) = next {
            // What the shop remembers would agree with itself.
            let request = Request::get(path).header("Cache-Control", "no-cache");
            let answer = staff.send(client, request).await?.answer;
            if answer.status != 200 {
                return Err(answer.unexpected("cannot read the product list"));
            }
            let known = shelf.stock.len();
            for product in answer.json::<Vec<Product>>()? {
                shelf.stock.insert(product.id, product.stock);
                shelf.by_sku.extend(product.sku.map(|sku| (sku, product.id)));
            }
            next = answer.header("link").and_then(next_page);
            if next.is_some() && shelf.stock.len() == known {
                return Err(answer.unexpected("the product list never ends"));
            }
        }
        Ok(shelf)
    }

    /// Compares this shelf, read after a run, with the one `before` it less what was `sold`.
    pub(crate) fn compare(&self, before: &Self, sold: &HashMap<i64, i64>) -> Comparison {
        let mut found =
            Comparison { products: before.stock.len(), differing: 0, below_zero: 0, differences: Vec::new() };
        for (&product, &stock) in &before.stock {
            let expected = stock - sold.get(&product).copied().unwrap_or(0);
            let actual = self.stock.get(&product).copied();
            found.below_zero += usize::from(actual.is_some_and(|stock| stock < 0));
            if actual != Some(expected) {
                found.differing += 1;
                if found.differences.len() < TOLD_MAX {
                    found.differences.push(Difference { product, expected, actual });
                }
            }
        }
        found
    }

    /// Units in stock, all products together.
    pub(crate) fn units(&self) -> i64 {
        self.stock.values().sum()
    }
}

/// The path and query of the `next` link (RFC 8288).
pub(crate) fn next_page(link: &str) -> Option<String> {
    link.split(", <").find(|part| part.contains("rel=\"next\"")).and_then(|part| {
        let url = part.trim_start_matches('<').split('>').next()?;
        let url: hyper::Uri = url.parse().ok()?;
        url.path_and_query().map(ToString::to_string)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_whole_or_relative() {
        for (link, path) in [
            (
                "<http://h:1/api/products/?cursor=a&page_size=2>; rel=\"next\"",
                Some("/api/products/?cursor=a&page_size=2"),
            ),
            ("</p?cursor=b>; rel=\"next\"", Some("/p?cursor=b")),
            ("</first>; rel=\"first\", </p?cursor=b>; rel=\"next\"", Some("/p?cursor=b")),
            ("</first>; rel=\"first\"", None),
        ] {
            assert_eq!(next_page(link).as_deref(), path);
        }
    }

    #[test]
    fn a_unit_too_few_or_too_many_and_a_lost_product_are_differences() {
        let shelf =
            |stock: &[(i64, i64)]| Shelf { stock: stock.iter().copied().collect(), ..Shelf::default() };
        let before = shelf(&[(1, 10), (2, 10), (3, 10)]);
        let sold = HashMap::from([(1, 4), (2, 4)]);
        assert!(shelf(&[(1, 6), (2, 6), (3, 10)]).compare(&before, &sold).agrees());
        assert_eq!(shelf(&[(1, 5), (2, 7)]).compare(&before, &sold).differing, 3);
        assert_eq!(shelf(&[(1, -1), (2, 6), (3, 10)]).compare(&before, &sold).below_zero, 1);
    }
}
