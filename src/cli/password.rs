//! Passwords made here.

use rand::seq::IndexedRandom;

/// Letters and digits that are not mistaken for one another.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const LENGTH: usize = 20;

/// A new password of about 115 bits.
pub(super) fn generate() -> String {
    let mut random = rand::rng();
    (0..LENGTH).filter_map(|_| ALPHABET.choose(&mut random)).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_never_the_same() {
        assert_eq!(generate().len(), LENGTH);
        assert_ne!(generate(), generate());
    }
}
