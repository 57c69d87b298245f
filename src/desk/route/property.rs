//! Fairness, over random teams, tickets, completions, restarts and changes of agents, against a plain twin that knows the
//! promises and nothing of how they are kept.
//!
//! `VIGIE_TEST_ASSIGNMENTS` says how many assignments to make, `VIGIE_TEST_SEED` from which seed.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use jiff::tz::TimeZone;

use super::tests::{agent, id};
use super::*;
use crate::desk::case::Case;
use crate::desk::person::Customer;
use crate::desk::told::Load;
use crate::desk::when::{Field, When};

/// Some seconds' worth in a debug build.
const ASSIGNMENTS: u64 = 20_000;
const TEAMS: [&str; 4] = ["billing", "frontline", "parcels", "night"];
const SKILLS: [&str; 3] = ["invoices", "parcels", "contracts"];
const LANGUAGES: [&str; 3] = ["fr", "en", "de"];

/// xorshift64*: the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    fn of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len() as u64) as usize]
    }

    fn some(&mut self, items: &[&str]) -> Vec<String> {
        items.iter().filter(|_| self.chance(2)).map(|item| (*item).to_owned()).collect()
    }

    fn agent(&mut self, name: &str) -> Agent {
        Agent {
            skills: self.some(&SKILLS),
            languages: self.some(&LANGUAGES),
            capacity: if self.chance(3) { self.below(40) } else { self.below(6) } as u32,
            shifts: self.chance(4).then(|| "mon-fri 08:00-18:00".parse().unwrap()),
            zone: self.chance(2).then(|| "America/Montreal".to_owned()),
            answer_min: self.chance(2).then(|| self.below(200) as f64),
            satisfaction: self.chance(2).then(|| 1.0 + self.below(41) as f64 / 10.0),
            away: self.chance(8),
            ..agent(name, TEAMS[self.below(4) as usize])
        }
    }
}

/// A ticket that is open.
struct Ticket {
    n: u64,
    agent: Option<String>,
    /// Its route's.
    team: String,
    /// As the ledger has it, where it has no agent.
    of_team: String,
    priority: u16,
    /// Whether it is known what it needs.
    is_known: bool,
    skills: Vec<String>,
    languages: Vec<String>,
    person: String,
}

/// What is promised of an agent.
struct Twin {
    agent: Agent,
    open: u32,
    passed: u32,
}

impl Twin {
    fn is_able(&self, team: &str, skills: &[String], now: Timestamp) -> bool {
        let zone = self.agent.zone.as_deref().map_or(TimeZone::UTC, |zone| TimeZone::get(zone).unwrap());
        self.agent.team == team
            && !self.agent.away
            && self.open < self.agent.capacity
            && skills.iter().all(|skill| self.agent.skills.contains(skill))
            && self.agent.shifts.as_ref().is_none_or(|week| week.contains(zone.to_datetime(now)))
    }

    fn may_speak(&self, languages: &[String]) -> bool {
        let own = &self.agent.languages;
        languages.is_empty() || own.is_empty() || languages.iter().any(|language| own.contains(language))
    }
}

/// Who is to get a ticket, by what is promised alone: the team, and those of it who could.
fn able(
    twins: &HashMap<String, Twin>,
    routes: &Routes,
    ticket: &Ticket,
    now: Timestamp,
) -> (String, Vec<String>) {
    let mut chain = vec![ticket.team.clone()];
    while let Some(next) = routes.fallback(chain.last().unwrap()) {
        chain.push(next.to_owned());
    }
    let able = |team: &str| {
        let able = twins.values().filter(|twin| twin.is_able(team, &ticket.skills, now));
        let mut able: Vec<_> = able.map(|twin| twin.agent.name.clone()).collect();
        able.sort();
        able
    };
    let is_known = |team: &str| twins.values().any(|twin| twin.agent.team == team);
    let team = chain.iter().find(|team| !able(team).is_empty());
    let team = team.or_else(|| chain.iter().find(|team| !is_known(team))).unwrap_or(&chain[0]);
    (team.clone(), able(team))
}

/// The agent gets the ticket, and whoever else could have got it is passed over once more; how often at most in a row.
#[track_caller]
fn give(
    twins: &mut HashMap<String, Twin>,
    able: &[String],
    ticket: &Ticket,
    agent: &str,
    known: Option<&str>,
    most: u32,
) -> u32 {
    let mut eligible: Vec<_> = able.iter().filter(|name| twins[*name].may_speak(&ticket.languages)).collect();
    if eligible.is_empty() {
        eligible = able.iter().collect();
    }
    let is_eligible = eligible.iter().any(|name| *name == agent);
    assert!(is_eligible || known == Some(agent), "ticket {}", ticket.n);
    let mut longest = 0;
    for name in eligible.into_iter().filter(|name| *name != agent) {
        let twin = twins.get_mut(name).unwrap();
        twin.passed += 1;
        assert!(twin.passed <= most, "ticket {}: {name} starves, {most} at most", ticket.n);
        longest = longest.max(twin.passed);
    }
    let twin = twins.get_mut(agent).unwrap();
    assert!(twin.open < twin.agent.capacity, "ticket {}: over capacity", ticket.n);
    (twin.open, twin.passed) = (twin.open + 1, 0);
    longest
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn rules() -> Routes {
    let topic = |word: &str, team: &str, skills: &[&str], agent| Rule {
        when: When { words: vec![(Field::Topic, vec![word.to_owned()])], ..When::default() },
        team: Arc::from(team),
        skills: (!skills.is_empty()).then(|| skills.iter().map(|skill| (*skill).to_owned()).collect()),
        supplier: None,
        agent,
    };
    let team = |name: &str, fallback: Option<&str>| Team {
        name: name.to_owned(),
        fallback: fallback.map(str::to_owned),
    };
    Routes {
        rules: vec![
            topic("plain", "billing", &[], AgentChoice::Any),
            topic("skilled", "billing", &["invoices"], AgentChoice::Any),
            topic("both", "billing", &["invoices", "contracts"], AgentChoice::Any),
            topic("best", "parcels", &[], AgentChoice::Best),
            topic("parcels", "parcels", &["parcels"], AgentChoice::Any),
        ],
        teams: vec![
            team("billing", Some("frontline")),
            team("frontline", Some("night")),
            team("parcels", Some("frontline")),
            team("night", None),
        ],
        default_team: Some("frontline".to_owned()),
        ..Routes::default()
    }
}

#[test]
fn nobody_starves_and_nobody_has_more_than_their_capacity() {
    let (assignments, seed) =
        (number("VIGIE_TEST_ASSIGNMENTS", ASSIGNMENTS), number("VIGIE_TEST_SEED", 20_261_126));
    let mut random = Random(seed | 1);
    let routes = rules();
    let mut router = Router::default();
    let mut twins: HashMap<String, Twin> = HashMap::new();
    println!("seed {seed}");
    let mut open: Vec<Ticket> = Vec::new();
    let mut agents_max: HashMap<String, u32> = HashMap::new();
    let (mut made, mut tickets, mut longest, mut unassigned) = (0_u64, 0_u64, 0, 0_u64);
    let mut because = [0_u64; 4];
    let (mut weather, mut given_later) = (0, 0_u64);
    while made < assignments {
        tickets += 1;
        if tickets % 512 == 1 {
            weather = random.below(5);
        }
        // Agents change now and then: one comes, leaves, or is another one from now on.
        if tickets % 128 == 1 || twins.is_empty() {
            change_agents(&mut random, &mut router, &routes, &mut twins, &mut open, &mut agents_max);
        }
        // As many tickets end as come, in the long run; in some weathers everybody is full.
        let completions = if weather == 4 { random.below(2) } else { random.below(4) };
        for _ in 0..completions {
            if open.is_empty() {
                break;
            }
            let Ticket { n, agent, .. } = open.swap_remove(random.below(open.len() as u64) as usize);
            router.released(id(n));
            if let Some(twin) = agent.and_then(|agent| twins.get_mut(&agent)) {
                twin.open = twin.open.saturating_sub(1);
            }
        }
        if random.chance(200) && !twins.is_empty() {
            report_state(&mut random, &mut router, &mut twins);
        }
        let now = Timestamp::from_second(1_795_000_000 + tickets as i64 * 300).unwrap();
        if random.chance(500) {
            router = restart(&mut random, &router, &mut twins, &mut open);
        }
        // Reports were missed: the ledger says again whose it is.
        if random.chance(20) && !open.is_empty() {
            let place = random.below(open.len() as u64) as usize;
            let ticket = &mut open[place];
            let agent = ticket.agent.as_deref().unwrap_or_default();
            router.restore(id(ticket.n), &ticket.of_team, agent, true, true);
            if agent.is_empty() {
                ticket.team.clone_from(&ticket.of_team);
            }
        }
        if random.chance(4) {
            given_later += assign_waiting(&mut router, &routes, &mut twins, &mut open, &agents_max, now);
        }

        let mut case = Case::new(&random.below(if weather == 1 { 2 } else { 300 }).to_string());
        case.candidate.hits =
            vec![random.of(&["plain", "skilled", "both", "best", "parcels", "none"]).to_owned()];
        if weather == 2 {
            case.candidate.hits = vec!["plain".to_owned()];
        }
        let mut languages = Vec::new();
        if random.chance(2) {
            languages.push(random.of(&LANGUAGES).to_owned());
            case.candidate.post.language = Some(languages[0].clone().into());
        }
        if random.chance(4) {
            languages.push(random.of(&LANGUAGES).to_owned());
            let customer = Customer { language: languages.last().unwrap().clone(), ..Customer::default() };
            case.person.customer = Some(Arc::new(customer));
        }
        if weather == 3 || random.chance(4) {
            case.verdict.sentiment = [0.9, 0.1, 0.0];
        }
        (case.now, case.priority) = (now, random.below(8) as u16 * 50);

        let person = person_key(&case.facts());
        let known = router.seen.who_answered(memory::hash(&person)).map(str::to_owned);
        let weighing = router.weigh(&routes, &case.facts()).unwrap();
        if let Some((_, reason)) = weighing.teams.last().and_then(Weighed::chosen) {
            because[match reason {
                Because::Waited(_) => 0,
                Because::AnsweredBefore => 1,
                Because::BestRated => 2,
                Because::Points => 3,
            }] += 1;
        }
        let assignment = router.route(&routes, &case.facts(), id(tickets)).unwrap();
        assert_eq!(assignment, weighing.assignment, "weighing changes nothing");

        // Who could have got it, by what is promised alone.
        let target = routes.target(&case.facts()).unwrap();
        let skills = target.skills.as_deref().unwrap_or_default().to_vec();
        let team = target.team.to_string();
        let mut ticket = Ticket {
            n: tickets,
            agent: None,
            team,
            of_team: assignment.team.clone(),
            priority: case.priority,
            is_known: true,
            skills,
            languages,
            person,
        };
        let (expected, able) = able(&twins, &routes, &ticket, case.now);
        assert_eq!(assignment.team, expected, "ticket {tickets}");
        if assignment.agent.is_empty() {
            assert!(able.is_empty(), "ticket {tickets}: {able:?} had room");
            unassigned += 1;
            open.push(ticket);
            continue;
        }
        assert!(able.contains(&assignment.agent), "ticket {tickets}: {}", assignment.agent);
        let most = passed_over_max(agents_max[&expected]);
        let passed = give(&mut twins, &able, &ticket, &assignment.agent, known.as_deref(), most);
        longest = longest.max(passed);
        if random.chance(2) {
            router.seen.answered(memory::hash(&ticket.person), &assignment.agent, case.now);
        }
        ticket.agent = Some(assignment.agent);
        open.push(ticket);
        made += 1;
    }
    println!(
        "{made} assignments of {tickets} tickets, {unassigned} without an agent, of which {given_later} had \
         one later; longest passed over {longest} times; \
         because of waiting {}, acquaintance {}, rating {}, points {}",
        because[0], because[1], because[2], because[3]
    );
    assert!(given_later > made / 100, "some waited: {given_later}");
    assert!(because.iter().all(|times| *times > made / 1_000), "every reason was seen: {because:?}");
}

/// One comes, leaves, changes, or changes the team; tickets of who has left go to others.
fn change_agents(
    random: &mut Random,
    router: &mut Router,
    routes: &Routes,
    twins: &mut HashMap<String, Twin>,
    open: &mut [Ticket],
    agents_max: &mut HashMap<String, u32>,
) {
    let name = format!("agent {}", random.below(40));
    match twins.get_mut(&name) {
        Some(_) if random.chance(2) => {
            twins.remove(&name);
        }
        Some(twin) => {
            let open_tickets = twin.agent.open_tickets;
            let changed = Agent { open_tickets, ..random.agent(&name) };
            if changed.team != twin.agent.team {
                twin.passed = 0;
            }
            twin.agent = changed;
        }
        None => {
            let agent = random.agent(&name);
            twins.insert(name, Twin { agent, open: 0, passed: 0 });
        }
    }
    let agents: Vec<_> = twins.values().map(|twin| twin.agent.clone()).collect();
    for team in TEAMS {
        let size = agents.iter().filter(|agent| agent.team == team).count() as u32;
        let most = agents_max.entry(team.to_owned()).or_default();
        *most = size.max(*most);
    }
    let left = router.set_agents(&agents);
    let has_left = |ticket: &&Ticket| ticket.agent.as_ref().is_some_and(|agent| !twins.contains_key(agent));
    assert_eq!(left.len(), open.iter().filter(has_left).count(), "all of them and no others");
    for ticket in left {
        let held = open.iter_mut().find(|held| id(held.n) == ticket).unwrap();
        held.agent = None;
        let now = Timestamp::UNIX_EPOCH;
        let known = router.seen.who_answered(memory::hash(&held.person)).map(str::to_owned);
        let anew = router.assign_anew(routes, ticket, now).unwrap();
        let (expected, able) = able(twins, routes, held, now);
        assert_eq!(anew.team, expected, "ticket {}", held.n);
        held.of_team.clone_from(&anew.team);
        if anew.agent.is_empty() {
            assert!(able.is_empty(), "ticket {}: {able:?} had room", held.n);
            continue;
        }
        assert!(able.contains(&anew.agent), "ticket {}: {}", held.n, anew.agent);
        let most = passed_over_max(agents_max[&expected]);
        give(twins, &able, held, &anew.agent, known.as_deref(), most);
        held.agent = Some(anew.agent);
    }
}

/// Those without an agent get one, the most important first; how many.
fn assign_waiting(
    router: &mut Router,
    routes: &Routes,
    twins: &mut HashMap<String, Twin>,
    open: &mut [Ticket],
    agents_max: &HashMap<String, u32>,
    now: Timestamp,
) -> u64 {
    let given = router.assign_waiting(routes, now);
    let mut turns = Vec::new();
    for (ticket, anew) in &given {
        let held = open.iter_mut().find(|held| id(held.n) == *ticket).unwrap();
        assert!(held.is_known && held.agent.is_none(), "ticket {}", held.n);
        turns.push((Reverse(held.priority), held.n));
        let known = router.seen.who_answered(memory::hash(&held.person)).map(str::to_owned);
        let (expected, able) = able(twins, routes, held, now);
        assert_eq!(anew.team, expected, "ticket {}", held.n);
        assert!(able.contains(&anew.agent), "ticket {}: {}", held.n, anew.agent);
        let most = passed_over_max(agents_max[&expected]);
        give(twins, &able, held, &anew.agent, known.as_deref(), most);
        (held.agent, held.of_team) = (Some(anew.agent.clone()), expected);
    }
    assert!(turns.is_sorted(), "{turns:?}");
    let has_agents = |team: &str| twins.values().any(|twin| twin.agent.team == team);
    // One of each kind: whoever has room has it for all of them.
    let mut kinds = HashSet::new();
    for held in open.iter().filter(|held| held.is_known && held.agent.is_none()) {
        if kinds.insert((&held.team, &held.skills)) && routes.chain(&held.team).all(has_agents) {
            let (_, able) = able(twins, routes, held, now);
            assert!(able.is_empty(), "ticket {}: {able:?} have room", held.n);
        }
    }
    given.len() as u64
}

/// What the ledger has is known again: of some tickets not what they need.
fn restart(
    random: &mut Random,
    router: &Router,
    twins: &mut HashMap<String, Twin>,
    open: &mut [Ticket],
) -> Router {
    let mut after = Router { seen: router.seen.clone(), ..Router::default() };
    open.sort_by_key(|ticket| ticket.n);
    for Ticket { n, agent, of_team, priority, is_known, .. } in open.iter_mut() {
        after.restore(id(*n), of_team, agent.as_deref().unwrap_or_default(), true, true);
        *is_known &= agent.is_some() || !random.chance(4);
        let needs = router.needs_of(id(*n)).filter(|_| *is_known).unwrap_or_default();
        after.learn(id(*n), &needs, *priority);
    }
    let agents: Vec<_> = twins.values().map(|twin| twin.agent.clone()).collect();
    assert_eq!(after.set_agents(&agents), []);
    for twin in twins.values_mut() {
        let own = open.iter().filter(|ticket| ticket.agent.as_ref() == Some(&twin.agent.name)).count() as u32;
        (twin.open, twin.passed) = (own.max(twin.agent.open_tickets), 0);
    }
    after
}

/// An agent's own count is the truth.
fn report_state(random: &mut Random, router: &mut Router, twins: &mut HashMap<String, Twin>) {
    let mut names: Vec<_> = twins.keys().cloned().collect();
    names.sort();
    let twin = twins.get_mut(&names[random.below(names.len() as u64) as usize]).unwrap();
    let (open_tickets, capacity) = (random.below(4) as u32, 1 + random.below(6) as u32);
    let agent = twin.agent.name.as_str().into();
    router.hear(&Told::Agent(Load { agent, open_tickets, capacity }));
    twin.open = open_tickets;
    (twin.agent.open_tickets, twin.agent.capacity) = (open_tickets, capacity);
}
