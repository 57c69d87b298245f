//! Deliveries against a helpdesk in memory that fails and a bridge that dies, at any moment.

mod world;

use std::collections::VecDeque;

use proptest::prelude::*;

use self::world::*;
use super::run::REFUSED_IN_ROW_MAX;
use super::*;
use crate::bridge::http::CallError;
use crate::bridge::text::{About, Fields, FourByte, Language};
use crate::ticket::proto::update::{self, Change};
use crate::ticket::proto::{Update, delivery};

#[test]
fn a_ticket_is_made_once_and_a_delivery_that_comes_again_asks_for_no_call() {
    let mut trial = Trial::new(World::default());
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.calls(), ["create", "complete"]);
    trial.restart();
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.whole(2, &followed_up("a", "b", 1)), End::Ack);
    assert_eq!(trial.calls(), ["reprioritise", "note"]);
    assert_eq!(trial.whole(2, &followed_up("a", "b", 1)), End::Ack);
    assert_eq!(trial.calls(), [""; 0]);
    assert_eq!(trial.world.0.lock().tickets[&1].level, "P1");
}

#[test]
fn what_follows_a_ticket_is_in_its_language() {
    let mut trial = Trial::new(World::default());
    let in_french = |name: &str| {
        let delivery::Record::Ticket(mut french) = ticket(name) else { panic!() };
        french.post.as_mut().unwrap().language = "fr".to_owned();
        delivery::Record::Ticket(french)
    };
    trial.whole(1, &in_french("a"));
    trial.restart();
    trial.whole(2, &change("a", Change::Answered(update::Answered::default())));
    let note = |trial: &Trial| trial.world.0.lock().tickets[&1].notes.values().next_back().unwrap().clone();
    assert!(note(&trial).contains("réponse") || note(&trial).contains("répondu"), "{}", note(&trial));
    // Somebody else joins in, in English: the agent is the same.
    let delivery::Record::Update(mut joined) = followed_up("a", "b", 2) else { panic!() };
    if let Some(Change::FollowedUp(followed)) = &mut joined.change {
        followed.post.as_mut().unwrap().language = "en".to_owned();
    }
    trial.whole(3, &delivery::Record::Update(joined));
    assert!(note(&trial).contains("Nouveau message"), "{}", note(&trial));
    trial.whole(4, &change("a", erased()));
    let body = trial.world.0.lock().tickets[&1].body.clone();
    assert!(body.contains("retiré"), "{body}");
    // One that was found after nobody knew.
    trial.world.0.lock().script = [Some(Fault::Unclear(true))].into();
    trial.whole(5, &in_french("c"));
    trial.whole(6, &change("c", erased()));
    assert!(trial.world.0.lock().tickets.values().all(|there| there.body.contains("retiré")));
}

#[test]
fn what_was_forgotten_is_looked_for_before_it_is_made_again() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    {
        let cases = &trial.bridge.as_ref().unwrap().shared.cases;
        let ended = Fact::Read { again_at_us: None };
        cases.lock().apply(id("a"), &[ended], BEGIN_US + 2).unwrap();
        assert_eq!(cases.lock().prune(BEGIN_US + 3, true, 9).unwrap(), 1);
    }
    trial.calls();
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.calls(), ["find", "complete"]);
    assert_eq!(trial.world.0.lock().tickets.len(), 1);
}

#[test]
fn after_an_unclear_end_it_looks_before_it_makes_another() {
    let check = |fault: Fault, expected: &[&str], made: (u64, u64)| {
        let mut trial = Trial::new(World { script: [Some(fault)].into(), ..World::default() });
        if let End::Early(wait) = trial.whole(1, &ticket("a")) {
            assert_eq!(wait, SETTLE);
            assert_eq!(trial.counts().refused, 0, "nothing is wrong");
            trial.pass(SETTLE);
            assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
        }
        assert_eq!(trial.calls(), expected);
        let counts = trial.counts();
        assert_eq!((counts.made, counts.adopted), made);
        assert_eq!(trial.world.0.lock().tickets.len(), 1);
    };
    check(Fault::Unclear(true), &["create", "find", "complete"], (0, 1));
    check(Fault::Unclear(false), &["create", "find", "find", "create", "complete"], (1, 0));
}

#[test]
fn what_is_done_after_it_was_given_up_is_found() {
    let late_us = SETTLE_US - 1;
    let mut trial = Trial::new(World { script: [Some(Fault::Late(late_us))].into(), ..World::default() });
    assert_eq!(trial.whole(1, &ticket("a")), End::Early(SETTLE));
    trial.pass(SETTLE);
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!((trial.counts().adopted, trial.world.0.lock().tickets.len()), (1, 1));

    // The bridge dies while the call is under way and is back at once.
    let mut trial = Trial::new(World { script: [Some(Fault::Late(late_us))].into(), ..World::default() });
    assert_eq!(trial.deliver(1, &ticket("a"), 2), None, "it has died");
    assert_eq!(trial.world.0.lock().tickets.len(), 1);
    assert_eq!(trial.whole(1, &ticket("a")), End::Early(SETTLE));
    trial.pass(SETTLE);
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!((trial.counts().adopted, trial.world.0.lock().tickets.len()), (1, 1));
}

#[test]
fn what_ends_unclear_again_and_again_comes_later_each_time() {
    let mut trial = Trial::new(World::default());
    let mut waits = Vec::new();
    for _ in 0..5 {
        trial.world.0.lock().script = [Some(Fault::Unclear(false))].into();
        if !waits.is_empty() {
            trial.world.0.lock().script.push_front(None);
        }
        match trial.whole(1, &ticket("a")) {
            End::Early(wait) | End::Back(wait, _) => waits.push(wait),
            other => panic!("{other:?}"),
        }
        trial.pass(*waits.last().unwrap());
    }
    assert!(waits[0] == SETTLE && waits.is_sorted() && waits[4] > SETTLE * 10, "{waits:?}");
    assert_eq!(trial.counts().refused, 4);
}

/// Where nobody can look, too: each is counted once, or an urgent one would wait for hours after three.
#[test]
fn without_a_search_what_ends_unclear_comes_later_by_the_same_steps() {
    let script = std::iter::repeat_n(Some(Fault::Unclear(false)), 5).collect();
    let mut trial = Trial::new(World { cannot_find: true, script, ..World::default() });
    let waits = std::array::from_fn(|_| match trial.whole(1, &ticket("a")) {
        End::Back(wait, _) => wait.as_secs(),
        other => panic!("{other:?}"),
    });
    assert_eq!(waits, [1, 4, 16, 64, 256]);
}

#[test]
fn a_search_that_lags_is_asked_again_when_it_must_know() {
    let world = World { script: [Some(Fault::Unclear(true))].into(), lag_us: 5_000_000, ..World::default() };
    let mut trial = Trial::new(world);
    let wait = SETTLE + Duration::from_secs(5);
    assert_eq!(trial.whole(1, &ticket("a")), End::Early(wait));
    trial.pass(wait);
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!((trial.counts().adopted, trial.world.0.lock().tickets.len()), (1, 1));
}

#[test]
fn of_two_the_oldest_stays_and_the_other_is_counted() {
    let mut trial = Trial::new(World { script: [Some(Fault::Unclear(true))].into(), ..World::default() });
    // Somebody else, such as an older case store, has made one before.
    let there = There { reference: id("a").to_string(), ..There::default() };
    trial.world.0.lock().tickets.insert(0, there);
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!((trial.counts().adopted, trial.counts().doubled), (1, 1));
    let cases = trial.bridge.as_ref().unwrap().shared.cases.lock();
    assert_eq!(cases.get(id("a")).unwrap().unwrap().place.unwrap().id, "0");
}

#[test]
fn a_ticket_that_an_older_file_may_know_is_looked_for() {
    let mut trial = Trial::new(World::default());
    let there = There { reference: id("a").to_string(), ..There::default() };
    trial.world.0.lock().tickets.insert(7, there);
    let delivery::Record::Ticket(mut old) = ticket("a") else { panic!() };
    old.created_at_us = BEGIN_US - 1;
    assert_eq!(trial.whole(1, &delivery::Record::Ticket(old)), End::Ack);
    assert_eq!(trial.calls(), ["find", "complete"]);
    // A change of a ticket that only the helpdesk knows.
    let there = There { reference: id("b").to_string(), ..There::default() };
    trial.world.0.lock().tickets.insert(8, there);
    assert_eq!(trial.whole(2, &followed_up("b", "c", 1)), End::Ack);
    assert_eq!(trial.calls(), ["find", "reprioritise", "note"]);
}

#[test]
fn what_is_refused_comes_later_each_time_and_holds_up_nobody() {
    let refused = std::iter::repeat_n(Some(Fault::Refused(422)), 3);
    let mut trial = Trial::new(World { script: refused.collect(), ..World::default() });
    let mut waits = Vec::new();
    for _ in 0..3 {
        let End::Back(wait, _) = trial.whole(1, &ticket("a")) else { panic!() };
        waits.push(wait.as_secs());
        trial.restart();
    }
    assert_eq!(waits[0], 1);
    // The first refusal had no entry to be counted in but that of the attempt.
    assert!(waits.is_sorted() && waits[2] > waits[0], "{waits:?}");
    assert_eq!(trial.whole(2, &ticket("b")), End::Ack);
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.world.0.lock().tickets.len(), 2);
}

#[test]
fn a_helpdesk_that_takes_nothing_is_waited_for() {
    for fault in [Fault::Refused(401), Fault::Refused(404), Fault::NotSent, Fault::Limited] {
        // Whatever it is asked.
        let mut trial = Trial::new(World { script: vec![Some(fault); 2].into(), ..World::default() });
        assert!(matches!(trial.whole(1, &ticket("a")), End::Hold(_)));
        trial.calls();
        trial.world.0.lock().script.clear();
        assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
        assert_eq!(trial.calls(), ["create", "complete"], "it is known that nothing was done");
        assert_eq!(trial.counts().refused, 0);
    }
    // Nobody answers: after a few of them it is not the tickets' fault.
    let silent = std::iter::repeat_n(Some(Fault::Unclear(false)), 9);
    let mut trial = Trial::new(World { script: silent.collect(), ..World::default() });
    let ends: Vec<End> = (1..=3).map(|seq| trial.whole(seq, &ticket(&seq.to_string()))).collect();
    assert!(matches!(&ends[..], [End::Back(..), End::Hold(_), End::Hold(_)]), "{ends:?}");
}

#[test]
fn the_limit_of_one_ticket_holds_up_no_other_and_is_no_refusal() {
    let mut trial = Trial::new(World::default());
    let wait = Duration::from_secs(600);
    trial.world.0.lock().script = [Some(Fault::LimitedAlone(600))].into();
    assert!(matches!(trial.whole(1, &ticket("a")), End::Back(after, _) if after == wait), "none is made");
    trial.world.0.lock().script = [None, Some(Fault::LimitedAlone(600))].into();
    assert!(
        matches!(trial.whole(1, &ticket("a")), End::Back(after, _) if after == wait),
        "made, without its label"
    );
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.calls(), ["create", "create", "complete", "complete"]);
    // However often: it is not refused, and agents do not do without.
    for seq in (2..20).cycle().take(REFUSED_IN_ROW_MAX * 20) {
        trial.world.0.lock().script = [Some(Fault::LimitedAlone(9_000))].into();
        let note = change("a", Change::Answered(update::Answered::default()));
        let End::Back(after, why) = trial.whole(seq, &note) else { panic!("others wait") };
        assert!(after <= Duration::from_secs(3600) && why.contains("of this kind"), "{after:?} {why}");
    }
    let refused = trial.bridge.as_ref().unwrap().health.lock().refused.len();
    assert_eq!((refused, trial.counts().refused), (1, 0), "one ticket");
    trial.world.0.lock().script = [Some(Fault::LimitedAlone(600))].into();
    assert!(matches!(trial.whole(30, &change("a", erased())), End::Back(..)));
    assert_eq!(trial.unerased(), 0, "nothing is refused");
    assert_eq!(trial.whole(30, &change("a", erased())), End::Ack);
}

#[test]
fn changes_that_are_refused_for_good_do_not_hold_up_an_erasure() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().script = std::iter::repeat_n(Some(Fault::Refused(422)), 6).collect();
    let note = change("a", Change::Answered(update::Answered::default()));
    let ends: Vec<bool> = (0..6).map(|_| trial.whole(2, &note) == End::Ack).collect();
    assert_eq!(ends, [false, false, false, false, false, true]);
    for _ in 0..20 {
        trial.world.0.lock().script = [None, Some(Fault::Refused(422))].into();
        assert_ne!(trial.whole(3, &change("a", erased())), End::Ack, "erasures are tried for longer");
        assert_eq!(trial.unerased(), 1);
    }
    assert_eq!(trial.whole(3, &change("a", erased())), End::Ack);
    assert_eq!((trial.counts().erased, trial.unerased()), (1, 0));
}

#[test]
fn an_erasure_that_is_refused_for_a_day_is_left_to_people() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.whole(2, &followed_up("a", "b", 2));
    trial.whole(3, &followed_up("a", "c", 2));
    let (mut waited, mut tries) = (Duration::ZERO, 0);
    loop {
        trial.world.0.lock().script = [None, Some(Fault::Refused(200)), Some(Fault::Refused(200))].into();
        tries += 1;
        match trial.whole(4, &change("a", erased())) {
            End::Back(again, _) => waited += again,
            end => break assert_eq!(end, End::Ack),
        }
    }
    let hours = waited.as_secs() / 3600;
    assert!((20..30).contains(&hours) && tries < 40, "{tries} tries within {hours} h");
    assert_eq!((trial.counts().erased, trial.unerased()), (0, 1));
    let world = trial.world.0.lock();
    let there = &world.tickets[&1];
    assert!(there.body.contains("secret"), "it stays");
    let notes: Vec<bool> = there.notes.values().map(|note| note.contains("secret")).collect();
    assert_eq!(notes, [true, false, false], "what can be erased is, and agents are told once");
    let told = there.notes.values().next_back().unwrap();
    assert!(told.contains("still in this ticket") && told.contains("an administrator must"), "{told}");
}

#[test]
fn what_follows_a_change_that_is_refused_comes_all_the_same() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    let mut ends = Vec::new();
    while ends.last() != Some(&true) {
        trial.world.0.lock().script = [Some(Fault::Refused(200))].into();
        ends.push(trial.whole(2, &followed_up("a", "b", 1)) == End::Ack);
    }
    assert_eq!(ends.len(), 6);
    let world = trial.world.0.lock();
    assert_eq!(world.tickets[&1].notes.len(), 1, "the priority is refused, and agents read what was posted");
}

#[test]
fn of_a_merged_ticket_only_its_own_part_is_erased() {
    for is_noticed in [false, true] {
        let mut trial = Trial::new(World::default());
        trial.whole(1, &ticket("a"));
        trial.whole(2, &ticket("b"));
        trial.whole(3, &followed_up("a", "c", 2));
        {
            let mut world = trial.world.0.lock();
            world.merged.insert(1, 2);
            let of_a = world.tickets.remove(&1).unwrap();
            world.tickets.get_mut(&2).unwrap().notes.extend(of_a.notes);
        }
        if is_noticed {
            let moved = Fact::Moved { id: "2".to_owned() };
            trial
                .bridge
                .as_ref()
                .unwrap()
                .shared
                .cases
                .lock()
                .apply(id("a"), &[moved], BEGIN_US + 2)
                .unwrap();
        }
        let text = |trial: &Trial| trial.world.0.lock().tickets[&2].body.clone();
        assert_eq!(trial.whole(4, &change("a", erased())), End::Ack);
        assert!(text(&trial).contains("secret"), "it is the other's");
        assert_eq!((trial.counts().erased, trial.unerased()), (0, 1));
        {
            let world = trial.world.0.lock();
            let notes: Vec<&String> = world.tickets[&2].notes.values().collect();
            assert!(notes.iter().all(|note| !note.contains("secret")), "{notes:?}");
            assert!(notes.last().unwrap().contains("an administrator must"), "{notes:?}");
        }
        // What is left is the other's alone, and all that is ours goes with it.
        assert_eq!(trial.whole(5, &change("b", erased())), End::Ack);
        assert!(!text(&trial).contains("secret"));
        assert_eq!((trial.counts().erased, trial.unerased()), (1, 1));
        // What is told of it is no process's own.
        trial.restart();
        assert_eq!(trial.whole(4, &change("a", erased())), End::Ack);
        assert_eq!(trial.unerased(), 1, "an acknowledgement that was lost changes nothing");
        // Agents delete it, and the text with it.
        let cases = &trial.bridge.as_ref().unwrap().shared.cases;
        cases.lock().apply(id("a"), &[Fact::Gone], BEGIN_US + 3).unwrap();
        assert_eq!(trial.unerased(), 0);
    }
}

fn moved(trial: &Trial, name: &str, into: &str) {
    let moved = Fact::Moved { id: into.to_owned() };
    trial.bridge.as_ref().unwrap().shared.cases.lock().apply(id(name), &[moved], BEGIN_US + 2).unwrap();
}

#[test]
fn of_a_merged_ticket_that_was_deleted_nothing_stays() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().tickets.insert(9, There::default());
    moved(&trial, "a", "9");
    trial.world.0.lock().tickets.clear();
    assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
    assert_eq!(trial.unerased(), 0);
}

#[test]
fn a_ticket_that_was_merged_and_kept_its_text_is_erased_itself() {
    let mut trial = Trial::new(World::default());
    trial.merged_keeps_text = true;
    trial.restart();
    trial.whole(1, &ticket("a"));
    for id in [8, 9] {
        let of_another = There { body: format!("secret of {id}"), ..There::default() };
        trial.world.0.lock().tickets.insert(id, of_another);
    }
    // Into one of somebody else's, and that into another one.
    trial.world.0.lock().merged.extend([(1, 8), (8, 9)]);
    assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
    let world = trial.world.0.lock();
    let keep = |id: u64| world.tickets[&id].body.contains("secret");
    assert_eq!([1, 8, 9].map(keep), [false, true, true], "what is others' stays");
    assert!(world.tickets[&9].notes.values().any(|note| note.contains("an administrator must")));
    drop(world);
    assert_eq!(trial.unerased(), 1, "they hold it, too");
    // Where that is refused they are told once.
    trial.whole(3, &ticket("b"));
    moved(&trial, "b", "8");
    trial.world.0.lock().merged.clear();
    let mut tries = 0;
    loop {
        tries += 1;
        trial.world.0.lock().script = [None, Some(Fault::Refused(422))].into();
        if trial.whole(4, &change("b", erased())) == End::Ack {
            break;
        }
    }
    assert!(tries > 20);
    assert_eq!(trial.world.0.lock().tickets[&8].notes.len(), 1);
}

#[test]
fn the_last_of_ours_in_a_ticket_of_ours_takes_all_of_it() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.whole(2, &ticket("b"));
    moved(&trial, "a", "2");
    assert_eq!(trial.whole(3, &change("b", erased())), End::Ack);
    assert_eq!((trial.counts().erased, trial.unerased()), (0, 1), "it is the other's, too");
    assert_eq!(trial.whole(4, &change("a", erased())), End::Ack);
    assert!(!trial.world.0.lock().tickets[&2].body.contains("secret"));
    assert_eq!((trial.counts().erased, trial.unerased()), (1, 0));
}

#[test]
fn another_ones_ticket_keeps_its_priority() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().tickets.insert(9, There { level: "P4".to_owned(), ..There::default() });
    moved(&trial, "a", "9");
    let rescored = update::Rescored { level: 1, ..update::Rescored::default() };
    assert_eq!(trial.whole(2, &change("a", Change::Rescored(rescored))), End::Ack);
    assert_eq!(trial.whole(3, &followed_up("a", "b", 1)), End::Ack);
    let world = trial.world.0.lock();
    assert_eq!((world.tickets[&9].level.as_str(), world.tickets[&9].notes.len()), ("P4", 1));
}

#[test]
fn mergers_in_a_circle_have_an_end() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.whole(2, &ticket("b"));
    trial.world.0.lock().merged.extend([(1, 2), (2, 1)]);
    assert_eq!(trial.whole(3, &change("a", erased())), End::Ack);
    trial.world.0.lock().merged = [(2, 2)].into();
    assert_eq!(trial.whole(4, &change("b", erased())), End::Ack);
}

#[test]
fn a_text_that_no_api_takes_out_is_not_erased() {
    let mut trial = Trial::new(World::default());
    trial.keeps_text = true;
    trial.restart();
    trial.whole(1, &ticket("a"));
    trial.whole(2, &followed_up("a", "b", 2));
    let gone = |post: &str| {
        Change::PostErased(update::PostErased { post_id: post.to_owned(), reason: String::new() })
    };
    assert_eq!(trial.whole(3, &change("a", gone("other"))), End::Ack);
    assert_eq!(trial.unerased(), 0, "of it there is no text");
    assert_eq!(trial.whole(4, &change("a", gone("b"))), End::Ack);
    assert_eq!(trial.unerased(), 1);
    let told = trial.world.0.lock().tickets[&1].notes.values().next_back().unwrap().clone();
    assert!(told.contains("One of the further posts") && told.contains(": b."), "{told}");
    trial.whole(5, &ticket("c"));
    assert_eq!(trial.whole(6, &change("c", gone("c"))), End::Ack);
    trial.whole(7, &ticket("d"));
    assert_eq!(trial.whole(8, &change("d", erased())), End::Ack);
    assert_eq!((trial.counts().erased, trial.unerased()), (0, 3));
}

#[test]
fn what_is_said_of_an_erasure_is_nobodys_business() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().script = [None, Some(Fault::Refused(422))].into();
    assert!(matches!(trial.whole(2, &change("a", erased())), End::Back(..)));
    let told = trial.counts().last_error.unwrap();
    assert!(told.contains("422") && !told.contains("secret"), "{told}");
    trial.world.0.lock().script = [None, Some(Fault::Refused(302))].into();
    let End::Hold(error) = trial.whole(2, &change("a", erased())) else { panic!() };
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_ticket_that_is_refused_again_and_again_is_told_of_once() {
    let trial = Trial::new(World::default());
    let policy = trial.bridge.as_ref().unwrap().policy;
    let refused = Fact::Refused { seq: 1 };
    // One delivery may be refused twice: while it is made, and since it ends unclear again.
    for at_once in [1, 2, 4] {
        let told = (0..40).step_by(at_once).filter(|times| {
            let entry = crate::ledger::cases::Entry {
                refused: (1, (*times).try_into().unwrap()),
                ..Default::default()
            };
            let mut job = job::Job::new(1, ticket("a"), "en", |_| Some(entry), policy).unwrap();
            job.wrote(&vec![refused.clone(); at_once]);
            job.is_stuck()
        });
        assert_eq!(told.count(), 1, "{at_once} at once");
    }
}

#[test]
fn what_its_author_has_taken_back_is_not_made_any_more() {
    let taken_back = |name: &str| {
        let delivery::Record::Ticket(mut ticket) = ticket(name) else { panic!() };
        (ticket.post.as_mut().unwrap().text, ticket.erased) = (String::new(), true);
        delivery::Record::Ticket(ticket)
    };
    let mut trial = Trial::new(World::default());
    assert_eq!(trial.whole(1, &taken_back("a")), End::Ack);
    assert_eq!(trial.calls(), [""; 0]);
    assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
    assert_eq!((trial.world.0.lock().tickets.len(), trial.unerased()), (0, 0));
    trial.calls();
    // One that was refused while the text was there.
    trial.world.0.lock().script = [Some(Fault::Refused(422))].into();
    assert!(matches!(trial.whole(3, &ticket("b")), End::Back(..)));
    assert_eq!(trial.whole(3, &taken_back("b")), End::Ack);
    assert_eq!((trial.calls(), trial.world.0.lock().tickets.len()), (vec!["create"], 0));
    // One that may have been made: it is looked for as long as it may still come, and erased if it is there.
    for is_made in [true, false] {
        let script = [Some(Fault::Unclear(is_made)), Some(Fault::NotSent)].into();
        let mut trial = Trial::new(World { script, ..World::default() });
        assert!(matches!(trial.whole(1, &ticket("c")), End::Back(..) | End::Hold(_)));
        let first = trial.whole(1, &taken_back("c"));
        if !is_made {
            assert!(matches!(first, End::Early(_)), "{first:?}");
            trial.pass(SETTLE);
            assert_eq!(trial.whole(1, &taken_back("c")), End::Ack);
        }
        assert_eq!(trial.whole(2, &change("c", erased())), End::Ack);
        let world = trial.world.0.lock();
        assert_eq!(world.tickets.len(), usize::from(is_made));
        assert!(world.tickets.values().all(|there| !there.body.contains("secret")), "{:?}", world.tickets);
    }
    // Where nobody can look nobody knows.
    let script = [Some(Fault::Unclear(true))].into();
    let mut trial = Trial::new(World { cannot_find: true, script, ..World::default() });
    assert!(matches!(trial.whole(1, &ticket("d")), End::Back(..)));
    assert_eq!(trial.whole(1, &taken_back("d")), End::Ack);
    assert_eq!((trial.counts().unknown, trial.world.0.lock().tickets.len()), (1, 1));
}

#[test]
fn what_may_be_there_is_not_erased() {
    for when_unknown in [WhenUnknown::Again, WhenUnknown::Leave] {
        let script = [Some(Fault::Unclear(true))].into();
        let mut trial = Trial::new(World { cannot_find: true, script, ..World::default() });
        (trial.when_unknown, trial.keeps_text) = (when_unknown, true);
        trial.restart();
        trial.whole(1, &ticket("a"));
        let delivery::Record::Ticket(mut taken_back) = ticket("a") else { panic!() };
        taken_back.erased = true;
        assert_eq!(trial.whole(1, &delivery::Record::Ticket(taken_back)), End::Ack);
        let of_another = update::PostErased { post_id: "b".to_owned(), reason: String::new() };
        assert_eq!(trial.whole(2, &change("a", Change::PostErased(of_another))), End::Ack);
        assert_eq!(trial.unerased(), 0, "what else was posted was never told there");
        assert_eq!(trial.whole(3, &change("a", erased())), End::Ack);
        trial.restart();
        assert_eq!(trial.whole(3, &change("a", erased())), End::Ack);
        assert_eq!((trial.counts().erased, trial.unerased()), (0, 1));
        assert!(trial.world.0.lock().tickets[&1].body.contains("secret"));
    }
}

#[test]
fn the_text_of_a_ticket_into_which_another_was_merged_is_not_taken_with_the_others() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.whole(2, &ticket("b"));
    let moved = Fact::Moved { id: "2".to_owned() };
    trial.bridge.as_ref().unwrap().shared.cases.lock().apply(id("a"), &[moved], BEGIN_US + 2).unwrap();
    trial.calls();
    assert_eq!(trial.whole(3, &change("b", erased())), End::Ack);
    assert_eq!(trial.calls(), ["look", "note"]);
    assert_eq!(trial.unerased(), 1);
}

#[test]
fn an_erasure_takes_the_text_of_doubles_too() {
    let mut trial = Trial::new(World::default());
    for number in [7, 9] {
        let there = There { reference: id("a").to_string(), body: "secret".to_owned(), ..There::default() };
        trial.world.0.lock().tickets.insert(number, there);
    }
    assert_eq!(trial.whole(1, &followed_up("a", "b", 1)), End::Ack);
    assert_eq!(trial.counts().doubled, 1);
    assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
    let world = trial.world.0.lock();
    assert!(world.tickets.values().all(|there| !there.body.contains("secret")), "{:?}", world.tickets);
}

#[test]
fn whatever_becomes_of_the_one_that_we_know_its_double_is_erased() {
    for (is_merged, is_known) in [(false, false), (false, true), (true, false)] {
        let mut trial = Trial::new(World::default());
        for number in [7, 9] {
            let (reference, body) = (id("a").to_string(), "secret".to_owned());
            trial.world.0.lock().tickets.insert(number, There { reference, body, ..There::default() });
        }
        assert_eq!(trial.whole(1, &followed_up("a", "b", 1)), End::Ack);
        trial.world.0.lock().tickets.remove(&7);
        if is_merged {
            trial.world.0.lock().merged.insert(7, 9);
        }
        if is_known {
            let cases = &trial.bridge.as_ref().unwrap().shared.cases;
            cases.lock().apply(id("a"), &[Fact::Gone], BEGIN_US + 2).unwrap();
        }
        if is_merged {
            // Its notes went with it.
            trial.world.0.lock().last = 9;
            let cases = &trial.bridge.as_ref().unwrap().shared.cases;
            cases.lock().apply(id("a"), &[Fact::NotesErased(None)], BEGIN_US + 2).unwrap();
        }
        assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
        assert!(!trial.world.0.lock().tickets[&9].body.contains("secret"), "{is_merged} {is_known}");
        assert_eq!((trial.counts().erased, trial.unerased()), (1, 0), "{is_merged} {is_known}");
    }
}

#[test]
fn a_copy_that_agents_have_made_is_erased_and_is_no_double_of_ours() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    // They have split it, and the new one has our reference and the text.
    let copy = There { reference: id("a").to_string(), body: "secret a".to_owned(), ..There::default() };
    trial.world.0.lock().tickets.insert(9, copy);
    assert_eq!(trial.whole(2, &followed_up("a", "b", 2)), End::Ack);
    assert_eq!(trial.whole(3, &change("a", erased())), End::Ack);
    assert_eq!((trial.counts().made, trial.counts().doubled, trial.counts().erased), (1, 0, 1));
    assert_eq!(trial.unerased(), 0);
    let world = trial.world.0.lock();
    assert!(world.tickets.values().all(|there| !there.body.contains("secret")), "{:?}", world.tickets);
    drop(world);
    // One that we may not change: what is ours goes all the same, and agents are told of it, once.
    trial.whole(4, &ticket("b"));
    let copy = There { reference: id("b").to_string(), body: "secret b".to_owned(), ..There::default() };
    trial.world.0.lock().tickets.insert(99, copy);
    trial.world.0.lock().refuses.insert(("erase", 99), 422);
    let mut tries = 1;
    while trial.whole(5, &change("b", erased())) != End::Ack {
        assert_eq!(trial.unerased(), 1);
        tries += 1;
    }
    let world = trial.world.0.lock();
    let of_b =
        world.tickets.iter().find(|(id, there)| **id != 99 && there.reference == self::id("b").to_string());
    let (_, there) = of_b.unwrap();
    assert!(tries > 20 && !there.body.contains("secret"), "{there:?}");
    assert_eq!(there.notes.len(), 1, "{there:?}");
    let told = there.notes.values().next().unwrap();
    assert!(told.contains("an administrator must"), "{told}");
}

#[test]
fn a_double_that_the_search_found_too_late_is_erased() {
    let mut trial = Trial::new(World { script: [Some(Fault::Unclear(true))].into(), ..World::default() });
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!((trial.counts().adopted, trial.counts().doubled), (1, 0));
    let there = There { reference: id("a").to_string(), body: "secret".to_owned(), ..There::default() };
    trial.world.0.lock().tickets.insert(9, there);
    assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
    let world = trial.world.0.lock();
    assert!(world.tickets.values().all(|there| !there.body.contains("secret")), "{:?}", world.tickets);
}

#[test]
fn an_erasure_does_not_depend_on_a_search_that_is_refused() {
    for status in [400, 403] {
        let mut trial = Trial::new(World::default());
        trial.whole(1, &ticket("a"));
        trial.world.0.lock().refuses.insert(("find", 0), status);
        trial.calls();
        let mut tries = 1;
        while trial.whole(2, &change("a", erased())) != End::Ack {
            assert!(!trial.world.0.lock().tickets[&1].body.contains("secret"), "{status}: it is known");
            assert_eq!(trial.unerased(), 1, "{status}: copies may hold it");
            assert!(tries < 40, "{status}");
            tries += 1;
        }
        assert_eq!((tries, trial.counts().erased, trial.unerased()), (30, 0, 1), "{status}");
        assert_eq!(trial.calls().iter().filter(|call| **call == "erase").count(), 1, "{status}");
        let world = trial.world.0.lock();
        let told: Vec<&String> = world.tickets[&1].notes.values().collect();
        assert!(told.len() == 1 && told[0].contains("an administrator must"), "{status}: {told:?}");
    }
}

#[test]
fn an_erasure_of_a_ticket_that_cannot_be_looked_for_holds_up_nobody() {
    for status in [400, 403] {
        let mut trial = Trial::new(World::default());
        let there = There { reference: id("a").to_string(), body: "secret a".to_owned(), ..There::default() };
        trial.world.0.lock().tickets.insert(7, there);
        trial.world.0.lock().refuses.insert(("find", 0), status);
        for _ in 0..20 {
            assert!(matches!(trial.whole(2, &change("a", erased())), End::Back(..)), "{status}");
            assert_eq!(trial.unerased(), 1, "{status}");
        }
        let again = trial.whole(2, &change("a", erased()));
        assert!(matches!(again, End::Back(again, _) if again > RETRY * 100), "{status}: {again:?}");
        // The right is given.
        trial.world.0.lock().refuses.clear();
        assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
        assert!(!trial.world.0.lock().tickets[&7].body.contains("secret"), "{status}");
        assert_eq!((trial.counts().erased, trial.unerased()), (1, 0), "{status}");
        // Nor for ever.
        trial.world.0.lock().refuses.insert(("find", 0), status);
        let tries = (1..40).find(|_| trial.whole(3, &change("b", erased())) == End::Ack);
        assert_eq!((tries, trial.unerased()), (Some(30), 1), "{status}");
    }
}

#[test]
fn an_erasure_for_which_the_helpdesk_is_waited_counts_as_not_done() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().script = [None, Some(Fault::Limited)].into();
    assert!(matches!(trial.whole(2, &change("a", erased())), End::Hold(_)));
    assert_eq!(trial.unerased(), 0, "there is a quota, and nothing is refused");
    trial.world.0.lock().script = [Some(Fault::Refused(403)), Some(Fault::Refused(401))].into();
    assert!(matches!(trial.whole(2, &change("a", erased())), End::Hold(_)));
    assert_eq!(trial.unerased(), 1);
    assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
    assert_eq!(trial.unerased(), 0);
}

#[test]
fn what_lies_in_the_bin_is_erased_where_the_one_that_it_went_into_is_gone() {
    for is_known in [false, true] {
        let mut trial = Trial::new(World::default());
        trial.merged_keeps_text = true;
        trial.restart();
        trial.whole(1, &ticket("a"));
        moved(&trial, "a", "8");
        if is_known {
            let cases = &trial.bridge.as_ref().unwrap().shared.cases;
            cases.lock().apply(id("a"), &[Fact::Gone], BEGIN_US + 2).unwrap();
        }
        assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
        assert!(!trial.world.0.lock().tickets[&1].body.contains("secret"), "{is_known}");
        assert_eq!((trial.counts().erased, trial.unerased()), (1, 0), "{is_known}");
    }
}

#[test]
fn what_is_erased_is_not_erased_again_while_a_copy_refuses() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    for number in [7, 9] {
        let there = There { reference: id("a").to_string(), body: "secret a".to_owned(), ..There::default() };
        trial.world.0.lock().tickets.insert(number, there);
    }
    trial.world.0.lock().refuses.insert(("erase", 9), 422);
    trial.calls();
    let tries = (1..40).find(|_| {
        trial.restart();
        trial.whole(2, &change("a", erased())) == End::Ack
    });
    assert_eq!(tries, Some(30));
    assert_eq!(trial.calls().iter().filter(|call| **call == "erase").count(), 30 + 2);
    let has_text = |number: u64| trial.world.0.lock().tickets[&number].body.contains("secret");
    assert_eq!([1, 7, 9].map(has_text), [false, false, true]);
    assert_eq!(trial.unerased(), 1);
    // Of another record nothing is known to be done.
    trial.world.0.lock().refuses.clear();
    assert_eq!(trial.whole(3, &change("a", erased())), End::Ack);
    assert_eq!(trial.calls(), ["look", "erase", "find", "erase", "erase"]);
}

#[test]
fn an_erasure_takes_the_notes_that_quote_the_text() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.whole(2, &followed_up("a", "b", 2));
    trial.whole(3, &followed_up("a", "c", 2));
    let gone = |post: &str| {
        Change::PostErased(update::PostErased { post_id: post.to_owned(), reason: String::new() })
    };
    let secrets = |trial: &Trial| -> Vec<String> {
        let world = trial.world.0.lock();
        let there = &world.tickets[&1];
        let texts = there.notes.values().chain([&there.body]);
        texts
            .flat_map(|text| {
                text.split_whitespace().skip_while(|word| *word != "secret").nth(1).map(str::to_owned)
            })
            .collect()
    };
    assert_eq!(secrets(&trial), ["b", "c", "a"]);
    trial.whole(4, &change("a", gone("b")));
    assert_eq!(secrets(&trial), ["c", "a"]);
    trial.whole(5, &change("a", gone("a")));
    assert_eq!(secrets(&trial), ["c"], "the ticket's own post");
    trial.whole(6, &change("a", erased()));
    assert_eq!(secrets(&trial), [""; 0]);
    // Nothing is said any more.
    trial.calls();
    assert_eq!(trial.whole(7, &followed_up("a", "d", 1)), End::Ack);
    assert_eq!(trial.calls(), [""; 0]);
}

#[test]
fn a_ticket_that_the_helpdesk_has_no_more_is_left() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().tickets.clear();
    trial.world.0.lock().script = [Some(Fault::Refused(404))].into();
    assert_eq!(trial.whole(2, &followed_up("a", "b", 2)), End::Ack);
    trial.calls();
    assert_eq!(trial.whole(3, &followed_up("a", "c", 2)), End::Ack);
    assert_eq!(trial.calls(), [""; 0]);
    assert_eq!(trial.whole(4, &change("a", erased())), End::Ack);
    assert_eq!(trial.calls(), ["look", "find"], "whether it is still gone");
}

#[test]
fn a_ticket_is_gone_only_if_it_is_not_there_when_it_is_read() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().script = [Some(Fault::Refused(404))].into();
    assert!(matches!(trial.whole(2, &followed_up("a", "b", 2)), End::Back(..)));
    assert_eq!(trial.whole(2, &followed_up("a", "b", 2)), End::Ack);
    // Another helpdesk answers, or our account has lost its rights: nothing is there, and nothing is right.
    trial.world.0.lock().is_strange = true;
    for _ in 0..20 {
        assert_ne!(trial.whole(3, &change("a", erased())), End::Ack);
    }
    trial.world.0.lock().is_strange = false;
    assert_eq!(trial.whole(3, &change("a", erased())), End::Ack);
    let world = trial.world.0.lock();
    assert!(!world.tickets[&1].body.contains("secret"), "{:?}", world.tickets);
}

#[test]
fn what_was_thought_gone_is_looked_at_before_its_erasure_is_left() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    {
        let cases = &trial.bridge.as_ref().unwrap().shared.cases;
        cases.lock().apply(id("a"), &[Fact::Gone], BEGIN_US + 2).unwrap();
    }
    trial.calls();
    assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
    assert_eq!(trial.calls(), ["look", "look", "erase", "find"]);
    let cases = trial.bridge.as_ref().unwrap().shared.cases.lock();
    assert!(!cases.get(id("a")).unwrap().unwrap().place.unwrap().is_gone);
}

#[test]
fn an_erasure_of_what_is_not_found_is_left_only_if_the_helpdesk_answers_rightly() {
    let mut trial = Trial::new(World::default());
    assert_eq!(trial.whole(1, &change("a", erased())), End::Ack);
    assert_eq!(trial.calls(), ["find", "probe"]);
}

#[test]
fn one_ticket_out_of_our_reach_holds_up_nobody() {
    for status in [401, 402, 403, 405, 412, 423, 451] {
        let mut trial = Trial::new(World::default());
        trial.whole(1, &ticket("a"));
        let refuse = |trial: &Trial| {
            trial.world.0.lock().script = [None, Some(Fault::Refused(status))].into();
        };
        trial.calls();
        refuse(&trial);
        assert!(matches!(trial.whole(2, &change("a", erased())), End::Back(..)), "{status}");
        assert_eq!(trial.calls(), ["look", "erase", "probe"]);
        assert_eq!(trial.whole(3, &ticket("b")), End::Ack);
        // The first question is not answered rightly either: it is the helpdesk, or our token.
        trial.world.0.lock().script = [None, Some(Fault::Refused(status)), Some(Fault::Refused(401))].into();
        assert!(matches!(trial.whole(2, &change("a", erased())), End::Hold(_)), "{status}");
        assert_eq!(trial.whole(2, &change("a", erased())), End::Ack);
    }
}

#[test]
fn one_ticket_that_may_not_be_made_holds_up_nobody() {
    for status in [401, 402, 403, 404, 405, 410, 412, 423, 451] {
        let mut trial =
            Trial::new(World { script: [Some(Fault::Refused(status))].into(), ..World::default() });
        assert!(matches!(trial.whole(1, &ticket("a")), End::Back(..)), "{status}");
        assert_eq!(trial.calls(), ["create", "probe"]);
        assert_eq!(trial.counts().refused, 1);
        assert_eq!(trial.whole(2, &ticket("b")), End::Ack);
        // It is the helpdesk, or our token: that is nobody's own.
        for answer in [Fault::Refused(status), Fault::Limited, Fault::Unclear(false)] {
            trial.world.0.lock().script = [Some(Fault::Refused(status)), Some(answer)].into();
            assert!(matches!(trial.whole(1, &ticket("a")), End::Hold(_)), "{status}");
        }
        trial.world.0.lock().is_strange = true;
        assert!(matches!(trial.whole(1, &ticket("a")), End::Hold(_)), "{status}");
        trial.world.0.lock().is_strange = false;
        assert_eq!(trial.counts().refused, 1);
        trial.calls();
        assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
        assert_eq!(trial.calls(), ["create", "complete"], "it is known that nothing was done");
    }
    // Nobody can be asked: what says that it does not know us, or what is asked for, knows nobody.
    for (status, is_everybodys) in [(401, true), (404, true), (403, false)] {
        let script = [Some(Fault::Refused(status))].into();
        let mut trial = Trial::new(World { cannot_ask: true, script, ..World::default() });
        let end = trial.whole(1, &ticket("a"));
        assert_eq!(matches!(end, End::Hold(_)), is_everybodys, "{status}: {end:?}");
    }
    // While it is asked the bridge dies, where nobody can look.
    let script = [Some(Fault::Refused(403))].into();
    let mut trial = Trial::new(World { cannot_find: true, script, ..World::default() });
    assert_eq!(trial.deliver(1, &ticket("a"), 3), None, "it has died");
    assert_eq!(trial.calls(), ["create", "probe"]);
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.counts().unknown, 0, "it was refused");
}

#[test]
fn a_priority_is_told_to_a_ticket_that_was_found_for_it_however_often_that_fails() {
    let mut trial = Trial::new(World::default());
    let there = There { reference: id("a").to_string(), level: "P2".to_owned(), ..There::default() };
    trial.world.0.lock().tickets.insert(7, there);
    trial.world.0.lock().script = [None, Some(Fault::Refused(422))].into();
    assert!(matches!(trial.whole(1, &followed_up("a", "b", 1)), End::Back(..)));
    trial.restart();
    assert_eq!(trial.whole(1, &followed_up("a", "b", 1)), End::Ack);
    assert_eq!(trial.world.0.lock().tickets[&7].level, "P1");
}

#[test]
fn a_ticket_that_was_just_made_keeps_no_other_from_being_looked_at() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    let made_us = trial.world.0.lock().now_us;
    let cases = trial.bridge.as_ref().unwrap().shared.cases.lock();
    let after_us = i64::try_from(RETRY.as_micros()).unwrap();
    assert_eq!(cases.due(made_us + after_us - 1, 9).unwrap(), []);
    assert_eq!(cases.due(made_us + after_us, 9).unwrap(), [id("a")]);
}

#[test]
fn what_a_helpdesk_says_of_a_text_is_in_the_status_and_not_in_what_the_daemon_logs() {
    let refused = CallError::Refused { status: 422, words: "subject: secret a".to_owned() };
    assert!(refused.to_string().contains("secret") && !refused.in_short().contains("secret"));
    for status in [200, 500] {
        let page = CallError::Trouble { status, words: "secret a".to_owned(), wait: None };
        assert!(page.to_string().contains("secret") && !page.in_short().contains("secret"));
    }
    let mut trial = Trial::new(World { script: [Some(Fault::Refused(422))].into(), ..World::default() });
    let End::Back(_, why) = trial.whole(1, &ticket("a")) else { panic!() };
    assert!(why.contains("422") && !why.contains("secret"), "{why}");
    let said = trial.counts().last_error.unwrap();
    assert!(said.contains("says secret"), "{said}");
}

#[test]
fn what_was_said_of_a_text_is_in_no_status_once_its_author_has_taken_it_back() {
    let taken_back = |name: &str| {
        let delivery::Record::Ticket(mut ticket) = ticket(name) else { panic!() };
        ticket.erased = true;
        delivery::Record::Ticket(ticket)
    };
    let said = |trial: &Trial| trial.counts().last_error.unwrap();
    // One that is not made, one for which the helpdesk is waited for, and a change.
    for (status, is_there) in [(422, false), (302, false), (422, true)] {
        let mut trial = Trial::new(World::default());
        let (record, back) = match is_there {
            true => (followed_up("a", "c", 2), change("a", erased())),
            false => (ticket("a"), taken_back("a")),
        };
        if is_there {
            trial.whole(1, &ticket("a"));
        }
        trial.world.0.lock().script = [Some(Fault::Refused(status))].into();
        assert_ne!(trial.whole(2, &record), End::Ack);
        assert!(said(&trial).contains("says secret"), "{}", said(&trial));
        // Another one's author.
        assert_eq!(trial.whole(3, &taken_back("b")), End::Ack);
        assert!(said(&trial).contains("says secret"), "{}", said(&trial));
        assert_eq!(trial.whole(4, &back), End::Ack);
        assert_eq!(said(&trial), format!("the helpdesk refuses: status {status}"));
    }
}

#[test]
fn a_ticket_that_is_refused_with_the_operators_fields_is_made_without_them() {
    let fields = vec![("place".to_owned(), "{{ network }}".to_owned())];
    let fields = Fields::new(fields, FourByte::Keep).unwrap();
    let trial = |world: World| {
        let mut trial = Trial::new(world);
        let bridge = trial.bridge.as_mut().unwrap();
        bridge.texts = TEXTS.clone().with_fields(fields.clone());
        bridge.policy.has_fields = true;
        trial
    };
    let mut other = trial(World { refuses_fields: true, ..World::default() });
    let mut tries = 1;
    while other.whole(1, &ticket("a")) != End::Ack {
        tries += 1;
        assert!(tries < 9 && other.calls() == ["create"], "{tries} tries");
    }
    assert_eq!((tries, other.calls()), (6, vec!["create", "create", "complete"]));
    assert_eq!((other.counts().made, other.counts().refused), (1, 5));
    let told = other.counts().last_error.unwrap();
    assert!(told.contains("without the fields of [bridge.fields]"), "{told}");
    // They are others' all the same, and one that is refused without them, too, is tried on.
    other.world.0.lock().refuses_fields = false;
    assert_eq!(other.whole(2, &ticket("b")), End::Ack);
    assert_eq!(other.world.0.lock().tickets[&2].fields, serde_json::json!({ "place": "x" }));
    let script = std::iter::repeat_n(Some(Fault::Refused(422)), 9).collect();
    let mut both = trial(World { script, ..World::default() });
    for _ in 0..7 {
        assert!(matches!(both.whole(1, &ticket("a")), End::Back(..)));
    }
    assert_eq!((both.calls(), both.counts().refused), (vec!["create"; 9], 7));
    assert_eq!(both.whole(1, &ticket("a")), End::Ack);
    assert_eq!(both.world.0.lock().tickets[&1].fields, serde_json::json!({ "place": "x" }));
}

#[test]
fn what_takes_no_call_is_no_sign_of_life() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    let failures = |trial: &Trial| trial.bridge.as_ref().unwrap().health.lock().failures;
    trial.world.0.lock().script = [Some(Fault::Unclear(false))].into();
    assert!(matches!(trial.whole(2, &followed_up("a", "b", 1)), End::Back(..)));
    assert_eq!(failures(&trial), 1);
    trial.calls();
    let answered = || change("a", Change::Answered(update::Answered::default()));
    trial.world.0.lock().notes_nothing = true;
    assert_eq!(trial.whole(3, &answered()), End::Ack);
    assert_eq!((trial.calls(), failures(&trial)), (Vec::new(), 1));
    trial.world.0.lock().notes_nothing = false;
    assert_eq!(trial.whole(4, &answered()), End::Ack);
    assert_eq!(failures(&trial), 0);
}

/// The daemon's records of some tickets, in each ticket's order.
fn records(random: &mut fastrand::Rng, tickets: usize) -> Vec<VecDeque<(u64, delivery::Record)>> {
    let mut seq = 0;
    let mut next = || {
        seq += 1;
        seq
    };
    (0..tickets)
        .map(|n| {
            let name = format!("t{n}");
            let mut of_one = VecDeque::from([(next(), ticket(&name))]);
            for m in 0..random.usize(0..4) {
                let level = random.i32(1..=4);
                let record = match random.u32(0..4) {
                    0 => followed_up(&name, &format!("t{n}p{m}"), level),
                    1 => change(
                        &name,
                        Change::Rescored(update::Rescored { level, ..update::Rescored::default() }),
                    ),
                    2 => change(
                        &name,
                        Change::Answered(update::Answered {
                            url: format!("u{n}m{m}"),
                            ..update::Answered::default()
                        }),
                    ),
                    _ => followed_up(&name, &format!("t{n}p{m}"), 2),
                };
                of_one.push_back((next(), record));
            }
            if random.u32(0..4) == 0 {
                of_one.push_back((next(), change(&name, erased())));
            }
            of_one
        })
        .collect()
}

/// Delivers everything in any order that the daemon may choose, with faults and deaths, then without.
fn run(trial: &mut Trial, seed: u64) -> (Vec<VecDeque<(u64, delivery::Record)>>, u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    let all = records(&mut random, 8);
    let mut left = all.clone();
    trial.world.0.lock().random = Some(random.fork());
    let (mut turns, mut deaths) = (0, 0);
    while left.iter().any(|of_one| !of_one.is_empty()) {
        turns += 1;
        if turns > 120 {
            trial.world.0.lock().random = None;
        }
        assert!(turns < 5_000, "seed {seed}: it does not end");
        trial.world.0.lock().now_us += random.i64(0..2_000_000);
        let waiting: Vec<usize> = (0..left.len()).filter(|n| !left[*n].is_empty()).collect();
        let at = waiting[random.usize(0..waiting.len())];
        let (seq, record) = left[at][0].clone();
        let moments = match turns {
            // It dies once at least, whatever the seed.
            1 => 1,
            2..=120 if random.u32(0..3) == 0 => random.usize(1..10),
            _ => 10_000,
        };
        match trial.deliver(seq, &record, moments) {
            // Now and then the acknowledgement is lost with the bridge.
            Some(End::Ack) if turns <= 120 && random.u32(0..8) == 0 => {
                trial.restart();
                deaths += 1;
            }
            Some(End::Ack) => drop(left[at].pop_front()),
            Some(_) => {}
            None => deaths += 1,
        }
    }
    (all, deaths)
}

/// What must be there in the end, whatever happened.
fn check(trial: &Trial, all: &[VecDeque<(u64, delivery::Record)>], seed: u64) {
    let world = trial.world.0.lock();
    for (n, of_one) in all.iter().enumerate() {
        let reference = id(&format!("t{n}")).to_string();
        let there: Vec<&There> =
            world.tickets.values().filter(|there| there.reference == reference).collect();
        assert_eq!(there.len(), 1, "seed {seed}, ticket {n}: not once");
        let there = there[0];
        assert!(there.labelled, "seed {seed}, ticket {n}: not complete");
        let is_erased = of_one.iter().any(|(_, record)| {
            matches!(record, delivery::Record::Update(Update { change: Some(Change::Erased(_)), .. }))
        });
        let mut level = "P2".to_owned();
        for (_, record) in of_one {
            let delivery::Record::Update(update) = record else { continue };
            let about = About { reference: &reference, brand: "", language: Some(Language::En), level: None };
            let note = text(&TEXTS.update(&about, update), "note");
            let is_told = match &update.change {
                Some(Change::Rescored(rescored)) => rescored.unsupported,
                Some(Change::Erased(_)) | None => false,
                Some(_) => true,
            };
            if is_told && !is_erased {
                assert!(
                    there.notes.values().any(|there| *there == note),
                    "seed {seed}, ticket {n}: {note:?} is lost"
                );
            }
            match &update.change {
                Some(Change::FollowedUp(followed)) => level = followed.level().as_str_name().to_owned(),
                Some(Change::Rescored(rescored)) => level = rescored.level().as_str_name().to_owned(),
                _ => {}
            }
        }
        assert_eq!(there.level, level, "seed {seed}, ticket {n}");
        if is_erased {
            assert!(!there.body.contains("secret"), "seed {seed}, ticket {n}: {}", there.body);
            let kept = there.notes.iter().filter(|(number, _)| !world.lost_notes.contains(number));
            let secrets = kept.filter(|(_, note)| note.contains("secret")).count();
            assert_eq!(secrets, 0, "seed {seed}, ticket {n}: notes still hold the text");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_and_whenever_it_dies_each_ticket_is_there_once(seed: u64, lag_s in 0..6_i64) {
        // Refusals for good let agents do without some change; they are tried apart.
        let mut trial = Trial::new(World { lag_us: lag_s * 1_000_000, ..World::default() });
        let (all, deaths) = run(&mut trial, seed);
        check(&trial, &all, seed);
        prop_assert!(deaths > 0);
    }

    #[test]
    fn without_a_search_the_policy_holds_and_the_rest_is_counted(seed: u64, leave: bool) {
        let mut trial = Trial::new(World { cannot_find: true, ..World::default() });
        trial.when_unknown = if leave { WhenUnknown::Leave } else { WhenUnknown::Again };
        trial.restart();
        let (all, _) = run(&mut trial, seed);
        let unknown = trial.counts.unknown + trial.counts().unknown;
        let world = trial.world.0.lock();
        let mut missing = 0;
        for n in 0..all.len() {
            let reference = id(&format!("t{n}")).to_string();
            let times = world.tickets.values().filter(|there| there.reference == reference).count();
            prop_assert!(!(leave && times > 1), "ticket {} is there {} times", n, times);
            prop_assert!(leave || times >= 1, "ticket {} is lost", n);
            missing += u64::from(times == 0);
        }
        prop_assert!(missing <= unknown, "{missing} missing, {unknown} counted");
    }
}
