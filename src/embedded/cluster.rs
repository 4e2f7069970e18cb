//! Making, starting and stopping the cluster. Callers take turns; see the module above.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use super::EmbeddedError;
use super::folder::{self, CLUSTER, Home};
use super::programs::Programs;
use crate::settings::quoted;

const SETTINGS: &str = include_str!("../../config/embedded-postgres.conf");
const SETTINGS_FILE: &str = "emporium.conf";
/// What the server keeps of its tables, in MiB, at least and at most; a large catalogue does not fit the
/// former.
const BUFFERS_MIB: (u64, u64) = (128, 512);
/// Superuser and database; the socket's folder is the only key to them.
const NAME: &str = "emporium";
const PORT: &str = "5432";
/// A new file of the log is filled with zeros before its first use, which holds all commits up; 16 MB, as usual, for
/// some 20 ms, once a second in a rush, until there are old files to use again. Not to fill them would make each
/// commit wait for the file system to find room: a tenth fewer orders from 16 clients.
const WAL_SEGMENT: &str = "--wal-segsize=4";
/// Recovery after a crash reads up to `max_wal_size` and more.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT_S: &str = "60";
/// How long the processes of a killed server may take to notice.
const REMAINS_TIMEOUT: Duration = Duration::from_secs(15);
const LOG_BYTES_MAX: u64 = 8 << 20;
const LOG_TAIL_BYTES: usize = 1500;

/// The cluster of one data folder.
#[derive(Debug)]
pub(super) struct Cluster {
    home: Home,
    programs: Programs,
    socket_folder: PathBuf,
}

/// What `pg_isready` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    /// Starting, recovering or stopping.
    Busy,
    Silent,
}

impl Cluster {
    pub(super) fn below(data: &Path) -> Result<Self, EmbeddedError> {
        // What is missing is said before anything is made.
        Programs::find(None)?;
        let home = folder::find_or_make(data)?;
        let version = version_of(&home.path.join(CLUSTER));
        let programs = Programs::find(version.map(|version| (home.path.as_path(), version)))?;
        let socket_folder = folder::socket_folder(&home)?;
        Ok(Self { home, programs, socket_folder })
    }

    pub(super) fn home(&self) -> &Path {
        &self.home.path
    }

    pub(super) fn url(&self) -> String {
        let host = quoted(&self.socket_folder.display().to_string());
        format!("host={host} port={PORT} user={NAME} dbname={NAME}")
    }

    /// Whether somebody listens; says nothing about more.
    pub(super) fn takes_connections(&self) -> bool {
        UnixStream::connect(self.socket_folder.join(format!(".s.PGSQL.{PORT}"))).is_ok()
    }

    /// Makes the cluster if there is none and starts it if it does not run.
    pub(super) fn ensure_running(&self) -> Result<(), EmbeddedError> {
        if !self.home().join(CLUSTER).is_dir() {
            self.make()?;
        }
        if self.settle()? != Readiness::Ready {
            self.start()?;
        }
        self.make_database()
    }

    /// Ends connections and stops the server, its data written out.
    pub(super) fn stop(&self) -> Result<(), EmbeddedError> {
        if self.readiness()? == Readiness::Silent && self.server_pid().is_none() {
            return Ok(());
        }
        let args = ["stop", "-D", CLUSTER, "-m", "fast", "-w", "-t", STOP_TIMEOUT_S, "-s"];
        let output = self.run("pg_ctl", &args)?;
        succeed("stopping Postgres", &output)?;
        tracing::info!("the private Postgres has stopped");
        Ok(())
    }

    /// `initdb` into a folder aside, so that an interrupted one leaves no half-made cluster.
    fn make(&self) -> Result<(), EmbeddedError> {
        const ASIDE: &str = "cluster.new";
        let aside = self.home().join(ASIDE);
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(|error| EmbeddedError::folder(&aside, &error))?;
        }
        tracing::info!(home = %self.home().display(), "making a private Postgres cluster");
        let args = [
            "-D",
            ASIDE,
            "-U",
            NAME,
            "--data-checksums",
            WAL_SEGMENT,
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=reject",
        ];
        succeed("initdb", &self.run("initdb", &args)?)?;
        let config = aside.join("postgresql.conf");
        let fail = |error: std::io::Error| EmbeddedError::folder(&config, &error);
        let mut file = fs::OpenOptions::new().append(true).open(&config).map_err(fail)?;
        writeln!(file, "\ninclude '{SETTINGS_FILE}'").and_then(|()| file.sync_all()).map_err(fail)?;
        let done = self.home().join(CLUSTER);
        fs::rename(&aside, &done).map_err(|error| EmbeddedError::folder(&done, &error))
    }

    fn start(&self) -> Result<(), EmbeddedError> {
        self.write_settings()?;
        self.remove_stale_locks();
        self.rotate_log();
        let begun = Instant::now();
        let timeout = START_TIMEOUT.as_secs().to_string();
        loop {
            let logged = self.log_length();
            let args = ["start", "-D", CLUSTER, "-l", "log", "-w", "-t", &timeout, "-s"];
            let output = self.run("pg_ctl", &args)?;
            if output.status.success() {
                tracing::info!(home = %self.home().display(), "the private Postgres runs");
                return Ok(());
            }
            let log = self.log_since(logged);
            // The processes of a killed server are still on their way out.
            let remains = log.contains("still in use");
            if !remains || begun.elapsed() > REMAINS_TIMEOUT {
                let said = said(&output);
                return Err(EmbeddedError::Failed {
                    doing: "starting Postgres",
                    output: format!("{said}\n{log}"),
                });
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Waits while the server is on its way up or down.
    fn settle(&self) -> Result<Readiness, EmbeddedError> {
        let begun = Instant::now();
        loop {
            let readiness = self.readiness()?;
            let on_its_way = match readiness {
                Readiness::Ready => false,
                Readiness::Busy => true,
                // Between its start and its socket, and between its last answer and its end.
                Readiness::Silent => self.server_pid().is_some(),
            };
            if !on_its_way || begun.elapsed() > START_TIMEOUT {
                return Ok(readiness);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn readiness(&self) -> Result<Readiness, EmbeddedError> {
        let host = self.socket_folder.display().to_string();
        let args = ["-h", &host, "-p", PORT, "-U", NAME, "-d", "postgres", "-t", "3", "-q"];
        Ok(match self.run("pg_isready", &args)?.status.code() {
            Some(0) => Readiness::Ready,
            Some(1) => Readiness::Busy,
            _ => Readiness::Silent,
        })
    }

    /// The database, once per cluster.
    fn make_database(&self) -> Result<(), EmbeddedError> {
        let marker = self.home().join("database-made");
        if marker.exists() {
            return Ok(());
        }
        let host = self.socket_folder.display().to_string();
        let output = self.run("createdb", &["-h", &host, "-p", PORT, "-U", NAME, NAME])?;
        if !said(&output).contains("already exists") {
            succeed("createdb", &output)?;
        }
        fs::write(&marker, "").map_err(|error| EmbeddedError::folder(&marker, &error))
    }

    fn write_settings(&self) -> Result<(), EmbeddedError> {
        let path = self.home().join(CLUSTER).join(SETTINGS_FILE);
        let folder = self.socket_folder.display().to_string();
        // A list of quoted names within a quoted string; either quote is doubled.
        let folder = folder.replace('"', "\"\"").replace('\\', "\\\\").replace('\'', "''");
        let text = format!(
            "{SETTINGS}\nshared_buffers = {}MB\n\
             unix_socket_directories = '\"{folder}\"'\nunix_socket_permissions = 0700\n",
            buffers_mib(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        );
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            match self.home.account.is_other {
                true => chown(&path, Some(self.home.account.uid), Some(self.home.account.gid)),
                false => Ok(()),
            }
        };
        write().map_err(|error| EmbeddedError::folder(&path, &error))
    }

    /// The running server of this very cluster, if there is one.
    fn server_pid(&self) -> Option<u32> {
        noted_pid(&self.pid_file()).filter(|pid| self.is_server(*pid))
    }

    /// Postgres works in its data folder, so a process's working folder tells whether it is ours.
    /// That of a process which has ended, but whose parent has not yet noticed, is none.
    fn is_server(&self, pid: u32) -> bool {
        let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok();
        folder.is_some() && folder == self.home().join(CLUSTER).canonicalize().ok()
    }

    fn pid_file(&self) -> PathBuf {
        self.home().join(CLUSTER).join("postmaster.pid")
    }

    /// The number of a killed server may belong to anybody by now, and Postgres would refuse to
    /// start because of them. A number that belongs to nobody it copes with itself, and better,
    /// since the file also tells it of processes that the server has left behind.
    fn remove_stale_locks(&self) {
        if self.pid_file().exists() {
            tracing::warn!("the private Postgres was killed the last time; it recovers now");
        }
        for file in [self.pid_file(), self.socket_folder.join(format!(".s.PGSQL.{PORT}.lock"))] {
            let Some(pid) = noted_pid(&file) else { continue };
            if Path::new(&format!("/proc/{pid}")).exists() && !self.is_server(pid) {
                fs::remove_file(&file).ok();
            }
        }
    }

    fn log_path(&self) -> PathBuf {
        self.home().join("log")
    }

    fn rotate_log(&self) {
        if self.log_length() > LOG_BYTES_MAX {
            fs::rename(self.log_path(), self.home().join("log.old")).ok();
        }
    }

    fn log_length(&self) -> u64 {
        fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len())
    }

    /// The end of what was logged after the first `length` bytes.
    fn log_since(&self, length: u64) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let new = usize::try_from(length).ok().and_then(|length| log.get(length..)).unwrap_or(&log);
        let tail = &new[new.len().saturating_sub(LOG_TAIL_BYTES)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    /// Runs a Postgres program as the cluster's account, in its folder: paths given to it are
    /// relative, since `pg_ctl` hands them to a shell.
    fn run(&self, program: &str, args: &[&str]) -> Result<Output, EmbeddedError> {
        let path = self.programs.path(program);
        let mut command = self.home.account.command(&path);
        command.args(args).current_dir(self.home()).output().map_err(|error| EmbeddedError::Program {
            program: path.display().to_string(),
            reason: error.to_string(),
        })
    }
}

/// The process in the first line of a lock file of Postgres.
fn noted_pid(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

/// The version that made a cluster; `None` where there is none.
fn version_of(cluster: &Path) -> Option<u32> {
    let text = fs::read_to_string(cluster.join("PG_VERSION")).ok()?;
    text.trim().split('.').next()?.parse().ok()
}

fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    let error = error.trim();
    if error.is_empty() {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    } else {
        error.to_owned()
    }
}

fn succeed(doing: &'static str, output: &Output) -> Result<(), EmbeddedError> {
    if output.status.success() {
        return Ok(());
    }
    Err(EmbeddedError::Failed { doing, output: said(output) })
}
/// An eighth of the machine's memory, within bounds; everything else is the page cache's.
fn buffers_mib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|text| text.trim().trim_end_matches("kB").trim_end().parse::<u64>().ok());
    (kib.unwrap_or(0) / 1024 / 8).clamp(BUFFERS_MIB.0, BUFFERS_MIB.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_an_eighth_of_the_memory_within_bounds() {
        assert_eq!(buffers_mib("MemTotal:        2097152 kB\nMemFree: 1 kB\n"), 256);
        assert_eq!(buffers_mib("MemTotal:       24684084 kB\n"), 512);
        assert_eq!(buffers_mib(""), 128);
    }
}
