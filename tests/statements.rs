//! Every statement of `sql/` fits the schema.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::harness::TestDatabase;

#[tokio::test]
async fn every_statement_prepares_against_a_migrated_database() {
    let database = TestDatabase::create().await;
    let client = database.client().await;
    let mut refused = Vec::new();
    for (name, sql) in emporium_actors::all_statements() {
        if let Err(error) = client.prepare(&sql).await {
            let reason =
                error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
            refused.push(format!("{name}: {reason}"));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_file_of_sql_is_a_statement_that_some_area_names() {
    let named: BTreeSet<String> =
        emporium_actors::all_statements().into_iter().map(|(name, _)| name.to_owned()).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut there = BTreeSet::new();
    for area in std::fs::read_dir(&root).unwrap().map(|area| area.unwrap().path()) {
        if !area.is_dir() || area.ends_with("migrations") {
            continue;
        }
        for file in std::fs::read_dir(area).unwrap().map(|file| file.unwrap().path()) {
            there.insert(file.strip_prefix(&root).unwrap().display().to_string());
        }
    }
    assert_eq!(named, there);
}

/// `make bench` plays it, which nobody does often.
#[tokio::test]
async fn the_batches_of_the_benchmark_run_on_a_migrated_database() {
    const ORDERS: i64 = 20;
    let database = TestDatabase::create().await;
    database
        .run(&format!(
            "CREATE SEQUENCE event_numbers START 1001 INCREMENT BY {};
             INSERT INTO stock SELECT n, 2000 FROM generate_series(1, 2) n",
            ORDERS + 1
        ))
        .await;
    let pgbench = std::env::var("TEST_PGBENCH").expect("TEST_PGBENCH names the program");
    for locked in ["1", "0"] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/batch.sql");
        let played = Command::new(&pgbench)
            .args(["-n", "-M", "prepared", "-c", "2", "-t", "3", "-D", &format!("orders={ORDERS}")])
            .args(["-D", &format!("locked={locked}"), "-f"])
            .args([&script, Path::new(database.url())])
            .output()
            .expect("pgbench runs");
        let told = String::from_utf8_lossy(&played.stderr);
        assert!(played.status.success() && !told.contains("ERROR"), "{told}");
    }
    let drawn = database.count("SELECT last_seq FROM event_counter").await;
    assert_eq!(drawn, 2 * 3 * (ORDERS + 1), "the locked ones alone draw from the counter");
    for told in ["SELECT count(*) FROM orders", "SELECT count(*) FROM events WHERE kind = 'order'"] {
        assert_eq!(database.count(told).await, 2 * 2 * 3 * ORDERS, "{told}");
    }
}
