//! The event log and the live feeds that are read from it.
//!
//! Promises: an event is written by the transaction that it reports, all of a transaction's in one record of
//! the log (or in several, of a thousand each); numbers follow commit order over all nodes; every node, the
//! writer included, learns of events by reading the log in order, woken by a hint and by a poll; a socket gets a
//! snapshot and then every later change, nothing between; and what a slow socket has yet to be sent is bounded,
//! whatever it does.
//!
//! A commit is announced by its writer ([`Announcer`]), read from the table by the `reader`, handed
//! to the hub (`FeedActor`), which puts it into the `outbox` of each interested socket, from where
//! the socket's [`Subscription`] fetches it.

mod actor;
mod event;
mod frame;
mod messages;
mod outbox;
mod reader;
pub(crate) mod store;
mod subscription;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Arbiter, ArbiterHandle};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};

pub use crate::orders::{OrderEvent, OrderStatus};
pub use event::{Event, EventKind};
pub use frame::error as error_frame;
pub use outbox::Ending;
pub use subscription::{
    CATEGORIES_MAX, FeedLine, FeedPart, FeedRequest, PRODUCTS_MAX, StockSelection, Subscription,
};

use crate::db::{Database, Db, StoreError};
use crate::types::{Principal, Seq};
use actor::FeedActor;
use messages::{EndAll, SubscriberId};
use outbox::Outbox;
use reader::Tail;
use subscription::{OrderSelection, Selection};

/// Something in this process that must know of every event: caches, the list of ended sessions.
///
/// Called for own writes before they are answered, and again when the log is read; so twice for
/// some events, and it must not mind. Quick, and never blocks.
pub trait Listener: Send + Sync {
    /// `kind` has been committed as number `seq`.
    fn on_event(&self, seq: Seq, kind: &EventKind);

    /// The log has been read to its end, which was `_seq`, by a read that began at `_began`: everything
    /// that was committed before that moment has been told.
    fn on_read(&self, _seq: Seq, _began: Instant) {}

    /// Events up to `_seq` were removed from the log before this node read them: whatever was known
    /// by heart may be wrong.
    fn on_gap(&self, _seq: Seq) {}
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
    wake: Arc<Notify>,
}

impl Announcer {
    /// An announcer to these listeners.
    #[must_use]
    pub fn new(listeners: Listeners, wake: Arc<Notify>) -> Self {
        Self { listeners, wake }
    }

    /// To be called after COMMIT and before the answer. `last` is the number of the last of `kinds`,
    /// as `store::append` gave it.
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
    pub poll_interval: Duration,
    /// How long events are kept.
    pub retention: Duration,
    /// The most sockets one node serves.
    pub sockets_max: usize,
}

/// Connections that snapshots and resumes share, besides the reader's own two.
const SNAPSHOT_CONNECTIONS: usize = 4;
/// How long closing sockets may take when the shop stops.
const CLOSING_PATIENCE: Duration = Duration::from_secs(3);

/// Handle on the feeds of this node. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    hub: Arc<Hub>,
}

/// What subscriptions share.
struct Hub {
    actor: Addr<FeedActor>,
    db: Db,
    /// Turns on the connections, so that a crowd waits here and not for the pool's patience to end.
    turns: Semaphore,
    position: watch::Receiver<Seq>,
    category_followers: Arc<AtomicUsize>,
    next_id: AtomicU64,
    seats: Arc<Semaphore>,
    sockets_max: usize,
    stopping: AtomicBool,
    tasks: Vec<tokio::task::AbortHandle>,
    arbiter: ArbiterHandle,
}

/// The right to one socket; dropping it gives it back.
#[derive(Debug)]
pub struct Seat {
    _permit: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!("emporium_sockets").decrement(1.0);
    }
}

impl Feed {
    /// Starts the reader and the hub. Must be called within an actix system.
    ///
    /// # Errors
    /// When the log's position cannot be read.
    pub async fn start(
        database: Arc<Database>,
        listeners: Listeners,
        wake: Arc<Notify>,
        settings: FeedSettings,
    ) -> Result<Self, StoreError> {
        let pool = |size| database.dedicated(size).map_err(|_| StoreError::unavailable("feed"));
        let (reader_db, db) = (pool(3)?, pool(SNAPSHOT_CONNECTIONS)?);
        let client = reader_db.client("feed/get_bounds.sql").await?;
        let began = Instant::now();
        let (start, _) = store::bounds(&client).await?;
        drop(client);
        for listener in listeners.0.iter() {
            listener.on_read(start, began);
        }
        let arbiter = Arbiter::new();
        let actor = FeedActor::start_in_arbiter(&arbiter.handle(), |_| FeedActor::default());
        let (position, positions) = watch::channel(start);
        let category_followers = Arc::new(AtomicUsize::new(0));
        let sockets_max = settings.sockets_max.min(Semaphore::MAX_PERMITS);
        let tail = Arc::new(Tail {
            db: reader_db,
            node: format!("{:016x}", rand::random::<u64>()),
            listeners,
            hub: actor.clone(),
            own: wake,
            look: Notify::new(),
            pass_on: Notify::new(),
            category_followers: category_followers.clone(),
            settings,
        });
        let tasks = spawn_tasks(&database, &tail, start, position);
        Ok(Self {
            hub: Arc::new(Hub {
                actor,
                db,
                turns: Semaphore::new(SNAPSHOT_CONNECTIONS),
                position: positions,
                category_followers,
                next_id: AtomicU64::new(0),
                seats: Arc::new(Semaphore::new(sockets_max)),
                sockets_max,
                stopping: AtomicBool::new(false),
                tasks,
                arbiter: arbiter.handle(),
            }),
        })
    }

    /// How far this node has read the log; wakes on every advance. Closed once the feed is stopped.
    #[must_use]
    pub fn position(&self) -> watch::Receiver<Seq> {
        self.hub.position.clone()
    }

    /// A seat for one more socket; `None` when this node has as many as it serves, or is stopping.
    #[must_use]
    pub fn take_seat(&self) -> Option<Seat> {
        if self.hub.stopping.load(Ordering::Relaxed) {
            return None;
        }
        let permit = self.hub.seats.clone().try_acquire_owned().ok()?;
        metrics::gauge!("emporium_sockets").increment(1.0);
        Some(Seat { _permit: permit })
    }

    /// Sockets that are open on this node.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.hub.sockets_max - self.hub.seats.available_permits()
    }

    /// A feed of stock. With `since`, it goes on after that number.
    #[must_use]
    pub fn watch_stock(&self, selection: StockSelection, since: Option<Seq>) -> Subscription {
        let outbox = Outbox::for_stock(outbox::STOCK_MAX);
        self.subscribe(Selection::Stock(selection), outbox, None, since)
    }

    /// A feed of order events: of one's own, or, for staff, of all. With `since`, it goes on after
    /// that number. It ends when the session does, once it has [joined](Subscription::join); a session
    /// that ended before that is the caller's to notice, by checking the token once more after it.
    #[must_use]
    pub fn watch_orders(&self, principal: Principal, since: Option<Seq>) -> Subscription {
        let of = if principal.is_staff { OrderSelection::All } else { OrderSelection::Of(principal.user) };
        let outbox = Outbox::for_orders(outbox::ORDERS_MAX);
        self.subscribe(Selection::Orders(of), outbox, Some(principal), since)
    }

    fn subscribe(
        &self,
        selection: Selection,
        outbox: Outbox,
        principal: Option<Principal>,
        since: Option<Seq>,
    ) -> Subscription {
        let id = SubscriberId(self.hub.next_id.fetch_add(1, Ordering::Relaxed));
        Subscription::new(self.hub.clone(), id, outbox, selection, principal, since)
    }

    /// Stops the reader, closes every socket with 1001, and waits a little until they are closed.
    pub async fn stop(&self) {
        let hub = &self.hub;
        if hub.stopping.swap(true, Ordering::Relaxed) {
            return;
        }
        let _ = hub.actor.send(EndAll { ending: Ending::GoingAway, those_to_come: true }).await;
        let seats = u32::try_from(hub.sockets_max).unwrap_or(u32::MAX);
        if tokio::time::timeout(CLOSING_PATIENCE, hub.seats.acquire_many(seats)).await.is_err() {
            let open = hub.sockets_max - hub.seats.available_permits();
            tracing::warn!(open, "sockets did not close in time");
        }
        hub.tasks.iter().for_each(tokio::task::AbortHandle::abort);
        hub.arbiter.stop();
    }
}

impl Hub {
    /// A connection for a short read, in turn.
    async fn client(
        &self,
        query: &'static str,
    ) -> Result<(SemaphorePermit<'_>, deadpool_postgres::Object), StoreError> {
        let turn = self.turns.acquire().await.map_err(|_| StoreError::unavailable(query))?;
        Ok((turn, self.db.client(query).await?))
    }

    /// Waits until this node has read the log up to `seq`, and what it read is in the outboxes.
    async fn wait_for(&self, seq: Seq, patience: Duration) -> Result<(), StoreError> {
        let mut position = self.position.clone();
        let reached = tokio::time::timeout(patience, position.wait_for(|at| *at >= seq)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StoreError::timed_out("feed/read_events.sql")),
        }
    }
}

fn spawn_tasks(
    database: &Database,
    tail: &Arc<Tail>,
    start: Seq,
    position: watch::Sender<Seq>,
) -> Vec<tokio::task::AbortHandle> {
    let (config, tls) = database.config();
    let on = database.handle();
    vec![
        on.spawn(reader::follow(tail.clone(), start, position)).abort_handle(),
        on.spawn(reader::relay(tail.clone())).abort_handle(),
        on.spawn(reader::hint(tail.clone())).abort_handle(),
        on.spawn(reader::listen(tail.clone(), config, tls)).abort_handle(),
        on.spawn(reader::prune(tail.clone())).abort_handle(),
    ]
}
