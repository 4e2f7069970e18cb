//! The settings files: their keys, one struct a section, and the bounds of each value.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Config, FileFormat, Source, Value};
use emporium_actors::ShopSettings;
use emporium_actors::accounts::AccountSettings;
use emporium_actors::cart::CartSettings;
use emporium_actors::catalog::CatalogSettings;
use emporium_actors::db::DatabaseSettings;
use emporium_actors::feed::FeedSettings;
use emporium_actors::inventory::InventorySettings;
use emporium_actors::limits::{LimitSettings, RateLimit};
use emporium_actors::mailer::MailerSettings;
use emporium_actors::orders::OrderSettings;
use serde::Deserialize;

use super::{Environment, HttpSettings, LogSettings, Settings, SettingsError};

const DEFAULT: &str = include_str!("../../config/default.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");
/// Keys that hold a list, which a variable gives with commas.
const LISTS: [&str; 1] = ["http.allowed_origins"];
const ORIGINS_MAX: usize = 100;
const RESET_URL_BYTES_MAX: usize = 500;

/// A TiB, in bytes.
const IMPORT_BYTES_CEILING: u64 = 1 << 40;
/// A day, in seconds.
const DAY: u64 = 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    http: Http,
    rate_limit: RateLimits,
    database: Database,
    accounts: Accounts,
    catalog: Catalog,
    cart: Cart,
    orders: Orders,
    inventory: Inventory,
    feed: Feed,
    mail: Mail,
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    host: String,
    port: u64,
    workers: u64,
    connections_max: u64,
    backlog: u64,
    keep_alive_s: u64,
    request_head_timeout_s: u64,
    shutdown_timeout_s: u64,
    shutdown_delay_s: u64,
    body_bytes_max: u64,
    import_bytes_max: u64,
    allowed_origins: Vec<String>,
    trusted_proxy_hops: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimits {
    requests_per_second: u64,
    requests_burst: u64,
    sign_in_failures_per_minute: u64,
    sign_in_failures_burst: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Database {
    pool_size: u64,
    connect_timeout_ms: u64,
    statement_timeout_ms: u64,
    lock_timeout_ms: u64,
    idle_in_transaction_timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accounts {
    access_lifetime_s: u64,
    refresh_lifetime_s: u64,
    rotate_refresh_tokens: bool,
    hashing_queue_max: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    cache_bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cart {
    active_max: u64,
    idle_after_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Orders {
    hold_s: u64,
    expiry_interval_ms: u64,
    queue_max: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inventory {
    batch_max: u64,
    queue_max: u64,
    wait_max_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feed {
    poll_interval_ms: u64,
    retention_s: u64,
    sockets_max: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mail {
    from: String,
    reset_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    filter: String,
    format: String,
}

impl File {
    /// Merges the sources that are files, and the variables on top.
    pub(super) fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let defaults = parse("config/default.toml", DEFAULT)?;
        let mut builder = Config::builder().add_source(defaults.clone());
        if let Some(name) = environment.get("EMPORIUM_ENV") {
            let (path, text) = chosen(name)?;
            let source = parse(&path, &text)?;
            only_known_keys(&defaults, &source, &path)?;
            builder = builder.add_source(source);
        }
        for setting in environment.overrides()? {
            if defaults.get::<Value>(&setting.key).is_err() {
                return Err(SettingsError::Unknown { place: setting.variable.to_owned() });
            }
            let origin = setting.variable.to_owned();
            let value = if LISTS.contains(&setting.key.as_str()) {
                Value::new(Some(&origin), list(setting.value))
            } else {
                Value::new(Some(&origin), setting.value)
            };
            builder = builder.set_override(&setting.key, value).map_err(kind)?;
        }
        builder.build().map_err(kind)?.try_deserialize().map_err(kind)
    }

    pub(super) fn http(&self) -> Result<HttpSettings, SettingsError> {
        let http = &self.http;
        let workers = match within("http.workers", http.workers, 0..=512)? {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => count(given),
        };
        Ok(HttpSettings {
            host: not_empty("http.host", &http.host)?,
            port: narrow(within("http.port", http.port, 0..=u64::from(u16::MAX))?),
            workers,
            connections_max: count(within("http.connections_max", http.connections_max, 1..=1_000_000)?),
            backlog: narrow(within("http.backlog", http.backlog, 1..=65_535)?),
            keep_alive: seconds("http.keep_alive_s", http.keep_alive_s, 1..=3600)?,
            request_head_timeout: seconds(
                "http.request_head_timeout_s",
                http.request_head_timeout_s,
                1..=300,
            )?,
            shutdown_timeout: seconds("http.shutdown_timeout_s", http.shutdown_timeout_s, 1..=300)?,
            shutdown_delay: seconds("http.shutdown_delay_s", http.shutdown_delay_s, 0..=300)?,
            body_bytes_max: count(within("http.body_bytes_max", http.body_bytes_max, 1024..=1 << 30)?),
            import_bytes_max: within(
                "http.import_bytes_max",
                http.import_bytes_max,
                1024..=IMPORT_BYTES_CEILING,
            )?,
            allowed_origins: origins(&http.allowed_origins)?,
            trusted_proxy_hops: count(within("http.trusted_proxy_hops", http.trusted_proxy_hops, 0..=10)?),
        })
    }

    fn limits(&self) -> Result<LimitSettings, SettingsError> {
        const MOST: u64 = 1_000_000;
        let limits = &self.rate_limit;
        let rate = |key, per, value, burst_key, burst| -> Result<Option<RateLimit>, SettingsError> {
            let value = within(key, value, 0..=MOST)?;
            let burst = narrow(within(burst_key, burst, 1..=MOST)?);
            let interval = u32::try_from(value).ok().filter(|value| *value > 0).map(|value| per / value);
            Ok(interval.map(|interval| RateLimit { interval, burst }))
        };
        Ok(LimitSettings {
            requests: rate(
                "rate_limit.requests_per_second",
                Duration::from_secs(1),
                limits.requests_per_second,
                "rate_limit.requests_burst",
                limits.requests_burst,
            )?,
            sign_in_failures: rate(
                "rate_limit.sign_in_failures_per_minute",
                Duration::from_secs(60),
                limits.sign_in_failures_per_minute,
                "rate_limit.sign_in_failures_burst",
                limits.sign_in_failures_burst,
            )?,
        })
    }

    pub(super) fn log(&self) -> Result<LogSettings, SettingsError> {
        let json = match self.log.format.as_str() {
            "json" => true,
            "text" => false,
            other => return Err(bounds("log.format", &format!("{other:?}"), "\"text\" or \"json\"")),
        };
        Ok(LogSettings { filter: self.log.filter.clone(), json })
    }

    /// Everything about the database but where it is.
    pub(super) fn database(&self, ca_file: Option<PathBuf>) -> Result<DatabaseSettings, SettingsError> {
        let database = &self.database;
        Ok(DatabaseSettings {
            url: String::new(),
            pool_size: count(within("database.pool_size", database.pool_size, 1..=1000)?),
            connect_timeout: millis(
                "database.connect_timeout_ms",
                database.connect_timeout_ms,
                100..=60_000,
            )?,
            statement_timeout: millis(
                "database.statement_timeout_ms",
                database.statement_timeout_ms,
                100..=600_000,
            )?,
            lock_timeout: millis("database.lock_timeout_ms", database.lock_timeout_ms, 100..=600_000)?,
            idle_in_transaction_timeout: millis(
                "database.idle_in_transaction_timeout_ms",
                database.idle_in_transaction_timeout_ms,
                1000..=600_000,
            )?,
            ca_file,
        })
    }

    /// The shop, all but its secret.
    pub(super) fn shop(
        &self,
        redis_url: Option<String>,
        smtp_url: Option<&str>,
        data: &Path,
    ) -> Result<ShopSettings, SettingsError> {
        let hold = seconds("orders.hold_s", self.orders.hold_s, 1..=30 * DAY)?;
        Ok(ShopSettings {
            accounts: self.accounts()?,
            catalog: CatalogSettings {
                cache_bytes: within("catalog.cache_bytes", self.catalog.cache_bytes, 0..=1 << 40)?,
            },
            carts: CartSettings {
                active_max: count(within("cart.active_max", self.cart.active_max, 10..=10_000_000)?),
                idle_after: seconds("cart.idle_after_s", self.cart.idle_after_s, 1..=DAY)?,
            },
            orders: OrderSettings {
                expiry_interval: millis(
                    "orders.expiry_interval_ms",
                    self.orders.expiry_interval_ms,
                    10..=1000,
                )?,
                queue_max: count(within("orders.queue_max", self.orders.queue_max, 1..=1_000_000)?),
            },
            inventory: InventorySettings {
                batch_max: count(within("inventory.batch_max", self.inventory.batch_max, 1..=10_000)?),
                queue_max: count(within("inventory.queue_max", self.inventory.queue_max, 1..=1_000_000)?),
                wait_max: millis("inventory.wait_max_ms", self.inventory.wait_max_ms, 100..=60_000)?,
                hold,
            },
            feed: FeedSettings {
                poll_interval: millis("feed.poll_interval_ms", self.feed.poll_interval_ms, 10..=1000)?,
                retention: seconds("feed.retention_s", self.feed.retention_s, 60..=365 * DAY)?,
                sockets_max: count(within("feed.sockets_max", self.feed.sockets_max, 1..=1_000_000)?),
            },
            limits: self.limits()?,
            redis_url,
            mailer: Some(MailerSettings {
                smtp_url: smtp_url.map(str::to_owned),
                folder: Settings::mail_folder(data),
                from: not_empty("mail.from", &self.mail.from)?,
                reset_url: reset_url(&self.mail.reset_url)?,
            }),
        })
    }

    fn accounts(&self) -> Result<AccountSettings, SettingsError> {
        let accounts = &self.accounts;
        Ok(AccountSettings {
            jwt_secret: String::new(),
            access_lifetime: seconds("accounts.access_lifetime_s", accounts.access_lifetime_s, 60..=DAY)?,
            refresh_lifetime: seconds(
                "accounts.refresh_lifetime_s",
                accounts.refresh_lifetime_s,
                300..=365 * DAY,
            )?,
            rotate_refresh_tokens: accounts.rotate_refresh_tokens,
            hashing_queue_max: count(within(
                "accounts.hashing_queue_max",
                accounts.hashing_queue_max,
                1..=100_000,
            )?),
        })
    }
}

/// The file that `EMPORIUM_ENV` chooses: the one in the working folder, else the one compiled in.
fn chosen(name: &str) -> Result<(String, String), SettingsError> {
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err(SettingsError::EnvironmentName(name.to_owned()));
    }
    let path = format!("config/{name}.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match name {
            "production" => Ok((path, PRODUCTION.to_owned())),
            "default" => Ok((path, DEFAULT.to_owned())),
            _ => Err(SettingsError::NoSuchEnvironment { name: name.to_owned() }),
        },
        Err(error) => Err(SettingsError::File { path, reason: error.to_string() }),
    }
}

fn parse(path: &str, text: &str) -> Result<Config, SettingsError> {
    let source = config::File::from_str(text, FileFormat::Toml);
    Config::builder().add_source(source).build().map_err(|error| SettingsError::File {
        path: path.to_owned(),
        reason: error.to_string().trim().to_owned(),
    })
}

/// The default file has every key, so what it lacks is no key.
fn only_known_keys(defaults: &Config, source: &Config, path: &str) -> Result<(), SettingsError> {
    let unknown = |key: &str| SettingsError::Unknown { place: format!("{key} in {path}") };
    for (section, value) in source.collect().map_err(kind)? {
        if defaults.get_table(&section).is_err() {
            return Err(unknown(&section));
        }
        for key in value.into_table().map_err(kind)?.keys() {
            let key = format!("{section}.{key}");
            if defaults.get::<Value>(&key).is_err() {
                return Err(unknown(&key));
            }
        }
    }
    Ok(())
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[allow(clippy::needless_pass_by_value)] // `map_err` gives it by value
fn kind(error: config::ConfigError) -> SettingsError {
    SettingsError::Kind(error.to_string())
}

fn bounds(key: &'static str, value: &dyn Display, bounds: &str) -> SettingsError {
    SettingsError::Bounds { key, value: value.to_string(), bounds: bounds.to_owned() }
}

fn within(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<u64, SettingsError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(bounds(key, &value, &format!("{} to {}", range.start(), range.end())))
}

fn seconds(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<Duration, SettingsError> {
    within(key, value, range).map(Duration::from_secs)
}

fn millis(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<Duration, SettingsError> {
    within(key, value, range).map(Duration::from_millis)
}

/// A checked value as a count; the bounds above all fit.
fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A checked value in a narrower type; the bounds above all fit.
fn narrow<T: TryFrom<u64> + Default>(value: u64) -> T {
    T::try_from(value).unwrap_or_default()
}

fn not_empty(key: &'static str, value: &str) -> Result<String, SettingsError> {
    if value.trim().is_empty() {
        return Err(bounds(key, &"empty", "given"));
    }
    Ok(value.to_owned())
}

fn origins(given: &[String]) -> Result<Vec<String>, SettingsError> {
    const KEY: &str = "http.allowed_origins";
    if given.len() > ORIGINS_MAX {
        return Err(bounds(KEY, &format!("{} long", given.len()), &format!("at most {ORIGINS_MAX} long")));
    }
    for origin in given {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if origin != "*" && host.is_none_or(|host| host.is_empty() || host.contains('/')) {
            let expected = "\"*\" or scheme and host, such as \"https://shop.example.com\", without a path";
            return Err(bounds(KEY, &format!("{origin:?}"), expected));
        }
    }
    Ok(given.to_vec())
}

fn reset_url(given: &str) -> Result<String, SettingsError> {
    let is_url = given.starts_with("https://") || given.starts_with("http://");
    let is_plain = given.len() <= RESET_URL_BYTES_MAX && given.bytes().all(|byte| byte.is_ascii_graphic());
    if given.is_empty() || (is_url && is_plain) {
        return Ok(given.to_owned());
    }
    let expected = format!("empty or an http(s) address in ASCII, at most {RESET_URL_BYTES_MAX} long");
    Err(bounds("mail.reset_url", &format!("{given:?}"), &expected))
}
