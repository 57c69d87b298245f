//! A disk that fails on demand under the real daemon: `tests/faults/disk.c`, loaded before libc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::daemon::{State, vigie};

/// Error numbers of Linux, as they reach the daemon.
pub(super) const EIO: i32 = 5;
pub(super) const ENOSPC: i32 = 28;

/// The library; built once by the C compiler that builds SQLite, too.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/disk.c");
        // Of this process alone: another run of the tests may be building its own.
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{}.so", std::process::id()));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(source).arg("-lpthread");
        assert!(compiler.status().unwrap().success(), "the fault library does not compile");
        library
    })
}

/// The disk under one daemon's ledger.
pub(super) struct Disk {
    plan: PathBuf,
    log: PathBuf,
}

impl Disk {
    /// A disk that does what it should, until told otherwise.
    pub(super) fn new(state: &State) -> Disk {
        Disk { plan: state.path().join("plan"), log: state.path().join("faults") }
    }

    /// The daemon's command on this disk.
    pub(super) fn command(&self, state: &State) -> Command {
        let mut command = vigie();
        command.args(["run", "-c"]).arg(&state.config);
        command.env("LD_PRELOAD", library());
        command.env("VIGIE_FAULT_PLAN", &self.plan).env("VIGIE_FAULT_LOG", &self.log);
        command
    }

    /// From now on calls fail as the line says, which `disk.c` explains.
    pub(super) fn arm(&self, plan: &str) {
        let beside = self.plan.with_extension("new");
        std::fs::write(&beside, plan).unwrap();
        std::fs::rename(beside, &self.plan).unwrap();
    }

    /// How many calls were meddled with.
    pub(super) fn faults(&self) -> usize {
        std::fs::read_to_string(&self.log).unwrap_or_default().lines().count()
    }
}
