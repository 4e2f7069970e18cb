//! A real browser, headless, driven by WebDriver (<https://www.w3.org/TR/webdriver2/>).
//!
//! Promises: each has a profile of its own, in a temporary folder; browser, driver and folder are
//! gone with the value, and the processes also when the test is killed before that.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use emporium::loadtest::client::{Client, Request, Target};
use serde_json::{Value, json};

use super::{Expect, Folder};

/// How long something that must come true may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the driver may take for one command, the start of the browser included.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// Runs the driver until the standard input ends, as it does however the test ends; then kills the
/// whole process group, the browser included.
const SUPERVISOR: &str = "chromedriver --port=0 & read -r _; kill -KILL 0";
/// What makes it quiet, and work as root and in a container.
const ARGUMENTS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
];
/// The name under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page.
pub(crate) struct Browser {
    supervisor: Child,
    client: Client,
    session: String,
    _folder: Folder,
}

/// What the driver refused.
#[derive(Debug)]
struct Refusal(String);

impl Browser {
    /// Starts one whose window has this size, in CSS pixels.
    pub(crate) async fn start(width: u32, height: u32) -> Self {
        let folder = Folder::new();
        let (supervisor, port) = {
            let path = folder.path().to_owned();
            tokio::task::spawn_blocking(move || start_driver(&path)).await.expect("the driver starts")
        };
        let target: Target = format!("http://127.0.0.1:{port}").parse().expect("its address");
        let client = Client::new(target).timeout(COMMAND_MAX);
        let mut browser = Self { supervisor, client, session: String::new(), _folder: folder };
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--window-size={width},{height}"));
        arguments.push(format!("--user-data-dir={}", browser._folder.path().join("profile").display()));
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": chromium(), "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let answer = browser.client.send(&Request::post("/session").json(&capabilities)).await;
        let session = answer.expect("an answer of the driver").expect_json(200);
        browser.session = session["value"]["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) async fn open(&mut self, url: &str) {
        self.command("/url", &json!({ "url": url })).await.expect(url);
    }

    /// Opens a page in another tab and turns to it; gives the tab that was left and the new one.
    pub(crate) async fn open_tab(&mut self, url: &str) -> [String; 2] {
        let name = |value: &Value| value.as_str().expect("a tab").to_owned();
        let left = self.ask(&Request::get(format!("/session/{}/window", self.session))).await;
        let left = name(&left.expect("the tab that is open"));
        let opened = self.command("/window/new", &json!({"type": "tab"})).await.expect("another tab");
        let opened = name(&opened["handle"]);
        self.turn_to(&opened).await;
        self.open(url).await;
        [left, opened]
    }

    /// Turns to a tab, which then is the one that is seen.
    pub(crate) async fn turn_to(&mut self, tab: &str) {
        self.command("/window", &json!({ "handle": tab })).await.expect(tab);
        let body = json!({"cmd": "Page.bringToFront", "params": {}});
        self.command("/goog/cdp/execute", &body).await.expect("the tab in front");
    }

    /// Makes the page as small as a phone's, which no window can be.
    pub(crate) async fn narrow(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": true});
        let body = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.command("/goog/cdp/execute", &body).await.expect("a small page");
    }

    /// Runs a script in the page; returns what it returns.
    pub(crate) async fn run(&mut self, script: &str) -> Value {
        self.try_run(script).await.expect(script)
    }

    async fn try_run(&mut self, script: &str) -> Result<Value, Refusal> {
        self.command("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression is true in the page, or as good as; returns its value.
    pub(crate) async fn until(&mut self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        let until = Instant::now() + PATIENCE;
        loop {
            let value = self.run(&script).await;
            if !matches!(value, Value::Null | Value::Bool(false)) && value != json!(0) && value != json!("") {
                return value;
            }
            if Instant::now() > until {
                let page = self.run("return document.body.innerText;").await;
                panic!("not within {PATIENCE:?}: {expression}\n{}", page.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Clicks what a selector finds first, once it can be clicked.
    pub(crate) async fn click(&mut self, selector: &str) {
        self.on_element(selector, "click", &json!({})).await;
    }

    /// Types into what a selector finds first, once it takes text; what stood there goes.
    pub(crate) async fn fill(&mut self, selector: &str, text: &str) {
        self.on_element(selector, "clear", &json!({})).await;
        self.on_element(selector, "value", &json!({ "text": text })).await;
    }

    /// The page may change under the hand, so an element is looked for anew with each attempt.
    async fn on_element(&mut self, selector: &str, command: &str, body: &Value) {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.command("/element", &json!({"using": "css selector", "value": selector})).await;
            let done = match found {
                Ok(element) => {
                    let id = element[ELEMENT].as_str().expect("an element").to_owned();
                    self.command(&format!("/element/{id}/{command}"), body).await
                }
                Err(refusal) => Err(refusal),
            };
            let Err(Refusal(reason)) = done else { return };
            assert!(Instant::now() < until, "{command} {selector}: {reason}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// What has been written to the console since it was last asked for, violations of the page's
    /// policies and requests that failed included.
    pub(crate) async fn console(&mut self) -> Vec<String> {
        let entries = self.command("/se/log", &json!({"type": "browser"})).await.expect("the console");
        let entries = entries.as_array().expect("a list");
        entries.iter().map(|entry| entry["message"].as_str().expect("a message").to_owned()).collect()
    }

    async fn command(&mut self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.ask(&Request::post(format!("/session/{}{path}", self.session)).json(body)).await
    }

    async fn ask(&mut self, request: &Request) -> Result<Value, Refusal> {
        let answer = self.client.send(request).await.expect("an answer of the driver");
        let mut body: Value = answer.json().expect("JSON from the driver");
        let value = body["value"].take();
        if answer.status == 200 { Ok(value) } else { Err(Refusal(value["message"].to_string())) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input; see `SUPERVISOR`.
        drop(self.supervisor.stdin.take());
        self.supervisor.wait().ok();
    }
}

/// Starts the driver; returns its supervisor and its port.
fn start_driver(folder: &Path) -> (Child, u16) {
    let mut supervisor = Command::new("sh")
        .args(["-c", SUPERVISOR])
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let mut output = BufReader::new(supervisor.stdout.take().expect("its output"));
    let mut line = String::new();
    let port = loop {
        line.clear();
        assert!(output.read_line(&mut line).expect("its output") > 0, "chromedriver does not start");
        let port = line.trim().strip_prefix("ChromeDriver was started successfully on port ");
        if let Some(port) = port {
            break port.trim_end_matches('.').parse().expect("a port");
        }
    };
    // What it goes on to say has somewhere to go.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    (supervisor, port)
}

/// Where the browser is, by whichever name.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH");
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let candidates = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.exists()).expect("a Chromium on the PATH")
}
