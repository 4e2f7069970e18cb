//! What the `FeedActor` is told. It asks nobody anything.

use std::collections::HashMap;
use std::sync::Arc;

use actix::Message;

use super::Event;
use super::outbox::{Ending, Outbox};
use crate::types::{CategoryId, Principal, ProductId, UserId};

/// Names a subscriber within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SubscriberId(pub(super) u64);

/// What a subscriber wants to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Nothing for now.
    Nothing,
    /// The stock of these products.
    Products(Vec<ProductId>),
    /// The stock of these categories' products.
    Categories(Vec<CategoryId>),
    /// The stock of every product.
    EveryProduct,
    /// What happens to this user's orders.
    OrdersOf(UserId),
    /// What happens to every order.
    EveryOrder,
}

/// Makes a subscriber known; it is interested in nothing yet, but its session's end reaches it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Join {
    pub(super) id: SubscriberId,
    pub(super) outbox: Arc<Outbox>,
    /// Whose it is, where that matters.
    pub(super) principal: Option<Principal>,
}

/// Changes what a subscriber wants. Once answered, it gets every event that is delivered from then on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Follow {
    pub(super) id: SubscriberId,
    pub(super) interest: Interest,
}

/// Forgets a subscriber.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Leave(pub(super) SubscriberId);

/// Passes on the next events of the log. Answered when they are in the outboxes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Deliver {
    /// The events, in order.
    pub(super) events: Vec<Event>,
    /// The categories of the products among them; empty when nobody follows a category.
    pub(super) categories: HashMap<ProductId, CategoryId>,
}

/// Ends every subscription.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct EndAll {
    pub(super) ending: Ending,
    /// Whether later ones end at once, too.
    pub(super) those_to_come: bool,
}
