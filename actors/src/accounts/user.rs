//! What an account is, and what it takes to make one.

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use crate::types::{Timestamp, UserId};

/// The longest name, in code points.
const USERNAME_CHARS_MAX: usize = 150;

/// An account as the contract shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name to sign in with.
    pub username: String,
    /// The address.
    pub email: String,
    /// Whether it may write the catalogue and see every order.
    pub is_staff: bool,
    /// When it was made.
    pub date_joined: Timestamp,
}

/// A name in its stored form: NFKC, 1 to 150 letters, digits and `@ . + - _`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// Brings a name into its stored form.
    ///
    /// # Errors
    /// A sentence for the user, when the name is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name: String = text.trim().nfkc().collect();
        if name.chars().count() > USERNAME_CHARS_MAX {
            return Err(format!("Ensure this field has no more than {USERNAME_CHARS_MAX} characters."));
        }
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "@.+-_".contains(c)) {
            let text = "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.";
            return Err(text.to_owned());
        }
        Ok(Self(name))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Brings an address into its stored form, the domain in lower case; `None` for what is no address.
/// Its length is the caller's business.
#[must_use]
pub fn parse_email(text: &str) -> Option<String> {
    let (local, domain) = text.trim().rsplit_once('@')?;
    (is_local_part(local) && is_domain(domain)).then(|| format!("{local}@{}", domain.to_lowercase()))
}

/// Dot-separated atoms, or a quoted string.
fn is_local_part(local: &str) -> bool {
    let is_atom_char = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{}|~-".contains(c);
    let is_atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atom_char);
    local.split('.').all(is_atom) || is_quoted(local)
}

fn is_quoted(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let fine = match c {
            '\\' => chars.next().is_some_and(|c| c.is_ascii() && !matches!(c, '\0' | '\n' | '\r')),
            '"' => false,
            c => c.is_ascii() && !matches!(c, '\0' | '\t' | '\n' | '\r' | ' '),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// `localhost`, a bracketed address, or labels of letters (of any script), digits and inner hyphens,
/// the last of at least two characters.
fn is_domain(domain: &str) -> bool {
    if domain.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if let Some(address) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.strip_prefix("IPv6:").unwrap_or(address).parse::<std::net::IpAddr>().is_ok();
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.chars().count())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c == '-' || c.is_alphanumeric())
    };
    let last_is_long = domain.rsplit('.').next().is_some_and(|label| label.chars().count() >= 2);
    domain.contains('.') && last_is_long && domain.split('.').all(is_label)
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The name to sign in with.
    pub username: Username,
    /// The address, its domain in lower case, at most 254 code points.
    pub email: String,
    /// The password.
    pub password: String,
}

/// As much of an account as could be read, to be judged before it is made or changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draft<'a> {
    /// The account that is changed, if there is one.
    pub user: Option<UserId>,
    /// The name.
    pub username: Option<&'a str>,
    /// The address.
    pub email: Option<&'a str>,
    /// The password.
    pub password: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        assert_eq!(Username::parse(" \u{fb01}x ").unwrap().as_str(), "fix");
        assert_eq!(Username::parse("Ада.Л+1@x_y-z").unwrap().as_str(), "Ада.Л+1@x_y-z");
    }

    #[test]
    fn odd_names_are_refused() {
        for name in ["a b", "a/b", "", "a!", "\u{fdfa}", "a\u{0}"] {
            assert!(Username::parse(name).unwrap_err().starts_with("Enter a valid username."), "{name}");
        }
        assert!(Username::parse(&"ä".repeat(150)).is_ok());
        let long = Username::parse(&"ä".repeat(151)).unwrap_err();
        assert_eq!(long, "Ensure this field has no more than 150 characters.");
    }
}
