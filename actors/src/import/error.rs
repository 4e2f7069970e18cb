//! Why an import could not begin, or go on.

use crate::catalog::CatalogError;
use crate::db::StoreError;

/// Why an import could not begin, or go on. What it has done before that stays, and is not done again
/// when the import is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Another import with this id is under way.
    #[error("this import is under way already")]
    UnderWay,
    /// The id belongs to an import of other content.
    #[error("the id was used for other content")]
    IdReused,
    /// This node works on as many imports as it does at once.
    #[error("too many imports are under way")]
    Overloaded,
    /// The node is being stopped.
    #[error("the shop is being stopped")]
    Stopping,
    /// Whoever asked for it has gone.
    #[error("nobody waits for the import any more")]
    Abandoned,
    /// The database is out of reach.
    #[error("the shop cannot reach its database")]
    Unavailable,
    /// A defect, logged where it happened.
    #[error("something went wrong inside the shop")]
    Internal,
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = &error as &dyn std::error::Error, "an import found no database");
            Self::Unavailable
        } else {
            tracing::error!(error = &error as &dyn std::error::Error, "an import met a defect");
            Self::Internal
        }
    }
}

impl From<CatalogError> for ImportError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Overloaded | CatalogError::Unavailable | CatalogError::OutcomeUnknown => {
                Self::Unavailable
            }
            error => {
                tracing::error!(%error, "the catalogue refused what an import needs");
                Self::Internal
            }
        }
    }
}
