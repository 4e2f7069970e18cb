//! The catalogue.
use std::sync::Arc;
use actix::Addr;
use crate::db::Db;
use crate::feed::{Announcer, EventKind, Listener};
use crate::inventory::InventoryActor;
use crate::types::Seq;
mod product;
pub use product::{CATEGORIES_MAX, Category, NewProduct, Product, ProductChanges, STOCK_MAX};
/// How the catalogue is read.
#[derive(Clone, Debug)]
pub struct CatalogSettings {
    /// Redis to cache in; in process without one.
    pub redis_url: Option<String>,
    /// Entries the in-process cache may hold.
    pub cache_entries_max: u64,
}
/// Cache.
pub struct CatalogCache {}
impl CatalogCache { /// New.
    pub fn new(_settings: &CatalogSettings) -> Self { unimplemented!() } }
impl Listener for CatalogCache { fn on_event(&self, _seq: Seq, _kind: &EventKind) {} }
/// Service.
#[derive(Clone)]
pub struct Catalog {}
impl Catalog { /// New.
    pub fn new(_db: Db, _announcer: Announcer, _cache: Arc<CatalogCache>, _inventory: Addr<InventoryActor>) -> Self { unimplemented!() } }
