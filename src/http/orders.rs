//! Orders: placing, reading and moving them.

use actix_web::http::StatusCode;
use actix_web::{HttpMessage, HttpRequest, web};
use emporium_actors::cart::Checkout;
use emporium_actors::orders::{
    GetHistory, GetOrder, LINES_MAX, ListOrders, MoveOrder, OrderCursor, OrderError, OrderEvent, OrderLine,
    OrderSource, OrderStatus, PlaceOrder, QUANTITY_MAX,
};
use emporium_actors::types::{Money, OrderId, PageRequest, ProductId, Timestamp, UserId};
use serde::Deserialize;
use time::OffsetDateTime;

use super::AppState;
use super::auth;
use super::body::{Body, read_bytes};
use super::caller;
use super::error::ApiError;
use super::fields::{Fields, Integer, PrimaryKey, Total, unknown_key};
use super::query::Query;
use super::resource::{Resource, path_id};
use super::respond::{self, Answer};

pub(crate) fn routes(resources: &mut Vec<Resource>) {
    Resource::new("Orders List", "/api/orders/").get(list_orders).post(place_order).mount(resources);
    Resource::new("Orders Detail", "/api/orders/{id}/").get(get_order).mount(resources);
    Resource::new("Order History", "/api/orders/{id}/history/").get(get_history).mount(resources);
    Resource::new("Cancel Order", "/api/orders/{id}/cancel/").post(cancel_order).mount(resources);
    Resource::new("Pay Order", "/api/orders/{id}/pay/").post(pay_order).mount(resources);
    Resource::new("Ship Order", "/api/orders/{id}/ship/").post(ship_order).mount(resources);
    Resource::new("Deliver Order", "/api/orders/{id}/deliver/").post(deliver_order).mount(resources);
    Resource::new("Refund Order", "/api/orders/{id}/refund/").post(refund_order).mount(resources);
}

async fn place_order(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    let principal = auth::signed_in(&req)?;
    let bytes = read_bytes(&req, payload).await?;
    let (lines, expected_total, key) = match plain_lines(&req, &bytes) {
        Some(lines) => (Some(lines), None, None),
        None => {
            let body = Body::parse(&req, bytes).await?;
            let key = auth::idempotency_key(&req, &principal, &body)?;
            let (lines, expected_total) = read_order(&body)?;
            (lines, expected_total, key)
        }
    };
    let caller = caller::of(&req);
    let done = match lines {
        // An order of given lines needs no cart; one of the cart queues behind whatever else its
        // user does to it.
        Some(lines) => {
            let source = OrderSource::Lines(lines);
            let place = PlaceOrder { user: principal.user, source, expected_total, key, caller };
            state.shop.orders.send(place).await.map_err(OrderError::from)??
        }
        None => {
            let checkout = Checkout { expected_total, key, caller };
            let sent = state.shop.carts.send(principal.user, checkout);
            Box::pin(sent).await.map_err(OrderError::from)??
        }
    };
    Ok(respond::done(done, StatusCode::CREATED))
}

/// What a body orders: lines, unless it is the cart, and the total that it is to come to.
fn read_order(body: &Body) -> Result<(Option<Vec<OrderLine>>, Option<Money>), ApiError> {
    let mut fields = body.fields();
    let lines = fields.objects("items", LINES_MAX, read_line);
    let expected_total = fields.optional("expected_total", Total);
    let lines = lines.map(|lines| add_up(&mut fields, lines));
    fields.check()?;
    Ok((lines, expected_total))
}

/// The most frequent body, read without a tree of it: plain JSON numbers and no key. `None` for every
/// other, good or bad, which [`read_order`] then reads.
fn plain_lines(req: &HttpRequest, bytes: &[u8]) -> Option<Vec<OrderLine>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plain {
        items: Vec<Line>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        product: i64,
        quantity: i64,
    }
    if req.content_type() != "application/json" || req.headers().contains_key(auth::IDEMPOTENCY_KEY) {
        return None;
    }
    let Plain { items } = serde_json::from_slice(bytes).ok()?;
    let is_fine = |line: &Line| (1..=QUANTITY_MAX).contains(&line.quantity);
    if !(1..=LINES_MAX).contains(&items.len()) || !items.iter().all(is_fine) {
        return None;
    }
    let lines: Vec<_> = items
        .iter()
        .map(|line| OrderLine { product: ProductId(line.product), quantity: line.quantity })
        .collect();
    let mut products: Vec<i64> = items.iter().map(|line| line.product).collect();
    products.sort_unstable();
    products.is_sorted_by(|a, b| a < b).then_some(lines)
}

fn read_line(fields: &mut Fields<'_>) -> OrderLine {
    OrderLine {
        product: ProductId(fields.required("product", PrimaryKey)),
        quantity: fields.required("quantity", Integer::between(1, QUANTITY_MAX)),
    }
}

/// Makes one line of each product, where it was first named.
fn add_up(fields: &mut Fields<'_>, lines: Vec<OrderLine>) -> Vec<OrderLine> {
    let mut positions = std::collections::HashMap::with_capacity(lines.len());
    let mut sums: Vec<OrderLine> = Vec::with_capacity(lines.len());
    for line in lines {
        let position = *positions.entry(line.product).or_insert(sums.len());
        match sums.get_mut(position) {
            Some(sum) => sum.quantity += line.quantity,
            None => sums.push(line),
        }
    }
    if let Some(line) = sums.iter().find(|line| line.quantity > QUANTITY_MAX) {
        let text =
            format!("Ensure that there are no more than {QUANTITY_MAX} units of product {}.", line.product);
        fields.refuse("items", text);
    }
    sums
}

/// A cursor on the wire: microseconds since 1970, and the order's id.
type WireCursor = (i64, i64);

async fn list_orders(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let by = auth::signed_in(&req)?;
    let query = Query::of(&req);
    let status = match query.get("status") {
        None => None,
        Some(name) => Some(
            OrderStatus::from_name(name)
                .ok_or_else(|| ApiError::field("status", format!("\"{name}\" is not a valid choice.")))?,
        ),
    };
    let user = match query.get("user") {
        None => None,
        Some(id) => {
            Some(UserId(id.parse().map_err(|_| ApiError::field("user", "A valid integer is required."))?))
        }
    };
    let page: PageRequest<WireCursor> = respond::page_request(&query)?;
    let after = page.after.map(cursor_from).transpose()?;
    let list = ListOrders { by, user, status, page: PageRequest { after, size: page.size } };
    let page = state.shop.orders.send(list).await.map_err(OrderError::from)??;
    respond::page(&req, &page.items, page.next.map(cursor_to))
}

fn cursor_from((micros, id): WireCursor) -> Result<OrderCursor, ApiError> {
    let created_at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
        .map_err(|_| respond::invalid_cursor())?;
    Ok(OrderCursor { created_at: Timestamp(created_at), id: OrderId(id) })
}

fn cursor_to(cursor: OrderCursor) -> WireCursor {
    let micros = cursor.created_at.0.unix_timestamp_nanos() / 1000;
    (i64::try_from(micros).unwrap_or(i64::MAX), cursor.id.0)
}

async fn get_order(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let by = auth::signed_in(&req)?;
    let order = OrderId(path_id(&req, "id")?);
    let order = state.shop.orders.send(GetOrder { order, by }).await.map_err(OrderError::from)??;
    Ok(respond::ok(&order))
}

async fn get_history(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    let by = auth::signed_in(&req)?;
    let order = OrderId(path_id(&req, "id")?);
    let history = state.shop.orders.send(GetHistory { order, by }).await.map_err(OrderError::from)??;
    Ok(respond::ok(&history))
}

async fn cancel_order(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    auth::signed_in(&req)?;
    move_order(req, payload, state, OrderEvent::Cancelled).await
}

async fn pay_order(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    move_order(req, payload, state, OrderEvent::Paid).await
}

async fn ship_order(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    move_order(req, payload, state, OrderEvent::Shipped).await
}

async fn deliver_order(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    move_order(req, payload, state, OrderEvent::Delivered).await
}

async fn refund_order(req: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    move_order(req, payload, state, OrderEvent::Refunded).await
}

async fn move_order(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
    event: OrderEvent,
) -> Answer {
    let principal = auth::signed_in(&req)?;
    let order = OrderId(path_id(&req, "id")?);
    let body = Body::read(&req, payload).await?;
    let key = auth::idempotency_key(&req, &principal, &body)?;
    let step = MoveOrder { order, event, by: Some(principal), key };
    let done = state.shop.orders.send(step).await.map_err(OrderError::from)??;
    Ok(respond::done(done, StatusCode::OK))
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        let conflict = |text: &str, code| Self::detail(StatusCode::CONFLICT, text).code(code);
        match error {
            OrderError::EmptyCart => {
                Self::detail(StatusCode::BAD_REQUEST, "The cart is empty.").code("empty_cart")
            }
            OrderError::UnknownProducts(ids) => {
                let mut errors = super::error::FieldErrors::default();
                ids.into_iter().for_each(|id| errors.add("items", unknown_key(id)));
                Self::validation(errors)
            }
            OrderError::OutOfStock(shortages) => {
                conflict("Some products are short of stock.", "out_of_stock").with_json("items", &shortages)
            }
            OrderError::PriceChanged(total) => {
                conflict("The prices have changed.", "price_changed").with_json("total_price", &total)
            }
            OrderError::TotalTooLarge => {
                Self::field("non_field_errors", "The total may be at most 999999999999.99.")
            }
            OrderError::NotFound => Self::detail(StatusCode::NOT_FOUND, "No Order matches the given query."),
            OrderError::Forbidden => Self::forbidden(),
            OrderError::InvalidTransition { status, event } => {
                let text = format!("An order that is {} cannot become {}.", status.as_str(), event.as_str());
                conflict(&text, "invalid_transition").with("status", status.as_str())
            }
            OrderError::KeyReused(_) => Self::key_reused(),
            OrderError::Overloaded => Self::overloaded(),
            OrderError::Unavailable => Self::unavailable(),
            OrderError::OutcomeUnknown => Self::outcome_unknown(),
            OrderError::Internal => Self::internal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn line(product: i64, quantity: i64) -> OrderLine {
        OrderLine { product: ProductId(product), quantity }
    }

    #[test]
    fn a_product_named_twice_is_added_up_where_it_was_first_named() {
        let values = serde_json::Map::new();
        let mut fields = Fields::new(&values, false);
        let sums = add_up(&mut fields, vec![line(2, 1), line(1, 5), line(2, 3)]);
        assert_eq!(sums, [line(2, 4), line(1, 5)]);
        assert!(fields.is_fine());
        add_up(&mut fields, vec![line(2, QUANTITY_MAX), line(2, 1)]);
        assert!(!fields.is_fine());
    }

    #[test]
    fn a_plain_body_is_read_as_any_other() {
        let req =
            TestRequest::default().insert_header(("Content-Type", "application/json")).to_http_request();
        let plain = r#"{"items":[{"product":2,"quantity":3},{"quantity":1,"product":-1}]}"#;
        let slowly = read_order(&Body::from_json(plain.as_bytes()).unwrap()).unwrap();
        assert_eq!((plain_lines(&req, plain.as_bytes()), None), slowly);
        for other in [
            r#"{"items":[]}"#,
            r#"{"items":[{"product":"2","quantity":1}]}"#,
            r#"{"items":[{"product":2,"quantity":0}]}"#,
            r#"{"items":[{"product":2,"quantity":1.0}]}"#,
            r#"{"items":[{"product":2,"quantity":1},{"product":2,"quantity":1}]}"#,
            r#"{"items":[{"product":2,"quantity":1}],"expected_total":"1.00"}"#,
            "{}",
        ] {
            assert_eq!(plain_lines(&req, other.as_bytes()), None, "{other}");
        }
        let keyed = TestRequest::default()
            .insert_header(("Content-Type", "application/json"))
            .insert_header(("Idempotency-Key", "k"))
            .to_http_request();
        assert_eq!(plain_lines(&keyed, plain.as_bytes()), None);
    }

    #[test]
    fn cursors_survive_the_wire() {
        let created_at = OffsetDateTime::from_unix_timestamp_nanos(1_736_922_698_809_214_000).unwrap();
        let cursor = OrderCursor { created_at: Timestamp(created_at), id: OrderId(7) };
        assert_eq!(cursor_from(cursor_to(cursor)).unwrap(), cursor);
        assert!(cursor_from((i64::MAX, 1)).is_err());
    }
}
