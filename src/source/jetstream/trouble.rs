//! Why a connection could not be made or came to its end, and what to do about it.

use std::io;
use std::time::Duration;

use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::source::pace::shown;
use crate::source::quote;

/// What ended an attempt or a connection. Its text is shown to operators, with nothing in it that a
/// server could use to forge lines in a log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    #[error("no subscription within {0:?}")]
    ConnectTimeout(Duration),
    #[error("the server refused the subscription with status {status}: {body:?}")]
    Refused { status: u16, body: String },
    #[error("the server does not speak WebSocket: {0}")]
    NoWebSocket(String),
    #[error("connection lost: {0}")]
    Lost(io::Error),
    #[error("the server closed without a word")]
    Dropped,
    #[error("the server closed with code {code}: {reason:?}")]
    Closed { code: u16, reason: String },
    #[error("nothing heard from the server for {0:?}")]
    Silent(Duration),
    #[error("silent for {:.1} s, unnatural at its usual {}/s", lasts.as_secs_f64(), shown(*usual_per_s))]
    Unnatural { lasts: Duration, usual_per_s: f64 },
    #[error("no event for {0:?}: connecting again to make sure")]
    Quiet(Duration),
    #[error("events are missing that the server may have: asking for them again")]
    Hole,
    #[error("a frame of more than {0} bytes")]
    FrameTooLong(usize),
    #[error("a text frame that is not UTF-8")]
    FrameNotText,
    #[error("a frame that breaks the WebSocket protocol: {0}")]
    FrameBroken(ProtocolError),
}

impl Trouble {
    /// From the error of an attempt to connect.
    pub(super) fn connecting(error: tungstenite::Error) -> Trouble {
        match error {
            tungstenite::Error::Io(error) => Trouble::Unreachable(error),
            tungstenite::Error::Http(response) => Trouble::Refused {
                status: response.status().as_u16(),
                // Only what came together with the head: the socket is gone by now.
                body: quote(response.body().as_deref().unwrap_or_default()),
            },
            error => Trouble::NoWebSocket(quote(error.to_string().as_bytes())),
        }
    }

    /// From the error of a connection.
    pub(super) fn reading(error: tungstenite::Error, frame_bytes_max: usize) -> Trouble {
        match error {
            tungstenite::Error::Io(error) => Trouble::Lost(error),
            tungstenite::Error::Capacity(_) => Trouble::FrameTooLong(frame_bytes_max),
            tungstenite::Error::Utf8(_) => Trouble::FrameNotText,
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Trouble::Dropped,
            tungstenite::Error::Protocol(error) => Trouble::FrameBroken(error),
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => Trouble::Dropped,
            error => Trouble::Lost(io::Error::other(quote(error.to_string().as_bytes()))),
        }
    }

    /// From the server's close frame.
    pub(super) fn closed(frame: Option<CloseFrame>) -> Trouble {
        match frame {
            None => Trouble::Dropped,
            Some(frame) => {
                Trouble::Closed { code: frame.code.into(), reason: quote(frame.reason.as_str().as_bytes()) }
            }
        }
    }

    /// Whether only a change by the operator, or the server's, can help: trying again soon cannot.
    pub(super) fn wants_operator(&self) -> bool {
        match self {
            // Moved, malformed, forbidden, not there. But: time-outs and rate limits pass.
            Trouble::Refused { status, .. } => {
                (300..500).contains(status) && !matches!(status, 408 | 425 | 429)
            }
            _ => false,
        }
    }

    /// Whether a frame ended the connection, and would end the next one that meets it.
    pub(super) fn is_at_a_frame(&self) -> bool {
        matches!(self, Trouble::FrameTooLong(_) | Trouble::FrameNotText | Trouble::FrameBroken(_))
    }

    /// Whether we left a connection that the server would have kept: no failure, and nothing to wait for.
    pub(super) fn is_our_choice(&self) -> bool {
        matches!(self, Trouble::Unnatural { .. } | Trouble::Quiet(_) | Trouble::Hole)
    }

    /// Whether the server said goodbye as servers do before they restart.
    pub(super) fn is_farewell(&self) -> bool {
        matches!(self, Trouble::Closed { code: 1000 | 1001, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_that_stay_refusals_want_the_operator() {
        let check = |status: u16, expected: bool| {
            let refused = Trouble::Refused { status, body: String::new() };
            assert_eq!(refused.wants_operator(), expected, "{status}");
        };
        for status in [301, 308, 400, 401, 403, 404, 410, 426] {
            check(status, true);
        }
        for status in [200, 408, 425, 429, 500, 502, 503] {
            check(status, false);
        }
        assert!(!Trouble::Dropped.wants_operator());
    }
}
