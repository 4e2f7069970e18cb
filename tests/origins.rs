//! What pages of other origins may ask and read.

use emporium::loadtest::client::{Answer, Request};
use serde_json::json;

use crate::harness::{Expect, PASSWORD, TestApp};

const SHOP: &str = "https://shop.example";
const OWN: (&str, &str) = ("EMPORIUM_HTTP__ALLOWED_ORIGINS", "https://other.example,https://Shop.example");

/// What an answer says in a header, all lines of it, in lower case.
fn words(answer: &Answer, name: &str) -> Vec<String> {
    let lines = answer.header(name).unwrap_or_default().to_ascii_lowercase();
    lines.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

fn leave(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    Request::new("OPTIONS".parse().expect("a method"), path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization, content-type, idempotency-key")
}

#[tokio::test]
async fn a_listed_origin_may_ask_and_read_and_no_other() {
    let app = TestApp::start_with(&[OWN]).await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "2.50", 10).await;

    let answer = app.send(&preflight("/api/orders/", SHOP, "POST")).await;
    answer.expect_status(200);
    assert_eq!(leave(&answer), Some(SHOP));
    let methods = words(&answer, "access-control-allow-methods");
    for method in ["get", "head", "post", "put", "patch", "delete"] {
        assert!(methods.iter().any(|word| word == method), "{method}: {methods:?}");
    }
    let headers = words(&answer, "access-control-allow-headers");
    for header in ["authorization", "content-type", "idempotency-key"] {
        assert!(headers.iter().any(|word| word == header), "{header}: {headers:?}");
    }

    // Answers, refusals and what there is not, alike.
    let asked = [("/api/products/", 200), ("/api/cart/", 401), ("/api/nothing/", 404)];
    for (path, status) in asked {
        let answer = app.send(&Request::get(path).header("origin", SHOP)).await;
        answer.expect_status(status);
        assert_eq!(leave(&answer), Some(SHOP), "{path}");
        let exposed = words(&answer, "access-control-expose-headers");
        for header in ["etag", "link", "x-request-id", "retry-after", "idempotency-replayed"] {
            assert!(exposed.iter().any(|word| word == header), "{header}: {exposed:?}");
        }
        assert!(answer.header("access-control-allow-credentials").is_none());
    }

    for origin in ["https://evil.example", "https://shop.example.evil", "http://shop.example", "null"] {
        let answer = app.send(&preflight("/api/orders/", origin, "POST")).await;
        assert_eq!(leave(&answer), None, "{origin}");
        // Whoever is no browser is answered all the same.
        let answer = app.send(&Request::get("/api/products/").header("origin", origin)).await;
        answer.expect_status(200);
        assert_eq!(leave(&answer), None, "{origin}");
        assert!(words(&answer, "vary").iter().any(|word| word == "origin"), "a cache keeps them apart");
    }
    // The pages of the shop itself need no leave.
    let own = app.target.to_string();
    let login = json!({"username": "boss", "password": PASSWORD});
    let request = Request::post("/api/auth/login/").json(&login).header("origin", &own);
    app.send(&request).await.expect_status(200);
    assert_eq!(app.stock(lamp).await, 10);
}

#[tokio::test]
async fn without_a_list_no_answer_speaks_of_origins() {
    let app = TestApp::start().await;
    let answer = app.send(&Request::get("/api/products/").header("origin", SHOP)).await;
    answer.expect_status(200);
    assert_eq!(leave(&answer), None);
    assert!(answer.header("access-control-expose-headers").is_none());
    assert!(words(&answer, "vary").iter().all(|word| word != "origin"));
    // What describes a resource is not taken for a browser's question.
    let answer = app.send(&preflight("/api/products/", SHOP, "POST")).await;
    assert!(answer.expect_json(200)["name"].is_string());
    assert_eq!(leave(&answer), None);
}

#[tokio::test]
async fn a_star_lists_every_origin() {
    let app = TestApp::start_with(&[("EMPORIUM_HTTP__ALLOWED_ORIGINS", "*")]).await;
    let answer = app.send(&Request::get("/api/products/").header("origin", SHOP)).await;
    assert_eq!(leave(&answer), Some(SHOP));
}
