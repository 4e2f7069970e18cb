//! The edge of the shop: HTTP, WebSocket and the command line. No SQL here, and no database driver.

pub mod application;
pub mod cli;
pub mod embedded;
pub mod http;
pub mod loadtest;
pub mod settings;
pub mod ws;
