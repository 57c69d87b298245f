//! `[[route]]`, `[[team]]` and `[routing]`: which team answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader::{Placed, Section, nearest};
use super::when::{Known, when};
use crate::access::brands::is_same;
use crate::desk::priority::PRIORITY_MAX;
use crate::desk::route::{AgentChoice, BestRated, Routes, Rule, Team};
use crate::desk::when::shadowed;

/// Most rules, and most teams. Each rule is asked of each ticket, and compared with each other one here.
const RULES_MAX: usize = 1_000;

/// Reads rules and teams; `p1_min` is where P1 begins. The teams of sensitive topics, and where the file names them, are
/// read elsewhere, and checked here.
pub(super) fn routes(
    root: &Section<'_, '_>,
    known: &Known<'_>,
    (sensitive_teams, named): (BTreeMap<String, String>, Vec<Placed<String>>),
    p1_min: u16,
    warnings: &mut Vec<String>,
) -> Routes {
    let (teams, fallbacks) = teams(root);
    let routing = root.section("routing");
    let default = BestRated::default();
    let best_rated = BestRated {
        negative_min: routing.share("best_rated_negative_min", default.negative_min),
        priority_min: {
            let least = routing.integer("best_rated_priority_min", 0..=PRIORITY_MAX.into(), p1_min.into());
            u16::try_from(least).unwrap_or(p1_min)
        },
        value_min: {
            let least = routing.integer("best_rated_value_min", 0..=1_000_000_000_000, 0);
            routing.has("best_rated_value_min").then_some(least as f64)
        },
    };
    let default_team = routing.string("default_team");
    let default_team = default_team.and_then(|name| team_of(&routing, &name, &teams));
    routing.refuse_unknown();
    let rules = rules(root, known, &teams, warnings);
    let routes = Routes { rules, teams, sensitive_teams, default_team, best_rated, zone: known.zone.clone() };
    for name in &named {
        _ = team_of(root, name, &routes.teams);
    }
    for circle in routes.circles() {
        let (first, way) = (circle.first().copied().unwrap_or_default(), circle.join(" → "));
        let place = fallbacks.iter().find(|(team, _)| team.eq_ignore_ascii_case(first));
        let text = format_args!("hand-overs go in a circle: {way}");
        match place {
            Some((_, fallback)) => root.mistake_at(fallback, text),
            None => root.mistake(text),
        }
    }
    routes
}

/// The teams, and where the file names a fallback.
fn teams(root: &Section<'_, '_>) -> (Vec<Team>, Vec<(String, Placed<String>)>) {
    let mut teams: Vec<Team> = Vec::new();
    let mut fallbacks = Vec::new();
    let sections = root.sections("team");
    for section in &sections {
        let name = section.string("name").map(|name| name.value.trim().to_owned()).unwrap_or_default();
        if name.is_empty() {
            section.mistake("name is missing: what tickets and agents call the team");
        } else if teams.iter().any(|team| is_same(&team.name, &name)) {
            section.mistake(format_args!("the name {name:?} is taken by another team"));
        }
        if let Some(fallback) = section.string("fallback") {
            fallbacks.push((name.clone(), fallback));
        }
        section.refuse_unknown();
        teams.push(Team { name, fallback: None });
    }
    if sections.len() > RULES_MAX {
        root.mistake(format_args!("{} [[team]]: must be at most {RULES_MAX}", sections.len()));
        teams.truncate(RULES_MAX);
    }
    for (name, fallback) in &fallbacks {
        let found = team_of(root, fallback, &teams);
        if let Some(team) = teams.iter_mut().find(|team| team.name == *name) {
            team.fallback = found;
        }
    }
    (teams, fallbacks)
}

fn rules(root: &Section<'_, '_>, known: &Known<'_>, teams: &[Team], warnings: &mut Vec<String>) -> Vec<Rule> {
    let mut rules = Vec::new();
    let sections = root.sections("route");
    if sections.len() > RULES_MAX {
        root.mistake(format_args!("{} [[route]]: must be at most {RULES_MAX}", sections.len()));
        return rules;
    }
    for section in &sections {
        let when = when(&section.section("when"), known, warnings);
        let named = section.string("team");
        let team = named.as_ref().and_then(|name| team_of(section, name, teams));
        let supplier = section.string("supplier").map(|name| name.value.trim().to_owned());
        let skills: Vec<_> = section
            .string_or_strings("skills")
            .iter()
            .map(|skill| skill.value.trim().to_lowercase())
            .collect();
        let agent = section.choice("agent", &AgentChoice::ALL).unwrap_or_default();
        if named.is_none() && !section.has("team") && !section.has("supplier") {
            section.mistake(
                "team is missing: whose these tickets are; or supplier, whom they are handed over to",
            );
        }
        if supplier.as_ref().is_some_and(String::is_empty) {
            section.mistake("supplier: must not be empty");
        }
        if supplier.is_some() && (section.has("skills") || section.has("agent")) {
            section.mistake(
                "skills and agent choose one of our agents, and supplier hands over to somebody else",
            );
        }
        if skills.iter().any(String::is_empty) {
            section.mistake("skills: must not be empty");
        }
        section.refuse_unknown();
        let team = Arc::from(team.unwrap_or_default());
        let skills = (!skills.is_empty()).then(|| Arc::from(skills));
        rules.push(Rule { when, team, skills, supplier, agent });
    }

    for (earlier, later) in shadowed(rules.iter().map(|rule| &rule.when)) {
        let name = |index: usize| {
            let rule: &Rule = &rules[index];
            let to = rule.supplier.as_deref().unwrap_or(&rule.team);
            format!("route[{}] ({} → {to})", index + 1, rule.when)
        };
        warnings.push(format!("{} never gets a turn: {} takes all of it before", name(later), name(earlier)));
    }
    rules
}

/// The team's name as it is written in its own section; a name of none is a mistake.
fn team_of(section: &Section<'_, '_>, name: &Placed<String>, teams: &[Team]) -> Option<String> {
    let team = teams.iter().find(|team| is_same(&team.name, name.value.trim()));
    // One without a name may be the one that is meant: that is told.
    if team.is_none() && teams.iter().all(|team| !team.name.is_empty()) {
        let near = did_you_mean(&name.value, teams);
        section.mistake_at(name, format_args!("{:?}: there is no such [[team]]{near}", name.value));
    }
    team.map(|team| team.name.clone())
}

pub(super) fn did_you_mean(name: &str, teams: &[Team]) -> String {
    let names: Vec<_> = teams.iter().map(|team| team.name.as_str()).collect();
    match nearest(name, &names) {
        Some(near) => format!("; did you mean {near:?}?"),
        None if names.is_empty() => ": there is none at all, add [[team]] with name".to_owned(),
        None => format!(": there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let text = format!(
            "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n{text}"
        );
        Config::parse(&text).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    const TEAMS: &str =
        "[[team]]\nname = \"Billing\"\nfallback = \"frontline\"\n[[team]]\nname = \"Frontline\"\n";

    #[test]
    fn rules_and_teams_are_read_whatever_the_case_of_a_name() {
        let config = read(&format!(
            "{TEAMS}[routing]\ndefault_team = \"frontline\"\nbest_rated_value_min = 5000\n\
             [[route]]\nwhen = {{ intent = [\"question\", \"problem\"], tier = \"gold\" }}\nteam = \"billing\"\n\
             skills = \"Invoices\"\nagent = \"best\"\n[[route]]\nwhen = {{ topic = \"parcel\" }}\nsupplier = \"Colis\"\n"
        ));
        let routes = config.unwrap().desk.routes;
        assert_eq!(routes.teams[0].fallback.as_deref(), Some("Frontline"));
        assert_eq!(routes.default_team.as_deref(), Some("Frontline"));
        assert_eq!(&*routes.rules[0].team, "Billing");
        assert_eq!(routes.rules[0].skills.as_deref(), Some(&["invoices".to_owned()][..]));
        assert_eq!(routes.rules[1].supplier.as_deref(), Some("Colis"));
        assert_eq!(routes.best_rated.value_min, Some(5000.0));
    }

    #[test]
    fn mistakes_name_what_is_wrong_and_what_was_meant() {
        let check = |text: &str, expected: &[&str]| {
            let mistakes = read(text).unwrap_err();
            assert_eq!(mistakes.len(), expected.len(), "{mistakes:?}");
            for (mistake, expected) in mistakes.iter().zip(expected) {
                assert!(mistake.contains(expected), "{mistake:?} lacks {expected:?}");
            }
        };
        check(
            &format!("{TEAMS}[[route]]\nteam = \"biling\"\n"),
            &["line 13: route[1].team: \"biling\": there is no such [[team]]; did you mean \"Billing\"?"],
        );
        check("[routing]\ndefault_team = \"a\"\n", &["there is none at all, add [[team]]"]);
        check(
            &format!("{TEAMS}[sensitive.safety]\nteam = \"Fronline\"\n"),
            &[
                "line 13: sensitive.safety.team: \"Fronline\": there is no such [[team]]; did you mean \"Frontline\"?",
            ],
        );
        check(
            &format!("{TEAMS}[[route]]\nwhen = {{ intent = \"problem\" }}\n"),
            &["route[1]: team is missing"],
        );
        check(
            &format!("{TEAMS}[[route]]\nsupplier = \"Colis\"\nskills = [\"parcels\"]\n"),
            &["skills and agent choose one of our agents"],
        );
        check(&format!("{TEAMS}[[route]]\nteam = \"billing\"\nagent = \"worst\"\n"), &["must be \"any\" or"]);
        check(&format!("{TEAMS}[[team]]\nname = \"billing\"\n"), &["is taken by another team"]);
        check("[[team]]\nfallback = \"x\"\n", &["team[1]: name is missing"]);
    }

    #[test]
    fn a_circle_of_hand_overs_is_refused_and_named_whole() {
        let teams = |pairs: &[(&str, &str)]| {
            let team = |(name, fallback): &(&str, &str)| {
                format!("[[team]]\nname = \"{name}\"\nfallback = \"{fallback}\"\n")
            };
            pairs.iter().map(team).collect::<String>()
        };
        let mistakes =
            read(&teams(&[("d", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("e", "e")])).unwrap_err();
        let expected = [
            "line 12: team[2].fallback: hand-overs go in a circle: a → b → c → a",
            "line 21: team[5].fallback: hand-overs go in a circle: e → e",
        ];
        assert_eq!(mistakes, expected);
    }

    #[test]
    fn a_rule_that_never_gets_a_turn_is_warned_of_with_the_one_before_it() {
        let config = read(&format!(
            "{TEAMS}[[route]]\nwhen = {{ intent = [\"question\", \"problem\"] }}\nteam = \"billing\"\n\
             [[route]]\nwhen = {{ intent = \"problem\", tier = \"gold\" }}\nteam = \"frontline\"\n"
        ));
        let expected = "route[2] (intent problem, tier gold → Frontline) never gets a turn: \
                        route[1] (intent problem or question → Billing) takes all of it before";
        assert_eq!(config.unwrap().warnings, [expected]);
    }
}
