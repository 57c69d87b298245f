//! `[conversation]` and `[helpers]`: which posts join a ticket, and who is known to help.

use super::reader::Section;
use crate::desk::conversation::{Config, THANKED_MIN_MAX};

pub(super) fn conversation(root: &Section<'_, '_>) -> Config {
    let default = Config::default();
    let section = root.section("conversation");
    let helpers = root.section("helpers");
    let number = |number: i64, default: u32| u32::try_from(number).unwrap_or(default);
    let config = Config {
        join_hours: number(
            section.integer("join_hours", 0..=24 * 365, default.join_hours.into()),
            default.join_hours,
        ),
        others: section.flag("others", default.others),
        thanked_min: number(
            helpers.integer("thanked_min", 0..=THANKED_MIN_MAX.into(), default.thanked_min.into()),
            default.thanked_min,
        ),
    };
    section.refuse_unknown();
    helpers.refuse_unknown();
    config
}
