//! The actor in front of orders.

use std::sync::Arc;
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender};
use actix::prelude::*;

use super::messages::{GetHistory, GetOrder, ListOrders, MoveOrder, OrderCursor, OrderSource, PlaceOrder};
use super::{HistoryEntry, Order, OrderError, OrderEvent, store};
use crate::db::Db;
use crate::idempotency::Done;
use crate::inventory::{Ask, Inventory, Move, Sell, SoldOut};
use crate::types::{OrderId, Page, Principal};

/// How orders are kept.
#[derive(Clone, Debug)]
pub struct OrderSettings {
    /// How often this node looks for holds that have run out; under 1 s.
    pub expiry_interval: Duration,
    /// The most messages that may wait.
    pub queue_max: usize,
}

/// The most holds one look ends.
const EXPIRIES_MAX: i64 = 500;

/// What an [`OrderActor`] works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OrderDesk {
    pub(crate) db: Db,
    pub(crate) sold_out: Arc<SoldOut>,
    pub(crate) inventory: Inventory,
    pub(crate) settings: OrderSettings,
}

/// Places, moves and reads orders. What changes a stock it passes on to the inventory. There is one on each
/// thread where orders are asked for, so that nobody has to be woken for an order that only waits for its
/// batch; one of them ends the holds that have run out.
pub struct OrderActor {
    desk: OrderDesk,
    sweeps: bool,
    is_sweeping: bool,
}

impl OrderActor {
    /// Starts the actor that also ends holds.
    #[must_use]
    pub(crate) fn launch(desk: OrderDesk, on: &ArbiterHandle) -> Addr<Self> {
        Self::start_in_arbiter(on, move |ctx| Self::new(desk, true, ctx))
    }

    /// Starts another one, on this thread.
    #[must_use]
    pub(crate) fn launch_here(desk: OrderDesk) -> Addr<Self> {
        Self::create(move |ctx| Self::new(desk, false, ctx))
    }

    fn new(desk: OrderDesk, sweeps: bool, ctx: &mut Context<Self>) -> Self {
        ctx.set_mailbox_capacity(desk.settings.queue_max);
        Self { desk, sweeps, is_sweeping: false }
    }

    /// Ends holds that have run out. Any number of nodes may do so at once: the order's row decides
    /// which of them it was.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        if self.is_sweeping {
            return;
        }
        self.is_sweeping = true;
        let OrderDesk { db, inventory, .. } = self.desk.clone();
        let sweep = async move {
            match store::list_expired_holds(&db, EXPIRIES_MAX).await {
                Ok(orders) => expire(&inventory, orders).await,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot look for holds that ran out"
                    );
                }
            }
        };
        ctx.spawn(sweep.into_actor(self).map(|(), actor, _| actor.is_sweeping = false));
    }
}

async fn expire(inventory: &Inventory, orders: Vec<OrderId>) {
    let steps = orders.into_iter().map(|order| {
        inventory.send(Move(MoveOrder { order, event: OrderEvent::Expired, by: None, key: None }))
    });
    for outcome in futures_util::future::join_all(steps).await {
        match outcome {
            // Another node was first, or it was paid at the last moment.
            Ok(Ok(_) | Err(OrderError::InvalidTransition { .. })) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a hold could not be ended yet"),
            Err(error) => tracing::warn!(%error, "the inventory is gone"),
        }
    }
}

impl Actor for OrderActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.sweeps {
            ctx.run_interval(self.desk.settings.expiry_interval, Self::sweep);
        }
    }
}

/// An answer that is known already, or a message that the inventory answers, whoever asked.
pub enum Onward<M> {
    /// The answer.
    Known(OrderResult),
    /// The message, and where it goes.
    Ask(Inventory, M),
}

type OrderResult = Result<Done<Order>, OrderError>;

impl<M, Q> MessageResponse<OrderActor, M> for Onward<Q>
where
    M: Message<Result = OrderResult>,
    Q: Ask<Result = OrderResult>,
{
    fn handle(self, _: &mut Context<OrderActor>, reply: Option<OneshotSender<OrderResult>>) {
        let Some(reply) = reply else { return };
        match self {
            Self::Known(answer) => drop(reply.send(answer)),
            Self::Ask(inventory, message) => inventory.forward(message, reply),
        }
    }
}

impl Handler<PlaceOrder> for OrderActor {
    type Result = Onward<Sell>;

    /// Interleaves with every other message: only the inventory's batch decides, but for what is
    /// known to be sold out. An order with a key has to be looked up first.
    fn handle(&mut self, message: PlaceOrder, _: &mut Self::Context) -> Self::Result {
        if message.key.is_none()
            && let OrderSource::Lines(lines) = &message.source
            && let Some(shortages) = self.desk.sold_out.shortages(lines)
        {
            return Onward::Known(Err(OrderError::OutOfStock(shortages)));
        }
        Onward::Ask(self.desk.inventory.clone(), Sell(message))
    }
}

impl Handler<MoveOrder> for OrderActor {
    type Result = Onward<Move>;

    /// Interleaves with every other message: only the inventory's batch decides.
    fn handle(&mut self, message: MoveOrder, _: &mut Self::Context) -> Self::Result {
        Onward::Ask(self.desk.inventory.clone(), Move(message))
    }
}

impl Handler<GetOrder> for OrderActor {
    type Result = ResponseFuture<Result<Order, OrderError>>;

    /// A read, so it may interleave.
    fn handle(&mut self, message: GetOrder, _: &mut Self::Context) -> Self::Result {
        let db = self.desk.db.clone();
        Box::pin(async move { visible_order(&db, message.order, message.by).await })
    }
}

impl Handler<GetHistory> for OrderActor {
    type Result = ResponseFuture<Result<Vec<HistoryEntry>, OrderError>>;

    /// A read, so it may interleave.
    fn handle(&mut self, message: GetHistory, _: &mut Self::Context) -> Self::Result {
        let db = self.desk.db.clone();
        Box::pin(async move {
            let order = visible_order(&db, message.order, message.by).await?;
            Ok(store::get_history(&db, &order).await?)
        })
    }
}

impl Handler<ListOrders> for OrderActor {
    type Result = ResponseFuture<Result<Page<Order, OrderCursor>, OrderError>>;

    /// A read, so it may interleave.
    fn handle(&mut self, message: ListOrders, _: &mut Self::Context) -> Self::Result {
        let db = self.desk.db.clone();
        Box::pin(async move {
            let user = if message.by.is_staff { message.user } else { Some(message.by.user) };
            Ok(store::list_orders(&db, user, message.status, &message.page).await?)
        })
    }
}

async fn visible_order(db: &Db, id: OrderId, by: Principal) -> Result<Order, OrderError> {
    let order = store::get_order(db, id).await?.ok_or(OrderError::NotFound)?;
    if by.is_staff || order.user == by.user { Ok(order) } else { Err(OrderError::NotFound) }
}
