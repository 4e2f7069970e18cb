//! Customers and staff.

use emporium::loadtest::client::{Answer, Request};
use serde_json::json;

use super::{Body, Expect, Node};

/// Passes every check on passwords.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub id: i64,
    pub access: String,
    pub refresh: String,
}

impl Node {
    /// A new customer, signed in.
    pub(crate) async fn customer(&self, username: &str) -> User {
        let id = self.register(username).await.expect_json(201).id();
        let (access, refresh) = self.log_in(username).await;
        User { id, access, refresh }
    }

    /// A new staff account, made as the command line makes it, signed in.
    pub(crate) async fn staff(&self) -> User {
        self.staff_named("boss").await
    }

    /// The same with a name of its own.
    pub(crate) async fn staff_named(&self, username: &str) -> User {
        let email = format!("{username}@example.com");
        self.shop.accounts.create_admin(username, &email, PASSWORD).await.expect("a staff account");
        let (access, refresh) = self.log_in(username).await;
        let me = self.send(&Request::get("/api/auth/me/").bearer(&access)).await.expect_json(200);
        User { id: me.id(), access, refresh }
    }

    /// Tries to register somebody.
    pub(crate) async fn register(&self, username: &str) -> Answer {
        let email = format!("{username}@example.com");
        let body = json!({"username": username, "email": email, "password": PASSWORD});
        self.send(&Request::post("/api/auth/register/").json(&body)).await
    }

    /// Signs somebody in again; returns access and refresh token.
    pub(crate) async fn log_in(&self, username: &str) -> (String, String) {
        let answer = self.try_log_in(username, PASSWORD).await.expect_json(200);
        let token = |name: &str| answer[name].as_str().expect("a token").to_owned();
        (token("access"), token("refresh"))
    }

    /// Tries to sign in.
    pub(crate) async fn try_log_in(&self, username: &str, password: &str) -> Answer {
        let body = json!({"username": username, "password": password});
        self.send(&Request::post("/api/auth/login/").json(&body)).await
    }
}
