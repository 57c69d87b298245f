//! A model of delivery: sessions, outbox and ledger against a plain twin in memory.
//!
//! Random sequences of what can happen (posts, edits, erasures, clients that come, take, acknowledge, refuse,
//! fall silent and go, pruning, crashes and restarts) are done by the real parts and by the [`twin`], which are compared
//! after each step. One thread, a clock that only the steps move, a ledger in a real SQLite file: a seed gives
//! the same sequence again. A power cut leaves of the file's write-ahead log what had reached the disk.
//!
//! `VIGIE_TEST_SEQUENCES` says how many sequences, `VIGIE_TEST_SEED` where their seeds begin.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

mod daemon;
mod step;
mod twin;
mod world;

use step::{Event, Limit, Step, sequence};
use world::{Done, World};

/// Sequences that every `cargo test` tries: a few seconds.
const SEQUENCES: u64 = 300;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} = {value:?}")))
}

/// Tries one sequence; on failure gives the shortest that still fails, and how to see it again.
fn try_sequence(seed: u64) -> Result<Done, String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: 5_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let done = std::cell::Cell::new(Done::default());
    let outcome = runner.run(&sequence(), |steps| {
        done.set(World::new().run(&steps));
        Ok(())
    });
    let again =
        format!("VIGIE_TEST_SEED={seed} VIGIE_TEST_SEQUENCES=1 cargo test -p vigie --lib wire::model");
    outcome.map(|()| done.get()).map_err(|error| format!("see it again with {again}\n{error}"))
}

#[test]
fn what_is_delivered_is_what_the_twin_says_whatever_happens() {
    let (first, sequences) =
        (from_environment("VIGIE_TEST_SEED", 1), from_environment("VIGIE_TEST_SEQUENCES", SEQUENCES));
    let (mut delivered, mut pruned) = (0, 0);
    for seed in (first..).take(usize::try_from(sequences).unwrap()) {
        let done = try_sequence(seed).unwrap_or_else(|failed| panic!("{failed}"));
        (delivered, pruned) = (delivered + done.delivered, pruned + done.pruned);
        if (seed - first + 1).is_multiple_of(10_000) {
            println!(
                "{} sequences, {delivered} deliveries, {pruned} pruned, 0 divergences",
                seed - first + 1
            );
        }
    }
    println!(
        "{sequences} sequences from seed {first}, {delivered} deliveries, {pruned} pruned, 0 divergences"
    );
    assert!(
        sequences < SEQUENCES || (delivered > sequences && pruned > sequences / 20),
        "{delivered} deliveries, {pruned} pruned: the sequences do nothing"
    );
}

/// The twin adds points up, and cuts them at 1000: what no topic stands above is not squeezed.
fn without_floors() -> crate::desk::Terms {
    crate::desk::Terms {
        floors: crate::desk::priority::Floors::new([]),
        ..crate::desk::Config::default().terms("")
    }
}

/// A post whose ticket only the small model has read.
fn provisional(post: u8, intent: usize, priority: u16) -> Event {
    Event::Ticket { post, author: 0, brand: 0, intent, priority, hour: 0, provisional: true }
}

fn connect(place: usize, filter: usize) -> Step {
    Step::Connect { place, name: 0, filter, start_next: false, window: 4 }
}

// What random sequences have found, shortened.

/// The edit did not pass the filter when it came, and was forgotten until the next restart.
#[test]
fn a_ticket_that_its_second_reading_lets_in_brings_its_earlier_edits() {
    for edit_is_older in [true, false] {
        let edit = || Step::Settle(vec![Event::Edit { post: 1, second: 0 }]);
        let mut steps = vec![Step::Settle(vec![provisional(1, 0, 0)]), connect(0, 2), Step::Turn, edit()];
        steps.extend(edit_is_older.then_some(Step::Turn));
        steps.extend([Step::Rescore { post: 1, priority: Some(600), intent: 0 }, Step::Turn]);
        for _ in 0..3 {
            steps.extend([Step::Serve { place: 0 }, Step::Ack { place: 0, nths: vec![0] }, Step::Turn]);
        }
        assert_eq!(World::new().run(&steps).delivered, 3);
    }
}

/// What a client had came back by what its ticket was before, and was dropped.
#[test]
fn a_delivery_that_comes_back_is_kept_if_the_second_reading_lets_it_through_the_filter() {
    let steps = [
        connect(0, 0),
        Step::Settle(vec![provisional(1, 1, 600)]),
        Step::Turn,
        Step::Serve { place: 0 },
        connect(1, 3),
        Step::Turn,
        Step::Rescore { post: 1, priority: Some(600), intent: 0 },
        Step::Turn,
        Step::Nack { place: 0, nth: 0, delay_s: 0 },
        Step::Serve { place: 1 },
    ];
    assert_eq!(World::new().run(&steps).delivered, 4);
}

/// A filter lets go what it does not pass, once it has been the same for a day.
#[test]
fn a_ticket_that_nobody_wants_goes_when_its_filter_has_settled() {
    let ticket =
        Event::Ticket { post: 1, author: 0, brand: 0, intent: 1, priority: 0, hour: 0, provisional: false };
    let prune = || Step::Prune(Limit::Age { hour: 1 });
    let pruned_after = |passed: &[u64]| {
        let mut steps = vec![Step::Settle(vec![ticket.clone()]), connect(0, 2), Step::Turn];
        for seconds in passed {
            steps.extend([prune(), Step::Pass { seconds: *seconds }]);
        }
        steps.extend([
            prune(),
            Step::Settle(vec![ticket.clone(), Event::Edit { post: 1, second: 0 }]),
            Step::Turn,
        ]);
        World::new().run(&steps).pruned
    };
    assert_eq!((pruned_after(&[80_000]), pruned_after(&[80_000, 7_000])), (0, 1));
}
