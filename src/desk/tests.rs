use jiff::Timestamp;

use super::*;
use crate::classify::{INTENTS, Language, Verdict};
use crate::parse::Network;
use crate::prefilter::Candidate;
use crate::ticket::TicketId;

mod conversations;

const PROBLEM: Verdict = Verdict {
    sentiment: [1.0, 0.0, 0.0],
    intent: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    urgency: [0.0, 1.0, 0.0],
    language: Language::UNCLEAR,
};

fn other(probability: f32) -> Verdict {
    let mut verdict = PROBLEM;
    verdict.intent = [0.0, 1.0 - probability, 0.0, 0.0, 0.0, 0.0, 0.0, probability];
    verdict
}

/// A candidate as the prefilter makes it from a plain post.
fn candidate(id: &str, text: &str) -> Candidate {
    let json = serde_json::json!({ "id": id, "author": format!("author of {id}"), "text": text }).to_string();
    let mut frame = json.into_bytes();
    let mut parser = crate::parse::Parser::new(crate::parse::Format::Plain);
    let crate::parse::Frame::Post(post) = parser.parse(&mut frame).unwrap().frame else { panic!("no post") };
    Candidate { brand: "Lumio".into(), ..Candidate::in_thread(post.into_owned()) }
}

fn decide(desk: &mut Desk, candidate: &Candidate, verdict: &Verdict) -> Decision {
    let opinion = Opinion { model: "model 1", provisional: false };
    desk.decide(&Config::default(), candidate, verdict, opinion, &mut Strangers, Timestamp::UNIX_EPOCH)
        .unwrap()
}

fn is_ticket(decision: &Decision) -> bool {
    matches!(decision, Decision::Ticket(_))
}

/// Everything goes to one team.
fn to_support() -> Config {
    let routes = Routes { default_team: Some("support".to_owned()), ..Routes::default() };
    Config { routes, ..Config::default() }
}

fn of_support(name: &str, capacity: u32) -> agent::Agent {
    let (name, team) = (name.to_owned(), "support".to_owned());
    agent::Agent { name, team, capacity, ..agent::Agent::default() }
}

#[test]
fn a_ticket_says_whose_it_is_and_that_changes_when_they_leave() {
    let mut desk = Desk::default();
    let config = to_support();
    let agent = |name: &str| of_support(name, 1000);
    desk.set_agents(&[agent("lena")]);
    let count = ORPHANS_MAX + 1;
    for n in 0..count {
        let opinion = Opinion { model: "model 1", provisional: false };
        let (candidate, now) = (candidate(&n.to_string(), "panne"), Timestamp::UNIX_EPOCH);
        let decided = desk.decide(&config, &candidate, &PROBLEM, opinion, &mut Strangers, now);
        let Decision::Ticket(ticket) = decided.unwrap() else { panic!() };
        assert_eq!(ticket.route, "support");
        assert_eq!(ticket.assignment.unwrap().agent, "lena");
    }
    assert_eq!(desk.assign_anew(&config, Timestamp::UNIX_EPOCH), []);
    desk.set_agents(&[agent("kim")]);
    let mut anew = desk.assign_anew(&config, Timestamp::UNIX_EPOCH);
    assert_eq!(anew.len(), ORPHANS_MAX);
    anew.extend(desk.assign_anew(&config, Timestamp::UNIX_EPOCH));
    assert_eq!(anew.len(), count);
    assert!(
        anew.iter().all(|anew| anew.assignment.as_ref().is_some_and(|assignment| assignment.agent == "kim"))
    );
    assert_eq!(desk.assign_anew(&config, Timestamp::UNIX_EPOCH), []);
}

#[test]
fn who_answers_on_the_network_is_met_again_and_has_the_ticket_still() {
    let mut desk = Desk::default();
    let config = to_support();
    let agent = |name: &str| of_support(name, 10);
    desk.set_agents(&[agent("kim"), agent("lena")]);
    let by = |id: &str, author: &str, brand: &str, reply_to: Option<&str>| {
        let mut candidate = candidate(id, "panne");
        candidate.brand = brand.into();
        candidate.post.author.id = author.to_owned().into();
        candidate.post.reply_to = reply_to.map(|post| post.to_owned().into());
        candidate
    };
    let opinion = Opinion { model: "model 1", provisional: false };
    let agent_of = |desk: &mut Desk, candidate: &Candidate| {
        let now = Timestamp::UNIX_EPOCH;
        match desk.decide(&config, candidate, &PROBLEM, opinion, &mut Strangers, now).unwrap() {
            Decision::Ticket(ticket) => ticket.assignment.unwrap().agent,
            decision => panic!("{decision:?}"),
        }
    };
    assert_eq!(agent_of(&mut desk, &by("1", "ana", "Lumio", None)), "kim");
    assert_eq!(agent_of(&mut desk, &by("2", "bob", "Lumio", None)), "lena");
    let answer = by("3", "lumio", "", Some("1")).post;
    let ticket = TicketId::of_post(Network::Plain, "1");
    assert_eq!(desk.answers(&answer, Timestamp::UNIX_EPOCH), Some(ticket));
    assert_eq!(agent_of(&mut desk, &by("4", "cem", "Lumio", None)), "kim", "their turn, by load");
    // Of another brand, so that it joins nothing: lena has less to do.
    assert_eq!(agent_of(&mut desk, &by("5", "ana", "Nimbus", None)), "kim", "has answered ana");
    let open: Vec<_> = desk.router.agents().map(|(agent, open)| (agent.name.clone(), open)).collect();
    assert_eq!(open, [("kim".to_owned(), 3), ("lena".to_owned(), 1)], "an answer closes nothing");
}

#[test]
fn a_post_makes_one_ticket_however_often_it_comes() {
    let mut desk = Desk::default();
    assert!(is_ticket(&decide(&mut desk, &candidate("1", "panne"), &PROBLEM)));
    assert_eq!(decide(&mut desk, &candidate("1", "panne"), &PROBLEM), Decision::Duplicate);
    assert_eq!(decide(&mut desk, &candidate("1", "panne "), &PROBLEM), Decision::Duplicate);
    assert!(is_ticket(&decide(&mut desk, &candidate("2", "panne"), &PROBLEM)));
}

#[test]
fn only_a_frame_that_says_so_is_an_edit() {
    let mut desk = Desk::default();
    decide(&mut desk, &candidate("1", "panne"), &PROBLEM);
    let mut edited = candidate("1", "panne depuis lundi");
    edited.post.edited = true;
    assert!(matches!(decide(&mut desk, &edited, &PROBLEM), Decision::Edited(..)));
    assert_eq!(decide(&mut desk, &edited, &PROBLEM), Decision::Duplicate, "the same edit again");
}

#[test]
fn what_an_edit_says_is_read_unless_nobody_waits_by_it() {
    let opinion = Opinion { model: "model 1", provisional: false };
    let config = Config::default();
    let amended = |text: &str, verdict: &Verdict| {
        let mut desk = Desk::default();
        decide(&mut desk, &candidate("1", "lumio, mon colis est en retard"), &PROBLEM);
        let mut edited = Candidate { addressed: false, ..candidate("1", text) };
        edited.post.edited = true;
        let now = Timestamp::UNIX_EPOCH;
        match desk.decide(&config, &edited, verdict, opinion, &mut Strangers, now).unwrap() {
            Decision::Edited(id, amended) if id == TicketId::of_post(Network::Plain, "1") => amended,
            decision => panic!("{decision:?}"),
        }
    };
    let fire = amended("la batterie de mon colis a pris feu, ma main est brûlée", &PROBLEM).unwrap();
    assert!(fire.factors.iter().any(|factor| priority::is_floor(&factor.name)), "{fire:?}");
    assert_eq!((fire.verdict.model.as_str(), &fire.terms), ("model 1", &config.terms("Lumio")));
    let intent = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let thanks = Verdict { sentiment: [0.0, 0.0, 1.0], intent, ..PROBLEM };
    assert_eq!(amended("merci beaucoup, ça remarche", &thanks), None);
    // Who waits has named us before, and whose danger it is: the model is not asked whether that is a customer message.
    let calm = amended("elle a pris feu", &other(0.7)).unwrap();
    assert!(calm.factors.iter().any(|factor| priority::is_floor(&factor.name)), "{calm:?}");
}

#[test]
fn an_edit_that_names_nobody_is_read_by_its_tickets_points_and_opens_nothing() {
    let mut desk = Desk::default();
    decide(&mut desk, &candidate("1", "panne"), &PROBLEM);
    let edited = |id: &str| {
        let mut edited = candidate(id, "elle a pris feu");
        edited.post.edited = true;
        Candidate { brand: "".into(), ..edited }
    };
    let Decision::Edited(_, Some(amended)) = decide(&mut desk, &edited("1"), &PROBLEM) else { panic!() };
    assert_eq!(amended.terms, Config::default().terms("Lumio"));
    // What was nobody's when it was said stays so, though it stands in the thread.
    let mut beside = edited("2");
    beside.post.reply_to = Some("1".into());
    beside.post.author.id = "author of 1".into();
    assert_eq!(decide(&mut desk, &beside, &PROBLEM), Decision::Unmatched);
    // The ledger may know what the desk has forgotten.
    desk.known.complete = false;
    let Decision::Edited(_, None) = decide(&mut desk, &edited("3"), &PROBLEM) else { panic!() };
}

/// By that of its ticket, as the post itself was.
#[test]
fn an_edit_of_what_has_joined_a_ticket_is_read_by_that_tickets_points() {
    let mut config = Config::default();
    let mut own = BrandPriority { factors: config.factors.clone(), levels: config.levels };
    own.levels.p1_min = 999;
    config.brands.insert("Lumio".to_owned(), own);
    let mut desk = Desk::default();
    let mut decide = |candidate: &Candidate| {
        let opinion = Opinion { model: "model 1", provisional: false };
        desk.decide(&config, candidate, &PROBLEM, opinion, &mut Strangers, Timestamp::UNIX_EPOCH).unwrap()
    };
    decide(&candidate("1", "panne"));
    let answer = |text: &str, edited: bool| {
        let mut answer = candidate("2", text);
        answer.post.author.id = "author of 1".into();
        answer.post.reply_to = Some("1".into());
        answer.post.edited = edited;
        Candidate { brand: "".into(), ..answer }
    };
    assert!(matches!(decide(&answer("toujours rien", false)), Decision::Joined(_)));
    let Decision::Edited(_, Some(amended)) = decide(&answer("toujours rien, je pars", true)) else {
        panic!()
    };
    assert_eq!(amended.terms.levels.p1_min, 999);
}

#[test]
fn a_remembered_ticket_is_known_after_a_restart() {
    let mut desk = Desk::default();
    let id = TicketId::of_post(Network::Plain, "1");
    assert!(!desk.may_know(id));
    desk.remember(id, text_hash("panne"));
    assert!(desk.may_know(id));
    assert_eq!(decide(&mut desk, &candidate("1", "panne"), &PROBLEM), Decision::Duplicate);
}

#[test]
fn a_ticket_older_than_the_desk_remembers_may_still_exist() {
    let mut desk = Desk::default();
    let id = |post: usize| TicketId::of_post(Network::Plain, &post.to_string());
    (0..=KNOWN_TICKETS_MAX).for_each(|post| desk.remember(id(post), 0));
    assert!(!desk.known.texts.contains_key(&id(0)));
    assert!(desk.may_know(id(0)), "the ledger must be asked before its text is left alone");
    assert!(desk.edits(id(0), "panne"));
}

#[test]
fn what_touches_a_sensitive_topic_is_never_given_up() {
    let mut desk = Desk::default();
    let fire = candidate("1", "ma box a pris feu, incendie dans le salon");
    assert!(is_ticket(&decide(&mut desk, &fire, &other(1.0))));
    let calm = candidate("2", "ma box clignote");
    assert_eq!(decide(&mut desk, &calm, &other(1.0)), Decision::Unsupported);
    // Nor when the full model reads a ticket again that the small one has let through.
    let config = Config::default();
    let ticket = config.ticket(&fire, &PROBLEM, &Person::default(), "small 1", Timestamp::UNIX_EPOCH);
    let rescored = config.rescored(&ticket, &other(1.0), "full 1").unwrap();
    assert!(!rescored.unsupported);
}

#[test]
fn the_model_must_be_surer_to_refuse_a_post_that_speaks_to_us() {
    let config = Config::default();
    let addressed = false;
    assert!(!config.is_unsupported(addressed, &other(0.59)));
    assert!(config.is_unsupported(addressed, &other(0.6)));
    let addressed = true;
    assert!(!config.is_unsupported(addressed, &other(0.89)));
    assert!(config.is_unsupported(addressed, &other(0.9)));
}

#[test]
fn a_post_in_another_language_is_refused_only_where_the_model_is_almost_certain() {
    let config = Config::default();
    let check = |probability: f32, addressed: bool, doubted: f32, is_refused: bool| {
        let verdict = other(probability).doubted();
        let found = verdict.intent[INTENTS.len() - 1];
        assert!((found - doubted).abs() < 1e-6, "{probability} becomes {found}");
        assert_eq!(config.is_unsupported(addressed, &verdict), is_refused, "of {probability}");
    };
    check(0.60, false, 0.410, false);
    check(0.91, false, 0.596, false);
    check(0.92, false, 0.602, true);
    check(1.00, false, 0.650, true);
    check(1.00, true, 0.650, false);
}

#[test]
fn an_unsupported_post_is_not_remembered_so_that_an_edit_may_make_it_a_ticket() {
    let mut desk = Desk::default();
    assert_eq!(decide(&mut desk, &candidate("1", "lumio"), &other(1.0)), Decision::Unsupported);
    assert!(is_ticket(&decide(&mut desk, &candidate("1", "lumio est en panne"), &PROBLEM)));
}

#[test]
fn a_provisional_verdict_gives_no_post_up() {
    let opinion = Opinion { model: "small 1", provisional: true };
    let (config, now) = (Config::default(), Timestamp::UNIX_EPOCH);
    let mut desk = Desk::default();
    let lumio = candidate("1", "lumio");
    let decided = desk.decide(&config, &lumio, &other(1.0), opinion, &mut Strangers, now);
    assert!(is_ticket(&decided.unwrap()));
    assert_eq!(decide(&mut desk, &candidate("2", "lumio"), &other(1.0)), Decision::Unsupported);
}

#[test]
fn scoring_again_tells_only_of_what_matters() {
    let config = Config::default();
    let candidate = Candidate { addressed: true, hits: vec!["@lumio".into()], ..candidate("1", "panne") };
    let ticket = config.ticket(&candidate, &PROBLEM, &Person::default(), "small 1", Timestamp::UNIX_EPOCH);
    let rescored = |verdict: &Verdict| config.rescored(&ticket, verdict, "full 1");

    let mut surer = PROBLEM;
    surer.sentiment = [PROBLEM.sentiment[0] - 0.01, PROBLEM.sentiment[1] + 0.01, PROBLEM.sentiment[2]];
    assert_eq!(rescored(&surer), None, "the same classes and the same level");

    let mut urgent = PROBLEM;
    urgent.urgency = [0.0, 0.0, 1.0];
    let change = rescored(&urgent).expect("another class and level");
    let afresh = config.ticket(&candidate, &urgent, &Person::default(), "full 1", Timestamp::UNIX_EPOCH);
    assert_eq!((change.priority, change.level), (afresh.priority, afresh.level));
    assert_eq!((change.factors, change.verdict), (afresh.factors, afresh.verdict), "as if asked first");
    assert!(!change.unsupported);

    assert!(!rescored(&other(0.89)).expect("another class").unsupported);
    assert!(rescored(&other(0.9)).expect("no message").unsupported, "surer, as it names our handle");
}

/// The small model had read it; then its author was forgotten.
#[test]
fn scoring_again_keeps_the_points_of_what_is_forgotten() {
    let mut config = Config::default();
    let when = when::When { answers: vec![(when::Question::Addressed, true)], ..when::When::default() };
    config.factors.combinations = vec![priority::Combination::new("to us".into(), when, 60)];
    config.factors.caps = config.factors.caps.with(priority::Group::Combinations, 50);
    let candidate = Candidate { addressed: true, hits: vec!["@lumio".into()], ..candidate("1", "panne") };
    let mut ticket =
        config.ticket(&candidate, &other(0.5), &Person::default(), "small 1", Timestamp::UNIX_EPOCH);
    priority::forget(&mut ticket.factors);
    let points = |factors: &[crate::ticket::proto::Factor]| {
        let theirs = factors.iter().filter(|factor| ["forgotten", "to us"].contains(&factor.name.as_str()));
        theirs.map(|factor| (factor.name.clone(), factor.points)).collect::<Vec<_>>()
    };
    let expected = [("forgotten".to_owned(), 50)];
    assert_eq!(points(&ticket.factors), expected);
    let mut urgent = PROBLEM;
    urgent.urgency = [0.0, 0.0, 1.0];
    let change = config.rescored(&ticket, &urgent, "full 1").expect("another class");
    assert_eq!(points(&change.factors), expected);
}

#[test]
fn a_ticket_says_which_model_read_it_and_in_what_language() {
    let french = Verdict { language: Language::from_code("fr").unwrap(), ..PROBLEM };
    let check = |verdict: &Verdict, language: &str| {
        let ticket = Config::default().ticket(
            &candidate("1", "panne"),
            verdict,
            &Person::default(),
            "model 1",
            Timestamp::UNIX_EPOCH,
        );
        let verdict = ticket.verdict.unwrap();
        assert_eq!((verdict.model.as_str(), verdict.language.as_str()), ("model 1", language));
    };
    check(&french, "fr");
    check(&PROBLEM, "und");
}

#[test]
fn a_ticket_is_due_when_its_network_expects_an_answer() {
    let config = Config::default();
    let check = |network: Network, hours: i64| {
        let mut candidate = candidate("1", "panne");
        candidate.post.network = network;
        let now = Timestamp::from_second(1_000_000).unwrap();
        let ticket = config.ticket(&candidate, &PROBLEM, &Person::default(), "model 1", now);
        assert_eq!(ticket.due_at_us - ticket.created_at_us, hours * 3_600_000_000, "{network}");
        assert_eq!(ticket.at_risk_at_us - ticket.created_at_us, hours * 2_700_000_000, "{network}");
    };
    check(Network::X, 2);
    check(Network::Bluesky, 2);
    check(Network::Mastodon, 2);
    check(Network::Facebook, 8);
}

#[test]
fn an_expectation_may_ask_for_the_priority_that_the_post_has() {
    let mut config = Config::default();
    let now = Timestamp::from_second(1_000_000).unwrap();
    let candidate = candidate("1", "panne");
    let ticket = |config: &Config| config.ticket(&candidate, &PROBLEM, &Person::default(), "model 1", now);
    let priority = i64::from(ticket(&config).priority);
    assert!(priority > 0);
    let urgent = |range| When { ranges: vec![(when::Quantity::Priority, range)], ..When::default() };
    let hour = expectation::Expectation::always(std::time::Duration::from_secs(3600));
    config.expectations.rules = vec![(urgent(priority..=priority), hour.clone())];
    assert_eq!(ticket(&config).due_at_us, now.as_microsecond() + 3_600_000_000);
    config.expectations.rules = vec![(urgent(0..=priority - 1), hour)];
    assert_eq!(ticket(&config).due_at_us, now.as_microsecond() + 7_200_000_000);
    config.expectations.overdue_updates = false;
    assert_eq!(ticket(&config).at_risk_at_us, 0, "nobody is told");
}
