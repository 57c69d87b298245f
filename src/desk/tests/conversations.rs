//! What becomes of posts in threads: from the candidate to the decision.

use std::time::Duration;

use super::*;
use crate::desk::conversation::{Part, Remembered, RememberedPost};
use crate::desk::told::{Status, Told};
use crate::parse::Post;
use crate::ticket::proto::ticket_status::State;

const THANKFUL: Verdict = Verdict {
    sentiment: [0.0, 0.0, 1.0],
    intent: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    urgency: [1.0, 0.0, 0.0],
    language: Language::UNCLEAR,
};

fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::Plain, post)
}

/// A post of Lumio's, or of nobody's, by `author` in answer to `reply_to`.
fn post(name: &str, author: &str, reply_to: &str, brand: &str, text: &str) -> Candidate {
    let mut candidate = candidate(name, text);
    candidate.post.author.id = author.to_owned().into();
    candidate.post.reply_to = (!reply_to.is_empty()).then(|| reply_to.to_owned().into());
    candidate.brand = brand.into();
    candidate
}

/// Ana's ticket "a".
fn of_ana() -> Desk {
    let mut desk = Desk::default();
    assert!(is_ticket(&decide(&mut desk, &post("a", "ana", "", "Lumio", "lumio panne"), &PROBLEM)));
    desk
}

fn joined(decision: Decision) -> TicketId {
    let Decision::Joined(joined) = decision else { panic!("{decision:?}") };
    joined.ticket_id
}

fn solved(ticket: &str) -> Told {
    Told::Status(id(ticket), Status { state: State::Solved, agent: "".into(), first_answer_at_us: 0 })
}

#[test]
fn a_bystanders_answer_never_cuts_the_thread_off() {
    // What it is itself: a ticket, no customer message, a helper's, or a stranger's.
    let is_helper = |desk: &mut Desk| {
        for ticket in 0..3 {
            desk.conversations.remember_thanks(Network::Plain, "bob", id(&ticket.to_string()), 0);
        }
    };
    let check = |brand: &str, verdict: Verdict, helper: bool, expected: fn(&Decision) -> bool| {
        let mut desk = of_ana();
        if helper {
            is_helper(&mut desk);
        }
        let advice = post("b", "bob", "a", brand, "lumio does that, try restarting");
        let decision = decide(&mut desk, &advice, &verdict);
        assert!(expected(&decision), "{decision:?}");
        let answer = post("c", "ana", "b", "", "did that, still broken");
        assert_eq!(joined(decide(&mut desk, &answer, &PROBLEM)), id("a"), "after {decision:?}");
    };
    let is_beside = |decision: &Decision| *decision == Decision::Bystander(id("a"));
    check("Lumio", PROBLEM, false, is_ticket);
    check("Lumio", other(0.99), false, is_beside);
    check("Lumio", PROBLEM, true, is_beside);
    check("", PROBLEM, false, is_beside);
    // Not where it stands in no thread.
    let mut desk = of_ana();
    let alone = post("b", "bob", "", "Lumio", "lumio does that");
    assert_eq!(decide(&mut desk, &alone, &other(0.99)), Decision::Unsupported);
}

#[test]
fn who_only_names_the_brand_goes_on_with_their_open_ticket_and_begins_none() {
    let named = |id: &'static str, author: &'static str| Candidate {
        value: 0,
        ..post(id, author, "", "Lumio", "lumio, vous m'avez oublié")
    };
    let mut desk = of_ana();
    let Decision::Joined(again) = decide(&mut desk, &named("b", "ana"), &PROBLEM) else { panic!() };
    assert_eq!((again.ticket_id, again.otherwise), (id("a"), None), "should that be closed by then");
    assert_eq!(decide(&mut desk, &named("c", "bob"), &PROBLEM), Decision::Unmatched);
    assert_eq!(decide(&mut desk, &named("d", "ana"), &other(0.99)), Decision::Unmatched);
    desk.hear(&solved("a"));
    assert_eq!(decide(&mut desk, &named("e", "ana"), &PROBLEM), Decision::Unmatched);
}

#[test]
fn who_names_several_brands_goes_on_with_their_open_ticket_of_any() {
    let named = |id: &'static str| Candidate {
        value: 0,
        also_named: vec!["Lumio Mobile".into()],
        ..post(id, "ana", "", "Lumio", "lumio mobile, vous m'avez oublié")
    };
    let mut desk = Desk::default();
    assert!(is_ticket(&decide(
        &mut desk,
        &post("a", "ana", "", "Lumio Mobile", "@lumiomobile en panne"),
        &PROBLEM
    )));
    assert_eq!(joined(decide(&mut desk, &named("b"), &PROBLEM)), id("a"), "none of the first is open");
    // Of two that are, the one of the newest post.
    let at = |second| Timestamp::from_second(second).unwrap();
    let opinion = Opinion { model: "model 1", provisional: false };
    let mut decide = |candidate: &Candidate, second| {
        desk.decide(&Config::default(), candidate, &PROBLEM, opinion, &mut Strangers, at(second)).unwrap()
    };
    assert!(is_ticket(&decide(&post("c", "ana", "", "Lumio", "@lumio en panne"), 10)));
    assert_eq!(joined(decide(&named("d"), 20)), id("c"));
    assert_eq!(
        joined(decide(&post("e", "ana", "", "Lumio Mobile", "@lumiomobile panne encore"), 30)),
        id("a")
    );
    assert_eq!(joined(decide(&named("f"), 40)), id("a"));
}

#[test]
fn who_writes_again_below_a_closed_ticket_gets_another_of_its_brand_which_says_so() {
    let mut desk = of_ana();
    desk.hear(&solved("a"));
    // Thanks are none, and a part of the thread all the same.
    let thanks = post("b", "ana", "a", "", "merci beaucoup !");
    assert_eq!(decide(&mut desk, &thanks, &THANKFUL), Decision::Bystander(id("a")));
    let again = post("c", "ana", "b", "", "non, toujours rien");
    let Decision::Ticket(ticket) = decide(&mut desk, &again, &PROBLEM) else { panic!() };
    assert_eq!(ticket.brand, "Lumio");
    assert!(ticket.factors.iter().any(|factor| factor.name == "follow_ups"), "{:?}", ticket.factors);
    assert_eq!(joined(decide(&mut desk, &post("d", "ana", "a", "", "et maintenant ?"), &PROBLEM)), id("c"));
    // Nobody else has part in it.
    let stranger = post("e", "bob", "a", "", "et maintenant ?");
    assert_eq!(decide(&mut desk, &stranger, &PROBLEM), Decision::Bystander(id("a")));
}

#[test]
fn a_post_that_the_ledger_put_elsewhere_is_where_it_is() {
    let mut desk = of_ana();
    assert_eq!(joined(decide(&mut desk, &post("b", "ana", "a", "", "toujours rien"), &PROBLEM)), id("a"));
    desk.hear(&Told::Belongs {
        post_id: id("b"),
        ticket_id: id("b"),
        brand: "Lumio".into(),
        in_thread: true,
        at_us: 0,
    });
    assert_eq!(joined(decide(&mut desk, &post("c", "ana", "b", "", "toujours rien"), &PROBLEM)), id("b"));
    assert_eq!(joined(decide(&mut desk, &post("d", "ana", "", "Lumio", "lumio !"), &PROBLEM)), id("b"));
    // What is gone stays so, whatever a helpdesk says of it; what is no customer message may be opened again.
    let open = |ticket: &str| {
        Told::Status(id(ticket), Status { state: State::Open, agent: "".into(), first_answer_at_us: 0 })
    };
    let next = |desk: &mut Desk, name: &str| decide(desk, &post(name, "ana", "b", "", "rien"), &PROBLEM);
    [Told::Closed(id("b")), open("b")].iter().for_each(|told| desk.hear(told));
    assert_eq!(joined(next(&mut desk, "e")), id("b"));
    [Told::Over(id("b")), open("b")].iter().for_each(|told| desk.hear(told));
    assert!(is_ticket(&next(&mut desk, "f")));
}

#[test]
fn a_restart_knows_which_tickets_stand_in_one_thread() {
    let mut desk = Desk::default();
    let remembered = |ticket: &str, author: &str, thread: Option<&str>| Remembered {
        ticket_id: id(ticket),
        network: Network::Plain,
        author_id: author.to_owned(),
        brand: "Lumio".into(),
        posted_at_us: 0,
        watch: None,
        thread: thread.map(id),
        is_closed: false,
        is_erased: false,
    };
    desk.remember_conversation(&remembered("a", "ana", None));
    desk.remember_conversation(&remembered("b", "bob", Some("a")));
    assert_eq!(joined(decide(&mut desk, &post("c", "ana", "b", "", "toujours rien"), &PROBLEM)), id("a"));
    // Posts that are gone have joined all the same.
    let gone = |n: u32| RememberedPost {
        post_id: id(&format!("gone {n}")),
        ticket_id: id("b"),
        network: Network::Plain,
        author_id: "bob".to_owned(),
        text_hash: 0,
        part: Part::Joined,
        at_us: 0,
        is_erased: true,
        watch: None,
    };
    (0..conversation::JOINED_MAX).for_each(|n| desk.remember_post(&gone(n)));
    assert!(is_ticket(&decide(&mut desk, &post("d", "bob", "b", "", "toujours rien"), &PROBLEM)));
    // And what was missed while running.
    let missed = Remembered { is_closed: true, ..remembered("a", "ana", None) };
    desk.recall_conversation(&missed, false);
    desk.recall_conversation(&remembered("e", "eve", Some("a")), true);
    assert_eq!(joined(decide(&mut desk, &post("f", "eve", "a", "", "toujours rien"), &PROBLEM)), id("e"));
    assert!(is_ticket(&decide(&mut desk, &post("g", "ana", "a", "", "toujours rien"), &PROBLEM)));
}

#[test]
fn an_answer_counts_from_when_it_was_given() {
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let check = |seen: Option<i64>, expected: i64| {
        let mut answer = candidate("x", "bonjour").post;
        answer.seen_at = seen.map(at);
        assert_eq!(answered_at(&answer, at(500)), at(expected), "{seen:?}");
    };
    // After an outage it comes late; a network's clock may be ahead.
    check(Some(100), 100);
    check(Some(900), 500);
    check(None, 500);
}

#[test]
fn whatever_the_desk_may_have_forgotten_the_ledger_is_asked_for() {
    let mut desk = of_ana();
    assert!(!desk.deletes(id("never")), "certain");
    desk.conversations.add(id("b"), id("unknown"), Network::Plain, "bob", Part::Bystander, 0);
    assert!(desk.deletes(id("never")));
}

#[test]
fn thanks_in_a_thread_open_no_ticket_whether_or_not_they_name_the_brand() {
    let thanks = |author: &str, reply_to: &str, brand: &str| {
        post("thanks", author, reply_to, brand, "@lumio merci beaucoup !")
    };
    let check = |told: Told, post: Candidate, expected: &dyn Fn(&Decision) -> bool| {
        let mut desk = of_ana();
        desk.hear(&told);
        let decision = decide(&mut desk, &post, &THANKFUL);
        assert!(expected(&decision), "{told:?} {} {decision:?}", post.post.author.id);
    };
    let is_beside = |decision: &Decision| *decision == Decision::Bystander(id("a"));
    for author in ["ana", "bob"] {
        check(solved("a"), thanks(author, "a", "Lumio"), &is_beside);
        check(solved("a"), thanks(author, "", "Lumio"), &is_ticket);
        check(solved("a"), thanks(author, "a", "Nord"), &is_ticket);
    }
    // There is nothing left to keep it with.
    check(Told::Over(id("a")), thanks("ana", "a", "Lumio"), &|decision| *decision == Decision::Unsupported);
    // A complaint is one.
    let still = post("b", "ana", "a", "Lumio", "@lumio toujours en panne");
    check(solved("a"), still, &is_ticket);
    // Nor is it one if the ledger finds its ticket closed.
    let check = |post: Candidate, is_one: bool| {
        let Decision::Joined(joined) = decide(&mut of_ana(), &post, &THANKFUL) else { panic!() };
        assert_eq!(joined.otherwise.is_some(), is_one);
    };
    check(thanks("ana", "a", "Lumio"), false);
    check(thanks("ana", "", "Lumio"), true);
}

#[test]
fn a_ticket_that_nothing_has_joined_ends_with_its_post_at_once() {
    let again = post("b", "ana", "", "Lumio", "lumio panne");
    let mut desk = of_ana();
    assert!(desk.deletes(id("a")));
    assert!(is_ticket(&decide(&mut desk, &again, &PROBLEM)), "before the ledger says that it is gone");
    let mut desk = of_ana();
    assert_eq!(joined(decide(&mut desk, &post("c", "ana", "a", "", "toujours rien"), &PROBLEM)), id("a"));
    assert!(desk.deletes(id("a")));
    assert_eq!(joined(decide(&mut desk, &again, &PROBLEM)), id("a"), "others are there");
}

#[test]
fn after_missed_reports_what_began_meanwhile_is_known_however_many_tickets_there_are() {
    let mut desk = Desk::default();
    let brand = "Lumio".into();
    for n in 0..conversation::CONVERSATIONS_MAX {
        let name = n.to_string();
        desk.conversations.begin(id(&name), Network::Plain, &name, &brand, None, 0);
    }
    let remembered = |ticket: &str| Remembered {
        ticket_id: id(ticket),
        network: Network::Plain,
        author_id: ticket.to_owned(),
        brand: "Lumio".into(),
        posted_at_us: 0,
        watch: None,
        thread: None,
        is_closed: false,
        is_erased: false,
    };
    // As the ledger has them: one that was forgotten here long since, and two newer ones.
    let mut is_newer = false;
    for ticket in ["forgotten", "0", "new", "1", "newer"] {
        is_newer |= desk.recall_conversation(&remembered(ticket), is_newer);
    }
    let mut place = |ticket: &str| {
        let below = post(&format!("below {ticket}"), ticket, ticket, "", "toujours rien");
        matches!(decide(&mut desk, &below, &PROBLEM), Decision::Joined(_))
    };
    assert!(place("new") && place("2"));
    assert!(place("newer"));
    assert!(!place("forgotten") && !place("0"), "the oldest");
}

#[test]
fn thanks_that_the_ledger_kept_beside_a_ticket_are_heard_once_they_are_changed() {
    let mut desk = of_ana();
    let thanks = post("b", "ana", "a", "", "merci beaucoup !");
    assert_eq!(joined(decide(&mut desk, &thanks, &THANKFUL)), id("a"));
    // It was closed by then.
    [Told::Closed(id("a")), Told::Beside(id("b"))].iter().for_each(|told| desk.hear(told));
    let still = post("b", "ana", "a", "", "merci mais ça ne marche pas");
    assert!(is_ticket(&decide(&mut desk, &still, &PROBLEM)));
    // It takes no place among those that have joined.
    let mut desk = of_ana();
    for n in 0..conversation::JOINED_MAX {
        let name = n.to_string();
        assert_eq!(joined(decide(&mut desk, &post(&name, "ana", "a", "", "alors ?"), &PROBLEM)), id("a"));
    }
    desk.hear(&Told::Beside(id("7")));
    let reply = |name: &'static str, author: &'static str| post(name, author, "7", "", "toujours rien");
    assert_eq!(decide(&mut desk, &reply("bob's", "bob"), &PROBLEM), Decision::Bystander(id("a")));
    assert_eq!(joined(decide(&mut desk, &reply("ana's", "ana"), &PROBLEM)), id("a"));
    desk.hear(&Told::Beside(id("never")));
}

#[test]
fn of_a_thread_of_thousands_the_ledger_is_told_of_no_more_than_are_kept() {
    let mut desk = of_ana();
    let others = |n: u32| post(&format!("b {n}"), "bob", "a", "", "et alors ?");
    for n in 0..conversation::BYSTANDERS_MAX {
        assert_eq!(decide(&mut desk, &others(n), &PROBLEM), Decision::Bystander(id("a")), "{n}");
    }
    let more = others(conversation::BYSTANDERS_MAX);
    assert_eq!(decide(&mut desk, &more, &PROBLEM), Decision::Unmatched);
    assert_eq!(desk.overhears(&Config::default(), &more.post, Timestamp::UNIX_EPOCH), None);
    let refused = post("c", "bob", "a", "Lumio", "lumio does that");
    assert_eq!(decide(&mut desk, &refused, &other(0.99)), Decision::Unsupported);
    let reply = post("d", "ana", "b 0", "", "toujours rien");
    assert_eq!(joined(decide(&mut desk, &reply, &PROBLEM)), id("a"));
}

/// A gold customer, whoever it is.
struct Customers;

impl People for Customers {
    fn author_of(&mut self, _: &Post<'_>, _: Duration, _: Timestamp) -> Result<Person, Unreadable> {
        let customer =
            person::Customer { key: "C1".to_owned(), tier: "gold".to_owned(), ..Default::default() };
        Ok(Person { customer: Some(customer.into()), touchpoints: Vec::new() })
    }

    fn new_agents(&mut self) -> Result<Option<Vec<Agent>>, Unreadable> {
        Ok(None)
    }
}

#[test]
fn who_is_in_danger_or_a_customer_who_speaks_to_us_has_a_ticket_of_their_own_in_anybodys_thread() {
    let opinion = Opinion { model: "model 1", provisional: false };
    let check = |text: &str, brand: &str, verdict: &Verdict, people: &mut dyn People, is_one: bool| {
        let mut desk = of_ana();
        let mut answer = post("b", "bob", "a", brand, text);
        answer.addressed = !brand.is_empty();
        let decision = desk
            .decide(&Config::default(), &answer, verdict, opinion, people, Timestamp::UNIX_EPOCH)
            .unwrap();
        let ticket = match &decision {
            Decision::Ticket(ticket) => Some((ticket.brand.as_str(), desk.conversations.first_of(id("b")))),
            _ => None,
        };
        assert_eq!(ticket, is_one.then_some(("Lumio", id("a"))), "{text}: {decision:?}");
        // It is theirs from here on.
        if is_one {
            assert_eq!(joined(decide(&mut desk, &post("c", "bob", "a", "", "et alors"), &PROBLEM)), id("b"));
        }
    };
    // Who has one already goes on in that.
    let mut desk = of_ana();
    let own = post("own", "bob", "", "Lumio", "lumio en panne");
    let config = Config::default();
    let mut decide_of = |post: &Candidate| {
        desk.decide(&config, post, &PROBLEM, opinion, &mut Customers, Timestamp::UNIX_EPOCH).unwrap()
    };
    assert!(is_ticket(&decide_of(&own)));
    let mut answer = post("d", "bob", "a", "Lumio", "@lumio et moi ?");
    answer.addressed = true;
    assert_eq!(joined(decide_of(&answer)), id("own"));
    let (broken, fire) = ("@lumio chez moi aussi, en panne", "attention, la mienne a pris feu");
    check(broken, "Lumio", &PROBLEM, &mut Strangers, false);
    check(broken, "Lumio", &PROBLEM, &mut Customers, true);
    check("merci @lumio", "Lumio", &THANKFUL, &mut Customers, false);
    // Who does not speak to us is a customer beside the thread, unless they are in danger.
    check("chez moi aussi, en panne", "", &PROBLEM, &mut Customers, false);
    for brand in ["", "Lumio"] {
        check(fire, brand, &PROBLEM, &mut Strangers, true);
        check(fire, brand, &other(0.7), &mut Strangers, true);
        check(fire, brand, &THANKFUL, &mut Strangers, false);
    }
}

/// For people who ask why.
#[test]
fn a_post_that_is_no_ticket_is_told_why_not() {
    let check = |candidate: Candidate, verdict: &Verdict, helps: bool, expected: Aside| {
        let mut desk = of_ana();
        if expected == Aside::Thanks {
            desk.hear(&solved("a"));
        }
        for ticket in 0..if helps { 3 } else { 2 } {
            desk.conversations.remember_thanks(Network::Plain, "bob", id(&ticket.to_string()), 0);
        }
        let opinion = Opinion { model: "model 1", provisional: false };
        let (config, now) = (Config::default(), Timestamp::UNIX_EPOCH);
        let tried = desk.try_out(&config, &candidate, verdict, opinion, &mut Strangers, now).unwrap();
        assert_eq!((tried.decision, tried.aside), (Decision::Bystander(id("a")), expected));
    };
    let advice = |brand: &str| post("b", "bob", "a", brand, "lumio does that, try restarting");
    check(advice("Lumio"), &PROBLEM, true, Aside::Helper);
    check(advice(""), &PROBLEM, true, Aside::Helper);
    check(advice(""), &PROBLEM, false, Aside::Stranger);
    check(advice("Lumio"), &other(0.99), false, Aside::NoMessage);
    check(post("b", "bob", "a", "Lumio", "lumio merci beaucoup !"), &THANKFUL, false, Aside::Thanks);
}

#[test]
fn what_a_post_gives_by_itself_holds_nothing_of_how_many_there_were() {
    let mut desk = of_ana();
    let opinion = Opinion { model: "model 1", provisional: false };
    let (mut config, now) = (Config::default(), Timestamp::UNIX_EPOCH);
    let further = post("b", "ana", "a", "Lumio", "lumio panne");
    // A limit of the group would take away what is not there.
    config.factors.caps = config.factors.caps.with(priority::Group::Post, 30);
    let tried = desk.try_out(&config, &further, &PROBLEM, opinion, &mut Strangers, now).unwrap();
    assert!(matches!(tried.decision, Decision::Joined(_)));
    assert!(
        tried.explained.lines.iter().all(|line| line.name != follow_up::FACTOR && line.name != "cap of post")
    );
    let alone = config.ticket(&further, &PROBLEM, &Person::default(), "model 1", now);
    assert_eq!(u32::from(tried.explained.priority), alone.priority);
}
