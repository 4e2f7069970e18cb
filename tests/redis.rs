//! Redis may do what it likes: answers stay right, and quick.

use std::time::{Duration, Instant};

use deadpool_redis::redis::{self, Commands};
use serde_json::json;

use crate::cache::has_heard;
use crate::harness::{Expect, Node, OwnRedis, TestApp, User, eventually};

/// A shop with a Redis of its own and a second node.
struct Shop {
    redis: OwnRedis,
    app: TestApp,
    second: Node,
    staff: User,
    customer: User,
    products: Vec<i64>,
}

const PRODUCTS: usize = 40;
const LIST: &str = "/api/products/?page_size=50&ordering=name";

impl Shop {
    async fn open() -> Self {
        let redis = OwnRedis::start().await;
        let app = TestApp::start_with(&[("REDIS_URL", &redis.url())]).await;
        let second = app.second_node().await;
        let (staff, customer) = (app.staff().await, app.customer("anna").await);
        let category = app.category(&staff, "all").await;
        let mut products = Vec::new();
        for n in 0..PRODUCTS {
            products.push(app.product_in(&staff, category, &format!("thing {n:03}"), "1.00", 100).await);
        }
        Self { redis, app, second, staff, customer, products }
    }

    /// Sells one of each, and edits some, and has both nodes show it.
    async fn trades_and_tells(&self, round: i64) {
        for (n, product) in self.products.iter().enumerate() {
            self.app.placed(&self.customer, *product, 1).await;
            if n % 5 == 0 {
                let price = json!({"price": format!("{round}.{n:02}")});
                let path = format!("/api/products/{product}/");
                self.app.patch_as(&self.staff, &path, &price).await.expect_status(200);
            }
        }
        self.tells(&self.app, round).await;
        has_heard(&self.app, &self.second).await;
        self.tells(&self.second, round).await;
    }

    /// Every product and the list show what was done in round after round.
    async fn tells(&self, node: &Node, round: i64) {
        let list = node.get(LIST).await.expect_json(200);
        for (n, product) in self.products.iter().enumerate() {
            let shown = node.get(&format!("/api/products/{product}/")).await.expect_json(200);
            assert_eq!(shown["stock"], json!(100 - round), "{shown}");
            let price = if n % 5 == 0 && round > 0 { format!("{round}.{n:02}") } else { "1.00".to_owned() };
            assert_eq!(shown["price"], json!(price), "{shown}");
            assert_eq!(list[n], shown);
        }
    }

    /// Waits until what is read is put into Redis.
    async fn is_in_use(&self) {
        eventually(Duration::from_secs(10), "values come to Redis", async || {
            // Reading fills it only where nothing is known, so what is known is made void.
            let path = format!("/api/products/{}/", self.products[0]);
            self.app.patch_as(&self.staff, &path, &json!({})).await.expect_status(200);
            self.app.get(&path).await.expect_status(200);
            (!self.redis.names().is_empty()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_redis_that_is_stopped_costs_nothing_but_itself() {
    let shop = Shop::open().await;
    shop.trades_and_tells(1).await;
    shop.is_in_use().await;
    shop.redis.stop();
    shop.trades_and_tells(2).await;
    let fresh = shop.app.second_node().await;
    shop.tells(&fresh, 2).await;
    // Nobody knows of these, so that each read would like to ask Redis first.
    let began = Instant::now();
    for unknown in 0..300 {
        fresh.get(&format!("/api/products/{}/", 1_000_000 + unknown)).await.expect_status(404);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?} for reads that would have waited for 7.5 s");
    fresh.get("/health/ready/").await.expect_status(200);
    shop.redis.go_on();
    let _: () = shop.redis.connect().flushall().expect("it is emptied");
    shop.trades_and_tells(3).await;
    shop.is_in_use().await;
}

#[tokio::test]
async fn a_redis_that_is_killed_is_used_again_when_it_is_back() {
    let mut shop = Shop::open().await;
    shop.trades_and_tells(1).await;
    shop.is_in_use().await;
    shop.redis.kill();
    shop.trades_and_tells(2).await;
    shop.tells(&shop.app.second_node().await, 2).await;
    shop.redis.start_again().await;
    shop.trades_and_tells(3).await;
    shop.is_in_use().await;
}

#[tokio::test]
async fn a_redis_that_is_emptied_again_and_again_makes_no_answer_wrong() {
    let shop = Shop::open().await;
    let empty = async {
        for _ in 0..50 {
            let _: () = shop.redis.connect().flushall().expect("it is emptied");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let trade = async {
        for round in 1..=3 {
            shop.trades_and_tells(round).await;
        }
    };
    tokio::join!(empty, trade);
    shop.is_in_use().await;
}

#[tokio::test]
async fn a_redis_that_is_full_takes_nothing_and_spoils_nothing() {
    let shop = Shop::open().await;
    shop.is_in_use().await;
    let mut redis = shop.redis.connect();
    let set = |redis: &mut redis::Connection, bytes: &str| {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).query::<()>(redis).expect("it is set");
    };
    set(&mut redis, "1");
    let refused = redis.set::<_, _, ()>("x", "y").expect_err("it is full");
    assert_eq!(refused.code(), Some("OOM"), "{refused}");
    shop.trades_and_tells(1).await;
    shop.tells(&shop.app.second_node().await, 1).await;
    set(&mut redis, "0");
    let _: () = redis.flushall().expect("it is emptied");
    shop.is_in_use().await;
}

/// The value under each name.
fn contents(redis: &mut redis::Connection, names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| redis.get(name).expect("a value")).collect()
}

#[tokio::test]
async fn what_somebody_else_puts_into_redis_is_never_an_answer() {
    let shop = Shop::open().await;
    shop.tells(&shop.app, 0).await;
    let names = eventually(Duration::from_secs(10), "everything is in Redis", async || {
        let names = shop.redis.names();
        (names.len() > PRODUCTS).then_some(names)
    })
    .await;
    let mut redis = shop.redis.connect();
    let old = contents(&mut redis, &names);
    shop.trades_and_tells(1).await;
    let nodes = [shop.app.second_node().await, shop.app.second_node().await, shop.app.second_node().await];

    // What was right once.
    for (name, value) in names.iter().zip(&old) {
        let _: () = redis.set(name, value).expect("it is put back");
    }
    shop.tells(&nodes[0], 1).await;
    // What is right of something else, and what was right but for a number.
    let now = contents(&mut redis, &names);
    for (n, name) in names.iter().enumerate() {
        let mut value = now[(n + 1) % now.len()].clone();
        if n % 2 == 0 {
            value = now[n].iter().map(|byte| if *byte == b'9' { b'8' } else { *byte }).collect();
        }
        let _: () = redis.set(name, value).expect("it is spoilt");
    }
    shop.tells(&nodes[1], 1).await;
    // What is no value at all, and what is no text.
    for (n, name) in shop.redis.names().iter().enumerate() {
        let _: () = redis.del(name).expect("it is removed");
        let _: () = match n % 3 {
            0 => redis.lpush(name, "999999"),
            1 => redis.set(name, b"\xff\x00{\"stock\":999999}"),
            _ => redis.hset(name, "stock", 999_999),
        }
        .expect("it is spoilt");
    }
    shop.tells(&nodes[2], 1).await;
    shop.trades_and_tells(2).await;
}

#[tokio::test]
async fn what_one_node_has_read_another_finds_in_redis() {
    let redis = OwnRedis::start().await;
    let app = TestApp::start_with(&[("REDIS_URL", &redis.url())]).await;
    let staff = app.staff().await;
    let category = app.category(&staff, "all").await;
    let lamp = app.product_in(&staff, category, "lamp", "1.00", 7).await;
    app.product_in(&staff, category, "chair", "2.00", 7).await;
    let valve = app.valve().await;
    let second = app.second_node_with(&[("DATABASE_URL", valve.url())]).await;
    let (product, category) = (format!("/api/products/{lamp}/"), format!("/api/categories/{category}/"));
    let paths = [product.as_str(), "/api/products/?page_size=1", "/api/categories/"];
    let asked = || valve.runs("products p") + valve.runs("LEFT JOIN categories");
    eventually(Duration::from_secs(10), "it finds everything in Redis", async || {
        for path in [&product, &category] {
            app.patch_as(&staff, path, &json!({})).await.expect_status(200);
        }
        let answers = [app.get(paths[0]).await, app.get(paths[1]).await, app.get(paths[2]).await];
        // It takes nothing that it has not heard of.
        has_heard(&app, &second).await;
        let before = asked();
        for (path, first) in paths.iter().zip(&answers) {
            let second = second.get(path).await;
            assert_eq!(first.body, second.body);
            for header in ["etag", "link", "cache-control"] {
                assert_eq!(first.header(header), second.header(header), "{header}");
            }
        }
        // Values get there in the background, so not always in time.
        (asked() == before).then_some(())
    })
    .await;
    let before = asked();
    // And what it found there goes on as if it had read it itself.
    app.placed(&app.customer("anna").await, lamp, 2).await;
    eventually(Duration::from_secs(1), "it has heard of the sale", async || {
        let list = second.get(paths[1]).await.expect_json(200);
        (second.stock(lamp).await == 5 && list[0]["stock"] == json!(5)).then_some(())
    })
    .await;
    assert_eq!(asked(), before, "a sale asked the database");
}
