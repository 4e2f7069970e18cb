//! The hub: who wants which events.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler};

use super::frame;
use super::messages::{Deliver, EndAll, Follow, Interest, Join, Leave, SubscriberId};
use super::outbox::{Ending, Frame, Outbox};
use super::{Event, EventKind};
use crate::types::{CategoryId, Principal, ProductId, Seq, SessionId, UserId};

/// How often subscribers are looked for whose `Leave` got lost in a full mailbox.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// The time in which one reader may be woken. A frame takes the server some 50 µs in a rush; so, however much
/// happens, feeds leave most of the machine to the shop.
const TIME_PER_READER: Duration = Duration::from_micros(175);
/// The readers that may be woken at once after a quiet time.
const ROUND_MAX: u32 = 1000;
/// The time that they are reckoned at.
const ROUND: Duration = TIME_PER_READER.saturating_mul(ROUND_MAX);
/// The fewest that a wait is for, unless fewer are due: enough to spare the timer, and few enough for the
/// threads that serve them to have time for others in between.
const SLICE: usize = 32;

/// Puts each event into the outbox of everybody who wants it. Has a thread of its own, waits for
/// nobody, and keeps no event: what an outbox does not take is in the log.
///
/// An outbox has the event at once; its reader is woken in its turn, those who have waited longest first.
/// The first change after a quiet time costs no waiting; in a rush readers are woken one after the other
/// at an even pace, and each then finds more in its outbox, or, of a product, something later.
#[derive(Default)]
pub(super) struct FeedActor {
    subscribers: HashMap<SubscriberId, Subscriber>,
    index: Index,
    sessions: Lists<SessionId>,
    users: Lists<UserId>,
    /// Apart, so that the few who follow orders do not wait for the many who follow stock.
    stock_turns: Turns,
    order_turns: Turns,
    /// Why those to come are turned away, once they are.
    ended: Option<Ending>,
}

struct Subscriber {
    outbox: Arc<Outbox>,
    principal: Option<Principal>,
    interest: Interest,
}

type Readers = BTreeMap<SubscriberId, Arc<Outbox>>;

/// Who wants what, by what.
#[derive(Default)]
struct Index {
    products: Lists<ProductId>,
    categories: Lists<CategoryId>,
    every_product: Readers,
    orders_of: Lists<UserId>,
    every_order: Readers,
}

/// Readers by a key; no key without any.
struct Lists<K>(HashMap<K, Readers>);

/// When readers are woken: by the generic cell rate algorithm of ITU-T I.371, a reader a cell.
#[derive(Default)]
struct Turns {
    /// Those with news, each once, the first that had any in front.
    due: VecDeque<Arc<Outbox>>,
    /// When the time of all who were woken will be over, were it spent one after the other.
    spent_until: Option<Instant>,
    is_planned: bool,
}

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Lists<K> {
    fn add(&mut self, key: K, id: SubscriberId, outbox: &Arc<Outbox>) {
        self.0.entry(key).or_default().insert(id, outbox.clone());
    }

    fn remove(&mut self, key: K, id: SubscriberId) {
        if let Some(readers) = self.0.get_mut(&key) {
            readers.remove(&id);
            if readers.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    fn of(&self, key: K) -> impl Iterator<Item = &Arc<Outbox>> {
        self.0.get(&key).into_iter().flat_map(BTreeMap::values)
    }
}

impl Index {
    fn add(&mut self, id: SubscriberId, interest: &Interest, outbox: &Arc<Outbox>) {
        match interest {
            Interest::Nothing => {}
            Interest::Products(keys) => keys.iter().for_each(|key| self.products.add(*key, id, outbox)),
            Interest::Categories(keys) => keys.iter().for_each(|key| self.categories.add(*key, id, outbox)),
            Interest::EveryProduct => _ = self.every_product.insert(id, outbox.clone()),
            Interest::OrdersOf(user) => self.orders_of.add(*user, id, outbox),
            Interest::EveryOrder => _ = self.every_order.insert(id, outbox.clone()),
        }
    }

    fn remove(&mut self, id: SubscriberId, interest: &Interest) {
        match interest {
            Interest::Nothing => {}
            Interest::Products(keys) => keys.iter().for_each(|key| self.products.remove(*key, id)),
            Interest::Categories(keys) => keys.iter().for_each(|key| self.categories.remove(*key, id)),
            Interest::EveryProduct => _ = self.every_product.remove(&id),
            Interest::OrdersOf(user) => self.orders_of.remove(*user, id),
            Interest::EveryOrder => _ = self.every_order.remove(&id),
        }
    }

    fn of_product(
        &self,
        product: ProductId,
        category: Option<CategoryId>,
    ) -> impl Iterator<Item = &Arc<Outbox>> {
        let by_category = category.into_iter().flat_map(|category| self.categories.of(category));
        self.products.of(product).chain(by_category).chain(self.every_product.values())
    }

    fn of_order(&self, user: UserId) -> impl Iterator<Item = &Arc<Outbox>> {
        self.orders_of.of(user).chain(self.every_order.values())
    }
}

impl Turns {
    /// Puts a frame, written once and only if somebody wants it, into outboxes.
    fn put<'a>(
        &mut self,
        event: &Event,
        product: Option<ProductId>,
        outboxes: impl Iterator<Item = &'a Arc<Outbox>>,
    ) {
        let mut outboxes = outboxes.peekable();
        if outboxes.peek().is_none() {
            return;
        }
        let Some(text) = frame::event(event) else { return };
        let frame = Arc::new(Frame { seq: event.seq, product, text });
        self.due.extend(outboxes.filter(|outbox| outbox.put(&frame)).cloned());
    }

    /// Wakes those who are due, as far as there is time for them.
    fn take(&mut self, now: Instant) {
        let spent = self.spent(now);
        let left = ROUND.saturating_sub(spent).as_nanos() / TIME_PER_READER.as_nanos();
        let readers = self.due.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.spent_until = Some(now + spent + time_of(readers));
        self.due.drain(..readers).for_each(|outbox| outbox.wake());
    }

    /// How long the next have to wait; `None` when there is nobody to wake, or it is planned.
    fn wait(&self, now: Instant) -> Option<Duration> {
        if self.due.is_empty() || self.is_planned {
            return None;
        }
        let needed = time_of(self.due.len().min(SLICE));
        Some((self.spent(now) + needed).saturating_sub(ROUND))
    }

    fn spent(&self, now: Instant) -> Duration {
        self.spent_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

/// What so many readers are reckoned at.
fn time_of(readers: usize) -> Duration {
    TIME_PER_READER.saturating_mul(u32::try_from(readers).unwrap_or(u32::MAX))
}

impl FeedActor {
    fn deliver(&mut self, event: &Event, categories: &HashMap<ProductId, CategoryId>) {
        match &event.kind {
            EventKind::Stock { product, .. } | EventKind::Removed { product } => {
                let category = categories.get(product).copied();
                self.stock_turns.put(event, Some(*product), self.index.of_product(*product, category));
            }
            EventKind::Order { user, .. } => self.order_turns.put(event, None, self.index.of_order(*user)),
            EventKind::Session { session, .. } => {
                self.sessions.of(*session).for_each(|outbox| outbox.end(Ending::SignedOut));
            }
            EventKind::User { user } => {
                self.users.of(*user).for_each(|outbox| outbox.end(Ending::SignedOut));
            }
            EventKind::Product { .. } | EventKind::Category { .. } => {}
        }
    }

    /// Wakes readers now, or as soon as their turn comes.
    fn take_turns(&mut self, which: fn(&mut Self) -> &mut Turns, ctx: &mut Context<Self>) {
        let (turns, now) = (which(self), Instant::now());
        if turns.wait(now) == Some(Duration::ZERO) {
            turns.take(now);
        }
        if let Some(wait) = turns.wait(now) {
            turns.is_planned = true;
            ctx.run_later(wait, move |actor, ctx| {
                which(actor).is_planned = false;
                actor.take_turns(which, ctx);
            });
        }
    }

    fn forget(&mut self, id: SubscriberId) {
        if let Some(Subscriber { principal, interest, .. }) = self.subscribers.remove(&id) {
            self.index.remove(id, &interest);
            if let Some(Principal { user, session, .. }) = principal {
                self.sessions.remove(session, id);
                self.users.remove(user, id);
            }
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
        if let Some(Principal { user, session, .. }) = principal {
            self.sessions.add(session, id, &outbox);
            self.users.add(user, id, &outbox);
        }
        self.subscribers.insert(id, Subscriber { outbox, principal, interest: Interest::Nothing });
        self.count();
    }
}

impl Handler<Follow> for FeedActor {
    type Result = ();

    fn handle(&mut self, Follow { id, interest }: Follow, _: &mut Self::Context) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            self.index.remove(id, &subscriber.interest);
            self.index.add(id, &interest, &subscriber.outbox);
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

    fn handle(&mut self, Deliver { events, categories }: Deliver, ctx: &mut Self::Context) {
        // What a later event of the page makes out of date need not go to a thousand outboxes.
        let of_product = |event: &Event| event.kind.shelf().map(|product| (product, event.seq));
        let newest: HashMap<ProductId, Seq> = events.iter().filter_map(of_product).collect();
        let is_newest = |event: &&Event| {
            of_product(event).is_none_or(|(product, seq)| newest.get(&product) == Some(&seq))
        };
        for event in events.iter().filter(is_newest) {
            self.deliver(event, &categories);
        }
        self.take_turns(|actor| &mut actor.stock_turns, ctx);
        self.take_turns(|actor| &mut actor.order_turns, ctx);
    }
}

impl Handler<EndAll> for FeedActor {
    type Result = ();

    fn handle(&mut self, EndAll { ending, those_to_come }: EndAll, _: &mut Self::Context) {
        self.ended = those_to_come.then_some(ending);
        for subscriber in self.subscribers.values() {
            subscriber.outbox.end(ending);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::*;
    use crate::types::{Money, Timestamp};

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn stock(seq: i64) -> Event {
        let at = Timestamp(time::OffsetDateTime::UNIX_EPOCH);
        let kind = EventKind::Stock { product: ProductId(1), stock: seq, price: Money::ZERO };
        Event { seq: Seq(seq), at, kind }
    }

    #[test]
    fn a_single_change_wakes_everybody_at_once_and_a_rush_each_in_its_turn() {
        let outboxes: Vec<_> = (0..1000).map(|_| Arc::new(Outbox::for_stock(10))).collect();
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        let listen = || {
            for outbox in &outboxes {
                while outbox.poll_take(&Context::from_waker(&waker), 10).is_ready() {}
            }
        };
        let (mut turns, began) = (Turns::default(), Instant::now());
        listen();
        turns.put(&stock(1), Some(ProductId(1)), outboxes.iter());
        assert_eq!(turns.wait(began), Some(Duration::ZERO), "a quiet time has gone before");
        turns.take(began);
        assert_eq!(bell.0.swap(0, Ordering::Relaxed), 1000);
        listen();
        for seq in 2..50 {
            turns.put(&stock(seq), Some(ProductId(1)), outboxes.iter());
        }
        let (mut now, mut woken) = (began, Vec::new());
        while let Some(wait) = turns.wait(now) {
            now += wait;
            turns.take(now);
            woken.push(bell.0.swap(0, Ordering::Relaxed));
        }
        assert_eq!(now - began, ROUND, "each has its turn, and has it once");
        assert_eq!(woken.iter().sum::<usize>(), 1000);
        assert!(woken.iter().all(|readers| *readers <= SLICE), "{woken:?}");
    }

    #[test]
    fn who_comes_late_wakes_as_many_as_there_was_time_for_and_never_more_than_a_round() {
        let outboxes: Vec<_> = (0..2500).map(|_| Arc::new(Outbox::for_stock(10))).collect();
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        for outbox in &outboxes {
            assert!(outbox.poll_take(&Context::from_waker(&waker), 10).is_pending());
        }
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        turns.put(&stock(1), Some(ProductId(1)), outboxes.iter());
        for (later, readers) in [(0, 1000), (0, 0), (100, 100), (2000, 1000), (900, 400)] {
            now += TIME_PER_READER * later;
            turns.take(now);
            assert_eq!(bell.0.swap(0, Ordering::Relaxed), readers);
        }
        assert_eq!(turns.wait(now), None);
    }

    #[test]
    fn a_reader_of_many_things_stands_under_each_of_them_until_it_leaves() {
        let (mut index, outbox) = (Index::default(), Arc::new(Outbox::for_stock(10)));
        let (id, product, category) = (SubscriberId(1), ProductId(7), CategoryId(3));
        let interests = [
            Interest::Products(vec![product, ProductId(8)]),
            Interest::Categories(vec![category]),
            Interest::EveryProduct,
        ];
        for interest in interests {
            index.add(id, &interest, &outbox);
            assert_eq!(index.of_product(product, Some(category)).count(), 1, "{interest:?}");
            assert_eq!(index.of_order(UserId(1)).count(), 0);
            index.remove(id, &interest);
            assert_eq!(index.of_product(product, Some(category)).count(), 0, "{interest:?}");
        }
        assert!(index.products.0.is_empty() && index.categories.0.is_empty());
    }
}
