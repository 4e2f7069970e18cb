//! The variables that the program was started with.

use std::collections::BTreeMap;

use super::SettingsError;

/// Variables that say what no file may: the names, besides `EMPORIUM_<SECTION>__<KEY>`.
const OWN: [&str; 2] = ["EMPORIUM_ENV", "EMPORIUM_DATA"];
/// Conventional names of settings that files know as well.
const SHORT: [(&str, &str); 3] = [("HOST", "http.host"), ("PORT", "http.port"), ("RUST_LOG", "log.filter")];
const PREFIX: &str = "EMPORIUM_";

/// A copy of the environment. An empty variable counts as unset, since that is what container
/// tools make of an unset one.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// A setting given by a variable.
pub(super) struct Override<'a> {
    /// The variable.
    pub variable: &'a str,
    /// The key that it sets, such as `http.port`.
    pub key: String,
    /// Its text.
    pub value: &'a str,
}

impl Environment {
    /// This process's own.
    #[must_use]
    pub fn of_this_process() -> Self {
        let pairs = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { variables: pairs.filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// Just these, for tests.
    #[must_use]
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
        Self { variables: pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
    }

    /// A variable, unless it is unset or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Every setting that a variable gives; the long names win over the short ones.
    pub(super) fn overrides(&self) -> Result<Vec<Override<'_>>, SettingsError> {
        let mut found = Vec::new();
        for (variable, key) in SHORT {
            if let Some(value) = self.get(variable) {
                found.push(Override { variable, key: key.to_owned(), value });
            }
        }
        for (variable, value) in &self.variables {
            let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
            if OWN.contains(&variable.as_str()) {
                continue;
            }
            let Some((section, key)) = rest.split_once("__") else {
                return Err(SettingsError::Unknown { place: variable.clone() });
            };
            let key = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
            found.push(Override { variable, key, value });
        }
        Ok(found)
    }

    /// The database that the variables name: `DATABASE_URL`, else what Elastic Beanstalk says of an
    /// RDS instance, to which connections are always encrypted.
    pub(super) fn database_url(&self) -> Result<Option<String>, SettingsError> {
        if let Some(url) = self.get("DATABASE_URL") {
            return Ok(Some(url.to_owned()));
        }
        let Some(host) = self.get("RDS_HOSTNAME") else { return Ok(None) };
        let mut url = format!("host={}", quoted(host));
        for (name, key) in [
            ("RDS_PORT", "port"),
            ("RDS_DB_NAME", "dbname"),
            ("RDS_USERNAME", "user"),
            ("RDS_PASSWORD", "password"),
        ] {
            let Some(value) = self.get(name) else {
                return Err(SettingsError::Incomplete { set: "RDS_HOSTNAME", missing: name });
            };
            url.push_str(&format!(" {key}={}", quoted(value)));
        }
        url.push_str(" sslmode=require");
        Ok(Some(url))
    }
}

/// A value of a Postgres key-value string.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}
