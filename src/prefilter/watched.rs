//! Replies that no rule matches and that belong to somebody all the same: to the posts of conversations.
//!
//! "toujours rien" names no brand. What tells it from the rest of the stream is the post that it answers, and so each
//! lane asks for the parent of a reply here. Held are 64-bit hashes in sets of eight, a cache line each, and a byte of
//! each hash, eight in a word: almost every reply is to somebody else, and one word says so. Written and read without
//! a lock, relaxed: they find nothing but who is worth a look, and the desk looks at the real ids. One
//! that is lost (overwritten in a full set, or by two lanes at the same instant) costs a reply that nobody sees; one
//! that collides, or is out of date, costs a look of the desk.
//!
//! Of those who are in a conversation already a lane also hands on what names the brand and asks for nothing: "Lumio, vous
//! m'avez oublié". Their author is looked for only where a brand is named, once in some hundred posts.
//!
//! And an edit that names the brand no more is read where the post itself is held.
//!
//! Lanes note every candidate at once, in a small table that forgets: the reply may stand in the very same batch. The
//! desk notes what has become a conversation, in one that grows with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::parse::{Network, Post};

/// Hashes that lanes note and that are soon forgotten: 144 KiB. More candidates than the queues to the desk hold.
const RECENT_HASHES: usize = 1 << 14;
/// Hashes of conversations at first, 144 KiB, and at most, 18 MiB: a third of them is used at the desk's bounds, and one in a hundred lost.
const OPEN_HASHES_MIN: usize = 1 << 14;
const OPEN_HASHES_MAX: usize = 1 << 21;

/// Which posts are worth a look when somebody answers them, and whose replies are read.
#[derive(Debug)]
pub struct Watched {
    recent: Table,
    open: ArcSwap<Table>,
}

impl Default for Watched {
    fn default() -> Watched {
        Watched { recent: Table::of(RECENT_HASHES), open: ArcSwap::from_pointee(Table::of(OPEN_HASHES_MIN)) }
    }
}

/// Why a reply that no rule matches is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its author is in a conversation with us: the model reads it.
    Ours,
    /// Somebody else's.
    Bystander,
}

impl Watched {
    /// A lane has met a post that may become a conversation, or belongs to one.
    pub fn note(&self, post: &Post<'_>) {
        self.recent.insert(of_post(post.network, &post.id));
        self.recent.insert(of_author(post.network, &post.author.id));
    }

    /// A lane has met a post that others may answer, but not one whose author speaks to us.
    pub fn note_post(&self, post: &Post<'_>) {
        self.recent.insert(of_post(post.network, &post.id));
    }

    /// The desk keeps the post of this [hash](of_post) in mind. Called by one thread.
    pub fn keep_post(&self, hash: u64) {
        self.keep(hash);
    }

    /// The desk keeps this author in mind. Called by one thread.
    pub fn keep_author(&self, network: Network, author_id: &str) {
        self.keep(of_author(network, author_id));
    }

    /// What is watched, to be looked into for a batch: taking the table for every reply cost more than the look.
    pub fn look(&self) -> Look<'_> {
        Look { recent: &self.recent, open: self.open.load_full() }
    }

    fn keep(&self, hash: u64) {
        let open = self.open.load();
        let is_new = open.insert(hash);
        let hashes = open.sets.len() * SET;
        if is_new && open.held() > hashes as u64 / 4 && hashes < OPEN_HASHES_MAX {
            let larger = Table::of(hashes * 2);
            open.each(|hash| _ = larger.insert(hash));
            self.open.store(larger.into());
        }
    }
}

/// What is watched; what is noted meanwhile is seen, but for a table that the desk has made larger since.
#[derive(Debug)]
pub struct Look<'w> {
    recent: &'w Table,
    open: Arc<Table>,
}

impl Look<'_> {
    /// Whether this post answers one that is watched. Looks at the network and the parent alone.
    #[inline]
    pub fn is_reply(&self, post: &Post<'_>) -> bool {
        post.reply_to.as_deref().is_some_and(|parent| self.holds(of_post(post.network, parent)))
    }

    /// Whether the post itself is watched: it may have a ticket, or belong to one.
    pub fn is_kept(&self, post: &Post<'_>) -> bool {
        self.holds(of_post(post.network, &post.id))
    }

    /// Whether its author is in a conversation with us.
    pub fn is_ours(&self, post: &Post<'_>) -> bool {
        self.holds(of_author(post.network, &post.author.id))
    }

    /// Whether it is a reply that is watched, and whose.
    pub fn standing(&self, post: &Post<'_>) -> Option<Standing> {
        self.is_reply(post).then(|| match self.is_ours(post) {
            true => Standing::Ours,
            false => Standing::Bystander,
        })
    }

    #[inline]
    fn holds(&self, hash: u64) -> bool {
        (self.recent.may_hold(hash) | self.open.may_hold(hash))
            && (self.recent.holds(hash) || self.open.holds(hash))
    }
}

/// Hashes in a set.
const SET: usize = 8;

/// Hashes in sets of [`SET`]; 0 is none.
#[derive(Debug)]
struct Table {
    sets: Box<[[AtomicU64; SET]]>,
    /// The [tag] of each hash in a set, a byte each in their order.
    tags: Box<[AtomicU64]>,
    held: AtomicU64,
}

impl Table {
    /// Room for so many, a power of two.
    fn of(hashes: usize) -> Table {
        let set = || std::array::from_fn(|_| AtomicU64::new(0));
        Table {
            sets: std::iter::repeat_with(set).take(hashes / SET).collect(),
            tags: std::iter::repeat_with(AtomicU64::default).take(hashes / SET).collect(),
            held: AtomicU64::new(0),
        }
    }

    fn set(&self, hash: u64) -> &[AtomicU64; SET] {
        // The length is a power of two: never out of it.
        &self.sets[hash as usize & (self.sets.len() - 1)]
    }

    fn tags(&self, hash: u64) -> &AtomicU64 {
        &self.tags[hash as usize & (self.tags.len() - 1)]
    }

    /// `false` is certain. Of those that it does not hold, one in some hundred passes: an eighth of the memory of the
    /// hashes is looked into for the others, which the cores' caches keep.
    #[inline]
    fn may_hold(&self, hash: u64) -> bool {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        // A byte that is the tag becomes 0, and a word without a 0 byte borrows into none of its high bits
        // (H. S. Warren, *Hacker's Delight*, 2nd edition, section 6-1).
        let differing = self.tags(hash).load(Ordering::Relaxed) ^ (tag(hash) * ONES);
        differing.wrapping_sub(ONES) & !differing & (ONES << 7) != 0
    }

    fn holds(&self, hash: u64) -> bool {
        // All eight, and no branch for each.
        self.set(hash).iter().fold(false, |found, held| found | (held.load(Ordering::Relaxed) == hash))
    }

    /// Whether it was not there. In a full set it takes the place of another one.
    fn insert(&self, hash: u64) -> bool {
        let set = self.set(hash);
        let mut free = None;
        for (place, held) in set.iter().enumerate() {
            match held.load(Ordering::Relaxed) {
                0 => {
                    free = Some(place);
                    break;
                }
                same if same == hash => return false,
                _ => {}
            }
        }
        if free.is_some() {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
        let place = free.unwrap_or((hash >> 61) as usize);
        set[place].store(hash, Ordering::Relaxed);
        let (tag, shift) = (tag(hash), place * 8);
        let tagged = |tags: u64| Some(tags & !(0xff << shift) | tag << shift);
        // Always one, so never refused.
        _ = self.tags(hash).fetch_update(Ordering::Relaxed, Ordering::Relaxed, tagged);
        true
    }

    fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn each(&self, visit: impl FnMut(u64)) {
        let hashes = self.sets.iter().flatten().map(|held| held.load(Ordering::Relaxed));
        hashes.filter(|hash| *hash != 0).for_each(visit);
    }
}

/// A byte of the hash, of bits that choose neither the set nor the place in a full one; never 0, which is no hash's.
fn tag(hash: u64) -> u64 {
    (hash >> 48 & 0xff).max(1)
}

/// What is held of a post. The ledger stores it: it stays the same.
pub fn of_post(network: Network, id: &str) -> u64 {
    hash(network, 0, id)
}

fn of_author(network: Network, id: &str) -> u64 {
    hash(network, 1, id)
}

/// Of the length, the last 16 bytes and 8 from the first half: what tells ids of all networks apart, at a quarter of the
/// cost of reading 70 bytes of a Bluesky address. Never 0.
fn hash(network: Network, kind: u64, id: &str) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (id, len) = (id.as_bytes(), id.len());
    let word = |at: usize| match id.get(at..).and_then(<[u8]>::first_chunk) {
        Some(word) => u64::from_le_bytes(*word),
        // Shorter than a word.
        None => id.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let hash = step(kind << 60 | (network as u64) << 48 | len as u64, word(len.saturating_sub(8)));
    let hash = step(step(hash, word(len.saturating_sub(16))), word(len / 3));
    (hash ^ hash >> 32).wrapping_mul(FACTOR).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Author;

    fn post(id: &'static str, author: &'static str, reply_to: Option<&'static str>) -> Post<'static> {
        let author = Author { id: author.into(), ..Author::default() };
        Post {
            reply_to: reply_to.map(Into::into),
            ..Post::new(Network::Bluesky, id.into(), author, "x".into())
        }
    }

    #[test]
    fn a_reply_to_a_post_that_is_watched_is_seen_and_whose_it_is() {
        let watched = Watched::default();
        watched.note(&post("1", "ana", None));
        watched.keep_post(of_post(Network::Bluesky, "2"));
        watched.keep_author(Network::Bluesky, "bob");
        let check = |author: &'static str, parent: Option<&'static str>, expected: Option<Standing>| {
            assert_eq!(
                watched.look().standing(&post("9", author, parent)),
                expected,
                "{author} to {parent:?}"
            );
        };
        check("ana", Some("1"), Some(Standing::Ours));
        check("ana", Some("2"), Some(Standing::Ours));
        check("bob", Some("1"), Some(Standing::Ours));
        check("cy", Some("1"), Some(Standing::Bystander));
        check("ana", Some("3"), None);
        check("ana", None, None);
        // An author's id is no post's.
        check("ana", Some("ana"), None);
        let elsewhere = Post { network: Network::X, ..post("9", "ana", Some("1")) };
        assert_eq!(watched.look().standing(&elsewhere), None);
    }

    #[test]
    fn what_the_ledger_stores_stays_the_same() {
        let id = "at://did:plc:a/app.bsky.feed.post/1";
        assert_eq!(of_post(Network::Bluesky, id), 432_552_843_275_032_382);
        assert_ne!(of_post(Network::Bluesky, id), of_post(Network::X, id));
    }

    #[test]
    fn what_the_desk_keeps_is_found_however_much_it_is() {
        let watched = Watched::default();
        let id = |n: usize| format!("at://did:plc:author{n}/app.bsky.feed.post/{n}");
        let posts = OPEN_HASHES_MIN * 4;
        (0..posts).for_each(|n| watched.keep_post(of_post(Network::Bluesky, &id(n))));
        let look = watched.look();
        let is_kept = |n: &usize| look.holds(of_post(Network::Bluesky, &id(*n)));
        let kept = (0..posts).filter(is_kept).count();
        assert!(kept * 1000 >= posts * 995, "{kept} of {posts}");
        assert_eq!((posts..posts * 2).filter(is_kept).count(), 0, "and nothing else");
    }

    #[test]
    fn what_lanes_note_is_forgotten_in_time() {
        let watched = Watched::default();
        let ids: Vec<String> = (0..RECENT_HASHES * 4).map(|n| n.to_string()).collect();
        ids.iter().for_each(|id| {
            let author = Author { id: id.as_str().into(), ..Author::default() };
            watched.note(&Post::new(Network::Plain, id.as_str().into(), author, "x".into()));
        });
        let held = ids.iter().filter(|id| watched.look().holds(of_post(Network::Plain, id))).count();
        assert!(held < RECENT_HASHES, "{held}");
        assert!(watched.look().holds(of_post(Network::Plain, ids.last().unwrap())), "the newest is there");
    }
}
