use jiff::Timestamp;

use super::*;
use crate::parse::{Author, Post};

mod threads;

const HOUR: i64 = 3_600_000_000;

fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::X, post)
}

fn post<'p>(name: &'p str, author: &'p str, reply_to: &'p str, text: &'p str) -> Post<'p> {
    let author = Author { id: author.into(), ..Author::default() };
    let reply_to = (!reply_to.is_empty()).then(|| reply_to.into());
    Post { reply_to, ..Post::new(Network::X, name.into(), author, text.into()) }
}

/// Ana's ticket of post "a" about Lumio, at 0.
fn conversations() -> Conversations {
    let mut conversations = Conversations::default();
    conversations.begin(id("a"), Network::X, "ana", &"Lumio".into(), None, 0);
    conversations
}

fn place(conversations: &Conversations, config: &Config, post: &Post<'_>, brand: &str, hours: i64) -> Place {
    let at = Timestamp::from_microsecond(hours * HOUR).unwrap();
    let is_thanks = post.text.starts_with("merci");
    conversations.place(config, post, &brand.into(), post.text.contains("@lumio"), is_thanks, at)
}

fn joins(has_part: bool) -> Place {
    Place::Joins { ticket_id: id("a"), thanks: None, has_part }
}

fn alone(earlier: Option<&str>) -> Place {
    Place::Alone { earlier: earlier.map(id) }
}

#[test]
fn the_same_author_joins_for_so_many_hours_and_a_thread_for_as_long_as_it_is_open() {
    let (conversations, config) = (conversations(), Config::default());
    let check = |author: &str, reply_to: &str, text: &str, brand: &str, hours: i64, expected: Place| {
        let post = post("new", author, reply_to, text);
        assert_eq!(
            place(&conversations, &config, &post, brand, hours),
            expected,
            "{author} {reply_to} {hours}"
        );
    };
    check("ana", "", "lumio again", "Lumio", 71, joins(false));
    check("ana", "", "lumio again", "Lumio", 72, alone(Some("a")));
    check("ana", "a", "still nothing", "", 500, joins(true));
    check("ana", "a", "lumio again", "Lumio", 500, joins(true));
    // Another brand, another person.
    check("ana", "", "nord", "Nord", 1, alone(None));
    check("ana", "a", "nord", "Nord", 1, alone(None));
    check("bob", "", "lumio", "Lumio", 1, alone(None));
    // Others join where they speak to us, and are strangers otherwise.
    check("bob", "a", "@lumio same here", "Lumio", 1, joins(false));
    check("bob", "a", "lumio is down for me, too", "Lumio", 1, alone(None));
    check("bob", "a", "try to restart it", "", 1, Place::Bystander(id("a")));
    let quoting = Post { quote_of: Some("a".into()), ..post("new", "ana", "", "see") };
    assert_eq!(place(&conversations, &config, &quoting, "", 500), joins(true));
    let alone_only = Config { others: false, join_hours: 0, ..config };
    let named = post("new", "bob", "a", "@lumio same here");
    assert_eq!(place(&conversations, &alone_only, &named, "Lumio", 1), alone(None));
    assert_eq!(
        place(&conversations, &alone_only, &post("new", "ana", "", "x"), "Lumio", 0),
        alone(Some("a"))
    );
}

#[test]
fn a_post_that_joined_carries_the_thread_on_and_the_time() {
    let (mut conversations, config) = (conversations(), Config::default());
    conversations.add(id("b"), id("a"), Network::X, "bob", Part::Joined, 50 * HOUR);
    conversations.add(id("answer"), id("a"), Network::X, "lumio", Part::Answer, 51 * HOUR);
    let check = |author: &str, reply_to: &str, hours: i64, expected: Place| {
        let post = post("new", author, reply_to, "still nothing");
        assert_eq!(place(&conversations, &config, &post, "", hours), expected, "{author} {reply_to}");
    };
    check("bob", "b", 60, joins(true));
    check("ana", "answer", 60, joins(true));
    check("cy", "answer", 60, Place::Bystander(id("a")));
    let named = post("new", "ana", "", "lumio");
    assert_eq!(
        place(&conversations, &config, &named, "Lumio", 121),
        joins(false),
        "72 hours after the last post"
    );
}

#[test]
fn nothing_joins_what_is_closed_or_of_which_nothing_is_left() {
    let config = Config::default();
    let again = post("new", "ana", "a", "lumio again");
    let found = |conversations: &Conversations| place(conversations, &config, &again, "Lumio", 1);
    let mut closed = conversations();
    closed.set_closed(id("a"), true);
    assert_eq!(found(&closed), alone(Some("a")));
    closed.set_closed(id("a"), false);
    assert_eq!(found(&closed), joins(true));
    closed.end(id("a"));
    closed.set_closed(id("a"), false);
    assert_eq!(found(&closed), alone(Some("a")), "whatever a helpdesk says of it");

    // What was overheard, and made a ticket: it is a thread of its own.
    let mut own = conversations();
    own.add(id("b"), id("a"), Network::X, "bob", Part::Bystander, 0);
    own.begin(id("b"), Network::X, "bob", &"Lumio".into(), Some(id("a")), 0);
    let reply = post("new", "bob", "b", "still nothing");
    let expected = Place::Joins { ticket_id: id("b"), thanks: None, has_part: true };
    assert_eq!(place(&own, &config, &reply, "", 1), expected);
    assert!(own.post_deleted(id("b")) && !own.post_deleted(id("b")));
}

#[test]
fn the_newest_ticket_that_is_open_is_joined() {
    let (mut conversations, config) = (conversations(), Config::default());
    for (n, name) in (1..).zip(["b", "c", "d", "e"]) {
        conversations.begin(id(name), Network::X, "ana", &"Lumio".into(), None, n * HOUR);
    }
    let named = post("new", "ana", "", "lumio");
    for (closed, expected) in [("", "e"), ("e", "d"), ("d", "c"), ("c", "b")] {
        conversations.set_closed(id(closed), true);
        let expected = Place::Joins { ticket_id: id(expected), thanks: None, has_part: false };
        assert_eq!(place(&conversations, &config, &named, "Lumio", 5), expected, "{closed} is closed");
    }
    // Of so many at most: the fifth is forgotten here.
    conversations.set_closed(id("b"), true);
    assert_eq!(place(&conversations, &config, &named, "Lumio", 5), alone(Some("e")));
}

#[test]
fn who_was_thanked_often_enough_by_those_who_asked_is_no_ticket_for_answering() {
    let config = Config { thanked_min: 2, ..Config::default() };
    let mut conversations = Conversations::default();
    let advice = |name: &str, parent: &str| -> (String, String) { (name.to_owned(), parent.to_owned()) };
    for (n, asked) in (0..).zip(["a", "b", "c"]) {
        conversations.begin(id(asked), Network::X, &format!("asks {asked}"), &"Lumio".into(), None, n * HOUR);
        let (name, parent) = advice(&format!("help {asked}"), asked);
        let helps = post(&name, "helen", &parent, "@lumio has a page for that");
        let expected = match n {
            2 => Place::Bystander(id(asked)),
            _ => Place::Joins { ticket_id: id(asked), thanks: None, has_part: false },
        };
        assert_eq!(place(&conversations, &config, &helps, "Lumio", n), expected, "{asked}");
        conversations.add(id(&name), id(asked), Network::X, "helen", Part::Joined, n * HOUR);
        let by = format!("asks {asked}");
        for (text, is_thanks) in [("merci beaucoup !", true), ("toujours rien", false)] {
            let thanks = post("thanks", &by, &name, text);
            let found = place(&conversations, &config, &thanks, "", n);
            let thanked = is_thanks.then(|| id(&name));
            assert_eq!(
                found,
                Place::Joins { ticket_id: id(asked), thanks: thanked, has_part: true },
                "{text}"
            );
        }
        conversations.thank(id(&name), id(asked), Timestamp::from_microsecond(n * HOUR).unwrap());
    }
    // A question of her own is one, and in time she is forgotten.
    let asks = post("own", "helen", "", "lumio is down");
    assert_eq!(place(&conversations, &config, &asks, "Lumio", 3), alone(None));
    let late = post("late", "helen", "c", "@lumio look");
    let after = place(&conversations, &config, &late, "Lumio", 91 * 24);
    assert!(matches!(after, Place::Joins { .. }), "{after:?}");
    // Nor is who says thanks below a further post of their own.
    conversations.add(id("more"), id("a"), Network::X, "asks a", Part::Joined, 0);
    let thanks = post("thanks", "asks a", "more", "merci");
    let expected = Place::Joins { ticket_id: id("a"), thanks: None, has_part: true };
    assert_eq!(place(&conversations, &config, &thanks, "", 1), expected);
    // Whoever is thanked for an answer of ours is not a helper.
    conversations.add(id("ours"), id("a"), Network::X, "lumio", Part::Answer, 0);
    let thanks = post("thanks", "asks a", "ours", "merci");
    let expected = Place::Joins { ticket_id: id("a"), thanks: None, has_part: true };
    assert_eq!(place(&conversations, &config, &thanks, "", 1), expected);
}

#[test]
fn memory_is_bounded_and_the_oldest_go_first() {
    let mut conversations = Conversations::default();
    let brand: Arc<str> = "Lumio".into();
    for n in 0..=CONVERSATIONS_MAX {
        let name = n.to_string();
        conversations.begin(id(&name), Network::X, &name, &brand, None, 0);
    }
    assert_eq!(
        (conversations.tickets.len(), conversations.newest.len()),
        (CONVERSATIONS_MAX, CONVERSATIONS_MAX)
    );
    for n in 0..=FURTHER_MAX {
        conversations.add(id(&format!("post {n}")), id("7"), Network::X, "7", Part::Joined, 0);
    }
    assert_eq!((conversations.further.len(), conversations.further_ages.len()), (FURTHER_MAX, FURTHER_MAX));
    let found =
        |author: &str| place(&conversations, &Config::default(), &post("new", author, "", "x"), "Lumio", 1);
    assert_eq!(
        (found("0"), found("1")),
        (alone(None), Place::Joins { ticket_id: id("1"), thanks: None, has_part: false })
    );
}

#[test]
fn where_no_post_joins_by_its_author_alone_an_older_one_does_not_either() {
    let config = Config { join_hours: 0, ..Config::default() };
    let post = post("new", "ana", "", "lumio again");
    for hours in [-1, 0, 1] {
        assert_eq!(place(&conversations(), &config, &post, "Lumio", hours), alone(Some("a")), "{hours}");
    }
}

#[test]
fn whoever_was_thanked_last_is_kept() {
    let mut conversations = Conversations::default();
    let thanked = |conversations: &mut Conversations, who: usize, ticket: &str, at_us: i64| {
        conversations.remember_thanks(Network::X, &who.to_string(), id(ticket), at_us);
    };
    for who in 0..THANKED_MAX {
        thanked(&mut conversations, who, "a", who as i64);
    }
    // The first one has been helping longest, and helps still.
    thanked(&mut conversations, 0, "b", THANKED_MAX as i64);
    thanked(&mut conversations, THANKED_MAX, "a", THANKED_MAX as i64 + 1);
    let is_known = |who: usize| conversations.thanked.contains_key(&Person::of(Network::X, &who.to_string()));
    assert_eq!((is_known(0), is_known(1), is_known(2)), (true, false, true));
    assert_eq!(conversations.thanked_ages.len(), THANKED_MAX);
    conversations.forget_helper(Network::X, "0");
    assert_eq!(
        (conversations.thanked.len(), conversations.thanked_ages.len()),
        (THANKED_MAX - 1, THANKED_MAX - 1)
    );
}

#[test]
fn a_post_that_is_forgotten_may_be_in_the_ledger() {
    let mut conversations = conversations();
    conversations.add(id("b"), id("a"), Network::X, "bob", Part::Bystander, 0);
    assert!(!conversations.has_forgotten);
    let mut elsewhere = conversations;
    elsewhere.add(id("c"), id("never begun"), Network::X, "bob", Part::Bystander, 0);
    assert!(elsewhere.has_forgotten);
    let mut many = self::conversations();
    for n in 0..=FURTHER_MAX {
        assert!(!many.has_forgotten, "{n}");
        many.add(id(&n.to_string()), id("a"), Network::X, "bob", Part::Bystander, 0);
    }
    assert!(many.has_forgotten, "and the ledger is asked");
}
