//! The mailer's place in the event log, what its letters tell, and the links that it mails.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;

use super::letter::{Confirmation, Line};
use crate::db::{StoreError, queries};
use crate::types::{Money, OrderId, Seq, Timestamp};

queries! {
    ADVANCE_CURSOR = "mailer/advance_cursor.sql";
    CLAIM_RESET_REQUESTS = "mailer/claim_reset_requests.sql";
    DROP_LEASE = "mailer/drop_lease.sql";
    FINISH_RESET_REQUEST = "mailer/finish_reset_request.sql";
    INSERT_RESET = "mailer/insert_reset.sql";
    LIST_ORDER_ITEMS_BY_ORDER = "mailer/list_order_items_by_order.sql";
    LIST_PLACED_ORDERS = "mailer/list_placed_orders.sql";
    POSTPONE_RESET_REQUEST = "mailer/postpone_reset_request.sql";
    TAKE_LEASE = "mailer/take_lease.sql";
}

/// Takes or renews the lease: how far the mailer has come, or `None` where another node has it.
pub(super) async fn take_lease(client: &impl GenericClient, node: &str) -> Result<Option<Seq>, StoreError> {
    Ok(TAKE_LEASE.opt(client, &[&node]).await?.map(|row| Seq(row.get(0))))
}

/// Gives the lease up.
pub(super) async fn drop_lease(client: &impl GenericClient, node: &str) -> Result<(), StoreError> {
    DROP_LEASE.execute(client, &[&node]).await?;
    Ok(())
}

/// Notes that everything up to `seq` is done; `false` where the lease is another node's by now.
pub(super) async fn advance(client: &impl GenericClient, node: &str, seq: Seq) -> Result<bool, StoreError> {
    Ok(ADVANCE_CURSOR.execute(client, &[&node, &seq.0]).await? > 0)
}

/// The next orders to confirm, at most `limit`, each with the number of its event.
pub(super) async fn placed_orders(
    client: &impl GenericClient,
    after: Seq,
    through: Seq,
    limit: i64,
) -> Result<Vec<(Seq, Confirmation)>, StoreError> {
    let rows = LIST_PLACED_ORDERS.rows(client, &[&after.0, &through.0, &limit]).await?;
    if rows.is_empty() {
        return Ok(vec![]);
    }
    let orders: Vec<i64> = rows.iter().map(|row| row.get(1)).collect();
    let mut lines: HashMap<i64, Vec<Line>> = HashMap::new();
    for row in LIST_ORDER_ITEMS_BY_ORDER.rows(client, &[&orders]).await? {
        let price = Money::from_cents(row.get(3));
        lines.entry(row.get(0)).or_default().push(Line { name: row.get(1), quantity: row.get(2), price });
    }
    let confirmation = |row: &tokio_postgres::Row| {
        let order: i64 = row.get(1);
        let confirmation = Confirmation {
            order: OrderId(order),
            username: row.get(2),
            email: row.get(3),
            lines: lines.remove(&order).unwrap_or_default(),
            total: Money::from_cents(row.get(4)),
            placed_at: Timestamp(row.get(5)),
            expires_at: Timestamp(row.get(6)),
        };
        (Seq(row.get(0)), confirmation)
    };
    Ok(rows.iter().map(confirmation).collect())
}

/// Takes at most `limit` requests for a link, for a minute: the addresses.
pub(super) async fn claim_reset_requests(
    client: &impl GenericClient,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let rows = CLAIM_RESET_REQUESTS.rows(client, &[&limit]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Opens a link for the account that has an address, unless `open_max` are open: username and
/// address, or `None` where there is nothing to be mailed.
pub(super) async fn insert_reset(
    client: &impl GenericClient,
    email: &str,
    token_hash: &[u8],
    open_max: i64,
) -> Result<Option<(String, String)>, StoreError> {
    let row = INSERT_RESET.opt(client, &[&email, &token_hash, &open_max]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// Forgets a request that has been dealt with, unless it was made again meanwhile.
pub(super) async fn finish_reset_request(client: &impl GenericClient, email: &str) -> Result<(), StoreError> {
    FINISH_RESET_REQUEST.execute(client, &[&email]).await?;
    Ok(())
}

/// Gives a request back, and closes the link that could not be mailed.
pub(super) async fn postpone_reset_request(
    client: &impl GenericClient,
    email: &str,
    token_hash: &[u8],
) -> Result<(), StoreError> {
    POSTPONE_RESET_REQUEST.execute(client, &[&email, &token_hash]).await?;
    Ok(())
}
