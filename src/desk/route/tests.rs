//! Who gets which ticket, and what the reasons say.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::desk::case::Case;
use crate::desk::person::Customer;
use crate::desk::told::Load;
use crate::desk::when::{Field, When};
use crate::parse::Network;
use crate::ticket::proto::ticket_status::State;

fn of_language(language: &str) -> Case {
    let mut case = Case::new("somebody");
    case.candidate.post.language = Some(language.to_owned().into());
    case
}

pub(super) fn agent(name: &str, team: &str) -> Agent {
    Agent { name: name.to_owned(), team: team.to_owned(), capacity: 10, ..Agent::default() }
}

fn team(name: &str, fallback: Option<&str>) -> Team {
    Team { name: name.to_owned(), fallback: fallback.map(str::to_owned) }
}

pub(super) fn id(n: u64) -> TicketId {
    TicketId::of_post(Network::X, &n.to_string())
}

/// Everything goes to `billing`, whose tickets `frontline` takes over.
fn routes() -> Routes {
    Routes {
        teams: vec![team("billing", Some("Frontline")), team("Frontline", None)],
        default_team: Some("billing".to_owned()),
        ..Routes::default()
    }
}

/// A router with these agents.
fn router(agents: &[Agent]) -> Router {
    let mut router = Router::default();
    router.set_agents(agents);
    router
}

#[track_caller]
fn check(router: &mut Router, routes: &Routes, case: &Case, n: u64, expected: &str) -> Vec<String> {
    let assignment = router.route(routes, &case.facts(), id(n)).unwrap();
    let supplier = (!assignment.supplier.is_empty()).then_some(&assignment.supplier);
    let given = format!("{}/{}", assignment.team, supplier.unwrap_or(&assignment.agent));
    assert_eq!(given, expected, "{:?}", assignment.reasons);
    assignment.reasons
}

#[test]
fn sensitive_topics_come_first_then_the_first_rule_that_holds_then_the_default() {
    let words = |field, word: &str| When { words: vec![(field, vec![word.to_owned()])], ..When::default() };
    let rule = |when, team: &str| Rule { when, team: Arc::from(team), ..Rule::default() };
    let mut routes = routes();
    routes.sensitive_teams.insert("legal".to_owned(), "lawyers".to_owned());
    routes.rules = vec![
        rule(words(Field::Network, "mastodon"), "elsewhere"),
        rule(words(Field::Tier, "gold"), "vip"),
        rule(words(Field::Network, "x"), "frontline"),
        Rule { supplier: Some("Colis".to_owned()), ..rule(words(Field::Network, "plain"), "parcels") },
    ];
    let mut router = Router::default();
    let mut case = Case::new("a");
    let reasons = check(&mut router, &routes, &case, 1, "frontline/");
    assert_eq!(reasons, ["route 3: network x", "no agent of frontline is known: the team decides"]);
    case.person.customer =
        Some(Arc::new(Customer { key: "7".to_owned(), tier: "gold".to_owned(), ..Customer::default() }));
    check(&mut router, &routes, &case, 2, "vip/");
    case.sensitive = vec!["press".to_owned(), "legal".to_owned()];
    assert_eq!(check(&mut router, &routes, &case, 3, "lawyers/")[0], "sensitive: legal");
    let mut plain = Case::new("b");
    plain.candidate.post.network = Network::Plain;
    let reasons = check(&mut router, &routes, &plain, 4, "parcels/Colis");
    assert_eq!(reasons, ["route 4: network plain", "handed over to Colis"]);
    plain.candidate.post.network = Network::Facebook;
    assert_eq!(
        check(&mut router, &routes, &plain, 5, "billing/")[0],
        "no route speaks of it: the default team"
    );
    routes.default_team = None;
    assert_eq!(router.route(&routes, &plain.facts(), id(6)), None);
}

#[test]
fn only_who_is_there_has_room_and_can_do_it_is_given_a_ticket() {
    let mut routes = routes();
    let skills = Some(Arc::from(["invoices".to_owned()]));
    let with_skill = Rule { team: Arc::from("billing"), skills, ..Rule::default() };
    let case = Case::new("a");
    let able = |name: &str| Agent { skills: vec!["invoices".to_owned()], ..agent(name, "Billing") };
    let weeks = |text: &str| Some(text.parse().unwrap());
    let agents = [
        Agent { away: true, ..able("a") },
        Agent { open_tickets: 10, ..able("b") },
        agent("c", "billing"),
        Agent { shifts: weeks("mon-fri 13:00-18:00"), ..able("d") },
        Agent { capacity: 0, ..able("e") },
        agent("f", "another"),
    ];
    routes.rules = vec![with_skill];
    routes.teams[0].fallback = None;
    let reasons = check(&mut router(&agents), &routes, &case, 1, "billing/");
    let expected = "nobody of billing can take it: 1 away, 2 full, 1 not at work, 1 without the skill";
    assert_eq!(reasons[1..], [expected, "billing without an agent"]);
    // In Paris it is one o'clock; and by the desk's clock too, if that is where the desk is.
    let in_paris = Agent { zone: Some("Europe/Paris".to_owned()), ..agents[3].clone() };
    check(&mut router(&[in_paris]), &routes, &case, 1, "billing/d");
    routes.zone = TimeZone::get("Europe/Paris").unwrap();
    check(&mut router(&agents), &routes, &case, 1, "billing/d");
}

#[test]
fn a_team_that_cannot_hands_over_along_its_fallbacks_and_says_so() {
    let mut routes = routes();
    routes.teams[1].fallback = Some("night".to_owned());
    routes.teams.push(team("night", None));
    let full = |name: &str, team: &str| Agent { capacity: 0, ..agent(name, team) };
    let case = Case::new("a");
    let agents = [full("a", "billing"), agent("b", "frontline")];
    let reasons = check(&mut router(&agents), &routes, &case, 1, "Frontline/b");
    assert_eq!(reasons[1..3], ["nobody of billing can take it: 1 full", "handed over to Frontline"]);
    let agents = [full("a", "billing"), full("b", "frontline")];
    let reasons = check(&mut router(&agents), &routes, &case, 1, "night/");
    assert_eq!(reasons.last().unwrap(), "handed over to night, of which no agent is known");
    let agents = [full("a", "billing"), full("b", "frontline"), full("c", "night")];
    check(&mut router(&agents), &routes, &case, 1, "billing/");
    // A circle that no config check has seen ends.
    routes.teams[2].fallback = Some("billing".to_owned());
    check(&mut router(&agents), &routes, &case, 1, "billing/");
}

#[test]
fn a_team_without_agents_asks_its_fallbacks_and_decides_itself_if_nobody_of_them_can() {
    let mut routes = routes();
    routes.teams[1].fallback = Some("night".to_owned());
    routes.teams.push(team("night", None));
    let full = |name: &str, team: &str| Agent { capacity: 0, ..agent(name, team) };
    let case = Case::new("a");
    let check = |agents: &[Agent], expected: &str, reasons: &[&str]| {
        let told = check(&mut router(agents), &routes, &case, 1, expected);
        assert_eq!(told[1..], *reasons);
    };
    let nobody_else = "b: nobody else can take it (0 of 10 open)";
    let handed_over = ["no agent of billing is known", "handed over to Frontline", nobody_else];
    check(&[agent("b", "frontline")], "Frontline/b", &handed_over);
    // One in the middle of the chain, too.
    let (unknown, busy) = ("no agent of Frontline is known", "nobody of billing can take it: 1 full");
    let expected = [busy, unknown, "handed over to night", nobody_else];
    check(&[full("a", "billing"), agent("b", "night")], "night/b", &expected);
    let expected =
        [busy, "nobody of night can take it: 1 full", "handed over to Frontline, of which no agent is known"];
    check(&[full("a", "billing"), full("b", "night")], "Frontline/", &expected);
    let decides = "no agent of billing is known: the team decides";
    let expected = ["nobody of Frontline can take it: 1 full", decides];
    check(&[full("b", "frontline")], "billing/", &expected);
    // Where nobody has told of agents every team decides.
    check(&[], "billing/", &[decides]);
}

#[test]
fn reasons_say_what_decided_and_not_what_else_is_so() {
    let (routes, mut case) = (routes(), Case::new("a"));
    let rated = |name: &str, satisfaction, open_tickets| Agent {
        satisfaction: Some(satisfaction),
        open_tickets,
        ..agent(name, "billing")
    };
    let why = |agents: &[Agent], case: &Case| {
        router(agents).route(&routes, &case.facts(), id(1)).unwrap().reasons[1..].to_vec()
    };
    let fast = |agent: Agent| Agent { answer_min: Some(5.0), ..agent };
    let slow = |agent: Agent| Agent { answer_min: Some(50.0), ..agent };
    let told = why(&[fast(agent("a", "billing")), slow(agent("b", "billing"))], &case);
    assert_eq!(told, ["a: suits best of 2, by speed (0 of 10 open, answers in 5 min)"]);
    let told = why(&[slow(agent("a", "billing")), fast(rated("b", 5.0, 9))], &case);
    assert_eq!(told, ["a: suits best of 2, by room (0 of 10 open, answers in 50 min)"]);
    let told = why(&[agent("a", "billing"), agent("b", "billing"), rated("c", 1.0, 3)], &case);
    assert_eq!(told, ["a: next in turn of 2 who suit alike (0 of 10 open)"]);

    // Worth the best-rated; of equals something else decides, and whoever is much fuller is named.
    case.priority = 700;
    let told = why(&[rated("a", 4.0, 0), rated("b", 4.5, 2)], &case);
    assert_eq!(told, ["b: best rated of 2 with room, satisfaction 4.5 of 5 (priority 700)"]);
    let told = why(&[fast(rated("a", 4.0, 0)), slow(rated("b", 4.0, 0)), rated("c", 2.0, 0)], &case);
    let expected = "a: 2 of 3 with room are rated best, satisfaction 4.0 of 5 (priority 700); \
                    suits best of 2, by speed (0 of 10 open, answers in 5 min, satisfaction 4.0)";
    assert_eq!(told, [expected]);
    let told = why(&[rated("a", 4.0, 0), rated("b", 4.5, 8)], &case);
    let expected = "a: by far the least busy, satisfaction 4.0 of 5 (priority 700); \
                    better rated and much fuller: b (8 of 10 open)";
    assert_eq!(told, [expected]);
    let told = why(&[rated("a", 4.0, 0)], &case);
    assert_eq!(told, ["a: the only one who may have it, satisfaction 4.0 of 5 (priority 700)"]);
    let told = why(&[agent("a", "billing"), rated("b", 2.0, 0)], &case);
    assert_eq!(
        told,
        ["a: best rated of 2 with room, satisfaction not known, which counts as 3 of 5 (priority 700)"]
    );
}

#[test]
fn reasons_say_that_nobody_speaks_the_language_and_that_who_is_known_cannot() {
    let routes = routes();
    let speaking =
        |name: &str, tag: &str| Agent { languages: vec![tag.to_owned()], ..agent(name, "billing") };
    let polish = of_language("pl");
    let reasons = |agents: &[Agent]| {
        let mut router = router(agents);
        let known = memory::hash(&person_key(&polish.facts()));
        router.remember_answer(known, "b", Timestamp::UNIX_EPOCH);
        router.route(&routes, &polish.facts(), id(1)).unwrap().reasons[2..].to_vec()
    };
    assert_eq!(reasons(&[speaking("a", "fr")]), ["nobody of billing speaks pl"]);
    let away = |agent: Agent| Agent { away: true, ..agent };
    let expected = ["a does not speak pl: b is away", "b, who answered this person before, is away"];
    assert_eq!(reasons(&[speaking("a", "fr"), away(speaking("b", "pl"))]), expected);
    assert_eq!(reasons(&[speaking("a", "pl"), speaking("c", "fr")]), [""; 0]);
    assert_eq!(reasons(&[agent("a", "billing")]), [""; 0], "who may speak anything");
}

#[test]
fn a_language_is_answered_by_who_speaks_it_while_somebody_can() {
    let speaking = |name: &str, languages: &[&str], capacity| Agent {
        languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
        capacity,
        satisfaction: Some(if name == "en" { 5.0 } else { 2.0 }),
        ..agent(name, "billing")
    };
    let mut router = router(&[speaking("en", &["en"], 9), speaking("fr", &["FR-ca", "de"], 2)]);
    let (routes, french) = (routes(), of_language("fr"));
    let reasons = check(&mut router, &routes, &french, 1, "billing/fr");
    assert!(
        reasons[1].contains("fr: nobody else who speaks it can take it (speaks fr, 0 of 2 open"),
        "{reasons:?}"
    );
    check(&mut router, &routes, &french, 2, "billing/fr");
    check(&mut router, &routes, &french, 3, "billing/en");
    router.released(id(1));
    check(&mut router, &routes, &french, 4, "billing/fr");
    // What the customer is served in counts as well.
    router.released(id(2));
    let mut case = of_language("es");
    case.person.customer = Some(Arc::new(Customer { language: "de".to_owned(), ..Customer::default() }));
    check(&mut router, &routes, &case, 5, "billing/fr");
}

#[test]
fn points_are_for_skill_load_speed_and_satisfaction_and_equals_take_turns() {
    let (routes, case) = (routes(), Case::new("a"));
    let plain = || agent("a", "billing");
    let winner = |one: Agent, other: Agent| {
        let mut router =
            router(&[Agent { name: "x".to_owned(), ..one }, Agent { name: "a".to_owned(), ..other }]);
        router.route(&routes, &case.facts(), id(1)).unwrap().agent
    };
    assert_eq!(winner(Agent { skills: vec!["lumio".to_owned()], ..plain() }, plain()), "x");
    assert_eq!(winner(plain(), Agent { open_tickets: 2, ..plain() }), "x");
    assert_eq!(
        winner(Agent { answer_min: Some(5.0), ..plain() }, Agent { answer_min: Some(50.0), ..plain() }),
        "x"
    );
    assert_eq!(winner(Agent { satisfaction: Some(4.5), ..plain() }, plain()), "x");
    assert_eq!(winner(plain(), plain()), "a", "by name at first");
    let mut router = router(&["c", "a", "b"].map(|name| Agent { capacity: 100, ..agent(name, "billing") }));
    let mut turns = String::new();
    for n in 0..6 {
        turns.push_str(&router.route(&routes, &case.facts(), id(n)).unwrap().agent);
        router.released(id(n));
    }
    assert_eq!(turns, "abcabc");
}

#[test]
fn what_is_worth_it_goes_to_the_best_rated_who_is_not_buried_under_it() {
    let rated =
        |name: &str, satisfaction| Agent { satisfaction: Some(satisfaction), ..agent(name, "billing") };
    let (mut routes, agents) = (routes(), [rated("best", 4.9), rated("other", 4.5)]);
    routes.best_rated.value_min = Some(5000.0);
    let busy = [Agent { open_tickets: 4, ..agents[0].clone() }, agents[1].clone()];
    let check_worth = |routes: &Routes, case: &Case, expected: &str, why: &str| {
        let reasons = check(&mut router(&busy), routes, case, 1, expected);
        assert!(reasons[1].contains(why), "{reasons:?}");
    };
    let mut case = Case::new("a");
    check_worth(&routes, &case, "billing/other", "suits best");
    case.verdict.sentiment = [0.85, 0.1, 0.05];
    check_worth(
        &routes,
        &case,
        "billing/best",
        "best: best rated of 2 with room, satisfaction 4.9 of 5 (negative 0.85)",
    );
    case.verdict.sentiment = [0.79, 0.2, 0.01];
    check_worth(&routes, &case, "billing/other", "suits best");
    case.priority = 600;
    check_worth(&routes, &case, "billing/best", "(priority 600)");
    case.priority = 599;
    case.person.customer = Some(Arc::new(Customer { value: Some(5000.0), ..Customer::default() }));
    check_worth(&routes, &case, "billing/best", "(customer value 5000)");
    case.person.customer = None;
    routes.rules = vec![Rule { team: Arc::from("billing"), agent: AgentChoice::Best, ..Rule::default() }];
    check_worth(&routes, &case, "billing/best", "(the route asks for it)");
    routes.rules[0].agent = AgentChoice::None;
    assert_eq!(check(&mut router(&busy), &routes, &case, 1, "billing/"), ["route 1: everything"]);
    // Half a capacity ahead of the least loaded is enough.
    routes.rules.clear();
    case.priority = 900;
    let mut router =
        router(&[agents[0].clone(), agents[1].clone(), rated("third", 1.0), rated("fourth", 1.0)]);
    let shares: Vec<_> = (0..8).map(|n| router.route(&routes, &case.facts(), id(n)).unwrap().agent).collect();
    assert_eq!(shares, ["best", "best", "best", "best", "best", "best", "other", "other"]);
}

#[test]
fn people_meet_again_whom_they_know_unless_that_one_cannot() {
    let routes = routes();
    let mut router = router(&[agent("a", "billing"), Agent { capacity: 2, ..agent("z", "billing") }]);
    let case = Case::new("lena");
    check(&mut router, &routes, &case, 1, "billing/a");
    let solved = |n: u64, agent: &str, first_answer_at_us| {
        Told::Status(id(n), Status { state: State::Solved, agent: agent.into(), first_answer_at_us })
    };
    // The helpdesk had it answered by another one: that is whom they know.
    router.hear(&solved(1, "z", 5_000_000));
    let reasons = check(&mut router, &routes, &case, 2, "billing/z");
    assert_eq!(reasons[1], "z: answered this person before");
    check(&mut router, &routes, &Case::new("somebody else"), 3, "billing/a");
    // An older answer that comes late changes nothing, a newer one does.
    let person = memory::hash(&person_key(&case.facts()));
    router.seen.answered(person, "a", Timestamp::from_microsecond(4_000_000).unwrap());
    check(&mut router, &routes, &case, 4, "billing/z");
    check(&mut router, &routes, &case, 5, "billing/a");
}

#[test]
fn reports_change_who_has_room() {
    let routes = routes();
    let case = Case::new("x");
    let status = |n, state, agent: &str| {
        Told::Status(id(n), Status { state, agent: agent.into(), first_answer_at_us: 0 })
    };
    let one = |name: &str| Agent { capacity: 1, ..agent(name, "billing") };
    let mut router = router(&[one("a"), one("b")]);
    let open = |router: &Router| router.agents().map(|(_, open)| open).collect::<Vec<_>>();
    check(&mut router, &routes, &case, 1, "billing/a");
    check(&mut router, &routes, &case, 2, "billing/b");
    check(&mut router, &routes, &case, 3, "Frontline/");
    for state in [State::Open, State::Pending, State::Unspecified] {
        router.hear(&status(1, state, "a"));
        assert_eq!(open(&router), [1, 1]);
    }
    router.hear(&status(1, State::Closed, "a"));
    router.hear(&status(1, State::Closed, "a"));
    router.hear(&status(99, State::Closed, "a"));
    assert_eq!(open(&router), [0, 1], "once, and only what was open");
    // Moved by the helpdesk; opened again.
    router.hear(&status(2, State::Open, "a"));
    assert_eq!(open(&router), [1, 0]);
    router.hear(&status(1, State::Open, "b"));
    assert_eq!(open(&router), [1, 1]);
    // The agent's own count is the truth; what is not said stays.
    router.hear(&Told::Agent(Load { agent: "a".into(), open_tickets: 5, capacity: 7 }));
    assert_eq!(open(&router), [5, 1]);
    assert_eq!(router.agents().next().unwrap().0.capacity, 7);
    check(&mut router, &routes, &case, 4, "billing/a");
    assert_eq!(open(&router), [6, 1]);
}

#[test]
fn the_ledger_knows_better_whose_a_ticket_is() {
    let routes = routes();
    let case = Case::new("x");
    let mut router = router(&[agent("a", "billing"), agent("b", "billing")]);
    let open = |router: &Router| router.agents().map(|(_, open)| open).collect::<Vec<_>>();
    let holder = |agent: &str| Some(Holder { team: "billing".into(), agent: agent.into(), is_ours: true });
    check(&mut router, &routes, &case, 1, "billing/a");
    // The desk had forgotten that there is a ticket, but not whose it is.
    check(&mut router, &routes, &case, 1, "billing/b");
    assert_eq!((open(&router), router.open_tickets()), (vec![0, 1], 1), "one ticket is one agent's");
    router.hear(&Told::Stands(id(1), holder("a")));
    assert_eq!(open(&router), [1, 0]);
    router.hear(&Told::Stands(id(1), holder("a")));
    assert_eq!(open(&router), [1, 0]);
    // Who it is from is still known.
    let status = Status { state: State::Open, agent: "".into(), first_answer_at_us: 1 };
    router.hear(&Told::Status(id(1), Status { agent: "a".into(), ..status }));
    assert_eq!(router.seen.who_answered(memory::hash(&person_key(&case.facts()))), Some("a"));
    // Nobody's but the team's; one that was not known here; one of somebody unknown; none any more.
    router.hear(&Told::Stands(id(1), holder("")));
    assert_eq!((open(&router), router.open_tickets()), (vec![0, 0], 1));
    router.hear(&Told::Stands(id(2), holder("b")));
    router.hear(&Told::Stands(id(3), holder("gone")));
    assert_eq!((open(&router), router.open_tickets()), (vec![0, 1], 3));
    router.hear(&Told::Stands(id(2), None));
    router.hear(&Told::Stands(id(2), None));
    assert_eq!((open(&router), router.open_tickets()), (vec![0, 0], 2));
}

#[test]
fn tickets_of_an_agent_who_has_left_are_given_to_others() {
    let routes = routes();
    let mut router = router(&[agent("a", "billing")]);
    for n in 0..3 {
        check(&mut router, &routes, &of_language("fr"), n, "billing/a");
    }
    router.released(id(1));
    let left = router.set_agents(&[agent("b", "billing"), agent("f", "frontline")]);
    assert_eq!(left, [id(0), id(2)], "the oldest first");
    let now = Timestamp::UNIX_EPOCH;
    let anew = router.assign_anew(&routes, id(0), now).unwrap();
    assert_eq!((anew.team.as_str(), anew.agent.as_str()), ("billing", "b"));
    assert_eq!(anew.reasons[0], "a is no longer there");
    // Closed in the meantime.
    router.released(id(2));
    assert_eq!(router.assign_anew(&routes, id(2), now), None);
    assert_eq!(router.agents().map(|(_, open)| open).collect::<Vec<_>>(), [1, 0]);
    // Nobody is left to anybody who stays.
    assert_eq!(router.set_agents(&[agent("b", "billing")]), []);
}

#[test]
fn only_whom_the_desk_chose_is_replaced() {
    let mut routes = routes();
    let mut router = Router::default();
    router.restore(id(1), "billing", "a", true, true);
    router.restore(id(2), "billing", "a", false, true);
    assert_eq!(router.set_agents(&[]), [], "nobody ever imported agents");
    router.set_agents(&[agent("a", "billing"), agent("b", "billing")]);
    let named = |n, agent: &str| {
        let status = Status { state: State::Open, agent: agent.into(), first_answer_at_us: 0 };
        Told::Status(id(n), status)
    };
    check(&mut router, &routes, &Case::new("x"), 3, "billing/b");
    router.hear(&named(3, "unknown here"));
    routes.rules = vec![Rule { supplier: Some("Acme".to_owned()), ..Rule::default() }];
    check(&mut router, &routes, &Case::new("x"), 4, "/Acme");
    router.hear(&named(4, "their own"));
    router.hear(&named(99, "a"));
    assert_eq!(router.set_agents(&[agent("b", "billing")]), [id(1)]);
    for n in [2, 3, 4, 99] {
        assert_eq!(router.assign_anew(&routes, id(n), Timestamp::UNIX_EPOCH), None, "{n}");
    }
    // Taken by somebody who is there, before its turn came.
    router.hear(&named(1, "b"));
    assert_eq!(router.assign_anew(&routes, id(1), Timestamp::UNIX_EPOCH), None);
}

#[test]
fn a_restart_knows_who_has_what() {
    let agents = [agent("a", "billing"), Agent { open_tickets: 1, ..agent("b", "billing") }];
    for agents_first in [true, false] {
        let mut router = Router::default();
        let restore = |router: &mut Router| {
            for (n, agent) in [(1, "a"), (2, "a"), (3, "b"), (4, "gone"), (5, "")] {
                router.restore(id(n), "billing", agent, true, true);
            }
            router.restore(id(6), "billing", "a", true, true);
            router.restore(id(6), "billing", "a", true, false);
        };
        if !agents_first {
            restore(&mut router);
        }
        let left = router.set_agents(&agents);
        if agents_first {
            restore(&mut router);
        } else {
            assert_eq!(left, [id(4)]);
        }
        assert_eq!(router.agents().map(|(_, open)| open).collect::<Vec<_>>(), [2, 1], "{agents_first}");
        assert_eq!(router.open_tickets(), 5);
        // What was missed: one was closed, one was moved, one is not in the ledger yet.
        let routes = routes();
        check(&mut router, &routes, &Case::new("x"), 7, "billing/b");
        router.restore(id(1), "billing", "a", true, false);
        router.restore(id(2), "billing", "b", true, true);
        assert_eq!(router.agents().map(|(_, open)| open).collect::<Vec<_>>(), [0, 3]);
        router.restore(id(3), "billing", "", true, true);
        assert_eq!(router.agents().map(|(_, open)| open).collect::<Vec<_>>(), [0, 2]);
        let mut held = router.held();
        held.sort();
        let mut expected = [2, 3, 4, 5, 7].map(id);
        expected.sort();
        assert_eq!(held, expected);
    }
}

#[test]
fn the_oldest_open_tickets_and_acquaintances_make_room() {
    let routes = routes();
    let mut router = router(&[Agent { capacity: u32::MAX, ..agent("a", "billing") }]);
    let case = Case::new("x");
    for n in 0..=OPEN_TICKETS_MAX as u64 {
        router.restore(id(n), "billing", "a", true, true);
    }
    assert_eq!(router.open_tickets(), OPEN_TICKETS_MAX);
    router.released(id(0));
    let open = router.agents().next().unwrap().1;
    assert_eq!(open as usize, OPEN_TICKETS_MAX, "the first is forgotten, and counts no more");
    check(&mut router, &routes, &case, 1_000_000, "billing/a");
    let at = |n: usize| Timestamp::from_second(i64::try_from(n).unwrap()).unwrap();
    for n in 0..=PEOPLE_MAX {
        router.seen.answered(memory::hash(&n.to_string()), "a", at(n));
    }
    assert_eq!(router.seen.who_answered(memory::hash("0")), None);
    assert_eq!(router.seen.who_answered(memory::hash("1")), Some("a"));
}

/// What the ledger gives back of a ticket decides as what was read of its post.
#[test]
fn whoever_takes_over_after_a_restart_can_do_what_the_ticket_needs() {
    let mut routes = routes();
    let skills = Some(Arc::from(["invoices".to_owned()]));
    routes.rules = vec![Rule { team: Arc::from("billing"), skills, ..Rule::default() }];
    let able = |name: &str, language: &str| Agent {
        skills: vec!["invoices".to_owned()],
        languages: vec![language.to_owned()],
        ..agent(name, "billing")
    };
    let german = of_language("de-AT");
    let mut before = router(&[able("first", "de")]);
    check(&mut before, &routes, &german, 1, "billing/first");
    let needs = before.needs_of(id(1)).unwrap();
    assert_eq!(before.needs_of(id(2)), None);

    let others = [agent("a", "billing"), able("b", "fr"), able("c", "de")];
    let mut after = Router::default();
    after.restore(id(1), "billing", "first", true, true);
    after.learn(id(1), &needs, 100);
    after.remember_answer(needs.person, "b", Timestamp::UNIX_EPOCH);
    assert_eq!(after.set_agents(&others), [id(1)]);
    assert_eq!(after.needs_of(id(1)), Some(needs.clone()));
    let by = after.assign_anew(&routes, id(1), german.now).unwrap();
    assert_eq!((by.agent.as_str(), by.reasons[1].as_str()), ("b", "b: answered this person before"));
    let mut unknown = Router::default();
    unknown.restore(id(1), "billing", "first", true, true);
    unknown.learn(id(1), &Needs { person: 7, ..needs.clone() }, 100);
    unknown.set_agents(&others);
    let by = unknown.assign_anew(&routes, id(1), german.now).unwrap();
    assert_eq!(by.agent, "c", "{:?}", by.reasons);
    // What was read here counts for more.
    before.learn(id(1), &Needs { person: 8, ..needs.clone() }, 100);
    assert_eq!(before.needs_of(id(1)), Some(needs));
}

#[test]
fn what_agents_got_rid_of_in_an_earlier_run_is_not_counted_once_more() {
    let mut router = Router::default();
    router.restore(id(1), "billing", "b", true, true);
    router.relieved("a", 3);
    router.relieved("b", 3);
    let reported = |name| Agent { open_tickets: 5, ..agent(name, "billing") };
    let mut agents = [reported("a"), Agent { open_tickets: 3, ..agent("b", "billing") }];
    router.set_agents(&agents);
    let open = |router: &Router| router.agents().map(|(_, open)| open).collect::<Vec<_>>();
    assert_eq!(open(&router), [2, 1], "what is open here is open");
    // Who is away and comes back has said nothing of tickets; who leaves and comes back begins with their own count.
    agents[0].away = true;
    router.set_agents(&agents);
    assert_eq!(open(&router), [2, 1]);
    router.set_agents(&agents[1..]);
    router.set_agents(&agents);
    assert_eq!(open(&router), [5, 1]);
}
