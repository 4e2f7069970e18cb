//! The REST edge: requests in, answers out, nothing decided here.
//!
//! One file per area declares its endpoints with [`resource::Resource`], reads bodies with
//! [`body::Body`] and [`fields::Fields`], asks the shop, and answers with [`respond`]. How a request
//! is refused stands in [`error`], who is asking in [`auth`], how often they may in [`limits`], how
//! answers are packed in [`compress`], what all of them share in [`negotiate`].

mod accounts;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod caller;
mod cart;
mod catalog;
pub(crate) mod compress;
mod dashboard;
pub(crate) mod error;
pub(crate) mod fields;
mod files;
pub(crate) mod limits;
pub(crate) mod negotiate;
mod operations;
mod orders;
pub(crate) mod origins;
pub(crate) mod query;
pub(crate) mod resource;
pub(crate) mod respond;
pub mod schema;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_web::web::{self, ServiceConfig};
use emporium_actors::Shop;
use metrics_exporter_prometheus::PrometheusHandle;

use resource::Resource;

/// What handlers share.
#[derive(Clone)]
pub struct AppState {
    /// The shop.
    pub shop: Shop,
    /// The largest request body that is read, in bytes.
    pub body_bytes_max: usize,
    /// The longest file of products that is imported, in bytes, unpacked.
    pub import_bytes_max: u64,
    /// How many right-most entries of `X-Forwarded-For` come from proxies of ours.
    pub trusted_proxy_hops: usize,
    /// Set once the process is shutting down; it is then no longer ready.
    pub draining: Arc<AtomicBool>,
    /// What was counted; `None` where it cannot be.
    pub metrics: Option<PrometheusHandle>,
}

/// Declares every endpoint, area by area, the busiest first. The router tries one after the other, and each costs it
/// something; so it tries those of an area only for a path that is in it, plain ones before patterns, each of which is
/// a regex.
pub fn routes(cfg: &mut ServiceConfig) {
    for (area, resources) in areas(resources()) {
        let services = resources.into_iter().map(Resource::into_service);
        if area.is_empty() {
            for service in services {
                cfg.service(service);
            }
        } else {
            cfg.service(services.fold(web::scope(area), |scope, service| scope.service(service)));
        }
    }
    operations::scraped(cfg);
    crate::ws::routes(cfg);
}

/// The resources by their areas, both in the order in which they come.
fn areas(resources: Vec<Resource>) -> Vec<(&'static str, Vec<Resource>)> {
    let mut areas: Vec<(_, Vec<_>)> = Vec::new();
    for resource in resources {
        match areas.iter_mut().find(|(area, _)| *area == resource.area()) {
            Some((_, known)) => known.push(resource),
            None => areas.push((resource.area(), vec![resource])),
        }
    }
    areas
}

fn resources() -> Vec<Resource> {
    let mut resources = Vec::new();
    catalog::routes(&mut resources);
    orders::routes(&mut resources);
    cart::routes(&mut resources);
    accounts::routes(&mut resources);
    operations::routes(&mut resources);
    schema::routes(&mut resources);
    dashboard::routes(&mut resources);
    resources.sort_by_key(Resource::is_pattern);
    resources
}
