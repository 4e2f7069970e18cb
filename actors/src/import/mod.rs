//! Bringing a whole catalogue in, and out again, while the shop sells.
//!
//! An import is taken in first (`staging`): every row, checked by itself, is copied into a table that
//! belongs to the attempt, while the content is hashed. Only then is anything changed (`merge`): a row
//! whose sku an earlier row has is refused, categories that are missing are made, and the inventory
//! merges the rows in short transactions, which are committed in the order of the content.
//!
//! Promises: a row is known by its `sku` and done wholly or refused with its line and column, whatever
//! becomes of the others; memory is constant however long the content is; what is refused as a whole has
//! changed nothing; each transaction writes down, with what it does, how far the import has come, so that
//! no row of an import is ever done twice, whoever repeats it after whatever interruption; content that
//! is what the shop says already writes nothing.

mod error;
mod export;
mod merge;
mod messages;
mod row;
mod staging;
pub(crate) mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

pub use error::ImportError;
pub use export::{EXPORT_PAGE_ROWS, ExportRow};
pub use merge::{Import, ImportNews, ImportReport, Merging, Progress};
pub use messages::{Chunk, Counts, MergeRows, Merged, Opening, Place};
pub use row::{CategoryRef, ImportRow, RowFault, StockChange};
pub use staging::Staging;

use crate::catalog::Catalog;
use crate::db::{ConnectError, Database, Db, StoreError};
use crate::inventory::Inventory;
use crate::types::UserId;

/// The most imports that one node works on at once; each has a connection of its own.
const AT_ONCE_MAX: usize = 4;
/// The longest id, in characters.
pub const ID_CHARS_MAX: usize = 255;
/// The most rows that an import tells of one by one; the others are counted.
pub const FAULTS_MAX: usize = 1000;

/// What an import is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportId {
    /// Its sender's own: 1 to [`ID_CHARS_MAX`] characters. The same id again goes on where the import
    /// stopped, and does nothing once it is done.
    Given(String),
    /// Its content, where that holds differences of stock: such content is then done once. Content
    /// without any may be done as often as it is sent, since a count is a count.
    OfContent,
    /// Nothing that was there before: it is an import of its own.
    Fresh,
}

/// Who imports what.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// What the import is known by.
    pub id: ImportId,
    /// Who does it; `None` for the command line.
    pub by: Option<UserId>,
    /// Whether to tell what would be done, and do nothing.
    pub is_dry_run: bool,
}

/// The imports of this node. Cheap to clone.
#[derive(Clone)]
pub struct Imports {
    shared: Arc<Shared>,
}

/// What every import of this node needs.
struct Shared {
    /// A connection for each import.
    db: Db,
    /// The connections of all readers.
    readers: Db,
    catalog: Catalog,
    inventory: Inventory,
    /// Where merging runs, so that it waits for no reader.
    threads: Handle,
    seats: Arc<Semaphore>,
    stopping: AtomicBool,
}

impl Imports {
    /// Imports into this catalogue.
    ///
    /// # Errors
    /// When the connection pool cannot be made.
    pub fn new(database: &Database, catalog: Catalog, inventory: Inventory) -> Result<Self, ConnectError> {
        let (db, readers) = (database.dedicated(AT_ONCE_MAX)?, database.db());
        let threads = database.handle();
        let (seats, stopping) = (Arc::new(Semaphore::new(AT_ONCE_MAX)), AtomicBool::new(false));
        Ok(Self { shared: Arc::new(Shared { db, readers, catalog, inventory, threads, seats, stopping }) })
    }

    /// Begins an import, which changes nothing before [`Import::merge`].
    ///
    /// # Errors
    /// [`ImportError::UnderWay`] when somebody works on the id, [`ImportError::Overloaded`] when this
    /// node works on as many imports as it does at once, or when the database is out of reach.
    pub async fn begin(&self, request: ImportRequest) -> Result<Staging, ImportError> {
        Staging::begin(self.shared.clone(), request).await
    }

    /// The products after `after` (0 at first), by id, at most [`EXPORT_PAGE_ROWS`] of them; fewer only at
    /// the end. Each page is of its own moment.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn export_page(&self, after: i64) -> Result<Vec<ExportRow>, StoreError> {
        store::list_products(&self.shared.readers.client("import/list_products.sql").await?, after).await
    }

    /// Ends what is under way at the next chunk; nothing new begins.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn go_on(&self) -> Result<(), ImportError> {
        if self.stopping.load(Ordering::Relaxed) { Err(ImportError::Stopping) } else { Ok(()) }
    }
}

/// What a task of an import came to.
fn ended<T>(task: Result<Result<T, ImportError>, JoinError>) -> Result<T, ImportError> {
    task.unwrap_or(Err(ImportError::Internal))
}
