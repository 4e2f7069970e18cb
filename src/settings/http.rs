//! What can be set about the edge.

use std::time::Duration;

/// What can be set about the edge; `[http]` in `config/default.toml`, which also says the bounds.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Address or name to listen on.
    pub host: String,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Threads that serve requests, at least 1.
    pub workers: usize,
    /// Connections open at once, over all workers.
    pub connections_max: usize,
    /// Connections waiting to be accepted.
    pub backlog: u32,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long a client may take to send the head of a request.
    pub request_head_timeout: Duration,
    /// How long requests under way may take to finish at the end.
    pub shutdown_timeout: Duration,
    /// How long the shop reports "not ready" before it stops accepting.
    pub shutdown_delay: Duration,
    /// Longest body of an ordinary request, in bytes.
    pub body_bytes_max: usize,
    /// Longest file of products that is imported, in bytes, unpacked.
    pub import_bytes_max: u64,
    /// Browsers' origins whose pages may open a WebSocket and read answers, besides the shop's own; `*`
    /// allows all.
    pub allowed_origins: Vec<String>,
    /// How many right-most entries of `X-Forwarded-For` come from proxies of ours.
    pub trusted_proxy_hops: usize,
}
