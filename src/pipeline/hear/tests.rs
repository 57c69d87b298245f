//! Reports and what is decided anew, while the ledger takes its time.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::bounded;
use parking_lot::Mutex;

use super::*;
use crate::desk::route::Needs;
use crate::desk::{self, Agent};
use crate::ledger::assigned::Assignee;
use crate::ledger::outbox::Outbox;
use crate::ledger::tests::{config, settlement, ticket};
use crate::ledger::{Entry, Ledger};
use crate::prefilter;

/// What is on its way to an agent is nobody's in the file until it is committed.
#[test]
fn a_ticket_that_is_on_its_way_to_somebody_is_given_once_whatever_reports_were_missed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let (settlements, received) = bounded(1);
        let ledger = Ledger::open(config(folder.path())).unwrap();
        let (writer, handle) = ledger.split(received, Arc::new(Mutex::new(Outbox::new()))).unwrap();
        (settlements, writer, handle)
    };
    let Entry::Ticket(mut waiting) = ticket("a", 500) else { panic!() };
    let (mut desk, needs) = (Desk::default(), Needs { team: "support".to_owned(), ..Needs::default() });
    desk.restore_assignment(waiting.id, "support", "", true, true);
    desk.restore_needs(waiting.id, &needs, 500);
    waiting.assignee = Some(Assignee { team: "support".to_owned(), agent: String::new(), needs });
    let (settlements, writer, handle) = open();
    settlements.send(settlement(1, 0, vec![Entry::Ticket(waiting)])).unwrap();
    handle.stop();
    drop(settlements);
    writer.run(|| ()).unwrap();

    let (settlements, writer, handle) = open();
    let agent = |name: &str| {
        let team = "support".to_owned();
        Agent { name: name.to_owned(), team, capacity: 1, ..Agent::default() }
    };
    desk.set_agents(&[agent("kim"), agent("lena")]);

    let rules =
        ArcSwap::from_pointee(Rules::build(&prefilter::Config::default(), &desk::Config::default()).unwrap());
    let mut underway = Underway::default();
    let mut hears = |heard| hear(&mut desk, heard, &rules, &handle, &mut underway);
    hears(Heard::Waiting);
    let thread = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        writer.run(|| ())
    });
    hears(Heard::Missed);
    // Whatever is asked from now on comes after it.
    handle.assign(Vec::new()).blocking_recv().unwrap().unwrap();
    hears(Heard::Waiting);
    handle.assign(Vec::new()).blocking_recv().unwrap().unwrap();
    let mut agents = Vec::new();
    handle.assigned(&[], |one| agents.push(one.assignee.agent.clone())).unwrap();
    assert_eq!(agents, ["kim"]);
    drop(settlements);
    handle.stop();
    thread.unwrap().join().unwrap().unwrap();
}
