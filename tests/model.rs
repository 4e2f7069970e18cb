//! Random sequences of commands against a model: a batch answers as if each of its commands had come
//! alone, in the order of arrival, and leaves behind what the model says.

mod books;

use std::collections::BTreeMap;

use emporium_actors::Shop;
use emporium_actors::cart::{AddItem, CartError, ClearCart};
use emporium_actors::catalog::{NewProduct, Product, ProductChanges};
use emporium_actors::idempotency::{Done, IdempotencyKey};
use emporium_actors::inventory::{
    CorrectStock, CreateProduct, EditProduct, Inventory, InventoryError, Move, RemoveCategory, RemoveProduct,
    Sell,
};
use emporium_actors::orders::{MoveOrder, Order, OrderError, OrderEvent, OrderLine, OrderSource, PlaceOrder};
use emporium_actors::types::{CategoryId, Money, OrderId, Principal, ProductId, SessionId, UserId};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio_postgres::Client;

use crate::harness::{Node, TestApp, User};

use books::{Books, Difference};

/// A command before it is known which products and orders there will be; its numbers pick from them.
#[derive(Clone, Debug)]
enum Plan {
    Place { user: usize, lines: Vec<(usize, i64)>, total: Total, key: Option<usize> },
    Checkout { user: usize, total: Total, key: Option<usize> },
    Move { order: usize, event: OrderEvent, by: By, key: Option<usize> },
    Create { category: usize, stock: i64, sku: Option<usize> },
    Count { product: usize, stock: i64, stale: bool },
    Reprice { product: usize, cents: i64 },
    Recategorize { product: usize, category: usize, sku: Option<usize> },
    Correct { product: usize, delta: i64 },
    Remove { product: usize, stale: bool },
    RemoveCategory { category: usize },
}

#[derive(Clone, Copy, Debug)]
enum Total {
    Any,
    /// That of the moment before the commands are sent.
    Known,
    Wrong,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Owner,
    Other,
    Staff,
    TheShop,
}

/// Additions to carts, one after the other, then commands that are all sent at once.
#[derive(Clone, Debug)]
struct Round {
    additions: Vec<(usize, usize, i64)>,
    plans: Vec<Plan>,
    /// Whether the commands meet in one batch; otherwise the database takes them as they come.
    together: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let (user, product, category) = (0..2_usize, 0..8_usize, 0..3_usize);
    let total = prop_oneof![4 => Just(Total::Any), 2 => Just(Total::Known), 1 => Just(Total::Wrong)];
    let by = prop_oneof![
        2 => Just(By::Owner), 1 => Just(By::Other), 6 => Just(By::Staff), 1 => Just(By::TheShop)
    ];
    let event = prop_oneof![
        3 => Just(OrderEvent::Paid), 2 => Just(OrderEvent::Shipped), 1 => Just(OrderEvent::Delivered),
        4 => Just(OrderEvent::Cancelled), 1 => Just(OrderEvent::Expired), 2 => Just(OrderEvent::Refunded)
    ];
    let key = || proptest::option::weighted(0.3, 0..4_usize);
    let sku = || proptest::option::of(0..3_usize);
    let lines = proptest::collection::vec((product.clone(), 1..6_i64), 1..4);
    prop_oneof![
        8 => (user.clone(), lines, total.clone(), key())
            .prop_map(|(user, lines, total, key)| Plan::Place { user, lines, total, key }),
        4 => (user, total, key()).prop_map(|(user, total, key)| Plan::Checkout { user, total, key }),
        10 => (0..20_usize, event, by, key())
            .prop_map(|(order, event, by, key)| Plan::Move { order, event, by, key }),
        1 => (category.clone(), 0..9_i64, sku())
            .prop_map(|(category, stock, sku)| Plan::Create { category, stock, sku }),
        2 => (product.clone(), 0..12_i64, any::<bool>())
            .prop_map(|(product, stock, stale)| Plan::Count { product, stock, stale }),
        1 => (product.clone(), 0..500_i64).prop_map(|(product, cents)| Plan::Reprice { product, cents }),
        1 => (product.clone(), category, sku())
            .prop_map(|(product, category, sku)| Plan::Recategorize { product, category, sku }),
        3 => (product.clone(), -8..12_i64).prop_map(|(product, delta)| Plan::Correct { product, delta }),
        1 => (product, any::<bool>()).prop_map(|(product, stale)| Plan::Remove { product, stale }),
        1 => (0..3_usize).prop_map(|category| Plan::RemoveCategory { category }),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    let addition = (0..2_usize, 0..8_usize, 1..5_i64);
    (proptest::collection::vec(addition, 0..3), proptest::collection::vec(plan(), 1..11), any::<bool>())
        .prop_map(|(additions, plans, together)| Round { additions, plans, together })
}

/// A command as it is sent.
#[derive(Clone, Debug)]
enum Command {
    Place(PlaceOrder),
    Move(MoveOrder),
    Create(CreateProduct),
    Edit(EditProduct),
    Correct(CorrectStock),
    Remove(RemoveProduct),
    RemoveCategory(RemoveCategory),
}

/// What came back.
#[derive(Debug)]
enum Answer {
    Order(Result<Done<Order>, OrderError>),
    Created(Result<Done<Product>, InventoryError>),
    Product(Result<Product, InventoryError>),
    Removed(Result<(), InventoryError>),
}

impl Command {
    /// Puts the command into the inventory's queue.
    fn send(self, inventory: &Inventory) -> BoxFuture<'static, Answer> {
        const THERE: &str = "the inventory is there";
        match self {
            Self::Place(place) => {
                inventory.send(Sell(place)).map(|answer| Answer::Order(answer.expect(THERE))).boxed()
            }
            Self::Move(step) => {
                inventory.send(Move(step)).map(|answer| Answer::Order(answer.expect(THERE))).boxed()
            }
            Self::Create(create) => {
                inventory.send(create).map(|answer| Answer::Created(answer.expect(THERE))).boxed()
            }
            Self::Edit(edit) => {
                inventory.send(edit).map(|answer| Answer::Product(answer.expect(THERE))).boxed()
            }
            Self::Correct(correct) => {
                inventory.send(correct).map(|answer| Answer::Product(answer.expect(THERE))).boxed()
            }
            Self::Remove(remove) => {
                inventory.send(remove).map(|answer| Answer::Removed(answer.expect(THERE))).boxed()
            }
            Self::RemoveCategory(remove) => {
                inventory.send(remove).map(|answer| Answer::Removed(answer.expect(THERE))).boxed()
            }
        }
    }
}

/// Two nodes, two customers, and what they should find.
struct Trial<'a> {
    app: &'a TestApp,
    nodes: [&'a Shop; 2],
    staff: &'a User,
    users: [UserId; 2],
    /// Of this case alone, so that one case cannot fail another.
    name: String,
    categories: Vec<CategoryId>,
    books: Books,
    /// A product that is in no books: who locks its stock holds up a batch that corrects it.
    latch: ProductId,
    /// Who does so.
    holder: Client,
}

impl<'a> Trial<'a> {
    async fn open(app: &'a TestApp, second: &'a Node, staff: &'a User, users: [UserId; 2]) -> Self {
        let name = format!("{:08x}", rand::random::<u32>());
        let nodes = [&app.shop, &second.shop];
        let mut books = Books::default();
        let mut categories = Vec::new();
        for n in 0..3 {
            let category = CategoryId(app.category(staff, &format!("{name} {n}")).await);
            books.categories.insert(category);
            categories.push(category);
        }
        let latch = ProductId(app.product(staff, &format!("{name} latch"), "1.00", 1).await);
        let holder = app.database().client().await;
        let mut trial = Self { app, nodes, staff, users, name, categories, books, latch, holder };
        for user in users {
            app.shop.carts.send(user, ClearCart).await.expect("a cart").expect("a cart");
        }
        for n in 0..4 {
            let command = trial.command(&Plan::Create { category: n, stock: 5 + n as i64, sku: None });
            let answer = command.clone().send(&app.shop.inventory).await;
            assert_eq!(trial.compare(&command, &answer), None);
        }
        trial
    }

    fn product(&self, number: usize) -> ProductId {
        let products: Vec<ProductId> = self.books.goods.keys().copied().collect();
        products[number % products.len()]
    }

    fn category(&self, number: usize) -> CategoryId {
        self.categories[number % self.categories.len()]
    }

    fn total(&self, lines: &[(ProductId, i64)], total: Total) -> Option<Money> {
        match total {
            Total::Any => None,
            Total::Known => Some(self.books.total(lines)),
            Total::Wrong => Some(Money::from_cents(self.books.total(lines).cents() + 1)),
        }
    }

    /// A key of the case; its hash says what it was used for.
    fn key(&self, number: Option<usize>, user: UserId, path: &str, request: &str) -> Option<IdempotencyKey> {
        let mut request_hash = [0; 32];
        for (place, byte) in request.bytes().enumerate() {
            let sum: &mut u8 = &mut request_hash[place % 32];
            *sum = sum.wrapping_mul(31).wrapping_add(byte);
        }
        let key = format!("{} {}", self.name, number?);
        Some(IdempotencyKey { user, path: path.to_owned(), key, request_hash })
    }

    /// The command of a plan, for what there is now.
    fn command(&self, plan: &Plan) -> Command {
        let by = Some(UserId(self.staff.id));
        let reason = "recount".to_owned();
        let sku = |number: Option<usize>| number.map(|number| format!("{}-{number}", self.name));
        let edit = |product: ProductId, changes: ProductChanges| EditProduct {
            product,
            changes,
            only_versions: None,
            by,
        };
        match plan {
            Plan::Place { user, lines, total, key } => {
                self.place(self.users[*user], Some(lines), *total, *key)
            }
            Plan::Checkout { user, total, key } => self.place(self.users[*user], None, *total, *key),
            Plan::Move { order, event, by, key } => self.step(*order, *event, *by, *key),
            Plan::Create { category, stock, sku: number } => Command::Create(CreateProduct {
                product: NewProduct {
                    sku: sku(*number),
                    name: self.name.clone(),
                    description: None,
                    price: Money::from_cents(125),
                    category: self.category(*category),
                    stock: *stock,
                },
                by,
                key: None,
            }),
            Plan::Count { product, stock, stale } => {
                let product = self.product(*product);
                let changes = ProductChanges { stock: Some(*stock), ..ProductChanges::default() };
                Command::Edit(EditProduct {
                    only_versions: Some(self.versions(product, *stale)),
                    ..edit(product, changes)
                })
            }
            Plan::Reprice { product, cents } => {
                let price = Some(Money::from_cents(*cents));
                Command::Edit(edit(
                    self.product(*product),
                    ProductChanges { price, ..ProductChanges::default() },
                ))
            }
            Plan::Recategorize { product, category, sku: number } => {
                let (category, sku) = (Some(self.category(*category)), Some(sku(*number)));
                let changes = ProductChanges { category, sku, ..ProductChanges::default() };
                Command::Edit(edit(self.product(*product), changes))
            }
            Plan::Correct { product, delta } => {
                Command::Correct(CorrectStock { product: self.product(*product), delta: *delta, reason, by })
            }
            Plan::Remove { product, stale } => {
                let product = self.product(*product);
                let only_versions = Some(self.versions(product, *stale));
                Command::Remove(RemoveProduct { product, only_versions })
            }
            Plan::RemoveCategory { category } => {
                Command::RemoveCategory(RemoveCategory { category: self.category(*category) })
            }
        }
    }

    /// The version of a product, or one that it does not have.
    fn versions(&self, product: ProductId, stale: bool) -> Vec<i64> {
        let version = self.books.goods[&product].version;
        if stale { vec![version + 100] } else { vec![version] }
    }

    fn place(
        &self,
        user: UserId,
        lines: Option<&Vec<(usize, i64)>>,
        total: Total,
        key: Option<usize>,
    ) -> Command {
        let Some(lines) = lines else {
            let expected_total = self.total(&self.books.cart(user), total);
            let key = self.key(key, user, "/api/orders/", "{}");
            return Command::Place(PlaceOrder {
                user,
                source: OrderSource::Cart,
                expected_total,
                key,
                caller: None,
            });
        };
        // No product twice: the edge has added them up.
        let lines: BTreeMap<ProductId, i64> =
            lines.iter().map(|(product, quantity)| (self.product(*product), *quantity)).collect();
        let lines: Vec<(ProductId, i64)> = lines.into_iter().rev().collect();
        let expected_total = self.total(&lines, total);
        let key = self.key(key, user, "/api/orders/", &format!("{lines:?}"));
        let line = |(product, quantity)| OrderLine { product, quantity };
        let source = OrderSource::Lines(lines.into_iter().map(line).collect());
        Command::Place(PlaceOrder { user, source, expected_total, key, caller: None })
    }

    fn step(&self, order: usize, event: OrderEvent, by: By, key: Option<usize>) -> Command {
        let orders: Vec<OrderId> = self.books.orders.keys().copied().collect();
        // Where there is none, one that is not there.
        let order = if orders.is_empty() { OrderId(i64::MAX) } else { orders[order % orders.len()] };
        let customer = |user| Some(Principal { user, session: SessionId(1), is_staff: false });
        let by = match by {
            By::Owner => customer(self.users[0]),
            By::Other => customer(self.users[1]),
            By::Staff => {
                Some(Principal { user: UserId(self.staff.id), session: SessionId(1), is_staff: true })
            }
            By::TheShop => None,
        };
        let path = format!("/api/orders/{order}/{}/", event.as_str());
        let key = by.and_then(|by| self.key(key, by.user, &path, ""));
        Command::Move(MoveOrder { order, event, by, key })
    }

    /// Carries the command out in the books, and says how the answer differs from theirs.
    fn compare(&mut self, command: &Command, answer: &Answer) -> Difference {
        let books = &mut self.books;
        let (expected, found, product) = match (command, answer) {
            (Command::Place(place), Answer::Order(found)) => return books.place(place, found),
            (Command::Move(step), Answer::Order(found)) => return books.move_on(step, found),
            (Command::Create(create), Answer::Created(found)) => {
                let product = match found {
                    Ok(Done::Now(product)) => Some(product),
                    _ => None,
                };
                let found = found.as_ref().map(drop).map_err(Clone::clone);
                (books.create(create, product.map(|product| product.id)), found, product)
            }
            (Command::Edit(edit), Answer::Product(found)) => {
                (books.edit(edit), found.as_ref().map(drop).map_err(Clone::clone), found.as_ref().ok())
            }
            (Command::Correct(correct), Answer::Product(found)) => {
                (books.correct(correct), found.as_ref().map(drop).map_err(Clone::clone), found.as_ref().ok())
            }
            (Command::Remove(remove), Answer::Removed(found)) => {
                (books.remove(remove.product, remove.only_versions.as_deref()), found.clone(), None)
            }
            (Command::RemoveCategory(remove), Answer::Removed(found)) => {
                (books.remove_category(remove.category), found.clone(), None)
            }
            _ => return Some("an answer to something else".to_owned()),
        };
        if expected != found {
            return Some(format!("expected {expected:?}\n   found {found:?}"));
        }
        let product = product?;
        let goods = &self.books.goods[&product.id];
        let told = (product.stock, product.price, product.version, product.category, &product.sku);
        let known = (goods.stock, goods.price, goods.version, goods.category, &goods.sku);
        (told != known).then(|| format!("expected {known:?}\n   found {told:?}"))
    }

    async fn run(&mut self, number: usize, round: &Round) -> Result<(), TestCaseError> {
        let node = self.nodes[number % 2];
        for &(user, product, quantity) in &round.additions {
            let (user, product) = (self.users[user], self.product(product));
            let add = AddItem { product, quantity, key: None };
            match node.carts.send(user, add).await.expect("a cart") {
                Ok(_) if self.books.on_sale(product) => self.books.add_to_cart(user, product, quantity),
                Err(CartError::UnknownProduct(_)) if !self.books.on_sale(product) => {}
                answer => return Err(TestCaseError::fail(format!("a cart answered {answer:?}"))),
            }
        }
        let commands: Vec<Command> = round.plans.iter().map(|plan| self.command(plan)).collect();
        let ahead = if round.together { Some(self.hold_up(node).await) } else { None };
        // All are in the queue, in this order, before the first answer.
        let answers: Vec<_> = commands.iter().map(|command| command.clone().send(&node.inventory)).collect();
        if let Some(ahead) = ahead {
            self.holder.batch_execute("COMMIT").await.expect("the lock is released");
            ahead.await;
        }
        for (position, (command, answer)) in commands.iter().zip(join_all(answers).await).enumerate() {
            if let Some(difference) = self.compare(command, &answer) {
                let place = format!("round {number}, command {position}: {command:?}");
                return Err(TestCaseError::fail(format!("{place}\n{difference}")));
            }
        }
        self.compare_with_tables().await
    }

    /// Sends a command whose batch waits for the holder, so that what is sent next meets in the
    /// batch behind it.
    async fn hold_up(&self, node: &Shop) -> BoxFuture<'static, Answer> {
        let lock = format!("BEGIN; SELECT FROM stock WHERE product_id = {} FOR UPDATE", self.latch);
        self.holder.batch_execute(&lock).await.expect("the lock");
        let (by, reason) = (Some(UserId(self.staff.id)), "recount".to_owned());
        let correct = Command::Correct(CorrectStock { product: self.latch, delta: 1, reason, by });
        let ahead = correct.send(&node.inventory);
        self.app.database().waiting_for_locks(1).await;
        ahead
    }

    async fn compare_with_tables(&self) -> Result<(), TestCaseError> {
        let client = self.app.database().client().await;
        let products: Vec<i64> = self.books.goods.keys().map(|id| id.0).collect();
        let sql = "SELECT s.product_id, s.quantity, p.deleted_at IS NOT NULL FROM stock s
            JOIN products p ON p.id = s.product_id WHERE s.product_id = ANY($1) ORDER BY 1";
        let rows = client.query(sql, &[&products]).await.expect("the stocks");
        let stocks: Vec<(i64, i64, bool)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        let expected: Vec<(i64, i64, bool)> =
            self.books.goods.iter().map(|(id, goods)| (id.0, goods.stock, goods.removed)).collect();
        prop_assert_eq!(stocks, expected);

        let orders: Vec<i64> = self.books.orders.keys().map(|id| id.0).collect();
        let sql = "SELECT id, status FROM orders WHERE id = ANY($1) OR id IN
            (SELECT order_id FROM order_items WHERE product_id = ANY($2)) ORDER BY 1";
        let rows = client.query(sql, &[&orders, &products]).await.expect("the orders");
        let statuses: Vec<(i64, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let expected: Vec<(i64, &str)> =
            self.books.orders.iter().map(|(id, order)| (id.0, order.status.as_str())).collect();
        prop_assert_eq!(statuses, expected);

        let users: Vec<i64> = self.users.iter().map(|user| user.0).collect();
        let sql = "SELECT c.user_id, i.product_id, i.quantity FROM carts c
            JOIN cart_items i ON i.cart_id = c.id
            JOIN products p ON p.id = i.product_id AND p.deleted_at IS NULL
            WHERE c.user_id = ANY($1) ORDER BY c.user_id, i.id";
        let rows = client.query(sql, &[&users]).await.expect("the carts");
        let carts: Vec<(i64, i64, i64)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        let lines = |user: UserId| {
            let lines = self.books.cart(user).into_iter();
            lines.map(move |(product, quantity)| (user.0, product.0, quantity))
        };
        let expected: Vec<(i64, i64, i64)> = self.users.into_iter().flat_map(lines).collect();
        prop_assert_eq!(carts, expected);

        // The last that a feed was told of each product is how it stands.
        let sql = "SELECT DISTINCT ON (subject) subject, stock FROM events
            WHERE kind = 'stock' AND subject = ANY($1) ORDER BY subject, seq DESC";
        for row in client.query(sql, &[&products]).await.expect("the events") {
            let (product, told): (i64, i64) = (row.get(0), row.get(1));
            let goods = &self.books.goods[&ProductId(product)];
            prop_assert!(goods.removed || goods.stock == told, "product {}: {}", product, told);
        }

        let audit = self.app.audit(self.staff).await;
        let named = audit["discrepancies"].as_array().expect("a list");
        let own = named.iter().find(|found| products.contains(&found["product"].as_i64().unwrap_or(0)));
        prop_assert!(own.is_none(), "{:?}", own);
        Ok(())
    }
}

/// Cases that a shop once got wrong when the commands of a round met in one batch.
fn once_wrong() -> Vec<Vec<Round>> {
    let round = |plans: Vec<Plan>| Round { additions: Vec::new(), plans, together: true };
    let create = |category, sku| Plan::Create { category, stock: 3, sku };
    let remove = || Plan::RemoveCategory { category: 0 };
    vec![
        // A product made in a category that goes in the same batch goes with it.
        vec![round(vec![create(0, None), remove()])],
        // The sku of a product that goes with its category is free at once.
        vec![round(vec![create(0, Some(0))]), round(vec![remove(), create(1, Some(0)), create(2, Some(0))])],
    ]
}

/// Orders for a unit each, all in one batch.
fn one_batch(orders: usize) -> Vec<Round> {
    let order = |n| Plan::Place { user: n % 2, lines: vec![(n % 4, 1)], total: Total::Any, key: None };
    vec![Round { additions: Vec::new(), plans: (0..orders).map(order).collect(), together: true }]
}

#[test]
fn random_commands_in_batches_on_two_nodes_do_what_a_simple_model_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (app, second, staff, users) = runtime.block_on(async {
        let app = TestApp::start().await;
        let second = app.second_node().await;
        let (staff, anna, bert) = tokio::join!(app.staff(), app.customer("anna"), app.customer("bert"));
        let mut users = [UserId(anna.id), UserId(bert.id)];
        users.sort_unstable();
        (app, second, staff, users)
    });
    let run = |rounds: Vec<Round>| {
        runtime.block_on(async {
            let mut trial = Trial::open(&app, &second, &staff, users).await;
            for (number, round) in rounds.iter().enumerate() {
                trial.run(number, round).await?;
            }
            Ok(())
        })
    };
    for rounds in once_wrong() {
        run(rounds.clone()).unwrap_or_else(|failure| panic!("{failure}\n{rounds:?}"));
    }
    run(one_batch(20)).unwrap_or_else(|failure| panic!("{failure}"));
    let moments = "SELECT count(DISTINCT created_at) FROM orders";
    assert_eq!(runtime.block_on(app.count(moments)), 1, "what is sent together is not one batch");
    // A few seconds' worth; PROPTEST_CASES asks for more.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let config = Config { cases, max_shrink_iters: 300, failure_persistence: None, ..Config::default() };
    let rounds = proptest::collection::vec(round(), 1..6);
    if let Err(failure) = TestRunner::new(config).run(&rounds, run) {
        panic!("{failure}");
    }
    runtime.block_on(async {
        app.audit_is_clean(&staff).await;
        app.database().event_log_is_whole().await;
    });
    drop((app, second));
}
