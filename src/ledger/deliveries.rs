//! What each subscription still has to take, and what it has acknowledged.

use rusqlite::{Connection, OptionalExtension, params};

use super::outbox::{SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_OWNED_MAX};
use super::records::{HEAD, head};
use super::{RecordHead, Seq, SubscriptionRequest, prune, wal};

/// The newest seq ever given, whether or not its record is still there.
const NEWEST: &str = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'record'), 0)";

/// Opens the subscription, or creates it, with this filter; gives its start and its unacknowledged heads.
///
/// The inner error says which limit there is, if there are as many others as there may be.
pub(super) fn subscribe(
    connection: &mut Connection,
    request: &SubscriptionRequest,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Result<(u64, Vec<RecordHead>), String>> {
    let SubscriptionRequest { name, filter, start_next } = request;
    let transaction = wal::begin(connection)?;
    let is_known =
        transaction.prepare_cached("SELECT 1 FROM subscription WHERE name = ?1")?.exists([name])?;
    if !is_known && let Some(full) = full(&transaction, name)? {
        return Ok(Err(full));
    }
    transaction
        .prepare_cached(&format!(
            "INSERT INTO subscription (name, start, floor, filter)
             SELECT ?1, newest, newest, ?3 FROM (SELECT CASE WHEN ?2 THEN {NEWEST} ELSE 0 END AS newest)
             WHERE true ON CONFLICT (name) DO UPDATE SET filter = excluded.filter
                        WHERE filter IS NOT excluded.filter"
        ))?
        .execute(params![name, start_next, prune::encode(filter)])?;
    transaction.commit()?;
    let start: i64 = connection
        .prepare_cached("SELECT start FROM subscription WHERE name = ?1")?
        .query_row([name], |row| row.get(0))?;
    let mut heads = Vec::new();
    unacknowledged(connection, name, ageing_points_per_hour, |head| heads.push(head))?;
    heads.sort_unstable_by_key(|head| head.seq);
    Ok(Ok((start.cast_unsigned(), heads)))
}

/// Why there is no room for another subscription of this name, if there is none.
fn full(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let count = |owner: &str| {
        connection
            .prepare_cached("SELECT count(*) FROM subscription WHERE substr(name, 1, length(?1)) = ?1")?
            .query_row([owner], |row| row.get::<_, i64>(0))
    };
    if count("")? >= SUBSCRIPTIONS_MAX as i64 {
        return Ok(Some(format!(
            "the ledger holds {SUBSCRIPTIONS_MAX} subscriptions: remove those not used"
        )));
    }
    // A subscription of a token that is limited to brands is named TOKEN/NAME.
    let Some((owner, _)) = name.split_once('/') else { return Ok(None) };
    let is_full = count(&format!("{owner}/"))? >= SUBSCRIPTIONS_OWNED_MAX as i64;
    Ok(is_full.then(|| {
        format!(
            "the ledger holds {SUBSCRIPTIONS_OWNED_MAX} subscriptions of token {owner}: remove those not used"
        )
    }))
}

/// All subscriptions by name.
pub(super) fn subscriptions(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection.prepare_cached("SELECT name FROM subscription")?.query_map([], |row| row.get(0))?.collect()
}

/// All subscriptions by name, with the seq up to which each has acknowledged every record.
pub(super) fn floors(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    connection
        .prepare_cached("SELECT name, floor FROM subscription")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?
        .collect()
}

/// Calls `visit` with the head of each record that the subscription has not acknowledged, filtered or not, in no
/// particular order.
pub(super) fn unacknowledged(
    connection: &Connection,
    subscription: &str,
    ageing_points_per_hour: u32,
    mut visit: impl FnMut(RecordHead),
) -> rusqlite::Result<()> {
    // Where most records are wanted, in the order of the tickets' ids: the index and the table of tickets are then
    // read along, without the bodies. In the order of seq every ticket is a look-up somewhere else in the file.
    let records = match wants_most(connection, subscription)? {
        true => "record r INDEXED BY record_ticket CROSS JOIN ticket t ON t.id = r.ticket_id",
        false => "record r NOT INDEXED CROSS JOIN ticket t ON t.id = r.ticket_id",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {HEAD} FROM {records}
         WHERE r.seq > (SELECT floor FROM subscription WHERE name = ?1)
           AND t.seq > (SELECT start FROM subscription WHERE name = ?1)
           AND NOT EXISTS (SELECT 1 FROM acknowledgement a WHERE a.subscription = ?1 AND a.seq = r.seq)"
    ))?;
    let mut rows = statement.query([subscription])?;
    while let Some(row) = rows.next()? {
        visit(head(row, ageing_points_per_hour)?);
    }
    Ok(())
}

/// Tickets that a subscription without a name begins with, the newest: the ledger's thread reads them at one go, and
/// anybody may connect again and again.
pub(super) const UNNAMED_TICKETS_MAX: u32 = 10_000;

/// The heads of the newest `tickets_max` tickets and of their updates, in no particular order, and the seq after which
/// those tickets come; with `start_next` none, and the newest seq ever given.
pub(super) fn retained(
    connection: &Connection,
    start_next: bool,
    tickets_max: u32,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<(u64, Vec<RecordHead>)> {
    let newest: i64 =
        connection.prepare_cached(&format!("SELECT {NEWEST}"))?.query_row([], |row| row.get(0))?;
    if start_next {
        return Ok((newest.cast_unsigned(), Vec::new()));
    }
    let start: i64 = connection
        .prepare_cached("SELECT coalesce((SELECT seq FROM ticket ORDER BY seq DESC LIMIT 1 OFFSET ?1), 0)")?
        .query_row([tickets_max], |row| row.get(0))?;
    // From the tickets to their records: the cost is theirs, however large the ledger is.
    let heads = connection
        .prepare_cached(&format!(
            "SELECT {HEAD} FROM ticket t CROSS JOIN record r INDEXED BY record_ticket ON r.ticket_id = t.id
             WHERE t.seq > ?1"
        ))?
        .query_map([start], |row| head(row, ageing_points_per_hour))?
        .collect::<rusqlite::Result<_>>()?;
    Ok((start.cast_unsigned(), heads))
}

/// Whether more than an eighth of all records lie above what the subscription has acknowledged.
fn wants_most(connection: &Connection, subscription: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT (SELECT coalesce(max(seq), 0) FROM record) - floor
                    > (SELECT coalesce(max(seq), 0) FROM record) / 8
                    - (SELECT coalesce(min(seq), 0) FROM record) / 8
             FROM subscription WHERE name = ?1",
        )?
        .query_row([subscription], |row| row.get(0))
}

pub(super) fn acknowledge(connection: &Connection, subscription: &str, seqs: &[Seq]) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("INSERT OR IGNORE INTO acknowledgement (subscription, seq) VALUES (?1, ?2)")?;
    for seq in seqs {
        statement.execute(params![subscription, seq.get().cast_signed()])?;
    }
    Ok(())
}

/// Whether this subscription has acknowledged the record, under whatever filter it had then.
pub(super) fn has_acknowledged(
    connection: &Connection,
    subscription: &str,
    seq: Seq,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM subscription WHERE name = ?1 AND floor >= ?2
             UNION ALL SELECT 1 FROM acknowledgement WHERE subscription = ?1 AND seq = ?2",
        )?
        .exists(params![subscription, seq.get().cast_signed()])
}

/// Raises the floor as far as everything is acknowledged, and forgets the single acknowledgements below it. Writes
/// nothing where that is no further than before.
///
/// Seqs that were pruned count as acknowledged: no record of theirs will ever come.
pub(super) fn raise_floor(connection: &Connection, subscription: &str) -> rusqlite::Result<()> {
    let raised: Option<i64> = connection
        .prepare_cached(&format!(
            "SELECT raised FROM
               (SELECT floor, coalesce(
                  (SELECT min(r.seq) - 1 FROM record r
                   WHERE r.seq > floor
                     AND NOT EXISTS (SELECT 1 FROM acknowledgement a WHERE a.subscription = ?1 AND a.seq = r.seq)),
                  {NEWEST}) AS raised
                FROM subscription WHERE name = ?1)
             WHERE raised > floor"
        ))?
        .query_row([subscription], |row| row.get(0))
        .optional()?;
    let Some(raised) = raised else { return Ok(()) };
    connection
        .prepare_cached("UPDATE subscription SET floor = ?2 WHERE name = ?1")?
        .execute(params![subscription, raised])?;
    connection
        .prepare_cached("DELETE FROM acknowledgement WHERE subscription = ?1 AND seq <= ?2")?
        .execute(params![subscription, raised])?;
    Ok(())
}
