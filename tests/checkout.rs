//! The checkout under load, on several processes at one database: nothing is sold twice, nothing is
//! lost, nothing is told before it is so.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use emporium::loadtest::client::{Answer, Client, Request};
use futures_util::future::join_all;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Body, Expect, Process, TestApp, User, eventually, order_of};

/// A shop whose customers come over several processes, and a node for what is not part of the rush.
struct Fair {
    app: TestApp,
    staff: User,
    buyers: Vec<User>,
    nodes: Vec<Process>,
}

impl Fair {
    async fn open(buyers: usize, processes: usize) -> Self {
        let app = TestApp::start().await;
        let names: Vec<String> = (0..buyers).map(|n| format!("buyer{n}")).collect();
        let url = app.database_url_as("fair");
        let own = [("DATABASE_URL", url.as_str())];
        let (staff, buyers, nodes) = tokio::join!(
            app.staff(),
            join_all(names.iter().map(|name| app.customer(name))),
            join_all((0..processes).map(|_| app.process_with(&own)))
        );
        Self { app, staff, buyers, nodes }
    }

    /// A connection of its own to one of the processes.
    fn connection(&self, number: usize) -> Client {
        self.nodes[number % self.nodes.len()].client()
    }

    fn buyer(&self, number: usize) -> &User {
        &self.buyers[number % self.buyers.len()]
    }

    async fn products(&self, count: usize, stock: i64) -> Vec<i64> {
        let category = self.app.category(&self.staff, &format!("{count} of {stock}")).await;
        let mut products = Vec::new();
        for n in 0..count {
            products.push(self.app.product_in(&self.staff, category, &format!("p{n}"), "1.25", stock).await);
        }
        products
    }

    /// Insists that stock, orders and events agree.
    async fn is_sound(&self) {
        self.app.audit_is_clean(&self.staff).await;
        self.app.database().event_log_is_whole().await;
    }

    async fn all_show(&self, product: i64, stock: i64) {
        for number in 0..self.nodes.len() {
            eventually(Duration::from_secs(2), "the process shows the stock", async || {
                let path = format!("/api/products/{product}/");
                let shown = self.connection(number).send(&Request::get(path)).await.expect("an answer");
                (shown.expect_json(200)["stock"] == json!(stock)).then_some(())
            })
            .await;
        }
    }

    /// Ends the processes and says how many deadlocks the database has had to break.
    async fn deadlocks(&mut self) -> i64 {
        for node in &mut self.nodes {
            node.kill().await;
        }
        // A connection reports what it counted when it ends.
        eventually(Duration::from_secs(5), "the connections of the processes are gone", async || {
            let there = "SELECT count(*) FROM pg_stat_activity
                WHERE application_name = 'fair' AND datname = current_database()";
            (self.app.count(there).await == 0).then_some(())
        })
        .await;
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        self.app.count(deadlocks).await
    }
}

fn placing(user: &User, body: &Value) -> Request {
    Request::post("/api/orders/").bearer(&user.access).json(body)
}

/// What an order took, by product.
fn lines_of(order: &Value) -> Vec<(i64, i64)> {
    let lines = order["items"].as_array().expect("lines");
    lines.iter().map(|line| (line["product"].as_i64().unwrap(), line["quantity"].as_i64().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_buyers_of_a_thousand_units_on_two_processes_get_a_thousand_orders() {
    const CONNECTIONS: usize = 64;
    const BUYERS: usize = 10_000;
    const UNITS: i64 = 1_000;
    let fair = Fair::open(16, 2).await;
    let lamp = fair.products(1, UNITS).await[0];
    let queues = (0..CONNECTIONS).map(|number| {
        let mut connection = fair.connection(number);
        let request = placing(fair.buyer(number / fair.nodes.len()), &order_of(&[(lamp, 1)]));
        let orders = (number..BUYERS).step_by(CONNECTIONS).count();
        async move {
            let mut placed = Vec::new();
            for _ in 0..orders {
                let answer = connection.send(&request).await.expect("an answer");
                if answer.status == 201 {
                    placed.push(answer.expect_json(201).id());
                } else {
                    assert_eq!(answer.expect_json(409)["code"], "out_of_stock");
                }
            }
            placed
        }
    });
    let placed = join_all(queues).await.concat();
    assert_eq!(placed.len(), 1_000);
    assert_eq!(placed.iter().collect::<HashSet<_>>().len(), 1_000, "an id given twice");
    assert_eq!(fair.app.count("SELECT count(*) FROM orders WHERE status = 'pending'").await, UNITS);
    assert_eq!(fair.app.count("SELECT sum(quantity)::bigint FROM order_items").await, UNITS);
    fair.all_show(lamp, 0).await;
    fair.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_twins_of_each_of_two_hundred_keys_are_two_hundred_orders() {
    const KEYS: usize = 200;
    const TWINS: usize = 100;
    let fair = Fair::open(1, 2).await;
    let products = fair.products(5, 1_000_000).await;
    // Every connection goes through the same keys, so the twins of a key are under way together.
    let twins = (0..TWINS).map(|number| {
        let (mut connection, user, products) = (fair.connection(number), fair.buyer(0), &products);
        async move {
            let mut answers = Vec::with_capacity(KEYS);
            for key in 0..KEYS {
                let product = products[key % products.len()];
                let request = placing(user, &order_of(&[(product, 1)]));
                let request = request.header("idempotency-key", format!("key-{key}"));
                answers.push(connection.send(&request).await.expect("an answer"));
            }
            answers
        }
    });
    let twins: Vec<Vec<Answer>> = join_all(twins).await;
    let mut ids = HashSet::new();
    for key in 0..KEYS {
        let answers: Vec<&Answer> = twins.iter().map(|answers| &answers[key]).collect();
        let order = answers[0].expect_json(201);
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (201, &answers[0].body), "key {key}");
        }
        let replayed =
            answers.iter().filter(|answer| answer.header("idempotency-replayed") == Some("true")).count();
        assert_eq!(replayed, TWINS - 1, "key {key}");
        ids.insert(order.id());
    }
    assert_eq!(ids.len(), KEYS);
    assert_eq!(fair.app.count("SELECT count(*) FROM orders").await, 200);
    fair.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_many_products_in_any_order_never_deadlock_and_add_up() {
    const STOCK: i64 = 100_000;
    // Two that wait for a third are off at the same moment, which is when they could deadlock.
    let mut fair = Fair::open(8, 3).await;
    let products = fair.products(80, STOCK).await;
    let queues = (0..30).map(|number| {
        let (mut connection, user, mut products) =
            (fair.connection(number), fair.buyer(number / fair.nodes.len()), products.clone());
        async move {
            let mut taken = Vec::new();
            for round in 0..15 {
                match (number + round) % 3 {
                    0 => products.sort_unstable(),
                    1 => products.sort_unstable_by(|a, b| b.cmp(a)),
                    _ => products.shuffle(&mut rand::rng()),
                }
                let lines: Vec<(i64, i64)> = products.iter().take(60).map(|product| (*product, 1)).collect();
                let answer = connection.send(&placing(user, &order_of(&lines))).await.expect("an answer");
                let order = answer.expect_json(201);
                assert_eq!(lines_of(&order), lines, "the order it was asked for in");
                if round % 3 == 0 {
                    let path = format!("/api/orders/{}/cancel/", order.id());
                    let cancel = Request::post(path).bearer(&user.access).json(&json!({}));
                    connection.send(&cancel).await.expect("an answer").expect_status(200);
                } else {
                    taken.extend(lines);
                }
            }
            taken
        }
    });
    let mut left: HashMap<i64, i64> = products.iter().map(|product| (*product, STOCK)).collect();
    for (product, quantity) in join_all(queues).await.concat() {
        *left.get_mut(&product).expect("a product") -= quantity;
    }
    for product in [products[0], products[79]] {
        fair.all_show(product, left[&product]).await;
    }
    for row in fair.app.database().rows("SELECT product_id, quantity FROM stock").await {
        assert_eq!(left.remove(&row.get(0)), Some(row.get(1)));
    }
    assert!(left.is_empty(), "{left:?}");
    fair.is_sound().await;
    assert_eq!(fair.deadlocks().await, 0);
}

/// One thing that somebody does in a shop in which everything happens at once; the answers that it
/// may get.
async fn act(connection: &mut Client, fair: &Fair, user: &User, shelf: &[i64], categories: &[i64]) -> Answer {
    let product = *shelf.choose(&mut rand::rng()).expect("a product");
    let category = *categories.choose(&mut rand::rng()).expect("a category");
    let (as_user, as_staff) = (
        |request: Request| request.bearer(&user.access),
        |request: Request| request.bearer(&fair.staff.access),
    );
    let path = format!("/api/products/{product}/");
    let (request, allowed): (Request, &[u16]) = match rand::random_range(0..100) {
        0..35 => {
            let body = json!({"product": product, "quantity": rand::random_range(1..5)});
            (as_user(Request::post("/api/cart/items/")).json(&body), &[201, 400])
        }
        35..40 => {
            let cart = connection.send(&as_user(Request::get("/api/cart/"))).await.expect("an answer");
            let items = cart.expect_json(200)["items"].clone();
            let Some(item) = items.ids().first().copied() else { return cart };
            let path = format!("/api/cart/items/{item}/");
            match rand::random_range(0..2) {
                0 => (as_user(Request::patch(path)).json(&json!({"quantity": 2})), &[200, 404]),
                _ => (as_user(Request::delete(path)), &[204, 404]),
            }
        }
        40..60 => (as_user(Request::post("/api/orders/")).json(&json!({})), &[201, 400, 409]),
        60..75 => {
            let other = *shelf.choose(&mut rand::rng()).expect("a product");
            let body = order_of(&[(product, 1), (other, 1)]);
            (as_user(Request::post("/api/orders/")).json(&body), &[201, 400, 409])
        }
        75..80 => {
            let body = json!({"delta": rand::random_range(-3..10), "reason": "recount"});
            (as_staff(Request::post(format!("{path}stock/"))).json(&body), &[200, 404, 409])
        }
        80..87 => {
            let body = json!({"price": format!("{}.50", rand::random_range(1..9)), "category": category});
            (as_staff(Request::patch(path)).json(&body), &[200, 400, 404])
        }
        87..92 => (as_staff(Request::patch(path)).json(&json!({"stock": 40})), &[200, 404]),
        92..96 => {
            let body = json!({"name": "late", "price": "1.00", "category": category, "stock": 5});
            (as_staff(Request::post("/api/products/")).json(&body), &[201, 400])
        }
        96..99 => (as_staff(Request::delete(path)), &[204, 404]),
        _ => (as_staff(Request::delete(format!("/api/categories/{category}/"))), &[204, 404]),
    };
    let answer = connection.send(&request).await.expect("an answer");
    assert!(allowed.contains(&answer.status), "{request:?}: {} {}", answer.status, answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkouts_amid_edits_and_removals_never_fail_and_add_up() {
    let mut fair = Fair::open(6, 2).await;
    let mut categories = Vec::new();
    let mut shelf = Vec::new();
    for name in 0..8 {
        let category = fair.app.category(&fair.staff, &format!("c{name}")).await;
        for n in 0..6 {
            let name = format!("p{name}-{n}");
            shelf.push(fair.app.product_in(&fair.staff, category, &name, "1.25", 40).await);
        }
        categories.push(category);
    }
    let queues = (0..24).map(|number| {
        let (mut connection, fair, shelf, categories) = (fair.connection(number), &fair, &shelf, &categories);
        async move {
            let mut orders = BTreeMap::new();
            for _ in 0..50 {
                let answer =
                    act(&mut connection, fair, fair.buyer(number / fair.nodes.len()), shelf, categories)
                        .await;
                let body: Value = answer.json().unwrap_or_default();
                if answer.status == 201 && body["total_price"].is_string() {
                    orders.insert(body.id(), lines_of(&body));
                }
            }
            orders
        }
    });
    let told: BTreeMap<i64, Vec<(i64, i64)>> = join_all(queues).await.into_iter().flatten().collect();
    fair.is_sound().await;
    let mut stored: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    let lines = "SELECT order_id, product_id, quantity FROM order_items ORDER BY order_id, line_no";
    for row in fair.app.database().rows(lines).await {
        stored.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    assert!(told.len() > 50, "{} orders", told.len());
    assert_eq!(told, stored);
    let sold_after_removal = "SELECT count(*) FROM events removed
        JOIN order_items i ON removed.kind = 'removed' AND i.product_id = removed.subject
        JOIN events placed ON placed.kind = 'order' AND placed.event = 'placed' AND placed.subject = i.order_id
        WHERE placed.seq > removed.seq";
    assert_eq!(fair.app.count(sold_after_removal).await, 0);
    assert_eq!(fair.deadlocks().await, 0);
}

/// A raw request, so that the client can hang up while it waits.
async fn ask_and_wait(app: &TestApp, user: &User, body: &Value) -> TcpStream {
    let address = app.target.to_string();
    let mut stream =
        TcpStream::connect(address.trim_start_matches("http://").trim_end_matches('/')).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /api/orders/ HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        user.access,
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn who_goes_away_before_the_order_began_buys_nothing() {
    let app = TestApp::start().await;
    let (staff, buyer) = tokio::join!(app.staff(), app.customer("buyer"));
    let held = app.product(&staff, "held", "1.00", 100).await;
    let ahead = app.database().client().await;
    ahead.batch_execute("BEGIN; SELECT FROM stock FOR UPDATE").await.unwrap();
    // The first batch waits for the lock; everybody else waits for the batch.
    let first = ask_and_wait(&app, &buyer, &order_of(&[(held, 1)])).await;
    app.database().waiting_for_locks(1).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(ask_and_wait(&app, &buyer, &order_of(&[(held, 2)])).await);
    }
    let mut staying = ask_and_wait(&app, &buyer, &order_of(&[(held, 5)])).await;
    // Looked after only once they have waited for a little.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(waiting);
    tokio::time::sleep(Duration::from_millis(50)).await;
    ahead.batch_execute("COMMIT").await.unwrap();
    let mut answer = [0; 12];
    staying.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    drop(first);
    assert_eq!(
        app.count("SELECT count(*) FROM orders").await,
        2,
        "the one that had begun, and the one that stayed"
    );
    assert_eq!(app.stock(held).await, 100 - 1 - 5);
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn a_price_changed_on_another_node_counts_from_the_next_order_on() {
    let app = TestApp::start().await;
    let other = app.second_node().await;
    let (staff, buyer) = tokio::join!(app.staff(), app.customer("buyer"));
    let cup = app.product(&staff, "cup", "1.00", 1000).await;
    for cents in 1..20 {
        let price = format!("{}.{:02}", cents / 10, cents % 10 * 10);
        let changed =
            other.patch_as(&staff, &format!("/api/products/{cup}/"), &json!({"price": price})).await;
        assert_eq!(changed.status, 200);
        let order = app.placed(&buyer, cup, 1).await;
        assert_eq!(
            order["total_price"],
            price.as_str(),
            "what the first node remembers is not the price any more"
        );
    }
    let renamed = other.patch_as(&staff, &format!("/api/products/{cup}/"), &json!({"name": "mug"})).await;
    assert_eq!(renamed.status, 200);
    assert_eq!(app.placed(&buyer, cup, 1).await["items"][0]["name"], "mug");
    assert_eq!(other.delete_as(&staff, &format!("/api/products/{cup}/")).await.status, 204);
    assert_eq!(app.order(&buyer, cup, 1).await.status, 400, "it has left the catalogue");
}
