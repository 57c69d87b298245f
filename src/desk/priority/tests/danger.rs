//! Whoever is in danger comes first, in an order; and words alone make no danger.

use super::*;
use crate::desk::follow_up::followed_up;

/// What the default config makes of this text.
fn ticket(text: &str, verdict: &Verdict, person: &Person, is_addressed: bool) -> proto::Ticket {
    let candidate = candidate(|candidate| {
        candidate.post.text = text.to_owned().into();
        candidate.addressed = is_addressed;
        candidate.post.author.followers = Some(1_000_000);
        candidate.post.seen_at = Some(at(0));
    });
    let ticket = Config::default().ticket(&candidate, verdict, person, "model 1", at(10 * 3600));
    let sum: i32 = ticket.factors.iter().map(|factor| factor.points).sum();
    assert_eq!(u32::try_from(sum), Ok(ticket.priority), "{text:?}: the reasons add up");
    ticket
}

fn is_in_danger(ticket: &proto::Ticket) -> bool {
    ticket.factors.iter().any(|factor| is_floor(&factor.name))
}

/// Of whom everything is known that gives points.
fn best_customer(contacts: usize) -> Person {
    let now = 10 * 3600;
    let touchpoint = Touchpoint { at: at(now - 3600), channel: "phone".into(), note: String::new() };
    let purchase =
        person::Purchase { at: at(now - 3600), date: None, what: "lines".into(), amount: Some(9_000.0) };
    Person {
        touchpoints: vec![touchpoint; contacts],
        ..customer(|customer| {
            customer.value = Some(100_000.0);
            customer.purchases = vec![purchase];
        })
    }
}

#[test]
fn danger_that_is_said_calmly_goes_before_the_worst_outage_of_the_best_customer() {
    let nobody = Person::default();
    let calm = Verdict { sentiment: [0.0, 0.5, 0.5], ..CALM };
    let danger = ticket("j'ai envie de mourir", &calm, &nobody, false);
    let outage = ticket("all lines are down", &GRAVE, &best_customer(9), true);
    let further: Vec<_> = outage.factors.iter().filter(|factor| factor.name == "urgency").cloned().collect();
    let (outage, level) = followed_up(&outage.factors, &further, 9, &Config::default().terms("Lumio"));
    assert!((900..1000).contains(&danger.priority), "{danger:?}");
    assert!((750..900).contains(&outage.priority), "{outage:?}");
    assert_eq!((danger.level(), level), (proto::Level::P1, proto::Level::P1));
}

#[test]
fn those_in_danger_are_in_an_order_and_so_are_outages() {
    let nobody = Person::default();
    let part = |grave: f32| Verdict {
        sentiment: [grave, 1.0 - grave, 0.0],
        urgency: [1.0 - grave, 0.0, grave],
        ..CALM
    };
    let fire = |grave, is_addressed| ticket("it caught fire", &part(grave), &nobody, is_addressed).priority;
    let five = [fire(1.0, true), fire(0.8, true), fire(0.5, true), fire(0.2, true), fire(0.0, false)];
    assert!(five.is_sorted_by(|one, next| one > next) && five[0] <= 1000 && five[4] >= 900, "{five:?}");
    let outage = |contacts| ticket("all lines are down", &GRAVE, &best_customer(contacts), true).priority;
    let outages = [outage(3), outage(1), outage(0)];
    assert!(outages.is_sorted_by(|one, next| one > next) && outages[0] < 900, "{outages:?}");
}

#[test]
fn who_has_called_counts_beside_who_they_are() {
    let priority = |contacts| ticket("where is it", &CALM, &best_customer(contacts), true).priority;
    assert_eq!(priority(2) - priority(0), 80, "whatever else is known of them");
}

#[test]
fn happy_posts_are_in_no_danger_and_whoever_wants_to_die_always_is() {
    let nobody = Person::default();
    let happy = Verdict { sentiment: [0.0, 0.2, 0.8], ..CALM };
    let thanks = ticket("my son caught fire, the crew was awesome", &happy, &nobody, true);
    assert!(thanks.priority < 600 && !is_in_danger(&thanks), "{thanks:?}");
    let said = |ticket: &proto::Ticket| {
        let factor = ticket.factors.iter().find(|factor| factor.name == "sensitive").unwrap();
        (factor.points, factor.evidence.clone())
    };
    assert_eq!(said(&thanks), (178, "safety: caught fire; counts less: positive 0.80".to_owned()));
    let doubtful = Verdict { sentiment: [0.0, 0.5, 0.5], ..CALM };
    assert!(is_in_danger(&ticket("it caught fire", &doubtful, &nobody, true)));
    let smiling = ticket("i want to die", &happy, &nobody, true);
    assert!(is_in_danger(&smiling), "{smiling:?}");
    assert_eq!(said(&smiling), (800, "selfharm: want to die".to_owned()));
}

#[test]
fn noise_that_is_not_addressed_is_kept_and_little_else() {
    let nobody = Person::default();
    let noise = Verdict { intent: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.7], ..CALM };
    let points = |ticket: &proto::Ticket| {
        ticket.factors.iter().find(|factor| factor.name == "sensitive").map(|factor| factor.points)
    };
    let overheard = ticket("the barn caught fire", &noise, &nobody, false);
    assert_eq!((points(&overheard), is_in_danger(&overheard)), (Some(120), false), "{overheard:?}");
    let told = ticket("the barn caught fire", &noise, &nobody, true);
    assert_eq!((points(&told), is_in_danger(&told)), (Some(800), true), "{told:?}");
    let dying = ticket("those who want to die", &noise, &nobody, false);
    assert_eq!((points(&dying), is_in_danger(&dying)), (Some(800), false), "{dying:?}");
    assert_eq!(dying.level(), proto::Level::P1);
    // Of a danger of one's own the model is not asked: it knows too little of a few words.
    for near in
        ["my barn caught fire", "smell of gas in the kitchen", "odeur de gaz chez nous", "i want to die"]
    {
        let near = ticket(near, &noise, &nobody, false);
        assert_eq!((points(&near), is_in_danger(&near)), (Some(800), true), "{near:?}");
    }
    // Unless it is half a joke.
    let amused = Verdict { sentiment: [0.0, 0.6, 0.4], ..noise };
    assert!(!is_in_danger(&ticket("my cat caught fire", &amused, &nobody, false)));
    assert!(is_in_danger(&ticket("i want to die", &amused, &nobody, false)));
    // A surer model may take it for a message, or no longer.
    let config = Config::default();
    let again = config.rescored(&overheard, &GRAVE, "model 2").unwrap();
    assert!(again.priority > 900, "{again:?}");
    let again =
        config.rescored(&ticket("it caught fire", &GRAVE, &nobody, false), &noise, "model 2").unwrap();
    assert!(again.priority < 600, "{again:?}");
}

#[test]
fn who_was_in_danger_stays_so_whatever_they_write_next() {
    let nobody = Person::default();
    let terms = Config::default().terms("Lumio");
    let fire = ticket("it caught fire", &CALM, &nobody, true);
    let calm = ticket("still waiting", &GRAVE, &nobody, true);
    let after =
        |first: &proto::Ticket, next: &proto::Ticket| followed_up(&first.factors, &next.factors, 1, &terms).0;
    assert!(after(&fire, &calm).priority > u16::try_from(fire.priority).unwrap());
    assert_eq!(after(&fire, &calm).priority, after(&calm, &fire).priority);
    let sum: i32 = after(&fire, &calm).factors.iter().map(|factor| factor.points).sum();
    assert_eq!(sum, i32::from(after(&fire, &calm).priority));
}

#[test]
fn a_higher_floor_goes_before_a_lower_one() {
    let floors = Floors::new([("safety".to_owned(), 800), ("selfharm".to_owned(), 900)]);
    let factors = Factors { floors, ..Factors::default() };
    let priority = |topics: &[&str]| {
        let topics: Vec<_> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (candidate, person) = (candidate(|c| c.addressed = true), best_customer(9));
        factors
            .score(&Facts { sensitive: &topics, ..Facts::new(&candidate, &GRAVE, &person, at(36_000)) })
            .priority
    };
    let (none, safety, both) = (priority(&[]), priority(&["safety"]), priority(&["safety", "selfharm"]));
    assert!(
        (650..800).contains(&none) && (801..900).contains(&safety) && both > 900,
        "{none} {safety} {both}"
    );
}
