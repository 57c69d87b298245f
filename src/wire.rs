//! Record → acknowledged delivery: the ticket socket.
//!
//! `vigie.proto` is the contract with the outside, and its comments are the specification. [`frame`] cuts
//! a byte stream into messages; `session` is the protocol as a pure state machine, which reads no clock
//! and does no IO; `conversation` drives one session over one stream; [`connection`] is the only file that
//! opens sockets; [`Hub`] joins the conversations with the ledger; [`client`] is the other end, for
//! `vigie tail` and for tests.
//!
//! Which record goes next is decided in [`crate::ledger::outbox`]. Bodies are read from the ledger when
//! they are sent and never kept here.

pub mod bridges;
pub mod client;
pub mod connection;
pub mod frame;
mod conversation;
mod delivery;
mod feedback;
mod hello;
mod hub;
#[cfg(test)]
mod model;
mod session;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;
mod visitor;

pub use client::{Address, Client, ClientError, Event, Introduction, Wanted};
pub use connection::{BindError, Config, Gates, Listener, serve_over};
pub use hub::Hub;

/// The number of wire protocol 1, in `Hello` and `Welcome`.
pub const PROTOCOL: u32 = 1;
