//! A signed-in user of the shop under test.
//!
//! Promises: an access token that has run out is renewed, once per request, by its refresh token or
//! by signing in again; "not now" (`503`, `429`) and broken connections are tried again until the
//! patience ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::client::{Answer, Client, ClientError, Request, Target, is_not_now};
use super::progress::Progress;

/// How long one request is tried again before it counts as failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause between two tries, whatever the server asks for.
const PAUSE_MAX: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Registrations at once; each costs the server two password hashings of about 25 ms of a core.
const SIGN_UPS_AT_ONCE: usize = 4;

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
    /// Held while the tokens are renewed, so that many connections of one user renew them once.
    renewing: tokio::sync::Mutex<()>,
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
        let (tokens, renewing) = (Mutex::default(), tokio::sync::Mutex::default());
        let account = Self { username, password, tokens, renewing };
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
        let access = self.access();
        let request = request.bearer(&access);
        let first = patiently(client, &request).await?;
        if first.answer.status != 401 {
            return Ok(first);
        }
        self.renew(client, &access).await?;
        let second = patiently(client, &request.bearer(&self.access())).await?;
        Ok(Patient { answer: second.answer, retries: first.retries + second.retries })
    }

    /// Renews the access token, unless it is another one than `refused` by now.
    pub(crate) async fn renew(&self, client: &mut Client, refused: &str) -> Result<(), ClientError> {
        let _turn = self.renewing.lock().await;
        if self.access() != refused {
            return Ok(());
        }
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

/// Registers customers and signs them in, a few at once; gives their ids and accounts in order.
pub(crate) async fn sign_up(target: &Target, names: Vec<String>) -> Result<Vec<(i64, Account)>, ClientError> {
    let progress = Arc::new(Mutex::new(Progress::begin("registering customers", names.len())));
    let names: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(names.into_iter().enumerate().collect()));
    // One for all: these accounts hold nothing, and nobody signs in to them after the run.
    let password = format!("{:032x}", rand::random::<u128>());
    let mut workers = JoinSet::new();
    for _ in 0..SIGN_UPS_AT_ONCE {
        let (names, progress) = (names.clone(), progress.clone());
        let (mut client, password) = (Client::new(target.clone()), password.clone());
        workers.spawn(async move {
            let mut registered = Vec::new();
            loop {
                let next = names.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((place, name)) = next else { return Ok::<_, ClientError>(registered) };
                let (id, account) = Account::register(&mut client, name, password.clone()).await?;
                registered.push((place, id, account));
                progress.lock().unwrap_or_else(PoisonError::into_inner).advance();
            }
        });
    }
    let mut registered = Vec::new();
    for worker in workers.join_all().await {
        registered.extend(worker?);
    }
    progress.lock().unwrap_or_else(PoisonError::into_inner).end();
    registered.sort_by_key(|(place, _, _)| *place);
    Ok(registered.into_iter().map(|(_, id, account)| (id, account)).collect())
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
