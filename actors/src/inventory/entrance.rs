//! The way to the `InventoryActor`.

use std::sync::Arc;

use actix::dev::OneshotSender;
use actix::prelude::*;
use tokio::sync::oneshot;

use super::actor::WorkOff;
use super::import::{self, ImportLane};
use super::job::Ask;
use super::lane::Lane;
use super::queue::Queue;
use super::trade::Trade;
use super::{InventoryActor, InventorySettings};
use crate::db::{ConnectError, Database};
use crate::feed::Announcer;
use crate::import::{ImportError, MergeRows, Merged};
use crate::nodes::Pulse;

/// Where changes of stock are asked for. Cheap to clone.
#[derive(Clone)]
pub struct Inventory {
    actor: Addr<InventoryActor>,
    queue: Arc<Queue>,
}

impl Inventory {
    /// Starts the actor on this thread, with a database connection of its own.
    ///
    /// # Errors
    /// When the connection pool cannot be made.
    pub(crate) fn launch(
        database: &Database,
        announcer: Announcer,
        pulse: Arc<Pulse>,
        trade: Arc<Trade>,
        settings: &InventorySettings,
        on: &ArbiterHandle,
    ) -> Result<Self, ConnectError> {
        // The second connection asks after a batch whose own has broken.
        let (db, hold, shelves) = (database.dedicated(2)?, settings.hold, Arc::default());
        let lane = Lane { db, announcer, hold, shelves, pulse };
        let threads = database.handle();
        // One more than chunks at once, for the same.
        let import_db = database.dedicated(import::AT_ONCE as usize + 1)?;
        let imports = ImportLane::new(Lane { db: import_db, ..lane.clone() }, trade.clone(), threads.clone());
        let queue = Arc::new(Queue::new(settings, lane.pulse.clone(), trade));
        let inbox = queue.clone();
        let actor =
            InventoryActor::start_in_arbiter(on, move |_| InventoryActor::new(inbox, lane, imports, threads));
        Ok(Self { actor, queue })
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

    /// Has the next rows of an import merged.
    ///
    /// # Errors
    /// When the actor is gone.
    pub(crate) async fn merge(&self, rows: MergeRows) -> Result<Result<Merged, ImportError>, MailboxError> {
        self.actor.send(rows).await
    }

    /// Asks on somebody's behalf: the batch answers them itself, with no actor in between. While batches go
    /// on, the next one finds the message, and nobody is woken for it.
    #[expect(clippy::disallowed_methods, reason = "one `WorkOff` at a time is its bound")]
    pub(crate) fn forward<M: Ask>(&self, message: M, reply: OneshotSender<M::Result>) {
        // Otherwise the message is dropped, which tells them.
        if self.is_alive() && self.queue.push(message.into_job(reply)) {
            self.actor.do_send(WorkOff);
        }
    }

    /// Whether the actor still takes messages.
    pub(crate) fn is_alive(&self) -> bool {
        self.actor.connected()
    }
}
