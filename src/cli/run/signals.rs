//! What people and service managers ask for by signal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Reload the config: SIGHUP.
    Reload,
    /// Drain and end; asked a second time, end at once.
    End(Why),
}

/// Which signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// SIGTERM.
    Terminate,
    /// SIGINT, Ctrl-C.
    Interrupt,
}

impl Why {
    /// The signal's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Why::Terminate => "SIGTERM",
            Why::Interrupt => "SIGINT",
        }
    }

    /// The exit code of a process that it ended, as shells count: 128 and its number.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Why::Terminate => 143,
            Why::Interrupt => 130,
        }
    }
}

/// The signals that we follow, from now until the process ends.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to listen. Until then a signal ends the process, SIGHUP too.
    pub(super) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next request. Signals of one kind that come while nobody asks are one request.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            // Who wants an end does not want a reload before it.
            biased;
            _ = self.terminate.recv() => Asked::End(Why::Terminate),
            _ = self.interrupt.recv() => Asked::End(Why::Interrupt),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}
