//! Who a poster is, in a few lines of a ticket.

use jiff::Timestamp;

use super::{Clock, printable};
use crate::ticket::proto;

/// Contacts and purchases that are shown, the newest.
const SHOWN_MAX: usize = 3;
/// Characters of a note that are shown.
const NOTE_CHARS_MAX: usize = 60;

/// What is known of the poster, one line for each kind of thing; none for a stranger.
pub(super) fn lines(person: &proto::Person, clock: &Clock) -> Vec<String> {
    let mut lines = Vec::new();
    if !person.customer.is_empty() {
        let flags = person.flags.iter().map(String::as_str);
        let words = [person.name.as_str(), person.tier.as_str()].into_iter().chain(flags);
        let mut who = format!("customer {}", person.customer);
        for word in words.filter(|word| !word.is_empty()) {
            who.push_str(" · ");
            who.push_str(word);
        }
        if person.value_known {
            who.push_str(&format!(" · worth {}", person.value));
        }
        lines.push(who);
    }
    let purchase = |one: &proto::person::Purchase| match one.date.as_str() {
        "" => one_line(clock, one.at_us, &one.what),
        date => format!("{date} {}", one.what),
    };
    if !person.purchases.is_empty() {
        lines.push(format!("bought {}", listed(person.purchases.iter().map(purchase))));
    }
    let contact = |one: &proto::person::Contact| {
        let note = if one.note.is_empty() { String::new() } else { format!(" ({})", cut(&one.note)) };
        one_line(clock, one.at_us, &format!("{}{note}", one.channel))
    };
    if !person.contacts.is_empty() {
        lines.push(format!("before: {}", listed(person.contacts.iter().map(contact))));
    }
    lines.iter().map(|line| printable(line)).collect()
}

fn one_line(clock: &Clock, at_us: i64, what: &str) -> String {
    let at = Timestamp::from_microsecond(at_us).unwrap_or_default();
    format!("{} {what}", clock.minute(at))
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(SHOWN_MAX);
    let mut text = items.take(SHOWN_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(", and {more} more"));
    }
    text
}

fn cut(note: &str) -> String {
    match note.char_indices().nth(NOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", note.get(..end).unwrap_or_default()),
        None => note.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_is_a_few_lines_and_a_stranger_none() {
        let clock = Clock::in_zone("Europe/Paris");
        assert_eq!(lines(&proto::Person::default(), &clock), Vec::<String>::new());
        let purchase = |date: &str| proto::person::Purchase {
            at_us: 3_600_000_000,
            date: date.into(),
            what: "box".into(),
            amount: 0.0,
        };
        let contact = |hour: i64| proto::person::Contact {
            at_us: hour * 3_600_000_000,
            channel: "phone".into(),
            note: "line\u{1b}[31m down".into(),
        };
        let person = proto::Person {
            customer: "C1".into(),
            name: "Ana".into(),
            tier: "gold".into(),
            flags: vec!["press".into()],
            purchases: vec![purchase("1970-01-02"), purchase("")],
            contacts: (0..5).map(contact).collect(),
            ..proto::Person::default()
        };
        let mut told = lines(&person, &clock);
        assert_eq!(told[0], "customer C1 · Ana · gold · press");
        // A day is that day everywhere, a time that of whoever reads.
        assert_eq!(told.remove(1), "bought 1970-01-02 box, 1970-01-01 02:00 box");
        assert!(told[1].starts_with("before: 1970-01-01 01:00 phone (line"), "{told:?}");
        assert!(told[1].ends_with(", and 2 more") && !told[1].contains('\u{1b}'), "{told:?}");
    }
}
