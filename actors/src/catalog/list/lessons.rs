//! What the pages of earlier searches have taught: how rare their words are, and how far their first page reaches.
//! Of words that few products have, the sample has hardly any, and tells little.
//!
//! Promises: at most [`LESSONS_MAX`] are remembered, each for [`LIFETIME`]; nothing depends on them but how
//! long a page takes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::ProductQuery;
use super::super::cursor::ProductCursor;
use super::plan::Wanted;
use super::sample::Sample;

/// Lessons that are remembered; when there are more, all are forgotten.
const LESSONS_MAX: usize = 4096;
/// The longest search that is, in bytes of its words.
const SEARCH_BYTES_MAX: usize = 64;
/// For how long one is.
const LIFETIME: Duration = Duration::from_secs(600);
/// A page that passed fewer products of the sample teaches nothing.
pub(super) const PASSED_MIN: usize = 8;

/// How rare the words of a search are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lesson {
    /// How many products there are to one that fits.
    pub per_hit: u64,
    /// How many of those who are first in this very list it was learnt from; 0 where from others.
    pub first: usize,
}

/// What is known of each search.
#[derive(Default)]
pub(super) struct Lessons {
    searches: Mutex<HashMap<String, (Instant, Lesson)>>,
}

impl Lessons {
    /// What is known of this search, or else of its words.
    pub(super) fn of(&self, wanted: &Wanted<'_>) -> Option<Lesson> {
        let words = of_words(wanted.query)?;
        let beginning = beginning(&words, wanted);
        let searches = self.searches();
        let lesson = |key| searches.get(&key).filter(|(since, _)| since.elapsed() < LIFETIME);
        let (_, lesson) = beginning.and_then(lesson).or_else(|| lesson(words))?;
        Some(*lesson)
    }

    /// A page has ended before `next`, or with the list, and has so many products.
    pub(super) fn learn(
        &self,
        wanted: &Wanted<'_>,
        sample: &Sample,
        found: usize,
        next: Option<&ProductCursor>,
    ) {
        let (Some(words), Ok(hits)) = (of_words(wanted.query), u64::try_from(found)) else { return };
        let passed = sample.rows.iter().filter(|row| wanted.is_between(row, next)).count();
        if passed < PASSED_MIN {
            return;
        }
        let lesson = Lesson { per_hit: sample.products(passed) / (hits + 1), first: 0 };
        if let Some(beginning) = beginning(&words, wanted) {
            self.remember(beginning, Lesson { first: found, ..lesson });
        }
        self.remember(words, lesson);
    }

    fn remember(&self, key: String, lesson: Lesson) {
        let mut searches = self.searches();
        if searches.len() >= LESSONS_MAX {
            searches.clear();
        }
        searches.insert(key, (Instant::now(), lesson));
    }

    fn searches(&self) -> MutexGuard<'_, HashMap<String, (Instant, Lesson)>> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the words of a search are remembered by, in whatever order; none where more than words is asked for.
fn of_words(query: &ProductQuery) -> Option<String> {
    let ProductQuery { terms, ordering, .. } = query;
    let of_words_alone =
        ProductQuery { terms: terms.clone(), ordering: ordering.clone(), ..ProductQuery::default() };
    let is_short = !terms.is_empty() && terms.iter().map(String::len).sum::<usize>() <= SEARCH_BYTES_MAX;
    let mut words: Vec<String> = terms.iter().map(|term| term.to_lowercase()).collect();
    words.sort_unstable();
    (is_short && *query == of_words_alone).then(|| words.join("\u{1f}"))
}

/// What the beginning of a list is remembered by; none where the page begins elsewhere.
fn beginning(words: &str, wanted: &Wanted<'_>) -> Option<String> {
    // No word is empty.
    wanted.since.is_none().then(|| format!("{words}\u{1f}\u{1f}{:?}", wanted.query.ordering))
}
