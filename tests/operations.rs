//! What whoever runs the shop looks at.

use std::time::Duration;

use emporium::loadtest::client::Request;
use serde_json::Value;

use crate::harness::{Expect, TestApp, eventually};

#[tokio::test]
async fn a_healthy_shop_says_so() {
    let app = TestApp::start().await;
    for path in ["/health/live/", "/health/ready/", "/health/live", "/health/ready"] {
        app.get(path).await.expect_status(200);
    }
}

#[tokio::test]
async fn a_shop_whose_database_is_not_migrated_is_not_ready() {
    let app = TestApp::start().await;
    app.sql("DELETE FROM refinery_schema_history").await;
    let answer = app.get("/health/ready/").await;
    assert!(answer.expect_json(503)["detail"].is_string());
    app.get("/health/live/").await.expect_status(200);
}

#[tokio::test]
async fn a_shop_outlives_its_lost_database_connections() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "1.00", 5).await;
    for _ in 0..3 {
        app.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
        eventually(Duration::from_secs(10), "orders are taken again", async || {
            (app.order(&staff, lamp, 1).await.status == 201).then_some(())
        })
        .await;
    }
    eventually(Duration::from_secs(5), "the books are read again", async || {
        (app.get_as(&staff, "/api/audit/").await.status == 200).then_some(())
    })
    .await;
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn the_front_page_answers_json_to_programs() {
    let app = TestApp::start().await;
    let answer = app.send(&Request::get("/").header("accept", "application/json")).await;
    assert!(answer.expect_json(200)["message"].is_string());
}

#[tokio::test]
async fn metrics_are_text_and_count_what_happens() {
    let app = TestApp::start().await;
    let (staff, anna) = (app.staff().await, app.customer("anna").await);
    let lamp = app.product(&staff, "lamp", "2.50", 10).await;
    app.placed(&anna, lamp, 1).await;
    let answer = app.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    let text = answer.text();
    // One batch for the product, one for the order.
    assert!(text.lines().any(|line| line == "emporium_batch_size_count 2"), "{text}");
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_a_sane_one_is_kept() {
    let app = TestApp::start().await;
    let of = async |request: Request| {
        app.send(&request).await.header("x-request-id").expect("a request id").to_owned()
    };
    let (a, b) = (of(Request::get("/api/products/")).await, of(Request::get("/nowhere/")).await);
    assert_ne!(a, b);
    assert_eq!(of(Request::get("/api/products/").header("x-request-id", "caller-7")).await, "caller-7");
    for odd in ["a b", "\u{e9}", &"x".repeat(1000)] {
        assert_ne!(of(Request::get("/api/products/").header("x-request-id", odd)).await, odd);
    }
}

#[tokio::test]
async fn answers_carry_the_safety_headers_of_the_reference() {
    let app = TestApp::start().await;
    for path in ["/api/products/", "/api/products/99/", "/api/cart/"] {
        let answer = app.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name} of {path}");
        }
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("Accept")), "{path}");
        assert!(answer.header("allow").is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_to_wait() {
    let app = TestApp::start_with(&[
        ("EMPORIUM_RATE_LIMIT__REQUESTS_PER_SECOND", "1"),
        ("EMPORIUM_RATE_LIMIT__REQUESTS_BURST", "5"),
    ])
    .await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let answer = app.get("/api/products/").await;
        if answer.status == 429 {
            assert!(answer.retry_after().is_some_and(|wait| !wait.is_zero()));
            assert!(answer.json::<Value>().unwrap()["detail"].is_string());
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..5], [200; 5]);
    assert!(statuses[6..].iter().all(|status| *status == 429), "{statuses:?}");
    // Health is for the load balancer, which asks as often as it likes.
    app.get("/health/live/").await.expect_status(200);
}
