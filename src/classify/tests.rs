//! The classifier as a whole, both bundles on every runtime that is here.

use super::*;
use std::path::Path;

use batch::Batch;
use embedded::Embedded;
use runtime::{Outputs, Runtime};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Names a library to run these tests on.
const LIBRARY: &str = "VIGIE_TEST_ONNXRUNTIME";

/// Names a folder with a bundle in float32.
const FLOAT32: &str = "VIGIE_TEST_FLOAT32";

/// How far a probability may be from Python's for the same text alone in its batch.
const GOLDEN_TOLERANCE: f32 = 0.01;

/// How far it may be for one text in thirty: where the last digit of a sum tips a rounding to eight bits, all
/// that follows moves by the size of that rounding.
const TIPPED_TOLERANCE: f32 = 0.05;
const TIPPED_SHARE: usize = 30;

/// The same where nothing is rounded to eight bits.
const FLOAT32_TOLERANCE: f32 = 0.0001;

/// How far a verdict may move with the texts that share its batch: the rounding of sums in another order.
const MATES_TOLERANCE: f32 = 0.0001;

const EVEN: Verdict = Verdict {
    sentiment: [0.25, 0.5, 0.25],
    intent: [0.125; 8],
    urgency: [0.0, 0.0, 1.0],
    language: Language::UNCLEAR,
};

fn rten() -> Config {
    Config { runtime: RuntimeChoice::Rten, ..Config::default() }
}

fn small(config: Config) -> Config {
    Config { model: ModelChoice::Small, ..config }
}

/// Both bundles on every runtime that is here.
fn every() -> Vec<Config> {
    let runtimes = [Some(rten()), onnxruntime()].into_iter().flatten();
    runtimes.flat_map(|config| [config.clone(), small(config)]).collect()
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
    Config { batch_posts_max: Some(NonZeroUsize::MIN), ..config }
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

/// Both give each text the same label on every head.
fn check_labels(texts: &[&str], found: &[Verdict], expected: &[Verdict]) {
    for ((text, found), expected) in texts.iter().zip(found).zip(expected) {
        for (found, expected) in heads(found).into_iter().zip(heads(expected)) {
            // Two labels as near to each other as this are no prediction to agree on.
            let near = expected[best(expected)] - expected[best(found)] < 0.002;
            assert!(near, "{text:?}: {found:?}, not {expected:?}");
        }
    }
}

/// The training side's texts, with its predictions for each alone.
fn golden(model: &ModelChoice) -> (Vec<String>, Vec<Verdict>) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let folder = match model {
        ModelChoice::Full => models.join("full"),
        ModelChoice::Small => models.join("small"),
        ModelChoice::Folder(folder) => folder.clone(),
    };
    let file = std::fs::read_to_string(folder.join("golden.ndjson")).unwrap();
    let line = |line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let row = |head: &str| serde_json::from_value::<Vec<f32>>(line[head].clone()).unwrap();
        let verdict = Verdict {
            sentiment: row("sentiment").try_into().unwrap(),
            intent: row("intent").try_into().unwrap(),
            urgency: row("urgency").try_into().unwrap(),
            language: Language::UNCLEAR,
        };
        (line["text"].as_str().unwrap().to_owned(), verdict)
    };
    file.lines().map(line).unzip()
}

fn check_golden(config: &Config, tolerance: f32) {
    let (texts, mut expected) = golden(&config.model);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = verdicts(&alone(config.clone()), &texts);
    // Python gives what the graph gives.
    let served = Bundle::open(&config.model).unwrap().languages;
    for ((text, found), expected) in texts.iter().zip(&found).zip(&mut expected) {
        if text.trim().is_empty() {
            *expected = Verdict::NOTHING_SAID;
        }
        if served.as_ref().is_some_and(|served| found.language.is_outside(served)) {
            *expected = expected.doubted();
        }
    }
    let far = check_near(&found, &expected, tolerance);
    println!("{:?} on {:?}: largest difference from Python {far}", config.model, config.runtime);
    check_labels(&texts, &found, &expected);
}

/// Asserts that verdicts are as near to each other as `tolerance`, or, where that is the one of eight bits, as
/// near as such rounding allows; gives the largest difference.
fn check_near(found: &[Verdict], expected: &[Verdict], tolerance: f32) -> f32 {
    let far = difference(found, expected);
    let beyond = found
        .iter()
        .zip(expected)
        .filter(|(a, b)| difference(std::slice::from_ref(a), std::slice::from_ref(b)) > tolerance);
    let beyond = beyond.count();
    let tipped = if tolerance < GOLDEN_TOLERANCE { 0 } else { found.len() / TIPPED_SHARE };
    assert!(
        beyond <= tipped && far <= TIPPED_TOLERANCE,
        "{beyond} of {} beyond {tolerance}, {far}",
        found.len()
    );
    far
}

#[test]
fn predictions_are_pythons() {
    every().iter().for_each(|config| check_golden(config, GOLDEN_TOLERANCE));
}

/// Such a bundle is too large to keep here; the training writes one beside what it ships.
#[test]
fn in_float32_predictions_are_pythons_to_four_digits() {
    let Some(folder) = std::env::var_os(FLOAT32) else {
        println!("skipped: {FLOAT32} names no folder with a bundle in float32");
        return;
    };
    for config in [Some(rten()), onnxruntime()].into_iter().flatten() {
        check_golden(&in_folder(Path::new(&folder), config), FLOAT32_TOLERANCE);
    }
}

#[test]
fn both_runtimes_agree() {
    let Some(onnxruntime) = onnxruntime() else { return };
    let model = |model: ModelChoice, tolerance: f32| {
        let with = |config: Config| Config { model: model.clone(), ..config };
        (with(rten()), with(onnxruntime.clone()), tolerance)
    };
    let float32 = std::env::var_os(FLOAT32).map(|folder| ModelChoice::Folder(folder.into()));
    let cases = [
        Some(model(ModelChoice::Full, GOLDEN_TOLERANCE)),
        Some(model(ModelChoice::Small, GOLDEN_TOLERANCE)),
        float32.map(|folder| model(folder, FLOAT32_TOLERANCE)),
    ];
    for (a, b, tolerance) in cases.into_iter().flatten() {
        let texts = golden(&a.model).0;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (a, b) in [(alone(a.clone()), alone(b.clone())), (a, b)] {
            let (found, expected) = (verdicts(&a, &texts), verdicts(&b, &texts));
            let far = check_near(&found, &expected, tolerance);
            println!("{:?}, {:?}: difference between the runtimes {far}", a.model, a.batch_posts_max);
            check_labels(&texts, &found, &expected);
        }
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

#[test]
fn a_verdict_hardly_depends_on_its_batch_mates() {
    for config in every() {
        let texts = golden(&config.model).0;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let one_by_one = verdicts(&alone(config.clone()), &texts);
        let together = verdicts(&config, &texts);
        let far = difference(&one_by_one, &together);
        println!("{:?} on {:?}: largest difference by mates {far}", config.model, config.runtime);
        assert!(far <= MATES_TOLERANCE, "{far}");
        assert_eq!(together, verdicts(&config, &texts), "the same batch again");
    }
}

#[test]
fn a_language_that_the_model_does_not_know_lowers_the_confidence() {
    let folder = tempfile::tempdir().unwrap();
    let german = "Meine Internetverbindung ist seit gestern tot @nimbotel";
    let french = "plus de réseau depuis ce matin @nimbotel";
    for embedded in [embedded::FULL, embedded::SMALL] {
        let verdicts_of_one_for = |languages: &[&str]| {
            write_bundle(&embedded, folder.path(), |description, _, _| {
                description["languages"] = json!(languages);
                description.as_object_mut().unwrap().remove("small_share");
            });
            verdicts(&in_folder(folder.path(), rten()), &[german, french])
        };
        let (both, one) = (verdicts_of_one_for(&["de", "fr"]), verdicts_of_one_for(&["fr", "en"]));
        assert_eq!(both.iter().map(|v| v.language.code()).collect::<Vec<_>>(), ["de", "fr"]);
        assert_eq!(one[0], both[0].doubted());
        assert_eq!(one[1], both[1]);
    }
}

#[test]
fn a_text_with_nothing_in_it_says_nothing() {
    for config in every() {
        for verdict in verdicts(&config, &["", " \t\n", "\u{3000}"]) {
            assert_eq!(verdict, Verdict::NOTHING_SAID);
            assert_eq!(INTENTS[best(&verdict.intent)], "other");
            assert_eq!(SENTIMENTS[best(&verdict.sentiment)], "neutral");
            assert_eq!(URGENCIES[best(&verdict.urgency)], "low");
        }
        assert_ne!(verdicts(&config, &["."])[0], Verdict::NOTHING_SAID);
    }
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
        &"@lumio_help ".repeat(200),
        &long,
        &unbroken,
        &mentions,
        &marks,
    ];
    for config in every() {
        assert_eq!(verdicts(&config, &texts).len(), texts.len());
        assert_eq!(verdicts(&config, &[]), []);
        let [whole, cut] = verdicts(&alone(config), &[&long, &long[..4_000]]).try_into().unwrap();
        assert_eq!(whole, cut, "only the first bytes count");
    }
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
        Ok(Outputs::from_rows(
            p.iter()
                .map(|&p| ([p, 0.0, 1.0 - p], [p, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0 - p], [p, 0.0, 1.0 - p])),
        ))
    }
}

fn faked(say: fn(i64) -> Result<f32, String>) -> Classifier {
    let mut classifier = Classifier::open(&rten()).unwrap();
    classifier.network.runtime = Box::new(Fake(say));
    classifier.network.posts_max = NonZeroUsize::new(3).unwrap();
    Classifier { companion: None, ..classifier }
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
        let before = Verdict { sentiment: [1., 0., 0.], ..EVEN };
        let mut verdicts = vec![before];
        let error = faked(say).classify(&["a", "b c d", "", "e"], &mut verdicts).unwrap_err().to_string();
        assert!(error.starts_with("model vigie-"), "{error:?}");
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        assert_eq!(verdicts, [before], "a failed call leaves no verdicts");
    };
    check(|id| Ok(if id == 2 { f32::NAN } else { 0.5 }), "sentiment is no probability distribution: [NaN");
    check(|id| Ok(if id == 2 { f32::INFINITY } else { 0.5 }), "sentiment is no probability");
    check(|_| Ok(1.5), "sentiment is no probability distribution: [1.5, 0.0, -0.5]");
    check(
        |id| if id == 2 { Err("no memory".into()) } else { Ok(0.5) },
        "fake does not run the graph: no memory",
    );
}

#[test]
fn the_small_model_has_the_share_that_the_bundle_gives_it() {
    let close = |found: &[f32], expected: &[f32]| {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{found:?}"));
    };
    // 0.8^0.75 0.1^0.25 and so on, divided by their sum.
    close(&pooled(&[0.8, 0.15, 0.05], &[0.1, 0.6, 0.3], 0.25), &[0.6209, 0.2769, 0.1022]);
    close(&pooled(&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], 0.5), &[0.4998, 0.4998, 0.0005]);

    let folder = tempfile::tempdir().unwrap();
    let text = ["plus de réseau depuis ce matin @nimbotel"];
    let with_share = |share: Option<f32>| {
        write_bundle(&embedded::FULL, folder.path(), |description, _, _| {
            description["small_share"] = json!(share);
            description["languages"] = json!(["en", "fr"]);
        });
        verdicts(&in_folder(folder.path(), rten()), &text)[0]
    };
    let (alone, quarter) = (with_share(None), with_share(Some(0.25)));
    assert_eq!(quarter, alone.pooled(&verdicts(&small(rten()), &text)[0], 0.25));
    assert_ne!(quarter, alone);
}

#[test]
fn the_small_model_has_no_share_where_it_does_not_know_a_language() {
    let folder = tempfile::tempdir().unwrap();
    let check = |languages: Value, expected: Option<&str>| {
        write_bundle(&embedded::FULL, folder.path(), |description, _, _| {
            description["small_share"] = json!(0.25);
            description["languages"] = languages;
        });
        let error = Classifier::open(&in_folder(folder.path(), rten())).err().map(|e| e.to_string());
        let is_expected = match (&error, expected) {
            (Some(error), Some(expected)) => error.starts_with("model vigie-") && error.ends_with(expected),
            (error, expected) => error.is_none() && expected.is_none(),
        };
        assert!(is_expected, "{error:?}, not {expected:?}");
    };
    let known = "small_share: the small model knows only en, fr, but languages ";
    check(json!(["fr"]), None);
    check(json!(["fr", "de", "en", "it"]), Some(&format!("{known}has de, it")));
    check(json!(null), Some(&format!("{known}is left out, which means all")));
}

#[test]
fn of_equal_probabilities_the_first_is_the_best() {
    let check = |row: &[f32], expected: usize| assert_eq!(best(row), expected, "of {row:?}");
    check(&[0.2, 0.5, 0.3], 1);
    check(&[0.25, 0.375, 0.375], 1);
    check(&[0.0, 0.0], 0);
    check(&[], 0);
}

#[test]
fn probabilities_must_sum_to_one() {
    assert_eq!(super::check(&EVEN), Ok(()));
    assert_eq!(super::check(&Verdict { urgency: [0.0, 0.0, 1.009], ..EVEN }), Ok(()));
    for urgency in [[0.0, 0.0, 1.02], [0.3, 0.3, 0.3], [0.0; 3]] {
        let reason = super::check(&Verdict { urgency, ..EVEN }).unwrap_err();
        assert!(reason.starts_with("urgency is no probability distribution"), "{reason}");
    }
}

/// Writes an embedded bundle into `folder` after `edit` changed description, graph and tokeniser.
fn write_bundle(
    embedded: &Embedded,
    folder: &Path,
    edit: impl FnOnce(&mut Value, &mut Vec<u8>, &mut Vec<u8>),
) {
    let mut description: Value = serde_json::from_slice(embedded.description).unwrap();
    let (mut model, mut tokeniser) = (embedded.model.to_vec(), embedded.tokeniser.unwrap_or(&[]).to_vec());
    edit(&mut description, &mut model, &mut tokeniser);
    for (key, bytes) in [("model", model), ("tokenizer", tokeniser)] {
        let Some(file) = description.get(key) else { continue };
        std::fs::write(folder.join(file.as_str().unwrap()), &bytes).unwrap();
        let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        description[format!("{key}_sha256")] = sum.into();
    }
    std::fs::write(folder.join("model.json"), description.to_string()).unwrap();
}

fn in_folder(folder: &Path, config: Config) -> Config {
    Config { model: ModelChoice::Folder(folder.to_owned()), ..config }
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
    write_bundle(&embedded::FULL, folder.path(), |description, _, _| {
        description["name"] = json!("vigie-other");
        description.as_object_mut().unwrap().remove("small_share");
        description["heads"]["urgency"] = json!(["high", "low", "normal"]);
    });
    let mut classifier = Classifier::open(&in_folder(folder.path(), rten())).unwrap();
    assert!(classifier.model().starts_with("vigie-other "));
    let mut found = Vec::new();
    classifier.classify(&["plus de réseau"], &mut found).unwrap();
    let mut full = Classifier { companion: None, ..Classifier::open(&rten()).unwrap() };
    let mut expected = Vec::new();
    full.classify(&["plus de réseau"], &mut expected).unwrap();
    let expected = expected[0];
    let [first, second, third] = expected.urgency;
    assert_eq!(found, [Verdict { urgency: [second, third, first], ..expected }]);
}

#[test]
fn a_bundle_that_cannot_run_is_refused_when_it_is_opened() {
    type Edit = fn(&mut Value, &mut Vec<u8>, &mut Vec<u8>);
    let full: [(Edit, &str); 6] = [
        (|_, _, tokeniser| tokeniser.truncate(1_000), "tokeniser: EOF while parsing"),
        (|_, model, _| model.truncate(1_000_000), " does not load the graph: "),
        (|_, model, _| *model = b"not a graph".to_vec(), " does not load the graph: "),
        (|_, model, _| rename(model, b"urgency", b"emotion"), "output urgency: "),
        (|_, model, _| rename(model, b"attention_mask", b"intention_mask"), "attention_mask"),
        (|description, _, _| description["tokens_max"] = json!(300), " does not run the graph: "),
    ];
    let small: [(Edit, &str); 5] = [
        (|_, model, _| model.truncate(1_000_000), " does not load the graph: "),
        (|_, model, _| model.clear(), " the graph"),
        (|_, model, _| rename(model, b"urgency", b"emotion"), "output urgency: "),
        (|_, model, _| rename(model, b"attention_mask", b"intention_mask"), "attention_mask"),
        // More ids than the graph has rows for.
        (|description, _, _| description["ngrams"]["buckets"] = json!(1 << 24), " does not run the graph: "),
    ];
    let cases = full.map(|case| (&embedded::FULL, case)).into_iter();
    for (embedded, (edit, expected)) in cases.chain(small.map(|case| (&embedded::SMALL, case))) {
        let folder = tempfile::tempdir().unwrap();
        write_bundle(embedded, folder.path(), edit);
        for config in [Some(rten()), onnxruntime()].into_iter().flatten() {
            let error = Classifier::open(&in_folder(folder.path(), config)).err().unwrap().to_string();
            assert!(error.starts_with("model vigie-"), "{error:?}");
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }
}

#[test]
fn a_classifier_can_move_to_the_model_thread() {
    fn check<T: Send>() {}
    check::<Classifier>();
}
