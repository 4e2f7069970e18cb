//! `POST /api/products/import/`: a whole catalogue in one request.
//!
//! The body is taken in first; until it has come to its end nothing is done, and what is refused as a whole
//! is refused with a status. Then the answer begins: lines of JSON, since nobody knows yet what will become
//! of the rows. The last line says: `report` when every row has been dealt with, `failed` when the import
//! broke off and is to be repeated; an answer without either broke off with its connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use emporium_actors::import::{
    Counts, ID_CHARS_MAX, ImportError, ImportId, ImportNews, ImportReport, ImportRequest, Merging, Progress,
    RowFault,
};
use emporium_actors::types::Timestamp;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;

use crate::http::AppState;
use crate::http::auth;
use crate::http::body::too_large;
use crate::http::error::ApiError;
use crate::http::fields::{Boolean, Refusal, Rule};
use crate::http::query::Query;
use crate::http::respond::Answer;
use crate::product_file::{Format, Intake, IntakeError, Taken, take_in};

/// How long a client may send nothing.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// How often the answer says how far it is, so that nothing in between takes it for dead.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// The formats of the answer.
pub(super) const FORMATS: [(&str, &str); 1] = [("ndjson", "application/x-ndjson")];

/// `POST /api/products/import/`.
pub(super) async fn import(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    let principal = auth::staff(&req)?;
    let intake = intake_of(&req, state.import_bytes_max)?;
    let (id, is_dry_run) = (id_of(&req)?, is_dry_run(&req)?);
    let request = ImportRequest { id, by: Some(principal.user), is_dry_run };
    let staging = state.shop.imports.begin(request).await.map_err(|error| import_error(&error))?;
    let Taken { import, faults, refused } =
        take_in(pieces(payload), intake, staging, |_| {}).await.map_err(intake_error)?;

    let mut begin = BytesMut::new();
    let started = Line::Started { id: import.id(), dry_run: is_dry_run, done_before: import.done_before() };
    write(&started, &mut begin);
    faults.iter().for_each(|fault| write(&Line::of(fault), &mut begin));
    let answer = Telling {
        id: import.id().to_owned(),
        is_dry_run,
        refused,
        ready: VecDeque::from([begin.freeze()]),
        merging: Some(import.merge()),
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, FORMATS[0].1))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(lines(answer)))
}

/// A line of the answer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    /// What the import is known by, and how many rows an earlier attempt has done.
    Started { id: &'a str, dry_run: bool, done_before: i64 },
    /// A row that was refused.
    Error { line: i64, column: Option<&'a str>, detail: &'a str },
    /// How many rows there are to be done, as far as that is known, and how many of them are.
    Progress { rows: i64, done: i64 },
    /// What became of all of them.
    Report {
        id: &'a str,
        dry_run: bool,
        rows: i64,
        created: i64,
        updated: i64,
        unchanged: i64,
        refused: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        finished_before: Option<Timestamp>,
    },
    /// Why not all of them were done.
    Failed { id: &'a str, code: &'static str, detail: String },
}

impl<'a> Line<'a> {
    fn of(fault: &'a RowFault) -> Self {
        Self::Error { line: fault.line, column: fault.column.as_deref(), detail: &fault.what }
    }
}

fn write(line: &Line<'_>, out: &mut BytesMut) {
    // Strings, numbers and nulls always serialize.
    out.extend_from_slice(&serde_json::to_vec(line).unwrap_or_default());
    out.extend_from_slice(b"\n");
}

/// An answer while it is given.
struct Telling {
    id: String,
    is_dry_run: bool,
    /// Rows that were refused while the body was read.
    refused: i64,
    ready: VecDeque<Bytes>,
    /// Gone when nothing more will happen. Dropped with the answer, it ends the import after a chunk.
    merging: Option<Merging>,
}

fn lines(telling: Telling) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(telling, |mut telling| async move {
        if telling.ready.is_empty() {
            let news = telling.merging.as_mut()?.next(PROGRESS_INTERVAL).await;
            telling.hear(news);
        }
        telling.ready.pop_front().map(|line| (Ok(line), telling))
    })
}

impl Telling {
    fn hear(&mut self, news: ImportNews) {
        let mut out = BytesMut::new();
        match news {
            ImportNews::Fault(fault) => write(&Line::of(&fault), &mut out),
            ImportNews::Progress(Progress { rows, done }) => write(&Line::Progress { rows, done }, &mut out),
            ImportNews::Ended(outcome) => {
                self.merging = None;
                match outcome {
                    Ok(report) => write(&self.report(&report), &mut out),
                    Err(error) => write(&self.failure(&error), &mut out),
                }
            }
        }
        self.ready.push_back(out.freeze());
    }

    fn report<'a>(&self, report: &'a ImportReport) -> Line<'a> {
        let ImportReport { id, counts, finished_before } = report;
        let Counts { created, updated, unchanged, refused } = *counts;
        Line::Report {
            id,
            dry_run: self.is_dry_run,
            rows: counts.rows() + self.refused,
            created,
            updated,
            unchanged,
            refused: refused + self.refused,
            finished_before: *finished_before,
        }
    }

    fn failure(&self, error: &ImportError) -> Line<'_> {
        let code = match error {
            ImportError::UnderWay => "import_under_way",
            ImportError::Unavailable | ImportError::Stopping => "unavailable",
            _ => "internal",
        };
        let detail = format!(
            "The import broke off: {error}. What was done stays done; repeat it with its id to have the rest done."
        );
        Line::Failed { id: &self.id, code, detail }
    }
}

/// How the body comes.
fn intake_of(req: &HttpRequest, bytes_max: u64) -> Result<Intake, ApiError> {
    let Some(format) = Format::of_media_type(req.content_type()) else {
        let given = req.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let text = format!(
            "Unsupported media type \"{}\" in request; an import is text/csv or application/x-ndjson.",
            given.unwrap_or_default()
        );
        return Err(ApiError::detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    };
    let encoding =
        req.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or_default());
    let is_packed = match encoding.unwrap_or("identity").trim().to_ascii_lowercase().as_str() {
        "identity" | "" => None,
        "gzip" | "x-gzip" => Some(true),
        other => {
            let text = format!("Unsupported content encoding \"{other}\" in request; gzip is understood.");
            return Err(ApiError::detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
    };
    let announced = req.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(usize::try_from(bytes_max).unwrap_or(usize::MAX)));
    }
    Ok(Intake { format, is_packed, bytes_max })
}

/// The import's id: `?id=`, or the idempotency key.
fn id_of(req: &HttpRequest) -> Result<ImportId, ApiError> {
    let query = Query::of(req);
    let key = req.headers().get("Idempotency-Key").map(|value| value.to_str().unwrap_or_default());
    let Some(id) = query.get("id").or(key).map(str::trim) else { return Ok(ImportId::Fresh) };
    if !(1..=ID_CHARS_MAX).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::field("id", format!("Must be 1 to {ID_CHARS_MAX} visible characters.")));
    }
    Ok(ImportId::Given(id.to_owned()))
}

fn is_dry_run(req: &HttpRequest) -> Result<bool, ApiError> {
    let query = Query::of(req);
    let Some(text) = query.get("dry_run") else { return Ok(false) };
    Boolean.read(&text.into()).map_err(|refusal| match refusal {
        Refusal::Because(messages) => ApiError::field("dry_run", messages.concat()),
        Refusal::Null => ApiError::field("dry_run", "This field may not be null."),
    })
}

/// Why the body did not come to its end.
enum Cut {
    /// Nothing came for too long.
    Silent,
    /// The connection broke, or what came was no body.
    Broken(String),
}

/// The body, piece by piece.
fn pieces(payload: web::Payload) -> impl Stream<Item = Result<Bytes, Cut>> {
    stream::unfold(payload, |mut payload| async move {
        let piece = match tokio::time::timeout(SILENT_MAX, payload.next()).await {
            Err(_) => Err(Cut::Silent),
            Ok(piece) => piece?.map_err(|error| Cut::Broken(error.to_string())),
        };
        Some((piece, payload))
    })
}

fn intake_error(error: IntakeError<Cut>) -> ApiError {
    match error {
        IntakeError::Source(Cut::Silent) => ApiError::detail(
            StatusCode::REQUEST_TIMEOUT,
            "Nothing has come of the request body for too long.",
        ),
        IntakeError::Source(Cut::Broken(cause)) => {
            let text = "The request body could not be read.";
            ApiError::detail(StatusCode::BAD_REQUEST, text).caused_by(cause)
        }
        IntakeError::TooLarge(bytes_max) => too_large(usize::try_from(bytes_max).unwrap_or(usize::MAX)),
        IntakeError::Unusable(what) => {
            let text = format!("The file cannot be imported: {what}.");
            ApiError::detail(StatusCode::BAD_REQUEST, text).code("invalid_file")
        }
        IntakeError::Import(error) => import_error(&error),
    }
}

fn import_error(error: &ImportError) -> ApiError {
    match error {
        ImportError::UnderWay => {
            let text = "An import with this id is under way.";
            ApiError::detail(StatusCode::CONFLICT, text).code("import_under_way")
        }
        ImportError::IdReused => {
            let text = "This id was used for an import of other content.";
            ApiError::detail(StatusCode::UNPROCESSABLE_ENTITY, text).code("import_id_reused")
        }
        ImportError::Overloaded => ApiError::overloaded(),
        ImportError::Unavailable | ImportError::Stopping => ApiError::unavailable(),
        ImportError::Abandoned | ImportError::Internal => ApiError::internal(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn an_import_has_the_id_that_it_is_given() {
        let id = |uri: &str, key: Option<&str>| {
            let req = TestRequest::with_uri(uri);
            let req =
                key.map_or(req, |key| TestRequest::with_uri(uri).insert_header(("Idempotency-Key", key)));
            id_of(&req.to_http_request())
        };
        assert_eq!(id("/", None).unwrap(), ImportId::Fresh);
        assert_eq!(id("/?id=daily", Some("k")).unwrap(), ImportId::Given("daily".to_owned()));
        assert_eq!(id("/", Some("k")).unwrap(), ImportId::Given("k".to_owned()));
        for uri in ["/?id=", "/?id=a%20b", "/?id=%C3%A9", &format!("/?id={}", "x".repeat(256))] {
            assert!(id(uri, None).is_err(), "{uri}");
        }
    }

    #[test]
    fn what_is_no_file_of_products_is_refused_unread() {
        let intake = |kind: &str, encoding: &str, length: u64| {
            let req = TestRequest::post()
                .insert_header((header::CONTENT_TYPE, kind))
                .insert_header((header::CONTENT_ENCODING, encoding))
                .insert_header((header::CONTENT_LENGTH, length));
            intake_of(&req.to_http_request(), 1000)
        };
        let expected = Intake { format: Format::Csv, is_packed: Some(true), bytes_max: 1000 };
        assert_eq!(intake("text/csv; charset=utf-8", "gzip", 1000).unwrap(), expected);
        assert!(intake("application/json", "identity", 10).is_err());
        assert!(intake("text/csv", "br", 10).is_err());
        assert!(intake("text/csv", "identity", 1001).is_err());
    }
}
