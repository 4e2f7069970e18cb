//! The dashboard's files, and what it alone asks for: how the nodes fare.

use std::collections::BTreeSet;
use std::time::Duration;

use emporium::loadtest::client::{Answer, Request};
use serde_json::Value;

use crate::harness::{Expect, Node, TestApp, User, eventually};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

async fn page(node: &Node) -> Answer {
    let answer = node.send(&Request::get("/").header("accept", BROWSER)).await;
    answer.expect_status(200);
    answer
}

#[tokio::test]
async fn a_browser_gets_the_dashboard_and_a_program_a_word_in_json() {
    let app = TestApp::start().await;
    let html = page(&app).await;
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(html.text().starts_with("<!DOCTYPE html>"));
    assert!(html.header("vary").is_some_and(|vary| vary.contains("Accept")));
    for accept in ["application/json", "*/*", "application/json, text/plain, */*"] {
        let answer = app.send(&Request::get("/").header("accept", accept)).await;
        assert!(answer.expect_json(200)["message"].is_string(), "{accept}");
    }
    assert!(app.get("/").await.expect_json(200)["message"].is_string());
    app.send(&Request::get("/").header("accept", "image/png")).await.expect_status(406);
    app.send(&Request::post("/").header("accept", BROWSER)).await.expect_status(405);
}

#[tokio::test]
async fn the_page_may_load_and_run_its_own_files_alone() {
    let app = TestApp::start().await;
    for answer in [page(&app).await, app.get("/dashboard/main.js").await] {
        let policy = answer.header("content-security-policy").expect("a policy");
        let directives: BTreeSet<&str> = policy.split(';').map(str::trim).collect();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(directives.contains(directive), "{directive} is not in {policy}");
        }
        let loose =
            ["unsafe", "*", "data:", "blob:", "http:", "https:", "ws:", "wss:", "nonce", "strict-dynamic"];
        assert!(loose.iter().all(|word| !policy.contains(word)), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
    }
}

#[tokio::test]
async fn the_page_has_nothing_inline_and_every_file_that_it_names_is_there() {
    let app = TestApp::start().await;
    let html = page(&app).await.text();
    for inline in ["<style", " style=", "javascript:", "http://", "https://", "//"] {
        assert!(!html.contains(inline), "{inline}");
    }
    assert!(!html.split_whitespace().any(|word| word.starts_with("on") && word.contains("=\"")), "a handler");
    for script in html.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').expect("a tag");
        assert!(tag.contains(" src=\"/dashboard/") && rest.starts_with("</script>"), "{tag}");
    }
    // Every file named by the page, by a module, and so on.
    let quoted = |text: &str, before: &str| -> Vec<String> {
        let values = text.split(before).skip(1).filter_map(|rest| rest.split('"').next());
        values.map(str::to_owned).collect()
    };
    let mut to_see: Vec<String> = [quoted(&html, " src=\""), quoted(&html, " href=\"")].concat();
    let mut seen = BTreeSet::new();
    while let Some(path) = to_see.pop() {
        if path.starts_with('#') || !seen.insert(path.clone()) {
            continue;
        }
        assert!(path.starts_with("/dashboard/"), "{path}");
        let answer = app.get(&path).await;
        answer.expect_status(200);
        let kind = match path.rsplit_once('.').expect("an ending").1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{path} is of an unforeseen kind: {other}"),
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        let folder = path.rsplit_once('/').expect("a folder").0;
        to_see.extend(quoted(&answer.text(), " from \"./").iter().map(|name| format!("{folder}/{name}")));
    }
    assert!(seen.len() > 15, "{seen:?}");
    for kept in ["/dashboard/vendor/uplot/LICENSE", "/dashboard/vendor/README.md"] {
        app.get(kept).await.expect_status(200);
    }
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_not_sent_it_again() {
    let app = TestApp::start().await;
    for (path, accept) in [("/", BROWSER), ("/dashboard/main.js", "*/*"), ("/dashboard/dashboard.css", "*/*")]
    {
        let request = || Request::get(path).header("accept", accept);
        let first = app.send(&request()).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        assert!(tag.starts_with('"') && tag.len() > 20, "{tag} is not strong");
        assert_eq!(first.header("cache-control"), Some("no-cache"), "{path}");
        for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            let again = app.send(&request().header("if-none-match", &known)).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {known}");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
            assert_eq!(again.header("cache-control"), Some("no-cache"));
        }
        let other = app.send(&request().header("if-none-match", "\"other\"")).await;
        assert_eq!((other.status, &other.body), (200, &first.body));
    }
    let tags: BTreeSet<String> = {
        let (a, b) = (app.get("/dashboard/main.js").await, app.get("/dashboard/feed.js").await);
        [a, b].iter().map(|answer| answer.header("etag").expect("a tag").to_owned()).collect()
    };
    assert_eq!(tags.len(), 2);
}

#[tokio::test]
async fn what_is_none_of_the_dashboards_files_is_not_found() {
    let app = TestApp::start().await;
    for path in [
        "/dashboard/",
        "/dashboard/nothing.js",
        "/dashboard/vendor",
        "/dashboard/vendor/uplot/",
        "/dashboard/../http/mod.rs",
        "/dashboard/..%2fhttp/mod.rs",
        "/dashboard/%2e%2e/%2e%2e/Cargo.toml",
        "/dashboard/%2fetc%2fpasswd",
        "/dashboard/main.js%00",
        "/dashboard/Main.js",
    ] {
        let answer = app.get(path).await;
        assert!(answer.expect_json(404)["detail"].is_string(), "{path}");
    }
}

/// What a node says of the nodes.
async fn nodes(node: &Node, staff: &User) -> Vec<Value> {
    let list = node.get_as(staff, "/api/nodes/").await.expect_json(200);
    list.as_array().expect("a list").clone()
}

fn is_self(node: &&Value) -> bool {
    node["is_self"] == true
}

#[tokio::test]
async fn how_the_nodes_fare_is_for_staff() {
    let app = TestApp::start().await;
    let (staff, anna) = (app.staff().await, app.customer("anna").await);
    app.get("/api/nodes/").await.expect_status(401);
    app.get_as(&anna, "/api/nodes/").await.expect_status(403);
    let list = nodes(&app, &staff).await;
    let [own] = &list[..] else { panic!("{list:?}") };
    let port = app.target.address().rsplit_once(':').expect("a port").1;
    assert!(own["name"].as_str().expect("a name").ends_with(&format!(":{port}")), "{own}");
    assert_eq!(own["version"], env!("CARGO_PKG_VERSION"));
    assert!(own["started_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{own}");
}

#[tokio::test]
async fn each_node_tells_of_all_until_they_leave() {
    let app = TestApp::start().await;
    let other = app.second_node().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "1.00", 100).await;
    let anna = app.customer("anna").await;
    let _feed = other.socket("/ws/stock/?all=true").await;
    for _ in 0..3 {
        other.placed(&anna, lamp, 2).await;
    }
    // Asked on one node, told by the other.
    eventually(Duration::from_secs(5), "the other node's orders", async || {
        let list = nodes(&app, &staff).await;
        let told = list.iter().find(|node| !is_self(node))?;
        (list.len() == 2 && told["orders"] == 3 && told["sockets"] == 1).then(|| {
            assert!(told["batches"].as_i64() >= Some(3) && told["batch_size_max"] == 1, "{told}");
            assert_eq!(told["batch_size_mean"], 1, "{told}");
            let times = [&told["commit_p50_us"], &told["commit_p99_us"]].map(|time| time.as_i64().unwrap());
            assert!(0 < times[0] && times[0] <= times[1], "{told}");
            assert!(told["position"].as_i64() > Some(0), "{told}");
        })
    })
    .await;
    let own = nodes(&app, &staff).await.into_iter().find(|node| is_self(&node)).expect("the node itself");
    assert_eq!((&own["orders"], &own["sockets"]), (&0.into(), &0.into()), "{own}");
    let ids = async |node: &Node| -> BTreeSet<String> {
        nodes(node, &staff).await.iter().map(|node| node["id"].to_string()).collect()
    };
    assert_eq!(ids(&app).await, ids(&other).await);

    drop(other);
    eventually(Duration::from_secs(3), "the other node is left out", async || {
        (nodes(&app, &staff).await.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_went_without_a_word_is_left_out_and_forgotten() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let ghost = |id: &str, silent: &str| {
        format!(
            "INSERT INTO nodes VALUES ('{id}', 'ghost:1', '0', now(), now() - interval '{silent}',
             0, 10, 0, 0, 0, 0, 0, 0, 0, 0)"
        )
    };
    app.sql(&ghost("lately", "1 second")).await;
    eventually(Duration::from_secs(2), "a node that was there just now", async || {
        (nodes(&app, &staff).await.len() == 2).then_some(())
    })
    .await;
    eventually(Duration::from_secs(5), "it is left out", async || {
        (nodes(&app, &staff).await.len() == 1).then_some(())
    })
    .await;
    app.sql(&ghost("long ago", "2 minutes")).await;
    // A node that starts clears up.
    let _other = app.second_node().await;
    let ghosts = "SELECT count(*) FROM nodes WHERE id = 'long ago'";
    eventually(Duration::from_secs(5), "its row is gone", async || {
        (app.count(ghosts).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_cannot_be_told_of_sells_on_and_tells_of_itself() {
    let app = TestApp::start().await;
    let other = app.second_node().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp", "1.00", 100).await;
    let anna = app.customer("anna").await;
    let count = async |wanted: usize| {
        eventually(Duration::from_secs(15), &format!("{wanted} nodes"), async || {
            (nodes(&app, &staff).await.len() == wanted).then_some(())
        })
        .await;
    };
    count(2).await;
    let lock = app.database().client().await;
    lock.batch_execute("BEGIN; LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("the table is locked");
    count(1).await;
    app.placed(&anna, lamp, 1).await;
    eventually(Duration::from_secs(3), "its own order", async || {
        let list = nodes(&app, &staff).await;
        (list[0]["orders"] == 1 && list[0]["age_ms"].as_i64() < Some(2000)).then_some(())
    })
    .await;
    lock.batch_execute("ROLLBACK").await.expect("the table is free");
    count(2).await;
    app.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    let told = "SELECT count(*) FROM nodes WHERE seen_at > now() - interval '900 milliseconds'";
    eventually(Duration::from_secs(10), "both tell of themselves again", async || {
        (app.count(told).await == 2).then_some(())
    })
    .await;
    drop(other);
}
