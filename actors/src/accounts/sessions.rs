//! What this node knows by heart about sessions and rights, so that a token is checked without
//! asking the database.
//!
//! Promises: a session that ended is known here once its event has been read (at once where it was
//! ended here); what is known by heart counts only while the log is being read, and the database is
//! asked otherwise.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::feed::{EventKind, Listener};
use crate::types::{Seq, SessionId, UserId};

/// Past this age, what was read of the log counts no more.
const READ_AGE_MAX: Duration = Duration::from_secs(10);
/// The most ended sessions and the most users that are known by heart.
const SESSIONS_MAX: usize = 1_000_000;
const USERS_MAX: usize = 100_000;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub is_staff: bool,
    pub is_active: bool,
}

/// Sessions known to have ended, and users' current rights.
#[derive(Debug)]
pub struct SessionBook {
    started: Instant,
    /// Milliseconds after `started` at which the log was last read.
    read_at_ms: AtomicU64,
    /// How long a token can outlive its session; everything is kept until this is known.
    keep: OnceLock<Duration>,
    ended: RwLock<Ended>,
    rights: RwLock<HashMap<UserId, Rights>>,
    /// Grows with every change of rights, so that what was read before it is not kept after it.
    rights_version: AtomicU64,
}

#[derive(Debug, Default)]
struct Ended {
    at: HashMap<SessionId, Instant>,
    /// Until then, some ended sessions are not in the map: it was full, or the log had a gap.
    incomplete_until: Option<Instant>,
}

impl Default for SessionBook {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            read_at_ms: AtomicU64::new(0),
            keep: OnceLock::new(),
            ended: RwLock::default(),
            rights: RwLock::default(),
            rights_version: AtomicU64::new(0),
        }
    }
}

impl SessionBook {
    /// Forgets an ended session after `keep`, when its last token has expired.
    pub(crate) fn keep_for(&self, keep: Duration) {
        self.keep.set(keep).ok();
    }

    /// Notes that a session ended, that long ago.
    pub(crate) fn note_ended(&self, session: SessionId, ago: Duration) {
        let now = Instant::now();
        let at = now.checked_sub(ago).unwrap_or(now);
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        if ended.at.len() >= SESSIONS_MAX {
            self.forget_old(&mut ended, now);
        }
        if ended.at.len() >= SESSIONS_MAX {
            ended.incomplete_until = self.keep.get().and_then(|keep| now.checked_add(*keep));
        } else {
            ended.at.insert(session, at);
        }
    }

    /// Makes room: called when full, and now and then.
    pub(crate) fn tidy(&self) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        self.forget_old(&mut ended, Instant::now());
    }

    fn forget_old(&self, ended: &mut Ended, now: Instant) {
        if let Some(keep) = self.keep.get() {
            ended.at.retain(|_, at| now.saturating_duration_since(*at) <= *keep);
        }
    }

    /// Whether the session is known to have ended; `None` when the database must be asked.
    pub(crate) fn is_ended(&self, session: SessionId) -> Option<bool> {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        if ended.at.contains_key(&session) {
            return Some(true);
        }
        let now = Instant::now();
        let incomplete = ended.incomplete_until.is_some_and(|until| now < until);
        (self.is_current(now) && !incomplete).then_some(false)
    }

    /// Whether the log has been read lately.
    fn is_current(&self, now: Instant) -> bool {
        let read_at = self.started + Duration::from_millis(self.read_at_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(read_at) <= READ_AGE_MAX
    }

    /// What a user may do, if known.
    pub(crate) fn rights(&self, user: UserId) -> Option<Rights> {
        self.rights.read().unwrap_or_else(PoisonError::into_inner).get(&user).copied()
    }

    /// To be taken before rights are read from the database.
    pub(crate) fn rights_version(&self) -> u64 {
        self.rights_version.load(Ordering::Acquire)
    }

    /// Notes what was read, unless rights changed since `version` was taken.
    pub(crate) fn note_rights(&self, user: UserId, rights: Rights, version: u64) {
        let mut known = self.rights.write().unwrap_or_else(PoisonError::into_inner);
        if self.rights_version() != version {
            return;
        }
        if known.len() >= USERS_MAX {
            // Everybody who is active is read again, once; simpler than an order of age, and bounded.
            known.clear();
        }
        known.insert(user, rights);
    }

    fn forget_rights(&self, user: UserId) {
        let mut known = self.rights.write().unwrap_or_else(PoisonError::into_inner);
        self.rights_version.fetch_add(1, Ordering::AcqRel);
        known.remove(&user);
    }
}

impl Listener for SessionBook {
    fn on_event(&self, _seq: Seq, kind: &EventKind) {
        match kind {
            EventKind::Session { session, .. } => self.note_ended(*session, Duration::ZERO),
            EventKind::User { user } => self.forget_rights(*user),
            _ => {}
        }
    }

    fn on_read(&self, _seq: Seq, began: Instant) {
        let since = began.saturating_duration_since(self.started);
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.read_at_ms.store(ms, Ordering::Relaxed);
    }

    fn on_gap(&self, _seq: Seq) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.incomplete_until = self.keep.get().and_then(|keep| Instant::now().checked_add(*keep));
        drop(ended);
        let mut known = self.rights.write().unwrap_or_else(PoisonError::into_inner);
        self.rights_version.fetch_add(1, Ordering::AcqRel);
        known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: Rights = Rights { is_staff: true, is_active: true };

    #[test]
    fn an_ended_session_is_known_at_once_and_forgotten_later() {
        let book = SessionBook::default();
        book.keep_for(Duration::from_secs(60));
        assert_eq!(book.is_ended(SessionId(1)), Some(false));
        book.on_event(Seq(1), &EventKind::Session { session: SessionId(1), user: UserId(1) });
        assert_eq!(book.is_ended(SessionId(1)), Some(true));
        book.tidy();
        assert_eq!(book.is_ended(SessionId(1)), Some(true));
        book.ended.write().unwrap().at.clear();
        assert_eq!(book.is_ended(SessionId(1)), Some(false));
    }

    #[test]
    fn a_log_not_read_lately_counts_no_more() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(11)).unwrap();
        let book = SessionBook { started: long_ago, ..SessionBook::default() };
        assert_eq!(book.is_ended(SessionId(1)), None);
        book.on_read(Seq(5), Instant::now());
        assert_eq!(book.is_ended(SessionId(1)), Some(false));
    }

    #[test]
    fn rights_read_before_a_change_are_not_kept_after_it() {
        let book = SessionBook::default();
        let version = book.rights_version();
        book.on_event(Seq(1), &EventKind::User { user: UserId(1) });
        book.note_rights(UserId(1), RIGHTS, version);
        assert_eq!(book.rights(UserId(1)), None);
        book.note_rights(UserId(1), RIGHTS, book.rights_version());
        assert_eq!(book.rights(UserId(1)), Some(RIGHTS));
        book.on_event(Seq(2), &EventKind::User { user: UserId(1) });
        assert_eq!(book.rights(UserId(1)), None);
    }

    #[test]
    fn after_a_gap_nothing_is_known_by_heart() {
        let book = SessionBook::default();
        book.keep_for(Duration::from_secs(60));
        book.note_rights(UserId(1), RIGHTS, book.rights_version());
        let before = book.rights_version();
        book.on_gap(Seq(9));
        book.note_rights(UserId(2), RIGHTS, before);
        assert_eq!(
            (book.is_ended(SessionId(1)), book.rights(UserId(1)), book.rights(UserId(2))),
            (None, None, None)
        );
    }
}
