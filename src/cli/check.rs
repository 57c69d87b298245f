//! `vigie check`: every mistake at once.

use super::{ConfigFile, Failure};
use crate::classify::Classifier;

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    // A model that cannot be used is a mistake in the config like any other.
    let classifier = Classifier::open(&config.classify)?;
    println!(
        "{}: fine: {} source{}, {} brand{}, model {} on {}",
        file.config.display(),
        config.sources.len(),
        if config.sources.len() == 1 { "" } else { "s" },
        config.prefilter.brands.len(),
        if config.prefilter.brands.len() == 1 { "" } else { "s" },
        classifier.model(),
        classifier.runtime(),
    );
    Ok(())
}
