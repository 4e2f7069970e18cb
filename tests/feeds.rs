//! Live feeds over WebSocket.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Body, Expect, Node, Socket, TestApp, User};

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
    market.app.sql("DELETE FROM events WHERE seq < (SELECT max(seq) FROM events)").await;
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
    for name in ["token", "access", "bearer"] {
        let path = format!("/ws/orders/?{name}={}", market.anna.access);
        if let Ok(mut feed) = market.app.try_socket(&path, &[]).await {
            assert_eq!(feed.closed_within(Duration::from_secs(8)).await, Some(4001), "{name}");
        }
    }
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
    let many = (0..1001).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    for path in [
        "/ws/stock/?products=x",
        "/ws/stock/?category=x",
        "/ws/stock/?all=true&since=x",
        "/ws/stock/?all=true&since=-1",
        &format!("/ws/stock/?products={many}"),
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
    crate::harness::eventually(Duration::from_secs(3), "a place is free", async || {
        app.try_socket("/ws/stock/?all=true", &[]).await.ok()
    })
    .await;
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
