//! Working time against a wall clock that is read minute by minute, and what must hold of any calendar.

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn calendar(zone: &str, hours: &str, closings: &[&str]) -> Calendar {
    Calendar {
        name: "office".to_owned(),
        zone: TimeZone::get(zone).unwrap(),
        hours: hours.parse().unwrap(),
        closings: closings.iter().map(|closing| closing.parse().unwrap()).collect(),
    }
}

/// `2026-11-27 17:00 Europe/Paris`, or with an offset where the clock shows that twice.
fn at(text: &str, zone: &str) -> Timestamp {
    match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => TimeZone::get(zone).unwrap().to_timestamp(text.parse().unwrap()).unwrap(),
    }
}

fn check(calendar: &Calendar, from: &str, working_min: u64, expected: &str) {
    let zone = calendar.zone.iana_name().unwrap();
    let (from, expected) = (at(from, zone), at(expected, zone));
    let reached = calendar.add(from, MINUTE * u32::try_from(working_min).unwrap());
    let shown = |at: Timestamp| at.to_zoned(calendar.zone.clone());
    assert_eq!(reached, expected, "{} after {}: {}", working_min, shown(from), shown(reached));
    assert_eq!(calendar.working_between(from, expected), MINUTE * u32::try_from(working_min).unwrap());
}

#[test]
fn an_answer_within_four_hours_of_friday_evening_is_due_on_monday() {
    let office =
        calendar("Europe/Paris", "mon-fri 08:00-18:00", &["2026-12-25", "01-01", "12-24 12:00-24:00"]);
    check(&office, "2026-11-27T17:00", 240, "2026-11-30T11:00");
    check(&office, "2026-11-27T09:00", 240, "2026-11-27T13:00");
    // To closing time, and not to the next morning.
    check(&office, "2026-11-27T14:00", 240, "2026-11-27T18:00");
    check(&office, "2026-11-28T03:00", 1, "2026-11-30T08:01");
    // Half a day, two holidays and weekends.
    check(&office, "2026-12-24T11:00", 120, "2026-12-28T09:00");
    check(&office, "2026-12-31T17:30", 60, "2027-01-04T08:30");
    check(&office, "2026-11-27T12:00", 0, "2026-11-27T12:00");
    check(&office, "2026-11-27T19:00", 0, "2026-11-30T08:00");
    let lunch = calendar("Europe/Paris", "mon-fri 08:00-18:00", &["01-01..12-31 12:00-13:30"]);
    check(&lunch, "2026-11-27T11:00", 120, "2026-11-27T14:30");
}

#[test]
fn nights_and_leap_days_are_working_time_like_others() {
    let night = calendar("Europe/Paris", "fri 22:00-06:00", &[]);
    check(&night, "2026-11-27T23:00", 6 * 60, "2026-11-28T05:00");
    check(&night, "2026-11-27T23:00", 8 * 60, "2026-12-04T23:00");
    let daily = calendar("America/Montreal", "10:00-12:00", &["02-29"]);
    check(&daily, "2028-02-28T11:00", 120, "2028-03-01T11:00");
    check(&daily, "2027-02-28T11:00", 120, "2027-03-01T11:00");
}

#[test]
fn a_skipped_hour_is_no_working_time_and_a_repeated_one_is_two() {
    let always = |zone| calendar(zone, "always", &[]);
    // Paris skips 02:00 to 03:00 on 29 March 2026 and shows it twice on 25 October.
    check(&always("Europe/Paris"), "2026-03-29T01:30", 60, "2026-03-29T03:30");
    check(&always("Europe/Paris"), "2026-10-25T01:30", 120, "2026-10-25T02:30+01:00");
    let nights = calendar("Europe/Paris", "sun 01:00-04:00", &[]);
    check(&nights, "2026-03-28T12:00", 120, "2026-03-29T04:00");
    check(&nights, "2026-10-24T12:00", 240, "2026-10-25T04:00");
    // The half of the hour that is shown twice is open twice, with the other half between them.
    let half = calendar("Europe/Paris", "sun 01:30-02:30", &[]);
    check(&half, "2026-10-24T12:00", 45, "2026-10-25T02:15+02:00");
    check(&half, "2026-10-24T12:00", 75, "2026-10-25T02:15+01:00");
    let skipped = calendar("Europe/Paris", "sun 02:00-03:00", &[]);
    check(&skipped, "2026-03-28T12:00", 30, "2026-04-05T02:30");
    // Montreal: 8 March and 1 November. Offices there notice nothing.
    let office = calendar("America/Montreal", "mon-fri 09:00-17:00", &[]);
    check(&office, "2026-03-06T16:00", 120, "2026-03-09T10:00");
    check(&office, "2026-10-30T16:00", 120, "2026-11-02T10:00");
    check(&always("America/Montreal"), "2026-11-01T00:30", 180, "2026-11-01T02:30");
    // Lord Howe shifts by half an hour: 5 April and 4 October 2026, at two.
    check(&always("Australia/Lord_Howe"), "2026-04-05T01:00", 90, "2026-04-05T02:00");
    check(&always("Australia/Lord_Howe"), "2026-10-04T01:00", 90, "2026-10-04T03:00");
    let early = calendar("Australia/Lord_Howe", "sun 01:00-03:00", &[]);
    check(&early, "2026-04-04T12:00", 150, "2026-04-05T03:00");
    check(&early, "2026-10-03T12:00", 90, "2026-10-04T03:00");
    // Samoa had no 30 December 2011: Friday was left out.
    let samoa = calendar("Pacific/Apia", "fri 00:00-24:00", &[]);
    check(&samoa, "2011-12-29T12:00", 60, "2012-01-06T01:00");
}

#[test]
fn a_calendar_that_hardly_opens_ends_at_the_horizon() {
    let rare = calendar("UTC", "10:00-10:05", &["01-01..06-30", "07-02..12-31"]);
    let from = at("2026-01-01T00:00:00Z", "UTC");
    check(&rare, "2026-01-01T00:00", 4, "2026-07-01T10:04");
    check(&rare, "2026-01-01T00:00", 10, "2027-07-01T10:05");
    assert_eq!(rare.add(from, HOUR), from + HORIZON);
    let never = calendar("UTC", "always", &["01-01..12-31"]);
    assert_eq!(never.add(from, Duration::ZERO), from + HORIZON);
    assert_eq!(never.working_between(from, Timestamp::MAX), Duration::ZERO);
    let first = jiff::civil::date(2026, 1, 1);
    assert!(rare.opens_within_four_years_of(first) && !never.opens_within_four_years_of(first));
    let always = calendar("Europe/Paris", "always", &[]);
    assert_eq!(always.add(Timestamp::MAX, HOUR), Timestamp::MAX);
    assert_eq!(always.working_between(from, Timestamp::MAX), HORIZON);
    assert_eq!(always.working_between(from, from - HOUR), Duration::ZERO);
}

#[test]
fn holidays_are_read_as_people_write_them() {
    let on = |text: &str, date: &str| text.parse::<Closing>().unwrap().is_on(date.parse().unwrap());
    for (text, date, expected) in [
        ("2026-12-25", "2026-12-25", true),
        ("2026-12-25", "2027-12-25", false),
        ("12-25", "2027-12-25", true),
        ("02-29", "2028-02-29", true),
        ("2026-12-24..2027-01-02", "2027-01-02", true),
        ("2026-12-24..2027-01-02", "2027-01-03", false),
        ("12-24..01-02", "2030-01-02", true),
        ("12-24..01-02", "2030-12-24", true),
        ("12-24..01-02", "2030-06-01", false),
    ] {
        assert_eq!(on(text, date), expected, "{text} on {date}");
    }
    let refused = |text: &str| text.parse::<Closing>().unwrap_err();
    for text in
        ["", "25.12.", "2026-12", "2026-12-25-01", "26-12-25", "12-25..2026-12-31", "12-25 noon", "+1-01"]
    {
        assert!(matches!(refused(text), NoClosing::Unreadable(_)), "{text}");
    }
    for text in ["2026-02-29", "02-30", "2026-13-01", "2026-12-24..2026-12-32", "00-10"] {
        assert!(matches!(refused(text), NoClosing::NoDate(_)), "{text}");
    }
    for text in ["2026-12-25..2026-12-24", "12-24 18:00-12:00", "12-24 12-12"] {
        assert!(matches!(refused(text), NoClosing::Backwards(_)), "{text}");
    }
}

const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Paris",
    "America/Montreal",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "America/St_Johns",
];
const HOURS: [&str; 6] = [
    "mon-fri 08:00-18:00",
    "always",
    "mon-sat 09:00-12:00, mon-fri 13:30-17:15",
    "fri-sun 22:00-06:00",
    "02:00-03:00",
    "wed",
];
const CLOSINGS: [&[&str]; 3] = [
    &[],
    &["12-25", "2026-03-29", "02-29"],
    &["12-20..01-06", "12-19 12:00-24:00", "2026-10-25 02:00-02:30", "02-01..11-30 11:45-14:00"],
];

fn any_calendar() -> impl Strategy<Value = Calendar> {
    (0..ZONES.len(), 0..HOURS.len(), 0..CLOSINGS.len())
        .prop_map(|(zone, hours, closings)| calendar(ZONES[zone], HOURS[hours], CLOSINGS[closings]))
}

/// 2026 to 2028, half of them within two days of the clock changes of 2026 and of new year.
fn any_moment() -> impl Strategy<Value = Timestamp> {
    let near = [1_774_746_000, 1_792_890_000, 1_772_953_200, 1_791_043_200, 1_798_761_600_i64];
    let free = 1_767_225_600..1_830_000_000_i64;
    let close = (0..near.len(), -172_800..172_800_i64).prop_map(move |(which, by)| near[which] + by);
    (prop_oneof![free, close], 0..1_000_000_i64)
        .prop_map(|(second, us)| Timestamp::from_microsecond(second * 1_000_000 + us).unwrap())
}

/// What the wall clock shows, minute by minute: whether that is open.
fn minutes_open(calendar: &Calendar, from: Timestamp, minutes: u32) -> u32 {
    let is_open = |minute: u32| {
        let clock = calendar.zone.to_datetime(from + MINUTE * minute);
        let at = u16::from(clock.hour().unsigned_abs()) * 60 + u16::from(clock.minute().unsigned_abs());
        let is_closed = |closing: &Closing| {
            closing.is_on(clock.date()) && (closing.hours.0..closing.hours.1).contains(&at)
        };
        calendar.hours.contains(clock) && !calendar.closings.iter().any(is_closed)
    };
    (0..minutes).map(|minute| u32::from(is_open(minute))).sum()
}

proptest! {
    #[test]
    fn what_is_added_has_passed(calendar in any_calendar(), from in any_moment(), working_us in 0..400 * 3_600_000_000_u64) {
        let working = Duration::from_micros(working_us);
        let reached = calendar.add(from, working);
        if reached < from + HORIZON {
            prop_assert_eq!(calendar.working_between(from, reached), working);
        }
        prop_assert!(reached >= from);
    }

    #[test]
    fn later_begins_and_more_work_end_no_earlier(
        calendar in any_calendar(), from in any_moment(), later_us in 0..900_000_000_000_u64,
        working_us in 0..180_000_000_000_u64, more_us in 0..180_000_000_000_u64,
    ) {
        let (working, more) = (Duration::from_micros(working_us), Duration::from_micros(more_us));
        let reached = calendar.add(from, working);
        prop_assert!(calendar.add(from + Duration::from_micros(later_us), working) >= reached);
        prop_assert!(calendar.add(from, working + more) >= reached);
        // In two steps as in one, but for where a step ends with the day.
        let then = calendar.add(reached, more);
        prop_assert_eq!(calendar.working_between(from, then), working + more);
    }

    #[test]
    fn always_is_plain_addition(zone in 0..ZONES.len(), from in any_moment(), us in 0..2_000_000_000_000_u64) {
        let always = calendar(ZONES[zone], "always", &[]);
        let within = Duration::from_micros(us);
        prop_assert_eq!(always.add(from, within), from + within);
        prop_assert_eq!(always.working_between(from, from + within), within);
    }

    #[test]
    fn working_time_is_what_a_wall_clock_shows(calendar in any_calendar(), from in any_moment(), minutes in 0..4_000_u32) {
        // Whole minutes, since hours begin and end with them.
        let from = Timestamp::from_second(from.as_second() / 60 * 60).unwrap();
        let open = minutes_open(&calendar, from, minutes);
        prop_assert_eq!(calendar.working_between(from, from + MINUTE * minutes), MINUTE * open);
    }
}
