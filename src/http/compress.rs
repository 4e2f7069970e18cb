//! Answers in fewer bytes, for those who say that they can read them.
//!
//! Promises: nothing is packed that nobody asked to be packed, that is too short for it to pay, or
//! that would not become shorter; what is long is packed beside the requests, one answer at a time,
//! and sent as it is when that has to wait. Short answers cost a comparison of two numbers.

use std::cell::RefCell;
use std::io::Write;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::{self, Bytes};
use emporium_actors::catalog::Document;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Semaphore;
use zstd::bulk::Compressor;

/// Shorter bodies fit a packet or two as they are.
const BODY_BYTES_MIN: usize = 1024;
/// Longer ones would hold up the other requests of their thread for milliseconds.
const BESIDE_BYTES_MIN: usize = 64 * 1024;
/// The fastest there is above none: a page of products comes down to a tenth with it.
const ZSTD_LEVEL: i32 = 1;

/// One long body at a time.
static TURNS: Semaphore = Semaphore::const_new(1);

thread_local! {
    /// Takes a megabyte, and time to set up.
    static ZSTD: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    /// By preference.
    const ALL: [Self; Document::PACKINGS] = [Self::Zstd, Self::Gzip];

    /// Its name in headers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The entity tag of a body so packed: other bytes, so another tag.
    pub(crate) fn tag(self, tag: &[u8]) -> Bytes {
        let inner = tag.strip_suffix(b"\"").unwrap_or(tag);
        [inner, b"-", self.name().as_bytes(), b"\""].concat().into()
    }
}

/// Whether a body of this length may be packed at all, so that its answer varies with who asks.
pub(crate) fn is_worth_it(bytes: usize) -> bool {
    bytes >= BODY_BYTES_MIN
}

/// How the sender of these headers likes a body best; `None` as it is.
pub(crate) fn preferred(headers: &HeaderMap) -> Option<Coding> {
    let mut wishes = Wishes::default();
    for value in headers.get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok()) {
        value.split(',').for_each(|member| wishes.note(member));
    }
    let weight = |coding: Coding| wishes.codings[coding as usize].or(wishes.others).unwrap_or(0);
    let best = Coding::ALL.into_iter().rev().max_by_key(|coding| weight(*coding))?;
    let as_it_is = wishes.as_it_is.unwrap_or(0);
    (weight(best) > 0 && weight(best) >= as_it_is).then_some(best)
}

/// The weights of an `Accept-Encoding`, in thousandths, of what it names.
#[derive(Default)]
struct Wishes {
    codings: [Option<u16>; Document::PACKINGS],
    as_it_is: Option<u16>,
    /// Of `*`.
    others: Option<u16>,
}

impl Wishes {
    fn note(&mut self, member: &str) {
        let mut parts = member.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(1000, thousandths);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("*") {
            self.others = Some(weight);
        } else if is("identity") {
            self.as_it_is = Some(weight);
        } else if is("zstd") {
            self.codings[Coding::Zstd as usize] = Some(weight);
        } else if is("gzip") || is("x-gzip") {
            self.codings[Coding::Gzip as usize] = Some(weight);
        }
    }
}

/// `0` to `1` with at most three decimals; what is none of these weighs nothing.
fn thousandths(text: &str) -> u16 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "0" => format!("{decimals:0<3}").parse().unwrap_or(0),
        "1" if decimals.bytes().all(|byte| byte == b'0') => 1000,
        _ => 0,
    }
}

/// A body packed; `None` where it had better stay as it is.
pub(crate) async fn pack(coding: Coding, body: Bytes) -> Option<Bytes> {
    let length = body.len();
    let packed = if length < BESIDE_BYTES_MIN {
        pack_here(coding, &body)
    } else {
        let _turn = TURNS.try_acquire().ok()?;
        web::block(move || pack_here(coding, &body)).await.ok().flatten()
    };
    packed.filter(|packed| packed.len() < length)
}

fn pack_here(coding: Coding, body: &[u8]) -> Option<Bytes> {
    let packed = match coding {
        Coding::Gzip => {
            let room = Vec::with_capacity(body.len() / 4);
            let mut encoder = GzEncoder::new(room, Compression::fast());
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        Coding::Zstd => ZSTD.with_borrow_mut(|kept| {
            let mut compressor = match kept.take() {
                Some(compressor) => compressor,
                None => Compressor::new(ZSTD_LEVEL)?,
            };
            let packed = compressor.compress(body);
            *kept = Some(compressor);
            packed
        }),
    };
    packed.map(Bytes::from).map_err(|error| tracing::error!(%error, "a body could not be packed")).ok()
}

/// The body of a document, packed; kept with it for the next one who wants it so.
pub(crate) async fn pack_document(coding: Coding, document: &Document) -> Option<Bytes> {
    let kept = document.packed.get(coding as usize)?;
    if let Some(packed) = kept.get() {
        return Some(packed.clone());
    }
    let packed = pack(coding, document.body.clone()).await?;
    Some(kept.get_or_init(|| packed).clone())
}

/// Whether [`apply`] has anything to do.
pub(crate) fn applies(response: &ServiceResponse<BoxBody>) -> bool {
    let BodySize::Sized(bytes) = response.response().body().size() else { return false };
    if !usize::try_from(bytes).is_ok_and(is_worth_it) {
        return false;
    }
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    // What has a tag of its own has been packed where the tag was made, or not.
    is_json && !headers.contains_key(header::CONTENT_ENCODING) && !headers.contains_key(header::ETAG)
}

/// Packs the body of an answer, if its reader likes that.
pub(crate) async fn apply(mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let Some(coding) = preferred(response.request().headers()) else { return response };
    let (req, answer) = response.into_parts();
    let (mut answer, body): (HttpResponse<()>, BoxBody) = answer.into_parts();
    let body = match body.try_into_bytes() {
        Ok(body) => body,
        Err(body) => return ServiceResponse::new(req, answer.set_body(body)),
    };
    let Some(packed) = pack(coding, body.clone()).await else {
        return ServiceResponse::new(req, answer.set_body(BoxBody::new(body)));
    };
    answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    ServiceResponse::new(req, answer.set_body(BoxBody::new(packed)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use actix_web::test::TestRequest;

    use super::*;

    fn preferred_of(values: &[&str]) -> Option<Coding> {
        let mut req = TestRequest::default();
        for value in values {
            req = req.append_header((header::ACCEPT_ENCODING, *value));
        }
        preferred(req.to_http_request().headers())
    }

    #[test]
    fn what_is_liked_best_is_taken() {
        for (value, coding) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("GZIP", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("zstd;q=0.5, gzip;q=0.501", Some(Coding::Gzip)),
            ("gzip ; q=0.2 , zstd ; q=0.2", Some(Coding::Zstd)),
            ("*", Some(Coding::Zstd)),
            ("*;q=0.1, zstd;q=0", Some(Coding::Gzip)),
            ("identity;q=0.5, gzip", Some(Coding::Gzip)),
            ("identity, gzip", Some(Coding::Gzip)),
            ("identity, gzip;q=0.9", None),
            ("gzip;q=0", None),
            ("gzip;q=0.000, *;q=0", None),
            ("identity", None),
            ("br", None),
            ("", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=-1", None),
            ("gzip;q=", None),
            (";;,,q=1", None),
        ] {
            assert_eq!(preferred_of(&[value]), coding, "{value:?}");
        }
        assert_eq!(preferred_of(&["br", "gzip"]), Some(Coding::Gzip));
        assert_eq!(preferred_of(&[]), None);
    }

    #[tokio::test]
    async fn what_is_packed_can_be_unpacked() {
        let text = "a page of products ".repeat(1000);
        let gzip = pack(Coding::Gzip, Bytes::from(text.clone())).await.unwrap();
        let zstd = pack(Coding::Zstd, Bytes::from(text.clone())).await.unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, text);
        assert_eq!(zstd::decode_all(&zstd[..]).unwrap(), text.as_bytes());
        assert!(gzip.len() < text.len() / 10 && zstd.len() < text.len() / 10);
    }

    #[tokio::test]
    async fn what_would_not_become_shorter_stays() {
        let noise: Vec<u8> = (0..2000).map(|_| rand::random()).collect();
        for coding in Coding::ALL {
            assert_eq!(pack(coding, noise.clone().into()).await, None);
        }
    }

    #[test]
    fn a_packed_body_has_a_tag_of_its_own() {
        assert_eq!(Coding::Gzip.tag(b"\"3-4\""), "\"3-4-gzip\"");
        assert_eq!(Coding::Zstd.tag(b"\"3-4\""), "\"3-4-zstd\"");
    }
}
