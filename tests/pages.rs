//! Pages, while the catalogue changes under the reader, and the cursors that lead to them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use emporium::loadtest::client::Answer;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::harness::{Body, Expect, TestApp};

/// Where the next page is; none after the last one.
fn next_of(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    Some(link.trim_start_matches('<').split('>').next().expect("a link").to_owned())
}

/// The cursor in such a path.
fn cursor_of(path: &str) -> &str {
    path.split("cursor=").nth(1).expect("a cursor").split('&').next().expect("a cursor")
}

#[tokio::test]
async fn every_product_that_stays_is_seen_once_however_many_come_and_go_meanwhile() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let category = app.category(&staff, "all").await;
    let mut random = SmallRng::seed_from_u64(7);
    let mut names = 0;
    let mut add = async || {
        names += 1;
        // Many are alike in everything but the id.
        let (name, price) = (format!("n{}", random.random_range(0..5)), random.random_range(0..4));
        let body =
            json!({"name": name, "price": format!("{price}.00"), "category": category, "stock": names % 3});
        app.post_as(&staff, "/api/products/", &body).await.expect_json(201).id()
    };
    let mut there = BTreeSet::new();
    for _ in 0..60 {
        there.insert(add().await);
    }
    let mut dice = SmallRng::seed_from_u64(8);
    for ordering in
        ["", "price", "-price", "name", "-created_at", "price,-name", "-name,price", "-stock,name"]
    {
        let from_the_beginning = there.clone();
        let mut seen: BTreeMap<i64, u32> = BTreeMap::new();
        let mut next = Some(format!("/api/products/?page_size=7&ordering={ordering}"));
        while let Some(path) = next {
            let answer = app.get(&path).await;
            for id in answer.expect_json(200).ids() {
                *seen.entry(id).or_default() += 1;
            }
            next = next_of(&answer);
            for _ in 0..3 {
                there.insert(add().await);
                let gone = there.iter().nth(dice.random_range(0..there.len())).copied().expect("a product");
                app.delete_as(&staff, &format!("/api/products/{gone}/")).await.expect_status(204);
                there.remove(&gone);
            }
        }
        assert!(seen.values().all(|times| *times == 1), "{ordering:?}: seen twice: {seen:?}");
        let missed: Vec<&i64> =
            from_the_beginning.intersection(&there).filter(|id| !seen.contains_key(id)).collect();
        assert!(missed.is_empty(), "{ordering:?}: never seen: {missed:?}");
    }
}

#[tokio::test]
async fn a_page_goes_on_behind_a_product_that_is_gone() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let category = app.category(&staff, "all").await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(app.product_in(&staff, category, &format!("p{n}"), "1.00", 1).await);
    }
    let first = app.get("/api/products/?page_size=3&ordering=price").await;
    assert_eq!(first.expect_json(200).ids(), ids[..3]);
    app.delete_as(&staff, &format!("/api/products/{}/", ids[2])).await.expect_status(204);
    let second = app.get(&next_of(&first).expect("a second page")).await;
    assert_eq!(second.expect_json(200).ids(), ids[3..]);
    assert_eq!(next_of(&second), None, "the last page leads nowhere");
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_on_every_node_and_for_nothing_else() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let category = app.category(&staff, "all").await;
    for n in 0..4 {
        app.product_in(&staff, category, &format!("pen {n}"), "1.00", 1).await;
    }
    let list = "/api/products/?page_size=2&ordering=-price&search=pen&min_price=0.50";
    let next = next_of(&app.get(list).await).expect("a second page");
    let good = app.get(&next).await;
    assert_eq!(good.expect_json(200).ids().len(), 2);
    let second = app.second_node().await;
    assert_eq!(second.get(&next).await.expect_json(200), good.expect_json(200));
    let cursor = cursor_of(&next);
    // The page size is no part of the list, nor are empty parameters.
    app.get(&format!("{list}&page_size=1&in_stock=&cursor={cursor}")).await.expect_status(200);

    let refused = async |path: String| {
        let answer = app.get(&path).await;
        let body = json!({"cursor": ["This cursor was not given out for this list."]});
        assert_eq!((answer.status, answer.json::<Value>().ok()), (400, Some(body)), "{path}");
    };
    for other in [
        "ordering=price&search=pen&min_price=0.50",
        "ordering=-price,name&search=pen&min_price=0.50",
        "ordering=-stock&search=pen&min_price=0.50",
        "ordering=-price&search=pens&min_price=0.50",
        "ordering=-price&search=pen",
        "ordering=-price&search=pen&min_price=0.51",
        "ordering=-price&search=pen&min_price=0.50&max_price=9",
        "ordering=-price&search=pen&min_price=0.50&in_stock=true",
        &format!("ordering=-price&search=pen&min_price=0.50&category={category}"),
        "",
    ] {
        refused(format!("/api/products/?page_size=2&{other}&cursor={cursor}")).await;
    }
    for length in (0..cursor.len()).filter(|length| *length > 0) {
        refused(format!("{list}&cursor={}", &cursor[..length])).await;
    }
    for position in 0..cursor.len() {
        let mut changed = cursor.as_bytes().to_vec();
        changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        let answer = app.get(&format!("{list}&cursor={changed}")).await;
        // The last character of a text in base 64 has bits that mean nothing.
        let says_the_same = URL_SAFE_NO_PAD.decode(&changed).ok() == URL_SAFE_NO_PAD.decode(cursor).ok();
        assert!(answer.status == 400 || says_the_same, "changed at {position}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_cursor_that_somebody_made_up_is_refused() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let category = app.category(&staff, "all").await;
    for n in 0..3 {
        app.product_in(&staff, category, &format!("pen {n}"), "1.00", 1).await;
    }
    let next = next_of(&app.get("/api/products/?page_size=1").await).expect("a second page");
    let genuine = URL_SAFE_NO_PAD.decode(cursor_of(&next)).expect("base 64");
    let genuine: Value = serde_json::from_slice(&genuine).expect("JSON");
    let mut made_up = vec![json!(null), json!({}), json!([1]), json!("x")];
    for (member, value) in [
        ("keys", json!(["2"])),
        ("keys", json!([])),
        ("keys", json!(["x"])),
        ("keys", json!([genuine["keys"][0], "1"])),
        ("keys", json!(vec!["1"; 1000])),
        ("is_before", json!(true)),
        ("seal", json!("")),
        ("seal", json!(null)),
    ] {
        let mut changed = genuine.clone();
        changed[member] = value;
        made_up.push(changed);
    }
    let another =
        TestApp::start_with(&[("JWT_SECRET", "the secret of another shop, as long as it must be")]).await;
    let foreign = another.get(&next).await;
    assert_eq!(foreign.status, 400, "a cursor of another shop: {}", foreign.text());
    for cursor in made_up {
        let text = URL_SAFE_NO_PAD.encode(cursor.to_string());
        let answer = app.get(&format!("/api/products/?page_size=1&cursor={text}")).await;
        assert_eq!(answer.status, 400, "{cursor}: {}", answer.text());
    }
}
