//! A model bundle: what it says of itself, checked before any of it is used.
//!
//! A bundle is a folder with `model.json`, the ONNX graph and the tokeniser that `model.json` names.
//! The description is read strictly, both files must have the checksums it states, and its labels must
//! be ours; their order may differ, and [`Heads`] puts the probabilities into the order of our constants.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{INTENTS, SENTIMENTS, URGENCIES, Verdict, embedded};

/// Name of the description in a bundle's folder.
const DESCRIPTION_FILE: &str = "model.json";

/// Largest description we read, in bytes: a hundred times the one we ship.
const DESCRIPTION_BYTES_MAX: u64 = 64 * 1024;

/// Largest graph we read, in bytes: protobuf, and so ONNX in one file, ends at 2 GiB.
const MODEL_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Largest tokeniser we read, in bytes: three times the unpruned one of 250,000 pieces (17 MB).
const TOKENISER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most tokens a bundle may ask for: beyond it one post would hold up all others for a second.
const TOKENS_MAX: usize = 512;

/// Why a bundle cannot be used. None of these is cured by trying again.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file of the bundle cannot be read, or is longer than we accept.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The description is not the JSON object that we know.
    #[error("{origin}: model.json: {reason}")]
    Description {
        /// The bundle: its folder, or `embedded model`.
        origin: String,
        /// What is wrong, with line and column where there is one.
        reason: String,
    },
    /// A file is not the one that was described: cut, changed, or of another version.
    #[error("{origin}: {file} has {bytes} bytes with sha256 {found}, but model.json says {stated}")]
    Checksum {
        /// The bundle: its folder, or `embedded model`.
        origin: String,
        /// The file's name in the bundle.
        file: String,
        /// Its size.
        bytes: usize,
        /// The checksum of what is there, lower-case hexadecimal.
        found: String,
        /// The checksum in the description.
        stated: String,
    },
    /// A head's labels are not ours.
    #[error("{origin}: head {head} has the labels {found}, but vigie needs {needed}")]
    Labels {
        /// The bundle: its folder, or `embedded model`.
        origin: String,
        /// `sentiment`, `intent` or `urgency`.
        head: &'static str,
        /// The bundle's labels, joined by commas.
        found: String,
        /// Ours, joined by commas.
        needed: String,
    },
}

/// A bundle whose description and checksums hold.
#[derive(Debug)]
pub(super) struct Bundle {
    /// Name and version: `vigie-full 1`.
    pub(super) name: String,
    /// Longest row that the graph takes, `<s>` and `</s>` included.
    pub(super) tokens_max: usize,
    /// What fills a row behind its text.
    pub(super) pad_id: u32,
    /// From the bundle's order of labels to ours.
    pub(super) heads: Heads,
    /// The ONNX graph.
    pub(super) model: Cow<'static, [u8]>,
    /// The tokeniser as Hugging Face JSON.
    pub(super) tokeniser: Cow<'static, [u8]>,
}

impl Bundle {
    /// The bundle in `folder`, or the embedded one without a folder.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, BundleError> {
        let Some(folder) = folder else {
            let description = Description::parse("embedded model", embedded::DESCRIPTION)?;
            return description.into_bundle(
                "embedded model",
                Cow::Borrowed(embedded::MODEL),
                Cow::Borrowed(embedded::TOKENISER),
            );
        };
        let origin = folder.display().to_string();
        let description =
            Description::parse(&origin, &read(&folder.join(DESCRIPTION_FILE), DESCRIPTION_BYTES_MAX)?)?;
        let model = read(&folder.join(&description.model), MODEL_BYTES_MAX)?;
        let tokeniser = read(&folder.join(&description.tokenizer), TOKENISER_BYTES_MAX)?;
        description.into_bundle(&origin, Cow::Owned(model), Cow::Owned(tokeniser))
    }
}

/// For each of our labels, its place in the bundle's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heads {
    sentiment: [usize; SENTIMENTS.len()],
    intent: [usize; INTENTS.len()],
    urgency: [usize; URGENCIES.len()],
}

impl Heads {
    /// The verdict of one post from its rows of the three outputs, which are in the bundle's order.
    pub(super) fn verdict(
        &self,
        sentiment: &[f32; SENTIMENTS.len()],
        intent: &[f32; INTENTS.len()],
        urgency: &[f32; URGENCIES.len()],
    ) -> Verdict {
        Verdict {
            sentiment: permuted(sentiment, &self.sentiment),
            intent: permuted(intent, &self.intent),
            urgency: permuted(urgency, &self.urgency),
        }
    }
}

fn permuted<const N: usize>(row: &[f32; N], places: &[usize; N]) -> [f32; N] {
    // A place that is out of range cannot be made; NaN would be refused by the probability check.
    places.map(|place| row.get(place).copied().unwrap_or(f32::NAN))
}

/// `model.json` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    name: String,
    version: String,
    model: String,
    model_sha256: String,
    tokenizer: String,
    tokenizer_sha256: String,
    tokens_max: usize,
    pad_id: u32,
    inputs: Vec<String>,
    heads: DescribedHeads,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedHeads {
    sentiment: Vec<String>,
    intent: Vec<String>,
    urgency: Vec<String>,
}

impl Description {
    fn parse(origin: &str, bytes: &[u8]) -> Result<Self, BundleError> {
        let wrong = |reason: String| BundleError::Description { origin: origin.to_owned(), reason };
        let description: Self = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if description.name.trim().is_empty() || description.version.trim().is_empty() {
            return Err(wrong("name and version must not be empty".into()));
        }
        for (key, file) in [("model", &description.model), ("tokenizer", &description.tokenizer)] {
            // A description speaks of its own folder only.
            if Path::new(file).file_name().is_none_or(|name| name != file.as_str()) {
                return Err(wrong(format!("{key} = {file:?}: must be a file name without a folder")));
            }
        }
        if !(2..=TOKENS_MAX).contains(&description.tokens_max) {
            let tokens = description.tokens_max;
            return Err(wrong(format!("tokens_max = {tokens}: must be from 2 to {TOKENS_MAX}")));
        }
        if description.inputs != super::runtime::INPUTS {
            let found = description.inputs.join(", ");
            let needed = super::runtime::INPUTS.join(", ");
            return Err(wrong(format!("inputs are {found}, but vigie gives {needed}")));
        }
        Ok(description)
    }

    fn into_bundle(
        self,
        origin: &str,
        model: Cow<'static, [u8]>,
        tokeniser: Cow<'static, [u8]>,
    ) -> Result<Bundle, BundleError> {
        check_sha256(origin, &self.model, &model, &self.model_sha256)?;
        check_sha256(origin, &self.tokenizer, &tokeniser, &self.tokenizer_sha256)?;
        let heads = Heads {
            sentiment: places(origin, "sentiment", &self.heads.sentiment, &SENTIMENTS)?,
            intent: places(origin, "intent", &self.heads.intent, &INTENTS)?,
            urgency: places(origin, "urgency", &self.heads.urgency, &URGENCIES)?,
        };
        Ok(Bundle {
            name: format!("{} {}", self.name, self.version),
            tokens_max: self.tokens_max,
            pad_id: self.pad_id,
            heads,
            model,
            tokeniser,
        })
    }
}

/// Where each label of `ours` stands among `theirs`, which must be the same labels.
fn places<const N: usize>(
    origin: &str,
    head: &'static str,
    theirs: &[String],
    ours: &[&str; N],
) -> Result<[usize; N], BundleError> {
    let mut places = [0; N];
    let mut same = theirs.len() == N;
    for (place, label) in places.iter_mut().zip(ours) {
        match theirs.iter().position(|their| their == label) {
            Some(found) => *place = found,
            None => same = false,
        }
    }
    if same {
        return Ok(places);
    }
    Err(BundleError::Labels {
        origin: origin.to_owned(),
        head,
        found: theirs.join(", "),
        needed: ours.join(", "),
    })
}

fn check_sha256(origin: &str, file: &str, bytes: &[u8], stated: &str) -> Result<(), BundleError> {
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(stated) {
        return Ok(());
    }
    Err(BundleError::Checksum {
        origin: origin.to_owned(),
        file: file.to_owned(),
        bytes: bytes.len(),
        found,
        stated: stated.to_owned(),
    })
}

/// The whole file, which may have at most `bytes_max`.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, BundleError> {
    let unreadable = |source| BundleError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a longer file from one that just fits, without reading it all.
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if read as u64 > bytes_max {
        let reason = format!("longer than the limit of {bytes_max} bytes");
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn description() -> Value {
        serde_json::from_slice(embedded::DESCRIPTION).unwrap()
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Opens a bundle of two short files whose description `edit` has changed.
    fn open(edit: impl FnOnce(&mut Value)) -> Result<Bundle, BundleError> {
        let folder = tempfile::tempdir().unwrap();
        let mut description = description();
        for (key, file, bytes) in [("model", "full.onnx", "graph"), ("tokenizer", "tokenizer.json", "pieces")]
        {
            std::fs::write(folder.path().join(file), bytes).unwrap();
            description[format!("{key}_sha256")] = sha256(bytes.as_bytes()).into();
        }
        edit(&mut description);
        std::fs::write(folder.path().join("model.json"), description.to_string()).unwrap();
        Bundle::open(Some(folder.path()))
    }

    #[test]
    fn the_embedded_bundle_is_whole() {
        let bundle = Bundle::open(None).unwrap();
        assert_eq!(bundle.name, "vigie-full 1");
        assert!(bundle.tokens_max >= 32);
    }

    #[test]
    fn a_described_folder_is_a_bundle() {
        let bundle = open(|_| ()).unwrap();
        assert_eq!((&*bundle.model, &*bundle.tokeniser), (&b"graph"[..], &b"pieces"[..]));
    }

    #[test]
    fn a_mistake_in_a_bundle_is_named() {
        let check = |edit: fn(&mut Value), expected: &str| {
            let error = open(edit).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        };
        check(|d| d["colour"] = json!("red"), "model.json: unknown field `colour`");
        check(|d| d["tokens_max"] = json!("96"), "invalid type: string \"96\"");
        check(|d| d["tokens_max"] = json!(1), "tokens_max = 1: must be from 2 to 512");
        check(|d| d["tokens_max"] = json!(100_000), "tokens_max = 100000: must be from 2 to 512");
        check(|d| d["name"] = json!(" "), "name and version must not be empty");
        check(|d| d["model"] = json!("../full.onnx"), "model = \"../full.onnx\": must be a file name");
        check(|d| d["model"] = json!("/etc/passwd"), "must be a file name without a folder");
        check(|d| d["tokenizer"] = json!(""), "tokenizer = \"\": must be a file name");
        check(|d| d["tokenizer"] = json!("other.json"), "other.json: No such file");
        check(
            |d| d["inputs"] = json!(["input_ids"]),
            "inputs are input_ids, but vigie gives input_ids, atten",
        );
        check(|d| d["model_sha256"] = json!("00"), "full.onnx has 5 bytes with sha256");
        check(|d| d["tokenizer_sha256"] = json!("00"), "tokenizer.json has 6 bytes with sha256");
        check(|d| d["heads"]["mood"] = json!([]), "unknown field `mood`");
        check(|d| drop(d["heads"].as_object_mut().unwrap().remove("intent")), "missing field `intent`");
        check(
            |d| d["heads"]["urgency"] = json!(["low", "normal", "urgent"]),
            "head urgency has the labels low, normal, urgent, but vigie needs low, normal, high",
        );
        check(
            |d| d["heads"]["urgency"] = json!(["low", "normal"]),
            "head urgency has the labels low, normal,",
        );
        check(
            |d| d["heads"]["urgency"] = json!(["low", "normal", "high", "high"]),
            "head urgency has the labels low, normal, high, high",
        );
        check(
            |d| d["heads"]["urgency"] = json!(["low", "low", "high"]),
            "head urgency has the labels low, low, high",
        );
    }

    #[test]
    fn a_description_cut_anywhere_is_refused() {
        for cut in 0..embedded::DESCRIPTION.trim_ascii_end().len() {
            let found = Description::parse("bundle", &embedded::DESCRIPTION[..cut]);
            assert!(matches!(found, Err(BundleError::Description { .. })), "cut at byte {cut}");
        }
    }

    #[test]
    fn a_file_above_its_limit_is_refused_and_one_at_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [7; 10]);
        assert!(read(&path, 9).unwrap_err().to_string().ends_with("file: longer than the limit of 9 bytes"));
    }

    #[test]
    fn labels_in_another_order_are_put_into_ours() {
        let bundle = open(|d| {
            d["heads"]["sentiment"] = json!(["positive", "negative", "neutral"]);
            d["heads"]["urgency"] = json!(["high", "normal", "low"]);
        })
        .unwrap();
        let intent = [0.1, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0, 0.0];
        let verdict = bundle.heads.verdict(&[0.7, 0.1, 0.2], &intent, &[0.6, 0.3, 0.1]);
        let expected = Verdict { sentiment: [0.1, 0.2, 0.7], intent, urgency: [0.1, 0.3, 0.6] };
        assert_eq!(verdict, expected);
    }
}
