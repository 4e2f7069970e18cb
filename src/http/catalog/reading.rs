//! How a reader of the catalogue is answered.
//!
//! The answer is ready before it is asked for: bytes that are shared, with their tag. Whoever has it
//! already is told so; whoever can unpack it gets it packed, once it is long enough. Anybody may keep
//! it, for everybody, but asks before using it again, since a stock is old within a second.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use emporium_actors::catalog::Document;

use super::etag;
use crate::http::auth;
use crate::http::compress::{self, Coding};
use crate::http::error::ApiError;
use crate::http::respond::{self, Answer};

/// Kept by whoever likes, used by nobody without asking.
pub(super) const CACHING: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// Whether the database itself is to be asked for a list of products: whoever checks the books must
/// not be told what the shop remembers. For staff alone, since it costs as much as no cache.
pub(super) fn is_past_caches(req: &HttpRequest) -> bool {
    let wished = req.headers().get(header::CACHE_CONTROL).map(HeaderValue::as_bytes);
    wished.is_some_and(|wish| wish.eq_ignore_ascii_case(b"no-cache")) && auth::staff(req).is_ok()
}

/// `200` with the document, or `304` where the client has it.
pub(super) async fn answer(req: &HttpRequest, document: &Document) -> Answer {
    if !compress::is_worth_it(document.body.len()) {
        return respond_with(req, document, None);
    }
    let mut response = match compress::preferred(req.headers()) {
        None => respond_with(req, document, None),
        // Apart, so that other reads do not carry its state about.
        Some(coding) => Box::pin(answer_packed(req, document, coding)).await,
    }?;
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Ok(response)
}

async fn answer_packed(req: &HttpRequest, document: &Document, coding: Coding) -> Answer {
    let tag = coding.tag(&document.tag);
    if etag::is_known(req, &tag) {
        return not_modified(tag);
    }
    let packed = compress::pack_document(coding, document).await;
    respond_with(req, document, packed.map(|packed| (coding, tag, packed)))
}

fn respond_with(req: &HttpRequest, document: &Document, packed: Option<(Coding, Bytes, Bytes)>) -> Answer {
    if etag::is_known(req, &document.tag) {
        return not_modified(document.tag.clone());
    }
    let (coding, tag, body) = match packed {
        Some((coding, tag, body)) => (Some(coding), tag, body),
        None => (None, document.tag.clone(), document.body.clone()),
    };
    let mut response = HttpResponse::new(StatusCode::OK).set_body(BoxBody::new(body));
    let headers = response.headers_mut();
    // Appended, as in `negotiate::stamp`.
    headers.append(header::CONTENT_TYPE, respond::JSON);
    headers.append(header::CACHE_CONTROL, CACHING);
    headers.append(header::ETAG, visible(tag)?);
    if let Some(coding) = coding {
        headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    if let Some(link) = &document.next {
        headers.append(header::LINK, visible(link.clone())?);
    }
    Ok(response)
}

fn not_modified(tag: Bytes) -> Answer {
    let mut response = HttpResponse::new(StatusCode::NOT_MODIFIED);
    let headers = response.headers_mut();
    headers.append(header::CACHE_CONTROL, CACHING);
    headers.append(header::ETAG, visible(tag)?);
    Ok(response)
}

/// Shared, not copied.
fn visible(value: Bytes) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_maybe_shared(value).map_err(|error| ApiError::internal().caused_by(error))
}
