//! What the texts of a row mean, checked: keys, words, numbers, times, accounts.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::table::{Cells, Columns};
use crate::desk::calendar;
use crate::desk::person::{PURCHASES_MAX, Purchase};
use crate::desk::week::{NoWeek, Week};
use crate::ledger::context::import::{AgentRow, CustomerRow};
use crate::ledger::context::{
    ACCOUNTS_MAX, Contact, NAME_BYTES_MAX, WORD_BYTES_MAX, WORDS_MAX, account, likely, quoted,
};
use crate::parse::Network;
use crate::ticket::proto;

pub(super) static CUSTOMERS: Columns = Columns {
    what: "customers",
    names: &[
        "key",
        "name",
        "tier",
        "value",
        "language",
        "flags",
        "purchases",
        "bluesky",
        "mastodon",
        "x",
        "facebook",
        "plain",
    ],
    needed: &[&["key"]],
};

pub(super) static AGENTS: Columns = Columns {
    what: "agents",
    names: &[
        "name",
        "team",
        "skills",
        "languages",
        "capacity",
        "shifts",
        "zone",
        "open_tickets",
        "answer_min",
        "satisfaction",
        "away",
    ],
    needed: &[&["name"]],
};

pub(super) static TOUCHPOINTS: Columns = Columns {
    what: "touchpoints",
    names: &["customer", "network", "account", "at", "channel", "note"],
    needed: &[&["customer", "account"], &["at"], &["channel"]],
};

/// A row's fields.
pub(super) struct Fields<'r> {
    columns: &'static Columns,
    cells: &'r Cells,
    zone: &'r TimeZone,
}

/// Why a row is rejected.
type Field<T> = Result<T, String>;

impl<'r> Fields<'r> {
    pub(super) fn new(columns: &'static Columns, cells: &'r Cells, zone: &'r TimeZone) -> Fields<'r> {
        Fields { columns, cells, zone }
    }

    /// The field without the spaces around it; `None` where the row has no such column.
    fn given(&self, name: &str) -> Option<&'r str> {
        let column = self.columns.names.iter().position(|known| *known == name)?;
        self.cells.get(column).map(str::trim)
    }

    /// A field that must be there.
    fn needed(&self, name: &str) -> Field<String> {
        let text = self.text(name, NAME_BYTES_MAX)?.unwrap_or_default();
        if text.is_empty() { Err(format!("{name} is empty")) } else { Ok(text) }
    }

    /// A short text of one line.
    fn text(&self, name: &str, bytes_max: usize) -> Field<Option<String>> {
        let Some(text) = self.given(name) else { return Ok(None) };
        if text.len() > bytes_max {
            return Err(format!("{name} has {} bytes: must be at most {bytes_max}", text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(format!("{name} = {}: holds a line end or another control character", quoted(text)));
        }
        Ok(Some(text.to_owned()))
    }

    /// One word in lower case.
    fn word(&self, name: &str) -> Field<Option<String>> {
        let word = self.text(name, WORD_BYTES_MAX)?.map(|word| word.to_lowercase());
        if word.as_deref().is_some_and(|word| word.contains(char::is_whitespace)) {
            let word = word.unwrap_or_default();
            return Err(format!("{name} = {}: must be one word, without spaces", quoted(&word)));
        }
        Ok(word)
    }

    /// Words in lower case, each once.
    fn words(&self, name: &str) -> Field<Option<Vec<String>>> {
        let Some(text) = self.given(name) else { return Ok(None) };
        let mut words: Vec<String> = Vec::new();
        for word in separate(text) {
            if word.len() > WORD_BYTES_MAX {
                return Err(format!(
                    "{name}: a word of {} bytes: must be at most {WORD_BYTES_MAX}",
                    word.len()
                ));
            }
            if word.chars().any(char::is_control) {
                return Err(format!("{name} = {}: holds a control character", quoted(text)));
            }
            let word = word.to_lowercase();
            if !words.contains(&word) {
                words.push(word);
            }
            if words.len() > WORDS_MAX {
                return Err(format!("{name}: more than {WORDS_MAX} words"));
            }
        }
        Ok(Some(words))
    }

    /// The primary subtags of languages.
    fn languages(&self, name: &str) -> Field<Option<Vec<String>>> {
        let Some(words) = self.words(name)? else { return Ok(None) };
        let mut languages: Vec<String> = Vec::new();
        for word in words {
            let primary = word.split(['-', '_']).next().unwrap_or_default().to_owned();
            if !(2..=3).contains(&primary.len()) || !primary.bytes().all(|byte| byte.is_ascii_lowercase()) {
                return Err(format!(
                    "{name} = {}: must be a language's code, such as fr or en-GB",
                    quoted(&word)
                ));
            }
            if !languages.contains(&primary) {
                languages.push(primary);
            }
        }
        Ok(Some(languages))
    }

    /// A number; `Some(None)` where the field is empty.
    fn number(&self, name: &str, least: f64, most: f64) -> Field<Option<Option<f64>>> {
        match self.given(name) {
            None => Ok(None),
            Some("") => Ok(Some(None)),
            Some(text) => number(name, text, least, most).map(|number| Some(Some(number))),
        }
    }

    /// A whole number; `None` where the field is empty or absent.
    fn count(&self, name: &str, most: u32) -> Field<Option<u32>> {
        match self.given(name) {
            None | Some("") => Ok(None),
            Some(text) => match text.parse::<u32>() {
                Ok(count) if count <= most => Ok(Some(count)),
                _ => Err(format!("{name} = {}: must be a whole number from 0 to {most}", quoted(text))),
            },
        }
    }

    fn accounts(&self, network: Network) -> Field<Option<Vec<String>>> {
        let name = network.name();
        let Some(text) = self.given(name) else { return Ok(None) };
        let mut accounts: Vec<String> = Vec::new();
        for given in separate(text) {
            let account = account(network, given)?;
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        Ok(Some(accounts))
    }
}

/// A field's items: separated by spaces, or as lists in other programs are.
fn separate(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|')).filter(|item| !item.is_empty())
}

/// `1234.5`, and as spreadsheets of other countries write it: `1234,50`, `1 234,50`. What `1,234` means nobody can tell.
fn number(name: &str, text: &str, least: f64, most: f64) -> Field<f64> {
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '\u{202f}')).collect();
    let plain = match plain.split_once(',') {
        Some((whole, part)) if !part.contains([',', '.']) && !whole.contains('.') && part.len() != 3 => {
            format!("{whole}.{part}")
        }
        _ => plain,
    };
    match plain.parse::<f64>() {
        Ok(number) if number.is_finite() && (least..=most).contains(&number) => Ok(number),
        Ok(number) if number.is_finite() && most < f64::MAX => {
            Err(format!("{name} = {}: must be {least} to {most}", quoted(text)))
        }
        Ok(number) if number.is_finite() => {
            Err(format!("{name} = {}: must be at least {least}", quoted(text)))
        }
        _ => Err(format!("{name} = {}: must be a number, such as 1234.5 or 1234,50", quoted(text))),
    }
}

/// A time as people and programs write it.
fn time(name: &str, text: &str, zone: &TimeZone) -> Field<Timestamp> {
    let must = || {
        format!(
            "{name} = {}: must be a time, such as 2026-11-02, 2026-11-02T10:00 or 2026-11-02T10:00:00Z",
            quoted(text)
        )
    };
    // A bare `20261102` is ISO 8601, too, and more likely a number.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(must());
    }
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let civil =
            text.parse::<DateTime>().ok().or_else(|| Some(text.parse::<Date>().ok()?.at(0, 0, 0, 0)))?;
        zone.to_timestamp(civil).ok()
    });
    likely(at.ok_or_else(must)?).map_err(|why| format!("{name} = {}: {why}", quoted(text)))
}

fn purchases(text: &str, zone: &TimeZone) -> Field<Vec<Purchase>> {
    let mut purchases = Vec::new();
    for part in text.split('|').map(str::trim).filter(|part| !part.is_empty()) {
        let (at, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        let date = at.parse::<Date>().ok().filter(|_| at.len() == "2026-11-02".len());
        let at = time("purchases", at, zone)?;
        let rest = rest.trim();
        let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (amount, what) = match first {
            "-" => (None, after),
            // A text that begins with a digit is an amount that nobody could read.
            first if first.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-')) => {
                (Some(number("purchases", first, 0.0, f64::MAX)?), after)
            }
            _ => (None, rest),
        };
        let what = what.trim();
        if what.len() > NAME_BYTES_MAX {
            return Err(format!(
                "purchases: a text of {} bytes: must be at most {NAME_BYTES_MAX}",
                what.len()
            ));
        }
        if what.chars().any(char::is_control) {
            return Err(format!("purchases = {}: holds a control character", quoted(what)));
        }
        purchases.push(Purchase { at, date, what: what.to_owned(), amount });
    }
    purchases.sort_by_key(|purchase| std::cmp::Reverse(purchase.at));
    purchases.truncate(PURCHASES_MAX);
    Ok(purchases)
}

pub(super) fn customer(fields: &Fields<'_>) -> Field<CustomerRow> {
    let mut accounts = Vec::new();
    for network in Network::ALL {
        if let Some(names) = fields.accounts(network)? {
            accounts.push((network, names));
        }
    }
    let count: usize = accounts.iter().map(|(_, names)| names.len()).sum();
    if count > ACCOUNTS_MAX {
        return Err(format!("{count} accounts: must be at most {ACCOUNTS_MAX}"));
    }
    let language = fields.languages("language")?;
    if language.as_ref().is_some_and(|languages| languages.len() > 1) {
        return Err("language: must be one".to_owned());
    }
    Ok(CustomerRow {
        key: fields.needed("key")?,
        name: fields.text("name", NAME_BYTES_MAX)?,
        tier: fields.word("tier")?,
        value: fields.number("value", 0.0, f64::MAX)?,
        language: language.map(|languages| languages.into_iter().next().unwrap_or_default()),
        flags: fields.words("flags")?,
        purchases: fields.given("purchases").map(|text| purchases(text, fields.zone)).transpose()?,
        accounts,
    })
}

pub(super) fn agent(fields: &Fields<'_>) -> Field<AgentRow> {
    let shifts = match fields.given("shifts") {
        None => None,
        Some("") => Some(None),
        Some(text) => Some(Some(text.parse::<Week>().map_err(|why: NoWeek| format!("shifts = {why}"))?)),
    };
    let zone = match fields.given("zone") {
        None => None,
        Some("") => Some(None),
        Some(text) => {
            calendar::zone(text).map_err(|must| format!("zone = {}: {must}", quoted(text)))?;
            Some(Some(text.to_owned()))
        }
    };
    let away = match fields.given("away").map(str::to_lowercase).as_deref() {
        None => None,
        Some("" | "no" | "non" | "false" | "0") => Some(false),
        Some("yes" | "oui" | "true" | "1") => Some(true),
        Some(text) => return Err(format!("away = {}: must be yes or no", quoted(text))),
    };
    Ok(AgentRow {
        name: fields.needed("name")?,
        team: fields.text("team", NAME_BYTES_MAX)?,
        skills: fields.words("skills")?,
        languages: fields.languages("languages")?,
        capacity: fields.count("capacity", 10_000)?,
        shifts,
        zone,
        open_tickets: fields.count("open_tickets", 1_000_000)?,
        answer_min: fields.number("answer_min", 0.0, f64::MAX)?,
        satisfaction: fields.number("satisfaction", 1.0, 5.0)?,
        away,
    })
}

pub(super) fn touchpoint(fields: &Fields<'_>) -> Field<Contact> {
    let given = |name: &str| fields.given(name).unwrap_or_default().to_owned();
    let at = time("at", &fields.needed("at")?, fields.zone)?;
    let message = proto::Touchpoint {
        customer: given("customer"),
        network: given("network"),
        account: given("account"),
        channel: given("channel"),
        at_us: 0,
        note: given("note"),
    };
    Contact::made_at(at, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_spreadsheets_write_them() {
        for (text, expected) in [
            ("1234.5", Some(1234.5)),
            ("1234,50", Some(1234.5)),
            ("1 234,5", Some(1234.5)),
            ("1\u{a0}234", Some(1234.0)),
            ("1,234", None),
            ("1.234,5", None),
            ("1,2,3", None),
            ("5000€", None),
            ("inf", None),
        ] {
            assert_eq!(number("value", text, 0.0, f64::MAX).ok(), expected, "{text}");
        }
    }

    #[test]
    fn an_amount_that_nobody_could_read_is_no_part_of_what_was_bought() {
        let read = |text: &str| purchases(text, &TimeZone::UTC);
        let bought = read("2026-11-20 1200,50 box | 2026-11-19 - cable").unwrap();
        let bought: Vec<_> = bought.iter().map(|one| (one.amount, one.what.as_str())).collect();
        assert_eq!(bought, [(Some(1200.5), "box"), (None, "cable")]);
        assert!(read("2026-11-20 5000€ tv").unwrap_err().contains("5000€"));
    }
}
