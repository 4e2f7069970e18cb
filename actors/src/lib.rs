//! The shop itself: domain types, the actors, their messages, and every SQL call. No HTTP.
//!
//! Asks go one way: edge → cart → orders → inventory. What goes back is an answer, after COMMIT, or
//! an event, read from the log. Postgres is the truth: any number of processes may run this crate on
//! one database.
//!
//! Each area is a folder of one shape: `mod.rs` (what it is for, what it promises), `messages.rs`
//! (what it can be asked), `actor.rs` where it has one, `store.rs` (the only file that runs its SQL),
//! `error.rs` (how it refuses).

pub mod accounts;
pub mod audit;
pub mod cart;
pub mod catalog;
pub mod db;
pub mod feed;
pub mod idempotency;
pub mod import;
pub mod inventory;
pub mod limits;
pub mod mailer;
pub mod nodes;
pub mod orders;
mod redis;
mod shop;
mod statements;
pub mod types;

pub use shop::{Shop, ShopSettings, StartError};
pub use statements::all_statements;
