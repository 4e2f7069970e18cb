//! What every request and every answer has in common: an id, a path that ends in a slash, an
//! acceptable form, standard headers, and a line in the log where it failed.

use actix_web::HttpRequest;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Uri};
use actix_web::middleware::Next;
use futures_util::FutureExt;
use tracing::Instrument;

use super::error::ApiError;
use super::query::Query;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids than this are replaced by one of ours.
const REQUEST_ID_MAX: usize = 128;

/// The id under which a request is logged: the caller's own, if it sent a sane one.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let sane = |value: &&HeaderValue| {
            (1..=REQUEST_ID_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        Self(headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(Self::own))
    }

    /// 32 random hex digits.
    fn own() -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(rand::random::<[u8; 16]>()) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// The outermost layer: gives the request its id and its path the closing slash, the answer its
/// standard headers, and a failure its line in the log. A handler that panics becomes a plain `500`.
pub(crate) async fn stamp(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = RequestId::of(req.headers());
    close_path(&mut req);
    // Costs next to nothing while nobody listens at this level.
    let span = tracing::debug_span!("request", id = id.as_str(), method = %req.method(), path = req.path());
    let call = next.call(req).instrument(span.clone());
    let outcome = std::panic::AssertUnwindSafe(call).catch_unwind().await;
    let mut response = match outcome {
        Ok(response) => response?.map_into_boxed_body(),
        Err(_) => {
            tracing::error!(id = id.as_str(), "a handler panicked");
            let error = ApiError::internal().header(REQUEST_ID, id.0);
            return Err(error.into());
        }
    };
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), "answered"));
    log_failure(&id, &response);
    let headers = response.headers_mut();
    // Appended, since no answer has these yet: what is to be replaced is moved about, even where there is nothing.
    headers.append(REQUEST_ID, id.0);
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    headers.append(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.append(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.append(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.append(header::CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    Ok(response)
}

/// Every path ends in a slash; the same path without it works as well.
fn close_path(req: &mut ServiceRequest) {
    if req.path().ends_with('/') {
        return;
    }
    let mut parts = req.uri().clone().into_parts();
    let path = match req.uri().query() {
        Some(query) => format!("{}/?{query}", req.path()),
        None => format!("{}/", req.path()),
    };
    // A path with a slash more is as good a path; otherwise it stays as it was, and is not found.
    parts.path_and_query = path.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        req.match_info_mut().get_mut().update(&uri);
        req.head_mut().uri = uri;
    }
}

/// Whoever sent the request can name its id; the log tells what lay behind the answer.
fn log_failure(id: &RequestId, response: &ServiceResponse<BoxBody>) {
    let status = response.status();
    if !status.is_server_error() {
        return;
    }
    let (id, method, path) = (id.as_str(), response.request().method(), response.request().path());
    let error = response.response().error().map(ToString::to_string).unwrap_or_default();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(id, %method, path, error, "a request was put off");
    } else {
        tracing::error!(id, %method, path, status = status.as_u16(), error, "a request failed");
    }
}

/// Whether the caller can take JSON. Browsers, which ask for HTML, get it as well.
///
/// # Errors
/// `406` for an `Accept` that leaves us nothing, `404` for a `?format=` that there is not. `own` are the
/// formats that the resource speaks besides, each with its media type.
pub(crate) fn negotiate(req: &HttpRequest, own: &[(&str, &str)]) -> Result<(), ApiError> {
    let is_known =
        |format: &str| matches!(format, "json" | "api") || own.iter().any(|(name, _)| *name == format);
    if may_name_format(req.query_string()) && Query::of(req).get("format").is_some_and(|name| !is_known(name))
    {
        return Err(ApiError::not_found());
    }
    let mut accepts = req.headers().get_all(header::ACCEPT).peekable();
    let takes_json = accepts.peek().is_none()
        || accepts
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|range| is_acceptable(range, own));
    if takes_json {
        return Ok(());
    }
    Err(ApiError::detail(StatusCode::NOT_ACCEPTABLE, "Could not satisfy the request Accept header."))
}

/// Whether `?format=` may be in a query; most are not worth decoding for it.
fn may_name_format(query: &str) -> bool {
    query.contains("format") || query.contains('%')
}

fn is_acceptable(range: &str, own: &[(&str, &str)]) -> bool {
    let media = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(media.as_str(), "*/*" | "application/*" | "application/json" | "text/html" | "text/*")
        || own.iter().any(|(_, name)| *name == media)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn json_or_nothing_particular_or_a_browser() {
        for accept in [
            "application/json",
            "*/*",
            "application/*",
            "text/html,application/xhtml+xml;q=0.9",
            "Application/JSON; q=0.5",
        ] {
            let req = TestRequest::get().insert_header((header::ACCEPT, accept)).to_http_request();
            assert!(negotiate(&req, &[]).is_ok(), "{accept}");
        }
        assert!(negotiate(&TestRequest::get().to_http_request(), &[]).is_ok());
        for accept in ["application/xml", "", "image/png"] {
            let req = TestRequest::get().insert_header((header::ACCEPT, accept)).to_http_request();
            assert!(negotiate(&req, &[]).is_err(), "{accept}");
        }
    }

    #[test]
    fn known_formats_only() {
        for (uri, fine) in
            [("/?format=json", true), ("/?format=api", true), ("/?format=xml", false), ("/?format=", false)]
        {
            assert_eq!(negotiate(&TestRequest::with_uri(uri).to_http_request(), &[]).is_ok(), fine, "{uri}");
        }
    }

    #[test]
    fn formats_of_a_resource_of_its_own_are_known_there() {
        let own = [("csv", "text/csv")];
        let asks = |uri: &str, accept: &str| {
            TestRequest::with_uri(uri).insert_header((header::ACCEPT, accept)).to_http_request()
        };
        assert!(negotiate(&asks("/?format=csv", "text/csv;q=0.9"), &own).is_ok());
        assert!(negotiate(&asks("/?format=xml", "*/*"), &own).is_err());
        assert!(negotiate(&asks("/", "text/csv"), &[]).is_err());
    }

    #[test]
    fn sane_request_ids_are_kept() {
        let id = |text: &str| {
            let req = TestRequest::get().insert_header((REQUEST_ID, text)).to_http_request();
            RequestId::of(req.headers()).as_str().to_owned()
        };
        assert_eq!(id("abc-1"), "abc-1");
        assert_eq!(id("a b").len(), 32);
        assert_eq!(id(&"x".repeat(129)).len(), 32);
    }
}
