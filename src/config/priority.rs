//! `[priority]`: points for what speaks for or against a post, for all brands and for single ones.

use std::collections::BTreeMap;

use super::reader::{Placed, Section, nearest};
use super::when::{Known, when};
use crate::access::brands::is_same;
use crate::classify;
use crate::desk::priority::{
    Caps, Combination, Contacts, Curve, Floors, Group, PRIORITY_MAX, Purchase, Repeated, Shape, Words,
    is_reserved,
};
use crate::desk::when::{Field, Quantity};
use crate::desk::{BrandPriority, Factors, Levels};

/// Points of a topic of the company's own that says none.
const OWN_TOPIC_POINTS: i32 = 100;
/// Greatest quantity in a curve: a follower count, an amount, hours.
const QUANTITY_MAX: f64 = 1e15;
/// Steps of one curve.
const STEPS_MAX: usize = 32;
/// Combinations of one table: each is asked of every ticket.
const COMBINATIONS_MAX: usize = 100;

/// What the section says.
pub(super) struct Priorities {
    pub(super) factors: Factors,
    pub(super) levels: Levels,
    pub(super) brands: BTreeMap<String, BrandPriority>,
}

/// Reads the section but for `waiting`. `topics`: points that the tables of sensitive topics give, and where; `floors` are
/// those of all topics.
pub(super) fn priorities(
    section: &Section<'_, '_>,
    (topics, floors): (&BTreeMap<String, Placed<i64>>, Floors),
    known: &Known<'_>,
    warnings: &mut Vec<String>,
) -> Priorities {
    let mut default = Factors { floors, ..Factors::default() };
    let points = |topic: &&str| {
        let builtin = default.sensitive.points.get(*topic).copied();
        let own = topics.get(*topic).and_then(|own| i32::try_from(own.value).ok());
        own.or(builtin).unwrap_or(OWN_TOPIC_POINTS)
    };
    let known_hours = known.contacts_days.saturating_mul(24);
    default.contacts.window_hours = default.contacts.window_hours.min(known_hours);
    let of_topics = known.sensitive.iter().map(|topic| ((*topic).to_owned(), points(topic))).collect();
    default.sensitive.points = of_topics;
    let reading = Reading { section, known };
    let factors = reading.factors(&default, warnings);
    for points in topics.values() {
        warn_of_limits(
            section,
            points,
            Group::Sensitive,
            (Some(("sensitive.cap", factors.sensitive.cap)), &factors.caps),
            warnings,
        );
    }
    let of_topics = section.section("sensitive");
    for topic in topics.keys().filter(|topic| of_topics.has(topic)) {
        of_topics.mistake(format_args!("{topic}: sensitive.{topic}.points says it too: give it once"));
    }
    let levels = levels(&section.section("levels"), Levels::default());
    let mut brands: BTreeMap<String, BrandPriority> = BTreeMap::new();
    for section in section.sections("brand") {
        let own = Reading { section: &section, known };
        let brand = BrandPriority {
            factors: own.factors(&factors, warnings),
            levels: self::levels(&section.section("levels"), levels),
        };
        let name = section.string("name");
        if section.has("waiting") {
            section.know("waiting");
            section.mistake("waiting: the queue is one for all brands: only [priority] has it");
        }
        section.refuse_unknown();
        let Some(name) = name else {
            section.mistake("name is missing: the brand whose priorities differ");
            continue;
        };
        let Some(of_file) = known.brands.iter().find(|brand| is_same(brand.trim(), name.value.trim())) else {
            if !known.has_nameless_brand() {
                let text = format_args!("{:?}: must be of {}", name.value, known.brands.join(", "));
                section.mistake_at(&name, text);
            }
            continue;
        };
        if brand.factors == factors && brand.levels == levels {
            warnings.push(format!("{} ({of_file}): changes nothing", section.path_in_file()));
        }
        own.warn_of_other_brands((&factors, &brand.factors), of_file, warnings);
        if brands.insert((*of_file).to_owned(), brand).is_some() {
            section.mistake_at(&name, format_args!("{of_file:?} has its priorities already"));
        }
    }
    Priorities { factors, levels, brands }
}

/// A table of priorities being read: the section itself, or a brand's.
struct Reading<'s, 'r, 't> {
    section: &'s Section<'r, 't>,
    known: &'s Known<'s>,
}

impl Reading<'_, '_, '_> {
    /// What the table names, and the rest from `base`.
    fn factors(&self, base: &Factors, warnings: &mut Vec<String>) -> Factors {
        let section = self.section;
        let classes = |key: &'static str, labels: &'static [&'static str], base: &[i32]| -> Vec<i32> {
            let section = section.section(key);
            let points = labels.iter().zip(base).map(|(label, base)| section.points(label, *base)).collect();
            section.refuse_unknown();
            points
        };
        let sentiment = classes("sentiment", &classify::SENTIMENTS, &base.sentiment);
        let intent = classes("intent", &classify::INTENTS, &base.intent);
        let urgency = classes("urgency", &classify::URGENCIES, &base.urgency);
        let caps = caps(&section.section("caps"), base.caps);
        let factors = Factors {
            // `classes` gives one number for each label.
            sentiment: sentiment.try_into().unwrap_or(base.sentiment),
            intent: intent.try_into().unwrap_or(base.intent),
            urgency: urgency.try_into().unwrap_or(base.urgency),
            addressed: section.points("addressed", base.addressed),
            age: self.age(&base.age),
            follow_ups: self.follow_ups(base.follow_ups),
            reach: self.reach(&base.reach),
            verified: section.points("verified", base.verified),
            tier: words(&section.section("tier"), &base.tier, warnings),
            flag: limited_words(&section.section("flag"), &base.flag, warnings),
            value: curve(&section.section("value"), &base.value, &[]),
            purchase: purchase(&section.section("purchase"), &base.purchase),
            contacts: contacts(
                &section.section("contacts"),
                &base.contacts,
                self.known.contacts_days,
                warnings,
            ),
            sensitive: self.sensitive(&base.sensitive, warnings),
            combinations: self.combinations(&base.combinations, &caps, warnings),
            caps,
            floors: base.floors.clone(),
        };
        self.warn_of_all_limits(&factors, warnings);
        factors
    }

    /// Single weights that nothing else can add to, or that are more than what their group may give.
    fn warn_of_all_limits(&self, factors: &Factors, warnings: &mut Vec<String>) {
        for (key, group, cap) in [
            ("sentiment", Group::Verdict, None),
            ("intent", Group::Verdict, None),
            ("urgency", Group::Verdict, None),
            ("addressed", Group::Post, None),
            ("verified", Group::Author, None),
            ("tier", Group::Customer, None),
            ("flag", Group::Customer, Some(("flag.cap", factors.flag.cap))),
            ("sensitive", Group::Sensitive, Some(("sensitive.cap", factors.sensitive.cap))),
        ] {
            for points in self.section.numbers(key).iter().filter(|points| !points.key.ends_with(".cap")) {
                warn_of_limits(self.section, points, group, (cap, &factors.caps), warnings);
            }
        }
    }

    /// `{ points_per_hour, points_max }` is a line with a limit.
    fn age(&self, base: &Curve) -> Curve {
        let section = self.section.section("age");
        if !(section.has("points_per_hour") || section.has("points_max")) {
            return curve(&section, base, &["points_per_hour", "points_max"]);
        }
        refuse_both(&section, "points_per_hour and points_max");
        let (per_hour, most) = match base.shape {
            Shape::Linear(per_hour) => (per_hour.round() as i32, base.most()),
            _ => (25, 100),
        };
        let per_hour = section.points("points_per_hour", per_hour);
        let most = section.points("points_max", most);
        if per_hour.signum() * most.signum() < 0 {
            section.mistake(format_args!(
                "points_per_hour = {per_hour} never comes to points_max = {most}: both must be above 0, or both below"
            ));
        }
        section.refuse_unknown();
        Curve::linear(per_hour.into(), most.abs())
    }

    /// `{ points_max, followers_max }` is a logarithm.
    fn reach(&self, base: &Curve) -> Curve {
        let section = self.section.section("reach");
        if !(section.has("points_max") || section.has("followers_max")) {
            return curve(&section, base, &["points_max", "followers_max"]);
        }
        refuse_both(&section, "points_max and followers_max");
        let (points, at) = match base.shape {
            Shape::Logarithmic { points, at } => (points, at),
            _ => (150, 1e6),
        };
        let points = section.points("points_max", points);
        let at = section.integer("followers_max", 10..=1_000_000_000, at as i64);
        section.refuse_unknown();
        Curve::logarithmic(points, at as f64)
    }

    fn follow_ups(&self, base: Repeated) -> Repeated {
        let section = self.section.section("follow_ups");
        let repeated =
            Repeated { points: section.points("points", base.points), cap: cap(&section, base.cap) };
        section.refuse_unknown();
        repeated
    }

    fn sensitive(&self, base: &Words, warnings: &mut Vec<String>) -> Words {
        let section = self.section.section("sensitive");
        let mut words = limited_words(&section, base, warnings);
        words.points.retain(|topic, _| {
            let is_known = self.known.sensitive.contains(&topic.as_str());
            if !is_known {
                let meant = nearest(topic, self.known.sensitive).map_or_else(
                    || format!("must be of {}", self.known.sensitive.join(", ")),
                    |near| format!("no such topic; did you mean {near}?"),
                );
                section.mistake(format_args!("{topic}: {meant}"));
            }
            is_known
        });
        words
    }

    /// `[[…combination]]`: points for what counts only together. One of the same name takes the place of the base's.
    fn combinations(
        &self,
        base: &[Combination],
        caps: &Caps,
        warnings: &mut Vec<String>,
    ) -> Vec<Combination> {
        let mut combinations = base.to_vec();
        let mut names: Vec<String> = Vec::new();
        for section in self.section.sections("combination") {
            let name = section.string("name").map(|name| name.value.trim().to_owned()).unwrap_or_default();
            let condition = section.section("when");
            let when = when(&condition, self.known, warnings);
            let points = section.points("points", 0);
            for points in section.numbers("points") {
                warn_of_limits(&section, &points, Group::Combinations, (None, caps), warnings);
            }
            if name.is_empty() {
                section.mistake("name is missing: what tickets call these points");
            } else if names.contains(&name) {
                section.mistake(format_args!("the name {name:?} is taken by another combination"));
            } else if is_reserved(&name) {
                section.mistake(format_args!(
                    "the name {name:?} is a factor's: tickets could not tell them apart"
                ));
            }
            if !section.has("when") || condition.is_blank() {
                section.mistake(
                    "when is missing: what must hold, as when = { sentiment = \"negative\", tier = \"gold\" }",
                );
            }
            if !when.ranges.iter().all(|(quantity, _)| *quantity != Quantity::Priority) {
                condition.mistake(
                    "priority_min and priority_max: points cannot depend on the priority that they make",
                );
            }
            if !section.has("points") {
                section.mistake("points is missing: -1000 to 1000, and not 0");
            } else if section.numbers("points").iter().any(|points| points.value == 0) {
                section.mistake_in("points", "points = 0: changes nothing");
            }
            section.refuse_unknown();
            names.push(name.clone());
            let combination = Combination::new(name, when, points);
            match combinations.iter_mut().find(|other| other.name == combination.name) {
                Some(other) => *other = combination,
                None => combinations.push(combination),
            }
        }
        self.warn_of_the_customers_cap(
            combinations.iter().filter(|one| names.contains(&one.name)),
            caps,
            warnings,
        );
        if combinations.len() > COMBINATIONS_MAX {
            self.section
                .mistake(format_args!("{} combinations: at most {COMBINATIONS_MAX}", combinations.len()));
        }
        combinations
    }

    /// What is known of a customer is limited, and combinations are a group of their own: together they may give more.
    fn warn_of_the_customers_cap<'c>(
        &self,
        own: impl Iterator<Item = &'c Combination>,
        caps: &Caps,
        warnings: &mut Vec<String>,
    ) {
        let (Some(cap), None) = (caps.of(Group::Customer), caps.of(Group::Combinations)) else { return };
        let theirs: Vec<_> = own.filter(|one| one.points > 0 && one.when().is_by_customer()).collect();
        if theirs.is_empty() {
            return;
        }
        let most = theirs.iter().fold(cap, |sum: i32, one| sum.saturating_add(one.points));
        let names: Vec<_> = theirs.iter().map(|one| format!("{:?}", one.name)).collect();
        warnings.push(format!(
            "{}.combination: what is known of the customer counts in {} beside caps.customer = {cap}: together up to \
             {most}; caps.combinations sets a limit",
            self.section.path_in_file(),
            names.join(", "),
        ));
    }

    /// A brand's own combination that asks for another brand never counts; one of all brands does, elsewhere.
    fn warn_of_other_brands(
        &self,
        (base, factors): (&Factors, &Factors),
        brand: &str,
        warnings: &mut Vec<String>,
    ) {
        let inherited = &base.combinations;
        for combination in factors.combinations.iter().filter(|one| !inherited.contains(one)) {
            let mut asked = combination.when().words.iter().filter(|(field, _)| *field == Field::Brand);
            if asked.any(|(_, words)| !words.iter().any(|word| is_same(word, brand.trim()))) {
                warnings.push(format!(
                    "{}: the combination {:?} asks for another brand than {brand}, so that it never counts there",
                    self.section.path_in_file(),
                    combination.name
                ));
            }
        }
    }
}

/// One weight against the limit of its factor, where that has one, that of its group, and the whole range of a priority.
fn warn_of_limits(
    section: &Section<'_, '_>,
    points: &Placed<i64>,
    group: Group,
    (cap, caps): (Option<(&str, i32)>, &Caps),
    warnings: &mut Vec<String>,
) {
    let whole = i64::from(PRIORITY_MAX);
    let of_group = caps.of(group).map(|most| (format!("priority.caps.{}", group.name()), i64::from(most)));
    let of_factor = cap.map(|(key, most)| (format!("priority.{key}"), i64::from(most)));
    let limit = of_factor.into_iter().chain(of_group).min_by_key(|(_, most)| *most);
    let text = if let Some((key, most)) = limit.filter(|(_, most)| points.value.abs() > *most) {
        format!("{key} lets no more than {most} of it count")
    } else if points.value >= whole {
        format!(
            "it comes to {whole}, the most that a priority is, by itself: what else is known hardly counts"
        )
    } else if points.value <= -whole {
        "it takes nearly any priority to 0 by itself, where tickets are in no order".to_owned()
    } else {
        return;
    };
    let key = format!("{} = {}", points.key, points.value);
    warnings.push(section.warning_at(&Placed { key, ..points.clone() }, text));
}

/// The most that something gives or takes.
fn cap(section: &Section<'_, '_>, base: i32) -> i32 {
    i32::try_from(section.integer("cap", 0..=PRIORITY_MAX.into(), base.into())).unwrap_or(base)
}

const SHAPES: [&str; 3] = ["steps", "linear", "logarithmic"];

/// The older keys of a curve and a shape cannot both say how it grows.
fn refuse_both(section: &Section<'_, '_>, old: &str) {
    for key in SHAPES.into_iter().chain(["at", "cap"]).filter(|key| section.has(key)) {
        section.know(key);
        section.mistake(format_args!("{key} and {old} both say how it grows: give only one of them"));
    }
}

/// `{ steps = [[1, 20], [5, 60]] }`, `{ linear = 25, cap = 100 }` or `{ logarithmic = 150, at = 1000000 }`.
fn curve(section: &Section<'_, '_>, base: &Curve, others: &[&'static str]) -> Curve {
    let given: Vec<_> = SHAPES.into_iter().filter(|key| section.has(key)).collect();
    if given.len() > 1 {
        section.mistake(format_args!("{}: give only one of them", given.join(" and ")));
    }
    let steps = section.pairs("steps").map(|pairs| steps(section, &pairs));
    let linear = section.number("linear", -1000.0..=1000.0).map(Shape::Linear);
    let logarithmic = section.has("logarithmic").then(|| section.points("logarithmic", 0));
    section.know("logarithmic");
    let at = section.number("at", 1.0..=QUANTITY_MAX);
    let logarithmic = logarithmic.map(|points| {
        if !section.has("at") {
            section.mistake("at is missing: the quantity at which a logarithm has come to all its points");
        }
        Shape::Logarithmic { points, at: at.unwrap_or(1.0) }
    });
    if section.has("at") && !section.has("logarithmic") {
        section.mistake("at: only goes with logarithmic");
    }
    let shape = steps.or(linear).or(logarithmic);
    // A line without a limit would give a priority's whole range; a base's limit is not that of another shape.
    let unlimited = if matches!(shape, Some(Shape::Linear(_))) { PRIORITY_MAX.into() } else { i32::MAX };
    let limit = if shape.is_some() { unlimited } else { base.cap };
    let cap = if section.has("cap") { cap(section, PRIORITY_MAX.into()) } else { limit };
    section.know("cap");
    others.iter().for_each(|key| section.know(key));
    section.refuse_unknown();
    Curve { shape: shape.unwrap_or_else(|| base.shape.clone()), cap }
}

fn steps(section: &Section<'_, '_>, pairs: &[Placed<(f64, f64)>]) -> Shape {
    if pairs.is_empty() || pairs.len() > STEPS_MAX {
        section.mistake(format_args!("steps: {} of them: must be 1 to {STEPS_MAX}", pairs.len()));
    }
    let points = f64::from(PRIORITY_MAX);
    let mut last = None;
    for pair in pairs {
        let (at, given) = pair.value;
        if !(0.0..=QUANTITY_MAX).contains(&at) {
            section.mistake_at(pair, format_args!("{at}: a step begins from 0 to {QUANTITY_MAX}"));
        } else if last.is_some_and(|last| at <= last) {
            section.mistake_at(pair, format_args!("{at}: each step must begin above the one before"));
        }
        if given.fract() != 0.0 || !(-points..=points).contains(&given) {
            section
                .mistake_at(pair, format_args!("{given} points: must be a whole number from -1000 to 1000"));
        }
        last = Some(at);
    }
    // Within a thousand, or the mistake is noted.
    Shape::Steps(pairs.iter().map(|pair| (pair.value.0, pair.value.1 as i32)).collect())
}

/// A table of words of the company's own; `base`'s keep their points unless they are named.
fn words(section: &Section<'_, '_>, base: &Words, warnings: &mut Vec<String>) -> Words {
    let mut points = base.points.clone();
    let mut spelled: BTreeMap<String, Placed<i32>> = BTreeMap::new();
    for given in section.other_points() {
        let word = given.key.trim().to_lowercase();
        if word.is_empty() {
            section.mistake("a word must not be empty");
        }
        points.insert(word.clone(), given.value);
        let Some(twin) = spelled.insert(word, given.clone()) else { continue };
        let path = section.path_in_file();
        if twin.value == given.value {
            warnings
                .push(format!("{path}: {} and {} are the same word: once is enough", twin.key, given.key));
        } else {
            let text = format!(
                "{} and {} are the same word, with {} and {}",
                twin.key, given.key, twin.value, given.value
            );
            section.mistake_at(&Placed { key: path.to_owned(), ..given }, text);
        }
    }
    Words { points, cap: base.cap }
}

/// The same with a limit for all words together.
fn limited_words(section: &Section<'_, '_>, base: &Words, warnings: &mut Vec<String>) -> Words {
    let cap = cap(section, base.cap);
    Words { cap, ..words(section, base, warnings) }
}

fn purchase(section: &Section<'_, '_>, base: &Purchase) -> Purchase {
    let within_days = section.integer("within_days", 1..=3650, base.within_days.into());
    let purchase = Purchase {
        within_days: u32::try_from(within_days).unwrap_or(base.within_days),
        points: section.points("points", base.points),
        amount: curve(&section.section("amount"), &base.amount, &[]),
        cap: cap(section, base.cap),
    };
    section.refuse_unknown();
    purchase
}

/// `days`: contacts are known for so long; a window that is longer would be cut to that without a word.
fn contacts(section: &Section<'_, '_>, base: &Contacts, days: u32, warnings: &mut Vec<String>) -> Contacts {
    let hours = |key, least, base: u32| {
        u32::try_from(section.integer(key, least..=24 * 366, base.into())).unwrap_or(base)
    };
    let channels = section.section("channels");
    let other = channels.points("other", base.other);
    let base_channels = Words { points: base.channels.clone(), cap: base.cap };
    let contacts = Contacts {
        window_hours: hours("window_hours", 1, base.window_hours),
        channels: words(&channels, &base_channels, warnings).points,
        other,
        half_life_hours: hours("half_life_hours", 0, base.half_life_hours),
        count: curve(&section.section("count"), &base.count, &[]),
        cap: cap(section, base.cap),
    };
    if contacts.window_hours > days.saturating_mul(24) {
        section.mistake_in(
            "window_hours",
            format_args!(
                "window_hours = {}: [desk] contacts_days = {days} looks no further back: at most {} hours, or more days",
                contacts.window_hours,
                days.saturating_mul(24)
            ),
        );
    }
    section.refuse_unknown();
    contacts
}

/// `{ customer = 300 }`: the most that the factors of a group give or take together.
fn caps(section: &Section<'_, '_>, mut caps: Caps) -> Caps {
    for group in Group::ALL {
        let key = group.name();
        let most = section.integer(key, 0..=PRIORITY_MAX.into(), PRIORITY_MAX.into());
        if section.has(key) {
            caps.set(group, i32::try_from(most).unwrap_or(PRIORITY_MAX.into()));
        }
    }
    section.refuse_unknown();
    caps
}

fn levels(section: &Section<'_, '_>, base: Levels) -> Levels {
    let level = |key, base: u16| {
        u16::try_from(section.integer(key, 0..=PRIORITY_MAX.into(), base.into())).unwrap_or(base)
    };
    let levels = Levels {
        p1_min: level("p1_min", base.p1_min),
        p2_min: level("p2_min", base.p2_min),
        p3_min: level("p3_min", base.p3_min),
    };
    if !(levels.p1_min >= levels.p2_min && levels.p2_min >= levels.p3_min) {
        section.mistake(format_args!(
            "p1_min = {}, p2_min = {}, p3_min = {}: each must be at most the one before",
            levels.p1_min, levels.p2_min, levels.p3_min
        ));
    }
    section.refuse_unknown();
    levels
}

#[cfg(test)]
mod tests;
