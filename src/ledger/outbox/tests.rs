//! The outbox against tables, and against a twin that keeps a list and searches it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ticket::TicketId;

const NAME: &str = "desk";
const ANNE: ClientId = ClientId(1);
const BILL: ClientId = ClientId(2);

fn head(seq: u64, ticket: u64, rank: i64, due_at_us: i64, brand: &str) -> Arc<RecordHead> {
    Arc::new(RecordHead {
        seq: Seq::new(seq).unwrap(),
        ticket_id: TicketId::of_post(Network::X, &ticket.to_string()),
        ticket_seq: Seq::new(seq).unwrap(),
        rank,
        due_at_us,
        traits: Traits {
            brand: brand.into(),
            network: Network::X,
            language: "fr".into(),
            intent: "outage".into(),
            priority: 500,
            rescored: None,
        },
    })
}

fn seqs(numbers: &[u64]) -> Vec<Seq> {
    numbers.iter().map(|number| Seq::new(*number).unwrap()).collect()
}

fn opened(heads: &[Arc<RecordHead>]) -> (Outbox, Instant) {
    let mut outbox = Outbox::new();
    outbox.open(NAME, Filter::default(), heads.iter().cloned());
    (outbox, Instant::now())
}

fn take_all(outbox: &mut Outbox, client: ClientId, now: Instant) -> Vec<(u64, u32)> {
    std::iter::from_fn(|| outbox.take(NAME, client, now))
        .map(|taken| (taken.seq.get(), taken.attempt))
        .collect()
}

#[test]
fn greater_rank_then_nearer_due_then_smaller_seq_goes_first() {
    let heads = [
        head(1, 1, 5, 90, "lumio"),
        head(2, 2, 9, 80, "lumio"),
        head(3, 3, 9, 70, "lumio"),
        head(4, 4, 5, 90, "lumio"),
        head(5, 5, 7, 10, "lumio"),
    ];
    let (mut outbox, now) = opened(&heads);
    assert_eq!(take_all(&mut outbox, ANNE, now), [(3, 1), (2, 1), (5, 1), (1, 1), (4, 1)]);
}

/// Its first form would look out of order otherwise.
#[test]
fn a_record_comes_with_what_its_ticket_has_come_to() {
    let now_at = |rank: i64, rescored: Option<u16>| {
        let mut record = (*head(1, 1, rank, 0, "lumio")).clone();
        record.traits.rescored = rescored.map(|priority| (priority, "outage".into()));
        Arc::new(record)
    };
    let check = |rescored: Option<u16>, expected: Option<u16>| {
        let first = now_at(500, None);
        let (mut outbox, now) = opened(&[first.clone(), head(2, 2, 600, 0, "lumio")]);
        outbox.rerank(&[Reranked {
            records: vec![(now_at(720, rescored), Vec::new())],
            place_before: super::Place::of(&first),
            rescored_before: None,
        }]);
        let taken: Vec<_> = std::iter::from_fn(|| outbox.take(NAME, ANNE, now))
            .map(|taken| (taken.seq.get(), taken.priority_now))
            .collect();
        assert_eq!(taken, [(1, expected), (2, None)], "{rescored:?}");
    };
    check(Some(720), Some(720));
    check(Some(0), Some(0));
    check(Some(500), None);
    check(None, None);
}

#[test]
fn acknowledgements_are_counted_once_and_only_for_what_was_in_flight() {
    let (mut outbox, now) =
        opened(&[head(1, 1, 5, 0, "lumio"), head(2, 2, 4, 0, "lumio"), head(3, 3, 3, 0, "lumio")]);
    let counted = |outbox: &Outbox| outbox.counts().map(|counts| counts.acknowledged).sum::<u64>();
    take_all(&mut outbox, ANNE, now);
    assert_eq!(counted(&outbox), 0);
    outbox.acknowledge(NAME, &seqs(&[1, 3]));
    outbox.acknowledge(NAME, &seqs(&[1, 99]));
    assert_eq!(counted(&outbox), 2);
}

#[test]
fn an_update_waits_until_its_ticket_is_acknowledged() {
    let (mut outbox, now) = opened(&[]);
    let (ticket, update) = (head(1, 1, 1, 0, "lumio"), head(2, 1, 900, 0, "lumio"));
    outbox.publish(&[ticket, update, head(3, 3, 500, 0, "lumio")]);
    assert_eq!(take_all(&mut outbox, ANNE, now), [(3, 1), (1, 1)], "behind its pending ticket");
    assert_eq!(take_all(&mut outbox, BILL, now), [], "behind its ticket in flight");
    let later = now + Duration::from_secs(60);
    assert!(outbox.nack(NAME, ANNE, Seq::new(1).unwrap(), Some(later)));
    assert_eq!(take_all(&mut outbox, BILL, now), [], "behind its deferred ticket");
    assert_eq!(take_all(&mut outbox, BILL, later), [(1, 2)]);
    assert!(outbox.acknowledge(NAME, &seqs(&[1])), "the update is ready now");
    assert_eq!(take_all(&mut outbox, BILL, later), [(2, 1)]);
    assert!(!outbox.acknowledge(NAME, &seqs(&[2])));
}

#[test]
fn what_a_lost_client_had_is_pending_again_with_its_attempts() {
    let (mut outbox, now) = opened(&[head(1, 1, 1, 0, "lumio"), head(2, 2, 2, 0, "lumio")]);
    assert_eq!(take_all(&mut outbox, ANNE, now), [(2, 1), (1, 1)]);
    assert_eq!(outbox.release(NAME, BILL), 0);
    outbox.acknowledge(NAME, &seqs(&[2]));
    assert_eq!(outbox.release(NAME, ANNE), 1);
    assert_eq!(take_all(&mut outbox, BILL, now), [(1, 2)]);
}

#[test]
fn a_nack_by_another_client_changes_nothing() {
    let (mut outbox, now) = opened(&[head(1, 1, 1, 0, "lumio")]);
    take_all(&mut outbox, ANNE, now);
    assert!(!outbox.nack(NAME, BILL, Seq::new(1).unwrap(), None));
    assert!(!outbox.nack(NAME, ANNE, Seq::new(7).unwrap(), None));
    assert!(!outbox.nack("unknown", ANNE, Seq::new(1).unwrap(), None));
    assert_eq!(take_all(&mut outbox, BILL, now), []);
}

#[test]
fn a_new_filter_applies_to_what_is_pending_and_to_what_comes_back() {
    let heads = [head(1, 1, 3, 0, "lumio"), head(2, 2, 2, 0, "volt"), head(3, 3, 1, 0, "volt")];
    let (mut outbox, now) = opened(&heads);
    assert_eq!(outbox.take(NAME, ANNE, now).unwrap().seq.get(), 1);
    let volt = Filter { brands: vec!["VOLT".into()], ..Filter::default() };
    outbox.open(NAME, volt, heads.iter().cloned());
    assert_eq!(outbox.release(NAME, ANNE), 1);
    assert_eq!(take_all(&mut outbox, BILL, now), [(2, 1), (3, 1)]);
}

#[test]
fn a_deferral_outlives_a_new_filter() {
    let heads = [head(1, 1, 3, 0, "lumio")];
    let (mut outbox, now) = opened(&heads);
    let until = now + Duration::from_secs(5);
    outbox.take(NAME, ANNE, now);
    outbox.nack(NAME, ANNE, heads[0].seq, Some(until));
    outbox.open(NAME, Filter::default(), heads);
    assert_eq!(outbox.next_deadline(NAME), Some(until));
    assert_eq!(outbox.pending(NAME), 1);
    assert_eq!(take_all(&mut outbox, ANNE, now), []);
    assert_eq!(take_all(&mut outbox, ANNE, until), [(1, 2)]);
}

#[test]
fn publishing_what_open_brought_delivers_it_once() {
    let heads = [head(1, 1, 1, 0, "lumio"), head(2, 2, 1, 0, "lumio")];
    let (mut outbox, now) = opened(&heads);
    outbox.publish(&heads);
    assert_eq!(take_all(&mut outbox, ANNE, now), [(1, 1), (2, 1)]);
    outbox.acknowledge(NAME, &seqs(&[1, 2]));
    outbox.publish(&heads);
    assert_eq!(take_all(&mut outbox, ANNE, now), []);
}

#[test]
fn names_are_limited_but_those_open_stay_welcome() {
    let mut outbox = Outbox::new();
    for number in 0..SUBSCRIPTIONS_MAX {
        assert!(outbox.has_room_for(&number.to_string()));
        outbox.open(&number.to_string(), Filter::default(), []);
    }
    assert!(outbox.has_room_for("0"));
    assert!(!outbox.has_room_for("another"));
}

#[test]
fn filters_ask_all_given_fields_and_one_of_each_list() {
    let traits = Traits {
        brand: "Élan".into(),
        network: Network::Bluesky,
        language: "fr".into(),
        intent: "outage".into(),
        priority: 400,
        rescored: None,
    };
    let check = |change: &dyn Fn(&mut Filter), expected: bool| {
        let mut filter = Filter::default();
        change(&mut filter);
        assert_eq!(filter.matches(&traits), expected, "{filter:?}");
    };
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    check(&|_| {}, true);
    check(&|filter| filter.brands = list(&["lumio", "éLAN"]), true);
    check(&|filter| filter.brands = list(&["lumio"]), false);
    check(&|filter| filter.brands = list(&["élan plus"]), false);
    check(&|filter| filter.networks = vec![Network::X, Network::Bluesky], true);
    check(&|filter| filter.networks = vec![Network::X], false);
    check(&|filter| filter.languages = list(&["en", "FR"]), true);
    check(&|filter| filter.languages = list(&["en"]), false);
    check(&|filter| filter.intents = list(&["outage"]), true);
    check(&|filter| filter.intents = list(&["praise"]), false);
    check(&|filter| filter.priority_min = 400, true);
    check(&|filter| filter.priority_min = 401, false);
    check(&|filter| (filter.languages, filter.priority_min) = (list(&["fr"]), 401), false);
}

#[test]
fn ranks_age_by_one_point_a_step() {
    const STEP_US: i64 = 36_000_000;
    let check = |first: (u16, i64), second: (u16, i64), rate: u32, expected: std::cmp::Ordering| {
        let order = rank(first.0, first.1, rate).cmp(&rank(second.0, second.1, rate));
        assert_eq!(order, expected, "{first:?} {second:?} at {rate}");
    };
    use std::cmp::Ordering::{Equal, Greater, Less};
    let rate = AGEING_POINTS_PER_HOUR;
    check((500, 0), (500, STEP_US - 1), rate, Equal);
    check((500, 0), (500, STEP_US), rate, Greater);
    check((500, 0), (501, STEP_US), rate, Equal);
    check((0, 0), (1000, 1000 * STEP_US), rate, Equal);
    check((0, 0), (1000, 1001 * STEP_US), rate, Greater);
    check((0, 0), (1000, 999 * STEP_US), rate, Less);
    check((1, -1), (1, 0), rate, Greater);
    check((3, 0), (3, i64::MAX), 0, Equal);
    check((3, i64::MIN), (3, i64::MAX), u32::MAX, Greater);
}

/// Keeps every record of one subscription in a list and searches all of it each time.
#[derive(Default)]
struct Twin {
    filter: Filter,
    records: BTreeMap<u64, TwinRecord>,
}

struct TwinRecord {
    head: Arc<RecordHead>,
    place: Place,
    attempts: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Pending,
    InFlight(ClientId),
    Deferred(Instant),
}

impl Twin {
    fn admit(&mut self, head: &Arc<RecordHead>) {
        if self.filter.matches(&head.traits) {
            let record = TwinRecord { head: Arc::clone(head), place: Place::Pending, attempts: 0 };
            self.records.entry(head.seq.get()).or_insert(record);
        }
    }

    fn open(&mut self, filter: Filter, heads: &[Arc<RecordHead>]) {
        self.filter = filter;
        self.records.retain(|_, record| {
            matches!(record.place, Place::InFlight(_)) || self.filter.matches(&record.head.traits)
        });
        heads.iter().for_each(|head| self.admit(head));
    }

    fn take(&mut self, client: ClientId, now: Instant) -> Option<(u64, u32)> {
        let leads = |record: &TwinRecord| {
            let same = |other: &&TwinRecord| other.head.ticket_id == record.head.ticket_id;
            self.records.values().find(same).is_some_and(|first| first.head.seq == record.head.seq)
        };
        let ready = |record: &&TwinRecord| match record.place {
            Place::Pending => leads(record),
            Place::Deferred(until) => until <= now && leads(record),
            Place::InFlight(_) => false,
        };
        let order = |record: &&TwinRecord| (-record.head.rank, record.head.due_at_us, record.head.seq);
        let seq = self.records.values().filter(ready).min_by_key(order)?.head.seq.get();
        let record = self.records.get_mut(&seq).unwrap();
        record.place = Place::InFlight(client);
        record.attempts += 1;
        Some((seq, record.attempts))
    }

    fn put_back(&mut self, seq: u64, place: Place) {
        if self.filter.matches(&self.records[&seq].head.traits) {
            self.records.get_mut(&seq).unwrap().place = place;
        } else {
            self.records.remove(&seq);
        }
    }

    fn held_by(&self, client: ClientId) -> Vec<u64> {
        let held =
            |(seq, record): (&u64, &TwinRecord)| (record.place == Place::InFlight(client)).then_some(*seq);
        self.records.iter().filter_map(held).collect()
    }

    /// What is deferred and due counts as pending or deferred as the outbox pleases.
    fn counts(&self) -> (usize, usize) {
        let in_flight = |record: &&TwinRecord| matches!(record.place, Place::InFlight(_));
        let flying = self.records.values().filter(in_flight).count();
        (self.records.len() - flying, flying)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open { name: usize, brand: usize },
    Publish { records: Vec<(u64, i64, i64)> },
    Take { name: usize, client: u64 },
    Acknowledge { name: usize, nth: usize },
    Nack { name: usize, client: u64, nth: usize, delay_s: Option<u64> },
    Release { name: usize, client: u64 },
    Pass { seconds: u64 },
    Rerank { ticket: u64, rank: i64, due_at_us: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (name, client, nth) = (0..2_usize, 0..3_u64, 0..8_usize);
    let step = prop_oneof![
        1 => (name.clone(), 0..3_usize).prop_map(|(name, brand)| Step::Open { name, brand }),
        3 => prop::collection::vec((0..8_u64, 0..3_i64, 0..3_i64), 1..4)
            .prop_map(|records| Step::Publish { records }),
        6 => (name.clone(), client.clone()).prop_map(|(name, client)| Step::Take { name, client }),
        3 => (name.clone(), nth.clone()).prop_map(|(name, nth)| Step::Acknowledge { name, nth }),
        3 => (name.clone(), client.clone(), nth, prop::option::of(0..20_u64))
            .prop_map(|(name, client, nth, delay_s)| Step::Nack { name, client, nth, delay_s }),
        1 => (name, client).prop_map(|(name, client)| Step::Release { name, client }),
        1 => (0..15_u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => (0..8_u64, 0..3_i64, 0..3_i64)
            .prop_map(|(ticket, rank, due_at_us)| Step::Rerank { ticket, rank, due_at_us }),
    ];
    prop::collection::vec(step, 1..120)
}

const NAMES: [&str; 2] = ["desk", "archive"];
/// A ticket's brand follows from its number, so that its records pass a filter together.
const BRANDS: [&str; 2] = ["lumio", "volt"];

fn filter_of(brand: usize) -> Filter {
    Filter {
        brands: BRANDS.get(brand).map(|brand| (*brand).to_owned()).into_iter().collect(),
        ..Filter::default()
    }
}

proptest! {
    #[test]
    fn the_outbox_does_what_its_twin_does(steps in steps()) {
        let start = Instant::now();
        let mut now = start;
        let mut outbox = Outbox::new();
        let mut twins: BTreeMap<&str, Twin> = BTreeMap::new();
        // What a ledger would hold: every record, and which ones each name has acknowledged.
        let mut recorded: Vec<Arc<RecordHead>> = Vec::new();
        let mut acknowledged: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        let mut reranked: BTreeSet<Seq> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Open { name, brand } => {
                    let done = acknowledged.entry(NAMES[name]).or_default();
                    let heads: Vec<_> =
                        recorded.iter().filter(|head| !done.contains(&head.seq.get())).cloned().collect();
                    outbox.open(NAMES[name], filter_of(brand), heads.iter().rev().cloned());
                    twins.entry(NAMES[name]).or_default().open(filter_of(brand), &heads);
                }
                Step::Publish { records } => {
                    let mut heads = Vec::new();
                    for (ticket, rank, due) in records {
                        let seq = (recorded.len() + 1) as u64;
                        heads.push(head(seq, ticket, rank, due, BRANDS[ticket as usize % 2]));
                        recorded.extend(heads.last().cloned());
                    }
                    outbox.publish(&heads);
                    for twin in twins.values_mut() {
                        heads.iter().for_each(|head| twin.admit(head));
                    }
                }
                Step::Take { name, client } => {
                    let taken = outbox.take(NAMES[name], ClientId(client), now);
                    let expected = twins.get_mut(NAMES[name]).and_then(|twin| twin.take(ClientId(client), now));
                    prop_assert_eq!(taken.map(|taken| (taken.seq.get(), taken.attempt)), expected);
                    if let Some((seq, _)) = expected {
                        prop_assert!(!acknowledged[NAMES[name]].contains(&seq), "{seq} again after its ack");
                    }
                }
                // Mostly what is in flight, at times a record anywhere, at times one that is unknown.
                Step::Acknowledge { name, nth } => {
                    let Some(twin) = twins.get_mut(NAMES[name]) else { continue };
                    let held = twin.held_by(ClientId(0));
                    let any = twin.records.keys().nth(nth).copied();
                    let seq = held.get(nth).copied().or(any).unwrap_or(nth as u64 + 1000);
                    outbox.acknowledge(NAMES[name], &seqs(&[seq]));
                    twin.records.remove(&seq);
                    acknowledged.entry(NAMES[name]).or_default().insert(seq);
                }
                Step::Nack { name, client, nth, delay_s } => {
                    let Some(twin) = twins.get_mut(NAMES[name]) else { continue };
                    let until = delay_s.map(|seconds| now + Duration::from_secs(seconds));
                    let held = twin.held_by(ClientId(client)).get(nth).copied();
                    let seq = Seq::new(held.unwrap_or(1000)).unwrap();
                    prop_assert_eq!(outbox.nack(NAMES[name], ClientId(client), seq, until), held.is_some());
                    if let Some(seq) = held {
                        twin.put_back(seq, until.map_or(Place::Pending, Place::Deferred));
                    }
                }
                Step::Release { name, client } => {
                    let Some(twin) = twins.get_mut(NAMES[name]) else { continue };
                    let held = twin.held_by(ClientId(client));
                    prop_assert_eq!(outbox.release(NAMES[name], ClientId(client)), held.len());
                    held.into_iter().for_each(|seq| twin.put_back(seq, Place::Pending));
                }
                Step::Pass { seconds } => now += Duration::from_secs(seconds),
                Step::Rerank { ticket, rank, due_at_us } => {
                    let id = TicketId::of_post(Network::X, &ticket.to_string());
                    let first = recorded.iter_mut().find(|head| head.ticket_id == id);
                    let Some(first) = first.filter(|head| reranked.insert(head.seq)) else { continue };
                    let place_before = super::Place::of(first);
                    *first = Arc::new(RecordHead { rank, due_at_us, ..(**first).clone() });
                    outbox.rerank(&[Reranked {
                        records: vec![(first.clone(), Vec::new())],
                        place_before,
                        rescored_before: None,
                    }]);
                    for twin in twins.values_mut() {
                        if let Some(record) = twin.records.get_mut(&first.seq.get()) {
                            record.head = first.clone();
                        }
                    }
                }
            }
            for counts in outbox.counts() {
                let twin = twins[counts.name.as_str()].counts();
                prop_assert_eq!((counts.pending + counts.deferred, counts.in_flight), twin);
            }
        }
        // Nothing is lost: with all clients gone and all delays over, the rest comes out in order.
        for (name, mut twin) in twins {
            for client in (0..3).map(ClientId) {
                outbox.release(name, client);
                twin.held_by(client).into_iter().for_each(|seq| twin.put_back(seq, Place::Pending));
            }
            let end = now + Duration::from_secs(1000);
            while let Some(expected) = twin.take(ANNE, end) {
                let taken = outbox.take(name, ANNE, end).map(|taken| (taken.seq.get(), taken.attempt));
                prop_assert_eq!(taken, Some(expected));
                outbox.acknowledge(name, &seqs(&[expected.0]));
                twin.records.remove(&expected.0);
            }
            prop_assert!(twin.records.is_empty());
            prop_assert_eq!(outbox.take(name, ANNE, end), None);
            prop_assert_eq!(outbox.pending(name), 0);
        }
    }
}

#[test]
fn a_subscription_that_starts_next_gets_no_update_of_an_earlier_ticket() {
    let mut outbox = Outbox::new();
    outbox.start_after(NAME, 5);
    outbox.open(NAME, Filter::default(), []);
    let update = |seq: u64, ticket_seq: u64| {
        let mut update = (*head(seq, ticket_seq, 0, 0, "lumio")).clone();
        update.ticket_seq = Seq::new(ticket_seq).unwrap();
        Arc::new(update)
    };
    // The last ticket before the start is one of those that were never wanted.
    outbox.publish(&[update(6, 4), update(7, 5), update(8, 8), update(9, 8)]);
    assert_eq!(outbox.pending(NAME), 2);
}

#[test]
fn an_open_subscription_is_known_by_its_filter() {
    let mut outbox = Outbox::new();
    let filter = |priority_min| Filter { priority_min, ..Filter::default() };
    assert!(!outbox.is_open_with(NAME, &filter(0)));
    outbox.open(NAME, filter(5), []);
    assert!(outbox.is_open_with(NAME, &filter(5)) && !outbox.is_open_with(NAME, &filter(0)));
}

#[test]
fn news_is_only_where_something_became_ready() {
    let mut outbox = Outbox::new();
    let volt = Filter { brands: vec!["volt".into()], ..Filter::default() };
    outbox.open("lumio", Filter { brands: vec!["lumio".into()], ..Filter::default() }, []);
    outbox.open("volt", volt, []);
    let mut check = |head: Arc<RecordHead>, expected: &[&str]| {
        outbox.publish(&[head]);
        let mut news = Vec::new();
        outbox.take_news(|name| news.push(name.to_owned()));
        assert_eq!(news, expected);
    };
    check(head(1, 1, 5, 0, "lumio"), &["lumio"]);
    check(head(2, 2, 5, 0, "volt"), &["volt"]);
    check(head(3, 2, 5, 0, "volt"), &[]);
    check(head(4, 4, 5, 0, "other"), &[]);
}

/// People who look have places of their own, and helpdesks theirs.
#[test]
fn subscriptions_without_a_name_take_no_place_of_a_name_and_have_a_limit_of_their_own() {
    let mut outbox = Outbox::new();
    let name = |owner: &str, number: usize| unnamed(owner, ClientId(number as u64));
    let open = |outbox: &mut Outbox, name: &str| {
        let mut filled = Outbox::new();
        filled.open(name, Filter::default(), []);
        outbox.take_over(filled);
        outbox.is_open(name)
    };
    for number in 0..UNNAMED_OWNED_MAX {
        assert!(outbox.expect(&name("agency/", number)));
        assert!(open(&mut outbox, &name("agency/", number)));
    }
    assert!(!outbox.expect(&name("agency/", 99)), "a limited token has its share");
    for number in UNNAMED_OWNED_MAX..UNNAMED_MAX {
        assert!(outbox.expect(&name("", number)), "{number}");
        assert!(open(&mut outbox, &name("", number)));
    }
    assert!(!outbox.expect(&name("", 99)));
    for number in 0..SUBSCRIPTIONS_MAX {
        let named =
            if number < SUBSCRIPTIONS_OWNED_MAX { format!("agency/{number}") } else { number.to_string() };
        assert!(outbox.has_room_for(&named), "{named}");
        outbox.open(&named, Filter::default(), []);
    }
    assert!(!outbox.has_room_for("another"));

    outbox.close(&name("", 20));
    assert!(!outbox.is_open(&name("", 20)));
    assert!(outbox.expect(&name("", 100)), "its place is free");
}

/// Its client went between the question and the answer.
#[test]
fn a_subscription_without_a_name_that_is_filled_after_its_end_is_dropped() {
    let mut outbox = Outbox::new();
    let name = unnamed("", ClientId(1));
    assert!(outbox.expect(&name));
    outbox.close(&name);
    let mut filled = Outbox::new();
    filled.open(&name, Filter::default(), []);
    outbox.take_over(filled);
    assert_eq!(outbox.counts().count(), 0);
}
