//! What a process uses, seen from outside: `/proc/PID` of Linux.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::{fs, io};

/// Clock ticks in a second of CPU time: `USER_HZ`, which is 100 on every architecture that Linux tells programs
/// about.
const TICKS_PER_S: f64 = 100.0;

/// What a process has used so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Usage {
    /// CPU time of all its threads, those that have ended included, in seconds; resolved to 10 ms.
    pub(super) cpu_s: f64,
    /// CPU time in seconds by thread name. Threads of one name are added up.
    pub(super) thread_cpu_s: BTreeMap<String, f64>,
    /// Resident memory now, in bytes.
    pub(super) rss_bytes: u64,
    /// The most resident memory since the process began (`VmHWM`), in bytes.
    pub(super) rss_bytes_max: u64,
    /// Open file descriptors.
    pub(super) descriptors: u64,
    /// Threads.
    pub(super) threads: u64,
}

/// Reads one process again and again.
#[derive(Debug)]
pub(super) struct Meter {
    folder: PathBuf,
    /// Name and CPU seconds of each thread seen, so that the time of one that ended is not forgotten.
    threads: HashMap<String, (String, f64)>,
}

impl Meter {
    /// Of the process with this number.
    pub(super) fn new(pid: u32) -> Meter {
        Meter { folder: PathBuf::from(format!("/proc/{pid}")), threads: HashMap::new() }
    }

    /// What the process has used until now.
    ///
    /// # Errors
    ///
    /// The process is gone, or this is not Linux.
    pub(super) fn read(&mut self) -> io::Result<Usage> {
        let (_, cpu_s) = stat(&fs::read_to_string(self.folder.join("stat"))?)?;
        let status = fs::read_to_string(self.folder.join("status"))?;
        let mut threads = 0;
        for task in fs::read_dir(self.folder.join("task"))? {
            let task = task?;
            threads += 1;
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task.path().join("stat")) else { continue };
            self.threads.insert(task.file_name().to_string_lossy().into_owned(), stat(&text)?);
        }
        let mut thread_cpu_s = BTreeMap::new();
        for (name, cpu_s) in self.threads.values() {
            *thread_cpu_s.entry(name.clone()).or_default() += cpu_s;
        }
        let descriptors = fs::read_dir(self.folder.join("fd"))?.count() as u64;
        let (rss_bytes, rss_bytes_max) = (memory(&status, "VmRSS:"), memory(&status, "VmHWM:"));
        Ok(Usage { cpu_s, thread_cpu_s, rss_bytes, rss_bytes_max, descriptors, threads })
    }
}

/// Name and CPU seconds in a `stat` file: proc(5), fields 2, 14 (`utime`) and 15 (`stime`).
fn stat(text: &str) -> io::Result<(String, f64)> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("no stat of a process: {text:?}"));
    // The name may hold anything, parentheses too: it ends with the last one.
    let (head, rest) = text.rsplit_once(')').ok_or_else(wrong)?;
    let (_, name) = head.split_once('(').ok_or_else(wrong)?;
    let mut times = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let (Some(Ok(user)), Some(Ok(system))) = (times.next(), times.next()) else { return Err(wrong()) };
    Ok((name.to_owned(), (user + system) as f64 / TICKS_PER_S))
}

/// A line of `status` in bytes; 0 if there is none, as for a process that has just ended.
fn memory(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// CPU time of the whole machine since it was started, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Machine {
    /// Spent by anything that ran here, on all cores.
    pub(super) busy_s: f64,
    /// Wanted and not had, because the host gave it to another guest.
    pub(super) stolen_s: f64,
}

impl Machine {
    /// Until now; zeros where `/proc/stat` cannot be read.
    pub(super) fn read() -> Machine {
        Machine::of(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// proc(5): `cpu user nice system idle iowait irq softirq steal ...`
    fn of(stat: &str) -> Machine {
        let line = stat.lines().next().unwrap_or_default();
        let times: Vec<f64> =
            line.split_whitespace().skip(1).map(|ticks| ticks.parse().unwrap_or(0.0)).collect();
        let of =
            |fields: &[usize]| fields.iter().filter_map(|field| times.get(*field)).sum::<f64>() / TICKS_PER_S;
        Machine { busy_s: of(&[0, 1, 2, 5, 6]), stolen_s: of(&[7]) }
    }
}

/// The processor's name; empty where `/proc/cpuinfo` has none.
pub(super) fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or_else(String::new, |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything_and_the_times_are_found_after_it() {
        let line = "12 (a) b (c) S 1 1 1 0 -1 4194304 118 0 0 0 250 50 0 0 20 0 1 0 1359574 2990080 415";
        assert_eq!(stat(line).unwrap(), ("a) b (c".to_owned(), 3.0));
        assert!(stat("12 (a) S 1").is_err());
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    1832 kB\nVmRSS:\t    1000 kB\n";
        assert_eq!((memory(status, "VmRSS:"), memory(status, "VmHWM:")), (1_024_000, 1_875_968));
        assert_eq!(memory("", "VmRSS:"), 0);
    }

    #[test]
    fn the_machine_is_busy_with_all_but_waiting() {
        let machine = Machine::of("cpu  100 200 300 9999 9999 400 500 600 0 0\ncpu0 1 1 1\n");
        assert_eq!(machine, Machine { busy_s: 15.0, stolen_s: 6.0 });
        assert_eq!(Machine::of(""), Machine::default());
    }

    #[test]
    fn this_process_uses_memory_and_has_threads() {
        let usage = Meter::new(std::process::id()).read().unwrap();
        assert!(usage.rss_bytes > 0 && usage.rss_bytes_max >= usage.rss_bytes);
        assert!(!usage.thread_cpu_s.is_empty() && usage.threads > 0);
        let _open = [0; 50].map(|_| fs::File::open("/dev/null").unwrap());
        assert!(Meter::new(std::process::id()).read().unwrap().descriptors >= 50);
        assert!(Meter::new(u32::MAX).read().is_err());
    }
}
