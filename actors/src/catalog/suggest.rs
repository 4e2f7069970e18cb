//! Names for what somebody is just typing.
//!
//! First those that begin with it, by name; then those in which its last word begins a word, behind a
//! blank before behind anything else, and then those that contain that; the words before it are somewhere
//! in the name, and each kind goes by id. Each name once, whatever the case of its letters.
//!
//! Promises: whatever is typed, each name that begins with it costs a look into an index, and at most twice
//! [`CANDIDATES`] products, the first ones by id, are compared for the others.

use std::collections::HashSet;

use serde::Serialize;

use super::list::{ProductLister, ProductQuery, fold, has_word_beginning};
use super::{CatalogError, store};
use crate::db::Db;
use crate::types::PageRequest;

/// How many products are compared for one kind of names.
const CANDIDATES: usize = 200;

/// A name, and a product that has it: the first one that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Suggestion {
    /// The product.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// Names for `words`, of which the last one may not be finished.
///
/// # Errors
/// When the database is out of reach.
pub(super) async fn suggest(
    db: &Db,
    lister: &ProductLister,
    words: &[String],
    limit: usize,
) -> Result<Vec<Suggestion>, CatalogError> {
    let Some((last, before)) = words.split_last() else { return Ok(Vec::new()) };
    let client = db.client("catalog/suggest_names.sql").await?;
    let mut suggestions = store::suggest_names(&client, &words.join(" "), limit).await?;
    drop(client);
    let mut known: HashSet<String> = suggestions.iter().map(|suggestion| fold(&suggestion.name)).collect();
    let folded: Vec<String> = words.iter().map(|word| fold(word)).collect();
    for (last, is_blank_first) in [(format!(" {last}"), true), (last.clone(), false)] {
        if suggestions.len() >= limit {
            break;
        }
        let beginning = fold(&last);
        let terms = before.iter().cloned().chain([last]).collect();
        let query = ProductQuery { terms, ..ProductQuery::default() };
        let page = lister.page(&query, &PageRequest { after: None, size: CANDIDATES }).await?;
        let mut others: Vec<(bool, String, Suggestion)> = Vec::new();
        for product in page.items {
            let form = fold(&product.name);
            let has_all = folded.iter().all(|word| form.contains(word));
            if has_all && (!is_blank_first || form.contains(&beginning)) {
                let is_within = !is_blank_first && !has_word_beginning(&form, &beginning);
                others.push((is_within, form, Suggestion { id: product.id.0, name: product.name }));
            }
        }
        // Stable: those of a kind stay in the order of their ids.
        others.sort_by_key(|(is_within, ..)| *is_within);
        let room = limit - suggestions.len();
        let new = others.into_iter().filter(|(_, form, _)| known.insert(form.clone())).take(room);
        suggestions.extend(new.map(|(_, _, suggestion)| suggestion));
    }
    Ok(suggestions)
}
