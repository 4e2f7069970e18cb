//! Redis, where there is one: for what may be lost at any moment.
//!
//! Promises: Redis being slow or gone costs those who are asking it at that moment no more than
//! their patience, and nobody after them, until it has been seen to answer again; that it refuses
//! something (its memory is full, a key holds another type) costs nothing but that; two shops that
//! share a Redis do not meet, since every key names the database that it is about.
//!
//! All questions go over one connection, which carries many at once, and which the database's
//! threads drive, so that no busy worker delays the others' answers.

pub(crate) mod store;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, AsyncConnectionConfig, ErrorKind, RedisError, RedisResult};
use deadpool_redis::{Connection, Manager, Pool, PoolError};
use tokio::runtime::Handle;

use crate::db::{Database, StoreError};

/// How long a question may take before it has failed, unless said otherwise.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long a new connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long Redis is left alone after it failed, before somebody looks whether it is back.
const REST: Duration = Duration::from_secs(1);

/// Redis as one part of this shop uses it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Redis {
    link: Arc<Link>,
    fuse: Arc<Fuse>,
    patience: Duration,
}

/// The one connection.
struct Link {
    /// Only opens it: what is used by many at once has no place to be given back to.
    pool: Pool,
    namespace: String,
    threads: Handle,
    current: Mutex<Current>,
    /// Held by who connects, so that the others wait instead of connecting too.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// How many there have been.
    number: u64,
}

/// Lets nobody through after a failure, until a look in the background has found Redis well.
struct Fuse {
    began: Instant,
    is_blown: AtomicBool,
    /// Milliseconds after `began` before which nobody looks.
    look_at_ms: AtomicU64,
}

impl Redis {
    /// Redis at this URL, for the shop in this database; connects in the background. `None`, and a line
    /// in the log, when it cannot be used.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn open(url: &str, database: &Database) -> Result<Option<Self>, StoreError> {
        let Some(namespace) = store::get_namespace(&database.db()).await? else {
            tracing::error!("the database is not migrated; doing without Redis");
            return Ok(None);
        };
        Ok(Self::with_namespace(url, namespace, database.handle()))
    }

    fn with_namespace(url: &str, namespace: String, threads: Handle) -> Option<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CONNECT_TIMEOUT));
        let pool = Manager::new_with_config(url, config)
            .map_err(drop)
            .and_then(|manager| Pool::builder(manager).max_size(1).build().map_err(drop))
            // The error may repeat the URL, and that holds a password.
            .map_err(|()| tracing::error!("REDIS_URL is unusable; doing without Redis"))
            .ok()?;
        let (current, connecting) = (Mutex::default(), tokio::sync::Mutex::default());
        let link = Arc::new(Link { pool, namespace, threads, current, connecting });
        let first = link.clone();
        link.threads.spawn(async move {
            // Whoever needs it next tries again, and tells.
            first.connection().await.ok();
        });
        Some(Self { link, fuse: Arc::default(), patience: PATIENCE })
    }

    /// The same for another part of the shop, which waits no longer than this, and whose failures
    /// are its own.
    pub(crate) fn with_patience(&self, patience: Duration) -> Self {
        Self { link: self.link.clone(), fuse: Arc::default(), patience }
    }

    /// The key of `subject` for this shop.
    pub(crate) fn key(&self, subject: &str) -> String {
        format!("emporium:{}:{subject}", self.link.namespace)
    }

    /// Whether it is worth asking.
    pub(crate) fn is_well(&self) -> bool {
        !self.fuse.is_blown.load(Ordering::Relaxed)
    }

    /// Does `work` on the connection, for as long as it may take. `None` when it failed, was refused
    /// or was not tried.
    pub(crate) async fn run<T, Work>(&self, work: impl FnOnce(MultiplexedConnection) -> Work) -> Option<T>
    where
        Work: Future<Output = RedisResult<T>>,
    {
        if !self.is_well() {
            self.look_after();
            return None;
        }
        let mut used = 0;
        let attempt = async {
            let (connection, number) = self.link.connection().await?;
            used = number;
            work(connection).await
        };
        match tokio::time::timeout(self.patience, attempt).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) if is_refusal(&error) => {
                tracing::debug!(%error, "Redis refused something");
                metrics::counter!("emporium_redis_refusals_total").increment(1);
                None
            }
            failed => {
                self.link.hang_up(used);
                let reason = failed.err().map_or("an error", |_| "no answer in time");
                self.fuse.blow(reason);
                None
            }
        }
    }

    /// Has somebody see whether Redis is back, if it is time to. The one who asks does not wait.
    fn look_after(&self) {
        if !self.fuse.may_look() {
            return;
        }
        let redis = self.clone();
        self.link.threads.spawn(async move {
            let look = async {
                let (mut connection, number) = redis.link.connection().await?;
                let answer = redis::cmd("PING").query_async::<String>(&mut connection).await;
                if answer.is_err() {
                    redis.link.hang_up(number);
                }
                answer
            };
            if matches!(tokio::time::timeout(CONNECT_TIMEOUT, look).await, Ok(Ok(_))) {
                redis.fuse.mend();
            } else {
                redis.link.hang_up_any();
            }
        });
    }
}

impl Link {
    /// The connection, and which one it is; a new one where there is none.
    async fn connection(self: &Arc<Self>) -> RedisResult<(MultiplexedConnection, u64)> {
        if let Some(current) = self.take_up() {
            return Ok(current);
        }
        let _turn = self.connecting.lock().await;
        if let Some(current) = self.take_up() {
            return Ok(current);
        }
        let link = self.clone();
        // Goes on when its caller has lost patience, so that the next one finds it done.
        let connecting = self.threads.spawn(async move {
            let connection = Connection::take(link.pool.get().await.map_err(opening_error)?);
            let mut current = link.current();
            current.number += 1;
            current.connection = Some(connection.clone());
            Ok((connection, current.number))
        });
        // Only where the threads are going down.
        connecting.await.unwrap_or_else(|_| Err((ErrorKind::Io, "the shop is stopping").into()))
    }

    fn take_up(&self) -> Option<(MultiplexedConnection, u64)> {
        let current = self.current();
        Some((current.connection.clone()?, current.number))
    }

    /// Gives up a connection that failed, unless another has taken its place.
    fn hang_up(&self, number: u64) {
        let mut current = self.current();
        if current.number == number {
            current.connection = None;
        }
    }

    fn hang_up_any(&self) {
        self.current().connection = None;
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opening_error(error: PoolError) -> RedisError {
    match error {
        PoolError::Backend(error) => error,
        other => (ErrorKind::Io, "no connection", other.to_string()).into(),
    }
}

impl Default for Fuse {
    fn default() -> Self {
        Self { began: Instant::now(), is_blown: AtomicBool::new(false), look_at_ms: AtomicU64::new(0) }
    }
}

impl Fuse {
    fn blow(&self, reason: &'static str) {
        self.look_at_ms.store(self.now_ms() + millis(REST), Ordering::Relaxed);
        if !self.is_blown.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "Redis failed or was slow; doing without it meanwhile");
        }
        metrics::counter!("emporium_redis_failures_total").increment(1);
    }

    fn mend(&self) {
        if self.is_blown.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis answers again");
        }
    }

    /// Whether it is time to look, which is then for the one who asked.
    fn may_look(&self) -> bool {
        let (now, at) = (self.now_ms(), self.look_at_ms.load(Ordering::Relaxed));
        let next = now + millis(REST);
        now >= at && self.look_at_ms.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

/// Whether Redis has answered, if only that it will not. One that has become a replica, or that makes
/// no sense, is better left.
fn is_refusal(error: &RedisError) -> bool {
    let has_answered =
        matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType);
    has_answered && !error.is_unrecoverable_error()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
impl Redis {
    /// One that nobody is behind.
    pub(crate) fn that_is_gone() -> Self {
        Self::with_namespace("redis://127.0.0.1:1", "test".to_owned(), Handle::current()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_redis_that_is_gone_is_left_alone_until_it_is_back() {
        let redis = Redis::that_is_gone();
        let look = || {
            redis.run(|mut connection| async move {
                redis::cmd("GET").arg("x").query_async::<Option<String>>(&mut connection).await
            })
        };
        assert!(redis.is_well());
        assert_eq!(look().await, None);
        assert!(!redis.is_well());
        let began = Instant::now();
        for _ in 0..1000 {
            assert_eq!(look().await, None);
        }
        assert!(began.elapsed() < REST, "nobody waits for it any more");
        assert!(redis.with_patience(PATIENCE).is_well(), "each part learns for itself");
    }

    #[test]
    fn one_at_a_time_looks_after_it() {
        let fuse = Fuse::default();
        fuse.blow("test");
        assert!(!fuse.may_look(), "it is left alone at first");
        fuse.look_at_ms.store(0, Ordering::Relaxed);
        assert!(fuse.may_look());
        assert!(!fuse.may_look());
    }

    #[tokio::test]
    async fn an_unusable_url_means_none() {
        assert!(Redis::with_namespace("http://example.com", String::new(), Handle::current()).is_none());
    }
}
