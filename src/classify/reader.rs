//! Normalised text → a row of ids, by whichever rules the bundle's model was trained with.

use std::num::NonZeroUsize;

use super::ngrams::Ngrams;
use super::tokenise::{self, TokeniseError, Tokeniser};

/// The reader of one bundle.
#[derive(Debug)]
pub(super) enum Reader {
    /// Pieces of a SentencePiece vocabulary.
    Pieces(Box<Tokeniser>),
    /// Hashed n-grams.
    Ngrams(Ngrams),
}

impl Reader {
    /// Appends the ids of `normalised` to `ids`: one at least, `tokens_max` at most.
    ///
    /// # Errors
    ///
    /// When the tokeniser's file is at fault.
    pub(super) fn read(
        &mut self,
        normalised: &str,
        tokens_max: usize,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokeniseError> {
        match self {
            Reader::Pieces(tokeniser) => {
                let start = ids.len();
                tokeniser.encode(normalised, ids)?;
                tokenise::truncate(ids, start, tokens_max);
            }
            Reader::Ngrams(ngrams) => ngrams.encode(normalised, tokens_max, ids),
        }
        Ok(())
    }

    /// The largest id that [`Self::read`] may give.
    pub(super) fn last_id(&self) -> u32 {
        match self {
            Reader::Pieces(tokeniser) => tokeniser.last_id(),
            Reader::Ngrams(ngrams) => ngrams.last_id(),
        }
    }

    /// What one more run of the graph costs, counted in ids: a batch is not filled up with more padding than
    /// this.
    pub(super) fn run_cost_tokens(&self) -> usize {
        match self {
            // A post of 32 tokens alone takes 1.4 ms (rten) or 1.0 ms (ONNX Runtime) longer than its share of
            // a batch of eight, which is what some 25 more tokens take; from eight posts on, larger batches
            // gain nothing.
            Reader::Pieces(_) => 32,
            // An id costs one row of a table and no product, 35 ns (rten); a run costs 45 µs before its first
            // id, as much as some 1,200 of them. With ONNX Runtime it is a quarter of that, and little is lost.
            Reader::Ngrams(_) => 1_200,
        }
    }

    /// Most posts in one run of the graph, where nothing else is configured.
    pub(super) fn batch_posts_max(&self) -> NonZeroUsize {
        match self {
            // 32 posts of 32 tokens take about 70 ms on one core (rten; ONNX Runtime 40 ms), which is how long
            // a newcomer may wait behind them; more at a time would not be faster.
            Reader::Pieces(_) => const { NonZeroUsize::new(32).unwrap() },
            // The vectors of 64 posts of 220 n-grams are 4 MB, which stay in the cache; with 256 posts, whose
            // vectors do not, everything takes longer (rten 46,000 posts/s after 39,000, ONNX Runtime 60,000
            // after 54,000).
            Reader::Ngrams(_) => const { NonZeroUsize::new(64).unwrap() },
        }
    }
}
