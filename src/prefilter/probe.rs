//! Which first words a text holds, without writing it down: most posts are passed over by that alone.
//!
//! [`Words`] is what says where terms may begin. [`may_begin`] visits every first word that `Words` would
//! find, and some that it would not (words of links, a tag's parts), so that a post none of whose first
//! words begins a term needs no `Words`. Letters and digits are told from the rest 16 bytes at a time; only
//! words with letters beyond ASCII are read letter by letter, and those with letters that melt together or fold
//! to several are given to `Words` itself.

use std::sync::LazyLock;

use wide::u8x16;

use super::fold::{self, Class};
use super::normalise::{Mentions, Opening, StartKind, Words, bytes_hash, hash};

/// Whether any place in `text` may begin a term, by `may_hold`, which is asked about the hash of a first word
/// and what it begins. `room` is overwritten.
pub(super) fn may_begin(
    text: &str,
    opening: Opening,
    mentions: Mentions,
    room: &mut Words,
    mut may_hold: impl FnMut(u32, StartKind) -> bool,
) -> bool {
    let mut probe = Probe { text, mentions, room, may_hold: &mut may_hold };
    let opened = match opening {
        Opening::Text => false,
        Opening::Tag => probe.named(0, Opening::Tag),
        Opening::Mention => probe.named(0, Opening::Mention),
    };
    opened || probe.any()
}

struct Probe<'p, F> {
    text: &'p str,
    mentions: Mentions,
    room: &'p mut Words,
    may_hold: &'p mut F,
}

impl<F: FnMut(u32, StartKind) -> bool> Probe<'_, F> {
    fn any(&mut self) -> bool {
        let (blocks, rest) = self.text.as_bytes().as_chunks::<64>();
        let mut padded = [b' '; 64];
        padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        // Where the run that reaches into the next block begins, and whether it is ASCII.
        let (mut begin, mut is_ascii, mut inside) = (0, true, 0);
        for (block, at) in blocks.iter().chain([&padded]).zip((0..).step_by(64)) {
            let Classes { letters, beyond_ascii, signs } = Classes::of(block);
            let runs = letters | beyond_ascii;
            // Each edge is the beginning of a run or the end of one, in turns.
            let mut edges = runs ^ (runs << 1 | inside);
            let mut open = inside == 1;
            while edges != 0 {
                let edge = edges.trailing_zeros();
                edges &= edges - 1;
                if open {
                    let before = !(!0 << edge);
                    let from = if begin >= at { !0 << (begin - at) } else { !0 };
                    if self.run(begin, at + edge as usize, is_ascii && beyond_ascii & from & before == 0) {
                        return true;
                    }
                }
                (begin, is_ascii, open) =
                    if open { (begin, true, false) } else { (at + edge as usize, true, true) };
            }
            inside = runs >> 63;
            if inside == 1 {
                let from = if begin >= at { !0 << (begin - at) } else { !0 };
                is_ascii &= beyond_ascii & from == 0;
            }
            let mut signs = signs;
            while signs != 0 {
                let sign = at + signs.trailing_zeros() as usize;
                signs &= signs - 1;
                let opening = if self.byte(sign) == Some(b'#') { Opening::Tag } else { Opening::Mention };
                if self.named(sign + 1, opening) {
                    return true;
                }
            }
        }
        inside == 1 && self.run(begin, self.text.len(), is_ascii)
    }

    /// The letters and digits from `begin` to `end`.
    #[inline(always)]
    fn run(&mut self, begin: usize, end: usize, is_ascii: bool) -> bool {
        if !is_ascii {
            return self.mixed(begin, end);
        }
        let bytes = self.text.as_bytes();
        // Setting this bit lowers a letter and leaves a digit as it is.
        let eight = |at: usize| 0x2020_2020_2020_2020 | eight_at(bytes, at);
        let (head, len) = (eight(begin), end - begin);
        let (head, tail) = if len < 8 {
            let head = head & !(!0 << (len * 8));
            (head, head)
        } else {
            (head, eight(end - 8))
        };
        (self.may_hold)(hash(head, tail, len), StartKind::Word)
    }

    /// As [`Probe::run`], where not all is ASCII: there may be several words.
    fn mixed(&mut self, begin: usize, end: usize) -> bool {
        let bytes = self.text.as_bytes();
        let behind = begin.checked_sub(1).and_then(|at| bytes.get(at));
        // A link ends at the first letter beyond ASCII: where one may reach into the run, a word may begin there.
        let ascii_len = match behind {
            Some(behind) if !behind.is_ascii_whitespace() => bytes
                .get(begin..end)
                .and_then(|run| run.iter().position(|byte| !byte.is_ascii()))
                .unwrap_or(0),
            _ => 0,
        };
        self.letters(begin, end) || (ascii_len > 0 && self.letters(begin + ascii_len, end))
    }

    fn letters(&mut self, begin: usize, end: usize) -> bool {
        let run = self.text.get(begin..end).unwrap_or_default();
        let mut word = Word::default();
        let mut letters = run.chars();
        while let Some(letter) = letters.next() {
            if letter.is_ascii() {
                word.push(letter.to_ascii_lowercase() as u8);
                continue;
            }
            let folded = folded(letter);
            // What follows may melt into the letter, unless `Words` reads that one by itself, and all but a
            // single mark that says how emoji are drawn.
            let mut next = letters.clone();
            let melts = folded != Folded::Latin
                && next.next().is_some_and(|mark| {
                    fold::continues(mark) && (mark != '\u{FE0F}' || next.next().is_some_and(fold::continues))
                });
            let ends = match folded {
                _ if melts => return self.words(run, Opening::Text),
                Folded::Latin => {
                    fold::latin(letter).unwrap_or_default().iter().for_each(|byte| word.push(*byte));
                    false
                }
                Folded::Letter(letter) => {
                    letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| word.push(byte));
                    false
                }
                Folded::Dropped => false,
                Folded::Break => word.end(self.may_hold),
                Folded::Free => {
                    let hash = bytes_hash(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    word.end(self.may_hold) || (self.may_hold)(hash, StartKind::Word)
                }
                Folded::Other => return self.words(run, Opening::Text),
            };
            if ends {
                return true;
            }
        }
        word.end(self.may_hold)
    }

    /// What a tag or mention names, from behind its sign.
    fn named(&mut self, begin: usize, opening: Opening) -> bool {
        let bytes = self.text.as_bytes().get(begin..).unwrap_or_default();
        let (mut word, mut is_ascii) = (Word::default(), true);
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
        for byte in bytes.iter().take_while(|byte| is_part(byte)) {
            is_ascii &= byte.is_ascii();
            word.push(byte.to_ascii_lowercase());
        }
        let len = word.len;
        // A mention may begin with these, or go on with them behind letters that are none.
        let goes_on = opening == Opening::Mention && matches!(bytes.get(len), Some(b'.' | b'-' | b'@'));
        // Behind a letter that `Words` drops, the name may end inside a run, where a word then begins.
        if goes_on && (len == 0 || !is_ascii || may_reach_beyond_ascii(bytes.get(len..).unwrap_or_default()))
        {
            return true;
        }
        if !is_ascii {
            return self.words(self.text.get(begin..begin + len).unwrap_or_default(), opening);
        }
        let hash = word.hash();
        match opening {
            _ if len == 0 => false,
            Opening::Mention => (self.may_hold)(hash, StartKind::Mention),
            _ => (self.may_hold)(hash, StartKind::Tag) || (self.may_hold)(hash, StartKind::Word),
        }
    }

    /// Has [`Words`] read a part of the text.
    fn words(&mut self, part: &str, opening: Opening) -> bool {
        // Behind one of these a tag or mention may reach further than the part.
        if part.contains(['\u{FF03}', '\u{FE5F}', '\u{FF20}', '\u{FE6B}']) {
            return true;
        }
        self.room.clear();
        self.room.push(part, opening, self.mentions);
        self.room.starts().iter().any(|start| (self.may_hold)(start.hash, start.kind))
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }
}

/// Whether a name that goes on like this may hold a letter beyond ASCII; of a very long one it is not asked.
fn may_reach_beyond_ascii(rest: &[u8]) -> bool {
    /// Longer than any network's names, and short enough that a text of nothing but names is read in linear time.
    const NAME_BYTES_MAX: usize = 256;
    let end = rest.iter().take(NAME_BYTES_MAX).find(|byte| !byte.is_ascii() || byte.is_ascii_whitespace());
    end.map_or(rest.len() > NAME_BYTES_MAX, |byte| !byte.is_ascii())
}

/// The eight bytes from `at` on, as far as there are any; zeros behind them.
#[inline]
fn eight_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8) {
        Some(eight) => eight.try_into().map_or(0, u64::from_le_bytes),
        None => {
            let mut padded = [0; 8];
            let rest = bytes.get(at..).unwrap_or_default();
            padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            u64::from_le_bytes(padded)
        }
    }
}

/// A word being read: its first eight bytes, its last eight, and its length.
#[derive(Debug, Default)]
struct Word {
    head: u64,
    tail: u64,
    len: usize,
}

impl Word {
    #[inline]
    fn push(&mut self, byte: u8) {
        if self.len < 8 {
            self.head |= u64::from(byte) << (self.len * 8);
            self.tail = self.head;
        } else {
            self.tail = self.tail >> 8 | u64::from(byte) << 56;
        }
        self.len += 1;
    }

    fn hash(&self) -> u32 {
        hash(self.head, self.tail, self.len)
    }

    fn end(&mut self, may_hold: &mut impl FnMut(u32, StartKind) -> bool) -> bool {
        let word = std::mem::take(self);
        word.len > 0 && may_hold(word.hash(), StartKind::Word)
    }
}

/// What folding makes of a letter that nothing melts into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folded {
    /// What [`fold::latin`] says.
    Latin,
    /// One letter of a word.
    Letter(char),
    /// Itself, and a term may begin at it wherever it is.
    Free,
    Break,
    Dropped,
    /// Anything else: letters that fold to several, full-width signs, rare scripts.
    Other,
}

fn folded(letter: char) -> Folded {
    /// The alphabets, punctuation, symbols and kana: 13,000 letters, made once in some 3 ms.
    static FOLDED: LazyLock<Vec<Folded>> = LazyLock::new(|| (FIRST..='\u{33FF}').map(fold_one).collect());
    const FIRST: char = '\u{80}';
    match letter {
        FIRST..='\u{33FF}' => FOLDED.get(letter as usize - FIRST as usize).copied().unwrap_or(Folded::Other),
        '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}' => Folded::Free,
        '\u{1F1E6}'..='\u{1F1FF}' | '\u{1F300}'..='\u{1FAFF}' => Folded::Free,
        '\u{FE0E}' | '\u{FE0F}' => Folded::Dropped,
        '\u{FF01}'..='\u{FF5E}' => fold_one(letter),
        _ => Folded::Other,
    }
}

fn fold_one(letter: char) -> Folded {
    if fold::latin(letter).is_some() {
        return Folded::Latin;
    }
    if let Some(sign) = fold::narrow(letter) {
        // In tags, mentions and links these mean more than a break.
        return match sign {
            b'#' | b'@' | b'_' | b'.' | b':' => Folded::Other,
            _ if sign.is_ascii_alphanumeric() => Folded::Letter(sign.to_ascii_lowercase().into()),
            _ => Folded::Break,
        };
    }
    if matches!(letter, '\u{2000}'..='\u{206F}') {
        return if fold::is_dropped(letter) { Folded::Dropped } else { Folded::Break };
    }
    let mut folded = String::new();
    fold::fold(letter.encode_utf8(&mut [0; 4]), |letter| folded.push(letter));
    let mut letters = folded.chars();
    match (letters.next(), letters.next()) {
        (None, _) => Folded::Dropped,
        (Some(one), None) => match fold::class(one) {
            Class::Word => Folded::Letter(one),
            Class::Free if one == letter => Folded::Free,
            Class::Free => Folded::Other,
            Class::Break => Folded::Break,
            Class::Dropped => Folded::Dropped,
        },
        _ => Folded::Other,
    }
}

/// Which bytes of a block are of each class.
struct Classes {
    /// ASCII letters and digits.
    letters: u64,
    beyond_ascii: u64,
    /// `#` and `@`.
    signs: u64,
}

impl Classes {
    #[inline]
    fn of(block: &[u8; 64]) -> Classes {
        let mut classes = Classes { letters: 0, beyond_ascii: 0, signs: 0 };
        let (sixteens, _) = block.as_chunks::<16>();
        for (sixteen, shift) in sixteens.iter().zip((0..).step_by(16)) {
            let bytes = u8x16::new(*sixteen);
            let bits = |bytes: u8x16| u64::from(bytes.to_bitmask()) << shift;
            let within = |bytes: u8x16, first, last| {
                bytes.max(u8x16::splat(first)).min(u8x16::splat(last)).simd_eq(bytes)
            };
            let equal = |to| bytes.simd_eq(u8x16::splat(to));
            let lower = bytes | u8x16::splat(0x20);
            classes.letters |= bits(within(lower, b'a', b'z') | within(bytes, b'0', b'9'));
            classes.beyond_ascii |= bits(bytes);
            classes.signs |= bits(equal(b'#') | equal(b'@'));
        }
        classes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Every first word that `Words` finds is asked about, unless the probe says yes by itself.
    fn check(text: &str, opening: Opening, mentions: Mentions) {
        let mut asked = HashSet::new();
        let says_yes = may_begin(text, opening, mentions, &mut Words::default(), |hash, kind| {
            asked.insert((hash, kind as u32));
            false
        });
        let mut words = Words::default();
        words.push(text, opening, mentions);
        for start in words.starts() {
            assert!(
                says_yes || asked.contains(&(start.hash, start.kind as u32)),
                "{start:?} of {:?} in {text:?}",
                String::from_utf8_lossy(words.bytes())
            );
        }
    }

    fn check_all(text: &str) {
        for opening in [Opening::Text, Opening::Tag, Opening::Mention] {
            for mentions in [Mentions::Bare, Mentions::Dotted] {
                check(text, opening, mentions);
            }
        }
    }

    #[test]
    fn what_words_find_is_asked_about() {
        for text in [
            "Lumio est en panne, l'élan d’été…",
            "#panne_totale a#b_c #_x ##y #été_x #ルミオ_x 、＃bar_baz ＠foo_x",
            "@lumio.bsky.social @.x @_x @a-b @é.x @\u{2068}.x @fo\u{200B}o_x @@a x@y_z",
            "日本語lumioが壊れた ｶﾞ カ\u{3099} 한국 😡👍🏽 ❤\u{FE0F} हिन्दी",
            "https://a.example/x_y www.example.org ｗｗｗ．x ｗｗｗ．aé www.a.b日 https://a/b?c=dé ẁww.aé",
            "e\u{301}te\u{301} \u{301} =\u{338}",
            "www.\u{200b}a\u{cd5} @www.\u{200b}bé @x-\u{2068}y日本",
        ] {
            check_all(text);
            for pad in 55..70 {
                check_all(&[&" x".repeat(pad), text].concat());
                check_all(&["x".repeat(pad).as_str(), text].concat());
            }
        }
    }

    #[test]
    fn a_text_without_first_words_is_passed_over() {
        for text in ["", "…", "Lumio est l'élan ｶﾞ #tag @name 日本"] {
            assert!(!may_begin(text, Opening::Text, Mentions::Dotted, &mut Words::default(), |_, _| false));
        }
    }

    /// Every letter of the table, and of scripts of thousands every thirteenth, alone and between others.
    #[test]
    fn no_letter_is_folded_otherwise() {
        let scripts = ('\u{3400}'..='\u{2FFFF}').step_by(13);
        for letter in
            ('\0'..='\u{33FF}').chain(scripts).chain('\u{FE00}'..='\u{FFFF}').chain('\u{1F000}'..='\u{1FAFF}')
        {
            for text in [format!("{letter}"), format!("a{letter}b {letter}{letter}c")] {
                check(&text, Opening::Text, Mentions::Dotted);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn no_first_word_of_any_text_is_missed(
            pieces in prop::collection::vec(
                prop_oneof![
                    "[a-zA-Z0-9_#@.:/' -]{1,12}",
                    "\\PC{1,3}",
                    prop::sample::select(vec![
                        "é", "œ", "ß", "’", "\u{200B}", "\u{2068}", "\u{301}", "\u{FE0F}", "＃", "＠", "＿", "．",
                        "Ａ", "ｶ", "ﾞ", "カ", "\u{3099}", "日", "が", "😡", "한", "www.", "https://", "#", "@", "_", " ",
                    ]).prop_map(str::to_owned),
                ],
                0..40,
            ),
        ) {
            check_all(&pieces.concat());
        }
    }
}
