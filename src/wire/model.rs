//! A model of delivery: sessions, outbox and ledger against a plain twin in memory.
//!
//! Random sequences of what can happen (posts, edits, erasures, clients that come, take, acknowledge, refuse,
//! fall silent and go, crashes and restarts) are done by the real parts and by the [`twin`], which are compared
//! after each step. One thread, a clock that only the steps move, a ledger in a real SQLite file: a seed gives
//! the same sequence again. A power cut leaves of the file's write-ahead log what had reached the disk.
//!
//! `VIGIE_TEST_SEQUENCES` says how many sequences, `VIGIE_TEST_SEED` where their seeds begin.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

mod daemon;
mod step;
mod twin;
mod world;

use step::sequence;
use world::World;

/// Sequences that every `cargo test` tries: a few seconds.
const SEQUENCES: u64 = 300;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} = {value:?}")))
}

/// Tries one sequence; on failure gives the shortest that still fails, and how to see it again.
fn try_sequence(seed: u64) -> Result<u64, String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: 5_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let delivered = std::cell::Cell::new(0);
    let outcome = runner.run(&sequence(), |steps| {
        delivered.set(World::new().run(&steps));
        Ok(())
    });
    let again =
        format!("VIGIE_TEST_SEED={seed} VIGIE_TEST_SEQUENCES=1 cargo test -p vigie --lib wire::model");
    outcome.map(|()| delivered.get()).map_err(|error| format!("see it again with {again}\n{error}"))
}

#[test]
fn what_is_delivered_is_what_the_twin_says_whatever_happens() {
    let (first, sequences) =
        (from_environment("VIGIE_TEST_SEED", 1), from_environment("VIGIE_TEST_SEQUENCES", SEQUENCES));
    let mut delivered = 0;
    for seed in (first..).take(usize::try_from(sequences).unwrap()) {
        delivered += try_sequence(seed).unwrap_or_else(|failed| panic!("{failed}"));
        if (seed - first + 1).is_multiple_of(10_000) {
            println!("{} sequences, {delivered} deliveries, 0 divergences", seed - first + 1);
        }
    }
    println!("{sequences} sequences from seed {first}, {delivered} deliveries, 0 divergences");
    assert!(
        sequences < SEQUENCES || delivered > sequences,
        "{delivered} deliveries: the sequences do nothing"
    );
}
