//! What this process uses, from `/proc/self`, under the names that Prometheus' own client libraries use.

use serde::{Deserialize, Serialize};

/// The process's use of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Processor time of all threads, seconds.
    pub cpu_seconds: f64,
    /// Memory in use, bytes.
    pub resident_bytes: u64,
    /// Address space, bytes.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// File descriptors that are open.
    pub open_fds: u64,
    /// As many as may be; `None` where there is no limit.
    pub max_fds: Option<u64>,
}

/// Of Linux's clock ticks in a second as `/proc` shows them: 100 on every architecture that it runs on
/// (`USER_HZ`; proc(5), "/proc/pid/stat").
const TICKS_A_SECOND: f64 = 100.0;

impl Process {
    /// This process now; `None` where there is no `/proc`.
    pub fn read() -> Option<Process> {
        let of = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
        let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count();
        let read = Process::parse(&of("stat")?, &of("status")?, &of("limits")?)?;
        // Reading the folder takes one itself.
        Some(Process { open_fds: (open_fds as u64).saturating_sub(1), ..read })
    }

    fn parse(stat: &str, status: &str, limits: &str) -> Option<Process> {
        // The program's name, in parentheses, may hold anything: what follows it begins with field 3.
        let (_, after_name) = stat.rsplit_once(')')?;
        let ticks = |field: usize| after_name.split_ascii_whitespace().nth(field - 3)?.parse::<u64>().ok();
        let number = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        Some(Process {
            cpu_seconds: (ticks(14)? + ticks(15)?) as f64 / TICKS_A_SECOND,
            resident_bytes: number("VmRSS:")? * 1024,
            virtual_bytes: number("VmSize:")? * 1024,
            threads: number("Threads:")?,
            open_fds: 0,
            max_fds: files.split_ascii_whitespace().next()?.parse().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_past_a_name_with_anything_in_it() {
        let stat = "7 (vi) gie ()) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 100 1 1\n";
        let status = "Name:\tvigie\nVmSize:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t9\n";
        let limits =
            "Limit      Soft Limit  Hard Limit  Units\nMax open files     4096      8192     files\n";
        let read = Process::parse(stat, status, limits).unwrap();
        let expected = Process {
            cpu_seconds: 3.0,
            resident_bytes: 1 << 20,
            virtual_bytes: 2 << 20,
            threads: 9,
            open_fds: 0,
            max_fds: Some(4096),
        };
        assert_eq!(read, expected);
        let unlimited = Process::parse(stat, status, &limits.replace("4096", "unlimited")).unwrap();
        assert_eq!(unlimited.max_fds, None);
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let before = Process::read().unwrap();
        let _files: Vec<_> = (0..50).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
        let after = Process::read().unwrap();
        assert!(before.resident_bytes > 1 << 20 && before.threads >= 1, "{before:?}");
        // Other tests of this process open and close some as well.
        assert!(after.open_fds >= 50, "{before:?} {after:?}");
    }
}
