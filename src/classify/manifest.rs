//! A model bundle: what it says of itself, checked before any of it is used.
//!
//! A bundle is a folder with `model.json`, the ONNX graph and, unless the model reads n-grams, the tokeniser
//! that `model.json` names. The description is read strictly, its files must have the checksums it states, and
//! its labels must be ours; their order may differ, and [`Heads`] puts the probabilities into the order of our
//! constants.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::embedded::{self, Embedded};
use super::language::Language;
use super::ngrams::{self, Ngrams};
use super::{INTENTS, ModelChoice, SENTIMENTS, URGENCIES, Verdict};

/// Name of the description in a bundle's folder.
const DESCRIPTION_FILE: &str = "model.json";

/// Which state of `models/README.md`, "Contract", a bundle's files must keep to.
///
/// It counts up with every change of how a text is read or of what the numbers mean: a bundle of another
/// contract would run all the same, and be read wrongly without a word.
const CONTRACT: u64 = 2;

/// Largest description we read, in bytes: a hundred times the one we ship.
const DESCRIPTION_BYTES_MAX: u64 = 64 * 1024;

/// Largest graph we read, in bytes: protobuf, and so ONNX in one file, ends at 2 GiB.
const MODEL_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Largest tokeniser we read, in bytes: three times the unpruned one of 250,000 pieces (17 MB).
const TOKENISER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most tokens a bundle may ask for: beyond it one post would hold up all others for a second.
const TOKENS_MAX: usize = 512;

/// Most n-grams a bundle may ask for.
///
/// A text of 4,000 bytes can have 8,000 and more, but a post of 288 characters has about 650, and words and
/// pairs of words come first. The model we ship takes the first 512.
const NGRAMS_MAX: usize = 4096;

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
        /// The bundle: its folder, or `embedded model full`.
        origin: String,
        /// What is wrong, with line and column where there is one.
        reason: String,
    },
    /// A file is not the one that was described: cut, changed, or of another version.
    #[error("{origin}: {file} has {bytes} bytes with sha256 {found}, but model.json says {stated}")]
    Checksum {
        /// The bundle: its folder, or `embedded model full`.
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
        /// The bundle: its folder, or `embedded model full`.
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
    /// Longest row that the graph takes, `<s>` and `</s>` included; the batch may fill it up to a multiple of
    /// [`WIDTH_MULTIPLE`](super::batch::WIDTH_MULTIPLE).
    pub(super) tokens_max: usize,
    /// What fills a row behind its text.
    pub(super) pad_id: u32,
    /// The languages that the model was trained for; without them, all.
    pub(super) languages: Option<Vec<Language>>,
    /// The share that the embedded small model has in a verdict, between 0 and 1; without it, none.
    pub(super) small_share: Option<f32>,
    /// From the bundle's order of labels to ours.
    pub(super) heads: Heads,
    /// The ONNX graph.
    pub(super) model: Cow<'static, [u8]>,
    /// What makes a row of a text.
    pub(super) reader: ReaderSource,
}

/// What a bundle's texts are read with.
#[derive(Debug)]
pub(super) enum ReaderSource {
    /// A tokeniser as Hugging Face JSON.
    Tokeniser(Cow<'static, [u8]>),
    /// Hashed n-grams, which need no file.
    Ngrams(Ngrams),
}

impl Bundle {
    /// The bundle that was chosen.
    pub(super) fn open(choice: &ModelChoice) -> Result<Self, BundleError> {
        match choice {
            ModelChoice::Full => Self::embedded("embedded model full", &embedded::FULL),
            ModelChoice::Small => Self::embedded("embedded model small", &embedded::SMALL),
            ModelChoice::Folder(folder) => Self::in_folder(folder),
        }
    }

    fn embedded(origin: &str, files: &Embedded) -> Result<Self, BundleError> {
        let description = Description::parse(origin, files.description)?;
        let tokeniser = || Ok(Cow::Borrowed(files.tokeniser.unwrap_or_default()));
        description.into_bundle(origin, Cow::Borrowed(files.model), tokeniser)
    }

    fn in_folder(folder: &Path) -> Result<Self, BundleError> {
        let origin = folder.display().to_string();
        let description =
            Description::parse(&origin, &read(&folder.join(DESCRIPTION_FILE), DESCRIPTION_BYTES_MAX)?)?;
        let model = Cow::Owned(read(&folder.join(&description.model), MODEL_BYTES_MAX)?);
        let path = description.tokenizer.as_deref().map(|file| folder.join(file)).unwrap_or_default();
        description.into_bundle(&origin, model, || Ok(Cow::Owned(read(&path, TOKENISER_BYTES_MAX)?)))
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
        language: Language,
    ) -> Verdict {
        Verdict {
            sentiment: permuted(sentiment, &self.sentiment),
            intent: permuted(intent, &self.intent),
            urgency: permuted(urgency, &self.urgency),
            language,
        }
    }
}

fn permuted<const N: usize>(row: &[f32; N], places: &[usize; N]) -> [f32; N] {
    // A place that is out of range cannot be made; NaN would be refused by the probability check.
    places.map(|place| row.get(place).copied().unwrap_or(f32::NAN))
}

/// What is read of `model.json` first: another contract may have other keys.
#[derive(Debug, Deserialize)]
struct Stated {
    contract: Option<u64>,
}

/// `model.json` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    name: String,
    version: String,
    /// Checked already, in [`Stated`].
    #[serde(rename = "contract")]
    _contract: IgnoredAny,
    model: String,
    model_sha256: String,
    tokenizer: Option<String>,
    tokenizer_sha256: Option<String>,
    ngrams: Option<DescribedNgrams>,
    tokens_max: usize,
    pad_id: u32,
    languages: Option<Vec<String>>,
    small_share: Option<f32>,
    inputs: Vec<String>,
    heads: DescribedHeads,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedNgrams {
    buckets: u32,
    chars: [usize; 2],
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
        let malformed = |error: serde_json::Error| wrong(error.to_string());
        match serde_json::from_slice(bytes).map_err(malformed)? {
            Stated { contract: Some(CONTRACT) } => {}
            Stated { contract: Some(found) } => {
                return Err(wrong(format!("contract = {found}: this vigie reads contract {CONTRACT}")));
            }
            Stated { contract: None } => {
                return Err(wrong(format!("contract is missing: this vigie reads contract {CONTRACT}")));
            }
        }
        let description: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        if description.name.trim().is_empty() || description.version.trim().is_empty() {
            return Err(wrong("name and version must not be empty".into()));
        }
        let files =
            [("model", Some(&description.model)), ("tokenizer", description.tokenizer.as_ref())].into_iter();
        for (key, file) in files.filter_map(|(key, file)| Some((key, file?))) {
            // A description speaks of its own folder only.
            if Path::new(file).file_name().is_none_or(|name| name != file.as_str()) {
                return Err(wrong(format!("{key} = {file:?}: must be a file name without a folder")));
            }
        }
        let most = if description.ngrams.is_some() { NGRAMS_MAX } else { TOKENS_MAX };
        if !(2..=most).contains(&description.tokens_max) {
            let tokens = description.tokens_max;
            return Err(wrong(format!("tokens_max = {tokens}: must be from 2 to {most}")));
        }
        if description.ngrams.is_some() && description.pad_id != ngrams::PAD_ID {
            let (found, needed) = (description.pad_id, ngrams::PAD_ID);
            return Err(wrong(format!("pad_id = {found}: must be {needed}, the id that no n-gram has")));
        }
        if let Some(share) = description.small_share.filter(|share| !(*share > 0.0 && *share < 1.0)) {
            return Err(wrong(format!(
                "small_share = {share}: must be more than 0 and less than 1, or left out"
            )));
        }
        if description.inputs != super::runtime::INPUTS {
            let found = description.inputs.join(", ");
            let needed = super::runtime::INPUTS.join(", ");
            return Err(wrong(format!("inputs are {found}, but vigie gives {needed}")));
        }
        Ok(description)
    }

    /// The bundle of these files; `tokeniser` gives the one that the description names, if it names one.
    fn into_bundle(
        self,
        origin: &str,
        model: Cow<'static, [u8]>,
        tokeniser: impl FnOnce() -> Result<Cow<'static, [u8]>, BundleError>,
    ) -> Result<Bundle, BundleError> {
        let wrong = |reason: String| BundleError::Description { origin: origin.to_owned(), reason };
        check_sha256(origin, &self.model, &model, &self.model_sha256)?;
        let reader = match (&self.tokenizer, &self.tokenizer_sha256, &self.ngrams) {
            (Some(file), Some(sha256), None) => {
                let tokeniser = tokeniser()?;
                check_sha256(origin, file, &tokeniser, sha256)?;
                ReaderSource::Tokeniser(tokeniser)
            }
            (None, None, Some(DescribedNgrams { buckets, chars })) => ReaderSource::Ngrams(
                Ngrams::new(*buckets, *chars).map_err(|reason| wrong(format!("ngrams: {reason}")))?,
            ),
            _ => {
                return Err(wrong("must have either tokenizer and tokenizer_sha256, or ngrams".into()));
            }
        };
        let languages = self.languages.as_deref().map(languages).transpose().map_err(wrong)?;
        let heads = Heads {
            sentiment: places(origin, "sentiment", &self.heads.sentiment, &SENTIMENTS)?,
            intent: places(origin, "intent", &self.heads.intent, &INTENTS)?,
            urgency: places(origin, "urgency", &self.heads.urgency, &URGENCIES)?,
        };
        Ok(Bundle {
            name: format!("{} {}", self.name, self.version),
            tokens_max: self.tokens_max,
            pad_id: self.pad_id,
            languages,
            small_share: self.small_share,
            heads,
            model,
            reader,
        })
    }
}

/// The languages of these codes, which must be some that vigie can tell: it could never find another one.
fn languages(codes: &[String]) -> Result<Vec<Language>, String> {
    if codes.is_empty() {
        return Err("languages is empty: leave it out if the model is for all".into());
    }
    let known = |code: &String| {
        let codes = || Language::codes().join(", ");
        Language::from_code(code)
            .ok_or_else(|| format!("languages has {code:?}, but vigie can tell only {}", codes()))
    };
    codes.iter().map(known).collect()
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
        serde_json::from_slice(embedded::FULL.description).unwrap()
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Opens a bundle of two short files whose description `edit` has changed.
    fn open(edit: impl FnOnce(&mut Value)) -> Result<Bundle, BundleError> {
        let folder = tempfile::tempdir().unwrap();
        let mut description = description();
        for (key, file, bytes) in
            [("model", "model.onnx", "graph"), ("tokenizer", "tokenizer.json", "pieces")]
        {
            std::fs::write(folder.path().join(file), bytes).unwrap();
            description[format!("{key}_sha256")] = sha256(bytes.as_bytes()).into();
        }
        edit(&mut description);
        std::fs::write(folder.path().join("model.json"), description.to_string()).unwrap();
        Bundle::open(&ModelChoice::Folder(folder.path().to_owned()))
    }

    #[test]
    fn the_embedded_bundles_are_whole() {
        let check = |choice: ModelChoice, name: &str, is_expected: fn(&ReaderSource) -> bool| {
            let bundle = Bundle::open(&choice).unwrap();
            assert!(bundle.name.starts_with(name), "{}", bundle.name);
            assert!(bundle.tokens_max >= 32);
            assert!(is_expected(&bundle.reader), "{choice:?}");
        };
        check(ModelChoice::Full, "vigie-full ", |reader| matches!(reader, ReaderSource::Tokeniser(_)));
        check(ModelChoice::Small, "vigie-small ", |reader| matches!(reader, ReaderSource::Ngrams(_)));
    }

    #[test]
    fn the_card_lists_the_checksums_of_what_is_embedded() {
        let card = include_str!("../../models/README.md");
        let check = |file: &str, bytes: &[u8]| {
            let line = format!("{}  {file}", sha256(bytes));
            assert!(card.lines().any(|listed| listed == line), "models/README.md lacks the line {line}");
        };
        check("full/model.onnx", embedded::FULL.model);
        check("full/tokenizer.json", embedded::FULL.tokeniser.unwrap());
        check("small/model.onnx", embedded::SMALL.model);
    }

    #[test]
    fn a_described_folder_is_a_bundle() {
        let bundle = open(|_| ()).unwrap();
        let ReaderSource::Tokeniser(tokeniser) = bundle.reader else { panic!("no tokeniser") };
        assert_eq!((&*bundle.model, &*tokeniser), (&b"graph"[..], &b"pieces"[..]));
    }

    /// Turns the description into one of a model that reads n-grams.
    fn read_ngrams(description: &mut Value) {
        remove(description, &["tokenizer", "tokenizer_sha256"]);
        description["ngrams"] = json!({ "buckets": 1024, "chars": [3, 5] });
        description["pad_id"] = json!(0);
    }

    fn remove(description: &mut Value, keys: &[&str]) {
        keys.iter().for_each(|key| drop(description.as_object_mut().unwrap().remove(*key).unwrap()));
    }

    #[test]
    fn a_bundle_of_ngrams_needs_no_tokeniser() {
        let bundle = open(|description| {
            read_ngrams(description);
            description["tokens_max"] = json!(1024);
        });
        let ReaderSource::Ngrams(ngrams) = bundle.unwrap().reader else { panic!("no n-grams") };
        assert_eq!(ngrams.last_id(), 1023);
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
        check(|d| d["small_share"] = json!(1), "small_share = 1: must be more than 0 and less than 1");
        check(|d| d["small_share"] = json!(-0.5), "small_share = -0.5: must be more than 0 and less than 1");
        check(|d| d["name"] = json!(" "), "name and version must not be empty");
        check(|d| d["model"] = json!("../model.onnx"), "model = \"../model.onnx\": must be a file name");
        check(|d| d["model"] = json!("/etc/passwd"), "must be a file name without a folder");
        check(|d| d["tokenizer"] = json!(""), "tokenizer = \"\": must be a file name");
        check(|d| d["tokenizer"] = json!("other.json"), "other.json: No such file");
        check(
            |d| d["inputs"] = json!(["input_ids"]),
            "inputs are input_ids, but vigie gives input_ids, atten",
        );
        check(|d| d["languages"] = json!([]), "languages is empty: leave it out");
        check(
            |d| d["languages"] = json!(["fr", "el"]),
            "languages has \"el\", but vigie can tell only ar, de, ",
        );
        check(|d| d["languages"] = json!("fr"), "invalid type: string \"fr\"");
        let either = "must have either tokenizer and tokenizer_sha256, or ngrams";
        check(|d| d["ngrams"] = json!({ "buckets": 1024, "chars": [3, 5] }), "pad_id = 1: must be 0, the id");
        check(
            |d| (d["ngrams"], d["pad_id"]) = (json!({ "buckets": 1024, "chars": [3, 5] }), json!(0)),
            either,
        );
        check(|d| remove(d, &["tokenizer", "tokenizer_sha256"]), either);
        check(|d| remove(d, &["tokenizer"]), either);
        check(|d| remove(d, &["tokenizer_sha256"]), either);
        let check_ngrams = |ngrams: Value, expected: &str| {
            let error = open(|d| {
                read_ngrams(d);
                d["ngrams"] = ngrams;
            });
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        };
        let buckets = "model.json: ngrams: buckets = 1: must be from 2 to 16777216";
        check_ngrams(json!({ "buckets": 1, "chars": [3, 5] }), buckets);
        check_ngrams(
            json!({ "buckets": 1u64 << 32, "chars": [3, 5] }),
            "invalid value: integer `4294967296`",
        );
        check_ngrams(json!({ "buckets": -1, "chars": [3, 5] }), "invalid value: integer `-1`");
        check_ngrams(
            json!({ "buckets": 1024, "chars": [5, 3] }),
            "chars = [5, 3]: must be two numbers from 1",
        );
        check_ngrams(json!({ "buckets": 1024, "chars": [3] }), "invalid length 1");
        check_ngrams(json!({ "buckets": 1024, "chars": [3, 5], "words": 2 }), "unknown field `words`");
        check_ngrams(json!({ "buckets": 1024 }), "missing field `chars`");
        check(
            |d| {
                read_ngrams(d);
                d["tokens_max"] = json!(4097);
            },
            "tokens_max = 4097: must be from 2 to 4096",
        );
        check(
            |d| {
                read_ngrams(d);
                d["model_sha256"] = json!("00");
            },
            "model.onnx has 5 bytes with sha256",
        );
        check(|d| d["model_sha256"] = json!("00"), "model.onnx has 5 bytes with sha256");
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
    fn a_bundle_of_another_contract_is_refused_whatever_else_it_holds() {
        let check = |edit: fn(&mut Value), expected: &str| {
            let error = open(edit).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        };
        check(|d| d["contract"] = json!(1), "model.json: contract = 1: this vigie reads contract 2");
        check(
            |d| (d["contract"], d["colour"], d["tokens_max"]) = (json!(3), json!("red"), json!("96")),
            "model.json: contract = 3: this vigie reads contract 2",
        );
        check(|d| remove(d, &["contract"]), "model.json: contract is missing: this vigie reads contract 2");
        check(|d| d["contract"] = json!("2"), "invalid type: string \"2\"");
        check(|d| d["contract"] = json!(2.5), "invalid type: floating point");
    }

    #[test]
    fn a_description_cut_anywhere_is_refused() {
        for cut in 0..embedded::FULL.description.trim_ascii_end().len() {
            let found = Description::parse("bundle", &embedded::FULL.description[..cut]);
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
        let verdict = bundle.heads.verdict(&[0.7, 0.1, 0.2], &intent, &[0.6, 0.3, 0.1], Language::UNCLEAR);
        let expected = Verdict {
            sentiment: [0.1, 0.2, 0.7],
            intent,
            urgency: [0.1, 0.3, 0.6],
            language: Language::UNCLEAR,
        };
        assert_eq!(verdict, expected);
    }
}
