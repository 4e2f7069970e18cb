//! The model: what the contract says each command does, one after the other, in plain maps.

use std::collections::{BTreeMap, BTreeSet};

use emporium_actors::idempotency::{Done, IdempotencyKey};
use emporium_actors::inventory::{CorrectStock, CreateProduct, EditProduct, InventoryError};
use emporium_actors::orders::{
    MoveOrder, Order, OrderError, OrderEvent, OrderSource, OrderStatus, PlaceOrder, Shortage,
};
use emporium_actors::types::{CategoryId, Money, OrderId, ProductId, UserId};
use serde_json::Value;

/// A product, on sale or not any more.
#[derive(Clone, Debug)]
pub(super) struct Goods {
    pub(super) stock: i64,
    pub(super) price: Money,
    pub(super) version: i64,
    pub(super) category: CategoryId,
    pub(super) sku: Option<String>,
    pub(super) removed: bool,
}

/// An order.
#[derive(Clone, Debug)]
pub(super) struct Bought {
    user: UserId,
    lines: Vec<(ProductId, i64)>,
    pub(super) status: OrderStatus,
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) goods: BTreeMap<ProductId, Goods>,
    pub(super) categories: BTreeSet<CategoryId>,
    pub(super) carts: BTreeMap<UserId, Vec<(ProductId, i64)>>,
    pub(super) orders: BTreeMap<OrderId, Bought>,
    answered: BTreeMap<String, ([u8; 32], OrderId, OrderStatus)>,
}

/// Two answers that differ, or `None`.
pub(super) type Difference = Option<String>;

fn differ(expected: impl std::fmt::Debug, found: impl std::fmt::Debug) -> Difference {
    let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
    (expected != found).then(|| format!("expected {expected}\n   found {found}"))
}

impl Books {
    pub(super) fn on_sale(&self, product: ProductId) -> bool {
        self.goods.get(&product).is_some_and(|goods| !goods.removed)
    }

    /// The lines that a checkout would order now, or what there is in the cart.
    pub(super) fn cart(&self, user: UserId) -> Vec<(ProductId, i64)> {
        let lines = self.carts.get(&user).into_iter().flatten().copied();
        lines.filter(|(product, _)| self.on_sale(*product)).collect()
    }

    pub(super) fn add_to_cart(&mut self, user: UserId, product: ProductId, quantity: i64) {
        let lines = self.carts.entry(user).or_default();
        match lines.iter_mut().find(|(there, _)| *there == product) {
            Some(line) => line.1 += quantity,
            None => lines.push((product, quantity)),
        }
    }

    pub(super) fn total(&self, lines: &[(ProductId, i64)]) -> Money {
        lines.iter().filter_map(|(p, quantity)| Some(self.goods.get(p)?.price.times(*quantity))).sum()
    }

    /// Places an order, if it may be placed, and compares the answer.
    pub(super) fn place(
        &mut self,
        place: &PlaceOrder,
        found: &Result<Done<Order>, OrderError>,
    ) -> Difference {
        if let Some(difference) = self.answered_before(place.key.as_ref(), found) {
            return difference;
        }
        let lines = match &place.source {
            OrderSource::Cart => self.cart(place.user),
            OrderSource::Lines(lines) => lines.iter().map(|line| (line.product, line.quantity)).collect(),
        };
        if let Err(refusal) = self.may_be_placed(place, &lines) {
            return differ(Err::<(), _>(refusal), found);
        }
        let Ok(Done::Now(order)) = found else { return differ("a new order", found) };
        let total = self.total(&lines);
        let bought: Vec<(ProductId, i64)> =
            order.items.iter().map(|item| (item.product, item.quantity)).collect();
        let expected = (place.user, &lines, total, OrderStatus::Pending, false);
        let told = (order.user, &bought, order.total_price, order.status, order.is_paid);
        for (product, quantity) in &lines {
            self.goods.get_mut(product).expect("a product on sale").stock -= quantity;
        }
        if place.source == OrderSource::Cart {
            self.carts.remove(&place.user);
        }
        let difference = differ(expected, told);
        let bought = Bought { user: place.user, lines, status: OrderStatus::Pending };
        if self.orders.insert(order.id, bought).is_some() {
            return Some(format!("order {} was placed before", order.id));
        }
        self.keep(place.key.as_ref(), order.id, OrderStatus::Pending);
        difference
    }

    fn may_be_placed(&self, place: &PlaceOrder, lines: &[(ProductId, i64)]) -> Result<(), OrderError> {
        if lines.is_empty() {
            return Err(OrderError::EmptyCart);
        }
        let unknown: Vec<ProductId> =
            lines.iter().map(|(product, _)| *product).filter(|product| !self.on_sale(*product)).collect();
        if !unknown.is_empty() {
            return Err(OrderError::UnknownProducts(unknown));
        }
        let short: Vec<Shortage> = lines
            .iter()
            .map(|&(product, requested)| Shortage {
                product,
                requested,
                available: self.goods[&product].stock,
            })
            .filter(|line| line.available < line.requested)
            .collect();
        if !short.is_empty() {
            return Err(OrderError::OutOfStock(short));
        }
        let total = self.total(lines);
        match place.expected_total {
            Some(expected) if expected != total => Err(OrderError::PriceChanged(total)),
            _ => Ok(()),
        }
    }

    /// Moves an order, if it may be moved, and compares the answer.
    pub(super) fn move_on(
        &mut self,
        step: &MoveOrder,
        found: &Result<Done<Order>, OrderError>,
    ) -> Difference {
        if let Some(difference) = self.answered_before(step.key.as_ref(), found) {
            return difference;
        }
        let next = match self.may_move(step) {
            Ok(next) => next,
            Err(refusal) => return differ(Err::<(), _>(refusal), found),
        };
        let bought = self.orders.get_mut(&step.order).expect("an order");
        bought.status = next;
        if matches!(next, OrderStatus::Cancelled | OrderStatus::Expired) {
            for (product, quantity) in bought.lines.clone() {
                self.goods.get_mut(&product).expect("a product").stock += quantity;
            }
        }
        self.keep(step.key.as_ref(), step.order, next);
        let told = found.as_ref().map(|done| match done {
            Done::Now(order) => Some((order.id, order.status)),
            Done::Before(_) => None,
        });
        differ(Ok::<_, OrderError>(Some((step.order, next))), told)
    }

    fn may_move(&self, step: &MoveOrder) -> Result<OrderStatus, OrderError> {
        use OrderEvent as E;
        use OrderStatus as S;
        let order = self.orders.get(&step.order).ok_or(OrderError::NotFound)?;
        let refused = OrderError::InvalidTransition { status: order.status, event: step.event };
        if let Some(by) = step.by.filter(|by| !by.is_staff) {
            if by.user != order.user {
                return Err(OrderError::NotFound);
            }
            if step.event != E::Cancelled {
                return Err(OrderError::Forbidden);
            }
            if order.status != S::Pending {
                return Err(refused);
            }
        }
        match (order.status, step.event) {
            (S::Pending, E::Paid) => Ok(S::Paid),
            (S::Paid, E::Shipped) => Ok(S::Shipped),
            (S::Shipped, E::Delivered) => Ok(S::Delivered),
            (S::Pending | S::Paid, E::Cancelled) => Ok(S::Cancelled),
            (S::Paid | S::Shipped | S::Delivered, E::Refunded) => Ok(S::Refunded),
            // Nothing expires here: every hold outlasts the test.
            _ => Err(refused),
        }
    }

    /// `Some` when the key was used before, with how the answer differs from the one to be repeated.
    fn answered_before(
        &self,
        key: Option<&IdempotencyKey>,
        found: &Result<Done<Order>, OrderError>,
    ) -> Option<Difference> {
        let key = key?;
        let (hash, order, status) = self.answered.get(&name_of(key))?;
        if *hash != key.request_hash {
            return Some(match found {
                Err(OrderError::KeyReused(_)) => None,
                found => differ("a reused key", found),
            });
        }
        let Ok(Done::Before(answer)) = found else { return Some(differ("the first answer", found)) };
        let body: Value = serde_json::from_str(&answer.body).expect("a JSON body");
        Some(differ((Some(order.0), Some(status.as_str())), (body["id"].as_i64(), body["status"].as_str())))
    }

    fn keep(&mut self, key: Option<&IdempotencyKey>, order: OrderId, status: OrderStatus) {
        if let Some(key) = key {
            self.answered.insert(name_of(key), (key.request_hash, order, status));
        }
    }

    /// Makes a product, if that may be, and says which refusal is to be expected otherwise.
    pub(super) fn create(
        &mut self,
        create: &CreateProduct,
        id: Option<ProductId>,
    ) -> Result<(), InventoryError> {
        let new = &create.product;
        self.check_category(new.category)?;
        self.check_sku(new.sku.as_deref(), None)?;
        let goods = Goods {
            stock: new.stock,
            price: new.price,
            version: 1,
            category: new.category,
            sku: new.sku.clone(),
            removed: false,
        };
        if let Some(id) = id {
            self.goods.insert(id, goods);
        }
        Ok(())
    }

    /// Edits a product, if that may be.
    pub(super) fn edit(&mut self, edit: &EditProduct) -> Result<(), InventoryError> {
        self.check_version(edit.product, edit.only_versions.as_deref())?;
        let changes = &edit.changes;
        if let Some(category) = changes.category {
            self.check_category(category)?;
        }
        if let Some(sku) = &changes.sku {
            self.check_sku(sku.as_deref(), Some(edit.product))?;
        }
        let goods = self.goods.get_mut(&edit.product).expect("a product");
        goods.stock = changes.stock.unwrap_or(goods.stock);
        goods.price = changes.price.unwrap_or(goods.price);
        goods.category = changes.category.unwrap_or(goods.category);
        goods.sku = changes.sku.clone().unwrap_or(goods.sku.take());
        goods.version += 1;
        Ok(())
    }

    /// Corrects a stock, if that may be.
    pub(super) fn correct(&mut self, correct: &CorrectStock) -> Result<(), InventoryError> {
        self.check_version(correct.product, None)?;
        let goods = self.goods.get_mut(&correct.product).expect("a product");
        if goods.stock + correct.delta < 0 {
            return Err(InventoryError::BelowZero { available: goods.stock });
        }
        goods.stock += correct.delta;
        Ok(())
    }

    /// Removes a product, if it is there.
    pub(super) fn remove(&mut self, product: ProductId, only: Option<&[i64]>) -> Result<(), InventoryError> {
        self.check_version(product, only)?;
        self.goods.get_mut(&product).expect("a product").removed = true;
        Ok(())
    }

    /// Removes a category with its products, if it is there.
    pub(super) fn remove_category(&mut self, category: CategoryId) -> Result<(), InventoryError> {
        if !self.categories.remove(&category) {
            return Err(InventoryError::NotFound);
        }
        for goods in self.goods.values_mut().filter(|goods| goods.category == category) {
            goods.removed = true;
        }
        Ok(())
    }

    fn check_category(&self, category: CategoryId) -> Result<(), InventoryError> {
        let there = self.categories.contains(&category);
        if there { Ok(()) } else { Err(InventoryError::UnknownCategory(category)) }
    }

    fn check_sku(&self, sku: Option<&str>, own: Option<ProductId>) -> Result<(), InventoryError> {
        let taken = |(id, goods): (&ProductId, &Goods)| {
            !goods.removed && Some(*id) != own && sku.is_some() && goods.sku.as_deref() == sku
        };
        if self.goods.iter().any(taken) { Err(InventoryError::SkuTaken) } else { Ok(()) }
    }

    fn check_version(&self, product: ProductId, only: Option<&[i64]>) -> Result<(), InventoryError> {
        let goods = self.goods.get(&product).filter(|goods| !goods.removed);
        let version = goods.ok_or(InventoryError::NotFound)?.version;
        match only {
            Some(versions) if !versions.contains(&version) => Err(InventoryError::VersionMismatch),
            _ => Ok(()),
        }
    }
}

fn name_of(key: &IdempotencyKey) -> String {
    format!("{} {} {}", key.user, key.path, key.key)
}
