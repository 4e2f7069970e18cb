//! Entity tags. Those of products are `"<edit version>-<stock>"`, with `-gzip` or `-zstd` behind it
//! where the body is packed so; all are strong.
//!
//! Reading compares the whole tag, since the stock is part of what is read. Writing compares the
//! edit version alone, so that a sale in between is no conflict.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};

/// Whether `If-None-Match` names this tag, quotes included, or any. Compares weakly: a proxy that
/// repacks what we sent marks its tag so.
pub(in crate::http) fn is_known(req: &HttpRequest, tag: impl AsRef<[u8]>) -> bool {
    let is_it = |known: &[u8]| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_ref();
    listed(req, header::IF_NONE_MATCH).any(is_it)
}

/// The edit versions of which `If-Match` wants one; `None` when any will do. A weak tag, and one
/// that is none of ours, matches nothing.
pub(super) fn required_versions(req: &HttpRequest) -> Option<Vec<i64>> {
    if !req.headers().contains_key(header::IF_MATCH) || listed(req, header::IF_MATCH).any(|tag| tag == b"*") {
        return None;
    }
    Some(listed(req, header::IF_MATCH).filter_map(version_in).collect())
}

fn version_in(tag: &[u8]) -> Option<i64> {
    let tag = std::str::from_utf8(tag).ok()?;
    let (version, _) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
    version.parse().ok()
}

/// The members of a header; our tags hold no commas, so that others may fall apart at theirs.
fn listed(req: &HttpRequest, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = req.headers().get_all(name).map(HeaderValue::as_bytes);
    values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request(name: &str, value: &str) -> HttpRequest {
        TestRequest::default().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn a_client_that_has_it_is_recognised() {
        for value in ["*", "\"3-4\"", "W/\"3-4\"", "\"1-1\", \"3-4\"", "\"1,1\" ,W/\"3-4\" , x"] {
            assert!(is_known(&request("If-None-Match", value), "\"3-4\""), "{value}");
        }
        for value in ["", "\"3-5\"", "3-4", "\"3-4-gzip\"", "w/\"3-4\"", "W/W/\"3-4\"", "**"] {
            assert!(!is_known(&request("If-None-Match", value), "\"3-4\""), "{value}");
        }
        assert!(!is_known(&TestRequest::default().to_http_request(), "\"3-4\""));
        let lines = TestRequest::default()
            .append_header(("If-None-Match", "\"1-1\""))
            .append_header(("If-None-Match", "\"3-4\""));
        assert!(is_known(&lines.to_http_request(), "\"3-4\""));
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
