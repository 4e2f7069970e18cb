//! The scenarios `flash-sale` and `spread`: orders of one line, of one hot product or of many.
//!
//! Placed directly, each order is one request. Placed from the cart, the product is put into a cart
//! first, and only the checkout counts: its latency, and in a closed loop also its rate, because all
//! carts are filled while the clock stands still.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::client::Target;
use super::drive::{Plan, Visitor};
use super::goods::Goods;
use super::options::{LoadArgs, OutputArgs, ShopArgs};
use super::orders_file;
use super::popularity::Popularity;
use super::readers::{Sold, StockReader};
use super::receipts::{Line, Receipts};
use super::recorder::Outcome;
use super::report::Report;
use super::session::{Ask, Customer, Session, enter, insist};
use super::stage::{Stage, StageError};

/// The most a product can have.
pub(crate) const STOCK_MAX: i64 = 2_147_483_647;
/// Customers, where orders are placed directly; many connections share each.
const ACCOUNTS: usize = 64;
/// Carts, at least, where orders are placed from them: a round should be longer than its two ends.
const CARTS: usize = 256;

/// How an order is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Via {
    /// One request that names product and quantity.
    Direct,
    /// From the cart.
    Cart,
}

/// What all orders have in common.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OrderArgs {
    /// End after so many orders were tried, sold or not; the warm-up's do not count
    #[arg(long, visible_alias = "buyers", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    orders: Option<u64>,
    /// Units of an order
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    quantity: i64,
    /// Place orders directly, or from the cart; then only the checkout counts
    #[arg(long, value_enum, default_value_t = Via::Direct)]
    via: Via,
    /// Customers, each used by many connections; 64, or one a cart and at least 256 with --via cart
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    accounts: Option<u16>,
    /// Send an idempotency key with each order
    #[arg(long)]
    keys: bool,
}

/// Sell one hot product to everybody at once
///
/// Makes a product of its own and removes it afterwards. Refusals once it is sold out are counted
/// apart, and are no failures. Exit code 0: every acknowledged order exists, once and as asked for,
/// nothing was oversold, and the audit is clean; 1: not so; 2: no verdict.
#[derive(Clone, Debug, clap::Args)]
pub struct FlashSaleArgs {
    /// Units on sale; the most there can be unless given
    #[arg(long, default_value_t = STOCK_MAX, value_parser = clap::value_parser!(i64).range(1..=STOCK_MAX))]
    stock: i64,
    /// Beside the buyers, so many connections read the product all the time; none may be shown a stock
    /// that is older than 1 s. For orders placed directly, in a closed loop, for a time
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=8192))]
    readers: u16,
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    shop: ShopArgs,
    #[command(flatten)]
    load: LoadArgs,
}

/// Sell many products, as popular as in real orders, one line an order
///
/// Makes products of its own, as many and as popular as those in a file of real orders, and removes
/// them afterwards. The exit code is as for flash-sale.
#[derive(Clone, Debug, clap::Args)]
pub struct SpreadArgs {
    #[command(flatten)]
    popularity: PopularityArgs,
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    shop: ShopArgs,
    #[command(flatten)]
    load: LoadArgs,
}

/// What is bought how often.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PopularityArgs {
    /// Real orders, as for replay; their products' popularity is taken over
    #[arg(long, value_name = "FILE", default_value = "config/demo/online-retail/orders.csv.gz")]
    popularity: PathBuf,
    /// Instead: so many products ...
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "popularity")]
    products: Option<u32>,
    /// ... of which the k-th is bought 1/k^EXPONENT as often as the first (Zipf); 0 is evenly
    #[arg(long, value_name = "EXPONENT", default_value_t = 1.0, requires = "products")]
    zipf: f64,
}

impl PopularityArgs {
    /// Reads or makes it.
    pub(crate) fn read(&self) -> Result<Popularity, StageError> {
        if !self.zipf.is_finite() || self.zipf < 0.0 {
            return Err(StageError::Arguments("--zipf must be a number from 0".to_owned()));
        }
        Ok(match self.products {
            Some(products) => Popularity::zipf(products as usize, self.zipf),
            None => Popularity::of_orders(&orders_file::read(&self.popularity)?),
        })
    }

    /// In words.
    pub(crate) fn in_words(&self) -> String {
        match self.products {
            Some(_) => format!("Zipf, exponent {}", self.zipf),
            None => format!("as in {}", self.popularity.display()),
        }
    }
}

impl FlashSaleArgs {
    /// Where results go.
    pub(crate) fn output(&self) -> &OutputArgs {
        &self.load.output
    }
}

impl SpreadArgs {
    /// Where results go.
    pub(crate) fn output(&self) -> &OutputArgs {
        &self.load.output
    }
}

/// Plays `flash-sale`.
pub(crate) async fn flash_sale(args: &FlashSaleArgs) -> Result<Report, StageError> {
    let mut settings = vec![("units on sale", args.stock.to_string())];
    let readers = usize::from(args.readers);
    if readers > 0 {
        if args.order.via == Via::Cart || args.order.orders.is_some() || args.load.rate.is_some() {
            let text = "--readers goes with neither --via cart, --orders nor --rate";
            return Err(StageError::Arguments(text.to_owned()));
        }
        settings.push(("readers", readers.to_string()));
    }
    let sale = Sale { popularity: Popularity::by_weight(&[1.0]), stock: args.stock, readers };
    let mut report = sell("flash-sale", settings, sale, &args.order, &args.shop, &args.load).await?;
    report.least_wanted = Some(args.order.quantity);
    Ok(report)
}

/// Plays `spread`.
pub(crate) async fn spread(args: &SpreadArgs) -> Result<Report, StageError> {
    let popularity = args.popularity.read()?;
    let settings =
        vec![("products", popularity.len().to_string()), ("popularity", args.popularity.in_words())];
    let sale = Sale { popularity, stock: STOCK_MAX, readers: 0 };
    sell("spread", settings, sale, &args.order, &args.shop, &args.load).await
}

/// What is on sale.
struct Sale {
    popularity: Popularity,
    /// Units of each product.
    stock: i64,
    /// Connections that read the first product.
    readers: usize,
}

async fn sell(
    scenario: &'static str,
    mut settings: Vec<(&'static str, String)>,
    Sale { popularity, stock, readers }: Sale,
    order: &OrderArgs,
    shop: &ShopArgs,
    load: &LoadArgs,
) -> Result<Report, StageError> {
    let clients = usize::from(load.clients);
    let from_cart = order.via == Via::Cart;
    let accounts = match (order.accounts.map(usize::from), from_cart) {
        (Some(accounts), true) if accounts < clients => {
            return Err(StageError::Arguments("--via cart needs an account for each client".to_owned()));
        }
        (Some(accounts), _) => accounts,
        (None, true) => clients * CARTS.div_ceil(clients),
        (None, false) => ACCOUNTS.min(clients),
    };
    settings.push(("orders", order.in_words()));
    settings.push(("load", load.loop_in_words()));
    settings.push(("accounts", accounts.to_string()));

    let stage = Stage::set(shop, load, popularity.len(), stock, accounts).await?;
    let stall = Rc::new(Stall {
        goods: stage.goods.clone(),
        popularity,
        quantity: order.quantity,
        key_prefix: if order.keys { stage.name.clone() } else { String::new() },
        receipts: stage.receipts.clone(),
        sold: (readers > 0).then(|| Rc::new(RefCell::new(Sold::nothing_of(stock)))),
    });
    let plan = Plan { pace: load.pace(order.orders), in_rounds: from_cart && load.rate.is_none() };
    if from_cart {
        let buyer = |number| Buyer::new(&stall, &shop.url, load.timeout, number);
        let customers = stage.accounts.iter().cloned().map(Customer::new);
        let mut buyers: Vec<CartBuyer> =
            (0..clients).map(|number| CartBuyer { buyer: buyer(number), carts: Vec::new() }).collect();
        for (number, customer) in customers.enumerate() {
            buyers[number % clients].carts.push(Cart { customer, holds: Holds::Nothing });
        }
        return stage.play(scenario, settings, &["checkout"], plan, buyers).await;
    }
    let buyers = stall.direct_buyers(&stage, shop, load);
    let Some(sold) = &stall.sold else {
        return stage.play(scenario, settings, &["order"], plan, buyers).await;
    };
    let product = stage.goods.products[0];
    let reader = || StockReader::new(&shop.url, load.timeout, product, sold.clone(), 1);
    let readers = std::iter::repeat_with(reader).take(readers);
    let all =
        buyers.into_iter().map(BuyerOrReader::Buyer).chain(readers.map(BuyerOrReader::Reader)).collect();
    stage.play(scenario, settings, &["order", "read"], plan, all).await
}

/// Connections that buy a unit at a time of the stage's products, without keys.
pub(crate) fn direct_buyers(
    stage: &Stage<'_>,
    popularity: Popularity,
    shop: &ShopArgs,
    load: &LoadArgs,
) -> Vec<DirectBuyer> {
    let (goods, receipts) = (stage.goods.clone(), stage.receipts.clone());
    let stall = Stall { goods, popularity, quantity: 1, key_prefix: String::new(), receipts, sold: None };
    Rc::new(stall).direct_buyers(stage, shop, load)
}

/// A client where some buy and some read.
enum BuyerOrReader {
    Buyer(DirectBuyer),
    Reader(StockReader),
}

impl Visitor for BuyerOrReader {
    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn act(&mut self) -> (usize, Outcome) {
        match self {
            Self::Buyer(buyer) => buyer.act().await,
            Self::Reader(reader) => reader.act().await,
        }
    }
}

impl OrderArgs {
    /// How an order is placed, in words.
    fn in_words(&self) -> String {
        let units = if self.quantity == 1 { "unit" } else { "units" };
        let via = match self.via {
            Via::Direct => "placed directly",
            Via::Cart => "placed from the cart",
        };
        let keys = if self.keys { "each with an idempotency key" } else { "without idempotency keys" };
        format!("of {} {units}, {via}, {keys}", self.quantity)
    }
}

/// What all buyers share.
struct Stall {
    goods: Rc<Goods>,
    popularity: Popularity,
    quantity: i64,
    /// Of idempotency keys; empty where none are sent.
    key_prefix: String,
    receipts: Rc<RefCell<Receipts>>,
    /// Where somebody reads what is left.
    sold: Option<Rc<RefCell<Sold>>>,
}

impl Stall {
    fn direct_buyers(
        self: &Rc<Self>,
        stage: &Stage<'_>,
        shop: &ShopArgs,
        load: &LoadArgs,
    ) -> Vec<DirectBuyer> {
        let customers: Vec<Customer> = stage.accounts.iter().cloned().map(Customer::new).collect();
        let buyers = (0..usize::from(load.clients)).map(|number| DirectBuyer {
            buyer: Buyer::new(self, &shop.url, load.timeout, number),
            customer: customers[number % customers.len()].clone(),
        });
        buyers.collect()
    }
}

/// A connection that buys.
struct Buyer {
    stall: Rc<Stall>,
    session: Session,
    random: SmallRng,
    number: usize,
    keys_used: u64,
    key: String,
}

impl Buyer {
    fn new(stall: &Rc<Stall>, target: &Target, timeout: Duration, number: usize) -> Self {
        Self {
            stall: stall.clone(),
            session: Session::new(target, timeout),
            random: SmallRng::seed_from_u64(rand::random()),
            number,
            keys_used: 0,
            key: String::new(),
        }
    }

    fn choose(&mut self) -> Line {
        let place = self.stall.popularity.draw(&mut self.random);
        (self.stall.goods.products[place], self.stall.quantity)
    }

    async fn place(&mut self, customer: &mut Customer, body: &str, line: Line) -> Outcome {
        if !self.stall.key_prefix.is_empty() {
            self.keys_used += 1;
            self.key = format!("{}-{}-{}", self.stall.key_prefix, self.number, self.keys_used);
        }
        let ask = Ask { key: &self.key, ..Ask::post("/api/orders/", body) };
        let reply = self.session.send(customer, ask).await;
        enter(&reply, &[line], &mut self.stall.receipts.borrow_mut()).0
    }
}

/// Names product and quantity in the order itself.
pub(crate) struct DirectBuyer {
    buyer: Buyer,
    customer: Customer,
}

impl Visitor for DirectBuyer {
    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn act(&mut self) -> (usize, Outcome) {
        let line = self.buyer.choose();
        let outcome = self.buyer.place(&mut self.customer, &order_body(line), line).await;
        if let (Outcome::Done, Some(sold)) = (&outcome, &self.buyer.stall.sold) {
            sold.borrow_mut().note(line.1);
        }
        (0, outcome)
    }
}

fn order_body((product, quantity): Line) -> String {
    format!(r#"{{"items":[{{"product":{product},"quantity":{quantity}}}]}}"#)
}

/// Fills carts, and then checks them out.
struct CartBuyer {
    buyer: Buyer,
    carts: Vec<Cart>,
}

struct Cart {
    customer: Customer,
    holds: Holds,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Line(Line),
    /// A refused or lost checkout may have left something behind.
    Unknown,
}

impl Visitor for CartBuyer {
    async fn prepare(&mut self) -> Result<(), String> {
        for cart in &mut self.carts {
            if matches!(cart.holds, Holds::Line(_)) {
                continue;
            }
            if cart.holds == Holds::Unknown {
                let reply = self.buyer.session.send(&mut cart.customer, Ask::delete("/api/cart/")).await;
                insist(&reply, 204, "emptying a cart")?;
            }
            let line = self.buyer.choose();
            cart.holds = Holds::Unknown;
            let body = format!(r#"{{"product":{},"quantity":{}}}"#, line.0, line.1);
            let ask = Ask::post("/api/cart/items/", &body);
            let reply = self.buyer.session.send(&mut cart.customer, ask).await;
            insist(&reply, 201, "filling a cart")?;
            cart.holds = Holds::Line(line);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.carts.iter().any(|cart| matches!(cart.holds, Holds::Line(_)))
    }

    async fn act(&mut self) -> (usize, Outcome) {
        let filled = self.carts.iter_mut().find_map(|cart| match cart.holds {
            Holds::Line(line) => Some((cart, line)),
            _ => None,
        });
        let Some((cart, line)) = filled else { return (0, Outcome::Failed("no cart is filled".to_owned())) };
        let outcome = self.buyer.place(&mut cart.customer, "{}", line).await;
        cart.holds = if outcome == Outcome::Done { Holds::Nothing } else { Holds::Unknown };
        (0, outcome)
    }
}
