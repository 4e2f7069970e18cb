//! Mails links to choose a new password.
//!
//! No lease: each request is claimed by itself, for longer than sending takes. So the node that was
//! asked mails at once, and what a dead node leaves behind, another finds within
//! [`LOOK_INTERVAL`] of its claim's end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lettre::message::Mailbox;
use tokio::sync::{Notify, watch};

use super::actor::backoff;
use super::letter::{self, ResetLink};
use super::post::{LETTERS_AT_ONCE, Outcome, Post};
use super::store;
use crate::accounts::reset;
use crate::db::{Db, StoreError};

/// How often a node looks for requests of others.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How many links of one account may be open at a time; more are not mailed, so that nobody's mailbox
/// can be filled.
const OPEN_LINKS_MAX: i64 = 5;

/// What the task that mails links works with.
pub(super) struct Resets {
    pub(super) db: Db,
    pub(super) from: Mailbox,
    pub(super) post: Arc<Post>,
    /// What a token is put behind.
    pub(super) url: String,
    /// Rung by this node's accounts.
    pub(super) asked: Arc<Notify>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// How a round went.
enum Round {
    /// There may be more to do.
    Full,
    /// Nothing is left to do.
    Done,
    /// Something has to be tried again later.
    Unfinished,
}

impl Resets {
    pub(super) async fn work(mut self) {
        let mut failures = 0;
        while !*self.stopping.borrow() {
            let round = self.round().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the mailer cannot reach its requests; it will try again");
                Round::Unfinished
            });
            match round {
                Round::Full => {}
                Round::Done => {
                    failures = 0;
                    self.wait_until_asked().await;
                }
                Round::Unfinished => {
                    failures += 1;
                    self.pause(backoff(failures)).await;
                }
            }
        }
    }

    /// Deals with one page of requests.
    async fn round(&self) -> Result<Round, StoreError> {
        let limit = i64::try_from(LETTERS_AT_ONCE).unwrap_or(i64::MAX);
        let client = self.db.client("mailer/claim_reset_requests.sql").await?;
        let emails = store::claim_reset_requests(&client, limit).await?;
        drop(client);
        let outcomes = join_all(emails.iter().map(|email| self.mail(email))).await;
        let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(if outcomes.contains(&Outcome::Later) {
            Round::Unfinished
        } else if emails.len() == LETTERS_AT_ONCE {
            Round::Full
        } else {
            Round::Done
        })
    }

    /// Mails a link to an address, if an account has it.
    async fn mail(&self, email: &str) -> Result<Outcome, StoreError> {
        let token = reset::fresh_token();
        let token_hash = reset::token_hash(&token);
        let client = self.db.client("mailer/insert_reset.sql").await?;
        let account = store::insert_reset(&client, email, &token_hash, OPEN_LINKS_MAX).await?;
        // Not held while a letter is on its way.
        drop(client);
        let outcome = match account {
            None => Outcome::Never,
            Some((username, email)) => {
                let link = format!("{}{token}", self.url);
                let id = token_hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                let letter = letter::reset(&ResetLink { username, email, link, id }, &self.from);
                self.post.deliver(letter, "a new password").await
            }
        };
        let client = self.db.client("mailer/finish_reset_request.sql").await?;
        match outcome {
            Outcome::Later => store::postpone_reset_request(&client, email, &token_hash).await?,
            Outcome::Sent | Outcome::Never => store::finish_reset_request(&client, email).await?,
        }
        Ok(outcome)
    }

    async fn wait_until_asked(&mut self) {
        tokio::select! {
            () = self.asked.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = self.stopping.changed() => {}
        }
    }

    async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}
