//! Reads may come from a cache, and still show what was written before.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Body, Expect, Node, TestApp, User, eventually, redis_url};

/// Writes in every way there is, and reads after each of them.
async fn every_read_shows_the_write_before_it(app: &Node, staff: &User, customer: &User) {
    let category = app.category(staff, "all").await;
    let lamp = app.product_in(staff, category, "lamp", "1.00", 20).await;
    let path = format!("/api/products/{lamp}/");
    let list = format!("/api/products/?category={category}");
    let shown = async || {
        let one = app.get(&path).await.expect_json(200);
        let all = app.get(&list).await.expect_json(200);
        assert_eq!(all, json!([one]));
        one
    };
    assert_eq!(shown().await["stock"], json!(20));
    for round in 1..=5 {
        let price = format!("{round}.50");
        app.patch_as(staff, &path, &json!({"price": price, "name": format!("lamp {round}")}))
            .await
            .expect_status(200);
        assert_eq!(shown().await["price"], json!(price));
        let before = shown().await["stock"].as_i64().unwrap();
        let order = app.placed(customer, lamp, 2).await.id();
        assert_eq!(shown().await["stock"], json!(before - 2));
        app.post_as(customer, &format!("/api/orders/{order}/cancel/"), &json!({})).await.expect_status(200);
        assert_eq!(shown().await["stock"], json!(before));
        app.post_as(staff, &format!("{path}stock/"), &json!({"delta": -1, "reason": "x"}))
            .await
            .expect_status(200);
        assert_eq!(shown().await["stock"], json!(before - 1));
        let name = json!(format!("all {round}"));
        app.patch_as(staff, &format!("/api/categories/{category}/"), &json!({"name": name}))
            .await
            .expect_status(200);
        assert_eq!(app.get(&format!("/api/categories/{category}/")).await.expect_json(200)["name"], name);
        assert_eq!(app.get("/api/categories/").await.expect_json(200)[0]["name"], name);
    }
    app.delete_as(staff, &path).await.expect_status(204);
    app.get(&path).await.expect_status(404);
    assert_eq!(app.get(&list).await.expect_json(200), json!([]));
}

#[tokio::test]
async fn reads_show_writes_without_redis() {
    let app = TestApp::start().await;
    let (staff, customer) = (app.staff().await, app.customer("anna").await);
    every_read_shows_the_write_before_it(&app, &staff, &customer).await;
}

#[tokio::test]
async fn reads_show_writes_with_redis() {
    let app = TestApp::start_with(&[("REDIS_URL", &redis_url())]).await;
    let (staff, customer) = (app.staff().await, app.customer("anna").await);
    every_read_shows_the_write_before_it(&app, &staff, &customer).await;
}

#[tokio::test]
async fn shops_that_share_a_redis_do_not_read_each_others_products() {
    let url = redis_url();
    let shared = [("REDIS_URL", url.as_str())];
    let (one, other) = tokio::join!(TestApp::start_with(&shared), TestApp::start_with(&shared));
    let (boss, other_boss) = (one.staff().await, other.staff().await);
    let product = one.product(&boss, "lamp", "1.00", 1).await;
    let same_id = other.product(&other_boss, "chair", "2.00", 2).await;
    assert_eq!(product, same_id, "both are the first product of their shop");
    for _ in 0..3 {
        assert_eq!(one.get(&format!("/api/products/{product}/")).await.expect_json(200)["name"], "lamp");
        assert_eq!(other.get(&format!("/api/products/{product}/")).await.expect_json(200)["name"], "chair");
    }
}

#[tokio::test]
async fn the_second_node_shows_a_write_within_a_second() {
    let app = TestApp::start_with(&[("REDIS_URL", &redis_url())]).await;
    let second = app.second_node().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "1.00", 20).await;
    let path = format!("/api/products/{lamp}/");
    for stock in [7, 3, 12] {
        second.get(&path).await;
        app.patch_as(&staff, &path, &json!({"stock": stock})).await.expect_status(200);
        eventually(Duration::from_secs(1), "the second node shows it", async || {
            (second.stock(lamp).await == stock
                && second.get("/api/products/").await.expect_json(200)[0]["stock"] == json!(stock))
            .then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_reader_among_many_writers_never_sees_a_stock_come_back() {
    let app = TestApp::start_with(&[("REDIS_URL", &redis_url())]).await;
    let staff = app.staff().await;
    let anna = app.customer("anna").await;
    let lamp = app.product(&staff, "lamp", "1.00", 60).await;
    let sales = async {
        join_all((0..60).map(|_| app.placed(&anna, lamp, 1))).await;
    };
    let reads = async {
        let mut last = 60;
        for _ in 0..100 {
            let stock = app.stock(lamp).await;
            assert!(stock <= last, "{stock} after {last}");
            last = stock;
        }
    };
    tokio::join!(sales, reads);
    assert_eq!(app.stock(lamp).await, 0);
}

/// The database of Redis that is spoilt whole, and that no other test uses.
const SPOILT: &str = "7";

/// Its URL.
fn spoilt_url() -> String {
    let url = redis_url();
    if url.contains("unix:") {
        format!("{url}?db={SPOILT}")
    } else {
        format!("{}/{SPOILT}", url.trim_end_matches('/'))
    }
}

/// Fills every key of that database with rubbish, and returns how many there were.
fn spoil() -> usize {
    let mut redis = Resp::open();
    redis.ask(&["SELECT", SPOILT]);
    let keys = redis.ask(&["KEYS", "*"]);
    for key in &keys {
        redis.ask(&["SET", key, "\u{1}rubbish {\"stock\": 999999}", "EX", "60"]);
    }
    keys.len()
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// As much of the Redis protocol as spoiling a cache needs.
struct Resp(Box<dyn Stream>);

impl Resp {
    fn open() -> Self {
        let url = redis_url();
        let patience = Some(Duration::from_secs(2));
        let (scheme, place) = url.split_once("://").expect("a URL of Redis");
        if scheme.contains("unix") {
            let stream = UnixStream::connect(place).expect("the Redis of the tests");
            stream.set_read_timeout(patience).unwrap();
            return Self(Box::new(stream));
        }
        let stream = TcpStream::connect(place.trim_end_matches('/')).expect("the Redis of the tests");
        stream.set_read_timeout(patience).unwrap();
        Self(Box::new(stream))
    }

    /// Sends a command; the texts of an array answer.
    fn ask(&mut self, words: &[&str]) -> Vec<String> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.write_all(command.as_bytes()).unwrap();
        let head = self.line();
        assert!(!head.starts_with('-'), "{head}");
        let count = head.strip_prefix('*').map_or(0, |count| count.parse().unwrap());
        (0..count).map(|_| self.text()).collect()
    }

    fn text(&mut self) -> String {
        let length: usize = self.line()[1..].parse().unwrap();
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }
}

#[tokio::test]
async fn rubbish_in_redis_is_a_miss_and_never_an_answer() {
    let app = TestApp::start_with(&[("REDIS_URL", &spoilt_url())]).await;
    let second = app.second_node().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "1.00", 5).await;
    let reads = async |node: &Node| {
        for path in
            [format!("/api/products/{lamp}/"), "/api/products/".to_owned(), "/api/categories/".to_owned()]
        {
            node.get(&path).await.expect_status(200);
        }
        assert_eq!(node.stock(lamp).await, 5);
    };
    reads(&app).await;
    let mut spoilt = 0;
    for _ in 0..20 {
        spoilt += spoil();
        reads(&second).await;
        reads(&app).await;
        if spoilt > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(spoilt > 0, "nothing was ever cached in Redis");
    // A node that has nothing in memory must read what is spoilt.
    spoil();
    let third = app.second_node().await;
    reads(&third).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_or_never_answers_only_costs_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("redis://{}", listener.local_addr().unwrap());
    for url in ["redis://127.0.0.1:1", silent.as_str()] {
        let app = TestApp::start_with(&[("REDIS_URL", url)]).await;
        let staff = app.staff().await;
        let anna = app.customer("anna").await;
        let lamp = app.product(&staff, "lamp", "1.00", 5).await;
        app.placed(&anna, lamp, 2).await;
        let began = std::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(app.stock(lamp).await, 3);
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{:?} for twenty reads", began.elapsed());
        app.get("/health/ready/").await.expect_status(200);
    }
}
