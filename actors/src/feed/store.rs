//! The event log's table.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::frame::Shelf;
use super::{Event, EventKind, OrderEvent, OrderStatus};
use crate::db::{StoreError, queries};
use crate::types::{CategoryId, Money, OrderId, ProductId, Seq, SessionId, Timestamp, UserId};

queries! {
    APPEND_EVENTS = "feed/append_events.sql";
    GET_BOUNDS = "feed/get_bounds.sql";
    HAS_MORE_ORDERS = "feed/has_more_orders.sql";
    LIST_CATEGORIES_BY_PRODUCT = "feed/list_categories_by_product.sql";
    LIST_ORDER_EVENTS = "feed/list_order_events.sql";
    LIST_ORDER_EVENTS_BY_USER = "feed/list_order_events_by_user.sql";
    LIST_STOCK_BY_CATEGORY = "feed/list_stock_by_category.sql";
    LIST_STOCK_BY_PRODUCT = "feed/list_stock_by_product.sql";
    LIST_STOCK_CHANGES = "feed/list_stock_changes.sql";
    LIST_STOCK_CHANGES_BY_CATEGORY = "feed/list_stock_changes_by_category.sql";
    LIST_STOCK_CHANGES_BY_PRODUCT = "feed/list_stock_changes_by_product.sql";
    LISTEN = "feed/listen.sql";
    NOTIFY_READERS = "feed/notify_readers.sql";
    PRUNE_EVENTS = "feed/prune_events.sql";
    READ_EVENTS = "feed/read_events.sql";
    SCAN_ORDER_EVENTS_BY_USER = "feed/scan_order_events_by_user.sql";
}

/// Rows of a page of a resume or of a snapshot; a page with fewer is the last.
pub(super) const PAGE_ROWS: usize = 1000;
/// Records, of at most a thousand events each, of a page of the log; a page with fewer is the last.
const PAGE_RECORDS: i64 = 32;
/// How many events one statement of a resume looks through: for those of all users, of which more than a page
/// would be read again for the next, and for those of one.
const STRETCH_OF_ALL: i64 = 2_000;
const STRETCH_OF_ONE: i64 = 50_000;
/// A user with more orders than these has some in most stretches of the log; of others, the orders are
/// looked up one by one.
const FEW_ORDERS: i64 = 2_000;
/// Records of events that one pruning statement removes.
const PRUNE_RECORDS: u64 = 1_000;

/// Events as the table has them, one vector per column.
#[derive(Default)]
struct Columns<'a> {
    kinds: Vec<&'a str>,
    subjects: Vec<i64>,
    users: Vec<Option<i64>>,
    stocks: Vec<Option<i64>>,
    prices: Vec<Option<i64>>,
    events: Vec<Option<&'a str>>,
    statuses: Vec<Option<&'a str>>,
    totals: Vec<Option<i64>>,
}

/// An event's place in each of them.
struct Element<'a> {
    kind: &'a str,
    subject: i64,
    user: Option<i64>,
    stock: Option<i64>,
    price: Option<i64>,
    event: Option<&'a str>,
    status: Option<&'a str>,
    total: Option<i64>,
}

impl Columns<'static> {
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

impl<'a> Columns<'a> {
    /// From the columns of a record, `kinds` at `first`.
    fn of(record: &'a Row, first: usize) -> Self {
        Self {
            kinds: record.get(first),
            subjects: record.get(first + 1),
            users: record.get(first + 2),
            stocks: record.get(first + 3),
            prices: record.get(first + 4),
            events: record.get(first + 5),
            statuses: record.get(first + 6),
            totals: record.get(first + 7),
        }
    }

    /// `None` behind the last.
    fn element(&self, place: usize) -> Option<Element<'a>> {
        fn optional<T: Copy>(column: &[Option<T>], place: usize) -> Option<T> {
            column.get(place).copied().flatten()
        }
        Some(Element {
            kind: self.kinds.get(place)?,
            subject: *self.subjects.get(place)?,
            user: optional(&self.users, place),
            stock: optional(&self.stocks, place),
            price: optional(&self.prices, place),
            event: optional(&self.events, place),
            status: optional(&self.statuses, place),
            total: optional(&self.totals, place),
        })
    }
}

impl<'a> Element<'a> {
    /// From `kind, subject, user_id, stock, price_cents, event, status, total_cents`, the kind at `first`.
    fn of(row: &'a Row, first: usize) -> Self {
        Self {
            kind: row.get(first),
            subject: row.get(first + 1),
            user: row.get(first + 2),
            stock: row.get(first + 3),
            price: row.get(first + 4),
            event: row.get(first + 5),
            status: row.get(first + 6),
            total: row.get(first + 7),
        }
    }

    /// `None` for a kind that this binary does not know; a newer node may write others.
    fn event_kind(&self) -> Option<EventKind> {
        let subject = self.subject;
        Some(match self.kind {
            "stock" => EventKind::Stock {
                product: ProductId(subject),
                stock: self.stock?,
                price: Money::from_cents(self.price?),
            },
            "product" => EventKind::Product { product: ProductId(subject) },
            "removed" => EventKind::Removed { product: ProductId(subject) },
            "category" => EventKind::Category { category: CategoryId(subject) },
            "order" => EventKind::Order {
                order: OrderId(subject),
                user: UserId(self.user?),
                event: OrderEvent::from_name(self.event?)?,
                status: OrderStatus::from_name(self.status?)?,
                total: Money::from_cents(self.total?),
            },
            "session" => EventKind::Session { session: SessionId(subject), user: UserId(self.user?) },
            "user" => EventKind::User { user: UserId(subject) },
            _ => return None,
        })
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

/// The next events of the log.
pub(super) struct LogPage {
    /// Those of kinds that this binary knows; a newer node may write others.
    pub(super) events: Vec<Event>,
    /// The numbers of the first and the last event, known or not; `None` when there was none.
    pub(super) first: Option<Seq>,
    pub(super) last: Option<Seq>,
    /// How long ago the transaction of the last event began.
    pub(super) delay: Duration,
    /// Whether more may follow at once.
    pub(super) is_full: bool,
}

/// Reads on after `after`.
pub(super) async fn read(client: &impl GenericClient, after: Seq) -> Result<LogPage, StoreError> {
    let rows = READ_EVENTS.rows(client, &[&after.0, &PAGE_RECORDS]).await?;
    Ok(LogPage {
        events: rows.iter().flat_map(|record| events_after(after, record)).collect(),
        first: rows.first().map(|record| Seq(record.get::<_, i64>(0).max(after.0 + 1))),
        last: rows.last().map(|record| Seq(record.get(1))),
        delay: rows.last().map_or(Duration::ZERO, |record| {
            Duration::from_micros(u64::try_from(record.get::<_, i64>(3)).unwrap_or_default())
        }),
        is_full: rows.len() as i64 == PAGE_RECORDS,
    })
}

/// What a record holds after `after`.
fn events_after(after: Seq, record: &Row) -> impl Iterator<Item = Event> {
    let (first, last): (i64, i64) = (record.get(0), record.get(1));
    let at = Timestamp(record.get(2));
    let columns = Columns::of(record, 4);
    (first.max(after.0 + 1)..=last).filter_map(move |seq| {
        let place = usize::try_from(seq - first).ok()?;
        Some(Event { seq: Seq(seq), at, kind: columns.element(place)?.event_kind()? })
    })
}

/// The number of the last event, and of the oldest one kept.
pub(crate) async fn bounds(client: &impl GenericClient) -> Result<(Seq, Seq), StoreError> {
    let row = GET_BOUNDS.opt(client, &[]).await?;
    Ok(row.map_or((Seq(0), Seq(1)), |row| (Seq(row.get(0)), Seq(row.get(1)))))
}

/// Part of what a resuming socket missed, and up to where that goes.
pub(super) struct Missed {
    pub(super) events: Vec<Event>,
    pub(super) through: Seq,
}

/// The order events after `after` and up to `through`, a page of them; all users' without a `user`.
pub(super) async fn order_events(
    client: &impl GenericClient,
    after: Seq,
    through: Seq,
    user: Option<UserId>,
) -> Result<Missed, StoreError> {
    let limit = PAGE_ROWS as i64;
    let stretch = |events| through.min(Seq(after.0.saturating_add(events)));
    let Some(user) = user else {
        let searched = stretch(STRETCH_OF_ALL);
        let rows = LIST_ORDER_EVENTS.rows(client, &[&after.0, &searched.0, &limit]).await?;
        return Ok(missed(&rows, searched));
    };
    let has_more = HAS_MORE_ORDERS.opt(client, &[&user.0, &FEW_ORDERS]).await?;
    let (statement, searched) = match has_more.is_some_and(|row| row.get(0)) {
        true => (&SCAN_ORDER_EVENTS_BY_USER, stretch(STRETCH_OF_ONE)),
        false => (&LIST_ORDER_EVENTS_BY_USER, through),
    };
    let rows = statement.rows(client, &[&after.0, &searched.0, &limit, &user.0]).await?;
    Ok(missed(&rows, searched))
}

/// Whose stock.
pub(super) enum StockOf<'a> {
    Every,
    Products(&'a [ProductId]),
    Categories(&'a [CategoryId]),
}

/// The last stock event of each product that has one after `after` and up to `through`, a page of them.
pub(super) async fn stock_changes(
    client: &impl GenericClient,
    after: Seq,
    through: Seq,
    of: StockOf<'_>,
) -> Result<Missed, StoreError> {
    let limit = PAGE_ROWS as i64;
    let rows = match of {
        StockOf::Every => LIST_STOCK_CHANGES.rows(client, &[&after.0, &through.0, &limit]).await?,
        StockOf::Products(products) => {
            let ids: Vec<i64> = products.iter().map(|id| id.0).collect();
            LIST_STOCK_CHANGES_BY_PRODUCT.rows(client, &[&after.0, &through.0, &limit, &ids]).await?
        }
        StockOf::Categories(categories) => {
            let ids: Vec<i64> = categories.iter().map(|id| id.0).collect();
            LIST_STOCK_CHANGES_BY_CATEGORY.rows(client, &[&after.0, &through.0, &limit, &ids]).await?
        }
    };
    Ok(missed(&rows, through))
}

fn missed(rows: &[Row], searched: Seq) -> Missed {
    let last = rows.last().filter(|_| rows.len() == PAGE_ROWS).map(|row| Seq(row.get(0)));
    Missed { events: rows.iter().filter_map(event_of).collect(), through: last.unwrap_or(searched) }
}

/// Products of a snapshot, or of a page of it.
pub(super) struct Shelves {
    /// They stand as after this event.
    pub(super) seq: Seq,
    pub(super) list: Vec<Shelf>,
    /// Whether others follow.
    pub(super) has_more: bool,
}

/// These products as they stood after the event that is returned with them.
pub(super) async fn shelves_of_products(
    client: &impl GenericClient,
    products: &[ProductId],
) -> Result<Shelves, StoreError> {
    let ids: Vec<i64> = products.iter().map(|id| id.0).collect();
    Ok(shelves(&LIST_STOCK_BY_PRODUCT.rows(client, &[&ids]).await?, usize::MAX))
}

/// A page of these categories' products.
pub(super) async fn shelves_of_categories(
    client: &impl GenericClient,
    categories: &[CategoryId],
    after: ProductId,
) -> Result<Shelves, StoreError> {
    let ids: Vec<i64> = categories.iter().map(|id| id.0).collect();
    // One more than is shown, to know whether there are more.
    let limit = PAGE_ROWS as i64 + 1;
    Ok(shelves(&LIST_STOCK_BY_CATEGORY.rows(client, &[&ids, &after.0, &limit]).await?, PAGE_ROWS))
}

fn shelves(rows: &[Row], most: usize) -> Shelves {
    let seq = rows.first().map_or(Seq(0), |row| Seq(row.get(0)));
    let shelf = |row: &Row| {
        let product = ProductId(row.get::<_, Option<i64>>(1)?);
        Some(Shelf { product, stock: row.get(2), price: Money::from_cents(row.get(3)) })
    };
    Shelves { seq, list: rows.iter().take(most).filter_map(shelf).collect(), has_more: rows.len() > most }
}

/// The categories of products.
pub(super) async fn categories_of(
    client: &impl GenericClient,
    products: &[i64],
) -> Result<HashMap<ProductId, CategoryId>, StoreError> {
    let rows = LIST_CATEGORIES_BY_PRODUCT.rows(client, &[&products]).await?;
    Ok(rows.iter().map(|row| (ProductId(row.get(0)), CategoryId(row.get(1)))).collect())
}

/// Asks for hints on this connection; they then come as notifications.
pub(super) async fn listen(client: &tokio_postgres::Client) -> Result<(), StoreError> {
    client.execute(LISTEN.sql, &[]).await.map_err(|error| StoreError::new(LISTEN.name, error))?;
    Ok(())
}

/// Hints to every node to read the log.
pub(super) async fn notify(client: &impl GenericClient, from: &str) -> Result<(), StoreError> {
    NOTIFY_READERS.rows(client, &[&from]).await?;
    Ok(())
}

/// Removes a bounded number of the events older than `retention`; says whether there may be more.
pub(super) async fn prune(client: &impl GenericClient, retention: Duration) -> Result<bool, StoreError> {
    let seconds = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
    let removed = PRUNE_EVENTS.execute(client, &[&(PRUNE_RECORDS as i64), &seconds]).await?;
    Ok(removed == PRUNE_RECORDS)
}

fn event_of(row: &Row) -> Option<Event> {
    Some(Event { seq: Seq(row.get(0)), at: Timestamp(row.get(1)), kind: Element::of(row, 2).event_kind()? })
}
