//! The nodes of the shop: how each of them fares, as any of them can tell.
//!
//! Promises: a node writes one row a second, on a connection of its own, and reads the others' in the
//! same statement; so to be asked costs no database, and a checkout never waits for it. What is counted
//! is counted once per batch. A node that has been silent for 5 s is left out; while the database is
//! away, a node still tells of itself.

mod heartbeat;
mod pulse;
pub(crate) mod store;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

pub use pulse::Pulse;

use crate::db::{ConnectError, Database, Db};
use crate::feed::Feed;
use crate::types::{Seq, Timestamp};

/// A node that has been silent for so long is left out.
const SILENT_MAX: Duration = Duration::from_secs(5);
/// How long the farewell of a stopping node may take.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);

/// The nodes, as this one knows them. Cheap to clone.
#[derive(Clone)]
pub struct Nodes {
    node: Arc<Node>,
}

/// How a node fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Drawn anew by each process.
    pub id: String,
    /// Host and port, for people.
    pub name: String,
    /// Which release it runs.
    pub version: String,
    /// Since when it is open, by its own clock.
    pub started_at: Timestamp,
    /// How long ago it told this, in milliseconds.
    pub age_ms: i64,
    /// Whether it is the node that was asked.
    pub is_self: bool,
    /// What it told.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What a node tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// The most requests that waited for a batch at once during the last second.
    pub queue: i64,
    /// How many seconds the following are about: 10, or fewer just after the start.
    pub window_s: i64,
    /// Orders placed.
    pub orders: i64,
    /// Batches committed.
    pub batches: i64,
    /// Requests in a batch, on average, rounded.
    pub batch_size_mean: i64,
    /// Requests in the largest batch.
    pub batch_size_max: i64,
    /// The median time from the first statement of a batch to the answer to its COMMIT, in microseconds.
    pub commit_p50_us: i64,
    /// The same for the slowest in a hundred.
    pub commit_p99_us: i64,
    /// Live feeds that are open.
    pub sockets: i64,
    /// How far it has read the event log.
    pub position: Seq,
}

/// This node.
struct Node {
    id: String,
    started_at: Timestamp,
    /// One connection, for nothing else.
    db: Db,
    threads: Handle,
    pulse: Arc<Pulse>,
    feed: Feed,
    /// Its name, once it is one of the nodes.
    name: OnceLock<String>,
    task: OnceLock<AbortHandle>,
    known: Mutex<Known>,
}

/// What the last heartbeats brought.
struct Known {
    figures: Figures,
    /// When those were taken.
    taken_at: Instant,
    others: Vec<NodeReport>,
    /// When the others were read.
    read_at: Instant,
}

impl Nodes {
    /// A node that is not one of the nodes yet: a command never will be.
    ///
    /// # Errors
    /// When the connection pool cannot be made.
    pub(crate) fn new(database: &Database, feed: Feed, pulse: Arc<Pulse>) -> Result<Self, ConnectError> {
        let now = Instant::now();
        Ok(Self {
            node: Arc::new(Node {
                id: format!("{:016x}", rand::random::<u64>()),
                started_at: Timestamp(OffsetDateTime::now_utc()),
                db: database.dedicated(1)?,
                threads: database.handle(),
                pulse,
                feed,
                name: OnceLock::new(),
                task: OnceLock::new(),
                known: Mutex::new(Known {
                    figures: Figures::default(),
                    taken_at: now,
                    others: Vec::new(),
                    read_at: now,
                }),
            }),
        })
    }

    /// Makes this process one of the nodes, listening at `port`. Further calls do nothing.
    pub fn join(&self, port: u16) {
        let node = self.node.clone();
        if self.node.name.set(format!("{}:{port}", host())).is_ok() {
            let task = self.node.threads.spawn(heartbeat::beat(node));
            // The name was set by this call alone, so there is no task yet.
            self.node.task.set(task.abort_handle()).ok();
        }
    }

    /// The nodes that are open, by name.
    #[must_use]
    pub fn list(&self) -> Vec<NodeReport> {
        let mut nodes = self.node.others();
        nodes.extend(self.node.report());
        nodes.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        nodes
    }

    /// Says farewell, so that the others leave this node out at once.
    pub(crate) async fn stop(&self) {
        let Some(task) = self.node.task.get() else { return };
        task.abort();
        let farewell = async {
            let client = self.node.db.client("nodes/leave.sql").await?;
            store::leave(&client, &self.node.id).await
        };
        if !matches!(tokio::time::timeout(LEAVE_PATIENCE, farewell).await, Ok(Ok(()))) {
            tracing::debug!("the other nodes will find out by themselves that this one is gone");
        }
    }
}

impl Node {
    /// Notes how this node fares now.
    fn take(&self, figures: Figures) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.figures = figures;
        known.taken_at = Instant::now();
    }

    /// What this node tells of itself; `None` before it is one of the nodes.
    fn report(&self) -> Option<NodeReport> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Some(NodeReport {
            id: self.id.clone(),
            name: self.name.get()?.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            age_ms: millis(known.taken_at.elapsed()),
            is_self: true,
            figures: known.figures,
        })
    }

    /// The others, older by the time since they were read.
    fn others(&self) -> Vec<NodeReport> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let since = millis(known.read_at.elapsed());
        let aged = known.others.iter().map(|node| NodeReport { age_ms: node.age_ms + since, ..node.clone() });
        aged.filter(|node| node.age_ms < millis(SILENT_MAX)).collect()
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What the system calls this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().take(255).collect();
    if name.is_empty() { "node".to_owned() } else { name }
}
