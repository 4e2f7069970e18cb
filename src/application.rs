//! The server: the shop behind an address.
//!
//! The command line and the tests build the same [`Application`]. Promises: it has its address, or
//! has failed for want of it, before anything is served; told to stop, it first says that it is not
//! ready, then closes live feeds, then lets the requests under way finish.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::{Extensions, Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use emporium_actors::Shop;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::http::negotiate;
use crate::http::resource::no_route;
use crate::http::{self, AppState};
use crate::settings::HttpSettings;

/// How long sent data may stay unacknowledged before the system gives a connection up; frees what a
/// vanished reader holds.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// The server could not get its address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// What was asked for.
    pub address: String,
    /// What the system says.
    pub source: io::Error,
}

/// A server that has its address. It serves while [`Application::run`] runs.
pub struct Application {
    server: Server,
    addr: SocketAddr,
    stopper: Stopper,
}

/// Stops an [`Application`] from outside.
#[derive(Clone)]
pub struct Stopper {
    handle: ServerHandle,
    shop: Shop,
    draining: Arc<AtomicBool>,
    delay: Duration,
}

impl Application {
    /// Binds to `settings.host` and `settings.port` (0: any free port) and starts the workers.
    ///
    /// # Errors
    /// When the address is taken, not ours, or does not resolve.
    pub fn build(settings: HttpSettings, shop: Shop) -> Result<Self, BindError> {
        let address = format!("{}:{}", settings.host, settings.port);
        let fail = |source| BindError { address: address.clone(), source };
        let listener = bind(&settings).map_err(fail)?;
        let addr = listener.local_addr().map_err(fail)?;
        let draining = Arc::new(AtomicBool::new(false));
        let state = web::Data::new(AppState {
            shop: shop.clone(),
            body_bytes_max: settings.body_bytes_max,
            trusted_proxy_hops: settings.trusted_proxy_hops,
            draining: draining.clone(),
        });
        let delay = settings.shutdown_delay;
        let server = serve(listener, settings, state).map_err(fail)?;
        let stopper = Stopper { handle: server.handle(), shop, draining, delay };
        Ok(Self { server, addr, stopper })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The handle of the HTTP server alone.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.stopper.handle.clone()
    }

    /// What stops the whole application in order.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until stopped.
    ///
    /// # Errors
    /// When the server's own threads fail.
    pub async fn run(self) -> io::Result<()> {
        self.server.await
    }
}

impl Stopper {
    /// Reports "not ready", waits until load balancers have noticed, closes live feeds, and lets the
    /// requests under way finish.
    pub async fn stop(&self) {
        self.draining.store(true, Ordering::Relaxed);
        actix_web::rt::time::sleep(self.delay).await;
        self.shop.stop().await;
        self.handle.stop(true).await;
    }
}

/// Takes the first address of the host that is free.
fn bind(settings: &HttpSettings) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
    for addr in (settings.host.as_str(), settings.port).to_socket_addrs()? {
        match listen(addr, settings.backlog) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn serve(listener: TcpListener, settings: HttpSettings, state: web::Data<AppState>) -> io::Result<Server> {
    let workers = settings.workers.max(1);
    let per_worker = settings.connections_max.div_ceil(workers).max(1);
    let (keep_alive, head_timeout) = (settings.keep_alive, settings.request_head_timeout);
    let shutdown_timeout_s = settings.shutdown_timeout.as_secs();
    let settings = web::Data::new(settings);
    let app = move || {
        App::new()
            .app_data(state.clone())
            .app_data(settings.clone())
            .configure(http::routes)
            .default_service(web::to(no_route))
            .wrap(from_fn(negotiate::stamp))
    };
    let server = HttpServer::new(app)
        .workers(workers)
        .max_connections(per_worker)
        .keep_alive(keep_alive)
        .client_request_timeout(head_timeout)
        .shutdown_timeout(shutdown_timeout_s)
        .tcp_nodelay(true)
        .disable_signals()
        .on_connect(on_connect)
        .listen(listener)?;
    Ok(server.run())
}

/// Bounds how long a connection may hold unsent data, and keeps it in sight.
fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        let socket = SockRef::from(stream);
        if let Err(error) = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)) {
            tracing::debug!(%error, "a connection went before it could be set up");
        }
        http::caller::keep(stream, data);
    }
}
