//! Contacts, which have no key but who, when and on which channel.

use rusqlite::params;

use super::{Importer, Numbered, in_steps};
use crate::ledger::LedgerError;
use crate::ledger::context::touchpoints::{self, Contact, Kept};

fn is_of_same(one: &Contact, other: &Contact) -> bool {
    one.customer == other.customer && (!one.customer.is_empty() || one.account == other.account)
}

impl Importer {
    /// Takes a chunk over.
    ///
    /// # Errors
    ///
    /// The file cannot be written or read: a part of the chunk may be taken over.
    pub fn touchpoints(&mut self, chunk: &[Numbered<Contact>]) -> Result<(), LedgerError> {
        let mut rows: Vec<_> = chunk.iter().map(|numbered| &numbered.row).collect();
        // In the order of the table; those of one person and time stay in the file's order, so that the last counts.
        rows.sort_by(|one, other| {
            let who = |contact: &Contact| contact.account.as_ref().map(|(network, _)| network.name());
            (&one.customer, who(one), one.account.as_ref().map(|(_, name)| name), one.touchpoint.at).cmp(&(
                &other.customer,
                who(other),
                other.account.as_ref().map(|(_, name)| name),
                other.touchpoint.at,
            ))
        });
        if self.replace && !self.knows_old_touchpoints {
            self.note_old_touchpoints().map_err(|error| self.failed(error))?;
            self.knows_old_touchpoints = true;
        }
        let (mut tally, replace) = (self.tally, self.replace);
        let connection = &self.connection;
        // Whose the last row was, and whether there is such a customer: the next one is often theirs, too.
        let mut last: Option<(&Contact, bool)> = None;
        let taken = in_steps(connection, &self.pace, rows, |contact| {
            match touchpoints::keep(connection, contact)? {
                Kept::New => tally.new += 1,
                Kept::Changed => tally.changed += 1,
                Kept::Unchanged => tally.unchanged += 1,
            }
            let known = match last {
                Some((other, known)) if is_of_same(other, contact) => known,
                _ => touchpoints::is_of_customer(connection, contact)?,
            };
            last = Some((contact, known));
            tally.of_nobody += u64::from(!known);
            if replace {
                let (customer, network, account) = touchpoints::stored_under(connection, contact)?;
                connection
                    .prepare_cached(
                        "DELETE FROM temp.old_touchpoint WHERE customer = ?1 AND network = ?2 AND account = ?3
                         AND at_us = ?4 AND channel = ?5",
                    )?
                    .execute(params![
                        customer,
                        network,
                        account,
                        contact.touchpoint.at.as_microsecond(),
                        contact.touchpoint.channel
                    ])?;
            }
            Ok(())
        });
        self.tally = tally;
        taken.map_err(|error| self.failed(error))
    }

    /// Removes what was there before the first chunk, and is in none. What was reported meanwhile stays.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn remove_other_touchpoints(&mut self) -> Result<(), LedgerError> {
        self.remove_touchpoints().map_err(|error| self.failed(error))
    }

    /// Keeps the keys of all contacts in a temporary table, which goes to the disk when it grows; reads only.
    fn note_old_touchpoints(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch(
            "INSERT INTO temp.old_touchpoint SELECT customer, network, account, at_us, channel FROM touchpoint",
        )
    }

    fn remove_touchpoints(&mut self) -> rusqlite::Result<()> {
        const ROWS: usize = 10_000;
        let list = format!("SELECT * FROM temp.old_touchpoint LIMIT {ROWS}");
        const KEY: &str = "customer = ?1 AND network = ?2 AND account = ?3 AND at_us = ?4 AND channel = ?5";
        type Key = (String, String, String, i64, String);
        loop {
            let gone: Vec<Key> = {
                let mut statement = self.connection.prepare(&list)?;
                let key = |row: &rusqlite::Row<'_>| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
                };
                statement.query_map([], key)?.collect::<rusqlite::Result<_>>()?
            };
            if gone.is_empty() {
                return Ok(());
            }
            let connection = &self.connection;
            let mut remove = connection.prepare(&format!("DELETE FROM touchpoint WHERE {KEY}"))?;
            let mut strike = connection.prepare(&format!("DELETE FROM temp.old_touchpoint WHERE {KEY}"))?;
            let mut removed = 0;
            in_steps(connection, &self.pace, gone, |key| {
                let gone = remove.execute(key.clone())?;
                removed += gone as u64;
                touchpoints::count(connection, -i64::try_from(gone).unwrap_or_default())?;
                strike.execute(key)?;
                Ok(())
            })?;
            self.tally.removed += removed;
        }
    }
}
