//! What a settlement's entries change in the file, inside the commit's transaction.

use std::collections::BTreeMap;

use rusqlite::Connection;
use tracing::info;

use crate::desk::text_hash;
use crate::desk::told::Told;
use crate::ledger::conversations::Edited;
use crate::ledger::deadlines::Clocks;
use crate::ledger::erasure::Erasure;
use crate::ledger::outbox::Place;
use crate::ledger::rescoring::publish;
use crate::ledger::store::{EDITS_MAX, Edit};
use crate::ledger::{Entry, RecordHead, Settlement, conversations, erasure, store};
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::{TicketId, proto};

/// What a transaction changes outside the file, once it is durable.
#[derive(Default)]
pub(in crate::ledger) struct Changes {
    /// New records.
    pub(in crate::ledger) heads: Vec<RecordHead>,
    /// Tickets that have another rank now, as they were before.
    pub(in crate::ledger) placed: BTreeMap<TicketId, Placed>,
    /// By how much the number of provisional tickets changes.
    pub(in crate::ledger) provisional: i64,
    /// What becomes of the clocks of answers.
    pub(in crate::ledger) clocks: Clocks,
    /// What the desk must know.
    pub(in crate::ledger) told: Vec<Told>,
    /// Whether tickets are marked for the desk to decide about again.
    pub(in crate::ledger) changed: bool,
}

/// Where a ticket was before a transaction has placed it anew.
pub(in crate::ledger) struct Placed {
    pub(in crate::ledger) place_before: Place,
    pub(in crate::ledger) rescored_before: Option<(u16, Box<str>)>,
}

impl Changes {
    /// The ticket, whose own head was `before`, has another rank now.
    pub(in crate::ledger) fn place_anew(&mut self, ticket_id: TicketId, before: &RecordHead) {
        // Only where it was before the whole transaction is known outside.
        self.placed.entry(ticket_id).or_insert_with(|| Placed {
            place_before: Place::of(before),
            rescored_before: before.traits.rescored.clone(),
        });
    }
}

/// Applies the settlement's entries and says where all of its frames ended.
pub(super) fn apply(
    connection: &Connection,
    settlement: &Settlement,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Buckets> {
    let mut buckets = settlement.buckets;
    for entry in &settlement.entries {
        buckets[record(connection, entry, ageing_points_per_hour, changes)?] += 1;
    }
    Ok(buckets)
}

/// Applies one entry and says in which bucket its frame ends.
fn record(
    connection: &Connection,
    entry: &Entry,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Bucket> {
    Ok(match entry {
        Entry::Ticket(ticket) => store::record_ticket(connection, ticket, ageing_points_per_hour, changes)?,
        Entry::FollowUp(new) => conversations::follow_up(connection, new, ageing_points_per_hour, changes)?,
        Entry::Answer { post, answered } => {
            conversations::answer(connection, post, answered, ageing_points_per_hour, changes)?;
            Bucket::Own
        }
        Entry::Bystander { post, bucket } => {
            conversations::bystander(connection, post)?;
            *bucket
        }
        Entry::Edit { ticket_id: edited_id, text, at, otherwise, amended } => {
            let joined = conversations::joined(connection, *edited_id)?;
            let (ticket_id, post_id) = joined.clone().unwrap_or((*edited_id, String::new()));
            let edit = store::edit(connection, ticket_id, &post_id, text, *at)?;
            if matches!(edit, Edit::Known) {
                return Ok(Bucket::Duplicate);
            }
            if joined.is_none() && conversations::has_lost_its_own(connection, ticket_id)? {
                return Ok(*otherwise);
            }
            let is_own = post_id.is_empty();
            let edited = proto::update::Edited { text: text.clone(), post_id };
            let update = proto::Update {
                ticket_id: ticket_id.as_bytes().to_vec(),
                at_us: at.as_microsecond(),
                change: Some(proto::update::Change::Edited(edited)),
            };
            let seq = match edit {
                Edit::Instead(seq) => store::replace_update(connection, seq, &update)?.then_some(seq),
                _ => publish(connection, ticket_id, &update, None, ageing_points_per_hour, changes)?,
            };
            // No such ticket, or erased before: the text stays away.
            let Some(seq) = seq else { return Ok(*otherwise) };
            if edit == Edit::Last {
                info!(ticket = %ticket_id, edits = EDITS_MAX, "further changes of a post are told once an hour");
            }
            match joined {
                Some(_) => conversations::set_text_hash(connection, *edited_id, text_hash(text))?,
                None => store::set_text_hash(connection, ticket_id, text_hash(text))?,
            }
            // Only what is told is reckoned with: whoever changes a post for ever costs no more.
            if let Some(amended) = amended.as_ref().filter(|_| !matches!(edit, Edit::Instead(_))) {
                let edited = Edited { ticket_id, seq, is_own, at: *at };
                conversations::amend(connection, edited, amended, ageing_points_per_hour, changes)?;
            }
            Bucket::Merged
        }
        Entry::Erase { ticket_id, at } => {
            let reason = Erasure::PostDeleted;
            match conversations::erase_post(
                connection,
                *ticket_id,
                *at,
                reason,
                ageing_points_per_hour,
                changes,
            )? {
                true => Bucket::Erased,
                false => Bucket::Control,
            }
        }
        Entry::EraseAuthor { network, author_id, at } => {
            let mut bucket = Bucket::Control;
            let reason = Erasure::AccountDeleted;
            conversations::forget_helper(connection, *network, author_id)?;
            for ticket_id in store::tickets_of(connection, *network, author_id)? {
                let erased = match conversations::is_of_one(connection, ticket_id, author_id)? {
                    true => {
                        erasure::erase(connection, ticket_id, reason, *at, ageing_points_per_hour, changes)?
                    }
                    false => conversations::erase_post(
                        connection,
                        ticket_id,
                        *at,
                        reason,
                        ageing_points_per_hour,
                        changes,
                    )?,
                };
                if erased {
                    bucket = Bucket::Erased;
                }
            }
            if conversations::erase_posts_of(
                connection,
                *network,
                author_id,
                *at,
                reason,
                ageing_points_per_hour,
                changes,
            )? {
                bucket = Bucket::Erased;
            }
            bucket
        }
    })
}
