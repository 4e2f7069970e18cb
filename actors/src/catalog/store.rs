//! The catalogue's tables: what is read of them, and the categories' own writes. Products and their
//! stock are written by the inventory.

use deadpool_postgres::GenericClient;
use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::cache::Loaded;
use super::document::Document;
use super::list::{LIST_PRODUCTS, LIST_ROWS_MAX, ListedRow, SampleRow, Statement, fold};
use super::suggest::Suggestion;
use super::{CATEGORIES_MAX, Category, CategoryChanges, NewCategory, Product, ProductQuery};
use crate::db::{Db, StoreError, queries};
use crate::types::{CategoryId, Money, ProductId, Timestamp};

queries! {
    FIND_WORDS = "catalog/find_words.sql";
    GET_CATEGORY = "catalog/get_category.sql";
    GET_PRODUCTS = "catalog/get_products.sql";
    INSERT_CATEGORY = "catalog/insert_category.sql";
    LIST_CATEGORIES = "catalog/list_categories.sql";
    LIST_PRODUCTS_BY_BEGINNING = "catalog/list_products_by_beginning.sql";
    LOCK_NEW_CATEGORIES = "catalog/lock_new_categories.sql";
    SAMPLE_PRODUCTS = "catalog/sample_products.sql";
    SUGGEST_NAMES = "catalog/suggest_names.sql";
    TIDY_SEARCH = "catalog/tidy_search.sql";
    UPDATE_CATEGORY = "catalog/update_category.sql";
}

/// What breaking it tells: another category has that name.
pub(super) const NAME_CONSTRAINT: &str = "categories_name_key";
/// Any constant serves that nothing else on the database uses.
const NEW_CATEGORIES_LOCK: i64 = 0x6361_7465_676f_7279;

/// For how long at most, in seconds, the search indexes are tidied while others go on writing to them.
const TIDY_MAX_S: u32 = 5;

/// All categories by id, as one JSON array.
pub(super) async fn list_categories(client: &impl GenericClient) -> Result<Loaded, StoreError> {
    let rows = LIST_CATEGORIES.rows(client, &[]).await?;
    let seq = rows.first().map_or(0, |row| row.get(0));
    let categories: Vec<Category> = rows.iter().filter_map(category_from_optional).collect();
    Ok(Loaded { seq, document: Some(Document::of(&categories)) })
}

/// A category, if it exists.
pub(super) async fn get_category(client: &impl GenericClient, id: CategoryId) -> Result<Loaded, StoreError> {
    let row = GET_CATEGORY.opt(client, &[&id.0]).await?;
    let category = row.as_ref().and_then(category_from_optional);
    let seq = row.map_or(0, |row| row.get(0));
    Ok(Loaded { seq, document: category.as_ref().map(Document::of) })
}

/// The rows of those of these products that exist, in any order, and the last event that their
/// snapshot shows.
pub(super) async fn get_products(
    client: &impl GenericClient,
    products: &[i64],
) -> Result<(i64, Vec<Row>), StoreError> {
    let mut rows = GET_PRODUCTS.rows(client, &[&products]).await?;
    let seq = rows.first().map_or(0, |row| row.get("last_seq"));
    rows.retain(|row| product_id(row).is_some());
    Ok((seq, rows))
}

/// Which product a row of [`get_products`] is, if it is one.
pub(super) fn product_id(row: &Row) -> Option<i64> {
    row.get("id")
}

/// The JSON of such a row.
pub(super) fn product_document(row: &Row) -> Document {
    Document::of_product(&product_from(row))
}

/// The rows of a composed list. It is planned anew each time, for its values, and no connection
/// keeps it: there are too many shapes to keep them all.
pub(super) async fn list_products(
    client: &Object,
    statement: &Statement,
) -> Result<Vec<ListedRow>, StoreError> {
    let rows = composed(client, statement).await?;
    Ok(rows.iter().map(listed_from).collect())
}

/// At most so many of the products of a list whose name begins with `beginning`, each with the form of its
/// name, by which they are ordered; the first ones behind this form and id. It may break off before.
pub(super) async fn list_products_by_beginning(
    client: &impl GenericClient,
    query: &ProductQuery,
    beginning: &str,
    (form, id): (&str, i64),
    rows: usize,
) -> Result<Vec<(String, ListedRow)>, StoreError> {
    let categories: Vec<i64> = query.categories.iter().map(|category| category.0).collect();
    let (min_price, max_price) = (query.min_price.map(Money::cents), query.max_price.map(Money::cents));
    let budget = i64::try_from(LIST_ROWS_MAX.max(rows)).unwrap_or(i64::MAX);
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let params: [&(dyn ToSql + Sync); 9] =
        [&beginning, &form, &id, &categories, &min_price, &max_price, &query.in_stock, &budget, &rows];
    let rows = LIST_PRODUCTS_BY_BEGINNING.rows(client, &params).await?;
    Ok(rows.iter().map(|row| (row.get("form"), listed_from(row))).collect())
}

/// At most so many names that begin with `beginning`, each once, by name.
pub(super) async fn suggest_names(
    client: &impl GenericClient,
    beginning: &str,
    limit: usize,
) -> Result<Vec<Suggestion>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = SUGGEST_NAMES.rows(client, &[&beginning, &limit]).await?;
    Ok(rows.iter().map(|row| Suggestion { id: row.get("id"), name: row.get("name") }).collect())
}

/// At most so many known words, among them those that are but a slip or two away from `word`.
pub(super) async fn find_words(
    client: &impl GenericClient,
    word: &str,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = FIND_WORDS.rows(client, &[&word, &limit]).await?;
    Ok(rows.iter().map(|row| row.get("word")).collect())
}

/// How a composed list that explains itself was run.
pub(super) async fn explain(client: &Object, statement: &Statement) -> Result<String, StoreError> {
    let rows = composed(client, statement).await?;
    let lines: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    Ok(lines.join("\n"))
}

async fn composed(client: &Object, statement: &Statement) -> Result<Vec<Row>, StoreError> {
    let params: Vec<_> = statement.params.iter().map(super::list::Param::typed).collect();
    let rows = client.query_typed(&statement.sql, &params).await;
    rows.map_err(|error| StoreError::new(LIST_PRODUCTS, error))
}

/// So many products, about, from all over the catalogue, with at most so many characters of each; and
/// over how many ids they spread, and how many products there were when the database last counted.
pub(super) async fn sample_products(
    client: &impl GenericClient,
    products: usize,
    chars: usize,
) -> Result<(Vec<SampleRow>, i64, i64), StoreError> {
    let products = i64::try_from(products).unwrap_or(i64::MAX);
    let chars = i32::try_from(chars).unwrap_or(i32::MAX);
    let rows = SAMPLE_PRODUCTS.rows(client, &[&products, &chars]).await?;
    let (span, counted) = rows.first().map_or((0, 0), |row| (row.get("span"), row.get("total")));
    let sampled = |row: &Row| SampleRow {
        id: row.get("id"),
        text: row.get("search_text"),
        category: row.get("category_id"),
        price: row.get("price_cents"),
        quantity: row.get("quantity"),
        name: fold(row.get("name")),
        created_at: Timestamp(row.get("created_at")),
    };
    Ok((rows.iter().map(sampled).collect(), span, counted))
}

/// Has searches find what was written lately where everything else is. For a while: what others go on writing
/// meanwhile is moved too, in pieces so small that each costs as much as a large one.
pub(crate) async fn tidy_search(db: &Db) {
    let tidied = async {
        let client = db.client(TIDY_SEARCH.name).await?;
        let sql = format!("SET LOCAL statement_timeout = '{TIDY_MAX_S}s'; {}", TIDY_SEARCH.sql);
        client.batch_execute(&sql).await.map_err(|error| StoreError::new(TIDY_SEARCH.name, error))
    };
    if let Err(error) = tidied.await {
        // A shop that does not own its tables leaves it to the database's own sweepers.
        tracing::debug!(error = &error as &dyn std::error::Error, "the search index was not tidied");
    }
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

/// From the rows that begin with `last_seq` and have a null id where there is nothing.
fn category_from_optional(row: &Row) -> Option<Category> {
    let id: Option<i64> = row.get("id");
    Some(Category { id: id?, name: row.get("name"), description: row.get("description") })
}

fn category_from(row: &Row) -> Category {
    Category { id: row.get("id"), name: row.get("name"), description: row.get("description") }
}

fn listed_from(row: &Row) -> ListedRow {
    ListedRow { product: product_from(row), fits: row.get("fits"), is_end: row.get("is_end") }
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
