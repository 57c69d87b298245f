//! Who wrote a post: one of our own accounts, or one that a rule's `from:` names.

use rustc_hash::FxHashMap;

use super::rule::Slot;
use super::term;
use crate::parse::Post;

/// Accounts by id or handle in lower case, without `@`.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    known: FxHashMap<Box<str>, Account>,
    /// Bit `n` is set where an account's name is `n` bytes long, bit 63 for all longer ones: most authors
    /// are passed over without a hash.
    lengths: u64,
}

#[derive(Debug, Default)]
struct Account {
    /// The brand whose own it is.
    owner: Option<u32>,
    /// Filled where it wrote the post.
    from: Option<Slot>,
    /// Filled where it wrote the parent of the post.
    to: Option<Slot>,
}

impl Accounts {
    /// A handle of a brand, in any of its forms. Gives the other brand that has it already.
    pub(super) fn add_own(&mut self, handle: &str, brand: u32) -> Option<u32> {
        let name = term::account(handle).to_lowercase();
        // On its own instance Mastodon names an account without host; its URI says it all.
        if let Some((user, host)) = name.split_once('@') {
            self.account(&format!("https://{host}/users/{user}")).owner = Some(brand);
            self.account(&format!("https://{host}/@{user}")).owner = Some(brand);
        }
        self.account(&name).owner.replace(brand).filter(|owner| *owner != brand)
    }

    /// The slot of an account in `from:`, `new` where it has none yet.
    pub(super) fn from(&mut self, account: &str, new: impl FnOnce() -> Slot) -> Slot {
        *self.account(&account.to_lowercase()).from.get_or_insert_with(new)
    }

    /// The slot of a DID in `to:`, `new` where it has none yet.
    pub(super) fn to(&mut self, did: &str, new: impl FnOnce() -> Slot) -> Slot {
        *self.account(&did.to_lowercase()).to.get_or_insert_with(new)
    }

    /// Whether one of the brands' own accounts wrote `post`. `lower` is room to work in.
    pub(super) fn is_own(&self, post: &Post<'_>, lower: &mut String) -> bool {
        author(post).any(|name| self.find(name, lower).is_some_and(|account| account.owner.is_some()))
    }

    /// The slots that author and parent of `post` fill.
    pub(super) fn slots(&self, post: &Post<'_>, lower: &mut String, mut fill: impl FnMut(Slot)) {
        for name in author(post) {
            self.find(name, lower).and_then(|account| account.from).into_iter().for_each(&mut fill);
        }
        let parent = post.reply_to.as_deref().and_then(|parent| parent.strip_prefix("at://"));
        if let Some(did) = parent.and_then(|parent| parent.split('/').next()) {
            self.find(did, lower).and_then(|account| account.to).into_iter().for_each(&mut fill);
        }
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.known.shrink_to_fit();
    }

    fn account(&mut self, name: &str) -> &mut Account {
        self.lengths |= length_bit(name);
        self.known.entry(name.into()).or_default()
    }

    fn find(&self, name: &str, lower: &mut String) -> Option<&Account> {
        if self.lengths & length_bit(name) == 0 {
            return None;
        }
        lower.clear();
        lower.push_str(name);
        lower.make_ascii_lowercase();
        self.known.get(lower.as_str())
    }
}

fn author<'p>(post: &'p Post<'_>) -> impl Iterator<Item = &'p str> {
    let handle = post.author.handle.as_deref().filter(|handle| *handle != post.author.id);
    [Some(&*post.author.id), handle].into_iter().flatten()
}

fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}
