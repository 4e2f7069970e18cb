//! The conservation check: clean after anything the shop did, and not fooled by what it did not do.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Body, Expect, TestApp};

#[tokio::test]
async fn the_books_agree_after_a_busy_day_on_two_nodes() {
    let app = TestApp::start().await;
    let second = app.second_node().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let mut products = Vec::new();
    for n in 0..4 {
        products.push(app.product(&staff, &format!("p{n}"), "1.25", 30).await);
    }
    let day = (0..120).map(|n: usize| {
        let node = if n.is_multiple_of(2) { &*app } else { &second };
        let product = products[n % products.len()];
        let (staff, anna) = (&staff, &anna);
        async move {
            let step = |order: i64, name: &str| format!("/api/orders/{order}/{name}/");
            let path = format!("/api/products/{product}/");
            match n % 8 {
                0..=3 => {
                    let placed = node.order(anna, product, 1 + (n % 3) as i64).await;
                    if placed.status == 201 && n % 4 == 1 {
                        let order = placed.expect_json(201).id();
                        node.post_as(anna, &step(order, "cancel"), &json!({})).await.expect_status(200);
                    } else if placed.status == 201 && n % 4 == 2 {
                        let order = placed.expect_json(201).id();
                        node.post_as(staff, &step(order, "pay"), &json!({})).await.expect_status(200);
                        node.post_as(staff, &step(order, "refund"), &json!({})).await.expect_status(200);
                    }
                    assert!([201, 409].contains(&placed.status), "{}", placed.text());
                }
                4 => {
                    let body = json!({"delta": 5, "reason": "delivery"});
                    node.post_as(staff, &format!("{path}stock/"), &body).await.expect_status(200);
                }
                5 => {
                    let body = json!({"delta": -2, "reason": "broken"});
                    let status = node.post_as(staff, &format!("{path}stock/"), &body).await.status;
                    assert!([200, 409].contains(&status), "{status}");
                }
                6 => {
                    node.patch_as(staff, &path, &json!({"stock": 10 + n})).await.expect_status(200);
                }
                _ => {
                    node.patch_as(staff, &path, &json!({"price": format!("{n}.00")}))
                        .await
                        .expect_status(200);
                }
            }
        }
    });
    // The check holds at any instant, so also while all of this goes on.
    let ((), ()) = tokio::join!(
        async {
            join_all(day).await;
        },
        async {
            for _ in 0..10 {
                app.audit_is_clean(&staff).await;
            }
        }
    );
    app.audit_is_clean(&staff).await;
    let audit = second.audit(&staff).await;
    assert_eq!(audit["products"], json!(4));
    assert!(audit["orders"].as_i64() > Some(20), "{audit}");
    let stocks: i64 = join_all(products.iter().map(|product| second.stock(*product))).await.iter().sum();
    assert_eq!(audit["units_in"].as_i64().unwrap() - audit["units_out"].as_i64().unwrap(), stocks, "{audit}");
}

#[tokio::test]
async fn a_stock_changed_behind_the_shops_back_is_named_with_its_difference() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let category = app.category(&staff, "all").await;
    let body = json!({"name": "lamp", "sku": "L-1", "price": "1.00", "category": category, "stock": 10});
    let lamp = app.post_as(&staff, "/api/products/", &body).await.expect_json(201).id();
    app.product_in(&staff, category, "chair", "1.00", 10).await;
    app.placed(&anna, lamp, 3).await;
    app.audit_is_clean(&staff).await;
    app.sql(&format!("UPDATE stock SET quantity = quantity + 1 WHERE product_id = {lamp}")).await;
    let audit = app.audit(&staff).await;
    assert_eq!(audit["ok"], json!(false));
    let expected = json!([{"product": lamp, "sku": "L-1", "name": "lamp", "expected": 7, "actual": 8}]);
    assert_eq!(audit["discrepancies"], expected);
}

#[tokio::test]
async fn a_lost_order_line_and_a_lost_stock_row_are_noticed() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "1.00", 10).await;
    let chair = app.product(&staff, "chair", "1.00", 10).await;
    app.placed(&anna, lamp, 3).await;
    app.sql("DELETE FROM order_items").await;
    app.sql(&format!("DELETE FROM stock WHERE product_id = {chair}")).await;
    let audit = app.audit(&staff).await;
    assert_eq!(audit["ok"], json!(false));
    let named: Vec<&Value> =
        audit["discrepancies"].as_array().unwrap().iter().map(|found| &found["product"]).collect();
    assert_eq!(named, [&json!(lamp), &json!(chair)]);
}

#[tokio::test]
async fn the_database_itself_refuses_a_stock_below_zero() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "1.00", 1).await;
    let (client, connection) =
        tokio_postgres::connect(app.database_url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let refused =
        client.execute("UPDATE stock SET quantity = quantity - 2 WHERE product_id = $1", &[&lamp]).await;
    assert!(refused.is_err());
    app.audit_is_clean(&staff).await;
}
