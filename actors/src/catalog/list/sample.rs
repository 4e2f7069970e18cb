//! A sample of the catalogue, by which it is guessed how many products are of a kind, and where.
//!
//! Promises: at most [`ROWS`] products, spread over the ids, at most [`TEXT_CHARS_MAX`] characters of
//! each; renewed, while it is asked for, about every [`LIFETIME`], of which nobody but the first
//! waits. It may be old, or wrong about what is rare: nothing depends on it but how long a page takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::super::cursor::CursorKey;
use super::super::{CatalogError, store};
use super::letters::capital;
use super::{Column, Direction, Order};
use crate::db::Db;
use crate::types::Timestamp;

/// Products in a sample.
pub(super) const ROWS: usize = 2_000;
/// How much of what a search looks at is kept of each.
const TEXT_CHARS_MAX: usize = 1_000;
/// How long a sample is good enough.
const LIFETIME: Duration = Duration::from_secs(30);
/// How old one is at least that is renewed because it has misled.
const RENEWED_AFTER: Duration = Duration::from_secs(1);

/// What is known of one product.
#[derive(Clone, Debug)]
pub(in crate::catalog) struct SampleRow {
    /// Its id.
    pub id: i64,
    /// The beginning of its name, description and sku, as a search looks at them.
    pub text: String,
    /// Its category.
    pub category: i64,
    /// Its price, in cents.
    pub price: i64,
    /// How many there were.
    pub quantity: i64,
    /// Its name, as searches compare it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl SampleRow {
    /// How its value in a column compares to another one.
    pub(super) fn compare(&self, column: Column, key: &CursorKey) -> std::cmp::Ordering {
        match (column, key) {
            (Column::Id, CursorKey::Number(number)) => self.id.cmp(number),
            (Column::Price, CursorKey::Number(number)) => self.price.cmp(number),
            (Column::Stock, CursorKey::Number(number)) => self.quantity.cmp(number),
            (Column::Name, CursorKey::Text(text)) => self.name.chars().cmp(text.chars().map(capital)),
            (Column::CreatedAt, CursorKey::Time(time)) => self.created_at.cmp(time),
            // No cursor of that order has such a value.
            _ => std::cmp::Ordering::Equal,
        }
    }

    /// Its id or price.
    pub(super) fn number(&self, column: Column) -> i64 {
        if column == Column::Id { self.id } else { self.price }
    }

    /// Its value in a column.
    pub(super) fn value(&self, column: Column) -> CursorKey {
        match column {
            Column::Id => CursorKey::Number(self.id),
            Column::Price => CursorKey::Number(self.price),
            Column::Stock => CursorKey::Number(self.quantity),
            Column::Name => CursorKey::Text(self.name.clone()),
            Column::CreatedAt => CursorKey::Time(self.created_at),
        }
    }

    /// Where it stands beside another one in the order of an index: by a column, then by id.
    pub(super) fn beside(
        &self,
        other: &Self,
        (column, direction): (Column, Direction),
    ) -> std::cmp::Ordering {
        direction.apply(self.compare_in(other, column).then(self.id.cmp(&other.id)))
    }

    /// Where it stands beside another one in an order.
    pub(super) fn beside_in(&self, other: &Self, order: &Order) -> std::cmp::Ordering {
        let columns = order.keys().iter();
        columns
            .map(|(column, direction)| direction.apply(self.compare_in(other, *column)))
            .fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    }

    fn compare_in(&self, other: &Self, column: Column) -> std::cmp::Ordering {
        match column {
            Column::Id => self.id.cmp(&other.id),
            Column::Price => self.price.cmp(&other.price),
            Column::Stock => self.quantity.cmp(&other.quantity),
            Column::Name => self.name.cmp(&other.name),
            Column::CreatedAt => self.created_at.cmp(&other.created_at),
        }
    }

    /// Where it stands beside a position: the values of the first columns of an order.
    pub(super) fn beside_position(&self, order: &Order, keys: &[CursorKey]) -> std::cmp::Ordering {
        let columns = order.keys().iter().zip(keys);
        columns
            .map(|((column, direction), key)| direction.apply(self.compare(*column, key)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    }
}

/// Products from all over the catalogue.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// By id.
    pub rows: Vec<SampleRow>,
    /// Their places, by price and then by id.
    pub by_price: Vec<usize>,
    /// How many products there are, about.
    pub total: u64,
    /// The places of those that have each three letters in a row.
    trigrams: HashMap<[char; 3], Vec<u16>>,
}

impl Sample {
    /// A sample of a catalogue whose ids spread over `span`, and that had `counted` products when that
    /// was last looked at.
    pub(super) fn new(rows: Vec<SampleRow>, span: i64, counted: i64) -> Self {
        let sampled = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        // Where the sample could have been larger, it is the whole catalogue, or nearly so.
        let total = match rows.len() {
            len if len < ROWS / 2 => sampled,
            _ => u64::try_from(if counted > 0 { counted.min(span) } else { span }).unwrap_or(0),
        };
        let mut by_price: Vec<usize> = (0..rows.len()).collect();
        // Stable, so that ties stay in the order of their ids.
        by_price.sort_by_key(|place| rows.get(*place).map(|row| row.price));
        let mut trigrams: HashMap<_, Vec<u16>> = HashMap::new();
        for (place, row) in (0..=u16::MAX).zip(&rows) {
            for trigram in trigrams_of(&row.text) {
                trigrams.entry(trigram).or_default().push(place);
            }
        }
        Self { rows, by_price, total: total.max(sampled), trigrams }
    }

    /// The places of those of the sample that have these three letters in a row.
    pub(super) fn having_trigram(&self, letters: [char; 3]) -> &[u16] {
        self.trigrams.get(&letters).map_or(&[], Vec::as_slice)
    }

    /// How many products there are where the sample has so many; half a product of the sample more,
    /// since it does not have all that is rare.
    pub(super) fn products(&self, sampled: usize) -> u64 {
        let len = u64::try_from(self.rows.len()).unwrap_or(u64::MAX).max(1);
        let sampled = u64::try_from(sampled).unwrap_or(u64::MAX);
        if len == self.total {
            return sampled;
        }
        (2 * sampled + 1).saturating_mul(self.total) / (2 * len)
    }

    /// The part of a quantity that goes with so many of the sample, rounded up.
    pub(super) fn share(&self, whole: u64, sampled: usize) -> u64 {
        let len = u64::try_from(self.rows.len()).unwrap_or(u64::MAX).max(1);
        whole.saturating_mul(u64::try_from(sampled).unwrap_or(u64::MAX)).div_ceil(len)
    }

    /// How many products of the sample there are where the catalogue has so many.
    pub(super) fn sampled(&self, products: u64) -> usize {
        let len = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        usize::try_from(products.saturating_mul(len) / self.total.max(1)).unwrap_or(usize::MAX)
    }
}

/// What is in a text three in a row, each once.
fn trigrams_of(text: &str) -> Vec<[char; 3]> {
    let letters: Vec<char> = text.chars().collect();
    let windows = letters.windows(3).filter_map(|letters| <[char; 3]>::try_from(letters).ok());
    let mut trigrams: Vec<[char; 3]> = windows.collect();
    trigrams.sort_unstable();
    trigrams.dedup();
    trigrams
}

/// Has a sample at hand.
pub(super) struct Sampler {
    db: Db,
    threads: Handle,
    latest: Mutex<Option<(Instant, Arc<Sample>)>>,
    /// Held while one is read.
    reading: tokio::sync::Mutex<()>,
    is_renewing: AtomicBool,
}

impl Sampler {
    /// None yet; it will be read from `db`, and renewed on `threads`.
    pub(super) fn new(db: Db, threads: Handle) -> Arc<Self> {
        let (latest, reading) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { db, threads, latest, reading, is_renewing: AtomicBool::new(false) })
    }

    /// The latest sample.
    ///
    /// # Errors
    /// When there is none yet, and the database is out of reach.
    pub(super) async fn sample(self: &Arc<Self>) -> Result<Arc<Sample>, CatalogError> {
        let Some((since, sample)) = self.latest() else { return self.read(LIFETIME).await };
        if since.elapsed() > LIFETIME && !self.is_renewing.swap(true, Ordering::AcqRel) {
            let sampler = self.clone();
            self.threads.spawn(async move {
                // Searches read everything that was written lately; that is not to become much.
                store::tidy_search(&sampler.db).await;
                // Whoever asks next tries again; the error has been logged.
                sampler.read(LIFETIME).await.ok();
                sampler.is_renewing.store(false, Ordering::Release);
            });
        }
        Ok(sample)
    }

    /// The latest sample, if there is one yet.
    pub(super) fn at_hand(&self) -> Option<Arc<Sample>> {
        self.latest().map(|(_, sample)| sample)
    }

    /// Whether the sample was so old that it may have misled; the next one is of the catalogue as it
    /// is now.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub(super) async fn renew(&self) -> Result<bool, CatalogError> {
        let since = self.latest().map(|(since, _)| since);
        self.read(RENEWED_AFTER).await?;
        Ok(self.latest().map(|(since, _)| since) != since)
    }

    /// The latest sample, which is read first where it is older than that.
    async fn read(&self, lifetime: Duration) -> Result<Arc<Sample>, CatalogError> {
        let _alone = self.reading.lock().await;
        if let Some((since, sample)) = self.latest()
            && since.elapsed() <= lifetime
        {
            return Ok(sample);
        }
        let begun = Instant::now();
        let client = self.db.client("catalog/sample_products.sql").await?;
        let (rows, span, counted) = store::sample_products(&client, ROWS, TEXT_CHARS_MAX).await?;
        drop(client);
        // Some milliseconds of work, which are to hold up neither a worker nor the connections.
        let counting = self.threads.spawn_blocking(move || Sample::new(rows, span, counted));
        let sample = Arc::new(counting.await.map_err(|_| CatalogError::Unavailable)?);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((begun, sample.clone()));
        Ok(sample)
    }

    fn latest(&self) -> Option<(Instant, Arc<Sample>)> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
