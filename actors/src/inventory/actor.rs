//! The actor in front of the batches.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::runtime::Handle;

use super::import::ImportLane;
use super::job::Job;
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
    /// Whether the lane works the queue off, or is about to.
    is_working: bool,
}

impl InventoryActor {
    pub(super) fn new(queue: Queue, lane: Lane, imports: ImportLane, threads: Handle) -> Self {
        Self { queue: Arc::new(queue), lane, imports, threads, is_working: false }
    }

    fn work(&mut self, ctx: &mut Context<Self>) {
        let (lane, queue) = (self.lane.clone(), self.queue.clone());
        let working = self.threads.spawn(async move { lane.work_off(&queue).await });
        ctx.spawn(working.into_actor(self).map(|ended, actor, ctx| {
            if let Err(error) = ended {
                tracing::error!(%error, "a batch was broken off");
                actor.queue.end();
            }
            // A job may have come in after the lane saw none, and before it was known to have ended.
            actor.is_working = !actor.queue.is_empty();
            if actor.is_working {
                actor.work(ctx);
            }
        }));
    }
}

impl Actor for InventoryActor {
    type Context = Context<Self>;
}

impl Handler<Job> for InventoryActor {
    type Result = ();

    /// Only puts the job into the queue: what its batch decides rests on rows that it has locked.
    fn handle(&mut self, job: Job, ctx: &mut Context<Self>) {
        if self.queue.push(job) && !self.is_working {
            self.is_working = true;
            // Behind every message that is here already, so that they share the first batch.
            ctx.spawn(async {}.into_actor(self).map(|(), actor, ctx| actor.work(ctx)));
        }
    }
}
