//! All fuzz targets in one binary, so that it is linked once. Which one runs is said by `FUZZ_TARGET`.
//!
//! What a target does lies in vigie itself, in `src/trials.rs` and what that lists.
#![no_main]

use std::sync::OnceLock;

use vigie::trials::{ALL, Trial};

static TRIAL: OnceLock<Trial> = OnceLock::new();

fn chosen() -> Trial {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match ALL.iter().find(|(target, _)| *target == name) {
        Some((_, trial)) => *trial,
        None => {
            let names: Vec<_> = ALL.iter().map(|(target, _)| *target).collect();
            eprintln!("FUZZ_TARGET = {name:?}: must be one of {}", names.join(" "));
            std::process::exit(64);
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| TRIAL.get_or_init(chosen)(data));
