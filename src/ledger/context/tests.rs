use std::path::PathBuf;
use std::time::Duration;

use super::import::{CustomerChunk, CustomerRow, Importer, Numbered};
use super::*;
use crate::desk::People;
use crate::desk::person::{TOUCHPOINTS_MAX, Touchpoint};
use crate::ledger::schema;
use crate::parse::{Author, Post};

const DAY_US: i64 = 24 * 3600 * 1_000_000;

fn memory() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    schema::migrate(&connection).unwrap();
    connection
}

fn count(connection: &Connection, table: &str) -> i64 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn at(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap()
}

fn report(customer: &str, network: &str, account: &str, at_us: i64) -> Vec<u8> {
    let (customer, network, account) = (customer.to_owned(), network.to_owned(), account.to_owned());
    let (channel, note) = ("Phone".to_owned(), "n".repeat(NOTE_CHARS_MAX + 1));
    proto::Touchpoint { customer, network, account, channel, at_us, note }.encode_to_vec()
}

#[test]
fn what_a_client_reports_is_kept_once_and_what_names_nobody_is_not() {
    let connection = memory();
    for body in [
        report("C1", "", "", 5),
        report("C1", "", "", 5),
        report("", "x", "@Ana", 0),
        report("", "", "", 5),
        report("", "myspace", "ana", 5),
        vec![0xff],
    ] {
        take_touchpoint(&connection, &body, at(7)).unwrap();
    }
    let mut kept =
        connection.prepare("SELECT customer, account, at_us, channel, note FROM touchpoint").unwrap();
    let kept: Vec<(String, String, i64, String, String)> = kept
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let note = format!("{}…", "n".repeat(NOTE_CHARS_MAX));
    let row = |customer: &str, account: &str, at_us| {
        (customer.to_owned(), account.to_owned(), at_us, "phone".to_owned(), note.clone())
    };
    assert_eq!(kept, [row("", "ana", 7), row("C1", "", 5)]);
    assert!(size::bytes(&connection).unwrap() > 2 * 1000, "what is written counts");
}

#[test]
fn a_helpdesk_reports_of_agents_and_unknown_ones_are_kept_without_a_team() {
    let connection = memory();
    let report = |skills: &[&str], open_tickets, capacity| {
        let skills = skills.iter().map(|skill| (*skill).to_owned()).collect();
        let state = proto::AgentState {
            agent: "Ana".to_owned(),
            skills,
            open_tickets,
            capacity,
            ..Default::default()
        };
        take_agent_state(&connection, &state.encode_to_vec()).unwrap();
        agents::find(&connection, "Ana").unwrap().unwrap()
    };
    let ana = report(&[], 3, 0);
    assert_eq!((ana.team.as_str(), ana.open_tickets, ana.capacity), ("", 3, CAPACITY_DEFAULT));
    assert_eq!(report(&["Billing"], 4, 7).skills, ["billing"]);
    let ana = report(&[], 5, 0);
    assert_eq!(
        (ana.skills.join(" "), ana.open_tickets, ana.capacity),
        ("billing".to_owned(), 5, 7),
        "what is not said stays"
    );
    take_agent_state(&connection, &proto::AgentState::default().encode_to_vec()).unwrap();
    assert_eq!(count(&connection, "agent"), 1, "nobody's");
}

#[test]
fn old_contacts_are_forgotten_a_few_at_a_time() {
    let connection = memory();
    for n in 0..10 {
        take_touchpoint(&connection, &report("C1", "", "", n * DAY_US + 1), at(0)).unwrap();
    }
    let before = size::bytes(&connection).unwrap();
    assert_eq!(touchpoints::forget_before(&connection, 5 * DAY_US, 3).unwrap(), 3);
    assert_eq!(touchpoints::forget_before(&connection, 5 * DAY_US, 100).unwrap(), 2);
    assert_eq!(touchpoints::forget_before(&connection, 5 * DAY_US, 100).unwrap(), 0);
    assert_eq!((count(&connection, "touchpoint"), size::bytes(&connection).unwrap()), (5, before / 2));
}

#[test]
fn contacts_of_one_time_are_forgotten_a_few_at_a_time() {
    let connection = memory();
    for n in 0..10 {
        take_touchpoint(&connection, &report(&format!("C{n}"), "", "", 1), at(0)).unwrap();
    }
    assert_eq!(touchpoints::forget_before(&connection, DAY_US, 3).unwrap(), 3);
    assert_eq!(count(&connection, "touchpoint"), 7);
}

#[test]
fn reports_name_only_so_many_agents_with_only_so_many_words() {
    let connection = memory();
    let report = |agent: String, skills: Vec<String>| {
        let state = proto::AgentState { agent, skills, ..Default::default() };
        take_agent_state(&connection, &state.encode_to_vec()).unwrap();
    };
    for n in 0..1001 {
        report(format!("agent {n}"), Vec::new());
    }
    assert_eq!(count(&connection, "agent"), 1000);
    report("agent 7".to_owned(), (0..50).map(|n| format!("skill{n}")).chain(["x".repeat(65)]).collect());
    let known = agents::find(&connection, "agent 7").unwrap().unwrap();
    assert_eq!(
        (known.skills.len(), known.skills[0].as_str()),
        (32, "skill0"),
        "who is known is still heard of"
    );
}

struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    fn new() -> Store {
        Store { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite")
    }

    fn customers(&self, rows: &[(&str, &str)]) {
        self.under_way(rows).finish().unwrap();
    }

    fn under_way(&self, rows: &[(&str, &str)]) -> Importer {
        let row = |(key, account): &(&str, &str)| CustomerRow {
            key: (*key).to_owned(),
            name: Some("Ana".to_owned()),
            accounts: vec![(Network::X, account.split_whitespace().map(str::to_owned).collect())],
            ..CustomerRow::default()
        };
        let rows: Vec<_> = rows.iter().map(|given| Numbered { line: 1, row: row(given) }).collect();
        let mut importer = Importer::open(&self.path(), false).unwrap();
        importer.customers(CustomerChunk::new(rows), &mut |rejected| panic!("{rejected:?}")).unwrap();
        importer
    }

    fn open(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn find(&self, id: &str, handle: &str, now_us: i64) -> (String, Vec<Touchpoint>) {
        let author =
            Author { id: id.to_owned().into(), handle: Some(handle.to_owned().into()), ..Author::default() };
        let post = Post::new(Network::X, "1".into(), author, "text".into());
        let window = Duration::from_secs(30 * 24 * 3600);
        let person = Reader::open(&self.path()).unwrap().author_of(&post, window, at(now_us)).unwrap();
        (person.customer.map(|found| found.key.clone()).unwrap_or_default(), person.touchpoints)
    }
}

#[test]
fn an_id_says_more_than_a_handle_which_may_be_another_s_today() {
    let store = Store::new();
    store.customers(&[("C1", "7"), ("C2", "ana")]);
    assert_eq!(store.find("7", "ana", 0).0, "C1");
    assert_eq!(store.find("8", "ana", 0).0, "C2");
    assert_eq!(store.find("8", "ben", 0).0, "");
}

#[test]
fn the_newest_contacts_of_the_window_are_found_and_no_later_ones() {
    let store = Store::new();
    store.customers(&[("C1", "7")]);
    let connection = store.open();
    for n in 0..100 {
        take_touchpoint(&connection, &report("C1", "", "", n * DAY_US), at(0)).unwrap();
        take_touchpoint(&connection, &report("", "x", "8", n * DAY_US / 10), at(0)).unwrap();
    }
    let days = |id: &str| -> Vec<i64> {
        store.find(id, "nobody", 50 * DAY_US).1.iter().map(|one| one.at.as_microsecond() / DAY_US).collect()
    };
    assert_eq!(days("7"), (20..=50).rev().collect::<Vec<_>>());
    assert_eq!(days("8").len(), 0, "all of those are older");
    assert_eq!(store.find("8", "nobody", 9 * DAY_US).1.len(), TOUCHPOINTS_MAX);
}

#[test]
fn contacts_of_an_id_stay_those_of_a_customer_who_is_found_by_the_handle() {
    let store = Store::new();
    store.customers(&[("C1", "ana")]);
    let connection = store.open();
    for (customer, network, account, at_us) in [("C1", "", "", 1), ("", "x", "7", 2), ("", "x", "7", 1)] {
        take_touchpoint(&connection, &report(customer, network, account, at_us), at(0)).unwrap();
    }
    let (customer, contacts) = store.find("7", "ana", 3);
    let times: Vec<_> = contacts.iter().map(|contact| contact.at.as_microsecond()).collect();
    assert_eq!((customer.as_str(), times), ("C1", vec![2, 1]));
}

#[test]
fn a_customer_who_is_forgotten_leaves_nothing_in_the_file() {
    let store = Store::new();
    store.customers(&[("C-secret", "7 secretive"), ("C2", "8")]);
    let connection = store.open();
    take_touchpoint(&connection, &report("C-secret", "", "", 1), at(0)).unwrap();
    take_touchpoint(&connection, &report("C2", "", "", 1), at(0)).unwrap();
    for body in [report("C-secret", "", "", 1), report("", "x", "Secretive", 1), report("C2", "", "", 1)] {
        let sql = "INSERT INTO feedback (at_us, kind, body) VALUES (1, 'touchpoint', ?1)";
        connection.execute(sql, [body]).unwrap();
    }
    // A ticket and its update that say who wrote, and another customer's.
    let evidence = |name: &str| proto::Factor {
        name: name.to_owned(),
        points: 9,
        evidence: "bought a samovar".to_owned(),
    };
    let ticket = |customer: &str, name: &str| proto::Ticket {
        person: Some(proto::Person {
            customer: customer.to_owned(),
            name: name.to_owned(),
            contacts: vec![proto::person::Contact {
                note: format!("{name} was angry"),
                ..Default::default()
            }],
            ..Default::default()
        }),
        post: Some(proto::Post { text: "my kettle leaks".to_owned(), ..Default::default() }),
        factors: if customer == "C2" { Vec::new() } else { vec![evidence("purchase")] },
        ..Default::default()
    };
    // Of an account whose id nobody has linked, made before the handle was.
    let author =
        proto::Author { id: "4711".to_owned(), handle: "Secretive".to_owned(), ..Default::default() };
    let of_handle = proto::Ticket {
        post: Some(proto::Post { network: "x".to_owned(), author: Some(author), ..Default::default() }),
        factors: vec![evidence("contacts")],
        ..Default::default()
    };
    let followed = proto::update::FollowedUp { factors: vec![evidence("value")], ..Default::default() };
    let update =
        proto::Update { change: Some(proto::update::Change::FollowedUp(followed)), ..Default::default() };
    // In the other customer's ticket, which they have joined.
    let joined = proto::update::FollowedUp {
        post: Some(proto::Post {
            network: "x".to_owned(),
            author: Some(proto::Author { id: "7".to_owned(), ..Default::default() }),
            ..Default::default()
        }),
        factors: vec![evidence("tier")],
        ..Default::default()
    };
    let joined =
        proto::Update { change: Some(proto::update::Change::FollowedUp(joined)), ..Default::default() };
    for (id, kind, body) in [
        (1, 0, ticket("C-secret", "Isolde").encode_to_vec()),
        (1, 1, update.encode_to_vec()),
        (2, 0, ticket("C2", "Tristan").encode_to_vec()),
        (3, 0, of_handle.encode_to_vec()),
        (2, 1, joined.encode_to_vec()),
    ] {
        connection
            .execute(
                "INSERT INTO record (ticket_id, kind, body) VALUES (?1, ?2, ?3)",
                (vec![id; 16], kind, body),
            )
            .unwrap();
    }
    let factors = proto::update::FollowedUp { factors: vec![evidence("tier")], ..Default::default() };
    let sql = "INSERT INTO conversation (ticket_id, factors) VALUES (?1, ?2)";
    connection.execute(sql, (vec![1; 16], factors.encode_to_vec())).unwrap();
    connection
        .execute_batch(
            "INSERT INTO helper VALUES ('x', 'SECRETIVE', 3, 9), ('x', '8', 3, 9);
             INSERT INTO thanked VALUES ('x', 'SECRETIVE', x'02', 9), ('x', '8', x'02', 9);
             INSERT INTO post (id, ticket_id, kind, network, author_id, text_hash, at_us)
             VALUES (x'10', x'02', 2, 'x', '7', 0, 9), (x'11', x'02', 2, 'x', '8', 0, 9), (x'12', x'02', 2, 'plain', 'Cy', 0, 9);",
        )
        .unwrap();
    // An account that is nobody's takes nothing of anybody else along.
    let account = forget::Whom::Account(crate::parse::Network::Plain, "nobody");
    let nothing = forget::Forgotten { is_gone: true, ..Default::default() };
    assert_eq!(forget::forget(&store.path(), account).unwrap(), nothing);
    // Nor is one unknown that has only said something.
    let account = forget::Whom::Account(crate::parse::Network::Plain, "cy");
    assert_eq!(forget::forget(&store.path(), account).unwrap(), forget::Forgotten { accounts: 1, ..nothing });
    let forgotten = forget::forget(&store.path(), forget::Whom::Customer("C-secret")).unwrap();
    let expected = forget::Forgotten {
        customers: 1,
        accounts: 2,
        touchpoints: 1,
        reports: 2,
        tickets: 2,
        is_gone: true,
    };
    assert_eq!(forgotten, expected);
    assert_eq!(forget::forget(&store.path(), forget::Whom::Customer("C-secret")).unwrap().customers, 0);
    assert_eq!(
        (store.find("7", "secretive", 2).0, store.find("8", "x", 2).0),
        (String::new(), "C2".to_owned())
    );
    let body: Vec<u8> =
        connection.query_row("SELECT body FROM record WHERE seq = 1", [], |row| row.get(0)).unwrap();
    let left = proto::Ticket::decode(&*body).unwrap();
    assert_eq!((left.factors[0].points, left.post.unwrap().text.as_str()), (9, "my kettle leaks"));
    let body: Vec<u8> =
        connection.query_row("SELECT body FROM record WHERE seq = 3", [], |row| row.get(0)).unwrap();
    assert_eq!(body, ticket("C2", "Tristan").encode_to_vec(), "another customer's");
    let left = |sql: &str| {
        let ids = connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect();
        let ids: rusqlite::Result<Vec<String>> = ids;
        ids.unwrap()
    };
    for table in ["helper", "thanked", "post"] {
        assert_eq!(left(&format!("SELECT author_id FROM {table}")), ["8"], "{table}");
    }
    drop(connection);
    for file in std::fs::read_dir(store.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in ["C-secret", "secretive", "Isolde", "samovar"] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} is still there"
            );
        }
    }
}

#[test]
fn an_import_counts_what_the_context_takes() {
    let store = Store::new();
    let keys: Vec<_> = (0..5000).map(|n| format!("C{n}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), key.as_str())).collect();
    let pages = || -> i64 { store.open().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap() };
    store.customers(&rows[..1]);
    let before = pages();
    store.customers(&rows);
    let (bytes, pages) = (size::bytes(&store.open()).unwrap(), pages() - before);
    assert!(bytes > pages * 4096 * 8 / 10 && bytes < pages * 4096 * 12 / 10, "{bytes} of {pages} pages");
}

#[test]
fn an_import_that_is_broken_off_has_counted_what_it_has_written() {
    let store = Store::new();
    let keys: Vec<_> = (0..5000).map(|n| format!("C{n}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), key.as_str())).collect();
    let mut import = store.under_way(&rows);
    let contact = |n: i64| Contact {
        customer: format!("C{n}"),
        account: None,
        touchpoint: Touchpoint { at: at(n), channel: "phone".to_owned(), note: "waits".repeat(20) },
    };
    let contacts: Vec<_> = (0..5000).map(|n| Numbered { line: 1, row: contact(n) }).collect();
    import.touchpoints(&contacts).unwrap();
    drop(import);
    let (bytes, counted) = (size::bytes(&store.open()).unwrap(), size::count(&store.open()).unwrap());
    assert!(bytes > 5000 * 100 && (bytes - counted).abs() < counted / 10, "{bytes}, and {counted}");
}

#[test]
fn a_ledger_that_cannot_be_read_says_so() {
    let store = Store::new();
    store.customers(&[("C1", "7")]);
    let mut reader = Reader::open(&store.path()).unwrap();
    store.open().execute_batch("DROP TABLE account").unwrap();
    let author = Author { id: "7".into(), ..Author::default() };
    let post = Post::new(Network::X, "1".into(), author, "text".into());
    let error = reader.author_of(&post, Duration::from_secs(1), at(0)).unwrap_err().to_string();
    assert!(
        error.contains("customers cannot be read") && error.contains("no such table: account"),
        "{error}"
    );
}

#[test]
fn a_second_import_is_told_who_is_at_work() {
    let store = Store::new();
    let under_way = store.under_way(&[("C1", "7")]);
    let error = Importer::open(&store.path(), false).unwrap_err().to_string();
    assert!(
        error.contains(&format!("another import (process {}) is under way", std::process::id())),
        "{error}"
    );
    drop(under_way);
    Importer::open(&store.path(), false).unwrap();
}

#[test]
fn a_replacing_import_of_contacts_removes_only_what_was_there_at_its_start() {
    let store = Store::new();
    store.customers(&[("C1", "7")]);
    let connection = store.open();
    for at_us in [1, 2] {
        take_touchpoint(&connection, &report("C1", "", "", at_us), at(0)).unwrap();
    }
    let contact =
        Contact::read(proto::Touchpoint::decode(&*report("C1", "", "", 2)).unwrap(), at(0)).unwrap();
    let mut importer = Importer::open(&store.path(), true).unwrap();
    importer.touchpoints(&[Numbered { line: 1, row: contact }]).unwrap();
    take_touchpoint(&connection, &report("C1", "", "", 3), at(0)).unwrap();
    importer.remove_other_touchpoints().unwrap();
    let tally = importer.finish().unwrap();
    assert_eq!((tally.removed, tally.unchanged), (1, 1));
    let times: Vec<i64> = store.find("7", "", 9).1.iter().map(|one| one.at.as_microsecond()).collect();
    assert_eq!(times, [3, 2]);
}

#[test]
fn an_account_goes_from_one_customer_to_another_and_back() {
    let store = Store::new();
    let rejected = |replace, rows: &[(&str, &str)]| -> usize {
        let row = |(key, account): &(&str, &str)| CustomerRow {
            key: (*key).to_owned(),
            accounts: vec![(Network::X, account.split_whitespace().map(str::to_owned).collect())],
            ..CustomerRow::default()
        };
        let rows: Vec<_> = rows.iter().map(|given| Numbered { line: 1, row: row(given) }).collect();
        let mut importer = Importer::open(&store.path(), replace).unwrap();
        let mut rejected = 0;
        rows.chunks(1).for_each(|chunk| {
            importer.customers(CustomerChunk::new(chunk.to_vec()), &mut |_| rejected += 1).unwrap();
        });
        importer.finish().unwrap();
        rejected
    };
    assert_eq!(rejected(false, &[("C1", "ana ben"), ("C2", "cleo"), ("C3", "ana")]), 1, "it is C1's");
    assert_eq!(rejected(false, &[("C2", "cleo ana")]), 1, "still");
    assert_eq!(rejected(true, &[("C2", "cleo ana"), ("C1", "ben")]), 0, "C1 gives it up further down");
    assert_eq!(store.find("ana", "", 0).0, "C2");
    assert_eq!(rejected(true, &[("C1", "ben ana")]), 0);
    assert_eq!(
        rejected(false, &[("C2", "cleo")]),
        0,
        "which C2's list still names, and it is not taken from C1"
    );
    assert_eq!((store.find("ana", "", 0).0, store.find("ben", "", 0).0), ("C1".to_owned(), "C1".to_owned()));
    assert_eq!(forget::forget(&store.path(), forget::Whom::Customer("C1")).unwrap().accounts, 2);
    assert_eq!(store.find("ana", "", 0).0, "");
    assert_eq!(store.find("cleo", "", 0).0, "C2");
}

/// Otherwise the one customer would be rejected and have lost the account all the same.
#[test]
fn a_row_that_is_rejected_gives_no_account_away() {
    let store = Store::new();
    store.customers(&[("A", "one"), ("C", "two three"), ("D", "four")]);
    let row = |(key, accounts): &(&str, &str)| CustomerRow {
        key: (*key).to_owned(),
        accounts: vec![(Network::X, accounts.split_whitespace().map(str::to_owned).collect())],
        ..CustomerRow::default()
    };
    // B wants what A gives up for what is C's; E wants what B would give up, if it had it.
    let rows = [("A", "two"), ("B", "one"), ("D", "one-more"), ("E", "four")];
    let rows: Vec<_> = (1..).zip(&rows).map(|(line, given)| Numbered { line, row: row(given) }).collect();
    let mut importer = Importer::open(&store.path(), false).unwrap();
    let mut rejected = Vec::new();
    importer.customers(CustomerChunk::new(rows), &mut |one| rejected.push((one.line, one.reason))).unwrap();
    importer.finish().unwrap();
    rejected.sort();
    let reasons = [
        (1, r#"customer "A" claims x "two", which is customer "C"'s since an earlier import"#.to_owned()),
        (2, r#"customer "B" claims x "one", which is customer "A"'s: line 1 is rejected"#.to_owned()),
    ];
    assert_eq!(rejected, reasons);
    let owner = |name: &str| store.find(name, "", 0).0;
    assert_eq!(["one", "two", "three", "four", "one-more"].map(owner), ["A", "C", "C", "E", "D"]);
}

#[test]
fn a_contact_that_is_reported_while_its_account_is_being_linked_is_the_customer_s() {
    let store = Store::new();
    store.customers(&[("C0", "zero")]);
    // Somebody reports between two steps of the import: the first of them takes longer than it may.
    let slow = "CREATE TRIGGER slow AFTER INSERT ON account WHEN new.name = 'ana' BEGIN
          INSERT INTO touchpoint (customer, network, account, at_us, channel, note)
          SELECT '', 'x', 'ben', 1, 'phone', '' WHERE length(hex(zeroblob(100000000))) > 0;
        END";
    store.open().execute_batch(slow).unwrap();
    store.customers(&[("C1", "ana"), ("C2", "ben")]);
    let (customer, contacts) = store.find("ben", "", 2);
    assert_eq!((customer.as_str(), contacts.len()), ("C2", 1));
    let under = "SELECT customer FROM touchpoint";
    let under: String = store.open().query_row(under, [], |row| row.get(0)).unwrap();
    assert_eq!(under, "C2", "and not the bare account's");
}

#[test]
fn of_one_customer_the_newest_contacts_are_kept() {
    let connection = memory();
    let contacts = CONTACTS_OF_ONE_MAX as i64;
    for n in 0..contacts + 10 {
        // Not in their order.
        let at_us = 1 + n * 11 % (contacts + 10);
        take_touchpoint(&connection, &report("C1", "", "", at_us), at(0)).unwrap();
        take_touchpoint(&connection, &report("", "x", "ana", at_us), at(0)).unwrap();
    }
    take_touchpoint(&connection, &report("C2", "", "", 1), at(0)).unwrap();
    assert_eq!(count(&connection, "touchpoint"), 2 * contacts + 1);
    let oldest = "SELECT min(at_us) FROM touchpoint WHERE customer = 'C1'";
    assert_eq!(connection.query_row(oldest, [], |row| row.get::<_, i64>(0)).unwrap(), 11);
    let counted = "SELECT contacts FROM touchpoint_count";
    let counted = || connection.query_row(counted, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(counted(), 2 * contacts + 1);
    // Those of the account are the same as those of the customer whose it turns out to be.
    touchpoints::adopt(&connection, Network::X, "ana", "C1").unwrap();
    assert_eq!((count(&connection, "touchpoint"), counted()), (contacts + 1, contacts + 1));
}

#[test]
fn contacts_beyond_the_limit_go_the_oldest_first_and_a_few_at_a_time() {
    let connection = memory();
    for n in 1..=10 {
        take_touchpoint(&connection, &report(&format!("C{n}"), "", "", n), at(0)).unwrap();
    }
    let before = size::bytes(&connection).unwrap();
    assert_eq!(touchpoints::forget_beyond(&connection, 5, 3).unwrap(), 3);
    assert_eq!(touchpoints::forget_beyond(&connection, 5, 3).unwrap(), 2);
    assert_eq!(touchpoints::forget_beyond(&connection, 5, 3).unwrap(), 0);
    let oldest: i64 =
        connection.query_row("SELECT min(at_us) FROM touchpoint", [], |row| row.get(0)).unwrap();
    assert_eq!((count(&connection, "touchpoint"), oldest), (5, 6));
    assert!(size::bytes(&connection).unwrap() < before * 6 / 10);
}

#[test]
fn agents_are_told_again_only_when_one_has_changed() {
    let store = Store::new();
    store.customers(&[("C1", "7")]);
    let connection = store.open();
    let mut reader = Reader::open(&store.path()).unwrap();
    let mut told = || reader.new_agents().unwrap().map(|agents| agents.len());
    assert_eq!((told(), told()), (Some(0), None), "none, which is said once");
    let state = proto::AgentState { agent: "Ana".to_owned(), open_tickets: 3, ..Default::default() };
    take_agent_state(&connection, &state.encode_to_vec()).unwrap();
    assert_eq!((told(), told()), (Some(1), None));
    connection.execute("DELETE FROM agent", []).unwrap();
    assert_eq!((told(), told()), (Some(0), None));
}
