//! Pools whose connections live on a runtime of their own.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;

/// How to reach the database, and how much of it to use.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `postgres://user:password@host:port/database?sslmode=require`, or a key-value string.
    pub url: String,
    /// Connections for everything but the inventory, which has one per lane of its own. 1 to 1000.
    pub pool_size: usize,
    /// How long one attempt to connect, or the wait for a free connection, may take.
    pub connect_timeout: Duration,
    /// How long one statement may run, in the server.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock, in the server.
    pub lock_timeout: Duration,
    /// How long a transaction may sit idle before the server ends it.
    pub idle_in_transaction_timeout: Duration,
    /// PEM file with the certificate authorities to trust besides the system's (RDS has its own).
    pub ca_file: Option<PathBuf>,
}

/// Why there is no database to talk to. The text is for whoever operates the shop.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL does not parse. Its text is not repeated, since it may hold a password.
    #[error("DATABASE_URL is not a Postgres URL: {0}")]
    Url(String),
    /// The certificate file is unreadable or holds no certificate.
    #[error("cannot use the certificates in {path}: {reason}")]
    Certificates {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The threads for the connections could not be started.
    #[error("cannot start the database threads: {0}")]
    Threads(#[from] std::io::Error),
    /// Nobody answers, or the server refuses.
    #[error("cannot reach the database at {place}: {reason}")]
    Unreachable {
        /// Host and port, or socket folder.
        place: String,
        /// What the attempt came to.
        reason: String,
    },
    /// A pool could not be made.
    #[error("cannot make a connection pool: {0}")]
    Pool(String),
}

/// Owns the runtime on which connections live. Dropping it closes them all.
pub struct Database {
    runtime: Option<tokio::runtime::Runtime>,
    config: Config,
    tls: MakeRustlsConnect,
    settings: DatabaseSettings,
    db: Db,
}

/// A handle on the shared pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    pool: Pool,
}

impl Db {
    /// A connection for the statement `query`, waited for no longer than the connect timeout.
    ///
    /// # Errors
    /// When none becomes free in time or the database is out of reach.
    pub async fn client(&self, query: &'static str) -> Result<Object, StoreError> {
        // Apart: every request that may come to ask the database would carry its state about.
        Box::pin(self.pool.get()).await.map_err(|error| StoreError::from_pool(query, error))
    }
}

impl Database {
    /// Starts the threads, makes the pool, and makes sure that the database answers.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, ConnectError> {
        let config = parse_config(settings)?;
        let tls = MakeRustlsConnect::new(tls_config(settings)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()?;
        let db = Db { pool: make_pool(&config, &tls, runtime.handle(), settings, settings.pool_size)? };
        let database = Self { runtime: Some(runtime), config, tls, settings: settings.clone(), db };
        match database.db.client("connect").await {
            Ok(_) => Ok(database),
            Err(error) => {
                Err(ConnectError::Unreachable { place: database.place(), reason: innermost(&error) })
            }
        }
    }

    /// The shared pool.
    #[must_use]
    pub fn db(&self) -> Db {
        self.db.clone()
    }

    /// A pool of `size` connections apart from the shared one, so that readers cannot starve it.
    ///
    /// Each statement is planned once on such a connection, not once per use: right for the few that a
    /// batch is made of, which find rows by key whatever their parameters are.
    ///
    /// # Errors
    /// When the pool cannot be made.
    pub fn dedicated(&self, size: usize) -> Result<Db, ConnectError> {
        let mut config = self.config.clone();
        let options = config.get_options().unwrap_or_default();
        config.options(format!("{options} -c plan_cache_mode=force_generic_plan"));
        Ok(Db { pool: make_pool(&config, &self.tls, &self.handle(), &self.settings, size)? })
    }

    /// The threads that drive the connections; what must not be cancelled runs here.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }

    /// The settings to open one more connection by, for `LISTEN`.
    pub(crate) fn config(&self) -> (Config, MakeRustlsConnect) {
        (self.config.clone(), self.tls.clone())
    }

    /// Where the database is, without user and password.
    #[must_use]
    pub fn place(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let ports = self.config.get_ports();
        hosts
            .enumerate()
            .map(|(i, host)| match ports.get(i).or_else(|| ports.first()) {
                Some(port) => format!("{host}:{port}"),
                None => host,
            })
            .collect::<Vec<_>>()
            .join(",")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // An ordinary drop of a runtime blocks, which an async caller must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn parse_config(settings: &DatabaseSettings) -> Result<Config, ConnectError> {
    let mut config: Config =
        settings.url.parse().map_err(|error: tokio_postgres::Error| ConnectError::Url(innermost(&error)))?;
    if config.get_hosts().is_empty() {
        return Err(ConnectError::Url("it names no host".to_owned()));
    }
    let own = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
    config.options(format!(
        "{own}-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} -c TimeZone=UTC",
        settings.statement_timeout.as_millis(),
        settings.lock_timeout.as_millis(),
        settings.idle_in_transaction_timeout.as_millis(),
    ));
    config.connect_timeout(settings.connect_timeout);
    config.tcp_user_timeout(settings.statement_timeout);
    if config.get_application_name().is_none() {
        config.application_name("emporium");
    }
    Ok(config)
}

fn tls_config(settings: &DatabaseSettings) -> Result<rustls::ClientConfig, ConnectError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &settings.ca_file {
        use rustls_pki_types::pem::PemObject;
        let fail = |reason: String| ConnectError::Certificates { path: path.display().to_string(), reason };
        let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let certificates = rustls_pki_types::CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| fail(error.to_string()))?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(fail("no certificate in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Pool(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn make_pool(
    config: &Config,
    tls: &MakeRustlsConnect,
    handle: &Handle,
    settings: &DatabaseSettings,
    size: usize,
) -> Result<Pool, ConnectError> {
    let connect = ConnectOn { handle: handle.clone(), tls: tls.clone() };
    let options = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_connect(config.clone(), connect, options);
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(settings.connect_timeout))
        .create_timeout(Some(settings.connect_timeout))
        .recycle_timeout(Some(settings.connect_timeout))
        .build()
        .map_err(|error| ConnectError::Pool(error.to_string()))
}

/// Opens connections on a given runtime, whoever asks.
struct ConnectOn {
    handle: Handle,
    tls: MakeRustlsConnect,
}

type Connected = Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>;

impl Connect for ConnectOn {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let (config, tls) = (config.clone(), self.tls.clone());
        let attempt = self.handle.spawn(async move {
            let (client, connection) = config.connect(tls).await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::warn!(%error, "a database connection broke");
                }
            });
            Ok((client, driver))
        });
        Box::pin(async move {
            match attempt.await {
                Ok(connected) => connected,
                // The runtime is going down; there is no driver error to make, so ask for a wait
                // that the pool's timeout ends.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
