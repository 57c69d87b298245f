//! A ticket, its identity and its binary form: the contract with the outside.
//!
//! A leaf. The messages are generated from `wire/vigie.proto`, where their fields are specified.

use std::fmt;

use crate::parse::Network;

/// The generated messages of wire protocol 1.
#[expect(missing_docs, reason = "generated: the comments are in vigie.proto")]
#[allow(
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    clippy::doc_markdown,
    clippy::large_enum_variant,
    reason = "generated code"
)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/vigie.v1.rs"));
}

impl fmt::Debug for proto::Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        let proto::Hello { protocol, client, token: _, subscription, window } = self;
        f.debug_struct("Hello")
            .field("protocol", protocol)
            .field("client", client)
            .field("subscription", subscription)
            .field("window", window)
            .finish_non_exhaustive()
    }
}

/// Identity of a ticket: the same post gives the same id on any machine, after any crash.
///
/// The first 16 bytes of BLAKE3 over `network name, 0x00, post id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId([u8; 16]);

impl TicketId {
    /// The id of the ticket that this post makes, if any.
    pub fn of_post(network: Network, post_id: &str) -> TicketId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(network.name().as_bytes());
        hasher.update(&[0]);
        hasher.update(post_id.as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        TicketId(id)
    }

    /// The id with these bytes; `None` unless there are 16.
    pub fn from_bytes(bytes: &[u8]) -> Option<TicketId> {
        Some(TicketId(bytes.try_into().ok()?))
    }

    /// The bytes, as sent and stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketId({self})")
    }
}

/// A ticket as JSON, for `vigie tail --json` and `vigie replay`: one object, keys in a fixed order of
/// meaning, times in RFC 3339, the id in hexadecimal.
pub fn to_json(ticket: &proto::Ticket) -> serde_json::Value {
    let post = ticket.post.as_ref().cloned().unwrap_or_default();
    let verdict = ticket.verdict.clone().unwrap_or_default();
    serde_json::json!({
        "id": hex(&ticket.id),
        "priority": ticket.priority,
        "level": ticket.level().as_str_name(),
        "brand": ticket.brand,
        "created_at": rfc3339(ticket.created_at_us),
        "due_at": rfc3339(ticket.due_at_us),
        "at_risk_at": rfc3339(ticket.at_risk_at_us),
        "post": post_to_json(&post),
        "verdict": verdict_to_json(&verdict),
        "factors": ticket.factors.iter().map(factor_to_json).collect::<Vec<_>>(),
        "hits": ticket.hits,
        "route": ticket.route,
        "person": ticket.person.as_ref().map(person_to_json),
        "assignment": ticket.assignment.as_ref().map(assignment_to_json),
        "articles": ticket.articles.iter().map(article_to_json).collect::<Vec<_>>(),
        "sensitive": ticket.sensitive,
    })
}

/// An update as JSON, beside [`to_json`].
pub fn update_to_json(update: &proto::Update) -> serde_json::Value {
    use proto::update::Change;
    let change = match &update.change {
        Some(Change::Erased(erased)) => serde_json::json!({ "erased": erased.reason }),
        Some(Change::Edited(edited)) if edited.post_id.is_empty() => {
            serde_json::json!({ "edited": edited.text })
        }
        Some(Change::Edited(edited)) => {
            serde_json::json!({ "edited": edited.text, "post_id": edited.post_id })
        }
        Some(Change::Rescored(rescored)) => serde_json::json!({ "rescored": {
            "priority": rescored.priority,
            "level": rescored.level().as_str_name(),
            "verdict": rescored.verdict.as_ref().map(verdict_to_json),
            "factors": rescored.factors.iter().map(factor_to_json).collect::<Vec<_>>(),
            "unsupported": rescored.unsupported,
            "edited": rescored.edited,
        } }),
        Some(Change::FollowedUp(followed)) => serde_json::json!({ "followed_up": {
            "post": followed.post.as_ref().map(post_to_json),
            "verdict": followed.verdict.as_ref().map(verdict_to_json),
            "priority": followed.priority,
            "level": followed.level().as_str_name(),
            "factors": followed.factors.iter().map(factor_to_json).collect::<Vec<_>>(),
        } }),
        Some(Change::Answered(answered)) => serde_json::json!({ "answered": {
            "post_id": answered.post_id, "url": answered.url, "account": answered.account,
        } }),
        Some(Change::Overdue(overdue)) => serde_json::json!({ "overdue": {
            "state": overdue.state().as_str_name(), "due_at": rfc3339(overdue.due_at_us),
        } }),
        Some(Change::Assigned(assigned)) => {
            let mut said =
                assigned.assignment.as_ref().map_or_else(|| serde_json::json!({}), assignment_to_json);
            if assigned.due_at_us != 0 {
                said["due_at"] = rfc3339(assigned.due_at_us).into();
                said["at_risk_at"] = rfc3339(assigned.at_risk_at_us).into();
            }
            serde_json::json!({ "assigned": said })
        }
        Some(Change::PostErased(erased)) => serde_json::json!({ "post_erased": {
            "post_id": erased.post_id, "reason": erased.reason,
        } }),
        None => serde_json::Value::Null,
    };
    serde_json::json!({ "update": { "ticket_id": hex(&update.ticket_id), "at": rfc3339(update.at_us), "change": change } })
}

fn post_to_json(post: &proto::Post) -> serde_json::Value {
    let author = post.author.clone().unwrap_or_default();
    serde_json::json!({
        "network": post.network,
        "id": post.id,
        "url": post.url,
        "author": {
            "id": author.id,
            "handle": author.handle,
            "name": author.name,
            "followers": author.followers_known.then_some(author.followers),
            "verified": author.verified,
        },
        "text": post.text,
        "language": post.language,
        "written_at": rfc3339(post.written_at_us),
        "seen_at": rfc3339(post.seen_at_us),
        "reply_to": post.reply_to,
        "quote_of": post.quote_of,
        "mentions": post.mentions,
        "hashtags": post.hashtags,
        "links": post.links,
    })
}

fn person_to_json(person: &proto::Person) -> serde_json::Value {
    let purchase = |purchase: &proto::person::Purchase| serde_json::json!({ "at": rfc3339(purchase.at_us), "date": Some(&purchase.date).filter(|date| !date.is_empty()), "what": purchase.what, "amount": purchase.amount });
    let contact = |contact: &proto::person::Contact| serde_json::json!({ "at": rfc3339(contact.at_us), "channel": contact.channel, "note": contact.note });
    serde_json::json!({
        "customer": person.customer,
        "name": person.name,
        "tier": person.tier,
        "flags": person.flags,
        "value": person.value_known.then_some(person.value),
        "language": person.language,
        "purchases": person.purchases.iter().map(purchase).collect::<Vec<_>>(),
        "contacts": person.contacts.iter().map(contact).collect::<Vec<_>>(),
    })
}

fn assignment_to_json(assignment: &proto::Assignment) -> serde_json::Value {
    serde_json::json!({
        "team": assignment.team,
        "agent": assignment.agent,
        "supplier": assignment.supplier,
        "reasons": assignment.reasons,
    })
}

fn article_to_json(article: &proto::Article) -> serde_json::Value {
    serde_json::json!({ "title": article.title, "url": article.url })
}

fn verdict_to_json(verdict: &proto::Verdict) -> serde_json::Value {
    serde_json::json!({
        "sentiment": rounded(&verdict.sentiment),
        "intent": rounded(&verdict.intent),
        "urgency": rounded(&verdict.urgency),
        "model": verdict.model,
        "language": verdict.language,
    })
}

fn factor_to_json(factor: &proto::Factor) -> serde_json::Value {
    serde_json::json!({ "name": factor.name, "points": factor.points, "evidence": factor.evidence })
}

/// An id, or the beginning of one, as people read it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `None` for 0, which stands for "not known".
fn rfc3339(at_us: i64) -> Option<String> {
    if at_us == 0 {
        return None;
    }
    jiff::Timestamp::from_microsecond(at_us).ok().map(|at| at.to_string())
}

/// Four decimals: more would be noise of the runtime.
fn rounded(probabilities: &std::collections::BTreeMap<String, f32>) -> std::collections::BTreeMap<&str, f64> {
    let round = |p: f32| (f64::from(p) * 1e4).round() / 1e4;
    probabilities.iter().map(|(label, p)| (label.as_str(), round(*p))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tickets_id_is_the_same_everywhere_and_for_ever() {
        let id = TicketId::of_post(Network::Bluesky, "at://did:plc:a/app.bsky.feed.post/1");
        // Written down once: helpdesks and ledgers hold ids of every version that there was.
        assert_eq!(id.to_string(), "d0b55b3e417cffccebd47f6e44d75d32");
        assert_eq!(TicketId::from_bytes(id.as_bytes()), Some(id));
        assert_eq!(TicketId::from_bytes(&[0; 15]), None);
    }

    #[test]
    fn posts_of_two_networks_never_share_an_id() {
        assert_ne!(TicketId::of_post(Network::X, "1"), TicketId::of_post(Network::Mastodon, "1"));
    }

    #[test]
    fn times_that_are_not_known_are_null_in_json() {
        let mut ticket = proto::Ticket { created_at_us: 1_790_000_000_000_000, ..proto::Ticket::default() };
        ticket.post = Some(proto::Post::default());
        let json = to_json(&ticket);
        assert_eq!(json["created_at"], "2026-09-21T14:13:20Z");
        assert_eq!(json["post"]["written_at"], serde_json::Value::Null);
        assert_eq!(json["post"]["author"]["followers"], serde_json::Value::Null);
    }
}
