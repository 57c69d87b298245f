//! A bridge between a daemon and a helpdesk that speaks real HTTP: each ticket once, worst first, at the helpdesk's pace.
//!
//! `VIGIE_TEST_BRIDGE_TICKETS` is how many tickets the larger ones take, a few hundred unless it says otherwise; they
//! print what they measure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use firehose::helpdesk::{self, Fake, Fault, Faults, Options, Plain};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{mpsc, oneshot, watch};
use vigie::bridge::deliver::{Counts, Shared};
use vigie::bridge::pace::Standing;
use vigie::bridge::preset::Preset;
use vigie::bridge::{self, Config};
use vigie::ledger::outbox::{Filter, Outbox, rank};
use vigie::ledger::{Body, Feedback, RecordHead, Records, Seq, SubscriptionRequest, Traits};
use vigie::parse::Network as OnNetwork;
use vigie::ticket::TicketId;
use vigie::ticket::proto::{Post, Ticket};
use vigie::wire::{Address, Client, Hub, serve_over};

use crate::daemon::{Network, PATIENCE, State, patiently};

fn tickets_wanted(usually: usize) -> usize {
    std::env::var("VIGIE_TEST_BRIDGE_TICKETS").map_or(usually, |count| count.parse().unwrap())
}

/// The daemon's half of the socket without its disk: the outbox and the conversation are the real ones.
struct Memory {
    tickets: Vec<Ticket>,
    outbox: Arc<Mutex<Outbox>>,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
}

fn at_once() -> oneshot::Receiver<Result<(), String>> {
    let (answer, answered) = oneshot::channel();
    drop(answer.send(Ok(())));
    answered
}

impl Records for Memory {
    fn subscribe(&self, request: SubscriptionRequest) -> oneshot::Receiver<Result<(), String>> {
        let acknowledged = self.acknowledged.lock().clone();
        let heads = self.tickets.iter().zip(1..).filter(|(_, seq)| !acknowledged.contains(seq));
        let heads = heads.map(|(ticket, seq)| {
            let priority = u16::try_from(ticket.priority).unwrap();
            Arc::new(RecordHead {
                seq: Seq::new(seq).unwrap(),
                ticket_id: TicketId::from_bytes(&ticket.id).unwrap(),
                ticket_seq: Seq::new(seq).unwrap(),
                rank: rank(priority, ticket.created_at_us, 0),
                due_at_us: 0,
                traits: Traits {
                    brand: "Lumio".into(),
                    network: OnNetwork::X,
                    language: "en".into(),
                    intent: "problem".into(),
                    priority,
                    rescored: None,
                },
            })
        });
        self.outbox.lock().open(&request.name, Filter::default(), heads);
        at_once()
    }

    fn acknowledge(&self, _: &str, seqs: Vec<Seq>) -> oneshot::Receiver<Result<(), String>> {
        self.acknowledged.lock().extend(seqs.iter().map(|seq| seq.get()));
        at_once()
    }

    fn read(&self, seqs: &[Seq]) -> Result<Vec<(Seq, Body)>, String> {
        let body = |seq: &Seq| Body::Ticket(self.tickets[seq.get() as usize - 1].encode_to_vec());
        Ok(seqs.iter().map(|seq| (*seq, body(seq))).collect())
    }

    fn feedback(&self, _: Feedback) -> oneshot::Receiver<Result<(), String>> {
        at_once()
    }
}

/// A daemon that has so many tickets waiting, of any priority.
struct Backlog {
    hub: Hub,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    count: usize,
}

impl Backlog {
    fn new(count: usize) -> Backlog {
        // After the case store is made: what is older is looked for first.
        let created_at_us = jiff::Timestamp::now().as_microsecond() + 3_600_000_000;
        let ticket = |n: usize| {
            let post_id = n.to_string();
            Ticket {
                id: TicketId::of_post(OnNetwork::X, &post_id).as_bytes().to_vec(),
                brand: "Lumio".to_owned(),
                // 7,919 is a prime: any thousand in a row are all different.
                priority: (n * 7_919 % 1_000) as u32,
                level: 1 + (n % 4) as i32,
                created_at_us,
                post: Some(Post {
                    network: "x".to_owned(),
                    id: post_id,
                    text: format!("@lumio number {n}: no network since this morning \u{1f4f5} \"again\""),
                    ..Post::default()
                }),
                ..Ticket::default()
            }
        };
        let (outbox, acknowledged) = (Arc::new(Mutex::new(Outbox::new())), Arc::default());
        let memory = Memory {
            tickets: (0..count).map(ticket).collect(),
            outbox: outbox.clone(),
            acknowledged: Arc::clone(&acknowledged),
        };
        Backlog { hub: Hub::new(Arc::new(memory), outbox), acknowledged, count }
    }

    fn left(&self) -> usize {
        self.count - self.acknowledged.lock().len()
    }
}

/// What a bridge has done, and what it took.
struct Done {
    counts: Counts,
    pace: Standing,
    /// Of its thread: its own work, and that of the sockets on it.
    cpu: Duration,
}

/// Runs a bridge on a thread of its own until nothing waits any more.
async fn run(backlog: &Backlog, config: Config) -> Done {
    run_as(backlog, config, Plain::PRESET, oneshot::channel().0).await
}

/// The same by another preset.
async fn run_as(backlog: &Backlog, config: Config, preset: &str, opened: oneshot::Sender<Shared>) -> Done {
    let preset = Preset::parse(preset).unwrap();
    let (hub, stop) = (backlog.hub.clone(), watch::Sender::new(false));
    let stopped = stop.subscribe();
    let thread = std::thread::Builder::new().spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let begun = cpu_of_thread();
        let bridge = bridge::open(&config, preset).unwrap();
        drop(opened.send(bridge.shared().clone()));
        let (_reports, reported) = mpsc::channel(1);
        let serving =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let daemon_stop = watch::Sender::new(false);
        let connect = async || {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            serving.spawn(serve_over(ours, hub.clone(), daemon_stop.subscribe()));
            Client::over(theirs, config.introduction()).await
        };
        runtime.block_on(bridge.run(connect, reported, stopped)).unwrap();
        let cpu = cpu_of_thread().saturating_sub(begun);
        serving.shutdown_background();
        Done { counts: bridge.shared().counts.lock().clone(), pace: bridge.shared().pace.standing(), cpu }
    });
    let thread = thread.unwrap();
    let mut left = backlog.left();
    while left > 0 {
        patiently("the next ticket", async {
            while backlog.left() == left {
                assert!(!thread.is_finished(), "the bridge has ended");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        left = backlog.left();
    }
    stop.send_replace(true);
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap()
}

/// CPU time of this thread so far; zero where the kernel does not say.
fn cpu_of_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn preset() -> Preset {
    Preset::parse(Plain::PRESET).unwrap()
}

/// A bridge that takes as little time as it can.
fn config(folder: &Path, fake: &Fake<Plain>) -> Config {
    let mut config = Config::new("plain", &fake.url(), "secret", folder.join("cases.sqlite"), &preset());
    config.quota.calls_per_minute = 6_000_000;
    config.retry_min = Duration::from_millis(1);
    config.retry_max = Duration::from_millis(50);
    config
}

async fn serve(options: Options) -> Fake<Plain> {
    helpdesk::serve(Plain::default(), options).await.unwrap()
}

/// The figure: 10,000 ambiguous outcomes, none doubled, none lost.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_unclear_no_ticket_is_doubled_or_lost() {
    let wanted = tickets_wanted(200);
    let backlog = Backlog::new(wanted);
    // Half the creations, so that there are two such ends for three tickets. Time-outs are one in twenty: each takes
    // its time. Some are done after the bridge has given them up.
    let mut kinds = Faults::ambiguous_mostly_at_once(20);
    kinds.extend([Fault::Late(Duration::from_millis(700)); 2]);
    let faults = Faults::seeded(7, 0.5, Plain::is_creation, kinds);
    let fake = serve(Options { faults, ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &fake);
    config.call_max = Duration::from_millis(500);
    let done = run(&backlog, config).await;
    let log = fake.log();
    let unclear = log.broken();
    let references = log.references();
    println!(
        "{wanted} tickets, {unclear} unclear ends: {} made, {} doubled, {} lost; {:?}",
        log.made.len(),
        log.doubled().len(),
        wanted - references.len(),
        done.counts,
    );
    assert!(unclear > wanted / 2 && done.counts.adopted > 0, "the faults fire");
    assert_eq!(log.doubled(), [""; 0]);
    assert_eq!((references.len(), log.made.len()), (wanted, wanted));
    assert_eq!((done.counts.doubled, done.counts.unknown), (0, 0));
    assert_eq!(done.counts.made + done.counts.adopted, wanted as u64);
}

/// Every way to end unclear but silence, which takes its time, for a fifth of the creations: who is
/// refused often comes later and later.
fn unclear() -> Options {
    let faults = Faults::seeded(11, 0.2, Plain::is_creation, Faults::ambiguous_at_once());
    Options { faults, ..Options::default() }
}

/// A search that knows a ticket only a while later: who waits for it doubles nothing, and nothing stays unknown.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_search_is_late_nothing_is_doubled_and_nothing_stays_unknown() {
    let backlog = Backlog::new(tickets_wanted(60));
    let fake = serve(unclear()).await;
    fake.with(|plain| plain.lag = Duration::from_millis(200));
    let preset = Plain::PRESET.replace("id = \"item.id\"\n", "id = \"item.id\"\nlag_max_ms = 300\n");
    assert_ne!(preset, Plain::PRESET);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &fake);
    config.call_max = Duration::from_millis(500);
    let done = run_as(&backlog, config, &preset, oneshot::channel().0).await;
    let (log, counts) = (fake.log(), done.counts);
    println!("{} tickets, {} unclear ends, search late: {counts:?}", log.made.len(), log.broken());
    assert!(log.broken() > backlog.count / 10 && counts.adopted > 0, "the faults fire");
    assert_eq!((log.made.len(), log.doubled().len()), (backlog.count, 0));
    assert_eq!((counts.doubled, counts.unknown), (0, 0));
}

/// No search at all: each ticket of which nobody can know is counted, and no other is doubled.
#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_search_whatever_may_be_doubled_is_counted() {
    let backlog = Backlog::new(tickets_wanted(200));
    let fake = serve(unclear()).await;
    let (before, find) = Plain::PRESET.split_once("[find]").unwrap();
    let (_, after) = find.split_once("[[create]]").unwrap();
    let preset = format!("{before}[[create]]{after}");
    let folder = tempfile::tempdir().unwrap();
    let done = run_as(&backlog, config(folder.path(), &fake), &preset, oneshot::channel().0).await;
    let (log, counts) = (fake.log(), done.counts);
    let references = log.references();
    let doubled = log.doubled().len();
    println!(
        "{} tickets, {} unclear ends, no search: {doubled} doubled, {counts:?}",
        references.len(),
        log.broken()
    );
    assert!(log.broken() > backlog.count / 10 && doubled > 0, "the faults fire");
    assert_eq!(references.len(), backlog.count, "none is lost");
    assert!(doubled as u64 <= counts.unknown, "{doubled} doubled, {counts:?}");
}

/// The figure: 10,000 tickets against 100 calls a minute, with the quota as the operator says it. The minute is half a
/// second.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_helpdesks_pace_nothing_is_refused_and_the_worst_goes_first() {
    let minute = Duration::from_millis(500);
    let backlog = Backlog::new(tickets_wanted(300));
    let quota = helpdesk::Quota::new(100, minute);
    let fake = serve(Options { quota: Some(quota), ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &fake);
    (config.quota.calls_per_minute, config.quota.minute) = (100, minute);
    let begun = Instant::now();
    let done = run(&backlog, config).await;
    let log = fake.log();
    let minutes = begun.elapsed().as_secs_f64() / minute.as_secs_f64();
    let cpu_ms = done.cpu.as_secs_f64() * 1e3 / backlog.count as f64;
    println!(
        "{} tickets in {minutes:.0} minutes of {minute:?}: {} refused; {cpu_ms:.3} ms of CPU a ticket",
        log.made.len(),
        log.refused,
    );
    assert_eq!((log.made.len(), log.refused, log.doubled().len()), (backlog.count, 0, 0));
    assert!(minutes > backlog.count as f64 / 100.0, "the quota fires");
    check_order(&log);
}

/// The operator says more than the helpdesk grants: its first refusal is its last, until after an hour what the operator
/// says is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_refusal_is_the_last() {
    let minute = Duration::from_millis(500);
    let backlog = Backlog::new(tickets_wanted(400));
    // The first hundred calls are granted however long they take, so that the next is refused on any machine.
    let quota = helpdesk::Quota { first_refusal_is_sure: true, ..helpdesk::Quota::new(100, minute) };
    let fake = serve(Options { quota: Some(quota), ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &fake);
    (config.quota.calls_per_minute, config.quota.minute) = (300, minute);
    let begun = Instant::now();
    let done = run(&backlog, config).await;
    let hours = (begun.elapsed().as_secs_f64() / minute.as_secs_f64() / 60.0) as u64;
    let log = fake.log();
    println!("{} tickets in {hours} hours, {} refused; {:?}", log.made.len(), log.refused, done.pace);
    assert_eq!(log.made.len(), backlog.count);
    assert!((1..=1 + hours).contains(&log.refused), "{} refused in {hours} hours", log.refused);
    check_order(&log);
}

fn check_order(log: &helpdesk::Log) {
    let priorities: Vec<u64> = log.made.iter().map(|made| made.priority.as_u64().unwrap()).collect();
    assert!(priorities.is_sorted_by(|a, b| a >= b), "{priorities:?}");
}

/// A helpdesk that is down: nothing is lost, and when it is back the worst goes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_helpdesk_that_was_away_gets_everything_worst_first() {
    let backlog = Backlog::new(50);
    let mut fake = serve(Options::default()).await;
    fake.close().await;
    let folder = tempfile::tempdir().unwrap();
    let (opened, bridge) = oneshot::channel();
    let running = run_as(&backlog, config(folder.path(), &fake), Plain::PRESET, opened);
    let back = async {
        let bridge = bridge.await.unwrap();
        patiently("a call that nobody answers", async {
            while bridge.counts.lock().errors.last().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        fake.open().await;
    };
    let (done, ()) = tokio::join!(running, back);
    let log = fake.log();
    assert_eq!((log.made.len(), log.doubled().len(), done.counts.made), (50, 0, 50));
    assert!(
        done.counts.errors.last().is_some_and(|(_, is_over)| is_over) && !done.counts.is_held,
        "{:?}",
        done.counts
    );
    check_order(&log);
}

/// Run by the test below as a process of its own, to be killed; nothing to do otherwise.
#[test]
fn a_bridge_as_a_process() {
    let Ok(url) = std::env::var("VIGIE_TEST_BRIDGE_URL") else { return };
    let folder = PathBuf::from(std::env::var_os("VIGIE_TEST_BRIDGE_FOLDER").unwrap());
    let mut config = Config::new("plain", &url, "secret", folder.join("cases.sqlite"), &preset());
    config.quota.calls_per_minute = 6_000_000;
    config.retry_min = Duration::from_millis(1);
    config.call_max = Duration::from_millis(500);
    let bridge = bridge::open(&config, preset()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_reports, reported) = mpsc::channel(1);
    let address = Address::Unix(folder.join("vigie.sock"));
    let connect = async || Client::connect(&address, config.introduction()).await;
    let stop = watch::Sender::new(false);
    runtime.block_on(bridge.run(connect, reported, stop.subscribe())).unwrap();
}

fn start(state: &State, fake: &Fake<Plain>) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["bridges::a_bridge_as_a_process", "--exact", "--nocapture"])
        .env("VIGIE_TEST_BRIDGE_URL", fake.url())
        .env("VIGIE_TEST_BRIDGE_FOLDER", state.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_killed_again_and_again_loses_and_doubles_nothing() {
    let network = Network::new(3_000, 0.05);
    let state = State::new(&network.source());
    let expected = network.expected_tickets(&state);
    let (_stop, stopped) = oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    // Done at once and answered late: a kill finds a ticket made and not known more often than not.
    let faults = Faults::choose(|request| {
        (request.method == "POST").then_some(Fault::Slow(Duration::from_millis(10)))
    });
    let fake = serve(Options { faults, ..Options::default() }).await;
    let mut random = fastrand::Rng::with_seed(3);
    let begun = Instant::now();
    let (mut kills, mut killed_at_work) = (0, 0);
    loop {
        let (before, _) = fake.counts();
        let mut bridge = start(&state, &fake);
        let is_last = kills >= 25;
        // From the first ticket of this life on, some more.
        let more = random.usize(1..12);
        let pause = Duration::from_micros(random.u64(0..15_000));
        loop {
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {} tickets", expected.len());
            assert!(bridge.try_wait().unwrap().is_none(), "the bridge has ended by itself");
            let (made, _) = fake.counts();
            // What an author took back before its turn is not made.
            let is_all = made + state.erased().len() >= expected.len();
            let is_acknowledged = is_all && state.acknowledged("bridge-plain").len() >= expected.len();
            if is_acknowledged || (!is_last && !is_all && made >= before + more) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(pause).await;
        bridge.kill().unwrap();
        bridge.wait().unwrap();
        kills += 1;
        killed_at_work += usize::from(fake.counts().0 + state.erased().len() < expected.len());
        if state.acknowledged("bridge-plain").len() >= expected.len() {
            break;
        }
    }
    let log = fake.log();
    let looked = log.calls.iter().filter(|call| call.request.query("ref").is_some()).count();
    println!("{} tickets, {kills} kills, {looked} looked for", log.made.len());
    assert!(killed_at_work >= 5 && looked > 0, "{killed_at_work} kills at work, {looked} looked for");
    assert_eq!(log.doubled(), [""; 0]);
    let (erased, made) = (state.erased(), log.references());
    assert!(made.iter().all(|reference| expected.contains(*reference)));
    let lost: Vec<_> =
        expected.iter().filter(|id| !made.contains(id.as_str()) && !erased.contains(*id)).collect();
    assert_eq!(lost, [""; 0]);
    drop(daemon);
}

/// The queue of one team takes nothing of ours (Request Tracker says 403 without CreateTicket there), others do.
#[tokio::test(flavor = "multi_thread")]
async fn one_teams_queue_holds_up_no_other_teams_tickets() {
    let backlog = Backlog::new(20);
    let worst = (0..20_usize).max_by_key(|n| n * 7_919 % 1_000).unwrap();
    let words = format!("number {worst}:");
    let mut others = 0;
    let faults = Faults::choose(move |request| {
        if !Plain::is_creation(request) {
            return None;
        }
        let is_of_team = request.body.to_string().contains(&words);
        others += usize::from(!is_of_team);
        // Until all others are there, and somebody gives us the right.
        (is_of_team && others < 19).then_some(Fault::Status { status: 403, done: false })
    });
    let fake = serve(Options { faults, ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let done = run(&backlog, config(folder.path(), &fake)).await;
    let log = fake.log();
    assert_eq!((log.made.len(), done.counts.made), (20, 20));
    let priority = |made: &helpdesk::Made| made.priority.as_u64();
    assert_eq!(priority(&log.made[19]), log.made.iter().map(priority).max().unwrap(), "it came last");
    assert!(done.counts.refused > 0);
}

/// How long a limit lasts that is not the account's.
const LIMITED: Duration = Duration::from_secs(4);

/// Brings twenty tickets to a helpdesk that takes no more of some calls for a while, and says that there are calls left:
/// the first call that is `limited` is refused, as it is told with the priority of the worst.
async fn with_calls_left(limited: fn(&helpdesk::Request, u64) -> bool) -> helpdesk::Log {
    let backlog = Backlog::new(20);
    let worst = (0..20).map(|n| n * 7_919 % 1_000).max().unwrap();
    let mut is_over = false;
    let faults = Faults::choose(move |request| {
        let is_now = !is_over && limited(request, worst);
        is_over |= is_now;
        is_now.then_some(Fault::Limited { retry_after: Some(LIMITED) })
    });
    let left = helpdesk::Quota {
        remaining_header: Some("x-left"),
        ..helpdesk::Quota::new(10_000, Duration::from_secs(3600))
    };
    let fake = serve(Options { faults, quota: Some(left), ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &fake);
    let label =
        "[[create]]\nmethod = \"PATCH\"\npath = \"/tickets/{{ id }}\"\nbody = '{\"points\": {{ priority }}}'";
    let preset = format!("{}\n[limits]\nremaining = \"x-left\"\n{label}\n", Plain::PRESET);
    let done = run_as(&backlog, config, &preset, oneshot::channel().0).await;
    let log = fake.log();
    assert_eq!((log.made.len(), done.counts.made, done.counts.refused), (20, 20, 0));
    assert_eq!((done.pace.limited, done.pace.paused_for), (0, None));
    check_order(&log);
    // That one twice.
    assert_eq!(log.calls.len(), 41);
    log
}

/// Such as Zendesk, which takes thirty changes of a ticket within ten minutes.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_one_ticket_holds_up_no_other_and_changes_no_pace() {
    let log =
        with_calls_left(|request, worst| request.method == "PATCH" && request.body["points"] == worst).await;
    assert!(log.made[19].at < LIMITED, "the others have waited: {:?}", log.made[19].at);
}

/// Such as Freshdesk, which counts them apart. What is not there yet has no limit of its own, and the worst stays first.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_creations_holds_up_the_next_one_too() {
    let log = with_calls_left(|request, _| Plain::is_creation(request)).await;
    assert!(log.made[0].at >= LIMITED, "{:?}", log.made[0].at);
}
