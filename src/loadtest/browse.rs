//! The scenario `browse`: product reads and lists, by nobody in particular.

use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

use super::books::next_page;
use super::client::{Client, ClientError, Request, Target};
use super::drive::{Plan, Visitor, drive};
use super::options::{LoadArgs, OutputArgs};
use super::popularity::Popularity;
use super::recorder::Outcome;
use super::report::Report;
use super::session::{Ask, Session, judge};
use super::stage::StageError;
use super::usage::Meter;

/// The most products that are read.
const PRODUCTS_MAX: usize = 20_000;
/// Different lists that are asked for.
const LISTS: usize = 200;

/// Read products and lists, signed in as nobody
///
/// Reads the shop as it is and changes nothing. Exit code 0: every answer was the one asked for; 1: not
/// so; 2: no verdict.
#[derive(Clone, Debug, clap::Args)]
pub struct BrowseArgs {
    /// The shop, as http://host:port; may be one node or a load balancer
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: Target,
    /// How many of a hundred requests are lists (pages of 20, filtered, searched, sorted); the others
    /// read single products
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    lists: u8,
    /// Read only the first so many products
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    products: Option<u32>,
    /// The k-th product is read 1/k^EXPONENT as often as the first (Zipf); 0 is evenly
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.8)]
    zipf: f64,
    /// Only ask for this path, again and again, of any HTTP server; no idea what the answer should be
    /// but 200
    #[arg(long, value_name = "PATH", conflicts_with_all = ["lists", "products", "zipf"])]
    path: Option<String>,
    #[command(flatten)]
    load: LoadArgs,
}

/// A product as far as it matters to find it.
#[derive(Deserialize)]
struct Shown {
    id: i64,
    name: String,
    category: i64,
}

/// One request, and what its answer begins with.
struct Page {
    path: String,
    begins: String,
}

/// Everything that may be asked for.
struct Pages {
    products: Vec<Page>,
    popularity: Popularity,
    lists: Vec<Page>,
    lists_percent: u8,
}

impl BrowseArgs {
    /// Where results go.
    pub(crate) fn output(&self) -> &OutputArgs {
        &self.load.output
    }
}

/// Plays the scenario.
pub(crate) async fn browse(args: &BrowseArgs) -> Result<Report, StageError> {
    let pages = Rc::new(args.pages().await?);
    let settings = vec![
        ("products", pages.products.len().to_string()),
        ("lists", format!("{} of 100 requests", pages.lists_percent)),
        ("load", args.load.loop_in_words()),
    ];
    let visitors = (0..args.load.clients).map(|_| Reader {
        pages: pages.clone(),
        session: Session::new(&args.url, args.load.timeout),
        random: SmallRng::seed_from_u64(rand::random()),
    });
    let plan = Plan { pace: args.load.pace(None), in_rounds: false };
    let meter = Meter::begin(args.load.watch_pid);
    let figures = drive(plan, &["product", "list"], visitors.collect()).await?;
    let mut report = Report::new("browse", settings, figures, meter.end());
    report.allow_failures = args.load.allow_failures;
    Ok(report)
}

impl BrowseArgs {
    async fn pages(&self) -> Result<Pages, StageError> {
        if let Some(path) = &self.path {
            if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(StageError::Arguments(
                    "--path is no path: it begins with / and has no blanks".to_owned(),
                ));
            }
            let page = Page { path: path.clone(), begins: String::new() };
            let popularity = Popularity::by_weight(&[1.0]);
            return Ok(Pages { products: vec![page], popularity, lists: Vec::new(), lists_percent: 0 });
        }
        if !self.zipf.is_finite() || self.zipf < 0.0 {
            return Err(StageError::Arguments("--zipf must be a number from 0".to_owned()));
        }
        let most = self.products.map_or(PRODUCTS_MAX, |most| most as usize);
        let shown = products(&self.url, most.min(PRODUCTS_MAX)).await?;
        if shown.is_empty() {
            return Err(StageError::Arguments("the shop has no products; import some first".to_owned()));
        }
        let product = |shown: &Shown| Page {
            path: format!("/api/products/{}/", shown.id),
            begins: format!("{{\"id\":{},", shown.id),
        };
        Ok(Pages {
            products: shown.iter().map(product).collect(),
            popularity: Popularity::zipf(shown.len(), self.zipf),
            lists: lists(&shown, &mut SmallRng::seed_from_u64(1)),
            lists_percent: self.lists,
        })
    }
}

/// The first products of the shop.
async fn products(target: &Target, most: usize) -> Result<Vec<Shown>, ClientError> {
    let mut client = Client::new(target.clone());
    let mut shown: Vec<Shown> = Vec::new();
    let mut next = Some("/api/products/?page_size=1000".to_owned());
    while let Some(path) = next.filter(|_| shown.len() < most) {
        let answer = client.send(&Request::get(path)).await?;
        if answer.status != 200 {
            return Err(answer.unexpected("cannot read the product list"));
        }
        let page: Vec<Shown> = answer.json()?;
        next = answer.header("link").and_then(next_page).filter(|_| !page.is_empty());
        shown.extend(page);
    }
    shown.truncate(most);
    Ok(shown)
}

/// Lists as shoppers ask for them: the front page, a category, a word, the cheapest, what is there.
fn lists(shown: &[Shown], random: &mut SmallRng) -> Vec<Page> {
    let mut list = |n: usize| {
        let like = &shown[random.random_range(0..shown.len())];
        let word: String = like.name.split(' ').next().unwrap_or("a").chars().take(20).collect();
        let query = match n % 5 {
            0 => String::new(),
            1 => format!("&category={}", like.category),
            2 => format!("&search={}", urlencode(&word)),
            3 => format!("&category={}&ordering=price", like.category),
            _ => format!("&category={}&in_stock=true&ordering=-created_at", like.category),
        };
        Page { path: format!("/api/products/?page_size=20{query}"), begins: "[".to_owned() }
    };
    (0..LISTS).map(&mut list).collect()
}

/// Text as a query may hold it.
pub(super) fn urlencode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A connection that reads.
struct Reader {
    pages: Rc<Pages>,
    session: Session,
    random: SmallRng,
}

impl Visitor for Reader {
    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn act(&mut self) -> (usize, Outcome) {
        let pages = &self.pages;
        let is_list = pages.lists_percent > 0 && self.random.random_range(0..100) < pages.lists_percent;
        let page = match is_list {
            true => &pages.lists[self.random.random_range(0..pages.lists.len())],
            false => &pages.products[pages.popularity.draw(&mut self.random)],
        };
        let reply = self.session.send_anonymously(Ask::get(&page.path)).await;
        let outcome = match (judge(&reply, 200), &reply) {
            (Outcome::Done, Ok(reply)) if !reply.body.starts_with(page.begins.as_bytes()) => {
                Outcome::Failed(format!("another answer than asked for: {}", reply.excerpt()))
            }
            (outcome, _) => outcome,
        };
        (usize::from(is_list), outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_paths_that_http_can_carry() {
        let shown = [Shown { id: 1, name: "Ünder 50% \"x\"".to_owned(), category: 3 }];
        for list in lists(&shown, &mut SmallRng::seed_from_u64(1)) {
            assert!(list.path.parse::<hyper::Uri>().is_ok(), "{}", list.path);
        }
    }
}
