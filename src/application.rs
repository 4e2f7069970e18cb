//! The server: the shop behind an address.
//!
//! The command line and the tests build the same [`Application`]. Promises: it has its address, or
//! has failed for want of it, before anything is served; told to stop, it first says that it is not
//! ready, then closes live feeds, then lets the requests under way finish.

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::{AppConfig, Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use emporium_actors::Shop;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use socket2::{Domain, Protocol, Socket, Type};

use crate::connection::Connection;
use crate::http::negotiate;
use crate::http::origins;
use crate::http::resource::no_route;
use crate::http::{self, AppState};
use crate::settings::HttpSettings;
use crate::ws::Watchdog;

/// How long a client may take to close its side of a connection that the server has closed.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// What the server gathers of an answer before it waits for the client to take it, in bytes. Small,
/// since a feed's slow reader has it full all the time, with what is soon out of date.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// How often observations are summed up, so that they take no more memory than those of this time.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

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
    watchdog: Arc<Watchdog>,
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
        let state = AppState {
            shop: shop.clone(),
            body_bytes_max: settings.body_bytes_max,
            import_bytes_max: settings.import_bytes_max,
            trusted_proxy_hops: settings.trusted_proxy_hops,
            draining: draining.clone(),
            metrics: counting(),
        };
        let delay = settings.shutdown_delay;
        let watchdog = Watchdog::start();
        let server = serve(listener, settings, state, watchdog.clone()).map_err(fail)?;
        shop.nodes.join(addr.port());
        let stopper = Stopper { handle: server.handle(), shop, watchdog, draining, delay };
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
    /// Reports "not ready", waits until load balancers have noticed, closes live feeds, cutting those
    /// whose readers do not read, and lets the requests under way finish.
    pub async fn stop(&self) {
        self.draining.store(true, Ordering::Relaxed);
        actix_web::rt::time::sleep(self.delay).await;
        self.shop.stop().await;
        self.watchdog.cut_all();
        self.handle.stop(true).await;
    }
}

/// Has everything counted from now on, once in a process, and gives what reads it.
fn counting() -> Option<PrometheusHandle> {
    static COUNTED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    COUNTED
        .get_or_init(|| {
            start_counting().inspect_err(|error| tracing::warn!(%error, "nothing is counted")).ok()
        })
        .clone()
}

fn start_counting() -> io::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(io::Error::other)?;
    let kept = handle.clone();
    // What is observed gathers until somebody reads it, or it is summed up here.
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP_INTERVAL);
            kept.run_upkeep();
        }
    })?;
    Ok(handle)
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

/// What `actix_web::HttpServer` does, but for the connections, which are our own kind.
fn serve(
    listener: TcpListener,
    settings: HttpSettings,
    state: AppState,
    watchdog: Arc<Watchdog>,
) -> io::Result<Server> {
    let workers = settings.workers.max(1);
    let per_worker = settings.connections_max.div_ceil(workers).max(1);
    let (keep_alive, head_timeout) = (settings.keep_alive, settings.request_head_timeout);
    let shutdown_timeout_s = settings.shutdown_timeout.as_secs();
    let settings = web::Data::new(settings);
    let watchdog = web::Data::from(watchdog);
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(per_worker)
        .shutdown_timeout(shutdown_timeout_s)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder.listen("http", listener, move || {
        // Called on the thread of each worker.
        let state = AppState { shop: state.shop.on_this_thread(), ..state.clone() };
        let app = App::new()
            .app_data(web::Data::new(state))
            .app_data(settings.clone())
            .app_data(watchdog.clone())
            .configure(http::routes)
            .default_service(web::to(no_route))
            .wrap(origins::leave(&settings.allowed_origins))
            .wrap(from_fn(negotiate::stamp));
        let app = app.into_factory().map_err(|error| error.error_response());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(head_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .h1_write_buffer_size(WRITE_BUFFER_BYTES)
            .on_connect_ext(|connection: &Connection, extensions| {
                _ = extensions.insert(connection.lifeline());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(|stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            ready(Ok((Connection::new(stream), peer)))
        })
        .and_then(http)
    })?;
    Ok(server.run())
}
