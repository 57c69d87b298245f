//! Text → words as the dictionary spells them, with every place where a term may begin.
//!
//! The form is: folded letters ([`fold`]), one space for any run of anything else, and
//! - a mention is one word that keeps its `@`, and where the network allows them its dots, dashes and
//!   host: `@lumio.bsky.social`;
//! - a hashtag's word loses its `#` but may begin a tag term as well as a word, so that `en #panne` is
//!   found both as `#panne` and as `en panne`;
//! - a link with a scheme or `www.` is a break: what it points to was not said by the poster;
//! - an apostrophe is a break, so that `l'lumio` holds the word `lumio`.
//!
//! Segments (the text, the quoted text, each tag and mention that the network names) are kept apart by a
//! line feed, which no term holds.

use std::ops::Range;

use super::fold::{self, Class};

/// What a network lets an account's name be made of, beside letters, digits and `_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mentions {
    /// Nothing: `@lumio.Merci` mentions `@lumio` (X).
    Bare,
    /// Dots, dashes and a host after a second `@` (Bluesky, Mastodon).
    Dotted,
}

/// How a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// Anything may follow.
    Text,
    /// A hashtag without its `#`.
    Tag,
    /// A mention without its `@`.
    Mention,
}

/// What a place in the text may be the beginning of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartKind {
    /// A word, or a letter of a script without spaces.
    Word,
    /// A hashtag: the place is that of its first letter.
    Tag,
    /// A mention: the place is that of its `@`.
    Mention,
}

/// A place where a term may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Index into [`Words::bytes`].
    pub(super) at: u32,
    /// Of the first word from here.
    pub(super) hash: u32,
    pub(super) kind: StartKind,
}

/// How a term begins: what a place must look like for the term to begin there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Begins {
    /// Of its first word.
    pub(super) word: u32,
    /// Of its first two words, or of its only one.
    pub(super) words: u32,
}

/// Normalised text, reused from post to post.
#[derive(Debug, Default)]
pub(super) struct Words {
    bytes: Vec<u8>,
    starts: Vec<Start>,
    /// For each byte of `bytes` the bytes of the segment it stands for; filled only when traced.
    origins: Vec<Range<u32>>,
    /// Whether a link, a hashtag, a mention was seen.
    pub(super) has_link: bool,
    pub(super) has_tag: bool,
    pub(super) has_mention: bool,
}

impl Words {
    /// Ready for the next post. Gives back what an unusually long post made it take.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.starts.clear();
        self.starts.shrink_to(KEPT_BYTES_MAX);
        self.origins.clear();
        self.origins.shrink_to(KEPT_BYTES_MAX);
        (self.has_link, self.has_tag, self.has_mention) = (false, false, false);
    }

    /// Appends a segment; gives its place in [`Words::bytes`].
    pub(super) fn push(&mut self, text: &str, opening: Opening, mentions: Mentions) -> Range<u32> {
        self.read::<false>(text, opening, mentions)
    }

    /// As [`Words::push`], and remembers where each byte comes from.
    pub(super) fn push_traced(&mut self, text: &str, opening: Opening, mentions: Mentions) -> Range<u32> {
        self.read::<true>(text, opening, mentions)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn starts(&self) -> &[Start] {
        &self.starts
    }

    /// How a term begins that begins at this start and reaches to the end.
    pub(super) fn begins(&self, start: usize) -> Option<Begins> {
        let first = self.starts.get(start)?;
        let next = next_word(&self.starts, start);
        Some(Begins { word: first.hash, words: next.map_or(first.hash, |next| pair(first.hash, next)) })
    }

    /// The bytes of the traced segment that `span` of [`Words::bytes`] stands for.
    pub(super) fn origin(&self, span: Range<usize>) -> Option<Range<usize>> {
        let origins = self.origins.get(span)?;
        Some(origins.first()?.start as usize..origins.last()?.end as usize)
    }

    fn read<const TRACED: bool>(&mut self, text: &str, opening: Opening, mentions: Mentions) -> Range<u32> {
        if !self.bytes.is_empty() {
            self.bytes.push(b'\n');
            if TRACED {
                self.origins.push(0..0);
            }
        }
        let begin = self.bytes.len();
        let mut reader = Reader::<TRACED> {
            words: self,
            text,
            begin,
            state: State::Break,
            word_at: begin,
            tag: if opening == Opening::Tag { Tag::Opening } else { Tag::None },
            mentions,
        };
        reader.read(opening);
        place(begin)..place(self.bytes.len())
    }
}

/// Capacity kept between posts, in items of each buffer: the longest text of any network we know (a
/// Facebook post, 63,206 letters) fits, and a lane holds at most 64 KiB × (1 + 12 + 8) of it.
const KEPT_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next letter begins a word.
    Break,
    /// Inside a word that began at `word_at`.
    Word,
    /// Behind a letter that stands for itself.
    Free,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    None,
    /// Behind `#`.
    Opening,
    /// Inside a tag whose first word is being read.
    First,
    /// Inside a tag, behind its first word.
    Inside,
}

struct Reader<'r, const TRACED: bool> {
    words: &'r mut Words,
    text: &'r str,
    /// Where the segment begins in `words.bytes`.
    begin: usize,
    state: State,
    word_at: usize,
    tag: Tag,
    mentions: Mentions,
}

impl<const TRACED: bool> Reader<'_, TRACED> {
    fn read(&mut self, opening: Opening) {
        let mut at = 0;
        if opening == Opening::Mention {
            at = self.mention(0, 0);
        }
        let bytes = self.text.as_bytes();
        while let Some(next) = bytes.get(at) {
            // Nearly all of a post is ASCII words and single spaces.
            let (letters, run) = letters_at(bytes, at);
            if run > 0 {
                self.letters(at, letters, run);
                at += run;
            } else if *next == b' ' {
                self.close();
                at += 1;
            } else if next.is_ascii() {
                at = self.sign(*next, at, 1);
            } else {
                // `at` only ever moves by whole characters.
                let rest = self.text.get(at..).unwrap_or_default();
                at = self.beyond_ascii(rest.chars().next().unwrap_or(' '), at, rest);
            }
        }
        self.close();
    }

    /// `run` ASCII letters and digits in lower case, the first of `letters`.
    #[inline]
    fn letters(&mut self, at: usize, letters: u64, run: usize) {
        self.enter_word();
        let end = self.words.bytes.len() + run;
        // A copy of constant length is one store; what is too much goes at once.
        self.words.bytes.extend_from_slice(&letters.to_le_bytes());
        self.words.bytes.truncate(end);
        if TRACED {
            self.words.origins.extend((at..at + run).map(|at| place(at)..place(at + 1)));
        }
    }

    /// Any other ASCII character, or its wide form `len` bytes long; gives where to read on.
    fn sign(&mut self, sign: u8, at: usize, len: usize) -> usize {
        let next = at + len;
        match sign {
            b'@' if self.state != State::Word => return self.mention(at, next),
            b'#' if self.state != State::Word => {
                self.close();
                self.tag = Tag::Opening;
            }
            b'_' if self.tag != Tag::None => self.word_letter(b'_', at, len),
            b':' if self.follows(next, "//") && self.state == State::Word => return self.link(next),
            b'.' if self.state == State::Word && self.words.bytes.get(self.word_at..) == Some(b"www") => {
                return self.link(next);
            }
            _ if sign.is_ascii_alphanumeric() => self.word_letter(sign.to_ascii_lowercase(), at, len),
            _ => self.close(),
        }
        next
    }

    fn beyond_ascii(&mut self, letter: char, at: usize, rest: &str) -> usize {
        let len = letter.len_utf8();
        let next = at + len;
        if let Some(letters) = fold::latin(letter) {
            self.enter_word();
            self.words.bytes.extend_from_slice(letters);
            self.trace(letters.len(), at, len);
            return next;
        }
        if let Some(sign) = fold::narrow(letter) {
            return self.sign(sign, at, len);
        }
        // General punctuation holds typographic quotes, dashes and dots, and no letter.
        if matches!(letter, '\u{2000}'..='\u{206F}') {
            if fold::is_dropped(letter) {
                self.dropped(next);
            } else {
                self.close();
            }
            return next;
        }
        let melted: usize =
            rest.chars().skip(1).take_while(|next| fold::continues(*next)).map(char::len_utf8).sum();
        let len = len + melted;
        let folds_to_itself =
            matches!(letter, '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FA}' | '\u{4E00}'..='\u{9FFF}');
        if melted == 0 && folds_to_itself {
            self.folded(letter, at, len);
        } else {
            let mut any = false;
            fold::fold(rest.get(..len).unwrap_or_default(), |letter| {
                any = true;
                self.folded(letter, at, len);
            });
            if !any {
                self.dropped(at + len);
            }
        }
        at + len
    }

    fn folded(&mut self, letter: char, at: usize, len: usize) {
        let mut utf8 = [0; 4];
        match fold::class(letter) {
            Class::Dropped => self.dropped(at + len),
            Class::Break => self.close(),
            Class::Word => {
                self.enter_word();
                let bytes = letter.encode_utf8(&mut utf8).as_bytes();
                self.words.bytes.extend_from_slice(bytes);
                self.trace(bytes.len(), at, len);
            }
            Class::Free => {
                let joined = self.state != State::Break;
                let tag = self.tag;
                self.end_word();
                self.separate(joined);
                let bytes = letter.encode_utf8(&mut utf8).as_bytes();
                let start = self.words.bytes.len();
                self.words.bytes.extend_from_slice(bytes);
                self.trace(bytes.len(), at, len);
                self.start(start, bytes_hash(bytes), StartKind::Word);
                if tag == Tag::Opening {
                    self.start(start, bytes_hash(bytes), StartKind::Tag);
                }
                self.tag = if tag == Tag::None { Tag::None } else { Tag::Inside };
                self.state = State::Free;
            }
        }
    }

    /// Reads the mention whose `@` is at `at`, its name from `from` on; gives where to read on.
    fn mention(&mut self, at: usize, from: usize) -> usize {
        self.close();
        let undo = self.words.bytes.len();
        self.separate(false);
        let start = self.words.bytes.len();
        self.words.bytes.push(b'@');
        self.trace(1, at, from - at);
        // Behind the last letter that may end a name: in what we write, and in the text.
        let (mut end, mut next) = (0, from);
        let mut hosted = false;
        for (offset, letter) in self.text.get(from..).unwrap_or_default().char_indices() {
            let letter_at = from + offset;
            let sign = if letter.is_ascii() { Some(letter as u8) } else { fold::narrow(letter) };
            let Some(sign) = sign else {
                // Clients wrap what they insert in direction marks.
                if fold::is_dropped(letter) { continue } else { break }
            };
            let letter_end = letter_at + letter.len_utf8();
            match sign {
                b'_' => {}
                _ if sign.is_ascii_alphanumeric() => {}
                b'.' | b'-' if self.mentions == Mentions::Dotted => {}
                b'@' if self.mentions == Mentions::Dotted && !hosted && end > 0 => hosted = true,
                _ => break,
            }
            self.words.bytes.push(sign.to_ascii_lowercase());
            self.trace(1, letter_at, letter.len_utf8());
            if sign.is_ascii_alphanumeric() || sign == b'_' {
                (end, next) = (self.words.bytes.len(), letter_end);
            }
        }
        if end == 0 {
            end = undo;
        } else {
            self.words.has_mention = true;
            let first = self.words.bytes.get(start + 1..end).unwrap_or_default();
            let first = first.split(|byte| matches!(byte, b'.' | b'-' | b'@')).next().unwrap_or_default();
            self.start(start, bytes_hash(first), StartKind::Mention);
        }
        self.words.bytes.truncate(end);
        if TRACED {
            self.words.origins.truncate(end);
        }
        next
    }

    /// Takes back the word that began a link, and skips the link.
    fn link(&mut self, from: usize) -> usize {
        self.words.has_link = true;
        let mut end = self.word_at;
        if end > self.begin && self.words.bytes.get(end - 1) == Some(&b' ') {
            end -= 1;
        }
        self.words.bytes.truncate(end);
        if TRACED {
            self.words.origins.truncate(end);
        }
        (self.state, self.tag) = (State::Break, Tag::None);
        let ends =
            |byte: &u8| byte.is_ascii_whitespace() || !byte.is_ascii() || matches!(byte, b'<' | b'>' | b'"');
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        from + rest.iter().position(ends).unwrap_or(rest.len())
    }

    fn follows(&self, at: usize, expected: &str) -> bool {
        self.text.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(expected.as_bytes()))
    }

    fn word_letter(&mut self, letter: u8, at: usize, len: usize) {
        self.enter_word();
        self.words.bytes.push(letter);
        self.trace(1, at, len);
    }

    #[inline]
    fn enter_word(&mut self) {
        if self.state == State::Word {
            return;
        }
        self.separate(self.state == State::Free);
        self.word_at = self.words.bytes.len();
        self.state = State::Word;
        if self.tag == Tag::Opening {
            self.tag = Tag::First;
        }
    }

    /// Writes the space before a word, unless it is `joined` to what stands there or the first.
    fn separate(&mut self, joined: bool) {
        if !joined && self.words.bytes.len() > self.begin {
            self.words.bytes.push(b' ');
            if TRACED {
                let end = self.words.origins.last().map_or(0, |origin| origin.end);
                self.words.origins.push(end..end);
            }
        }
    }

    /// A break: ends the word and the tag.
    #[inline]
    fn close(&mut self) {
        self.end_word();
        self.state = State::Break;
        self.tag = Tag::None;
    }

    #[inline]
    fn end_word(&mut self) {
        if self.state == State::Word {
            let end = self.words.bytes.len();
            // With zeros behind it, a word of any length is hashed by one load.
            self.words.bytes.extend_from_slice(&[0; 8]);
            let eight = |at: usize| {
                let eight = self.words.bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok());
                eight.map_or(0, u64::from_le_bytes)
            };
            let (head, tail) = (eight(self.word_at), eight(self.word_at.max(end.saturating_sub(8))));
            self.words.bytes.truncate(end);
            let hash = hash(head, tail, end - self.word_at);
            self.start(self.word_at, hash, StartKind::Word);
            if self.tag == Tag::First {
                self.start(self.word_at, hash, StartKind::Tag);
                self.tag = Tag::Inside;
            }
        }
    }

    fn start(&mut self, at: usize, hash: u32, kind: StartKind) {
        self.words.has_tag |= kind == StartKind::Tag;
        self.words.starts.push(Start { at: place(at), hash, kind });
    }

    fn trace(&mut self, bytes: usize, at: usize, len: usize) {
        if TRACED {
            self.words.origins.extend(std::iter::repeat_n(place(at)..place(at + len), bytes));
        }
    }

    /// What was dropped up to `end` still belongs to the letter before it.
    fn dropped(&mut self, end: usize) {
        if TRACED
            && self.state != State::Break
            && let Some(last) = self.words.origins.last_mut()
        {
            last.end = place(end);
        }
    }
}

/// Of a first word, by its first eight bytes (zeros behind a shorter one), its last eight, and its length:
/// enough to tell most words apart, cheap enough to do for each.
#[inline]
pub(super) fn hash(head: u64, tail: u64, len: usize) -> u32 {
    let mixed = (head ^ (len as u64).rotate_left(56)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // The sum's upper half depends on every byte of both.
    (mixed.wrapping_add(tail.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)) >> 32) as u32
}

pub(super) fn bytes_hash(word: &[u8]) -> u32 {
    let eight =
        |bytes: &[u8]| bytes.iter().take(8).rev().fold(0, |eight, byte| eight << 8 | u64::from(*byte));
    let tail = word.get(word.len().saturating_sub(8)..).unwrap_or_default();
    hash(eight(word), eight(tail), word.len())
}

/// Of two words that follow each other.
#[inline]
pub(super) fn pair(first: u32, next: u32) -> u32 {
    first.rotate_left(16).wrapping_mul(0x85EB_CA6B).wrapping_add(next)
}

/// The hash of the word behind the one at `start`: a tag's first word has two starts at one place.
#[inline]
pub(super) fn next_word(starts: &[Start], start: usize) -> Option<u32> {
    let at = starts.get(start)?.at;
    let next = starts.get(start + 1)?;
    if next.at > at { Some(next.hash) } else { starts.get(start + 2).map(|next| next.hash) }
}

/// The next eight bytes with their letters in lower case, and how many of them, up to the first that is
/// not, are ASCII letters or digits.
///
/// All eight are looked at at once: a loop over bytes mispredicts the end of every word, and cost twice
/// the time of everything else.
#[inline]
fn letters_at(bytes: &[u8], at: usize) -> (u64, usize) {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let eight = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).unwrap_or_else(|| {
        let mut padded = [0; 8];
        padded.iter_mut().zip(bytes.get(at..).unwrap_or_default()).for_each(|(to, from)| *to = *from);
        padded
    });
    let eight = u64::from_le_bytes(eight);
    // Setting this bit lowers a letter and leaves a digit as it is.
    let lower = eight | (ONES * 0x20);
    // Adding 0x80 - `first` carries into a byte's high bit where the byte is `first` or above; without
    // high bits of their own, bytes do not carry into each other.
    let at_least = |bytes: u64, first: u8| (bytes & !HIGH) + ONES * (0x80 - u64::from(first));
    let letter = at_least(lower, b'a') & !at_least(lower, b'z' + 1);
    let digit = at_least(eight, b'0') & !at_least(eight, b'9' + 1);
    let others = (!(letter | digit) | eight) & HIGH;
    (lower, others.trailing_zeros() as usize / 8)
}

/// An index as it is stored: frames are far below 4 GiB, so nothing is ever cut.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        check_as(text, Opening::Text, Mentions::Dotted, expected);
    }

    fn check_as(text: &str, opening: Opening, mentions: Mentions, expected: &str) {
        let mut words = Words::default();
        words.push(text, opening, mentions);
        assert_eq!(String::from_utf8_lossy(words.bytes()), expected, "{text:?}");
    }

    #[test]
    fn words_are_folded_and_kept_apart_by_one_space() {
        check("Lumio   est EN panne!!", "lumio est en panne");
        check("l'Élan, d’été…", "l elan d ete");
        check("e\u{301}te\u{301}", "ete");
        check("Ｌｕｍｉｏ　ｂｏｘ", "lumio box");
        check("lu\u{200B}mi\u{AD}o", "lumio");
        check("cœur Straße", "coeur strasse");
        check("  (4G+) wi-fi / a_b", "4g wi fi a b");
        check("Lumio™ box", "lumio box");
        check("ﬁbre", "fibre");
        check("…", "");
        check("", "");
    }

    #[test]
    fn scripts_without_spaces_join_what_they_touch() {
        check("ルミオが壊れた。助けて", "ルミオが壊れた 助けて");
        check("lumioが、ok", "lumioが ok");
        check("루미오가 안돼", "루미오가 안돼");
        check("panne😡❤\u{FE0F}grave", "panne😡❤grave");
    }

    #[test]
    fn a_mention_is_one_word() {
        check("Merci @Lumio.bsky.social.", "merci @lumio.bsky.social");
        check(".@lumio: @lumio_help!", "@lumio @lumio_help");
        check("@lumio@mastodon.social, oui", "@lumio@mastodon.social oui");
        check("＠Ｌｕｍｉｏさん", "@lumio さん");
        check("助けて@lumio", "助けて @lumio");
        check("\u{2068}@lumio.bsky.social\u{2069} ok", "@lumio.bsky.social ok");
        check("aide@lumio.fr", "aide lumio fr");
        check("@ lumio @@ @", "lumio");
        check_as("@lumio.Merci @a@b", Opening::Text, Mentions::Bare, "@lumio merci @a @b");
        check_as("Lumio@Host.fr", Opening::Mention, Mentions::Dotted, "@lumio@host.fr");
    }

    #[test]
    fn a_hashtag_loses_its_sign_and_keeps_its_underscore() {
        check("en #Panne_Lumio a_b", "en panne_lumio a b");
        check("＃ルミオ", "ルミオ");
        check("# lumio c#", "lumio c");
        check_as("Lumio_Box", Opening::Tag, Mentions::Bare, "lumio_box");
    }

    #[test]
    fn links_are_breaks() {
        check("voir https://lumio.fr/panne?x=1 merci", "voir merci");
        check("https://lumio.fr/を見て", "を見て");
        check("WWW.lumio.fr panne", "panne");
        check("lumio.fr est down", "lumio fr est down");
    }

    #[test]
    fn starts_say_what_may_begin_there() {
        let mut words = Words::default();
        words.push("a #b @c カ", Opening::Text, Mentions::Bare);
        let starts: Vec<_> = words.starts().iter().map(|start| (start.at, start.kind)).collect();
        let expected = [
            (0, StartKind::Word),
            (2, StartKind::Word),
            (2, StartKind::Tag),
            (4, StartKind::Mention),
            (7, StartKind::Word),
        ];
        assert_eq!(starts, expected);
        assert!(words.has_tag && words.has_mention && !words.has_link);
    }

    #[test]
    fn a_traced_segment_knows_where_each_word_stood() {
        let text = "Été\u{301}, l'Œuf !";
        let mut words = Words::default();
        words.push_traced(text, Opening::Text, Mentions::Dotted);
        assert_eq!(words.bytes(), b"ete l oeuf");
        for (span, origin) in [(0..3, "Été\u{301}"), (4..5, "l"), (6..10, "Œuf")] {
            assert_eq!(text.get(words.origin(span).unwrap()), Some(origin));
        }
    }

    #[test]
    fn eight_bytes_at_once_say_the_same_as_one_by_one() {
        for byte in 0..=u8::MAX {
            for before in 0..8 {
                let mut bytes = [b'Z'; 8];
                bytes[before] = byte;
                let run = if byte.is_ascii_alphanumeric() { 8 } else { before };
                let (letters, found) = letters_at(&bytes, 0);
                assert_eq!(found, run, "byte {byte} behind {before} letters");
                assert_eq!(letters.to_le_bytes()[..run], bytes.to_ascii_lowercase()[..run]);
                assert_eq!(letters_at(&bytes[..=before], 0).1, run.min(before + 1));
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,40}|[a-zé@#._:/ -]{0,30}") {
            let normalise = |text: &str| {
                let mut words = Words::default();
                words.push(text, Opening::Text, Mentions::Dotted);
                String::from_utf8(words.bytes().to_vec()).unwrap()
            };
            let once = normalise(&text);
            // A hashtag's underscore is a break once its sign is gone.
            proptest::prop_assume!(!once.contains('_'));
            proptest::prop_assert_eq!(normalise(&once), once);
        }

        #[test]
        fn origins_cover_every_byte_and_lie_in_the_text(text in "\\PC{0,40}|[a-zé@#._:/ \u{301}-]{0,30}") {
            let mut words = Words::default();
            words.push_traced(&text, Opening::Text, Mentions::Dotted);
            proptest::prop_assert_eq!(words.origins.len(), words.bytes.len());
            for origin in &words.origins {
                proptest::prop_assert!(text.get(origin.start as usize..origin.end as usize).is_some());
            }
        }
    }
}
