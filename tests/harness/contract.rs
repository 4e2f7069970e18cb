//! Holds answers against the OpenAPI document: their status, their media type, and the shape of their bodies.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use emporium::http::schema::OPENAPI;
use emporium::loadtest::client::{Answer, Request};
use jsonschema::Validator;
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(OPENAPI).expect("JSON"));
/// By the pointer to the schema.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// What the document says of any resource at once: methods that it does not know, and the unforeseen.
const ANYWHERE: [u16; 2] = [405, 500];

/// Insists that an answer is one that the document names.
pub(crate) fn check(request: &Request, answer: &Answer) {
    let path = request.path().split('?').next().unwrap_or_default();
    let method = match request.method().as_str() {
        "HEAD" => "get".to_owned(),
        other => other.to_lowercase(),
    };
    let Some((template, item)) = item_of(path) else { return };
    // What is no HTTP is refused before it comes to the shop, which would have given it an id.
    let is_ours = answer.header("x-request-id").is_some();
    if method == "options" || ANYWHERE.contains(&answer.status) || !is_ours {
        return;
    }
    // Headers are appended, by layers that rely on nobody else having set them.
    for name in answer.headers.keys().filter(|name| *name != "vary") {
        let times = answer.headers.get_all(name).iter().count();
        assert_eq!(times, 1, "{method} {path}, {}: {name} is there {times} times", answer.status);
    }
    // A method that there is not may still be refused for what is checked before it is looked at.
    let known = item.get(&method).is_some();
    assert!(known || (400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
    let at = format!("/paths/{}/{method}/responses/{}", escaped(template), answer.status);
    let Some((at, response)) = resolved(at) else {
        assert!(
            !known,
            "{method} {path} was answered {}, unlike the document: {}",
            answer.status,
            answer.text()
        );
        return;
    };
    let Some(content) = response.get("content").and_then(Value::as_object) else {
        assert!(answer.body.is_empty(), "{method} {path}, {}: a body: {}", answer.status, answer.text());
        return;
    };
    if request.method() == "HEAD" || answer.header("content-encoding").is_some() {
        return;
    }
    let told = answer.header("content-type").unwrap_or_default();
    let kind = told.split(';').next().unwrap_or_default().trim();
    assert!(content.contains_key(kind), "{method} {path}, {}: {told:?}", answer.status);
    if kind == "application/json" {
        let body: Value = answer.json().expect("JSON");
        let validator = validator(format!("{at}/content/{}/schema", escaped(kind)));
        if let Err(error) = validator.validate(&body) {
            panic!("{method} {path}, {}: {error} at {} of {body}", answer.status, error.instance_path());
        }
    }
}

/// The template that a path fits, and what the document says of it; plain ones go first.
fn item_of(path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("an object");
    let fitting = paths.iter().filter(|(template, _)| fits(template, path));
    fitting
        .min_by_key(|(template, _)| template.contains('{'))
        .map(|(template, item)| (template.as_str(), item))
}

fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) =
        (template.trim_end_matches('/').split('/'), path.trim_end_matches('/').split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given))
                if wanted == given || (wanted.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

/// What stands at a pointer, and at which in the end.
fn resolved(at: String) -> Option<(String, &'static Value)> {
    let found = DOCUMENT.pointer(&at)?;
    match found["$ref"].as_str() {
        Some(reference) => resolved(reference.trim_start_matches('#').to_owned()),
        None => Some((at, found)),
    }
}

fn escaped(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

fn validator(at: String) -> Arc<Validator> {
    let mut validators = VALIDATORS.lock().unwrap();
    let made = validators.entry(at).or_insert_with_key(|at| {
        let schema = DOCUMENT.pointer(at).expect("a schema");
        // References lead to the components, which a schema of its own has to bring along.
        let whole = json!({"allOf": [schema], "components": DOCUMENT["components"]});
        Arc::new(jsonschema::draft202012::new(&whole).expect("a schema"))
    });
    made.clone()
}
