//! firehose serves the social networks' streaming protocols at a fixed rate, to load and to show vigie, and
//! counts what comes back on the ticket socket.
//!
//! A [`timeline`] says which event happens when; a [`script`] makes each event from its index alone, with the
//! texts of `posts`; [`jetstream`] serves them as Bluesky's Jetstream does. On the other side, [`client`] takes
//! tickets by the protocol's specification, with code of its own.

pub mod timeline;
mod posts;
pub mod script;
pub mod jetstream;
pub mod client;

pub use jetstream::{JetstreamConfig, Scenario, Serving, serve};
pub use script::{Event, EventKind, Mix, Script, SupportPost};
pub use timeline::Rate;
