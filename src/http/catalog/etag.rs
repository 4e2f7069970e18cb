//! Entity tags of products: `"<edit version>-<stock version>"`, strong.
//!
//! Reading compares the whole tag, since the stock is part of what is read. Writing compares the
//! edit version alone, so that a sale in between is no conflict.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};

/// The tag, quotes included.
pub(super) fn of(version: i64, stock_version: i64) -> String {
    format!("\"{version}-{stock_version}\"")
}

/// Whether `If-None-Match` names this tag, or any.
pub(super) fn is_known(req: &HttpRequest, tag: &str) -> bool {
    let tags = listed(req, &header::IF_NONE_MATCH).unwrap_or_default();
    tags.iter().any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The edit versions of which `If-Match` wants one; `None` when any will do. A weak tag, and one
/// that is none of ours, matches nothing.
pub(super) fn required_versions(req: &HttpRequest) -> Option<Vec<i64>> {
    let tags = listed(req, &header::IF_MATCH)?;
    if tags.iter().any(|tag| tag == "*") {
        return None;
    }
    Some(tags.iter().filter_map(|tag| version_in(tag)).collect())
}

fn version_in(tag: &str) -> Option<i64> {
    let (version, _) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
    version.parse().ok()
}

/// The members of a header; our tags hold no commas, so that others may fall apart at theirs.
fn listed(req: &HttpRequest, name: &HeaderName) -> Option<Vec<String>> {
    let mut values = req.headers().get_all(name).peekable();
    values.peek()?;
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let values: Vec<String> = values.map(text).collect();
    Some(values.iter().flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request(name: &str, value: &str) -> HttpRequest {
        TestRequest::default().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn a_client_that_has_the_product_is_recognised() {
        for value in ["*", "\"3-4\"", "W/\"3-4\"", "\"1-1\", \"3-4\""] {
            assert!(is_known(&request("If-None-Match", value), &of(3, 4)), "{value}");
        }
        for value in ["", "\"3-5\"", "3-4"] {
            assert!(!is_known(&request("If-None-Match", value), &of(3, 4)), "{value}");
        }
        assert!(!is_known(&TestRequest::default().to_http_request(), &of(3, 4)));
    }

    #[test]
    fn a_write_asks_for_the_edit_version_alone() {
        assert_eq!(required_versions(&TestRequest::default().to_http_request()), None);
        assert_eq!(required_versions(&request("If-Match", "*")), None);
        assert_eq!(required_versions(&request("If-Match", "\"3-4\", \"5-6-gzip\"")), Some(vec![3, 5]));
        for value in ["W/\"3-4\"", "\"abc\"", "3-4", ""] {
            assert_eq!(required_versions(&request("If-Match", value)), Some(vec![]), "{value}");
        }
    }
}
