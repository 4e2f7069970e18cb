//! Where a run took place.

use serde::Serialize;

/// The machine that ran the load, which is also the shop's where both share it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: Option<String>,
    memory: Option<String>,
    system: String,
    emporium: &'static str,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        let fact = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?.split_once(':')?.1;
            Some(line.trim().to_owned())
        };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: fact("/proc/cpuinfo", "model name"),
            memory: fact("/proc/meminfo", "MemTotal"),
            system: format!("{} {} {}", std::env::consts::OS, std::env::consts::ARCH, kernel.trim()),
            emporium: env!("CARGO_PKG_VERSION"),
        }
    }

    /// In words.
    pub(crate) fn in_words(&self) -> String {
        let cpu = self.cpu.as_ref().map(|cpu| format!(" ({cpu})")).unwrap_or_default();
        let memory = self.memory.as_ref().map(|memory| format!(", {memory}")).unwrap_or_default();
        format!("{} cores{cpu}{memory}, {}, emporium {}", self.cores, self.system, self.emporium)
    }
}
