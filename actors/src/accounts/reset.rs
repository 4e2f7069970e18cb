//! The tokens of links to choose a new password.
//!
//! A token is 128 random bits and is only ever in the mail; the database has its SHA-256, which needs
//! no salt, since there is nothing to guess.

use sha2::{Digest, Sha256};

/// A token that nobody has: 32 hexadecimal digits.
pub(crate) fn fresh_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What is kept of a token.
pub(crate) fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}
