//! What the `OrderActor` can be asked.

use std::fmt;
use std::sync::Arc;

use actix::Message;

use super::{HistoryEntry, Order, OrderError, OrderEvent, OrderStatus};
use crate::idempotency::{Done, IdempotencyKey};
use crate::types::{Money, OrderId, Page, PageRequest, Principal, ProductId, Timestamp, UserId};

/// One product of an order, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// What.
    pub product: ProductId,
    /// How many: 1 to [`super::QUANTITY_MAX`].
    pub quantity: i64,
}

/// Where an order's lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderSource {
    /// The user's cart as it is at the moment of the commit, emptied by it.
    Cart,
    /// These lines; no product twice (the edge adds them up), 1 to [`super::LINES_MAX`].
    Lines(Vec<OrderLine>),
}

/// Whoever is at the other end of a connection.
pub trait Caller: fmt::Debug + Send + Sync {
    /// Whether they have gone away: nobody would read an answer.
    fn has_left(&self) -> bool;
}

/// Makes an order. Answered after COMMIT.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Done<Order>, OrderError>")]
pub struct PlaceOrder {
    /// Who buys.
    pub user: UserId,
    /// What.
    pub source: OrderSource,
    /// Refuse if the prices at the moment of the commit give another total.
    pub expected_total: Option<Money>,
    /// The client's key, if it sent one.
    pub key: Option<IdempotencyKey>,
    /// Who waits for the answer. An order whose caller has left before its batch began is not placed.
    pub caller: Option<Arc<dyn Caller>>,
}

/// Moves an order on. Answered after COMMIT.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Done<Order>, OrderError>")]
pub struct MoveOrder {
    /// Which.
    pub order: OrderId,
    /// What happens to it.
    pub event: OrderEvent,
    /// Who does it; `None` for the shop itself. A customer sees and cancels only what is theirs.
    pub by: Option<Principal>,
    /// The client's key, if it sent one.
    pub key: Option<IdempotencyKey>,
}

/// Reads an order; a customer sees only their own.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Order, OrderError>")]
pub struct GetOrder {
    /// Which.
    pub order: OrderId,
    /// Who asks.
    pub by: Principal,
}

/// Reads what happened to an order; a customer sees only their own.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<HistoryEntry>, OrderError>")]
pub struct GetHistory {
    /// Which.
    pub order: OrderId,
    /// Who asks.
    pub by: Principal,
}

/// Where a page of orders begins: after the order of that time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderCursor {
    /// When it was placed.
    pub created_at: Timestamp,
    /// Its id.
    pub id: OrderId,
}

/// Lists orders, newest first; a customer sees only their own.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Page<Order, OrderCursor>, OrderError>")]
pub struct ListOrders {
    /// Who asks.
    pub by: Principal,
    /// Only this user's (staff).
    pub user: Option<UserId>,
    /// Only those that stand like this.
    pub status: Option<OrderStatus>,
    /// Which page.
    pub page: PageRequest<OrderCursor>,
}
