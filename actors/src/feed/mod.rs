//! The event log and the live feeds that are read from it.
//!
//! Promises: an event is a row of the transaction that it reports; numbers follow commit order over
//! all nodes; every node, the writer included, learns of events by reading the table in order, woken
//! by a hint and by a poll; a socket gets a snapshot and then every later change, nothing between.

mod event;
pub(crate) mod store;

use std::sync::Arc;

pub use event::{Event, EventKind};
pub use crate::orders::{OrderEvent, OrderStatus};

use crate::types::Seq;

/// Something in this process that must know of every event: caches, the list of ended sessions.
///
/// Called for own writes before they are answered, and again when the log is read; so twice for
/// some events, and it must not mind. Quick, and never blocks.
pub trait Listener: Send + Sync {
    /// `kind` has been committed as number `seq`.
    fn on_event(&self, seq: Seq, kind: &EventKind);

    /// The log has been read up to `seq`, at this moment.
    fn on_read(&self, _seq: Seq) {}
}

/// The listeners of this process, told in order.
#[derive(Clone)]
pub struct Listeners(pub Arc<[Arc<dyn Listener>]>);

/// Tells this node what it has just committed, so that its next read sees its own write, and gives
/// every node the hint to read the log.
#[derive(Clone)]
pub struct Announcer {
    listeners: Listeners,
    /// Wakes this node's reader, which also passes the hint on to the other nodes.
    wake: Arc<tokio::sync::Notify>,
}

impl Announcer {
    /// An announcer to these listeners.
    #[must_use]
    pub fn new(listeners: Listeners, wake: Arc<tokio::sync::Notify>) -> Self {
        Self { listeners, wake }
    }

    /// To be called after COMMIT and before the answer. `last` is the number of the last of `kinds`,
    /// as [`store::append`] gave it.
    pub fn committed(&self, last: Seq, kinds: &[EventKind]) {
        let first = last.0 - kinds.len() as i64 + 1;
        for (seq, kind) in (first..).map(Seq).zip(kinds) {
            for listener in self.listeners.0.iter() {
                listener.on_event(seq, kind);
            }
        }
        self.wake.notify_one();
    }
}

/// How the log is read and fed to sockets.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// The longest the reader waits for a hint before it looks by itself; under 1 s.
    pub poll_interval: std::time::Duration,
    /// How long events are kept.
    pub retention: std::time::Duration,
    /// The most sockets one node serves.
    pub sockets_max: usize,
}
/// Handle on the feeds of this node.
#[derive(Clone)]
pub struct Feed {}
impl Feed {
    /// Starts the reader and the hub.
    pub async fn start(_database: Arc<crate::db::Database>, _listeners: Listeners, _wake: Arc<tokio::sync::Notify>, _settings: FeedSettings) -> Result<Self, crate::db::StoreError> { unimplemented!() }
    /// How far this node has read the log; wakes on every advance.
    pub fn position(&self) -> tokio::sync::watch::Receiver<Seq> { unimplemented!() }
    /// Stops the reader and closes every socket with 1001.
    pub async fn stop(&self) {}
}
