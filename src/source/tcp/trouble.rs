//! Why a connection could not be made or came to its end.

use std::io;
use std::time::Duration;

/// What ended an attempt or a connection. Its text is shown to operators, with nothing in it that a
/// sender could use to forge lines in a log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("connected, but no answer to the greeting within {0:?}")]
    NoAnswer(Duration),
    #[error("the sender speaks version {0} of the protocol, and not 1")]
    OtherVersion(u64),
    #[error("the sender refused: {0:?}")]
    Refused(String),
    #[error("the sender does not speak our protocol: it answered {0:?}")]
    Nonsense(String),
    #[error("the sender begins after line {begins_after}, which no stream of {after} lines can have reached")]
    TooFar { after: i64, begins_after: i64 },
    #[error("connection lost: {0}")]
    Lost(io::Error),
    #[error("the sender closed the connection")]
    Closed,
    #[error("nothing heard from the sender for {0:?}")]
    Silent(Duration),
}

impl Trouble {
    /// Whether only a change by the operator, or the sender's, can help: trying again soon cannot.
    ///
    /// A refusal in words is not among them: only people can tell whether it will pass, and the waits grow
    /// anyhow.
    pub(super) fn wants_operator(&self) -> bool {
        matches!(self, Trouble::OtherVersion(_) | Trouble::Nonsense(_) | Trouble::TooFar { .. })
    }
}
