//! The tables of imports, and what merging reads and writes of the catalogue's.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::{GenericClient, Object};
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use super::FAULTS_MAX;
use super::export::{EXPORT_PAGE_ROWS, ExportRow};
use super::messages::{Chunk, Counts};
use super::row::{ImportRow, RowFault, StockChange};
use crate::db::{StoreError, queries};
use crate::types::{CategoryId, Money, ProductId, Timestamp, UserId};

queries! {
    OPEN_RUN = "import/open_run.sql";
    LOCK_ID = "import/lock_id.sql";
    GET_IMPORT = "import/get_import.sql";
    CLAIM_IMPORT = "import/claim_import.sql";
    FINISH_IMPORT = "import/finish_import.sql";
    PRUNE_IMPORTS = "import/prune_imports.sql";
    FIND_ABANDONED_RUN = "import/find_abandoned_run.sql";
    EMPTY_ROWS = "import/empty_rows.sql";
    DELETE_ROWS = "import/delete_rows.sql";
    RELEASE_LOCKS = "import/release_locks.sql";
    STAGE_ROWS = "import/stage_rows.sql";
    REFUSE_REPEATED = "import/refuse_repeated.sql";
    FIND_CATEGORIES = "import/find_categories.sql";
    LOCK_IMPORT = "import/lock_import.sql";
    LOCK_CATEGORIES = "import/lock_categories.sql";
    LOCK_STOCK = "import/lock_stock.sql";
    READ_ROWS = "import/read_rows.sql";
    INSERT_PRODUCTS = "import/insert_products.sql";
    UPDATE_PRODUCTS = "import/update_products.sql";
    ADVANCE_IMPORT = "import/advance_import.sql";
    LIST_PRODUCTS = "import/list_products.sql";
}

/// The statements of a merge, which are to be prepared before they are sent in a row.
const OF_A_MERGE: [crate::db::Query; 7] =
    [LOCK_IMPORT, LOCK_CATEGORIES, LOCK_STOCK, READ_ROWS, INSERT_PRODUCTS, UPDATE_PRODUCTS, ADVANCE_IMPORT];
/// The class of the locks on runs.
const RUN_LOCKS: i32 = 0x696d_706f;
/// How long a statement of an import's own connection may take: sorting tens of millions of rows does.
const STATEMENT_TIME: &str = "10min";
/// Rows that one statement removes.
const DELETE_ROWS_MAX: i64 = 20_000;
/// The columns of a staged row.
const STAGED: [Type; 10] = [
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::TEXT,
    Type::BOOL,
    Type::TEXT,
    Type::INT8,
    Type::INT4,
    Type::INT8,
    Type::INT8,
];

/// An import that has been begun.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) done_line: i64,
    pub(super) counts: Counts,
    /// Rows whose sku an earlier row has; 0 until it is finished.
    pub(super) repeated: i64,
    pub(super) finished_at: Option<Timestamp>,
}

/// Products by the lines of their rows, a vector per column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<i64>,
    pub(crate) products: Vec<i64>,
}

impl Lines {
    pub(crate) fn push(&mut self, line: i64, product: ProductId) {
        self.lines.push(line);
        self.products.push(product.0);
    }
}

/// A row of an import, with the product that it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) line: i64,
    /// `None` when the sku is new.
    pub(crate) product: Option<i64>,
    /// For a product that is to be made.
    pub(crate) new_id: Option<i64>,
    pub(crate) has_name: bool,
    pub(crate) price: Option<Money>,
    /// The place, from 1, of the category that it names.
    pub(crate) category: Option<i32>,
    pub(crate) stock: Option<StockChange>,
    /// What there is of the product now.
    pub(crate) quantity: i64,
    /// What it costs now.
    pub(crate) price_now: Money,
    /// Whether its catalogue row changes.
    pub(crate) is_edited: bool,
}

/// Begins an attempt; gives its number.
pub(super) async fn open_run(client: &Object) -> Result<i64, StoreError> {
    let row = OPEN_RUN.opt(client, &[&RUN_LOCKS, &STATEMENT_TIME]).await?;
    row.map(|row| row.get(0)).ok_or_else(|| StoreError::unavailable(OPEN_RUN.name))
}

/// Whether the id is this connection's alone now.
pub(super) async fn lock_id(client: &Object, id: &str) -> Result<bool, StoreError> {
    Ok(LOCK_ID.opt(client, &[&id]).await?.is_some_and(|row| row.get(0)))
}

/// Whether an import with this id has been finished.
pub(super) async fn is_finished(client: &Object, id: &str) -> Result<bool, StoreError> {
    let row = GET_IMPORT.opt(client, &[&id]).await?;
    Ok(row.is_some_and(|row| row.get::<_, Option<OffsetDateTime>>(0).is_some()))
}

/// Makes an import, or takes it up; `None` when the id has other content.
pub(super) async fn claim_import(
    client: &Object,
    id: &str,
    run: i64,
    hash: &[u8],
    by: Option<UserId>,
) -> Result<Option<Known>, StoreError> {
    let row = CLAIM_IMPORT.opt(client, &[&id, &run, &hash, &by.map(|user| user.0)]).await?;
    Ok(row.map(|row| Known {
        done_line: row.get(0),
        counts: counts_from(&row, 1),
        repeated: row.get(5),
        finished_at: row.get::<_, Option<_>>(6).map(Timestamp),
    }))
}

/// From rows that have the counts behind the line.
fn counts_from(row: &Row, first: usize) -> Counts {
    let [created, updated, unchanged, refused] = [0, 1, 2, 3].map(|place| row.get(first + place));
    Counts { created, updated, unchanged, refused }
}

/// Marks an import as done.
pub(super) async fn finish_import(
    client: &Object,
    id: &str,
    run: i64,
    repeated: i64,
) -> Result<(), StoreError> {
    FINISH_IMPORT.execute(client, &[&id, &run, &repeated]).await.map(drop)
}

/// Forgets imports that nobody has touched for that long.
pub(super) async fn prune_imports(client: &Object, kept: Duration) -> Result<(), StoreError> {
    let seconds = i64::try_from(kept.as_secs()).unwrap_or(i64::MAX);
    PRUNE_IMPORTS.execute(client, &[&seconds]).await.map(drop)
}

/// The first run after `after` that has rows, and whether it was abandoned and is this connection's now.
pub(super) async fn find_abandoned_run(
    client: &Object,
    after: i64,
) -> Result<Option<(i64, bool)>, StoreError> {
    let row = FIND_ABANDONED_RUN.opt(client, &[&after, &RUN_LOCKS]).await?;
    Ok(row.and_then(|row| Some((row.get::<_, Option<i64>>(0)?, row.get(1)))))
}

/// Removes a run's rows, of which there are so many or less.
pub(super) async fn remove_rows(client: &Object, run: i64, rows: i64) -> Result<(), StoreError> {
    // A few are sooner deleted.
    if rows > DELETE_ROWS_MAX && EMPTY_ROWS.opt(client, &[&run]).await?.is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    while delete_rows(client, run).await? > 0 {}
    Ok(())
}

/// Removes some of a run's rows; tells how many.
pub(super) async fn delete_rows(client: &Object, run: i64) -> Result<u64, StoreError> {
    DELETE_ROWS.execute(client, &[&run, &DELETE_ROWS_MAX]).await
}

/// Gives back every lock that this connection holds for as long as it lives.
pub(super) async fn release_locks(client: &Object) -> Result<(), StoreError> {
    RELEASE_LOCKS.rows(client, &[]).await.map(drop)
}

/// Copies rows in, each with the place of its category.
pub(super) async fn stage(
    client: &Object,
    run: i64,
    rows: &[ImportRow],
    categories: &[Option<i32>],
) -> Result<(), StoreError> {
    let copy = async {
        let sink = client.copy_in(STAGE_ROWS.sql).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &STAGED));
        for (row, category) in rows.iter().zip(categories) {
            let (count, delta) = match row.stock {
                Some(StockChange::Count(count)) => (Some(count), None),
                Some(StockChange::Delta(delta)) => (None, Some(delta)),
                None => (None, None),
            };
            let description = row.description.as_ref().and_then(Option::as_ref);
            let (sets_description, price) = (row.description.is_some(), row.price.map(Money::cents));
            let values: [&(dyn ToSql + Sync); 10] = [
                &run,
                &row.line,
                &row.sku,
                &row.name,
                &sets_description,
                &description,
                &price,
                category,
                &count,
                &delta,
            ];
            writer.as_mut().write(&values).await?;
        }
        writer.finish().await
    };
    copy.await.map(drop).map_err(|error| StoreError::new(STAGE_ROWS.name, error))
}

/// Takes out the rows whose sku an earlier row has; tells of the first of them, and how many there were.
pub(super) async fn refuse_repeated(client: &Object, run: i64) -> Result<(Vec<RowFault>, i64), StoreError> {
    let rows = REFUSE_REPEATED.rows(client, &[&run, &(FAULTS_MAX as i64)]).await?;
    let count = rows.first().map_or(0, |row| row.get(2));
    let fault = |row: &Row| RowFault {
        line: row.get(0),
        column: Some("sku".into()),
        what: format!("line {} has this sku already", row.get::<_, i64>(1)),
    };
    Ok((rows.iter().map(fault).collect(), count))
}

/// The categories that have one of these names or ids.
pub(super) async fn find_categories(
    client: &Object,
    names: &[&str],
    ids: &[i64],
) -> Result<Vec<(CategoryId, String)>, StoreError> {
    let rows = FIND_CATEGORIES.rows(client, &[&names, &ids]).await?;
    Ok(rows.iter().map(|row| (CategoryId(row.get(0)), row.get(1))).collect())
}

/// Prepares every statement of a merge on this connection, so that a later first poll sends.
pub(crate) async fn prepare_merge(client: &Object) -> Result<(), StoreError> {
    for query in &OF_A_MERGE {
        client.prepare_cached(query.sql).await.map_err(|error| StoreError::new(query.name, error))?;
    }
    Ok(())
}

/// How far an import has come, locked, and the transaction's id before it; `None` when another attempt has
/// taken it up. Whoever holds more than that never waits here for long: it is the last lock but the events'.
pub(crate) async fn lock_import(
    client: &Object,
    chunk: &Chunk,
) -> Result<Option<(String, i64, Counts)>, StoreError> {
    let row = LOCK_IMPORT.opt(client, &[&chunk.id, &chunk.run]).await?;
    Ok(row.map(|row| (row.get(5), row.get(0), counts_from(&row, 1))))
}

/// Which of the categories of the next rows exist; locked.
pub(crate) async fn lock_categories(client: &Object, chunk: &Chunk) -> Result<HashSet<i64>, StoreError> {
    let params: [&(dyn ToSql + Sync); 4] = [&chunk.run, &chunk.after, &chunk.rows_max, &&*chunk.categories];
    Ok(LOCK_CATEGORIES.rows(client, &params).await?.iter().map(|row| row.get(0)).collect())
}

/// The products that the next rows change; their stock is locked.
pub(crate) async fn lock_stock(client: &Object, chunk: &Chunk) -> Result<HashSet<i64>, StoreError> {
    let params: [&(dyn ToSql + Sync); 4] = [&chunk.run, &chunk.after, &chunk.rows_max, &&*chunk.categories];
    Ok(LOCK_STOCK.rows(client, &params).await?.iter().map(|row| row.get(0)).collect())
}

/// The next rows, by line; with ids for new products where those are to be made.
pub(crate) async fn read_rows(
    client: &Object,
    chunk: &Chunk,
    draws_ids: bool,
) -> Result<Vec<Resolved>, StoreError> {
    let params: [&(dyn ToSql + Sync); 5] =
        [&chunk.run, &chunk.after, &chunk.rows_max, &&*chunk.categories, &draws_ids];
    Ok(READ_ROWS.rows(client, &params).await?.iter().map(resolved_from).collect())
}

fn resolved_from(row: &Row) -> Resolved {
    let count = row.get::<_, Option<i64>>(6).map(StockChange::Count);
    Resolved {
        line: row.get(0),
        product: row.get(1),
        new_id: row.get(2),
        has_name: row.get(3),
        price: row.get::<_, Option<i64>>(4).map(Money::from_cents),
        category: row.get(5),
        stock: count.or_else(|| row.get::<_, Option<i64>>(7).map(StockChange::Delta)),
        quantity: row.get::<_, Option<i64>>(8).unwrap_or_default(),
        price_now: Money::from_cents(row.get::<_, Option<i64>>(9).unwrap_or_default()),
        is_edited: row.get(10),
    }
}

/// Makes the products of rows.
pub(crate) async fn insert_products(
    client: &Object,
    chunk: &Chunk,
    up_to: i64,
    new: &Lines,
) -> Result<(), StoreError> {
    let params: [&(dyn ToSql + Sync); 6] =
        [&chunk.run, &chunk.after, &up_to, &&*chunk.categories, &new.lines, &new.products];
    match INSERT_PRODUCTS.execute(client, &params).await? {
        inserted if inserted == new.lines.len() as u64 => Ok(()),
        // Rows have gone since they were read.
        _ => Err(StoreError::unavailable(INSERT_PRODUCTS.name)),
    }
}

/// Writes what rows say into the catalogue rows of their products.
pub(crate) async fn update_products(
    client: &Object,
    chunk: &Chunk,
    up_to: i64,
    edited: &Lines,
) -> Result<(), StoreError> {
    let params: [&(dyn ToSql + Sync); 6] =
        [&chunk.run, &chunk.after, &up_to, &&*chunk.categories, &edited.lines, &edited.products];
    match UPDATE_PRODUCTS.execute(client, &params).await? {
        updated if updated == edited.lines.len() as u64 => Ok(()),
        // Rows have gone since they were read.
        _ => Err(StoreError::unavailable(UPDATE_PRODUCTS.name)),
    }
}

/// Writes down how far a locked import has come.
pub(crate) async fn advance_import(
    client: &Object,
    id: &str,
    up_to: i64,
    counts: &Counts,
) -> Result<(), StoreError> {
    let Counts { created, updated, unchanged, refused } = counts;
    ADVANCE_IMPORT.execute(client, &[&id, &up_to, created, updated, unchanged, refused]).await.map(drop)
}

/// A page of the catalogue.
pub(super) async fn list_products(
    client: &impl GenericClient,
    after: i64,
) -> Result<Vec<ExportRow>, StoreError> {
    let rows = LIST_PRODUCTS.rows(client, &[&after, &(EXPORT_PAGE_ROWS as i64)]).await?;
    let product = |row: &Row| ExportRow {
        id: ProductId(row.get(0)),
        sku: row.get(1),
        name: row.get(2),
        description: row.get(3),
        category: row.get(4),
        price: Money::from_cents(row.get(5)),
        stock: row.get(6),
    };
    Ok(rows.iter().map(product).collect())
}
