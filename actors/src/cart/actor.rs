//! The actor of one user's cart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::messages::{AddItem, Checkout, ClearCart, GetCart, RemoveItem, SetQuantity};
use super::{Cart, CartError, CartItem, store};
use crate::db::Db;
use crate::idempotency::Done;
use crate::orders::{Order, OrderActor, OrderError, OrderSource, PlaceOrder};
use crate::types::UserId;

/// How many messages may wait in one user's queue.
const QUEUE_MAX: usize = 64;

/// One user's cart. Holds no state of its own: Postgres is the truth, and another node may serve
/// the same user.
pub struct CartActor {
    user: UserId,
    db: Db,
    orders: Addr<OrderActor>,
    idle_after: Duration,
    last_used: Instant,
    /// Given back when the actor is put away, so that another may be started.
    _place: Arc<tokio::sync::OwnedSemaphorePermit>,
}

impl CartActor {
    pub(super) fn launch(
        user: UserId,
        db: Db,
        orders: Addr<OrderActor>,
        idle_after: Duration,
        place: tokio::sync::OwnedSemaphorePermit,
        on: &ArbiterHandle,
    ) -> Addr<Self> {
        Self::start_in_arbiter(on, move |ctx| {
            ctx.set_mailbox_capacity(QUEUE_MAX);
            Self { user, db, orders, idle_after, last_used: Instant::now(), _place: Arc::new(place) }
        })
    }

    fn put_away_when_idle(&mut self, ctx: &mut Context<Self>) {
        if self.last_used.elapsed() >= self.idle_after {
            ctx.stop();
        }
    }
}

impl Actor for CartActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.idle_after / 2, Self::put_away_when_idle);
    }
}

/// One at a time: each handler holds back the next message until it has its answer.
macro_rules! one_at_a_time {
    ($($message:ty => $answer:ty, |$store:ident, $user:ident, $m:ident| $work:expr;)*) => {$(
        impl Handler<$message> for CartActor {
            type Result = AtomicResponse<Self, Result<$answer, CartError>>;

            fn handle(&mut self, $m: $message, _: &mut Self::Context) -> Self::Result {
                self.last_used = Instant::now();
                let ($store, $user) = (self.db.clone(), self.user);
                AtomicResponse::new(Box::pin(async move { $work.await }.into_actor(self)))
            }
        }
    )*};
}

one_at_a_time! {
    GetCart => Cart, |db, user, _m| store::get_cart(&db, user);
    AddItem => Done<CartItem>, |db, user, m| store::add_item(&db, user, &m);
    SetQuantity => CartItem, |db, user, m| store::set_quantity(&db, user, m);
    RemoveItem => (), |db, user, m| store::remove_item(&db, user, m.item);
    ClearCart => (), |db, user, _m| store::clear_cart(&db, user);
}

impl Handler<Checkout> for CartActor {
    type Result = AtomicResponse<Self, Result<Done<Order>, OrderError>>;

    /// One at a time, too: the second of two clicks finds the cart that the first one left.
    fn handle(&mut self, message: Checkout, _: &mut Self::Context) -> Self::Result {
        self.last_used = Instant::now();
        let Checkout { expected_total, key, caller } = message;
        let source = OrderSource::Cart;
        let order = self.orders.send(PlaceOrder { user: self.user, source, expected_total, key, caller });
        AtomicResponse::new(Box::pin(async move { order.await? }.into_actor(self)))
    }
}
