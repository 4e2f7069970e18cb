//! Accounts: who somebody is, and for how long.
//!
//! Promises: names and addresses are unique, by constraint; a password is kept only as its argon2id
//! hash, and a sign-in takes the same time for an unknown name and for a wrong password; a token
//! names its session, and once the session has ended every token of it is refused, here at once, on
//! other nodes when they have read the log, and by a question to the database where the log could
//! not be read for ten seconds. An account is made together with its cart. A link to choose a new
//! password works once and for an hour; asking for one tells nobody whether an account has the
//! address, since nobody looks before the mail is written; a new password or address voids the links.

mod error;
mod passwords;
pub(crate) mod reset;
mod service;
mod sessions;
mod store;
mod tokens;
mod user;

pub use error::{AccountError, TokenFault};
pub use service::{Access, AccountSettings, Accounts, TokenPair};
pub use sessions::SessionBook;
pub(crate) use store::QUERIES;
pub use user::{Draft, NewAccount, User, Username, parse_email};
