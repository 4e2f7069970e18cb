//! The live dashboard. The page knows nothing that the public interface does not tell; its files need no
//! sign-in.

use actix_web::HttpRequest;
use actix_web::http::header;
use rust_embed::RustEmbed;
use serde_json::json;

use super::files;
use super::query::Query;
use super::resource::Resource;
use super::respond::{self, Answer};

/// A development build reads them from the working tree at each request, a release has them within.
#[derive(RustEmbed)]
#[folder = "src/dashboard/"]
struct Files;

const PAGE: &str = "index.html";

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
        return files::answer::<Files>(&req, PAGE);
    }
    Ok(respond::ok(
        &json!({ "message": "Welcome to Emporium. The API is under /api/, and described at /api/docs/." }),
    ))
}

async fn file(req: HttpRequest) -> Answer {
    files::answer::<Files>(&req, req.match_info().query("file"))
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
            assert_eq!(files::content_type(&path) == "text/plain; charset=utf-8", is_text, "{path}");
        }
    }
}
