//! Whatever fails, and whenever the bridge dies.

use super::*;

/// The daemon's records of some tickets, in each ticket's order.
fn records(random: &mut fastrand::Rng, tickets: usize) -> Vec<VecDeque<(u64, delivery::Record)>> {
    let mut seq = 0;
    let mut next = || {
        seq += 1;
        seq
    };
    (0..tickets)
        .map(|n| {
            let name = format!("t{n}");
            let mut of_one = VecDeque::from([(next(), ticket(&name))]);
            for m in 0..random.usize(0..4) {
                let level = random.i32(1..=4);
                let record = match random.u32(0..4) {
                    0 => followed_up(&name, &format!("t{n}p{m}"), level),
                    1 => change(
                        &name,
                        Change::Rescored(update::Rescored { level, ..update::Rescored::default() }),
                    ),
                    2 => change(
                        &name,
                        Change::Answered(update::Answered {
                            url: format!("u{n}m{m}"),
                            ..update::Answered::default()
                        }),
                    ),
                    _ => followed_up(&name, &format!("t{n}p{m}"), 2),
                };
                of_one.push_back((next(), record));
            }
            if random.u32(0..4) == 0 {
                of_one.push_back((next(), change(&name, erased())));
            }
            of_one
        })
        .collect()
}

/// Delivers everything in any order that the daemon may choose, with faults and deaths, then without.
fn run(trial: &mut Trial, seed: u64) -> (Vec<VecDeque<(u64, delivery::Record)>>, u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    let all = records(&mut random, 8);
    let mut left = all.clone();
    trial.world.0.lock().random = Some(random.fork());
    let (mut turns, mut deaths) = (0, 0);
    while left.iter().any(|of_one| !of_one.is_empty()) {
        turns += 1;
        if turns > 120 {
            trial.world.0.lock().random = None;
        }
        assert!(turns < 5_000, "seed {seed}: it does not end");
        trial.world.0.lock().now_us += random.i64(0..2_000_000);
        let waiting: Vec<usize> = (0..left.len()).filter(|n| !left[*n].is_empty()).collect();
        let at = waiting[random.usize(0..waiting.len())];
        let (seq, record) = left[at][0].clone();
        let moments = match turns {
            // It dies once at least, whatever the seed.
            1 => 1,
            2..=120 if random.u32(0..3) == 0 => random.usize(1..10),
            _ => 10_000,
        };
        match trial.deliver(seq, &record, moments) {
            // Now and then the acknowledgement is lost with the bridge.
            Some(End::Ack) if turns <= 120 && random.u32(0..8) == 0 => {
                trial.restart();
                deaths += 1;
            }
            Some(End::Ack) => drop(left[at].pop_front()),
            Some(_) => {}
            None => deaths += 1,
        }
    }
    (all, deaths)
}

/// What must be there in the end, whatever happened.
fn check(trial: &Trial, all: &[VecDeque<(u64, delivery::Record)>], seed: u64) {
    let world = trial.world.0.lock();
    for (n, of_one) in all.iter().enumerate() {
        let reference = id(&format!("t{n}")).to_string();
        let there: Vec<&There> =
            world.tickets.values().filter(|there| there.reference == reference).collect();
        assert_eq!(there.len(), 1, "seed {seed}, ticket {n}: not once");
        let there = there[0];
        assert!(there.labelled, "seed {seed}, ticket {n}: not complete");
        let is_erased = of_one.iter().any(|(_, record)| {
            matches!(record, delivery::Record::Update(Update { change: Some(Change::Erased(_)), .. }))
        });
        let mut level = "P2".to_owned();
        for (_, record) in of_one {
            let delivery::Record::Update(update) = record else { continue };
            let about = About { reference: &reference, brand: "", language: Some(Language::En), level: None };
            let note = text(&TEXTS.update(&about, update), "note");
            let is_told = match &update.change {
                Some(Change::Rescored(rescored)) => rescored.unsupported,
                Some(Change::Erased(_)) | None => false,
                Some(_) => true,
            };
            if is_told && !is_erased {
                assert!(
                    there.notes.values().any(|there| *there == note),
                    "seed {seed}, ticket {n}: {note:?} is lost"
                );
            }
            match &update.change {
                Some(Change::FollowedUp(followed)) => level = followed.level().as_str_name().to_owned(),
                Some(Change::Rescored(rescored)) => level = rescored.level().as_str_name().to_owned(),
                _ => {}
            }
        }
        assert_eq!(there.level, level, "seed {seed}, ticket {n}");
        if is_erased {
            assert!(!there.body.contains("secret"), "seed {seed}, ticket {n}: {}", there.body);
            let kept = there.notes.iter().filter(|(number, _)| !world.lost_notes.contains(number));
            let secrets = kept.filter(|(_, note)| note.contains("secret")).count();
            assert_eq!(secrets, 0, "seed {seed}, ticket {n}: notes still hold the text");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_and_whenever_it_dies_each_ticket_is_there_once(seed: u64, lag_s in 0..6_i64) {
        // Refusals for good let agents do without some change; they are tried apart.
        let mut trial = Trial::new(World { lag_us: lag_s * 1_000_000, ..World::default() });
        let (all, deaths) = run(&mut trial, seed);
        check(&trial, &all, seed);
        prop_assert!(deaths > 0);
    }

    #[test]
    fn without_a_search_the_policy_holds_and_the_rest_is_counted(seed: u64, leave: bool) {
        let mut trial = Trial::new(World { cannot_find: true, ..World::default() });
        trial.when_unknown = if leave { WhenUnknown::Leave } else { WhenUnknown::Again };
        trial.restart();
        let (all, _) = run(&mut trial, seed);
        let unknown = trial.counts.unknown + trial.counts().unknown;
        let world = trial.world.0.lock();
        let mut missing = 0;
        for n in 0..all.len() {
            let reference = id(&format!("t{n}")).to_string();
            let times = world.tickets.values().filter(|there| there.reference == reference).count();
            prop_assert!(!(leave && times > 1), "ticket {} is there {} times", n, times);
            prop_assert!(leave || times >= 1, "ticket {} is lost", n);
            missing += u64::from(times == 0);
        }
        prop_assert!(missing <= unknown, "{missing} missing, {unknown} counted");
    }
}
