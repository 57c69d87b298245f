//! What clients report back, stored as it came.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Feedback, assigned, context, conversations};

/// Reports about one ticket that are kept, the newest: a helpdesk sends a handful.
pub(super) const STATUSES_MAX: i64 = 100;

/// Whether it changes anything: what speaks of a ticket that we do not have, or that its client may not see, is not kept, and
/// one that is erased is nobody's work any more, whatever a helpdesk makes of the little that is left.
pub(super) fn add_feedback(
    connection: &Connection,
    feedback: &Feedback,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    let (kind, ticket_id, body) = match feedback {
        Feedback::TicketStatus(id, body) => ("ticket_status", Some(id.as_bytes()), body),
        Feedback::TicketStatusWithin { ticket_id, body, brands } => {
            let brand: Option<String> = connection
                .prepare_cached("SELECT brand FROM ticket WHERE id = ?1")?
                .query_row([ticket_id.as_bytes()], |row| row.get(0))
                .optional()?;
            if !brand.is_some_and(|brand| brands.has(&brand)) {
                return Ok(false);
            }
            ("ticket_status", Some(ticket_id.as_bytes()), body)
        }
        Feedback::Touchpoint(body) => {
            context::take_touchpoint(connection, body, at)?;
            ("touchpoint", None, body)
        }
        Feedback::AgentState(body) => {
            context::take_agent_state(connection, body)?;
            ("agent_state", None, body)
        }
        Feedback::Contacts(contacts) => {
            context::take_contacts(connection, contacts)?;
            return Ok(true);
        }
    };
    let kept = connection
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
    if let Feedback::TicketStatus(id, body) | Feedback::TicketStatusWithin { ticket_id: id, body, .. } =
        feedback
    {
        let is_erased = "SELECT 1 FROM ticket WHERE id = ?1 AND erased_at_us IS NOT NULL";
        if connection.prepare_cached(is_erased)?.exists([id.as_bytes()])? {
            return Ok(false);
        }
        assigned::report(connection, *id, body)?;
        conversations::set_status(connection, *id, body, at)?;
    }
    Ok(kept > 0)
}
