//! Reads may come from a cache, and still show what was written before.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use emporium::loadtest::client::{Answer, Request};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Body, Expect, Node, TestApp, User, eventually, redis_url};

/// How far a read may be behind.
const LAG_MAX: Duration = Duration::from_secs(1);
/// What only the statement for products says, and only the one for lists.
const READS_PRODUCTS: &str = "LEFT JOIN (products p";
const READS_LIST: &str = "FROM products p";

/// Waits, no longer than it may take, until a node has heard of everything that has happened.
pub(crate) async fn has_heard(app: &TestApp, node: &Node) {
    let newest = app.count("SELECT last_seq FROM event_counter").await;
    let mut position = node.shop.feed.position();
    let heard = tokio::time::timeout(LAG_MAX, position.wait_for(|at| at.0 >= newest)).await;
    heard.expect("within a second").expect("it reads the log");
}

/// Writes in every way there is, and reads after each of them.
async fn every_read_shows_the_write_before_it(app: &TestApp, staff: &User, customer: &User) {
    let category = app.category(staff, "all").await;
    let lamp = app.product_in(staff, category, "lamp", "1.00", 20).await;
    let chair = app.product_in(staff, category, "chair", "9.00", 5).await;
    let path = format!("/api/products/{lamp}/");
    let other = app.get(&format!("/api/products/{chair}/")).await.expect_json(200);
    let list = format!("/api/products/?category={category}");
    let shown = async || {
        let one = app.get(&path).await.expect_json(200);
        let in_order = async |ordering: &str, expected: [&Value; 2]| {
            let all = app.get(&format!("{list}&ordering={ordering}")).await.expect_json(200);
            assert_eq!(all, json!(expected), "{ordering}");
        };
        in_order("", [&one, &other]).await;
        in_order("-name", [&one, &other]).await;
        in_order("price", [&one, &other]).await;
        if one["stock"].as_i64() >= Some(5) {
            in_order("-stock", [&one, &other]).await;
        } else {
            in_order("-stock", [&other, &one]).await;
        }
        let left = app.get(&format!("{list}&in_stock=true")).await.expect_json(200);
        let there_is = |product: &&Value| product["stock"].as_i64() > Some(0);
        assert_eq!(left, json!([&one, &other].into_iter().filter(there_is).collect::<Vec<_>>()));
        one
    };
    assert_eq!(shown().await["stock"], json!(20));
    for round in 1..=5 {
        let price = format!("{round}.50");
        app.patch_as(staff, &path, &json!({"price": price, "name": format!("lamp {round}")}))
            .await
            .expect_status(200);
        assert_eq!(shown().await["price"], json!(price));
        // Both at once: the name is not to be lost behind the stock.
        let both = json!({"name": format!("lamps {round}"), "stock": 20 - round});
        app.patch_as(staff, &path, &both).await.expect_status(200);
        let one = shown().await;
        assert_eq!((&one["name"], &one["stock"]), (&both["name"], &both["stock"]));
        app.patch_as(staff, &path, &json!({"name": format!("lamp {round}")})).await.expect_status(200);
        let before = shown().await["stock"].as_i64().unwrap();
        let order = app.placed(customer, lamp, before).await.id();
        assert_eq!(shown().await["stock"], json!(0));
        app.post_as(customer, &format!("/api/orders/{order}/cancel/"), &json!({})).await.expect_status(200);
        assert_eq!(shown().await["stock"], json!(before));
        app.post_as(staff, &format!("{path}stock/"), &json!({"delta": -before + 1, "reason": "x"}))
            .await
            .expect_status(200);
        assert_eq!(shown().await["stock"], json!(1));
        let name = json!(format!("all {round}"));
        app.patch_as(staff, &format!("/api/categories/{category}/"), &json!({"name": name}))
            .await
            .expect_status(200);
        assert_eq!(app.get(&format!("/api/categories/{category}/")).await.expect_json(200)["name"], name);
        assert_eq!(app.get("/api/categories/").await.expect_json(200)[0]["name"], name);
        let new = app.product_in(staff, category, "new", "5.00", 1).await;
        assert_eq!(app.get(&list).await.expect_json(200).ids(), [lamp, chair, new]);
        app.delete_as(staff, &format!("/api/products/{new}/")).await.expect_status(204);
        assert_eq!(app.get(&list).await.expect_json(200).ids(), [lamp, chair]);
    }
    app.delete_as(staff, &path).await.expect_status(204);
    app.get(&path).await.expect_status(404);
    assert_eq!(app.get(&list).await.expect_json(200), json!([other]));
    app.delete_as(staff, &format!("/api/categories/{category}/")).await.expect_status(204);
    assert_eq!(app.get("/api/products/").await.expect_json(200), json!([]));
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
    for redis in [None, Some(redis_url())] {
        let settings: Vec<(&str, &str)> = redis.iter().map(|url| ("REDIS_URL", url.as_str())).collect();
        let app = TestApp::start_with(&settings).await;
        let second = app.second_node().await;
        let staff = app.staff().await;
        let lamp = app.product(&staff, "lamp", "1.00", 20).await;
        let path = format!("/api/products/{lamp}/");
        let lists =
            ["/api/products/", "/api/products/?ordering=-stock", "/api/products/?in_stock=true", &path];
        let within_a_second = async |what: &str, holds: &dyn Fn(&[Value]) -> bool| {
            eventually(LAG_MAX, what, async || {
                let mut shown = Vec::new();
                for path in lists {
                    shown.push(second.get(path).await.json::<Value>().expect("JSON"));
                }
                holds(&shown).then_some(())
            })
            .await;
        };
        for stock in [7, 3, 12] {
            second.get(&path).await.expect_status(200);
            app.patch_as(&staff, &path, &json!({"stock": stock})).await.expect_status(200);
            within_a_second("a stock", &|shown| {
                shown[..3].iter().all(|list| list[0]["stock"] == json!(stock)) && shown[3]["stock"] == stock
            })
            .await;
        }
        let chair = app.product(&staff, "chair", "2.00", 30).await;
        within_a_second("a new product", &|lists| {
            lists[0].ids() == [lamp, chair] && lists[1].ids() == [chair, lamp] && lists[2].ids().len() == 2
        })
        .await;
        app.patch_as(&staff, &path, &json!({"name": "torch", "stock": 0})).await.expect_status(200);
        within_a_second("an edit", &|lists| {
            lists[0][0]["name"] == json!("torch")
                && lists[1][1]["name"] == json!("torch")
                && lists[2].ids() == [chair]
        })
        .await;
        app.delete_as(&staff, &path).await.expect_status(204);
        within_a_second("a removal", &|shown| {
            shown[..3].iter().all(|list| list.ids() == [chair]) && shown[3]["detail"].is_string()
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_that_cannot_read_the_log_shows_nothing_older_than_a_second() {
    let app = TestApp::start().await;
    let valve = app.valve().await;
    let second = app.second_node_with(&[("DATABASE_URL", valve.url())]).await;
    let (staff, anna) = (app.staff().await, app.customer("anna").await);
    let lamp = app.product(&staff, "lamp", "1.00", 100).await;
    let shown = async || {
        let list = second.get("/api/products/").await.expect_json(200);
        (second.stock(lamp).await, list[0]["stock"].as_i64().unwrap())
    };
    let mut left = 100;
    for _ in 0..3 {
        valve.hold("delay_us");
        for _ in 0..2 {
            shown().await;
            app.placed(&anna, lamp, 1).await;
            left -= 1;
            tokio::time::sleep(LAG_MAX).await;
            assert_eq!(shown().await, (left, left));
        }
        // Its own writes it knows without the log.
        second.placed(&anna, lamp, 1).await;
        left -= 1;
        assert_eq!(shown().await, (left, left));
        // What the log's reader was told late is no news.
        app.placed(&anna, lamp, 1).await;
        left -= 1;
        tokio::time::sleep(LAG_MAX).await;
        valve.release();
        assert_eq!(shown().await, (left, left));
    }
}

#[tokio::test]
async fn however_many_ask_for_what_nobody_knows_the_database_is_asked_once() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "1.00", 5).await;
    let valve = app.valve().await;
    let node = app.second_node_with(&[("DATABASE_URL", valve.url())]).await;
    let paths = [format!("/api/products/{lamp}/"), "/api/products/?page_size=7".to_owned()];
    for (path, statement) in paths.iter().zip([READS_PRODUCTS, READS_LIST]) {
        // Held, so that none is answered before all have asked.
        valve.hold(statement);
        let readers = join_all((0..200).map(|_| node.get(path)));
        let release = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            valve.release();
        };
        let (answers, ()) = tokio::join!(readers, release);
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
        assert_eq!(valve.runs(statement), 1, "{path}");
    }
}

#[tokio::test]
async fn a_sale_asks_the_database_for_no_product_and_no_list() {
    let app = TestApp::start().await;
    let (staff, anna) = (app.staff().await, app.customer("anna").await);
    let category = app.category(&staff, "all").await;
    let lamp = app.product_in(&staff, category, "lamp", "1.00", 100).await;
    app.product_in(&staff, category, "chair", "2.00", 100).await;
    let valve = app.valve().await;
    let node = app.second_node_with(&[("DATABASE_URL", valve.url())]).await;
    let read = async |left: i64| {
        assert_eq!(node.stock(lamp).await, left);
        let list = node.get("/api/products/?ordering=name&page_size=20").await.expect_json(200);
        assert_eq!((&list[1]["stock"], &list[0]["stock"]), (&json!(left), &json!(100)));
    };
    read(100).await;
    let before = (valve.runs(READS_PRODUCTS), valve.runs(READS_LIST));
    for left in (80..100).rev() {
        node.placed(&anna, lamp, 1).await;
        read(left).await;
    }
    let after = (valve.runs(READS_PRODUCTS), valve.runs(READS_LIST));
    assert_eq!(after, before, "statements for products, and for lists");
}

#[tokio::test]
async fn staff_may_have_a_list_read_past_the_caches() {
    let app = TestApp::start().await;
    let (staff, anna) = (app.staff().await, app.customer("anna").await);
    let category = app.category(&staff, "all").await;
    app.product_in(&staff, category, "lamp", "1.00", 100).await;
    let stock = async |user: &User, wish: Option<&str>| {
        let request = Request::get("/api/products/").bearer(&user.access);
        let request = wish.into_iter().fold(request, |request, wish| request.header("Cache-Control", wish));
        app.send(&request).await.expect_json(200)[0]["stock"].clone()
    };
    assert_eq!(stock(&staff, None).await, json!(100));
    app.sql("UPDATE stock SET quantity = 7").await;
    assert_eq!(stock(&staff, Some("no-cache")).await, json!(7));
    assert_eq!(stock(&staff, Some("No-Cache")).await, json!(7));
    // It would cost the database as much as no cache does.
    assert_eq!(stock(&anna, Some("no-cache")).await, json!(100));
    assert_eq!(stock(&staff, None).await, json!(100));
}

/// An answer's body, unpacked.
fn unpacked(answer: &Answer) -> Vec<u8> {
    let mut body = Vec::new();
    match answer.header("content-encoding") {
        None => body.extend_from_slice(&answer.body),
        Some("gzip") => {
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut body).expect("it is gzip");
        }
        Some("zstd") => body = zstd::decode_all(&answer.body[..]).expect("it is zstd"),
        Some(other) => panic!("nobody asked for {other}"),
    }
    body
}

#[tokio::test]
async fn long_answers_are_packed_for_those_who_like_that() {
    let app = TestApp::start().await;
    let (staff, anna) = (app.staff().await, app.customer("anna").await);
    let category = app.category(&staff, "all").await;
    let mut lamp = 0;
    for n in 0..12 {
        lamp = app.product_in(&staff, category, &format!("lamp {n}"), "1.00", 100).await;
        app.placed(&anna, lamp, 1).await;
    }
    let long = ["/api/products/?page_size=10", "/api/products/?ordering=name&page_size=11", "/api/orders/"];
    for path in long {
        let ask = async |coding: &str| {
            let request = Request::get(path).bearer(&anna.access).header("accept-encoding", coding);
            app.send(&request).await
        };
        let plain = app.get_as(&anna, path).await;
        assert!(plain.body.len() > 1024 && plain.header("content-encoding").is_none());
        for (liked, coding) in [
            ("gzip", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("zstd;q=0.1, gzip;q=0.9", Some("gzip")),
            ("br, identity", None),
            ("gzip;q=0", None),
        ] {
            let answer = ask(liked).await;
            assert_eq!(answer.header("content-encoding"), coding, "{path} {liked}");
            assert_eq!(unpacked(&answer), plain.body, "{path} {liked}");
            assert_eq!(answer.header("link"), plain.header("link"));
            assert_eq!(coding.is_some(), answer.body.len() < plain.body.len() / 2);
            let varies: Vec<&str> =
                answer.headers.get_all("vary").iter().map(|v| v.to_str().unwrap()).collect();
            assert!(varies.contains(&"Accept-Encoding"), "{varies:?}");
        }
    }
    let short =
        app.send(&Request::get(format!("/api/products/{lamp}/")).header("accept-encoding", "gzip")).await;
    assert_eq!(
        (short.header("content-encoding"), short.json::<Value>().unwrap()["id"].as_i64()),
        (None, Some(lamp))
    );
}

#[tokio::test]
async fn whoever_has_an_answer_is_told_so_whatever_it_is_packed_in() {
    let app = TestApp::start().await;
    let (staff, anna) = (app.staff().await, app.customer("anna").await);
    let category = app.category(&staff, "all").await;
    for n in 0..12 {
        app.product_in(&staff, category, &format!("lamp {n}"), "1.00", 100).await;
    }
    let lamp = app.product_in(&staff, category, "the last", "1.00", 100).await;
    let paths = [
        format!("/api/products/{lamp}/"),
        format!("/api/categories/{category}/"),
        "/api/categories/".to_owned(),
        "/api/products/?page_size=2".to_owned(),
        "/api/products/".to_owned(),
    ];
    for path in &paths {
        let mut tags = Vec::new();
        for coding in ["identity", "gzip", "zstd"] {
            let ask = async |known: &str| {
                let request =
                    Request::get(path).header("accept-encoding", coding).header("if-none-match", known);
                app.send(&request).await
            };
            let answer = ask("\"another\"").await;
            let tag = answer.header("etag").expect("a tag").to_owned();
            assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
            assert_eq!(answer.header("cache-control"), Some("public, max-age=0, must-revalidate"));
            for known in [tag.clone(), format!("W/{tag}"), format!("\"x\" , {tag}"), "*".to_owned()] {
                let same = ask(&known).await;
                assert_eq!((same.status, same.body.len()), (304, 0), "{path} {known}");
                assert_eq!(same.header("etag"), Some(tag.as_str()), "{path} {known}");
                assert_eq!(same.header("cache-control"), answer.header("cache-control"));
                assert_eq!(same.header("content-type"), None);
            }
            let is_packed = answer.header("content-encoding").is_some();
            assert_eq!(tags.contains(&tag), !is_packed && !tags.is_empty(), "{path} {tag} {tags:?}");
            tags.push(tag);
        }
    }
    // What changes is another answer, and what changes back is the one that it was.
    let tags = async || {
        let mut tags = Vec::new();
        for path in &paths {
            tags.push(app.get(path).await.header("etag").expect("a tag").to_owned());
        }
        tags
    };
    let before = tags().await;
    let order = app.placed(&anna, lamp, 1).await.id();
    let sold = tags().await;
    let differ: Vec<bool> = before.iter().zip(&sold).map(|(before, sold)| before != sold).collect();
    assert_eq!(differ, [true, false, false, false, true]);
    app.post_as(&anna, &format!("/api/orders/{order}/cancel/"), &json!({})).await.expect_status(200);
    assert_eq!(tags().await, before);
    // The same on every node, whichever way it came to know.
    let second = app.second_node().await;
    for (path, tag) in paths.iter().zip(&before) {
        assert_eq!(second.get(path).await.header("etag"), Some(tag.as_str()));
    }
    // Nothing of this is said of what is somebody's own.
    let own = app.get_as(&anna, "/api/orders/").await;
    assert_eq!((own.header("etag"), own.header("cache-control")), (None, Some("private, no-store")));
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
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(app.stock(lamp).await, 3);
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{:?} for twenty reads", began.elapsed());
        app.get("/health/ready/").await.expect_status(200);
    }
}
