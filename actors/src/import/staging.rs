//! Taking an import in: its rows go into a table of their own, and nothing else happens.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::merge::Import;
use super::row::{CategoryRef, ImportRow, StockChange};
use super::store::{self, Known};
use super::{ImportError, ImportId, ImportRequest, Shared, ended};
use crate::catalog::{CATEGORIES_MAX, CatalogError, NewCategory};
use crate::db::StoreError;
use crate::idempotency::Done;

/// The most statements that an import spends on rows of others, which died.
const ABANDONED_ROUNDS: u32 = 20;
/// How long an import is remembered after it was last touched.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// The skus that are remembered by their hashes, in up to 19 MB (28 while they move to more room), to tell that none
/// came twice. Where one may have, or there are more, the database compares them all: a second and more for a million.
const SKUS_MAX: usize = 1_800_000;

/// The connection of an import, which holds its locks. It is closed with the value, and they with it.
pub(super) struct Line(Option<Object>);

impl Line {
    pub(super) fn client(&self) -> Result<&Object, ImportError> {
        self.0.as_ref().ok_or(ImportError::Internal)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// The categories that an import names, by place; no more of them than there may be.
#[derive(Debug, Default)]
pub(super) struct Categories {
    places: HashMap<CategoryRef, i32>,
}

impl Categories {
    /// The place of a category, from 1. All that are too many share the one behind the last.
    fn place(&mut self, category: &CategoryRef) -> i32 {
        if let Some(place) = self.places.get(category) {
            return *place;
        }
        let next = i32::try_from(self.places.len() + 1).unwrap_or(i32::MAX);
        if i64::from(next) <= CATEGORIES_MAX {
            self.places.insert(category.clone(), next);
        }
        next
    }

    /// Those that were named, in the order of their places.
    pub(super) fn in_order(&self) -> Vec<&CategoryRef> {
        let mut categories: Vec<_> = self.places.iter().collect();
        categories.sort_unstable_by_key(|(_, place)| **place);
        categories.into_iter().map(|(category, _)| category).collect()
    }
}

/// Whether a sku may have come twice.
#[derive(Debug)]
pub(super) enum Skus {
    /// No: the hashes of those that came. The key is drawn anew, so that nobody can choose skus that share one.
    Different(HashSet<u64>, RandomState),
    Perhaps,
}

impl Skus {
    fn note(&mut self, sku: &str) {
        let Self::Different(hashes, by) = self else { return };
        if hashes.len() == SKUS_MAX || !hashes.insert(by.hash_one(sku)) {
            *self = Self::Perhaps;
        }
    }
}

/// An import that is being taken in. Dropping it leaves nothing behind but rows that the next import
/// removes.
pub struct Staging {
    pub(super) shared: Arc<Shared>,
    pub(super) line: Arc<Line>,
    pub(super) request: ImportRequest,
    pub(super) run: i64,
    pub(super) categories: Categories,
    pub(super) skus: Skus,
    /// Rows taken in.
    pub(super) rows: i64,
    /// The last of them, which are being copied in.
    copying: Option<JoinHandle<Result<(), ImportError>>>,
    /// Whether any of them is a difference of stock.
    has_deltas: bool,
    /// Done before, so that its rows need not be kept.
    is_finished: bool,
    _seat: OwnedSemaphorePermit,
}

impl Staging {
    pub(super) async fn begin(shared: Arc<Shared>, request: ImportRequest) -> Result<Self, ImportError> {
        shared.go_on()?;
        let seat = shared.seats.clone().try_acquire_owned().map_err(|_| ImportError::Overloaded)?;
        let line = Arc::new(Line(Some(shared.db.client("import/open_run.sql").await?)));
        let client = line.client()?;
        let run = store::open_run(client).await?;
        let mut is_finished = false;
        if let ImportId::Given(id) = &request.id
            && !request.is_dry_run
        {
            if !store::lock_id(client, id).await? {
                return Err(ImportError::UnderWay);
            }
            is_finished = store::is_finished(client, id).await?;
        }
        let categories = Categories::default();
        let skus = Skus::Different(HashSet::new(), RandomState::new());
        Ok(Self {
            shared,
            line,
            request,
            run,
            categories,
            skus,
            rows: 0,
            copying: None,
            has_deltas: false,
            is_finished,
            _seat: seat,
        })
    }

    /// Takes rows in: a few thousand at once, for the sake of both speed and memory. They are copied while the next
    /// ones are read, and where the connection is driven, so that no thread waits for another at each piece.
    ///
    /// # Errors
    /// When the node is being stopped, or the database is out of reach or was for the rows before.
    pub async fn put(&mut self, rows: Vec<ImportRow>) -> Result<(), ImportError> {
        self.shared.go_on()?;
        self.rows += rows.len() as i64;
        self.has_deltas |= rows.iter().any(|row| matches!(row.stock, Some(StockChange::Delta(_))));
        if self.is_finished || rows.is_empty() {
            return Ok(());
        }
        rows.iter().for_each(|row| self.skus.note(&row.sku));
        let places: Vec<Option<i32>> = rows
            .iter()
            .map(|row| row.category.as_ref().map(|category| self.categories.place(category)))
            .collect();
        self.copied().await?;
        let (line, run) = (self.line.clone(), self.run);
        let copy = async move { Ok(store::stage(line.client()?, run, &rows, &places).await?) };
        self.copying = Some(self.shared.threads.spawn(copy));
        Ok(())
    }

    /// Waits for the rows that are being copied in.
    async fn copied(&mut self) -> Result<(), ImportError> {
        match self.copying.take() {
            Some(copying) => ended(copying.await),
            None => Ok(()),
        }
    }

    /// Ends the taking in: from here on it is known what is to be imported, by its hash, and what became
    /// of it before.
    ///
    /// # Errors
    /// [`ImportError::IdReused`] when the id belongs to other content, [`ImportError::UnderWay`] when the
    /// same content is being imported, or when the database is out of reach.
    pub async fn seal(mut self, content_hash: [u8; 32]) -> Result<Import, ImportError> {
        match self.claim(&content_hash).await {
            Ok((id, before, categories)) => Ok(Import::new(self, id, before, categories.into())),
            Err(error) => {
                self.give_up().await;
                Err(error)
            }
        }
    }

    /// Puts everything away, so that the next attempt finds nothing of this one.
    pub async fn give_up(mut self) {
        self.copied().await.ok();
        if let Err(error) = self.put_away().await {
            tracing::debug!(%error, "rows of an import are left for the next one to remove");
        }
    }

    /// What the import is known by, what was done of it before, and the categories that it names.
    async fn claim(
        &mut self,
        content_hash: &[u8; 32],
    ) -> Result<(String, Option<Known>, Vec<i64>), ImportError> {
        self.copied().await?;
        let client = self.line.client()?;
        let id = match &self.request.id {
            ImportId::Given(id) => id.clone(),
            ImportId::OfContent if self.has_deltas => {
                let id = format!("sha256-{}", hex(content_hash));
                if !self.request.is_dry_run && !store::lock_id(client, &id).await? {
                    return Err(ImportError::UnderWay);
                }
                id
            }
            ImportId::OfContent | ImportId::Fresh => hex(&rand::random::<[u8; 16]>()),
        };
        let before = match self.request.is_dry_run {
            true => None,
            false => {
                let by = self.request.by;
                let claimed = store::claim_import(client, &id, self.run, content_hash, by).await?;
                Some(claimed.ok_or(ImportError::IdReused)?)
            }
        };
        let categories = match before {
            Some(Known { finished_at: Some(_), .. }) => Vec::new(),
            _ => self.find_categories().await?,
        };
        Ok((id, before, categories))
    }

    /// Removes the rows, and some of what others left behind, and gives the locks back.
    pub(super) async fn put_away(&self) -> Result<(), StoreError> {
        let Ok(client) = self.line.client() else { return Ok(()) };
        store::remove_rows(client, self.run, self.rows).await?;
        let (mut after, mut rounds) = (0, 0);
        while let Some((run, is_ours)) = store::find_abandoned_run(client, after).await? {
            while is_ours && rounds < ABANDONED_ROUNDS && store::delete_rows(client, run).await? > 0 {
                rounds += 1;
            }
            after = run;
        }
        store::prune_imports(client, KEPT).await?;
        // Not left to the closing of the connection, which the server may notice too late for whoever
        // repeats the import at once.
        store::release_locks(client).await
    }

    /// The ids of the categories that the rows name, by place, the missing ones made; 0 for what cannot be.
    /// In a dry run a missing one gets an id that no category has.
    async fn find_categories(&self) -> Result<Vec<i64>, ImportError> {
        let named = self.categories.in_order();
        let names: Vec<&str> = named.iter().filter_map(|category| category.name()).collect();
        let ids: Vec<i64> = named.iter().filter_map(|category| category.id()).collect();
        let found = store::find_categories(self.line.client()?, &names, &ids).await?;
        let by_name: HashMap<&str, i64> = found.iter().map(|(id, name)| (name.as_str(), id.0)).collect();
        let there: HashSet<i64> = found.iter().map(|(id, _)| id.0).collect();
        let mut categories = Vec::with_capacity(named.len());
        for (place, category) in (1..).zip(named) {
            let by_name = category.name().and_then(|name| by_name.get(name).copied());
            let known = by_name.or_else(|| category.id().filter(|id| there.contains(id)));
            categories.push(match (known, category.name()) {
                (Some(id), _) => id,
                (None, None) => 0,
                (None, Some(_)) if self.request.is_dry_run => -place,
                (None, Some(name)) => self.make_category(name).await?,
            });
        }
        Ok(categories)
    }

    /// The id of a new category, or of the one that somebody else has just made; 0 when there are too many.
    async fn make_category(&self, name: &str) -> Result<i64, ImportError> {
        self.shared.go_on()?;
        let new = NewCategory { name: name.to_owned(), description: None };
        match self.shared.catalog.create_category(&new, None).await {
            Ok(Done::Now(category)) => Ok(category.id),
            Err(CatalogError::TooManyCategories) => Ok(0),
            // An answer from before needs a key, and there is none.
            Ok(Done::Before(_)) | Err(CatalogError::NameTaken) => {
                let found = store::find_categories(self.line.client()?, &[name], &[]).await?;
                found.first().map(|(id, _)| id.0).ok_or(ImportError::Unavailable)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl CategoryRef {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Id(_) => None,
        }
    }

    /// The id that it is, or may be.
    fn id(&self) -> Option<i64> {
        match self {
            Self::Name(name) => name.parse().ok().filter(|id| *id > 0),
            Self::Id(id) => Some(id.0),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CategoryId;

    fn named(n: i64) -> CategoryRef {
        CategoryRef::Name(n.to_string())
    }

    #[test]
    fn categories_keep_their_places_and_are_no_more_than_there_may_be() {
        let mut categories = Categories::default();
        for n in 1..=CATEGORIES_MAX {
            assert_eq!(i64::from(categories.place(&named(n))), n);
        }
        assert_eq!(categories.place(&named(7)), 7);
        let beyond = i32::try_from(CATEGORIES_MAX).unwrap() + 1;
        assert_eq!((categories.place(&named(0)), categories.place(&named(-1))), (beyond, beyond));
        assert_eq!(categories.in_order()[6], &named(7));
    }

    #[test]
    fn a_name_of_digits_may_be_an_id() {
        assert_eq!(CategoryRef::Name("17".to_owned()).id(), Some(17));
        for name in ["0", "-1", "Bags", "99999999999999999999"] {
            assert_eq!(CategoryRef::Name(name.to_owned()).id(), None);
        }
        assert_eq!(CategoryRef::Id(CategoryId(3)).id(), Some(3));
    }

    #[test]
    fn a_sku_that_comes_twice_is_noticed_and_so_are_too_many_to_tell() {
        let mut skus = Skus::Different(HashSet::new(), RandomState::new());
        for sku in ["A", "a", "B", ""] {
            skus.note(sku);
            assert!(matches!(skus, Skus::Different(..)), "{sku}");
        }
        skus.note("a");
        assert!(matches!(skus, Skus::Perhaps));

        let mut skus = Skus::Different((0..SKUS_MAX as u64 - 1).collect(), RandomState::new());
        skus.note("one");
        assert!(matches!(skus, Skus::Different(..)));
        skus.note("too many");
        assert!(matches!(skus, Skus::Perhaps));
    }
}
