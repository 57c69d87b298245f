//! Each built-in preset against a fake of its helpdesk, with that helpdesk's misbehaviour.

mod hosted;
mod limits;
mod merged;
mod own;
mod pages;
mod ratings;
mod strangers;
mod teams;

use firehose::helpdesk::{Fake, Faults, Options, Store, Vendor, serve};
use serde_json::{Value, json};
use vigie::bridge::helpdesk::{Case, Helpdesk, Values};
use vigie::bridge::http::CallError;
use vigie::ticket::proto::ticket_status::State;

use super::{advice, also, built_in, helpdesk, reference, state, values};

/// A fake and the preset that speaks to it.
struct Desk<V> {
    fake: Fake<V>,
    vigie: Helpdesk,
    kind: &'static str,
    options: Value,
    /// Where tickets are made.
    path: &'static str,
    store: fn(&mut V) -> &mut Store,
}

impl<V: Vendor> Desk<V> {
    async fn new(
        vendor: V,
        kind: &'static str,
        options: Value,
        path: &'static str,
        store: fn(&mut V) -> &mut Store,
    ) -> Desk<V> {
        let fake = serve(vendor, Options::default()).await.unwrap();
        let vigie = helpdesk(built_in(kind), &fake.url(), "secret", options.clone());
        Desk { fake, vigie, kind, options, path, store }
    }

    /// The same with other options or another token.
    fn other(&self, token: &str, options: Value) -> Helpdesk {
        let Value::Object(mut all) = self.options.clone() else { panic!("a table") };
        all.extend(options.as_object().unwrap().clone());
        helpdesk(built_in(self.kind), &self.fake.url(), token, all.into())
    }

    /// The same with options that are others for some teams, and fields of the operator's own.
    fn with(&self, teams: Value, fields: &[&str]) -> Helpdesk {
        let teams = teams.as_object().unwrap().iter();
        let teams = teams.map(|(team, own)| (team.clone(), own.as_object().unwrap().clone())).collect();
        let fields: Vec<String> = fields.iter().map(|name| (*name).to_owned()).collect();
        self.other("secret", json!({})).with_teams_and_fields(&teams, &fields)
    }

    async fn make(&self, level: usize) -> (Case, Values) {
        let ticket = values(&self.vigie, &reference(), level);
        (self.vigie.create(&ticket).await.unwrap(), ticket)
    }

    fn text(&self) -> String {
        let store = self.store;
        self.fake.with(|vendor| store(vendor).text())
    }

    /// What the helpdesk keeps of a ticket.
    fn kept(&self, case: &Case) -> Value {
        let store = self.store;
        let number = case.id.rsplit('-').next().unwrap().to_owned();
        self.fake.with(|vendor| store(vendor).ticket(&number).cloned().unwrap())
    }

    /// An agent changes a ticket.
    fn agent(&self, case: &Case, fields: Value) {
        let store = self.store;
        let number = case.id.trim_start_matches("SUP-").to_owned();
        self.fake.with(|vendor| {
            let ticket = store(vendor).ticket(&number).unwrap();
            for (name, value) in fields.as_object().unwrap() {
                ticket[name] = value.clone();
            }
        });
    }

    /// However a creation ends, there is one ticket in the end, and the search says which.
    async fn makes_one_ticket_however_it_ends(&self) {
        // Silence is the same as a reset, later.
        for fault in Faults::ambiguous_at_once() {
            let ticket = values(&self.vigie, &reference(), 0);
            let reference = ticket["ref"].as_str().unwrap();
            let (path, broken) = (self.path, self.fake.log().broken());
            self.fake.set_faults(Faults::choose(move |request| {
                (request.method == "POST" && request.path == path).then_some(fault)
            }));
            let (error, case) = self.vigie.create(&ticket).await.unwrap_err();
            assert!(error.is_unclear() && case.is_none(), "{fault:?}: {error:?}");
            assert_eq!(self.fake.log().broken(), broken + 1, "{fault:?} has not happened");
            self.fake.set_faults(Faults::none());
            let made = self.fake.log().made.iter().filter(|made| made.reference == reference).count();
            let found = self.vigie.find(reference).await.unwrap().unwrap();
            assert_eq!(found.len(), made, "{fault:?}: {found:?}");
            match found.first() {
                Some(id) => {
                    let case = Case { id: id.clone(), captured: Values::new() };
                    self.vigie.complete(&case, &ticket).await.unwrap();
                }
                None => drop(self.vigie.create(&ticket).await.unwrap()),
            }
            assert_eq!(self.vigie.find(reference).await.unwrap().unwrap().len(), 1, "{fault:?}");
        }
        assert_eq!(self.fake.log().doubled(), [""; 0]);
    }

    /// A note, another priority, erasure twice, removal.
    async fn changes_and_erases(&self, priority: impl Fn(&Value) -> Value) {
        let (case, ticket) = self.make(1).await;
        assert_eq!(priority(&self.kept(&case)), self.level(1));
        assert!(self.text().contains("kaput"), "{}", self.text());
        let note = also(&ticket, json!({ "note": "a follower wrote" }));
        let note = self.vigie.note(&case, &note).await.unwrap();
        for _ in 0..2 {
            self.vigie.erase_note(&case, &note, &ticket).await.unwrap();
        }
        let kept = self.kept(&case).to_string();
        assert!(kept.contains("kaput") && !kept.contains("follower"), "{kept}");
        self.vigie
            .note(&case, &also(&ticket, json!({ "note": "Ada\nwrote \"again\" \u{1f525}" })))
            .await
            .unwrap();
        let kept = self.kept(&case).to_string();
        assert!(kept.contains("wrote") && kept.contains('\u{1f525}'), "{kept}");
        self.vigie.reprioritise(&case, &values(&self.vigie, "", 3)).await.unwrap();
        assert_eq!(priority(&self.kept(&case)), self.level(3));
        let body = format!("Taken back.\nvigie-ref: {}", ticket["ref"]);
        let left = json!({ "subject": "P2: erased", "body": body, "body_html": format!("<p>{body}</p>") });
        for _ in 0..2 {
            self.vigie.erase(&case, &also(&ticket, left.clone())).await.unwrap();
        }
        let kept = self.kept(&case).to_string();
        assert!(!kept.contains("kaput") && !kept.contains("gone") && !kept.contains("wrote"), "{kept}");
        assert!(kept.contains("P2: erased"), "{kept}");
        self.vigie.remove(&case).await.unwrap();
        match self.vigie.preset().calls.read.as_ref().unwrap().hides_as_absent {
            false => assert_eq!(state(&self.vigie, &case).await, Some(State::Deleted)),
            true => assert!(self.vigie.read(&case).await.unwrap_err().may_be_of_one(), "nobody knows"),
        }
    }

    fn level(&self, level: usize) -> Value {
        serde_json::to_value(&self.vigie.preset().calls.levels[level]).unwrap()
    }

    /// Each of the helpdesk's states as it is set, and as it is read.
    async fn states(&self, states: &[(Value, State)]) {
        let (case, _) = self.make(2).await;
        for (fields, expected) in states {
            self.agent(&case, fields.clone());
            assert_eq!(state(&self.vigie, &case).await, Some(*expected), "{fields}");
        }
    }

    /// A token that the helpdesk does not know is a refusal of everything.
    async fn knows_its_token(&self) {
        assert_eq!(advice(&self.vigie).await, Vec::<String>::new());
        let stranger = self.other("wrong", json!({}));
        let (error, _) = stranger.create(&values(&stranger, "x", 0)).await.unwrap_err();
        assert!(matches!(error, CallError::Refused { status: 401, .. }) && !error.is_of_one(), "{error:?}");
        assert_eq!(advice(&stranger).await.len(), stranger.questions(None).len());
    }
}

fn refusal(error: &CallError) -> u16 {
    match error {
        CallError::Refused { status, .. } => *status,
        other => panic!("no refusal: {other:?}"),
    }
}
