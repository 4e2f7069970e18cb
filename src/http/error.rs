//! How a request is refused.
//!
//! The only place of the edge that knows status codes of errors. Domain errors become an
//! [`ApiError`] in the file of the endpoints that meet them; what reaches a client is one of two
//! shapes, `{"field": ["message"]}` or `{"detail": "text"}`, and never a database message or a stack
//! trace. The outermost layer logs what lay behind a failure, once.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use emporium_actors::types::RETRY_AFTER;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::respond;

/// What is wrong with the fields of a request, in the order of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldErrors(Vec<(String, Value)>);

impl FieldErrors {
    /// One message about one field.
    pub(crate) fn one(field: &str, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field, message);
        errors
    }

    /// Another message; several about one field stand in one list.
    pub(crate) fn add(&mut self, field: &str, message: impl Into<String>) {
        let message = Value::String(message.into());
        match self.0.iter_mut().find(|(name, _)| name == field) {
            Some((_, Value::Array(messages))) => messages.push(message),
            Some((_, other)) => *other = Value::Array(vec![message]),
            None => self.0.push((field.to_owned(), Value::Array(vec![message]))),
        }
    }

    /// What is wrong with the members of a list, one entry per member.
    pub(crate) fn add_members(&mut self, field: &str, members: Vec<Self>) {
        let members = members.into_iter().map(|errors| Value::Object(errors.0.into_iter().collect()));
        self.0.push((field.to_owned(), Value::Array(members.collect())));
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A refusal: a status, a JSON object, and sometimes headers.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    members: Vec<(Cow<'static, str>, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log alone.
    cause: Option<String>,
}

impl ApiError {
    /// `400` with what is wrong, field by field.
    pub(crate) fn validation(errors: FieldErrors) -> Self {
        let members = errors.0.into_iter().map(|(field, messages)| (field.into(), messages)).collect();
        Self { status: StatusCode::BAD_REQUEST, members, headers: Vec::new(), cause: None }
    }

    /// `400` with one message about one field.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        Self::validation(FieldErrors::one(field, message))
    }

    /// `{"detail": text}`.
    pub(crate) fn detail(status: StatusCode, text: impl Into<String>) -> Self {
        let members = vec![("detail".into(), Value::String(text.into()))];
        Self { status, members, headers: Vec::new(), cause: None }
    }

    /// `404` for what no route or no row is behind.
    pub(crate) fn not_found() -> Self {
        Self::detail(StatusCode::NOT_FOUND, "Not found.")
    }

    /// `503`: too much is waiting already; nothing has changed.
    pub(crate) fn overloaded() -> Self {
        Self::detail(StatusCode::SERVICE_UNAVAILABLE, "The shop is busy. Please try again shortly.")
            .code("overloaded")
            .retry_after(RETRY_AFTER)
    }

    /// `503`: the database is out of reach; nothing has changed.
    pub(crate) fn unavailable() -> Self {
        Self::detail(
            StatusCode::SERVICE_UNAVAILABLE,
            "The shop is temporarily unavailable. Please try again shortly.",
        )
        .code("unavailable")
        .retry_after(RETRY_AFTER)
    }

    /// `503`: the database went away around COMMIT; asking again with the same key tells.
    pub(crate) fn outcome_unknown() -> Self {
        let text = "It is not known whether this was done. Please ask again with the same Idempotency-Key.";
        Self::detail(StatusCode::SERVICE_UNAVAILABLE, text).code("outcome_unknown").retry_after(RETRY_AFTER)
    }

    /// `500`: a defect, of which the client learns nothing.
    pub(crate) fn internal() -> Self {
        Self::detail(StatusCode::INTERNAL_SERVER_ERROR, "A server error occurred.")
    }

    /// `422`: the idempotency key belongs to another request.
    pub(crate) fn key_reused() -> Self {
        let text = "This idempotency key was used for a different request.";
        Self::detail(StatusCode::UNPROCESSABLE_ENTITY, text).code("idempotency_key_reused")
    }

    /// `401` that asks for a bearer token.
    pub(crate) fn unauthorized(text: impl Into<String>) -> Self {
        Self::detail(StatusCode::UNAUTHORIZED, text).challenge()
    }

    /// `403`.
    pub(crate) fn forbidden() -> Self {
        Self::detail(StatusCode::FORBIDDEN, "You do not have permission to perform this action.")
    }

    /// Adds the machine-readable reason.
    #[must_use]
    pub(crate) fn code(self, code: &'static str) -> Self {
        self.with("code", code)
    }

    /// Adds a member to the body.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name.into(), value.into()));
        self
    }

    /// Adds a member to the body that serializes itself (shortages, money).
    #[must_use]
    pub(crate) fn with_json(self, name: &'static str, value: &impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.with(name, value)
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says when to try again, in whole seconds, at least one.
    #[must_use]
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Asks for a bearer token.
    #[must_use]
    pub(crate) fn challenge(self) -> Self {
        self.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\""))
    }

    /// Keeps what led here, for the log alone.
    #[must_use]
    pub(crate) fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match self.members.first() {
            Some((_, Value::String(text))) => write!(f, ": {text}")?,
            Some((field, _)) => write!(f, ": {field}")?,
            None => {}
        }
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = respond::json(self.status, self);
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_errors_keep_their_order_and_gather_per_field() {
        let mut errors = FieldErrors::one("username", "one");
        errors.add("email", "two");
        errors.add("username", "three");
        let text = serde_json::to_string(&ApiError::validation(errors)).unwrap();
        assert_eq!(text, r#"{"username":["one","three"],"email":["two"]}"#);
    }

    #[test]
    fn refusals_carry_code_members_and_headers() {
        let error = ApiError::overloaded().with("items", vec![1, 2]);
        let response = error.error_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), "1");
        let text = serde_json::to_string(&error).unwrap();
        assert!(text.ends_with(r#""code":"overloaded","items":[1,2]}"#), "{text}");
    }
}
