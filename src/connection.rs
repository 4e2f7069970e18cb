//! A client's connection, and a way to end it from outside.
//!
//! Whoever writes to a client that does not read is asleep until it does: actix polls neither the
//! handler nor its timers while the connection takes no bytes. So whether a connection is stuck is
//! noted here, where bytes leave, and here is where another thread can end it. Whether the client has
//! hung up is noted as well, without a system call or a second file for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use futures_util::task::AtomicWaker;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long sent data may stay unacknowledged before the system gives a connection up; frees what a
/// vanished reader holds.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
/// What the system buffers for a connection whose reader is slow, in bytes; it takes twice as much
/// for its own books.
const NARROW_BUFFER_BYTES: usize = 32 * 1024;

/// What a connection shares with those who watch it.
#[derive(Debug, Default)]
pub(crate) struct Lifeline {
    is_watched: AtomicBool,
    is_cut: AtomicBool,
    is_stuck: AtomicBool,
    has_ended: AtomicBool,
    is_gone: AtomicBool,
    /// How often it was stuck and took bytes again.
    recoveries: AtomicU32,
    /// Of the task that serves the connection.
    task: AtomicWaker,
}

impl Lifeline {
    /// From now on the connection can be cut, and the system buffers little for it.
    pub(crate) fn watch(&self) {
        self.is_watched.store(true, Ordering::Relaxed);
    }

    /// Ends the connection, if it is watched, whatever its task is doing, and drops what has not been
    /// sent.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether there are bytes that it does not take; then a number that changes when it takes some.
    pub(crate) fn stuck(&self) -> Option<u32> {
        self.is_stuck.load(Ordering::Relaxed).then(|| self.recoveries.load(Ordering::Relaxed))
    }

    /// Whether the client has closed its side, or the connection broke, as far as this machine has
    /// been told. One that has closed its sending half counts, as with most servers: nothing tells it
    /// from one that has closed both.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Whether the connection is closed on both sides.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }
}

/// A TCP connection with a [`Lifeline`].
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    lifeline: Arc<Lifeline>,
    is_watched: bool,
    is_stuck: bool,
}

impl Connection {
    /// A connection that was just accepted.
    pub(crate) fn new(stream: TcpStream) -> Self {
        let socket = SockRef::from(&stream);
        let set_up =
            socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)));
        if let Err(error) = set_up {
            tracing::debug!(%error, "a connection went before it could be set up");
        }
        Self { stream, lifeline: Arc::default(), is_watched: false, is_stuck: false }
    }

    /// For those who watch it.
    pub(crate) fn lifeline(&self) -> Arc<Lifeline> {
        self.lifeline.clone()
    }

    /// Fails once the lifeline is cut; otherwise sees to it that cutting wakes this task. Costs
    /// nothing where nobody watches.
    fn hold_on(&mut self, cx: &Context<'_>) -> io::Result<()> {
        if !self.is_watched {
            self.is_watched = self.lifeline.is_watched.load(Ordering::Relaxed);
            if !self.is_watched {
                return Ok(());
            }
            SockRef::from(&self.stream).set_send_buffer_size(NARROW_BUFFER_BYTES)?;
        }
        self.lifeline.task.register(cx.waker());
        if !self.lifeline.is_cut.load(Ordering::Acquire) {
            return Ok(());
        }
        // Closed with a reset, since a reader that takes nothing would not see an orderly end either,
        // and the system would keep what it has not taken.
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).ok();
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Notes what became of an attempt to write.
    fn note<T>(&mut self, attempt: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if attempt.is_pending() != self.is_stuck {
            self.is_stuck = attempt.is_pending();
            let recoveries = u32::from(!self.is_stuck);
            self.lifeline.recoveries.fetch_add(recoveries, Ordering::Relaxed);
            self.lifeline.is_stuck.store(self.is_stuck, Ordering::Relaxed);
        }
        attempt
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.lifeline.is_gone.store(true, Ordering::Relaxed);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.hold_on(cx)?;
        let before = buf.filled().len();
        let attempt = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(outcome) = &attempt
            && (outcome.is_err() || buf.filled().len() == before)
        {
            self.lifeline.has_ended.store(true, Ordering::Relaxed);
        }
        attempt
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.hold_on(cx)?;
        let attempt = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(attempt)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.hold_on(cx)?;
        let attempt = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(attempt)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Connection::new(accepted.unwrap().0), client.unwrap())
    }

    /// Writes until the other side takes no more, and for ever if it does.
    async fn flood(connection: &mut Connection) -> io::Result<()> {
        loop {
            connection.write_all(&[7; 16 * 1024]).await?;
        }
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_writer_that_is_stuck_is_seen_and_can_be_ended() {
        let (mut connection, mut client) = pair().await;
        let lifeline = connection.lifeline();
        lifeline.watch();
        let writer = tokio::spawn(async move { flood(&mut connection).await });
        until(|| lifeline.stuck().is_some()).await;
        let before = lifeline.stuck();
        let mut bytes = vec![0; 1 << 20];
        while lifeline.stuck() == before {
            assert!(client.read(&mut bytes).await.unwrap() > 0);
        }
        until(|| lifeline.stuck().is_some()).await;
        lifeline.cut();
        let error = writer.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(lifeline.is_gone());
        // A reset: it ends at once, whatever had been sent before.
        while client.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    }

    #[tokio::test]
    async fn a_reader_that_waits_can_be_ended_too() {
        let (mut connection, _client) = pair().await;
        let lifeline = connection.lifeline();
        lifeline.watch();
        let reader = tokio::spawn(async move { connection.read(&mut [0; 8]).await });
        tokio::task::yield_now().await;
        lifeline.cut();
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_is_noticed_by_whoever_reads() {
        let (mut connection, mut client) = pair().await;
        let lifeline = connection.lifeline();
        client.write_all(b"x").await.unwrap();
        assert_eq!(connection.read(&mut [0; 8]).await.unwrap(), 1);
        assert!(!lifeline.has_ended());
        drop(client);
        assert_eq!(connection.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(lifeline.has_ended() && !lifeline.is_gone());
    }
}
