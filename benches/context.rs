//! Who wrote a post: look-ups of customers and their contacts in a ledger of so many customers.
//!
//! `VIGIE_BENCH_CUSTOMERS` says how many (a thousand by default, so that this runs as a test in a moment), and
//! `VIGIE_BENCH_FOLDER` where their ledger is, or is made and left: the figures of memory are those of a run that finds
//! it. Each customer has two accounts, and one in ten has contacts. Then all that the desk does with a candidate whose
//! author is looked up there: with every factor and 20 combinations, 200 rules and 50 agents.

#[path = "parts/dictionary.rs"]
mod dictionary;
#[path = "parts/mode.rs"]
mod mode;
#[path = "parts/routes.rs"]
mod routes;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use vigie::classify::{Language, Verdict};
use vigie::desk::person::Touchpoint;
use vigie::desk::{Config, Decision, Desk, Opinion, People};
use vigie::ledger::context::import::{CHUNK_ROWS, CustomerChunk, CustomerRow, Importer, Numbered};
use vigie::ledger::context::{Contact, Reader};
use vigie::parse::{Author, Network, Post};
use vigie::prefilter::Candidate;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
/// Contacts of a customer who has some.
const CONTACTS: u64 = 3;

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("a time")
}

/// A number that looks like a random one, each `n` another.
fn mixed(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn did(n: u64) -> String {
    format!("did:plc:{:016x}{:08x}", mixed(n), n)
}

fn handle(n: u64) -> String {
    format!("user_{:x}", mixed(n) & 0xFF_FFFF_FFFF)
}

fn customer(n: u64) -> Numbered<CustomerRow> {
    let row = CustomerRow {
        key: format!("{:012}", mixed(n) % 1_000_000_000_000 / 7 * 10 + n % 7),
        name: Some(format!("Customer {n} of Lumio")),
        tier: Some(["", "gold", "silver"][n as usize % 3].to_owned()),
        value: Some(Some((n % 10_000) as f64)),
        language: Some("fr".to_owned()),
        flags: Some(Vec::new()),
        purchases: Some(Vec::new()),
        accounts: vec![(Network::Bluesky, vec![did(n)]), (Network::X, vec![handle(n)])],
    };
    Numbered { line: n + 2, row }
}

fn contact(n: u64, which: u64) -> Numbered<Contact> {
    let at = now() - Duration::from_secs(which * 86_400 + n % 3600);
    let touchpoint =
        Touchpoint { at, channel: "phone".to_owned(), note: "line down since monday".to_owned() };
    Numbered { line: 1, row: Contact { customer: customer(n).row.key, account: None, touchpoint } }
}

/// Makes the ledger, as `vigie import` would.
fn make(path: &Path, customers: u64) {
    let mut importer = Importer::open(path, false).expect("the folder can be written");
    let begun = Instant::now();
    for first in (0..customers).step_by(CHUNK_ROWS) {
        let chunk: Vec<_> = (first..customers.min(first + CHUNK_ROWS as u64)).map(customer).collect();
        // A few keys are made twice.
        importer.customers(CustomerChunk::new(chunk), &mut |_| ()).expect("the ledger takes them");
    }
    let tenth: Vec<_> = (0..customers).step_by(10).collect();
    for some in tenth.chunks(CHUNK_ROWS / CONTACTS as usize) {
        let chunk: Vec<_> =
            some.iter().flat_map(|n| (1..=CONTACTS).map(|which| contact(*n, which))).collect();
        importer.touchpoints(&chunk).expect("the ledger takes them");
    }
    let tally = importer.finish().expect("the ledger is durable");
    println!("made in {:.1} s: {tally:?}", begun.elapsed().as_secs_f64());
}

fn post(network: Network, id: String, handle: Option<String>) -> Post<'static> {
    let author = Author { id: id.into(), handle: handle.map(Into::into), ..Author::default() };
    Post::new(network, "1".into(), author, "text".into())
}

/// Posts of customers from anywhere in the file, and of strangers.
fn posts(customers: u64, count: u64) -> Vec<(Post<'static>, bool)> {
    let post = |i: u64| {
        let n = mixed(i + 1) % customers;
        match i % 4 {
            0 => (post(Network::Bluesky, did(n), None), true),
            1 => (post(Network::X, n.to_string(), Some(handle(n))), true),
            2 => (post(Network::Bluesky, did(n + customers), None), false),
            _ => (post(Network::X, n.to_string(), Some(handle(n + customers))), false),
        }
    };
    (0..count).map(post).collect()
}

fn look_up(reader: &mut Reader, post: &Post<'_>) -> bool {
    let person = reader.author_of(post, WINDOW, now()).expect("the ledger is read");
    black_box(person).customer.is_some()
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4
}

fn percentiles(name: &str, mut spent: Vec<Duration>) {
    spent.sort_unstable();
    let at = |share: f64| spent[((spent.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!(
        "{name}: p50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999)
    );
}

/// Candidates by the authors of these posts → tickets with their agents; each look-up after a commit, as in the daemon
/// at its busiest.
fn desk(reader: &mut Reader, posts: &[(Post<'static>, bool)], commit: &mut dyn FnMut()) {
    let config = Config { routes: routes::routes(), ..dictionary::everything() };
    let verdict = Verdict {
        sentiment: [0.9, 0.08, 0.02],
        intent: [0.03, 0.8, 0.05, 0.01, 0.04, 0.05, 0.01, 0.01],
        urgency: [0.1, 0.6, 0.3],
        language: Language::UNCLEAR,
    };
    let candidate = |(n, (post, _)): (usize, &(Post<'static>, bool))| Candidate {
        post: Post {
            id: n.to_string().into(),
            text: "@lumio_help ma box est en panne depuis lundi, c'est inadmissible".into(),
            language: Some("fr".into()),
            ..post.clone()
        },
        brand: "Lumio".into(),
        hits: vec!["@lumio_help".to_owned(), "panne".to_owned()],
        addressed: true,
        value: 1,
        also_named: Vec::new(),
    };
    let candidates: Vec<_> = posts.iter().enumerate().map(candidate).collect();
    let before_kib = resident_kib();
    let mut desk = Desk::default();
    desk.set_agents(&routes::agents(false));
    let opinion = Opinion { model: "model 1", provisional: false };
    let (mut spent, mut tickets) = (Vec::with_capacity(candidates.len()), 0);
    for candidate in &candidates {
        commit();
        let begun = Instant::now();
        let decided = desk.decide(&config, candidate, &verdict, opinion, reader, now());
        spent.push(begun.elapsed());
        if let Decision::Ticket(ticket) = black_box(decided).expect("the ledger is read") {
            assert!(ticket.assignment.is_some_and(|assignment| !assignment.agent.is_empty()));
            tickets += 1;
        }
    }
    // A few authors write twice: their posts join.
    assert!(tickets * 100 >= candidates.len() * 80, "{tickets} of {} are tickets", candidates.len());
    if mode::measures() {
        percentiles("context, priority and route, a candidate", spent);
        let more = resident_kib().saturating_sub(before_kib);
        println!("memory: {more} KiB more after {} candidates, which the desk remembers", candidates.len());
    }
}

fn context(criterion: &mut Criterion) {
    let customers =
        std::env::var("VIGIE_BENCH_CUSTOMERS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let temporary =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's folder can be written");
    let folder = std::env::var_os("VIGIE_BENCH_FOLDER").map_or(temporary.path().to_owned(), PathBuf::from);
    let path = folder.join("ledger.sqlite");
    if !path.exists() {
        make(&path, customers);
    }
    let count = if mode::measures() { 200_000 } else { 1_000 };
    let posts = posts(customers, count);
    let before_kib = resident_kib();
    let mut reader = Reader::open(&path).expect("the ledger opens");
    let writer = rusqlite::Connection::open(&path).expect("the ledger opens");
    let mut commit = || {
        writer.execute("UPDATE opened SET times = times + 1", []).expect("a commit");
    };
    // As the daemon's settings are, but that the disk is not waited for.
    writer.pragma_update(None, "synchronous", "OFF").expect("SQLite obeys");
    for (name, commits_every) in [("looked up", usize::MAX), ("each after a commit", 1)] {
        let (mut spent, mut missed) = (Vec::with_capacity(posts.len()), 0);
        for (i, (post, is_known)) in posts.iter().enumerate() {
            if i % commits_every == 0 {
                commit();
            }
            let begun = Instant::now();
            let found = look_up(&mut reader, post);
            spent.push(begun.elapsed());
            missed += u64::from(found != *is_known);
        }
        // Of the few whose keys were made twice only the first is there.
        assert!(missed * 100 <= count, "{missed} of {count} look-ups are wrong");
        if mode::measures() {
            percentiles(name, spent);
            println!(
                "memory: {} KiB more than before the ledger was opened",
                resident_kib().saturating_sub(before_kib)
            );
        }
    }
    let few = if mode::measures() { 20_000 } else { 200 };
    desk(&mut reader, &posts[..few], &mut commit);
    let mut group = criterion.benchmark_group("context");
    group.sample_size(20);
    let mut case = |name: &str, each: &mut dyn FnMut(), which: u64| {
        let mut posts = posts.iter().skip(which as usize).step_by(4).cycle();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    each();
                    &posts.next().expect("posts without end").0
                },
                |post| look_up(&mut reader, post),
                criterion::BatchSize::PerIteration,
            );
        });
    };
    case("a customer by id", &mut || (), 0);
    case("a customer by handle", &mut || (), 1);
    case("a stranger", &mut || (), 3);
    case("a customer by id, after a commit", &mut commit, 0);
    group.finish();
}

criterion_group!(benches, context);
criterion_main!(benches);
