//! Single products, read from the database many at a time.
//!
//! A read of one row costs the database and the network much more than the row. So whoever wants a
//! product while others are being read waits for the next statement, which brings all that were
//! asked for meanwhile; whoever comes alone waits for nobody. The more there are, the less each costs.
//!
//! Promises: what is answered was read after it was asked for; at most [`LANES`] statements run at
//! once, each for at most [`BATCH_MAX`] products; at most [`WAITING_MAX`] wait, none longer than
//! [`PATIENCE`]. It may run on any number of nodes; the table is only read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_postgres::Row;

use super::cache::Loaded;
use super::{CatalogError, store};
use crate::db::{Db, StoreError};

/// Statements at once: while one is in the database, another is on its way there or back.
const LANES: usize = 4;
/// Products that one statement reads.
const BATCH_MAX: usize = 256;
/// Products that may wait; one more is refused.
const WAITING_MAX: usize = 16_384;
/// How long a product may take.
const PATIENCE: Duration = Duration::from_secs(5);
const QUERY: &str = "catalog/get_products.sql";
/// How often a statement is tried that fails for a reason which usually passes.
const ATTEMPTS: usize = 2;

/// A row, where there is one, and the last event that its snapshot showed.
type Answer = Result<(i64, Option<Row>), CatalogError>;

/// Reads products. Shared by everybody who wants one.
pub(super) struct ProductLoader {
    db: Db,
    /// Where the connections live, so that a statement is not held up by a busy worker.
    threads: Handle,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Wish>,
    lanes: usize,
}

struct Wish {
    product: i64,
    answer: oneshot::Sender<Answer>,
}

impl ProductLoader {
    /// A loader from `db`, at work on `threads`.
    pub(super) fn new(db: Db, threads: Handle) -> Arc<Self> {
        Arc::new(Self { db, threads, queue: Mutex::default() })
    }

    /// A product as it is now.
    ///
    /// # Errors
    /// When the database is out of reach or has too much to do.
    pub(super) async fn load(self: Arc<Self>, product: i64) -> Result<Loaded, CatalogError> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(Wish { product, answer })?;
        // Neither a lane that is stuck nor threads that are going down keep anybody.
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        let (seq, row) = answered.ok().and_then(Result::ok).unwrap_or(Err(CatalogError::Unavailable))?;
        Ok(Loaded { seq, document: row.as_ref().map(store::product_document) })
    }

    fn enqueue(self: &Arc<Self>, wish: Wish) -> Result<(), CatalogError> {
        let mut queue = self.queue();
        if queue.waiting.len() >= WAITING_MAX {
            return Err(CatalogError::Overloaded);
        }
        queue.waiting.push(wish);
        if queue.lanes < LANES {
            queue.lanes += 1;
            self.threads.spawn(self.clone().run_lane());
        }
        Ok(())
    }

    async fn run_lane(self: Arc<Self>) {
        while let Some(wishes) = self.next_batch() {
            let outcome = self.read(&wishes).await;
            answer(wishes, outcome.map_err(CatalogError::from));
        }
    }

    /// What waits, as much of it as one statement takes. `None`, and the lane is over, when nothing
    /// does: whoever comes next begins another.
    fn next_batch(&self) -> Option<Vec<Wish>> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            queue.lanes -= 1;
            return None;
        }
        let size = queue.waiting.len().min(BATCH_MAX);
        let rest = queue.waiting.split_off(size);
        let mut wishes = std::mem::replace(&mut queue.waiting, rest);
        // Nobody is there any more for these.
        wishes.retain(|wish| !wish.answer.is_closed());
        Some(wishes)
    }

    async fn read(&self, wishes: &[Wish]) -> Result<(i64, Vec<Row>), StoreError> {
        if wishes.is_empty() {
            return Ok((0, Vec::new()));
        }
        let mut products: Vec<i64> = wishes.iter().map(|wish| wish.product).collect();
        products.sort_unstable();
        products.dedup();
        let mut attempt = 1;
        loop {
            let client = self.db.client(QUERY).await?;
            let outcome = tokio::time::timeout(PATIENCE, store::get_products(&client, &products)).await;
            match outcome.unwrap_or_else(|_| Err(StoreError::timed_out(QUERY))) {
                Err(error) => {
                    // Whatever is wrong with this connection must not meet the next statement: it is
                    // stuck, or holds a plan that a migration has outdated.
                    drop(Object::take(client));
                    if attempt >= ATTEMPTS || !error.is_transient() {
                        return Err(error);
                    }
                    attempt += 1;
                }
                read => return read,
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(mut wishes: Vec<Wish>, outcome: Result<(i64, Vec<Row>), CatalogError>) {
    let (seq, rows) = match outcome {
        Ok(read) => read,
        Err(error) => {
            for wish in wishes {
                wish.answer.send(Err(error.clone())).ok();
            }
            return;
        }
    };
    let mut rows: HashMap<i64, Row> =
        rows.into_iter().filter_map(|row| Some((store::product_id(&row)?, row))).collect();
    wishes.sort_unstable_by_key(|wish| wish.product);
    let mut wishes = wishes.into_iter().peekable();
    while let Some(Wish { product, answer }) = wishes.next() {
        let is_last = wishes.peek().is_none_or(|next| next.product != product);
        let row = if is_last { rows.remove(&product) } else { rows.get(&product).cloned() };
        answer.send(Ok((seq, row))).ok();
    }
}
