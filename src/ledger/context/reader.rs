//! Looks a post's author up, on the path: one short read of its own connection, at most four look-ups.
//!
//! Memory is the page cache alone, [`CACHE_KIB`]: enough for the inner pages of the trees of five million customers.
//! A leaf comes from the operating system's cache, or from the disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::touchpoints::{Whose, find};
use super::{agents, names_of, words};
use crate::desk::person::{Customer, Purchase, TOUCHPOINTS_MAX, Touchpoint, Unreadable};
use crate::desk::{Agent, People, Person};
use crate::ledger::{LedgerError, open_to_read, reason, schema};
use crate::parse::{Network, Post};

/// Pages kept in memory at most.
const CACHE_KIB: i64 = 8 * 1024;

/// The company's own words that its customers have, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TiersAndFlags {
    /// Of all of them.
    pub tiers: BTreeSet<String>,
    /// Of all of them.
    pub flags: BTreeSet<String>,
}

/// Reads customers, contacts and agents, beside the daemon's own writing or without it.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    /// The agents' generation and they themselves, as last asked for.
    told: Option<(i64, Vec<Agent>)>,
}

impl Reader {
    /// Opens the ledger for reading.
    ///
    /// # Errors
    ///
    /// It is not there, cannot be read, is no ledger, or is of another version than this vigie's.
    pub fn open(path: &Path) -> Result<Reader, LedgerError> {
        let (connection, found) = open_to_read(path)?;
        if found < schema::VERSION {
            return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
        }
        let failed = |error| LedgerError::Sqlite { path: path.to_owned(), error };
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(failed)?;
        connection.pragma_update(None, "mmap_size", 0).map_err(failed)?;
        Ok(Reader { connection, path: path.to_owned(), told: None })
    }

    /// All agents, by name.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn agents(&mut self) -> Result<Vec<Agent>, Unreadable> {
        agents::all(&self.connection).map_err(|error| self.unreadable(&error))
    }

    /// The tiers and flags of all customers; `None` where there are more than `customers_max`.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn tiers_and_flags(&mut self, customers_max: usize) -> Result<Option<TiersAndFlags>, Unreadable> {
        self.read_words(customers_max).map_err(|error| self.unreadable(&error))
    }

    fn read_words(&self, customers_max: usize) -> rusqlite::Result<Option<TiersAndFlags>> {
        let mut statement = self.connection.prepare("SELECT tier, flags FROM customer LIMIT ?1")?;
        let mut rows =
            statement.query([i64::try_from(customers_max).unwrap_or(i64::MAX).saturating_add(1)])?;
        let mut found = TiersAndFlags::default();
        let mut customers = 0;
        while let Some(row) = rows.next()? {
            customers += 1;
            if customers > customers_max {
                return Ok(None);
            }
            let tier = row.get_ref(0)?.as_str()?;
            if !tier.is_empty() && !found.tiers.contains(tier) {
                found.tiers.insert(tier.to_owned());
            }
            found.flags.extend(words(row.get_ref(1)?.as_str()?));
        }
        Ok(Some(found))
    }

    fn unreadable(&self, error: &rusqlite::Error) -> Unreadable {
        Unreadable(format!("ledger {}: {}", self.path.display(), reason(error)))
    }

    fn look_up(&mut self, post: &Post<'_>, window: Duration, now: Timestamp) -> rusqlite::Result<Person> {
        let window_us = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        let span = (now.as_microsecond().saturating_sub(window_us), now.as_microsecond());
        // One read of one state of the file, and its locks are taken once.
        let transaction = self.connection.transaction()?;
        let mut person = Person::default();
        for name in names_of(&post.author.id, post.author.handle.as_deref()) {
            // What was reported of the bare account is theirs, too: an id that nobody has linked beside the handle.
            if let Some(customer) = customer(&transaction, post.network, &name)? {
                let whose = Whose::Customer(&customer.key);
                find(&transaction, whose, span, TOUCHPOINTS_MAX, &mut person.touchpoints)?;
                person.customer = Some(Arc::new(customer));
                break;
            }
            let whose = Whose::Account(post.network, &name);
            find(&transaction, whose, span, TOUCHPOINTS_MAX, &mut person.touchpoints)?;
        }
        // Those of the id and those of the handle.
        let order =
            |one: &Touchpoint, other: &Touchpoint| (other.at, &other.channel).cmp(&(one.at, &one.channel));
        person.touchpoints.sort_by(order);
        person.touchpoints.dedup_by(|one, other| (one.at, &one.channel) == (other.at, &other.channel));
        person.touchpoints.truncate(TOUCHPOINTS_MAX);
        transaction.finish()?;
        Ok(person)
    }
}

impl People for Reader {
    fn author_of(&mut self, post: &Post<'_>, window: Duration, now: Timestamp) -> Result<Person, Unreadable> {
        self.look_up(post, window, now).map_err(|error| self.unreadable(&error))
    }

    fn new_agents(&mut self) -> Result<Option<Vec<Agent>>, Unreadable> {
        let generation = agents::generation(&self.connection).map_err(|error| self.unreadable(&error))?;
        if self.told.as_ref().is_some_and(|(told, _)| *told == generation) {
            return Ok(None);
        }
        // Those of this generation or of a later one, which are then read once more.
        let agents = self.agents()?;
        let is_same = self.told.as_ref().is_some_and(|(_, told)| *told == agents);
        self.told = Some((generation, agents.clone()));
        Ok((!is_same).then_some(agents))
    }
}

/// The columns of a customer that [`read`] takes.
pub(super) const COLUMNS: &str = "c.key, c.name, c.tier, c.value, c.language, c.flags, c.purchases";

/// The customer to whom this account is linked.
fn customer(connection: &Connection, network: Network, name: &str) -> rusqlite::Result<Option<Customer>> {
    // The account first, by its key, whatever statistics the file has.
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM account a CROSS JOIN customer c ON c.id = a.customer
             WHERE a.network = ?1 AND a.name = ?2"
        ))?
        .query_row(params![network.name(), name], |row| read(row, 0))
        .optional()
}

/// A customer from [`COLUMNS`], the first of which is column `first`.
pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Customer> {
    Ok(Customer {
        key: row.get(first)?,
        name: row.get(first + 1)?,
        tier: row.get(first + 2)?,
        value: row.get(first + 3)?,
        language: row.get(first + 4)?,
        flags: words(row.get_ref(first + 5)?.as_str()?),
        purchases: purchases(row.get_ref(first + 6)?.as_str()?),
    })
}

/// A purchase as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    at_us: i64,
    #[serde(borrow)]
    what: std::borrow::Cow<'a, str>,
    /// A number as text: as a number of JSON it would not come back to the last bit.
    #[serde(borrow)]
    amount: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    date: Option<std::borrow::Cow<'a, str>>,
}

fn purchases(column: &str) -> Vec<Purchase> {
    if column.is_empty() {
        return Vec::new();
    }
    // We wrote it; what a newer vigie wrote otherwise is as good as unknown.
    let stored: Vec<Stored<'_>> = serde_json::from_str(column).unwrap_or_default();
    let purchase = |one: Stored<'_>| Purchase {
        at: Timestamp::from_microsecond(one.at_us).unwrap_or_default(),
        date: one.date.and_then(|date| date.parse().ok()),
        what: one.what.into_owned(),
        amount: one.amount.and_then(|amount| amount.parse().ok()),
    };
    stored.into_iter().map(purchase).collect()
}

/// Purchases as a column holds them.
pub(super) fn stored(purchases: &[Purchase]) -> String {
    if purchases.is_empty() {
        return String::new();
    }
    let stored = |one: &Purchase| Stored {
        at_us: one.at.as_microsecond(),
        date: one.date.map(|date| date.to_string().into()),
        what: one.what.as_str().to_owned().into(),
        amount: one.amount.map(|amount| amount.to_string().into()),
    };
    // Numbers and texts: nothing in it could fail.
    serde_json::to_string(&purchases.iter().map(stored).collect::<Vec<_>>()).unwrap_or_default()
}
