//! Requests of people who mean harm, and of programs that are broken: each a 4xx, none a 500, and the
//! shop goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use emporium::loadtest::client::Request;
use serde_json::{Value, json};

use crate::harness::{Body, Expect, Mismatches, Node, TestApp};

/// Sends bytes as they are and returns whatever comes back until the other side falls silent.
async fn raw(node: &Node, bytes: Vec<u8>) -> String {
    let address = node.target.address().to_owned();
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        // The other side may close before it has read everything.
        stream.write_all(&bytes).ok();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[tokio::test]
async fn every_hostile_body_on_every_endpoint_is_a_4xx() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let product = app.product(&staff, "lamp", "1.00", 100).await;
    let item = json!({"product": product, "quantity": 1});
    let item = app.post_as(&staff, "/api/cart/items/", &item).await.expect_json(201).id();
    let order = app.placed(&staff, product, 1).await.id();
    let deep = nested(100_000);
    let deep_object = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(3_000_000));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("application/json", b"{".to_vec()),
        ("application/json", b"nonsense".to_vec()),
        ("application/json", b"null".to_vec()),
        ("application/json", b"[]".to_vec()),
        ("application/json", b"[{}]".to_vec()),
        ("application/json", b"\"x\"".to_vec()),
        ("application/json", b"5".to_vec()),
        ("application/json", b"true".to_vec()),
        ("application/json", b"NaN".to_vec()),
        ("application/json", b"{\"a\":NaN}".to_vec()),
        ("application/json", b"{\"a\":1e999999999}".to_vec()),
        ("application/json", b"{\"name\":\"\\ud800\"}".to_vec()),
        ("application/json", b"{\"name\":\"\xff\xfe\"}".to_vec()),
        ("application/json", b"\xef\xbb\xbf{}".to_vec()),
        ("application/json", "{\"name\":\"x\"}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("application/json", b"{} {}".to_vec()),
        ("application/json", deep.into_bytes()),
        ("application/json", deep_object.into_bytes()),
        ("application/json", large.into_bytes()),
        ("application/json; charset=utf-16", b"{".to_vec()),
        ("text/plain", b"{}".to_vec()),
        ("", b"{}".to_vec()),
        ("application/xml", b"<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>".to_vec()),
        ("multipart/form-data", b"--x".to_vec()),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n".to_vec()),
        ("application/x-www-form-urlencoded", b"%ff=%00&=&&&%".to_vec()),
        ("application/x-www-form-urlencoded", b"a=1&".repeat(100_000)),
    ];
    let order_path = |step: &str| format!("/api/orders/{order}/{step}");
    let (product_path, item_path) = (format!("/api/products/{product}/"), format!("/api/cart/items/{item}/"));
    // Moves of orders are not here: they need no body, so that none is bad.
    let endpoints: Vec<(&str, String)> = vec![
        ("POST", "/api/auth/register/".to_owned()),
        ("POST", "/api/auth/login/".to_owned()),
        ("POST", "/api/auth/token/refresh/".to_owned()),
        ("POST", "/api/auth/token/verify/".to_owned()),
        ("POST", "/api/auth/password/change/".to_owned()),
        ("POST", "/api/categories/".to_owned()),
        ("PUT", "/api/categories/1/".to_owned()),
        ("POST", "/api/products/".to_owned()),
        ("PUT", product_path.clone()),
        ("POST", format!("{product_path}stock/")),
        ("POST", "/api/cart/items/".to_owned()),
        ("PUT", item_path),
    ];
    let mut mismatches = Mismatches::default();
    let mut client = app.client();
    for (method, path) in &endpoints {
        for (kind, body) in &bodies {
            let request = Request::new(method.parse().unwrap(), path.as_str()).bearer(&staff.access);
            let request = request.body(kind, body.clone());
            let status = match client.send(&request).await {
                Ok(answer) => {
                    let is_json = answer.json::<Value>().is_ok();
                    mismatches.check(is_json, || {
                        format!("{method} {path} {kind} {:.30?}: {}", body, answer.text())
                    });
                    answer.status
                }
                // A body that is too long may be cut off while it is being sent.
                Err(error) if body.len() > 1_000_000 => {
                    eprintln!("{error}");
                    413
                }
                Err(error) => panic!("{method} {path} {kind}: {error}"),
            };
            let text = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            mismatches
                .check((400..500).contains(&status), || format!("{method} {path} {kind} {text:?}: {status}"));
        }
    }
    mismatches.none();
    assert_eq!(app.stock(product).await, 99);
    app.get_as(&staff, &order_path("")).await.expect_status(200);
    app.audit_is_clean(&staff).await;
}

#[tokio::test]
async fn every_hostile_address_is_no_500() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    app.product(&staff, "lamp", "1.00", 100).await;
    let long = "x".repeat(6000);
    let big = "9".repeat(400);
    let mut mismatches = Mismatches::default();
    let mut paths: Vec<String> = [
        "/api/products/%00/",
        "/api/products/%ff/",
        "/api/products/../../etc/passwd",
        "/api/products/%2e%2e%2f/",
        "/api/products/'/",
        "/api/products/1;DROP TABLE users/",
        "/api/products/1%20OR%201=1/",
        "/api/products/+1/",
        "/api/products/01/",
        "/api/products/1%20/",
        "/api/products/１/",
        "//api//products//",
        "/api/products/1e3/",
        "/api/products/-9223372036854775808/",
        "/api/products/9223372036854775808/",
        "/api/orders/0/",
        "/api/orders/x/",
        "/api/orders/9223372036854775807/",
        "/api/orders/9223372036854775807/history/",
        "/api/cart/items/x/",
        "/api/products/?search=%00",
        "/api/products/?search=%FF",
        "/api/products/?search=%5C",
        "/api/products/?search=%25%25%25",
        "/api/products/?search=%27%22%27",
        "/api/products/?ordering=%00",
        "/api/products/?ordering=price,price,-price",
        "/api/products/?min_price=-1",
        "/api/products/?min_price=NaN",
        "/api/products/?max_price=1e400",
        "/api/products/?min_price=%00",
        "/api/products/?category=1,,2,",
        "/api/products/?category=%00",
        "/api/products/?category=-1",
        "/api/products/?in_stock=%00",
        "/api/products/?page_size=1e9",
        "/api/products/?cursor=%00",
        "/api/products/?cursor=bnVsbA",
        "/api/products/?cursor=e30",
        "/api/products/?cursor=WzEsMiwzXQ",
        "/api/orders/?cursor=e30",
        "/api/orders/?cursor=bnVsbA",
        "/api/orders/?status=%00",
        "/api/orders/?user=1e3",
        "/api/orders/?user=%00",
        "/api/products/?format=xml",
        "/api/products/?&&&===",
        "/?%",
        "/%",
        "/api/categories/?cursor=%00",
        "/ws/stock/?products=%00",
        "/ws/orders/?since=%00",
    ]
    .iter()
    .map(|path| path.replace('１', "%EF%BC%91").replace(' ', "%20"))
    .collect();
    paths.push(format!("/api/products/?search={long}"));
    paths.push(format!("/api/products/{big}/"));
    paths.push(format!("/api/products/?min_price={big}&category={big}&page_size={big}&cursor={big}"));
    paths.push(format!("/api/products/?category={}", vec!["1"; 3000].join(",")));
    paths.push(format!("/api/products/?search={}", vec!["a"; 3000].join("+")));
    for path in &paths {
        for method in ["GET", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
            // Deleting what exists is no attack.
            if method == "DELETE" && path.contains("/1") {
                continue;
            }
            let request = Request::new(method.parse().unwrap(), path.as_str()).bearer(&staff.access);
            let answer = app.client().send(&request).await;
            let status = answer.as_ref().map(|answer| answer.status).unwrap_or(0);
            mismatches.check((200..500).contains(&status), || format!("{method} {path:.80}: {answer:?}"));
        }
    }
    mismatches.none();
}

#[tokio::test]
async fn hostile_headers_are_no_500() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    app.category(&staff, "all").await;
    let long = "x".repeat(7000);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("authorization", b"Bearer \xff\xfe".to_vec()),
        ("authorization", format!("Bearer {long}").into_bytes()),
        ("authorization", b"Bearer ..".to_vec()),
        ("authorization", b"Bearer eyJhbGciOiJub25lIn0.e30.".to_vec()),
        ("idempotency-key", b"\xff".to_vec()),
        ("idempotency-key", long.clone().into_bytes()),
        ("if-none-match", b"\xff,,\"".to_vec()),
        ("if-match", b"W/\"\"\"".to_vec()),
        ("accept", b"\xff".to_vec()),
        ("accept", b"text/*;q=nonsense,,,".to_vec()),
        ("content-type", b"\xff/\xff".to_vec()),
        ("x-request-id", b"\xff".to_vec()),
        ("x-forwarded-for", b"nonsense, 999.999.999.999, \xff".to_vec()),
        ("cookie", long.clone().into_bytes()),
        ("range", b"bytes=-1-5,x".to_vec()),
        ("origin", b"\xff".to_vec()),
        ("accept-encoding", b"\xff;q=9".to_vec()),
        ("host", b"evil.example".to_vec()),
        ("transfer-encoding", b"nonsense".to_vec()),
        ("expect", b"nonsense".to_vec()),
        ("upgrade", b"nonsense".to_vec()),
    ];
    let mut mismatches = Mismatches::default();
    for (name, value) in rows {
        for path in ["/api/products/", "/api/orders/", "/ws/stock/?all=true", "/api/categories/1/"] {
            let mut bytes = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{name}: ").into_bytes();
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
            let answer = raw(&app, bytes).await;
            let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
            // No answer at all: the connection was closed on what is not HTTP.
            let holds = answer.is_empty() || status.is_some_and(|status| (200..500).contains(&status));
            mismatches.check(holds, || format!("{name}: {:.30?} {path}: {answer:.200}", value));
        }
    }
    mismatches.none();
    app.get("/api/products/").await.expect_status(200);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_forgotten() {
    let app = TestApp::start().await;
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(300_000));
    let many_headers: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let mut mismatches = Mismatches::default();
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nA\x00B: c\r\n\r\n".to_vec(),
        b"POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n".to_vec(),
        b"POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}{}{}".to_vec(),
        b"POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}".to_vec(),
        b"POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{".to_vec(),
        long_line.into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many_headers}\r\n").into_bytes(),
        vec![0; 100_000],
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let answer = raw(&app, bytes).await;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        let holds = answer.is_empty() || status.is_some_and(|status| (400..500).contains(&status));
        mismatches.check(holds, || format!("{shown:?}: {answer:.200}"));
    }
    mismatches.none();
    app.get("/api/products/").await.expect_status(200);
}

#[tokio::test]
async fn parse_errors_are_told_in_the_words_of_the_reference() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let post = async |kind: &str, body: &str| {
        let request = Request::post("/api/categories/").bearer(&staff.access);
        app.send(&request.body(kind, body.to_owned())).await
    };
    let detail = async |body: &str| {
        post("application/json", body).await.expect_json(400)["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(detail("{").await.starts_with("JSON parse error - "));
    assert!(detail("{\"name\": NaN}").await.starts_with("JSON parse error - "));
    for (body, message) in [
        ("null", "No data provided"),
        ("[]", "Invalid data. Expected a dictionary, but got list."),
        ("[{}]", "Invalid data. Expected a dictionary, but got list."),
        ("\"x\"", "Invalid data. Expected a dictionary, but got str."),
        ("5", "Invalid data. Expected a dictionary, but got int."),
        ("true", "Invalid data. Expected a dictionary, but got bool."),
    ] {
        assert_eq!(
            post("application/json", body).await.expect_json(400),
            json!({"non_field_errors": [message]})
        );
    }
    let empty = app.send(&Request::post("/api/categories/").bearer(&staff.access)).await;
    assert_eq!(empty.expect_json(400), json!({"name": ["This field is required."]}));
    // An unknown id is a 404 before its body is looked at.
    let request = Request::put("/api/categories/999999/").bearer(&staff.access).body("text/plain", "x");
    app.send(&request).await.expect_status(404);
    // Repeated keys: the last one counts.
    let twice = post("application/json", r#"{"name": "first", "name": "second"}"#).await;
    assert_eq!(twice.expect_json(201)["name"], "second");
    let kind = post("Application/JSON; charset=latin-1", r#"{"name": "Größe"}"#).await;
    assert_eq!(kind.expect_json(201)["name"], "Größe");
}

#[tokio::test]
async fn a_client_that_goes_away_in_mid_request_leaves_nothing_half_done() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let product = app.product(&staff, "lamp", "1.00", 100).await;
    let body = json!({"items": [{"product": product, "quantity": 1}]}).to_string();
    let head = format!(
        "POST /api/orders/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        staff.access,
        body.len()
    );
    for cut in 0..20 {
        let mut stream = TcpStream::connect(app.target.address()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body.as_bytes()[..body.len() * cut / 19]).unwrap();
        drop(stream);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    app.placed(&staff, product, 1).await;
    let orders = app.get_as(&staff, "/api/orders/").await.expect_json(200).ids().len();
    assert_eq!(app.stock(product).await, 100 - i64::try_from(orders).unwrap());
    app.audit_is_clean(&staff).await;
}
