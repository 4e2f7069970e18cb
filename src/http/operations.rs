//! For whoever runs the shop: health, metrics, the nodes, and the audit.

use std::sync::atomic::Ordering;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use emporium_actors::db;
use emporium_actors::db::StoreError;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::AppState;
use super::auth;
use super::error::ApiError;
use super::resource::Resource;
use super::respond::{self, Answer};

pub(crate) fn routes(resources: &mut Vec<Resource>) {
    Resource::new("Liveness", "/health/live/")
        .ignoring_authorization()
        .unlimited()
        .get(live)
        .mount(resources);
    Resource::new("Readiness", "/health/ready/")
        .ignoring_authorization()
        .unlimited()
        .get(ready)
        .mount(resources);
    Resource::new("Nodes", "/api/nodes/").get(nodes).mount(resources);
    Resource::new("Audit", "/api/audit/").get(audit).mount(resources);
}

/// Declares the endpoint that is no resource of the contract.
pub(crate) fn scraped(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/metrics/").route(web::get().to(metrics)));
}

/// The process answers, and its actors take messages; otherwise it is to be restarted.
async fn live(state: web::Data<AppState>) -> Answer {
    if state.shop.is_alive() {
        Ok(respond::ok(&json!({ "status": "ok" })))
    } else {
        Err(ApiError::detail(StatusCode::SERVICE_UNAVAILABLE, "An actor has stopped.").code("not_alive"))
    }
}

/// Requests may be sent here: the database answers and is migrated, and the process is not on its
/// way out.
async fn ready(state: web::Data<AppState>) -> Answer {
    let not_ready =
        |text: &str| Err(ApiError::detail(StatusCode::SERVICE_UNAVAILABLE, text).code("not_ready"));
    if state.draining.load(Ordering::Relaxed) {
        return not_ready("The server is shutting down.");
    }
    match db::is_migrated(&state.shop.database.db()).await {
        Ok(true) => Ok(respond::ok(&json!({ "status": "ok" }))),
        Ok(false) => not_ready("The database is not migrated."),
        Err(_) => not_ready("The database does not answer."),
    }
}

/// How each node fares, as this one knows it; from memory, so it may be asked often.
async fn nodes(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    Ok(respond::ok(&state.shop.nodes.list()))
}

async fn audit(req: HttpRequest, state: web::Data<AppState>) -> Answer {
    auth::staff(&req)?;
    Ok(respond::ok(&state.shop.audit.check().await?))
}

async fn metrics(state: web::Data<AppState>) -> HttpResponse {
    let text = state.metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default();
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4")).body(text)
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            Self::unavailable().caused_by(error)
        } else {
            Self::internal().caused_by(error)
        }
    }
}
