//! One batch through the database: read, decide, write, commit; again where that helps, in halves
//! where one message spoils it for the others.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deadpool_postgres::Object;

use super::decide::{Decided, decide};
use super::job::{Failure, Job, Request, Verdict};
use super::pipeline::send_in_order;
use super::queue::Queue;
use super::shelves::Shelves;
use super::store::{self, Fate, TransactionId};
use crate::db::{Db, StoreError};
use crate::feed::Announcer;
use crate::idempotency::store::TWIN_CONSTRAINT;
use crate::nodes::Pulse;
use crate::types::Seq;

/// How often a batch is tried again after something that usually passes.
const ATTEMPTS_MAX: u32 = 8;
/// The pause before the first of those; it doubles.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the database may take to come back and say what became of a transaction.
const FATE_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked meanwhile.
const FATE_INTERVAL: Duration = Duration::from_millis(100);

/// The way of batches to the database.
#[derive(Clone)]
pub(crate) struct Lane {
    pub(crate) db: Db,
    pub(crate) announcer: Announcer,
    /// How long a new order keeps its stock unpaid.
    pub(crate) hold: Duration,
    /// What the last batches read of products.
    pub(crate) shelves: Arc<Mutex<Shelves>>,
    /// Counts what the batches come to.
    pub(crate) pulse: Arc<Pulse>,
}

/// Why an attempt came to nothing.
pub(super) enum Setback {
    /// Nothing was written; the same again may succeed.
    Again(StoreError),
    /// The database refused a statement; somebody in this batch is the cause.
    Refused(StoreError),
    /// Nothing was written, and there is no database to be had.
    Unavailable(StoreError),
    /// Nobody can say what became of it.
    OutcomeUnknown(StoreError),
}

impl Lane {
    /// Carries out batches until nothing waits. Must not be cancelled.
    pub(crate) async fn work_off(&self, queue: &Queue) {
        loop {
            let batch = queue.take();
            if batch.is_empty() {
                return;
            }
            self.run(batch).await;
            queue.end();
        }
    }

    /// Carries out a batch and answers every job of it.
    async fn run(&self, jobs: Vec<Job>) {
        // Halves still to be done, the next one last.
        let mut batches = vec![jobs];
        while let Some(mut batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            match self.carry_out(&batch).await {
                Ok(verdicts) => {
                    batch.into_iter().zip(verdicts).for_each(|(job, verdict)| job.answer(verdict));
                }
                Err(Setback::Refused(error)) if batch.len() > 1 => {
                    tracing::debug!(%error, size = batch.len(), "splitting a batch");
                    let second = batch.split_off(batch.len() / 2);
                    batches.extend([second, batch]);
                }
                Err(setback) => fail(batch, &setback),
            }
        }
    }

    async fn carry_out(&self, batch: &[Job]) -> Result<Vec<Verdict>, Setback> {
        let requests: Vec<&Request> = batch.iter().map(|job| &job.request).collect();
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            match self.attempt(&requests).await {
                Err(Setback::Again(error)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "trying a batch again");
                    metrics::counter!("emporium_batch_retries_total").increment(1);
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return other,
            }
        }
        match self.attempt(&requests).await {
            Err(Setback::Again(error)) => Err(Setback::Unavailable(error)),
            other => other,
        }
    }

    async fn attempt(&self, requests: &[&Request]) -> Result<Vec<Verdict>, Setback> {
        let began = Instant::now();
        let client = self.db.client("inventory").await.map_err(Setback::Unavailable)?;
        store::prepare(&client).await.map_err(Setback::Again)?;
        let (transaction, facts) = match store::begin_and_read(&client, requests, &self.shelves).await {
            Ok(read) => read,
            Err(error) => return Err(set_back(client, error).await),
        };
        let Decided { verdicts, writes, events } = decide(requests.iter().copied(), facts, self.hold);
        if events.is_empty() && writes.is_empty() {
            clear(client).await;
            return Ok(verdicts);
        }
        let last_seq = AtomicI64::new(0);
        let steps = store::write_and_commit(&client, &writes, &events, &last_seq);
        let last = match send_in_order(steps).await {
            Ok(()) => Seq(last_seq.into_inner()),
            Err(error) if error.is_connection_lost() => {
                drop(Object::take(client));
                self.ask_fate(&transaction, error).await?
            }
            Err(error) => return Err(set_back(client, error).await),
        };
        self.announcer.committed(last, &events);
        self.pulse.committed(requests.len(), &events, began.elapsed());
        metrics::histogram!("emporium_batch_size").record(requests.len() as f64);
        metrics::histogram!("emporium_batch_seconds").record(began.elapsed());
        Ok(verdicts)
    }

    /// The connection broke around COMMIT: asks the database, over another one, what became of the
    /// transaction. The seq it returns is no lower than that of the batch's last event.
    pub(super) async fn ask_fate(
        &self,
        transaction: &TransactionId,
        error: StoreError,
    ) -> Result<Seq, Setback> {
        tracing::warn!(%error, "a COMMIT was not answered; asking what became of it");
        let asked = Instant::now();
        while asked.elapsed() < FATE_PATIENCE {
            let fate = match self.db.client("inventory").await {
                Ok(client) => store::fate(&client, transaction).await,
                Err(error) => Err(error),
            };
            match fate {
                Ok(Fate::Committed(seq)) => return Ok(seq),
                Ok(Fate::Aborted) => return Err(Setback::Again(error)),
                Ok(Fate::StillOpen) | Err(_) => tokio::time::sleep(FATE_INTERVAL).await,
            }
        }
        Err(Setback::OutcomeUnknown(error))
    }
}

/// Ends the failed transaction and says what the failure means.
pub(super) async fn set_back(client: Object, error: StoreError) -> Setback {
    // A plan that a migration has outdated fails once; the next attempt prepares afresh.
    client.statement_cache.clear();
    clear(client).await;
    if error.is_transient() || error.is_connection_lost() || error.constraint() == Some(TWIN_CONSTRAINT) {
        Setback::Again(error)
    } else if error.is_unavailable() {
        Setback::Unavailable(error)
    } else {
        Setback::Refused(error)
    }
}

/// Gives the connection back without a transaction on it, or not at all.
pub(super) async fn clear(client: Object) {
    if store::rollback(&client).await.is_err() {
        drop(Object::take(client));
    }
}

fn fail(batch: Vec<Job>, setback: &Setback) {
    let failure = match setback {
        Setback::Refused(error) => return refuse(batch, error),
        Setback::Again(error) | Setback::Unavailable(error) => {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                size = batch.len(),
                "a batch found no database"
            );
            Failure::Unavailable
        }
        Setback::OutcomeUnknown(error) => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                size = batch.len(),
                "a batch's outcome is unknown"
            );
            Failure::OutcomeUnknown
        }
    };
    batch.into_iter().for_each(|job| job.fail(failure));
}

/// A batch of one that the database refuses: the cause is this message.
fn refuse(batch: Vec<Job>, error: &StoreError) {
    for job in batch {
        match job.request.refused_by(error) {
            Some(verdict) => job.answer(verdict),
            None => {
                tracing::error!(error = error as &dyn std::error::Error, request = ?job.request, "the database refused a message");
                job.fail(Failure::Internal);
            }
        }
    }
}
