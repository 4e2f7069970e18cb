//! The scenario `feeds`: sockets that follow stock and orders while customers buy.
//!
//! Latency counts from the time that the shop gives an event, which is when its transaction began, so
//! the commit itself, disk included, is in it; the clocks of the shop's database and of this process
//! must agree. An event of stock that a later one overtook counts until a socket had that later one.
//! Where there are order sockets, it counts also from the moment that an order's answer arrived here,
//! which is after its commit, until they heard of that order; 0 where they heard first.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_local};

use super::account::Account;
use super::books::Shelf;
use super::buyers::{DirectBuyer, STOCK_MAX, direct_buyers};
use super::client::{Client, Target};
use super::drive::{Plan, Visitor, drive};
use super::heard::{FeedsReport, Heard, Log, Memory, Stalled, wall_us};
use super::options::{LoadArgs, OutputArgs, ShopArgs};
use super::popularity::Popularity;
use super::progress::Progress;
use super::receipts::Receipts;
use super::recorder::{Outcome, micros};
use super::report::Report;
use super::sockets::{Scratch, Socket, SocketError};
use super::stage::{Stage, StageError};
use super::usage::{Meter, rss_kib};

/// Customers; many connections share each.
const ACCOUNTS: usize = 64;
/// Sockets opened at once.
const OPENED_AT_ONCE: usize = 32;
/// What the shop's memory is given to settle.
const SETTLE: Duration = Duration::from_secs(2);
/// How long readers may take to hear the last event once the run is over.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);
/// How long a socket that never reads is waited for.
const STALLED_MAX: Duration = Duration::from_secs(70);
/// A resumed feed that says nothing for so long has told everything.
const QUIET: Duration = Duration::from_millis(500);
/// How often waiting looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What stock sockets follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Follow {
    /// All the same one product, which everybody buys.
    One,
    /// One of the products each.
    Spread,
    /// Every product of the shop.
    All,
}

/// Keep sockets open while customers buy, and check what they hear
///
/// Makes products and customers of its own, as flash-sale and spread do, and prints how long events
/// took to the sockets and what the sockets cost. Exit code 0: every stock socket ended with the stock
/// that the shop has, every order socket heard of each event once and in order, sockets that never
/// read were closed, and all that flash-sale asks for; 1: not so; 2: no verdict.
#[derive(Clone, Debug, clap::Args)]
pub struct FeedsArgs {
    /// Stock sockets
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=50_000))]
    sockets: u32,
    /// What they follow
    #[arg(long, value_enum, default_value_t = Follow::One)]
    follow: Follow,
    /// Of those, so many never read; they must be closed within 60 s
    #[arg(long, value_name = "N", default_value_t = 0)]
    never_read: u32,
    /// Order sockets, of staff
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    order_sockets: u32,
    /// Products that are bought and followed, unless it is one
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    products: u32,
    #[command(flatten)]
    shop: ShopArgs,
    #[command(flatten)]
    load: LoadArgs,
}

impl FeedsArgs {
    /// Where results go.
    pub(crate) fn output(&self) -> &OutputArgs {
        &self.load.output
    }

    fn in_words(&self) -> Vec<(&'static str, String)> {
        let what = match self.follow {
            Follow::One => "one product".to_owned(),
            Follow::Spread => format!("one of {} products each", self.products),
            Follow::All => "every product".to_owned(),
        };
        let never = match self.never_read {
            0 => String::new(),
            count => format!(", {count} of which never read"),
        };
        vec![
            ("stock sockets", format!("{} that follow {what}{never}", self.sockets)),
            ("order sockets", self.order_sockets.to_string()),
            ("load", self.load.loop_in_words()),
        ]
    }
}

/// Plays the scenario. Needs a `LocalSet`.
pub(crate) async fn feeds(args: &FeedsArgs) -> Result<Report, StageError> {
    if args.never_read > args.sockets {
        return Err(StageError::Arguments("--never-read is more than --sockets".to_owned()));
    }
    // Each socket is an open file here, too.
    rlimit::increase_nofile_limit(u64::MAX).ok();
    let products = if args.follow == Follow::One { 1 } else { args.products as usize };
    let accounts = ACCOUNTS.min(usize::from(args.load.clients));
    let stage = Stage::set(&args.shop, &args.load, products, STOCK_MAX, accounts).await?;
    let pid = args.load.watch_pid;
    let before_kib = pid.and_then(rss_kib);

    let audience = Audience::gather(args, &stage).await?;
    if pid.is_some() {
        tokio::time::sleep(SETTLE).await;
    }
    let open_kib = pid.and_then(rss_kib);

    let popularity = Popularity::zipf(products, 0.0);
    let buyers = direct_buyers(&stage, popularity, &args.shop, &args.load);
    let noted = |buyer| NotedBuyer { buyer, receipts: stage.receipts.clone(), heard: audience.heard.clone() };
    let buyers = buyers.into_iter().map(noted).collect();
    let plan = Plan { pace: args.load.pace(None), in_rounds: false };
    let meter = Meter::begin(pid);
    let measured_us = wall_us() + micros(args.load.warm_up);
    audience.heard.borrow_mut().measure_from(measured_us);
    let figures = drive(plan, &["order"], buyers).await?;
    let ended_us = wall_us();

    let mut client = Client::new(args.shop.url.clone());
    let shelf = Shelf::read_category(&mut client, stage.staff(), stage.goods.category).await?;
    audience.wait_for(&shelf).await;
    let stalled = audience.stalled.finish().await;
    let usage = meter.end();
    let log = match audience.since {
        Some(since) => Some(read_log(&args.shop.url, stage.staff(), since).await?),
        None => None,
    };
    let memory = Memory::of(
        before_kib,
        open_kib,
        pid.and_then(rss_kib),
        usage.server.as_ref(),
        args.sockets + args.order_sockets,
    );
    audience.close();
    let measured = (measured_us, ended_us);
    let report = FeedsReport::of(&audience.heard.borrow(), log.as_ref(), &shelf, measured, memory, stalled)?;
    let mut whole = stage.settle("feeds", args.in_words(), figures, usage).await?;
    whole.feeds = Some(report);
    Ok(whole)
}

/// A buyer whose acknowledged orders are noted together with the time.
struct NotedBuyer {
    buyer: DirectBuyer,
    receipts: Rc<RefCell<Receipts>>,
    heard: Rc<RefCell<Heard>>,
}

impl Visitor for NotedBuyer {
    async fn prepare(&mut self) -> Result<(), String> {
        self.buyer.prepare().await
    }

    fn is_ready(&self) -> bool {
        self.buyer.is_ready()
    }

    async fn act(&mut self) -> (usize, Outcome) {
        let (kind, outcome) = self.buyer.act().await;
        // Nothing else has run on this thread since the order was entered.
        if let (Outcome::Done, Some(order)) = (&outcome, self.receipts.borrow().last()) {
            self.heard.borrow_mut().answer(order);
        }
        (kind, outcome)
    }
}

/// Everybody who listens, or does not.
struct Audience {
    heard: Rc<RefCell<Heard>>,
    tasks: Vec<JoinHandle<()>>,
    stalled: Waiting,
    /// Before anything that they can have heard; `None` where there is nobody.
    since: Option<i64>,
}

/// Sockets that never read, and when they were opened.
#[derive(Default)]
struct Waiting {
    open: Vec<(Socket, Instant)>,
}

/// What is to be opened.
#[derive(Clone)]
enum Seat {
    Stock { path: String, products: Vec<i64> },
    Stalled { path: String },
    Orders,
}

impl Audience {
    /// Opens every socket and waits until each knows where it stands.
    async fn gather(args: &FeedsArgs, stage: &Stage<'_>) -> Result<Self, StageError> {
        let goods = &stage.goods.products;
        let stock_seat = |n: usize| match args.follow {
            Follow::All => ("/ws/stock/?all=true".to_owned(), goods.clone()),
            Follow::One | Follow::Spread => {
                let product = goods[n % goods.len()];
                (format!("/ws/stock/?products={product}"), vec![product])
            }
        };
        let stock = (0..args.sockets as usize).map(|n| {
            let (path, products) = stock_seat(n);
            // Spread among the others, so that both of a server's threads have their share.
            let is_stalled = n * (args.never_read as usize) / (args.sockets as usize).max(1)
                != (n + 1) * (args.never_read as usize) / (args.sockets as usize).max(1);
            if is_stalled { Seat::Stalled { path } } else { Seat::Stock { path, products } }
        });
        let seats: VecDeque<Seat> = stock.chain((0..args.order_sockets).map(|_| Seat::Orders)).collect();
        let heard = Rc::new(RefCell::new(Heard::new(args.follow == Follow::One)?));
        let progress = Rc::new(RefCell::new(Progress::begin("opening sockets", seats.len())));
        let (seats, scratch) = (Rc::new(RefCell::new(seats)), Scratch::default());
        let access = stage.staff().access();
        let opener = || {
            let (seats, heard, scratch) = (seats.clone(), heard.clone(), scratch.clone());
            let (target, access, progress) = (args.shop.url.clone(), access.clone(), progress.clone());
            spawn_local(async move {
                let (mut tasks, mut stalled) = (Vec::new(), Vec::new());
                loop {
                    let Some(seat) = seats.borrow_mut().pop_front() else { return Ok((tasks, stalled)) };
                    let (path, access) = match &seat {
                        Seat::Stock { path, .. } | Seat::Stalled { path } => (path.as_str(), ""),
                        Seat::Orders => ("/ws/orders/", access.as_str()),
                    };
                    let socket = Socket::open(&target, path, access).await?;
                    match seat {
                        Seat::Stalled { .. } => stalled.push((socket, Instant::now())),
                        Seat::Stock { products, .. } => {
                            let place = heard.borrow_mut().add_stock(&products);
                            tasks.push(listen(socket, &scratch, &heard, move |heard, text| {
                                heard.stock(place, text);
                            }));
                        }
                        Seat::Orders => {
                            let place = heard.borrow_mut().add_orders();
                            tasks.push(listen(socket, &scratch, &heard, move |heard, text| {
                                heard.order(place, text);
                            }));
                        }
                    }
                    progress.borrow_mut().advance();
                }
            })
        };
        let openers: Vec<JoinHandle<Result<_, SocketError>>> =
            (0..OPENED_AT_ONCE).map(|_| opener()).collect();
        let (mut tasks, mut stalled) = (Vec::new(), Waiting::default());
        for opener in openers {
            let (some, others) = opener.await??;
            tasks.extend(some);
            stalled.open.extend(others);
        }
        progress.borrow().end();
        let mut audience = Self { heard, tasks, stalled, since: None };
        audience.wait(|heard| heard.is_ready()).await;
        audience.since = audience.heard.borrow().since();
        Ok(audience)
    }

    /// Waits until everybody holds this stock and the order sockets are quiet, for a bounded time.
    async fn wait_for(&self, shelf: &Shelf) {
        self.wait(|heard| heard.holds(shelf)).await;
        let mut before = None;
        let until = Instant::now() + CATCH_UP_MAX;
        while Instant::now() < until {
            let now = self.heard.borrow().order_events();
            if before == Some(now) {
                return;
            }
            before = Some(now);
            tokio::time::sleep(QUIET).await;
        }
    }

    async fn wait(&self, condition: impl Fn(&Heard) -> bool) {
        let until = Instant::now() + CATCH_UP_MAX;
        while !condition(&self.heard.borrow()) && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn close(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Waiting {
    /// Waits until the shop has closed each of them, for a bounded time.
    async fn finish(&self) -> Stalled {
        let mut closed_after: Vec<Option<Duration>> = vec![None; self.open.len()];
        while closed_after.iter().any(Option::is_none) {
            let mut is_waiting = false;
            for ((socket, opened), closed) in self.open.iter().zip(&mut closed_after) {
                if closed.is_none() && socket.is_ended() {
                    *closed = Some(opened.elapsed());
                }
                is_waiting |= closed.is_none() && opened.elapsed() < STALLED_MAX;
            }
            if !is_waiting {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Stalled {
            sockets: closed_after.len(),
            left_open: closed_after.iter().filter(|closed| closed.is_none()).count(),
            closed_after_s: closed_after.iter().flatten().max().map(Duration::as_secs_f64),
        }
    }
}

/// Has a socket heard until it ends.
fn listen(
    socket: Socket,
    scratch: &Scratch,
    heard: &Rc<RefCell<Heard>>,
    hear: impl Fn(&mut Heard, &[u8]) + 'static,
) -> JoinHandle<()> {
    let (scratch, heard) = (scratch.clone(), heard.clone());
    spawn_local(async move {
        let ended = socket.listen(&scratch, |text| hear(&mut heard.borrow_mut(), text)).await;
        heard.borrow_mut().end(ended.to_string());
    })
}

/// Every order event since then, as a feed that resumes there tells of it.
async fn read_log(target: &Target, staff: &Account, since: i64) -> Result<Log, StageError> {
    let socket = Socket::open(target, &format!("/ws/orders/?since={since}"), &staff.access()).await?;
    let log = Rc::new(RefCell::new(Log::default()));
    let (scratch, told) = (Scratch::default(), log.clone());
    let task = spawn_local(async move {
        socket.listen(&scratch, |text| told.borrow_mut().hear(text)).await;
    });
    let mut before = None;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = log.borrow().len();
        if before == Some(now) {
            break;
        }
        before = Some(now);
    }
    task.abort();
    task.await.ok();
    Ok(log.take())
}
