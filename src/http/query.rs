//! Query parameters.

use actix_web::HttpRequest;
use actix_web::web;

/// The query of a request, decoded; bytes that are no UTF-8 become U+FFFD.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// The query of `req`.
    pub(crate) fn of(req: &HttpRequest) -> Self {
        // Most requests have none.
        if req.query_string().is_empty() {
            return Self::default();
        }
        Self(decode(req.query_string()))
    }

    /// The value of a parameter; the last one where it is repeated.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The same with another value of a parameter.
    pub(crate) fn with(mut self, name: &str, value: String) -> Self {
        self.0.retain(|(key, _)| key != name);
        self.0.push((name.to_owned(), value));
        self
    }

    /// Every parameter but those named.
    pub(crate) fn without<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let kept = self.0.iter().filter(|(key, _)| !names.contains(&key.as_str()));
        kept.map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Decodes `a=1&b=2`, `+` for a blank.
pub(super) fn decode(text: &str) -> Vec<(String, String)> {
    web::Query::<Vec<(String, String)>>::from_query(text).map(web::Query::into_inner).unwrap_or_default()
}

/// Encodes one name or value for a query.
pub(super) fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_repeated_parameter_counts() {
        let query = Query(decode("search=a&search=b+c%2C&x"));
        assert_eq!(query.get("search"), Some("b c,"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("y"), None);
        assert_eq!(decode("a=%ff"), [("a".to_owned(), "\u{fffd}".to_owned())]);
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        let text = "Größe & 100% +\u{0}";
        assert_eq!(decode(&format!("k={}", encode(text))), [("k".to_owned(), text.to_owned())]);
    }
}
