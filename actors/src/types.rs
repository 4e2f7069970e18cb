//! The words of the domain as types: ids, money, quantities, time.
//!
//! Values are parsed at the edge and trusted inside. Each type serializes as the contract shows it
//! (money a string with two decimals, time ISO 8601 UTC with microseconds, ids integers).

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// An account.
    UserId,
    /// A sign-in; tokens name it in their claim `sid`.
    SessionId,
    /// A category of the catalogue.
    CategoryId,
    /// A product of the catalogue, deleted ones included.
    ProductId,
    /// A cart; there is one per account.
    CartId,
    /// A line of a cart.
    CartItemId,
    /// An order.
    OrderId,
}

/// An amount in cents.
///
/// Prices are at most [`Money::PRICE_MAX`], order totals at most [`Money::TOTAL_MAX`]. A cart, which
/// promises no price, may add up to more than 64 bits hold, hence the 128.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Money(i128);

impl Money {
    /// 99,999,999.99, the highest price of a product.
    pub const PRICE_MAX: Self = Self(9_999_999_999);
    /// 999,999,999,999.99, the highest total of an order.
    pub const TOTAL_MAX: Self = Self(99_999_999_999_999);
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// That many cents.
    #[must_use]
    pub const fn from_cents(cents: i64) -> Self {
        Self(cents as i128)
    }

    /// The amount in cents, as the database keeps it; saturates beyond 64 bits, which no price and
    /// no order total reaches.
    #[must_use]
    pub fn cents(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The price of `quantity` units. Exact: a price times a quantity fits 128 bits.
    #[must_use]
    pub fn times(self, quantity: i64) -> Self {
        Self(self.0 * i128::from(quantity))
    }
}

impl std::ops::Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, |sum, amount| sum + amount)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A moment, in UTC, to the microsecond (what Postgres keeps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub OffsetDateTime);

impl fmt::Display for Timestamp {
    /// Digit by digit: an order has three of these, and what formats numbers one by one was seen in profiles.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0.to_offset(time::UtcOffset::UTC);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |places: Range<usize>, number: u32| {
            let mut rest = number;
            for place in text[places].iter_mut().rev() {
                *place = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        };
        put(0..4, t.year().unsigned_abs());
        put(5..7, u32::from(u8::from(t.month())));
        put(8..10, u32::from(t.day()));
        put(11..13, u32::from(t.hour()));
        put(14..16, u32::from(t.minute()));
        put(17..19, u32::from(t.second()));
        put(20..26, t.microsecond());
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A position in the event log. Grows in commit order over all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who is asking, once the edge has checked their token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub user: UserId,
    /// The sign-in that the token belongs to.
    pub session: SessionId,
    /// Whether the account may write the catalogue and see every order.
    pub is_staff: bool,
}

/// Where a page of a list begins and how long it may be.
#[derive(Clone, Debug)]
pub struct PageRequest<C> {
    /// The last row of the page before, `None` for the first page.
    pub after: Option<C>,
    /// 1 to 1000 rows.
    pub size: usize,
}

/// A page of a list, and where the next one begins, if there is one.
#[derive(Clone, Debug)]
pub struct Page<T, C> {
    /// The rows.
    pub items: Vec<T>,
    /// The position after the last row when more follow.
    pub next: Option<C>,
}

/// How long a client should wait before it tries an overloaded or unreachable shop again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_shows_two_decimals_and_its_sign() {
        for (cents, text) in [
            (0, "0.00"),
            (5, "0.05"),
            (10, "0.10"),
            (99, "0.99"),
            (100, "1.00"),
            (150_000, "1500.00"),
            (-1, "-0.01"),
            (-12_345, "-123.45"),
            (i64::MAX, "92233720368547758.07"),
            (i64::MIN, "-92233720368547758.08"),
        ] {
            assert_eq!(Money::from_cents(cents).to_string(), text);
        }
    }

    #[test]
    fn the_dearest_possible_cart_adds_up_exactly() {
        let line = Money::PRICE_MAX.times(1_000_000);
        let total: Money = std::iter::repeat_n(line, 1000).sum();
        assert_eq!(total.to_string(), "99999999990000000.00");
    }

    #[test]
    fn timestamps_keep_six_digits() {
        let t = OffsetDateTime::from_unix_timestamp_nanos(1_736_922_698_809_214_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(Timestamp(t).to_string(), "2025-01-15T06:31:38.809214Z");
        assert_eq!(Timestamp(OffsetDateTime::UNIX_EPOCH).to_string(), "1970-01-01T00:00:00.000000Z");
    }
}
