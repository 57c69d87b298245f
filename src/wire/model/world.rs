//! The real parts, driven one step at a time and compared with the twin after each.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tempfile::TempDir;

use self::client::Client;
use super::daemon::{Daemon, empty_ledger, entry, files, folder, log_path, path};
use super::step::{Event, INTENTS, Limit, NAMES, PLACES, Step};
use super::twin::{self, Job, Twin};
use crate::ledger::{Rescoring, Retention, Settlement};
use crate::telemetry::Buckets;
use crate::ticket::proto::{self, client_message};
use crate::wire::session::Terms;

mod client;

const SOURCE: &str = "bluesky";

pub(super) struct World {
    folder: TempDir,
    daemon: Option<Daemon>,
    now: Instant,
    clients: [Option<Client>; PLACES],
    /// Connections that are closed and wait for the ledger's answers.
    leaving: Vec<Client>,
    clients_ever: u64,
    batches: u64,
    twin: Twin,
    /// Handed to the ledger, not committed.
    queued: Vec<Job>,
    /// When it began, by the clock that the steps move.
    began: Instant,
    done: Done,
}

/// What a sequence came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Done {
    pub(super) delivered: u64,
    /// Tickets.
    pub(super) pruned: u64,
}

impl World {
    pub(super) fn new() -> World {
        let folder = folder();
        std::fs::write(path(&folder), empty_ledger()).unwrap();
        let daemon = Some(Daemon::start(&folder));
        let now = Instant::now();
        World {
            folder,
            daemon,
            now,
            began: now,
            clients: Default::default(),
            leaving: Vec::new(),
            clients_ever: 0,
            batches: 0,
            twin: Twin::default(),
            queued: Vec::new(),
            done: Done::default(),
        }
    }

    /// Does all steps, then delivers what is left.
    pub(super) fn run(mut self, steps: &[Step]) -> Done {
        for step in steps {
            self.step(step);
            self.compare();
        }
        self.finish(steps.len().is_multiple_of(2));
        self.done
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Settle(events) => self.settle(events),
            Step::Rescore { post, priority, intent } => {
                self.rescore(*post, priority.map(|priority| (priority, *intent)));
            }
            Step::Connect { place, name, filter, start_next, window } => {
                self.connect(*place, NAMES[*name], *filter, *start_next, *window);
            }
            Step::Turn => {
                self.commit();
                self.answer();
            }
            Step::Commit => self.commit(),
            Step::Answer => self.answer(),
            Step::Serve { place } => {
                self.take(*place);
                self.send(*place);
            }
            Step::Take { place } => self.take(*place),
            Step::Send { place } => self.send(*place),
            Step::Ack { place, nths } => self.acknowledge(*place, nths),
            Step::Nack { place, nth, delay_s } => {
                let Some(client) = &self.clients[*place] else { return };
                // A seq that is nobody's now and then.
                let seq = client.unanswered.get(*nth).copied().unwrap_or(*nth as u64);
                let retry_after_ms = delay_s.saturating_mul(1000);
                let nack = proto::Nack { seq, reason: String::new(), retry_after_ms };
                self.say(*place, client_message::Kind::Nack(nack));
            }
            Step::Heartbeat { place } => {
                self.say(*place, client_message::Kind::Heartbeat(proto::Heartbeat {}));
            }
            Step::Disconnect { place } => self.disconnect(*place),
            Step::Pass { seconds } => {
                self.now += Duration::from_secs(*seconds);
                self.elapse();
            }
            Step::RaiseFloors => self.daemon().writer.raise_floors().unwrap(),
            Step::Prune(limit) => self.prune(*limit),
            Step::Crash { during_commit } => self.crash(*during_commit),
            Step::Restart => self.restart(),
        }
    }

    fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("a daemon runs between steps")
    }

    fn settle(&mut self, events: &[Event]) {
        self.batches += 1;
        let position = self.batches as i64 * 10;
        let settlement = Settlement {
            source: SOURCE.into(),
            end_sequence: self.batches,
            position: Some(position),
            buckets: Buckets::default(),
            gaps: Vec::new(),
            recovered: Vec::new(),
            entries: events.iter().map(entry).collect(),
        };
        self.queued.push(Job::Settle { events: events.to_vec(), position });
        self.daemon().settlements.send(settlement).unwrap();
    }

    fn rescore(&mut self, post: u8, change: Option<(u16, usize)>) {
        let rescored = change.map(|(priority, intent)| {
            let intent = [(INTENTS[intent].to_owned(), 0.9)].into();
            let verdict = proto::Verdict { intent, ..Default::default() };
            Box::new(proto::update::Rescored {
                priority: priority.into(),
                factors: vec![twin::base(priority)],
                verdict: Some(verdict),
                ..Default::default()
            })
        });
        let rescoring = Rescoring {
            ticket_id: twin::ticket_id(post),
            at: Timestamp::UNIX_EPOCH,
            change: rescored,
            terms: super::without_floors(),
        };
        // Whether it is answered interests nobody here: what was not committed is provisional still.
        drop(self.daemon().handle.rescore(vec![rescoring]));
        self.queued.push(Job::Rescore { post, change });
    }

    /// One turn of the ledger.
    fn commit(&mut self) {
        if self.queued.is_empty() {
            // It would wait for work.
            return;
        }
        let mut jobs = std::mem::take(&mut self.queued);
        // The ledger takes batches before requests.
        jobs.sort_by_key(|job| !matches!(job, Job::Settle { .. }));
        self.twin.disk.commit(&jobs);
        self.twin.opened(&jobs);
        assert!(self.daemon().writer.turn(&|| ()).unwrap());
    }

    fn answer(&mut self) {
        for place in 0..PLACES {
            self.answer_client(place);
        }
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain_mut(|client| !self.leave(client));
        self.leaving = leaving;
    }

    fn elapse(&mut self) {
        for place in 0..PLACES {
            let Some(client) = &mut self.clients[place] else { continue };
            let mut actions = Vec::new();
            if client.session.deadline().is_some_and(|deadline| deadline <= self.now) {
                client.session.elapse(self.now, &mut actions);
            }
            self.act(place, actions);
        }
    }

    fn disconnect(&mut self, place: usize) {
        if let Some(mut client) = self.clients[place].take()
            && !self.leave(&mut client)
        {
            self.leaving.push(client);
        }
    }

    /// A round of pruning, at ten hours after the first ticket and what has passed since.
    fn prune(&mut self, limit: Limit) {
        let now_us = twin::created_at_us(10) + (self.now - self.began).as_micros() as i64;
        let mut prunable = self.twin.prunable(self.now);
        let disk = &self.twin.disk;
        let writer = &self.daemon.as_ref().expect("a daemon runs between steps").writer;
        let retention = match limit {
            Limit::Age { hour } => {
                prunable.retain(|post| disk.tickets[post].hour < hour);
                let age_us = now_us - twin::created_at_us(hour);
                Retention {
                    age_max: Some(Duration::from_micros(age_us as u64)),
                    live_bytes_max: None,
                    contacts_age_max: None,
                }
            }
            Limit::Size { share } => {
                // Nobody has asked for its tickets yet.
                prunable.retain(|_| !disk.subscriptions.is_empty());
                let live_bytes_max = writer.live_bytes() / 256 * u64::from(share);
                Retention { age_max: None, live_bytes_max: Some(live_bytes_max), contacts_age_max: None }
            }
        };
        let now = Timestamp::from_microsecond(now_us).unwrap();
        let pruned = self.daemon().writer.prune_round(retention, now);
        let most = prunable.len() as u64;
        match limit {
            Limit::Size { share: 1.. } => assert!(pruned <= most, "{pruned} pruned, {prunable:?} may go"),
            _ => assert_eq!(pruned, most, "{prunable:?} may go"),
        }
        prunable.into_iter().take(pruned as usize).for_each(|post| self.twin.pruned(post));
        self.done.pruned += pruned;
    }

    fn compare(&mut self) {
        for name in NAMES {
            let daemon = self.daemon.as_ref().expect("a daemon runs between steps");
            let outbox = daemon.outbox.lock();
            let counts = outbox.counts().find(|counts| counts.name == name);
            let counts = counts.map_or((0, 0), |counts| (counts.pending + counts.deferred, counts.in_flight));
            assert_eq!(counts, self.twin.counts(name), "records of {name} that wait and are in flight");
        }
        let account = self.daemon().handle.accounting().sources.remove(SOURCE).unwrap_or_default();
        let disk = &self.twin.disk;
        assert_eq!((account.buckets, account.position), (disk.buckets, disk.position), "the account");
    }

    /// The power fails: what was not committed is gone, and of a commit under way as much as had been written.
    fn crash(&mut self, during_commit: Option<u8>) {
        let before = files(&self.folder);
        let disk = self.twin.disk.clone();
        let opens = self.queued.iter().any(|job| matches!(job, Job::Subscribe { .. }));
        if during_commit.is_some() {
            self.commit();
        }
        let (file, mut log) = files(&self.folder);
        // A subscription is a commit of its own; a log that was emptied into the file had been whole before.
        if let Some(share) = during_commit
            && !opens
            && file == before.0
            && log.starts_with(&before.1)
            && log.len() > before.1.len()
        {
            let written = (log.len() - before.1.len()) * usize::from(share) / 256;
            log.truncate(before.1.len() + written);
            self.twin.disk = disk;
        }
        self.clients = Default::default();
        self.leaving.clear();
        self.queued.clear();
        let folder = folder();
        std::fs::write(path(&folder), file).unwrap();
        std::fs::write(log_path(&folder), log).unwrap();
        self.daemon = None;
        self.folder = folder;
        self.start();
    }

    /// An orderly stop: clients are told, what is under way is committed and answered.
    fn restart(&mut self) {
        for place in 0..PLACES {
            let Some(client) = &mut self.clients[place] else { continue };
            let mut actions = Vec::new();
            client.session.stop(self.now, &mut actions);
            self.act(place, actions);
        }
        self.commit();
        self.answer();
        self.now += Terms::default().drain_max;
        self.elapse();
        assert!(self.clients.iter().all(Option::is_none), "all are closed when the drain is over");
        assert!(self.leaving.is_empty(), "all is answered when the drain is over");
        let daemon = self.daemon();
        daemon.handle.stop();
        assert!(!daemon.writer.turn(&|| ()).unwrap());
        self.daemon = None;
        self.start();
    }

    fn start(&mut self) {
        self.twin.forget();
        self.daemon = Some(Daemon::start(&self.folder));
    }

    /// After another start everybody gets the rest: nothing is lost, and nothing comes again.
    fn finish(&mut self, with_crash: bool) {
        if with_crash {
            self.crash(None);
        } else {
            self.restart();
        }
        self.compare();
        let names: Vec<_> = self.twin.disk.subscriptions.keys().copied().collect();
        for name in names {
            self.connect(0, name, 0, false, 7);
            loop {
                self.commit();
                self.answer();
                self.take(0);
                self.send(0);
                self.compare();
                let count = self.clients[0].as_ref().map_or(0, |client| client.unanswered.len());
                if count == 0 {
                    break;
                }
                self.acknowledge(0, &Vec::from_iter(0..count));
            }
            let disk = &self.twin.disk;
            let Some(subscription) = disk.subscriptions.get(name) else { continue };
            let wanted = disk.seqs().filter(|seq| disk.ticket_of(*seq).seq > subscription.start);
            let lost: Vec<_> = wanted.filter(|seq| !subscription.acked.contains(seq)).collect();
            assert!(lost.is_empty(), "{lost:?} never came to {name}");
        }
    }
}
