//! How an endpoint is declared: once, with its path, its methods and their order of checks.
//!
//! Every resource checks in this order: can the caller take JSON (`406`), may they ask yet again
//! (`429`), is the bearer token good (`401`), may this caller write here (`401`, `403`), is there
//! such a method (`405`); then its handler goes on. `HEAD` works as `GET`, `OPTIONS` describes, and each answer names the methods in
//! `Allow`.

use std::rc::Rc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::guard::{GuardContext, fn_guard};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::{FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Route, web};
use serde_json::json;

use super::error::ApiError;
use super::{AppState, auth, compress, limits, negotiate, respond};

/// A resource while it is declared.
pub(crate) struct Resource {
    name: &'static str,
    path: &'static str,
    methods: Vec<Method>,
    routes: Vec<Route>,
    checks_bearer: bool,
    is_limited: bool,
    staff_writes: bool,
    formats: &'static [(&'static str, &'static str)],
}

impl Resource {
    /// A resource at `path`, which ends in a slash, as every path does by the time it is routed. `name` is shown by
    /// `OPTIONS`.
    pub(crate) fn new(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            path,
            methods: Vec::new(),
            routes: Vec::new(),
            checks_bearer: true,
            is_limited: true,
            staff_writes: false,
            formats: &[],
        }
    }

    /// Takes no notice of `Authorization`, however broken.
    #[must_use]
    pub(crate) fn ignoring_authorization(self) -> Self {
        Self { checks_bearer: false, ..self }
    }

    /// May be asked as often as anybody likes.
    #[must_use]
    pub(crate) fn unlimited(self) -> Self {
        Self { is_limited: false, ..self }
    }

    /// Lets only staff use methods that write, and says so before it says whether there is such a
    /// method.
    #[must_use]
    pub(crate) fn staff_writes(self) -> Self {
        Self { staff_writes: true, ..self }
    }

    /// Speaks these formats besides JSON, each with its media type.
    #[must_use]
    pub(crate) fn speaking(self, formats: &'static [(&'static str, &'static str)]) -> Self {
        Self { formats, ..self }
    }

    /// `GET`, and `HEAD` with it.
    #[must_use]
    pub(crate) fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args, Output = respond::Answer>,
        Args: FromRequest + 'static,
    {
        self.on(Method::GET, handler.clone()).on(Method::HEAD, handler)
    }

    /// `POST`.
    #[must_use]
    pub(crate) fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args, Output = respond::Answer>,
        Args: FromRequest + 'static,
    {
        self.on(Method::POST, handler)
    }

    /// `PUT`.
    #[must_use]
    pub(crate) fn put<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args, Output = respond::Answer>,
        Args: FromRequest + 'static,
    {
        self.on(Method::PUT, handler)
    }

    /// `PATCH`.
    #[must_use]
    pub(crate) fn patch<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args, Output = respond::Answer>,
        Args: FromRequest + 'static,
    {
        self.on(Method::PATCH, handler)
    }

    /// `DELETE`.
    #[must_use]
    pub(crate) fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args, Output = respond::Answer>,
        Args: FromRequest + 'static,
    {
        self.on(Method::DELETE, handler)
    }

    fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args, Output = respond::Answer>,
        Args: FromRequest + 'static,
    {
        // Not `web::method`, which notes each method it compares in a map of the request's, for an `Allow` that is
        // said here anyway.
        self.routes.push(web::route().guard(fn_guard(is(method.clone()))).to(handler));
        self.methods.push(method);
        self
    }

    /// Adds the resource to those of the application.
    pub(crate) fn mount(self, resources: &mut Vec<Self>) {
        resources.push(self);
    }

    /// Whether its path stands for many.
    pub(crate) fn is_pattern(&self) -> bool {
        self.path.contains('{')
    }

    #[cfg(test)]
    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    #[cfg(test)]
    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The beginning that its path has in common with others: `/api/orders` of `/api/orders/{id}/`, and nothing of
    /// what is not below `/api/`.
    pub(crate) fn area(&self) -> &'static str {
        let named = self.path.strip_prefix("/api/").and_then(|rest| rest.find('/'));
        named.map_or("", |length| &self.path[.."/api/".len() + length])
    }

    /// The resource as the framework knows it, its path without that of its area.
    pub(crate) fn into_service(self) -> impl HttpServiceFactory + 'static {
        let within = &self.path[self.area().len()..];
        let Self { name, path: _, methods, routes, checks_bearer, is_limited, staff_writes, formats } = self;
        let allow = allow(&methods);
        // One plain pattern: the router compares it as text, where a set of two would be a regex.
        let mut resource = web::resource(within);
        for route in routes {
            resource = resource.route(route);
        }
        let describe = move || async move { describe(name) };
        let rules = Rc::new(Rules { allow, checks_bearer, is_limited, staff_writes, formats });
        resource
            .route(web::route().guard(fn_guard(is(Method::OPTIONS))).to(describe))
            .default_service(web::to(method_not_allowed))
            .wrap(from_fn(move |req, next| guard(rules.clone(), req, next)))
    }
}

/// Whether a request has this method.
fn is(method: Method) -> impl Fn(&GuardContext<'_>) -> bool {
    move |request| request.head().method == method
}

/// What is the same for every request to a resource.
struct Rules {
    allow: HeaderValue,
    checks_bearer: bool,
    is_limited: bool,
    staff_writes: bool,
    formats: &'static [(&'static str, &'static str)],
}

/// The checks that come before the method's.
///
/// Small, for the framework allocates what waits here twice over for each request: past a KiB or so the C library
/// no longer takes that from what a thread keeps at hand, and tidies up its free memory each time.
async fn guard(
    rules: Rc<Rules>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let admitted = admit(&rules, &req).await;
    let mut response = match admitted {
        Ok(()) => next.call(req).await?.map_into_boxed_body(),
        Err(refusal) => req.into_response(HttpResponse::from_error(refusal)),
    };
    if compress::applies(&response) {
        // Apart, so that other requests do not carry its state about.
        response = Box::pin(compress::apply(response)).await;
    }
    response.headers_mut().append(header::ALLOW, rules.allow.clone());
    Ok(response)
}

async fn admit(rules: &Rules, req: &ServiceRequest) -> Result<(), ApiError> {
    negotiate::negotiate(req.request(), rules.formats)?;
    let state = state(req.request())?;
    let checked = match rules.checks_bearer {
        true => auth::check(req.headers(), &state.shop.accounts).await,
        false => Ok(None),
    };
    if rules.is_limited {
        // A request with a bad token counts as well, for the address that it came from.
        let principal =
            checked.as_ref().ok().and_then(|access| access.as_ref()).map(|access| access.principal);
        limits::admit(req.request(), state, principal).await?;
    }
    if let Some(access) = checked? {
        req.extensions_mut().insert(access);
    }
    if rules.staff_writes && !req.method().is_safe() {
        auth::staff(req.request())?;
    }
    Ok(())
}

/// The state of the application, for code that cannot extract it.
fn state(req: &HttpRequest) -> Result<&web::Data<AppState>, ApiError> {
    req.app_data().ok_or_else(|| ApiError::internal().caused_by("the application has no state"))
}

/// Names the methods in the customary order.
fn allow(methods: &[Method]) -> HeaderValue {
    let order = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];
    let mut names: Vec<&str> = order.iter().filter(|m| methods.contains(m)).map(Method::as_str).collect();
    names.push("OPTIONS");
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"))
}

fn describe(name: &str) -> HttpResponse {
    respond::ok(&json!({
        "name": name,
        "description": "",
        "renders": ["application/json"],
        "parses": ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"],
    }))
}

async fn method_not_allowed(req: HttpRequest) -> respond::Answer {
    let text = format!("Method \"{}\" not allowed.", req.method());
    Err(ApiError::detail(StatusCode::METHOD_NOT_ALLOWED, text))
}

/// What is behind no route.
pub(crate) async fn no_route() -> respond::Answer {
    Err(ApiError::not_found())
}

/// The id in the path. One beyond 64 bits becomes one that nothing has, so that the caller's own
/// "no such …" is said of it.
///
/// # Errors
/// `404` for anything but a number.
pub(crate) fn path_id(req: &HttpRequest, name: &str) -> Result<i64, ApiError> {
    parse_id(req.match_info().query(name)).ok_or_else(ApiError::not_found)
}

/// `[+-] digits`, with blanks around it; full-width digits count.
fn parse_id(text: &str) -> Option<i64> {
    // As nearly all of them are.
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(id) = text.parse()
    {
        return Some(id);
    }
    let text = text.replace("%2B", "+").replace("%2b", "+");
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let ascii = |c: char| match c {
        '0'..='9' => Some(c),
        '\u{ff10}'..='\u{ff19}' => char::from_digit(c as u32 - 0xff10, 10),
        _ => None,
    };
    let digits: String = digits.chars().map(ascii).collect::<Option<_>>()?;
    if digits.is_empty() {
        return None;
    }
    let id = digits.parse().unwrap_or(i64::MAX);
    Some(if negative { -id } else { id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_paths_as_documented() {
        for text in ["1", "+1", "01", "1 ", " 1", "\u{ff11}", "%2B1"] {
            assert_eq!(parse_id(text), Some(1), "{text}");
        }
        assert_eq!(parse_id("-1"), Some(-1));
        assert_eq!(parse_id("99999999999999999999"), Some(i64::MAX));
        for text in ["", "abc", "1.0", "1e3", "+", "--1", "1 2"] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }

    #[test]
    fn what_waits_for_a_request_is_small() {
        fn size<F: Future>(_: impl FnOnce(Rc<Rules>, ServiceRequest, Next<BoxBody>) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(|rules, req, next: Next<BoxBody>| guard(rules, req, next));
        assert!(2 * bytes + 8 <= 1032, "{bytes} bytes");
    }

    #[test]
    fn methods_are_named_in_the_customary_order() {
        assert_eq!(allow(&[Method::POST]), "POST, OPTIONS");
        assert_eq!(allow(&[Method::GET, Method::HEAD, Method::POST]), "GET, POST, HEAD, OPTIONS");
        let all = [Method::DELETE, Method::PATCH, Method::PUT, Method::GET, Method::HEAD];
        assert_eq!(allow(&all), "GET, PUT, PATCH, DELETE, HEAD, OPTIONS");
    }
}
