//! Whom Postgres runs as: us, or another account where we are root, which Postgres refuses.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::EmbeddedError;

/// An account that Postgres can run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether that is somebody else, so that programs must be started and folders made for them.
    pub(super) is_other: bool,
}

impl Account {
    /// The account for a new cluster.
    pub(super) fn for_a_new_cluster() -> Result<Self, EmbeddedError> {
        let own = own_ids()?;
        if own.0 != 0 {
            return Ok(Self { uid: own.0, gid: own.1, is_other: false });
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = ["postgres", "nobody"]
            .iter()
            .find_map(|name| ids_of(name, &passwd))
            .filter(|(uid, _)| *uid != 0)
            .ok_or(EmbeddedError::NoAccount)?;
        Ok(Self { uid, gid, is_other: true })
    }

    /// The account that owns what is already there.
    pub(super) fn owning(path: &std::path::Path) -> Result<Self, EmbeddedError> {
        let metadata = std::fs::metadata(path).map_err(|error| EmbeddedError::folder(path, &error))?;
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let own = own_ids()?.0;
        if own != 0 && own != uid {
            return Err(EmbeddedError::NotOurs { path: path.to_owned(), owner: uid });
        }
        if uid == 0 {
            return Err(EmbeddedError::NotOurs { path: path.to_owned(), owner: 0 });
        }
        Ok(Self { uid, gid, is_other: own != uid })
    }

    /// A command that runs as this account, without our variables: `PGPORT` and its kin would point
    /// it at another cluster.
    pub(super) fn command(self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC").stdin(std::process::Stdio::null());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if self.is_other {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}

/// User and group of this process.
fn own_ids() -> Result<(u32, u32), EmbeddedError> {
    if let Ok(metadata) = std::fs::metadata("/proc/self") {
        return Ok((metadata.uid(), metadata.gid()));
    }
    Ok((id("-u")?, id("-g")?))
}

fn id(which: &str) -> Result<u32, EmbeddedError> {
    let fail = |reason: String| EmbeddedError::Program { program: "id".to_owned(), reason };
    let output = Command::new("id").arg(which).output().map_err(|error| fail(error.to_string()))?;
    String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| fail("it gives no number".to_owned()))
}

/// User and group of a name, by the text of `/etc/passwd`.
fn ids_of(name: &str, passwd: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::ids_of;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:9:9::/:\npostgres:x:108:113:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(ids_of("postgres", passwd), Some((108, 113)));
        assert_eq!(ids_of("nobody", passwd), None);
    }
}
