//! Real helpdesks, where they were started: `tests/helpdesks/rt` and `tests/helpdesks/django` say how.
//!
//! `VIGIE_TEST_RT` and `VIGIE_TEST_DJANGO` name the folders that they have made.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use vigie::bridge::helpdesk::{Case, Helpdesk, Values};
use vigie::bridge::http::{Call, CallError, Http};
use vigie::bridge::preset::{Preset, Written};
use vigie::bridge::text::{Texts, sample};
use vigie::ticket::proto::ticket_status::State;

use super::{advice, advice_of, also, built_in, helpdesk, read, reference, state, values};
use crate::daemon::{QUICK_BRAND, State as DaemonState, get, patiently, run, skip};

/// A helpdesk that was started.
struct Real {
    folder: PathBuf,
}

impl Real {
    fn find(variable: &str, script: &str) -> Option<Real> {
        let Some(folder) = std::env::var_os(variable) else {
            skip(&format!("{variable} names no folder of a helpdesk that {script} has started"));
            return None;
        };
        Some(Real { folder: folder.into() })
    }

    fn word(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap().trim().to_owned()
    }

    /// What one of its agents does.
    async fn agent(&self, method: Method, path: &str, body: Value) -> Value {
        let http = Http::new(&self.word("url"), None, Duration::from_secs(60));
        let authorization = format!("token {}", self.word("agent"));
        let headers = vec![
            (hyper::header::AUTHORIZATION, authorization.parse().unwrap()),
            (hyper::header::ACCEPT, "application/json".parse().unwrap()),
        ];
        let body = (!body.is_null()).then(|| body.to_string());
        let path = path.to_owned();
        let call = Call { method, path, headers, body, answer: Written::Json, ..Call::default() };
        http.call(call).await.unwrap().body
    }
}

fn rt() -> Option<Real> {
    Real::find("VIGIE_TEST_RT", "tests/helpdesks/rt")
}

fn vigie_in_rt(rt: &Real) -> Helpdesk {
    helpdesk(built_in("rt"), &rt.word("url"), &rt.word("token"), json!({ "queue": "social" }))
}

/// Whether this stands in one of a ticket's messages.
async fn says(rt: &Real, case: &Case, words: &str) -> bool {
    let path = format!("/REST/2.0/tickets?query=id={}%20AND%20Content%20LIKE%20'{words}'", case.id);
    rt.agent(Method::GET, &path, Value::Null).await["count"] == 1
}

#[tokio::test]
async fn request_tracker_takes_a_ticket_once_and_says_what_became_of_it() {
    let Some(rt) = rt() else { return };
    let vigie = vigie_in_rt(&rt);
    let reference = reference();
    let now = jiff::Timestamp::now();
    let before = vigie.changed(None, now).await.unwrap().unwrap();
    assert_eq!((before.more, vigie.find(&reference).await.unwrap()), (false, Some(Vec::new())));

    let ticket = values(&vigie, &reference, 0);
    let case = vigie.create(&ticket).await.unwrap();
    assert_eq!(vigie.find(&reference).await.unwrap(), Some(vec![case.id.clone()]));
    vigie.complete(&case, &ticket).await.unwrap();
    let path = format!("/REST/2.0/ticket/{}", case.id);
    let there = rt.agent(Method::GET, &path, Value::Null).await;
    assert_eq!((&there["Subject"], there["Priority"].as_str()), (&ticket["subject"], Some("100")));
    let standing = read(&vigie, &case).await;
    assert_eq!((standing.state, standing.agent.as_str()), (Some(State::Open), ""));
    assert_eq!((standing.first_answer_at_us, standing.merged_into), (None, None));

    vigie.note(&case, &also(&ticket, json!({ "note": "Ada wrote again: \"still kaput\"" }))).await.unwrap();
    vigie.reprioritise(&case, &values(&vigie, &reference, 2)).await.unwrap();
    let there = rt.agent(Method::GET, &path, Value::Null).await;
    assert_eq!(there["Priority"].as_str(), Some("50"));
    // What we do ourselves is no news: in a burst it would hold up what is.
    let own = vigie.changed(Some(&before.cursor), now).await.unwrap().unwrap();
    assert!(own.cases.iter().all(|(id, _)| *id != case.id), "{own:?}");
    // A comment is no answer, and leaves a new ticket new.
    assert_eq!((there["Status"].as_str(), read(&vigie, &case).await.first_answer_at_us), (Some("new"), None));

    let answer = json!({ "Content": "We are on it", "ContentType": "text/plain" });
    rt.agent(Method::POST, &format!("{path}/correspond"), answer).await;
    rt.agent(Method::PUT, &path, json!({ "Owner": "ada", "Status": "resolved" })).await;
    let standing = read(&vigie, &case).await;
    assert_eq!((standing.state, standing.agent.as_str()), (Some(State::Solved), "ada"));
    let answered = standing.first_answer_at_us.unwrap();
    assert!(answered >= now.as_second() * 1_000_000, "{answered} is before {now}");

    // Other tests' tickets change too.
    let mut changes = vigie.changed(Some(&before.cursor), now).await.unwrap().unwrap();
    let listed = changes.cases.iter().find(|(id, _)| *id == case.id).cloned();
    // Without a call for each.
    let listed = listed.unwrap().1.unwrap();
    assert_eq!((listed.state, listed.agent.as_str()), (Some(State::Solved), "ada"));
    assert_eq!(listed.first_answer_at_us, Some(answered));
    while changes.more {
        changes = vigie.changed(Some(&changes.cursor), now).await.unwrap().unwrap();
    }
    let later = vigie.changed(Some(&changes.cursor), now).await.unwrap().unwrap();
    assert!(later.cases.iter().all(|(id, _)| *id != case.id), "{later:?}");
    // Who begins now is not told of what was before.
    let begun = vigie.changed(None, now).await.unwrap().unwrap();
    assert!(begun.cases.iter().all(|(id, _)| *id != case.id), "{begun:?}");

    vigie.remove(&case).await.unwrap();
    assert_eq!(state(&vigie, &case).await, Some(State::Deleted));
    assert_eq!(vigie.find(&reference).await.unwrap(), Some(Vec::new()));
    let never = Case { id: "987654321".to_owned(), captured: case.captured };
    assert_eq!(state(&vigie, &never).await, Some(State::Deleted));
}

#[tokio::test]
async fn request_tracker_has_a_queue_by_team_and_fields_of_the_operators_own() {
    let Some(rt) = rt() else { return };
    let teams = |queue: &str| {
        let own = json!({ "queue": queue }).as_object().unwrap().clone();
        [("Billing".to_owned(), own)].into()
    };
    let vigie = |queue: &str, fields: &[&str]| {
        let fields: Vec<String> = fields.iter().map(|name| (*name).to_owned()).collect();
        vigie_in_rt(&rt).with_teams_and_fields(&teams(queue), &fields)
    };
    let desk = vigie("billing", &["network"]);
    for team in [None, Some("Billing")] {
        assert_eq!(advice_of(&desk, team).await, Vec::<String>::new(), "{team:?}");
    }
    let now = jiff::Timestamp::now();
    let mut cursor = desk.changed(None, now).await.unwrap().unwrap().cursor;
    let mut made = Vec::new();
    for (team, queue) in [("", "social"), ("Frontline", "social"), ("billing", "billing")] {
        let reference = reference();
        let more = json!({ "team": team, "fields": { "network": "blue\"sky" } });
        let case = desk.create(&also(&values(&desk, &reference, 0), more)).await.unwrap();
        let path = format!("/REST/2.0/ticket/{}", case.id);
        let there = rt.agent(Method::GET, &path, Value::Null).await;
        let fields = there["CustomFields"].as_array().unwrap().iter();
        let field = fields.clone().find(|field| field["name"] == "network");
        assert_eq!(field.map(|field| &field["values"]), Some(&json!(["blue\"sky"])), "{there}");
        let id = there["Queue"]["id"].as_str().unwrap();
        let queue_there = rt.agent(Method::GET, &format!("/REST/2.0/queue/{id}"), Value::Null).await;
        assert_eq!(queue_there["Name"], queue, "{team}");
        assert_eq!(desk.find(&reference).await.unwrap(), Some(vec![case.id.clone()]));
        rt.agent(Method::PUT, &path, json!({ "Status": "resolved" })).await;
        made.push(case);
    }
    // What agents do is listed of both queues.
    let mut listed = Vec::new();
    loop {
        let page = desk.changed(Some(&cursor), now).await.unwrap().unwrap();
        listed.extend(
            page.cases.into_iter().map(|(id, standing)| (id, standing.and_then(|standing| standing.state))),
        );
        cursor = page.cursor;
        if !page.more {
            break;
        }
    }
    for case in &made {
        let state = listed.iter().rev().find(|(id, _)| *id == case.id).map(|(_, state)| *state);
        assert_eq!(state, Some(Some(State::Solved)), "{}: {listed:?}", case.id);
        desk.remove(case).await.unwrap();
    }

    let said = advice_of(&vigie("nowhere", &[]), Some("Billing")).await;
    assert_eq!(said.len(), 2, "queue and custom field: {said:?}");
    assert_eq!(advice_of(&vigie("nowhere", &[]), None).await, Vec::<String>::new());
    // A field of one queue alone.
    let tags = vigie("billing", &["tags"]);
    let said = advice_of(&tags, None).await;
    assert!(said.len() == 1 && said[0].contains("social have not all of these custom fields"), "{said:?}");
    assert_eq!(advice_of(&tags, Some("Billing")).await, Vec::<String>::new());
}

/// Without anything else being changed.
#[tokio::test]
async fn what_a_customer_answers_in_request_tracker_is_listed() {
    let Some(rt) = rt() else { return };
    let options = json!({ "queue": "social", "recommendation": "network" });
    let vigie = helpdesk(built_in("rt"), &rt.word("url"), &rt.word("token"), options);
    let case = vigie.create(&values(&vigie, &reference(), 1)).await.unwrap();
    let before = vigie.changed(None, jiff::Timestamp::now()).await.unwrap().unwrap();
    let answer = json!({ "CustomFields": { "network": "9" } });
    rt.agent(Method::PUT, &format!("/REST/2.0/ticket/{}", case.id), answer).await;
    let changes = vigie.changed(Some(&before.cursor), jiff::Timestamp::now()).await.unwrap().unwrap();
    let listed = changes.cases.into_iter().find(|(id, _)| *id == case.id);
    assert_eq!(listed.and_then(|(_, standing)| standing?.recommendation), Some(9));
    vigie.remove(&case).await.unwrap();
}

/// A page as an agent's browser shows it.
fn page(rt: &Real, path: &str) -> String {
    let host = rt.word("url").trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(&host).unwrap();
    let token = rt.word("agent");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: token {token}\r\n\r\n").unwrap();
    let mut page = Vec::new();
    stream.read_to_end(&mut page).unwrap();
    String::from_utf8_lossy(&page).into_owned()
}

/// RT folds what looks quoted: agents would open a ticket and see everything but what somebody wants.
#[tokio::test]
async fn request_tracker_shows_the_post_at_once() {
    let Some(rt) = rt() else { return };
    let vigie = vigie_in_rt(&rt);
    let mut ticket = values(&vigie, &reference(), 1);
    let written = Texts::built_in(vigie.preset()).ticket(&sample::tickets("Lumio")[0]);
    ticket.insert("body".to_owned(), written["body"].clone());
    let case = vigie.create(&ticket).await.unwrap();
    vigie.note(&case, &also(&ticket, json!({ "note": "> folded\n> indeed" }))).await.unwrap();
    let page = page(&rt, &format!("/Ticket/History.html?id={}", case.id));
    let folded = |words: &str| {
        let before = &page[..page.find(words).unwrap_or_else(|| panic!("{words}: {page}"))];
        before.rfind("message-stanza closed").is_some_and(|at| !before[at..].contains("</div>"))
    };
    assert!(folded("folded"), "RT folds what mail would quote");
    assert!(!folded("third time this week"));
    vigie.remove(&case).await.unwrap();
}

#[tokio::test]
async fn request_tracker_shows_doubles_oldest_first_and_what_was_merged() {
    let Some(rt) = rt() else { return };
    let vigie = vigie_in_rt(&rt);
    let reference = reference();
    let ticket = values(&vigie, &reference, 1);
    let first = vigie.create(&ticket).await.unwrap();
    let second = vigie.create(&ticket).await.unwrap();
    assert_eq!(vigie.find(&reference).await.unwrap(), Some(vec![first.id.clone(), second.id.clone()]));
    let path = format!("/REST/2.0/ticket/{}", second.id);
    let now = jiff::Timestamp::now();
    let before = vigie.changed(None, now).await.unwrap().unwrap();
    rt.agent(Method::PUT, &path, json!({ "MergeInto": first.id })).await;
    let changes = vigie.changed(Some(&before.cursor), now).await.unwrap().unwrap();
    let listed = changes.cases.iter().find(|(id, _)| *id == second.id);
    assert_eq!(
        listed.map(|(_, standing)| standing.clone()),
        Some(None),
        "of a merged one more is to be asked"
    );
    assert_eq!(read(&vigie, &second).await.merged_into, Some(first.id.clone()));
    assert_eq!(read(&vigie, &first).await.merged_into, None);
}

#[tokio::test]
async fn what_request_tracker_cannot_take_out_its_agents_are_told_of() {
    let Some(rt) = rt() else { return };
    let vigie = vigie_in_rt(&rt);
    let ticket = values(&vigie, &reference(), 1);
    let case = vigie.create(&ticket).await.unwrap();
    let left = json!({ "subject": "P2: erased", "body": "The author has deleted the post." });
    vigie.erase(&case, &also(&ticket, left)).await.unwrap();
    let path = format!("/REST/2.0/ticket/{}", case.id);
    assert_eq!(rt.agent(Method::GET, &path, Value::Null).await["Subject"], "P2: erased");
    assert!(says(&rt, &case, "deleted%20the%20post").await && says(&rt, &case, "with%20rt-shredder").await);
    assert!(!says(&rt, &case, "never%20said").await);
}

#[tokio::test]
async fn what_request_tracker_refuses_with_a_good_status_is_a_refusal() {
    let Some(rt) = rt() else { return };
    let vigie = helpdesk(built_in("rt"), &rt.word("url"), &rt.word("token"), json!({ "queue": "locked" }));
    let ticket = values(&vigie, &reference(), 1);
    let case = vigie.create(&ticket).await.unwrap();
    let left = also(&ticket, json!({ "subject": "P2: erased", "body": "The author has deleted the post." }));
    let erased = vigie.erase(&case, &left).await.unwrap_err();
    let changed = vigie.reprioritise(&case, &values(&vigie, "", 3)).await.unwrap_err();
    for refused in [&erased, &changed] {
        assert!(
            matches!(refused, CallError::Refused { status: 200, .. }) && refused.is_of_one(),
            "{refused:?}"
        );
    }
    assert!(changed.to_string().contains("Permission Denied"), "{changed}");
    // Why is not known there: it is read again, and what is read holds what should be gone.
    assert!(erased.to_string().ends_with("says that it was not done"), "{erased}");
}

#[tokio::test(flavor = "multi_thread")]
async fn request_tracker_gets_the_daemons_tickets_and_what_its_agents_do_comes_back() {
    let Some(rt) = rt() else { return };
    let vigie = vigie_in_rt(&rt);
    let post = reference();
    let daemon_state = DaemonState::new("");
    let path = daemon_state.path();
    let line = json!({
        "id": post, "author": "a1", "text": "@lumio internet down again since this morning, fix it now",
        "language": "en", "created_at": "2026-11-02T10:00:00Z"
    });
    std::fs::write(path.join("posts.ndjson"), format!("{line}\n")).unwrap();
    std::fs::write(path.join("rt.token"), rt.word("token")).unwrap();
    let config = format!(
        "[[bridge]]\nname = \"desk\"\nkind = \"rt\"\nurl = \"{}\"\ntoken_file = \"{}\"\nfrom = \"oldest\"\n\
         poll_interval_s = 5\nquota_per_minute = 6000\n[bridge.options]\nqueue = \"social\"\n\
         [[source]]\nkind = \"ndjson\"\nformat = \"plain\"\npath = \"{}\"\n",
        rt.word("url"),
        path.join("rt.token").display(),
        path.join("posts.ndjson").display()
    );
    daemon_state.configure(&config, QUICK_BRAND);
    let daemon = daemon_state.start();
    let console = daemon.console();
    let bridge = || {
        let status = get(&console, "/v1/status");
        let status: Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
        status["bridges"][0].clone()
    };
    let until = async |what: &str, count: &str| {
        patiently(what, async {
            while bridge()[count] != 1 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    };
    until("a ticket in RT", "made").await;
    let sql = "SELECT lower(hex(ticket_id)) FROM entry";
    let cases = rusqlite::Connection::open(path.join("bridge-desk.sqlite")).unwrap();
    let reference: String = cases.query_row(sql, [], |row| row.get(0)).unwrap();
    let found = vigie.find(&reference).await.unwrap().unwrap();
    let [id] = &found[..] else { panic!("{found:?}") };
    let path = format!("/REST/2.0/ticket/{id}");
    let answer = json!({ "Content": "We are on it", "ContentType": "text/plain" });
    rt.agent(Method::POST, &format!("{path}/correspond"), answer).await;
    rt.agent(Method::PUT, &path, json!({ "Owner": "ada", "Status": "resolved" })).await;
    until("the ticket's end", "ended").await;
    let stored = || -> i64 {
        let sql = "SELECT count(*) FROM feedback WHERE kind = 'ticket_status'";
        daemon_state.ledger().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    // What was open may be reported first.
    let report = || -> Value {
        let arguments = ["report", "--json", "--since", "520w", "-c"];
        let report = run(crate::daemon::vigie().args(arguments).arg(&daemon_state.config), b"").stdout;
        serde_json::from_str(&report).unwrap()
    };
    patiently("the report", async {
        while stored() == 0 || report()["groups"][0]["answered"] != 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(daemon.terminate().0.success());
    vigie.remove(&Case { id: id.clone(), captured: Values::new() }).await.unwrap();
}

#[tokio::test]
async fn request_tracker_mails_nobody_outside() {
    let Some(rt) = rt() else { return };
    let vigie = vigie_in_rt(&rt);
    let ticket = values(&vigie, &reference(), 0);
    let case = vigie.create(&ticket).await.unwrap();
    vigie.note(&case, &also(&ticket, json!({ "note": "more" }))).await.unwrap();
    let mails = std::fs::read_to_string(rt.folder.join("mails")).unwrap();
    let receivers: Vec<&str> = mails.lines().filter(|line| line.starts_with("To: ")).collect();
    assert!(!receivers.is_empty(), "RT acknowledges each ticket to its requestor");
    assert!(
        receivers.iter().all(|to| to.contains("@social.invalid") || to.contains("@vigie.test")),
        "{receivers:?}"
    );
}

#[tokio::test]
async fn request_tracker_says_what_is_wrong_with_a_configuration() {
    let Some(rt) = rt() else { return };
    let (url, token) = (rt.word("url"), rt.word("token"));
    let vigie = |token: &str, options| helpdesk(built_in("rt"), &url, token, options);
    let right = vigie(&token, json!({ "queue": "social" }));
    assert_eq!(advice(&right).await, Vec::<String>::new());

    let stranger = vigie("1-2-3", json!({ "queue": "social" }));
    let refused = stranger.find("x").await.unwrap_err();
    assert!(matches!(refused, CallError::Refused { status: 401, .. }) && !refused.is_of_one(), "{refused:?}");
    assert_eq!(advice(&stranger).await.len(), 3);

    for queue in ["nowhere", "elsewhere", "O'Brien's \\ \"queue\""] {
        let lost = vigie(&token, json!({ "queue": queue }));
        let (refused, case) = lost.create(&values(&lost, &reference(), 0)).await.unwrap_err();
        assert!(matches!(refused, CallError::Refused { status: 403, .. }) && case.is_none(), "{refused:?}");
        assert_eq!(advice(&lost).await.len(), 2, "{queue}");
        assert!(lost.advice(1, None).contains("there is no queue"), "{queue}");
        let changes = lost.changed(Some("0"), jiff::Timestamp::now()).await;
        assert!(changes.is_ok_and(|changes| changes.unwrap().cases.is_empty()), "{queue}");
    }

    // RT takes a ticket whose field it does not know, without a word: the questions notice.
    let fieldless = vigie(&token, json!({ "queue": "social", "field": "vigie's" }));
    let said = advice(&fieldless).await;
    assert!(said.len() == 1 && said[0].contains("no custom field vigie's"), "{said:?}");
    let unrated = vigie(&token, json!({ "queue": "social", "recommendation": "npss" }));
    let said = advice(&unrated).await;
    assert!(said.len() == 1 && said[0].contains("npss"), "{said:?}");
    assert_eq!(fieldless.find("x").await.ok().flatten().unwrap_or_default(), Vec::<String>::new());
}

/// The preset that an operator would write for a helpdesk of their own, without a search by reference.
fn django(real: &Real, token: &str) -> Helpdesk {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helpdesks/django.toml");
    let preset = Preset::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    helpdesk(preset, &real.word("url"), token, json!({ "queue": 1 }))
}

#[tokio::test]
async fn django_helpdesk_takes_a_ticket_through_an_operators_own_preset() {
    let Some(real) = Real::find("VIGIE_TEST_DJANGO", "tests/helpdesks/django") else { return };
    let vigie = django(&real, &real.word("token"));
    assert_eq!(advice(&vigie).await, Vec::<String>::new());
    let reference = reference();
    assert_eq!(vigie.find(&reference).await.unwrap(), Some(Vec::new()));
    let ticket = values(&vigie, &reference, 0);
    let case = vigie.create(&ticket).await.unwrap();
    let another = vigie.create(&values(&vigie, &super::reference(), 3)).await.unwrap();
    assert_eq!(vigie.find(&reference).await.unwrap(), Some(vec![case.id.clone()]));
    assert_eq!(state(&vigie, &case).await, Some(State::Open));

    let note = vigie.note(&case, &also(&ticket, json!({ "note": "a follower wrote" }))).await.unwrap();
    vigie.erase_note(&case, &note, &ticket).await.unwrap();
    vigie.note(&case, &also(&ticket, json!({ "note": "Ada wrote again \u{1f525}" }))).await.unwrap();
    vigie.reprioritise(&case, &values(&vigie, &reference, 2)).await.unwrap();
    let path = format!("/api/tickets/{}/", case.id);
    let there = real.agent(Method::GET, &path, Value::Null).await;
    assert_eq!((&there["title"], &there["priority"]), (&ticket["subject"], &json!(3)));
    let comments: Vec<&Value> =
        there["followup_set"].as_array().unwrap().iter().map(|one| &one["comment"]).collect();
    assert!(comments.contains(&&json!("Ada wrote again \u{1f525}")), "{comments:?}");
    assert!(!comments.contains(&&json!("a follower wrote")), "{comments:?}");

    real.agent(Method::PATCH, &path, json!({ "status": 3 })).await;
    assert_eq!(state(&vigie, &case).await, Some(State::Solved));
    let left = json!({ "subject": "erased", "body": format!("Taken back.\nvigie-ref: {reference}") });
    vigie.erase(&case, &also(&ticket, left)).await.unwrap();
    let there = real.agent(Method::GET, &path, Value::Null).await;
    assert_eq!(there["title"], "erased");
    assert!(!there.to_string().contains("kaput") && !there.to_string().contains("wrote again"), "{there}");

    for case in [&case, &another] {
        vigie.remove(case).await.unwrap();
        assert_eq!(state(&vigie, case).await, Some(State::Deleted));
    }
    let refused = django(&real, "nobody").find(&reference).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused { status: 401 | 403, .. }), "{refused:?}");
}
