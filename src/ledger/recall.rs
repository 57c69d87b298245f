//! What a desk must remember, read of the ledger's file: by the daemon at its start, and beside it by whoever asks what
//! it would decide.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::assigned::{self, Assigned};
use super::{Ledger, LedgerError, conversations, open_to_read, records, schema, store, tickets};
use crate::desk::conversation::{CONVERSATIONS_MAX, FURTHER_MAX};
use crate::desk::route::{OPEN_TICKETS_MAX, PEOPLE_MAX};
use crate::desk::{Desk, KNOWN_TICKETS_MAX};
use crate::ticket::{TicketId, proto};

/// Takes over who has a ticket.
pub(crate) fn restore(desk: &mut Desk, assigned: &Assigned) {
    let Assigned { ticket_id, assignee, by_helpdesk, is_open, priority } = assigned;
    desk.restore_assignment(*ticket_id, &assignee.team, &assignee.agent, !by_helpdesk, *is_open);
    desk.restore_needs(*ticket_id, &assignee.needs, *priority);
}

/// Who is in conversation with us, and who helps others.
fn conversations(connection: &Connection, desk: &mut Desk) -> rusqlite::Result<()> {
    conversations::remembered(connection, CONVERSATIONS_MAX, |ticket| desk.remember_conversation(&ticket))?;
    // One more than it remembers: it then knows that there are older ones.
    conversations::remembered_posts(connection, FURTHER_MAX + 1, |post| desk.remember_post(&post))?;
    conversations::thanks(connection, |network, author_id, ticket_id, at_us| {
        desk.conversations.remember_thanks(network, author_id, ticket_id, at_us);
    })
}

/// Whose open tickets are, and who answered whom.
fn assignments(connection: &Connection, desk: &mut Desk) -> rusqlite::Result<()> {
    assigned::visit_open(connection, OPEN_TICKETS_MAX, |assigned| restore(desk, assigned))?;
    assigned::visit_relieved(connection, |agent, tickets| desk.restore_relieved(agent, tickets))?;
    answers(connection, desk)
}

/// Who answered whom.
pub(super) fn answers(connection: &Connection, desk: &mut Desk) -> rusqlite::Result<()> {
    assigned::visit_answered(connection, PEOPLE_MAX, |person, agent, at_us| {
        desk.remember_answer(person, agent, Timestamp::from_microsecond(at_us).unwrap_or_default());
    })
}

impl Ledger {
    /// All that a desk must know that starts; before it is told of agents.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn recall(&self, desk: &mut Desk) -> Result<(), LedgerError> {
        let recall = |desk: &mut Desk| {
            // One more than it remembers, as above.
            let known = |id, text_hash| desk.remember(id, text_hash);
            store::tickets(&self.connection, KNOWN_TICKETS_MAX + 1, known)?;
            conversations(&self.connection, desk)?;
            assignments(&self.connection, desk)
        };
        recall(desk).map_err(|error| self.failed(error))
    }
}

/// The ledger's file at one moment, for whoever asks beside a daemon or without one.
#[derive(Debug)]
pub struct Memory {
    connection: Connection,
    path: PathBuf,
}

/// A ticket as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// With its newest priority, level and factors.
    pub ticket: proto::Ticket,
    /// Posts that have joined it and count.
    pub further: u32,
}

impl Memory {
    /// Opens it for reading.
    ///
    /// # Errors
    ///
    /// It is not there, cannot be read, is no ledger, or is of another version than this vigie's.
    pub fn open(path: &Path) -> Result<Memory, LedgerError> {
        let (connection, found) = open_to_read(path)?;
        if found < schema::VERSION {
            return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
        }
        let memory = Memory { connection, path: path.to_owned() };
        memory.read(|connection| connection.execute_batch("BEGIN"))?;
        Ok(memory)
    }

    /// What a desk remembers that starts, but for which posts have a ticket: [`belongs`](Memory::belongs) says that of one.
    /// Before it is told of agents.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn recall(&self, desk: &mut Desk) -> Result<(), LedgerError> {
        self.read(|connection| conversations(connection, desk))?;
        self.recall_assignments(desk)
    }

    /// Of that only whose open tickets are, and who answered whom.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn recall_assignments(&self, desk: &mut Desk) -> Result<(), LedgerError> {
        self.read(|connection| assignments(connection, desk))
    }

    /// The ticket that was made of this post or that it belongs to.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn belongs(&self, post_id: TicketId) -> Result<Option<TicketId>, LedgerError> {
        self.read(|connection| {
            connection
                .prepare(
                    "SELECT id FROM ticket WHERE id = ?1 UNION ALL SELECT id FROM pruned WHERE id = ?1
                     UNION ALL SELECT ticket_id FROM post WHERE id = ?1 AND kind <> 2",
                )?
                .query_row([post_id.as_bytes()], |row| records::ticket_id(row, 0))
                .optional()
        })
    }

    /// Whether this is another text than the one that is kept of a post of a ticket.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn is_changed(&self, post_id: TicketId, text_hash: u64) -> Result<bool, LedgerError> {
        self.read(|connection| {
            connection
                .prepare(
                    "SELECT 1 FROM ticket WHERE id = ?1 AND text_hash <> ?2 AND erased_at_us IS NULL
                       AND NOT EXISTS (SELECT 1 FROM conversation WHERE ticket_id = ?1 AND erased_at_us IS NOT NULL)
                     UNION ALL
                     SELECT 1 FROM post WHERE id = ?1 AND text_hash <> ?2 AND erased_at_us IS NULL AND kind = 0",
                )?
                .exists(params![post_id.as_bytes(), text_hash.cast_signed()])
        })
    }

    /// This ticket; `None`: it is not there, or was pruned.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn ticket(&self, id: TicketId) -> Result<Option<Standing>, LedgerError> {
        self.read(|connection| {
            let Some(kept) = tickets::one(connection, id)? else { return Ok(None) };
            let further = connection
                .prepare("SELECT further FROM conversation WHERE ticket_id = ?1")?
                .query_row([id.as_bytes()], |row| row.get(0))
                .optional()?;
            Ok(Some(Standing { ticket: kept.ticket, further: further.unwrap_or(0) }))
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        read(&self.connection).map_err(|error| LedgerError::Sqlite { path: self.path.clone(), error })
    }
}
