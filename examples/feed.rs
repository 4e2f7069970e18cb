//! Follows a feed of the shop, and comes back by itself.
//!
//! ```text
//! SHOP_USERNAME=… SHOP_PASSWORD=… cargo run --example feed -- orders orders.ndjson
//! cargo run --example feed -- stock 1,2,3
//! ```
//!
//! `orders` appends each event to a file, as a line of JSON. The file is all that it remembers: where
//! the file ends, there it resumes. So each event stands in it once and in order, however often the
//! connection, the shop or this program dies. `stock` prints what there is of some products, a line
//! of JSON for each change.
//!
//! Of the shop's own code it uses the HTTP client alone; any other does. Both speak without TLS; for
//! `wss://`, give tokio-tungstenite one of its TLS features.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for a terminal")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use emporium::loadtest::client::{Answer, Client, ClientError, Request, Target};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, RETRY_AFTER};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The shop pings every 25 s. Whoever hears nothing for so long has lost it without being told.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long opening a socket may take.
const OPENING_MAX: Duration = Duration::from_secs(10);
/// The longest pause before the first attempt to come back; it doubles with each that fails.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The longest pause of all.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Close code: not, or not any more, signed in.
const SIGNED_OUT: u16 = 4001;

#[derive(Parser)]
struct Options {
    /// The shop.
    #[arg(long, env = "SHOP_URL", default_value = "http://127.0.0.1:8000")]
    shop: Target,
    #[command(subcommand)]
    feed: FeedName,
}

#[derive(Subcommand)]
enum FeedName {
    /// Append order events to a file, going on where it ends; SHOP_USERNAME and SHOP_PASSWORD sign in.
    Orders {
        /// The file.
        file: PathBuf,
    },
    /// Print the stock of products.
    Stock {
        /// Their ids, with commas.
        products: String,
    },
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Ending {
    /// To be opened again, but not before this time has passed.
    #[error("{0}")]
    Lost(String, Duration),
    /// To be opened again with a new access token.
    #[error("signed out")]
    SignedOut,
    /// Another attempt would end the same way.
    #[error("{0}")]
    Final(String),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Final(error.to_string())
    }
}

impl From<ClientError> for Ending {
    fn from(error: ClientError) -> Self {
        Self::Lost(error.to_string(), Duration::ZERO)
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        let Error::Http(answer) = &error else { return Self::Lost(error.to_string(), Duration::ZERO) };
        let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Self::of_status(answer.status().as_u16(), wait.map(Duration::from_secs), error.to_string())
    }
}

impl Ending {
    fn of_status(status: u16, wait: Option<Duration>, reason: String) -> Self {
        match status {
            401 => Self::SignedOut,
            429 | 500.. => Self::Lost(reason, wait.unwrap_or_default()),
            _ => Self::Final(reason),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Err(ending) = follow(Options::parse()).await;
    eprintln!("{ending}");
    ExitCode::FAILURE
}

/// Listens, and comes back after every loss. The pauses are random, so that a thousand subscribers
/// of a node that went away do not all come at once ("full jitter").
async fn follow(options: Options) -> Result<Infallible, Ending> {
    let shop = options.shop;
    let mut feed = Feed::open(options.feed)?;
    let mut account = Account::of_environment(shop.clone());
    let mut failures = 0;
    loop {
        let Err(ending) = listen(&shop, &mut feed, &mut account, &mut failures).await;
        let at_least = match &ending {
            Ending::Lost(_, wait) => *wait,
            Ending::SignedOut => {
                account.access = None;
                Duration::ZERO
            }
            Ending::Final(_) => return Err(ending),
        };
        let longest = PAUSE_FIRST.saturating_mul(1 << failures.min(6)).min(PAUSE_MAX);
        failures += 1;
        eprintln!("{ending}; coming back");
        sleep(at_least + rand::random_range(Duration::ZERO..=longest)).await;
    }
}

/// Listens on one connection until it is over.
async fn listen(
    shop: &Target,
    feed: &mut Feed,
    account: &mut Account,
    failures: &mut u32,
) -> Result<Infallible, Ending> {
    let lost = |reason: &str| Ending::Lost(reason.to_owned(), Duration::ZERO);
    let access = if feed.needs_sign_in() { Some(account.access().await?) } else { None };
    let path = feed.path();
    let mut socket =
        timeout(OPENING_MAX, open(shop, &path, access)).await.map_err(|_| lost("no answer"))??;
    loop {
        let next = timeout(SILENCE_MAX, socket.next()).await.map_err(|_| lost("silence"))?;
        match next.ok_or_else(|| lost("the connection broke"))?? {
            Message::Text(text) => {
                *failures = 0;
                feed.hear(&text, account).await?;
            }
            Message::Close(frame) => {
                // 1001: the shop stops; 4008: too slow for the orders; either way, come back.
                let code = frame.map_or(1006, |frame| u16::from(frame.code));
                return Err(if code == SIGNED_OUT {
                    Ending::SignedOut
                } else {
                    lost(&format!("closed with {code}"))
                });
            }
            // Pings are answered by the library.
            _ => {}
        }
    }
}

async fn open(shop: &Target, path: &str, access: Option<&str>) -> Result<Socket, Ending> {
    let mut request = format!("ws://{}{path}", shop.address()).into_client_request()?;
    if let Some(access) = access {
        let bearer = HeaderValue::from_str(&format!("Bearer {access}"));
        let bearer = bearer.map_err(|_| Ending::Final("the access token is no header value".to_owned()))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(connect_async(request).await?.0)
}

/// What is followed, and how far that has come.
enum Feed {
    Orders(Log),
    Stock { products: String, shown: BTreeSet<i64>, since: Option<i64> },
}

impl Feed {
    fn open(name: FeedName) -> io::Result<Self> {
        Ok(match name {
            FeedName::Orders { file } => Self::Orders(Log::open(&file)?),
            FeedName::Stock { products } => Self::Stock { products, shown: BTreeSet::new(), since: None },
        })
    }

    fn needs_sign_in(&self) -> bool {
        matches!(self, Self::Orders(_))
    }

    fn path(&self) -> String {
        let since = |since: &Option<i64>| since.map_or_else(String::new, |since| format!("since={since}"));
        match self {
            Self::Orders(log) => format!("/ws/orders/?{}", since(&log.since)),
            Self::Stock { products, since: last, .. } => {
                format!("/ws/stock/?products={products}&{}", since(last))
            }
        }
    }

    async fn hear(&mut self, text: &str, account: &mut Account) -> Result<(), Ending> {
        let message: Value = serde_json::from_str(text).map_err(|error| Ending::Final(error.to_string()))?;
        match self {
            Self::Orders(log) => log.hear(text, &message, account).await,
            Self::Stock { shown, since, .. } => Ok(show_stock(&message, shown, since)?),
        }
    }
}

/// The file of order events.
struct Log {
    file: File,
    /// The number of the last event in it; everything up to there is in it.
    since: Option<i64>,
}

impl Log {
    /// Opens the file, for nobody else at the same time, finds the last event, and cuts off a line
    /// that an earlier run did not finish.
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        let (mut since, mut end, mut line) = (None, 0, Vec::new());
        let mut reader = BufReader::new(&file);
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            let event: Value = serde_json::from_slice(&line)?;
            since = event["seq"].as_i64().or(since);
            end += line.len() as u64;
            line.clear();
        }
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { file, since })
    }

    async fn hear(&mut self, text: &str, message: &Value, account: &mut Account) -> Result<(), Ending> {
        let Some(seq) = message["seq"].as_i64() else { return Ok(()) };
        match message["type"].as_str() {
            // The file is complete from here on.
            Some("ready") if self.since.is_none() => self.write(text)?,
            Some("order") if self.since.is_none_or(|since| seq > since) => self.write(text)?,
            // What was missed is not kept any more. Only once the orders have been read anew does
            // the file say so, and go on from there; a crash before repeats the reading.
            Some("reset") => {
                self.reload(account).await?;
                self.write(text)?;
            }
            _ => return Ok(()),
        }
        self.since = Some(seq);
        Ok(())
    }

    /// Writes down how every order stands now.
    async fn reload(&mut self, account: &mut Account) -> Result<(), Ending> {
        let mut path = Some("/api/orders/".to_owned());
        while let Some(page) = path {
            let answer = account.get(&page).await?;
            for order in answer.json::<Vec<Value>>()? {
                let line = json!({
                    "type": "state", "order": order["id"], "user": order["user"],
                    "status": order["status"], "total_price": order["total_price"],
                });
                self.write(&line.to_string())?;
            }
            path = next_page(&answer);
        }
        Ok(())
    }

    /// Adds a line, in one write, so that a reader sees it whole.
    fn write(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

/// The next page of a list, from `Link: <path>; rel="next"`.
fn next_page(answer: &Answer) -> Option<String> {
    let (path, _) = answer.header("link")?.strip_prefix('<')?.split_once(">; rel=\"next\"")?;
    Some(path.to_owned())
}

/// Prints what a message says of stocks.
fn show_stock(message: &Value, shown: &mut BTreeSet<i64>, since: &mut Option<i64>) -> io::Result<()> {
    let seq = &message["seq"];
    let show = |product: &Value, stock: &Value, price: &Value| {
        writeln!(io::stdout(), "{}", json!({"product": product, "stock": stock, "price": price, "seq": seq}))
    };
    match message["type"].as_str() {
        Some("snapshot") => {
            let mut gone = std::mem::take(shown);
            for shelf in message["products"].as_array().into_iter().flatten() {
                show(&shelf["product"], &shelf["stock"], &shelf["price"])?;
                shown.extend(shelf["product"].as_i64());
            }
            gone.retain(|product| !shown.contains(product));
            gone.iter().try_for_each(|product| show(&json!(product), &Value::Null, &Value::Null))?;
        }
        Some("stock") => {
            show(&message["product"], &message["stock"], &message["price"])?;
            shown.extend(message["product"].as_i64());
        }
        Some("removed") => {
            show(&message["product"], &Value::Null, &Value::Null)?;
            shown.retain(|product| message["product"] != *product);
        }
        // A snapshot follows.
        Some("reset") => {
            *since = None;
            return Ok(());
        }
        // `ready` says nothing of stocks: without the snapshot behind it, there is nothing to resume.
        _ => return Ok(()),
    }
    *since = seq.as_i64();
    Ok(())
}

/// Who follows the orders.
struct Account {
    client: Client,
    username: String,
    password: String,
    access: Option<String>,
    refresh: Option<String>,
}

impl Account {
    fn of_environment(shop: Target) -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Self {
            client: Client::new(shop),
            username: variable("SHOP_USERNAME"),
            password: variable("SHOP_PASSWORD"),
            access: None,
            refresh: None,
        }
    }

    /// The access token; a new one by the refresh token, or by the password where that has run out.
    async fn access(&mut self) -> Result<&str, Ending> {
        if let (None, Some(refresh)) = (&self.access, &self.refresh) {
            let body = json!({ "refresh": refresh });
            self.sign_in("/api/auth/token/refresh/", &body).await?;
        }
        if self.access.is_none() {
            let body = json!({"username": self.username, "password": self.password});
            self.sign_in("/api/auth/login/", &body).await?;
        }
        self.access.as_deref().ok_or_else(|| Ending::Final("wrong username or password".to_owned()))
    }

    /// Asks for tokens; a `401` leaves none.
    async fn sign_in(&mut self, path: &str, body: &Value) -> Result<(), Ending> {
        let answer = match self.send(&Request::post(path).json(body)).await {
            Err(Ending::SignedOut) => {
                self.refresh = None;
                return Ok(());
            }
            answer => answer?,
        };
        let tokens: Value = answer.json()?;
        let token = |name: &str| tokens[name].as_str().map(str::to_owned);
        self.access = token("access");
        // A refresh gives a new refresh token only where the shop is set up to change them.
        self.refresh = token("refresh").or_else(|| body["refresh"].as_str().map(str::to_owned));
        Ok(())
    }

    async fn get(&mut self, path: &str) -> Result<Answer, Ending> {
        let request = Request::get(path).bearer(self.access().await?);
        self.send(&request).await
    }

    async fn send(&mut self, request: &Request) -> Result<Answer, Ending> {
        let answer = self.client.send(request).await?;
        if answer.status == 200 {
            return Ok(answer);
        }
        let reason = format!("refused with {}: {}", answer.status, answer.text());
        Err(Ending::of_status(answer.status, answer.retry_after(), reason))
    }
}
