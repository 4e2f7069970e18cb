//! The part of the read cache that nodes share.
//!
//! Promises: a value is exactly what some node read, or it is not returned: a digest over key and
//! content turns rubbish into a miss, and a Redis that is slow, full or gone is a miss too. Nothing
//! is ever deleted here; readers judge each value by its number.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_redis::redis::AsyncCommands;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::cache::{Document, Entry, Key, LIFETIME};
use crate::redis::Redis;

/// The most values on their way into Redis; what would be one more is not stored.
const WRITES_MAX: usize = 16;
/// Larger values are left to Postgres.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Goes up when the format or the meaning of a value changes, so that nodes of two versions do not
/// read each other's.
const FORMAT: u32 = 1;

/// Redis as the cache uses it.
pub(super) struct SharedCache {
    redis: Redis,
    writes: Arc<Semaphore>,
}

impl SharedCache {
    /// The catalogue's part of `redis`.
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis, writes: Arc::new(Semaphore::new(WRITES_MAX)) }
    }

    /// What some node stored under `key`, if it is whole.
    pub(super) async fn get(&self, key: Key) -> Option<Entry> {
        let name = self.name(key);
        let look = |mut connection: deadpool_redis::Connection| {
            let name = &name;
            async move { connection.get::<_, Option<Vec<u8>>>(name).await }
        };
        let stored = self.redis.run(look).await??;
        let entry = decode(&name, &Bytes::from(stored));
        if entry.is_none() {
            tracing::debug!(name, "Redis held something else under a key of the catalogue");
        }
        entry
    }

    /// Stores a value in the background, if Redis is well.
    pub(super) fn put(&self, key: Key, entry: Arc<Entry>) {
        if self.redis.is_resting() {
            return;
        }
        let Ok(permit) = self.writes.clone().try_acquire_owned() else { return };
        let (redis, name) = (self.redis.clone(), self.name(key));
        tokio::spawn(async move {
            let Some(value) = encode(&name, &entry) else { return };
            let lifetime_s = LIFETIME.as_secs();
            redis
                .run(|mut connection| async move {
                    connection.set_ex::<_, _, ()>(&name, value, lifetime_s).await
                })
                .await;
            drop(permit);
        });
    }

    fn name(&self, key: Key) -> String {
        let subject = match key {
            Key::Product(id) => format!("product:{id}"),
            Key::Category(id) => format!("category:{id}"),
            Key::Categories => "categories".to_owned(),
        };
        self.redis.key(&format!("catalog:{FORMAT}:{subject}"))
    }
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
    async fn a_redis_that_is_gone_is_a_miss() {
        let cache = SharedCache::new(Redis::that_is_gone());
        assert_eq!(cache.get(Key::Product(1)).await, None);
    }
}
