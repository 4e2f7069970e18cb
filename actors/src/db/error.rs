//! How a statement can fail, in the terms that callers act on.

use std::fmt;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// A statement that failed. Keeps its source for the log; callers act on what it was about.
#[derive(Debug)]
pub struct StoreError {
    query: &'static str,
    kind: Kind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// No connection could be had, or it broke, or the server is starting or stopping.
    Unavailable,
    /// Took longer than its timeout.
    TimedOut,
    /// A deadlock or serialization failure: the same transaction may succeed if tried again.
    Transient,
    /// Broke the constraint of this name.
    Constraint(String),
    /// Anything else; a defect of ours.
    Defect,
}

impl StoreError {
    /// Wraps what the driver said of the statement `query`.
    #[must_use]
    pub fn new(query: &'static str, error: tokio_postgres::Error) -> Self {
        let kind = kind_of(&error);
        Self { query, kind, source: Some(Box::new(error)) }
    }

    /// No connection to run `query` on.
    #[must_use]
    pub fn from_pool(query: &'static str, error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) if !matches!(kind_of(&error), Kind::Defect) => Self::new(query, error),
            error => Self { query, kind: Kind::Unavailable, source: Some(Box::new(error)) },
        }
    }

    /// The statement did not answer within the caller's own deadline.
    #[must_use]
    pub fn timed_out(query: &'static str) -> Self {
        Self { query, kind: Kind::TimedOut, source: None }
    }

    /// A transaction that kept failing for reasons that usually pass.
    #[must_use]
    pub fn unavailable(query: &'static str) -> Self {
        Self { query, kind: Kind::Unavailable, source: None }
    }

    /// What the statement found cannot be.
    #[must_use]
    pub fn defect(query: &'static str) -> Self {
        Self { query, kind: Kind::Defect, source: None }
    }

    /// The name of the constraint that the statement would have broken.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match &self.kind {
            Kind::Constraint(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the same transaction may succeed if it is simply tried again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind == Kind::Transient
    }

    /// Whether the database is out of reach or too slow, as opposed to the statement being wrong.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::TimedOut | Kind::Transient)
    }

    /// Whether the connection broke, so that the fate of a COMMIT in flight is not known.
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        self.kind == Kind::Unavailable
    }
}

fn kind_of(error: &tokio_postgres::Error) -> Kind {
    let Some(db) = error.as_db_error() else {
        // Not the server's word: the connection broke, or could not be made. Encoding and decoding
        // errors are ours.
        let ours = std::error::Error::source(error)
            .is_some_and(|source| !source.is::<std::io::Error>() && !error.is_closed());
        return if ours && !error.to_string().contains("connect") { Kind::Defect } else { Kind::Unavailable };
    };
    if let Some(name) = db.constraint() {
        return Kind::Constraint(name.to_owned());
    }
    let code = db.code();
    if *code == SqlState::T_R_DEADLOCK_DETECTED
        || *code == SqlState::T_R_SERIALIZATION_FAILURE
        || *code == SqlState::FEATURE_NOT_SUPPORTED
    {
        // 0A000 is what a cached plan says once after a migration; the retry prepares afresh.
        return Kind::Transient;
    }
    if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE {
        return Kind::TimedOut;
    }
    // Classes 08 (connection), 53 (resources), 57P0x (shutdown), 58 (system), 25006 (read-only
    // standby after a failover), 25P03 (idle in transaction).
    let text = code.code();
    let outage = ["08", "53", "57P", "58", "25006", "25P03"].iter().any(|class| text.starts_with(class));
    if outage { Kind::Unavailable } else { Kind::Defect }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.kind {
            Kind::Unavailable => "the database is out of reach".to_owned(),
            Kind::TimedOut => "the database took too long".to_owned(),
            Kind::Transient => "the transaction kept colliding with others".to_owned(),
            Kind::Constraint(name) => format!("constraint {name} would be broken"),
            Kind::Defect => "the statement failed".to_owned(),
        };
        write!(f, "{}: {what}", self.query)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
