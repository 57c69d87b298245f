//! `vigie check`: every mistake at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Context;

use super::{ConfigFile, Failure};
use crate::access::brands::is_same;
use crate::classify::Classifier;
use crate::config::{Config, SourceConfig, nearest};
use crate::desk::route::{AgentChoice, Routes, Rule};
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
        warnings.extend(unknown_teams(&self.agents, &desk.routes));
        if !self.agents.is_empty() {
            for team in desk.routes.teams_without_agents(&self.agents) {
                let whose = match desk.routes.fallback(team) {
                    Some(fallback) => format!("the fallback {fallback:?} is asked"),
                    None => "its tickets name the team alone".to_owned(),
                };
                warnings.push(format!("team {team:?}: no agent of the ledger belongs to it: {whose}"));
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
            warnings.extend(self.unfit_fallbacks(&desk.routes, &skills));
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
        let all = &config.desk.factors;
        for (place, factors) in factors_of(config) {
            // A brand has the words of all brands beside its own.
            let is_inherited = !std::ptr::eq(factors, all);
            for (field, words, of_all) in [
                (Field::Tier, &factors.tier.points, &all.tier.points),
                (Field::Flag, &factors.flag.points, &all.flag.points),
            ] {
                let own =
                    words.iter().filter(|(word, points)| !is_inherited || of_all.get(*word) != Some(points));
                ask(&format!("{place}.{}", field.name()), field, &mut own.map(|(word, _)| word));
            }
        }
        for (place, when) in conditions_of(config) {
            for (field, words) in &when.words {
                ask(&format!("{place}.when.{}", field.name()), *field, &mut words.iter());
            }
        }
        warnings
    }
}

impl Known {
    /// Teams that tickets fall back to, of whose agents none has the skills, or speaks the language, that routes ask for; each
    /// told once. `skills` are all that there are: who lacks others is told already.
    fn unfit_fallbacks(&self, routes: &Routes, skills: &BTreeSet<String>) -> Vec<String> {
        let listed = |words: &[&String]| {
            words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" and ")
        };
        // What is missing, and on which routes.
        type Missing = BTreeMap<String, Vec<String>>;
        let mut unfit: BTreeMap<&str, (Missing, Missing)> = BTreeMap::new();
        for (route, rule) in routes.rules.iter().enumerate().filter(|(_, rule)| is_for_agents(rule)) {
            let wanted = rule.skills.iter().flat_map(|all| all.iter());
            let wanted: Vec<_> = wanted.filter(|skill| skills.contains(*skill)).collect();
            let languages = rule.when.words.iter().filter(|(field, _)| *field == Field::Language);
            let languages: Vec<_> = languages.flat_map(|(_, words)| words).collect();
            let mut team = &*rule.team;
            while let Some(fallback) = routes.fallback(team) {
                team = fallback;
                let agents = || self.agents.iter().filter(|agent| is_same(&agent.team, fallback));
                if agents().next().is_none() {
                    continue;
                }
                let place = format!("route[{}]", route + 1);
                let (no_skill, no_language) = unfit.entry(fallback).or_default();
                let has_all = |agent: &Agent| wanted.iter().all(|skill| agent.skills.contains(skill));
                if !agents().any(has_all) {
                    no_skill.entry(listed(&wanted)).or_default().push(place.clone());
                }
                let speaks = |agent: &Agent, language: &String| {
                    agent.languages.is_empty() || agent.languages.contains(language)
                };
                let unspoken =
                    languages.iter().filter(|language| !agents().any(|agent| speaks(agent, language)));
                let unspoken: Vec<_> = unspoken.copied().collect();
                if !unspoken.is_empty() {
                    no_language.entry(listed(&unspoken)).or_default().push(place);
                }
            }
        }
        let told = |missing: &Missing| {
            let told = missing.iter().map(|(what, places)| format!("{what} ({})", places.join(", ")));
            told.collect::<Vec<_>>().join(", or ")
        };
        let mut warnings = Vec::new();
        for (fallback, (no_skill, no_language)) in &unfit {
            let place = format!("team {fallback:?}: as a fallback it has no agent");
            if !no_skill.is_empty() {
                let wanted = told(no_skill);
                warnings.push(format!("{place} with the skill {wanted}: it takes none of these tickets"));
            }
            if !no_language.is_empty() {
                let unspoken = told(no_language);
                warnings.push(format!("{place} who speaks {unspoken}: somebody answers who does not"));
            }
        }
        warnings
    }
}

/// Whether its tickets are somebody's of its team, or of one that the team falls back to.
fn is_for_agents(rule: &Rule) -> bool {
    rule.supplier.is_none() && rule.agent != AgentChoice::None
}

/// Agents of teams that the config does not have: no route leads to them. A config without teams has no use for any.
pub(super) fn unknown_teams(agents: &[Agent], routes: &Routes) -> Vec<String> {
    let teams: Vec<_> = routes.teams.iter().map(|team| team.name.as_str()).collect();
    let mut strays: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let is_stray = |team: &str| !team.is_empty() && !teams.iter().any(|known| is_same(known, team));
    for agent in agents.iter().filter(|agent| !teams.is_empty() && is_stray(&agent.team)) {
        strays.entry(&agent.team).or_default().push(&agent.name);
    }
    let told = |(team, names): (&str, Vec<&str>)| {
        let who = match names.as_slice() {
            [one] => format!("agent {one:?}"),
            [first, others @ ..] => format!("agent {first:?} and {} more", others.len()),
            [] => String::new(),
        };
        let meant = nearest(team, &teams).map_or_else(
            || format!("there are {}", teams.join(", ")),
            |near| format!("did you mean {near:?}?"),
        );
        format!("{who}: team {team:?}: the config has no such [[team]], and no ticket comes to it; {meant}")
    };
    strays.into_iter().map(told).collect()
}

/// The points of all brands, and of those that have their own, and how a warning names them.
fn factors_of(config: &Config) -> impl Iterator<Item = (String, &Factors)> {
    let all = ("priority".to_owned(), &config.desk.factors);
    let brands = config.desk.brands.iter();
    let of_brands = brands.map(|(name, brand)| (format!("priority.brand {name:?}"), &brand.factors));
    [all].into_iter().chain(of_brands)
}

/// Every condition of the file, and where it stands.
fn conditions_of(config: &Config) -> Vec<(String, &When)> {
    let desk = &config.desk;
    let of_all = &desk.factors.combinations;
    let combinations = of_all.iter().map(|one| (format!("combination {:?}", one.name), one.when()));
    let of_brands = desk.brands.iter().flat_map(|(name, brand)| {
        let own = brand.factors.combinations.iter().filter(|one| !of_all.contains(one));
        own.map(move |one| (format!("priority.brand {name:?}: combination {:?}", one.name), one.when()))
    });
    let routes = desk.routes.rules.iter().enumerate();
    let routes = routes.map(|(route, rule)| (format!("route[{}]", route + 1), &rule.when));
    let expectations = desk.expectations.rules.iter().enumerate();
    let expectations = expectations.map(|(rule, (when, _))| (format!("expectation[{}]", rule + 1), when));
    combinations.chain(of_brands).chain(routes).chain(expectations).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_of_a_team_that_is_none_is_named_with_the_team_that_was_meant() {
        let text = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\n";
        let agent =
            |name: &str, team: &str| Agent { name: name.into(), team: team.into(), ..Agent::default() };
        let agents =
            [agent("Ada", "billing"), agent("Lia", "Biling"), agent("Max", "Biling"), agent("Zoe", "x")];
        let told = |teams: &str| {
            let config = Config::parse(&format!("{text}{teams}")).unwrap();
            unknown_teams(&agents, &config.desk.routes)
        };
        assert_eq!(told(""), [""; 0], "teams that only agents have");
        let so = "the config has no such [[team]], and no ticket comes to it";
        let of = "[[team]]\nname = \"Billing\"\n[[team]]\nname = \"Frontline\"\n";
        let biling = format!("agent \"Lia\" and 1 more: team \"Biling\": {so}; did you mean \"Billing\"?");
        let other = format!("agent \"Zoe\": team \"x\": {so}; there are Billing, Frontline");
        assert_eq!(told(of), [biling, other]);
    }

    #[test]
    fn a_fallback_that_cannot_take_a_routes_tickets_is_named() {
        let text = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\n\
            [[team]]\nname = \"Billing\"\nfallback = \"Frontline\"\n[[team]]\nname = \"Frontline\"\nfallback = \"Night\"\n\
            [[team]]\nname = \"Night\"\n\
            [[route]]\nwhen = { language = [\"de\", \"fr\"] }\nteam = \"Billing\"\nskills = [\"invoices\", \"vat\"]\n\
            [[route]]\nwhen = { intent = \"question\" }\nteam = \"Frontline\"\n\
            [[route]]\nwhen = { language = \"it\" }\nteam = \"Billing\"\nskills = [\"invoices\", \"vat\"]\n\
            [[route]]\nwhen = { language = \"nl\" }\nteam = \"Billing\"\nskills = [\"vat\"]\nagent = \"none\"\n\
            [[route]]\nwhen = { language = \"pl\" }\nteam = \"Billing\"\nsupplier = \"Colis\"\n";
        let config = Config::parse(text).unwrap();
        let agent = |team: &str, skills: &[&str], languages: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let (skills, languages) = (owned(skills), owned(languages));
            Agent { name: "ada".into(), team: team.into(), skills, languages, ..Agent::default() }
        };
        let told = |agents: Vec<Agent>| Known { agents, words: None }.warnings(&config);
        let both = ["invoices", "vat"];
        let billing = agent("billing", &both, &["de", "fr", "it"]);
        let fit = agent("frontline", &both, &["fr", "de", "it"]);
        let any = agent("Night", &both, &[]);
        assert_eq!(told(vec![billing.clone(), fit.clone(), any.clone()]), [""; 0]);
        // One with either skill is none with both.
        let either = vec![
            billing.clone(),
            agent("Frontline", &["vat"], &["fr"]),
            agent("Frontline", &["invoices"], &["en"]),
            any,
        ];
        let frontline = "team \"Frontline\": as a fallback it has no agent";
        let skill = format!(
            "{frontline} with the skill \"invoices\" and \"vat\" (route[1], route[3]): it takes none of these tickets"
        );
        let language = format!(
            "{frontline} who speaks \"de\" (route[1]), or \"it\" (route[3]): somebody answers who does not"
        );
        assert_eq!(told(either), [skill, language]);
        // And the fallback's own.
        let night = "team \"Night\": as a fallback it has no agent with the skill \"invoices\" and \"vat\" \
                     (route[1], route[3]): it takes none of these tickets";
        assert_eq!(told(vec![billing, fit, agent("Night", &["vat"], &[])]), [night]);
    }

    #[test]
    fn a_word_that_nobody_has_is_named_where_it_stands() {
        let text = r#"
[[source]]
kind = "ndjson"
path = "-"
[[brand]]
name = "Lumio"
[[brand]]
name = "Nox"
[priority]
tier = { gold = 5, glod = 6 }
[[priority.combination]]
name = "all"
when = { flag = "prss" }
points = 5
[[priority.brand]]
name = "Lumio"
flag = { vipp = 9, press = 8 }
[[priority.brand.combination]]
name = "own"
when = { tier = "silvr" }
points = 5
"#;
        let config = Config::parse(text).unwrap();
        let set = |word: &str| BTreeSet::from([word.to_owned()]);
        let words = Some(TiersAndFlags { tiers: set("gold"), flags: set("press") });
        let told = Known { agents: Vec::new(), words }.warnings(&config);
        let told: Vec<_> = told.iter().map(|told| told.split_once(": no customer").unwrap().0).collect();
        assert_eq!(
            told,
            [
                "priority.tier: \"glod\"",
                "priority.brand \"Lumio\".flag: \"vipp\"",
                "combination \"all\".when.flag: \"prss\"",
                "priority.brand \"Lumio\": combination \"own\".when.tier: \"silvr\"",
            ]
        );
    }
}
