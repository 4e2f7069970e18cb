//! The catalogue: categories and products as readers see them.
//!
//! Promises: a write is seen by the next read on the node that wrote, and by the other nodes once
//! they have read the event log; a page costs the same however deep it is; a search word is never a
//! pattern. Categories are written here, in transactions of their own. Whatever touches a product
//! or a stock is passed on to the inventory, which writes it in its batches.

mod cache;
mod error;
mod import;
mod list;
mod product;
mod redis;
pub(crate) mod store;
mod write;

use std::sync::Arc;

pub use cache::{CatalogCache, Document};
pub use error::CatalogError;
pub use import::{ImportReport, ImportRow};
pub use list::{Column, CursorKey, Direction, ProductCursor, ProductQuery, TERMS_MAX, list_products_samples};
pub use product::{
    CATEGORIES_MAX, Category, CategoryChanges, NewCategory, NewProduct, Product, ProductChanges, STOCK_MAX,
};

use crate::db::Db;
use crate::feed::Announcer;
use crate::inventory::Inventory;
use crate::types::{CategoryId, Page, PageRequest, ProductId};
use cache::Key;

/// How the catalogue is read.
#[derive(Clone, Debug)]
pub struct CatalogSettings {
    /// Entries the in-process cache may hold; one counts once for each 4 KiB of its size.
    pub cache_entries_max: u64,
}

/// The catalogue. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    db: Db,
    announcer: Announcer,
    cache: Arc<CatalogCache>,
    inventory: Inventory,
}

impl Catalog {
    /// The catalogue in `db`, read through `cache`, which must be among the announcer's listeners.
    #[must_use]
    pub fn new(db: Db, announcer: Announcer, cache: Arc<CatalogCache>, inventory: Inventory) -> Self {
        Self { db, announcer, cache, inventory }
    }

    /// All categories by id, as a JSON array.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn list_categories(&self) -> Result<Document, CatalogError> {
        self.read(Key::Categories).await
    }

    /// A category as JSON.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], or when the database is out of reach.
    pub async fn get_category(&self, id: CategoryId) -> Result<Document, CatalogError> {
        self.read(Key::Category(id.0)).await
    }

    /// A product as JSON, with its versions.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], or when the database is out of reach.
    pub async fn get_product(&self, id: ProductId) -> Result<Document, CatalogError> {
        self.read(Key::Product(id.0)).await
    }

    /// A page of products, read from the database.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`] when the cursor belongs to another order, or when the
    /// database is out of reach.
    pub async fn list_products(
        &self,
        query: &ProductQuery,
        page: &PageRequest<ProductCursor>,
    ) -> Result<Page<Product, ProductCursor>, CatalogError> {
        let statement = list::Statement::compose(query, page)?;
        let client = self.db.client("catalog/list_products.sql").await?;
        let mut items = store::list_products(&client, &statement).await?;
        drop(client);
        let more = items.len() > page.size;
        items.truncate(page.size);
        let last = items.last().filter(|_| more);
        let next = last.map(|last| ProductCursor::after(last, &query.ordering));
        Ok(Page { items, next })
    }

    async fn read(&self, key: Key) -> Result<Document, CatalogError> {
        let entry = self.cache.get(key, || self.load(key)).await?;
        entry.document.clone().ok_or(CatalogError::NotFound)
    }

    async fn load(&self, key: Key) -> Result<cache::Entry, CatalogError> {
        let client = self.db.client("catalog/read").await?;
        Ok(match key {
            Key::Product(id) => store::get_product(&client, ProductId(id)).await?,
            Key::Category(id) => store::get_category(&client, CategoryId(id)).await?,
            Key::Categories => store::list_categories(&client).await?,
        })
    }
}
