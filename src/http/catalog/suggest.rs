//! `GET /api/products/suggest/`: names for what somebody is just typing.

use actix_web::{HttpRequest, web};
use emporium_actors::catalog::TERMS_MAX;

use super::{Subject, reading};
use crate::http::AppState;
use crate::http::error::{ApiError, FieldErrors};
use crate::http::fields::{Integer, Refusal, Rule};
use crate::http::query::Query;
use crate::http::respond::Answer;

/// The longest text to suggest names for, in characters: no name is longer.
const TYPED_CHARS_MAX: usize = 100;
/// The most names, and how many there are unless the client asks for more or fewer.
const LIMIT_MAX: i64 = 20;
const LIMIT_DEFAULT: usize = 10;

/// `GET /api/products/suggest/?q=`.
pub(super) async fn suggest(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    if let Some(known) = state.shop.catalog.known_suggestions(req.query_string()) {
        return reading::answer(&req, &known).await;
    }
    let (words, limit) = parse(&Query::of(&req))?;
    let suggestions = state.shop.catalog.suggest(req.query_string(), words, limit).await;
    reading::answer(&req, &*suggestions.map_err(|error| Subject::Product.catalog_error(&error))?).await
}

/// What was typed, word by word, and how many names are wanted.
fn parse(query: &Query) -> Result<(Vec<String>, usize), ApiError> {
    let mut errors = FieldErrors::default();
    let typed = query.get("q").unwrap_or_default();
    let words: Vec<String> = typed.split_whitespace().take(TERMS_MAX + 1).map(str::to_owned).collect();
    if typed.contains('\0') {
        errors.add("q", "Null characters are not allowed.");
    } else if typed.chars().count() > TYPED_CHARS_MAX {
        errors.add("q", format!("Ensure this field has no more than {TYPED_CHARS_MAX} characters."));
    } else if words.len() > TERMS_MAX {
        errors.add("q", format!("Ensure there are no more than {TERMS_MAX} words."));
    }
    let limit = query.get("limit").map(str::trim).filter(|text| !text.is_empty());
    let limit = limit.map(|text| Integer::between(1, LIMIT_MAX).read(&text.into()));
    if let Some(Err(Refusal::Because(messages))) = &limit {
        messages.iter().for_each(|message| errors.add("limit", message.clone()));
    }
    if !errors.is_empty() {
        return Err(ApiError::validation(errors));
    }
    let limit = limit.and_then(Result::ok).and_then(|limit| usize::try_from(limit).ok());
    Ok((words, limit.unwrap_or(LIMIT_DEFAULT)))
}
