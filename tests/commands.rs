//! The program as a shell sees it: exit codes, messages, nothing half done.

use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::harness::{Expect, Folder, TestApp, TestDatabase};

const SECRET: &str = "a secret for tests alone, long enough to sign with";

/// The program with a bare environment, and a data folder of its own.
fn emporium(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let data = Folder::new();
    Command::new(env!("CARGO_BIN_EXE_emporium"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("JWT_SECRET", SECRET)
        .env("EMPORIUM_DATA", data.path())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

/// The same while the test's own shop goes on.
pub(crate) async fn emporium_beside(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let arguments = own(arguments);
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        emporium(&arguments, &variables)
    };
    tokio::task::spawn_blocking(run).await.expect("the program runs")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Insists that the program failed with these words, and without a panic.
fn fails(output: &Output, code: i32, words: &[&str]) {
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    for word in words {
        assert!(told.contains(word), "{word:?} in {told:?}");
    }
    assert!(!told.contains("panicked") && !told.contains("RUST_BACKTRACE"), "{told}");
}

fn file_with(folder: &Folder, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a file");
    path.display().to_string()
}

#[test]
fn help_names_every_command_and_each_explains_itself() {
    let output = emporium(&["--help"], &[]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    for command in
        ["serve", "migrate", "create-admin", "import", "export", "demo", "audit", "loadtest", "openapi"]
    {
        assert!(help.contains(command), "{command} in {help}");
        let output = emporium(&[command, "--help"], &[]);
        assert!(output.status.success() && output.stdout.len() > 100, "{command}");
    }
    assert!(emporium(&["loadtest", "replay", "--help"], &[]).status.success());
    assert!(emporium(&["--version"], &[]).status.success());
}

#[test]
fn a_wrong_call_is_exit_code_2() {
    for arguments in [&["nonsense"][..], &["serve", "--nonsense"], &["import"], &["loadtest"], &[]] {
        assert_eq!(emporium(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_wrong_setting_is_named() {
    for (name, value) in [
        ("PORT", "eighty"),
        ("EMPORIUM_DATABASE__POOL_SIZE", "none"),
        ("EMPORIUM_NO_SUCH__SETTING", "1"),
        ("DATABASE_URL", "mysql://localhost/shop"),
        ("RUST_LOG", "=,=,="),
        ("EMPORIUM_ENV", "nowhere"),
    ] {
        let output = emporium(&["audit"], &[("DATABASE_URL", "postgres://127.0.0.1:1/x"), (name, value)]);
        fails(&output, 1, &["error", name]);
    }
}

#[test]
fn a_shared_database_needs_a_secret() {
    let variables = [("DATABASE_URL", "postgres://127.0.0.1:1/x"), ("JWT_SECRET", "")];
    fails(&emporium(&["serve"], &variables), 1, &["JWT_SECRET"]);
    let variables = [("DATABASE_URL", "postgres://127.0.0.1:1/x"), ("JWT_SECRET", "short")];
    let output = emporium(&["serve"], &variables);
    fails(&output, 1, &["JWT_SECRET"]);
    assert!(!text(&output.stderr).contains("short\""), "no error repeats a secret");
}

#[test]
fn an_unreachable_database_is_said_without_its_password() {
    let variables = [("DATABASE_URL", "postgres://shop:hunter2@127.0.0.1:1/shop")];
    for arguments in [
        &["audit"][..],
        &["migrate"],
        &["serve"],
        &["create-admin", "--username", "a", "--email", "a@example.com"],
    ] {
        let output = emporium(arguments, &variables);
        fails(&output, 1, &["127.0.0.1:1"]);
        assert!(!text(&output.stderr).contains("hunter2"), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn a_port_in_use_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let database = TestDatabase::create().await;
    let output = emporium_beside(&["serve"], &[("DATABASE_URL", database.url()), ("PORT", &port)]).await;
    fails(&output, 1, &[&port]);
}

#[tokio::test]
async fn a_database_without_tables_is_migrated_once_and_audited_only_then() {
    let database = TestDatabase::empty().await;
    let variables = [("DATABASE_URL", database.url())];
    fails(&emporium_beside(&["audit"], &variables).await, 1, &["migrate"]);
    let (first, second) =
        tokio::join!(emporium_beside(&["migrate"], &variables), emporium_beside(&["migrate"], &variables));
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(second.status.success(), "{}", text(&second.stderr));
    let told = format!("{}{}", text(&first.stdout), text(&second.stdout));
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/migrations")).unwrap();
    let mut migrations = 0;
    for file in files {
        let name = file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(told.matches(&format!("applied {name}\n")).count(), 1, "{name}: {told}");
        migrations += 1;
    }
    assert_eq!(told.matches("applied ").count(), migrations, "{told}");
    assert!(emporium_beside(&["audit"], &variables).await.status.success());
}

#[tokio::test]
async fn the_first_staff_account_is_made_on_the_command_line() {
    let app = TestApp::start().await;
    let variables = [("DATABASE_URL", app.database_url()), ("ADMIN_PASSWORD", "correct horse battery")];
    let make = ["create-admin", "--username", "ada", "--email", "ada@example.com"];
    let made = emporium_beside(&make, &variables).await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(!text(&made.stdout).contains("correct horse battery"), "a given password is not shown");
    let login = app.try_log_in("ada", "correct horse battery").await.expect_json(200);
    let request =
        emporium::loadtest::client::Request::get("/api/auth/me/").bearer(login["access"].as_str().unwrap());
    assert_eq!(app.send(&request).await.expect_json(200)["is_staff"], json!(true));
    fails(&emporium_beside(&make, &variables).await, 1, &["username"]);
    let weak = [("DATABASE_URL", app.database_url()), ("ADMIN_PASSWORD", "12345678")];
    let other = ["create-admin", "--username", "eve", "--email", "eve@example.com"];
    fails(&emporium_beside(&other, &weak).await, 1, &["password"]);
    app.try_log_in("eve", "12345678").await.expect_status(401);
    let generated = emporium_beside(&other, &[("DATABASE_URL", app.database_url())]).await;
    let shown = text(&generated.stdout);
    let password =
        shown.lines().find_map(|line| line.strip_prefix("password: ")).expect("a generated password");
    let password = password.split_whitespace().next().unwrap();
    app.try_log_in("eve", password).await.expect_status(200);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let database = TestDatabase::create().await;
    let folder = Folder::new();
    let variables = [("DATABASE_URL", database.url())];
    let missing = folder.path().join("missing.csv").display().to_string();
    fails(&emporium_beside(&["import", &missing], &variables).await, 1, &["missing.csv"]);
    let directory = folder.path().display().to_string();
    fails(&emporium_beside(&["import", &directory], &variables).await, 1, &[&directory]);
    for (name, content) in
        [("empty.csv", ""), ("other.csv", "a,b,c\n1,2,3\n"), ("binary.csv", "\u{0}\u{1}\u{2}\n")]
    {
        let file = file_with(&folder, name, content);
        fails(&emporium_beside(&["import", &file], &variables).await, 1, &[name]);
    }
}

#[tokio::test]
async fn the_audit_names_a_product_whose_stock_was_changed_behind_the_shops_back() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let lamp = app.product(&staff, "lamp of brass", "1.00", 10).await;
    let variables = [("DATABASE_URL", app.database_url())];
    assert!(emporium_beside(&["audit"], &variables).await.status.success());
    app.sql("UPDATE stock SET quantity = 7").await;
    let output = emporium_beside(&["audit"], &variables).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    for part in ["lamp of brass", &lamp.to_string(), "10", "7"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[tokio::test]
async fn a_replay_confirms_a_sound_shop_and_not_a_spoilt_one() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let category = app.category(&staff, "all").await;
    for (sku, stock) in [("A", 30), ("B", 3)] {
        let body = json!({"name": sku, "sku": sku, "price": "1.00", "category": category, "stock": stock});
        app.post_as(&staff, "/api/products/", &body).await.expect_status(201);
    }
    let folder = Folder::new();
    let mut orders = "placed_at,invoice,customer,sku,quantity,unit_price\n".to_owned();
    for n in 0..10 {
        let customer = if n % 3 == 0 { format!("guest-{n}") } else { (n % 2).to_string() };
        orders.push_str(&format!(
            "2010-12-01 08:26:00,{n},{customer},A,2,1.00\n2010-12-01 08:26:00,{n},{customer},A,1,1.00\n"
        ));
        if n % 2 == 0 {
            orders.push_str(&format!("2010-12-01 08:26:00,{n},{customer},B,1,1.00\n"));
        }
    }
    let file = file_with(&folder, "orders.csv", &orders);
    let json_file = folder.path().join("out.json").display().to_string();
    let url = app.target.to_string();
    let arguments = [
        "loadtest",
        "replay",
        &file,
        "--url",
        &url,
        "--clients",
        "4",
        "--staff",
        "boss",
        "--json",
        &json_file,
    ];
    let password = [("ADMIN_PASSWORD", "correct horse battery")];
    let output = emporium_beside(&arguments, &password).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(&json_file).unwrap()).unwrap();
    assert_eq!((&result["holds"], &result["orders"]["failed"]), (&json!(true), &json!(0)));
    let count = |name: &str| result["orders"][name].as_i64().unwrap();
    assert_eq!((count("placed"), count("refused")), (8, 2), "{result}");
    assert_eq!(result["feed"]["placed"], json!(8));
    app.audit_is_clean(&staff).await;

    app.sql("UPDATE stock SET quantity = quantity + 1").await;
    fails(&emporium_beside(&arguments, &password).await, 2, &["audit is not clean"]);
    let missing = ["loadtest", "replay", "no-such-file.csv", "--url", &url, "--staff", "boss"];
    fails(&emporium_beside(&missing, &password).await, 2, &["no-such-file.csv"]);
    let wrong = [("ADMIN_PASSWORD", "not the password")];
    fails(&emporium_beside(&arguments, &wrong).await, 2, &["sign in"]);
}

#[tokio::test]
async fn a_replay_finds_out_a_shop_that_loses_count_while_it_sells() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let category = app.category(&staff, "all").await;
    let body = json!({"name": "A", "sku": "A", "price": "1.00", "category": category, "stock": 30});
    app.post_as(&staff, "/api/products/", &body).await.expect_status(201);
    app.sql(
        "CREATE FUNCTION lose_count() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN NEW.quantity := NEW.quantity + 1; RETURN NEW; END';
         CREATE TRIGGER lose_count BEFORE UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION lose_count()",
    )
    .await;
    let folder = Folder::new();
    let head = "placed_at,invoice,customer,sku,quantity,unit_price\n";
    let file = file_with(&folder, "orders.csv", &format!("{head}t,1,17,A,2,1.00\nt,2,18,A,3,1.00\n"));
    let url = app.target.to_string();
    let arguments = ["loadtest", "replay", &file, "--url", &url, "--staff", "boss"];
    let output = emporium_beside(&arguments, &[("ADMIN_PASSWORD", "correct horse battery")]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    assert!(
        told.contains("BROKEN") && told.contains("1 products differ") && told.contains("audit names 1"),
        "{told}"
    );
}
