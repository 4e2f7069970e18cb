//! What readers were told lately, for as long as it may be repeated.
//!
//! A value is kept as the very bytes that are sent. Whether it may be repeated is not decided when
//! something happens but when it is wanted, by the [`Board`]; a sale costs the next reader of that
//! product a few new digits, and the database nothing.
//!
//! Promises: what is answered shows every write that this node had answered when it was asked, and
//! every write of any node that was committed [`LAG_MAX`] before; concurrent readers of one missing
//! value cause one load, and share its failure; memory is bounded by `cache_bytes`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Seat;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use metrics::Counter;
use quick_cache::{Equivalent, Weighter, sync};

use super::board::{About, Board, LAG_MAX};
use super::document::Document;
use super::redis::SharedCache;
use super::{CatalogError, CatalogSettings};
use crate::feed::{EventKind, Listener};
use crate::redis::Redis;
use crate::types::Seq;

/// How long a load may take. The server ends a statement sooner; a connection may break without a word.
const LOAD_TIMEOUT: Duration = Duration::from_secs(15);
/// What an entry takes besides its document, in bytes.
const ENTRY_BYTES: usize = 256;
/// The usual size of an entry, in bytes; only the first allocation depends on it.
const ENTRY_BYTES_USUAL: u64 = 2048;

static HITS: LazyLock<Counter> = LazyLock::new(|| reads("hit"));
static REDIS_HITS: LazyLock<Counter> = LazyLock::new(|| reads("redis_hit"));
static MISSES: LazyLock<Counter> = LazyLock::new(|| reads("miss"));

fn reads(result: &'static str) -> Counter {
    metrics::counter!("emporium_catalog_reads_total", "result" => result)
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    /// The detail of a product.
    Product(i64),
    /// The detail of a category.
    Category(i64),
    /// The list of all categories.
    Categories,
    /// The first page of a list of products, by the words it was asked for with.
    FirstPage(&'a str),
    /// Names for what somebody is typing, by the words they were asked for with.
    Suggestions(&'a str),
}

/// The same, to be kept. It hashes alike: the order of the variants is that of [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum KeptKey {
    Product(i64),
    Category(i64),
    Categories,
    FirstPage(Arc<str>),
    Suggestions(Arc<str>),
}

impl Key<'_> {
    fn kept(self) -> KeptKey {
        match self {
            Self::Product(id) => KeptKey::Product(id),
            Self::Category(id) => KeptKey::Category(id),
            Self::Categories => KeptKey::Categories,
            Self::FirstPage(words) => KeptKey::FirstPage(words.into()),
            Self::Suggestions(words) => KeptKey::Suggestions(words.into()),
        }
    }

    /// How it is told from every other, as text.
    pub(super) fn name(self) -> Cow<'static, str> {
        match self {
            Self::Product(id) => format!("product:{id}").into(),
            Self::Category(id) => format!("category:{id}").into(),
            Self::Categories => "categories".into(),
            Self::FirstPage(words) => format!("page:{words}").into(),
            Self::Suggestions(words) => format!("suggestions:{words}").into(),
        }
    }
}

impl Equivalent<KeptKey> for Key<'_> {
    fn equivalent(&self, kept: &KeptKey) -> bool {
        match (*self, kept) {
            (Self::Product(id), KeptKey::Product(kept)) => id == *kept,
            (Self::Category(id), KeptKey::Category(kept)) => id == *kept,
            (Self::Categories, KeptKey::Categories) => true,
            (Self::FirstPage(words), KeptKey::FirstPage(kept))
            | (Self::Suggestions(words), KeptKey::Suggestions(kept)) => *words == **kept,
            _ => false,
        }
    }
}

/// What there is; `None` when there is no such thing.
pub(super) type Found = Option<Arc<Document>>;

/// What a load gives.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The last event that its snapshot showed, or an earlier one.
    pub seq: i64,
    /// What it found.
    pub document: Option<Document>,
}

/// A load that has yet to begin.
pub(super) type Loading = BoxFuture<'static, Result<Loaded, CatalogError>>;

/// A value, and since when it is what it is.
struct Entry {
    about: About,
    /// What it takes, in bytes, whatever becomes of it.
    weight: usize,
    state: RwLock<State>,
}

struct State {
    /// The board's version at which it was last compared with it.
    version: u64,
    /// It shows every event about it up to this number.
    seq: i64,
    /// A moment at which it was what the database had; `None` where only the log can tell.
    known_at: Option<Instant>,
    found: Found,
}

impl Entry {
    fn new(about: About, Loaded { seq, document }: Loaded, known_at: Option<Instant>) -> Self {
        let found = document.map(Arc::new);
        let weight = ENTRY_BYTES + found.as_ref().map_or(0, |document| document.weight());
        // No version is the highest there is, so it is compared before it is first used.
        let state = State { version: u64::MAX, seq, known_at, found };
        Self { about, weight, state: RwLock::new(state) }
    }

    /// What may be answered now, if anything may.
    fn found(&self, board: &Board, now: Instant) -> Option<Found> {
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if !board.is_fresh(state.known_at, now) {
                return None;
            }
            if state.version == board.version() {
                return Some(state.found.clone());
            }
        }
        self.compared(board)
    }

    /// The same after a look at what has happened since.
    fn compared(&self, board: &Board) -> Option<Found> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let events = board.events();
        if !events.allow(self.about, state.seq) {
            return None;
        }
        let since = |product| events.stock_since(product, state.seq);
        let restocked = match (&state.found, self.about) {
            // What was not there has a stock by now.
            (None, About::Product(id)) if since(id).is_some() => return None,
            (None, _) => None,
            (Some(document), _) => document.restocked(since),
        };
        if let Some(document) = restocked {
            state.found = Some(Arc::new(document));
        }
        state.seq = state.seq.max(events.read());
        state.version = board.version();
        Some(state.found.clone())
    }

    /// What it holds, good or not.
    fn content(&self) -> Found {
        self.state.read().unwrap_or_else(PoisonError::into_inner).found.clone()
    }
}

/// A load under way.
struct Flight {
    number: u64,
    began: Instant,
    landing: WeakShared<BoxFuture<'static, Landing>>,
}

/// What it came to.
type Landing = Result<Arc<Entry>, CatalogError>;

#[derive(Default)]
struct Flights {
    by_key: HashMap<KeptKey, Flight>,
    begun: u64,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<KeptKey, Arc<Entry>> for Weigh {
    fn weight(&self, key: &KeptKey, entry: &Arc<Entry>) -> u64 {
        let words = match key {
            KeptKey::FirstPage(words) | KeptKey::Suggestions(words) => words.len(),
            _ => 0,
        };
        u64::try_from(entry.weight + words).unwrap_or(u64::MAX)
    }
}

/// The catalogue's read cache: in this process, and in Redis behind it where there is one.
pub struct CatalogCache {
    board: Board,
    local: Option<sync::Cache<KeptKey, Arc<Entry>, Weigh>>,
    flights: Mutex<Flights>,
    shared: Option<SharedCache>,
}

impl CatalogCache {
    /// An empty cache, with `redis` behind it where there is one, for nodes that know `secret`.
    #[must_use]
    pub(crate) fn open(settings: &CatalogSettings, redis: Option<&Redis>, secret: &str) -> Self {
        Self::new(settings, redis.map(|redis| SharedCache::new(redis, secret)))
    }

    fn new(settings: &CatalogSettings, shared: Option<SharedCache>) -> Self {
        let bytes = settings.cache_bytes;
        let local = (bytes > 0).then(|| {
            let usual = usize::try_from(bytes / ENTRY_BYTES_USUAL).unwrap_or(usize::MAX).max(1);
            sync::Cache::with_weighter(usual, bytes, Weigh)
        });
        Self { board: Board::new(), local, flights: Mutex::default(), shared }
    }

    /// What is known about `key` already and may be repeated. Never waits.
    pub(super) fn look(&self, key: Key<'_>) -> Option<Found> {
        let found = self.local.as_ref()?.get(&key)?.found(&self.board, Instant::now())?;
        HITS.increment(1);
        Some(found)
    }

    /// What is known about `key`, or else what one of those who wait for it loads.
    ///
    /// # Errors
    /// What the load says.
    pub(super) async fn get(
        self: &Arc<Self>,
        key: Key<'_>,
        about: About,
        load: impl Fn() -> Loading,
    ) -> Result<Found, CatalogError> {
        if let Some(found) = self.look(key) {
            return Ok(found);
        }
        let asked = Instant::now();
        loop {
            let (began, landing) = self.join(key, about, &load);
            let entry = landing.await?;
            if let Some(found) = entry.found(&self.board, Instant::now()) {
                return Ok(found);
            }
            // Overtaken already, but as of a moment after this call: good enough for it. One that
            // began before may lack a write that was answered by then; the next one began after.
            if began >= asked {
                return Ok(entry.content());
            }
        }
    }

    /// The load of `key` that is under way, if it is young enough, or a new one.
    fn join(
        self: &Arc<Self>,
        key: Key<'_>,
        about: About,
        load: impl Fn() -> Loading,
    ) -> (Instant, Shared<BoxFuture<'static, Landing>>) {
        let mut flights = self.flights();
        flights.begun += 1;
        let (number, now) = (flights.begun, Instant::now());
        let seat = flights.by_key.entry(key.kept());
        if let Seat::Occupied(seat) = &seat
            && let Flight { began, landing, .. } = seat.get()
            && now.saturating_duration_since(*began) < LAG_MAX
            && let Some(landing) = landing.upgrade()
        {
            return (*began, landing);
        }
        let kept = seat.key().clone();
        let landing = self.clone().fly(kept, about, number, now, load()).boxed().shared();
        if let Some(weak) = landing.downgrade() {
            seat.insert_entry(Flight { number, began: now, landing: weak });
        }
        (now, landing)
    }

    async fn fly(
        self: Arc<Self>,
        key: KeptKey,
        about: About,
        number: u64,
        began: Instant,
        load: Loading,
    ) -> Landing {
        let ticket = Ticket { cache: &self, key, number };
        let obtained = tokio::time::timeout(LOAD_TIMEOUT, self.obtain(&ticket.key, about, began, load)).await;
        let entry = Arc::new(obtained.unwrap_or(Err(CatalogError::Unavailable))?);
        if let Some(local) = &self.local {
            local.insert(ticket.key.clone(), entry.clone());
        }
        Ok(entry)
    }

    async fn obtain(
        &self,
        key: &KeptKey,
        about: About,
        began: Instant,
        load: Loading,
    ) -> Result<Entry, CatalogError> {
        let key = key.borrow();
        let Some(shared) = &self.shared else {
            MISSES.increment(1);
            return Ok(Entry::new(about, load.await?, Some(began)));
        };
        if let Some(entry) = self.obtain_shared(shared, key, about).await {
            REDIS_HITS.increment(1);
            return Ok(entry);
        }
        MISSES.increment(1);
        let loaded = load.await?;
        shared.put(key, &loaded);
        Ok(Entry::new(about, loaded, Some(began)))
    }

    /// What another node has left in Redis, if it is good here. Only the log can tell that.
    async fn obtain_shared(&self, shared: &SharedCache, key: Key<'_>, about: About) -> Option<Entry> {
        if !self.board.is_log_fresh(Instant::now()) {
            return None;
        }
        let loaded = shared.get(key).await?;
        // Nothing can be said of it where this node's own knowledge ends; nor is anything from beyond
        // taken, so that values outlive no database that is set back to an earlier state.
        if loaded.seq > self.board.events().read() {
            return None;
        }
        let entry = Entry::new(about, loaded, None);
        entry.found(&self.board, Instant::now())?;
        Some(entry)
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptKey {
    fn borrow(&self) -> Key<'_> {
        match self {
            Self::Product(id) => Key::Product(*id),
            Self::Category(id) => Key::Category(*id),
            Self::Categories => Key::Categories,
            Self::FirstPage(words) => Key::FirstPage(words),
            Self::Suggestions(words) => Key::Suggestions(words),
        }
    }
}

/// A place among the flights, given up when the load ends, and when nobody waits for it any more.
struct Ticket<'a> {
    cache: &'a CatalogCache,
    key: KeptKey,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut flights = self.cache.flights();
        if flights.by_key.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            flights.by_key.remove(&self.key);
        }
    }
}

impl Listener for CatalogCache {
    fn on_event(&self, seq: Seq, kind: &EventKind) {
        self.board.on_event(seq.0, kind);
    }

    fn on_read(&self, seq: Seq, began: Instant) {
        self.board.on_read(seq.0, began);
    }

    fn on_gap(&self, seq: Seq) {
        self.board.on_gap(seq.0);
    }
}

#[cfg(test)]
mod tests;
