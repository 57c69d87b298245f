//! Starts every stage downstream first, waits for the order to drain or for a fault, and drains upstream first.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use super::bridges::{Bridges, hinted};
use super::complaints::Complaints;
use super::hear::{Underway, hear};
use super::lane::{Forward, Lane, LaneOutput};
use super::model::{self, Decided, Model};
use super::overload::Overload;
use super::reload::Rules;
use super::rescore::Rescorer;
use super::spawn::{Spawn, join};
use super::{Control, Feed, Pipeline, PipelineError, QUEUE_DECIDED, desk_thread, lane_name};
use crate::config::{Engine, SourceConfig, UnderLoad};
use crate::console;
use crate::desk::Desk;
use crate::ledger::{Accounting, Records as _};
use crate::source::{self, Backlog, FrameBatch};
use crate::telemetry::pulse::Pulse;

/// Outputs that wait for the model; each holds the counts of its batches, their few candidates, and deletions.
const QUEUE_OUTPUTS: usize = 256;

/// Longest drain after a fault: what the healthy stages hold is done by then, and the restart is awaited. A test
/// on a busy machine may take its time.
const FAULT_DRAIN_MAX: Duration = Duration::from_secs(if cfg!(test) { 300 } else { 2 });

/// Between two beats of the async runtime.
const BEAT: Duration = Duration::from_secs(1);

impl Pipeline {
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
            let mut underway = Underway::default();
            let hear = |desk: &mut Desk, heard| hear(desk, heard, &hear_rules, &hear_ledger, &mut underway);
            let pulse = &pulses.desk;
            let run = desk_thread::run(
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
        let (bridges, inboxes) = hinted(self.bridges);
        // A bridge that is new gets what comes from now on: before the first post, and not when it has come to connect,
        // by when a file may have been read to its end. Why one may not subscribe it is told when it does.
        for (bridge, _) in &bridges {
            drop(runtime.block_on(self.ledger.subscribe(bridge.request())));
        }
        let bridges =
            Bridges::within(bridges, self.hub.clone(), runtime.handle().clone(), edges_stopped.clone());
        let serve = self.listener.serve(self.hub, edges_stopped.clone());
        let wire =
            spawn.task(&runtime, "wire", async move { serve.await.map_err(|error| error.to_string()) });
        if let Some(console) = self.console {
            let (view, judged) = (self.view.clone(), self.view.clone());
            let console =
                console.judged_by(Arc::new(move || judged.stuck().first().map(ToString::to_string)));
            let console = console.keeping(Arc::new(self.ledger.clone())).hinted(inboxes);
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
        // Until here, so that the desk hears of agents and helpdesks for as long as tickets are delivered, also where every
        // source has come to its end.
        drop(batch_sender);
        let ledger = self.ledger;
        let drained = runtime.block_on(async {
            tokio::time::timeout(drain_max, async {
                let stages = async {
                    for task in source_tasks {
                        drop(task.await);
                    }
                    for thread in lane_threads.into_iter().chain([model_thread, desk_thread]) {
                        join(thread).await;
                    }
                };
                // A helpdesk that hangs must not keep the ledger from ending well.
                tokio::join!(stages, bridges.end(drain_max / 2));
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
    let mut complaints = Complaints::default();
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
            super::tests::panic_as_asked(batch.as_ref());
            super::tests::stall_as_asked(batch.as_ref());
        }
        let sent = match batch {
            Some(batch) => {
                let output = lane.process(&rules.load().prefilter, batch);
                complaints.hear(&output, Instant::now());
                forward.send(output, Instant::now())
            }
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
