//! stub
use crate::db::Db; use actix::Addr; use crate::inventory::InventoryActor;
/// S
pub struct OrderActor {}
impl actix::Actor for OrderActor { type Context = actix::Context<Self>; }
/// S
#[derive(Clone, Debug)] pub struct OrderSettings { /// hold
 pub hold: std::time::Duration }
impl OrderActor { /// L
 pub fn launch(_db: Db, _inventory: Addr<InventoryActor>, _s: OrderSettings) -> Addr<Self> { unimplemented!() } }
