//! vigie watches social firehoses for the people who are asking a company for help, and hands each of
//! them, once, in priority order, to the helpdesk that the company already runs.
//!
//! The modules follow a post's path. A network's stream enters at [`source`] as batches of raw frames;
//! [`parse`] turns a frame into one canonical post; [`prefilter`] keeps the posts that a brand's rules
//! match; [`classify`] gives them sentiment, intent and urgency; [`desk`] makes a ticket with a priority
//! and its reasons; [`ledger`] makes it durable together with the position in the stream; [`wire`]
//! delivers it until the helpdesk acknowledges; [`console`] shows operators what happens.
//! [`access`] says who may come in; [`telemetry`] and [`ticket`] are used by all of them; [`pipeline`], [`config`] and [`cli`] sit on top.

// They end the process where nobody reads any more: `telemetry::log` and `writeln!` do not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod source;
pub mod parse;
pub mod prefilter;
pub mod classify;
pub mod desk;
pub mod ledger;
pub mod wire;
pub mod bridge;
pub mod console;

pub mod access;
pub mod telemetry;
pub mod ticket;

pub mod pipeline;
pub mod config;
pub mod cli;

/// For tests and fuzzing only.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod trials;
