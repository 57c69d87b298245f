//! Deliveries against a helpdesk in memory that fails and a bridge that dies, at any moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::bridge::helpdesk::Case;
use crate::bridge::text::{FourByte, Shape};
use crate::parse::Network;
use crate::ticket::proto::update::{self, Change};
use crate::ticket::proto::{Post, Ticket, Update};

/// Compiled once: each life of a bridge has them.
static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let levels = ["P1", "P2", "P3", "P4"].map(Into::into);
    let zone = jiff::tz::TimeZone::UTC;
    let shape = Shape { text_chars_max: 30_000, four_byte: FourByte::Keep, levels, zone };
    Texts::new(shape, Vec::new()).unwrap()
});

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq)]
enum Fault {
    NotSent,
    /// Nobody knows; it was done, or not.
    Unclear(bool),
    Limited,
    Refused(u16),
}

#[derive(Debug, Default)]
struct There {
    reference: String,
    level: String,
    body: String,
    /// By number; an erased one is empty.
    notes: BTreeMap<u64, String>,
    made_at_us: i64,
    labelled: bool,
}

/// A helpdesk.
#[derive(Debug, Default)]
struct World {
    tickets: BTreeMap<u64, There>,
    last: u64,
    calls: Vec<&'static str>,
    /// The next calls' faults; after them by chance.
    script: VecDeque<Option<Fault>>,
    random: Option<fastrand::Rng>,
    cannot_find: bool,
    lag_us: i64,
    now_us: i64,
    /// Notes of which nobody was told that they are there.
    lost_notes: BTreeSet<u64>,
}

#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<World>>);

/// A moment at which the bridge may die.
async fn moment() {
    let mut is_over = false;
    std::future::poll_fn(
        |_| if std::mem::replace(&mut is_over, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

impl Fake {
    async fn call<R>(&self, name: &'static str, work: impl FnOnce(&mut World) -> R) -> Result<R, CallError> {
        moment().await;
        let fault = {
            let mut world = self.0.lock();
            world.calls.push(name);
            match (world.script.pop_front(), &mut world.random) {
                (Some(fault), _) => fault,
                (None, Some(random)) => match random.u32(0..20) {
                    0 => Some(Fault::NotSent),
                    1..=3 => Some(Fault::Unclear(false)),
                    4..=6 => Some(Fault::Unclear(true)),
                    7 => Some(Fault::Limited),
                    8 | 9 => Some(Fault::Refused(401)),
                    _ => None,
                },
                (None, None) => None,
            }
        };
        let unclear = || CallError::Unclear("no answer".to_owned());
        match fault {
            None => {}
            Some(Fault::NotSent) => return Err(CallError::NotSent("refused".to_owned())),
            Some(Fault::Unclear(false)) => return Err(unclear()),
            Some(Fault::Unclear(true)) => {
                work(&mut self.0.lock());
                moment().await;
                return Err(unclear());
            }
            Some(Fault::Limited) => return Err(CallError::Limited { status: 429, wait: None }),
            Some(Fault::Refused(status)) => return Err(CallError::Refused { status, words: String::new() }),
        }
        let done = work(&mut self.0.lock());
        moment().await;
        Ok(done)
    }

    async fn change(
        &self,
        name: &'static str,
        case: &Case,
        work: impl FnOnce(&mut There),
    ) -> Result<(), CallError> {
        let id: u64 = case.id.parse().unwrap();
        self.call(name, |world| work(world.tickets.get_mut(&id).unwrap())).await
    }
}

fn text(values: &Values, name: &str) -> String {
    values[name].as_str().unwrap().to_owned()
}

impl Target for Fake {
    async fn find(&self, reference: &str) -> Result<Option<Vec<String>>, CallError> {
        if self.0.lock().cannot_find {
            return Ok(None);
        }
        self.call("find", |world| {
            let (now_us, lag_us) = (world.now_us, world.lag_us);
            let is_found =
                |there: &There| there.reference == reference && there.made_at_us + lag_us <= now_us;
            let found = world.tickets.iter().rev().filter(|(_, there)| is_found(there));
            Some(found.map(|(id, _)| id.to_string()).collect())
        })
        .await
    }

    async fn create(&self, values: &Values) -> Result<Case, (CallError, Option<Case>)> {
        let made = self.call("create", |world| {
            world.last += 1;
            let there = There {
                reference: text(values, "ref"),
                level: text(values, "level"),
                body: text(values, "body"),
                made_at_us: world.now_us,
                ..There::default()
            };
            world.tickets.insert(world.last, there);
            Case { id: world.last.to_string(), captured: Values::new() }
        });
        let case = made.await.map_err(|error| (error, None))?;
        match self.complete(&case, values).await {
            Ok(()) => Ok(case),
            Err(error) => Err((error, Some(case))),
        }
    }

    async fn complete(&self, case: &Case, _values: &Values) -> Result<(), CallError> {
        self.change("complete", case, |there| there.labelled = true).await
    }

    async fn note(&self, case: &Case, values: &Values) -> Result<Values, CallError> {
        let id: u64 = case.id.parse().unwrap();
        let number = self.call("note", |world| {
            world.last += 1;
            let number = world.last;
            world.tickets.get_mut(&id).unwrap().notes.insert(number, text(values, "note"));
            world.lost_notes.insert(number);
            number
        });
        let number = number.await?;
        self.0.lock().lost_notes.remove(&number);
        Ok(Values::from_iter([("number".to_owned(), number.into())]))
    }

    async fn reprioritise(&self, case: &Case, values: &Values) -> Result<(), CallError> {
        self.change("reprioritise", case, |there| there.level = text(values, "level")).await
    }

    async fn erase(&self, case: &Case, values: &Values) -> Result<(), CallError> {
        self.change("erase", case, |there| there.body = text(values, "body")).await
    }

    async fn erase_note(&self, case: &Case, note: &Values, _: &Values) -> Result<(), CallError> {
        let number = note["number"].as_u64().unwrap();
        self.change("erase_note", case, |there| there.notes.get_mut(&number).unwrap().clear()).await
    }
}

/// A daemon's tickets, a helpdesk, and a bridge that can be killed.
struct Trial {
    folder: tempfile::TempDir,
    world: Fake,
    bridge: Option<Bridge<Fake>>,
    when_unknown: WhenUnknown,
    /// Counts of the bridges that have died.
    counts: Counts,
}

const RETRY: Duration = Duration::from_secs(1);
/// When the case store is made; tickets are made later.
const BEGIN_US: i64 = 1_000_000;

impl Trial {
    fn new(world: World) -> Trial {
        let folder = tempfile::tempdir().unwrap();
        let world = Fake(Arc::new(Mutex::new(world)));
        world.0.lock().now_us = BEGIN_US;
        let counts = Counts::default();
        let mut trial = Trial { folder, world, bridge: None, when_unknown: WhenUnknown::Again, counts };
        trial.restart();
        trial
    }

    fn restart(&mut self) {
        if let Some(bridge) = self.bridge.take() {
            let counts = bridge.shared.counts.lock();
            self.counts.unknown += counts.unknown;
            self.counts.adopted += counts.adopted;
        }
        let (now_us, cannot_find, lag_us) = {
            let world = self.world.0.lock();
            (world.now_us, world.cannot_find, world.lag_us)
        };
        let cases = Cases::open(&self.folder.path().join("cases"), now_us).unwrap();
        let policy = Policy {
            retry_min: RETRY,
            retry_max: RETRY * 60,
            when_unknown: self.when_unknown,
            can_find: !cannot_find,
            find_lag: Duration::from_micros(lag_us.unsigned_abs()),
            can_erase_notes: true,
            cases_know_since_us: cases.knows_since_us(),
            started_at_us: now_us,
        };
        let shared = Shared {
            cases: Arc::new(Mutex::new(cases)),
            counts: Arc::default(),
            pace: Arc::new(Pace::new(60)),
        };
        let world = self.world.clone();
        let clock = Arc::new(move || world.0.lock().now_us);
        let texts = TEXTS.clone();
        self.bridge = Some(Bridge::new("trial", self.world.clone(), shared, policy, texts, clock));
    }

    /// Works a delivery off, unless the bridge dies after so many moments.
    fn deliver(&mut self, seq: u64, record: &delivery::Record, moments: usize) -> Option<End> {
        let bridge = self.bridge.as_ref().unwrap();
        let delivery = Delivery { seq, attempt: 1, record: Some(record.clone()) };
        let ended = {
            let mut work = pin!(bridge.work(delivery));
            let mut context = Context::from_waker(Waker::noop());
            (0..moments).find_map(|_| match work.as_mut().poll(&mut context) {
                Poll::Ready(worked) => Some(worked.unwrap().end),
                Poll::Pending => None,
            })
        };
        if ended.is_none() {
            self.restart();
        }
        ended
    }

    fn whole(&mut self, seq: u64, record: &delivery::Record) -> End {
        self.deliver(seq, record, 1_000).unwrap()
    }

    fn counts(&self) -> Counts {
        self.bridge.as_ref().unwrap().shared.counts.lock().clone()
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.world.0.lock().calls)
    }
}

fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::X, post)
}

fn post(id: &str) -> Post {
    Post { id: id.to_owned(), network: "x".to_owned(), text: format!("secret {id}"), ..Post::default() }
}

fn ticket(name: &str) -> delivery::Record {
    delivery::Record::Ticket(Ticket {
        id: id(name).as_bytes().to_vec(),
        post: Some(post(name)),
        brand: "Lumio".to_owned(),
        priority: 500,
        level: 2,
        created_at_us: BEGIN_US + 1,
        ..Ticket::default()
    })
}

fn change(name: &str, change: Change) -> delivery::Record {
    let ticket_id = id(name).as_bytes().to_vec();
    delivery::Record::Update(Update { ticket_id, at_us: 1, change: Some(change) })
}

fn followed_up(name: &str, by: &str, level: i32) -> delivery::Record {
    let followed = update::FollowedUp { post: Some(post(by)), level, ..update::FollowedUp::default() };
    change(name, Change::FollowedUp(followed))
}

fn erased() -> Change {
    Change::Erased(update::Erased { reason: "post_deleted".to_owned() })
}

#[test]
fn a_ticket_is_made_once_and_a_delivery_that_comes_again_asks_for_no_call() {
    let mut trial = Trial::new(World::default());
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.calls(), ["create", "complete"]);
    trial.restart();
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.whole(2, &followed_up("a", "b", 1)), End::Ack);
    assert_eq!(trial.calls(), ["reprioritise", "note"]);
    assert_eq!(trial.whole(2, &followed_up("a", "b", 1)), End::Ack);
    assert_eq!(trial.calls(), [""; 0]);
    assert_eq!(trial.world.0.lock().tickets[&1].level, "P1");
}

#[test]
fn what_follows_a_ticket_is_in_its_language() {
    let mut trial = Trial::new(World::default());
    let in_french = |name: &str| {
        let delivery::Record::Ticket(mut french) = ticket(name) else { panic!() };
        french.post.as_mut().unwrap().language = "fr".to_owned();
        delivery::Record::Ticket(french)
    };
    trial.whole(1, &in_french("a"));
    trial.restart();
    trial.whole(2, &change("a", Change::Answered(update::Answered::default())));
    let note = |trial: &Trial| trial.world.0.lock().tickets[&1].notes.values().next_back().unwrap().clone();
    assert!(note(&trial).contains("réponse") || note(&trial).contains("répondu"), "{}", note(&trial));
    // Somebody else joins in, in English: the agent is the same.
    let delivery::Record::Update(mut joined) = followed_up("a", "b", 2) else { panic!() };
    if let Some(Change::FollowedUp(followed)) = &mut joined.change {
        followed.post.as_mut().unwrap().language = "en".to_owned();
    }
    trial.whole(3, &delivery::Record::Update(joined));
    assert!(note(&trial).contains("a réécrit"), "{}", note(&trial));
    trial.whole(4, &change("a", erased()));
    let body = trial.world.0.lock().tickets[&1].body.clone();
    assert!(body.contains("retiré"), "{body}");
    // One that was found after nobody knew.
    trial.world.0.lock().script = [Some(Fault::Unclear(true))].into();
    trial.whole(5, &in_french("c"));
    trial.whole(6, &change("c", erased()));
    assert!(trial.world.0.lock().tickets.values().all(|there| there.body.contains("retiré")));
}

#[test]
fn what_was_forgotten_is_looked_for_before_it_is_made_again() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    {
        let cases = &trial.bridge.as_ref().unwrap().shared.cases;
        let ended = Fact::Read { again_at_us: None };
        cases.lock().apply(id("a"), &[ended], BEGIN_US + 2).unwrap();
        assert_eq!(cases.lock().prune(BEGIN_US + 3, true, 9).unwrap(), 1);
    }
    trial.calls();
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.calls(), ["find", "complete"]);
    assert_eq!(trial.world.0.lock().tickets.len(), 1);
}

#[test]
fn after_an_unclear_end_it_looks_before_it_makes_another() {
    let check = |fault: Fault, expected: &[&str], made: (u64, u64)| {
        let mut trial = Trial::new(World { script: [Some(fault)].into(), ..World::default() });
        assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
        assert_eq!(trial.calls(), expected);
        let counts = trial.counts();
        assert_eq!((counts.made, counts.adopted), made);
        assert_eq!(trial.world.0.lock().tickets.len(), 1);
    };
    check(Fault::Unclear(true), &["create", "find", "complete"], (0, 1));
    check(Fault::Unclear(false), &["create", "find", "create", "complete"], (1, 0));
}

#[test]
fn a_search_that_lags_is_asked_again_when_it_must_know() {
    let world = World { script: [Some(Fault::Unclear(true))].into(), lag_us: 5_000_000, ..World::default() };
    let mut trial = Trial::new(world);
    let End::Back(wait, _) = trial.whole(1, &ticket("a")) else { panic!() };
    assert_eq!(wait, Duration::from_secs(5));
    trial.world.0.lock().now_us += 5_000_000;
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!((trial.counts().adopted, trial.world.0.lock().tickets.len()), (1, 1));
}

#[test]
fn of_two_the_oldest_stays_and_the_other_is_counted() {
    let mut trial = Trial::new(World { script: [Some(Fault::Unclear(true))].into(), ..World::default() });
    // Somebody else, such as an older case store, has made one before.
    let there = There { reference: id("a").to_string(), ..There::default() };
    trial.world.0.lock().tickets.insert(0, there);
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!((trial.counts().adopted, trial.counts().doubled), (1, 1));
    let cases = trial.bridge.as_ref().unwrap().shared.cases.lock();
    assert_eq!(cases.get(id("a")).unwrap().unwrap().place.unwrap().id, "0");
}

#[test]
fn a_ticket_that_an_older_file_may_know_is_looked_for() {
    let mut trial = Trial::new(World::default());
    let there = There { reference: id("a").to_string(), ..There::default() };
    trial.world.0.lock().tickets.insert(7, there);
    let delivery::Record::Ticket(mut old) = ticket("a") else { panic!() };
    old.created_at_us = BEGIN_US - 1;
    assert_eq!(trial.whole(1, &delivery::Record::Ticket(old)), End::Ack);
    assert_eq!(trial.calls(), ["find", "complete"]);
    // A change of a ticket that only the helpdesk knows.
    let there = There { reference: id("b").to_string(), ..There::default() };
    trial.world.0.lock().tickets.insert(8, there);
    assert_eq!(trial.whole(2, &followed_up("b", "c", 1)), End::Ack);
    assert_eq!(trial.calls(), ["find", "reprioritise", "note"]);
}

#[test]
fn what_is_refused_comes_later_each_time_and_holds_up_nobody() {
    let refused = std::iter::repeat_n(Some(Fault::Refused(422)), 3);
    let mut trial = Trial::new(World { script: refused.collect(), ..World::default() });
    let mut waits = Vec::new();
    for _ in 0..3 {
        let End::Back(wait, _) = trial.whole(1, &ticket("a")) else { panic!() };
        waits.push(wait.as_secs());
        trial.restart();
    }
    assert_eq!(waits[0], 1);
    // The first refusal had no entry to be counted in but that of the attempt.
    assert!(waits.is_sorted() && waits[2] > waits[0], "{waits:?}");
    assert_eq!(trial.whole(2, &ticket("b")), End::Ack);
    assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
    assert_eq!(trial.world.0.lock().tickets.len(), 2);
}

#[test]
fn a_helpdesk_that_takes_nothing_is_waited_for() {
    for fault in [Fault::Refused(401), Fault::Refused(404), Fault::NotSent, Fault::Limited] {
        let mut trial = Trial::new(World { script: [Some(fault)].into(), ..World::default() });
        assert!(matches!(trial.whole(1, &ticket("a")), End::Hold(_)));
        trial.calls();
        assert_eq!(trial.whole(1, &ticket("a")), End::Ack);
        assert_eq!(trial.calls(), ["create", "complete"], "it is known that nothing was done");
    }
    // Nobody answers: after a few of them it is not the tickets' fault.
    let silent = std::iter::repeat_n(Some(Fault::Unclear(false)), 9);
    let mut trial = Trial::new(World { script: silent.collect(), ..World::default() });
    let ends: Vec<End> = (1..=3).map(|seq| trial.whole(seq, &ticket(&seq.to_string()))).collect();
    assert!(matches!(&ends[..], [End::Back(..), End::Hold(_), End::Hold(_)]), "{ends:?}");
}

#[test]
fn changes_that_are_refused_for_good_do_not_hold_up_an_erasure() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().script = std::iter::repeat_n(Some(Fault::Refused(422)), 6).collect();
    let note = change("a", Change::Answered(update::Answered::default()));
    let ends: Vec<bool> = (0..6).map(|_| trial.whole(2, &note) == End::Ack).collect();
    assert_eq!(ends, [false, false, false, false, false, true]);
    trial.world.0.lock().script = std::iter::repeat_n(Some(Fault::Refused(422)), 20).collect();
    assert!(
        (0..20).all(|_| trial.whole(3, &change("a", erased())) != End::Ack),
        "erasures are tried for ever"
    );
    assert_eq!(trial.whole(3, &change("a", erased())), End::Ack);
    assert_eq!(trial.counts().erased, 1);
}

#[test]
fn an_erasure_takes_the_notes_that_quote_the_text() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.whole(2, &followed_up("a", "b", 2));
    trial.whole(3, &followed_up("a", "c", 2));
    let gone = |post: &str| {
        Change::PostErased(update::PostErased { post_id: post.to_owned(), reason: String::new() })
    };
    let secrets = |trial: &Trial| -> Vec<String> {
        let world = trial.world.0.lock();
        let there = &world.tickets[&1];
        let texts = there.notes.values().chain([&there.body]);
        texts
            .flat_map(|text| {
                text.split_whitespace().skip_while(|word| *word != "secret").nth(1).map(str::to_owned)
            })
            .collect()
    };
    assert_eq!(secrets(&trial), ["b", "c", "a"]);
    trial.whole(4, &change("a", gone("b")));
    assert_eq!(secrets(&trial), ["c", "a"]);
    trial.whole(5, &change("a", gone("a")));
    assert_eq!(secrets(&trial), ["c"], "the ticket's own post");
    trial.whole(6, &change("a", erased()));
    assert_eq!(secrets(&trial), [""; 0]);
    // Nothing is said any more.
    trial.calls();
    assert_eq!(trial.whole(7, &followed_up("a", "d", 1)), End::Ack);
    assert_eq!(trial.calls(), [""; 0]);
}

#[test]
fn a_ticket_that_the_helpdesk_has_no_more_is_left() {
    let mut trial = Trial::new(World::default());
    trial.whole(1, &ticket("a"));
    trial.world.0.lock().script = [Some(Fault::Refused(404))].into();
    assert_eq!(trial.whole(2, &followed_up("a", "b", 2)), End::Ack);
    trial.calls();
    assert_eq!(trial.whole(3, &followed_up("a", "c", 2)), End::Ack);
    assert_eq!(trial.calls(), [""; 0]);
}

/// The daemon's records of some tickets, in each ticket's order.
fn records(random: &mut fastrand::Rng, tickets: usize) -> Vec<VecDeque<(u64, delivery::Record)>> {
    let mut seq = 0;
    let mut next = || {
        seq += 1;
        seq
    };
    (0..tickets)
        .map(|n| {
            let name = format!("t{n}");
            let mut of_one = VecDeque::from([(next(), ticket(&name))]);
            for m in 0..random.usize(0..4) {
                let level = random.i32(1..=4);
                let record = match random.u32(0..4) {
                    0 => followed_up(&name, &format!("t{n}p{m}"), level),
                    1 => change(
                        &name,
                        Change::Rescored(update::Rescored { level, ..update::Rescored::default() }),
                    ),
                    2 => change(
                        &name,
                        Change::Answered(update::Answered {
                            url: format!("u{n}m{m}"),
                            ..update::Answered::default()
                        }),
                    ),
                    _ => followed_up(&name, &format!("t{n}p{m}"), 2),
                };
                of_one.push_back((next(), record));
            }
            if random.u32(0..4) == 0 {
                of_one.push_back((next(), change(&name, erased())));
            }
            of_one
        })
        .collect()
}

/// Delivers everything in any order that the daemon may choose, with faults and deaths, then without.
fn run(trial: &mut Trial, seed: u64) -> (Vec<VecDeque<(u64, delivery::Record)>>, u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    let all = records(&mut random, 8);
    let mut left = all.clone();
    trial.world.0.lock().random = Some(random.fork());
    let (mut turns, mut deaths) = (0, 0);
    while left.iter().any(|of_one| !of_one.is_empty()) {
        turns += 1;
        if turns > 120 {
            trial.world.0.lock().random = None;
        }
        assert!(turns < 5_000, "seed {seed}: it does not end");
        trial.world.0.lock().now_us += random.i64(0..2_000_000);
        let waiting: Vec<usize> = (0..left.len()).filter(|n| !left[*n].is_empty()).collect();
        let at = waiting[random.usize(0..waiting.len())];
        let (seq, record) = left[at][0].clone();
        let moments = if turns <= 120 && random.u32(0..3) == 0 { random.usize(1..10) } else { 10_000 };
        match trial.deliver(seq, &record, moments) {
            // Now and then the acknowledgement is lost with the bridge.
            Some(End::Ack) if turns <= 120 && random.u32(0..8) == 0 => {
                trial.restart();
                deaths += 1;
            }
            Some(End::Ack) => drop(left[at].pop_front()),
            Some(_) => {}
            None => deaths += 1,
        }
    }
    (all, deaths)
}

/// What must be there in the end, whatever happened.
fn check(trial: &Trial, all: &[VecDeque<(u64, delivery::Record)>], seed: u64) {
    let world = trial.world.0.lock();
    for (n, of_one) in all.iter().enumerate() {
        let reference = id(&format!("t{n}")).to_string();
        let there: Vec<&There> =
            world.tickets.values().filter(|there| there.reference == reference).collect();
        assert_eq!(there.len(), 1, "seed {seed}, ticket {n}: not once");
        let there = there[0];
        assert!(there.labelled, "seed {seed}, ticket {n}: not complete");
        let is_erased = of_one.iter().any(|(_, record)| {
            matches!(record, delivery::Record::Update(Update { change: Some(Change::Erased(_)), .. }))
        });
        let mut level = "P2".to_owned();
        for (_, record) in of_one {
            let delivery::Record::Update(update) = record else { continue };
            let about = About { reference: &reference, brand: "", language: Some(Language::En), level: None };
            let note = text(&TEXTS.update(&about, update), "note");
            let is_told = match &update.change {
                Some(Change::Rescored(rescored)) => rescored.unsupported,
                Some(Change::Erased(_)) | None => false,
                Some(_) => true,
            };
            if is_told && !is_erased {
                assert!(
                    there.notes.values().any(|there| *there == note),
                    "seed {seed}, ticket {n}: {note:?} is lost"
                );
            }
            match &update.change {
                Some(Change::FollowedUp(followed)) => level = followed.level().as_str_name().to_owned(),
                Some(Change::Rescored(rescored)) => level = rescored.level().as_str_name().to_owned(),
                _ => {}
            }
        }
        assert_eq!(there.level, level, "seed {seed}, ticket {n}");
        if is_erased {
            assert!(!there.body.contains("secret"), "seed {seed}, ticket {n}: {}", there.body);
            let kept = there.notes.iter().filter(|(number, _)| !world.lost_notes.contains(number));
            let secrets = kept.filter(|(_, note)| note.contains("secret")).count();
            assert_eq!(secrets, 0, "seed {seed}, ticket {n}: notes still hold the text");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_and_whenever_it_dies_each_ticket_is_there_once(seed: u64, lag_s in 0..6_i64) {
        // Refusals for good let agents do without some change; they are tried apart.
        let mut trial = Trial::new(World { lag_us: lag_s * 1_000_000, ..World::default() });
        let (all, deaths) = run(&mut trial, seed);
        check(&trial, &all, seed);
        prop_assert!(deaths > 0);
    }

    #[test]
    fn without_a_search_the_policy_holds_and_the_rest_is_counted(seed: u64, leave: bool) {
        let mut trial = Trial::new(World { cannot_find: true, ..World::default() });
        trial.when_unknown = if leave { WhenUnknown::Leave } else { WhenUnknown::Again };
        trial.restart();
        let (all, _) = run(&mut trial, seed);
        let unknown = trial.counts.unknown + trial.counts().unknown;
        let world = trial.world.0.lock();
        let mut missing = 0;
        for n in 0..all.len() {
            let reference = id(&format!("t{n}")).to_string();
            let times = world.tickets.values().filter(|there| there.reference == reference).count();
            prop_assert!(!(leave && times > 1), "ticket {} is there {} times", n, times);
            prop_assert!(leave || times >= 1, "ticket {} is lost", n);
            missing += u64::from(times == 0);
        }
        prop_assert!(missing <= unknown, "{missing} missing, {unknown} counted");
    }
}
