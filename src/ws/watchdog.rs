//! Looks after every open socket of this node, from outside.
//!
//! One task for all sockets, in place of timers of their own: a session whose client does not read is
//! asleep, timers included, so whether it has to end must be decided here. Promises: a socket is
//! pinged every 25 s; one that takes nothing for 30 s, or is silent for 55 s, or should have ended and
//! does not, is cut; nothing here waits for a socket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix::Addr;
use emporium_actors::feed::{Ending, FeedLine};
use tokio::time::MissedTickBehavior;

use super::session::{Expire, Ping, Session};
use crate::connection::Lifeline;

/// How often every socket is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often each gets a ping.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long a client may be silent: two pings, and time to answer the second one. Told as 60 s; what is
/// less is for a machine that has much to do.
const SILENCE_MAX: Duration = Duration::from_secs(55);
/// How long a client may take no bytes although there are some.
const STUCK_MAX: Duration = Duration::from_secs(30);
/// The same once its feed has ended: with the session, with the shop, or for another reason.
const STUCK_MAX_SIGNED_OUT: Duration = Duration::from_millis(400);
const STUCK_MAX_GOING_AWAY: Duration = Duration::from_secs(1);
const STUCK_MAX_ENDED: Duration = Duration::from_secs(10);
/// How long a socket may take to close once it has begun to, however slowly its client reads.
const CLOSING_MAX: Duration = Duration::from_secs(30);

/// What a session tells the watchdog while it is awake. Times are in ms since the watchdog began.
#[derive(Debug)]
pub(super) struct Vitals {
    epoch: Instant,
    heard_ms: AtomicU64,
    /// When it began to close; 0 until then.
    closing_ms: AtomicU64,
    /// When its token expires; 0 for never.
    expires_ms: AtomicU64,
    /// Once it has a feed.
    feed: OnceLock<FeedLine>,
}

impl Vitals {
    /// The client has sent something.
    pub(super) fn hear(&self) {
        self.heard_ms.store(ms_since(self.epoch), Ordering::Relaxed);
    }

    /// The socket begins to close.
    pub(super) fn close(&self) {
        self.closing_ms.store(ms_since(self.epoch).max(1), Ordering::Relaxed);
    }

    /// It has to end by then.
    pub(super) fn expire_in(&self, time: Duration) {
        let at = ms_since(self.epoch).saturating_add(ms(time));
        self.expires_ms.store(at.max(1), Ordering::Relaxed);
    }

    /// It has got a feed.
    pub(super) fn follow(&self, feed: FeedLine) {
        self.feed.set(feed).ok();
    }

    fn ending(&self) -> Option<Ending> {
        self.feed.get().and_then(FeedLine::ending)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watchdog {
    epoch: Instant,
    watched: Mutex<Vec<Watched>>,
}

/// A socket.
#[derive(Debug)]
struct Watched {
    lifeline: Arc<Lifeline>,
    session: Addr<Session>,
    vitals: Arc<Vitals>,
    state: State,
}

/// What the watchdog remembers of a socket. Times are in ms.
#[derive(Debug)]
struct State {
    next_ping: u64,
    /// The number under which it was first seen stuck, and when.
    stuck: Option<(u32, u64)>,
    is_expired: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Leave,
    Ping,
    Expire,
    Cut,
}

/// What a socket shows at one moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    stuck: Option<u32>,
    heard: u64,
    closing: u64,
    expires: u64,
    ending: Option<Ending>,
}

impl Watchdog {
    /// Begins to look; ends with the value. Must be called within an actix system.
    pub(crate) fn start() -> Arc<Self> {
        let watchdog = Arc::new(Self { epoch: Instant::now(), watched: Mutex::default() });
        actix_web::rt::spawn(keep_looking(Arc::downgrade(&watchdog)));
        watchdog
    }

    /// For a session that is about to begin.
    pub(super) fn vitals(&self) -> Arc<Vitals> {
        Arc::new(Vitals {
            epoch: self.epoch,
            heard_ms: AtomicU64::new(ms_since(self.epoch)),
            closing_ms: AtomicU64::new(0),
            expires_ms: AtomicU64::new(0),
            feed: OnceLock::new(),
        })
    }

    /// Looks after a socket until its connection is closed.
    pub(super) fn watch(&self, lifeline: Arc<Lifeline>, session: Addr<Session>, vitals: Arc<Vitals>) {
        lifeline.watch();
        // Sockets that come all at once are not pinged all at once.
        let next_ping = ms_since(self.epoch) + rand::random_range(0..ms(PING_INTERVAL));
        let state = State { next_ping, stuck: None, is_expired: false };
        self.lock().push(Watched { lifeline, session, vitals, state });
    }

    /// Cuts every socket that there still is.
    pub(crate) fn cut_all(&self) {
        self.lock().iter().for_each(|socket| socket.lifeline.cut());
    }

    fn look(&self) {
        let now = ms_since(self.epoch);
        self.lock().retain_mut(|socket| {
            if socket.lifeline.is_gone() {
                return false;
            }
            match socket.state.judge(socket.look(), now) {
                Verdict::Leave => {}
                // Where the mailbox is full, the session is asleep: these are for those awake.
                Verdict::Ping => _ = socket.session.try_send(Ping),
                Verdict::Expire => _ = socket.session.try_send(Expire),
                Verdict::Cut => {
                    metrics::counter!("emporium_sockets_cut_total").increment(1);
                    socket.lifeline.cut();
                }
            }
            true
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep_looking(watchdog: Weak<Watchdog>) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(watchdog) = watchdog.upgrade() else { return };
        watchdog.look();
    }
}

impl Watched {
    fn look(&self) -> Look {
        Look {
            stuck: self.lifeline.stuck(),
            heard: self.vitals.heard_ms.load(Ordering::Relaxed),
            closing: self.vitals.closing_ms.load(Ordering::Relaxed),
            expires: self.vitals.expires_ms.load(Ordering::Relaxed),
            ending: self.vitals.ending(),
        }
    }
}

impl State {
    fn judge(&mut self, look: Look, now: u64) -> Verdict {
        self.stuck = look.stuck.map(|number| match self.stuck {
            Some((known, since)) if known == number => (known, since),
            _ => (number, now),
        });
        let is_expired = look.expires > 0 && now >= look.expires;
        let ending = if is_expired { Some(Ending::SignedOut) } else { look.ending };
        let stuck_max = match ending {
            None => STUCK_MAX,
            Some(Ending::SignedOut) => STUCK_MAX_SIGNED_OUT,
            Some(Ending::GoingAway) => STUCK_MAX_GOING_AWAY,
            Some(Ending::Overrun | Ending::Unavailable) => STUCK_MAX_ENDED,
        };
        let for_too_long = |since: u64, max: Duration| now.saturating_sub(since) >= ms(max);
        let is_stuck = self.stuck.is_some_and(|(_, since)| for_too_long(since, stuck_max));
        let is_silent = for_too_long(look.heard, SILENCE_MAX);
        let does_not_close = look.closing > 0 && for_too_long(look.closing, CLOSING_MAX);
        if is_stuck || is_silent || does_not_close {
            return Verdict::Cut;
        }
        if is_expired && !std::mem::replace(&mut self.is_expired, true) {
            return Verdict::Expire;
        }
        if now >= self.next_ping && ending.is_none() && look.closing == 0 {
            self.next_ping = now + ms(PING_INTERVAL);
            return Verdict::Ping;
        }
        Verdict::Leave
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn ms_since(epoch: Instant) -> u64 {
    ms(epoch.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Look = Look { stuck: None, heard: 0, closing: 0, expires: 0, ending: None };

    fn state() -> State {
        State { next_ping: 25_000, stuck: None, is_expired: false }
    }

    /// When a socket that looks like this all the time is cut, looking every 100 ms.
    fn cut_at(look: impl Fn(u64) -> Look) -> Option<u64> {
        let mut state = state();
        (0..3000).map(|n| n * 100).find(|now| state.judge(look(*now), *now) == Verdict::Cut)
    }

    #[test]
    fn a_client_that_answers_is_pinged_and_left_alone() {
        let mut state = state();
        let pings: Vec<u64> = (0..1000)
            .map(|n| n * 100)
            .filter(|now| match state.judge(Look { heard: *now, ..CALM }, *now) {
                Verdict::Ping => true,
                Verdict::Leave => false,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(pings, [25_000, 50_000, 75_000]);
    }

    #[test]
    fn who_takes_nothing_is_cut_and_who_takes_little_is_not() {
        let stuck = |now, number| Look { stuck: Some(number), heard: now, ..CALM };
        assert_eq!(cut_at(|now| stuck(now, 7)), Some(30_000));
        assert_eq!(cut_at(|now| stuck(now, u32::try_from(now / 20_000).unwrap())), None);
    }

    #[test]
    fn who_is_silent_is_cut() {
        assert_eq!(cut_at(|_| CALM), Some(55_000));
        assert_eq!(cut_at(|now| Look { heard: now, ..CALM }), None);
    }

    #[test]
    fn what_should_have_ended_and_is_stuck_is_cut_sooner() {
        for (ending, at) in [(Ending::SignedOut, 400), (Ending::GoingAway, 1000), (Ending::Overrun, 10_000)] {
            let look = |now| Look { stuck: Some(1), heard: now, ending: Some(ending), ..CALM };
            assert_eq!(cut_at(look), Some(at), "{ending:?}");
        }
        let closing = |now| Look { heard: now, closing: 1, ..CALM };
        assert_eq!(cut_at(closing), Some(30_100));
    }

    #[test]
    fn an_expired_token_is_told_once_and_then_cut_where_nobody_listens() {
        let mut state = state();
        let look = |now| Look { heard: now, expires: 5000, ..CALM };
        assert_eq!(state.judge(look(4900), 4900), Verdict::Leave);
        assert_eq!(state.judge(look(5000), 5000), Verdict::Expire);
        assert_eq!(state.judge(look(5100), 5100), Verdict::Leave);
        assert_eq!(cut_at(|now| Look { stuck: Some(1), ..look(now) }), Some(5000));
    }
}
