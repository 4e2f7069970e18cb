//! Readers of a product while it sells, who hold what they are shown against what was acknowledged.
//!
//! A stock may be old, but not older than [`AGE_MAX`]: what was acknowledged to a buyer that long
//! before a read began must be missing from the stock that the read shows. Nothing comes back to the
//! stock in a run that is shorter than the hold of an order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::client::Target;
use super::drive::Visitor;
use super::recorder::Outcome;
use super::session::{Ask, Session, judge};
use super::wire::Reply;

/// How old a stock may be.
const AGE_MAX: Duration = Duration::from_secs(1);

/// What was sold when.
#[derive(Debug)]
pub(crate) struct Sold {
    before: i64,
    /// Units acknowledged lately, and when.
    lately: VecDeque<(Instant, i64)>,
    /// Units acknowledged before those.
    long_ago: i64,
}

impl Sold {
    /// Nothing yet, of so many units.
    pub(crate) fn nothing_of(before: i64) -> Self {
        Self { before, lately: VecDeque::new(), long_ago: 0 }
    }

    /// So many units have just been acknowledged.
    pub(crate) fn note(&mut self, units: i64) {
        self.note_at(units, Instant::now());
    }

    fn note_at(&mut self, units: i64, at: Instant) {
        self.lately.push_back((at, units));
    }

    /// The most that a read which begins at `now` may show.
    fn most_left(&mut self, now: Instant) -> i64 {
        while let Some((at, units)) = self.lately.front().copied() {
            if now.saturating_duration_since(at) < AGE_MAX {
                break;
            }
            self.long_ago += units;
            self.lately.pop_front();
        }
        self.before - self.long_ago
    }
}

/// A connection that reads one product again and again.
pub(crate) struct StockReader {
    path: String,
    session: Session,
    sold: Rc<RefCell<Sold>>,
    kind: usize,
}

impl StockReader {
    /// Reads `product`; its operations are of this kind.
    pub(crate) fn new(
        target: &Target,
        timeout: Duration,
        product: i64,
        sold: Rc<RefCell<Sold>>,
        kind: usize,
    ) -> Self {
        let path = format!("/api/products/{product}/");
        Self { path, session: Session::new(target, timeout), sold, kind }
    }
}

impl Visitor for StockReader {
    async fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn act(&mut self) -> (usize, Outcome) {
        let most = self.sold.borrow_mut().most_left(Instant::now());
        let reply = self.session.send_anonymously(Ask::get(&self.path)).await;
        let outcome = match (judge(&reply, 200), &reply) {
            (Outcome::Done, Ok(reply)) => match stock(reply) {
                Some(stock) if stock <= most => Outcome::Done,
                Some(_) => Outcome::Failed(format!("a stock older than {} s", AGE_MAX.as_secs())),
                None => Outcome::Failed(format!("no stock: {}", reply.excerpt())),
            },
            (outcome, _) => outcome,
        };
        (self.kind, outcome)
    }
}

/// The stock of a product, as its JSON tells it.
fn stock(reply: &Reply<'_>) -> Option<i64> {
    const NAME: &[u8] = b"\"stock\":";
    let at = reply.body.windows(NAME.len()).rposition(|window| window == NAME)?;
    let rest = reply.body.get(at + NAME.len()..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sold_a_second_ago_is_gone_and_what_was_sold_since_may_be() {
        let mut sold = Sold::nothing_of(100);
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        sold.note_at(2, after(0));
        sold.note_at(3, after(500));
        assert_eq!(sold.most_left(after(999)), 100);
        assert_eq!(sold.most_left(after(1000)), 98);
        assert_eq!(sold.most_left(after(1500)), 95);
        sold.note_at(1, after(1600));
        assert_eq!(sold.most_left(after(2000)), 95);
    }

    #[test]
    fn a_stock_is_found_in_a_product() {
        let of = |body: &str| stock(&Reply { status: 200, body: body.as_bytes() });
        assert_eq!(of(r#"{"id":1,"name":"\"stock\":7","stock":12,"created_at":"x"}"#), Some(12));
        assert_eq!(of(r#"{"stock":"12"}"#), None);
        assert_eq!(of("[]"), None);
    }
}
