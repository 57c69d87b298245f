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

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::desk::conversation;

    #[test]
    fn what_the_file_says_of_conversations_is_checked() {
        let read = |text: &str| {
            let source = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\n";
            Config::parse(&format!("{source}{text}"))
        };
        let config =
            read("[conversation]\njoin_hours = 5\nothers = false\n[helpers]\nthanked_min = 0\n").unwrap();
        let expected = conversation::Config { join_hours: 5, others: false, thanked_min: 0 };
        assert_eq!(config.desk.conversation, expected);
        assert_eq!(read("").unwrap().desk.conversation, conversation::Config::default());
        for (wrong, named) in [
            ("[conversation]\njoin_hours = -1", "join_hours"),
            ("[helpers]\nthanked_min = 1000", "thanked_min"),
            ("[conversation]\nother = true", "other"),
        ] {
            let mistakes = format!("{:?}", read(wrong).unwrap_err());
            assert!(mistakes.contains(named), "{mistakes}");
        }
    }
}
