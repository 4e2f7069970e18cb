//! A wire to Postgres that can be cut around a COMMIT.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Config, Host};

use super::TestApp;

/// In both directions of the protocol: the query, and the tag of its completion.
const COMMIT: &[u8] = b"COMMIT\0";

/// Where a wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The COMMIT never arrives.
    BeforeCommit,
    /// The COMMIT arrives and takes effect, but its answer is lost.
    AfterCommit,
}

/// Passes connections on to the test's database until told to cut them.
pub(crate) struct Proxy {
    url: String,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    server: Server,
    cut: Cut,
    /// Off until the test begins in earnest.
    armed: AtomicBool,
    commits: AtomicUsize,
    cuts: AtomicUsize,
}

enum Server {
    Unix(PathBuf),
    Tcp(String, u16),
}

impl TestApp {
    /// A wire to the test's database that will be cut at every second COMMIT on it.
    pub(crate) async fn proxy(&self, cut: Cut) -> Proxy {
        let config: Config = self.database_url().parse().expect("the test's database");
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let server = match config.get_hosts().first().expect("a host") {
            Host::Unix(folder) => Server::Unix(folder.join(format!(".s.PGSQL.{port}"))),
            Host::Tcp(name) => Server::Tcp(name.clone(), port),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let password = config
            .get_password()
            .map_or_else(String::new, |password| format!("password='{}'", String::from_utf8_lossy(password)));
        let url = format!(
            "host=127.0.0.1 port={} user={} dbname={} {password} sslmode=disable",
            address.port(),
            config.get_user().unwrap_or("postgres"),
            config.get_dbname().expect("a name"),
        );
        let (armed, commits, cuts) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let state = Arc::new(State { server, cut, armed, commits, cuts });
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Proxy { url, state, accepting }
    }
}

impl Proxy {
    /// The address of the database by this wire.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From now on the wire is cut.
    pub(crate) fn arm(&self) {
        self.state.armed.store(true, Ordering::Relaxed);
    }

    /// How often it has been.
    pub(crate) fn cuts(&self) -> usize {
        self.state.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    /// Whether this is where to cut.
    fn cuts_at(&self, cut: Cut, bytes: &[u8]) -> bool {
        if cut != self.cut || !bytes.windows(COMMIT.len()).any(|window| window == COMMIT) {
            return false;
        }
        let cuts = self.armed.load(Ordering::Relaxed)
            && self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if cuts {
            self.cuts.fetch_add(1, Ordering::Relaxed);
        }
        cuts
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            match &state.server {
                Server::Unix(path) => {
                    let server = UnixStream::connect(path).await.expect("the database");
                    pass_on(client, server.into_split(), &state).await;
                }
                Server::Tcp(name, port) => {
                    let server = TcpStream::connect((name.as_str(), *port)).await.expect("the database");
                    pass_on(client, server.into_split(), &state).await;
                }
            }
        });
    }
}

/// Ends, and with it both connections, when either side does or the wire is cut.
async fn pass_on(
    client: TcpStream,
    server: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    state: &State,
) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server;
    tokio::select! {
        () = copy(from_client, to_server, Cut::BeforeCommit, state) => {}
        () = copy(from_server, to_client, Cut::AfterCommit, state) => {}
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, cut: Cut, state: &State) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if state.cuts_at(cut, &bytes[..count]) || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
