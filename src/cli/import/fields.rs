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

/// A number between these; see [`read_number`].
pub(super) fn number(name: &str, text: &str, least: f64, most: f64) -> Field<f64> {
    let number = read_number(text).map_err(|why| format!("{name} = {}: {why}", quoted(text)))?;
    match (least..=most).contains(&number) {
        true => Ok(number),
        false if most < f64::MAX => Err(format!("{name} = {}: must be {least} to {most}", quoted(text))),
        false => Err(format!("{name} = {}: must be at least {least}", quoted(text))),
    }
}

/// What may stand before or after an amount. All are of the company's own unit.
const CURRENCIES: [&str; 9] = ["€", "$", "£", "¥", "eur", "usd", "gbp", "chf", "cad"];

/// `1234.5`, and as spreadsheets and people of other countries write it: `1234,50`, `1 234,50 €`, `$1,234.50`, `1.234,50`,
/// `1'234.50`. What `1,234` means nobody can tell; `1.234` is what programs write, but beside a currency people do.
fn read_number(text: &str) -> Result<f64, String> {
    let must = || "must be a number, such as 1234.5, 1 234,50 or 1,234.50".to_owned();
    let text = text.trim();
    let plain = without_currency(text);
    let (sign, digits) = match plain.strip_prefix(['-', '+']) {
        Some(digits) => (plain.get(..1).unwrap_or_default(), digits),
        None => ("", plain),
    };
    let count = |mark: char| digits.matches(mark).count();
    // The last mark is the decimal one, unless it stands there twice.
    let mark = digits.chars().rev().find(|c| matches!(c, ',' | '.')).filter(|mark| count(*mark) == 1);
    let (whole, part) = mark.and_then(|mark| digits.split_once(mark)).unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let group = whole.chars().find(|c| !c.is_ascii_digit());
    let is_in_doubt = mark == Some(',') || mark == Some('.') && plain != text;
    if is_in_doubt
        && group.is_none()
        && part.len() == 3
        && is_digits(part)
        && (1..=3).contains(&whole.len())
        && whole != "0"
    {
        return Err(format!(
            "may be {whole}{part} or {whole}.{part}: write {whole}{part} or {whole}.{part}0"
        ));
    }
    if let Ok(number) = plain.parse::<f64>() {
        return if number.is_finite() { Ok(number) } else { Err(must()) };
    }
    let is_grouped = |mark: char| {
        let mut groups = whole.split(mark);
        let is_first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && is_digits(first));
        (is_space(mark) || matches!(mark, ',' | '.' | '\'' | '’'))
            && is_first
            && groups.all(|group| group.len() == 3 && is_digits(group))
    };
    if whole.is_empty() && part.is_empty() || !is_digits(part) || !group.is_none_or(is_grouped) {
        return Err(must());
    }
    let whole: String = whole.chars().filter(char::is_ascii_digit).collect();
    format!("{sign}0{whole}.{part}0").parse().map_err(|_| must())
}

/// Between thousands: a space, one that breaks no line, a narrow one that does not, a thin one.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}')
}

/// Whether it begins with a digit, behind a sign and a point or without.
fn begins_figure(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    text.strip_prefix('.').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit())
}

/// Whether it is a number, or the first part of one, by what it is written with.
fn is_figure(text: &str) -> bool {
    let of_figures = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ',' | '.' | '\'' | '’');
    begins_figure(text) && text.chars().all(of_figures)
}

fn is_currency(text: &str) -> bool {
    CURRENCIES.contains(&text.to_lowercase().as_str())
}

/// The amount without the currency before or after it.
fn without_currency(text: &str) -> &str {
    for mark in CURRENCIES {
        let is_mark = |part: Option<&str>| part.is_some_and(|part| part.to_lowercase() == mark);
        if is_mark(text.get(..mark.len())) {
            return text.get(mark.len()..).unwrap_or_default().trim();
        }
        let end = text.len().saturating_sub(mark.len());
        if is_mark(text.get(end..)) {
            return text.get(..end).unwrap_or_default().trim();
        }
    }
    text
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
        let (amount, what) = amount_of(rest)?;
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

/// The amount that a purchase begins with, and the rest: what was bought. A number may have spaces in it.
fn amount_of(text: &str) -> Field<(Option<f64>, &str)> {
    let (first, after) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if first == "-" {
        return Ok((None, after));
    }
    // What begins with a digit or a currency's sign is an amount, also where nobody can read it. A currency's letters are a
    // word as others are, unless a number follows: `CAD software`, `EUR-Palette`.
    let begins = match first.starts_with(char::is_alphabetic) {
        true if is_currency(first) => after.split_whitespace().next().is_some_and(is_figure),
        true => is_figure(without_currency(first)) && !without_currency(first).starts_with(['+', '-']),
        false => is_currency(first) || begins_figure(without_currency(first)),
    };
    if !begins {
        return Ok((None, text));
    }
    let mut end = first.len();
    let next = |end: usize| {
        let space = text.get(end..).and_then(|rest| rest.chars().next())?;
        let rest = text.get(end + space.len_utf8()..).unwrap_or_default();
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        Some((space, word, end + space.len_utf8() + word.len()))
    };
    if is_currency(first)
        && let Some((_, _, after)) = next(end)
    {
        end = after;
    }
    // `1 290` and a text, or `1` and a text that begins with a number: a space that breaks lines leaves it open.
    let mut doubt = false;
    while let Some((space, word, after)) = next(end).filter(|(space, ..)| is_space(*space)) {
        let so_far = text.get(..end).unwrap_or_default();
        let last = so_far.rsplit(is_space).next().unwrap_or_default();
        let is_whole = !so_far.contains([',', '.']) && last.ends_with(|c: char| c.is_ascii_digit());
        let digits = word.chars().take_while(char::is_ascii_digit).count();
        let rest = word.get(digits..).unwrap_or_default();
        if is_whole && digits == 3 && (rest.is_empty() || rest.starts_with([',', '.']) || is_currency(rest)) {
            doubt = rest.is_empty() && (doubt || space == ' ');
            end = after;
        } else if is_currency(word) && !is_currency(first) {
            (doubt, end) = (false, after);
            break;
        } else {
            break;
        }
    }
    let (amount, what) = text.split_at(end);
    if doubt {
        let whole: String = amount.chars().filter(|c| !is_space(*c)).collect();
        return Err(format!(
            "purchases = {}: {} may be an amount, or one before a text: write {whole}, or {first}.0 before the text",
            quoted(text),
            quoted(amount)
        ));
    }
    Ok((Some(number("purchases", amount, 0.0, f64::MAX)?), what))
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
        let check = |text: &str, expected: f64| assert_eq!(read_number(text), Ok(expected), "{text}");
        for (text, expected) in [
            ("1234.5", 1234.5),
            ("1234,50", 1234.5),
            ("1 234,5", 1234.5),
            ("1\u{a0}234", 1234.0),
            ("1\u{202f}290,50 €", 1290.5),
            ("1\u{a0}290,50\u{a0}€", 1290.5),
            ("1 290,50€", 1290.5),
            ("€1290", 1290.0),
            ("€ 1,290.50", 1290.5),
            ("5000€", 5000.0),
            ("EUR 12,5", 12.5),
            ("12.5 chf", 12.5),
            ("1,290.50", 1290.5),
            ("1.290,50", 1290.5),
            ("1'290.50", 1290.5),
            ("1,290,000", 1_290_000.0),
            ("1.290.000,5", 1_290_000.5),
            ("1 234,567", 1234.567),
            ("1234,567", 1234.567),
            ("0,125", 0.125),
            ("-1 234,5", -1234.5),
            // As programs write it.
            ("1.234", 1.234),
            ("0.125 €", 0.125),
            ("1.2900 €", 1.29),
            ("1290.125 €", 1290.125),
            (",5", 0.5),
        ] {
            check(text, expected);
        }
        let refused = |text: &str, why: &str| {
            let told = number("value", text, 0.0, f64::MAX).unwrap_err();
            assert!(told.starts_with("value = ") && told.contains(why), "{text}: {told}");
        };
        refused("1,234", "may be 1234 or 1.234: write 1234 or 1.2340");
        refused("€1,234", "may be 1234 or 1.234");
        for text in ["1.290 €", "€1.290", "1.290 EUR", "-1.290 €", "$ 1.290"] {
            refused(text, "may be 1290 or 1.290: write 1290 or 1.2900");
        }
        for text in
            ["1,2,3", "12 34", "1 2345", "1.23,4.5", "1,23.456,7", "inf", "€", "", "12 €€", "1..5", "1-5"]
        {
            refused(text, "must be a number, such as 1234.5, 1 234,50 or 1,234.50");
        }
        refused("-3", "must be at least 0");
    }

    #[test]
    fn an_amount_that_nobody_could_read_is_no_part_of_what_was_bought() {
        let read = |text: &str| purchases(text, &TimeZone::UTC);
        let bought = read("2026-11-20 1200,50 box | 2026-11-19 - cable").unwrap();
        let bought: Vec<_> = bought.iter().map(|one| (one.amount, one.what.as_str())).collect();
        assert_eq!(bought, [(Some(1200.5), "box"), (None, "cable")]);
        let check = |text: &str, amount: f64, what: &str| {
            let bought = read(&format!("2026-11-20 {text}")).unwrap();
            assert_eq!((bought[0].amount, bought[0].what.as_str()), (Some(amount), what), "{text}");
        };
        check("5000€ tv", 5000.0, "tv");
        check("1\u{202f}290,50 € tv", 1290.5, "tv");
        check("1\u{a0}290 tv", 1290.0, "tv");
        check("1 290,50 tv 55", 1290.5, "tv 55");
        check("1 290 € tv", 1290.0, "tv");
        check("1 290 000,5 tv", 1_290_000.5, "tv");
        check("€ 1 290,50 tv", 1290.5, "tv");
        check("€1290 tv", 1290.0, "tv");
        check("1,290.50 EUR tv", 1290.5, "tv");
        check("15.0 100 m of cable", 15.0, "100 m of cable");
        check("15 2 m of cable", 15.0, "2 m of cable");
        check("15", 15.0, "");
        check("EUR 1 290,50 tv", 1290.5, "tv");
        check("CAD 5 software", 5.0, "software");
        check("EUR12 tv", 12.0, "tv");
        for text in [
            "CAD software",
            "cad",
            "EUR-Palette",
            "EUR-6 Palette",
            "CAD 3D course",
            "CAD3D course",
            "Cadre 12",
            ".NET course",
            "-box",
        ] {
            let bought = read(&format!("2026-11-02 {text}")).unwrap();
            assert_eq!((bought[0].amount, bought[0].what.as_str()), (None, text));
        }
        let refused = |text: &str, why: &str| {
            let told = read(&format!("2026-11-20 {text}")).unwrap_err();
            assert!(told.starts_with("purchases = ") && told.contains(why), "{text}: {told}");
        };
        refused("1 290 tv", "write 1290, or 1.0 before the text");
        refused("1,290 tv", "may be 1290 or 1.290");
        refused("1.290 € tv", "may be 1290 or 1.290");
        refused("EUR 1.290 tv", "may be 1290 or 1.290");
        refused("5000x tv", "must be a number");
        refused("€ tv", "must be a number");
    }
}
