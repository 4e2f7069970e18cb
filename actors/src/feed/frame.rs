//! The texts of the live feeds, to the letter of the contract.
//!
//! Written without a serializer: every value is a number, a fixed word, an amount or a time, none of
//! which needs escaping. The one free text, in [`error`], goes through one.

use std::fmt::Write;

use bytestring::ByteString;

use super::{Event, EventKind};
use crate::types::{Money, ProductId, Seq};

/// What a socket is told first: every event after `seq` follows.
pub(super) fn ready(seq: Seq) -> ByteString {
    format!(r#"{{"type":"ready","seq":{seq}}}"#).into()
}

/// What was missed is no longer kept; the state as of `seq` has to be read anew.
pub(super) fn reset(seq: Seq) -> ByteString {
    format!(r#"{{"type":"reset","seq":{seq}}}"#).into()
}

/// A product as a snapshot shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shelf {
    pub(super) product: ProductId,
    pub(super) stock: i64,
    pub(super) price: Money,
}

/// Products as they stood after event `seq`; `has_more` where the next frame goes on with others.
pub(super) fn snapshot(seq: Seq, shelves: &[Shelf], has_more: bool) -> ByteString {
    let mut text = String::with_capacity(64 + shelves.len() * 64);
    let _ = write!(text, r#"{{"type":"snapshot","seq":{seq},"products":["#);
    for (i, Shelf { product, stock, price }) in shelves.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(text, r#"{comma}{{"product":{product},"stock":{stock},"price":"{price}"}}"#);
    }
    text.push_str(if has_more { r#"],"more":true}"# } else { "]}" });
    text.into()
}

/// The products that a socket gets from now on.
pub(super) fn subscribed(seq: Seq, products: impl Iterator<Item = ProductId>) -> ByteString {
    let mut text = String::from(r#"{"type":"subscribed","products":["#);
    for (i, product) in products.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{product}");
    }
    let _ = write!(text, r#"],"seq":{seq}}}"#);
    text.into()
}

/// A message that was not understood or cannot be granted; the socket stays open.
#[must_use]
pub fn error(detail: &str) -> ByteString {
    serde_json::json!({"type": "error", "detail": detail}).to_string().into()
}

/// An event's frame; `None` for kinds that are not on the feeds.
pub(super) fn event(Event { seq, at, kind }: &Event) -> Option<ByteString> {
    let text = match kind {
        EventKind::Stock { product, stock, price } => format!(
            r#"{{"type":"stock","seq":{seq},"product":{product},"stock":{stock},"price":"{price}","at":"{at}"}}"#
        ),
        EventKind::Removed { product } => format!(r#"{{"type":"removed","seq":{seq},"product":{product}}}"#),
        EventKind::Order { order, user, event, status, total } => format!(
            r#"{{"type":"order","seq":{seq},"event":"{}","order":{order},"user":{user},"status":"{}","total_price":"{total}","at":"{at}"}}"#,
            event.as_str(),
            status.as_str(),
        ),
        EventKind::Product { .. }
        | EventKind::Category { .. }
        | EventKind::Session { .. }
        | EventKind::User { .. } => return None,
    };
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::feed::{OrderEvent, OrderStatus};
    use crate::types::{OrderId, Timestamp, UserId};

    fn text_of(kind: EventKind) -> Option<String> {
        let at = Timestamp(OffsetDateTime::UNIX_EPOCH);
        event(&Event { seq: Seq(7), at, kind }).map(|text| text.to_string())
    }

    #[test]
    fn events_read_as_the_contract_shows_them() {
        let stock = EventKind::Stock { product: ProductId(3), stock: 4, price: Money::from_cents(150_000) };
        assert_eq!(
            text_of(stock).as_deref(),
            Some(
                r#"{"type":"stock","seq":7,"product":3,"stock":4,"price":"1500.00","at":"1970-01-01T00:00:00.000000Z"}"#
            )
        );
        assert_eq!(
            text_of(EventKind::Removed { product: ProductId(3) }).as_deref(),
            Some(r#"{"type":"removed","seq":7,"product":3}"#)
        );
        let order = EventKind::Order {
            order: OrderId(9),
            user: UserId(2),
            event: OrderEvent::Placed,
            status: OrderStatus::Pending,
            total: Money::from_cents(5),
        };
        assert_eq!(
            text_of(order).as_deref(),
            Some(concat!(
                r#"{"type":"order","seq":7,"event":"placed","order":9,"user":2,"status":"pending","#,
                r#""total_price":"0.05","at":"1970-01-01T00:00:00.000000Z"}"#
            ))
        );
    }

    #[test]
    fn what_is_not_on_the_feeds_has_no_frame() {
        assert_eq!(text_of(EventKind::Product { product: ProductId(1) }), None);
        assert_eq!(text_of(EventKind::User { user: UserId(1) }), None);
    }

    #[test]
    fn the_other_frames_are_json_of_the_contract() {
        let shelf = |id| Shelf { product: ProductId(id), stock: 2, price: Money::from_cents(100) };
        assert_eq!(ready(Seq(1)), r#"{"type":"ready","seq":1}"#);
        assert_eq!(reset(Seq(1)), r#"{"type":"reset","seq":1}"#);
        assert_eq!(snapshot(Seq(1), &[], false), r#"{"type":"snapshot","seq":1,"products":[]}"#);
        assert_eq!(
            snapshot(Seq(1), &[shelf(1), shelf(2)], true),
            concat!(
                r#"{"type":"snapshot","seq":1,"products":[{"product":1,"stock":2,"price":"1.00"},"#,
                r#"{"product":2,"stock":2,"price":"1.00"}],"more":true}"#
            )
        );
        assert_eq!(
            subscribed(Seq(4), [ProductId(1), ProductId(2)].into_iter()),
            r#"{"type":"subscribed","products":[1,2],"seq":4}"#
        );
        assert!(error("a \"quoted\" word").contains(r#"a \"quoted\" word"#));
    }
}
