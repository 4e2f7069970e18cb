//! The actor in front of the batches.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::runtime::Handle;

use super::import::ImportLane;
use super::lane::Lane;
use super::queue::Queue;

/// How batches are made.
#[derive(Clone, Debug)]
pub struct InventorySettings {
    /// The most messages one transaction carries, 1 to 10,000.
    pub batch_max: usize,
    /// The most messages that may wait, however fast they go; one more is refused.
    pub queue_max: usize,
    /// The longest that a message may wait for its batch; whoever would wait longer is refused.
    pub wait_max: Duration,
    /// How long a `pending` order holds its stock.
    pub hold: Duration,
}

/// Gathers what is to change a stock, and has it carried out a batch at a time: the next one gathers
/// while one commits.
pub struct InventoryActor {
    queue: Arc<Queue>,
    lane: Lane,
    /// Where imports are merged, beside the batches.
    pub(super) imports: ImportLane,
    /// Where batches run. Not the actor's thread: a batch must outlive whoever asked for it.
    threads: Handle,
}

impl InventoryActor {
    pub(super) fn new(queue: Arc<Queue>, lane: Lane, imports: ImportLane, threads: Handle) -> Self {
        Self { queue, lane, imports, threads }
    }

    fn work(&mut self, ctx: &mut Context<Self>) {
        let (lane, queue) = (self.lane.clone(), self.queue.clone());
        let working = self.threads.spawn(async move { lane.work_off(&queue).await });
        ctx.spawn(working.into_actor(self).map(|ended, actor, ctx| {
            if let Err(error) = ended {
                tracing::error!(%error, "a batch was broken off");
                actor.queue.end();
                // It never said that it rests.
                actor.work(ctx);
            }
        }));
    }
}

impl Actor for InventoryActor {
    type Context = Context<Self>;
}

/// There are jobs, and the lane rests. Sent once for each rest.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct WorkOff;

impl Handler<WorkOff> for InventoryActor {
    type Result = ();

    /// Only has batches begin: what they decide rests on rows that they have locked.
    fn handle(&mut self, _: WorkOff, ctx: &mut Context<Self>) {
        self.work(ctx);
    }
}
