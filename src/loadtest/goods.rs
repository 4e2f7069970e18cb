//! Products that a run makes for itself, so that it needs none and spoils none.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use tokio::task::{JoinError, spawn_local};

use super::account::Account;
use super::books::Shelf;
use super::client::{Client, ClientError, Request, Target};
use super::progress::Progress;

/// Products made at once.
const MADE_AT_ONCE: usize = 8;

/// A category of products of the run's own.
#[derive(Debug)]
pub(crate) struct Goods {
    pub category: i64,
    /// The most popular first.
    pub products: Vec<i64>,
    /// Their stock before the run.
    pub before: Shelf,
}

/// Why they could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GoodsError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("a maker of products stopped: {0}")]
    Stopped(#[from] JoinError),
}

#[derive(Deserialize)]
struct Made {
    id: i64,
}

impl Goods {
    /// Makes `count` products with a stock of `stock` each. Needs a `LocalSet`.
    pub(crate) async fn make(
        target: &Target,
        staff: &Arc<Account>,
        run_name: &str,
        count: usize,
        stock: i64,
    ) -> Result<Self, GoodsError> {
        let mut client = Client::new(target.clone());
        let name = format!("Load test {run_name}");
        let category = post(&mut client, staff, "/api/categories/", &name, &json!({"name": name})).await?;
        let products = Rc::new(RefCell::new(vec![0; count]));
        let next = Rc::new(Cell::new(0));
        let progress = Rc::new(RefCell::new(Progress::begin("making products", count)));
        let maker = || {
            let (products, next, progress) = (products.clone(), next.clone(), progress.clone());
            let (staff, mut client, run_name) =
                (staff.clone(), Client::new(target.clone()), run_name.to_owned());
            spawn_local(async move {
                loop {
                    let place = next.replace(next.get() + 1);
                    if place >= count {
                        return Ok::<_, ClientError>(());
                    }
                    let name = format!("Load test {run_name} {place}");
                    let body = json!({"name": name, "price": "1.00", "category": category, "stock": stock});
                    let id = post(&mut client, &staff, "/api/products/", &name, &body).await?;
                    products.borrow_mut()[place] = id;
                    progress.borrow_mut().advance();
                }
            })
        };
        let makers: Vec<_> = (0..MADE_AT_ONCE.min(count)).map(|_| maker()).collect();
        for maker in makers {
            maker.await??;
        }
        progress.borrow().end();
        let before = Shelf::read_category(&mut client, staff, category).await?;
        Ok(Self { category, products: products.take(), before })
    }

    /// Takes them out of the catalogue again; orders keep what was bought.
    pub(crate) async fn clear_away(&self, target: &Target, staff: &Account) -> Result<(), ClientError> {
        let mut client = Client::new(target.clone());
        let request = Request::new(hyper::Method::DELETE, format!("/api/categories/{}/", self.category));
        let answer = staff.send(&mut client, request).await?.answer;
        match answer.status {
            // The second is what a request that was sent again is told.
            204 | 404 => Ok(()),
            _ => Err(answer.unexpected("cannot remove the products of the load test")),
        }
    }
}

/// Makes something, under a key that is its name, and gives its id.
async fn post(
    client: &mut Client,
    staff: &Account,
    path: &str,
    name: &str,
    body: &serde_json::Value,
) -> Result<i64, ClientError> {
    let request = Request::post(path).header("Idempotency-Key", name.replace(' ', "-")).json(body);
    let answer = staff.send(client, request).await?.answer;
    match answer.status {
        201 => Ok(answer.json::<Made>()?.id),
        _ => Err(answer.unexpected("cannot make what the load test sells")),
    }
}
