//! The table of answers.

use deadpool_postgres::GenericClient;

use super::{Done, IdempotencyKey, KeyReused, StoredAnswer};
use crate::db::{StoreError, queries};

queries! {
    FIND_ANSWERS = "idempotency/find_answers.sql";
    INSERT_ANSWERS = "idempotency/insert_answers.sql";
    PRUNE_ANSWERS = "idempotency/prune_answers.sql";
}

/// What breaking it tells: a twin committed between our look-up and our write.
pub(crate) const TWIN_CONSTRAINT: &str = "idempotency_keys_key";

/// What a key led to: nothing yet, an answer, or a refusal because the request differs.
pub(crate) type Found = Option<Result<StoredAnswer, KeyReused>>;

/// Looks up a set of keys; the answers are in the order of the keys.
pub(crate) async fn find(
    client: &impl GenericClient,
    keys: &[&IdempotencyKey],
) -> Result<Vec<Found>, StoreError> {
    let mut found: Vec<Found> = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(found);
    }
    let users: Vec<i64> = keys.iter().map(|k| k.user.0).collect();
    let paths: Vec<&str> = keys.iter().map(|k| k.path.as_str()).collect();
    let names: Vec<&str> = keys.iter().map(|k| k.key.as_str()).collect();
    for row in FIND_ANSWERS.rows(client, &[&users, &paths, &names]).await? {
        let position = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        let (Some(slot), Some(key)) = (found.get_mut(position), keys.get(position)) else { continue };
        let same = row.get::<_, &[u8]>(1) == key.request_hash;
        let answer =
            StoredAnswer { status: u16::try_from(row.get::<_, i16>(2)).unwrap_or(200), body: row.get(3) };
        *slot = Some(if same { Ok(answer) } else { Err(KeyReused) });
    }
    Ok(found)
}

/// Stores answers in the caller's transaction.
pub(crate) async fn insert(
    client: &impl GenericClient,
    answers: &[(&IdempotencyKey, StoredAnswer)],
) -> Result<(), StoreError> {
    if answers.is_empty() {
        return Ok(());
    }
    let users: Vec<i64> = answers.iter().map(|(k, _)| k.user.0).collect();
    let paths: Vec<&str> = answers.iter().map(|(k, _)| k.path.as_str()).collect();
    let names: Vec<&str> = answers.iter().map(|(k, _)| k.key.as_str()).collect();
    let hashes: Vec<&[u8]> = answers.iter().map(|(k, _)| k.request_hash.as_slice()).collect();
    let statuses: Vec<i16> = answers.iter().map(|(_, a)| i16::try_from(a.status).unwrap_or(200)).collect();
    let bodies: Vec<&str> = answers.iter().map(|(_, a)| a.body.as_str()).collect();
    INSERT_ANSWERS.execute(client, &[&users, &paths, &names, &hashes, &statuses, &bodies]).await?;
    Ok(())
}

/// Removes a bounded number of keys that have outlived their day.
pub(crate) async fn prune(client: &impl GenericClient) -> Result<u64, StoreError> {
    PRUNE_ANSWERS.execute(client, &[&10_000_i64]).await
}

/// The first answer to `key` if there is one; `Ok(None)` when the request is new.
pub(crate) async fn find_one<T, E: From<StoreError> + From<KeyReused>>(
    client: &impl GenericClient,
    key: Option<&IdempotencyKey>,
) -> Result<Option<Done<T>>, E> {
    let Some(key) = key else { return Ok(None) };
    match find(client, &[key]).await?.pop().flatten() {
        None => Ok(None),
        Some(Ok(answer)) => Ok(Some(Done::Before(answer))),
        Some(Err(reused)) => Err(reused.into()),
    }
}
