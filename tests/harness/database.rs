//! A database for each test, copied from a template that is migrated once.

use std::path::Path;
use std::time::Duration;

use emporium::settings::{Environment, Settings};
use emporium_actors::db::{Database, migrate};
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, NoTls, Row};

use super::eventually;

/// Held while the template is looked for and made; any number that nobody else uses.
const TEMPLATE_LOCK: i64 = 0x7465_6d70_6c61_7465;

/// A database of its own; dropped with the value.
pub(crate) struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// A migrated database.
    pub(crate) async fn create() -> Self {
        let template = template().await;
        Self::create_as(&format!("TEMPLATE {template}")).await
    }

    /// A database without any table.
    pub(crate) async fn empty() -> Self {
        Self::create_as("TEMPLATE template0").await
    }

    async fn create_as(clause: &str) -> Self {
        let name = format!("test_{}_{:016x}", std::process::id(), rand::random::<u64>());
        let maintenance = connect(&maintenance_url()).await;
        maintenance.batch_execute(&format!("CREATE DATABASE {name} {clause}")).await.expect("a new database");
        Self { url: url_of(&name), name }
    }

    /// A connection string for it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs statements in it.
    pub(crate) async fn run(&self, statements: &str) {
        self.client().await.batch_execute(statements).await.expect(statements);
    }

    /// The rows of a query.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Row> {
        self.client().await.query(query, &[]).await.expect(query)
    }

    /// What a query that counts comes to.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.client().await.query_one(query, &[]).await.expect(query).get(0)
    }

    /// Insists that the event log has no gap and tells of the placing of each order once.
    pub(crate) async fn event_log_is_whole(&self) {
        let gaps = "SELECT (SELECT last_seq FROM event_counter) - count(*) FROM events";
        assert_eq!(self.count(gaps).await, 0, "numbers without an event");
        let odd = "SELECT count(*) FROM (
                SELECT o.id FROM orders o
                LEFT JOIN events e ON e.kind = 'order' AND e.event = 'placed' AND e.subject = o.id
                GROUP BY o.id HAVING count(e.seq) <> 1) odd";
        assert_eq!(self.count(odd).await, 0, "orders not told of once");
    }

    /// A connection to it.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// Returns once so many connections wait for a lock, which they must do within a few seconds.
    pub(crate) async fn waiting_for_locks(&self, connections: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually(Duration::from_secs(5), "connections wait for a lock", async || {
            (self.count(waiting).await == connections).then_some(())
        })
        .await;
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The test's own runtime cannot be waited for from here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                Ok::<_, std::io::Error>(connect(&maintenance_url()).await.batch_execute(&statement).await)
            })
        });
        if !matches!(dropped.join(), Ok(Ok(Ok(())))) {
            eprintln!("the database {} is still there", self.name);
        }
    }
}

/// The connection on which databases are made.
pub(crate) fn maintenance_url() -> String {
    std::env::var("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL names a Postgres on which databases may be created")
}

/// The same server, another database.
fn url_of(database: &str) -> String {
    let url = maintenance_url();
    let Some((scheme, rest)) = url.split_once("://") else {
        return format!("{url} dbname={database}");
    };
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (rest, String::new()),
    };
    let authority = place.split('/').next().unwrap_or(place);
    format!("{scheme}://{authority}/{database}{query}")
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the Postgres of the tests");
    tokio::spawn(connection);
    client
}

/// The template of these migrations, made if this server has none. It gets its name when it is
/// complete, so that a test run that was killed leaves no half of one behind.
async fn template() -> String {
    let name = format!("template_{}", migrations_hash());
    let maintenance = connect(&maintenance_url()).await;
    maintenance.execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK]).await.expect("the template's lock");
    let sql = "SELECT 1 FROM pg_database WHERE datname = $1";
    if maintenance.query_opt(sql, &[&name]).await.expect("the list of databases").is_none() {
        let unfinished = format!("{name}_unfinished");
        let statement = format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)");
        maintenance.batch_execute(&statement).await.expect("no unfinished template");
        maintenance.batch_execute(&format!("CREATE DATABASE {unfinished}")).await.expect("a new template");
        migrate_at(&url_of(&unfinished)).await;
        finish(&maintenance, &unfinished, &name).await;
    }
    // The lock goes with the connection.
    name
}

async fn migrate_at(url: &str) {
    let settings = Settings::load(&Environment::from_pairs(&[("DATABASE_URL", url)])).expect("settings");
    let database = Database::connect(&settings.database(url.to_owned())).await.expect("the template");
    migrate(&database).await.expect("migrations");
}

/// Renames the template, once the server has noticed that its connections are gone.
async fn finish(maintenance: &Client, unfinished: &str, name: &str) {
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{unfinished}'");
    for _ in 0..100 {
        maintenance.batch_execute(&end).await.expect("connections to the template end");
        if maintenance.batch_execute(&format!("ALTER DATABASE {unfinished} RENAME TO {name}")).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the template {unfinished} stays in use");
}

fn migrations_hash() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/migrations");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the migrations").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.file_name().expect("a name").as_encoded_bytes());
        hash.update(std::fs::read(&file).expect("a migration"));
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
