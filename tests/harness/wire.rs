//! A wire from clients to a node, which can be cut, and on which the test can speak for the node.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use emporium::loadtest::client::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// How long a client may take to leave after it was told to.
const LEAVING_MAX: Duration = Duration::from_secs(1);

/// Passes connections on to a node.
pub(crate) struct Wire {
    /// Where clients connect.
    pub target: Target,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    /// Where connections lead; nobody is there without it.
    node: Mutex<Option<Target>>,
    /// The first line of each request.
    requests: Mutex<Vec<String>>,
    ends: broadcast::Sender<End>,
}

/// How every open connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Broken,
    /// A WebSocket on this path gets this code; other connections stay.
    Closed(&'static str, u16),
}

impl Wire {
    /// A wire to this node.
    pub(crate) async fn to(node: &Target) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State {
            node: Mutex::new(Some(node.clone())),
            requests: Mutex::default(),
            ends: broadcast::Sender::new(16),
        });
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let ends = shared.ends.subscribe();
                tokio::spawn(pass_on(client, shared.clone(), ends));
            }
        });
        let target = format!("http://{address}").parse().expect("its address");
        Self { target, state, accepting }
    }

    /// Breaks every connection; new ones go on.
    pub(crate) fn cut(&self) {
        self.state.ends.send(End::Broken).ok();
    }

    /// Breaks every connection, and lets none through until there is a node again.
    pub(crate) fn lose(&self) {
        *self.state.node.lock().unwrap() = None;
        self.cut();
    }

    /// Leads new connections to this node.
    pub(crate) fn lead_to(&self, node: &Target) {
        *self.state.node.lock().unwrap() = Some(node.clone());
    }

    /// Closes every WebSocket on this path with this code, as the node would. Nothing else may be on
    /// its way to them.
    pub(crate) fn close_sockets(&self, path: &'static str, code: u16) {
        self.state.ends.send(End::Closed(path, code)).ok();
    }

    /// How many requests began like this.
    pub(crate) fn requests(&self, beginning: &str) -> usize {
        self.state.requests.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn pass_on(client: TcpStream, state: Arc<State>, mut ends: broadcast::Receiver<End>) {
    let node = state.node.lock().unwrap().clone();
    let Some(node) = node else { return };
    let Ok(server) = TcpStream::connect(node.address()).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asked = Mutex::new(String::new());
    let up = up(&mut from_client, to_server, &state, &asked);
    let down = down(from_server, &mut to_client);
    let end = async {
        loop {
            match ends.recv().await {
                Ok(End::Closed(path, code)) => {
                    if asked.lock().unwrap().starts_with(&format!("GET {path}")) {
                        return Some(code);
                    }
                }
                _ => return None,
            }
        }
    };
    let code = tokio::select! {
        () = up => None,
        () = down => None,
        code = end => code,
    };
    if let Some(code) = code {
        let [high, low] = code.to_be_bytes();
        // RFC 6455, 5.5.1: a final frame of opcode 8 whose two bytes are the code.
        to_client.write_all(&[0x88, 2, high, low]).await.ok();
        to_client.shutdown().await.ok();
        // What is unread when a connection goes would take the close with it.
        tokio::time::timeout(LEAVING_MAX, tokio::io::copy(&mut from_client, &mut tokio::io::sink()))
            .await
            .ok();
    }
}

async fn up(from: &mut OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, asked: &Mutex<String>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let text = String::from_utf8_lossy(&bytes[..count]);
        if let Some((line, _)) = text.split_once(" HTTP/1.1\r\n") {
            line.clone_into(&mut asked.lock().unwrap());
            state.requests.lock().unwrap().push(line.to_owned());
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn down(mut from: OwnedReadHalf, to: &mut OwnedWriteHalf) {
    tokio::io::copy(&mut from, to).await.ok();
}
