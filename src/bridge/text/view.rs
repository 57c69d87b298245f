//! What a text's template sees of a ticket or of a change: the ticket's fields, made safe and put into words of one
//! language. Every value is always there; what is not known is null or empty.

use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::safe;
use super::words::{self, Language};
use super::{About, Texts};
use crate::desk::priority::ERASED;
use crate::ticket::proto::{self, update::Change};

/// Purchases and contacts that are shown, the newest.
const PURCHASES_MAX: usize = 5;
const CONTACTS_MAX: usize = 8;
/// Characters of a contact's note that are shown.
const NOTE_CHARS_MAX: usize = 300;
/// Characters of a post that stand in a subject: a list of tickets shows little more.
const START_CHARS_MAX: usize = 80;

/// Puts things into words.
pub(super) struct View<'t> {
    pub(super) texts: &'t Texts,
    pub(super) language: Language,
}

impl View<'_> {
    /// What templates of a ticket see.
    pub(super) fn ticket(&self, ticket: &proto::Ticket, reference: &str) -> Value {
        let post = ticket.post.clone().unwrap_or_default();
        let assignment = ticket.assignment.clone().unwrap_or_default();
        let intent = ticket.verdict.as_ref().map_or("", |verdict| super::most_likely(&verdict.intent));
        let mut json = crate::ticket::to_json(ticket);
        self.clean(&mut json);
        json!({
            "ref": reference,
            "brand": self.line(&ticket.brand),
            "language": self.language.tag(),
            "network": words::network(&post.network),
            "post": self.post(&post),
            "author": self.author(&post),
            "customer": ticket.person.as_ref().filter(|person| !person.customer.is_empty()).map(|person| self.customer(person)),
            "contacts": ticket.person.as_ref().map(|person| self.contacts(person)).unwrap_or_default(),
            "priority": ticket.priority,
            "level": super::level_name(ticket.level()),
            "why": self.why(&ticket.factors),
            "intent": self.language.class(intent).unwrap_or_default(),
            "sensitive": ticket.sensitive.iter().map(|topic| self.line(self.language.topic(topic))).collect::<Vec<_>>(),
            "articles": ticket.articles.iter().map(|article| json!({
                "title": self.line(&article.title), "url": self.line(&article.url),
            })).collect::<Vec<_>>(),
            "due": self.moment(ticket.due_at_us),
            "team": self.line(super::team_of(ticket)),
            "agent": self.line(&assignment.agent),
            "supplier": self.line(&assignment.supplier),
            "addressed": self.is_addressed(ticket),
            "incident": (!ticket.incident_id.is_empty()).then(|| super::hex(&ticket.incident_id)),
            "ticket": json,
        })
    }

    /// What templates of a change see.
    pub(super) fn update(&self, about: &About<'_>, update: &proto::Update) -> Value {
        let none = proto::Post::default();
        let mut seen = json!({
            "ref": about.reference,
            "brand": self.line(about.brand),
            "language": self.language.tag(),
            "at": self.moment(update.at_us),
            "kind": "unknown",
            "network": "",
            "post": self.post(&none),
            "author": self.author(&none),
            "level_before": about.level,
            "level": about.level,
            "priority": Value::Null,
            "why": [],
            "unsupported": false,
            "is_of_joined_post": false,
            "account": "", "url": "", "due": "", "team": "", "agent": "", "supplier": "", "reason": "",
        });
        let mut set = |values: Value| {
            if let (Some(seen), Value::Object(values)) = (seen.as_object_mut(), values) {
                seen.extend(values);
            }
        };
        let level = super::level_name;
        match update.change.as_ref() {
            Some(Change::Erased(erased)) => {
                set(json!({ "kind": "erased", "reason": self.line(&erased.reason) }));
            }
            Some(Change::PostErased(erased)) => {
                set(json!({ "kind": "post_erased", "reason": self.line(&erased.reason) }));
            }
            Some(Change::Edited(edited)) => {
                let post = proto::Post { text: edited.text.clone(), ..none };
                let is_of_joined_post = !edited.post_id.is_empty();
                set(
                    json!({ "kind": "edited", "post": self.post(&post), "is_of_joined_post": is_of_joined_post }),
                );
            }
            Some(Change::Rescored(rescored)) => set(json!({
                "kind": "rescored",
                "level": level(rescored.level()),
                "priority": rescored.priority,
                "why": self.why(&rescored.factors),
                "unsupported": rescored.unsupported,
            })),
            Some(Change::FollowedUp(followed)) => {
                let post = followed.post.clone().unwrap_or_default();
                set(json!({
                    "kind": "followed_up",
                    "network": words::network(&post.network),
                    "post": self.post(&post),
                    "author": self.author(&post),
                    "level": level(followed.level()),
                    "priority": followed.priority,
                    "why": self.why(&followed.factors),
                }));
            }
            Some(Change::Answered(answered)) => set(json!({
                "kind": "answered", "account": self.line(&answered.account), "url": self.line(&answered.url),
            })),
            Some(Change::Overdue(overdue)) => {
                let is_late = overdue.state() == proto::update::overdue::State::Breached;
                let kind = if is_late { "late" } else { "at_risk" };
                set(json!({ "kind": kind, "due": self.moment(overdue.due_at_us) }));
            }
            Some(Change::Assigned(assigned)) => {
                let assignment = assigned.assignment.clone().unwrap_or_default();
                set(json!({
                    "kind": "assigned",
                    "team": self.line(&assignment.team),
                    "agent": self.line(&assignment.agent),
                    "supplier": self.line(&assignment.supplier),
                }));
            }
            None => {}
        }
        seen
    }

    fn post(&self, post: &proto::Post) -> Value {
        let texts = self.texts;
        let text = safe::lines(&post.text, texts.four_byte);
        // The post comes first: a long one must not push everything else out, nor one of many lines, each of which is marked.
        let chars_max = texts.text_chars_max / 2;
        let cut = |chars_max| safe::cut(text.trim(), chars_max, |missing| self.mark(missing));
        let fits = |text: &String| safe::quoted(text).chars().count() <= chars_max + chars_max / 8;
        let shorter =
            std::iter::successors(Some(chars_max), |chars_max| Some(chars_max / 2).filter(|max| *max > 0));
        let text = shorter.map(cut).find(fits).unwrap_or_default();
        json!({
            "text": text,
            "quoted": safe::quoted(&text),
            "start": safe::cut(&self.line(&text), START_CHARS_MAX, |_| "…".to_owned()),
            "url": self.line(&post.url),
            "at": self.moment(if post.seen_at_us == 0 { post.written_at_us } else { post.seen_at_us }),
            "network": post.network,
            "language": self.line(&post.language),
        })
    }

    fn author(&self, post: &proto::Post) -> Value {
        let author = post.author.clone().unwrap_or_default();
        // An address in a name is text: in a line of ours it would become a link.
        let name_of = |text: &str| self.line(text).replace("://", ": //");
        let (name, handle) = (name_of(&author.name), name_of(author.handle.trim_start_matches('@')));
        let who = match (name.as_str(), handle.as_str()) {
            ("", "") if author.id.is_empty() => self.language.say("somebody", "quelqu'un").to_owned(),
            ("", "") => name_of(&author.id),
            (name, "") => name.to_owned(),
            ("", handle) => format!("@{handle}"),
            (name, handle) => format!("{name} (@{handle})"),
        };
        let followers = author.followers_known.then(|| self.language.count(author.followers));
        json!({
            "who": who, "name": name, "handle": handle, "id": self.line(&author.id),
            "followers": followers, "verified": author.verified,
        })
    }

    fn customer(&self, person: &proto::Person) -> Value {
        let purchases = person.purchases.iter().take(PURCHASES_MAX).map(|purchase| {
            let amount = (purchase.amount > 0.0).then(|| self.language.amount(purchase.amount));
            json!({ "at": self.day_of(purchase), "what": self.line(&purchase.what), "amount": amount })
        });
        json!({
            "key": self.line(&person.customer),
            "name": self.line(&person.name),
            "tier": self.line(&person.tier),
            "flags": person.flags.iter().map(|flag| self.line(flag)).collect::<Vec<_>>(),
            "value": person.value_known.then(|| self.language.amount(person.value)),
            "purchases": purchases.collect::<Vec<_>>(),
        })
    }

    fn contacts(&self, person: &proto::Person) -> Vec<Value> {
        let contacts = person.contacts.iter().take(CONTACTS_MAX);
        let shown = contacts.map(|contact| {
            let note = safe::cut(&self.line(&contact.note), NOTE_CHARS_MAX, |_| "…".to_owned());
            let channel = self.line(self.language.channel(&contact.channel));
            json!({ "at": self.moment(contact.at_us), "channel": channel, "note": note })
        });
        shown.collect()
    }

    /// The factors in words, those that weigh most first, then those that speak against it.
    fn why(&self, factors: &[proto::Factor]) -> Vec<Value> {
        let mut factors: Vec<_> = factors
            .iter()
            // Of what is erased nothing is left to tell.
            .filter(|factor| factor.points != 0 && factor.evidence != ERASED)
            .collect();
        factors.sort_by_key(|factor| std::cmp::Reverse(factor.points));
        let said = factors.into_iter().map(|factor| {
            let text = self.factor(factor);
            json!({ "text": text, "points": factor.points, "shown": format!("{text} ({:+})", factor.points) })
        });
        said.collect()
    }

    fn factor(&self, factor: &proto::Factor) -> String {
        let language = self.language;
        let say = |en, fr| language.say(en, fr).to_owned();
        // What the daemon's own words lead with is a class, a number or a word of the operator's.
        let evidence = self.line(&factor.evidence);
        let first = evidence.split_whitespace().next().unwrap_or_default().to_owned();
        let number = evidence.split_whitespace().find_map(|word| word.parse::<u64>().ok());
        let words = match factor.name.as_str() {
            "urgency" | "intent" | "sentiment" => language.class(&first).map(str::to_owned),
            "addressed" => Some(say("speaks to us by name", "s'adresse à nous")),
            "age" => number.map(|minutes| {
                let (count, en, fr) = match minutes {
                    0..120 => (minutes, "min", "min"),
                    _ => (minutes / 60, "h", "h"),
                };
                let unit = language.say(en, fr);
                match language {
                    Language::En => format!("had waited {count} {unit} before vigie saw it"),
                    Language::Fr => format!("attendait depuis {count} {unit} quand vigie l'a vu"),
                }
            }),
            "follow_ups" => Some(match (number, language) {
                (Some(times), Language::En) => format!("has posted again {times} times"),
                (Some(times), Language::Fr) => format!("a déjà réécrit {times} fois"),
                (None, _) => say("has posted again", "a réécrit"),
            }),
            "reach" => number.map(|followers| {
                let count = language.count(followers);
                format!("{count} {}", language.say("people follow", "abonnés"))
            }),
            "verified" => Some(say("verified by the network", "compte certifié par le réseau")),
            "tier" => evidence.strip_suffix(" customer").map(|tier| match language {
                Language::En => evidence.clone(),
                Language::Fr => format!("client {tier}"),
            }),
            "flag" => Some(format!("{}{evidence}", language.say("marked as: ", "signalé : "))),
            "value" => evidence.strip_prefix("worth ").and_then(|value| value.parse().ok()).map(|value| {
                let value = language.amount(value);
                format!("{} {value}", language.say("worth", "vaut"))
            }),
            "purchase" => Some(say("has bought something lately", "a acheté récemment")),
            "contacts" => Some(say("has been in touch lately", "nous a contactés récemment")),
            "sensitive" => {
                // `TOPIC: WORDS; TOPIC: WORDS`, then what makes them count less.
                let topics = evidence.split("; ").filter(|topic| !topic.starts_with("counts l"));
                let topics = topics.map(|topic| topic.split_once(": ").map_or(topic, |(topic, _)| topic));
                let topics = topics.map(|topic| language.topic(topic)).collect::<Vec<_>>();
                Some(format!("{}{}", language.say("sensitive: ", "sujet sensible : "), topics.join(", ")))
            }
            name if name.starts_with("cap of ") => Some(say(
                "limit to what these reasons count for together",
                "plafond de ces raisons prises ensemble",
            )),
            name if name.starts_with("floor of ") => {
                Some(say("danger goes before everything else", "le danger passe avant tout le reste"))
            }
            "ceiling" => Some(say("danger would go before", "le danger passerait avant")),
            // The operator's own combination, by the name that they gave it.
            name => Some(self.line(name)),
        };
        words.unwrap_or_else(|| format!("{}: {evidence}", self.line(&factor.name)))
    }

    /// Whether the poster spoke to one of the brand's accounts, which X asks for before a program may answer.
    fn is_addressed(&self, ticket: &proto::Ticket) -> bool {
        let handles = self.texts.handles(&ticket.brand);
        let mentions = ticket.post.iter().flat_map(|post| &post.mentions);
        let is_ours = |mention: &String| {
            let mention = mention.trim_start_matches('@');
            handles.iter().any(|handle| handle.trim_start_matches('@').eq_ignore_ascii_case(mention))
        };
        mentions.into_iter().any(is_ours) || ticket.factors.iter().any(|factor| factor.name == "addressed")
    }

    fn line(&self, text: &str) -> String {
        super::as_seen(text, self.texts.four_byte)
    }

    pub(super) fn mark(&self, missing: usize) -> String {
        let missing = self.language.count(missing as u64);
        match self.language {
            Language::En => format!(" […cut here: at least {missing} more characters]"),
            Language::Fr => format!(" […coupé ici : au moins {missing} caractères de plus]"),
        }
    }

    fn moment(&self, at_us: i64) -> String {
        self.language.moment(at_us, &self.texts.zone)
    }

    fn day(&self, at_us: i64) -> String {
        self.language.day(at_us, &self.texts.zone)
    }

    /// As the company has given it where it has given no time: that day is the same in each zone.
    fn day_of(&self, purchase: &proto::person::Purchase) -> String {
        let date: Option<civil::Date> = purchase.date.parse().ok();
        match date.and_then(|date| date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).ok()) {
            Some(noon) => self.language.day(noon.timestamp().as_microsecond(), &TimeZone::UTC),
            None => self.day(purchase.at_us),
        }
    }

    /// Every text in it, whatever an operator's preset or template takes from it.
    fn clean(&self, json: &mut Value) {
        match json {
            Value::String(text) => {
                let clean = safe::lines(text, self.texts.four_byte);
                *text = safe::cut(&clean, self.texts.text_chars_max, |missing| self.mark(missing));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.clean(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.clean(field)),
            _ => {}
        }
    }
}
