//! Events: rows of the transaction that they report.

use crate::orders::{OrderEvent, OrderStatus};
use crate::types::{CategoryId, Money, OrderId, ProductId, Seq, SessionId, Timestamp, UserId};

/// What happened, as the transaction that made it happen writes it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A product's stock changed (also: a product appeared, or its price changed).
    Stock {
        /// The product.
        product: ProductId,
        /// Its stock after the commit.
        stock: i64,
        /// Its price after the commit.
        price: Money,
    },
    /// A product's catalogue row changed; or one or more were made, of which one is named. Not on the
    /// feeds; caches mind.
    Product {
        /// The product.
        product: ProductId,
    },
    /// A product left the catalogue.
    Removed {
        /// The product.
        product: ProductId,
    },
    /// A category was made, changed or removed. Not on the feeds; caches mind.
    Category {
        /// The category.
        category: CategoryId,
    },
    /// An order was placed or moved on.
    Order {
        /// The order.
        order: OrderId,
        /// Whose it is.
        user: UserId,
        /// What happened: `placed paid shipped delivered cancelled expired refunded`.
        event: OrderEvent,
        /// How it stands since.
        status: OrderStatus,
        /// What it costs.
        total: Money,
    },
    /// A session ended: its tokens and its sockets end with it.
    Session {
        /// The session.
        session: SessionId,
        /// Whose it was.
        user: UserId,
    },
    /// A user's rights changed.
    User {
        /// The user.
        user: UserId,
    },
}

impl EventKind {
    /// The product that the feeds of stock tell it of.
    pub(super) fn shelf(&self) -> Option<ProductId> {
        match self {
            Self::Stock { product, .. } | Self::Removed { product } => Some(*product),
            _ => None,
        }
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Grows in commit order across all nodes, without gaps.
    pub seq: Seq,
    /// The database's time of the transaction.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}
