//! The catalogue's tables: what is read of them, and the categories' own writes. Products and their
//! stock are written by the inventory.

use std::collections::HashMap;

use bytes::Bytes;
use deadpool_postgres::GenericClient;
use deadpool_postgres::Object;
use tokio_postgres::Row;

use super::cache::{Document, Entry};
use super::list::Statement;
use super::{CATEGORIES_MAX, Category, CategoryChanges, NewCategory, Product};
use crate::db::{StoreError, queries};
use crate::types::{CategoryId, Money, ProductId, Timestamp};

queries! {
    FIND_CATEGORIES_BY_NAME = "catalog/find_categories_by_name.sql";
    FIND_PRODUCTS_BY_SKU = "catalog/find_products_by_sku.sql";
    GET_CATEGORY = "catalog/get_category.sql";
    GET_PRODUCT = "catalog/get_product.sql";
    INSERT_CATEGORY = "catalog/insert_category.sql";
    LIST_CATEGORIES = "catalog/list_categories.sql";
    LOCK_NEW_CATEGORIES = "catalog/lock_new_categories.sql";
    UPDATE_CATEGORY = "catalog/update_category.sql";
}

/// What breaking it tells: another category has that name.
pub(super) const NAME_CONSTRAINT: &str = "categories_name_key";
/// Any constant serves that nothing else on the database uses.
const NEW_CATEGORIES_LOCK: i64 = 0x6361_7465_676f_7279;
const LIST_PRODUCTS: &str = "catalog/list_products.sql";

/// All categories by id, as one JSON array.
pub(super) async fn list_categories(client: &impl GenericClient) -> Result<Entry, StoreError> {
    let rows = LIST_CATEGORIES.rows(client, &[]).await?;
    let seq = rows.first().map_or(0, |row| row.get(0));
    let categories: Vec<Category> = rows.iter().filter_map(category_from_optional).collect();
    Ok(Entry { seq, document: Some(document(&categories, 0, 0)) })
}

/// A category, if it exists.
pub(super) async fn get_category(client: &impl GenericClient, id: CategoryId) -> Result<Entry, StoreError> {
    let row = GET_CATEGORY.opt(client, &[&id.0]).await?;
    let category = row.as_ref().and_then(category_from_optional);
    let seq = row.map_or(0, |row| row.get(0));
    Ok(Entry { seq, document: category.map(|category| document(&category, 0, 0)) })
}

/// A product, if it exists.
pub(super) async fn get_product(client: &impl GenericClient, id: ProductId) -> Result<Entry, StoreError> {
    let row = GET_PRODUCT.opt(client, &[&id.0]).await?;
    let product = row.as_ref().filter(|row| row.get::<_, Option<i64>>(0).is_some()).map(product_from);
    let seq = row.map_or(0, |row| row.get("last_seq"));
    let document = product.map(|product| document(&product, product.version, product.stock_version));
    Ok(Entry { seq, document })
}

/// The rows of a composed list. It is planned anew each time, for its values, and no connection
/// keeps it: there are too many shapes to keep them all.
pub(super) async fn list_products(
    client: &Object,
    statement: &Statement,
) -> Result<Vec<Product>, StoreError> {
    let params: Vec<_> = statement.params.iter().map(super::list::Param::typed).collect();
    let rows = client.query_typed(&statement.sql, &params).await;
    Ok(rows.map_err(|error| StoreError::new(LIST_PRODUCTS, error))?.iter().map(product_from).collect())
}

/// Waits until no other transaction adds a category; holds until this one ends.
pub(super) async fn lock_new_categories(client: &impl GenericClient) -> Result<(), StoreError> {
    LOCK_NEW_CATEGORIES.execute(client, &[&NEW_CATEGORIES_LOCK]).await?;
    Ok(())
}

/// Makes a category; `None` when there are too many.
pub(super) async fn insert_category(
    client: &impl GenericClient,
    new: &NewCategory,
) -> Result<Option<Category>, StoreError> {
    let row = INSERT_CATEGORY.opt(client, &[&new.name, &new.description, &CATEGORIES_MAX]).await?;
    Ok(row.as_ref().map(category_from))
}

/// Edits a category; `None` when there is no such one.
pub(super) async fn update_category(
    client: &impl GenericClient,
    id: CategoryId,
    changes: &CategoryChanges,
) -> Result<Option<Category>, StoreError> {
    let (set_description, description) =
        (changes.description.is_some(), changes.description.as_ref().and_then(Option::as_ref));
    let row = UPDATE_CATEGORY.opt(client, &[&id.0, &changes.name, &set_description, &description]).await?;
    Ok(row.as_ref().map(category_from))
}

/// The ids of the categories that have one of these names.
pub(super) async fn find_categories_by_name(
    client: &impl GenericClient,
    names: &[&str],
) -> Result<HashMap<String, CategoryId>, StoreError> {
    let rows = FIND_CATEGORIES_BY_NAME.rows(client, &[&names]).await?;
    Ok(rows.iter().map(|row| (row.get(1), CategoryId(row.get(0)))).collect())
}

/// The products that have one of these skus, by sku.
pub(super) async fn find_products_by_sku(
    client: &impl GenericClient,
    skus: &[&str],
) -> Result<HashMap<String, Product>, StoreError> {
    let rows = FIND_PRODUCTS_BY_SKU.rows(client, &[&skus]).await?;
    Ok(rows.iter().map(|row| (row.get("sku"), product_from(row))).collect())
}

fn document(value: &impl serde::Serialize, version: i64, stock_version: i64) -> Document {
    // Strings, numbers and nulls always serialize.
    let body = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
    Document { body, version, stock_version }
}

/// From the rows that begin with `last_seq` and have a null id where there is nothing.
fn category_from_optional(row: &Row) -> Option<Category> {
    let id: Option<i64> = row.get("id");
    Some(Category { id: id?, name: row.get("name"), description: row.get("description") })
}

fn category_from(row: &Row) -> Category {
    Category { id: row.get("id"), name: row.get("name"), description: row.get("description") }
}

fn product_from(row: &Row) -> Product {
    Product {
        id: ProductId(row.get("id")),
        sku: row.get("sku"),
        name: row.get("name"),
        description: row.get("description"),
        price: Money::from_cents(row.get("price_cents")),
        category: CategoryId(row.get("category_id")),
        stock: row.get("quantity"),
        created_at: Timestamp(row.get("created_at")),
        updated_at: Timestamp(row.get("updated_at")),
        version: row.get("version"),
        stock_version: row.get("stock_version"),
    }
}
