//! What a socket has yet to be sent, and what its client has yet to be answered.
//!
//! The hub fills an outbox and never waits for it; the socket empties it when it can write. Promises:
//! its size is bounded; frames leave in the order of their numbers, which only grow; of stock it
//! keeps the latest per product; of orders it keeps every one, or, where it cannot, says so and ends;
//! whoever waits for it is woken once, however much arrives. News wakes nobody by itself: the hub
//! does, for many at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;

use super::subscription::FeedRequest;
use crate::types::{ProductId, Seq};

/// Products with news that a stock outbox holds; past it, the socket catches up from the log.
pub(super) const STOCK_MAX: usize = 10_000;
/// Order events that an outbox holds; past it, the socket is closed and resumes.
pub(super) const ORDERS_MAX: usize = 10_000;
/// Requests of one client that may wait for their turn.
const REQUESTS_MAX: usize = 16;

/// A frame with its place in the log; written once, whoever gets it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) seq: Seq,
    /// The product that it is about, in a feed of stock.
    pub(super) product: Option<ProductId>,
    pub(super) text: ByteString,
}

/// Why a feed ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The session ended, or the user's rights changed.
    SignedOut,
    /// The reader is too slow for a feed of which nothing may be dropped.
    Overrun,
    /// The shop is stopping.
    GoingAway,
    /// The database does not answer.
    Unavailable,
}

/// What an outbox had to give.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Frames, at least one, oldest first.
    Frames(Vec<Arc<Frame>>),
    /// More than it could hold was in it; what came since the last frame is in the log.
    Behind,
    /// Something that the client asks.
    Request(FeedRequest),
    /// Nothing more will come.
    End(Ending),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    requests: VecDeque<FeedRequest>,
    behind: bool,
    ending: Option<Ending>,
    /// Nobody reads it any more; the hub forgets it.
    left: bool,
    waker: Option<Waker>,
    /// Whether the hub is going to wake the reader.
    is_due: bool,
}

#[derive(Debug)]
enum Queue {
    Stock { by_seq: BTreeMap<Seq, Arc<Frame>>, newest: HashMap<ProductId, Seq>, max: usize },
    Orders { frames: VecDeque<Arc<Frame>>, max: usize },
}

impl Outbox {
    /// One that keeps the latest of at most `max` products.
    pub(super) fn for_stock(max: usize) -> Self {
        Self::new(Queue::Stock { by_seq: BTreeMap::new(), newest: HashMap::new(), max })
    }

    /// One that keeps at most `max` order events, all of them.
    pub(super) fn for_orders(max: usize) -> Self {
        Self::new(Queue::Orders { frames: VecDeque::new(), max })
    }

    fn new(queue: Queue) -> Self {
        Self {
            state: Mutex::new(State {
                queue,
                requests: VecDeque::new(),
                behind: false,
                ending: None,
                left: false,
                waker: None,
                is_due: false,
            }),
        }
    }

    /// Adds a frame: news of a product in place of older news of it, an order event behind the others.
    /// Whether its reader is due to be woken.
    #[must_use]
    pub(super) fn put(&self, frame: &Arc<Frame>) -> bool {
        let mut state = self.lock();
        if state.behind || state.ending.is_some() {
            return false;
        }
        if !state.queue.put(frame) {
            match state.queue {
                Queue::Stock { .. } => state.behind = true,
                Queue::Orders { .. } => state.ending = Some(Ending::Overrun),
            }
            state.queue.clear();
        }
        state.waker.is_some() && !std::mem::replace(&mut state.is_due, true)
    }

    /// Wakes the reader, who is due.
    pub(super) fn wake(&self) {
        self.change(|state| state.is_due = false);
    }

    /// Nothing more will come, and what is left need not be sent. The first reason given stays.
    pub(super) fn end(&self, ending: Ending) {
        self.change(|state| _ = state.ending.get_or_insert(ending));
    }

    /// Adds a request; `false` when too many wait already.
    #[must_use]
    pub(super) fn ask(&self, request: FeedRequest) -> bool {
        let mut is_taken = false;
        self.change(|state| {
            is_taken = state.requests.len() < REQUESTS_MAX;
            if is_taken {
                state.requests.push_back(request);
            }
        });
        is_taken
    }

    /// Nobody will read it again.
    pub(super) fn leave(&self) {
        self.lock().left = true;
    }

    /// Whether anybody still reads it.
    pub(super) fn is_left(&self) -> bool {
        self.lock().left
    }

    /// Takes a request or at most `max` frames, or has the caller woken, once, when there is something.
    pub(super) fn poll_take(&self, cx: &Context<'_>, max: usize) -> Poll<Taken> {
        let mut state = self.lock();
        if let Some(ending) = state.ending {
            return Poll::Ready(Taken::End(ending));
        }
        if let Some(request) = state.requests.pop_front() {
            return Poll::Ready(Taken::Request(request));
        }
        if std::mem::take(&mut state.behind) {
            return Poll::Ready(Taken::Behind);
        }
        let frames = state.queue.take(Seq(i64::MAX), max);
        if frames.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.waker = None;
        Poll::Ready(Taken::Frames(frames))
    }

    /// Why it ended, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.lock().ending
    }

    /// Takes every frame up to `seq`, oldest first.
    pub(super) fn take_up_to(&self, seq: Seq) -> Vec<Arc<Frame>> {
        self.lock().queue.take(seq, usize::MAX)
    }

    /// Drops the news of a product, if there is any.
    pub(super) fn drop_product(&self, product: ProductId) {
        let mut state = self.lock();
        if let Queue::Stock { by_seq, newest, .. } = &mut state.queue
            && let Some(seq) = newest.remove(&product)
        {
            by_seq.remove(&seq);
        }
    }

    /// Forgets everything but its ending.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.behind = false;
        state.queue.clear();
    }

    /// Changes the state and wakes the reader, outside of the lock.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.lock();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics under this lock; if some did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Adds a frame; `false` when there is no room for it.
    fn put(&mut self, frame: &Arc<Frame>) -> bool {
        match self {
            Self::Stock { by_seq, newest, max } => {
                let Some(product) = frame.product else { return true };
                if let Some(older) = newest.insert(product, frame.seq) {
                    by_seq.remove(&older);
                }
                by_seq.insert(frame.seq, frame.clone());
                by_seq.len() <= *max
            }
            Self::Orders { frames, max } => {
                frames.push_back(frame.clone());
                frames.len() <= *max
            }
        }
    }

    /// Takes at most `max` frames, none of them later than `last`.
    fn take(&mut self, last: Seq, max: usize) -> Vec<Arc<Frame>> {
        let mut taken = Vec::new();
        match self {
            Self::Stock { by_seq, newest, .. } => {
                while taken.len() < max && by_seq.first_key_value().is_some_and(|(seq, _)| *seq <= last) {
                    let Some((_, frame)) = by_seq.pop_first() else { break };
                    frame.product.and_then(|product| newest.remove(&product));
                    taken.push(frame);
                }
            }
            Self::Orders { frames, .. } => {
                let due = frames.iter().take(max).take_while(|frame| frame.seq <= last).count();
                taken.extend(frames.drain(..due));
            }
        }
        taken
    }

    /// Empties it, and gives its memory back.
    fn clear(&mut self) {
        match self {
            Self::Stock { by_seq, newest, .. } => (*by_seq, *newest) = Default::default(),
            Self::Orders { frames, .. } => *frames = VecDeque::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(outbox: &Outbox, bell: &Arc<Bell>) -> Poll<Taken> {
        outbox.poll_take(&Context::from_waker(&Waker::from(bell.clone())), 100)
    }

    fn seqs(taken: Poll<Taken>) -> Vec<i64> {
        match taken {
            Poll::Ready(Taken::Frames(frames)) => frames.iter().map(|frame| frame.seq.0).collect(),
            other => panic!("no frames but {other:?}"),
        }
    }

    fn stock(outbox: &Outbox, seq: i64, product: i64) -> bool {
        let product = Some(ProductId(product));
        outbox.put(&Arc::new(Frame { seq: Seq(seq), product, text: "x".into() }))
    }

    fn order(outbox: &Outbox, seq: i64) -> bool {
        outbox.put(&Arc::new(Frame { seq: Seq(seq), product: None, text: "x".into() }))
    }

    #[test]
    fn of_each_product_only_the_latest_is_kept_and_numbers_only_grow() {
        let (outbox, bell) = (Outbox::for_stock(10), Arc::new(Bell::default()));
        for (seq, product) in [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (6, 1)] {
            stock(&outbox, seq, product);
        }
        assert_eq!(seqs(take(&outbox, &bell)), [3, 5, 6]);
        assert!(take(&outbox, &bell).is_pending());
    }

    #[test]
    fn a_million_changes_of_one_product_are_one_frame() {
        let (outbox, bell) = (Outbox::for_stock(10), Arc::new(Bell::default()));
        for seq in 1..=1_000_000 {
            stock(&outbox, seq, 1);
        }
        assert_eq!(seqs(take(&outbox, &bell)), [1_000_000]);
    }

    #[test]
    fn too_many_products_at_once_send_the_reader_to_the_log_and_then_go_on() {
        let (outbox, bell) = (Outbox::for_stock(3), Arc::new(Bell::default()));
        for seq in 1..=5 {
            stock(&outbox, seq, seq);
        }
        assert_eq!(take(&outbox, &bell), Poll::Ready(Taken::Behind));
        stock(&outbox, 6, 6);
        assert_eq!(seqs(take(&outbox, &bell)), [6]);
    }

    #[test]
    fn order_events_are_all_kept_in_order_until_there_are_too_many() {
        let (outbox, bell) = (Outbox::for_orders(3), Arc::new(Bell::default()));
        for seq in 1..=3 {
            order(&outbox, seq);
        }
        assert_eq!(seqs(take(&outbox, &bell)), [1, 2, 3]);
        for seq in 4..=7 {
            order(&outbox, seq);
        }
        assert_eq!(take(&outbox, &bell), Poll::Ready(Taken::End(Ending::Overrun)));
    }

    #[test]
    fn a_reader_is_due_once_and_woken_by_the_hub_and_at_once_for_an_ending() {
        let (outbox, bell) = (Outbox::for_stock(10), Arc::new(Bell::default()));
        assert!(!stock(&outbox, 1, 1), "nobody waits yet");
        assert_eq!(seqs(take(&outbox, &bell)), [1]);
        assert!(take(&outbox, &bell).is_pending());
        let due = (2..=50).filter(|seq| stock(&outbox, *seq, *seq)).count();
        assert_eq!((due, bell.0.load(Ordering::Relaxed)), (1, 0));
        outbox.wake();
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        outbox.clear();
        assert!(take(&outbox, &bell).is_pending());
        outbox.end(Ending::GoingAway);
        outbox.end(Ending::SignedOut);
        assert_eq!(bell.0.load(Ordering::Relaxed), 2);
        assert_eq!(take(&outbox, &bell), Poll::Ready(Taken::End(Ending::GoingAway)));
    }

    #[test]
    fn requests_come_before_frames_and_only_so_many_wait() {
        let (outbox, bell) = (Outbox::for_stock(10), Arc::new(Bell::default()));
        assert!(take(&outbox, &bell).is_pending());
        stock(&outbox, 1, 1);
        let asked = (0..100).filter(|seq| outbox.ask(FeedRequest::Resume(Seq(*seq)))).count();
        assert_eq!((asked, bell.0.load(Ordering::Relaxed)), (REQUESTS_MAX, 1));
        for seq in 0..16 {
            let request = Taken::Request(FeedRequest::Resume(Seq(seq)));
            assert_eq!(take(&outbox, &bell), Poll::Ready(request));
        }
        assert_eq!(seqs(take(&outbox, &bell)), [1]);
    }

    #[test]
    fn what_a_snapshot_already_shows_can_be_taken_out() {
        let outbox = Outbox::for_stock(10);
        for seq in 1..=4 {
            stock(&outbox, seq, seq);
        }
        outbox.drop_product(ProductId(2));
        let taken = outbox.take_up_to(Seq(3));
        assert_eq!(taken.iter().map(|frame| frame.seq.0).collect::<Vec<_>>(), [1, 3]);
    }
}
