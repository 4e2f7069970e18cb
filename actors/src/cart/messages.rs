//! What a `CartActor` can be asked. Its user is the one it was started for.

use std::sync::Arc;

use actix::Message;

use super::{Cart, CartError, CartItem};
use crate::idempotency::{Done, IdempotencyKey};
use crate::orders::{Caller, Order, OrderError};
use crate::types::{CartItemId, Money, ProductId};

/// Reads the cart.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Cart, CartError>")]
pub struct GetCart;

/// Puts units of a product into the cart, on top of what is there.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Done<CartItem>, CartError>")]
pub struct AddItem {
    /// What.
    pub product: ProductId,
    /// How many: 1 to [`crate::orders::QUANTITY_MAX`].
    pub quantity: i64,
    /// The client's key, if it sent one.
    pub key: Option<IdempotencyKey>,
}

/// Sets how many units a line has; `None` keeps what is there.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<CartItem, CartError>")]
pub struct SetQuantity {
    /// Which line.
    pub item: CartItemId,
    /// How many: 1 to [`crate::orders::QUANTITY_MAX`].
    pub quantity: Option<i64>,
}

/// Takes a line out of the cart.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), CartError>")]
pub struct RemoveItem {
    /// Which line.
    pub item: CartItemId,
}

/// Takes every line out of the cart.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), CartError>")]
pub struct ClearCart;

/// Makes an order of the cart. A double click is two of these in one queue.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Done<Order>, OrderError>")]
pub struct Checkout {
    /// Refuse if the prices at the moment of the commit give another total.
    pub expected_total: Option<Money>,
    /// The client's key, if it sent one.
    pub key: Option<IdempotencyKey>,
    /// Who waits for the answer; see [`crate::orders::PlaceOrder`].
    pub caller: Option<Arc<dyn Caller>>,
}
