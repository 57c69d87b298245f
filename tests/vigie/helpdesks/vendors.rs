//! Each built-in preset against a fake of its helpdesk, with that helpdesk's misbehaviour.

use std::time::Duration;

use firehose::helpdesk::{
    Chatwoot, Fake, Fault, Faults, Freshdesk, Glpi, Jira, Options, OsTicket, Store, Vendor, Zammad, Zendesk,
    serve,
};
use serde_json::{Value, json};
use vigie::bridge::helpdesk::{Case, Helpdesk, Values};
use vigie::bridge::http::CallError;
use vigie::ticket::proto::ticket_status::State;

use super::{advice, also, built_in, helpdesk, read, reference, state, values};

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
        let number = case.id.trim_start_matches("SUP-").to_owned();
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
        let faults = Faults::ambiguous().into_iter().filter(|fault| !matches!(fault, Fault::Silent { .. }));
        for fault in faults.collect::<Vec<_>>() {
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
        let left =
            json!({ "subject": "P2: erased", "body": format!("Taken back.\nvigie-ref: {}", ticket["ref"]) });
        for _ in 0..2 {
            self.vigie.erase(&case, &also(&ticket, left.clone())).await.unwrap();
        }
        let kept = self.kept(&case).to_string();
        assert!(!kept.contains("kaput") && !kept.contains("gone") && !kept.contains("wrote"), "{kept}");
        assert!(kept.contains("P2: erased"), "{kept}");
        self.vigie.remove(&case).await.unwrap();
        assert_eq!(state(&self.vigie, &case).await, Some(State::Deleted));
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
        assert_eq!(advice(&stranger).await.len(), stranger.preset().calls.probe.len());
    }
}

fn refusal(error: &CallError) -> u16 {
    match error {
        CallError::Refused { status, .. } => *status,
        other => panic!("no refusal: {other:?}"),
    }
}

async fn zammad() -> Desk<Zammad> {
    Desk::new(Zammad::default(), "zammad", json!({ "group": "Social" }), "/api/v1/tickets", |zammad| {
        &mut zammad.store
    })
    .await
}

#[tokio::test]
async fn zammad_goes_round() {
    let desk = zammad().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|ticket| ticket["priority"].clone()).await;
    let states = [("new", State::Open), ("open", State::Open), ("pending reminder", State::Pending)];
    let states = states.into_iter().chain([("pending close", State::Pending), ("closed", State::Closed)]);
    desk.states(&states.map(|(name, state)| (json!({ "state": name }), state)).collect::<Vec<_>>()).await;
    assert_eq!(desk.fake.with(|zammad| zammad.mailed.clone()), Vec::<String>::new());
}

#[tokio::test]
async fn zammads_search_is_late_and_says_so() {
    let desk = zammad().await;
    desk.fake.with(|zammad| zammad.lag = Duration::from_secs(3600));
    let (case, ticket) = desk.make(0).await;
    let reference = ticket["ref"].as_str().unwrap();
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(Vec::new()));
    assert!(desk.vigie.preset().calls.find.as_ref().unwrap().lag_max_ms > 0);
    desk.fake.with(|zammad| zammad.lag = Duration::ZERO);
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![case.id]));
}

#[tokio::test]
async fn what_zammads_agents_do_is_read() {
    let desk = zammad().await;
    let ((first, _), (second, _)) = (desk.make(0).await, desk.make(0).await);
    let standing = read(&desk.vigie, &first).await;
    assert_eq!((standing.agent.as_str(), standing.first_answer_at_us), ("", None));
    desk.agent(&first, json!({ "owner": "ada@vigie.test", "first_response_at": "2026-11-27T01:00:00.500Z" }));
    let standing = read(&desk.vigie, &first).await;
    assert_eq!(standing.agent, "ada@vigie.test");
    assert_eq!(standing.first_answer_at_us, Some(1_795_741_200_500_000));
    desk.fake.with(|zammad| zammad.merge(&second.id, &first.id));
    let standing = read(&desk.vigie, &second).await;
    assert_eq!((standing.state, standing.merged_into), (Some(State::Closed), Some(first.id)));
    desk.agent(&second, json!({ "state": "escalated to mars" }));
    let standing = read(&desk.vigie, &second).await;
    assert_eq!((standing.state, standing.state_there.as_str()), (None, "escalated to mars"));
}

#[tokio::test]
async fn zammads_refusals_are_told() {
    let desk = zammad().await;
    let lost = desk.other("secret", json!({ "group": "Nowhere" }));
    let (error, _) = lost.create(&values(&lost, "x", 0)).await.unwrap_err();
    assert!(refusal(&error) == 422 && error.to_string().contains("Nowhere"), "{error}");
    assert!(advice(&lost).await[0].contains("no rights on the group Nowhere"));
    // An erasure that Zammad does not allow is not taken for one.
    let (case, ticket) = desk.make(0).await;
    desk.fake.with(|zammad| zammad.notes_stay = true);
    let error = desk.vigie.erase(&case, &ticket).await.unwrap_err();
    assert!(refusal(&error) == 403 && error.to_string().contains("note is too old"), "{error}");
    desk.fake.with(|zammad| zammad.is_admin = false);
    desk.vigie.remove(&case).await.unwrap();
    assert_eq!(state(&desk.vigie, &case).await, Some(State::Closed));
}

async fn chatwoot() -> Desk<Chatwoot> {
    let (options, path) = (json!({ "account": 1, "inbox": 5 }), "/api/v1/accounts/1/conversations");
    Desk::new(Chatwoot::default(), "chatwoot", options, path, |chatwoot| &mut chatwoot.store).await
}

#[tokio::test]
async fn chatwoot_goes_round() {
    let desk = chatwoot().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|conversation| conversation["priority"].clone()).await;
    let states = [("open", State::Open), ("pending", State::Open), ("snoozed", State::Pending)];
    let states = states.into_iter().chain([("resolved", State::Solved)]);
    desk.states(&states.map(|(name, state)| (json!({ "status": name }), state)).collect::<Vec<_>>()).await;
    // All of it was one author's, and nothing was sent to them.
    assert_eq!(desk.fake.with(|chatwoot| (chatwoot.contacts.len(), chatwoot.sent)), (1, 0));
}

#[tokio::test]
async fn chatwoots_agents_and_refusals_are_read() {
    let desk = chatwoot().await;
    let (case, _) = desk.make(0).await;
    assert_eq!(desk.kept(&case)["labels"], json!(["vigie", "p1"]));
    assert_eq!(read(&desk.vigie, &case).await.first_answer_at_us, None);
    let answered =
        json!({ "meta": { "assignee": { "name": "Ada Agent" } }, "first_reply_created_at": 1_795_741_200 });
    desk.agent(&case, answered);
    let standing = read(&desk.vigie, &case).await;
    assert_eq!(
        (standing.agent.as_str(), standing.first_answer_at_us),
        ("Ada Agent", Some(1_795_741_200_000_000))
    );

    let lost = desk.other("secret", json!({ "inbox": 4 }));
    assert_eq!(refusal(&lost.create(&values(&lost, "x", 0)).await.unwrap_err().0), 404);
    let mail = desk.other("secret", json!({ "inbox": 6 }));
    assert!(advice(&mail).await[0].contains("inbox 6 is not one of the channel API"));
    let undefined = desk.other("secret", json!({ "field": "nothing" }));
    assert_eq!(refusal(&undefined.find("x").await.unwrap_err()), 422);
    assert!(advice(&undefined).await[0].contains("no custom attribute with the key nothing"));
    let elsewhere = desk.other("secret", json!({ "account": 2 }));
    assert!(advice(&elsewhere).await[0].contains("in no account 2"));

    desk.fake.with(|chatwoot| chatwoot.is_admin = false);
    desk.vigie.remove(&case).await.unwrap();
    assert_eq!(state(&desk.vigie, &case).await, Some(State::Solved));
}

async fn zendesk() -> Desk<Zendesk> {
    let options = json!({ "user": "agent@vigie.test" });
    Desk::new(Zendesk::default(), "zendesk", options, "/api/v2/tickets.json", |zendesk| &mut zendesk.store)
        .await
}

#[tokio::test]
async fn zendesk_goes_round() {
    let desk = zendesk().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|ticket| ticket["priority"].clone()).await;
    let states =
        [("new", State::Open), ("open", State::Open), ("pending", State::Pending), ("hold", State::Pending)];
    let states = states.into_iter().chain([("solved", State::Solved), ("closed", State::Closed)]);
    desk.states(&states.map(|(name, state)| (json!({ "status": name }), state)).collect::<Vec<_>>()).await;
    assert_eq!(desk.fake.with(|zendesk| zendesk.mailed), 0);
}

#[tokio::test]
async fn zendesk_makes_one_ticket_of_one_key() {
    let desk = zendesk().await;
    let (case, ticket) = desk.make(0).await;
    assert_eq!(desk.vigie.create(&ticket).await.unwrap().id, case.id);
    assert_eq!(desk.fake.counts().0, 1);
    // With another text it is another call, which Zendesk refuses.
    let (error, _) = desk.vigie.create(&also(&ticket, json!({ "subject": "other" }))).await.unwrap_err();
    assert!(refusal(&error) == 400 && error.is_of_one(), "{error:?}");
}

#[tokio::test]
async fn what_zendesks_agents_do_is_read_and_listed() {
    let desk = zendesk().await;
    let now = jiff::Timestamp::now();
    let (case, _) = desk.make(0).await;
    let replied = json!({ "assignee_id": 8, "metric_set": { "reply_time_in_minutes": { "calendar": 61 } },
        "satisfaction_rating": { "score": "good" }, "status": "solved" });
    desk.fake.with(|zendesk| zendesk.change(&case.id, &replied));
    let standing = read(&desk.vigie, &case).await;
    assert_eq!((standing.state, standing.agent.as_str()), (Some(State::Solved), "Ada Agent"));
    assert_eq!(standing.first_answer_at_us, Some((1_795_737_600 + 61 * 60) * 1_000_000));
    assert_eq!(standing.satisfaction, Some(5));
    desk.agent(&case, json!({ "satisfaction_rating": { "score": "bad" } }));
    assert_eq!(read(&desk.vigie, &case).await.satisfaction, Some(1));

    let (other, _) = desk.make(1).await;
    let first = desk.vigie.changed(None, now).await.unwrap().unwrap();
    assert_eq!((first.cases, first.more), (vec![(case.id.clone(), None)], true));
    let started = desk
        .fake
        .log()
        .calls
        .iter()
        .rev()
        .find_map(|call| call.request.query("start_time").map(str::to_owned));
    assert_eq!(started, Some((now.as_second() - 120).to_string()));
    let second = desk.vigie.changed(Some(&first.cursor), now).await.unwrap().unwrap();
    assert_eq!((second.cases, second.more), (vec![(other.id, None)], false));
    let third = desk.vigie.changed(Some(&second.cursor), now).await.unwrap().unwrap();
    assert_eq!((third.cases.len(), third.cursor), (0, second.cursor));

    desk.agent(&case, json!({ "status": "closed" }));
    let error = desk.vigie.reprioritise(&case, &values(&desk.vigie, "", 0)).await.unwrap_err();
    assert!(refusal(&error) == 422 && error.is_of_one(), "{error:?}");
}

async fn freshdesk() -> Desk<Freshdesk> {
    let store: fn(&mut Freshdesk) -> &mut Store = |freshdesk| &mut freshdesk.store;
    Desk::new(Freshdesk::default(), "freshdesk", json!({}), "/api/v2/tickets", store).await
}

#[tokio::test]
async fn freshdesk_goes_round() {
    let desk = freshdesk().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|ticket| ticket["priority"].clone()).await;
    let states =
        [(2, State::Open), (3, State::Pending), (4, State::Solved), (5, State::Closed), (6, State::Pending)];
    desk.states(&states.map(|(number, state)| (json!({ "status": number }), state))).await;
    desk.states(&[(json!({ "spam": true }), State::Deleted)]).await;
    assert_eq!(desk.fake.with(|freshdesk| freshdesk.mailed), 0);
}

#[tokio::test]
async fn what_freshdesks_list_no_longer_shows_its_search_finds() {
    let desk = freshdesk().await;
    let (case, ticket) = desk.make(0).await;
    let reference = ticket["ref"].as_str().unwrap();
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![case.id.clone()]));
    let calls = desk.fake.counts().1;
    for _ in 0..100 {
        desk.make(3).await;
    }
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(Vec::new()));
    desk.fake.with(|freshdesk| freshdesk.lag = Duration::ZERO);
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![case.id]));
    assert_eq!(desk.fake.counts().1, calls + 100 + 4);
}

#[tokio::test]
async fn what_freshdesks_agents_do_is_read_and_listed() {
    let desk = freshdesk().await;
    let (case, _) = desk.make(0).await;
    let first = desk.vigie.changed(None, jiff::Timestamp::now()).await.unwrap().unwrap();
    assert_eq!((first.cases, first.more), (vec![(case.id.clone(), None)], false));
    let (other, _) = desk.make(0).await;
    let second = desk.vigie.changed(Some(&first.cursor), jiff::Timestamp::now()).await.unwrap().unwrap();
    // The last one that was seen is listed again: a second may hold more than one change.
    assert_eq!(second.cases, [(case.id.clone(), None), (other.id, None)]);
    let answered = json!({ "responder_id": 8, "stats": { "first_responded_at": "2026-11-27T01:00:00Z" } });
    desk.fake.with(|freshdesk| freshdesk.change(&case.id, &answered));
    let standing = read(&desk.vigie, &case).await;
    assert_eq!(
        (standing.agent.as_str(), standing.first_answer_at_us),
        ("Ada Agent", Some(1_795_741_200_000_000))
    );
    desk.agent(&case, json!({ "responder_id": 9 }));
    assert_eq!(read(&desk.vigie, &case).await.agent, "9");

    let unknown = desk.other("secret", json!({ "field": "cf_nothing" }));
    let (error, _) = unknown.create(&values(&unknown, "x", 0)).await.unwrap_err();
    assert!(refusal(&error) == 400 && error.to_string().contains("cf_nothing"), "{error}");
}

async fn glpi() -> Desk<Glpi> {
    let options = json!({ "app_token": "app" });
    Desk::new(Glpi::default(), "glpi", options, "/apirest.php/Ticket", |glpi| &mut glpi.store).await
}

#[tokio::test]
async fn glpi_goes_round() {
    let desk = glpi().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|ticket| ticket["urgency"].clone()).await;
    let states =
        [(1, State::Open), (2, State::Open), (3, State::Open), (4, State::Pending), (5, State::Solved)];
    let states = states.into_iter().chain([(6, State::Closed)]);
    desk.states(&states.map(|(number, state)| (json!({ "status": number }), state)).collect::<Vec<_>>())
        .await;
    desk.states(&[(json!({ "is_deleted": 1 }), State::Deleted)]).await;
    assert_eq!(desk.fake.with(|glpi| glpi.mailed), 0);
}

#[tokio::test]
async fn a_session_of_glpi_that_has_ended_is_opened_again() {
    let desk = glpi().await;
    let (case, ticket) = desk.make(0).await;
    let reference = ticket["ref"].as_str().unwrap();
    assert_eq!(desk.fake.with(|glpi| glpi.logins), 1);
    desk.fake.with(|glpi| glpi.sessions.clear());
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![case.id.clone()]));
    assert_eq!(desk.fake.with(|glpi| glpi.logins), 2);
    // A page says nothing of whether the ticket was made; the look after it is in another session.
    desk.fake.with(|glpi| {
        glpi.sessions.clear();
        glpi.pages = true;
    });
    let another = values(&desk.vigie, &super::reference(), 0);
    let (error, _) = desk.vigie.create(&another).await.unwrap_err();
    assert!(error.is_unclear() && error.to_string().contains("Sign in"), "{error:?}");
    assert_eq!(desk.vigie.find(another["ref"].as_str().unwrap()).await.unwrap(), Some(Vec::new()));
    assert_eq!(desk.fake.with(|glpi| glpi.logins), 3);
}

#[tokio::test]
async fn what_glpi_refuses_within_a_good_answer_is_a_refusal() {
    let desk = glpi().await;
    let (case, _) = desk.make(0).await;
    desk.fake.with(|glpi| glpi.refuses_update = true);
    let error = desk.vigie.reprioritise(&case, &values(&desk.vigie, "", 3)).await.unwrap_err();
    assert!(refusal(&error) == 207 && error.is_of_one(), "{error:?}");
    assert_eq!(desk.kept(&case)["urgency"], desk.level(0));
    desk.vigie.reprioritise(&case, &values(&desk.vigie, "", 3)).await.unwrap();
    assert_eq!(read(&desk.vigie, &case).await.agent, "");
    desk.agent(&case, json!({ "_agent": "ada" }));
    assert_eq!(read(&desk.vigie, &case).await.agent, "ada");

    let lost = desk.other("secret", json!({ "entity": 4 }));
    let (error, _) = lost.create(&values(&lost, "x", 0)).await.unwrap_err();
    assert!(refusal(&error) == 400 && error.to_string().contains("permission"), "{error}");
    assert!(advice(&lost).await[0].contains("no rights in the entity 4"));
    let other = desk.other("secret", json!({ "app_token": "" }));
    assert_eq!(refusal(&other.find("x").await.unwrap_err()), 400);
    let login = desk.fake.log().calls.last().unwrap().request.clone();
    assert_eq!(login.header("app-token"), None, "an empty header is left out");
}

async fn jira() -> Desk<Jira> {
    let options = json!({ "user": "agent@vigie.test", "project": "SUP", "desk": 3, "request_type": 25, "field": 10050 });
    Desk::new(Jira::default(), "jira", options, "/rest/servicedeskapi/request", |jira| &mut jira.store).await
}

#[tokio::test]
async fn jira_goes_round() {
    let desk = jira().await;
    desk.knows_its_token().await;
    desk.makes_one_ticket_however_it_ends().await;
    desk.changes_and_erases(|issue| issue["fields"]["priority"]["name"].clone()).await;
    let (case, _) = desk.make(0).await;
    assert_eq!(desk.kept(&case)["fields"]["labels"], json!(["vigie", "p1"]));
    let states = [
        ("Open", "new", State::Open),
        ("Work in progress", "indeterminate", State::Open),
        ("Waiting for customer", "indeterminate", State::Pending),
        ("Resolved", "done", State::Solved),
    ];
    for (name, category, expected) in states {
        desk.fake.with(|jira| jira.transition(&case.id, name, category));
        assert_eq!(state(&desk.vigie, &case).await, Some(expected), "{name}");
    }
    assert_eq!(desk.fake.with(|jira| jira.mailed), 0);
}

#[tokio::test]
async fn what_jiras_agents_do_is_read_and_its_limits_are_heard() {
    let desk = jira().await;
    let (case, _) = desk.make(0).await;
    assert_eq!(read(&desk.vigie, &case).await.first_answer_at_us, None);
    desk.fake.with(|jira| {
        let issue = jira.issue(&case.id).unwrap();
        issue["fields"]["assignee"] = json!({ "displayName": "Ada Agent" });
        issue["_answered"] = json!("2026-11-27T01:00:00+0000");
    });
    let standing = read(&desk.vigie, &case).await;
    assert_eq!(
        (standing.agent.as_str(), standing.first_answer_at_us),
        ("Ada Agent", Some(1_795_741_200_000_000))
    );

    let lost = desk.other("secret", json!({ "desk": 4 }));
    assert_eq!(refusal(&lost.create(&values(&lost, "x", 0)).await.unwrap_err().0), 404);
    let unknown = desk.other("secret", json!({ "field": 10051 }));
    let (error, _) = unknown.create(&values(&unknown, "x", 0)).await.unwrap_err();
    assert!(refusal(&error) == 400 && error.to_string().contains("customfield_10051"), "{error}");
    assert!(advice(&unknown).await[0].contains("no field customfield_10051"));

    // Two calls more than one reading takes are one too many.
    desk.fake.with(|jira| jira.budget = Some(1));
    let limited = desk.vigie.read(&case).await.unwrap_err();
    assert_eq!(limited, CallError::Limited { status: 429, wait: Some(Duration::from_secs(7)) });
}

#[tokio::test]
async fn osticket_takes_tickets_and_that_is_all() {
    let store: fn(&mut OsTicket) -> &mut Store = |osticket| &mut osticket.store;
    let desk =
        Desk::new(OsTicket::default(), "osticket", json!({ "topic": 2 }), "/api/tickets.json", store).await;
    let (case, ticket) = desk.make(0).await;
    // As it writes it: a number as JSON has no zeros before it.
    assert_eq!(case.id, "000001");
    assert_eq!(desk.kept(&case)["priority"], desk.level(0));
    assert_eq!(desk.vigie.find(ticket["ref"].as_str().unwrap()).await.unwrap(), None);
    assert_eq!(desk.vigie.read(&case).await.unwrap(), None);
    desk.fake.set_faults(Faults::script([Some(Fault::Page { done: true })]));
    let (error, _) = desk.vigie.create(&ticket).await.unwrap_err();
    assert!(error.is_unclear(), "{error:?}");
    let lost = desk.other("secret", json!({ "topic": 12 }));
    let (error, _) = lost.create(&ticket).await.unwrap_err();
    assert!(refusal(&error) == 400 && error.to_string().contains("Invalid help topic"), "{error}");
    desk.fake.with(|osticket| osticket.is_known_here = false);
    let (error, _) = desk.vigie.create(&ticket).await.unwrap_err();
    assert!(refusal(&error) == 401 && !error.is_of_one(), "{error:?}");
    assert_eq!(desk.fake.with(|osticket| osticket.mailed), 0);
}
