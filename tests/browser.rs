//! What somebody sees in a real browser.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Body, Browser, Expect, PASSWORD, TestApp, User, Wire, eventually, python};

/// What a browser itself says of a connection that a test has broken.
fn is_of_a_broken_connection(message: &str) -> bool {
    message.contains("WebSocket connection to") || message.contains("net::ERR_")
}

/// Insists that the console, besides broken connections, speaks of requests that were refused with
/// these statuses, in this order, and of nothing else.
async fn console_has(browser: &mut Browser, refused: &[u16]) {
    let messages = browser.console().await;
    let told: Vec<&String> = messages.iter().filter(|message| !is_of_a_broken_connection(message)).collect();
    let is_refusal = |(message, status): (&&String, &u16)| message.contains(&format!("status of {status}"));
    let is_expected = told.len() == refused.len() && told.iter().zip(refused).all(is_refusal);
    assert!(is_expected, "{told:#?}");
}

struct Market {
    app: TestApp,
    staff: User,
    anna: User,
    lamp: i64,
}

impl Market {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let (staff, anna) = tokio::join!(app.staff(), app.customer("anna"));
        let lamp = app.product(&staff, "lamp", "2.50", 100).await;
        Self { app, staff, anna, lamp }
    }

    /// Places an order of one lamp and pays it.
    async fn trade(&self) {
        let order = self.app.placed(&self.anna, self.lamp, 1).await.id();
        let path = format!("/api/orders/{order}/pay/");
        self.app.post_as(&self.staff, &path, &json!({})).await.expect_status(200);
    }
}

/// The web server of the example; it ends with the value.
struct Pages {
    _server: Child,
    /// The page, shop included.
    url: String,
    /// Where it comes from.
    origin: String,
}

impl Pages {
    async fn serve(wire: &Wire) -> Self {
        let mut server = Command::new(python("import http.server"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/browser/serve.py"))
            .arg("0")
            .env("SHOP_URL", wire.target.to_string())
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the pages are served");
        let mut lines = BufReader::new(server.stdout.take().expect("its output")).lines();
        let url = lines.next_line().await.expect("its output").expect("its address");
        let origin = url.split("/?").next().expect("an origin").to_owned();
        Self { _server: server, url, origin }
    }
}

#[tokio::test]
async fn the_example_for_browsers_tells_each_order_event_once_and_in_order_whatever_breaks() {
    let market = Market::open().await;
    let wire = Wire::to(&market.app.target).await;
    let pages = Pages::serve(&wire).await;
    // A page of another origin, so the shop has to know it.
    let own = [("EMPORIUM_HTTP__ALLOWED_ORIGINS", pages.origin.as_str())];
    let node = market.app.second_node_with(&own).await;
    wire.lead_to(&node.target);
    let watcher = market.app.staff_named("watcher").await;
    let mut browser = Browser::start(800, 600).await;
    browser.open(&pages.url).await;

    browser.fill("[name=username]", "watcher").await;
    browser.fill("[name=password]", "wrong").await;
    browser.click("#sign-in button").await;
    browser.until("document.getElementById('sign-in-error').textContent").await;
    browser.fill("[name=password]", PASSWORD).await;
    browser.click("#sign-in button").await;
    browser.fill("[name=products]", &market.lamp.to_string()).await;
    browser.click("#watch button").await;
    let is = |id: &str, state: &str| format!("document.getElementById('{id}').textContent === '{state}'");
    browser.until(&is("orders-state", "live")).await;
    browser.until(&is("stock-state", "live")).await;
    let began = market.app.count("SELECT last_seq FROM event_counter").await;

    let mut page = ExamplePage { browser: &mut browser, market: &market, began };
    page.sees_a_sale().await;
    wire.cut();
    page.sees_a_sale().await;
    // Too slow; and then, the access token has run out.
    wire.close_sockets("/ws/orders/", 4008);
    page.sees_a_sale().await;
    wire.close_sockets("/ws/orders/", 4001);
    page.sees_a_sale().await;
    assert_eq!(wire.requests("POST /api/auth/token/refresh/"), 1);
    // Nobody is there for a while; then the node that is there stops, and another one comes.
    wire.lose();
    page.browser.until(&is("orders-state", "resuming")).await;
    market.trade().await;
    wire.lead_to(&node.target);
    page.sees_a_sale().await;
    let other = market.app.second_node_with(&own).await;
    wire.lead_to(&other.target);
    node.shop.stop().await;
    page.sees_a_sale().await;
    assert!(wire.requests("GET /ws/orders/?since=") >= 5 && wire.requests("GET /ws/stock/") >= 4);
    // What is missed is not kept: the page reads the orders anew.
    wire.lose();
    page.browser.until(&is("orders-state", "resuming")).await;
    market.trade().await;
    market.app.forget_events().await;
    wire.lead_to(&other.target);
    page.shows_how_things_stand().await;

    market.app.post_as(&watcher, "/api/auth/logout/all/", &json!({})).await.expect_status(204);
    browser.until(&is("orders-state", "signed out")).await;
    // The wrong password, and the renewal after the session had ended.
    console_has(&mut browser, &[401, 401]).await;
}

/// The page of the example, and what it has to show.
struct ExamplePage<'a> {
    browser: &'a mut Browser,
    market: &'a Market,
    /// Order events after this number are shown.
    began: i64,
}

impl ExamplePage<'_> {
    /// Sells something; waits until the page shows each order event of the table once and in order,
    /// and the stock that there is.
    async fn sees_a_sale(&mut self) {
        self.market.trade().await;
        let sql = format!(
            "SELECT seq, subject, event FROM events WHERE kind = 'order' AND seq > {} ORDER BY seq",
            self.began
        );
        let rows = self.market.app.database().rows(&sql).await;
        let events = rows.iter().map(|row| {
            let (seq, order, event): (i64, i64, &str) = (row.get(0), row.get(1), row.get(2));
            json!([seq, order, event])
        });
        let expected = Value::from_iter(events);
        let lines = "[...document.querySelectorAll('#orders li')].reverse()";
        let told = format!("{lines}.map((line) => [line.value, +line.dataset.order, line.dataset.event])");
        self.browser.until(&format!("JSON.stringify({told}) === '{expected}'")).await;
        self.shows_the_stock().await;
    }

    /// Waits until the page shows how each order stands, and the stock that there is.
    async fn shows_how_things_stand(&mut self) {
        let rows = self.market.app.database().rows("SELECT id, status FROM orders ORDER BY id DESC").await;
        let orders = rows.iter().map(|row| {
            let (order, status): (i64, &str) = (row.get(0), row.get(1));
            json!(format!("order {order} is {status}, 2.50"))
        });
        let expected = Value::from_iter(orders);
        let told = "[...document.querySelectorAll('#orders li')].map((line) => line.textContent)";
        self.browser.until(&format!("JSON.stringify({told}) === '{expected}'")).await;
        self.shows_the_stock().await;
    }

    async fn shows_the_stock(&mut self) {
        let stock = self.market.app.count("SELECT quantity FROM stock").await;
        self.browser.until(&format!("document.querySelector('#stock [data-stock=\"{stock}\"]')")).await;
    }
}

/// The dashboard in a browser, at the end of a wire to a node.
struct Desk {
    browser: Browser,
    wire: Wire,
    market: Market,
}

impl Desk {
    async fn open() -> Self {
        Self::of_size(1280, 900).await
    }

    async fn of_size(width: u32, height: u32) -> Self {
        let market = Market::open().await;
        let wire = Wire::to(&market.app.target).await;
        let mut browser = Browser::start(width, height).await;
        browser.open(&wire.target.to_string()).await;
        let mut desk = Self { browser, wire, market };
        desk.mark().await;
        desk
    }

    /// Leaves a mark on the page that a reload would wipe off, and has it note what its policy forbids.
    async fn mark(&mut self) {
        let script = "window.breaches = [];
            document.addEventListener('securitypolicyviolation', (breach) => {
                window.breaches.push(`${breach.effectiveDirective} ${breach.blockedURI}`);
            });";
        self.browser.run(script).await;
    }

    async fn sign_in(&mut self) {
        self.browser.fill("#username", "boss").await;
        self.browser.fill("#password", PASSWORD).await;
        self.browser.click("#sign-in [type=submit]").await;
        self.browser.until("document.body.dataset.signedIn === 'yes'").await;
    }

    /// Waits until the page says so of its connection.
    async fn is(&mut self, state: &str) {
        self.browser
            .until(&format!("document.getElementById('connection').dataset.state === '{state}'"))
            .await;
    }

    async fn shows_order(&mut self, order: i64, status: &str) {
        let row = format!("#orders [data-order=\"{order}\"][data-status=\"{status}\"]");
        self.browser.until(&format!("document.querySelector('{row}')")).await;
    }

    async fn shows_stock(&mut self, stock: i64) {
        let row = format!("#stock [data-product=\"{}\"][data-stock=\"{stock}\"]", self.market.lamp);
        self.browser.until(&format!("document.querySelector('{row}')")).await;
    }

    /// Insists that the page is still the one that was opened, broke no policy and logged no error.
    async fn is_unblemished(&mut self) {
        assert_eq!(self.browser.run("return window.breaches;").await, json!([]));
        console_has(&mut self.browser, &[]).await;
    }

    async fn order(&self, units: i64) -> i64 {
        let Market { app, anna, lamp, .. } = &self.market;
        app.placed(anna, *lamp, units).await.id()
    }
}

#[tokio::test]
async fn the_dashboard_shows_what_happens_says_when_the_shop_is_gone_and_catches_up() {
    let mut desk = Desk::open().await;
    let node = desk.market.app.second_node().await;
    desk.is("live").await;
    desk.shows_stock(100).await;
    desk.sign_in().await;
    let first = desk.order(3).await;
    desk.shows_order(first, "pending").await;
    desk.shows_stock(97).await;
    desk.is("live").await;

    desk.wire.lose();
    desk.is("offline").await;
    desk.browser.until("!document.getElementById('notice').hidden").await;
    let missed = desk.order(2).await;
    let path = format!("/api/orders/{first}/pay/");
    desk.market.app.post_as(&desk.market.staff, &path, &json!({})).await.expect_status(200);
    desk.wire.lead_to(&node.target);
    desk.is("live").await;
    desk.shows_order(first, "paid").await;
    desk.shows_order(missed, "pending").await;
    desk.shows_stock(95).await;
    desk.browser.until("document.getElementById('notice').hidden").await;

    // Its node stops in good order, while another one goes on.
    desk.wire.lead_to(&desk.market.app.target);
    node.shop.stop().await;
    let later = desk.order(1).await;
    desk.shows_order(later, "pending").await;
    desk.shows_stock(94).await;
    desk.is("live").await;
    desk.is_unblemished().await;
}

#[tokio::test]
async fn staff_move_orders_on_and_change_stocks_from_the_dashboard() {
    let mut desk = Desk::open().await;
    desk.sign_in().await;
    let order = desk.order(4).await;
    for (step, status) in [("pay", "paid"), ("ship", "shipped"), ("deliver", "delivered")] {
        desk.browser.click(&format!("#orders [data-order=\"{order}\"] [data-move={step}]")).await;
        desk.shows_order(order, status).await;
    }
    let cancelled = desk.order(6).await;
    // The list holds still while the pointer is on it.
    desk.browser.click("h1").await;
    desk.shows_order(cancelled, "pending").await;
    desk.shows_stock(90).await;
    desk.browser.click(&format!("#orders [data-order=\"{cancelled}\"] button")).await;
    // What cannot be taken back is asked about.
    desk.browser.click("#order-dialog [data-move=cancel]").await;
    desk.browser.click("#order-dialog [data-move=cancel][data-sure]").await;
    desk.shows_order(cancelled, "cancelled").await;
    desk.browser.click("#order-dialog [data-close]").await;
    desk.shows_stock(96).await;

    desk.browser.click(&format!("#stock [data-product=\"{}\"] [data-adjust]", desk.market.lamp)).await;
    desk.browser.fill("#delta", "-97").await;
    desk.browser.fill("#reason", "count").await;
    desk.browser.click("#stock-form [type=submit]").await;
    // There are not so many.
    desk.browser.until("document.getElementById('stock-error').textContent").await;
    console_has(&mut desk.browser, &[409]).await;
    desk.browser.fill("#delta", "-7").await;
    desk.browser.click("#stock-form [type=submit]").await;
    desk.browser.until("!document.getElementById('stock-dialog').open").await;
    desk.shows_stock(89).await;

    let Market { app, staff, lamp, .. } = &desk.market;
    assert_eq!(app.stock(*lamp).await, 89);
    for (order, status) in [(order, "delivered"), (cancelled, "cancelled")] {
        let path = format!("/api/orders/{order}/");
        assert_eq!(app.get_as(staff, &path).await.expect_json(200)["status"], status);
    }
    desk.is_unblemished().await;
}

#[tokio::test]
async fn the_dashboard_lets_staff_alone_in_and_for_as_long_as_their_session_lasts() {
    let mut desk = Desk::open().await;
    for (username, password) in [("boss", "wrong"), ("anna", PASSWORD)] {
        desk.browser.fill("#username", username).await;
        desk.browser.fill("#password", password).await;
        desk.browser.click("#sign-in [type=submit]").await;
        desk.browser.until("document.getElementById('sign-in-error').textContent").await;
        assert_eq!(desk.browser.run("return document.body.dataset.signedIn;").await, "no");
    }
    console_has(&mut desk.browser, &[401]).await;
    desk.sign_in().await;
    // A reload does not sign out.
    let url = desk.wire.target.to_string();
    desk.browser.open(&url).await;
    desk.mark().await;
    desk.browser.until("document.body.dataset.signedIn === 'yes'").await;
    let order = desk.order(1).await;
    desk.shows_order(order, "pending").await;
    // The end of all sessions does, wherever it was asked for.
    desk.market.app.post_as(&desk.market.staff, "/api/auth/logout/all/", &json!({})).await.expect_status(204);
    desk.browser.until("document.body.dataset.signedIn === 'no'").await;
    desk.browser.until("!document.querySelector('#orders [data-order]')").await;
    // What anybody may see goes on.
    desk.order(1).await;
    desk.shows_stock(98).await;
}

#[tokio::test]
async fn tabs_share_a_session_whose_refresh_tokens_are_good_for_one_use() {
    const RENEWAL: &str = "POST /api/auth/token/refresh/";
    const IS_IN: &str = "document.body.dataset.signedIn === 'yes'";
    let mut desk = Desk::open().await;
    let rotating = [("EMPORIUM_ACCOUNTS__ROTATE_REFRESH_TOKENS", "true")];
    let node = desk.market.app.second_node_with(&rotating).await;
    // No connection to the other node is left.
    desk.wire.lose();
    desk.is("offline").await;
    desk.wire.lead_to(&node.target);
    desk.is("live").await;
    desk.sign_in().await;
    // Another tab need not sign in.
    let url = desk.wire.target.to_string();
    let tabs = desk.browser.open_tab(&url).await;
    for round in 0..3 {
        for tab in &tabs {
            desk.browser.turn_to(tab).await;
            desk.browser.until(IS_IN).await;
            let order = desk.order(1).await;
            desk.shows_order(order, "pending").await;
        }
        // Both need another token at the same moment, and the shop is slow to give one.
        let before = desk.wire.requests(RENEWAL);
        let sessions = desk.market.app.database().client().await;
        sessions.batch_execute("BEGIN; SELECT FROM sessions FOR UPDATE").await.expect("their lock");
        desk.wire.close_sockets("/ws/orders/", 4001);
        let renewals = async |count: usize| {
            let what = format!("{count} renewals in round {round}");
            let asked = async || (desk.wire.requests(RENEWAL) >= before + count).then_some(());
            eventually(Duration::from_secs(20), &what, asked).await;
        };
        renewals(1).await;
        // What must not happen cannot be waited for: the other tab has time to ask as well.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(desk.wire.requests(RENEWAL), before + 1, "one tab after the other");
        sessions.batch_execute("COMMIT").await.expect("the lock's end");
        renewals(2).await;
    }
    for tab in &tabs {
        desk.browser.turn_to(tab).await;
        desk.browser.until(IS_IN).await;
    }
    let order = desk.order(1).await;
    desk.shows_order(order, "pending").await;
    desk.browser.click("#sign-out").await;
    for tab in &tabs {
        desk.browser.turn_to(tab).await;
        desk.browser.until("document.body.dataset.signedIn === 'no'").await;
    }
}

#[tokio::test]
async fn the_dashboard_fits_a_phone() {
    let mut desk = Desk::of_size(500, 900).await;
    desk.browser.narrow(360, 780).await;
    desk.shows_stock(100).await;
    let is_wide = "return document.documentElement.scrollWidth > window.innerWidth;";
    assert_eq!(desk.browser.run(is_wide).await, false);
    desk.sign_in().await;
    let order = desk.order(1).await;
    desk.shows_order(order, "pending").await;
    assert_eq!(desk.browser.run(is_wide).await, false);
    desk.is_unblemished().await;
}

#[tokio::test]
async fn the_dashboard_runs_nothing_that_is_not_its_own_and_the_tests_would_see_it() {
    let mut desk = Desk::open().await;
    desk.is("live").await;
    desk.is_unblemished().await;
    let script = "window.isRun = false;
        const script = document.createElement('script');
        script.text = 'window.isRun = true;';
        document.head.append(script);
        const image = document.createElement('img');
        image.src = 'http://127.0.0.1:9/';
        document.body.append(image);";
    desk.browser
        .run(&format!("try {{ {script} }} catch (error) {{ window.breaches.push(String(error)); }}"))
        .await;
    desk.browser.until("window.breaches.length > 0").await;
    assert_eq!(desk.browser.run("return window.isRun;").await, false);
    assert!(!desk.browser.console().await.is_empty());
}
