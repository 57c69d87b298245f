//! Who gets what had nobody.

use super::super::rules::{AgentChoice, Rule, Team};
use super::super::tests::{agent, id};
use super::super::*;
use super::GIVEN_MAX;
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

/// So many tickets, of which nobody can have any; each matters as much as `priority` says of it.
fn waiting(router: &mut Router, tickets: std::ops::Range<u64>, priority: impl Fn(u64) -> u16) {
    for n in tickets {
        let case = Case { priority: priority(n), ..Case::new(&n.to_string()) };
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
    waiting(&mut router, 0..4, |n| if n == 2 { 300 } else { 100 });
    router.set_agents(&[Agent { shifts: day(), ..lena }, noa]);
    check(&mut router, "07:59", &[]);
    // The most important first, then the oldest.
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
    waiting(&mut router, 0..2, |_| 100);
    check(&mut router, "08:00", &[]);
    router.set_agents(&[agent("lena", "support"), Agent { away: true, ..agent("noa", "night") }]);
    check(&mut router, "08:00", &[(0, "support/lena"), (1, "support/lena")]);
}

#[test]
fn what_a_team_without_known_agents_has_is_left_to_it_and_so_is_what_a_supplier_or_helpdesk_has() {
    let mut router = Router::default();
    router.set_agents(&[Agent { away: true, ..agent("lena", "support") }]);
    // Handed over to `night`, whose helpdesk decides.
    waiting(&mut router, 0..1, |_| 100);
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
        router.learn(id(1), &needs, 100);
        check(&mut router, "08:00", &[]);
    }
    let mut router = Router::default();
    waiting(&mut router, 0..2, |_| 100);
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

/// What is not known to be an agent's may be a supplier's.
#[test]
fn of_what_nobody_knows_what_it_needs_nothing_is_given() {
    let mut router = Router::default();
    router.set_agents(&[agent("lena", "support"), agent("noa", "night")]);
    router.restore(id(0), "support", "", true, true);
    router.restore(id(1), "support", "", true, true);
    router.learn(id(1), &Needs::default(), 100);
    let holder = |is_ours| Some(Holder { team: "support".into(), agent: "".into(), is_ours });
    router.hear(&Told::Stands(id(2), holder(true)));
    check(&mut router, "08:00", &[]);
    // Its author has been forgotten.
    let needs = Needs { team: "support".to_owned(), ..Needs::default() };
    router.learn(id(0), &Needs { choice: AgentChoice::None, ..needs.clone() }, 100);
    router.learn(id(1), &Needs { skills: vec!["bills".to_owned()], ..needs.clone() }, 100);
    check(&mut router, "08:00", &[]);
    // It is a supplier's after all.
    router.learn(id(2), &needs, 100);
    router.hear(&Told::Stands(id(2), holder(false)));
    check(&mut router, "08:00", &[]);
    let able = Agent { skills: vec!["bills".to_owned()], ..agent("max", "support") };
    router.set_agents(&[agent("lena", "support"), able, agent("noa", "night")]);
    check(&mut router, "08:00", &[(1, "support/max")]);
}

/// Whoever is in danger waits for nobody who is angry, however many of those there are and however long they have waited.
#[test]
fn the_most_important_goes_first_and_of_equals_whoever_waits_longest() {
    let mut router = Router::default();
    let angry = 3 * GIVEN_MAX as u64;
    waiting(&mut router, 0..angry, |_| 700);
    waiting(&mut router, angry..angry + 3, |n| if n == angry { 600 } else { 950 });
    let max = |capacity| [with(capacity, "lena", "support"), Agent { away: true, ..agent("noa", "night") }];
    router.set_agents(&max(1));
    check(&mut router, "08:00", &[(angry + 1, "support/lena")]);
    // One has come to matter more, one less. Reports were missed, and the ledger says again what waits.
    let rerouted = |router: &mut Router, n: u64, priority| {
        let case = Case { priority, ..Case::new(&n.to_string()) };
        let has_it = proto::Assignment { team: "support".to_owned(), ..proto::Assignment::default() };
        assert_eq!(router.reroute(&routes(), &case.facts(), id(n), Some(&has_it)), None);
    };
    rerouted(&mut router, angry, 1000);
    rerouted(&mut router, 0, 500);
    for n in [1, angry + 2] {
        router.restore(id(n), "support", "", true, true);
    }
    router.set_agents(&max(4));
    let expected = [angry, angry + 2, 1].map(|n| (n, "support/lena"));
    check(&mut router, "08:00", &expected);
    router.set_agents(&max(u32::MAX));
    let rest: Vec<_> = (2..angry).chain([0]).map(|n| (n, "support/lena")).collect();
    for go in rest.chunks(GIVEN_MAX) {
        check(&mut router, "08:00", go);
    }
    check(&mut router, "08:00", &[]);

    // After a restart too.
    let mut after = Router::default();
    let needs = Needs { team: "support".to_owned(), ..Needs::default() };
    for (n, priority) in [(0, 100), (1, 900)] {
        after.restore(id(n), "support", "", true, true);
        after.learn(id(n), &needs, priority);
    }
    after.set_agents(&max(1));
    check(&mut after, "08:00", &[(1, "support/lena")]);
}

/// However many nobody can have, whoever else comes has their turn.
#[test]
fn a_go_is_bounded_and_what_nobody_can_have_holds_up_no_others() {
    let mut router = Router::default();
    let bills = Rule { skills: Some(["bills".to_owned()].into()), team: "support".into(), ..Rule::default() };
    let with_bills = Routes { rules: vec![bills], ..routes() };
    let (blocked, all) = (GIVEN_MAX as u64 + 1, 2 * GIVEN_MAX as u64 + 5);
    for n in 0..blocked {
        router.route(&with_bills, &Case::new("ana").facts(), id(n)).unwrap();
    }
    waiting(&mut router, blocked..all, |_| 100);
    router.set_agents(&[with(1000, "lena", "support"), Agent { away: true, ..agent("noa", "night") }]);
    let rest: Vec<_> = (blocked..all).map(|n| (n, "support/lena")).collect();
    for go in rest.chunks(GIVEN_MAX) {
        check(&mut router, "08:00", go);
    }
    check(&mut router, "08:00", &[]);
}
