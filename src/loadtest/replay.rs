//! The scenario `replay`: a real shop's orders, placed again in time order, and a check of the books.
//!
//! Promises: each invoice is placed as one order under one idempotency key, tried again only with
//! that key; what was acknowledged is written into own books, which the shop's stock, its audit and
//! its order feed must confirm.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::account::{self, Account};
use super::books::{Audit, Comparison, Shelf};
use super::client::{Answer, Client, ClientError, Request, Target};
use super::drive::DriveError;
use super::machine::Machine;
use super::options::{OutputArgs, ShopArgs};
use super::orders_file::{self, Invoice};
use super::progress::Progress;
use super::recorder::{Outcome, Recorder, per_second};
use super::report::tell;
use super::stage::StageError;
use super::usage::Meter;
use super::verdict::{Orders, Verdict};
use super::watch::Watch;

/// Accounts that the buyers without a number share.
const GUEST_ACCOUNTS: usize = 16;
/// How long the nodes behind a load balancer may take to show each other's last sales.
const SETTLE_MAX: Duration = Duration::from_secs(3);

/// Place a real shop's orders again, and check that stock, audit and order feed agree.
///
/// FILE has the columns placed_at, invoice, customer, sku, quantity, unit_price; its products must
/// have been imported. Each invoice becomes one order, lines of one sku added up. Each customer with
/// a number gets a new account; buyers without one (guest-...) share 16 accounts. The exit code is 0
/// only if no order failed and the books agree; refusals for lack of stock are no failures.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// The orders, as CSV; gzipped if the name ends in .gz
    file: PathBuf,
    /// How many orders are under way at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    clients: u16,
    /// Also report memory and CPU time of this process, the server's, where it runs on this machine
    #[arg(long, value_name = "PID")]
    watch_pid: Option<u32>,
    #[command(flatten)]
    shop: ShopArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("the shop lacks {count} of the products, {first} for one; import them first")]
    UnknownSkus { count: usize, first: String },
    #[error("cannot watch the order feed: {0}")]
    Feed(String),
}

impl From<ClientError> for ReplayError {
    fn from(error: ClientError) -> Self {
        StageError::from(error).into()
    }
}

/// An invoice as it will be sent.
struct Order {
    account: usize,
    key: String,
    body: Bytes,
    units: HashMap<i64, i64>,
}

/// The answer to a placed order, as far as it is checked.
#[derive(Deserialize)]
struct Placed {
    id: i64,
    items: Vec<PlacedLine>,
}

#[derive(Deserialize)]
struct PlacedLine {
    product: i64,
    quantity: i64,
}

/// The own books, written as answers come.
struct Ledger {
    orders: Orders,
    recorder: Recorder,
    acknowledged: HashSet<i64>,
    sold: HashMap<i64, i64>,
    progress: Progress,
}

/// What the clients share.
struct Run {
    target: Target,
    queue: Vec<Order>,
    next: AtomicUsize,
    accounts: Vec<Account>,
    ledger: Mutex<Ledger>,
}

/// Plays the scenario and tells its verdict.
pub(crate) async fn play(args: &ReplayArgs) -> Result<ExitCode, ReplayError> {
    let verdict = replay(args).await?;
    Ok(tell(&verdict, &args.output).map_err(StageError::from)?)
}

async fn replay(args: &ReplayArgs) -> Result<Verdict, ReplayError> {
    let invoices = orders_file::read(&args.file).map_err(StageError::from)?;
    let url = &args.shop.url;
    let mut client = Client::new(url.clone());
    let (staff, audit_before) = args.shop.enter().await?;
    let before = Shelf::read(&mut client, &staff).await?;

    let run_name = format!("run{:08x}", rand::random::<u32>());
    let (queue, customers) = prepare(&invoices, &before, &run_name)?;
    drop(invoices);
    let signed_up = account::sign_up(url, customers).await?;
    let (users, accounts): (HashSet<i64>, Vec<Account>) = signed_up.into_iter().unzip();
    let watch = Watch::open(url.clone(), staff.clone()).await.map_err(ReplayError::Feed)?;

    let customers = accounts.len();
    let meter = Meter::begin(args.watch_pid);
    let recorder = Recorder::begin(&["order"], Duration::ZERO, None).map_err(DriveError::from);
    let ledger = Ledger {
        orders: Orders::default(),
        recorder: recorder.map_err(StageError::from)?,
        acknowledged: HashSet::new(),
        sold: HashMap::new(),
        progress: Progress::begin("placing orders", queue.len()),
    };
    let run =
        Run { target: url.clone(), queue, next: AtomicUsize::new(0), accounts, ledger: Mutex::new(ledger) };
    let run = Arc::new(run);
    let time = drive(&run, args.clients.into()).await?;
    let usage = meter.end();

    let Ledger { orders, recorder, acknowledged, sold, progress } = match Arc::into_inner(run) {
        Some(run) => run.ledger.into_inner().unwrap_or_else(PoisonError::into_inner),
        None => return Err(ReplayError::Feed("a client is still running".to_owned())),
    };
    progress.end();
    let feed = watch.finish(&acknowledged, &users).await;
    let (after, books) = compare(&mut client, &staff, &before, &sold).await?;
    let verdict = Verdict {
        scenario: "replay",
        holds: false,
        broken: Vec::new(),
        clients: args.clients.into(),
        customers,
        seconds: time.as_secs_f64(),
        orders_per_second: per_second(orders.placed, time),
        lines_per_second: per_second(orders.lines, time),
        orders,
        figures: recorder.figures(),
        usage,
        units_before: before.units(),
        units_after: after.units(),
        books,
        audit_before,
        audit_after: Audit::read(&mut client, &staff).await?,
        feed,
        machine: Machine::here(),
    };
    Ok(verdict.judge())
}

/// Turns invoices into requests, and names the customers that they need.
fn prepare(
    invoices: &[Invoice],
    shelf: &Shelf,
    run_name: &str,
) -> Result<(Vec<Order>, Vec<String>), ReplayError> {
    let mut unknown: HashSet<&str> = HashSet::new();
    for (sku, _) in invoices.iter().flat_map(|invoice| &invoice.lines) {
        if !shelf.by_sku.contains_key(sku) {
            unknown.insert(sku);
        }
    }
    if let Some(first) = unknown.iter().min() {
        return Err(ReplayError::UnknownSkus { count: unknown.len(), first: (*first).to_owned() });
    }
    let mut customers: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut queue = Vec::with_capacity(invoices.len());
    for (number, invoice) in invoices.iter().enumerate() {
        let customer = match invoice.is_guest() {
            true => format!("guest{}", number % GUEST_ACCOUNTS),
            false => invoice.customer.clone(),
        };
        let account = *places.entry(customer).or_insert_with_key(|customer| {
            customers.push(format!("{run_name}-{customer}"));
            customers.len() - 1
        });
        let lines =
            invoice.lines.iter().filter_map(|(sku, quantity)| Some((*shelf.by_sku.get(sku)?, *quantity)));
        let units: HashMap<i64, i64> = lines.clone().collect();
        let items: Vec<_> =
            lines.map(|(product, quantity)| json!({"product": product, "quantity": quantity})).collect();
        let body = json!({ "items": items }).to_string().into();
        queue.push(Order { account, key: format!("{run_name}-{}", invoice.number), body, units });
    }
    Ok((queue, customers))
}

/// Places every order, `clients` at once; returns the time from the first request to the last answer.
async fn drive(run: &Arc<Run>, clients: usize) -> Result<Duration, ReplayError> {
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..clients.min(run.queue.len()) {
        let run = run.clone();
        workers.spawn(async move {
            let mut client = Client::new(run.target.clone());
            while let Some(order) = run.queue.get(run.next.fetch_add(1, Ordering::Relaxed)) {
                run.place(&mut client, order).await;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(StageError::from)?;
    }
    Ok(began.elapsed())
}

impl Run {
    async fn place(&self, client: &mut Client, order: &Order) {
        let request =
            Request::post("/api/orders/").header("Idempotency-Key", &order.key).json_text(order.body.clone());
        let sent = Instant::now();
        let outcome = self.accounts[order.account].send(client, request).await;
        let answered = Instant::now();
        let mut ledger = self.ledger();
        let outcome = match outcome {
            Ok(outcome) => {
                ledger.orders.retries += outcome.retries;
                ledger.enter(order, &outcome.answer)
            }
            Err(error) => Err(error.to_string()),
        };
        let outcome = outcome.unwrap_or_else(|reason| {
            ledger.orders.fail(reason.clone());
            Outcome::Failed(reason)
        });
        let begins = ledger.recorder.time(sent);
        ledger.recorder.record(0, begins, sent, answered, outcome);
        ledger.progress.advance();
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// What became of an order; an error is a failure.
    fn enter(&mut self, order: &Order, answer: &Answer) -> Result<Outcome, String> {
        match answer.status {
            201 => match answer.json::<Placed>() {
                Ok(placed) if placed.is_as_asked(order) => self.enter_sale(order, placed.id),
                Ok(placed) => Err(format!("order {} is not what was asked for", placed.id)),
                Err(error) => Err(error.to_string()),
            },
            409 if answer.text().contains("\"out_of_stock\"") => {
                self.orders.refused += 1;
                Ok(Outcome::SoldOut)
            }
            _ => Err(answer.unexpected("not placed").to_string()),
        }
    }

    fn enter_sale(&mut self, order: &Order, id: i64) -> Result<Outcome, String> {
        if !self.acknowledged.insert(id) {
            return Err(format!("order {id} was given out twice"));
        }
        self.orders.placed += 1;
        self.orders.lines += order.units.len() as u64;
        for (&product, &quantity) in &order.units {
            self.orders.units += quantity;
            *self.sold.entry(product).or_default() += quantity;
        }
        Ok(Outcome::Done)
    }
}

impl Placed {
    fn is_as_asked(&self, order: &Order) -> bool {
        self.items.len() == order.units.len()
            && self.items.iter().all(|line| order.units.get(&line.product) == Some(&line.quantity))
    }
}

/// Reads the stock again and compares it with the own books, giving other nodes a moment to catch up.
async fn compare(
    client: &mut Client,
    staff: &Account,
    before: &Shelf,
    sold: &HashMap<i64, i64>,
) -> Result<(Shelf, Comparison), ReplayError> {
    let until = Instant::now() + SETTLE_MAX;
    loop {
        let after = Shelf::read(client, staff).await?;
        let books = after.compare(before, sold);
        if books.agrees() || Instant::now() > until {
            return Ok((after, books));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoice(number: &str, customer: &str, lines: &[(&str, i64)]) -> Invoice {
        let lines = lines.iter().map(|(sku, quantity)| ((*sku).to_owned(), *quantity)).collect();
        Invoice { number: number.to_owned(), customer: customer.to_owned(), lines }
    }

    fn shelf() -> Shelf {
        Shelf { stock: HashMap::from([(7, 5)]), by_sku: HashMap::from([("A".to_owned(), 7)]) }
    }

    #[test]
    fn a_customer_has_one_account_and_guests_share_some() {
        let mut invoices = vec![invoice("1", "17", &[("A", 1)]), invoice("2", "17", &[("A", 2)])];
        invoices.extend((0..40).map(|n| invoice(&format!("g{n}"), &format!("guest-{n}"), &[("A", 1)])));
        let Ok((queue, customers)) = prepare(&invoices, &shelf(), "run1") else { panic!("prepares") };
        assert_eq!(customers.len(), 1 + GUEST_ACCOUNTS);
        assert_eq!((queue[0].account, queue[1].account), (0, 0));
        assert_eq!(queue[1].body, r#"{"items":[{"product":7,"quantity":2}]}"#);
    }

    #[test]
    fn an_order_for_a_product_that_the_shop_lacks_is_noticed_before_the_run() {
        let outcome = prepare(&[invoice("1", "17", &[("A", 1), ("B", 1), ("C", 1)])], &shelf(), "run1");
        let Err(ReplayError::UnknownSkus { count, first }) = outcome else { panic!("refuses") };
        assert_eq!((count, first.as_str()), (2, "B"));
    }
}
