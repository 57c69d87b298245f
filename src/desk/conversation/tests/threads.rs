//! Threads that hold more than one ticket.

use super::*;

/// Ana's ticket "a", and Bob's question "b" about the same below it, which names the brand but not our handle.
fn two_in_one_thread() -> Conversations {
    let mut conversations = conversations();
    let asks = post("b", "bob", "a", "lumio is down for me, too");
    assert_eq!(place(&conversations, &Config::default(), &asks, "Lumio", 1), alone(None));
    conversations.begin(id("b"), Network::X, "bob", &"Lumio".into(), Some(id("a")), HOUR);
    conversations
}

fn joins_ticket(ticket: &str) -> Place {
    Place::Joins { ticket_id: id(ticket), thanks: None, has_part: true }
}

fn joins_as_stranger(ticket: &str) -> Place {
    Place::Joins { ticket_id: id(ticket), thanks: None, has_part: false }
}

#[test]
fn everybody_goes_on_in_their_own_ticket_whoevers_post_they_answer() {
    let (mut conversations, config) = (two_in_one_thread(), Config::default());
    conversations.add(id("a2"), id("a"), Network::X, "ana", Part::Joined, HOUR);
    conversations.add(id("c"), id("b"), Network::X, "cy", Part::Bystander, HOUR);
    let check = |author: &str, reply_to: &str, text: &str, brand: &str, expected: Place| {
        let post = post("new", author, reply_to, text);
        // Long after it would join by its author alone.
        let found = place(&conversations, &config, &post, brand, 500);
        assert_eq!(found, expected, "{author} to {reply_to}: {text}");
    };
    check("ana", "b", "did that, still broken", "", joins_ticket("a"));
    check("ana", "b", "did that, lumio is still down", "Lumio", joins_ticket("a"));
    check("ana", "b", "@lumio still down", "Lumio", joins_ticket("a"));
    check("ana", "c", "that did not help", "", joins_ticket("a"));
    check("bob", "a2", "for me neither", "", joins_ticket("b"));
    check("bob", "a", "nor today", "", joins_ticket("b"));
    check("bob", "c", "nor that", "", joins_ticket("b"));
    // Others are strangers to both, and join the one that they speak to us in.
    check("cy", "b", "try to restart it", "", Place::Bystander(id("b")));
    check("cy", "a2", "try to restart it", "", Place::Bystander(id("a")));
    check("cy", "b", "@lumio same here", "Lumio", joins_as_stranger("b"));
    // A question to another brand belongs to neither.
    check("ana", "b", "nord", "Nord", alone(None));
}

#[test]
fn a_thread_goes_on_over_a_ticket_that_is_closed_or_gone() {
    let config = Config::default();
    let answer = |to: &'static str| post("new", "ana", to, "still broken");
    for is_gone in [false, true] {
        let mut conversations = two_in_one_thread();
        match is_gone {
            true => conversations.end(id("b")),
            false => conversations.set_closed(id("b"), true),
        }
        assert_eq!(place(&conversations, &config, &answer("b"), "", 500), joins_ticket("a"));
        // Somebody else's words below what is gone are kept with what is not.
        let beside = if is_gone { "a" } else { "b" };
        let stranger = post("c", "cy", "b", "and now?");
        assert_eq!(place(&conversations, &config, &stranger, "", 1), Place::Bystander(id(beside)));
        conversations.add(id("c"), id(beside), Network::X, "cy", Part::Bystander, HOUR);
        assert_eq!(place(&conversations, &config, &answer("c"), "", 500), joins_ticket("a"));
    }
}

#[test]
fn who_writes_again_below_a_closed_ticket_is_heard_whether_or_not_they_name_the_brand() {
    let (mut conversations, config) = (two_in_one_thread(), Config::default());
    conversations.set_closed(id("a"), true);
    // What strangers say there is a part of it still.
    let stranger = post("c", "cy", "a", "did it help?");
    assert_eq!(place(&conversations, &config, &stranger, "", 1), Place::Bystander(id("a")));
    conversations.add(id("c"), id("a"), Network::X, "cy", Part::Bystander, HOUR);
    for to in ["a", "b", "c"] {
        let unnamed = post("new", "ana", to, "no, still nothing");
        assert_eq!(place(&conversations, &config, &unnamed, "", 1), Place::Again(id("a")), "{to}");
        let named = post("new", "ana", to, "no, lumio is down");
        assert_eq!(place(&conversations, &config, &named, "Lumio", 1), alone(Some("a")), "{to}");
    }
    // The next one joins what that has made, and so do those after the hours of a post by its author alone.
    conversations.begin(id("d"), Network::X, "ana", &"Lumio".into(), Some(id("a")), 2 * HOUR);
    for hours in [3, 500] {
        let unnamed = post("new", "ana", "c", "no, still nothing");
        assert_eq!(place(&conversations, &config, &unnamed, "", hours), joins_ticket("d"));
    }
}

#[test]
fn a_ticket_takes_so_many_posts_and_the_next_one_makes_another() {
    let (mut conversations, config) = (conversations(), Config::default());
    let reply = post("new", "ana", "a", "still nothing");
    let named = post("new", "ana", "", "lumio is down");
    let others = post("new", "bob", "a", "@lumio same here");
    for n in 0..JOINED_MAX {
        assert_eq!(place(&conversations, &config, &reply, "", 1), joins_ticket("a"), "{n}");
        assert_eq!(place(&conversations, &config, &named, "Lumio", 1), joins(false), "{n}");
        conversations.add(id(&n.to_string()), id("a"), Network::X, "ana", Part::Joined, 0);
        // However often it is changed, and whether or not it is still there.
        conversations.add(id(&n.to_string()), id("a"), Network::X, "ana", Part::Joined, 0);
        conversations.post_deleted(id(&n.to_string()));
    }
    assert_eq!(place(&conversations, &config, &reply, "", 1), Place::Again(id("a")));
    assert_eq!(place(&conversations, &config, &named, "Lumio", 1), alone(Some("a")));
    assert_eq!(place(&conversations, &config, &others, "Lumio", 1), alone(None));
    // What that made takes as many: whatever is said in the thread goes there.
    conversations.begin(id("b"), Network::X, "ana", &"Lumio".into(), Some(id("a")), HOUR);
    assert_eq!(place(&conversations, &config, &reply, "", 1), joins_ticket("b"));
    assert_eq!(place(&conversations, &config, &others, "Lumio", 1), joins_as_stranger("b"));
    conversations.set_closed(id("b"), true);
    assert_eq!(place(&conversations, &config, &others, "Lumio", 1), alone(None));
}

#[test]
fn the_ledger_says_where_a_post_belongs_whose_ticket_was_closed_by_then() {
    let config = Config::default();
    let next = post("new", "ana", "b", "still nothing");
    // Its own ticket.
    let mut own = conversations();
    own.add(id("b"), id("a"), Network::X, "ana", Part::Joined, HOUR);
    own.belongs(id("b"), id("b"), &"Lumio".into(), HOUR);
    assert_eq!(place(&own, &config, &next, "", 500), joins_ticket("b"));
    let below = post("new", "ana", "a", "still nothing");
    assert_eq!(place(&own, &config, &below, "", 500), joins_ticket("b"), "which is one of the thread");
    // Another of the same author's.
    let mut other = conversations();
    other.begin(id("c"), Network::X, "ana", &"Lumio".into(), None, HOUR);
    other.add(id("b"), id("a"), Network::X, "ana", Part::Joined, 2 * HOUR);
    other.belongs(id("b"), id("c"), &"Lumio".into(), 2 * HOUR);
    assert_eq!(place(&other, &config, &next, "", 500), joins_ticket("c"));
    let named = post("new", "ana", "", "lumio");
    assert_eq!(place(&other, &config, &named, "Lumio", 73), joins_as_stranger("c"), "72 hours after it");
    // What the desk has forgotten meanwhile is nowhere.
    other.belongs(id("never"), id("never"), &"Lumio".into(), HOUR);
    assert_eq!(other.tickets.len(), 2);
}

#[test]
fn help_that_made_a_ticket_is_help_when_its_reader_is_thankful() {
    let (mut conversations, config) = (two_in_one_thread(), Config { thanked_min: 1, ..Config::default() });
    let thanks = post("new", "ana", "b", "merci beaucoup !");
    let expected = Place::Joins { ticket_id: id("a"), thanks: Some(id("b")), has_part: true };
    assert_eq!(place(&conversations, &config, &thanks, "", 2), expected);
    conversations.thank(id("b"), id("a"), Timestamp::UNIX_EPOCH);
    conversations.begin(id("z"), Network::X, "zoe", &"Lumio".into(), None, HOUR);
    let helps = post("new", "bob", "z", "lumio has a page for that");
    assert_eq!(place(&conversations, &config, &helps, "Lumio", 3), Place::Bystander(id("z")));
    conversations.set_closed(id("z"), true);
    let found = place(&conversations, &config, &helps, "Lumio", 3);
    assert_eq!(found, Place::Bystander(id("z")), "nor where it is closed");
}
