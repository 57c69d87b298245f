//! `vigie check`: every mistake at once.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Context;

use super::{ConfigFile, Failure};
use crate::classify::Classifier;
use crate::config::{Config, SourceConfig};
use crate::desk::when::{Field, When};
use crate::desk::{Agent, Factors};
use crate::ledger::context::{Reader, TiersAndFlags};
use crate::telemetry::log::remark;

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    // A model that cannot be used is a mistake in the config like any other.
    let mut classifier = Classifier::open(&config.classify)?;
    let one_verdict = classifier.classify(&["@lumio does it work?"], &mut Vec::new());
    one_verdict.map_err(|error| Failure::Mistake(error.into()))?;
    for warning in config.warnings.iter().chain(&Known::read(&config).warnings(&config)) {
        remark(&format!("warning: {warning}"));
    }
    for brand in unrecognised(&config) {
        remark(&format!(
            "note: brand {brand:?}: Bluesky's stream names authors by DID only: add yours to handles (\"did:plc:…\"), \
             or your own posts there become tickets"
        ));
    }
    let said = writeln!(
        std::io::stdout(),
        "{}: fine: {} source{}, {} brand{}, model {} on {}",
        file.config.display(),
        config.sources.len(),
        if config.sources.len() == 1 { "" } else { "s" },
        config.prefilter.brands.len(),
        if config.prefilter.brands.len() == 1 { "" } else { "s" },
        classifier.model(),
        classifier.runtime(),
    );
    Ok(said.context("stdout")?)
}

/// Customers that are read: with more of them a check would take longer than somebody who waits.
const CUSTOMERS_MAX: usize = 100_000;
/// Words that a warning names as those that there are.
const NAMED_MAX: usize = 8;

/// Whom the config's ledger knows; nobody where it cannot be read. Who is not imported yet cannot be missed.
#[derive(Debug, Default)]
struct Known {
    agents: Vec<Agent>,
    /// Of the customers, unless there are too many or none.
    words: Option<TiersAndFlags>,
}

impl Known {
    fn read(config: &Config) -> Known {
        let path = &config.ledger.path;
        let Some(mut reader) = path.exists().then(|| Reader::open(path).ok()).flatten() else {
            return Known::default();
        };
        let words = reader.tiers_and_flags(CUSTOMERS_MAX).ok().flatten();
        let words = words.filter(|words| *words != TiersAndFlags::default());
        Known { agents: reader.agents().unwrap_or_default(), words }
    }

    /// What in the config speaks of nobody.
    fn warnings(&self, config: &Config) -> Vec<String> {
        let desk = &config.desk;
        let mut warnings = Vec::new();
        if !self.agents.is_empty() {
            for team in desk.routes.teams_without_agents(&self.agents) {
                warnings.push(format!(
                    "team {team:?}: no agent of the ledger belongs to it: its tickets name the team alone"
                ));
            }
            let skills: BTreeSet<_> =
                self.agents.iter().flat_map(|agent| agent.skills.iter().cloned()).collect();
            for (route, rule) in desk.routes.rules.iter().enumerate() {
                let place = format!("route[{}].skills", route + 1);
                warn_of(
                    &place,
                    ("agent", "nobody can take these tickets"),
                    rule.skills.iter().flat_map(|skills| skills.iter()),
                    &skills,
                    &mut warnings,
                );
            }
        }
        let Some(TiersAndFlags { tiers, flags }) = &self.words else { return warnings };
        let mut ask = |place: &str, field: Field, words: &mut dyn Iterator<Item = &String>| {
            let known = match field {
                Field::Tier => tiers,
                Field::Flag => flags,
                _ => return,
            };
            warn_of(place, ("customer", "it never counts"), words, known, &mut warnings);
        };
        for (place, factors) in factors_of(config) {
            ask(&format!("{place}.tier"), Field::Tier, &mut factors.tier.points.keys());
            ask(&format!("{place}.flag"), Field::Flag, &mut factors.flag.points.keys());
        }
        for (place, when) in conditions_of(config) {
            for (field, words) in &when.words {
                let key = if *field == Field::Tier { "tier" } else { "flag" };
                ask(&format!("{place}.when.{key}"), *field, &mut words.iter());
            }
        }
        // A brand has the factors of all brands where it has none of its own.
        let mut told = BTreeSet::new();
        warnings.retain(|warning| told.insert(warning.clone()));
        warnings
    }
}

/// The points of all brands, and of those that have their own.
fn factors_of(config: &Config) -> Vec<(String, &Factors)> {
    let all = &config.desk.factors;
    let own = config.desk.brands.values().map(|brand| &brand.factors);
    // Named as in the file where they are the same.
    let own = own.filter(|own| own.tier != all.tier || own.flag != all.flag);
    [all].into_iter().chain(own).map(|factors| ("priority".to_owned(), factors)).collect()
}

/// Every condition of the file, and where it stands.
fn conditions_of(config: &Config) -> Vec<(String, &When)> {
    let desk = &config.desk;
    let factors = [&desk.factors].into_iter().chain(desk.brands.values().map(|brand| &brand.factors));
    let combinations = factors.flat_map(|factors| &factors.combinations);
    let combinations = combinations.map(|one| (format!("combination {:?}", one.name), one.when()));
    let routes = desk.routes.rules.iter().enumerate();
    let routes = routes.map(|(route, rule)| (format!("route[{}]", route + 1), &rule.when));
    let expectations = desk.expectations.rules.iter().enumerate();
    let expectations = expectations.map(|(rule, (when, _))| (format!("expectation[{}]", rule + 1), when));
    combinations.chain(routes).chain(expectations).collect()
}

/// Warns of words that nobody has.
fn warn_of<'w>(
    place: &str,
    (whose, so): (&str, &str),
    words: impl Iterator<Item = &'w String>,
    known: &BTreeSet<String>,
    warnings: &mut Vec<String>,
) {
    for word in words.filter(|word| !known.contains(*word)) {
        let some: Vec<_> = known.iter().take(NAMED_MAX).map(String::as_str).collect();
        let there_are = match known.len() {
            0 => "none has any".to_owned(),
            few if few <= NAMED_MAX => format!("there are {}", some.join(", ")),
            many => format!("there are {} and {} more", some.join(", "), many - NAMED_MAX),
        };
        warnings.push(format!("{place}: {word:?}: no {whose} of the ledger has it: {so}; {there_are}"));
    }
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
