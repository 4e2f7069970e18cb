//! How lists of a large catalogue are read: by index, within the bound, and right.

#![allow(clippy::float_arithmetic, reason = "rows as a plan tells them, not amounts")]

use std::collections::HashMap;
use std::fmt::Write;

use emporium_actors::catalog::{Column, CursorKey, Direction, LIST_ROWS_MAX, ProductCursor, ProductQuery};
use emporium_actors::types::{CategoryId, Money, PageRequest, Timestamp};
use time::OffsetDateTime;

use crate::harness::{Body, Expect, Mismatches, TestApp};

/// Products of the catalogue.
const PRODUCTS: i64 = 200_000;
/// Its categories: a large one, smaller and smaller ones, and one that came last.
const CATEGORIES: i64 = 100;
const LATEST_CATEGORY: i64 = CATEGORIES;
/// Words of the names, the frequent ones first.
const WORDS: &str = "Set Pink Of Heart Blue Vintage Red Bag Glass Christmas White Box Design Flower Small \
    Holder Metal Green Rose Black Necklace Large Hanging Candle Decoration Retrospot Cake T-Light Silver \
    Paper With Wall And Card In Garden Earrings Mug Bracelet Polkadot Cover Ivory Sign Wrap Pack Assorted \
    Egg Tree Art Mini Love Bowl Cushion Star Tea Café Jarre ½-Pint Zinc Quilt Oxbow Fizz Jug Vase Kit";

/// A product, as far as lists look at it.
struct Item {
    id: i64,
    text: String,
    name: String,
    cents: i64,
    category: i64,
    stock: i64,
    created_at: OffsetDateTime,
}

/// Everything there is; all of it in each order, and all that fits, that was asked for so far.
struct Catalogue {
    items: Vec<Item>,
    orders: HashMap<String, Vec<usize>>,
    fitting: HashMap<String, Vec<bool>>,
}

/// Fills the database with a catalogue whose words, prices, categories and stocks are as uneven as
/// those of a real one. The indexes are made afterwards, as they were.
async fn stock_up(app: &TestApp) {
    let sql = format!(
        r#"
        SELECT setseed(0.25);
        CREATE TEMP TABLE kept AS
            SELECT indexname, indexdef FROM pg_indexes
            WHERE tablename = 'products' AND indexname NOT IN ('products_pkey', 'products_sku_key');
        DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT indexname FROM kept LOOP EXECUTE 'DROP INDEX ' || name; END LOOP;
        END $$;
        INSERT INTO categories (name) SELECT 'category ' || n FROM generate_series(1, {CATEGORIES}) AS n;
        INSERT INTO products (id, sku, name, description, price_cents, category_id, created_at)
        SELECT n, 'SKU-' || n,
               (SELECT string_agg(words[1 + k * 0 + floor(power(random(), 2) * cardinality(words))::int], ' ')
                FROM generate_series(1, 3 + n % 3) AS k)
               || CASE n % 2 WHEN 0 THEN ' Alpha' ELSE ' Omega' END
               || CASE WHEN n % 5000 = 7 THEN ' Zyxwv' ELSE '' END
               || CASE WHEN n > {PRODUCTS} * 0.9 THEN ' Latecomer' ELSE '' END,
               CASE WHEN n % 400 = 0 THEN 'A rarity, 100% wool; 50_50' END,
               (ARRAY[125, 125, 125, 85, 85, 42, 295, 1000, 1 + n % 997])[1 + floor(random() * 9)::int],
               CASE WHEN n > {PRODUCTS} * 0.98 THEN {LATEST_CATEGORY}
                    ELSE 1 + floor(power(random(), 3) * {CATEGORIES} * 0.99)::int END,
               timestamptz '2025-01-01' + n / 5000 * interval '1 hour'
        FROM generate_series(1, {PRODUCTS}) AS n, (SELECT string_to_array('{WORDS}', ' ') AS words) AS w;
        INSERT INTO stock (product_id, quantity, category_id)
        SELECT id, CASE WHEN random() < 0.2 THEN 0 ELSE floor(power(random(), 4) * 2000)::int END, category_id
        FROM products;
        -- What is gone is in no list.
        WITH gone AS (UPDATE products SET deleted_at = now() WHERE id % 50 = 0 RETURNING id)
        UPDATE stock SET listed = false FROM gone WHERE product_id = gone.id;
        SET maintenance_work_mem = '256MB';
        DO $$ DECLARE definition text; BEGIN
            FOR definition IN SELECT indexdef FROM kept LOOP EXECUTE definition; END LOOP;
        END $$;
        ANALYZE products, stock;
        "#
    );
    app.sql(&sql).await;
}

impl Catalogue {
    async fn read(app: &TestApp) -> Self {
        let sql = "SELECT id, search_text, name, price_cents, products.category_id, quantity, created_at
            FROM products JOIN stock ON product_id = id WHERE deleted_at IS NULL ORDER BY id";
        let rows = app.database().rows(sql).await;
        let item = |row: &tokio_postgres::Row| Item {
            id: row.get(0),
            text: row.get(1),
            name: row.get(2),
            cents: row.get(3),
            category: row.get(4),
            stock: row.get(5),
            created_at: row.get(6),
        };
        Self { items: rows.iter().map(item).collect(), orders: HashMap::new(), fitting: HashMap::new() }
    }

    /// Has the database put all of it in that order.
    async fn sort(&mut self, app: &TestApp, ordering: &[(Column, Direction)]) {
        let name = |column: &Column| match column {
            Column::Price => "price_cents",
            Column::Stock => "quantity",
            Column::Name => "search_form(name) COLLATE \"C\"",
            column => column.as_str(),
        };
        let of_ties = ordering.first().map_or(Direction::Ascending, |(_, direction)| *direction);
        let columns = ordering.iter().copied().chain([(Column::Id, of_ties)]);
        let columns: Vec<String> = columns
            .map(|(column, direction)| match direction {
                Direction::Ascending => name(&column).to_owned(),
                Direction::Descending => format!("{} DESC", name(&column)),
            })
            .collect();
        let sql = format!(
            "SELECT id FROM products JOIN stock ON product_id = id WHERE deleted_at IS NULL ORDER BY {}",
            columns.join(", ")
        );
        let rows = app.database().rows(&sql).await;
        let place: HashMap<i64, usize> = self.items.iter().map(|item| item.id).zip(0..).collect();
        let order = rows.iter().map(|row| place[&row.get(0)]).collect();
        self.orders.insert(format!("{ordering:?}"), order);
    }

    /// All of the list, in order.
    fn naive(&mut self, query: &ProductQuery) -> Vec<usize> {
        let items = &self.items;
        let order = &self.orders[&format!("{:?}", query.ordering)];
        let conditions = format!("{:?}", ProductQuery { ordering: Vec::new(), ..query.clone() });
        let fitting = self.fitting.entry(conditions).or_insert_with(|| {
            let terms: Vec<String> = query.terms.iter().map(|term| term.to_uppercase()).collect();
            items.iter().map(|item| fits(item, query, &terms)).collect()
        });
        order.iter().copied().filter(|at| fitting[*at]).collect()
    }
}

fn fits(item: &Item, query: &ProductQuery, terms: &[String]) -> bool {
    (query.categories.is_empty() || query.categories.contains(&CategoryId(item.category)))
        && query.min_price.is_none_or(|price| item.cents >= price.cents())
        && query.max_price.is_none_or(|price| item.cents <= price.cents())
        && (!query.in_stock || item.stock > 0)
        && terms.iter().all(|term| item.text.contains(term))
}

/// The position behind a product.
fn behind(item: &Item, ordering: &[(Column, Direction)]) -> ProductCursor {
    let key = |column: &Column| match column {
        Column::Price => CursorKey::Number(item.cents),
        Column::Stock => CursorKey::Number(item.stock),
        Column::Name => CursorKey::Text(item.name.clone()),
        Column::CreatedAt => CursorKey::Time(Timestamp(item.created_at)),
        Column::Id => CursorKey::Number(item.id),
    };
    let columns = ordering.iter().map(|(column, _)| column).chain([&Column::Id]);
    ProductCursor { keys: columns.map(key).collect(), is_before: false }
}

/// One node of a plan in text.
struct Node<'a> {
    depth: usize,
    title: &'a str,
    /// What it gave, and what it had to look at for that, over all loops.
    rows: f64,
    looked_at: f64,
}

fn nodes(plan: &str) -> Vec<Node<'_>> {
    let mut nodes: Vec<Node<'_>> = Vec::new();
    for line in plan.lines() {
        let depth = line.len() - line.trim_start().len();
        let number = |after: &str| -> Option<f64> {
            let rest = line.split(after).nth(1)?;
            rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse().ok()
        };
        if let Some((title, _)) = line.split_once("  (cost=") {
            let actual = line.split("(actual").nth(1).unwrap_or_default();
            let value = |name: &str| -> f64 {
                let rest = actual.split(name).nth(1).unwrap_or("0");
                rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
            };
            let rows = value("rows=") * value("loops=");
            let title = title.trim_start().trim_start_matches("-> ").trim_start();
            nodes.push(Node { depth, title, rows, looked_at: rows });
        } else if let (Some(removed), Some(node)) = (number("Rows Removed by "), nodes.last_mut()) {
            let removed = number("Filter: ").or_else(|| number("Recheck: ")).unwrap_or(removed);
            node.looked_at += removed;
        }
    }
    nodes
}

/// What is wrong with a plan.
fn faults(plan: &str, query: &ProductQuery, page_size: usize) -> Option<String> {
    let bound = (LIST_ROWS_MAX + page_size + 2) as f64;
    let mut faults = String::new();
    let nodes = nodes(plan);
    for (at, node) in nodes.iter().enumerate() {
        if node.title.starts_with("Seq Scan") {
            write!(faults, "{}; ", node.title).unwrap();
        }
        if node.title.contains("Scan") && !node.title.contains("Bitmap Index") && node.looked_at > bound {
            write!(faults, "{} looks at {} rows; ", node.title, node.looked_at).unwrap();
        }
        // What one index gives in order is not sorted again.
        if node.title.starts_with("Incremental Sort") && query.ordering.len() < 2 {
            write!(faults, "{}; ", node.title).unwrap();
        }
        let below = nodes.get(at + 1).filter(|below| below.depth > node.depth);
        if node.title.contains("Sort") && below.is_some_and(|below| below.rows > bound) {
            write!(faults, "{} of too many rows; ", node.title).unwrap();
        }
    }
    (!faults.is_empty()).then_some(faults)
}

fn query(terms: &str, ordering: &[(Column, Direction)]) -> ProductQuery {
    let terms = terms.split(' ').filter(|term| !term.is_empty()).map(str::to_owned).collect();
    ProductQuery { terms, ordering: ordering.to_vec(), ..ProductQuery::default() }
}

/// Every way to ask for one thing at a time in every order, and some for several things.
fn queries() -> Vec<ProductQuery> {
    use Direction::{Ascending, Descending};
    let mut orderings = vec![Vec::new()];
    for column in Column::ALL {
        orderings.extend([Ascending, Descending].map(|direction| vec![(column, direction)]));
    }
    let words = [
        "",
        // In all, in half of all, in some, in few, in one, in none.
        "sku",
        "alpha",
        "christmas",
        "zyxwv",
        "sku-12345",
        "nosuchthing",
        // One letter, two, three, a frequent and a rare symbol.
        "e",
        "z",
        "ox",
        "qx",
        "jug",
        "-",
        "%",
        "é",
        // A frequent and a rare one, and two frequent ones that never meet.
        "alpha zyxwv",
        "alpha omega",
        // Nowhere near the beginning.
        "latecomer",
    ];
    let plain = ProductQuery::default();
    let ids = |ids: &[i64]| ids.iter().map(|id| CategoryId(*id)).collect::<Vec<_>>();
    let all: Vec<i64> = (1..=CATEGORIES).collect();
    let cents = |cents: i64| Some(Money::from_cents(cents));
    let filters = [
        ProductQuery { categories: ids(&[1]), ..plain.clone() },
        ProductQuery { categories: ids(&[90]), ..plain.clone() },
        ProductQuery { categories: ids(&[LATEST_CATEGORY]), ..plain.clone() },
        ProductQuery { categories: ids(&[2, 3, 90, 2]), ..plain.clone() },
        ProductQuery { categories: ids(&all[10..]), ..plain.clone() },
        ProductQuery { min_price: cents(100), ..plain.clone() },
        ProductQuery { min_price: cents(500), max_price: cents(505), ..plain.clone() },
        ProductQuery { min_price: cents(200_000), ..plain.clone() },
        ProductQuery { in_stock: true, ..plain.clone() },
        ProductQuery { in_stock: true, categories: ids(&[5]), min_price: cents(50), ..plain },
    ];
    let mut queries = Vec::new();
    for ordering in &orderings {
        queries.extend(words.map(|words| query(words, ordering)));
        queries.extend(
            filters.iter().map(|filter| ProductQuery { ordering: ordering.clone(), ..filter.clone() }),
        );
        for words in ["alpha", "zyxwv", "jug", "ox"] {
            for filter in [&filters[0], &filters[3], &filters[6], &filters[9]] {
                let ProductQuery { terms, ordering, .. } = query(words, ordering);
                queries.push(ProductQuery { terms, ordering, ..filter.clone() });
            }
        }
    }
    let several = [
        vec![(Column::Price, Ascending), (Column::Name, Ascending)],
        vec![(Column::Price, Descending), (Column::Name, Ascending)],
        vec![(Column::Price, Ascending), (Column::Stock, Descending), (Column::CreatedAt, Descending)],
        vec![(Column::Stock, Ascending), (Column::Price, Descending)],
        vec![(Column::CreatedAt, Descending), (Column::Price, Ascending)],
        vec![(Column::Name, Ascending), (Column::Price, Ascending)],
    ];
    for ordering in &several {
        queries.extend(["", "christmas", "zyxwv"].map(|words| query(words, ordering)));
    }
    queries
}

#[tokio::test]
async fn every_list_of_a_large_catalogue_is_read_by_index_within_the_bound_and_right() {
    let app = TestApp::start().await;
    stock_up(&app).await;
    let mut catalogue = Catalogue::read(&app).await;
    let (mut mismatches, mut short, mut pages) = (Mismatches::default(), 0, 0);
    for query in queries() {
        if !catalogue.orders.contains_key(&format!("{:?}", query.ordering)) {
            catalogue.sort(&app, &query.ordering).await;
        }
        let list = catalogue.naive(&query);
        // The first page, one far on, and the last one.
        for from in [0, list.len() * 3 / 5, list.len().saturating_sub(5)] {
            let after = from.checked_sub(1).map(|last| behind(&catalogue.items[list[last]], &query.ordering));
            let page = PageRequest { after, size: 20 };
            let shape = || format!("{query:?} from {from} of {}", list.len());
            let plan = app.shop.catalog.explain_products(&query, &page).await.unwrap();
            let faults = faults(&plan, &query, page.size);
            mismatches.check(faults.is_none(), || format!("{}: {faults:?}\n{plan}", shape()));
            let read = app.shop.catalog.list_products(&query, &page).await.unwrap();
            let found: Vec<i64> = read.items.iter().map(|product| product.id.0).collect();
            let rest = &list[from..];
            let expected: Vec<i64> = rest.iter().take(page.size).map(|at| catalogue.items[*at].id).collect();
            pages += 1;
            if found.len() < expected.len() && read.next.is_some() {
                short += 1;
                mismatches.check(expected.starts_with(&found), || {
                    format!("{}: {found:?}, not {expected:?}", shape())
                });
            } else {
                mismatches.check(found == expected, || format!("{}: {found:?}, not {expected:?}", shape()));
            }
        }
    }
    mismatches.none();
    assert!(short * 200 < pages, "{short} of {pages} pages are short");
}

/// Twice as many products as a statement looks at come before the first of a category of which there are
/// too many to be sorted.
#[tokio::test]
async fn a_page_is_not_empty_where_the_first_that_fits_is_far_away() {
    let app = TestApp::start().await;
    let sql = "INSERT INTO categories (name) VALUES ('plenty'), ('scarce');
        INSERT INTO products (id, name, price_cents, category_id)
        SELECT n, 'Thing', 100, CASE WHEN n <= 25000 THEN 1 ELSE 2 END FROM generate_series(1, 34000) AS n;
        INSERT INTO stock (product_id, quantity) SELECT n, 40000 - n FROM generate_series(1, 34000) AS n;
        ANALYZE products, stock";
    app.sql(sql).await;
    let page = app.get("/api/products/?category=2&ordering=-stock&page_size=3").await.expect_json(200);
    let ids: Vec<i64> = page.as_array().unwrap().iter().map(Body::id).collect();
    assert_eq!(ids, [25_001, 25_002, 25_003]);
}
