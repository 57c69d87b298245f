//! A helpdesk in memory that fails, and a bridge that can be killed at any moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::super::job::End;
use super::super::{Bridge, Counts, Policy, Shared, Target, WhenUnknown};
use crate::bridge::helpdesk::{Case, Values, Whereabouts};
use crate::bridge::http::CallError;
use crate::bridge::pace::Pace;
use crate::bridge::preset::HistoryKeeps;
use crate::bridge::text::{FourByte, Shape, Texts};
use crate::ledger::cases::Cases;
use crate::parse::Network;
use crate::ticket::TicketId;
use crate::ticket::proto::update::{self, Change};
use crate::ticket::proto::{Delivery, Post, Ticket, Update, delivery};

/// Compiled once: each life of a bridge has them.
pub(super) static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let levels = ["P1", "P2", "P3", "P4"].map(Into::into);
    let zone = jiff::tz::TimeZone::UTC;
    let history_keeps = HistoryKeeps::Nothing;
    let (text_chars_max, four_byte) = (30_000, FourByte::Keep);
    let shape = Shape { text_chars_max, erases_text: true, history_keeps, four_byte, levels, zone };
    Texts::new(shape, Vec::new()).unwrap()
});

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    NotSent,
    /// Nobody knows; it was done, or not.
    Unclear(bool),
    Limited,
    /// A limit that is not the account's, for so many seconds where it says so.
    LimitedAlone(Option<u64>),
    Refused(u16),
    /// Nobody knows, and it is done so much later, in microseconds.
    Late(i64),
}

#[derive(Debug, Default)]
pub(super) struct There {
    pub(super) reference: String,
    pub(super) level: String,
    pub(super) body: String,
    /// By number; an erased one is empty.
    pub(super) notes: BTreeMap<u64, String>,
    pub(super) made_at_us: i64,
    pub(super) labelled: bool,
    pub(super) fields: serde_json::Value,
}

/// A helpdesk.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) tickets: BTreeMap<u64, There>,
    /// Which were merged, and into which.
    pub(super) merged: BTreeMap<u64, u64>,
    pub(super) last: u64,
    pub(super) calls: Vec<&'static str>,
    /// The next calls' faults; after them by chance.
    pub(super) script: VecDeque<Option<Fault>>,
    pub(super) random: Option<fastrand::Rng>,
    /// Calls that are refused with this status each time, by name and ticket; 0 of those that are of none.
    pub(super) refuses: BTreeMap<(&'static str, u64), u16>,
    pub(super) cannot_find: bool,
    /// Whether it takes no ticket that fills the operator's fields.
    pub(super) refuses_fields: bool,
    /// Whether its preset has no question.
    pub(super) cannot_ask: bool,
    pub(super) lag_us: i64,
    pub(super) now_us: i64,
    /// Until when what was asked for last is under way.
    pub(super) done_at_us: i64,
    /// Calls that it has answered well.
    pub(super) answers: u64,
    /// Whether it takes no call for a note, as a preset without one.
    pub(super) notes_nothing: bool,
    /// Whether it knows our account no more: everything is as if it were not there.
    pub(super) is_strange: bool,
    /// Notes of which nobody was told that they are there.
    pub(super) lost_notes: BTreeSet<u64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Fake(pub(super) Arc<Mutex<World>>);

/// A moment at which the bridge may die.
pub(super) async fn moment() {
    let mut is_over = false;
    std::future::poll_fn(
        |_| if std::mem::replace(&mut is_over, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

impl Fake {
    async fn call<R>(&self, name: &'static str, work: impl FnOnce(&mut World) -> R) -> Result<R, CallError> {
        self.call_of(name, 0, work).await
    }

    async fn call_of<R>(
        &self,
        name: &'static str,
        id: u64,
        work: impl FnOnce(&mut World) -> R,
    ) -> Result<R, CallError> {
        moment().await;
        let fault = {
            let mut world = self.0.lock();
            world.calls.push(name);
            let refused = world.refuses.get(&(name, id)).map(|status| Some(Fault::Refused(*status)));
            match (refused.or_else(|| world.script.pop_front()), &mut world.random) {
                (Some(fault), _) => fault,
                (None, Some(random)) => match random.u32(0..20) {
                    0 => Some(Fault::NotSent),
                    1..=3 => Some(Fault::Unclear(false)),
                    4 | 5 => Some(Fault::Unclear(true)),
                    6 => Some(Fault::Late(random.i64(0..SETTLE_US))),
                    7 => Some(Fault::Limited),
                    8 | 9 => Some(Fault::Refused(302)),
                    _ => None,
                },
                (None, None) => None,
            }
        };
        let unclear = || CallError::Unclear("no answer".to_owned());
        {
            let mut world = self.0.lock();
            let late_us = if let Some(Fault::Late(us)) = fault { us } else { 0 };
            world.done_at_us = world.now_us + late_us;
            if world.is_strange {
                return Err(CallError::Refused { status: 404, words: String::new() });
            }
        }
        match fault {
            None => {}
            Some(Fault::NotSent) => return Err(CallError::NotSent("refused".to_owned())),
            Some(Fault::Unclear(false)) => return Err(unclear()),
            Some(Fault::Unclear(true) | Fault::Late(_)) => {
                work(&mut self.0.lock());
                moment().await;
                return Err(unclear());
            }
            Some(Fault::Limited) => {
                return Err(CallError::Limited { status: 429, wait: None, left: Some(0) });
            }
            Some(Fault::LimitedAlone(seconds)) => {
                let wait = seconds.map(Duration::from_secs);
                return Err(CallError::Limited { status: 429, wait, left: Some(150) });
            }
            Some(Fault::Refused(status)) => {
                return Err(CallError::Refused { status, words: "it says secret".to_owned() });
            }
        }
        let done = work(&mut self.0.lock());
        self.0.lock().answers += 1;
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
        self.call_of(name, id, |world| work(world.tickets.get_mut(&id).unwrap())).await
    }
}

pub(super) fn text(values: &Values, name: &str) -> String {
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
        let fields = values["fields"].clone();
        if self.0.lock().refuses_fields && fields != serde_json::json!({}) {
            self.0.lock().script.push_front(Some(Fault::Refused(422)));
        }
        let made = self.call("create", |world| {
            world.last += 1;
            let there = There {
                reference: text(values, "ref"),
                level: text(values, "level"),
                body: text(values, "body"),
                made_at_us: world.done_at_us,
                fields,
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
        if self.0.lock().notes_nothing {
            return Ok(Values::new());
        }
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

    async fn whereabouts(&self, case: &Case) -> Result<Whereabouts, CallError> {
        let id: u64 = case.id.parse().unwrap();
        let is_strange = self.0.lock().is_strange;
        match is_strange {
            true => Err(CallError::Unclear("it knows no ticket, nor does it answer rightly".to_owned())),
            false => {
                let look = self.call("look", |world| match (world.merged.get(&id), world.tickets.get(&id)) {
                    (Some(into), _) => Whereabouts::In(into.to_string()),
                    (None, Some(_)) => Whereabouts::There,
                    (None, None) => Whereabouts::Gone,
                });
                look.await
            }
        }
    }

    fn answers(&self) -> u64 {
        self.0.lock().answers
    }

    async fn is_sound(&self) -> Result<bool, CallError> {
        let (is_strange, cannot_ask) = {
            let world = self.0.lock();
            (world.is_strange, world.cannot_ask)
        };
        match is_strange {
            true => Ok(false),
            false if cannot_ask => Ok(true),
            false => self.call("probe", |_| true).await,
        }
    }

    async fn erase_note(&self, case: &Case, note: &Values, _: &Values) -> Result<(), CallError> {
        let number = note["number"].as_u64().unwrap();
        self.change("erase_note", case, |there| there.notes.get_mut(&number).unwrap().clear()).await
    }
}

/// A daemon's tickets, a helpdesk, and a bridge that can be killed.
pub(super) struct Trial {
    pub(super) folder: tempfile::TempDir,
    pub(super) world: Fake,
    pub(super) bridge: Option<Bridge<Fake>>,
    pub(super) when_unknown: WhenUnknown,
    /// Whether its API takes no text out.
    pub(super) keeps_text: bool,
    /// Whether a ticket that was merged keeps its own.
    pub(super) merged_keeps_text: bool,
    /// Counts of the bridges that have died.
    pub(super) counts: Counts,
}

/// Nothing is under way there for longer after we have given it up.
pub(super) const SETTLE_US: i64 = 3_000_000;
pub(super) const SETTLE: Duration = Duration::from_micros(SETTLE_US.unsigned_abs());
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// When the case store is made; tickets are made later.
pub(super) const BEGIN_US: i64 = 1_000_000;

impl Trial {
    pub(super) fn new(world: World) -> Trial {
        let folder = tempfile::tempdir().unwrap();
        let world = Fake(Arc::new(Mutex::new(world)));
        world.0.lock().now_us = BEGIN_US;
        let counts = Counts::default();
        let when_unknown = WhenUnknown::Again;
        let mut trial = Trial {
            folder,
            world,
            bridge: None,
            when_unknown,
            keeps_text: false,
            merged_keeps_text: false,
            counts,
        };
        trial.restart();
        trial
    }

    pub(super) fn restart(&mut self) {
        if let Some(bridge) = self.bridge.take() {
            let counts = bridge.shared.counts.lock();
            self.counts.unknown += counts.unknown;
            self.counts.adopted += counts.adopted;
        }
        let (now_us, cannot_find, cannot_ask, lag_us) = {
            let world = self.world.0.lock();
            (world.now_us, world.cannot_find, world.cannot_ask, world.lag_us)
        };
        let cases = Cases::open(&self.folder.path().join("cases"), now_us).unwrap();
        let policy = Policy {
            retry_min: RETRY,
            retry_max: RETRY * 60,
            when_unknown: self.when_unknown,
            can_find: !cannot_find,
            can_ask: !cannot_ask,
            has_fields: false,
            find_lag: Duration::from_micros(lag_us.unsigned_abs()),
            settle: SETTLE,
            look_after: RETRY,
            takes_text_out: !self.keeps_text,
            can_erase_notes: !self.keeps_text,
            merged_keeps_text: self.merged_keeps_text,
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
    pub(super) fn deliver(&mut self, seq: u64, record: &delivery::Record, moments: usize) -> Option<End> {
        let bridge = self.bridge.as_ref().unwrap();
        let delivery = Delivery { seq, attempt: 1, record: Some(record.clone()), priority_now: None };
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

    pub(super) fn whole(&mut self, seq: u64, record: &delivery::Record) -> End {
        self.deliver(seq, record, 1_000).unwrap()
    }

    pub(super) fn pass(&self, time: Duration) {
        self.world.0.lock().now_us += i64::try_from(time.as_micros()).unwrap();
    }

    pub(super) fn counts(&self) -> Counts {
        self.bridge.as_ref().unwrap().shared.counts.lock().clone()
    }

    /// Tickets with a text that its author has taken back and that is still there.
    pub(super) fn unerased(&self) -> u64 {
        self.bridge.as_ref().unwrap().shared.cases.lock().unerased().unwrap()
    }

    pub(super) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.world.0.lock().calls)
    }
}

pub(super) fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::X, post)
}

pub(super) fn post(id: &str) -> Post {
    Post { id: id.to_owned(), network: "x".to_owned(), text: format!("secret {id}"), ..Post::default() }
}

pub(super) fn ticket(name: &str) -> delivery::Record {
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

pub(super) fn change(name: &str, change: Change) -> delivery::Record {
    let ticket_id = id(name).as_bytes().to_vec();
    delivery::Record::Update(Update { ticket_id, at_us: 1, change: Some(change) })
}

pub(super) fn followed_up(name: &str, by: &str, level: i32) -> delivery::Record {
    let followed = update::FollowedUp { post: Some(post(by)), level, ..update::FollowedUp::default() };
    change(name, Change::FollowedUp(followed))
}

pub(super) fn erased() -> Change {
    Change::Erased(update::Erased { reason: "post_deleted".to_owned() })
}
