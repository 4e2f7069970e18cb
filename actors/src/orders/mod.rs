//! Orders: what was bought, how it stands, and what happened to it.
//!
//! Promises: an order is placed by one transaction with its stock, its lines, the emptied cart, the
//! answer to its idempotency key and its event; it moves only along the contract's arrows, each move
//! at most once; nothing is answered before COMMIT; a customer never learns of another's order.

mod actor;
mod error;
mod messages;
mod order;
pub(crate) mod store;

pub(crate) use actor::OrderDesk;
pub use actor::{OrderActor, OrderSettings};
pub use error::{OrderError, Shortage};
pub use messages::{
    Caller, GetHistory, GetOrder, ListOrders, MoveOrder, OrderCursor, OrderLine, OrderSource, PlaceOrder,
};
pub use order::{HistoryEntry, LINES_MAX, Order, OrderEvent, OrderItem, OrderStatus, QUANTITY_MAX, line_id};
