//! A Redis of one's own, which can be stopped, killed and spoilt.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use deadpool_redis::redis::{self, Client, Commands, Connection};

use super::{Folder, eventually};

/// A Redis on a socket in a folder of its own; gone with the value.
pub(crate) struct OwnRedis {
    folder: Folder,
    server: Child,
}

impl OwnRedis {
    /// One that answers.
    pub(crate) async fn start() -> Self {
        let folder = Folder::new();
        let server = serve(&folder);
        let redis = Self { folder, server };
        redis.answers().await;
        redis
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}/redis.sock", self.folder.path().display())
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Connection {
        self.try_connect().expect("the Redis of this test")
    }

    /// Makes it answer nobody, and yet stay (SIGSTOP).
    pub(crate) fn stop(&self) {
        self.signal("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// Ends it, and what it held (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.server.kill().expect("it is killed");
        self.server.wait().expect("it is gone");
    }

    /// Starts it again, empty.
    pub(crate) async fn start_again(&mut self) {
        self.server = serve(&self.folder);
        self.answers().await;
    }

    /// The names of what the shop keeps in it.
    pub(crate) fn names(&self) -> Vec<String> {
        self.connect().keys("emporium:*:catalog:*").expect("its keys")
    }

    async fn answers(&self) {
        eventually(Duration::from_secs(10), "Redis answers", async || self.try_connect().ok()).await;
    }

    fn try_connect(&self) -> redis::RedisResult<Connection> {
        Client::open(self.url())?.get_connection_with_timeout(Duration::from_secs(2))
    }

    fn signal(&self, name: &str) {
        let id = self.server.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("kill runs").success(), "{name}");
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn serve(folder: &Folder) -> Child {
    let socket = folder.path().join("redis.sock").display().to_string();
    std::fs::remove_file(&socket).ok();
    Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", &socket, "--unixsocketperm", "700"])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts")
}
