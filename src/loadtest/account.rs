//! A signed-in user of the shop under test.
//!
//! Promises: an access token that has run out is renewed, once per request, by its refresh token or
//! by signing in again; "not now" (`503`, `429`) and broken connections are tried again until the
//! patience ends.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::client::{Answer, Client, ClientError, Request, is_not_now};

/// How long one request is tried again before it counts as failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause between two tries, whatever the server asks for.
const PAUSE_MAX: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default, Deserialize)]
struct Tokens {
    access: String,
    #[serde(default)]
    refresh: String,
}

/// A user with a password and the tokens of the moment.
#[derive(Debug)]
pub(crate) struct Account {
    username: String,
    password: String,
    tokens: Mutex<Tokens>,
}

/// An answer, and how often the request had to be sent again for it.
pub(crate) struct Patient {
    pub answer: Answer,
    pub retries: u64,
}

impl Account {
    /// Signs in.
    pub(crate) async fn sign_in(
        client: &mut Client,
        username: String,
        password: String,
    ) -> Result<Self, ClientError> {
        let account = Self { username, password, tokens: Mutex::default() };
        account.log_in(client).await?;
        Ok(account)
    }

    /// Registers a new customer and signs in; returns the user's id as well.
    pub(crate) async fn register(
        client: &mut Client,
        username: String,
        password: String,
    ) -> Result<(i64, Self), ClientError> {
        #[derive(Deserialize)]
        struct Registered {
            id: i64,
        }
        let email = format!("{username}@example.com");
        let body = json!({"username": username, "email": email, "password": password});
        let answer = patiently(client, &Request::post("/api/auth/register/").json(&body)).await?.answer;
        if answer.status != 201 {
            return Err(answer.unexpected("cannot register a customer"));
        }
        let Registered { id } = answer.json()?;
        Ok((id, Self::sign_in(client, username, password).await?))
    }

    /// The access token of the moment.
    pub(crate) fn access(&self) -> String {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).access.clone()
    }

    /// Sends a request as this user, trying again where that is safe and may help. A request that
    /// changes something must carry an idempotency key.
    pub(crate) async fn send(&self, client: &mut Client, request: Request) -> Result<Patient, ClientError> {
        let request = request.bearer(&self.access());
        let first = patiently(client, &request).await?;
        if first.answer.status != 401 {
            return Ok(first);
        }
        self.renew(client).await?;
        let second = patiently(client, &request.bearer(&self.access())).await?;
        Ok(Patient { answer: second.answer, retries: first.retries + second.retries })
    }

    async fn renew(&self, client: &mut Client) -> Result<(), ClientError> {
        let refresh = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).refresh.clone();
        let request = Request::post("/api/auth/token/refresh/").json(&json!({"refresh": refresh}));
        let answer = patiently(client, &request).await?.answer;
        if answer.status != 200 {
            return self.log_in(client).await;
        }
        let mut tokens: Tokens = answer.json()?;
        if tokens.refresh.is_empty() {
            tokens.refresh = refresh;
        }
        self.keep(tokens);
        Ok(())
    }

    async fn log_in(&self, client: &mut Client) -> Result<(), ClientError> {
        let body = json!({"username": self.username, "password": self.password});
        let answer = patiently(client, &Request::post("/api/auth/login/").json(&body)).await?.answer;
        if answer.status != 200 {
            return Err(answer.unexpected(&format!("cannot sign in as {}", self.username)));
        }
        self.keep(answer.json()?);
        Ok(())
    }

    fn keep(&self, tokens: Tokens) {
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner) = tokens;
    }
}

/// Sends a request until it is answered with something else than "not now", or the patience ends;
/// then the last answer or error is the result.
pub(crate) async fn patiently(client: &mut Client, request: &Request) -> Result<Patient, ClientError> {
    let began = Instant::now();
    let mut pause = PAUSE_MIN;
    let mut retries = 0;
    loop {
        let outcome = client.send(request).await;
        let wait = match &outcome {
            Ok(answer) if is_not_now(answer.status) => answer.retry_after().unwrap_or(pause),
            Err(
                ClientError::Connect { .. }
                | ClientError::Lost(_)
                | ClientError::TimedOut(_)
                | ClientError::Body(_),
            ) => pause,
            _ => return outcome.map(|answer| Patient { answer, retries }),
        };
        if began.elapsed() > PATIENCE {
            return outcome.map(|answer| Patient { answer, retries });
        }
        tokio::time::sleep(wait.min(PAUSE_MAX)).await;
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
        retries += 1;
    }
}
