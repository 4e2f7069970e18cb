//! Mail: the confirmation of each order that was placed, and links to choose a new password.
//!
//! Promises: mail follows the event log, so an order that was committed is confirmed whatever
//! happened to the node that took it, and checkouts never wait for mail; one node at a time sends,
//! under a lease; each confirmation is sent at least once, a repeated one under the same
//! `Message-ID`; while the mail server is away nothing is lost, only later; no lock and no
//! transaction is held while a letter is on its way.
//!
//! A link is asked for by a row, committed before the request is answered, so that it too outlives
//! the node; any node may mail it, the one that was asked at once. The token is made when the mail
//! is: it is nowhere but in the mail, and a mail that could not be sent is replaced by another with
//! another token.

mod actor;
mod letter;
mod messages;
mod post;
mod resets;
pub(crate) mod store;

use std::path::PathBuf;

pub use actor::MailerActor;
pub use messages::StopMailer;

/// How mail leaves the shop.
#[derive(Clone, Debug)]
pub struct MailerSettings {
    /// `smtp://user:password@host:587` or `smtps://…`; without one, `.eml` files in `folder`.
    ///
    /// A `smtp://` URL with a password is used with STARTTLS, unless the host is this machine or
    /// `?tls=opportunistic` says otherwise; one without a password is used as it is.
    pub smtp_url: Option<String>,
    /// Where mail is written without SMTP.
    pub folder: PathBuf,
    /// The sender's address.
    pub from: String,
    /// What the token of a link to choose a new password is put behind; may be empty.
    pub reset_url: String,
}
