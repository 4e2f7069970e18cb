//! The statements of a batch.
//!
//! Reading is one pipelined round trip that begins the transaction and locks, in this order: orders,
//! categories, lines of carts (by user), stocks, each by id; another follows only for products of which
//! nothing is remembered. Writing is another, which ends in COMMIT.
//! Every transaction of the shop that takes more than one of these locks takes them in this order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::Object;
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::decide::Writes;
use super::facts::{CartLine, Facts, Shelf, Wanted};
use super::job::Request;
use super::pipeline::Step;
use super::shelves::{Label, Shelves};
use crate::catalog::Product;
use crate::db::{Query, StoreError, queries};
use crate::feed::EventKind;
use crate::idempotency::StoredAnswer;
use crate::idempotency::store::{Found, Kept, PLACED};
use crate::orders::Order;
use crate::orders::store::{item_from, list_orders_as_placed, order_from};
use crate::types::{CategoryId, Money, OrderId, ProductId, Seq, Timestamp, UserId};
use crate::{feed, idempotency};

queries! {
    BEGIN_BATCH = "inventory/begin_batch.sql";
    LOCK_ORDERS = "inventory/lock_orders.sql";
    READ_ORDER_LINES = "inventory/read_order_lines.sql";
    LOCK_CATEGORIES_SHARED = "inventory/lock_categories_shared.sql";
    LOCK_CATEGORIES = "inventory/lock_categories.sql";
    LOCK_STOCK = "inventory/lock_stock.sql";
    LOCK_STOCK_OF = "inventory/lock_stock_of.sql";
    READ_SHELVES = "inventory/read_shelves.sql";
    LIST_MEMBERS = "inventory/list_members.sql";
    READ_PRODUCTS = "inventory/read_products.sql";
    FIND_SKUS = "inventory/find_skus.sql";
    INSERT_STOCK = "inventory/insert_stock.sql";
    INSERT_ENTRIES = "inventory/insert_entries.sql";
    WRITE_ORDERS = "inventory/write_orders.sql";
    UPDATE_ORDERS = "inventory/update_orders.sql";
    INSERT_MOVES = "inventory/insert_moves.sql";
    INSERT_PRODUCTS = "inventory/insert_products.sql";
    UPDATE_PRODUCTS = "inventory/update_products.sql";
    REMOVE_PRODUCTS = "inventory/remove_products.sql";
    REMOVE_CATEGORIES = "inventory/remove_categories.sql";
    GET_TRANSACTION_STATUS = "inventory/get_transaction_status.sql";
    GET_LAST_SEQ = "inventory/get_last_seq.sql";
}

/// What breaking it tells: another product has the sku.
pub(crate) const SKU_CONSTRAINT: &str = "products_sku_key";

/// The id of a transaction, to ask for its fate.
#[derive(Clone, Debug)]
pub(crate) struct TransactionId(pub(super) String);

/// Prepares every statement of a batch on this connection, so that a later first poll sends.
pub(crate) async fn prepare(client: &Object) -> Result<(), StoreError> {
    let all = [QUERIES, idempotency::store::QUERIES, feed::store::QUERIES];
    // Nothing else is prepared on this connection before all of these are, and a cache is cleared as a whole.
    if client.statement_cache.size() >= all.iter().map(|queries| queries.len()).sum() {
        return Ok(());
    }
    for query in all.into_iter().flatten() {
        query.prepare(client).await?;
    }
    Ok(())
}

/// Begins the transaction, locks and reads: one round trip.
pub(crate) async fn begin_and_read(
    client: &Object,
    requests: &[&Request],
    shelves: &Mutex<Shelves>,
) -> Result<(TransactionId, Facts), StoreError> {
    let wanted = Wanted::by(requests.iter().copied());
    let drawn: [&(dyn ToSql + Sync); 2] = [&wanted.orders_to_place, &wanted.products_to_create];
    let wanted_skus: [&(dyn ToSql + Sync); 1] = [&wanted.skus];
    let (begun, batch, answers, orders, order_lines, shared, removed, members, stock, products, skus) = tokio::join! {
        biased;
        begin(client),
        BEGIN_BATCH.rows(client, &drawn),
        find_answers(client, requests),
        by_ids(&LOCK_ORDERS, client, &wanted.orders),
        by_ids(&READ_ORDER_LINES, client, &wanted.orders),
        by_ids(&LOCK_CATEGORIES_SHARED, client, &wanted.categories),
        by_ids(&LOCK_CATEGORIES, client, &wanted.categories_to_remove),
        by_ids(&LIST_MEMBERS, client, &wanted.categories_to_remove),
        lock_stock(client, &wanted),
        by_ids(&READ_PRODUCTS, client, &wanted.whole_products),
        where_any(&FIND_SKUS, client, (!wanted.skus.is_empty()).then_some(&wanted_skus[..])),
    };
    // The first that fails tells why, and fails those behind it; so in the order in which they were sent.
    begun?;
    let (batch, answers) = (batch?, answers?);
    let (orders, order_lines) = (orders?, order_lines?);
    let (shared, removable, members) = (shared?, removed?, members?);
    let (Locked { stock, cart_lines }, products, skus) = (stock?, products?, skus?);
    let batch = batch.first().ok_or_else(|| StoreError::unavailable(BEGIN_BATCH.name))?;
    let now = Timestamp(batch.get::<_, OffsetDateTime>(0));
    // Drawn from the end, so turned round: the earliest order gets the lowest id.
    let reversed = |mut ids: Vec<i64>| {
        ids.reverse();
        ids
    };
    let mut facts = Facts {
        now,
        order_ids: reversed(batch.get(2)),
        product_ids: reversed(batch.get(3)),
        answers: recall(client, answers).await?,
        carts: HashMap::new(),
        orders: HashMap::new(),
        shelves: HashMap::new(),
        products: HashMap::new(),
        categories: shared.iter().chain(&removable).map(|row| CategoryId(row.get(0))).collect(),
        members: HashMap::new(),
        skus: skus.iter().map(|row| (row.get(0), ProductId(row.get(1)))).collect(),
    };
    for row in cart_lines {
        let lines: &mut Vec<_> = facts.carts.entry(UserId(row.get(4))).or_default();
        lines.push(CartLine { id: row.get(5), product: ProductId(row.get(0)), quantity: row.get(1) });
    }
    for row in orders {
        if let Some(order) = order_from(&row) {
            facts.orders.insert(order.id, order);
        }
    }
    for row in order_lines {
        let order = OrderId(row.get(0));
        if let Some(order) = facts.orders.get_mut(&order) {
            order.items.push(item_from(&row));
        }
    }
    for row in members {
        facts.members.entry(CategoryId(row.get(1))).or_default().push(ProductId(row.get(0)));
    }
    facts.shelves = label(client, &stock, shelves).await?;
    for row in products {
        let product = product_from(&row);
        facts.products.insert(product.id, product);
    }
    Ok((TransactionId(batch.get(1)), facts))
}

/// Rows that a batch has locked.
struct Locked {
    stock: Vec<Row>,
    /// In the order they were put in.
    cart_lines: Vec<Row>,
}

async fn lock_stock(client: &Object, wanted: &Wanted) -> Result<Locked, StoreError> {
    let Wanted { products, carts, returns, categories_to_remove, .. } = wanted;
    if [carts, returns, categories_to_remove].iter().all(|ids| ids.is_empty()) {
        let stock = by_ids(&LOCK_STOCK, client, products).await?;
        return Ok(Locked { stock, cart_lines: Vec::new() });
    }
    let rows = LOCK_STOCK_OF.rows(client, &[products, carts, returns, categories_to_remove]).await?;
    let is_stock = |row: &Row| row.get::<_, Option<i64>>(4).is_none();
    let (stock, mut cart_lines): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_stock);
    cart_lines.sort_by_key(|row| row.get::<_, i64>(5));
    Ok(Locked { stock, cart_lines })
}

/// Puts locked stocks together with what is known of their products; what is not is read.
async fn label(
    client: &Object,
    stock: &[Row],
    shelves: &Mutex<Shelves>,
) -> Result<HashMap<ProductId, Shelf>, StoreError> {
    let remembered = || shelves.lock().unwrap_or_else(PoisonError::into_inner);
    let mut labels: HashMap<ProductId, Label> = HashMap::with_capacity(stock.len());
    let mut unread: HashMap<ProductId, i64> = HashMap::new();
    {
        let shelves = remembered();
        for row in stock {
            let (product, version) = (ProductId(row.get(0)), row.get(3));
            match shelves.get(product, version) {
                Some(label) => drop(labels.insert(product, label.clone())),
                None => drop(unread.insert(product, version)),
            }
        }
    }
    let ids: Vec<i64> = unread.keys().map(|product| product.0).collect();
    for row in by_ids(&READ_SHELVES, client, &ids).await? {
        let product = ProductId(row.get(0));
        let name = row.get::<_, &str>(1).into();
        let label = Label { name, price: Money::from_cents(row.get(2)), removed: row.get(3) };
        if let Some(version) = unread.get(&product) {
            remembered().learn(product, *version, label.clone());
        }
        labels.insert(product, label);
    }
    let labelled = stock.iter().filter_map(|row| {
        let product = ProductId(row.get(0));
        let Label { name, price, removed } = labels.remove(&product)?;
        let (quantity, stock_version) = (row.get(1), row.get(2));
        Some((product, Shelf { name, price, removed, quantity, stock_version }))
    });
    Ok(labelled.collect())
}

/// Writes what was decided and commits: one round trip's worth of steps, COMMIT the last.
///
/// `last_seq` receives the number of the last event.
pub(crate) fn write_and_commit<'a>(
    client: &'a Object,
    writes: &'a Writes,
    events: &'a [EventKind],
    last_seq: &'a AtomicI64,
) -> Vec<Step<'a>> {
    let mut steps = write(client, writes);
    steps.extend(append_and_commit(client, events, last_seq));
    steps
}

/// Writes what was decided, but for the events.
pub(crate) fn write<'a>(client: &'a Object, writes: &'a Writes) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    if !writes.stock.is_empty() || !writes.placed.is_empty() {
        steps.push(Box::pin(write_orders(client, writes)));
    }
    if !writes.moved.is_empty() {
        steps.push(Box::pin(update_orders(client, writes)));
        steps.push(Box::pin(insert_moves(client, writes)));
    }
    if !writes.removed_products.is_empty() {
        let ids = writes.removed_products.iter().map(|id| id.0).collect();
        steps.push(Box::pin(write_ids(&REMOVE_PRODUCTS, client, ids)));
    }
    if !writes.edited.is_empty() {
        steps.push(Box::pin(update_products(client, writes)));
    }
    if !writes.first_stock.is_empty() {
        steps.push(Box::pin(insert_stock(client, writes)));
    }
    if !writes.created.is_empty() {
        steps.push(Box::pin(insert_products(client, &writes.created)));
        // Made and removed in one batch: the removal above came too early for these.
        let gone = writes.created.iter().map(|product| product.id);
        let gone: Vec<i64> = gone.filter(|id| writes.removed_products.contains(id)).map(|id| id.0).collect();
        if !gone.is_empty() {
            steps.push(Box::pin(write_ids(&REMOVE_PRODUCTS, client, gone)));
        }
    }
    if !writes.entries.is_empty() {
        steps.push(Box::pin(insert_entries(client, writes)));
    }
    if !writes.removed_categories.is_empty() {
        let ids = writes.removed_categories.iter().map(|id| id.0).collect();
        steps.push(Box::pin(write_ids(&REMOVE_CATEGORIES, client, ids)));
    }
    if !writes.answers.is_empty() {
        steps.push(Box::pin(insert_answers(client, writes)));
    }
    steps
}

/// Appends the events and commits.
pub(crate) fn append_and_commit<'a>(
    client: &'a Object,
    events: &'a [EventKind],
    last_seq: &'a AtomicI64,
) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    if !events.is_empty() {
        steps.push(Box::pin(async move {
            let last = feed::store::append(client, events).await?;
            last_seq.store(last.0, Ordering::Relaxed);
            Ok(())
        }));
    }
    steps.push(Box::pin(commit(client)));
    steps
}

async fn begin(client: &Object) -> Result<(), StoreError> {
    client.batch_execute("BEGIN").await.map_err(|error| StoreError::new("BEGIN", error))
}

async fn commit(client: &Object) -> Result<(), StoreError> {
    client.batch_execute("COMMIT").await.map_err(|error| StoreError::new("COMMIT", error))
}

/// Ends a transaction that came to nothing.
pub(crate) async fn rollback(client: &Object) -> Result<(), StoreError> {
    client.batch_execute("ROLLBACK").await.map_err(|error| StoreError::new("ROLLBACK", error))
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Committed, with events numbered no higher than this.
    Committed(Seq),
    Aborted,
    StillOpen,
}

/// Asks what became of a transaction.
pub(crate) async fn fate(client: &Object, id: &TransactionId) -> Result<Fate, StoreError> {
    let row = GET_TRANSACTION_STATUS.opt(client, &[&id.0]).await?;
    let row = row.ok_or_else(|| StoreError::unavailable(GET_TRANSACTION_STATUS.name))?;
    Ok(match row.get::<_, Option<&str>>(0) {
        Some("committed") => {
            // Asked for afterwards: one snapshot of both may show the commit but not its numbers.
            let last = GET_LAST_SEQ.opt(client, &[&id.0]).await?;
            Fate::Committed(Seq(last.map_or(i64::MAX, |row| row.get(0))))
        }
        Some("in progress") => Fate::StillOpen,
        _ => Fate::Aborted,
    })
}

/// The rows for these ids; asks nothing for no ids.
async fn by_ids(query: &Query, client: &Object, ids: &[i64]) -> Result<Vec<Row>, StoreError> {
    if ids.is_empty() { Ok(Vec::new()) } else { query.rows(client, &[&ids]).await }
}

/// The rows for these parameters; asks nothing without any.
async fn where_any(
    query: &Query,
    client: &Object,
    params: Option<&[&(dyn ToSql + Sync)]>,
) -> Result<Vec<Row>, StoreError> {
    match params {
        None => Ok(Vec::new()),
        Some(params) => query.rows(client, params).await,
    }
}

async fn find_answers(client: &Object, requests: &[&Request]) -> Result<Vec<Found<Kept>>, StoreError> {
    let (positions, keys): (Vec<usize>, Vec<_>) = requests
        .iter()
        .enumerate()
        .filter_map(|(position, request)| Some((position, request.key()?)))
        .unzip();
    let found = idempotency::store::find(client, &keys).await?;
    let mut answers = vec![None; requests.len()];
    for (position, answer) in positions.into_iter().zip(found) {
        answers[position] = answer;
    }
    Ok(answers)
}

/// The answers that were kept, those to placed orders told from their rows: asked for only where there are any.
async fn recall(client: &Object, found: Vec<Found<Kept>>) -> Result<Vec<Found>, StoreError> {
    let placed = found.iter().flatten().filter_map(|kept| match kept {
        Ok(Kept::Order(order)) => Some(order.0),
        _ => None,
    });
    let placed: Vec<i64> = placed.collect();
    let orders = if placed.is_empty() { Vec::new() } else { list_orders_as_placed(client, &placed).await? };
    let orders: HashMap<OrderId, Order> = orders.into_iter().map(|order| (order.id, order)).collect();
    let answer_of = |kept: Kept| match kept {
        Kept::Answer(answer) => Ok(answer),
        // Orders stay. If somebody has removed one all the same, what its key led to cannot be told, and it must
        // not be placed again.
        Kept::Order(id) => {
            let order = orders.get(&id).ok_or_else(|| StoreError::defect("idempotency/find_answers.sql"))?;
            Ok(StoredAnswer::new(PLACED, order))
        }
    };
    let recalled = found.into_iter().map(|found| match found {
        Some(Ok(kept)) => answer_of(kept).map(|answer| Some(Ok(answer))),
        Some(Err(reused)) => Ok(Some(Err(reused))),
        None => Ok(None),
    });
    recalled.collect()
}

fn product_from(row: &Row) -> Product {
    Product {
        id: ProductId(row.get(0)),
        sku: row.get(1),
        name: row.get(2),
        description: row.get(3),
        price: Money::from_cents(row.get(4)),
        category: CategoryId(row.get(5)),
        stock: 0,
        created_at: Timestamp(row.get(7)),
        updated_at: Timestamp(row.get(8)),
        version: row.get(6),
        stock_version: 0,
    }
}

async fn write_ids(query: &Query, client: &Object, ids: Vec<i64>) -> Result<(), StoreError> {
    query.execute(client, &[&ids]).await.map(drop)
}

async fn insert_stock(client: &Object, writes: &Writes) -> Result<(), StoreError> {
    let ids: Vec<i64> = writes.first_stock.iter().map(|first| first.product.0).collect();
    let quantities: Vec<i64> = writes.first_stock.iter().map(|first| first.quantity).collect();
    let categories: Vec<i64> = writes.first_stock.iter().map(|first| first.category.0).collect();
    INSERT_STOCK.execute(client, &[&ids, &quantities, &categories]).await.map(drop)
}

async fn insert_entries(client: &Object, writes: &Writes) -> Result<(), StoreError> {
    let ids: Vec<i64> = writes.entries.iter().map(|entry| entry.product.0).collect();
    let deltas: Vec<i64> = writes.entries.iter().map(|entry| entry.delta).collect();
    let reasons: Vec<&str> = writes.entries.iter().map(|entry| entry.reason.as_str()).collect();
    let users: Vec<Option<i64>> = writes.entries.iter().map(|entry| entry.by.map(|user| user.0)).collect();
    INSERT_ENTRIES.execute(client, &[&ids, &deltas, &reasons, &users]).await.map(drop)
}

async fn write_orders(client: &Object, writes: &Writes) -> Result<(), StoreError> {
    let (counted, quantities): (Vec<i64>, Vec<i64>) =
        writes.stock.iter().map(|(id, quantity)| (id.0, *quantity)).unzip();
    let orders = &writes.placed;
    let ids: Vec<i64> = orders.iter().map(|order| order.id.0).collect();
    let users: Vec<i64> = orders.iter().map(|order| order.user.0).collect();
    let totals: Vec<i64> = orders.iter().map(|order| order.total_price.cents()).collect();
    let expiries: Vec<OffsetDateTime> = orders.iter().map(|order| order.expires_at.0).collect();
    let lines = LineColumns::of(orders);
    WRITE_ORDERS
        .execute(
            client,
            &[
                &counted,
                &quantities,
                &ids,
                &users,
                &totals,
                &expiries,
                &lines.orders,
                &lines.numbers,
                &lines.products,
                &lines.names,
                &lines.quantities,
                &lines.prices,
                &writes.cart_lines,
            ],
        )
        .await
        .map(drop)
}

/// The columns of new orders' lines.
#[derive(Default)]
struct LineColumns<'a> {
    orders: Vec<i64>,
    numbers: Vec<i16>,
    products: Vec<i64>,
    names: Vec<&'a str>,
    quantities: Vec<i64>,
    prices: Vec<i64>,
}

impl<'a> LineColumns<'a> {
    fn of(orders: &'a [Order]) -> Self {
        let mut columns = Self::default();
        for order in orders {
            for (number, item) in (0_i16..).zip(&order.items) {
                columns.orders.push(order.id.0);
                columns.numbers.push(number);
                columns.products.push(item.product.0);
                columns.names.push(&item.name);
                columns.quantities.push(item.quantity);
                columns.prices.push(item.price.cents());
            }
        }
        columns
    }
}

async fn update_orders(client: &Object, writes: &Writes) -> Result<(), StoreError> {
    let (ids, statuses): (Vec<i64>, Vec<&str>) =
        writes.moved.iter().map(|(id, status)| (id.0, status.as_str())).unzip();
    UPDATE_ORDERS.execute(client, &[&ids, &statuses]).await.map(drop)
}

async fn insert_moves(client: &Object, writes: &Writes) -> Result<(), StoreError> {
    let ids: Vec<i64> = writes.moves.iter().map(|(id, _, _)| id.0).collect();
    let events: Vec<&str> = writes.moves.iter().map(|(_, event, _)| event.as_str()).collect();
    let users: Vec<Option<i64>> = writes.moves.iter().map(|(_, _, by)| by.map(|user| user.0)).collect();
    INSERT_MOVES.execute(client, &[&ids, &events, &users]).await.map(drop)
}

/// The columns that new and edited products have in common.
struct ProductColumns<'a> {
    ids: Vec<i64>,
    skus: Vec<Option<&'a str>>,
    names: Vec<&'a str>,
    descriptions: Vec<Option<&'a str>>,
    prices: Vec<i64>,
    categories: Vec<i64>,
}

impl<'a> ProductColumns<'a> {
    fn of(products: impl Iterator<Item = &'a Product> + Clone) -> Self {
        Self {
            ids: products.clone().map(|product| product.id.0).collect(),
            skus: products.clone().map(|product| product.sku.as_deref()).collect(),
            names: products.clone().map(|product| product.name.as_str()).collect(),
            descriptions: products.clone().map(|product| product.description.as_deref()).collect(),
            prices: products.clone().map(|product| product.price.cents()).collect(),
            categories: products.map(|product| product.category.0).collect(),
        }
    }
}

async fn insert_products(client: &Object, products: &[Product]) -> Result<(), StoreError> {
    let ProductColumns { ids, skus, names, descriptions, prices, categories } =
        ProductColumns::of(products.iter());
    INSERT_PRODUCTS
        .execute(client, &[&ids, &skus, &names, &descriptions, &prices, &categories])
        .await
        .map(drop)
}

async fn update_products(client: &Object, writes: &Writes) -> Result<(), StoreError> {
    let products = writes.edited.values();
    let versions: Vec<i64> = products.clone().map(|product| product.version).collect();
    let ProductColumns { ids, skus, names, descriptions, prices, categories } = ProductColumns::of(products);
    UPDATE_PRODUCTS
        .execute(client, &[&ids, &skus, &names, &descriptions, &prices, &categories, &versions])
        .await
        .map(drop)
}

async fn insert_answers(client: &Object, writes: &Writes) -> Result<(), StoreError> {
    idempotency::store::insert(client, writes.answers.iter().map(|(key, kept)| (key, kept))).await
}
