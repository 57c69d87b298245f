//! Factors that go by what the company knows of a person: tier, flags, value, purchases, earlier contacts.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;

use super::curve::Curve;
use crate::desk::person::{Person, Touchpoint};

/// Points for words of the company's own, in lower case.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// By word.
    pub points: BTreeMap<String, i32>,
    /// All of a person's words together give or take no more than this.
    pub cap: i32,
}

/// Points for a purchase not long ago.
#[derive(Debug, Clone, PartialEq)]
pub struct Purchase {
    /// How long ago, in days.
    pub within_days: u32,
    /// Once, however many there were.
    pub points: i32,
    /// And by what they cost together, in the company's unit.
    pub amount: Curve,
    /// Both together give or take no more than this.
    pub cap: i32,
}

/// Points for earlier contacts: who has called twice and now posts in public waits for us.
#[derive(Debug, Clone, PartialEq)]
pub struct Contacts {
    /// How long ago, in hours.
    pub window_hours: u32,
    /// For each contact, by channel in lower case.
    pub channels: BTreeMap<String, i32>,
    /// For each contact through a channel that is not among those.
    pub other: i32,
    /// After so many hours a contact gives half its points, after twice as many a quarter; 0: always all.
    pub half_life_hours: u32,
    /// And by how many contacts there were.
    pub count: Curve,
    /// All of that together gives or takes no more than this.
    pub cap: i32,
}

/// Of a poster whom the company has not told us of.
pub(super) const STRANGER: &str = "no customer that we know";

/// Characters of a text of the company's that a reason shows.
const SHOWN_CHARS_MAX: usize = 60;

impl Words {
    /// Of a single word.
    pub(super) fn of(&self, word: &str) -> i32 {
        self.get(word).clamp(-self.cap, self.cap)
    }

    /// Of all of them.
    pub(super) fn of_all(&self, words: &[String]) -> i32 {
        limited(words.iter().map(|word| i64::from(self.get(word))).sum(), self.cap)
    }

    pub(super) fn get(&self, word: &str) -> i32 {
        self.points.get(word).or_else(|| self.points.get(&word.to_lowercase())).copied().unwrap_or(0)
    }

    /// The points of greatest magnitude that one word can give.
    pub(super) fn most(&self) -> i32 {
        let most = self.points.values().copied().max_by_key(|points| points.unsigned_abs()).unwrap_or(0);
        most.clamp(-self.cap, self.cap)
    }

    /// The same of all words at once.
    pub(super) fn most_of_all(&self) -> i32 {
        let given = self.points.values().filter(|points| **points > 0).map(|points| i64::from(*points)).sum();
        let taken = self.points.values().filter(|points| **points < 0).map(|points| i64::from(*points)).sum();
        let (given, taken) = (limited(given, self.cap), limited(taken, self.cap));
        if given.unsigned_abs() >= taken.unsigned_abs() { given } else { taken }
    }
}

impl Purchase {
    /// Points and reason for what this person has bought.
    pub(super) fn score(&self, person: &Person, now: Timestamp) -> (i32, impl FnOnce() -> String) {
        let window_s = i64::from(self.within_days) * 24 * 3600;
        let bought = person.customer.as_deref().map_or(&[][..], |customer| &customer.purchases);
        let recent = bought
            .iter()
            .filter(move |purchase| (0..=window_s).contains(&(now.as_second() - purchase.at.as_second())));
        let amount: f64 = recent.clone().filter_map(|purchase| purchase.amount).sum();
        // The dearest, and of equals the newest, which comes first.
        let dearest = recent.clone().reduce(|best, next| {
            if next.amount.unwrap_or(0.0) > best.amount.unwrap_or(0.0) { next } else { best }
        });
        let points = match dearest {
            Some(_) => limited(i64::from(self.points) + i64::from(self.amount.points(amount)), self.cap),
            None => 0,
        };
        let evidence = move || match dearest {
            None if person.customer.is_none() => STRANGER.to_owned(),
            None => format!("nothing bought within {} days", self.within_days),
            Some(purchase) => {
                let what = if purchase.what.is_empty() { "something" } else { &purchase.what };
                let mut said = format!("bought {} {}", shown(what), ago(now, purchase.at));
                let others = recent.count() - 1;
                if others > 0 {
                    said.push_str(&format!(" and {others} more"));
                }
                if amount > 0.0 && self.amount.most() != 0 {
                    said.push_str(&format!(", for {}", number(amount)));
                }
                said
            }
        };
        (points, evidence)
    }

    pub(super) fn most(&self) -> i32 {
        both(self.points, self.amount.most(), self.cap)
    }
}

impl Contacts {
    /// Points and reason for how this person has been in touch.
    pub(super) fn score(&self, person: &Person, now: Timestamp) -> (i32, impl FnOnce() -> String) {
        let window_s = i64::from(self.window_hours) * 3600;
        let age_s = move |touchpoint: &Touchpoint| now.as_second() - touchpoint.at.as_second();
        let recent =
            person.touchpoints.iter().filter(move |touchpoint| (0..=window_s).contains(&age_s(touchpoint)));
        let points = |touchpoint: &Touchpoint| {
            let points = f64::from(self.channel(&touchpoint.channel));
            match self.half_life_hours {
                0 => points,
                hours => points * 0.5_f64.powf(age_s(touchpoint) as f64 / 3600.0 / f64::from(hours)),
            }
        };
        let count = recent.clone().count();
        let sum: f64 = recent.clone().map(points).sum();
        let total = match count {
            0 => 0,
            // At most 32 contacts of 1000 points: the cast is exact.
            _ => limited(sum.round() as i64 + i64::from(self.count.points(count as f64)), self.cap),
        };
        let evidence = move || {
            if count == 0 {
                return format!("no other contact within {} h", self.window_hours);
            }
            // By channel: how often, and when last; the contacts come newest first.
            let mut channels: BTreeMap<&str, (usize, Timestamp)> = BTreeMap::new();
            for touchpoint in recent {
                channels.entry(&touchpoint.channel).or_insert((0, touchpoint.at)).0 += 1;
            }
            let mut channels: Vec<_> = channels.into_iter().collect();
            channels.sort_by_key(|(channel, (times, _))| {
                let points = i64::from(self.channel(channel)) * i64::try_from(*times).unwrap_or(i64::MAX);
                (std::cmp::Reverse(points), *channel)
            });
            let mut said = String::new();
            for (channel, (times, last)) in channels {
                let comma = if said.is_empty() { "" } else { ", " };
                let when = if times == 1 { ago(now, last) } else { format!("{times} times") };
                // Writing to a string cannot fail.
                _ = write!(said, "{comma}{} {when}", verb(channel));
            }
            said
        };
        (total, evidence)
    }

    fn channel(&self, channel: &str) -> i32 {
        let points = self.channels.get(channel).or_else(|| self.channels.get(&channel.to_lowercase()));
        points.copied().unwrap_or(self.other)
    }

    pub(super) fn most(&self) -> i32 {
        let points = self.channels.values().copied().chain([self.other]);
        let most = points.max_by_key(|points| points.unsigned_abs()).unwrap_or(0);
        let many = i32::try_from(crate::desk::person::TOUCHPOINTS_MAX).unwrap_or(i32::MAX);
        both(most.saturating_mul(many), self.count.most(), self.cap)
    }
}

/// What somebody did who was in touch through this channel.
fn verb(channel: &str) -> String {
    match channel {
        "phone" => "called".to_owned(),
        "mail" | "email" => "mailed".to_owned(),
        "chat" => "chatted".to_owned(),
        "shop" => "was in a shop".to_owned(),
        "visit" => "was visited".to_owned(),
        "post" => "posted".to_owned(),
        "" => "was in touch".to_owned(),
        channel => format!("{}:", shown(channel)),
    }
}

/// A bound on two points of either sign together.
fn both(one: i32, other: i32, cap: i32) -> i32 {
    let most = i64::from(one.unsigned_abs()) + i64::from(other.unsigned_abs());
    let sign = if i64::from(one) + i64::from(other) < 0 { -1 } else { 1 };
    sign * limited(most, cap)
}

/// `points`, or what lies nearest to it from `-cap` to `cap`.
pub(super) fn limited(points: i64, cap: i32) -> i32 {
    i32::try_from(points.clamp(-i64::from(cap), cap.into())).unwrap_or(0)
}

/// How long before `now` that was.
pub(crate) fn ago(now: Timestamp, at: Timestamp) -> String {
    let minutes = (now.as_second() - at.as_second()).max(0) / 60;
    match minutes {
        0 => "just now".to_owned(),
        1..60 => format!("{minutes} min ago"),
        60..2880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 60 / 24),
    }
}

/// An amount as the company would write it.
pub(super) fn number(amount: f64) -> String {
    if amount.fract() == 0.0 { format!("{amount:.0}") } else { format!("{amount:.2}") }
}

/// The beginning of a text of the company's.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::desk::person::{self, Customer};

    const NOW_S: i64 = 100 * 24 * 3600;

    fn at(hours_ago: i64) -> Timestamp {
        Timestamp::from_second(NOW_S - hours_ago * 3600).unwrap()
    }

    fn touched(contacts: &[(&str, i64)]) -> Person {
        let touchpoint = |(channel, hours_ago): &(&str, i64)| Touchpoint {
            at: at(*hours_ago),
            channel: (*channel).to_owned(),
            note: String::new(),
        };
        Person { customer: None, touchpoints: contacts.iter().map(touchpoint).collect() }
    }

    fn bought(purchases: &[(&str, i64, Option<f64>)]) -> Person {
        let purchase = |(what, days_ago, amount): &(&str, i64, Option<f64>)| person::Purchase {
            at: at(days_ago * 24),
            date: None,
            what: (*what).to_owned(),
            amount: *amount,
        };
        let purchases = purchases.iter().map(purchase).collect();
        Person {
            customer: Some(Arc::new(Customer { purchases, ..Customer::default() })),
            touchpoints: Vec::new(),
        }
    }

    #[test]
    fn contacts_count_by_channel_within_their_window_and_up_to_a_limit() {
        let contacts = super::super::Factors::default().contacts;
        let check = |contacts: &Contacts, person: &Person, points: i32, said: &str| {
            let (given, evidence) = contacts.score(person, at(0));
            assert_eq!((given, evidence().as_str()), (points, said));
        };
        check(&contacts, &touched(&[]), 0, "no other contact within 72 h");
        check(
            &contacts,
            &touched(&[("mail", 3), ("phone", 5), ("phone", 30)]),
            110,
            "called 2 times, mailed 3 h ago",
        );
        check(&contacts, &touched(&[("fax", 0)]), 30, "fax: just now");
        check(&contacts, &touched(&[("phone", 72)]), 40, "called 3 days ago");
        check(&contacts, &touched(&[("phone", 73), ("phone", -1)]), 0, "no other contact within 72 h");
        check(&contacts, &touched(&[("phone", 1); 32]), 250, "called 32 times");
        let fading = Contacts { half_life_hours: 3, ..contacts.clone() };
        check(&fading, &touched(&[("mail", 3), ("phone", 6)]), 25, "called 6 h ago, mailed 3 h ago");
        let counted = Contacts { count: Curve::steps(&[(2.0, 25)]), ..contacts };
        check(&counted, &touched(&[("mail", 3), ("post", 2)]), 85, "mailed 3 h ago, posted 2 h ago");
    }

    #[test]
    fn purchases_count_while_they_are_recent_and_by_what_they_cost() {
        let purchase = super::super::Factors::default().purchase;
        let check = |person: &Person, points: i32, said: &str| {
            let (given, evidence) = purchase.score(person, at(0));
            assert_eq!((given, evidence().as_str()), (points, said));
        };
        check(&Person::default(), 0, "no customer that we know");
        check(
            &bought(&[("cable", 15, Some(9_000.0)), ("later", -1, None)]),
            0,
            "nothing bought within 14 days",
        );
        check(&bought(&[("", 3, None)]), 50, "bought something 3 days ago");
        check(
            &bought(&[("ThinkPad ×10", 6, Some(12_000.0))]),
            170,
            "bought ThinkPad ×10 6 days ago, for 12000",
        );
        check(
            &bought(&[("cable", 1, Some(9.5)), ("screen", 2, Some(990.5))]),
            110,
            "bought screen 2 days ago and 1 more, for 1000",
        );
    }

    #[test]
    fn words_are_compared_without_regard_to_case_and_limited_together() {
        let words = |cap| Words {
            points: [("gold", 80), ("press", 60), ("staff", -90)]
                .map(|(word, points)| (word.into(), points))
                .into(),
            cap,
        };
        let all = ["Gold".to_owned(), "press".to_owned(), "nobody".to_owned()];
        assert_eq!((words(1000).of("GOLD"), words(50).of("gold"), words(1000).of("no")), (80, 50, 0));
        assert_eq!((words(1000).of_all(&all), words(100).of_all(&all)), (140, 100));
        assert_eq!((words(1000).most(), words(1000).most_of_all()), (-90, 140));
    }
}
