//! Mail.
use std::path::PathBuf;
use crate::db::Db;
use crate::feed::Feed;
/// How mail leaves the shop.
#[derive(Clone, Debug)]
pub struct MailerSettings {
    /// `smtp://user:password@host:587` or `smtps://…`; without one, `.eml` files in `folder`.
    pub smtp_url: Option<String>,
    /// Where mail is written without SMTP.
    pub folder: PathBuf,
    /// The sender's address.
    pub from: String,
}
/// Mailer.
pub struct MailerActor {}
impl actix::Actor for MailerActor { type Context = actix::Context<Self>; }
impl MailerActor { /// Starts it.
    pub fn launch(_db: Db, _feed: &Feed, _settings: MailerSettings) -> Result<actix::Addr<Self>, String> { unimplemented!() } }
