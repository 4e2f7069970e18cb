//! Why there is no private Postgres, and what to do about it.

use std::path::{Path, PathBuf};

/// Why the private Postgres could not be had. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No Postgres programs anywhere.
    #[error(
        "PostgreSQL is not installed: no initdb, pg_ctl, postgres, pg_isready and createdb in one of {searched}\n\
         Install it (Debian, Ubuntu: `apt-get install postgresql`), or set DATABASE_URL to a Postgres that runs elsewhere"
    )]
    NotInstalled {
        /// Where was looked.
        searched: String,
    },
    /// Only versions that are too old.
    #[error(
        "PostgreSQL {found} is too old; the shop needs {least} or newer (`apt-get install postgresql`), or set DATABASE_URL"
    )]
    TooOld {
        /// The newest found.
        found: u32,
        /// The oldest that will do.
        least: u32,
    },
    /// The cluster's own version is gone.
    #[error(
        "the cluster in {} was made by PostgreSQL {wanted}, which is not installed (found: {found})\n\
         Install that version again (`apt-get install postgresql-{wanted}`), or move the folder away to begin anew", .home.display()
    )]
    OtherVersion {
        /// Its folder.
        home: PathBuf,
        /// Its version.
        wanted: u32,
        /// What there is.
        found: String,
    },
    /// Running as root, and nobody to run Postgres as.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has neither `postgres` nor `nobody`; run the shop as another user, or set DATABASE_URL"
    )]
    NoAccount,
    /// The folder is somebody else's.
    #[error("{} belongs to user {owner}; run the shop as that user or as root, or set EMPORIUM_DATA to a folder of your own", .path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A folder or file cannot be made or read.
    #[error("cannot use {}: {reason}; set EMPORIUM_DATA to a folder that can be written", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A Postgres program cannot be run.
    #[error("cannot run {program}: {reason}")]
    Program {
        /// Which.
        program: String,
        /// Why not.
        reason: String,
    },
    /// A Postgres program failed.
    #[error("{doing} failed: {output}")]
    Failed {
        /// What it was to do.
        doing: &'static str,
        /// What it said.
        output: String,
    },
    /// Another program has been making, starting or stopping the cluster for minutes.
    #[error("another program is still starting or stopping the Postgres in {}; try again when it is done", .home.display())]
    Busy {
        /// Its folder.
        home: PathBuf,
    },
    /// The program is ending.
    #[error("interrupted while starting or stopping Postgres: {0}")]
    Interrupted(String),
}

impl EmbeddedError {
    pub(super) fn folder(path: &Path, error: &std::io::Error) -> Self {
        Self::Folder { path: path.to_owned(), reason: error.to_string() }
    }
}
