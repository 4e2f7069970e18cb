//! Writing the catalogue: categories here, products by the inventory.

use super::store::{self, NAME_CONSTRAINT};
use super::{Catalog, CatalogError, Category, CategoryChanges, NewCategory, Product};
use crate::db::StoreError;
use crate::feed::{self, EventKind};
use crate::idempotency::store::{Kept, TWIN_CONSTRAINT};
use crate::idempotency::{self, Done, IdempotencyKey, KeyReused, StoredAnswer};
use crate::inventory::{
    CorrectStock, CreateProduct, EditProduct, InventoryError, RemoveCategory, RemoveProduct,
};
use crate::types::CategoryId;

/// How often a transaction is tried that fails for a reason which usually passes.
const ATTEMPTS: usize = 3;

/// Why a transaction did not go through.
enum Failure {
    /// The same again may succeed.
    Passing(StoreError),
    /// It would not.
    Final(CatalogError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error.constraint() {
            Some(NAME_CONSTRAINT) => Self::Final(CatalogError::NameTaken),
            Some(TWIN_CONSTRAINT) => Self::Passing(error),
            _ if error.is_transient() => Self::Passing(error),
            _ => Self::Final(error.into()),
        }
    }
}

impl From<KeyReused> for Failure {
    fn from(reused: KeyReused) -> Self {
        Self::Final(reused.into())
    }
}

/// A COMMIT that was not answered may have happened.
fn commit_failed(error: StoreError) -> Failure {
    if error.is_connection_lost() {
        tracing::warn!(error = &error as &dyn std::error::Error, "the answer to a COMMIT was lost");
        return Failure::Final(CatalogError::OutcomeUnknown);
    }
    error.into()
}

/// Runs a transaction, and again while it fails for a passing reason.
async fn persist<T>(attempt: impl AsyncFn() -> Result<T, Failure>) -> Result<T, CatalogError> {
    let mut failures = 0;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) => {
                failures += 1;
                if failures >= ATTEMPTS {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a write kept colliding");
                    return Err(CatalogError::Unavailable);
                }
            }
        }
    }
}

impl Catalog {
    /// The first answer to an idempotency key of the catalogue, to be asked for before a request is
    /// checked in any other way. The write looks again, in its transaction.
    ///
    /// # Errors
    /// [`CatalogError::KeyReused`] when the key belongs to another request, or when the database is
    /// out of reach.
    pub async fn find_answer(&self, key: &IdempotencyKey) -> Result<Option<StoredAnswer>, CatalogError> {
        let client = self.db.client("idempotency/find_answers.sql").await?;
        Ok(idempotency::store::find_answer(&client, key).await?.transpose()?)
    }

    /// Makes a category.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn create_category(
        &self,
        new: &NewCategory,
        key: Option<&IdempotencyKey>,
    ) -> Result<Done<Category>, CatalogError> {
        persist(async || self.try_create_category(new, key).await).await
    }

    async fn try_create_category(
        &self,
        new: &NewCategory,
        key: Option<&IdempotencyKey>,
    ) -> Result<Done<Category>, Failure> {
        const NAME: &str = "catalog/create_category";
        let fail = |error| StoreError::new(NAME, error);
        let mut client = self.db.client(NAME).await?;
        let transaction = client.transaction().await.map_err(fail)?;
        // First the lock, so that a twin has committed by the time its key is looked up.
        store::lock_new_categories(&transaction).await?;
        if let Some(before) = idempotency::store::find_one::<_, Failure>(&transaction, key).await? {
            return Ok(before);
        }
        let category = store::insert_category(&transaction, new).await?;
        let category = category.ok_or(Failure::Final(CatalogError::TooManyCategories))?;
        if let Some(key) = key {
            let kept = Kept::Answer(StoredAnswer::new(201, &category));
            idempotency::store::insert(&transaction, [(key, &kept)].into_iter()).await?;
        }
        let events = [EventKind::Category { category: CategoryId(category.id) }];
        let last = feed::store::append(&transaction, &events).await?;
        transaction.commit().await.map_err(|error| commit_failed(fail(error)))?;
        self.announcer.committed(last, &events);
        Ok(Done::Now(category))
    }

    /// Edits a category.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn edit_category(
        &self,
        id: CategoryId,
        changes: &CategoryChanges,
    ) -> Result<Category, CatalogError> {
        persist(async || self.try_edit_category(id, changes).await).await
    }

    async fn try_edit_category(
        &self,
        id: CategoryId,
        changes: &CategoryChanges,
    ) -> Result<Category, Failure> {
        const NAME: &str = "catalog/edit_category";
        let fail = |error| StoreError::new(NAME, error);
        let mut client = self.db.client(NAME).await?;
        let transaction = client.transaction().await.map_err(fail)?;
        let category = store::update_category(&transaction, id, changes).await?;
        let category = category.ok_or(Failure::Final(CatalogError::NotFound))?;
        let events = [EventKind::Category { category: id }];
        let last = feed::store::append(&transaction, &events).await?;
        transaction.commit().await.map_err(|error| commit_failed(fail(error)))?;
        self.announcer.committed(last, &events);
        Ok(category)
    }

    /// Takes a category and its products out of the catalogue.
    ///
    /// # Errors
    /// See [`InventoryError`].
    pub async fn remove_category(&self, category: CategoryId) -> Result<(), InventoryError> {
        self.inventory.send(RemoveCategory { category }).await?
    }

    /// Makes a product with its first stock.
    ///
    /// # Errors
    /// See [`InventoryError`].
    pub async fn create_product(&self, create: CreateProduct) -> Result<Done<Product>, InventoryError> {
        self.inventory.send(create).await?
    }

    /// Edits a product, its stock included.
    ///
    /// # Errors
    /// See [`InventoryError`].
    pub async fn edit_product(&self, edit: EditProduct) -> Result<Product, InventoryError> {
        self.inventory.send(edit).await?
    }

    /// Takes a product out of the catalogue.
    ///
    /// # Errors
    /// See [`InventoryError`].
    pub async fn remove_product(&self, remove: RemoveProduct) -> Result<(), InventoryError> {
        self.inventory.send(remove).await?
    }

    /// Adds to a product's stock, or takes from it.
    ///
    /// # Errors
    /// See [`InventoryError`].
    pub async fn correct_stock(&self, correct: CorrectStock) -> Result<Product, InventoryError> {
        self.inventory.send(correct).await?
    }
}
