//! A ticket with all that happened to it, in order: for people who ask, beside a daemon or without one.

use std::path::Path;

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, params};

use super::{Helper, helpers};
use crate::desk::person::Touchpoint;
use crate::ledger::{Body, LedgerError, context, open_to_read, records, schema, tickets};
use crate::parse::Network;
use crate::ticket::{TicketId, proto};

/// Shortest part of an id that is looked up, in hexadecimal digits.
pub const PREFIX_MIN: usize = 6;
/// Tickets that are named where a part of an id fits several.
const NAMED_MAX: usize = 8;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// The ticket, with what happened to it.
    Ticket(Box<Timeline>),
    /// It was there, and was pruned.
    Pruned,
    /// The part of an id fits these, and perhaps others.
    Several(Vec<TicketId>),
    /// There is none.
    Nothing,
}

/// A ticket's life.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// As it is now: with its latest text, priority, team and time, without what its author has deleted.
    pub ticket: proto::Ticket,
    /// In order, as far as clocks agree.
    pub events: Vec<Event>,
    /// How often its author was thanked for helping others, within the 90 days before the last time.
    pub thanked: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, µs since 1970.
    pub at_us: i64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The person was in touch on another channel, before the ticket or after.
    Contact(proto::person::Contact),
    /// The post that made the ticket, and how much it mattered then.
    Post {
        /// Of the ticket as it was made.
        level: proto::Level,
        /// Of the ticket as it was made.
        priority: u32,
    },
    /// A change of the ticket: further posts, edits, answers, erasures, priorities, deadlines, routes.
    Update(Box<proto::Update>),
    /// The helpdesk has said what has become of it.
    Status(proto::TicketStatus),
}

/// The ticket of this id, or of the post of this id, or the only one whose id begins so.
///
/// `id` is of at least [`PREFIX_MIN`] hexadecimal digits, at most 32.
///
/// # Errors
///
/// The ledger cannot be read, is none, or is of another version than this vigie's.
pub fn find(path: &Path, id: &str) -> Result<Found, LedgerError> {
    let connection = open(path)?;
    read(&connection, id).map_err(|source| LedgerError::Sqlite { path: path.to_owned(), error: source })
}

/// Those who were thanked at least so often for helping others, and at last after `since`, most often first.
///
/// # Errors
///
/// As [`find`].
pub fn list_helpers(path: &Path, thanked_min: u64, since: Timestamp) -> Result<Vec<Helper>, LedgerError> {
    let connection = open(path)?;
    let helpers = helpers(&connection, thanked_min, since);
    helpers.map_err(|source| LedgerError::Sqlite { path: path.to_owned(), error: source })
}

fn open(path: &Path) -> Result<Connection, LedgerError> {
    let (connection, found) = open_to_read(path)?;
    if found < schema::VERSION {
        return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
    }
    Ok(connection)
}

fn read(connection: &Connection, id: &str) -> rusqlite::Result<Found> {
    let Some((least, most)) = range(id) else { return Ok(Found::Nothing) };
    // One transaction: a daemon may commit between two statements.
    let transaction = connection.unchecked_transaction()?;
    let mut tickets =
        within(&transaction, "SELECT id FROM ticket WHERE id BETWEEN ?1 AND ?2 LIMIT ?3", &least, &most)?;
    if tickets.is_empty() {
        let of_posts =
            "SELECT DISTINCT ticket_id FROM post WHERE id BETWEEN ?1 AND ?2 AND kind <> 2 LIMIT ?3";
        tickets = within(&transaction, of_posts, &least, &most)?;
    }
    match tickets.as_slice() {
        [] => {
            let pruned = within(
                &transaction,
                "SELECT id FROM pruned WHERE id BETWEEN ?1 AND ?2 LIMIT ?3",
                &least,
                &most,
            )?;
            Ok(if pruned.is_empty() { Found::Nothing } else { Found::Pruned })
        }
        [one] => timeline(&transaction, *one),
        _ => Ok(Found::Several(tickets)),
    }
}

/// The least and the greatest id that begin so; `None` if no id does.
fn range(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    let digits: Vec<u8> =
        prefix.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    if digits.len() > 32 {
        return None;
    }
    let filled = |with: u8| {
        let mut id = [0; 16];
        for (place, byte) in id.iter_mut().enumerate() {
            let digit = |at: usize| digits.get(at).copied().unwrap_or(with);
            *byte = digit(2 * place) << 4 | digit(2 * place + 1);
        }
        id
    };
    Some((filled(0), filled(15)))
}

fn within(
    connection: &Connection,
    query: &str,
    least: &[u8; 16],
    most: &[u8; 16],
) -> rusqlite::Result<Vec<TicketId>> {
    connection
        .prepare(query)?
        .query_map(params![least, most, NAMED_MAX as i64], |row| records::ticket_id(row, 0))?
        .collect()
}

fn timeline(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Found> {
    let mut ticket = proto::Ticket::default();
    let mut events = Vec::new();
    for (_, body) in records::bodies_of(connection, ticket_id)? {
        // We wrote these bytes; one that does not decode shows as empty.
        match body {
            Body::Ticket(bytes) => ticket = proto::Ticket::decode(bytes.as_slice()).unwrap_or_default(),
            Body::Update(bytes) => {
                let update = proto::Update::decode(bytes.as_slice()).unwrap_or_default();
                events.push(Event { at_us: update.at_us, what: What::Update(Box::new(update)) });
            }
        }
    }
    let mut statuses = connection.prepare(
        "SELECT at_us, body FROM feedback WHERE ticket_id = ?1 AND kind = 'ticket_status' ORDER BY rowid",
    )?;
    let mut rows = statuses.query([ticket_id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        let status = proto::TicketStatus::decode(row.get_ref(1)?.as_blob()?).unwrap_or_default();
        events.push(Event { at_us: row.get(0)?, what: What::Status(status) });
    }
    let later = contacts_after(connection, ticket_id, &ticket)?;
    let contacts = ticket.person.iter().flat_map(|person| person.contacts.iter().cloned());
    let contacts = contacts.map(|contact| Event { at_us: contact.at_us, what: What::Contact(contact) });
    let mut all: Vec<Event> = contacts.collect();
    let made = What::Post { level: ticket.level(), priority: ticket.priority };
    all.push(Event { at_us: ticket.created_at_us, what: made });
    let ticket = present(connection, ticket_id, ticket, &events)?;
    all.extend(events);
    all.extend(later.into_iter().map(|contact| Event { at_us: contact.at_us, what: What::Contact(contact) }));
    all.sort_by_key(|event| event.at_us);
    let thanked = connection
        .prepare(
            "SELECT coalesce(max(thanked), 0) FROM helper h JOIN ticket t ON t.network = h.network AND t.author_id = h.author_id
             WHERE t.id = ?1 AND t.erased_at_us IS NULL",
        )?
        .query_row([ticket_id.as_bytes()], |row| row.get::<_, i64>(0))?
        .cast_unsigned();
    Ok(Found::Ticket(Box::new(Timeline { ticket, events: all, thanked })))
}

/// The ticket with what has changed of it.
fn present(
    connection: &Connection,
    ticket_id: TicketId,
    made: proto::Ticket,
    events: &[Event],
) -> rusqlite::Result<proto::Ticket> {
    let mut ticket = tickets::updated(connection, ticket_id, made)?.ticket;
    let changes = events.iter().filter_map(|event| match &event.what {
        What::Update(update) => update.change.as_ref(),
        _ => None,
    });
    let mut is_own = false;
    for change in changes {
        match (change, &mut ticket.post) {
            (proto::update::Change::Edited(edited), Some(post)) => {
                is_own = edited.post_id.is_empty();
                if is_own {
                    post.text.clone_from(&edited.text);
                }
            }
            (proto::update::Change::Rescored(rescored), _) if rescored.edited && is_own => {
                ticket.verdict.clone_from(&rescored.verdict);
            }
            _ => {}
        }
    }
    Ok(ticket)
}

/// How the person was in touch since the ticket was made, the newest of it; of one whose text is erased nothing is told.
fn contacts_after(
    connection: &Connection,
    ticket_id: TicketId,
    ticket: &proto::Ticket,
) -> rusqlite::Result<Vec<proto::person::Contact>> {
    let is_there = connection
        .prepare("SELECT 1 FROM ticket WHERE id = ?1 AND erased_at_us IS NULL")?
        .exists([ticket_id.as_bytes()])?;
    let post = ticket.post.clone().unwrap_or_default();
    let author = post.author.unwrap_or_default();
    let customer = ticket.person.as_ref().map_or("", |person| person.customer.as_str());
    let (Some(network), true) = (Network::from_name(&post.network), is_there) else { return Ok(Vec::new()) };
    let span = (ticket.created_at_us.saturating_add(1), i64::MAX);
    let touchpoints = context::touchpoints_of(connection, customer, network, &author, span)?;
    Ok(touchpoints
        .into_iter()
        .map(|Touchpoint { at, channel, note }| proto::person::Contact {
            at_us: at.as_microsecond(),
            channel,
            note,
        })
        .collect())
}
