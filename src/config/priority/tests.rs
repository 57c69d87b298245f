//! What `[priority]` and `[sensitive]` mean, and what is said of mistakes in them.

use crate::config::Config;
use crate::desk::priority::{Curve, Group, Repeated};
use crate::desk::{Factors, Levels};

const START: &str =
    "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\n[[brand]]\nname = \"Nox\"\n";
/// Lines of [`START`].
const BEFORE: usize = 7;

fn read(text: &str) -> Config {
    Config::parse(&format!("{START}{text}")).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// Mistakes as `LINE: TEXT`, counted from the first line of `text`.
fn check(text: &str, expected: &[&str]) {
    let mistakes = Config::parse(&format!("{START}{text}")).err().unwrap_or_default();
    let told: Vec<_> = mistakes.iter().map(|told| format!("{}: {}", told.line - BEFORE, told.text)).collect();
    assert_eq!(told, expected);
}

#[test]
fn nothing_configured_means_the_defaults() {
    let desk = read("").desk;
    assert_eq!(desk.factors, Factors::default());
    assert_eq!(desk.levels, Levels::default());
    // What articles leave out of account are the names of the brands.
    let default = crate::desk::Config { articles: desk.articles.clone(), ..crate::desk::Config::default() };
    assert!(desk == default);
}

#[test]
fn every_factor_can_be_set() {
    let factors = read(
        r#"
[priority]
addressed = 1
verified = 2
reach = { steps = [[0, 1], [10.5, -20]], cap = 15 }
age = { linear = 0.5, cap = 30 }
value = { logarithmic = 40, at = 100 }
follow_ups = { points = 5 }
tier = { Gold = 100, "très spécial" = 10 }
flag = { press = 5, cap = 20 }
purchase = { within_days = 3, points = 4, amount = { linear = 1 } }
contacts = { window_hours = 5, half_life_hours = 2, channels = { Phone = 7, other = 8 }, count = { steps = [[2, 9]] }, cap = 10 }
sensitive = { safety = 11, cap = 12 }
caps = { customer = 13 }
"#,
    )
    .desk
    .factors;
    let default = Factors::default();
    assert_eq!((factors.addressed, factors.verified), (1, 2));
    assert_eq!(factors.reach, Curve { cap: 15, ..Curve::steps(&[(0.0, 1), (10.5, -20)]) });
    assert_eq!(factors.age, Curve::linear(0.5, 30));
    assert_eq!(factors.value, Curve::logarithmic(40, 100.0));
    assert_eq!(factors.follow_ups, Repeated { points: 5, cap: default.follow_ups.cap });
    assert_eq!((factors.tier.points["gold"], factors.tier.points["très spécial"]), (100, 10));
    assert_eq!((factors.flag.points["press"], factors.flag.cap), (5, 20));
    assert_eq!((factors.purchase.within_days, factors.purchase.points), (3, 4));
    assert_eq!(factors.purchase.amount, Curve::linear(1.0, 1000));
    assert_eq!((factors.contacts.window_hours, factors.contacts.half_life_hours), (5, 2));
    assert_eq!((factors.contacts.channels["phone"], factors.contacts.other), (7, 8));
    assert_eq!(factors.contacts.channels["mail"], default.contacts.channels["mail"]);
    assert_eq!((factors.contacts.count, factors.contacts.cap), (Curve::steps(&[(2.0, 9)]), 10));
    assert_eq!((factors.sensitive.points["safety"], factors.sensitive.cap), (11, 12));
    assert_eq!((factors.caps.of(Group::Customer), factors.caps.of(Group::Post)), (Some(13), None));
    assert_eq!(factors.sentiment, default.sentiment);
}

#[test]
fn the_older_keys_of_curves_mean_what_they_meant() {
    let factors = |text: &str| read(&format!("[priority]\n{text}")).desk.factors;
    assert_eq!(factors("reach = { points_max = 90 }").reach, Curve::logarithmic(90, 1e6));
    assert_eq!(factors("reach = { followers_max = 100 }").reach, Curve::logarithmic(150, 100.0));
    assert_eq!(factors("age = { points_per_hour = 10 }").age, Curve::linear(10.0, 100));
    assert_eq!(factors("age = { points_per_hour = -5, points_max = -50 }").age, Curve::linear(-5.0, 50));
    assert_eq!(factors("age = { points_per_hour = 0, points_max = 0 }").age, Curve::linear(0.0, 0));
    assert_eq!(factors("reach = { cap = 60 }").reach, Curve { cap: 60, ..Curve::logarithmic(150, 1e6) });
    check(
        "[priority]\nage = { points_per_hour = 5, points_max = -50 }",
        &[
            "2: priority.age: points_per_hour = 5 never comes to points_max = -50: both must be above 0, or both below",
        ],
    );
    check(
        "[priority]\nreach = { points_max = 5, steps = [[1, 2]] }",
        &[
            "2: priority.reach: steps and points_max and followers_max both say how it grows: give only one of them",
        ],
    );
}

#[test]
fn a_brand_differs_in_what_its_table_names() {
    let config = read(
        r#"
[priority]
addressed = 50
tier = { gold = 100, silver = 10 }
[[priority.combination]]
name = "angry"
when = { sentiment = "negative" }
points = 5
[[priority.brand]]
name = "lumio"
tier = { gold = 200 }
levels = { p1_min = 700 }
[[priority.brand.combination]]
name = "angry"
when = { sentiment = "negative" }
points = 50
"#,
    );
    assert_eq!(config.warnings, [""; 0]);
    let (factors, levels) = config.desk.priorities("Lumio");
    assert_eq!(factors.addressed, 50);
    assert_eq!((factors.tier.points["gold"], factors.tier.points["silver"]), (200, 10));
    assert_eq!((factors.combinations.len(), factors.combinations[0].points), (1, 50));
    assert_eq!((levels.p1_min, levels.p2_min), (700, 430));
    let (factors, levels) = config.desk.priorities("Nox");
    assert_eq!((factors.tier.points["gold"], factors.combinations[0].points, levels.p1_min), (100, 5, 600));
}

/// Brands whose own combinations are right may inherit some that are of another one.
#[test]
fn a_combination_of_all_brands_may_ask_for_another_brand() {
    let config = read(
        r#"
[[priority.combination]]
name = "angry"
when = { brand = "Lumio" }
points = 5
[[priority.brand]]
name = "Nox"
[[priority.brand.combination]]
name = "gold"
when = { verified = true, brand = "Nox" }
points = 7
"#,
    );
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.desk.priorities("Nox").0.combinations.len(), 2);
}

#[test]
fn no_window_is_longer_than_contacts_are_looked_at() {
    check(
        "[desk]\ncontacts_days = 1\n[priority]\ncontacts = { window_hours = 720 }\n\
         [[priority.brand]]\nname = \"Nox\"\ncontacts = { window_hours = 25 }",
        &[
            "4: priority.contacts: window_hours = 720: [desk] contacts_days = 1 looks no further back: at most 24 hours, \
             or more days",
            "7: priority.brand[1].contacts: window_hours = 25: [desk] contacts_days = 1 looks no further back: at most \
             24 hours, or more days",
        ],
    );
    let hours = |text: &str| read(text).desk.factors.contacts.window_hours;
    assert_eq!(
        hours("[priority]\ncontacts = { window_hours = 720 }"),
        720,
        "30 days, unless the file says otherwise"
    );
    assert_eq!(hours("[desk]\ncontacts_days = 1"), 24, "nobody has asked for more");
    assert_eq!(hours("[desk]\ncontacts_days = 9"), 72);
}

#[test]
fn every_mistake_is_named_with_its_place_value_and_range() {
    check(
        r#"[priority]
addressed = 2000
tier = { gold = 1001 }
flag = { cap = -1 }
value = { steps = [[5, 10], [5, 20]] }
purchase = { within_days = 0, amount = { steps = [], linear = nan } }
contacts = { window_hours = 99999, chanels = 3 }
reach = { logarithmic = 5 }
age = { steps = [[1], [2, 3.5]] }
follow_ups = 7
sensitive = { saftey = 5 }
caps = { customers = 5 }
[[priority.brand]]
name = "Nobody"
[[priority.brand]]
name = "Nox"
waiting = { points_per_hour = 3 }
[[priority.brand]]
addressed = 3
[[priority.combination]]
name = "reach"
when = { tier = "gold" }
points = 1
"#,
        &[
            "2: priority.addressed = 2000: must be a whole number from -1000 to 1000",
            "3: priority.tier.gold = 1001: must be a whole number from -1000 to 1000",
            "4: priority.flag.cap = -1: must be a whole number from 0 to 1000",
            "5: priority.value.steps: 5: each step must begin above the one before",
            "6: priority.purchase.within_days = 0: must be a whole number from 1 to 3650",
            "6: priority.purchase.amount: steps and linear: give only one of them",
            "6: priority.purchase.amount: steps: 0 of them: must be 1 to 32",
            "6: priority.purchase.amount.linear = nan: must be a number from -1000.0 to 1000.0",
            "7: priority.contacts.window_hours = 99999: must be a whole number from 1 to 8784",
            "7: priority.contacts.chanels = 3: unknown key; did you mean channels?",
            "8: priority.reach: at is missing: the quantity at which a logarithm has come to all its points",
            "9: priority.age.steps = […]: each item of the list must be a pair of numbers: [5, 60]",
            "9: priority.age.steps: 3.5 points: must be a whole number from -1000 to 1000",
            "10: priority.follow_ups = 7: must be a table: [priority.follow_ups]",
            "11: priority.sensitive: saftey: no such topic; did you mean safety?",
            "12: priority.caps.customers = 5: unknown key; did you mean customer?",
            "14: priority.brand[1].name: \"Nobody\": must be of Lumio, Nox",
            "15: priority.brand[2]: waiting: the queue is one for all brands: only [priority] has it",
            "18: priority.brand[3]: name is missing: the brand whose priorities differ",
            "20: priority.combination[1]: the name \"reach\" is a factor's: tickets could not tell them apart",
        ],
    );
}

#[test]
fn a_word_spelled_two_ways_is_told_of() {
    check(
        "[priority]\ntier = { Gold = 5, gold = 6 }",
        &["2: priority.tier: Gold and gold are the same word, with 5 and 6"],
    );
    let warnings = read("[priority]\ntier = { Gold = 5, gold = 5 }").warnings;
    assert_eq!(warnings, ["priority.tier: Gold and gold are the same word: once is enough"]);
}

#[test]
fn what_cannot_matter_is_warned_of() {
    let config = read(
        r#"
[[priority.brand]]
name = "Lumio"
addressed = 80
[[priority.brand]]
name = "Nox"
[[priority.brand.combination]]
name = "angry"
when = { brand = "Lumio" }
points = 5
[sensitive.safety]
words = ["Feu!", "feu"]
exclude = ["camp fire", "feu de camp"]
"#,
    );
    assert_eq!(
        config.warnings,
        [
            "sensitive.safety.words: \"Feu!\" and \"feu\" read the same: once is enough",
            "sensitive.safety.exclude: \"camp fire\" holds no word of this topic, so that it changes nothing",
            "priority.brand[1] (Lumio): changes nothing",
            "priority.brand[2]: the combination \"angry\" asks for another brand than Nox, so that it never counts there",
        ]
    );
}

/// Whoever reads them one after another must not be sent after what is not wrong.
#[test]
fn a_mistake_is_told_once_and_not_what_would_follow_from_it() {
    check(
        r#"[[brand]]
names = ["x"]
[[priority.brand]]
name = "X"
[[priority.combination]]
name = "angry"
when = { sentimnt = "negative" }
points = 1200
[[priority.combination]]
name = "zero"
when = { brand = "X" }
points = 0
[[team]]
[[route]]
when = { tiers = "gold" }
team = "Billing"
[[expectation]]
when = { sentiment = "angry" }
answer_min = 5
calendar = "office"
[[expectation]]
answer_min = 50
[[calendar]]
hours = "mon-fri 8-18"
[[token]]
name = "desk"
file = "/nowhere"
[wire]
tcp = "0.0.0.0:6010"
"#,
        &[
            "1: brand[3]: name is missing: what tickets call the brand",
            "7: priority.combination[1].when.sentimnt = \"negative\": unknown key; did you mean sentiment?",
            "8: priority.combination[1].points = 1200: must be a whole number from -1000 to 1000",
            "12: priority.combination[2]: points = 0: changes nothing",
            "13: team[1]: name is missing: what tickets and agents call the team",
            "15: route[1].when.tiers = \"gold\": unknown key; did you mean tier?",
            "18: expectation[1].when.sentiment: \"angry\": must be of negative, neutral, positive",
            "23: calendar[1]: name is missing: what expectations call this calendar",
            "27: token[1].file: /nowhere: No such file or directory (os error 2)",
        ],
    );
}

#[test]
fn a_word_that_is_nearly_a_known_one_is_warned_of_with_its_line() {
    let config = read(
        r#"[priority]
contacts = { channels = { telephone = 50, fax = 20, phone = 60 } }
[[priority.combination]]
name = "called"
when = { channel = ["telefone", "fax", "letter", "phone"] }
points = 5
[sensitive.safty]
words = ["box burns"]
[sensitive.billing]
words = ["facture"]
"#,
    );
    assert_eq!(
        config.warnings,
        [
            "line 14: sensitive.safty: a topic of your own, beside the built-in safety and without its words and points; \
             did you mean safety?",
            "line 9: priority.contacts.channels.telephone: counts for contacts that say \"telephone\", and not for those that \
             say \"phone\"; did you mean phone?",
            "line 12: priority.combination[1].when.channel: \"telefone\": no channel that [priority] contacts.channels knows; \
             did you mean phone?",
            "line 12: priority.combination[1].when.channel: \"letter\": no channel that [priority] contacts.channels knows; \
             known are chat, mail, phone, post, shop, visit, fax, telephone; one of your own needs points in \
             contacts.channels",
        ]
    );
}

/// Where one weight decides alone, what else is known hardly says in which order tickets come.
#[test]
fn a_weight_that_leaves_no_room_for_an_order_is_warned_of() {
    let config = read(
        r#"[priority]
addressed = 1000
urgency = { high = 999, low = -1000 }
tier = { gold = 1000, silver = 260 }
flag = { press = 90, cap = 80 }
[[priority.brand]]
name = "Nox"
caps = { customer = 1000 }
tier = { gold = 1000 }
[[priority.combination]]
name = "angry"
when = { sentiment = "negative" }
points = 1000
[sensitive.safety]
points = 950
[sensitive.legal]
points = -50
"#,
    );
    assert_eq!(
        config.warnings,
        [
            "line 20: priority.combination[1].points = 1000: it comes to 1000, the most that a priority is, by itself: \
             what else is known hardly counts",
            "line 10: priority.urgency.low = -1000: it takes nearly any priority to 0 by itself, where tickets are in no order",
            "line 9: priority.addressed = 1000: it comes to 1000, the most that a priority is, by itself: what else \
             is known hardly counts",
            "line 11: priority.tier.gold = 1000: priority.caps.customer lets no more than 260 of it count",
            "line 12: priority.flag.press = 90: priority.flag.cap lets no more than 80 of it count",
            "line 22: sensitive.safety.points = 950: priority.sensitive.cap lets no more than 900 of it count",
            "line 16: priority.brand[1].tier.gold = 1000: it comes to 1000, the most that a priority is, by itself: \
             what else is known hardly counts",
        ]
    );
}

#[test]
fn topics_have_words_points_and_teams() {
    let config = read(
        r#"
[sensitive.safety]
words = ["box qui chauffe"]
exclude = ["fire hazard light"]
points = 90
team = " safety desk "
[sensitive.press]
builtin = false
words = ["gazette"]
[sensitive.access]
words = "screen reader"
[[priority.combination]]
name = "blind"
when = { sensitive = "access" }
points = 20
[[team]]
name = "safety desk"
"#,
    )
    .desk;
    let read = |text: &str| config.sensitive.read(text).0;
    assert_eq!(read("ma box qui chauffe"), ["safety"]);
    assert_eq!(read("it caught fire"), ["safety"], "beside the built-in words");
    assert_eq!(read("the fire hazard light blinks"), [""; 0]);
    assert_eq!(read("I am a journalist"), [""; 0], "in place of the built-in words");
    assert_eq!(read("I write for the gazette; no screen reader helps"), ["press", "access"]);
    assert_eq!(config.sensitive.teams["safety"], "safety desk");
    assert_eq!(config.sensitive.teams.len(), 1);
    let points = &config.factors.sensitive.points;
    assert_eq!((points["safety"], points["legal"], points["access"]), (90, 100, 100));

    let none = self::read("[sensitive]\nbuiltin = false\n[sensitive.own]\nwords = [\"x\"]").desk;
    assert_eq!(none.sensitive.names().collect::<Vec<_>>(), ["own"]);
}

#[test]
fn bad_lists_of_words_are_refused() {
    check(
        r#"[sensitive]
builtin = 1
[sensitive.saftey]
points = 5
[sensitive.own]
words = []
[sensitive.mine]
[sensitive."Of Mine"]
words = ["a", "!?", 7]
team = " "
points = 1e3
[priority]
sensitive = { legal = 5 }
[sensitive.legal]
points = 6
unknown = 1
"#,
        &[
            "2: sensitive.builtin = 1: must be true or false",
            "3: sensitive.saftey: words is missing: a topic of your own needs some; did you mean safety?",
            "7: sensitive.mine: words is missing: a topic of your own needs some; built in are selfharm, safety, \
             child, health, security, fraud, discrimination, legal, regulator, press",
            "8: sensitive.Of Mine: a topic's name is 1 to 40 letters a to z, digits, `_` and `-`",
            "9: sensitive.Of Mine.words = 7: each item of the list must be a text in quotes",
            "9: sensitive.Of Mine.words: \"!?\" holds no letter, digit or emoji, so that no post can match it",
            "10: sensitive.Of Mine.team: must name a team",
            "11: sensitive.Of Mine.points = 1e3: must be a whole number from -1000 to 1000",
            "13: priority.sensitive: legal: sensitive.legal.points says it too: give it once",
            "16: sensitive.legal.unknown = 1: unknown key; known here: builtin, words, exclude, points, team, \
             floor",
        ],
    );
}

#[test]
fn a_topic_has_a_floor_if_it_is_given_one() {
    let floors = |text: &str| read(text).desk.factors.floors;
    let of = |text: &str, topics: [&str; 3]| topics.map(|topic| floors(text).of(topic));
    let topics = ["selfharm", "safety", "own"];
    assert_eq!(of("", topics), [Some(950), Some(900), None]);
    let own = "[sensitive.safety]\nfloor = 0\n[sensitive.own]\nwords = [\"x\"]\nfloor = 800\n\
               [[priority.brand]]\nname = \"Lumio\"\naddressed = 7\n";
    assert_eq!(of(own, topics), [Some(950), None, Some(800)]);
    assert_eq!(read(own).desk.brands["Lumio"].factors.floors, floors(own));
    assert_eq!(of("[sensitive]\nbuiltin = false\n", topics), [None; 3]);
    check(
        "[sensitive.safety]\nfloor = 100\n[sensitive.selfharm]\nfloor = 1001\n",
        &[
            "2: sensitive.safety: floor = 100: must be 0, for none, or 150 to 999: others need room below",
            "4: sensitive.selfharm.floor = 1001: must be a whole number from 0 to 1000",
        ],
    );
}

/// Tables that the example config shows as comments are as right as the rest of it.
#[test]
fn the_tables_of_the_example_are_right_once_they_are_no_comments() {
    let example = include_str!("../../../systemd/vigie.toml");
    let (mut text, mut inside) = (String::new(), false);
    for line in example.lines() {
        let shown = line.strip_prefix("# ").unwrap_or_default();
        let is_key =
            shown.split_once('=').is_some_and(|(key, _)| key.trim().bytes().all(|b| b.is_ascii_lowercase()));
        inside = shown.starts_with("[[priority.") || shown.starts_with("[sensitive.") || (inside && is_key);
        if inside {
            text.push_str(shown);
            text.push('\n');
        }
    }
    assert_eq!(text.lines().filter(|line| line.starts_with('[')).count(), 5, "{text}");
    // As the example's own [priority] shows it.
    let caps = "[priority.caps]\ncustomer = 260\ncombinations = 200\n";
    assert!(example.contains("\n# caps = { customer = 260, combinations = 200 }"));
    let config = read(&format!("{caps}{text}[[team]]\nname = \"Frontline\"\n"));
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.desk.factors.combinations.len(), 2);
    assert_eq!(config.desk.brands["Lumio"].levels.p1_min, 550);
    assert_eq!(config.desk.sensitive.teams["safety"], "Frontline");
    assert_eq!(config.desk.sensitive.read("no screen reader").0, ["accessibility"]);
}

#[test]
fn combinations_that_go_beyond_the_customers_limit_are_told_of_until_they_have_their_own() {
    let told = |priority: &str| {
        let text = format!(
            "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n[priority]\n{priority}"
        );
        Config::parse(&text).unwrap().warnings
    };
    let combination = |name: &str, when: &str, points: i32| {
        format!("[[priority.combination]]\nname = \"{name}\"\nwhen = {{ {when} }}\npoints = {points}\n")
    };
    let gold = combination("angry gold", "sentiment = \"negative\", tier = \"gold\"", 100);
    let dear = combination("dear", "value_min = 5000", 60);
    let both = format!("{gold}{dear}");
    let beyond = |names: &str, cap: i32, most: i32| {
        format!(
            "priority.combination: what is known of the customer counts in {names} beside caps.customer = {cap}: \
             together up to {most}; caps.combinations sets a limit"
        )
    };
    assert_eq!(told(&both), [beyond("\"angry gold\", \"dear\"", 260, 420)]);
    assert_eq!(told(&format!("caps = {{ customer = 100 }}\n{gold}")), [beyond("\"angry gold\"", 100, 200)]);
    for (when, is_theirs) in [
        ("flag = \"press\"", true),
        ("channel = \"phone\"", false),
        ("contacts_min = 2", false),
        ("customer = true", true),
        ("customer = false", false),
        ("followers_min = 5", false),
        ("topic = \"gold\"", false),
    ] {
        assert_eq!(!told(&combination("one", when, 100)).is_empty(), is_theirs, "{when}");
    }
    assert_eq!(told(&format!("caps = {{ combinations = 100 }}\n{both}")), [""; 0]);
    assert_eq!(told(&combination("less", "tier = \"gold\"", -50)), [""; 0]);
    // A brand's own are told of once, and beside those of all.
    let brand = "[[priority.brand]]\nname = \"Lumio\"\n[[priority.brand.combination]]\nname = \"own\"\n\
                 when = { tier = \"gold\" }\npoints = 40\n";
    let [of_all, own] = &told(&format!("{gold}{brand}"))[..] else { panic!() };
    assert!(of_all.contains("up to 360") && own.contains("\"own\"") && own.contains("up to 300"), "{own}");
}
