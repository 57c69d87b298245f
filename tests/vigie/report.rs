//! `vigie report` over a ledger as the daemon leaves it.

use crate::daemon::{State, run, vigie};

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

    // Made long ago, and nobody has answered any of them.
    let table = report(&["--by", "brand,network"]).stdout;
    let lines: Vec<_> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines[0].ends_with(", UTC"), "{table}");
    assert_eq!(lines[2], "all tickets answered p50 p90 p99 in time rated CSAT mean NPS", "{table}");
    assert_eq!(lines[3], "all 11 0 - - - 0 % 0 - - -", "{table}");
    assert!(lines.contains(&"Lumio 11 0 - - - 0 % 0 - - -".to_owned()), "{table}");
    assert!(lines.contains(&"bluesky 11 0 - - - 0 % 0 - - -".to_owned()), "{table}");
    assert!(lines.iter().any(|line| line.starts_with("urgency ")), "{table}");

    let csv = report(&["--by", "intent", "--csv"]).stdout;
    assert!(csv.starts_with("by,value,tickets,answered,p50_s,p90_s,p99_s,in_time,rated,csat,satisfaction,recommended,nps\nall,all,11,0,,,,0.0000,0,,,0,\n"), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&report(&["--json"]).stdout).unwrap();
    assert_eq!(json["groups"][0]["tickets"], 11);
    assert!(
        json["factors"].as_array().unwrap().iter().all(|factor| factor["foretells"] == serde_json::json!([])),
        "{json}"
    );
    let wrong = report(&["--by", "weather"]);
    assert_eq!(wrong.status.code(), Some(64), "{}", wrong.stderr);
}
