//! What must hold whatever the input is: each trial is a fuzz target of `tests/fuzz` and a property test here.
//!
//! A trial takes any bytes, reads from them what it needs, and panics where a promise is broken. Trials lie
//! beside the code that they try, since most of what they look at is private to it; this is their list.
//!
//! Compiled for tests and for fuzzing only: the daemon has none of it.

use crate::parse::Format;
use crate::{bridge, classify, config, console, ledger, parse, prefilter, source, wire};

/// Something to be tried with any bytes.
pub type Trial = fn(&[u8]);

/// All trials, by the names of their fuzz targets.
pub const ALL: [(&str, Trial); 20] = [
    ("frame", wire::trial::frame),
    ("session", wire::trial::session),
    ("messages", wire::trial::messages),
    ("jetstream", |data| parse::trial::frame(Format::Jetstream, data)),
    ("mastodon", |data| parse::trial::frame(Format::Mastodon, data)),
    ("x-v2", |data| parse::trial::frame(Format::XV2, data)),
    ("x-v1", |data| parse::trial::frame(Format::XV1, data)),
    ("plain", |data| parse::trial::frame(Format::Plain, data)),
    ("select", parse::trial::select),
    ("html", parse::trial::html),
    ("lines", source::tcp::trial::lines),
    ("greeting", source::tcp::trial::greeting),
    ("rule", prefilter::trial::rule),
    ("match", prefilter::trial::matches),
    ("text", classify::trial::text),
    ("articles", ledger::articles::trial::question),
    ("config", config::trial::file),
    ("status", console::trial::status),
    ("helpdesk", bridge::helpdesk::trial::answers),
    ("webhook", bridge::webhook::trial::webhook),
];

/// Bytes of a trial, read as numbers; what lies beyond their end is 0 and empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'d>(&'d [u8]);

impl<'d> Bytes<'d> {
    pub(crate) fn new(data: &'d [u8]) -> Bytes<'d> {
        Bytes(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number under `limit`, which is not 0.
    pub(crate) fn under(&mut self, limit: usize) -> usize {
        usize::from(if limit > 256 { self.u16() } else { self.byte().into() }) % limit
    }

    pub(crate) fn is_set(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// The next `len` bytes, or as many as there are.
    pub(crate) fn take(&mut self, len: usize) -> &'d [u8] {
        let len = len.min(self.0.len());
        self.0.split_off(..len).unwrap_or_default()
    }

    pub(crate) fn rest(self) -> &'d [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests;
