//! Customers and their accounts, a chunk at a time.

use rusqlite::{Connection, OptionalExtension, Statement, params};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Importer, Numbered, Rejected, in_steps};
use crate::desk::person::{Customer, Purchase};
use crate::ledger::LedgerError;
use crate::ledger::context::{joined, owner, reader, touchpoints};
use crate::parse::Network;

/// What a file says of a customer. `None`: nothing, so that it stays as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CustomerRow {
    /// The company's own key.
    pub key: String,
    /// For the agents' eyes.
    pub name: Option<String>,
    /// In lower case.
    pub tier: Option<String>,
    /// What they are worth; `Some(None)`: unknown from now on.
    pub value: Option<Option<f64>>,
    /// Primary subtag.
    pub language: Option<String>,
    /// In lower case, without spaces.
    pub flags: Option<Vec<String>>,
    /// The newest first.
    pub purchases: Option<Vec<Purchase>>,
    /// All accounts on each network of which the file speaks, as [`account_name`](super::super::account_name) gives
    /// them.
    pub accounts: Vec<(Network, Vec<String>)>,
}

impl CustomerRow {
    /// The customer as they are after this row.
    fn over(&self, known: Option<Customer>) -> Customer {
        let mut customer = known.unwrap_or_else(|| Customer { key: self.key.clone(), ..Customer::default() });
        fn take<T: Clone>(into: &mut T, given: &Option<T>) {
            if let Some(given) = given {
                into.clone_from(given);
            }
        }
        take(&mut customer.name, &self.name);
        take(&mut customer.tier, &self.tier);
        take(&mut customer.value, &self.value);
        take(&mut customer.language, &self.language);
        take(&mut customer.flags, &self.flags);
        take(&mut customer.purchases, &self.purchases);
        customer
    }

    fn claims(&self) -> impl Iterator<Item = (Network, &str)> {
        self.accounts.iter().flat_map(|(network, names)| names.iter().map(|name| (*network, name.as_str())))
    }
}

/// A row that is to be written, or found unchanged.
struct Plan<'r> {
    line: u64,
    row: &'r CustomerRow,
    /// Once it is known.
    id: Option<i64>,
    is_new: bool,
    /// How the customer is to be from now on, if otherwise than before.
    write: Option<Customer>,
    /// Accounts that are theirs from now on.
    add: Vec<(Network, &'r str)>,
    /// Accounts that are no longer theirs.
    release: Vec<(Network, String)>,
}

/// What [`INSERT`] and [`UPDATE`] bind: the first value, then the customer's.
macro_rules! columns {
    ($customer:expr, $first:expr) => {
        params![
            $first,
            $customer.name,
            $customer.tier,
            $customer.value,
            $customer.language,
            joined(&$customer.flags),
            reader::stored(&$customer.purchases),
        ]
    };
}

impl Importer {
    /// Takes a chunk over; `reject` hears of each row that is not.
    ///
    /// # Errors
    ///
    /// The file cannot be written or read: a part of the chunk may be taken over.
    pub fn customers(
        &mut self,
        chunk: &[Numbered<CustomerRow>],
        reject: &mut dyn FnMut(Rejected),
    ) -> Result<(), LedgerError> {
        self.take(chunk, reject).map_err(|error| self.failed(error))
    }

    /// Removes who was in no chunk.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn remove_other_customers(&mut self) -> Result<(), LedgerError> {
        let removed = self.remove_unseen("customer", "id", "seen", |connection, id: &i64| {
            connection.prepare_cached("DELETE FROM account WHERE customer = ?1")?.execute([id])?;
            Ok(())
        });
        removed.map_err(|error| self.failed(error))
    }

    fn take(
        &mut self,
        chunk: &[Numbered<CustomerRow>],
        reject: &mut dyn FnMut(Rejected),
    ) -> rusqlite::Result<()> {
        let mut rows = distinct(chunk, reject);
        rows.sort_unstable_by(|one, other| one.row.key.cmp(&other.row.key));
        let mut plans = Vec::with_capacity(rows.len());
        // One read for all: it is begun and ended once, and keeps nobody from writing.
        let reading = self.connection.unchecked_transaction()?;
        let mut find =
            reading.prepare(&format!("SELECT c.id, {} FROM customer c WHERE c.key = ?1", reader::COLUMNS))?;
        for Numbered { line, row } in rows {
            match plan(&reading, &mut find, *line, row)? {
                Ok(plan) => plans.push(plan),
                Err(reason) => reject(Rejected { line: *line, reason }),
            }
        }
        drop(find);
        refuse_claimed(&reading, self.replace, &mut plans, reject)?;
        reading.finish()?;
        self.write(&mut plans)
    }

    fn write(&mut self, plans: &mut [Plan<'_>]) -> rusqlite::Result<()> {
        let (connection, log_pages) = (&self.connection, &self.log_pages);
        let mut tally = self.tally;
        {
            let mut insert = connection.prepare(INSERT)?;
            let mut update = connection.prepare(UPDATE)?;
            let mut see = connection.prepare("INSERT OR IGNORE INTO temp.seen (id, line) VALUES (?1, ?2)")?;
            in_steps(connection, log_pages, plans.iter_mut(), |plan| {
                let is_same = plan.write.is_none() && plan.add.is_empty() && plan.release.is_empty();
                let id = match (plan.id, &plan.write) {
                    (None, None) => return Ok(()),
                    (None, Some(customer)) => insert.insert(columns!(customer, customer.key))?,
                    (Some(id), Some(customer)) => {
                        update.execute(columns!(customer, id))?;
                        id
                    }
                    (Some(id), None) => id,
                };
                plan.id = Some(id);
                see.execute(params![id, plan.line.cast_signed()])?;
                match (plan.is_new, is_same) {
                    (true, _) => tally.new += 1,
                    (false, true) => tally.unchanged += 1,
                    (false, false) => tally.changed += 1,
                }
                Ok(())
            })?;
        }
        let releases: Vec<_> = plans
            .iter()
            .flat_map(|plan| plan.release.iter().map(|(network, name)| (*network, name.as_str(), plan.id)))
            .collect();
        let mut release =
            connection.prepare("DELETE FROM account WHERE network = ?1 AND name = ?2 AND customer = ?3")?;
        in_steps(connection, log_pages, releases, |(network, name, id)| {
            release.execute(params![network.name(), name, id]).map(|_| ())
        })?;
        let mut links: Vec<_> = plans
            .iter()
            .flat_map(|plan| plan.add.iter().map(|(network, name)| (*network, *name, plan.id, &plan.row.key)))
            .collect();
        links.sort_unstable_by_key(|(network, name, ..)| (network.name(), *name));
        let mut link = connection.prepare(
            "INSERT INTO account (network, name, customer) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET customer = excluded.customer",
        )?;
        // Asked once for a chunk: a contact that comes meanwhile is found by its account.
        let has_contacts = touchpoints::any_of_accounts(connection)?;
        in_steps(connection, log_pages, links, |(network, name, id, key)| {
            link.execute(params![network.name(), name, id])?;
            if has_contacts {
                touchpoints::adopt(connection, network, name, key)?;
            }
            Ok(())
        })?;
        self.tally = tally;
        Ok(())
    }
}

const INSERT: &str = "INSERT INTO customer (key, name, tier, value, language, flags, purchases)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const UPDATE: &str =
    "UPDATE customer SET name = ?2, tier = ?3, value = ?4, language = ?5, flags = ?6, purchases = ?7
                      WHERE id = ?1";

/// Refuses rows that claim an account of somebody who keeps it.
fn refuse_claimed(
    connection: &Connection,
    replace: bool,
    plans: &mut Vec<Plan<'_>>,
    reject: &mut dyn FnMut(Rejected),
) -> rusqlite::Result<()> {
    let released: FxHashSet<(Network, &str)> = plans
        .iter()
        .flat_map(|plan| plan.release.iter().map(|(network, name)| (*network, name.as_str())))
        .collect();
    let mut claims: Vec<_> = plans
        .iter()
        .enumerate()
        .flat_map(|(index, plan)| plan.add.iter().map(move |(network, name)| (*network, *name, index)))
        .filter(|(network, name, _)| !released.contains(&(*network, *name)))
        .collect();
    // In the order of the table.
    claims.sort_unstable_by_key(|(network, name, _)| (network.name(), *name));
    let mut held = connection.prepare("SELECT 1 FROM account WHERE network = ?1 AND name = ?2")?;
    let mut refused: FxHashMap<usize, String> = FxHashMap::default();
    for (network, name, index) in claims {
        // Nearly all are nobody's.
        if !held.exists(params![network.name(), name])? {
            continue;
        }
        let Some((id, key)) = owner(connection, network, name)? else { continue };
        let line = seen(connection, id)?;
        let whose = match line {
            _ if plans[index].id == Some(id) => continue,
            Some(line) => format!("by line {line}"),
            // Its customer may be further down in the file, and then without it; or it goes at the end.
            None if replace => continue,
            None => "since an earlier import".to_owned(),
        };
        let mine = &plans[index].row.key;
        refused.entry(index).or_insert_with(|| {
            format!("customer {mine:?} claims {network} {name:?}, which is customer {key:?}'s {whose}")
        });
    }
    let mut index = 0;
    plans.retain(|plan| {
        let reason = refused.remove(&index);
        index += 1;
        let is_kept = reason.is_none();
        reason.into_iter().for_each(|reason| reject(Rejected { line: plan.line, reason }));
        is_kept
    });
    Ok(())
}

/// The rows without those whose key or account an earlier row of the chunk has.
fn distinct<'r>(
    chunk: &'r [Numbered<CustomerRow>],
    reject: &mut dyn FnMut(Rejected),
) -> Vec<&'r Numbered<CustomerRow>> {
    let mut keys: FxHashMap<&str, u64> = FxHashMap::with_capacity_and_hasher(chunk.len(), Default::default());
    let mut claims: FxHashMap<(Network, &str), &Numbered<CustomerRow>> =
        FxHashMap::with_capacity_and_hasher(chunk.len(), Default::default());
    let mut rows = Vec::with_capacity(chunk.len());
    for numbered in chunk {
        let Numbered { line, row } = numbered;
        if let Some(first) = keys.get(row.key.as_str()) {
            reject(Rejected { line: *line, reason: duplicate(&row.key, *first) });
            continue;
        }
        let claimed = row.claims().find_map(|claim| Some((claim, claims.get(&claim)?)));
        if let Some(((network, name), first)) = claimed {
            let reason = format!(
                "customer {:?} claims {network} {name:?}, which is customer {:?}'s by line {}",
                row.key, first.row.key, first.line
            );
            reject(Rejected { line: *line, reason });
            continue;
        }
        keys.insert(&row.key, *line);
        claims.extend(row.claims().map(|claim| (claim, numbered)));
        rows.push(numbered);
    }
    rows
}

fn duplicate(key: &str, first: u64) -> String {
    format!("customer {key:?} is in line {first} already")
}

/// The line of this import in which the customer was.
fn seen(connection: &Connection, id: i64) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT line FROM temp.seen WHERE id = ?1")?
        .query_row([id], |row| row.get::<_, i64>(0))
        .optional()
        .map(|line| line.map(i64::cast_unsigned))
}

/// What is to be done about a row; the inner error is why it is rejected.
fn plan<'r>(
    connection: &Connection,
    find: &mut Statement<'_>,
    line: u64,
    row: &'r CustomerRow,
) -> rusqlite::Result<Result<Plan<'r>, String>> {
    let known = find
        .query_row([&row.key], |found| Ok((found.get::<_, i64>(0)?, reader::read(found, 1)?)))
        .optional()?;
    let Some((id, known)) = known else {
        let add = row.claims().collect();
        let write = Some(row.over(None));
        return Ok(Ok(Plan { line, row, id: None, is_new: true, write, add, release: Vec::new() }));
    };
    if let Some(first) = seen(connection, id)? {
        return Ok(Err(duplicate(&row.key, first)));
    }
    let merged = row.over(Some(known.clone()));
    let (mut add, mut release) = (Vec::new(), Vec::new());
    if !row.accounts.is_empty() {
        let theirs = accounts(connection, id)?;
        add.extend(
            row.claims().filter(|(network, name)| {
                !theirs.iter().any(|(other, held)| other == network && held == name)
            }),
        );
        release.extend(theirs.into_iter().filter(|(network, held)| {
            row.accounts.iter().any(|(other, names)| other == network && !names.contains(held))
        }));
    }
    let write = (merged != known).then_some(merged);
    Ok(Ok(Plan { line, row, id: Some(id), is_new: false, write, add, release }))
}

fn accounts(connection: &Connection, id: i64) -> rusqlite::Result<Vec<(Network, String)>> {
    let mut accounts = Vec::new();
    let mut statement = connection
        .prepare_cached("SELECT network, name FROM account WHERE customer = ?1 ORDER BY network, name")?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        if let Some(network) = Network::from_name(row.get_ref(0)?.as_str()?) {
            accounts.push((network, row.get(1)?));
        }
    }
    Ok(accounts)
}
