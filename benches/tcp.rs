//! Lines over TCP, from a sender on loopback to the lanes' queue, where they are dropped: what the source
//! alone carries, and what it costs.
//!
//! ```text
//! cargo bench --bench tcp -- [rate=LINES_PER_S | rate=max] [seconds=S] [batch=KIB] [tick=US]
//! ```
//!
//! Prints lines and bytes a second, batches a second, and the CPU time of each thread, in cores. Everything is
//! on one machine, so at `max` the sender and the source share its cores. Other arguments are criterion's and
//! mean nothing here. As a test it only sees a few lines through.

#[path = "parts/mode.rs"]
mod mode;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use vigie::parse::Format;
use vigie::source::tcp::{Address, Config, run};
use vigie::source::{Durable, Health, batch_queue};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As long as an X v1.1 status with its user and entities.
const LINE_BYTES: usize = 4_700;
/// The record of the largest network.
const LINES_PER_S: f64 = 143_199.0;
/// Time between two writes of a paced sender, µs.
const TICK_US: f64 = 1_000.0;

/// Lines of a write, at most.
const LINES_OF_WRITE: u64 = 256;
/// Lines of a test.
const LINES_OF_TEST: u64 = 10 * LINES_OF_WRITE;

/// What is sent.
#[derive(Clone, Copy)]
struct Load {
    /// Lines a second; `None`: as many as are taken.
    rate: Option<f64>,
    /// Time between two writes at a rate.
    tick: Duration,
    /// Sending ends when either is reached.
    duration: Duration,
    lines_max: u64,
}

impl Load {
    fn asked() -> Load {
        let rate = match argument("rate").as_deref() {
            Some("max") => None,
            _ => Some(number("rate", LINES_PER_S)),
        };
        Load {
            rate,
            tick: Duration::from_secs_f64(number("tick", TICK_US) / 1e6),
            duration: Duration::from_secs_f64(number("seconds", 5.0)),
            lines_max: u64::MAX,
        }
    }

    /// Ends after the same lines on any machine, however slow.
    const TEST: Load =
        Load { rate: None, tick: Duration::ZERO, duration: Duration::MAX, lines_max: LINES_OF_TEST };
}

/// The value of `NAME=VALUE`, where it is given.
fn argument(name: &str) -> Option<String> {
    std::env::args().find_map(|argument| Some(argument.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

fn number(name: &str, default: f64) -> f64 {
    argument(name).map_or(default, |text| text.parse().expect("a number"))
}

fn main() {
    let measures = mode::measures();
    let load = if measures { Load::asked() } else { Load::TEST };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port").to_string();
    let sender = Builder::new().name("sender".to_owned()).spawn(move || send(&listener, load));
    let sender = sender.expect("a thread");

    let address = Address::parse(&address).expect("a host and a port");
    let mut config = Config::new("bench", address, Format::XV1);
    config.batch_bytes_max = 1024 * number("batch", config.batch_bytes_max as f64 / 1024.0) as usize;
    assert_eq!(config.mistakes(), []);
    let (out, lanes) = batch_queue(NonZeroUsize::new(64).expect("not zero"));
    let (durable, committed) = watch::channel(Durable::default());
    let (stop, stopping) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("source")
        .enable_all()
        .build()
        .expect("threads");
    let health = Arc::new(Health::default());
    let source = runtime.spawn(run(config, None, committed, out, health, stopping));
    let lane = Builder::new().name("lane".to_owned()).spawn(move || {
        let (mut lines, mut bytes, mut batches) = (0_u64, 0_u64, 0_u64);
        while let Ok(batch) = lanes.recv() {
            lines += batch.frames.len() as u64;
            bytes += batch.bytes.len() as u64;
            batches += 1;
            assert_eq!(batch.position, i64::try_from(lines).ok(), "a line was lost");
            durable.send_replace(Durable { end_sequence: batch.sequence + 1, position: batch.position });
        }
        (lines, bytes, batches)
    });
    let lane = lane.expect("a thread");

    // The first and the last fifth are left out: they start and they drain.
    let usage = measures.then(|| {
        std::thread::sleep(load.duration / 5);
        let (start, before) = (Instant::now(), cpu());
        std::thread::sleep(load.duration * 3 / 5);
        (start.elapsed().as_secs_f64(), before, cpu())
    });
    let (sent, took) = sender.join().expect("the sender sends");
    stop.send(true).expect("the source runs");
    runtime.block_on(source).expect("the source ends");
    let (lines, bytes, batches) = lane.join().expect("nothing is lost");
    assert_eq!(lines, sent, "a line was lost");
    assert_eq!(bytes, sent * LINE_BYTES as u64, "a line was cut");
    let Some((elapsed, before, after)) = usage else {
        assert_eq!(sent, LINES_OF_TEST);
        return;
    };

    let per_s = |count: u64| count as f64 / took.as_secs_f64();
    println!(
        "{:.0} lines/s, {:.3} GB/s, {:.0} batches/s, {lines} lines of {LINE_BYTES} bytes",
        per_s(lines),
        per_s(bytes) / 1e9,
        per_s(batches),
    );
    for name in ["source", "sender", "lane"] {
        let cores = |kind: fn(&Cpu) -> f64| {
            let sum = |cpu: &[Cpu]| cpu.iter().filter(|cpu| cpu.thread == name).map(kind).sum::<f64>();
            (sum(&after) - sum(&before)) / elapsed
        };
        let (user, system) = (cores(|cpu| cpu.user_s), cores(|cpu| cpu.system_s));
        println!("{name}: {:.3} cores, {user:.3} user and {system:.3} kernel", user + system);
    }
}

/// Sends lines, open loop; how many, and in which time.
fn send(listener: &TcpListener, load: Load) -> (u64, Duration) {
    let (mut socket, _) = listener.accept().expect("a connection");
    let mut acks = BufReader::new(socket.try_clone().expect("a socket"));
    acks.read_line(&mut String::new()).expect("a greeting");
    socket.write_all(b"{\"vigie\":1,\"after\":0}\n").expect("a reader");
    let reads = Builder::new().spawn(move || acks.lines().map_while(Result::ok).count());
    drop(reads.expect("a thread"));

    let mut line = vec![b'x'; LINE_BYTES - 1];
    line.push(b'\n');
    let lines = line.repeat(LINES_OF_WRITE as usize);
    let (start, mut sent) = (Instant::now(), 0_u64);
    while start.elapsed() < load.duration && sent < load.lines_max {
        let due = match load.rate {
            Some(rate) => (start.elapsed().as_secs_f64() * rate) as u64,
            None => sent + LINES_OF_WRITE,
        };
        while sent < due {
            let now = (due - sent).min(LINES_OF_WRITE);
            let bytes = now as usize * LINE_BYTES;
            socket.write_all(&lines[..bytes]).expect("a reader");
            sent += now;
        }
        if load.rate.is_some() {
            std::thread::sleep(load.tick);
        }
    }
    let took = start.elapsed();
    // The reader closes once it is told to stop; until then it may still be reading.
    socket.shutdown(std::net::Shutdown::Write).expect("a reader");
    while socket.take_error().is_ok()
        && std::io::Read::read(&mut socket, &mut [0; 64]).is_ok_and(|read| read > 0)
    {}
    (sent, took)
}

/// CPU time of a thread so far.
struct Cpu {
    thread: String,
    user_s: f64,
    system_s: f64,
}

/// Of all threads, from the kernel's clock ticks of 10 ms (proc(5)).
fn cpu() -> Vec<Cpu> {
    let of_thread = |entry: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let seconds = |index: usize| Some(fields.get(index)?.parse::<f64>().ok()? / 100.0);
        Some(Cpu { thread: name.to_owned(), user_s: seconds(11)?, system_s: seconds(12)? })
    };
    std::fs::read_dir("/proc/self/task").expect("Linux").filter_map(of_thread).collect()
}
