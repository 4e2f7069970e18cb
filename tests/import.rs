//! Whole catalogues: in, out, and in again, however broken, interrupted or simultaneous.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use emporium::loadtest::client::{Answer, Client, ClientError, Request};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::commands::{emporium_beside, text};
use crate::harness::{
    Body, Expect, Folder, Mismatches, Node, TestApp, TestDatabase, User, eventually, program, steady_port,
};

const PATH: &str = "/api/products/import/";
const CSV: &str = "text/csv";
const NDJSON: &str = "application/x-ndjson";

/// A request that imports.
fn import(staff: &User, query: &str, kind: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::post(format!("{PATH}{query}")).bearer(&staff.access).body(kind, body.into())
}

/// The lines of an answer.
fn lines(answer: &Answer) -> Vec<Value> {
    answer.expect_status(200);
    assert_eq!(answer.header("content-type"), Some(NDJSON));
    answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

/// What an import came to, and which line and column each mistake is in.
fn report(answer: &Answer) -> (Value, Vec<(i64, String)>) {
    let mut lines = lines(answer);
    assert_eq!(lines[0]["type"], json!("started"), "{lines:?}");
    let report = lines.pop().unwrap();
    assert_eq!(report["type"], json!("report"), "{report}");
    let place =
        |line: &Value| (line["line"].as_i64().unwrap(), line["column"].as_str().unwrap_or("").to_owned());
    let errors = lines.iter().filter(|line| line["type"] == json!("error")).map(place).collect();
    (report, errors)
}

/// Created, updated, unchanged, refused.
fn counts(report: &Value) -> [i64; 4] {
    ["created", "updated", "unchanged", "refused"].map(|name| report[name].as_i64().expect(name))
}

/// The products by sku.
async fn products(node: &Node) -> HashMap<String, Value> {
    let products = node.get("/api/products/").await.expect_json(200);
    let products = products.as_array().unwrap().clone();
    products.into_iter().map(|product| (product["sku"].as_str().unwrap_or("").to_owned(), product)).collect()
}

/// As many products, each with this stock.
fn numbered(count: usize, stock: i64) -> String {
    let rows = (0..count).map(|n| format!("N{n},Product {n},Category {},1.00,{stock}\n", n % 7));
    format!("sku,name,category,price,stock\n{}", rows.collect::<String>())
}

/// One more of each.
fn one_more(count: usize) -> String {
    let rows: String = (0..count).map(|n| format!("N{n},1\n")).collect();
    format!("sku,stock_delta\n{rows}")
}

#[tokio::test]
async fn an_import_makes_new_products_updates_known_ones_and_names_bad_rows() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let csv = "sku,name,description,category,price,stock\n\
               A,Apple,,all,1.50,10\n\
               B,Bread,fresh,bakery,2.00,5\n\
               C,,nameless,all,1.00,1\n\
               D,Dear,,all,1.999,1\n\
               E,Less,,all,1.00,-1\n\
               F,Few\n";
    let (told, errors) = report(&app.send(&import(&staff, "", CSV, csv)).await);
    assert_eq!((counts(&told), told["rows"].clone()), ([2, 0, 0, 4], json!(6)));
    let named: Vec<(i64, &str)> = errors.iter().map(|(line, column)| (*line, column.as_str())).collect();
    assert_eq!(named, [(4, "name"), (5, "price"), (6, "stock"), (7, "")]);
    let before = products(&app).await;
    assert_eq!(before.len(), 2);
    assert_eq!((&before["A"]["price"], &before["A"]["stock"]), (&json!("1.50"), &json!(10)));

    // By sku: a count for one, a difference for the other; what is not said stays.
    let ndjson = "{\"sku\":\"A\",\"price\":1.75,\"stock\":7,\"description\":\"red\"}\n\
                  {\"sku\":\"B\",\"stock_delta\":3,\"description\":null}\n\
                  {\"sku\":\"G\",\"stock_delta\":3}\n\
                  {\"sku\":\"B2\",\"name\":\"Bun\",\"category\":\"bakery\",\"price\":\"0.50\",\"stock_delta\":4}\n";
    let (told, errors) = report(&app.send(&import(&staff, "", NDJSON, ndjson)).await);
    assert_eq!(counts(&told), [1, 2, 0, 1]);
    assert_eq!(errors, ["name", "category", "price"].map(|column| (3, column.to_owned())));
    let after = products(&app).await;
    for (sku, price, stock, description) in
        [("A", "1.75", 7, json!("red")), ("B", "2.00", 8, json!(null)), ("B2", "0.50", 4, json!(null))]
    {
        let product = &after[sku];
        assert_eq!((&product["price"], &product["stock"]), (&json!(price), &json!(stock)), "{product}");
        assert_eq!(product["description"], description);
    }
    assert_eq!((after["A"].id(), &after["A"]["name"]), (before["A"].id(), &json!("Apple")));
    assert_eq!(after["B"]["category"], after["B2"]["category"]);
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}

#[tokio::test]
async fn what_is_no_import_is_refused_and_changes_nothing() {
    let app = TestApp::start_with(&[("EMPORIUM_HTTP__IMPORT_BYTES_MAX", "2000")]).await;
    let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
    let good = "sku,name,category,price,stock\nA,Apple,all,1.50,10\n";
    let mut mismatches = Mismatches::default();
    let long = format!("{good}{}", "B,Bread,all,1.00,1\n".repeat(200));
    for (status, code, query, kind, body) in [
        (415, None, "", "application/json", "{}"),
        (415, None, "", "application/xml", "<products/>"),
        (415, None, "", "application/x-www-form-urlencoded", "sku=A"),
        (400, Some("invalid_file"), "", CSV, "no,such,columns\n1,2,3\n"),
        (400, Some("invalid_file"), "", CSV, ""),
        (400, Some("invalid_file"), "", CSV, "name,price\nA,1\n"),
        (400, None, "?dry_run=perhaps", CSV, good),
        (400, None, "?id=a%20b", CSV, good),
        (413, None, "", CSV, long.as_str()),
    ] {
        let answer = app.send(&import(&staff, query, kind, body)).await;
        let told: Value = answer.json().unwrap();
        let fits = answer.status == status && told.get("code").and_then(Value::as_str) == code;
        mismatches.check(fits, || format!("{kind} {query}: {} {told}", answer.status));
    }
    mismatches.none();
    let request = import(&staff, "", CSV, good).header("content-encoding", "br");
    app.send(&request).await.expect_status(415);
    let request = import(&staff, "", CSV, good).header("content-encoding", "gzip");
    assert_eq!(app.send(&request).await.expect_json(400)["code"], json!("invalid_file"));
    app.send(&import(&anna, "", CSV, good)).await.expect_status(403);
    app.send(&Request::post(PATH).body(CSV, good)).await.expect_status(401);
    app.get_as(&staff, PATH).await.expect_status(405);
    app.get_as(&anna, "/api/products/export/").await.expect_status(403);
    app.get("/api/products/export/").await.expect_status(401);
    assert_eq!(app.get("/api/products/").await.expect_json(200), json!([]));
    assert_eq!(app.get("/api/categories/").await.expect_json(200), json!([]));
}

#[tokio::test]
async fn the_good_rows_of_a_hostile_file_go_in() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut file = b"\xef\xbb\xbfSKU, Name ,CATEGORY,price,stock\r\n".to_vec();
    let mut expected = Vec::new();
    let mut line = 2;
    let mut add = |bytes: &[u8], wrong: Option<&str>| {
        file.extend_from_slice(bytes);
        file.extend_from_slice(b"\r\n");
        expected.extend(wrong.map(|column| (line, column.to_owned())));
        line += 1 + bytes.iter().filter(|byte| **byte == b'\n').count() as i64;
    };
    add(b"ok1,\"A \"\"good\"\"\nrow, quoted\",all,1.00,1", None);
    add(b"bad,\"text\" behind,all,1.00,1", Some("name"));
    add(b"bad,\xff\xfe,all,1.00,1", Some("name"));
    add(b"bad,nul\0,all,1.00,1", Some("name"));
    add("x,".repeat(200_000).as_bytes(), Some(""));
    add("y".repeat(3 << 20).as_bytes(), Some("sku"));
    add(b"ok2,5\" nail,all,99999999.99,2147483647", None);
    add(b"bad,A,all,100000000.00,1", Some("price"));
    add(b"bad,A,all,-0.01,1", Some("price"));
    add(b"bad,A,all,1.00,2147483648", Some("stock"));
    add(b"bad,A,all,1.00,99999999999999999999999999", Some("stock"));
    add(b"ok1,A again,all,1.00,5", Some("sku"));
    add("\u{fc}ber,Umlaut,all,1.00,1".as_bytes(), None);
    add(format!("{},A,all,1.00,1", "s".repeat(65)).as_bytes(), Some("sku"));
    add(b"bad,\"never closed,all,1.00,1", Some("name"));
    add(b"ok3,Last,all,0,0", None);
    let (told, errors) = report(&app.send(&import(&staff, "", CSV, file)).await);
    let mut sorted = errors.clone();
    sorted.sort();
    assert_eq!(sorted, expected, "{told}");
    assert_eq!(counts(&told), [4, 0, 0, expected.len() as i64]);
    let products = products(&app).await;
    assert_eq!(products["ok1"]["name"], json!("A \"good\"\nrow, quoted"));
    assert_eq!(products["ok2"]["stock"], json!(2_147_483_647));
    let mut skus: Vec<&str> = products.keys().map(String::as_str).collect();
    skus.sort_unstable();
    assert_eq!(skus, ["ok1", "ok2", "ok3", "\u{fc}ber"]);
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn more_mistakes_than_anybody_reads_are_counted() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let rows: String = (0..3000).map(|n| format!("N{n},A,all,cheap,1\n")).collect();
    let good = "A,Apple,all,1.00,1\n".repeat(2000);
    let body = format!("sku,name,category,price,stock\n{rows}{good}");
    let (told, errors) = report(&app.send(&import(&staff, "", CSV, body)).await);
    assert_eq!(counts(&told), [1, 0, 0, 3000 + 1999]);
    assert_eq!(errors.len(), 2000, "a thousand of each kind");
}

#[tokio::test]
async fn a_file_of_any_length_takes_the_same_memory() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let server = app.process_with(&[]).await;
    let send = async |body: Vec<u8>| {
        let mut client = server.client().timeout(Duration::from_secs(120));
        report(&client.send(&import(&staff, "", CSV, body)).await.expect("an answer")).0
    };
    send(numbered(5000, 1).into_bytes()).await;
    let before = server.peak_kib();
    // One line of 96 MB, a field that is never closed, and many rows that say nothing new.
    let long = format!("sku,name\nA,{}\nB,\"{}", "x".repeat(96 << 20), "line\n".repeat(400_000));
    assert_eq!(counts(&send(long.into_bytes()).await)[3], 2 + 400_000 - 1);
    let repeated = format!("sku,stock\n{}", "N1,1\n".repeat(400_000));
    assert_eq!(counts(&send(repeated.into_bytes()).await), [0, 0, 1, 400_000 - 1]);
    let grown = server.peak_kib() - before;
    assert!(grown < 48 << 10, "{grown} KiB more than for a small file");
}

#[tokio::test]
async fn an_import_leaves_no_late_entries_for_searches_to_read() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let sql = app.database().client().await;
    // Nobody else is to do it.
    let aids = "CREATE EXTENSION pgstattuple; ALTER TABLE products SET (autovacuum_enabled = off)";
    sql.batch_execute(aids).await.expect("the extension comes with the server");
    let late = "SELECT pending_tuples FROM pgstatginindex('products_search_idx')";
    sql.batch_execute("INSERT INTO products (name, price_cents, category_id) VALUES ('Late', 1, 1)")
        .await
        .unwrap();
    assert_eq!(app.count(late).await, 1);
    let (told, _) = report(&app.send(&import(&staff, "", CSV, numbered(2000, 1))).await);
    assert_eq!(counts(&told), [2000, 0, 0, 0]);
    eventually(Duration::from_secs(5), "nothing is late", async || {
        (app.count(late).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rows_that_the_database_does_not_take_in_end_an_import_before_anything_is_done() {
    const PRODUCTS: usize = 9_500;
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let sql = app.database().client().await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$";
    sql.batch_execute(refuse).await.unwrap();
    // Among the first that are copied, and among the last, behind which no others come.
    for line in [10, PRODUCTS - 10] {
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON import_rows FOR EACH ROW WHEN (NEW.line = {line})
             EXECUTE FUNCTION refuse()"
        );
        sql.batch_execute(&trigger).await.unwrap();
        app.send(&import(&staff, "", CSV, numbered(PRODUCTS, 1))).await.expect_status(500);
        assert_eq!(app.count("SELECT count(*) FROM products").await, 0);
        assert_eq!(app.count("SELECT count(*) FROM import_rows").await, 0);
        sql.batch_execute("DROP TRIGGER refuse ON import_rows").await.unwrap();
    }
    let (told, _) = report(&app.send(&import(&staff, "", CSV, numbered(PRODUCTS, 1))).await);
    assert_eq!(counts(&told), [PRODUCTS as i64, 0, 0, 0]);
}

#[tokio::test]
async fn what_is_not_said_stays_and_a_deleted_products_sku_makes_a_new_one() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    report(&app.send(&import(&staff, "", CSV, numbered(3, 5))).await);
    let before = products(&app).await;
    app.delete_as(&staff, &format!("/api/products/{}/", before["N1"].id())).await.expect_status(204);
    let body = "stock,sku\n9,N0\n9,N1\n9,N2\n";
    let (told, errors) = report(&app.send(&import(&staff, "", CSV, body)).await);
    assert_eq!(counts(&told), [0, 2, 0, 1], "the deleted one cannot be counted");
    assert!(errors.iter().all(|(line, _)| *line == 3), "{errors:?}");
    report(&app.send(&import(&staff, "", CSV, numbered(3, 9))).await);
    let after = products(&app).await;
    assert_ne!(after["N1"].id(), before["N1"].id());
    let member = |name: &str| (before["N0"][name].clone(), after["N0"][name].clone());
    for (name, stays) in
        [("id", true), ("name", true), ("updated_at", true), ("created_at", true), ("stock", false)]
    {
        let (before, after) = member(name);
        assert_eq!(before == after, stays, "{name}: {before} {after}");
    }
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn a_difference_below_zero_is_a_row_of_its_own_that_fails() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    report(&app.send(&import(&staff, "", CSV, numbered(3, 5))).await);
    let body = "sku,stock,stock_delta\nN0,,-5\nN1,,-6\nN2,7,\nN0,,1\nNew,,-1\n";
    let (told, errors) = report(&app.send(&import(&staff, "", CSV, body)).await);
    assert_eq!(counts(&told), [0, 2, 0, 3]);
    let mut lines: Vec<i64> = errors.iter().map(|(line, _)| *line).collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, [3, 5, 6]);
    let products = products(&app).await;
    assert_eq!(["N0", "N1", "N2"].map(|sku| products[sku]["stock"].clone()), [json!(0), json!(5), json!(7)]);
    let reasons =
        app.count("SELECT count(*) FROM stock_entries WHERE reason = 'import' AND by_user IS NOT NULL");
    assert_eq!(reasons.await, 5);
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn categories_go_by_name_or_by_id_and_missing_ones_are_made() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let known = app.category(&staff, "known").await;
    let numeric = app.category(&staff, "77").await;
    let body = format!(
        "sku,name,category,price,stock\na,A,known,1,1\nb,B,{known},1,1\nc,C,77,1,1\nd,D,new,1,1\ne,E,4711,1,1\n"
    );
    assert_eq!(counts(&report(&app.send(&import(&staff, "", CSV, body)).await).0), [5, 0, 0, 0]);
    let body = format!("{{\"sku\":\"a\",\"category\":{numeric}}}\n{{\"sku\":\"b\",\"category\":999999}}\n");
    let (told, errors) = report(&app.send(&import(&staff, "", NDJSON, body)).await);
    assert_eq!((counts(&told), errors), ([0, 1, 0, 1], vec![(2, "category".to_owned())]));
    let products = products(&app).await;
    let categories = app.get("/api/categories/").await.expect_json(200);
    let name_of = |sku: &str| {
        let id = &products[sku]["category"];
        let found = categories.as_array().unwrap().iter().find(|category| category["id"] == *id);
        found.unwrap()["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(["a", "b", "c", "d", "e"].map(name_of), ["77", "known", "77", "new", "4711"]);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    report(&app.send(&import(&staff, "", CSV, numbered(3, 5))).await);
    let last = "SELECT last_seq FROM event_counter";
    let (before, seq) = (products(&app).await, app.count(last).await);
    let body = "sku,name,category,price,stock\nN0,,,,\nN1,New name,another,2,5\nN2,Product 2,Category 2,1.00,5\nX,X,another,1,1\nX,X,another,1,1\n";
    let (dry, dry_errors) = report(&app.send(&import(&staff, "?dry_run=true&id=d", CSV, body)).await);
    assert_eq!((counts(&dry), &dry["dry_run"]), ([1, 1, 1, 2], &json!(true)));
    assert_eq!(products(&app).await, before);
    assert_eq!(app.count(last).await, seq);
    assert_eq!(app.get("/api/categories/").await.expect_json(200).ids().len(), 3);
    let (wet, errors) = report(&app.send(&import(&staff, "?id=d", CSV, body)).await);
    assert_eq!((counts(&wet), errors), (counts(&dry), dry_errors));
}

#[tokio::test]
async fn an_import_with_an_id_is_done_once_however_often_it_is_sent() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    report(&app.send(&import(&staff, "", CSV, numbered(3, 5))).await);
    let body = format!("{}N1,1\n", one_more(3));
    let (first, _) = report(&app.send(&import(&staff, "?id=delivery-7", CSV, &*body)).await);
    assert_eq!(counts(&first), [0, 3, 0, 1]);
    let (again, _) = report(&app.send(&import(&staff, "?id=delivery-7", CSV, &*body)).await);
    assert_eq!(counts(&again), counts(&first));
    assert!(first.get("finished_before").is_none() && again["finished_before"].is_string(), "{again}");
    let by_key = import(&staff, "", CSV, &*body).header("idempotency-key", "delivery-7");
    report(&app.send(&by_key).await);
    assert_eq!(products(&app).await["N0"]["stock"], json!(6));
    let other = app.send(&import(&staff, "?id=delivery-7", CSV, one_more(2))).await;
    assert_eq!(other.expect_json(422)["code"], json!("import_id_reused"));
    // Without an id, each is an import of its own.
    report(&app.send(&import(&staff, "", CSV, &*body)).await);
    report(&app.send(&import(&staff, "", CSV, &*body)).await);
    assert_eq!(products(&app).await["N0"]["stock"], json!(8));
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn what_was_exported_changes_nothing_when_it_is_imported() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let category = app.category(&staff, "All, \"quoted\"").await;
    for (sku, name, description) in [
        ("A", "Pen, \"blue\"", json!("two\r\nlines")),
        ("B", "Plain", json!(null)),
        ("C", "=1+1", json!("")),
        ("Ü", "Größe", json!("a,b")),
    ] {
        let body = json!({"name": name, "sku": sku, "description": description, "price": "1.10",
            "category": category, "stock": 3});
        app.post_as(&staff, "/api/products/", &body).await.expect_status(201);
    }
    report(&app.send(&import(&staff, "", CSV, numbered(2500, 4))).await);
    let state = async || {
        let sum = "SELECT (SELECT last_seq FROM event_counter) * 1000003 + sum(p.version * 1009 + s.version
            + extract(epoch FROM p.updated_at)::bigint)::bigint FROM products p JOIN stock s ON s.product_id = p.id";
        (app.count(sum).await, app.count("SELECT count(*) FROM stock_entries").await)
    };
    let before = state().await;
    for (query, accept, kind) in [("", "text/csv", CSV), ("?format=ndjson", "*/*", NDJSON)] {
        let request = Request::get(format!("/api/products/export/{query}")).bearer(&staff.access);
        let request = request.header("accept", accept);
        let exported = app.send(&request).await;
        assert!(exported.expect_status(200).header("content-type").is_some_and(|own| own.starts_with(kind)));
        let (told, _) = report(&app.send(&import(&staff, "", kind, exported.body.to_vec())).await);
        assert_eq!(counts(&told), [0, 0, 2504, 0]);
        assert_eq!(app.send(&request).await.body, exported.body);
        assert_eq!(state().await, before, "{kind}");

        // In another shop, it makes the same catalogue.
        let other = TestApp::start().await;
        let boss = other.staff().await;
        assert_eq!(
            counts(&report(&other.send(&import(&boss, "", kind, exported.body.to_vec())).await).0)[0],
            2504
        );
        let request = Request::get(format!("/api/products/export/{query}")).bearer(&boss.access);
        assert_eq!(other.send(&request.header("accept", accept)).await.body, exported.body);
    }
    let head = Request::new("HEAD".parse().unwrap(), "/api/products/export/").bearer(&staff.access);
    assert!(app.send(&head).await.expect_status(200).body.is_empty());
}

#[tokio::test]
async fn a_body_in_gzip_is_unpacked() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let packed = |text: &str| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let request = import(&staff, "", CSV, packed(&numbered(100, 1)));
    assert_eq!(counts(&report(&app.send(&request).await).0), [100, 0, 0, 0], "told by its beginning");
    let request = import(&staff, "", CSV, packed(&numbered(100, 2))).header("content-encoding", "gzip");
    assert_eq!(counts(&report(&app.send(&request).await).0), [0, 100, 0, 0]);
    let mut cut = packed(&numbered(100, 3));
    cut.truncate(cut.len() - 10);
    app.send(&import(&staff, "", CSV, cut)).await.expect_status(400);
    assert_eq!(products(&app).await["N5"]["stock"], json!(2));
}

#[tokio::test]
async fn both_nodes_and_the_feed_see_what_was_imported_and_only_that() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let other = app.second_node().await;
    report(&app.send(&import(&staff, "", CSV, numbered(3, 5))).await);
    let ids = products(&app).await;
    let ids = ["N0", "N1", "N2"].map(|sku| ids[sku].id());
    let stock_on =
        async |node: &Node, id: i64| node.get(&format!("/api/products/{id}/")).await.expect_json(200);
    for node in [&*app, &other] {
        for id in ids {
            stock_on(node, id).await;
        }
    }
    let unborn = ids[2] + 1;
    app.get(&format!("/api/products/{unborn}/")).await.expect_status(404);
    let list = ids.map(|id| id.to_string()).join(",");
    let mut feed = other.socket(&format!("/ws/stock/?products={list}")).await;
    feed.next_of("ready").await;
    feed.next_of("snapshot").await;
    let body = "sku,name,category,price,stock\nN0,Product 0,Category 0,1.00,50\nN1,Renamed,Category 1,1.00,5\nN2,Product 2,Category 2,2.00,5\nNew,New,Category 1,1.00,1\n";
    assert_eq!(counts(&report(&app.send(&import(&staff, "", CSV, body)).await).0), [1, 3, 0, 0]);
    // The node that imported is never behind what it answered; the others are so for a moment.
    assert_eq!(stock_on(&app, ids[0]).await["stock"], json!(50));
    assert_eq!(stock_on(&app, ids[1]).await["name"], json!("Renamed"));
    assert_eq!(app.get(&format!("/api/products/{unborn}/")).await.expect_json(200)["sku"], json!("New"));
    eventually(Duration::from_secs(1), "the other node sees it", async || {
        let (first, second) = (stock_on(&other, ids[0]).await, stock_on(&other, ids[1]).await);
        (first["stock"] == json!(50) && second["name"] == json!("Renamed")).then_some(())
    })
    .await;
    let (first, second) = (feed.next_of("stock").await, feed.next_of("stock").await);
    let told: Vec<(i64, Value, Value)> = [first, second]
        .map(|event| (event["product"].as_i64().unwrap(), event["stock"].clone(), event["price"].clone()))
        .into();
    assert_eq!(told, [(ids[0], json!(50), json!("1.00")), (ids[2], json!(5), json!("2.00"))]);
    assert!(feed.next_within(Duration::from_millis(300)).await.is_none(), "a new name is no stock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_while_the_shop_sells_loses_no_unit() {
    const PRODUCTS: usize = 3000;
    let app = TestApp::start().await;
    let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
    let other = app.second_node().await;
    report(&app.send(&import(&staff, "", CSV, numbered(PRODUCTS, 1_000_000))).await);
    let product = products(&app).await["N7"].id();
    let over = AtomicBool::new(false);
    let sell = async |node: &Node| {
        let mut sold = 0;
        while !over.load(Ordering::Relaxed) {
            node.order(&anna, product, 1).await.expect_status(201);
            sold += 1;
        }
        sold
    };
    let bring = async || {
        for round in 0..3 {
            let request =
                |name: &str| import(&staff, &format!("?id={name}-{round}"), CSV, one_more(PRODUCTS));
            let (one, two) = (request("one"), request("two"));
            let (one, two) = tokio::join!(app.send(&one), other.send(&two));
            for answer in [one, two] {
                assert_eq!(counts(&report(&answer).0), [0, PRODUCTS as i64, 0, 0]);
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    let (first, second, third, ()) = tokio::join!(sell(&app), sell(&app), sell(&other), bring());
    assert_eq!(app.stock(product).await, 1_000_006 - first - second - third);
    assert!(first + second > 0 && third > 0, "nothing was sold meanwhile");
    assert_eq!(app.count("SELECT count(*) FROM import_rows").await, 0);
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_imports_of_the_same_new_products_make_each_once() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let other = app.second_node().await;
    let forwards = numbered(2000, 3);
    let mut rows: Vec<&str> = forwards.lines().collect();
    rows[1..].reverse();
    let backwards = rows.join("\n");
    let (one, two) = (import(&staff, "", CSV, &*forwards), import(&staff, "", CSV, backwards));
    let (one, two) = tokio::join!(app.send(&one), other.send(&two));
    let (one, two) = (counts(&report(&one).0), counts(&report(&two).0));
    assert_eq!((one[0] + two[0], one[3] + two[3]), (2000, 0), "{one:?} {two:?}");
    assert_eq!(app.count("SELECT count(*) FROM products").await, 2000);
    app.audit_is_clean(&staff).await;

    let same = || import(&staff, "?id=same", CSV, one_more(2000));
    let (one, two) = (same(), same());
    let (one, two) = tokio::join!(app.send(&one), other.send(&two));
    let done = [&one, &two].into_iter().filter(|answer| answer.status == 200).count();
    let refused = [&one, &two].into_iter().filter(|answer| answer.status == 409).count();
    assert_eq!(done + refused, 2, "{} {}", one.text(), two.text());
    assert!(done >= 1);
    assert_eq!(app.count("SELECT count(*) FROM stock WHERE quantity <> 4").await, 0);
}

/// How far an import has come.
async fn done_line(database: &TestDatabase, id: &str) -> i64 {
    database.count(&format!("SELECT coalesce(max(done_line), 0) FROM imports WHERE id LIKE '{id}%'")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_server_is_killed_goes_on_where_it_stopped() {
    const PRODUCTS: usize = 12_000;
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut setup = app.client().timeout(Duration::from_secs(120));
    report(&setup.send(&import(&staff, "", CSV, numbered(PRODUCTS, 10))).await.unwrap());
    let port = steady_port().to_string();
    let target: emporium::loadtest::client::Target = format!("http://127.0.0.1:{port}").parse().unwrap();
    let (mut kills, mut node) = (0, app.process_with(&[("PORT", &port)]).await);
    let told = loop {
        let before = done_line(app.database(), "delivery").await;
        let mut client = Client::new(target.clone()).timeout(Duration::from_secs(120));
        let request = import(&staff, "?id=delivery", CSV, one_more(PRODUCTS));
        let kill = async {
            // In the middle: some of it is done since, and there is more to do.
            while done_line(app.database(), "delivery").await <= before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let answer = tokio::select! {
            answer = client.send(&request) => Some(answer),
            () = kill, if kills < 4 => None,
        };
        match answer {
            // The server has yet to notice that the killed one's connection is gone.
            Some(Ok(answer)) if answer.status == 409 => {}
            Some(Ok(answer)) => break answer,
            Some(Err(ClientError::Lost(_) | ClientError::Body(_) | ClientError::Connect { .. })) => {}
            Some(Err(error)) => panic!("{error}"),
            None => {
                kills += 1;
                node.kill().await;
                node = app.process_with(&[("PORT", &port)]).await;
            }
        }
    };
    let (told, _) = report(&told);
    assert_eq!(counts(&told), [0, PRODUCTS as i64, 0, 0]);
    assert!(kills >= 2, "{kills} kills while there was more to do");
    assert_eq!(app.count("SELECT count(*) FROM stock WHERE quantity <> 11").await, 0);
    eventually(Duration::from_secs(10), "what the killed ones left is removed", async || {
        (app.count("SELECT count(*) FROM import_rows").await == 0).then_some(())
    })
    .await;
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_database_goes_away_says_so_and_can_be_repeated() {
    const PRODUCTS: usize = 6000;
    let app = TestApp::start().await;
    let staff = app.staff().await;
    report(&app.send(&import(&staff, "", CSV, numbered(PRODUCTS, 10))).await);
    let cut = async || {
        for _ in 0..30 {
            app.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let bring = async || {
        let mut broken = 0;
        loop {
            let answer = app.send(&import(&staff, "?id=delivery", CSV, one_more(PRODUCTS))).await;
            let last = answer.text().lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap());
            match (answer.status, last.unwrap()) {
                (200, last) if last["type"] == json!("report") => return (broken, last),
                (200, last) => assert_eq!(last["type"], json!("failed"), "{last}"),
                (503 | 409, _) => {}
                (status, last) => panic!("{status} {last}"),
            }
            broken += 1;
        }
    };
    let ((broken, told), ()) = tokio::join!(bring(), cut());
    assert_eq!(counts(&told), [0, PRODUCTS as i64, 0, 0], "after {broken} interruptions");
    assert_eq!(app.count("SELECT count(*) FROM stock WHERE quantity <> 11").await, 0);
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}

/// The numbered products, those of every other stretch of 5,000 alone.
fn every_other_stretch(count: usize, stock: i64) -> String {
    let all = numbered(count, stock);
    let is_wanted = |line: usize| line == 0 || (line - 1) / 5000 % 2 == 1;
    let wanted = all.lines().enumerate().filter(|(line, _)| is_wanted(*line));
    wanted.map(|(_, row)| format!("{row}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_of_old_and_new_whose_transactions_are_ended_does_each_row_once() {
    const PRODUCTS: usize = 20_000;
    const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL
        ORDER BY random() LIMIT 1";
    let app = TestApp::start().await;
    let staff = app.staff().await;
    report(&app.send(&import(&staff, "", CSV, every_other_stretch(PRODUCTS, 10))).await);
    let over = AtomicBool::new(false);
    // Whenever it has come a little further.
    let shake = async {
        let (client, mut ended, mut ended_at) = (app.database().client().await, 0, -1);
        while !over.load(Ordering::Relaxed) {
            let done = done_line(app.database(), "delivery").await;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..100))).await;
            if done > ended_at && !client.query(END, &[]).await.expect("a transaction to end").is_empty() {
                (ended, ended_at) = (ended + 1, done);
            }
        }
        ended
    };
    let bring = async {
        let mut client = app.client().timeout(Duration::from_secs(120));
        let told = loop {
            let request = import(&staff, "?id=delivery", CSV, numbered(PRODUCTS, 11));
            let answer = client.send(&request).await.unwrap();
            if answer.status == 200 && lines(&answer).last().unwrap()["type"] == json!("report") {
                break report(&answer).0;
            }
        };
        over.store(true, Ordering::Relaxed);
        told
    };
    let (told, ended) = tokio::join!(bring, shake);
    assert!(ended > 2, "{ended} transactions ended");
    assert_eq!(counts(&told), [PRODUCTS as i64 / 2, PRODUCTS as i64 / 2, 0, 0]);
    assert_eq!(app.count("SELECT count(*) FROM stock WHERE quantity = 11").await, PRODUCTS as i64);
    assert_eq!(app.count("SELECT count(*) FROM products").await, PRODUCTS as i64);
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}

/// Imports `body`, of `rows` rows, as the delivery, and holds up the chunk that is about to be committed, until the
/// next one has been written and has given up.
async fn two_chunks_at_once(app: &TestApp, staff: &User, rows: usize, body: String) -> Answer {
    // Who holds the lock is one of them.
    const WRITTEN: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND state = 'idle in transaction' AND backend_xid IS NOT NULL";
    let ahead = app.database().client().await;
    let mut client = app.client().timeout(Duration::from_secs(120));
    let request = import(staff, "?id=delivery", CSV, body);
    let hold_up = async {
        while done_line(app.database(), "delivery").await == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ahead.batch_execute("BEGIN; SELECT FROM imports WHERE id = 'delivery' FOR UPDATE").await.unwrap();
        let before = done_line(app.database(), "delivery").await;
        assert!(before < rows as i64, "held up too late");
        eventually(Duration::from_secs(5), "the next chunk is written", async || {
            (app.count(WRITTEN).await == 2).then_some(())
        })
        .await;
        app.database().waiting_for_locks(1).await;
        // It does not wait for ever, and nobody else for it.
        eventually(Duration::from_secs(4), "the next chunk gives up", async || {
            (app.count(WRITTEN).await == 1).then_some(())
        })
        .await;
        assert_eq!(done_line(app.database(), "delivery").await, before);
        ahead.batch_execute("COMMIT").await.expect("the lock is released");
    };
    let (answer, ()) = tokio::join!(client.send(&request), hold_up);
    answer.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_products_are_written_two_chunks_at_once_and_committed_in_their_order() {
    const PRODUCTS: usize = 20_000;
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let answer = two_chunks_at_once(&app, &staff, PRODUCTS, numbered(PRODUCTS, 10)).await;
    assert_eq!(counts(&report(&answer).0), [PRODUCTS as i64, 0, 0, 0]);
    // Ids are drawn when a chunk begins, events numbered when it is committed.
    let disorder = "SELECT count(*) FROM (
        SELECT subject < lag(subject) OVER (ORDER BY seq) AS is_late FROM events WHERE kind = 'stock'
    ) told WHERE is_late";
    assert_eq!(app.count(disorder).await, 0);
    let longest = "SELECT max(cardinality(kinds))::bigint FROM event_records";
    assert_eq!(app.count(longest).await, 1000, "a chunk is several records of the log");
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stocks_are_written_two_chunks_at_once_and_each_is_added_to_once() {
    const PRODUCTS: usize = 20_000;
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut client = app.client().timeout(Duration::from_secs(120));
    report(&client.send(&import(&staff, "", CSV, numbered(PRODUCTS, 10))).await.unwrap());
    let answer = two_chunks_at_once(&app, &staff, PRODUCTS, one_more(PRODUCTS)).await;
    assert_eq!(counts(&report(&answer).0), [0, PRODUCTS as i64, 0, 0]);
    assert_eq!(app.count("SELECT count(*) FROM stock WHERE quantity <> 11").await, 0);
    app.audit_is_clean(&staff).await;
    app.database().event_log_is_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_take_turns_while_another_node_sells() {
    const PRODUCTS: usize = 5_000;
    // A chunk that is written and waits for the one ahead; its last words were those of the ledger.
    const BEHIND: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND state = 'idle in transaction' AND query LIKE '%INSERT INTO stock_entries%'";
    let app = TestApp::start().await;
    let second = app.second_node().await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "2.50", 1_000_000).await;
    let mut client = app.client().timeout(Duration::from_secs(120));
    report(&client.send(&import(&staff, "", CSV, numbered(PRODUCTS, 10))).await.unwrap());
    let over = AtomicBool::new(false);
    let sell = async {
        while !over.load(Ordering::Relaxed) {
            second.order(&anna, lamp, 1).await.expect_status(201);
        }
    };
    let hold_up = async {
        let ahead = app.database().client().await;
        while done_line(app.database(), "delivery").await == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ahead.batch_execute("BEGIN; SELECT FROM imports WHERE id = 'delivery' FOR UPDATE").await.unwrap();
        app.database().waiting_for_locks(1).await;
        for _ in 0..100 {
            assert_eq!(app.count(BEHIND).await, 0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ahead.batch_execute("COMMIT").await.expect("the lock is released");
        over.store(true, Ordering::Relaxed);
    };
    let request = import(&staff, "?id=delivery", CSV, one_more(PRODUCTS));
    let (answer, (), ()) = tokio::join!(client.send(&request), hold_up, sell);
    assert_eq!(counts(&report(&answer.unwrap()).0), [0, PRODUCTS as i64, 0, 0]);
    app.audit_is_clean(&staff).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_client_goes_away_stops_and_goes_on_with_the_next_one() {
    const PRODUCTS: usize = 12_000;
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut patient = app.client().timeout(Duration::from_secs(120));
    report(&patient.send(&import(&staff, "", CSV, numbered(PRODUCTS, 10))).await.unwrap());
    let mut client = app.client().timeout(Duration::from_secs(120));
    let request = import(&staff, "?id=delivery", CSV, one_more(PRODUCTS));
    tokio::select! {
        answer = client.send(&request) => panic!("too early: {answer:?}"),
        () = async { while done_line(app.database(), "delivery").await == 0 { tokio::time::sleep(Duration::from_millis(1)).await; } } => {}
    }
    drop(client);
    let again = eventually(Duration::from_secs(30), "the first one has stopped", async || {
        let mut client = app.client().timeout(Duration::from_secs(120));
        let answer = client.send(&request).await.unwrap();
        (answer.status != 409).then_some(answer)
    })
    .await;
    assert!(lines(&again)[0]["done_before"].as_i64() > Some(0));
    assert_eq!(counts(&report(&again).0), [0, PRODUCTS as i64, 0, 0]);
    assert_eq!(app.count("SELECT count(*) FROM stock WHERE quantity <> 11").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_tells_how_far_it_is_while_it_goes_on() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    report(&app.send(&import(&staff, "", CSV, numbered(3, 5))).await);
    let holder = app.database().client().await;
    holder.batch_execute("BEGIN; SELECT * FROM stock FOR UPDATE").await.unwrap();
    let mut connection = tokio::net::TcpStream::connect(app.target.address()).await.unwrap();
    let body = one_more(3);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\nContent-Type: {CSV}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        staff.access,
        body.len()
    );
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut told = Vec::new();
    let told_of = |told: &[u8], kind: &str| text(told).contains(&format!("{{\"type\":\"{kind}\""));
    while !told_of(&told, "progress") {
        assert!(connection.read_buf(&mut told).await.unwrap() > 0, "{}", text(&told));
    }
    assert!(text(&told).contains("\"rows\":3,\"done\":0") && !told_of(&told, "report"), "{}", text(&told));
    holder.batch_execute("COMMIT").await.unwrap();
    connection.read_to_end(&mut told).await.unwrap();
    assert!(told_of(&told, "report"), "{}", text(&told));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_rows_are_lost_on_the_way_does_not_pass_for_done() {
    const PRODUCTS: usize = 3000;
    let app = TestApp::start().await;
    let staff = app.staff().await;
    report(&app.send(&import(&staff, "", CSV, numbered(PRODUCTS, 10))).await);
    let holder = app.database().client().await;
    holder.batch_execute("BEGIN; SELECT * FROM stock FOR UPDATE").await.unwrap();
    let request = import(&staff, "?id=delivery", CSV, one_more(PRODUCTS));
    let lose = async {
        eventually(Duration::from_secs(10), "every row is staged", async || {
            let staged = app.count("SELECT count(*) FROM import_rows").await;
            (staged == PRODUCTS as i64).then_some(())
        })
        .await;
        // As a server does that has crashed, with a table that is not logged.
        app.sql("DELETE FROM import_rows WHERE line > 1000").await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (answer, ()) = tokio::join!(app.send(&request), lose);
    assert_eq!(lines(&answer).last().unwrap()["type"], json!("failed"), "{}", answer.text());
    assert_eq!(counts(&report(&app.send(&request).await).0), [0, PRODUCTS as i64, 0, 0]);
    assert_eq!(app.count("SELECT count(*) FROM stock WHERE quantity <> 11").await, 0);
}

fn file_with(folder: &Folder, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a file");
    path.display().to_string()
}

#[tokio::test]
async fn the_command_line_imports_the_good_rows_and_exits_with_1_for_the_others() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (folder, variables) = (Folder::new(), [("DATABASE_URL", app.database_url())]);
    let head = "sku,name,description,category,price,stock\n";
    let mixed = format!("{head}A,Apple,,Fruit,1.50,10\nB,,,Fruit,1.00,1\nC,Cherry,,Fruit,1.999,1\nE,Elder\n");
    let mixed = file_with(&folder, "mixed.csv", mixed);
    let dry = emporium_beside(&["import", &mixed, "--dry-run"], &variables).await;
    assert!(text(&dry.stdout).contains("1 new") && text(&dry.stderr).contains("3 rows"), "{dry:?}");
    assert_eq!(app.get("/api/products/").await.expect_json(200), json!([]));
    let output = emporium_beside(&["import", &mixed], &variables).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    for word in ["3 rows", "mixed.csv", "line 3, column name", "line 4, column price", "line 5:"] {
        assert!(told.contains(word), "{word:?} in {told}");
    }
    // The command is another node, of which the shop hears within a second.
    eventually(Duration::from_secs(1), "the shop shows the product", async || {
        (app.get("/api/products/").await.expect_json(200).ids().len() == 1).then_some(())
    })
    .await;

    let more = file_with(&folder, "more.jsonl", "{\"sku\":\"A\",\"stock_delta\":5}\n");
    for (arguments, said, stock) in [
        (&[][..], "1 updated", 15),
        (&[], "imported before", 15),
        (&["--id", "monday"], "1 updated", 20),
        (&["--id", "monday"], "imported before", 20),
    ] {
        let arguments = [&["import", more.as_str()], arguments].concat();
        let output = emporium_beside(&arguments, &variables).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(said), "{said:?} in {}", text(&output.stdout));
        eventually(Duration::from_secs(1), &format!("{stock} after {arguments:?}"), async || {
            (products(&app).await["A"]["stock"] == json!(stock)).then_some(())
        })
        .await;
    }
    let reused = emporium_beside(&["import", &mixed, "--id", "monday"], &variables).await;
    assert!(reused.status.code() == Some(1) && text(&reused.stderr).contains("--id"), "{reused:?}");
    app.audit_is_clean(&staff).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_killed_while_it_imports_adds_nothing_twice() {
    const PRODUCTS: usize = 12_000;
    let database = TestDatabase::create().await;
    let (folder, variables) = (Folder::new(), [("DATABASE_URL", database.url())]);
    let first = file_with(&folder, "first.csv", numbered(PRODUCTS, 10));
    assert!(emporium_beside(&["import", &first], &variables).await.status.success());
    let more = file_with(&folder, "more.csv", one_more(PRODUCTS));
    let own = [("DATABASE_URL".to_owned(), database.url().to_owned())];
    let mut kills = 0;
    while kills < 3 {
        let mut command = program("import", &own);
        let mut child = command.arg(&more).spawn().expect("the program runs");
        let before = done_line(&database, "sha256").await;
        while done_line(&database, "sha256").await <= before && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().await.expect("the program is killed");
        kills += 1;
    }
    assert!(kills > 0);
    for _ in 0..2 {
        eventually(Duration::from_secs(30), "the import is done", async || {
            emporium_beside(&["import", &more], &variables).await.status.success().then_some(())
        })
        .await;
    }
    assert_eq!(database.count("SELECT count(*) FROM stock WHERE quantity <> 11").await, 0);
    assert!(emporium_beside(&["audit"], &variables).await.status.success());
}

#[tokio::test]
async fn a_demo_catalogue_is_imported_or_written_down_and_comes_out_as_it_went_in() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (folder, variables) = (Folder::new(), [("DATABASE_URL", app.database_url())]);
    let grown = folder.path().join("grown.csv").display().to_string();
    let grow = ["demo", "--products", "5000", "--seed", "3"];
    let written = emporium_beside(&[&grow[..], &["--out", &grown]].concat(), &[]).await;
    assert!(written.status.success(), "{}", text(&written.stderr));
    assert_eq!(app.get("/api/products/").await.expect_json(200), json!([]));
    let imported = emporium_beside(&grow, &variables).await;
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    assert!(text(&imported.stdout).contains("5000 new"), "{}", text(&imported.stdout));
    let exported = folder.path().join("exported.csv").display().to_string();
    assert!(emporium_beside(&["export", &exported], &variables).await.status.success());
    assert_eq!(std::fs::read_to_string(&exported).unwrap(), std::fs::read_to_string(&grown).unwrap());
    let again = emporium_beside(&["import", &exported], &variables).await;
    assert!(text(&again.stdout).contains("5000 unchanged"), "{}", text(&again.stdout));
    let lines = emporium_beside(&["export", "-", "--format", "ndjson"], &variables).await;
    assert_eq!(text(&lines.stdout).lines().count(), 5000);
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn what_many_rows_leave_is_emptied_at_once_unless_another_import_has_some_there() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let file: String = (0..21_000).map(|n| format!("m{n},5\n")).collect();
    let check = import(&staff, "?dry_run=true", CSV, format!("sku,stock\n{file}"));
    // A sweeper at work would have it kept.
    app.sql("ALTER TABLE import_rows SET (autovacuum_enabled = false)").await;
    // Another's, who is still at it.
    let other = app.database().client().await;
    let run: i64 = other.query_one("SELECT nextval('import_runs')", &[]).await.unwrap().get(0);
    let lock = "SELECT pg_advisory_lock($1::integer, $2::bigint::integer)";
    other.query(lock, &[&0x696d_706f_i32, &run]).await.unwrap();
    let row = "INSERT INTO import_rows (run, line, sku, sets_description) VALUES ($1, 2, 'other', false)";
    other.execute(row, &[&run]).await.unwrap();
    report(&app.send(&check).await);
    let rows = "SELECT count(*) FROM import_rows";
    assert_eq!(app.count(rows).await, 1);
    let size = "SELECT pg_relation_size('import_rows')";
    assert!(app.count(size).await > 1_000_000);

    other.execute("DELETE FROM import_rows WHERE run = $1", &[&run]).await.unwrap();
    report(&app.send(&check).await);
    assert_eq!((app.count(rows).await, app.count(size).await), (0, 0));
}
