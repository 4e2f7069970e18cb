//! The words of a search.

/// Splits a search at blanks and commas; a part that begins with a quotation mark and ends with the
/// same is one term, whatever stands between. A mark without its other is an ordinary character.
/// Empty terms, which would match everything, are left out.
pub(super) fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut rest = skip_blanks(text);
    while !rest.is_empty() {
        let end = part_length(rest);
        add_part(&rest[..end], &mut terms);
        rest = skip_blanks(&rest[end..]);
    }
    terms
}

/// The search that is split into these terms.
pub(super) fn quoted(terms: &[String]) -> String {
    let quote = |term: &String| format!("\"{}\"", term.replace('\\', "\\\\").replace('"', "\\\""));
    terms.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn is_mark(c: char) -> bool {
    matches!(c, '"' | '\'')
}

/// Bytes up to the end of the part that begins here: a run of quoted stretches and of characters
/// that are neither blanks nor marks. Where no quoted stretch comes first, the part ends at the next
/// blank, marks and all.
fn part_length(text: &str) -> usize {
    let mut end = 0;
    let mut has_quoted = false;
    loop {
        let plain = text[end..].find(|c| is_blank(c) || is_mark(c)).unwrap_or(text.len() - end);
        match quoted_length(&text[end + plain..]) {
            Some(quoted) => {
                end += plain + quoted;
                has_quoted = true;
            }
            None if has_quoted => return end + plain,
            None => return text.find(is_blank).unwrap_or(text.len()),
        }
    }
}

/// Bytes of the quoted stretch at the beginning, marks included. A backslash keeps the mark behind
/// it from ending the stretch.
fn quoted_length(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    let (_, mark) = chars.next().filter(|(_, c)| is_mark(*c))?;
    while let Some((at, c)) = chars.next() {
        if c == mark {
            return Some(at + c.len_utf8());
        }
        if c == '\\' && chars.next().is_none_or(|(_, escaped)| escaped == '\n') {
            return None;
        }
    }
    None
}

fn add_part(part: &str, terms: &mut Vec<String>) {
    let part = part.trim_matches(',');
    let mut add = |term: String| {
        if !term.is_empty() {
            terms.push(term);
        }
    };
    match part.chars().next() {
        Some(mark) if is_mark(mark) && part.ends_with(mark) => {
            let inner = part.get(1..part.len().max(2) - 1).unwrap_or_default();
            add(inner.replace(&format!("\\{mark}"), &mark.to_string()).replace(r"\\", r"\"));
        }
        _ => part.split(',').for_each(|term| add(term.trim_matches(is_blank).to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{quoted, terms};

    #[test]
    fn blanks_and_commas_separate() {
        assert_eq!(terms("red,  pen\tblue\u{a0}ink"), ["red", "pen", "blue", "ink"]);
        assert_eq!(terms(",,red,,pen,,"), ["red", "pen"]);
        assert_eq!(terms("  "), Vec::<String>::new());
        assert_eq!(terms(""), Vec::<String>::new());
        assert_eq!(terms(", ,"), Vec::<String>::new());
    }

    #[test]
    fn quotation_marks_keep_words_together() {
        assert_eq!(terms(r#""red pen" ink"#), ["red pen", "ink"]);
        assert_eq!(terms("'red, pen',ink"), ["'red", " pen'", "ink"].map(str::trim));
        assert_eq!(terms("'red, pen'"), ["red, pen"]);
        assert_eq!(terms(r#""it's red""#), ["it's red"]);
        assert_eq!(terms(r#""say \"hi\"""#), [r#"say "hi""#]);
        assert_eq!(terms(r#"a"b c"d"#), [r#"a"b c"d"#]);
    }

    #[test]
    fn a_lone_mark_is_an_ordinary_character() {
        assert_eq!(terms("don't stop"), ["don't", "stop"]);
        assert_eq!(terms(r#"15" screen"#), [r#"15""#, "screen"]);
        assert_eq!(terms(r#"a"b"c"d e"#), [r#"a"b"c"#, r#""d"#, "e"]);
    }

    #[test]
    fn what_would_match_everything_is_left_out() {
        assert_eq!(terms(r#"""#), Vec::<String>::new());
        assert_eq!(terms(r#""""#), Vec::<String>::new());
        assert_eq!(terms("' pen"), ["pen"]);
    }

    #[test]
    fn terms_are_put_together_so_that_they_come_apart_again() {
        for expected in [vec!["pen"], vec!["red pen", "it's", r#"15""#, r"a\b", r#"\""#, ",", "'"], vec![]] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(terms(&quoted(&expected)), expected);
        }
    }

    #[test]
    fn any_text_is_split_without_harm() {
        for text in ["\"\\", "'\\'", "é\"ü", "\"é\\ü\"", "\u{3000}", "\"\n\"", "\\", "''''", "\"a\\\nb\""]
        {
            terms(text);
        }
    }
}
