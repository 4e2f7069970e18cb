//! `/api/categories/`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use emporium_actors::catalog::{CategoryChanges, NewCategory};
use emporium_actors::types::CategoryId;

use super::{Keyed, Subject, look_up_key, reading};
use crate::http::AppState;
use crate::http::auth;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::fields::Text;
use crate::http::resource::path_id;
use crate::http::respond::{self, Answer};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;

/// `GET /api/categories/`: all of them.
pub(super) async fn list(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let categories = state.shop.catalog.list_categories().await;
    let categories = categories.map_err(|error| Subject::Category.catalog_error(&error))?;
    reading::answer(&req, &categories).await
}

/// `GET /api/categories/{id}/`.
pub(super) async fn detail(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let category = state.shop.catalog.get_category(id_of(&req)?).await;
    let category = category.map_err(|error| Subject::Category.catalog_error(&error))?;
    reading::answer(&req, &category).await
}

/// `POST /api/categories/`.
pub(super) async fn create(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    let principal = auth::staff(&req)?;
    let body = Body::read(&req, payload).await?;
    let key = match look_up_key(&state, &req, &principal, &body).await? {
        Keyed::Answered(answer) => return Ok(answer),
        Keyed::New(key) => key,
    };
    let changes = read_changes(&body, false)?;
    let new =
        NewCategory { name: changes.name.unwrap_or_default(), description: changes.description.flatten() };
    let done = state.shop.catalog.create_category(&new, key.as_ref()).await;
    Ok(respond::done(done.map_err(|error| Subject::Category.catalog_error(&error))?, StatusCode::CREATED))
}

/// `PUT /api/categories/{id}/`.
pub(super) async fn replace(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    edit(&req, payload, &state, false).await
}

/// `PATCH /api/categories/{id}/`.
pub(super) async fn change(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    edit(&req, payload, &state, true).await
}

async fn edit(req: &HttpRequest, payload: web::Payload, state: &AppState, partial: bool) -> Answer {
    auth::staff(req)?;
    let fail = |error| Subject::Category.catalog_error(&error);
    let id = id_of(req)?;
    state.shop.catalog.get_category(id).await.map_err(fail)?;
    let body = Body::read(req, payload).await?;
    let changes = read_changes(&body, partial)?;
    Ok(respond::ok(&state.shop.catalog.edit_category(id, &changes).await.map_err(fail)?))
}

/// `DELETE /api/categories/{id}/`, with its products.
pub(super) async fn remove(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    let removed = state.shop.catalog.remove_category(id_of(&req)?).await;
    removed.map_err(|error| Subject::Category.inventory_error(&error))?;
    Ok(respond::no_content())
}

fn id_of(req: &HttpRequest) -> Result<CategoryId, ApiError> {
    path_id(req, "id").map(CategoryId)
}

fn read_changes(body: &Body, partial: bool) -> Result<CategoryChanges, ApiError> {
    let mut fields = body.fields();
    let name = fields.wanted("name", Text::up_to(NAME_CHARS_MAX), partial);
    let description = fields.nullable("description", Text::any().or_blank());
    fields.check()?;
    Ok(CategoryChanges { name, description })
}
