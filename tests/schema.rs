//! The OpenAPI document, the page that shows it, and the command that prints it. That answers are as it says is
//! checked by the harness, of the answers that tests get through it.

use std::process::Command;

use emporium::http::schema::OPENAPI;
use emporium::loadtest::client::Request;
use serde_json::Value;

use crate::harness::{Browser, Expect, PASSWORD, TestApp};

#[tokio::test]
async fn the_document_is_served_to_anybody_and_not_twice_to_who_has_it() {
    let app = TestApp::start().await;
    let answer = app.send(&Request::get("/api/schema/").bearer("broken")).await;
    let document: Value = answer.expect_json(200);
    assert_eq!(document["openapi"], "3.1.0");
    assert!(answer.text() == OPENAPI, "another document");
    let tag = answer.header("etag").expect("a tag");
    app.send(&Request::get("/api/schema/").header("if-none-match", tag)).await.expect_status(304);
    app.get("/api/docs/nothing.js").await.expect_status(404);
}

#[test]
fn the_command_prints_the_document_without_any_settings() {
    let printed =
        Command::new(env!("CARGO_BIN_EXE_emporium")).arg("openapi").env_clear().output().expect("it runs");
    assert!(printed.status.success());
    assert!(printed.stdout == OPENAPI.as_bytes(), "another document");
}

#[tokio::test]
async fn the_page_shows_every_operation_and_sends_what_is_filled_in() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "2.50", 7).await;
    let mut browser = Browser::start(1200, 900).await;
    browser.open(&format!("{}/api/docs/", app.target)).await;
    let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
    let methods = ["get", "post", "put", "patch", "delete"];
    let paths = document["paths"].as_object().expect("an object").values();
    let operations =
        paths.flat_map(|item| methods.iter().filter(|method| item[**method].is_object())).count();
    browser.until(&format!("document.querySelectorAll('details.operation').length === {operations}")).await;

    // All of them can be drawn.
    browser
        .run("document.querySelectorAll('details.operation').forEach((operation) => (operation.open = true))")
        .await;
    browser.until(&format!("document.querySelectorAll('.operation > div').length === {operations}")).await;
    let dangling = "return [...document.querySelectorAll('a[href^=\"#\"]')]
        .map((link) => link.getAttribute('href').slice(1)).filter((id) => !document.getElementById(id))";
    assert_eq!(browser.run(dangling).await, Value::Array(Vec::new()));

    browser.fill("#get_product .trial input", &lamp.to_string()).await;
    browser.click("#get_product .trial button").await;
    browser
        .until("document.querySelector('#get_product .trial pre').textContent.includes('\"stock\": 7')")
        .await;

    // Without a token it is refused, with one it is done.
    let told = "document.querySelector('#correct_stock .trial pre').textContent";
    browser.fill("#correct_stock .trial input", &lamp.to_string()).await;
    browser.fill("#correct_stock .trial textarea", r#"{"delta": 5, "reason": "found"}"#).await;
    browser.click("#correct_stock .trial button").await;
    browser.until(&format!("{told}.startsWith('401')")).await;
    browser.fill("#username", "boss").await;
    browser.fill("#password", PASSWORD).await;
    browser.click("#token button").await;
    browser.until("document.getElementById('signed-in').textContent.startsWith('Signed in as boss')").await;
    browser.click("#correct_stock .trial button").await;
    browser.until(&format!("{told}.startsWith('200') && {told}.includes('\"stock\": 12')")).await;
    assert_eq!(app.get(&format!("/api/products/{lamp}/")).await.expect_json(200)["stock"], 12);
    let refused = |message: &String| message.contains("status of 401");
    let console = browser.console().await;
    assert!(console.len() == 1 && console.iter().all(refused), "{console:#?}");
}
