//! Customers and their accounts, a chunk at a time.
//!
//! All that is to be done for a chunk and asks nothing of the ledger is done by [`CustomerChunk::new`], so that whoever
//! reads the file can do it while the chunk before is written.

use std::cmp::Ordering;

use rusqlite::{Connection, OptionalExtension, Statement, params};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Filter, Importer, Numbered, Rejected, Seen, in_asking_steps, in_steps};
use crate::desk::person::{Customer, Purchase};
use crate::ledger::LedgerError;
use crate::ledger::context::{joined, list, listed, owner, reader, touchpoints};
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
    fn over(&self, mut customer: Customer) -> Customer {
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

/// Rows that are taken over together, each customer and account once, in the order in which they are written.
#[derive(Debug)]
pub struct CustomerChunk {
    /// By key.
    rows: Vec<Numbered<CustomerRow>>,
    /// All accounts that they claim, in the order of the table.
    claims: Vec<Claim>,
    /// Rows whose key or account an earlier one has, in the order of the file.
    rejected: Vec<Rejected>,
}

/// An account that a row claims.
#[derive(Debug, Clone, Copy)]
struct Claim {
    /// In the chunk's rows.
    row: usize,
    /// Which of the row's.
    place: usize,
}

impl CustomerChunk {
    /// Of rows in the order of the file.
    pub fn new(mut rows: Vec<Numbered<CustomerRow>>) -> CustomerChunk {
        let mut rejected = Vec::new();
        let mut keep = distinct(&rows, &mut |row| rejected.push(row)).into_iter();
        rows.retain(|_| keep.next().unwrap_or_default());
        rows.sort_unstable_by(|one, other| one.row.key.cmp(&other.row.key));
        let mut claims: Vec<(Network, &str, Claim)> = Vec::with_capacity(2 * rows.len());
        for (row, Numbered { row: customer, .. }) in rows.iter().enumerate() {
            let claimed = customer.claims().enumerate();
            claims.extend(claimed.map(|(place, (network, name))| (network, name, Claim { row, place })));
        }
        claims.sort_unstable_by(|(one, name, _), (other, another, _)| {
            let networks = if one == other { Ordering::Equal } else { one.name().cmp(other.name()) };
            networks.then_with(|| name.cmp(another))
        });
        let claims = claims.into_iter().map(|(_, _, claim)| claim).collect();
        CustomerChunk { rows, claims, rejected }
    }
}

/// A row that is to be written, or found unchanged.
struct Plan<'r> {
    line: u64,
    row: &'r CustomerRow,
    /// Once it is known.
    id: Option<i64>,
    is_new: bool,
    /// The known customer as they are to be from now on, if otherwise than before.
    write: Option<Customer>,
    /// The known customer's accounts as the column has them, and maybe some that are no longer theirs.
    accounts: String,
    /// Whether accounts are to be linked.
    adds: bool,
    /// Accounts that are no longer theirs.
    release: Vec<(Network, String)>,
    /// Rejected after all.
    is_refused: bool,
}

/// An account to be linked: network, name, and the plan whose customer's it is.
type Link<'r> = (Network, &'r str, usize);

impl Plan<'_> {
    fn is_same(&self) -> bool {
        self.write.is_none() && !self.adds && self.release.is_empty()
    }

    /// The column of accounts from now on.
    fn list(&self) -> String {
        if self.accounts.is_empty() {
            return list(self.row.claims());
        }
        let is_released = |network: Network, name: &str| {
            self.release.iter().any(|(other, released)| *other == network && released == name)
        };
        let kept = listed(&self.accounts).filter(|(network, name)| !is_released(*network, name));
        let is_listed = |claim: &(Network, &str)| listed(&self.accounts).any(|known| known == *claim);
        list(kept.chain(self.row.claims().filter(|claim| !is_listed(claim))))
    }
}

impl Importer {
    /// Takes a chunk over; `reject` hears of each row that is not.
    ///
    /// # Errors
    ///
    /// The file cannot be written or read: a part of the chunk may be taken over.
    pub fn customers(
        &mut self,
        chunk: CustomerChunk,
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
        self.remove_unseen_customers().map_err(|error| self.failed(error))
    }

    fn remove_unseen_customers(&mut self) -> rusqlite::Result<()> {
        const ROWS: i64 = 10_000;
        let connection = &self.connection;
        let mut some =
            connection.prepare("SELECT id, accounts FROM customer WHERE id > ?1 ORDER BY id LIMIT ?2")?;
        let mut remove = connection.prepare("DELETE FROM customer WHERE id = ?1")?;
        let mut release = connection.prepare(RELEASE)?;
        let mut after = i64::MIN;
        loop {
            let mut gone: Vec<(i64, String)> = Vec::new();
            let mut rows = some.query([after, ROWS])?;
            let mut is_end = true;
            while let Some(row) = rows.next()? {
                is_end = false;
                after = row.get(0)?;
                if self.seen.line(after).is_none() {
                    gone.push((after, row.get(1)?));
                }
            }
            drop(rows);
            if is_end {
                return Ok(());
            }
            self.tally.removed += gone.len() as u64;
            in_steps(connection, &self.pace, gone, |(id, accounts)| {
                remove.execute([id])?;
                for (network, name) in listed(&accounts) {
                    release.execute(params![network.name(), name, id])?;
                }
                Ok(())
            })?;
        }
    }

    fn take(
        &mut self,
        CustomerChunk { rows, claims, rejected }: CustomerChunk,
        reject: &mut dyn FnMut(Rejected),
    ) -> rusqlite::Result<()> {
        rejected.into_iter().for_each(&mut *reject);
        let mut plans = Vec::with_capacity(rows.len());
        // Where each row's plan is.
        let mut places = Vec::with_capacity(rows.len());
        // One read for all: it is begun and ended once, and keeps nobody from writing.
        let reading = self.connection.unchecked_transaction()?;
        let columns = reader::COLUMNS;
        let mut find = reading
            .prepare(&format!("SELECT c.id, c.accounts, {columns} FROM customer c WHERE c.key = ?1"))?;
        for Numbered { line, row } in &rows {
            let may_be_known = self.written.as_mut().is_none_or(|written| written.add(("key", &row.key)));
            let known = if may_be_known { find_known(&mut find, row)? } else { None };
            if let Some(first) = known.as_ref().and_then(|known| self.seen.line(known.id)) {
                reject(Rejected { line: *line, reason: duplicate(&row.key, first) });
                places.push(None);
                continue;
            }
            places.push(Some(plans.len()));
            plans.push(plan(*line, row, known));
        }
        drop(find);
        let links = claims.into_iter().filter_map(|Claim { row, place }| {
            let plan = places.get(row).copied().flatten()?;
            let (network, name) = rows.get(row)?.row.claims().nth(place)?;
            Some((network, name, plan))
        });
        let links =
            claim(&reading, self.replace, &self.seen, &mut self.written, &mut plans, links.collect())?;
        reading.finish()?;
        for (index, reason) in links.refused {
            if let Some(plan) = plans.get_mut(index) {
                plan.is_refused = true;
                reject(Rejected { line: plan.line, reason });
            }
        }
        self.write(&mut plans, links.links)
    }

    fn write(&mut self, plans: &mut [Plan<'_>], links: Vec<Link<'_>>) -> rusqlite::Result<()> {
        let Importer { connection, pace, tally, seen, .. } = self;
        let connection = &*connection;
        {
            let mut insert = connection.prepare(INSERT)?;
            let mut update = connection.prepare(UPDATE)?;
            let mut relist = connection.prepare("UPDATE customer SET accounts = ?2 WHERE id = ?1")?;
            let planned = plans.iter_mut().filter(|plan| !plan.is_refused);
            in_steps(connection, pace, planned, |plan| {
                let id = match plan.id {
                    None => {
                        let id = insert.insert(params![
                            plan.row.key,
                            plan.row.name.as_deref().unwrap_or_default(),
                            plan.row.tier.as_deref().unwrap_or_default(),
                            plan.row.value.flatten(),
                            plan.row.language.as_deref().unwrap_or_default(),
                            joined(plan.row.flags.as_deref().unwrap_or_default()),
                            reader::stored(plan.row.purchases.as_deref().unwrap_or_default()),
                            plan.list(),
                        ])?;
                        plan.id = Some(id);
                        id
                    }
                    Some(id) => {
                        if let Some(Customer { name, tier, value, language, flags, purchases, .. }) =
                            &plan.write
                        {
                            let (flags, purchases) = (joined(flags), reader::stored(purchases));
                            update.execute(params![id, name, tier, value, language, flags, purchases])?;
                        }
                        if plan.adds || !plan.release.is_empty() {
                            relist.execute(params![id, plan.list()])?;
                        }
                        id
                    }
                };
                seen.note(id, plan.line);
                match (plan.is_new, plan.is_same()) {
                    (true, _) => tally.new += 1,
                    (false, true) => tally.unchanged += 1,
                    (false, false) => tally.changed += 1,
                }
                Ok(())
            })?;
        }
        let plans = &*plans;
        let releases = plans
            .iter()
            .filter(|plan| !plan.is_refused)
            .flat_map(|plan| plan.release.iter().map(|(network, name)| (*network, name.as_str(), plan.id)));
        let mut release = connection.prepare(RELEASE)?;
        in_steps(connection, pace, releases, |(network, name, id)| {
            release.execute(params![network.name(), name, id]).map(|_| ())
        })?;
        let mut link = connection.prepare(
            "INSERT INTO account (network, name, customer) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET customer = excluded.customer",
        )?;
        let links = links.into_iter().filter_map(|(network, name, index)| {
            let plan = plans.get(index).filter(|plan| !plan.is_refused)?;
            Some((network, name, plan.id?, &plan.row.key))
        });
        // A contact that was reported between two steps lies under the bare account, where nobody would see it any more.
        let ask = || touchpoints::any_of_accounts(connection);
        in_asking_steps(connection, pace, links, ask, |has_contacts, (network, name, id, key)| {
            link.execute(params![network.name(), name, id])?;
            if has_contacts {
                touchpoints::adopt(connection, network, name, key)?;
            }
            Ok(())
        })
    }
}

const INSERT: &str = "INSERT INTO customer (key, name, tier, value, language, flags, purchases, accounts)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const UPDATE: &str =
    "UPDATE customer SET name = ?2, tier = ?3, value = ?4, language = ?5, flags = ?6, purchases = ?7
                      WHERE id = ?1";
const RELEASE: &str = "DELETE FROM account WHERE network = ?1 AND name = ?2 AND customer = ?3";

/// Which accounts are to be linked, and who is not to be taken over.
struct Claimed<'r> {
    /// In the order of the table.
    links: Vec<Link<'r>>,
    /// Plans whose rows claim an account of somebody who keeps it, and why they are rejected.
    refused: FxHashMap<usize, String>,
}

/// Finds out whose the accounts of all rows are: what a customer's own column says may have gone to somebody else.
fn claim<'r>(
    connection: &Connection,
    replace: bool,
    seen: &Seen,
    written: &mut Option<Filter>,
    plans: &mut [Plan<'r>],
    mut links: Vec<Link<'r>>,
) -> rusqlite::Result<Claimed<'r>> {
    let mut refused = FxHashMap::default();
    let mut held = connection.prepare("SELECT customer FROM account WHERE network = ?1 AND name = ?2")?;
    let mut keep = Vec::with_capacity(links.len());
    // Accounts that another row of the chunk gives away: whose, by whom.
    let mut given = Vec::new();
    {
        let released: FxHashSet<(Network, &str, Option<i64>)> = plans
            .iter()
            .flat_map(|plan| plan.release.iter().map(|(network, name)| (*network, name.as_str(), plan.id)))
            .collect();
        for (network, name, index) in &links {
            let may_be_held = written.as_mut().is_none_or(|written| written.add((*network, name)));
            let Some(plan) = plans.get(*index) else { continue };
            let holder: Option<i64> = if may_be_held {
                held.query_row(params![network.name(), name], |row| row.get(0)).optional()?
            } else {
                None
            };
            if holder.is_some() && holder == plan.id {
                keep.push(false);
                continue;
            }
            keep.push(true);
            // Nearly all are nobody's; one whose customer is gone is, too.
            let Some(holder) = holder else { continue };
            if released.contains(&(*network, name, Some(holder))) {
                given.push((*network, *name, *index, holder));
                continue;
            }
            let Some((id, key)) = owner(connection, *network, name)? else { continue };
            let whose = match seen.line(id) {
                Some(line) => format!("by line {line}"),
                // Its customer may be further down in the file, and then without it; or it goes at the end.
                None if replace => continue,
                None => "since an earlier import".to_owned(),
            };
            let mine = &plan.row.key;
            refused.entry(*index).or_insert_with(|| {
                format!("customer {mine:?} claims {network} {name:?}, which is customer {key:?}'s {whose}")
            });
        }
    }
    // A row that is refused gives nothing away, so that another may have to be refused for it. Where all are replaced, its
    // customer goes at the end.
    loop {
        let refused_ids: FxHashMap<i64, usize> = refused
            .keys()
            .filter_map(|index| plans.get(*index).and_then(|plan| plan.id).map(|id| (id, *index)))
            .collect();
        let (kept, still_given): (Vec<_>, Vec<_>) =
            given.into_iter().partition(|(.., holder)| refused_ids.contains_key(holder));
        given = still_given;
        if replace || kept.is_empty() {
            break;
        }
        for (network, name, index, holder) in kept {
            let other = refused_ids.get(&holder).and_then(|index| plans.get(*index));
            let (Some(plan), Some(other)) = (plans.get(index), other) else { continue };
            let (mine, key, line) = (&plan.row.key, &other.row.key, other.line);
            refused.entry(index).or_insert_with(|| {
                format!("customer {mine:?} claims {network} {name:?}, which is customer {key:?}'s: line {line} is rejected")
            });
        }
    }
    let mut keep = keep.into_iter();
    links.retain(|_| keep.next().unwrap_or_default());
    for (_, _, index) in &links {
        if let Some(plan) = plans.get_mut(*index) {
            plan.adds = true;
        }
    }
    Ok(Claimed { links, refused })
}

/// Which rows have no key and no account that an earlier row of the chunk has.
fn distinct(chunk: &[Numbered<CustomerRow>], reject: &mut dyn FnMut(Rejected)) -> Vec<bool> {
    let mut keys: FxHashMap<&str, u64> = FxHashMap::with_capacity_and_hasher(chunk.len(), Default::default());
    let mut claims: FxHashMap<(Network, &str), &Numbered<CustomerRow>> =
        FxHashMap::with_capacity_and_hasher(2 * chunk.len(), Default::default());
    let mut is_distinct = Vec::with_capacity(chunk.len());
    for numbered in chunk {
        let Numbered { line, row } = numbered;
        if let Some(first) = keys.get(row.key.as_str()) {
            reject(Rejected { line: *line, reason: duplicate(&row.key, *first) });
            is_distinct.push(false);
            continue;
        }
        let claimed = row.claims().find_map(|claim| Some((claim, claims.get(&claim)?)));
        if let Some(((network, name), first)) = claimed {
            let reason = format!(
                "customer {:?} claims {network} {name:?}, which is customer {:?}'s by line {}",
                row.key, first.row.key, first.line
            );
            reject(Rejected { line: *line, reason });
            is_distinct.push(false);
            continue;
        }
        keys.insert(&row.key, *line);
        claims.extend(row.claims().map(|claim| (claim, numbered)));
        is_distinct.push(true);
    }
    is_distinct
}

fn duplicate(key: &str, first: u64) -> String {
    format!("customer {key:?} is in line {first} already")
}

/// A customer in the ledger.
struct Known {
    id: i64,
    accounts: String,
    customer: Customer,
}

fn find_known(find: &mut Statement<'_>, row: &CustomerRow) -> rusqlite::Result<Option<Known>> {
    let known = |found: &rusqlite::Row<'_>| {
        Ok(Known { id: found.get(0)?, accounts: found.get(1)?, customer: reader::read(found, 2)? })
    };
    find.query_row([&row.key], known).optional()
}

/// What is to be done about a row.
fn plan(line: u64, row: &CustomerRow, known: Option<Known>) -> Plan<'_> {
    let Some(Known { id, accounts, customer }) = known else {
        return Plan {
            line,
            row,
            id: None,
            is_new: true,
            write: None,
            accounts: String::new(),
            adds: false,
            release: Vec::new(),
            is_refused: false,
        };
    };
    let is_gone = |network: Network, held: &str| {
        row.accounts.iter().any(|(other, names)| *other == network && !names.iter().any(|name| name == held))
    };
    let release = listed(&accounts)
        .filter(|(network, held)| is_gone(*network, held))
        .map(|(network, held)| (network, held.to_owned()))
        .collect();
    let merged = row.over(customer.clone());
    let write = (merged != customer).then_some(merged);
    Plan { line, row, id: Some(id), is_new: false, write, accounts, adds: false, release, is_refused: false }
}
