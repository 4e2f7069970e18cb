//! The event log's table.

use deadpool_postgres::GenericClient;

use super::EventKind;
use crate::db::{StoreError, queries};
use crate::types::Seq;

queries! {
    APPEND_EVENTS = "feed/append_events.sql";
}

/// The columns of events to be written, one vector per column.
#[derive(Default)]
struct Columns {
    kinds: Vec<&'static str>,
    subjects: Vec<i64>,
    users: Vec<Option<i64>>,
    stocks: Vec<Option<i64>>,
    prices: Vec<Option<i64>>,
    events: Vec<Option<&'static str>>,
    statuses: Vec<Option<&'static str>>,
    totals: Vec<Option<i64>>,
}

impl Columns {
    fn push(&mut self, kind: &EventKind) {
        let (name, subject) = match kind {
            EventKind::Stock { product, .. } => ("stock", product.0),
            EventKind::Product { product } => ("product", product.0),
            EventKind::Removed { product } => ("removed", product.0),
            EventKind::Category { category } => ("category", category.0),
            EventKind::Order { order, .. } => ("order", order.0),
            EventKind::Session { session, .. } => ("session", session.0),
            EventKind::User { user } => ("user", user.0),
        };
        let (mut user_id, mut stock_and_price, mut order_columns) = (None, None, None);
        match kind {
            EventKind::Stock { stock, price, .. } => stock_and_price = Some((*stock, price.cents())),
            EventKind::Order { user, event, status, total, .. } => {
                user_id = Some(user.0);
                order_columns = Some((event.as_str(), status.as_str(), total.cents()));
            }
            EventKind::Session { user, .. } => user_id = Some(user.0),
            _ => {}
        }
        self.kinds.push(name);
        self.subjects.push(subject);
        self.users.push(user_id);
        self.stocks.push(stock_and_price.map(|(stock, _)| stock));
        self.prices.push(stock_and_price.map(|(_, price)| price));
        self.events.push(order_columns.map(|(event, _, _)| event));
        self.statuses.push(order_columns.map(|(_, status, _)| status));
        self.totals.push(order_columns.map(|(_, _, total)| total));
    }
}

/// Writes events in the caller's transaction, as its last statement before COMMIT, and returns the
/// number of the last one.
pub(crate) async fn append(client: &impl GenericClient, kinds: &[EventKind]) -> Result<Seq, StoreError> {
    let mut columns = Columns::default();
    for kind in kinds {
        columns.push(kind);
    }
    let Columns { kinds, subjects, users, stocks, prices, events, statuses, totals } = columns;
    let row = APPEND_EVENTS
        .opt(client, &[&kinds, &subjects, &users, &stocks, &prices, &events, &statuses, &totals])
        .await?;
    Ok(Seq(row.map_or(0, |row| row.get(0))))
}
