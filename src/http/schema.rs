//! The contract as an OpenAPI 3.1 document, and a page that shows it and lets it be tried.
//!
//! The document is written by hand. That it names every resource with its methods, and no other, is checked here;
//! that answers are as it says, by the harness of the tests, of the answers that they get through it.

use actix_web::HttpRequest;
use rust_embed::RustEmbed;

use super::files;
use super::resource::Resource;
use super::respond::Answer;

/// The document.
pub const OPENAPI: &str = include_str!("../docs/openapi.json");

/// A development build reads them from the working tree at each request, a release has them within.
#[derive(RustEmbed)]
#[folder = "src/docs/"]
struct Files;

pub(crate) fn routes(resources: &mut Vec<Resource>) {
    let free = |name, path| Resource::new(name, path).ignoring_authorization().unlimited();
    free("Schema", "/api/schema/").get(schema).mount(resources);
    free("Documentation", "/api/docs/").get(page).mount(resources);
    free("Documentation", "/api/docs/{file:.+}/").get(file).mount(resources);
}

async fn schema(req: HttpRequest) -> Answer {
    files::answer::<Files>(&req, "openapi.json")
}

async fn page(req: HttpRequest) -> Answer {
    files::answer::<Files>(&req, "index.html")
}

async fn file(req: HttpRequest) -> Answer {
    files::answer::<Files>(&req, req.match_info().query("file"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use actix_web::http::Method;
    use serde_json::Value;

    use super::*;

    /// What the document names besides resources: what Prometheus reads, and the sockets.
    const OTHERS: [&str; 3] = ["/metrics/", "/ws/orders/", "/ws/stock/"];
    const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

    fn document() -> Value {
        serde_json::from_str(OPENAPI).expect("JSON")
    }

    fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
        value.as_object().expect("an object").iter()
    }

    #[test]
    fn the_document_names_every_resource_with_its_methods_and_no_other() {
        let methods_of = |resource: &Resource| {
            let methods = resource.methods().iter().filter(|method| **method != Method::HEAD);
            methods.map(|method| method.as_str().to_lowercase()).collect::<BTreeSet<_>>()
        };
        let declared: BTreeMap<String, BTreeSet<String>> = crate::http::resources()
            .iter()
            .filter(|resource| !resource.path().contains("{file"))
            .map(|resource| (resource.path().to_owned(), methods_of(resource)))
            .collect();
        let document = document();
        let described: BTreeMap<String, BTreeSet<String>> = members(&document["paths"])
            .filter(|(path, _)| !OTHERS.contains(&path.as_str()))
            .map(|(path, item)| {
                let methods = members(item).map(|(name, _)| name.clone());
                (path.clone(), methods.filter(|name| METHODS.contains(&name.as_str())).collect())
            })
            .collect();
        assert_eq!(described, declared);
    }

    #[test]
    fn what_the_document_refers_to_is_in_it_and_operations_have_names_of_their_own() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(members) => members.iter().for_each(|member| references(member, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("a reference within");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let mut names = BTreeSet::new();
        for (path, item) in members(&document["paths"]) {
            for method in METHODS.into_iter().filter(|method| item[method].is_object()) {
                let name = item[method]["operationId"].as_str().expect("a name");
                assert!(names.insert(name.to_owned()), "{name} of {path}");
            }
        }
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn every_file_is_of_a_known_kind() {
        for path in Files::iter() {
            assert_ne!(files::content_type(&path), "text/plain; charset=utf-8", "{path}");
        }
    }
}
