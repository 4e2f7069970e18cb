//! Carts.

use emporium::loadtest::client::Request;
use serde_json::{Value, json};

use crate::harness::{Body, Expect, Mismatches, TestApp, User};

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
        let lamp = app.product(&staff, "lamp", "2.50", 10).await;
        Self { app, staff, anna, lamp }
    }

    async fn cart(&self, user: &User) -> Value {
        self.app.get_as(user, "/api/cart/").await.expect_json(200)
    }

    async fn add(&self, product: i64, quantity: i64) -> Value {
        let body = json!({"product": product, "quantity": quantity});
        self.app.post_as(&self.anna, "/api/cart/items/", &body).await.expect_json(201)
    }
}

#[tokio::test]
async fn a_new_user_has_an_empty_cart() {
    let market = Market::open().await;
    let cart = market.cart(&market.anna).await;
    assert_eq!((&cart["items"], &cart["total_price"]), (&json!([]), &json!("0.00")));
    assert_eq!(cart["user"], json!(market.anna.id));
    assert_eq!(market.cart(&market.anna).await, cart);
    market.app.get("/api/cart/").await.expect_status(401);
}

#[tokio::test]
async fn the_same_product_again_adds_to_its_quantity() {
    let market = Market::open().await;
    let first = market.add(market.lamp, 2).await;
    let keys = ["id", "product", "name", "quantity", "price", "subtotal", "available", "added_at"];
    assert!(keys.iter().all(|key| first.get(key).is_some()), "{first}");
    assert_eq!((&first["price"], &first["subtotal"]), (&json!("2.50"), &json!("5.00")));
    let second = market.add(market.lamp, 3).await;
    assert_eq!((second.id(), &second["quantity"]), (first.id(), &json!(5)));
    let cart = market.cart(&market.anna).await;
    assert_eq!((cart["items"].ids(), &cart["total_price"]), (vec![first.id()], &json!("12.50")));
}

#[tokio::test]
async fn a_line_is_changed_and_removed_by_its_owner_alone() {
    let market = Market::open().await;
    let bert = market.app.customer("bert").await;
    let item = market.add(market.lamp, 2).await.id();
    let path = format!("/api/cart/items/{item}/");
    for method in [Request::put(&path), Request::patch(&path), Request::delete(&path)] {
        let request = method.clone().json(&json!({"quantity": 9}));
        market.app.send(&request.clone().bearer(&bert.access)).await.expect_status(404);
        market.app.send(&request).await.expect_status(401);
    }
    let changed = market.app.put_as(&market.anna, &path, &json!({"quantity": 7})).await.expect_json(200);
    assert_eq!(changed["quantity"], json!(7));
    let changed = market.app.patch_as(&market.anna, &path, &json!({"quantity": 4})).await.expect_json(200);
    assert_eq!(changed["subtotal"], "10.00");
    market.app.delete_as(&market.anna, &path).await.expect_status(204);
    market.app.delete_as(&market.anna, &path).await.expect_status(404);
    market.app.put_as(&market.anna, &path, &json!({"quantity": 1})).await.expect_status(404);
    assert_eq!(market.cart(&market.anna).await["items"], json!([]));
}

#[tokio::test]
async fn a_cart_can_be_emptied_at_once() {
    let market = Market::open().await;
    market.add(market.lamp, 2).await;
    for _ in 0..2 {
        market.app.delete_as(&market.anna, "/api/cart/").await.expect_status(204);
        assert_eq!(market.cart(&market.anna).await["items"], json!([]));
    }
}

#[tokio::test]
async fn quantities_and_products_are_checked() {
    let market = Market::open().await;
    let mut mismatches = Mismatches::default();
    let rows = [
        json!({}),
        json!({"product": market.lamp}),
        json!({"quantity": 1}),
        json!({"product": market.lamp, "quantity": 0}),
        json!({"product": market.lamp, "quantity": -1}),
        json!({"product": market.lamp, "quantity": 1_000_001}),
        json!({"product": market.lamp, "quantity": 1.5}),
        json!({"product": market.lamp, "quantity": "x"}),
        json!({"product": market.lamp, "quantity": null}),
        json!({"product": market.lamp, "quantity": true}),
        json!({"product": market.lamp, "quantity": [1]}),
        json!({"product": 999_999, "quantity": 1}),
        json!({"product": "x", "quantity": 1}),
        json!({"product": null, "quantity": 1}),
        json!({"product": {}, "quantity": 1}),
        json!({"product": 1e20, "quantity": 1}),
    ];
    for body in rows {
        let answer = market.app.post_as(&market.anna, "/api/cart/items/", &body).await;
        let is_fields = answer.json::<Value>().is_ok_and(|found| found.is_object());
        mismatches.check(answer.status == 400 && is_fields, || {
            format!("{body}: {} {}", answer.status, answer.text())
        });
    }
    mismatches.none();
    assert_eq!(market.cart(&market.anna).await["items"], json!([]));
    market.add(market.lamp, 1_000_000).await;
    let one_more = json!({"product": market.lamp, "quantity": 1});
    market.app.post_as(&market.anna, "/api/cart/items/", &one_more).await.expect_status(400);
}

#[tokio::test]
async fn a_cart_promises_no_stock_and_no_price() {
    let market = Market::open().await;
    let line = market.add(market.lamp, 500).await;
    assert_eq!((&line["quantity"], &line["available"]), (&json!(500), &json!(10)));
    let path = format!("/api/products/{}/", market.lamp);
    market.app.patch_as(&market.staff, &path, &json!({"price": "3.00", "stock": 4})).await.expect_status(200);
    let cart = market.cart(&market.anna).await;
    let line = &cart["items"][0];
    assert_eq!(
        (&line["price"], &line["available"], &cart["total_price"]),
        (&json!("3.00"), &json!(4), &json!("1500.00"))
    );
    market.app.delete_as(&market.staff, &path).await.expect_status(204);
    assert_eq!(market.cart(&market.anna).await["items"], json!([]));
}

#[tokio::test]
async fn twenty_additions_at_once_on_two_nodes_are_all_there() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    let body = json!({"product": market.lamp, "quantity": 1});
    let additions = (0..20).map(|n| {
        let (market, second, body) = (&market, &second, &body);
        async move {
            let node = if n % 2 == 0 { &*market.app } else { second };
            node.post_as(&market.anna, "/api/cart/items/", body).await.status
        }
    });
    let statuses = futures_util::future::join_all(additions).await;
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
    assert_eq!(market.cart(&market.anna).await["items"][0]["quantity"], json!(20));
    assert_eq!(
        second.get_as(&market.anna, "/api/cart/").await.expect_json(200)["items"][0]["quantity"],
        json!(20)
    );
}

#[tokio::test]
async fn an_addition_repeated_with_its_key_adds_once() {
    let market = Market::open().await;
    let add = async |quantity: i64| {
        let body = json!({"product": market.lamp, "quantity": quantity});
        let request =
            Request::post("/api/cart/items/").bearer(&market.anna.access).header("idempotency-key", "k");
        market.app.send(&request.json(&body)).await
    };
    let first = add(2).await;
    let again = add(2).await;
    assert_eq!(first.expect_json(201), again.expect_json(201));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    add(3).await.expect_status(422);
    assert_eq!(market.cart(&market.anna).await["items"][0]["quantity"], json!(2));
}

#[tokio::test]
async fn the_last_free_line_of_a_cart_is_given_once_however_many_want_it() {
    let market = Market::open().await;
    let second = market.app.second_node().await;
    market
        .app
        .sql(&format!(
            "INSERT INTO products (name, price_cents, category_id) SELECT 'p' || n, 100, 1 FROM generate_series(1, 1019) n;
             INSERT INTO stock (product_id, quantity) SELECT id, 0 FROM products WHERE name ~ '^p[0-9]+$';
             INSERT INTO cart_items (cart_id, product_id, quantity)
                SELECT (SELECT id FROM carts WHERE user_id = {}), id, 1
                FROM products WHERE name ~ '^p[0-9]+$' ORDER BY products.id LIMIT 999",
            market.anna.id
        ))
        .await;
    // The products that are not in the cart follow those that are.
    let additions = (0..20).map(|n| {
        let node = if n % 2 == 0 { &*market.app } else { &second };
        let (anna, body) = (&market.anna, json!({"product": market.lamp + 1000 + n, "quantity": 1}));
        async move { node.post_as(anna, "/api/cart/items/", &body).await.status }
    });
    let statuses = futures_util::future::join_all(additions).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 400].contains(status)), "{statuses:?}");
    assert_eq!(market.cart(&market.anna).await["items"].as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_cart_holds_a_thousand_lines_and_no_more() {
    let market = Market::open().await;
    let last = market.app.product(&market.staff, "one too many", "1.00", 1).await;
    // A thousand products and lines are made behind the shop's back; over HTTP it would only take longer.
    market
        .app
        .sql(&format!(
            "INSERT INTO products (name, price_cents, category_id) SELECT 'p' || n, 100, 1 FROM generate_series(1, 1000) n;
             INSERT INTO stock (product_id, quantity) SELECT id, 0 FROM products WHERE name ~ '^p[0-9]+$';
             INSERT INTO cart_items (cart_id, product_id, quantity)
                SELECT (SELECT id FROM carts WHERE user_id = {}), id, 1 FROM products WHERE name ~ '^p[0-9]+$'",
            market.anna.id
        ))
        .await;
    assert_eq!(market.cart(&market.anna).await["items"].as_array().unwrap().len(), 1000);
    let body = json!({"product": last, "quantity": 1});
    market.app.post_as(&market.anna, "/api/cart/items/", &body).await.expect_status(400);
}

#[tokio::test]
async fn a_checkout_and_a_cancellation_read_no_stock_but_their_own() {
    const PRODUCTS: i64 = 20_000;
    const ROUNDS: i64 = 12;
    let market = Market::open().await;
    // Few categories: a planner that guesses how many stocks a category's removal may touch guesses high.
    let catalogue = format!(
        "INSERT INTO categories (name) SELECT 'category ' || n FROM generate_series(1, 2) AS n;
        INSERT INTO products (sku, name, price_cents, category_id)
        SELECT 'SKU-' || n, 'product ' || n, 100, (SELECT min(id) FROM categories) + n % 2
        FROM generate_series(1, {PRODUCTS}) AS n;
        INSERT INTO stock (product_id, quantity) SELECT id, 5 FROM products ON CONFLICT DO NOTHING;
        ANALYZE"
    );
    market.app.sql(&catalogue).await;
    let scans = |column: &'static str| {
        let sql = format!("SELECT {column} FROM pg_stat_user_tables WHERE relname = 'stock'");
        let app = &market.app;
        async move { app.count(&sql).await }
    };
    let (by_index, one_by_one) = (scans("idx_scan").await, scans("seq_tup_read").await);
    // More often than a statement is planned for what it is given.
    for _ in 0..ROUNDS {
        market.add(market.lamp, 1).await;
        let order = market.app.post_as(&market.anna, "/api/orders/", &json!({})).await.expect_json(201);
        let path = format!("/api/orders/{}/cancel/", order.id());
        market.app.post_as(&market.anna, &path, &json!({})).await.expect_json(200);
    }
    // A connection tells what it counted when it ends; each is waited for.
    market
        .app
        .sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    assert!(scans("idx_scan").await >= by_index + 2 * ROUNDS, "the scans are not counted");
    let read = scans("seq_tup_read").await - one_by_one;
    assert!(read < PRODUCTS, "{read} stocks read one by one for {ROUNDS} orders of one product");
}
