//! A database of an earlier release, brought up to date with what is in it.

use std::path::Path;

use serde_json::Value;

use crate::harness::TestDatabase;

/// The statements of the migration `V{version}`.
fn migration(version: u32) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/migrations");
    let files = std::fs::read_dir(folder).expect("the migrations").map(|file| file.unwrap().path());
    let begin = format!("V{version}__");
    let named = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with(&begin);
    let file = files.into_iter().find(|path| named(path)).expect("the migration");
    std::fs::read_to_string(file).expect("its text")
}

#[tokio::test]
async fn events_of_a_row_each_are_kept_in_records_and_older_nodes_go_on_with_them() {
    let database = TestDatabase::empty().await;
    for version in 1..=11 {
        database.run(&migration(version)).await;
    }
    let columns = "(seq, at, kind, subject, user_id, stock, price_cents, event, status, total_cents)";
    let some = |first: i64| {
        format!(
            "INSERT INTO events {columns} VALUES
                ({first}, '2026-01-01T00:00:00.000001Z', 'stock', 7, NULL, 0, 250, NULL, NULL, NULL),
                ({first} + 1, '2026-01-01T00:00:00.000001Z', 'order', 9, 3, NULL, NULL, 'placed', 'pending', 500),
                ({first} + 2, '2026-01-01T00:00:01Z', 'session', 5, 3, NULL, NULL, NULL, NULL, NULL);
             UPDATE event_counter SET last_seq = {first} + 2"
        )
    };
    database.run(&some(4)).await;
    let listed = async || {
        let rows = database.rows("SELECT to_jsonb(e)::text FROM events e ORDER BY seq").await;
        let event = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        rows.iter().map(|row| event(row.get(0))).collect::<Vec<_>>()
    };
    let before = listed().await;
    database.run(&migration(12)).await;
    assert_eq!(listed().await, before);
    // As nodes of before do while they are replaced.
    database.run(&some(7)).await;
    let after = listed().await;
    assert_eq!((&after[..3], after.len()), (&before[..], 6));
    assert_eq!(after[4]["event"], "placed");
    assert_eq!(after[5]["seq"], 9);
    database.run("DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT 4)").await;
    assert_eq!(listed().await, after[4..]);
}

#[tokio::test]
async fn stocks_learn_of_which_category_their_products_are_and_hear_of_every_change() {
    let database = TestDatabase::empty().await;
    for version in 1..=12 {
        database.run(&migration(version)).await;
    }
    let product = |id: i64, category: i64| {
        format!(
            "INSERT INTO products (id, name, price_cents, category_id) VALUES ({id}, 'lamp', 100, {category});
             INSERT INTO stock (product_id, quantity) VALUES ({id}, 1);"
        )
    };
    let categories = "INSERT INTO categories (name) VALUES ('one'), ('two');";
    database.run(&format!("{categories}{}{}", product(1, 1), product(2, 2))).await;
    database.run(&migration(13)).await;
    let known = async || {
        let rows = database.rows("SELECT category_id, listed FROM stock ORDER BY product_id").await;
        rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(Option<i64>, bool)>>()
    };
    assert_eq!(known().await, [(Some(1), true), (Some(2), true)]);
    // A node of before makes a product, and moves and removes others.
    database.run(&product(3, 1)).await;
    database.run("UPDATE products SET category_id = 2 WHERE id IN (1, 3)").await;
    database.run("UPDATE products SET deleted_at = now() WHERE id = 2").await;
    assert_eq!(known().await, [(Some(2), true), (Some(2), false), (Some(2), true)]);
}
