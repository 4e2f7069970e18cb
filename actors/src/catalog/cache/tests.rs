use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::types::{Money, ProductId};

const LAMP: Key<'static> = Key::Product(1);
const ABOUT_LAMP: About = About::Product(1);

fn sold(product: i64) -> EventKind {
    EventKind::Stock { product: ProductId(product), stock: 1, price: Money::ZERO }
}

fn edited(product: i64) -> EventKind {
    EventKind::Product { product: ProductId(product) }
}

/// A value that tells at which number it was read.
fn loaded(seq: i64) -> Result<Loaded, CatalogError> {
    Ok(Loaded { seq, document: Some(Document::of(&json!(seq))) })
}

fn load(seq: i64) -> impl Fn() -> Loading {
    move || async move { loaded(seq) }.boxed()
}

fn cache_of(bytes: u64) -> Arc<CatalogCache> {
    let cache = CatalogCache::new(&CatalogSettings { cache_bytes: bytes }, None);
    cache.on_read(Seq(5), Instant::now());
    Arc::new(cache)
}

fn cache() -> Arc<CatalogCache> {
    cache_of(1 << 20)
}

fn body(found: Found) -> String {
    String::from_utf8(found.expect("a document").body.to_vec()).unwrap()
}

async fn read(cache: &Arc<CatalogCache>, seq: i64) -> String {
    body(cache.get(LAMP, ABOUT_LAMP, load(seq)).await.unwrap())
}

#[tokio::test]
async fn what_was_read_is_repeated_until_it_is_edited() {
    let cache = cache();
    assert_eq!(read(&cache, 5).await, "5");
    assert_eq!(read(&cache, 6).await, "5");
    assert!(cache.look(LAMP).is_some() && cache.look(Key::Product(2)).is_none());
    cache.on_event(Seq(7), &sold(1));
    cache.on_event(Seq(8), &edited(2));
    assert_eq!(read(&cache, 8).await, "5", "neither a sale nor another's edit voids it");
    cache.on_event(Seq(9), &edited(1));
    assert!(cache.look(LAMP).is_none());
    assert_eq!(read(&cache, 9).await, "9");
}

#[tokio::test]
async fn words_are_keys_of_their_own() {
    let cache = cache();
    let about = About::Products { by_stock: false };
    for (words, seq) in [("page_size=2", 5), ("", 6), ("product:1", 7)] {
        assert_eq!(body(cache.get(Key::FirstPage(words), about, load(seq)).await.unwrap()), seq.to_string());
    }
    assert_eq!(read(&cache, 8).await, "8");
    assert_eq!(body(cache.look(Key::FirstPage("")).unwrap()), "6");
    cache.on_event(Seq(9), &edited(77));
    assert!(cache.look(Key::FirstPage("")).is_none(), "any product may belong into any list");
    assert!(cache.look(LAMP).is_some());
}

#[tokio::test]
async fn that_there_is_nothing_is_repeated_until_it_appears() {
    let cache = cache();
    let nothing = || async { Ok(Loaded { seq: 5, document: None }) }.boxed();
    assert!(cache.get(LAMP, ABOUT_LAMP, nothing).await.unwrap().is_none());
    assert!(cache.look(LAMP).unwrap().is_none());
    cache.on_event(Seq(6), &sold(1));
    assert_eq!(read(&cache, 6).await, "6");
}

#[tokio::test]
async fn nothing_is_repeated_that_nobody_can_vouch_for() {
    let cache = CatalogCache::new(&CatalogSettings { cache_bytes: 1 << 20 }, None);
    let long_ago = Instant::now().checked_sub(Duration::from_millis(1500)).unwrap();
    cache.on_read(Seq(5), long_ago);
    let cache = Arc::new(cache);
    assert_eq!(read(&cache, 5).await, "5");
    assert_eq!(read(&cache, 6).await, "5", "it was read from the database a moment ago");
    tokio::time::sleep(LAG_MAX).await;
    assert!(cache.look(LAMP).is_none());
    assert_eq!(read(&cache, 7).await, "7");
    tokio::time::sleep(LAG_MAX).await;
    cache.on_read(Seq(5), Instant::now());
    assert_eq!(read(&cache, 8).await, "7", "the log vouches for it again");
}

#[tokio::test]
async fn a_cache_without_memory_keeps_nothing() {
    let cache = cache_of(0);
    assert_eq!(read(&cache, 5).await, "5");
    assert_eq!(read(&cache, 6).await, "6");
}

#[tokio::test]
async fn memory_is_bounded() {
    let cache = cache_of(1 << 20);
    let long = "x".repeat(10_000);
    for id in 0..200 {
        let load = || {
            let document = Document::of(&json!(long));
            async { Ok(Loaded { seq: 5, document: Some(document) }) }.boxed()
        };
        cache.get(Key::Product(id), About::Product(id), load).await.unwrap();
    }
    let local = cache.local.as_ref().unwrap();
    assert!(
        local.weight() <= 1 << 20 && local.len() > 10,
        "{} bytes, {} entries",
        local.weight(),
        local.len()
    );
}

#[tokio::test]
async fn a_value_read_before_a_write_and_stored_after_it_is_void() {
    let cache = cache();
    let overtaken = || {
        let cache = cache.clone();
        async move {
            let value = loaded(5);
            cache.on_event(Seq(6), &edited(1));
            value
        }
        .boxed()
    };
    let read_before = cache.get(LAMP, ABOUT_LAMP, overtaken).await.unwrap();
    assert_eq!(body(read_before), "5", "its reader asked before the write");
    assert_eq!(read(&cache, 6).await, "6");
    assert_eq!(read(&cache, 7).await, "6", "good, so not loaded again");
}

#[tokio::test]
async fn a_reader_who_joins_an_older_load_after_a_write_sees_the_write() {
    let cache = cache();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = tokio::spawn({
        let (cache, begun, go_on) = (cache.clone(), begun.clone(), go_on.clone());
        async move {
            let load = || {
                let (begun, go_on) = (begun.clone(), go_on.clone());
                async move {
                    begun.notify_one();
                    go_on.notified().await;
                    loaded(5)
                }
                .boxed()
            };
            cache.get(LAMP, ABOUT_LAMP, load).await.map(body)
        }
    });
    begun.notified().await;
    cache.on_event(Seq(6), &edited(1));
    let second = read(&cache, 6);
    let release = async { go_on.notify_one() };
    let (second, ()) = tokio::join!(second, release);
    assert_eq!(second, "6");
    assert_eq!(first.await.unwrap(), Ok("5".to_owned()));
}

#[tokio::test]
async fn many_readers_of_one_missing_value_cause_one_load_and_share_its_failure() {
    let cache = cache();
    for outcome in [Err(CatalogError::Unavailable), Ok(())] {
        let (asked, loads, go_on) = (AtomicUsize::new(0), AtomicUsize::new(0), Arc::new(Notify::new()));
        let load = || {
            loads.fetch_add(1, Ordering::Relaxed);
            let (outcome, go_on) = (outcome.clone(), go_on.clone());
            async move {
                go_on.notified().await;
                outcome.and_then(|()| loaded(5))
            }
            .boxed()
        };
        let reader = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            cache.get(LAMP, ABOUT_LAMP, load).await.map(body)
        };
        let readers = futures_util::future::join_all((0..200).map(|_| reader()));
        let release = async {
            while asked.load(Ordering::Relaxed) < 200 {
                tokio::task::yield_now().await;
            }
            go_on.notify_one();
        };
        let (read, ()) = tokio::join!(readers, release);
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        let expected = outcome.clone().map(|()| "5".to_owned());
        assert!(read.into_iter().all(|body| body == expected));
    }
    assert!(cache.flights().by_key.is_empty());
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_any_more_is_in_nobodys_way() {
    let cache = cache();
    let never = || std::future::pending().boxed();
    let given_up = tokio::time::timeout(Duration::from_millis(5), cache.get(LAMP, ABOUT_LAMP, never)).await;
    assert!(given_up.is_err());
    assert!(cache.flights().by_key.is_empty());
    assert_eq!(read(&cache, 5).await, "5");
}
