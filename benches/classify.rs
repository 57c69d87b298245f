//! Reading apart, as text → ids; and whole verdicts, by both models and on every runtime that is here.
//!
//! ONNX Runtime is measured where `VIGIE_TEST_ONNXRUNTIME` names its library.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vigie::classify::ngrams::Ngrams;
use vigie::classify::normalise::{Normaliser, TEXT_BYTES_MAX};
use vigie::classify::tokenise::Tokeniser;
use vigie::classify::{Classifier, Config, ModelChoice, RuntimeChoice, SENTIMENTS};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Posts as people write them to a company: 66 to 172 characters, 139 to 372 n-grams.
const POSTS: [&str; 16] = [
    "@lumio_help ça fait trois jours que je n'ai plus internet à la maison, personne ne répond au 3900 et je télétravaille. Vous comptez faire quelque chose un jour ?",
    "Merci @lumio, technicien passé à l'heure, fibre réparée en vingt minutes, rien à redire 👏",
    "Quelqu'un sait comment on résilie chez Lumio ? Le site tourne en rond et le chat me renvoie vers le site…",
    "facture de 84,90 € au lieu de 29,99 €, deuxième mois de suite. @lumio c'est du vol https://lumio.example/facture/202611",
    "Bonjour @lumio_help, est-ce que l'eSIM marche avec une montre connectée sur le forfait à 12 € ?",
    "ENCORE une coupure à Villeurbanne !!!! 4e fois cette semaine, on paie pour quoi au juste ?????",
    "ma mère est sous oxygène et la box est en panne depuis ce matin, elle ne peut appeler personne @lumio_help c'est urgent",
    "dommage qu'on ne puisse pas exporter les factures en un seul fichier depuis l'appli @lumio",
    "@lumio_help my broadband has been down since Monday and your bot keeps telling me to restart the router. I have restarted it nine times. Please get a human to call me back.",
    "Honestly the new @lumio app is lovely, found everything in seconds",
    "charged twice this month, £45 each time, and the refund \"is on its way\" since October. Sort it out @lumio",
    "Is there an outage in Leeds? No signal on Lumio since 7.30 https://status.example.org/leeds",
    "done with @lumio. 6 years a customer, switching to Castelnet on Friday",
    "would be great if the Lumio box had a guest network you could switch off at night",
    "someone has ordered two phones on my account, I can't log in and your fraud line is closed until Monday. @lumio_help please lock it NOW",
    "watching the match at Lumio arena tonight with the boys, what a goal 🔥🔥🔥",
];

/// Longest post that X takes, in characters; no network we read takes longer ones.
const X_CHARACTERS_MAX: usize = 25_000;

fn read(path: &str) -> Vec<u8> {
    let path = format!("{}/models/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn tokeniser() -> Tokeniser {
    Tokeniser::from_json(&read("full/tokenizer.json")).expect("the bundle's tokeniser loads")
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reading");
    let mut normaliser = Normaliser::default();
    let tokeniser = tokeniser();
    let mut ngrams = Ngrams::new(131_072, [3, 5]).expect("a model's numbers");
    let mut ids = Vec::new();

    tokeniser.encode(normaliser.normalise("@lumio"), &mut ids).expect("any text has pieces");
    assert!((3..=8).contains(&ids.len()), "{ids:?}");
    ids.clear();
    ngrams.encode(normaliser.normalise("no!"), 512, &mut ids);
    assert_eq!(ids.len(), 8);
    // The longest post that a network allows, and as many marks as are read, each a token of its own.
    let longest: String = POSTS.join(" ").chars().cycle().take(X_CHARACTERS_MAX).collect();
    let marks = "!?".repeat(TEXT_BYTES_MAX / 2);
    for post in [&longest, &marks] {
        let normalised = normaliser.normalise(post);
        assert!((TEXT_BYTES_MAX * 9 / 10..=TEXT_BYTES_MAX).contains(&normalised.len()));
        ids.clear();
        ngrams.encode(normalised, 512, &mut ids);
        assert_eq!(ids.len(), 512);
    }
    for (what, posts) in
        [("", &POSTS[..]), (", longest post", &[longest.as_str()]), (", only marks", &[marks.as_str()])]
    {
        group.throughput(Throughput::ElementsAndBytes {
            elements: posts.len() as u64,
            bytes: posts.iter().map(|post| post.len() as u64).sum(),
        });
        group.bench_function(format!("normalising{what}"), |bencher| {
            bencher.iter(|| {
                for post in posts {
                    black_box(normaliser.normalise(post));
                }
            });
        });
        group.bench_function(format!("normalising and pieces{what}"), |bencher| {
            bencher.iter(|| {
                for post in posts {
                    ids.clear();
                    tokeniser.encode(normaliser.normalise(post), &mut ids).expect("any text has pieces");
                    black_box(&ids);
                }
            });
        });
        group.bench_function(format!("normalising and n-grams{what}"), |bencher| {
            bencher.iter(|| {
                for post in posts {
                    ids.clear();
                    ngrams.encode(normaliser.normalise(post), 512, &mut ids);
                    black_box(&ids);
                }
            });
        });
    }
    group.finish();
}

/// As many texts, each of words of [`POSTS`] that make 32 tokens or a few less.
fn of_32_tokens(texts: usize) -> Vec<String> {
    let (mut normaliser, tokeniser) = (Normaliser::default(), tokeniser());
    let mut tokens = |text: &str| {
        let mut ids = Vec::new();
        tokeniser.encode(normaliser.normalise(text), &mut ids).expect("any text has pieces");
        ids.len()
    };
    let text = |first: usize| {
        let mut text = String::new();
        for word in POSTS.iter().cycle().skip(first % POSTS.len()).flat_map(|post| post.split_whitespace()) {
            let longer = format!("{text} {word}");
            if tokens(&longer) > 32 {
                break;
            }
            text = longer;
        }
        assert!(tokens(&text) > 24, "{text}");
        text
    };
    (0..texts).map(text).collect()
}

/// Whether the model says of its bundle's golden texts what it said in training: a fast wrong answer is none.
fn check(classifier: &mut Classifier, bundle: &str) {
    let file = String::from_utf8(read(&format!("{bundle}/golden.ndjson"))).expect("the file is UTF-8");
    for line in file.lines().take(16) {
        let line: serde_json::Value = serde_json::from_str(line).expect("the file is NDJSON");
        let text = line["text"].as_str().expect("a line has a text");
        let mut verdicts = Vec::new();
        classifier.classify(&[text], &mut verdicts).expect("any text has a verdict");
        // In another language the classifier is less sure than the network.
        if !["en", "fr"].contains(&verdicts[0].language.code()) {
            continue;
        }
        for label in 0..SENTIMENTS.len() {
            let expected = line["sentiment"][label].as_f64().expect("a line has probabilities");
            let found = f64::from(verdicts[0].sentiment[label]);
            assert!((found - expected).abs() < 0.02, "{bundle}: {text:?}: {found}, not {expected}");
        }
    }
}

fn classify(criterion: &mut Criterion) {
    let rten = Config { runtime: RuntimeChoice::Rten, ..Config::default() };
    let library = std::env::var_os("VIGIE_TEST_ONNXRUNTIME").map(PathBuf::from);
    let onnxruntime = library.map(|library| Config {
        runtime: RuntimeChoice::OnnxRuntime,
        library: Some(library),
        ..Config::default()
    });
    if onnxruntime.is_none() {
        println!("skipped: ONNX Runtime: VIGIE_TEST_ONNXRUNTIME names no library");
    }
    let full = of_32_tokens(32);
    let small: Vec<String> = POSTS.iter().cycle().take(256).map(|post| (*post).to_owned()).collect();
    let one = vec![POSTS[0].to_owned()];
    let mut group = criterion.benchmark_group("classify");
    group.sample_size(20);
    for runtime in [Some(rten), onnxruntime].into_iter().flatten() {
        for (bundle, model, texts, what) in [
            ("full", ModelChoice::Full, &full, "32 posts of 32 tokens"),
            ("small", ModelChoice::Small, &small, "256 posts"),
            ("small", ModelChoice::Small, &one, "1 post"),
        ] {
            let mut classifier =
                Classifier::open(&Config { model, ..runtime.clone() }).expect("the embedded model runs");
            check(&mut classifier, bundle);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut verdicts = Vec::new();
            group.throughput(Throughput::Elements(texts.len() as u64));
            group.bench_function(format!("{bundle}, {what}, {}", classifier.runtime()), |bencher| {
                bencher.iter(|| {
                    verdicts.clear();
                    classifier.classify(&texts, &mut verdicts).expect("any text has a verdict");
                    black_box(&verdicts);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, reading, classify);
criterion_main!(benches);
