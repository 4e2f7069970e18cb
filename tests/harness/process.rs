//! The program as a process of its own, which can be killed.

use std::path::PathBuf;
use std::process::Stdio;

use emporium::loadtest::client::{Client, Target};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::users::PASSWORD;
use super::{Folder, TestApp, TestDatabase, variables_with};

/// `emporium serve` on the test's database; killed with the value.
pub(crate) struct Process {
    /// Where it listens.
    pub target: Target,
    child: Child,
    /// Kept, so that what the program goes on to say has somewhere to go.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl TestApp {
    /// Starts the program on the same database, with some settings of its own, and waits until it is open.
    pub(crate) async fn process_with(&self, own: &[(&str, &str)]) -> Process {
        let mut variables = self.variables.clone();
        variables.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Process::start(&variables).await
    }

    /// Starts the program where it may open only so many files; gives what it logs, too.
    pub(crate) async fn process_with_open_files(&self, most: u32) -> (Process, PathBuf) {
        let log = self.folder.path().join("serve.log");
        let mut limited = Command::new("prlimit");
        limited.args([&format!("--nofile={most}:{most}"), env!("CARGO_BIN_EXE_emporium"), "serve"]);
        let mut limited = dressed(limited, &self.variables);
        limited.env("RUST_LOG", "warn").stderr(std::fs::File::create(&log).expect("a log file"));
        (Process::run(limited).await, log)
    }
}

impl Process {
    /// Starts the program on a database on which no node has to run, and waits until it is open.
    pub(crate) async fn on(database: &TestDatabase, folder: &Folder, own: &[(&str, &str)]) -> Self {
        Self::start(&variables_with(database, folder, own)).await
    }

    async fn start(variables: &[(String, String)]) -> Self {
        Self::run(program("serve", variables)).await
    }

    async fn run(mut program: Command) -> Self {
        let mut child = program.stdout(Stdio::piped()).spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines();
        let target = loop {
            let line = lines.next_line().await.expect("its output").expect("the program opens");
            if let Some(address) = line.strip_prefix("Emporium is open at ") {
                break address.parse().expect("its address");
            }
        };
        Self { target, child, _stdout: lines }
    }

    /// A client to keep.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.target.clone())
    }

    /// The most memory that it has had resident so far.
    pub(crate) fn peak_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id().expect("a running program"));
        let status = std::fs::read_to_string(path).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Asks it to end in order (SIGTERM), and waits until it has.
    pub(crate) async fn stop(&mut self) {
        let pid = self.child.id().expect("a running program").to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs");
        assert!(asked.success());
        self.child.wait().await.expect("the program ends");
    }

    /// Ends it at once, without a chance to tidy up (SIGKILL), and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("the program is killed");
    }
}

/// Makes a staff account `boss` with the program.
pub(crate) async fn create_admin(database: &TestDatabase, folder: &Folder) {
    let variables = variables_with(database, folder, &[("ADMIN_PASSWORD", PASSWORD)]);
    let mut program = program("create-admin", &variables);
    program.args(["--username", "boss", "--email", "boss@example.com"]);
    assert!(program.output().await.expect("the program runs").status.success());
}

/// A command of the program with these variables and no others.
pub(crate) fn program(command: &str, variables: &[(String, String)]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_emporium"));
    program.arg(command);
    dressed(program, variables)
}

/// The same command with these variables and no others.
fn dressed(mut program: Command, variables: &[(String, String)]) -> Command {
    program
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RUST_LOG", "error")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    program
}

/// A Python on which these statements succeed.
pub(crate) fn python(statements: &str) -> &'static str {
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| {
            let mut check = std::process::Command::new(python);
            check.args(["-c", statements]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        })
        .unwrap_or_else(|| {
            panic!("no Python for {statements:?}; scripts/install-missing.sh knows what is missing")
        })
}

/// A port that nobody listens on, below those that the system picks for outgoing connections, so
/// that it can be listened on again and again.
pub(crate) fn steady_port() -> u16 {
    (0..1000)
        .map(|_| rand::random_range(20_000..32_000))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
