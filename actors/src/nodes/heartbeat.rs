//! The heartbeat: a task on the database's threads, for as long as the node is open.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio::time::MissedTickBehavior;

use super::pulse::Recent;
use super::{Figures, Node, store};
use crate::db::StoreError;

/// How often a node looks at itself, and tells of it.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the telling may take before its connection is given up.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nodes that went without a word are looked for once in so many heartbeats.
const PRUNE_EVERY: u64 = 30;

/// Beats for ever: counts each second, whether or not there is a database to tell.
pub(super) async fn beat(node: Arc<Node>) {
    tokio::join!(count(&node), tell(&node));
}

async fn count(node: &Node) -> Infallible {
    let mut recent = Recent::default();
    loop {
        let figures = Figures {
            sockets: i64::try_from(node.feed.sockets()).unwrap_or(i64::MAX),
            position: *node.feed.position().borrow(),
            ..recent.figures()
        };
        node.take(figures);
        tokio::time::sleep(INTERVAL).await;
        recent.push(node.pulse.take());
    }
}

/// Tells the others, and hears of them. A database that is away is tried again every second, and spoken
/// of once.
async fn tell(node: &Node) -> Infallible {
    let mut is_failing = false;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beats = 0_u64;
    loop {
        ticks.tick().await;
        match tell_once(node, beats.is_multiple_of(PRUNE_EVERY)).await {
            Ok(()) => is_failing = false,
            Err(error) if !is_failing => {
                tracing::warn!(%error, "the other nodes cannot be told how this one fares");
                is_failing = true;
            }
            Err(_) => {}
        }
        beats += 1;
    }
}

async fn tell_once(node: &Node, is_to_prune: bool) -> Result<(), StoreError> {
    let Some(report) = node.report() else { return Ok(()) };
    let client = node.db.client(store::BEAT_NAME).await?;
    let work = async {
        let others = store::beat(&client, &report).await?;
        if is_to_prune {
            store::prune(&client).await?;
        }
        Ok(others)
    };
    let result = tokio::time::timeout(PATIENCE, work).await;
    match result.unwrap_or_else(|_| Err(StoreError::timed_out(store::BEAT_NAME))) {
        Ok(others) => {
            let mut known = node.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.others = others;
            known.read_at = Instant::now();
            Ok(())
        }
        Err(error) => {
            // Whatever is wrong with this connection must not meet the next heartbeat.
            drop(Object::take(client));
            Err(error)
        }
    }
}
