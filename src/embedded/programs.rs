//! The Postgres programs of this system.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// The oldest version that the shop runs on.
const VERSION_MIN: u32 = 14;
const NEEDED: [&str; 5] = ["initdb", "pg_ctl", "postgres", "pg_isready", "createdb"];
/// Where distributions keep versions side by side: a parent, and the start of a version's folder.
const PARENTS: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

/// A folder with all the programs of one version.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    version: u32,
}

impl Programs {
    /// The newest installed; for a cluster that is already there, the version that made it.
    pub(super) fn find(cluster: Option<(&Path, u32)>) -> Result<Self, EmbeddedError> {
        let folders = folders();
        let mut found: Vec<Self> = folders.iter().filter_map(|folder| Self::in_folder(folder)).collect();
        found.sort_by_key(|programs| programs.version);
        let Some(newest) = found.last().cloned() else {
            let searched = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>();
            return Err(EmbeddedError::NotInstalled { searched: searched.join(", ") });
        };
        if let Some((home, wanted)) = cluster {
            let versions =
                found.iter().map(|programs| programs.version.to_string()).collect::<Vec<_>>().join(", ");
            return found
                .into_iter()
                .find(|programs| programs.version == wanted)
                .ok_or(EmbeddedError::OtherVersion { home: home.to_owned(), wanted, found: versions });
        }
        if newest.version < VERSION_MIN {
            return Err(EmbeddedError::TooOld { found: newest.version, least: VERSION_MIN });
        }
        Ok(newest)
    }

    /// One of the programs.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        if !NEEDED.iter().all(|program| folder.join(program).is_file()) {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let version = version_in(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder: folder.to_owned(), version })
    }
}

/// Every folder that may hold the programs, links resolved: a link in the `PATH` to one program is
/// followed to where the others are.
fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut add = |folder: PathBuf| {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    };
    for (parent, start) in PARENTS {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_version = name.to_str().and_then(|name| name.strip_prefix(start)).is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            });
            if is_version {
                add(entry.path().join("bin"));
            }
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        if let Ok(program) = folder.join("initdb").canonicalize() {
            program.parent().map(Path::to_owned).map(&mut add);
        }
    }
    if folders.is_empty() {
        folders.extend([PathBuf::from("/usr/lib/postgresql/*/bin"), PathBuf::from("the PATH")]);
    }
    folders
}

/// `postgres (PostgreSQL) 15.13 (Debian …)` → 15.
fn version_in(text: &str) -> Option<u32> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn versions_are_read_from_what_postgres_says() {
        assert_eq!(version_in("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some(15));
        assert_eq!(version_in("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(version_in(""), None);
    }
}
