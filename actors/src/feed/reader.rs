//! The tasks that follow the log.
//!
//! The reader tails the table by number, so nothing that wakes it matters for correctness: not the
//! hints of this node's own commits, not those of other nodes, which come by `LISTEN`, and not the
//! poll. They decide only how soon it looks. All tasks run on the database's threads.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::Addr;
use deadpool_postgres::Object;
use tokio::sync::{Notify, watch};
use tokio_postgres::{AsyncMessage, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::messages::{Deliver, EndAll};
use super::outbox::Ending;
use super::{Event, FeedActor, FeedSettings, Listeners, store};
use crate::db::{Db, StoreError};
use crate::idempotency;
use crate::types::Seq;

/// What the reader rests between two reads, in times of what the last one took, so that in a rush it
/// reads larger pages and not more of them; and the bounds of that.
const REST_PER_READ: u32 = 4;
const REST_MIN: Duration = Duration::from_millis(2);
const REST_MAX: Duration = Duration::from_millis(20);
/// The least time between two hints to other nodes.
const HINT_INTERVAL: Duration = Duration::from_millis(20);
/// A reader that comes back after so long looks whether events were removed meanwhile; less than the
/// shortest time that they are kept.
const AWAY: Duration = Duration::from_secs(30);
/// The longest that one read of the log may take before its connection is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause after failures.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often what is past its time is removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// The most statements that one round of pruning takes; the rest waits for the next round.
const PRUNE_ROUNDS: usize = 500;

/// What the tasks share.
pub(super) struct Tail {
    pub(super) db: Db,
    /// Tells this process's hints from others'.
    pub(super) node: String,
    pub(super) listeners: Listeners,
    pub(super) hub: Addr<FeedActor>,
    /// Rung after own commits.
    pub(super) own: Arc<Notify>,
    /// Rung when the reader should look.
    pub(super) look: Notify,
    /// Rung when other nodes should be told to look.
    pub(super) pass_on: Notify,
    /// How many sockets follow categories.
    pub(super) category_followers: Arc<AtomicUsize>,
    pub(super) settings: FeedSettings,
}

/// Reads the log for ever, from `start` on.
pub(super) async fn follow(tail: Arc<Tail>, start: Seq, position: watch::Sender<Seq>) {
    let mut last = start;
    let mut failures = 0;
    let mut read_at = Instant::now();
    loop {
        let began = Instant::now();
        match read_page(&tail, last, read_at.elapsed() > AWAY).await {
            Ok((next, is_full)) => {
                failures = 0;
                last = next;
                read_at = began;
                position.send_if_modified(|seq| std::mem::replace(seq, next) != next);
                if is_full {
                    continue;
                }
            }
            Err(error) => {
                failures += 1;
                warn_of(failures, &error, "cannot read the event log");
                tokio::time::sleep(backoff(failures)).await;
                continue;
            }
        }
        // After a quiet time, the first hint is followed at once.
        tokio::time::sleep(began.elapsed().saturating_mul(REST_PER_READ).clamp(REST_MIN, REST_MAX)).await;
        tokio::select! {
            () = tail.look.notified() => {}
            () = tokio::time::sleep(tail.settings.poll_interval) => {}
        }
    }
}

/// Reads one page and has everybody told of it: the listeners, then the sockets.
async fn read_page(tail: &Tail, last: Seq, was_away: bool) -> Result<(Seq, bool), StoreError> {
    const NAME: &str = "feed/read_events.sql";
    let client = tail.db.client(NAME).await?;
    let began = Instant::now();
    let work = async {
        let oldest = if was_away { Some(store::bounds(&client).await?.1) } else { None };
        let page = store::read(&client, last).await?;
        let gap = oldest.max(page.first).map(|oldest| Seq(oldest.0 - 1)).filter(|gap| *gap > last);
        // After the page, so that a category's follower who is too late for this is in time for its
        // own snapshot to show the page.
        let categories = match tail.category_followers.load(Ordering::SeqCst) {
            0 => HashMap::new(),
            _ => store::categories_of(&client, &products_of(&page.events)).await?,
        };
        Ok((page, categories, gap))
    };
    let result = tokio::time::timeout(READ_TIMEOUT, work).await;
    let (page, categories, gap) = match result.unwrap_or_else(|_| Err(StoreError::timed_out(NAME))) {
        Ok(read) => read,
        Err(error) => {
            // Whatever is wrong with this connection must not meet the next read.
            drop(Object::take(client));
            return Err(error);
        }
    };
    drop(client);
    let next = page.last.or(gap).unwrap_or(last);
    if gap.is_some() {
        report_gap(tail, next).await;
    }
    for listener in tail.listeners.0.iter() {
        for event in &page.events {
            listener.on_event(event.seq, &event.kind);
        }
        if !page.is_full {
            listener.on_read(next, began);
        }
    }
    if page.last.is_some() {
        metrics::gauge!("emporium_feed_position").set(next.0 as f64);
        metrics::counter!("emporium_feed_events_total").increment(page.events.len() as u64);
        metrics::histogram!("emporium_feed_delay_seconds").record(page.delay.as_secs_f64());
        // An error would mean that the hub is gone, and its sockets with it.
        let _ = tail.hub.send(Deliver { events: page.events, categories }).await;
    }
    Ok((next, page.is_full))
}

/// This node was away from the database for longer than events are kept. Sockets cannot be told what
/// happened meanwhile; when they come again, a resume starts afresh.
async fn report_gap(tail: &Tail, seq: Seq) {
    tracing::error!("events were removed before this node had read them; feeds and caches start afresh");
    tail.listeners.0.iter().for_each(|listener| listener.on_gap(seq));
    let _ = tail.hub.send(EndAll { ending: Ending::Unavailable, those_to_come: false }).await;
}

fn products_of(events: &[Event]) -> Vec<i64> {
    let mut products: Vec<i64> =
        events.iter().filter_map(|event| event.kind.shelf()).map(|product| product.0).collect();
    products.sort_unstable();
    products.dedup();
    products
}

/// Passes each hint of an own commit on: to the reader at once, to the other nodes soon.
pub(super) async fn relay(tail: Arc<Tail>) {
    loop {
        tail.own.notified().await;
        tail.look.notify_one();
        tail.pass_on.notify_one();
    }
}

/// Hints to the other nodes, one statement at a time, outside of every other transaction. A failure
/// costs the others a poll interval.
pub(super) async fn hint(tail: Arc<Tail>) {
    const NAME: &str = "feed/notify_readers.sql";
    loop {
        tail.pass_on.notified().await;
        let work = async {
            let client = tail.db.client(NAME).await?;
            store::notify(&client, &tail.node).await
        };
        let result = tokio::time::timeout(READ_TIMEOUT, work).await;
        if let Err(error) = result.unwrap_or_else(|_| Err(StoreError::timed_out(NAME))) {
            tracing::debug!(%error, "cannot hint to the other nodes");
        }
        tokio::time::sleep(HINT_INTERVAL).await;
    }
}

/// Keeps a connection that hears other nodes' hints.
pub(super) async fn listen(tail: Arc<Tail>, config: Config, tls: MakeRustlsConnect) {
    let mut failures = 0;
    loop {
        let heard = listen_until_broken(&tail, &config, tls.clone(), &mut failures).await;
        failures += 1;
        if let Err(error) = heard {
            warn_of(failures, &error, "cannot hear other nodes' hints; polling instead");
        }
        tokio::time::sleep(backoff(failures)).await;
    }
}

async fn listen_until_broken(
    tail: &Tail,
    config: &Config,
    tls: MakeRustlsConnect,
    failures: &mut u32,
) -> Result<(), StoreError> {
    const NAME: &str = "feed/listen.sql";
    let connected = config.connect(tls).await.map_err(|error| StoreError::new(NAME, error));
    let (client, mut connection) = connected?;
    let hear = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message.map_err(|error| StoreError::new(NAME, error))? {
                AsyncMessage::Notification(hint) if hint.payload() != tail.node => tail.look.notify_one(),
                _ => {}
            }
        }
        Ok(())
    };
    let ask = async {
        store::listen(&client).await?;
        *failures = 0;
        // What was hinted before this connection listened was not heard.
        tail.look.notify_one();
        std::future::pending::<Result<(), StoreError>>().await
    };
    tokio::select! {
        heard = hear => heard,
        failed = ask => failed,
    }
}

/// Removes events and idempotency answers that are past their time, a bounded number at a time.
pub(super) async fn prune(tail: Arc<Tail>) {
    loop {
        // Not all nodes at the same moment, and not at the start, which has other things to do.
        tokio::time::sleep(PRUNE_INTERVAL.mul_f64(rand::random_range(0.75..1.25))).await;
        if let Err(error) = prune_once(&tail).await {
            tracing::warn!(%error, "cannot remove old events");
        }
    }
}

async fn prune_once(tail: &Tail) -> Result<(), StoreError> {
    const NAME: &str = "feed/prune_events.sql";
    for _ in 0..PRUNE_ROUNDS {
        let client = tail.db.client(NAME).await?;
        if !store::prune(&client, tail.settings.retention).await? {
            break;
        }
    }
    for _ in 0..PRUNE_ROUNDS {
        let client = tail.db.client(NAME).await?;
        if idempotency::store::prune(&client).await? == 0 {
            break;
        }
    }
    Ok(())
}

fn backoff(failures: u32) -> Duration {
    let doubled = Duration::from_millis(50).saturating_mul(1 << failures.min(10));
    doubled.min(BACKOFF_MAX).mul_f64(rand::random_range(0.5..1.0))
}

/// The first failure of a row, and then now and again.
fn warn_of(failures: u32, error: &StoreError, what: &str) {
    if failures == 1 || failures.is_multiple_of(20) {
        tracing::warn!(%error, failures, "{what}");
    }
}
