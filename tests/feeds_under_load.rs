//! Readers on two nodes while sixteen customers buy there, and one node is killed in the middle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use emporium::loadtest::client::{Client, ClientError, Request, Target};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Body, Next, Socket, TestApp, User, order_of, steady_port};

const WRITERS: usize = 16;
/// Orders before the kill, while the node is away, and after it is back.
const ORDERS_A_PART: usize = 300;
/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What everybody in the test knows.
struct Scene {
    /// The last event before anything was sold.
    began: i64,
    nodes: [Target; 2],
    products: Vec<i64>,
    /// Orders placed so far.
    placed: AtomicUsize,
    /// No more orders are placed.
    over: AtomicBool,
    /// The last event, once it is over.
    last_seq: std::sync::OnceLock<i64>,
}

impl Scene {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    async fn until_placed(&self, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.placed.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < until, "not {count} orders in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A feed on either node.
    async fn open(&self, path: &str, access: Option<&str>) -> Option<Socket> {
        let node = &self.nodes[rand::random_range(0..self.nodes.len())];
        let bearer = access.map(|access| format!("Bearer {access}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        match Socket::open(node, path, &headers).await {
            Ok(socket) => Some(socket),
            Err(0 | 503) => None,
            Err(status) => panic!("{path}: {status}"),
        }
    }
}

/// Sends a request again and again until it is answered for good.
async fn persist(client: &mut Client, request: &Request) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no answer");
        match client.send(request).await {
            Ok(answer) if answer.status == 503 => {}
            Ok(answer) if answer.status < 300 => return answer.json().expect("JSON"),
            Ok(answer) => panic!("{}", answer.text()),
            Err(ClientError::Connect { .. } | ClientError::Lost(_) | ClientError::Body(_)) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Places orders, and cancels every third, on one node, until it is over.
async fn buy(scene: &Scene, number: usize, user: &User) {
    let mut client = Client::new(scene.nodes[number % 2].clone()).timeout(Duration::from_secs(10));
    for n in 0.. {
        if scene.is_over() {
            return;
        }
        let product = scene.products[rand::random_range(0..scene.products.len())];
        let keyed = |path: &str| {
            Request::post(path).bearer(&user.access).header("idempotency-key", format!("{number}-{n}"))
        };
        let order = persist(&mut client, &keyed("/api/orders/").json(&order_of(&[(product, 1)]))).await;
        scene.placed.fetch_add(1, Ordering::Relaxed);
        if n % 3 == 0 {
            let path = format!("/api/orders/{}/cancel/", order.id());
            persist(&mut client, &keyed(&path).json(&json!({}))).await;
        }
    }
}

/// A reader that goes away now and then and comes back to either node.
struct Reader {
    path: String,
    access: Option<String>,
    /// Where to resume; a feed of all stock alone is told nothing at the beginning, and needs nothing.
    since: Option<i64>,
    connections: usize,
    /// How the last connection ended.
    ended: Option<u16>,
}

impl Reader {
    fn of(path: &str, user: Option<&User>, since: Option<i64>) -> Self {
        let access = user.map(|user| user.access.clone());
        Self { path: path.to_owned(), access, since, connections: 0, ended: None }
    }

    /// Passes on every message until `hear` has had enough.
    async fn read(&mut self, scene: &Scene, mut hear: impl FnMut(&Value) -> bool) {
        let until = Instant::now() + 3 * PATIENCE;
        loop {
            let Self { path, since, connections, ended, .. } = &*self;
            assert!(
                Instant::now() < until,
                "{path}: not all was told up to {since:?}, by {connections} connections, the last {ended:?}"
            );
            let separator = if self.path.contains('?') { '&' } else { '?' };
            let since = self.since.map(|since| format!("{separator}since={since}")).unwrap_or_default();
            let path = format!("{}{since}", self.path);
            let Some(mut socket) = scene.open(&path, self.access.as_deref()).await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            self.connections += 1;
            let leaves = Instant::now() + Duration::from_millis(rand::random_range(1..250));
            while let Some(time) = leaves.checked_duration_since(Instant::now()) {
                let message = match socket.next_within(time).await {
                    Some(Next::Json(message)) => message,
                    // It is time to go, or the node is gone.
                    None => break,
                    Some(Next::Closed(code @ (1001 | 1006 | 1013))) => {
                        self.ended = Some(code);
                        break;
                    }
                    Some(Next::Closed(code)) => panic!("{}: closed with {code}", self.path),
                };
                assert!(message["type"] != "reset" && message["type"] != "error", "{message}");
                self.since = message["seq"].as_i64().max(self.since);
                if hear(&message) {
                    return;
                }
            }
        }
    }
}

/// Number, order and event.
type Told = (i64, i64, String);

/// Hears of orders until the last event of them, and gives everything in the order in which it came.
async fn hear_orders(scene: &Scene, user: &User, is_last: impl Fn(i64) -> bool) -> (Vec<Told>, usize) {
    let mut reader = Reader::of("/ws/orders/", Some(user), Some(scene.began));
    let mut told = Vec::new();
    reader
        .read(scene, |message| {
            if message["type"] == "order" {
                let number = |name: &str| message[name].as_i64().expect(name);
                told.push((
                    number("seq"),
                    number("order"),
                    message["event"].as_str().expect("event").to_owned(),
                ));
            }
            told.last().is_some_and(|(seq, _, _)| is_last(*seq))
        })
        .await;
    (told, reader.connections)
}

/// Insists that this was heard, and shows where it begins to differ.
fn is_same(heard: &[Told], table: &[Told]) {
    let place = heard.iter().zip(table).take_while(|(heard, row)| heard == row).count();
    let next = |list: &[Told]| list.iter().skip(place).take(3).cloned().collect::<Vec<_>>();
    assert!(
        heard.len() == place && table.len() == place,
        "after {place} events: {:?} for {:?}",
        next(heard),
        next(table)
    );
}

/// Follows stock until it holds what there is; gives that.
async fn hear_stock(scene: &Scene, path: String, wanted: &std::sync::OnceLock<BTreeMap<i64, i64>>) -> usize {
    let mut reader = Reader::of(&path, None, None);
    let mut held = BTreeMap::new();
    reader
        .read(scene, |message| {
            let note = |shelf: &Value, held: &mut BTreeMap<i64, i64>| {
                let number = |name: &str| shelf[name].as_i64().expect(name);
                held.insert(number("product"), number("stock"));
            };
            match message["type"].as_str() {
                Some("snapshot") => {
                    message["products"]
                        .as_array()
                        .expect("products")
                        .iter()
                        .for_each(|shelf| note(shelf, &mut held));
                }
                Some("stock") => note(message, &mut held),
                _ => {}
            }
            wanted.get().is_some_and(|wanted| *wanted == held)
        })
        .await;
    reader.connections
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_hears_each_event_once_and_in_order_though_a_node_is_killed() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (anna, bert) = tokio::join!(app.customer("anna"), app.customer("bert"));
    let category = app.category(&staff, "all").await;
    let mut products = Vec::new();
    for name in ["lamp", "chair", "table", "cup", "vase"] {
        products.push(app.product_in(&staff, category, name, "2.50", 1_000_000).await);
    }
    let port = steady_port();
    let second = format!("http://127.0.0.1:{port}").parse().expect("a target");
    let own = port.to_string();
    let own = [("PORT", own.as_str())];
    let mut node = app.process_with(&own).await;
    let scene = Scene {
        began: app.count("SELECT last_seq FROM event_counter").await,
        nodes: [app.target.clone(), second],
        products: products.clone(),
        placed: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        last_seq: std::sync::OnceLock::new(),
    };
    let (last_of_anna, stock) = (std::sync::OnceLock::new(), std::sync::OnceLock::new());
    let is_last = |last: &std::sync::OnceLock<i64>, seq: i64| last.get().is_some_and(|last| seq >= *last);

    let writers = async {
        join_all((0..WRITERS).map(|n| buy(&scene, n, if n % 4 == 0 { &anna } else { &bert }))).await;
        let last = "SELECT max(seq) FROM events WHERE kind = 'order'";
        let of_anna = app.count(&format!("{last} AND user_id = {}", anna.id)).await;
        let rows = app.database().rows("SELECT product_id, quantity FROM stock").await;
        stock
            .set(rows.iter().map(|row| (row.get(0), row.get(1))).collect::<BTreeMap<i64, i64>>())
            .expect("once");
        last_of_anna.set(of_anna).expect("once");
        scene.last_seq.set(app.count(last).await).expect("once");
    };
    let director = async {
        scene.until_placed(ORDERS_A_PART).await;
        node.kill().await;
        scene.until_placed(2 * ORDERS_A_PART).await;
        node = app.process_with(&own).await;
        scene.until_placed(3 * ORDERS_A_PART).await;
        scene.over.store(true, Ordering::Relaxed);
    };
    let of_all = join_all((0..6).map(|_| hear_orders(&scene, &staff, |seq| is_last(&scene.last_seq, seq))));
    let of_anna = join_all((0..2).map(|_| hear_orders(&scene, &anna, |seq| is_last(&last_of_anna, seq))));
    let list = products.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let paths = [
        format!("/ws/stock/?products={list}"),
        format!("/ws/stock/?category={category}"),
        "/ws/stock/?all=true".to_owned(),
    ];
    let of_stock = join_all(paths.into_iter().cycle().take(6).map(|path| hear_stock(&scene, path, &stock)));
    let ((), (), of_all, of_anna, of_stock) = tokio::join!(director, writers, of_all, of_anna, of_stock);

    let table = app
        .database()
        .rows("SELECT seq, subject, event, user_id FROM events WHERE kind = 'order' ORDER BY seq")
        .await;
    let told = |of: Option<i64>, last: i64| -> Vec<Told> {
        let wanted = table.iter().filter(|row| of.is_none_or(|of| row.get::<_, i64>(3) == of));
        let told = wanted.map(|row| (row.get(0), row.get(1), row.get::<_, String>(2)));
        told.take_while(|(seq, _, _)| *seq <= last).collect()
    };
    let (last, last_of_anna) = (scene.last_seq.get().expect("an end"), last_of_anna.get().expect("an end"));
    let mut connections = 0;
    for (heard, times) in of_all {
        is_same(&heard, &told(None, *last));
        connections += times;
    }
    for (heard, times) in of_anna {
        is_same(&heard, &told(Some(anna.id), *last_of_anna));
        connections += times;
    }
    connections += of_stock.iter().sum::<usize>();
    assert!(table.len() > 3 * ORDERS_A_PART, "{} events", table.len());
    assert!(connections > 14 * 5, "{connections} connections; the readers hardly ever went away");
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}
