//! Replays settle into a ledger that is no file.

use prost::Message;
use rusqlite::Connection;

use super::apply::{Changes, apply};
use crate::ledger::{Body, Settlement, records, schema};
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

    /// Applies the settlement; says where its frames ended, and which posts have joined a ticket by them.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn settle(&mut self, settlement: &Settlement) -> rusqlite::Result<(Buckets, Vec<proto::Update>)> {
        let transaction = self.connection.transaction()?;
        let mut changes = Changes::default();
        let buckets = apply(&transaction, settlement, 0, &mut changes)?;
        transaction.commit()?;
        let updates = changes.heads.iter().filter(|head| head.seq != head.ticket_seq).map(|head| head.seq);
        let bodies = records::read(&self.connection, &updates.collect::<Vec<_>>())?;
        let joined = bodies.into_iter().filter_map(|(_, body)| match body {
            Body::Update(bytes) => proto::Update::decode(bytes.as_slice()).ok(),
            Body::Ticket(_) => None,
        });
        let is_joined =
            |update: &proto::Update| matches!(update.change, Some(proto::update::Change::FollowedUp(_)));
        Ok((buckets, joined.filter(is_joined).collect()))
    }
}
