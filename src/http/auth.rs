//! Who is asking.
//!
//! A bearer token is checked before the method of a request is, on every resource that does not
//! ignore it; handlers then ask for [`anyone`], [`signed_in`] or [`staff`].

use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpMessage, HttpRequest};
use emporium_actors::accounts::{Access, Accounts};
use emporium_actors::idempotency::IdempotencyKey;
use emporium_actors::types::Principal;

use super::body::Body;
use super::error::ApiError;

/// The header that makes a request safe to repeat.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest `Idempotency-Key`, in characters.
const KEY_CHARS_MAX: usize = 255;

/// Checks the bearer token of a request, if it has one. Other schemes are not ours to refuse.
///
/// # Errors
/// `401` for a malformed header, or a token that is not good (any more).
pub(crate) async fn check(headers: &HeaderMap, accounts: &Accounts) -> Result<Option<Access>, ApiError> {
    let Some(token) = bearer_token(headers)? else { return Ok(None) };
    let access = accounts.verify_access(token).await?;
    Ok(Some(access))
}

/// The token of a request, if it bears one. One that is no text is as good as none that was ever given out.
fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let mut words = value.as_bytes().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    if words.next() != Some(b"Bearer") {
        return Ok(None);
    }
    match (words.next(), words.next()) {
        (Some(token), None) => Ok(Some(std::str::from_utf8(token).unwrap_or_default())),
        _ => {
            let text = "Authorization header must contain two space-delimited values";
            Err(ApiError::unauthorized(text).code("bad_authorization_header"))
        }
    }
}

/// Who is asking, if they said.
pub(crate) fn anyone(req: &HttpRequest) -> Option<Principal> {
    req.extensions().get::<Access>().map(|access| access.principal)
}

/// Who is asking.
///
/// # Errors
/// `401` for an anonymous request.
pub(crate) fn signed_in(req: &HttpRequest) -> Result<Principal, ApiError> {
    anyone(req).ok_or_else(|| ApiError::unauthorized("Authentication credentials were not provided."))
}

/// Who of the staff is asking.
///
/// # Errors
/// `401` for an anonymous request, `403` for a customer's.
pub(crate) fn staff(req: &HttpRequest) -> Result<Principal, ApiError> {
    let principal = signed_in(req)?;
    if principal.is_staff { Ok(principal) } else { Err(ApiError::forbidden()) }
}

/// The idempotency key of a request, scoped to its sender and path.
///
/// # Errors
/// `400` for a key that is empty, too long or holds anything but visible characters.
pub(crate) fn idempotency_key(
    req: &HttpRequest,
    principal: &Principal,
    body: &Body,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = req.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().map(str::trim).unwrap_or_default();
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || !(1..=KEY_CHARS_MAX).contains(&key.len()) {
        let text = format!("Idempotency-Key must be 1 to {KEY_CHARS_MAX} visible characters.");
        return Err(ApiError::detail(StatusCode::BAD_REQUEST, text).code("invalid_idempotency_key"));
    }
    let path = format!("{}/", req.path().trim_end_matches('/'));
    Ok(Some(IdempotencyKey {
        user: principal.user,
        path,
        key: key.to_owned(),
        request_hash: body.request_hash(),
    }))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use emporium_actors::types::{SessionId, UserId};

    use super::*;

    #[test]
    fn keys_are_scoped_to_sender_and_path() {
        let principal = Principal { user: UserId(1), session: SessionId(2), is_staff: false };
        let key = |uri: &str, key: &str| {
            let req = TestRequest::with_uri(uri).insert_header(("Idempotency-Key", key)).to_http_request();
            idempotency_key(&req, &principal, &Body::default())
        };
        assert_eq!(key("/api/orders", "k").unwrap(), key("/api/orders/?x=1", "k").unwrap());
        assert_eq!(key("/api/orders/", "k").unwrap().unwrap().path, "/api/orders/");
        for bad in ["", "a b", &"x".repeat(256)] {
            assert!(key("/api/orders/", bad).is_err(), "{bad}");
        }
        let none = idempotency_key(&TestRequest::default().to_http_request(), &principal, &Body::default());
        assert_eq!(none.unwrap(), None);
    }
}
