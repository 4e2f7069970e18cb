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
mod browser;
mod cache;
mod cart;
mod catalog;
mod checkout;
mod commands;
mod crashes;
mod dashboard;
mod examples;
mod expiry;
mod feeds;
mod feeds_under_load;
mod harness;
mod import;
mod limits;
mod loadtest;
mod mail;
mod migrations;
mod model;
mod operations;
mod orders;
mod origins;
mod pages;
mod plans;
mod redis;
mod schema;
mod search;
mod statements;
mod suggest;
