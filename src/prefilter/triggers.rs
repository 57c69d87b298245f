//! The built-in service words: how people ask a company for help, in French and in English.

const FRENCH: &str = include_str!("words/fr.txt");
const ENGLISH: &str = include_str!("words/en.txt");

/// All built-in service words, as written.
pub(super) fn builtin() -> Vec<&'static str> {
    [FRENCH, ENGLISH].into_iter().flat_map(terms).collect()
}

/// One term a line; `#` begins a comment.
fn terms(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::prefilter::term::Term;

    /// Words in nearly every sentence: as terms they would make any mention of a name a call for help.
    const EVERYDAY: &str = "a the and or is are was be to of in on for it this that my you i we not no \
        le la les un une des et ou est de du en au je tu il elle on nous vous ne pas plus que qui mon ma ce";

    #[test]
    fn each_language_has_its_words_and_none_twice() {
        for list in [FRENCH, ENGLISH] {
            let mut keys = HashSet::new();
            for term in terms(list) {
                let key = Term::phrase(term).unwrap().key;
                assert!(keys.insert(key), "{term:?} is listed twice");
            }
            assert!(keys.len() >= 300, "{} terms", keys.len());
        }
    }

    #[test]
    fn no_service_word_is_an_everyday_word() {
        let everyday: HashSet<&str> = EVERYDAY.split_whitespace().collect();
        for term in builtin() {
            let key = Term::phrase(term).unwrap().key;
            assert!(!everyday.contains(key.as_str()), "{term:?} is in nearly every sentence");
        }
    }
}
