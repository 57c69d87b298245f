//! Who has which ticket, and what the desk hears of it.

use super::*;
use crate::desk::Anew;
use crate::desk::route::{AgentChoice, Needs};
use crate::desk::told::{self, Heard, Holder, Load, Status, Told};
use crate::ledger::assigned::{Assigned, Assignee};
use crate::ticket::proto::ticket_status::State;

/// A ledger at work, and what it tells the desk.
fn telling(folder: &Path) -> (Running, told::Hearing) {
    let (teller, hearing) = told::channel(16);
    (Running::start_telling(folder, config(folder).retention, Some(teller)), hearing)
}

#[test]
fn the_desk_is_told_what_is_durable_and_speaks_of_a_ticket_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (running, mut hearing) = telling(folder.path());
    running.settle(settlement(1, 1, vec![ticket("a", 500)]));
    let status = |of: TicketId| {
        let ticket_id = of.as_bytes().to_vec();
        proto::TicketStatus { ticket_id, state: 3, agent: "lena".to_owned(), ..Default::default() }
    };
    let agent = proto::AgentState { agent: "lena".to_owned(), open_tickets: 3, ..Default::default() };
    let report = |feedback| running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    let id = |id: &str| TicketId::of_post(Network::Bluesky, id);
    // A settlement handed over before is committed before.
    report(Feedback::TicketStatus(id("a"), status(id("a")).encode_to_vec()));
    report(Feedback::TicketStatus(id("unknown"), status(id("unknown")).encode_to_vec()));
    let brands = Brands::new(["another".to_owned()]).unwrap();
    let body = status(id("a")).encode_to_vec();
    report(Feedback::TicketStatusWithin { ticket_id: id("a"), body, brands });
    report(Feedback::AgentState(agent.encode_to_vec()));
    let mut heard = Vec::new();
    hearing.hear(|told| heard.push(told));
    let solved = Status { state: State::Solved, agent: "lena".into(), first_answer_at_us: 0 };
    let load = Load { agent: "lena".into(), open_tickets: 3, capacity: 0 };
    let expected = [Told::Status(id("a"), solved), Told::Agent(load)].map(Heard::Told);
    assert_eq!(heard, expected);
    running.stop();
}

/// A bridge makes its ticket of the little that is left, and finds it open.
#[test]
fn whatever_a_helpdesk_says_an_erased_ticket_is_nobodys_work_again() {
    let folder = tempfile::tempdir().unwrap();
    let (running, mut hearing) = telling(folder.path());
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    let erase = Entry::Erase { ticket_id: id("a"), at: Timestamp::UNIX_EPOCH };
    running.settle(settlement(1, 2, vec![of_lena("a"), of_lena("b"), erase]));
    for name in ["a", "b"] {
        let status = proto::TicketStatus { state: 1, agent: "max".to_owned(), ..Default::default() };
        let report = Feedback::TicketStatus(id(name), status.encode_to_vec());
        running.handle.feedback(report).blocking_recv().unwrap().unwrap();
    }
    let mut statuses = Vec::new();
    hearing.hear(|heard| {
        if let Heard::Told(Told::Status(ticket_id, status)) = heard {
            statuses.push((ticket_id, status.agent));
        }
    });
    assert_eq!(statuses, [(id("b"), "max".into())]);
    running.stop();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    let mut open = Vec::new();
    ledger.open_assigned(|assigned| open.push(assigned.ticket_id)).unwrap();
    assert_eq!(open, [id("b")]);
}

/// A ticket that the desk gave to lena.
fn of_lena(name: &str) -> Entry {
    let Entry::Ticket(mut ticket) = provisional(name, 500) else { panic!() };
    ticket.assignee =
        Some(Assignee { team: "billing".to_owned(), agent: "lena".to_owned(), ..Default::default() });
    Entry::Ticket(ticket)
}

#[test]
fn the_desk_is_told_where_it_counted_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (running, mut hearing) = telling(folder.path());
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    let joins = |name: &str, otherwise: Entry| {
        let Entry::Ticket(otherwise) = otherwise else { panic!() };
        Entry::FollowUp(Box::new(NewFollowUp {
            post_id: id(name),
            ticket_id: id("gone"),
            network: Network::Bluesky,
            author_id: format!("author of {name}"),
            text_hash: 7,
            at: Timestamp::UNIX_EPOCH,
            posted_at: Timestamp::UNIX_EPOCH,
            post: proto::Post::default(),
            verdict: proto::Verdict::default(),
            factors: Vec::new(),
            raises: true,
            thanks: None,
            terms: terms(),
            join_us: 3_600_000_000,
            otherwise: Otherwise::Ticket(otherwise),
        }))
    };
    let erase = |name: &str| Entry::Erase { ticket_id: id(name), at: Timestamp::UNIX_EPOCH };
    // What the desk decided and the ledger took as it was is no news.
    running.settle(settlement(1, 0, vec![of_lena("a"), of_lena("b"), ticket("c", 1), of_lena("d")]));
    running.settle(settlement(2, 0, vec![of_lena("a"), ticket("a", 1), ticket("c", 1), erase("c")]));
    running.settle(settlement(3, 0, vec![joins("e", of_lena("e")), joins("f", ticket("f", 1)), erase("b")]));
    // By now nobody's.
    running.settle(settlement(4, 0, vec![of_lena("b"), joins("b", of_lena("b")), erase("b")]));
    let unsupported = proto::update::Rescored { unsupported: true, ..Default::default() };
    let rescoring = |name: &str, change| {
        let (ticket_id, at, terms) = (id(name), Timestamp::UNIX_EPOCH, terms());
        Rescoring { ticket_id, at, change: Some(Box::new(change)), terms }
    };
    let rescorings = vec![rescoring("a", Default::default()), rescoring("d", unsupported)];
    running.handle.rescore(rescorings).blocking_recv().unwrap().unwrap();
    running.stop();
    let lena = || Some(Holder { team: "billing".into(), agent: "lena".into(), is_ours: true });
    let stands = |name: &str, holder| Told::Stands(id(name), holder);
    let own = |name: &str| Told::Belongs {
        post_id: id(name),
        ticket_id: id(name),
        brand: "Lumio".into(),
        in_thread: false,
        at_us: 0,
    };
    let expected = [
        stands("a", lena()),
        Told::Over(id("c")),
        stands("e", lena()),
        own("e"),
        own("f"),
        stands("b", None),
        Told::Over(id("b")),
        stands("b", None),
        // And that "a" has been read again: of one that is no customer message there is nothing to decide.
        Told::Closed(id("d")),
        stands("d", None),
        Told::Changed,
    ];
    let mut heard = Vec::new();
    hearing.hear(|told| heard.push(told));
    assert_eq!(heard, expected.map(Heard::Told));
}

#[test]
fn who_has_which_ticket_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 1, vec![of_lena("a"), of_lena("b"), ticket("c", 1), of_lena("d")]));
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    let report = |name: &str, state: i32, agent: &str| {
        let ticket_id = id(name).as_bytes().to_vec();
        let status = proto::TicketStatus { ticket_id, state, agent: agent.to_owned(), ..Default::default() };
        let feedback = Feedback::TicketStatus(id(name), status.encode_to_vec());
        running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    };
    report("a", 3, "");
    report("b", 1, "kim");
    report("b", 1, "kim");
    report("d", 1, "lena");
    report("c", 1, "kim");
    // One that is erased is nobody's work any more: its helpdesks are not told.
    let gone = TicketId::of_post(Network::Bluesky, "gone");
    let assignment = assign(&running, &[id("d"), gone], "frontline");
    let Body::Update(update) = running.handle.read(&[Seq::new(5).unwrap()]).unwrap().pop().unwrap().1 else {
        panic!()
    };
    let update = proto::Update::decode(&*update).unwrap();
    assert_eq!(update.ticket_id, id("d").as_bytes());
    let told = proto::update::Assigned { assignment: Some(assignment), ..Default::default() };
    let told = proto::update::Change::Assigned(told);
    assert_eq!(update.change, Some(told));
    assert!(running.handle.read(&[Seq::new(6).unwrap()]).unwrap().is_empty());

    let line = |one: &Assigned| {
        let Assignee { team, agent, .. } = &one.assignee;
        let name = ["a", "b", "c", "d"].into_iter().find(|name| id(name) == one.ticket_id);
        let by = if one.by_helpdesk { " (helpdesk)" } else { "" };
        format!("{} {team} {agent}{by} {}", name.unwrap(), one.is_open)
    };
    let held = ["a", "b", "d"].map(id);
    let mut all = Vec::new();
    running.handle.assigned(&[held.as_slice(), &[gone]].concat(), |one| all.push(line(one))).unwrap();
    let open = ["b billing kim (helpdesk) true", "d frontline max true"];
    assert_eq!(all, [&["a billing lena false"], &open[..]].concat());
    all.clear();
    running.handle.assigned(&[id("b")], |one| all.push(line(one))).unwrap();
    assert_eq!(all, open, "of those that are closed only what the desk holds");
    // A report that says nothing of it closes and opens nothing.
    report("a", 0, "");
    report("b", 0, "");
    all.clear();
    running.handle.assigned(&[], |one| all.push(line(one))).unwrap();
    assert_eq!(all, open);
    // Opened again.
    report("a", 2, "");
    report("b", 5, "");
    running.stop();
    let mut open = Vec::new();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    ledger.open_assigned(|one| open.push(line(one))).unwrap();
    assert_eq!(open, ["a billing lena true", "d frontline max true"]);
    let (connection, _) = open_to_read(&config(folder.path()).path).unwrap();
    let newest = |tickets_max| {
        let mut newest = Vec::new();
        assigned::visit_open(&connection, tickets_max, |one| newest.push(line(one))).unwrap();
        newest
    };
    assert_eq!(newest(1), ["d frontline max true"]);
    assert_eq!(newest(2), open);
    let plan: String = connection
        .query_row(&format!("EXPLAIN QUERY PLAN {}", assigned::NEWEST), [1], |row| row.get("detail"))
        .unwrap();
    assert!(plan.contains("assigned_open"), "{plan}");
}

/// Whoever had it has room for another: at once, and after reports that the desk has missed.
#[test]
fn a_ticket_that_is_pruned_is_nobodys_work_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (running, mut hearing) = telling(folder.path());
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    let solved = |name: &str| {
        let Entry::Ticket(mut ticket) = ticket(name, 500) else { panic!() };
        ticket.assignee =
            Some(Assignee { team: "billing".to_owned(), agent: "lena".to_owned(), ..Assignee::default() });
        Entry::Ticket(ticket)
    };
    running.settle(settlement(1, 0, vec![solved("a"), solved("b"), ticket("c", 1)]));
    let ticket_id = id("b").as_bytes().to_vec();
    let status = proto::TicketStatus { ticket_id, state: 3, ..Default::default() };
    let feedback = Feedback::TicketStatus(id("b"), status.encode_to_vec());
    running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    running.stop();
    hearing.hear(|_| ());

    let (teller, mut hearing) = told::channel(8);
    let age_max = Some(Duration::from_secs(24 * 3600));
    let retention = Retention { age_max, live_bytes_max: None, contacts_age_max: None };
    let running = Running::start_telling(folder.path(), retention, Some(teller));
    let mut heard = Vec::new();
    // The first step is due at once, and one step takes them all.
    for _ in 0..12_000 {
        if !heard.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        hearing.hear(|told| heard.push(told));
    }
    let mut closed = Vec::new();
    running
        .handle
        .assigned(&[id("a"), id("unborn")], |one| closed.push((one.ticket_id, one.is_open)))
        .unwrap();
    running.stop();
    hearing.hear(|told| heard.push(told));
    assert_eq!(heard, [Heard::Told(Told::Stands(id("a"), None))], "of b the desk had heard, c was nobody's");
    assert_eq!(closed, [(id("a"), false)]);
}

/// A helpdesk may speak while the desk looks for whoever takes over.
#[test]
fn what_a_helpdesk_has_said_meanwhile_counts_for_more_than_an_agent_who_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let (running, mut hearing) = telling(folder.path());
    running.settle(settlement(1, 1, vec![of_lena("a"), of_lena("b"), of_lena("c")]));
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    report(&running, "a", 2, "kim", 0);
    report(&running, "b", 3, "", 0);
    hearing.hear(|_| ());
    assign(&running, &["a", "b", "c"].map(id), "billing");
    let seqs: Vec<_> = (4..=6).filter_map(Seq::new).collect();
    let told = running.handle.read(&seqs).unwrap();
    let [(_, Body::Update(update))] = &*told else { panic!("{told:?}") };
    assert_eq!(proto::Update::decode(&**update).unwrap().ticket_id, id("c").as_bytes());
    let mut heard = Vec::new();
    hearing.hear(|told| heard.push(told));
    let kim = Holder { team: "billing".into(), agent: "kim".into(), is_ours: false };
    let expected = [Told::Stands(id("a"), Some(kim)), Told::Stands(id("b"), None)];
    assert_eq!(heard, expected.map(Heard::Told));
    let mut agents = Vec::new();
    running.handle.assigned(&[], |one| agents.push(one.assignee.agent.clone())).unwrap();
    assert_eq!(agents, ["kim", "max"]);
    running.stop();
}

/// Builds before this one noted of a supplier's ticket that any agent might have it.
#[test]
fn what_a_supplier_has_is_given_to_nobody_whatever_was_noted_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (running, mut hearing) = telling(folder.path());
    let of = |name: &str, supplier: &str| {
        let Entry::Ticket(mut ticket) = ticket(name, 500) else { panic!() };
        let (team, supplier) = ("billing".to_owned(), supplier.to_owned());
        let mut message = proto::Ticket::decode(&*ticket.body).unwrap();
        message.assignment =
            Some(proto::Assignment { team: team.clone(), supplier, ..proto::Assignment::default() });
        ticket.body = message.encode_to_vec();
        ticket.assignee = Some(Assignee { team, ..Assignee::default() });
        Entry::Ticket(ticket)
    };
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    running.settle(settlement(1, 1, vec![of("a", "Colis"), of("b", "")]));
    assign(&running, &["a", "b"].map(id), "billing");
    let mut rows = Vec::new();
    let row = |one: &Assigned| (one.assignee.agent.clone(), one.assignee.needs.choice, one.priority);
    running.handle.assigned(&[], |one| rows.push(row(one))).unwrap();
    running.stop();
    let rows: Vec<_> = rows.iter().map(|(agent, choice, priority)| (&**agent, *choice, *priority)).collect();
    assert_eq!(rows, [("", AgentChoice::None, 500), ("max", AgentChoice::Any, 500)]);
    let mut heard = Vec::new();
    hearing.hear(|told| heard.push(told));
    let nobodys = Holder { team: "billing".into(), agent: "".into(), is_ours: false };
    assert_eq!(heard, [Heard::Told(Told::Stands(id("a"), Some(nobodys)))]);
}

/// Decides that these tickets are for max of this team, and waits until that is recorded.
fn assign(running: &Running, tickets: &[TicketId], team: &str) -> proto::Assignment {
    let assignment =
        proto::Assignment { team: team.to_owned(), agent: "max".to_owned(), ..Default::default() };
    let anew = |ticket_id: &TicketId| Anew {
        ticket_id: *ticket_id,
        at: Timestamp::UNIX_EPOCH,
        change: None,
        assignment: Some(assignment.clone()),
        needs: None,
        due: None,
    };
    running.handle.assign(tickets.iter().map(anew).collect()).blocking_recv().unwrap().unwrap();
    assignment
}

fn report(running: &Running, name: &str, state: i32, agent: &str, first_answer_at_us: i64) {
    let id = TicketId::of_post(Network::Bluesky, name);
    let (ticket_id, agent) = (id.as_bytes().to_vec(), agent.to_owned());
    let status = proto::TicketStatus { ticket_id, state, agent, first_answer_at_us, ..Default::default() };
    let feedback = Feedback::TicketStatus(id, status.encode_to_vec());
    running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
}

/// Nothing else says after a restart who suits a ticket whose agent has left, and who has answered its author before.
#[test]
fn what_a_ticket_needs_and_who_answered_are_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let needs = Needs {
        team: "invoices".to_owned(),
        person: u64::MAX - 3,
        skills: vec!["invoices".to_owned(), "two words".to_owned()],
        languages: vec!["de".to_owned(), "fr".to_owned()],
        choice: AgentChoice::Best,
        is_worth_it: true,
    };
    let of = |name: &str, needs: &Needs| {
        let Entry::Ticket(mut ticket) = of_lena(name) else { panic!() };
        ticket.assignee.as_mut().unwrap().needs = needs.clone();
        Entry::Ticket(ticket)
    };
    let person = |person| Needs { person, ..Needs::default() };
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    let tickets = [of("a", &needs), of("b", &person(2)), of("c", &person(3)), of("d", &person(4))];
    running.settle(settlement(1, 1, tickets.to_vec()));
    report(&running, "a", 2, "kim", 50);
    report(&running, "a", 2, "lena", 40);
    report(&running, "b", 3, "", 60);
    report(&running, "d", 3, "max", 70);
    let post = ThreadPost {
        post_id: id("answer"),
        ticket_id: id("c"),
        network: Network::Bluesky,
        author_id: "us".to_owned(),
        watch: 0,
        at: Timestamp::from_microsecond(80).unwrap(),
    };
    let answered = proto::update::Answered::default();
    let erase = Entry::Erase { ticket_id: id("d"), at: Timestamp::UNIX_EPOCH };
    running.settle(settlement(2, 0, vec![Entry::Answer { post, answered }, erase]));
    running.stop();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    let mut open = Vec::new();
    ledger.open_assigned(|one| open.push(one.assignee.needs.clone())).unwrap();
    assert_eq!(open, [needs.clone(), person(3)]);
    let mut answers = Vec::new();
    let answer = |person, agent: &str, at_us| answers.push((person, agent.to_owned(), at_us));
    crate::ledger::assigned::visit_answered(&ledger.connection, 10, answer).unwrap();
    // Nobody is named who answered "b", and the author of "d" has taken back what they said.
    assert_eq!(answers, [(3, "lena".to_owned(), 80), (needs.person, "kim".to_owned(), 50)]);
}

/// An agent's own count may be of the morning.
#[test]
fn tickets_that_an_agent_has_got_rid_of_since_their_own_count_are_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let state = |agent: &str, open_tickets| {
        let state = proto::AgentState { agent: agent.to_owned(), open_tickets, ..Default::default() };
        running
            .handle
            .feedback(Feedback::AgentState(state.encode_to_vec()))
            .blocking_recv()
            .unwrap()
            .unwrap();
    };
    state("lena", 9);
    state("kim", 1);
    running.settle(settlement(1, 1, ["a", "b", "c", "d", "e"].map(of_lena).to_vec()));
    report(&running, "a", 3, "", 0);
    report(&running, "a", 3, "", 0);
    report(&running, "b", 2, "kim", 0);
    report(&running, "c", 2, "lena", 0);
    report(&running, "unknown", 3, "lena", 0);
    let erase =
        Entry::Erase { ticket_id: TicketId::of_post(Network::Bluesky, "d"), at: Timestamp::UNIX_EPOCH };
    running.settle(settlement(2, 0, vec![erase]));
    let relieved = |ledger: &Ledger| {
        let mut relieved = Vec::new();
        ledger.relieved(|agent, tickets| relieved.push((agent.to_owned(), tickets))).unwrap();
        relieved
    };
    running.stop();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    assert_eq!(relieved(&ledger), [("lena".to_owned(), 3)]);
    drop(ledger);
    let running = Running::start(folder.path());
    let state = proto::AgentState { agent: "lena".to_owned(), open_tickets: 9, ..Default::default() };
    running.handle.feedback(Feedback::AgentState(state.encode_to_vec())).blocking_recv().unwrap().unwrap();
    running.stop();
    assert_eq!(relieved(&Ledger::open(config(folder.path())).unwrap()), [], "the same count, said anew");
}

/// All tickets are looked at: nobody who reads bodies waits for that.
#[test]
fn what_the_desk_has_missed_is_read_beside_those_who_deliver() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 1, vec![of_lena("a")]));
    running.handle.feedback(Feedback::AgentState(Vec::new())).blocking_recv().unwrap().unwrap();
    let delivering = running.handle.reader.lock();
    let (sender, read) = std::sync::mpsc::channel();
    let handle = running.handle.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut conversations = 0;
            handle.conversations(10, |_| conversations += 1).unwrap();
            sender.send(conversations).unwrap();
        });
        let read = read.recv_timeout(std::time::Duration::from_secs(30));
        drop(delivering);
        assert_eq!(read, Ok(1));
    });
    running.stop();
}
