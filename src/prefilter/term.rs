//! A term as people write it → as the dictionary spells it.

use super::normalise::{Begins, Mentions, Opening, StartKind, Words};

/// Longest term in bytes of its normalised form: a sentence; it bounds the walk from each word.
pub(super) const TERM_BYTES_MAX: usize = 256;

/// What a post must hold, letter by letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    /// The dictionary's key: normalised, a tag with its `#`, a mention with its `@`.
    pub(super) key: String,
    /// As written.
    pub(super) shown: String,
    /// How it begins.
    pub(super) begins: Begins,
}

impl Term {
    /// A word or a sequence of words.
    ///
    /// # Errors
    ///
    /// Why no post can hold it, as a half sentence.
    pub(super) fn phrase(text: &str) -> Result<Term, String> {
        let (key, begins) = normalised(text, Opening::Text);
        Term::checked(key, text.trim().into(), begins)
    }

    /// A hashtag, with or without its `#`.
    ///
    /// # Errors
    ///
    /// As [`Term::phrase`].
    pub(super) fn tag(text: &str) -> Result<Term, String> {
        let body = text.trim().trim_start_matches(['#', '＃']);
        let (key, begins) = normalised(body, Opening::Tag);
        if key.contains([' ', '@']) {
            return Err("a hashtag is one word of letters, digits and `_`".into());
        }
        let key = if key.is_empty() { key } else { format!("#{key}") };
        Term::checked(key, format!("#{body}"), begins)
    }

    /// An account, with or without its `@`.
    ///
    /// # Errors
    ///
    /// As [`Term::phrase`].
    pub(super) fn mention(text: &str) -> Result<Term, String> {
        let body = account(text);
        let (key, begins) = normalised(body, Opening::Mention);
        if key.contains(' ') || key.strip_prefix('@') != Some(&body.to_lowercase()) {
            return Err("an account is written with letters a to z, digits, `_`, `.` and `-`, \
                        and may have a host behind a second `@`"
                .into());
        }
        Term::checked(key, format!("@{body}"), begins)
    }

    fn checked(key: String, shown: String, begins: Begins) -> Result<Term, String> {
        if key.is_empty() {
            return Err("holds no letter, digit or emoji, so that no post can match it".into());
        }
        if key.len() > TERM_BYTES_MAX {
            return Err(format!("is {} bytes long: at most {TERM_BYTES_MAX}", key.len()));
        }
        Ok(Term { key, shown, begins })
    }
}

/// An account's name without its `@`.
pub(super) fn account(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix(['@', '＠']).unwrap_or(text)
}

/// The normal form, and how it begins: as a text that holds the term is read, which the normal form read again
/// is not (`#a_b` is one word and `a_b` two).
fn normalised(text: &str, opening: Opening) -> (String, Begins) {
    let mut words = Words::default();
    words.push(text, opening, Mentions::Dotted);
    let is_tag = opening == Opening::Tag;
    let start = words.starts().iter().position(|start| (start.kind == StartKind::Tag) == is_tag);
    let begins = start.and_then(|start| words.begins(start)).unwrap_or_default();
    (String::from_utf8_lossy(words.bytes()).into_owned(), begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_spelled_as_texts_are() {
        for (term, key) in [
            (Term::phrase(" L'Oréal  Paris"), "l oreal paris"),
            (Term::phrase("1664"), "1664"),
            (Term::phrase("😡"), "😡"),
            (Term::phrase("merci @lumio"), "merci @lumio"),
            (Term::tag("#LumioBox"), "#lumiobox"),
            (Term::tag("Été_2024"), "#ete_2024"),
            (Term::tag("＃ルミオ"), "#ルミオ"),
            (Term::mention("@Lumio_Help"), "@lumio_help"),
            (Term::mention("lumio.bsky.social"), "@lumio.bsky.social"),
            (Term::mention("@lumio@mastodon.social"), "@lumio@mastodon.social"),
        ] {
            assert_eq!(term.unwrap().key, key);
        }
    }

    #[test]
    fn what_no_post_can_hold_is_no_term() {
        for term in [
            Term::phrase(""),
            Term::phrase("!?"),
            Term::phrase(&"long ".repeat(60)),
            Term::phrase("https://lumio.fr"),
            Term::tag("#"),
            Term::tag("#lumio box"),
            Term::tag("lumio-box"),
            Term::mention("@"),
            Term::mention("lumio help"),
            Term::mention("lumio."),
            Term::mention("été"),
        ] {
            assert!(term.is_err(), "{term:?}");
        }
    }
}
