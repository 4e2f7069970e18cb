//! The nodes' table.

use std::time::Duration;

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::{Figures, NodeReport, SILENT_MAX, millis};
use crate::db::{StoreError, queries};
use crate::types::{Seq, Timestamp};

queries! {
    BEAT = "nodes/beat.sql";
    LEAVE = "nodes/leave.sql";
    PRUNE_NODES = "nodes/prune_nodes.sql";
}

/// The name of the heartbeat's statement.
pub(super) const BEAT_NAME: &str = BEAT.name;
/// The most other nodes that are told of.
const OTHERS_MAX: i64 = 1000;
/// A node that has been silent for so long is removed.
const GONE_AFTER: Duration = Duration::from_mins(1);

/// Writes how this node fares, and reads how the others do.
pub(super) async fn beat(
    client: &impl GenericClient,
    node: &NodeReport,
) -> Result<Vec<NodeReport>, StoreError> {
    let Figures {
        queue,
        window_s,
        orders,
        batches,
        batch_size_mean,
        batch_size_max,
        commit_p50_us,
        commit_p99_us,
        sockets,
        position,
    } = &node.figures;
    let rows = BEAT
        .rows(
            client,
            &[
                &node.id,
                &node.name,
                &node.version,
                &node.started_at.0,
                queue,
                window_s,
                orders,
                batches,
                batch_size_mean,
                batch_size_max,
                commit_p50_us,
                commit_p99_us,
                sockets,
                &position.0,
                &millis(SILENT_MAX),
                &OTHERS_MAX,
            ],
        )
        .await?;
    Ok(rows.iter().map(node_of).collect())
}

/// Takes this node off the list.
pub(super) async fn leave(client: &impl GenericClient, id: &str) -> Result<(), StoreError> {
    LEAVE.execute(client, &[&id]).await?;
    Ok(())
}

/// Removes nodes that went without a word.
pub(super) async fn prune(client: &impl GenericClient) -> Result<(), StoreError> {
    PRUNE_NODES.execute(client, &[&millis(GONE_AFTER), &OTHERS_MAX]).await?;
    Ok(())
}

fn node_of(row: &Row) -> NodeReport {
    NodeReport {
        id: row.get(0),
        name: row.get(1),
        version: row.get(2),
        started_at: Timestamp(row.get(3)),
        age_ms: row.get(4),
        is_self: false,
        figures: Figures {
            queue: row.get(5),
            window_s: row.get(6),
            orders: row.get(7),
            batches: row.get(8),
            batch_size_mean: row.get(9),
            batch_size_max: row.get(10),
            commit_p50_us: row.get(11),
            commit_p99_us: row.get(12),
            sockets: row.get(13),
            position: Seq(row.get(14)),
        },
    }
}
