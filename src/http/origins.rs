//! Pages of other origins: which of them may open sockets and read answers.
//!
//! Browsers say where a page comes from, and let it read what it asked for only where the answer says so
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>). Promises: only listed origins are told so, each
//! by its name, and what may be kept of an answer is kept apart for each; without a list no request has
//! anything to do with it. Who is asking is for the bearer token to say: there are no cookies.

use actix_cors::Cors;
use actix_web::http::Method;
use actix_web::middleware::Condition;

/// The most that browsers agree on to remember a leave, in seconds.
const REMEMBERED_S: usize = 7200;
/// What a page may read of an answer's head besides what it always may.
const EXPOSED: [&str; 6] =
    ["ETag", "Link", "Retry-After", "X-Request-Id", "Idempotency-Replayed", "Content-Disposition"];

/// Gives listed origins leave to ask and to read.
pub(crate) fn leave(allowed: &[String]) -> Condition<Cors> {
    let listed = allowed.to_vec();
    let cors = Cors::default()
        .allowed_origin_fn(move |origin, _| origin.to_str().is_ok_and(|origin| is_listed(origin, &listed)))
        .allowed_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allow_any_header()
        .expose_headers(EXPOSED)
        .max_age(REMEMBERED_S);
    Condition::new(!allowed.is_empty(), cors)
}

/// Whether an origin is on the list; `*` stands for all.
pub(crate) fn is_listed(origin: &str, allowed: &[String]) -> bool {
    let origin = origin.trim_end_matches('/');
    allowed.iter().any(|listed| listed == "*" || listed.trim_end_matches('/').eq_ignore_ascii_case(origin))
}
