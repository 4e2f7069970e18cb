//! Nodes that are killed, connections that break: what was told has happened, and happened once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use emporium::loadtest::client::{Client, ClientError, Request};
use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Body, Cut, Expect, TestApp, User, order_of, steady_port};

/// A customer who asks again, with the same key, until there is an order.
struct Persistent<'a> {
    connection: Client,
    user: &'a User,
    product: i64,
    name: usize,
    /// Whether the orders carry keys; without, asking again would be a second order.
    has_keys: bool,
    told: Told,
}

/// What the customers of a test were told.
#[derive(Default)]
struct Told {
    /// The order of each key.
    orders: Vec<i64>,
    /// Keys that were sent more than once.
    retried: usize,
    /// Of those, the ones whose order had been placed without anybody being told.
    replayed: usize,
}

impl Persistent<'_> {
    /// Places orders, one after the other, until `enough`.
    async fn order_until(mut self, enough: impl Fn(&Told) -> bool) -> Told {
        while !enough(&self.told) {
            self.order().await;
        }
        self.told
    }

    async fn order(&mut self) {
        let key = format!("{}-{}", self.name, self.told.orders.len());
        let request = Request::post("/api/orders/").bearer(&self.user.access);
        let request = if self.has_keys { request.header("idempotency-key", key) } else { request };
        let request = request.json(&order_of(&[(self.product, 1)]));
        let until = Instant::now() + Duration::from_secs(30);
        for attempt in 0.. {
            assert!(Instant::now() < until, "no order after {attempt} attempts");
            assert!(self.has_keys || attempt == 0, "nobody can tell whether there is an order");
            match self.connection.send(&request).await {
                Ok(answer) if answer.status == 503 => {}
                Ok(answer) => {
                    let order = answer.expect_json(201);
                    assert_eq!(order["items"][0]["product"], json!(self.product));
                    self.told.orders.push(order.id());
                    self.told.retried += usize::from(attempt > 0);
                    self.told.replayed += usize::from(answer.header("idempotency-replayed").is_some());
                    return;
                }
                Err(ClientError::Connect { .. } | ClientError::Lost(_) | ClientError::Body(_)) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Told {
    fn by_all(customers: Vec<Self>) -> Self {
        let mut all = Self::default();
        for told in customers {
            all.orders.extend(told.orders);
            all.retried += told.retried;
            all.replayed += told.replayed;
        }
        all
    }

    /// Insists that exactly the orders that were told are there, and what they took is taken.
    async fn is_what_happened(&self, app: &TestApp, staff: &User) {
        let told: HashSet<i64> = self.orders.iter().copied().collect();
        assert_eq!(told.len(), self.orders.len(), "two keys, one order");
        let there = app.database().rows("SELECT id FROM orders").await;
        assert_eq!(there.iter().map(|row| row.get(0)).collect::<HashSet<i64>>(), told);
        app.audit_is_clean(staff).await;
        app.database().event_log_is_whole().await;
    }
}

/// Kills and restarts a process `times` times, half of them at once when a COMMIT becomes visible.
async fn kill_again_and_again(app: &TestApp, port: u16, times: usize, over: &AtomicBool) {
    let port = port.to_string();
    let own = [("PORT", port.as_str())];
    let watcher = app.database().client().await;
    let last_seq = async || -> i64 {
        let sql = "SELECT last_seq FROM event_counter";
        watcher.query_one(sql, &[]).await.expect("the last number").get(0)
    };
    let mut node = app.process_with(&own).await;
    for time in 0..times {
        let before = last_seq().await;
        // Long enough for the customers to be back at work.
        while last_seq().await < before + 40 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if time % 2 == 0 {
            let before = last_seq().await;
            while last_seq().await == before {}
        } else {
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..40))).await;
        }
        node.kill().await;
        node = app.process_with(&own).await;
    }
    over.store(true, Ordering::Relaxed);
    // Open until every customer has got their last answer.
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_fifty_times_loses_no_order_and_places_none_twice() {
    const KILLS: usize = 50;
    let app = TestApp::start().await;
    let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
    let lamp = app.product(&staff, "lamp", "2.50", 1_000_000).await;
    let (port, over) = (steady_port(), AtomicBool::new(false));
    let target = format!("http://127.0.0.1:{port}").parse::<emporium::loadtest::client::Target>().unwrap();
    let customers = join_all((0..12).map(|name| {
        let connection = Client::new(target.clone()).timeout(Duration::from_secs(10));
        let (has_keys, told) = (true, Told::default());
        let customer = Persistent { connection, user: &anna, product: lamp, name, has_keys, told };
        customer.order_until(|_| over.load(Ordering::Relaxed))
    }));
    let told = tokio::select! {
        told = customers => Told::by_all(told),
        () = kill_again_and_again(&app, port, KILLS, &over) => unreachable!(),
    };
    told.is_what_happened(&app, &staff).await;
    assert!(told.orders.len() > KILLS * 20, "{} orders", told.orders.len());
    assert!(told.retried >= KILLS, "{} keys were sent again", told.retried);
    // Otherwise nothing was killed between its COMMIT and its answer, and the test shows little.
    assert!(told.replayed > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_looked_up_and_one_that_was_lost_is_done_again() {
    for cut in [Cut::AfterCommit, Cut::BeforeCommit] {
        let app = TestApp::start().await;
        let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
        let lamp = app.product(&staff, "lamp", "2.50", 1_000).await;
        let wire = app.proxy(cut).await;
        let node = app.second_node_with(&[("DATABASE_URL", wire.url())]).await;
        wire.arm();
        let customers = (0..4).map(|name| {
            let (connection, has_keys, told) = (node.client(), name % 2 == 0, Told::default());
            let customer = Persistent { connection, user: &anna, product: lamp, name, has_keys, told };
            customer.order_until(|told| told.orders.len() == 10)
        });
        let told = Told::by_all(join_all(customers).await);
        assert!(wire.cuts() >= 5, "{} of {cut:?}", wire.cuts());
        // The node itself finds out; no customer has to ask twice, and none is told of a replay.
        assert_eq!((told.orders.len(), told.retried, told.replayed), (40, 0, 0), "{cut:?}");
        told.is_what_happened(&app, &staff).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_ended_again_and_again_lose_no_order_and_place_none_twice() {
    const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'shaken' AND datname = current_database() AND backend_xid IS NOT NULL
        LIMIT 1";
    let app = TestApp::start().await;
    let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
    let lamp = app.product(&staff, "lamp", "2.50", 1_000_000).await;
    let url = app.database_url_as("shaken");
    let node = app.second_node_with(&[("DATABASE_URL", &url)]).await;
    let (over, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    let shake = async {
        let client = app.database().client().await;
        while ended.load(Ordering::Relaxed) < 60 {
            let rows = client.query(END, &[]).await.expect("a transaction's connection to end");
            ended.fetch_add(rows.len(), Ordering::Relaxed);
            // Time for another connection, or to look again.
            tokio::time::sleep(Duration::from_millis(if rows.is_empty() { 1 } else { 40 })).await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let customers = (0..12).map(|name| {
        let (connection, has_keys, told) = (node.client(), true, Told::default());
        let customer = Persistent { connection, user: &anna, product: lamp, name, has_keys, told };
        customer.order_until(|_| over.load(Ordering::Relaxed))
    });
    let ((), told) = tokio::join!(shake, join_all(customers));
    let told = Told::by_all(told);
    assert!(told.orders.len() > 20, "{} orders", told.orders.len());
    told.is_what_happened(&app, &staff).await;
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_in_time_is_a_503_that_has_changed_nothing() {
    let app = TestApp::start_with(&[("EMPORIUM_DATABASE__LOCK_TIMEOUT_MS", "150")]).await;
    let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
    let category = app.category(&staff, "all").await;
    let lamp = app.product_in(&staff, category, "lamp", "2.50", 10).await;
    let order = app.placed(&anna, lamp, 1).await.id();
    app.post_as(&anna, "/api/cart/items/", &json!({"product": lamp, "quantity": 1})).await.expect_status(201);
    let (by_cart, by_lines) = (json!({}), order_of(&[(lamp, 1)]));
    let late = json!({"name": "late", "price": "1.00", "category": category, "stock": 1});
    let cancel = format!("/api/orders/{order}/cancel/");
    let holder = app.database().client().await;
    for (table, user, path, body) in [
        ("stock", &anna, "/api/orders/", &by_lines),
        ("stock", &anna, "/api/orders/", &by_cart),
        ("cart_items", &anna, "/api/orders/", &by_cart),
        ("orders", &anna, cancel.as_str(), &json!({})),
        ("categories", &staff, "/api/products/", &late),
        ("event_counter", &anna, "/api/orders/", &by_lines),
    ] {
        let hold = format!("BEGIN; SELECT FROM {table} FOR UPDATE");
        holder.batch_execute(&hold).await.expect("the lock");
        let refused = app.post_as(user, path, body).await;
        assert_eq!(refused.status, 503, "{table} {path}: {}", refused.text());
        assert!(refused.retry_after().is_some(), "{table} {path}");
        holder.batch_execute("COMMIT").await.expect("the lock is released");
    }
    assert_eq!(app.stock(lamp).await, 9);
    app.audit_is_clean(&staff).await;
    for (path, body) in [(cancel.as_str(), &json!({})), ("/api/orders/", &by_cart)] {
        let status = app.post_as(&anna, path, body).await.status;
        assert!([200, 201].contains(&status), "{path}: {status}");
    }
    app.database().event_log_is_whole().await;
}
