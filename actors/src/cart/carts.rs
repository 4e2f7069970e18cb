//! The carts in use: finds a user's actor, or starts one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use tokio::sync::Semaphore;

use super::CartActor;
use crate::db::Db;
use crate::orders::OrderActor;
use crate::types::UserId;

/// How carts are kept.
#[derive(Clone, Debug)]
pub struct CartSettings {
    /// The most cart actors at once; a user beyond them is told to come back shortly.
    pub active_max: usize,
    /// How long an actor nobody talks to is kept.
    pub idle_after: Duration,
}

/// The carts in use on this node. Cheap to clone.
#[derive(Clone)]
pub struct Carts {
    db: Db,
    orders: Addr<OrderActor>,
    idle_after: Duration,
    active_max: usize,
    places: Arc<Semaphore>,
    active: Arc<Mutex<HashMap<UserId, Addr<CartActor>>>>,
    arbiter: ArbiterHandle,
}

/// Why a cart could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// Every place for a cart is taken; nothing was done.
    #[error("too many carts are in use")]
    NoRoom,
    /// The actor went away before it answered.
    #[error("the cart went away before it answered")]
    Gone,
}

impl Carts {
    /// No carts yet; they will all live on this thread.
    #[must_use]
    pub fn new(db: Db, orders: Addr<OrderActor>, settings: &CartSettings, on: ArbiterHandle) -> Self {
        Self {
            db,
            orders,
            idle_after: settings.idle_after,
            active_max: settings.active_max,
            places: Arc::new(Semaphore::new(settings.active_max)),
            active: Arc::default(),
            arbiter: on,
        }
    }

    /// Sends `message` to the cart of `user`.
    ///
    /// # Errors
    /// [`Unreached`] when every place for a cart is taken or the actor did not answer.
    pub async fn send<M>(&self, user: UserId, message: M) -> Result<M::Result, Unreached>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        CartActor: Handler<M>,
        <CartActor as Actor>::Context: ToEnvelope<CartActor, M>,
    {
        let first = self.find(user)?.send(message.clone()).await;
        match first {
            Ok(answer) => Ok(answer),
            // It was being put away just then, and has not seen the message.
            Err(MailboxError::Closed) if !self.is_active(user) => {
                self.find(user)?.send(message).await.map_err(|_| Unreached::Gone)
            }
            Err(_) => Err(Unreached::Gone),
        }
    }

    /// How many carts are in use.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn is_active(&self, user: UserId) -> bool {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.get(&user).is_some_and(Addr::connected)
    }

    fn find(&self, user: UserId) -> Result<Addr<CartActor>, Unreached> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cart) = active.get(&user).filter(|cart| cart.connected()) {
            return Ok(cart.clone());
        }
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                metrics::counter!("emporium_carts_refused_total").increment(1);
                return Err(Unreached::NoRoom);
            }
        };
        // Those that were put away are swept out once they are as many as those in use, so that the
        // sweep costs little per start.
        let in_use = self.active_max - self.places.available_permits();
        if active.len() >= 2 * in_use.max(64) {
            active.retain(|_, cart| cart.connected());
        }
        metrics::gauge!("emporium_carts_active").set(active.len() as f64);
        let cart = CartActor::launch(
            user,
            self.db.clone(),
            self.orders.clone(),
            self.idle_after,
            place,
            &self.arbiter,
        );
        active.insert(user, cart.clone());
        Ok(cart)
    }
}
