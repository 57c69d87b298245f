//! What can happen, and how likely.

use proptest::prelude::*;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A source's batch is handed to the ledger.
    Settle(Vec<Event>),
    /// The full model has read a ticket.
    Rescore { post: u8, priority: Option<u16>, intent: usize },
    /// A client takes a place (whoever had it goes) and says hello.
    Connect { place: usize, name: usize, filter: usize, start_next: bool, window: u32 },
    /// The ledger commits what it was handed, and the clients' sessions get to hear its answers.
    Turn,
    /// The ledger commits what it was handed, and answers.
    Commit,
    /// The clients' sessions get to hear the ledger's answers.
    Answer,
    /// A client's connection takes what it has room for, and sends it.
    Serve { place: usize },
    /// A client's connection takes what it has room for.
    Take { place: usize },
    /// What was taken is read and sent.
    Send { place: usize },
    /// A client acknowledges the deliveries at these places, or anything if it has fewer.
    Ack { place: usize, nths: Vec<usize> },
    /// A client refuses a delivery.
    Nack { place: usize, nth: usize, delay_s: u32 },
    /// A client says that it is there.
    Heartbeat { place: usize },
    /// A connection breaks.
    Disconnect { place: usize },
    /// Time passes.
    Pass { seconds: u64 },
    /// The subscriptions' floors are raised.
    RaiseFloors,
    /// What is acknowledged and old, or too much, is pruned.
    Prune(Limit),
    /// The power fails: between commits, or so far into one, in 256ths.
    Crash { during_commit: Option<u8> },
    /// The daemon is stopped and started.
    Restart,
}

/// What pruning goes by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// Tickets from before this hour are too old.
    Age { hour: i64 },
    /// The ledger may hold so many 256ths of what it does.
    Size { share: u8 },
}

/// What a frame of the source says.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A post that makes a ticket, unless it is known.
    Ticket {
        post: u8,
        author: usize,
        brand: usize,
        intent: usize,
        priority: u16,
        hour: i64,
        provisional: bool,
    },
    /// A post that joins the ticket of another, if that is there.
    Join {
        post: u8,
        to: u8,
        author: usize,
        urgency: u16,
    },
    /// The text of that second, at that second.
    Edit {
        post: u8,
        second: u8,
    },
    Erase {
        post: u8,
    },
    EraseAuthor {
        author: usize,
    },
}

pub(super) const PLACES: usize = 3;
pub(super) const NAMES: [&str; 2] = ["desk", "night"];
pub(super) const BRANDS: [&str; 2] = ["Lumio", "Nord"];
pub(super) const INTENTS: [&str; 2] = ["outage", "praise"];
pub(super) const AUTHORS: [&str; 3] = ["ana", "bob", "cy"];
pub(super) const FILTERS: usize = 4;

/// Few posts, so that replays, edits and erasures meet their tickets.
const POSTS: u8 = 12;
/// Few priorities and hours, so that some are equal.
const PRIORITIES: [u16; 4] = [0, 300, 600, 1000];

pub(super) fn sequence() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..100)
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES;
    prop_oneof![
        6 => prop::collection::vec(event(), 0..4).prop_map(Step::Settle),
        4 => (0..POSTS, prop::option::of(prop::sample::select(&PRIORITIES[..])), 0..INTENTS.len())
            .prop_map(|(post, priority, intent)| Step::Rescore { post, priority, intent }),
        // Most clients want everything: filters that change are rarer than clients that come back.
        5 => (place(), 0..NAMES.len(), 0..FILTERS * 2, prop::bool::weighted(0.15), 1..5_u32).prop_map(
            |(place, name, filter, start_next, window)| {
                let filter = filter.saturating_sub(FILTERS);
                Step::Connect { place, name, filter, start_next, window }
            }
        ),
        12 => Just(Step::Turn),
        3 => Just(Step::Commit),
        3 => Just(Step::Answer),
        14 => place().prop_map(|place| Step::Serve { place }),
        2 => place().prop_map(|place| Step::Take { place }),
        2 => place().prop_map(|place| Step::Send { place }),
        14 => (place(), prop::collection::vec(0..4_usize, 1..4)).prop_map(|(place, nths)| Step::Ack { place, nths }),
        3 => (place(), 0..4_usize, prop::sample::select(vec![0, 0, 5, 40, 100_000]))
            .prop_map(|(place, nth, delay_s)| Step::Nack { place, nth, delay_s }),
        3 => place().prop_map(|place| Step::Heartbeat { place }),
        2 => place().prop_map(|place| Step::Disconnect { place }),
        // More than a day half of the times, after which a filter that has not changed counts for pruning.
        3 => prop::sample::select(vec![1, 10, 20, 60, 90_000, 90_000, 90_000])
            .prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::RaiseFloors),
        5 => limit().prop_map(Step::Prune),
        1 => prop::option::of(any::<u8>()).prop_map(|during_commit| Step::Crash { during_commit }),
        1 => Just(Step::Restart),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        3 => (1..4_i64).prop_map(|hour| Limit::Age { hour }),
        2 => Just(Limit::Size { share: 0 }),
        1 => any::<u8>().prop_map(|share| Limit::Size { share }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let ticket = (
        0..POSTS,
        0..AUTHORS.len(),
        0..BRANDS.len(),
        0..INTENTS.len(),
        prop::sample::select(&PRIORITIES[..]),
        0..3_i64,
        prop::bool::weighted(0.4),
    );
    prop_oneof![
        8 => ticket.prop_map(|(post, author, brand, intent, priority, hour, provisional)| {
            Event::Ticket { post, author, brand, intent, priority, hour, provisional }
        }),
        5 => (0..POSTS, 0..POSTS, 0..AUTHORS.len(), prop::sample::select(&PRIORITIES[..]))
            .prop_map(|(post, to, author, urgency)| Event::Join { post, to, author, urgency }),
        2 => (0..POSTS, 0..3_u8).prop_map(|(post, second)| Event::Edit { post, second }),
        2 => (0..POSTS).prop_map(|post| Event::Erase { post }),
        1 => (0..AUTHORS.len()).prop_map(|author| Event::EraseAuthor { author }),
    ]
}
