//! Deliveries against a helpdesk in memory that fails and a bridge that dies, at any moment.

mod anything;
mod erasing;
mod merged;
mod world;

use std::collections::VecDeque;

use proptest::prelude::*;

use self::world::*;
use super::errors::Of;
use super::run::REFUSED_IN_ROW_MAX;
use super::*;
use crate::bridge::http::CallError;
use crate::bridge::text::{About, Fields, FourByte, Language};
use crate::ticket::proto::update::{self, Change};
use crate::ticket::proto::{Update, delivery};

fn moved(trial: &Trial, name: &str, into: &str) {
    let moved = Fact::Moved { id: into.to_owned() };
    trial.bridge.as_ref().unwrap().shared.cases.lock().apply(id(name), &[moved], BEGIN_US + 2).unwrap();
}

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
    trial.world.0.lock().script = [None, Some(Fault::LimitedAlone(Some(600)))].into();
    assert!(
        matches!(trial.whole(1, &ticket("a")), End::Back(after, _) if after == wait),
        "made, without its label"
    );
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.calls(), ["create", "complete", "complete"]);
    // However often: it is not refused, and agents do not do without.
    for seq in (2..20).cycle().take(REFUSED_IN_ROW_MAX * 20) {
        trial.world.0.lock().script = [Some(Fault::LimitedAlone(Some(9_000)))].into();
        let note = change("a", Change::Answered(update::Answered::default()));
        let End::Back(after, why) = trial.whole(seq, &note) else { panic!("others wait") };
        assert!(after <= Duration::from_secs(3600) && why.contains("of this kind"), "{after:?} {why}");
    }
    let refused = trial.bridge.as_ref().unwrap().health.lock().refused.len();
    assert_eq!((refused, trial.counts().refused), (1, 0), "one ticket");
    trial.world.0.lock().script = [Some(Fault::LimitedAlone(Some(600)))].into();
    assert!(matches!(trial.whole(30, &change("a", erased())), End::Back(..)));
    assert_eq!(trial.unerased(), 0, "nothing is refused");
    assert_eq!(trial.whole(30, &change("a", erased())), End::Ack);
}

#[test]
fn a_limit_of_one_ticket_that_says_no_time_is_tried_later_each_time() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    let note = change("a", Change::Answered(update::Answered::default()));
    let waits = std::array::from_fn(|_| {
        trial.world.0.lock().script = [Some(Fault::LimitedAlone(None))].into();
        let End::Back(after, _) = trial.whole(2, &note) else { panic!("others wait") };
        after.as_secs()
    });
    assert_eq!(waits, [1, 4, 16, 64, 256, 1_024, 3_600, 3_600]);
    assert_eq!(trial.whole(2, &note), End::Ack);
}

/// It is none of the ticket's, which is not there: the next one would meet it, too.
#[test]
fn a_limit_of_what_is_made_or_looked_for_holds_up_all() {
    let mut trial = Trial::new(World::default());
    let limited = Some(Fault::LimitedAlone(Some(600)));
    let held = |trial: &mut Trial, script: &[Option<Fault>], seq: u64, record: &delivery::Record| {
        trial.world.0.lock().script = script.iter().cloned().collect();
        let end = trial.whole(seq, record);
        assert!(matches!(&end, End::Hold(error) if error.is_limit_of_one()), "{end:?}");
        assert!(said(trial).contains("of this kind"), "people see why");
    };
    held(&mut trial, std::slice::from_ref(&limited), 1, &ticket("a"));
    held(&mut trial, &[Some(Fault::Refused(403)), limited.clone()], 1, &ticket("a"));
    held(&mut trial, &[limited], 2, &followed_up("b", "c", 1));
    assert_eq!(trial.calls(), ["create", "create", "probe", "find"]);
    assert_eq!((trial.whole(1, &ticket("a")), trial.counts().refused), (End::Ack, 0));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_creations_is_waited_for_before_the_next() {
    let trial = Trial::new(World::default());
    let bridge = trial.bridge.as_ref().unwrap();
    let waited = async |wait: Option<u64>, left: Option<u32>| {
        let begun = tokio::time::Instant::now();
        let error = CallError::Limited { status: 429, wait: wait.map(Duration::from_secs), left };
        bridge.wait(Worked { seq: 1, end: End::Hold(error), calls: 0 }).await;
        begun.elapsed()
    };
    let about = |wait: Duration, seconds: u64| wait.as_secs() == seconds;
    assert!(about(waited(Some(30), Some(9)).await, 30));
    assert!(about(waited(Some(9_000), Some(9)).await, 3_600), "no longer than that");
    // Where it does not say how long, longer each time.
    let mut unsaid = Duration::ZERO;
    for _ in 0..20 {
        unsaid = waited(None, Some(9)).await;
    }
    assert!(unsaid >= bridge.policy.retry_max / 4, "{unsaid:?}");
    // The account's is the pace's to wait for.
    assert_eq!(waited(Some(30), Some(0)).await, Duration::ZERO);
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

/// What is shown as the last error.
fn said(trial: &Trial) -> String {
    trial.counts().errors.last().unwrap().0.said.clone()
}

#[test]
fn an_error_lasts_until_what_failed_has_gone_right() {
    let mut trial = Trial::new(World::default());
    let shown = |trial: &Trial| {
        let counts = trial.counts();
        counts.errors.last().map(|(error, is_over)| (error.of, error.at_us, is_over)).unwrap()
    };
    let at = |trial: &mut Trial, now_us: i64, faults: &[Option<Fault>]| {
        let mut world = trial.world.0.lock();
        world.now_us = now_us;
        world.script = faults.iter().cloned().collect();
    };
    at(&mut trial, 10_000_000, &[Some(Fault::Refused(422))]);
    assert!(matches!(trial.whole(1, &ticket("a")), End::Back(..)));
    assert_eq!(shown(&trial), (Of::Record(1), 10_000_000, false));
    // Others' success is none of its own, and the helpdesk's failure is over once it answers.
    assert_eq!(trial.whole(2, &ticket("b")), End::Ack);
    assert_eq!(shown(&trial), (Of::Record(1), 10_000_000, false));
    at(&mut trial, 20_000_000, &[Some(Fault::Refused(302))]);
    assert!(matches!(trial.whole(3, &ticket("c")), End::Hold(_)));
    assert_eq!(shown(&trial), (Of::Helpdesk, 20_000_000, false));
    assert_eq!(trial.whole(3, &ticket("c")), End::Ack);
    assert_eq!(shown(&trial), (Of::Record(1), 10_000_000, false));
    at(&mut trial, 30_000_000, &[Some(Fault::Refused(422))]);
    assert!(matches!(trial.whole(1, &ticket("a")), End::Back(..)));
    assert_eq!(shown(&trial), (Of::Record(1), 30_000_000, false), "it was refused again");
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(shown(&trial), (Of::Record(1), 30_000_000, true));
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
    assert!(said(&trial).contains("says secret"), "{}", said(&trial));
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
    let told = |trial: &Trial| {
        let counts = trial.counts();
        counts.errors.last().map(|(error, is_over)| (error.of, is_over)).unwrap()
    };
    assert!(said(&other).contains("without the fields of [bridge.fields]"), "{}", said(&other));
    assert_eq!(told(&other), (Of::Fields, false));
    // They are others' all the same, and one that is refused without them, too, is tried on.
    other.world.0.lock().refuses_fields = false;
    assert_eq!(other.whole(2, &ticket("b")), End::Ack);
    assert_eq!(other.world.0.lock().tickets[&2].fields, serde_json::json!({ "place": "x" }));
    assert_eq!(told(&other), (Of::Fields, true), "one was made with them");
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
