//! What sockets heard, held against the log and the stock.

#![allow(clippy::float_arithmetic, reason = "rates and shares to be read, not amounts")]

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::{CreationError, Histogram};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::books::Shelf;
use super::recorder::{Latency, milliseconds};
use super::usage::ServerUsage;

/// Reasons for which sockets ended, told one by one.
const REASONS_MAX: usize = 10;

/// What tells the first event of an order from later ones.
const PLACED: &[u8] = b"\"event\":\"placed\"";

/// The time of day in microseconds.
pub(crate) fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Everything that was heard.
#[derive(Debug)]
pub(crate) struct Heard {
    stock: Vec<StockReader>,
    orders: Vec<OrderReader>,
    /// In order of time; only where all follow one product.
    arrivals: Option<Vec<Arrival>>,
    /// Orders that were placed, as their answers arrived and as order sockets heard of them, each
    /// with the time.
    answered: Vec<(i64, u64)>,
    told: Vec<(i64, u64)>,
    stock_us: Histogram<u64>,
    order_us: Histogram<u64>,
    frames: u64,
    /// Earlier events are not in the figures.
    measured_us: u64,
    out_of_order: u64,
    resets: u64,
    ended: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct StockReader {
    ready: Option<i64>,
    seq: i64,
    /// Product and stock; `None` until it is told.
    holds: HashMap<i64, Option<i64>>,
}

#[derive(Debug, Default)]
struct OrderReader {
    ready: Option<i64>,
    seqs: Vec<i64>,
}

/// A socket had an event: of which transaction, by its time, and when.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    socket: u32,
    of_us: u64,
    at_us: u64,
}

#[derive(Deserialize)]
struct Snapshot {
    seq: i64,
    products: Vec<Shown>,
}

#[derive(Deserialize)]
struct Shown {
    product: i64,
    stock: i64,
}

impl Heard {
    /// Nothing yet. `keeps_arrivals` where all sockets follow one product.
    pub(crate) fn new(keeps_arrivals: bool) -> Result<Self, CreationError> {
        Ok(Self {
            stock: Vec::new(),
            orders: Vec::new(),
            arrivals: keeps_arrivals.then(Vec::new),
            answered: Vec::new(),
            told: Vec::new(),
            stock_us: Latency::histogram()?,
            order_us: Latency::histogram()?,
            frames: 0,
            measured_us: u64::MAX,
            out_of_order: 0,
            resets: 0,
            ended: BTreeMap::new(),
        })
    }

    /// One more stock socket; gives its place.
    pub(crate) fn add_stock(&mut self, products: &[i64]) -> usize {
        let holds = products.iter().map(|product| (*product, None)).collect();
        self.stock.push(StockReader { ready: None, seq: 0, holds });
        self.stock.len() - 1
    }

    /// One more order socket; gives its place.
    pub(crate) fn add_orders(&mut self) -> usize {
        self.orders.push(OrderReader::default());
        self.orders.len() - 1
    }

    /// The figures are of events from then on.
    pub(crate) fn measure_from(&mut self, wall_us: u64) {
        self.measured_us = wall_us;
    }

    /// A stock socket got a message.
    pub(crate) fn stock(&mut self, place: usize, text: &[u8]) {
        let now = wall_us();
        let Some(reader) = self.stock.get_mut(place) else { return };
        if text.starts_with(br#"{"type":"stock","#) {
            let (Some(seq), Some(product), Some(stock)) =
                (number(text, b"\"seq\":"), number(text, b"\"product\":"), number(text, b"\"stock\":"))
            else {
                return self.end("a stock event without its numbers".to_owned());
            };
            self.out_of_order += u64::from(seq <= reader.seq);
            reader.seq = seq;
            if let Some(held) = reader.holds.get_mut(&product) {
                *held = Some(stock);
            }
            self.frames += u64::from(now >= self.measured_us);
            let Some(of_us) = time_of(text) else { return };
            if let Some(arrivals) = &mut self.arrivals {
                arrivals.push(Arrival {
                    socket: u32::try_from(place).unwrap_or(u32::MAX),
                    of_us,
                    at_us: now,
                });
            } else if of_us >= self.measured_us {
                self.stock_us.saturating_record(now.saturating_sub(of_us));
            }
        } else if text.starts_with(br#"{"type":"ready""#) {
            reader.ready = number(text, b"\"seq\":");
            reader.seq = reader.ready.unwrap_or(0);
        } else if text.starts_with(br#"{"type":"snapshot""#) {
            if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(text) {
                reader.seq = snapshot.seq;
                reader.holds.extend(snapshot.products.iter().map(|shown| (shown.product, Some(shown.stock))));
            }
        } else if text.starts_with(br#"{"type":"reset""#) {
            self.resets += 1;
        }
    }

    /// An order socket got a message.
    pub(crate) fn order(&mut self, place: usize, text: &[u8]) {
        let now = wall_us();
        let Some(reader) = self.orders.get_mut(place) else { return };
        if text.starts_with(br#"{"type":"order","#) {
            let seq = number(text, b"\"seq\":").unwrap_or(0);
            self.out_of_order += u64::from(reader.seqs.last().is_some_and(|last| seq <= *last));
            reader.seqs.push(seq);
            let is_placed = text.windows(PLACED.len()).any(|window| window == PLACED);
            if let (true, Some(order)) = (is_placed, number(text, b"\"order\":")) {
                self.told.push((order, now));
            }
            if let Some(at) = time_of(text).filter(|at| *at >= self.measured_us) {
                self.order_us.saturating_record(now.saturating_sub(at));
            }
        } else if text.starts_with(br#"{"type":"ready""#) {
            reader.ready = number(text, b"\"seq\":");
        } else if text.starts_with(br#"{"type":"reset""#) {
            self.resets += 1;
        }
    }

    /// The answer to an order has arrived.
    pub(crate) fn answer(&mut self, order: i64) {
        if !self.orders.is_empty() {
            self.answered.push((order, wall_us()));
        }
    }

    /// A socket that should have stayed open ended.
    pub(crate) fn end(&mut self, reason: String) {
        if self.ended.len() < REASONS_MAX || self.ended.contains_key(&reason) {
            *self.ended.entry(reason).or_default() += 1;
        }
    }

    /// Whether each socket knows where it stands.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ended.is_empty()
            || (self.stock.iter().all(|reader| reader.ready.is_some())
                && self.orders.iter().all(|reader| reader.ready.is_some()))
    }

    /// A number before every event that a socket can have heard.
    pub(crate) fn since(&self) -> Option<i64> {
        let stock = self.stock.iter().filter_map(|reader| reader.ready);
        stock.chain(self.orders.iter().filter_map(|reader| reader.ready)).min()
    }

    /// Whether every stock socket holds what there is, as far as it was told of it.
    pub(crate) fn holds(&self, shelf: &Shelf) -> bool {
        self.behind(shelf) == 0
    }

    fn behind(&self, shelf: &Shelf) -> usize {
        // Who follows everything gets no snapshot, and may have nothing to hear of a product.
        let differs = |(product, held): (&i64, &Option<i64>)| {
            held.is_some_and(|held| shelf.stock.get(product) != Some(&held))
        };
        self.stock.iter().filter(|reader| reader.holds.iter().any(differs)).count()
    }

    /// Order events heard, all sockets together.
    pub(crate) fn order_events(&self) -> usize {
        self.orders.iter().map(|reader| reader.seqs.len()).sum()
    }

    /// How long after the answers of a time order sockets heard of the orders.
    fn after_answers(&self, (from, to): (u64, u64)) -> Result<Option<Latency>, CreationError> {
        let answered: HashMap<i64, u64> =
            self.answered.iter().copied().filter(|(_, at_us)| (from..to).contains(at_us)).collect();
        let mut after = Latency::histogram()?;
        for (order, told_us) in &self.told {
            if let Some(answered_us) = answered.get(order) {
                after.saturating_record(told_us.saturating_sub(*answered_us));
            }
        }
        Ok((!after.is_empty()).then(|| Latency::of(&after)))
    }

    /// How long the changes of a time took to each socket, and to the last one.
    fn latencies(
        &self,
        log: &Log,
        (from, to): (u64, u64),
    ) -> Result<Option<(Latency, Latency)>, CreationError> {
        let Some(arrivals) = &self.arrivals else { return Ok(None) };
        let mut by_socket: Vec<Vec<Arrival>> = vec![Vec::new(); self.stock.len()];
        for arrival in arrivals {
            if let Some(of_socket) = by_socket.get_mut(arrival.socket as usize) {
                of_socket.push(*arrival);
            }
        }
        let (mut each, mut last) = (Latency::histogram()?, Latency::histogram()?);
        let mut next = vec![0; by_socket.len()];
        for change_us in log.changes().filter(|change| (from..to).contains(change)) {
            let mut slowest = None;
            for (of_socket, next) in by_socket.iter().zip(&mut next) {
                while of_socket.get(*next).is_some_and(|arrival| arrival.of_us < change_us) {
                    *next += 1;
                }
                if let Some(arrival) = of_socket.get(*next) {
                    let took_us = arrival.at_us.saturating_sub(change_us);
                    each.saturating_record(took_us);
                    slowest = slowest.max(Some(took_us));
                }
            }
            slowest.into_iter().for_each(|took_us| last.saturating_record(took_us));
        }
        Ok(Some((Latency::of(&each), Latency::of(&last))))
    }
}

/// The order events of a time, as the log has them.
#[derive(Debug, Default)]
pub(crate) struct Log {
    events: Vec<(i64, u64)>,
}

impl Log {
    /// A message of a feed that resumed.
    pub(crate) fn hear(&mut self, text: &[u8]) {
        if let (true, Some(seq), Some(at)) =
            (text.starts_with(br#"{"type":"order","#), number(text, b"\"seq\":"), time_of(text))
        {
            self.events.push((seq, at));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The time of each transaction that placed orders; two of the same microsecond count as one.
    fn changes(&self) -> impl Iterator<Item = u64> + '_ {
        let begins = |place: &usize| *place == 0 || self.events[*place].1 != self.events[*place - 1].1;
        (0..self.events.len()).filter(begins).map(|place| self.events[place].1)
    }

    fn after(&self, seq: i64) -> impl Iterator<Item = i64> + '_ {
        self.events.iter().map(|(event, _)| *event).filter(move |event| *event > seq)
    }
}

/// What sockets cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    /// Resident memory of the server before there were sockets, with them, at most during the run, and
    /// at its end.
    before_kib: u64,
    open_kib: u64,
    max_kib: u64,
    end_kib: u64,
    /// Each open socket, before anything happened.
    bytes_per_socket: Option<u64>,
}

impl Memory {
    /// `None` where any of it is not known.
    pub(crate) fn of(
        before_kib: Option<u64>,
        open_kib: Option<u64>,
        end_kib: Option<u64>,
        usage: Option<&ServerUsage>,
        sockets: u32,
    ) -> Option<Self> {
        let (before_kib, open_kib) = (before_kib?, open_kib?);
        Some(Self {
            before_kib,
            open_kib,
            max_kib: usage?.rss_max_kib?,
            end_kib: end_kib?,
            bytes_per_socket: (open_kib.saturating_sub(before_kib) * 1024).checked_div(u64::from(sockets)),
        })
    }
}

/// What became of the sockets that never read.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stalled {
    pub sockets: usize,
    pub left_open: usize,
    /// The last of the others, after it was opened.
    pub closed_after_s: Option<f64>,
}

/// What the sockets of a run heard.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FeedsReport {
    pub stock_sockets: usize,
    pub order_sockets: usize,
    pub stock_frames_per_second: f64,
    /// From the beginning of a change's transaction to each socket.
    pub each_us: Option<Latency>,
    /// The same to the last of all sockets; only where they follow one product.
    pub last_us: Option<Latency>,
    /// From the beginning of an order's transaction to each order socket.
    pub order_us: Option<Latency>,
    /// From the answer to an order to each order socket; 0 where the socket was first.
    pub after_answer_us: Option<Latency>,
    pub memory: Option<Memory>,
    pub stalled: Stalled,
    /// Stock sockets whose last value is not the shop's.
    pub behind: usize,
    /// Order sockets that did not hear exactly what the log has.
    pub incomplete: usize,
    pub out_of_order: u64,
    pub resets: u64,
    /// Why sockets ended that should have stayed open.
    pub ended: BTreeMap<String, u64>,
}

impl FeedsReport {
    /// Compares.
    pub(crate) fn of(
        heard: &Heard,
        log: Option<&Log>,
        shelf: &Shelf,
        measured: (u64, u64),
        memory: Option<Memory>,
        stalled: Stalled,
    ) -> Result<Self, CreationError> {
        let seconds = measured.1.saturating_sub(measured.0) as f64 / 1e6;
        let told = |histogram: &Histogram<u64>| (!histogram.is_empty()).then(|| Latency::of(histogram));
        let by_batch = match log {
            Some(log) => heard.latencies(log, measured)?,
            None => None,
        };
        let (each_us, last_us) = match by_batch {
            Some((each, last)) if !heard.stock.is_empty() => (Some(each), Some(last)),
            _ => (told(&heard.stock_us), None),
        };
        let differs = |reader: &&OrderReader| {
            let log = log.into_iter().flat_map(|log| log.after(reader.ready.unwrap_or(i64::MAX)));
            !reader.seqs.iter().copied().eq(log)
        };
        Ok(Self {
            stock_sockets: heard.stock.len(),
            order_sockets: heard.orders.len(),
            stock_frames_per_second: heard.frames as f64 / seconds.max(f64::EPSILON),
            each_us,
            last_us,
            order_us: told(&heard.order_us),
            after_answer_us: heard.after_answers(measured)?,
            memory,
            stalled,
            behind: heard.behind(shelf),
            incomplete: heard.orders.iter().filter(differs).count(),
            out_of_order: heard.out_of_order,
            resets: heard.resets,
            ended: heard.ended.clone(),
        })
    }

    /// What is not as it should be.
    pub(crate) fn broken(&self) -> Vec<String> {
        let findings = [
            (self.behind as u64, "stock sockets do not hold the stock that there is"),
            (self.incomplete as u64, "order sockets did not hear each event once and in order"),
            (self.out_of_order, "events were out of order"),
            (self.resets, "sockets were reset"),
            (self.ended.values().sum(), "sockets ended that should have stayed open"),
            (self.stalled.left_open as u64, "sockets that never read were left open"),
        ];
        let broken = findings.into_iter().filter(|(count, _)| *count > 0);
        broken.map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// For people.
    pub(crate) fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let times = |latency: &Latency| {
            let Latency { p50, p99, max, .. } = latency;
            format!("p50 {}, p99 {}, max {}", milliseconds(*p50), milliseconds(*p99), milliseconds(*max))
        };
        row(
            "stock frames",
            format!("{:.0}/s to {} sockets", self.stock_frames_per_second, self.stock_sockets),
        );
        for (name, latency) in [
            ("  to each socket", &self.each_us),
            ("  to the last socket", &self.last_us),
            ("order events", &self.order_us),
            ("  after the answer", &self.after_answer_us),
        ] {
            if let Some(latency) = latency {
                row(name, times(latency));
            }
        }
        if let Some(memory) = &self.memory {
            let mib = |kib: u64| kib as f64 / 1024.0;
            let each = memory
                .bytes_per_socket
                .map_or(String::new(), |bytes| format!(", {:.1} KiB a socket", bytes as f64 / 1024.0));
            row(
                "server memory",
                format!(
                    "{:.1} MiB before the sockets, {:.1} with them{each}; {:.1} at most, {:.1} at the end",
                    mib(memory.before_kib),
                    mib(memory.open_kib),
                    mib(memory.max_kib),
                    mib(memory.end_kib)
                ),
            );
        }
        if self.stalled.sockets > 0 {
            let after =
                self.stalled.closed_after_s.map_or("never".to_owned(), |s| format!("{s:.1} s at most"));
            row(
                "never read",
                format!(
                    "{} sockets, closed after {after}, {} left open",
                    self.stalled.sockets, self.stalled.left_open
                ),
            );
        }
        for (reason, count) in &self.ended {
            row("", format!("{count} x {reason}"));
        }
    }
}

/// The number that follows a name.
fn number(text: &[u8], name: &[u8]) -> Option<i64> {
    let at = text.windows(name.len()).position(|window| window == name)? + name.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    std::str::from_utf8(&text[at..at + digits]).ok()?.parse().ok()
}

/// The time at the end of an event, in microseconds.
fn time_of(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text.get(text.len().checked_sub(40)?..)?).ok()?;
    let time = text.split_once("\"at\":\"")?.1.split('"').next()?;
    let nanos = OffsetDateTime::parse(time, &Rfc3339).ok()?.unix_timestamp_nanos();
    u64::try_from(nanos / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(seq: i64, stock: i64) -> Vec<u8> {
        format!(r#"{{"type":"stock","seq":{seq},"product":7,"stock":{stock},"price":"1.00","at":"1970-01-01T00:00:01.000002Z"}}"#)
            .into_bytes()
    }

    fn order(seq: i64, us: u64) -> Vec<u8> {
        format!(
            r#"{{"type":"order","seq":{seq},"event":"placed","order":1,"user":2,"status":"pending","total_price":"1.00","at":"1970-01-01T00:00:00.{us:06}Z"}}"#
        )
        .into_bytes()
    }

    fn shelf(stock: i64) -> Shelf {
        Shelf { stock: HashMap::from([(7, stock)]), ..Shelf::default() }
    }

    fn log(events: &[(i64, u64)]) -> Log {
        let mut log = Log::default();
        events.iter().for_each(|(seq, us)| log.hear(&order(*seq, *us)));
        log
    }

    #[test]
    fn numbers_and_times_are_read_from_events() {
        assert_eq!(number(&stock(12, 34), b"\"stock\":"), Some(34));
        assert_eq!(time_of(&stock(12, 34)), Some(1_000_002));
        assert_eq!(number(b"{}", b"\"seq\":"), None);
        assert_eq!(time_of(br#"{"type":"removed","seq":1}"#), None);
    }

    #[test]
    fn a_change_counts_until_the_last_socket_had_it_or_a_later_one() {
        let mut heard = Heard::new(true).unwrap();
        heard.add_stock(&[7]);
        heard.add_stock(&[7]);
        let arrival = |socket, of_us, at_us| Arrival { socket, of_us, at_us };
        // Three changes; the second socket was spared the second.
        heard.arrivals = Some(vec![
            arrival(0, 1_000, 1_100),
            arrival(1, 1_000, 1_300),
            arrival(0, 2_000, 2_200),
            arrival(0, 3_000, 3_100),
            arrival(1, 3_000, 3_400),
        ]);
        let log = log(&[(2, 1_000), (3, 1_000), (5, 2_000), (6, 2_000), (8, 3_000)]);
        let (each, last) = heard.latencies(&log, (0, 10_000)).unwrap().unwrap();
        assert_eq!((each.p50, each.max), (200, 1_400));
        assert_eq!((last.p50, last.max), (400, 1_400));
        let (_, last) = heard.latencies(&log, (2_500, 10_000)).unwrap().unwrap();
        assert_eq!(last.max, 400);
    }

    #[test]
    fn what_an_order_socket_hears_before_the_answer_took_no_time_after_it() {
        let mut heard = Heard::new(false).unwrap();
        heard.add_orders();
        heard.answered = vec![(1, 1_000), (2, 2_000), (3, 3_000), (4, 9_000)];
        heard.told = vec![(1, 900), (2, 2_005), (3, 3_007), (4, 9_900), (5, 1_000)];
        let after = heard.after_answers((0, 5_000)).unwrap().unwrap();
        assert_eq!((after.p50, after.max), (5, 7));
        assert!(heard.after_answers((5_000, 6_000)).unwrap().is_none());
    }

    #[test]
    fn readers_that_differ_from_the_shop_are_found() {
        let mut heard = Heard::new(false).unwrap();
        let place = heard.add_stock(&[7]);
        let orders = heard.add_orders();
        heard.stock(place, br#"{"type":"ready","seq":1}"#);
        heard.stock(
            place,
            br#"{"type":"snapshot","seq":1,"products":[{"product":7,"stock":9,"price":"1.00"}]}"#,
        );
        heard.order(orders, br#"{"type":"ready","seq":1}"#);
        assert!(heard.is_ready() && heard.holds(&shelf(9)) && heard.since() == Some(1));
        heard.stock(place, &stock(2, 8));
        heard.order(orders, &order(3, 0));
        heard.order(orders, &order(4, 0));
        let stalled = || Stalled { sockets: 1, left_open: 0, closed_after_s: Some(1.0) };
        let report = |heard: &Heard, log: &Log, stock| {
            FeedsReport::of(heard, Some(log), &shelf(stock), (0, 1_000_000), None, stalled())
                .unwrap()
                .broken()
        };
        assert!(report(&heard, &log(&[(1, 0), (3, 0), (4, 0)]), 8).is_empty());
        assert_eq!(report(&heard, &log(&[(3, 0), (4, 0)]), 7).len(), 1);
        assert_eq!(report(&heard, &log(&[(3, 0), (4, 0), (5, 0)]), 8).len(), 1);
        heard.order(orders, &order(4, 0));
        assert_eq!(
            report(&heard, &log(&[(3, 0), (4, 0)]), 8).len(),
            2,
            "twice is one too many, and out of order"
        );
        heard.end("gone".to_owned());
        assert_eq!(report(&heard, &log(&[(3, 0), (4, 0)]), 8).len(), 3);
    }
}
