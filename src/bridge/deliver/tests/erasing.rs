//! What an author takes back goes, whatever stands in its way, and what stays is said.

use super::*;

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
    let told = said(&trial);
    assert!(told.contains("422") && !told.contains("secret"), "{told}");
    trial.world.0.lock().script = [None, Some(Fault::Refused(302))].into();
    let End::Hold(error) = trial.whole(2, &change("a", erased())) else { panic!() };
    assert!(!error.to_string().contains("secret"), "{error}");
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
fn what_was_said_of_a_text_is_in_no_status_once_its_author_has_taken_it_back() {
    let taken_back = |name: &str| {
        let delivery::Record::Ticket(mut ticket) = ticket(name) else { panic!() };
        ticket.erased = true;
        delivery::Record::Ticket(ticket)
    };
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
