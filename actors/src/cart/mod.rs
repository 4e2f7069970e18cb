//! Carts: what somebody means to buy. A cart promises no stock and no price.
//!
//! Promises: an actor per active user takes that user's requests one at a time, so a double click is
//! two messages in one queue; two nodes at once never lose an update, because the cart's row is
//! locked while its lines change; actors are started on demand, put away when idle, and bounded in
//! number.

mod actor;
mod carts;
mod error;
mod messages;
pub(crate) mod store;

use serde::Serialize;

use crate::types::{CartId, CartItemId, Money, ProductId, Timestamp, UserId};

pub use actor::CartActor;
pub use carts::{CartSettings, Carts, Unreached};
pub use error::CartError;
pub use messages::{AddItem, Checkout, ClearCart, GetCart, RemoveItem, SetQuantity};

/// The most lines a cart holds.
pub const LINES_MAX: i64 = 1000;

/// A cart as the contract shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cart {
    /// Its id.
    pub id: CartId,
    /// Whose it is.
    pub user: UserId,
    /// What is in it, in the order it was put in.
    pub items: Vec<CartItem>,
    /// What it would cost now.
    pub total_price: Money,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A line of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CartItem {
    /// Its id.
    pub id: CartItemId,
    /// What.
    pub product: ProductId,
    /// Its name now.
    pub name: String,
    /// How many are wanted.
    pub quantity: i64,
    /// The price of one now.
    pub price: Money,
    /// Price times quantity.
    pub subtotal: Money,
    /// How many there are now.
    pub available: i64,
    /// When it was first put in.
    pub added_at: Timestamp,
}
