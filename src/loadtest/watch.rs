//! A staff socket on the order feed, which must tell of every acknowledged order exactly once.
//!
//! Promises: a broken socket is opened again, a bounded number of times, and resumes where it was;
//! what the feed told is kept, in memory, for the length of a run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::account::Account;
use super::client::{Client, Request, Target};

/// How often a broken socket is opened again.
const RECONNECTS_MAX: u32 = 20;
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How long the first message may take, and how long the feed may lag at the end of a run.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// What the feed has told so far.
#[derive(Debug, Default)]
struct Told {
    /// Where to resume.
    since: Option<i64>,
    last_seq: i64,
    placed: HashMap<i64, Placed>,
    /// Events whose number was not above the one before.
    out_of_order: u64,
    /// Times the feed could not resume.
    resets: u64,
    reconnects: u32,
    ready: bool,
    gave_up: Option<String>,
}

#[derive(Debug)]
struct Placed {
    user: i64,
    times: u64,
}

/// What the feed told, held against what was acknowledged.
#[derive(Debug, Serialize)]
pub(crate) struct FeedReport {
    /// `placed` events, each order once.
    pub placed: usize,
    /// Acknowledged orders that the feed never told of.
    pub missing: usize,
    /// Orders told more than once.
    pub repeated: usize,
    /// Orders of this run's customers that were told but never acknowledged.
    pub unacknowledged: usize,
    /// Events whose number did not grow.
    pub out_of_order: u64,
    /// Times the feed could not resume where it was.
    pub resets: u64,
    /// Times the socket had to be opened again.
    pub reconnects: u32,
    /// Why the socket could not be kept, if it could not.
    pub gave_up: Option<String>,
}

impl FeedReport {
    /// Whether the feed told everything, once and in order.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0
            && self.repeated == 0
            && self.unacknowledged == 0
            && self.out_of_order == 0
            && self.resets == 0
            && self.gave_up.is_none()
    }
}

/// One message of the feed; fields that a kind does not have are absent.
#[derive(Deserialize)]
struct FeedMessage {
    r#type: String,
    seq: Option<i64>,
    event: Option<String>,
    order: Option<i64>,
    user: Option<i64>,
}

impl Told {
    fn hear(&mut self, message: &FeedMessage) {
        match (message.r#type.as_str(), message.seq) {
            ("ready", Some(seq)) => {
                self.ready = true;
                self.since.get_or_insert(seq);
            }
            ("reset", _) => self.resets += 1,
            ("order", Some(seq)) => {
                self.out_of_order += u64::from(seq <= self.last_seq);
                self.last_seq = seq;
                self.since = Some(seq);
                if message.event.as_deref() == Some("placed") {
                    let user = message.user.unwrap_or(0);
                    let order = message.order.unwrap_or(0);
                    self.placed.entry(order).or_insert(Placed { user, times: 0 }).times += 1;
                }
            }
            _ => {}
        }
    }
}

/// A watched order feed.
pub(crate) struct Watch {
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Opens the socket and waits until the feed is ready.
    pub(crate) async fn open(target: Target, staff: Arc<Account>) -> Result<Self, String> {
        let told = Arc::new(Mutex::new(Told::default()));
        let task = tokio::spawn(keep_listening(target, staff, told.clone()));
        let watch = Self { told, task };
        watch.wait_until(|told| told.ready || told.gave_up.is_some()).await;
        match watch.told() {
            told if told.ready => {}
            told => return Err(told.gave_up.clone().unwrap_or_else(|| "no ready message".to_owned())),
        }
        Ok(watch)
    }

    /// Waits, a bounded time, for the acknowledged orders, and reports. `users` are the run's own.
    pub(crate) async fn finish(self, acknowledged: &HashSet<i64>, users: &HashSet<i64>) -> FeedReport {
        let heard_all = |told: &Told| {
            told.gave_up.is_some() || acknowledged.iter().all(|order| told.placed.contains_key(order))
        };
        self.wait_until(heard_all).await;
        // Repeated and unacknowledged orders would follow those that were waited for.
        tokio::time::sleep(RECONNECT_PAUSE).await;
        self.task.abort();
        let told = self.told();
        let stranger =
            |(order, placed): &(&i64, &Placed)| users.contains(&placed.user) && !acknowledged.contains(order);
        FeedReport {
            placed: told.placed.len(),
            missing: acknowledged.iter().filter(|order| !told.placed.contains_key(order)).count(),
            repeated: told.placed.values().filter(|placed| placed.times > 1).count(),
            unacknowledged: told.placed.iter().filter(stranger).count(),
            out_of_order: told.out_of_order,
            resets: told.resets,
            reconnects: told.reconnects,
            gave_up: told.gave_up.clone(),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_until(&self, condition: impl Fn(&Told) -> bool) {
        let until = Instant::now() + WAIT_MAX;
        while !condition(&self.told()) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn keep_listening(target: Target, staff: Arc<Account>, told: Arc<Mutex<Told>>) {
    let hold = || told.lock().unwrap_or_else(PoisonError::into_inner);
    let mut client = Client::new(target.clone());
    loop {
        let since = hold().since;
        let ended = listen(&target, &staff, since, &told).await;
        if hold().reconnects >= RECONNECTS_MAX {
            hold().gave_up = Some(ended);
            return;
        }
        hold().reconnects += 1;
        tokio::time::sleep(RECONNECT_PAUSE).await;
        // Renews the access token where that is why the socket closed.
        staff.send(&mut client, Request::get("/api/auth/me/")).await.ok();
    }
}

/// Listens on one socket until it ends, and says why it did.
async fn listen(target: &Target, staff: &Account, since: Option<i64>, told: &Mutex<Told>) -> String {
    let mut socket = match connect(target, &staff.access(), since).await {
        Ok(socket) => socket,
        Err(error) => return error.to_string(),
    };
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Text(text)) => {
                if let Ok(message) = serde_json::from_str::<FeedMessage>(&text) {
                    told.lock().unwrap_or_else(PoisonError::into_inner).hear(&message);
                }
            }
            Ok(Message::Close(frame)) => return format!("closed: {frame:?}"),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
    "closed".to_owned()
}

async fn connect(
    target: &Target,
    access: &str,
    since: Option<i64>,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Error> {
    let query = since.map(|seq| format!("?since={seq}")).unwrap_or_default();
    let mut request = format!("ws://{}/ws/orders/{query}", target.address()).into_client_request()?;
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer {access}")) {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(tokio_tungstenite::connect_async(request).await?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(told: &mut Told, text: &str) {
        told.hear(&serde_json::from_str(text).unwrap());
    }

    #[test]
    fn repeated_and_disordered_events_are_noticed() {
        let mut told = Told::default();
        hear(&mut told, r#"{"type":"ready","seq":7}"#);
        hear(&mut told, r#"{"type":"order","seq":8,"event":"placed","order":1,"user":5}"#);
        hear(&mut told, r#"{"type":"order","seq":9,"event":"paid","order":1,"user":5}"#);
        assert_eq!((told.out_of_order, told.placed[&1].times, told.since), (0, 1, Some(9)));
        hear(&mut told, r#"{"type":"order","seq":9,"event":"placed","order":1,"user":5}"#);
        assert_eq!((told.out_of_order, told.placed[&1].times), (1, 2));
        hear(&mut told, r#"{"type":"reset","seq":12}"#);
        assert_eq!(told.resets, 1);
    }
}
