//! Clocks of answers: the statements at given times, and the ledger's thread at its own.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::tests::{Running, settlement, ticket};
use super::super::{Body, Entry, NewTicket, Rescoring, Seq, Traits, schema};
use super::*;
use crate::access::brands::Brands;
use crate::ledger::erasure::{self, Erasure};
use crate::ledger::{Records, Retention};
use crate::ledger::{feedback, rescoring};
use crate::parse::Network;

/// A ticket of the post `id`, at risk and due then.
fn watched(id: &str, at_risk_at_us: i64, due_at_us: i64) -> NewTicket {
    let Entry::Ticket(ticket) = ticket(id, 100) else { unreachable!() };
    NewTicket { at_risk_at_us: Some(at_risk_at_us), due_at_us, ..*ticket }
}

fn id(id: &str) -> TicketId {
    TicketId::of_post(Network::Bluesky, id)
}

fn at(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap()
}

fn status(id_of: &str, state: State, first_answer_at_us: i64) -> Feedback {
    let status = proto::TicketStatus {
        ticket_id: id(id_of).as_bytes().to_vec(),
        state: state.into(),
        first_answer_at_us,
        ..proto::TicketStatus::default()
    };
    Feedback::TicketStatus(id(id_of), status.encode_to_vec())
}

/// What helpdesks were told: ticket and state, in order.
fn told(connection: &Connection) -> Vec<(TicketId, Overdue)> {
    let mut statement = connection.prepare("SELECT body FROM record WHERE kind = 1 ORDER BY seq").unwrap();
    let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let overdue = bodies.filter_map(|body| {
        let update = proto::Update::decode(body.unwrap().as_slice()).unwrap();
        let Some(proto::update::Change::Overdue(overdue)) = update.change else { return None };
        Some((TicketId::from_bytes(&update.ticket_id).unwrap(), overdue.state()))
    });
    overdue.collect()
}

/// The tables, with the standing that the thread would show.
struct Ledger {
    connection: Connection,
    standing: Standing,
    alarm: Alarm,
}

impl Ledger {
    /// Of a daemon whose helpdesk has reported something before.
    fn new() -> Ledger {
        let ledger = Ledger::unreported();
        let sql = "INSERT INTO reporting (brand) VALUES ('Lumio')";
        assert_eq!(ledger.connection.execute(sql, []).unwrap(), 1);
        ledger
    }

    fn unreported() -> Ledger {
        let connection = Connection::open_in_memory().unwrap();
        schema::migrate(&connection).unwrap();
        Ledger { connection, standing: Standing::default(), alarm: Alarm::default() }
    }

    /// One commit of the thread at this time.
    fn commit(&mut self, now_us: i64, change: impl FnOnce(&Connection, &mut Changes)) -> usize {
        let mut changes = Changes::default();
        change(&self.connection, &mut changes);
        self.alarm = self.alarm.after(&self.connection, at(now_us), 0, &mut changes).unwrap();
        self.standing.apply(&changes.clocks.moves);
        assert_eq!(self.standing, Standing::read(&self.connection).unwrap(), "counted as it is in the file");
        changes.heads.len()
    }

    fn add(&mut self, now_us: i64, ticket: &NewTicket) {
        self.commit(now_us, |connection, changes| {
            assert!(store::add_ticket(connection, ticket, 0).unwrap().is_some());
            changes.clocks.started(ticket.at_risk_at_us);
        });
    }

    fn report(&mut self, now_us: i64, feedback: &Feedback) {
        self.commit(now_us, |connection, changes| {
            feedback::add_feedback(connection, feedback, at(now_us)).unwrap();
            reported(connection, feedback, at(now_us), changes).unwrap();
        });
    }

    fn pass(&mut self, now_us: i64) -> usize {
        self.commit(now_us, |_, _| ())
    }

    /// It is due then from now on; says whether that is told.
    fn date_anew(&mut self, now_us: i64, of: &str, at_risk_at_us: i64, due_at_us: i64) -> Option<(i64, i64)> {
        let due = DueAnew { at_risk_at: at(at_risk_at_us), due_at: at(due_at_us), danger_at: None };
        self.decide_anew(now_us, of, due)
    }

    fn decide_anew(&mut self, now_us: i64, of: &str, due: DueAnew) -> Option<(i64, i64)> {
        let mut dated = None;
        self.commit(now_us, |connection, changes| {
            dated = date_anew(connection, id(of), &due, at(now_us), 0, changes).unwrap();
        });
        dated
    }

    fn answered_at_us(&self, of: &str) -> Option<i64> {
        let sql = "SELECT answered_at_us FROM ticket WHERE id = ?1";
        self.connection.query_row(sql, [id(of).as_bytes()], |row| row.get(0)).unwrap()
    }
}

fn standing(open: u64, at_risk: u64, breached: u64) -> Standing {
    Standing { open, at_risk, breached }
}

#[test]
fn an_answer_is_at_risk_and_then_late_and_each_is_told_once() {
    let mut ledger = Ledger::new();
    ledger.add(0, &watched("a", 75, 100));
    assert_eq!((ledger.pass(74), ledger.standing), (0, standing(1, 0, 0)));
    assert_eq!((ledger.pass(75), ledger.standing), (1, standing(0, 1, 0)));
    assert_eq!((ledger.pass(75), ledger.pass(99)), (0, 0));
    assert_eq!((ledger.pass(100), ledger.standing), (1, standing(0, 0, 1)));
    assert_eq!((ledger.pass(100), ledger.pass(i64::from(u32::MAX))), (0, 0));
    assert_eq!(told(&ledger.connection), [(id("a"), Overdue::AtRisk), (id("a"), Overdue::Breached)]);
    // What both passed while nobody looked is late, and was not only at risk.
    ledger.add(200, &watched("b", 275, 300));
    assert_eq!(ledger.pass(300), 1);
    assert_eq!(told(&ledger.connection)[2], (id("b"), Overdue::Breached));
    // What nobody watches is never told.
    ledger.add(400, &NewTicket { at_risk_at_us: None, ..watched("c", 0, 410) });
    assert_eq!((ledger.pass(500), ledger.standing), (0, standing(0, 0, 2)));
}

#[test]
fn nobody_is_told_of_late_answers_before_a_helpdesk_has_reported_anything() {
    let mut ledger = Ledger::unreported();
    ledger.add(0, &watched("a", 75, 100));
    ledger.add(0, &watched("b", 75, 200));
    assert_eq!((ledger.pass(120), ledger.standing), (0, standing(0, 1, 1)), "counted all the same");
    ledger.report(120, &status("nobody's", State::Open, 0));
    ledger.report(120, &Feedback::Touchpoint(Vec::new()));
    assert_eq!((ledger.pass(120), ledger.alarm.rings(at(199))), (0, false));
    ledger.report(150, &status("b", State::Open, 0));
    assert_eq!((ledger.pass(200), ledger.standing), (1, standing(0, 0, 2)));
    assert_eq!(told(&ledger.connection), [(id("b"), Overdue::Breached)], "nothing is made up for");
}

/// Another brand's helpdesk says nothing of whether this one's tickets are answered.
#[test]
fn a_helpdesk_speaks_for_its_brand_alone() {
    let mut ledger = Ledger::unreported();
    let other = |name: &str, due_at_us| {
        let ticket = watched(name, 75, due_at_us);
        NewTicket { traits: Traits { brand: "another".into(), ..ticket.traits.clone() }, ..ticket }
    };
    ledger.add(0, &watched("a", 75, 100));
    ledger.add(0, &other("b", 100));
    ledger.add(0, &other("c", 200));
    ledger.report(50, &status("a", State::Open, 0));
    assert_eq!((ledger.pass(100), ledger.standing), (1, standing(0, 1, 2)));
    assert_eq!(told(&ledger.connection), [(id("a"), Overdue::Breached)]);
    ledger.report(150, &status("b", State::Open, 0));
    assert_eq!(ledger.pass(200), 1);
    assert_eq!(told(&ledger.connection)[1], (id("c"), Overdue::Breached));
}

#[test]
fn after_an_outage_nobody_is_told_before_the_sources_can_have_caught_up() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(catching_up(minutes(20)), minutes(2));
    assert_eq!(catching_up(minutes(10_000)), CATCHING_UP_MAX);
    let mut ledger = Ledger::new();
    for name in ["a", "b"] {
        ledger.add(0, &watched(name, 75, 100));
    }
    ledger.alarm = Alarm::read(&ledger.connection, at(1000), Duration::from_micros(500)).unwrap();
    let begun = Instant::now();
    assert_eq!(ledger.alarm.due(at(1000), begun), Some(begun + Duration::from_micros(50)));
    assert_eq!(ledger.pass(1049), 0);
    ledger.commit(1049, |connection, changes| answered(connection, id("a"), at(90), changes).unwrap());
    assert_eq!(ledger.pass(1050), 1);
    assert_eq!(told(&ledger.connection), [(id("b"), Overdue::Breached)]);
    // A clock that is set back makes it no longer.
    ledger.add(1100, &watched("c", 1175, 1200));
    ledger.alarm = Alarm::read(&ledger.connection, at(5_000_000_000), minutes(1)).unwrap();
    assert!(!ledger.alarm.rings(at(5_000_000_000)));
    assert!(ledger.alarm.rings(at(1_000_000_000)));
}

#[test]
fn how_long_no_vigie_was_there_says_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    assert_eq!(away(&path, now), Duration::ZERO);
    std::fs::File::create(&path).unwrap().set_modified(now - hour).unwrap();
    assert_eq!(away(&path, now).as_secs(), 3600);
    let log = std::fs::File::create(folder.path().join("ledger.sqlite-wal")).unwrap();
    log.set_modified(now - hour / 2).unwrap();
    assert_eq!(away(&path, now).as_secs(), 1800);
    log.set_modified(now + hour).unwrap();
    assert_eq!(away(&path, now), Duration::ZERO);
}

#[test]
fn a_clock_stands_still_once_somebody_answered_or_the_helpdesk_is_done() {
    for (state, first_answer_at_us, stands) in [
        (State::Pending, 0, true),
        (State::Solved, 0, true),
        (State::Closed, 0, true),
        (State::Deleted, 0, true),
        (State::Open, 40, true),
        (State::Unspecified, 40, true),
        (State::Open, 0, false),
        (State::Unspecified, 0, false),
    ] {
        let mut ledger = Ledger::new();
        ledger.add(0, &watched("a", 75, 100));
        ledger.report(50, &status("a", state, first_answer_at_us));
        let expected = if stands { standing(0, 0, 0) } else { standing(1, 0, 0) };
        assert_eq!(ledger.standing, expected, "{state:?} {first_answer_at_us}");
        assert_eq!(ledger.pass(1000), usize::from(!stands), "{state:?} {first_answer_at_us}");
        assert_eq!(ledger.answered_at_us("a"), Some(first_answer_at_us).filter(|at| *at > 0));
    }
}

#[test]
fn the_first_of_several_answers_counts_and_none_lies_ahead() {
    let mut ledger = Ledger::new();
    ledger.add(0, &watched("a", 75, 100));
    for (now_us, first_answer_at_us, expected) in [(50, 999, 50), (60, 45, 45), (70, 55, 45)] {
        ledger.report(now_us, &status("a", State::Open, first_answer_at_us));
        assert_eq!(ledger.answered_at_us("a"), Some(expected));
    }
    ledger.commit(80, |connection, changes| answered(connection, id("a"), at(30), changes).unwrap());
    assert_eq!((ledger.answered_at_us("a"), ledger.standing), (Some(30), standing(0, 0, 0)));
    ledger.add(80, &watched("b", 175, 200));
    ledger.commit(90, |connection, changes| {
        answered(connection, id("b"), at(85), changes).unwrap();
        answered(connection, id("nobody's"), at(85), changes).unwrap();
    });
    assert_eq!((ledger.pass(1000), ledger.answered_at_us("b")), (0, Some(85)));
}

#[test]
fn a_ticket_that_is_opened_again_without_an_answer_is_waited_for_again() {
    let mut ledger = Ledger::new();
    ledger.add(0, &watched("a", 75, 100));
    ledger.add(0, &watched("b", 75, 100));
    ledger.report(50, &status("a", State::Solved, 0));
    ledger.report(50, &status("b", State::Solved, 45));
    ledger.report(60, &status("a", State::Open, 0));
    ledger.report(60, &status("b", State::Open, 0));
    assert_eq!(ledger.standing, standing(1, 0, 0));
    assert_eq!(ledger.pass(80), 1);
    ledger.report(90, &status("a", State::Closed, 0));
    assert_eq!(ledger.pass(110), 0);
    ledger.report(120, &status("a", State::Open, 0));
    assert_eq!(ledger.pass(120), 0, "told with the report's own commit");
    assert_eq!(told(&ledger.connection), [(id("a"), Overdue::AtRisk), (id("a"), Overdue::Breached)]);
    ledger.report(130, &status("a", State::Closed, 0));
    ledger.report(140, &status("a", State::Open, 0));
    assert_eq!((ledger.pass(1000), ledger.standing), (0, standing(0, 0, 1)), "and never twice");
}

#[test]
fn an_answer_that_is_due_at_another_time_is_late_by_that_one() {
    let mut ledger = Ledger::new();
    ledger.add(0, &watched("a", 75, 100));
    assert_eq!(ledger.date_anew(10, "a", 75, 100), None, "due when it was");
    // Sooner, and at risk already; the alarm wakes for the next.
    assert_eq!(ledger.date_anew(20, "a", 15, 30), Some((30, 15)));
    assert_eq!((ledger.standing, ledger.alarm.rings(at(29))), (standing(0, 1, 0), false));
    assert_eq!(ledger.date_anew(25, "a", 16, 32), Some((32, 16)));
    assert_eq!((ledger.pass(31), ledger.pass(32), ledger.standing), (0, 1, standing(0, 0, 1)));
    // What is late stays late, and what has time again is told again.
    assert_eq!(ledger.date_anew(40, "a", 17, 33), Some((33, 17)));
    assert_eq!((ledger.pass(40), ledger.standing), (0, standing(0, 0, 1)));
    assert_eq!(ledger.date_anew(50, "a", 45, 60), Some((60, 45)));
    assert_eq!((ledger.pass(50), ledger.standing), (0, standing(0, 1, 0)), "once at risk, not twice");
    assert_eq!(ledger.date_anew(55, "a", 70, 90), Some((90, 70)));
    assert_eq!(ledger.standing, standing(1, 0, 0));
    assert_eq!((ledger.pass(70), ledger.pass(90)), (1, 1));
    let a = |state| (id("a"), state);
    let states = [Overdue::AtRisk, Overdue::Breached, Overdue::AtRisk, Overdue::Breached].map(a);
    assert_eq!(told(&ledger.connection), states);
    // What has passed all of it at once is late, in the same commit.
    ledger.add(100, &watched("b", 175, 200));
    assert_eq!(ledger.date_anew(150, "b", 110, 120), Some((120, 110)));
    assert_eq!(told(&ledger.connection)[4..], [(id("b"), Overdue::Breached)]);
}

#[test]
fn nobody_is_given_another_time_who_has_an_answer_and_a_clock_that_stands_goes_on_by_the_new_one() {
    let mut ledger = Ledger::new();
    ledger.add(0, &watched("answered", 75, 100));
    ledger.report(10, &status("answered", State::Open, 5));
    assert_eq!(ledger.date_anew(20, "answered", 15, 30), None);
    ledger.add(0, &watched("pending", 75, 100));
    ledger.report(10, &status("pending", State::Pending, 0));
    assert_eq!(ledger.date_anew(20, "pending", 15, 30), Some((30, 15)));
    assert_eq!((ledger.pass(40), ledger.standing), (0, standing(0, 0, 0)));
    ledger.report(50, &status("pending", State::Open, 0));
    assert_eq!(told(&ledger.connection), [(id("pending"), Overdue::Breached)]);
    // Nobody watches it, and nobody does from then on.
    ledger.add(60, &NewTicket { at_risk_at_us: None, ..watched("c", 0, 100) });
    assert_eq!(ledger.date_anew(60, "c", 70, 80), Some((80, 0)));
    assert_eq!((ledger.pass(90), ledger.date_anew(60, "nobody's", 70, 80)), (0, None));
}

#[test]
fn who_is_in_danger_after_an_answer_is_waited_for_again() {
    let mut ledger = Ledger::new();
    ledger.add(0, &watched("a", 75, 100));
    ledger.report(50, &status("a", State::Open, 40));
    let danger = |at_us: i64| DueAnew {
        at_risk_at: at(at_us + 10),
        due_at: at(at_us + 20),
        danger_at: Some(at(at_us)),
    };
    assert_eq!(ledger.decide_anew(60, "a", danger(45)), None, "the clock stands since 50");
    assert_eq!(ledger.decide_anew(210, "a", danger(200)), Some((220, 210)));
    assert_eq!(ledger.standing, standing(0, 1, 0), "at risk at once");
    // The helpdesk tells of the first answer as often as anything changes; that is none to this.
    ledger.report(212, &status("a", State::Open, 40));
    ledger.commit(213, |connection, changes| answered(connection, id("a"), at(30), changes).unwrap());
    assert_eq!((ledger.pass(220), ledger.standing), (1, standing(0, 0, 1)));
    let a = |state| (id("a"), state);
    assert_eq!(told(&ledger.connection), [Overdue::AtRisk, Overdue::Breached].map(a));
    ledger.commit(230, |connection, changes| answered(connection, id("a"), at(230), changes).unwrap());
    assert_eq!((ledger.answered_at_us("a"), ledger.standing), (Some(30), standing(0, 0, 0)));
    // What is decided of it again is answered by now; what a helpdesk has done with is, too.
    assert_eq!(ledger.decide_anew(240, "a", danger(201)), None);
    assert_eq!(ledger.decide_anew(300, "a", danger(290)), Some((310, 300)));
    ledger.report(305, &status("a", State::Pending, 30));
    assert_eq!((ledger.pass(400), ledger.standing), (0, standing(0, 0, 0)));
    // Whoever had no clock gets none.
    ledger.add(400, &NewTicket { at_risk_at_us: None, ..watched("c", 0, 500) });
    ledger.report(410, &status("c", State::Open, 405));
    assert_eq!(ledger.decide_anew(430, "c", danger(420)), Some((440, 0)));
    assert_eq!((ledger.pass(600), ledger.standing), (0, standing(0, 0, 0)));
}

#[test]
fn nobody_waits_for_an_answer_to_what_was_erased_or_was_no_message() {
    let mut ledger = Ledger::new();
    for name in ["erased", "unsupported", "rescored"] {
        ledger.add(0, &NewTicket { provisional: true, ..watched(name, 75, 100) });
    }
    ledger.commit(50, |connection, changes| {
        erasure::erase(connection, id("erased"), Erasure::PostDeleted, at(50), 0, changes).unwrap();
    });
    for (name, unsupported) in [("unsupported", true), ("rescored", false)] {
        let change = proto::update::Rescored { unsupported, ..proto::update::Rescored::default() };
        let rescoring = Rescoring {
            ticket_id: id(name),
            at: at(50),
            change: Some(Box::new(change)),
            terms: crate::desk::Config::default().terms(""),
        };
        ledger.commit(50, |connection, changes| {
            rescoring::rescore(connection, &rescoring, 0, changes).unwrap();
        });
    }
    assert_eq!(ledger.standing, standing(1, 0, 0));
    // The helpdesk does not know.
    for name in ["erased", "unsupported"] {
        ledger.report(60, &status(name, State::Solved, 0));
        ledger.report(61, &status(name, State::Open, 0));
    }
    assert_eq!((ledger.pass(1000), told(&ledger.connection)), (1, vec![(id("rescored"), Overdue::Breached)]));
}

#[test]
fn a_report_of_another_brand_or_of_no_ticket_of_ours_stops_no_clock() {
    let mut ledger = Ledger::new();
    ledger.add(0, &watched("a", 75, 100));
    let Feedback::TicketStatus(ticket_id, body) = status("a", State::Solved, 0) else { unreachable!() };
    let of = |brand: &str| Feedback::TicketStatusWithin {
        ticket_id,
        body: body.clone(),
        brands: Brands::new([brand.to_owned()]).unwrap(),
    };
    ledger.report(50, &of("Another"));
    ledger.report(50, &status("nobody's", State::Solved, 0));
    assert_eq!(ledger.standing, standing(1, 0, 0));
    ledger.report(50, &of("Lumio"));
    assert_eq!(ledger.standing, standing(0, 0, 0));
}

#[test]
fn a_backlog_is_told_in_parts_the_alarm_ringing_until_it_is_done() {
    let mut ledger = Ledger::new();
    let count = 2 * TOLD_MAX + 3;
    (0..count).for_each(|number| ledger.add(0, &watched(&number.to_string(), 75, 100)));
    let parts: Vec<_> = std::iter::from_fn(|| Some(ledger.pass(90)).filter(|told| *told > 0)).collect();
    assert_eq!(parts, [TOLD_MAX, TOLD_MAX, 3]);
    assert_eq!(ledger.standing, standing(0, count as u64, 0));
    assert!(!ledger.alarm.rings(at(99)) && ledger.alarm.rings(at(100)));
    let now = Instant::now();
    assert_eq!(ledger.alarm.due(at(90), now), Some(now + Duration::from_micros(10)));
    assert_eq!(ledger.alarm.due(at(-90_000_000), now), Some(now + LOOK_EVERY), "the clock was set back");
    assert_eq!(Alarm::default().due(at(0), now), None);
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    Report(u8, i32, bool),
    Erase(u8),
    DateAnew(u8, i64),
    Pass,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens in whatever order: no state is told twice, none after a later one, and the counts are right
    /// after each commit, which [`Ledger::commit`] checks.
    #[test]
    fn no_state_is_ever_told_twice(
        steps in prop::collection::vec(
            (
                prop_oneof![
                    (0..6_u8).prop_map(Step::Add),
                    (0..6_u8, 0..6_i32, any::<bool>()).prop_map(|(of, state, answered)| Step::Report(of, state, answered)),
                    (0..6_u8).prop_map(Step::Erase),
                    (0..6_u8, 1..120_i64).prop_map(|(of, in_us)| Step::DateAnew(of, in_us)),
                    Just(Step::Pass),
                ],
                0..40_i64,
            ),
            1..60,
        ),
    ) {
        let mut ledger = Ledger::new();
        let mut now_us = 1;
        let mut known = std::collections::BTreeSet::new();
        let mut dated = Vec::new();
        for (step, by) in steps {
            now_us += by;
            match step {
                Step::Add(of) if known.insert(of) => {
                    ledger.add(now_us, &watched(&of.to_string(), now_us + 50, now_us + 100));
                }
                Step::Report(of, state, answered) => {
                    let state = State::try_from(state).unwrap();
                    ledger.report(now_us, &status(&of.to_string(), state, if answered { now_us } else { 0 }));
                }
                Step::Erase(of) => {
                    let name = of.to_string();
                    ledger.commit(now_us, |connection, changes| {
                        erasure::erase(connection, id(&name), Erasure::PostDeleted, at(now_us), 0, changes).unwrap();
                    });
                }
                Step::DateAnew(of, in_us) => {
                    // By the new time nothing has passed yet: all of it may be told.
                    let (name, due_at_us) = (of.to_string(), now_us + in_us);
                    let before = told(&ledger.connection).len();
                    if ledger.date_anew(now_us, &name, now_us + 1, due_at_us).is_some() {
                        dated.push((before, id(&name)));
                    }
                }
                Step::Add(_) | Step::Pass => _ = ledger.pass(now_us),
            }
        }
        let mut last = BTreeMap::new();
        for (place, (ticket, state)) in told(&ledger.connection).into_iter().enumerate() {
            for (_, anew) in dated.iter().filter(|(from, _)| *from == place) {
                last.remove(anew.as_bytes().as_slice());
            }
            let before = last.insert(ticket.as_bytes().to_vec(), state as i32);
            prop_assert!(before.is_none_or(|before| before < state as i32), "{ticket:?}: {state:?}");
        }
    }
}

/// In an hour, µs since 1970.
fn in_an_hour() -> i64 {
    Timestamp::now().as_microsecond() + 3_600_000_000
}

fn updates(running: &Running) -> Vec<(TicketId, Overdue)> {
    let seqs: Vec<_> = (1..100).filter_map(Seq::new).collect();
    let bodies = running.handle.read(&seqs).unwrap().into_iter();
    bodies
        .filter_map(|(_, body)| {
            let Body::Update(bytes) = body else { return None };
            let update = proto::Update::decode(bytes.as_slice()).unwrap();
            let Some(proto::update::Change::Overdue(overdue)) = update.change else { return None };
            Some((TicketId::from_bytes(&update.ticket_id)?, overdue.state()))
        })
        .collect()
}

/// Waits until the thread has told as much.
fn until_told(running: &Running, count: usize) -> Vec<(TicketId, Overdue)> {
    let begun = Instant::now();
    loop {
        let told = updates(running);
        if told.len() >= count {
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(600), "{told:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The figures follow a moment after the commit.
fn until_standing(running: &Running, expected: Standing) {
    let begun = Instant::now();
    while running.handle.figures().standing != expected {
        assert!(begun.elapsed() < Duration::from_secs(600), "{:?}", running.handle.figures().standing);
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_thread_tells_each_state_once_across_restarts_and_wakes_up_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("desk", false);
    let entry = |ticket: NewTicket| Entry::Ticket(Box::new(ticket));
    // One at risk at once, one while the thread sleeps: it has nothing else to wake up for.
    let reported = NewTicket { at_risk_at_us: None, ..watched("reported", 0, 0) };
    running.settle(settlement(0, 0, vec![entry(reported)]));
    running.handle.feedback(status("reported", State::Open, 0)).blocking_recv().unwrap().unwrap();
    let soon = Timestamp::now().as_microsecond() + 300_000;
    running.settle(settlement(1, 0, vec![entry(watched("a", 1, in_an_hour()))]));
    assert_eq!(until_told(&running, 1), [(id("a"), Overdue::AtRisk)]);
    running.settle(settlement(2, 0, vec![entry(watched("b", soon, in_an_hour()))]));
    assert_eq!(until_told(&running, 2)[1], (id("b"), Overdue::AtRisk));
    until_standing(&running, standing(0, 2, 0));
    let tickets = running.take("desk");
    running.acknowledge("desk", &tickets);
    assert_eq!((tickets.len(), running.take("desk").len()), (3, 2), "delivered as other updates are");
    running.stop();

    // As if the hour had passed meanwhile.
    let pass = |of: &str| {
        let file = Connection::open(folder.path().join("ledger.sqlite")).unwrap();
        let sql = "UPDATE ticket SET due_at_us = 2, next_at_us = 2 WHERE id = ?1";
        assert_eq!(file.execute(sql, [id(of).as_bytes()]).unwrap(), 1);
    };
    pass("a");
    let running = Running::start(folder.path());
    assert_eq!(until_told(&running, 3)[2], (id("a"), Overdue::Breached));
    until_standing(&running, standing(0, 1, 1));
    // Answered before it is late.
    running.handle.feedback(status("b", State::Open, 5)).blocking_recv().unwrap().unwrap();
    running.stop();

    pass("b");
    let running = Running::start(folder.path());
    // Whatever this commit finds to tell is told with it.
    running.settle(settlement(3, 0, vec![entry(watched("c", 1, 2))]));
    assert_eq!(until_told(&running, 4)[3], (id("c"), Overdue::Breached));
    until_standing(&running, standing(0, 0, 2));
    running.stop();
}

#[test]
fn a_pruned_ticket_takes_its_clock_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let retention =
        Retention { age_max: Some(Duration::from_secs(3600)), live_bytes_max: None, contacts_age_max: None };
    // Nothing is pruned before the next start.
    let running = Running::start(folder.path());
    let in_time = watched("a", in_an_hour(), in_an_hour());
    let done = watched("b", in_an_hour(), in_an_hour());
    let fresh = NewTicket { created_at: Timestamp::now(), ..watched("c", in_an_hour(), in_an_hour()) };
    let entries = [in_time, done, fresh].map(|ticket| Entry::Ticket(Box::new(ticket)));
    running.settle(settlement(1, 0, entries.into()));
    running.handle.feedback(status("b", State::Closed, 0)).blocking_recv().unwrap().unwrap();
    running.stop();
    let running = Running::start_with(folder.path(), retention);
    let begun = Instant::now();
    while running.handle.figures().tickets_pruned < 2 {
        assert!(begun.elapsed() < Duration::from_secs(600));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(running.handle.figures().standing, standing(1, 0, 0));
    running.stop();
    let file = Connection::open(folder.path().join("ledger.sqlite")).unwrap();
    assert_eq!(Standing::read(&file).unwrap(), standing(1, 0, 0));
}
