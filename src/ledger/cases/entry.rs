//! What is known of a ticket in the helpdesk, and what may happen to it.

/// How a ticket came to be known in the helpdesk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// We have made it, and were told so.
    Made,
    /// We were not told, and have found it.
    Found,
    /// The helpdesk cannot be asked what it has: there may be another.
    Unknown,
}

/// A ticket in the helpdesk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The helpdesk's id.
    pub id: String,
    /// What its creation gave beside, JSON.
    pub captured: String,
    /// How we know it.
    pub origin: Origin,
    /// Whether all steps of its creation are done.
    pub is_complete: bool,
    /// Whether the helpdesk has it no more.
    pub is_gone: bool,
}

/// All that is known of one ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// As named in the config.
    pub brand: String,
    /// As the helpdesk was told last; a `Level`.
    pub level: i32,
    /// In which its text was written there, "fr"; empty: not known.
    pub language: String,
    /// When one was begun to be made whose end is not known; microseconds since 1970.
    pub attempted_at_us: Option<i64>,
    /// Whether an attempt has ever ended so that it may have been made.
    pub is_unclear: bool,
    /// Where it is.
    pub place: Option<Place>,
    /// The last record that is in the helpdesk; 0: none.
    pub done_seq: u64,
    /// The record that the helpdesk will not take, and how often it has said so.
    pub refused: (u64, u32),
    /// Tickets with the same reference that were found beside it.
    pub others: u32,
    /// When it was made in the helpdesk, or a little before: microseconds since 1970; `None`: not known.
    pub made_at_us: Option<i64>,
    /// Whether agents have merged it into another ticket, ours or not.
    pub is_merged: bool,
    /// What the ticket that it was merged into was when that was read first, a `TicketStatus`, encoded; empty: that one
    /// was not read yet.
    pub stood_there: Vec<u8>,
    /// How often it was looked at since the helpdesk does not show it to our account any more; 0: it does.
    pub hidden: u32,
    /// Whether agents have merged it into a ticket that we did not make.
    pub is_in_anothers: bool,
    /// Whether it was merged with another one of ours whose author has not taken it back.
    pub is_joined: bool,
    /// Whether the author has taken it back.
    pub is_erased: bool,
    /// Notes that hold a post's text, the oldest first.
    pub notes: Vec<Note>,
    /// Records that ask for an erasure which is not done yet, and the helpdesk's tickets that hold the text no more.
    pub taken_out: Vec<(u64, String)>,
    /// The last `TicketStatus` that the daemon was told, encoded; empty: none.
    pub reported: Vec<u8>,
    /// When to look at it again, microseconds since 1970; `None`: not unless something is heard of it.
    pub again_at_us: Option<i64>,
}

impl Entry {
    /// Whether what it is in the helpdesk is another's, too.
    pub fn is_shared(&self) -> bool {
        self.is_in_anothers || self.is_joined
    }
}

/// A note in the helpdesk that holds a post's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The record that it tells of.
    pub seq: u64,
    /// Whose text; empty: that of the ticket's own post.
    pub post_id: String,
    /// What its call gave, JSON.
    pub captured: String,
}

/// What has happened to a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The helpdesk will be asked to make it.
    Attempted {
        /// As named in the config.
        brand: String,
        /// A `Level`.
        level: i32,
        /// Of the text that is made of it.
        language: String,
    },
    /// Nobody knows whether it has made it.
    Unclear,
    /// It has not, for certain.
    Withdrawn,
    /// It is there.
    Placed {
        /// As named in the config.
        brand: String,
        /// A `Level`.
        level: i32,
        /// Of its text; empty: not known.
        language: String,
        /// Where.
        place: Place,
        /// Tickets with the same reference beside it.
        others: usize,
    },
    /// All steps of its creation are done.
    Completed,
    /// A record is in the helpdesk; if it is an erasure the text is gone, unless [`Change::TextStays`] comes after it.
    Done {
        /// Which.
        seq: u64,
        /// The level that it holds now.
        level: i32,
    },
    /// A note was added that holds a post's text.
    Noted(Note),
    /// The notes that held a post's text hold it no more; `None`: of no post.
    NotesErased(Option<String>),
    /// The helpdesk will not take this record.
    Refused {
        /// Which.
        seq: u64,
    },
    /// An erasure that is not done yet has taken the text out of this one of the helpdesk's tickets.
    TakenOut {
        /// The record that asks for it.
        seq: u64,
        /// The helpdesk's id.
        case_id: String,
    },
    /// The author has taken it back, and the helpdesk was told.
    Erased,
    /// The author has taken it back, and the helpdesk's agents were told that its text is still there.
    Left,
    /// A text that its author has taken back is still there.
    TextStays {
        /// The record that asks for its erasure.
        seq: u64,
    },
    /// Agents have deleted it, with what its author has taken back.
    Deleted,
    /// The helpdesk has it no more.
    Gone,
    /// It has it again, or always had.
    Back,
    /// It was merged into another one there.
    Moved {
        /// That one's id.
        id: String,
    },
    /// The one that it was merged into was read first, and was this `TicketStatus`, encoded.
    StoodThere(Vec<u8>),
    /// It was looked at.
    Read {
        /// When to look again, microseconds since 1970; `None`: not unless something is heard of it.
        again_at_us: Option<i64>,
    },
    /// It was looked at, and the helpdesk does not show it to our account.
    Hidden,
    /// The helpdesk shows it again.
    Shown,
    /// The daemon was told this `TicketStatus`, encoded.
    Reported(Vec<u8>),
}
