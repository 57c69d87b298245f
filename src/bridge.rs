//! Bridges: what a subscription delivers becomes a ticket in the helpdesk that a company already has, once, worst
//! first; and what becomes of it there comes back.
//!
//! A bridge is a client of the ticket socket like anyone else's. Which calls a helpdesk takes is a file of templates
//! ([`preset`]); how a call may end is [`http`]'s to tell; nothing here knows a vendor by name.

pub mod deliver;
pub mod helpdesk;
pub mod http;
pub mod pace;
pub mod preset;
pub mod text;
