//! The catalogue: categories, products, and corrections of their stock.
//!
//! Anyone reads; staff write. A write checks, in this order: who is asking, whether the thing
//! exists, whether the idempotency key has been answered, the body, its fields.

mod categories;
pub(super) mod etag;
mod export;
mod import;
mod product_query;
mod products;
mod reading;
mod search;
mod suggest;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use emporium_actors::catalog::{CATEGORIES_MAX, CatalogError};
use emporium_actors::idempotency::{Done, IdempotencyKey};
use emporium_actors::inventory::InventoryError;
use emporium_actors::types::Principal;

use super::AppState;
use super::auth;
use super::body::Body;
use super::error::ApiError;
use super::fields::unknown_key;
use super::resource::Resource;
use super::respond;

/// Declares the endpoints.
pub(crate) fn routes(resources: &mut Vec<Resource>) {
    Resource::new("Products List", "/api/products/")
        .get(products::list)
        .post(products::create)
        .staff_writes()
        .mount(resources);
    Resource::new("Products Import", "/api/products/import/")
        .speaking(&import::FORMATS)
        .post(import::import)
        .staff_writes()
        .mount(resources);
    Resource::new("Products Export", "/api/products/export/")
        .speaking(&export::FORMATS)
        .get(export::export)
        .mount(resources);
    Resource::new("Products Suggest", "/api/products/suggest/").get(suggest::suggest).mount(resources);
    Resource::new("Products Detail", "/api/products/{id}/")
        .get(products::detail)
        .put(products::replace)
        .patch(products::change)
        .delete(products::remove)
        .staff_writes()
        .mount(resources);
    Resource::new("Product Stock", "/api/products/{id}/stock/")
        .post(products::correct_stock)
        .staff_writes()
        .mount(resources);
    Resource::new("Categories List", "/api/categories/")
        .get(categories::list)
        .post(categories::create)
        .staff_writes()
        .mount(resources);
    Resource::new("Categories Detail", "/api/categories/{id}/")
        .get(categories::detail)
        .put(categories::replace)
        .patch(categories::change)
        .delete(categories::remove)
        .staff_writes()
        .mount(resources);
}

/// What kind of thing a request is about, for the errors that name it.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Category,
    Product,
}

impl Subject {
    fn not_found(self) -> ApiError {
        ApiError::detail(StatusCode::NOT_FOUND, format!("No {self:?} matches the given query."))
    }

    fn catalog_error(self, error: &CatalogError) -> ApiError {
        match error {
            CatalogError::NotFound => self.not_found(),
            CatalogError::NameTaken => ApiError::field("name", "category with this name already exists."),
            CatalogError::TooManyCategories => {
                let text =
                    format!("There are {CATEGORIES_MAX} categories already, which is the most there may be.");
                ApiError::detail(StatusCode::CONFLICT, text).code("too_many_categories")
            }
            CatalogError::InvalidCursor => respond::invalid_cursor(),
            CatalogError::KeyReused(_) => ApiError::key_reused(),
            CatalogError::Overloaded => ApiError::overloaded(),
            CatalogError::Unavailable => ApiError::unavailable(),
            CatalogError::OutcomeUnknown => ApiError::outcome_unknown(),
            CatalogError::Internal => ApiError::internal(),
        }
    }

    fn inventory_error(self, error: &InventoryError) -> ApiError {
        match error {
            InventoryError::NotFound => self.not_found(),
            InventoryError::UnknownCategory(id) => ApiError::field("category", unknown_key(id)),
            InventoryError::SkuTaken => ApiError::field("sku", "product with this sku already exists."),
            InventoryError::BelowZero { available } => {
                let text = format!("There are only {available} in stock.");
                ApiError::detail(StatusCode::CONFLICT, text).code("below_zero").with("available", *available)
            }
            InventoryError::StockTooLarge => ApiError::field("delta", "The stock would become too large."),
            InventoryError::VersionMismatch => {
                let text = "The product has been edited since.";
                ApiError::detail(StatusCode::PRECONDITION_FAILED, text).code("precondition_failed")
            }
            InventoryError::KeyReused(_) => ApiError::key_reused(),
            InventoryError::Overloaded => ApiError::overloaded(),
            InventoryError::Unavailable => ApiError::unavailable(),
            InventoryError::OutcomeUnknown => ApiError::outcome_unknown(),
            InventoryError::Internal => ApiError::internal(),
        }
    }
}

/// What the idempotency key of a write that makes something has led to.
enum Keyed {
    /// The answer it got before.
    Answered(HttpResponse),
    /// Nothing yet; it goes with the write.
    New(Option<IdempotencyKey>),
}

/// Looks up the key of a request, before its fields are checked: what was right then may be wrong
/// by now.
async fn look_up_key(
    state: &AppState,
    req: &HttpRequest,
    principal: &Principal,
    body: &Body,
) -> Result<Keyed, ApiError> {
    let Some(key) = auth::idempotency_key(req, principal, body)? else { return Ok(Keyed::New(None)) };
    let found = state.shop.catalog.find_answer(&key).await;
    Ok(match found.map_err(|error| Subject::Product.catalog_error(&error))? {
        Some(answer) => Keyed::Answered(respond::done(Done::<()>::Before(answer), StatusCode::CREATED)),
        None => Keyed::New(Some(key)),
    })
}
