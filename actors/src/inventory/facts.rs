//! What a batch knows before it decides: all of it read under lock, or not subject to change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::job::Request;
use super::messages::{Move, Sell};
use crate::catalog::Product;
use crate::idempotency::store::Found;
use crate::orders::{Order, OrderEvent, OrderSource};
use crate::types::{CategoryId, Money, OrderId, ProductId, Timestamp, UserId};

/// A product as far as a sale minds.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(crate) name: Arc<str>,
    pub(crate) price: Money,
    pub(crate) removed: bool,
    pub(crate) quantity: i64,
    pub(crate) stock_version: i64,
}

/// A line of a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CartLine {
    pub(crate) id: i64,
    pub(crate) product: ProductId,
    pub(crate) quantity: i64,
}

/// Everything the decisions rest on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The transaction's time.
    pub(crate) now: Timestamp,
    /// Ids for orders that may be placed.
    pub(crate) order_ids: Vec<i64>,
    /// Ids for products that may be made.
    pub(crate) product_ids: Vec<i64>,
    /// By request: what its idempotency key led to.
    pub(crate) answers: Vec<Found>,
    /// The lines of the carts that are checked out.
    pub(crate) carts: HashMap<UserId, Vec<CartLine>>,
    /// The orders that are to move.
    pub(crate) orders: HashMap<OrderId, Order>,
    /// The products that are touched, deleted ones included.
    pub(crate) shelves: HashMap<ProductId, Shelf>,
    /// The whole rows of those that are edited or corrected; `stock` in them is not used.
    pub(crate) products: HashMap<ProductId, Product>,
    /// The categories that exist, of those that products are put into or that are removed.
    pub(crate) categories: HashSet<CategoryId>,
    /// The products in categories that are removed.
    pub(crate) members: HashMap<CategoryId, Vec<ProductId>>,
    /// The skus, of those asked for, that are taken.
    pub(crate) skus: HashMap<String, ProductId>,
}

/// What has to be read for a batch, gathered from its requests. Each list sorted, without repeats.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) orders_to_place: i64,
    pub(crate) products_to_create: i64,
    pub(crate) carts: Vec<i64>,
    pub(crate) orders: Vec<i64>,
    /// Of `orders`, those whose stock would come back.
    pub(crate) returns: Vec<i64>,
    pub(crate) products: Vec<i64>,
    /// Of `products`, those whose whole row is needed.
    pub(crate) whole_products: Vec<i64>,
    pub(crate) categories: Vec<i64>,
    pub(crate) categories_to_remove: Vec<i64>,
    pub(crate) skus: Vec<String>,
}

impl Wanted {
    pub(crate) fn by<'a>(requests: impl Iterator<Item = &'a Request>) -> Self {
        let mut wanted = Self::default();
        for request in requests {
            wanted.add(request);
        }
        let lists = [
            &mut wanted.carts,
            &mut wanted.orders,
            &mut wanted.returns,
            &mut wanted.products,
            &mut wanted.whole_products,
            &mut wanted.categories,
            &mut wanted.categories_to_remove,
        ];
        for list in lists {
            list.sort_unstable();
            list.dedup();
        }
        wanted.skus.sort_unstable();
        wanted.skus.dedup();
        wanted
    }

    fn add(&mut self, request: &Request) {
        match request {
            Request::Sell(Sell(place)) => {
                self.orders_to_place += 1;
                match &place.source {
                    OrderSource::Cart => self.carts.push(place.user.0),
                    OrderSource::Lines(lines) => {
                        self.products.extend(lines.iter().map(|line| line.product.0));
                    }
                }
            }
            Request::Move(Move(step)) => {
                self.orders.push(step.order.0);
                if matches!(step.event, OrderEvent::Cancelled | OrderEvent::Expired) {
                    self.returns.push(step.order.0);
                }
            }
            Request::Create(create) => {
                self.products_to_create += 1;
                self.categories.push(create.product.category.0);
                self.skus.extend(create.product.sku.clone());
            }
            Request::Edit(edit) => {
                self.products.push(edit.product.0);
                self.whole_products.push(edit.product.0);
                self.categories.extend(edit.changes.category.map(|category| category.0));
                self.skus.extend(edit.changes.sku.clone().flatten());
            }
            Request::Correct(correct) => {
                self.products.push(correct.product.0);
                self.whole_products.push(correct.product.0);
            }
            Request::RemoveProduct(remove) => {
                self.products.push(remove.product.0);
                self.whole_products.push(remove.product.0);
            }
            Request::RemoveCategory(remove) => self.categories_to_remove.push(remove.category.0),
        }
    }
}
