//! Who has a ticket that has changed.

use std::sync::Arc;

use super::super::tests::{agent, id};
use super::super::*;
use crate::desk::case::Case;
use crate::desk::told::{Load, Status};
use crate::desk::when::{Field, Quantity, When};
use crate::ticket::proto::ticket_status::State;

fn topic(word: &str, team: &str) -> Rule {
    let when = When { words: vec![(Field::Topic, vec![word.to_owned()])], ..When::default() };
    Rule { when, team: Arc::from(team), ..Rule::default() }
}

/// The same, once it is worth so much.
fn pressing(word: &str, team: &str) -> Rule {
    let rule = topic(word, team);
    Rule { when: When { ranges: vec![(Quantity::Priority, 1..=i64::MAX)], ..rule.when }, ..rule }
}

/// Fires are for `critical`, and press, as cables do, which are for a supplier; parcels are for another one, bills want a
/// skill, contracts are for `sales`; the rest is for `support`, and `night` takes over.
fn routes() -> Routes {
    let team = |name: &str, fallback: Option<&str>| Team {
        name: name.to_owned(),
        fallback: fallback.map(str::to_owned),
    };
    let bills = Some(Arc::from(["bills".to_owned()]));
    Routes {
        rules: vec![
            pressing("fire", "critical"),
            Rule { supplier: Some("Fibertech".to_owned()), ..pressing("cable", "support") },
            Rule { supplier: Some("Colis".to_owned()), ..topic("parcel", "support") },
            Rule { skills: bills, ..topic("bill", "support") },
            topic("contract", "sales"),
            topic("anything", "Support"),
        ],
        teams: vec![team("support", Some("night")), team("critical", None), team("night", None)],
        ..Routes::default()
    }
}

fn about(topic: &str) -> Case {
    let mut case = Case::new("ana");
    case.candidate.hits = vec![topic.to_owned()];
    case
}

/// The desk's agents and one ticket, with what the ledger says of it.
struct World {
    router: Router,
    routes: Routes,
    has_it: Option<proto::Assignment>,
}

impl World {
    /// A ticket about this, of a team of these agents.
    fn new(topic: &str, agents: &[Agent]) -> World {
        let mut router = Router::default();
        router.set_agents(agents);
        let routes = routes();
        let has_it = router.route(&routes, &about(topic).facts(), id(1));
        World { router, routes, has_it }
    }

    /// The ticket is about this by now: who has it, if that changes, and what each agent has.
    fn becomes(&mut self, case: &Case) -> (Option<String>, Vec<u32>) {
        let anew = self.router.reroute(&self.routes, &case.facts(), id(1), self.has_it.as_ref());
        if anew.is_some() {
            self.has_it.clone_from(&anew);
        }
        let whom = anew.map(|anew| format!("{}/{}{}", anew.team, anew.agent, anew.supplier));
        (whom, self.router.agents().map(|(_, open)| open).collect())
    }
}

fn moved(whom: &str, open: &[u32]) -> (Option<String>, Vec<u32>) {
    (Some(whom.to_owned()), open.to_vec())
}

fn stays(open: &[u32]) -> (Option<String>, Vec<u32>) {
    (None, open.to_vec())
}

#[test]
fn another_team_takes_it_over_and_each_agent_counts_what_they_have() {
    let agents = [agent("ben", "critical"), agent("lena", "support"), agent("max", "support")];
    let mut world = World::new("anything", &agents);
    assert_eq!(world.becomes(&about("anything")), stays(&[0, 1, 0]));
    assert_eq!(world.becomes(&about("fire")), moved("critical/ben", &[1, 0, 0]));
    assert_eq!(world.becomes(&about("fire")), stays(&[1, 0, 0]));
    // Nothing speaks of it any more: that takes it away from nobody.
    assert_eq!(world.becomes(&about("nothing")), stays(&[1, 0, 0]));
    world.router.released(id(1));
    assert_eq!(world.router.agents().map(|(_, open)| open).sum::<u32>(), 0);
}

#[test]
fn one_word_takes_a_ticket_from_nobody_who_is_there_unless_it_presses() {
    let agents = [agent("ben", "critical"), agent("lena", "support"), agent("sam", "sales")];
    let mut world = World::new("anything", &agents);
    assert_eq!(world.becomes(&about("contract")), stays(&[0, 1, 0]));
    assert_eq!(world.becomes(&about("parcel")), stays(&[0, 1, 0]));
    let anew = world.router.reroute(&world.routes, &about("fire").facts(), id(1), world.has_it.as_ref());
    let reasons = anew.unwrap().reasons;
    assert_eq!((reasons[1].as_str(), reasons.len()), ("taken over from lena", 3), "{reasons:?}");

    // Whoever is not there has nothing to go on with.
    for lena in [
        Agent { away: true, ..agent("lena", "support") },
        Agent { shifts: Some("sat-sun 08:00-18:00".parse().unwrap()), ..agent("lena", "support") },
    ] {
        let mut world = World::new("anything", &agents);
        world.router.set_agents(&[agents[0].clone(), lena, agents[2].clone()]);
        assert_eq!(world.becomes(&about("contract")), moved("sales/sam", &[0, 0, 1]));
    }
    // What is only a team's goes where it belongs.
    let mut world = World::new("anything", &[Agent { away: true, ..agent("lena", "support") }]);
    world.router.set_agents(&agents);
    assert_eq!(world.becomes(&about("contract")), moved("sales/sam", &[0, 0, 1]));
}

#[test]
fn of_one_team_the_agent_stays_unless_they_may_not_have_it_any_more() {
    let bills = |name: &str| Agent { skills: vec!["bills".to_owned()], ..agent(name, "support") };
    // Full by their own count, and of another language: they have it already.
    let lena = || Agent { capacity: 1, languages: vec!["de".to_owned()], ..bills("lena") };
    let mut world = World::new("anything", &[lena(), agent("max", "support")]);
    assert_eq!(world.has_it.as_ref().unwrap().agent, "lena");
    world.router.hear(&Told::Agent(Load { agent: "lena".into(), open_tickets: 5, capacity: 0 }));
    let mut french = about("bill");
    french.candidate.post.language = Some("fr".into());
    assert_eq!(world.becomes(&french), stays(&[5, 0]));

    // Without the skill somebody else must take it, if there is anybody.
    let mut world = World::new("anything", &[agent("lena", "support"), bills("max")]);
    assert_eq!(world.becomes(&about("bill")), moved("support/max", &[0, 1]));
    let mut world = World::new("anything", &[agent("lena", "support"), agent("max", "support")]);
    world.routes.teams[0].fallback = None;
    assert_eq!(world.becomes(&about("bill")), stays(&[1, 0]));
    // Or who takes over.
    let mut world = World::new("anything", &[agent("lena", "support"), bills("max"), bills("noa")]);
    world.router.set_agents(&[
        agent("lena", "support"),
        agent("max", "support"),
        Agent { team: "night".to_owned(), ..bills("noa") },
    ]);
    assert_eq!(world.becomes(&about("bill")), moved("night/noa", &[0, 0, 1]));

    // Nobody is moved for a post that changes nothing of what is wanted, whoever has gone home; for a worse one they are.
    let home = Agent { shifts: Some("sat-sun 08:00-18:00".parse().unwrap()), ..agent("lena", "support") };
    let mut world = World::new("anything", &[agent("lena", "support")]);
    world.router.set_agents(&[home, agent("max", "support")]);
    assert_eq!(world.becomes(&about("anything")), stays(&[1, 0]));
    let worse = Case { priority: 900, ..about("anything") };
    assert_eq!(world.becomes(&worse), moved("Support/max", &[0, 1]));
}

#[test]
fn a_supplier_keeps_what_was_handed_over_unless_another_one_is_named() {
    let mut world = World::new("cable", &[agent("lena", "support")]);
    assert_eq!(world.becomes(&about("anything")), stays(&[0]));
    assert_eq!(world.becomes(&about("cable")), stays(&[0]));
    assert_eq!(world.becomes(&about("parcel")), moved("support/Colis", &[0]));
    // And from an agent of the team that keeps an eye on it.
    let mut world = World::new("anything", &[agent("lena", "support")]);
    assert_eq!(world.becomes(&about("cable")), moved("support/Fibertech", &[0]));
}

#[test]
fn whom_a_helpdesk_named_is_left_alone() {
    let agents = [agent("ben", "critical"), agent("lena", "support"), agent("max", "support")];
    let mut world = World::new("anything", &agents);
    let named = |agent: &str| {
        let status = Status { state: State::Open, agent: agent.into(), first_answer_at_us: 0 };
        Told::Status(id(1), status)
    };
    world.router.hear(&named("max"));
    assert_eq!(world.becomes(&about("fire")), stays(&[0, 0, 1]));
    // Who only repeats what the desk said has named nobody.
    let mut world = World::new("anything", &agents);
    world.router.hear(&named("lena"));
    assert_eq!(world.becomes(&about("fire")), moved("critical/ben", &[1, 0, 0]));
}

#[test]
fn a_ticket_that_is_forgotten_or_was_nobodys_is_found_somebody() {
    let agents = [agent("ben", "critical"), agent("lena", "support")];
    let mut world = World::new("nothing", &agents);
    assert_eq!(world.has_it, None);
    assert_eq!(world.becomes(&about("fire")), moved("critical/ben", &[1, 0]));
    // After so many others that nobody remembers it.
    let mut world = World::new("anything", &agents);
    world.router.released(id(1));
    assert_eq!(world.becomes(&about("fire")), moved("critical/ben", &[1, 0]));
    // Its team took it over from another one.
    let night = [Agent { away: true, ..agent("lena", "support") }, agent("noa", "night")];
    let mut world = World::new("anything", &night);
    assert_eq!(world.has_it.as_ref().unwrap().agent, "noa");
    let worse = Case { priority: 900, ..about("anything") };
    assert_eq!(world.becomes(&worse), stays(&[0, 1]));
}

/// Whatever comes, changes and ends in whatever order: each agent counts the tickets that they have, and nobody is given
/// one beyond their capacity.
#[test]
fn agents_count_what_they_have_however_often_tickets_change() {
    let mut seed = 20_261_127_u64;
    let mut below = |count: u64| {
        // Xorshift, Marsaglia 2003.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % count
    };
    let names = ["ana", "ben", "kim", "lena", "max", "noa", "zoe"];
    let teams = ["support", "critical", "night", "support", "support", "critical", "night"];
    let mut agents: Vec<_> =
        names.iter().zip(teams).map(|(name, team)| Agent { capacity: 3, ..agent(name, team) }).collect();
    agents[3].skills = vec!["bills".to_owned()];
    let mut router = Router::default();
    router.set_agents(&agents);
    let routes = routes();
    let mut open: Vec<(u64, Option<proto::Assignment>)> = Vec::new();
    let (mut moved, mut stayed) = (0, 0);
    for n in 0..20_000 {
        let topic = ["fire", "cable", "parcel", "bill", "anything", "nothing"][below(6) as usize];
        let priority = [100, 900][below(2) as usize];
        let case = Case { priority, ..about(topic) };
        let before: Vec<_> = router.agents().map(|(agent, open)| (agent.name.clone(), open)).collect();
        let given = match below(4) {
            0 if !open.is_empty() => {
                let (ended, _) = open.swap_remove(below(open.len() as u64) as usize);
                router.released(id(ended));
                None
            }
            1 | 2 if !open.is_empty() => {
                let place = below(open.len() as u64) as usize;
                let (n, has_it) = &mut open[place];
                let anew = router.reroute(&routes, &case.facts(), id(*n), has_it.as_ref());
                let is_other = anew.as_ref().is_some_and(|anew| {
                    has_it.as_ref().is_none_or(|had| {
                        (&had.team, &had.agent, &had.supplier) != (&anew.team, &anew.agent, &anew.supplier)
                    })
                });
                assert_eq!(anew.is_some(), is_other, "nothing is told where nothing changes");
                *(if anew.is_some() { &mut moved } else { &mut stayed }) += 1;
                let given = anew.as_ref().map(|anew| anew.agent.clone());
                *has_it = anew.or(has_it.take());
                given
            }
            _ => {
                let assignment = router.route(&routes, &case.facts(), id(n));
                let given = assignment.as_ref().map(|assignment| assignment.agent.clone());
                open.push((n, assignment));
                given
            }
        };
        if let Some((_, had)) = before.iter().find(|(name, _)| Some(name) == given.as_ref()) {
            assert!(*had < 3, "ticket {n}: {given:?} is full");
        }
        for (agent, counted) in router.agents() {
            let has = |(_, has_it): &&(u64, Option<proto::Assignment>)| {
                has_it.as_ref().is_some_and(|has_it| has_it.agent == agent.name)
            };
            assert_eq!(counted as usize, open.iter().filter(has).count(), "ticket {n}: {}", agent.name);
        }
    }
    assert!(moved > 500 && stayed > 500, "both happen: {moved} moved, {stayed} stayed");
}
