//! A command of ours, run to its end and measured as the kernel does.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a run of the command gave and took.
pub(crate) struct Ran {
    pub(crate) stdout: Vec<u8>,
    pub(crate) clock: Duration,
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    pub(crate) peak_kib: u64,
}

impl Ran {
    /// What it took, in one line's part.
    pub(crate) fn shown(&self) -> String {
        format!(
            "{:.2} s on the clock, {:.2} s user, {:.2} s system, {} MiB at most",
            self.clock.as_secs_f64(),
            self.user_s,
            self.system_s,
            self.peak_kib / 1024
        )
    }
}

/// Runs `vigie` with these arguments. It must succeed, and print less than a pipe holds.
pub(crate) fn run(configure: impl FnOnce(&mut Command)) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    configure(command.stdout(Stdio::piped()));
    let begun = Instant::now();
    let mut child = command.spawn().expect("the command was built beside this bench");
    let process = format!("/proc/{}", child.id());
    let (mut user_s, mut system_s, mut peak_kib) = (0.0, 0.0, 0);
    // The last look is at most 2 ms before its end.
    while child.try_wait().expect("it is our child").is_none() {
        let stat = std::fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
        let ticks = |field: usize| {
            // Fields count from 1, and the second, the name, ends with the last bracket.
            let (_, after) = stat.rsplit_once(") ")?;
            after.split(' ').nth(field - 3)?.parse::<f64>().ok()
        };
        user_s = ticks(14).map_or(user_s, |ticks| f64::max(user_s, ticks / 100.0));
        system_s = ticks(15).map_or(system_s, |ticks| f64::max(system_s, ticks / 100.0));
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        peak_kib = peak.and_then(|kib| kib.parse().ok()).unwrap_or(peak_kib).max(peak_kib);
        std::thread::sleep(Duration::from_millis(2));
    }
    let clock = begun.elapsed();
    let output = child.wait_with_output().expect("it has ended");
    assert!(output.status.success(), "{command:?}");
    Ran { stdout: output.stdout, clock, user_s, system_s, peak_kib }
}
