//! HTTP/1.1 as light as it can be: requests written into one buffer, answers read only as far as
//! their framing.
//!
//! The load shares the machine with the shop, and what the load takes the shop lacks. Promises: one
//! keep-alive connection, opened when first needed and again after it broke; an exchange ends within
//! the timeout; an answer's length is bounded; nothing is sent twice; an error tells whether the
//! request can have had its effect.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Target;

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 20;
/// The longest head of an answer, in bytes.
const HEAD_MAX: usize = 64 << 10;
/// The most headers of an answer.
const HEADERS_MAX: usize = 64;
/// How much room each read has at least, in bytes.
const READ_ROOM: usize = 4 << 10;
/// A connection that rested for so long may have been closed meanwhile, so that is looked at first.
const RESTED: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The request may or may not have had its effect.
    #[error("the connection broke: {0}")]
    Lost(std::io::Error),
    /// The request may or may not have had its effect.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The request had its effect, or not: the answer cannot be told.
    #[error("unreadable answer: {0}")]
    Unreadable(&'static str),
}

impl WireError {
    /// Whether the request certainly had no effect.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}

/// What the server answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Reply<'_> {
    /// The first number named `"id"`: of an order, a product or a line that is its own.
    pub(crate) fn id(&self) -> Option<i64> {
        const NAME: &[u8] = b"\"id\":";
        let at = self.body.windows(NAME.len()).position(|window| window == NAME)?;
        let rest = self.body.get(at + NAME.len()..)?.trim_ascii_start();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
    }

    /// Whether the body holds this text.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Status and the beginning of the body, to be shown.
    pub(crate) fn excerpt(&self) -> String {
        let text: String = String::from_utf8_lossy(self.body).chars().take(120).collect();
        format!("{} {text}", self.status)
    }
}

/// Writes requests for one server into a buffer that is used again and again.
#[derive(Clone, Debug)]
pub(crate) struct RequestBuffer {
    host: String,
    bytes: Vec<u8>,
}

impl RequestBuffer {
    /// An empty one.
    pub(crate) fn new(target: &Target) -> Self {
        Self { host: target.host().to_owned(), bytes: Vec::with_capacity(1024) }
    }

    /// Writes a request, in place of the one before; `access` and `key` are left out where empty, and
    /// a body means JSON. None of the texts may hold a line break.
    pub(crate) fn write(&mut self, method: &str, path: &str, access: &str, key: &str, body: &str) -> &[u8] {
        self.bytes.clear();
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| self.bytes.extend(part.as_bytes()));
        put(&[method, " ", path, " HTTP/1.1\r\nHost: ", &self.host, "\r\n"]);
        if !access.is_empty() {
            put(&["Authorization: Bearer ", access, "\r\n"]);
        }
        if !key.is_empty() {
            put(&["Idempotency-Key: ", key, "\r\n"]);
        }
        if !body.is_empty() {
            put(&["Content-Type: application/json\r\nContent-Length: "]);
            put(&[&body.len().to_string(), "\r\n\r\n", body]);
        } else if method == "GET" {
            put(&["\r\n"]);
        } else {
            put(&["Content-Length: 0\r\n\r\n"]);
        }
        &self.bytes
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    target: Target,
    timeout: Duration,
    stream: Option<TcpStream>,
    incoming: Incoming,
    answer: Parsed,
    used: Instant,
}

impl Wire {
    /// A connection that is opened when it is first used.
    pub(crate) fn new(target: Target, timeout: Duration) -> Self {
        let (incoming, answer) = (Incoming::default(), Parsed::default());
        Self { target, timeout, stream: None, incoming, answer, used: Instant::now() }
    }

    /// Sends a request and reads the whole answer, which [`Wire::reply`] then tells; gives its status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<u16, WireError> {
        let outcome = match tokio::time::timeout(self.timeout, self.round_trip(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(WireError::TimedOut(self.timeout)),
        };
        match outcome {
            Ok(answer) => {
                if answer.closes {
                    self.stream = None;
                }
                self.answer = answer;
                Ok(self.answer.status)
            }
            Err(error) => {
                // Whatever still comes would be taken for the answer to the next request.
                self.stream = None;
                Err(error)
            }
        }
    }

    /// The answer that came last.
    pub(crate) fn reply(&self) -> Reply<'_> {
        Reply { status: self.answer.status, body: self.incoming.slice(&self.answer.body) }
    }

    async fn round_trip(&mut self, request: &[u8]) -> Result<Parsed, WireError> {
        self.incoming.clear();
        let stream = match self.stream.take().filter(|stream| self.used.elapsed() < RESTED || is_open(stream))
        {
            Some(stream) => stream,
            None => self.connect().await.map_err(WireError::Connect)?,
        };
        let stream = self.stream.insert(stream);
        stream.write_all(request).await.map_err(WireError::Lost)?;
        loop {
            let read = stream.read_buf(self.incoming.room()).await.map_err(WireError::Lost)?;
            if read == 0 {
                return Err(WireError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
            }
            if let Some(parsed) = self.incoming.parse().map_err(WireError::Unreadable)? {
                self.used = Instant::now();
                return Ok(parsed);
            }
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(self.target.address()).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Whether the server has not closed a connection on which nothing is expected.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// The head of an answer, as far as it matters here.
#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    /// Its own length, in bytes.
    length: usize,
    framing: Framing,
    closes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(usize),
    Chunked,
}

/// A whole answer.
#[derive(Debug, Default)]
struct Parsed {
    status: u16,
    body: Range<usize>,
    closes: bool,
}

/// An answer while it comes in, in pieces of any size.
#[derive(Debug, Default)]
struct Incoming {
    bytes: BytesMut,
    head: Option<Head>,
    /// Of a chunked body: where its whole chunks end, moved together, and where the next one begins.
    joined: usize,
    next: usize,
}

impl Incoming {
    fn clear(&mut self) {
        self.bytes.clear();
        self.head = None;
    }

    fn room(&mut self) -> &mut BytesMut {
        self.bytes.reserve(READ_ROOM);
        &mut self.bytes
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The answer, once it is whole.
    fn parse(&mut self) -> Result<Option<Parsed>, &'static str> {
        let head = match self.head {
            Some(head) => head,
            None => match self.parse_head()? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        let end = match head.framing {
            Framing::Length(length) => {
                (self.bytes.len() >= head.length + length).then_some(head.length + length)
            }
            Framing::Chunked => self.join_chunks()?,
        };
        if self.bytes.len() > ANSWER_MAX {
            return Err("it is too long");
        }
        Ok(end.map(|end| Parsed { status: head.status, body: head.length..end, closes: head.closes }))
    }

    fn parse_head(&mut self) -> Result<Option<Head>, &'static str> {
        loop {
            let Some(head) = Head::parse(&self.bytes)? else {
                return if self.bytes.len() > HEAD_MAX { Err("its head is too long") } else { Ok(None) };
            };
            if head.status >= 200 {
                (self.joined, self.next) = (head.length, head.length);
                self.head = Some(head);
                return Ok(Some(head));
            }
            // An interim answer; the real one follows.
            let _ = self.bytes.split_to(head.length);
        }
    }

    /// Moves the data of whole chunks together; gives where it ends after the last one.
    fn join_chunks(&mut self) -> Result<Option<usize>, &'static str> {
        loop {
            let rest = self.bytes.get(self.next..).unwrap_or_default();
            let Some(line) = find(rest, b"\r\n") else { return Ok(None) };
            let size = std::str::from_utf8(&rest[..line]).ok().and_then(|line| line.split(';').next());
            let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.filter(|size| *size <= ANSWER_MAX).ok_or("a chunk without a length")?;
            let data = self.next + line + 2;
            if size == 0 {
                // Trailers, if any, end with an empty line.
                let is_whole = rest[line..].starts_with(b"\r\n\r\n") || find(rest, b"\r\n\r\n").is_some();
                return Ok(is_whole.then_some(self.joined));
            }
            if self.bytes.len() < data + size + 2 {
                return Ok(None);
            }
            self.bytes.copy_within(data..data + size, self.joined);
            self.joined += size;
            self.next = data + size + 2;
        }
    }
}

impl Head {
    /// The head at the beginning of `bytes`, once it is whole.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let head_length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err("it has too many headers"),
            Err(_) => return Err("it is not HTTP/1.1"),
        };
        let (Some(1), Some(status)) = (response.version, response.code) else {
            return Err("it is not HTTP/1.1");
        };
        let (mut length, mut chunked, mut closes) = (None, false, false);
        for header in response.headers {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let digits = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                length = Some(digits.ok_or("its length is not a number")?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case(b"chunked");
            } else if header.name.eq_ignore_ascii_case("connection") {
                closes = value.eq_ignore_ascii_case(b"close");
            }
        }
        let framing = match (length, chunked) {
            _ if status < 200 || status == 204 || status == 304 => Framing::Length(0),
            (_, true) => Framing::Chunked,
            (Some(length), false) if length <= ANSWER_MAX => Framing::Length(length),
            (Some(_), false) => return Err("it is too long"),
            (None, false) => return Err("it does not tell its length"),
        };
        Ok(Some(Self { status, length: head_length, framing, closes }))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Reads an answer that comes in pieces which end at these places.
    fn read(text: &str, cuts: &[usize]) -> Result<Option<(u16, String, bool)>, &'static str> {
        let mut incoming = Incoming::default();
        let mut from = 0;
        let mut parsed = None;
        for &to in cuts.iter().chain([&text.len()]) {
            assert!(parsed.is_none(), "whole before its end: {text:?} at {from}");
            incoming.room().extend_from_slice(&text.as_bytes()[from..to]);
            parsed = incoming.parse()?;
            from = to;
        }
        Ok(parsed.map(|parsed| {
            let body = String::from_utf8(incoming.slice(&parsed.body).to_vec()).unwrap();
            (parsed.status, body, parsed.closes)
        }))
    }

    #[test]
    fn an_answer_is_the_same_wherever_it_is_cut() {
        for (text, status, body, closes) in [
            ("HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{\"id\":17}", 201, "{\"id\":17}", false),
            ("HTTP/1.1 200 OK\r\ncontent-length:  0\r\nconnection: close\r\n\r\n", 200, "", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", false),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", 200, "[]", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\nA;x=y\r\n2,3,4,5,67\r\n1\r\n]\r\n0\r\n\r\n",
                200,
                "[1,2,3,4,5,67]",
                false,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", 200, "", false),
        ] {
            let whole = Ok(Some((status, body.to_owned(), closes)));
            assert_eq!(read(text, &[]), whole);
            for cut in 1..text.len() {
                assert_eq!(read(text, &[cut]), whole, "{text:?} cut at {cut}");
            }
            let everywhere: Vec<usize> = (1..text.len()).collect();
            assert_eq!(read(text, &everywhere), whole, "{text:?} byte by byte");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "SSH-2.0-server\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ] {
            assert!(read(text, &[]).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_id_is_found_at_the_front() {
        let id = |body: &str| Reply { status: 201, body: body.as_bytes() }.id();
        assert_eq!(id(r#"{"id":93,"user":5,"items":[{"id":93000}]}"#), Some(93));
        assert_eq!(id(r#"{"id": 93}"#), Some(93));
        assert_eq!(id(r#"{"id":"x"}"#), None);
        assert_eq!(id("[]"), None);
    }

    #[test]
    fn a_request_is_written_as_http_wants_it() {
        let target: Target = "http://shop:8000".parse().unwrap();
        let mut buffer = RequestBuffer::new(&target);
        let text =
            String::from_utf8(buffer.write("POST", "/api/orders/", "a.b", "k1", "{}").to_vec()).unwrap();
        assert_eq!(
            text,
            "POST /api/orders/ HTTP/1.1\r\nHost: shop:8000\r\nAuthorization: Bearer a.b\r\n\
             Idempotency-Key: k1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
        assert_eq!(buffer.write("GET", "/", "", "", ""), b"GET / HTTP/1.1\r\nHost: shop:8000\r\n\r\n");
        assert!(buffer.write("DELETE", "/", "", "", "").ends_with(b"Content-Length: 0\r\n\r\n"));
    }

    #[tokio::test]
    async fn a_connection_serves_again_after_it_broke_and_errors_tell_what_may_have_happened() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "HTTP/1.1 200 OK\r\nCont"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 100];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.ends_with("[]") {
                    // The second request on it is answered by silence.
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                }
            }
        });
        let target: Target = format!("http://{address}").parse().unwrap();
        let mut wire = Wire::new(target.clone(), Duration::from_secs(5));
        let mut buffer = RequestBuffer::new(&target);
        let request = buffer.write("GET", "/", "", "", "");
        assert_eq!(wire.exchange(request).await.unwrap(), 200);
        assert_eq!(wire.reply().body, b"[]");
        for _ in 0..2 {
            let error = wire.exchange(request).await.unwrap_err();
            assert!(matches!(error, WireError::Lost(_)) && !error.is_unsent(), "{error}");
        }
        server.await.unwrap();
        assert!(wire.exchange(request).await.unwrap_err().is_unsent());
    }

    #[tokio::test]
    async fn an_exchange_ends_within_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target: Target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let mut wire = Wire::new(target, Duration::from_millis(20));
        assert!(matches!(wire.exchange(b"GET / HTTP/1.1\r\n\r\n").await, Err(WireError::TimedOut(_))));
    }
}
