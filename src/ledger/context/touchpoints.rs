//! The statements about contacts: kept once, found by person and time, forgotten by age.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    CONTACTS_MAX, CONTACTS_OF_ONE_MAX, NAME_BYTES_MAX, NOTE_BYTES_MAX, NOTE_CHARS_MAX, WORD_BYTES_MAX,
    account, likely, owner, quoted, size,
};
use crate::desk::person::Touchpoint;
use crate::parse::Network;
use crate::ticket::proto;

/// A contact as somebody reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The company's own key; may be empty where there is an account.
    pub customer: String,
    /// The customer's account, which counts where there is no key.
    pub account: Option<(Network, String)>,
    /// When, on which channel, and what about.
    pub touchpoint: Touchpoint,
}

impl Contact {
    /// The contact in a message, made `now` if it says no time.
    ///
    /// # Errors
    ///
    /// As [`Contact::made_at`], or there is no such time.
    pub fn read(message: proto::Touchpoint, now: Timestamp) -> Result<Contact, String> {
        let at = match message.at_us {
            0 => now,
            at_us => Timestamp::from_microsecond(at_us)
                .map_err(|_| format!("at_us = {at_us}: no time that a calendar has"))?,
        };
        Contact::made_at(at, message)
    }

    /// The contact in a message, made at a time that it need not hold. Whoever reports one, by file, HTTP or the ticket
    /// socket, is held to what is asked for here.
    ///
    /// # Errors
    ///
    /// It names nobody, or no channel, or a network, account or year that there is not, or something is too long.
    pub fn made_at(at: Timestamp, message: proto::Touchpoint) -> Result<Contact, String> {
        let proto::Touchpoint { customer, network, account: given, channel, at_us: _, note } = message;
        let network = network.trim().to_lowercase();
        let account = match (network.as_str(), given.trim()) {
            ("", "") => None,
            ("", _) | (_, "") => return Err("network and account belong together".to_owned()),
            (name, given) => {
                let network = Network::from_name(name).ok_or_else(|| {
                    format!("network = {}: must be bluesky, mastodon, x, facebook or plain", quoted(name))
                })?;
                Some((network, account(network, given)?))
            }
        };
        let customer = line("customer", &customer, NAME_BYTES_MAX)?.to_owned();
        if customer.is_empty() && account.is_none() {
            return Err("names nobody: give customer, or network and account".to_owned());
        }
        let at = likely(at).map_err(|why| format!("at = {at}: {why}"))?;
        let channel = line("channel", &channel, WORD_BYTES_MAX)?.to_lowercase();
        if channel.is_empty() {
            return Err(
                "channel is missing: phone, mail, chat, shop, visit, or a word of your own".to_owned()
            );
        }
        if channel.contains(char::is_whitespace) {
            return Err(format!("channel = {}: must be one word, without spaces", quoted(&channel)));
        }
        if note.len() > NOTE_BYTES_MAX {
            return Err(format!("note has {} bytes: must be at most {NOTE_BYTES_MAX}", note.len()));
        }
        Ok(Contact { customer, account, touchpoint: Touchpoint { at, channel, note: cut_note(note) } })
    }
}

/// A short text of one line, without the spaces around it.
fn line<'t>(name: &str, text: &'t str, bytes_max: usize) -> Result<&'t str, String> {
    let text = text.trim();
    if text.len() > bytes_max {
        return Err(format!("{name} has {} bytes: must be at most {bytes_max}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{name} = {}: holds a line end or another control character", quoted(text)));
    }
    Ok(text)
}

/// The first [`NOTE_CHARS_MAX`] characters.
pub fn cut_note(mut note: String) -> String {
    if let Some((end, _)) = note.char_indices().nth(NOTE_CHARS_MAX) {
        note.truncate(end);
        note.push('…');
    }
    note
}

/// What became of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Kept {
    New,
    /// It was there with another note.
    Changed,
    Unchanged,
}

/// Whose the contact is: the customer's, or theirs to whom the account is linked, or the bare account's. Key, network
/// and account, as the table has them.
pub(super) fn stored_under(
    connection: &Connection,
    contact: &Contact,
) -> rusqlite::Result<(String, &'static str, String)> {
    match &contact.account {
        Some((network, name)) if contact.customer.is_empty() => {
            Ok(match owner(connection, *network, name)? {
                Some((_, key)) => (key, "", String::new()),
                None => (String::new(), network.name(), name.clone()),
            })
        }
        _ => Ok((contact.customer.clone(), "", String::new())),
    }
}

/// Whether there is a customer whose the contact is.
pub(super) fn is_of_customer(connection: &Connection, contact: &Contact) -> rusqlite::Result<bool> {
    match &contact.account {
        Some((network, name)) if contact.customer.is_empty() => {
            Ok(owner(connection, *network, name)?.is_some())
        }
        _ => connection.prepare_cached("SELECT 1 FROM customer WHERE key = ?1")?.exists([&contact.customer]),
    }
}

/// Keeps a contact, once.
pub(in crate::ledger) fn keep(connection: &Connection, contact: &Contact) -> rusqlite::Result<Kept> {
    let Touchpoint { at, channel, note } = &contact.touchpoint;
    let (customer, network, account) = stored_under(connection, contact)?;
    let who = (customer.as_str(), network, account.as_str(), at.as_microsecond(), channel.as_str());
    let known: Option<String> = connection
        .prepare_cached(
            "SELECT note FROM touchpoint
             WHERE customer = ?1 AND network = ?2 AND account = ?3 AND at_us = ?4 AND channel = ?5",
        )?
        .query_row(who, |row| row.get(0))
        .optional()?;
    if known.as_deref() == Some(note) {
        return Ok(Kept::Unchanged);
    }
    connection
        .prepare_cached(
            "INSERT INTO touchpoint (customer, network, account, at_us, channel, note)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET note = excluded.note",
        )?
        .execute(params![who.0, who.1, who.2, who.3, who.4, note])?;
    let texts = 2 * (customer.len() + network.len() + account.len() + channel.len());
    match known {
        Some(known) => {
            let grown = note.len().cast_signed() - known.len().cast_signed();
            size::add(connection, i64::try_from(grown).unwrap_or_default())?;
            Ok(Kept::Changed)
        }
        None => {
            size::add(connection, size::of_touchpoint(texts + note.len()))?;
            count(connection, 1)?;
            keep_newest(connection, (who.0, who.1, who.2))?;
            Ok(Kept::New)
        }
    }
}

/// Counts contacts that came, or went.
pub(super) fn count(connection: &Connection, contacts: i64) -> rusqlite::Result<()> {
    if contacts != 0 {
        connection
            .prepare_cached("UPDATE touchpoint_count SET contacts = max(0, contacts + ?1)")?
            .execute([contacts])?;
    }
    Ok(())
}

/// Forgets what one customer or account has beyond [`CONTACTS_OF_ONE_MAX`].
fn keep_newest(
    connection: &Connection,
    (customer, network, account): (&str, &str, &str),
) -> rusqlite::Result<()> {
    let newest = CONTACTS_OF_ONE_MAX.cast_signed();
    let beyond: Option<i64> = connection
        .prepare_cached(
            "SELECT at_us FROM touchpoint WHERE customer = ?1 AND network = ?2 AND account = ?3
             ORDER BY at_us DESC, channel DESC LIMIT 1 OFFSET ?4",
        )?
        .query_row(params![customer, network, account, newest], |row| row.get(0))
        .optional()?;
    if beyond.is_none() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(
        "DELETE FROM touchpoint WHERE customer = ?1 AND network = ?2 AND account = ?3 AND (at_us, channel) IN (
             SELECT at_us, channel FROM touchpoint WHERE customer = ?1 AND network = ?2 AND account = ?3
             ORDER BY at_us DESC, channel DESC LIMIT -1 OFFSET ?4)
         RETURNING 2 * octet_length(customer || network || account || channel) + octet_length(note)",
    )?;
    removed(connection, statement.query(params![customer, network, account, newest])?).map(|_| ())
}

/// Takes what a statement has removed off the account; how many.
fn removed(connection: &Connection, mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<usize> {
    let (mut removed, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        removed += 1;
        bytes += size::of_touchpoint(row.get::<_, i64>(0)?.try_into().unwrap_or_default());
    }
    drop(rows);
    size::add(connection, -bytes)?;
    count(connection, -i64::try_from(removed).unwrap_or_default())?;
    Ok(removed)
}

/// Whose contacts are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose<'a> {
    Customer(&'a str),
    Account(Network, &'a str),
}

/// The newest contacts up to and including `now` and not before `since`, newest first, added to `found`.
pub(super) fn find(
    connection: &Connection,
    whose: Whose<'_>,
    (since, now): (i64, i64),
    touchpoints_max: usize,
    found: &mut Vec<Touchpoint>,
) -> rusqlite::Result<()> {
    let (customer, network, account) = match whose {
        Whose::Customer(key) => (key, "", ""),
        Whose::Account(network, name) => ("", network.name(), name),
    };
    let mut statement = connection.prepare_cached(
        "SELECT at_us, channel, note FROM touchpoint
         WHERE customer = ?1 AND network = ?2 AND account = ?3 AND at_us BETWEEN ?4 AND ?5
         ORDER BY at_us DESC, channel DESC LIMIT ?6",
    )?;
    let limit = i64::try_from(touchpoints_max).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![customer, network, account, since, now, limit])?;
    while let Some(row) = rows.next()? {
        let at = Timestamp::from_microsecond(row.get(0)?).unwrap_or_default();
        found.push(Touchpoint { at, channel: row.get(1)?, note: row.get(2)? });
    }
    Ok(())
}

/// Whether any contact waits for its account to be linked.
pub(super) fn any_of_accounts(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM touchpoint WHERE customer = '' LIMIT 1")?.exists([])
}

/// Gives an account's contacts to the customer to whom it is now linked.
pub(super) fn adopt(
    connection: &Connection,
    network: Network,
    name: &str,
    key: &str,
) -> rusqlite::Result<()> {
    // One of the same time and channel is the same, and is counted once.
    let same = connection
        .prepare_cached(
            "DELETE FROM touchpoint WHERE customer = ?3 AND network = '' AND account = '' AND (at_us, channel) IN (
                 SELECT at_us, channel FROM touchpoint WHERE customer = '' AND network = ?1 AND account = ?2)",
        )?
        .execute(params![network.name(), name, key])?;
    count(connection, -i64::try_from(same).unwrap_or_default())?;
    let adopted = connection
        .prepare_cached(
            "UPDATE touchpoint SET customer = ?3, network = '', account = ''
             WHERE customer = '' AND network = ?1 AND account = ?2",
        )?
        .execute(params![network.name(), name, key])?;
    if adopted > 0 { keep_newest(connection, (key, "", "")) } else { Ok(()) }
}

/// Forgets contacts from before then, the oldest first; how many.
pub(in crate::ledger) fn forget_before(
    connection: &Connection,
    at_us: i64,
    rows_max: usize,
) -> rusqlite::Result<usize> {
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    // By key, since a whole import may be of one time.
    let mut statement = connection.prepare_cached(
        "DELETE FROM touchpoint WHERE (customer, network, account, at_us, channel) IN (
             SELECT customer, network, account, at_us, channel FROM touchpoint
             WHERE at_us < ?1 ORDER BY at_us LIMIT ?2)
         RETURNING 2 * octet_length(customer || network || account || channel) + octet_length(note)",
    )?;
    removed(connection, statement.query(params![at_us, rows_max])?)
}

/// Forgets contacts beyond [`CONTACTS_MAX`], the oldest first; how many.
pub(in crate::ledger) fn forget_beyond_max(
    connection: &Connection,
    rows_max: usize,
) -> rusqlite::Result<usize> {
    forget_beyond(connection, CONTACTS_MAX, rows_max)
}

pub(super) fn forget_beyond(connection: &Connection, max: i64, rows_max: usize) -> rusqlite::Result<usize> {
    let contacts: i64 = connection
        .prepare_cached("SELECT contacts FROM touchpoint_count")?
        .query_row([], |row| row.get(0))?;
    let excess = usize::try_from(contacts - max).unwrap_or_default();
    if excess == 0 { Ok(0) } else { forget_before(connection, i64::MAX, excess.min(rows_max)) }
}
