//! All terms of all brands as one FST, walked from every place where a term may begin.
//!
//! The only door to the dictionary's format: an [`fst::Map`] from a term as [`Words`] spells it (a tag
//! with its `#`) to its [`TermId`].
//!
//! Most places begin no term, and a walk through a large FST waits for memory at every step. So two filters are
//! asked first: whether a term begins with this word, and if so whether one is this word or begins with this
//! and the next one. The first is small and says no to nearly every word while there are few terms; the second
//! says no to the many `la …` and `the …` that are no term of a million.

use fst::raw::{CompiledAddr, Output};

use super::bloom::Bloom;
use super::fold::{self, Class};
use super::normalise::{self, Begins, Start, StartKind, Words};
use super::uses::TermId;

/// A term found at `start..end` of [`Words::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) term: TermId,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Whether the term has a `#`, which `bytes` has not.
    pub(super) is_tag: bool,
}

/// Which terms a search is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// Those without which no rule matches. May find others on its way.
    Anchors,
    /// All of them.
    All,
}

/// The terms, immutable.
#[derive(Debug)]
pub(super) struct Dictionary {
    terms: fst::Map<Box<[u8]>>,
    /// Where a walk that has read `#` stands; none where no term is a tag.
    tag: Option<(CompiledAddr, Output)>,
    openings: Openings,
}

/// A dictionary of more terms, or of longer ones, than the formats hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooLarge {
    #[error("the dictionary of all terms cannot be built: {0}")]
    Terms(#[from] fst::Error),
    #[error("the terms of all brands have more than 4 GiB of letters")]
    Letters,
}

/// A dictionary being built.
pub(super) struct Building {
    terms: fst::MapBuilder<Vec<u8>>,
    openings: Openings,
}

impl Building {
    /// Adds a term; they come in the order of their bytes, none twice.
    pub(super) fn insert(&mut self, term: &str, id: TermId) -> Result<(), TooLarge> {
        Ok(self.terms.insert(term, u64::from(id.0))?)
    }

    pub(super) fn finish(self) -> Result<Dictionary, TooLarge> {
        let terms = fst::Map::new(self.terms.into_inner()?.into_boxed_slice())?;
        let root = terms.as_fst().root();
        let tag = root.find_input(b'#').map(|arc| root.transition(arc)).map(|arc| (arc.addr, arc.out));
        Ok(Dictionary { tag, terms, openings: self.openings })
    }
}

impl Dictionary {
    /// Begins one of terms that begin like these.
    pub(super) fn of(terms: impl Iterator<Item = Opened> + Clone) -> Result<Building, TooLarge> {
        Ok(Building { terms: fst::MapBuilder::new(Vec::new())?, openings: Openings::of(terms) })
    }

    /// Appends every term that `words` holds to `hits`, in the order of their starts, overlapping ones
    /// included. With `dots_end`, a mention may end before a dot or dash inside it.
    pub(super) fn find(&self, words: &Words, search: Search, dots_end: bool, hits: &mut Vec<Hit>) {
        let starts = words.starts();
        for (idx, start) in starts.iter().enumerate() {
            if self.openings.may_begin(starts, idx, start, search) {
                self.walk(words.bytes(), start, dots_end, hits);
            }
        }
    }

    /// Whether an anchor may begin with the first word of this hash; `no` is sure.
    pub(super) fn may_anchor(&self, hash: u32, kind: StartKind) -> bool {
        self.openings.anchors(kind).word.may_hold(hash)
    }

    fn walk(&self, bytes: &[u8], start: &Start, dots_end: bool, hits: &mut Vec<Hit>) {
        let terms = self.terms.as_fst();
        let (mut node, mut value) = match (start.kind, self.tag) {
            (StartKind::Tag, None) => return,
            (StartKind::Tag, Some((address, value))) => (terms.node(address), value),
            (StartKind::Word | StartKind::Mention, _) => (terms.root(), Output::zero()),
        };
        let at = start.at as usize;
        for (end, byte) in (at + 1..).zip(bytes.get(at..).unwrap_or_default()) {
            let Some(arc) = node.find_input(*byte) else { return };
            let arc = node.transition(arc);
            value = value.cat(arc.out);
            node = terms.node(arc.addr);
            if node.is_final() && ends_term(bytes, end, dots_end) {
                let term = value.cat(node.final_output()).value();
                let term = TermId(u32::try_from(term).unwrap_or(u32::MAX));
                let end = u32::try_from(end).unwrap_or(u32::MAX);
                hits.push(Hit { term, start: start.at, end, is_tag: start.kind == StartKind::Tag });
            }
        }
    }
}

/// Whether a term may end at `end` of normalised `bytes`.
fn ends_term(bytes: &[u8], end: usize, dots_end: bool) -> bool {
    match bytes.get(end) {
        None | Some(b' ' | b'\n') => true,
        // Only mentions hold these: a name without host matches one with.
        Some(b'@') => true,
        Some(b'.' | b'-') => dots_end,
        Some(next) if next.is_ascii() && bytes.get(end - 1).is_some_and(u8::is_ascii) => false,
        Some(_) => {
            let before = (1..=4).find_map(|len| letter(bytes, end.checked_sub(len)?..end));
            let after = (1..=4).find_map(|len| letter(bytes, end..end + len));
            [before, after].into_iter().flatten().any(|letter| fold::class(letter) == Class::Free)
        }
    }
}

/// The letter that these bytes are, if they are one.
fn letter(bytes: &[u8], range: std::ops::Range<usize>) -> Option<char> {
    std::str::from_utf8(bytes.get(range)?).ok()?.chars().next()
}

/// How a term begins, and what that matters to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) begins: Begins,
    /// Whether it is a tag or a mention.
    pub(super) is_sign: bool,
    /// Whether a rule needs it.
    pub(super) is_anchor: bool,
}

/// Where terms may begin. Tags and mentions are kept apart from words: posts have few of them, so that they do
/// not crowd the words out of the cache.
#[derive(Debug)]
struct Openings {
    anchor_words: Gate,
    anchor_signs: Gate,
    other_words: Gate,
    other_signs: Gate,
}

impl Openings {
    fn of(terms: impl Iterator<Item = Opened> + Clone) -> Openings {
        let gate = |is_anchor, is_sign| {
            let word_bits = if is_sign { SIGN_BITS } else { WORD_BITS };
            let of_these = move |term: &Opened| term.is_anchor == is_anchor && term.is_sign == is_sign;
            Gate::of(terms.clone().filter(of_these).map(|term| term.begins), word_bits)
        };
        Openings {
            anchor_words: gate(true, false),
            anchor_signs: gate(true, true),
            other_words: gate(false, false),
            other_signs: gate(false, true),
        }
    }

    #[inline]
    fn may_begin(&self, starts: &[Start], idx: usize, start: &Start, search: Search) -> bool {
        self.anchors(start.kind).may_begin(starts, idx, start)
            || (search == Search::All && self.others(start.kind).may_begin(starts, idx, start))
    }

    fn anchors(&self, kind: StartKind) -> &Gate {
        match kind {
            StartKind::Word => &self.anchor_words,
            StartKind::Tag | StartKind::Mention => &self.anchor_signs,
        }
    }

    fn others(&self, kind: StartKind) -> &Gate {
        match kind {
            StartKind::Word => &self.other_words,
            StartKind::Tag | StartKind::Mention => &self.other_signs,
        }
    }
}

/// The two filters.
#[derive(Debug)]
struct Gate {
    word: Bloom<2>,
    words: Bloom<4>,
}

impl Gate {
    fn of(terms: impl Iterator<Item = Begins> + Clone, word_bits: usize) -> Gate {
        let count = terms.clone().count();
        let mut gate = Gate {
            word: Bloom::new(count, word_bits, WORD_BLOCKS_MAX),
            words: Bloom::new(count, WORDS_BITS, usize::MAX),
        };
        for begins in terms {
            gate.word.insert(begins.word);
            gate.words.insert(begins.words);
        }
        gate
    }

    #[inline]
    fn may_begin(&self, starts: &[Start], idx: usize, start: &Start) -> bool {
        self.word.may_hold(start.hash) && self.may_go_on(starts, idx, start)
    }

    fn may_go_on(&self, starts: &[Start], idx: usize, start: &Start) -> bool {
        let next = normalise::next_word(starts, idx);
        self.words.may_hold(start.hash)
            || next.is_some_and(|next| self.words.may_hold(normalise::pair(start.hash, next)))
    }
}

/// 32 bits a term let through about one word in 200 where there are few terms.
const WORD_BITS: usize = 32;
/// Posts have few tags and mentions.
const SIGN_BITS: usize = 4;
/// 2 MiB: 16 bits a term where there are a million. It need not stay in a second-level cache, because the
/// processor loads for many words at once; a wrong yes makes it wait, for this filter and then for the other.
/// With 512 KiB a million terms made the scan of posts in many languages 22 % slower than a hundred did, with 2 MiB 11 %.
const WORD_BLOCKS_MAX: usize = 256 * 1024;
/// 16 bits a term let through about one pair of words in 150.
const WORDS_BITS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefilter::normalise::{Mentions, Opening};
    use crate::prefilter::term::Term;

    /// Terms are given as texts, tags with `#` and mentions with `@`; found ones come as normalised.
    fn check(terms: &[&str], text: &str, expected: &[&str]) {
        let mut terms: Vec<Term> = (terms.iter())
            .map(|term| match term.as_bytes().first() {
                Some(b'#') => Term::tag(term).unwrap(),
                Some(b'@') => Term::mention(term).unwrap(),
                _ => Term::phrase(term).unwrap(),
            })
            .collect();
        terms.sort_by(|one, other| one.key.cmp(&other.key));
        let mut building = Dictionary::of(terms.iter().map(|term| Opened {
            begins: term.begins,
            is_sign: term.key.starts_with(['#', '@']),
            is_anchor: term.key.len() % 2 == 0,
        }))
        .unwrap();
        for (term, id) in terms.iter().zip(0..) {
            building.insert(&term.key, TermId(id)).unwrap();
        }
        let dictionary = building.finish().unwrap();
        let mut words = Words::default();
        words.push(text, Opening::Text, Mentions::Dotted);
        let mut hits = Vec::new();
        dictionary.find(&words, Search::All, false, &mut hits);
        let found: Vec<_> = hits.iter().map(|hit| terms[hit.term.0 as usize].key.as_str()).collect();
        assert_eq!(found, expected, "{text:?}");
        // Terms that no rule needs are not looked for first.
        hits.clear();
        dictionary.find(&words, Search::Anchors, false, &mut hits);
        let anchors = expected.iter().filter(|term| term.len() % 2 == 0);
        let found: Vec<_> = hits.iter().map(|hit| terms[hit.term.0 as usize].key.as_str()).collect();
        assert!(anchors.into_iter().all(|term| found.contains(term)), "{found:?} in {text:?}");
    }

    #[test]
    fn a_term_matches_whole_words_only() {
        check(&["lumio"], "Lumio, LUMIO lumiobox unlumio", &["lumio", "lumio"]);
        check(&["lumio"], "l'Lumio d’lumio", &["lumio", "lumio"]);
        check(&["lumio box"], "lumio - box, lumio boxes", &["lumio box"]);
    }

    #[test]
    fn overlapping_terms_are_all_found() {
        check(&["a", "a b", "a b c", "b"], "a b c", &["a", "a b", "a b c", "b"]);
    }

    #[test]
    fn scripts_without_spaces_match_anywhere() {
        check(&["ルミオ"], "昨日ルミオが壊れた", &["ルミオ"]);
        check(&["lumio"], "昨日lumioが壊れた", &["lumio"]);
        check(&["루미오"], "내루미오가", &["루미오"]);
        check(&["😡"], "non😡😡", &["😡", "😡"]);
        check(&["ลูมิโอ"], "ใช้ลูมิโอไม่ได้", &["ลูมิโอ"]);
    }

    #[test]
    fn tags_and_mentions_match_as_a_whole() {
        check(&["#lumio", "lumio"], "#Lumio #lumiofan lumio", &["lumio", "#lumio", "lumio"]);
        check(&["@lumio"], "@lumio @lumiofan @lumio@host @lumio.bsky.social lumio", &["@lumio", "@lumio"]);
        check(&["@lumio.bsky.social"], "@lumio.bsky.social. @lumio", &["@lumio.bsky.social"]);
        check(&["@lumio@host"], "@lumio@host @lumio @lumio@host.fr", &["@lumio@host"]);
    }

    #[test]
    fn an_empty_dictionary_finds_nothing() {
        check(&[], "lumio #lumio @lumio", &[]);
    }

    #[test]
    fn a_phrase_is_found_however_its_words_are_joined() {
        check(&["a b c", "b c", "c"], "a, b #c", &["a b c", "b c", "c"]);
        check(&["en #panne_totale"], "en #panne_totale", &["en panne_totale"]);
        check(&["(#a_b) c"], "#a_b c", &["a_b c"]);
        check(&["merci @lumio"], "merci @lumio@host, merci @lumio!", &["merci @lumio", "merci @lumio"]);
        check(&["lumio が"], "lumioが lumio が", &["lumio が"]);
        check(&["ルミオ", "#ルミオ", "ミオ"], "#ルミオが", &["ルミオ", "#ルミオ", "ミオ"]);
        check(
            &["international business"],
            "international businesses international business",
            &["international business"],
        );
    }

    #[test]
    fn gates_say_no_to_most_places_that_begin_no_term() {
        let words = |text: &str| {
            let mut words = Words::default();
            words.push(text, Opening::Text, Mentions::Bare);
            words
        };
        let terms: Vec<_> = (0..10_000)
            .map(|n| Opened {
                begins: words(&format!("la marque{n}")).begins(0).unwrap(),
                is_sign: false,
                is_anchor: true,
            })
            .collect();
        let openings = Openings::of(terms.iter().copied());
        let text: String = (0..10_000).map(|n| format!("la autre{n} ")).collect();
        let words = words(&text);
        let passed =
            |(idx, start): &(usize, &Start)| openings.may_begin(words.starts(), *idx, start, Search::All);
        let passed = words.starts().iter().enumerate().filter(passed).count();
        assert!(passed < 200, "{passed} of 20000 words pass");
    }
}
