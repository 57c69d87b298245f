//! Erasure: a text that its author took back goes wherever it is stored, and with it what the company knew of the author.

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, params};

use super::records::{bodies_of, replace_body};
use super::store::add_update;
use super::writer::Changes;
use super::{Body, assigned, conversations, deadlines};
use crate::desk::priority::{ERASED, forget, is_knowing};
use crate::desk::told::Told;
use crate::ticket::{TicketId, proto};

/// Why a text is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Erasure {
    PostDeleted,
    /// The name goes too: there is nobody left to answer.
    AccountDeleted,
}

impl Erasure {
    pub(super) fn name(self) -> &'static str {
        match self {
            Erasure::PostDeleted => "post_deleted",
            Erasure::AccountDeleted => "account_deleted",
        }
    }
}

/// Removes a ticket's text wherever it is stored, and records that for the helpdesks; whether there was one.
pub(super) fn erase(
    connection: &Connection,
    ticket_id: TicketId,
    reason: Erasure,
    at: Timestamp,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<bool> {
    let erased = proto::update::Erased { reason: reason.name().to_owned() };
    let update = proto::Update {
        ticket_id: ticket_id.as_bytes().to_vec(),
        at_us: at.as_microsecond(),
        change: Some(proto::update::Change::Erased(erased)),
    };
    let Some(head) = add_update(connection, ticket_id, &update, ageing_points_per_hour)? else {
        return Ok(false);
    };
    changes.heads.push(head);
    deadlines::forget(connection, ticket_id, changes)?;
    assigned::end(connection, ticket_id, changes)?;
    read_no_more(connection, ticket_id, changes)?;
    connection
        .prepare_cached("UPDATE ticket SET erased_at_us = ?2 WHERE id = ?1")?
        .execute(params![ticket_id.as_bytes(), at.as_microsecond()])?;
    for (seq, body) in bodies_of(connection, ticket_id)? {
        let body = match body {
            Body::Ticket(bytes) => without_ticket(&bytes, reason),
            Body::Update(bytes) => without_text_in_update(&bytes, reason),
        };
        replace_body(connection, seq, &body)?;
    }
    conversations::forget_words(connection, ticket_id)?;
    changes.told.push(Told::Over(ticket_id));
    Ok(true)
}

/// Nobody will read again what is not there any more.
pub(super) fn read_no_more(
    connection: &Connection,
    ticket_id: TicketId,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let awaited = connection
        .prepare_cached("UPDATE ticket SET provisional = 0 WHERE id = ?1 AND provisional = 1")?
        .execute([ticket_id.as_bytes()])?;
    changes.provisional -= i64::from(awaited > 0);
    Ok(())
}

/// The same of a ticket of which nothing is left: who has not fetched it need not make one.
fn without_ticket(bytes: &[u8], reason: Erasure) -> Vec<u8> {
    let mut ticket =
        proto::Ticket::decode(&*without_text_in_ticket(bytes, reason)).expect("it was encoded just now");
    ticket.erased = true;
    ticket.encode_to_vec()
}

pub(super) fn without_text_in_ticket(bytes: &[u8], reason: Erasure) -> Vec<u8> {
    // We wrote these bytes; should they not decode, an empty ticket is the safe answer to an erasure.
    let mut ticket = proto::Ticket::decode(bytes).unwrap_or_default();
    if let Some(post) = &mut ticket.post {
        clear_post(post, reason);
    }
    ticket.hits.clear();
    without_words(&mut ticket.factors);
    // The customer stays known to the company, and to the ticket of their next post.
    ticket.person = None;
    // Which articles fit a text says what was in it.
    ticket.articles.clear();
    ticket.assignment.iter_mut().for_each(without_reasons);
    ticket.encode_to_vec()
}

pub(super) fn clear_post(post: &mut proto::Post, reason: Erasure) {
    post.text.clear();
    post.mentions.clear();
    post.hashtags.clear();
    post.links.clear();
    if let Some(author) = post.author.as_mut().filter(|_| reason == Erasure::AccountDeleted) {
        author.name.clear();
        author.handle.clear();
    }
}

/// The one whose evidence repeats the text.
const REPEATING: &str = "sensitive";

/// Which sensitive words a text held says what was in it, and what was bought who wrote it; the points and the topics
/// stay.
pub(super) fn without_words(factors: &mut [proto::Factor]) {
    factors.iter_mut().filter(|factor| factor.name == REPEATING).for_each(erase_evidence);
    factors.iter_mut().filter(|factor| is_knowing(factor)).for_each(erase_evidence);
}

/// Why somebody answers may repeat what is known of the author, as a rule or a value does, and topics of the text: the
/// team and the agent stay.
pub(super) fn without_reasons(assignment: &mut proto::Assignment) {
    if !assignment.reasons.is_empty() {
        assignment.reasons = vec![ERASED.to_owned()];
    }
}

fn erase_evidence(factor: &mut proto::Factor) {
    ERASED.clone_into(&mut factor.evidence);
}

/// The record without what the company had told of its author, whom it wants to forget; the text stays. `None`: it says
/// nothing of them.
pub(super) fn without_person(body: &Body) -> Option<Vec<u8>> {
    let (before, after) = match body {
        Body::Ticket(bytes) => {
            let mut ticket = proto::Ticket::decode(bytes.as_slice()).ok()?;
            ticket.person = None;
            forget(&mut ticket.factors);
            ticket.assignment.iter_mut().for_each(without_reasons);
            (bytes, ticket.encode_to_vec())
        }
        Body::Update(bytes) => {
            let mut update = proto::Update::decode(bytes.as_slice()).ok()?;
            match &mut update.change {
                Some(proto::update::Change::Rescored(rescored)) => forget(&mut rescored.factors),
                Some(proto::update::Change::FollowedUp(followed)) => forget(&mut followed.factors),
                Some(proto::update::Change::Assigned(assigned)) => {
                    assigned.assignment.iter_mut().for_each(without_reasons);
                }
                _ => return None,
            }
            (bytes, update.encode_to_vec())
        }
    };
    (*before != after).then_some(after)
}

fn without_text_in_update(bytes: &[u8], reason: Erasure) -> Vec<u8> {
    let mut update = proto::Update::decode(bytes).unwrap_or_default();
    match &mut update.change {
        Some(proto::update::Change::Edited(edited)) => edited.text.clear(),
        Some(proto::update::Change::Rescored(rescored)) => without_words(&mut rescored.factors),
        Some(proto::update::Change::FollowedUp(followed)) => {
            followed.post.iter_mut().for_each(|post| clear_post(post, reason));
            without_words(&mut followed.factors);
        }
        Some(proto::update::Change::Assigned(assigned)) => {
            assigned.assignment.iter_mut().for_each(without_reasons);
        }
        _ => {}
    }
    update.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [&str; 8] = [
        "flag vulnerable",
        "customer value 9000",
        "my kettle",
        "Ana Durand",
        "C-1042",
        "kettle 3000",
        "asked for a refund",
        "descale",
    ];

    fn is_in(bytes: &[u8]) -> Vec<&'static str> {
        let holds = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
        SECRETS.into_iter().filter(|word| holds(word)).collect()
    }

    fn post() -> proto::Post {
        let author =
            proto::Author { id: "did:plc:1".into(), name: "Ana Durand".into(), ..Default::default() };
        proto::Post { text: "my kettle leaks".into(), author: Some(author), ..Default::default() }
    }

    fn factor(name: &str, evidence: &str) -> proto::Factor {
        proto::Factor { name: name.into(), points: 9, evidence: evidence.into() }
    }

    #[test]
    fn what_the_company_knows_of_an_author_goes_with_the_text() {
        let ticket = proto::Ticket {
            post: Some(post()),
            person: Some(proto::Person {
                customer: "C-1042".into(),
                name: "Ana Durand".into(),
                purchases: vec![proto::person::Purchase { what: "kettle 3000".into(), ..Default::default() }],
                contacts: vec![proto::person::Contact {
                    note: "asked for a refund".into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            factors: vec![
                factor("purchase", "bought kettle 3000 2 h ago"),
                factor("our vulnerable ones", "tier gold, flag vulnerable"),
                factor("age", "1 min"),
            ],
            assignment: Some(proto::Assignment {
                reasons: vec!["lena: best rated (customer value 9000)".into()],
                ..Default::default()
            }),
            articles: vec![proto::Article { title: "How to descale".into(), ..Default::default() }],
            ..Default::default()
        };
        assert_eq!(is_in(&ticket.encode_to_vec()), SECRETS);
        let of_post = without_text_in_ticket(&ticket.encode_to_vec(), Erasure::PostDeleted);
        assert_eq!(is_in(&of_post), ["Ana Durand"], "who posted may still be answered");
        let kept = proto::Ticket::decode(&*of_post).unwrap();
        assert_eq!(
            kept.factors,
            [factor("purchase", "erased"), factor("our vulnerable ones", "erased"), factor("age", "1 min")]
        );
        let forgotten = without_person(&Body::Ticket(ticket.encode_to_vec())).unwrap();
        assert_eq!(is_in(&forgotten), ["my kettle", "Ana Durand", "descale"], "the post stays");
        // Nor does a name say what was known of them.
        let kept = proto::Ticket::decode(&*forgotten).unwrap();
        let line = proto::Factor { points: 18, ..factor("forgotten", "erased") };
        assert_eq!(kept.factors, [line, factor("age", "1 min")]);
        let of_account = without_text_in_ticket(&ticket.encode_to_vec(), Erasure::AccountDeleted);
        assert_eq!(is_in(&of_account), <[&str; 0]>::default());
    }

    /// A rule says which tier, flag or value it is for; the best-rated answer whom the company values.
    #[test]
    fn the_reasons_of_an_assignment_go_with_what_they_repeat() {
        let reasons =
            vec!["route 1: tier gold".to_owned(), "lena: best rated (customer value 9000)".to_owned()];
        let assignment = |reasons| {
            let (team, agent) = ("billing".to_owned(), "lena".to_owned());
            Some(proto::Assignment { team, agent, reasons, ..Default::default() })
        };
        let ticket = proto::Ticket { assignment: assignment(reasons.clone()), ..Default::default() };
        let assigned = proto::update::Assigned { assignment: assignment(reasons), ..Default::default() };
        let change = Some(proto::update::Change::Assigned(assigned));
        let update = proto::Update { change, ..Default::default() };
        let expected = assignment(vec!["erased".to_owned()]);
        let of_ticket = |bytes: Vec<u8>| proto::Ticket::decode(&*bytes).unwrap().assignment;
        let of_update = |bytes: Vec<u8>| match proto::Update::decode(&*bytes).unwrap().change {
            Some(proto::update::Change::Assigned(assigned)) => assigned.assignment,
            other => panic!("{other:?}"),
        };
        let (ticket, update) = (ticket.encode_to_vec(), update.encode_to_vec());
        assert_eq!(of_ticket(without_text_in_ticket(&ticket, Erasure::PostDeleted)), expected);
        assert_eq!(of_update(without_text_in_update(&update, Erasure::PostDeleted)), expected);
        let forgotten = without_person(&Body::Ticket(ticket)).unwrap();
        assert_eq!(without_person(&Body::Ticket(forgotten.clone())), None, "nothing is left of them");
        assert_eq!(of_ticket(forgotten), expected);
        assert_eq!(of_update(without_person(&Body::Update(update)).unwrap()), expected);
    }

    #[test]
    fn a_post_that_had_joined_the_ticket_goes_too() {
        let followed = proto::update::FollowedUp { post: Some(post()), ..Default::default() };
        let change = Some(proto::update::Change::FollowedUp(followed));
        let update = proto::Update { change, ..Default::default() }.encode_to_vec();
        assert_eq!(is_in(&without_text_in_update(&update, Erasure::PostDeleted)), ["Ana Durand"]);
        assert_eq!(is_in(&without_text_in_update(&update, Erasure::AccountDeleted)), <[&str; 0]>::default());
    }
}
