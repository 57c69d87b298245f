//! Who gets what had nobody.

use super::super::rules::{AgentChoice, Rule, Team};
use super::super::tests::{agent, id};
use super::super::*;
use super::WEIGHED_MAX;
use crate::desk::case::Case;
use crate::desk::told::Load;

/// Everything is for `support`, and `night` takes over.
fn routes() -> Routes {
    let team = |name: &str, fallback: Option<&str>| Team {
        name: name.to_owned(),
        fallback: fallback.map(str::to_owned),
    };
    Routes {
        teams: vec![team("support", Some("night")), team("night", None)],
        default_team: Some("support".to_owned()),
        ..Routes::default()
    }
}

fn with(capacity: u32, name: &str, team: &str) -> Agent {
    Agent { capacity, ..agent(name, team) }
}

fn at(hour: &str) -> Timestamp {
    format!("2026-07-06T{hour}:00Z").parse().unwrap()
}

/// So many tickets, of which nobody can have any; each is negative, and so for the best-rated, where `negative` says so.
fn waiting(router: &mut Router, tickets: std::ops::Range<u64>, negative: &[u64]) {
    for n in tickets {
        let mut case = Case::new(&n.to_string());
        if negative.contains(&n) {
            case.verdict.sentiment = [1.0, 0.0, 0.0];
        }
        let assignment = router.route(&routes(), &case.facts(), id(n)).unwrap();
        assert_eq!(assignment.agent, "", "{:?}", assignment.reasons);
    }
}

#[track_caller]
fn check(router: &mut Router, now: &str, expected: &[(u64, &str)]) {
    let given = router.assign_waiting(&routes(), at(now));
    let given: Vec<_> =
        given.iter().map(|(ticket, given)| (*ticket, format!("{}/{}", given.team, given.agent))).collect();
    let expected: Vec<_> = expected.iter().map(|(n, whom)| (id(*n), (*whom).to_owned())).collect();
    assert_eq!(given, expected);
}

#[test]
fn once_a_shift_begins_or_a_ticket_is_done_somebody_has_what_nobody_had() {
    let mut router = Router::default();
    let day = || Some("mon-fri 08:00-18:00".parse().unwrap());
    // The tickets are of a Thursday.
    let lena = Agent { shifts: Some("sun 00:00-01:00".parse().unwrap()), ..with(2, "lena", "support") };
    let noa = Agent { away: true, ..with(9, "noa", "night") };
    router.set_agents(&[lena.clone(), noa.clone()]);
    waiting(&mut router, 0..4, &[2]);
    router.set_agents(&[Agent { shifts: day(), ..lena }, noa]);
    check(&mut router, "07:59", &[]);
    // What is worth the best-rated first, then the oldest.
    check(&mut router, "08:00", &[(2, "support/lena"), (0, "support/lena")]);
    check(&mut router, "08:00", &[]);
    router.released(id(2));
    check(&mut router, "08:01", &[(1, "support/lena")]);
    // By what their helpdesk says they have.
    router.hear(&Told::Agent(Load { agent: "lena".into(), open_tickets: 1, capacity: 0 }));
    check(&mut router, "08:02", &[(3, "support/lena")]);
    router.hear(&Told::Agent(Load { agent: "lena".into(), open_tickets: 0, capacity: 0 }));
    check(&mut router, "08:03", &[]);
}

#[test]
fn agents_that_are_imported_get_what_there_was_before_them() {
    let mut router = Router::default();
    waiting(&mut router, 0..2, &[]);
    check(&mut router, "08:00", &[]);
    router.set_agents(&[agent("lena", "support"), Agent { away: true, ..agent("noa", "night") }]);
    check(&mut router, "08:00", &[(0, "support/lena"), (1, "support/lena")]);
}

#[test]
fn what_a_team_without_known_agents_has_is_left_to_it_and_so_is_what_a_supplier_or_helpdesk_has() {
    let mut router = Router::default();
    router.set_agents(&[Agent { away: true, ..agent("lena", "support") }]);
    // Handed over to `night`, whose helpdesk decides.
    waiting(&mut router, 0..1, &[]);
    router.set_agents(&[agent("lena", "support")]);
    check(&mut router, "08:00", &[]);

    let supplier = Rule { supplier: Some("Colis".to_owned()), team: "support".into(), ..Rule::default() };
    let nobody = Rule { agent: AgentChoice::None, team: "support".into(), ..Rule::default() };
    for rule in [supplier, nobody] {
        let mut router = Router::default();
        let routes = Routes { rules: vec![rule], ..routes() };
        router.set_agents(&[agent("lena", "support"), agent("noa", "night")]);
        router.route(&routes, &Case::new("ana").facts(), id(1)).unwrap();
        check(&mut router, "08:00", &[]);
        // After a restart too.
        let needs = router.needs_of(id(1)).unwrap();
        router.released(id(1));
        router.restore(id(1), "support", "", true, true);
        router.learn(id(1), &needs);
        check(&mut router, "08:00", &[]);
    }
    let mut router = Router::default();
    waiting(&mut router, 0..2, &[]);
    router.set_agents(&[agent("lena", "support"), agent("noa", "night")]);
    router.hear(&Told::Status(
        id(0),
        crate::desk::told::Status {
            state: crate::ticket::proto::ticket_status::State::Open,
            agent: "somebody".into(),
            first_answer_at_us: 0,
        },
    ));
    check(&mut router, "08:00", &[(1, "support/lena")]);
}

/// However many nobody can have, whoever else comes has their turn.
#[test]
fn a_go_is_bounded_and_the_next_one_goes_on() {
    let mut router = Router::default();
    let bills = Rule { skills: Some(["bills".to_owned()].into()), team: "support".into(), ..Rule::default() };
    let with_bills = Routes { rules: vec![bills], ..routes() };
    let (blocked, all) = (WEIGHED_MAX as u64, WEIGHED_MAX as u64 + 5);
    for n in 0..blocked {
        router.route(&with_bills, &Case::new("ana").facts(), id(n)).unwrap();
    }
    waiting(&mut router, blocked..all, &[]);
    router.set_agents(&[with(1000, "lena", "support"), Agent { away: true, ..agent("noa", "night") }]);
    check(&mut router, "08:00", &[]);
    let rest: Vec<_> = (blocked..all).map(|n| (n, "support/lena")).collect();
    check(&mut router, "08:00", &rest);
    check(&mut router, "08:00", &[]);
}
