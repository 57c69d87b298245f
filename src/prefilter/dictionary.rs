//! All terms of all brands as one FST, walked from every place where a term may begin.
//!
//! The only door to the dictionary's format: an [`fst::Map`] from a term as [`Words`] spells it (a tag
//! with its `#`) to its [`TermId`]. Most words begin no term, so [`FirstWords`] is asked first.

use std::collections::BTreeMap;

use fst::raw::{CompiledAddr, Output};

use super::fold::{self, Class};
use super::normalise::{Mentions, Opening, Start, StartKind, Words};

/// A term's place in the order of the dictionary's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TermId(pub(super) u32);

/// A term found at `start..end` of [`Words::bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) term: TermId,
    pub(super) start: u32,
    pub(super) end: u32,
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
    terms: fst::Map<Vec<u8>>,
    /// Where a walk that has read `#` stands; none where no term is a tag.
    tag: Option<(CompiledAddr, Output)>,
    anchor_words: FirstWords,
    all_words: FirstWords,
}

/// A dictionary of more terms, or of longer ones, than the format holds.
#[derive(Debug, thiserror::Error)]
#[error("the dictionary of all terms cannot be built: {0}")]
pub(super) struct TooLarge(#[from] fst::Error);

impl Dictionary {
    /// Of normalised terms, each with whether it is an anchor. Ids count up in the map's order.
    pub(super) fn build(terms: &BTreeMap<String, bool>) -> Result<Dictionary, TooLarge> {
        let ids = terms.keys().zip(0..);
        let map = fst::Map::from_iter(ids)?;
        let root = map.as_fst().root();
        let tag = root.find_input(b'#').map(|arc| root.transition(arc)).map(|arc| (arc.addr, arc.out));
        let anchors = || terms.iter().filter(|(_, anchor)| **anchor).map(|(term, _)| term.as_str());
        Ok(Dictionary {
            tag,
            anchor_words: FirstWords::of(anchors().count(), anchors()),
            all_words: FirstWords::of(terms.len(), terms.keys().map(String::as_str)),
            terms: map,
        })
    }

    /// Appends every term that `words` holds to `hits`, in the order of their starts, overlapping ones
    /// included. With `dots_end`, a mention may end before a dot or dash inside it.
    pub(super) fn find(&self, words: &Words, search: Search, dots_end: bool, hits: &mut Vec<Hit>) {
        let first_words = match search {
            Search::Anchors => &self.anchor_words,
            Search::All => &self.all_words,
        };
        for start in words.starts() {
            if first_words.may_hold(start) {
                self.walk(words.bytes(), start, dots_end, hits);
            }
        }
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
                hits.push(Hit { term, start: start.at, end: u32::try_from(end).unwrap_or(u32::MAX) });
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

/// A Bloom filter over the first words of terms: says no to most words of most posts with one load.
#[derive(Debug)]
pub(super) struct FirstWords {
    blocks: Vec<u64>,
}

impl FirstWords {
    fn of<'t>(terms: usize, each: impl Iterator<Item = &'t str>) -> FirstWords {
        let blocks = (terms * BITS_PER_TERM / 64).next_power_of_two().clamp(BLOCKS_MIN, BLOCKS_MAX);
        let mut first_words = FirstWords { blocks: vec![0; blocks] };
        let mut words = Words::default();
        for term in each {
            words.clear();
            words.push(term, Opening::Text, Mentions::Dotted);
            let is_tag = term.starts_with('#');
            let start = words.starts().iter().find(|start| (start.kind == StartKind::Tag) == is_tag);
            if let Some(start) = start {
                let (block, bits) = first_words.place(start);
                if let Some(block) = first_words.blocks.get_mut(block) {
                    *block |= bits;
                }
            }
        }
        first_words
    }

    fn may_hold(&self, start: &Start) -> bool {
        let (block, bits) = self.place(start);
        self.blocks.get(block).is_none_or(|block| block & bits == bits)
    }

    /// Two bits in one block. Tags and mentions are kept apart from words by what is added.
    fn place(&self, start: &Start) -> (usize, u64) {
        let hash = start.hash.wrapping_add(start.kind as u32 * 0x517C_C1B7);
        let bits = 1 << (hash & 63) | 1 << (hash >> 6 & 63);
        ((hash >> 12) as usize & (self.blocks.len() - 1), bits)
    }
}

/// 32 bits a term let through about one word in 200.
const BITS_PER_TERM: usize = 32;
/// 512 bytes: never worth less.
const BLOCKS_MIN: usize = 64;
/// 1 MiB, the index's reach (20 bits of hash choose a block) cut to what a second-level cache holds.
const BLOCKS_MAX: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Terms are given as normalised; found ones come as `start..end term`.
    fn check(terms: &[&str], text: &str, expected: &[&str]) {
        let terms: BTreeMap<String, bool> = terms.iter().map(|term| ((*term).into(), true)).collect();
        let dictionary = Dictionary::build(&terms).unwrap();
        let mut words = Words::default();
        words.push(text, Opening::Text, Mentions::Dotted);
        let mut hits = Vec::new();
        dictionary.find(&words, Search::Anchors, false, &mut hits);
        let found: Vec<_> = hits.iter().map(|hit| terms.keys().nth(hit.term.0 as usize).unwrap()).collect();
        assert_eq!(found, expected, "{text:?}");
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
    fn first_words_say_no_to_most_other_words() {
        let terms: Vec<String> = (0..10_000).map(|n| format!("marque{n}")).collect();
        let first_words = FirstWords::of(terms.len(), terms.iter().map(String::as_str));
        let mut words = Words::default();
        for n in 0..10_000 {
            words.push(&format!("autre{n}"), Opening::Text, Mentions::Bare);
        }
        let passed = words.starts().iter().filter(|start| first_words.may_hold(start)).count();
        assert!(passed < 300, "{passed} of 10000 words pass");
    }
}
