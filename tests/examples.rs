//! The clients in `examples/`: run against a node that comes and goes, they miss nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{Body, Expect, Folder, PASSWORD, TestApp, User, Wire, eventually, python};

/// How long an example may take to come back and catch up; its pauses are random.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Language {
    Rust,
    Python,
}

impl Language {
    fn program(self) -> Command {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        match self {
            Self::Rust => {
                let built = Path::new(env!("CARGO_BIN_EXE_emporium")).with_file_name("examples").join("feed");
                assert!(built.exists(), "{}: build the examples, too", built.display());
                Command::new(built)
            }
            Self::Python => {
                let mut python = Command::new(python("import websockets"));
                python.arg(sources.join("feed.py"));
                python
            }
        }
    }

    /// Starts the example at the end of the wire; it ends with the value.
    fn start(self, wire: &Wire, username: &str, arguments: &[&str]) -> Child {
        self.program()
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHOP_URL", wire.target.to_string())
            .env("SHOP_USERNAME", username)
            .env("SHOP_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the example starts")
    }
}

/// The file that an example keeps of the order feed.
struct Log(PathBuf);

impl Log {
    fn in_folder(folder: &Folder) -> Self {
        Self(folder.path().join("orders.ndjson"))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    /// Its whole lines.
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    fn add(&self, text: &str) {
        let old = std::fs::read_to_string(&self.0).unwrap_or_default();
        std::fs::write(&self.0, old + text).expect("a file to write to");
    }

    /// Waits until it tells of the last order event.
    async fn is_up_to_date(&self, app: &TestApp) {
        let last = app.count("SELECT coalesce(max(seq), 0) FROM events WHERE kind = 'order'").await;
        eventually(PATIENCE, &format!("the log comes to {last}"), async || {
            (self.lines().last()?["seq"].as_i64()? >= last).then_some(())
        })
        .await;
    }

    /// Insists that it tells of each order event of the table since it began, once and in order.
    async fn is_the_table(&self, app: &TestApp) {
        let lines = self.lines();
        let (first, events) = lines.split_first().expect("a beginning");
        assert_eq!(first["type"], "ready");
        let began = first["seq"].as_i64().expect("a number");
        let sql = format!(
            "SELECT seq, subject, event, status FROM events WHERE kind = 'order' AND seq > {began} ORDER BY seq"
        );
        let rows = app.database().rows(&sql).await;
        let expected: Vec<Value> = rows
            .iter()
            .map(|row| {
                let (seq, order): (i64, i64) = (row.get(0), row.get(1));
                let (event, status): (&str, &str) = (row.get(2), row.get(3));
                json!([seq, order, event, status])
            })
            .collect();
        let told: Vec<Value> = events
            .iter()
            .map(|line| {
                assert_eq!(line["type"], "order");
                json!([line["seq"], line["order"], line["event"], line["status"]])
            })
            .collect();
        assert_eq!(told, expected);
        assert!(told.len() >= 20, "{} events are no test", told.len());
    }
}

struct Market {
    app: TestApp,
    staff: User,
    anna: User,
    lamp: i64,
    folder: Folder,
}

impl Market {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
        let lamp = app.product(&staff, "lamp", "2.50", 100_000).await;
        Self { app, staff, anna, lamp, folder: Folder::new() }
    }

    /// Places some orders at once, and moves the first one on.
    async fn trade(&self, orders: usize) {
        let placed: Vec<Value> = stream::iter(0..orders)
            .map(|_| self.app.placed(&self.anna, self.lamp, 1))
            .buffer_unordered(20)
            .collect()
            .await;
        let path = format!("/api/orders/{}/pay/", placed[0].id());
        self.app.post_as(&self.staff, &path, &json!({})).await.expect_status(200);
    }

    async fn correct(&self, product: i64, delta: i64) {
        let body = json!({"delta": delta, "reason": "test"});
        let path = format!("/api/products/{product}/stock/");
        self.app.post_as(&self.staff, &path, &body).await.expect_status(200);
    }
}

async fn tells_each_order_event_once_and_in_order(language: Language) {
    let market = Market::open().await;
    let (app, log) = (&market.app, Log::in_folder(&market.folder));
    let mut node = app.process_with(&[]).await;
    let wire = Wire::to(&node.target).await;
    let watcher = app.staff_named("watcher").await;
    let arguments = ["orders", log.path()];
    let mut example = language.start(&wire, "watcher", &arguments);
    eventually(PATIENCE, "the example listens", async || (!log.lines().is_empty()).then_some(())).await;
    market.trade(3).await;
    log.is_up_to_date(app).await;

    // The connection breaks.
    wire.cut();
    market.trade(3).await;
    log.is_up_to_date(app).await;
    // Too slow.
    wire.close_sockets("/ws/orders/", 4008);
    market.trade(2).await;
    log.is_up_to_date(app).await;
    // The access token has run out.
    wire.close_sockets("/ws/orders/", 4001);
    market.trade(2).await;
    log.is_up_to_date(app).await;
    assert_eq!(wire.requests("POST /api/auth/token/refresh/"), 1);
    assert_eq!(wire.requests("POST /api/auth/login/"), 1);
    // The whole session has.
    app.post_as(&watcher, "/api/auth/logout/all/", &json!({})).await.expect_status(204);
    market.trade(2).await;
    log.is_up_to_date(app).await;
    assert_eq!(wire.requests("POST /api/auth/login/"), 2);
    // The node is killed, and nobody is there for a while.
    wire.lose();
    node.kill().await;
    market.trade(2).await;
    let other = app.second_node().await;
    wire.lead_to(&other.target);
    log.is_up_to_date(app).await;
    // The example is killed while it writes.
    example.kill().await.expect("it is killed");
    log.add(r#"{"type":"order","se"#);
    market.trade(2).await;
    let _example = language.start(&wire, "watcher", &arguments);
    log.is_up_to_date(app).await;
    // The node stops in good order.
    let third = app.second_node().await;
    wire.lead_to(&third.target);
    other.shop.stop().await;
    market.trade(2).await;
    log.is_up_to_date(app).await;

    log.is_the_table(app).await;
    assert!(wire.requests("GET /ws/orders/?since=") >= 7);
}

#[tokio::test]
async fn the_rust_example_tells_each_order_event_once_and_in_order_whatever_breaks() {
    tells_each_order_event_once_and_in_order(Language::Rust).await;
}

#[tokio::test]
async fn the_python_example_tells_each_order_event_once_and_in_order_whatever_breaks() {
    tells_each_order_event_once_and_in_order(Language::Python).await;
}

async fn reads_all_orders_anew_after_a_reset(language: Language) {
    let market = Market::open().await;
    let (app, log) = (&market.app, Log::in_folder(&market.folder));
    // More than a page of a list.
    market.trade(1001).await;
    market.app.forget_events().await;
    log.add("{\"type\":\"ready\",\"seq\":1}\n");
    let wire = Wire::to(&app.target).await;
    let _example = language.start(&wire, "boss", &["orders", log.path()]);
    log.is_up_to_date(app).await;
    market.trade(1).await;
    log.is_up_to_date(app).await;
    let lines = log.lines();
    let kinds: Vec<&str> = lines.iter().map(|line| line["type"].as_str().expect("a type")).collect();
    let mut expected = vec!["ready"];
    expected.extend(["state"; 1001]);
    expected.extend(["reset", "order", "order"]);
    assert_eq!(kinds, expected);
    let told = lines[1..=1001].iter().map(|line| {
        let text = |name: &str| line[name].as_str().expect(name).to_owned();
        (line["order"].as_i64().expect("an order"), (text("status"), text("total_price")))
    });
    let told: BTreeMap<_, _> = told.collect();
    let newest = lines[1003]["order"].as_i64().expect("an order");
    let rows = app.database().rows(&format!("SELECT id, status FROM orders WHERE id <> {newest}")).await;
    let there = rows.iter().map(|row| (row.get(0), (row.get(1), "2.50".to_owned())));
    assert_eq!(told, there.collect());
}

#[tokio::test]
async fn the_rust_example_reads_all_orders_anew_after_a_reset() {
    reads_all_orders_anew_after_a_reset(Language::Rust).await;
}

#[tokio::test]
async fn the_python_example_reads_all_orders_anew_after_a_reset() {
    reads_all_orders_anew_after_a_reset(Language::Python).await;
}

/// What an example prints of stocks.
struct Printed {
    lines: Lines<BufReader<ChildStdout>>,
    /// The last stock of each product.
    stock: BTreeMap<i64, Option<i64>>,
    last_seq: i64,
}

impl Printed {
    fn by(example: &mut Child) -> Self {
        let stdout = example.stdout.take().expect("its output");
        Self { lines: BufReader::new(stdout).lines(), stock: BTreeMap::new(), last_seq: 0 }
    }

    /// Reads on until it has said so of every product.
    async fn until(&mut self, expected: &[(i64, Option<i64>)]) {
        let expected: BTreeMap<_, _> = expected.iter().copied().collect();
        let said = tokio::time::timeout(PATIENCE, async {
            while self.stock != expected {
                let line = self.lines.next_line().await.expect("its output").expect("it goes on");
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                let seq = line["seq"].as_i64().expect("a number");
                assert!(seq >= self.last_seq, "{line} after {}", self.last_seq);
                self.last_seq = seq;
                self.stock.insert(line["product"].as_i64().expect("a product"), line["stock"].as_i64());
            }
        });
        assert!(said.await.is_ok(), "{:?} instead of {expected:?}", self.stock);
    }
}

async fn prints_the_stock_there_is(language: Language) {
    let market = Market::open().await;
    let (app, staff, lamp) = (&market.app, &market.staff, market.lamp);
    let chair = app.product(staff, "chair", "40.00", 7).await;
    let table = app.product(staff, "table", "80.00", 3).await;
    let wire = Wire::to(&app.target).await;
    let mut example = language.start(&wire, "", &["stock", &format!("{lamp},{chair},{table}")]);
    let mut printed = Printed::by(&mut example);
    let full = Some(100_000);
    printed.until(&[(lamp, full), (chair, Some(7)), (table, Some(3))]).await;
    market.correct(chair, -2).await;
    printed.until(&[(lamp, full), (chair, Some(5)), (table, Some(3))]).await;
    // What is missed comes after the break, the latest alone, what is gone included.
    wire.lose();
    market.correct(chair, -1).await;
    market.correct(chair, -1).await;
    app.delete_as(staff, &format!("/api/products/{table}/")).await.expect_status(204);
    wire.lead_to(&app.target);
    printed.until(&[(lamp, full), (chair, Some(3)), (table, None)]).await;
    assert!(wire.requests("GET /ws/stock/") >= 2);
    // The same when the log goes back less far than that.
    wire.lose();
    market.correct(lamp, 5).await;
    app.delete_as(staff, &format!("/api/products/{chair}/")).await.expect_status(204);
    app.placed(&market.anna, lamp, 1).await;
    market.app.forget_events().await;
    wire.lead_to(&app.target);
    printed.until(&[(lamp, Some(100_004)), (chair, None), (table, None)]).await;
    market.correct(lamp, 1).await;
    printed.until(&[(lamp, Some(100_005)), (chair, None), (table, None)]).await;
}

#[tokio::test]
async fn the_rust_example_prints_the_stock_there_is_whatever_breaks() {
    prints_the_stock_there_is(Language::Rust).await;
}

#[tokio::test]
async fn the_python_example_prints_the_stock_there_is_whatever_breaks() {
    prints_the_stock_there_is(Language::Python).await;
}

async fn gives_up_where_coming_back_is_no_use(language: Language) {
    let app = TestApp::start().await;
    let (wire, folder) = (Wire::to(&app.target).await, Folder::new());
    let log = Log::in_folder(&folder);
    for arguments in [["orders", log.path()], ["stock", "lamp"]] {
        let mut example = language.start(&wire, "nobody", &arguments);
        let status =
            tokio::time::timeout(PATIENCE, example.wait()).await.expect("it ends").expect("a status");
        assert_eq!(status.code(), Some(1), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_rust_example_gives_up_where_coming_back_is_no_use() {
    gives_up_where_coming_back_is_no_use(Language::Rust).await;
}

#[tokio::test]
async fn the_python_example_gives_up_where_coming_back_is_no_use() {
    gives_up_where_coming_back_is_no_use(Language::Python).await;
}
