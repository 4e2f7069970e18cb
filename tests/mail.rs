//! Mail: to a mail server, or to a folder where there is none.

use std::time::Duration;

use emporium::loadtest::client::Request;
use serde_json::json;

use crate::harness::{Body, Delivery, MailServer, TestApp, eventually};

#[tokio::test]
async fn an_order_is_confirmed_by_mail_to_its_buyer() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "Lamp of brass", "2.50", 10).await;
    let order = app.placed(&anna, lamp, 3).await.id();
    let mail = app.mail_with(&format!("Order {order} confirmed")).await;
    for part in ["To: anna <anna@example.com>", "Lamp of brass", "7.50", "From: Emporium <shop@localhost>"] {
        assert!(mail.contains(part), "{part} in {mail}");
    }
}

#[tokio::test]
async fn two_nodes_send_each_confirmation_once() {
    let app = TestApp::start().await;
    let second = app.second_node().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "2.50", 100).await;
    let mut orders = Vec::new();
    for n in 0..10 {
        let node = if n % 2 == 0 { &*app } else { &second };
        orders.push(node.placed(&anna, lamp, 1).await.id());
    }
    eventually(Duration::from_secs(10), "ten mails", async || (app.mails().len() >= 10).then_some(())).await;
    // Repeated ones would come now.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mails = app.mails();
    for order in orders {
        let subject = format!("Subject: Order {order} confirmed");
        assert_eq!(mails.iter().filter(|mail| mail.contains(&subject)).count(), 1, "order {order}");
    }
}

#[tokio::test]
async fn orders_before_amid_and_behind_a_long_import_are_confirmed() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "2.50", 10).await;
    let first = app.placed(&anna, lamp, 1).await.id();
    let file = |part: &str| {
        let rows: Vec<String> = (0..4_000).map(|n| format!("{part}{n},cup {n},crockery,1.00,5\n")).collect();
        format!("sku,name,category,price,stock\n{}", rows.concat())
    };
    for part in ["a", "b"] {
        let import = Request::post("/api/products/import/").bearer(&staff.access);
        let import = import.body("text/csv", file(part).into_bytes());
        let (imported, amid) = tokio::join!(app.send(&import), app.placed(&anna, lamp, 1));
        assert!(imported.text().contains("\"created\":4000"), "{}", imported.text());
        app.mail_with(&format!("Order {} confirmed", amid.id())).await;
    }
    let last = app.placed(&anna, lamp, 1).await.id();
    for order in [first, last] {
        app.mail_with(&format!("Order {order} confirmed")).await;
    }
    assert_eq!(app.mails().len(), 4);
}

#[tokio::test]
async fn a_refused_order_is_not_confirmed() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "2.50", 1).await;
    assert_eq!(app.order(&anna, lamp, 2).await.status, 409);
    let order = app.placed(&anna, lamp, 1).await.id();
    app.mail_with(&format!("Order {order} confirmed")).await;
    assert_eq!(app.mails().len(), 1);
}

#[tokio::test]
async fn a_products_name_forges_neither_header_nor_markup() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let name = "lamp\r\nBcc: evil@example.com\r\n\r\n<script>";
    let body =
        json!({"name": name, "price": "1.00", "category": app.category(&staff, "all").await, "stock": 1});
    let answer = app.post_as(&staff, "/api/products/", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let product = answer.json::<serde_json::Value>().unwrap().id();
    let order = app.placed(&anna, product, 1).await.id();
    let mail = app.mail_with(&format!("Order {order} confirmed")).await;
    let head = mail.split("\r\n\r\n").next().unwrap();
    assert!(!head.to_lowercase().contains("bcc"), "{head}");
    let html = mail.split("Content-Type: text/html").nth(1).unwrap();
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{mail}");
}

#[tokio::test]
async fn an_order_is_confirmed_though_the_node_that_took_it_is_gone() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "2.50", 10).await;
    let second = app.second_node().await;
    let order = second.placed(&anna, lamp, 1).await.id();
    drop(second);
    app.mail_with(&format!("Order {order} confirmed")).await;
}

#[tokio::test]
async fn a_confirmation_goes_to_the_mail_server_where_there_is_one() {
    let server = MailServer::start(0).await;
    let app = TestApp::start_with(&[("SMTP_URL", &server.url())]).await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "2.50", 10).await;
    let order = app.placed(&anna, lamp, 1).await.id();
    let mail = arrived(&server, order).await;
    assert_eq!(mail.recipient, "anna@example.com");
    assert!(app.mails().is_empty(), "none is written to the folder as well");
}

#[tokio::test]
async fn a_confirmation_waits_for_a_mail_server_that_is_down_and_checkouts_do_not() {
    let server = MailServer::start(0).await;
    let url = server.url();
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
    drop(server);
    let app = TestApp::start_with(&[("SMTP_URL", &url)]).await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "2.50", 10).await;
    let order = app.placed(&anna, lamp, 1).await.id();
    let later = app.placed(&anna, lamp, 1).await.id();
    let server = MailServer::start(port).await;
    arrived(&server, order).await;
    arrived(&server, later).await;
}

async fn arrived(server: &MailServer, order: i64) -> Delivery {
    let subject = format!("Subject: Order {order} confirmed");
    let find = || server.mails().into_iter().find(|mail| mail.text.contains(&subject));
    eventually(Duration::from_secs(20), &subject, async || find()).await
}
