//! Accounts: who somebody is, and for how long.
use std::sync::Arc;
use std::time::Duration;
use crate::db::Db;
use crate::feed::{Announcer, EventKind, Listener};
use crate::types::{Principal, Seq};

/// How sign-in works.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    /// HS256 secret, at least 32 bytes.
    pub jwt_secret: String,
    /// How long an access token lasts.
    pub access_lifetime: Duration,
    /// How long a refresh token lasts.
    pub refresh_lifetime: Duration,
    /// Whether a refresh gives a new refresh token and ends the old one.
    pub rotate_refresh_tokens: bool,
    /// How many password hashings may wait for a free core before `Overloaded`.
    pub hashing_queue_max: usize,
}
/// Sessions known to have ended, and users' current rights.
#[derive(Debug, Default)]
pub struct SessionBook {}
impl Listener for SessionBook { fn on_event(&self, _seq: Seq, _kind: &EventKind) {} }
/// The accounts service.
#[derive(Clone)]
pub struct Accounts {}
/// Why.
#[derive(Debug)]
pub enum AccountError { Stub }
impl Accounts {
    /// New.
    pub async fn start(_db: Db, _announcer: Announcer, _book: Arc<SessionBook>, _settings: AccountSettings) -> Result<Self, crate::db::StoreError> { unimplemented!() }
    /// Checks an access token.
    pub async fn authenticate(&self, _access: &str) -> Result<Principal, AccountError> { unimplemented!() }
}
