//! Whoever is at the other end of a connection.
//!
//! A handler waits for its answer however long ago its client hung up, since the server does not read
//! from a connection meanwhile. So the socket is kept at hand, to be looked at before work begins.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use emporium_actors::orders::Caller;
use socket2::{SockRef, Socket};

/// A connection's socket, held a second time.
#[derive(Debug)]
struct Connection(Socket);

impl Caller for Connection {
    /// One system call. A client that has closed its sending half counts as gone, as it does with most
    /// servers: nothing tells it from one that has closed both.
    fn has_left(&self) -> bool {
        match self.0.peek(&mut [MaybeUninit::uninit()]) {
            Ok(bytes) => bytes == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}

/// Keeps a new connection's socket at hand.
pub(crate) fn keep(stream: &TcpStream, data: &mut Extensions) {
    match SockRef::from(stream).try_clone() {
        Ok(socket) => drop(data.insert(Arc::new(Connection(socket)))),
        // Out of file descriptors: then nobody is found to have left.
        Err(error) => tracing::debug!(%error, "a connection cannot be watched"),
    }
}

/// The caller of this request.
pub(crate) fn of(req: &HttpRequest) -> Option<Arc<dyn Caller>> {
    let connection: &Arc<Connection> = req.conn_data()?;
    Some(connection.clone())
}
