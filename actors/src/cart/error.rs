//! Why a cart could not be read or changed.

use crate::db::StoreError;
use crate::idempotency::KeyReused;
use crate::types::ProductId;

/// Why a cart could not be read or changed. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CartError {
    /// No such line in this cart.
    #[error("no such line")]
    NotFound,
    /// No such product, or not any more.
    #[error("there is no product {0}")]
    UnknownProduct(ProductId),
    /// The line would have more than [`crate::orders::QUANTITY_MAX`] units.
    #[error("the line would have too many units")]
    TooManyUnits,
    /// The cart would have more than [`super::LINES_MAX`] lines.
    #[error("the cart would have too many lines")]
    TooManyLines,
    /// The idempotency key was used for another request.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// Too many carts are in use at once; try again shortly.
    #[error("too many carts are in use")]
    Overloaded,
    /// The database is out of reach.
    #[error("the shop cannot reach its database")]
    Unavailable,
    /// A defect, logged where it happened.
    #[error("something went wrong inside the shop")]
    Internal,
}

impl From<StoreError> for CartError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a cart had to wait");
            Self::Unavailable
        } else {
            tracing::error!(error = &error as &dyn std::error::Error, "a cart met a defect");
            Self::Internal
        }
    }
}

impl From<super::Unreached> for CartError {
    fn from(error: super::Unreached) -> Self {
        match error {
            super::Unreached::NoRoom => Self::Overloaded,
            super::Unreached::Gone => Self::Unavailable,
        }
    }
}
