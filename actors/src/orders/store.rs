//! Reading orders. Writing them is the inventory's, since it is one transaction with their stock.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_postgres::GenericClient;
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{HistoryEntry, Order, OrderCursor, OrderEvent, OrderItem, OrderStatus};
use crate::db::{Db, Query, StoreError, queries};
use crate::types::{Money, OrderId, Page, PageRequest, ProductId, Timestamp, UserId};

queries! {
    GET_ORDER = "orders/get_order.sql";
    LIST_ORDER_LINES = "orders/list_order_lines.sql";
    LIST_ORDERS = "orders/list_orders.sql";
    LIST_ORDERS_AS_PLACED = "orders/list_orders_as_placed.sql";
    LIST_ORDERS_BY_USER = "orders/list_orders_by_user.sql";
    LIST_ORDERS_BY_STATUS = "orders/list_orders_by_status.sql";
    LIST_ORDERS_BY_USER_AND_STATUS = "orders/list_orders_by_user_and_status.sql";
    LIST_MOVES = "orders/list_moves.sql";
    LIST_EXPIRED_HOLDS = "orders/list_expired_holds.sql";
}

/// An order with its lines; `None` when there is none of that id.
pub(crate) async fn get_order(db: &Db, id: OrderId) -> Result<Option<Order>, StoreError> {
    let client = db.client(GET_ORDER.name).await?;
    let order = GET_ORDER.opt(&client, &[&id.0]).await?;
    let lines = LIST_ORDER_LINES.rows(&client, &[&vec![id.0]]).await?;
    Ok(with_lines(order.into_iter().collect(), lines).pop())
}

/// Orders as they were when they were placed, in no particular order.
pub(crate) async fn list_orders_as_placed(
    client: &impl GenericClient,
    ids: &[i64],
) -> Result<Vec<Order>, StoreError> {
    let orders = LIST_ORDERS_AS_PLACED.rows(client, &[&ids]).await?;
    let lines = LIST_ORDER_LINES.rows(client, &[&ids]).await?;
    Ok(with_lines(orders, lines))
}

/// A page of orders, newest first.
pub(crate) async fn list_orders(
    db: &Db,
    user: Option<UserId>,
    status: Option<OrderStatus>,
    page: &PageRequest<OrderCursor>,
) -> Result<Page<Order, OrderCursor>, StoreError> {
    let client = db.client(LIST_ORDERS.name).await?;
    // Later than any order there can be.
    let end = OrderCursor {
        created_at: Timestamp(time::macros::datetime!(9999-12-31 0:00 UTC)),
        id: OrderId(i64::MAX),
    };
    let after = page.after.unwrap_or(end);
    // One row more than asked for tells whether there is a next page.
    let rows = i64::try_from(page.size).unwrap_or(i64::MAX).saturating_add(1);
    let (user, status) = (user.map(|user| user.0), status.map(OrderStatus::as_str));
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&after.created_at.0, &after.id.0, &rows];
    let query: &Query = match (&user, &status) {
        (None, None) => &LIST_ORDERS,
        (Some(_), None) => &LIST_ORDERS_BY_USER,
        (None, Some(_)) => &LIST_ORDERS_BY_STATUS,
        (Some(_), Some(_)) => &LIST_ORDERS_BY_USER_AND_STATUS,
    };
    params.extend(user.as_ref().map(|user| user as &(dyn ToSql + Sync)));
    params.extend(status.as_ref().map(|status| status as &(dyn ToSql + Sync)));
    let mut orders = query.rows(&client, &params).await?;
    let more = orders.len() > page.size;
    orders.truncate(page.size);
    let ids: Vec<i64> = orders.iter().map(|row| row.get(0)).collect();
    let lines = LIST_ORDER_LINES.rows(&client, &[&ids]).await?;
    let items = with_lines(orders, lines);
    let last = items.last().map(|order| OrderCursor { created_at: order.created_at, id: order.id });
    Ok(Page { items, next: last.filter(|_| more) })
}

/// What happened to an order, its placing first.
pub(crate) async fn get_history(db: &Db, order: &Order) -> Result<Vec<HistoryEntry>, StoreError> {
    let client = db.client(LIST_MOVES.name).await?;
    let mut status = OrderStatus::Pending;
    let placed =
        HistoryEntry { event: OrderEvent::Placed, status, at: order.created_at, by: Some(order.user) };
    let mut history = vec![placed];
    for row in LIST_MOVES.rows(&client, &[&order.id.0]).await? {
        let Some(event) = OrderEvent::from_name(row.get(0)) else { continue };
        status = status.after(event).unwrap_or(status);
        let at = Timestamp(row.get::<_, OffsetDateTime>(1));
        history.push(HistoryEntry { event, status, at, by: row.get::<_, Option<i64>>(2).map(UserId) });
    }
    Ok(history)
}

/// Orders whose hold has run out, at most `limit` of them.
pub(crate) async fn list_expired_holds(db: &Db, limit: i64) -> Result<Vec<OrderId>, StoreError> {
    let client = db.client(LIST_EXPIRED_HOLDS.name).await?;
    let rows = LIST_EXPIRED_HOLDS.rows(&client, &[&limit]).await?;
    Ok(rows.iter().map(|row| OrderId(row.get(0))).collect())
}

fn with_lines(orders: Vec<Row>, lines: Vec<Row>) -> Vec<Order> {
    let mut items: HashMap<i64, Vec<OrderItem>> = HashMap::new();
    for row in lines {
        items.entry(row.get(0)).or_default().push(item_from(&row));
    }
    let orders = orders.into_iter().filter_map(|row| order_from(&row));
    orders.map(|order| Order { items: items.remove(&order.id.0).unwrap_or_default(), ..order }).collect()
}

/// From `id, user_id, status, total_cents, created_at, updated_at, expires_at`; without its lines.
pub(crate) fn order_from(row: &Row) -> Option<Order> {
    let status = OrderStatus::from_name(row.get(2))?;
    Some(Order {
        id: OrderId(row.get(0)),
        user: UserId(row.get(1)),
        items: Vec::new(),
        total_price: Money::from_cents(row.get(3)),
        status,
        is_paid: status.is_paid(),
        created_at: Timestamp(row.get(4)),
        updated_at: Timestamp(row.get(5)),
        expires_at: Timestamp(row.get(6)),
    })
}

/// From `order_id, line_no, product_id, name, quantity, price_cents`.
pub(crate) fn item_from(row: &Row) -> OrderItem {
    let price = Money::from_cents(row.get(5));
    let name = Arc::from(row.get::<_, &str>(3));
    OrderItem::new(OrderId(row.get(0)), row.get(1), ProductId(row.get(2)), name, row.get(4), price)
}
