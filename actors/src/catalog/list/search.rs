//! By which keys a search is the cheapest, whole or narrowed: guessed from a sample, in memory.
//!
//! The database's index has a list of products for each key: three letters in a row, a category, a
//! stretch of ids or of prices. For several keys it reads the list of each, and tries each product of the
//! shortest one with the others (`scanGetItem` in PostgreSQL's `ginget.c`). Lists are kept in pages of some
//! thousand products, of which next to none can be left out where keys are frequent enough to matter; so
//! each further key costs its whole list, and is asked for only where it leaves fewer products to gather.

use super::super::cursor::CursorKey;
use super::letters::Letters;
use super::plan::{Plan, Source};
use super::sample::{Sample, SampleRow};
use super::{Column, cost};

/// The most that a source may be expected to have that is read whole.
pub(super) const GATHERED_MAX: u64 = 8_000;
/// The most that one search may be expected to cost: as much as gathering those.
const SEARCH_MAX: u64 = GATHERED_MAX * cost::GATHERED;
/// The most keys that one search asks for; what is left is compared.
const ASKED_MAX: u32 = 4;
/// The most stretches, of ids or prices, that a search is narrowed to.
const STRETCHES_MAX: u64 = 64;
/// Ids to a stretch, as the index has them.
const STRETCH_IDS: i64 = 8192;
/// Fewer products of the sample tell less than how frequent their like is all over.
pub(super) const KNOWN_MIN: usize = 4;

/// What a search is narrowed to.
pub(super) struct Reach {
    /// The first column of the order ...
    column: Column,
    /// ... and its value where it ends.
    until: CursorKey,
    /// How many stretches that are ...
    stretches: u64,
    /// ... and from where to where they reach, about.
    low: i64,
    high: i64,
    /// How many products of the sample are there.
    inside: usize,
}

impl Reach {
    /// From `begin` to `until`, unless that is too far.
    pub(super) fn new(column: Column, begin: &CursorKey, until: CursorKey, sample: &Sample) -> Option<Self> {
        let (stretches, low, high) = stretches(column, begin, &until)?;
        let mut reach = Self { column, until, stretches, low, high, inside: 0 };
        reach.inside = sample.rows.iter().filter(|row| reach.has(row)).count();
        (stretches <= STRETCHES_MAX).then_some(reach)
    }

    /// Whether a product is in one of the stretches; the index knows whole ones alone.
    pub(super) fn has(&self, row: &SampleRow) -> bool {
        (self.low..=self.high).contains(&row.number(self.column))
    }

    /// What it costs to look there, whatever is searched for.
    fn cost(&self, sample: &Sample) -> u64 {
        match self.column {
            Column::Id => self.stretches * cost::ID_STRETCH,
            _ => self.stretches * cost::PRICE_STRETCH + sample.products(self.inside) * cost::ENTRY,
        }
    }
}

/// How many stretches there are between two values, and from where to where they reach, about.
fn stretches(column: Column, begin: &CursorKey, end: &CursorKey) -> Option<(u64, i64, i64)> {
    let (CursorKey::Number(begin), CursorKey::Number(end)) = (begin, end) else { return None };
    let (low, high) = (*begin.min(end), *begin.max(end));
    if column == Column::Id {
        let (first, last) = (low / STRETCH_IDS, high / STRETCH_IDS);
        return Some((
            u64::try_from(last - first + 1).ok()?,
            first * STRETCH_IDS,
            (last + 1) * STRETCH_IDS - 1,
        ));
    }
    // A price level reaches an eighth further than it begins, so that there are six from one power of
    // 2 to the next.
    let bits = |cents: i64| u64::from(cents.max(0).unsigned_abs().saturating_add(1).ilog2());
    Some((6 * (bits(high) - bits(low) + 1), low - low / 8, high + high / 7 + 1))
}

/// What the sample tells of a search in the index.
pub(super) struct SearchIndex<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// The letters that are keys; the bit of each is that of its place.
    pub letters: &'a [Letters],
    /// How many of the sample are of the categories that are asked for, whose bit comes behind; none where
    /// they are no key.
    pub categorized: Option<usize>,
    /// The keys of those of the sample that have any of the letters, and whether the search is narrowed to
    /// where they are.
    pub keys: Vec<(u32, bool)>,
    /// How many of the sample have all words.
    pub seen: usize,
    /// How many products do, as an earlier search has found.
    pub fitting: Option<u64>,
    /// What it costs to gather a product.
    pub per_gathered: u64,
}

impl SearchIndex<'_> {
    /// The search whose keys make it the cheapest, and what it costs: the key that leaves the fewest, and
    /// each further one as long as it saves more than it costs. None where that is too much.
    pub(super) fn cheapest(&self, reach: Option<&Reach>) -> Option<(u64, Plan)> {
        let (mut least, mut asked) = (u64::MAX, 0_u32);
        while asked.count_ones() < ASKED_MAX {
            let further = self.further(asked).map(|more| (self.cost(more, reach), more)).min();
            match further {
                Some((cost, more)) if cost < least => (least, asked) = (cost, more),
                _ => break,
            }
        }
        let patterns = self.letters.iter().enumerate().filter(|(key, _)| asked >> key & 1 == 1);
        let patterns = patterns.map(|(_, letters)| letters.pattern.clone()).collect();
        let source = Source::Words(patterns, asked >> self.letters.len() & 1 == 1);
        let until = reach.map(|reach| reach.until.clone());
        (least <= SEARCH_MAX).then(|| (least, Plan { until, ..Plan::whole(source) }))
    }

    /// These keys and one more. The categories are not asked for on their own: they are another source.
    fn further(&self, asked: u32) -> impl Iterator<Item = u32> {
        let has_categories = asked > 0 && self.categorized.is_some();
        let keys = self.letters.len() + usize::from(has_categories);
        (0..keys).map(move |key| asked | (1 << key)).filter(move |more| *more != asked)
    }

    /// What it costs to ask for these keys.
    fn cost(&self, asked: u32, reach: Option<&Reach>) -> u64 {
        let having = self.letters.iter().map(|letters| letters.having).chain(self.categorized);
        let having = having.enumerate().filter(|(key, _)| asked >> key & 1 == 1);
        let having = having.map(|(_, sampled)| self.sample.products(sampled));
        let (entries, rarest) = (having.clone().sum(), having.min().unwrap_or_default());
        let all = self.keys.iter().filter(|(keys, _)| keys & asked == asked);
        let inside = all.clone().filter(|(_, is_inside)| *is_inside).count();
        let all = all.count();
        let gathered = self.gathered(asked, all);
        let searching = |entries: u64, rarest: u64, gathered: u64| {
            let keys = u64::from(asked.count_ones()) * cost::KEY;
            keys + entries * cost::ENTRY + rarest * cost::ASKED + gathered * self.per_gathered
        };
        let Some(reach) = reach else { return searching(entries, rarest, gathered) };
        let share = |products| self.sample.share(products, reach.inside);
        let gathered = match inside {
            // Too few to tell how many there are in just these stretches.
            0..KNOWN_MIN => share(gathered),
            known => self.sample.products(known),
        };
        let (search, found) = match reach.column {
            // What is elsewhere is not read.
            Column::Id => (searching(share(entries), share(rarest), gathered), gathered),
            _ => (searching(entries, rarest, gathered), self.sample.products(all)),
        };
        search + reach.cost(self.sample) + found * reach.stretches * cost::ASKED_STRETCH
    }

    /// How many products have these keys, which so many of the sample have.
    fn gathered(&self, asked: u32, sampled: usize) -> u64 {
        let unseen = self.sample.products(0);
        // Of what the sample does not have, there is less where more is asked for.
        let unseen_with = (1..asked.count_ones()).fold(unseen, |unseen, _| unseen * 3 / 4);
        match self.fitting {
            // Those few that fit may be there by chance; the others have the keys, and not the words.
            Some(fitting) if self.seen < KNOWN_MIN => match sampled.saturating_sub(self.seen) {
                0 => fitting + unseen_with / 2,
                others => fitting + self.sample.products(others),
            },
            fitting => {
                (self.sample.products(sampled) - unseen + unseen_with).max(fitting.unwrap_or_default())
            }
        }
    }
}
