//! Who is heard when, and in which order batches go on.

use jiff::Timestamp;

use super::*;
use crate::desk::{self, Strangers};
use crate::parse::Post;
use crate::pipeline::settle::tests::decided;
use crate::ticket::TicketId;

/// As the model thread and the ledger's would.
#[test]
fn the_desk_hears_while_nothing_is_to_be_decided_and_before_what_is() {
    use crate::desk::told::{Load, Told, channel};
    let config = crate::config::Config::parse(
        "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n",
    )
    .unwrap();
    let rules = Rules::build(&config.prefilter, &config.desk).unwrap();
    let (to_desk, decisions) = crossbeam::channel::bounded(4);
    let (ledger, settlements) = crossbeam::channel::bounded(4);
    let (teller, hearing) = channel(1);
    let (heard, told) = crossbeam::channel::unbounded();
    let load = |agent: &str| Load { agent: agent.into(), open_tickets: 1, capacity: 0 };
    let desk = std::thread::Builder::new().spawn(move || {
        let rules = ArcSwap::from_pointee(rules);
        let hear = |_: &mut Desk, told| heard.send(told).unwrap();
        run(
            Desk::default(),
            &mut Strangers,
            &mut NoArticles,
            &rules,
            &decisions,
            hearing,
            hear,
            &ledger,
            &Pulse::default(),
        )
        .unwrap();
    });
    let desk = desk.unwrap();
    // Nothing has come from the model yet.
    teller.tell(Told::Agent(load("lena")));
    assert_eq!(told.recv().unwrap(), Heard::Told(Told::Agent(load("lena"))));
    to_desk.send(decided("a", 0, 1)).unwrap();
    assert_eq!(settlements.recv().unwrap().end_sequence, 1);
    // A ledger that has ended keeps nobody from deciding, or from ending.
    drop(teller);
    to_desk.send(decided("a", 1, 2)).unwrap();
    assert_eq!(settlements.recv().unwrap().end_sequence, 2);
    drop(to_desk);
    desk.join().unwrap();
}

/// Who can answer is first one, then, at the next look, another.
struct Successor(Vec<&'static str>);

impl People for Successor {
    fn author_of(&mut self, _: &Post<'_>, _: Duration, _: Timestamp) -> Result<desk::Person, Unreadable> {
        Ok(desk::Person::default())
    }

    fn new_agents(&mut self) -> Result<Option<Vec<desk::Agent>>, Unreadable> {
        let agent = |name: &str| desk::Agent {
            name: name.to_owned(),
            team: "billing".to_owned(),
            capacity: 10_000,
            ..desk::Agent::default()
        };
        Ok(self.0.pop().map(|name| vec![agent(name)]))
    }
}

fn rules() -> ArcSwap<Rules> {
    let config = crate::config::Config::parse(
        "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n",
    )
    .unwrap();
    ArcSwap::from_pointee(Rules::build(&config.prefilter, &config.desk).unwrap())
}

#[test]
fn agents_are_looked_at_and_their_tickets_move_in_batches_while_nothing_comes() {
    let rules = rules();
    let (to_desk, decisions) = crossbeam::channel::bounded(4);
    let (ledger, _settlements) = crossbeam::channel::bounded(4);
    let (teller, hearing) = crate::desk::told::channel(1);
    let mut desk = Desk::default();
    let count = 2 * desk::ORPHANS_MAX + 1;
    for n in 0..count {
        let id = TicketId::of_post(crate::parse::Network::X, &n.to_string());
        desk.restore_assignment(id, "billing", "lena", true, true);
    }
    let (heard, told) = crossbeam::channel::unbounded();
    let thread = std::thread::Builder::new().spawn(move || {
        let hear = |desk: &mut Desk, told| match told {
            Heard::Agents(agents) => desk.set_agents(&agents),
            Heard::Orphans => {
                let anew = desk.assign_anew(&desk::Config::default(), Timestamp::UNIX_EPOCH);
                heard.send(anew.len()).unwrap();
            }
            _ => {}
        };
        let mut people = Successor(vec!["kim", "lena"]);
        let mut articles = NoArticles;
        let pulse = Pulse::default();
        run(desk, &mut people, &mut articles, &rules, &decisions, hearing, hear, &ledger, &pulse).unwrap();
    });
    let thread = thread.unwrap();
    // Generous: it ends as soon as all have come.
    let batches: Vec<_> = (0..3).map_while(|_| told.recv_timeout(Duration::from_secs(60)).ok()).collect();
    assert_eq!(batches, [desk::ORPHANS_MAX, desk::ORPHANS_MAX, 1]);
    drop((to_desk, teller));
    thread.join().unwrap();
}

#[test]
fn the_desk_comes_back_to_changed_tickets_while_there_are_any_and_nothing_else_comes() {
    let rules = rules();
    let (to_desk, decisions) = crossbeam::channel::bounded(4);
    let (ledger, _settlements) = crossbeam::channel::bounded(4);
    let (teller, hearing) = crate::desk::told::channel(1);
    let (heard, told) = crossbeam::channel::unbounded();
    let thread = std::thread::Builder::new().spawn(move || {
        let mut left = 3;
        let hear = |desk: &mut Desk, told: Heard| match told {
            Heard::Told(told) => desk.hear(&told),
            Heard::Changed => {
                left -= 1;
                desk.look_for_changed(left > 0);
                heard.send(left).unwrap();
            }
            _ => {}
        };
        let (mut people, mut articles, pulse) = (Strangers, NoArticles, Pulse::default());
        let desk = Desk::default();
        run(desk, &mut people, &mut articles, &rules, &decisions, hearing, hear, &ledger, &pulse).unwrap();
    });
    let thread = thread.unwrap();
    teller.tell(crate::desk::told::Told::Changed);
    let batches: Vec<_> = (0..3).map_while(|_| told.recv_timeout(Duration::from_secs(60)).ok()).collect();
    assert_eq!(batches, [2, 1, 0]);
    drop((to_desk, teller));
    thread.join().unwrap();
    assert!(told.try_recv().is_err(), "not once none is left");
}

#[test]
fn batches_of_several_lanes_are_settled_in_their_sources_order() {
    let mut order = Order::default();
    let mut check = |source: &str, first: u64, end: u64, expected: &[u64]| {
        let ready = order.next(decided(source, first, end));
        let ready: Vec<_> = ready.iter().map(|decided| decided.output.first_sequence).collect();
        assert_eq!(ready, expected, "{source} {first}");
    };
    check("a", 1, 2, &[]);
    check("a", 2, 5, &[]);
    check("b", 0, 1, &[0]);
    check("a", 0, 1, &[0, 1, 2]);
    check("a", 5, 6, &[5]);
    check("b", 1, 2, &[1]);
}
