//! Where the cluster lives: below the data folder, or elsewhere if its account cannot get there.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::EmbeddedError;
use super::account::Account;

/// A socket's whole path must stay under 108 bytes, or 104 on some systems; this is for its folder.
const SOCKET_FOLDER_BYTES_MAX: usize = 85;
/// What the folder of the cluster itself is called.
pub(super) const CLUSTER: &str = "cluster";

/// The cluster's folder and whom it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) path: PathBuf,
    pub(super) account: Account,
}

/// The home of the cluster that belongs to the data folder `data`; made if there is none.
pub(super) fn find_or_make(data: &Path) -> Result<Home, EmbeddedError> {
    make_parents(data)?;
    let data = data.canonicalize().map_err(|error| EmbeddedError::folder(data, &error))?;
    let wanted = data.join("postgres");
    let elsewhere = [PathBuf::from("/var/lib/emporium"), std::env::temp_dir().join("emporium")];
    let elsewhere =
        elsewhere.map(|parent| PathBuf::from(format!("{}-{}", parent.display(), short_hash(&data))));

    for path in std::iter::once(&wanted).chain(&elsewhere) {
        if path.join(CLUSTER).is_dir() {
            let account = Account::owning(&path.join(CLUSTER))?;
            return Ok(Home { path: path.clone(), account });
        }
    }
    let account = Account::for_a_new_cluster()?;
    let unreachable = match make_for(account, &wanted) {
        Ok(()) => return Ok(Home { path: wanted, account }),
        Err(error) if !account.is_other => return Err(EmbeddedError::folder(&wanted, &error)),
        Err(error) => error,
    };
    // Only our own empty folder goes; anything else in it keeps it.
    fs::remove_dir(&wanted).ok();
    for path in elsewhere {
        if make_for(account, &path).is_ok() {
            tracing::info!(
                wanted = %wanted.display(), used = %path.display(), reason = %unreachable,
                "the account that runs Postgres cannot use the data folder; its files are elsewhere"
            );
            return Ok(Home { path, account });
        }
    }
    Err(EmbeddedError::folder(&wanted, &unreachable))
}

/// The folder for the socket, in `home` unless its path would be too long.
pub(super) fn socket_folder(home: &Home) -> Result<PathBuf, EmbeddedError> {
    let within = home.path.join("run");
    let path = if within.as_os_str().len() <= SOCKET_FOLDER_BYTES_MAX {
        within
    } else {
        std::env::temp_dir().join(format!("emporium-{}", short_hash(&home.path)))
    };
    make_for(home.account, &path).map_err(|error| EmbeddedError::folder(&path, &error))?;
    Ok(path)
}

fn make_parents(data: &Path) -> Result<(), EmbeddedError> {
    fs::create_dir_all(data).map_err(|error| EmbeddedError::folder(data, &error))
}

/// Makes a folder that only `account` (and root) can enter, and makes sure that it can.
fn make_for(account: Account, path: &Path) -> std::io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) if account.is_other => chown(path, Some(account.uid), Some(account.gid))?,
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => adopt(account, path)?,
        Err(error) => return Err(error),
    }
    if account.is_other {
        let probe = "test -w \"$0\" && test -x \"$0\"";
        let mut command = account.command(Path::new("/bin/sh"));
        if !command.args(["-c", probe]).arg(path).current_dir("/").status()?.success() {
            return Err(std::io::Error::other(
                "a folder above it is closed to the account that runs Postgres",
            ));
        }
    }
    Ok(())
}

/// A folder that is already there must be a real one and nobody else's: in a shared temporary folder
/// anybody may have put it there.
fn adopt(account: Account, path: &Path) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(std::io::Error::other("it is not a folder"));
    }
    // One that root has made and not yet given away is ours too: that is another start, just now.
    let ours = metadata.uid() == account.uid || (account.is_other && metadata.uid() == 0);
    if !ours {
        return Err(std::io::Error::other(format!("it belongs to user {}", metadata.uid())));
    }
    if account.is_other {
        chown(path, Some(account.uid), Some(account.gid))?;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
