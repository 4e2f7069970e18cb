//! What `serve --first-run` does to an empty shop: products, and somebody who may write them.

use std::path::Path;

use emporium_actors::Shop;
use emporium_actors::catalog::ProductQuery;
use emporium_actors::types::PageRequest;

use super::{CliError, import, password, terminal};

const USERNAME: &str = "admin";
const EMAIL: &str = "admin@localhost";

/// A staff account that was just made.
pub(super) struct NewAdmin {
    pub(super) username: &'static str,
    /// Known to nobody else; shown once.
    pub(super) password: String,
}

/// Imports `file` where there are no products yet, and makes a staff account where there is none.
pub(super) async fn prepare(shop: &Shop, file: &Path) -> Result<Option<NewAdmin>, CliError> {
    let page = PageRequest { after: None, size: 1 };
    if shop.catalog.list_products(&ProductQuery::default(), &page).await?.items.is_empty() {
        let rows = import::read(file).await?;
        let report = import::write(shop, rows).await?;
        terminal::line(&format_args!("Imported {}", import::summary(&report)));
    }
    if shop.accounts.has_staff().await? {
        return Ok(None);
    }
    let password = password::generate();
    shop.accounts.create_admin(USERNAME, EMAIL, &password).await?;
    Ok(Some(NewAdmin { username: USERNAME, password }))
}
