//! The reading side of a WebSocket: text frames from loopback into batches, as the Jetstream source does it,
//! beside the same bytes through tokio-tungstenite and tungstenite alone.
//!
//! The other end writes frames that were encoded before, from a thread of its own: it needs a core too. They are the
//! same each time, so that after the first round the source knows them for repeated ones: it hashes each as it does a
//! new one, and reads its position instead of keeping it.

#[path = "parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod posts;
#[path = "parts/threads.rs"]
mod threads;

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use crossbeam::channel::{Sender, unbounded};
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::{self, Message};
use vigie::source::jetstream::{self, Config};
use vigie::source::{Health, Stored, batch_queue};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Frames that the server sends when asked, back to back as they go over the wire.
struct Load {
    wire: Arc<[u8]>,
    frames: usize,
    bytes: usize,
}

impl Load {
    fn new(frames: &[String]) -> Load {
        let mut wire = Vec::new();
        for frame in frames {
            write_frame(frame.as_bytes(), &mut wire);
        }
        Load { wire: wire.into(), frames: frames.len(), bytes: frames.iter().map(String::len).sum() }
    }
}

/// One unmasked text frame (RFC 6455, section 5.2).
fn write_frame(payload: &[u8], wire: &mut Vec<u8>) {
    const FIN_TEXT: u8 = 0x81;
    wire.push(FIN_TEXT);
    match payload.len() {
        length @ 0..126 => wire.push(length as u8),
        length @ 126..=0xffff => {
            wire.push(126);
            wire.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            wire.push(127);
            wire.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    wire.extend_from_slice(payload);
}

/// A server for one client: sends the load each time that it is asked to, until its asker is gone.
fn serve(load: &Load) -> (String, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let url = format!("ws://{}/subscribe", listener.local_addr().expect("a bound socket has an address"));
    let (ask, asked) = unbounded();
    let wire = load.wire.clone();
    threads::spawn("bench-server", move || {
        let (stream, _) = listener.accept().expect("the bench connects");
        let mut socket = tungstenite::accept(stream).expect("the bench speaks WebSocket");
        for () in asked {
            // The client has gone when its case is measured.
            if socket.get_mut().write_all(&wire).is_err() {
                return;
            }
        }
    });
    (url, ask)
}

fn timed(times: u64, mut once: impl FnMut()) -> Duration {
    let begun = Instant::now();
    (0..times).for_each(|_| once());
    begun.elapsed()
}

/// What the daemon does: everything up to the batches that the lanes take.
fn batches(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, what: &str, load: &Load) {
    let (url, ask) = serve(load);
    let (out, lanes) = batch_queue(NonZeroUsize::new(64).expect("64 is not 0"));
    let (stop, stopped) = watch::channel(false);
    let mut config = Config::new("bench", &url).expect("the url is one");
    // A batch that is not full waits for more, and no more comes.
    config.batch_frames_max = config.batch_frames_max.min(load.frames);
    let source =
        runtime.spawn(jetstream::run(config, Stored::default(), out, Arc::new(Health::default()), stopped));
    let read = || {
        ask.send(()).expect("the server runs");
        let (mut frames, mut bytes) = (0, 0);
        while frames < load.frames {
            let batch = lanes.recv().expect("the source goes on");
            frames += batch.frames.len() + batch.oversize as usize + batch.duplicates as usize;
            bytes += batch.bytes.len();
            assert!(batch.gaps.is_empty() && batch.unreadable == 0);
        }
        (frames, bytes)
    };
    let (frames, bytes) = read();
    assert_eq!(frames, load.frames);
    // Longer frames than the source takes are counted, not kept.
    assert!(bytes == load.bytes || load.bytes / load.frames > 1024 * 1024, "{bytes} bytes");
    group.bench_function(format!("{what}, into batches"), |bencher| {
        bencher.iter_custom(|times| timed(times, || assert_eq!(read().0, load.frames)));
    });
    stop.send_replace(true);
    drop(ask);
    runtime.block_on(source).expect("the source does not panic");
}

/// The floor under it: the library on the same executor, every message dropped.
fn tokio_tungstenite(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, what: &str, load: &Load) {
    let (url, ask) = serve(load);
    let connected = runtime.block_on(tokio_tungstenite::connect_async(&url));
    let mut socket = connected.expect("the server accepts").0;
    let mut read = || {
        ask.send(()).expect("the server runs");
        let mut bytes = 0;
        runtime.block_on(async {
            for _ in 0..load.frames {
                let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("a text frame") };
                bytes += text.len();
            }
        });
        bytes
    };
    group.bench_function(format!("{what}, tokio-tungstenite alone"), |bencher| {
        bencher.iter_custom(|times| timed(times, || assert_eq!(read(), load.bytes)));
    });
}

/// And under that: no executor either.
fn tungstenite(group: &mut BenchmarkGroup<'_, WallTime>, what: &str, load: &Load) {
    let (url, ask) = serve(load);
    let address = url.trim_start_matches("ws://").trim_end_matches("/subscribe");
    let stream = TcpStream::connect(address).expect("the server accepts");
    let mut socket = tungstenite::client(&url, stream).expect("the server speaks WebSocket").0;
    let mut read = || {
        ask.send(()).expect("the server runs");
        let mut bytes = 0;
        for _ in 0..load.frames {
            let Ok(Message::Text(text)) = socket.read() else { panic!("a text frame") };
            bytes += text.len();
        }
        bytes
    };
    group.bench_function(format!("{what}, tungstenite alone"), |bencher| {
        bencher.iter_custom(|times| timed(times, || assert_eq!(read(), load.bytes)));
    });
}

fn source(criterion: &mut Criterion) {
    // As the pipeline's own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut group = criterion.benchmark_group("source");
    group.sample_size(20);
    let posts = posts::generated(16_384, 0.001);
    let short: Vec<_> = (0..65_536)
        .map(|n| {
            format!(r#"{{"did":"did:plc:a","time_us":{},"kind":"identity"}}"#, 1_790_000_000_000_000_i64 + n)
        })
        .collect();
    let long = vec![format!(r#"{{"time_us":1790000000000000,"text":"{}"}}"#, "a".repeat(2 << 20)); 8];
    for (what, frames) in [("posts", posts), ("60-byte frames", short), ("2 MiB frames", long)] {
        let load = Load::new(&frames);
        group.throughput(Throughput::ElementsAndBytes {
            elements: load.frames as u64,
            bytes: load.bytes as u64,
        });
        batches(&mut group, &runtime, what, &load);
        tokio_tungstenite(&mut group, &runtime, what, &load);
        tungstenite(&mut group, what, &load);
    }
    group.finish();
}

criterion_group!(benches, source);
criterion_main!(benches);
