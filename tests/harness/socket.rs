//! A WebSocket as a test holds it.

use std::time::Duration;

use emporium::loadtest::client::Target;
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Node, User};

/// How long a message that must come may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open feed.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What comes next on a feed.
#[derive(Debug)]
pub(crate) enum Next {
    /// A message.
    Json(Value),
    /// The other side closed, with this code (1006 where it gave none).
    Closed(u16),
}

impl Node {
    /// Opens a feed, anonymous.
    pub(crate) async fn socket(&self, path: &str) -> Socket {
        self.try_socket(path, &[]).await.expect("an open socket")
    }

    /// Opens a feed as a user.
    pub(crate) async fn socket_as(&self, user: &User, path: &str) -> Socket {
        let bearer = format!("Bearer {}", user.access);
        self.try_socket(path, &[("authorization", &bearer)]).await.expect("an open socket")
    }

    /// Tries to open a feed; the status of a refusal is the error.
    pub(crate) async fn try_socket(&self, path: &str, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        Socket::open(&self.target, path, headers).await
    }
}

impl Socket {
    /// Tries to open a feed anywhere; the status of a refusal is the error, 0 where nobody answers.
    pub(crate) async fn open(target: &Target, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let url = format!("ws://{}{path}", target.address());
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header value"));
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(Error::Io(_) | Error::Protocol(_)) => Err(0),
            Err(error) => panic!("no socket and no answer: {error}"),
        }
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends any text.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("a message sent");
    }

    /// Sends texts, all in one go.
    pub(crate) async fn send_all(&mut self, texts: &[&str]) {
        for text in texts {
            self.0.feed(Message::text(*text)).await.expect("a message taken");
        }
        self.0.flush().await.expect("messages sent");
    }

    /// Sends a frame of any kind; whoever closes on it may do so before it has been sent whole.
    pub(crate) async fn send_frame(&mut self, opcode: OpCode, is_final: bool, payload: &[u8]) {
        let header = FrameHeader { is_final, opcode, ..FrameHeader::default() };
        let frame = Frame::from_payload(header, payload.to_vec().into());
        self.0.send(Message::Frame(frame)).await.ok();
    }

    /// What comes next, if anything does in time.
    pub(crate) async fn next_within(&mut self, time: Duration) -> Option<Next> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Next::Json(serde_json::from_str(&text).expect("a JSON message"));
                    }
                    Some(Ok(Message::Close(frame))) => {
                        return Next::Closed(frame.map_or(1006, |frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Next::Closed(1006),
                }
            }
        };
        tokio::time::timeout(time, next).await.ok()
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        match self.next_within(PATIENCE).await {
            Some(Next::Json(message)) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// The next message of a type; earlier ones are skipped.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The code that the other side closes with; messages before it are skipped.
    pub(crate) async fn closed_within(&mut self, time: Duration) -> Option<u16> {
        loop {
            match self.next_within(time).await? {
                Next::Closed(code) => return Some(code),
                Next::Json(_) => {}
            }
        }
    }
}

/// A feed whose client does not read, on a connection that holds little.
pub(crate) struct DeafSocket(TcpStream);

impl DeafSocket {
    /// Opens one, reads how it begins, and then no more.
    pub(crate) async fn open(target: &Target, path: &str, access: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let address = target.address().parse().expect("an address of this machine");
        let mut stream = socket.connect(address).await.expect("a connection");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Authorization: Bearer {access}\r\n\r\n"
        );
        let request =
            if access.is_empty() { request.replace("Authorization: Bearer \r\n", "") } else { request };
        stream.write_all(request.as_bytes()).await.expect("a request sent");
        let mut begin = Vec::new();
        while !String::from_utf8_lossy(&begin).contains("\"ready\"") {
            assert!(stream.read_buf(&mut begin).await.expect("an answer") > 0, "no feed");
        }
        assert!(begin.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&begin));
        Self(stream)
    }

    /// Sends nonsense, which has to be answered, until the answers fill everything between the two and
    /// the other side takes no more.
    pub(crate) async fn clog(&mut self) {
        // A masked text frame (the mask is 0) of which nothing can be understood.
        let nonsense = [&[0x81, 0x80 | 1, 0, 0, 0, 0, b'x']; 500].map(|frame| frame.as_slice()).concat();
        let patience = Duration::from_millis(500);
        while tokio::time::timeout(patience, self.0.write_all(&nonsense)).await.is_ok_and(|sent| sent.is_ok())
        {
        }
        assert!(!self.is_ended(), "it should be stuck, not closed");
    }

    /// Whether the other side has ended the connection, told without reading.
    pub(crate) fn is_ended(&self) -> bool {
        let ready = self.0.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.map_or(true, |ready| ready.is_read_closed()))
    }
}
