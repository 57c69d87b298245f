//! `vigie demo`: an invented firehose on loopback, the whole daemon, and a helpdesk that can take two and a
//! half tickets a second, so that one sees why the order matters.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstyle::Style;
use anyhow::{Context, anyhow};
use clap::Args;
use firehose::{JetstreamConfig, Rate, Scenario, Serving};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{Failure, print};
use crate::bridge::config::{Config as BridgeConfig, Place};
use crate::config::Config;
use crate::console::BridgeStatus;
use crate::ledger::Accounting;
use crate::pipeline::{Control, Pipeline, PipelineError, View};
use crate::telemetry::Bucket;
use crate::ticket::proto;
use crate::ticket::proto::delivery::Record;
use crate::wire::{Address, Client, ClientError, Introduction};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Posts a second, or max
    #[arg(long, default_value = "2000")]
    rate: Rate,
    /// Seconds; 0 runs until Ctrl-C
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    duration: u64,
    /// calm, outage (one town loses its internet after 5 s), quiet or burst
    #[arg(long, default_value = "calm")]
    scenario: Scenario,
    /// A config whose [[bridge]] get the tickets, too, of all brands; nothing else in it is used
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const BOLD: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();

/// Between two tickets that the demo's helpdesk takes: slower than they come, as in a bad hour.
const HELPDESK_PACE: Duration = Duration::from_millis(400);
/// Of the posts, ask for support; 8 a second at the default rate.
const SHARE: f64 = 0.004;
/// Of the posts, name the brand and need nothing.
const CONFUSING: f64 = 0.002;
/// At most so long the demo waits for what is under way at its end.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// Between two looks at what has become of tickets in a helpdesk: somebody sits before it and waits.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Tickets shown in the summary.
const WORST: usize = 5;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("async runtime")?;
    let state = tempfile::Builder::new().prefix("vigie-demo-").tempdir().context("temporary folder")?;
    let (stop_firehose, firehose_stopped) = oneshot::channel::<()>();
    let serving = runtime.block_on(firehose::serve(
        JetstreamConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            rate: arguments.rate,
            share: SHARE,
            confusing: CONFUSING,
            scenario: arguments.scenario,
            ..JetstreamConfig::default()
        },
        async { drop(firehose_stopped.await) },
    ))?;
    let mut config = config(&serving.url(), state.path())?;
    if let Some(path) = &arguments.config {
        config.bridges = bridges(path, state.path())?;
    }
    let bridges: Vec<(String, String)> =
        config.bridges.iter().map(|bridge| (bridge.name.clone(), bridge.url.clone())).collect();
    let pipeline = Pipeline::build(config)?;
    let view = pipeline.view();
    greet(arguments, &serving, &pipeline, &view, &bridges).context("stdout")?;
    let (orders, control) = mpsc::channel(1);
    // The daemon has a runtime of its own, as it has in real life.
    let daemon = std::thread::Builder::new()
        .name("vigie-demo".to_owned())
        .spawn(move || pipeline.run(control, || ()))
        .context("thread")?;

    let started = Instant::now();
    let socket = Address::Unix(state.path().join("vigie.sock"));
    let collected = runtime.block_on(async {
        let collector = tokio::spawn(collect(socket.clone()));
        let helpdesk = tokio::spawn(helpdesk(socket));
        tokio::select! {
            () = duration(arguments.duration) => {}
            () = super::asked_to_end() => {}
            // A daemon that fails ends the demo, which then says why.
            () = gone(&daemon) => {}
        }
        helpdesk.abort();
        drop(stop_firehose);
        settle(&serving, &view).await;
        // While they are still there.
        let bridges = view.status().bridges;
        drop(orders.send(Control::Drain).await);
        (collector.await, bridges)
    });
    let (collected, told) = collected;
    let seconds = started.elapsed().as_secs_f64();
    let accounting: Result<Accounting, PipelineError> =
        daemon.join().map_err(|_| anyhow!("the daemon panicked; this is a bug in vigie"))?;
    let accounting = accounting?;
    let collected = collected.context("collector")?.map_err(anyhow::Error::from)?;
    summarise(&accounting, &collected, serving.frames(), seconds).context("stdout")?;
    of_bridges(&bridges, &told).context("stdout")?;
    Ok(())
}

/// The daemon's config: the example's brand, this demo's addresses.
fn config(url: &str, state: &Path) -> Result<Config, Failure> {
    let state = state.display();
    let text = format!(
        r#"
        [[source]]
        kind = "jetstream"
        url = "{url}"
        name = "demo"
        [[brand]]
        name = "Lumio"
        handles = ["@lumio", "@lumio_help", "@lumio.bsky.social"]
        names = ["lumio", "lumiobox", "lumio mobile"]
        exclude = ["lumio festival", "lumio lamp", "festival lumio", "lampe lumio"]
        [ledger]
        path = "{state}/ledger.sqlite"
        [wire]
        unix = "{state}/vigie.sock"
        [http]
        listen = "127.0.0.1:0"
        "#
    );
    Config::parse(&text).map_err(|mistakes| Failure::Fault(anyhow!("the demo's own config: {mistakes:?}")))
}

/// The bridges of an operator's config, for the demo's tickets.
fn bridges(path: &Path, state: &Path) -> Result<Vec<BridgeConfig>, Failure> {
    let bridges = Config::load(path)?.bridges;
    if bridges.is_empty() {
        return Err(Failure::Mistake(anyhow!("{} has no [[bridge]]", path.display())));
    }
    let of_the_demo = |bridge: BridgeConfig| BridgeConfig {
        place: Place::Daemon,
        brands: Vec::new(),
        from_oldest: true,
        poll_interval: bridge.poll_interval.min(POLL_INTERVAL),
        // What it makes is the demo's, and nothing that the daemon is to look after.
        state_dir: state.to_owned(),
        ..bridge
    };
    Ok(bridges.into_iter().map(of_the_demo).collect())
}

fn greet(
    arguments: &Arguments,
    serving: &Serving,
    pipeline: &Pipeline,
    view: &View,
    bridges: &[(String, String)],
) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    let status = view.status();
    writeln!(out, "{BOLD}vigie demo{BOLD:#}")?;
    writeln!(out, "  firehose  {}   {QUIET}invented posts in Bluesky's real format{QUIET:#}", serving.url())?;
    writeln!(out, "  model     {} on {}", status.model, status.runtime)?;
    if let Some(address) = pipeline.console_address() {
        writeln!(out, "  console   http://{address}/   {QUIET}open it while this runs{QUIET:#}")?;
        if !bridges.is_empty() {
            writeln!(out, "  status    vigie status --http {address}")?;
        }
    }
    for (name, url) in bridges {
        writeln!(out, "  bridge    {name}: {url}   {QUIET}its tickets stay there{QUIET:#}")?;
    }
    match arguments.duration {
        0 => writeln!(out, "  ends      with Ctrl-C")?,
        seconds => writeln!(out, "  ends      by itself in {seconds} s")?,
    }
    writeln!(out, "\nA helpdesk that takes 2.5 tickets a second gets the worst that waits, each time:\n")?;
    out.flush()
}

async fn duration(seconds: u64) {
    match seconds {
        0 => std::future::pending().await,
        seconds => tokio::time::sleep(Duration::from_secs(seconds)).await,
    }
}

async fn gone<T>(daemon: &std::thread::JoinHandle<T>) {
    while !daemon.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn introduction(subscription: &str, window: u32) -> Introduction {
    Introduction {
        client: "vigie demo".to_owned(),
        subscription: subscription.into(),
        window,
        ..Introduction::default()
    }
}

/// The slow helpdesk: takes one ticket at a time and prints it.
async fn helpdesk(socket: Address) -> Result<(), ClientError> {
    let mut client = Client::connect(&socket, introduction("helpdesk", 1)).await?;
    loop {
        let delivery = client.next().await?;
        if print::delivery(&mut anstream::stdout().lock(), &delivery, &print::Clock::of_reader()).is_err() {
            // Nobody reads any more; the summary will say so too.
            return Ok(());
        }
        client.ack(&[delivery.seq]).await?;
        tokio::time::sleep(HELPDESK_PACE).await;
    }
}

/// What a second subscription has seen, which takes everything at once.
#[derive(Debug, Default)]
struct Collected {
    tickets: Vec<proto::Ticket>,
    updates: u64,
    /// From the network's time stamp to the ticket at the client.
    latencies_us: Vec<i64>,
}

impl Collected {
    /// What its author has taken back is shown no more.
    fn apply(&mut self, update: &proto::Update) {
        if !matches!(update.change, Some(proto::update::Change::Erased(_))) {
            return;
        }
        let of = self.tickets.iter_mut().filter(|ticket| ticket.id == update.ticket_id);
        of.filter_map(|ticket| ticket.post.as_mut()).for_each(|post| post.text.clear());
    }
}

async fn collect(socket: Address) -> Result<Collected, ClientError> {
    let mut client = Client::connect(&socket, introduction("summary", 1000)).await?;
    let mut collected = Collected::default();
    loop {
        let delivery = match client.next().await {
            Ok(delivery) => delivery,
            Err(ClientError::Goodbye { .. } | ClientError::Closed | ClientError::Lost(_)) => {
                return Ok(collected);
            }
            Err(error) => return Err(error),
        };
        match delivery.record {
            Some(Record::Ticket(ticket)) => {
                let seen_at_us = ticket.post.as_ref().map_or(0, |post| post.seen_at_us);
                collected.latencies_us.push(Timestamp::now().as_microsecond() - seen_at_us);
                collected.tickets.push(ticket);
            }
            Some(Record::Update(update)) => {
                collected.updates += 1;
                collected.apply(&update);
            }
            None => {}
        }
        if let Err(error) = client.ack(&[delivery.seq]).await {
            return if error.is_transient() { Ok(collected) } else { Err(error) };
        }
    }
}

/// Waits until everything served has been received and taken by the summary's subscription.
async fn settle(serving: &Serving, view: &Arc<View>) {
    let settled = async {
        loop {
            let status = view.status();
            let summary = status.subscriptions.iter().find(|subscription| subscription.name == "summary");
            let taken = summary.is_none_or(|summary| summary.pending + summary.in_flight == 0);
            if status.received >= serving.frames() && taken {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // What is late shows in the figures; the demo ends all the same.
    drop(tokio::time::timeout(SETTLE_MAX, settled).await);
}

/// What each bridge's helpdesk has taken; one that took nothing says why.
fn of_bridges(bridges: &[(String, String)], told: &[BridgeStatus]) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    for (name, url) in bridges {
        let status = told.iter().find(|status| status.name == *name);
        let taken = status.map_or(0, |status| status.made + status.adopted + status.unknown);
        if taken > 0 {
            writeln!(out, "  bridge {name}: {} tickets at {url}", print::grouped(taken))?;
            continue;
        }
        let why = status.map_or("", |status| status.last_error.as_str());
        let why = if why.is_empty() { "it was not reached, or the time was too short" } else { why };
        writeln!(out, "  bridge {name}: {BOLD}took nothing{BOLD:#}: {}", print::printable(why))?;
        writeln!(out, "  {QUIET}`vigie bridge test` says step by step what to do{QUIET:#}")?;
    }
    out.flush()
}

fn summarise(
    accounting: &Accounting,
    collected: &Collected,
    served: u64,
    seconds: f64,
) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    let buckets = accounting.total();
    writeln!(out, "\n{BOLD}The {WORST} that mattered most{BOLD:#}\n")?;
    let mut tickets: Vec<_> = collected.tickets.iter().collect();
    tickets.sort_by_key(|ticket| (std::cmp::Reverse(ticket.priority), ticket.due_at_us));
    for ticket in tickets.iter().take(WORST) {
        print::ticket(&mut out, ticket, Timestamp::now(), &print::Clock::of_reader(), true)?;
    }

    let mut levels: BTreeMap<&str, u64> = BTreeMap::new();
    for ticket in &collected.tickets {
        *levels.entry(ticket.level().as_str_name()).or_default() += 1;
    }
    let levels: Vec<_> = levels.iter().map(|(level, count)| format!("{count} {level}")).collect();
    writeln!(out, "\n{BOLD}In {seconds:.0} s{BOLD:#}")?;
    let rate = buckets.received() as f64 / seconds;
    writeln!(
        out,
        "  {} frames served, {} received: {rate:.0} a second",
        print::grouped(served),
        print::grouped(buckets.received())
    )?;
    writeln!(
        out,
        "  {} tickets: {}; {} updates",
        buckets[Bucket::Ticketed],
        levels.join(", "),
        collected.updates
    )?;
    let mut latencies: Vec<_> = collected.latencies_us.clone();
    latencies.sort_unstable();
    let percentile =
        |percent: usize| latencies.get(latencies.len() * percent / 100).map_or(0.0, |us| *us as f64 / 1000.0);
    writeln!(
        out,
        "  from post to ticket at the client: {:.0} ms median, {:.0} ms for 99 %",
        percentile(50),
        percentile(99)
    )?;
    writeln!(out, "\n{BOLD}Where the frames ended{BOLD:#}")?;
    print::accounting(&mut out, &buckets)
}
