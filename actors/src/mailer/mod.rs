//! Mail: the confirmation of each order that was placed.
//!
//! Promises: mail follows the event log, so an order that was committed is confirmed whatever
//! happened to the node that took it, and checkouts never wait for mail; one node at a time sends,
//! under a lease; each confirmation is sent at least once, a repeated one under the same
//! `Message-ID`; while the mail server is away nothing is lost, only later; no lock and no
//! transaction is held while a letter is on its way.

mod actor;
mod letter;
mod messages;
mod post;
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
}
