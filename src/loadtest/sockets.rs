//! WebSocket as light as it can be, for thousands of feeds on one thread: frames are read into one
//! buffer that all share, and only what is cut off at its end is kept.
//!
//! Promises: a ping is answered at once; a message that is longer than the shop ever sends, or a
//! frame that is none, ends the socket.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::client::Target;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;
/// The longest message, in bytes.
const MESSAGE_MAX: usize = 4 << 20;
/// How long a socket may take to open.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// The longest head of the answer to an upgrade, in bytes.
const HEAD_MAX: usize = 8 << 10;
/// Any key will do: the answer to it is not checked, a server that speaks WebSocket is known by its
/// frames.
const KEY: &str = "ZW1wb3JpdW0gbG9hZHRlc3Q=";

/// Why a socket did not open, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    TimedOut,
    #[error("refused: {0}")]
    Refused(String),
    #[error("closed with {0}")]
    Closed(u16),
    #[error("not WebSocket: {0}")]
    Protocol(&'static str),
}

/// The buffer that all sockets of the thread read into.
#[derive(Clone, Debug)]
pub(crate) struct Scratch(Rc<RefCell<Vec<u8>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; READ_BYTES])))
    }
}

/// An open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// The beginning of a frame whose end has yet to come.
    rest: Vec<u8>,
}

/// A frame.
#[derive(Debug, PartialEq, Eq)]
enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Close(u16),
    Other,
}

impl Socket {
    /// Opens a feed, signed in where `access` is not empty.
    pub(crate) async fn open(target: &Target, path: &str, access: &str) -> Result<Self, SocketError> {
        let opening = Self::upgrade(target, path, access);
        tokio::time::timeout(OPEN_MAX, opening).await.map_err(|_| SocketError::TimedOut)?
    }

    async fn upgrade(target: &Target, path: &str, access: &str) -> Result<Self, SocketError> {
        let mut stream = TcpStream::connect(target.address()).await?;
        stream.set_nodelay(true)?;
        let sign_in =
            if access.is_empty() { String::new() } else { format!("Authorization: Bearer {access}\r\n") };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{sign_in}\r\n",
            target.host()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if head.len() > HEAD_MAX || stream.read_buf(&mut head).await? == 0 {
                return Err(SocketError::Protocol("no answer to the upgrade"));
            }
        };
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return Err(SocketError::Refused(String::from_utf8_lossy(line).into_owned()));
        }
        Ok(Self { stream, rest: head[end..].to_vec() })
    }

    /// Whether the other side has ended the connection, told without reading from it.
    pub(crate) fn is_ended(&self) -> bool {
        let ready = self.stream.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.map_or(true, |ready| ready.is_read_closed()))
    }

    /// Passes every message on until the socket ends, and says why it did.
    pub(crate) async fn listen(mut self, scratch: &Scratch, mut hear: impl FnMut(&[u8])) -> SocketError {
        let mut read = std::mem::take(&mut self.rest);
        loop {
            match self.take_frames(&read, &mut hear).await {
                Ok(()) => {}
                Err(error) => return error,
            }
            read.clear();
            let outcome = poll_fn(|cx| self.poll_read(cx, scratch, &mut read, &mut hear)).await;
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    /// Reads and passes on what can be without keeping it; ready only when `read` holds what cannot,
    /// which is rare.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        read: &mut Vec<u8>,
        hear: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<(), SocketError>> {
        let scratch = &mut *scratch.0.borrow_mut();
        loop {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(())) => {}
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Err(SocketError::Protocol("ended without a close")));
            }
            let heard = if self.rest.is_empty() { pass_on(bytes, hear) } else { 0 };
            if heard < bytes.len() {
                read.append(&mut self.rest);
                read.extend_from_slice(&bytes[heard..]);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes whole frames off, answers pings, and keeps what is left.
    async fn take_frames(
        &mut self,
        mut bytes: &[u8],
        hear: &mut impl FnMut(&[u8]),
    ) -> Result<(), SocketError> {
        while let Some((frame, length)) = split(bytes)? {
            match frame {
                Frame::Text(text) => hear(text),
                Frame::Ping(payload) => self.stream.write_all(&pong(payload)).await?,
                Frame::Close(code) => return Err(SocketError::Closed(code)),
                Frame::Other => {}
            }
            bytes = &bytes[length..];
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }
}

/// Passes on the text frames that stand whole at the front; gives where something else begins.
fn pass_on(bytes: &[u8], hear: &mut impl FnMut(&[u8])) -> usize {
    let mut at = 0;
    while let Ok(Some((Frame::Text(text), length))) = split(&bytes[at..]) {
        hear(text);
        at += length;
    }
    at
}

/// The first frame, and its length; `None` while it is not whole.
fn split(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, SocketError> {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(SocketError::Protocol("a masked frame"));
    }
    let (start, length) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10) {
            Some(length) => (10, length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))),
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    if length > MESSAGE_MAX {
        return Err(SocketError::Protocol("too long a message"));
    }
    let Some(payload) = bytes.get(start..start + length) else { return Ok(None) };
    let frame = match first {
        0x81 => Frame::Text(payload),
        0x89 => Frame::Ping(payload),
        0x88 => Frame::Close(payload.iter().take(2).fold(0, |code, byte| code << 8 | u16::from(*byte))),
        0x8A => Frame::Other,
        _ => return Err(SocketError::Protocol("an unknown frame")),
    };
    Ok(Some((frame, start + length)))
}

/// A pong, masked with zeros, which leave its payload as it is; a ping has at most 125 bytes.
fn pong(payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(125)];
    let length = u8::try_from(payload.len()).unwrap_or_default();
    [&[0x8A, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn text(length: usize) -> Vec<u8> {
        let head: Vec<u8> = match length {
            0..126 => vec![0x81, length as u8],
            126..65536 => vec![0x81, 126, (length >> 8) as u8, length as u8],
            _ => [&[0x81, 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        [head, vec![b'x'; length]].concat()
    }

    #[test]
    fn frames_of_every_length_are_found() {
        for length in [0, 1, 125, 126, 65535, 65536] {
            let frame = text(length);
            assert_eq!(split(&frame).unwrap(), Some((Frame::Text(&vec![b'x'; length]), frame.len())));
            assert_eq!(split(&frame[..frame.len() - 1]).unwrap(), None);
        }
        assert_eq!(split(&[0x88, 2, 0x0F, 0xA1]).unwrap(), Some((Frame::Close(4001), 4)));
        for wrong in [&[0x81, 0x81, 0, 0, 0, 0, 0][..], &[0x01, 0], &[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(split(wrong).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn messages_are_heard_wherever_they_are_cut_and_pings_are_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target: Target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1000];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.unwrap();
            let frames = [text(3), text(200), vec![0x89, 2, b'h', b'i'], text(70_000)].concat();
            for piece in frames.chunks(33_333).chain([&[0x81, 1][..], b"y", &[0x88, 2, 0x03, 0xE9]]) {
                stream.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, [0x8A, 0x82, 0, 0, 0, 0, b'h', b'i']);
        });
        let socket = Socket::open(&target, "/ws/stock/", "").await.unwrap();
        let mut lengths = Vec::new();
        let ended = socket.listen(&Scratch::default(), |text| lengths.push(text.len())).await;
        assert!(matches!(ended, SocketError::Closed(1001)), "{ended}");
        assert_eq!(lengths, [3, 200, 70_000, 1]);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_a_socket_that_is_not_read_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target: Target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let accept = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\nunread").await.unwrap();
            stream
        };
        let (socket, stream) = tokio::join!(Socket::open(&target, "/", ""), accept);
        let socket = socket.unwrap();
        assert!(!socket.is_ended());
        drop(stream);
        while !socket.is_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
