//! Verdicts become tickets: a batch is settled once all of it is decided.

use jiff::Timestamp;
use prost::Message;

use super::lane::Item;
use super::model::Decided;
use crate::classify::{INTENTS, best};
use crate::desk::articles::{Articles, Question};
use crate::desk::route::Needs;
use crate::desk::{self, Decision, Desk, Opinion, People, Unreadable};
use crate::ledger::assigned::Assignee;
use crate::ledger::{Entry, NewFollowUp, NewTicket, Otherwise, Settlement, ThreadPost, Traits};
use crate::parse::Post;
use crate::prefilter::Candidate;
use crate::prefilter::watched::of_post;
use crate::telemetry::Bucket;
use crate::ticket::{TicketId, proto};

/// Whose time a decision is made at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Ours, when the batch arrived.
    Arrival,
    /// The post's own: a replay gives the same output whenever it is run.
    Posts,
}

impl Clock {
    /// The time at which this post is decided about.
    pub fn now(self, post: &Post<'_>, received_at: Timestamp) -> Timestamp {
        match self {
            Clock::Arrival => received_at,
            Clock::Posts => post.seen_at.or(post.written_at).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

/// Decides about everything in the batch; `visit` sees each new ticket before it is encoded.
///
/// # Errors
///
/// It cannot be known who wrote a post: the batch is not settled, and comes again after a restart.
pub fn settle(
    desk: &mut Desk,
    config: &desk::Config,
    people: &mut dyn People,
    articles: &mut dyn Articles,
    clock: Clock,
    decided: Decided,
    mut visit: impl FnMut(&proto::Ticket),
) -> Result<Settlement, Unreadable> {
    let Decided { output, verdicts, model, provisional } = decided;
    let opinion = Opinion { model: &model, provisional };
    let mut buckets = output.buckets;
    let mut entries = Vec::new();
    let mut verdicts = verdicts.iter();
    for item in output.items {
        match item {
            Item::Candidate(candidate) | Item::Reply(candidate) => {
                let verdict = verdicts.next().expect("the model gives one verdict a candidate");
                let now = clock.now(&candidate.post, output.received_at);
                match desk.decide(config, &candidate, verdict, opinion, people, now)? {
                    Decision::Ticket(mut ticket) => {
                        // Under overload the small model reads, and a ticket goes without articles.
                        if config.articles.enabled && !provisional {
                            let language = verdict.language.code();
                            let question =
                                Question::of(&candidate.post, &ticket.brand, language, &config.articles);
                            ticket.articles =
                                articles.find(&question).into_iter().map(|found| found.article).collect();
                        }
                        visit(&ticket);
                        let id = TicketId::of_post(candidate.post.network, &candidate.post.id);
                        let new = new_ticket(&candidate, &ticket, provisional, now, desk.needs_of(id));
                        let thread = Some(desk.conversations.first_of(id)).filter(|first| *first != id);
                        entries.push(Entry::Ticket(Box::new(NewTicket { thread, ..new })));
                    }
                    Decision::Edited(ticket_id, amended) => {
                        let text = candidate.post.text.to_string();
                        let at = candidate.post.seen_at.unwrap_or(now);
                        let otherwise = match candidate.is_of_thread() {
                            true => Bucket::Unmatched,
                            false => Bucket::Duplicate,
                        };
                        entries.push(Entry::Edit { ticket_id, text, at, otherwise, amended });
                    }
                    Decision::Joined(joined) => {
                        let first_of = |ticket_id| desk.conversations.first_of(ticket_id);
                        let hangs = desk.conversations.thread_of(&candidate.post);
                        let hangs = hangs.map(|(among, _)| first_of(among));
                        let thread = hangs.filter(|first| *first == first_of(joined.ticket_id));
                        let new = follow_up(&candidate, *joined, thread, provisional, now);
                        entries.push(Entry::FollowUp(Box::new(new)));
                    }
                    Decision::Bystander(ticket_id) => {
                        let at = desk::posted_at(&candidate.post, now);
                        let post = thread_post(&candidate.post, ticket_id, at);
                        // That what names the brand is no customer message says the model, or what its author is
                        // thanked for.
                        let is_named = !candidate.is_of_thread();
                        let bucket = if is_named { Bucket::Unsupported } else { Bucket::Unmatched };
                        entries.push(Entry::Bystander { post, bucket });
                    }
                    Decision::Duplicate => buckets[Bucket::Duplicate] += 1,
                    Decision::Unsupported => buckets[Bucket::Unsupported] += 1,
                    Decision::Unmatched => buckets[Bucket::Unmatched] += 1,
                }
            }
            Item::Overheard(post) => {
                let now = clock.now(&post, output.received_at);
                match desk.overhears(config, &post, now) {
                    Some(ticket_id) => {
                        let post = thread_post(&post, ticket_id, desk::posted_at(&post, now));
                        entries.push(Entry::Bystander { post, bucket: Bucket::Unmatched });
                    }
                    None => buckets[Bucket::Unmatched] += 1,
                }
            }
            Item::Answer(post) => {
                let now = clock.now(&post, output.received_at);
                let at = desk::answered_at(&post, now);
                match desk.answers(&post, now) {
                    Some(ticket_id) => entries.push(Entry::Answer {
                        answered: proto::update::Answered {
                            post_id: post.id.to_string(),
                            url: post.url().unwrap_or_default(),
                            account: post.author.handle.as_deref().unwrap_or(&post.author.id).to_owned(),
                        },
                        post: thread_post(&post, ticket_id, at),
                    }),
                    None => buckets[Bucket::Own] += 1,
                }
            }
            Item::Edited { network, id, text, seen_at, otherwise } => {
                let ticket_id = TicketId::of_post(network, &id);
                if desk.edits(ticket_id, &text) {
                    let at = seen_at.unwrap_or(output.received_at);
                    entries.push(Entry::Edit { ticket_id, text, at, otherwise, amended: None });
                } else {
                    buckets[otherwise] += 1;
                }
            }
            Item::PostDeleted { network, id } => {
                let ticket_id = TicketId::of_post(network, &id);
                if desk.deletes(ticket_id) {
                    entries.push(Entry::Erase { ticket_id, at: output.received_at });
                } else {
                    buckets[Bucket::Control] += 1;
                }
            }
            Item::AccountDeleted { network, author_id } => {
                desk.conversations.forget_helper(network, &author_id);
                entries.push(Entry::EraseAuthor { network, author_id, at: output.received_at });
            }
        }
    }
    Ok(Settlement {
        source: output.source,
        end_sequence: output.end_sequence,
        position: output.position,
        buckets,
        gaps: output.gaps,
        recovered: output.recovered,
        entries,
    })
}

fn thread_post(post: &Post<'_>, ticket_id: TicketId, at: Timestamp) -> ThreadPost {
    ThreadPost {
        post_id: TicketId::of_post(post.network, &post.id),
        ticket_id,
        network: post.network,
        author_id: post.author.id.to_string(),
        watch: of_post(post.network, &post.id),
        at,
    }
}

/// `thread` is the first ticket of the thread of that which the post joins, if it hangs there.
fn follow_up(
    candidate: &Candidate,
    joined: desk::Joined,
    thread: Option<TicketId>,
    provisional: bool,
    at: Timestamp,
) -> NewFollowUp {
    let post = &candidate.post;
    let otherwise = match joined.otherwise {
        Some(ticket) => {
            let ticket = new_ticket(candidate, &ticket, provisional, at, joined.needs);
            Otherwise::Ticket(Box::new(NewTicket { thread, ..ticket }))
        }
        None if candidate.is_of_thread() || candidate.is_only_named() => Otherwise::Bucket(Bucket::Unmatched),
        None => Otherwise::Bucket(Bucket::Unsupported),
    };
    NewFollowUp {
        post_id: TicketId::of_post(post.network, &post.id),
        ticket_id: joined.ticket_id,
        network: post.network,
        author_id: post.author.id.to_string(),
        text_hash: desk::text_hash(&post.text),
        at,
        posted_at: desk::posted_at(post, at),
        post: joined.post,
        verdict: joined.verdict,
        factors: joined.factors,
        raises: joined.raises,
        thanks: joined.thanks,
        terms: joined.terms,
        join_us: joined.join_us,
        otherwise,
    }
}

fn new_ticket(
    candidate: &Candidate,
    ticket: &proto::Ticket,
    provisional: bool,
    created_at: Timestamp,
    needs: Option<Needs>,
) -> NewTicket {
    let post = &candidate.post;
    // A reply in a thread names none.
    let brand = match candidate.is_of_thread() {
        true => ticket.brand.as_str().into(),
        false => candidate.brand.clone(),
    };
    let intents = ticket.verdict.as_ref().map(|verdict| &verdict.intent);
    let probability = |label: &str| intents.and_then(|intents| intents.get(label)).copied().unwrap_or(0.0);
    let intent = INTENTS.get(best(&INTENTS.map(probability))).copied().unwrap_or_default();
    NewTicket {
        id: TicketId::of_post(post.network, &post.id),
        author_id: post.author.id.to_string(),
        traits: Traits {
            brand,
            network: post.network,
            language: post.language.as_deref().unwrap_or_default().into(),
            intent: intent.into(),
            priority: u16::try_from(ticket.priority).unwrap_or(desk::priority::PRIORITY_MAX),
            rescored: None,
        },
        created_at,
        posted_at: desk::posted_at(post, created_at),
        due_at_us: ticket.due_at_us,
        at_risk_at_us: Some(ticket.at_risk_at_us).filter(|at_us| *at_us != 0),
        text_hash: desk::text_hash(&post.text),
        watch: of_post(post.network, &post.id),
        thread: None,
        provisional,
        assignee: ticket.assignment.as_ref().map(|assignment| Assignee {
            team: assignment.team.clone(),
            agent: assignment.agent.clone(),
            needs: needs.unwrap_or_default(),
        }),
        body: ticket.encode_to_vec(),
    }
}

#[cfg(test)]
pub(super) mod tests;
