//! What happens before a socket is open.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{StatusCode, Uri};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use actix_web_actors::ws::{self, HandshakeError, WsResponseBuilder};
use emporium_actors::feed::{CATEGORIES_MAX, PRODUCTS_MAX, Seat, StockSelection};
use emporium_actors::types::{CategoryId, ProductId, Seq};

use super::Watchdog;
use super::session::{Credentials, Purpose, Session, SignIn};
use crate::connection::Lifeline;
use crate::http::AppState;
use crate::http::auth;
use crate::http::error::ApiError;
use crate::http::limits;
use crate::http::origins;
use crate::http::query::Query;
use crate::settings::HttpSettings;

/// The longest message, and the longest frame, that a client may send, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The subprotocol under which browsers sign in; its partner is the token.
const BEARER: &str = "bearer";

type Answer = Result<HttpResponse, ApiError>;

/// `GET /ws/stock/`: anyone.
pub(super) async fn stock(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
    settings: web::Data<HttpSettings>,
) -> Answer {
    check_handshake(&req)?;
    check_origin(req.headers(), &settings.allowed_origins)?;
    let query = Query::of(&req);
    let (selection, since) = (selection(&query)?, since(&query)?);
    limits::admit(&req, &state, None).await?;
    let seat = seat(&state)?;
    open(&req, payload, &state, seat, Purpose::Stock(selection), since)
}

/// `GET /ws/orders/`: who has signed in, or is about to.
pub(super) async fn orders(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
    settings: web::Data<HttpSettings>,
) -> Answer {
    check_handshake(&req)?;
    check_origin(req.headers(), &settings.allowed_origins)?;
    let since = since(&Query::of(&req))?;
    let seat = seat(&state)?;
    let sign_in = sign_in(&req, &state).await;
    let principal = match &sign_in {
        Ok(SignIn::Done(credentials)) => Some(credentials.access.principal),
        _ => None,
    };
    limits::admit(&req, &state, principal).await?;
    let sign_in = sign_in?;
    open(&req, payload, &state, seat, Purpose::Orders(sign_in), since)
}

/// Any other method.
pub(super) async fn wrong_method(req: HttpRequest) -> Answer {
    let text = format!("Method \"{}\" not allowed.", req.method());
    Err(ApiError::detail(StatusCode::METHOD_NOT_ALLOWED, text)
        .header(header::ALLOW, HeaderValue::from_static("GET")))
}

fn open(
    req: &HttpRequest,
    payload: web::Payload,
    state: &AppState,
    seat: Seat,
    purpose: Purpose,
    since: Option<Seq>,
) -> Answer {
    let (Some(watchdog), Some(lifeline)) =
        (req.app_data::<web::Data<Watchdog>>(), req.conn_data::<Arc<Lifeline>>())
    else {
        return Err(ApiError::internal());
    };
    let vitals = watchdog.vitals();
    let session = Session::new(state.shop.clone(), seat, vitals.clone(), purpose, since);
    let (session, response) = WsResponseBuilder::new(session, req, payload)
        .frame_size(MESSAGE_BYTES_MAX)
        .protocols(&[BEARER])
        .start_with_addr()
        .map_err(|error| ApiError::detail(StatusCode::BAD_REQUEST, error.to_string()))?;
    watchdog.watch(lifeline.clone(), session, vitals);
    Ok(response)
}

fn check_handshake(req: &HttpRequest) -> Result<(), ApiError> {
    let Err(error) = ws::handshake(req) else { return Ok(()) };
    let upgrade_required = |text: &str| {
        ApiError::detail(StatusCode::UPGRADE_REQUIRED, text)
            .header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
    };
    Err(match error {
        HandshakeError::NoWebsocketUpgrade | HandshakeError::NoConnectionUpgrade => {
            upgrade_required("This address speaks WebSocket only.")
        }
        HandshakeError::NoVersionHeader | HandshakeError::UnsupportedVersion => {
            upgrade_required("This address speaks version 13 of WebSocket only.")
                .header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
        }
        other => ApiError::detail(StatusCode::BAD_REQUEST, other.to_string()),
    })
}

/// Browsers say which page opens a socket, and let any page open any. Who sends no `Origin` is no
/// browser.
fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default().trim_end_matches('/');
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if origins::is_listed(origin, allowed) || is_same_host(origin, host) {
        return Ok(());
    }
    let text = "This origin may not open a socket here.";
    Err(ApiError::detail(StatusCode::FORBIDDEN, text).code("origin_not_allowed"))
}

fn is_same_host(origin: &str, host: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let default = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let Ok(host) = host.parse::<Uri>() else { return false };
    let (Some(ours), Some(theirs)) = (host.host(), origin.host()) else { return false };
    ours.eq_ignore_ascii_case(theirs)
        && host.port_u16().unwrap_or(default) == origin.port_u16().unwrap_or(default)
}

fn seat(state: &AppState) -> Result<Seat, ApiError> {
    state.shop.feed.take_seat().ok_or_else(ApiError::overloaded)
}

/// How far the client has signed in. A bad token in `Authorization` is a `401`; a bad one in the
/// subprotocol closes the open socket with 4001, since browsers show a page no status.
async fn sign_in(req: &HttpRequest, state: &AppState) -> Result<SignIn, ApiError> {
    let accounts = &state.shop.accounts;
    if let Some(access) = auth::check(req.headers(), accounts).await? {
        let header = req.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.split_whitespace().nth(1)).unwrap_or_default().to_owned();
        return Ok(SignIn::Done(Credentials { access, token }));
    }
    let Some(token) = token_in_subprotocol(req.headers()) else { return Ok(SignIn::Awaited) };
    match accounts.verify_access(&token).await {
        Ok(access) => Ok(SignIn::Done(Credentials { access, token })),
        Err(error) => {
            let refusal = ApiError::from(error);
            if refusal.status_code().is_server_error() {
                return Err(refusal);
            }
            Ok(SignIn::Refused)
        }
    }
}

/// The token of `Sec-WebSocket-Protocol: bearer, <token>`.
fn token_in_subprotocol(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|line| line.to_str().ok());
    let mut words = lines.flat_map(|line| line.split(',')).map(str::trim);
    words.find(|word| *word == BEARER)?;
    words.next().map(str::to_owned)
}

fn since(query: &Query) -> Result<Option<Seq>, ApiError> {
    let parse = |text: &str| {
        let since = text.trim().parse::<i64>().ok().filter(|since| *since >= 0);
        since.map(Seq).ok_or_else(|| ApiError::field("since", "A valid whole number from 0 is required."))
    };
    query.get("since").map(parse).transpose()
}

fn selection(query: &Query) -> Result<StockSelection, ApiError> {
    let all = match query.get("all").map(str::trim) {
        None => false,
        Some(text) if ["true", "1"].iter().any(|yes| text.eq_ignore_ascii_case(yes)) => true,
        Some(text) if ["false", "0", ""].iter().any(|no| text.eq_ignore_ascii_case(no)) => false,
        Some(_) => return Err(ApiError::field("all", "Must be a valid boolean.")),
    };
    match (query.get("products"), query.get("category"), all) {
        (None, None, true) => Ok(StockSelection::All),
        (None, Some(list), false) => {
            let ids = ids("category", list, CATEGORIES_MAX)?;
            Ok(StockSelection::Categories(ids.into_iter().map(CategoryId).collect()))
        }
        // None at all is a socket that subscribes later.
        (list, None, false) => {
            let ids = ids("products", list.unwrap_or_default(), PRODUCTS_MAX)?;
            Ok(StockSelection::Products(ids.into_iter().map(ProductId).collect()))
        }
        _ => {
            let text = "Only one of products, category and all can be given.";
            Err(ApiError::detail(StatusCode::BAD_REQUEST, text))
        }
    }
}

fn ids(parameter: &str, list: &str, max: usize) -> Result<BTreeSet<i64>, ApiError> {
    let numbers = list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::parse);
    let ids: Result<BTreeSet<i64>, _> = numbers.collect();
    let ids = ids.map_err(|_| ApiError::field(parameter, "A list of ids, with commas, is required."))?;
    if ids.len() > max {
        return Err(ApiError::field(parameter, format!("At most {max} ids can be given.")));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn of(query: &str) -> Result<StockSelection, ApiError> {
        let req = TestRequest::with_uri(&format!("/ws/stock/?{query}")).to_http_request();
        selection(&Query::of(&req))
    }

    #[test]
    fn a_stock_socket_names_what_it_wants_in_one_way() {
        let products = BTreeSet::from([ProductId(1), ProductId(2)]);
        assert_eq!(of("products=2,1,,2").unwrap(), StockSelection::Products(products));
        assert_eq!(of("category=3").unwrap(), StockSelection::Categories(vec![CategoryId(3)]));
        assert_eq!(of("all=true").unwrap(), StockSelection::All);
        assert_eq!(of("").unwrap(), StockSelection::Products(BTreeSet::new()));
        let many = (0..=1000).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
        for bad in
            ["products=x", "category=1.5", "all=maybe", "all=true&products=1", &format!("products={many}")]
        {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_pages_sockets_are_refused() {
        let allowed = ["https://shop.example.com".to_owned()];
        let check = |origin: &str, host: &str, allowed: &[String]| {
            let req = TestRequest::default().insert_header(("Origin", origin)).insert_header(("Host", host));
            check_origin(req.to_http_request().headers(), allowed).is_ok()
        };
        assert!(check("https://shop.example.com", "api.example.com", &allowed));
        assert!(check("http://localhost:8000", "localhost:8000", &[]));
        assert!(check("https://localhost", "localhost:443", &[]));
        assert!(check("https://evil.example", "localhost", &["*".to_owned()]));
        for origin in [
            "https://evil.example",
            "null",
            "",
            "http://localhost:9000",
            "http://localhost.evil.example:8000",
        ] {
            assert!(!check(origin, "localhost:8000", &allowed), "{origin}");
        }
        let req = TestRequest::default().to_http_request();
        assert!(check_origin(req.headers(), &[]).is_ok());
    }

    #[test]
    fn a_token_may_come_as_the_partner_of_a_subprotocol() {
        let token = |value: &str| {
            let req =
                TestRequest::default().insert_header(("Sec-WebSocket-Protocol", value)).to_http_request();
            token_in_subprotocol(req.headers())
        };
        assert_eq!(token("bearer, abc"), Some("abc".to_owned()));
        assert_eq!(token("x,bearer,abc,y"), Some("abc".to_owned()));
        assert_eq!(token("bearer"), None);
        assert_eq!(token("abc"), None);
    }
}
