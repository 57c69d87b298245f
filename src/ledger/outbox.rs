//! Who gets which record next: pending and in-flight records of every subscription, in memory.

/// Which records a subscription wants. Fields given must all hold; an empty list asks nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Brands, case ignored.
    pub brands: Vec<String>,
    /// Networks.
    pub networks: Vec<crate::parse::Network>,
    /// Primary language subtags.
    pub languages: Vec<String>,
    /// Intents.
    pub intents: Vec<String>,
    /// Least priority.
    pub priority_min: u16,
}
