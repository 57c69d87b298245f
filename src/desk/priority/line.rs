//! A priority, line by line: what each factor gave, of how much, and why.

use std::borrow::Cow;

use super::danger::{Floors, Place};
use super::{Caps, PRIORITY_MAX};
use crate::ticket::proto;

/// What a factor speaks of; the sum of a group may be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// What the model says.
    Verdict,
    /// The post as such.
    Post,
    /// Its author, as the network shows them.
    Author,
    /// Its author, as the company knows them.
    Customer,
    /// Its author's earlier contacts: who has tried everything waits longest, whoever they are.
    Contacts,
    /// Sensitive words.
    Sensitive,
    /// What counts only together.
    Combinations,
}

impl Group {
    /// All of them, in the order of the dictionary.
    pub const ALL: [Group; 7] = [
        Group::Verdict,
        Group::Post,
        Group::Author,
        Group::Customer,
        Group::Contacts,
        Group::Sensitive,
        Group::Combinations,
    ];

    /// As in config.
    pub fn name(self) -> &'static str {
        match self {
            Group::Verdict => "verdict",
            Group::Post => "post",
            Group::Author => "author",
            Group::Customer => "customer",
            Group::Contacts => "contacts",
            Group::Sensitive => "sensitive",
            Group::Combinations => "combinations",
        }
    }

    /// What tickets call the line that keeps this group within its limit.
    pub(super) fn cap_name(self) -> &'static str {
        match self {
            Group::Verdict => "cap of verdict",
            Group::Post => "cap of post",
            Group::Author => "cap of author",
            Group::Customer => "cap of customer",
            Group::Contacts => "cap of contacts",
            Group::Sensitive => "cap of sensitive",
            Group::Combinations => "cap of combinations",
        }
    }
}

/// The factors of the dictionary, in its order, each with its group.
pub(super) const FACTORS: [(&str, Group); 14] = [
    ("urgency", Group::Verdict),
    ("intent", Group::Verdict),
    ("sentiment", Group::Verdict),
    ("addressed", Group::Post),
    ("age", Group::Post),
    ("follow_ups", Group::Post),
    ("reach", Group::Author),
    ("verified", Group::Author),
    ("tier", Group::Customer),
    ("flag", Group::Customer),
    ("value", Group::Customer),
    ("purchase", Group::Customer),
    ("contacts", Group::Contacts),
    ("sensitive", Group::Sensitive),
];

/// The group of this factor; `None` for a combination and for what limits a sum.
pub(super) fn group_of(name: &str) -> Option<Group> {
    FACTORS.iter().find(|(factor, _)| *factor == name).map(|(_, group)| *group)
}

/// The group of a factor that a ticket names; `None` for what keeps a group or the sum within its limits.
pub fn recorded_group(name: &str) -> Option<Group> {
    (!is_limit(name) && name != FORGOTTEN).then(|| group_of(name).unwrap_or(Group::Combinations))
}

/// Whether a ticket names this for a topic's floor, on which it stands.
pub fn is_floor(name: &str) -> bool {
    Place::topic(name).is_some()
}

/// Whether a line of this name follows from the others.
fn is_limit(name: &str) -> bool {
    Group::ALL.iter().any(|group| group.cap_name() == name) || Place::is_named(name)
}

/// What a factor's evidence says once it is erased: the points stay, and nobody knows any more what they were for.
pub const ERASED: &str = "erased";

/// Whether a factor's evidence repeats what is known of the author. The conditions of a combination do, whatever its name.
pub fn is_knowing(factor: &proto::Factor) -> bool {
    matches!(recorded_group(&factor.name), Some(Group::Customer | Group::Contacts | Group::Combinations))
}

/// The one line that a ticket keeps of all that was known of somebody who is forgotten. A name such as `contacts`, or that of
/// a combination, would still say something of them.
pub const FORGOTTEN: &str = "forgotten";

/// Makes one [line](FORGOTTEN) of those that say what is known of the author: their points stay, with what limited them, and
/// nothing else.
pub fn forget(factors: &mut Vec<proto::Factor>) {
    let limits = [Group::Customer, Group::Contacts, Group::Combinations].map(Group::cap_name);
    let is_theirs = |factor: &proto::Factor| {
        is_knowing(factor) || limits.contains(&factor.name.as_str()) || factor.name == FORGOTTEN
    };
    let Some(place) = factors.iter().position(is_theirs) else { return };
    let theirs = factors.iter().filter(|factor| is_theirs(factor));
    let points = theirs.fold(0, |sum: i32, factor| sum.saturating_add(factor.points));
    factors.retain(|factor| !is_theirs(factor));
    if points != 0 {
        let (name, evidence) = (FORGOTTEN.to_owned(), ERASED.to_owned());
        factors.insert(place, proto::Factor { name, points, evidence });
    }
}

/// The points of that line; 0: there is none.
pub(in crate::desk) fn forgotten(factors: &[proto::Factor]) -> i32 {
    factors.iter().find(|factor| factor.name == FORGOTTEN).map_or(0, |factor| factor.points)
}

/// Whether tickets use this word for something else than a combination.
pub fn is_reserved(name: &str) -> bool {
    group_of(name).is_some() || is_limit(name) || name == FORGOTTEN
}

/// What one factor gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The key in the config's `[priority]` table, a combination's name, `cap of GROUP`, `floor of TOPIC` or `ceiling`.
    pub name: Cow<'static, str>,
    /// What it gave; may be 0 where all lines are asked for.
    pub points: i32,
    /// The points of greatest magnitude that it could have given; `None` for what limits others.
    pub most: Option<i32>,
    /// Why, for people.
    pub evidence: String,
}

impl Line {
    /// Whether tickets name it: a further post goes by the floors of those before it, even by one that gave nothing.
    pub fn counts(&self) -> bool {
        self.points != 0 || Place::topic(&self.name).is_some()
    }
}

/// Adds lines up.
pub(super) struct Tally<'c> {
    caps: &'c Caps,
    floors: &'c Floors,
    place: Place,
    /// Also lines without points.
    all: bool,
    lines: Vec<Line>,
    sums: [i64; Group::ALL.len()],
    forgotten: i64,
}

impl<'c> Tally<'c> {
    pub(super) fn new(caps: &'c Caps, floors: &'c Floors, all: bool) -> Tally<'c> {
        let (lines, sums) = (Vec::with_capacity(8), [0; Group::ALL.len()]);
        Tally { caps, floors, place: Place::default(), all, lines, sums, forgotten: 0 }
    }

    /// Keeps what a ticket has of somebody who is [forgotten](FORGOTTEN). What limits groups has no say in it: it had.
    pub(super) fn keep_forgotten(&mut self, points: i32) {
        if points != 0 {
            self.forgotten = points.into();
            let (name, evidence) = (Cow::Borrowed(FORGOTTEN), ERASED.to_owned());
            self.lines.push(Line { name, points, most: None, evidence });
        }
    }

    /// Notes that the floor of this topic holds, if it has one.
    pub(super) fn raise(&mut self, topic: &str) {
        self.place.raise(self.floors, topic);
    }

    /// Whether lines without points are kept.
    pub(super) fn wants_all(&self) -> bool {
        self.all
    }

    /// Notes what a factor gave; the reason is only asked for where the line is kept.
    pub(super) fn give(
        &mut self,
        group: Group,
        name: impl Into<Cow<'static, str>>,
        points: i32,
        most: i32,
        evidence: impl FnOnce() -> String,
    ) {
        if points == 0 && !self.all {
            return;
        }
        if let Some(sum) = self.sums.get_mut(group as usize) {
            *sum = sum.saturating_add(points.into());
        }
        self.lines.push(Line { name: name.into(), points, most: Some(most), evidence: evidence() });
    }

    /// All lines, with those that keep a group within its limit and the sum in its place.
    pub(super) fn finish(mut self) -> Vec<Line> {
        for (group, sum) in Group::ALL.into_iter().zip(self.sums) {
            let Some(cap) = self.caps.of(group) else { continue };
            let within = sum.clamp(-i64::from(cap), cap.into());
            if let Some(sum) = self.sums.get_mut(group as usize) {
                *sum = within;
            }
            // A sum is of lines of at most 1000 points each, fewer than two million of them.
            let points = i32::try_from(within.saturating_sub(sum)).unwrap_or(0);
            if points != 0 {
                let evidence = format!("{sum:+} of {}: no more than {within:+} counts", group.name());
                let name = Cow::Borrowed(group.cap_name());
                self.lines.push(Line { name, points, most: None, evidence });
            }
        }
        let total = self.sums.iter().fold(self.forgotten, |sum: i64, points| sum.saturating_add(*points));
        let danger = self.sums.get(Group::Sensitive as usize).copied().unwrap_or(0);
        self.lines.extend(self.place.line(self.floors, total, total.saturating_sub(danger)));
        self.lines
    }
}

/// A priority with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// `0..=1000`.
    pub priority: u16,
    /// What gave points, in the order of the dictionary; factors that gave none are left out, but for floors.
    pub factors: Vec<proto::Factor>,
}

impl Score {
    /// The clamped sum of factors that tickets have named, with the limits of groups and of the sum reckoned anew.
    pub(in crate::desk) fn of_recorded(
        factors: impl IntoIterator<Item = proto::Factor>,
        caps: &Caps,
        floors: &Floors,
    ) -> Score {
        let mut tally = Tally::new(caps, floors, false);
        for proto::Factor { name, points, evidence } in factors {
            if let Some(topic) = Place::topic(&name) {
                tally.raise(topic);
            }
            if name == FORGOTTEN {
                tally.keep_forgotten(points);
            } else if let Some(group) = recorded_group(&name) {
                tally.give(group, name, points, points, || evidence);
            }
        }
        Score::of(tally.finish())
    }

    /// The clamped sum of these lines.
    pub(super) fn of(lines: Vec<Line>) -> Score {
        let priority = cut(sum(&lines));
        let factor = |line: Line| proto::Factor {
            name: line.name.into_owned(),
            points: line.points,
            evidence: line.evidence,
        };
        let factors = lines.into_iter().filter(Line::counts).map(factor).collect();
        Score { priority, factors }
    }
}

/// Of all points; saturates.
pub fn sum(lines: &[Line]) -> i64 {
    lines.iter().fold(0, |sum: i64, line| sum.saturating_add(line.points.into()))
}

/// A sum → a priority.
pub fn cut(sum: i64) -> u16 {
    u16::try_from(sum.max(0)).unwrap_or(PRIORITY_MAX).min(PRIORITY_MAX)
}
