//! `/api/products/`.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, web};
use emporium_actors::catalog::{
    CatalogError, NewProduct, ProductChanges, ProductCursor, ProductQuery, STOCK_MAX,
};
use emporium_actors::inventory::{CorrectStock, CreateProduct, EditProduct, RemoveProduct};
use emporium_actors::types::{CategoryId, Money, ProductId};

use super::product_query::ListRequest;
use super::{Keyed, Subject, etag, look_up_key, reading};
use crate::http::AppState;
use crate::http::auth;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, Integer, Price, PrimaryKey, Rule, Text, unknown_key};
use crate::http::query::Query;
use crate::http::resource::path_id;
use crate::http::respond::{self, Answer};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;
/// The longest sku, in characters.
const SKU_CHARS_MAX: usize = 64;
/// The longest reason for a correction, in characters.
const REASON_CHARS_MAX: usize = 200;
/// Longer queries are refused unread.
const QUERY_BYTES_MAX: usize = 8192;

/// `GET /api/products/`: a page.
pub(super) async fn list(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    if req.query_string().len() > QUERY_BYTES_MAX {
        let text = format!("The query is longer than {QUERY_BYTES_MAX} bytes.");
        return Err(ApiError::detail(StatusCode::URI_TOO_LONG, text));
    }
    let known = match reading::is_past_caches(&req) {
        true => None,
        false => state.shop.catalog.known_first_page(req.query_string()),
    };
    match known {
        Some(page) => reading::answer(&req, &page).await,
        // Apart, so that the usual read does not carry the state of this one about.
        None => Box::pin(look_up(&req, &state)).await,
    }
}

/// A page that has to be read, the first one or a later one.
async fn look_up(req: &HttpRequest, state: &AppState) -> Answer {
    let query = Query::of(req);
    let request = ListRequest::parse(&query, state.shop.catalog.cursor_seal())?;
    let fail = |error| Subject::Product.catalog_error(&error);
    if request.page.after.is_some() || reading::is_past_caches(req) {
        let (page, other) = match request.may_correct() {
            true => state.shop.catalog.list_probable_products(&request.query, request.page.size).await,
            false => {
                let page = state.shop.catalog.list_products(&request.query, &request.page).await;
                page.map(|page| (page, None))
            }
        }
        .map_err(fail)?;
        let found = other.as_ref().unwrap_or(&request.query);
        let next = page.next.map(|cursor| request.show_cursor(found, &cursor));
        let query = request.query_for(query, found);
        let mut response = respond::page_of(req.path(), &query, &page.items, next)?;
        response.headers_mut().insert(header::CACHE_CONTROL, reading::CACHING);
        return Ok(response);
    }
    let (products, size, path) = (request.query.clone(), request.page.size, req.path().to_owned());
    let may_correct = request.may_correct();
    let link = move |found: &ProductQuery, cursor: &ProductCursor| {
        let query = request.query_for(query.clone(), found);
        respond::next_link(&path, &query, &request.show_cursor(found, cursor))
    };
    let page = state.shop.catalog.first_page(req.query_string(), &products, may_correct, size, link).await;
    reading::answer(req, &*page.map_err(fail)?).await
}

/// `GET /api/products/{id}/`, or `304` where the client has it already.
pub(super) async fn detail(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let product = state.shop.catalog.get_product(id_of(&req)?).await;
    let product = product.map_err(|error| Subject::Product.catalog_error(&error))?;
    reading::answer(&req, &product).await
}

/// `POST /api/products/`.
pub(super) async fn create(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    let principal = auth::staff(&req)?;
    let body = Body::read(&req, payload).await?;
    let key = match look_up_key(&state, &req, &principal, &body).await? {
        Keyed::Answered(answer) => return Ok(answer),
        Keyed::New(key) => key,
    };
    let changes = read_changes(&state, &body, false).await?;
    let product = NewProduct {
        sku: changes.sku.flatten(),
        name: changes.name.unwrap_or_default(),
        description: changes.description.flatten(),
        price: changes.price.unwrap_or(Money::ZERO),
        category: changes.category.unwrap_or(CategoryId(0)),
        stock: changes.stock.unwrap_or(0),
    };
    let create = CreateProduct { product, by: Some(principal.user), key };
    let done = state.shop.catalog.create_product(create).await;
    Ok(respond::done(done.map_err(|error| Subject::Product.inventory_error(&error))?, StatusCode::CREATED))
}

/// `PUT /api/products/{id}/`.
pub(super) async fn replace(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    edit(&req, payload, &state, false).await
}

/// `PATCH /api/products/{id}/`.
pub(super) async fn change(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    edit(&req, payload, &state, true).await
}

async fn edit(req: &HttpRequest, payload: web::Payload, state: &AppState, partial: bool) -> Answer {
    let principal = auth::staff(req)?;
    let product = id_of(req)?;
    must_exist(state, product).await?;
    let body = Body::read(req, payload).await?;
    let changes = read_changes(state, &body, partial).await?;
    let only_versions = etag::required_versions(req);
    let edit = EditProduct { product, changes, only_versions, by: Some(principal.user) };
    let edited = state.shop.catalog.edit_product(edit).await;
    Ok(respond::ok(&edited.map_err(|error| Subject::Product.inventory_error(&error))?))
}

/// `DELETE /api/products/{id}/`.
pub(super) async fn remove(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    let remove = RemoveProduct { product: id_of(&req)?, only_versions: etag::required_versions(&req) };
    let removed = state.shop.catalog.remove_product(remove).await;
    removed.map_err(|error| Subject::Product.inventory_error(&error))?;
    Ok(respond::no_content())
}

/// `POST /api/products/{id}/stock/`: so many more, or fewer, whatever is sold meanwhile.
pub(super) async fn correct_stock(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Answer {
    let principal = auth::staff(&req)?;
    let product = id_of(&req)?;
    must_exist(&state, product).await?;
    let body = Body::read(&req, payload).await?;
    let mut fields = body.fields();
    let delta = fields.required("delta", Integer::between(-STOCK_MAX, STOCK_MAX));
    let reason = fields.required("reason", Text::up_to(REASON_CHARS_MAX));
    fields.check()?;
    let correct = CorrectStock { product, delta, reason, by: Some(principal.user) };
    let corrected = state.shop.catalog.correct_stock(correct).await;
    Ok(respond::ok(&corrected.map_err(|error| Subject::Product.inventory_error(&error))?))
}

fn id_of(req: &HttpRequest) -> Result<ProductId, ApiError> {
    path_id(req, "id").map(ProductId)
}

/// Refuses a write to a product that is not there before its body is looked at.
async fn must_exist(state: &AppState, product: ProductId) -> Result<(), ApiError> {
    let found = state.shop.catalog.get_product(product).await;
    found.map(|_| ()).map_err(|error| Subject::Product.catalog_error(&error))
}

async fn read_changes(state: &AppState, body: &Body, partial: bool) -> Result<ProductChanges, ApiError> {
    let mut fields = body.fields();
    // A form cannot say null; a blank sku is none.
    let sku = fields.nullable("sku", Text::up_to(SKU_CHARS_MAX).or_blank());
    let name = fields.wanted("name", Text::up_to(NAME_CHARS_MAX), partial);
    let description = fields.nullable("description", Text::any().or_blank());
    let price = fields.wanted("price", Price, partial);
    let category = fields.wanted("category", PrimaryKey, partial);
    check_category(state, &mut fields).await?;
    let stock = fields.wanted("stock", Integer::between(0, STOCK_MAX), partial);
    fields.check()?;
    Ok(ProductChanges {
        sku: sku.map(|sku| sku.filter(|sku| !sku.is_empty())),
        name,
        description,
        price,
        category: category.map(CategoryId),
        stock,
    })
}

/// Notes an unknown category beside whatever else is wrong. The write itself makes sure.
async fn check_category(state: &AppState, fields: &mut Fields<'_>) -> Result<(), ApiError> {
    let Some(id) = fields.raw("category").and_then(|value| PrimaryKey.read(value).ok()) else {
        return Ok(());
    };
    match state.shop.catalog.get_category(CategoryId(id)).await {
        Ok(_) => Ok(()),
        Err(CatalogError::NotFound) => {
            fields.refuse("category", unknown_key(id));
            Ok(())
        }
        Err(error) => Err(Subject::Product.catalog_error(&error)),
    }
}
