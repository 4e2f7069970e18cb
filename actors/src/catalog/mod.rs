//! The catalogue: categories and products as readers see them.
//!
//! Promises: a write is seen by the next read on the node that wrote, and by the other nodes once
//! they have read the event log, within a second; a page costs the same however deep it is; a search
//! word is never a pattern. Categories are written here, in transactions of their own. Whatever
//! touches a product or a stock is passed on to the inventory, which writes it in its batches.

mod board;
mod cache;
mod cursor;
mod document;
mod error;
mod list;
mod loader;
mod product;
mod redis;
pub(crate) mod store;
mod suggest;
mod write;

use std::sync::Arc;

use futures_util::FutureExt;

pub use cache::CatalogCache;
pub use cursor::{CursorKey, CursorSeal, ProductCursor};
pub use document::Document;
pub use error::CatalogError;
pub use list::{
    Column, Direction, LIST_ROWS_MAX, ProductQuery, RANKED_TOGETHER, TERMS_MAX, list_products_samples,
};
pub use product::{
    CATEGORIES_MAX, Category, CategoryChanges, NewCategory, NewProduct, Product, ProductChanges, STOCK_MAX,
};

use crate::db::{Database, Db};
use crate::feed::{self, Announcer};
use crate::inventory::Inventory;
use crate::types::{CategoryId, Page, PageRequest, ProductId};
use board::About;
use cache::{Key, Loaded, Loading};
use list::ProductLister;
use loader::ProductLoader;

/// Lists that are asked for with more words than this, in bytes, are not kept.
const KEPT_WORDS_MAX: usize = 256;
/// What a failure to get a connection for a read is told under.
const LOADING: &str = "catalog/read";

/// How the catalogue is read.
#[derive(Clone, Debug)]
pub struct CatalogSettings {
    /// Memory for answers that are kept in this process, in bytes; 0 keeps none.
    pub cache_bytes: u64,
}

/// The catalogue. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    db: Db,
    announcer: Announcer,
    cache: Arc<CatalogCache>,
    loader: Arc<ProductLoader>,
    lister: Arc<ProductLister>,
    seal: CursorSeal,
    inventory: Inventory,
}

impl Catalog {
    /// The catalogue in `database`, read through `cache`, which must be among the announcer's
    /// listeners. Its pages are sealed with `seal`.
    #[must_use]
    pub fn new(
        database: &Database,
        announcer: Announcer,
        cache: Arc<CatalogCache>,
        seal: CursorSeal,
        inventory: Inventory,
    ) -> Self {
        let db = database.db();
        let loader = ProductLoader::new(db.clone(), database.handle());
        let lister = Arc::new(ProductLister::new(db.clone(), database.handle()));
        Self { db, announcer, cache, loader, lister, seal, inventory }
    }

    /// All categories by id, as a JSON array.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn list_categories(&self) -> Result<Arc<Document>, CatalogError> {
        let load = || {
            let db = self.db.clone();
            async move { Ok(store::list_categories(&db.client(LOADING).await?).await?) }.boxed()
        };
        self.read(Key::Categories, About::Categories, load).await
    }

    /// A category as JSON.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], or when the database is out of reach.
    pub async fn get_category(&self, id: CategoryId) -> Result<Arc<Document>, CatalogError> {
        let load = || {
            let db = self.db.clone();
            async move { Ok(store::get_category(&db.client(LOADING).await?, id).await?) }.boxed()
        };
        self.read(Key::Category(id.0), About::Category(id.0), load).await
    }

    /// A product as JSON.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], or when the database is out of reach or has too much to do.
    pub async fn get_product(&self, id: ProductId) -> Result<Arc<Document>, CatalogError> {
        let load = || self.loader.clone().load(id.0).boxed();
        self.read(Key::Product(id.0), About::Product(id.0), load).await
    }

    /// The first page of a list that was asked for with these very words before, if it may be
    /// repeated. Never waits.
    #[must_use]
    pub fn known_first_page(&self, words: &str) -> Option<Arc<Document>> {
        self.cache.look(Key::FirstPage(words))?
    }

    /// The first page of a list, as JSON. `words` tell it from every other list and page size; `link`
    /// puts into words where the page after it begins, in the list that it is given. That is the one of
    /// `query`, unless [`Self::list_probable_products`] finds another one.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn first_page(
        &self,
        words: &str,
        query: &ProductQuery,
        may_correct: bool,
        size: usize,
        link: impl Fn(&ProductQuery, &ProductCursor) -> String + Send + Sync + 'static,
    ) -> Result<Arc<Document>, CatalogError> {
        let is_by_stock = |(column, _): &(Column, Direction)| *column == Column::Stock;
        let by_stock = query.in_stock || query.ordering.iter().any(is_by_stock);
        let link = Arc::new(link);
        let load = || {
            let (catalog, query, link) = (self.clone(), query.clone(), link.clone());
            async move { catalog.load_first_page(query, may_correct, size, &*link).await }.boxed()
        };
        if words.len() > KEPT_WORDS_MAX {
            return load().await?.document.map(Arc::new).ok_or(CatalogError::NotFound);
        }
        self.read(Key::FirstPage(words), About::Products { by_stock }, load).await
    }

    /// The suggestions that were asked for with these very words before, if they may be repeated. Never
    /// waits.
    #[must_use]
    pub fn known_suggestions(&self, words: &str) -> Option<Arc<Document>> {
        self.cache.look(Key::Suggestions(words))?
    }

    /// Names for what somebody is typing, at most `limit`, as a JSON array of `{id, name}`. `typed` is what
    /// there is of it, word by word; `words` tell it from everything else that is asked for.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn suggest(
        &self,
        words: &str,
        typed: Vec<String>,
        limit: usize,
    ) -> Result<Arc<Document>, CatalogError> {
        let load = || {
            let (catalog, typed) = (self.clone(), typed.clone());
            let load = async move {
                let seq = catalog.last_seq().await?;
                let names = suggest::suggest(&catalog.db, &catalog.lister, &typed, limit).await?;
                Ok(Loaded { seq, document: Some(Document::of(&names)) })
            };
            load.boxed()
        };
        if words.len() > KEPT_WORDS_MAX {
            return load().await?.document.map(Arc::new).ok_or(CatalogError::NotFound);
        }
        self.read(Key::Suggestions(words), About::Products { by_stock: false }, load).await
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
        self.lister.page(query, page).await
    }

    /// The first page of a list of products; where there are none, since some of its words occur in no
    /// product, the page of the list with known words in their place that are nearly the same. With it
    /// comes what was asked for instead, if it was something else.
    ///
    /// # Errors
    /// As of [`Self::list_products`].
    pub async fn list_probable_products(
        &self,
        query: &ProductQuery,
        size: usize,
    ) -> Result<(Page<Product, ProductCursor>, Option<ProductQuery>), CatalogError> {
        let first = PageRequest { after: None, size };
        let page = self.list_products(query, &first).await?;
        if !page.items.is_empty() || page.next.is_some() {
            return Ok((page, None));
        }
        let Some(terms) = self.lister.correct(&query.terms).await? else { return Ok((page, None)) };
        let corrected = ProductQuery { terms, ..query.clone() };
        Ok((self.list_products(&corrected, &first).await?, Some(corrected)))
    }

    /// How the database reads a page of products: its plan, with what each part of it came to. For
    /// whoever asks why a list takes so long.
    ///
    /// # Errors
    /// As of [`Self::list_products`].
    pub async fn explain_products(
        &self,
        query: &ProductQuery,
        page: &PageRequest<ProductCursor>,
    ) -> Result<String, CatalogError> {
        self.lister.explain(query, page).await
    }

    /// What makes the cursors of this shop's lists its own.
    #[must_use]
    pub const fn cursor_seal(&self) -> &CursorSeal {
        &self.seal
    }

    async fn read(
        &self,
        key: Key<'_>,
        about: About,
        load: impl Fn() -> Loading + Send + Sync,
    ) -> Result<Arc<Document>, CatalogError> {
        let found = match self.cache.look(key) {
            Some(found) => found,
            // Apart, so that the usual read does not carry the state of this one about.
            None => Box::pin(self.cache.get(key, about, load)).await?,
        };
        found.ok_or(CatalogError::NotFound)
    }

    async fn load_first_page(
        self,
        query: ProductQuery,
        may_correct: bool,
        size: usize,
        link: &(dyn Fn(&ProductQuery, &ProductCursor) -> String + Send + Sync),
    ) -> Result<Loaded, CatalogError> {
        let seq = self.last_seq().await?;
        let (page, other) = match may_correct {
            true => self.list_probable_products(&query, size).await?,
            false => (self.list_products(&query, &PageRequest { after: None, size }).await?, None),
        };
        let query = other.unwrap_or(query);
        let next = page.next.as_ref().map(|cursor| link(&query, cursor).into());
        Ok(Loaded { seq, document: Some(Document::of_page(&page.items, next)) })
    }

    /// The last event. What is read afterwards is no older.
    async fn last_seq(&self) -> Result<i64, CatalogError> {
        let client = self.db.client("feed/get_bounds.sql").await?;
        let (seq, _) = feed::store::bounds(&client).await?;
        Ok(seq.0)
    }
}
