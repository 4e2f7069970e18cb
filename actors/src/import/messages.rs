//! What an import asks the inventory.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use tokio::sync::oneshot;

use super::{ImportError, RowFault};
use crate::types::UserId;

/// Does the next rows of an import: one transaction, in which every change of stock is written as a
/// correction is, and how far the import has come with it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Merged, ImportError>")]
pub struct MergeRows {
    /// Which rows.
    pub chunk: Chunk,
    /// Where they stand among those that are under way.
    pub place: Place,
}

/// Where a chunk stands in its import when another one is under way beside it; by default none is.
#[derive(Debug, Default)]
pub struct Place {
    /// Told when the chunk ahead is committed, which comes first; closed when that came to nothing. Such a
    /// chunk is tried once.
    pub ahead: Option<oneshot::Receiver<()>>,
    /// Where the next one is told that it may set off; closed where it may not.
    pub behind: Option<oneshot::Sender<Opening>>,
}

/// What the next chunk needs to set off before this one is committed.
#[derive(Debug)]
pub struct Opening {
    /// It has the rows after this line.
    pub after: i64,
    /// Its place.
    pub ahead: oneshot::Receiver<()>,
    /// Whether this one changes known products, as the next one then likely does.
    pub changes: bool,
}

/// Some rows of an import.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The import's id.
    pub id: String,
    /// The attempt whose rows they are; an earlier one is refused with [`ImportError::UnderWay`].
    pub run: i64,
    /// Who does it; `None` for the command line.
    pub by: Option<UserId>,
    /// The ids of the categories that the rows name, by place; 0 for one that cannot be.
    pub categories: Arc<[i64]>,
    /// The rows after this line.
    pub after: i64,
    /// At most so many.
    pub rows_max: i64,
    /// Whether known products are likely to change: then they are locked before they are first looked at.
    pub locks_first: bool,
}

/// How far an import has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Every row up to this line is done; as asked for where no rows are left.
    pub up_to: i64,
    /// What became of them, from the import's beginning.
    pub counts: Counts,
    /// Why rows were refused just now.
    pub faults: Vec<RowFault>,
    /// How long that took, without any waiting for a turn or for the chunk ahead.
    pub took: Duration,
    /// Whether the shop sold meanwhile, on this node.
    pub is_selling: bool,
}

/// What became of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Products that are new.
    pub created: i64,
    /// Products that were different before.
    pub updated: i64,
    /// Products that were as the row says.
    pub unchanged: i64,
    /// Rows that were refused.
    pub refused: i64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.created + self.updated + self.unchanged + self.refused
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.refused += other.refused;
    }
}
