//! The scenario `catalog`: every way to read the catalogue, each measured for itself.
//!
//! A single client asks for one thing after the other, so that a figure tells what its own kind of
//! request takes and not what it waited for. A second shop can be asked in turns with the first one, so
//! that what disturbs the machine disturbs both alike. The words of searches are chosen by how many names have
//! them, in shares of the catalogue, so that catalogues of different sizes are asked alike.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

use super::books::next_page;
use super::browse::urlencode;
use super::client::{Client, Request, Target};
use super::drive::{Plan, Visitor, drive};
use super::options::{LoadArgs, OutputArgs};
use super::recorder::Outcome;
use super::report::Report;
use super::session::{Ask, Session, judge};
use super::stage::StageError;
use super::usage::Meter;

/// What is measured.
const KINDS: [&str; 31] = [
    "read",
    "first page",
    "page in the middle",
    "last page",
    "by price",
    "by -price",
    "by stock",
    "by -stock",
    "by name",
    "by -name",
    "by created_at",
    "by -created_at",
    "by price, name",
    "category",
    "several categories",
    "one price",
    "in stock",
    "category by price",
    "category in stock by -created_at",
    "category by -stock",
    "search, common word",
    "search, middling word",
    "search, rare word",
    "search, no such word",
    "search, one letter",
    "search, two letters",
    "search, common and rare word",
    "search, two common words",
    ANY_SEARCH,
    "search, common word by price",
    "search, common word in a category",
];
/// The searches before it, each about as often as the others: what somebody meets who searches for this and that.
const ANY_SEARCH: &str = "search, any of these";
/// Different requests of a kind, at most.
const VARIANTS: usize = 50;
/// Words with fewer letters are not searched for.
const WORD_CHARS_MIN: usize = 4;

/// Read the catalogue in every way there is, and tell how long each takes
///
/// Reads the whole list of products first. A shop that keeps answers must be told not to
/// (EMPORIUM_CATALOG__CACHE_BYTES=0), or most of what is measured is its memory. Exit code 0: every
/// answer was the one asked for; 1: not so; 2: no verdict.
#[derive(Clone, Debug, clap::Args)]
pub struct CatalogArgs {
    /// The shop, as http://host:port; may be one node or a load balancer
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: Target,
    /// Another shop, which is asked in turns with the first; its figures are those "beside"
    #[arg(long, value_name = "URL")]
    beside: Option<Target>,
    #[command(flatten)]
    load: LoadArgs,
}

impl CatalogArgs {
    /// Where results go.
    pub(crate) fn output(&self) -> &OutputArgs {
        &self.load.output
    }
}

/// A product as far as it matters here.
#[derive(Deserialize)]
struct Shown {
    id: i64,
    name: String,
    category: i64,
    price: String,
}

/// What the catalogue consists of.
struct Survey {
    products: usize,
    ids: Vec<i64>,
    prices: Vec<String>,
    categories: Vec<i64>,
    /// How many names have each word.
    words: HashMap<String, usize>,
    /// Where pages of the plain list begin, one in a thousand products.
    cursors: Vec<String>,
}

/// Paths to ask for, by kind.
struct Paths(Vec<Vec<String>>);

/// Plays the scenario.
pub(crate) async fn catalog(args: &CatalogArgs) -> Result<Report, StageError> {
    let (mut kinds, mut products, mut shops) = (Vec::new(), Vec::new(), Vec::new());
    for (target, suffix) in [(Some(&args.url), ""), (args.beside.as_ref(), ", beside")] {
        let Some(target) = target else { continue };
        let survey = Survey::make(target).await?;
        kinds.extend(KINDS.map(|kind| format!("{kind}{suffix}")));
        products.push(survey.products.to_string());
        shops.push((target, Rc::new(survey.paths(&mut SmallRng::seed_from_u64(1)))));
    }
    let settings = vec![("products", products.join(", ")), ("load", args.load.loop_in_words())];
    let visitors = (0..args.load.clients).map(|client| {
        let ways = |(target, paths): &(&Target, Rc<Paths>)| Ways {
            paths: paths.clone(),
            session: Session::new(target, args.load.timeout),
        };
        let random = SmallRng::seed_from_u64(u64::from(client));
        Asker { shops: shops.iter().map(ways).collect(), random, next: 0 }
    });
    let plan = Plan { pace: args.load.pace(None), in_rounds: false };
    let meter = Meter::begin(args.load.watch_pid);
    let figures = drive(plan, &kinds, visitors.collect()).await?;
    let mut report = Report::new("catalog", settings, figures, meter.end());
    report.allow_failures = args.load.allow_failures;
    Ok(report)
}

impl Survey {
    async fn make(target: &Target) -> Result<Self, StageError> {
        let mut client = Client::new(target.clone());
        let mut survey = Self {
            products: 0,
            ids: Vec::new(),
            prices: Vec::new(),
            categories: Vec::new(),
            words: HashMap::new(),
            cursors: Vec::new(),
        };
        let mut next = Some("/api/products/?page_size=1000".to_owned());
        while let Some(path) = next {
            let answer = client.send(&Request::get(path)).await?;
            if answer.status != 200 {
                return Err(answer.unexpected("cannot read the product list").into());
            }
            survey.add(answer.json()?);
            next = answer.header("link").and_then(next_page);
            survey.cursors.extend(next.iter().filter_map(|path| cursor_in(path)));
        }
        if survey.products == 0 {
            return Err(StageError::Arguments("the shop has no products; import some first".to_owned()));
        }
        survey.categories.sort_unstable();
        survey.categories.dedup();
        Ok(survey)
    }

    fn add(&mut self, page: Vec<Shown>) {
        self.products += page.len();
        for shown in page {
            // Enough to draw from.
            if shown.id % 7 == 0 || self.ids.len() < VARIANTS {
                self.ids.push(shown.id);
                self.prices.push(shown.price);
            }
            if !self.categories.ends_with(&[shown.category]) {
                self.categories.push(shown.category);
            }
            let words: HashSet<String> = shown.name.to_lowercase().split(' ').map(str::to_owned).collect();
            let plain =
                |word: &String| word.len() >= WORD_CHARS_MIN && word.chars().all(|c| c.is_ascii_alphabetic());
            for word in words.into_iter().filter(plain) {
                *self.words.entry(word).or_default() += 1;
            }
        }
        // What a long list of categories repeats is not needed twice.
        if self.categories.len() > 100_000 {
            self.categories.sort_unstable();
            self.categories.dedup();
        }
    }

    /// Words of which so many in a hundred thousand names have each, the nearest to that first.
    fn words(&self, least: usize, most: usize) -> Vec<&str> {
        let share = |count: usize| count.saturating_mul(100_000) / self.products;
        let mut words: Vec<(&str, usize)> =
            self.words.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        words.retain(|(_, count)| (least..=most).contains(&share(*count)));
        words.sort_unstable();
        words.into_iter().map(|(word, _)| word).collect()
    }

    /// Words that only a handful of names have.
    fn rare_words(&self) -> Vec<&str> {
        let mut words: Vec<(usize, &str)> =
            self.words.iter().map(|(word, count)| (*count, word.as_str())).collect();
        words.sort_unstable();
        words.into_iter().map(|(_, word)| word).take(VARIANTS).collect()
    }

    fn paths(&self, random: &mut SmallRng) -> Paths {
        let (common, middling, rare) = (self.words(1_000, 20_000), self.words(100, 400), self.rare_words());
        let mut paths: Vec<Vec<String>> = Vec::with_capacity(KINDS.len());
        for kind in KINDS {
            if kind == ANY_SEARCH {
                let searches = KINDS.iter().zip(&paths).filter(|(kind, _)| kind.starts_with("search, "));
                paths.push(searches.flat_map(|(_, variants)| variants).cloned().collect());
                continue;
            }
            let mut one = || self.path(kind, [&common, &middling, &rare], random);
            let mut variants: Vec<String> = (0..VARIANTS).filter_map(|_| one()).collect();
            variants.dedup();
            paths.push(variants);
        }
        Paths(paths)
    }

    /// A request of this kind; `None` where the catalogue has nothing to ask for.
    fn path(
        &self,
        kind: &str,
        [common, middling, rare]: [&[&str]; 3],
        random: &mut SmallRng,
    ) -> Option<String> {
        let query = match kind {
            "read" => return Some(format!("/api/products/{}/", self.ids.choose(random)?)),
            "first page" => String::new(),
            "page in the middle" => format!("&cursor={}", self.cursors.get(self.cursors.len() / 2)?),
            "last page" => format!("&cursor={}", self.cursors.last()?),
            "by price, name" => "&ordering=price,name".to_owned(),
            "category" => format!("&category={}", self.category(random)?),
            "several categories" => {
                let some: Vec<String> = (0..4).filter_map(|_| self.category(random)).collect();
                format!("&category={}", some.join(","))
            }
            "one price" => {
                let price = self.prices.choose(random)?;
                format!("&min_price={price}&max_price={price}")
            }
            "in stock" => "&in_stock=true".to_owned(),
            "category by price" => format!("&category={}&ordering=price", self.category(random)?),
            "category in stock by -created_at" => {
                format!("&category={}&in_stock=true&ordering=-created_at", self.category(random)?)
            }
            "category by -stock" => format!("&category={}&ordering=-stock", self.category(random)?),
            "search, common word" => format!("&search={}", common.choose(random)?),
            "search, middling word" => format!("&search={}", middling.choose(random)?),
            "search, rare word" => format!("&search={}", rare.choose(random)?),
            "search, no such word" => format!("&search=xq{}zv", random.random_range(1_000_000..9_999_999)),
            "search, one letter" => format!("&search={}", letters(1, random)),
            "search, two letters" => {
                let word = common.choose(random)?;
                format!("&search={}", &word[..2])
            }
            "search, common and rare word" => {
                format!("&search={}+{}", common.choose(random)?, rare.choose(random)?)
            }
            "search, two common words" => {
                format!("&search={}+{}", common.choose(random)?, common.choose(random)?)
            }
            "search, common word by price" => format!("&search={}&ordering=price", common.choose(random)?),
            "search, common word in a category" => {
                format!("&search={}&category={}", common.choose(random)?, self.category(random)?)
            }
            by => format!("&ordering={}", urlencode(by.trim_start_matches("by "))),
        };
        Some(format!("/api/products/?page_size=20{query}"))
    }

    fn category(&self, random: &mut SmallRng) -> Option<String> {
        self.categories.choose(random).map(ToString::to_string)
    }
}

fn letters(count: usize, random: &mut SmallRng) -> String {
    (0..count).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
}

fn cursor_in(path: &str) -> Option<String> {
    path.split('&').find_map(|part| part.strip_prefix("cursor=")).map(str::to_owned)
}

/// A connection to a shop, and what to ask for there.
struct Ways {
    paths: Rc<Paths>,
    session: Session,
}

/// A client that asks for every kind in turn, in one shop after the other.
struct Asker {
    shops: Vec<Ways>,
    random: SmallRng,
    next: usize,
}

impl Visitor for Asker {
    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn act(&mut self) -> (usize, Outcome) {
        // There is always a product, and so something to read.
        let (mut kind, mut shop) = self.advance();
        while self.shops[shop].paths.0[kind].is_empty() {
            (kind, shop) = self.advance();
        }
        let Ways { paths, session } = &mut self.shops[shop];
        let path = paths.0[kind].choose(&mut self.random).map_or("/", String::as_str);
        let begins = if path.contains('?') { "[" } else { "{\"id\":" };
        let reply = session.send_anonymously(Ask::get(path)).await;
        let outcome = match (judge(&reply, 200), &reply) {
            (Outcome::Done, Ok(reply)) if !reply.body.starts_with(begins.as_bytes()) => {
                Outcome::Failed(format!("another answer than asked for: {}", reply.excerpt()))
            }
            (outcome, _) => outcome,
        };
        (shop * KINDS.len() + kind, outcome)
    }
}

impl Asker {
    /// The kind and the shop that are next.
    fn advance(&mut self) -> (usize, usize) {
        let next = self.next;
        self.next = (next + 1) % (KINDS.len() * self.shops.len());
        (next / self.shops.len(), next % self.shops.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(products: usize) -> Survey {
        let words = ["lamp", "lantern", "rarity", "set", "50%"];
        let name = |n: usize| format!("{} {}", words[n % 2], if n == 0 { "Rarity 50%" } else { "Set" });
        let mut survey = Survey {
            products: 0,
            ids: Vec::new(),
            prices: Vec::new(),
            categories: Vec::new(),
            words: HashMap::new(),
            cursors: vec!["abc".to_owned()],
        };
        let shown = |n: usize| Shown { id: 1, name: name(n), category: 3, price: "1.50".to_owned() };
        survey.add((0..products).map(shown).collect());
        survey
    }

    #[test]
    fn every_kind_can_be_asked_for_and_http_can_carry_it() {
        let Paths(paths) = survey(100).paths(&mut SmallRng::seed_from_u64(1));
        for (kind, paths) in KINDS.iter().zip(paths) {
            let is_odd = ["search, common word", "search, middling word"].contains(kind);
            assert!(!paths.is_empty() || is_odd || kind.contains("common"), "{kind}");
            assert!(paths.iter().all(|path| path.parse::<hyper::Uri>().is_ok()), "{kind}: {paths:?}");
        }
    }

    #[test]
    fn words_are_told_apart_by_their_share_of_the_names() {
        let survey = survey(1_000);
        assert_eq!(survey.words(40_000, 60_000), ["lamp", "lantern"]);
        assert_eq!(survey.rare_words()[0], "rarity");
    }
}
