//! What serving costs: CPU for each event, and bytes a second for each core of it, over a loopback socket.
//!
//! `cargo run --release -p firehose --example cost -- jetstream|statuses|bare|mentions [SECONDS [RATE]]`. The server has a thread of
//! its own, whose CPU time the kernel counts (`/proc/thread-self/schedstat`: making, copying and the socket's
//! writes, which on loopback include the delivery to the reader's queue); the reader throws everything away on
//! another. `bare` writes a constant instead: what the socket alone costs. `mentions`
//! serves nothing: it looks for a minute's mentions in both networks' greatest streams, as who checks a run does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use firehose::{JetstreamConfig, Mix, Rate, Script, Served, StatusScript, StatusesConfig};
use tokio::io::AsyncWriteExt;

/// What the reader's first reads are left out for: pools are made, windows grow.
const WARM_UP: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 1 << 20;
/// Bytes of an event in the bare stream.
const BARE_BYTES: u64 = 4_700;
/// Rates whose minute is looked through.
const RECORD_PER_S: u32 = 143_199;
const FLOOD_PER_S: u32 = 600_000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let network = arguments.next().context("jetstream, statuses, bare or mentions?")?;
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let rate: Rate =
        arguments.next().map_or(Ok(Rate::Max), |text| text.parse()).map_err(anyhow::Error::msg)?;
    if network == "mentions" {
        return mentions();
    }
    let (served, address) = std::sync::mpsc::channel();
    let (measure, measured) = std::sync::mpsc::channel();
    let server = thread("server").spawn(move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let counter = Counter::serve(&network, rate).await?;
            served.send((counter.address, counter.request))?;
            tokio::time::sleep(WARM_UP).await;
            let before = ((counter.events)(), cpu()?, Instant::now());
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let (events, cpu, wall) = ((counter.events)() - before.0, cpu()? - before.1, before.2.elapsed());
            measure.send((events, cpu, wall))?;
            Ok(())
        })
    })?;
    let Ok((address, request)) = address.recv() else {
        return server.join().unwrap_or_else(|_| bail!("the server panicked"));
    };
    let reader = thread("reader").spawn(move || -> anyhow::Result<u64> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request.as_bytes())?;
        let mut buffer = vec![0; READ_BYTES];
        let (mut bytes, mut from) = (0, None);
        loop {
            let read = stream.read(&mut buffer).unwrap_or(0);
            let at = *from.get_or_insert_with(Instant::now);
            if read == 0 || at.elapsed() > WARM_UP + Duration::from_secs(seconds) {
                return Ok(bytes);
            }
            if at.elapsed() > WARM_UP {
                bytes += read as u64;
            }
        }
    })?;
    let (events, cpu, wall) = measured.recv().context("the server ended")?;
    let bytes = match reader.join() {
        Ok(bytes) => bytes?,
        Err(_) => bail!("the reader panicked"),
    };
    let (per_event, per_s) = (cpu.as_nanos() / u128::from(events.max(1)), events as f64 / wall.as_secs_f64());
    println!(
        "{per_s:.0} events/s, {:.0} MB/s, {} bytes and {per_event} ns of CPU an event, {:.0} MB/s a core, \
         {:.1} % of one",
        bytes as f64 / 1e6 / wall.as_secs_f64(),
        bytes / events.max(1),
        bytes as f64 / 1e6 / cpu.as_secs_f64(),
        100.0 * cpu.as_secs_f64() / wall.as_secs_f64()
    );
    Ok(())
}

/// How long it takes to find and render a minute's mentions.
fn mentions() -> anyhow::Result<()> {
    let minute = |script: &dyn Served, per_s: u32| {
        let start = script.timeline().start();
        let began = Instant::now();
        let range = start..start + 60 * u64::from(per_s);
        let bare = range.clone().filter(|n| script.kind(*n).is_mention()).count();
        let kinds = began.elapsed();
        let frames: usize = script.mentions(range).map(|(_, event)| event.frame.len()).sum();
        let whole = began.elapsed() - kinds;
        println!(
            "{}, a minute of {per_s}/s: {bare} mentions found in {kinds:.1?}, with {:.0} MB of frames in {whole:.1?}",
            script.format(),
            frames as f64 / 1e6
        );
    };
    let rate = |per_s| Rate::PerSecond(std::num::NonZeroU32::new(per_s).unwrap_or(std::num::NonZeroU32::MIN));
    let statuses = StatusesConfig { rate: rate(RECORD_PER_S), ..StatusesConfig::default() };
    minute(&StatusScript::new(&statuses)?, RECORD_PER_S);
    let jetstream = JetstreamConfig { rate: rate(FLOOD_PER_S), share: 0.001, ..JetstreamConfig::default() };
    minute(&Script::new(&jetstream, Mix::Posts)?, FLOOD_PER_S);
    Ok(())
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned())
}

/// CPU time of this thread so far.
fn cpu() -> anyhow::Result<Duration> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = line.split_whitespace().next().context("empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

struct Counter {
    address: std::net::SocketAddr,
    request: String,
    events: Box<dyn Fn() -> u64>,
}

impl Counter {
    async fn serve(network: &str, rate: Rate) -> anyhow::Result<Counter> {
        let listen = ([127, 0, 0, 1], 0).into();
        Ok(match network {
            "jetstream" => {
                let config = JetstreamConfig { listen, rate, ..JetstreamConfig::default() };
                let serving = firehose::serve(config, std::future::pending()).await?;
                Counter {
                    address: serving.local_addr(),
                    request: "GET /subscribe?wantedCollections=app.bsky.feed.post HTTP/1.1\r\nHost: x\r\n\
                              Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                        .to_owned(),
                    events: Box::new(move || serving.frames()),
                }
            }
            "statuses" => {
                let config = StatusesConfig { listen, rate, ..StatusesConfig::default() };
                let serving = firehose::serve_statuses(config, std::future::pending()).await?;
                Counter {
                    address: serving.local_addr(),
                    request: "{\"vigie\":1,\"after\":0}\n".to_owned(),
                    events: Box::new(move || serving.lines()),
                }
            }
            "bare" => {
                let listener = tokio::net::TcpListener::bind::<std::net::SocketAddr>(listen).await?;
                let address = listener.local_addr()?;
                let written = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
                let counted = written.clone();
                tokio::spawn(async move {
                    let (mut stream, _) = listener.accept().await?;
                    let chunk = vec![b'x'; 256 * 1024];
                    loop {
                        stream.write_all(&chunk).await?;
                        counted.fetch_add(chunk.len() as u64, std::sync::atomic::Ordering::Relaxed);
                    }
                    #[expect(unreachable_code, reason = "gives the task its type")]
                    std::io::Result::Ok(())
                });
                Counter {
                    address,
                    request: String::new(),
                    events: Box::new(move || written.load(std::sync::atomic::Ordering::Relaxed) / BARE_BYTES),
                }
            }
            other => bail!("{other:?} is none of jetstream, statuses, bare, mentions"),
        })
    }
}
