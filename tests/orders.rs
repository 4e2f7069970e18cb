//! Orders: placing, refusing, moving, listing, and what holds when many do it at once.

use std::collections::HashSet;
use std::time::Duration;

use emporium::loadtest::client::{Answer, Request};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Body, Expect, Mismatches, Node, TestApp, User, eventually, order_of};

struct Market {
    app: TestApp,
    staff: User,
    anna: User,
}

impl Market {
    async fn open() -> Self {
        Self::open_with(&[]).await
    }

    async fn open_with(own: &[(&str, &str)]) -> Self {
        let app = TestApp::start_with(own).await;
        let staff = app.staff().await;
        let anna = app.customer("anna").await;
        Self { app, staff, anna }
    }

    async fn product(&self, name: &str, price: &str, stock: i64) -> i64 {
        self.app.product(&self.staff, name, price, stock).await
    }

    async fn fill_cart(&self, product: i64, quantity: i64) {
        let body = json!({"product": product, "quantity": quantity});
        self.app.post_as(&self.anna, "/api/cart/items/", &body).await.expect_status(201);
    }

    /// Moves an order; as staff.
    async fn push(&self, order: i64, step: &str) -> Answer {
        self.app.post_as(&self.staff, &format!("/api/orders/{order}/{step}/"), &json!({})).await
    }

    async fn order_of(&self, user: &User, order: i64) -> Value {
        self.app.get_as(user, &format!("/api/orders/{order}/")).await.expect_json(200)
    }

    async fn is_sound(&self) {
        self.app.audit_is_clean(&self.staff).await;
    }
}

/// An order with an idempotency key.
async fn order_with_key(node: &Node, user: &User, key: &str, body: &Value) -> Answer {
    let request = Request::post("/api/orders/").bearer(&user.access).header("idempotency-key", key);
    node.send(&request.json(body)).await
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn the_cart_becomes_an_order_and_is_empty() {
    let market = Market::open().await;
    let (lamp, chair) = (market.product("lamp", "2.50", 10).await, market.product("chair", "40.00", 3).await);
    market.fill_cart(lamp, 4).await;
    market.fill_cart(chair, 1).await;
    let answer = market.app.post_as(&market.anna, "/api/orders/", &json!({})).await;
    let order = answer.expect_json(201);
    assert_eq!(
        (&order["total_price"], &order["status"], &order["is_paid"]),
        (&json!("50.00"), &json!("pending"), &json!(false))
    );
    assert_eq!(order["user"], json!(market.anna.id));
    let line = &order["items"][0];
    assert_eq!((&line["product"], &line["name"]), (&json!(lamp), &json!("lamp")));
    assert_eq!(
        (&line["quantity"], &line["price"], &line["subtotal"]),
        (&json!(4), &json!("2.50"), &json!("10.00"))
    );
    let mut keys: Vec<&String> = order.as_object().unwrap().keys().collect();
    keys.sort();
    let expected =
        ["created_at", "expires_at", "id", "is_paid", "items", "status", "total_price", "updated_at", "user"];
    assert_eq!(keys, expected);
    assert_eq!(market.order_of(&market.anna, order.id()).await, order);
    assert_eq!(market.app.get_as(&market.anna, "/api/cart/").await.expect_json(200)["items"], json!([]));
    assert_eq!((market.app.stock(lamp).await, market.app.stock(chair).await), (6, 2));
    market.is_sound().await;
}

#[tokio::test]
async fn an_order_without_a_cart_adds_up_a_product_named_twice_and_leaves_the_cart() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    market.fill_cart(lamp, 1).await;
    let body = order_of(&[(lamp, 2), (lamp, 3)]);
    let order = market.app.post_as(&market.anna, "/api/orders/", &body).await.expect_json(201);
    assert_eq!(order["items"].as_array().unwrap().len(), 1);
    assert_eq!((&order["items"][0]["quantity"], &order["total_price"]), (&json!(5), &json!("12.50")));
    let cart = market.app.get_as(&market.anna, "/api/cart/").await.expect_json(200);
    assert_eq!(cart["items"][0]["quantity"], json!(1));
    market.is_sound().await;
}

#[tokio::test]
async fn two_buyers_of_the_last_unit_get_one_order() {
    let market = Market::open().await;
    let bert = market.app.customer("bert").await;
    for round in 0..5 {
        let lamp = market.product(&format!("lamp {round}"), "2.50", 1).await;
        let (a, b) = tokio::join!(market.app.order(&market.anna, lamp, 1), market.app.order(&bert, lamp, 1));
        assert_eq!(statuses(&[a.clone(), b.clone()]), [201, 409], "{} {}", a.text(), b.text());
        assert_eq!(market.app.stock(lamp).await, 0);
    }
    market.is_sound().await;
}

#[tokio::test]
async fn twenty_buyers_of_ten_units_on_two_nodes_get_ten_orders() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let buyers = (0..20).map(|n| {
        let node = if n % 2 == 0 { &*market.app } else { &second };
        node.order(&market.anna, lamp, 1)
    });
    let answers = join_all(buyers).await;
    let statuses = statuses(&answers);
    assert_eq!(
        (statuses.iter().filter(|s| **s == 201).count(), statuses.iter().filter(|s| **s == 409).count()),
        (10, 10)
    );
    let ids: HashSet<i64> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| answer.expect_json(201).id())
        .collect();
    assert_eq!(ids.len(), 10);
    eventually(Duration::from_secs(1), "both nodes show nothing left", async || {
        (market.app.stock(lamp).await == 0 && second.stock(lamp).await == 0).then_some(())
    })
    .await;
    market.is_sound().await;
}

#[tokio::test]
async fn orders_that_cross_on_two_products_never_hang() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let (a, b) = (market.product("a", "1.00", 1000).await, market.product("b", "1.00", 1000).await);
    let orders = (0..40).map(|n| {
        let lines = if n % 2 == 0 { [(a, 1), (b, 2)] } else { [(b, 1), (a, 2)] };
        let node = if n % 4 < 2 { &*market.app } else { &second };
        let anna = &market.anna;
        async move { node.post_as(anna, "/api/orders/", &order_of(&lines)).await }
    });
    let answers = join_all(orders).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "{:?}", statuses(&answers));
    market.is_sound().await;
}

#[tokio::test]
async fn a_node_that_has_just_sold_a_product_misses_nothing_that_another_node_does_to_it() {
    let market = Market::open().await;
    let (first, second) = (&*market.app, market.app.second_node().await);
    let (anna, staff) = (&market.anna, &market.staff);
    let lamp = market.product("lamp", "2.50", 100).await;
    let path = format!("/api/products/{lamp}/");
    let sell = async |node: &Node, quantity| node.placed(anna, lamp, quantity).await;
    sell(first, 1).await;
    sell(first, 1).await;

    // Its sales, each seen by the other's next one.
    for _ in 0..10 {
        sell(&second, 1).await;
        sell(first, 1).await;
    }
    let short = first.order(anna, lamp, 79).await.expect_json(409);
    assert_eq!(short["items"], json!([{"product": lamp, "requested": 79, "available": 78}]));

    // Its price and name.
    second.patch_as(staff, &path, &json!({"price": "3.00", "name": "bright lamp"})).await.expect_json(200);
    let line = sell(first, 1).await["items"][0].clone();
    assert_eq!((&line["price"], &line["name"]), (&json!("3.00"), &json!("bright lamp")));

    // What comes in, and what goes out again.
    let correction = format!("{path}stock/");
    second.post_as(staff, &correction, &json!({"delta": 23, "reason": "found"})).await.expect_json(200);
    sell(first, 100).await;
    assert_eq!(first.order(anna, lamp, 1).await.status, 409);
    second.post_as(staff, &correction, &json!({"delta": 5, "reason": "found"})).await.expect_json(200);
    eventually(Duration::from_secs(1), "the first node has heard of it", async || {
        (first.order(anna, lamp, 1).await.status == 201).then_some(())
    })
    .await;

    // An answer that it gave to a key.
    let one = order_of(&[(lamp, 1)]);
    let order = order_with_key(&second, anna, "key", &one).await.expect_json(201);
    let again = order_with_key(first, anna, "key", &one).await;
    assert_eq!((again.header("idempotency-replayed"), again.expect_json(201)), (Some("true"), order));

    // And its end.
    second.delete_as(staff, &path).await.expect_status(204);
    assert_eq!(first.order(anna, lamp, 1).await.status, 400);
    market.is_sound().await;
}

#[tokio::test]
async fn a_double_clicked_checkout_is_one_order() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    for round in 1..=5 {
        market.fill_cart(lamp, 1).await;
        let body = json!({});
        let click = || market.app.post_as(&market.anna, "/api/orders/", &body);
        let (a, b) = tokio::join!(click(), click());
        assert_eq!(statuses(&[a.clone(), b.clone()]), [201, 400], "{} {}", a.text(), b.text());
        let refused = if a.status == 400 { a } else { b };
        assert_eq!(refused.expect_json(400)["code"], "empty_cart");
        assert_eq!(market.app.stock(lamp).await, 10 - round);
    }
    market.is_sound().await;
}

#[tokio::test]
async fn a_checkout_double_clicked_on_two_nodes_is_one_order() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    for round in 1..=5 {
        market.fill_cart(lamp, 1).await;
        let body = json!({});
        let (a, b) = tokio::join!(
            market.app.post_as(&market.anna, "/api/orders/", &body),
            second.post_as(&market.anna, "/api/orders/", &body)
        );
        assert_eq!(statuses(&[a.clone(), b.clone()]), [201, 400], "{} {}", a.text(), b.text());
        assert_eq!(
            market.app.get_as(&market.staff, "/api/orders/").await.expect_json(200).ids().len(),
            round
        );
    }
    market.is_sound().await;
}

#[tokio::test]
async fn what_is_added_while_the_cart_is_checked_out_is_ordered_or_still_there() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let mut products = Vec::new();
    for n in 0..3 {
        products.push(market.product(&format!("p{n}"), "1.00", 1000).await);
    }
    let additions = (0..60).map(|n| {
        let (node, anna) = (if n % 2 == 0 { &*market.app } else { &second }, &market.anna);
        let body = json!({"product": products[n % 3], "quantity": 1});
        async move { node.post_as(anna, "/api/cart/items/", &body).await.status }
    });
    let checkouts = (0..40).map(|n| {
        let (node, anna) = (if n % 2 == 0 { &second } else { &*market.app }, &market.anna);
        async move { node.post_as(anna, "/api/orders/", &json!({})).await }
    });
    let (additions, checkouts) = tokio::join!(join_all(additions), join_all(checkouts));
    assert!(additions.iter().all(|status| *status == 201), "{additions:?}");
    let units = |list: &Value| -> i64 {
        list["items"].as_array().unwrap().iter().map(|line| line["quantity"].as_i64().unwrap()).sum()
    };
    let mut ordered = 0;
    for answer in checkouts {
        match answer.status {
            201 => ordered += units(&answer.expect_json(201)),
            _ => assert_eq!(answer.expect_json(400)["code"], "empty_cart"),
        }
    }
    let left = units(&market.app.get_as(&market.anna, "/api/cart/").await.expect_json(200));
    assert_eq!(ordered + left, 60, "{ordered} ordered, {left} left");
    market.is_sound().await;
}

#[tokio::test]
async fn an_order_short_of_stock_takes_nothing_and_names_what_is_short() {
    let market = Market::open().await;
    let (lamp, chair) = (market.product("lamp", "2.50", 5).await, market.product("chair", "40.00", 1).await);
    market.fill_cart(lamp, 5).await;
    market.fill_cart(chair, 2).await;
    let refused = market.app.post_as(&market.anna, "/api/orders/", &json!({})).await.expect_json(409);
    assert_eq!(refused["code"], "out_of_stock");
    assert!(refused["detail"].is_string());
    assert_eq!(refused["items"], json!([{"product": chair, "requested": 2, "available": 1}]));
    assert_eq!((market.app.stock(lamp).await, market.app.stock(chair).await), (5, 1));
    let cart = market.app.get_as(&market.anna, "/api/cart/").await.expect_json(200);
    assert_eq!(cart["items"].as_array().unwrap().len(), 2);
    assert_eq!(market.app.get_as(&market.anna, "/api/orders/").await.expect_json(200), json!([]));
    market.is_sound().await;
}

#[tokio::test]
async fn a_bad_order_is_a_400_that_takes_nothing() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let gone = market.product("gone", "2.50", 10).await;
    market.app.delete_as(&market.staff, &format!("/api/products/{gone}/")).await.expect_status(204);
    let line =
        |product: Value, quantity: Value| json!({"items": [{"product": product, "quantity": quantity}]});
    let mut mismatches = Mismatches::default();
    let too_many: Vec<(i64, i64)> = (0..1001).map(|n| (lamp + n, 1)).collect();
    for body in [
        json!({"items": []}),
        json!({"items": null}),
        json!({"items": {}}),
        json!({"items": "x"}),
        json!({"items": [1]}),
        json!({"items": [{}]}),
        json!({"items": [null]}),
        line(json!(lamp), json!(0)),
        line(json!(lamp), json!(-1)),
        line(json!(lamp), json!(1_000_001)),
        line(json!(lamp), json!(1.5)),
        line(json!(lamp), json!("x")),
        line(json!(lamp), json!(null)),
        line(json!(lamp), json!(true)),
        line(json!(lamp), json!(9_000_000_000_000_000_000_i64)),
        line(json!("x"), json!(1)),
        line(json!(null), json!(1)),
        line(json!([]), json!(1)),
        line(json!(1e300), json!(1)),
        line(json!(999_999), json!(1)),
        line(json!(gone), json!(1)),
        line(json!(-5), json!(1)),
        order_of(&[(lamp, 1), (gone, 1)]),
        order_of(&[(lamp, 600_000), (lamp, 600_000)]),
        order_of(&too_many),
        json!({"items": [{"product": lamp, "quantity": 1}], "expected_total": "abc"}),
    ] {
        let answer = market.app.post_as(&market.anna, "/api/orders/", &body).await;
        let holds = answer.status == 400 && answer.json::<Value>().is_ok_and(|found| found.is_object());
        mismatches
            .check(holds, || format!("{:.90}: {} {:.200}", body.to_string(), answer.status, answer.text()));
    }
    mismatches.none();
    for unknown in [999_999, gone] {
        let answer = market.app.order(&market.anna, unknown, 1).await.expect_json(400);
        assert!(answer["items"][0].is_string(), "{answer}");
    }
    let empty = market.app.post_as(&market.anna, "/api/orders/", &json!({})).await.expect_json(400);
    assert_eq!(empty["code"], "empty_cart");
    market.app.send(&Request::post("/api/orders/").json(&json!({}))).await.expect_status(401);
    assert_eq!(market.app.stock(lamp).await, 10);
    market.is_sound().await;
}

#[tokio::test]
async fn a_total_beyond_the_contract_is_refused_and_the_largest_is_exact() {
    let market = Market::open().await;
    let dear = market.product("dear", "99999999.99", 2_000_000).await;
    let cents = market.product("cents", "99.99", 1).await;
    // 10,000 of the dearest is 999,999,999,900.00; 99.99 more is the most there may be.
    let most = order_of(&[(dear, 10_000), (cents, 1)]);
    market.app.post_as(&market.anna, "/api/orders/", &order_of(&[(dear, 10_001)])).await.expect_status(400);
    market
        .app
        .post_as(&market.anna, "/api/orders/", &order_of(&[(dear, 1_000_000)]))
        .await
        .expect_status(400);
    assert_eq!(market.app.stock(dear).await, 2_000_000);
    let order = market.app.post_as(&market.anna, "/api/orders/", &most).await.expect_json(201);
    assert_eq!(order["total_price"], "999999999999.99");
    let free = market.product("free", "0.00", 1).await;
    assert_eq!(market.app.placed(&market.anna, free, 1).await["total_price"], "0.00");
    market.is_sound().await;
}

#[tokio::test]
async fn an_expected_total_guards_against_a_changed_price() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    market.fill_cart(lamp, 2).await;
    let path = format!("/api/products/{lamp}/");
    market.app.patch_as(&market.staff, &path, &json!({"price": "3.00"})).await.expect_status(200);
    let expecting = |total: &str| json!({"expected_total": total});
    let refused = market.app.post_as(&market.anna, "/api/orders/", &expecting("5.00")).await.expect_json(409);
    assert_eq!(refused["code"], "price_changed");
    assert!(refused.to_string().contains("\"6.00\""), "the new total is told: {refused}");
    assert_eq!(market.app.stock(lamp).await, 10);
    let order = market.app.post_as(&market.anna, "/api/orders/", &expecting("6.00")).await.expect_json(201);
    // A later change of price is none of the order's.
    market
        .app
        .patch_as(&market.staff, &path, &json!({"price": "9.00", "name": "lantern"}))
        .await
        .expect_status(200);
    assert_eq!(market.order_of(&market.anna, order.id()).await, order);
}

#[tokio::test]
async fn a_repeated_order_with_one_key_is_one_order() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let body = order_of(&[(lamp, 2)]);
    let first = order_with_key(&market.app, &market.anna, "k-1", &body).await;
    let again = order_with_key(&market.app, &market.anna, "k-1", &body).await;
    assert_eq!(first.expect_json(201), again.expect_json(201));
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    let other = order_with_key(&market.app, &market.anna, "k-1", &order_of(&[(lamp, 3)])).await;
    assert!(other.expect_json(422)["detail"].is_string());
    // The key is another user's own, and another path's.
    let bert = market.app.customer("bert").await;
    let bert_order = order_with_key(&market.app, &bert, "k-1", &body).await.expect_json(201);
    assert_ne!(bert_order.id(), first.expect_json(201).id());
    assert_eq!(market.app.stock(lamp).await, 6);
    market.is_sound().await;
}

#[tokio::test]
async fn an_order_repeated_with_its_key_is_answered_as_it_was_placed_though_much_has_changed_since() {
    let market = Market::open().await;
    let lamp = market.product("lamp \"Söder\"", "2.50", 10).await;
    let shade = market.product("shade", "0.99", 10).await;
    let body = order_of(&[(shade, 2), (lamp, 1)]);
    let first = order_with_key(&market.app, &market.anna, "k", &body).await;
    let order = first.expect_json(201).id();
    market.push(order, "pay").await.expect_status(200);
    market.push(order, "ship").await.expect_status(200);
    let (path, change) = (format!("/api/products/{lamp}/"), json!({"name": "candle", "price": "9.00"}));
    market.app.patch_as(&market.staff, &path, &change).await.expect_status(200);
    market.app.delete_as(&market.staff, &format!("/api/products/{shade}/")).await.expect_status(204);
    let again = order_with_key(&market.app, &market.anna, "k", &body).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!(String::from_utf8_lossy(&again.body), String::from_utf8_lossy(&first.body));
    market.is_sound().await;
}

#[tokio::test]
async fn a_key_whose_order_somebody_has_removed_places_none_and_is_nobody_elses_trouble() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let body = order_of(&[(lamp, 1)]);
    order_with_key(&market.app, &market.anna, "k", &body).await.expect_status(201);
    market.app.database().client().await.batch_execute("DELETE FROM orders").await.unwrap();
    let again = order_with_key(&market.app, &market.anna, "k", &body);
    let others = (0..20).map(|_| market.app.order(&market.anna, lamp, 1));
    let (again, others) = tokio::join!(again, join_all(others));
    again.expect_status(500);
    assert_eq!(others.iter().filter(|other| other.status == 201).count(), 9);
    assert_eq!(others.iter().filter(|other| other.status == 409).count(), 11);
}

#[tokio::test]
async fn a_checkout_repeated_with_its_key_finds_its_order_though_the_cart_is_empty() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    market.fill_cart(lamp, 2).await;
    let first = order_with_key(&market.app, &market.anna, "k", &json!({})).await.expect_json(201);
    let again = order_with_key(&market.app, &market.anna, "k", &json!({})).await;
    assert_eq!((again.expect_json(201), again.header("idempotency-replayed")), (first, Some("true")));
}

#[tokio::test]
async fn a_refused_order_may_be_sent_again_with_its_key() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 1).await;
    let body = order_of(&[(lamp, 2)]);
    order_with_key(&market.app, &market.anna, "k", &body).await.expect_status(409);
    let path = format!("/api/products/{lamp}/stock/");
    let more = json!({"delta": 1, "reason": "found one"});
    market.app.post_as(&market.staff, &path, &more).await.expect_status(200);
    let placed = order_with_key(&market.app, &market.anna, "k", &body).await;
    assert_eq!(placed.header("idempotency-replayed"), None);
    placed.expect_status(201);
    assert_eq!(market.app.stock(lamp).await, 0);
}

#[tokio::test]
async fn twins_with_one_key_at_once_on_two_nodes_are_one_order() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let lamp = market.product("lamp", "2.50", 100).await;
    for round in 0..5 {
        let (key, body) = (format!("twin-{round}"), order_of(&[(lamp, 1)]));
        let twins = (0..6).map(|n| {
            let node = if n % 2 == 0 { &*market.app } else { &second };
            order_with_key(node, &market.anna, &key, &body)
        });
        let answers = join_all(twins).await;
        let ids: HashSet<i64> = answers.iter().map(|answer| answer.expect_json(201).id()).collect();
        assert_eq!(ids.len(), 1);
        let new = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_none()).count();
        assert_eq!(new, 1, "one of the answers is the first");
    }
    eventually(Duration::from_secs(1), "five were sold", async || {
        (market.app.stock(lamp).await == 95).then_some(())
    })
    .await;
    market.is_sound().await;
}

#[tokio::test]
async fn keys_are_one_to_255_visible_characters() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 100).await;
    let body = order_of(&[(lamp, 1)]);
    order_with_key(&market.app, &market.anna, &"k".repeat(255), &body).await.expect_status(201);
    for key in ["k".repeat(256), "a b".to_owned(), String::new()] {
        let answer = order_with_key(&market.app, &market.anna, &key, &body).await;
        assert_eq!(answer.status, 400, "{key:.20}: {}", answer.text());
    }
}

#[tokio::test]
async fn orders_move_along_the_arrows_and_no_others() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 1000).await;
    let steps = ["pay", "ship", "deliver", "cancel", "refund"];
    let ways: [(&[&str], &str, &[&str]); 7] = [
        (&[], "pending", &["pay", "cancel"]),
        (&["pay"], "paid", &["ship", "cancel", "refund"]),
        (&["pay", "ship"], "shipped", &["deliver", "refund"]),
        (&["pay", "ship", "deliver"], "delivered", &["refund"]),
        (&["cancel"], "cancelled", &[]),
        (&["pay", "cancel"], "cancelled", &[]),
        (&["pay", "refund"], "refunded", &[]),
    ];
    let mut mismatches = Mismatches::default();
    for (way, status, allowed) in ways {
        for step in steps {
            let order = market.app.placed(&market.anna, lamp, 1).await.id();
            for earlier in way {
                market.push(order, earlier).await.expect_status(200);
            }
            let before = market.order_of(&market.anna, order).await;
            assert_eq!(
                (&before["status"], &before["is_paid"]),
                (&json!(status), &json!(["paid", "shipped", "delivered"].contains(&status)))
            );
            let answer = market.push(order, step).await;
            let after = market.order_of(&market.anna, order).await;
            let holds = if allowed.contains(&step) {
                answer.status == 200
                    && answer.json::<Value>().is_ok_and(|shown| shown == after)
                    && after != before
            } else {
                answer.status == 409
                    && answer.json::<Value>().is_ok_and(|found| found["code"] == "invalid_transition")
                    && after == before
            };
            mismatches.check(holds, || format!("{status} --{step}-->: {} {}", answer.status, answer.text()));
        }
    }
    mismatches.none();
    market.is_sound().await;
}

#[tokio::test]
async fn a_customer_cancels_while_pending_and_moves_nothing_else() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let order = market.app.placed(&market.anna, lamp, 3).await.id();
    let mine = |step: &'static str| {
        let path = format!("/api/orders/{order}/{step}/");
        let market = &market;
        async move { market.app.post_as(&market.anna, &path, &json!({})).await }
    };
    for step in ["pay", "ship", "deliver", "refund"] {
        mine(step).await.expect_status(403);
    }
    assert_eq!(market.app.stock(lamp).await, 7);
    assert_eq!(mine("cancel").await.expect_json(200)["status"], "cancelled");
    assert_eq!(market.app.stock(lamp).await, 10);
    assert_eq!(mine("cancel").await.expect_json(409)["code"], "invalid_transition");
    assert_eq!(market.app.stock(lamp).await, 10);

    let paid = market.app.placed(&market.anna, lamp, 3).await.id();
    market.push(paid, "pay").await.expect_status(200);
    let path = format!("/api/orders/{paid}/cancel/");
    let status = market.app.post_as(&market.anna, &path, &json!({})).await.status;
    assert!([403, 409].contains(&status), "{status}");
    market.push(paid, "cancel").await.expect_status(200);
    assert_eq!(market.app.stock(lamp).await, 10);
    market.is_sound().await;
}

#[tokio::test]
async fn cancels_at_once_give_the_stock_back_once() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    for _ in 0..5 {
        let order = market.app.placed(&market.anna, lamp, 3).await.id();
        let path = format!("/api/orders/{order}/cancel/");
        let body = json!({});
        let cancels = (0..6).map(|n| {
            let node = if n % 2 == 0 { &*market.app } else { &second };
            let user = if n % 3 == 0 { &market.staff } else { &market.anna };
            node.post_as(user, &path, &body)
        });
        let answers = join_all(cancels).await;
        assert_eq!(statuses(&answers), [200, 409, 409, 409, 409, 409]);
        eventually(Duration::from_secs(1), "the stock is back", async || {
            (market.app.stock(lamp).await == 10).then_some(())
        })
        .await;
    }
    market.is_sound().await;
}

#[tokio::test]
async fn a_payment_and_a_cancel_at_once_are_one_or_the_other() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    for _ in 0..5 {
        let order = market.app.placed(&market.anna, lamp, 1).await.id();
        let cancel = format!("/api/orders/{order}/cancel/");
        let body = json!({});
        let (paid, cancelled) =
            tokio::join!(market.push(order, "pay"), market.app.post_as(&market.anna, &cancel, &body));
        let status = market.order_of(&market.anna, order).await["status"].clone();
        match cancelled.status {
            200 => assert_eq!((paid.status, status), (409, json!("cancelled"))),
            // What a customer may not do to a paid order is either no arrow or no right of theirs.
            403 | 409 => assert_eq!((paid.status, status), (200, json!("paid"))),
            other => panic!("{other}: {}", cancelled.text()),
        }
    }
    market.is_sound().await;
}

#[tokio::test]
async fn a_move_repeated_with_its_key_gets_its_answer_again() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let order = market.app.placed(&market.anna, lamp, 3).await.id();
    let path = format!("/api/orders/{order}/cancel/");
    let request =
        Request::post(&path).bearer(&market.anna.access).header("idempotency-key", "k").json(&json!({}));
    let first = market.app.send(&request).await;
    let again = market.app.send(&request).await;
    assert_eq!(first.expect_json(200), again.expect_json(200));
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    assert_eq!(market.app.stock(lamp).await, 10);
}

#[tokio::test]
async fn an_unpaid_order_expires_and_gives_its_stock_back() {
    let market = Market::open_with(&[("EMPORIUM_ORDERS__HOLD_S", "1")]).await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let paid = market.app.placed(&market.anna, lamp, 2).await.id();
    market.push(paid, "pay").await.expect_status(200);
    let order = market.app.placed(&market.anna, lamp, 3).await.id();
    assert_eq!(market.app.stock(lamp).await, 5);
    eventually(Duration::from_secs(10), "the order expires", async || {
        (market.order_of(&market.anna, order).await["status"] == "expired").then_some(())
    })
    .await;
    assert_eq!(market.app.stock(lamp).await, 8);
    assert_eq!(market.push(order, "pay").await.expect_json(409)["code"], "invalid_transition");
    assert_eq!(market.order_of(&market.anna, paid).await["status"], "paid");
    market.is_sound().await;
}

#[tokio::test]
async fn somebody_elses_order_is_not_there() {
    let market = Market::open().await;
    let bert = market.app.customer("bert").await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let order = market.app.placed(&market.anna, lamp, 1).await.id();
    let theirs = format!("/api/orders/{order}/");
    let missing = market.app.get_as(&bert, "/api/orders/999999/").await;
    let answer = market.app.get_as(&bert, &theirs).await;
    assert_eq!((answer.status, answer.text()), (404, missing.text()));
    market.app.get_as(&bert, &format!("{theirs}history/")).await.expect_status(404);
    for step in ["cancel", "pay", "ship", "deliver", "refund"] {
        let status = market.app.post_as(&bert, &format!("{theirs}{step}/"), &json!({})).await.status;
        assert!(status == 404 || (step != "cancel" && status == 403), "{step}: {status}");
    }
    market.app.get(&theirs).await.expect_status(401);
    assert_eq!(market.app.get_as(&bert, "/api/orders/").await.expect_json(200), json!([]));
    assert_eq!(market.order_of(&market.staff, order).await.id(), order);
    assert_eq!(market.order_of(&market.anna, order).await["status"], "pending");
}

#[tokio::test]
async fn lists_are_newest_first_and_staff_filter_them() {
    let market = Market::open().await;
    let bert = market.app.customer("bert").await;
    let lamp = market.product("lamp", "2.50", 100).await;
    let mut annas = Vec::new();
    let mut berts = Vec::new();
    for _ in 0..3 {
        annas.insert(0, market.app.placed(&market.anna, lamp, 1).await.id());
        berts.insert(0, market.app.placed(&bert, lamp, 1).await.id());
    }
    market.push(annas[0], "pay").await.expect_status(200);
    let list = async |user: &User, query: &str| {
        market.app.get_as(user, &format!("/api/orders/{query}")).await.expect_json(200).ids()
    };
    assert_eq!(list(&market.anna, "").await, annas);
    assert_eq!(list(&bert, "").await, berts);
    assert_eq!(list(&market.staff, "").await.len(), 6);
    assert_eq!(list(&market.staff, &format!("?user={}", bert.id)).await, berts);
    assert_eq!(list(&market.staff, "?status=paid").await, [annas[0]]);
    assert_eq!(list(&market.staff, &format!("?status=pending&user={}", market.anna.id)).await, annas[1..]);
    // A customer's filter never shows more than is theirs.
    let of_bert = market.app.get_as(&market.anna, &format!("/api/orders/?user={}", bert.id)).await;
    if of_bert.status == 200 {
        assert!(of_bert.expect_json(200).ids().iter().all(|order| annas.contains(order)));
    }
    for odd in ["?status=nonsense", "?user=x", "?user=99999999999999999999", "?cursor=x"] {
        let status = market.app.get_as(&market.staff, &format!("/api/orders/{odd}")).await.status;
        assert!([200, 400, 404].contains(&status), "{odd}: {status}");
    }
}

#[tokio::test]
async fn pages_of_orders_give_each_once() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 100).await;
    for _ in 0..7 {
        market.app.placed(&market.anna, lamp, 1).await;
    }
    // Orders of one moment, too.
    market
        .app
        .sql("UPDATE orders SET created_at = (SELECT min(created_at) FROM orders) WHERE id % 2 = 0")
        .await;
    let whole = market.app.get_as(&market.anna, "/api/orders/").await.expect_json(200).ids();
    assert_eq!(whole.len(), 7);
    for size in [1, 2, 3, 7] {
        let mut walked = Vec::new();
        let mut next = Some(format!("/api/orders/?page_size={size}"));
        while let Some(path) = next {
            let answer = market.app.get_as(&market.anna, &path).await;
            walked.extend(answer.expect_json(200).ids());
            assert!(walked.len() <= 7, "{walked:?}");
            next = answer.header("link").map(|link| link[1..link.find('>').unwrap()].to_owned());
        }
        assert_eq!(walked, whole, "pages of {size}");
    }
}

#[tokio::test]
async fn an_order_keeps_its_history() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 100).await;
    let order = market.app.placed(&market.anna, lamp, 1).await.id();
    for step in ["pay", "ship", "refund"] {
        market.push(order, step).await.expect_status(200);
    }
    let path = format!("/api/orders/{order}/history/");
    let history = market.app.get_as(&market.anna, &path).await.expect_json(200);
    let steps: Vec<(&str, i64)> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["event"].as_str().unwrap(), step["by"].as_i64().unwrap()))
        .collect();
    let boss = market.staff.id;
    assert_eq!(steps, [("placed", market.anna.id), ("paid", boss), ("shipped", boss), ("refunded", boss)]);
    let times: Vec<&str> =
        history.as_array().unwrap().iter().map(|step| step["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn a_refund_leaves_the_stock_where_it_is() {
    let market = Market::open().await;
    let lamp = market.product("lamp", "2.50", 10).await;
    let order = market.app.placed(&market.anna, lamp, 4).await.id();
    for step in ["pay", "refund"] {
        market.push(order, step).await.expect_status(200);
    }
    assert_eq!(market.app.stock(lamp).await, 6);
    market.is_sound().await;
}
