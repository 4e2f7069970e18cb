//! A message on its way through a batch, with the one who waits for its answer.

use std::time::Instant;

use tokio::sync::oneshot;

use super::messages::{CorrectStock, CreateProduct, EditProduct, Move, RemoveCategory, RemoveProduct, Sell};
use super::{InventoryError, store};
use crate::catalog::Product;
use crate::db::StoreError;
use crate::idempotency::{Done, IdempotencyKey};
use crate::orders::{Order, OrderError};

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Sell(Sell),
    Move(Move),
    Create(CreateProduct),
    Edit(EditProduct),
    Correct(CorrectStock),
    RemoveProduct(RemoveProduct),
    RemoveCategory(RemoveCategory),
}

/// What it came to; the variant follows from the request's.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Order(Result<Done<Order>, OrderError>),
    Product(Result<Done<Product>, InventoryError>),
    Removed(Result<(), InventoryError>),
}

/// A request and the way back.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Verdict>,
    /// Since when it waits.
    pub(crate) since: Instant,
}

/// Why a whole batch came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It would wait, or has waited, too long.
    Overloaded,
    /// The database is out of reach, and nothing was written.
    Unavailable,
    /// The database went away around COMMIT and could not be asked what became of it.
    OutcomeUnknown,
    /// A defect, already logged.
    Internal,
}

impl Request {
    pub(crate) fn key(&self) -> Option<&IdempotencyKey> {
        match self {
            Self::Sell(Sell(place)) => place.key.as_ref(),
            Self::Move(Move(step)) => step.key.as_ref(),
            Self::Create(create) => create.key.as_ref(),
            _ => None,
        }
    }

    /// The answer to this request when `failure` befell its batch.
    pub(crate) fn failed(&self, failure: Failure) -> Verdict {
        match self {
            Self::Sell(_) | Self::Move(_) => Verdict::Order(Err(match failure {
                Failure::Overloaded => OrderError::Overloaded,
                Failure::Unavailable => OrderError::Unavailable,
                Failure::OutcomeUnknown => OrderError::OutcomeUnknown,
                Failure::Internal => OrderError::Internal,
            })),
            other => other.refused(match failure {
                Failure::Overloaded => InventoryError::Overloaded,
                Failure::Unavailable => InventoryError::Unavailable,
                Failure::OutcomeUnknown => InventoryError::OutcomeUnknown,
                Failure::Internal => InventoryError::Internal,
            }),
        }
    }

    /// The answer when the database refused this very request; `None` when it is not a refusal.
    pub(crate) fn refused_by(&self, error: &StoreError) -> Option<Verdict> {
        match error.constraint() {
            Some(store::SKU_CONSTRAINT) => Some(self.refused(InventoryError::SkuTaken)),
            _ => None,
        }
    }

    fn refused(&self, error: InventoryError) -> Verdict {
        match self {
            Self::RemoveProduct(_) | Self::RemoveCategory(_) => Verdict::Removed(Err(error)),
            Self::Sell(_) | Self::Move(_) => Verdict::Order(Err(OrderError::Internal)),
            Self::Create(_) | Self::Edit(_) | Self::Correct(_) => Verdict::Product(Err(error)),
        }
    }
}

impl Job {
    /// Whether the handler that queued it still waits. A client that has gone away does not show here:
    /// its handler waits on.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Answers. The asker may have gone, which is theirs to choose.
    pub(crate) fn answer(self, verdict: Verdict) {
        self.reply.send(verdict).ok();
    }

    /// Answers that `failure` befell the batch.
    pub(crate) fn fail(self, failure: Failure) {
        let verdict = self.request.failed(failure);
        self.answer(verdict);
    }
}
