//! What agents do in the helpdesk comes back, whatever becomes of webhooks, the connection and the bridge.

mod gone;
mod merged;
mod webhook;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use firehose::helpdesk::{
    Fake, Fault, Faults, Freshdesk, Glpi, Jira, Options, Plain, Quota, Request, Vendor, Zammad, Zendesk,
    serve,
};
use parking_lot::Mutex;
use ring::hmac;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use vigie::bridge::deliver::{Link, Shared};
use vigie::bridge::helpdesk::Helpdesk;
use vigie::bridge::pace::Pace;
use vigie::bridge::reconcile::Reconciler;
use vigie::ledger::cases::{Cases, Change, Origin, Place};
use vigie::parse::Network;
use vigie::ticket::TicketId;
use vigie::ticket::proto::{TicketStatus, client_message::Kind};

use super::{Arc, CALLS, State as There, built_in, helpdesk, reference, values};
use crate::daemon::{PATIENCE, State, get, patiently, run, vigie};

/// Longer than anything takes that comes: the reconciler rests for a second at most.
const QUIET: Duration = Duration::from_secs(2);
const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// A helpdesk, what a bridge knows of it, and a clock that can be put forward.
struct Desk<V> {
    fake: Fake<V>,
    vigie: Helpdesk,
    folder: tempfile::TempDir,
    shared: Shared,
    ahead_us: Arc<AtomicI64>,
}

/// The daemon's end.
struct Daemon {
    reports: mpsc::Receiver<Kind>,
    link: watch::Sender<Link>,
    hints: mpsc::Sender<String>,
}

impl<V: Vendor> Desk<V> {
    async fn new(vendor: V, kind: &str, options: serde_json::Value) -> Desk<V> {
        let fake = serve(vendor, Options::default()).await.unwrap();
        let mut preset = built_in(kind);
        // No test waits for a listing longer than it says.
        preset.calls.changed.iter_mut().for_each(|changed| changed.interval_min_ms = 0);
        let vigie = helpdesk(preset, &fake.url(), "secret", options);
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(folder.path());
        Desk { fake, vigie, folder, shared, ahead_us: Arc::default() }
    }

    /// A ticket that the bridge has made long ago.
    async fn make(&self) -> (TicketId, String) {
        self.make_at(1).await
    }

    async fn make_at(&self, now_us: i64) -> (TicketId, String) {
        let ticket_id = TicketId::of_post(Network::X, &reference());
        let case = self.vigie.create(&values(&self.vigie, &ticket_id.to_string(), 0)).await.unwrap();
        let place = Place {
            id: case.id.clone(),
            captured: serde_json::to_string(&case.captured).unwrap(),
            origin: Origin::Made,
            is_complete: true,
            is_gone: false,
        };
        let placed = Change::Placed {
            brand: "Lumio".to_owned(),
            level: 1,
            language: "fr".to_owned(),
            place,
            others: 0,
        };
        self.shared.cases.lock().apply(ticket_id, &[placed], now_us).unwrap();
        (ticket_id, case.id)
    }

    /// Reconciles while `script` goes on.
    async fn while_looking(&self, every: Duration, script: impl AsyncFnOnce(&mut Daemon)) {
        let ahead_us = self.ahead_us.clone();
        let clock = move || jiff::Timestamp::now().as_microsecond() + ahead_us.load(Ordering::Relaxed);
        let reconciler = Reconciler::new("desk", &self.vigie, self.shared.clone(), every, Arc::new(clock));
        let (reports, reported) = mpsc::channel(16);
        let (hints, mut hinted) = mpsc::channel(16);
        let link = watch::Sender::new(Link { is_up: true, lost: 0 });
        let (up, stop) = (link.subscribe(), watch::Sender::new(false));
        let mut daemon = Daemon { reports: reported, link, hints };
        tokio::select! {
            ended = reconciler.run(reports, up, &mut hinted, stop.subscribe()) => panic!("{ended:?}"),
            () = script(&mut daemon) => {}
        }
    }

    fn forward(&self, us: i64) {
        self.ahead_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Lasts until what was told counts as taken: it was told more than a minute ago, and nobody has gone since.
    async fn taken(&self) {
        tokio::time::sleep(QUIET).await;
        let reported = || self.shared.counts.lock().reported;
        let before = reported();
        patiently("the report to be taken", async {
            while reported() == before {
                self.forward(61_000_000);
                tokio::time::sleep(QUIET).await;
            }
        })
        .await;
    }

    fn calls(&self) -> usize {
        self.fake.counts().1
    }

    /// As after a crash: what was not written is gone.
    fn restarted(mut self) -> Desk<V> {
        drop(self.shared);
        self.shared = shared(self.folder.path());
        self
    }
}

fn shared(folder: &std::path::Path) -> Shared {
    let cases = Cases::open(&folder.join("cases.sqlite"), 1).unwrap();
    Shared { cases: Arc::new(Mutex::new(cases)), counts: Arc::default(), pace: Arc::new(Pace::new(CALLS)) }
}

impl Daemon {
    async fn next(&mut self) -> TicketStatus {
        match patiently("a report", self.reports.recv()).await.unwrap() {
            Kind::TicketStatus(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// The next report's state, agent and reference.
    async fn told(&mut self) -> (There, String, String) {
        let status = self.next().await;
        (status.state(), status.agent, status.helpdesk_ref)
    }

    async fn is_quiet(&mut self) {
        if let Ok(told) = tokio::time::timeout(QUIET, self.reports.recv()).await {
            panic!("told {told:?}");
        }
    }
}

fn told(state: There, agent: &str, id: &str) -> (There, String, String) {
    (state, agent.to_owned(), id.to_owned())
}

const SOON: Duration = Duration::from_millis(20);
/// Longer than the reconciler rests.
const REST: Duration = Duration::from_millis(1_100);
const NEVER: Duration = Duration::from_secs(3600);

async fn zammad() -> Desk<Zammad> {
    Desk::new(Zammad::default(), "zammad", json!({ "group": "Social" })).await
}

async fn zendesk() -> Desk<Zendesk> {
    let desk = Desk::new(Zendesk::default(), "zendesk", json!({ "user": "agent@vigie.test" })).await;
    desk.fake.with(|zendesk| zendesk.listings_max = usize::MAX);
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_answer_close_open_again_and_delete() {
    let desk = zammad().await;
    let (ticket_id, id) = desk.make().await;
    let agent = |fields: serde_json::Value| {
        desk.fake.with(|zammad| {
            let ticket = zammad.store.ticket(&id).unwrap();
            for (name, value) in fields.as_object().unwrap() {
                ticket[name] = value.clone();
            }
        });
    };
    desk.while_looking(SOON, async |daemon| {
        let first = daemon.next().await;
        assert_eq!(first.ticket_id, ticket_id.as_bytes());
        assert_eq!((first.state(), first.first_answer_at_us), (There::Open, 0));
        daemon.is_quiet().await;
        agent(json!({ "owner": "ada@vigie.test", "first_response_at": "2026-11-27T01:00:00.500Z", "state": "open" }));
        let answered = daemon.next().await;
        assert_eq!((answered.agent.as_str(), answered.first_answer_at_us), ("ada@vigie.test", 1_795_741_200_500_000));
        agent(json!({ "state": "closed" }));
        assert_eq!(daemon.told().await, told(There::Closed, "ada@vigie.test", &id));
        // Once it is taken, nobody asks for it before its day is over.
        desk.taken().await;
        let before = desk.calls();
        agent(json!({ "state": "open" }));
        daemon.is_quiet().await;
        assert_eq!(desk.calls(), before);
        desk.forward(DAY_US);
        assert_eq!(daemon.told().await, told(There::Open, "ada@vigie.test", &id));
        desk.taken().await;
        desk.fake.with(|zammad| zammad.store.tickets.clear());
        let deleted = daemon.next().await;
        assert_eq!((deleted.state(), deleted.agent.as_str()), (There::Deleted, "ada@vigie.test"));
        assert_eq!(deleted.first_answer_at_us, 1_795_741_200_500_000);
        desk.taken().await;
        let before = desk.calls();
        desk.forward(10 * DAY_US);
        daemon.is_quiet().await;
        assert_eq!(desk.calls(), before, "what is gone is asked for no more");
    })
    .await;
    let counts = desk.shared.counts.lock().clone();
    assert_eq!(counts.reported, 3, "of news that came faster than they are taken the last one");
    assert_eq!(counts.ended, 2, "closed, and deleted after it was opened again");
    assert!(desk.shared.cases.lock().get(ticket_id).unwrap().unwrap().place.unwrap().is_gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_nobody_looked_is_found_and_told_until_the_daemon_has_it() {
    let desk = zendesk().await;
    let (_, id) = desk.make().await;
    desk.while_looking(SOON, async |daemon| {
        assert_eq!(daemon.told().await.0, There::Open);
        desk.taken().await;
    })
    .await;
    // The bridge is away; an agent solves the ticket and the customer rates it.
    let solved = json!({ "status": "solved", "assignee_id": 8, "satisfaction_rating": { "score": "good" } });
    desk.fake.with(|zendesk| zendesk.change(&id, &solved));
    let desk = desk.restarted();
    let rated = |status: &TicketStatus| {
        assert_eq!(
            (status.state(), status.agent.as_str(), status.satisfaction),
            (There::Solved, "Ada Agent", 5)
        );
    };
    desk.while_looking(SOON, async |daemon| {
        rated(&daemon.next().await);
        daemon.is_quiet().await;
        // The connection breaks before anybody knows that it was taken.
        daemon.link.send_replace(Link { is_up: false, lost: 1 });
        rated(&daemon.next().await);
        daemon.link.send_replace(Link { is_up: true, lost: 1 });
        daemon.is_quiet().await;
    })
    .await;
    // And so does the bridge.
    let desk = desk.restarted();
    desk.while_looking(SOON, async |daemon| {
        rated(&daemon.next().await);
        desk.taken().await;
    })
    .await;
    let desk = desk.restarted();
    desk.while_looking(SOON, async |daemon| {
        daemon.is_quiet().await;
        desk.fake.with(|zendesk| zendesk.change(&id, &json!({ "status": "open" })));
        assert_eq!(daemon.told().await, told(There::Open, "Ada Agent", &id), "opened again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_are_read_at_once_and_those_of_others_cost_nothing() {
    let desk = zammad().await;
    let (_, id) = desk.make().await;
    desk.while_looking(NEVER, async |daemon| {
        daemon.next().await;
        desk.fake.with(|zammad| zammad.store.ticket(&id).unwrap()["state"] = json!("closed"));
        daemon.is_quiet().await;
        let before = desk.calls();
        for hint in ["999", "../../x", id.as_str(), id.as_str(), ""] {
            daemon.hints.send(hint.to_owned()).await.unwrap();
        }
        assert_eq!(daemon.told().await.0, There::Closed);
        daemon.is_quiet().await;
        assert!((1..=2).contains(&(desk.calls() - before)), "{} calls", desk.calls() - before);
        // Late: it has been told.
        daemon.hints.send(id.clone()).await.unwrap();
        daemon.is_quiet().await;
    })
    .await;
}

/// A listing may have a limit of its own: what it leaves out is asked for at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_limited_keeps_no_ticket_from_being_read() {
    let desk = zendesk().await;
    let remaining_header = Some("ratelimit-remaining");
    desk.fake.set_quota(Some(Quota { remaining_header, ..Quota::new(1_000_000, Duration::from_secs(3600)) }));
    let (_, id) = desk.make().await;
    desk.fake.with(|zendesk| zendesk.listings_max = 0);
    desk.while_looking(SOON, async |daemon| {
        assert_eq!(daemon.told().await, told(There::Open, "", &id));
        desk.forward(50_000_000);
        daemon.is_quiet().await;
        let log = desk.fake.log();
        let limited: Vec<_> = log.calls.iter().filter(|call| call.status == Some(429)).collect();
        assert_eq!(limited.len(), 1, "it is asked for again when it may be");
        let read = log.calls.iter().find(|call| call.at > limited[0].at).unwrap();
        assert!(read.at - limited[0].at < Duration::from_millis(900), "the others have waited");
        desk.fake.with(|zendesk| zendesk.listings_max = usize::MAX);
        desk.forward(20_000_000);
        desk.fake.with(|zendesk| zendesk.change(&id, &json!({ "status": "solved" })));
        assert_eq!(daemon.told().await.0, There::Solved);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_change_is_read_before_what_we_have_changed_ourselves() {
    let options = json!({});
    let desk = Desk::new(Freshdesk::default(), "freshdesk", options).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(desk.make().await);
    }
    desk.while_looking(SOON, async |daemon| {
        for _ in &ids {
            daemon.next().await;
        }
        desk.taken().await;
        let reads = || {
            let calls = desk.fake.log().calls;
            let paths = calls.into_iter().map(|call| call.request.path);
            paths.filter(|path| path.starts_with("/api/v2/tickets/")).collect::<Vec<_>>()
        };
        let before = reads().len();
        // We write to all of them, an agent to one.
        let now: jiff::Timestamp = "2100-03-01T00:00:00Z".parse().unwrap();
        for (ticket_id, id) in &ids {
            let done = Change::Done { seq: 9, level: 1 };
            desk.shared.cases.lock().apply(*ticket_id, &[done], now.as_microsecond()).unwrap();
            let at = json!({ "updated_at": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
            desk.fake.with(|freshdesk| freshdesk.changed_at(id, &at));
        }
        let later = now + Duration::from_secs(60);
        let solved = json!({ "status": 4, "updated_at": later.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
        desk.fake.with(|freshdesk| freshdesk.changed_at(&ids[7].1, &solved));
        assert_eq!(daemon.told().await, told(There::Solved, "", &ids[7].1));
        daemon.is_quiet().await;
        let own = format!("/api/v2/tickets/{}", ids[7].1);
        let is_of_it = |path: &String| {
            path.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        assert!(reads()[before..].iter().all(is_of_it), "{:?}", &reads()[before..]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_refused_keeps_nothing_from_being_read() {
    let desk = zendesk().await;
    let (_, id) = desk.make().await;
    let is_list = |path: &str| path.contains("incremental");
    desk.while_looking(SOON, async |daemon| {
        assert_eq!(daemon.told().await.0, There::Open);
        desk.taken().await;
        for status in [403, 404, 422] {
            desk.fake.set_faults(Faults::choose(move |request| {
                is_list(&request.path).then_some(Fault::Status { status, done: false })
            }));
            let state = if status == 404 { "open" } else { "solved" };
            desk.fake.with(|zendesk| zendesk.change(&id, &json!({ "status": state })));
            let refused = desk.fake.log().calls.iter().filter(|call| is_list(&call.request.path)).count();
            desk.forward(2 * DAY_US);
            let told = daemon.told().await.0;
            assert_eq!(told, if status == 404 { There::Open } else { There::Solved });
            desk.taken().await;
            let after = desk.fake.log().calls.iter().filter(|call| is_list(&call.request.path)).count();
            assert!(after > refused, "the fault fires");
        }
        desk.fake.set_faults(Faults::none());
        desk.fake.with(|zendesk| zendesk.change(&id, &json!({ "status": "pending" })));
        desk.forward(2 * DAY_US);
        assert_eq!(daemon.told().await.0, There::Pending);
    })
    .await;
}

/// With the token refused everything is refused: it is no matter of the listing, whose cursor stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_for_long_loses_no_change() {
    let desk = zendesk().await;
    desk.make().await;
    // Whether each listing went on from where the one before it was.
    let lists = || -> Vec<bool> {
        let calls = desk.fake.log().calls.into_iter().map(|call| call.request);
        let lists = calls.filter(|request| request.path.contains("incremental"));
        lists.map(|request| request.query("cursor").is_some()).collect()
    };
    desk.while_looking(SOON, async |daemon| {
        // One failed call pauses all others, a listing as well as the look at the ticket that is due: whichever had its
        // turn, the clock is put forward until it is the listing's.
        let next = async |daemon: &Daemon| {
            let before = lists().len();
            let listed = async {
                while lists().len() == before {
                    desk.forward(DAY_US);
                    // Else it would rest for a second.
                    daemon.link.send_modify(|_| {});
                    tokio::time::sleep(SOON).await;
                }
            };
            patiently("a listing", listed).await;
        };
        assert_eq!(daemon.told().await.0, There::Open);
        desk.taken().await;
        desk.fake.set_faults(Faults::choose(|_| Some(Fault::Status { status: 401, done: false })));
        for _ in 0..7 {
            next(daemon).await;
        }
        desk.fake.set_faults(Faults::none());
        next(daemon).await;
        next(daemon).await;
        assert_eq!(lists().last(), Some(&true), "{:?}", lists());
        assert!(lists()[1..].iter().all(|has_cursor| *has_cursor), "{:?}", lists());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_that_comes_days_after_the_end_is_heard_and_then_it_is_over() {
    let desk = Desk::new(Freshdesk::default(), "freshdesk", json!({})).await;
    let (ticket_id, id) = desk.make().await;
    let again_at_us = || desk.shared.cases.lock().get(ticket_id).unwrap().unwrap().again_at_us;
    desk.while_looking(SOON, async |daemon| {
        daemon.next().await;
        desk.fake.with(|freshdesk| freshdesk.change(&id, &json!({ "status": 4 })));
        assert_eq!(daemon.told().await.0, There::Solved);
        desk.taken().await;
        desk.forward(DAY_US);
        daemon.is_quiet().await;
        // The list shows nothing of it.
        desk.fake.with(|freshdesk| freshdesk.rate(&id, &json!(102)));
        daemon.is_quiet().await;
        desk.forward(6 * DAY_US);
        let rated = daemon.next().await;
        assert_eq!((rated.state(), rated.satisfaction), (There::Solved, 4));
        desk.taken().await;
        assert_eq!(again_at_us(), None);
    })
    .await;
}

/// What is written into the log while it is kept.
fn logged() -> (Arc<Mutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    struct Writer(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let text = Arc::new(Mutex::new(Vec::new()));
    let into = text.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || Writer(into.clone()))
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .finish();
    (text, tracing::subscriber::set_default(subscriber))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_understands_is_said_once_counted_and_loses_nothing_else() {
    let (log, _kept) = logged();
    let log = || String::from_utf8(log.lock().clone()).unwrap();
    let options = json!({ "group": "Social", "recommendation": "nps" });
    let desk = Desk::new(Zammad::default(), "zammad", options).await;
    let ((ticket_id, id), (_, other)) = (desk.make().await, desk.make().await);
    let misread = || desk.shared.counts.lock().misread;
    desk.while_looking(SOON, async |daemon| {
        daemon.next().await;
        daemon.next().await;
        assert_eq!(misread(), 0);
        let agent = |id: &str, fields: serde_json::Value| {
            desk.fake.with(|zammad| {
                let ticket = zammad.store.ticket(id).unwrap();
                for (name, value) in fields.as_object().unwrap() {
                    ticket[name] = value.clone();
                }
            });
        };
        let wrong = json!({ "nps": 11, "owner": "ada@vigie.test", "first_response_at": "yesterday", "state": "closed" });
        agent(&id, wrong);
        let status = daemon.next().await;
        assert_eq!((status.state(), status.agent.as_str()), (There::Closed, "ada@vigie.test"));
        assert_eq!((status.recommendation, status.first_answer_at_us), (None, 0));
        assert_eq!(misread(), 1);
        // Of the second one the state is new, and what was said of the first is not said again.
        agent(&other, json!({ "nps": 11, "state": "escalated to mars" }));
        patiently("the second one", async {
            while misread() < 2 {
                tokio::time::sleep(SOON).await;
            }
        })
        .await;
        daemon.is_quiet().await;
        assert_eq!(misread(), 2);
        agent(&id, json!({ "nps": 9, "first_response_at": null, "state": "open" }));
        desk.taken().await;
        desk.forward(DAY_US);
        assert_eq!(daemon.next().await.recommendation, Some(9));
        assert_eq!(misread(), 1);
    })
    .await;
    let log = log();
    let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("not understood; it changes nothing"), 3, "{log}");
    for (field, value) in
        [("recommendation", "11"), ("first_answer_at", "yesterday"), ("state", "escalated to mars")]
    {
        assert_eq!(lines(&format!("field=\"{field}\" value=\"{value}\"")), 1, "{field} {log}");
    }
    assert_eq!(lines(&ticket_id.to_string()), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_of_what_we_have_just_written_costs_no_call() {
    let desk = zammad().await;
    let (ticket_id, id) = desk.make().await;
    desk.while_looking(NEVER, async |daemon| {
        daemon.next().await;
        desk.taken().await;
        let now_us = || jiff::Timestamp::now().as_microsecond() + desk.ahead_us.load(Ordering::Relaxed);
        desk.shared.cases.lock().apply(ticket_id, &[Change::Done { seq: 1, level: 1 }], now_us()).unwrap();
        let before = desk.calls();
        daemon.hints.send(id.clone()).await.unwrap();
        daemon.is_quiet().await;
        assert_eq!(desk.calls(), before);
        desk.forward(10_000_000);
        desk.fake.with(|zammad| zammad.store.ticket(&id).unwrap()["state"] = json!("closed"));
        daemon.hints.send(id.clone()).await.unwrap();
        assert_eq!(daemon.told().await.0, There::Closed);
    })
    .await;
}
