//! `vigie check`: every mistake at once.

use super::{ConfigFile, Failure};
use crate::classify::Classifier;
use crate::config::{Config, SourceConfig};
use crate::ledger::context::Reader;

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    // A model that cannot be used is a mistake in the config like any other.
    let mut classifier = Classifier::open(&config.classify)?;
    let one_verdict = classifier.classify(&["@lumio does it work?"], &mut Vec::new());
    one_verdict.map_err(|error| Failure::Mistake(error.into()))?;
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    for team in without_agents(&config) {
        eprintln!(
            "warning: team {team:?}: no agent of the ledger belongs to it: its tickets name the team alone"
        );
    }
    for brand in unrecognised(&config) {
        eprintln!(
            "note: brand {brand:?}: Bluesky's stream names authors by DID only: add yours to handles (\"did:plc:…\"), \
             or your own posts there become tickets"
        );
    }
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

/// Teams of which no agent is known, where agents are. A ledger that cannot be read has none to compare with.
fn without_agents(config: &Config) -> Vec<&str> {
    let path = &config.ledger.path;
    let agents = path.exists().then(|| Reader::open(path).ok()?.agents().ok()).flatten().unwrap_or_default();
    if agents.is_empty() { Vec::new() } else { config.desk.routes.teams_without_agents(&agents) }
}

/// Brands with an account on Bluesky whose own posts a Jetstream source cannot recognise.
fn unrecognised(config: &Config) -> impl Iterator<Item = &str> {
    let has_jetstream = config.sources.iter().any(|source| matches!(source, SourceConfig::Jetstream(_)));
    let on_bluesky = |handle: &String| handle.contains('.') && !handle.trim_start_matches('@').contains('@');
    let brands = config.prefilter.brands.iter().filter(move |brand| {
        has_jetstream
            && brand.handles.iter().any(on_bluesky)
            && !brand.handles.iter().any(|handle| handle.starts_with("did:"))
    });
    brands.map(|brand| brand.name.as_str())
}
