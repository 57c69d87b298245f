//! Candidates → [`Verdict`]s: sentiment, intent and urgency, each with probabilities.
//!
//! A [`Classifier`] is a model bundle (the embedded one, or a folder's), its tokeniser, and one of two ONNX
//! runtimes. It takes texts as they are and promises one verdict for each, whatever they hold. Which
//! candidates are taken together, and how long to wait for more, is the pipeline's to decide.
//!
//! The only door to the ONNX runtimes is `classify/runtime/`.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

mod batch;
mod embedded;
mod manifest;
mod runtime;
pub mod tokenise;

use batch::Batch;
use manifest::{Bundle, Heads};
use runtime::Runtime;
use tokenise::{TokeniseError, Tokeniser};

pub use manifest::BundleError;
pub use runtime::{RuntimeChoice, RuntimeError};

/// Class probabilities of one post. Each array sums to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// In the order of [`SENTIMENTS`].
    pub sentiment: [f32; 3],
    /// In the order of [`INTENTS`].
    pub intent: [f32; 8],
    /// In the order of [`URGENCIES`].
    pub urgency: [f32; 3],
}

/// Sentiment labels.
pub const SENTIMENTS: [&str; 3] = ["negative", "neutral", "positive"];
/// Intent labels; `other` is no customer message.
pub const INTENTS: [&str; 8] =
    ["churn", "problem", "help", "feature", "question", "complaint", "praise", "other"];
/// Urgency labels.
pub const URGENCIES: [&str; 3] = ["low", "normal", "high"];

/// How far from 1 the probabilities of one head may sum, either way.
///
/// Both runtimes stay within 1e-6; beyond a hundredth the graph ends in something other than a softmax.
const SUM_TOLERANCE: f32 = 0.01;

/// Which model to use, on what, and how candidates are gathered for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which runtime.
    pub runtime: RuntimeChoice,
    /// The ONNX Runtime shared library; without one, standard places are searched.
    pub library: Option<PathBuf>,
    /// Folder with a bundle; without one, the embedded bundle.
    pub model: Option<PathBuf>,
    /// Threads that share the work of one batch.
    pub threads: NonZeroUsize,
    /// Most posts in one run of the graph.
    pub batch_posts_max: NonZeroUsize,
    /// Longest that a candidate waits for others to share a batch with.
    pub batch_delay_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            runtime: RuntimeChoice::Auto,
            library: None,
            model: None,
            // The other core belongs to the lane.
            threads: NonZeroUsize::MIN,
            // 32 posts of 32 tokens take about 70 ms on one core (rten; ONNX Runtime 40 ms), which is how long a
            // newcomer may wait behind them; more at a time would not be faster.
            batch_posts_max: const { NonZeroUsize::new(32).unwrap() },
            // Below what a person notices, and less than a full batch takes.
            batch_delay_max: Duration::from_millis(20),
        }
    }
}

/// Why a classifier cannot be made. None of these is cured by trying again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The bundle cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The bundle's tokeniser does not load.
    #[error("model {model}: tokeniser: {reason}")]
    Tokeniser {
        /// Name and version.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The runtime cannot be used, or does not run the model.
    #[error("model {model}: {source}")]
    Runtime {
        /// Name and version.
        model: String,
        /// What is wrong.
        source: RuntimeError,
    },
}

/// Why texts got no verdicts.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    /// The tokeniser gave up on a text: the bundle is at fault.
    #[error("model {model}: tokeniser: {source}")]
    Tokeniser {
        /// Name and version.
        model: String,
        /// What it said.
        source: TokeniseError,
    },
    /// The runtime failed, or gave something that is no probability.
    #[error("model {model}: {reason}")]
    Runtime {
        /// Name and version.
        model: String,
        /// What happened.
        reason: String,
    },
}

/// A model, ready to run on one thread.
pub struct Classifier {
    model: String,
    tokens_max: usize,
    pad_id: u32,
    heads: Heads,
    posts_max: NonZeroUsize,
    tokeniser: Tokeniser,
    runtime: Box<dyn Runtime>,
    // Buffers reused from call to call.
    ids: Vec<u32>,
    rows: Vec<Range<usize>>,
    lengths: Vec<usize>,
    order: Vec<usize>,
    batches: Vec<Range<usize>>,
    batch: Batch,
    placed: Vec<(usize, Verdict)>,
}

impl Classifier {
    /// Reads and checks the bundle, loads it into a runtime, and runs it once.
    ///
    /// # Errors
    ///
    /// When the bundle, or a configured library, cannot be used: the config or the installation is wrong.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        Self::open_with(config, &runtime::standard_places())
    }

    fn open_with(config: &Config, places: &[PathBuf]) -> Result<Self, OpenError> {
        let Bundle { name, tokens_max, pad_id, heads, model, tokeniser } =
            Bundle::open(config.model.as_deref())?;
        let tokeniser = Tokeniser::from_json(&tokeniser)
            .map_err(|error| OpenError::Tokeniser { model: name.clone(), reason: error.to_string() })?;
        // The widest rows, and the last piece of the vocabulary: what the graph has no room for shows now.
        let mut probe = Batch::default();
        let row = vec![tokeniser.last_id(); tokens_max];
        probe.fill([row.as_slice(), row.get(..2).unwrap_or_default()].into_iter(), pad_id);
        let library = config.library.as_deref();
        let runtime = runtime::open(config.runtime, library, places, config.threads, model, &probe)
            .map_err(|source| OpenError::Runtime { model: name.clone(), source })?;
        Ok(Self {
            model: name,
            tokens_max,
            pad_id,
            heads,
            posts_max: config.batch_posts_max,
            tokeniser,
            runtime,
            ids: Vec::new(),
            rows: Vec::new(),
            lengths: Vec::new(),
            order: Vec::new(),
            batches: Vec::new(),
            batch: Batch::default(),
            placed: Vec::new(),
        })
    }

    /// Appends one verdict for each of `texts`, in their order, to `verdicts`.
    ///
    /// Any text has a verdict, an empty one too; at most [`tokenise::TEXT_BYTES_MAX`] of its bytes and the
    /// bundle's `tokens_max` of its tokens are read.
    ///
    /// A verdict hardly depends on the texts that share its batch: with the embedded bundle, whose activation
    /// scales are constants, at most 4e-7 was seen. A bundle that scales by the batch may differ by 0.1. The
    /// two runtimes round otherwise: up to 0.0023 apart. The same call gives the same verdicts, bit for bit.
    ///
    /// # Errors
    ///
    /// When the model is at fault: then none of `texts` has a verdict, and trying again will not help.
    pub fn classify(&mut self, texts: &[&str], verdicts: &mut Vec<Verdict>) -> Result<(), ClassifyError> {
        self.encode(texts)?;
        batch::cut(&self.lengths, self.posts_max, &mut self.order, &mut self.batches);
        self.placed.clear();
        for range in &self.batches {
            let posts = self.order.get(range.clone()).unwrap_or_default();
            let row = |idx: &usize| self.rows.get(*idx).and_then(|row| self.ids.get(row.clone()));
            self.batch.fill(posts.iter().filter_map(row), self.pad_id);
            let outputs = self.runtime.run(&self.batch).map_err(|error| failed(&self.model, error))?;
            for (idx, (sentiment, intent, urgency)) in posts.iter().zip(outputs.rows()) {
                let verdict = self.heads.verdict(sentiment, intent, urgency);
                check(&verdict).map_err(|reason| failed(&self.model, reason))?;
                self.placed.push((*idx, verdict));
            }
        }
        assert_eq!(self.placed.len(), texts.len(), "every text is in one batch");
        self.placed.sort_unstable_by_key(|(idx, _)| *idx);
        verdicts.extend(self.placed.drain(..).map(|(_, verdict)| verdict));
        Ok(())
    }

    /// Name and version of the model: `vigie-full 1`.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Name and version of the runtime: `rten 0.27`, `onnxruntime 1.31.1`.
    pub fn runtime(&self) -> &str {
        self.runtime.name()
    }

    fn encode(&mut self, texts: &[&str]) -> Result<(), ClassifyError> {
        self.ids.clear();
        self.rows.clear();
        self.lengths.clear();
        for text in texts {
            let start = self.ids.len();
            self.tokeniser
                .encode(text, &mut self.ids)
                .map_err(|source| ClassifyError::Tokeniser { model: self.model.clone(), source })?;
            tokenise::truncate(&mut self.ids, start, self.tokens_max);
            self.rows.push(start..self.ids.len());
            self.lengths.push(self.ids.len() - start);
        }
        Ok(())
    }
}

fn failed(model: &str, reason: impl std::fmt::Display) -> ClassifyError {
    ClassifyError::Runtime { model: model.to_owned(), reason: reason.to_string() }
}

/// Whether each head holds probabilities that sum to 1.
fn check(verdict: &Verdict) -> Result<(), String> {
    let Verdict { sentiment, intent, urgency } = verdict;
    for (head, row) in [("sentiment", &sentiment[..]), ("intent", &intent[..]), ("urgency", &urgency[..])] {
        // NaN and infinities are outside every range.
        let range = 0.0..=1.0 + SUM_TOLERANCE;
        let sum: f32 = row.iter().sum();
        if !row.iter().all(|p| range.contains(p)) || (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(format!("{head} is no probability distribution: {row:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use runtime::Outputs;
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    /// Names a library to run these tests on.
    const LIBRARY: &str = "VIGIE_TEST_ONNXRUNTIME";

    /// How far a probability may be from Python's for the same text alone in its batch.
    const GOLDEN_TOLERANCE: f32 = 0.02;

    /// How far a verdict may move with the texts that share its batch: the rounding of sums in another order.
    const MATES_TOLERANCE: f32 = 0.0001;

    fn rten() -> Config {
        Config { runtime: RuntimeChoice::Rten, ..Config::default() }
    }

    /// The config of the library under test, or `None` with a line that says so.
    fn onnxruntime() -> Option<Config> {
        let Some(library) = std::env::var_os(LIBRARY) else {
            println!("skipped on ONNX Runtime: {LIBRARY} names no library");
            return None;
        };
        let library = Some(PathBuf::from(library));
        Some(Config { runtime: RuntimeChoice::OnnxRuntime, library, ..Config::default() })
    }

    fn alone(config: Config) -> Config {
        Config { batch_posts_max: NonZeroUsize::MIN, ..config }
    }

    fn verdicts(config: &Config, texts: &[&str]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        Classifier::open(config).unwrap().classify(texts, &mut verdicts).unwrap();
        verdicts
    }

    fn heads(verdict: &Verdict) -> [&[f32]; 3] {
        [&verdict.sentiment, &verdict.intent, &verdict.urgency]
    }

    /// The largest difference between two probabilities of the same text.
    fn difference(ours: &[Verdict], theirs: &[Verdict]) -> f32 {
        assert_eq!(ours.len(), theirs.len());
        let pairs = ours.iter().flat_map(heads).flatten().zip(theirs.iter().flat_map(heads).flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    fn argmax(row: &[f32]) -> usize {
        (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
    }

    /// The training side's texts, with its predictions for each alone.
    fn golden() -> (Vec<String>, Vec<Verdict>) {
        let path = format!("{}/models/golden.ndjson", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read_to_string(path).unwrap();
        let line = |line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let row = |head: &str| serde_json::from_value::<Vec<f32>>(line[head].clone()).unwrap();
            let verdict = Verdict {
                sentiment: row("sentiment").try_into().unwrap(),
                intent: row("intent").try_into().unwrap(),
                urgency: row("urgency").try_into().unwrap(),
            };
            (line["text"].as_str().unwrap().to_owned(), verdict)
        };
        file.lines().map(line).unzip()
    }

    fn check_golden(config: &Config) {
        let (texts, expected) = golden();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let found = verdicts(&alone(config.clone()), &texts);
        let far = difference(&found, &expected);
        println!("{:?}: largest difference from Python {far}", config.runtime);
        assert!(far <= GOLDEN_TOLERANCE, "{far}");
        for ((text, found), expected) in texts.iter().zip(&found).zip(&expected) {
            for (found, expected) in heads(found).into_iter().zip(heads(expected)) {
                // Two labels as near to each other as this are no prediction to agree on.
                let near = expected[argmax(expected)] - expected[argmax(found)] < 0.002;
                assert!(near, "{text:?}: {found:?}, in Python {expected:?}");
            }
        }
    }

    #[test]
    fn predictions_are_pythons_on_rten() {
        check_golden(&rten());
    }

    #[test]
    fn predictions_are_pythons_on_onnx_runtime() {
        onnxruntime().iter().for_each(check_golden);
    }

    #[test]
    fn both_runtimes_agree() {
        let Some(onnxruntime) = onnxruntime() else { return };
        let texts = golden().0;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (a, b) in [(rten(), onnxruntime.clone()), (alone(rten()), alone(onnxruntime))] {
            let far = difference(&verdicts(&a, &texts), &verdicts(&b, &texts));
            println!("largest difference between the runtimes {far}, {} posts a batch", a.batch_posts_max);
            assert!(far <= GOLDEN_TOLERANCE, "{far}");
        }
    }

    #[test]
    fn onnx_runtime_says_its_name_and_a_second_library_is_refused() {
        let Some(config) = onnxruntime() else { return };
        let classifier = Classifier::open(&config).unwrap();
        assert!(classifier.runtime().starts_with("onnxruntime 1."), "{}", classifier.runtime());
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("libonnxruntime.so");
        std::fs::copy(config.library.as_deref().unwrap(), &other).unwrap();
        let error = Classifier::open(&Config { library: Some(other), ..config }).err().unwrap().to_string();
        assert!(error.contains("is loaded already"), "{error}");
    }

    fn check_mates(config: &Config) {
        let texts = golden().0;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let one_by_one = verdicts(&alone(config.clone()), &texts);
        let together = verdicts(config, &texts);
        let far = difference(&one_by_one, &together);
        println!("{:?}: largest difference by batch mates {far}", config.runtime);
        assert!(far <= MATES_TOLERANCE, "{far}");
        assert_eq!(together, verdicts(config, &texts), "the same batch again");
    }

    #[test]
    fn a_verdict_hardly_depends_on_its_batch_mates() {
        check_mates(&rten());
        onnxruntime().iter().for_each(check_mates);
    }

    #[test]
    fn odd_texts_have_verdicts() {
        let long = "ça ne marche pas ".repeat(60_000);
        let unbroken = "a".repeat(1_000_000);
        let mentions = "@".repeat(1_000_000);
        let marks = format!("e{}", "\u{301}".repeat(500_000));
        let texts = [
            "",
            " ",
            "🙂",
            "\u{0}\u{1}\u{7f}",
            "\u{202e}\u{2066}abc\u{2069}\u{200f}",
            "<s></s><pad><unk>",
            "\u{10ffff}\u{feff}",
            &long,
            &unbroken,
            &mentions,
            &marks,
        ];
        let check = |config: &Config| assert_eq!(verdicts(config, &texts).len(), texts.len());
        check(&rten());
        onnxruntime().iter().for_each(check);
        assert_eq!(verdicts(&rten(), &[]), []);
        let [full, cut] = verdicts(&alone(rten()), &[&long, &long[..2_000]]).try_into().unwrap();
        assert_eq!(full, cut, "only the first tokens count");
    }

    /// Gives back, as certainty in one label each, what `say` makes of the first token after `<s>`.
    struct Fake(fn(i64) -> Result<f32, String>);

    impl Runtime for Fake {
        fn name(&self) -> &str {
            "fake"
        }

        fn run(&mut self, batch: &Batch) -> Result<Outputs, RuntimeError> {
            let mut p = Vec::new();
            for row in batch.ids().chunks(batch.tokens()) {
                let failed = |reason| RuntimeError::Run { runtime: "fake".into(), reason };
                p.push((self.0)(row[1]).map_err(failed)?);
            }
            Ok(Outputs::from_rows(p.iter().map(|&p| {
                ([p, 0.0, 1.0 - p], [p, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0 - p], [p, 0.0, 1.0 - p])
            })))
        }
    }

    fn faked(say: fn(i64) -> Result<f32, String>) -> Classifier {
        let posts_max = NonZeroUsize::new(3).unwrap();
        Classifier { runtime: Box::new(Fake(say)), posts_max, ..Classifier::open(&rten()).unwrap() }
    }

    #[test]
    fn verdicts_come_in_the_order_of_the_texts() {
        let mut classifier = faked(|id| Ok(id as f32 / 100_000.0));
        let texts: Vec<String> = (0..20)
            .map(|i| ["les", "a", "help", "je", "on"][i % 5].to_owned() + &" oui".repeat(i * 7 % 40))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut together = Vec::new();
        classifier.classify(&texts, &mut together).unwrap();
        let mut one_by_one = Vec::new();
        for text in &texts {
            classifier.classify(&[text], &mut one_by_one).unwrap();
        }
        assert_eq!(together, one_by_one);
        assert!(together[0] != together[1]);
        assert_eq!(classifier.runtime(), "fake");
    }

    #[test]
    fn what_is_no_probability_is_an_error_that_names_the_model() {
        let check = |say: fn(i64) -> Result<f32, String>, expected: &str| {
            let before = Verdict { sentiment: [1., 0., 0.], intent: [0.125; 8], urgency: [0., 0., 1.] };
            let mut verdicts = vec![before];
            let error = faked(say).classify(&["a", "b c d", "", "e"], &mut verdicts).unwrap_err().to_string();
            assert!(error.starts_with("model vigie-full 1: "), "{error:?}");
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
            assert_eq!(verdicts, [before], "a failed call leaves no verdicts");
        };
        check(
            |id| Ok(if id == 2 { f32::NAN } else { 0.5 }),
            "sentiment is no probability distribution: [NaN",
        );
        check(|id| Ok(if id == 2 { f32::INFINITY } else { 0.5 }), "sentiment is no probability");
        check(|_| Ok(1.5), "sentiment is no probability distribution: [1.5, 0.0, -0.5]");
        check(
            |id| if id == 2 { Err("no memory".into()) } else { Ok(0.5) },
            "fake does not run the graph: no memory",
        );
    }

    #[test]
    fn probabilities_must_sum_to_one() {
        let even = Verdict { sentiment: [0.25, 0.5, 0.25], intent: [0.125; 8], urgency: [0.0, 0.0, 1.0] };
        assert_eq!(super::check(&even), Ok(()));
        assert_eq!(super::check(&Verdict { urgency: [0.0, 0.0, 1.009], ..even }), Ok(()));
        for urgency in [[0.0, 0.0, 1.02], [0.3, 0.3, 0.3], [0.0; 3]] {
            let reason = super::check(&Verdict { urgency, ..even }).unwrap_err();
            assert!(reason.starts_with("urgency is no probability distribution"), "{reason}");
        }
    }

    /// Writes the embedded bundle into `folder` after `edit` changed description, graph and tokeniser.
    fn write_bundle(folder: &Path, edit: impl FnOnce(&mut Value, &mut Vec<u8>, &mut Vec<u8>)) {
        let mut description: Value = serde_json::from_slice(embedded::DESCRIPTION).unwrap();
        let (mut model, mut tokeniser) = (embedded::MODEL.to_vec(), embedded::TOKENISER.to_vec());
        edit(&mut description, &mut model, &mut tokeniser);
        for (key, bytes) in [("model", model), ("tokenizer", tokeniser)] {
            let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            description[format!("{key}_sha256")] = sum.into();
            std::fs::write(folder.join(description[key].as_str().unwrap()), bytes).unwrap();
        }
        std::fs::write(folder.join("model.json"), description.to_string()).unwrap();
    }

    /// Puts `to` in the place of every `from`, which is as long.
    fn rename(bytes: &mut [u8], from: &[u8], to: &[u8]) {
        for at in 0..=bytes.len() - from.len() {
            if bytes[at..].starts_with(from) {
                bytes[at..at + to.len()].copy_from_slice(to);
            }
        }
    }

    #[test]
    fn a_bundle_with_labels_in_another_order_gives_the_same_verdicts() {
        let folder = tempfile::tempdir().unwrap();
        write_bundle(folder.path(), |description, _, _| {
            description["name"] = json!("vigie-other");
            description["heads"]["urgency"] = json!(["high", "low", "normal"]);
        });
        let mut classifier =
            Classifier::open(&Config { model: Some(folder.path().to_owned()), ..rten() }).unwrap();
        assert_eq!(classifier.model(), "vigie-other 1");
        let mut found = Vec::new();
        classifier.classify(&["plus de réseau"], &mut found).unwrap();
        let expected = verdicts(&rten(), &["plus de réseau"])[0];
        let [first, second, third] = expected.urgency;
        assert_eq!(found, [Verdict { urgency: [second, third, first], ..expected }]);
    }

    #[test]
    fn a_bundle_that_cannot_run_is_refused_when_it_is_opened() {
        type Edit = fn(&mut Value, &mut Vec<u8>, &mut Vec<u8>);
        let cases: [(Edit, &str); 6] = [
            (|_, _, tokeniser| tokeniser.truncate(1_000), "tokeniser: EOF while parsing"),
            (|_, model, _| model.truncate(1_000_000), " does not load the graph: "),
            (|_, model, _| *model = b"not a graph".to_vec(), " does not load the graph: "),
            (|_, model, _| rename(model, b"urgency", b"emotion"), "output urgency: "),
            (|_, model, _| rename(model, b"attention_mask", b"intention_mask"), "attention_mask"),
            (|description, _, _| description["tokens_max"] = json!(300), " does not run the graph: "),
        ];
        for (edit, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            write_bundle(folder.path(), edit);
            for config in [Some(rten()), onnxruntime()].into_iter().flatten() {
                let config = Config { model: Some(folder.path().to_owned()), ..config };
                let error = Classifier::open(&config).err().unwrap().to_string();
                assert!(error.starts_with("model vigie-full 1: "), "{error:?}");
                assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
            }
        }
    }

    #[test]
    fn a_classifier_can_move_to_the_model_thread() {
        fn check<T: Send>() {}
        check::<Classifier>();
    }
}
