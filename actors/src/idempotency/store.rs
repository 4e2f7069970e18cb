//! The table of answers.

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::{Done, IdempotencyKey, KeyReused, StoredAnswer};
use crate::db::{StoreError, queries};
use crate::types::OrderId;

queries! {
    FIND_ANSWERS = "idempotency/find_answers.sql";
    INSERT_ANSWERS = "idempotency/insert_answers.sql";
    PRUNE_ANSWERS = "idempotency/prune_answers.sql";
}

/// What breaking it tells: a twin committed between our look-up and our write.
pub(crate) const TWIN_CONSTRAINT: &str = "idempotency_keys_key";

/// What is kept for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The answer itself.
    Answer(StoredAnswer),
    /// The order that was placed, from whose rows the answer can be told.
    Order(OrderId),
}

/// The status of the answer to an order that was placed.
pub(crate) const PLACED: u16 = 201;

/// What a key led to: nothing yet, an answer, or a refusal because the request differs.
pub(crate) type Found<T = StoredAnswer> = Option<Result<T, KeyReused>>;

/// Looks up a set of keys; the answers are in the order of the keys.
pub(crate) async fn find(
    client: &impl GenericClient,
    keys: &[&IdempotencyKey],
) -> Result<Vec<Found<Kept>>, StoreError> {
    let mut found: Vec<Found<Kept>> = vec![None; keys.len()];
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
        *slot = Some(if same { Ok(kept_from(&row)) } else { Err(KeyReused) });
    }
    Ok(found)
}

/// From `ordinal, request_hash, status, body, order_id`.
fn kept_from(row: &Row) -> Kept {
    match row.get(4) {
        Some(order) => Kept::Order(OrderId(order)),
        None => Kept::Answer(StoredAnswer {
            status: u16::try_from(row.get::<_, i16>(2)).unwrap_or(200),
            body: row.get(3),
        }),
    }
}

/// Stores answers in the caller's transaction.
pub(crate) async fn insert<'a>(
    client: &impl GenericClient,
    answers: impl ExactSizeIterator<Item = (&'a IdempotencyKey, &'a Kept)> + Clone,
) -> Result<(), StoreError> {
    if answers.len() == 0 {
        return Ok(());
    }
    let keys = answers.clone().map(|(key, _)| key);
    let users: Vec<i64> = keys.clone().map(|key| key.user.0).collect();
    let paths: Vec<&str> = keys.clone().map(|key| key.path.as_str()).collect();
    let names: Vec<&str> = keys.clone().map(|key| key.key.as_str()).collect();
    let hashes: Vec<&[u8]> = keys.map(|key| key.request_hash.as_slice()).collect();
    let mut statuses: Vec<i16> = Vec::with_capacity(answers.len());
    let mut bodies: Vec<&str> = Vec::with_capacity(answers.len());
    let mut orders: Vec<Option<i64>> = Vec::with_capacity(answers.len());
    for (_, kept) in answers {
        let (status, body, order) = match kept {
            Kept::Answer(answer) => (answer.status, answer.body.as_str(), None),
            Kept::Order(order) => (PLACED, "", Some(order.0)),
        };
        statuses.push(i16::try_from(status).unwrap_or(200));
        bodies.push(body);
        orders.push(order);
    }
    INSERT_ANSWERS.execute(client, &[&users, &paths, &names, &hashes, &statuses, &bodies, &orders]).await?;
    Ok(())
}

/// Removes a bounded number of keys that have outlived their day.
pub(crate) async fn prune(client: &impl GenericClient) -> Result<u64, StoreError> {
    PRUNE_ANSWERS.execute(client, &[&10_000_i64]).await
}

/// What a key of anything but an order led to. Keys are scoped to their path, and an order is placed at
/// others than these.
pub(crate) async fn find_answer(
    client: &impl GenericClient,
    key: &IdempotencyKey,
) -> Result<Found, StoreError> {
    Ok(match find(client, &[key]).await?.pop().flatten() {
        Some(Ok(Kept::Answer(answer))) => Some(Ok(answer)),
        Some(Ok(Kept::Order(_))) => return Err(StoreError::defect(FIND_ANSWERS.name)),
        None => None,
        Some(Err(reused)) => Some(Err(reused)),
    })
}

/// The first answer to `key`, which is not an order's, if there is one; `Ok(None)` when the request is new.
pub(crate) async fn find_one<T, E: From<StoreError> + From<KeyReused>>(
    client: &impl GenericClient,
    key: Option<&IdempotencyKey>,
) -> Result<Option<Done<T>>, E> {
    let Some(key) = key else { return Ok(None) };
    match find_answer(client, key).await? {
        None => Ok(None),
        Some(Ok(answer)) => Ok(Some(Done::Before(answer))),
        Some(Err(reused)) => Err(reused.into()),
    }
}
