//! Every trial with what the fuzzer began with, what it has found, and with bytes made at random.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{ALL, Trial};

/// Inputs made at random for each trial, on top of the ones that are kept.
const CASES: u32 = 300;

/// The inputs kept for a fuzz target: `corpus` is what it begins with, `regressions` what it once found.
fn kept(kind: &str, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(kind).join(name);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Says which input it was when a trial panics with it.
fn try_all(trial: Trial, inputs: &[(PathBuf, Vec<u8>)]) {
    for (path, data) in inputs {
        if let Err(panic) = std::panic::catch_unwind(|| trial(data)) {
            eprintln!("with {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn what_the_fuzzer_once_found_stays_mended() {
    for (name, trial) in ALL {
        try_all(trial, &kept("regressions", name));
    }
}

#[test]
fn every_trial_has_inputs_to_begin_with_that_pass() {
    for (name, trial) in ALL {
        let inputs = kept("corpus", name);
        assert!(!inputs.is_empty(), "tests/fuzz/corpus/{name} is empty");
        try_all(trial, &inputs);
    }
}

#[test]
fn any_bytes_and_any_change_of_good_ones_pass_every_trial() {
    for (name, trial) in ALL {
        let seeds: Vec<Vec<u8>> = kept("corpus", name).into_iter().map(|(_, data)| data).collect();
        let noise = prop::collection::vec(any::<u8>(), 0..300);
        let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
        let changed = (prop::sample::select(seeds), prop::collection::vec(change, 1..8));
        let changed = changed.prop_map(|(mut data, changes)| {
            for (at, byte, change) in changes.into_iter().filter(|_| !data.is_empty()).collect::<Vec<_>>() {
                let at = if data.is_empty() { break } else { at.index(data.len()) };
                match change {
                    0 => data[at] = byte,
                    1 => data.insert(at, byte),
                    2 => drop(data.remove(at)),
                    _ => data[at] = b"0129\"{}[]:,-<&"[usize::from(byte) % 14],
                }
            }
            data
        });
        let inputs = prop_oneof![1 => noise, 2 => changed];
        let mut runner =
            TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&inputs, |data| {
            trial(&data);
            Ok(())
        });
        assert!(outcome.is_ok(), "{name}: {}", outcome.unwrap_err());
    }
}
