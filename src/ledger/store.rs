//! The statements: each function is one thing the ledger does to its tables, inside the caller's
//! transaction.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::outbox::{self, Reranked, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_OWNED_MAX};
use super::writer::Changes;
use super::{
    Accounting, Body, Feedback, NewTicket, RecordHead, Rescoring, Seq, SubscriptionRequest, Traits, prune,
};
use crate::parse::Network;
use crate::source::Gap;
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::{TicketId, proto};

const KIND_TICKET: i64 = 0;
const KIND_UPDATE: i64 = 1;

/// Holes of one source whose rows are kept, the newest. The others are only counted.
pub(super) const GAPS_MAX: i64 = 1000;
/// Longest wait of a statement for another process: a `vigie subscriptions --remove` that has just begun. As rusqlite.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Reports about one ticket that are kept, the newest: a helpdesk sends a handful.
pub(super) const STATUSES_MAX: i64 = 100;

pub(super) fn position(connection: &Connection, source: &str) -> rusqlite::Result<Option<i64>> {
    let position = connection
        .prepare_cached("SELECT position FROM source WHERE name = ?1")?
        .query_row([source], |row| row.get(0))
        .optional()?;
    Ok(position.flatten())
}

/// Moves a position forward; it never goes back, because replays arrive with older ones.
pub(super) fn move_position(
    connection: &Connection,
    source: &str,
    position: Option<i64>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO source (name, position) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE
             SET position = max(coalesce(position, excluded.position), coalesce(excluded.position, position))",
        )?
        .execute(params![source, position])?;
    Ok(())
}

pub(super) fn add_buckets(connection: &Connection, source: &str, buckets: &Buckets) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO bucket (source, bucket, frames) VALUES (?1, ?2, ?3)
         ON CONFLICT (source, bucket) DO UPDATE SET frames = frames + excluded.frames",
    )?;
    for (bucket, frames) in buckets.iter().filter(|(_, frames)| *frames > 0) {
        statement.execute(params![source, bucket.name(), frames.cast_signed()])?;
    }
    Ok(())
}

pub(super) fn add_gap(
    connection: &Connection,
    source: &str,
    gap: &Gap,
    at: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO gap (source, from_position, to_position, reason, noticed_at_us)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![source, gap.from, gap.to, gap.reason, at.as_microsecond()])?;
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM gap WHERE source = ?1 AND rowid <=
               (SELECT rowid FROM gap WHERE source = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![source, GAPS_MAX])?;
    if forgotten > 0 {
        connection
            .prepare_cached("UPDATE source SET gaps_forgotten = gaps_forgotten + ?2 WHERE name = ?1")?
            .execute(params![source, forgotten.cast_signed()])?;
    }
    Ok(())
}

/// Marks the gaps that lie in this stretch as filled; gives their lengths.
pub(super) fn recover_gaps(
    connection: &Connection,
    source: &str,
    (from, to): (i64, i64),
) -> rusqlite::Result<Vec<f64>> {
    connection
        .prepare_cached(
            "UPDATE gap SET recovered = 1
             WHERE source = ?1 AND from_position >= ?2 AND to_position <= ?3 AND recovered = 0
             RETURNING CAST(to_position AS REAL) - from_position",
        )?
        .query_map(params![source, from, to], |row| row.get(0))?
        .collect()
}

/// How far a network's clock may run backwards between two events of one post, µs: Jetstream's does by 32 ms.
const DISORDER_US: i64 = 100_000;

/// Whether the ticket has this very edit, or a newer one: a stream that is rewound shows them all again.
///
/// When the ticket's first text was seen says nothing: that may be by our clock, and an edit's by the network's.
pub(super) fn has_edit(
    connection: &Connection,
    ticket_id: TicketId,
    text: &str,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    let mut texts = bodies_of(connection, ticket_id)?.into_iter().filter_map(|(_, body)| match body {
        Body::Update(bytes) => {
            let update = proto::Update::decode(bytes.as_slice()).ok()?;
            let proto::update::Change::Edited(edited) = update.change? else { return None };
            Some((update.at_us, edited.text))
        }
        Body::Ticket(_) => None,
    });
    let at_us = at.as_microsecond();
    Ok(texts.any(|(known_us, known)| {
        (known_us == at_us && known == text) || known_us > at_us.saturating_add(DISORDER_US)
    }))
}

/// Records a new ticket; `None` if its id is known.
pub(super) fn add_ticket(
    connection: &Connection,
    ticket: &NewTicket,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Option<RecordHead>> {
    // A pruned ticket has left its id: what it was made of makes no second one.
    let known = connection
        .prepare_cached("SELECT 1 FROM ticket WHERE id = ?1 UNION ALL SELECT 1 FROM pruned WHERE id = ?1")?
        .exists([ticket.id.as_bytes()])?;
    if known {
        return Ok(None);
    }
    let rank =
        outbox::rank(ticket.traits.priority, ticket.created_at.as_microsecond(), ageing_points_per_hour);
    let seq = add_record(connection, ticket.id, KIND_TICKET, &ticket.body)?;
    connection
        .prepare_cached(
            "INSERT INTO ticket (id, seq, network, author_id, brand, language, intent, priority,
                                 created_at_us, due_at_us, text_hash, provisional)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            ticket.id.as_bytes(),
            seq.get().cast_signed(),
            ticket.traits.network.name(),
            ticket.author_id,
            ticket.traits.brand,
            ticket.traits.language,
            ticket.traits.intent,
            ticket.traits.priority,
            ticket.created_at.as_microsecond(),
            ticket.due_at_us,
            ticket.text_hash.cast_signed(),
            ticket.provisional,
        ])?;
    let (ticket_id, due_at_us, traits) = (ticket.id, ticket.due_at_us, ticket.traits.clone());
    Ok(Some(RecordHead { seq, ticket_id, ticket_seq: seq, rank, due_at_us, traits }))
}

/// Records a change of a ticket; `None` if there is no such ticket or it is erased.
pub(super) fn add_update(
    connection: &Connection,
    ticket_id: TicketId,
    update: &proto::Update,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Option<RecordHead>> {
    let head = connection
        .prepare_cached(&format!(
            "SELECT {HEAD} FROM record r JOIN ticket t ON t.id = r.ticket_id
             WHERE t.id = ?1 AND t.erased_at_us IS NULL AND r.seq = t.seq"
        ))?
        .query_row([ticket_id.as_bytes()], |row| head(row, ageing_points_per_hour))
        .optional()?;
    let Some(head) = head else { return Ok(None) };
    let seq = add_record(connection, ticket_id, KIND_UPDATE, &update.encode_to_vec())?;
    Ok(Some(RecordHead { seq, ..head }))
}

/// Removes a ticket's text wherever it is stored, and records that for the helpdesks; whether there was one.
pub(super) fn erase(
    connection: &Connection,
    ticket_id: TicketId,
    reason: Erasure,
    at: Timestamp,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<bool> {
    let erased = proto::update::Erased { reason: reason.name().to_owned() };
    let update = proto::Update {
        ticket_id: ticket_id.as_bytes().to_vec(),
        at_us: at.as_microsecond(),
        change: Some(proto::update::Change::Erased(erased)),
    };
    let Some(head) = add_update(connection, ticket_id, &update, ageing_points_per_hour)? else {
        return Ok(false);
    };
    changes.heads.push(head);
    // Nobody will read again what is not there any more.
    let awaited = connection
        .prepare_cached("UPDATE ticket SET provisional = 0 WHERE id = ?1 AND provisional = 1")?
        .execute([ticket_id.as_bytes()])?;
    changes.provisional -= i64::from(awaited > 0);
    connection
        .prepare_cached("UPDATE ticket SET erased_at_us = ?2 WHERE id = ?1")?
        .execute(params![ticket_id.as_bytes(), at.as_microsecond()])?;
    for (seq, body) in bodies_of(connection, ticket_id)? {
        let body = match body {
            Body::Ticket(bytes) => without_text_in_ticket(&bytes, reason),
            Body::Update(bytes) => without_text_in_update(&bytes),
        };
        connection
            .prepare_cached("UPDATE record SET body = ?2 WHERE seq = ?1")?
            .execute(params![seq.get().cast_signed(), body])?;
    }
    Ok(true)
}

/// How many tickets only the small model has read.
pub(super) fn provisional_tickets(connection: &Connection) -> rusqlite::Result<u64> {
    let tickets = "SELECT count(*) FROM ticket WHERE provisional = 1";
    connection.prepare_cached(tickets)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// A ticket that only the small model has read.
pub(super) struct Provisional {
    pub(super) id: TicketId,
    /// The encoded ticket.
    pub(super) body: Vec<u8>,
    /// The text that its author has put in the place of the first.
    pub(super) edited: Option<String>,
}

/// The worst of them, at most `tickets_max`.
pub(super) fn provisional(connection: &Connection, tickets_max: usize) -> rusqlite::Result<Vec<Provisional>> {
    connection
        .prepare_cached(
            "SELECT t.id, r.body FROM ticket t JOIN record r ON r.seq = t.seq WHERE t.provisional = 1
             ORDER BY t.priority DESC, t.seq LIMIT ?1",
        )?
        .query_map([i64::try_from(tickets_max).unwrap_or(i64::MAX)], |row| {
            let id = ticket_id(row, 0)?;
            Ok(Provisional { id, body: row.get(1)?, edited: edited_text(connection, id)? })
        })?
        .collect()
}

/// The newest text that an author has given this ticket's post afterwards.
fn edited_text(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Option<String>> {
    let edited = |body| match body {
        Body::Update(bytes) => match proto::Update::decode(bytes.as_slice()).ok()?.change? {
            proto::update::Change::Edited(edited) => Some(edited.text),
            _ => None,
        },
        Body::Ticket(_) => None,
    };
    Ok(bodies_of(connection, ticket_id)?.into_iter().rev().find_map(|(_, body)| edited(body)))
}

/// Records that the full model has read a ticket, and what that changes.
///
/// The ticket has the traits of both opinions from then on: see [`Traits::rescored`].
pub(super) fn rescore(
    connection: &Connection,
    rescoring: &Rescoring,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let Rescoring { ticket_id, at, change } = rescoring;
    let awaited = connection
        .prepare_cached(
            "UPDATE ticket SET provisional = 0, rescored = ?2, rescored_intent = ?3
             WHERE id = ?1 AND provisional = 1",
        )?
        .execute(params![
            ticket_id.as_bytes(),
            change.as_ref().map(|change| change.priority),
            change.as_ref().and_then(|change| most_probable_intent(change)),
        ])?;
    changes.provisional -= i64::from(awaited > 0);
    let Some(change) = change.as_ref().filter(|_| awaited > 0) else { return Ok(()) };
    let update = proto::Update {
        ticket_id: ticket_id.as_bytes().to_vec(),
        at_us: at.as_microsecond(),
        change: Some(proto::update::Change::Rescored((**change).clone())),
    };
    let records = heads_of(connection, *ticket_id, ageing_points_per_hour)?;
    if let Some(update) = add_update(connection, *ticket_id, &update, ageing_points_per_hour)? {
        // A rank is a priority less something that depends on the ticket's age alone.
        let rank_before = update.rank - i64::from(change.priority) + i64::from(update.traits.priority);
        let mut reranked = Reranked { records: Vec::new(), rank_before };
        for head in records {
            // What comes with this very commit is published by what it is now.
            if let Some(fresh) = changes.heads.iter_mut().find(|fresh| fresh.seq == head.seq) {
                *fresh = head;
                continue;
            }
            let mut has_it = Vec::new();
            for name in subscriptions(connection)? {
                if has_acknowledged(connection, &name, head.seq)? {
                    has_it.push(name);
                }
            }
            reranked.records.push((Arc::new(head), has_it));
        }
        changes.reranked.push(reranked);
        changes.heads.push(update);
    }
    Ok(())
}

/// The heads of a ticket's records, its own first.
fn heads_of(
    connection: &Connection,
    ticket_id: TicketId,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Vec<RecordHead>> {
    connection
        .prepare_cached(&format!(
            "SELECT {HEAD} FROM record r JOIN ticket t ON t.id = r.ticket_id WHERE r.ticket_id = ?1 ORDER BY r.seq"
        ))?
        .query_map([ticket_id.as_bytes()], |row| head(row, ageing_points_per_hour))?
        .collect()
}

/// The author's tickets that still have their text.
pub(super) fn tickets_of(
    connection: &Connection,
    network: Network,
    author_id: &str,
) -> rusqlite::Result<Vec<TicketId>> {
    connection
        .prepare_cached(
            "SELECT id FROM ticket WHERE network = ?1 AND author_id = ?2 AND erased_at_us IS NULL",
        )?
        .query_map(params![network.name(), author_id], |row| ticket_id(row, 0))?
        .collect()
}

/// Why a text is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Erasure {
    PostDeleted,
    /// The name goes too: there is nobody left to answer.
    AccountDeleted,
}

impl Erasure {
    fn name(self) -> &'static str {
        match self {
            Erasure::PostDeleted => "post_deleted",
            Erasure::AccountDeleted => "account_deleted",
        }
    }
}

fn without_text_in_ticket(bytes: &[u8], reason: Erasure) -> Vec<u8> {
    // We wrote these bytes; should they not decode, an empty ticket is the safe answer to an erasure.
    let mut ticket = proto::Ticket::decode(bytes).unwrap_or_default();
    if let Some(post) = &mut ticket.post {
        post.text.clear();
        post.mentions.clear();
        post.hashtags.clear();
        post.links.clear();
        if let Some(author) = post.author.as_mut().filter(|_| reason == Erasure::AccountDeleted) {
            author.name.clear();
            author.handle.clear();
        }
    }
    ticket.hits.clear();
    without_words(&mut ticket.factors);
    ticket.encode_to_vec()
}

/// Which sensitive words a text held says what was in it; that it held some, and its topics, stay.
fn without_words(factors: &mut [proto::Factor]) {
    for factor in factors.iter_mut().filter(|factor| factor.name == "sensitive") {
        factor.evidence = "erased".to_owned();
    }
}

fn without_text_in_update(bytes: &[u8]) -> Vec<u8> {
    let mut update = proto::Update::decode(bytes).unwrap_or_default();
    match &mut update.change {
        Some(proto::update::Change::Edited(edited)) => edited.text.clear(),
        Some(proto::update::Change::Rescored(rescored)) => without_words(&mut rescored.factors),
        Some(proto::update::Change::FollowedUp(followed)) => without_words(&mut followed.factors),
        _ => {}
    }
    update.encode_to_vec()
}

fn add_record(connection: &Connection, ticket_id: TicketId, kind: i64, body: &[u8]) -> rusqlite::Result<Seq> {
    connection
        .prepare_cached("INSERT INTO record (ticket_id, kind, body) VALUES (?1, ?2, ?3)")?
        .execute(params![ticket_id.as_bytes(), kind, body])?;
    let seq = connection.last_insert_rowid().cast_unsigned();
    Ok(Seq::new(seq).expect("SQLite's row ids count from 1"))
}

/// Opens the subscription, or creates it, with this filter; gives its start and its unacknowledged heads.
///
/// The inner error says which limit there is, if there are as many others as there may be.
pub(super) fn subscribe(
    connection: &mut Connection,
    request: &SubscriptionRequest,
    ageing_points_per_hour: u32,
) -> rusqlite::Result<Result<(u64, Vec<RecordHead>), String>> {
    let SubscriptionRequest { name, filter, start_next } = request;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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

fn most_probable_intent(change: &proto::update::Rescored) -> Option<&str> {
    let intents = &change.verdict.as_ref()?.intent;
    let best = intents.iter().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    Some(best.0)
}

/// Whether this subscription has acknowledged the record, under whatever filter it had then.
fn has_acknowledged(connection: &Connection, subscription: &str, seq: Seq) -> rusqlite::Result<bool> {
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

/// The text as last seen, so that a replay of the same edit is known after a restart.
pub(super) fn set_text_hash(
    connection: &Connection,
    ticket_id: TicketId,
    text_hash: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE ticket SET text_hash = ?2 WHERE id = ?1")?
        .execute(params![ticket_id.as_bytes(), text_hash.cast_signed()])?;
    Ok(())
}

/// Empties the write-ahead log into the file: what it holds of an erased text goes with it. Whether it could; a reader
/// of an older state is in the way, and is waited for so long at most.
pub(super) fn truncate_log(connection: &Connection, wait_max: Duration) -> rusqlite::Result<bool> {
    connection.busy_timeout(wait_max)?;
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    connection.busy_timeout(BUSY_WAIT_MAX)?;
    Ok(!is_busy?)
}

/// Copies the write-ahead log into the file, as far as no reader is in the way.
pub(super) fn copy_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// All subscriptions by name.
pub(super) fn subscriptions(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection.prepare_cached("SELECT name FROM subscription")?.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn add_feedback(
    connection: &Connection,
    feedback: &Feedback,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let (kind, ticket_id, body) = match feedback {
        Feedback::TicketStatus(id, body) => ("ticket_status", Some(id.as_bytes()), body),
        Feedback::TicketStatusWithin { ticket_id, body, brands } => {
            let brand: Option<String> = connection
                .prepare_cached("SELECT brand FROM ticket WHERE id = ?1")?
                .query_row([ticket_id.as_bytes()], |row| row.get(0))
                .optional()?;
            if !brand.is_some_and(|brand| brands.has(&brand)) {
                return Ok(());
            }
            ("ticket_status", Some(ticket_id.as_bytes()), body)
        }
        Feedback::Touchpoint(body) => ("touchpoint", None, body),
        Feedback::AgentState(body) => ("agent_state", None, body),
    };
    connection
        // What speaks of a ticket that we do not have is nobody's.
        .prepare_cached(
            "INSERT INTO feedback (at_us, kind, ticket_id, body) SELECT ?1, ?2, ?3, ?4
             WHERE ?3 IS NULL OR EXISTS (SELECT 1 FROM ticket WHERE id = ?3)",
        )?
        .execute(params![at.as_microsecond(), kind, ticket_id, body])?;
    if let Some(id) = ticket_id {
        connection
            .prepare_cached(
                "DELETE FROM feedback WHERE ticket_id = ?1 AND rowid <=
                   (SELECT rowid FROM feedback WHERE ticket_id = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![id, STATUSES_MAX])?;
    }
    Ok(())
}

pub(super) fn accounting(connection: &Connection) -> rusqlite::Result<Accounting> {
    let mut accounting = Accounting::default();
    let mut sources = connection.prepare("SELECT name, position, gaps_forgotten FROM source")?;
    let mut rows = sources.query([])?;
    while let Some(row) = rows.next()? {
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.position = row.get(1)?;
        account.gaps = row.get::<_, i64>(2)?.cast_unsigned();
    }
    let mut buckets = connection.prepare("SELECT source, bucket, frames FROM bucket")?;
    let mut rows = buckets.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let bucket = Bucket::ALL.into_iter().find(|bucket| bucket.name() == name).ok_or_else(|| {
            let error = format!("unknown bucket {name}");
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into())
        })?;
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.buckets[bucket] = row.get::<_, i64>(2)?.cast_unsigned();
    }
    let mut gaps = connection.prepare(
        "SELECT source, count(*), total(recovered), total(CAST(to_position AS REAL) - from_position),
                total(CASE WHEN recovered THEN CAST(to_position AS REAL) - from_position END)
         FROM gap GROUP BY source",
    )?;
    let mut rows = gaps.query([])?;
    while let Some(row) = rows.next()? {
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.gaps += row.get::<_, i64>(1)?.cast_unsigned();
        // Of those that the ledger still lists.
        account.gaps_recovered = row.get::<_, f64>(2)? as u64;
        account.gap_length = row.get(3)?;
        account.gap_length_recovered = row.get(4)?;
    }
    Ok(accounting)
}

pub(super) fn tickets(
    connection: &Connection,
    tickets_max: usize,
    mut visit: impl FnMut(TicketId, u64),
) -> rusqlite::Result<()> {
    let limit = i64::try_from(tickets_max).unwrap_or(i64::MAX);
    // Along the table, whose order is that of the ids, and sorted here: in the order of seq, by its index, every row
    // would be a look-up somewhere else in the file. The plus keeps SQLite from that index.
    let mut statement = connection.prepare(
        "SELECT seq, id, text_hash FROM ticket
         WHERE +seq > coalesce((SELECT seq FROM ticket ORDER BY seq DESC LIMIT 1 OFFSET ?1), 0)",
    )?;
    let mut tickets = statement
        .query_map([limit], |row| {
            Ok((seq(row, 0)?, ticket_id(row, 1)?, row.get::<_, i64>(2)?.cast_unsigned()))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    tickets.sort_unstable_by_key(|(seq, ..)| *seq);
    tickets.into_iter().for_each(|(_, id, text_hash)| visit(id, text_hash));
    Ok(())
}

/// Bodies in the order asked; a seq that is gone is left out.
pub(super) fn read(connection: &Connection, seqs: &[Seq]) -> rusqlite::Result<Vec<(Seq, Body)>> {
    let mut statement = connection.prepare_cached("SELECT seq, kind, body FROM record WHERE seq = ?1")?;
    let mut bodies = Vec::with_capacity(seqs.len());
    for seq in seqs {
        bodies.extend(statement.query_row([seq.get().cast_signed()], body).optional()?);
    }
    Ok(bodies)
}

fn bodies_of(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Vec<(Seq, Body)>> {
    connection
        .prepare_cached("SELECT seq, kind, body FROM record WHERE ticket_id = ?1 ORDER BY seq")?
        .query_map([ticket_id.as_bytes()], body)?
        .collect()
}

fn body(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Seq, Body)> {
    let bytes = row.get(2)?;
    let body = if row.get::<_, i64>(1)? == KIND_TICKET { Body::Ticket(bytes) } else { Body::Update(bytes) };
    Ok((seq(row, 0)?, body))
}

/// The newest seq ever given, whether or not its record is still there.
const NEWEST: &str = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'record'), 0)";

/// A record with what filters look at; [`head`] reads its rows.
const HEAD: &str = "r.seq, r.ticket_id, t.seq, t.created_at_us, t.due_at_us,
            t.brand, t.network, t.language, t.intent, t.priority, t.rescored, t.rescored_intent";

/// Ranks are made when heads are read, not stored: a new ageing rate then ranks old records with the new ones.
fn head(row: &rusqlite::Row<'_>, ageing_points_per_hour: u32) -> rusqlite::Result<RecordHead> {
    let traits = traits(row, 5)?;
    let priority_now = traits.rescored.as_ref().map_or(traits.priority, |(priority, _)| *priority);
    Ok(RecordHead {
        seq: seq(row, 0)?,
        ticket_id: ticket_id(row, 1)?,
        ticket_seq: seq(row, 2)?,
        rank: outbox::rank(priority_now, row.get(3)?, ageing_points_per_hour),
        due_at_us: row.get(4)?,
        traits,
    })
}

/// Brand, network, language, intent, priority, rescored and rescored_intent, from this column on.
pub(super) fn traits(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Traits> {
    let network: String = row.get(first + 1)?;
    let rescored: Option<(u16, String)> = row.get::<_, Option<u16>>(first + 5)?.zip(row.get(first + 6)?);
    Ok(Traits {
        brand: Arc::from(row.get::<_, String>(first)?),
        network: Network::from_name(&network).unwrap_or(Network::Plain),
        language: row.get::<_, String>(first + 2)?.into(),
        intent: row.get::<_, String>(first + 3)?.into(),
        priority: row.get(first + 4)?,
        rescored: rescored.map(|(priority, intent)| (priority, intent.into())),
    })
}

fn seq(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    let seq: i64 = row.get(column)?;
    Seq::new(seq.cast_unsigned()).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, seq))
}

pub(super) fn ticket_id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<TicketId> {
    let bytes = row.get_ref(column)?.as_blob()?;
    TicketId::from_bytes(bytes).ok_or_else(|| {
        let error = format!("a ticket id of {} bytes", bytes.len());
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, error.into())
    })
}
