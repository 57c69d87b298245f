//! Text → token ids, by the very rules the model was trained with.
//!
//! The text is normalised first, in this order: each link becomes `http`, each mention `@user`, runs of
//! white space one space, none at either end. The classes are those of Unicode Technical Standard 18 as
//! the `regex` crate has them; the training side spells out the same sets. Then the bundle's SentencePiece
//! vocabulary cuts the text into pieces, `<s>` in front and `</s>` behind.

use regex::Regex;
use tokenizers::Tokenizer;

/// Longest text that is looked at, in bytes; the rest is ignored, at a character's boundary.
///
/// Twice the longest post of any network we read that could fill the model's 96 tokens: those are used up
/// after about 500 letters, and the longest post allowed anywhere (Mastodon servers with 10,000 characters,
/// X with 25,000) says in its first paragraph what it wants. It also bounds the time that a megabyte takes.
pub const TEXT_BYTES_MAX: usize = 4_000;

/// Pieces that stand around every text: `<s>` and `</s>`.
const ENDS: usize = 2;

/// The tokeniser of one bundle, with the buffers it reuses.
#[derive(Debug)]
pub struct Tokeniser {
    tokenizer: Tokenizer,
    link: Regex,
    mention: Regex,
    without_links: String,
    without_mentions: String,
    normalised: String,
}

/// The tokeniser's file, or the pieces of one text, cannot be made out.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct TokeniseError {
    reason: String,
}

impl Tokeniser {
    /// A tokeniser from Hugging Face JSON. Truncation and padding in it are ignored: batches do both.
    ///
    /// # Errors
    ///
    /// When the JSON is no tokeniser, or does not put one piece before and one behind each text.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokeniseError> {
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(failed)?;
        tokenizer.with_padding(None).with_truncation(None).map_err(failed)?;
        let mut tokeniser = Self {
            tokenizer,
            link: Regex::new(r"https?://\S+").map_err(failed)?,
            mention: Regex::new(r"@[\w.\-]+(?:@[\w.\-]+)?").map_err(failed)?,
            without_links: String::new(),
            without_mentions: String::new(),
            normalised: String::new(),
        };
        let mut ids = Vec::new();
        tokeniser.encode("", &mut ids)?;
        if ids.len() != ENDS {
            let found = ids.len();
            return Err(TokeniseError { reason: format!("the empty text has {found} pieces, not {ENDS}") });
        }
        Ok(tokeniser)
    }

    /// The largest id that [`Self::encode`] may give.
    pub fn last_id(&self) -> u32 {
        self.tokenizer.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// Appends the ids of `text` to `ids`: at least the two ends, with no upper limit of their own.
    ///
    /// Only the first [`TEXT_BYTES_MAX`] bytes are read.
    ///
    /// # Errors
    ///
    /// When the vocabulary has no piece for unknown characters and meets one: a fault of the bundle.
    pub fn encode(&mut self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokeniseError> {
        self.normalise(text);
        let encoding = self.tokenizer.encode_fast(self.normalised.as_str(), true).map_err(failed)?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    fn normalise(&mut self, text: &str) {
        let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text);
        let text = replaced(&self.link, text, "http", &mut self.without_links);
        let text = replaced(&self.mention, text, "@user", &mut self.without_mentions);
        self.normalised.clear();
        // `char::is_whitespace` and the `\s` of regular expressions are both Unicode's White_Space.
        for word in text.split_whitespace() {
            if !self.normalised.is_empty() {
                self.normalised.push(' ');
            }
            self.normalised.push_str(word);
        }
    }
}

/// Shortens a row of ids to `tokens_max`, keeping its last one, `</s>`.
pub(super) fn truncate(ids: &mut Vec<u32>, start: usize, tokens_max: usize) {
    let tokens = ids.len().saturating_sub(start);
    if tokens > tokens_max && tokens_max > 0 {
        ids.drain(start + tokens_max - 1..start + tokens - 1);
    }
}

/// `text` with every match of `pattern` replaced, in `buffer` if there was any.
fn replaced<'t>(pattern: &Regex, text: &'t str, by: &str, buffer: &'t mut String) -> &'t str {
    buffer.clear();
    let mut kept = 0;
    for found in pattern.find_iter(text) {
        buffer.push_str(text.get(kept..found.start()).unwrap_or_default());
        buffer.push_str(by);
        kept = found.end();
    }
    if kept == 0 {
        return text;
    }
    buffer.push_str(text.get(kept..).unwrap_or_default());
    buffer
}

fn failed(error: impl std::fmt::Display) -> TokeniseError {
    TokeniseError { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::embedded;
    use super::*;
    use std::cell::RefCell;

    use proptest::prelude::*;

    fn tokeniser() -> Tokeniser {
        Tokeniser::from_json(embedded::TOKENISER).unwrap()
    }

    #[test]
    fn text_is_normalised_as_in_training() {
        let mut tokeniser = tokeniser();
        let mut check = |text: &str, expected: &str| {
            tokeniser.normalise(text);
            assert_eq!(tokeniser.normalised, expected, "from {text:?}");
        };
        check("", "");
        check(" \t\r\n\u{3000}", "");
        check("  a \u{a0}\u{2028} b  ", "a b");
        check("voir https://a.example/x?y=@z) ici", "voir http ici");
        check("http:// HTTPS://A.example https://", "http:// HTTPS://A.example https://");
        check("http://é\u{3000}x", "http x");
        check("@a @a.b-c @a@b.example @ a@b", "@user @user @user @ a@user");
        check("@@a, .@a: @élise_3!", "@@user, .@user: @user!");
        check("@a@b@c", "@user@user");
        check("@e\u{301}x @½ @\u{200d}", "@user @½ @user");
        // A replaced link may become part of a mention, as it does in training.
        check("@https://x", "@user");
        check("a\u{0}b\u{202e}c\u{200b}d", "a\u{0}b\u{202e}c\u{200b}d");
    }

    #[test]
    fn only_the_first_bytes_are_read_and_no_character_is_cut() {
        let mut tokeniser = tokeniser();
        tokeniser.normalise(&"é".repeat(TEXT_BYTES_MAX));
        assert_eq!(tokeniser.normalised, "é".repeat(TEXT_BYTES_MAX / 2));
        tokeniser.normalise(&format!("a{}", "é".repeat(TEXT_BYTES_MAX)));
        assert_eq!(tokeniser.normalised.len(), TEXT_BYTES_MAX - 1);
    }

    /// Checks the ids of a file that the training side wrote, cut to `tokens_max` where it was there.
    fn check_file(name: &str, tokens_max: usize) {
        let path = format!("{}/models/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut tokeniser = tokeniser();
        let mut ids = Vec::new();
        let file = std::fs::read_to_string(path).unwrap();
        for line in file.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = line["text"].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(line["ids"].clone()).unwrap();
            ids.clear();
            tokeniser.encode(text, &mut ids).unwrap();
            truncate(&mut ids, 0, tokens_max);
            assert_eq!(ids, expected, "of {text:?}");
        }
        assert!(file.lines().count() >= 50);
    }

    #[test]
    fn ids_are_those_of_the_training_side() {
        check_file("tokenised.ndjson", usize::MAX);
        check_file("golden.ndjson", 96);
    }

    #[test]
    fn a_long_row_is_cut_before_its_end_mark() {
        let check = |ids: &[u32], start: usize, tokens_max: usize, expected: &[u32]| {
            let mut found = ids.to_vec();
            truncate(&mut found, start, tokens_max);
            assert_eq!(found, expected, "{ids:?} from {start} to {tokens_max}");
        };
        check(&[0, 7, 8, 2], 0, 4, &[0, 7, 8, 2]);
        check(&[0, 7, 8, 2], 0, 3, &[0, 7, 2]);
        check(&[0, 7, 8, 2], 0, 2, &[0, 2]);
        check(&[5, 5, 5, 0, 7, 8, 2], 3, 3, &[5, 5, 5, 0, 7, 2]);
        check(&[5, 5, 5, 0, 2], 3, 3, &[5, 5, 5, 0, 2]);
    }

    #[test]
    fn what_is_no_tokeniser_is_refused() {
        let check = |json: &str| assert!(Tokeniser::from_json(json.as_bytes()).is_err(), "{json}");
        check("");
        check("{}");
        check("null");
        check(r#"{"version":"1.0","model":{"type":"Unigram","unk_id":7,"vocab":[["<unk>",0.0]]}}"#);
        // Pieces without `<s>` and `</s>` around them.
        let bare = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":null,"post_processor":null,"decoder":null,
            "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["a",-1.0]]}}"#;
        let error = Tokeniser::from_json(bare.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "the empty text has 0 pieces, not 2");
    }

    proptest! {
        #[test]
        fn any_text_has_ids_within_its_ends(text in ".{0,300}") {
            thread_local! {
                static TOKENISER: RefCell<(Tokeniser, u32)> = RefCell::new((tokeniser(), tokeniser().last_id()));
            }
            TOKENISER.with_borrow_mut(|(tokeniser, last_id)| {
                let mut ids = vec![9];
                tokeniser.encode(&text, &mut ids).unwrap();
                prop_assert!(ids.len() > ENDS);
                prop_assert_eq!((ids[0], ids[1], ids[ids.len() - 1]), (9, 0, 2));
                prop_assert!(ids.iter().all(|id| id <= last_id));
                Ok(())
            })?;
        }
    }
}
