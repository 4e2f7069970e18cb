//! What a batch decides, without a database.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use super::super::facts::CartLine;
use super::*;
use crate::catalog::{NewProduct, ProductChanges};
use crate::orders::OrderLine;
use crate::types::SessionId;

const HOLD: Duration = Duration::from_secs(900);
const BUYER: UserId = UserId(1);
const OTHER: UserId = UserId(2);
const TEAPOT: ProductId = ProductId(10);
const CUP: ProductId = ProductId(11);

fn shelf(price: i64, quantity: i64) -> Shelf {
    Shelf {
        name: "thing".into(),
        price: Money::from_cents(price),
        removed: false,
        quantity,
        stock_version: 1,
    }
}

/// A shop with one teapot at 10.00 and five cups at 2.50.
fn facts(requests: usize) -> Facts {
    Facts {
        now: Timestamp(OffsetDateTime::UNIX_EPOCH),
        order_ids: (100..100 + requests as i64).rev().collect(),
        product_ids: vec![50, 51],
        answers: vec![None; requests],
        carts: HashMap::from([(BUYER, vec![CartLine { id: 5, product: CUP, quantity: 2 }])]),
        orders: HashMap::new(),
        shelves: HashMap::from([(TEAPOT, shelf(1000, 1)), (CUP, shelf(250, 5))]),
        products: HashMap::new(),
        categories: HashSet::from([CategoryId(1), CategoryId(2)]),
        members: HashMap::new(),
        skus: HashMap::new(),
    }
}

fn key(name: &str, content: u8) -> Option<IdempotencyKey> {
    let path = "/api/orders/".into();
    Some(IdempotencyKey { user: BUYER, path, key: name.into(), request_hash: [content; 32] })
}

fn sell(user: UserId, lines: &[(ProductId, i64)]) -> PlaceOrder {
    let lines = lines.iter().map(|&(product, quantity)| OrderLine { product, quantity }).collect();
    PlaceOrder { user, source: OrderSource::Lines(lines), expected_total: None, key: None, caller: None }
}

fn checkout(user: UserId) -> PlaceOrder {
    PlaceOrder { user, source: OrderSource::Cart, expected_total: None, key: None, caller: None }
}

fn run(requests: &[Request], facts: Facts) -> (Vec<Verdict>, Writes, Vec<EventKind>) {
    let Decided { verdicts, writes, events } = decide(requests.iter(), facts, HOLD);
    assert_eq!(verdicts.len(), requests.len());
    (verdicts, writes, events)
}

fn sales(orders: Vec<PlaceOrder>, facts: Facts) -> (Vec<Verdict>, Writes, Vec<EventKind>) {
    run(&orders.into_iter().map(|order| Request::Sell(Sell(order))).collect::<Vec<_>>(), facts)
}

fn order_of(verdict: &Verdict) -> Result<&Order, &OrderError> {
    match verdict {
        Verdict::Order(Ok(Done::Now(order))) => Ok(order),
        Verdict::Order(Err(error)) => Err(error),
        other => panic!("not an order decided now: {other:?}"),
    }
}

#[test]
fn the_first_of_two_buyers_gets_the_last_unit() {
    let (verdicts, writes, events) =
        sales(vec![sell(BUYER, &[(TEAPOT, 1)]), sell(OTHER, &[(TEAPOT, 1)])], facts(2));
    assert_eq!(order_of(&verdicts[0]).unwrap().id, OrderId(100));
    let shortage = Shortage { product: TEAPOT, requested: 1, available: 0 };
    assert_eq!(order_of(&verdicts[1]).unwrap_err(), &OrderError::OutOfStock(vec![shortage]));
    assert_eq!(writes.stock, BTreeMap::from([(TEAPOT, 0)]));
    assert_eq!(writes.placed.len(), 1);
    assert_eq!(events.len(), 2, "the order, and the teapot's stock once: {events:?}");
}

#[test]
fn an_order_short_of_one_line_takes_nothing_of_the_others() {
    let (verdicts, writes, _) = sales(vec![sell(BUYER, &[(CUP, 2), (TEAPOT, 2)])], facts(1));
    assert!(matches!(order_of(&verdicts[0]), Err(OrderError::OutOfStock(short)) if short.len() == 1));
    assert!(writes.is_empty());
}

#[test]
fn a_cart_is_checked_out_once() {
    let (verdicts, writes, _) = sales(vec![checkout(BUYER), checkout(BUYER)], facts(2));
    assert_eq!(order_of(&verdicts[0]).unwrap().total_price, Money::from_cents(500));
    assert_eq!(order_of(&verdicts[1]).unwrap_err(), &OrderError::EmptyCart);
    assert_eq!(writes.cart_lines, [5]);
}

#[test]
fn a_removed_product_is_in_no_cart_and_cannot_be_named() {
    let mut facts = facts(2);
    facts.shelves.get_mut(&CUP).unwrap().removed = true;
    let (verdicts, writes, _) = sales(vec![checkout(BUYER), sell(BUYER, &[(CUP, 1)])], facts);
    assert_eq!(order_of(&verdicts[0]).unwrap_err(), &OrderError::EmptyCart);
    assert_eq!(order_of(&verdicts[1]).unwrap_err(), &OrderError::UnknownProducts(vec![CUP]));
    assert!(writes.is_empty());
}

#[test]
fn a_twin_in_the_same_batch_gets_the_first_answer() {
    let keyed = |content| PlaceOrder { key: key("k", content), ..sell(BUYER, &[(CUP, 1)]) };
    let (verdicts, writes, _) = sales(vec![keyed(1), keyed(1), keyed(2)], facts(3));
    let first = serde_json::to_string(order_of(&verdicts[0]).unwrap()).unwrap();
    match &verdicts[1] {
        Verdict::Order(Ok(Done::Before(answer))) => assert_eq!((answer.status, &answer.body), (201, &first)),
        other => panic!("{other:?}"),
    }
    assert_eq!(order_of(&verdicts[2]).unwrap_err(), &OrderError::KeyReused(KeyReused));
    assert_eq!(writes.stock[&CUP], 4);
    assert_eq!(writes.answers.len(), 1);
}

#[test]
fn a_refused_request_leaves_its_key_free() {
    let keyed = |quantity| PlaceOrder { key: key("k", 1), ..sell(BUYER, &[(TEAPOT, quantity)]) };
    let (verdicts, writes, _) = sales(vec![keyed(2), keyed(1)], facts(2));
    assert!(order_of(&verdicts[0]).is_err());
    assert!(order_of(&verdicts[1]).is_ok());
    assert_eq!(writes.answers.len(), 1);
}

#[test]
fn prices_decide_at_the_moment_of_the_sale() {
    let expecting =
        |cents| PlaceOrder { expected_total: Some(Money::from_cents(cents)), ..sell(BUYER, &[(CUP, 2)]) };
    let (verdicts, _, _) = sales(vec![expecting(499), expecting(500)], facts(2));
    assert_eq!(order_of(&verdicts[0]).unwrap_err(), &OrderError::PriceChanged(Money::from_cents(500)));
    assert!(order_of(&verdicts[1]).is_ok());
}

#[test]
fn a_total_beyond_the_bound_is_refused() {
    let mut facts = facts(1);
    facts.shelves.insert(CUP, shelf(9_999_999_999, 1_000_000));
    let (verdicts, writes, _) = sales(vec![sell(BUYER, &[(CUP, 1_000_000)])], facts);
    assert_eq!(order_of(&verdicts[0]).unwrap_err(), &OrderError::TotalTooLarge);
    assert!(writes.is_empty());
}

/// An order for two cups, placed when they were five.
fn placed() -> Order {
    let id = OrderId(7);
    Order {
        id,
        user: BUYER,
        items: vec![OrderItem::new(id, 0, CUP, "thing".into(), 2, Money::from_cents(250))],
        total_price: Money::from_cents(500),
        status: OrderStatus::Pending,
        is_paid: false,
        created_at: Timestamp(OffsetDateTime::UNIX_EPOCH),
        updated_at: Timestamp(OffsetDateTime::UNIX_EPOCH),
        expires_at: Timestamp(OffsetDateTime::UNIX_EPOCH + HOLD),
    }
}

fn moves(by: Option<(UserId, bool)>, events: &[OrderEvent], order: &Order) -> (Vec<Verdict>, Writes) {
    let by = by.map(|(user, is_staff)| Principal { user, session: SessionId(1), is_staff });
    let step = |&event| Request::Move(Move(MoveOrder { order: order.id, event, by, key: None }));
    let mut facts = facts(events.len());
    facts.orders.insert(order.id, order.clone());
    let (verdicts, writes, _) = run(&events.iter().map(step).collect::<Vec<_>>(), facts);
    (verdicts, writes)
}

#[test]
fn two_cancels_give_the_stock_back_once() {
    let twice = [OrderEvent::Cancelled, OrderEvent::Cancelled];
    let (verdicts, writes) = moves(Some((BUYER, false)), &twice, &placed());
    assert_eq!(order_of(&verdicts[0]).unwrap().status, OrderStatus::Cancelled);
    assert!(matches!(order_of(&verdicts[1]), Err(OrderError::InvalidTransition { .. })));
    assert_eq!(writes.stock[&CUP], 7);
    assert_eq!(writes.moves.len(), 1);
}

#[test]
fn anothers_order_does_not_exist() {
    let (verdicts, writes) = moves(Some((OTHER, false)), &[OrderEvent::Cancelled], &placed());
    assert_eq!(order_of(&verdicts[0]).unwrap_err(), &OrderError::NotFound);
    assert!(writes.is_empty());
}

#[test]
fn a_customer_cancels_only_what_is_pending_and_pays_nothing() {
    let (verdicts, _) = moves(Some((BUYER, false)), &[OrderEvent::Paid], &placed());
    assert_eq!(order_of(&verdicts[0]).unwrap_err(), &OrderError::Forbidden);
    let paid = Order { status: OrderStatus::Paid, ..placed() };
    let (verdicts, _) = moves(Some((BUYER, false)), &[OrderEvent::Cancelled], &paid);
    assert!(matches!(order_of(&verdicts[0]), Err(OrderError::InvalidTransition { .. })));
    let (verdicts, writes) = moves(Some((OTHER, true)), &[OrderEvent::Cancelled], &paid);
    assert!(order_of(&verdicts[0]).is_ok());
    assert_eq!(writes.stock[&CUP], 7);
}

#[test]
fn holds_expire_when_they_have_run_out_and_not_before() {
    let (verdicts, _) = moves(None, &[OrderEvent::Expired], &placed());
    assert!(order_of(&verdicts[0]).is_err());
    let overdue = Order { expires_at: Timestamp(OffsetDateTime::UNIX_EPOCH), ..placed() };
    let (verdicts, _) = moves(Some((OTHER, true)), &[OrderEvent::Paid], &overdue);
    assert!(order_of(&verdicts[0]).is_err(), "what has run out cannot be paid for");
    let (verdicts, writes) = moves(None, &[OrderEvent::Expired], &overdue);
    assert_eq!(order_of(&verdicts[0]).unwrap().status, OrderStatus::Expired);
    assert_eq!(writes.stock[&CUP], 7);
}

fn cup() -> Product {
    Product {
        id: CUP,
        sku: Some("cup".into()),
        name: "thing".into(),
        description: None,
        price: Money::from_cents(250),
        category: CategoryId(1),
        stock: 0,
        created_at: Timestamp(OffsetDateTime::UNIX_EPOCH),
        updated_at: Timestamp(OffsetDateTime::UNIX_EPOCH),
        version: 3,
        stock_version: 0,
    }
}

fn edit(changes: ProductChanges) -> Request {
    Request::Edit(EditProduct { product: CUP, changes, only_versions: None, by: None })
}

#[test]
fn a_count_becomes_an_entry_of_the_difference() {
    let mut facts = facts(2);
    facts.products.insert(CUP, cup());
    let sale = Request::Sell(Sell(sell(BUYER, &[(CUP, 1)])));
    let (verdicts, writes, _) =
        run(&[sale, edit(ProductChanges { stock: Some(20), ..Default::default() })], facts);
    assert_eq!(writes.entries[0].delta, 16, "four were left");
    assert_eq!(writes.stock[&CUP], 20);
    assert!(matches!(&verdicts[1], Verdict::Product(Ok(Done::Now(p))) if p.stock == 20 && p.version == 4));
}

#[test]
fn corrections_stop_at_zero() {
    let correct =
        |delta| Request::Correct(CorrectStock { product: CUP, delta, reason: "broken".into(), by: None });
    let mut facts = facts(3);
    facts.products.insert(CUP, cup());
    let (verdicts, writes, _) = run(&[correct(-6), correct(-5), correct(i64::MIN)], facts);
    assert!(matches!(&verdicts[0], Verdict::Product(Err(InventoryError::BelowZero { available: 5 }))));
    assert!(matches!(&verdicts[1], Verdict::Product(Ok(_))));
    assert!(matches!(&verdicts[2], Verdict::Product(Err(InventoryError::BelowZero { available: 0 }))));
    assert_eq!(writes.stock[&CUP], 0);
}

#[test]
fn a_sku_belongs_to_one_product_even_within_a_batch() {
    let new = |sku: &str| {
        let product = NewProduct {
            sku: Some(sku.into()),
            name: "new".into(),
            description: None,
            price: Money::ZERO,
            category: CategoryId(1),
            stock: 3,
        };
        Request::Create(CreateProduct { product, by: None, key: None })
    };
    let (verdicts, writes, _) = run(&[new("a"), new("a")], facts(2));
    assert!(matches!(&verdicts[0], Verdict::Product(Ok(Done::Now(product))) if product.stock == 3));
    assert!(matches!(&verdicts[1], Verdict::Product(Err(InventoryError::SkuTaken))));
    assert_eq!(writes.first_stock.len(), 1);
}

#[test]
fn a_category_takes_its_products_along_but_not_those_moved_out_of_it() {
    let mut facts = facts(2);
    facts.products.insert(CUP, cup());
    facts.members.insert(CategoryId(1), vec![CUP, TEAPOT]);
    let moved = edit(ProductChanges { category: Some(CategoryId(2)), ..Default::default() });
    let removal = Request::RemoveCategory(RemoveCategory { category: CategoryId(1) });
    let (_, writes, events) = run(&[moved, removal], facts);
    assert_eq!(writes.removed_products, BTreeSet::from([TEAPOT]));
    assert!(events.contains(&EventKind::Removed { product: TEAPOT }));
}
