//! What `serve --first-run` does to an empty shop: products, and somebody who may write them.

use std::path::Path;

use emporium_actors::Shop;
use emporium_actors::catalog::ProductQuery;
use emporium_actors::import::{ImportId, ImportRequest};
use emporium_actors::types::PageRequest;

use super::import::{self, Source};
use super::{CliError, password};
use crate::settings::Settings;

const USERNAME: &str = "admin";
const EMAIL: &str = "admin@localhost";

/// A staff account that was just made.
pub(super) struct NewAdmin {
    pub(super) username: &'static str,
    /// Known to nobody else; shown once.
    pub(super) password: String,
}

/// Imports `file` where there are no products yet, and makes a staff account where there is none.
pub(super) async fn prepare(
    shop: &Shop,
    file: &Path,
    settings: &Settings,
) -> Result<Option<NewAdmin>, CliError> {
    let page = PageRequest { after: None, size: 1 };
    if shop.catalog.list_products(&ProductQuery::default(), &page).await?.items.is_empty() {
        let source = Source::open(file, None)?;
        let (name, request) =
            (source.name.clone(), ImportRequest { id: ImportId::Fresh, by: None, is_dry_run: false });
        let outcome = import::bring_in(shop, source, request, settings.http.import_bytes_max).await?;
        // Rows that were refused are named, and no reason not to open.
        import::tell(&name, &outcome, false);
    }
    if shop.accounts.has_staff().await? {
        return Ok(None);
    }
    let password = password::generate();
    shop.accounts.create_admin(USERNAME, EMAIL, &password).await?;
    Ok(Some(NewAdmin { username: USERNAME, password }))
}
