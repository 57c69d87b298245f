//! Verdict → ticket: the decisions that a dispatcher would make, each with its reasons.
//!
//! Plain code without a clock: times come in with the candidate, so that `replay` and `explain` use the
//! very same lines as `run`.

pub mod agent;
pub mod anew;
pub mod articles;
mod assigning;
pub mod calendar;
#[cfg(test)]
pub(crate) mod case;
mod config;
pub mod conversation;
mod decide;
mod draft;
pub mod expectation;
mod explained;
pub mod follow_up;
mod known;
pub mod person;
pub mod priority;
pub mod recorded;
mod remember;
pub mod route;
pub mod sensitive;
pub mod told;
pub mod topic;
pub mod week;
pub mod when;

pub use agent::Agent;
pub use anew::{Anew, Changed, Whose};
pub use assigning::ORPHANS_MAX;
pub use config::{BrandPriority, Config};
pub use conversation::Conversations;
pub use decide::{Decision, Desk, Joined, Opinion, answered_at, posted_at};
pub use draft::Draft;
pub use expectation::{Due, Expectations};
pub use explained::{Aside, Explained, Tried};
pub use follow_up::{Amended, Terms};
pub use known::{KNOWN_TICKETS_MAX, text_hash};
pub use person::{People, Person, Strangers, Unreadable};
pub use priority::{Factors, Levels, Score};
pub use recorded::Recorded;
pub use route::{Router, Routes};
pub use when::{Facts, When};

#[cfg(test)]
mod tests;
