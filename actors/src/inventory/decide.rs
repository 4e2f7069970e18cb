//! The decisions of a batch: pure, in arrival order, each seeing what the ones before it decided.
//!
//! No clock, no database, no randomness: the facts and the requests give the verdicts and the writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::InventoryError;
use super::facts::{Facts, Shelf};
use super::job::{Request, Verdict};
use super::messages::{CorrectStock, CreateProduct, EditProduct, Move, RemoveCategory, RemoveProduct, Sell};
use crate::catalog::{Product, STOCK_MAX};
use crate::feed::EventKind;
use crate::idempotency::store::{Found, Kept, PLACED};
use crate::idempotency::{Done, IdempotencyKey, KeyReused, StoredAnswer};
use crate::orders::{
    MoveOrder, Order, OrderError, OrderEvent, OrderItem, OrderSource, OrderStatus, PlaceOrder, Shortage,
};
use crate::types::{CategoryId, Money, OrderId, Principal, ProductId, Timestamp, UserId};

/// Why stock changed without an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) product: ProductId,
    pub(crate) delta: i64,
    pub(crate) reason: String,
    pub(crate) by: Option<UserId>,
}

/// The stock that a new product begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstStock {
    pub(crate) product: ProductId,
    pub(crate) quantity: i64,
    /// That of the product.
    pub(crate) category: CategoryId,
}

/// Everything a batch writes, besides its events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    /// The stocks that changed, as they are now.
    pub(crate) stock: BTreeMap<ProductId, i64>,
    pub(crate) first_stock: Vec<FirstStock>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) placed: Vec<Order>,
    /// Lines of carts that became orders.
    pub(crate) cart_lines: Vec<i64>,
    pub(crate) moved: BTreeMap<OrderId, OrderStatus>,
    pub(crate) moves: Vec<(OrderId, OrderEvent, Option<UserId>)>,
    pub(crate) created: Vec<Product>,
    pub(crate) edited: BTreeMap<ProductId, Product>,
    pub(crate) removed_products: BTreeSet<ProductId>,
    pub(crate) removed_categories: BTreeSet<CategoryId>,
    pub(crate) answers: Vec<(IdempotencyKey, Kept)>,
}

impl Writes {
    /// Whether there is nothing to write: every request was refused, or answered before.
    pub(crate) fn is_empty(&self) -> bool {
        // Each kind of write comes with one of these.
        self.stock.is_empty()
            && self.placed.is_empty()
            && self.moves.is_empty()
            && self.created.is_empty()
            && self.edited.is_empty()
            && self.removed_products.is_empty()
            && self.removed_categories.is_empty()
    }
}

/// What a batch came to.
#[derive(Debug)]
pub(crate) struct Decided {
    /// By request, in their order.
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) writes: Writes,
    /// In the order they are to be numbered.
    pub(crate) events: Vec<EventKind>,
}

/// Decides a batch. `hold` is how long a new order keeps its stock unpaid.
pub(crate) fn decide<'a>(
    requests: impl Iterator<Item = &'a Request>,
    facts: Facts,
    hold: Duration,
) -> Decided {
    let mut desk = Desk {
        hold,
        facts,
        writes: Writes::default(),
        twins: HashMap::new(),
        order_events: Vec::new(),
        touched: BTreeSet::new(),
    };
    let verdicts = requests.enumerate().map(|(position, request)| desk.decide(position, request)).collect();
    let events = desk.events();
    Decided { verdicts, writes: desk.writes, events }
}

/// The state that decisions read and change.
struct Desk<'a> {
    hold: Duration,
    facts: Facts,
    writes: Writes,
    /// By user, path and key: where in `writes.answers` it is.
    twins: HashMap<(UserId, &'a str, &'a str), usize>,
    order_events: Vec<EventKind>,
    /// Products of which the feed must hear, for their stock or their price.
    touched: BTreeSet<ProductId>,
}

impl<'a> Desk<'a> {
    fn decide(&mut self, position: usize, request: &'a Request) -> Verdict {
        match request {
            Request::Sell(Sell(place)) => Verdict::Order(match self.earlier(position, place.key.as_ref()) {
                Some(Ok(answer)) => Ok(Done::Before(answer)),
                Some(Err(reused)) => Err(reused.into()),
                None => self.place(place).map(|order| {
                    self.keep(place.key.as_ref(), || Kept::Order(order.id));
                    Done::Now(order)
                }),
            }),
            Request::Move(Move(step)) => Verdict::Order(match self.earlier(position, step.key.as_ref()) {
                Some(Ok(answer)) => Ok(Done::Before(answer)),
                Some(Err(reused)) => Err(reused.into()),
                None => self.move_on(step).map(|order| {
                    self.keep(step.key.as_ref(), || Kept::Answer(StoredAnswer::new(200, &order)));
                    Done::Now(order)
                }),
            }),
            Request::Create(create) => Verdict::Product(match self.earlier(position, create.key.as_ref()) {
                Some(Ok(answer)) => Ok(Done::Before(answer)),
                Some(Err(reused)) => Err(reused.into()),
                None => self.create(create).map(|product| {
                    self.keep(create.key.as_ref(), || Kept::Answer(StoredAnswer::new(201, &product)));
                    Done::Now(product)
                }),
            }),
            Request::Edit(edit) => Verdict::Product(self.edit(edit).map(Done::Now)),
            Request::Correct(correct) => Verdict::Product(self.correct(correct).map(Done::Now)),
            Request::RemoveProduct(remove) => Verdict::Removed(self.remove_product(remove)),
            Request::RemoveCategory(remove) => Verdict::Removed(self.remove_category(*remove)),
        }
    }

    /// What this key led to before: in the table, or earlier in this very batch.
    fn earlier(&mut self, position: usize, key: Option<&IdempotencyKey>) -> Found {
        let key = key?;
        if let Some(found) = self.facts.answers.get_mut(position).and_then(Option::take) {
            return Some(found);
        }
        let (twin, kept) = self.writes.answers.get(*self.twins.get(&scope(key))?)?;
        if twin.request_hash != key.request_hash {
            return Some(Err(KeyReused));
        }
        match kept {
            Kept::Answer(answer) => Some(Ok(answer.clone())),
            Kept::Order(id) => {
                let order = self.writes.placed.iter().find(|order| order.id == *id)?;
                Some(Ok(StoredAnswer::new(PLACED, order)))
            }
        }
    }

    fn keep(&mut self, key: Option<&'a IdempotencyKey>, kept: impl FnOnce() -> Kept) {
        let Some(key) = key else { return };
        self.twins.insert(scope(key), self.writes.answers.len());
        self.writes.answers.push((key.clone(), kept()));
    }

    // Orders ---------------------------------------------------------------------------------------

    fn place(&mut self, place: &PlaceOrder) -> Result<Order, OrderError> {
        let lines = self.lines_of(place)?;
        let unknown: Vec<ProductId> =
            lines.iter().map(|&(product, _)| product).filter(|product| !self.is_on_sale(*product)).collect();
        if !unknown.is_empty() {
            return Err(OrderError::UnknownProducts(unknown));
        }
        let shortages = self.shortages(&lines);
        if !shortages.is_empty() {
            return Err(OrderError::OutOfStock(shortages));
        }
        let total: Money = lines
            .iter()
            .filter_map(|(p, quantity)| Some(self.facts.shelves.get(p)?.price.times(*quantity)))
            .sum();
        if total > Money::TOTAL_MAX {
            return Err(OrderError::TotalTooLarge);
        }
        if place.expected_total.is_some_and(|expected| expected != total) {
            return Err(OrderError::PriceChanged(total));
        }
        // Never short: one id was drawn for each sale of the batch.
        let id = OrderId(self.facts.order_ids.pop().ok_or(OrderError::Internal)?);
        let order = Order {
            id,
            user: place.user,
            items: self.take(id, &lines),
            total_price: total,
            status: OrderStatus::Pending,
            is_paid: false,
            created_at: self.facts.now,
            updated_at: self.facts.now,
            expires_at: Timestamp(self.facts.now.0 + self.hold),
        };
        if place.source == OrderSource::Cart {
            let lines = self.facts.carts.remove(&place.user).unwrap_or_default();
            self.writes.cart_lines.extend(lines.iter().map(|line| line.id));
        }
        self.order_events.push(order_event(&order, OrderEvent::Placed));
        self.writes.placed.push(order.clone());
        Ok(order)
    }

    fn lines_of(&self, place: &PlaceOrder) -> Result<Vec<(ProductId, i64)>, OrderError> {
        match &place.source {
            OrderSource::Lines(lines) => Ok(lines.iter().map(|line| (line.product, line.quantity)).collect()),
            OrderSource::Cart => {
                // A product that has left the catalogue has left the carts, too.
                let lines = self.facts.carts.get(&place.user).into_iter().flatten();
                let lines = lines.filter(|line| self.is_on_sale(line.product));
                let lines: Vec<_> = lines.map(|line| (line.product, line.quantity)).collect();
                if lines.is_empty() { Err(OrderError::EmptyCart) } else { Ok(lines) }
            }
        }
    }

    fn is_on_sale(&self, product: ProductId) -> bool {
        self.facts.shelves.get(&product).is_some_and(|shelf| !shelf.removed)
    }

    fn shortages(&self, lines: &[(ProductId, i64)]) -> Vec<Shortage> {
        lines
            .iter()
            .filter_map(|&(product, requested)| {
                let available = self.facts.shelves.get(&product)?.quantity;
                (available < requested).then_some(Shortage { product, requested, available })
            })
            .collect()
    }

    fn take(&mut self, order: OrderId, lines: &[(ProductId, i64)]) -> Vec<OrderItem> {
        let mut items = Vec::with_capacity(lines.len());
        for (line_no, &(product, quantity)) in (0_i16..).zip(lines) {
            let Some(shelf) = self.change_stock(product, -quantity) else { continue };
            items.push(OrderItem::new(order, line_no, product, shelf.name.clone(), quantity, shelf.price));
        }
        items
    }

    fn move_on(&mut self, step: &MoveOrder) -> Result<Order, OrderError> {
        let now = self.facts.now;
        let order = self.facts.orders.get_mut(&step.order).ok_or(OrderError::NotFound)?;
        let next = allowed_move(order, step, now)?;
        order.status = next;
        order.is_paid = next.is_paid();
        order.updated_at = now;
        let order = order.clone();
        if next.gave_stock_back() {
            for item in &order.items {
                self.change_stock(item.product, item.quantity);
            }
        }
        self.writes.moved.insert(order.id, next);
        self.writes.moves.push((order.id, step.event, step.by.map(|principal| principal.user)));
        self.order_events.push(order_event(&order, step.event));
        Ok(order)
    }

    // Products -------------------------------------------------------------------------------------

    fn create(&mut self, create: &CreateProduct) -> Result<Product, InventoryError> {
        let new = &create.product;
        self.check_category(new.category)?;
        self.check_sku(new.sku.as_deref(), None)?;
        let id = ProductId(self.facts.product_ids.pop().ok_or(InventoryError::Internal)?);
        let product = Product {
            id,
            sku: new.sku.clone(),
            name: new.name.clone(),
            description: new.description.clone(),
            price: new.price,
            category: new.category,
            stock: new.stock,
            created_at: self.facts.now,
            updated_at: self.facts.now,
            version: 1,
            stock_version: 1,
        };
        self.facts.skus.extend(product.sku.clone().map(|sku| (sku, id)));
        self.facts.shelves.insert(
            id,
            Shelf {
                name: product.name.as_str().into(),
                price: product.price,
                removed: false,
                quantity: new.stock,
                stock_version: 1,
            },
        );
        self.touched.insert(id);
        let first = FirstStock { product: id, quantity: new.stock, category: new.category };
        self.writes.first_stock.push(first);
        self.enter(id, new.stock, "first stock", create.by);
        self.writes.created.push(product.clone());
        Ok(product)
    }

    fn edit(&mut self, edit: &EditProduct) -> Result<Product, InventoryError> {
        let changes = &edit.changes;
        self.check_version(edit.product, edit.only_versions.as_deref())?;
        if let Some(category) = changes.category {
            self.check_category(category)?;
        }
        if let Some(sku) = &changes.sku {
            self.check_sku(sku.as_deref(), Some(edit.product))?;
        }
        let now = self.facts.now;
        let product = self.facts.products.get_mut(&edit.product).ok_or(InventoryError::NotFound)?;
        if let Some(sku) = &changes.sku {
            if let Some(old) = product.sku.take() {
                self.facts.skus.remove(&old);
            }
            self.facts.skus.extend(sku.clone().map(|sku| (sku, edit.product)));
            product.sku.clone_from(sku);
        }
        if let Some(name) = &changes.name {
            product.name.clone_from(name);
        }
        if let Some(description) = &changes.description {
            product.description.clone_from(description);
        }
        product.category = changes.category.unwrap_or(product.category);
        let dearer = changes.price.is_some_and(|price| price != product.price);
        product.price = changes.price.unwrap_or(product.price);
        product.updated_at = now;
        product.version += 1;
        let product = product.clone();
        if let Some(shelf) = self.facts.shelves.get_mut(&edit.product) {
            shelf.name = product.name.as_str().into();
            shelf.price = product.price;
        }
        if dearer {
            self.touched.insert(edit.product);
        }
        if let Some(count) = changes.stock {
            let delta = count - self.facts.shelves.get(&edit.product).map_or(0, |shelf| shelf.quantity);
            self.change_stock(edit.product, delta);
            self.enter(edit.product, delta, "count", edit.by);
        }
        self.writes.edited.insert(edit.product, product);
        self.whole(edit.product)
    }

    fn correct(&mut self, correct: &CorrectStock) -> Result<Product, InventoryError> {
        self.check_version(correct.product, None)?;
        let available = self.facts.shelves.get(&correct.product).map_or(0, |shelf| shelf.quantity);
        match available.checked_add(correct.delta) {
            Some(after) if after < 0 => return Err(InventoryError::BelowZero { available }),
            Some(after) if after <= STOCK_MAX || correct.delta <= 0 => {}
            _ => return Err(InventoryError::StockTooLarge),
        }
        self.change_stock(correct.product, correct.delta);
        self.enter(correct.product, correct.delta, &correct.reason, correct.by);
        self.whole(correct.product)
    }

    fn remove_product(&mut self, remove: &RemoveProduct) -> Result<(), InventoryError> {
        self.check_version(remove.product, remove.only_versions.as_deref())?;
        self.take_off_sale(remove.product);
        Ok(())
    }

    fn remove_category(&mut self, remove: RemoveCategory) -> Result<(), InventoryError> {
        if !self.facts.categories.remove(&remove.category) {
            return Err(InventoryError::NotFound);
        }
        // What this very batch put into the category goes with it; what it moved out of it stays.
        let created = self.writes.created.iter().map(|product| (product.id, product.category));
        let edited = self.writes.edited.values().map(|product| (product.id, product.category));
        let placed_now: BTreeMap<ProductId, CategoryId> = created.chain(edited).collect();
        let members = self.facts.members.remove(&remove.category).unwrap_or_default();
        let stayed = members.into_iter().filter(|product| !placed_now.contains_key(product));
        let arrived =
            placed_now.iter().filter(|(_, category)| **category == remove.category).map(|(id, _)| *id);
        for product in stayed.chain(arrived) {
            self.take_off_sale(product);
        }
        self.writes.removed_categories.insert(remove.category);
        Ok(())
    }

    fn take_off_sale(&mut self, product: ProductId) {
        if let Some(shelf) = self.facts.shelves.get_mut(&product) {
            shelf.removed = true;
        }
        self.facts.products.remove(&product);
        // Not by the product's row, which is not among the facts when its category is removed.
        self.facts.skus.retain(|_, owner| *owner != product);
        self.writes.removed_products.insert(product);
    }

    fn check_category(&self, category: CategoryId) -> Result<(), InventoryError> {
        if self.facts.categories.contains(&category) {
            Ok(())
        } else {
            Err(InventoryError::UnknownCategory(category))
        }
    }

    fn check_sku(&self, sku: Option<&str>, own: Option<ProductId>) -> Result<(), InventoryError> {
        match sku.and_then(|sku| self.facts.skus.get(sku)) {
            Some(owner) if Some(*owner) != own => Err(InventoryError::SkuTaken),
            _ => Ok(()),
        }
    }

    fn check_version(&self, product: ProductId, only: Option<&[i64]>) -> Result<(), InventoryError> {
        let product = self.facts.products.get(&product).ok_or(InventoryError::NotFound)?;
        match only {
            Some(versions) if !versions.contains(&product.version) => Err(InventoryError::VersionMismatch),
            _ => Ok(()),
        }
    }

    /// The product as it is now, stock included.
    fn whole(&self, id: ProductId) -> Result<Product, InventoryError> {
        let product = self.facts.products.get(&id).ok_or(InventoryError::NotFound)?;
        let shelf = self.facts.shelves.get(&id).ok_or(InventoryError::NotFound)?;
        // The row is written once per batch, so its version grows by one however often it changed.
        let stock_version = shelf.stock_version + i64::from(self.writes.stock.contains_key(&id));
        Ok(Product { stock: shelf.quantity, stock_version, ..product.clone() })
    }

    // Stock ----------------------------------------------------------------------------------------

    /// The one place where a stock changes. The caller has made sure that it suffices.
    fn change_stock(&mut self, product: ProductId, delta: i64) -> Option<&Shelf> {
        let shelf = self.facts.shelves.get_mut(&product)?;
        if delta != 0 {
            shelf.quantity += delta;
            self.touched.insert(product);
            match self.writes.first_stock.iter_mut().find(|first| first.product == product) {
                Some(first) => first.quantity = shelf.quantity,
                None => {
                    self.writes.stock.insert(product, shelf.quantity);
                }
            }
        }
        Some(shelf)
    }

    fn enter(&mut self, product: ProductId, delta: i64, reason: &str, by: Option<UserId>) {
        if delta != 0 {
            self.writes.entries.push(Entry { product, delta, reason: reason.to_owned(), by });
        }
    }

    /// The batch's events: orders in arrival order, then what left the catalogue, then each touched
    /// product once, as it is now.
    fn events(&mut self) -> Vec<EventKind> {
        let mut events = std::mem::take(&mut self.order_events);
        events
            .extend(self.writes.removed_categories.iter().map(|&category| EventKind::Category { category }));
        events.extend(self.writes.removed_products.iter().map(|&product| EventKind::Removed { product }));
        for &product in &self.touched {
            let Some(shelf) = self.facts.shelves.get(&product).filter(|shelf| !shelf.removed) else {
                continue;
            };
            events.push(EventKind::Stock { product, stock: shelf.quantity, price: shelf.price });
        }
        // Whether the stock is all that changed is not to be seen from the events above. Of new
        // products the lists alone have to hear besides, for which one event does.
        let rows =
            self.writes.edited.keys().copied().chain(self.writes.created.iter().map(|new| new.id).take(1));
        events.extend(
            rows.filter(|id| !self.writes.removed_products.contains(id))
                .map(|product| EventKind::Product { product }),
        );
        events
    }
}

/// Whether this move may be made, by this asker, now; and where it leads.
fn allowed_move(order: &Order, step: &MoveOrder, now: Timestamp) -> Result<OrderStatus, OrderError> {
    let refused = OrderError::InvalidTransition { status: order.status, event: step.event };
    if let Some(Principal { user, is_staff: false, .. }) = step.by {
        if order.user != user {
            return Err(OrderError::NotFound);
        }
        if step.event != OrderEvent::Cancelled {
            return Err(OrderError::Forbidden);
        }
        if order.status != OrderStatus::Pending {
            return Err(refused);
        }
    }
    let ran_out = order.expires_at <= now;
    match step.event {
        // A hold that has run out cannot be paid for, even if nobody has swept it up yet; and one
        // that has not is not swept up.
        OrderEvent::Paid if ran_out => Err(refused),
        OrderEvent::Expired if !ran_out => Err(refused),
        event => order.status.after(event).ok_or(refused),
    }
}

/// What a key is told apart by.
fn scope(key: &IdempotencyKey) -> (UserId, &str, &str) {
    (key.user, &key.path, &key.key)
}

fn order_event(order: &Order, event: OrderEvent) -> EventKind {
    EventKind::Order {
        order: order.id,
        user: order.user,
        event,
        status: order.status,
        total: order.total_price,
    }
}

#[cfg(test)]
mod tests;
