//! A shop of its own for each test: the real application on a random port, on a real database.
//!
//! Promises: no test sees another's data; two nodes on one database are two applications, each with
//! its own threads, pools and caches; database and files are gone when the test ends.

mod browser;
mod contract;
mod database;
mod process;
mod proxy;
mod redis;
mod smtp;
mod socket;
mod users;
mod valve;
mod wire;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use emporium::application::Application;
use emporium::loadtest::client::{Answer, Client, Request, Target};
use emporium::settings::{Environment, Settings};
use emporium_actors::Shop;
use emporium_actors::db::Database;
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(crate) use browser::Browser;
pub(crate) use database::TestDatabase;
pub(crate) use process::{Process, create_admin, program, python, steady_port};
pub(crate) use proxy::Cut;
pub(crate) use redis::OwnRedis;
pub(crate) use smtp::{Delivery, MailServer};
pub(crate) use socket::{DeafSocket, Next, Socket};
pub(crate) use users::{PASSWORD, User};
pub(crate) use wire::Wire;

/// What every test's tokens are signed with.
pub(crate) const JWT_SECRET: &str = "a secret for tests alone, long enough to sign with";

/// A shop with a database of its own, and the first node on it.
pub(crate) struct TestApp {
    node: Node,
    variables: Vec<(String, String)>,
    database: TestDatabase,
    folder: Folder,
}

/// One running application.
pub(crate) struct Node {
    /// Where it listens.
    pub target: Target,
    /// The shop itself, for what no client can do.
    pub shop: Shop,
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A temporary folder, removed with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new one.
    pub(crate) fn new() -> Self {
        let name = format!("emporium-test-{}-{:016x}", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The Redis of the tests.
pub(crate) fn redis_url() -> String {
    std::env::var("TEST_REDIS_URL").expect("TEST_REDIS_URL names a Redis")
}

impl TestApp {
    /// A shop with the settings of tests.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A shop with some settings of its own, given as variables of the environment.
    pub(crate) async fn start_with(own: &[(&str, &str)]) -> Self {
        let database = TestDatabase::create().await;
        let folder = Folder::new();
        let variables = variables_with(&database, &folder, own);
        let node = Node::start(&variables).await;
        Self { node, variables, database, folder }
    }

    /// Another node on the same database.
    pub(crate) async fn second_node(&self) -> Node {
        Node::start(&self.variables).await
    }

    /// Another node on the same database, with some settings of its own.
    pub(crate) async fn second_node_with(&self, own: &[(&str, &str)]) -> Node {
        let mut variables = self.variables.clone();
        variables.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Node::start(&variables).await
    }

    /// Runs statements behind the shop's back.
    pub(crate) async fn sql(&self, statements: &str) {
        self.database.run(statements).await;
    }

    /// Removes all that the event log tells of but the last transaction.
    pub(crate) async fn forget_events(&self) {
        self.sql("DELETE FROM event_records WHERE last_seq < (SELECT max(last_seq) FROM event_records)")
            .await;
    }

    /// What a query that counts comes to, behind the shop's back.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.database.count(query).await
    }

    /// The database's address, for connections that go by this name.
    pub(crate) fn database_url_as(&self, name: &str) -> String {
        let url = self.database.url();
        let separator = match (url.contains("://"), url.contains('?')) {
            (false, _) => ' ',
            (true, false) => '?',
            (true, true) => '&',
        };
        format!("{url}{separator}application_name={name}")
    }

    /// The database.
    pub(crate) fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// The database's address.
    pub(crate) fn database_url(&self) -> &str {
        self.database.url()
    }

    /// Every mail that has been written so far.
    pub(crate) fn mails(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(Settings::mail_folder(self.folder.path())) else {
            return Vec::new();
        };
        let files = files.map(|file| file.expect("a file of the mail folder").path());
        let mails = files.filter(|path| path.extension().is_some_and(|ending| ending == "eml"));
        mails.map(|path| std::fs::read_to_string(path).expect("a mail")).collect()
    }

    /// Waits for a mail that holds `text`.
    pub(crate) async fn mail_with(&self, text: &str) -> String {
        eventually(Duration::from_secs(5), &format!("a mail with {text:?}"), async || {
            self.mails().into_iter().find(|mail| mail.contains(text))
        })
        .await
    }
}

impl Deref for TestApp {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Node {
    async fn start(variables: &[(String, String)]) -> Self {
        let pairs: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let settings = Settings::load(&Environment::from_pairs(&pairs)).expect("settings");
        let (ready, started) = oneshot::channel();
        let (quit, told_to_quit) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(serve(settings, ready, told_to_quit));
        });
        let (address, shop) = started.await.expect("the application starts");
        let target = format!("http://{address}").parse().expect("its address");
        Self { target, shop, quit: Some(quit), thread: Some(thread) }
    }

    /// Sends a request on a connection of its own. The answer is one that the OpenAPI document names.
    pub(crate) async fn send(&self, request: &Request) -> Answer {
        let answer = self.client().send(request).await.expect("an answer");
        contract::check(request, &answer);
        answer
    }

    /// A client to keep.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.target.clone())
    }

    /// `GET`, anonymous.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(&Request::get(path)).await
    }

    /// `GET` as a user.
    pub(crate) async fn get_as(&self, user: &User, path: &str) -> Answer {
        self.send(&Request::get(path).bearer(&user.access)).await
    }

    /// `POST` as a user.
    pub(crate) async fn post_as(&self, user: &User, path: &str, body: &Value) -> Answer {
        self.send(&Request::post(path).bearer(&user.access).json(body)).await
    }

    /// `PUT` as a user.
    pub(crate) async fn put_as(&self, user: &User, path: &str, body: &Value) -> Answer {
        self.send(&Request::put(path).bearer(&user.access).json(body)).await
    }

    /// `PATCH` as a user.
    pub(crate) async fn patch_as(&self, user: &User, path: &str, body: &Value) -> Answer {
        self.send(&Request::patch(path).bearer(&user.access).json(body)).await
    }

    /// `DELETE` as a user.
    pub(crate) async fn delete_as(&self, user: &User, path: &str) -> Answer {
        self.send(&Request::delete(path).bearer(&user.access)).await
    }

    /// A new category; returns its id.
    pub(crate) async fn category(&self, staff: &User, name: &str) -> i64 {
        self.post_as(staff, "/api/categories/", &json!({"name": name})).await.expect_json(201).id()
    }

    /// A new product in a category named after it; returns its id.
    pub(crate) async fn product(&self, staff: &User, name: &str, price: &str, stock: i64) -> i64 {
        let category = self.category(staff, &format!("category of {name}")).await;
        self.product_in(staff, category, name, price, stock).await
    }

    /// A new product; returns its id.
    pub(crate) async fn product_in(
        &self,
        staff: &User,
        category: i64,
        name: &str,
        price: &str,
        stock: i64,
    ) -> i64 {
        let body = json!({"name": name, "price": price, "category": category, "stock": stock});
        self.post_as(staff, "/api/products/", &body).await.expect_json(201).id()
    }

    /// What a product's page says there is.
    pub(crate) async fn stock(&self, product: i64) -> i64 {
        self.get(&format!("/api/products/{product}/")).await.expect_json(200)["stock"]
            .as_i64()
            .expect("a stock")
    }

    /// Tries to order one product.
    pub(crate) async fn order(&self, user: &User, product: i64, quantity: i64) -> Answer {
        self.post_as(user, "/api/orders/", &order_of(&[(product, quantity)])).await
    }

    /// Orders one product; returns the order.
    pub(crate) async fn placed(&self, user: &User, product: i64, quantity: i64) -> Value {
        self.order(user, product, quantity).await.expect_json(201)
    }

    /// The conservation check, as staff sees it.
    pub(crate) async fn audit(&self, staff: &User) -> Value {
        self.get_as(staff, "/api/audit/").await.expect_json(200)
    }

    /// Insists that the books agree.
    pub(crate) async fn audit_is_clean(&self, staff: &User) {
        let audit = self.audit(staff).await;
        assert_eq!(audit["ok"], json!(true), "{audit}");
        assert_eq!(audit["discrepancies"], json!([]), "{audit}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(quit) = self.quit.take() {
            quit.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn serve(
    settings: Settings,
    ready: oneshot::Sender<(std::net::SocketAddr, Shop)>,
    told_to_quit: oneshot::Receiver<()>,
) {
    let url = settings.database_url.clone().expect("a database");
    let database = Database::connect(&settings.database(url)).await.expect("the test's database");
    let shop_settings = settings.shop_of_a_node().expect("settings of the shop");
    let shop = Shop::start(shop_settings, Arc::new(database)).await.expect("the shop starts");
    let application = Application::build(settings.http, shop.clone()).expect("a free port");
    let handle = application.handle();
    if ready.send((application.addr(), shop.clone())).is_err() {
        return;
    }
    actix_web::rt::spawn(async move {
        told_to_quit.await.ok();
        shop.stop().await;
        handle.stop(false).await;
    });
    application.run().await.expect("the server runs");
}

/// The environment of a node on this database.
fn variables_with(database: &TestDatabase, folder: &Folder, own: &[(&str, &str)]) -> Vec<(String, String)> {
    let data = folder.path().display().to_string();
    let defaults = [
        ("DATABASE_URL", database.url()),
        ("JWT_SECRET", JWT_SECRET),
        ("EMPORIUM_DATA", &data),
        ("PORT", "0"),
        ("EMPORIUM_HTTP__WORKERS", "2"),
        ("EMPORIUM_DATABASE__POOL_SIZE", "6"),
        ("EMPORIUM_RATE_LIMIT__SIGN_IN_FAILURES_PER_MINUTE", "0"),
    ];
    defaults.iter().chain(own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The body of an order without a cart.
pub(crate) fn order_of(lines: &[(i64, i64)]) -> Value {
    let items: Vec<Value> =
        lines.iter().map(|(product, quantity)| json!({"product": product, "quantity": quantity})).collect();
    json!({ "items": items })
}

/// What tests ask of an answer.
pub(crate) trait Expect {
    /// The JSON body of an answer that must have this status.
    fn expect_json(&self, status: u16) -> Value;
    /// Insists on a status.
    fn expect_status(&self, status: u16) -> &Self;
}

impl Expect for Answer {
    fn expect_json(&self, status: u16) -> Value {
        self.expect_status(status);
        self.json().unwrap_or_else(|error| panic!("{error}"))
    }

    fn expect_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// What tests read from a body.
pub(crate) trait Body {
    /// The member `id`.
    fn id(&self) -> i64;
    /// The ids of a list.
    fn ids(&self) -> Vec<i64>;
}

impl Body for Value {
    fn id(&self) -> i64 {
        self["id"].as_i64().unwrap_or_else(|| panic!("no id in {self}"))
    }

    fn ids(&self) -> Vec<i64> {
        self.as_array().unwrap_or_else(|| panic!("no list: {self}")).iter().map(Body::id).collect()
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(within: Duration, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let until = Instant::now() + within;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The rows of a table that did not hold, all told at once at the end.
#[derive(Default)]
pub(crate) struct Mismatches(Vec<String>);

impl Mismatches {
    /// Notes a row unless it holds.
    pub(crate) fn check(&mut self, holds: bool, row: impl FnOnce() -> String) {
        if !holds {
            self.0.push(row());
        }
    }

    /// Insists that every row held.
    pub(crate) fn none(self) {
        assert!(self.0.is_empty(), "{} rows do not hold:\n{}", self.0.len(), self.0.join("\n"));
    }
}
