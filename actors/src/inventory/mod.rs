//! Inventory.
mod error; mod messages;
pub use error::InventoryError;
pub use messages::*;
use crate::db::*; use crate::feed::Announcer; use actix::Addr;
/// S
pub struct InventoryActor {}
impl actix::Actor for InventoryActor { type Context = actix::Context<Self>; }
/// Batches.
#[derive(Clone, Debug)] pub struct InventorySettings {
    /// The most messages one transaction carries.
    pub batch_max: usize,
    /// The most messages that may wait.
    pub queue_max: usize,
    /// How long a `pending` order holds its stock.
    pub hold: std::time::Duration,
}
impl InventoryActor { /// L
 pub fn launch(_database: &Database, _a: Announcer, _s: InventorySettings) -> Result<Addr<Self>, ConnectError> { unimplemented!() } }
