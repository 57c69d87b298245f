//! The statements of [`retention`](super::retention): who still wants a ticket, and how it goes.

use prost::Message;
use rusqlite::{Connection, params};

use super::outbox::Filter;
use super::{Traits, assigned, conversations, records};
use crate::parse::Network;
use crate::ticket::{TicketId, proto};

/// A subscription as far as pruning is concerned.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) name: String,
    start: i64,
    floor: i64,
    /// `None`: it has not said since the ledger keeps filters, and may want anything.
    pub(super) filter: Option<Filter>,
}

impl Holder {
    /// Whether this subscription has a record of this ticket pending, or with a client.
    pub(super) fn awaits(
        &self,
        connection: &Connection,
        candidate: &Candidate,
        records: &[i64],
    ) -> rusqlite::Result<bool> {
        if candidate.seq <= self.start || !self.wants(&candidate.traits) {
            return Ok(false);
        }
        let mut acknowledged = connection
            .prepare_cached("SELECT 1 FROM acknowledgement WHERE subscription = ?1 AND seq = ?2")?;
        for seq in records.iter().filter(|seq| **seq > self.floor) {
            if !acknowledged.exists(params![self.name, seq])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether its filter passes such tickets.
    pub(super) fn wants(&self, traits: &Traits) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(traits))
    }
}

/// All subscriptions, by name.
pub(super) fn holders(connection: &Connection) -> rusqlite::Result<Vec<Holder>> {
    connection
        .prepare_cached("SELECT name, start, floor, filter FROM subscription ORDER BY name")?
        .query_map([], |row| {
            let filter: Option<Vec<u8>> = row.get(3)?;
            let filter = filter.and_then(|bytes| decode(&bytes));
            Ok(Holder { name: row.get(0)?, start: row.get(1)?, floor: row.get(2)?, filter })
        })?
        .collect()
}

/// The filter as it is stored.
pub(super) fn encode(filter: &Filter) -> Vec<u8> {
    let Filter { brands, networks, languages, intents, priority_min } = filter.clone();
    let networks = networks.into_iter().map(|network| network.name().to_owned()).collect();
    proto::Filter { brands, networks, languages, intents, priority_min: priority_min.into() }.encode_to_vec()
}

/// `None` for what this version cannot read: then the subscription may want anything.
fn decode(bytes: &[u8]) -> Option<Filter> {
    let proto::Filter { brands, networks, languages, intents, priority_min } =
        proto::Filter::decode(bytes).ok()?;
    let networks = networks.iter().map(|name| Network::from_name(name)).collect::<Option<_>>()?;
    Some(Filter { brands, networks, languages, intents, priority_min: u16::try_from(priority_min).ok()? })
}

/// A ticket that may be pruned.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: TicketId,
    pub(super) seq: i64,
    pub(super) created_at_us: i64,
    pub(super) traits: Traits,
    pub(super) is_provisional: bool,
}

/// The oldest tickets after this seq.
pub(super) fn candidates(
    connection: &Connection,
    after: i64,
    tickets_max: usize,
) -> rusqlite::Result<Vec<Candidate>> {
    let limit = i64::try_from(tickets_max).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT id, seq, created_at_us, provisional,
                    brand, network, language, intent, priority, rescored, rescored_intent
             FROM ticket WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?
        .query_map([after, limit], |row| {
            Ok(Candidate {
                id: records::ticket_id(row, 0)?,
                seq: row.get(1)?,
                created_at_us: row.get(2)?,
                is_provisional: row.get(3)?,
                traits: records::traits(row, 4)?,
            })
        })?
        .collect()
}

/// The seqs of its records.
pub(super) fn records(connection: &Connection, candidate: &Candidate) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT seq FROM record WHERE ticket_id = ?1")?
        .query_map([candidate.id.as_bytes()], |row| row.get(0))?
        .collect()
}

/// What went with a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    /// What its clock was at, if that was running.
    pub(super) overdue: Option<i64>,
    /// Whether it was assigned, and open.
    pub(super) was_held: bool,
}

/// Removes the ticket and all that belongs to it, but for its id.
pub(super) fn prune(
    connection: &Connection,
    candidate: &Candidate,
    records: &[i64],
    holders: &[Holder],
) -> rusqlite::Result<Gone> {
    let id = candidate.id.as_bytes();
    connection.prepare_cached("INSERT INTO pruned (id) VALUES (?1)")?.execute([id])?;
    let overdue = connection
        .prepare_cached(
            "DELETE FROM ticket WHERE id = ?1 RETURNING iif(stopped_at_us IS NULL, overdue, NULL)",
        )?
        .query_row([id], |row| row.get(0))?;
    connection.prepare_cached("DELETE FROM feedback WHERE ticket_id = ?1")?.execute([id])?;
    let was_held = assigned::forget(connection, candidate.id)?;
    conversations::prune(connection, candidate.id)?;
    let mut record = connection.prepare_cached("DELETE FROM record WHERE seq = ?1")?;
    let mut acknowledgement =
        connection.prepare_cached("DELETE FROM acknowledgement WHERE subscription = ?1 AND seq = ?2")?;
    for seq in records {
        record.execute([seq])?;
        // Below its floor a subscription has no rows.
        for holder in holders.iter().filter(|holder| *seq > holder.floor) {
            acknowledgement.execute(params![holder.name, seq])?;
        }
    }
    Ok(Gone { overdue, was_held })
}

/// How many tickets there are: read along the smallest index, which the size limit bounds.
pub(super) fn tickets(connection: &Connection) -> rusqlite::Result<u64> {
    let tickets = "SELECT count(*) FROM ticket";
    connection.query_row(tickets, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Forgets touchpoints and agent states from before then, the oldest first; how many.
pub(super) fn forget_feedback_before(
    connection: &Connection,
    at_us: i64,
    rows_max: usize,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM feedback WHERE rowid IN
               (SELECT rowid FROM feedback WHERE ticket_id IS NULL AND at_us < ?1 ORDER BY at_us LIMIT ?2)",
        )?
        .execute(params![at_us, i64::try_from(rows_max).unwrap_or(i64::MAX)])
}

/// Forgets touchpoints and agent states beyond the newest `kept`; how many.
pub(super) fn forget_feedback_beyond(
    connection: &Connection,
    kept: i64,
    rows_max: usize,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM feedback WHERE rowid IN
               (SELECT rowid FROM feedback WHERE ticket_id IS NULL ORDER BY at_us DESC LIMIT ?2 OFFSET ?1)",
        )?
        .execute(params![kept, i64::try_from(rows_max).unwrap_or(i64::MAX)])
}
