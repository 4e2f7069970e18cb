//! Pages of plain HTML, CSS and JavaScript modules, compiled in.
//!
//! Promises: a page takes nothing from another host and runs nothing inline, which its
//! Content-Security-Policy makes the browser insist on; no other page may frame it; a browser asks
//! whether its copy of a file is still the file, and is told so without sending it again.

use std::borrow::Cow;

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::catalog::etag;
use super::error::ApiError;
use super::respond::Answer;

/// `'self'` includes the sockets of the same host. Forms are sent by script alone, so that no
/// password ever lands in an address.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// What a browser may be asked for, and these pages never need.
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";
/// Kept, but never used without asking: a new release is seen at once.
const CACHING: &str = "no-cache";

/// The file, or `304` where the browser has it already.
///
/// # Errors
/// `404` for what is none of these files.
pub(crate) fn answer<Files: RustEmbed>(req: &HttpRequest, path: &str) -> Answer {
    let EmbeddedFile { data, metadata } = Files::get(path).ok_or_else(ApiError::not_found)?;
    let tag = tag_of(&metadata.sha256_hash());
    let is_known = etag::is_known(req, &tag);
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, CACHING))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"))
        .insert_header((header::PERMISSIONS_POLICY, PERMISSIONS));
    if is_known {
        return Ok(response.finish());
    }
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(content_type(path))));
    Ok(response.body(match data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    }))
}

/// Half of the hash names a file well enough, quotes included.
fn tag_of(hash: &[u8; 32]) -> String {
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

pub(crate) fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}
