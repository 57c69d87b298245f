//! The prefilter's twin for tests: slow, obvious, and sharing no code with it.
//!
//! It spells a whole text at once, looks for each term at every letter, and evaluates a rule by following
//! its grammar. Where the two disagree, one of them misses posts.

use unicode_normalization::UnicodeNormalization;

/// Lower case without accents; everything that is neither letter, digit nor emoji is one space.
fn spelled(text: &str) -> Vec<char> {
    let mut letters: Vec<char> = vec![' '];
    let folded =
        text.to_lowercase().nfkd().filter(|c| !('\u{300}'..='\u{36F}').contains(c)).nfc().collect::<String>();
    for letter in folded.replace('œ', "oe").replace('ß', "ss").chars() {
        match letter {
            '\u{200B}' | '\u{AD}' | '\u{FE0F}' => {}
            letter if letter.is_alphanumeric() || is_free(letter) => letters.push(letter),
            _ if letters.last() == Some(&' ') => {}
            _ => letters.push(' '),
        }
    }
    if letters.last() != Some(&' ') {
        letters.push(' ');
    }
    letters
}

fn is_free(letter: char) -> bool {
    matches!(letter, 'ぁ'..='ヿ' | '一'..='龥' | '가'..='힣' | '😀'..='🙏')
}

pub(super) fn holds(text: &str, term: &str) -> bool {
    let (text, term) = (spelled(text), spelled(term));
    let term = &term[1..term.len() - 1];
    let open = |at: usize| [text[at - 1], text[at]].iter().any(|letter| *letter == ' ' || is_free(*letter));
    (1..text.len()).any(|at| text[at..].starts_with(term) && open(at) && open(at + term.len()))
}

/// Rules over the terms below, written with every bracket.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Term(&'static str),
    Not(Box<Tree>),
    All(Vec<Tree>),
    Any(Vec<Tree>),
}

impl Tree {
    pub(super) fn text(&self) -> String {
        let joined = |parts: &[Tree], by| parts.iter().map(Tree::text).collect::<Vec<_>>().join(by);
        match self {
            Tree::Term(term) => format!("\"{term}\""),
            Tree::Not(inner) => format!("-({})", inner.text()),
            Tree::All(all) => format!("({})", joined(all, " ")),
            Tree::Any(any) => format!("({})", joined(any, " OR ")),
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Tree::Term(term) => holds(text, term),
            Tree::Not(inner) => !inner.matches(text),
            Tree::All(all) => all.iter().all(|part| part.matches(text)),
            Tree::Any(any) => any.iter().any(|part| part.matches(text)),
        }
    }
}

pub(super) const TERMS: [&str; 12] = [
    "lumio",
    "Lumio Box",
    "été",
    "l'été",
    "ne marche plus",
    "plus",
    "ルミオ",
    "オ",
    "루미오",
    "cœur",
    "4g",
    "😡",
];

#[cfg(test)]
mod tests;
