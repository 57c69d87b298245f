//! One bundle at work: its reader, its graph in a runtime, and the buffers between them.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::batch::{self, Batch};
use super::manifest::{Bundle, Heads, ReaderSource};
use super::reader::Reader;
use super::runtime::{self, Runtime, RuntimeError};
use super::tokenise::{TokeniseError, Tokeniser};
use super::{Config, Language, OpenError, Verdict};

/// A bundle's graph, ready to run on the rows that are read into it.
pub(super) struct Network {
    pub(super) model: String,
    pub(super) posts_max: NonZeroUsize,
    pub(super) runtime: Box<dyn Runtime>,
    /// How long the graph has run.
    pub(super) spent: Duration,
    tokens_max: usize,
    pad_id: u32,
    heads: Heads,
    reader: Reader,
    // Buffers reused from call to call.
    ids: Vec<u32>,
    rows: Vec<Range<usize>>,
    lengths: Vec<usize>,
    order: Vec<usize>,
    batches: Vec<Range<usize>>,
    batch: Batch,
}

impl Network {
    /// Loads the bundle into the runtime that `config` and `places` lead to, and runs it once.
    pub(super) fn open(bundle: Bundle, config: &Config, places: &[PathBuf]) -> Result<Self, OpenError> {
        let Bundle { name, tokens_max, pad_id, heads, model, reader, .. } = bundle;
        let reader = match reader {
            ReaderSource::Tokeniser(json) => Tokeniser::from_json(&json)
                .map(|tokeniser| Reader::Pieces(Box::new(tokeniser)))
                .map_err(|error| OpenError::Tokeniser { model: name.clone(), reason: error.to_string() })?,
            ReaderSource::Ngrams(ngrams) => Reader::Ngrams(ngrams),
        };
        // The widest rows, and the largest id that a text may have: what the graph has no room for shows now.
        let mut probe = Batch::default();
        let row = vec![reader.last_id(); tokens_max];
        probe.fill([row.as_slice(), row.get(..2).unwrap_or_default()].into_iter(), pad_id);
        let library = config.library.as_deref();
        let runtime = runtime::open(config.runtime, library, places, config.threads, model, &probe)
            .map_err(|source| OpenError::Runtime { model: name.clone(), source })?;
        Ok(Self {
            model: name,
            posts_max: config.batch_posts_max.unwrap_or(reader.batch_posts_max()),
            runtime,
            spent: Duration::ZERO,
            tokens_max,
            pad_id,
            heads,
            reader,
            ids: Vec::new(),
            rows: Vec::new(),
            lengths: Vec::new(),
            order: Vec::new(),
            batches: Vec::new(),
            batch: Batch::default(),
        })
    }

    /// Forgets the rows that were read.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.rows.clear();
        self.lengths.clear();
    }

    /// Reads one more text, which is normalised already.
    ///
    /// # Errors
    ///
    /// When the tokeniser's file is at fault.
    pub(super) fn read(&mut self, normalised: &str) -> Result<(), TokeniseError> {
        let start = self.ids.len();
        self.reader.read(normalised, self.tokens_max, &mut self.ids)?;
        self.rows.push(start..self.ids.len());
        self.lengths.push(self.ids.len() - start);
        Ok(())
    }

    /// Replaces what is in `verdicts` by one for each row read, in their order, all of an unclear language.
    ///
    /// # Errors
    ///
    /// When the runtime fails: then `verdicts` holds nothing of use.
    pub(super) fn run(&mut self, verdicts: &mut Vec<Verdict>) -> Result<(), RuntimeError> {
        let run_cost_tokens = self.reader.run_cost_tokens();
        batch::cut(&self.lengths, self.posts_max, run_cost_tokens, &mut self.order, &mut self.batches);
        verdicts.clear();
        verdicts.resize(self.rows.len(), Verdict::UNKNOWN);
        let began = Instant::now();
        let mut placed = 0;
        for range in &self.batches {
            let posts = self.order.get(range.clone()).unwrap_or_default();
            let row = |idx: &usize| self.rows.get(*idx).and_then(|row| self.ids.get(row.clone()));
            self.batch.fill(posts.iter().filter_map(row), self.pad_id);
            let outputs = self.runtime.run(&self.batch)?;
            for (idx, (sentiment, intent, urgency)) in posts.iter().zip(outputs.rows()) {
                if let Some(verdict) = verdicts.get_mut(*idx) {
                    *verdict = self.heads.verdict(sentiment, intent, urgency, Language::UNCLEAR);
                    placed += 1;
                }
            }
        }
        self.spent += began.elapsed();
        assert_eq!(placed, self.rows.len(), "every text is in one batch");
        Ok(())
    }
}
