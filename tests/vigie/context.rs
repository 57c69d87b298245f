//! Who the company knows, from its files to the ticket: imports beside a running daemon, contacts over HTTP and the
//! ticket socket, and people who want to be forgotten.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use firehose::client::proto::delivery::Record;
use jiff::Timestamp;
use vigie::ticket::proto::{AgentState, Touchpoint, client_message::Kind};
use vigie::wire::{Address, Client, Introduction};

use crate::daemon::{BRAND, Daemon, Network, Output, State, patiently, run, vigie};

/// A post of a customer of the file below.
const POST: &str = r#"{"id":"1","author":{"id":"7","handle":"@Ana_D"},"network":"x","text":"@lumio internet down again since this morning, fix it now","created_at":"2026-11-20T12:00:00Z"}"#;

const CUSTOMERS: &str = "key;name;tier;x\nC-ana;Ana Durand;Gold;@ana_d\n";

fn import(state: &State, kind: &str, file: &str, text: &str, more: &[&str]) -> Output {
    let path = state.path().join(file);
    std::fs::write(&path, text).unwrap();
    run(vigie().args(["import", kind]).arg(&path).arg("-c").arg(&state.config).args(more), b"")
}

fn replay(state: &State, more: &[&str]) -> String {
    let output = run(
        vigie().args(["replay", "--format", "plain", "-c"]).arg(&state.config).args(more).arg("-"),
        format!("{POST}\n").as_bytes(),
    );
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout
}

fn post(console: &str, headers: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(console).unwrap();
    write!(
        stream,
        "POST /v1/touchpoints HTTP/1.1\r\nHost: {console}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .unwrap();
    // A body that is too long is refused before all of it is sent: then the connection breaks under us, and with luck
    // we have the answer.
    drop(stream.write_all(body.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8(answer).unwrap()
}

/// A state whose daemon reads posts that are appended to a file.
fn state_of_posts(posts: &str, rest: &str) -> State {
    let state = State::new("");
    std::fs::write(state.path().join("posts.ndjson"), posts).unwrap();
    state.configure(&state.posts_source(), &format!("{rest}\n{BRAND}"));
    state
}

fn rows(state: &State, sql: &str) -> i64 {
    state.ledger().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_beside_a_daemon_under_load_lets_every_commit_through() {
    let network = Network::new(20_000, 0.05);
    let state = State::new(&network.source());
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    // As many customers as take some seconds here, again and again until the daemon has read everything.
    let mut csv = "key,name,tier,bluesky\n".to_owned();
    (0..30_000)
        .for_each(|n| csv.push_str(&format!("C{:05},Customer {n},gold,did:plc:{n}\n", n * 7919 % 30_000)));
    let is_done = AtomicBool::new(false);
    let imports = std::thread::scope(|scope| {
        let importing = scope.spawn(|| {
            let mut imports = 0;
            while !is_done.load(Ordering::Relaxed) || imports == 0 {
                imports += 1;
                let text = csv.replace("gold", &format!("tier{imports}"));
                let output = import(&state, "customers", "c.csv", &text, &["--replace"]);
                assert!(output.status.success(), "{}", output.stderr);
                assert!(output.stdout.contains("30,000 rows read"), "{}", output.stdout);
            }
            imports
        });
        let begun = std::time::Instant::now();
        while state.frames() < 20_000 && begun.elapsed() < crate::daemon::PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        is_done.store(true, Ordering::Relaxed);
        importing.join().unwrap()
    });
    assert_eq!(state.frames(), 20_000);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert!(!log.contains("ending after a fault"), "{log}");
    let sql =
        "SELECT count(*) FROM customer c JOIN account a ON a.customer = c.id WHERE a.network = 'bluesky'";
    assert_eq!(rows(&state, sql), 30_000);
    assert_eq!(rows(&state, &format!("SELECT count(*) FROM customer WHERE tier = 'tier{imports}'")), 30_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_says_who_the_poster_is_and_what_they_tried_before() {
    let state = state_of_posts(&format!("{POST}\n"), "");
    let output = import(&state, "customers", "c.csv", CUSTOMERS, &[]);
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(
        output.stdout.split_once(": ").unwrap().1,
        "CSV separated by semicolons: 1 row read: 1 new, 0 changed, 0 unchanged, 0 rejected\n"
    );
    let contacts = "customer,at,channel,note\nC-ana,2026-11-20T09:00:00Z,phone,line down\n\
        C-ana,2026-11-20T11:00:00Z,mail,second time\nC-ana,2026-11-20T12:00:01Z,mail,after the post\n";
    assert!(import(&state, "touchpoints", "t.csv", contacts, &[]).status.success());

    let replayed = replay(&state, &[]);
    assert_eq!(replayed, replay(&state, &[]), "the same bytes again");
    for expected in ["C-ana", "Ana Durand", "second time", "line down"] {
        assert!(replayed.contains(expected), "{expected} is not in {replayed}");
    }
    assert!(!replayed.contains("after the post"), "a contact of later: {replayed}");
    assert!(!replay(&state, &["--no-context"]).contains("Ana Durand"));
    let explained = run(vigie().args(["explain", "-c"]).arg(&state.config), POST.as_bytes());
    assert!(explained.status.success(), "{}", explained.stderr);
    assert!(explained.stdout.contains("Ana Durand"), "{}", explained.stdout);

    // The daemon decides at the time at which a post comes, and looks for contacts before that.
    let at = Timestamp::now() - Duration::from_hours(1);
    let contacts = format!("customer,at,channel,note\nC-ana,{at},phone,third time\n");
    assert!(import(&state, "touchpoints", "later.csv", &contacts, &[]).status.success());
    let _daemon = state.start();
    let mut client = state.subscribe("helpdesk", 10).await;
    let delivery = patiently("the ticket", client.next()).await.unwrap();
    let Some(Record::Ticket(ticket)) = delivery.record else { panic!("{delivery:?}") };
    let ticket = serde_json::to_string(&format!("{ticket:?}")).unwrap();
    for expected in ["C-ana", "Ana Durand", "gold", "third time"] {
        assert!(ticket.contains(expected), "{expected} is not in {ticket}");
    }
}

#[test]
fn a_wrong_row_ends_an_import_with_1_and_a_wrong_file_with_64() {
    let state = state_of_posts("", "");
    let output = import(&state, "customers", "c.csv", "key,value\nC1,5\nC2,much\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("/c.csv:3: value = \"much\": must be a number"), "{}", output.stderr);
    assert!(output.stderr.contains("1 of 2 rows were rejected"), "{}", output.stderr);
    assert!(output.stdout.contains("1 new, 0 changed, 0 unchanged, 1 rejected"), "{}", output.stdout);
    let output = import(&state, "customers", "c.csv", "key,teir\nC1,5\n", &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stderr.contains("did you mean tier?"), "{}", output.stderr);
    let unknown = run(vigie().args(["import", "customers", "/nonexistent", "-c"]).arg(&state.config), b"");
    assert_eq!(unknown.status.code(), Some(64));
    // From a pipe, into a ledger without a config.
    let ledger = state.path().join("other.sqlite");
    let piped = run(vigie().args(["import", "customers", "-", "--ledger"]).arg(&ledger), b"key\nC1\n");
    assert!(piped.status.success(), "{}", piped.stderr);
    assert!(piped.stdout.contains("1 new"), "{}", piped.stdout);
    let piped =
        run(vigie().args(["import", "customers", "-", "--ledger"]).arg(&ledger), b"key,value\nC1,much\n");
    assert!(piped.stderr.contains("stdin:2: value"), "{}", piped.stderr);
    let help = run(vigie().args(["import", "customers", "--help"]), b"");
    for expected in ["purchases", "DATE AMOUNT WHAT", "Rows are merged by key"] {
        assert!(help.stdout.contains(expected), "{expected} is not in {}", help.stdout);
    }
}

#[test]
fn what_lies_in_the_future_and_contacts_of_nobody_are_taken_and_counted() {
    let state = state_of_posts("", "");
    let customers =
        "key,x,purchases\nC1,@ana,2020-01-02 9 cable | 2190-01-01 5 box\nC2,,2020-01-02 9 cable\n";
    let output = import(&state, "customers", "c.csv", customers, &[]);
    assert!(output.status.success(), "{}", output.stderr);
    let expected =
        "2 new, 0 changed, 0 unchanged, 0 rejected; 1 in the future: taken, and counting from then on\n";
    assert!(output.stdout.ends_with(expected), "{}", output.stdout);
    let contacts = "customer,network,account,at,channel\n\
        C1,,,2020-01-02,phone\nC1,,,2190-01-01,visit\nC9,,,2020-01-02,phone\nC9,,,2020-01-03,mail\n\
        ,x,@ana,2020-01-04,chat\n,x,@ben,2020-01-04,chat\n";
    let expected = "6 new, 0 changed, 0 unchanged, 0 rejected; 1 in the future: taken, and counting from then on; \
                    3 of nobody known: kept until somebody is\n";
    for more in [&[][..], &["--replace"]] {
        let output = import(&state, "touchpoints", "t.csv", contacts, more);
        assert!(output.status.success(), "{}", output.stderr);
        let said = output.stdout.replace("0 new, 0 changed, 6 unchanged", "6 new, 0 changed, 0 unchanged");
        assert!(said.replace("; 0 removed", "").ends_with(expected), "{}", output.stdout);
    }
    assert_eq!(rows(&state, "SELECT count(*) FROM touchpoint"), 6);
}

#[test]
fn check_warns_of_teams_skills_tiers_and_flags_that_nobody_has() {
    let state = state_of_posts("", "");
    let rules = "[priority]\ntier = { gold = 100, platinum = 200 }\n\
        caps = { combinations = 9 }\n[[priority.combination]]\nname = \"angry\"\npoints = 9\nwhen = { flag = [\"press\", \"vip\"] }\n\
        [[team]]\nname = \"Billing\"\n[[team]]\nname = \"Nobody\"\n\
        [[team]]\nname = \"Night\"\nfallback = \"billing\"\n\
        [[route]]\nwhen = { tier = \"glod\" }\nteam = \"Billing\"\nskills = [\"invoices\", \"fibre\"]\n\
        [[expectation]]\nwhen = { tier = \"Gold\", flag = \"press\" }\nanswer_min = 30\n";
    state.configure(&state.posts_source(), &format!("{rules}\n{BRAND}"));
    let warnings = || {
        let output = run(vigie().args(["check", "-c"]).arg(&state.config), b"");
        assert!(output.status.success(), "{}", output.stderr);
        let lines = output.stderr.lines().filter_map(|line| line.strip_prefix("warning: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), [""; 0], "without a ledger");
    assert!(
        import(&state, "customers", "c.csv", "key,tier,flags\nC1,Gold,press\nC2,silver,\n", &[])
            .status
            .success()
    );
    let tiers = "no customer of the ledger has it: it never counts; there are gold, silver";
    let of_customers = [
        format!("priority.tier: \"platinum\": {tiers}"),
        "combination \"angry\".when.flag: \"vip\": no customer of the ledger has it: it never counts; there are press"
            .to_owned(),
        format!("route[1].when.tier: \"glod\": {tiers}"),
    ];
    assert_eq!(warnings(), of_customers, "no agent is known yet");
    assert!(
        import(&state, "agents", "a.csv", "name,team,skills\nLena,billing,fibre\n", &[]).status.success()
    );
    let of_agents = [
        "team \"Nobody\": no agent of the ledger belongs to it: its tickets name the team alone",
        "team \"Night\": no agent of the ledger belongs to it: the fallback \"Billing\" is asked",
        "route[1].skills: \"invoices\": no agent of the ledger has it: nobody can take these tickets; there are fibre",
    ];
    let expected: Vec<_> = of_agents.map(str::to_owned).into_iter().chain(of_customers).collect();
    assert_eq!(warnings(), expected);
}

#[test]
fn a_customer_is_forgotten_beside_a_running_daemon() {
    let state = state_of_posts("", "");
    assert!(import(&state, "customers", "c.csv", CUSTOMERS, &[]).status.success());
    let _daemon = state.start();
    let forget =
        |key: &str| run(vigie().arg("forget").args(key.split(' ')).arg("-c").arg(&state.config), b"");
    let output = forget("C-ana");
    assert!(output.status.success(), "{}", output.stderr);
    assert!(output.stdout.contains("C-ana is removed: 1 account, "), "{}", output.stdout);
    assert_eq!(rows(&state, "SELECT (SELECT count(*) FROM customer) + (SELECT count(*) FROM account)"), 0);
    let again = forget("C-ana");
    assert_eq!(again.status.code(), Some(64));
    assert!(again.stderr.contains("no customer \"C-ana\""), "{}", again.stderr);

    // Who is no customer may ask for it, too; others' contacts stay.
    let contacts = "network,account,channel,at\nx,@Ben,phone,2026-11-20\nx,cid,phone,2026-11-20\n";
    assert!(import(&state, "touchpoints", "t.csv", contacts, &[]).status.success());
    let output = forget("--network x --account @BEN");
    assert!(output.status.success(), "{}", output.stderr);
    let said =
        "x ben is removed: 0 accounts, 1 touchpoint, 0 reports of touchpoints; 0 tickets are cleared of it";
    assert!(output.stdout.starts_with(said), "{}", output.stdout);
    assert_eq!(rows(&state, "SELECT count(*) FROM touchpoint"), 1);
    let again = forget("--network x --account ben");
    assert_eq!(again.status.code(), Some(64));
    assert!(again.stderr.contains("nothing is known of x ben"), "{}", again.stderr);
    assert!(import(&state, "customers", "d.csv", "key,x\nC-cid,cid\n", &[]).status.success());
    let linked = forget("--network x --account cid");
    assert_eq!(linked.status.code(), Some(64));
    assert!(linked.stderr.contains("is customer \"C-cid\"'s"), "{}", linked.stderr);
}

#[test]
fn contacts_are_taken_over_http_once_they_are_durable() {
    let state = state_of_posts("", "");
    let daemon = state.start();
    let json = "Content-Type: application/json\r\n";
    let answer =
        post(&daemon.console(), json, r#"{"customer":"C1","channel":"phone","at":"2026-11-20T10:00:00Z"}"#);
    assert!(answer.starts_with("HTTP/1.1 202") && answer.ends_with(r#"{"accepted":1}"#), "{answer}");
    assert_eq!(rows(&state, "SELECT count(*) FROM touchpoint"), 1, "it is there when the answer is");
    let lines = "{\"customer\":\"C1\",\"channel\":\"mail\"}\n{\"network\":\"x\",\"account\":\"@ben\",\"channel\":\"mail\"}\n";
    let answer = post(&daemon.console(), "Content-Type: application/x-ndjson\r\n", lines);
    assert!(answer.ends_with(r#"{"accepted":2}"#), "{answer}");
    let answer = post(&daemon.console(), json, r#"[{"customer":"C1","channel":"chat"},{"channel":"chat"}]"#);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("names nobody"), "{answer}");
    assert_eq!(rows(&state, "SELECT count(*) FROM touchpoint"), 3, "all of a request or nothing");
    // What a browser sends for a page elsewhere without asking us.
    let answer =
        post(&daemon.console(), "Content-Type: text/plain\r\n", r#"{"customer":"C1","channel":"chat"}"#);
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    let answer = post(&daemon.console(), json, &format!("[{}", " ".repeat(1024 * 1024)));
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(rows(&state, "SELECT count(*) FROM touchpoint"), 3);
}

#[test]
fn once_a_token_may_report_everybody_needs_one_for_it() {
    let state = State::new("");
    let token = |name: &str, rights: &str| {
        let path = state.path().join(name);
        std::fs::write(&path, format!("the secret of {name}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("[[token]]\nname = \"{name}\"\nfile = \"{}\"\nrights = [\"{rights}\"]\n", path.display())
    };
    let tokens = [token("reporter", "feedback"), token("operator", "operate")].concat();
    std::fs::write(state.path().join("posts.ndjson"), "").unwrap();
    state.configure(&state.posts_source(), &format!("{tokens}\n{BRAND}"));
    let daemon = state.start();
    let body = r#"{"customer":"C1","channel":"phone"}"#;
    let ask = |daemon: &Daemon, token: &str| {
        let authorization = match token {
            "" => String::new(),
            token => format!("Authorization: Bearer the secret of {token}\r\n"),
        };
        let answer =
            post(&daemon.console(), &format!("Content-Type: application/json\r\n{authorization}"), body);
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask(&daemon, ""), "401");
    assert_eq!(ask(&daemon, "operator"), "403");
    assert_eq!(ask(&daemon, "reporter"), "202");
    assert_eq!(ask(&daemon, "nobody"), "401");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_of_the_socket_report_is_found_with_the_next_post() {
    let state = state_of_posts("", "");
    assert!(import(&state, "customers", "c.csv", CUSTOMERS, &[]).status.success());
    let _daemon = state.start();
    let introduction = Introduction { subscription: "desk".into(), ..Introduction::default() };
    let mut client =
        patiently("a welcome", Client::connect(&Address::Unix(state.socket()), introduction)).await.unwrap();
    let at_us = "2026-11-20T10:00:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let touchpoint = Touchpoint {
        network: "x".into(),
        account: "@Ana_D".into(),
        channel: "phone".into(),
        at_us,
        note: "was cut off".into(),
        ..Touchpoint::default()
    };
    client.report(Kind::Touchpoint(touchpoint)).await.unwrap();
    let agent = AgentState { agent: "Ben".into(), open_tickets: 3, ..AgentState::default() };
    client.report(Kind::AgentState(agent)).await.unwrap();
    patiently("the agent", async {
        while rows(&state, "SELECT count(*) FROM agent WHERE name = 'Ben' AND open_tickets = 3 AND team = ''")
            == 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(
        rows(&state, "SELECT count(*) FROM touchpoint WHERE customer = 'C-ana'"),
        1,
        "the account is linked"
    );
    assert!(replay(&state, &[]).contains("was cut off"));
}
