//! What the `InventoryActor` can be asked. It decides and writes everything that changes a stock, in
//! batches; each message is answered after the COMMIT of its batch.

use actix::Message;

use super::InventoryError;
use crate::catalog::{NewProduct, Product, ProductChanges};
use crate::idempotency::{Done, IdempotencyKey};
use crate::orders::{MoveOrder, Order, OrderError, PlaceOrder};
use crate::types::{CategoryId, ProductId, UserId};

/// Takes the stock of an order and writes the order.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Done<Order>, OrderError>")]
pub struct Sell(pub PlaceOrder);

/// Moves an order on, and gives its stock back where the move says so.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Done<Order>, OrderError>")]
pub struct Move(pub MoveOrder);

/// Makes a product with its first stock.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Done<Product>, InventoryError>")]
pub struct CreateProduct {
    /// What.
    pub product: NewProduct,
    /// Who does it; `None` for the command line.
    pub by: Option<UserId>,
    /// The client's key, if it sent one.
    pub key: Option<IdempotencyKey>,
}

/// Edits a product, its stock included.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Product, InventoryError>")]
pub struct EditProduct {
    /// Which.
    pub product: ProductId,
    /// What changes; nothing at all still moves `updated_at`.
    pub changes: ProductChanges,
    /// `If-Match`: refuse unless the edit version is one of these.
    pub only_versions: Option<Vec<i64>>,
    /// Who does it; `None` for the command line.
    pub by: Option<UserId>,
}

/// Adds to a product's stock, or takes from it, for a reason other than an order.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Product, InventoryError>")]
pub struct CorrectStock {
    /// Which.
    pub product: ProductId,
    /// How many more, or fewer.
    pub delta: i64,
    /// Why: at most 200 characters.
    pub reason: String,
    /// Who does it; `None` for the command line.
    pub by: Option<UserId>,
}

/// Takes a product out of the catalogue.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), InventoryError>")]
pub struct RemoveProduct {
    /// Which.
    pub product: ProductId,
    /// `If-Match`: refuse unless the edit version is one of these.
    pub only_versions: Option<Vec<i64>>,
}

/// Takes a category and its products out of the catalogue.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), InventoryError>")]
pub struct RemoveCategory {
    /// Which.
    pub category: CategoryId,
}
