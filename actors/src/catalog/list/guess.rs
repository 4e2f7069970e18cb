//! Which plan is the shortest: guessed from a sample, in memory.
//!
//! A source in the order of the list is read until the page is full: of products that are spread
//! evenly, as many as there are to each that fits, times the size of the page. A source of those who
//! meet a condition is read whole, and sorted. So the first is short when many fit, the second when
//! few do: at pages of `n` of `N` products, the shorter way takes `sqrt(n * N)` rows at the most, if
//! they are spread evenly. In between, a search can be narrowed to a stretch of the order in which enough of
//! them are expected; by which letters it is looked up, is told in [`super::search`].

use std::collections::HashSet;

use super::super::ProductQuery;
use super::super::cursor::CursorKey;
use super::cost;
use super::lessons::PASSED_MIN;
use super::letters::{Letters, Word, Words, capital};
use super::plan::{Plan, ROWS_MAX, Source, Wanted};
use super::sample::{Sample, SampleRow};
use super::search::{GATHERED_MAX, KNOWN_MIN, Reach, SearchIndex};
use super::{Column, Direction, TERMS_MAX};

/// The most categories that are looked up in an index at once.
const SEARCHED_MAX: usize = 8;
/// A first product further away than so many times the usual distance is not there by chance: the chance of
/// that is less than one in a thousand.
const GAP: usize = 7;

/// As `search_symbols` of the database has it.
fn is_symbol(c: char) -> bool {
    !(c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, ' ' | '\u{1f}'))
}

/// What a product of the sample has of what is asked for.
struct Facts {
    /// The letters that it has, bit by bit.
    letters: u32,
    has_words: bool,
    category: bool,
    price: bool,
    stock: bool,
    /// It is at or behind the beginning of the page.
    is_ahead: bool,
    /// It is before that, among those that the page has read already.
    is_passed: bool,
    /// All of that.
    is_wanted: bool,
}

/// What is thought of a page.
pub(super) struct Guess<'a> {
    wanted: &'a Wanted<'a>,
    sample: &'a Sample,
    /// What of the words the search index knows.
    letters: Vec<Letters>,
    /// The unusual characters of the words.
    symbols: Vec<char>,
    /// Of each product of the sample, in its order.
    facts: Vec<Facts>,
}

impl<'a> Guess<'a> {
    /// Compares the sample with what is wanted.
    pub(super) fn new(wanted: &'a Wanted<'a>, sample: &'a Sample) -> Self {
        let terms = wanted.query.terms.iter().take(TERMS_MAX);
        let Words { words, letters, masks } = Words::of(terms.clone().map(String::as_str), sample);
        let symbols = terms.flat_map(|term| term.chars().map(capital)).filter(|c| is_symbol(*c)).collect();
        let categories = wanted.query.categories.iter().map(|category| category.0).collect();
        let rows = sample.rows.iter().zip(masks);
        let facts = rows.map(|(row, letters)| Facts::of(row, letters, wanted, &words, &categories)).collect();
        Self { wanted, sample, letters, symbols, facts }
    }

    /// The plan that is expected to cost the least.
    pub(super) fn best(&self) -> Plan {
        let (steps, in_order) = self.best_in_order();
        match self.best_whole() {
            Some((cost, whole)) if cost < steps && self.wanted.may_gather => whole,
            _ => in_order,
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&'a SampleRow, &Facts)> {
        self.sample.rows.iter().zip(&self.facts)
    }

    /// The column by whose index it is best to go. By that of the first one, all that are equal in it
    /// have to be sorted; by that of a later one, all have to be passed over that are not.
    fn best_in_order(&self) -> (u64, Plan) {
        let Wanted { order, level_min, .. } = self.wanted;
        let mut best: Option<(u64, Plan)> = None;
        for level in *level_min..order.keys().len() {
            if !self.wanted.begins_within(level) {
                break;
            }
            let alike = if order.is_exact(level) { 0 } else { self.sample.products(self.alike(level)) };
            let (cost, plan) = self.in_order(level, alike);
            let is_sortable = alike <= u64::try_from(plan.budget).unwrap_or(u64::MAX) * 8 / 10;
            if is_sortable && best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, plan));
            }
            if order.is_exact(level) {
                break;
            }
        }
        // One row tells of whom there are so many, and the next plan goes by another column.
        best.unwrap_or_else(|| (u64::MAX, Plan { budget: 1, ..self.in_order(*level_min, 0).1 }))
    }

    /// How many of the sample are equal, in the columns up to the one at `level`, to those with whom
    /// the page begins.
    fn alike(&self, level: usize) -> usize {
        let columns = self.wanted.order.keys();
        let begins_among = self.wanted.begins_within(level + 1);
        let keys: Vec<CursorKey> = match self.wanted.start_keys().get(..=level) {
            Some(keys) if begins_among => keys.to_vec(),
            _ => {
                let ahead = self.rows().filter(|(_, facts)| facts.is_ahead).map(|(row, _)| row);
                let Some(first) = ahead.min_by(|a, b| a.beside_in(b, self.wanted.order)) else { return 0 };
                columns.iter().take(level + 1).map(|(column, _)| first.value(*column)).collect()
            }
        };
        self.count(|row, _| row.beside_position(self.wanted.order, &keys).is_eq())
    }

    /// What a row costs that is read in order of this column.
    fn per_walked(&self, column: Column, source: &Source) -> u64 {
        if *source == Source::Stock {
            // What is of another category is passed over without a look at the product.
            let looked_up = self.count(|_, facts| facts.category);
            return cost::WALKED_STOCK + self.sample.share(cost::LOOKED_UP, looked_up);
        }
        let is_near = match source {
            Source::Products(None) => match column {
                Column::Id => self.wanted.one_price().is_none(),
                column => column == Column::CreatedAt,
            },
            _ => false,
        };
        let (walked, looked_up) = match is_near {
            true => (cost::WALKED_NEAR, cost::LOOKED_UP_NEAR),
            false => (cost::WALKED, cost::LOOKED_UP),
        };
        if self.wanted.sees_stock() { walked + looked_up } else { walked }
    }

    /// How many such rows are read at most: fewer where each costs more.
    fn budget(&self, per_row: u64) -> usize {
        let rows = u64::try_from(ROWS_MAX).unwrap_or(u64::MAX) * cost::WALKED / per_row;
        usize::try_from(rows).unwrap_or(ROWS_MAX).clamp(self.wanted.size + 2, ROWS_MAX)
    }

    /// What it costs to read in order until the page is full, where so many that are alike have to be
    /// read together.
    fn in_order(&self, level: usize, alike: u64) -> (u64, Plan) {
        let Wanted { query, order, size, .. } = self.wanted;
        let walked = order.keys().get(level).copied().unwrap_or((Column::Id, Direction::Ascending));
        let source = match (walked.0, query.categories.as_slice()) {
            (Column::Stock, _) => Source::Stock,
            // Nothing is in that order within a category but all of it.
            (Column::Name, _) => Source::Products(None),
            (_, [category]) => Source::Products(Some(*category)),
            _ => Source::Products(None),
        };
        let from = self.wanted.start_keys().get(level);
        let is_of_source = |facts: &Facts| {
            (!matches!(source, Source::Products(Some(_))) || facts.category)
                && (!self.wanted.is_of_price(walked.0) || facts.price)
                && (walked.0 != Column::Stock || facts.stock)
        };
        let is_read = |row: &SampleRow, facts: &Facts| {
            is_of_source(facts) && from.is_none_or(|from| walked.1.apply(row.compare(walked.0, from)).is_ge())
        };
        let before = self.wanted.start_keys().get(..level).unwrap_or_default();
        let fits =
            |row: &SampleRow, facts: &Facts| facts.is_wanted && row.beside_position(order, before).is_eq();
        let read: Vec<_> = self.rows().filter(|(row, facts)| is_read(row, facts)).collect();
        let fitting: Vec<&SampleRow> =
            read.iter().filter(|(row, facts)| fits(row, facts)).map(|(row, _)| *row).collect();
        let read: Vec<&SampleRow> = read.into_iter().map(|(row, _)| row).collect();
        let passed = self.count(|_, facts| facts.is_passed && is_of_source(facts));
        let steps = match self.per_found(passed) {
            Some(per_found) => {
                per_found.saturating_mul(*size as u64 + 1).min(self.sample.products(read.len()))
            }
            None => self.steps(&read, &fitting, walked, *size),
        };
        // With something to spare, since it is a guess. And among those who are equal in the columns
        // before, there must be some: whoever comes after them is not read.
        let per_row = self.per_walked(walked.0, &source);
        let budget = self.budget(per_row);
        let is_whole = steps + steps / 2 <= u64::try_from(budget).unwrap_or(u64::MAX)
            && (level == 0 || !fitting.is_empty());
        let cost = if is_whole { (steps + alike).saturating_mul(per_row) } else { u64::MAX };
        (cost, Plan { is_hopeful: is_whole, ..Plan::in_order(source, level, budget) })
    }

    /// How many products there are to one that fits, where what has been read says more about that than the
    /// sample: of this page, which passed so many of the sample, or of an earlier one.
    fn per_found(&self, passed: usize) -> Option<u64> {
        let found = self.wanted.found.filter(|_| passed >= PASSED_MIN);
        let found = found.and_then(|found| u64::try_from(found).ok());
        let found = found.map(|found| self.sample.products(passed) / (found + 1));
        found.or(self.wanted.lesson.map(|lesson| lesson.per_hit))
    }

    /// How many rows are read until the page is full, of which the sample has these, and these fit.
    fn steps(
        &self,
        read: &[&SampleRow],
        fitting: &[&SampleRow],
        walked: (Column, Direction),
        size: usize,
    ) -> u64 {
        let all = self.sample.products(read.len());
        let Some(first) = fitting.iter().min_by(|a, b| a.beside(b, walked)) else { return all };
        let per_hit = read.len() / fitting.len();
        let ahead = read.iter().filter(|row| row.beside(first, walked).is_lt()).count();
        // By chance alone, the first one is hardly ever so far away.
        let gap = if ahead > GAP * per_hit { self.sample.products(ahead - per_hit) } else { 0 };
        let size = u64::try_from((size + 1).saturating_mul(read.len()) / fitting.len());
        size.unwrap_or(u64::MAX).saturating_add(gap).min(all)
    }

    /// The cheapest of the sources that can be read whole.
    fn best_whole(&self) -> Option<(u64, Plan)> {
        let query = self.wanted.query;
        let mut plans = self.by_words();
        if !self.symbols.is_empty() {
            let found = self.count(|row, _| self.symbols.iter().all(|symbol| row.text.contains(*symbol)));
            plans.extend(self.whole(Source::Symbols, found, cost::KEY));
        }
        if !query.categories.is_empty() {
            let found = self.count(|_, facts| facts.category);
            plans.extend(self.whole(Source::Categories, found, 0));
        }
        if query.min_price.is_some() || query.max_price.is_some() {
            let found = self.count(|_, facts| facts.price);
            plans.extend(self.whole(Source::Prices, found, 0));
        }
        if query.in_stock {
            let found = self.count(|_, facts| facts.stock);
            let besides = self.sample.products(found).saturating_mul(cost::LOOKED_UP);
            plans.extend(self.whole(Source::InStock, found, besides));
        }
        plans.into_iter().min_by_key(|(cost, _)| *cost)
    }

    /// A source of which the sample has so many, if that is not too much.
    fn whole(&self, source: Source, found: usize, besides: u64) -> Option<(u64, Plan)> {
        let products = self.sample.products(found);
        let cost = products.saturating_mul(self.per_gathered()).saturating_add(besides);
        (products <= GATHERED_MAX).then(|| (cost, Plan::whole(source)))
    }

    fn per_gathered(&self) -> u64 {
        cost::GATHERED + if self.wanted.sees_stock() { cost::LOOKED_UP } else { 0 }
    }

    /// A search for everything that has the words, and one that is narrowed to what comes next.
    fn by_words(&self) -> Vec<(u64, Plan)> {
        if self.letters.is_empty() {
            return Vec::new();
        }
        let wanted = self.wanted;
        let reach = self.reach().filter(|_| wanted.may_narrow);
        let is_inside = |row| reach.as_ref().is_some_and(|reach| reach.has(row));
        let has_categories = (1..=SEARCHED_MAX).contains(&wanted.query.categories.len());
        let having = self.rows().filter(|(_, facts)| facts.letters > 0);
        let key = |facts: &Facts| facts.letters | (u32::from(facts.category) << self.letters.len());
        let index = SearchIndex {
            sample: self.sample,
            letters: &self.letters,
            categorized: has_categories.then(|| self.count(|_, facts| facts.category)),
            keys: having.map(|(row, facts)| (key(facts), is_inside(row))).collect(),
            seen: self.count(|_, facts| facts.has_words),
            fitting: wanted.lesson.map(|lesson| self.sample.total / lesson.per_hit.max(1)),
            per_gathered: self.per_gathered(),
        };
        let narrowed = reach.as_ref().and_then(|reach| index.cheapest(Some(reach)));
        index.cheapest(None).into_iter().chain(narrowed).collect()
    }

    /// How far those reach who come next in the order, as long as enough of them fit.
    fn reach(&self) -> Option<Reach> {
        let first @ (column, direction) = *self.wanted.order.keys().first()?;
        let ahead: Vec<_> = self.in_order_of(first)?.filter(|(_, facts)| facts.is_ahead).collect();
        let passed = self.count(|_, facts| facts.is_passed);
        let (needed, gap) = match self.per_found(passed) {
            Some(per_found) => {
                let aim = match (self.wanted.found, self.wanted.lesson) {
                    (Some(found), _) => self.aim(found),
                    // Where all but one of them are, is known; it has to have gone seven times as far as usual
                    // to be missed.
                    (None, Some(lesson)) if lesson.first >= self.wanted.size => {
                        self.needed() + self.needed() / 3
                    }
                    // Of another page, one does not know how many it had.
                    (None, _) => self.aim(self.wanted.size),
                };
                (per_found.saturating_mul(u64::try_from(aim).ok()?), 0)
            }
            None => {
                let mut fitting =
                    ahead.iter().enumerate().filter(|(_, (_, facts))| facts.is_wanted).map(|(at, _)| at);
                let nearest = fitting.next()?;
                let known = 1 + fitting.count();
                let gap = if nearest > GAP * (ahead.len() / known) { nearest } else { 0 };
                let aim = if known < KNOWN_MIN { self.short_aim() } else { self.aim(known) };
                // Half a product more, as everywhere, since the sample does not have all that is rare.
                let needed = 2 * aim * ahead.len() / (2 * known + 1);
                (u64::try_from(needed).ok()?, gap)
            }
        };
        let (end, _) = *ahead.get(gap + self.sample.sampled(needed) + 1)?;
        let begin = match self.wanted.start_keys().first() {
            Some(key) => key.clone(),
            None => ahead.first()?.0.value(column),
        };
        if direction.apply(end.compare(column, &begin)).is_le() {
            return None;
        }
        Reach::new(column, &begin, end.value(column), self.sample)
    }

    /// The products of the page, and one that tells that there is a next page.
    fn needed(&self) -> usize {
        self.wanted.size + 1
    }

    /// How many a stretch is to have, where what it has is thought of by so many that have been seen: so
    /// many more than are needed that chance leaves few pages short.
    fn aim(&self, seen: usize) -> usize {
        // Four times the deviation of what is thought, besides.
        self.short_aim() + 4 * self.needed() / seen.isqrt().max(1)
    }

    /// The same where too few have been seen to tell, so that a short look costs less than a wrong guess: what
    /// it finds tells how far the next one has to reach.
    fn short_aim(&self) -> usize {
        // Twice the deviation of what is found.
        self.needed() + 2 * self.needed().isqrt()
    }

    /// The sample in the order of a column, where that is known.
    fn in_order_of(
        &self,
        (column, direction): (Column, Direction),
    ) -> Option<Box<dyn Iterator<Item = (&'a SampleRow, &Facts)> + '_>> {
        let places: Box<dyn DoubleEndedIterator<Item = usize>> = match column {
            Column::Id => Box::new(0..self.facts.len()),
            Column::Price => Box::new(self.sample.by_price.iter().copied()),
            _ => return None,
        };
        let pair = |place: usize| Some((self.sample.rows.get(place)?, self.facts.get(place)?));
        Some(match direction {
            Direction::Ascending => Box::new(places.filter_map(pair)),
            Direction::Descending => Box::new(places.rev().filter_map(pair)),
        })
    }

    fn count(&self, has: impl Fn(&SampleRow, &Facts) -> bool) -> usize {
        self.rows().filter(|(row, facts)| has(row, facts)).count()
    }
}

impl Facts {
    fn of(
        row: &SampleRow,
        letters: u32,
        wanted: &Wanted<'_>,
        words: &[Word],
        categories: &HashSet<i64>,
    ) -> Self {
        let ProductQuery { min_price, max_price, in_stock, .. } = wanted.query;
        let text = row.text.as_bytes();
        let has_words =
            words.iter().all(|word| letters & word.letters == word.letters && word.form.find(text).is_some());
        let category = categories.is_empty() || categories.contains(&row.category);
        let is_ahead = wanted.is_at_or_behind_start(row);
        let facts = Self {
            letters,
            has_words,
            category,
            price: min_price.is_none_or(|price| row.price >= price.cents())
                && max_price.is_none_or(|price| row.price <= price.cents()),
            stock: !in_stock || row.quantity > 0,
            is_ahead,
            is_passed: !is_ahead && wanted.is_passed(row),
            is_wanted: false,
        };
        let is_wanted = has_words && facts.category && facts.price && facts.stock && facts.is_ahead;
        Self { is_wanted, ..facts }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::super::super::cursor::ProductCursor;
    use super::super::Order;
    use super::super::lessons::{Lesson, Lessons};
    use super::*;
    use crate::types::{CategoryId, Money, Timestamp};

    const TOTAL: i64 = 1_000_000;
    const SAMPLED: i64 = 2_000;

    /// Two thousand of a million products, of which every one is like `of` says.
    fn sample(of: impl Fn(i64) -> SampleRow) -> Sample {
        let rows = (0..SAMPLED).map(|n| SampleRow { id: 1 + n * TOTAL / SAMPLED, ..of(n) }).collect();
        Sample::new(rows, TOTAL, TOTAL)
    }

    fn row(text: &str) -> SampleRow {
        SampleRow {
            id: 0,
            text: text.to_owned(),
            category: 1,
            price: 100,
            quantity: 5,
            name: String::new(),
            created_at: Timestamp(OffsetDateTime::UNIX_EPOCH),
        }
    }

    /// Has a word in one of so many products, evenly spread.
    fn spread(word: &str, every: i64) -> Sample {
        sample(|n| row(if n % every == every / 2 { word } else { "ANOTHER" }))
    }

    /// What it looks up, all at once and not narrowed.
    fn looked_up(plan: &Plan) -> Vec<&str> {
        match plan {
            Plan { source: Source::Words(patterns, false), until: None, .. } => {
                patterns.iter().map(String::as_str).collect()
            }
            _ => panic!("{plan:?}"),
        }
    }

    fn best(sample: &Sample, query: &ProductQuery, start: Option<ProductCursor>) -> Plan {
        let order = Order::of(query);
        Plan::choose(&Wanted::new(query, &order, start, 20), sample)
    }

    fn search(terms: &[&str], ordering: &[(Column, Direction)]) -> ProductQuery {
        let terms = terms.iter().map(|term| (*term).to_owned()).collect();
        ProductQuery { terms, ordering: ordering.to_vec(), ..ProductQuery::default() }
    }

    const BY_NAME: [(Column, Direction); 1] = [(Column::Name, Direction::Ascending)];
    const BY_STOCK: [(Column, Direction); 1] = [(Column::Stock, Direction::Descending)];

    #[test]
    fn what_many_have_is_read_in_order_and_what_few_have_is_looked_up() {
        for (every, is_walked) in [(1, true), (20, true), (50, true), (1_000, false), (SAMPLED, false)] {
            let plan = best(&spread("LAMP", every), &search(&["lamp"], &BY_NAME), None);
            assert_eq!(plan.is_in_order(), is_walked, "one in {every}: {plan:?}");
            assert_eq!(plan.until, None);
        }
        let nobody = best(&spread("LAMP", 2), &search(&["lamb"], &BY_NAME), None);
        assert_eq!(looked_up(&nobody), ["amb"]);
    }

    #[test]
    fn a_search_by_id_looks_no_further_than_it_has_to() {
        for (start, low, high) in [(None, 1, 60_000), (Some(500_000), 500_000, 560_000)] {
            let start = start.map(|id| ProductCursor { keys: vec![CursorKey::Number(id)], is_before: false });
            let plan = best(&spread("LAMP", 100), &search(&["lamp"], &[]), start);
            let Some(CursorKey::Number(until)) = plan.until else { panic!("{plan:?}") };
            assert!((low..high).contains(&until), "{until}");
        }
        // Towards the end, there is nothing left to leave out.
        let start = Some(ProductCursor { keys: vec![CursorKey::Number(999_000)], is_before: false });
        assert_eq!(best(&spread("LAMP", 100), &search(&["lamp"], &[]), start).until, None);
    }

    #[test]
    fn of_a_word_that_few_of_the_sample_have_little_is_looked_at_first() {
        let until = |every| match best(&spread("LAMP", every), &search(&["lamp"], &[]), None).until {
            Some(CursorKey::Number(until)) => until,
            until => panic!("{until:?}"),
        };
        // One in 1,000 or fewer has it, of whom 21 are needed, and 29 looked for.
        assert!((15_000..25_000).contains(&until(SAMPLED / 2)), "{}", until(SAMPLED / 2));
        assert!((30_000..50_000).contains(&until(SAMPLED)), "{}", until(SAMPLED));
        // Where the sample has four, as far as is hardly ever too short.
        assert!((28_000..36_000).contains(&until(SAMPLED / 4)), "{}", until(SAMPLED / 4));
    }

    #[test]
    fn what_was_passed_tells_how_far_the_rest_of_a_page_reaches() {
        let (query, sample) = (search(&["lamp"], &[]), spread("LAMP", 500));
        let order = Order::of(&query);
        let mut wanted = Wanted::new(&query, &order, None, 20);
        let reaches_to = |wanted: &Wanted<'_>| match Plan::choose(wanted, &sample) {
            Plan { until: Some(CursorKey::Number(until)), .. } => until,
            plan => panic!("{plan:?}"),
        };
        // The sample has it in one of 500 products, and more than 21 are looked for.
        assert!((20_000..40_000).contains(&reaches_to(&wanted)), "{}", reaches_to(&wanted));
        // Of 100,000 products, one in 5,000 had it, and a few more than one are looked for.
        let at = ProductCursor { keys: vec![CursorKey::Number(100_000)], is_before: true };
        wanted.go_on(at, 19);
        assert!((110_000..150_000).contains(&reaches_to(&wanted)), "{}", reaches_to(&wanted));
        assert!((102_000..105_000).contains(&reaches_to(&Wanted { found: None, ..wanted })));
    }

    #[test]
    fn an_earlier_search_tells_how_rare_a_word_is() {
        let (query, sample) = (search(&["lamp"], &[]), spread("ANOTHER", 2));
        let order = Order::of(&query);
        let mut wanted = Wanted::new(&query, &order, None, 20);
        assert!(!looked_up(&Plan::choose(&wanted, &sample)).is_empty());
        let lessons = Lessons::default();
        let next = ProductCursor { keys: vec![CursorKey::Number(40_000)], is_before: true };
        lessons.learn(&wanted, &sample, 20, Some(&next));
        let of = |query: &ProductQuery| lessons.of(&Wanted::new(query, &Order::of(query), None, 20));
        let mut reaches_to = |lesson: Option<Lesson>| {
            wanted.lesson = lesson;
            let plan = Plan::choose(&wanted, &sample);
            let Some(CursorKey::Number(until)) = plan.until else { panic!("{plan:?}") };
            until
        };
        // Of the words, when they are asked for in another order.
        let lesson = of(&search(&["Lamp"], &BY_NAME)).unwrap();
        assert!((1_800..2_000).contains(&lesson.per_hit) && lesson.first == 0, "{lesson:?}");
        let until = reaches_to(Some(lesson));
        assert!((80_000..110_000).contains(&until), "{until}");
        // And where this very page ended, a little behind which the next one is.
        let lesson = of(&query).unwrap();
        assert_eq!(lesson.first, 20);
        let until = reaches_to(Some(lesson));
        assert!((50_000..60_000).contains(&until), "{until}");
        // Whichever word is named first.
        let red = search(&["red", "lamp"], &[]);
        lessons.learn(&Wanted::new(&red, &order, None, 20), &sample, 20, Some(&next));
        assert_eq!(of(&search(&["Lamp", "Red"], &[])), Some(lesson));
        // Of other words, and of these with something else, it tells nothing.
        assert_eq!(of(&search(&["lamp", "blue"], &[])), None);
        assert_eq!(of(&ProductQuery { in_stock: true, ..query.clone() }), None);
    }

    #[test]
    fn two_of_the_sample_make_no_common_word_of_one_that_is_known_to_be_rare() {
        let (query, sample) = (search(&["lamp"], &[]), spread("LAMP", SAMPLED / 2));
        let order = Order::of(&query);
        let mut wanted = Wanted::new(&query, &order, None, 20);
        // Of a thousand, the page is rather looked for among the first tens of thousands of products.
        assert!(Plan::choose(&wanted, &sample).until.is_some());
        wanted.lesson = Some(Lesson { per_hit: 4_000, first: 0 });
        assert!(!looked_up(&Plan::choose(&wanted, &sample)).is_empty());
    }

    #[test]
    fn what_is_far_away_is_not_walked_to() {
        let late =
            sample(|n| SampleRow { name: format!("{n:05}"), ..row(if n > 1_990 { "LAMP" } else { "" }) });
        let plan = best(&late, &search(&["lamp"], &BY_NAME), None);
        assert!(!looked_up(&plan).is_empty());
    }

    #[test]
    fn the_keys_are_asked_for_that_leave_the_fewest() {
        let never = sample(|n| row(if n % 2 == 0 { "ALPHA" } else { "OMEGA" }));
        let plan = best(&never, &search(&["alpha", "omega"], &BY_NAME), None);
        assert!(plan.is_in_order(), "a million entries are too many: {plan:?}");
        // One of each word is enough, whatever else they have.
        let rarely = sample(|n| row(if n % 20 == 0 { "ALPHA" } else { "OMEGA" }));
        let plan = best(&rarely, &search(&["alpha", "omega"], &BY_NAME), None);
        assert!(matches!(looked_up(&plan)[..], ["alp" | "lph" | "pha", "ome" | "meg" | "ega"]), "{plan:?}");
        // The rare one alone where few have it.
        let plan = best(&spread("ALPHA ZYXWV", 1_000), &search(&["a", "zyxwv"], &BY_NAME), None);
        assert!(looked_up(&plan).iter().all(|letters| "zyxwv".contains(letters)), "{plan:?}");
        // Of one word, what other words do not have; or two that only this one has both of.
        let texts = ["HANDLE", "PANTHER", "STAND", "ANOTHER", "ANOTHER"];
        let others = sample(|n| row(if n == 1_000 { "PANDA" } else { texts[n as usize % 5] }));
        let plan = best(&others, &search(&["panda"], &BY_NAME), None);
        assert_eq!(looked_up(&plan), ["nda"]);
        let both = sample(|n| match n % 40 {
            _ if n == 1_000 => row("PANDA"),
            7 => row("PANTHER"),
            8 => row("STAND AGENDA"),
            _ => row("ANOTHER"),
        });
        let plan = best(&both, &search(&["panda"], &BY_NAME), None);
        assert_eq!(looked_up(&plan).len(), 2, "{plan:?}");
    }

    #[test]
    fn a_category_is_looked_up_beside_a_word_where_it_leaves_fewer() {
        let of = |word: &'static str, category| {
            let categories = vec![CategoryId(category)];
            ProductQuery { categories, ..search(&[word], &BY_NAME) }
        };
        let uneven =
            sample(|n| SampleRow { category: n % 25, ..row(if n % 40 == 3 { "LAMP" } else { "RARE" }) });
        let plan = best(&uneven, &of("lamp", 7), None);
        assert!(matches!(&plan.source, Source::Words(_, true)), "{plan:?}");
        let plan = best(&uneven, &of("nothing", 7), None);
        assert!(matches!(&plan.source, Source::Words(_, false)), "{plan:?}");
    }

    #[test]
    fn letters_are_walked_to_and_unusual_characters_looked_up() {
        let plan = best(&spread("ZZ 50%", 1_000), &search(&["zz"], &[]), None);
        assert_eq!(plan.source, Source::Products(None));
        let plan = best(&spread("ZZ 50%", 1_000), &search(&["%"], &[]), None);
        assert_eq!(plan.source, Source::Symbols);
    }

    #[test]
    fn the_narrowest_condition_leads() {
        let uneven = sample(|n| SampleRow {
            category: if n % 500 == 1 { 2 } else { 1 },
            price: n,
            quantity: i64::from(n % 700 == 1),
            ..row("")
        });
        let plain = ProductQuery { ordering: BY_NAME.to_vec(), ..ProductQuery::default() };
        let cents = |cents: i64| Some(Money::from_cents(cents));
        let in_stock = ProductQuery { in_stock: true, ..plain.clone() };
        assert_eq!(best(&uneven, &in_stock, None).source, Source::InStock);
        let cheap = ProductQuery { max_price: cents(3), ..plain.clone() };
        assert_eq!(best(&uneven, &cheap, None).source, Source::Prices);
        let most = ProductQuery { min_price: cents(3), ..plain };
        assert_eq!(best(&uneven, &most, None).source, Source::Products(None));
        for (category, source) in [(1, Source::Stock), (2, Source::Categories)] {
            let categories = vec![CategoryId(category)];
            let by_stock =
                ProductQuery { categories, ordering: BY_STOCK.to_vec(), ..ProductQuery::default() };
            assert_eq!(best(&uneven, &by_stock, None).source, source, "category {category}");
        }
    }

    #[test]
    fn among_a_multitude_of_equals_the_next_column_leads() {
        let ordering = [(Column::Price, Direction::Ascending), (Column::Name, Direction::Ascending)];
        let query = search(&[], &ordering);
        let keys = vec![CursorKey::Number(100), CursorKey::Text("00100".to_owned()), CursorKey::Number(1)];
        let start = Some(ProductCursor { keys, is_before: false });
        let equal = sample(|n| SampleRow { name: format!("{n:05}"), ..row("") });
        assert_eq!(best(&equal, &query, start.clone()).level, 1);
        // Nobody knows yet where they begin: the first row tells.
        assert_eq!(best(&equal, &query, None).budget, 1);
        let different = sample(|n| SampleRow { price: n, ..row("") });
        let plan = best(&different, &query, start);
        assert!(plan.level == 0 && plan.budget > 1, "{plan:?}");
    }

    #[test]
    fn an_empty_sample_misleads_nobody() {
        let nothing = Sample::new(Vec::new(), 0, -1);
        for query in [search(&["lamp"], &BY_NAME), search(&["%"], &[]), search(&[], &BY_STOCK)] {
            let plan = best(&nothing, &query, None);
            assert!(plan.budget > 1, "{plan:?}");
        }
    }
}
