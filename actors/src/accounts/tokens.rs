//! The tokens: signed claims, HS256 and nothing else.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TokenFault;
use crate::types::{SessionId, UserId};

/// Longer text than this is none of our tokens.
const TOKEN_BYTES_MAX: usize = 4096;

/// The most access tokens that are known by heart.
const GOOD_MAX: usize = 20_000;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenType {
    /// Sent with each request.
    Access,
    /// Exchanged for access tokens.
    Refresh,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Claims {
    pub token_type: TokenType,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it, or the refresh token that it came of, was made.
    pub iat: i64,
    /// 32 hex digits, its own.
    pub jti: String,
    #[serde(rename = "user_id")]
    pub user: UserId,
    #[serde(rename = "sid")]
    pub session: SessionId,
}

/// Claims as they come, to tell what is missing.
#[derive(Deserialize)]
struct RawClaims {
    token_type: Option<Value>,
    exp: Option<Value>,
    iat: Option<Value>,
    jti: Option<Value>,
    user_id: Option<Value>,
    sid: Option<Value>,
}

/// What an access token says to those who take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub user: UserId,
    pub session: SessionId,
    /// When the token ends, in seconds since 1970.
    pub exp: i64,
}

/// Makes and checks tokens.
pub(crate) struct Tokens {
    /// Access tokens whose signature was found good: it stays so, and the same token comes again and
    /// again. Keyed by the whole text, so nothing is known of one that differs in a letter.
    good: RwLock<HashMap<Box<str>, Bearer>>,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    access_lifetime: Duration,
    refresh_lifetime: Duration,
}

impl Tokens {
    /// Signs and checks with `secret`.
    pub(crate) fn new(secret: &str, access_lifetime: Duration, refresh_lifetime: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The claims are checked here, one by one, for each has its own refusal.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self {
            good: RwLock::default(),
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
            access_lifetime,
            refresh_lifetime,
        }
    }

    /// The claims of a new token made at `now`, of which `iat` may be an earlier one's.
    pub(crate) fn claims(
        &self,
        token_type: TokenType,
        user: UserId,
        session: SessionId,
        now: i64,
        iat: i64,
    ) -> Claims {
        let lifetime = match token_type {
            TokenType::Access => self.access_lifetime,
            TokenType::Refresh => self.refresh_lifetime,
        };
        let exp = now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        Claims { token_type, exp, iat, jti: new_jti(), user, session }
    }

    /// Signs claims.
    ///
    /// # Errors
    /// When the cryptography fails, which is a defect.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
    }

    /// Checks an access token: by heart, if it was found good before and has not ended since.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub(crate) fn check_access(&self, token: &str, now: i64) -> Result<Bearer, TokenFault> {
        let known = self.good.read().unwrap_or_else(PoisonError::into_inner).get(token).copied();
        if let Some(bearer) = known.filter(|bearer| bearer.exp > now) {
            return Ok(bearer);
        }
        let Claims { user, session, exp, .. } = self.check(token, Some(TokenType::Access), now)?;
        let bearer = Bearer { user, session, exp };
        let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= GOOD_MAX {
            // All in use are checked again, once; simpler than an order of age, and bounded.
            good.clear();
        }
        good.insert(token.into(), bearer);
        Ok(bearer)
    }

    /// Checks signature, end and claims. `wanted` is the type it must have, `None` for either.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub(crate) fn check(
        &self,
        token: &str,
        wanted: Option<TokenType>,
        now: i64,
    ) -> Result<Claims, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Invalid);
        }
        let raw = jsonwebtoken::decode::<RawClaims>(token, &self.decoding, &self.validation)
            .map_err(|_| TokenFault::Invalid)?
            .claims;
        let exp = raw.exp.ok_or(TokenFault::NoExpiry)?;
        let exp = integer(&exp).filter(|exp| *exp > now).ok_or(TokenFault::Invalid)?;
        let jti = raw.jti.and_then(|jti| jti.as_str().map(str::to_owned)).ok_or(TokenFault::NoId)?;
        let token_type = raw.token_type.ok_or(TokenFault::NoType)?;
        let token_type = TokenType::deserialize(token_type).map_err(|_| TokenFault::WrongType)?;
        if wanted.is_some_and(|wanted| wanted != token_type) {
            return Err(TokenFault::WrongType);
        }
        let user = raw.user_id.as_ref().and_then(integer).ok_or(TokenFault::NoUser)?;
        let session = raw.sid.as_ref().and_then(integer).ok_or(TokenFault::Invalid)?;
        let iat = raw.iat.as_ref().and_then(integer).unwrap_or(now);
        Ok(Claims { token_type, exp, iat, jti, user: UserId(user), session: SessionId(session) })
    }
}

fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// 32 random hex digits.
pub(crate) fn new_jti() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Seconds since 1970, by this machine's clock: tokens are checked without asking the database.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn tokens() -> Tokens {
        let secret = "0123456789abcdef0123456789abcdef";
        Tokens::new(secret, Duration::from_secs(1800), Duration::from_secs(86_400))
    }

    fn signed(claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &tokens().encoding).unwrap()
    }

    #[test]
    fn a_token_says_what_it_was_made_of() {
        let tokens = tokens();
        let claims = tokens.claims(TokenType::Access, UserId(7), SessionId(9), NOW, NOW - 5);
        assert_eq!((claims.exp, claims.iat, claims.jti.len()), (NOW + 1800, NOW - 5, 32));
        let token = tokens.sign(&claims).unwrap();
        assert_eq!(tokens.check(&token, Some(TokenType::Access), NOW), Ok(claims.clone()));
        assert_eq!(tokens.check(&token, None, NOW + 1799), Ok(claims));
        assert_eq!(tokens.check(&token, None, NOW + 1800), Err(TokenFault::Invalid));
        assert_eq!(tokens.check(&token, Some(TokenType::Refresh), NOW), Err(TokenFault::WrongType));
        let other = Tokens::new("another secret of thirty-two bytes", Duration::ZERO, Duration::ZERO);
        assert_eq!(other.check(&token, None, NOW), Err(TokenFault::Invalid));
    }

    #[test]
    fn a_token_known_by_heart_is_no_better_than_any_other() {
        let tokens = tokens();
        let claims = tokens.claims(TokenType::Access, UserId(7), SessionId(9), NOW, NOW);
        let token = tokens.sign(&claims).unwrap();
        let bearer = Bearer { user: UserId(7), session: SessionId(9), exp: NOW + 1800 };
        for _ in 0..2 {
            assert_eq!(tokens.check_access(&token, NOW), Ok(bearer));
            assert_eq!(tokens.check_access(&token, NOW + 1800), Err(TokenFault::Invalid));
            assert_eq!(tokens.check_access(&token[..token.len() - 1], NOW), Err(TokenFault::Invalid));
        }
        let refresh = tokens.claims(TokenType::Refresh, UserId(7), SessionId(9), NOW, NOW);
        let refresh = tokens.sign(&refresh).unwrap();
        assert_eq!(tokens.check_access(&refresh, NOW), Err(TokenFault::WrongType));
    }

    #[test]
    fn missing_claims_are_named() {
        let whole = serde_json::json!({
            "token_type": "access", "exp": NOW + 5, "iat": NOW, "jti": "x", "user_id": 1, "sid": 2,
        });
        assert!(tokens().check(&signed(&whole), None, NOW).is_ok());
        for (claim, fault) in [
            ("exp", TokenFault::NoExpiry),
            ("jti", TokenFault::NoId),
            ("token_type", TokenFault::NoType),
            ("user_id", TokenFault::NoUser),
            ("sid", TokenFault::Invalid),
        ] {
            let mut claims = whole.clone();
            claims.as_object_mut().unwrap().remove(claim);
            assert_eq!(tokens().check(&signed(&claims), None, NOW), Err(fault), "{claim}");
        }
    }

    #[test]
    fn nothing_but_hs256_counts() {
        let claims = tokens().claims(TokenType::Access, UserId(7), SessionId(9), NOW, NOW);
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &tokens().encoding).unwrap();
        let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30.";
        for token in [token.as_str(), unsigned, "", "a.b.c", "garbage"] {
            assert_eq!(tokens().check(token, None, NOW), Err(TokenFault::Invalid), "{token}");
        }
    }
}
