//! The part of the read cache that nodes share.
//!
//! Promises: a value is exactly what some node of this shop read, or it is not returned: a code over
//! name and content, keyed with the shop's secret, turns rubbish and forgery alike into a miss; and
//! so does a Redis that is slow, full, gone or holds something else under that name. Nothing is ever
//! deleted here; readers judge each value by its number.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::{self, AsyncTypedCommands};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::cache::{Key, Loaded};
use super::document::{Document, Outline};
use crate::redis::Redis;

/// How long a value is kept.
const LIFETIME: Duration = Duration::from_mins(10);
/// How long Redis may take before the database is asked instead.
const PATIENCE: Duration = Duration::from_millis(25);
/// The most values on their way into Redis; what would be one more is not stored.
const WRITES_MAX: usize = 16;
/// Larger values are left to Postgres.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Goes up when the format or the meaning of a value changes, so that nodes of two versions do not
/// read each other's.
const FORMAT: u32 = 3;
/// The length of a value's code, in bytes.
const CODE_BYTES: usize = 32;

type Code = Hmac<Sha256>;

/// Redis as the cache uses it.
pub(super) struct SharedCache {
    redis: Redis,
    code: Code,
    writes: Arc<Semaphore>,
}

/// What stands before a body, as JSON and a line feed.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    seq: i64,
    outline: Outline,
}

impl SharedCache {
    /// The catalogue's part of `redis`, for those who know `secret`.
    pub(super) fn new(redis: &Redis, secret: &str) -> Self {
        let redis = redis.with_patience(PATIENCE);
        Self { redis, code: keyed(secret), writes: Arc::new(Semaphore::new(WRITES_MAX)) }
    }

    /// What some node stored under `key`, if it is whole.
    pub(super) async fn get(&self, key: Key<'_>) -> Option<Loaded> {
        let name = self.name(key);
        let look = |mut connection: redis::aio::MultiplexedConnection| {
            let name = &name;
            async move { redis::cmd("GET").arg(name).query_async::<Option<Bytes>>(&mut connection).await }
        };
        let stored = self.redis.run(look).await??;
        let loaded = decode(&self.code, &name, &stored);
        if loaded.is_none() {
            tracing::debug!(name, "Redis holds something else");
        }
        loaded
    }

    /// Stores a value in the background, if Redis is well. That there is no such thing stays in the
    /// process that learned it.
    pub(super) fn put(&self, key: Key<'_>, Loaded { seq, document }: &Loaded) {
        let Some(document) = document.as_ref().filter(|document| document.body.len() <= BODY_BYTES_MAX)
        else {
            return;
        };
        if !self.redis.is_well() {
            return;
        }
        let Ok(permit) = self.writes.clone().try_acquire_owned() else { return };
        let head = Head { seq: *seq, outline: document.outline() };
        let (redis, code, name) = (self.redis.clone(), self.code.clone(), self.name(key));
        let body = document.body.clone();
        tokio::spawn(async move {
            let Some(value) = encode(&code, &name, &head, &body) else { return };
            let store = |mut connection: redis::aio::MultiplexedConnection| async move {
                connection.set_ex(&name, value, LIFETIME.as_secs()).await
            };
            redis.run(store).await;
            drop(permit);
        });
    }

    /// Of a bounded length, whatever was asked for.
    fn name(&self, key: Key<'_>) -> String {
        let hash = Sha256::digest(key.name().as_bytes());
        let digits = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
        self.redis.key(&format!("catalog:{FORMAT}:{digits}"))
    }
}

/// The key of the codes: not the secret itself, which signs other things.
fn keyed(secret: &str) -> Code {
    let mut code = code_of(secret.as_bytes());
    code.update(b"values of the catalogue in Redis");
    code_of(&code.finalize().into_bytes())
}

fn code_of(key: &[u8]) -> Code {
    let mut block = [0; 64];
    let hashed = Sha256::digest(key);
    block[..hashed.len()].copy_from_slice(&hashed);
    Code::new(&block.into())
}

/// The code, the head as JSON, a line feed, the body.
fn encode(code: &Code, name: &str, head: &Head, body: &[u8]) -> Option<Vec<u8>> {
    let head = serde_json::to_vec(head).ok()?;
    let mut value = vec![0; CODE_BYTES];
    value.extend_from_slice(&head);
    value.push(b'\n');
    value.extend_from_slice(body);
    let (place, content) = value.split_at_mut(CODE_BYTES);
    place.copy_from_slice(&over(code, name, content).finalize().into_bytes());
    Some(value)
}

fn decode(code: &Code, name: &str, stored: &Bytes) -> Option<Loaded> {
    let (given, content) = stored.split_at_checked(CODE_BYTES)?;
    over(code, name, content).verify_slice(given).ok()?;
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let Head { seq, outline } = serde_json::from_slice(&content[..end]).ok()?;
    let body = stored.slice(CODE_BYTES + end + 1..);
    Some(Loaded { seq, document: Some(Document::of_outline(outline, body)?) })
}

fn over(code: &Code, name: &str, content: &[u8]) -> Code {
    let mut code = code.clone();
    // No name holds a zero, so that none can flow into the content.
    for part in [name.as_bytes(), b"\0", content] {
        code.update(part);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "product:1";

    fn stored(code: &Code) -> Vec<u8> {
        let document = Document::of(&serde_json::json!({"id": 1, "name": "two\nlines"}));
        let head = Head { seq: 7, outline: document.outline() };
        encode(code, NAME, &head, &document.body).unwrap()
    }

    #[test]
    fn a_value_survives_the_way_there_and_back() {
        let code = keyed("secret");
        let loaded = decode(&code, NAME, &stored(&code).into()).unwrap();
        assert_eq!(loaded.seq, 7);
        assert_eq!(loaded.document.unwrap().body, r#"{"id":1,"name":"two\nlines"}"#);
    }

    #[test]
    fn anything_but_the_whole_value_under_its_own_name_is_a_miss() {
        let code = keyed("secret");
        let stored = stored(&code);
        assert!(decode(&code, "product:2", &stored.clone().into()).is_none());
        assert!(decode(&keyed("another secret"), NAME, &stored.clone().into()).is_none(), "forged");
        for length in 0..stored.len() {
            assert!(decode(&code, NAME, &Bytes::copy_from_slice(&stored[..length])).is_none());
        }
        for position in 0..stored.len() {
            let mut changed = stored.clone();
            changed[position] ^= 1;
            assert!(decode(&code, NAME, &changed.into()).is_none());
        }
        assert!(decode(&code, NAME, &Bytes::from_static(b"\xff\xfe rubbish\n")).is_none());
    }

    #[tokio::test]
    async fn a_redis_that_is_gone_is_a_miss() {
        let cache = SharedCache::new(&Redis::that_is_gone(), "secret");
        assert!(cache.get(Key::Product(1)).await.is_none());
    }
}
