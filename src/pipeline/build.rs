//! Opens what the stages work on, restores what the desk knew, and binds the sockets.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam::channel::bounded;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::inherited::Inherited;
use super::reload::{Reloader, Rules};
use super::{Feed, Pipeline, PipelineError, QUEUE_DECIDED, StagePulses, View, lane_name};
use crate::classify::Classifier;
use crate::config::Config;
use crate::console::{self, Console};
use crate::desk::Desk;
use crate::desk::told;
use crate::ledger::context::Reader;
use crate::ledger::outbox::Outbox;
use crate::ledger::{Ledger, LedgerError, articles};
use crate::prefilter::watched::Watched;
use crate::source::{self, Health};
use crate::telemetry::pulse::Pulses;
use crate::wire::{Hub, Listener};

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
        let watched = Arc::<Watched>::default();
        desk.conversations.watched_by(watched.clone());
        ledger.recall(&mut desk)?;
        // What the run before did not come to.
        desk.look_for_changed(true);
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
            bridges: hub.bridges(),
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
            bridges: config.bridges,
            console,
            pulses: stage_pulses,
            view,
        })
    }
}
