//! Who comes first, and who answers: a customer who has tried everything, a big order that is lost, a complaint, a joke.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use vigie::ticket::proto::{AgentState, TicketStatus, client_message::Kind};
use vigie::wire::{Address, Client, Introduction};

use crate::daemon::{State, patiently, run, vigie};

/// As their posts came in: nothing but what is known of them tells the company which one to answer first.
const POSTS: &str = r#"
{"id":"1","author":"u-joke","text":"ma lumiobox est en panne de blagues mdr, comme moi un lundi","created_at":"2026-11-26T09:00:00Z"}
{"id":"2","author":"u-plain","text":"Lumio en panne chez moi depuis hier, c'est pénible","created_at":"2026-11-26T09:01:00Z"}
{"id":"3","author":"u-called","text":"Lumio toujours en panne chez moi, c'est pénible","created_at":"2026-11-26T09:02:00Z"}
{"id":"4","author":"u-laptops","text":"Lumio, ma commande n'est jamais arrivée, où est mon colis ? j'ai besoin d'aide","created_at":"2026-11-26T09:03:00Z"}
"#;

/// What they bought, and what they tried before: reckoned from now, as the daemon does.
fn customers_and_touchpoints() -> (String, String) {
    let ago = |hours| Timestamp::now() - Duration::from_hours(hours);
    let day = |hours| ago(hours).to_zoned(TimeZone::UTC).date();
    let customers = format!(
        "key,name,tier,flags,value,plain,purchases\n\
         C-17,Ana Diallo,standard,callback,240,u-called,{} 89 Lumiobox\n\
         C-90,Imprimerie Roux,gold,,18000,u-laptops,{} 11900 10 ordinateurs portables\n",
        day(270 * 24),
        day(7 * 24)
    );
    let touchpoints = format!(
        "customer,channel,at,note\n\
         C-17,phone,{},no tone\n\
         C-17,phone,{},still no tone\n\
         C-17,mail,{},asks for a technician\n",
        ago(47),
        ago(17),
        ago(3)
    );
    (customers, touchpoints)
}

/// Money goes to `vip`, whoever waits to be called to `seniors`, the rest to `support`.
const DESK: &str = r#"
    [priority]
    tier = { gold = 120, silver = 60 }
    [routing]
    default_team = "support"
    [[team]]
    name = "vip"
    [[team]]
    name = "seniors"
    [[team]]
    name = "support"
    [[route]]
    when = { tier = "gold" }
    team = "vip"
    [[route]]
    when = { flag = "callback" }
    team = "seniors"
"#;

const AGENTS: &str = "name,team,capacity,away\nVera,vip,5,no\nSam,seniors,5,no\nTia,seniors,5,no\nLena,support,5,no\n\
    Max,support,5,no\nNoa,support,5,no\n";

/// Vera has left, and Max is on holiday.
const AGENTS_LATER: &str = "name,team,capacity,away\nVico,vip,5,no\nSam,seniors,5,no\nTia,seniors,5,no\nLena,support,5,no\n\
    Max,support,5,yes\nNoa,support,5,no\n";

const TWO_MORE: &str = r#"{"id":"5","author":"u-late","text":"Lumio en panne chez moi aussi, c'est pénible","created_at":"2026-11-26T09:05:00Z"}
{"id":"6","author":"u-called","text":"Lumio encore en panne chez moi, c'est pénible","created_at":"2026-11-26T09:06:00Z"}
"#;

/// Who is in danger, then who has most reason to be answered next: as a dispatcher would take them, one after another.
const IN_ORDER: [(&str, &str); 14] = [
    ("grief", "@lumio je n'en peux plus de vos relances, j'ai envie de mourir"),
    (
        "burnt",
        "The charger of my lumiobox exploded, my daughter is badly hurt, we are in the emergency room @lumio",
    ),
    ("arm", "@lumio tripped over the cable that your technician left in our stairs, broken arm"),
    ("house", "My house is on fire because of your box @lumio"),
    ("oxygen", "@lumio ma mère est sous oxygène et il n'y a plus de courant"),
    ("all-lines", "@lumio URGENT toutes nos lignes sont en panne, 200 salariés bloqués, c'est inadmissible"),
    ("laptops", "@lumio where is my order? Ten laptops and the parcel never arrived, tracking says lost"),
    ("practice", "@lumio urgent: no internet at our medical practice since 8 am, patients cannot reach us"),
    ("called", "Lumio toujours en panne chez moi, c'est pénible"),
    ("plain", "Lumio en panne chez moi depuis hier, c'est pénible"),
    ("gold-joke", "my lumiobox is so slow it could run for parliament lol"),
    ("joke", "ma lumiobox est en panne de blagues mdr, comme moi un lundi"),
    ("address", "@lumio how do I change my address?"),
    ("thanks", "Thank you @lumio, the new box works perfectly, great support!"),
];

const THEIR_CUSTOMERS: &str = "key,tier,flags,value,plain,purchases\n\
    C-1,gold,press,90000,all-lines,2026-11-20 9000 60 lines\n\
    C-2,gold,press,90000,gold-joke,2026-11-20 9000 60 lines\n\
    C-3,gold,,18000,laptops,2026-11-19 11900 10 laptops\n\
    C-4,standard,,240,called,\n";

const THEIR_TOUCHPOINTS: &str = "customer,channel,at\n\
    C-1,phone,2026-11-25T10:00:00Z\nC-1,phone,2026-11-25T11:00:00Z\nC-1,mail,2026-11-25T12:00:00Z\n\
    C-2,phone,2026-11-25T12:00:00Z\n\
    C-4,phone,2026-11-24T10:00:00Z\nC-4,phone,2026-11-25T16:30:00Z\nC-4,mail,2026-11-26T06:00:00Z\n";

/// What `vigie replay` prints of these posts.
fn replayed(state: &State, posts: &str) -> Vec<Value> {
    let replayed = run(
        vigie().args(["replay", "--format", "plain", "-c"]).arg(&state.config).arg("-"),
        posts.as_bytes(),
    );
    assert!(replayed.status.success(), "{}", replayed.stderr);
    replayed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The built-in points know no company; only the words for tiers and flags are its own.
#[test]
fn built_in_points_put_danger_first_then_reasons_then_jokes_whoever_makes_them() {
    let state = State::new("");
    let own = "[priority]\ntier = { gold = 100 }\nflag = { press = 80 }\n";
    state.configure(&state.posts_source(), &format!("{}\n{own}", crate::daemon::BRAND));
    import(&state, &["customers"], THEIR_CUSTOMERS);
    import(&state, &["touchpoints"], THEIR_TOUCHPOINTS);
    let posts: String = IN_ORDER
        .iter()
        .map(|(author, text)| {
            let post = serde_json::json!({
                "id": author, "author": author, "text": text, "created_at": "2026-11-26T09:00:00Z",
            });
            format!("{post}\n")
        })
        .collect();
    let tickets = replayed(&state, &posts);
    let priority = |author: &str| {
        let ticket = tickets.iter().find(|ticket| ticket["post"]["author"]["id"] == author);
        ticket.unwrap_or_else(|| panic!("no ticket of {author}"))["priority"].as_u64().unwrap()
    };
    let priorities = IN_ORDER.map(|(author, _)| (author, priority(author)));
    for pair in priorities.windows(2) {
        let [(_, before), (_, after)] = pair else { panic!() };
        assert!(before > after, "{priorities:?}");
    }
    let at = |least, author| (priority(author) >= least, author);
    for (least, author) in [(900, "oxygen"), (600, "called"), (430, "plain"), (250, "address")] {
        assert_eq!(at(least, author), (true, author), "{priorities:?}");
    }
    assert!(priority("all-lines") < 900, "{priorities:?}");
}

/// Posts with words of danger, and whether somebody is: `tests/data/danger.tsv`.
#[test]
fn words_of_danger_are_an_emergency_where_there_is_one_and_nowhere_else() {
    let state = State::new("");
    state.configure(&state.posts_source(), crate::daemon::BRAND);
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/danger.tsv");
    let table = std::fs::read_to_string(table).unwrap();
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<_> = rows.map(|line| line.split_once('\t').unwrap()).collect();
    let posts = rows.iter().enumerate().map(|(row, (_, text))| {
        let post = serde_json::json!({
            "id": row.to_string(), "author": row.to_string(), "text": text, "created_at": "2026-11-26T09:00:00Z",
        });
        format!("{post}\n")
    });
    let posts: String = posts.collect();
    let tickets = replayed(&state, &posts);
    let wrong = rows.iter().enumerate().filter_map(|(row, (expected, text))| {
        let id = row.to_string();
        let ticket = tickets.iter().find(|ticket| ticket["post"]["id"] == id);
        let is_first = ticket.is_some_and(|ticket| ticket["priority"].as_u64() >= Some(900));
        let is_p1 = ticket.is_some_and(|ticket| ticket["level"] == "P1");
        let is_right = match *expected {
            "danger" => is_first,
            "harmless" => !is_p1,
            other => panic!("{other}: danger or harmless"),
        };
        (!is_right).then(|| format!("{expected}: {text}: {}", ticket.map_or(&Value::Null, |t| &t["factors"])))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn import(state: &State, arguments: &[&str], text: &str) {
    let path = state.path().join("import.csv");
    std::fs::write(&path, text).unwrap();
    let imported = run(vigie().arg("import").args(arguments).arg(path).arg("-c").arg(&state.config), b"");
    assert!(imported.status.success(), "{}{}", imported.stdout, imported.stderr);
}

/// So many records as `vigie tail` shows them.
fn tail(state: &State, records: usize) -> Vec<Value> {
    let count = records.to_string();
    let tail = run(vigie().args(["tail", "--json", "--count", &count, "--socket"]).arg(state.socket()), b"");
    assert!(tail.status.success(), "{}", tail.stderr);
    tail.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Who wrote, whose it is, and the first words of why.
fn whose(ticket: &Value) -> [String; 4] {
    let said = &ticket["assignment"];
    let words = [&ticket["post"]["author"]["id"], &said["team"], &said["agent"], &said["reasons"][0]];
    words.map(|word| word.as_str().unwrap_or_default().to_owned())
}

/// Waits until a query of the ledger gives so much.
async fn until(state: &State, sql: &str, expected: i64) {
    patiently(sql, async {
        while state.ledger().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_people_puts_their_posts_in_the_order_that_a_dispatcher_would_and_before_the_right_agent()
 {
    let state = State::new("");
    let posts = state.path().join("posts.ndjson");
    std::fs::write(&posts, POSTS.trim_start()).unwrap();
    state.configure(&state.posts_source(), &format!("{}\n{DESK}", crate::daemon::BRAND));
    let (customers, touchpoints) = customers_and_touchpoints();
    import(&state, &["customers"], &customers);
    import(&state, &["touchpoints"], &touchpoints);
    import(&state, &["agents"], AGENTS);

    let daemon = state.start();
    patiently("four posts", async {
        while state.frames() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let tickets = tail(&state, 4);
    let default = "no route speaks of it: the default team";
    let expected = [
        ["u-laptops", "vip", "Vera", "route 1: tier gold"],
        ["u-called", "seniors", "Sam", "route 2: flag callback"],
        ["u-plain", "support", "Max", default],
        ["u-joke", "support", "Lena", default],
    ];
    assert_eq!(tickets.iter().map(whose).collect::<Vec<_>>(), expected);
    assert_eq!(tickets[1]["person"]["customer"], "C-17");
    let why = tickets[2]["assignment"]["reasons"][1].as_str().unwrap();
    assert_eq!(why, "Max: next in turn of 2 who suit alike (0 of 5 open)");

    // Somebody else takes over from who has left, and helpdesks are told, though the only source has come to its end.
    import(&state, &["agents", "--replace"], AGENTS_LATER);
    until(&state, "SELECT count(*) FROM record WHERE kind = 1", 1).await;
    let records = tail(&state, 5);
    let anew = &records.iter().find(|record| !record["update"].is_null()).unwrap()["update"];
    assert_eq!(anew["ticket_id"], tickets[0]["id"]);
    let said = &anew["change"]["assigned"];
    assert_eq!([&said["team"], &said["agent"]], ["vip", "Vico"], "{said}");
    assert_eq!(said["reasons"][0], "Vera is no longer there");

    // Lena's own count of what she has to do is more than vigie knows of.
    let introduction = Introduction { subscription: "desk".into(), ..Introduction::default() };
    let socket = Address::Unix(state.socket());
    let mut client = patiently("a welcome", Client::connect(&socket, introduction)).await.unwrap();
    let busy = AgentState { agent: "Lena".into(), open_tickets: 5, ..AgentState::default() };
    client.report(Kind::AgentState(busy)).await.unwrap();
    until(&state, "SELECT count(*) FROM agent WHERE name = 'Lena' AND open_tickets = 5", 1).await;
    // And Tia has answered whoever was Sam's.
    let id = u128::from_str_radix(tickets[1]["id"].as_str().unwrap(), 16).unwrap();
    let (ticket_id, agent) = (id.to_be_bytes().to_vec(), "Tia".to_owned());
    let solved =
        TicketStatus { ticket_id, state: 3, agent, first_answer_at_us: 1, ..TicketStatus::default() };
    client.report(Kind::TicketStatus(solved)).await.unwrap();
    until(&state, "SELECT count(*) FROM conversation WHERE closed_at_us IS NOT NULL", 1).await;
    drop(client);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");

    // With Max on holiday one of the three is left, after a restart too.
    std::fs::write(&posts, format!("{}{TWO_MORE}", POSTS.trim_start())).unwrap();
    let daemon = state.start();
    until(&state, "SELECT count(*) FROM ticket", 6).await;
    let records = tail(&state, 7);
    let ticket = records.iter().find(|record| record["post"]["id"] == "5").unwrap();
    assert_eq!(whose(ticket), ["u-late", "support", "Noa", default]);
    assert_eq!(ticket["assignment"]["reasons"][1], "Noa: nobody else can take it (0 of 5 open)");
    let ticket = records.iter().find(|record| record["post"]["id"] == "6").unwrap();
    assert_eq!(whose(ticket), ["u-called", "seniors", "Tia", "route 2: flag callback"]);
    assert_eq!(ticket["assignment"]["reasons"][1], "Tia: answered this person before");
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}

/// At night nobody is there; in the morning nothing has to come for what was left to be somebody's.
#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_found_nobody_are_somebodys_once_there_is_somebody() {
    let state = State::new("");
    std::fs::write(state.path().join("posts.ndjson"), POSTS.trim_start()).unwrap();
    state.configure(&state.posts_source(), &format!("{}\n{DESK}", crate::daemon::BRAND));
    const NIGHT: &str = "name,team,capacity,away\nLena,support,3,yes\n";
    import(&state, &["agents"], NIGHT);
    let daemon = state.start();
    until(&state, "SELECT count(*) FROM assigned WHERE agent = ''", 4).await;
    import(&state, &["agents"], &NIGHT.replace("yes", "no"));
    until(&state, "SELECT count(*) FROM assigned WHERE agent = 'Lena'", 3).await;
    let records = tail(&state, 7);
    let given = records.iter().filter_map(|record| record["update"]["change"]["assigned"]["reasons"].get(0));
    assert_eq!(given.collect::<Vec<_>>(), ["had no agent so far"; 3]);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}

/// As in the daemon, by the posts' own time: who wrote at night is somebody's in the morning, the same one each time.
#[test]
fn a_replay_gives_what_found_nobody_once_there_is_somebody() {
    let state = State::new("");
    state.configure(&state.posts_source(), &format!("{}\n{DESK}", crate::daemon::BRAND));
    import(&state, &["agents"], "name,team,capacity,shifts\nLena,support,9,mon-fri 09:00-18:00\n");
    let post = |id: u32, at: &str| {
        let text = "Lumio en panne chez moi depuis hier, c'est pénible";
        format!(
            "{{\"id\":\"{id}\",\"author\":\"u-{id}\",\"text\":\"{text}\",\"created_at\":\"2026-11-26T{at}Z\"}}\n"
        )
    };
    let posts = [post(1, "02:00:00"), post(2, "03:00:00"), post(3, "09:00:10")].concat();
    let records = replayed(&state, &posts);
    assert_eq!(records, replayed(&state, &posts));
    let agents: Vec<_> = records[..3].iter().map(|ticket| ticket["assignment"]["agent"].clone()).collect();
    assert_eq!(agents, ["", "", "Lena"]);
    let given: Vec<_> = records[3..].iter().map(|record| &record["update"]["change"]["assigned"]).collect();
    assert_eq!(
        given.iter().map(|given| &given["agent"]).collect::<Vec<_>>(),
        ["Lena", "Lena"],
        "{records:?}"
    );
    assert_eq!(given[0]["reasons"][0], "had no agent so far");
    assert_eq!(records[3]["update"]["at"], "2026-11-26T09:00:10Z");
}
