//! Redis, where there is one: for what may be lost at any moment.
//!
//! Promises: Redis being slow, full or gone costs whoever asks it no more than [`TIMEOUT`], and then
//! everybody leaves it alone for [`REST`]; two shops that share a Redis do not meet, since every key
//! names the database that it is about.

pub(crate) mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_redis::redis::RedisResult;
use deadpool_redis::{Config, Connection, Pool, PoolConfig, Runtime};

use crate::db::{Db, StoreError};

/// How long a question may take before it has failed.
const TIMEOUT: Duration = Duration::from_millis(50);
/// How long Redis is left alone after it failed.
const REST: Duration = Duration::from_secs(1);
/// Connections, each used by one question at a time.
const CONNECTIONS_MAX: usize = 16;

/// Redis as this shop uses it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Redis {
    pool: Pool,
    shared: Arc<Shared>,
}

struct Shared {
    namespace: String,
    started: Instant,
    /// Milliseconds after `started` before which Redis is left alone.
    rest_until_ms: AtomicU64,
    is_failing: AtomicBool,
}

impl Redis {
    /// Redis at this URL, for the shop in this database; connects when it is first used. `None`, and
    /// a line in the log, when it cannot be used.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn open(url: &str, db: &Db) -> Result<Option<Self>, StoreError> {
        let Some(namespace) = store::get_namespace(db).await? else {
            tracing::error!("the database is not migrated; doing without Redis");
            return Ok(None);
        };
        Ok(Self::with_namespace(url, namespace))
    }

    fn with_namespace(url: &str, namespace: String) -> Option<Self> {
        let config = Config { pool: Some(PoolConfig::new(CONNECTIONS_MAX)), ..Config::from_url(url) };
        let pool = config
            .create_pool(Some(Runtime::Tokio1))
            // The error may repeat the URL, and that holds a password.
            .map_err(|_| tracing::error!("REDIS_URL is unusable; doing without Redis"))
            .ok()?;
        let shared = Shared {
            namespace,
            started: Instant::now(),
            rest_until_ms: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        };
        Some(Self { pool, shared: Arc::new(shared) })
    }

    /// The key of `subject` for this shop.
    pub(crate) fn key(&self, subject: &str) -> String {
        format!("emporium:{}:{subject}", self.shared.namespace)
    }

    /// Whether Redis has failed a moment ago, so that it is not worth asking.
    pub(crate) fn is_resting(&self) -> bool {
        self.shared.now_ms() < self.shared.rest_until_ms.load(Ordering::Relaxed)
    }

    /// Does `work` on a connection, for as long as it may take. `None` when it failed or was not
    /// tried.
    pub(crate) async fn run<T, Work>(&self, work: impl FnOnce(Connection) -> Work) -> Option<T>
    where
        Work: Future<Output = RedisResult<T>>,
    {
        if self.is_resting() {
            return None;
        }
        let attempt = async {
            let connection = self.pool.get().await.ok()?;
            work(connection).await.ok()
        };
        let result = tokio::time::timeout(TIMEOUT, attempt).await.ok().flatten();
        self.shared.note(result.is_some());
        result
    }
}

impl Shared {
    fn note(&self, is_well: bool) {
        if is_well {
            if self.is_failing.load(Ordering::Relaxed) && self.is_failing.swap(false, Ordering::Relaxed) {
                tracing::info!("Redis answers again");
            }
            return;
        }
        self.rest_until_ms.store(self.now_ms() + millis(REST), Ordering::Relaxed);
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!("Redis failed or was slow; doing without it meanwhile");
        }
        metrics::counter!("emporium_redis_failures_total").increment(1);
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
impl Redis {
    /// One that nobody is behind.
    pub(crate) fn that_is_gone() -> Self {
        Self::with_namespace("redis://127.0.0.1:1", "test".to_owned()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::AsyncCommands;

    use super::*;

    #[tokio::test]
    async fn a_redis_that_is_gone_is_left_alone_for_a_moment() {
        let redis = Redis::that_is_gone();
        let look = || redis.run(|mut connection| async move { connection.get::<_, String>("x").await });
        assert!(!redis.is_resting());
        assert_eq!(look().await, None);
        assert!(redis.is_resting());
        assert_eq!(look().await, None);
    }

    #[test]
    fn an_unusable_url_means_none() {
        assert!(Redis::with_namespace("http://example.com", String::new()).is_none());
    }
}
