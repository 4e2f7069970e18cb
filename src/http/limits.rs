//! How often a client may ask: who is counted, and how they are told to wait.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::X_FORWARDED_FOR;
use emporium_actors::accounts::AccountError;
use emporium_actors::limits::{Client, TooManyRequests};
use emporium_actors::types::Principal;

use super::AppState;
use super::error::ApiError;

/// Counts a request, for the account that sent it or else for its address.
///
/// # Errors
/// `429` past the limit.
pub(crate) async fn admit(
    req: &HttpRequest,
    state: &AppState,
    principal: Option<Principal>,
) -> Result<(), ApiError> {
    let Some(limit) = &state.shop.limits.requests else { return Ok(()) };
    let client = match principal {
        Some(principal) => Client::Account(principal.user),
        None => client_at(req, state),
    };
    Ok(limit.take(client).await?)
}

/// Counts a request that is as much of a try as a failed sign-in, whatever comes of it.
///
/// # Errors
/// `429` past the limit of those.
pub(crate) async fn admit_try(req: &HttpRequest, state: &AppState) -> Result<(), ApiError> {
    let Some(limit) = &state.shop.limits.sign_in_failures else { return Ok(()) };
    Ok(limit.take(client_at(req, state)).await?)
}

/// Lets somebody show that they know a secret, unless too many from their address did not. Only
/// failures count, so that those who share an address may all sign in at once; failures that came at
/// once are all counted afterwards.
///
/// # Errors
/// `429` past the limit, before anything is tried; otherwise what the attempt says.
pub(crate) async fn attempt<T>(
    req: &HttpRequest,
    state: &AppState,
    attempt: impl Future<Output = Result<T, AccountError>>,
) -> Result<T, ApiError> {
    let Some(limit) = &state.shop.limits.sign_in_failures else { return Ok(attempt.await?) };
    let client = client_at(req, state);
    limit.look(client).await?;
    let outcome = attempt.await;
    let failed = [AccountError::BadCredentials, AccountError::WrongPassword, AccountError::BadResetToken];
    if outcome.as_ref().is_err_and(|error| failed.contains(error)) {
        limit.charge(client).await;
    }
    Ok(outcome?)
}

fn client_at(req: &HttpRequest, state: &AppState) -> Client {
    Client::at(address(req, state.trusted_proxy_hops))
}

/// The address that a request came from. Each proxy of ours has added the address of whoever asked
/// it to the right end of `X-Forwarded-For`, so the one that counts is as many entries from there as
/// there are proxies; what stands further left is only what the client says. With fewer entries it is
/// the left-most, without any the address of the connection.
fn address(req: &HttpRequest, trusted_proxy_hops: usize) -> IpAddr {
    let connected = || req.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    if trusted_proxy_hops == 0 {
        return connected();
    }
    let lines: Vec<_> =
        req.headers().get_all(X_FORWARDED_FOR).map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let entries: Vec<&str> = lines.iter().flat_map(|line| line.split(',')).collect();
    let position = entries.len().saturating_sub(trusted_proxy_hops);
    entries.get(position).and_then(|entry| parse(entry)).unwrap_or_else(connected)
}

/// An address, or one with a port, as some proxies write it.
fn parse(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))
}

impl From<TooManyRequests> for ApiError {
    fn from(TooManyRequests { wait }: TooManyRequests) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let unit = if seconds == 1 { "second" } else { "seconds" };
        let text = format!("Request was throttled. Expected available in {seconds} {unit}.");
        Self::detail(StatusCode::TOO_MANY_REQUESTS, text).code("throttled").retry_after(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::ResponseError;
    use actix_web::test::TestRequest;

    use super::*;

    fn seen(lines: &[&str], hops: usize) -> String {
        let mut req = TestRequest::default().peer_addr("192.0.2.9:4711".parse().unwrap());
        for line in lines {
            req = req.append_header(("X-Forwarded-For", *line));
        }
        address(&req.to_http_request(), hops).to_string()
    }

    #[test]
    fn only_what_our_own_proxies_wrote_is_believed() {
        let lines = ["1.1.1.1, 2.2.2.2", "3.3.3.3"];
        for (hops, address) in
            [(0, "192.0.2.9"), (1, "3.3.3.3"), (2, "2.2.2.2"), (3, "1.1.1.1"), (4, "1.1.1.1")]
        {
            assert_eq!(seen(&lines, hops), address, "{hops} proxies of ours");
        }
        assert_eq!(seen(&[], 1), "192.0.2.9");
    }

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (line, address) in [
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            (" 198.51.100.7:443 ", "198.51.100.7"),
            ("unknown", "192.0.2.9"),
            ("", "192.0.2.9"),
        ] {
            assert_eq!(seen(&[line], 1), address, "{line:?}");
        }
    }

    #[test]
    fn who_has_to_wait_is_told_for_how_long() {
        for (millis, seconds, text) in [(1, "1", "1 second."), (1500, "2", "2 seconds.")] {
            let error = ApiError::from(TooManyRequests { wait: Duration::from_millis(millis) });
            let response = error.error_response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers().get("Retry-After").unwrap(), seconds);
            assert!(serde_json::to_string(&error).unwrap().contains(text));
        }
    }
}
