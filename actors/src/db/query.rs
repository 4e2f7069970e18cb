//! A statement with its name, so that every failure can say which one it was.

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::StoreError;

/// One statement of `sql/`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    /// Its file, below `sql/`.
    pub name: &'static str,
    /// Its text.
    pub sql: &'static str,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Query {
    /// Makes the statement known to this connection, after which its first poll sends it.
    pub(crate) async fn prepare(&self, client: &impl GenericClient) -> Result<(), StoreError> {
        let prepared = client.prepare_cached(self.sql).await;
        prepared.map(drop).map_err(|error| StoreError::new(self.name, error))
    }

    /// Every row it gives.
    pub(crate) async fn rows(
        &self,
        client: &impl GenericClient,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let run = async {
            let statement = client.prepare_cached(self.sql).await?;
            client.query(&statement, params).await
        };
        // Apart, for what it holds would be part of whatever waits for it.
        Box::pin(run).await.map_err(|error| StoreError::new(self.name, error))
    }

    /// The row it gives, if it gives one.
    pub(crate) async fn opt(
        &self,
        client: &impl GenericClient,
        params: Params<'_>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(client, params).await?.into_iter().next())
    }

    /// How many rows it wrote.
    pub(crate) async fn execute(
        &self,
        client: &impl GenericClient,
        params: Params<'_>,
    ) -> Result<u64, StoreError> {
        let run = async {
            let statement = client.prepare_cached(self.sql).await?;
            client.execute(&statement, params).await
        };
        Box::pin(run).await.map_err(|error| StoreError::new(self.name, error))
    }
}

/// Names statements: `queries! { GET_USER = "accounts/get_user.sql"; }` makes a constant of each
/// file below `sql/`, and `QUERIES` of them all, which a test prepares against a migrated database.
macro_rules! queries {
    ($($name:ident = $path:literal;)*) => {
        $(const $name: $crate::db::Query = $crate::db::Query {
            name: $path,
            sql: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/", $path)),
        };)*
        /// Every statement of this area.
        pub(crate) const QUERIES: &[$crate::db::Query] = &[$($name),*];
    };
}
pub(crate) use queries;
