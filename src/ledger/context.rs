//! Who the company knows: customers with their accounts, their contacts on any channel, and the agents who answer.
//!
//! It comes from the company alone: files (`vigie import`), the ticket socket's feedback and `POST /v1/touchpoints`.
//! An account is a customer's because a file says so; nothing is guessed from names. The tables lie in the ledger's
//! file, so that one backup holds all and one look sees it as of one commit. What they take does not count as what
//! retention by size prunes tickets for: see `context/size.rs`.
//!
//! A contact is kept for a customer's key where one is known, else for the bare account until somebody links it. One
//! of the same person, time and channel is the same contact, however often it is reported.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use prost::Message;
use rusqlite::Connection;

use crate::desk::person::{TOUCHPOINTS_MAX, Touchpoint};
use crate::parse::Network;
use crate::ticket::proto;

mod account;
pub(super) mod agents;
pub mod forget;
pub mod import;
mod reader;
pub(super) mod size;
pub(super) mod touchpoints;

pub use account::{account, account_name};
pub use reader::{Reader, TiersAndFlags};
pub use touchpoints::{Contact, cut_note};

/// Version 4: these tables.
pub(super) const TABLES: &str = "
    CREATE TABLE customer (
        id         INTEGER PRIMARY KEY,
        key        TEXT NOT NULL UNIQUE,   -- the company's own
        name       TEXT NOT NULL,
        tier       TEXT NOT NULL,
        value      REAL,
        language   TEXT NOT NULL,
        flags      TEXT NOT NULL,          -- words with spaces between them
        purchases  TEXT NOT NULL,          -- a JSON list of {at_us, date, what, amount as text}, the newest first; '': none
        -- A line for each account that may be theirs, `network name`: all that the table below has, and maybe others
        -- that have gone to somebody else. An index there would take as much, and a new customer would touch two
        -- places of the file for each account in it.
        accounts   TEXT NOT NULL
    ) STRICT;

    CREATE TABLE account (
        network   TEXT NOT NULL,
        name      TEXT NOT NULL,           -- id or handle, as context::account_name gives it
        customer  INTEGER NOT NULL,        -- customer.id
        PRIMARY KEY (network, name)
    ) STRICT, WITHOUT ROWID;

    -- Of a customer, or where nobody has linked the account to one yet, of the account.
    CREATE TABLE touchpoint (
        customer  TEXT NOT NULL,           -- customer.key, known or not; '': of the account
        network   TEXT NOT NULL,
        account   TEXT NOT NULL,
        at_us     INTEGER NOT NULL,
        channel   TEXT NOT NULL,
        note      TEXT NOT NULL,
        PRIMARY KEY (customer, network, account, at_us, channel)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX touchpoint_age ON touchpoint (at_us);

    CREATE TABLE agent (
        name          TEXT PRIMARY KEY,
        team          TEXT NOT NULL,
        skills        TEXT NOT NULL,       -- words with spaces between them
        languages     TEXT NOT NULL,       -- the same
        capacity      INTEGER NOT NULL,
        shifts        TEXT,                -- as desk::week::Week
        zone          TEXT,
        open_tickets  INTEGER NOT NULL,
        answer_min    REAL,
        satisfaction  REAL,
        away          INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Counts changes of the table above, so that the desk reads it when there was one. Kept by the file itself: nobody
    -- who writes agents can forget it.
    CREATE TABLE agent_change (
        id          INTEGER PRIMARY KEY CHECK (id = 1),
        generation  INTEGER NOT NULL
    ) STRICT;
    INSERT INTO agent_change (id, generation) VALUES (1, 0);
    CREATE TRIGGER agent_new AFTER INSERT ON agent BEGIN UPDATE agent_change SET generation = generation + 1; END;
    CREATE TRIGGER agent_changed AFTER UPDATE ON agent BEGIN UPDATE agent_change SET generation = generation + 1; END;
    CREATE TRIGGER agent_gone AFTER DELETE ON agent BEGIN UPDATE agent_change SET generation = generation + 1; END;

    -- Bytes that the tables above (1) and the articles (2) take, about.
    CREATE TABLE context_size (
        id     INTEGER PRIMARY KEY,
        bytes  INTEGER NOT NULL
    ) STRICT;
    INSERT INTO context_size (id, bytes) VALUES (1, 0), (2, 0);

    -- How many contacts there are.
    CREATE TABLE touchpoint_count (
        id        INTEGER PRIMARY KEY CHECK (id = 1),
        contacts  INTEGER NOT NULL
    ) STRICT;
    INSERT INTO touchpoint_count (id, contacts) VALUES (1, 0);
";

/// Longest key, name or other short text, in bytes; as on the ticket socket.
pub const NAME_BYTES_MAX: usize = 200;
/// Longest account's id or handle, in bytes: a Mastodon id is an address.
pub const ACCOUNT_BYTES_MAX: usize = 512;
/// Longest word, in bytes: a tier, a flag, a skill, a channel.
pub const WORD_BYTES_MAX: usize = 64;
/// Longest note as it is reported, in bytes: a long letter. Fewer characters are kept.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;
/// Accounts of one customer.
pub const ACCOUNTS_MAX: usize = 32;
/// Flags of one customer; skills or languages of one agent.
pub const WORDS_MAX: usize = 100;
/// Characters of a contact's note that are kept: it is for agents' eyes, and 32 of them travel with a ticket.
pub const NOTE_CHARS_MAX: usize = 1000;
/// Contacts that are kept of one customer, or of one account that nobody has linked: the newest. A ticket carries 32.
pub const CONTACTS_OF_ONE_MAX: usize = 200;
/// Contacts that are kept at all, the newest: some 2 GB with notes of 200 characters.
pub const CONTACTS_MAX: i64 = 5_000_000;
/// Longest text that is shown in a reason.
const SHOWN_CHARS_MAX: usize = 60;
/// Open tickets that an agent of whom nobody has said more can have.
pub const CAPACITY_DEFAULT: u32 = 10;

/// A time, unless it is of a year that was read from something else.
///
/// # Errors
///
/// Which year.
pub fn likely(at: Timestamp) -> Result<Timestamp, String> {
    let year = at.to_zoned(TimeZone::UTC).year();
    if (1970..=2200).contains(&year) { Ok(at) } else { Err(format!("the year {year}")) }
}

/// A text as one would write it, cut to a readable length.
pub fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

/// Takes over what a client of the ticket socket reports. It was checked when it came; what an earlier version let in
/// and this one would not is nobody's.
pub(super) fn take_touchpoint(connection: &Connection, body: &[u8], now: Timestamp) -> rusqlite::Result<()> {
    let message = proto::Touchpoint::decode(body).ok();
    match message.and_then(|message| Contact::read(message, now).ok()) {
        Some(contact) => touchpoints::keep(connection, &contact).map(|_| ()),
        None => Ok(()),
    }
}

/// The same of an agent.
pub(super) fn take_agent_state(connection: &Connection, body: &[u8]) -> rusqlite::Result<()> {
    match proto::AgentState::decode(body) {
        Ok(state) => agents::report(connection, &state),
        Err(_) => Ok(()),
    }
}

/// Keeps contacts, each once.
pub(super) fn take_contacts(connection: &Connection, contacts: &[Contact]) -> rusqlite::Result<()> {
    contacts.iter().try_for_each(|contact| touchpoints::keep(connection, contact).map(|_| ()))
}

/// The names under which an author's account may be linked: the id, and the handle.
///
/// A handle of digits alone is none: anybody could take another account's number for a name.
fn names_of(id: &str, handle: Option<&str>) -> impl Iterator<Item = String> {
    let handle = handle.filter(|handle| !handle.bytes().all(|byte| byte.is_ascii_digit()));
    let id = account_name(id);
    let handle = handle.map(account_name).filter(|handle| *handle != id);
    std::iter::once(id).chain(handle).filter(|name| !name.is_empty() && name.len() <= ACCOUNT_BYTES_MAX)
}

/// How somebody was in touch in this time, newest first, as far as a ticket tells of it: the customer of that key, where
/// there is one, and whoever has the author's account.
pub(super) fn touchpoints_of(
    connection: &Connection,
    customer: &str,
    network: Network,
    author: &proto::Author,
    span: (i64, i64),
) -> rusqlite::Result<Vec<Touchpoint>> {
    let mut keys: Vec<String> = Some(customer.to_owned()).filter(|key| !key.is_empty()).into_iter().collect();
    let mut found = Vec::new();
    for name in names_of(&author.id, Some(author.handle.as_str())) {
        // Linked since, maybe.
        keys.extend(owner(connection, network, &name)?.map(|(_, key)| key));
        let whose = touchpoints::Whose::Account(network, &name);
        touchpoints::find(connection, whose, span, TOUCHPOINTS_MAX, &mut found)?;
    }
    keys.sort_unstable();
    keys.dedup();
    for key in &keys {
        let whose = touchpoints::Whose::Customer(key);
        touchpoints::find(connection, whose, span, TOUCHPOINTS_MAX, &mut found)?;
    }
    found.sort_by(|one, other| (other.at, &other.channel).cmp(&(one.at, &one.channel)));
    found.dedup_by(|one, other| (one.at, &one.channel) == (other.at, &other.channel));
    found.truncate(TOUCHPOINTS_MAX);
    Ok(found)
}

/// The customer to whom this account is linked: id and key.
fn owner(connection: &Connection, network: Network, name: &str) -> rusqlite::Result<Option<(i64, String)>> {
    use rusqlite::OptionalExtension;
    connection
        .prepare_cached(
            "SELECT c.id, c.key FROM account a JOIN customer c ON c.id = a.customer
             WHERE a.network = ?1 AND a.name = ?2",
        )?
        .query_row((network.name(), name), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The accounts in the column of a customer.
fn listed(column: &str) -> impl Iterator<Item = (Network, &str)> {
    column.lines().filter_map(|line| {
        let (network, name) = line.split_once(' ')?;
        Some((Network::from_name(network)?, name))
    })
}

/// Accounts as that column holds them.
fn list<'a>(accounts: impl Iterator<Item = (Network, &'a str)>) -> String {
    let mut column = String::new();
    for (network, name) in accounts {
        if !column.is_empty() {
            column.push('\n');
        }
        column.push_str(network.name());
        column.push(' ');
        column.push_str(name);
    }
    column
}

/// Words as a column holds them.
fn joined(words: &[String]) -> String {
    words.join(" ")
}

/// The words of a column.
fn words(column: &str) -> Vec<String> {
    column.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
