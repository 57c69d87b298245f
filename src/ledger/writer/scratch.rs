//! Replays settle into a ledger that is no file.

use std::collections::BTreeSet;

use prost::Message;
use rusqlite::Connection;

use super::apply::{Changes, apply};
use crate::desk::told::Told;
use crate::desk::{Anew, Changed};
use crate::ledger::{Body, Entry, Otherwise, Settlement, assigned, changed, records, schema};
use crate::telemetry::Buckets;
use crate::ticket::proto;

/// A ledger in memory that delivers nothing: for replays, which must decide as the daemon does.
#[derive(Debug)]
pub struct Scratch {
    pub(in crate::ledger) connection: Connection,
}

impl Scratch {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new() -> rusqlite::Result<Scratch> {
        let connection = Connection::open_in_memory()?;
        schema::migrate(&connection)?;
        Ok(Scratch { connection })
    }

    /// Applies the settlement; says where its frames ended, what has come of it beside those tickets that the desk made, and
    /// what the desk must know.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn settle(&mut self, settlement: &Settlement) -> rusqlite::Result<(Buckets, Outcome)> {
        let transaction = self.connection.transaction()?;
        let mut changes = Changes::default();
        let buckets = apply(&transaction, settlement, 0, &mut changes)?;
        transaction.commit()?;
        let made: BTreeSet<_> = changes
            .heads
            .iter()
            .filter(|head| head.seq == head.ticket_seq)
            .map(|head| head.ticket_id)
            .collect();
        let instead = settlement.entries.iter().filter_map(|entry| match entry {
            Entry::FollowUp(new) => match &new.otherwise {
                Otherwise::Ticket(ticket) if made.contains(&ticket.id) => Some(ticket),
                _ => None,
            },
            _ => None,
        });
        let tickets =
            instead.filter_map(|ticket| proto::Ticket::decode(ticket.body.as_slice()).ok()).collect();
        Ok((buckets, Outcome { tickets, ..self.outcome(changes)? }))
    }

    /// As [`Handle::changed`](super::Handle::changed).
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn changed(&self, tickets_max: usize) -> rusqlite::Result<Vec<Changed>> {
        changed::read(&self.connection, tickets_max)
    }

    /// Records what was decided anew of tickets.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn assign(&mut self, decided: &[Anew]) -> rusqlite::Result<Outcome> {
        let transaction = self.connection.transaction()?;
        let mut changes = Changes::default();
        for anew in decided {
            assigned::assign(&transaction, anew, 0, &mut changes)?;
        }
        transaction.commit()?;
        self.outcome(changes)
    }

    fn outcome(&self, changes: Changes) -> rusqlite::Result<Outcome> {
        let updates = changes.heads.iter().filter(|head| head.seq != head.ticket_seq).map(|head| head.seq);
        let bodies = records::read(&self.connection, &updates.collect::<Vec<_>>())?;
        let updates = bodies.into_iter().filter_map(|(_, body)| match body {
            Body::Update(bytes) => proto::Update::decode(bytes.as_slice()).ok(),
            Body::Ticket(_) => None,
        });
        let is_told = |update: &proto::Update| {
            use proto::update::Change;
            matches!(update.change, Some(Change::FollowedUp(_) | Change::Rescored(_) | Change::Assigned(_)))
        };
        Ok(Outcome { tickets: Vec::new(), updates: updates.filter(is_told).collect(), told: changes.told })
    }
}

/// What has come of something beside its buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Those that were made, as they were made, of posts that the desk took for ones that join another.
    pub tickets: Vec<proto::Ticket>,
    /// What has joined tickets or was edited and makes them worse, and what was decided anew of them.
    pub updates: Vec<proto::Update>,
    /// What the desk must know.
    pub told: Vec<Told>,
}
