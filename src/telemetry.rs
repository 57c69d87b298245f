//! Every name an operator meets: the buckets a frame can end in, and the metrics; what the daemon says of itself.
//!
//! A leaf: any stage may use it, it uses none.

use std::fmt;
use std::ops::{Index, IndexMut};

pub mod histogram;
pub mod log;
pub mod process;
pub mod pulse;

use histogram::{BOUNDS_MS, Durations};

/// Where a received frame ended. Each frame ends in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bucket {
    /// Not a post: deletes, account events, likes, heartbeats, kinds we do not know.
    Control,
    /// Not JSON, not UTF-8, nested too deeply, or without what a post must have.
    Malformed,
    /// Longer than the source's `frame_bytes_max`.
    Oversize,
    /// Written by one of the brands' own accounts.
    Own,
    /// A post that already has its ticket: a replay, a repost, another server's copy.
    Duplicate,
    /// No rule of any brand matches.
    Unmatched,
    /// No customer message: the model says so, or those whom its author has helped. A rule matches it.
    Unsupported,
    /// Joined a ticket that exists, or edits one of its posts.
    Merged,
    /// Made a ticket.
    Ticketed,
    /// Given up under overload, lowest value first.
    Shed,
    /// A deletion that removed the text of a ticket.
    Erased,
}

impl Bucket {
    /// All buckets, in the order in which tables show them.
    pub const ALL: [Bucket; 11] = [
        Bucket::Control,
        Bucket::Malformed,
        Bucket::Oversize,
        Bucket::Own,
        Bucket::Duplicate,
        Bucket::Unmatched,
        Bucket::Unsupported,
        Bucket::Merged,
        Bucket::Ticketed,
        Bucket::Shed,
        Bucket::Erased,
    ];

    /// The name in tables, metrics and the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Bucket::Control => "control",
            Bucket::Malformed => "malformed",
            Bucket::Oversize => "oversize",
            Bucket::Own => "own",
            Bucket::Duplicate => "duplicate",
            Bucket::Unmatched => "unmatched",
            Bucket::Unsupported => "unsupported",
            Bucket::Merged => "merged",
            Bucket::Ticketed => "ticketed",
            Bucket::Shed => "shed",
            Bucket::Erased => "erased",
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How many frames ended in each bucket. Their sum is what was received: there is no second counter
/// that could disagree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Buckets([u64; Bucket::ALL.len()]);

impl Buckets {
    /// Frames received: the sum of all buckets.
    pub fn received(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds every count of `other`.
    pub fn add(&mut self, other: &Buckets) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// Bucket and count, in table order.
    pub fn iter(&self) -> impl Iterator<Item = (Bucket, u64)> + '_ {
        Bucket::ALL.into_iter().zip(self.0)
    }
}

impl Index<Bucket> for Buckets {
    type Output = u64;

    fn index(&self, bucket: Bucket) -> &u64 {
        &self.0[bucket as usize]
    }
}

impl IndexMut<Bucket> for Buckets {
    fn index_mut(&mut self, bucket: Bucket) -> &mut u64 {
        &mut self.0[bucket as usize]
    }
}

/// A page in Prometheus' text exposition format, 0.0.4.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a metric family.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self.name = name;
    }

    /// Adds a sample to the family begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line(self.name, labels, value);
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            let content = content.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.text.push_str(&format!("{}{label}=\"{content}\"", if index == 0 { '{' } else { ',' }));
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        self.text.push_str(&format!("{value}\n"));
    }

    /// Adds a reading of durations to the family begun last, a histogram in seconds.
    pub fn histogram(&mut self, labels: &[(&str, &str)], durations: &Durations) {
        let name = self.name.to_owned();
        let bounds = BOUNDS_MS.map(|bound_ms| format!("{}", bound_ms as f64 / 1000.0));
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        let mut below = 0;
        for (bound, count) in bounds.zip(durations.counts.iter().copied().chain(std::iter::repeat(0))) {
            below += count;
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
            self.line(&format!("{name}_bucket"), &labels, below as f64);
        }
        self.line(&format!("{name}_sum"), labels, durations.sum_us as f64 / 1e6);
        self.line(&format!("{name}_count"), labels, durations.count() as f64);
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_is_the_sum_of_the_buckets() {
        let mut buckets = Buckets::default();
        for (count, bucket) in Bucket::ALL.into_iter().enumerate() {
            buckets[bucket] += count as u64 + 1;
        }
        assert_eq!(buckets.received(), (1..=11_u64).sum::<u64>());
        let mut twice = buckets;
        twice.add(&buckets);
        assert_eq!(twice.received(), 2 * buckets.received());
        assert!(twice.iter().all(|(bucket, frames)| frames == 2 * buckets[bucket]));
    }

    #[test]
    fn every_bucket_has_its_own_name_and_place() {
        let names: std::collections::BTreeSet<_> = Bucket::ALL.map(Bucket::name).into();
        assert_eq!(names.len(), Bucket::ALL.len());
        assert!(Bucket::ALL.iter().enumerate().all(|(place, bucket)| *bucket as usize == place));
    }
}
