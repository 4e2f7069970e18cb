//! The private Postgres of a shop that was given no `DATABASE_URL`.
//!
//! Uses the Postgres programs of the system on a cluster of its own, reachable only through a socket
//! in a folder that no other account can enter. Promises:
//!
//! * as safe as any Postgres: checksums on, fsync on;
//! * any number of programs may start at once: one makes or starts the cluster, the others join it;
//! * the last one out stops it. Who uses it is known by a shared lock, which the kernel gives back
//!   however a program ends, so a program that was killed leaves nothing to clean up: the next one
//!   joins the running cluster, or recovers a dead one, and stops it when it ends.

mod account;
mod cluster;
mod error;
mod folder;
mod programs;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::EmbeddedError;

use cluster::Cluster;

/// How long another program may take to make, start or stop the cluster before this one gives up.
const TURN_TIMEOUT: Duration = Duration::from_secs(180);

/// A running cluster, in use by this program until [`Embedded::stop`] or the end of the process.
#[derive(Debug)]
pub struct Embedded {
    cluster: Arc<Cluster>,
    /// Held shared for as long as this program uses the cluster.
    users: File,
}

impl Embedded {
    /// Joins the cluster below `data`; makes and starts it where that has not been done.
    ///
    /// # Errors
    /// See [`EmbeddedError`].
    pub async fn start(data: &Path) -> Result<Self, EmbeddedError> {
        let data = data.to_owned();
        off_the_runtime(move || {
            let cluster = Cluster::below(&data)?;
            let turn = take_turn(cluster.home())?;
            let users = open_lock(&cluster.home().join("users.lock"))?;
            users.lock_shared().map_err(|error| EmbeddedError::folder(cluster.home(), &error))?;
            cluster.ensure_running()?;
            drop(turn);
            Ok(Self { cluster: Arc::new(cluster), users })
        })
        .await
    }

    /// Where the cluster is, as a key-value string.
    #[must_use]
    pub fn url(&self) -> String {
        self.cluster.url()
    }

    /// Where its files are.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.cluster.home().to_owned()
    }

    /// Starts the cluster again if it has been killed; cheap while it answers.
    ///
    /// # Errors
    /// See [`EmbeddedError`].
    pub async fn revive(&self) -> Result<(), EmbeddedError> {
        let cluster = self.cluster.clone();
        off_the_runtime(move || {
            if cluster.takes_connections() {
                return Ok(());
            }
            let _turn = take_turn(cluster.home())?;
            cluster.ensure_running()
        })
        .await
    }

    /// Stops using the cluster; stops the cluster itself when nobody else uses it.
    ///
    /// # Errors
    /// When it does not stop; its data is safe all the same.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        off_the_runtime(move || {
            let _turn = take_turn(self.cluster.home())?;
            // Whoever wants to join waits for our turn to end, so nobody can come in between.
            match self.users.try_lock() {
                Ok(()) => self.cluster.stop(),
                Err(_) => Ok(()),
            }
        })
        .await
    }
}

/// Waits until no other program makes, starts or stops the cluster. The turn ends with the file.
fn take_turn(home: &Path) -> Result<File, EmbeddedError> {
    let path = home.join("turn.lock");
    let file = open_lock(&path)?;
    let start = Instant::now();
    while let Err(error) = file.try_lock() {
        match error {
            std::fs::TryLockError::WouldBlock if start.elapsed() < TURN_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(50));
            }
            std::fs::TryLockError::WouldBlock => return Err(EmbeddedError::Busy { home: home.to_owned() }),
            std::fs::TryLockError::Error(error) => return Err(EmbeddedError::folder(&path, &error)),
        }
    }
    Ok(file)
}

fn open_lock(path: &Path) -> Result<File, EmbeddedError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    options.open(path).map_err(|error| EmbeddedError::folder(path, &error))
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(EmbeddedError::Interrupted(stopped.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_one_out_stops_it_and_a_killed_one_recovers() {
        let data = std::env::temp_dir().join(format!("emporium-embedded-{}", std::process::id()));
        let (one, other) = tokio::join!(Embedded::start(&data), Embedded::start(&data));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.url(), other.url());
        let cluster = one.cluster.clone();

        one.stop().await.unwrap();
        assert!(cluster.takes_connections(), "stopped under somebody who uses it");

        let pid_file = other.home().join("cluster/postmaster.pid");
        let pid = std::fs::read_to_string(&pid_file).unwrap().lines().next().unwrap().to_owned();
        let killed = std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        assert!(killed.success());
        while cluster.takes_connections() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        other.revive().await.unwrap();
        assert!(cluster.takes_connections(), "not recovered");

        let home = other.home();
        other.stop().await.unwrap();
        assert!(!cluster.takes_connections(), "still running");
        std::fs::remove_dir_all(home).unwrap();
        std::fs::remove_dir_all(data).ok();
    }
}
