//! What this node knows to have happened to the catalogue since its values were read.
//!
//! Every value carries the `seq` at which it was read: the last number of the event log in the same
//! snapshot, which therefore shows every write up to that number and may show none after it. The
//! board remembers the last events about each product and category, so it can tell of a value that
//! it is good still, that only its stocks are others by now, or that it is void. Nothing has to be
//! thrown away when something happens, neither here nor in Redis: a value that was read before a
//! write and stored after it is void where it lies.
//!
//! Promises: a value that it calls good shows everything that this node had committed when it was
//! asked, and everything that any node had committed [`LAG_MAX`] before, as long as the log is read;
//! where it is not, a value is good for that long after it was read and no longer. Memory is
//! bounded: events are forgotten a generation of [`GENERATION`] subjects at a time, and with them
//! the values that were last looked at before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::feed::EventKind;

/// The most that an answer may lag behind the database.
pub(super) const LAG_MAX: Duration = Duration::from_secs(1);
/// After this long without a look at the log, part of it may be gone for ever.
const LOG_LOST: Duration = Duration::from_secs(10);
/// How many subjects' events are remembered before the generation before them is forgotten.
const GENERATION: usize = 50_000;

/// What a value shows, which is what can make it void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A product, or that there is none.
    Product(i64),
    /// A category, or that there is none.
    Category(i64),
    /// All categories.
    Categories,
    /// Some products.
    Products {
        /// Whether it depends on their stocks which ones, or in which order.
        by_stock: bool,
    },
}

/// What an event can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Product(i64),
    Category(i64),
}

/// The last events about a subject; 0 where there was none.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// It was edited or removed.
    changed: i64,
    /// Its stock changed, or it appeared.
    sold: i64,
    /// Its stock since then.
    stock: i64,
}

/// What happened, as far as it still matters.
#[derive(Debug)]
pub(super) struct Events {
    /// Events up to this number may be forgotten. Nothing is known before the log was first read.
    floor: i64,
    /// How far the log has been read. Own commits are told before it is, and again when it is.
    read: i64,
    /// The highest number told.
    newest: i64,
    /// The last edit of any category.
    categories: i64,
    /// The last event that may have changed what products there are, or what they look like.
    products: i64,
    /// The last change of any stock.
    stocks: i64,
    recent: HashMap<Subject, Mark>,
    older: HashMap<Subject, Mark>,
    /// The highest number that had been told when `older` was full.
    older_newest: i64,
    /// How many subjects a generation has.
    generation: usize,
}

/// The board of a node. Read by every request, written by every commit and the log's reader.
pub(super) struct Board {
    began: Instant,
    /// Grows with every event that can matter to a value.
    version: AtomicU64,
    /// When the last read of the log began, in microseconds after `began`; 0 before the first.
    read_at_us: AtomicU64,
    events: RwLock<Events>,
}

impl Board {
    /// Knows nothing, and so calls nothing good.
    pub(super) fn new() -> Self {
        Self::with_generation(GENERATION)
    }

    fn with_generation(generation: usize) -> Self {
        let events = Events {
            floor: i64::MAX,
            read: 0,
            newest: 0,
            categories: 0,
            products: 0,
            stocks: 0,
            recent: HashMap::new(),
            older: HashMap::new(),
            older_newest: 0,
            generation,
        };
        Self {
            began: Instant::now(),
            version: AtomicU64::new(0),
            read_at_us: AtomicU64::new(0),
            events: RwLock::new(events),
        }
    }

    /// Changes whenever a value may have to be looked at again.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether what was good at `known_at`, and has been compared with the board since, can be no
    /// older than [`LAG_MAX`] now.
    pub(super) fn is_fresh(&self, known_at: Option<Instant>, now: Instant) -> bool {
        self.is_log_fresh(now) || known_at.is_some_and(|at| now.saturating_duration_since(at) <= LAG_MAX)
    }

    /// Whether the log was read lately.
    pub(super) fn is_log_fresh(&self, now: Instant) -> bool {
        self.read_at().is_some_and(|at| now.saturating_duration_since(at) <= LAG_MAX)
    }

    /// What happened; nothing more happens while it is held.
    pub(super) fn events(&self) -> RwLockReadGuard<'_, Events> {
        self.events.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// `kind` has been committed as number `seq`.
    pub(super) fn on_event(&self, seq: i64, kind: &EventKind) {
        if matches!(kind, EventKind::Order { .. } | EventKind::Session { .. } | EventKind::User { .. }) {
            return;
        }
        let mut events = self.events_mut();
        events.note(seq, kind);
        // While the events are locked, so that whoever reads both reads what belongs together.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The log has been read to its end, which was `seq`, by a read that began at `began`.
    pub(super) fn on_read(&self, seq: i64, began: Instant) {
        let mut events = self.events_mut();
        let lost = self.read_at().is_none_or(|at| began.saturating_duration_since(at) > LOG_LOST);
        if events.floor == i64::MAX {
            events.floor = seq;
        } else if lost {
            events.floor = events.floor.max(seq);
            self.version.fetch_add(1, Ordering::Release);
        }
        events.read = events.read.max(seq);
        let at_us = u64::try_from(began.saturating_duration_since(self.began).as_micros());
        self.read_at_us.store(at_us.unwrap_or(u64::MAX).max(1), Ordering::Release);
    }

    /// Events up to `seq` may never be told.
    pub(super) fn on_gap(&self, seq: i64) {
        let mut events = self.events_mut();
        events.floor = events.floor.max(seq);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn read_at(&self) -> Option<Instant> {
        match self.read_at_us.load(Ordering::Acquire) {
            0 => None,
            at_us => self.began.checked_add(Duration::from_micros(at_us)),
        }
    }

    fn events_mut(&self) -> RwLockWriteGuard<'_, Events> {
        self.events.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    /// Whether a value about this, read at `seq`, is good but for the stocks in it.
    pub(super) fn allow(&self, about: About, seq: i64) -> bool {
        let last = match about {
            About::Product(id) => self.mark(Subject::Product(id)).changed,
            About::Category(id) => self.mark(Subject::Category(id)).changed,
            About::Categories => self.categories,
            About::Products { by_stock: true } => self.products.max(self.stocks),
            About::Products { by_stock: false } => self.products,
        };
        seq >= self.floor && seq >= last
    }

    /// The stock of a product, if it has changed after `seq`.
    pub(super) fn stock_since(&self, product: i64, seq: i64) -> Option<i64> {
        let mark = self.mark(Subject::Product(product));
        (mark.sold > seq).then_some(mark.stock)
    }

    /// How far the log has been read: a value that has just been found good is as good as one that
    /// was read at this number.
    pub(super) fn read(&self) -> i64 {
        self.read
    }

    fn mark(&self, subject: Subject) -> Mark {
        self.recent.get(&subject).or_else(|| self.older.get(&subject)).copied().unwrap_or_default()
    }

    fn note(&mut self, seq: i64, kind: &EventKind) {
        match *kind {
            EventKind::Stock { product, stock, .. } => {
                self.stocks = self.stocks.max(seq);
                let mark = self.mark_mut(Subject::Product(product.0));
                if seq > mark.sold {
                    (mark.sold, mark.stock) = (seq, stock);
                }
            }
            EventKind::Product { product } | EventKind::Removed { product } => {
                self.products = self.products.max(seq);
                let mark = self.mark_mut(Subject::Product(product.0));
                mark.changed = mark.changed.max(seq);
            }
            EventKind::Category { category } => {
                self.categories = self.categories.max(seq);
                let mark = self.mark_mut(Subject::Category(category.0));
                mark.changed = mark.changed.max(seq);
            }
            EventKind::Order { .. } | EventKind::Session { .. } | EventKind::User { .. } => {}
        }
        self.newest = self.newest.max(seq);
    }

    fn mark_mut(&mut self, subject: Subject) -> &mut Mark {
        if self.recent.len() >= self.generation && !self.recent.contains_key(&subject) {
            // Before the first read the floor is as high as can be, and stays there.
            self.floor = self.floor.max(self.older_newest);
            self.older_newest = self.newest;
            self.older = std::mem::take(&mut self.recent);
        }
        let older = &mut self.older;
        self.recent.entry(subject).or_insert_with(|| older.remove(&subject).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CategoryId, Money, ProductId};

    const LAMP: About = About::Product(1);
    const CHAIR: About = About::Product(2);
    const LIST: About = About::Products { by_stock: false };
    const BY_STOCK: About = About::Products { by_stock: true };

    fn sold(product: i64, stock: i64) -> EventKind {
        EventKind::Stock { product: ProductId(product), stock, price: Money::ZERO }
    }

    fn edited(product: i64) -> EventKind {
        EventKind::Product { product: ProductId(product) }
    }

    fn board(seq: i64) -> Board {
        let board = Board::new();
        board.on_read(seq, Instant::now());
        board
    }

    /// The least number at which a value about this is good.
    fn needed(board: &Board, about: About) -> i64 {
        let good = (0..100).find(|seq| board.events().allow(about, *seq));
        good.expect("some value is good")
    }

    #[test]
    fn nothing_is_good_before_the_log_was_read() {
        let board = Board::new();
        assert!(!board.events().allow(LAMP, 50) && !board.is_log_fresh(Instant::now()));
        board.on_event(60, &edited(1));
        assert!(!board.events().allow(LAMP, 70));
        board.on_read(70, Instant::now());
        assert_eq!(needed(&board, LAMP), 70);
    }

    #[test]
    fn an_edit_voids_its_product_and_the_lists() {
        let board = board(5);
        let version = board.version();
        board.on_event(8, &edited(1));
        assert!(board.version() > version);
        board.on_event(7, &EventKind::Removed { product: ProductId(1) });
        assert_eq!(needed(&board, LAMP), 8, "the highest number counts, in any order");
        assert_eq!((needed(&board, CHAIR), needed(&board, LIST), needed(&board, BY_STOCK)), (5, 8, 8));
        board.on_event(9, &EventKind::Category { category: CategoryId(3) });
        assert_eq!((needed(&board, About::Category(3)), needed(&board, About::Categories)), (9, 9));
        assert_eq!((needed(&board, About::Category(4)), needed(&board, LIST)), (5, 8));
    }

    #[test]
    fn a_sale_changes_a_stock_and_voids_only_what_is_listed_by_stock() {
        let board = board(5);
        board.on_event(8, &sold(1, 40));
        board.on_event(7, &sold(1, 50));
        assert_eq!((needed(&board, LAMP), needed(&board, LIST), needed(&board, BY_STOCK)), (5, 5, 8));
        let events = board.events();
        assert_eq!((events.stock_since(1, 5), events.stock_since(1, 7)), (Some(40), Some(40)));
        assert_eq!((events.stock_since(1, 8), events.stock_since(2, 5)), (None, None));
    }

    #[test]
    fn what_happened_to_others_is_none_of_its_business() {
        let board = board(5);
        let version = board.version();
        board.on_event(6, &EventKind::User { user: crate::types::UserId(1) });
        assert_eq!((board.version(), needed(&board, LIST)), (version, 5));
    }

    #[test]
    fn events_are_forgotten_by_generations_and_their_values_with_them() {
        let board = Board::with_generation(2);
        board.on_read(0, Instant::now());
        for product in 1..=4 {
            board.on_event(product, &sold(product, 9));
        }
        assert_eq!(needed(&board, CHAIR), 0, "two generations are remembered");
        assert_eq!(board.events().stock_since(1, 0), Some(9));
        board.on_event(5, &sold(3, 8));
        assert_eq!(needed(&board, CHAIR), 0, "a known subject takes no room");
        board.on_event(6, &sold(5, 9));
        assert_eq!(needed(&board, CHAIR), 2, "the oldest generation, with events up to 2, is forgotten");
        assert_eq!(board.events().stock_since(3, 2), Some(8));
        board.on_event(7, &sold(6, 9));
        board.on_event(8, &sold(3, 7));
        assert_eq!(needed(&board, CHAIR), 5);
        assert_eq!(board.events().stock_since(3, 5), Some(7), "who comes again is not forgotten");
    }

    #[test]
    fn a_log_that_is_not_read_makes_values_old() {
        let board = Board::new();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        board.on_read(5, start);
        assert!(board.is_fresh(None, after(900)) && !board.is_fresh(None, after(1100)));
        assert!(board.is_fresh(Some(after(500)), after(1400)), "read from the database meanwhile");
        assert!(!board.is_fresh(Some(after(500)), after(1600)));
        board.on_read(6, after(1500));
        assert!(board.is_fresh(None, after(1600)));
        assert_eq!(needed(&board, LAMP), 5);
        board.on_read(9, after(20_000));
        assert_eq!(needed(&board, LAMP), 9, "who knows what was skipped");
    }
}
