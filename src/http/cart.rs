//! The cart of whoever asks.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use emporium_actors::cart::{AddItem, CartError, ClearCart, GetCart, LINES_MAX, RemoveItem, SetQuantity};
use emporium_actors::orders::QUANTITY_MAX;
use emporium_actors::types::{CartItemId, ProductId};

use super::AppState;
use super::auth;
use super::body::Body;
use super::error::ApiError;
use super::fields::{Integer, PrimaryKey, unknown_key};
use super::resource::{Resource, path_id};
use super::respond::{self, Answer};

pub(crate) fn routes(resources: &mut Vec<Resource>) {
    Resource::new("Cart", "/api/cart/").get(get_cart).delete(clear_cart).mount(resources);
    Resource::new("Cart Items", "/api/cart/items/").post(add_item).mount(resources);
    Resource::new("Cart Item", "/api/cart/items/{id}/")
        .put(replace_item)
        .patch(update_item)
        .delete(remove_item)
        .mount(resources);
}

async fn get_cart(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    let cart = state.shop.carts.send(principal.user, GetCart).await.map_err(CartError::from)??;
    Ok(respond::ok(&cart))
}

async fn clear_cart(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    state.shop.carts.send(principal.user, ClearCart).await.map_err(CartError::from)??;
    Ok(respond::no_content())
}

async fn add_item(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    let body = Body::read(&req, payload).await?;
    let key = auth::idempotency_key(&req, &principal, &body)?;
    let mut fields = body.fields();
    let product = ProductId(fields.required("product", PrimaryKey));
    let quantity = fields.required("quantity", Integer::between(1, QUANTITY_MAX));
    fields.check()?;
    let add = AddItem { product, quantity, key };
    let done = state.shop.carts.send(principal.user, add).await.map_err(CartError::from)??;
    Ok(respond::done(done, StatusCode::CREATED))
}

async fn replace_item(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    set_quantity(req, payload, state, false).await
}

async fn update_item(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    set_quantity(req, payload, state, true).await
}

async fn set_quantity(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
    partial: bool,
) -> Answer {
    let principal = auth::signed_in(&req)?;
    let item = CartItemId(path_id(&req, "id")?);
    // An unknown line is a 404 whatever the body says, so it is looked up first.
    let look = SetQuantity { item, quantity: None };
    state.shop.carts.send(principal.user, look).await.map_err(CartError::from)??;
    let body = Body::read(&req, payload).await?;
    let mut fields = body.fields();
    let quantity = fields.wanted("quantity", Integer::between(1, QUANTITY_MAX), partial);
    fields.check()?;
    let set = SetQuantity { item, quantity };
    let item = state.shop.carts.send(principal.user, set).await.map_err(CartError::from)??;
    Ok(respond::ok(&item))
}

async fn remove_item(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    let item = CartItemId(path_id(&req, "id")?);
    state.shop.carts.send(principal.user, RemoveItem { item }).await.map_err(CartError::from)??;
    Ok(respond::no_content())
}

impl From<CartError> for ApiError {
    fn from(error: CartError) -> Self {
        match error {
            CartError::NotFound => {
                Self::detail(StatusCode::NOT_FOUND, "No CartItem matches the given query.")
            }
            CartError::UnknownProduct(id) => Self::field("product", unknown_key(id)),
            CartError::TooManyUnits => {
                Self::field("quantity", format!("Ensure this value is less than or equal to {QUANTITY_MAX}."))
            }
            CartError::TooManyLines => {
                Self::field("non_field_errors", format!("A cart holds at most {LINES_MAX} lines."))
            }
            CartError::KeyReused(_) => Self::key_reused(),
            CartError::Overloaded => Self::overloaded(),
            CartError::Unavailable => Self::unavailable(),
            CartError::Internal => Self::internal(),
        }
    }
}
