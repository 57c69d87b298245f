//! A ticket's life, as people are shown it.

use super::*;

/// Whoever takes the ticket up must see the call that came after the post.
#[test]
fn a_timeline_tells_of_contacts_before_the_ticket_and_after() {
    use crate::ledger::conversations::timeline::{Found, What, find};
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let made = |name: &str, customer: &str, author: &str| {
        let Entry::Ticket(mut ticket) = ticket(name, 300) else { panic!() };
        let mut message = proto::Ticket::decode(&*ticket.body).unwrap();
        message.created_at_us = 100;
        let post = message.post.as_mut().unwrap();
        post.network = "bluesky".to_owned();
        post.author = Some(proto::Author { id: author.to_owned(), ..Default::default() });
        let before = proto::person::Contact { at_us: 100, channel: "mail".to_owned(), note: String::new() };
        message.person = Some(proto::Person {
            customer: customer.to_owned(),
            contacts: vec![before],
            ..Default::default()
        });
        ticket.body = message.encode_to_vec();
        Entry::Ticket(ticket)
    };
    running.settle(settlement(
        1,
        0,
        vec![made("a", "C1", "ana.example"), made("b", "", "bob.example"), made("c", "C1", "ana.example")],
    ));
    let report = |customer: &str, account: &str, channel: &str, at_us| {
        let network = if account.is_empty() { String::new() } else { "bluesky".to_owned() };
        let (customer, account, channel) = (customer.to_owned(), account.to_owned(), channel.to_owned());
        let contact = proto::Touchpoint { customer, network, account, channel, at_us, note: String::new() };
        let feedback = Feedback::Touchpoint(contact.encode_to_vec());
        running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    };
    report("C1", "", "mail", 100);
    report("C1", "", "phone", 200);
    report("", "ana.example", "chat", 150);
    report("", "bob.example", "visit", 300);
    report("C2", "", "shop", 200);
    running.settle(settlement(2, 0, vec![erased("c")]));
    // Erased before this is committed.
    report("C1", "", "post", 50);
    let told = |name: &str| {
        let Found::Ticket(found) = find(&config(folder.path()).path, &id(name).to_string()).unwrap() else {
            panic!()
        };
        let said = |what: &What| match what {
            What::Contact(contact) => contact.channel.clone(),
            What::Post { .. } => "posted".to_owned(),
            other => format!("{other:?}").chars().take(6).collect(),
        };
        found.events.iter().map(|event| said(&event.what)).collect::<Vec<_>>()
    };
    assert_eq!(told("a"), ["mail", "posted", "chat", "phone"]);
    assert_eq!(told("b"), ["mail", "posted", "visit"]);
    assert_eq!(told("c"), ["posted", "Update"], "nothing is told of whoever took back what they said");
    running.stop();
}

#[test]
fn a_timeline_tells_all_in_order_and_nothing_that_was_erased() {
    use crate::ledger::conversations::timeline::{Found, What, find};
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let entries = vec![ticket("a", 300), joins("b", "a", "ana", 1), joins("c", "a", "ana", 1), erased("b")];
    running.settle(settlement(1, 0, entries));
    let body = proto::TicketStatus { state: 3, agent: "lena".to_owned(), ..proto::TicketStatus::default() }
        .encode_to_vec();
    running.handle.feedback(Feedback::TicketStatus(id("a"), body)).blocking_recv().unwrap().unwrap();
    let path = config(folder.path()).path;
    let whole = id("a").to_string();
    // By its id, the beginning of it, and a post that joined; beside the daemon.
    for name in [whole.as_str(), &whole[..6], &id("c").to_string()] {
        let Found::Ticket(found) = find(&path, name).unwrap() else { panic!("{name}") };
        let said = |what: &What| match what {
            What::Post { .. } => "post".to_owned(),
            What::Status(status) => status.agent.clone(),
            What::Update(update) => match update.change.as_ref().unwrap() {
                Change::FollowedUp(followed) => followed.post.as_ref().unwrap().text.clone(),
                Change::PostErased(erased) => erased.post_id.clone(),
                other => panic!("{other:?}"),
            },
            What::Contact(contact) => contact.channel.clone(),
        };
        let told: Vec<_> = found.events.iter().map(|event| said(&event.what)).collect();
        assert_eq!(told, ["post", "", "text of c", "b", "lena"]);
    }
    assert_eq!(find(&path, "0123456789abcdef").unwrap(), Found::Nothing);
    running.settle(settlement(2, 0, vec![ticket("z", 300)]));
    running.subscribe("committed", false);
    let Found::Several(several) = find(&path, "").unwrap() else { panic!("both begin with nothing") };
    assert_eq!(several.len(), 2);
    running.stop();
}
