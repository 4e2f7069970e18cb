//! Misspelled words, and the known ones that were probably meant.
//!
//! A word is known when the name of some product has it. Of those that are a slip or two away - a letter
//! too many, too few, wrong, or two that have changed places - the nearest one is taken; of several, one
//! with the same first letter, and the one that more products of the sample have.
//!
//! Promises: words that occur anywhere stay as they are; a look-up costs the same however many words there
//! are ([`CANDIDATES`]), and a search takes a few of them; no word is suggested that no product has any more.

use std::cmp::Reverse;

use memchr::memmem::Finder;

use super::relevance::fold;
use super::{ProductLister, ProductQuery};
use crate::catalog::{CatalogError, store};
use crate::types::PageRequest;

/// Known words that one word is compared with.
const CANDIDATES: usize = 1_000;
/// How many of the nearest are looked for in the sample.
const COUNTED_MAX: usize = 20;
/// How many are looked for in the catalogue.
const TRIED_MAX: usize = 3;
/// Of a search with more unknown words than this, none is replaced.
const UNKNOWN_MAX: usize = 3;
/// Fewer letters could be anything.
const LETTERS_MIN: usize = 3;
/// From so many letters on, there may be two slips.
const LONG: usize = 6;

/// How many slips a word may have. `search_cuts` of the database goes by the same.
fn slips_max(word: &str) -> usize {
    match word.chars().count() {
        0..LETTERS_MIN => 0,
        LETTERS_MIN..LONG => 1,
        _ => 2,
    }
}

impl ProductLister {
    /// The same words with those that occur in no product replaced, where known ones are like them;
    /// `None` where nothing is to be replaced.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub(in crate::catalog) async fn correct(
        &self,
        terms: &[String],
    ) -> Result<Option<Vec<String>>, CatalogError> {
        let mut unknown = Vec::new();
        for (place, term) in terms.iter().enumerate() {
            if slips_max(term) > 0 && !self.occurs(term).await? {
                unknown.push(place);
            }
            if unknown.len() > UNKNOWN_MAX {
                return Ok(None);
            }
        }
        let (mut corrected, mut is_other) = (terms.to_vec(), false);
        for place in unknown {
            if let Some(meant) = self.nearest(&terms[place]).await? {
                (corrected[place], is_other) = (meant, true);
            }
        }
        Ok(is_other.then_some(corrected))
    }

    /// Whether any product may have the word.
    async fn occurs(&self, term: &str) -> Result<bool, CatalogError> {
        let query = ProductQuery { terms: vec![term.to_owned()], ..ProductQuery::default() };
        let page = self.page_in_order(&query, &PageRequest { after: None, size: 1 }).await?;
        Ok(!page.items.is_empty() || page.next.is_some())
    }

    async fn nearest(&self, term: &str) -> Result<Option<String>, CatalogError> {
        let term = fold(term);
        let slips_max = slips_max(&term);
        let client = self.db.client("catalog/find_words.sql").await?;
        let words = store::find_words(&client, &term, CANDIDATES).await?;
        drop(client);
        let first = term.chars().next();
        let measured = words.into_iter().map(|word| {
            let begins_otherwise = word.chars().next() != first;
            (strsim::osa_distance(&term, &word), begins_otherwise, word)
        });
        let mut near: Vec<_> = measured.filter(|(slips, ..)| (1..=slips_max).contains(slips)).collect();
        near.sort_unstable();
        near.truncate(COUNTED_MAX);
        let sample = self.sampler.sample().await?;
        near.sort_by_cached_key(|(slips, begins_otherwise, word)| {
            let finder = Finder::new(word);
            let having = sample.rows.iter().filter(|row| finder.find(row.text.as_bytes()).is_some()).count();
            (*slips, *begins_otherwise, Reverse(having))
        });
        for (_, _, word) in near.into_iter().take(TRIED_MAX) {
            if self.occurs(&word).await? {
                return Ok(Some(word));
            }
        }
        Ok(None)
    }
}
