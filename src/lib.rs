//! The edge of the shop: HTTP, WebSocket and the command line. No SQL here, and no database driver.

pub mod application;
pub mod cli;
mod connection;
pub mod embedded;
pub mod http;
pub mod loadtest;
mod product_file;
pub mod settings;
pub mod ws;
