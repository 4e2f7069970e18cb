//! The accounts service.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use unicode_normalization::UnicodeNormalization;

use super::passwords::{self, Hasher};
use super::reset;
use super::sessions::{Rights, SessionBook};
use super::store::{self, EMAIL_CONSTRAINT, Logged, SessionState, USERNAME_CONSTRAINT};
use super::tokens::{self, Bearer, Claims, TokenType, Tokens};
use super::{AccountError, Draft, NewAccount, TokenFault, User, Username, parse_email};
use crate::db::{Db, StoreError};
use crate::feed::Announcer;
use crate::types::{Principal, SessionId, UserId};

const USERNAME_TAKEN: &str = "A user with that username already exists.";
const EMAIL_TAKEN: &str = "user with this email already exists.";

/// The longest address, in code points.
const EMAIL_CHARS_MAX: usize = 254;
/// How often long expired sessions are looked for, and among how many at a time.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
const PRUNE_COUNT: i64 = 10_000;
/// How many requests for a link to choose a new password may wait for the mailer.
const RESET_REQUESTS_MAX: i64 = 10_000;
/// The most ended sessions that are read at start; the newest.
const ENDED_AT_START_MAX: i64 = 1_000_000;

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

/// A checked access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whose it is, and of which session.
    pub principal: Principal,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
}

/// What a sign-in, or a refresh, gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenPair {
    /// Sent with each request.
    pub access: String,
    /// Exchanged for access tokens; absent where the old one stays good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
}

/// The accounts service. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    announcer: Announcer,
    book: Arc<SessionBook>,
    reset_asked: Arc<Notify>,
    hasher: Hasher,
    tokens: Tokens,
    refresh_lifetime_s: i64,
    rotates: bool,
}

impl Accounts {
    /// Learns which sessions have ended lately, and begins to clear away expired ones. `reset_asked`
    /// wakes the mailer of this node.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start(
        db: Db,
        announcer: Announcer,
        book: Arc<SessionBook>,
        reset_asked: Arc<Notify>,
        settings: AccountSettings,
    ) -> Result<Self, StoreError> {
        // The clocks of nodes may differ a little.
        let keep = settings.access_lifetime + Duration::from_secs(60);
        book.keep_for(keep);
        for (session, ago_s) in store::list_ended(&db, whole_seconds(keep), ENDED_AT_START_MAX).await? {
            book.note_ended(session, Duration::from_secs(ago_s));
        }
        let hasher =
            Hasher::new(settings.hashing_queue_max).map_err(|_| StoreError::unavailable("hasher"))?;
        let tokens = Tokens::new(&settings.jwt_secret, settings.access_lifetime, settings.refresh_lifetime);
        let inner = Arc::new(Inner {
            db,
            announcer,
            book,
            reset_asked,
            hasher,
            tokens,
            refresh_lifetime_s: whole_seconds(settings.refresh_lifetime),
            rotates: settings.rotate_refresh_tokens,
        });
        actix::spawn(tidy(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    // Registration -----------------------------------------------------------------------------

    /// What stands against a draft: field and message, in the order of the model.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn review(&self, draft: &Draft<'_>) -> Result<Vec<(&'static str, String)>, AccountError> {
        let mut refused = Vec::new();
        if draft.username.is_some() || draft.email.is_some() {
            let (username, email) = store::find_taken(&self.inner.db, draft).await?;
            refused.extend(username.then(|| ("username", USERNAME_TAKEN.to_owned())));
            refused.extend(email.then(|| ("email", EMAIL_TAKEN.to_owned())));
        }
        if let Some(password) = draft.password {
            let faults = passwords::faults(password, draft.username, draft.email);
            refused.extend(faults.into_iter().map(|fault| ("password", fault)));
        }
        Ok(refused)
    }

    /// Makes a customer's account, once it has been [reviewed](Self::review).
    ///
    /// # Errors
    /// `Refused` when somebody was faster; `Overloaded`.
    pub async fn register(&self, account: &NewAccount) -> Result<User, AccountError> {
        self.make(account, false).await
    }

    /// Makes a staff account.
    ///
    /// # Errors
    /// `Refused` with everything that stands against it; an existing name is among that.
    pub async fn create_admin(
        &self,
        username: &str,
        email: &str,
        password: &str,
    ) -> Result<User, AccountError> {
        let refuse = |field, text: &str| AccountError::Refused(vec![(field, text.to_owned())]);
        let name = Username::parse(username).map_err(|text| refuse("username", &text))?;
        let email = parse_email(email).filter(|email| email.chars().count() <= EMAIL_CHARS_MAX);
        let email = email.ok_or_else(|| refuse("email", "Enter a valid email address."))?;
        // Sign-in does not see blanks around a password.
        let password = password.trim();
        let draft = Draft {
            username: Some(name.as_str()),
            email: Some(&email),
            password: Some(password),
            user: None,
        };
        let refused = self.review(&draft).await?;
        if !refused.is_empty() {
            return Err(AccountError::Refused(refused));
        }
        self.make(&NewAccount { username: name, email, password: password.to_owned() }, true).await
    }

    /// Whether any active account is staff's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_staff(&self) -> Result<bool, AccountError> {
        Ok(store::has_staff(&self.inner.db).await?)
    }

    async fn make(&self, account: &NewAccount, is_staff: bool) -> Result<User, AccountError> {
        let hash = self.inner.hasher.hash(account.password.clone()).await?;
        match store::insert_user(&self.inner.db, account, &hash, is_staff).await {
            Ok(user) => Ok(user),
            Err(error) => {
                let draft = Draft {
                    username: Some(account.username.as_str()),
                    email: Some(&account.email),
                    ..Draft::default()
                };
                Err(self.explain(error, &draft).await)
            }
        }
    }

    /// Turns a broken constraint into everything that is taken.
    async fn explain(&self, error: StoreError, draft: &Draft<'_>) -> AccountError {
        let broken = match error.constraint() {
            Some(USERNAME_CONSTRAINT) => ("username", USERNAME_TAKEN),
            Some(EMAIL_CONSTRAINT) => ("email", EMAIL_TAKEN),
            _ => return error.into(),
        };
        match self.review(draft).await {
            Ok(refused) if !refused.is_empty() => AccountError::Refused(refused),
            // It was taken a moment ago, and that is what the answer is about.
            _ => AccountError::Refused(vec![(broken.0, broken.1.to_owned())]),
        }
    }

    // One's own account ------------------------------------------------------------------------

    /// An account.
    ///
    /// # Errors
    /// `UserNotFound` when there is none.
    pub async fn user(&self, id: UserId) -> Result<User, AccountError> {
        store::get_user(&self.inner.db, id).await?.ok_or(AccountError::UserNotFound)
    }

    /// Changes an account's name or address, once they have been [reviewed](Self::review).
    ///
    /// # Errors
    /// `Refused` when somebody was faster; `UserNotFound`.
    pub async fn update(
        &self,
        id: UserId,
        username: Option<&Username>,
        email: Option<&str>,
    ) -> Result<User, AccountError> {
        let username = username.map(Username::as_str);
        match store::update_user(&self.inner.db, id, username, email).await {
            Ok(user) => user.ok_or(AccountError::UserNotFound),
            Err(error) => {
                let draft = Draft { user: Some(id), username, email, password: None };
                Err(self.explain(error, &draft).await)
            }
        }
    }

    /// Replaces the password and ends every other session of the user.
    ///
    /// # Errors
    /// `WrongPassword`; `Refused` for a weak new one; `Overloaded`.
    pub async fn change_password(
        &self,
        who: Principal,
        old: String,
        new: String,
    ) -> Result<(), AccountError> {
        let inner = &self.inner;
        let own = store::get_own_password(&inner.db, who.user).await?.ok_or(AccountError::UserNotFound)?;
        if !inner.hasher.verify(old, Some(own.password_hash.clone())).await? {
            return Err(AccountError::WrongPassword);
        }
        let faults = passwords::faults(&new, Some(&own.username), Some(&own.email));
        if !faults.is_empty() {
            return Err(AccountError::Refused(
                faults.into_iter().map(|fault| ("new_password", fault)).collect(),
            ));
        }
        let hash = inner.hasher.hash(new).await?;
        let logged =
            store::change_password(&inner.db, who.user, who.session, &hash, &own.password_hash).await?;
        self.announce(logged.ok_or(AccountError::WrongPassword)?);
        Ok(())
    }

    // A forgotten password ---------------------------------------------------------------------

    /// Has a link to choose a new password mailed to this address, given in its stored form, if an
    /// active account has it. That is found out later, so neither the answer nor its time depends on
    /// it.
    ///
    /// # Errors
    /// `Overloaded` when too many requests wait for the mailer.
    pub async fn request_reset(&self, email: &str) -> Result<(), AccountError> {
        if !store::insert_reset_request(&self.inner.db, email, RESET_REQUESTS_MAX).await? {
            return Err(AccountError::Overloaded);
        }
        self.inner.reset_asked.notify_one();
        Ok(())
    }

    /// Replaces the password of whoever got a link with this token, once, and ends all of the user's
    /// sessions.
    ///
    /// # Errors
    /// `BadResetToken`; `Refused` for a weak password, which leaves the link good; `Overloaded`.
    pub async fn reset_password(&self, token: &str, password: String) -> Result<(), AccountError> {
        let inner = &self.inner;
        let token_hash = reset::token_hash(token);
        let owner = store::get_reset(&inner.db, &token_hash).await?.ok_or(AccountError::BadResetToken)?;
        let faults = passwords::faults(&password, Some(&owner.username), Some(&owner.email));
        if !faults.is_empty() {
            return Err(AccountError::Refused(faults.into_iter().map(|fault| ("password", fault)).collect()));
        }
        let hash = inner.hasher.hash(password).await?;
        let logged = store::reset_password(&inner.db, &token_hash, &hash).await?;
        self.announce(logged.ok_or(AccountError::BadResetToken)?);
        Ok(())
    }

    // Sessions ---------------------------------------------------------------------------------

    /// Signs in: begins a session.
    ///
    /// # Errors
    /// `BadCredentials`, after the same time whatever it was that did not fit; `Overloaded`.
    pub async fn login(&self, username: &str, password: String) -> Result<TokenPair, AccountError> {
        let inner = &self.inner;
        let username: String = username.nfkc().collect();
        let known = store::get_credentials(&inner.db, &username).await?;
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let same = inner.hasher.verify(password, hash).await?;
        let Some(known) = known.filter(|known| same && known.is_active) else {
            return Err(AccountError::BadCredentials);
        };
        let now = tokens::now();
        // The session's id is a claim of the token, and the token's id a column of the session.
        let jti = tokens::new_jti();
        let session = store::insert_session(&inner.db, known.user, &jti, inner.refresh_lifetime_s).await?;
        let refresh =
            Claims { jti, ..inner.tokens.claims(TokenType::Refresh, known.user, session, now, now) };
        let access = inner.tokens.claims(TokenType::Access, known.user, session, now, now);
        Ok(TokenPair { access: self.sign(&access)?, refresh: Some(self.sign(&refresh)?) })
    }

    /// Gives a new access token, and, where refresh tokens rotate, a new one of those; an old one
    /// that comes back ends its session.
    ///
    /// # Errors
    /// `Token`, `UserInactive`.
    pub async fn refresh(&self, token: &str) -> Result<TokenPair, AccountError> {
        let inner = &self.inner;
        let now = tokens::now();
        let old = inner.tokens.check(token, Some(TokenType::Refresh), now)?;
        self.session(old.session, old.user).await?;
        let access = inner.tokens.claims(TokenType::Access, old.user, old.session, now, old.iat);
        let mut pair = TokenPair { access: self.sign(&access)?, refresh: None };
        if inner.rotates {
            let next = inner.tokens.claims(TokenType::Refresh, old.user, old.session, now, now);
            let lifetime_s = inner.refresh_lifetime_s;
            if !store::rotate_session(&inner.db, old.session, &old.jti, &next.jti, lifetime_s).await? {
                self.announce(store::end_session(&inner.db, old.session).await?);
                return Err(TokenFault::Ended.into());
            }
            pair.refresh = Some(self.sign(&next)?);
        }
        Ok(pair)
    }

    /// Whether a token of either type is good at this moment.
    ///
    /// # Errors
    /// `Token`, `UserInactive`.
    pub async fn verify(&self, token: &str) -> Result<(), AccountError> {
        let claims = self.inner.tokens.check(token, None, tokens::now())?;
        self.session(claims.session, claims.user).await.map(drop)
    }

    /// Ends the session of a refresh token: all its tokens, and its sockets.
    ///
    /// # Errors
    /// `Token`, also when the session has ended before.
    pub async fn logout(&self, token: &str) -> Result<(), AccountError> {
        let claims = self.inner.tokens.check(token, Some(TokenType::Refresh), tokens::now())?;
        let logged = store::end_session(&self.inner.db, claims.session).await?;
        if logged.is_none() {
            return Err(TokenFault::Ended.into());
        }
        self.announce(logged);
        Ok(())
    }

    /// Ends every session of a user.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn logout_all(&self, user: UserId) -> Result<(), AccountError> {
        self.announce(store::end_sessions(&self.inner.db, user, None).await?);
        Ok(())
    }

    /// Whose an access token is.
    ///
    /// # Errors
    /// `Token`, `UserNotFound`, `UserInactive`.
    pub async fn authenticate(&self, access: &str) -> Result<Principal, AccountError> {
        Ok(self.verify_access(access).await?.principal)
    }

    /// Whose an access token is, and when it ends.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn verify_access(&self, access: &str) -> Result<Access, AccountError> {
        let Bearer { user, session, exp } = self.inner.tokens.check_access(access, tokens::now())?;
        let rights = match self.inner.book.is_ended(session) {
            Some(true) => return Err(TokenFault::Ended.into()),
            Some(false) => self.rights(user).await?,
            None => Box::pin(self.session(session, user)).await?.rights,
        };
        if !rights.is_active {
            return Err(AccountError::UserInactive);
        }
        let principal = Principal { user, session, is_staff: rights.is_staff };
        Ok(Access { principal, expires_at: exp })
    }

    /// The session of a token, as the database has it, if it is still on.
    async fn session(&self, session: SessionId, user: UserId) -> Result<SessionState, AccountError> {
        let state = store::get_session(&self.inner.db, session).await?.ok_or(TokenFault::Invalid)?;
        if state.user != user {
            return Err(TokenFault::Invalid.into());
        }
        if state.ended {
            return Err(TokenFault::Ended.into());
        }
        if !state.rights.is_active {
            return Err(AccountError::UserInactive);
        }
        Ok(state)
    }

    /// What a user may do: by heart, or else from the database.
    async fn rights(&self, user: UserId) -> Result<Rights, AccountError> {
        match self.inner.book.rights(user) {
            Some(rights) => Ok(rights),
            None => Box::pin(self.read_rights(user)).await,
        }
    }

    async fn read_rights(&self, user: UserId) -> Result<Rights, AccountError> {
        let book = &self.inner.book;
        let version = book.rights_version();
        let rights = store::get_rights(&self.inner.db, user).await?.ok_or(AccountError::UserNotFound)?;
        book.note_rights(user, rights, version);
        Ok(rights)
    }

    fn sign(&self, claims: &Claims) -> Result<String, AccountError> {
        self.inner.tokens.sign(claims).map_err(|error| {
            tracing::error!(%error, "a token could not be signed");
            AccountError::Internal
        })
    }

    fn announce(&self, logged: Logged) {
        if let Some((last, events)) = logged {
            self.inner.announcer.committed(last, &events);
        }
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Clears away what no token can name any more, for as long as the service is there.
async fn tidy(inner: std::sync::Weak<Inner>) {
    let mut after = 0;
    loop {
        actix::clock::sleep(PRUNE_INTERVAL).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.book.tidy();
        match store::prune_sessions(&inner.db, after, PRUNE_COUNT).await {
            Ok(last) => after = last.unwrap_or(0),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "expired sessions stay for now");
            }
        }
        if let Err(error) = store::prune_resets(&inner.db, PRUNE_COUNT).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "expired links stay for now");
        }
    }
}
