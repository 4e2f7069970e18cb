//! A light HTTP/1.1 client: one keep-alive connection, JSON in and out.
//!
//! Promises: one connection at a time, opened when first needed and again after the server closed
//! it; every exchange ends within the timeout; an answer's body is bounded; a request is sent a
//! second time by itself only where the first was certainly not sent.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// The longest answer that is read, in bytes.
const BODY_MAX: usize = 64 << 20;
/// How long an exchange may take unless [`Client::timeout`] says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server, as `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host and port, to connect to.
    address: String,
    /// The same as the client was told, for the `Host` header.
    host: HeaderValue,
}

impl Target {
    /// Host and port, the port always there.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What stands in the `Host` header.
    pub(crate) fn host(&self) -> &str {
        self.host.to_str().unwrap_or(&self.address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl FromStr for Target {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let wrong = |why: &str| ClientError::Url(format!("{text:?} {why}"));
        let uri: Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("does not begin with http:// (TLS is not spoken here)"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has a path; give the server's address alone"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("names no host"))?;
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        Ok(Self { address, host })
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a server's address.
    #[error("{0}")]
    Url(String),
    /// The request cannot be written down as HTTP.
    #[error("not a request: {0}")]
    Request(String),
    /// Nobody listens there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The connection broke after the request may have been sent: it may or may not have had its effect.
    #[error("the connection broke: {0}")]
    Lost(#[from] hyper::Error),
    /// No whole answer in time: the request may or may not have had its effect.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The answer is longer than this client reads, or broke off.
    #[error("unreadable answer: {0}")]
    Body(String),
    /// The answer is not the JSON that was expected.
    #[error("unexpected answer {status}: {reason}: {body}")]
    Json {
        /// Its status.
        status: u16,
        /// What is wrong with it.
        reason: String,
        /// Its beginning.
        body: String,
    },
}

/// One request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    invalid: Option<String>,
}

impl Request {
    /// A request without a body; `path` may have a query.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), invalid: None }
    }

    /// `GET path`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// `POST path`.
    #[must_use]
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// `PUT path`.
    #[must_use]
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// `PATCH path`.
    #[must_use]
    pub fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    /// `DELETE path`.
    #[must_use]
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Its method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Its path, with the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Adds a header; one that HTTP cannot carry makes [`Client::send`] fail.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        match (HeaderName::from_str(name), HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            _ => self.invalid = Some(format!("header {name}: {}", String::from_utf8_lossy(value))),
        }
        self
    }

    /// Signs the request with an access token; replaces an earlier one.
    #[must_use]
    pub fn bearer(mut self, access: &str) -> Self {
        match HeaderValue::from_str(&format!("Bearer {access}")) {
            Ok(value) => {
                self.headers.insert(AUTHORIZATION, value);
            }
            Err(_) => self.invalid = Some("the access token is no header value".to_owned()),
        }
        self
    }

    /// A body of any kind.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// A JSON body that is written already.
    #[must_use]
    pub fn json_text(self, body: impl Into<Bytes>) -> Self {
        self.body("application/json", body)
    }

    /// A JSON body.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(text) => self.json_text(text),
            Err(error) => Self { invalid: Some(error.to_string()), ..self },
        }
    }

    fn to_http(&self, target: &Target) -> Result<hyper::Request<Full<Bytes>>, ClientError> {
        if let Some(reason) = &self.invalid {
            return Err(ClientError::Request(reason.clone()));
        }
        let mut request = hyper::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self
            .path
            .parse()
            .map_err(|error| ClientError::Request(format!("path {:?}: {error}", self.path)))?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().entry(HOST).or_insert_with(|| target.host.clone());
        Ok(request)
    }
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

impl Answer {
    /// A header as text; `None` where it is absent or not ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`ClientError::Json`] when it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(&error.to_string()))
    }

    /// The body as text, however broken.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// How long the server asks to wait, where it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.parse().ok().map(Duration::from_secs)
    }

    /// This answer as an error, for a caller who cannot go on with it.
    #[must_use]
    pub fn unexpected(&self, reason: &str) -> ClientError {
        let body = self.text().chars().take(300).collect();
        ClientError::Json { status: self.status, reason: reason.to_owned(), body }
    }
}

/// One client with one connection. Requests follow each other; for more at once, take more clients.
#[derive(Debug)]
pub struct Client {
    target: Target,
    timeout: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client that will connect when it is first used.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, timeout: TIMEOUT, connection: None }
    }

    /// How long an exchange may take, the connecting included.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// See [`ClientError`]; an answer of any status is not an error.
    pub async fn send(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let request = request.to_http(&self.target)?;
        let answer = match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut(self.timeout)),
        };
        if answer.is_err() {
            // Whatever comes on that connection now would be taken for the answer to the next request.
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, request: hyper::Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let mut request = request;
        let mut may_be_stale = self.connection.is_some();
        let response = loop {
            match self.connected().await?.try_send_request(request).await {
                Ok(response) => break response,
                Err(mut failed) => match failed.take_message() {
                    // A keep-alive connection that the server had closed meanwhile.
                    Some(unsent) if may_be_stale => {
                        may_be_stale = false;
                        self.connection = None;
                        request = unsent;
                    }
                    _ => return Err(failed.into_error().into()),
                },
            }
        };
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await;
        let body = body.map_err(|error| ClientError::Body(error.to_string()))?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, ClientError> {
        if let Some(mut sender) = self.connection.take()
            && sender.ready().await.is_ok()
        {
            return Ok(self.connection.insert(sender));
        }
        let sender = self.connect().await?;
        Ok(self.connection.insert(sender))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let fail = |source| ClientError::Connect { address: self.target.address.clone(), source };
        let stream = TcpStream::connect(&self.target.address).await.map_err(fail)?;
        stream.set_nodelay(true).map_err(fail)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; its error, if any, reaches the request under way.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Whether an answer says "not now" rather than "no".
#[must_use]
pub fn is_not_now(status: u16) -> bool {
    [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS]
        .iter()
        .any(|code| code.as_u16() == status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_scheme_a_host_and_maybe_a_port() {
        for (text, address) in [
            ("http://localhost", "localhost:80"),
            ("http://127.0.0.1:8000/", "127.0.0.1:8000"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().address(), address);
        }
        for text in ["", "localhost:8000", "https://shop.example", "http://shop.example/api/", "ftp://x"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_request_that_http_cannot_carry_is_refused_before_it_is_sent() {
        let mut client = Client::new("http://127.0.0.1:1".parse().unwrap());
        for request in [Request::get("/").header("x-a", "line\nbreak"), Request::get("/ /")] {
            assert!(matches!(client.send(&request).await, Err(ClientError::Request(_))));
        }
    }
}
