//! The dictionary and the rules at scale: 1,000,000 terms against 100, and 100,000 rules against 10.
//!
//! Prints what a post costs with either, what the large one takes in memory, and how long it takes to compile.
//! Not criterion: that measures one case after the other, and what a shared machine drifts by in between is more
//! than the differences that are asked about. Here the two take turns, and the medians of their rounds are compared.

mod listen;
#[path = "../parts/mode.rs"]
mod mode;
#[path = "../parts/posts.rs"]
#[allow(dead_code, reason = "each bench takes what it needs")]
mod parts;
mod posts;

use std::hint::black_box;
use std::time::{Duration, Instant};

use posts::Posts;
use vigie::pipeline::lane::Lane;
use vigie::prefilter::{Config, Prefilter, Scan, Scratch};

// The system's allocator, not the daemon's: with `MALLOC_MMAP_THRESHOLD_=131072` in the environment glibc gives back
// what is freed of large pieces, so that what stays of the first large config, a million terms, can be measured.
// Later ones take what is free.

/// The large configs: smaller where a build is slow because it is a test.
const TERMS: usize = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
const RULES: usize = if cfg!(debug_assertions) { 2_000 } else { 100_000 };

fn main() {
    let rounds = mode::measures().then_some(25);
    let streams = [
        Some(posts::generated()),
        posts::recorded(),
        Some(posts::service_words()),
        Some(posts::near_misses()),
    ];
    let streams: Vec<Posts> = streams.into_iter().flatten().collect();
    compare("terms", [100, TERMS], listen::terms, &streams, rounds);
    compare("rules", [10, RULES], listen::rules, &streams, rounds);
}

/// Asserts that both find the same in every stream and, if there are `rounds`, measures what that costs them.
fn compare(
    what: &str,
    sizes: [usize; 2],
    config: fn(usize) -> Config,
    streams: &[Posts],
    rounds: Option<usize>,
) {
    let prefilters = sizes.map(|size| match rounds {
        Some(_) => compiled(what, size, &config(size)),
        None => Prefilter::build(&config(size)).expect("the bench's own config"),
    });
    for posts in streams {
        let found = prefilters.each_ref().map(|prefilter| candidates(prefilter, posts));
        // What the large one has besides is made to match nothing in these.
        assert_eq!(found[0], found[1], "{}", posts.name);
        assert_eq!(found[0], posts.candidates, "{}", posts.name);
        let mut lanes = [Lane::default(), Lane::default()];
        for (lane, prefilter) in lanes.iter_mut().zip(&prefilters) {
            let found = lane.process(prefilter, posts.batch()).candidates().count();
            assert_eq!(found, posts.candidates, "{}, in a lane", posts.name);
        }
        let Some(rounds) = rounds else { continue };
        println!("{what}, {}: {} posts, {} candidates", posts.name, posts.posts.len(), found[0]);
        let mut scratches = [Scratch::default(), Scratch::default()];
        turns("scan alone", posts, rounds, |which| {
            let started = Instant::now();
            for post in &posts.posts {
                black_box(prefilters[which].scan(post, &mut scratches[which]));
            }
            started.elapsed()
        });
        turns("parse + scan", posts, rounds, |which| {
            let batch = posts.batch();
            let started = Instant::now();
            black_box(lanes[which].process(&prefilters[which], batch));
            started.elapsed()
        });
    }
}

/// Builds a prefilter and says what that took.
fn compiled(what: &str, size: usize, config: &Config) -> Prefilter {
    // Linux forgets the peak of the resident set when asked so; a container may forbid to ask.
    let peak_is_ours = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = resident("VmRSS:");
    let started = Instant::now();
    let prefilter = Prefilter::build(config).expect("the bench's own config");
    let seconds = started.elapsed().as_secs_f64();
    let peak = resident("VmHWM:");
    // The first scan grows what a lane works in.
    let mut scratch = Scratch::default();
    black_box(prefilter.scan(&posts::any(), &mut scratch));
    let grown = resident("VmRSS:").saturating_sub(before);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let peak = if peak_is_ours {
        format!("{:.1} MiB at the peak", mib(peak.saturating_sub(before)))
    } else {
        "a peak that cannot be told: /proc/self/clear_refs is not writable".to_owned()
    };
    println!(
        "{size} {what}: compiled in {seconds:.2} s, {:.1} MiB resident with a lane's scratch ({:.1} bytes each), {peak}",
        mib(grown),
        grown as f64 / size as f64,
    );
    prefilter
}

/// A line of `/proc/self/status`, in bytes.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells this");
    let kib = line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number");
    kib * 1024
}

fn candidates(prefilter: &Prefilter, posts: &Posts) -> usize {
    let mut scratch = Scratch::default();
    let mut found = |post: &_| matches!(prefilter.scan(post, &mut scratch), Scan::Candidate(_));
    posts.posts.iter().filter(|post| found(post)).count()
}

/// Lets the small and the large one take turns and prints what a post costs with each.
fn turns(what: &str, posts: &Posts, rounds: usize, mut turn: impl FnMut(usize) -> Duration) {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds + 2 {
        for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let time = turn(which).as_nanos() as f64 / posts.posts.len() as f64;
            // The first rounds warm up.
            if round >= 2 {
                times[which].push(time);
            }
        }
    }
    let mut ratios: Vec<f64> = times[0].iter().zip(&times[1]).map(|(small, large)| large / small).collect();
    let [small, large] = times.each_mut().map(|times| median(times));
    let more = 100.0 * (median(&mut ratios) - 1.0);
    println!("  {what:<12} {small:>9.0} → {large:>9.0} ns a post: {more:+.1} %");
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
