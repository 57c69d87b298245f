//! What is decided anew of a ticket, from what the ledger keeps of it.

use std::time::Duration;

use super::*;
use crate::classify::{Language, Verdict};
use crate::desk::draft::message_of_verdict;
use crate::desk::expectation::Expectation;
use crate::desk::route::{Routes, Rule};
use crate::desk::told::Told;
use crate::desk::when::{Field, Quantity, When};
use crate::desk::{Expectations, Person};
use crate::parse::Network;

const HOUR: Duration = Duration::from_secs(3600);

fn words(field: Field, word: &str) -> When {
    When { words: vec![(field, vec![word.to_owned()])], ..When::default() }
}

/// What is urgent is for `critical`, and due in half an hour.
fn config() -> Config {
    let rule = |when, team: &str| Rule { when, team: team.into(), ..Rule::default() };
    let mut at_night = words(Field::Brand, "lumio");
    at_night.hours = Some(("mon-sun 22:00-24:00".parse().unwrap(), jiff::tz::TimeZone::UTC));
    let ranges = vec![(Quantity::Priority, 900..=i64::MAX)];
    Config {
        routes: Routes {
            rules: vec![
                rule(at_night, "night"),
                rule(words(Field::Urgency, "high"), "critical"),
                rule(When { ranges, ..When::default() }, "dear"),
            ],
            sensitive_teams: [("legal".to_owned(), "lawyers".to_owned())].into(),
            default_team: Some("support".to_owned()),
            ..Routes::default()
        },
        expectations: Expectations {
            rules: vec![
                (words(Field::Urgency, "high"), Expectation::always(HOUR / 2)),
                (words(Field::Sensitive, "legal"), Expectation::always(HOUR)),
            ],
            ..Expectations::default()
        },
        ..Config::default()
    }
}

fn verdict(urgency: [f32; 3]) -> Verdict {
    Verdict {
        sentiment: [0.0, 1.0, 0.0],
        intent: [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        urgency,
        language: Language::UNCLEAR,
    }
}

const LOW: [f32; 3] = [1.0, 0.0, 0.0];
const HIGH: [f32; 3] = [0.0, 0.0, 1.0];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A calm ticket of nine o'clock, with a post that joined at eleven.
fn changed(config: &Config) -> Changed {
    let case = crate::desk::case::Case::new("ana");
    let mut ticket = config.ticket(
        &case.candidate,
        &verdict(LOW),
        &Person::default(),
        "model 1",
        at("2026-07-06T09:00:00Z"),
    );
    ticket.assignment = Some(proto::Assignment { team: "support".to_owned(), ..Default::default() });
    Changed {
        ticket_id: TicketId::of_post(Network::X, "1"),
        ticket,
        verdict: message_of_verdict(&verdict(LOW), "model 1"),
        further: vec!["toujours rien".to_owned()],
        at: at("2026-07-06T11:00:00Z"),
        change: 7,
        whose: Whose::Ours,
        is_answered: false,
        danger_at: None,
        own_is_erased: false,
    }
}

/// The team, and when it is due, as far as either is decided anew.
fn decide(config: &Config, changed: &Changed) -> (Option<String>, Option<String>) {
    let mut desk = Desk::default();
    let anew = desk.decide_anew(config, changed, at("2026-07-06T11:00:00Z"));
    assert_eq!((anew.ticket_id, anew.change), (changed.ticket_id, Some(7)));
    let due = anew.due.map(|due| format!("{} {}", due.at_risk_at, due.due_at));
    (anew.assignment.map(|assignment| assignment.team), due)
}

fn some(team: &str, due: &str) -> (Option<String>, Option<String>) {
    (Some(team).filter(|team| !team.is_empty()).map(str::to_owned), Some(due.to_owned()))
}

#[test]
fn a_ticket_is_what_its_worse_post_says_and_due_from_its_first_on() {
    let config = config();
    let calm = changed(&config);
    assert_eq!(decide(&config, &calm), (None, None), "nothing has come of it");
    let urgent = Changed { verdict: message_of_verdict(&verdict(HIGH), "model 1"), ..calm.clone() };
    let due = "2026-07-06T09:22:30Z 2026-07-06T09:30:00Z";
    assert_eq!(decide(&config, &urgent), some("critical", due));
    let answered = Changed { is_answered: true, ..urgent.clone() };
    assert_eq!(decide(&config, &answered), (Some("critical".to_owned()), None));
    let theirs = Changed { whose: Whose::Theirs, ..urgent.clone() };
    assert_eq!(decide(&config, &theirs), some("", due), "late is late, whoever has it");
    assert_eq!(decide(&config, &Changed { whose: Whose::Nobodys, ..urgent }), (None, None));
    let mut dear = calm;
    dear.ticket.priority = 900;
    assert_eq!(decide(&config, &dear), (Some("dear".to_owned()), None), "by what the priority has come to");
}

#[test]
fn what_a_further_post_touches_counts_and_hours_are_those_of_the_decision() {
    let config = config();
    let mut legal = changed(&config);
    legal.further.push("je vais appeler mon avocat".to_owned());
    assert_eq!(decide(&config, &legal), some("lawyers", "2026-07-06T09:45:00Z 2026-07-06T10:00:00Z"));
    let mut desk = Desk::default();
    let calm = changed(&config);
    let at_night = desk.decide_anew(&config, &calm, at("2026-07-06T22:30:00Z"));
    assert_eq!(at_night.assignment.unwrap().team, "night");
    assert_eq!(at_night.due, None);
}

#[test]
fn a_further_post_of_danger_makes_an_answer_due_soon() {
    let config = config();
    let mut danger = changed(&config);
    let floor = proto::Factor { name: "floor of safety".to_owned(), ..Default::default() };
    danger.ticket.factors.push(floor);
    let due = |changed: &Changed| decide(&config, changed).1;
    danger.danger_at = Some(at("2026-07-06T10:00:00Z"));
    let soon = Some("2026-07-06T10:11:15Z 2026-07-06T10:15:00Z".to_owned());
    assert_eq!(due(&danger), soon, "from that post on");
    // Whoever wrote first.
    danger.own_is_erased = true;
    assert_eq!(due(&danger), soon);
    // What was due before that still is.
    danger.danger_at = Some(at("2026-07-06T10:50:00Z"));
    assert_eq!(due(&danger), None);
    // Danger after an answer is waited for again, whatever was due.
    danger.is_answered = true;
    assert_eq!(due(&danger), Some("2026-07-06T11:01:15Z 2026-07-06T11:05:00Z".to_owned()));
    danger.danger_at = None;
    assert_eq!(due(&danger), None);
}

#[test]
fn the_desk_looks_for_changed_tickets_once_it_is_told() {
    let mut desk = Desk::default();
    assert!(!desk.has_changed());
    desk.hear(&Told::Changed);
    desk.hear(&Told::Stands(TicketId::of_post(Network::X, "1"), None));
    assert!(desk.has_changed());
    desk.look_for_changed(false);
    assert!(!desk.has_changed());
}

#[test]
fn whose_own_post_is_erased_stays_where_it_is_unless_what_others_say_names_another_team() {
    let mut config = config();
    config
        .routes
        .rules
        .insert(0, Rule { when: words(Field::Tier, "gold"), team: "vip".into(), ..Rule::default() });
    config.expectations.rules.insert(0, (words(Field::Tier, "gold"), Expectation::always(HOUR / 4)));
    // Of a golden customer: who that was is erased.
    let mut gone = changed(&config);
    gone.own_is_erased = true;
    gone.ticket.assignment = Some(proto::Assignment { team: "vip".to_owned(), ..Default::default() });
    gone.ticket.due_at_us = at("2026-07-06T09:15:00Z").as_microsecond();
    assert_eq!(decide(&config, &gone), (None, None));
    let urgent = Changed { verdict: message_of_verdict(&verdict(HIGH), "model 1"), ..gone.clone() };
    assert_eq!(decide(&config, &urgent), (None, None), "a golden one's would stay, too");
    let mut legal = gone.clone();
    legal.further.push("je vais appeler mon avocat".to_owned());
    assert_eq!(decide(&config, &legal), some("lawyers", "2026-07-06T09:45:00Z 2026-07-06T10:00:00Z"));
    // So does a topic that a condition asks for.
    config.routes.rules.push(Rule {
        when: words(Field::Topic, "fibre"),
        team: "network".into(),
        ..Rule::default()
    });
    let config = config.with_topic_words();
    gone.further.push("et la fibre ?".to_owned());
    assert_eq!(decide(&config, &gone), (Some("network".to_owned()), None));
    // Nobody has it yet.
    let mut free = gone.clone();
    (free.ticket.assignment, free.further) = (None, Vec::new());
    assert_eq!(decide(&config, &free).0.as_deref(), Some("support"));
}
