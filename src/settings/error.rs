//! What can be wrong with settings, said to whoever runs the program.

use std::path::PathBuf;

/// What is wrong with the settings. The text names the key or the variable, and never a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `EMPORIUM_ENV` holds something that is not the name of a file.
    #[error("EMPORIUM_ENV is {0:?}; it must be letters, digits, `-` or `_`, such as `production`")]
    EnvironmentName(String),
    /// There is no settings file of the chosen name.
    #[error(
        "EMPORIUM_ENV is {name:?}, but there is no config/{name}.toml here and the program has none of that name"
    )]
    NoSuchEnvironment {
        /// What `EMPORIUM_ENV` says.
        name: String,
    },
    /// A settings file cannot be read or is not TOML.
    #[error("cannot read the settings in {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that does not exist, in a file or a variable.
    #[error("{place} is not a setting; config/default.toml lists them all")]
    Unknown {
        /// The key with its file, or the variable.
        place: String,
    },
    /// A value of the wrong kind.
    #[error("a setting has a wrong value: {0}")]
    Kind(String),
    /// A value outside its bounds.
    #[error("{key} is {value}, but must be {bounds}")]
    Bounds {
        /// The key, with its section.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        bounds: String,
    },
    /// Some of a group of variables are set, others not.
    #[error(
        "{set} is set, but {missing} is not; set DATABASE_URL, or all of RDS_HOSTNAME, RDS_PORT, RDS_DB_NAME, RDS_USERNAME and RDS_PASSWORD"
    )]
    Incomplete {
        /// One that is set.
        set: &'static str,
        /// One that is not.
        missing: &'static str,
    },
    /// The secret could be guessed.
    #[error(
        "JWT_SECRET is {bytes} bytes long, but must be 32 to 1024; make one with `openssl rand -base64 48`"
    )]
    ShortSecret {
        /// Its length.
        bytes: usize,
    },
    /// Several nodes would sign with different secrets.
    #[error(
        "DATABASE_URL is set, but JWT_SECRET is not, and all nodes of a shop must share one; make one with `openssl rand -base64 48`"
    )]
    NoSecret,
    /// The kept secret cannot be read, written or used.
    #[error("cannot keep the token secret in {}: {reason}", .path.display())]
    KeptSecret {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}
