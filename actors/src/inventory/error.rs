//! Why a product or its stock could not be changed.

use crate::db::StoreError;
use crate::idempotency::KeyReused;
use crate::types::CategoryId;

/// Why a product or its stock could not be changed. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// No such product or category, or not any more.
    #[error("no such product or category")]
    NotFound,
    /// The category that was named for the product does not exist.
    #[error("there is no category {0}")]
    UnknownCategory(CategoryId),
    /// Another product has this sku.
    #[error("another product has this sku")]
    SkuTaken,
    /// The correction would take the stock below zero.
    #[error("there are only {available} in stock")]
    BelowZero {
        /// How many there are.
        available: i64,
    },
    /// The correction would take the stock beyond [`crate::catalog::STOCK_MAX`].
    #[error("the stock would be too large")]
    StockTooLarge,
    /// The product has been edited since.
    #[error("the product has been edited since")]
    VersionMismatch,
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

impl From<StoreError> for InventoryError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a change of stock had to wait");
            Self::Unavailable
        } else {
            tracing::error!(error = &error as &dyn std::error::Error, "a change of stock met a defect");
            Self::Internal
        }
    }
}

impl From<actix::MailboxError> for InventoryError {
    fn from(_: actix::MailboxError) -> Self {
        Self::Unavailable
    }
}
