//! Holds that run out: in time, once, and whatever happened to the nodes meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use emporium::loadtest::client::Request;
use serde_json::{Value, json};

use crate::harness::{
    Body, Expect, Folder, Next, Node, PASSWORD, Process, Socket, TestApp, TestDatabase, User, create_admin,
    eventually, order_of,
};

const HOLD: [(&str, &str); 1] = [("EMPORIUM_ORDERS__HOLD_S", "1")];

/// Insists that the orders have expired, each once and within `late_s` after its hold, but never before.
async fn expired_in_time(database: &TestDatabase, orders: &[i64], late_s: i64) {
    let rows = database
        .rows(
            "SELECT o.id, m.event, m.by_user IS NULL,
                    extract(epoch FROM m.at - o.expires_at)::float8 FROM orders o
             JOIN order_moves m ON m.order_id = o.id ORDER BY o.id",
        )
        .await;
    let expired: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(expired, orders);
    for row in &rows {
        let (event, by_the_shop, late): (&str, bool, f64) = (row.get(1), row.get(2), row.get(3));
        assert_eq!((event, by_the_shop), ("expired", true));
        assert!((0.0..late_s as f64).contains(&late), "{late} s late");
    }
}

/// Until every order has expired.
async fn all_expire(database: &TestDatabase, within: Duration) {
    eventually(within, "every hold runs out", async || {
        (database.count("SELECT count(*) FROM orders WHERE status <> 'expired'").await == 0).then_some(())
    })
    .await;
}

/// How often each event of each order is told, until nothing comes for a while.
async fn told_on(feed: &mut Socket) -> BTreeMap<(i64, String), usize> {
    let mut told = BTreeMap::new();
    while let Some(next) = feed.next_within(Duration::from_millis(1500)).await {
        let Next::Json(event) = next else { panic!("{next:?}") };
        if event["type"] == "order" {
            let name = event["event"].as_str().expect("a name").to_owned();
            *told.entry((event["order"].as_i64().expect("an order"), name)).or_default() += 1;
        }
    }
    told
}

async fn place(node: &Node, user: &User, product: i64, count: usize) -> Vec<i64> {
    let mut orders = Vec::new();
    for _ in 0..count {
        orders.push(node.placed(user, product, 2).await.id());
    }
    orders
}

#[tokio::test]
async fn holds_run_out_within_a_second_once_on_two_nodes_and_on_the_feed_of_both() {
    let app = TestApp::start_with(&HOLD).await;
    let second = app.second_node().await;
    let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
    let lamp = app.product(&staff, "lamp", "2.50", 100).await;
    let mut feeds =
        [app.socket_as(&staff, "/ws/orders/").await, second.socket_as(&staff, "/ws/orders/").await];
    for feed in &mut feeds {
        feed.next_of("ready").await;
    }
    let mut orders = place(&app, &anna, lamp, 10).await;
    orders.extend(place(&second, &anna, lamp, 10).await);
    all_expire(app.database(), Duration::from_secs(6)).await;
    // A busy machine may be a second later than the promise.
    expired_in_time(app.database(), &orders, 2).await;
    let expected: BTreeMap<(i64, String), usize> =
        orders.iter().flat_map(|id| ["placed", "expired"].map(|name| ((*id, name.to_owned()), 1))).collect();
    for feed in &mut feeds {
        assert_eq!(told_on(feed).await, expected);
    }
    for node in [&*app, &second] {
        assert_eq!(node.stock(lamp).await, 100);
        let order = node.get_as(&anna, &format!("/api/orders/{}/", orders[0])).await.expect_json(200);
        assert_eq!((&order["status"], &order["is_paid"]), (&json!("expired"), &json!(false)));
    }
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}

#[tokio::test]
async fn holds_that_ran_out_while_no_node_was_there_end_once_when_two_come_back() {
    let (database, folder) = (TestDatabase::create().await, Folder::new());
    create_admin(&database, &folder).await;
    let mut node = Process::on(&database, &folder, &HOLD).await;
    let mut connection = node.client();
    let post = |path: &str, body: &Value| Request::post(path).json(body);
    let sign_in = post("/api/auth/login/", &json!({"username": "boss", "password": PASSWORD}));
    let signed_in = connection.send(&sign_in).await.unwrap().expect_json(200);
    let access = signed_in["access"].as_str().unwrap();
    let category = post("/api/categories/", &json!({"name": "all"})).bearer(access);
    let category = connection.send(&category).await.unwrap().expect_json(201).id();
    let lamp = json!({"name": "lamp", "price": "2.50", "category": category, "stock": 100});
    let lamp = connection.send(&post("/api/products/", &lamp).bearer(access)).await.unwrap();
    let order = post("/api/orders/", &order_of(&[(lamp.expect_json(201).id(), 2)])).bearer(access);
    let mut orders = Vec::new();
    for _ in 0..5 {
        orders.push(connection.send(&order).await.unwrap().expect_json(201).id());
    }
    node.kill().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let held = "SELECT count(*) FROM orders WHERE status = 'pending' AND expires_at < now()";
    assert_eq!(database.count(held).await, 5, "nobody was there to end them");
    // Both find the same holds, and wait behind this, so that neither comes too late to do harm.
    let ahead = database.client().await;
    ahead.batch_execute("BEGIN; SELECT FROM stock FOR UPDATE").await.expect("the stock's lock");
    let nodes = tokio::join!(Process::on(&database, &folder, &HOLD), Process::on(&database, &folder, &HOLD));
    database.waiting_for_locks(2).await;
    ahead.batch_execute("COMMIT").await.expect("the lock is released");
    all_expire(&database, Duration::from_secs(3)).await;
    // Both have had time to look.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    expired_in_time(&database, &orders, 6).await;
    let told = "SELECT count(*) FROM events WHERE event = 'expired'";
    assert_eq!(database.count(told).await, 5);
    for node in [&nodes.0, &nodes.1] {
        let audit = Request::get("/api/audit/").bearer(access);
        let audit = node.client().send(&audit).await.unwrap().expect_json(200);
        assert_eq!((&audit["ok"], &audit["units_out"]), (&json!(true), &json!(0)), "{audit}");
    }
    assert_eq!(database.count("SELECT quantity FROM stock").await, 100);
    database.event_log_is_whole().await;
}

#[tokio::test]
async fn an_order_paid_or_cancelled_as_its_hold_runs_out_has_one_end() {
    let app = TestApp::start_with(&HOLD).await;
    let second = app.second_node().await;
    let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
    let lamp = app.product(&staff, "lamp", "2.50", 100).await;
    let mut orders = place(&app, &anna, lamp, 6).await;
    orders.extend(place(&second, &anna, lamp, 6).await);
    let mut paid = 0;
    let body = json!({});
    let moves = futures_util::future::join_all(orders.iter().enumerate().map(|(n, order)| {
        let (node, staff, body) = (if n % 2 == 0 { &second } else { &*app }, &staff, &body);
        let step = if n % 3 == 0 { "cancel" } else { "pay" };
        let path = format!("/api/orders/{order}/{step}/");
        async move {
            // Around the moment at which the hold runs out.
            tokio::time::sleep(Duration::from_millis(600 + 100 * n as u64)).await;
            let answer = node.post_as(staff, &path, body).await;
            assert!([200, 409].contains(&answer.status), "{}", answer.text());
            (*order, (answer.status == 200).then_some(if step == "pay" { "paid" } else { "cancelled" }))
        }
    }))
    .await;
    let ended = |order: i64, status: &'static str| {
        let app = &app;
        async move {
            eventually(Duration::from_secs(4), "the order has its end", async || {
                let sql = format!("SELECT count(*) FROM orders WHERE id = {order} AND status = '{status}'");
                (app.count(&sql).await == 1).then_some(())
            })
            .await;
        }
    };
    for (order, won) in moves {
        ended(order, won.unwrap_or("expired")).await;
        paid += i64::from(won == Some("paid"));
    }
    assert_eq!(app.count("SELECT count(*) FROM order_moves").await, 12, "one end each");
    let paid_late = "SELECT count(*) FROM order_moves m JOIN orders o ON o.id = m.order_id
        WHERE m.event = 'paid' AND m.at >= o.expires_at";
    assert_eq!(app.count(paid_late).await, 0);
    assert_eq!(app.count("SELECT quantity FROM stock").await, 100 - 2 * paid);
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn a_hold_that_has_run_out_cannot_be_paid_even_before_anybody_has_noticed() {
    let app = TestApp::start_with(&[("EMPORIUM_ORDERS__EXPIRY_INTERVAL_MS", "1000")]).await;
    let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
    let lamp = app.product(&staff, "lamp", "2.50", 100).await;
    for _ in 0..5 {
        let order = app.placed(&anna, lamp, 1).await.id();
        app.sql(&format!("UPDATE orders SET expires_at = now() WHERE id = {order}")).await;
        let pay = format!("/api/orders/{order}/pay/");
        let refused = app.post_as(&staff, &pay, &json!({})).await.expect_json(409);
        assert_eq!(refused["code"], "invalid_transition");
    }
    all_expire(app.database(), Duration::from_secs(3)).await;
    assert_eq!(app.count("SELECT quantity FROM stock").await, 100);
    app.audit_is_clean(&staff).await;
}
