//! The next rows of an import as one transaction, beside the batches and on a connection of its own, as
//! a batch of another node would be.
//!
//! Reading is one round trip that begins the transaction, locks (the import, then what every batch
//! locks, in the batches' order: categories, and of the known products the stocks that change, each by
//! id) and reads the rows with the products that they are about; where the rows before were all new or
//! changed nothing, the stocks are locked only if that turns out wrong. They are decided in memory; their texts
//! stay in the database. Writing is another round trip, which ends in COMMIT, and writes how far the
//! import has come beside what it did. While the shop sells, the imports of a node rest after a chunk for
//! [`GIVE_WAY`] times as long as it took.

mod decide;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;
use deadpool_postgres::Object;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::actor::InventoryActor;
use super::lane::{Lane, Setback, clear, set_back};
use super::pipeline::{Step, send_in_order};
use super::store::{self as batch_store, SKU_CONSTRAINT, TransactionId};
use crate::db::StoreError;
use crate::import::store::{self, Resolved};
use crate::import::{Counts, ImportError, MergeRows, Merged};
use crate::types::Seq;
use decide::{Decided, Locked, decide};

/// How often a chunk is tried again after something that usually passes.
const ATTEMPTS_MAX: u32 = 8;
/// The pause before the first of those; it doubles.
const PAUSE: Duration = Duration::from_millis(2);
/// How long an import rests while the shop sells, in times of its last chunk.
const GIVE_WAY: u32 = 1;
/// Plans are made for each chunk: the tables grow meanwhile, and a plan for a small one would scan a
/// large one.
const BEGIN: &str = "BEGIN; SET LOCAL plan_cache_mode = force_custom_plan";

/// The imports' way to the database, and whose turn it is.
#[derive(Clone)]
pub(super) struct ImportLane {
    lane: Lane,
    threads: Handle,
    /// When the next chunk may begin.
    turn: Arc<Mutex<Instant>>,
    /// Batches that have begun.
    batches: Arc<AtomicU64>,
}

impl ImportLane {
    pub(super) fn new(lane: Lane, threads: Handle) -> Self {
        Self { lane, threads, turn: Arc::new(Mutex::new(Instant::now())), batches: Arc::default() }
    }

    /// The shop sells.
    pub(super) fn batch_begins(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    async fn merge_in_turn(self, chunk: MergeRows) -> Result<Merged, ImportError> {
        let mut turn = self.turn.lock().await;
        tokio::time::sleep_until((*turn).into()).await;
        let (began, batches) = (Instant::now(), self.batches.load(Ordering::Relaxed));
        let merged = self.lane.merge(&chunk).await;
        let took = began.elapsed();
        let is_selling = self.batches.load(Ordering::Relaxed) != batches;
        *turn = Instant::now() + if is_selling { took * GIVE_WAY } else { Duration::ZERO };
        merged.map(|merged| Merged { took, is_selling, ..merged })
    }
}

/// Interleaves freely with all others: what is decided rests on rows that are locked, and on the import's
/// own, which its transactions lock.
impl Handler<MergeRows> for InventoryActor {
    type Result = ResponseFuture<Result<Merged, ImportError>>;

    fn handle(&mut self, chunk: MergeRows, _: &mut Context<Self>) -> Self::Result {
        let lane = self.imports.clone();
        // In a task of its own, since it must outlive whoever asked for it.
        let merging = lane.threads.clone().spawn(lane.merge_in_turn(chunk));
        Box::pin(async move {
            merging.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a chunk of an import was broken off");
                Err(ImportError::Internal)
            })
        })
    }
}

/// What the next rows would come to, with nothing locked or written; `counts` is what came of those before.
pub(crate) async fn check_rows(
    client: &Object,
    chunk: &MergeRows,
    counts: Counts,
) -> Result<Merged, StoreError> {
    let began = Instant::now();
    let rows = store::read_rows(client, chunk, false).await?;
    // Never `None` where nothing has to be locked.
    let decided = decide(chunk, &rows, None).unwrap_or_default();
    Ok(merged(chunk, counts, decided, began))
}

/// What a chunk rests on.
struct Read {
    transaction: TransactionId,
    done_line: i64,
    counts: Counts,
    locked: Locked,
    rows: Vec<Resolved>,
}

impl Lane {
    /// Carries a chunk out. Must not be cancelled.
    async fn merge(&self, chunk: &MergeRows) -> Result<Merged, ImportError> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            match self.try_merge(chunk).await {
                Err(Setback::Again(error)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "trying a chunk again");
                    metrics::counter!("emporium_import_retries_total").increment(1);
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return told(other),
            }
        }
        told(self.try_merge(chunk).await)
    }

    /// `None` when another attempt has taken the import up.
    async fn try_merge(&self, chunk: &MergeRows) -> Result<Option<Merged>, Setback> {
        let began = Instant::now();
        let client = self.db.client("inventory/import").await.map_err(Setback::Unavailable)?;
        batch_store::prepare(&client).await.map_err(Setback::Again)?;
        store::prepare_merge(&client).await.map_err(Setback::Again)?;
        let read = match begin_and_read(&client, chunk).await {
            Ok(read) => read,
            Err(error) => return Err(set_back(client, error).await),
        };
        let Some(mut read) = read else {
            clear(client).await;
            return Ok(None);
        };
        let counts = read.counts;
        if read.done_line > chunk.after || read.rows.is_empty() {
            // It is done, and only its answer was lost; or nothing is left to do.
            clear(client).await;
            return Ok(Some(Merged { up_to: read.done_line.max(chunk.after), counts, ..Merged::default() }));
        }
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
        let Read { transaction, rows, .. } = read;
        let last_seq = AtomicI64::new(0);
        let last = match send_in_order(write_and_commit(&client, chunk, counts, &decided, &last_seq)).await {
            Ok(()) => Seq(last_seq.into_inner()),
            Err(error) if error.is_connection_lost() => {
                drop(Object::take(client));
                self.ask_fate(&transaction, error).await?
            }
            Err(error) if error.constraint() == Some(SKU_CONSTRAINT) => {
                // Somebody else has just made a product with this sku; next time it is known.
                clear(client).await;
                return Err(Setback::Again(error));
            }
            Err(error) => return Err(set_back(client, error).await),
        };
        if !decided.events.is_empty() {
            self.announcer.committed(last, &decided.events);
        }
        metrics::counter!("emporium_import_rows_total").increment(rows.len() as u64);
        metrics::histogram!("emporium_import_chunk_seconds").record(began.elapsed());
        Ok(Some(merged(chunk, counts, decided, began)))
    }
}

/// Begins the transaction, locks and reads: one round trip. `None` when another attempt has taken the
/// import up.
async fn begin_and_read(client: &Object, chunk: &MergeRows) -> Result<Option<Read>, StoreError> {
    let begin = async { client.batch_execute(BEGIN).await.map_err(|error| StoreError::new("BEGIN", error)) };
    let (begun, import, categories, products, rows) = tokio::join! {
        biased;
        begin,
        store::lock_import(client, chunk),
        store::lock_categories(client, chunk),
        async { if chunk.locks_first { store::lock_stock(client, chunk).await } else { Ok(HashSet::new()) } },
        store::read_rows(client, chunk, true),
    };
    // The first that fails tells why, and fails those behind it; so in the order in which they were sent.
    begun?;
    let Some((transaction, done_line, counts)) = import? else { return Ok(None) };
    let locked = Locked { categories: categories?, products: products? };
    Ok(Some(Read { transaction: TransactionId(transaction), done_line, counts, locked, rows: rows? }))
}

/// Locks what known products change, none being locked so far, and reads anew.
async fn lock_and_read(client: &Object, chunk: &MergeRows, read: &mut Read) -> Result<(), StoreError> {
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

/// Writes what was decided and commits: one round trip's worth of steps, COMMIT the last.
fn write_and_commit<'a>(
    client: &'a Object,
    chunk: &'a MergeRows,
    before: Counts,
    decided: &'a Decided,
    last_seq: &'a AtomicI64,
) -> Vec<Step<'a>> {
    let Decided { up_to, counts, created, edited, writes, events, .. } = decided;
    let mut steps: Vec<Step<'a>> = Vec::new();
    if !edited.lines.is_empty() {
        steps.push(Box::pin(store::update_products(client, chunk, *up_to, edited)));
    }
    if !created.lines.is_empty() {
        steps.push(Box::pin(store::insert_products(client, chunk, *up_to, created)));
    }
    let mut counts = *counts;
    counts += before;
    steps.push(Box::pin(async move { store::advance_import(client, &chunk.id, *up_to, &counts).await }));
    steps.extend(batch_store::write_and_commit(client, writes, events, last_seq));
    steps
}

fn merged(chunk: &MergeRows, before: Counts, decided: Decided, began: Instant) -> Merged {
    let Decided { up_to, mut counts, faults, .. } = decided;
    counts += before;
    Merged { up_to: up_to.max(chunk.after), counts, faults, took: began.elapsed(), is_selling: false }
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
