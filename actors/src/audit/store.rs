//! The one statement of the audit.

use super::{AuditReport, Discrepancy};
use crate::db::{Db, StoreError, queries};
use crate::types::{ProductId, Timestamp};

queries! {
    CHECK_CONSERVATION = "audit/check_conservation.sql";
}

pub(super) async fn check_conservation(db: &Db) -> Result<AuditReport, StoreError> {
    let client = db.client(CHECK_CONSERVATION.name).await?;
    let rows = CHECK_CONSERVATION.rows(&client, &[]).await?;
    let first = rows.first().ok_or_else(|| StoreError::unavailable(CHECK_CONSERVATION.name))?;
    let discrepancies: Vec<Discrepancy> = rows
        .iter()
        .filter_map(|row| {
            let product = ProductId(row.get::<_, Option<i64>>(5)?);
            Some(Discrepancy {
                product,
                sku: row.get(6),
                name: row.get(7),
                expected: row.get(8),
                actual: row.get(9),
            })
        })
        .collect();
    Ok(AuditReport {
        ok: discrepancies.is_empty(),
        checked_at: Timestamp(first.get(0)),
        products: first.get(1),
        orders: first.get(2),
        units_in: first.get(3),
        units_out: first.get(4),
        discrepancies,
    })
}
