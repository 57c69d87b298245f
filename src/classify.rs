//! Candidates → [`Verdict`]s: sentiment, intent and urgency, each with probabilities.
//!
//! A [`Classifier`] is a model bundle (one of the two that are embedded, or a folder's), its reader, and one of
//! two ONNX runtimes; the full model lets the small one have a share in its verdicts. It takes texts as they
//! are and promises one verdict for each, whatever they hold. Which candidates are taken together, and how long
//! to wait for more, is the pipeline's to decide.
//!
//! The only door to the ONNX runtimes is `classify/runtime/`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

mod batch;
mod embedded;
mod language;
mod manifest;
mod network;
pub mod ngrams;
pub mod normalise;
mod reader;
mod runtime;
pub mod tokenise;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;

use language::Teller;
use manifest::Bundle;
use network::Network;
use normalise::Normaliser;
use tokenise::TokeniseError;

pub use language::Language;
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
    /// Of the text.
    pub language: Language,
}

impl Verdict {
    /// What stands where nothing is known yet.
    const UNKNOWN: Verdict = Verdict {
        sentiment: [0.0; SENTIMENTS.len()],
        intent: [0.0; INTENTS.len()],
        urgency: [0.0; URGENCIES.len()],
        language: Language::UNCLEAR,
    };

    /// Of a text with nothing in it: nobody said anything, so no model is asked.
    const NOTHING_SAID: Verdict = Verdict {
        sentiment: [0.0, 1.0, 0.0],
        intent: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        urgency: [1.0, 0.0, 0.0],
        language: Language::UNCLEAR,
    };

    /// Both verdicts pooled, `share` of it the other's: the weighted geometric mean of each head's
    /// probabilities, made to sum to 1 again.
    ///
    /// It keeps what both agree on sure, which the arithmetic mean does not (Genest and Zidek, *Combining
    /// Probability Distributions*, Statistical Science 1986).
    fn pooled(&self, other: &Verdict, share: f32) -> Verdict {
        Verdict {
            sentiment: pooled(&self.sentiment, &other.sentiment, share),
            intent: pooled(&self.intent, &other.intent, share),
            urgency: pooled(&self.urgency, &other.urgency, share),
            language: self.language,
        }
    }
}

fn pooled<const N: usize>(row: &[f32; N], other: &[f32; N], share: f32) -> [f32; N] {
    let mut both = *row;
    for (p, q) in both.iter_mut().zip(other) {
        *p = p.max(POOLED_MIN).powf(1.0 - share) * q.max(POOLED_MIN).powf(share);
    }
    let sum: f32 = both.iter().sum();
    both.map(|p| p / sum)
}

/// Least probability that is pooled: one model that excludes a class does not decide for both.
const POOLED_MIN: f32 = 1e-6;

/// Sentiment labels.
pub const SENTIMENTS: [&str; 3] = ["negative", "neutral", "positive"];
/// Intent labels; `other` is no customer message.
pub const INTENTS: [&str; 8] =
    ["churn", "problem", "help", "feature", "question", "complaint", "praise", "other"];
/// Urgency labels.
pub const URGENCIES: [&str; 3] = ["low", "normal", "high"];

/// Index of the first greatest of one head's `probabilities`: its label.
pub(crate) fn best(probabilities: &[f32]) -> usize {
    let first = |best: (usize, f32), (idx, &p): (usize, &f32)| if p > best.1 { (idx, p) } else { best };
    probabilities.iter().enumerate().fold((0, f32::MIN), first).0
}

/// How far from 1 the probabilities of one head may sum, either way.
///
/// Both runtimes stay within 1e-6; beyond a hundredth the graph ends in something other than a softmax.
const SUM_TOLERANCE: f32 = 0.01;

/// Which model bundle to use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ModelChoice {
    /// The embedded one that knows best.
    #[default]
    Full,
    /// The embedded one that is fast.
    Small,
    /// One of the operator's own: a folder as `models/README.md` describes it.
    Folder(PathBuf),
}

impl ModelChoice {
    /// The embedded bundles, by the names they have in config.
    pub const EMBEDDED: [(&str, ModelChoice); 2] =
        [("full", ModelChoice::Full), ("small", ModelChoice::Small)];
}

/// Which model to use, on what, and how candidates are gathered for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which runtime.
    pub runtime: RuntimeChoice,
    /// The ONNX Runtime shared library; without one, standard places are searched.
    pub library: Option<PathBuf>,
    /// Which bundle.
    pub model: ModelChoice,
    /// Threads that share the work of one batch.
    pub threads: NonZeroUsize,
    /// Most posts in one run of the graph; without it, what suits the bundle's reader.
    pub batch_posts_max: Option<NonZeroUsize>,
    /// Longest that a candidate waits for others to share a batch with.
    pub batch_delay_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            runtime: RuntimeChoice::Auto,
            library: None,
            model: ModelChoice::Full,
            // The other core belongs to the lane.
            threads: NonZeroUsize::MIN,
            batch_posts_max: None,
            // Whatever comes while a batch is read makes the next one: under load they are full without waiting, and
            // without load nobody gains by it but the CPU, a little.
            batch_delay_max: Duration::ZERO,
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
    /// The bundle gives the small model a share in verdicts on languages that the small one does not know.
    #[error("model {model}: small_share: the small model knows only {known}, but languages {found}")]
    SmallShare {
        /// Name and version.
        model: String,
        /// The small model's languages, joined by commas.
        known: String,
        /// What the bundle's languages are beyond those.
        found: String,
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
    /// What the model was trained for; without them, everything.
    languages: Option<Vec<Language>>,
    normaliser: Normaliser,
    teller: Teller,
    network: Network,
    /// The small model, where it has a share in the verdict.
    companion: Option<Companion>,
    /// Of normalising, telling languages and making rows.
    spent_reading: Duration,
    // Buffers reused from call to call.
    /// The language of each text; none where there is nothing in it.
    told: Vec<Option<Language>>,
    found: Vec<Verdict>,
}

/// A second network whose verdicts are pooled with the first one's.
struct Companion {
    network: Network,
    /// Its share in a verdict.
    share: f32,
    // A buffer reused from call to call.
    found: Vec<Verdict>,
}

/// How long a classifier has worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// On normalising texts, telling their language and making ids of them.
    pub reading: Duration,
    /// On running the graph.
    pub network: Duration,
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
        let mut bundle = Bundle::open(&config.model)?;
        let languages = bundle.languages.take();
        let small_share = bundle.small_share;
        let small = small_share.map(|_| small_for(&bundle.name, languages.as_deref())).transpose()?;
        let network = Network::open(bundle, config, places)?;
        let companion = match small_share.zip(small) {
            None => None,
            Some((share, small)) => {
                let network = Network::open(small, config, places)?;
                Some(Companion { network, share, found: Vec::new() })
            }
        };
        Ok(Self {
            languages,
            normaliser: Normaliser::default(),
            teller: Teller::default(),
            network,
            companion,
            spent_reading: Duration::ZERO,
            told: Vec::new(),
            found: Vec::new(),
        })
    }

    /// Appends one verdict for each of `texts`, in their order, to `verdicts`.
    ///
    /// Any text has a verdict; one with nothing in it is neutral, *other* and low. At most [`normalise::TEXT_BYTES_MAX`] of its bytes and the
    /// bundle's `tokens_max` of its tokens are read.
    ///
    /// Where a text is surely in none of the bundle's `languages`, its verdict is less sure than the model's.
    ///
    /// A verdict hardly depends on the texts that share its batch: with the embedded bundles, whose activation
    /// scales are constants, at most 4e-7 was seen. A bundle that scales by the batch may differ by 0.1. The
    /// two runtimes round otherwise: mostly less than 0.001 apart, up to 0.05 where a sum's last digit tips a rounding. The same call gives the same verdicts, bit for bit.
    ///
    /// # Errors
    ///
    /// When the model is at fault: then none of `texts` has a verdict, and trying again will not help.
    pub fn classify(&mut self, texts: &[&str], verdicts: &mut Vec<Verdict>) -> Result<(), ClassifyError> {
        let began = Instant::now();
        let mut networks: Vec<&mut Network> = std::iter::once(&mut self.network)
            .chain(self.companion.as_mut().map(|c| &mut c.network))
            .collect();
        read(texts, &mut self.normaliser, &mut self.teller, &mut self.told, &mut networks)?;
        self.spent_reading += began.elapsed();
        run(&mut self.network, &mut self.found)?;
        if let Some(Companion { network, share, found }) = &mut self.companion {
            run(network, found)?;
            for (verdict, other) in self.found.iter_mut().zip(found) {
                *verdict = verdict.pooled(other, *share);
            }
        }
        self.conclude(verdicts);
        Ok(())
    }

    /// As [`Classifier::classify`], by the small model alone: some sixty times faster, and less often right.
    ///
    /// Without a [`quick_model`](Classifier::quick_model) there is nothing faster, and this is `classify`.
    ///
    /// # Errors
    ///
    /// As `classify`.
    pub fn classify_quickly(
        &mut self,
        texts: &[&str],
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), ClassifyError> {
        let Some(Companion { network, .. }) = &mut self.companion else {
            return self.classify(texts, verdicts);
        };
        let began = Instant::now();
        read(texts, &mut self.normaliser, &mut self.teller, &mut self.told, &mut [&mut *network])?;
        self.spent_reading += began.elapsed();
        run(network, &mut self.found)?;
        self.conclude(verdicts);
        Ok(())
    }

    /// Most posts in one run of the graph: a full batch.
    pub fn batch_posts_max(&self) -> NonZeroUsize {
        self.network.posts_max
    }

    /// How long it has worked since it was opened.
    pub fn spent(&self) -> Spent {
        let companion = self.companion.as_ref().map_or(Duration::ZERO, |companion| companion.network.spent);
        Spent { reading: self.spent_reading, network: self.network.spent + companion }
    }

    /// Name and version of the model: `vigie-full 1`.
    pub fn model(&self) -> &str {
        &self.network.model
    }

    /// Name and version of the model that [`classify_quickly`](Classifier::classify_quickly) asks, if there is one.
    pub fn quick_model(&self) -> Option<&str> {
        self.companion.as_ref().map(|companion| companion.network.model.as_str())
    }

    /// Name and version of the runtime: `rten 0.27`, `onnxruntime 1.31.1`.
    pub fn runtime(&self) -> &str {
        self.network.runtime.name()
    }

    /// Appends what was found, with what the language of each text says about it.
    fn conclude(&self, verdicts: &mut Vec<Verdict>) {
        let is_outside =
            |language: Language| self.languages.as_ref().is_some_and(|served| language.is_outside(served));
        verdicts.extend(self.found.iter().zip(&self.told).map(|(verdict, told)| match *told {
            None => Verdict::NOTHING_SAID,
            Some(language) if is_outside(language) => Verdict { language, ..*verdict }.doubted(),
            Some(language) => Verdict { language, ..*verdict },
        }));
    }
}

/// Makes rows of all texts, for each network, and tells their languages.
fn read(
    texts: &[&str],
    normaliser: &mut Normaliser,
    teller: &mut Teller,
    told: &mut Vec<Option<Language>>,
    networks: &mut [&mut Network],
) -> Result<(), ClassifyError> {
    told.clear();
    networks.iter_mut().for_each(|network| network.clear());
    for text in texts {
        let normalised = normaliser.normalise(text);
        told.push((!normalised.is_empty()).then(|| teller.tell(normalised)));
        for network in &mut *networks {
            network
                .read(normalised)
                .map_err(|source| ClassifyError::Tokeniser { model: network.model.clone(), source })?;
        }
    }
    Ok(())
}

/// The small bundle, to have a share in the verdicts of `model`, which was trained for `languages`.
fn small_for(model: &str, languages: Option<&[Language]>) -> Result<Bundle, OpenError> {
    let small = Bundle::open(&ModelChoice::Small)?;
    let Some(known) = &small.languages else { return Ok(small) };
    let codes = |languages: &mut dyn Iterator<Item = &Language>| {
        languages.map(|language| language.code()).collect::<Vec<_>>().join(", ")
    };
    let found = match languages {
        Some(languages) if languages.iter().all(|language| known.contains(language)) => return Ok(small),
        Some(languages) => {
            let mut others = languages.iter().filter(|language| !known.contains(language));
            format!("has {}", codes(&mut others))
        }
        None => "is left out, which means all".to_owned(),
    };
    Err(OpenError::SmallShare { model: model.to_owned(), known: codes(&mut known.iter()), found })
}

/// Runs `network` on what was read; every verdict it gives holds probabilities.
fn run(network: &mut Network, found: &mut Vec<Verdict>) -> Result<(), ClassifyError> {
    network.run(found).map_err(|error| failed(&network.model, error))?;
    found.iter().try_for_each(check).map_err(|reason| failed(&network.model, reason))
}

fn failed(model: &str, reason: impl std::fmt::Display) -> ClassifyError {
    ClassifyError::Runtime { model: model.to_owned(), reason: reason.to_string() }
}

/// Whether each head holds probabilities that sum to 1.
fn check(verdict: &Verdict) -> Result<(), String> {
    let Verdict { sentiment, intent, urgency, language: _ } = verdict;
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
mod tests;
