//! Normalised text → hashed n-grams, version 1: the reader of models that must be fast.
//!
//! The training side does the same in `models/train/ngrams.py`; a change here is a change there, and a new
//! model.
//!
//! 1. *Folding.* Each character becomes its lower-case characters, and each of those what `fold` says: Latin
//!    letters of French and its neighbours without their marks, every ASCII digit 0.
//! 2. *Tokens.* A run of word characters (`is_word`) is one token. A space separates. Any other character is
//!    a mark; a run of the same mark is one token, of at most three of it.
//! 3. *Features*, in this order, cut to the model's `tokens_max`:
//!    - for each token: `w`, token;
//!    - for each place between tokens, the two ends included: `b`, left token, space, right token, where `^`
//!      is left of the first and `$` right of the last, so that the empty text has the one feature `b^ $`;
//!    - for each word, for each length from the least to the most, for each start: `c` and that many characters
//!      of `<`, word, `>`; none where that is shorter.
//! 4. *Ids.* A feature is the 64-bit FNV-1a hash h of its bytes (Fowler, Noll, Vo), its id
//!    1 + (h ⊕ h >> 32) mod 2³² mod (buckets − 1). Id 0 is left for padding.

use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};

/// The id that no feature has.
pub const PAD_ID: u32 = 0;

/// How many buckets a model may ask for: more would be a table of more than a gigabyte at 16 floats each.
const BUCKETS: RangeInclusive<u32> = 2..=1 << 24;

/// How long the n-grams of letters may be; longer ones are words.
const LETTERS: RangeInclusive<usize> = 1..=16;

/// FNV-1a's parameters for 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The reader of one bundle, with the buffers it reuses: a text allocates nothing once they have grown.
#[derive(Debug)]
pub struct Ngrams {
    /// How many ids there are: buckets less the one of padding.
    ids: NonZeroU32,
    letters: RangeInclusive<usize>,
    folded: String,
    tokens: Vec<Token>,
    marked: String,
    starts: Vec<usize>,
}

/// A word or a mark, as a range of the folded text.
#[derive(Debug)]
struct Token {
    range: Range<usize>,
    is_word: bool,
}

impl Ngrams {
    /// A reader of `buckets` ids, padding included, and of n-grams of `letters[0]` to `letters[1]` letters.
    ///
    /// # Errors
    ///
    /// When no model can have been trained with such numbers; the text says which, and what would do.
    pub fn new(buckets: u32, letters: [usize; 2]) -> Result<Self, String> {
        let [least, most] = letters;
        let (min, max) = (BUCKETS.start(), BUCKETS.end());
        let ids = NonZeroU32::new(buckets.saturating_sub(1)).filter(|_| BUCKETS.contains(&buckets));
        let Some(ids) = ids else {
            return Err(format!("buckets = {buckets}: must be from {min} to {max}"));
        };
        if !(LETTERS.contains(&least) && LETTERS.contains(&most) && least <= most) {
            let (min, max) = (LETTERS.start(), LETTERS.end());
            return Err(format!(
                "chars = [{least}, {most}]: must be two numbers from {min} to {max}, the lesser first"
            ));
        }
        Ok(Self {
            ids,
            letters: least..=most,
            folded: String::new(),
            tokens: Vec::new(),
            marked: String::new(),
            starts: Vec::new(),
        })
    }

    /// The largest id that [`Self::encode`] may give.
    pub fn last_id(&self) -> u32 {
        self.ids.get()
    }

    /// Appends the ids of the first `features_max` features of `normalised` to `ids`: one at least.
    pub fn encode(&mut self, normalised: &str, features_max: usize, ids: &mut Vec<u32>) {
        self.fold(normalised);
        self.cut();
        let end = ids.len() + features_max;
        let id = |hash: Fnv| hash.id(self.ids);
        let text = |token: &Token| self.folded.get(token.range.clone()).unwrap_or_default();

        ids.extend(self.tokens.iter().map(|token| id(Fnv::of(b"w").with(text(token)))));
        let mut left = "^";
        for right in self.tokens.iter().map(text).chain(["$"]) {
            ids.push(id(Fnv::of(b"b").with(left).with(" ").with(right)));
            left = right;
        }
        for word in self.tokens.iter().filter(|token| token.is_word).map(text) {
            if ids.len() >= end {
                break;
            }
            self.marked.clear();
            self.marked.extend(["<", word, ">"]);
            self.starts.clear();
            self.starts.extend(self.marked.char_indices().map(|(start, _)| start));
            self.starts.push(self.marked.len());
            for length in self.letters.clone() {
                ids.extend(self.starts.windows(length + 1).map(|starts| {
                    let (start, end) = (starts.first().copied(), starts.last().copied());
                    let letters = self.marked.get(start.unwrap_or(0)..end.unwrap_or(0));
                    id(Fnv::of(b"c").with(letters.unwrap_or_default()))
                }));
            }
        }
        ids.truncate(end);
    }

    fn fold(&mut self, normalised: &str) {
        self.folded.clear();
        for c in normalised.chars() {
            if c.is_ascii() {
                self.folded.push(fold_ascii(c));
            } else {
                c.to_lowercase().for_each(|lower| fold(lower, &mut self.folded));
            }
        }
    }

    /// Cuts the folded text into tokens.
    fn cut(&mut self) {
        self.tokens.clear();
        let mut characters = self.folded.char_indices().peekable();
        while let Some((start, first)) = characters.next() {
            if first == ' ' {
                continue;
            }
            let is_word = is_word(first);
            let (mut end, mut run) = (start + first.len_utf8(), 1);
            let belongs = |c: char| if is_word { self::is_word(c) } else { c == first };
            while let Some((_, c)) = characters.next_if(|&(_, c)| belongs(c)) {
                run += 1;
                if is_word || run <= 3 {
                    end += c.len_utf8();
                }
            }
            self.tokens.push(Token { range: start..end, is_word });
        }
    }
}

fn fold_ascii(c: char) -> char {
    if c.is_ascii_digit() { '0' } else { c.to_ascii_lowercase() }
}

/// Appends what the lower-case character `c` is folded to.
fn fold(c: char, folded: &mut String) {
    folded.push(match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => 'a',
        'ç' => 'c',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ñ' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ý' | 'ÿ' => 'y',
        'œ' => return folded.push_str("oe"),
        'æ' => return folded.push_str("ae"),
        '’' => '\'',
        // The capital İ becomes an ASCII i and a combining dot.
        c => fold_ascii(c),
    });
}

/// Whether a folded character belongs to words: ASCII letters and digits, and from U+00C0 up everything but
/// signs, punctuation, emoji, variation selectors and tags.
fn is_word(c: char) -> bool {
    match c {
        '\0'..='\u{bf}' => c.is_ascii_alphanumeric(),
        '\u{d7}' | '\u{f7}' => false,
        '\u{2000}'..='\u{2bff}' | '\u{3000}'..='\u{303f}' | '\u{fe00}'..='\u{fe0f}' => false,
        '\u{1f000}'..='\u{1faff}' | '\u{e0000}'.. => false,
        _ => true,
    }
}

/// A 64-bit FNV-1a hash in the making.
#[derive(Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    fn of(bytes: &[u8]) -> Self {
        Self(FNV_OFFSET).with_bytes(bytes)
    }

    fn with(self, text: &str) -> Self {
        self.with_bytes(text.as_bytes())
    }

    fn with_bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)))
    }

    /// The id among `ids` many; the upper half of the hash counts too, because FNV mixes upwards only.
    fn id(self, ids: NonZeroU32) -> u32 {
        let [a, b, c, d, ..] = (self.0 ^ (self.0 >> 32)).to_le_bytes();
        1 + u32::from_le_bytes([a, b, c, d]) % ids
    }
}

#[cfg(test)]
mod tests {
    use super::super::ModelChoice;
    use super::super::manifest::{Bundle, ReaderSource};
    use super::super::normalise::Normaliser;
    use super::*;
    use proptest::prelude::*;

    fn ngrams() -> Ngrams {
        Ngrams::new(131_072, [3, 5]).unwrap()
    }

    #[test]
    fn a_text_is_folded_and_cut_into_words_and_marks() {
        let check = |text: &str, expected: &[&str]| {
            let mut ngrams = ngrams();
            ngrams.fold(text);
            ngrams.cut();
            let found: Vec<_> =
                ngrams.tokens.iter().map(|token| &ngrams.folded[token.range.clone()]).collect();
            assert_eq!(found, expected, "from {text:?}");
        };
        check("", &[]);
        check("Ça MARCHE pas", &["ca", "marche", "pas"]);
        check("j’ai 42 œufs", &["j", "'", "ai", "00", "oeufs"]);
        check("NON!!!!! oh!?", &["non", "!!!", "oh", "!", "?"]);
        check("'’'’ ''", &["'''", "''"]);
        check("@user: http", &["@", "user", ":", "http"]);
        check("ÀÁÂÃÄÅ ÝŸ ñ Æ", &["aaaaaa", "yy", "n", "ae"]);
        check("ΣΑΣ ß", &["σασ", "ß"]);
        // The capital dotted I becomes two characters; the combining dot is a word character.
        check("İ", &["i\u{307}"]);
        check("3×4÷2", &["0", "×", "0", "÷", "0"]);
        check("a£b µ ª", &["a", "£", "b", "µ", "ª"]);
        check("👍👍👍👍🏽 ❤\u{fe0f}", &["👍👍👍", "🏽", "❤", "\u{fe0f}"]);
        check("日本。x", &["日本", "。", "x"]);
        check("a\u{200d}b\u{202e}\u{e0001}", &["a", "\u{200d}", "b", "\u{202e}", "\u{e0001}"]);
    }

    /// The ids of features that are spelt out.
    fn ids(features: &[&str]) -> Vec<u32> {
        features.iter().map(|feature| Fnv::of(feature.as_bytes()).id(ngrams().ids)).collect()
    }

    fn check(text: &str, features_max: usize, features: &[&str]) {
        let mut found = vec![9];
        ngrams().encode(text, features_max, &mut found);
        assert_eq!(found[1..], ids(features), "of {text:?}");
        assert_eq!(found[0], 9, "what was there stays");
    }

    #[test]
    fn words_come_first_then_neighbours_then_letters() {
        check("", 512, &["b^ $"]);
        check("no!", 512, &["wno", "w!", "b^ no", "bno !", "b! $", "c<no", "cno>", "c<no>"]);
        check("a", 512, &["wa", "b^ a", "ba $", "c<a>"]);
        check("été", 512, &["wete", "b^ ete", "bete $", "c<et", "cete", "cte>", "c<ete", "cete>", "c<ete>"]);
        check("日本", 512, &["w日本", "b^ 日本", "b日本 $", "c<日本", "c日本>", "c<日本>"]);
        check("a b", 512, &["wa", "wb", "b^ a", "ba b", "bb $", "c<a>", "c<b>"]);
    }

    #[test]
    fn a_long_row_is_cut_at_its_end() {
        check("no!", 4, &["wno", "w!", "b^ no", "bno !"]);
        check("no!", 1, &["wno"]);
        check("a b c", 6, &["wa", "wb", "wc", "b^ a", "ba b", "bb c"]);
    }

    #[test]
    fn a_hash_is_fnv_1a() {
        // Test vectors of the authors' reference code.
        assert_eq!(Fnv::of(b"").0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv::of(b"a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Fnv::of(b"foobar").0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn ids_are_those_of_the_training_side() {
        let bundle = Bundle::open(&ModelChoice::Small).unwrap();
        let ReaderSource::Ngrams(mut ngrams) = bundle.reader else { panic!("no n-grams") };
        let mut normaliser = Normaliser::default();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/small/golden.ndjson");
        let file = std::fs::read_to_string(path).unwrap();
        for line in file.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = line["text"].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(line["ids"].clone()).unwrap();
            let mut ids = Vec::new();
            ngrams.encode(normaliser.normalise(text), bundle.tokens_max, &mut ids);
            assert_eq!(ids, expected, "of {text:?}");
        }
        assert!(file.lines().count() >= 50);
    }

    #[test]
    fn numbers_that_no_model_has_are_refused() {
        let check = |buckets: u32, letters: [usize; 2], expected: &str| {
            assert_eq!(Ngrams::new(buckets, letters).unwrap_err(), expected);
        };
        check(0, [3, 5], "buckets = 0: must be from 2 to 16777216");
        check(1, [3, 5], "buckets = 1: must be from 2 to 16777216");
        check(u32::MAX, [3, 5], "buckets = 4294967295: must be from 2 to 16777216");
        for [least, most] in [[0, 5], [5, 3], [3, 17], [usize::MAX, usize::MAX]] {
            let must = "must be two numbers from 1 to 16, the lesser first";
            check(2, [least, most], &format!("chars = [{least}, {most}]: {must}"));
        }
        assert_eq!(Ngrams::new(2, [1, 16]).unwrap().last_id(), 1);
    }

    proptest! {
        #[test]
        fn any_text_has_one_id_or_more_within_the_buckets(text in ".{0,300}", features_max in 1usize..600) {
            let mut ids = Vec::new();
            let mut ngrams = Ngrams::new(100, [1, 4]).unwrap();
            ngrams.encode(&text, features_max, &mut ids);
            prop_assert!((1..=features_max).contains(&ids.len()));
            prop_assert!(ids.iter().all(|id| (1..=ngrams.last_id()).contains(id)));
        }
    }
}
