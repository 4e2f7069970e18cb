//! Audit: does every unit add up.
use crate::db::Db;
/// Stub.
#[derive(Clone)]
pub struct Audit { db: Db }
impl Audit { /// New.
    pub fn new(db: Db) -> Self { Self { db } } }
