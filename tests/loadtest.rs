//! The load tests themselves: what they report of a sound shop, and that they find out a spoilt one.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::commands::{emporium_beside, text};
use crate::harness::{Body, Expect, Folder, TestApp, eventually};

const PASSWORD: [(&str, &str); 1] = [("ADMIN_PASSWORD", "correct horse battery")];

/// Runs a scenario against a shop; gives what it printed and its JSON.
async fn play(app: &TestApp, folder: &Folder, arguments: &[&str]) -> (Output, Value) {
    let (json_file, html_file) = (file(folder, "out.json"), file(folder, "out.html"));
    let url = app.target.to_string();
    let mut all = vec!["loadtest"];
    all.extend(arguments);
    all.extend(["--url", &url, "--json", &json_file, "--html", &html_file]);
    if arguments[0] != "browse" {
        all.extend(["--staff", "boss"]);
    }
    let output = emporium_beside(&all, &PASSWORD).await;
    let json = std::fs::read(&json_file).ok().and_then(|json| serde_json::from_slice(&json).ok());
    (output, json.unwrap_or_default())
}

/// The same, which must hold.
async fn holds(app: &TestApp, folder: &Folder, arguments: &[&str]) -> Value {
    let (output, json) = play(app, folder, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!((&json["holds"], &json["broken"]), (&json!(true), &json!([])), "{json}");
    assert_eq!(json["figures"]["operations"]["failed"], json!(0), "{json}");
    json
}

fn file(folder: &Folder, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn count(json: &Value, path: &str) -> i64 {
    json.pointer(path).and_then(Value::as_i64).unwrap_or_else(|| panic!("{path} in {json}"))
}

fn number(json: &Value, path: &str) -> f64 {
    json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {json}"))
}

#[tokio::test]
async fn a_flash_sale_sells_out_exactly_and_its_report_asks_nobody() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let folder = Folder::new();
    for via in ["direct", "cart"] {
        let sale = ["flash-sale", "--stock", "50", "--buyers", "80", "--via", via, "--clients", "4"];
        let rest = ["--accounts", "8", "--keys", "--warm-up", "0s"];
        let report = holds(&app, &folder, &[&sale[..], &rest[..]].concat()).await;
        assert_eq!(count(&report, "/figures/operations/done"), 50, "{via}: {report}");
        assert_eq!(count(&report, "/figures/operations/sold_out"), 30, "{via}: {report}");
        assert_eq!((count(&report, "/orders/acknowledged"), count(&report, "/orders/listed")), (50, 50));
        assert_eq!((count(&report, "/units_left"), count(&report, "/orders/missing")), (0, 0));
        assert!(number(&report, "/usage/generator_cpu") > 0.0, "{report}");
        assert!(count(&report, "/figures/latency_us/p99") > 0 && number(&report, "/figures/seconds") > 0.0);
    }
    let html = std::fs::read_to_string(file(&folder, "out.html")).expect("a report");
    assert_eq!(html.matches("<svg").count(), 4);
    for outside in ["://", "src=", "href=", "@import", "url(", "<script"] {
        assert!(!html.contains(outside), "{outside} in the report");
    }
    assert_eq!(app.get("/api/categories/").await.expect_json(200), json!([]), "nothing is left in the shop");
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn readers_of_a_product_that_sells_are_shown_no_old_stock() {
    let app = TestApp::start().await;
    app.staff().await;
    let folder = Folder::new();
    let sale = ["flash-sale", "--clients", "4", "--readers", "4", "--warm-up", "0s", "--duration"];
    let report = holds(&app, &folder, &[&sale[..], &["2s"]].concat()).await;
    let kinds = &report["figures"]["kinds"];
    assert_eq!((&kinds[0]["name"], &kinds[1]["name"]), (&json!("order"), &json!("read")));
    assert!(count(&report, "/figures/kinds/0/done") > 0 && count(&report, "/figures/kinds/1/done") > 0);
    // A stock that does not sink with the sales looks to them like an old one.
    let spoil = async {
        eventually(Duration::from_secs(30), "a sale", async || {
            (app.count("SELECT count(*) FROM orders WHERE status = 'pending'").await > 100).then_some(())
        })
        .await;
        app.sql("UPDATE stock SET quantity = quantity + 100000").await;
    };
    app.sql("UPDATE orders SET status = 'delivered'").await;
    // Long enough for those sales on a busy machine, too.
    let sale = [&sale[..], &["10s", "--stock", "1000000"]].concat();
    let ((output, _), ()) = tokio::join!(play(&app, &folder, &sale), spoil);
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    let told = text(&output.stdout);
    assert!(told.contains("a stock older than 1 s"), "{told}");
}

#[tokio::test]
async fn an_open_loop_asks_for_its_rate_and_leaves_the_warm_up_out() {
    let app = TestApp::start().await;
    app.staff().await;
    let folder = Folder::new();
    let pace = ["--rate", "50", "--warm-up", "300ms", "--duration", "1s", "--clients", "8"];
    let spread = ["spread", "--products", "20", "--zipf", "0.9", "--accounts", "2"];
    let report = holds(&app, &folder, &[&spread[..], &pace[..]].concat()).await;
    let measured = count(&report, "/figures/operations/done") + count(&report, "/figures/missed");
    assert_eq!(measured, 50, "{report}");
    assert!(count(&report, "/orders/acknowledged") > measured, "the warm-up's orders are checked as well");
    assert_eq!(report["stock"]["products"], json!(20));
}

#[tokio::test]
async fn shoppers_and_readers_find_a_sound_shop() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    app.product(&staff, "lamp", "1.00", 5).await;
    let folder = Folder::new();
    // Long enough for one of each kind on a busy machine, too.
    let short = ["--clients", "4", "--warm-up", "100ms", "--duration", "3s"];
    let mixed = ["mixed", "--products", "10", "--reads", "40", "--carts", "40", "--checkouts", "20"];
    let report = holds(&app, &folder, &[&mixed[..], &short[..]].concat()).await;
    let kinds = report["figures"]["kinds"].as_array().expect("kinds");
    for kind in kinds {
        assert!(kind["done"].as_i64() > Some(0), "{kind}");
    }
    assert!(count(&report, "/orders/acknowledged") > 0 && count(&report, "/orders/unacknowledged") == 0);
    let report = holds(&app, &folder, &[&["browse"][..], &short[..]].concat()).await;
    assert!(count(&report, "/figures/kinds/0/done") > 0 && count(&report, "/figures/kinds/1/done") > 0);
    let constant = ["browse", "--path", "/health/live/"];
    holds(&app, &folder, &[&constant[..], &short[..]].concat()).await;
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn sockets_hear_what_is_sold_and_a_log_that_differs_is_found_out() {
    let app = TestApp::start().await;
    app.staff().await;
    let folder = Folder::new();
    let feeds = ["feeds", "--sockets", "10", "--order-sockets", "2", "--clients", "2", "--rate", "50"];
    let short = ["--warm-up", "100ms", "--duration", "1s"];
    for follow in ["one", "spread", "all"] {
        let follow = ["--follow", follow, "--products", "5"];
        let report = holds(&app, &folder, &[&feeds[..], &follow, &short].concat()).await;
        assert_eq!(count(&report, "/feeds/stock_sockets"), 10);
        assert!(
            count(&report, "/feeds/each_us/p50") > 0 && count(&report, "/feeds/order_us/p50") > 0,
            "{report}"
        );
        assert_eq!(report["feeds"]["last_us"].is_object(), follow[1] == "one");
    }
    let spoiler = async {
        eventually(Duration::from_secs(30), "a sale", async || {
            let orders = "SELECT count(*) FROM events WHERE kind = 'order'";
            (app.count(orders).await > 200).then_some(())
        })
        .await;
        let told = "SELECT last_seq FROM event_records WHERE 'order' = ANY (kinds)
            ORDER BY last_seq DESC OFFSET 5 LIMIT 1";
        app.sql(&format!("DELETE FROM event_records WHERE last_seq = ({told})")).await;
    };
    let long = [&feeds[..], &["--warm-up", "0s", "--duration", "3s"]].concat();
    let ((output, report), ()) = tokio::join!(play(&app, &folder, &long), spoiler);
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(report["feeds"]["incomplete"], json!(2), "{report}");
}

#[tokio::test]
async fn a_shop_that_is_spoilt_while_it_sells_is_found_out() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let folder = Folder::new();
    let sale = [
        "flash-sale",
        "--clients",
        "2",
        "--accounts",
        "1",
        "--warm-up",
        "0s",
        "--duration",
        "2s",
        "--rate",
        "50",
    ];
    for (spoil, words) in [
        ("UPDATE stock SET quantity = quantity - 5", &["differ from the own books", "the audit names"][..]),
        (
            "WITH lost AS (DELETE FROM orders WHERE id = (SELECT max(id) FROM orders) RETURNING id)
             DELETE FROM order_items WHERE order_id IN (SELECT id FROM lost)",
            &["acknowledged orders do not exist", "differ from the own books"],
        ),
    ] {
        let spoiler = async {
            eventually(Duration::from_secs(30), "a sale", async || {
                let orders = app.get_as(&staff, "/api/orders/?page_size=20").await.expect_json(200);
                (orders.ids().len() == 20).then_some(())
            })
            .await;
            app.sql(spoil).await;
        };
        let ((output, report), ()) = tokio::join!(play(&app, &folder, &sale), spoiler);
        assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
        let told = text(&output.stdout);
        assert!(told.contains("BROKEN") && report["holds"] == json!(false), "{told}");
        for words in words {
            assert!(told.contains(words), "{words} in {told}");
        }
        // The books are put straight for the next one.
        app.sql("DELETE FROM order_items; DELETE FROM orders; DELETE FROM stock_entries; DELETE FROM stock")
            .await;
    }
}

#[tokio::test]
async fn without_a_shop_or_a_password_there_is_no_verdict() {
    let app = TestApp::start().await;
    app.staff().await;
    let folder = Folder::new();
    let url = app.target.to_string();
    let sale = ["loadtest", "flash-sale", "--url", &url, "--staff", "boss"];
    let output = emporium_beside(&sale, &[]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("ADMIN_PASSWORD"));
    let (output, _) = play(&app, &folder, &["browse"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no products"), "{}", text(&output.stderr));
}
