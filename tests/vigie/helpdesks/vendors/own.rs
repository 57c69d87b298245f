//! Those that companies run themselves.

use std::time::Duration;

use firehose::helpdesk::{Chatwoot, Fault, Faults, Glpi, OsTicket, Plain, Store, Zammad, serve};
use serde_json::json;
use vigie::bridge::preset::Preset;
use vigie::ticket::proto::ticket_status::State;

use super::super::{advice, also, helpdesk, read, reference, state, values};
use super::{Desk, refusal};

pub(super) async fn zammad() -> Desk<Zammad> {
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

/// Its index may be minutes behind, or not be there at all.
#[tokio::test]
async fn no_zammad_ticket_is_doubled_however_late_its_index_is() {
    for has_index in [true, false] {
        let desk = zammad().await;
        desk.fake.with(|zammad| (zammad.lag, zammad.has_index) = (Duration::from_secs(120), has_index));
        desk.makes_one_ticket_however_it_ends().await;
        assert_eq!(desk.vigie.preset().calls.find.as_ref().unwrap().lag_max_ms, 0, "nobody waits for it");
    }
    let desk = zammad().await;
    let lacking = desk.other("secret", json!({ "field": "nothing" }));
    assert!(lacking.find("x").await.is_err(), "what cannot be looked for is not taken for absent");
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

pub(super) async fn chatwoot() -> Desk<Chatwoot> {
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

/// Whoever calls their accounts as somebody else is known there.
#[tokio::test]
async fn an_author_is_found_in_chatwoot_among_any_number_of_namesakes() {
    let desk = chatwoot().await;
    let written_by = |author: serde_json::Value| {
        let ticket = values(&desk.vigie, &reference(), 0);
        also(&ticket, json!({ "ticket": { "post": { "network": "bluesky", "author": author } } }))
    };
    let victim = || written_by(json!({ "id": "did:plc:ada", "handle": "ada", "name": "Ada" }));
    desk.vigie.create(&victim()).await.unwrap();
    for n in 0..20 {
        // What is in capitals is another's where the network says so.
        let id = if n == 0 { "did:plc:ADA".to_owned() } else { format!("did:plc:{n}") };
        let namesake = json!({ "id": id, "handle": "x", "name": "bluesky:did:plc:ada" });
        desk.vigie.create(&written_by(namesake)).await.unwrap();
    }
    let case = desk.vigie.create(&victim()).await.unwrap();
    let contacts = desk.fake.with(|chatwoot| chatwoot.contacts.clone());
    assert_eq!(contacts.len(), 21);
    assert_eq!(desk.kept(&case)["meta"]["sender"]["id"], contacts[0]["id"]);
}

#[tokio::test]
async fn a_long_name_or_address_keeps_no_ticket_from_chatwoot() {
    let desk = chatwoot().await;
    let long = "é".repeat(400);
    for (id, name) in [("did:plc:ada", long.as_str()), (long.as_str(), "Ada"), (long.as_str(), "")] {
        for _ in 0..2 {
            let author = json!({ "id": id, "handle": "", "name": name });
            let post = json!({ "ticket": { "post": { "network": "mastodon", "author": author } } });
            let ticket = also(&values(&desk.vigie, &reference(), 0), post);
            desk.vigie.create(&ticket).await.unwrap();
        }
    }
    // Those whose address is too long are known by it to nobody.
    let contacts = desk.fake.with(|chatwoot| chatwoot.contacts.clone());
    let known = contacts.iter().filter(|contact| contact["identifier"].is_string()).count();
    assert_eq!((contacts.len(), known), (5, 1));
}

#[tokio::test]
async fn chatwoots_messages_are_erased_however_many_pages_they_fill() {
    let desk = chatwoot().await;
    let (case, ticket) = desk.make(1).await;
    for _ in 0..45 {
        desk.vigie.note(&case, &also(&ticket, json!({ "note": "kaput again" }))).await.unwrap();
    }
    let left = json!({ "subject": "erased", "body": "Taken back." });
    desk.vigie.erase(&case, &also(&ticket, left)).await.unwrap();
    let kept = desk.kept(&case).to_string();
    assert!(!kept.contains("kaput") && kept.contains("Taken back."), "{kept}");
}

#[tokio::test]
async fn who_has_deleted_their_account_is_no_name_in_chatwoot() {
    let desk = chatwoot().await;
    let (case, ticket) = desk.make(1).await;
    let contact = || desk.fake.with(|chatwoot| chatwoot.contacts[0].clone());
    let erase = async |reason: &str| {
        let left = json!({ "subject": "erased", "body": "Taken back.", "reason": reason });
        desk.vigie.erase(&case, &also(&ticket, left)).await.unwrap();
    };
    erase("post_deleted").await;
    assert_eq!(
        (&contact()["name"], &contact()["identifier"]),
        (&json!("Ada"), &json!("bluesky:did:plc:ada"))
    );
    // Whom agents know by an address is a person of theirs.
    desk.fake.with(|chatwoot| chatwoot.contacts[0]["email"] = json!("ada@example.com"));
    erase("account_deleted").await;
    assert_eq!(contact()["name"], "Ada");
    desk.fake.with(|chatwoot| chatwoot.contacts[0]["email"] = json!(null));
    for _ in 0..2 {
        erase("account_deleted").await;
        assert_eq!((&contact()["name"], &contact()["identifier"]), (&json!("account deleted"), &json!(null)));
    }
}

#[tokio::test]
async fn a_stranger_mentions_nobody_in_chatwoot_and_links_nothing() {
    let desk = chatwoot().await;
    let hostile =
        "[@Ada](mention://user/1/Ada) (mention://team/2/all) ![](http://x.example/y.png) {{ agent.email }}";
    let ticket = also(&values(&desk.vigie, &reference(), 0), json!({ "body": hostile }));
    let case = desk.vigie.create(&ticket).await.unwrap();
    desk.vigie.note(&case, &also(&ticket, json!({ "note": hostile }))).await.unwrap();
    let kept = desk.kept(&case).to_string();
    assert_eq!((kept.matches("[@Ada").count(), kept.matches(r"\\[@Ada\\](").count()), (2, 2), "{kept}");
    assert!(!kept.contains("{{ agent") && !kept.contains("![]("), "{kept}");
    assert_eq!(desk.fake.with(|chatwoot| chatwoot.mentioned), 0, "{kept}");
}

/// Chatwoot reads each message as Liquid, and gives the `%}` itself that a stranger's lacks, where there is a backtick.
#[tokio::test]
async fn a_stranger_runs_no_liquid_in_chatwoot() {
    let desk = chatwoot().await;
    for hostile in [
        "{% for i in (1..99999999) ` {% endfor ` ",
        "{{% for i in (1..99999999) ` {%%}` {%endfor%}",
        "` {% endraw %} {% for i in (1..99999999) %} ` {{ agent.email }} `",
        "`{`% assign x = 1 %}{`{ x }}`",
        "{% raw %} {{ agent.email }}",
    ] {
        let told = json!({ "body": hostile, "subject": hostile, "note": hostile });
        let ticket = also(&values(&desk.vigie, &reference(), 0), told);
        let case = desk.vigie.create(&ticket).await.unwrap();
        desk.vigie.note(&case, &ticket).await.unwrap();
        assert_eq!(desk.fake.with(|chatwoot| chatwoot.run), 0, "{hostile}: {}", desk.kept(&case));
    }
}

#[tokio::test]
async fn glpi_does_not_take_a_ticket_that_quotes_ours_for_ours() {
    let desk = glpi().await;
    let quoted = reference();
    let body =
        format!("A colleague wrote: vigie-ref: {quoted} is open again.\n{}\nvigie-ref: 00", "x".repeat(100));
    let quoting = also(&values(&desk.vigie, "00", 0), json!({ "body": body, "body_html": body }));
    desk.vigie.create(&quoting).await.unwrap();
    assert_eq!(desk.vigie.find(&quoted).await.unwrap(), Some(Vec::new()));
    let case = desk.vigie.create(&values(&desk.vigie, &quoted, 0)).await.unwrap();
    assert_eq!(desk.vigie.find(&quoted).await.unwrap(), Some(vec![case.id]));
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

pub(super) async fn glpi() -> Desk<Glpi> {
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
    let another = values(&desk.vigie, &super::super::reference(), 0);
    let (error, _) = desk.vigie.create(&another).await.unwrap_err();
    assert!(error.is_unclear() && error.to_string().contains("Sign in"), "{error:?}");
    assert_eq!(desk.vigie.find(another["ref"].as_str().unwrap()).await.unwrap(), Some(Vec::new()));
    assert_eq!(desk.fake.with(|glpi| glpi.logins), 3);
}

#[tokio::test]
async fn a_login_at_glpi_that_gives_no_session_is_what_is_wrong() {
    let desk = glpi().await;
    desk.fake.with(|glpi| glpi.opens_nothing = true);
    let (error, case) = desk.vigie.create(&values(&desk.vigie, "x", 0)).await.unwrap_err();
    assert!(error.to_string().starts_with("login: ") && case.is_none(), "{error}");
    // Nothing was done, and it is no ticket's fault.
    assert!(!error.is_unclear() && !error.is_of_one() && !error.is_stranger(), "{error:?}");
    assert_eq!(desk.fake.counts(), (0, 1), "without a session nothing is asked for");
    desk.fake.with(|glpi| glpi.opens_nothing = false);
    desk.make(0).await;
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
    // What 9.5 shows is not what was escaped.
    desk.fake.with(|glpi| glpi.version = "9.5.13");
    assert!(advice(&desk.vigie).await[0].contains("older than GLPI 10"));
    desk.fake.with(|glpi| glpi.version = "11.0.2");
    assert_eq!(advice(&desk.vigie).await, Vec::<String>::new());
    let other = desk.other("secret", json!({ "app_token": "" }));
    assert_eq!(refusal(&other.find("x").await.unwrap_err()), 400);
    let login = desk.fake.log().calls.last().unwrap().request.clone();
    assert_eq!(login.header("app-token"), None, "an empty header is left out");
}

#[tokio::test]
async fn an_answer_that_the_preset_cannot_read_comes_after_the_work() {
    let fake = serve(Plain::default(), Default::default()).await.unwrap();
    let check = async |there: &str, put: &str, count: usize| {
        assert!(Plain::PRESET.contains(there), "{there}");
        let preset = Preset::parse(&Plain::PRESET.replacen(there, put, 1)).unwrap();
        let vigie = helpdesk(preset, &fake.url(), "secret", json!({}));
        let (error, case) = vigie.create(&values(&vigie, &reference(), 0)).await.unwrap_err();
        assert!(error.is_unclear() && case.is_none(), "{put}: {error:?}");
        assert_eq!(fake.with(|plain| plain.tickets.len()), count, "{put}: it was made");
    };
    let capture = "capture = { id = \"response.id\" }";
    check(capture, "capture = { id = \"response.id\", as_number = \"'x'|int\" }", 1).await;
    check(capture, "capture = { id = \"response.id\" }\ndone = \"'x'|int\"", 2).await;
}

#[tokio::test]
async fn what_takes_no_call_is_no_answer() {
    let fake = serve(Plain::default(), Default::default()).await.unwrap();
    let step = "[[note]]\n";
    let preset = Plain::PRESET.replacen(step, &format!("{step}when = \"note == 'called'\"\n"), 1);
    let vigie = helpdesk(Preset::parse(&preset).unwrap(), &fake.url(), "secret", json!({}));
    let ticket = values(&vigie, &reference(), 0);
    let case = vigie.create(&ticket).await.unwrap();
    assert_eq!(vigie.answers(), 1);
    vigie.note(&case, &also(&ticket, json!({ "note": "skipped" }))).await.unwrap();
    assert_eq!(vigie.answers(), 1);
    vigie.note(&case, &also(&ticket, json!({ "note": "called" }))).await.unwrap();
    assert_eq!(vigie.answers(), 2);
    fake.set_faults(Faults::choose(|_| Some(Fault::Status { status: 500, done: false })));
    vigie.note(&case, &also(&ticket, json!({ "note": "called" }))).await.unwrap_err();
    assert_eq!(vigie.answers(), 2);
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
