//! The next rows of an import as one transaction, beside the batches and on a connection of its own, as
//! a batch of another node would be.
//!
//! Reading is one round trip that begins the transaction, locks what every batch locks, in the batches'
//! order (categories, and of the known products the stocks that change, each by id), and reads the rows with
//! the products that they are about; where the rows before were all new or changed nothing, the stocks are
//! locked only if that turns out wrong. They are decided in memory; their texts stay in the database. Writing
//! is another round trip. Only then is the import locked, and found where this chunk begins, or the
//! transaction is given up; how far it has come is committed with what was done.
//!
//! While the shop is quiet, the next chunk sets off as soon as one has been decided, on a second connection, and
//! waits before it locks the import until the one ahead has committed. Rows are thus done in their order, and
//! what is recorded is all that was done. Two that wait for each other outside the database must not wait inside
//! it, not even by way of a third: no product is in two chunks, a chunk sets off when the one ahead has all stocks
//! and categories that it locks, it is given up when the one ahead has to try again, and it does not wait for
//! longer than [`AHEAD_PATIENCE`], for which the one ahead may still wait for a sku that somebody is taking. While the shop sells, the imports of a node take turns, and rest after a chunk for
//! [`GIVE_WAY`] times as long as it took.

mod decide;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use deadpool_postgres::Object;
use tokio::runtime::Handle;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, oneshot};

use super::actor::InventoryActor;
use super::lane::{Lane, Setback, clear, set_back};
use super::pipeline::{Step, send_in_order};
use super::store::{self as batch_store, SKU_CONSTRAINT, TransactionId};
use super::trade::Trade;
use crate::db::StoreError;
use crate::import::store::{self, Resolved};
use crate::import::{Chunk, Counts, ImportError, MergeRows, Merged, Opening, Place};
use crate::types::Seq;
use decide::{Decided, Locked, decide};

/// How often a chunk is tried again after something that usually passes.
const ATTEMPTS_MAX: u32 = 8;
/// The pause before the first of those; it doubles.
const PAUSE: Duration = Duration::from_millis(2);
/// How long an import rests while the shop sells, in times of its last chunk.
const GIVE_WAY: u32 = 1;
/// Chunks that are under way at once, of all imports of a node, each on a connection of its own.
pub(super) const AT_ONCE: u32 = 2;
/// How long a chunk waits for the one ahead of it.
const AHEAD_PATIENCE: Duration = Duration::from_secs(2);
/// Plans are made for each chunk: the tables grow meanwhile, and a plan for a small one would scan a
/// large one.
const BEGIN: &str = "BEGIN; SET LOCAL plan_cache_mode = force_custom_plan";
/// The imports' way to the database, and whose turn it is.
#[derive(Clone)]
pub(super) struct ImportLane {
    lane: Lane,
    threads: Handle,
    turns: Arc<Semaphore>,
    /// When the next chunk may begin.
    rested: Arc<Mutex<Instant>>,
    /// Whether the shop sold during the last chunk.
    is_selling: Arc<AtomicBool>,
    trade: Arc<Trade>,
}

impl ImportLane {
    pub(super) fn new(lane: Lane, trade: Arc<Trade>, threads: Handle) -> Self {
        let (turns, rested) = (Semaphore::new(AT_ONCE as usize), Mutex::new(Instant::now()));
        Self {
            lane,
            threads,
            turns: Arc::new(turns),
            rested: Arc::new(rested),
            is_selling: Arc::default(),
            trade,
        }
    }

    async fn merge_in_turn(self, MergeRows { chunk, place }: MergeRows) -> Result<Merged, ImportError> {
        let seats = if self.is_selling.load(Ordering::Relaxed) { AT_ONCE } else { 1 };
        // Never closed.
        let _turn = self.turns.acquire_many(seats).await;
        tokio::time::sleep_until(self.rested().into()).await;
        let (began, signs) = (Instant::now(), self.trade.signs());
        let merged = self.lane.merge(&chunk, place).await;
        let is_selling = self.trade.signs() != signs;
        self.is_selling.store(is_selling, Ordering::Relaxed);
        if is_selling {
            *self.rest() = Instant::now() + began.elapsed() * GIVE_WAY;
        }
        merged.map(|merged| Merged { is_selling, ..merged })
    }

    fn rested(&self) -> Instant {
        *self.rest()
    }

    fn rest(&self) -> MutexGuard<'_, Instant> {
        self.rested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Interleaves freely with all others: what is decided rests on rows that are locked, and on the import's
/// own, which its transactions lock.
impl Handler<MergeRows> for InventoryActor {
    type Result = ResponseFuture<Result<Merged, ImportError>>;

    fn handle(&mut self, rows: MergeRows, _: &mut Context<Self>) -> Self::Result {
        let lane = self.imports.clone();
        // In a task of its own, since it must outlive whoever asked for it.
        let merging = lane.threads.clone().spawn(lane.merge_in_turn(rows));
        Box::pin(async move {
            merging.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a chunk of an import was broken off");
                Err(ImportError::Internal)
            })
        })
    }
}

/// What the next rows would come to, with nothing locked or written; `counts` is what came of those before.
pub(crate) async fn check_rows(client: &Object, chunk: &Chunk, counts: Counts) -> Result<Merged, StoreError> {
    let began = Instant::now();
    let rows = store::read_rows(client, chunk, false).await?;
    // Never `None` where nothing has to be locked.
    let decided = decide(chunk, &rows, None).unwrap_or_default();
    Ok(merged(chunk, counts, decided, began.elapsed()))
}

/// What a chunk rests on.
struct Read {
    locked: Locked,
    rows: Vec<Resolved>,
}

impl Lane {
    /// Carries a chunk out. Must not be cancelled.
    async fn merge(&self, chunk: &Chunk, mut place: Place) -> Result<Merged, ImportError> {
        match place.ahead.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Ok(())) => place.ahead = None,
            Some(Err(TryRecvError::Closed)) => return Err(ImportError::Unavailable),
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        if place.ahead.is_some() {
            return match self.try_merge(chunk, &mut place).await {
                // Whoever asked asks again when the one ahead has ended.
                Err(Setback::Again(_)) => Err(ImportError::Unavailable),
                other => told(other),
            };
        }
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            match self.try_merge(chunk, &mut place).await {
                Err(Setback::Again(error)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "trying a chunk again");
                    metrics::counter!("emporium_import_retries_total").increment(1);
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return told(other),
            }
        }
        told(self.try_merge(chunk, &mut place).await)
    }

    /// `None` when another attempt has taken the import up.
    async fn try_merge(&self, chunk: &Chunk, place: &mut Place) -> Result<Option<Merged>, Setback> {
        let client = self.db.client("inventory/import").await.map_err(Setback::Unavailable)?;
        let began = Instant::now();
        batch_store::prepare(&client).await.map_err(Setback::Again)?;
        store::prepare_merge(&client).await.map_err(Setback::Again)?;
        let mut read = match begin_and_read(&client, chunk).await {
            Ok(read) => read,
            Err(error) => return Err(set_back(client, error).await),
        };
        let mut decided = decide(chunk, &read.rows, Some(&read.locked));
        if decided.is_none() && !chunk.locks_first {
            if let Err(error) = lock_and_read(&client, chunk, &mut read).await {
                return Err(set_back(client, error).await);
            }
            decided = decide(chunk, &read.rows, Some(&read.locked));
        }
        let Some(decided) = decided else {
            // A product changed behind what was locked. To lock it now would be out of order.
            clear(client).await;
            return Err(Setback::Again(StoreError::unavailable("import/lock_stock.sql")));
        };
        let done = open_behind(chunk, &read, &decided, place);
        match send_in_order(write(&client, chunk, &decided)).await {
            Ok(()) => {}
            Err(error) if error.constraint() == Some(SKU_CONSTRAINT) => {
                // Somebody else has just made a product with this sku; next time it is known.
                clear(client).await;
                return Err(Setback::Again(error));
            }
            Err(error) => return Err(set_back(client, error).await),
        }
        let mut took = began.elapsed();
        if !wait_for(place.ahead.take()).await {
            clear(client).await;
            return Err(Setback::Again(StoreError::timed_out("import/lock_import.sql")));
        }
        let waited = Instant::now();
        let (transaction, done_line, counts) = match store::lock_import(&client, chunk).await {
            Ok(Some(import)) => import,
            Ok(None) => {
                clear(client).await;
                return Ok(None);
            }
            Err(error) => return Err(set_back(client, error).await),
        };
        if done_line < chunk.after {
            // The chunk ahead came to less than it was about to.
            clear(client).await;
            return Err(Setback::Again(StoreError::unavailable("import/lock_import.sql")));
        }
        if done_line > chunk.after || read.rows.is_empty() {
            // It is done, and only its answer was lost; or nothing is left to do.
            clear(client).await;
            return Ok(Some(Merged { up_to: done_line.max(chunk.after), counts, ..Merged::default() }));
        }
        let last_seq = AtomicI64::new(0);
        let last = match send_in_order(finish(&client, chunk, counts, &decided, &last_seq)).await {
            Ok(()) => Seq(last_seq.into_inner()),
            Err(error) if error.is_connection_lost() => {
                drop(Object::take(client));
                self.ask_fate(&TransactionId(transaction), error).await?
            }
            Err(error) => return Err(set_back(client, error).await),
        };
        // Nobody may be waiting.
        done.map(|done| done.send(()));
        if !decided.events.is_empty() {
            self.announcer.committed(last, &decided.events);
        }
        took += waited.elapsed();
        metrics::counter!("emporium_import_rows_total").increment(read.rows.len() as u64);
        metrics::histogram!("emporium_import_chunk_seconds").record(took);
        Ok(Some(merged(chunk, counts, decided, took)))
    }
}

/// Lets the next chunk set off, unless this is the last. What this returns is to be told when it is committed,
/// and dropped when it is not.
fn open_behind(
    chunk: &Chunk,
    read: &Read,
    decided: &Decided,
    place: &mut Place,
) -> Option<oneshot::Sender<()>> {
    let behind = place.behind.take()?;
    let is_last = (read.rows.len() as i64) < chunk.rows_max;
    if is_last {
        return None;
    }
    let (done, ahead) = oneshot::channel();
    let opening = Opening { after: decided.up_to, ahead, changes: decided.counts.updated > 0 };
    behind.send(opening).ok().map(|()| done)
}

/// Whether the chunk ahead, if there is one, was committed.
async fn wait_for(ahead: Option<oneshot::Receiver<()>>) -> bool {
    match ahead {
        None => true,
        Some(done) => matches!(tokio::time::timeout(AHEAD_PATIENCE, done).await, Ok(Ok(()))),
    }
}

/// Begins the transaction, locks and reads: one round trip.
async fn begin_and_read(client: &Object, chunk: &Chunk) -> Result<Read, StoreError> {
    let begin = async { client.batch_execute(BEGIN).await.map_err(|error| StoreError::new("BEGIN", error)) };
    let (begun, categories, products, rows) = tokio::join! {
        biased;
        begin,
        store::lock_categories(client, chunk),
        async { if chunk.locks_first { store::lock_stock(client, chunk).await } else { Ok(HashSet::new()) } },
        store::read_rows(client, chunk, true),
    };
    // The first that fails tells why, and fails those behind it; so in the order in which they were sent.
    begun?;
    let locked = Locked { categories: categories?, products: products? };
    Ok(Read { locked, rows: rows? })
}

/// Locks what known products change, none being locked so far, and reads anew.
async fn lock_and_read(client: &Object, chunk: &Chunk, read: &mut Read) -> Result<(), StoreError> {
    let (products, rows) = tokio::join! {
        biased;
        store::lock_stock(client, chunk),
        store::read_rows(client, chunk, false),
    };
    read.locked.products = products?;
    let drawn = std::mem::replace(&mut read.rows, rows?);
    for (row, drawn) in read.rows.iter_mut().zip(drawn) {
        row.new_id = drawn.new_id;
    }
    Ok(())
}

/// Writes what was decided but for the events.
fn write<'a>(client: &'a Object, chunk: &'a Chunk, decided: &'a Decided) -> Vec<Step<'a>> {
    let Decided { up_to, created, edited, writes, .. } = decided;
    let mut steps: Vec<Step<'a>> = Vec::new();
    if !edited.lines.is_empty() {
        steps.push(Box::pin(store::update_products(client, chunk, *up_to, edited)));
    }
    if !created.lines.is_empty() {
        steps.push(Box::pin(store::insert_products(client, chunk, *up_to, created)));
    }
    steps.extend(batch_store::write(client, writes));
    steps
}

/// Writes down how far the import has come, and the events, and commits.
fn finish<'a>(
    client: &'a Object,
    chunk: &'a Chunk,
    before: Counts,
    decided: &'a Decided,
    last_seq: &'a AtomicI64,
) -> Vec<Step<'a>> {
    let Decided { up_to, counts, events, .. } = decided;
    let mut counts = *counts;
    counts += before;
    let advance = async move { store::advance_import(client, &chunk.id, *up_to, &counts).await };
    let mut steps: Vec<Step<'a>> = vec![Box::pin(advance)];
    steps.extend(batch_store::append_and_commit(client, events, last_seq));
    steps
}

fn merged(chunk: &Chunk, before: Counts, decided: Decided, took: Duration) -> Merged {
    let Decided { up_to, mut counts, faults, .. } = decided;
    counts += before;
    Merged { up_to: up_to.max(chunk.after), counts, faults, took, is_selling: false }
}

/// What came of a chunk, in the words of whoever imports.
fn told(outcome: Result<Option<Merged>, Setback>) -> Result<Merged, ImportError> {
    match outcome {
        Ok(Some(merged)) => Ok(merged),
        Ok(None) => Err(ImportError::UnderWay),
        // Whether it was done stands beside what was done, where the next attempt looks first.
        Err(Setback::Again(error) | Setback::Unavailable(error) | Setback::OutcomeUnknown(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a chunk found no database");
            Err(ImportError::Unavailable)
        }
        Err(Setback::Refused(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the database refused a chunk");
            Err(ImportError::Internal)
        }
    }
}
