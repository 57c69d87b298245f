//! Tickets that agents have merged.

use super::*;

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
