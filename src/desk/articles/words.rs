//! Text → the terms that an article is found by, the same way for articles and posts.
//!
//! Case, accents and endings go, because posts have them wrong: Snowball's French stemmer needs the accents that people
//! leave out, so the endings of both languages are cut here from folded words, shortest sensible stem first. What
//! people call one thing (`concepts.txt`) becomes one term in both languages, so that a French post may find an
//! English article. A term holds ASCII letters and digits or letters of other scripts, and nothing else.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest word that counts, in letters: what is longer is no word.
const WORD_LETTERS_MAX: usize = 40;
/// Before the name of a concept: no word of French or English begins so.
const CONCEPT: &str = "zz";
/// Letters of a stem at least.
const STEM_LETTERS_MIN: usize = 3;

/// One word or phrase of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What is compared.
    pub term: String,
    /// The words it was made of, folded.
    pub words: String,
}

/// The terms of a text in their order, repeated where the text repeats itself.
///
/// Links, addresses and handles are left out, and so are words that `weightless` names: folded, as [`folded`] gives
/// them.
pub fn terms(text: &str, weightless: &BTreeSet<String>) -> Vec<Term> {
    let vocabulary = &*VOCABULARY;
    let words = words(text);
    let stems: Vec<String> = words.iter().map(|word| stem(word)).collect();
    let mut terms = Vec::new();
    let mut at = 0;
    while let (Some(word), Some(stem)) = (words.get(at), stems.get(at)) {
        let rest = stems.get(at..).unwrap_or_default();
        if let Some((name, taken)) = vocabulary.concept(rest)
            && !words.iter().skip(at).take(taken).any(|word| weightless.contains(word))
        {
            let words = words.get(at..at + taken).unwrap_or_default().join(" ");
            terms.push(Term { term: format!("{CONCEPT}{name}"), words });
            at += taken;
            continue;
        }
        let is_short = word.chars().nth(1).is_none();
        if !is_short && !vocabulary.stop.contains(word.as_str()) && !weightless.contains(word) {
            terms.push(Term { term: stem.clone(), words: word.clone() });
        }
        at += 1;
    }
    terms
}

/// The words of a text in lower case, without accents, handles, links and addresses.
pub fn folded(text: &str) -> Vec<String> {
    words(text)
}

/// Words of a concept that stand alone: stem and the term that it gives. For words that are misspelt.
pub fn concept_stems() -> impl Iterator<Item = (&'static str, String)> {
    let phrases = VOCABULARY.phrases.iter();
    let alone = |(first, phrases): (&'static String, &'static Vec<Phrase>)| {
        let phrase = phrases.iter().find(|phrase| phrase.rest.is_empty())?;
        Some((first.as_str(), format!("{CONCEPT}{}", phrase.name)))
    };
    phrases.filter_map(alone)
}

/// Whether a term is a concept and not a word.
pub fn is_concept(term: &str) -> bool {
    term.starts_with(CONCEPT)
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for piece in text.split_whitespace() {
        // Nobody is found by a name: handles go, with the addresses of mail.
        if piece.contains('@') || piece.contains("://") || piece.starts_with("www.") {
            continue;
        }
        let mut word = String::new();
        for letter in piece.nfkd().filter(|letter| !is_combining_mark(*letter)).flat_map(char::to_lowercase) {
            match letter {
                'œ' => word.push_str("oe"),
                'æ' => word.push_str("ae"),
                'ß' => word.push_str("ss"),
                _ if letter.is_alphanumeric() => word.push(letter),
                _ => end(&mut word, &mut words),
            }
        }
        end(&mut word, &mut words);
    }
    words
}

fn end(word: &mut String, words: &mut Vec<String>) {
    if !word.is_empty() {
        let word = std::mem::take(word);
        if word.chars().nth(WORD_LETTERS_MAX).is_none() {
            words.push(word);
        }
    }
}

/// Endings of both languages, the longest first: the first that leaves a stem is cut.
const ENDINGS: [&str; 66] = [
    "issements",
    "issement",
    "ications",
    "ication",
    "isations",
    "isation",
    "izations",
    "ization",
    "ations",
    "ation",
    "ements",
    "ement",
    "aisons",
    "aison",
    "atrice",
    "ateurs",
    "ateur",
    "trices",
    "trice",
    "euses",
    "euse",
    "aient",
    "ments",
    "ment",
    "ances",
    "ance",
    "ences",
    "ence",
    "ables",
    "able",
    "antes",
    "ante",
    "ants",
    "ate",
    "ates",
    "ated",
    "eurs",
    "eur",
    "ions",
    "ion",
    "ives",
    "ive",
    "ings",
    "ing",
    "eries",
    "ery",
    "ees",
    "ant",
    "ent",
    "ait",
    "ais",
    "ies",
    "ers",
    "ons",
    "ee",
    "er",
    "ez",
    "ed",
    "es",
    "ir",
    "is",
    "if",
    "e",
    "s",
    "x",
    "i",
];

/// The word without its ending and its doubled letters; words with digits and of other scripts as they are.
fn stem(word: &str) -> String {
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let cut = ENDINGS.iter().filter_map(|ending| word.strip_suffix(ending));
    let stem = cut.into_iter().find(|stem| stem.len() >= STEM_LETTERS_MIN).unwrap_or(word);
    let mut bare = String::with_capacity(stem.len());
    for letter in stem.chars() {
        // Doubled letters are what people get wrong most, and in joy or anger they write many.
        if !bare.ends_with(letter) {
            bare.push(letter);
        }
    }
    if bare.len() > STEM_LETTERS_MIN && bare.ends_with('y') {
        bare.pop();
        bare.push('i');
    }
    bare
}

/// A phrase of a concept behind its first word.
#[derive(Debug)]
struct Phrase {
    rest: Vec<String>,
    name: &'static str,
}

#[derive(Debug, Default)]
struct Vocabulary {
    stop: HashSet<&'static str>,
    /// By the stem of their first word, the longest first.
    phrases: HashMap<String, Vec<Phrase>>,
}

impl Vocabulary {
    /// The concept that these stems begin with, and how many it takes.
    fn concept(&self, stems: &[String]) -> Option<(&'static str, usize)> {
        let (first, rest) = stems.split_first()?;
        let phrases = self.phrases.get(first)?;
        let phrase = phrases.iter().find(|phrase| rest.starts_with(&phrase.rest))?;
        Some((phrase.name, 1 + phrase.rest.len()))
    }
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let lines = |text: &'static str| text.lines().filter(|line| !line.starts_with('#'));
    let mut vocabulary = Vocabulary::default();
    vocabulary.stop.extend(lines(include_str!("stop.txt")).flat_map(str::split_whitespace));
    for line in lines(include_str!("concepts.txt")) {
        let Some((name, phrases)) = line.split_once(':') else { continue };
        for phrase in phrases.split(',') {
            let stems: Vec<String> = words(phrase).iter().map(|word| stem(word)).collect();
            let Some((first, rest)) = stems.split_first() else { continue };
            let known = vocabulary.phrases.entry(first.clone()).or_default();
            if known.iter().all(|phrase| phrase.rest != rest) {
                known.push(Phrase { rest: rest.to_vec(), name });
            }
        }
    }
    vocabulary
        .phrases
        .values_mut()
        .for_each(|known| known.sort_by_key(|phrase| std::cmp::Reverse(phrase.rest.len())));
    vocabulary
});

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let terms = terms(text, &BTreeSet::from(["lumio".to_owned()]));
        let terms: Vec<_> = terms.into_iter().map(|term| term.term).collect();
        assert_eq!(terms.join(" "), expected, "{text}");
    }

    #[test]
    fn forms_of_a_word_are_one_term() {
        for (one, other) in [
            ("éligibilité", "ELIGIBILITE"),
            ("vérifier", "vérifiez"),
            ("enveloppes", "envelopes"),
            ("compared", "compare"),
            ("checking", "check"),
            ("attente", "atente"),
            ("neighbours", "neighbour"),
        ] {
            assert_eq!(stem(&words(one)[0]), stem(&words(other)[0]), "{one} {other}");
        }
    }

    #[test]
    fn what_names_nobody_and_nothing_is_left_out() {
        check("Bonjour @lumio_help, voir https://e.org/panne et écrire à a@b.example svp 🙏", "ecrir");
        check("#Lumio l’antenne qu'on #réparera", "anten reparera");
        check("", "");
    }

    #[test]
    fn french_and_english_meet_in_what_they_name() {
        check("ma facture", "zzbill");
        check("my BILLS", "zzbill");
        check("mot de passe oublié", "zzpassword zzforgot");
        check("wi-fi lent", "zzwifi zzslow");
        check("ça ne marche plus", "zzbroken");
    }

    #[test]
    fn every_phrase_of_the_table_is_found_again() {
        for line in include_str!("concepts.txt").lines().filter(|line| !line.starts_with('#')) {
            let (_, phrases) = line.split_once(':').unwrap();
            for phrase in phrases.split(',') {
                let terms = terms(phrase, &BTreeSet::new());
                assert!(terms.len() == 1 && is_concept(&terms[0].term), "{phrase}: {terms:?}");
            }
        }
    }
}
