//! How a request is answered: JSON, pages, replayed answers.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use emporium_actors::idempotency::Done;
use emporium_actors::types::PageRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::query::{self, Query};

/// What a handler gives back.
pub(crate) type Answer = Result<HttpResponse, ApiError>;

/// The most rows of a page, and how many it has unless the client asks for fewer.
pub(crate) const PAGE_SIZE_MAX: usize = 1000;
/// What every answer with a body is.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What is said of an answer that is only for who asked, and only now.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
/// What most answers fit in, in bytes.
const USUAL_BYTES: usize = 512;
/// Longer cursors than this are none of ours.
const CURSOR_BYTES_MAX: usize = 2048;

/// `status` with a JSON body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    match serde_json::to_writer(&mut bytes, body) {
        Ok(()) => raw(status, bytes),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            raw(StatusCode::INTERNAL_SERVER_ERROR, br#"{"detail":"A server error occurred."}"#.to_vec())
        }
    }
}

/// `status` with a body that is JSON already.
fn raw(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = HttpResponse::new(status).set_body(BoxBody::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, PRIVATE);
    response
}

/// `200`.
pub(crate) fn ok(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::OK, body)
}

/// `201`.
pub(crate) fn created(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::CREATED, body)
}

/// `204`: no body, no content type.
pub(crate) fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// A success: `status` and the thing itself, or the answer that its idempotency key got first.
pub(crate) fn done<T: Serialize>(done: Done<T>, status: StatusCode) -> HttpResponse {
    match done {
        Done::Now(body) => json(status, &body),
        Done::Before(answer) => {
            let mut response = raw(StatusCode::from_u16(answer.status).unwrap_or(status), answer.body);
            let name = HeaderName::from_static("idempotency-replayed");
            response.headers_mut().insert(name, HeaderValue::from_static("true"));
            response
        }
    }
}

/// `200` with a page of a list, and in `Link` where the next one is, if there is one.
pub(crate) fn page<T: Serialize, C: Serialize>(req: &HttpRequest, items: &[T], next: Option<C>) -> Answer {
    page_of(req.path(), &Query::of(req), items, next)
}

/// The same of a list that would be asked for by this path and query.
pub(crate) fn page_of<T: Serialize, C: Serialize>(
    path: &str,
    query: &Query,
    items: &[T],
    next: Option<C>,
) -> Answer {
    let mut response = ok(&items);
    if let Some(cursor) = next {
        let link = next_link(path, query, &cursor);
        let link = HeaderValue::from_str(&link).map_err(|error| ApiError::internal().caused_by(error))?;
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// What `Link` says of the page that begins at `cursor` in a list that was asked for by this path and
/// query.
pub(crate) fn next_link(path: &str, query: &Query, cursor: &impl Serialize) -> String {
    // Strings and numbers always serialize.
    let cursor = URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default());
    let mut url = format!("<{path}?");
    for (name, value) in query.without(&["cursor"]) {
        url.extend([&query::encode(name), "=", &query::encode(value), "&"]);
    }
    url.extend(["cursor=", &cursor, ">; rel=\"next\""]);
    url
}

/// Which page a request asks for: `page_size`, taken as the default when it is no number from 1,
/// and `cursor`.
///
/// # Errors
/// `400` for a cursor that this list did not give out.
pub(crate) fn page_request<C: DeserializeOwned>(query: &Query) -> Result<PageRequest<C>, ApiError> {
    let size =
        query.get("page_size").and_then(|text| text.trim().parse::<u64>().ok()).filter(|size| *size >= 1);
    let size =
        size.map_or(PAGE_SIZE_MAX, |size| usize::try_from(size).unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX));
    let after = match query.get("cursor") {
        None | Some("") => None,
        Some(cursor) => Some(decode_cursor(cursor).ok_or_else(invalid_cursor)?),
    };
    Ok(PageRequest { after, size })
}

/// `400` for a cursor that this list did not give out.
pub(crate) fn invalid_cursor() -> ApiError {
    ApiError::field("cursor", "This cursor was not given out for this list.")
}

fn decode_cursor<C: DeserializeOwned>(text: &str) -> Option<C> {
    if text.len() > CURSOR_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use emporium_actors::idempotency::StoredAnswer;

    use super::*;

    #[test]
    fn the_next_page_is_found_by_its_link() {
        let req =
            TestRequest::with_uri("/api/products/?search=a%20b&cursor=old&page_size=2").to_http_request();
        let response = page(&req, &[1, 2], Some((5, "x"))).unwrap();
        let link = response.headers().get(header::LINK).unwrap().to_str().unwrap().to_owned();
        let uri = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
        assert!(uri.starts_with("/api/products/?search=a%20b&page_size=2&cursor="), "{link}");
        assert!(link.ends_with("; rel=\"next\""));
        let req = TestRequest::with_uri(&uri).to_http_request();
        let request: PageRequest<(i64, String)> = page_request(&Query::of(&req)).unwrap();
        assert_eq!((request.after, request.size), (Some((5, "x".to_owned())), 2));
    }

    #[test]
    fn odd_page_sizes_fall_back_and_odd_cursors_are_not_found() {
        for (uri, size) in [
            ("/?page_size=0", 1000),
            ("/?page_size=x", 1000),
            ("/?page_size=5000", 1000),
            ("/?page_size=7", 7),
        ] {
            let req = TestRequest::with_uri(uri).to_http_request();
            assert_eq!(page_request::<i64>(&Query::of(&req)).unwrap().size, size, "{uri}");
        }
        for uri in ["/?cursor=%%%", "/?cursor=abc", "/?cursor=Ing="] {
            let req = TestRequest::with_uri(uri).to_http_request();
            assert!(page_request::<i64>(&Query::of(&req)).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_replayed_answer_says_so() {
        let before: Done<()> = Done::Before(StoredAnswer { status: 201, body: "{\"id\":1}".to_owned() });
        let response = done(before, StatusCode::OK);
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers().get("Idempotency-Replayed").unwrap(), "true");
    }
}
