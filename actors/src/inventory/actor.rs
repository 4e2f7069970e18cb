//! The queue in front of the batches.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::InventoryError;
use super::admission::Admission;
use super::job::{Failure, Job, Request, Verdict};
use super::lane::Lane;
use super::messages::{CorrectStock, CreateProduct, EditProduct, Move, RemoveCategory, RemoveProduct, Sell};
use crate::catalog::Product;
use crate::db::{ConnectError, Database};
use crate::feed::Announcer;
use crate::idempotency::Done;
use crate::orders::{Order, OrderError};

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

/// Gathers what is to change a stock, and carries it out a batch at a time: the next one gathers
/// while one commits.
pub struct InventoryActor {
    settings: InventorySettings,
    lane: Lane,
    /// Where batches run. Not the actor's thread: a batch must outlive whoever asked for it.
    threads: Handle,
    queue: VecDeque<Job>,
    admission: Admission,
    under_way: bool,
}

impl InventoryActor {
    /// Starts the actor on a thread of its own, with a database connection of its own.
    ///
    /// # Errors
    /// When the connection pool cannot be made.
    pub fn launch(
        database: &Database,
        announcer: Announcer,
        settings: InventorySettings,
    ) -> Result<Addr<Self>, ConnectError> {
        // The second connection asks after a batch whose own has broken.
        let lane = Lane { db: database.dedicated(2)?, announcer, hold: settings.hold };
        let threads = database.handle();
        let mailbox = settings.queue_max;
        Ok(Self::start_in_arbiter(&Arbiter::new().handle(), move |ctx| {
            ctx.set_mailbox_capacity(mailbox);
            let admission = Admission::new(settings.wait_max, settings.queue_max, settings.batch_max);
            Self { settings, lane, threads, queue: VecDeque::new(), admission, under_way: false }
        }))
    }

    fn enqueue(&mut self, request: Request, ctx: &mut Context<Self>) -> oneshot::Receiver<Verdict> {
        let (reply, answer) = oneshot::channel();
        let job = Job { request, reply, since: Instant::now() };
        if self.admission.admits(self.queue.len(), job.since) {
            self.queue.push_back(job);
            self.begin_batch(ctx);
        } else {
            metrics::counter!("emporium_inventory_refused_total").increment(1);
            job.fail(Failure::Overloaded);
        }
        answer
    }

    fn begin_batch(&mut self, ctx: &mut Context<Self>) {
        metrics::gauge!("emporium_inventory_queue").set(self.queue.len() as f64);
        if self.under_way || self.queue.is_empty() {
            return;
        }
        let now = Instant::now();
        let batch = self.take_batch(now);
        if batch.is_empty() {
            return;
        }
        self.under_way = true;
        self.admission.begin(batch.len(), now);
        let lane = self.lane.clone();
        let running = self.threads.spawn(async move { lane.run(batch).await });
        ctx.spawn(running.into_actor(self).map(|ended, actor, ctx| {
            if let Err(error) = ended {
                tracing::error!(%error, "a batch was broken off");
            }
            actor.under_way = false;
            actor.admission.end(Instant::now());
            actor.begin_batch(ctx);
        }));
    }

    /// The next batch, without those who have waited too long or do not wait any more.
    fn take_batch(&mut self, now: Instant) -> Vec<Job> {
        let mut batch = Vec::with_capacity(self.queue.len().min(self.settings.batch_max));
        while batch.len() < self.settings.batch_max
            && let Some(job) = self.queue.pop_front()
        {
            if now.duration_since(job.since) > self.settings.wait_max {
                job.fail(Failure::Overloaded);
            } else if job.is_wanted() {
                batch.push(job);
            }
        }
        batch
    }
}

impl Actor for InventoryActor {
    type Context = Context<Self>;
}

/// Messages interleave freely: a handler only puts its message into the queue, and what the batch
/// decides rests on rows that it has locked.
macro_rules! enqueue {
    ($($message:ty => $request:expr, $verdict:ident, $answer:ty, $error:ident;)*) => {$(
        impl Handler<$message> for InventoryActor {
            type Result = ResponseFuture<Result<$answer, $error>>;

            fn handle(&mut self, message: $message, ctx: &mut Context<Self>) -> Self::Result {
                let answer = self.enqueue($request(message), ctx);
                Box::pin(async move {
                    match answer.await {
                        Ok(Verdict::$verdict(verdict)) => verdict,
                        // The batch was broken off, which is a defect that has been logged.
                        _ => Err($error::Internal),
                    }
                })
            }
        }
    )*};
}

enqueue! {
    Sell => Request::Sell, Order, Done<Order>, OrderError;
    Move => Request::Move, Order, Done<Order>, OrderError;
    CreateProduct => Request::Create, Product, Done<Product>, InventoryError;
    RemoveProduct => Request::RemoveProduct, Removed, (), InventoryError;
    RemoveCategory => Request::RemoveCategory, Removed, (), InventoryError;
}

/// Edits and corrections carry no idempotency key, so their product is always of now.
macro_rules! enqueue_for_product {
    ($($message:ty => $request:expr;)*) => {$(
        impl Handler<$message> for InventoryActor {
            type Result = ResponseFuture<Result<Product, InventoryError>>;

            fn handle(&mut self, message: $message, ctx: &mut Context<Self>) -> Self::Result {
                let answer = self.enqueue($request(message), ctx);
                Box::pin(async move {
                    match answer.await {
                        Ok(Verdict::Product(Ok(Done::Now(product)))) => Ok(product),
                        Ok(Verdict::Product(Err(error))) => Err(error),
                        _ => Err(InventoryError::Internal),
                    }
                })
            }
        }
    )*};
}

enqueue_for_product! {
    EditProduct => Request::Edit;
    CorrectStock => Request::Correct;
}
