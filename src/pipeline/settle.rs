//! The desk thread: verdicts become tickets, and a batch is settled once all of it is decided.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, Select, Sender, TryRecvError};
use jiff::Timestamp;
use prost::Message;

use super::lane::Item;
use super::model::Decided;
use super::reload::Rules;
use crate::classify::{INTENTS, best};
use crate::desk::articles::{Articles, NoArticles, Question};
use crate::desk::route::Needs;
use crate::desk::told::{Heard, Hearing};
use crate::desk::{self, Decision, Desk, Opinion, People, Unreadable};
use crate::ledger::assigned::Assignee;
use crate::ledger::{Entry, NewFollowUp, NewTicket, Otherwise, Settlement, ThreadPost, Traits};
use crate::parse::Post;
use crate::prefilter::Candidate;
use crate::prefilter::watched::of_post;
use crate::telemetry::Bucket;
use crate::telemetry::pulse::Pulse;
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
                            let question =
                                Question::of(&candidate, verdict.language.code(), &config.articles);
                            ticket.articles =
                                articles.find(&question).into_iter().map(|found| found.article).collect();
                        }
                        visit(&ticket);
                        let id = TicketId::of_post(candidate.post.network, &candidate.post.id);
                        let new = new_ticket(&candidate, &ticket, provisional, now, desk.needs_of(id));
                        let thread = Some(desk.conversations.first_of(id)).filter(|first| *first != id);
                        entries.push(Entry::Ticket(Box::new(NewTicket { thread, ..new })));
                    }
                    Decision::Edited(ticket_id) => {
                        let text = candidate.post.text.to_string();
                        let at = candidate.post.seen_at.unwrap_or(now);
                        entries.push(Entry::Edit { ticket_id, text, at, otherwise: Bucket::Duplicate });
                    }
                    Decision::Joined(joined) => {
                        let first = desk.conversations.first_of(joined.ticket_id);
                        let new = follow_up(&candidate, *joined, first, provisional, now);
                        entries.push(Entry::FollowUp(Box::new(new)));
                    }
                    Decision::Bystander(ticket_id) => {
                        let post = thread_post(&candidate.post, ticket_id, now);
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
                        let post = thread_post(&post, ticket_id, now);
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
            Item::Edited { network, id, text, seen_at } => {
                let ticket_id = TicketId::of_post(network, &id);
                if desk.edits(ticket_id, &text) {
                    let otherwise = Bucket::Unmatched;
                    let at = seen_at.unwrap_or(output.received_at);
                    entries.push(Entry::Edit { ticket_id, text, at, otherwise });
                } else {
                    buckets[Bucket::Unmatched] += 1;
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

/// `first` is the first ticket of the thread of that which the post joins.
fn follow_up(
    candidate: &Candidate,
    joined: desk::Joined,
    first: TicketId,
    provisional: bool,
    at: Timestamp,
) -> NewFollowUp {
    let post = &candidate.post;
    let otherwise = match joined.otherwise {
        Some(ticket) => {
            let ticket = new_ticket(candidate, &ticket, provisional, at, joined.needs);
            Otherwise::Ticket(Box::new(NewTicket { thread: Some(first), ..ticket }))
        }
        None if candidate.is_of_thread() => Otherwise::Bucket(Bucket::Unmatched),
        None => Otherwise::Bucket(Bucket::Unsupported),
    };
    NewFollowUp {
        post_id: TicketId::of_post(post.network, &post.id),
        ticket_id: joined.ticket_id,
        network: post.network,
        author_id: post.author.id.to_string(),
        text_hash: desk::text_hash(&post.text),
        at,
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

/// Batches that may wait for the desk while it still looks articles up, some 0.5 ms for a ticket at 2,000 articles:
/// a queue that grows is worth more to shorten, and its tickets go without.
const ARTICLES_WAITING_MAX: usize = 8;

/// Between two looks at who can answer: `vigie import agents` takes effect within it.
const AGENTS_EVERY: Duration = Duration::from_secs(1);

/// Between two batches of tickets that are decided about anew, where nothing else wakes the desk.
const ANEW_EVERY: Duration = Duration::from_millis(20);

/// Runs until the model thread or the ledger has ended. `hear` is given what helpdesks report, before the decisions
/// that come after it.
///
/// # Errors
///
/// It cannot be known who wrote a post: the daemon must end.
#[expect(clippy::too_many_arguments, reason = "all that a thread of its own is given, once")]
pub fn run(
    mut desk: Desk,
    people: &mut dyn People,
    articles: &mut dyn Articles,
    rules: &ArcSwap<Rules>,
    decided: &Receiver<Decided>,
    mut hearing: Hearing,
    mut hear: impl FnMut(&mut Desk, Heard),
    ledger: &Sender<Settlement>,
    pulse: &Pulse,
) -> Result<(), Unreadable> {
    let mut order = Order::default();
    let mut agents_due = None;
    loop {
        {
            // Only woken here; reports are taken first, so that a decision goes by what was known before it.
            let mut woken = Select::new();
            woken.recv(decided);
            woken.recv(hearing.queue());
            let has_more = desk.has_orphans() || desk.has_changed();
            let wait = if has_more { ANEW_EVERY } else { AGENTS_EVERY };
            // Where nothing comes, there are still the agents to look at.
            let _ = woken.ready_timeout(wait);
        }
        pulse.begin();
        hearing.hear(|heard| hear(&mut desk, heard));
        if agents_due.is_none_or(|due| due <= Instant::now()) {
            if let Some(agents) = people.new_agents()? {
                hear(&mut desk, Heard::Agents(agents));
            }
            agents_due = Some(Instant::now() + AGENTS_EVERY);
        }
        if desk.has_orphans() {
            hear(&mut desk, Heard::Orphans);
        }
        if desk.has_changed() {
            hear(&mut desk, Heard::Changed);
        }
        let taken = match decided.try_recv() {
            Ok(taken) => taken,
            Err(TryRecvError::Empty) => {
                pulse.rest();
                continue;
            }
            Err(TryRecvError::Disconnected) => {
                pulse.rest();
                return Ok(());
            }
        };
        let rules = rules.load();
        let is_behind = decided.len() > ARTICLES_WAITING_MAX;
        for decided in order.next(taken) {
            let articles: &mut dyn Articles = if is_behind { &mut NoArticles } else { articles };
            let settlement =
                settle(&mut desk, &rules.desk, people, articles, Clock::Arrival, decided, |_| ())?;
            if pulse.resting(|| ledger.send(settlement).is_err()) {
                pulse.rest();
                return Ok(());
            }
        }
        pulse.rest();
    }
}

/// Brings each source's batches back into their order: several lanes finish them out of it, and the cursor
/// may only move over what is settled. Holds what the other lanes finish while one holds the next batch.
#[derive(Debug, Default)]
struct Order {
    sources: HashMap<Arc<str>, (u64, BTreeMap<u64, Decided>)>,
}

impl Order {
    /// Takes one batch and gives those whose turn it is.
    fn next(&mut self, decided: Decided) -> Vec<Decided> {
        let source = decided.output.source.clone();
        let (next, early) = self.sources.entry(source).or_default();
        early.insert(decided.output.first_sequence, decided);
        let mut ready = Vec::new();
        while let Some(decided) = early.remove(next) {
            *next = decided.output.end_sequence;
            ready.push(decided);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::Strangers;
    use crate::pipeline::lane::LaneOutput;
    use crate::telemetry::Buckets;

    fn decided(source: &str, first_sequence: u64, end_sequence: u64) -> Decided {
        let output = LaneOutput {
            source: Arc::from(source),
            first_sequence,
            end_sequence,
            position: None,
            buckets: Buckets::default(),
            malformed: Vec::new(),
            gaps: Vec::new(),
            recovered: Vec::new(),
            items: Vec::new(),
            received_at: Timestamp::UNIX_EPOCH,
            patient_permit: None,
        };
        Decided { output, verdicts: Vec::new(), model: Arc::from("model 1"), provisional: false }
    }

    /// As the model thread and the ledger's would.
    #[test]
    fn the_desk_hears_while_nothing_is_to_be_decided_and_before_what_is() {
        use crate::desk::told::{Load, Told, channel};
        let config = crate::config::Config::parse(
            "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n",
        )
        .unwrap();
        let rules = Rules::build(&config.prefilter, &config.desk).unwrap();
        let (to_desk, decisions) = crossbeam::channel::bounded(4);
        let (ledger, settlements) = crossbeam::channel::bounded(4);
        let (teller, hearing) = channel(1);
        let (heard, told) = crossbeam::channel::unbounded();
        let load = |agent: &str| Load { agent: agent.into(), open_tickets: 1, capacity: 0 };
        let desk = std::thread::Builder::new().spawn(move || {
            let rules = ArcSwap::from_pointee(rules);
            let hear = |_: &mut Desk, told| heard.send(told).unwrap();
            run(
                Desk::default(),
                &mut Strangers,
                &mut NoArticles,
                &rules,
                &decisions,
                hearing,
                hear,
                &ledger,
                &Pulse::default(),
            )
            .unwrap();
        });
        let desk = desk.unwrap();
        // Nothing has come from the model yet.
        teller.tell(Told::Agent(load("lena")));
        assert_eq!(told.recv().unwrap(), Heard::Told(Told::Agent(load("lena"))));
        to_desk.send(decided("a", 0, 1)).unwrap();
        assert_eq!(settlements.recv().unwrap().end_sequence, 1);
        // A ledger that has ended keeps nobody from deciding, or from ending.
        drop(teller);
        to_desk.send(decided("a", 1, 2)).unwrap();
        assert_eq!(settlements.recv().unwrap().end_sequence, 2);
        drop(to_desk);
        desk.join().unwrap();
    }

    /// Who can answer is first one, then, at the next look, another.
    struct Successor(Vec<&'static str>);

    impl People for Successor {
        fn author_of(&mut self, _: &Post<'_>, _: Duration, _: Timestamp) -> Result<desk::Person, Unreadable> {
            Ok(desk::Person::default())
        }

        fn new_agents(&mut self) -> Result<Option<Vec<desk::Agent>>, Unreadable> {
            let agent = |name: &str| desk::Agent {
                name: name.to_owned(),
                team: "billing".to_owned(),
                capacity: 10_000,
                ..desk::Agent::default()
            };
            Ok(self.0.pop().map(|name| vec![agent(name)]))
        }
    }

    fn rules() -> ArcSwap<Rules> {
        let config = crate::config::Config::parse(
            "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n",
        )
        .unwrap();
        ArcSwap::from_pointee(Rules::build(&config.prefilter, &config.desk).unwrap())
    }

    #[test]
    fn agents_are_looked_at_and_their_tickets_move_in_batches_while_nothing_comes() {
        let rules = rules();
        let (to_desk, decisions) = crossbeam::channel::bounded(4);
        let (ledger, _settlements) = crossbeam::channel::bounded(4);
        let (teller, hearing) = crate::desk::told::channel(1);
        let mut desk = Desk::default();
        let count = 2 * desk::ORPHANS_MAX + 1;
        for n in 0..count {
            let id = TicketId::of_post(crate::parse::Network::X, &n.to_string());
            desk.restore_assignment(id, "billing", "lena", true, true);
        }
        let (heard, told) = crossbeam::channel::unbounded();
        let thread = std::thread::Builder::new().spawn(move || {
            let hear = |desk: &mut Desk, told| match told {
                Heard::Agents(agents) => desk.set_agents(&agents),
                Heard::Orphans => {
                    let anew = desk.assign_anew(&desk::Config::default(), Timestamp::UNIX_EPOCH);
                    heard.send(anew.len()).unwrap();
                }
                _ => {}
            };
            let mut people = Successor(vec!["kim", "lena"]);
            let mut articles = NoArticles;
            let pulse = Pulse::default();
            run(desk, &mut people, &mut articles, &rules, &decisions, hearing, hear, &ledger, &pulse)
                .unwrap();
        });
        let thread = thread.unwrap();
        // Generous: it ends as soon as all have come.
        let batches: Vec<_> = (0..3).map_while(|_| told.recv_timeout(Duration::from_secs(60)).ok()).collect();
        assert_eq!(batches, [desk::ORPHANS_MAX, desk::ORPHANS_MAX, 1]);
        drop((to_desk, teller));
        thread.join().unwrap();
    }

    #[test]
    fn the_desk_comes_back_to_changed_tickets_while_there_are_any_and_nothing_else_comes() {
        let rules = rules();
        let (to_desk, decisions) = crossbeam::channel::bounded(4);
        let (ledger, _settlements) = crossbeam::channel::bounded(4);
        let (teller, hearing) = crate::desk::told::channel(1);
        let (heard, told) = crossbeam::channel::unbounded();
        let thread = std::thread::Builder::new().spawn(move || {
            let mut left = 3;
            let hear = |desk: &mut Desk, told: Heard| match told {
                Heard::Told(told) => desk.hear(&told),
                Heard::Changed => {
                    left -= 1;
                    desk.look_for_changed(left > 0);
                    heard.send(left).unwrap();
                }
                _ => {}
            };
            let (mut people, mut articles, pulse) = (Strangers, NoArticles, Pulse::default());
            let desk = Desk::default();
            run(desk, &mut people, &mut articles, &rules, &decisions, hearing, hear, &ledger, &pulse)
                .unwrap();
        });
        let thread = thread.unwrap();
        teller.tell(crate::desk::told::Told::Changed);
        let batches: Vec<_> = (0..3).map_while(|_| told.recv_timeout(Duration::from_secs(60)).ok()).collect();
        assert_eq!(batches, [2, 1, 0]);
        drop((to_desk, teller));
        thread.join().unwrap();
        assert!(told.try_recv().is_err(), "not once none is left");
    }

    #[test]
    fn a_settlement_ends_where_the_last_of_its_batches_does() {
        let decided = decided("a", 3, 5);
        let settlement = settle(
            &mut Desk::default(),
            &desk::Config::default(),
            &mut Strangers,
            &mut NoArticles,
            Clock::Arrival,
            decided,
            |_| (),
        );
        assert_eq!(settlement.unwrap().end_sequence, 5);
    }

    /// As a replay does it: lane, model's verdicts, desk. Posts are id, author, parent and text.
    fn settled(config: &desk::Config, posts: &[(&str, &str, &str, &str)]) -> Settlement {
        use crate::classify::{Language, Verdict};
        use crate::parse::Format;
        use crate::pipeline::lane::Lane;
        use crate::prefilter::{self, Prefilter};
        use crate::source::FrameBatch;
        let brand = prefilter::Brand {
            name: "Lumio".to_owned(),
            handles: vec!["@lumio".to_owned()],
            ..prefilter::Brand::default()
        };
        let prefilter =
            Prefilter::build(&prefilter::Config { brands: vec![brand], ..prefilter::Config::default() })
                .unwrap();
        let mut batch = FrameBatch::empty(Arc::from("a"), Format::Plain, 0);
        for (id, author, reply_to, text) in posts {
            let frame = serde_json::json!({ "id": id, "author": author, "reply_to": reply_to, "text": text });
            batch.push(frame.to_string().as_bytes());
        }
        let watched = Arc::<prefilter::watched::Watched>::default();
        let output = Lane::watching(watched.clone()).process(&prefilter, batch);
        let problem = Verdict {
            sentiment: [1.0, 0.0, 0.0],
            intent: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            urgency: [0.0, 1.0, 0.0],
            language: Language::UNCLEAR,
        };
        let verdicts = output.candidates().map(|_| problem).collect();
        let decided = Decided { output, verdicts, model: Arc::from("model 1"), provisional: false };
        let mut desk = Desk::default();
        desk.conversations.watched_by(watched);
        settle(&mut desk, config, &mut Strangers, &mut NoArticles, Clock::Posts, decided, |_| ()).unwrap()
    }

    #[test]
    fn a_conversation_is_one_ticket_and_every_frame_ends_somewhere() {
        use crate::ledger::Scratch;
        let posts = [
            ("1", "ana", "", "@lumio panne"),
            ("2", "ana", "", "@lumio toujours la panne"),
            ("3", "ana", "1", "toujours rien"),
            ("4", "bob", "1", "essaie de redémarrer"),
            ("5", "lumio", "1", "bonjour, nous regardons"),
            ("6", "ana", "5", "alors ?"),
            ("3", "ana", "1", "toujours rien"),
            ("7", "bob", "8", "rien à voir"),
        ];
        let settlement = settled(&desk::Config::default(), &posts);
        let (buckets, outcome) = Scratch::new().unwrap().settle(&settlement).unwrap();
        let counts = [Bucket::Ticketed, Bucket::Merged, Bucket::Own, Bucket::Duplicate, Bucket::Unmatched];
        assert_eq!((counts.map(|bucket| buckets[bucket]), buckets.received()), ([1, 3, 1, 1, 2], 8));
        assert_eq!(outcome.updates.len(), 3);
    }

    /// Its ticket may be gone by then, and whoever gets the new one may leave.
    #[test]
    fn what_a_post_needs_that_joins_is_known_if_it_makes_a_ticket_instead() {
        let routes = desk::Routes { default_team: Some("support".to_owned()), ..desk::Routes::default() };
        let config = desk::Config { routes, ..desk::Config::default() };
        let settlement = settled(
            &config,
            &[("1", "ana", "", "@lumio panne"), ("2", "ana", "", "@lumio toujours la panne")],
        );
        let [Entry::Ticket(first), Entry::FollowUp(second)] = &settlement.entries[..] else {
            panic!("{settlement:?}")
        };
        let Otherwise::Ticket(second) = &second.otherwise else { panic!("{second:?}") };
        let needs = |ticket: &NewTicket| ticket.assignee.clone().unwrap().needs;
        assert_eq!(needs(second), needs(first));
        assert_ne!(needs(first).person, 0);
    }

    #[test]
    fn an_answer_that_comes_late_counts_from_when_it_was_given() {
        use crate::parse::{Author, Network};
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut desk = Desk::default();
        let asked = TicketId::of_post(Network::X, "1");
        desk.conversations.begin(asked, Network::X, "ana", &"Lumio".into(), None, 0);
        let ours = Author { id: "lumio".into(), ..Author::default() };
        let mut answer = Post::new(Network::X, "2".into(), ours, "bonjour".into());
        answer.reply_to = Some("1".into());
        answer.seen_at = Some(at(100));
        let mut decided = decided("a", 0, 1);
        decided.output.received_at = at(5000);
        decided.output.items.push(Item::Answer(Box::new(answer)));
        let (people, config) = (&mut Strangers, desk::Config::default());
        let settled =
            settle(&mut desk, &config, people, &mut NoArticles, Clock::Arrival, decided, |_| ()).unwrap();
        let [Entry::Answer { post, .. }] = &*settled.entries else { panic!("{:?}", settled.entries) };
        assert_eq!((post.ticket_id, post.at), (asked, at(100)));
    }

    #[test]
    fn batches_of_several_lanes_are_settled_in_their_sources_order() {
        let mut order = Order::default();
        let mut check = |source: &str, first: u64, end: u64, expected: &[u64]| {
            let ready = order.next(decided(source, first, end));
            let ready: Vec<_> = ready.iter().map(|decided| decided.output.first_sequence).collect();
            assert_eq!(ready, expected, "{source} {first}");
        };
        check("a", 1, 2, &[]);
        check("a", 2, 5, &[]);
        check("b", 0, 1, &[0]);
        check("a", 0, 1, &[0, 1, 2]);
        check("a", 5, 6, &[5]);
        check("b", 1, 2, &[1]);
    }
}
