//! The shop from outside: over real HTTP and WebSocket, on a real Postgres.
//!
//! Every test has a database of its own, and names what it claims. `TEST_DATABASE_URL` is a
//! connection to a Postgres on which databases may be created, `TEST_REDIS_URL` a Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on should stop, loudly"
)]

mod accounts;
mod audit;
mod bad_input;
mod cache;
mod cart;
mod catalog;
mod checkout;
mod commands;
mod crashes;
mod expiry;
mod feeds;
mod harness;
mod limits;
mod loadtest;
mod mail;
mod model;
mod operations;
mod orders;
mod statements;
