//! Live feeds over WebSocket.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::harness::{
    Body, DeafSocket, Expect, JWT_SECRET, Next, Node, PASSWORD, Socket, TestApp, User, eventually,
};

struct Market {
    app: TestApp,
    staff: User,
    anna: User,
    lamp: i64,
}

impl Market {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let staff = app.staff().await;
        let anna = app.customer("anna").await;
        let lamp = app.product(&staff, "lamp", "2.50", 100).await;
        Self { app, staff, anna, lamp }
    }

    async fn correct(&self, product: i64, delta: i64) {
        let body = json!({"delta": delta, "reason": "test"});
        let path = format!("/api/products/{product}/stock/");
        self.app.post_as(&self.staff, &path, &body).await.expect_status(200);
    }

    /// Waits until the node has read the log.
    async fn is_read(&self) {
        let last = self.app.count("SELECT last_seq FROM event_counter").await;
        let mut position = self.app.shop.feed.position();
        let reached = tokio::time::timeout(Duration::from_secs(5), position.wait_for(|seq| seq.0 >= last));
        reached.await.expect("in time").expect("a feed");
    }

    /// Writes events of orders that were never placed, as a day of sales would.
    async fn log_orders(&self, user: i64, count: i64) {
        self.app
            .sql(&format!(
                "WITH n AS (UPDATE event_counter SET last_seq = last_seq + {count} RETURNING last_seq)
                 INSERT INTO event_records
                 SELECT last_seq - {count} + min(g), last_seq - {count} + max(g), now(), array_agg('order'::text),
                        array_agg(1000000 + g ORDER BY g), array_agg({user}::bigint), array_agg(NULL::bigint),
                        array_agg(NULL::bigint), array_agg('placed'::text), array_agg('pending'::text),
                        array_agg(100::bigint)
                 FROM n, generate_series(1, {count}) g
                 GROUP BY last_seq, (g - 1) / 1000"
            ))
            .await;
    }
}

fn seq(message: &Value) -> i64 {
    message["seq"].as_i64().unwrap_or_else(|| panic!("no seq in {message}"))
}

/// Reads the order feed up to the event `last` of an order.
async fn order_events_until(socket: &mut Socket, order: i64, last: &str) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = socket.next_of("order").await;
        let is_last = event["order"] == json!(order) && event["event"] == last;
        events.push(event);
        if is_last {
            return events;
        }
    }
}

fn grows(events: &[Value]) -> bool {
    events.windows(2).all(|pair| seq(&pair[0]) < seq(&pair[1]))
}

#[tokio::test]
async fn the_order_feed_tells_every_step_in_commit_order() {
    let market = Market::open().await;
    let mut feed = market.app.socket_as(&market.staff, "/ws/orders/").await;
    let ready = feed.next().await;
    assert_eq!(ready["type"], "ready");
    let order = market.app.placed(&market.anna, market.lamp, 2).await;
    let cancelled = market.app.placed(&market.anna, market.lamp, 1).await.id();
    for (id, step) in [
        (order.id(), "pay"),
        (order.id(), "ship"),
        (cancelled, "cancel"),
        (order.id(), "deliver"),
        (order.id(), "refund"),
    ] {
        market
            .app
            .post_as(&market.staff, &format!("/api/orders/{id}/{step}/"), &json!({}))
            .await
            .expect_status(200);
    }
    let events = order_events_until(&mut feed, order.id(), "refunded").await;
    let told: Vec<(i64, &str, &str)> = events
        .iter()
        .map(|event| {
            (
                event["order"].as_i64().unwrap(),
                event["event"].as_str().unwrap(),
                event["status"].as_str().unwrap(),
            )
        })
        .collect();
    let (a, b) = (order.id(), cancelled);
    assert_eq!(
        told,
        [
            (a, "placed", "pending"),
            (b, "placed", "pending"),
            (a, "paid", "paid"),
            (a, "shipped", "shipped"),
            (b, "cancelled", "cancelled"),
            (a, "delivered", "delivered"),
            (a, "refunded", "refunded"),
        ]
    );
    assert!(grows(&events) && seq(&events[0]) > seq(&ready), "{events:?}");
    assert_eq!((&events[0]["user"], &events[0]["total_price"]), (&json!(market.anna.id), &json!("5.00")));
    assert!(events[0]["at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_customer_hears_of_their_own_orders_alone() {
    let market = Market::open().await;
    let bert = market.app.customer("bert").await;
    let mut feed = market.app.socket_as(&bert, "/ws/orders/").await;
    feed.next_of("ready").await;
    market.app.placed(&market.anna, market.lamp, 1).await;
    let own = market.app.placed(&bert, market.lamp, 1).await.id();
    assert_eq!(feed.next_of("order").await["order"], json!(own));
}

#[tokio::test]
async fn every_order_of_two_busy_nodes_is_told_once_and_in_order_on_both() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let mut feeds = [
        market.app.socket_as(&market.staff, "/ws/orders/").await,
        second.socket_as(&market.staff, "/ws/orders/").await,
    ];
    for feed in &mut feeds {
        feed.next_of("ready").await;
    }
    let orders = (0..60).map(|n| {
        let node: &Node = if n % 2 == 0 { &market.app } else { &second };
        node.placed(&market.anna, market.lamp, 1)
    });
    let placed: HashSet<i64> = join_all(orders).await.iter().map(Body::id).collect();
    assert_eq!(placed.len(), 60);
    let mut told = Vec::new();
    for feed in &mut feeds {
        let mut events = Vec::new();
        for _ in 0..60 {
            events.push(feed.next_of("order").await);
        }
        assert!(grows(&events));
        assert_eq!(
            events.iter().map(|event| event["order"].as_i64().unwrap()).collect::<HashSet<_>>(),
            placed
        );
        told.push(events);
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn a_resumed_order_feed_tells_what_was_missed_and_nothing_twice() {
    let market = Market::open().await;
    let mut feed = market.app.socket_as(&market.staff, "/ws/orders/").await;
    feed.next_of("ready").await;
    let first = market.app.placed(&market.anna, market.lamp, 1).await.id();
    let since = seq(&feed.next_of("order").await);
    drop(feed);
    let mut missed = Vec::new();
    for _ in 0..3 {
        missed.push(market.app.placed(&market.anna, market.lamp, 1).await.id());
    }
    let mut feed = market.app.socket_as(&market.staff, &format!("/ws/orders/?since={since}")).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(feed.next_of("order").await["order"].as_i64().unwrap());
    }
    assert_eq!(told, missed);
    let later = market.app.placed(&market.anna, market.lamp, 1).await.id();
    assert_eq!(feed.next_of("order").await["order"], json!(later));
    // The same by a message on an open socket.
    let mut feed = market.app.socket_as(&market.staff, "/ws/orders/").await;
    feed.next_of("ready").await;
    feed.send(&json!({"type": "resume", "since": 0})).await;
    assert_eq!(feed.next_of("order").await["order"], json!(first));
}

#[tokio::test]
async fn a_feed_cannot_resume_from_a_number_that_was_never_given() {
    let market = Market::open().await;
    let mut feed = market.app.socket_as(&market.staff, "/ws/orders/?since=999999999").await;
    let reset = feed.next_of("reset").await;
    let order = market.app.placed(&market.anna, market.lamp, 1).await.id();
    let event = feed.next_of("order").await;
    assert_eq!(event["order"], json!(order));
    assert!(seq(&event) > seq(&reset));
}

#[tokio::test]
async fn past_the_kept_history_a_feed_is_reset() {
    let market = Market::open().await;
    for _ in 0..3 {
        market.app.placed(&market.anna, market.lamp, 1).await;
    }
    market.is_read().await;
    market.app.forget_events().await;
    let mut orders = market.app.socket_as(&market.staff, "/ws/orders/?since=1").await;
    orders.next_of("reset").await;
    let mut stock = market.app.socket(&format!("/ws/stock/?products={}&since=1", market.lamp)).await;
    stock.next_of("reset").await;
    let snapshot = stock.next_of("snapshot").await;
    assert_eq!(snapshot["products"][0]["stock"], json!(97));
}

#[tokio::test]
async fn the_stock_feed_shows_what_there_is_and_then_what_changes() {
    let market = Market::open().await;
    let chair = market.app.product(&market.staff, "chair", "40.00", 7).await;
    let other = market.app.product(&market.staff, "other", "1.00", 1).await;
    let mut feed = market.app.socket(&format!("/ws/stock/?products={},{chair}", market.lamp)).await;
    let ready = feed.next().await;
    assert_eq!(ready["type"], "ready");
    let snapshot = feed.next().await;
    assert_eq!(snapshot["type"], "snapshot");
    let expected = json!([
        {"product": market.lamp, "stock": 100, "price": "2.50"},
        {"product": chair, "stock": 7, "price": "40.00"},
    ]);
    assert_eq!(snapshot["products"], expected);
    market.correct(other, 5).await;
    market.app.placed(&market.anna, market.lamp, 3).await;
    let change = feed.next().await;
    assert_eq!(
        (&change["type"], &change["product"], &change["stock"]),
        (&json!("stock"), &json!(market.lamp), &json!(97))
    );
    assert_eq!(change["price"], "2.50");
    assert!(change["at"].is_string() && seq(&change) > seq(&snapshot));
    let path = format!("/api/products/{chair}/");
    market.app.patch_as(&market.staff, &path, &json!({"price": "41.00"})).await.expect_status(200);
    let change = feed.next().await;
    assert_eq!(
        (&change["product"], &change["price"], &change["stock"]),
        (&json!(chair), &json!("41.00"), &json!(7))
    );
    market.app.delete_as(&market.staff, &path).await.expect_status(204);
    let removed = feed.next().await;
    assert_eq!((&removed["type"], &removed["product"]), (&json!("removed"), &json!(chair)));
}

#[tokio::test]
async fn a_category_feed_and_the_whole_feed_see_their_products() {
    let market = Market::open().await;
    let category = market.app.category(&market.staff, "chairs").await;
    let chair = market.app.product_in(&market.staff, category, "chair", "40.00", 7).await;
    let mut of_category = market.app.socket(&format!("/ws/stock/?category={category}")).await;
    let mut all = market.app.socket("/ws/stock/?all=true").await;
    assert_eq!(
        of_category.next_of("snapshot").await["products"],
        json!([{"product": chair, "stock": 7, "price": "40.00"}])
    );
    assert_eq!(all.next().await["type"], "ready");
    market.correct(market.lamp, 1).await;
    market.correct(chair, 1).await;
    let change = of_category.next_of("stock").await;
    assert_eq!((&change["product"], &change["stock"]), (&json!(chair), &json!(8)));
    let told = [all.next().await, all.next().await];
    assert_eq!(told.each_ref().map(|message| message["product"].clone()), [json!(market.lamp), json!(chair)]);
}

#[tokio::test]
async fn a_long_snapshot_comes_in_frames_of_which_all_but_the_last_say_that_more_follows() {
    let market = Market::open().await;
    let category = market.app.category(&market.staff, "screws").await;
    let path = format!("/ws/stock/?category={category}");
    for (made, expected) in [(1000, &[1000][..]), (1, &[1000, 1]), (1500, &[1000, 1000, 501])] {
        let sql = format!(
            "WITH made AS (INSERT INTO products (name, price_cents, category_id)
                           SELECT 'screw', 100, {category} FROM generate_series(1, {made}) RETURNING id)
             INSERT INTO stock (product_id, quantity) SELECT id, 5 FROM made"
        );
        market.app.sql(&sql).await;
        let mut feed = market.app.socket(&path).await;
        let ready = feed.next().await;
        assert_eq!(ready["type"], "ready");
        let (mut products, mut lengths) = (HashSet::new(), Vec::new());
        loop {
            let snapshot = feed.next().await;
            assert_eq!((&snapshot["type"], &snapshot["seq"]), (&json!("snapshot"), &ready["seq"]));
            let shown = snapshot["products"].as_array().expect("products");
            lengths.push(shown.len());
            products.extend(shown.iter().map(|shelf| shelf["product"].as_i64()));
            match snapshot.get("more") {
                Some(more) => assert_eq!(more, &json!(true)),
                None => break,
            }
        }
        assert_eq!(lengths, expected);
        assert_eq!(products.len(), expected.iter().sum::<usize>());
        let last = products.iter().max().copied().flatten().expect("a product");
        market.correct(last, 1).await;
        let change = feed.next().await;
        assert_eq!((&change["product"], &change["stock"]), (&json!(last), &json!(6)));
        market.correct(last, -1).await;
    }
}

#[tokio::test]
async fn the_second_node_feeds_what_the_first_one_sold() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let mut feed = second.socket(&format!("/ws/stock/?products={}", market.lamp)).await;
    feed.next_of("snapshot").await;
    market.app.placed(&market.anna, market.lamp, 1).await;
    assert_eq!(feed.next_of("stock").await["stock"], json!(99));
}

#[tokio::test]
async fn a_resumed_stock_feed_tells_the_latest_of_each_product_that_changed() {
    let market = Market::open().await;
    let still = market.app.product(&market.staff, "still", "1.00", 1).await;
    let path = format!("/ws/stock/?products={},{still}", market.lamp);
    let mut feed = market.app.socket(&path).await;
    let since = seq(&feed.next_of("snapshot").await);
    drop(feed);
    for _ in 0..5 {
        market.correct(market.lamp, -1).await;
    }
    let mut feed = market.app.socket(&format!("{path}&since={since}")).await;
    let change = feed.next_of("stock").await;
    assert_eq!((&change["product"], &change["stock"]), (&json!(market.lamp), &json!(95)));
    market.correct(still, 1).await;
    let change = feed.next_of("stock").await;
    assert_eq!((&change["product"], &change["stock"]), (&json!(still), &json!(2)));
}

#[tokio::test]
async fn products_are_added_to_and_taken_from_an_open_feed() {
    let market = Market::open().await;
    let chair = market.app.product(&market.staff, "chair", "40.00", 7).await;
    let mut feed = market.app.socket(&format!("/ws/stock/?products={}", market.lamp)).await;
    feed.next_of("snapshot").await;
    feed.send(&json!({"type": "subscribe", "products": [chair]})).await;
    let subscribed = feed.next_of("subscribed").await;
    let mut products: Vec<i64> =
        subscribed["products"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
    products.sort_unstable();
    assert!(products == [chair] || products == [market.lamp, chair], "{subscribed}");
    assert_eq!(
        feed.next_of("snapshot").await["products"],
        json!([{"product": chair, "stock": 7, "price": "40.00"}])
    );
    market.correct(chair, 1).await;
    assert_eq!(feed.next_of("stock").await["product"], json!(chair));
    feed.send(&json!({"type": "unsubscribe", "products": [market.lamp]})).await;
    feed.next_of("subscribed").await;
    market.correct(market.lamp, 1).await;
    market.correct(chair, 1).await;
    let change = feed.next_of("stock").await;
    assert_eq!((&change["product"], &change["stock"]), (&json!(chair), &json!(9)));
}

#[tokio::test]
async fn a_thousand_changes_leave_a_reader_with_the_last_value() {
    let market = Market::open().await;
    let mut feed = market.app.socket(&format!("/ws/stock/?products={}", market.lamp)).await;
    feed.next_of("snapshot").await;
    let orders = (0..100).map(|_| market.app.order(&market.anna, market.lamp, 1));
    join_all(orders).await;
    let mut last = i64::MAX;
    while last > 0 {
        let stock = feed.next_of("stock").await["stock"].as_i64().unwrap();
        assert!(stock < last, "{stock} after {last}");
        last = stock;
    }
}

#[tokio::test]
async fn unknown_messages_are_answered_and_the_socket_stays_open() {
    let market = Market::open().await;
    let mut feed = market.app.socket(&format!("/ws/stock/?products={}", market.lamp)).await;
    feed.next_of("snapshot").await;
    let many: Vec<i64> = (0..1001).collect();
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{}",
        r#"{"type":"nonsense"}"#,
        r#"{"type":7}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","products":"all"}"#,
        r#"{"type":"resume","since":"x"}"#,
        r#"{"type":"auth","access":5}"#,
    ] {
        feed.send_text(text).await;
        let answer = feed.next_of("error").await;
        assert!(answer["detail"].is_string(), "{text}: {answer}");
    }
    feed.send(&json!({"type": "subscribe", "products": many})).await;
    feed.next_of("error").await;
    market.correct(market.lamp, 1).await;
    assert_eq!(feed.next_of("stock").await["stock"], json!(101));
}

#[tokio::test]
async fn a_feed_is_opened_in_three_ways_and_not_without_a_token() {
    let market = Market::open().await;
    market.app.socket_as(&market.anna, "/ws/orders/").await.next_of("ready").await;
    let pair = format!("bearer, {}", market.anna.access);
    let mut browser =
        market.app.try_socket("/ws/orders/", &[("sec-websocket-protocol", &pair)]).await.expect("open");
    browser.next_of("ready").await;
    let mut late = market.app.socket("/ws/orders/").await;
    late.send(&json!({"type": "auth", "access": market.anna.access})).await;
    late.next_of("ready").await;

    let mut wrong = market.app.socket("/ws/orders/").await;
    wrong.send(&json!({"type": "auth", "access": "garbage"})).await;
    assert_eq!(wrong.closed_within(Duration::from_secs(5)).await, Some(4001));
    let refused = market.app.try_socket("/ws/orders/", &[("authorization", "Bearer garbage")]).await;
    assert_eq!(refused.err(), Some(401));
    let mut silent = market.app.socket("/ws/orders/").await;
    assert_eq!(silent.closed_within(Duration::from_secs(8)).await, Some(4001));
}

#[tokio::test]
async fn a_token_in_the_query_string_is_no_token() {
    let market = Market::open().await;
    let tries = ["token", "access", "bearer"].map(async |name| {
        let path = format!("/ws/orders/?{name}={}", market.anna.access);
        if let Ok(mut feed) = market.app.try_socket(&path, &[]).await {
            assert_eq!(feed.closed_within(Duration::from_secs(8)).await, Some(4001), "{name}");
        }
    });
    join_all(tries).await;
}

#[tokio::test]
async fn signing_out_closes_the_users_sockets_with_4001_on_both_nodes() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let bert = market.app.customer("bert").await;
    let mut own = market.app.socket_as(&market.anna, "/ws/orders/").await;
    let mut other_node = second.socket_as(&market.anna, "/ws/orders/").await;
    let mut stranger = market.app.socket_as(&bert, "/ws/orders/").await;
    for feed in [&mut own, &mut other_node, &mut stranger] {
        feed.next_of("ready").await;
    }
    let body = json!({"refresh": market.anna.refresh});
    market.app.post_as(&market.anna, "/api/auth/logout/", &body).await.expect_status(204);
    assert_eq!(own.closed_within(Duration::from_secs(1)).await, Some(4001));
    assert_eq!(other_node.closed_within(Duration::from_secs(1)).await, Some(4001));
    let order = market.app.placed(&bert, market.lamp, 1).await.id();
    assert_eq!(stranger.next_of("order").await["order"], json!(order));
}

#[tokio::test]
async fn a_browsers_origin_must_be_on_the_list() {
    let app = TestApp::start_with(&[("EMPORIUM_HTTP__ALLOWED_ORIGINS", "https://shop.example")]).await;
    let open = async |origin: &str| app.try_socket("/ws/stock/?all=true", &[("origin", origin)]).await.err();
    assert_eq!(open("https://shop.example").await, None);
    assert_eq!(open(&app.target.to_string()).await, None);
    for origin in ["https://evil.example", "https://shop.example.evil", "http://shop.example", "null"] {
        assert_eq!(open(origin).await, Some(403), "{origin}");
    }
}

#[tokio::test]
async fn a_bad_feed_request_is_refused_before_the_upgrade() {
    let app = TestApp::start().await;
    let list = |count: i64| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    for path in [
        "/ws/stock/?products=x",
        "/ws/stock/?category=x",
        "/ws/stock/?all=true&since=x",
        "/ws/stock/?all=true&since=-1",
        &format!("/ws/stock/?products={}", list(1001)),
        &format!("/ws/stock/?products={}", list(10_000)),
    ] {
        let status = app.try_socket(path, &[]).await.err();
        assert_eq!(status, Some(400), "{path:.60}");
    }
    let plain = app.get("/ws/stock/?all=true").await;
    assert!((400..500).contains(&plain.status), "{}", plain.status);
    assert!(plain.json::<Value>().unwrap()["detail"].is_string());
}

#[tokio::test]
async fn sockets_beyond_the_limit_are_refused_and_free_places_are_taken_again() {
    let app = TestApp::start_with(&[("EMPORIUM_FEED__SOCKETS_MAX", "2")]).await;
    let first = app.socket("/ws/stock/?all=true").await;
    let _second = app.socket("/ws/stock/?all=true").await;
    assert_eq!(app.try_socket("/ws/stock/?all=true", &[]).await.err(), Some(503));
    drop(first);
    eventually(Duration::from_secs(3), "a place is free", async || {
        app.try_socket("/ws/stock/?all=true", &[]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_node_that_may_open_few_files_serves_fewer_connections_and_says_so() {
    let app = TestApp::start().await;
    // 48 more than it wants for itself.
    let (node, log) = app.process_with_open_files(560).await;
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(log.contains("open files") && log.contains("connections_max=48"), "{log}");
    let mut sockets = Vec::new();
    for _ in 0..48 {
        let mut socket = Socket::open(&node.target, "/ws/stock/?all=true", &[]).await.expect("open");
        socket.next_of("ready").await;
        sockets.push(socket);
    }
    // One more waits for its turn, and does no harm.
    let one_more = Socket::open(&node.target, "/ws/stock/?all=true", &[]);
    tokio::pin!(one_more);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut one_more).await.is_err());
    sockets.truncate(24);
    let opened = tokio::time::timeout(Duration::from_secs(5), one_more).await;
    opened.expect("in time").expect("open").next_of("ready").await;
}

#[tokio::test]
async fn a_stopping_node_closes_its_sockets_with_1001() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let mut feed = second.socket("/ws/stock/?all=true").await;
    feed.next_of("ready").await;
    second.shop.stop().await;
    assert_eq!(feed.closed_within(Duration::from_secs(3)).await, Some(1001));
}

// Rights that end ------------------------------------------------------------------------------------

/// What ends the rights of somebody who has an order feed open, other than signing out.
async fn end_rights(market: &Market, how: &str, user: &User) {
    let app = &market.app;
    match how {
        "signing out everywhere" => {
            app.post_as(user, "/api/auth/logout/all/", &json!({})).await.expect_status(204);
        }
        "a new password" => {
            // Chosen in another session, which alone goes on.
            let (access, refresh) = app.log_in("sam").await;
            let other = User { id: user.id, access, refresh };
            let body = json!({"old_password": PASSWORD, "new_password": "another battery, quite correct"});
            app.post_as(&other, "/api/auth/password/change/", &body).await.expect_status(204);
        }
        "no staff any more" => app.sql("UPDATE users SET is_staff = false WHERE username = 'sam'").await,
        "deactivated" => app.sql("UPDATE users SET is_active = false WHERE username = 'sam'").await,
        other => panic!("{other}?"),
    }
}

#[tokio::test]
async fn whoever_loses_their_rights_loses_their_sockets_on_every_node_within_a_second() {
    for how in ["signing out everywhere", "a new password", "no staff any more", "deactivated"] {
        let market = Market::open().await;
        let second = market.app.second_node().await;
        let sam = market.app.staff_named("sam").await;
        let mut own = market.app.socket_as(&sam, "/ws/orders/").await;
        let mut other_node = second.socket_as(&sam, "/ws/orders/").await;
        let mut stranger = second.socket_as(&market.staff, "/ws/orders/").await;
        for feed in [&mut own, &mut other_node, &mut stranger] {
            feed.next_of("ready").await;
        }
        end_rights(&market, how, &sam).await;
        let second_long = Duration::from_secs(1);
        let closed = tokio::join!(own.closed_within(second_long), other_node.closed_within(second_long));
        assert_eq!(closed, (Some(4001), Some(4001)), "{how}");
        let order = market.app.placed(&market.anna, market.lamp, 1).await.id();
        assert_eq!(stranger.next_of("order").await["order"], json!(order), "{how}");
        // Neither node goes on believing the old rights.
        for node in [&*market.app, &second] {
            let audit = node.get_as(&sam, "/api/audit/").await;
            assert!([401, 403].contains(&audit.status), "{how}: {}", audit.status);
        }
    }
}

/// The same token with another end, in seconds from now.
fn ending_in(access: &str, seconds: u64) -> String {
    let claims = access.split('.').nth(1).expect("claims");
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let mut claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    claims["exp"] = json!(now + seconds);
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("a token")
}

#[tokio::test]
async fn a_socket_ends_with_its_token_on_every_node() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let brief = User { access: ending_in(&market.anna.access, 3), ..market.anna.clone() };
    let mut own = market.app.socket_as(&brief, "/ws/orders/").await;
    let mut other_node = second.socket_as(&brief, "/ws/orders/").await;
    let mut later = market.app.socket_as(&market.anna, "/ws/orders/").await;
    for feed in [&mut own, &mut other_node, &mut later] {
        feed.next_of("ready").await;
    }
    let patience = Duration::from_secs(4);
    let closed = tokio::join!(own.closed_within(patience), other_node.closed_within(patience));
    assert_eq!(closed, (Some(4001), Some(4001)));
    let order = market.app.placed(&market.anna, market.lamp, 1).await.id();
    assert_eq!(later.next_of("order").await["order"], json!(order));
}

#[tokio::test]
async fn tokens_that_have_expired_or_are_of_the_wrong_kind_open_no_order_feed() {
    let market = Market::open().await;
    let expired = ending_in(&market.anna.access, 0);
    // A token counts until the end of its last second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (rest, last) = market.anna.access.split_at(market.anna.access.len() - 1);
    let forged = format!("{rest}{}", if last == "A" { "B" } else { "A" });
    for token in [&expired, &market.anna.refresh, &forged] {
        let bearer = format!("Bearer {token}");
        let by_header = market.app.try_socket("/ws/orders/", &[("authorization", &bearer)]).await;
        assert_eq!(by_header.err(), Some(401));
        let pair = format!("bearer, {token}");
        let by_protocol = market.app.try_socket("/ws/orders/", &[("sec-websocket-protocol", &pair)]).await;
        let patience = Duration::from_secs(2);
        assert_eq!(by_protocol.expect("open").closed_within(patience).await, Some(4001));
        let mut by_message = market.app.socket("/ws/orders/").await;
        by_message.send(&json!({"type": "auth", "access": token})).await;
        assert_eq!(by_message.closed_within(patience).await, Some(4001));
    }
}

// What clients should not do -------------------------------------------------------------------------

#[tokio::test]
async fn frames_that_nobody_should_send_end_their_own_socket_at_most() {
    let market = Market::open().await;
    let path = format!("/ws/stock/?products={}", market.lamp);
    let mut bystander = market.app.socket(&path).await;
    bystander.next_of("snapshot").await;
    let open = async || {
        let mut feed = market.app.socket(&path).await;
        feed.next_of("snapshot").await;
        feed
    };
    let patience = Duration::from_secs(3);
    let (text, more) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));

    let mut binary = open().await;
    binary.send_frame(OpCode::Data(Data::Binary), true, b"\x00\xff").await;
    assert!(binary.next_of("error").await["detail"].is_string());
    binary.send_frame(OpCode::Data(Data::Binary), false, b"in pieces").await;
    binary.send_frame(more, true, b"too").await;
    assert!(binary.next_of("error").await["detail"].is_string());
    let many: Vec<i64> = (0..10_000).collect();
    binary.send(&json!({"type": "subscribe", "products": many})).await;
    assert!(binary.next_of("error").await["detail"].as_str().unwrap().contains("1000"));
    let pieces = json!({"type": "subscribe", "products": []}).to_string();
    binary.send_frame(text, false, &pieces.as_bytes()[..9]).await;
    binary.send_frame(more, true, &pieces.as_bytes()[9..]).await;
    binary.next_of("subscribed").await;

    let mut oversize = open().await;
    oversize.send_frame(text, true, &vec![b'x'; 65 * 1024]).await;
    assert_eq!(oversize.closed_within(patience).await, Some(1009));

    let mut endless = open().await;
    endless.send_frame(text, false, &[b'x'; 1000]).await;
    for _ in 0..100 {
        endless.send_frame(more, false, &[b'x'; 1000]).await;
    }
    assert_eq!(endless.closed_within(patience).await, Some(1009));

    let mut no_text = open().await;
    no_text.send_frame(text, true, b"\xff\xfe").await;
    let closed = no_text.closed_within(patience).await;
    assert!(matches!(closed, Some(1002 | 1006 | 1007)), "{closed:?}");

    let mut out_of_turn = open().await;
    out_of_turn.send_frame(more, true, b"x").await;
    assert!(matches!(out_of_turn.closed_within(patience).await, Some(1002)));

    market.correct(market.lamp, 1).await;
    assert_eq!(bystander.next_of("stock").await["stock"], json!(101));
    assert_eq!(binary.next_of("stock").await["stock"], json!(101));
}

#[tokio::test]
async fn requests_that_come_faster_than_they_are_answered_are_refused_and_not_kept() {
    let market = Market::open().await;
    let mut feed = market.app.socket(&format!("/ws/stock/?products={}", market.lamp)).await;
    feed.next_of("snapshot").await;
    // In one go, so that none is answered before all have come.
    let subscribe = json!({"type": "subscribe", "products": [market.lamp]}).to_string();
    let sent: Vec<_> = std::iter::repeat_n(subscribe.as_str(), 200).collect();
    feed.send_all(&sent).await;
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < sent.len() {
        let answer = feed.next().await;
        match answer["type"].as_str() {
            Some("subscribed") => answered += 1,
            Some("error") => refused += 1,
            _ => {}
        }
    }
    assert!(answered >= 16 && refused > 0, "{answered} answered, {refused} refused");
    market.correct(market.lamp, 1).await;
    assert_eq!(feed.next_of("stock").await["stock"], json!(101));
}

// Readers that do not read ---------------------------------------------------------------------------

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off_when_its_session_ends() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let mut deaf = DeafSocket::open(&second.target, "/ws/orders/", &market.anna.access).await;
    deaf.clog().await;
    let body = json!({"refresh": market.anna.refresh});
    market.app.post_as(&market.anna, "/api/auth/logout/", &body).await.expect_status(204);
    eventually(Duration::from_secs(1), "it is cut off", async || deaf.is_ended().then_some(())).await;
}

#[tokio::test]
async fn a_node_that_stops_does_not_wait_for_readers_that_do_not_read() {
    let market = Market::open().await;
    let mut node = market.app.process_with(&[]).await;
    let mut deaf = Vec::new();
    for _ in 0..3 {
        let mut socket = DeafSocket::open(&node.target, "/ws/stock/?all=true", "").await;
        socket.clog().await;
        deaf.push(socket);
    }
    let mut feed = Socket::open(&node.target, "/ws/stock/?all=true", &[]).await.expect("open");
    feed.next_of("ready").await;
    // Left to themselves they would stay for half a minute, and the server waits 20 s for connections.
    let (stopped, closed) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(10), node.stop()),
        feed.closed_within(Duration::from_secs(5))
    );
    assert!(stopped.is_ok(), "it still waits");
    assert_eq!(closed, Some(1001), "who reads is told why");
    assert!(deaf.iter().all(DeafSocket::is_ended));
}

#[tokio::test]
async fn a_reader_too_slow_for_every_order_is_closed_with_4008_and_misses_none_when_it_resumes() {
    const EVENTS: i64 = 60_000;
    let market = Market::open().await;
    let mut slow = market.app.socket_as(&market.staff, "/ws/orders/").await;
    let since = seq(&slow.next_of("ready").await);
    market.log_orders(market.anna.id, EVENTS).await;
    market.is_read().await;
    let mut told = Vec::new();
    let code = loop {
        match slow.next_within(Duration::from_secs(5)).await.expect("the feed goes on or ends") {
            Next::Json(event) => told.push(seq(&event)),
            Next::Closed(code) => break code,
        }
    };
    assert_eq!(code, 4008);
    assert!(told.len() < EVENTS as usize);
    let last = told.last().copied().unwrap_or(since);
    let mut feed = market.app.socket_as(&market.staff, &format!("/ws/orders/?since={last}")).await;
    feed.next_of("ready").await;
    while told.len() < EVENTS as usize {
        told.push(seq(&feed.next().await));
    }
    assert!(told.into_iter().eq(since + 1..=since + EVENTS), "each once, and in order");
}

#[tokio::test]
async fn a_slow_reader_of_stock_gets_the_latest_and_not_everything() {
    const CHANGES: i64 = 40_000;
    let market = Market::open().await;
    let mut slow = market.app.socket(&format!("/ws/stock/?products={}", market.lamp)).await;
    let before = seq(&slow.next_of("snapshot").await);
    market
        .app
        .sql(&format!(
            "WITH n AS (UPDATE event_counter SET last_seq = last_seq + {CHANGES} RETURNING last_seq)
             INSERT INTO event_records
             SELECT last_seq - {CHANGES} + min(g), last_seq - {CHANGES} + max(g), now(), array_agg('stock'::text), array_agg({}::bigint),
                    array_agg(NULL::bigint), array_agg(g::bigint ORDER BY g), array_agg(250::bigint),
                    array_agg(NULL::text), array_agg(NULL::text), array_agg(NULL::bigint)
             FROM n, generate_series(1, {CHANGES}) g
             GROUP BY last_seq, (g - 1) / 100",
            market.lamp
        ))
        .await;
    market.is_read().await;
    let (mut frames, mut last) = (0, Value::Null);
    while last["stock"] != json!(CHANGES) {
        last = slow.next_of("stock").await;
        frames += 1;
    }
    assert_eq!(seq(&last), before + CHANGES);
    assert!(frames < CHANGES / 10, "{frames} frames of {CHANGES} changes");
}

// The log --------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_customer_resumes_over_a_day_of_other_peoples_orders() {
    let market = Market::open().await;
    let since = market.app.count("SELECT last_seq FROM event_counter").await;
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(market.app.placed(&market.anna, market.lamp, 1).await.id());
        market.log_orders(market.staff.id, 100_000).await;
    }
    let cancel = format!("/api/orders/{}/cancel/", own[0]);
    market.app.post_as(&market.anna, &cancel, &json!({})).await.expect_status(200);
    let mut feed = market.app.socket_as(&market.anna, &format!("/ws/orders/?since={since}")).await;
    assert_eq!(feed.next().await, json!({"type": "ready", "seq": since}));
    let mut told = Vec::new();
    for _ in 0..4 {
        let event = feed.next().await;
        told.push((event["order"].as_i64().unwrap(), event["event"].as_str().unwrap().to_owned()));
    }
    let expected = [(own[0], "placed"), (own[1], "placed"), (own[2], "placed"), (own[0], "cancelled")];
    assert_eq!(told, expected.map(|(order, event)| (order, event.to_owned())));
}

#[tokio::test]
async fn a_customer_of_very_many_orders_resumes_as_well() {
    const ORDERS: i64 = 2_500;
    let market = Market::open().await;
    let since = market.app.count("SELECT last_seq FROM event_counter").await;
    market.log_orders(market.anna.id, ORDERS).await;
    market
        .app
        .sql(&format!(
            "INSERT INTO orders (id, user_id, status, total_cents, created_at, updated_at, expires_at)
             SELECT 1000000 + g, {}, 'paid', 100, now(), now(), now() FROM generate_series(1, {ORDERS}) g",
            market.anna.id
        ))
        .await;
    market.log_orders(market.staff.id, 60_000).await;
    let last = market.app.placed(&market.anna, market.lamp, 1).await.id();
    let mut feed = market.app.socket_as(&market.anna, &format!("/ws/orders/?since={since}")).await;
    feed.next_of("ready").await;
    let mut told = Vec::new();
    for _ in 0..=ORDERS {
        told.push(feed.next().await);
    }
    assert!(grows(&told));
    assert!(told[..told.len() - 1].iter().map(seq).eq(since + 1..=since + ORDERS));
    assert_eq!(told.last().unwrap()["order"], json!(last));
}

/// What the shop itself runs to remove old events: at most so many, older than so many seconds.
async fn prune(market: &Market, most: i64, older_than_s: i64) -> u64 {
    let client = market.app.database().client().await;
    let statement = include_str!("../sql/feed/prune_events.sql");
    client.execute(statement, &[&most, &older_than_s]).await.expect("pruning")
}

#[tokio::test]
async fn old_events_are_removed_from_the_front_and_never_before_everybody_has_read_them() {
    let market = Market::open().await;
    for _ in 0..5 {
        market.app.placed(&market.anna, market.lamp, 1).await;
    }
    let last = market.app.count("SELECT last_seq FROM event_counter").await;
    assert_eq!(prune(&market, 1000, 3600).await, 0, "nothing is that old");
    eventually(Duration::from_secs(5), "the mailer has read all", async || {
        (market.app.count("SELECT min(last_seq) FROM event_consumers").await == last).then_some(())
    })
    .await;
    let third = "(SELECT last_seq FROM event_records ORDER BY last_seq OFFSET 2 LIMIT 1)";
    let slow = format!("INSERT INTO event_consumers (name, last_seq) VALUES ('slow', {third})");
    market.app.sql(&slow).await;
    assert_eq!(prune(&market, 2, 0).await, 2, "so many at a time");
    assert_eq!(prune(&market, 1000, 0).await, 1, "somebody has yet to read the rest");
    let holes = "SELECT max(seq) - min(seq) + 1 - count(*) FROM events";
    assert_eq!(market.app.count(holes).await, 0);
}

#[tokio::test]
async fn readers_do_not_notice_that_old_events_are_removed() {
    let market = Market::open().await;
    let mut live = market.app.socket_as(&market.staff, "/ws/orders/").await;
    live.next_of("ready").await;
    let stock_path = format!("/ws/stock/?products={}", market.lamp);
    let mut stock = market.app.socket(&stock_path).await;
    stock.next_of("snapshot").await;
    let mut since = None;
    for n in 0..40 {
        let order = market.app.placed(&market.anna, market.lamp, 1).await.id();
        let event = live.next_of("order").await;
        assert_eq!(event["order"], json!(order));
        // Everything that has been read may go at any moment.
        market.is_read().await;
        prune(&market, 1000, 0).await;
        if n == 20 {
            since = Some(seq(&event));
        }
    }
    loop {
        if stock.next_of("stock").await["stock"] == json!(60) {
            break;
        }
    }
    // Who was away for longer than events are kept is told, and goes on from there.
    let since = since.expect("an event");
    let mut late = market.app.socket_as(&market.staff, &format!("/ws/orders/?since={since}")).await;
    let first = late.next().await;
    if first["type"] == "ready" && seq(&first) == since {
        panic!("it promises what is not kept: {first}");
    }
    late.next_of("reset").await;
    let order = market.app.placed(&market.anna, market.lamp, 1).await.id();
    assert_eq!(late.next_of("order").await["order"], json!(order));
}

#[tokio::test]
async fn a_node_that_missed_events_believes_nothing_that_it_knew() {
    let market = Market::open().await;
    let mut feed = market.app.socket("/ws/stock/?all=true").await;
    feed.next_of("ready").await;
    let product = format!("/api/products/{}/", market.lamp);
    assert_eq!(market.app.get(&product).await.expect_json(200)["stock"], json!(100));
    market.app.get_as(&market.anna, "/api/auth/me/").await.expect_status(200);
    // As if everything that tells of it had been removed before this node could read it.
    market
        .app
        .sql(&format!(
            "BEGIN;
             UPDATE stock SET quantity = 7 WHERE product_id = {};
             UPDATE sessions SET ended_at = now() WHERE user_id = {};
             WITH n AS (UPDATE event_counter SET last_seq = last_seq + 9 RETURNING last_seq)
             INSERT INTO events (seq, at, kind, subject) SELECT last_seq, now(), 'category', 1 FROM n;
             COMMIT",
            market.lamp, market.anna.id
        ))
        .await;
    assert_eq!(feed.closed_within(Duration::from_secs(2)).await, Some(1013), "come again, and start afresh");
    assert_eq!(market.app.get(&product).await.expect_json(200)["stock"], json!(7));
    market.app.get_as(&market.anna, "/api/auth/me/").await.expect_status(401);
}
