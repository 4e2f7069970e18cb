//! A WebSocket as a test holds it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
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
        let url = format!("ws://{}{path}", self.target.address());
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header value"));
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(Socket(stream)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("no socket and no answer: {error}"),
        }
    }
}

impl Socket {
    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends any text.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("a message sent");
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
