//! Accounts: registration, sign-in, sessions.

use actix_web::HttpRequest;
use actix_web::web::{Data, Payload};
use emporium_actors::accounts::{AccountError, Draft, NewAccount, TokenFault, User, Username};
use emporium_actors::types::UserId;
use serde::Serialize;
use serde_json::json;

use super::AppState;
use super::auth;
use super::body::Body;
use super::error::{ApiError, FieldErrors};
use super::fields::{Email, Fields, Text};
use super::limits;
use super::resource::Resource;
use super::respond::{self, Answer};

/// Declares the endpoints.
pub(crate) fn routes(resources: &mut Vec<Resource>) {
    Resource::new("Register", "/api/auth/register/").ignoring_authorization().post(register).mount(resources);
    Resource::new("Login", "/api/auth/login/").ignoring_authorization().post(login).mount(resources);
    Resource::new("Token Refresh", "/api/auth/token/refresh/")
        .ignoring_authorization()
        .post(refresh)
        .mount(resources);
    Resource::new("Token Verify", "/api/auth/token/verify/")
        .ignoring_authorization()
        .post(verify)
        .mount(resources);
    Resource::new("Logout", "/api/auth/logout/").post(logout).mount(resources);
    Resource::new("Logout All", "/api/auth/logout/all/").post(logout_all).mount(resources);
    Resource::new("Me", "/api/auth/me/").get(get_me).patch(update_me).mount(resources);
    Resource::new("Password Change", "/api/auth/password/change/").post(change_password).mount(resources);
    Resource::new("Password Reset", "/api/auth/password/reset/")
        .ignoring_authorization()
        .post(request_reset)
        .mount(resources);
    Resource::new("Password Reset Confirm", "/api/auth/password/reset/confirm/")
        .ignoring_authorization()
        .post(reset_password)
        .mount(resources);
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Refused(messages) => {
                let mut errors = FieldErrors::default();
                messages.into_iter().for_each(|(field, message)| errors.add(field, message));
                Self::validation(errors)
            }
            AccountError::BadCredentials => {
                Self::unauthorized("No active account found with the given credentials")
            }
            AccountError::WrongPassword => Self::field(
                "old_password",
                "Your old password was entered incorrectly. Please enter it again.",
            ),
            AccountError::BadResetToken => {
                Self::field("token", "This link is not valid, was used before, or has expired.")
            }
            AccountError::Token(fault @ TokenFault::NoUser) => {
                Self::unauthorized(fault.to_string()).code("token_not_valid")
            }
            AccountError::Token(fault) => {
                let message = json!({"token_class": "AccessToken", "token_type": "access", "message": fault.to_string()});
                Self::unauthorized("Given token not valid for any token type")
                    .code("token_not_valid")
                    .with("messages", vec![message])
            }
            AccountError::UserNotFound => Self::unauthorized("User not found").code("user_not_found"),
            AccountError::UserInactive => Self::unauthorized("User is inactive").code("user_inactive"),
            AccountError::Overloaded => Self::overloaded(),
            AccountError::Unavailable => Self::unavailable(),
            AccountError::Internal => Self::internal(),
        }
    }
}

/// What is said of a token that came in a body rather than in the header.
fn token_in_body(error: AccountError) -> ApiError {
    match error {
        AccountError::Token(fault) => ApiError::unauthorized(fault.to_string()).code("token_not_valid"),
        AccountError::UserInactive | AccountError::UserNotFound => {
            ApiError::unauthorized("No active account found for the given token.")
        }
        other => other.into(),
    }
}

/// Reads a name; unlike other text it is told by its stored form.
fn read_username(fields: &mut Fields<'_>, text: Option<String>) -> Option<Username> {
    match Username::parse(&text?) {
        Ok(username) => Some(username),
        Err(message) => {
            fields.refuse("username", message);
            None
        }
    }
}

/// What a registration is answered with.
#[derive(Serialize)]
struct Registered {
    id: UserId,
    username: String,
    email: String,
}

async fn register(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = Body::read(&req, payload).await?;
    let accounts = &state.shop.accounts;
    let mut fields = body.fields();
    let username = fields.sought("username", Text::any());
    let username = read_username(&mut fields, username);
    let email = fields.sought("email", Email);
    let password = fields.sought("password", Text::any());
    let draft = Draft {
        user: None,
        username: username.as_ref().map(Username::as_str),
        email: email.as_deref(),
        password: password.as_deref(),
    };
    for (field, message) in accounts.review(&draft).await? {
        fields.refuse(field, message);
    }
    fields.check()?;
    let (Some(username), Some(email), Some(password)) = (username, email, password) else {
        return Err(ApiError::internal());
    };
    let User { id, username, email, .. } =
        accounts.register(&NewAccount { username, email, password }).await?;
    Ok(respond::created(&Registered { id, username, email }))
}

async fn login(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = Body::read(&req, payload).await?;
    let mut fields = body.fields();
    let username = fields.required("username", Text::any());
    let password = fields.required("password", Text::any());
    fields.check()?;
    let sign_in = state.shop.accounts.login(&username, password);
    Ok(respond::ok(&limits::attempt(&req, &state, sign_in).await?))
}

async fn refresh(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let token = read_token(&req, payload, "refresh").await?;
    let pair = state.shop.accounts.refresh(&token).await.map_err(token_in_body)?;
    Ok(respond::ok(&pair))
}

async fn verify(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let token = read_token(&req, payload, "token").await?;
    state.shop.accounts.verify(&token).await.map_err(token_in_body)?;
    Ok(respond::ok(&json!({})))
}

async fn logout(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let token = read_token(&req, payload, "refresh").await?;
    state.shop.accounts.logout(&token).await.map_err(token_in_body)?;
    Ok(respond::no_content())
}

async fn read_token(req: &HttpRequest, payload: Payload, name: &str) -> Result<String, ApiError> {
    let body = Body::read(req, payload).await?;
    let mut fields = body.fields();
    let token = fields.required(name, Text::any());
    fields.check()?;
    Ok(token)
}

async fn logout_all(req: HttpRequest, state: Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    state.shop.accounts.logout_all(principal.user).await?;
    Ok(respond::no_content())
}

async fn get_me(req: HttpRequest, state: Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    Ok(respond::ok(&state.shop.accounts.user(principal.user).await?))
}

async fn update_me(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    let body = Body::read(&req, payload).await?;
    let accounts = &state.shop.accounts;
    let mut fields = body.fields();
    let username = fields.optional("username", Text::any());
    let username = read_username(&mut fields, username);
    let email = fields.optional("email", Email);
    let draft = Draft {
        user: Some(principal.user),
        username: username.as_ref().map(Username::as_str),
        email: email.as_deref(),
        password: None,
    };
    for (field, message) in accounts.review(&draft).await? {
        fields.refuse(field, message);
    }
    fields.check()?;
    Ok(respond::ok(&accounts.update(principal.user, username.as_ref(), email.as_deref()).await?))
}

async fn change_password(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    let body = Body::read(&req, payload).await?;
    let mut fields = body.fields();
    let old = fields.required("old_password", Text::any());
    let new = fields.required("new_password", Text::any());
    fields.check()?;
    let change = state.shop.accounts.change_password(principal, old, new);
    limits::attempt(&req, &state, change).await?;
    Ok(respond::no_content())
}

/// The same answer, after the same work, whether or not an account has the address.
async fn request_reset(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = Body::read(&req, payload).await?;
    let mut fields = body.fields();
    let email = fields.required("email", Email);
    fields.check()?;
    limits::admit_try(&req, &state).await?;
    state.shop.accounts.request_reset(&email).await?;
    Ok(respond::no_content())
}

async fn reset_password(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = Body::read(&req, payload).await?;
    let mut fields = body.fields();
    let token = fields.required("token", Text::any());
    let password = fields.required("password", Text::any());
    fields.check()?;
    let reset = state.shop.accounts.reset_password(&token, password);
    limits::attempt(&req, &state, reset).await?;
    Ok(respond::no_content())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: &ApiError) -> String {
        serde_json::to_string(error).unwrap()
    }

    #[test]
    fn bad_tokens_are_told_apart_by_where_they_came() {
        let header = ApiError::from(AccountError::Token(TokenFault::WrongType));
        assert_eq!(
            text(&header),
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"message":"Token has wrong type","token_class":"AccessToken","token_type":"access"}]}"#
        );
        let body = token_in_body(AccountError::Token(TokenFault::Ended));
        assert_eq!(text(&body), r#"{"detail":"Token is blacklisted","code":"token_not_valid"}"#);
        let nobody = ApiError::from(AccountError::Token(TokenFault::NoUser));
        assert_eq!(
            text(&nobody),
            r#"{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}"#
        );
    }
}
