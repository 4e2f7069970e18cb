//! Carts.
mod messages;
pub use messages::*;
use crate::db::Db;
use crate::orders::OrderActor;
use actix::Addr;
/// Limits.
#[derive(Clone, Debug)]
pub struct CartSettings {
    /// The most cart actors at once.
    pub active_max: usize,
    /// Idle time after which one is put away.
    pub idle_after: std::time::Duration,
}
/// S
#[derive(Clone)]
pub struct Carts {}
impl Carts { /// New.
    pub fn new(_db: Db, _orders: Addr<OrderActor>, _settings: CartSettings) -> Self { unimplemented!() } }
/// S
#[derive(Debug)] pub struct Cart;
/// S
#[derive(Debug)] pub struct CartItem;
/// S
#[derive(Debug)] pub struct CartError;
