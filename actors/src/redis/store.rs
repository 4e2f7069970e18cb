//! What Redis has to know about the database.

use crate::db::{Db, StoreError, queries};

queries! {
    GET_NAMESPACE = "redis/get_namespace.sql";
}

/// What tells this database from every other; `None` where it is not migrated.
pub(super) async fn get_namespace(db: &Db) -> Result<Option<String>, StoreError> {
    let client = db.client(GET_NAMESPACE.name).await?;
    Ok(GET_NAMESPACE.opt(&client, &[]).await?.map(|row| row.get(0)))
}
