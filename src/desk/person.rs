//! Who a poster is: what the company has told us of them, and what they have tried before.
//!
//! Only accounts that the company has linked to a customer are known; nothing is guessed from names.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use super::agent::Agent;
use crate::parse::Post;

/// Touchpoints of one person that a decision looks at, the newest.
pub const TOUCHPOINTS_MAX: usize = 32;
/// Purchases of one customer that are kept, the newest.
pub const PURCHASES_MAX: usize = 8;

/// The author of a post, as far as the company knows them. Empty for a stranger.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Person {
    /// The customer to whom the author's account is linked.
    pub customer: Option<Arc<Customer>>,
    /// Earlier contacts of that customer, or of the account alone; the newest first, at most [`TOUCHPOINTS_MAX`].
    pub touchpoints: Vec<Touchpoint>,
}

/// A customer, as imported.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Customer {
    /// The company's own key.
    pub key: String,
    /// For the agents' eyes; may be empty.
    pub name: String,
    /// The company's own word in lower case, such as `gold`; may be empty.
    pub tier: String,
    /// What they are worth, in whatever unit the company counts; finite, not negative.
    pub value: Option<f64>,
    /// Primary subtag of the language they are served in; may be empty.
    pub language: String,
    /// The company's own words in lower case, such as `press` or `vulnerable`.
    pub flags: Vec<String>,
    /// The newest first, at most [`PURCHASES_MAX`].
    pub purchases: Vec<Purchase>,
}

/// Something a customer bought.
#[derive(Debug, Clone, PartialEq)]
pub struct Purchase {
    /// When; the beginning of the day where only that is known.
    pub at: Timestamp,
    /// The day, where only that is known: the same for whoever reads it, in whatever time zone.
    pub date: Option<Date>,
    /// What, for the agents' eyes; may be empty.
    pub what: String,
    /// For how much, in the company's unit; finite, not negative.
    pub amount: Option<f64>,
}

/// An earlier contact on any channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touchpoint {
    /// When.
    pub at: Timestamp,
    /// In lower case: `phone`, `mail`, `chat`, `shop`, `visit`, `post`, or the company's own word.
    pub channel: String,
    /// For the agents' eyes; may be empty.
    pub note: String,
}

/// Where people are looked up, those who ask and those who answer.
pub trait People {
    /// Who wrote this post, as known at `now`: contacts after that are not among the touchpoints, nor those of more
    /// than `window` before.
    ///
    /// # Errors
    ///
    /// The ledger cannot be read: nothing may be decided any more.
    fn author_of(&mut self, post: &Post<'_>, window: Duration, now: Timestamp) -> Result<Person, Unreadable>;

    /// All agents, if that is not what was given the last time.
    ///
    /// # Errors
    ///
    /// The ledger cannot be read: nothing may be decided any more.
    fn new_agents(&mut self) -> Result<Option<Vec<Agent>>, Unreadable>;
}

/// Why it cannot be known who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("customers cannot be read: {0}")]
pub struct Unreadable(pub String);

/// Nobody is known.
#[derive(Debug, Default)]
pub struct Strangers;

impl People for Strangers {
    fn author_of(&mut self, _: &Post<'_>, _: Duration, _: Timestamp) -> Result<Person, Unreadable> {
        Ok(Person::default())
    }

    fn new_agents(&mut self) -> Result<Option<Vec<Agent>>, Unreadable> {
        Ok(None)
    }
}
