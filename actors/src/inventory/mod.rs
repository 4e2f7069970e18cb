//! Inventory: everything that changes a stock, decided and written in batches.
//!
//! Promises: while one batch commits the next one gathers, so the longer the queue, the larger the
//! batch, and a lone message waits for nobody; a batch is one transaction of two round trips that
//! locks carts, orders, categories and stocks, each in id order; nothing is answered before COMMIT;
//! a message that the database refuses fails alone; the fate of a COMMIT whose answer was lost is
//! asked of the database, never guessed; the queue is no longer than what is served within the longest
//! wait, and whoever would wait longer is refused at once. The rows of an import are merged a chunk or two
//! at a time beside the batches, in short transactions that lock as a batch does.

mod actor;
mod admission;
mod decide;
mod entrance;
mod error;
mod facts;
mod import;
mod job;
mod lane;
mod messages;
mod pipeline;
mod queue;
mod shelves;
mod sold_out;
pub(crate) mod store;
mod trade;

pub use actor::{InventoryActor, InventorySettings};
pub use entrance::Inventory;
pub use error::InventoryError;
pub(crate) use import::check_rows;
pub use job::{Ask, Job};
pub use messages::{CorrectStock, CreateProduct, EditProduct, Move, RemoveCategory, RemoveProduct, Sell};
pub(crate) use sold_out::SoldOut;
pub(crate) use trade::Trade;
