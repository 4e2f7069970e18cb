//! A wire to Postgres that counts what is asked, and can hold answers back: they come late, and tell
//! what was so when they were given.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_postgres::config::{Config, Host};

use super::TestApp;

/// Passes connections on to the test's database.
pub(crate) struct Valve {
    url: String,
    state: Arc<State>,
    /// A thread of its own, since a test's waits for nodes to end, and these end over this wire.
    runtime: Option<Runtime>,
}

struct State {
    server: PathBuf,
    /// Part of a statement: the answers on connections on which it was run are held back.
    held: watch::Sender<Option<&'static str>>,
    /// How often each statement was run.
    runs: Mutex<HashMap<String, usize>>,
}

/// What was said on one connection.
#[derive(Default)]
struct Said {
    /// The statements that were prepared, by name.
    prepared: HashMap<Vec<u8>, String>,
    /// Those that were run.
    run: HashSet<String>,
}

impl TestApp {
    /// A wire to the test's database.
    pub(crate) async fn valve(&self) -> Valve {
        let config: Config = self.database_url().parse().expect("the test's database");
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let Some(Host::Unix(folder)) = config.get_hosts().first() else {
            panic!("the Postgres of the tests listens on a socket");
        };
        let server = folder.join(format!(".s.PGSQL.{port}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!(
            "host=127.0.0.1 port={} user={} dbname={} sslmode=disable",
            listener.local_addr().expect("its address").port(),
            config.get_user().unwrap_or("postgres"),
            config.get_dbname().expect("a name"),
        );
        let state = Arc::new(State { server, held: watch::Sender::new(None), runs: Mutex::default() });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        let listener = listener.into_std().expect("a listener");
        runtime.spawn(accept(listener, state.clone()));
        Valve { url, state, runtime: Some(runtime) }
    }
}

impl Valve {
    /// The address of the database by this wire.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Holds answers back on every connection on which a statement with this text was run, or will be.
    pub(crate) fn hold(&self, text: &'static str) {
        self.state.held.send_replace(Some(text));
    }

    /// Lets them through.
    pub(crate) fn release(&self) {
        self.state.held.send_replace(None);
    }

    /// How often statements with this text were run.
    pub(crate) fn runs(&self, text: &str) -> usize {
        let runs = self.state.runs.lock().unwrap();
        runs.iter().filter(|(sql, _)| sql.contains(text)).map(|(_, count)| count).sum()
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    while let Ok((client, _)) = listener.accept().await {
        let state = state.clone();
        client.set_nodelay(true).expect("an open connection");
        tokio::spawn(async move {
            let server = UnixStream::connect(&state.server).await.expect("the database");
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let said = Arc::<Mutex<Said>>::default();
            let frames = Frames { state: state.clone(), said: said.clone(), rest: Vec::new() };
            tokio::select! {
                () = ask(from_client, to_server, frames) => {}
                () = answer(from_server, to_client, &state, &said) => {}
            }
        });
    }
}

async fn ask(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut frames: Frames) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        frames.read(&bytes[..count]);
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn answer(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &State,
    said: &Mutex<Said>,
) {
    let mut bytes = vec![0; 64 << 10];
    let mut held = state.held.subscribe();
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let is_free = |held: &Option<&str>| {
            !held.is_some_and(|text| said.lock().unwrap().run.iter().any(|sql| sql.contains(text)))
        };
        let is_open = held.wait_for(is_free).await.is_ok();
        if !is_open || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// What a client says, message by message.
struct Frames {
    state: Arc<State>,
    said: Arc<Mutex<Said>>,
    rest: Vec<u8>,
}

impl Frames {
    fn read(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        loop {
            // The first message has no kind before its length; its high byte is 0.
            let kind = self.rest.first().copied().unwrap_or_default();
            let head = usize::from(kind != 0);
            let Some(length) = self.rest.get(head..head + 4) else { return };
            let end = head + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.rest.len() < end {
                return;
            }
            let message: Vec<u8> = self.rest.drain(..end).collect();
            self.note(kind, &message[head + 4..]);
        }
    }

    /// Parse: a name, a statement. Bind: a portal, a statement's name.
    fn note(&self, kind: u8, body: &[u8]) {
        let mut texts = body.split(|byte| *byte == 0);
        let (Some(first), Some(second)) = (texts.next(), texts.next()) else { return };
        match kind {
            b'P' => {
                let sql = String::from_utf8_lossy(second).into_owned();
                self.said.lock().unwrap().prepared.insert(first.to_vec(), sql);
            }
            b'B' => {
                let mut said = self.said.lock().unwrap();
                let Some(sql) = said.prepared.get(second).cloned() else { return };
                *self.state.runs.lock().unwrap().entry(sql.clone()).or_default() += 1;
                said.run.insert(sql);
            }
            _ => {}
        }
    }
}
