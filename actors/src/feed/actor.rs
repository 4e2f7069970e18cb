//! The hub: who wants which events.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler};
use bytestring::ByteString;

use super::frame;
use super::messages::{Deliver, EndAll, Follow, Interest, Join, Leave, SubscriberId};
use super::outbox::{Ending, Outbox};
use super::{Event, EventKind};
use crate::types::{CategoryId, Principal, ProductId, SessionId, UserId};

/// How often subscribers are looked for whose `Leave` got lost in a full mailbox.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Puts each event into the outbox of everybody who wants it. Has a thread of its own, waits for
/// nobody, and keeps no event: what an outbox does not take is in the log.
#[derive(Default)]
pub(super) struct FeedActor {
    subscribers: HashMap<SubscriberId, Subscriber>,
    index: Index,
    sessions: Lists<SessionId>,
    users: Lists<UserId>,
    ended: Option<Ending>,
}

struct Subscriber {
    outbox: Arc<Outbox>,
    principal: Option<Principal>,
    interest: Interest,
}

/// Who wants what, by what.
#[derive(Default)]
struct Index {
    products: Lists<ProductId>,
    categories: Lists<CategoryId>,
    every_product: BTreeSet<SubscriberId>,
    orders_of: Lists<UserId>,
    every_order: BTreeSet<SubscriberId>,
}

/// Subscribers by a key; no key without any.
struct Lists<K>(HashMap<K, BTreeSet<SubscriberId>>);

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Lists<K> {
    fn set(&mut self, key: K, id: SubscriberId, wanted: bool) {
        if wanted {
            self.0.entry(key).or_default().insert(id);
        } else if let Some(ids) = self.0.get_mut(&key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    fn of(&self, key: K) -> impl Iterator<Item = SubscriberId> + '_ {
        self.0.get(&key).into_iter().flatten().copied()
    }
}

impl Index {
    fn set(&mut self, id: SubscriberId, interest: &Interest, wanted: bool) {
        let set_in = |all: &mut BTreeSet<SubscriberId>| if wanted { all.insert(id) } else { all.remove(&id) };
        match interest {
            Interest::Nothing => {}
            Interest::Products(keys) => keys.iter().for_each(|key| self.products.set(*key, id, wanted)),
            Interest::Categories(keys) => keys.iter().for_each(|key| self.categories.set(*key, id, wanted)),
            Interest::EveryProduct => {
                set_in(&mut self.every_product);
            }
            Interest::OrdersOf(user) => self.orders_of.set(*user, id, wanted),
            Interest::EveryOrder => {
                set_in(&mut self.every_order);
            }
        }
    }

    fn of_product(
        &self,
        product: ProductId,
        category: Option<CategoryId>,
    ) -> impl Iterator<Item = SubscriberId> + '_ {
        let by_category = category.into_iter().flat_map(|category| self.categories.of(category));
        self.products.of(product).chain(by_category).chain(self.every_product.iter().copied())
    }

    fn of_order(&self, user: UserId) -> impl Iterator<Item = SubscriberId> + '_ {
        self.orders_of.of(user).chain(self.every_order.iter().copied())
    }
}

impl FeedActor {
    /// Writes an event's frame once, and only if somebody wants it.
    fn deliver(&self, event: &Event, categories: &HashMap<ProductId, CategoryId>) {
        let outbox_of = |id| self.subscribers.get(&id).map(|subscriber| &subscriber.outbox);
        let mut written: Option<ByteString> = None;
        let mut text = || written.get_or_insert_with(|| frame::event(event).unwrap_or_default()).clone();
        match &event.kind {
            EventKind::Stock { product, .. } | EventKind::Removed { product } => {
                let category = categories.get(product).copied();
                for outbox in self.index.of_product(*product, category).filter_map(outbox_of) {
                    outbox.put_stock(event.seq, *product, text());
                }
            }
            EventKind::Order { user, .. } => {
                for outbox in self.index.of_order(*user).filter_map(outbox_of) {
                    outbox.put_order(event.seq, text());
                }
            }
            EventKind::Session { session, .. } => {
                self.sessions.of(*session).filter_map(outbox_of).for_each(|o| o.end(Ending::SignedOut));
            }
            EventKind::User { user } => {
                self.users.of(*user).filter_map(outbox_of).for_each(|o| o.end(Ending::SignedOut));
            }
            EventKind::Product { .. } | EventKind::Category { .. } => {}
        }
    }

    fn set_principal(&mut self, id: SubscriberId, principal: Option<Principal>, wanted: bool) {
        if let Some(Principal { user, session, .. }) = principal {
            self.sessions.set(session, id, wanted);
            self.users.set(user, id, wanted);
        }
    }

    fn forget(&mut self, id: SubscriberId) {
        if let Some(Subscriber { principal, interest, .. }) = self.subscribers.remove(&id) {
            self.index.set(id, &interest, false);
            self.set_principal(id, principal, false);
        }
        self.count();
    }

    fn count(&self) {
        metrics::gauge!("emporium_feed_subscribers").set(self.subscribers.len() as f64);
    }
}

impl Actor for FeedActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SWEEP_INTERVAL, |actor, _| {
            let left = actor.subscribers.iter().filter(|(_, subscriber)| subscriber.outbox.is_left());
            for id in left.map(|(id, _)| *id).collect::<Vec<_>>() {
                actor.forget(id);
            }
        });
    }
}

// Every handler below runs to its end without waiting, so none interleaves with another.

impl Handler<Join> for FeedActor {
    type Result = ();

    fn handle(&mut self, Join { id, outbox, principal }: Join, _: &mut Self::Context) {
        if let Some(ending) = self.ended {
            outbox.end(ending);
        }
        self.set_principal(id, principal, true);
        self.subscribers.insert(id, Subscriber { outbox, principal, interest: Interest::Nothing });
        self.count();
    }
}

impl Handler<Follow> for FeedActor {
    type Result = ();

    fn handle(&mut self, Follow { id, interest }: Follow, _: &mut Self::Context) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            self.index.set(id, &subscriber.interest, false);
            self.index.set(id, &interest, true);
            subscriber.interest = interest;
        }
    }
}

impl Handler<Leave> for FeedActor {
    type Result = ();

    fn handle(&mut self, Leave(id): Leave, _: &mut Self::Context) {
        self.forget(id);
    }
}

impl Handler<Deliver> for FeedActor {
    type Result = ();

    fn handle(&mut self, Deliver { events, categories }: Deliver, _: &mut Self::Context) {
        for event in &events {
            self.deliver(event, &categories);
        }
    }
}

impl Handler<EndAll> for FeedActor {
    type Result = ();

    fn handle(&mut self, EndAll(ending): EndAll, _: &mut Self::Context) {
        self.ended = Some(ending);
        for subscriber in self.subscribers.values() {
            subscriber.outbox.end(ending);
        }
    }
}
