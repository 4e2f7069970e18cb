//! A message on its way through a batch, with the one who waits for its answer.

use std::time::{Duration, Instant};

use actix::Message;
use actix::dev::OneshotSender;

use super::messages::{CorrectStock, CreateProduct, EditProduct, Move, RemoveCategory, RemoveProduct, Sell};
use super::{InventoryError, store};
use crate::catalog::Product;
use crate::db::StoreError;
use crate::idempotency::{Done, IdempotencyKey};
use crate::orders::{Order, OrderError};

/// How long somebody waits before it is found out whether they are still there.
const LOOK_AFTER: Duration = Duration::from_millis(50);

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

/// A request and the way back: what waits in the inbox of the `InventoryActor`.
#[derive(Debug)]
pub struct Job {
    pub(crate) request: Request,
    pub(crate) reply: Reply,
    /// Since when it waits.
    pub(crate) since: Instant,
}

/// The one who waits, by what they wait for.
#[derive(Debug)]
pub(crate) enum Reply {
    Order(OneshotSender<Result<Done<Order>, OrderError>>),
    Created(OneshotSender<Result<Done<Product>, InventoryError>>),
    Product(OneshotSender<Result<Product, InventoryError>>),
    Removed(OneshotSender<Result<(), InventoryError>>),
}

/// What can be asked of the inventory.
pub trait Ask: Message<Result: Send> {
    /// This message, with the way back to whoever asks.
    fn into_job(self, reply: OneshotSender<Self::Result>) -> Job;
}

macro_rules! ask {
    ($($message:ty => $request:ident, $reply:ident;)*) => {$(
        impl Ask for $message {
            fn into_job(self, reply: OneshotSender<Self::Result>) -> Job {
                Job { request: Request::$request(self), reply: Reply::$reply(reply), since: Instant::now() }
            }
        }
    )*};
}

ask! {
    Sell => Sell, Order;
    Move => Move, Order;
    CreateProduct => Create, Created;
    EditProduct => Edit, Product;
    CorrectStock => Correct, Product;
    RemoveProduct => RemoveProduct, Removed;
    RemoveCategory => RemoveCategory, Removed;
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

    /// Whether whoever asked has gone away.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Sell(Sell(place)) => place.caller.as_ref().is_some_and(|caller| caller.has_left()),
            _ => false,
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
    /// Whether somebody still waits for it, `waited` after they asked. Whether a connection is still
    /// there is worth finding out only for those who have waited for long.
    pub(crate) fn is_wanted(&self, waited: Duration) -> bool {
        !self.reply.is_closed() && (waited < LOOK_AFTER || !self.request.is_abandoned())
    }

    /// Answers. The asker may have gone, which is theirs to choose.
    pub(crate) fn answer(self, verdict: Verdict) {
        match (self.reply, verdict) {
            (Reply::Order(reply), Verdict::Order(verdict)) => drop(reply.send(verdict)),
            (Reply::Created(reply), Verdict::Product(verdict)) => drop(reply.send(verdict)),
            // Edits and corrections carry no idempotency key, so their product is always of now.
            (Reply::Product(reply), Verdict::Product(Ok(Done::Now(product)))) => {
                drop(reply.send(Ok(product)));
            }
            (Reply::Product(reply), Verdict::Product(Err(error))) => drop(reply.send(Err(error))),
            (Reply::Removed(reply), Verdict::Removed(verdict)) => drop(reply.send(verdict)),
            (_, verdict) => tracing::error!(?verdict, "an answer of the wrong kind"),
        }
    }

    /// Answers that `failure` befell the batch.
    pub(crate) fn fail(self, failure: Failure) {
        let verdict = self.request.failed(failure);
        self.answer(verdict);
    }
}

impl Reply {
    fn is_closed(&self) -> bool {
        match self {
            Self::Order(reply) => reply.is_closed(),
            Self::Created(reply) => reply.is_closed(),
            Self::Product(reply) => reply.is_closed(),
            Self::Removed(reply) => reply.is_closed(),
        }
    }
}
