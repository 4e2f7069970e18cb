//! Every statement of the shop in one list, for whoever wants to check them all.

use crate::{
    accounts, audit, cart, catalog, db, feed, idempotency, import, inventory, mailer, nodes, orders, redis,
};

/// Every statement of the shop, by name, the composed ones in representative forms; for a test that
/// prepares them all against a migrated database.
#[must_use]
pub fn all_statements() -> Vec<(&'static str, String)> {
    let areas = [
        accounts::QUERIES,
        audit::QUERIES,
        cart::store::QUERIES,
        catalog::store::QUERIES,
        db::QUERIES,
        feed::store::QUERIES,
        idempotency::store::QUERIES,
        import::store::QUERIES,
        inventory::store::QUERIES,
        mailer::store::QUERIES,
        nodes::store::QUERIES,
        orders::store::QUERIES,
        redis::store::QUERIES,
    ];
    let fixed = areas.into_iter().flatten().map(|query| (query.name, query.sql.to_owned()));
    let composed = catalog::list_products_samples().into_iter().map(|sql| ("catalog/list_products.sql", sql));
    fixed.chain(composed).collect()
}
