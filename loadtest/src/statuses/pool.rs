//! Statuses that are not about the brand, as lines whose ids, times and author are written over.

use super::person::{PROFILES, Person, Profile};
use super::snowflake;
use super::status::{self, Form, Status};
use crate::posts::Record;
use crate::script::dice::{Dice, Purpose};

/// Lines made of each text: about 2.5 MB in all, less than a processor's cache.
const VARIANTS: usize = 2;
/// Of 100 lines so many are retweets, retweets of quotes and quotes. In 423 statuses recorded from the streaming
/// API in 2016 there were 48, 14 and 8.
const RETWEETS: u32 = 44;
const RETWEETS_OF_QUOTES: u32 = 11;
const QUOTES: u32 = 8;
/// Of 100 of the others so many answer somebody.
const REPLIES: u32 = 30;
const PHOTOS_PERCENT: u32 = 28;
/// Of 100 lines so many say several things, most of them more than `text` has room for.
const LONG_PERCENT: u32 = 25;

/// What stands in the pool where an event writes its own; as long, and found nowhere else.
const ID: u64 = 1_111_111_111_111_111_111;
const ORIGINAL_ID: u64 = 1_222_222_222_222_222_222;
const AUTHOR_ID: u64 = 9_876_543_210;
const AT_MS: i64 = 1_012_608_000_000;
const ORIGINAL_AT_MS: i64 = 1_015_113_600_000;

/// The distinct background statuses.
#[derive(Debug)]
pub(super) struct Pool {
    lines: Vec<Line>,
}

/// One line and where things stand in it, in bytes.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    /// The author's face: the author must be one with it.
    pub(super) profile: u64,
    pub(super) ids: Vec<usize>,
    pub(super) authors: Vec<usize>,
    pub(super) created: Vec<usize>,
    pub(super) timestamps: Vec<usize>,
    /// Of the status that is passed on.
    pub(super) original_ids: Vec<usize>,
    pub(super) original_created: Vec<usize>,
}

impl Pool {
    /// All of `records`, in different conversations; those that are quoted and answered are older than `start_ms`.
    pub(super) fn new(seed: u64, records: &[Record], profiles: &[Profile], start_ms: i64) -> Pool {
        let lines = (0..records.len() * VARIANTS)
            .map(|place| {
                let mut dice = Dice::new(seed, place as u64, Purpose::Pool);
                line(place, records, profiles, start_ms, &mut dice)
            })
            .collect();
        Pool { lines }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn line(&self, place: usize) -> &Line {
        &self.lines[place]
    }
}

fn line(place: usize, records: &[Record], profiles: &[Profile], start_ms: i64, dice: &mut Dice) -> Line {
    let record = &records[place % records.len()];
    let text = text(record, records, dice);
    let profile = u64::from(dice.below(PROFILES as u32));
    let author = Person { id: AUTHOR_ID, profile: profile as usize };
    let mut other = || {
        let at_ms = start_ms - 1_000 * i64::from(60 + dice.below(30 * 86_400));
        let author = Person::regular(PROFILES + u64::from(dice.below(1 << 16)));
        (snowflake::earlier(at_ms, dice.bits()), at_ms, author)
    };
    let ((id, at_ms, writer), (_, _, passer)) = (other(), other());
    let photo = dice.percent(PHOTOS_PERCENT).then(|| dice.bits() >> 2);
    let likes = dice.below(9_000);
    let quoted_record = dice.pick(records).unwrap_or(record);
    let (language, form) = (record.language(), Form::Alone);
    let said = Status { id: ID, at_ms: AT_MS, author, language, text: &text, form, photo, likes: 0 };
    let quoted = Status {
        id,
        at_ms,
        author: writer,
        language: quoted_record.language(),
        text: quoted_record.text(),
        photo: None,
        likes,
        ..said
    };
    let original = Status { id: ORIGINAL_ID, at_ms: ORIGINAL_AT_MS, author: passer, likes, ..said };
    let quoting = Status { form: Form::Quote(&quoted), photo: None, ..original };
    let retweet = |of, photo| Status { form: Form::Retweet(of), text: "", photo, ..said };
    let drawn = dice.below(100);
    let whole = match drawn {
        _ if drawn < RETWEETS => retweet(&original, photo),
        _ if drawn < RETWEETS + RETWEETS_OF_QUOTES => retweet(&quoting, None),
        _ if drawn < RETWEETS + RETWEETS_OF_QUOTES + QUOTES => {
            Status { form: Form::Quote(&quoted), photo: None, ..said }
        }
        _ if dice.percent(REPLIES) => {
            Status { form: Form::ReplyTo { id, author: writer }, photo: None, ..said }
        }
        _ => said,
    };
    let mut text = String::new();
    status::write(&whole, profiles, &mut text);
    let places = |of: String| text.match_indices(&of).map(|(at, _)| at).collect::<Vec<_>>();
    let created = |at_ms| places(String::from_utf8_lossy(&status::created_at(at_ms)).into_owned());
    Line {
        ids: places(ID.to_string()),
        authors: places(AUTHOR_ID.to_string()),
        created: created(AT_MS),
        timestamps: places(AT_MS.to_string()),
        original_ids: places(ORIGINAL_ID.to_string()),
        original_created: created(ORIGINAL_AT_MS),
        profile,
        bytes: text.into_bytes(),
    }
}

/// The text of a record, or a longer one that begins with it.
fn text(record: &Record, records: &[Record], dice: &mut Dice) -> String {
    let mut text = record.text().to_owned();
    if dice.percent(LONG_PERCENT) {
        let same: Vec<&Record> =
            records.iter().filter(|other| other.language() == record.language()).collect();
        for _ in 0..2 + dice.below(4) {
            if let Some(more) = dice.pick(&same) {
                text.push(' ');
                text.push_str(more.text());
            }
        }
    }
    text
}
