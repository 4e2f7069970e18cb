//! The scenario `mixed`: shoppers who look around, fill their carts and check out.
//!
//! Every checkout has an idempotency key, and every tenth is sent again with it, as by an impatient
//! finger: that must give the same order again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::buyers::{PopularityArgs, STOCK_MAX};
use super::drive::{Plan, Visitor};
use super::goods::Goods;
use super::options::{LoadArgs, OutputArgs, ShopArgs};
use super::popularity::Popularity;
use super::receipts::{Line, Receipts};
use super::recorder::Outcome;
use super::report::Report;
use super::session::{Ask, Customer, Session, enter, insist, judge};
use super::stage::{Stage, StageError};

const KINDS: [&str; 6] = ["product", "list", "cart", "add to cart", "checkout", "checkout again"];
const PRODUCT: usize = 0;
const LIST: usize = 1;
const CART: usize = 2;
const ADD: usize = 3;
const CHECKOUT: usize = 4;
const CHECKOUT_AGAIN: usize = 5;
/// One in so many checkouts is sent again.
const AGAIN_EVERY: u64 = 10;
/// One in so many reads is a list, one in so many cart requests a look at the cart.
const LIST_EVERY: u32 = 4;
const LOOK_EVERY: u32 = 4;
/// The most different products in a cart.
const CART_LINES: usize = 20;

/// Look around, fill carts and check out, all mixed
///
/// Makes products of its own, as popular as in a file of real orders, and removes them afterwards; each
/// client is a customer of its own. The exit code is as for flash-sale.
#[derive(Clone, Debug, clap::Args)]
pub struct MixedArgs {
    /// Of all requests, so many parts read products and lists ...
    #[arg(long, default_value_t = 75, value_parser = clap::value_parser!(u32).range(0..=1000))]
    reads: u32,
    /// ... so many put products into carts and look at them ...
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    carts: u32,
    /// ... and so many check out, where there is something in the cart
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1000))]
    checkouts: u32,
    /// Units of each product; the most there can be unless given
    #[arg(long, default_value_t = STOCK_MAX, value_parser = clap::value_parser!(i64).range(1..=STOCK_MAX))]
    stock: i64,
    #[command(flatten)]
    popularity: PopularityArgs,
    #[command(flatten)]
    shop: ShopArgs,
    #[command(flatten)]
    load: LoadArgs,
}

impl MixedArgs {
    /// Where results go.
    pub(crate) fn output(&self) -> &OutputArgs {
        &self.load.output
    }
}

/// Plays the scenario.
pub(crate) async fn mixed(args: &MixedArgs) -> Result<Report, StageError> {
    let parts = [args.reads, args.carts, args.checkouts];
    if parts.iter().sum::<u32>() == 0 {
        return Err(StageError::Arguments("--reads, --carts and --checkouts are all 0".to_owned()));
    }
    let popularity = args.popularity.read()?;
    let settings = vec![
        ("products", popularity.len().to_string()),
        ("popularity", args.popularity.in_words()),
        ("reads, carts, checkouts", format!("{}, {}, {} parts", args.reads, args.carts, args.checkouts)),
        ("load", args.load.loop_in_words()),
    ];
    let clients = usize::from(args.load.clients);
    let stage = Stage::set(&args.shop, &args.load, popularity.len(), args.stock, clients).await?;
    let street = Rc::new(Street {
        goods: stage.goods.clone(),
        popularity,
        parts,
        name: stage.name.clone(),
        receipts: stage.receipts.clone(),
    });
    let shopper = |(number, account)| Shopper {
        street: street.clone(),
        session: Session::new(&args.shop.url, args.load.timeout),
        customer: Customer::new(account),
        random: SmallRng::seed_from_u64(rand::random()),
        number,
        checkouts: 0,
        again: None,
        cart: BTreeMap::new(),
        is_sure: true,
    };
    let shoppers = stage.accounts.iter().cloned().enumerate().map(shopper).collect();
    let plan = Plan { pace: args.load.pace(None), in_rounds: false };
    stage.play("mixed", settings, &KINDS, plan, shoppers).await
}

/// What all shoppers share.
struct Street {
    goods: Rc<Goods>,
    popularity: Popularity,
    parts: [u32; 3],
    name: String,
    receipts: Rc<RefCell<Receipts>>,
}

/// A customer with a cart.
struct Shopper {
    street: Rc<Street>,
    session: Session,
    customer: Customer,
    random: SmallRng,
    number: usize,
    checkouts: u64,
    /// A checkout to be sent again: its key, and the order that it gave.
    again: Option<(String, i64)>,
    /// What is in the cart, if one can be sure of it.
    cart: BTreeMap<i64, i64>,
    is_sure: bool,
}

impl Visitor for Shopper {
    /// Empties a cart whose content is not known.
    async fn prepare(&mut self) -> Result<(), String> {
        let reply = self.session.send(&mut self.customer, Ask::delete("/api/cart/")).await;
        insist(&reply, 204, "emptying a cart")?;
        self.cart.clear();
        self.is_sure = true;
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.is_sure
    }

    async fn act(&mut self) -> (usize, Outcome) {
        if let Some((key, order)) = self.again.take() {
            return (CHECKOUT_AGAIN, self.check_out_again(&key, order).await);
        }
        let [reads, carts, checkouts] = self.street.parts;
        let drawn = self.random.random_range(0..reads + carts + checkouts);
        if drawn < reads {
            match self.random.random_range(0..LIST_EVERY) {
                0 => (LIST, self.list().await),
                _ => (PRODUCT, self.look().await),
            }
        } else if drawn >= reads + carts && !self.cart.is_empty() {
            (CHECKOUT, self.check_out().await)
        } else {
            let is_full = self.cart.len() >= CART_LINES;
            match is_full || self.random.random_range(0..LOOK_EVERY) == 0 {
                true => (CART, self.look_into_cart().await),
                false => (ADD, self.add().await),
            }
        }
    }
}

impl Shopper {
    fn choose(&mut self) -> i64 {
        self.street.goods.products[self.street.popularity.draw(&mut self.random)]
    }

    async fn look(&mut self) -> Outcome {
        let product = self.choose();
        let path = format!("/api/products/{product}/");
        let reply = self.session.send(&mut self.customer, Ask::get(&path)).await;
        match (judge(&reply, 200), &reply) {
            (Outcome::Done, Ok(reply)) if reply.id() != Some(product) => {
                Outcome::Failed(format!("another product than asked for: {}", reply.excerpt()))
            }
            (outcome, _) => outcome,
        }
    }

    async fn list(&mut self) -> Outcome {
        let ordering = ["", "&ordering=price", "&in_stock=true", "&search=load&ordering=-created_at"];
        let ordering = ordering[self.random.random_range(0..ordering.len())];
        let category = self.street.goods.category;
        let path = format!("/api/products/?category={category}&page_size=20{ordering}");
        let reply = self.session.send(&mut self.customer, Ask::get(&path)).await;
        judge(&reply, 200)
    }

    async fn look_into_cart(&mut self) -> Outcome {
        let reply = self.session.send(&mut self.customer, Ask::get("/api/cart/")).await;
        judge(&reply, 200)
    }

    async fn add(&mut self) -> Outcome {
        let product = self.choose();
        let body = format!(r#"{{"product":{product},"quantity":1}}"#);
        let reply = self.session.send(&mut self.customer, Ask::post("/api/cart/items/", &body)).await;
        let outcome = judge(&reply, 201);
        match outcome {
            Outcome::Done => *self.cart.entry(product).or_default() += 1,
            // Whatever it was, it may be in there.
            Outcome::Failed(_) => self.is_sure = false,
            Outcome::Busy | Outcome::SoldOut => {}
        }
        outcome
    }

    async fn check_out(&mut self) -> Outcome {
        self.checkouts += 1;
        let key = format!("{}-{}-{}", self.street.name, self.number, self.checkouts);
        let lines: Vec<Line> = self.cart.iter().map(|(product, quantity)| (*product, *quantity)).collect();
        let ask = Ask { key: &key, ..Ask::post("/api/orders/", "{}") };
        let reply = self.session.send(&mut self.customer, ask).await;
        let (outcome, order) = enter(&reply, &lines, &mut self.street.receipts.borrow_mut());
        match outcome {
            Outcome::Done => self.cart.clear(),
            Outcome::Busy => {}
            // What sold out stays in the cart, and would be refused again.
            Outcome::SoldOut | Outcome::Failed(_) => self.is_sure = false,
        }
        self.again = order.filter(|_| self.checkouts % AGAIN_EVERY == 1).map(|order| (key, order));
        outcome
    }

    async fn check_out_again(&mut self, key: &str, order: i64) -> Outcome {
        let ask = Ask { key, ..Ask::post("/api/orders/", "{}") };
        let reply = self.session.send(&mut self.customer, ask).await;
        match (judge(&reply, 201), &reply) {
            (Outcome::Done, Ok(reply)) if reply.id() != Some(order) => {
                Outcome::Failed(format!("sent again, order {order} became another one: {}", reply.excerpt()))
            }
            (outcome, _) => outcome,
        }
    }
}
