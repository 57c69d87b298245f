//! Normalised text → token ids of the bundle's SentencePiece vocabulary, `<s>` in front and `</s>` behind.

use tokenizers::Tokenizer;

/// Pieces that stand around every text: `<s>` and `</s>`.
const ENDS: usize = 2;

/// The tokeniser of one bundle.
#[derive(Debug)]
pub struct Tokeniser {
    tokenizer: Tokenizer,
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
        let tokeniser = Self { tokenizer };
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

    /// Appends the ids of `normalised` to `ids`: at least the two ends, with no upper limit of their own.
    ///
    /// # Errors
    ///
    /// When the vocabulary has no piece for unknown characters and meets one: a fault of the bundle.
    pub fn encode(&self, normalised: &str, ids: &mut Vec<u32>) -> Result<(), TokeniseError> {
        let encoding = self.tokenizer.encode_fast(normalised, true).map_err(failed)?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

/// Shortens a row of ids to `tokens_max`, keeping its last one, `</s>`.
pub(super) fn truncate(ids: &mut Vec<u32>, start: usize, tokens_max: usize) {
    let tokens = ids.len().saturating_sub(start);
    if tokens > tokens_max && tokens_max > 0 {
        ids.drain(start + tokens_max - 1..start + tokens - 1);
    }
}

fn failed(error: impl std::fmt::Display) -> TokeniseError {
    TokeniseError { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Bundle;
    use super::super::normalise::Normaliser;
    use super::super::{ModelChoice, embedded};
    use super::*;
    use std::cell::RefCell;

    use proptest::prelude::*;

    fn tokeniser() -> Tokeniser {
        Tokeniser::from_json(embedded::FULL.tokeniser.unwrap()).unwrap()
    }

    /// Checks the ids of a file that the training side wrote, cut to `tokens_max` where it was there.
    fn check_file(name: &str, tokens_max: usize) {
        let path = format!("{}/models/full/{name}", env!("CARGO_MANIFEST_DIR"));
        let (tokeniser, mut normaliser) = (tokeniser(), Normaliser::default());
        let mut ids = Vec::new();
        let file = std::fs::read_to_string(path).unwrap();
        for line in file.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = line["text"].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(line["ids"].clone()).unwrap();
            ids.clear();
            tokeniser.encode(normaliser.normalise(text), &mut ids).unwrap();
            truncate(&mut ids, 0, tokens_max);
            assert_eq!(ids, expected, "of {text:?}");
        }
        assert!(file.lines().count() >= 50);
    }

    #[test]
    fn ids_are_those_of_the_training_side() {
        check_file("tokenised.ndjson", usize::MAX);
        check_file("golden.ndjson", Bundle::open(&ModelChoice::Full).unwrap().tokens_max);
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
                static TOKENISER: RefCell<(Tokeniser, Normaliser, u32)> =
                    RefCell::new((tokeniser(), Normaliser::default(), tokeniser().last_id()));
            }
            TOKENISER.with_borrow_mut(|(tokeniser, normaliser, last_id)| {
                let mut ids = vec![9];
                tokeniser.encode(normaliser.normalise(&text), &mut ids).unwrap();
                prop_assert!(ids.len() > ENDS);
                prop_assert_eq!((ids[0], ids[1], ids[ids.len() - 1]), (9, 0, 2));
                prop_assert!(ids.iter().all(|id| id <= last_id));
                Ok(())
            })?;
        }
    }
}
