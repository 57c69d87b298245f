//! Tickets in a helpdesk: within the daemon, apart from it, and tried beforehand.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use firehose::helpdesk::{Fake, Fault, Faults, Options, Plain, serve};
use serde_json::{Value, json};

use crate::access::certificates;
use crate::daemon::{PATIENCE, QUICK_BRAND, State, get, patiently, reserved, run, vigie};

const POSTS: &str = r#"{"id":"1","author":"a1","text":"@lumio internet down again since this morning, fix it now","language":"en","created_at":"2026-11-02T10:00:00Z"}
{"id":"2","author":"a2","text":"@lumio panne depuis ce matin, à l'aide 😡","language":"fr","created_at":"2026-11-02T10:00:00Z"}
"#;

fn state(url: &str, more: &str) -> State {
    let state = State::new("");
    let path = state.path();
    std::fs::write(path.join("posts.ndjson"), POSTS).unwrap();
    std::fs::write(path.join("plain.toml"), Plain::PRESET).unwrap();
    std::fs::write(path.join("helpdesk.token"), "any").unwrap();
    let (posts, token) = (path.join("posts.ndjson"), path.join("helpdesk.token"));
    let source = format!(
        "[[bridge]]\nname = \"desk\"\nkind = \"http\"\npreset_file = \"plain.toml\"\nurl = \"{url}\"\ntoken_file = \"{}\"\n\
         from = \"oldest\"\n{more}\n[[source]]\nkind = \"ndjson\"\nformat = \"plain\"\npath = \"{}\"\n",
        token.display(),
        posts.display()
    );
    state.configure(&source, QUICK_BRAND);
    state
}

/// Something that answers the same to whoever asks, as long as the test lasts.
fn always(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::Builder::new().spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 4096];
            let _ = std::io::Read::read(&mut stream, &mut asked);
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    serving.unwrap();
    url
}

async fn helpdesk() -> Fake<Plain> {
    serve(Plain::default(), Options::default()).await.unwrap()
}

async fn tickets(fake: &Fake<Plain>, count: usize) -> Vec<Value> {
    let begun = std::time::Instant::now();
    loop {
        let tickets = fake.with(|plain| plain.tickets.values().cloned().collect::<Vec<_>>());
        if tickets.len() >= count {
            return tickets;
        }
        assert!(begun.elapsed() < PATIENCE, "only {tickets:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_takes_its_tickets_to_the_helpdesk_and_drains_though_that_hangs() {
    let fake = helpdesk().await;
    let state = state(&fake.url(), "");
    // The second ticket is made, and the call that makes it never answered.
    let mut made = 0;
    fake.set_faults(Faults::choose(move |request| {
        made += usize::from(request.method == "POST");
        (made == 2).then_some(Fault::Silent { done: true })
    }));
    let daemon = state.start();
    let tickets = tickets(&fake, 2).await;
    let body = |index: usize| tickets[index]["body"].as_str().unwrap().to_owned();
    let (fr, en) = if body(0).contains("panne") { (body(0), body(1)) } else { (body(1), body(0)) };
    assert!(en.starts_with("│ @lumio internet down again") && en.contains("HOW TO ANSWER"), "{en}");
    assert!(fr.starts_with("│ @lumio panne depuis ce matin, à l'aide 😡"), "{fr}");
    assert!(fr.contains("COMMENT RÉPONDRE"), "{fr}");
    let reference = tickets[0]["ref"].as_str().unwrap();
    assert!(body(0).ends_with(&format!("vigie-ref: {reference}")));
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    assert!(log.contains("a helpdesk does not answer; its bridge is not waited for"), "{log}");
    // The next start finds the ticket that nobody was told of, and makes none again.
    fake.set_faults(Faults::none());
    let daemon = state.start();
    let begun = std::time::Instant::now();
    while state.acknowledged("bridge-desk").len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "not acknowledged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(daemon.terminate().0.success());
    assert_eq!(fake.counts().0, 2);
}

/// A file may be read to its end before the bridge has come to subscribe, which here it does at the next start.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_daemon_reads_first_is_for_its_bridges_too() {
    let fake = helpdesk().await;
    let state = state(&fake.url(), "");
    let later = state.path().join("later");
    let config = std::fs::read_to_string(&state.config).unwrap();
    let config = config.replace("from = \"oldest\"", &format!("state_dir = \"{}\"", later.display()));
    std::fs::write(&state.config, config).unwrap();
    let daemon = state.start();
    let mut client = state.subscribe("other", 2).await;
    for _ in 0..2 {
        drop(client.next().await.unwrap());
    }
    daemon.wait_for("bridge failed");
    assert!(daemon.terminate().0.success());
    std::fs::create_dir(later).unwrap();
    let daemon = state.start();
    assert_eq!(tickets(&fake, 2).await.len(), 2);
    assert!(daemon.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_cannot_run_ends_nothing_else() {
    let fake = helpdesk().await;
    let state = state(&fake.url(), "state_dir = \"/proc/nowhere\"");
    let daemon = state.start();
    daemon.wait_for("bridge failed");
    let mut client = state.subscribe("other", 1).await;
    drop(client.next().await.unwrap());
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apart_a_bridge_is_a_process_of_its_own() {
    let fake = helpdesk().await;
    let state = state(&fake.url(), "run = \"apart\"");
    let daemon = state.start();
    let mut bridge = vigie();
    bridge.args(["bridge", "run", "-c"]).arg(&state.config);
    let mut bridge = bridge.spawn().unwrap();
    assert_eq!(tickets(&fake, 2).await.len(), 2);
    let pid = bridge.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert!(bridge.wait().unwrap().success());
    assert!(daemon.terminate().0.success());
}

/// The daemon's socket on the network: the bridge comes in by its certificate.
#[tokio::test(flavor = "multi_thread")]
async fn apart_a_bridge_comes_in_over_tls() {
    let fake = helpdesk().await;
    let port = reserved().port();
    let socket = format!("run = \"apart\"\nsocket = \"localhost:{port}\"");
    let state = state(&fake.url(), &format!("{socket}\nTLS"));
    certificates(state.path());
    let path = state.path().display();
    let text = std::fs::read_to_string(&state.config).unwrap();
    let text = text.replace("[wire]\n", &format!("[wire]\ntcp = \"0.0.0.0:{port}\"\n"))
        + &format!("[tls]\ncert_file = \"{path}/server.pem\"\nkey_file = \"{path}/server.key\"\n")
        + &format!("client_ca_file = \"{path}/ca.pem\"\n")
        + "[[token]]\nname = \"bridge\"\ncertificate = \"bridge.example\"\n";
    let ours = format!("socket_cert_file = \"{path}/client.pem\"\nsocket_key_file = \"{path}/client.key\"");
    let tls = format!("socket_ca_file = \"{path}/ca.pem\"\n{ours}");
    std::fs::write(&state.config, text.replace("TLS", &tls)).unwrap();
    // The same without a certificate of its own, and without TLS.
    let (nameless, plain) = (state.path().join("nameless.toml"), state.path().join("plain.conf"));
    std::fs::write(&nameless, text.replace("TLS", &format!("socket_ca_file = \"{path}/ca.pem\""))).unwrap();
    std::fs::write(&plain, text.replace("TLS", "")).unwrap();
    let daemon = state.start();
    // Until it says this.
    let start = |config: &std::path::Path, expected: &str| {
        let mut bridge = vigie();
        let mut bridge =
            bridge.args(["bridge", "run", "-c"]).arg(config).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(bridge.stderr.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains(expected)), "{expected}");
        bridge
    };
    for config in [&nameless, &plain] {
        let mut bridge = start(config, "bridge failed");
        bridge.kill().unwrap();
        bridge.wait().unwrap();
    }
    assert_eq!(fake.counts().0, 0, "a stranger gets no ticket");
    let mut bridge = start(&state.config, "connected to the daemon");
    assert_eq!(tickets(&fake, 2).await.len(), 2);
    bridge.kill().unwrap();
    bridge.wait().unwrap();
    assert!(daemon.terminate().0.success());
}

/// Webhooks of one bridge that signs and one that does not, as the helpdesk and as others would send them.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_whether_webhooks_arrive_and_their_secret_is_right() {
    let fake = helpdesk().await;
    let secrets = "webhook_secret_file = \"SECRET\"\nWEBHOOK";
    let state = state(&fake.url(), secrets);
    let text = std::fs::read_to_string(&state.config).unwrap();
    for secret in ["right", "wrong"] {
        std::fs::write(state.path().join(secret), format!("a {secret} secret")).unwrap();
    }
    let config = |secret: &str, webhook_url: &str, console: &str| {
        let secret = state.path().join(secret).display().to_string();
        let url =
            if webhook_url.is_empty() { String::new() } else { format!("webhook_url = \"{webhook_url}\"") };
        let text = text.replace("SECRET", &secret).replace("WEBHOOK", &url).replace("127.0.0.1:0", console);
        let path = state.path().join("test.toml");
        std::fs::write(&path, text).unwrap();
        path
    };
    let signed =
        "\n[webhook]\nid = \"event.ticket\"\nsignature_header = \"X-Sig\"\ntimestamp_header = \"X-Time\"\n";
    for (webhook, how) in
        [("\n[webhook]\nid = \"event.ticket\"\n", "with the secret at its end"), (signed, "signed in X-Sig")]
    {
        std::fs::write(state.path().join("plain.toml"), format!("{}{webhook}", Plain::PRESET)).unwrap();
        std::fs::copy(config("right", "", "127.0.0.1:0"), &state.config).unwrap();
        let test = |config: &std::path::Path, expected: Option<&str>| {
            let output = run(vigie().args(["bridge", "test", "-c"]).arg(config), b"");
            let is_right = output.status.success();
            let said = output.stdout;
            match expected {
                None => assert!(is_right, "{said}{}", output.stderr),
                Some(expected) => assert!(!is_right && said.contains(expected), "{said}{}", output.stderr),
            }
            assert!(
                said.contains("test ticket: removed"),
                "what else there is is tried all the same: {said}"
            );
            said
        };
        // Nobody runs yet: as the guide says it.
        let nobody = reserved().to_string();
        let said = test(&config("right", "", &nobody), None);
        assert!(said.contains("note   webhooks: not tried, as no vigie runs here"), "{said}");
        test(&config("right", &format!("http://{nobody}"), &nobody), Some("wrong  webhook address: "));

        let daemon = state.start();
        let console = daemon.console();
        let said = test(&config("right", "", &console), None);
        let right =
            format!("ok     webhooks: http://{console}/v1/bridge/desk answers and knows the secret, {how}");
        assert!(said.contains(&right) && said.contains("only known with webhook_url"), "{said}");
        let said = test(&config("right", &format!("http://{console}"), &nobody), None);
        assert!(said.contains(&right) && !said.contains("only known with webhook_url"), "{said}");
        test(
            &config("wrong", "", &console),
            Some("does not take it\n         the daemon that runs has another secret"),
        );
        // Something else answers there, and one that takes everything.
        test(
            &config("right", &fake.url(), &console),
            Some("what answers there is no vigie that takes webhooks"),
        );
        let yes = always("HTTP/1.1 400 Bad Request\r\nContent-Length: 15\r\n\r\nnames no ticket");
        test(&config("right", &yes, &console), Some("takes another one, too"));
        assert!(daemon.terminate().0.success());
        std::fs::remove_file(state.path().join("ledger.sqlite")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_what_is_right_and_leaves_nothing_behind() {
    let fake = helpdesk().await;
    let state = state(&fake.url(), "");
    let test = || run(vigie().args(["bridge", "test", "-c"]).arg(&state.config).arg("desk"), b"");
    let output = test();
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    for said in [
        "ok     address: 127.0.0.1",
        "ok     test ticket: made, it is 1",
        "ok     search by reference",
        "ok     priority: changed, and read back",
        "ok     note: added",
        "ok     state: it is \"open\"",
        "ok     erasure: done; the subject is gone when it is read back, of the text nothing is seen",
        "ok     test ticket: removed",
        "bridge desk: right",
    ] {
        assert!(output.stdout.contains(said), "{said}:\n{}", output.stdout);
    }
    assert!(fake.with(|plain| plain.tickets.is_empty()));

    // Whatever fails, and however: the ticket goes, also one that nobody was told of.
    let breaks = |method: &'static str, part: &'static str, fault: Fault| {
        fake.set_faults(Faults::choose(move |request| {
            (request.method == method && request.path.contains(part)).then_some(fault)
        }));
        let output = test();
        fake.set_faults(Faults::none());
        assert_eq!(output.status.code(), Some(1), "{}{}", output.stdout, output.stderr);
        assert!(fake.with(|plain| plain.tickets.is_empty()), "{}", output.stdout);
        output.stdout
    };
    let told = breaks("POST", "/notes", Fault::Status { status: 403, done: false });
    assert!(told.contains("wrong  note: the helpdesk refuses: status 403"), "{told}");
    assert!(told.contains("it knows us, and the account may not do this"), "{told}");
    let told = breaks("POST", "/tickets", Fault::Reset { done: true });
    assert!(told.contains("wrong  test ticket:"), "{told}");
    let told = breaks("POST", "/tickets", Fault::Page { done: true });
    assert!(told.contains("a page came instead of data"), "{told}");
    assert_eq!(fake.counts().0, 4);

    // One that says yes and does nothing, as where a right lacks.
    for (field, said) in
        [("level", "wrong  priority: it is still"), ("subject", "wrong  erasure: the subject is still")]
    {
        fake.with(|plain| plain.ignored = vec![field.to_owned()]);
        let output = test();
        assert!(!output.status.success() && output.stdout.contains(said), "{}", output.stdout);
        assert!(output.stdout.contains("may the account change tickets"), "{}", output.stdout);
    }
    fake.with(|plain| plain.ignored = vec!["level".to_owned()]);
    // And one that says so in what it answers.
    let preset = Plain::PRESET.replace(
        "\"points\": {{ priority }}}'\n\n[[erase]]",
        "\"points\": {{ priority }}}'\ndone = \"response.level == level_value\"\n\n[[erase]]",
    );
    assert_ne!(preset, Plain::PRESET);
    std::fs::write(state.path().join("plain.toml"), preset).unwrap();
    let output = test();
    assert!(
        output.stdout.contains("wrong  priority: the helpdesk refuses: status 200 whose answer says"),
        "{}",
        output.stdout
    );
}

/// The helpdesk with a queue by team, and fields of the operator's own.
fn state_with_teams(url: &str, options: &str) -> State {
    let more = format!(
        "{options}\n[[team]]\nname = \"Outages\"\n[[team]]\nname = \"Rest\"\n\
         [[route]]\nwhen = {{ language = \"en\" }}\nteam = \"outages\"\n\
         [[route]]\nwhen = {{}}\nteam = \"rest\"\n"
    );
    let state = state(url, &more);
    let preset = Plain::PRESET.replace(
        "\"ref\": {{ ref }},",
        "\"ref\": {{ ref }}, \"queue\": {{ option.queue }}, \"fields\": {{ fields }},",
    );
    let more = "[options.queue]\nabout = \"where\"\ndefault = \"general\"\nby_team = true\n\
        [[probe]]\nabout = \"queue\"\ncall = { method = \"GET\", path = \"/tickets?ref=none\" }\n\
        right = \"option.queue in ['general', 'outages']\"\nadvice = \"there is no queue {{ option.queue }}\"\n";
    assert_ne!(preset, Plain::PRESET);
    std::fs::write(state.path().join("plain.toml"), preset + more).unwrap();
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_go_to_their_teams_queue_with_fields_of_the_operators_own() {
    let fake = helpdesk().await;
    let options = "[bridge.teams.outages]\nqueue = \"outages\"\n[bridge.fields]\n\
        Where = \"{{ network }} {{ language }} {{ team }}\"\nIncident = \"{{ incident }}\"\n\
        Level = \"{{ level }}, {{ tags }}\"\n";
    let state = state_with_teams(&fake.url(), options);
    let daemon = state.start();
    let tickets = tickets(&fake, 2).await;
    let of =
        |words: &str| tickets.iter().find(|ticket| ticket["body"].as_str().unwrap().contains(words)).unwrap();
    let (en, fr) = (of("internet down"), of("panne depuis"));
    assert_eq!((&en["queue"], &fr["queue"]), (&json!("outages"), &json!("general")));
    assert_eq!(
        (&en["fields"]["Where"], &fr["fields"]["Where"]),
        (&json!("plain en Outages"), &json!("plain fr Rest"))
    );
    assert_eq!(en["fields"]["Incident"], Value::Null, "what is empty is left out");
    let level = en["fields"]["Level"].as_str().unwrap();
    assert!(level.starts_with('P') && level.contains(", vigie, plain, lumio"), "{level}");
    assert!(daemon.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_names_the_team_whose_options_are_wrong() {
    let fake = helpdesk().await;
    let options = "[bridge.teams.outages]\nqueue = \"outages\"\n[bridge.teams.rest]\nqueue = \"nowhere\"\n";
    let state = state_with_teams(&fake.url(), options);
    let output = run(vigie().args(["bridge", "test", "-c"]).arg(&state.config), b"");
    assert_eq!(output.status.code(), Some(1), "{}{}", output.stdout, output.stderr);
    for said in [
        "ok     queue\n",
        "ok     queue, tickets of team Outages\n",
        "wrong  queue, tickets of team Rest: not as it should be\n         there is no queue nowhere\n",
    ] {
        assert!(output.stdout.contains(said), "{said}:\n{}", output.stdout);
    }
}

/// The account sees the queue and may make nothing there, which no question tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_makes_a_ticket_where_those_of_each_team_go() {
    let fake = helpdesk().await;
    let options = "[bridge.teams.rest]\nqueue = \"general\"\n[bridge.teams.outages]\nqueue = \"outages\"\n";
    let state = state_with_teams(&fake.url(), options);
    let test = || run(vigie().args(["bridge", "test", "-c"]).arg(&state.config), b"");
    let output = test();
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    for said in [
        "ok     test ticket: made, it is 1\n",
        "ok     test ticket, tickets of team Outages: made, it is ",
        "ok     search by reference, tickets of team Outages: finds it\n",
        "ok     test ticket, tickets of team Outages: removed\n",
        "bridge desk: right\n",
    ] {
        assert!(output.stdout.contains(said), "{said}:\n{}", output.stdout);
    }
    assert!(!output.stdout.contains("team Rest"), "it has no queue of its own: {}", output.stdout);
    let mut queues = Vec::new();
    for (fault, told) in [
        (Fault::Status { status: 403, done: false }, "the helpdesk refuses: status 403"),
        (Fault::Reset { done: true }, "connection"),
    ] {
        fake.set_faults(Faults::choose(move |request| {
            (request.method == "POST" && request.body["queue"] == "outages").then_some(fault)
        }));
        let output = test();
        assert_eq!(output.status.code(), Some(1), "{}{}", output.stdout, output.stderr);
        let wrong = "wrong  test ticket, tickets of team Outages: ";
        assert!(output.stdout.contains(wrong) && output.stdout.contains(told), "{}", output.stdout);
        queues.push(fake.with(|plain| plain.tickets.len()));
    }
    assert_eq!(queues, [0, 0], "nothing stays");
}

#[test]
fn a_test_says_what_to_do_about_a_wrong_address_and_refuses_a_wrong_name() {
    let nobody = reserved();
    let state = state(&format!("http://{nobody}"), "");
    let output = run(vigie().args(["bridge", "test", "-c"]).arg(&state.config), b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.contains("wrong  connection: Connection refused"), "{}", output.stdout);
    assert!(output.stdout.contains("does the helpdesk run"), "{}", output.stdout);
    let output = run(vigie().args(["bridge", "test", "-c"]).arg(&state.config).arg("other"), b"");
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stderr.contains("there is no [[bridge]] \"other\"; there are: desk"), "{}", output.stderr);
    let output = run(vigie().args(["bridge", "run", "-c"]).arg(&state.config), b"");
    assert_eq!(output.status.code(), Some(64));
    let output = run(vigie().args(["bridge", "preset", "rt"]), b"");
    assert!(output.status.success() && output.stdout.contains("title = \"Request Tracker\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_ticket_that_stays_is_as_agents_would_read_it() {
    let fake = helpdesk().await;
    let state = state(&fake.url(), "");
    let (preset, remove) = Plain::PRESET.split_once("[[remove]]").unwrap();
    let rest = remove.split_once("\n\n").unwrap().1;
    std::fs::write(state.path().join("plain.toml"), format!("{preset}{rest}")).unwrap();
    let output = run(vigie().args(["bridge", "test", "--leave-ticket", "-c"]).arg(&state.config), b"");
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    let body = tickets(&fake, 1).await[0]["body"].as_str().unwrap().to_owned();
    assert!(body.contains("This is a test by"), "{body}");
}

#[test]
fn a_test_that_has_tried_nothing_does_not_say_that_it_is_right() {
    let url = always("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let state = state(&url, "");
    let text = std::fs::read_to_string(&state.config).unwrap();
    let text = text.replace("kind = \"http\"\npreset_file = \"plain.toml\"", "kind = \"osticket\"");
    std::fs::write(&state.config, text).unwrap();
    let output = run(vigie().args(["bridge", "test", "-c"]).arg(&state.config), b"");
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    assert!(
        output.stdout.contains("bridge desk: it is reached, and nothing else was tried"),
        "{}",
        output.stdout
    );
    assert!(!output.stdout.contains("desk: right"), "{}", output.stdout);
}

#[test]
fn a_test_says_that_a_port_speaks_no_tls_and_what_to_do_about_a_certificate_of_ones_own() {
    let plain = always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    let test = |url: &str| {
        let state = state(url, "");
        run(vigie().args(["bridge", "test", "-c"]).arg(&state.config), b"").stdout
    };
    let said = test(&plain.replace("http://", "https://"));
    assert!(said.contains("does not speak TLS here, but plain HTTP"), "{said}");
    // One that waits for the end of a line that never comes.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let serving = std::thread::Builder::new().spawn(move || {
        for stream in silent.incoming() {
            let mut stream = stream.unwrap();
            let serve = move || {
                let mut asked = String::new();
                let line = BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked);
                if line.is_ok() && asked.starts_with("GET") {
                    let _ = std::io::Write::write_all(
                        &mut stream,
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                    );
                }
            };
            std::thread::Builder::new().spawn(serve).unwrap();
        }
    });
    serving.unwrap();
    let said = test(&url);
    assert!(said.contains("does not speak TLS here, but plain HTTP"), "{said}");
}

fn interrupt(process: &std::process::Child) {
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-s", "INT", &process.id().to_string()]).status().unwrap().success());
}

/// The bridge would wait for the brand of its config, begin with what comes, and have its case store there.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_takes_its_tickets_to_a_helpdesk_of_ones_own() {
    let fake = helpdesk().await;
    let state = state(&fake.url(), "run = \"apart\"\nbrands = [\"Lumio\"]");
    let mut demo = vigie();
    demo.args(["demo", "--rate", "500", "--duration", "0", "-c"]).arg(&state.config);
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = BufReader::new(demo.stdout.take().unwrap());
    let greeting: String = output.lines().take(8).map(|line| line.unwrap() + "\n").collect();
    let made = tickets(&fake, 2).await;
    interrupt(&demo);
    assert!(demo.wait().unwrap().success());
    assert!(greeting.contains(&format!("bridge    desk: {}", fake.url())), "{greeting}");
    assert!(greeting.contains("status    vigie status --http 127.0.0.1:"), "{greeting}");
    assert!(made.iter().all(|ticket| ticket["body"].as_str().unwrap().contains("vigie-ref: ")), "{made:?}");
    assert!(!state.path().join("bridge-desk.sqlite").exists(), "the demo has a case store of its own");

    // One that takes nothing is named at the end.
    fake.set_faults(Faults::choose(|_| Some(Fault::Status { status: 401, done: false })));
    let mut demo = vigie();
    demo.args(["demo", "--rate", "500", "--duration", "0", "-c"]).arg(&state.config);
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = output.find(|line| line.contains("vigie status --http ")).unwrap();
    let console = line.rsplit(' ').next().unwrap();
    patiently("an error of the bridge", async {
        while !get(console, "/v1/status").contains("status 401") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    interrupt(&demo);
    let rest: Vec<String> = output.collect();
    assert!(demo.wait().unwrap().success());
    let said = "bridge desk: took nothing: the helpdesk refuses: status 401";
    assert!(rest.iter().any(|line| line.contains(said)), "{rest:?}");

    state.configure("[[source]]\nkind = \"jetstream\"\nurl = \"ws://127.0.0.1:1/\"\n", QUICK_BRAND);
    let output = run(vigie().args(["demo", "-c"]).arg(&state.config), b"");
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stderr.contains("has no [[bridge]]"), "{}", output.stderr);
}
