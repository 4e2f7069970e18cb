//! What is found, and in which order: the same as a plain comparison of every product would give.

use std::cell::Cell;
use std::cmp::Ordering;

use emporium_actors::catalog::{Column, Direction};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use time::OffsetDateTime;

use crate::catalog::{percent, walk};
use crate::harness::{Expect, Node, TestApp};

const CATEGORIES: i64 = 3;

/// A product of a random catalogue.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: i64,
    pub(crate) sku: Option<String>,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    cents: i64,
    category: i64,
    stock: i64,
    /// Microseconds since 2025 began.
    created_at: i64,
    pub(crate) is_deleted: bool,
}

/// What is asked of it. Words are parts of products, or anything.
#[derive(Clone, Debug)]
struct Question {
    words: Vec<Word>,
    ordering: Vec<(Column, Direction)>,
    categories: Vec<i64>,
    min_cents: Option<i64>,
    max_cents: Option<i64>,
    in_stock: bool,
    page_size: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// So many characters from there on of some product's text, in capitals, in small letters, or as
    /// they are.
    Of {
        product: Index,
        from: Index,
        chars: usize,
        case: u8,
    },
    Any(String),
}

/// Characters that are easy to get wrong: patterns, quotes, separators, accents, letters with odd
/// capitals, of other scripts, of four bytes.
fn text(chars: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let character = prop_oneof![
        12 => select("aAbBcCdDeEiIsS".chars().collect::<Vec<_>>()),
        3 => Just(' '),
        3 => select("012éÉèñÑßæœ".chars().collect::<Vec<_>>()),
        2 => select("жЖяσςΣΩı中文".chars().collect::<Vec<_>>()),
        2 => select("%_\\'\",;-+./()&$^*[]{}|?#€½™😀\u{301}\u{1f}".chars().collect::<Vec<_>>()),
    ];
    proptest::collection::vec(character, chars).prop_map(|chars| chars.into_iter().collect())
}

pub(crate) fn item() -> impl Strategy<Value = Item> {
    let ties = (select(vec![0_i64, 100, 100, 250, 99_999]), select(vec![0_i64, 0, 1, 7]), 0..4_i64);
    let texts = (text(1..20), proptest::option::of(text(0..40)), proptest::option::of(text(1..8)));
    (texts, ties, 1..=CATEGORIES, proptest::bool::weighted(0.1)).prop_map(
        |((name, description, sku), (cents, stock, created_at), category, is_deleted)| Item {
            id: 0,
            sku,
            name,
            description,
            cents,
            category,
            stock,
            created_at,
            is_deleted,
        },
    )
}

/// Parts of products, or anything.
pub(crate) fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        6 => (any::<Index>(), any::<Index>(), 1..6_usize, 0..3_u8)
            .prop_map(|(product, from, chars, case)| Word::Of { product, from, chars, case }),
        1 => text(1..4).prop_map(Word::Any),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let word = word();
    let direction = select(vec![Direction::Ascending, Direction::Descending]);
    let directions = proptest::collection::vec(direction, Column::ALL.len());
    let columns = subsequence(Column::ALL.to_vec(), 0..=3).prop_shuffle();
    let ordering = (columns, directions)
        .prop_map(|(columns, directions)| columns.into_iter().zip(directions).collect::<Vec<_>>());
    let categories = proptest::collection::vec(1..=CATEGORIES + 1, 0..3);
    let bound = || proptest::option::weighted(0.2, select(vec![0_i64, 100, 101, 250]));
    (
        proptest::collection::vec(word, 0..3),
        ordering,
        categories,
        bound(),
        bound(),
        proptest::bool::weighted(0.2),
        1..30_usize,
    )
        .prop_map(|(words, ordering, categories, min_cents, max_cents, in_stock, page_size)| Question {
            words,
            ordering,
            categories,
            min_cents,
            max_cents,
            in_stock,
            page_size,
        })
}

/// The search for these terms.
pub(crate) fn quoted(terms: &[String]) -> String {
    let quoted = |term: &String| format!("\"{}\"", term.replace('\\', "\\\\").replace('"', "\\\""));
    terms.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// As the database's `upper` has it: one letter for one letter.
pub(crate) fn fold(text: &str) -> String {
    let capital = |c: char| match c {
        '\u{1f}' => '\u{1e}',
        c => Some(c.to_uppercase()).filter(|all| all.len() == 1).and_then(|mut all| all.next()).unwrap_or(c),
    };
    text.chars().map(capital).collect()
}

impl Word {
    pub(crate) fn in_words(&self, items: &[Item]) -> String {
        let (product, from, chars, case) = match self {
            Self::Any(text) => return text.clone(),
            Self::Of { product, from, chars, case } => (product, from, *chars, *case),
        };
        let item = product.get(items);
        let texts: Vec<char> = [Some(&item.name), item.description.as_ref(), item.sku.as_ref()]
            .into_iter()
            .flatten()
            .flat_map(|t| t.chars())
            .collect();
        let from = from.index(texts.len());
        let part: String = texts.iter().skip(from).take(chars).collect();
        match case {
            0 => part.to_lowercase(),
            1 => part.to_uppercase(),
            _ => part,
        }
    }
}

impl Question {
    fn terms(&self, items: &[Item]) -> Vec<String> {
        self.words.iter().map(|word| word.in_words(items)).filter(|term| !term.is_empty()).collect()
    }

    fn path(&self, terms: &[String]) -> String {
        let search = quoted(terms);
        let ordering: Vec<String> = self
            .ordering
            .iter()
            .map(|(column, direction)| {
                let sign = if *direction == Direction::Descending { "-" } else { "" };
                format!("{sign}{}", column.as_str())
            })
            .collect();
        let mut query = format!("page_size={}&search={}", self.page_size, percent(&search));
        query.push_str(&format!("&ordering={}", ordering.join(",")));
        let ids: Vec<String> = self.categories.iter().map(ToString::to_string).collect();
        query.push_str(&format!("&category={}", ids.join(",")));
        for (name, cents) in [("min_price", self.min_cents), ("max_price", self.max_cents)] {
            query.extend(cents.map(|cents| format!("&{name}={}.{:02}", cents / 100, cents % 100)));
        }
        if self.in_stock {
            query.push_str("&in_stock=true");
        }
        format!("/api/products/?{query}")
    }

    /// Looks at every product, and sorts them all.
    fn naive(&self, items: &[Item], terms: &[String]) -> Vec<i64> {
        let mut found: Vec<&Item> = items.iter().filter(|item| self.fits(item, terms)).collect();
        found.sort_by(|a, b| self.compare(a, b));
        found.into_iter().map(|item| item.id).collect()
    }

    fn fits(&self, item: &Item, terms: &[String]) -> bool {
        let fields = [Some(&item.name), item.description.as_ref(), item.sku.as_ref()];
        let fields: Vec<String> = fields.into_iter().flatten().map(|field| fold(field)).collect();
        !item.is_deleted
            && terms.iter().all(|term| fields.iter().any(|field| field.contains(&fold(term))))
            && (self.categories.is_empty() || self.categories.contains(&item.category))
            && self.min_cents.is_none_or(|cents| item.cents >= cents)
            && self.max_cents.is_none_or(|cents| item.cents <= cents)
            && (!self.in_stock || item.stock > 0)
    }

    fn compare(&self, a: &Item, b: &Item) -> Ordering {
        let turn = |ordering: Ordering, direction| match direction {
            Direction::Ascending => ordering,
            Direction::Descending => ordering.reverse(),
        };
        let of_ties = self.ordering.first().map_or(Direction::Ascending, |(_, direction)| *direction);
        let by_columns = self.ordering.iter().map(|(column, direction)| {
            let ordering = match column {
                Column::Price => a.cents.cmp(&b.cents),
                Column::Stock => a.stock.cmp(&b.stock),
                Column::Name => fold(&a.name).cmp(&fold(&b.name)),
                Column::CreatedAt => a.created_at.cmp(&b.created_at),
                Column::Id => Ordering::Equal,
            };
            turn(ordering, *direction)
        });
        by_columns.fold(Ordering::Equal, Ordering::then).then(turn(a.id.cmp(&b.id), of_ties))
    }
}

/// Puts a catalogue into the database, behind the shop's back, in place of the one before.
pub(crate) async fn stock_up(app: &TestApp, items: &[Item]) {
    let client = app.database().client().await;
    client.batch_execute("TRUNCATE products, stock, stock_entries").await.unwrap();
    let begin = OffsetDateTime::from_unix_timestamp(1_735_689_600).unwrap();
    for item in items {
        let created_at = begin + time::Duration::microseconds(item.created_at);
        let sql = "INSERT INTO products
            (id, sku, name, description, price_cents, category_id, created_at, deleted_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN now() END)";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
            &item.id,
            &item.sku,
            &item.name,
            &item.description,
            &item.cents,
            &item.category,
            &created_at,
            &item.is_deleted,
        ];
        client.execute(sql, &values).await.unwrap();
        let sql = "INSERT INTO stock (product_id, quantity, listed) VALUES ($1, $2, NOT $3)";
        client.execute(sql, &[&item.id, &item.stock, &item.is_deleted]).await.unwrap();
    }
}

/// A shop without a cache, with the categories that items are in.
pub(crate) async fn shop_with_categories() -> TestApp {
    let app = TestApp::start_with(&[("EMPORIUM_CATALOG__CACHE_BYTES", "0")]).await;
    app.sql("INSERT INTO categories (name) SELECT 'category ' || n FROM generate_series(1, 3) AS n").await;
    app
}

async fn check(node: &Node, items: &[Item], question: &Question) -> Result<(), TestCaseError> {
    let terms = question.terms(items);
    let found = walk(node, &question.path(&terms)).await;
    prop_assert_eq!(found, question.naive(items, &terms), "{:?}: {}", terms, question.path(&terms));
    Ok(())
}

#[test]
fn lists_are_what_a_comparison_of_every_product_gives() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(shop_with_categories());
    let next_id = Cell::new(1);
    let run = |(mut items, questions): (Vec<Item>, Vec<Question>)| {
        for item in &mut items {
            // Skus are unique among what is not deleted.
            item.id = next_id.get();
            item.sku = item.sku.as_ref().map(|sku| format!("{sku}{}", item.id));
            next_id.set(item.id + 1 + item.cents);
        }
        runtime.block_on(async {
            stock_up(&app, &items).await;
            for question in &questions {
                check(&app, &items, question).await?;
            }
            Ok(())
        })
    };
    // A few seconds' worth; PROPTEST_CASES asks for more.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16);
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let catalogue = proptest::collection::vec(item(), 1..60);
    let questions = proptest::collection::vec(question(), 10);
    if let Err(failure) = TestRunner::new(config).run(&(catalogue, questions), run) {
        panic!("{failure}");
    }
    drop(app);
}

#[tokio::test]
async fn a_word_reaches_over_the_border_of_two_fields_by_no_trick() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let category = app.category(&staff, "all").await;
    let body = serde_json::json!({
        "name": "red", "description": "lamp", "sku": "x1", "price": "1.00", "category": category, "stock": 1
    });
    app.post_as(&staff, "/api/products/", &body).await.expect_status(201);
    for (words, found) in [
        ("red lamp x1", 1),
        ("redlamp", 0),
        ("\"red lamp\"", 0),
        ("\"red\u{1f}lamp\"", 0),
        ("\"red\u{1e}lamp\"", 0),
        ("\"lamp\u{1f}x1\"", 0),
        ("\"\u{1f}\"", 0),
        ("r%d", 0),
        ("l_mp", 0),
    ] {
        let path = format!("/api/products/?search={}", percent(words));
        let answer: Value = app.get(&path).await.expect_json(200);
        assert_eq!(answer.as_array().map(Vec::len), Some(found), "{words:?}");
    }
}
