//! Bringing a whole catalogue in, row by row.
//!
//! Promises: a row is known by its `sku`, so the same import again changes nothing; every product is
//! written by the inventory's batches, many at a time. An import that is broken off has done some of
//! its rows, each wholly; repeating it does the rest.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Catalog, CatalogError, NewCategory, NewProduct, Product, ProductChanges, store};
use crate::idempotency::Done;
use crate::inventory::{CreateProduct, EditProduct, InventoryError};
use crate::types::{CategoryId, Money};

/// Rows that are with the inventory at once, to share its batches.
const IN_FLIGHT_MAX: usize = 256;
/// Rows that are looked up at once.
const CHUNK_ROWS: usize = 2_000;
/// How often a row is tried while the shop is busy or others edit the same product.
const ATTEMPTS: u32 = 8;
/// The wait before a second try; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// A product as an import describes it, already checked against the contract's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// What the product is known by: 1 to 64 characters.
    pub sku: String,
    /// Its name: 1 to 100 characters.
    pub name: String,
    /// Free text; `None` keeps what is there.
    pub description: Option<String>,
    /// The name of its category: 1 to 100 characters. Made if there is none of that name.
    pub category: String,
    /// The price of one.
    pub price: Money,
    /// A count: what the stock is at the moment the row is written, 0 to [`super::STOCK_MAX`].
    pub stock: i64,
}

/// What an import came to, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Products that are new.
    pub created: usize,
    /// Products that were different before.
    pub updated: usize,
    /// Products that were as the row says, and rows that a later row of the same sku overruled.
    pub unchanged: usize,
}

enum Outcome {
    Created,
    Updated,
    Unchanged,
}

impl Catalog {
    /// Makes the catalogue agree with `rows`; tells `progress` how many are done, now and then.
    ///
    /// # Errors
    /// When the shop stays out of reach, or there would be too many categories. The rows done so
    /// far stay.
    pub async fn import(
        &self,
        rows: Vec<ImportRow>,
        progress: &dyn Fn(usize),
    ) -> Result<ImportReport, CatalogError> {
        let total = rows.len();
        let rows = last_of_each_sku(rows);
        let report = Cell::new(ImportReport { unchanged: total - rows.len(), ..ImportReport::default() });
        let categories = self.import_categories(&rows).await?;
        for chunk in rows.chunks(CHUNK_ROWS) {
            let known = &self.find_by_sku(chunk).await?;
            let work = chunk.iter().filter_map(|row| Some((row, *categories.get(row.category.as_str())?)));
            let work = work.map(async |(row, category)| {
                self.import_row(row, category, known.get(&row.sku).cloned()).await
            });
            stream::iter(work)
                .buffer_unordered(IN_FLIGHT_MAX)
                .try_for_each(async |outcome| {
                    report.set(count(report.get(), &outcome));
                    progress(done(report.get()));
                    Ok(())
                })
                .await?;
        }
        Ok(report.get())
    }

    /// The ids of the categories that the rows name, the missing ones made.
    async fn import_categories(
        &self,
        rows: &[ImportRow],
    ) -> Result<HashMap<String, CategoryId>, CatalogError> {
        let names: HashSet<&str> = rows.iter().map(|row| row.category.as_str()).collect();
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        let mut known = self.find_categories(&names).await?;
        for name in names {
            if known.contains_key(name) {
                continue;
            }
            let new = NewCategory { name: name.to_owned(), description: None };
            let id = match self.create_category(&new, None).await {
                Ok(Done::Now(category)) => CategoryId(category.id),
                // Somebody else was quicker. An answer from before needs a key, and there is none.
                Ok(Done::Before(_)) | Err(CatalogError::NameTaken) => {
                    let found = self.find_categories(&[name]).await?;
                    found.get(name).copied().ok_or(CatalogError::Unavailable)?
                }
                Err(error) => return Err(error),
            };
            known.insert(name.to_owned(), id);
        }
        Ok(known)
    }

    async fn find_categories(&self, names: &[&str]) -> Result<HashMap<String, CategoryId>, CatalogError> {
        let client = self.db.client("catalog/find_categories_by_name.sql").await?;
        Ok(store::find_categories_by_name(&client, names).await?)
    }

    async fn find_by_sku(&self, rows: &[ImportRow]) -> Result<HashMap<String, Product>, CatalogError> {
        let skus: Vec<&str> = rows.iter().map(|row| row.sku.as_str()).collect();
        let client = self.db.client("catalog/find_products_by_sku.sql").await?;
        Ok(store::find_products_by_sku(&client, &skus).await?)
    }

    /// Writes one row; looks again at what is there whenever somebody else came between.
    async fn import_row(
        &self,
        row: &ImportRow,
        category: CategoryId,
        mut known: Option<Product>,
    ) -> Result<Outcome, CatalogError> {
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let error = match self.import_once(row, category, known).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            let passing = matches!(
                error,
                InventoryError::SkuTaken
                    | InventoryError::NotFound
                    | InventoryError::Overloaded
                    | InventoryError::Unavailable
                    | InventoryError::OutcomeUnknown
            );
            if !passing || attempt >= ATTEMPTS {
                return Err(error.into());
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
            known = self.find_by_sku(std::slice::from_ref(row)).await?.remove(&row.sku);
        }
        Err(CatalogError::Unavailable)
    }

    async fn import_once(
        &self,
        row: &ImportRow,
        category: CategoryId,
        known: Option<Product>,
    ) -> Result<Outcome, InventoryError> {
        let Some(known) = known else {
            let product = new_product(row, category);
            self.create_product(CreateProduct { product, by: None, key: None }).await?;
            return Ok(Outcome::Created);
        };
        let Some(changes) = changes(row, category, &known) else { return Ok(Outcome::Unchanged) };
        self.edit_product(EditProduct { product: known.id, changes, only_versions: None, by: None }).await?;
        Ok(Outcome::Updated)
    }
}

/// The rows in their order, without those that a later one of the same sku overrules.
fn last_of_each_sku(rows: Vec<ImportRow>) -> Vec<ImportRow> {
    let last: HashMap<String, usize> =
        rows.iter().enumerate().map(|(place, row)| (row.sku.clone(), place)).collect();
    let rows = rows.into_iter().enumerate();
    rows.filter(|(place, row)| last.get(&row.sku) == Some(place)).map(|(_, row)| row).collect()
}

fn new_product(row: &ImportRow, category: CategoryId) -> NewProduct {
    NewProduct {
        sku: Some(row.sku.clone()),
        name: row.name.clone(),
        description: row.description.clone(),
        price: row.price,
        category,
        stock: row.stock,
    }
}

/// What has to change for `known` to be as `row` says; `None` when nothing has.
fn changes(row: &ImportRow, category: CategoryId, known: &Product) -> Option<ProductChanges> {
    let changes = ProductChanges {
        sku: None,
        name: (row.name != known.name).then(|| row.name.clone()),
        description: (row.description.is_some() && row.description != known.description)
            .then(|| row.description.clone()),
        price: (row.price != known.price).then_some(row.price),
        category: (category != known.category).then_some(category),
        stock: (row.stock != known.stock).then_some(row.stock),
    };
    (changes != ProductChanges::default()).then_some(changes)
}

fn count(mut report: ImportReport, outcome: &Outcome) -> ImportReport {
    match outcome {
        Outcome::Created => report.created += 1,
        Outcome::Updated => report.updated += 1,
        Outcome::Unchanged => report.unchanged += 1,
    }
    report
}

fn done(report: ImportReport) -> usize {
    report.created + report.updated + report.unchanged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ProductId, Timestamp};

    fn row(sku: &str, stock: i64) -> ImportRow {
        ImportRow {
            sku: sku.to_owned(),
            name: "Pen".to_owned(),
            description: None,
            category: "Office".to_owned(),
            price: Money::from_cents(150),
            stock,
        }
    }

    fn product(stock: i64) -> Product {
        let at = Timestamp(time::OffsetDateTime::UNIX_EPOCH);
        Product {
            id: ProductId(1),
            sku: Some("a".to_owned()),
            name: "Pen".to_owned(),
            description: Some("blue".to_owned()),
            price: Money::from_cents(150),
            category: CategoryId(3),
            stock,
            created_at: at,
            updated_at: at,
            version: 1,
            stock_version: 1,
        }
    }

    #[test]
    fn the_last_row_of_a_sku_counts() {
        let rows = last_of_each_sku(vec![row("a", 1), row("b", 2), row("a", 3)]);
        assert_eq!(rows, [row("b", 2), row("a", 3)]);
    }

    #[test]
    fn only_what_differs_is_changed() {
        assert_eq!(changes(&row("a", 5), CategoryId(3), &product(5)), None);
        let expected =
            ProductChanges { stock: Some(6), category: Some(CategoryId(4)), ..ProductChanges::default() };
        assert_eq!(changes(&row("a", 6), CategoryId(4), &product(5)), Some(expected));
        let described = ImportRow { description: Some(String::new()), ..row("a", 5) };
        let expected = ProductChanges { description: Some(Some(String::new())), ..ProductChanges::default() };
        assert_eq!(changes(&described, CategoryId(3), &product(5)), Some(expected));
    }
}
