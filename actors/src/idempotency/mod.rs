//! Idempotency: the same request sent twice has its effect once, and gets the first answer twice.
//!
//! Promises: a key is looked up before anything else is decided, and stored by the transaction that
//! it protects, so there is no moment at which one exists without the other. Only success is stored; of
//! placed orders just the id, since their rows tell what the answer was.
//! A twin in flight on another node makes the later of the two break the table's key; its
//! transaction is rolled back and tried again, and then finds the first answer.

pub(crate) mod store;

use serde::Serialize;

use crate::types::UserId;

/// A client's `Idempotency-Key` with what it is scoped to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Who sent it.
    pub user: UserId,
    /// The path it was sent to, with its closing slash.
    pub path: String,
    /// The key: 1 to 255 visible characters.
    pub key: String,
    /// SHA-256 of the request's content, to tell a retry from a reuse.
    pub request_hash: [u8; 32],
}

/// The first answer to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: String,
}

impl StoredAnswer {
    /// An answer with this content.
    pub(crate) fn new<T: Serialize>(status: u16, content: &T) -> Self {
        // What the contract shows serializes without fail: no maps with odd keys, no floats.
        Self { status, body: serde_json::to_string(content).unwrap_or_default() }
    }
}

/// The key has been used for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this idempotency key was used for a different request")]
pub struct KeyReused;

/// A success: done now, or done before under the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done<T> {
    /// Done by this request.
    Now(T),
    /// Done by an earlier request with the same key; this was its answer.
    Before(StoredAnswer),
}
