//! `vigie report` over a ledger as the daemon leaves it.

use serde_json::Value;
use vigie::ticket::proto::{TicketStatus, client_message::Kind, delivery::Record};
use vigie::wire::{Address, Client, Introduction};

use crate::daemon::{State, patiently, run, vigie};

#[test]
fn a_report_shows_groups_and_factors_as_table_csv_and_json() {
    let state = State::new("[[source]]\nkind = \"ndjson\"\npath = \"-\"\n");
    crate::ledgers::place(&state, 3);
    let report = |arguments: &[&str]| {
        run(vigie().args(["report", "-c"]).arg(&state.config).args(["--since", "520w"]).args(arguments), b"")
    };
    let old = report(&[]);
    assert_eq!(old.status.code(), Some(1));
    assert!(
        old.stderr.contains("schema 3 is older than this vigie's, 4: `vigie run` brings it there"),
        "{}",
        old.stderr
    );
    // Any command that writes does, too.
    let articles = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/articles");
    let imported = run(vigie().args(["import", "articles", articles, "-c"]).arg(&state.config), b"");
    assert!(imported.status.success(), "{}", imported.stderr);

    // Nobody has answered any of them, and they are older than the clocks that say who waited.
    let table = report(&["--by", "brand,network"]).stdout;
    let lines: Vec<_> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines[0].ends_with(", UTC"), "{table}");
    assert_eq!(
        lines[2], "all tickets answered p50 p90 p99 in time rated CSAT mean NPS solved solved p50",
        "{table}"
    );
    assert_eq!(lines[3], "all 11 0 - - - - 0 - - - 0 -", "{table}");
    assert!(lines.contains(&"Lumio 11 0 - - - - 0 - - - 0 -".to_owned()), "{table}");
    assert!(lines.contains(&"bluesky 11 0 - - - - 0 - - - 0 -".to_owned()), "{table}");
    assert!(lines.iter().any(|line| line.starts_with("urgency ")), "{table}");

    let csv = report(&["--by", "intent", "--csv"]).stdout;
    assert!(csv.starts_with("by,value,tickets,answered,p50_s,p90_s,p99_s,in_time,rated,csat,satisfaction,recommended,nps,solved,solve_p50_s,late_with,"), "{csv}");
    assert!(csv.contains("\nall,all,11,0,,,,,0,,,0,,0,,,,,,,,,,,,,\n"), "{csv}");
    assert!(csv.contains("\nfactor,urgency,11,,,,,,,,,,,,,,,"), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&report(&["--json"]).stdout).unwrap();
    assert_eq!(json["groups"][0]["tickets"], 11);
    assert!(json["until"].as_str().unwrap().ends_with(" +00:00"), "{json}");
    assert!(
        json["factors"].as_array().unwrap().iter().all(|factor| factor["foretells"] == serde_json::json!([])),
        "{json}"
    );
    let wrong = report(&["--by", "weather"]);
    assert_eq!(wrong.status.code(), Some(64), "{}", wrong.stderr);
}

/// Names that would be markup on a page, or a formula in a spreadsheet.
const BRAND: &str = r#"=HYPERLINK("http://example.net","<script>alert(1)</script>")"#;
const TEAM: &str = "</td><img src=x onerror=alert(1)>";
const AGENT: &str = "@SUM(A1)\u{202e}<b>";
const HELPER: &str = "-2+3<script>";

/// A ledger after two tickets were taken from the socket, and what became of them was told there: the first is answered
/// at once and recommends us, the second thinks better of us than at first.
async fn answered() -> State {
    let state = State::new("");
    let posts = r#"{"id":"1","author":"a1","text":"@lumio internet down again since this morning, fix it now","created_at":"2026-10-23T15:00:00Z"}
{"id":"2","author":"a2","text":"@lumio no internet since this morning, fix it now please","created_at":"2026-10-23T15:00:00Z"}
"#;
    std::fs::write(state.path().join("posts.ndjson"), posts).unwrap();
    let brand = format!(
        "[[brand]]\nname = '{BRAND}'\nhandles = [\"@lumio\"]\nnames = [\"lumio\"]\n\
         [[team]]\nname = '{TEAM}'\n[routing]\ndefault_team = '{TEAM}'\n[model]\nname = \"small\"\nruntime = \"rten\"\n"
    );
    state.configure(&state.posts_source(), &brand);
    let daemon = state.start();
    let introduction = Introduction { subscription: "desk".into(), ..Introduction::default() };
    let mut client =
        patiently("a welcome", Client::connect(&Address::Unix(state.socket()), introduction)).await.unwrap();
    let mut tickets = Vec::new();
    while tickets.len() < 2 {
        let delivery = patiently("a ticket", client.next()).await.unwrap();
        client.ack(&[delivery.seq]).await.unwrap();
        if let Some(Record::Ticket(ticket)) = delivery.record {
            tickets.push(ticket);
        }
    }
    let status = |ticket: usize| TicketStatus {
        ticket_id: tickets[ticket].id.clone(),
        state: 1,
        ..TicketStatus::default()
    };
    let first_answer_at_us = tickets[0].created_at_us;
    let statuses = [
        TicketStatus {
            agent: AGENT.to_owned(),
            first_answer_at_us,
            satisfaction: 5,
            recommendation: Some(10),
            ..status(0)
        },
        TicketStatus { satisfaction: 2, recommendation: Some(0), ..status(1) },
        TicketStatus { recommendation: Some(8), state: 3, ..status(1) },
    ];
    for status in statuses {
        client.report(Kind::TicketStatus(status)).await.unwrap();
    }
    let stored = || state.ledger().query_row("SELECT count(*) FROM feedback", [], |row| row.get::<_, i64>(0));
    patiently("what was told", async {
        while stored().unwrap() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    drop(client);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
    let thanked =
        "INSERT INTO helper (network, author_id, thanked, last_at_us) VALUES ('bluesky', ?1, ?2, ?3)";
    let now = jiff::Timestamp::now().as_microsecond();
    // One time fewer than [helpers] asks for; and one who helped when nobody asks for it any more.
    for (who, times, at_us) in [(HELPER, 3, now), ("new", 2, now), ("long ago", 9, now - 30 * 86_400_000_000)]
    {
        state.ledger().execute(thanked, (who, times, at_us)).unwrap();
    }
    state
}

const ALL: &str = "brand,network,team,agent,intent,time,hour";

fn report(state: &State, form: &str) -> String {
    let output = run(vigie().args(["report", "--by", ALL, form, "-c"]).arg(&state.config), b"");
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout
}

fn json(state: &State) -> Value {
    serde_json::from_str(&report(state, "--json")).unwrap()
}

fn group<'j>(json: &'j Value, by: &str, value: &str) -> &'j Value {
    let groups = json["groups"].as_array().unwrap();
    groups.iter().find(|group| group["by"] == by && group["value"] == value).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_how_likely_one_recommends_goes_from_the_socket_to_the_report() {
    let state = answered().await;
    let json = json(&state);
    let check = |by: &str, value: &str, recommended: u64, nps: Option<f64>| {
        let group = group(&json, by, value);
        assert_eq!(
            (group["recommended"].as_u64(), group["nps"].as_f64()),
            (Some(recommended), nps),
            "{group}"
        );
    };
    // A promoter and, as last told, somebody who is neither.
    check("all", "all", 2, Some(50.0));
    check("brand", BRAND, 2, Some(50.0));
    check("agent", AGENT, 1, Some(100.0));
    check("agent", "", 1, Some(0.0));
    let solved = |by: &str, value: &str| {
        let group = group(&json, by, value);
        (group["solved"].as_u64(), group["solve_p50_s"].is_number())
    };
    assert_eq!([solved("all", "all"), solved("agent", AGENT)], [(Some(1), true), (Some(0), false)]);
    let all = group(&json, "all", "all");
    assert_eq!(
        (all["answered"].as_u64(), all["p50_s"].is_u64(), all["csat"].as_f64()),
        (Some(1), true, Some(0.5))
    );
    let accounts: Vec<_> =
        json["helpers"].as_array().unwrap().iter().map(|helper| &helper["account"]).collect();
    assert_eq!(accounts, [HELPER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_outside_are_no_formulas_in_a_spreadsheet() {
    let state = answered().await;
    let sheet = report(&state, "--csv");
    let mut rows = csv::Reader::from_reader(sheet.as_bytes());
    let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
    let row = |by: &str, name: &str| rows.iter().find(|row| &row[0] == by && &row[1] == name).unwrap();
    row("brand", &format!("'{BRAND}"));
    row("agent", "'@SUM(A1)<b>");
    let helper = row("helper", &format!("'{HELPER}"));
    assert_eq!((&helper[24], &helper[25]), ("bluesky", "3"));
    assert_eq!(&row("team", TEAM)[2], "2");
    assert!(rows.iter().any(|row| &row[0] == "factor"), "{sheet}");
    assert!(rows.iter().all(|row| !row[1].starts_with(['=', '+', '-', '@', '\t'])), "{sheet}");
}

/// The rows of a page's table: the first cell's text, and the values of its figures.
fn rows(page: &str, table: &str) -> Vec<(String, Vec<f64>)> {
    let (_, table) =
        page.split_once(&format!("<table id=\"by-{table}\"")).unwrap_or_else(|| panic!("{table}"));
    let (table, _) = table.split_once("</table>").unwrap();
    let row = |row: &str| {
        let (name, cells) = row.split_once("</th>").unwrap();
        let name = name.replace("<bdi>", "").replace("</bdi>", "").replace("<i>(none)</i>", "");
        (html_escape::decode_html_entities(&name).into_owned(), values(cells))
    };
    table.split("<th scope=\"row\">").skip(1).map(row).collect()
}

fn values(html: &str) -> Vec<f64> {
    let value = |data: &str| data.split_once('"').unwrap().0.parse().unwrap();
    html.split("<data value=\"").skip(1).map(value).collect()
}

/// Those of a JSON object's figures that are known.
fn known(object: &Value, pointers: &[&str]) -> Vec<f64> {
    pointers.iter().filter_map(|pointer| object.pointer(pointer)?.as_f64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_the_figures_of_the_json_and_no_markup_from_outside() {
    let state = answered().await;
    let (json, page) = loop {
        let (before, page) = (json(&state), report(&state, "--html"));
        // Not while a day or an hour ends in between.
        if before["groups"] == json(&state)["groups"] {
            break (before, page);
        }
    };
    const FIGURES: [&str; 13] = [
        "/tickets",
        "/answered",
        "/p50_s",
        "/p90_s",
        "/p99_s",
        "/in_time",
        "/rated",
        "/csat",
        "/satisfaction",
        "/recommended",
        "/nps",
        "/solved",
        "/solve_p50_s",
    ];
    for by in ALL.split(',') {
        let found = rows(&page, by);
        let groups = json["groups"].as_array().unwrap().iter().filter(|group| group["by"] == by);
        let expected: Vec<_> = groups
            .map(|group| {
                (group["value"].as_str().unwrap().replace(['\t', '\u{202e}'], ""), known(group, &FIGURES))
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{by}");
        for (name, values) in expected {
            let row = found.iter().find(|(shown, _)| shown.trim_start() == name);
            assert_eq!(row.map(|(_, values)| values), Some(&values), "{by} {name}");
        }
    }
    let of_factor = [
        "/tickets",
        "/late_with",
        "/late_without",
        "/satisfaction_with",
        "/satisfaction_without",
        "/time/rho",
        "/time/tickets",
        "/satisfaction/rho",
        "/satisfaction/tickets",
    ];
    let factors = json["factors"].as_array().unwrap();
    let expected: Vec<_> = factors
        .iter()
        .map(|factor| (factor["name"].as_str().unwrap().to_owned(), known(factor, &of_factor)))
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(rows(&page, "factor"), expected);
    assert_eq!(rows(&page, "helper"), [(HELPER.to_owned(), vec![3.0])]);
    let (head, _) = page.split_once("</dl>").unwrap();
    let of_all = known(
        group(&json, "all", "all"),
        &[
            "/tickets",
            "/answered",
            "/p50_s",
            "/p90_s",
            "/p99_s",
            "/in_time",
            "/csat",
            "/rated",
            "/satisfaction",
            "/nps",
            "/recommended",
            "/solved",
            "/solve_p50_s",
        ],
    );
    assert_eq!(values(head), of_all);

    // Nothing that could run or be fetched, and nothing that our own template has not.
    assert!(
        page.contains("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src")
    );
    for markup in ["<script", "<img", "<link", "src=x>", "\u{202e}", "http://example", "url(", "@import"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert_eq!(page.matches("<bdi>").count(), page.matches("</bdi>").count());
    assert!(page.matches("<svg class=\"plot\"").count() >= 4, "{page}");
}
