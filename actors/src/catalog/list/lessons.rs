//! What the pages of earlier searches have taught: how rare their words are. Of words that few products have,
//! the sample has hardly any, and tells little.
//!
//! Promises: at most [`SEARCHES_MAX`] are remembered, each for [`LIFETIME`]; nothing depends on them but how
//! long a page takes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::ProductQuery;
use super::super::cursor::ProductCursor;
use super::plan::Wanted;
use super::sample::Sample;

/// Searches that are remembered; when there are more, all are forgotten.
const SEARCHES_MAX: usize = 4096;
/// The longest that is, in bytes.
const SEARCH_BYTES_MAX: usize = 64;
/// For how long one is.
const LIFETIME: Duration = Duration::from_secs(600);
/// A page that passed fewer products of the sample teaches nothing.
pub(super) const PASSED_MIN: usize = 8;

/// Of each search, how many products there are to one that fits.
#[derive(Default)]
pub(super) struct Lessons {
    searches: Mutex<HashMap<String, (Instant, u64)>>,
}

impl Lessons {
    /// How many products there are to one that fits, if that is known.
    pub(super) fn per_hit(&self, query: &ProductQuery) -> Option<u64> {
        let searches = self.searches();
        let (since, per_hit) = searches.get(&key(query)?)?;
        (since.elapsed() < LIFETIME).then_some(*per_hit)
    }

    /// A page has ended before `next`, or with the list, and has so many products.
    pub(super) fn learn(
        &self,
        wanted: &Wanted<'_>,
        sample: &Sample,
        found: usize,
        next: Option<&ProductCursor>,
    ) {
        let Some(key) = key(wanted.query) else { return };
        let passed = sample.rows.iter().filter(|row| wanted.is_between(row, next)).count();
        let Ok(found) = u64::try_from(found) else { return };
        if passed >= PASSED_MIN {
            let mut searches = self.searches();
            if searches.len() >= SEARCHES_MAX {
                searches.clear();
            }
            searches.insert(key, (Instant::now(), sample.products(passed) / (found + 1)));
        }
    }

    fn searches(&self) -> MutexGuard<'_, HashMap<String, (Instant, u64)>> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a search is remembered by; none where more than its words is asked for.
fn key(query: &ProductQuery) -> Option<String> {
    let ProductQuery { terms, ordering, .. } = query;
    let of_words_alone =
        ProductQuery { terms: terms.clone(), ordering: ordering.clone(), ..ProductQuery::default() };
    let key = terms.join("\u{1f}").to_lowercase();
    (!terms.is_empty() && key.len() <= SEARCH_BYTES_MAX && *query == of_words_alone).then_some(key)
}
