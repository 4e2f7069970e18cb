//! A client's connection, and the customers it speaks for.

use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::client::{Client, Target};
use super::receipts::{Line, Receipts};
use super::recorder::Outcome;
use super::wire::{Reply, RequestBuffer, Wire, WireError};

/// A customer, with the token that is in use on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    account: Arc<Account>,
    access: String,
}

impl Customer {
    /// Signed in already.
    pub(crate) fn new(account: Arc<Account>) -> Self {
        let access = account.access();
        Self { account, access }
    }
}

/// A request in short: method, path, idempotency key and JSON body, the last two empty where there is
/// none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub method: &'static str,
    pub path: &'a str,
    pub key: &'a str,
    pub body: &'a str,
}

impl<'a> Ask<'a> {
    /// `GET`.
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: "GET", path, key: "", body: "" }
    }

    /// `POST`, without a key.
    pub(crate) fn post(path: &'a str, body: &'a str) -> Self {
        Self { method: "POST", path, key: "", body }
    }

    /// `DELETE`.
    pub(crate) fn delete(path: &'a str) -> Self {
        Self { method: "DELETE", path, key: "", body: "" }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    target: Target,
    wire: Wire,
    buffer: RequestBuffer,
}

impl Session {
    /// Not yet connected.
    pub(crate) fn new(target: &Target, timeout: Duration) -> Self {
        Self {
            target: target.clone(),
            wire: Wire::new(target.clone(), timeout),
            buffer: RequestBuffer::new(target),
        }
    }

    /// Sends a request once as a customer; a token that has run out is renewed, which makes it twice.
    pub(crate) async fn send(&mut self, who: &mut Customer, ask: Ask<'_>) -> Result<Reply<'_>, WireError> {
        let status = self.exchange(&who.access, ask).await?;
        if status == 401 {
            // Its own connection, and rare: once per account and lifetime of a token.
            let mut client = Client::new(self.target.clone());
            who.account.renew(&mut client, &who.access).await.ok();
            who.access = who.account.access();
            self.exchange(&who.access, ask).await?;
        }
        Ok(self.wire.reply())
    }

    /// Sends a request once as nobody in particular.
    pub(crate) async fn send_anonymously(&mut self, ask: Ask<'_>) -> Result<Reply<'_>, WireError> {
        self.exchange("", ask).await?;
        Ok(self.wire.reply())
    }

    async fn exchange(&mut self, access: &str, ask: Ask<'_>) -> Result<u16, WireError> {
        self.wire.exchange(self.buffer.write(ask.method, ask.path, access, ask.key, ask.body)).await
    }
}

/// What became of the placing of an order of these lines; enters it into the books.
pub(crate) fn enter(
    reply: &Result<Reply<'_>, WireError>,
    lines: &[Line],
    receipts: &mut Receipts,
) -> (Outcome, Option<i64>) {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => {
            if !error.is_unsent() {
                receipts.lose();
            }
            return (Outcome::Failed(error.to_string()), None);
        }
    };
    match reply.status {
        201 => match reply.id() {
            Some(order) => {
                receipts.acknowledge(order, lines);
                (Outcome::Done, Some(order))
            }
            None => (Outcome::Failed("an order without an id".to_owned()), None),
        },
        409 if reply.contains("\"out_of_stock\"") => (Outcome::SoldOut, None),
        503 if reply.contains("\"outcome_unknown\"") => {
            receipts.lose();
            (Outcome::Failed(reply.excerpt()), None)
        }
        503 | 429 => (Outcome::Busy, None),
        status => {
            // Whatever failed within, it may have failed after the order was placed.
            if status >= 500 {
                receipts.lose();
            }
            (Outcome::Failed(reply.excerpt()), None)
        }
    }
}

/// What became of any other request that should be answered with `status`.
pub(crate) fn judge(reply: &Result<Reply<'_>, WireError>, status: u16) -> Outcome {
    match reply {
        Ok(reply) if reply.status == status => Outcome::Done,
        Ok(reply) if matches!(reply.status, 503 | 429) => Outcome::Busy,
        Ok(reply) => Outcome::Failed(reply.excerpt()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// The same for what only prepares: an error where it is not as it should be.
pub(crate) fn insist(reply: &Result<Reply<'_>, WireError>, status: u16, doing: &str) -> Result<(), String> {
    match judge(reply, status) {
        Outcome::Done => Ok(()),
        Outcome::Failed(reason) => Err(format!("{doing}: {reason}")),
        _ => Err(format!("{doing}: not now")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, body: &str) -> (Outcome, Receipts) {
        let mut receipts = Receipts::default();
        let reply = Ok(Reply { status, body: body.as_bytes() });
        let (outcome, _) = enter(&reply, &[(7, 1)], &mut receipts);
        (outcome, receipts)
    }

    #[test]
    fn refusals_are_told_from_failures_and_failures_that_may_have_had_an_effect_are_noted() {
        let unknown = |receipts: &Receipts| format!("{receipts:?}").contains("unknown: 1");
        for (status, body, wanted, is_unknown) in [
            (201, r#"{"id":5}"#, Some(Outcome::Done), false),
            (409, r#"{"code":"out_of_stock"}"#, Some(Outcome::SoldOut), false),
            (503, r#"{"code":"overloaded"}"#, Some(Outcome::Busy), false),
            (429, "{}", Some(Outcome::Busy), false),
            (503, r#"{"code":"outcome_unknown"}"#, None, true),
            (500, "{}", None, true),
            (409, r#"{"code":"price_changed"}"#, None, false),
            (201, "{}", None, false),
        ] {
            let (outcome, receipts) = outcome(status, body);
            match wanted {
                Some(wanted) => assert_eq!(outcome, wanted),
                None => assert!(matches!(outcome, Outcome::Failed(_)), "{status} {body}"),
            }
            assert_eq!(unknown(&receipts), is_unknown, "{status} {body}");
        }
    }
}
