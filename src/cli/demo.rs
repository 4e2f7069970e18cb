//! `emporium demo`: a catalogue of any size, grown from a real one.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::{Buf, BytesMut};
use emporium_actors::import::{ExportRow, ImportId, ImportRequest};
use emporium_actors::types::{Money, ProductId};
use serde::Deserialize;

use super::connection::connected;
use super::import::{self, Source};
use super::{CliError, export};
use crate::product_file::{Format, Writer};
use crate::settings::Settings;

/// The catalogue that others grow from.
const REAL: &str = include_str!("../../config/demo/online-retail/products.csv");
/// The longest name that is made, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Products that are made at once.
const AT_ONCE: u64 = 256;

/// Fill the shop with a believable catalogue of any size, for load tests
///
/// The first 3,782 products are those of a real shop (config/demo/online-retail), each further one has
/// price, category and stock of one of them, so that these are spread as they are there; its name is put
/// together from words that follow each other in the names of its category. The same seed gives the same
/// catalogue.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many products
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    products: u64,
    /// What the catalogue is drawn by
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the catalogue to this file instead, as CSV; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<ExitCode, CliError> {
    let mut catalogue = Grown::new(args.products, args.seed).map_err(CliError::Demo)?;
    if let Some(file) = &args.out {
        let mut out = export::create(file)?;
        io::copy(&mut catalogue, &mut out).and_then(|_| out.flush()).map_err(CliError::Write)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = "the demo catalogue".to_owned();
    let source =
        Source { name: name.clone(), format: Format::Csv, bytes: None, content: Box::new(catalogue) };
    let request = ImportRequest { id: ImportId::Fresh, by: None, is_dry_run: false };
    connected(settings, async |connection| {
        let shop = connection.shop(settings).await?;
        let outcome = import::bring_in(&shop, source, request, settings.http.import_bytes_max).await;
        shop.stop().await;
        Ok(import::tell(&name, &outcome?, false))
    })
    .await
}

/// A product of the real catalogue.
#[derive(Clone, Debug, Deserialize)]
struct Real {
    sku: String,
    name: String,
    description: String,
    category: String,
    price: String,
    stock: i64,
}

/// A catalogue that is made while it is read.
struct Grown {
    real: Vec<Real>,
    names: Names,
    random: SplitMix,
    made: u64,
    count: u64,
    ready: BytesMut,
}

impl Grown {
    fn new(count: u64, seed: u64) -> Result<Self, csv::Error> {
        let mut real: Vec<Real> =
            csv::Reader::from_reader(REAL.as_bytes()).deserialize().collect::<Result<_, _>>()?;
        let names = Names::of(&real);
        let mut random = SplitMix(seed);
        // So that the first N, too, are spread as all are (R. Durstenfeld, CACM 7(7), 1964).
        for last in (1..real.len()).rev() {
            real.swap(last, random.below(last + 1));
        }
        let mut ready = BytesMut::new();
        Writer::new(Format::Csv).begin(&mut ready);
        Ok(Self { real, names, random, made: 0, count, ready })
    }

    fn make(&mut self) {
        let round = self.made / self.real.len() as u64;
        let place = usize::try_from(self.made % self.real.len() as u64).unwrap_or_default();
        let Real { sku, name, description, category, price, stock } = &self.real[place];
        let is_real = round == 0;
        let product = ExportRow {
            id: ProductId(0),
            sku: Some(if is_real { sku.clone() } else { format!("{sku}-{round}") }),
            name: if is_real { name.clone() } else { self.names.make(category, &mut self.random) },
            description: Some(description.clone()).filter(|_| is_real),
            category: category.clone(),
            price: Money::from_cents(price.replace('.', "").parse().unwrap_or_default()),
            stock: *stock,
        };
        Writer::new(Format::Csv).product(&product, &mut self.ready);
        self.made += 1;
    }
}

impl Read for Grown {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            for _ in self.made..self.count.min(self.made + AT_ONCE) {
                self.make();
            }
        }
        let length = self.ready.len().min(buffer.len());
        self.ready.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Which words follow which in the names of a category: a Markov chain of the first order.
struct Names {
    /// By category and word, none before the first one, what follows; none behind the last one.
    followers: HashMap<(String, Option<String>), Vec<Option<String>>>,
}

impl Names {
    fn of(real: &[Real]) -> Self {
        let mut followers: HashMap<_, Vec<_>> = HashMap::new();
        for Real { name, category, .. } in real {
            let mut word = None;
            for next in name.split_whitespace().map(|next| Some(next.to_owned())).chain([None]) {
                followers.entry((category.clone(), word)).or_default().push(next.clone());
                word = next;
            }
        }
        Self { followers }
    }

    /// A name as they are in this category.
    fn make(&self, category: &str, random: &mut SplitMix) -> String {
        let mut name = String::new();
        let mut place = (category.to_owned(), None);
        while let Some(followers) = self.followers.get(&place) {
            let Some(word) = &followers[random.below(followers.len())] else { break };
            if name.len() + 1 + word.len() > NAME_BYTES_MAX {
                break;
            }
            if !name.is_empty() {
                name.push(' ');
            }
            name.push_str(word);
            place.1 = Some(word.clone());
        }
        name
    }
}

/// Random numbers that are the same everywhere and always (G. L. Steele et al., "Fast Splittable
/// Pseudorandom Number Generators", OOPSLA 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of the numbers below `count`, which is not 0.
    fn below(&mut self, count: usize) -> usize {
        let product = u128::from(self.next()) * count as u128;
        usize::try_from(product >> 64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    fn grown(count: u64, seed: u64) -> String {
        let mut text = String::new();
        Grown::new(count, seed).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn products(text: &str) -> Vec<Real> {
        csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
    }

    #[test]
    fn a_catalogue_is_as_large_as_asked_for_and_no_sku_is_there_twice() {
        for count in [1, 10, 3782, 3783, 20_000] {
            let products = products(&grown(count, 1));
            let skus: HashSet<&str> = products.iter().map(|product| product.sku.as_str()).collect();
            assert_eq!((products.len() as u64, skus.len() as u64), (count, count));
            let named = |product: &Real| (1..=100).contains(&product.name.chars().count());
            assert!(products.iter().all(named));
        }
    }

    #[test]
    fn prices_categories_and_stocks_are_spread_as_in_the_real_one() {
        let spread = |products: &[Real], times: usize| {
            let mut counts: BTreeMap<(String, String, i64), usize> = BTreeMap::new();
            for Real { category, price, stock, .. } in products {
                *counts.entry((category.clone(), price.clone(), *stock)).or_default() += times;
            }
            counts
        };
        let real = products(REAL);
        let names: HashSet<&str> = real.iter().map(|product| product.name.as_str()).collect();
        let grown = products(&grown(3 * real.len() as u64, 7));
        assert_eq!(spread(&grown, 1), spread(&real, 3));
        let new = grown[real.len()..].iter().filter(|product| !names.contains(product.name.as_str()));
        assert!(new.count() > real.len(), "most names are new");
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(grown(5000, 1), grown(5000, 1));
        assert_ne!(grown(5000, 1), grown(5000, 2));
        // As the paper's own program gives them.
        let mut random = SplitMix(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }
}
