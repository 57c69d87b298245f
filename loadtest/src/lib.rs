//! firehose serves the social networks' streaming protocols at a fixed rate, to load and to show vigie, and
//! counts what comes back on the ticket socket.
//!
//! A [`timeline`] says which event happens when; a [`script`] makes each event from its index alone, with the
//! texts of `posts`; [`jetstream`] serves them as Bluesky's Jetstream does and [`statuses`] as X v1.1 statuses,
//! and what both [`served`] can be asked for. On the other side, [`client`] takes
//! tickets by the protocol's specification, with code of its own; [`helpdesk`] is what vigie's bridges speak to. [`run`] puts it all together: a daemon under
//! load, watched from outside.

/// The sample in `README.md` compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub mod timeline;
mod posts;
mod plot;
pub mod script;
pub mod served;
mod chunk;
pub mod jetstream;
pub mod statuses;
pub mod client;
pub mod helpdesk;
pub mod run;

pub use jetstream::{Burst, JetstreamConfig, Lie, Lies, Scenario, Serving, serve};
pub use script::{Event, EventKind, Mix, Script, SupportPost};
pub use served::Served;
pub use statuses::{StatusScript, StatusesConfig, StatusesServing, serve_statuses};
pub use timeline::Rate;
