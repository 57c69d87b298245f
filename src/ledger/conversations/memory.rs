//! What the desk remembers of conversations, read at the start.

use std::sync::Arc;

use rusqlite::Connection;

use super::{ANSWER, BYSTANDER, network};
use crate::desk::conversation::{Part, Remembered, RememberedPost};
use crate::ledger::records;

/// The newest tickets, oldest first.
pub(in crate::ledger) fn remembered(
    connection: &Connection,
    tickets_max: usize,
    mut visit: impl FnMut(Remembered),
) -> rusqlite::Result<()> {
    // Along both tables, whose order is that of the ids, and sorted here, as `store::tickets` does.
    let mut statement = connection.prepare(
        "SELECT t.id, t.network, t.author_id, t.brand, t.created_at_us,
                c.closed_at_us IS NOT NULL, t.thread_id, t.watch, t.seq, t.erased_at_us IS NOT NULL
         FROM ticket t LEFT JOIN conversation c ON c.ticket_id = t.id
         WHERE +t.seq > coalesce((SELECT seq FROM ticket ORDER BY seq DESC LIMIT 1 OFFSET ?1), 0)",
    )?;
    // A ledger has a few brands: each row's own copy of a name would cost more than the rest of it.
    let mut brands: Vec<Arc<str>> = Vec::new();
    let mut rows = statement.query([i64::try_from(tickets_max).unwrap_or(i64::MAX)])?;
    let mut tickets = Vec::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(3)?.as_str()?;
        let brand = brands.iter().find(|brand| &***brand == name).cloned().unwrap_or_else(|| {
            let brand = Arc::<str>::from(name);
            brands.push(brand.clone());
            brand
        });
        let ticket = Remembered {
            ticket_id: records::ticket_id(row, 0)?,
            network: network(row, 1)?,
            author_id: row.get(2)?,
            brand,
            created_at_us: row.get(4)?,
            is_closed: row.get(5)?,
            thread: records::some_ticket_id(row, 6)?,
            is_erased: row.get(9)?,
            watch: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
        };
        tickets.push((row.get::<_, i64>(8)?, ticket));
    }
    tickets.sort_unstable_by_key(|(seq, _)| *seq);
    tickets.into_iter().for_each(|(_, ticket)| visit(ticket));
    Ok(())
}

/// The newest further posts, oldest first.
pub(in crate::ledger) fn remembered_posts(
    connection: &Connection,
    posts_max: usize,
    mut visit: impl FnMut(RememberedPost),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT id, ticket_id, network, author_id, text_hash, kind, at_us, erased_at_us IS NOT NULL, watch FROM
           (SELECT * FROM post ORDER BY at_us DESC, id DESC LIMIT ?1) ORDER BY at_us, id",
    )?;
    let mut rows = statement.query([i64::try_from(posts_max).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        visit(RememberedPost {
            post_id: records::ticket_id(row, 0)?,
            ticket_id: records::ticket_id(row, 1)?,
            network: network(row, 2)?,
            author_id: row.get(3)?,
            text_hash: row.get::<_, i64>(4)?.cast_unsigned(),
            part: match row.get(5)? {
                ANSWER => Part::Answer,
                BYSTANDER => Part::Bystander,
                _ => Part::Joined,
            },
            at_us: row.get(6)?,
            is_erased: row.get(7)?,
            watch: row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned),
        });
    }
    Ok(())
}
