//! Search that helps along: suggestions for what is being typed, the best first, and misspelled words.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use emporium::loadtest::client::Answer;
use emporium_actors::catalog::{LIST_ROWS_MAX, ProductQuery, RANKED_TOGETHER};
use emporium_actors::types::PageRequest;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::catalog::{percent, walk};
use crate::harness::{Body, Expect, Mismatches, Node, TestApp, User, eventually};
use crate::search::{Item, fold, item, quoted, shop_with_categories, stock_up, word};

/// What is suggested, by name.
async fn suggested(node: &Node, query: &str) -> Vec<String> {
    let answer: Value = node.get(&format!("/api/products/suggest/?{query}")).await.expect_json(200);
    let name = |entry: &Value| entry["name"].as_str().expect("a name").to_owned();
    answer.as_array().expect("a list").iter().map(name).collect()
}

/// A product of each name; their ids.
async fn add_names(app: &TestApp, staff: &User, names: &[&str]) -> Vec<i64> {
    let category = app.category(staff, "all").await;
    let mut ids = Vec::new();
    for name in names {
        ids.push(app.product_in(staff, category, name, "1.00", 1).await);
    }
    ids
}

fn next_of(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    Some(link.trim_start_matches('<').split('>').next().expect("a link").to_owned())
}

// What a comparison of every product would give.

fn has_word_beginning(text: &str, word: &str) -> bool {
    let before = |at: usize| text[..at].chars().next_back();
    text.char_indices().any(|(at, _)| {
        text[at..].starts_with(word) && before(at).is_none_or(|before| !before.is_alphanumeric())
    })
}

/// The names to suggest, with their products.
fn naive_suggestions(items: &[Item], typed: &str, limit: usize) -> Vec<(i64, String)> {
    let words: Vec<String> = fold(typed).split_whitespace().map(str::to_owned).collect();
    let Some(last) = words.last() else { return Vec::new() };
    let mut found: Vec<((u8, String, i64), String)> = Vec::new();
    for item in items.iter().filter(|item| !item.is_deleted) {
        let name = fold(&item.name);
        let kind = match () {
            () if name.starts_with(&words.join(" ")) => 0,
            () if !words.iter().all(|word| name.contains(word)) => continue,
            () if name.contains(&format!(" {last}")) => 1,
            () if has_word_beginning(&name, last) => 2,
            () => 3,
        };
        let form = if kind == 0 { name } else { String::new() };
        found.push(((kind, form, item.id), item.name.clone()));
    }
    found.sort();
    let mut known = HashSet::new();
    let new = found.into_iter().filter(|(_, name)| known.insert(fold(name)));
    new.take(limit).map(|((_, _, id), name)| (id, name)).collect()
}

/// All of a list by relevance that is short enough to be compared as a whole.
fn naive_relevance(items: &[Item], terms: &[String]) -> Vec<i64> {
    let terms: Vec<String> = terms.iter().map(|term| fold(term)).collect();
    let whole = terms.join(" ");
    let mut found: Vec<(u8, String, i64)> = Vec::new();
    for item in items.iter().filter(|item| !item.is_deleted) {
        let name = fold(&item.name);
        let fields = [item.description.as_ref(), item.sku.as_ref()].into_iter().flatten();
        let fields: Vec<String> = fields.map(|field| fold(field)).chain([name.clone()]).collect();
        let is_sku = item.sku.as_ref().is_some_and(|sku| fold(sku) == whole);
        let fit = match () {
            () if !terms.iter().all(|term| fields.iter().any(|field| field.contains(term))) => continue,
            () if name.starts_with(&whole) => 0,
            () if terms.iter().all(|term| has_word_beginning(&name, term)) => 1,
            () if terms.iter().all(|term| name.contains(term)) => 2,
            () if is_sku => 3,
            () => 4,
        };
        found.push((fit, if fit == 0 { name } else { String::new() }, item.id));
    }
    found.sort();
    found.into_iter().map(|(_, _, id)| id).collect()
}

async fn check(
    node: &Node,
    items: &[Item],
    terms: &[String],
    (limit, size): (usize, usize),
) -> Result<(), TestCaseError> {
    let typed = terms.join(" ");
    let path = format!("/api/products/suggest/?q={}&limit={limit}", percent(&typed));
    let answer: Value = node.get(&path).await.expect_json(200);
    let expected: Vec<Value> = naive_suggestions(items, &typed, limit)
        .into_iter()
        .map(|(id, name)| json!({"id": id, "name": name}))
        .collect();
    prop_assert_eq!(answer, Value::from(expected), "suggested for {:?}", typed);
    if !terms.is_empty() {
        let search = percent(&quoted(terms));
        let path = format!("/api/products/?ordering=relevance&page_size={size}&search={search}");
        let found = walk(node, &path).await;
        prop_assert_eq!(found, naive_relevance(items, terms), "by relevance: {:?}", terms);
        let plain = walk(node, &format!("/api/products/?search={search}")).await;
        let fuzzy = walk(node, &format!("/api/products/?fuzzy=true&search={search}")).await;
        prop_assert!(plain.is_empty() || plain == fuzzy, "{:?}: {:?}, not {:?}", terms, fuzzy, plain);
    }
    Ok(())
}

#[test]
fn suggestions_and_relevance_are_what_a_comparison_of_every_product_gives() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(shop_with_categories());
    let next_id = Cell::new(1);
    let run = |(mut items, questions): (Vec<Item>, Vec<(Vec<_>, usize, usize)>)| {
        for item in &mut items {
            item.id = next_id.get();
            next_id.set(item.id + 1);
            // Skus are unique among what is not deleted.
            item.sku = item.sku.as_ref().map(|sku| format!("{sku}{}", item.id));
        }
        runtime.block_on(async {
            stock_up(&app, &items).await;
            for (words, limit, size) in &questions {
                let words: Vec<_> =
                    words.iter().map(|word: &crate::search::Word| word.in_words(&items)).collect();
                let terms: Vec<String> = words.into_iter().filter(|term| !term.is_empty()).collect();
                check(&app, &items, &terms, (*limit, *size)).await?;
            }
            // As they are known, and the words of each as they were typed.
            let whole = items.iter().filter_map(|item| item.sku.clone().or(Some(item.name.clone())));
            for text in whole.take(5) {
                check(&app, &items, &[text], (20, 3)).await?;
            }
            Ok(())
        })
    };
    // A few seconds' worth; PROPTEST_CASES asks for more.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16);
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let catalogue = proptest::collection::vec(item(), 1..60);
    let question = (proptest::collection::vec(word(), 0..3), 1..20_usize, 1..30_usize);
    let questions = proptest::collection::vec(question, 8);
    if let Err(failure) = TestRunner::new(config).run(&(catalogue, questions), run) {
        panic!("{failure}");
    }
    drop(app);
}

#[tokio::test]
async fn names_that_begin_with_what_is_typed_come_first_and_each_once() {
    let app = TestApp::start().await;
    let names = [
        "Glass lamp",
        "lamp",
        "Lampshade",
        "LAMP",
        "Lamp, red",
        "Blue-lamp",
        "Clamp",
        "Café lamp",
        "100% wool",
        "100 percent",
        "l_mp",
        "Étoile",
        "\"Quoted\" star",
        "O'Hara's lamp",
    ];
    add_names(&app, &app.staff().await, &names).await;
    for (typed, expected) in [
        (
            "la",
            vec![
                "lamp",
                "Lamp, red",
                "Lampshade",
                "Glass lamp",
                "Café lamp",
                "O'Hara's lamp",
                "Blue-lamp",
                "Glass lamp",
                "Clamp",
            ],
        ),
        (
            "  LAMP ",
            vec![
                "lamp",
                "Lamp, red",
                "Lampshade",
                "Glass lamp",
                "Café lamp",
                "O'Hara's lamp",
                "Blue-lamp",
                "Clamp",
            ],
        ),
        ("red lam", vec!["Lamp, red"]),
        ("café l", vec!["Café lamp"]),
        ("CAFÉ", vec!["Café lamp"]),
        ("cafe", vec![]),
        ("étoile", vec!["Étoile"]),
        ("100%", vec!["100% wool"]),
        ("l_m", vec!["l_mp"]),
        ("\"quo", vec!["\"Quoted\" star"]),
        ("o'h", vec!["O'Hara's lamp"]),
        ("lamp red glass", vec![]),
        ("", vec![]),
        (" \t ", vec![]),
    ] {
        let mut expected: Vec<&str> = expected;
        let mut known = HashSet::new();
        expected.retain(|name| known.insert(*name));
        assert_eq!(suggested(&app, &format!("q={}&limit=20", percent(typed))).await, expected, "{typed:?}");
    }
    assert_eq!(suggested(&app, "q=la&limit=2").await, ["lamp", "Lamp, red"]);
    assert_eq!(suggested(&app, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn suggestions_follow_what_is_written_and_are_kept_as_lists_are() {
    let app = TestApp::start().await;
    let second = app.second_node().await;
    let staff = app.staff().await;
    let ids = add_names(&app, &staff, &["Christmas tree"]).await;
    let typed = "q=chr";
    assert_eq!(suggested(&app, typed).await, ["Christmas tree"]);
    assert_eq!(suggested(&second, typed).await, ["Christmas tree"]);
    let path = format!("/api/products/{}/", ids[0]);
    app.patch_as(&staff, &path, &json!({"name": "Chrome lamp"})).await.expect_status(200);
    assert_eq!(suggested(&app, typed).await, ["Chrome lamp"]);
    let other = async || (suggested(&second, typed).await == ["Chrome lamp"]).then_some(());
    eventually(Duration::from_secs(1), "the other node suggests the new name", other).await;
    app.delete_as(&staff, &path).await.expect_status(204);
    assert_eq!(suggested(&app, typed).await, Vec::<String>::new());

    let list = app.get("/api/products/?page_size=1").await;
    let answer = app.get("/api/products/suggest/?q=chr").await;
    assert_eq!(answer.header("cache-control"), list.header("cache-control"));
    assert!(answer.header("etag").is_some());
    // A list that is asked for with the same words is something else.
    assert_eq!(app.get("/api/products/?q=chr").await.expect_json(200).ids().len(), 0);
}

#[tokio::test]
async fn a_list_by_relevance_has_each_product_once_however_many_fit_and_come_and_go() {
    let app = TestApp::start().await;
    app.sql("INSERT INTO categories (name) VALUES ('all')").await;
    let others = 2 * RANKED_TOGETHER + RANKED_TOGETHER / 4;
    // All of them fit; the best come last.
    let insert = |from: usize, to: usize| {
        format!(
            "WITH made AS (
                INSERT INTO products (name, description, sku, price_cents, category_id)
                SELECT CASE n % 5 WHEN 0 THEN 'Glass lamp ' WHEN 1 THEN 'Clamp ' ELSE 'Thing ' END || n % 100,
                       'With a lamp', 'S' || n, n % 7, 1
                FROM generate_series({from}, {to}) AS n RETURNING id
            )
            INSERT INTO stock (product_id, quantity) SELECT id, id % 3 FROM made"
        )
    };
    app.sql(&insert(1, others)).await;
    let names = ["Lamp", "lamp 2", "LAMP", "Lampshade"];
    for (n, name) in names.iter().enumerate() {
        app.sql(&format!(
            "WITH made AS (INSERT INTO products (name, price_cents, category_id) VALUES ('{name}', {n}, 1) RETURNING id)
             INSERT INTO stock (product_id, quantity) SELECT id, 1 FROM made"
        ))
        .await;
    }
    let all = app.database().rows("SELECT id, name FROM products").await;
    let named: BTreeMap<i64, String> = all.iter().map(|row| (row.get(0), row.get(1))).collect();
    let fit = |id: &i64| match &named[id] {
        name if name.starts_with("Glass") => 0,
        name if name.starts_with("Clamp") => 1,
        _ => 2,
    };
    let mut seen: Vec<i64> = Vec::new();
    let mut next = Some("/api/products/?search=lamp&ordering=relevance&page_size=700".to_owned());
    let mut gone = BTreeSet::new();
    let mut made = others;
    while let Some(path) = next {
        let answer = app.get(&path).await;
        let ids = answer.expect_json(200).ids();
        next = next_of(&answer);
        assert!(ids.len() == 700 || next.is_none(), "a page of {}", ids.len());
        seen.extend(ids);
        // One that was seen and one that was not, at the beginning of a block and in its middle.
        for place in [3, 1_000, 1_900] {
            let victim = named.keys().copied().filter(|id| !gone.contains(id)).nth(place + seen.len() % 89);
            let victim = victim.expect("a product");
            gone.insert(victim);
            app.sql(&format!(
                "UPDATE products SET deleted_at = now() WHERE id = {victim}; \
                UPDATE stock SET listed = false WHERE product_id = {victim}"
            ))
            .await;
        }
        app.sql(&insert(made + 1, made + 10)).await;
        made += 10;
    }
    let times = seen.iter().fold(BTreeMap::<i64, u32>::new(), |mut times, id| {
        *times.entry(*id).or_default() += 1;
        times
    });
    assert!(times.values().all(|times| *times == 1), "something was seen twice");
    let missed: Vec<_> = named.keys().filter(|id| !gone.contains(id) && !times.contains_key(id)).collect();
    assert!(missed.is_empty(), "never seen: {missed:?}");
    // The names that begin so, by name; then those that were compared first, the best first.
    let first: Vec<&str> = seen[..4].iter().map(|id| named[id].as_str()).collect();
    assert_eq!(first, ["Lamp", "LAMP", "lamp 2", "Lampshade"]);
    let block: Vec<i64> = seen[4..4 + RANKED_TOGETHER - 20].to_vec();
    assert!(block.is_sorted_by_key(|id| (fit(id), *id)), "the first ones are not in order");
}

#[tokio::test]
async fn relevance_is_asked_for_with_a_search_and_alone() {
    let app = TestApp::start().await;
    add_names(&app, &app.staff().await, &["Red pen", "Pen", "Pencil"]).await;
    let alone = json!({"ordering": ["Relevance cannot be combined with other columns."]});
    let searched = json!({"ordering": ["Relevance needs a search."]});
    for (query, expected) in [
        ("ordering=relevance", &searched),
        ("ordering=relevance&search=", &searched),
        ("ordering=relevance&search=%20,%22%22", &searched),
        ("ordering=relevance,price&search=pen", &alone),
        ("ordering=-name,relevance&search=pen", &alone),
    ] {
        let answer = app.get(&format!("/api/products/?{query}")).await;
        assert_eq!((answer.status, answer.json::<Value>().ok().as_ref()), (400, Some(expected)), "{query}");
    }
    // What is no column is passed over, as anywhere.
    let nonsense = app.get("/api/products/?ordering=relevance,nonsense,-relevance&search=pen").await;
    assert_eq!(nonsense.expect_json(200).ids(), [2, 3, 1]);

    // Its cursors are of this list alone.
    let next = next_of(&app.get("/api/products/?ordering=relevance&search=pen&page_size=1").await).unwrap();
    let cursor = next.split("cursor=").nth(1).unwrap();
    for other in ["search=pen", "search=pens&ordering=relevance", "ordering=name&search=pen", ""] {
        let answer = app.get(&format!("/api/products/?{other}&cursor={cursor}")).await;
        assert_eq!(answer.status, 400, "{other}: {}", answer.text());
    }
    let plain = next_of(&app.get("/api/products/?search=pen&page_size=1").await).unwrap();
    let plain = plain.split("cursor=").nth(1).unwrap();
    let answer = app.get(&format!("/api/products/?search=pen&ordering=relevance&cursor={plain}")).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test]
async fn misspelled_words_find_what_was_meant() {
    let app = TestApp::start().await;
    let names =
        ["Christmas tree", "Red lamp", "Lampshade holder", "Étoile d'or", "Box 60mm", "Set of 6 mugs"];
    let ids = add_names(&app, &app.staff().await, &names).await;
    let mut mismatches = Mismatches::default();
    for (search, expected) in [
        // Two that changed places, one too many, too few, wrong; two slips in a long word.
        ("chritsmas", &[0][..]),
        ("christmass", &[0]),
        ("chrismas", &[0]),
        ("xhristmas", &[0]),
        ("crismas", &[0]),
        ("CHRITSMAS TREE", &[0]),
        ("tree chritsmas", &[0]),
        ("lmap", &[1, 2]),
        ("lapmshade", &[2]),
        ("étiole", &[3]),
        ("red lmap", &[1]),
        // As they are: nothing is like them, or they are too short.
        ("elephant", &[]),
        ("rde", &[1]),
        ("zq", &[]),
        ("chxxxmas", &[]),
        ("'; drop table search_words; --", &[]),
        ("%%%%", &[]),
        // All of them occur, only not together.
        ("christmas lamp", &[]),
        // Exact.
        ("lamp", &[1, 2]),
        ("lam", &[1, 2]),
        ("x", &[4]),
        ("", &[0, 1, 2, 3, 4, 5]),
    ] {
        let expected: Vec<i64> = expected.iter().map(|place| ids[*place]).collect();
        let path = format!("/api/products/?fuzzy=true&search={}", percent(search));
        let found = app.get(&path).await.expect_json(200).ids();
        mismatches.check(found == expected, || format!("{search:?}: {found:?}, not {expected:?}"));
        let exact =
            app.get(&format!("/api/products/?search={}", percent(search))).await.expect_json(200).ids();
        let without = app.get(&path.replace("true", "false")).await.expect_json(200).ids();
        mismatches.check(exact == without && (exact.is_empty() || exact == found), || {
            format!("{search:?}: {exact:?} without fuzzy, {found:?} with it")
        });
    }
    mismatches.none();
}

#[tokio::test]
async fn corrected_lists_have_filters_orderings_and_pages_of_their_own() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (here, there) = (app.category(&staff, "here").await, app.category(&staff, "there").await);
    let mut ids = Vec::new();
    for n in 0..6 {
        let (category, name) =
            (if n % 2 == 0 { here } else { there }, ["Red lantern", "Lantern \"red\""][n % 2]);
        ids.push(app.product_in(&staff, category, name, &format!("{}.00", 9 - n), n as i64 % 3).await);
    }
    let find = async |query: &str| {
        app.get(&format!("/api/products/?fuzzy=true&{query}")).await.expect_json(200).ids()
    };
    assert_eq!(find("search=lantren").await, ids);
    assert_eq!(find(&format!("search=lantren&category={there}")).await, [ids[1], ids[3], ids[5]]);
    assert_eq!(find("search=lantren&in_stock=true&ordering=price").await, [ids[5], ids[4], ids[2], ids[1]]);
    assert_eq!(find("search=lantren&max_price=5").await, [ids[4], ids[5]]);
    assert_eq!(find("search=lantren&max_price=1").await, Vec::<i64>::new());
    let by_relevance = [1, 3, 5, 0, 2, 4].map(|place| ids[place]);
    assert_eq!(find("search=lantren&ordering=relevance").await, by_relevance);
    for ordering in ["", "price", "relevance"] {
        let search = percent("\"red\" lantren");
        let path = format!("/api/products/?fuzzy=true&page_size=2&ordering={ordering}&search={search}");
        let mut walked = walk(&app, &path).await;
        walked.sort_unstable();
        assert_eq!(walked, ids, "by {ordering:?}");
    }
    // The next page is of the list that was given, whatever is known by then.
    let first = app.get("/api/products/?fuzzy=true&page_size=4&search=lantren").await;
    app.product_in(&staff, here, "Lantren", "1.00", 1).await;
    assert_eq!(app.get(&next_of(&first).expect("a second page")).await.expect_json(200).ids(), ids[4..]);
    assert_eq!(find("search=lantren").await.len(), 1, "now there is one of that very name");
}

#[tokio::test]
async fn words_are_known_as_soon_as_a_product_has_them_and_as_long_as_one_does() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let ids = add_names(&app, &staff, &["Umbrella", "Something"]).await;
    let find = async |search: &str| {
        app.get(&format!("/api/products/?fuzzy=true&search={search}")).await.expect_json(200).ids()
    };
    assert_eq!(find("umbrela").await, [ids[0]]);
    assert_eq!(find("kaleidoscpoe").await, Vec::<i64>::new());
    let path = format!("/api/products/{}/", ids[1]);
    app.patch_as(&staff, &path, &json!({"name": "Kaleidoscope"})).await.expect_status(200);
    assert_eq!(find("kaleidoscpoe").await, [ids[1]]);
    app.delete_as(&staff, &path).await.expect_status(204);
    assert_eq!(find("kaleidoscpoe").await, Vec::<i64>::new());
    // Many at once, of the same words, leave each once.
    app.sql(
        "INSERT INTO products (name, price_cents, category_id)
         SELECT 'Velociraptor, ' || CASE n % 2 WHEN 0 THEN 'umbrella' ELSE 'tiny' END || n, 1, 1
         FROM generate_series(1, 500) AS n",
    )
    .await;
    assert_eq!(app.count("SELECT count(*) FROM search_words WHERE word = 'VELOCIRAPTOR'").await, 1);
    assert_eq!(app.count("SELECT count(*) FROM search_words WHERE word = 'UMBRELLA'").await, 1);
    assert_eq!(app.count("SELECT count(*) FROM search_words WHERE word = 'TINY'").await, 1);
}

#[tokio::test]
async fn unusable_questions_are_refused_by_name() {
    let app = TestApp::start().await;
    let long = "x".repeat(101);
    let mut mismatches = Mismatches::default();
    for (path, field) in [
        ("/api/products/suggest/?q=%00".to_owned(), "q"),
        (format!("/api/products/suggest/?q={long}"), "q"),
        (format!("/api/products/suggest/?q={}", "a+".repeat(21)), "q"),
        ("/api/products/suggest/?q=a&limit=0".to_owned(), "limit"),
        ("/api/products/suggest/?q=a&limit=21".to_owned(), "limit"),
        ("/api/products/suggest/?q=a&limit=-1".to_owned(), "limit"),
        ("/api/products/suggest/?q=a&limit=99999999999999999999".to_owned(), "limit"),
        ("/api/products/suggest/?q=a&limit=ten".to_owned(), "limit"),
        ("/api/products/?search=a&fuzzy=perhaps".to_owned(), "fuzzy"),
    ] {
        let answer = app.get(&path).await;
        let body: Value = answer.json().unwrap_or_default();
        mismatches.check(answer.status == 400 && body[field][0].is_string(), || format!("{path}: {body}"));
    }
    for fine in [
        "q=a&limit=",
        "q=%FF%FE",
        "q=%F4%8F%BF%BF",
        "q=%1F",
        "q=a&q=b",
        "Q=a",
        &format!("q={}", "é".repeat(100)),
    ] {
        let answer = app.get(&format!("/api/products/suggest/?{}", fine.replace('é', "%C3%A9"))).await;
        mismatches.check(answer.status == 200, || format!("{fine}: {}", answer.text()));
    }
    app.get("/api/products/suggest?q=a").await.expect_status(200);
    let staff = app.staff().await;
    app.post_as(&staff, "/api/products/suggest/", &json!({})).await.expect_status(405);
    mismatches.none();
}

/// What is wrong with a plan: tables that are read whole, and more rows than the bound from anywhere.
fn faults(plan: &str, rows_max: u64) -> String {
    let mut faults = String::new();
    for line in plan.lines().filter(|line| line.contains("(actual")) {
        let number = |after: &str| -> u64 {
            let rest = line.split("(actual").nth(1).and_then(|rest| rest.split(after).nth(1)).unwrap_or("0");
            rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
        };
        let rows = number("rows=") * number("loops=");
        let is_table =
            ["products", "stock", "search_words"].iter().any(|table| line.contains(&format!("on {table}")));
        if (line.contains("Seq Scan") && is_table) || rows > rows_max {
            writeln!(faults, "{}", line.trim()).unwrap();
        }
    }
    faults
}

#[tokio::test]
async fn a_large_catalogue_is_searched_by_index_within_the_bound() {
    const PRODUCTS: usize = 100_000;
    let app = TestApp::start().await;
    app.sql(&format!(
        "INSERT INTO categories (name) VALUES ('all');
         INSERT INTO products (name, description, price_cents, category_id)
         SELECT (ARRAY['Lamp', 'Lampshade', 'Christmas tree', 'Glass lamp', 'Set of 6 mugs'])[1 + n % 5]
                    || CASE n % 10 WHEN 0 THEN '' ELSE ' ' || n END
                    || CASE WHEN n % 4 = 0 THEN ' w' || translate(n::text, '0123456789', 'abcdefghij') ELSE '' END,
                'Everything has a lamp', n % 100, 1
         FROM generate_series(1, {PRODUCTS}) AS n;
         INSERT INTO stock (product_id, quantity) SELECT id, id % 2 FROM products;
         ANALYZE products, stock, search_words;"
    ))
    .await;
    let client = app.database().client().await;
    let sql = |name: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/catalog").join(name)).unwrap()
    };
    for (name, types) in [
        ("suggest_names", "text, bigint"),
        (
            "list_products_by_beginning",
            "text, text, bigint, bigint[], bigint, bigint, boolean, bigint, bigint",
        ),
        ("find_words", "text, bigint"),
    ] {
        client
            .batch_execute(&format!("PREPARE {name} ({types}) AS {}", sql(&format!("{name}.sql"))))
            .await
            .unwrap();
    }
    let mut mismatches = Mismatches::default();
    // With the values known to the planner, and without.
    for mode in ["force_custom_plan", "force_generic_plan"] {
        client.batch_execute(&format!("SET plan_cache_mode = {mode}")).await.unwrap();
        let rows = LIST_ROWS_MAX;
        for (call, rows_max) in [
            ("suggest_names('l', 20)".to_owned(), 100),
            ("suggest_names('lamp', 20)".to_owned(), 100),
            ("suggest_names('lamp 77', 20)".to_owned(), 100),
            ("suggest_names('nothing', 20)".to_owned(), 100),
            (
                format!("list_products_by_beginning('l', '', -9, '{{}}', NULL, NULL, false, {rows}, 22)"),
                10_000,
            ),
            (
                format!("list_products_by_beginning('l', 'LAMP 5', 7, '{{1}}', 5, 5, true, {rows}, 22)"),
                10_000,
            ),
            (format!("list_products_by_beginning('x', '', -9, '{{9}}', 9, NULL, true, {rows}, 22)"), 10_000),
            ("find_words('chritsmas', 1000)".to_owned(), 1_100),
            ("find_words('wabcde', 1000)".to_owned(), 5_000),
        ] {
            let plan = client.query(&format!("EXPLAIN (ANALYZE) EXECUTE {call}"), &[]).await.unwrap();
            let plan: Vec<&str> = plan.iter().map(|row| row.get(0)).collect();
            let faults = faults(&plan.join("\n"), rows_max);
            mismatches.check(faults.is_empty(), || format!("{call}: {faults}\n{}", plan.join("\n")));
        }
    }
    // What is compared by relevance, and for suggestions.
    for terms in [vec!["lamp"], vec!["e"], vec![" l"], vec!["christmas", "wb"], vec!["nosuchthing"]] {
        let terms: Vec<String> = terms.into_iter().map(str::to_owned).collect();
        let query = ProductQuery { terms, ..ProductQuery::default() };
        for size in [200, RANKED_TOGETHER] {
            let plan =
                app.shop.catalog.explain_products(&query, &PageRequest { after: None, size }).await.unwrap();
            let faults = faults(&plan, 10_000 + size as u64 + 2);
            mismatches.check(faults.is_empty(), || format!("{:?}: {faults}\n{plan}", query.terms));
        }
    }
    mismatches.none();
    assert_eq!(suggested(&app, "q=lamp&limit=3").await, ["Lamp", "Lamp 10005", "Lamp 10015"]);
    let first = app.get("/api/products/?search=lamp&ordering=relevance&page_size=3").await.expect_json(200);
    assert!(first.as_array().unwrap().iter().all(|product| product["name"] == "Lamp"), "{first}");
    assert_eq!(
        app.get("/api/products/?fuzzy=true&search=lmap&page_size=5").await.expect_json(200).ids().len(),
        5
    );
}
