//! Words and phrases looked for in a text as the prefilter does: folded, whole words, however they are joined.
//!
//! For stages behind the prefilter that have lists of their own.

use std::collections::BTreeMap;

use super::dictionary::{Dictionary, Opened, Search};
use super::normalise::{Mentions, Opening, Words};
use super::term::Term;
use super::uses::TermId;

/// A list of phrases, compiled.
#[derive(Debug)]
pub(crate) struct Phrases {
    dictionary: Dictionary,
    /// By term, the places of the list's phrases that read so.
    places: Vec<Vec<usize>>,
}

/// A phrase that a text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its place in the list.
    pub(crate) phrase: usize,
    /// Where it begins in the normalised text; only to compare.
    pub(crate) start: u32,
    /// Where it ends there.
    pub(crate) end: u32,
}

impl Phrases {
    /// What can be said against a phrase, as a half sentence.
    ///
    /// # Errors
    ///
    /// No text can hold it.
    pub(crate) fn check(phrase: &str) -> Result<(), String> {
        Term::phrase(phrase).map(|_| ())
    }

    /// Whether two phrases are the same to a reader of texts.
    pub(crate) fn key(phrase: &str) -> Option<String> {
        Some(Term::phrase(phrase).ok()?.key)
    }

    /// Compiles these; one that no text can hold is left out.
    pub(crate) fn compile<'p>(phrases: impl Iterator<Item = &'p str>) -> Phrases {
        let mut terms: BTreeMap<String, (Opened, Vec<usize>)> = BTreeMap::new();
        for (place, phrase) in phrases.enumerate() {
            let Ok(term) = Term::phrase(phrase) else { continue };
            let opened =
                Opened { begins: term.begins, is_sign: term.key.starts_with(['#', '@']), is_anchor: true };
            terms.entry(term.key).or_insert((opened, Vec::new())).1.push(place);
        }
        let built = Dictionary::of(terms.values().map(|(opened, _)| *opened)).and_then(|mut building| {
            for ((key, _), id) in terms.iter().zip(0..) {
                building.insert(key, TermId(id))?;
            }
            building.finish()
        });
        let dictionary = built.expect("sorted keys, each once, and far below the format's limits");
        Phrases { dictionary, places: terms.into_values().map(|(_, places)| places).collect() }
    }

    /// Every phrase that `text` holds, in the order of their beginnings, overlapping ones included.
    pub(crate) fn find(&self, text: &str) -> Vec<Found> {
        let mut words = Words::default();
        words.push(text, Opening::Text, Mentions::Dotted);
        let mut hits = Vec::new();
        self.dictionary.find(&words, Search::Anchors, false, &mut hits);
        let places = |term: TermId| self.places.get(term.0 as usize).into_iter().flatten().copied();
        hits.iter()
            .flat_map(|hit| places(hit.term).map(|phrase| Found { phrase, start: hit.start, end: hit.end }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_as_whole_words_however_they_are_written() {
        let list = ["feu", "prend feu", "brûlé", "avocat", "Feu"];
        let phrases = Phrases::compile(list.into_iter());
        let check = |text: &str, expected: &[usize]| {
            let found: Vec<_> = phrases.find(text).iter().map(|found| found.phrase).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("La box PREND-FEU !", &[1, 0, 4]);
        check("un avocatier", &[]);
        check("l'avocat brule #feu", &[3, 2, 0, 4]);
        check("brulé", &[2]);
        check("https://feu.example/avocat", &[]);
        check("", &[]);
    }
}
