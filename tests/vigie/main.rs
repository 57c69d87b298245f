//! What vigie does, seen from outside: the real binary, real sockets, the load generator as its network.
//!
//! One binary with a module for each capability, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod daemon;

mod access;
mod articles;
mod bridge_commands;
mod bridges;
mod accounting;
mod clients;
mod commands;
mod context;
mod conversations;
mod deadlines;
mod delivery;
mod end_to_end;
mod ledgers;
mod liars;
mod helpdesks;
mod hostile;
mod load;
mod lines;
mod metrics;
mod operation;
mod overload;
mod priorities;
mod recovery;
mod report;
mod rerouted;
mod service;
mod shutdown;
mod storage;
mod triage;
mod sockets;
