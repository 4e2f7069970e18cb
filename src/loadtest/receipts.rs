//! The orders that the shop has acknowledged to this run, held against the orders that it has.
//!
//! Promises: each acknowledged order exists, with the lines that were asked for and once; each order
//! of this run's customers was acknowledged, but for those whose answer never came; the stock is what
//! was there before, less what these orders took.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, spawn_local};

use super::account::Account;
use super::books::{Comparison, Shelf, next_page};
use super::client::{Client, ClientError, Request, Target};
use super::progress::Progress;

/// Order lists read at once.
const READ_AT_ONCE: usize = 4;
/// How long the nodes behind a load balancer may take to show each other's last sales.
const SETTLE_MAX: Duration = Duration::from_secs(3);
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// Product and quantity.
pub(crate) type Line = (i64, i64);

/// The own books.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// Order, and where its lines stand in `lines`.
    orders: Vec<(i64, u32, u16)>,
    lines: Vec<Line>,
    /// Requests whose effect is not known: the connection broke, or no answer came in time.
    unknown: u64,
}

/// What came of comparing both.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct OrdersChecked {
    /// Acknowledged to this run.
    pub acknowledged: usize,
    /// In the shop, of this run's customers.
    pub listed: usize,
    /// Acknowledged, and not there.
    pub missing: usize,
    /// Acknowledged more than once.
    pub repeated: usize,
    /// With other lines than asked for.
    pub altered: usize,
    /// There, and never acknowledged.
    pub unacknowledged: usize,
    /// Requests whose effect is not known: as many unacknowledged orders may be there.
    pub unknown: u64,
    /// Holds that ran out meanwhile.
    pub expired: usize,
}

impl OrdersChecked {
    /// What does not agree.
    pub(crate) fn broken(&self) -> Vec<String> {
        let unexplained = (self.unacknowledged as u64).saturating_sub(self.unknown);
        let findings = [
            (self.missing as u64, "acknowledged orders do not exist"),
            (self.repeated as u64, "orders were acknowledged twice"),
            (self.altered as u64, "orders have other lines than asked for"),
            (unexplained, "orders were placed that nobody asked for"),
        ];
        let broken = findings.into_iter().filter(|(count, _)| *count > 0);
        broken.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

/// An order as the shop lists it.
#[derive(Debug, Deserialize)]
struct Listed {
    id: i64,
    status: String,
    items: Vec<ListedLine>,
}

#[derive(Debug, Deserialize)]
struct ListedLine {
    product: i64,
    quantity: i64,
}

/// Why the shop's orders could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("a reader of orders stopped: {0}")]
    Stopped(#[from] JoinError),
}

/// What the shop has of this run's customers.
#[derive(Debug, Default)]
struct Shop {
    orders: HashMap<i64, Vec<Line>>,
    expired: usize,
    /// Units that live orders took, by product.
    sold: HashMap<i64, i64>,
}

impl Receipts {
    /// An order was acknowledged.
    pub(crate) fn acknowledge(&mut self, order: i64, lines: &[Line]) {
        // Orders of one line are mostly like the one before.
        let length = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let start = self.lines.len().saturating_sub(lines.len());
        let place = match self.lines.get(start..) {
            Some(last) if last == lines => start,
            _ => {
                self.lines.extend_from_slice(lines);
                self.lines.len() - lines.len()
            }
        };
        self.orders.push((order, u32::try_from(place).unwrap_or(u32::MAX), length));
    }

    /// The order that was acknowledged last.
    pub(crate) fn last(&self) -> Option<i64> {
        self.orders.last().map(|(order, ..)| *order)
    }

    /// What became of a request is not known.
    pub(crate) fn lose(&mut self) {
        self.unknown += 1;
    }

    fn lines_of(&self, place: u32, length: u16) -> Vec<Line> {
        let place = place as usize;
        let mut lines = self.lines.get(place..place + usize::from(length)).unwrap_or_default().to_vec();
        lines.sort_unstable();
        lines
    }

    fn compare(&self, shop: &Shop) -> OrdersChecked {
        let mut found = OrdersChecked {
            acknowledged: self.orders.len(),
            listed: shop.orders.len(),
            unknown: self.unknown,
            expired: shop.expired,
            ..OrdersChecked::default()
        };
        let mut seen = std::collections::HashSet::with_capacity(self.orders.len());
        for (order, place, length) in &self.orders {
            if !seen.insert(*order) {
                found.repeated += 1;
                continue;
            }
            match shop.orders.get(order) {
                None => found.missing += 1,
                Some(lines) if *lines != self.lines_of(*place, *length) => found.altered += 1,
                Some(_) => {}
            }
        }
        found.unacknowledged = shop.orders.keys().filter(|order| !seen.contains(*order)).count();
        found
    }
}

/// What the books are held against.
pub(crate) struct Against<'a> {
    pub target: &'a Target,
    pub staff: &'a Arc<Account>,
    /// The run's own customers, who have no other orders.
    pub users: &'a [i64],
    /// The run's own products, before it.
    pub before: &'a Shelf,
    /// Their category.
    pub category: i64,
}

/// Reads orders and stock and compares, giving other nodes a moment to catch up.
pub(crate) async fn check(
    receipts: &Receipts,
    against: &Against<'_>,
) -> Result<(OrdersChecked, Comparison, Shelf), CheckError> {
    let mut client = Client::new(against.target.clone());
    let until = Instant::now() + SETTLE_MAX;
    loop {
        let shop = read_orders(against).await?;
        let orders = receipts.compare(&shop);
        let after = Shelf::read_category(&mut client, against.staff, against.category).await?;
        let stock = after.compare(against.before, &shop.sold);
        if (orders.broken().is_empty() && stock.agrees()) || Instant::now() > until {
            return Ok((orders, stock, after));
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}

async fn read_orders(against: &Against<'_>) -> Result<Shop, CheckError> {
    let users: Rc<[i64]> = against.users.into();
    let next = Rc::new(Cell::new(0));
    let shop = Rc::new(RefCell::new(Shop::default()));
    let progress = Rc::new(RefCell::new(Progress::begin("checking orders of", users.len())));
    let reader = || {
        let (users, next, shop, progress) = (users.clone(), next.clone(), shop.clone(), progress.clone());
        let (mut client, staff) = (Client::new(against.target.clone()), against.staff.clone());
        spawn_local(async move {
            while let Some(user) = users.get(next.replace(next.get() + 1)) {
                let mut path = Some(format!("/api/orders/?user={user}&page_size=1000"));
                while let Some(page) = path {
                    let answer = staff.send(&mut client, Request::get(page)).await?.answer;
                    if answer.status != 200 {
                        return Err(answer.unexpected("cannot read the orders"));
                    }
                    let orders: Vec<Listed> = answer.json()?;
                    path = answer.header("link").and_then(next_page).filter(|_| !orders.is_empty());
                    shop.borrow_mut().add(orders);
                }
                progress.borrow_mut().advance();
            }
            Ok::<_, ClientError>(())
        })
    };
    let readers: Vec<_> = (0..READ_AT_ONCE).map(|_| reader()).collect();
    for reader in readers {
        reader.await??;
    }
    progress.borrow().end();
    Ok(shop.take())
}

impl Shop {
    fn add(&mut self, orders: Vec<Listed>) {
        for order in orders {
            let mut lines: Vec<Line> = order.items.iter().map(|line| (line.product, line.quantity)).collect();
            lines.sort_unstable();
            let gave_back = matches!(order.status.as_str(), "expired" | "cancelled");
            let is_new = !self.orders.contains_key(&order.id);
            self.expired += usize::from(is_new && gave_back);
            if is_new && !gave_back {
                for (product, quantity) in &lines {
                    *self.sold.entry(*product).or_default() += quantity;
                }
            }
            self.orders.insert(order.id, lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: i64, status: &str, lines: &[Line]) -> Listed {
        let items =
            lines.iter().map(|(product, quantity)| ListedLine { product: *product, quantity: *quantity });
        Listed { id, status: status.to_owned(), items: items.collect() }
    }

    fn shop() -> Shop {
        let mut shop = Shop::default();
        shop.add(vec![listed(1, "pending", &[(7, 1)]), listed(2, "pending", &[(8, 2), (7, 1)])]);
        shop.add(vec![listed(2, "pending", &[(8, 2), (7, 1)]), listed(3, "expired", &[(7, 5)])]);
        shop
    }

    fn receipts(orders: &[(i64, &[Line])]) -> Receipts {
        let mut receipts = Receipts::default();
        orders.iter().for_each(|(order, lines)| receipts.acknowledge(*order, lines));
        receipts
    }

    #[test]
    fn orders_as_asked_agree_and_expired_ones_hold_nothing() {
        let checked = receipts(&[(3, &[(7, 5)]), (1, &[(7, 1)]), (2, &[(7, 1), (8, 2)])]).compare(&shop());
        assert!(checked.broken().is_empty(), "{checked:?}");
        assert_eq!((checked.listed, checked.expired), (3, 1));
        assert_eq!(shop().sold, HashMap::from([(7, 2), (8, 2)]));
    }

    #[test]
    fn each_disagreement_is_found() {
        let all: [(i64, &[Line]); 3] = [(1, &[(7, 1)]), (2, &[(7, 1), (8, 2)]), (3, &[(7, 5)])];
        let find = |orders: &[(i64, &[Line])]| receipts(orders).compare(&shop());
        assert_eq!(find(&[all[0], all[1], all[2], (4, &[(7, 1)])]).missing, 1);
        assert_eq!(find(&[all[0], all[1], all[2], all[0]]).repeated, 1);
        assert_eq!(find(&[all[0], (2, &[(7, 1)]), all[2]]).altered, 1);
        let unasked = find(&[all[0], all[1]]);
        assert_eq!((unasked.unacknowledged, unasked.broken().len()), (1, 1));
        let mut lost = receipts(&[all[0], all[1]]);
        lost.lose();
        assert!(lost.compare(&shop()).broken().is_empty(), "an answer that got lost explains one order");
    }

    #[test]
    fn lines_like_the_last_ones_are_kept_once() {
        let receipts = receipts(&[(1, &[(7, 1)]), (2, &[(7, 1)]), (3, &[(8, 1), (7, 1)]), (4, &[(7, 1)])]);
        assert_eq!(receipts.lines, [(7, 1), (8, 1), (7, 1)]);
        assert_eq!(receipts.orders[3], (4, 2, 1));
    }
}
