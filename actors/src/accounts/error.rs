//! Why somebody could not register, sign in, or be recognised.

use crate::db::StoreError;

/// What is wrong with a token. The texts are those that clients of such an API know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a token, not one of ours, or not any more.
    #[error("Token is invalid or expired")]
    Invalid,
    /// An access token where a refresh token belongs, or the other way round.
    #[error("Token has wrong type")]
    WrongType,
    /// Its session has ended, or it has been exchanged for a newer one.
    #[error("Token is blacklisted")]
    Ended,
    /// It does not say when it ends.
    #[error("Token has no 'exp' claim")]
    NoExpiry,
    /// It does not say what it is for.
    #[error("Token has no type")]
    NoType,
    /// It has no id.
    #[error("Token has no id")]
    NoId,
    /// It does not say whose it is.
    #[error("Token contained no recognizable user identification")]
    NoUser,
}

/// Why a request about accounts was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Fields of a registration or a change were refused: field, message.
    #[error("{}", sentences(.0))]
    Refused(Vec<(&'static str, String)>),
    /// The name and the password do not belong to an active account.
    #[error("no active account with these credentials")]
    BadCredentials,
    /// The old password is not the account's.
    #[error("the old password is wrong")]
    WrongPassword,
    /// The token of a link to choose a new password is unknown, used, void or expired.
    #[error("the link is no good")]
    BadResetToken,
    /// The token is no good.
    #[error("{0}")]
    Token(#[from] TokenFault),
    /// The token is good, but its user is not there any more.
    #[error("user not found")]
    UserNotFound,
    /// The token is good, but its user has been deactivated.
    #[error("user is inactive")]
    UserInactive,
    /// Too many passwords are waiting to be checked; try again shortly.
    #[error("too many passwords are waiting to be checked")]
    Overloaded,
    /// The database is out of reach.
    #[error("the shop cannot reach its database")]
    Unavailable,
    /// A defect, logged where it happened.
    #[error("something went wrong inside the shop")]
    Internal,
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = &error as &dyn std::error::Error, "an account had to wait");
            Self::Unavailable
        } else {
            tracing::error!(error = &error as &dyn std::error::Error, "an account met a defect");
            Self::Internal
        }
    }
}

/// `field: message`, one after the other.
fn sentences(refused: &[(&'static str, String)]) -> String {
    let sentences: Vec<String> =
        refused.iter().map(|(field, message)| format!("{field}: {message}")).collect();
    sentences.join(" ")
}
