//! Builds the stages, joins them with bounded queues, and drains them.
//!
//! The only place that spawns threads and tasks. Data flows down, acknowledgements flow up on channels of
//! their own. Stopping is a direction too: the sources end, the queues run dry in order, the ledger
//! commits, the connections are closed.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::access::Access;
use crate::classify::{Classifier, OpenError};
use crate::config::{Config, Engine, SourceConfig, UnderLoad};
use crate::console::service::{ServiceStatus, StageStatus};
use crate::console::{self, Console};
use crate::desk::conversation::{CONVERSATIONS_MAX, FURTHER_MAX, Remembered};
use crate::desk::told::{self, Heard, Hearing};
use crate::desk::{Desk, KNOWN_TICKETS_MAX};
use crate::ledger::assigned::Assigned;
use crate::ledger::context::Reader;
use crate::ledger::outbox::{self, Outbox};
use crate::ledger::{Accounting, Handle, Ledger, LedgerError, Settlement, Writer, articles};
use crate::prefilter::watched::Watched;
use crate::source::{self, Backlog, BatchSender, Durable, FrameBatch, Health, Stored};
use crate::telemetry::process::Process;
use crate::telemetry::pulse::{Pulse, Pulses, Stuck};
use crate::wire::{BindError, Gates, Hub, Listener};

pub mod inherited;
pub mod lane;
pub mod model;
pub mod overload;
pub mod reload;
pub mod rescore;
pub mod settle;

use inherited::{Inherited, InheritedError};
use lane::{Forward, Lane, LaneOutput, Waiting};
use model::{Decided, Model, Verdicts};
use overload::Overload;
use reload::{Reloader, Reloads, Rules};
use rescore::Rescorer;

/// Outputs that wait for the model; each holds the counts of its batches, their few candidates, and deletions.
const QUEUE_OUTPUTS: usize = 256;
/// Decided batches that wait for the desk, and settlements that wait for the ledger.
const QUEUE_DECIDED: usize = 64;

/// Longest drain after a fault: what the healthy stages hold is done by then, and the restart is awaited. A test
/// on a busy machine may take its time.
const FAULT_DRAIN_MAX: Duration = Duration::from_secs(if cfg!(test) { 300 } else { 2 });

/// A thread that is at one piece of work for longer is stuck, unless the watchdog says otherwise. Legitimate pieces
/// end within seconds: a model call, a commit with its fsync on a busy disk, the opening of a subscription with a
/// long backlog.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// Between two beats of the async runtime.
const BEAT: Duration = Duration::from_secs(1);

/// Why the daemon cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The model.
    #[error(transparent)]
    Model(#[from] OpenError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ticket socket.
    #[error(transparent)]
    Wire(#[from] BindError),
    /// The console.
    #[error("console {address}: {error}")]
    Console {
        /// Where it should listen.
        address: String,
        /// Why it cannot.
        error: io::Error,
    },
    /// Rules that the config check let through.
    #[error(transparent)]
    Rules(#[from] reload::Refused),
    /// A socket that systemd hands over and that fits nothing.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// The async runtime or a thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// A stage ended before it was told to.
    #[error("{0}")]
    Fault(String),
    /// Draining took longer than allowed.
    #[error("not drained within {0} ms: what was not committed comes again after the restart")]
    DrainTimedOut(u128),
}

/// What the operator asks of a running daemon.
#[derive(Debug)]
pub enum Control {
    /// Stop the sources, finish what was received, and end.
    Drain,
}

/// A source that does not run yet.
struct Feed {
    source: SourceConfig,
    /// Where the ledger says it resumes, and what was missing before that.
    stored: Stored,
    /// Its last committed batch, against the data's direction: from the ledger's thread, past
    /// all stages, to a source that tells its sender.
    durable: watch::Receiver<Durable>,
    health: Arc<Health>,
}

/// Everything opened and bound, nothing running yet.
pub struct Pipeline {
    runtime: Runtime,
    sources: Vec<Feed>,
    engine: Engine,
    batches: (BatchSender, Receiver<FrameBatch>),
    reloader: Reloader,
    classifier: Classifier,
    model_threads: NonZeroUsize,
    batch_delay_max: Duration,
    desk: Desk,
    watched: Arc<Watched>,
    people: Reader,
    hearing: Hearing,
    articles: articles::Reader,
    settlements: Sender<Settlement>,
    writer: Writer,
    ledger: Handle,
    hub: Hub,
    access: Arc<Access>,
    listener: Listener,
    console: Option<Console>,
    pulses: StagePulses,
    view: Arc<View>,
}

/// The pulse of each stage that has one, but for the ledger, which brings its own.
struct StagePulses {
    lanes: Vec<Arc<Pulse>>,
    model: Arc<Pulse>,
    desk: Arc<Pulse>,
    edges: Arc<Pulse>,
}

impl Pipeline {
    /// Opens the model and the ledger, compiles the dictionary, and binds the sockets.
    ///
    /// # Errors
    ///
    /// Anything of these cannot be had; nothing is left behind.
    pub fn build(config: Config) -> Result<Pipeline, PipelineError> {
        Pipeline::build_with(config, Inherited::default())
    }

    /// The same, with sockets that systemd has opened already.
    ///
    /// # Errors
    ///
    /// As [`build`](Pipeline::build), or a socket listens elsewhere than the config says.
    pub fn build_with(config: Config, inherited: Inherited) -> Result<Pipeline, PipelineError> {
        inherited.check(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("vigie-async")
            .enable_all()
            .build()?;
        let _inside = runtime.enter();
        let reloader =
            Reloader::new(Rules::build(&config.prefilter, &config.desk)?, config.access.clone(), config.keys);
        let classifier = Classifier::open(&config.classify)?;
        let batch_delay_max = config.classify.batch_delay_max;

        let path = config.ledger.path.clone();
        let ledger = Ledger::open(config.ledger)?;
        let people = Reader::open(&path)?;
        let articles = articles::Reader::open(&path)?;
        let mut desk = Desk::default();
        // One more than it remembers: it then knows that there are older ones.
        ledger.tickets(KNOWN_TICKETS_MAX + 1, |id, text_hash| desk.remember(id, text_hash))?;
        let watched = Arc::<Watched>::default();
        desk.conversations.watched_by(watched.clone());
        ledger.conversations(CONVERSATIONS_MAX, |ticket| desk.remember_conversation(&ticket))?;
        ledger.further_posts(FURTHER_MAX + 1, |post| desk.remember_post(&post))?;
        ledger.thanks(|network, author_id, ticket_id, at_us| {
            desk.conversations.remember_thanks(network, author_id, ticket_id, at_us);
        })?;
        ledger.open_assigned(|assigned| restore(&mut desk, assigned))?;
        let sources: Vec<_> = config
            .sources
            .into_iter()
            .map(|source| Ok((ledger.stored(source.name())?, source)))
            .map(|source| source.map(|(stored, source)| (source, stored, Arc::new(Health::default()))))
            .collect::<Result<_, LedgerError>>()?;

        let (settlements, settled) = bounded(QUEUE_DECIDED);
        let outbox = Arc::new(Mutex::new(Outbox::new()));
        let (mut writer, ledger) = ledger.split(settled, outbox.clone())?;
        let (teller, hearing) = told::channel(told::QUEUE_TOLD);
        writer.tell(teller);
        let sources = sources
            .into_iter()
            .map(|(source, stored, health)| {
                let durable = writer.follow(source.name(), stored.position);
                Feed { source, stored, durable, health }
            })
            .collect::<Vec<_>>();
        let hub = Hub::new(Arc::new(ledger.clone()), outbox.clone());
        let listener = Listener::bind_or_take(config.wire, inherited.tickets_unix, inherited.tickets_tcp)?;
        let console = config.console.listen.map(|address| {
            let console = inherited.http.map_or_else(|| Console::bind(address), Console::over);
            console.map_err(|error| PipelineError::Console { address: address.to_string(), error })
        });
        let console = console.transpose()?;
        let batches = source::batch_queue(config.engine.queue_batches);
        let mut pulses = Pulses::default();
        let stage_pulses = StagePulses {
            lanes: (0..config.engine.lanes.get()).map(|lane| pulses.add(&lane_name(lane))).collect(),
            model: pulses.add("vigie-model"),
            desk: pulses.add("vigie-desk"),
            edges: pulses.add("vigie-async"),
        };
        pulses.follow(console::service::LEDGER_STAGE, ledger.vitals().pulse.clone());
        let view = Arc::new(View {
            started: Instant::now(),
            started_at: Timestamp::now(),
            pulses,
            stuck_after: OnceLock::new(),
            draining: AtomicBool::new(false),
            reloads: reloader.reloads().clone(),
            queue_candidates_max: config.engine.queue_candidates,
            model: classifier.model().to_owned(),
            runtime: classifier.runtime().to_owned(),
            healths: sources
                .iter()
                .map(|feed| (feed.source.name().clone(), feed.source.kind(), feed.health.clone()))
                .collect(),
            ledger: ledger.clone(),
            outbox,
            waiting: Arc::default(),
            verdicts: Arc::default(),
            backlog: batches.0.backlog(),
            gates: listener.gates(),
        });
        drop(_inside);
        Ok(Pipeline {
            runtime,
            sources,
            engine: config.engine,
            batches,
            reloader,
            classifier,
            model_threads: config.classify.threads,
            batch_delay_max,
            desk,
            watched,
            people,
            hearing,
            articles,
            settlements,
            writer,
            ledger,
            hub,
            access: config.access,
            listener,
            console,
            pulses: stage_pulses,
            view,
        })
    }

    /// Where the console listens, if it does.
    pub fn console_address(&self) -> Option<std::net::SocketAddr> {
        self.console.as_ref().map(Console::address)
    }

    /// Reloads the daemon once it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// What the console shows, for whoever embeds the daemon.
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    /// Runs until told to drain, or until a stage fails.
    ///
    /// `ready` is called once every stage runs.
    ///
    /// # Errors
    ///
    /// A fault that a restart may cure; what was not committed comes again after it.
    pub fn run(
        self,
        control: mpsc::Receiver<Control>,
        ready: impl FnOnce(),
    ) -> Result<Accounting, PipelineError> {
        let runtime = self.runtime;
        let drain_max = self.engine.drain_max;
        let (faults, mut fault) = mpsc::unbounded_channel();
        let spawn = Spawn { faults };
        let (stop_sources, sources_stopped) = watch::channel(false);
        let (stop_edges, edges_stopped) = watch::channel(false);

        // Downstream first, so that nothing waits for a stage that is not there yet.
        let hub = self.hub.clone();
        let ledger_thread = spawn.thread(console::service::LEDGER_STAGE, move || {
            self.writer.run(|| hub.published()).map_err(|error| error.to_string())
        })?;
        let rules = self.reloader.rules();
        let pulses = self.pulses;
        let (to_desk, decided) = bounded::<Decided>(QUEUE_DECIDED);
        let (desk, desk_rules, settlements) = (self.desk, rules.clone(), self.settlements);
        let mut articles = self.articles;
        let mut people = self.people;
        let (hearing, hear_rules, hear_ledger) = (self.hearing, rules.clone(), self.ledger.clone());
        let desk_thread = spawn.thread("vigie-desk", move || {
            let mut underway = None;
            let hear = |desk: &mut Desk, heard| hear(desk, heard, &hear_rules, &hear_ledger, &mut underway);
            let pulse = &pulses.desk;
            let run = settle::run(
                desk,
                &mut people,
                &mut articles,
                &desk_rules,
                &decided,
                hearing,
                hear,
                &settlements,
                pulse,
            );
            run.map_err(|error| error.to_string())
        })?;
        let (to_model, outputs) = bounded::<LaneOutput>(QUEUE_OUTPUTS);
        let stage = model::Stage {
            lanes: outputs,
            waiting: self.view.waiting.clone(),
            desk: to_desk,
            batch_delay_max: self.batch_delay_max,
            overload: overload(&self.engine, self.model_threads, self.batches.0.backlog()),
            rescorer: Some(Rescorer::new(self.ledger.clone(), rules.clone())),
            verdicts: self.view.verdicts.clone(),
            pulse: pulses.model,
        };
        let model = Model::new(self.classifier);
        let model_thread =
            spawn.thread("vigie-model", move || stage.run(model).map_err(|error| error.to_string()))?;
        let (batch_sender, batches) = self.batches;
        let mut lane_threads = Vec::new();
        for (lane, pulse) in pulses.lanes.into_iter().enumerate() {
            let candidates_max = self.engine.queue_candidates.get();
            let forward = Forward::new(to_model.clone(), self.view.waiting.clone(), candidates_max);
            let forward = forward.with_pulse(pulse.clone());
            let (batches, rules, watched) = (batches.clone(), rules.clone(), self.watched.clone());
            lane_threads.push(spawn.thread(&lane_name(lane), move || {
                run_lane(&batches, &rules, Lane::watching(watched), forward, &pulse);
                Ok(())
            })?);
        }
        // The lanes hold the last of these from here on: the queues close when they end.
        drop((to_model, batches));

        let _inside = runtime.enter();
        let beats = spawn.task(&runtime, "async", beat(pulses.edges.clone()));
        let serve = self.listener.serve(self.hub, edges_stopped.clone());
        let wire =
            spawn.task(&runtime, "wire", async move { serve.await.map_err(|error| error.to_string()) });
        if let Some(console) = self.console {
            let (view, judged) = (self.view.clone(), self.view.clone());
            let console =
                console.judged_by(Arc::new(move || judged.stuck().first().map(ToString::to_string)));
            let console = console.keeping(Arc::new(self.ledger.clone()));
            let serve = console.serve(Arc::new(move || view.status()), self.access, edges_stopped);
            spawn.task(&runtime, "console", async move {
                serve.await;
                Ok(())
            });
        }
        let mut source_tasks = Vec::new();
        for Feed { source, stored, durable, health } in self.sources {
            let (out, stop) = (batch_sender.clone(), sources_stopped.clone());
            source_tasks.push(spawn.task(&runtime, "source", async move {
                match source {
                    SourceConfig::Jetstream(config) => {
                        source::jetstream::run(config, stored, out, health, stop).await;
                    }
                    SourceConfig::Ndjson(config) => {
                        // What comes through a pipe is never what came through it before the restart.
                        let position = stored.position.filter(|_| config.path != Path::new("-"));
                        source::ndjson::run(config, position, out, health, stop).await;
                    }
                    SourceConfig::Tcp(config) => {
                        source::tcp::run(config, stored.position, durable, out, health, stop).await;
                    }
                }
                Ok(())
            }));
        }
        drop(batch_sender);
        ready();

        let told = runtime.block_on(obey(control, &mut fault));
        // After a fault the other stages still finish and commit what they hold: a batch that one of them lost
        // keeps its source's cursor from moving past it, so that it comes again after the restart.
        let drain_max = match &told {
            Ok(()) => drain_max,
            Err(fault) => {
                error!(%fault, "ending after a fault");
                drain_max.min(FAULT_DRAIN_MAX)
            }
        };
        info!("draining");
        self.view.draining.store(true, Ordering::Relaxed);
        stop_sources.send_replace(true);
        let ledger = self.ledger;
        let drained = runtime.block_on(async {
            tokio::time::timeout(drain_max, async {
                for task in source_tasks {
                    drop(task.await);
                }
                for thread in lane_threads.into_iter().chain([model_thread, desk_thread]) {
                    join(thread).await;
                }
                // Everything received is settled; clients are told to go, their last acknowledgements are
                // committed, and the ledger ends.
                stop_edges.send_replace(true);
                drop(wire.await);
                ledger.stop();
                join(ledger_thread).await;
            })
            .await
        });
        let accounting = ledger.accounting();
        beats.abort();
        pulses.edges.rest();
        runtime.shutdown_background();
        told.map_err(PipelineError::Fault)?;
        if let Ok(fault) = fault.try_recv() {
            return Err(PipelineError::Fault(fault));
        }
        drained.map_err(|_| PipelineError::DrainTimedOut(drain_max.as_millis()))?;
        Ok(accounting)
    }
}

fn restore(desk: &mut Desk, assigned: &Assigned) {
    let Assigned { ticket_id, assignee, by_helpdesk, is_open } = assigned;
    desk.restore_assignment(*ticket_id, &assignee.team, &assignee.agent, !by_helpdesk, *is_open);
}

/// What helpdesks report, on the desk's thread. `underway` is what the ledger has not yet recorded of tickets that
/// were assigned anew.
fn hear(
    desk: &mut Desk,
    heard: Heard,
    rules: &ArcSwap<Rules>,
    ledger: &Handle,
    underway: &mut Option<oneshot::Receiver<Result<(), String>>>,
) {
    match heard {
        Heard::Told(told) => desk.hear(&told),
        Heard::Agents(agents) => desk.set_agents(&agents),
        Heard::Orphans => {
            // One batch at a time is with the ledger, and nobody waits for it: a team that leaves fills no queue.
            let is_underway = underway
                .as_mut()
                .is_some_and(|answer| matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
            if !is_underway {
                let anew = desk.assign_anew(&rules.load().desk, Timestamp::now());
                *underway = (!anew.is_empty()).then(|| ledger.assign(anew));
            }
        }
        Heard::Missed => {
            warn!(
                "helpdesks reported faster than the desk could hear: it reads from the ledger what became of tickets"
            );
            let closed =
                |ticket: Remembered| desk.conversations.set_closed(ticket.ticket_id, ticket.is_closed);
            let conversations = ledger.conversations(CONVERSATIONS_MAX, closed);
            if let Err(error) =
                conversations.and_then(|()| ledger.assigned(|assigned| restore(desk, assigned)))
            {
                // Until the next time, or the next start, some agents count as busier than they are, and posts join
                // tickets that are closed.
                error!(%error, "the desk does not know who has which ticket, nor which are closed");
            }
        }
    }
}

/// Waits for the order to drain; fails when a stage does.
async fn obey(
    mut control: mpsc::Receiver<Control>,
    fault: &mut mpsc::UnboundedReceiver<String>,
) -> Result<(), String> {
    tokio::select! {
        // Where whoever gave the orders is gone, nobody could give this one any more.
        Some(Control::Drain) | None = control.recv() => Ok(()),
        Some(fault) = fault.recv() => Err(fault),
    }
}

fn lane_name(lane: usize) -> String {
    format!("vigie-lane-{lane}")
}

/// Shows that tasks get to run and that timers fire: a beat is a piece of work, and another one ends it.
async fn beat(pulse: Arc<Pulse>) -> Result<(), String> {
    loop {
        pulse.begin();
        tokio::time::sleep(BEAT).await;
    }
}

/// When the small model answers. Watches the lanes' queue too where the model, the lanes and the edges want more
/// cores than there are.
fn overload(engine: &Engine, model_threads: NonZeroUsize, backlog: Backlog) -> Overload {
    if engine.under_load == UnderLoad::Same {
        return Overload::never();
    }
    let overload = Overload::new(engine.queue_candidates);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if engine.lanes.get() + model_threads.get() < cores {
        return overload;
    }
    overload.sparing(backlog)
}

fn run_lane(
    batches: &Receiver<FrameBatch>,
    rules: &ArcSwap<Rules>,
    mut lane: Lane,
    mut forward: Forward,
    pulse: &Pulse,
) {
    loop {
        pulse.rest();
        let batch = match forward.wait(Instant::now()) {
            Some(wait) => match batches.recv_timeout(wait) {
                Ok(batch) => Some(batch),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            },
            None => match batches.recv() {
                Ok(batch) => Some(batch),
                Err(_) => break,
            },
        };
        pulse.begin();
        #[cfg(test)]
        {
            tests::panic_as_asked(batch.as_ref());
            tests::stall_as_asked(batch.as_ref());
        }
        let sent = match batch {
            Some(batch) => forward.send(lane.process(&rules.load().prefilter, batch), Instant::now()),
            None => forward.pass_on(),
        };
        if sent.is_err() {
            pulse.rest();
            return;
        }
    }
    // The sources have ended. A model thread that has ended too has reported why.
    drop(forward.flush());
}

/// Starts threads and tasks, and reports those that end badly.
struct Spawn {
    faults: mpsc::UnboundedSender<String>,
}

impl Spawn {
    fn thread(
        &self,
        name: &str,
        run: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let report = Report { name: name.to_owned(), faults: self.faults.clone() };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(fault) = run() {
                report.fault(&fault);
            }
        })
    }

    fn task(
        &self,
        runtime: &Runtime,
        name: &str,
        run: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let report = Report { name: name.to_owned(), faults: self.faults.clone() };
        runtime.spawn(async move {
            if let Err(fault) = run.await {
                report.fault(&fault);
            }
        })
    }
}

/// Tells of a fault, and of a panic by being dropped during one.
struct Report {
    name: String,
    faults: mpsc::UnboundedSender<String>,
}

impl Report {
    fn fault(&self, fault: &str) {
        // Nobody listens only when the daemon ends anyway.
        drop(self.faults.send(format!("{}: {fault}", self.name)));
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fault("panicked; this is a bug in vigie");
        }
    }
}

/// Waits for a thread without blocking the executor. A panic was reported by the thread itself.
async fn join(thread: JoinHandle<()>) {
    drop(tokio::task::spawn_blocking(move || thread.join()).await);
}

/// What can be seen of a running daemon from outside its path.
#[derive(Debug)]
pub struct View {
    started: Instant,
    started_at: Timestamp,
    pulses: Pulses,
    stuck_after: OnceLock<Duration>,
    /// Set once, relaxed: for people and load balancers.
    draining: AtomicBool,
    reloads: Arc<Reloads>,
    queue_candidates_max: NonZeroUsize,
    model: String,
    runtime: String,
    healths: Vec<(Arc<str>, &'static str, Arc<Health>)>,
    ledger: Handle,
    outbox: Arc<Mutex<Outbox>>,
    waiting: Arc<Waiting>,
    verdicts: Arc<Verdicts>,
    backlog: Backlog,
    gates: Gates,
}

impl View {
    /// Lets a stage count as stuck after another time than half a minute. The first caller decides.
    pub fn stuck_after(&self, limit: Duration) {
        self.stuck_after.get_or_init(|| limit);
    }

    /// The stages that have been at one piece of work for too long: a restart is better than waiting for them.
    pub fn stuck(&self) -> Vec<Stuck> {
        self.pulses.stuck(self.stuck_limit())
    }

    fn stuck_limit(&self) -> Duration {
        self.stuck_after.get().copied().unwrap_or(STUCK_AFTER)
    }

    fn service(&self) -> ServiceStatus {
        let stages = self.pulses.read().map(|(name, busy_for)| StageStatus {
            name: name.to_string(),
            busy_ms: busy_for.map(milliseconds),
        });
        let vitals = self.ledger.vitals();
        ServiceStatus {
            started_at_us: self.started_at.as_microsecond(),
            draining: self.draining.load(Ordering::Relaxed),
            stages: stages.collect(),
            stuck_after_ms: milliseconds(self.stuck_limit()),
            committed_at_us: vitals.committed_at_us(),
            commits: vitals.commits.read(),
            reloads_applied: self.reloads.applied(),
            reloads_refused: self.reloads.refused(),
            reloaded_at_us: self.reloads.applied_at_us(),
            last_reload_refused: self.reloads.is_last_refused(),
            queue_batches_max: self.backlog.batches_max().get(),
            queue_candidates_max: self.queue_candidates_max.get(),
            process: Process::read(),
        }
    }

    /// The status now.
    pub fn status(&self) -> console::Status {
        let now = Timestamp::now();
        let accounting = self.ledger.accounting();
        let clients = self.gates.counts();
        let sources = self
            .healths
            .iter()
            .map(|(name, kind, health)| {
                let health = health.read();
                let account = accounting.sources.get(name).cloned().unwrap_or_default();
                // Only Jetstream's positions are times.
                console::SourceStatus::new(name, kind, health, &account, *kind == "jetstream", now)
            })
            .collect();
        console::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_us: now.as_microsecond(),
            uptime_s: self.started.elapsed().as_secs(),
            model: self.model.clone(),
            runtime: self.runtime.clone(),
            sources,
            received: accounting.total().received(),
            buckets: console::named(&accounting.total()),
            queue_batches: self.backlog.batches(),
            queue_candidates: self.waiting.candidates(),
            verdicts_full: self.verdicts.full(),
            verdicts_quick: self.verdicts.quick(),
            tickets_provisional: self.ledger.provisional_tickets(),
            ledger: self.ledger.figures().into(),
            connections: clients.connections,
            strangers: clients.strangers,
            connections_refused: clients.crowded,
            tokens_refused: clients.wrong_tokens,
            subscriptions: self
                .outbox
                .lock()
                .counts()
                // One without a name goes with its connection: a series of its own for each would never end.
                .filter(|counts| !outbox::is_unnamed(&counts.name))
                .map(|counts| console::SubscriptionStatus {
                    name: counts.name,
                    pending: counts.pending,
                    in_flight: counts.in_flight,
                    deferred: counts.deferred,
                    acknowledged: counts.acknowledged,
                })
                .collect(),
            service: self.service(),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
