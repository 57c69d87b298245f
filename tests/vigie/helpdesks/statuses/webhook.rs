//! A webhook of a helpdesk, through the daemon's console.

use super::*;

const POST: &str = r#"{"id":"1","author":"a1","text":"@lumio internet down again since this morning, fix it now","language":"en","created_at":"2026-11-02T10:00:00Z"}
"#;

fn post(console: &str, path: &str, headers: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(console).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: vigie.example.com\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split("\r\n").next().unwrap().to_owned()
}

/// Two bridges in a daemon, one whose helpdesk signs and one whose does not; both ask once a day. Each has a helpdesk
/// of its own: where a ticket is older than a bridge's file it is looked for, and the other's would be found.
fn state(signed: &str, open: &str) -> State {
    let state = State::new("");
    let path = state.path();
    let write = |name: &str, text: &str| {
        std::fs::write(path.join(name), text).unwrap();
        path.join(name).display().to_string()
    };
    let secret = write("secret", "Jefe");
    let posts = write("posts.ndjson", POST);
    let preset = Plain::PRESET
        .replace("agent = \"item.agent\",", "agent = \"item.agent\", first_answer_at = \"item.answered\",");
    write("open.toml", &format!("{preset}\n[webhook]\nid = \"event.ticket\"\n"));
    write(
        "signed.toml",
        &format!("{preset}\n[webhook]\nid = \"event.ticket\"\nsignature_header = \"X-Signature\"\n"),
    );
    let bridge = |name: &str, url: &str| {
        format!(
            "[[bridge]]\nname = \"{name}\"\nkind = \"http\"\npreset_file = \"{name}.toml\"\nurl = \"{url}\"\ntoken_file = \"{secret}\"\n\
             webhook_secret_file = \"{secret}\"\nfrom = \"oldest\"\npoll_interval_s = 86400\n"
        )
    };
    let source = format!("[[source]]\nkind = \"ndjson\"\nformat = \"plain\"\npath = \"{posts}\"\n");
    let brand = "[[brand]]\nname = \"Lumio\"\nhandles = [\"@lumio\"]\nnames = [\"lumio\"]\n[model]\nname = \"small\"\nruntime = \"rten\"\n";
    state.configure(&(bridge("signed", signed) + &bridge("open", open) + &source), brand);
    state
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_brings_what_an_agent_did_into_status_and_report() {
    let signed = serve(Plain::default(), Options::default()).await.unwrap();
    let open = serve(Plain::default(), Options::default()).await.unwrap();
    let fakes = [&signed, &open];
    let state = state(&signed.url(), &open.url());
    let daemon = state.start();
    let console = daemon.console();
    tokio::task::block_in_place(|| {
        let bridges = || -> Vec<serde_json::Value> {
            let status = get(&console, "/v1/status");
            let status: serde_json::Value =
                serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
            status["bridges"].as_array().unwrap().clone()
        };
        let is_told =
            |count: u64| bridges().len() == 2 && bridges().iter().all(|bridge| bridge["made"] == count);
        eventually("both tickets", || is_told(1));
        let reads = || {
            let is_read = |request: &Request| request.method == "GET" && request.query.is_empty();
            let of_one =
                |fake: &Fake<Plain>| fake.log().calls.iter().filter(|call| is_read(&call.request)).count();
            fakes.iter().map(|fake| of_one(fake)).sum::<usize>()
        };
        // An agent answers and closes both. Nobody asks for a day.
        let at_s = jiff::Timestamp::now().as_second();
        for fake in fakes {
            fake.with(|plain| {
                let ticket = plain.tickets.get_mut(&1).unwrap();
                assert_eq!(ticket["state"], "open");
                (ticket["state"], ticket["agent"], ticket["answered"]) =
                    (json!("closed"), json!("Ada"), json!(at_s));
            });
        }
        let sign = |body: &str| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"Jefe"), body.as_bytes());
            let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("X-Signature: {hex}\r\n")
        };
        let told = |id: u64| format!("{{\"ticket\": {id}}}");
        // Forged, unsigned, for nobody, of no ticket, by the wrong method.
        let refused = [
            ("/v1/bridge/signed", sign("{}"), told(1), "401"),
            ("/v1/bridge/signed", String::new(), told(1), "401"),
            ("/v1/bridge/signed/Jefe", String::new(), told(1), "401"),
            ("/v1/bridge/open", sign(&told(1)), told(1), "401"),
            ("/v1/bridge/open/jefe", String::new(), told(1), "401"),
            ("/v1/bridge/nobody/Jefe", String::new(), told(1), "401"),
            ("/v1/bridge/open/Jefe", String::new(), "{}".to_owned(), "400"),
            ("/v1/bridge/open/Jefe", String::new(), "no".to_owned(), "400"),
            ("/v1/bridge", String::new(), told(1), "421"),
        ];
        for (path, headers, body, expected) in refused {
            let line = post(&console, path, &headers, &body);
            assert!(line.contains(expected), "{path} {headers} {line}");
        }
        assert!(get(&console, "/v1/bridge/open/Jefe").starts_with("HTTP/1.1 405"));
        assert_eq!(reads(), 0, "nothing was believed");
        // A hint that comes at once is taken for that of our own writing.
        std::thread::sleep(Duration::from_secs(6));
        // Each hint twice, and of a ticket that is not ours.
        for id in [1, 2, 1, 2] {
            assert!(post(&console, "/v1/bridge/signed", &sign(&told(id)), &told(id)).contains("202"));
            assert!(post(&console, "/v1/bridge/open/Jefe", "", &told(id)).contains("202"));
        }
        let stored = || -> i64 {
            let sql = "SELECT count(*) FROM feedback WHERE kind = 'ticket_status'";
            state.ledger().query_row(sql, [], |row| row.get(0)).unwrap()
        };
        eventually("the reports", || stored() >= 2);
        let shown = run(vigie().args(["status", "--http", &console]), b"").stdout;
        assert!(shown.contains("bridges (since each began)"), "{shown}");
        assert!(shown.contains("Plain · 0 waiting ·") && shown.contains("1 made"), "{shown}");
        let page = get(&console, "/metrics");
        let made =
            "vigie_bridge_tickets_total{bridge=\"open\",subscription=\"bridge-open\",outcome=\"made\"} 1\n";
        assert!(page.contains(made), "{page}");
        let report =
            run(vigie().args(["report", "--json", "--since", "520w", "-c"]).arg(&state.config), b"").stdout;
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["groups"][0]["answered"], 1, "{report}");
        signed.with(|plain| plain.tickets.get_mut(&1).unwrap()["state"] = json!("lost in the post"));
        assert!(post(&console, "/v1/bridge/signed", &sign(&told(1)), &told(1)).contains("202"));
        eventually("what is not understood", || {
            let shown = run(vigie().args(["status", "--http", &console]), b"").stdout;
            shown.contains("1 not understood")
        });
    });
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}
