//! Who comes first: a customer who has tried everything, a big order that is lost, a complaint, a joke.

use crate::daemon::{State, run, vigie};

/// As their posts came in: nothing but what is known of them tells the company which one to answer first.
const POSTS: &str = r#"
{"id":"1","author":"u-joke","text":"ma lumiobox est en panne de blagues mdr, comme moi un lundi","created_at":"2026-11-26T09:00:00Z"}
{"id":"2","author":"u-plain","text":"Lumio en panne chez moi depuis hier, c'est pénible","created_at":"2026-11-26T09:01:00Z"}
{"id":"3","author":"u-called","text":"Lumio toujours en panne chez moi, c'est pénible","created_at":"2026-11-26T09:02:00Z"}
{"id":"4","author":"u-laptops","text":"Lumio, ma commande n'est jamais arrivée, où est mon colis ? j'ai besoin d'aide","created_at":"2026-11-26T09:03:00Z"}
"#;

const CUSTOMERS: &str = "key,name,tier,value,plain,purchases\n\
    C-17,Ana Diallo,standard,240,u-called,2026-03-02 89 Lumiobox\n\
    C-90,Imprimerie Roux,gold,18000,u-laptops,2026-11-19 11900 10 ordinateurs portables\n";

const TOUCHPOINTS: &str = "customer,channel,at,note\n\
    C-17,phone,2026-11-24T10:00:00Z,no tone\n\
    C-17,phone,2026-11-25T16:30:00Z,still no tone\n\
    C-17,mail,2026-11-26T06:00:00Z,asks for a technician\n";

#[test]
fn what_is_known_of_people_puts_their_posts_in_the_order_that_a_dispatcher_would() {
    let state = State::new("");
    let file = |name: &str, text: &str| {
        let path = state.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let posts = file("posts.ndjson", POSTS.trim_start());
    let source = format!("[[source]]\nkind = \"ndjson\"\npath = \"{}\"\n", posts.display());
    let tiers = "[priority]\ntier = { gold = 120, silver = 60 }\n";
    state.configure(&source, &format!("{}\n{tiers}", crate::daemon::BRAND));

    for (what, text) in [("customers", CUSTOMERS), ("touchpoints", TOUCHPOINTS)] {
        let path = file(&format!("{what}.csv"), text);
        let imported = run(vigie().args(["import", what]).arg(path).arg("-c").arg(&state.config), b"");
        assert!(imported.status.success(), "{}{}", imported.stdout, imported.stderr);
    }
    let daemon = state.start();
    while state.frames() < 4 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let tail = run(vigie().args(["tail", "--json", "--count", "4", "--socket"]).arg(state.socket()), b"");
    assert!(tail.status.success(), "{}", tail.stderr);
    let tickets: Vec<serde_json::Value> =
        tail.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let order: Vec<_> =
        tickets.iter().map(|ticket| ticket["post"]["author"]["id"].as_str().unwrap()).collect();
    assert_eq!(order, ["u-laptops", "u-called", "u-plain", "u-joke"], "{}", tail.stdout);
    assert_eq!(tickets[1]["person"]["customer"], "C-17");
    drop(daemon);
}
