//! What can be set about the shop, and where the settings come from.
//!
//! Sources, the later winning: `config/default.toml` (compiled in, so that the binary runs alone),
//! `config/<EMPORIUM_ENV>.toml`, the environment. Secrets come from the environment only. Promises:
//! every key has a default; a key that does not exist, a value of the wrong kind or beyond its
//! bounds is an error that names the key; no error repeats a secret.

mod environment;
mod error;
mod file;
mod http;
mod secret;

use std::path::{Path, PathBuf};

use emporium_actors::ShopSettings;
use emporium_actors::db::DatabaseSettings;

pub use environment::Environment;
pub(crate) use environment::quoted;
pub use error::SettingsError;
pub use http::HttpSettings;

use file::File;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The edge.
    pub http: HttpSettings,
    /// Logging.
    pub log: LogSettings,
    /// Folder for what the shop keeps outside the database: its own Postgres, its secret, its mail.
    pub data: PathBuf,
    /// The database to use; without one, the shop keeps its own.
    pub database_url: Option<String>,
    database: DatabaseSettings,
    shop: ShopSettings,
    jwt_secret: Option<String>,
}

/// How the program logs, to standard error.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// A filter as `RUST_LOG` takes it.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Settings {
    /// Reads every source.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn load(environment: &Environment) -> Result<Self, SettingsError> {
        let file = File::read(environment)?;
        let data = PathBuf::from(environment.get("EMPORIUM_DATA").unwrap_or("data"));
        let redis_url = environment.get("REDIS_URL").map(str::to_owned);
        let jwt_secret = environment.get("JWT_SECRET").map(secret::checked).transpose()?;
        let ca_file = environment.get("DATABASE_CA_FILE").map(PathBuf::from);
        Ok(Self {
            http: file.http()?,
            log: file.log()?,
            database_url: environment.database_url()?,
            database: file.database(ca_file)?,
            shop: file.shop(redis_url, environment.get("SMTP_URL"), &data)?,
            data,
            jwt_secret,
        })
    }

    /// How to reach the database at `url`.
    #[must_use]
    pub fn database(&self, url: String) -> DatabaseSettings {
        DatabaseSettings { url, ..self.database.clone() }
    }

    /// The shop of a node that serves clients.
    ///
    /// Without `JWT_SECRET`, a shop that keeps its own Postgres keeps its own secret too; nodes that
    /// share a database would disagree, so there it must be given.
    ///
    /// # Errors
    /// When there is no secret to sign with.
    pub fn shop_of_a_node(&self) -> Result<ShopSettings, SettingsError> {
        let jwt_secret = match (&self.jwt_secret, &self.database_url) {
            (Some(secret), _) => secret.clone(),
            (None, Some(_)) => return Err(SettingsError::NoSecret),
            (None, None) => secret::kept_in(&self.data)?,
        };
        Ok(self.shop_signing_with(jwt_secret))
    }

    /// The shop of a command: it sends no mail, and its secret is thrown away, since it signs nothing.
    #[must_use]
    pub fn shop_of_a_command(&self) -> ShopSettings {
        ShopSettings { mailer: None, ..self.shop_signing_with(secret::fresh()) }
    }

    fn shop_signing_with(&self, jwt_secret: String) -> ShopSettings {
        let mut shop = self.shop.clone();
        shop.accounts.jwt_secret = jwt_secret;
        shop
    }

    /// Where mail is written when there is no SMTP server.
    #[must_use]
    pub fn mail_folder(data: &Path) -> PathBuf {
        data.join("mail")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::load(&Environment::from_pairs(variables)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_complete() {
        let settings = load(&[]).unwrap();
        assert_eq!((settings.http.host.as_str(), settings.http.port), ("127.0.0.1", 8000));
        assert_eq!(settings.database_url, None);
        assert_eq!(settings.data, Path::new("data"));
        assert!(settings.shop_of_a_command().mailer.is_none());
    }

    #[test]
    fn production_is_compiled_in() {
        let settings = load(&[("EMPORIUM_ENV", "production")]).unwrap();
        assert_eq!(settings.http.host, "0.0.0.0");
        assert!(settings.log.json);
    }

    #[test]
    fn the_environment_wins() {
        let settings = load(&[
            ("EMPORIUM_ENV", "production"),
            ("HOST", "10.0.0.1"),
            ("PORT", "9000"),
            ("EMPORIUM_DATABASE__POOL_SIZE", "7"),
            ("EMPORIUM_HTTP__ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("EMPORIUM_ACCOUNTS__ROTATE_REFRESH_TOKENS", "true"),
            ("REDIS_URL", ""),
        ])
        .unwrap();
        assert_eq!((settings.http.host.as_str(), settings.http.port), ("10.0.0.1", 9000));
        assert_eq!(settings.database(String::new()).pool_size, 7);
        assert_eq!(settings.http.allowed_origins, ["https://a.example", "https://b.example"]);
        assert!(settings.shop.accounts.rotate_refresh_tokens);
        assert_eq!(settings.shop.redis_url, None);
    }

    #[test]
    fn mistakes_are_named() {
        for (variable, value, named) in [
            ("PORT", "eighty", "PORT"),
            ("PORT", "70000", "http.port"),
            ("EMPORIUM_DATABASE__POOL_SIZE", "0", "database.pool_size"),
            ("EMPORIUM_DATABASE__POOLSIZE", "5", "EMPORIUM_DATABASE__POOLSIZE"),
            ("EMPORIUM_DATABSE__POOL_SIZE", "5", "EMPORIUM_DATABSE__POOL_SIZE"),
            ("EMPORIUM_PORT", "5", "EMPORIUM_PORT"),
            ("EMPORIUM_LOG__FORMAT", "xml", "log.format"),
            ("EMPORIUM_ENV", "nowhere", "config/nowhere.toml"),
            ("EMPORIUM_ENV", "../../etc/passwd", "EMPORIUM_ENV"),
            ("EMPORIUM_HTTP__ALLOWED_ORIGINS", "shop.example.com", "http.allowed_origins"),
            ("EMPORIUM_RATE_LIMIT__REQUESTS_BURST", "0", "rate_limit.requests_burst"),
            ("EMPORIUM_MAIL__RESET_URL", "shop.example.com/?token=", "mail.reset_url"),
            ("JWT_SECRET", "short", "openssl rand"),
        ] {
            let error = load(&[(variable, value)]).expect_err(variable);
            assert!(error.contains(named), "{variable}={value}: {error}");
        }
    }

    #[test]
    fn a_shared_database_needs_a_given_secret() {
        let settings = load(&[("DATABASE_URL", "postgres://shop@db/shop")]).unwrap();
        let error = settings.shop_of_a_node().expect_err("no secret").to_string();
        assert!(error.contains("JWT_SECRET"), "{error}");
    }

    #[test]
    fn rds_variables_stand_in_for_a_url() {
        let settings = load(&[
            ("RDS_HOSTNAME", "db.example"),
            ("RDS_PORT", "5432"),
            ("RDS_DB_NAME", "ebdb"),
            ("RDS_USERNAME", "shop"),
            ("RDS_PASSWORD", r"it's a \ secret"),
        ])
        .unwrap();
        assert_eq!(
            settings.database_url.as_deref(),
            Some(
                r"host='db.example' port='5432' dbname='ebdb' user='shop' password='it\'s a \\ secret' sslmode=require"
            )
        );
        let error = load(&[("RDS_HOSTNAME", "db.example")]).expect_err("incomplete");
        assert!(error.contains("RDS_USERNAME"), "{error}");
    }

    #[test]
    fn a_kept_secret_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let data = std::env::temp_dir().join(format!("emporium-secret-{}", std::process::id()));
        let first = secret::kept_in(&data).unwrap();
        assert!(first.len() >= 32);
        assert_eq!(secret::kept_in(&data).unwrap(), first);
        let mode = std::fs::metadata(data.join("jwt_secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_dir_all(&data).unwrap();
    }
}
