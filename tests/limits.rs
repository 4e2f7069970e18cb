//! How often one client may ask.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use emporium::loadtest::client::{Answer, Request};
use serde_json::{Value, json};

use crate::harness::{Expect, Node, TestApp, redis_url};

/// Three at once, and then one a minute.
const THREE_TRIES: [(&str, &str); 2] = [
    ("EMPORIUM_RATE_LIMIT__SIGN_IN_FAILURES_PER_MINUTE", "1"),
    ("EMPORIUM_RATE_LIMIT__SIGN_IN_FAILURES_BURST", "3"),
];
const FIVE_AT_ONCE: [(&str, &str); 2] =
    [("EMPORIUM_RATE_LIMIT__REQUESTS_PER_SECOND", "1"), ("EMPORIUM_RATE_LIMIT__REQUESTS_BURST", "5")];

/// Asks until it is refused; one more request is let in each second, so this takes a few.
async fn is_refused(ask: impl AsyncFn() -> u16) -> bool {
    for _ in 0..20 {
        if ask().await == 429 {
            return true;
        }
    }
    false
}

async fn get_from(node: &Node, forwarded_for: &str) -> u16 {
    node.send(&Request::get("/api/products/").header("x-forwarded-for", forwarded_for)).await.status
}

fn with<'a>(one: &[(&'a str, &'a str)], other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [one, other].concat()
}

/// A wrong password, and how that is answered.
async fn fail(node: &Node) -> Answer {
    node.try_log_in("anna", "wrong password").await
}

#[tokio::test]
async fn two_nodes_share_a_limit_through_redis() {
    let redis = redis_url();
    let app = TestApp::start_with(&with(&THREE_TRIES, &[("REDIS_URL", &redis)])).await;
    let second = app.second_node().await;
    let statuses = [
        fail(&app).await.status,
        fail(&second).await.status,
        fail(&app).await.status,
        fail(&second).await.status,
        fail(&app).await.status,
    ];
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    let third = app.second_node().await;
    let told = fail(&third).await;
    told.expect_status(429);
    let wait = told.retry_after().expect("a time to wait");
    assert!((1..=60).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn shops_that_share_a_redis_are_limited_apart() {
    let redis = redis_url();
    let settings = with(&THREE_TRIES, &[("REDIS_URL", &redis)]);
    let (one, other) = (TestApp::start_with(&settings).await, TestApp::start_with(&settings).await);
    for _ in 0..3 {
        fail(&one).await.expect_status(401);
    }
    fail(&one).await.expect_status(429);
    fail(&other).await.expect_status(401);
}

#[tokio::test]
async fn a_lost_redis_neither_refuses_nor_delays_nor_lifts_the_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("redis://{}", silent.local_addr().unwrap());
    for redis in ["redis://127.0.0.1:1", &silent] {
        let app = TestApp::start_with(&with(&THREE_TRIES, &[("REDIS_URL", redis)])).await;
        app.register("anna").await.expect_status(201);
        let began = Instant::now();
        app.log_in("anna").await;
        for expected in [401, 401, 401, 429] {
            fail(&app).await.expect_status(expected);
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn signing_in_never_counts_and_failures_at_once_are_all_counted() {
    let app = TestApp::start_with(&THREE_TRIES).await;
    app.register("anna").await.expect_status(201);
    for _ in 0..6 {
        app.log_in("anna").await;
    }
    let at_once = futures_util::future::join_all((0..8).map(|_| fail(&app))).await;
    assert!(at_once.iter().all(|answer| [401, 429].contains(&answer.status)));
    let failed = at_once.iter().filter(|answer| answer.status == 401).count();
    let told = fail(&app).await;
    told.expect_status(429);
    // Each failure beyond the three at once puts the next try off by another minute.
    let wait = told.retry_after().expect("a time to wait").as_secs();
    assert_eq!(wait.div_ceil(60), failed as u64 - 2, "{wait} s after {failed} failures");
    assert_eq!(app.try_log_in("anna", "correct horse battery").await.status, 429);
}

#[tokio::test]
async fn an_account_is_limited_apart_from_its_address() {
    let app = TestApp::start_with(&FIVE_AT_ONCE).await;
    let anna = app.customer("anna").await;
    assert!(is_refused(async || app.get("/api/products/").await.status).await);
    app.get_as(&anna, "/api/cart/").await.expect_status(200);
    assert!(is_refused(async || app.get_as(&anna, "/api/cart/").await.status).await);
}

#[tokio::test]
async fn bad_tokens_sockets_and_unknown_methods_count_as_well() {
    let app = TestApp::start_with(&FIVE_AT_ONCE).await;
    let bad_token = Request::get("/api/products/").bearer("garbage");
    assert!(is_refused(async || app.send(&bad_token).await.status).await);
    assert!(is_refused(async || app.try_socket("/ws/stock/", &[]).await.err().unwrap_or(101)).await);
    assert!(is_refused(async || app.send(&Request::delete("/api/auth/login/")).await.status).await);
    for path in ["/health/live/", "/health/ready/", "/metrics"] {
        assert!(!is_refused(async || app.get(path).await.status).await, "{path}");
    }
}

#[tokio::test]
async fn a_client_cannot_choose_the_address_that_it_is_counted_under() {
    let behind_one = with(&FIVE_AT_ONCE, &[("EMPORIUM_HTTP__TRUSTED_PROXY_HOPS", "1")]);
    let app = TestApp::start_with(&behind_one).await;
    let claimed = AtomicU8::new(0);
    let next = || claimed.fetch_add(1, Ordering::Relaxed);
    assert!(is_refused(async || get_from(&app, &format!("10.0.0.{}, 198.51.100.7", next())).await).await);
    assert_eq!(get_from(&app, "198.51.100.7, 198.51.100.8").await, 200, "another client");

    let direct = TestApp::start_with(&FIVE_AT_ONCE).await;
    assert!(is_refused(async || get_from(&direct, &format!("10.0.0.{}", next())).await).await);
}

#[tokio::test]
async fn who_waits_as_told_is_let_in_again() {
    let app = TestApp::start_with(&FIVE_AT_ONCE).await;
    let mut told = None;
    for _ in 0..20 {
        let answer = app.get("/api/products/").await;
        if answer.status == 429 {
            assert_eq!(answer.json::<Value>().unwrap()["code"], json!("throttled"));
            told = answer.retry_after();
            break;
        }
    }
    tokio::time::sleep(told.expect("a refusal")).await;
    app.get("/api/products/").await.expect_status(200);
}
