//! How a request is refused for its number.

use std::time::Duration;

/// The client has asked too often. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; the next one is welcome in {wait:?}")]
pub struct TooManyRequests {
    /// When its next request conforms, if it sends none until then.
    pub wait: Duration,
}
