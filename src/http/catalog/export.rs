//! `GET /api/products/export/`: the catalogue as an import brings it in.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use emporium_actors::db::StoreError;
use emporium_actors::import::{EXPORT_PAGE_ROWS, Imports};
use futures_util::{Stream, stream};

use crate::http::AppState;
use crate::http::auth;
use crate::http::query::Query;
use crate::http::respond::Answer;
use crate::product_file::{Format, Writer};

/// The formats of the answer.
pub(super) const FORMATS: [(&str, &str); 5] = [
    ("csv", "text/csv"),
    ("ndjson", "application/x-ndjson"),
    ("ndjson", "application/ndjson"),
    ("jsonl", "application/jsonl"),
    ("jsonl", "application/x-jsonlines"),
];

/// `GET /api/products/export/`.
pub(super) async fn export(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    let format = format_of(&req);
    let name = match format {
        Format::Csv => "attachment; filename=\"products.csv\"",
        Format::Ndjson => "attachment; filename=\"products.ndjson\"",
    };
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, format.media_type()))
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    if req.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    Ok(answer.streaming(pages(state.shop.imports.clone(), format)))
}

/// `?format=`, else the first format of `Accept` that it is spoken in, else CSV.
fn format_of(req: &HttpRequest) -> Format {
    match Query::of(req).get("format") {
        Some("csv") => return Format::Csv,
        Some(_) => return Format::Ndjson,
        None => {}
    }
    let accepted = req.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let accepted = accepted.flat_map(|value| value.split(',')).map(|range| range.split(';').next());
    let spoken = |media: &str| match media.trim() {
        "application/json" => Some(Format::Ndjson),
        media => Format::of_media_type(media),
    };
    accepted.flatten().find_map(spoken).unwrap_or(Format::Csv)
}

/// The file, a page of products at a time, each read when the client has taken the one before it. An error
/// breaks the answer off, which the client notices.
fn pages(imports: Imports, format: Format) -> impl Stream<Item = Result<Bytes, StoreError>> {
    stream::try_unfold(Some(0), move |after| {
        let imports = imports.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let products = imports.export_page(after).await?;
            let mut out = BytesMut::new();
            if after == 0 {
                Writer::new(format).begin(&mut out);
            }
            products.iter().for_each(|product| Writer::new(format).product(product, &mut out));
            let next = products.last().filter(|_| products.len() == EXPORT_PAGE_ROWS).map(|last| last.id.0);
            Ok(Some((out.freeze(), next)))
        }
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_format_is_asked_for_in_the_query_or_in_accept() {
        let format = |uri: &str, accept: &str| {
            format_of(&TestRequest::with_uri(uri).insert_header((header::ACCEPT, accept)).to_http_request())
        };
        assert_eq!(format("/", "*/*"), Format::Csv);
        assert_eq!(format("/?format=ndjson", "text/csv"), Format::Ndjson);
        assert_eq!(format("/?format=csv", "application/x-ndjson"), Format::Csv);
        assert_eq!(format("/", "text/html, application/x-ndjson;q=0.9, text/csv"), Format::Ndjson);
        assert_eq!(format("/", "application/json"), Format::Ndjson);
    }
}
