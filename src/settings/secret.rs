//! The secret that signs tokens: given, or made once and kept.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rand::distr::{Alphanumeric, SampleString};

use super::SettingsError;

const BYTES_MIN: usize = 32;
const BYTES_MAX: usize = 1024;

/// A given secret, if it is long enough to sign with.
pub(super) fn checked(secret: &str) -> Result<String, SettingsError> {
    match secret.len() {
        BYTES_MIN..=BYTES_MAX => Ok(secret.to_owned()),
        bytes => Err(SettingsError::ShortSecret { bytes }),
    }
}

/// A new secret of about 380 bits.
pub(super) fn fresh() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 64)
}

/// The secret kept in `data`, made if there is none; readable by its owner alone.
///
/// The file appears complete or not at all (written aside, then linked), and of several programs
/// that make one at the same time, one wins and the others read its secret.
pub(super) fn kept_in(data: &Path) -> Result<String, SettingsError> {
    let path = data.join("jwt_secret");
    let fail = |reason: String| SettingsError::KeptSecret { path: path.clone(), reason };
    fs::create_dir_all(data).map_err(|error| fail(error.to_string()))?;
    if let Err(error) = fs::symlink_metadata(&path) {
        if error.kind() != ErrorKind::NotFound {
            return Err(fail(error.to_string()));
        }
        write_aside_and_link(data, &path).map_err(|error| fail(error.to_string()))?;
    }
    let secret = fs::read_to_string(&path).map_err(|error| fail(error.to_string()))?;
    let secret = secret.trim();
    checked(secret)
        .map_err(|_| fail("it does not hold 32 to 1024 bytes; delete it and a new one is made".to_owned()))
}

fn write_aside_and_link(data: &Path, path: &Path) -> std::io::Result<()> {
    let aside = data.join(format!(".jwt_secret-{}", Alphanumeric.sample_string(&mut rand::rng(), 12)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(fresh().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
