//! Verdict → ticket: the decisions that a dispatcher would make, each with its reasons.
//!
//! Plain code without a clock: times come in with the candidate, so that `replay` and `explain` use the
//! very same lines as `run`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use crate::classify::{INTENTS, SENTIMENTS, URGENCIES, Verdict};
use crate::parse::Post;
use crate::prefilter::Candidate;
use crate::prefilter::watched::of_post;
use crate::ticket::{TicketId, proto};

pub mod agent;
pub mod articles;
pub mod calendar;
pub mod conversation;
pub mod expectation;
pub mod follow_up;
pub mod person;
pub mod priority;
pub mod recorded;
pub mod route;
pub mod sensitive;
pub mod told;
pub mod week;
pub mod when;

pub use agent::Agent;
pub use conversation::Conversations;
pub use expectation::{Due, Expectations};
pub use follow_up::Terms;
pub use person::{People, Person, Strangers, Unreadable};
pub use priority::{Factors, Levels, Score};
pub use recorded::Recorded;
pub use route::{Router, Routes};
pub use when::{Facts, When};

use conversation::{FURTHER_MAX, Part, Place, Remembered, RememberedPost};

/// How the desk decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Points for what speaks for or against a post.
    pub factors: Factors,
    /// Where the sum is cut into P1 to P4.
    pub levels: Levels,
    /// Both for the brands that have their own, by the brand's name.
    pub brands: BTreeMap<String, BrandPriority>,
    /// Which words make a text sensitive, and which team such a ticket goes to.
    pub sensitive: sensitive::Topics,
    /// How soon people expect an answer.
    pub expectations: Expectations,
    /// Least probability of `other` at which a post is no customer message. `0.0..=1.0`.
    pub unsupported_min: f32,
    /// The same where the post names one of our handles: it speaks to us, so we doubt the model longer.
    pub unsupported_addressed_min: f32,
    /// Which posts join a ticket.
    pub conversation: conversation::Config,
    /// Contacts of a poster from before that long ago play no part.
    pub contacts_window: Duration,
    /// Which team answers.
    pub routes: Routes,
    /// Whether and how new tickets get articles of the knowledge base.
    pub articles: articles::Config,
}

/// The priorities of one brand.
#[derive(Debug, Clone, PartialEq)]
pub struct BrandPriority {
    /// All factors, with those of every brand where this one has none of its own.
    pub factors: Factors,
    /// Where the sum is cut.
    pub levels: Levels,
}

/// A priority with all that speaks for and against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// Every factor, also those that give nothing.
    pub lines: Vec<priority::Line>,
    /// Of all points, before it is cut.
    pub sum: i64,
    /// `0..=1000`.
    pub priority: u16,
    /// Where that lies.
    pub level: proto::Level,
    /// The thresholds that say so.
    pub levels: Levels,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            factors: Factors::default(),
            levels: Levels::default(),
            expectations: Expectations::default(),
            brands: BTreeMap::new(),
            sensitive: sensitive::Topics::default(),
            unsupported_min: 0.6,
            unsupported_addressed_min: 0.9,
            conversation: conversation::Config::default(),
            contacts_window: Duration::from_secs(30 * 24 * 3600),
            routes: Routes::default(),
            articles: articles::Config::default(),
        }
    }
}

impl Config {
    /// The factors and thresholds for this brand.
    pub fn priorities(&self, brand: &str) -> (&Factors, &Levels) {
        let own = self.brands.get(brand);
        own.map_or((&self.factors, &self.levels), |own| (&own.factors, &own.levels))
    }

    /// The priority that these facts give, and its level.
    pub fn score(&self, facts: &Facts<'_>) -> (Score, proto::Level) {
        let (factors, levels) = self.priorities(&facts.candidate.brand);
        let score = factors.score(facts);
        let level = levels.level(score.priority);
        (score, level)
    }

    /// The priority of a ticket that this post has joined: what is known of the new post, and that there have been
    /// `follow_ups` posts after the first, this one among them.
    pub fn score_follow_up(
        &self,
        candidate: &Candidate,
        verdict: &Verdict,
        person: &Person,
        follow_ups: u32,
        now: Timestamp,
    ) -> (Score, proto::Level) {
        let (sensitive, sensitive_words) = self.sensitive.read(&candidate.post.text);
        self.score(&Facts {
            sensitive: &sensitive,
            sensitive_words: &sensitive_words,
            follow_ups,
            ..Facts::new(candidate, verdict, person, now)
        })
    }

    /// The same with every factor, for people who ask why.
    pub fn explain(&self, facts: &Facts<'_>) -> Explained {
        let (factors, levels) = self.priorities(&facts.candidate.brand);
        let lines = factors.lines(facts, true);
        let sum = priority::sum(&lines);
        let priority = priority::cut(sum);
        Explained { lines, sum, priority, level: levels.level(priority), levels: *levels }
    }

    /// As [`Config::explain`], of a new post as [`Config::ticket`] sees it.
    pub fn explain_post(
        &self,
        candidate: &Candidate,
        verdict: &Verdict,
        person: &Person,
        now: Timestamp,
    ) -> Explained {
        let (sensitive, sensitive_words) = self.sensitive.read(&candidate.post.text);
        self.explain(&Facts {
            sensitive: &sensitive,
            sensitive_words: &sensitive_words,
            ..Facts::new(candidate, verdict, person, now)
        })
    }

    /// Whether the model says that this is no customer message. `addressed`: the post names one of our handles.
    pub fn is_unsupported(&self, addressed: bool, verdict: &Verdict) -> bool {
        let other = verdict.intent[INTENTS.len() - 1];
        let least = if addressed { self.unsupported_addressed_min } else { self.unsupported_min };
        other >= least
    }

    /// By what the priority of a ticket of this brand is reckoned when posts join it.
    pub fn terms(&self, brand: &str) -> Terms {
        let (factors, levels) = self.priorities(brand);
        Terms { follow_ups: factors.follow_ups, levels: *levels, caps: factors.caps }
    }

    /// Whether this post is given up for no customer message. What touches a sensitive topic never is: the model is wrong
    /// now and then, and a fire that nobody reads costs more than a joke that somebody does.
    pub fn gives_up(&self, candidate: &Candidate, verdict: &Verdict) -> bool {
        self.is_unsupported(candidate.addressed, verdict)
            && self.sensitive.read(&candidate.post.text).0.is_empty()
    }

    /// What a surer verdict changes of a ticket that was made under overload; `None` if nothing that people
    /// or filters go by: the most probable classes, the level, whether it is a customer message.
    pub fn rescored(
        &self,
        ticket: &proto::Ticket,
        verdict: &Verdict,
        model: &str,
    ) -> Option<proto::update::Rescored> {
        let unsupported =
            ticket.sensitive.is_empty() && self.is_unsupported(recorded::is_addressed(ticket), verdict);
        let (factors, levels) = self.priorities(&ticket.brand);
        let Score { priority, factors } = factors.rescore(ticket, verdict);
        let level = levels.level(priority);
        let now = message_of_verdict(verdict, model);
        let before = ticket.verdict.clone().unwrap_or_default();
        let is_same = |one, other| most_probable(one) == most_probable(other);
        let is_confirmed = !unsupported
            && level == ticket.level()
            && is_same(&before.sentiment, &now.sentiment)
            && is_same(&before.intent, &now.intent)
            && is_same(&before.urgency, &now.urgency);
        (!is_confirmed).then(|| proto::update::Rescored {
            priority: u32::from(priority),
            level: level.into(),
            verdict: Some(now),
            factors,
            unsupported,
        })
    }

    /// What a route goes by: all that the ticket was made of, with what it came to.
    pub fn facts_of<'a>(
        &self,
        ticket: &'a proto::Ticket,
        candidate: &'a Candidate,
        verdict: &'a Verdict,
        person: &'a Person,
        now: Timestamp,
    ) -> Facts<'a> {
        let priority = u16::try_from(ticket.priority).unwrap_or(priority::PRIORITY_MAX);
        Facts { sensitive: &ticket.sensitive, priority, ..Facts::new(candidate, verdict, person, now) }
    }

    /// The ticket that this candidate makes at `now`, without a route, whatever tickets exist already.
    ///
    /// `model` is the name and version of what gave `verdict`.
    pub fn ticket(
        &self,
        candidate: &Candidate,
        verdict: &Verdict,
        person: &Person,
        model: &str,
        now: Timestamp,
    ) -> proto::Ticket {
        self.ticket_after(candidate, verdict, person, model, now, 0)
    }

    /// The same of somebody who has had a ticket before that nothing joins any more: they have posted again.
    fn ticket_again(
        &self,
        candidate: &Candidate,
        verdict: &Verdict,
        person: &Person,
        model: &str,
        now: Timestamp,
        earlier: TicketId,
    ) -> proto::Ticket {
        let mut ticket = self.ticket_after(candidate, verdict, person, model, now, 1);
        for factor in ticket.factors.iter_mut().filter(|factor| factor.name == follow_up::FACTOR) {
            factor.evidence = format!("earlier ticket {earlier}");
        }
        ticket
    }

    fn ticket_after(
        &self,
        candidate: &Candidate,
        verdict: &Verdict,
        person: &Person,
        model: &str,
        now: Timestamp,
        follow_ups: u32,
    ) -> proto::Ticket {
        let post = &candidate.post;
        let (sensitive, sensitive_words) = self.sensitive.read(&post.text);
        let facts = Facts {
            sensitive: &sensitive,
            sensitive_words: &sensitive_words,
            follow_ups,
            ..Facts::new(candidate, verdict, person, now)
        };
        let (score, level) = self.score(&facts);
        let due = self.expectations.of(&Facts { priority: score.priority, ..facts });
        let watched = Some(due.at_risk_at).filter(|_| self.expectations.overdue_updates);
        proto::Ticket {
            id: TicketId::of_post(post.network, &post.id).as_bytes().to_vec(),
            post: Some(message_of(post, now)),
            brand: candidate.brand.to_string(),
            priority: u32::from(score.priority),
            level: level.into(),
            created_at_us: now.as_microsecond(),
            due_at_us: due.due_at.as_microsecond(),
            verdict: Some(message_of_verdict(verdict, model)),
            factors: score.factors,
            hits: candidate.hits.clone(),
            incident_id: Vec::new(),
            route: String::new(),
            person: message_of_person(person),
            assignment: None,
            articles: Vec::new(),
            sensitive,
            at_risk_at_us: watched.map_or(0, Timestamp::as_microsecond),
        }
    }
}

fn assigned(ticket: proto::Ticket, assignment: Option<proto::Assignment>) -> proto::Ticket {
    let route = assignment.as_ref().map(|assignment| assignment.team.clone()).unwrap_or_default();
    proto::Ticket { route, assignment, ..ticket }
}

/// `None` for a stranger.
fn message_of_person(person: &Person) -> Option<proto::Person> {
    if *person == Person::default() {
        return None;
    }
    let customer = person.customer.as_deref().cloned().unwrap_or_default();
    let purchase = |purchase: person::Purchase| proto::person::Purchase {
        at_us: purchase.at.as_microsecond(),
        what: purchase.what,
        amount: purchase.amount.unwrap_or_default(),
    };
    let contact = |touchpoint: &person::Touchpoint| proto::person::Contact {
        at_us: touchpoint.at.as_microsecond(),
        channel: touchpoint.channel.clone(),
        note: touchpoint.note.clone(),
    };
    Some(proto::Person {
        customer: customer.key,
        name: customer.name,
        tier: customer.tier,
        flags: customer.flags,
        value: customer.value.unwrap_or_default(),
        value_known: customer.value.is_some(),
        language: customer.language,
        purchases: customer.purchases.into_iter().map(purchase).collect(),
        contacts: person.touchpoints.iter().map(contact).collect(),
    })
}

fn message_of_verdict(verdict: &Verdict, model: &str) -> proto::Verdict {
    proto::Verdict {
        sentiment: labelled(&SENTIMENTS, &verdict.sentiment),
        intent: labelled(&INTENTS, &verdict.intent),
        urgency: labelled(&URGENCIES, &verdict.urgency),
        model: model.to_owned(),
        language: verdict.language.code().to_owned(),
    }
}

/// The first of the most probable labels.
fn most_probable(probabilities: &std::collections::BTreeMap<String, f32>) -> Option<&str> {
    let best = probabilities.iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(label, _)| label.as_str())
}

fn labelled(labels: &[&str], probabilities: &[f32]) -> std::collections::BTreeMap<String, f32> {
    labels.iter().map(|label| (*label).to_owned()).zip(probabilities.iter().copied()).collect()
}

fn message_of(post: &Post<'_>, now: Timestamp) -> proto::Post {
    let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let list = |items: &[std::borrow::Cow<'_, str>]| items.iter().map(|item| item.to_string()).collect();
    proto::Post {
        network: post.network.name().to_owned(),
        id: post.id.to_string(),
        url: post.url().unwrap_or_default(),
        author: Some(proto::Author {
            id: post.author.id.to_string(),
            handle: owned(&post.author.handle),
            name: owned(&post.author.name),
            followers: post.author.followers.unwrap_or_default(),
            followers_known: post.author.followers.is_some(),
            verified: post.author.verified,
        }),
        text: post.text.to_string(),
        language: owned(&post.language),
        written_at_us: post.written_at.map_or(0, Timestamp::as_microsecond),
        seen_at_us: post.seen_at.unwrap_or(now).as_microsecond(),
        reply_to: owned(&post.reply_to),
        quote_of: owned(&post.quote_of),
        mentions: list(&post.mentions),
        hashtags: list(&post.hashtags),
        links: list(&post.links),
    }
}

/// What becomes of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// A new ticket.
    Ticket(Box<proto::Ticket>),
    /// The post has its ticket already, and says the same.
    Duplicate,
    /// The post has its ticket already, and its author changed the text.
    Edited(TicketId),
    /// The model says that it is no customer message.
    Unsupported,
    /// The post joins a ticket.
    Joined(Box<Joined>),
    /// It belongs to the thread of this ticket, whose author is another, and is not for us.
    Bystander(TicketId),
    /// No rule matches it, and it is in no conversation.
    Unmatched,
}

/// A post that joins a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// Which.
    pub ticket_id: TicketId,
    /// What the helpdesks are told of the post.
    pub post: proto::Post,
    /// What the model says of it.
    pub verdict: proto::Verdict,
    /// What speaks for the post by itself, in full.
    pub factors: Vec<proto::Factor>,
    /// Whether its author still waits: thanks raise nothing.
    pub raises: bool,
    /// The post whose author it thanks.
    pub thanks: Option<TicketId>,
    /// By what the ticket's priority is reckoned anew.
    pub terms: Terms,
    /// The ticket that it makes if the other is gone; `None` where no rule matches it.
    pub otherwise: Option<Box<proto::Ticket>>,
}

/// Whose verdict it is.
#[derive(Debug, Clone, Copy)]
pub struct Opinion<'m> {
    /// Name and version of the model.
    pub model: &'m str,
    /// Whether a better model will be asked when there is time.
    pub provisional: bool,
}

/// Decides, remembering which posts have a ticket, and who is busy with what.
#[derive(Debug, Default)]
pub struct Desk {
    known: Known,
    /// Which tickets further posts join.
    pub conversations: Conversations,
    posts_remembered: usize,
    router: Router,
    /// Open tickets whose agent is no longer there.
    orphans: VecDeque<TicketId>,
}

/// Tickets that are assigned anew at once: some 10 ms of work, and a commit of the ledger that nobody notices.
pub const ORPHANS_MAX: usize = 256;

impl Desk {
    /// Remembers a ticket of an earlier run with its post's [`text_hash`]; oldest first.
    pub fn remember(&mut self, id: TicketId, text_hash: u64) {
        self.known.insert(id, text_hash);
    }

    /// Takes note of what helpdesks report.
    pub fn hear(&mut self, told: &told::Told) {
        self.router.hear(told);
        if let told::Told::Status(ticket_id, status) = told
            && let Some(is_closed) = conversation::is_closed(status.state())
        {
            self.conversations.set_closed(*ticket_id, is_closed);
        }
    }

    /// Remembers a ticket of an earlier run as a conversation; oldest first, before the posts that belong to it.
    pub fn remember_conversation(&mut self, known: &Remembered) {
        let Remembered { ticket_id, network, author_id, brand, created_at_us, .. } = known;
        self.conversations.begin(*ticket_id, *network, author_id, brand, *created_at_us);
        if known.has_lost_its_own {
            self.conversations.post_deleted(*ticket_id);
        }
        self.conversations.set_closed(*ticket_id, known.is_closed);
        known.watch.iter().for_each(|watch| self.conversations.watch(*watch));
    }

    /// Remembers a post that belongs to a ticket beside its own; oldest first.
    pub fn remember_post(&mut self, known: &RememberedPost) {
        let RememberedPost { post_id, ticket_id, network, author_id, part, at_us, .. } = known;
        self.posts_remembered += 1;
        if self.posts_remembered > FURTHER_MAX {
            // There are older ones: the ledger knows them.
            self.known.complete = false;
        }
        if *part == Part::Joined {
            self.known.insert(*post_id, known.text_hash);
        }
        if !known.is_erased {
            self.conversations.add(*post_id, *ticket_id, *network, author_id, *part, *at_us);
            known.watch.iter().for_each(|watch| self.conversations.watch(*watch));
        }
    }

    /// Takes the agents as they are now. Open tickets of those who are no longer there are
    /// [assigned anew](Desk::assign_anew).
    pub fn set_agents(&mut self, agents: &[agent::Agent]) {
        // Who came back before their tickets had gone to others keeps them.
        self.orphans = self.router.set_agents(agents).into();
    }

    /// Whether tickets are left whose agent is no longer there.
    pub fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// Takes over what the ledger knows of an assigned ticket, as [`Router::restore`].
    pub fn restore_assignment(
        &mut self,
        id: TicketId,
        team: &str,
        agent: &str,
        is_ours: bool,
        is_open: bool,
    ) {
        self.router.restore(id, team, agent, is_ours, is_open);
    }

    /// Who takes over from agents who are no longer there: the next few of their tickets, empty once all are done.
    pub fn assign_anew(&mut self, config: &Config, now: Timestamp) -> Vec<(TicketId, proto::Assignment)> {
        let few = self.orphans.drain(..self.orphans.len().min(ORPHANS_MAX));
        let router = &mut self.router;
        few.filter_map(|id| Some((id, router.assign_anew(&config.routes, id, now)?))).collect()
    }

    /// Whether this text is a change of the ticket of this id, which then is remembered.
    pub fn edits(&mut self, id: TicketId, text: &str) -> bool {
        let hash = text_hash(text);
        match self.known.texts.get(&id) {
            Some(known) if *known == hash => false,
            Some(_) => {
                self.known.insert(id, hash);
                true
            }
            // It may be older than what is remembered: the ledger knows.
            None => !self.known.complete,
        }
    }

    /// Decides what becomes of `candidate`.
    ///
    /// A verdict that was only `provisional`, the small model's under overload, gives up no post as
    /// [`Decision::Unsupported`]: its ticket is scored again when there is time, and lost posts are not.
    ///
    /// # Errors
    ///
    /// It cannot be known who wrote the post.
    pub fn decide(
        &mut self,
        config: &Config,
        candidate: &Candidate,
        verdict: &Verdict,
        Opinion { model, provisional }: Opinion<'_>,
        people: &mut dyn People,
        now: Timestamp,
    ) -> Result<Decision, Unreadable> {
        let post = &candidate.post;
        let id = TicketId::of_post(post.network, &post.id);
        let hash = text_hash(&post.text);
        match self.known.compare(id, hash) {
            Some(Same::Text) => return Ok(Decision::Duplicate),
            // Only a frame that says so is an edit: another server's copy may differ in white space.
            Some(Same::PostOnly) if !post.edited => return Ok(Decision::Duplicate),
            Some(Same::PostOnly) => {
                self.known.insert(id, hash);
                return Ok(Decision::Edited(id));
            }
            None => {}
        }
        let is_refused = !provisional && config.gives_up(candidate, verdict);
        let at = post.seen_at.unwrap_or(now);
        let Candidate { brand, addressed, .. } = candidate;
        let place =
            self.conversations.place(&config.conversation, post, brand, *addressed, Some(verdict), at);
        let (ticket_id, thanks) = match place {
            Place::Joins { has_part: false, .. } if is_refused => return Ok(Decision::Unsupported),
            Place::Joins { ticket_id, thanks, .. } => (ticket_id, thanks),
            Place::Bystander(ticket_id) => {
                self.note(id, ticket_id, post, Part::Bystander, at);
                return Ok(Decision::Bystander(ticket_id));
            }
            Place::Alone { .. } if candidate.is_of_thread() => return Ok(Decision::Unmatched),
            Place::Alone { .. } if is_refused => return Ok(Decision::Unsupported),
            Place::Alone { earlier } => {
                self.known.insert(id, hash);
                let (network, at_us) = (post.network, at.as_microsecond());
                self.conversations.begin(id, network, &post.author.id, brand, at_us);
                self.conversations.watch(of_post(network, &post.id));
                let person = people.author_of(post, config.contacts_window, now)?;
                let ticket = match earlier {
                    Some(earlier) => config.ticket_again(candidate, verdict, &person, model, now, earlier),
                    None => config.ticket(candidate, verdict, &person, model, now),
                };
                let facts = config.facts_of(&ticket, candidate, verdict, &person, now);
                let assignment = self.router.route(&config.routes, &facts, id);
                return Ok(Decision::Ticket(Box::new(assigned(ticket, assignment))));
            }
        };
        self.known.insert(id, hash);
        self.note(id, ticket_id, post, Part::Joined, at);
        if let Some(post_id) = thanks {
            self.conversations.thank(post_id, at.as_microsecond());
        }
        let person = people.author_of(post, config.contacts_window, now)?;
        // A reply that names no brand speaks of its ticket's.
        let brand = self.conversations.brand_of(ticket_id).unwrap_or_else(|| brand.clone());
        let of_brand = Candidate { brand: brand.clone(), ..candidate.clone() };
        let (score, _) = config.score_follow_up(&of_brand, verdict, &person, 1, now);
        let otherwise = (!candidate.is_of_thread()).then(|| {
            let ticket = config.ticket(candidate, verdict, &person, model, now);
            let facts = config.facts_of(&ticket, candidate, verdict, &person, now);
            // Nobody is given it yet: the ticket that it joins keeps its agent.
            let weighing = self.router.weigh(&config.routes, &facts);
            Box::new(assigned(ticket, weighing.map(|weighing| weighing.assignment)))
        });
        Ok(Decision::Joined(Box::new(Joined {
            ticket_id,
            post: message_of(post, now),
            verdict: message_of_verdict(verdict, model),
            factors: score.factors,
            raises: !conversation::is_thanks(&post.text, Some(verdict)),
            thanks,
            terms: config.terms(&brand),
            otherwise,
        })))
    }

    fn note(&mut self, post_id: TicketId, ticket_id: TicketId, post: &Post<'_>, part: Part, at: Timestamp) {
        self.conversations.add(post_id, ticket_id, post.network, &post.author.id, part, at.as_microsecond());
        self.conversations.watch(of_post(post.network, &post.id));
    }

    /// Whose conversation this post of one of our own accounts answers, if it does.
    pub fn answers(&mut self, post: &Post<'_>, now: Timestamp) -> Option<TicketId> {
        let (ticket_id, _) = self.conversations.thread_of(post)?;
        let post_id = TicketId::of_post(post.network, &post.id);
        self.note(post_id, ticket_id, post, Part::Answer, post.seen_at.unwrap_or(now));
        Some(ticket_id)
    }

    /// In whose conversation somebody says this who has no part in it, if it is one.
    pub fn overhears(&mut self, config: &Config, post: &Post<'_>, now: Timestamp) -> Option<TicketId> {
        let at = post.seen_at.unwrap_or(now);
        match self.conversations.place(&config.conversation, post, &Arc::from(""), false, None, at) {
            Place::Bystander(ticket_id) => {
                self.note(TicketId::of_post(post.network, &post.id), ticket_id, post, Part::Bystander, at);
                Some(ticket_id)
            }
            Place::Joins { .. } | Place::Alone { .. } => None,
        }
    }

    /// Somebody has deleted the post of this id; whether the ledger may hold something of it: `false` is certain.
    pub fn deletes(&mut self, id: TicketId) -> bool {
        self.conversations.post_deleted(id) || self.may_know(id)
    }

    /// Whether a ticket of this id may exist: `false` is certain.
    pub fn may_know(&self, id: TicketId) -> bool {
        self.known.texts.contains_key(&id) || !self.known.complete
    }
}

/// Tickets remembered at most; the ledger's unique index catches what is older.
///
/// 1,000,000 entries of 16 + 8 bytes, twice with the queue of ages, stay under 72 MiB.
pub const KNOWN_TICKETS_MAX: usize = 1_000_000;

/// Which posts have a ticket, and a hash of the text it was made from.
#[derive(Debug)]
struct Known {
    texts: FxHashMap<TicketId, u64>,
    ages: VecDeque<TicketId>,
    complete: bool,
}

impl Default for Known {
    fn default() -> Known {
        Known { texts: FxHashMap::default(), ages: VecDeque::new(), complete: true }
    }
}

enum Same {
    Text,
    PostOnly,
}

impl Known {
    fn insert(&mut self, id: TicketId, text_hash: u64) {
        if self.texts.insert(id, text_hash).is_none() {
            self.ages.push_back(id);
        }
        if self.ages.len() > KNOWN_TICKETS_MAX
            && let Some(oldest) = self.ages.pop_front()
        {
            self.texts.remove(&oldest);
            self.complete = false;
        }
    }

    fn compare(&self, id: TicketId, text_hash: u64) -> Option<Same> {
        let known = self.texts.get(&id)?;
        Some(if *known == text_hash { Same::Text } else { Same::PostOnly })
    }
}

/// Tells two texts of a post apart; stored with the ticket, so that an edit is known again after a restart.
///
/// The first 8 bytes of BLAKE3.
pub fn text_hash(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Language;
    use crate::parse::Network;

    const PROBLEM: Verdict = Verdict {
        sentiment: [1.0, 0.0, 0.0],
        intent: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        urgency: [0.0, 1.0, 0.0],
        language: Language::UNCLEAR,
    };

    fn other(probability: f32) -> Verdict {
        let mut verdict = PROBLEM;
        verdict.intent = [0.0, 1.0 - probability, 0.0, 0.0, 0.0, 0.0, 0.0, probability];
        verdict
    }

    /// A candidate as the prefilter makes it from a plain post.
    fn candidate(id: &str, text: &str) -> Candidate {
        let json =
            serde_json::json!({ "id": id, "author": format!("author of {id}"), "text": text }).to_string();
        let mut frame = json.into_bytes();
        let mut parser = crate::parse::Parser::new(crate::parse::Format::Plain);
        let crate::parse::Frame::Post(post) = parser.parse(&mut frame).unwrap().frame else {
            panic!("no post")
        };
        Candidate {
            post: post.into_owned(),
            brand: "Lumio".into(),
            hits: Vec::new(),
            addressed: false,
            value: 1,
        }
    }

    fn decide(desk: &mut Desk, candidate: &Candidate, verdict: &Verdict) -> Decision {
        let opinion = Opinion { model: "model 1", provisional: false };
        desk.decide(&Config::default(), candidate, verdict, opinion, &mut Strangers, Timestamp::UNIX_EPOCH)
            .unwrap()
    }

    fn is_ticket(decision: &Decision) -> bool {
        matches!(decision, Decision::Ticket(_))
    }

    #[test]
    fn a_ticket_says_whose_it_is_and_that_changes_when_they_leave() {
        let mut desk = Desk::default();
        let routes = Routes { default_team: Some("support".to_owned()), ..Routes::default() };
        let config = Config { routes, ..Config::default() };
        let agent = |name: &str| agent::Agent {
            name: name.to_owned(),
            team: "support".to_owned(),
            capacity: 1000,
            ..agent::Agent::default()
        };
        desk.set_agents(&[agent("lena")]);
        let count = ORPHANS_MAX + 1;
        for n in 0..count {
            let opinion = Opinion { model: "model 1", provisional: false };
            let (candidate, now) = (candidate(&n.to_string(), "panne"), Timestamp::UNIX_EPOCH);
            let decided = desk.decide(&config, &candidate, &PROBLEM, opinion, &mut Strangers, now);
            let Decision::Ticket(ticket) = decided.unwrap() else { panic!() };
            assert_eq!(ticket.route, "support");
            assert_eq!(ticket.assignment.unwrap().agent, "lena");
        }
        assert_eq!(desk.assign_anew(&config, Timestamp::UNIX_EPOCH), []);
        desk.set_agents(&[agent("kim")]);
        let mut anew = desk.assign_anew(&config, Timestamp::UNIX_EPOCH);
        assert_eq!(anew.len(), ORPHANS_MAX);
        anew.extend(desk.assign_anew(&config, Timestamp::UNIX_EPOCH));
        assert_eq!(anew.len(), count);
        assert!(anew.iter().all(|(_, assignment)| assignment.agent == "kim"));
        assert_eq!(desk.assign_anew(&config, Timestamp::UNIX_EPOCH), []);
    }

    #[test]
    fn a_post_makes_one_ticket_however_often_it_comes() {
        let mut desk = Desk::default();
        assert!(is_ticket(&decide(&mut desk, &candidate("1", "panne"), &PROBLEM)));
        assert_eq!(decide(&mut desk, &candidate("1", "panne"), &PROBLEM), Decision::Duplicate);
        assert_eq!(decide(&mut desk, &candidate("1", "panne "), &PROBLEM), Decision::Duplicate);
        assert!(is_ticket(&decide(&mut desk, &candidate("2", "panne"), &PROBLEM)));
    }

    #[test]
    fn only_a_frame_that_says_so_is_an_edit() {
        let mut desk = Desk::default();
        decide(&mut desk, &candidate("1", "panne"), &PROBLEM);
        let mut edited = candidate("1", "panne depuis lundi");
        edited.post.edited = true;
        assert!(matches!(decide(&mut desk, &edited, &PROBLEM), Decision::Edited(_)));
        assert_eq!(decide(&mut desk, &edited, &PROBLEM), Decision::Duplicate, "the same edit again");
    }

    #[test]
    fn a_remembered_ticket_is_known_after_a_restart() {
        let mut desk = Desk::default();
        let id = TicketId::of_post(Network::Plain, "1");
        assert!(!desk.may_know(id));
        desk.remember(id, text_hash("panne"));
        assert!(desk.may_know(id));
        assert_eq!(decide(&mut desk, &candidate("1", "panne"), &PROBLEM), Decision::Duplicate);
    }

    #[test]
    fn a_ticket_older_than_the_desk_remembers_may_still_exist() {
        let mut desk = Desk::default();
        let id = |post: usize| TicketId::of_post(Network::Plain, &post.to_string());
        (0..=KNOWN_TICKETS_MAX).for_each(|post| desk.remember(id(post), 0));
        assert!(!desk.known.texts.contains_key(&id(0)));
        assert!(desk.may_know(id(0)), "the ledger must be asked before its text is left alone");
        assert!(desk.edits(id(0), "panne"));
    }

    #[test]
    fn what_touches_a_sensitive_topic_is_never_given_up() {
        let mut desk = Desk::default();
        let fire = candidate("1", "ma box a pris feu, incendie dans le salon");
        assert!(is_ticket(&decide(&mut desk, &fire, &other(1.0))));
        let calm = candidate("2", "ma box clignote");
        assert_eq!(decide(&mut desk, &calm, &other(1.0)), Decision::Unsupported);
        // Nor when the full model reads a ticket again that the small one has let through.
        let config = Config::default();
        let ticket = config.ticket(&fire, &PROBLEM, &Person::default(), "small 1", Timestamp::UNIX_EPOCH);
        let rescored = config.rescored(&ticket, &other(1.0), "full 1").unwrap();
        assert!(!rescored.unsupported);
    }

    #[test]
    fn the_model_must_be_surer_to_refuse_a_post_that_speaks_to_us() {
        let config = Config::default();
        let addressed = false;
        assert!(!config.is_unsupported(addressed, &other(0.59)));
        assert!(config.is_unsupported(addressed, &other(0.6)));
        let addressed = true;
        assert!(!config.is_unsupported(addressed, &other(0.89)));
        assert!(config.is_unsupported(addressed, &other(0.9)));
    }

    #[test]
    fn a_post_in_another_language_is_refused_only_where_the_model_is_almost_certain() {
        let config = Config::default();
        let check = |probability: f32, addressed: bool, doubted: f32, is_refused: bool| {
            let verdict = other(probability).doubted();
            let found = verdict.intent[INTENTS.len() - 1];
            assert!((found - doubted).abs() < 1e-6, "{probability} becomes {found}");
            assert_eq!(config.is_unsupported(addressed, &verdict), is_refused, "of {probability}");
        };
        check(0.60, false, 0.410, false);
        check(0.91, false, 0.596, false);
        check(0.92, false, 0.602, true);
        check(1.00, false, 0.650, true);
        check(1.00, true, 0.650, false);
    }

    #[test]
    fn an_unsupported_post_is_not_remembered_so_that_an_edit_may_make_it_a_ticket() {
        let mut desk = Desk::default();
        assert_eq!(decide(&mut desk, &candidate("1", "lumio"), &other(1.0)), Decision::Unsupported);
        assert!(is_ticket(&decide(&mut desk, &candidate("1", "lumio est en panne"), &PROBLEM)));
    }

    #[test]
    fn a_provisional_verdict_gives_no_post_up() {
        let opinion = Opinion { model: "small 1", provisional: true };
        let (config, now) = (Config::default(), Timestamp::UNIX_EPOCH);
        let mut desk = Desk::default();
        let lumio = candidate("1", "lumio");
        let decided = desk.decide(&config, &lumio, &other(1.0), opinion, &mut Strangers, now);
        assert!(is_ticket(&decided.unwrap()));
        assert_eq!(decide(&mut desk, &candidate("2", "lumio"), &other(1.0)), Decision::Unsupported);
    }

    #[test]
    fn scoring_again_tells_only_of_what_matters() {
        let config = Config::default();
        let candidate = Candidate { addressed: true, hits: vec!["@lumio".into()], ..candidate("1", "panne") };
        let ticket =
            config.ticket(&candidate, &PROBLEM, &Person::default(), "small 1", Timestamp::UNIX_EPOCH);
        let rescored = |verdict: &Verdict| config.rescored(&ticket, verdict, "full 1");

        let mut surer = PROBLEM;
        surer.sentiment = [PROBLEM.sentiment[0] - 0.01, PROBLEM.sentiment[1] + 0.01, PROBLEM.sentiment[2]];
        assert_eq!(rescored(&surer), None, "the same classes and the same level");

        let mut urgent = PROBLEM;
        urgent.urgency = [0.0, 0.0, 1.0];
        let change = rescored(&urgent).expect("another class and level");
        let afresh = config.ticket(&candidate, &urgent, &Person::default(), "full 1", Timestamp::UNIX_EPOCH);
        assert_eq!((change.priority, change.level), (afresh.priority, afresh.level));
        assert_eq!((change.factors, change.verdict), (afresh.factors, afresh.verdict), "as if asked first");
        assert!(!change.unsupported);

        assert!(!rescored(&other(0.89)).expect("another class").unsupported);
        assert!(rescored(&other(0.9)).expect("no message").unsupported, "surer, as it names our handle");
    }

    #[test]
    fn a_ticket_says_which_model_read_it_and_in_what_language() {
        let french = Verdict { language: Language::from_code("fr").unwrap(), ..PROBLEM };
        let check = |verdict: &Verdict, language: &str| {
            let ticket = Config::default().ticket(
                &candidate("1", "panne"),
                verdict,
                &Person::default(),
                "model 1",
                Timestamp::UNIX_EPOCH,
            );
            let verdict = ticket.verdict.unwrap();
            assert_eq!((verdict.model.as_str(), verdict.language.as_str()), ("model 1", language));
        };
        check(&french, "fr");
        check(&PROBLEM, "und");
    }

    #[test]
    fn a_ticket_is_due_when_its_network_expects_an_answer() {
        let config = Config::default();
        let check = |network: Network, hours: i64| {
            let mut candidate = candidate("1", "panne");
            candidate.post.network = network;
            let now = Timestamp::from_second(1_000_000).unwrap();
            let ticket = config.ticket(&candidate, &PROBLEM, &Person::default(), "model 1", now);
            assert_eq!(ticket.due_at_us - ticket.created_at_us, hours * 3_600_000_000, "{network}");
            assert_eq!(ticket.at_risk_at_us - ticket.created_at_us, hours * 2_700_000_000, "{network}");
        };
        check(Network::X, 2);
        check(Network::Bluesky, 2);
        check(Network::Mastodon, 2);
        check(Network::Facebook, 8);
    }

    #[test]
    fn an_expectation_may_ask_for_the_priority_that_the_post_has() {
        let mut config = Config::default();
        let now = Timestamp::from_second(1_000_000).unwrap();
        let candidate = candidate("1", "panne");
        let ticket =
            |config: &Config| config.ticket(&candidate, &PROBLEM, &Person::default(), "model 1", now);
        let priority = i64::from(ticket(&config).priority);
        assert!(priority > 0);
        let urgent = |range| When { ranges: vec![(when::Quantity::Priority, range)], ..When::default() };
        let hour = expectation::Expectation::always(std::time::Duration::from_secs(3600));
        config.expectations.rules = vec![(urgent(priority..=priority), hour.clone())];
        assert_eq!(ticket(&config).due_at_us, now.as_microsecond() + 3_600_000_000);
        config.expectations.rules = vec![(urgent(0..=priority - 1), hour)];
        assert_eq!(ticket(&config).due_at_us, now.as_microsecond() + 7_200_000_000);
        config.expectations.overdue_updates = false;
        assert_eq!(ticket(&config).at_risk_at_us, 0, "nobody is told");
    }
}
