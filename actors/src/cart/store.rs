//! The tables of carts. Every change locks the cart's row first.

use deadpool_postgres::{GenericClient, Object, Transaction};
use tokio_postgres::Row;

use super::{AddItem, Cart, CartError, CartItem, LINES_MAX, SetQuantity};
use crate::db::{Db, StoreError, queries};
use crate::idempotency::store::TWIN_CONSTRAINT;
use crate::idempotency::{self, Done, StoredAnswer};
use crate::orders::QUANTITY_MAX;
use crate::types::{CartId, CartItemId, Money, ProductId, Timestamp, UserId};

queries! {
    GET_CART = "cart/get_cart.sql";
    LOCK_CART = "cart/lock_cart.sql";
    LIST_ITEMS = "cart/list_items.sql";
    GET_ITEM = "cart/get_item.sql";
    CHECK_ROOM = "cart/check_room.sql";
    ADD_ITEM = "cart/add_item.sql";
    SET_QUANTITY = "cart/set_quantity.sql";
    REMOVE_ITEM = "cart/remove_item.sql";
    CLEAR_CART = "cart/clear_cart.sql";
}

pub(super) async fn get_cart(db: &Db, user: UserId) -> Result<Cart, CartError> {
    let client = db.client(GET_CART.name).await?;
    let cart = GET_CART.opt(&client, &[&user.0]).await?.ok_or(CartError::NotFound)?;
    let id = CartId(cart.get(0));
    let items: Vec<CartItem> = LIST_ITEMS.rows(&client, &[&id.0]).await?.iter().map(item_from).collect();
    let total_price = items.iter().map(|item| item.subtotal).sum();
    Ok(Cart { id, user, items, total_price, created_at: Timestamp(cart.get(1)) })
}

pub(super) async fn add_item(db: &Db, user: UserId, add: &AddItem) -> Result<Done<CartItem>, CartError> {
    let mut client = db.client(ADD_ITEM.name).await?;
    loop {
        match try_add_item(&mut client, user, add).await {
            Err(Failed::Twin) => {}
            Err(Failed::Refused(error)) => return Err(error),
            Ok(done) => return Ok(done),
        }
    }
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

async fn try_add_item(client: &mut Object, user: UserId, add: &AddItem) -> Result<Done<CartItem>, Failed> {
    let transaction = begin(client).await?;
    let cart = lock(&transaction, user).await?;
    if let Some(done) = idempotency::store::find_one::<_, CartError>(&transaction, add.key.as_ref()).await? {
        return Ok(done);
    }
    check_room(&transaction, cart, add).await?;
    let row = ADD_ITEM.opt(&transaction, &[&cart.0, &add.product.0, &add.quantity]).await?;
    let id = row.map(|row| CartItemId(row.get(0))).ok_or(CartError::Internal)?;
    // The product is not locked, so it may leave the catalogue between the check and this.
    let item = get_item(&transaction, cart, id).await.map_err(|error| match error {
        CartError::NotFound => CartError::UnknownProduct(add.product),
        error => error,
    })?;
    if let Some(key) = &add.key {
        let body = serde_json::to_string(&item).unwrap_or_default();
        let stored =
            idempotency::store::insert(&transaction, &[(key, StoredAnswer { status: 201, body })]).await;
        match stored {
            Err(error) if error.constraint() == Some(TWIN_CONSTRAINT) => return Err(Failed::Twin),
            stored => stored?,
        }
    }
    commit(transaction).await?;
    Ok(Done::Now(item))
}

async fn check_room(client: &impl GenericClient, cart: CartId, add: &AddItem) -> Result<(), CartError> {
    let row = CHECK_ROOM.opt(client, &[&cart.0, &add.product.0]).await?.ok_or(CartError::Internal)?;
    let (known, there, lines): (bool, Option<i64>, i64) = (row.get(0), row.get(1), row.get(2));
    if !known {
        return Err(CartError::UnknownProduct(add.product));
    }
    if there.unwrap_or(0) + add.quantity > QUANTITY_MAX {
        return Err(CartError::TooManyUnits);
    }
    if there.is_none() && lines >= LINES_MAX {
        return Err(CartError::TooManyLines);
    }
    Ok(())
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
    let row = GET_ITEM.opt(client, &[&cart.0, &id.0]).await?.ok_or(CartError::NotFound)?;
    Ok(item_from(&row))
}

fn item_from(row: &Row) -> CartItem {
    let (quantity, price) = (row.get(3), Money::from_cents(row.get(4)));
    CartItem {
        id: CartItemId(row.get(0)),
        product: ProductId(row.get(1)),
        name: row.get(2),
        quantity,
        price,
        subtotal: price.times(quantity),
        available: row.get(5),
        added_at: Timestamp(row.get(6)),
    }
}
