//! `/metrics` as Prometheus takes it, and what is shipped for Prometheus and Grafana: that it asks for what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::daemon::{Network, State, get, patiently, run, skip};

/// The page of a daemon that has something to show in every family, and its answers on how it is.
async fn page() -> (String, String, String) {
    let network = Network::new(500, 0.1);
    let state = State::new(&network.source());
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let _serving = network.serve(stopped).await;
    let daemon = state.start();
    let mut client = state.subscribe("helpdesk", 1).await;
    let delivery = patiently("a ticket", client.next()).await.unwrap();
    client.ack(vec![delivery.seq]).await.unwrap();
    client.settle().await.unwrap();
    let console = daemon.console();
    let pages = tokio::task::spawn_blocking(move || {
        ["/metrics", "/healthz", "/readyz"].map(|path| get(&console, path))
    });
    let [metrics, healthy, ready] = pages.await.unwrap();
    let (_, metrics) = metrics.split_once("\r\n\r\n").unwrap();
    (metrics.to_owned(), healthy, ready)
}

/// Each family's type and the labels that its samples carry.
fn families(page: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            name.clone_into(&mut current);
            families.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            families.get_mut(&current).unwrap().1.extend(names);
        }
    }
    families
}

/// Words in `text` that can only be metrics of ours, each with what directly follows it.
fn metrics_in(text: &str) -> Vec<(&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (start, _) in text.char_indices() {
        let word = &text[start..];
        let begins =
            !text[..start].ends_with(is_word) && ["vigie_", "process_"].iter().any(|p| word.starts_with(p));
        if begins {
            let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
            found.push(word.split_at(end));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_passes_promtool_and_holds_every_metric_that_rules_and_dashboard_ask_for() {
    let (page, healthy, ready) = page().await;
    assert!(healthy.contains("200 OK") && healthy.ends_with("ok\n"), "{healthy}");
    assert!(ready.contains("200 OK") && ready.ends_with("ready\n"), "{ready}");

    let families = families(&page);
    let shipped = [
        ("vigie.rules.yml", include_str!("../../systemd/vigie.rules.yml"), 12),
        ("vigie.rules.test.yml", include_str!("../../systemd/vigie.rules.test.yml"), 12),
        ("vigie.dashboard.json", include_str!("../../systemd/vigie.dashboard.json"), 20),
    ];
    for (file, text, least) in shipped {
        let asked = metrics_in(text);
        assert!(asked.len() >= least, "{file} asks for only {} metrics", asked.len());
        for (metric, after) in asked {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| {
                    families.get(metric.strip_suffix(part)?).filter(|(kind, _)| kind == "histogram")
                })
                .or_else(|| families.get(metric));
            let Some((_, labels)) = family else { panic!("{file}: {metric} is not on the page") };
            // `metric{label="…"}` with labels that the page has; the dashboard's own quotes are escaped.
            let Some(selector) = after.strip_prefix('{') else { continue };
            for label in selector.split_once('}').unwrap().0.split(',').filter(|label| !label.is_empty()) {
                let name = label.split(['=', '!']).next().unwrap().trim();
                // A family may have no sample yet: a source's usual rate is learnt.
                let has_none = labels.is_empty();
                let known = has_none || labels.contains(name) || ["instance", "job", "le"].contains(&name);
                assert!(known, "{file}: {metric} has no label {name:?}");
            }
        }
    }

    if Command::new("promtool").arg("--version").output().is_err() {
        return skip("promtool is not installed");
    }
    let checked = run(Command::new("promtool").args(["check", "metrics"]), page.as_bytes());
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}{}", checked.stdout, checked.stderr);
}

#[test]
fn the_alert_rules_fire_when_they_should_and_only_then() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip("promtool is not installed");
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
    for arguments in [["check", "rules", "vigie.rules.yml"], ["test", "rules", "vigie.rules.test.yml"]] {
        let mut promtool = Command::new("promtool");
        let checked = run(promtool.args(arguments).current_dir(folder), b"");
        assert!(checked.status.success(), "{}{}", checked.stdout, checked.stderr);
    }
    // Every alert says what to do, and has a test in which it fires.
    let rules = include_str!("../../systemd/vigie.rules.yml");
    let tests = include_str!("../../systemd/vigie.rules.test.yml");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 12, "{alerts:?}");
    assert_eq!(rules.matches("          do: ").count(), alerts.len(), "an annotation for each");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} has no test in which it fires");
    }
}

#[test]
fn the_dashboard_is_what_grafana_reads() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../systemd/vigie.dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel its own id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|target| target["expr"].is_string()), "{panel}");
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{panel}");
    }
}
