//! The only door to the ONNX runtimes: one small trait, two implementations, and which one to take.

mod library;
mod onnxruntime;
mod rten;

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::{INTENTS, SENTIMENTS, URGENCIES};

/// The graph's inputs, each `[posts, tokens]`, `i64`.
pub(super) const INPUTS: [&str; 2] = ["input_ids", "attention_mask"];

/// The graph's outputs, each `[posts, labels]`, `f32`, with the number of its labels.
const OUTPUTS: [(&str, usize); 3] =
    [("sentiment", SENTIMENTS.len()), ("intent", INTENTS.len()), ("urgency", URGENCIES.len())];

/// Which runtime to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuntimeChoice {
    /// ONNX Runtime where its library is configured or found and usable, else rten.
    #[default]
    Auto,
    /// The one that is linked in; a configured library is not looked at.
    Rten,
    /// ONNX Runtime, or an error.
    OnnxRuntime,
}

impl RuntimeChoice {
    /// All of them, by the names they have in config.
    pub const ALL: [(&str, RuntimeChoice); 3] =
        [("auto", Self::Auto), ("rten", Self::Rten), ("onnxruntime", Self::OnnxRuntime)];
}

/// Why a runtime cannot be used, or failed on a batch.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// ONNX Runtime is asked for, no library is configured, and none is in the standard places.
    #[error("no ONNX Runtime library (libonnxruntime.so) in {places}")]
    NoLibrary {
        /// Where we looked, joined by commas.
        places: String,
    },
    /// The library is missing, cut, too old, or no ONNX Runtime.
    #[error("ONNX Runtime library {}: {reason}", path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The graph does not load.
    #[error("{runtime} does not load the graph: {reason}")]
    Graph {
        /// The runtime's name.
        runtime: String,
        /// What it said.
        reason: String,
    },
    /// The graph does not run on a batch.
    #[error("{runtime} does not run the graph: {reason}")]
    Run {
        /// The runtime's name.
        runtime: String,
        /// What it said.
        reason: String,
    },
    /// An output is missing, or is not what the manifest promises.
    #[error("output {output}: {reason}")]
    Output {
        /// `sentiment`, `intent` or `urgency`.
        output: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Something that runs the graph. Made with the graph loaded.
pub(super) trait Runtime: Send {
    /// Name and version: `rten 0.27`.
    fn name(&self) -> &str;

    /// Probabilities of every post in `batch`.
    fn run(&mut self, batch: &Batch) -> Result<Outputs, RuntimeError>;
}

/// The probabilities of a batch, each head row by row in the batch's order and the bundle's labels.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    sentiment: Vec<f32>,
    intent: Vec<f32>,
    urgency: Vec<f32>,
}

/// One post's row of each head.
pub(super) type Row<'o> = (&'o [f32; SENTIMENTS.len()], &'o [f32; INTENTS.len()], &'o [f32; URGENCIES.len()]);

impl Outputs {
    /// Collects the outputs with `output`, which gives the shape and values of one of them by its name.
    ///
    /// Every runtime's outputs pass here, so that a wrong shape is found whatever made it.
    fn collect(
        posts: usize,
        mut output: impl FnMut(&'static str) -> Result<(Vec<usize>, Vec<f32>), String>,
    ) -> Result<Self, RuntimeError> {
        let mut collected = Self::default();
        let places = [&mut collected.sentiment, &mut collected.intent, &mut collected.urgency];
        for ((name, labels), place) in OUTPUTS.into_iter().zip(places) {
            let wrong = |reason| RuntimeError::Output { output: name, reason };
            let (shape, values) = output(name).map_err(wrong)?;
            if shape != [posts, labels] || values.len() != posts * labels {
                return Err(wrong(format!("has the shape {shape:?}, not [{posts}, {labels}]")));
            }
            *place = values;
        }
        Ok(collected)
    }

    /// Outputs made of `rows`, for a runtime that only a test has.
    #[cfg(test)]
    pub(super) fn from_rows(rows: impl Iterator<Item = ([f32; 3], [f32; 8], [f32; 3])>) -> Self {
        let mut outputs = Self::default();
        for (sentiment, intent, urgency) in rows {
            outputs.sentiment.extend(sentiment);
            outputs.intent.extend(intent);
            outputs.urgency.extend(urgency);
        }
        outputs
    }

    /// The posts' rows, in the batch's order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let intents = self.intent.as_chunks().0;
        let urgencies = self.urgency.as_chunks().0;
        self.sentiment.as_chunks().0.iter().zip(intents).zip(urgencies).map(|((s, i), u)| (s, i, u))
    }
}

/// Loads `model` into the runtime that `choice`, `library` and `places` lead to, and runs `probe` once.
///
/// `places` are the folders that may hold an ONNX Runtime nobody configured.
pub(super) fn open(
    choice: RuntimeChoice,
    library: Option<&Path>,
    places: &[PathBuf],
    threads: NonZeroUsize,
    model: Cow<'static, [u8]>,
    probe: &Batch,
) -> Result<Box<dyn Runtime>, RuntimeError> {
    let linked_in = |model| probed(rten::Rten::open(model, threads)?, probe);
    let shared = |path: &Path| probed(onnxruntime::OnnxRuntime::open(path, &model, threads)?, probe);
    match (choice, library) {
        (RuntimeChoice::Rten, _) => linked_in(model),
        (RuntimeChoice::Auto | RuntimeChoice::OnnxRuntime, Some(path)) => shared(path),
        (RuntimeChoice::OnnxRuntime, None) => match library::find(places) {
            Some(path) => shared(&path),
            None => {
                let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
                Err(RuntimeError::NoLibrary { places: places.join(", ") })
            }
        },
        (RuntimeChoice::Auto, None) => {
            let Some(path) = library::find(places) else {
                return linked_in(model);
            };
            match shared(&path) {
                Ok(runtime) => Ok(runtime),
                // Nobody asked for this library, so it is no mistake in the config that it cannot be used.
                Err(error) => {
                    tracing::warn!(library = %path.display(), %error, "using rten instead of the ONNX Runtime found");
                    linked_in(model)
                }
            }
        }
    }
}

/// The folders where an ONNX Runtime is looked for: beside the binary, then where packages put it.
pub(super) fn standard_places() -> Vec<PathBuf> {
    library::standard_places()
}

/// `runtime`, once it has shown that it can run the graph and gives the outputs we need.
fn probed(mut runtime: impl Runtime + 'static, probe: &Batch) -> Result<Box<dyn Runtime>, RuntimeError> {
    runtime.run(probe)?;
    Ok(Box::new(runtime))
}

#[cfg(test)]
mod tests {
    use super::super::ModelChoice;
    use super::super::manifest::Bundle;
    use super::*;

    #[test]
    fn an_output_of_another_shape_is_named() {
        let check = |wrong: &'static str, shape: &[usize], values: usize, expected: &str| {
            let outputs = Outputs::collect(2, |name| {
                let labels = OUTPUTS.iter().find(|(output, _)| *output == name).unwrap().1;
                if name != wrong {
                    return Ok((vec![2, labels], vec![0.5; 2 * labels]));
                }
                Ok((shape.to_vec(), vec![0.5; values]))
            });
            assert_eq!(outputs.unwrap_err().to_string(), expected);
        };
        check("intent", &[2, 7], 14, "output intent: has the shape [2, 7], not [2, 8]");
        check("urgency", &[3, 2], 6, "output urgency: has the shape [3, 2], not [2, 3]");
        check("sentiment", &[2, 1, 3], 6, "output sentiment: has the shape [2, 1, 3], not [2, 3]");
        check("sentiment", &[2, 3], 5, "output sentiment: has the shape [2, 3], not [2, 3]");
        check("sentiment", &[], 1, "output sentiment: has the shape [], not [2, 3]");
    }

    #[test]
    fn rows_are_the_posts_in_order() {
        let counted = |labels: usize| (vec![2, labels], (0..2 * labels).map(|i| i as f32).collect());
        let outputs = Outputs::collect(2, |name| {
            Ok(counted(OUTPUTS.iter().find(|(output, _)| *output == name).unwrap().1))
        });
        let outputs = outputs.unwrap();
        let rows: Vec<Row<'_>> = outputs.rows().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].0, &[0., 1., 2.]);
        assert_eq!(rows[1], (&[3., 4., 5.], &[8., 9., 10., 11., 12., 13., 14., 15.], &[3., 4., 5.]));
    }

    /// Opens the embedded model with a library that is no library in the one standard place.
    fn check(choice: RuntimeChoice, configured: bool, found: bool, expected: Result<&str, &str>) {
        let place = tempfile::tempdir().unwrap();
        let library = place.path().join("libonnxruntime.so");
        if found {
            std::fs::write(&library, "not a library, but found").unwrap();
        }
        let configured = configured.then(|| place.path().join("configured.so"));
        let bundle = Bundle::open(&ModelChoice::Full).unwrap();
        let mut probe = Batch::default();
        probe.fill([&[0, 2][..]].into_iter(), bundle.pad_id);
        let places = [place.path().to_owned()];
        let opened = open(choice, configured.as_deref(), &places, NonZeroUsize::MIN, bundle.model, &probe);
        match (opened, expected) {
            (Ok(runtime), Ok(name)) => assert_eq!(runtime.name(), name),
            (Err(error), Err(reason)) => {
                let error = error.to_string();
                assert!(error.contains(reason), "{error:?} does not contain {reason:?}");
                assert!(error.contains(&place.path().display().to_string()), "{error:?} names no path");
            }
            (opened, expected) => {
                panic!("{expected:?} expected, not {:?}", opened.map(|r| r.name().to_owned()))
            }
        }
    }

    #[test]
    fn rten_stands_in_where_nobody_asked_for_onnx_runtime() {
        use RuntimeChoice::{Auto, OnnxRuntime, Rten};
        let rten = Ok("rten 0.27");
        check(Rten, false, true, rten);
        check(Rten, true, true, rten);
        check(Auto, false, false, rten);
        check(Auto, false, true, rten);
        check(Auto, true, false, Err("configured.so: No such file"));
        check(OnnxRuntime, true, true, Err("configured.so: No such file"));
        check(OnnxRuntime, false, true, Err("libonnxruntime.so: is not a shared library"));
        check(OnnxRuntime, false, false, Err("no ONNX Runtime library (libonnxruntime.so) in"));
    }
}
