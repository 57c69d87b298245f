//! Who wrote a post: one of our own accounts, or one that a rule's `from:` names.

use rustc_hash::FxHashMap;

use super::rule::Slot;
use super::term;
use crate::parse::Post;

/// Accounts by id or handle in lower case, without `@`.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    known: FxHashMap<String, Account>,
    /// Bit `n` is set where an account's name is `n` bytes long, bit 63 for all longer ones: most authors
    /// are passed over without a hash.
    lengths: u64,
}

#[derive(Debug, Default)]
struct Account {
    own: bool,
    from: Vec<Slot>,
    to: Vec<Slot>,
}

impl Accounts {
    /// A handle of a brand, in any of its forms.
    pub(super) fn add_own(&mut self, handle: &str) {
        let name = term::account(handle).to_lowercase();
        // On its own instance Mastodon names an account without host; its URI says it all.
        if let Some((user, host)) = name.split_once('@') {
            self.account(format!("https://{host}/users/{user}")).own = true;
            self.account(format!("https://{host}/@{user}")).own = true;
        }
        self.account(name).own = true;
    }

    /// An account in `from:`.
    pub(super) fn add_from(&mut self, account: &str, slot: Slot) {
        self.account(account.to_lowercase()).from.push(slot);
    }

    /// A DID in `to:`.
    pub(super) fn add_to(&mut self, did: &str, slot: Slot) {
        self.account(did.to_lowercase()).to.push(slot);
    }

    /// Whether one of the brands' own accounts wrote `post`. `lower` is room to work in.
    pub(super) fn is_own(&self, post: &Post<'_>, lower: &mut String) -> bool {
        author(post).any(|name| self.find(name, lower).is_some_and(|account| account.own))
    }

    /// The slots that author and parent of `post` fill.
    pub(super) fn slots(&self, post: &Post<'_>, lower: &mut String, mut fill: impl FnMut(Slot)) {
        for name in author(post) {
            let from = self.find(name, lower).map_or(&[][..], |account| &account.from);
            from.iter().copied().for_each(&mut fill);
        }
        let parent = post.reply_to.as_deref().and_then(|parent| parent.strip_prefix("at://"));
        if let Some(did) = parent.and_then(|parent| parent.split('/').next()) {
            let to = self.find(did, lower).map_or(&[][..], |account| &account.to);
            to.iter().copied().for_each(&mut fill);
        }
    }

    fn account(&mut self, name: String) -> &mut Account {
        self.lengths |= length_bit(&name);
        self.known.entry(name).or_default()
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
