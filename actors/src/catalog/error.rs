//! Why the catalogue could not be read or written.

use crate::db::StoreError;
use crate::idempotency::KeyReused;
use crate::inventory::InventoryError;

/// Why the catalogue could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No such product or category, or not any more.
    #[error("no such product or category")]
    NotFound,
    /// Another category has this name.
    #[error("another category has this name")]
    NameTaken,
    /// There are [`super::CATEGORIES_MAX`] categories already.
    #[error("there are {} categories already", super::CATEGORIES_MAX)]
    TooManyCategories,
    /// The cursor belongs to a list in another order.
    #[error("the cursor does not fit the list's order")]
    InvalidCursor,
    /// The idempotency key was used for another request.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// Too much is waiting already; try again shortly.
    #[error("too much is waiting already")]
    Overloaded,
    /// The database is out of reach.
    #[error("the shop cannot reach its database")]
    Unavailable,
    /// The database went away around COMMIT; asking again, with the same idempotency key where
    /// there is one, tells. The only refusal after which something may have changed.
    #[error("it is not known whether this was done")]
    OutcomeUnknown,
    /// A defect, logged where it happened.
    #[error("something went wrong inside the shop")]
    Internal,
}

impl From<StoreError> for CatalogError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the catalogue had to wait");
            Self::Unavailable
        } else {
            tracing::error!(error = &error as &dyn std::error::Error, "the catalogue met a defect");
            Self::Internal
        }
    }
}

impl From<InventoryError> for CatalogError {
    fn from(error: InventoryError) -> Self {
        match error {
            InventoryError::NotFound => Self::NotFound,
            InventoryError::KeyReused(reused) => Self::KeyReused(reused),
            InventoryError::Overloaded => Self::Overloaded,
            InventoryError::Unavailable => Self::Unavailable,
            InventoryError::OutcomeUnknown => Self::OutcomeUnknown,
            InventoryError::Internal => Self::Internal,
            error => {
                tracing::error!(%error, "the inventory refused what the catalogue had checked");
                Self::Internal
            }
        }
    }
}
