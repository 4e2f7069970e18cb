//! From what has been taken in to what the shop says: chunk after chunk, in a task of its own; two at once while
//! the shop is quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::messages::{Chunk, Counts, MergeRows, Merged, Opening, Place};
use super::row::RowFault;
use super::staging::{Skus, Staging};
use super::store::{self, Known};
use super::{FAULTS_MAX, ImportError, ended};
use crate::catalog::store::tidy_search;
use crate::inventory;
use crate::types::Timestamp;

/// Rows of the first chunk.
const CHUNK_FIRST: i64 = 500;
/// The most rows of a chunk, and the fewest that it is cut down to.
const CHUNK_MAX: i64 = 8000;
const CHUNK_MIN: i64 = 50;
/// How long a chunk should take, since others may wait so long for a product that is in it: while the shop
/// sells, and while it does not.
const CHUNK_TIME: Duration = Duration::from_millis(40);
const CHUNK_TIME_QUIET: Duration = Duration::from_millis(250);
/// How often a chunk is tried while the database is out of reach.
const ATTEMPTS: u32 = 8;
/// The wait before a second try; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// An import whose content is known, and of which nothing new has been done yet.
pub struct Import {
    staging: Staging,
    id: String,
    /// What was done of it before; `None` in a dry run.
    before: Option<Known>,
    /// The ids of the categories that the rows name, by place.
    categories: Arc<[i64]>,
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows to be done, those done before included; 0 until they have been compared with each other.
    pub rows: i64,
    /// Rows done.
    pub done: i64,
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// What it is known by.
    pub id: String,
    /// What became of its rows, from its beginning, however often it was interrupted.
    pub counts: Counts,
    /// When it had been finished before: then nothing was done now.
    pub finished_before: Option<Timestamp>,
}

/// What happens while an import merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportNews {
    /// A row was refused; told of the first [`FAULTS_MAX`].
    Fault(RowFault),
    /// It is so far now.
    Progress(Progress),
    /// It has ended, and nothing follows.
    Ended(Result<ImportReport, ImportError>),
}

/// An import that merges. It goes on whether anybody listens or not, and ends early, between two chunks,
/// when this is dropped.
pub struct Merging {
    faults: mpsc::Receiver<RowFault>,
    progress: watch::Receiver<Progress>,
    outcome: Option<oneshot::Receiver<Result<ImportReport, ImportError>>>,
}

impl Merging {
    /// What happens next; how far it has come if nothing does within `interval`.
    pub async fn next(&mut self, interval: Duration) -> ImportNews {
        let ended = async {
            match self.outcome.as_mut() {
                Some(outcome) => outcome.await.unwrap_or(Err(ImportError::Internal)),
                None => Err(ImportError::Internal),
            }
        };
        tokio::select! {
            biased;
            // Faults are told of before the end is.
            Some(fault) = self.faults.recv() => ImportNews::Fault(fault),
            outcome = ended => {
                self.outcome = None;
                ImportNews::Ended(outcome)
            }
            () = tokio::time::sleep(interval) => ImportNews::Progress(*self.progress.borrow()),
        }
    }
}

/// A chunk that is being merged, or soon will be.
struct UnderWay {
    chunk: Chunk,
    merged: JoinHandle<Result<Merged, ImportError>>,
    /// When the next one may set off; fails when it may not.
    opening: oneshot::Receiver<Opening>,
}

/// The other end of a [`Merging`].
struct Teller {
    faults: mpsc::Sender<RowFault>,
    progress: watch::Sender<Progress>,
    told: AtomicUsize,
}

impl Teller {
    /// Tells of faults, unless enough have been told of.
    fn tell(&self, faults: Vec<RowFault>) {
        let told = self.told.fetch_add(faults.len(), Ordering::Relaxed);
        for fault in faults.into_iter().take(FAULTS_MAX.saturating_sub(told)) {
            // The channel holds as many as are ever told of.
            self.faults.try_send(fault).ok();
        }
    }
}

impl Import {
    pub(super) fn new(staging: Staging, id: String, before: Option<Known>, categories: Arc<[i64]>) -> Self {
        Self { staging, id, before, categories }
    }

    /// What the import is known by, from now on.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Rows that an earlier attempt has done.
    #[must_use]
    pub fn done_before(&self) -> i64 {
        self.before.as_ref().map_or(0, |before| before.counts.rows())
    }

    /// Does the rest of it; in a dry run, tells what would be done.
    #[must_use]
    pub fn merge(self) -> Merging {
        let (faults_in, faults) = mpsc::channel(FAULTS_MAX);
        let (progress_in, progress) = watch::channel(Progress::default());
        let (outcome_in, outcome) = oneshot::channel();
        let tell = Teller { faults: faults_in, progress: progress_in, told: AtomicUsize::new(0) };
        let threads = self.staging.shared.threads.clone();
        threads.spawn(async move {
            let ended = self.carry_out(&tell).await;
            if let Err(error) = self.staging.put_away().await {
                tracing::warn!(%error, "rows of an import are left for the next one to remove");
            }
            drop(self);
            outcome_in.send(ended).ok();
        });
        Merging { faults, progress, outcome: Some(outcome) }
    }

    async fn carry_out(&self, tell: &Teller) -> Result<ImportReport, ImportError> {
        let report = |counts, finished_before| ImportReport { id: self.id.clone(), counts, finished_before };
        if let Some(Known { counts, repeated, finished_at: Some(at), .. }) = &self.before {
            return Ok(report(with_repeated(*counts, *repeated), Some(*at)));
        }
        let client = self.staging.line.client()?;
        let (faults, repeated) = match self.staging.skus {
            Skus::Different(..) => (Vec::new(), 0),
            Skus::Perhaps => store::refuse_repeated(client, self.staging.run).await?,
        };
        tell.tell(faults);
        let counts = self.merge_rows(self.staging.rows - repeated, tell).await?;
        if self.before.is_some() {
            store::finish_import(client, &self.id, self.staging.run, repeated).await?;
        }
        Ok(report(with_repeated(counts, repeated), None))
    }

    /// Does chunk after chunk until so many rows are done, those done before included.
    async fn merge_rows(&self, rows: i64, tell: &Teller) -> Result<Counts, ImportError> {
        let mut ahead = None;
        let merged = self.merge_chunks(rows, tell, &mut ahead).await;
        if let Some(UnderWay { merged, .. }) = ahead {
            // Its rows must not be put away before it has ended.
            merged.await.ok();
        }
        merged
    }

    /// As `merge_rows`, which sees to what is `ahead` when this ends.
    async fn merge_chunks(
        &self,
        rows: i64,
        tell: &Teller,
        ahead: &mut Option<UnderWay>,
    ) -> Result<Counts, ImportError> {
        let mut chunk = self.first_chunk();
        let mut counts = self.before.as_ref().map(|before| before.counts).unwrap_or_default();
        let mut is_selling = true;
        loop {
            tell.progress.send_replace(Progress { rows, done: counts.rows() });
            if counts.rows() >= rows {
                if self.before.is_some() {
                    // Or the next product that anybody makes might have to wait for it.
                    let readers = self.staging.shared.readers.clone();
                    self.staging.shared.threads.spawn(async move { tidy_search(&readers).await });
                }
                return Ok(counts);
            }
            self.staging.shared.go_on()?;
            if tell.progress.is_closed() {
                return Err(ImportError::Abandoned);
            }
            let merged = match &self.before {
                None => inventory::check_rows(self.staging.line.client()?, &chunk, counts).await?,
                Some(_) => self.merge_chunk(&mut chunk, !is_selling, ahead).await?,
            };
            tell.tell(merged.faults);
            if merged.up_to == chunk.after {
                // The table of staged rows is emptied when the server has to recover.
                tracing::warn!(id = self.id, "staged rows of an import are gone");
                return Err(ImportError::Unavailable);
            }
            is_selling = merged.is_selling;
            chunk.rows_max = next_size(chunk.rows_max, merged.took, is_selling);
            chunk.locks_first = merged.counts.updated > counts.updated;
            (chunk.after, counts) = (merged.up_to, merged.counts);
        }
    }

    fn first_chunk(&self) -> Chunk {
        Chunk {
            id: self.id.clone(),
            run: self.staging.run,
            by: self.staging.request.by,
            categories: self.categories.clone(),
            after: self.before.as_ref().map_or(0, |before| before.done_line),
            rows_max: CHUNK_FIRST,
            locks_first: false,
        }
    }

    /// Does a chunk, again while the database is out of reach. What is `ahead` is under way already, and is
    /// this chunk; left there is the next one, if it may set off before this one is done.
    async fn merge_chunk(
        &self,
        chunk: &mut Chunk,
        may_open: bool,
        ahead: &mut Option<UnderWay>,
    ) -> Result<Merged, ImportError> {
        let next_size = chunk.rows_max;
        // One that was behind another has not been tried yet if it came to nothing.
        let (mut under_way, mut wait) = match ahead.take() {
            Some(under_way) => (under_way, Duration::ZERO),
            None => (self.set_off(chunk.clone(), None, may_open), FIRST_WAIT),
        };
        *chunk = under_way.chunk.clone();
        for _ in 1..ATTEMPTS {
            match self.first_of(under_way, next_size, may_open, ahead).await {
                Err(ImportError::Unavailable) => tokio::time::sleep(wait).await,
                merged => return merged,
            }
            wait = (wait * 2).max(FIRST_WAIT);
            under_way = self.set_off(chunk.clone(), None, false);
        }
        ended(under_way.merged.await)
    }

    /// What a chunk comes to; the next one, of `next_size`, sets off meanwhile if it may.
    async fn first_of(
        &self,
        UnderWay { chunk, mut merged, opening }: UnderWay,
        next_size: i64,
        may_open: bool,
        ahead: &mut Option<UnderWay>,
    ) -> Result<Merged, ImportError> {
        tokio::select! {
            merged = &mut merged => ended(merged),
            Ok(Opening { after, ahead: place, changes }) = opening => {
                let next = Chunk { after, rows_max: next_size, locks_first: changes, ..chunk };
                *ahead = Some(self.set_off(next, Some(place), may_open));
                ended(merged.await)
            }
        }
    }

    /// Has a chunk merged, behind the one whose end `ahead` tells.
    fn set_off(&self, chunk: Chunk, ahead: Option<oneshot::Receiver<()>>, may_open: bool) -> UnderWay {
        let (behind, opening) = oneshot::channel();
        let place = Place { ahead, behind: may_open.then_some(behind) };
        let inventory = self.staging.shared.inventory.clone();
        let rows = MergeRows { chunk: chunk.clone(), place };
        let merged = async move { inventory.merge(rows).await.unwrap_or(Err(ImportError::Unavailable)) };
        UnderWay { chunk, merged: self.staging.shared.threads.spawn(merged), opening }
    }
}

/// The rows of the next chunk, so that it takes about as long as it should.
fn next_size(size: i64, took: Duration, is_selling: bool) -> i64 {
    let wanted = if is_selling { CHUNK_TIME } else { CHUNK_TIME_QUIET };
    let micros = i64::try_from(took.as_micros().max(1)).unwrap_or(i64::MAX);
    let wanted = size.saturating_mul(wanted.as_micros() as i64) / micros;
    wanted.clamp(size / 2, size * 2).clamp(CHUNK_MIN, CHUNK_MAX)
}

fn with_repeated(counts: Counts, repeated: i64) -> Counts {
    Counts { refused: counts.refused + repeated, ..counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_and_shrink_to_what_is_done_in_time() {
        let next = |size, millis| next_size(size, Duration::from_millis(millis), true);
        assert_eq!(next(500, 20), 1000);
        assert_eq!(next(500, 1), 1000, "at most twice as many");
        assert_eq!(next(1000, 60), 666);
        assert_eq!(next(1000, 5000), 500, "at least half as many");
        assert_eq!(next(60, 5000), CHUNK_MIN);
        assert_eq!((next(6000, 20), next(6000, 0)), (CHUNK_MAX, CHUNK_MAX));
        assert_eq!(next_size(1000, Duration::from_millis(200), false), 1250, "larger while nobody waits");
    }
}
