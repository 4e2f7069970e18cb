//! Passwords: which are refused, and how they are kept.
//!
//! They are kept as argon2id, 19 MiB, 2 passes. Hashing costs some 25 ms of a core and the memory,
//! so no more run at once than there are cores, and a bounded number waits.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use argon2::password_hash::{
    self,
    phc::{Output, ParamsString, PasswordHash, Salt},
};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use super::AccountError;

const LENGTH_MIN: usize = 8;
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// Passwords that many people have, in lower case.
static COMMON: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/common_passwords.txt"));
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
});

/// What is wrong with a password for this account; nothing, hopefully.
pub(crate) fn faults(password: &str, username: Option<&str>, email: Option<&str>) -> Vec<String> {
    let mut faults = Vec::new();
    let attributes = [("username", username), ("email address", email)];
    let similar =
        attributes.into_iter().find(|(_, value)| value.is_some_and(|value| is_similar(password, value)));
    if let Some((name, _)) = similar {
        faults.push(format!("The password is too similar to the {name}."));
    }
    if password.chars().count() < LENGTH_MIN {
        faults.push(format!("This password is too short. It must contain at least {LENGTH_MIN} characters."));
    }
    if COMMON.contains(password.to_lowercase().as_str()) {
        faults.push("This password is too common.".to_owned());
    }
    if password.chars().all(char::is_numeric) {
        faults.push("This password is entirely numeric.".to_owned());
    }
    faults
}

/// Whether the password shares seven tenths of its letters, in any order, with the value or a word
/// of it: twice the letters in common over the letters of both.
fn is_similar(password: &str, value: &str) -> bool {
    let (password, value) = (password.to_lowercase(), value.to_lowercase());
    let words = value.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let length = password.chars().count();
    words.chain([value.as_str()]).any(|part| {
        let part_length = part.chars().count();
        // A short word in a long password says nothing, and is not worth the count.
        let far_longer = length >= 10 * part_length && 20 * part_length < 7 * length;
        !far_longer && 20 * letters_in_common(&password, part) >= 7 * (length + part_length)
    })
}

fn letters_in_common(a: &str, b: &str) -> usize {
    let mut counts = std::collections::HashMap::new();
    for c in b.chars() {
        *counts.entry(c).or_insert(0_usize) += 1;
    }
    let taken = |c| counts.get_mut(&c).filter(|count| **count > 0).map(|count| *count -= 1);
    a.chars().filter_map(taken).count()
}

/// Hashes and checks passwords, off the request threads.
pub(crate) struct Hasher {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// Checked against when there is no such user, so that this takes as long.
    dummy: String,
}

impl Hasher {
    /// One hashing per core, and `waiting_max` waiting.
    ///
    /// # Errors
    /// When hashing does not work here at all.
    pub(crate) fn new(waiting_max: usize) -> Result<Self, AccountError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let dummy = hash(&format!("{:032x}", rand::random::<u128>()))?;
        Ok(Self { slots: Arc::new(Semaphore::new(cores)), waiting: AtomicUsize::new(0), waiting_max, dummy })
    }

    /// The hash to keep of a password.
    ///
    /// # Errors
    /// `Overloaded` when too many wait.
    pub(crate) async fn hash(&self, password: String) -> Result<String, AccountError> {
        self.run(move || hash(&password)).await?
    }

    /// Whether the password is the hash's. Without a hash it never is, after the same time.
    ///
    /// # Errors
    /// `Overloaded` when too many wait.
    pub(crate) async fn verify(&self, password: String, kept: Option<String>) -> Result<bool, AccountError> {
        let known = kept.is_some();
        let kept = kept.unwrap_or_else(|| self.dummy.clone());
        let same = self.run(move || verify(&password, &kept)).await?;
        Ok(known && same)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let slot = {
            let _place = Place::take(&self.waiting, self.waiting_max)?;
            self.slots.clone().acquire_owned().await.map_err(|_| AccountError::Internal)?
        };
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller that goes away does not free the core.
            let _slot = slot;
            work()
        });
        task.await.map_err(|error| {
            tracing::error!(%error, "hashing a password failed");
            AccountError::Internal
        })
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Result<Self, AccountError> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(waiting);
        if before >= max.max(1) { Err(AccountError::Overloaded) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// More than the C library ever keeps for reuse: what is at least this large goes back to the
/// system when it is freed. Hashings run on many threads, and each would keep its 19 MiB otherwise.
const RETURNED_MEMORY_KIB: usize = 33 * 1024;

fn hash(password: &str) -> Result<String, AccountError> {
    let make = || {
        let params = Params::new(MEMORY_KIB, PASSES, 1, None)?;
        let (salt, params_text) = (Salt::generate(), ParamsString::try_from(&params)?);
        let output = compute(password, &salt, Version::V0x13, params)?;
        Ok::<_, password_hash::Error>(PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: params_text,
            salt: Some(salt),
            hash: Some(output),
        })
    };
    let hash = make().map_err(|error| {
        tracing::error!(%error, "a password could not be hashed");
        AccountError::Internal
    })?;
    Ok(hash.to_string())
}

/// By the parameters that stand in the hash.
fn verify(password: &str, kept: &str) -> bool {
    let again = || {
        let kept = PasswordHash::new(kept)?;
        let salt = kept.salt.ok_or(password_hash::Error::SaltInvalid)?;
        let version = kept.version.map(Version::try_from).transpose()?.unwrap_or_default();
        let output = compute(password, &salt, version, Params::try_from(&kept)?)?;
        // Compares in constant time.
        Ok::<_, password_hash::Error>(
            kept.algorithm == Algorithm::Argon2id.ident() && kept.hash == Some(output),
        )
    };
    again().unwrap_or(false)
}

fn compute(password: &str, salt: &Salt, version: Version, params: Params) -> password_hash::Result<Output> {
    let blocks = params.block_count();
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
    // Only what is used of it is ever backed by memory.
    let mut memory: Vec<Block> = Vec::with_capacity(blocks.max(RETURNED_MEMORY_KIB * 1024 / Block::SIZE));
    memory.resize(blocks, Block::new());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut output, memory.as_mut_slice())?;
    Ok(Output::new(&output)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "This password is too short. It must contain at least 8 characters.";
    const COMMON: &str = "This password is too common.";
    const NUMERIC: &str = "This password is entirely numeric.";

    #[test]
    fn weak_passwords_are_refused_with_every_reason() {
        assert_eq!(faults("a", None, None), [SHORT]);
        assert_eq!(faults("password", None, None), [COMMON]);
        assert_eq!(faults("PassWord", None, None), [COMMON]);
        assert_eq!(faults("qwerty123", None, None), [COMMON]);
        assert_eq!(faults("12345678", None, None), [COMMON, NUMERIC]);
        assert_eq!(faults("7391840265", None, None), [NUMERIC]);
        assert_eq!(faults("abc", Some("testuser"), None), [SHORT]);
    }

    #[test]
    fn passwords_like_the_name_or_the_address_are_refused() {
        let name = "The password is too similar to the username.";
        let address = "The password is too similar to the email address.";
        assert_eq!(faults("ada.lovelace", Some("Ada.Lovelace"), None), [name]);
        assert_eq!(faults("lovelace1", Some("ada.lovelace"), None), [name]);
        assert_eq!(faults("babbagecharles", Some("x"), Some("charles.babbage@mail.com")), [address]);
        assert!(faults("correct horse battery", Some("ada"), Some("ada@example.com")).is_empty());
    }

    #[test]
    fn the_customary_example_passes() {
        assert!(faults("testpassword", Some("testuser"), Some("test@example.com")).is_empty());
        assert!(super::COMMON.len() > 1000);
    }

    #[tokio::test]
    async fn a_hash_is_known_again() {
        let hasher = Hasher::new(4).unwrap();
        let kept = hasher.hash("testpassword".to_owned()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(hasher.verify("testpassword".to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!hasher.verify("testpassworD".to_owned(), Some(kept)).await.unwrap());
        assert!(!hasher.verify("testpassword".to_owned(), None).await.unwrap());
    }

    #[tokio::test]
    async fn past_the_queue_it_refuses() {
        let hasher = Hasher::new(1).unwrap();
        let cores = hasher.slots.available_permits();
        let _all = hasher.slots.acquire_many(u32::try_from(cores).unwrap()).await.unwrap();
        let first = hasher.hash("one".to_owned());
        let second = async { hasher.hash("two".to_owned()).await };
        let both = futures_util::future::select(Box::pin(first), Box::pin(second)).await;
        let futures_util::future::Either::Right((refused, _)) = both else { panic!("the first is waiting") };
        assert_eq!(refused, Err(AccountError::Overloaded));
    }
}
