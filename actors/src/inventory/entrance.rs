//! The way to the `InventoryActor`.

use std::sync::Arc;

use actix::dev::OneshotSender;
use actix::prelude::*;
use tokio::sync::oneshot;

use super::job::{Ask, Failure};
use super::lane::Lane;
use super::queue::Queue;
use super::{InventoryActor, InventorySettings};
use crate::db::{ConnectError, Database};
use crate::feed::Announcer;

/// Where changes of stock are asked for. Cheap to clone.
#[derive(Clone)]
pub struct Inventory {
    actor: Addr<InventoryActor>,
}

impl Inventory {
    /// Starts the actor on this thread, with a database connection of its own.
    ///
    /// # Errors
    /// When the connection pool cannot be made.
    pub(crate) fn launch(
        database: &Database,
        announcer: Announcer,
        settings: &InventorySettings,
        on: &ArbiterHandle,
    ) -> Result<Self, ConnectError> {
        // The second connection asks after a batch whose own has broken.
        let lane =
            Lane { db: database.dedicated(2)?, announcer, hold: settings.hold, shelves: Arc::default() };
        let (queue, threads, mailbox) = (Queue::new(settings), database.handle(), settings.queue_max);
        let actor = InventoryActor::start_in_arbiter(on, move |ctx| {
            ctx.set_mailbox_capacity(mailbox);
            InventoryActor::new(queue, lane, threads)
        });
        Ok(Self { actor })
    }

    /// Asks, at once, and waits for the answer, which comes after COMMIT.
    ///
    /// # Errors
    /// When the actor is gone; nothing was done then.
    pub fn send<M: Ask>(
        &self,
        message: M,
    ) -> impl Future<Output = Result<M::Result, MailboxError>> + Send + use<M> {
        let (reply, answer) = oneshot::channel();
        self.forward(message, reply);
        async move { answer.await.map_err(|_| MailboxError::Closed) }
    }

    /// Asks on somebody's behalf: the batch answers them itself, with no actor in between.
    pub(crate) fn forward<M: Ask>(&self, message: M, reply: OneshotSender<M::Result>) {
        match self.actor.try_send(message.into_job(reply)) {
            Ok(()) => {}
            Err(SendError::Full(job)) => job.fail(Failure::Overloaded),
            // Dropping the job tells them.
            Err(SendError::Closed(_)) => {}
        }
    }

    /// Whether the actor still takes messages.
    pub(crate) fn is_alive(&self) -> bool {
        self.actor.connected()
    }
}
