//! Limits: how often one client may ask.
//!
//! Promises: a client that keeps to its rate never waits, one that does not is told for how long, by
//! the algorithm in `gcra.rs`; with Redis all nodes count together, without it each for itself; a
//! Redis that is lost or slow refuses nobody and costs a moment, since each node also counts what it
//! has seen, and goes on from there; what is refused here is refused without asking Redis; memory is
//! bounded. A limit that is off costs nothing: there is none.

mod error;
mod gcra;
mod local;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis;

pub use error::TooManyRequests;

use crate::redis::Redis;
use crate::types::UserId;
use gcra::{Gcra, Step, Verdict};
use local::Counters;

/// One step on a counter, done in Redis so that no two nodes come between each other.
const TAKE: &str = include_str!("take.lua");

/// A rate, and how much may come at once before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The time that one request uses up, at least 1 µs.
    pub interval: Duration,
    /// How many may come at once; at least 1.
    pub burst: u32,
}

/// How much one client may ask for; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitSettings {
    /// Any request, by account or else by address.
    pub requests: Option<RateLimit>,
    /// Failed sign-ins and requests for a password reset, by address.
    pub sign_in_failures: Option<RateLimit>,
}

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Somebody who is signed in.
    Account(UserId),
    /// Anybody at an address; see [`Client::at`].
    Address(IpAddr),
}

impl Client {
    /// Whoever is at this address. An IPv6 address counts by its first 64 bits, since whoever has
    /// one has all that share them.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(user) => write!(f, "account:{user}"),
            Self::Address(address) => write!(f, "address:{address}"),
        }
    }
}

/// The limits of a shop. Cheap to clone.
#[derive(Clone)]
pub struct Limits {
    /// Any request, by account or else by address.
    pub requests: Option<Limit>,
    /// Failed sign-ins and requests for a password reset, by address.
    pub sign_in_failures: Option<Limit>,
}

impl Limits {
    /// Nobody has asked for anything here; with Redis, what was counted there counts.
    pub(crate) fn new(settings: &LimitSettings, redis: Option<&Redis>) -> Self {
        let limit = |name, rate: Option<RateLimit>| Some(Limit::new(name, rate?, redis.cloned()));
        Self {
            requests: limit("requests", settings.requests),
            sign_in_failures: limit("sign_in_failures", settings.sign_in_failures),
        }
    }
}

/// One limit. Cheap to clone.
#[derive(Clone)]
pub struct Limit {
    name: &'static str,
    gcra: Gcra,
    counters: Arc<Counters>,
    redis: Option<Redis>,
}

impl Limit {
    fn new(name: &'static str, rate: RateLimit, redis: Option<Redis>) -> Self {
        Self { name, gcra: Gcra::new(rate), counters: Arc::new(Counters::new()), redis }
    }

    /// Counts a request, if it may come now.
    ///
    /// # Errors
    /// When it may not; it is then not counted.
    pub async fn take(&self, client: Client) -> Result<(), TooManyRequests> {
        self.judged(self.step(client, Step::Take).await)
    }

    /// Whether a request may come now, without counting it.
    ///
    /// # Errors
    /// When it may not.
    pub async fn look(&self, client: Client) -> Result<(), TooManyRequests> {
        self.judged(self.step(client, Step::Look).await)
    }

    /// Counts a request that has come, whether it might or not.
    pub async fn charge(&self, client: Client) {
        self.step(client, Step::Charge).await;
    }

    fn judged(&self, Verdict { wait_us, .. }: Verdict) -> Result<(), TooManyRequests> {
        if wait_us == 0 {
            return Ok(());
        }
        metrics::counter!("emporium_limited_requests_total", "limit" => self.name).increment(1);
        Err(TooManyRequests { wait: Duration::from_micros(wait_us) })
    }

    async fn step(&self, client: Client, step: Step) -> Verdict {
        match self.step_here(client, step) {
            Some(verdict) => verdict,
            // Apart, so that what is decided here carries none of its state about.
            None => Box::pin(self.step_everywhere(client, step)).await,
        }
    }

    /// What this node can say by itself.
    fn step_here(&self, client: Client, step: Step) -> Option<Verdict> {
        if self.redis.is_none() {
            return Some(self.counters.step(&self.gcra, client, step));
        }
        // All nodes together have seen no less.
        let known = self.counters.step(&self.gcra, client, Step::Look);
        (known.wait_us > 0 && step != Step::Charge).then_some(known)
    }

    /// What all nodes say together; this one alone, where Redis does not answer.
    async fn step_everywhere(&self, client: Client, step: Step) -> Verdict {
        let since_us = self.counters.now_us();
        match self.step_in_redis(client, step).await {
            Some(verdict) => {
                self.counters.note(client, since_us, verdict.ahead_us);
                verdict
            }
            None => self.counters.step(&self.gcra, client, step),
        }
    }

    async fn step_in_redis(&self, client: Client, step: Step) -> Option<Verdict> {
        let redis = self.redis.as_ref()?;
        let key = redis.key(&format!("limit:{}:{client}", self.name));
        let word = match step {
            Step::Look => "look",
            Step::Take => "take",
            Step::Charge => "charge",
        };
        let Gcra { interval_us, tolerance_us, horizon_us } = self.gcra;
        let (wait_us, ahead_us) = redis
            .run(|mut connection| async move {
                redis::cmd("EVAL")
                    .arg(TAKE)
                    .arg(1)
                    .arg(key)
                    .arg(interval_us)
                    .arg(tolerance_us)
                    .arg(horizon_us)
                    .arg(word)
                    .query_async(&mut connection)
                    .await
            })
            .await?;
        Some(Verdict { wait_us, ahead_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Client {
        Client::at(address.parse().unwrap())
    }

    #[test]
    fn an_address_counts_by_what_one_client_has_of_it() {
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::9"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("2001:db8:1:2::1").to_string(), "address:2001:db8:1:2::");
        assert_eq!(Client::Account(UserId(7)).to_string(), "account:7");
    }

    #[tokio::test]
    async fn without_its_redis_a_node_counts_for_itself() {
        let rate = RateLimit { interval: Duration::from_secs(60), burst: 2 };
        let limit = Limit::new("test", rate, Some(Redis::that_is_gone()));
        let client = client("192.0.2.1");
        assert_eq!(limit.take(client).await, Ok(()));
        assert_eq!(limit.take(client).await, Ok(()));
        let refused = limit.take(client).await.unwrap_err();
        assert!(refused.wait <= Duration::from_secs(60) && refused.wait > Duration::from_secs(59));
        assert_eq!(limit.look(client).await.is_err(), limit.take(client).await.is_err());
    }

    #[tokio::test]
    async fn what_is_charged_is_paid_for_though_it_came_at_once() {
        let rate = RateLimit { interval: Duration::from_secs(60), burst: 1 };
        let limit = Limit::new("test", rate, None);
        let client = client("192.0.2.1");
        for _ in 0..3 {
            limit.charge(client).await;
        }
        assert!(limit.look(client).await.unwrap_err().wait > Duration::from_secs(120));
    }
}
