//! Registration, sign-in, tokens, sessions.

use std::collections::BTreeSet;
use std::time::Duration;

use emporium::loadtest::client::{Answer, Request};
use serde_json::{Value, json};

use crate::harness::{Expect, MailServer, Mismatches, Node, TestApp, User, eventually};

const PASSWORD: &str = "correct horse battery";
/// Within this, an ended session must be refused on every node.
const ENDED_WITHIN: Duration = Duration::from_secs(1);

async fn register(app: &TestApp, body: &Value) -> Answer {
    app.send(&Request::post("/api/auth/register/").json(body)).await
}

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.send(&Request::post("/api/auth/token/refresh/").json(&json!({"refresh": token}))).await
}

async fn verify(app: &TestApp, token: &str) -> Answer {
    app.send(&Request::post("/api/auth/token/verify/").json(&json!({"token": token}))).await
}

async fn log_out(app: &TestApp, user: &User) -> Answer {
    app.post_as(user, "/api/auth/logout/", &json!({"refresh": user.refresh})).await
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).expect("a JWT");
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64");
    serde_json::from_slice(&text).expect("claims")
}

#[tokio::test]
async fn registering_shows_the_stored_form_and_never_the_password() {
    let app = TestApp::start().await;
    let body = json!({"username": " anna ", "email": "Anna@Example.COM", "password": "testpassword", "is_staff": true});
    let answer = register(&app, &body).await.expect_json(201);
    assert_eq!(answer["username"], "anna");
    assert_eq!(answer["email"], "Anna@example.com");
    assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
    let login = app.try_log_in("anna", "testpassword").await.expect_json(200);
    let me = app
        .send(&Request::get("/api/auth/me/").bearer(login["access"].as_str().unwrap()))
        .await
        .expect_json(200);
    assert_eq!(me["is_staff"], false);
    assert_eq!(me["id"], answer["id"]);
    assert!(me["date_joined"].as_str().unwrap().ends_with('Z'), "{me}");
}

#[tokio::test]
async fn registration_refuses_as_the_reference_does() {
    let app = TestApp::start().await;
    app.register("taken").await.expect_status(201);
    const REQUIRED: &str = "This field is required.";
    const NULL: &str = "This field may not be null.";
    const BLANK: &str = "This field may not be blank.";
    const TEXT: &str = "Not a valid string.";
    const EMAIL: &str = "Enter a valid email address.";
    const NAME: &str =
        "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.";
    let long_name = "a".repeat(151);
    let long_email = format!("{}@example.com", "a".repeat(250));
    let rows = [
        ("username", json!(null), NULL),
        ("username", json!("   "), BLANK),
        ("username", json!(true), TEXT),
        ("username", json!([]), TEXT),
        ("username", json!("a b"), NAME),
        ("username", json!("a/b"), NAME),
        ("username", json!(long_name), "Ensure this field has no more than 150 characters."),
        ("username", json!("a\u{0}b"), "Null characters are not allowed."),
        ("username", json!("taken"), "A user with that username already exists."),
        ("email", json!(null), NULL),
        ("email", json!(""), BLANK),
        ("email", json!({}), EMAIL),
        ("email", json!("plain"), EMAIL),
        ("email", json!("a@b"), EMAIL),
        ("email", json!("a@b.c"), EMAIL),
        ("email", json!("@x.com"), EMAIL),
        ("email", json!("a b@c.com"), EMAIL),
        ("email", json!("a@x.com,b@x.com"), EMAIL),
        ("email", json!(long_email), "Ensure this field has no more than 254 characters."),
        ("email", json!("taken@example.com"), "user with this email already exists."),
        ("email", json!("taken@EXAMPLE.com"), "user with this email already exists."),
        ("password", json!(null), NULL),
        ("password", json!(""), BLANK),
    ];
    let mut mismatches = Mismatches::default();
    for (field, value, message) in rows {
        let mut body = json!({"username": "fresh", "email": "fresh@example.com", "password": PASSWORD});
        body[field] = value.clone();
        let answer = register(&app, &body).await;
        let found: Value = answer.json().unwrap_or_default();
        let holds = answer.status == 400
            && found[field].as_array().is_some_and(|messages| messages.contains(&json!(message)))
            && found.as_object().is_some_and(|fields| fields.len() == 1);
        mismatches.check(holds, || format!("{field}={value}: {} {}", answer.status, answer.text()));
    }
    for body in [json!({}), json!({"unknown": 1})] {
        let answer = register(&app, &body).await;
        let expected = json!({"username": [REQUIRED], "email": [REQUIRED], "password": [REQUIRED]});
        mismatches.check(answer.json::<Value>().is_ok_and(|found| found == expected), || answer.text());
    }
    mismatches.none();
    app.register("fresh").await.expect_status(201);
}

#[tokio::test]
async fn odd_but_valid_names_and_addresses_are_accepted() {
    let app = TestApp::start().await;
    let mut mismatches = Mismatches::default();
    for (name, email) in [
        ("ünïcode", "a@localhost"),
        ("a@b.c+d-e_f", "a@[127.0.0.1]"),
        ("ﬁx", "a@münchen.de"),
        ("名前", "\"quoted\"@example.com"),
    ] {
        let answer = register(&app, &json!({"username": name, "email": email, "password": PASSWORD})).await;
        mismatches.check(answer.status == 201, || format!("{name} {email}: {}", answer.text()));
    }
    mismatches.none();
    // Stored in NFKC: the ligature and its two letters are one name.
    let answer =
        register(&app, &json!({"username": "fix", "email": "x@example.com", "password": PASSWORD})).await;
    assert!(answer.expect_json(400)["username"].is_array());
}

#[tokio::test]
async fn weak_common_and_username_like_passwords_are_refused() {
    let app = TestApp::start().await;
    let mut mismatches = Mismatches::default();
    for password in ["abc", "password", "12345678", "qwerty123", "marguerite", "margueritE1"] {
        let body = json!({"username": "marguerite", "email": "m@example.com", "password": password});
        let answer = register(&app, &body).await;
        let refused =
            answer.status == 400 && answer.json::<Value>().is_ok_and(|found| found["password"].is_array());
        mismatches.check(refused, || format!("{password}: {} {}", answer.status, answer.text()));
    }
    mismatches.none();
    let body = json!({"username": "marguerite", "email": "m@example.com", "password": "testpassword"});
    register(&app, &body).await.expect_status(201);
}

#[tokio::test]
async fn twenty_registrations_of_one_name_make_one_account() {
    let app = TestApp::start().await;
    let attempts = (0..20).map(|n| {
        let body = json!({"username": "same", "email": format!("n{n}@example.com"), "password": PASSWORD});
        let app = &app;
        async move { register(app, &body).await.status }
    });
    let statuses = futures_util::future::join_all(attempts).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 400].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_refused_alike() {
    let app = TestApp::start().await;
    app.register("anna").await.expect_status(201);
    let wrong = app.try_log_in("anna", "wrong password").await;
    let unknown = app.try_log_in("nobody", "wrong password").await;
    let by_email = app.try_log_in("anna@example.com", PASSWORD).await;
    let other_case = app.try_log_in("ANNA", PASSWORD).await;
    for answer in [&wrong, &unknown, &by_email, &other_case] {
        assert_eq!(
            answer.expect_json(401),
            json!({"detail": "No active account found with the given credentials"})
        );
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"api\""));
    }
}

#[tokio::test]
async fn signing_in_ignores_a_broken_authorization_header() {
    let app = TestApp::start().await;
    app.register("anna").await.expect_status(201);
    let body = json!({"username": "anna", "password": PASSWORD});
    for value in ["Bearer", "Bearer a b", "Bearer garbage", "Basic x"] {
        let request = Request::post("/api/auth/login/").header("authorization", value).json(&body);
        app.send(&request).await.expect_status(200);
    }
}

#[tokio::test]
async fn tokens_carry_the_claims_of_the_contract() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    let (access, refresh) = (claims(&user.access), claims(&user.refresh));
    for (claims, kind, lifetime) in [(&access, "access", 1800), (&refresh, "refresh", 86_400)] {
        assert_eq!(claims["token_type"], kind);
        let number = |name: &str| claims[name].as_i64().unwrap_or_else(|| panic!("{name} in {claims}"));
        assert!((number("exp") - number("iat") - lifetime).abs() <= 1, "{claims}");
        assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
        let text = claims["user_id"].to_string();
        assert_eq!(text.trim_matches('"'), user.id.to_string());
    }
    assert_eq!(access["sid"], refresh["sid"]);
    assert_ne!(access["jti"], refresh["jti"]);
}

#[tokio::test]
async fn a_refresh_token_gives_new_access_tokens_and_keeps_working() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    for _ in 0..2 {
        let answer = refresh(&app, &user.refresh).await.expect_json(200);
        let access = answer["access"].as_str().unwrap();
        assert_ne!(access, user.access);
        assert!(answer.get("refresh").is_none());
        app.send(&Request::get("/api/auth/me/").bearer(access)).await.expect_status(200);
    }
}

#[tokio::test]
async fn refresh_refuses_what_is_no_refresh_token() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    let mut tampered = user.refresh.clone();
    tampered.replace_range(tampered.len() - 6..tampered.len() - 3, "AAA");
    for token in ["garbage", "a.b.c", tampered.as_str(), user.access.as_str()] {
        let answer = refresh(&app, token).await;
        assert_eq!(answer.expect_json(401)["code"], "token_not_valid", "{token}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"api\""));
    }
    let wrong_type = refresh(&app, &user.access).await.expect_json(401);
    assert_eq!(wrong_type["detail"], "Token has wrong type");
    for (body, message) in [
        (json!({}), "This field is required."),
        (json!({"refresh": null}), "This field may not be null."),
        (json!({"refresh": ""}), "This field may not be blank."),
        (json!({"refresh": []}), "Not a valid string."),
    ] {
        let answer = app.send(&Request::post("/api/auth/token/refresh/").json(&body)).await;
        assert_eq!(answer.expect_json(400), json!({"refresh": [message]}));
    }
}

#[tokio::test]
async fn with_rotation_a_reused_refresh_token_ends_the_session() {
    let app = TestApp::start_with(&[("EMPORIUM_ACCOUNTS__ROTATE_REFRESH_TOKENS", "true")]).await;
    let user = app.customer("anna").await;
    let first = refresh(&app, &user.refresh).await.expect_json(200);
    let second = first["refresh"].as_str().expect("a new refresh token").to_owned();
    assert_ne!(second, user.refresh);
    refresh(&app, &user.refresh).await.expect_status(401);
    refresh(&app, &second).await.expect_status(401);
    let access = first["access"].as_str().unwrap();
    app.send(&Request::get("/api/auth/me/").bearer(access)).await.expect_status(401);
}

#[tokio::test]
async fn verify_tells_good_tokens_from_bad_ones() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    assert_eq!(verify(&app, &user.access).await.expect_json(200), json!({}));
    assert_eq!(verify(&app, &user.refresh).await.expect_json(200), json!({}));
    verify(&app, "garbage").await.expect_status(401);
    log_out(&app, &user).await.expect_status(204);
    verify(&app, &user.access).await.expect_status(401);
    verify(&app, &user.refresh).await.expect_status(401);
}

#[tokio::test]
async fn the_authorization_header_is_judged_as_the_reference_does() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    let get = |value: String| Request::get("/api/products/").header("authorization", value);
    for anonymous in ["", "Basic x", "Token x", "JWT x", "bearer garbage"] {
        app.send(&get(anonymous.to_owned())).await.expect_status(200);
    }
    app.send(&get(format!("Bearer {}", user.access))).await.expect_status(200);
    let unsigned = format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{}.", user.access.split('.').nth(1).unwrap());
    for bad in ["garbage", "a.b.c", &unsigned, &user.refresh] {
        let answer = app.send(&get(format!("Bearer {bad}"))).await;
        let body = answer.expect_json(401);
        assert_eq!(body["detail"], "Given token not valid for any token type");
        assert_eq!(body["code"], "token_not_valid");
        assert_eq!(body["messages"][0]["token_class"], "AccessToken");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"api\""));
    }
    for bad in ["Bearer", "Bearer a b"] {
        let body = app.send(&get(bad.to_owned())).await.expect_json(401);
        assert_eq!(body["code"], "bad_authorization_header");
        assert_eq!(body["detail"], "Authorization header must contain two space-delimited values");
    }
}

#[tokio::test]
async fn a_token_of_another_secret_is_no_token() {
    let app = TestApp::start().await;
    let other =
        app.second_node_with(&[("JWT_SECRET", "another secret, just as long as the first one")]).await;
    let user = app.customer("anna").await;
    other.send(&Request::get("/api/auth/me/").bearer(&user.access)).await.expect_status(401);
    app.get_as(&user, "/api/auth/me/").await.expect_status(200);
}

#[tokio::test]
async fn a_deactivated_user_can_neither_sign_in_nor_refresh() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    app.sql("UPDATE users SET is_active = false WHERE username = 'anna'").await;
    let body = json!({"username": "anna", "password": PASSWORD});
    app.send(&Request::post("/api/auth/login/").json(&body)).await.expect_status(401);
    let answer = refresh(&app, &user.refresh).await;
    assert_eq!(answer.expect_json(401)["detail"], "No active account found for the given token.");
}

#[tokio::test]
async fn signing_out_ends_the_session_and_no_other() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    let (other_access, _) = app.log_in("anna").await;
    log_out(&app, &user).await.expect_status(204);
    app.get_as(&user, "/api/auth/me/").await.expect_status(401);
    let answer = refresh(&app, &user.refresh).await;
    assert_eq!(answer.expect_json(401)["code"], "token_not_valid");
    app.send(&Request::get("/api/auth/me/").bearer(&other_access)).await.expect_status(200);
}

#[tokio::test]
async fn signing_out_wants_a_refresh_token() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    app.post_as(&user, "/api/auth/logout/", &json!({})).await.expect_status(400);
    let status = app.post_as(&user, "/api/auth/logout/", &json!({"refresh": "garbage"})).await.status;
    assert!([400, 401].contains(&status), "{status}");
    app.get_as(&user, "/api/auth/me/").await.expect_status(200);
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_second_node_within_a_second() {
    let app = TestApp::start().await;
    let second = app.second_node().await;
    let user = app.customer("anna").await;
    second.get_as(&user, "/api/auth/me/").await.expect_status(200);
    log_out(&app, &user).await.expect_status(204);
    eventually(ENDED_WITHIN, "the second node refuses the session", async || {
        (second.get_as(&user, "/api/auth/me/").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_sessions_of_that_user_alone() {
    let app = TestApp::start().await;
    let second = app.second_node().await;
    let (user, stranger) = (app.customer("anna").await, app.customer("bert").await);
    let (other_access, other_refresh) = app.log_in("anna").await;
    app.post_as(&user, "/api/auth/logout/all/", &json!({})).await.expect_status(204);
    app.send(&Request::get("/api/auth/me/").bearer(&other_access)).await.expect_status(401);
    app.get_as(&user, "/api/auth/me/").await.expect_status(401);
    refresh(&app, &other_refresh).await.expect_status(401);
    eventually(ENDED_WITHIN, "the second node refuses the sessions", async || {
        (second.send(&Request::get("/api/auth/me/").bearer(&other_access)).await.status == 401).then_some(())
    })
    .await;
    app.get_as(&stranger, "/api/auth/me/").await.expect_status(200);
}

#[tokio::test]
async fn me_can_be_read_and_changed_in_part() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    app.customer("bert").await;
    app.get("/api/auth/me/").await.expect_status(401);
    let changed =
        app.patch_as(&user, "/api/auth/me/", &json!({"email": "new@example.com"})).await.expect_json(200);
    assert_eq!(changed["email"], "new@example.com");
    assert_eq!(changed["username"], "anna");
    let ignored = json!({"id": 99, "is_staff": true, "date_joined": "2000-01-01T00:00:00Z"});
    let same = app.patch_as(&user, "/api/auth/me/", &ignored).await.expect_json(200);
    assert_eq!(same, changed);
    let taken = app.patch_as(&user, "/api/auth/me/", &json!({"email": "bert@example.com"})).await;
    assert!(taken.expect_json(400)["email"].is_array());
    let taken = app.patch_as(&user, "/api/auth/me/", &json!({"username": "bert"})).await;
    assert!(taken.expect_json(400)["username"].is_array());
    assert_eq!(app.get_as(&user, "/api/auth/me/").await.expect_json(200), changed);
}

#[tokio::test]
async fn a_password_is_changed_only_by_who_knows_the_old_one() {
    let app = TestApp::start().await;
    let user = app.customer("anna").await;
    let path = "/api/auth/password/change/";
    let wrong = json!({"old_password": "not it", "new_password": "another good one"});
    assert!(app.post_as(&user, path, &wrong).await.expect_json(400)["old_password"].is_array());
    let weak = json!({"old_password": PASSWORD, "new_password": "12345678"});
    assert!(app.post_as(&user, path, &weak).await.expect_json(400)["new_password"].is_array());
    app.try_log_in("anna", PASSWORD).await.expect_status(200);
    let good = json!({"old_password": PASSWORD, "new_password": "another good one"});
    app.post_as(&user, path, &good).await.expect_status(204);
    app.try_log_in("anna", PASSWORD).await.expect_status(401);
    app.try_log_in("anna", "another good one").await.expect_status(200);
}

#[tokio::test]
async fn five_thousand_characters_of_password_do_not_hurt() {
    let app = TestApp::start().await;
    let password = "long enough ".repeat(420);
    let body = json!({"username": "anna", "email": "anna@example.com", "password": password});
    let answer = register(&app, &body).await;
    assert!([201, 400].contains(&answer.status), "{}", answer.text());
}

#[tokio::test]
async fn failed_sign_ins_are_limited() {
    let app = TestApp::start_with(&[
        ("EMPORIUM_RATE_LIMIT__SIGN_IN_FAILURES_PER_MINUTE", "1"),
        ("EMPORIUM_RATE_LIMIT__SIGN_IN_FAILURES_BURST", "3"),
    ])
    .await;
    app.register("anna").await.expect_status(201);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let answer = app.try_log_in("anna", "wrong password").await;
        if answer.status == 429 {
            assert!(answer.retry_after().is_some_and(|wait| wait >= Duration::from_secs(1)));
            assert!(answer.json::<Value>().unwrap()["detail"].is_string());
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
}

/// How a link begins in the mails of these tests.
const LINK: &str = "https://shop.example.com/reset/?token=";

async fn shop_with_links() -> TestApp {
    TestApp::start_with(&[("EMPORIUM_MAIL__RESET_URL", LINK)]).await
}

async fn ask_for_a_link(app: &Node, email: &str) -> Answer {
    app.send(&Request::post("/api/auth/password/reset/").json(&json!({"email": email}))).await
}

async fn use_link(app: &Node, token: &str, password: &str) -> Answer {
    let body = json!({"token": token, "password": password});
    app.send(&Request::post("/api/auth/password/reset/confirm/").json(&body)).await
}

/// The tokens mailed to an address so far.
fn mailed_tokens(app: &TestApp, email: &str) -> Vec<String> {
    let mails = app.mails().into_iter().filter(|mail| mail.contains(&format!("<{email}>")));
    let token = |mail: String| mail.lines().find_map(|line| line.strip_prefix(LINK).map(str::to_owned));
    mails.filter_map(token).collect()
}

/// Waits for a link mailed to an address besides the known ones: its token.
async fn mailed_token(app: &TestApp, email: &str, known: &[&str]) -> String {
    eventually(Duration::from_secs(5), "another link", async || {
        mailed_tokens(app, email).into_iter().find(|token| !known.contains(&token.as_str()))
    })
    .await
}

#[tokio::test]
async fn a_forgotten_password_is_reset_by_a_mailed_link() {
    let app = shop_with_links().await;
    let second = app.second_node().await;
    let user = app.customer("anna").await;
    let (other_access, other_refresh) = app.log_in("anna").await;
    let mut socket = app.socket_as(&user, "/ws/orders/").await;
    socket.next_of("ready").await;

    let answer = ask_for_a_link(&app, "anna@EXAMPLE.com").await;
    answer.expect_status(204);
    assert!(answer.body.is_empty());
    let token = mailed_token(&app, "anna@example.com", &[]).await;
    let mail = app.mail_with(&token).await;
    assert!(mail.contains("To: anna <anna@example.com>") && mail.contains("one"), "{mail}");
    // Whoever only asks changes nothing.
    app.get_as(&user, "/api/auth/me/").await.expect_status(200);

    use_link(&second, &token, "another good one").await.expect_status(204);
    app.try_log_in("anna", PASSWORD).await.expect_status(401);
    app.try_log_in("anna", "another good one").await.expect_status(200);
    refresh(&app, &other_refresh).await.expect_status(401);
    for access in [&user.access, &other_access] {
        second.send(&Request::get("/api/auth/me/").bearer(access)).await.expect_status(401);
        eventually(ENDED_WITHIN, "the first node refuses the session", async || {
            let me = app.send(&Request::get("/api/auth/me/").bearer(access)).await;
            (me.status == 401).then_some(())
        })
        .await;
    }
    assert_eq!(socket.closed_within(ENDED_WITHIN).await, Some(4001));
}

#[tokio::test]
async fn a_link_works_once_and_then_voids_the_others() {
    let app = shop_with_links().await;
    app.register("anna").await.expect_status(201);
    ask_for_a_link(&app, "anna@example.com").await.expect_status(204);
    let first = mailed_token(&app, "anna@example.com", &[]).await;
    ask_for_a_link(&app, "anna@example.com").await.expect_status(204);
    let second = mailed_token(&app, "anna@example.com", &[&first]).await;
    let uses = futures_util::future::join_all((0..8).map(|n| {
        let (app, second) = (&app, &second);
        async move { use_link(app, second, &format!("another good one {n}")).await.status }
    }))
    .await;
    assert_eq!(uses.iter().filter(|status| **status == 204).count(), 1, "{uses:?}");
    for token in [second.as_str(), first.as_str(), "0123456789abcdef0123456789abcdef", "x"] {
        let refused = use_link(&app, token, "yet another good one").await.expect_json(400);
        assert!(refused["token"][0].is_string() && refused.as_object().unwrap().len() == 1, "{refused}");
    }
    let winner = uses.iter().position(|status| *status == 204).unwrap();
    app.try_log_in("anna", &format!("another good one {winner}")).await.expect_status(200);
}

#[tokio::test]
async fn an_expired_link_and_one_of_an_inactive_account_are_refused() {
    let app = shop_with_links().await;
    app.register("anna").await.expect_status(201);
    ask_for_a_link(&app, "anna@example.com").await.expect_status(204);
    let token = mailed_token(&app, "anna@example.com", &[]).await;
    app.sql("UPDATE users SET is_active = false").await;
    use_link(&app, &token, "another good one").await.expect_status(400);
    app.sql("UPDATE users SET is_active = true").await;
    app.sql("UPDATE password_resets SET expires_at = expires_at - interval '59 minutes'").await;
    let weak = use_link(&app, &token, "12345678").await.expect_json(400);
    assert!(weak["password"].is_array(), "{weak}");
    app.sql("UPDATE password_resets SET expires_at = expires_at - interval '1 minute'").await;
    let late = use_link(&app, &token, "another good one").await.expect_json(400);
    assert!(late["token"].is_array(), "{late}");
    app.try_log_in("anna", PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn a_reset_password_is_judged_like_that_of_a_registration_and_the_link_stays_good() {
    let app = shop_with_links().await;
    app.register("marguerite").await.expect_status(201);
    ask_for_a_link(&app, "marguerite@example.com").await.expect_status(204);
    let token = mailed_token(&app, "marguerite@example.com", &[]).await;
    for weak in ["abc", "password", "12345678", "margueritE1"] {
        let refused = use_link(&app, &token, weak).await.expect_json(400);
        assert!(refused["password"].is_array(), "{weak}: {refused}");
    }
    let required = json!(["This field is required."]);
    let empty = app.send(&Request::post("/api/auth/password/reset/confirm/").json(&json!({}))).await;
    assert_eq!(empty.expect_json(400), json!({"token": required, "password": required}));
    use_link(&app, &token, "another good one").await.expect_status(204);
}

#[tokio::test]
async fn asking_for_a_link_tells_nobody_whether_an_account_has_the_address() {
    let app = shop_with_links().await;
    app.register("anna").await.expect_status(201);
    let known = ask_for_a_link(&app, "anna@example.com").await;
    let unknown = ask_for_a_link(&app, "nobody@example.com").await;
    for answer in [&known, &unknown] {
        answer.expect_status(204);
        assert!(answer.body.is_empty());
    }
    let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(names(&known), names(&unknown));
    for email in [json!("plain"), json!(null), json!([])] {
        let body = json!({"email": email});
        let answer = app.send(&Request::post("/api/auth/password/reset/").json(&body)).await;
        assert!(answer.expect_json(400)["email"].is_array());
    }
    mailed_token(&app, "anna@example.com", &[]).await;
    eventually(Duration::from_secs(5), "both requests are dealt with", async || {
        let rows = app.count("SELECT count(*) FROM password_reset_requests").await;
        (rows == 0).then_some(())
    })
    .await;
    assert_eq!(app.mails().len(), 1);
}

#[tokio::test]
async fn only_the_digest_of_a_token_is_kept_and_a_new_address_or_password_voids_it() {
    let app = shop_with_links().await;
    let user = app.customer("anna").await;
    ask_for_a_link(&app, "anna@example.com").await.expect_status(204);
    let first = mailed_token(&app, "anna@example.com", &[]).await;
    let digest = format!("SELECT count(*) FROM password_resets WHERE token_hash = sha256('{first}')");
    assert_eq!(app.count(&digest).await, 1);
    let passwords = json!({"old_password": PASSWORD, "new_password": "another good one"});
    app.post_as(&user, "/api/auth/password/change/", &passwords).await.expect_status(204);
    use_link(&app, &first, "yet another good one").await.expect_status(400);

    ask_for_a_link(&app, "anna@example.com").await.expect_status(204);
    let second = mailed_token(&app, "anna@example.com", &[&first]).await;
    let change = json!({"email": "anna@other.example"});
    app.patch_as(&user, "/api/auth/me/", &change).await.expect_status(200);
    use_link(&app, &second, "yet another good one").await.expect_status(400);
}

#[tokio::test]
async fn nobodys_mailbox_is_filled_with_links() {
    let app = shop_with_links().await;
    app.register("anna").await.expect_status(201);
    for _ in 0..8 {
        ask_for_a_link(&app, "anna@example.com").await.expect_status(204);
        eventually(Duration::from_secs(5), "the request is dealt with", async || {
            let rows = app.count("SELECT count(*) FROM password_reset_requests").await;
            (rows == 0).then_some(())
        })
        .await;
    }
    assert_eq!(mailed_tokens(&app, "anna@example.com").len(), 5);
}

#[tokio::test]
async fn requests_for_links_and_tries_at_tokens_are_limited() {
    let tries = [
        ("EMPORIUM_RATE_LIMIT__SIGN_IN_FAILURES_PER_MINUTE", "1"),
        ("EMPORIUM_RATE_LIMIT__SIGN_IN_FAILURES_BURST", "4"),
    ];
    let app = TestApp::start_with(&tries).await;
    for _ in 0..2 {
        ask_for_a_link(&app, "anna@example.com").await.expect_status(204);
        use_link(&app, "no such token", "another good one").await.expect_status(400);
    }
    let answer = ask_for_a_link(&app, "anna@example.com").await;
    answer.expect_status(429);
    assert!(answer.retry_after().is_some());
    use_link(&app, "no such token", "another good one").await.expect_status(429);
    app.try_log_in("anna", PASSWORD).await.expect_status(429);
}

#[tokio::test]
async fn a_link_is_mailed_though_the_mail_server_was_down_when_it_was_asked_for() {
    let server = MailServer::start(0).await;
    let url = server.url();
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
    drop(server);
    let app = TestApp::start_with(&[("SMTP_URL", &url), ("EMPORIUM_MAIL__RESET_URL", LINK)]).await;
    app.register("anna").await.expect_status(201);
    ask_for_a_link(&app, "anna@example.com").await.expect_status(204);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let server = MailServer::start(port).await;
    let mail = eventually(Duration::from_secs(20), "the mail", async || server.mails().pop()).await;
    assert_eq!(mail.recipient, "anna@example.com");
    let token = mail.text.lines().find_map(|line| line.strip_prefix(LINK)).expect("a link");
    use_link(&app, token, "another good one").await.expect_status(204);
}

#[tokio::test]
async fn a_link_is_mailed_though_the_node_that_was_asked_has_died() {
    let app = shop_with_links().await;
    app.register("anna").await.expect_status(201);
    // What a node leaves behind that dies while it is at work on a request.
    app.sql(
        "INSERT INTO password_reset_requests (email, claimed_until)
         VALUES ('anna@example.com', now() + interval '1 second')",
    )
    .await;
    eventually(Duration::from_secs(15), "the link", async || mailed_tokens(&app, "anna@example.com").pop())
        .await;
}
