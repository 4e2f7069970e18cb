//! The part of the read cache that nodes share.
//!
//! Promises: a value is exactly what some node read, or it is not returned: a digest over key and
//! content turns rubbish into a miss. Redis being slow, full or gone is a miss too, after which it
//! is left alone for a moment. Nothing is ever deleted here; readers judge each value by its number.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use deadpool_redis::redis::AsyncCommands;
use deadpool_redis::{Config, Pool, PoolConfig, Runtime};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::cache::{Document, Entry, Key, LIFETIME};

/// How long a look into Redis may take before it is a miss.
const TIMEOUT: Duration = Duration::from_millis(50);
/// How long Redis is left alone after it failed.
const REST: Duration = Duration::from_secs(1);
/// Connections, each used by one look at a time.
const CONNECTIONS_MAX: usize = 16;
/// The most values on their way into Redis; what would be one more is not stored.
const WRITES_MAX: usize = 16;
/// Larger values are left to Postgres.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Goes up when the format or the meaning of a value changes, so that nodes of two versions do not
/// read each other's.
const FORMAT: u32 = 1;

/// Redis as the cache uses it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Redis {
    pool: Pool,
    shared: Arc<Shared>,
}

struct Shared {
    namespace: OnceLock<String>,
    writes: Arc<Semaphore>,
    started: Instant,
    /// Milliseconds after `started` before which Redis is left alone.
    rest_until_ms: AtomicU64,
}

impl Redis {
    /// A pool for this URL; connects when it is first used. `None`, and a line in the log, when the
    /// URL is unusable.
    pub(super) fn new(url: &str) -> Option<Self> {
        let config = Config { pool: Some(PoolConfig::new(CONNECTIONS_MAX)), ..Config::from_url(url) };
        let pool = config
            .create_pool(Some(Runtime::Tokio1))
            // The error may repeat the URL, and that holds a password.
            .map_err(|_| tracing::error!("REDIS_URL is unusable; caching in this process alone"))
            .ok()?;
        let shared = Shared {
            namespace: OnceLock::new(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            started: Instant::now(),
            rest_until_ms: AtomicU64::new(0),
        };
        Some(Self { pool, shared: Arc::new(shared) })
    }

    pub(super) fn lacks_namespace(&self) -> bool {
        self.shared.namespace.get().is_none()
    }

    pub(super) fn set_namespace(&self, namespace: String) {
        // Two first readers set the same.
        self.shared.namespace.set(namespace).ok();
    }

    /// What some node stored under `key`, if it is whole.
    pub(super) async fn get(&self, key: Key) -> Option<Entry> {
        let name = self.name(key)?;
        let look = async {
            let mut connection = self.pool.get().await.ok()?;
            connection.get::<_, Option<Vec<u8>>>(&name).await.ok()
        };
        let stored = self.watch(look).await??;
        let entry = decode(&name, &Bytes::from(stored));
        if entry.is_none() {
            tracing::debug!(name, "Redis held something else under a key of the catalogue");
        }
        entry
    }

    /// Stores a value in the background, if Redis is well.
    pub(super) fn put(&self, key: Key, entry: Arc<Entry>) {
        let Ok(permit) = self.shared.writes.clone().try_acquire_owned() else { return };
        let Some(name) = self.name(key) else { return };
        let redis = self.clone();
        tokio::spawn(async move {
            let Some(value) = encode(&name, &entry) else { return };
            let write = async {
                let mut connection = redis.pool.get().await.ok()?;
                connection.set_ex::<_, _, ()>(&name, value, LIFETIME.as_secs()).await.ok()
            };
            redis.watch(write).await;
            drop(permit);
        });
    }

    /// The name of `key`, unless Redis has to be left alone.
    fn name(&self, key: Key) -> Option<String> {
        if self.shared.now_ms() < self.shared.rest_until_ms.load(Ordering::Relaxed) {
            return None;
        }
        let namespace = self.shared.namespace.get()?;
        let subject = match key {
            Key::Product(id) => format!("product:{id}"),
            Key::Category(id) => format!("category:{id}"),
            Key::Categories => "categories".to_owned(),
        };
        Some(format!("emporium:{FORMAT}:{namespace}:{subject}"))
    }

    /// Runs `work` for as long as it may take; leaves Redis alone for a moment if it fails.
    async fn watch<T>(&self, work: impl Future<Output = Option<T>>) -> Option<T> {
        let result = tokio::time::timeout(TIMEOUT, work).await.ok().flatten();
        if result.is_none() {
            let until = self.shared.now_ms() + millis(REST);
            let before = self.shared.rest_until_ms.swap(until, Ordering::Relaxed);
            if before + millis(REST) < until {
                tracing::warn!("Redis failed or was slow; reading from the database meanwhile");
            }
            metrics::counter!("catalog_redis_failures_total").increment(1);
        }
        result
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `<digest> <seq> <version> <stock version>`, a line feed, the body. That there is no such thing
/// stays in the process that learned it.
fn encode(name: &str, entry: &Entry) -> Option<Vec<u8>> {
    let document = entry.document.as_ref().filter(|document| document.body.len() <= BODY_BYTES_MAX)?;
    let numbers = format!("{} {} {}", entry.seq, document.version, document.stock_version);
    let mut value = format!("{} {numbers}\n", digest(name, &numbers, &document.body)).into_bytes();
    value.extend_from_slice(&document.body);
    Some(value)
}

fn decode(name: &str, stored: &Bytes) -> Option<Entry> {
    let end = stored.iter().take(256).position(|byte| *byte == b'\n')?;
    let (expected, numbers) = std::str::from_utf8(stored.get(..end)?).ok()?.split_once(' ')?;
    let body = stored.slice(end + 1..);
    if digest(name, numbers, &body) != expected {
        return None;
    }
    let mut parsed = numbers.split(' ').map(str::parse::<i64>);
    let mut number = || parsed.next()?.ok();
    let (seq, version, stock_version) = (number()?, number()?, number()?);
    Some(Entry { seq, document: Some(Document { body, version, stock_version }) })
}

fn digest(name: &str, numbers: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [name.as_bytes(), b"\n", numbers.as_bytes(), b"\n", body] {
        hash.update(part);
    }
    hash.finalize().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let body = Bytes::from_static(b"{\"id\":1}\n");
        Entry { seq: 7, document: Some(Document { body, version: 2, stock_version: 3 }) }
    }

    #[test]
    fn a_value_survives_the_way_there_and_back() {
        let stored = encode("product:1", &entry()).unwrap();
        assert_eq!(decode("product:1", &stored.into()), Some(entry()));
    }

    #[test]
    fn anything_but_the_whole_value_under_its_own_name_is_a_miss() {
        let stored = encode("product:1", &entry()).unwrap();
        assert_eq!(decode("product:2", &stored.clone().into()), None);
        for length in 0..stored.len() {
            assert_eq!(decode("product:1", &Bytes::copy_from_slice(&stored[..length])), None);
        }
        for position in 0..stored.len() {
            let mut changed = stored.clone();
            changed[position] ^= 1;
            assert_eq!(decode("product:1", &changed.into()), None);
        }
        assert_eq!(decode("product:1", &Bytes::from_static(b"\xff\xfe rubbish\n")), None);
    }

    #[tokio::test]
    async fn a_redis_that_is_gone_is_a_quick_miss() {
        let redis = Redis::new("redis://127.0.0.1:1").unwrap();
        redis.set_namespace("test".to_owned());
        assert_eq!(redis.get(Key::Product(1)).await, None);
        assert_eq!(redis.name(Key::Product(1)), None, "and is left alone for a moment");
    }
}
