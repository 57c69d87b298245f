//! Post → articles: the look-up that each new ticket pays, over knowledge bases of three sizes, and the import.
//!
//! The sets are the fifty articles of the tests, repeated with other words among theirs: each copy has its own
//! numbers and names, as articles about fifty products would. A knowledge base of 20,000 is the largest there may be.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use vigie::desk::articles::{Articles, Config, Question};
use vigie::ledger::articles::{Article, Import, Reader};
use vigie::ledger::{self, Retention};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn articles(count: usize) -> Vec<Article> {
    let files = std::fs::read_dir(data("articles")).expect("the tests' articles");
    let mut files: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
    files.sort();
    let texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).expect("an article")).collect();
    let article = |(copy, text): (usize, &String)| {
        let language = if text.contains("lang: fr") { "fr" } else { "en" };
        let (title, body) =
            text.split_once("# ").and_then(|(_, text)| text.split_once('\n')).expect("a title");
        // Every word but some of each copy is made another one, which no post has.
        let other = |(idx, word): (usize, &str)| match (idx * 7 + copy * 13) % 10 {
            0..4 => format!("{word} "),
            kind => format!("mot{} ", (copy * 31 + idx * kind) % 9973),
        };
        Article {
            title: title.to_owned(),
            language: language.to_owned(),
            text: body.split_whitespace().enumerate().map(other).collect(),
            ..Article::default()
        }
    };
    texts
        .iter()
        .cycle()
        .enumerate()
        .map(|(idx, text)| (idx / texts.len(), text))
        .take(count)
        .map(article)
        .collect()
}

fn import(ledger: &Path, articles: Vec<Article>) -> usize {
    let config = ledger::Config {
        path: ledger.to_owned(),
        bookkeeping_delay_max: std::time::Duration::ZERO,
        ageing_points_per_hour: 0,
        retention: Retention::default(),
    };
    let mut import = Import::begin(config).expect("a ledger");
    articles.into_iter().for_each(|article| import.add(article).expect("an article"));
    import.finish().expect("a set")
}

fn questions() -> Vec<Question> {
    let asked = std::fs::read_to_string(data("articles.tsv")).expect("the tests' questions");
    let posts = asked.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'));
    let config = Config::default();
    posts.map(|(post, _)| Question::in_text(post, "", Arc::from("Lumio"), &config)).collect()
}

fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("articles");
    group.sample_size(20);
    let folder = tempfile::tempdir().expect("a folder");
    let questions = questions();
    group.throughput(Throughput::Elements(questions.len() as u64));
    for count in [50, 2_000, 20_000] {
        let ledger = folder.path().join(format!("{count}.sqlite"));
        assert_eq!(import(&ledger, articles(count)), count);
        let mut reader = Reader::open(&ledger).expect("a set");
        let found = questions.iter().filter(|question| !reader.find(question).is_empty()).count();
        assert!(found >= 50, "{found} of {} questions found anything", questions.len());
        group.bench_function(format!("look-up/{count}"), |bencher| {
            bencher.iter(|| {
                questions.iter().map(|question| reader.find(black_box(question)).len()).sum::<usize>()
            });
        });
    }
    group.throughput(Throughput::Elements(2_000));
    group.sample_size(10);
    let ledger = folder.path().join("import.sqlite");
    group.bench_function("import/2000", |bencher| {
        bencher.iter_batched(|| articles(2_000), |articles| import(&ledger, articles), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, look_up);
criterion_main!(benches);
