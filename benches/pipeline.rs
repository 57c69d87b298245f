//! The whole path in process: frames → lane → model → desk → ledger → outbox, each on its thread, without
//! sockets; from the first batch until everything is committed.
//!
//! At the end the same path is run by turns with durable commits, with commits switched off, and without a
//! ledger, and the ratios are printed.

#[path = "parts/keeping.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod keeping;
#[path = "parts/mode.rs"]
mod mode;
#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;
#[path = "parts/tickets.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod tickets;
#[path = "parts/threads.rs"]
mod threads;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::channel::{Receiver, Sender, bounded};
use vigie::classify::{self, Classifier, ModelChoice};
use vigie::desk::articles::NoArticles;
use vigie::desk::told::Hearing;
use vigie::desk::{self, Desk, Strangers};
use vigie::ledger::Settlement;
use vigie::parse::Format;
use vigie::pipeline::desk_thread;
use vigie::pipeline::lane::{Forward, Lane, LaneOutput, Waiting};
use vigie::pipeline::model::{self, Decided};
use vigie::pipeline::overload::Overload;
use vigie::pipeline::reload::Rules;
use vigie::prefilter::{self, Prefilter};
use vigie::source::FrameBatch;
use vigie::telemetry::pulse::Pulse;
use vigie::telemetry::{Bucket, Buckets};

use keeping::{Commits, Keeping};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Posts of one run: a few hundred milliseconds of them, and a few where a build is slow because it is a test.
const POSTS: usize = if cfg!(debug_assertions) { 8 * 1024 } else { 256 * 1024 };

/// Candidates that may wait: so many that none is shed, which would make the path faster and the answer wrong.
const CANDIDATES_MAX: usize = usize::MAX / 2;

/// As in the pipeline.
const QUEUE_BATCHES: usize = 64;
const QUEUE_OUTPUTS: usize = 1024;
const QUEUE_DECIDED: usize = 64;

/// Who gives verdicts.
#[derive(Clone, Copy, PartialEq)]
enum Reader {
    Model(&'static str),
    /// Nobody: every candidate is a problem, at once. What is left is the rest of the path.
    Constant,
}

/// Where tickets are kept.
#[derive(Clone, Copy, PartialEq)]
enum Keeper {
    Ledger(Commits),
    /// Settlements are counted and dropped.
    Nobody,
}

/// What a run came to.
struct Run {
    took: Duration,
    buckets: Buckets,
    /// Records that a subscription may take.
    pending: usize,
}

/// The path's input and rules, shared by all runs.
struct Path {
    batches: Vec<FrameBatch>,
    frames: u64,
    prefilter: Arc<Prefilter>,
}

impl Path {
    fn new(frames: &[String]) -> Path {
        let batches = posts::batches(Format::Jetstream, frames, 0);
        Path { batches, frames: frames.len() as u64, prefilter: Arc::new(posts::prefilter()) }
    }

    fn copies(&self) -> Vec<FrameBatch> {
        self.batches.iter().map(posts::copy).collect()
    }

    /// Runs all of it once, with a ledger of its own.
    fn run(&self, reader: Reader, keeper: Keeper) -> Run {
        let folder = keeping::folder();
        let (sink, keeping) = match keeper {
            Keeper::Ledger(commits) => {
                let keeping = Keeping::start(keeping::open(&folder, commits));
                keeping.subscribe("desk");
                (keeping.settlements.clone(), Ok(keeping))
            }
            Keeper::Nobody => {
                let (sink, settled) = bounded::<Settlement>(QUEUE_DECIDED);
                (sink, Err(threads::spawn("bench-ledger", move || forget(&settled))))
            }
        };
        let (to_desk, decided) = bounded(QUEUE_DECIDED);
        let desk = threads::spawn("bench-desk", move || {
            let rules = Rules::build(&prefilter::Config::default(), &desk::Config::default());
            let rules = ArcSwap::from_pointee(rules.expect("no brands are no mistake"));
            let nothing = Hearing::nothing();
            let (desk, pulse) = (Desk::default(), Pulse::default());
            desk_thread::run(
                desk,
                &mut Strangers,
                &mut NoArticles,
                &rules,
                &decided,
                nothing,
                |_, _| (),
                &sink,
                &pulse,
            )
            .expect("nobody is looked up");
        });
        let (to_model, outputs) = bounded(QUEUE_OUTPUTS);
        let waiting = Arc::new(Waiting::default());
        let model = model_thread(reader, outputs, waiting.clone(), to_desk);
        let (to_lane, batches) = bounded::<FrameBatch>(QUEUE_BATCHES);
        let forward = Forward::new(to_model, waiting, CANDIDATES_MAX);
        let prefilter = self.prefilter.clone();
        let lane = threads::spawn("bench-lane", move || run_lane(&batches, &prefilter, forward));

        let copies = self.copies();
        let begun = Instant::now();
        copies.into_iter().for_each(|batch| to_lane.send(batch).expect("the lane runs"));
        drop(to_lane);
        for thread in [lane, model, desk] {
            thread.join().expect("no stage panics");
        }
        let outbox = keeping.as_ref().ok().map(|keeping| keeping.outbox.clone());
        let buckets = match keeping {
            Ok(keeping) => keeping.stop().total(),
            Err(thread) => thread.join().expect("counting does not panic"),
        };
        let took = begun.elapsed();
        Run { took, buckets, pending: outbox.map_or(0, |outbox| outbox.lock().pending("desk")) }
    }
}

fn run_lane(batches: &Receiver<FrameBatch>, prefilter: &Prefilter, mut forward: Forward) {
    let mut lane = Lane::default();
    for batch in batches {
        forward.send(lane.process(prefilter, batch), Instant::now()).expect("the model's thread runs");
    }
    forward.flush().expect("the model's thread runs");
}

fn model_thread(
    reader: Reader,
    outputs: Receiver<LaneOutput>,
    waiting: Arc<Waiting>,
    to_desk: Sender<Decided>,
) -> JoinHandle<()> {
    match reader {
        Reader::Model(name) => {
            let model = ModelChoice::EMBEDDED.into_iter().find(|(known, _)| *known == name);
            let config = classify::Config {
                model: model.expect("the bench names an embedded model").1,
                ..classify::Config::default()
            };
            let classifier = Classifier::open(&config).expect("the embedded model runs");
            threads::spawn("bench-model", move || {
                let stage = model::Stage {
                    lanes: outputs,
                    waiting,
                    desk: to_desk,
                    batch_delay_max: config.batch_delay_max,
                    // What each model costs is what is measured.
                    overload: Overload::never(),
                    rescorer: None,
                    verdicts: Arc::default(),
                    pulse: Arc::default(),
                };
                stage.run(model::Model::new(classifier)).expect("any text has a verdict");
            })
        }
        Reader::Constant => threads::spawn("bench-model", move || {
            let model = Arc::from("bench 1");
            for output in outputs {
                waiting.subtract(output.candidates().count());
                to_desk.send(tickets::decided(output, &model)).expect("the desk runs");
            }
        }),
    }
}

/// Counts settlements as the ledger would, as far as that can be known without one.
fn forget(settled: &Receiver<Settlement>) -> Buckets {
    let mut buckets = Buckets::default();
    for settlement in settled {
        buckets.add(&settlement.buckets);
        buckets[Bucket::Ticketed] += settlement.entries.len() as u64;
    }
    buckets
}

/// Whether every post is where it belongs.
fn check(path: &Path, share: f64, run: &Run) {
    let buckets = &run.buckets;
    assert_eq!(buckets.received(), path.frames, "every frame ends in one bucket");
    assert_eq!((buckets[Bucket::Malformed], buckets[Bucket::Shed]), (0, 0));
    let asked = path.frames as f64 * share;
    let tickets = buckets[Bucket::Ticketed] as f64;
    // The model calls a few of them no customer message, and the dice are dice.
    assert!((asked * 0.5..=asked * 1.3 + 8.0).contains(&tickets), "{tickets} tickets of {asked} asked for");
    assert!(run.pending as f64 >= tickets, "every ticket may be taken");
}

fn pipeline(criterion: &mut Criterion) {
    const DURABLE: Keeper = Keeper::Ledger(Commits::Durable);
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    let mut case = |name: &str, path: &Path, share: f64, reader: Reader| {
        check(path, share, &path.run(reader, DURABLE));
        group.throughput(Throughput::Elements(path.frames));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| path.run(reader, DURABLE).took).sum());
        });
    };
    let thousandth = Path::new(&posts::generated(POSTS, 0.001));
    case("0.1 % candidates, small model", &thousandth, 0.001, Reader::Model("small"));
    case("0.1 % candidates, full model", &thousandth, 0.001, Reader::Model("full"));
    let hundredth = Path::new(&posts::generated(POSTS, 0.01));
    case("1 % candidates, small model", &hundredth, 0.01, Reader::Model("small"));
    case("1 % candidates, no model", &hundredth, 0.01, Reader::Constant);
    group.finish();
    durability("0.1 % candidates, small model", &thousandth, Reader::Model("small"));
    // Ten times a flood's candidates, and no model, behind which the ledger could hide.
    durability("1 % candidates, no model", &hundredth, Reader::Constant);
}

/// What durable commits cost the whole path: runs of each kind by turns, so that a busy minute meets all.
fn durability(what: &str, path: &Path, reader: Reader) {
    let turns = if mode::measures() { 9 } else { 1 };
    let keepers = [Keeper::Ledger(Commits::Durable), Keeper::Ledger(Commits::SwitchedOff), Keeper::Nobody];
    let mut took = keepers.map(|_| Vec::new());
    for _ in 0..turns {
        for (keeper, took) in keepers.into_iter().zip(&mut took) {
            let run = path.run(reader, keeper);
            assert_eq!(run.buckets.received(), path.frames);
            took.push(run.took);
        }
    }
    let [durable, switched_off, nobody] = took.map(|mut took| {
        took.sort_unstable();
        path.frames as f64 / took[took.len() / 2].as_secs_f64()
    });
    println!("durability, {what}, medians of {turns} runs by turns:");
    println!("  durable commits          {durable:9.0} posts/s");
    println!("  commits switched off     {switched_off:9.0} posts/s   {:.3} of it", durable / switched_off);
    println!("  no ledger at all         {nobody:9.0} posts/s   {:.3} of it", durable / nobody);
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
