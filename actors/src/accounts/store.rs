//! The tables of users and sessions.

use deadpool_postgres::{GenericClient, Object, Transaction};
use tokio_postgres::Row;

use super::sessions::Rights;
use super::{Draft, NewAccount, User};
use crate::db::{Db, StoreError, queries};
use crate::feed::{self, EventKind};
use crate::types::{Seq, SessionId, Timestamp, UserId};

queries! {
    INSERT_USER = "accounts/insert_user.sql";
    FIND_TAKEN = "accounts/find_taken.sql";
    GET_USER = "accounts/get_user.sql";
    GET_RIGHTS = "accounts/get_rights.sql";
    GET_PASSWORD_BY_USERNAME = "accounts/get_password_by_username.sql";
    GET_PASSWORD_BY_ID = "accounts/get_password_by_id.sql";
    UPDATE_USER = "accounts/update_user.sql";
    UPDATE_PASSWORD = "accounts/update_password.sql";
    HAS_STAFF = "accounts/has_staff.sql";
    INSERT_SESSION = "accounts/insert_session.sql";
    GET_SESSION = "accounts/get_session.sql";
    ROTATE_SESSION = "accounts/rotate_session.sql";
    END_SESSION = "accounts/end_session.sql";
    END_SESSIONS_BY_USER = "accounts/end_sessions_by_user.sql";
    LIST_ENDED_SESSIONS = "accounts/list_ended_sessions.sql";
    PRUNE_SESSIONS = "accounts/prune_sessions.sql";
    INSERT_RESET_REQUEST = "accounts/insert_reset_request.sql";
    GET_RESET = "accounts/get_reset.sql";
    RESET_PASSWORD = "accounts/reset_password.sql";
    USE_RESETS_BY_USER = "accounts/use_resets_by_user.sql";
    PRUNE_RESETS = "accounts/prune_resets.sql";
}

/// Somebody has the name already.
pub(crate) const USERNAME_CONSTRAINT: &str = "users_username_key";
/// Somebody has the address already.
pub(crate) const EMAIL_CONSTRAINT: &str = "users_email_key";

/// What is needed to check a sign-in.
pub(crate) struct Credentials {
    pub user: UserId,
    pub password_hash: String,
    pub is_active: bool,
}

/// What is needed to check and judge a change of password.
pub(crate) struct OwnPassword {
    pub password_hash: String,
    pub username: String,
    pub email: String,
}

/// Whose password a link is for.
pub(crate) struct ResetOwner {
    pub username: String,
    pub email: String,
}

/// A session as the database has it at this moment.
pub(crate) struct SessionState {
    pub user: UserId,
    pub ended: bool,
    pub rights: Rights,
}

/// What a transaction has written to the log: the number of its last event, and all its events.
pub(crate) type Logged = Option<(Seq, Vec<EventKind>)>;

/// Makes an account and its cart.
pub(crate) async fn insert_user(
    db: &Db,
    account: &NewAccount,
    password_hash: &str,
    is_staff: bool,
) -> Result<User, StoreError> {
    let client = db.client(INSERT_USER.name).await?;
    let name = account.username.as_str();
    let row = INSERT_USER.opt(&client, &[&name, &account.email, &password_hash, &is_staff]).await?;
    row.as_ref().map(user).ok_or_else(|| StoreError::unavailable(INSERT_USER.name))
}

/// Whether the name, and the address, of a draft are another account's.
pub(crate) async fn find_taken(db: &Db, draft: &Draft<'_>) -> Result<(bool, bool), StoreError> {
    let client = db.client(FIND_TAKEN.name).await?;
    let but = draft.user.map(|user| user.0);
    let row = FIND_TAKEN.opt(&client, &[&draft.username, &draft.email, &but]).await?;
    Ok(row.map_or((false, false), |row| (row.get(0), row.get(1))))
}

/// An account.
pub(crate) async fn get_user(db: &Db, id: UserId) -> Result<Option<User>, StoreError> {
    let client = db.client(GET_USER.name).await?;
    Ok(GET_USER.opt(&client, &[&id.0]).await?.as_ref().map(user))
}

/// What an account may do at this moment.
pub(crate) async fn get_rights(db: &Db, id: UserId) -> Result<Option<Rights>, StoreError> {
    let client = db.client(GET_RIGHTS.name).await?;
    let row = GET_RIGHTS.opt(&client, &[&id.0]).await?;
    Ok(row.map(|row| Rights { is_staff: row.get(0), is_active: row.get(1) }))
}

/// What is needed to check a sign-in under this name.
pub(crate) async fn get_credentials(db: &Db, username: &str) -> Result<Option<Credentials>, StoreError> {
    let client = db.client(GET_PASSWORD_BY_USERNAME.name).await?;
    let row = GET_PASSWORD_BY_USERNAME.opt(&client, &[&username]).await?;
    Ok(row.map(|row| Credentials {
        user: UserId(row.get(0)),
        password_hash: row.get(1),
        is_active: row.get(2),
    }))
}

/// What is needed to change this account's password.
pub(crate) async fn get_own_password(db: &Db, id: UserId) -> Result<Option<OwnPassword>, StoreError> {
    let client = db.client(GET_PASSWORD_BY_ID.name).await?;
    let row = GET_PASSWORD_BY_ID.opt(&client, &[&id.0]).await?;
    Ok(row.map(|row| OwnPassword { password_hash: row.get(0), username: row.get(1), email: row.get(2) }))
}

/// Changes an account's name or address; a new address voids links that were mailed to the old one.
pub(crate) async fn update_user(
    db: &Db,
    id: UserId,
    username: Option<&str>,
    email: Option<&str>,
) -> Result<Option<User>, StoreError> {
    let mut client = db.client(UPDATE_USER.name).await?;
    let transaction = begin(&mut client, UPDATE_USER.name).await?;
    let row = UPDATE_USER.opt(&transaction, &[&id.0, &username, &email]).await?;
    if email.is_some() {
        USE_RESETS_BY_USER.rows(&transaction, &[&id.0]).await?;
    }
    transaction.commit().await.map_err(|error| StoreError::new(UPDATE_USER.name, error))?;
    Ok(row.as_ref().map(user))
}

/// Whether any active account is staff's.
pub(crate) async fn has_staff(db: &Db) -> Result<bool, StoreError> {
    let client = db.client(HAS_STAFF.name).await?;
    Ok(HAS_STAFF.opt(&client, &[]).await?.is_some_and(|row| row.get(0)))
}

/// Begins a session.
pub(crate) async fn insert_session(
    db: &Db,
    user: UserId,
    jti: &str,
    lifetime_s: i64,
) -> Result<SessionId, StoreError> {
    let client = db.client(INSERT_SESSION.name).await?;
    let row = INSERT_SESSION.opt(&client, &[&user.0, &jti, &lifetime_s]).await?;
    row.map(|row| SessionId(row.get(0))).ok_or_else(|| StoreError::unavailable(INSERT_SESSION.name))
}

/// A session as it is at this moment.
pub(crate) async fn get_session(db: &Db, id: SessionId) -> Result<Option<SessionState>, StoreError> {
    let client = db.client(GET_SESSION.name).await?;
    let row = GET_SESSION.opt(&client, &[&id.0]).await?;
    Ok(row.map(|row| SessionState {
        user: UserId(row.get(0)),
        ended: row.get(1),
        rights: Rights { is_staff: row.get(2), is_active: row.get(3) },
    }))
}

/// Exchanges a session's refresh token for the next one; whether that could be done.
pub(crate) async fn rotate_session(
    db: &Db,
    id: SessionId,
    jti: &str,
    next: &str,
    lifetime_s: i64,
) -> Result<bool, StoreError> {
    let client = db.client(ROTATE_SESSION.name).await?;
    Ok(ROTATE_SESSION.execute(&client, &[&id.0, &jti, &next, &lifetime_s]).await? > 0)
}

/// Ends a session, if it had not ended, and logs it.
pub(crate) async fn end_session(db: &Db, id: SessionId) -> Result<Logged, StoreError> {
    let mut client = db.client(END_SESSION.name).await?;
    let transaction = begin(&mut client, END_SESSION.name).await?;
    let user = END_SESSION.opt(&transaction, &[&id.0]).await?.map(|row| UserId(row.get(0)));
    let events = user.map(|user| EventKind::Session { session: id, user });
    log_and_commit(transaction, END_SESSION.name, events.into_iter().collect()).await
}

/// Ends a user's sessions, but the one to keep, and logs it.
pub(crate) async fn end_sessions(
    db: &Db,
    user: UserId,
    keep: Option<SessionId>,
) -> Result<Logged, StoreError> {
    let mut client = db.client(END_SESSIONS_BY_USER.name).await?;
    let transaction = begin(&mut client, END_SESSIONS_BY_USER.name).await?;
    let events = end_sessions_in(&transaction, user, keep).await?;
    log_and_commit(transaction, END_SESSIONS_BY_USER.name, events).await
}

/// Replaces a password, voids the user's links and ends the user's other sessions; `None` when the old hash is not the
/// account's any more.
pub(crate) async fn change_password(
    db: &Db,
    user: UserId,
    keep: SessionId,
    new_hash: &str,
    old_hash: &str,
) -> Result<Option<Logged>, StoreError> {
    let mut client = db.client(UPDATE_PASSWORD.name).await?;
    let transaction = begin(&mut client, UPDATE_PASSWORD.name).await?;
    if UPDATE_PASSWORD.execute(&transaction, &[&user.0, &new_hash, &old_hash]).await? == 0 {
        return Ok(None);
    }
    USE_RESETS_BY_USER.rows(&transaction, &[&user.0]).await?;
    let events = end_sessions_in(&transaction, user, Some(keep)).await?;
    log_and_commit(transaction, UPDATE_PASSWORD.name, events).await.map(Some)
}

/// Asks for a link to be mailed, unless `waiting_max` are asked for already; whether that was done.
pub(crate) async fn insert_reset_request(db: &Db, email: &str, waiting_max: i64) -> Result<bool, StoreError> {
    let client = db.client(INSERT_RESET_REQUEST.name).await?;
    Ok(INSERT_RESET_REQUEST.execute(&client, &[&email, &waiting_max]).await? > 0)
}

/// Whose password a link is for, if it is good.
pub(crate) async fn get_reset(db: &Db, token_hash: &[u8]) -> Result<Option<ResetOwner>, StoreError> {
    let client = db.client(GET_RESET.name).await?;
    let row = GET_RESET.opt(&client, &[&token_hash]).await?;
    Ok(row.map(|row| ResetOwner { username: row.get(0), email: row.get(1) }))
}

/// Uses a link: replaces the password, voids the user's other links and ends all of the user's
/// sessions; `None` when the link is not good any more.
pub(crate) async fn reset_password(
    db: &Db,
    token_hash: &[u8],
    password_hash: &str,
) -> Result<Option<Logged>, StoreError> {
    let mut client = db.client(RESET_PASSWORD.name).await?;
    let transaction = begin(&mut client, RESET_PASSWORD.name).await?;
    let Some(row) = RESET_PASSWORD.opt(&transaction, &[&token_hash, &password_hash]).await? else {
        return Ok(None);
    };
    let user = UserId(row.get(0));
    let used = USE_RESETS_BY_USER.rows(&transaction, &[&user.0]).await?;
    // Whoever waited for the lock on the account finds here that the link was used meanwhile.
    if !used.iter().any(|row| row.get::<_, &[u8]>(0) == token_hash) {
        return Ok(None);
    }
    let events = end_sessions_in(&transaction, user, None).await?;
    log_and_commit(transaction, RESET_PASSWORD.name, events).await.map(Some)
}

/// Removes what is left of at most `count` links that have expired, and of as many requests.
pub(crate) async fn prune_resets(db: &Db, count: i64) -> Result<(), StoreError> {
    let client = db.client(PRUNE_RESETS.name).await?;
    PRUNE_RESETS.execute(&client, &[&count]).await?;
    Ok(())
}

/// The sessions that ended lately, each with the seconds since, newest first.
pub(crate) async fn list_ended(
    db: &Db,
    lately_s: i64,
    limit: i64,
) -> Result<Vec<(SessionId, u64)>, StoreError> {
    let client = db.client(LIST_ENDED_SESSIONS.name).await?;
    let rows = LIST_ENDED_SESSIONS.rows(&client, &[&lately_s, &limit]).await?;
    let ended = |row: &Row| (SessionId(row.get(0)), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0));
    Ok(rows.iter().map(ended).collect())
}

/// Removes long expired sessions among the `count` after `after`; the last one looked at.
pub(crate) async fn prune_sessions(db: &Db, after: i64, count: i64) -> Result<Option<i64>, StoreError> {
    let client = db.client(PRUNE_SESSIONS.name).await?;
    Ok(PRUNE_SESSIONS.opt(&client, &[&after, &count]).await?.and_then(|row| row.get(0)))
}

async fn end_sessions_in(
    client: &impl GenericClient,
    user: UserId,
    keep: Option<SessionId>,
) -> Result<Vec<EventKind>, StoreError> {
    let keep = keep.map(|session| session.0);
    let rows = END_SESSIONS_BY_USER.rows(client, &[&user.0, &keep]).await?;
    Ok(rows.iter().map(|row| EventKind::Session { session: SessionId(row.get(0)), user }).collect())
}

async fn begin<'a>(client: &'a mut Object, name: &'static str) -> Result<Transaction<'a>, StoreError> {
    client.transaction().await.map_err(|error| StoreError::new(name, error))
}

async fn log_and_commit(
    transaction: Transaction<'_>,
    name: &'static str,
    events: Vec<EventKind>,
) -> Result<Logged, StoreError> {
    let last = match events.as_slice() {
        [] => None,
        events => Some(feed::store::append(&transaction, events).await?),
    };
    transaction.commit().await.map_err(|error| StoreError::new(name, error))?;
    Ok(last.map(|last| (last, events)))
}

fn user(row: &Row) -> User {
    User {
        id: UserId(row.get(0)),
        username: row.get(1),
        email: row.get(2),
        is_staff: row.get(3),
        date_joined: Timestamp(row.get(4)),
    }
}
