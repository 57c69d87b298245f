use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bridge::config::{Config as Bridge, Place};
use crate::config::Config;
use crate::ticket::proto::Level;
use crate::wire::Address;

const REST: &str =
    "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n";

/// A folder with a token and whatever the config names.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();
    fs::write(folder.path().join("two"), "a\nb\n").unwrap();
    folder
}

fn load(folder: &Path, bridge: &str) -> Result<Config, Vec<String>> {
    let path = folder.join("vigie.toml");
    let bridge = bridge.replace("DIR", &folder.display().to_string());
    fs::write(&path, format!("{bridge}\n{REST}")).unwrap();
    Config::load(&path).map_err(|error| {
        error
            .to_string()
            .lines()
            .skip(1)
            .map(|line| line.trim().replace(&*folder.to_string_lossy(), "DIR"))
            .collect()
    })
}

const RT: &str = "[[bridge]]\nname = \"rt\"\nkind = \"rt\"\nurl = \"https://rt.example.com\"\ntoken_file = \"DIR/token\"\n";

fn bridge(text: &str) -> Bridge {
    let folder = folder();
    load(folder.path(), text).unwrap_or_else(|mistakes| panic!("{mistakes:?}")).bridges.remove(0)
}

#[test]
fn four_lines_are_enough_and_the_rest_has_defaults() {
    let rt = bridge(RT);
    assert_eq!((rt.place, rt.subscription.as_str()), (Place::Daemon, "bridge-rt"));
    assert_eq!((rt.quota_per_minute, rt.headroom_percent), (120, 20));
    assert_eq!((rt.token.secret(), rt.webhook_secret.secret()), ("s3cret", ""));
    assert_eq!(rt.all_options()["queue"], "General");
    assert_eq!(rt.cases_path(), Path::new("/var/lib/vigie/bridge-rt.sqlite"));
    assert_eq!(rt.socket, Address::parse("/run/vigie/vigie.sock"));
    assert!(!format!("{rt:?} {:?}", rt.token).contains("s3cret"));
}

#[test]
fn what_levels_are_called_there_is_the_operators_to_say() {
    let rt = bridge(&format!("{RT}levels = [90, 50, 20, 0]\n"));
    assert_eq!([Level::P1, Level::P4].map(|level| rt.texts.level(level)), [90, 0].map(Value::from));
    assert_eq!(bridge(RT).texts.level(Level::P1), 100);
}

#[test]
fn every_mistake_is_named_with_its_key() {
    let folder = folder();
    let check = |bridge: &str, expected: &[&str]| {
        let mistakes = load(folder.path(), bridge).expect_err(bridge);
        assert_eq!(mistakes.len(), expected.len(), "{bridge}\n{mistakes:#?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.contains(expected), "{mistake}\n  is not: {expected}");
        }
    };
    let with = |line: &str| format!("{RT}{line}\n");
    let without = |key: &str| RT.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
    check(
        "[[bridge]]\n",
        &[
            "bridge[1]: name is missing",
            "bridge[1]: kind is missing: one of rt, zammad",
            "bridge[1]: url is missing",
            "bridge[1]: token_file is missing",
        ],
    );
    check(
        &RT.replace("\"rt\"\nkind", "\"r t\"\nkind"),
        &["line 2: bridge[1].name: \"r t\": must be 1 to 60 of a-z"],
    );
    check(
        &RT.replace("kind = \"rt\"", "kind = \"otrs\""),
        &["bridge[1].kind = \"otrs\": must be \"rt\" or \"zammad\""],
    );
    check(
        &RT.replace("https://", "ftp://"),
        &["line 4: bridge[1].url: \"ftp://rt.example.com\": must be an address, as https://"],
    );
    check(&RT.replace("https://", "https://me:pw@"), &["holds a name or password"]);
    check(&RT.replace("DIR/token", "DIR/none"), &["line 5: bridge[1].token_file: DIR/none: No such file"]);
    check(&RT.replace("DIR/token", "DIR/empty"), &["bridge[1].token_file: DIR/empty: is empty"]);
    check(&RT.replace("DIR/token", "DIR/two"), &["has more than one line"]);
    check(&with("token_credential = \"rt\""), &["token_file and token_credential both give it"]);
    check(
        &with("quota_per_minute = 0"),
        &["line 6: bridge[1].quota_per_minute = 0: must be a whole number from 1 to 100000"],
    );
    check(&with("call_max_s = 999"), &["must be a whole number from 1 to 300"]);
    check(&with("levels = [90, 70]"), &["line 6: bridge[1].levels = […]: must be four: what P1, P2"]);
    check(&with("levels = 90"), &["must be four: what P1, P2, P3 and P4 are called there"]);
    check(&with("levels = [90, 70, 40, [10]]"), &["must be four"]);
    check(
        &with("levels = [\"high\", 70, 40, 10]"),
        &["levels: Request Tracker takes numbers, such as its usual [100,75,50,25]"],
    );
    check(
        &with("levels = [true, 70, 40, false]"),
        &["levels: Request Tracker takes numbers, such as its usual"],
    );
    check(&with("priority_min = 2000"), &["must be a whole number from 0 to 1000"]);
    check(&with("brands = [\"Volt\"]"), &["brands: there is no [[brand]] \"Volt\""]);
    check(&with("brands = []"), &["brands = []"]);
    check(&with("webhook_secret_file = \"DIR/token\""), &["sends no webhooks"]);
    check(&with("ca_file = \"DIR/token\""), &["bridge[1].ca_file: "]);
    check(&with("socket = \"/x\""), &["socket is for run = \"apart\""]);
    check(&with("webhook_url = \"https://vigie.example.com\""), &["webhook_url needs webhook_secret_file"]);
    let apart = |lines: &str| with(&format!("run = \"apart\"\n{lines}"));
    let tcp = "socket = \"vigie.example.com:6010\"\n";
    check(&apart("socket_ca_file = \"DIR/token\""), &["is a socket file; TLS is for TCP"]);
    check(
        &apart(&format!("{tcp}socket_ca_file = \"DIR/token\"")),
        &["bridge[1].socket_ca_file: DIR/token: holds no certificate"],
    );
    check(
        &apart(&format!("{tcp}socket_cert_file = \"DIR/token\"")),
        &["socket_cert_file and socket_key_file belong together"],
    );
    check(
        &apart(&format!("{tcp}socket_cert_file = \"DIR/token\"\nsocket_key_file = \"DIR/token\"")),
        &["socket_cert_file needs socket_ca_file"],
    );
    check(&with("pace = 3"), &["bridge[1].pace = 3: unknown key"]);
    check(
        &with("[bridge.options]\nqueu = \"x\""),
        &["bridge[1].options.queu: unknown option; did you mean queue?"],
    );
    check(&with("[bridge.options]\nqueue = [1]"), &["must be a text in quotes, a number, or true or false"]);
    check(
        &RT.replace("kind = \"rt\"", "kind = \"zendesk\""),
        &["options: user is missing: address of the administrator"],
    );
    check(&with("preset_file = \"x.toml\""), &["preset_file is for kind = \"http\"; rt has"]);
    check(
        &RT.replace("kind = \"rt\"", "kind = \"http\""),
        &["preset_file is missing: kind = \"http\" needs one"],
    );
    check(&format!("{RT}{RT}"), &["name = \"rt\": is taken by another bridge"]);
    check(
        &format!("{RT}{}subscription = \"bridge-rt\"\n", RT.replace("name = \"rt\"", "name = \"two\"")),
        &["subscription = \"bridge-rt\": is another bridge's"],
    );
    check(
        &with("[bridge.text.Volt]\nlanguage = \"fr\""),
        &["bridge[1].text.Volt: there is no [[brand]] \"Volt\""],
    );
    check(&with("[bridge.text.Lumio]\nlanguage = \"de\""), &["must be \"fr\" or \"en\""]);
    check(&without("url"), &["bridge[1]: url is missing"]);
}

const TEAMS: &str = "[[team]]\nname = \"Billing\"\n[[team]]\nname = \"Tier 2\"\n";

#[test]
fn options_of_teams_and_fields_are_read() {
    let text = format!(
        "{RT}[bridge.teams.billing]\nqueue = \"Bills\"\n[bridge.teams.\"tier 2\"]\nqueue = 7\n\
         [bridge.fields]\nnetwork = \"{{{{ network }}}}\"\n\"Any name\" = \"{{{{ tags }}}}\"\n{TEAMS}"
    );
    let rt = bridge(&text);
    assert_eq!(rt.all_options()["queue"], "General");
    assert_eq!((&rt.teams["Billing"]["queue"], &rt.teams["Tier 2"]["queue"]), (&"Bills".into(), &7.into()));
    assert_eq!(rt.texts.fields().names(), ["Any name", "network"]);
    // In a file that says nothing of teams, as apart from the daemon, any may be meant.
    assert_eq!(bridge(&format!("{RT}[bridge.teams.billing]\nqueue = \"Bills\"\n")).teams.len(), 1);
}

#[test]
fn mistakes_in_options_of_teams_and_in_fields_are_named() {
    let folder = folder();
    let check = |kind: &str, lines: &str, expected: &[&str]| {
        let text = format!("{}{lines}\n{TEAMS}", RT.replace("kind = \"rt\"", &format!("kind = \"{kind}\"")));
        let mistakes = load(folder.path(), &text).expect_err(lines);
        assert_eq!(mistakes.len(), expected.len(), "{lines}\n{mistakes:#?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.contains(expected), "{mistake}\n  is not: {expected}");
        }
    };
    check(
        "rt",
        "[bridge.teams.biling]\nqueue = \"x\"",
        &["bridge[1].teams.biling: there is no [[team]] \"biling\"; did you mean \"Billing\"?"],
    );
    check(
        "rt",
        "[bridge.teams.billing]\nqueue = \"x\"\n[bridge.teams.Billing]\nqueue = \"y\"",
        &["bridge[1].teams.billing: is said twice of this team"],
    );
    check(
        "rt",
        "[bridge.teams.billing]\nqueu = \"x\"",
        &["line 7: bridge[1].teams.billing.queu: unknown option; did you mean queue?"],
    );
    check(
        "rt",
        "[bridge.teams.billing]\nfield = \"x\"",
        &[
            "line 7: bridge[1].teams.billing: field is of the whole helpdesk, for [bridge.options]; of a ticket there are: queue",
        ],
    );
    check("rt", "[bridge.teams]\nbilling = \"x\"", &["must be a table: [bridge[1].teams.billing]"]);
    check("rt", "[bridge.teams.billing]\nqueue = []", &["bridge[1].teams.billing.queue = "]);
    let own = "[options.group]\nabout = \"a number\"\ndefault = 0\nby_team = true\n[find]";
    let own = firehose::helpdesk::Plain::PRESET.replace("[find]", own).replace(
        "{\"ref\": {{ ref }}, \"subject\": ",
        "{\"group\": {{ option.group|int }}, \"fields\": [{% for name in fields %}{{ name|int }}{% endfor %}], \"subject\": ",
    );
    fs::write(folder.path().join("own.toml"), own).unwrap();
    check(
        "http",
        "preset_file = \"own.toml\"\n[bridge.teams.billing]\ngroup = \"nine\"",
        &["a sample ticket of team Billing cannot be put into the calls of http: create[0].body"],
    );
    // What a preset says of how values must be is told at their line.
    check(
        "glpi",
        "[bridge.teams.billing]\ngroup = \"nine\"",
        &["line 7: bridge[1].teams.billing.group: \"nine\": must be a whole number: number of the group"],
    );
    check(
        "freshdesk",
        "[bridge.options]\ngroup = -3\nfield = \"vigie ref\"\nrecommendation = \"nps\"",
        &[
            "line 7: bridge[1].options.group: \"-3\": must be a whole number: number of the group",
            "line 8: bridge[1].options.field: \"vigie ref\": must begin with cf_: name of the ticket field",
            "line 9: bridge[1].options.recommendation: \"nps\": must begin with cf_",
        ],
    );
    check(
        "freshdesk",
        "[bridge.fields]\nnetwork = \"x\"\ncf_network = \"x\"\ncf_ = \"x\"",
        &[
            "line 7: bridge[1].fields.network: the name must begin with cf_, as the helpdesk's API calls it",
            "line 9: bridge[1].fields.cf_: the name must begin with cf_",
        ],
    );
    let fields = |line: &str| format!("[bridge.fields]\n{line}");
    check(
        "rt",
        &fields("a = \"{{ ticket.post.text }}\"\nb = \"{{ network\"\nc = 3\nd = \"{{ network|shout }}\""),
        &[
            "line 7: bridge[1].fields.a: asks for ticket; there are: brand, network",
            "line 8: bridge[1].fields.b: ",
            "line 9: bridge[1].fields.c: must be a text in quotes, a template",
            "line 10: bridge[1].fields.d: unknown filter",
        ],
    );
    check("rt", &fields("Vigie-Ref = \"x\""), &["fields.Vigie-Ref: is the field of the option field"]);
    check(
        "rt",
        &format!("[bridge.options]\nrecommendation = \"nps\"\n{}", fields("nps = \"x\"")),
        &["line 9: bridge[1].fields.nps: is the field of the option recommendation"],
    );
    check(
        "glpi",
        &fields("a = \"x\""),
        &["bridge[1].fields: GLPI takes no fields: its preset puts them nowhere"],
    );
    let many: String = (0..101).map(|number| format!("a{number} = \"{{{{ network }}}}\"\n")).collect();
    check("rt", &fields(&many), &["line 6: bridge[1].fields: 101 fields: at most 100"]);
    let few = format!("{RT}{}", fields(many.rsplit_once("a100").unwrap().0));
    assert_eq!(bridge(&few).texts.fields().names().len(), 100);
    // Where fields stand beside what the preset fills, none of that is an operator's.
    for (kind, line, name) in [
        ("zammad", "group = \"Social\"", "customer_id"),
        ("zammad", "group = \"Social\"", "title"),
        ("osticket", "requester = \"a@example.com\"", "autorespond"),
        ("osticket", "requester = \"a@example.com\"\ntopic = \"3\"", "topicId"),
    ] {
        let text = format!("[bridge.options]\n{line}\n{}", fields(&format!("{name} = \"x\"")));
        check(kind, &text, &[&format!("bridge[1]: fields.{name}: ")]);
    }
    // A field that is empty in a sample is tried all the same.
    let own = format!("preset_file = \"own.toml\"\n{}", fields("network = \"{{ incident }}\""));
    check("http", &own, &["a sample ticket cannot be put into the calls of http: create[0].body"]);
}

#[test]
fn a_template_or_preset_that_does_not_render_is_a_mistake() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let mistake = |bridge: &str| {
        let mistakes = load(folder.path(), bridge).expect_err(bridge);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        mistakes[0].clone()
    };
    // Templates lie beside the config.
    write("body.txt", "fine\n{{ post.txt }}");
    let text = format!("{RT}[bridge.text.lumio]\nbody_file = \"body.txt\"\n");
    let place = "line 7: bridge[1].text.lumio.body_file: body.txt: line 2: undefined value";
    let named = ": `post.txt` is undefined; did you mean post.text?";
    assert_eq!(mistake(&text), format!("{place}{named}"));
    // Of what only some tickets have, of an item of a list, and of what is near to nothing, the name alone.
    for (asked, named) in [
        ("customer.name", "`customer.name` is undefined"),
        ("customer.nam", "`customer.nam` is undefined; did you mean customer.name?"),
        ("prioritee", "`prioritee` is undefined; did you mean priority?"),
        ("somebody_else", "`somebody_else` is undefined"),
        ("articles[0].titel", "`articles[0].titel` is undefined"),
    ] {
        write("body.txt", &format!("fine\n{{{{ {asked} }}}}"));
        assert!(mistake(&text).ends_with(named), "{}", mistake(&text));
    }
    write("body.txt", "{{ post.text }}");
    assert!(load(folder.path(), &text).is_ok());

    let http = RT.replace("kind = \"rt\"", "kind = \"http\"\npreset_file = \"own.toml\"");
    write("own.toml", &firehose::helpdesk::Plain::PRESET.replace("{{ subject }}", "{{ subjekt }}"));
    assert!(mistake(&http).contains("create[0].body"), "{}", mistake(&http));
    write("own.toml", "title = 3");
    assert!(mistake(&http).contains("preset_file"), "{}", mistake(&http));
    write("own.toml", firehose::helpdesk::Plain::PRESET);
    assert!(load(folder.path(), &http).is_ok());
    let freshdesk = |lines: &str| RT.replace("kind = \"rt\"", "kind = \"freshdesk\"") + lines;
    let right = "[bridge.options]\ngroup = \"43\"\nfield = \"cf_ref\"\n[bridge.fields]\ncf_network = \"{{ network }}\"\n";
    assert!(load(folder.path(), &freshdesk(right)).is_ok());
}

#[test]
fn every_built_in_preset_takes_a_sample_ticket() {
    for (kind, text) in crate::bridge::preset::BUILT_IN {
        let preset = crate::bridge::preset::Preset::parse(text).unwrap();
        let mut config = RT.replace("kind = \"rt\"", &format!("kind = \"{kind}\"")) + "[bridge.options]\n";
        for (name, _) in preset.calls.options.iter().filter(|(_, option)| option.default.is_none()) {
            config.push_str(&format!("{name} = 7\n"));
        }
        assert_eq!(bridge(&config).kind, kind);
    }
}

#[test]
fn an_open_address_is_warned_of_unless_it_is_this_machine() {
    let folder = folder();
    let warnings = |url: &str| {
        load(folder.path(), &RT.replace("https://rt.example.com", url)).unwrap().warnings.join("\n")
    };
    assert!(warnings("http://rt.example.com").contains("bridge[1].url = http://rt.example.com: the token"));
    for url in ["http://localhost:8080/rt", "http://127.0.0.1", "http://[::1]:80", "https://rt.example.com"] {
        assert!(!warnings(url).contains("url = "), "{url}");
    }
}

#[test]
fn an_option_may_be_a_secret_in_a_file() {
    let glpi =
        RT.replace("kind = \"rt\"", "kind = \"glpi\"") + "[bridge.options]\napp_token_file = \"DIR/token\"\n";
    assert_eq!(bridge(&glpi).all_options()["app_token"], "s3cret");
}
