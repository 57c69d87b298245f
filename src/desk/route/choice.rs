//! Which agent of a team gets a ticket.
//!
//! Eligible is who is not away, is within their shift, has fewer tickets open than their capacity, has every skill
//! that the rule wants, and speaks the ticket's language; that last only where somebody who is otherwise eligible
//! does. An agent of whom no language is known may speak any.
//!
//! Of the eligible the ticket goes to
//!
//! 1. whoever has been passed over for too long: [`PATIENCE_PER_AGENT`] times as often in a row as the team has
//!    agents, and of several the one passed over most often;
//! 2. whoever answered this person before;
//! 3. where the ticket is worth it, the best-rated, among those whose load is not more than [`LOAD_AHEAD_MAX`] above
//!    the least loaded's;
//! 4. whoever has most points. Equals take turns: the least recently given first, then by name.
//!
//! Nobody starves. *Passed over* is an agent who is eligible for a ticket that another of the team gets; whoever gets a
//! ticket begins again at 0. Let the team have at most N agents at any time and let P be its greatest patience, 3 N.
//! Then nobody is passed over more than P + N - 2 times in a row, so that an agent gets at least one of any 4 N - 2
//! tickets in a row for which they are eligible (of any one, where they are alone), whatever else comes: Let f(j) be
//! how many agents have been passed over at least P + j times; f(j) ≤ N - 1 - j at all times, hence f(N - 1) = 0.
//! For f grows only where agents are passed over, and the one who gets that ticket is then at 0, so f(0) ≤ N - 1. And
//! who is passed over for the time P + j, j > 0, was eligible with P + j - 1 ≥ P: the ticket went by rule 1 to somebody
//! at P + j - 1 or more. Those at P + j or more afterwards were among the at most N - j at P + j - 1 or more before,
//! less that one. Who comes begins at 0 and who leaves makes f smaller.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::memory;
use super::person_key;
use super::rules::{AgentChoice, Routes, Target};
use crate::access::brands::is_same;
use crate::classify::{INTENTS, best};
use crate::desk::agent::Agent;
use crate::desk::when::Facts;

/// Times the team's agents: how often in a row an agent may be passed over before it is their turn.
///
/// Taking turns alone would be 1; three leave points, ratings and acquaintance room to decide most tickets.
pub(super) const PATIENCE_PER_AGENT: u32 = 3;

/// By how much of their capacity the best-rated may be fuller than the least loaded and still be given more.
pub(super) const LOAD_AHEAD_MAX: f64 = 0.5;

/// How often in a row an eligible agent can be passed over at most, in a team that never has more agents than this.
pub fn passed_over_max(agents: u32) -> u32 {
    (PATIENCE_PER_AGENT * agents + agents).saturating_sub(2)
}

/// Satisfaction of an agent of whom none is known: the middle of the scale.
const SATISFACTION_UNKNOWN: f64 = 3.0;

/// A language's primary subtag, compact: tickets are kept by the hundred thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tongue([u8; 3]);

impl Tongue {
    /// `None` for what names no language: empty, `und`, longer than any tag in use.
    pub(super) fn new(tag: &str) -> Option<Tongue> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        let mut letters = [0; 3];
        letters.get_mut(..primary.len())?.copy_from_slice(primary.as_bytes());
        letters.make_ascii_lowercase();
        (!primary.is_empty() && letters != *b"und").then_some(Tongue(letters))
    }

    pub(super) fn tag(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default().trim_end_matches('\0')
    }
}

/// What a ticket wants of its agent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Want {
    pub(super) team: Arc<str>,
    pub(super) skills: Option<Arc<[String]>>,
    pub(super) choice: AgentChoice,
    /// The customer's, and that of the text.
    pub(super) tongues: [Option<Tongue>; 2],
    /// Why the best-rated should have it.
    pub(super) worth_it: Option<Worth>,
    /// Hash of whom the ticket is from; 0 if that is not known.
    pub(super) person: u64,
    /// The ticket's, `0..=1000`.
    pub(super) priority: u16,
    /// Whether all this is known: else the rest says nothing, and the ticket may be a supplier's.
    pub(super) is_known: bool,
    /// Hashes of the words that an agent's skill may be about: brand, intent, topics.
    pub(super) about: Vec<u64>,
}

/// Why a ticket is worth the best-rated agent's time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Worth {
    Negative(f32),
    Priority(u16),
    Value(f64),
    Rule,
    /// It was when it was made, in an earlier run.
    Before,
}

impl Want {
    /// What the ticket wants, and why it goes where it goes.
    pub(super) fn of(routes: &Routes, target: &Target<'_>, facts: &Facts<'_>) -> (String, Want) {
        let best_rated = &routes.best_rated;
        let customer = facts.person.customer.as_deref();
        let [negative, ..] = facts.verdict.sentiment;
        let value = customer.and_then(|customer| customer.value);
        let worth_it = match (best_rated.value_min, value) {
            _ if target.agent == AgentChoice::Best => Some(Worth::Rule),
            _ if negative >= best_rated.negative_min => Some(Worth::Negative(negative)),
            _ if facts.priority >= best_rated.priority_min => Some(Worth::Priority(facts.priority)),
            (Some(least), Some(value)) if value >= least => Some(Worth::Value(value)),
            _ => None,
        };
        let of_text = match facts.verdict.language.code() {
            "und" => facts.candidate.post.language.as_deref().unwrap_or_default(),
            code => code,
        };
        let of_customer = customer.map_or("", |customer| customer.language.as_str());
        let intent = INTENTS.get(best(&facts.verdict.intent)).copied().unwrap_or_default();
        let words =
            [&*facts.candidate.brand, intent].into_iter().chain(facts.sensitive.iter().map(String::as_str));
        let topics = facts.candidate.hits.iter().map(String::as_str);
        let topics = topics.chain(facts.candidate.post.hashtags.iter().map(|tag| &**tag));
        let topics = topics.chain(facts.said.iter().map(|word| &**word));
        let about = words.chain(topics).take(ABOUT_MAX).map(word_hash).collect();
        let want = Want {
            team: target.team.clone(),
            skills: target.skills.clone(),
            // What a supplier has is no agent's, later either.
            choice: if target.supplier.is_some() { AgentChoice::None } else { target.agent },
            tongues: [Tongue::new(of_customer), Tongue::new(of_text)],
            worth_it,
            person: memory::hash(&person_key(facts)),
            priority: facts.priority,
            is_known: true,
            about,
        };
        (target.why.clone(), want)
    }

    /// All that is known of a ticket that somebody else has routed.
    pub(super) fn only(team: &str) -> Want {
        Want {
            team: Arc::from(team),
            skills: None,
            choice: AgentChoice::Any,
            tongues: [None, None],
            worth_it: None,
            person: 0,
            priority: 0,
            is_known: false,
            about: Vec::new(),
        }
    }

    /// As it is kept while the ticket is open: whoever takes over is found by the rest.
    pub(super) fn without_words(&self) -> Want {
        Want { about: Vec::new(), ..self.clone() }
    }

    /// Whether whoever suits the one suits the other: a new reason for the best-rated is none to move a ticket.
    pub(super) fn is_as(&self, other: &Want) -> bool {
        is_same(&self.team, &other.team)
            && self.skills == other.skills
            && self.choice == other.choice
            && self.worth_it.is_some() == other.worth_it.is_some()
    }

    /// The same of another team.
    pub(super) fn of_team(self, team: &str) -> Want {
        Want { team: Arc::from(team), ..self }
    }

    pub(super) fn alike(&self) -> Alike {
        (self.team.clone(), self.skills.clone())
    }

    pub(super) fn skills(&self) -> &[String] {
        self.skills.as_deref().unwrap_or_default()
    }
}

/// Of which team and with what skills: where nobody of that kind has room for one ticket, there is nobody for another.
pub(super) type Alike = (Arc<str>, Option<Arc<[String]>>);

/// Words of a ticket that skills are compared with, at most.
const ABOUT_MAX: usize = 16;

/// Case and a leading `#` or `@` make no difference.
fn word_hash(word: &str) -> u64 {
    memory::hash(&word.trim_start_matches(['#', '@']).to_lowercase())
}

/// An agent with what the router keeps of them.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) agent: Agent,
    pub(super) name: Arc<str>,
    /// In lower case.
    pub(super) team: String,
    tongues: Vec<Tongue>,
    skill_hashes: Vec<u64>,
    zone: Option<TimeZone>,
    pub(super) open: u32,
    /// How often in a row they were passed over.
    pub(super) passed: u32,
    /// Which of all tickets they got last; 0: none yet.
    pub(super) given: u64,
}

impl Member {
    pub(super) fn new(agent: &Agent) -> Member {
        Member {
            name: Arc::from(agent.name.as_str()),
            team: agent.team.to_lowercase(),
            tongues: agent.languages.iter().filter_map(|tag| Tongue::new(tag)).collect(),
            skill_hashes: agent.skills.iter().map(|skill| word_hash(skill)).collect(),
            // The import refuses zones that there are not; should one vanish, the desk's is the best guess.
            zone: agent.zone.as_deref().and_then(|name| TimeZone::get(name).ok()),
            open: agent.open_tickets,
            passed: 0,
            given: 0,
            agent: agent.clone(),
        }
    }

    fn has(&self, skill: &str) -> bool {
        self.agent.skills.iter().any(|own| own.eq_ignore_ascii_case(skill))
    }

    /// 1.0 is full.
    fn load(&self) -> f64 {
        f64::from(self.open) / f64::from(self.agent.capacity.max(1))
    }

    pub(super) fn satisfaction(&self) -> f64 {
        self.agent.satisfaction.unwrap_or(SATISFACTION_UNKNOWN)
    }
}

/// Whether an agent may get the ticket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// Not there.
    Away,
    /// Not at work at this hour.
    OffShift,
    /// As many open tickets as they may have.
    Full,
    /// A skill that the rule wants is missing.
    LacksSkill,
    /// Does not speak the language, and another one does.
    OtherLanguage,
    /// May get it, with these points.
    Eligible(Points),
}

/// What speaks for an agent, in tenths of a point; 1000 at most together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Points {
    /// 200 if one of their skills is what the ticket is about: its brand, intent, a topic, or what the rule wants.
    pub skill: u32,
    /// 150 if they are known to speak the customer's language, or that of the text.
    pub language: u32,
    /// 400 with nothing open, 0 when full. More than satisfaction and speed together: the best are not buried.
    pub load: u32,
    /// 100 for the fastest of the eligible, by the share of their time for the others; 50 if not known.
    pub answer: u32,
    /// 150 for a satisfaction of 5, 0 for 1; 75 if not known.
    pub satisfaction: u32,
}

impl Points {
    /// All together.
    pub fn sum(&self) -> u32 {
        self.skill + self.language + self.load + self.answer + self.satisfaction
    }
}

/// One agent as weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub(super) place: usize,
    /// Who.
    pub name: Arc<str>,
    /// Whether they may get it.
    pub standing: Standing,
    /// Open tickets, and how many they may have.
    pub load: (u32, u32),
    /// How often in a row they were passed over.
    pub passed: u32,
}

/// Why it is this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// They were passed over so often that it is their turn.
    Waited(u32),
    /// They answered this person before.
    AnsweredBefore,
    /// They are the best-rated, and the ticket is worth it.
    BestRated,
    /// They have most points.
    Points,
}

/// One team's agents, weighed for one ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    /// The team.
    pub team: String,
    /// All of its agents, by name.
    pub candidates: Vec<Candidate>,
    pub(super) chosen: Option<(usize, Because)>,
}

impl Weighed {
    /// Who gets it, and why them.
    pub fn chosen(&self) -> Option<(&str, Because)> {
        let (place, because) = self.chosen?;
        let candidate = self.candidates.iter().find(|candidate| candidate.place == place)?;
        Some((&candidate.name, because))
    }
}

/// Weighs the agents at these `places`, in the order of their names.
pub(super) fn choose(
    members: &[Member],
    places: &[usize],
    team: &str,
    want: &Want,
    answered_before: Option<&str>,
    zone: &TimeZone,
    now: Timestamp,
) -> Weighed {
    let able = |member: &Member| standing(member, want, zone, now);
    let mut candidates: Vec<Candidate> = places
        .iter()
        .map(|place| {
            let member = &members[*place];
            Candidate {
                place: *place,
                name: member.name.clone(),
                standing: able(member),
                load: (member.open, member.agent.capacity),
                passed: member.passed,
            }
        })
        .collect();
    let is_eligible = |candidate: &Candidate| matches!(candidate.standing, Standing::Eligible(_));
    // Acquaintance counts for more than a language: they have talked before.
    let acquainted = candidates
        .iter()
        .find(|candidate| is_eligible(candidate) && answered_before == Some(&*candidate.name))
        .map(|candidate| candidate.place);
    let speaks = |candidate: &Candidate| may_speak(&members[candidate.place], want);
    if candidates.iter().any(|candidate| is_eligible(candidate) && speaks(candidate)) {
        for candidate in &mut candidates {
            if is_eligible(candidate) && !speaks(candidate) {
                candidate.standing = Standing::OtherLanguage;
            }
        }
    }
    let eligible: Vec<&Member> =
        candidates.iter().filter(|candidate| is_eligible(candidate)).map(|one| &members[one.place]).collect();
    let fastest = eligible.iter().filter_map(|member| member.agent.answer_min).fold(f64::INFINITY, f64::min);
    let least_load = least_load(eligible.iter().copied());
    for candidate in &mut candidates {
        if let Standing::Eligible(points) = &mut candidate.standing {
            *points = points_of(&members[candidate.place], want, fastest);
        }
    }
    let patience = PATIENCE_PER_AGENT.saturating_mul(u32::try_from(places.len()).unwrap_or(u32::MAX));
    let chosen = pick(members, &candidates, want, patience, acquainted, least_load);
    Weighed { team: team.to_owned(), candidates, chosen }
}

/// By everything but language and points.
fn standing(member: &Member, want: &Want, zone: &TimeZone, now: Timestamp) -> Standing {
    match hindrance(member, want, zone, now) {
        Some(Standing::Away) => Standing::Away,
        _ if member.open >= member.agent.capacity => Standing::Full,
        hindrance => hindrance.unwrap_or(Standing::Eligible(Points::default())),
    }
}

/// Why an agent may not have a ticket, however much room they have.
fn hindrance(member: &Member, want: &Want, zone: &TimeZone, now: Timestamp) -> Option<Standing> {
    if member.agent.away {
        Some(Standing::Away)
    } else if !want.skills().iter().all(|skill| member.has(skill)) {
        Some(Standing::LacksSkill)
    } else if !is_on_shift(member, zone, now) {
        Some(Standing::OffShift)
    } else {
        None
    }
}

fn is_on_shift(member: &Member, zone: &TimeZone, now: Timestamp) -> bool {
    let zone = member.zone.as_ref().unwrap_or(zone);
    member.agent.shifts.as_ref().is_none_or(|shifts| shifts.contains(zone.to_datetime(now)))
}

/// Whether an agent is there, whatever they can do.
pub(super) fn is_at_work(member: &Member, zone: &TimeZone, now: Timestamp) -> bool {
    !member.agent.away && is_on_shift(member, zone, now)
}

/// Whether an agent may keep a ticket of their team that has come to want this. They have made room for it, and whatever
/// language it is in, they have read it.
pub(super) fn may_keep(member: &Member, team: &str, want: &Want, zone: &TimeZone, now: Timestamp) -> bool {
    is_same(&member.team, team) && hindrance(member, want, zone, now).is_none()
}

/// Whether they may speak it, as far as is known.
pub(super) fn may_speak(member: &Member, want: &Want) -> bool {
    want.tongues == [None, None] || member.tongues.is_empty() || does_speak(member, want).is_some()
}

/// The language that both speak.
pub(super) fn does_speak(member: &Member, want: &Want) -> Option<Tongue> {
    want.tongues.iter().flatten().find(|tongue| member.tongues.contains(tongue)).copied()
}

/// The skill of theirs that the ticket is about.
pub(super) fn skill_for<'m>(member: &'m Member, want: &Want) -> Option<&'m str> {
    let own = member.agent.skills.iter().zip(&member.skill_hashes);
    let mut fitting = own.filter(|(skill, hash)| {
        want.about.contains(hash) || want.skills().iter().any(|wanted| wanted.eq_ignore_ascii_case(skill))
    });
    fitting.next().map(|(skill, _)| skill.as_str())
}

fn points_of(member: &Member, want: &Want, fastest: f64) -> Points {
    // Shares from 0 to 1, so that the products are small and whole.
    let of = |most: f64, share: f64| (most * share.clamp(0.0, 1.0)).round() as u32;
    Points {
        skill: if skill_for(member, want).is_some() { 200 } else { 0 },
        language: if does_speak(member, want).is_some() { 150 } else { 0 },
        load: of(400.0, 1.0 - member.load()),
        // One minute more for both: somebody who answers in no time at all must not divide by it.
        answer: member.agent.answer_min.map_or(50, |minutes| of(100.0, (fastest + 1.0) / (minutes + 1.0))),
        satisfaction: of(150.0, (member.satisfaction() - 1.0) / 4.0),
    }
}

/// The load of the least loaded.
pub(super) fn least_load<'m>(members: impl Iterator<Item = &'m Member>) -> f64 {
    members.map(Member::load).fold(f64::INFINITY, f64::min)
}

/// Whether the best-rated have room for one more, where the least loaded is so full.
pub(super) fn has_room(member: &Member, least_load: f64) -> bool {
    member.load() <= least_load + LOAD_AHEAD_MAX
}

fn pick(
    members: &[Member],
    candidates: &[Candidate],
    want: &Want,
    patience: u32,
    acquainted: Option<usize>,
    least_load: f64,
) -> Option<(usize, Because)> {
    let eligible = || {
        candidates.iter().filter_map(|candidate| match candidate.standing {
            Standing::Eligible(points) => Some((candidate.place, &members[candidate.place], points.sum())),
            _ => None,
        })
    };
    // Of equals the least recently given; `min_by` takes the first of those, and candidates come by name.
    let waited = eligible().filter(|(_, member, _)| member.passed >= patience);
    let waited = waited.min_by_key(|(_, member, _)| (std::cmp::Reverse(member.passed), member.given));
    if let Some((place, member, _)) = waited {
        return Some((place, Because::Waited(member.passed)));
    }
    if let Some(place) = acquainted {
        return Some((place, Because::AnsweredBefore));
    }
    let is_rated = || eligible().any(|(_, member, _)| member.agent.satisfaction.is_some());
    if want.worth_it.is_some() && is_rated() {
        let room = eligible().filter(|(_, member, _)| has_room(member, least_load));
        let best = room.min_by(|(_, one, points), (_, other, their_points)| {
            let by_rating = other.satisfaction().total_cmp(&one.satisfaction());
            by_rating.then(their_points.cmp(points)).then(one.given.cmp(&other.given))
        });
        return best.map(|(place, ..)| (place, Because::BestRated));
    }
    let best = eligible().min_by_key(|(_, member, points)| (std::cmp::Reverse(*points), member.given));
    best.map(|(place, ..)| (place, Because::Points))
}
