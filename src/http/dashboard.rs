//! The live dashboard: a page of plain HTML, CSS and JavaScript modules, compiled in.
//!
//! Promises: the page takes nothing from another host and runs nothing inline, which its
//! Content-Security-Policy makes the browser insist on; no other page may frame it; a browser asks
//! whether its copy of a file is still the file, and is told so without sending it again. The page
//! knows nothing that the public interface does not tell; these files need no sign-in.

use std::borrow::Cow;

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde_json::json;

use super::catalog::etag;
use super::error::ApiError;
use super::query::Query;
use super::resource::Resource;
use super::respond::{self, Answer};

/// A development build reads them from the working tree at each request, a release has them within.
#[derive(RustEmbed)]
#[folder = "src/dashboard/"]
struct Files;

const PAGE: &str = "index.html";
/// `'self'` includes the sockets of the same host. The sign-in form is sent by script alone, so that no
/// password ever lands in an address.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// What a browser may be asked for, and this page never needs.
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";
/// Kept, but never used without asking: a new release is seen at once.
const CACHING: &str = "no-cache";

pub(crate) fn routes(resources: &mut Vec<Resource>) {
    Resource::new("Emporium", "/").get(front).mount(resources);
    Resource::new("Dashboard", "/dashboard/{file:.+}/")
        .ignoring_authorization()
        .unlimited()
        .get(file)
        .mount(resources);
}

/// The dashboard for browsers, a word of welcome for programs.
async fn front(req: HttpRequest) -> Answer {
    if prefers_html(&req) {
        return answer(&req, PAGE);
    }
    Ok(respond::ok(&json!({ "message": "Welcome to Emporium. The API is under /api/." })))
}

async fn file(req: HttpRequest) -> Answer {
    answer(&req, req.match_info().query("file"))
}

/// The file, or `304` where the browser has it already.
///
/// # Errors
/// `404` for what is none of the dashboard's.
fn answer(req: &HttpRequest, path: &str) -> Answer {
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

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

/// Whether the caller names HTML, and not JSON at least as much. Who takes anything is a program.
fn prefers_html(req: &HttpRequest) -> bool {
    if Query::of(req).get("format") == Some("json") {
        return false;
    }
    let lines = req.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, u16)> = lines.flat_map(|line| line.split(',')).map(read_range).collect();
    let weight =
        |media: &str| ranges.iter().filter(|(named, _)| named == media).map(|(_, q)| *q).max().unwrap_or(0);
    weight("text/html") > weight("application/json")
}

/// A member of `Accept`, and its weight in thousandths (RFC 9110, section 12.4.2).
fn read_range(text: &str) -> (String, u16) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (media, weight.map_or(1000, thousandths))
}

fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole, digits.parse::<u16>()) {
        ("0" | "", Ok(part)) => part,
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn browsers_get_the_page_and_programs_do_not() {
        let html = |accept: &str| {
            prefers_html(&TestRequest::get().insert_header((header::ACCEPT, accept)).to_http_request())
        };
        for browser in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Text/HTML",
            "application/json;q=0.5, text/html;q=0.501",
        ] {
            assert!(html(browser), "{browser}");
        }
        for program in [
            "*/*",
            "",
            "application/json",
            "application/json, text/plain, */*",
            "application/json, text/html",
            "text/html;q=0",
            "text/*",
            "application/json, text/html;q=0.9",
        ] {
            assert!(!html(program), "{program}");
        }
        assert!(!prefers_html(&TestRequest::get().to_http_request()));
        let asked = TestRequest::with_uri("/?format=json").insert_header((header::ACCEPT, "text/html"));
        assert!(!prefers_html(&asked.to_http_request()));
    }

    #[test]
    fn weights_are_read_as_written() {
        let cases =
            [("1", 1000), ("0.5", 500), ("0.05", 50), ("0", 0), ("0.", 0), ("1.000", 1000), ("x", 1000)];
        for (text, weight) in cases {
            assert_eq!(thousandths(text), weight, "{text}");
        }
    }

    #[test]
    fn every_file_is_of_a_known_kind() {
        for path in Files::iter() {
            let is_text = path.ends_with("LICENSE") || path.ends_with(".md");
            assert_eq!(content_type(&path) == "text/plain; charset=utf-8", is_text, "{path}");
        }
    }
}
