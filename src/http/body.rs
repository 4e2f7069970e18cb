//! Request bodies.
//!
//! A handler reads its body itself, after it has checked who is asking and what for, so that the
//! checks come in the documented order. JSON, form and multipart bodies end up alike: a map from
//! field names to values, for [`Fields`] to read.

use std::convert::Infallible;

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{HttpMessage, HttpRequest};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::AppState;
use super::error::ApiError;
use super::fields::Fields;
use super::query;

/// The most fields that a form may have.
const FORM_FIELDS_MAX: usize = 1000;

/// The fields of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Body {
    fields: Map<String, Value>,
    is_form: bool,
}

impl Body {
    /// Reads and parses the body of `req`; no body at all is an empty one.
    ///
    /// # Errors
    /// `413` past the limit, `415` for a type that is not understood, `400` for bad syntax or
    /// anything but an object.
    pub(crate) async fn read(req: &HttpRequest, payload: web::Payload) -> Result<Self, ApiError> {
        Self::parse(req, read_bytes(req, payload).await?).await
    }

    /// Parses a body that has been read.
    ///
    /// # Errors
    /// As [`Self::read`], but for the limit.
    pub(crate) async fn parse(req: &HttpRequest, bytes: Bytes) -> Result<Self, ApiError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match req.content_type().trim().to_ascii_lowercase().as_str() {
            "application/json" => Self::from_json(&bytes),
            "application/x-www-form-urlencoded" => {
                Self::from_form(query::decode(&String::from_utf8_lossy(&bytes)))
            }
            "multipart/form-data" => Box::pin(Self::from_multipart(content_type(req), bytes)).await,
            _ => {
                let text = format!("Unsupported media type \"{}\" in request.", content_type(req));
                Err(ApiError::detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
            }
        }
    }

    /// Parses a JSON body.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, ApiError> {
        let value = serde_json::from_slice(bytes).map_err(|error| {
            let text = format!("JSON parse error - {}", explain(&error, bytes));
            ApiError::detail(StatusCode::BAD_REQUEST, text)
        })?;
        let kind = match value {
            Value::Object(fields) => return Ok(Self { fields, is_form: false }),
            Value::Null => return Err(ApiError::field("non_field_errors", "No data provided")),
            other => kind_of(&other),
        };
        let text = format!("Invalid data. Expected a dictionary, but got {kind}.");
        Err(ApiError::field("non_field_errors", text))
    }

    /// Takes the pairs of a form; the last of a repeated name counts.
    fn from_form(pairs: Vec<(String, String)>) -> Result<Self, ApiError> {
        if pairs.len() > FORM_FIELDS_MAX {
            return Err(too_many_fields());
        }
        let fields = pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        Ok(Self { fields, is_form: true })
    }

    async fn from_multipart(content_type: &str, bytes: Bytes) -> Result<Self, ApiError> {
        let fail = |text: String| {
            ApiError::detail(StatusCode::BAD_REQUEST, format!("Multipart form parse error - {text}"))
        };
        let boundary = multer::parse_boundary(content_type)
            .map_err(|_| fail("Invalid boundary in multipart: None".to_owned()))?;
        let stream = futures_util::stream::iter([Ok::<_, Infallible>(bytes)]);
        let mut parts = multer::Multipart::new(stream, boundary);
        let (mut fields, mut count) = (Map::new(), 0);
        while let Some(part) = parts.next_field().await.map_err(|error| fail(error.to_string()))? {
            count += 1;
            if count > FORM_FIELDS_MAX {
                return Err(too_many_fields());
            }
            let Some(name) = part.name().map(str::to_owned) else { continue };
            let is_file = part.file_name().is_some();
            let content = part.bytes().await.map_err(|error| fail(error.to_string()))?;
            // No field takes a file; an empty list is refused by each with its own text.
            let text = || Value::String(String::from_utf8_lossy(&content).into_owned());
            fields.insert(name, if is_file { Value::Array(Vec::new()) } else { text() });
        }
        Ok(Self { fields, is_form: true })
    }

    /// Reads the fields, gathering what is wrong with them.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.fields, self.is_form)
    }

    /// SHA-256 of the content with its keys in order, which tells a retry from a reuse.
    pub(crate) fn request_hash(&self) -> [u8; 32] {
        let mut content = Value::Object(self.fields.clone());
        content.sort_all_objects();
        Sha256::digest(content.to_string()).into()
    }
}

/// The whole body, as bytes.
///
/// # Errors
/// `413` past the limit, `400` when the client breaks off.
pub(crate) async fn read_bytes(req: &HttpRequest, mut payload: web::Payload) -> Result<Bytes, ApiError> {
    let bytes_max = req.app_data::<web::Data<AppState>>().map_or(1 << 20, |state| state.body_bytes_max);
    let announced = req.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    // Most bodies come in one piece, which need not be copied.
    let (mut first, mut whole, mut length) = (Bytes::new(), BytesMut::new(), 0);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::detail(StatusCode::BAD_REQUEST, "The request body could not be read.").caused_by(error)
        })?;
        length += chunk.len();
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        if length == chunk.len() {
            first = chunk;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&chunk);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// `413`.
pub(crate) fn too_large(bytes_max: usize) -> ApiError {
    let text = format!("The request body is larger than {bytes_max} bytes.");
    ApiError::detail(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn too_many_fields() -> ApiError {
    ApiError::detail(StatusCode::BAD_REQUEST, "The number of form fields exceeds the limit.")
}

fn content_type(req: &HttpRequest) -> &str {
    req.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// What DRF's clients know this kind of value as.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.to_string().contains(['.', 'e', 'E']) => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// Says what is wrong with JSON, and where, counted in characters.
fn explain(error: &serde_json::Error, bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(bad) => return format!("the text is not UTF-8 at byte {}", bad.valid_up_to()),
    };
    let (line, column) = (error.line().max(1), error.column().max(1));
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let mut at = (before + column - 1).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    // The parser stops behind a minus sign, and within a word.
    for start in (at.saturating_sub(1)..=at).filter(|start| text.is_char_boundary(*start)) {
        let literal =
            ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| text[start..].starts_with(word));
        if let Some(word) = literal {
            return format!("Out of range float values are not JSON compliant: '{word}'");
        }
    }
    let what = if error.is_eof() { "Unexpected end of data" } else { "Expecting value" };
    format!("{what}: line {line} column {column} (char {})", text[..at].chars().count())
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;

    fn refusal(json: &str) -> String {
        serde_json::to_string(&Body::from_json(json.as_bytes()).unwrap_err()).unwrap()
    }

    #[test]
    fn only_an_object_is_a_body() {
        assert_eq!(refusal("null"), r#"{"non_field_errors":["No data provided"]}"#);
        for (json, kind) in
            [("[]", "list"), ("[{}]", "list"), ("\"x\"", "str"), ("5", "int"), ("true", "bool")]
        {
            let text =
                format!(r#"{{"non_field_errors":["Invalid data. Expected a dictionary, but got {kind}."]}}"#);
            assert_eq!(refusal(json), text);
        }
    }

    #[test]
    fn bad_json_is_explained() {
        assert_eq!(
            refusal("x"),
            r#"{"detail":"JSON parse error - Expecting value: line 1 column 1 (char 0)"}"#
        );
        for word in ["NaN", "Infinity", "-Infinity"] {
            let text = format!("Out of range float values are not JSON compliant: '{word}'");
            assert!(refusal(&format!("{{\"price\": {word}}}")).contains(&text), "{}", refusal(word));
        }
        for bad in
            [&b"\xff\xfe{\0}\0"[..], b"\xef\xbb\xbf{}", b"{\"a\":\"\xff\"}", b"{", b"{\"a\":\"\\ud800\"}"]
        {
            let error = Body::from_json(bad).unwrap_err();
            assert_eq!(error.status_code(), StatusCode::BAD_REQUEST, "{bad:?}");
        }
        assert!(refusal(&"[".repeat(100_000)).contains("JSON parse error"));
    }

    #[test]
    fn the_hash_minds_content_and_not_its_order() {
        let hash = |json: &str| Body::from_json(json.as_bytes()).unwrap().request_hash();
        assert_eq!(hash(r#"{"a":1,"b":{"c":2,"d":3}}"#), hash(r#"{ "b":{"d":3,"c":2}, "a":1 }"#));
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":2}"#));
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":"1"}"#));
    }

    #[actix_web::test]
    async fn multipart_fields_are_text() {
        let bytes = Bytes::from_static(
            b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\nzz\r\n--x--\r\n",
        );
        let body = Body::from_multipart("multipart/form-data; boundary=x", bytes.clone()).await.unwrap();
        assert_eq!(body.fields.get("a"), Some(&Value::String("1".to_owned())));
        assert_eq!(body.fields.get("f"), Some(&Value::Array(Vec::new())));
        let error = Body::from_multipart("multipart/form-data", bytes).await.unwrap_err();
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(text, r#"{"detail":"Multipart form parse error - Invalid boundary in multipart: None"}"#);
    }
}
