//! What has happened to a ticket → the rows that say so.

use rusqlite::{Transaction, params};

use super::entry::{Change, Origin};
use crate::ticket::TicketId;

/// Writes one change; the transaction is the caller's.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    ticket_id: TicketId,
    change: &Change,
    now_us: i64,
) -> rusqlite::Result<()> {
    let id = ticket_id.as_bytes();
    let set = |set: &str| {
        let sql = format!("UPDATE entry SET {set} WHERE ticket_id = ?1");
        transaction.prepare_cached(&sql)?.execute([id]).map(drop)
    };
    match change {
        Change::Attempted { brand, level, language } => {
            let sql = "INSERT INTO entry (ticket_id, brand, level, language, attempted_at_us, touched_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?5)
                       ON CONFLICT (ticket_id) DO UPDATE SET brand = excluded.brand, level = excluded.level,
                           language = excluded.language, attempted_at_us = excluded.attempted_at_us";
            transaction.prepare_cached(sql)?.execute(params![id, brand, level, language, now_us]).map(drop)
        }
        Change::Unclear => {
            let sql = "UPDATE entry SET attempted_at_us = ?2, unclear = 1 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, now_us]).map(drop)
        }
        Change::Withdrawn => set("attempted_at_us = NULL"),
        Change::Placed { brand, level, language, place, others } => {
            let sql = "INSERT INTO entry (ticket_id, brand, level, case_id, captured, complete, how, others, gone,
                                          touched_at_us, language, again_at_us, made_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?10, iif(?7 = 0, ?10, NULL))
                       ON CONFLICT (ticket_id) DO UPDATE SET level = excluded.level,
                           language = iif(excluded.language = '', language, excluded.language), case_id = excluded.case_id,
                           captured = excluded.captured, complete = excluded.complete, how = excluded.how,
                           others = excluded.others, gone = excluded.gone,
                           made_at_us = coalesce(made_at_us, attempted_at_us, excluded.made_at_us),
                           attempted_at_us = NULL, again_at_us = excluded.again_at_us";
            let how = match place.origin {
                Origin::Made => 0,
                Origin::Found => 1,
                Origin::Unknown => 2,
            };
            let others = i64::try_from(*others).unwrap_or(i64::MAX);
            let values = params![
                id,
                brand,
                level,
                place.id,
                place.captured,
                place.is_complete,
                how,
                others,
                place.is_gone,
                now_us,
                language
            ];
            transaction.prepare_cached(sql)?.execute(values).map(drop)
        }
        Change::Completed => set("complete = 1"),
        Change::Done { seq, level } => {
            let sql = "UPDATE entry SET done_seq = max(done_seq, ?2), level = ?3 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, stored(*seq), level])?;
            for table in ["unerased", "taken_out"] {
                let sql = format!("DELETE FROM {table} WHERE ticket_id = ?1 AND seq = ?2");
                transaction.prepare_cached(&sql)?.execute(params![id, stored(*seq)])?;
            }
            Ok(())
        }
        Change::TakenOut { seq, case_id } => {
            let sql = "INSERT OR IGNORE INTO taken_out (ticket_id, seq, case_id) VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(sql)?.execute(params![id, stored(*seq), case_id]).map(drop)
        }
        Change::Noted(note) => {
            let sql =
                "INSERT OR REPLACE INTO note (ticket_id, seq, post_id, captured) VALUES (?1, ?2, ?3, ?4)";
            let values = params![id, stored(note.seq), note.post_id, note.captured];
            transaction.prepare_cached(sql)?.execute(values).map(drop)
        }
        Change::NotesErased(post_id) => {
            let sql = "DELETE FROM note WHERE ticket_id = ?1 AND post_id = coalesce(?2, post_id)";
            transaction.prepare_cached(sql)?.execute(params![id, post_id]).map(drop)
        }
        Change::Refused { seq } => {
            let sql = "UPDATE entry SET refusals = iif(refused_seq = ?2, refusals + 1, 1), refused_seq = ?2
                       WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, stored(*seq)]).map(drop)
        }
        Change::Erased | Change::Left => {
            let sql = "UPDATE entry SET erased_at_us = ?2 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, now_us])?;
            if *change == Change::Left {
                return Ok(());
            }
            // With it that of the one into which we had it merged, where that waited for its end.
            let sql = "DELETE FROM unerased WHERE ticket_id = ?1 OR ticket_id IN (
                           SELECT ours.ticket_id FROM entry AS ours JOIN entry ON ours.case_id = entry.case_id
                           WHERE entry.ticket_id = ?1 AND entry.case_id <> ''
                               AND json_extract(ours.captured, '$.merged_from') IS NULL)";
            transaction.prepare_cached(sql)?.execute([id]).map(drop)
        }
        Change::TextStays { seq } => {
            let sql = "INSERT OR IGNORE INTO unerased (ticket_id, seq)
                       SELECT ticket_id, ?2 FROM entry WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, stored(*seq)]).map(drop)
        }
        Change::Deleted => {
            let sql = "DELETE FROM unerased WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute([id]).map(drop)
        }
        Change::Gone => set("gone = 1, open = 0"),
        Change::Back => set("gone = 0, open = 1"),
        Change::Moved { id: case_id } => {
            // That it was merged is remembered for good, and what it was at first: what is there is never its own again.
            let sql =
                "UPDATE entry SET captured = json_insert(captured, '$.merged_from', case_id), case_id = ?2,
                           stood_there = NULL WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, case_id]).map(drop)
        }
        Change::StoodThere(status) => {
            let sql = "UPDATE entry SET stood_there = ?2 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, status]).map(drop)
        }
        Change::Hidden => set("hidden = hidden + 1"),
        Change::Shown => set("hidden = 0"),
        Change::Read { again_at_us } => {
            let sql = "UPDATE entry SET again_at_us = ?2, open = ?2 IS NOT NULL WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, again_at_us]).map(drop)
        }
        Change::Reported(status) => {
            let sql = "UPDATE entry SET reported = ?2 WHERE ticket_id = ?1";
            transaction.prepare_cached(sql)?.execute(params![id, status]).map(drop)
        }
    }
}

/// As SQLite keeps it: the daemon counts seqs from 1, in SQLite itself.
fn stored(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
