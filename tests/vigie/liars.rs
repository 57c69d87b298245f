//! Sources that lie: a real daemon against a Jetstream that misbehaves in every way that real ones were seen to.
//!
//! Whatever the server does, each post that exists has its ticket once, or lies in a gap that was booked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use firehose::client::proto;
use firehose::{JetstreamConfig, Lie, Lies, Mix, Rate, Script, Serving};
use jiff::Timestamp;
use prost::Message;
use proto::update::Change;
use vigie::parse::Network;
use vigie::ticket::TicketId;

use crate::daemon::{Daemon, State, hex, patiently, reserved, run, vigie};

/// Events a second: enough for any silence of two seconds to be beyond chance.
const RATE: u32 = 500;

/// So much of the stream is past when the server starts: its replay teaches the daemon the usual rate.
const PAST: Duration = Duration::from_secs(30);

/// Events are at most so much earlier by their own time than their turn, in µs.
const JITTER_US: i64 = 31_000;

/// A gap of a daemon's ledger.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Gap {
    from: i64,
    to: i64,
    is_recovered: bool,
}

/// Up to here behind the daemon's position everything must be accounted for: what came last may be out of order.
const SETTLED: Duration = Duration::from_secs(2);

/// A server that lies, and the state of a daemon that listens to it.
struct Lying {
    config: JetstreamConfig,
    state: State,
    serving: Serving,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Lying {
    /// Starts the daemon, and then a stream without end of which [`PAST`] is over: however slowly anything is done
    /// here, it is done by a daemon that listens.
    async fn start(lies: Lies, seed: u64) -> (Lying, Daemon) {
        Lying::start_with(lies, seed, |_| {}).await
    }

    async fn start_with(lies: Lies, seed: u64, change: impl FnOnce(&mut JetstreamConfig)) -> (Lying, Daemon) {
        let listen = reserved();
        let source = format!(
            "[[source]]\nkind = \"jetstream\"\nurl = \"ws://{listen}/subscribe\"\nrewind_ms = 1000\nsilence_max_ms = 30000\n"
        );
        // A model without optimisation on a busy machine takes its time.
        let state = State::new(&source);
        state.configure_more("engine", "drain_max_ms = 300000");
        let daemon = state.start();
        let mut config = JetstreamConfig {
            listen,
            rate: Rate::PerSecond(RATE.try_into().unwrap()),
            share: 0.01,
            confusing: 0.005,
            seed,
            start: Some(Timestamp::now() - PAST),
            from_start: true,
            lies,
            ..JetstreamConfig::default()
        };
        change(&mut config);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = firehose::serve(config.clone(), async { drop(stopped.await) }).await.unwrap();
        (Lying { config, state, serving, _stop: stop }, daemon)
    }

    fn script(&self) -> Script {
        Script::new(&self.config, Mix::Posts).unwrap()
    }

    /// Waits until the ledger has come so far in the stream.
    async fn reach(&self, seconds: u64) {
        let start_us = self.config.start.unwrap().as_microsecond();
        let wanted_us = start_us + seconds as i64 * 1_000_000;
        until("the stream", || self.position() >= Some(wanted_us)).await;
    }

    fn position(&self) -> Option<i64> {
        self.state.ledger().query_row("SELECT max(position) FROM source", [], |row| row.get(0)).unwrap()
    }

    fn gaps(&self) -> Vec<Gap> {
        let ledger = self.state.ledger();
        let mut statement = ledger.prepare("SELECT from_position, to_position, recovered FROM gap").unwrap();
        let gap = |row: &rusqlite::Row<'_>| {
            Ok(Gap { from: row.get(0)?, to: row.get(1)?, is_recovered: row.get(2)? })
        };
        statement.query_map([], gap).unwrap().map(Result::unwrap).collect()
    }

    /// The ids of the tickets that `vigie replay` makes of these frames, and of the posts that join one.
    fn expected(&self, frames: &[&String]) -> (BTreeSet<String>, BTreeSet<String>) {
        let frames: Vec<_> = frames.iter().map(|frame| frame.as_str()).collect();
        let mut replay = vigie();
        replay.args(["replay", "-c"]).arg(&self.state.config).arg("-");
        let output = run(&mut replay, frames.join("\n").as_bytes());
        assert!(output.status.success(), "{}", output.stderr);
        let (mut tickets, mut joined) = (BTreeSet::new(), BTreeSet::new());
        for line in output.stdout.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            // What an edit makes of a ticket that was printed.
            if line["update"]["change"]["rescored"].is_object() {
                continue;
            }
            match line["id"].as_str() {
                Some(ticket) => tickets.insert(ticket.to_owned()),
                None => {
                    let post =
                        line["update"]["change"]["followed_up"]["post"]["id"].as_str().expect("a post");
                    joined.insert(TicketId::of_post(Network::Bluesky, post).to_string())
                }
            };
        }
        (tickets, joined)
    }

    /// Stops the daemon and checks what holds whatever the server did; gives the gaps and the log.
    async fn check(&self, daemon: Daemon) -> (Vec<Gap>, String) {
        let (status, log) = daemon.terminate();
        assert!(status.success(), "{log}");
        // What was sent whole came if no connection was lost over it; what was never begun cannot have come.
        let (sent, begun) = (self.serving.sent(), self.serving.begun());
        let (gaps, script) = (self.gaps(), self.script());
        let settled_us = self.position().unwrap() - SETTLED.as_micros() as i64;
        println!("{}; gaps {gaps:?}; buckets {:?}", self.serving.lies_told(), self.state.buckets());

        let is_in_gap = |time_us: i64, only_open: bool| {
            gaps.iter().any(|gap| {
                (gap.from - JITTER_US..=gap.to + JITTER_US).contains(&time_us)
                    && !(only_open && gap.is_recovered)
            })
        };
        let timeline = script.timeline();
        let end = begun.iter().max().map_or(0, |last| last + 1);
        let events: BTreeMap<u64, String> =
            (timeline.start()..end).map(|n| (n, script.event(n).frame)).collect();
        let settled = timeline.first_at(settled_us);
        for (n, frame) in events.iter().filter(|(n, _)| !begun.contains(n) && **n < settled) {
            let time_us = time_us(frame);
            assert!(
                is_in_gap(time_us, true),
                "{}; {}\n{log}",
                unsent(*n, &begun, &events),
                whereabouts(time_us, &gaps)
            );
        }
        let frames: Vec<_> =
            events.iter().filter(|(n, _)| begun.contains(n)).map(|(_, frame)| frame).collect();
        // Where the server tells things twice or late, a reply may find its thread closed by a deletion that was sent
        // after it, or the other way round: it then makes a ticket, or joins one, but is not lost.
        let (tickets, joined) = (self.ids("ticket"), self.ids("post WHERE kind = 0"));
        let (most, most_joined) = self.expected(&frames);
        let never_sent: Vec<_> =
            tickets.iter().filter(|id| !most.contains(*id) && !most_joined.contains(*id)).collect();
        assert!(never_sent.is_empty(), "{never_sent:?} were never sent");
        let received: Vec<_> = events
            .iter()
            .filter(|(n, _)| sent.contains(n) && **n < settled)
            .map(|(_, frame)| frame)
            .filter(|frame| !is_in_gap(time_us(frame), true))
            .collect();
        let (least, _) = self.expected(&received);
        assert!(least.len() > 50, "only {} tickets prove nothing", least.len());
        let missing: Vec<_> = least.difference(&tickets).filter(|id| !joined.contains(*id)).collect();
        assert!(missing.is_empty(), "lost outside of any gap: {missing:?}; gaps {gaps:?}\n{log}");
        self.check_updates();
        (gaps, log)
    }

    fn ids(&self, rows: &str) -> BTreeSet<String> {
        let ledger = self.state.ledger();
        let mut statement = ledger.prepare(&format!("SELECT lower(hex(id)) FROM {rows}")).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// No edit and no erasure is recorded twice.
    fn check_updates(&self) {
        let ledger = self.state.ledger();
        let mut statement = ledger.prepare("SELECT body FROM record WHERE kind = 1").unwrap();
        let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap().map(Result::unwrap);
        let mut seen = BTreeSet::new();
        let mut edits = 0;
        for update in bodies.map(|body| proto::Update::decode(body.as_slice()).unwrap()) {
            let what = match update.change {
                // Erased afterwards: its text is gone.
                Some(Change::Edited(edited)) if edited.text.is_empty() => continue,
                Some(Change::Edited(edited)) => edited.post_id + &edited.text,
                Some(Change::Erased(_)) => "erased".to_owned(),
                Some(Change::PostErased(erased)) => erased.post_id,
                _ => continue,
            };
            edits += 1;
            assert!(seen.insert((hex(&update.ticket_id), what)), "an update was recorded twice");
        }
        assert!(edits > 0, "a stream without an update proves nothing");
    }

    fn bucket(&self, bucket: &str) -> u64 {
        self.state.buckets().get(bucket).copied().unwrap_or_default().cast_unsigned()
    }
}

/// Event `n` and the stretch around it that was never sent, with the times of its neighbours that were.
fn unsent(n: u64, begun: &HashSet<u64>, events: &BTreeMap<u64, String>) -> String {
    let is_begun = |(n, _): &(&u64, &String)| begun.contains(n);
    let named = |neighbour: Option<(&u64, &String)>| {
        neighbour.map_or("none".to_owned(), |(n, frame)| format!("{n} at {}", time_us(frame)))
    };
    let before = events.range(..n).rev().find(is_begun);
    let after = events.range(n..).find(is_begun);
    let missing = match (before, after) {
        (Some((before, _)), Some((after, _))) => after - before - 1,
        _ => 0,
    };
    format!(
        "event {n} at {} was never sent, one of {missing} between {} and {}",
        time_us(&events[&n]),
        named(before),
        named(after)
    )
}

/// In which gaps a time lies, or between which.
fn whereabouts(time_us: i64, gaps: &[Gap]) -> String {
    let around: Vec<_> = gaps.iter().filter(|gap| (gap.from..=gap.to).contains(&time_us)).collect();
    if !around.is_empty() {
        return format!("it lies in {around:?}, which is said to be filled");
    }
    let before = gaps.iter().filter(|gap| gap.to < time_us).max_by_key(|gap| gap.to);
    let after = gaps.iter().filter(|gap| gap.from > time_us).min_by_key(|gap| gap.from);
    format!("no gap says so: the nearest are {before:?} and {after:?}")
}

fn time_us(frame: &str) -> i64 {
    serde_json::from_str::<serde_json::Value>(frame).unwrap()["time_us"].as_i64().unwrap()
}

/// What the daemon's console says of its only source.
fn source_status(daemon: &Daemon) -> serde_json::Value {
    let output = run(vigie().args(["status", "--json", "--http", &daemon.console()]), b"");
    assert!(output.status.success(), "{}", output.stderr);
    serde_json::from_str::<serde_json::Value>(&output.stdout).unwrap()["sources"][0].clone()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    patiently(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

fn lies(connections: u32) -> Lies {
    Lies::default().to_the_first(connections)
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_twice_make_nothing_twice_and_are_counted_as_what_they_are() {
    let lies = lies(2).with(Lie::Duplicate, 20).with(Lie::CursorDuplicate, 30).with(Lie::Close, 1_000);
    let (lying, daemon) = Lying::start(lies, 1).await;
    lying.reach(34).await;
    let (gaps, _) = lying.check(daemon).await;
    assert_eq!(gaps, []);
    assert_eq!(lying.serving.told(Lie::CursorDuplicate), 30, "one connection with a cursor is lied to");
    let told = lying.serving.told(Lie::Duplicate) + lying.serving.told(Lie::CursorDuplicate);
    assert!(told > 50 && lying.bucket("duplicate") >= told, "{} of {told}", lying.bucket("duplicate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_in_the_middle_of_anything_lose_nothing() {
    // After each of five failures the wait for the next connection doubles: more would only be slower.
    let lies = lies(5).with(Lie::Close, 3_000).with(Lie::HalfFrame, 3_000).with(Lie::HalfMessage, 3_000);
    let (lying, daemon) = Lying::start(lies.with(Lie::Fragment, 10), 1).await;
    lying.reach(34).await;
    let (gaps, _) = lying.check(daemon).await;
    assert_eq!(gaps, []);
    for lie in [Lie::Close, Lie::HalfFrame, Lie::HalfMessage, Lie::Fragment] {
        assert!(lying.serving.told(lie) > 0, "{lie:?} was never told");
    }
    assert_eq!(lying.bucket("malformed"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_no_server_should_send_end_in_their_buckets() {
    let lies = lies(3)
        .with(Lie::Huge, 1_500)
        .with(Lie::InvalidUtf8, 3_000)
        .with(Lie::BadEscape, 200)
        .with(Lie::Unknown, 100);
    let (lying, daemon) = Lying::start(lies, 2).await;
    lying.reach(34).await;
    let (gaps, _) = lying.check(daemon).await;
    assert_eq!(gaps, [], "what ends one connection does not come again on the next");
    let told = |lie| lying.serving.told(lie);
    for lie in [Lie::Huge, Lie::InvalidUtf8, Lie::BadEscape, Lie::Unknown] {
        assert!(told(lie) > 0, "{lie:?} was never told");
    }
    assert_eq!(lying.bucket("oversize"), told(Lie::Huge));
    assert_eq!(lying.bucket("malformed"), told(Lie::InvalidUtf8) + told(Lie::BadEscape));
    assert!(lying.bucket("control") >= told(Lie::Unknown));
}

/// A server's clock that runs back by seconds, over connections that end.
#[tokio::test(flavor = "multi_thread")]
async fn time_that_runs_backwards_moves_no_position_back() {
    let change = |config: &mut JetstreamConfig| config.jitter_ms = 700;
    let (lying, daemon) = Lying::start_with(lies(4).with(Lie::Close, 3_000), 4, change).await;
    lying.reach(34).await;
    let (gaps, _) = lying.check(daemon).await;
    assert_eq!(gaps, []);
    assert!(lying.serving.told(Lie::Close) > 0);
    let script = lying.script();
    let start = script.timeline().start();
    let times: Vec<_> = (start..start + 15_000).map(|n| time_us(&script.event(n).frame)).collect();
    assert!(times.windows(2).filter(|pair| pair[1] < pair[0] - 32_000).count() > 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_goes_unheard_is_a_gap_until_a_later_server_fills_it() {
    let lies = lies(2).with(Lie::IgnoreCursor, 100).with(Lie::Close, 400);
    let (lying, daemon) = Lying::start(lies, 5).await;
    until("the gap is filled", || lying.gaps().iter().any(|gap| gap.is_recovered)).await;
    until("the status says so", || source_status(&daemon)["gaps_recovered"] == 1).await;
    let status = source_status(&daemon);
    assert_eq!((&status["gaps"], &status["gap_s"]), (&1.into(), &0.0.into()), "{status}");
    assert!(status["gap_recovered_s"].as_f64().unwrap() > 1.0, "{status}");
    let (gaps, log) = lying.check(daemon).await;
    assert_eq!(lying.serving.told(Lie::IgnoreCursor), 1);
    let [gap] = gaps[..] else { panic!("{gaps:?}") };
    assert!(gap.is_recovered && log.contains("took no notice of the cursor"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_servers_window_is_a_gap_with_its_bounds() {
    let (lying, daemon) = Lying::start(lies(9).with(Lie::Clamp, 1), 6).await;
    lying.reach(32).await;
    daemon.kill();
    let last_us = lying.position().unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let daemon = lying.state.start();
    until("more of the stream", || lying.position() > Some(last_us + 5_000_000)).await;
    let (gaps, _) = lying.check(daemon).await;
    assert!(lying.serving.told(Lie::Clamp) > 0);
    let [gap] = gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((gap.from, gap.is_recovered), (last_us, false));
    assert!(gap.to - gap.from > 2_000_000, "{gap:?}");
}

/// The second connection is lied to, and the daemon that made it is killed before it can ask again.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_a_killed_daemon_has_booked_is_filled_by_the_next_one() {
    let (lying, daemon) = Lying::start(lies(2).with(Lie::Clamp, 1), 6).await;
    lying.reach(32).await;
    daemon.kill();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let daemon = lying.state.start();
    until("the gap", || !lying.gaps().is_empty()).await;
    daemon.kill();
    let booked = lying.gaps();
    assert!(booked.iter().all(|gap| !gap.is_recovered), "{booked:?}");
    assert_eq!(lying.serving.told(Lie::Clamp), 1);
    let daemon = lying.state.start();
    until("the gap is filled", || lying.gaps().iter().all(|gap| gap.is_recovered)).await;
    let status = source_status(&daemon);
    let (gaps, log) = lying.check(daemon).await;
    let bounds = |gaps: &[Gap]| gaps.iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>();
    assert_eq!(bounds(&gaps), bounds(&booked), "{status}");
    assert!(log.contains("gap filled"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_lost_at_the_change_to_live_are_noticed_and_fetched() {
    let lies = lies(2).with(Lie::Drop, 200).with(Lie::Reorder, 100).with(Lie::Close, 16_000);
    // With this seed the first connection ends after 23 s of the stream, when the rate is known.
    let (lying, daemon) = Lying::start(lies, 266).await;
    until("events were dropped", || lying.serving.told(Lie::Drop) > 0).await;
    until("the gap is filled", || lying.gaps().iter().any(|gap| gap.is_recovered)).await;
    let (gaps, log) = lying.check(daemon).await;
    assert!(lying.serving.told(Lie::Reorder) > 0);
    assert!(gaps.iter().all(|gap| gap.is_recovered), "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap.to - gap.from < 1_500_000), "{gaps:?}");
    assert!(log.contains("around the change from replay to live"), "{log}");
}

/// `silence_max_ms` is 30 s: what is noticed here was noticed by the rate. It begins after 25 s of the stream, when the
/// rate is known, and before it is live.
async fn a_silence_is_left(lie: Lie) {
    let (lying, daemon) = Lying::start(lies(1).with(lie, 1).after(25 * RATE), 9).await;
    lying.reach(34).await;
    let (gaps, log) = lying.check(daemon).await;
    assert_eq!((gaps, lying.serving.told(lie)), (vec![], 1));
    assert!(log.contains("silent beyond chance") && log.contains("unnatural at its usual"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_pings_and_sends_nothing_is_left() {
    a_silence_is_left(Lie::Quiet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_dead_behind_a_living_tcp_is_left() {
    a_silence_is_left(Lie::Dead).await;
}

/// `LIARS_SEED` is another run of it.
#[tokio::test(flavor = "multi_thread")]
async fn everything_at_once_loses_nothing_that_is_not_booked() {
    let seed = std::env::var("LIARS_SEED").map_or(12, |seed| seed.parse().unwrap());
    let (lying, daemon) = Lying::start(Lies::all().to_the_first(8).after(25 * RATE), seed).await;
    let mut client = lying.state.subscribe("helpdesk", 50).await;
    let mut delivered = BTreeSet::new();
    let deliveries = async {
        loop {
            let delivery = client.next().await.unwrap();
            client.ack(vec![delivery.seq]).await.unwrap();
            assert!(delivered.insert(delivery.seq), "delivered twice: {delivery:?}");
        }
    };
    tokio::select! {
        () = deliveries => {}
        () = lying.reach(50) => {}
    }
    drop(client);
    let (_, log) = lying.check(daemon).await;
    println!("{log}");
    let told: Vec<_> = Lie::ALL.into_iter().filter(|lie| lying.serving.told(*lie) > 0).collect();
    assert!(told.len() >= 8, "{}", lying.serving.lies_told());
}
