//! The way a letter leaves: over SMTP, or as a file.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{AsyncFileTransport, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::sync::Semaphore;

use super::MailerSettings;
use super::letter::Unwritable;

/// Each step of a conversation with the mail server.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// All of it; shorter than the lease, so that a slow server never makes two nodes send.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Letters under way at a time.
pub(super) const LETTERS_AT_ONCE: usize = 10;

/// A way for letters to leave.
pub(super) enum Post {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// Written one after the other, since files of one folder get in each other's way.
    Files(AsyncFileTransport<Tokio1Executor>, Semaphore),
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has left.
    Sent,
    /// It never will.
    Never,
    /// It may yet.
    Later,
}

/// Why a letter did not leave.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    /// It never will.
    #[error("refused for good: {0}")]
    Refused(smtp::Error),
    /// It may yet.
    #[error("{0}")]
    NotNow(String),
}

impl Post {
    /// Sets the way up; does not try it.
    pub(super) fn new(settings: &MailerSettings) -> Result<Self, String> {
        let Some(url) = &settings.smtp_url else {
            let folder = &settings.folder;
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
            return Ok(Self::Files(AsyncFileTransport::new(folder), Semaphore::new(1)));
        };
        // The error must not repeat the URL, which may hold a password.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&with_tls(url))
            .map_err(|error| format!("SMTP_URL is no good: {error}"))?
            .timeout(Some(STEP_TIMEOUT))
            .pool_config(PoolConfig::new().max_size(LETTERS_AT_ONCE as u32))
            .build();
        Ok(Self::Smtp(transport))
    }

    /// Sends a letter, if it could be written; `about` says in the log what it is about.
    pub(super) async fn deliver(&self, letter: Result<Message, Unwritable>, about: &str) -> Outcome {
        let letter = match letter {
            Ok(letter) => letter,
            Err(error) => {
                tracing::warn!(about, %error, "a letter cannot be written");
                return counted(Outcome::Never);
            }
        };
        counted(match self.send(letter).await {
            Ok(()) => Outcome::Sent,
            Err(error @ NotSent::Refused(_)) => {
                tracing::warn!(about, %error, "a letter cannot be sent");
                Outcome::Never
            }
            Err(error @ NotSent::NotNow(_)) => {
                tracing::warn!(about, %error, "a letter has to wait");
                Outcome::Later
            }
        })
    }

    async fn send(&self, letter: Message) -> Result<(), NotSent> {
        let sending = async {
            match self {
                Self::Smtp(transport) => transport.send(letter).await.map(|_| ()).map_err(judged),
                Self::Files(transport, turns) => {
                    let _turn = turns.acquire().await;
                    let written = transport.send(letter).await;
                    written.map(|_| ()).map_err(|error| NotSent::NotNow(error.to_string()))
                }
            }
        };
        let sent = tokio::time::timeout(SEND_TIMEOUT, sending).await;
        sent.unwrap_or_else(|_| Err(NotSent::NotNow("the mail server is too slow".to_owned())))
    }
}

/// The sender's address.
pub(super) fn sender(settings: &MailerSettings) -> Result<Mailbox, String> {
    settings.from.parse().map_err(|error| format!("the sender {:?} is no address: {error}", settings.from))
}

fn counted(outcome: Outcome) -> Outcome {
    let name = match outcome {
        Outcome::Sent => "sent",
        Outcome::Never => "refused",
        Outcome::Later => "postponed",
    };
    metrics::counter!("emporium_letters_total", "outcome" => name).increment(1);
    outcome
}

/// Permanent refusals concern the letter, except where they concern us: not signed in, or not able to.
fn judged(error: smtp::Error) -> NotSent {
    const OURS: [u16; 9] = [500, 502, 503, 504, 521, 530, 534, 535, 538];
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() && !OURS.contains(&code) => NotSent::Refused(error),
        _ => NotSent::NotNow(error.to_string()),
    }
}

/// A password never goes out in the clear, except to this machine.
fn with_tls(url: &str) -> String {
    let is_plain = url.starts_with("smtp://") && !url.contains("tls=");
    let authority = url.trim_start_matches("smtp://").split(['/', '?']).next().unwrap_or_default();
    let (credentials, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_local = ["localhost", "127.", "[::1]"].iter().any(|name| host.starts_with(name));
    if !is_plain || credentials.is_empty() || is_local {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}tls=required")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_needs_tls_unless_it_stays_on_this_machine() {
        for (given, used) in [
            ("smtp://u:p@mail.example.com:587", "smtp://u:p@mail.example.com:587?tls=required"),
            ("smtp://u:p@mail.example.com/name?x=1", "smtp://u:p@mail.example.com/name?x=1&tls=required"),
            (
                "smtp://u:p@mail.example.com?tls=opportunistic",
                "smtp://u:p@mail.example.com?tls=opportunistic",
            ),
            ("smtp://u:p@localhost:25", "smtp://u:p@localhost:25"),
            ("smtp://mail.example.com", "smtp://mail.example.com"),
            ("smtps://u:p@mail.example.com", "smtps://u:p@mail.example.com"),
        ] {
            assert_eq!(with_tls(given), used);
        }
    }

    #[test]
    fn a_bad_url_is_refused_without_being_repeated() {
        let settings = MailerSettings {
            smtp_url: Some("http://user:secret@mail.example.com".into()),
            folder: "unused".into(),
            from: "shop@example.com".into(),
            reset_url: String::new(),
        };
        let refusal = Post::new(&settings).err().unwrap_or_default();
        assert!(refusal.contains("SMTP_URL") && !refusal.contains("secret"), "{refusal}");
    }
}
