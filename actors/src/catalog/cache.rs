//! What readers were told lately, and how long it may be repeated.
//!
//! Every value carries the `seq` at which it was read: the last number of the event log in the same
//! snapshot, which therefore shows every write up to that number and may show none after it. For
//! each product and category the node remembers the number of the last event about it. A value is
//! good exactly while its number is not below that one. So nothing has to be invalidated, here or
//! in Redis: a value that was read before a write and stored after it is void where it lies.
//!
//! Promises: on the node that wrote, the next read sees the write; on the others, as soon as they
//! have read the log, which a node that cannot do so for [`LOG_SILENT_MAX`] replaces by not caching.
//! Concurrent readers of one missing key cause one query. Memory is bounded: past [`MARKS_MAX`]
//! remembered events, all that is older than the last of them is void instead.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::future::Cache;

use super::redis::SharedCache;
use super::{CatalogError, CatalogSettings};
use crate::feed::{EventKind, Listener};
use crate::redis::Redis;
use crate::types::Seq;

/// The most events that are remembered one by one.
const MARKS_MAX: usize = 100_000;
/// How long the log may go unread before nothing is repeated.
const LOG_SILENT_MAX: Duration = Duration::from_secs(10);
/// How long a value is kept at most.
pub(super) const LIFETIME: Duration = Duration::from_mins(10);
/// An entry counts once for each such part of its size, so that large ones cannot fill the memory.
const ENTRY_BYTES: usize = 4096;
/// How often a reader looks again when what it got was overtaken by a write.
const ATTEMPTS: usize = 3;

/// What a value is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The detail of a product.
    Product(i64),
    /// The detail of a category.
    Category(i64),
    /// The list of all categories.
    Categories,
}

/// A value as the contract shows it, serialized once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// JSON, UTF-8.
    pub body: Bytes,
    /// A product's edit version, the first half of its `ETag`; 0 for others.
    pub version: i64,
    /// The version of a product's stock, the second half; 0 for others.
    pub stock_version: i64,
}

/// A value, or the knowledge that there is none, with the moment it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The last event that its snapshot showed.
    pub seq: i64,
    /// `None` when there is no such thing.
    pub document: Option<Document>,
}

/// The last event about each thing, as far as it still matters.
#[derive(Debug)]
struct Marks {
    /// What is older is void, whatever it is about. Nothing is good before the log was first read.
    floor: i64,
    by_key: HashMap<Key, i64>,
    /// The highest number remembered.
    newest: i64,
    /// When the log was last read.
    read_at: Option<Instant>,
}

impl Marks {
    fn new() -> Self {
        Self { floor: i64::MAX, by_key: HashMap::new(), newest: 0, read_at: None }
    }

    fn on_event(&mut self, seq: i64, kind: &EventKind) {
        match kind {
            EventKind::Stock { product, .. }
            | EventKind::Product { product }
            | EventKind::Removed { product } => self.mark(Key::Product(product.0), seq),
            EventKind::Category { category } => {
                self.mark(Key::Category(category.0), seq);
                self.mark(Key::Categories, seq);
            }
            EventKind::Order { .. } | EventKind::Session { .. } | EventKind::User { .. } => {}
        }
    }

    fn mark(&mut self, key: Key, seq: i64) {
        self.newest = self.newest.max(seq);
        let mark = self.by_key.entry(key).or_insert(seq);
        *mark = seq.max(*mark);
        if self.by_key.len() > MARKS_MAX {
            // Before the first read the floor is as high as can be, and stays there.
            self.floor = self.floor.max(self.newest);
            self.by_key = HashMap::new();
        }
    }

    fn on_read(&mut self, seq: i64, now: Instant) {
        let starting = self.floor == i64::MAX;
        if starting {
            self.floor = seq;
        } else if self.is_log_silent(now) {
            // Who knows what the reader had to skip.
            self.floor = self.floor.max(seq);
        }
        self.read_at = Some(now);
    }

    fn is_log_silent(&self, now: Instant) -> bool {
        self.read_at.is_none_or(|read_at| now.duration_since(read_at) > LOG_SILENT_MAX)
    }

    /// The least number that makes a value about `key` good; `None` when none would.
    fn needed(&self, key: Key, now: Instant) -> Option<i64> {
        if self.floor == i64::MAX || self.is_log_silent(now) {
            return None;
        }
        Some(self.by_key.get(&key).map_or(self.floor, |mark| self.floor.max(*mark)))
    }
}

/// The catalogue's read cache: in this process, and in Redis behind it where there is one.
pub struct CatalogCache {
    marks: RwLock<Marks>,
    local: Cache<Key, Arc<Entry>>,
    shared: Option<SharedCache>,
}

impl CatalogCache {
    /// An empty cache, with `redis` behind it where there is one.
    #[must_use]
    pub(crate) fn new(settings: &CatalogSettings, redis: Option<Redis>) -> Self {
        let local = Cache::builder()
            .max_capacity(settings.cache_entries_max)
            .weigher(|_, entry: &Arc<Entry>| weight(entry))
            .time_to_live(LIFETIME)
            .build();
        Self { marks: RwLock::new(Marks::new()), local, shared: redis.map(SharedCache::new) }
    }

    /// What is known about `key`: repeated where that is good, loaded otherwise, by one of those
    /// who wait for it.
    ///
    /// # Errors
    /// What `load` says.
    pub(crate) async fn get<Load, Loading>(&self, key: Key, load: Load) -> Result<Arc<Entry>, CatalogError>
    where
        Load: Fn() -> Loading,
        Loading: Future<Output = Result<Entry, CatalogError>>,
    {
        // A value as of the beginning of this call is good enough for it, even if a write overtakes
        // the call; and a load that this call starts is never older.
        let Some(needed) = self.marks().needed(key, Instant::now()) else {
            return load().await.map(Arc::new);
        };
        for _ in 0..ATTEMPTS {
            if let Some(entry) = self.local.get(&key).await {
                if entry.seq >= needed {
                    count("hit");
                    return Ok(entry);
                }
                self.local.invalidate(&key).await;
            }
            let fetched = self.local.try_get_with(key, self.fetch(key, needed, &load)).await;
            let entry = fetched.map_err(|error| CatalogError::clone(&error))?;
            // Not so when somebody else began to load it before the write that we must see.
            if entry.seq >= needed {
                return Ok(entry);
            }
        }
        load().await.map(Arc::new)
    }

    async fn fetch<Load, Loading>(
        &self,
        key: Key,
        needed: i64,
        load: &Load,
    ) -> Result<Arc<Entry>, CatalogError>
    where
        Load: Fn() -> Loading,
        Loading: Future<Output = Result<Entry, CatalogError>>,
    {
        if let Some(shared) = &self.shared
            && let Some(entry) = shared.get(key).await
            && entry.seq >= needed
        {
            count("redis_hit");
            return Ok(Arc::new(entry));
        }
        count("miss");
        let entry = Arc::new(load().await?);
        if let Some(shared) = &self.shared {
            shared.put(key, entry.clone());
        }
        Ok(entry)
    }

    fn marks(&self) -> RwLockReadGuard<'_, Marks> {
        self.marks.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for CatalogCache {
    fn on_event(&self, seq: Seq, kind: &EventKind) {
        if matches!(kind, EventKind::Order { .. } | EventKind::Session { .. } | EventKind::User { .. }) {
            return;
        }
        self.marks.write().unwrap_or_else(PoisonError::into_inner).on_event(seq.0, kind);
    }

    fn on_read(&self, seq: Seq) {
        self.marks.write().unwrap_or_else(PoisonError::into_inner).on_read(seq.0, Instant::now());
    }
}

fn weight(entry: &Entry) -> u32 {
    let bytes = entry.document.as_ref().map_or(0, |document| document.body.len());
    u32::try_from(1 + bytes / ENTRY_BYTES).unwrap_or(u32::MAX)
}

fn count(result: &'static str) {
    metrics::counter!("catalog_cache_reads_total", "result" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::types::{CategoryId, Money, ProductId};

    const PRODUCT: Key = Key::Product(1);

    fn sold(product: i64) -> EventKind {
        EventKind::Stock { product: ProductId(product), stock: 1, price: Money::ZERO }
    }

    fn entry(seq: i64) -> Entry {
        let body = Bytes::from(format!("as of {seq}"));
        Entry { seq, document: Some(Document { body, version: 1, stock_version: 1 }) }
    }

    fn cache() -> CatalogCache {
        CatalogCache::new(&CatalogSettings { cache_entries_max: 100 }, None)
    }

    #[test]
    fn a_value_is_good_until_an_event_about_it() {
        let (mut marks, now) = (Marks::new(), Instant::now());
        assert_eq!(marks.needed(PRODUCT, now), None, "nothing is good before the log was read");
        marks.on_read(5, now);
        assert_eq!(marks.needed(PRODUCT, now), Some(5));
        marks.on_event(8, &sold(1));
        marks.on_event(7, &sold(1));
        assert_eq!(marks.needed(PRODUCT, now), Some(8), "the highest number counts, in any order");
        assert_eq!(marks.needed(Key::Product(2), now), Some(5));
        marks.on_event(9, &EventKind::Category { category: CategoryId(1) });
        assert_eq!(marks.needed(Key::Category(1), now), Some(9));
        assert_eq!(marks.needed(Key::Categories, now), Some(9));
        assert_eq!(marks.needed(Key::Category(2), now), Some(5));
    }

    #[test]
    fn too_many_marks_become_one_floor() {
        let (mut marks, now) = (Marks::new(), Instant::now());
        marks.on_read(0, now);
        let last = i64::try_from(MARKS_MAX).unwrap() + 1;
        for product in 1..=last {
            marks.on_event(product, &sold(product));
        }
        assert!(marks.by_key.is_empty());
        assert_eq!(marks.needed(Key::Product(last + 1), now), Some(last));
    }

    #[test]
    fn a_node_that_cannot_read_the_log_repeats_nothing() {
        let (mut marks, now) = (Marks::new(), Instant::now());
        marks.on_read(5, now);
        let later = now + LOG_SILENT_MAX + Duration::from_secs(1);
        assert_eq!(marks.needed(PRODUCT, later), None);
        marks.on_read(9, later);
        assert_eq!(marks.needed(PRODUCT, later), Some(9), "and then nothing from before the silence");
    }

    #[tokio::test]
    async fn a_value_read_before_a_write_and_stored_after_it_is_void() {
        let cache = cache();
        cache.on_read(Seq(5));
        let read = cache.get(PRODUCT, || async {
            let value = entry(5);
            cache.on_event(Seq(6), &sold(1));
            Ok(value)
        });
        assert_eq!(read.await.unwrap().seq, 5, "its reader asked before the write");
        let read = cache.get(PRODUCT, || async { Ok(entry(6)) });
        assert_eq!(read.await.unwrap().seq, 6);
        let read = cache.get(PRODUCT, || async { Ok(entry(7)) });
        assert_eq!(read.await.unwrap().seq, 6, "good, so not loaded again");
    }

    #[tokio::test]
    async fn a_reader_who_joins_an_older_load_after_a_write_sees_the_write() {
        let cache = Arc::new(cache());
        cache.on_read(Seq(5));
        let (begun, go_on) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let first = tokio::spawn({
            let (cache, begun, go_on) = (cache.clone(), begun.clone(), go_on.clone());
            async move {
                let load = || async {
                    begun.notify_one();
                    go_on.notified().await;
                    Ok(entry(5))
                };
                cache.get(PRODUCT, load).await.map(|entry| entry.seq)
            }
        });
        begun.notified().await;
        cache.on_event(Seq(6), &sold(1));
        let second = cache.get(PRODUCT, || async { Ok(entry(6)) });
        let release = async { go_on.notify_one() };
        let (second, ()) = tokio::join!(second, release);
        assert_eq!(second.unwrap().seq, 6);
        assert_eq!(first.await.unwrap(), Ok(5));
    }

    #[tokio::test]
    async fn many_readers_of_a_cold_key_cause_one_load() {
        let cache = cache();
        cache.on_read(Seq(5));
        let loads = AtomicUsize::new(0);
        let read = || {
            cache.get(PRODUCT, || async {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(entry(5))
            })
        };
        let (a, b, c) = tokio::join!(read(), read(), read());
        assert_eq!((a.unwrap().seq, b.unwrap().seq, c.unwrap().seq), (5, 5, 5));
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }
}
