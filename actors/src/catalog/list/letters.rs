//! What a search can ask the search index for: three letters in a row of its words.
//!
//! Promises: of at most [`LETTERS_MAX`] of them, those that the fewest products have.

use memchr::memmem::Finder;

use super::sample::Sample;

/// The most that are thought of, as many as a mask has bits; its last one is for the categories.
const LETTERS_MAX: usize = 31;

/// A word of a search, as the sample is compared with it.
pub(super) struct Word {
    /// In the form of the searched texts, as nearly as can be told here.
    pub form: Finder<'static>,
    /// The letters that whoever has the word has, bit by bit.
    pub letters: u32,
}

/// Three letters in a row.
pub(super) struct Letters {
    /// In the form of the searched texts.
    form: [char; 3],
    /// As they were written: the database has its own idea of capitals.
    pub pattern: String,
    /// How many of the sample have them.
    pub having: usize,
}

/// The words of a search, and what of them can be looked up.
pub(super) struct Words {
    /// As they were asked for.
    pub words: Vec<Word>,
    /// The letters; the bit of each is that of its place.
    pub letters: Vec<Letters>,
    /// Of each product of the sample, which of them it has, bit by bit.
    pub masks: Vec<u32>,
}

impl Words {
    /// Of these terms.
    pub(super) fn of<'t>(terms: impl Iterator<Item = &'t str> + Clone, sample: &Sample) -> Self {
        let forms: Vec<Vec<char>> = terms.clone().map(|term| term.chars().map(capital).collect()).collect();
        let mut letters: Vec<Letters> = terms.flat_map(|term| in_threes(term, sample)).collect();
        letters.sort_by_key(|letters| (letters.having, letters.form));
        letters.dedup_by_key(|letters| letters.form);
        letters.truncate(LETTERS_MAX);
        let mut masks = vec![0; sample.rows.len()];
        for (bit, letters) in letters.iter().enumerate() {
            for place in sample.having_trigram(letters.form) {
                if let Some(mask) = masks.get_mut(usize::from(*place)) {
                    *mask |= 1 << bit;
                }
            }
        }
        let word = |form: &Vec<char>| Word {
            form: Finder::new(&form.iter().collect::<String>()).into_owned(),
            letters: (letters.iter().enumerate())
                .filter(|(_, letters)| form.windows(3).any(|own| own == letters.form))
                .fold(0, |mask, (bit, _)| mask | (1 << bit)),
        };
        let words = forms.iter().map(word).collect();
        Self { words, letters, masks }
    }
}

/// What of a term the search index knows.
fn in_threes(term: &str, sample: &Sample) -> Vec<Letters> {
    let is_known = |c: &char| c.is_alphabetic() || c.is_ascii_digit();
    let written: Vec<char> = term.chars().collect();
    let threes = written.windows(3).filter_map(|written| <[char; 3]>::try_from(written).ok());
    let letters = threes.map(|written| {
        let form = written.map(capital);
        Letters { form, pattern: written.iter().collect(), having: sample.having_trigram(form).len() }
    });
    letters.filter(|letters| letters.form.iter().all(is_known)).collect()
}

/// As `search_form` of the database has it, but for letters whose capitals are several letters.
pub(super) fn capital(c: char) -> char {
    if c == '\u{1f}' {
        return '\u{1e}';
    }
    let mut capitals = c.to_uppercase();
    capitals.next().filter(|_| capitals.len() == 0).unwrap_or(c)
}
