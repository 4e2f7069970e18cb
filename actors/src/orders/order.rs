//! What an order is, and how it may move on.

use std::sync::Arc;

use serde::Serialize;

use crate::types::{Money, OrderId, ProductId, Timestamp, UserId};

/// The most lines an order may have; also what makes a line's public id unique.
pub const LINES_MAX: usize = 1000;
/// The most units of one product in an order or cart line.
pub const QUANTITY_MAX: i64 = 1_000_000;

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $type {
            $($(#[$vdoc])* $variant),*
        }

        impl $type {
            /// The name in the contract and in the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The reverse of [`Self::as_str`].
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

names! {
    /// How an order stands.
    OrderStatus {
        /// Placed, its stock taken, not yet paid.
        Pending = "pending",
        /// Paid for.
        Paid = "paid",
        /// On its way.
        Shipped = "shipped",
        /// Arrived.
        Delivered = "delivered",
        /// Called off; its stock came back.
        Cancelled = "cancelled",
        /// Not paid in time; its stock came back.
        Expired = "expired",
        /// The money went back; the stock did not.
        Refunded = "refunded",
    }
}

names! {
    /// What happened to an order.
    OrderEvent {
        /// It came to be.
        Placed = "placed",
        /// It was paid.
        Paid = "paid",
        /// It was shipped.
        Shipped = "shipped",
        /// It was delivered.
        Delivered = "delivered",
        /// It was called off.
        Cancelled = "cancelled",
        /// Its hold ran out.
        Expired = "expired",
        /// It was refunded.
        Refunded = "refunded",
    }
}

impl OrderStatus {
    /// Where `event` takes an order that stands like this; `None` where the contract has no such move.
    #[must_use]
    pub const fn after(self, event: OrderEvent) -> Option<Self> {
        use OrderEvent as E;
        use OrderStatus as S;
        match (self, event) {
            (S::Pending, E::Paid) => Some(S::Paid),
            (S::Paid, E::Shipped) => Some(S::Shipped),
            (S::Shipped, E::Delivered) => Some(S::Delivered),
            (S::Pending | S::Paid, E::Cancelled) => Some(S::Cancelled),
            (S::Pending, E::Expired) => Some(S::Expired),
            (S::Paid | S::Shipped | S::Delivered, E::Refunded) => Some(S::Refunded),
            _ => None,
        }
    }

    /// Whether an order that stands like this counts as paid.
    #[must_use]
    pub const fn is_paid(self) -> bool {
        matches!(self, Self::Paid | Self::Shipped | Self::Delivered)
    }

    /// Whether the stock of an order that stands like this has come back.
    #[must_use]
    pub const fn gave_stock_back(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired)
    }
}

/// An order as the contract shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Whose it is.
    pub user: UserId,
    /// What was bought, in the order it was asked for.
    pub items: Vec<OrderItem>,
    /// The sum of the lines.
    pub total_price: Money,
    /// How it stands.
    pub status: OrderStatus,
    /// Whether it counts as paid.
    pub is_paid: bool,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// Until when it holds its stock unpaid.
    pub expires_at: Timestamp,
}

/// A line of an order, at the name and price of the moment it was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderItem {
    /// The line's id: see [`line_id`].
    pub id: i64,
    /// What was bought.
    pub product: ProductId,
    /// Its name then; the orders of a batch share it.
    pub name: Arc<str>,
    /// How many units.
    pub quantity: i64,
    /// The price of one then.
    pub price: Money,
    /// Price times quantity.
    pub subtotal: Money,
}

impl OrderItem {
    /// The line `line_no` (from 0) of an order.
    #[must_use]
    pub fn new(
        order: OrderId,
        line_no: i16,
        product: ProductId,
        name: Arc<str>,
        quantity: i64,
        price: Money,
    ) -> Self {
        Self { id: line_id(order, line_no), product, name, quantity, price, subtotal: price.times(quantity) }
    }
}

/// A step of an order's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// What happened.
    pub event: OrderEvent,
    /// How the order stood after it.
    pub status: OrderStatus,
    /// When.
    pub at: Timestamp,
    /// By whom; `None` for the shop itself (expiry).
    pub by: Option<UserId>,
}

/// The public id of a line: unique without a sequence, since an order has at most [`LINES_MAX`] lines.
#[must_use]
pub const fn line_id(order: OrderId, line_no: i16) -> i64 {
    order.0 * LINES_MAX as i64 + line_no as i64
}
