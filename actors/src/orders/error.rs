//! Why an order could not be placed, moved or read.

use serde::Serialize;

use super::{OrderEvent, OrderStatus};
use crate::db::StoreError;
use crate::idempotency::KeyReused;
use crate::types::{Money, ProductId};

/// A product of which there is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shortage {
    /// Which.
    pub product: ProductId,
    /// How many were asked for.
    pub requested: i64,
    /// How many there are.
    pub available: i64,
}

/// Why an order could not be placed, moved or read. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is nothing in the cart.
    #[error("the cart is empty")]
    EmptyCart,
    /// These products do not exist, or not any more.
    #[error("{} of the products do not exist", .0.len())]
    UnknownProducts(Vec<ProductId>),
    /// There is not enough of these products; all of them are named.
    #[error("{} of the products are short of stock", .0.len())]
    OutOfStock(Vec<Shortage>),
    /// The prices of this moment give this total, not the expected one.
    #[error("the total is {0}")]
    PriceChanged(Money),
    /// The total is beyond [`Money::TOTAL_MAX`].
    #[error("the total is too large")]
    TotalTooLarge,
    /// No such order, or not the asker's.
    #[error("no such order")]
    NotFound,
    /// The asker may see the order but not do this to it.
    #[error("not allowed")]
    Forbidden,
    /// An order that stands like this cannot take that move.
    #[error("{} does not follow {}", event.as_str(), status.as_str())]
    InvalidTransition {
        /// How it stands.
        status: OrderStatus,
        /// What was asked for.
        event: OrderEvent,
    },
    /// The idempotency key was used for another request.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// Too much is waiting already; try again shortly.
    #[error("too much is waiting already")]
    Overloaded,
    /// The database is out of reach; nothing was decided, or its outcome is known to be "no".
    #[error("the shop cannot reach its database")]
    Unavailable,
    /// The database went away around COMMIT; asking again with the same idempotency key tells.
    #[error("it is not known whether this was done")]
    OutcomeUnknown,
    /// A defect, logged where it happened.
    #[error("something went wrong inside the shop")]
    Internal,
}

impl From<StoreError> for OrderError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = &error as &dyn std::error::Error, "an order had to wait");
            Self::Unavailable
        } else {
            tracing::error!(error = &error as &dyn std::error::Error, "an order met a defect");
            Self::Internal
        }
    }
}

impl From<actix::MailboxError> for OrderError {
    fn from(_: actix::MailboxError) -> Self {
        Self::Unavailable
    }
}

impl From<crate::cart::Unreached> for OrderError {
    fn from(error: crate::cart::Unreached) -> Self {
        match error {
            crate::cart::Unreached::NoRoom => Self::Overloaded,
            crate::cart::Unreached::Gone => Self::Unavailable,
        }
    }
}
