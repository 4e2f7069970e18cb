//! The tables of carts. Every change locks the cart's row first.

use deadpool_postgres::{GenericClient, Object, Transaction};
use tokio_postgres::Row;

use super::{AddItem, Cart, CartError, CartItem, LINES_MAX, SetQuantity};
use crate::db::{Db, StoreError, queries};
use crate::idempotency::store::{Kept, TWIN_CONSTRAINT};
use crate::idempotency::{self, Done, IdempotencyKey, StoredAnswer};
use crate::orders::QUANTITY_MAX;
use crate::types::{CartId, CartItemId, Money, ProductId, Timestamp, UserId};

queries! {
    GET_CART = "cart/get_cart.sql";
    LOCK_CART = "cart/lock_cart.sql";
    GET_ITEM = "cart/get_item.sql";
    ADD_ITEM = "cart/add_item.sql";
    SET_QUANTITY = "cart/set_quantity.sql";
    REMOVE_ITEM = "cart/remove_item.sql";
    CLEAR_CART = "cart/clear_cart.sql";
}

pub(super) async fn get_cart(db: &Db, user: UserId) -> Result<Cart, CartError> {
    let client = db.client(GET_CART.name).await?;
    let rows = GET_CART.rows(&client, &[&user.0]).await?;
    let cart = rows.first().ok_or(CartError::NotFound)?;
    let (id, created_at) = (CartId(cart.get(0)), Timestamp(cart.get(1)));
    let items: Vec<CartItem> = rows.iter().filter_map(|row| item_from(row, 2)).collect();
    let total_price = items.iter().map(|item| item.subtotal).sum();
    Ok(Cart { id, user, items, total_price, created_at })
}

pub(super) async fn add_item(db: &Db, user: UserId, add: &AddItem) -> Result<Done<CartItem>, CartError> {
    let mut client = db.client(ADD_ITEM.name).await?;
    let Some(key) = &add.key else { return add_at_once(&client, user, add).await.map(Done::Now) };
    loop {
        match try_add_item(&mut client, user, add, key).await {
            Err(Failed::Twin) => {}
            Err(Failed::Refused(error)) => return Err(error),
            Ok(done) => return Ok(done),
        }
    }
}

/// Without a key there is nothing to look at on the way, so it is one round trip, COMMIT included.
async fn add_at_once(client: &Object, user: UserId, add: &AddItem) -> Result<CartItem, CartError> {
    // So that each is sent when it is first polled.
    LOCK_CART.prepare(client).await?;
    ADD_ITEM.prepare(client).await?;
    let (begun, locked, added, committed) = tokio::join! {
        biased;
        client.batch_execute("BEGIN"),
        lock(client, user),
        put_in(client, user, add),
        client.batch_execute("COMMIT"),
    };
    begun.map_err(|error| StoreError::new("BEGIN", error))?;
    locked?;
    let item = added?;
    committed.map_err(|error| StoreError::new("COMMIT", error))?;
    item
}

/// Why one attempt to add came to nothing.
enum Failed {
    /// A twin with the same key committed first; the next attempt finds its answer.
    Twin,
    Refused(CartError),
}

impl<E: Into<CartError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

async fn try_add_item(
    client: &mut Object,
    user: UserId,
    add: &AddItem,
    key: &IdempotencyKey,
) -> Result<Done<CartItem>, Failed> {
    let transaction = begin(client).await?;
    lock(&transaction, user).await?;
    if let Some(done) = idempotency::store::find_one::<_, CartError>(&transaction, Some(key)).await? {
        return Ok(done);
    }
    let item = put_in(&transaction, user, add).await??;
    let kept = Kept::Answer(StoredAnswer::new(201, &item));
    let stored = idempotency::store::insert(&transaction, [(key, &kept)].into_iter()).await;
    match stored {
        Err(error) if error.constraint() == Some(TWIN_CONSTRAINT) => return Err(Failed::Twin),
        stored => stored?,
    }
    commit(transaction).await?;
    Ok(Done::Now(item))
}

/// Puts units into a locked cart; the inner error says why there was no room for them.
async fn put_in(
    client: &impl GenericClient,
    user: UserId,
    add: &AddItem,
) -> Result<Result<CartItem, CartError>, StoreError> {
    let row =
        ADD_ITEM.opt(client, &[&user.0, &add.product.0, &add.quantity, &QUANTITY_MAX, &LINES_MAX]).await?;
    let Some(row) = row else { return Ok(Err(CartError::NotFound)) };
    let (known, there): (bool, Option<i64>) = (row.get(0), row.get(1));
    Ok(item_from(&row, 3).ok_or(match there.unwrap_or(0) + add.quantity {
        _ if !known => CartError::UnknownProduct(add.product),
        units if units > QUANTITY_MAX => CartError::TooManyUnits,
        _ => CartError::TooManyLines,
    }))
}

pub(super) async fn set_quantity(db: &Db, user: UserId, set: SetQuantity) -> Result<CartItem, CartError> {
    let mut client = db.client(SET_QUANTITY.name).await?;
    let transaction = begin(&mut client).await?;
    let cart = lock(&transaction, user).await?;
    if let Some(quantity) = set.quantity {
        SET_QUANTITY.execute(&transaction, &[&cart.0, &set.item.0, &quantity]).await?;
    }
    let item = get_item(&transaction, cart, set.item).await?;
    commit(transaction).await?;
    Ok(item)
}

pub(super) async fn remove_item(db: &Db, user: UserId, item: CartItemId) -> Result<(), CartError> {
    let mut client = db.client(REMOVE_ITEM.name).await?;
    let transaction = begin(&mut client).await?;
    let cart = lock(&transaction, user).await?;
    get_item(&transaction, cart, item).await?;
    REMOVE_ITEM.execute(&transaction, &[&cart.0, &item.0]).await?;
    Ok(commit(transaction).await?)
}

pub(super) async fn clear_cart(db: &Db, user: UserId) -> Result<(), CartError> {
    let mut client = db.client(CLEAR_CART.name).await?;
    let transaction = begin(&mut client).await?;
    let cart = lock(&transaction, user).await?;
    CLEAR_CART.execute(&transaction, &[&cart.0]).await?;
    Ok(commit(transaction).await?)
}

async fn begin(client: &mut Object) -> Result<Transaction<'_>, StoreError> {
    client.transaction().await.map_err(|error| StoreError::new("BEGIN", error))
}

async fn commit(transaction: Transaction<'_>) -> Result<(), StoreError> {
    transaction.commit().await.map_err(|error| StoreError::new("COMMIT", error))
}

async fn lock(client: &impl GenericClient, user: UserId) -> Result<CartId, CartError> {
    let row = LOCK_CART.opt(client, &[&user.0]).await?.ok_or(CartError::NotFound)?;
    Ok(CartId(row.get(0)))
}

async fn get_item(client: &impl GenericClient, cart: CartId, id: CartItemId) -> Result<CartItem, CartError> {
    let row = GET_ITEM.opt(client, &[&cart.0, &id.0]).await?;
    row.and_then(|row| item_from(&row, 0)).ok_or(CartError::NotFound)
}

/// A line whose columns begin at `first`, where they are not null.
fn item_from(row: &Row, first: usize) -> Option<CartItem> {
    let id = CartItemId(row.get::<_, Option<i64>>(first)?);
    let (quantity, price) = (row.get(first + 3), Money::from_cents(row.get(first + 4)));
    Some(CartItem {
        id,
        product: ProductId(row.get(first + 1)),
        name: row.get(first + 2),
        quantity,
        price,
        subtotal: price.times(quantity),
        available: row.get(first + 5),
        added_at: Timestamp(row.get(first + 6)),
    })
}
