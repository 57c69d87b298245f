use std::collections::BTreeMap;

use clap::Parser;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::cli::Cli;
use crate::desk::People;
use crate::desk::person::{Customer, Person, Purchase};
use crate::ledger::context::Reader;
use crate::parse::{Author, Network, Post};

/// A folder with a ledger that files are imported into.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { folder: tempfile::tempdir().unwrap() }
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite")
    }

    /// Imports a file of this name; gives what was said in the end, and the rejected rows.
    fn import(&self, kind: &str, name: &str, text: impl AsRef<[u8]>, more: &[&str]) -> (String, String) {
        let (file, rejected) = (self.folder.path().join(name), self.folder.path().join("rejected"));
        std::fs::write(&file, text).unwrap();
        std::fs::write(&rejected, "").unwrap();
        let ledger = self.ledger();
        let paths = [
            file.as_os_str(),
            "--ledger".as_ref(),
            ledger.as_os_str(),
            "--rejected".as_ref(),
            rejected.as_os_str(),
        ];
        let arguments = ["vigie", "import", kind].into_iter().map(std::ffi::OsStr::new).chain(paths);
        let cli = Cli::try_parse_from(arguments.chain(more.iter().map(std::ffi::OsStr::new))).unwrap();
        let said = match cli.run() {
            Ok(()) => String::new(),
            Err(Failure::Mistake(error)) => format!("64 {error:#}"),
            Err(Failure::Fault(error) | Failure::Ended(_, error)) => format!("1 {error:#}"),
        };
        (said, std::fs::read_to_string(&rejected).unwrap())
    }

    /// Imports articles from a CSV file; gives what was said in the end, and how many are in the knowledge base.
    fn import_articles(&self, text: &str) -> (String, i64) {
        let (file, ledger) = (self.folder.path().join("articles.csv"), self.ledger());
        std::fs::write(&file, text).unwrap();
        let arguments = ["vigie", "import", "articles"].into_iter().map(std::ffi::OsStr::new);
        let paths = [file.as_os_str(), "--ledger".as_ref(), ledger.as_os_str()];
        let said = match Cli::try_parse_from(arguments.chain(paths)).unwrap().run() {
            Ok(()) => String::new(),
            Err(Failure::Mistake(error)) => format!("64 {error:#}"),
            Err(Failure::Fault(error) | Failure::Ended(_, error)) => format!("1 {error:#}"),
        };
        let ledger = rusqlite::Connection::open(&ledger).unwrap();
        let articles = ledger.query_row("SELECT count(*) FROM article", [], |row| row.get(0)).unwrap();
        (said, articles)
    }

    fn takes(&self, kind: &str, name: &str, text: &str, more: &[&str]) {
        assert_eq!(self.import(kind, name, text, more), (String::new(), String::new()));
    }

    fn find(&self, network: Network, id: &str, handle: Option<&str>) -> Person {
        let author = Author { id: id.into(), handle: handle.map(Into::into), ..Author::default() };
        let post = Post::new(network, "1".into(), author, "text".into());
        let window = std::time::Duration::from_secs(30 * 24 * 3600);
        Reader::open(&self.ledger()).unwrap().author_of(&post, window, at("2026-11-20T12:00:00Z")).unwrap()
    }

    /// The key of the customer with this Bluesky account; empty for a stranger.
    fn key(&self, handle: &str) -> String {
        self.find(Network::Bluesky, handle, None).customer.map(|found| found.key.clone()).unwrap_or_default()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A row may be wrong in itself, or for what an earlier one says, which is found out later.
#[test]
fn rejected_rows_are_told_of_in_the_order_of_the_file() {
    let desk = Desk::new();
    let csv = "key,value,x\nA,1,ana\nA,2,bob\nB,many,cid\nC,3,ana\n,4,\nA,5,\n";
    let (_, rejected) = desk.import("customers", "a.csv", csv, &[]);
    let lines: Vec<_> = rejected.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    assert_eq!(lines, ["3", "4", "5", "6", "7"]);
}

#[test]
fn times_without_an_offset_are_those_of_the_desk_unless_another_zone_is_named() {
    let desk = Desk::new();
    let config = desk.folder.path().join("vigie.toml");
    let text = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n\
                [desk]\ntime_zone = \"Europe/Paris\"\n";
    std::fs::write(&config, text).unwrap();
    let csv = "key,purchases,bluesky\nC1,2026-11-02T10:00 5 box,ana.example\n";
    for (more, hour) in [(&[][..], 9), (&["--time-zone", "America/Montreal"], 15)] {
        let arguments: Vec<_> = ["-c", config.to_str().unwrap()].iter().chain(more).copied().collect();
        desk.takes("customers", "c.csv", csv, &arguments);
        let found = desk.find(Network::Bluesky, "ana.example", Some("ana.example")).customer.unwrap();
        assert_eq!(found.purchases[0].at, at(&format!("2026-11-02T{hour:02}:00:00Z")), "{more:?}");
    }
}

#[test]
fn a_customer_comes_out_as_the_file_says() {
    let csv = "\u{feff}Key;Name;tier;value;language;flags;purchases;bluesky;mastodon;x\r\n\
        C1;\"Durand; Anne\";Gold;1200.5;fr-CA;Press vulnerable;2026-10-02 15 cable | 2026-11-01T10:00 129.90 Lumiobox;@Ana.bsky.social did:plc:ana;@ana@m.example;@Ana_D 77\r\n";
    let json = r#"{"key":"C1","name":"Durand; Anne","tier":"Gold","value":1200.5,"language":"fr-CA","flags":["Press","vulnerable"],
        "purchases":[{"at":"2026-10-02","amount":15,"what":"cable"},{"at":"2026-11-01 10:00","amount":129.9,"what":"Lumiobox"}],
        "bluesky":["@Ana.bsky.social","did:plc:ana"],"mastodon":"@ana@m.example","x":["@Ana_D",77]}"#;
    let ndjson = json.replace('\n', " ");
    for (name, text) in
        [("a.csv", csv), ("a.ndjson", ndjson.as_str()), ("without-a-name", csv), ("another", ndjson.as_str())]
    {
        let desk = Desk::new();
        desk.takes("customers", name, text, &[]);
        let purchase = |at: &str, amount, what: &str| Purchase {
            at: at.parse().unwrap(),
            date: at.strip_suffix("T00:00:00Z").map(|date| date.parse().unwrap()),
            what: what.to_owned(),
            amount: Some(amount),
        };
        let expected = Customer {
            key: "C1".to_owned(),
            name: "Durand; Anne".to_owned(),
            tier: "gold".to_owned(),
            value: Some(1200.5),
            language: "fr".to_owned(),
            flags: vec!["press".to_owned(), "vulnerable".to_owned()],
            purchases: vec![
                purchase("2026-11-01T10:00:00Z", 129.9, "Lumiobox"),
                purchase("2026-10-02T00:00:00Z", 15.0, "cable"),
            ],
        };
        for (network, id, handle) in [
            (Network::Bluesky, "did:plc:ana", None),
            (Network::Bluesky, "did:plc:else", Some("ANA.bsky.social")),
            (Network::Mastodon, "https://m.example/users/ana", Some("ana@m.example")),
            (Network::X, "77", None),
            (Network::X, "78", Some("ana_d")),
        ] {
            let found = desk.find(network, id, handle).customer;
            assert_eq!(found.as_deref(), Some(&expected), "{name}: {network} {id} {handle:?}");
        }
        assert_eq!(desk.find(Network::X, "did:plc:ana", None).customer, None, "of another network");
        assert_eq!(desk.find(Network::X, "1", Some("77")).customer, None, "a name of digits is no number");
    }
}

#[test]
fn an_amount_of_ndjson_ends_where_it_says() {
    let check = |amount: &str, what: &str, expected: Option<f64>| {
        let desk = Desk::new();
        let purchase = format!(r#"{{"at":"2026-11-01","amount":{amount},"what":"{what}"}}"#);
        let row = format!(r#"{{"key":"C1","purchases":[{purchase}],"plain":"ana"}}"#);
        desk.takes("customers", "a.ndjson", &row, &[]);
        let found = desk.find(Network::Plain, "ana", None).customer.unwrap();
        assert_eq!((found.purchases[0].amount, found.purchases[0].what.as_str()), (expected, what));
    };
    check("\"1 290\"", "box", Some(1290.0));
    check("\"1 290,50 €\"", "box", Some(1290.5));
    check("15", "100 m of cable", Some(15.0));
    check("15", "CAD software", Some(15.0));
    check("1e20", "100 boxes", Some(1e20));
    check("null", "5 m of cable", None);
    check("\"-\"", "EUR 5 voucher", None);
}

#[test]
fn what_is_no_table_is_refused_with_a_reason_and_changes_nothing() {
    let check = |kind: &str, name: &str, text: &[u8], more: &[&str], reason: &str| {
        let desk = Desk::new();
        let (said, _) = desk.import(kind, name, text, more);
        assert!(said.starts_with("64 ") && said.contains(reason), "{reason:?} is not in {said:?}");
    };
    let customers = |text: &[u8], reason: &str| check("customers", "a.csv", text, &[], reason);
    customers(b"", "the file is empty");
    customers(b"\n\n", "the file is empty");
    customers(b"key,tier\n", "there is a header, and no row after it");
    customers(b"key,teir\nC1,gold\n", "unknown columns: \"teir\" (did you mean tier?)");
    customers(b"key;teir;wert\nC1;gold;1\n", "\"wert\"; they are key,");
    customers(b"name,tier\nAna,gold\n", "the column key is missing (separated by commas: name, tier)");
    customers(b"key,tier,Tier\nC1,gold,gold\n", "the column tier is there twice");
    customers(b"C1,gold,5\n", "names no column of customers");
    customers(b"key:tier\nC1:gold\n", "names no column of customers: \"key:tier\"");
    customers(b"\xff\xfek\0e\0y\0\n\0", "is UTF-16");
    customers(b"PK\x03\x04xyz", "is a spreadsheet");
    customers(b"{\"key\":\"C1\"}\n", "say --format ndjson");
    customers(b"cl\xe9,key\n1,2\n", "header: is not UTF-8 (byte 0xE9, in Latin-1 'é')");
    check("customers", "a.ndjson", b"", &[], "the file is empty");
    check("customers", "a.ndjson", b" \n\n", &[], "the file holds no row");
    check(
        "touchpoints",
        "a.csv",
        b"at,channel\n2026-11-01,phone\n",
        &[],
        "the column customer or account is missing",
    );
    check("touchpoints", "a.csv", b"customer,channel\nC1,phone\n", &[], "the column at is missing");
    check("agents", "a.csv", b"team\nbilling\n", &[], "the column name is missing");
    check("customers", "a.csv", b"key\n", &["--replace"], "no row after it");
    let desk = Desk::new();
    desk.takes("customers", "a.csv", "key,teir\nC1,gold\n", &["--ignore-unknown"]);
}

#[test]
fn a_header_is_read_as_the_csv_that_it_is() {
    let check = |text: &str, more: &[&str], customers: i64| {
        let desk = Desk::new();
        desk.takes("customers", "a.csv", text, more);
        let ledger = rusqlite::Connection::open(desk.ledger()).unwrap();
        let count = |sql| ledger.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(
            count("SELECT count(*) FROM customer WHERE key LIKE 'C_' AND name = 'Ana'"),
            customers,
            "{text:?}"
        );
    };
    let ignore = ["--ignore-unknown"];
    // A spreadsheet's column without a name, which trailing separators make.
    check("key\tname\t\nC1\tAna\t\nC2\tAna\t\n", &[], 2);
    check(",key,name,,\n1,C1,Ana,,\n", &[], 1);
    // Separators and line ends within names.
    check("\"key\",\"Name\",\"Revenue, EUR\"\nC1,Ana,5\n", &ignore, 1);
    check("\"Revenue; EUR\nof 2026\";key;name\r\n5;C1;Ana\r\n", &ignore, 1);
    check("\n \n\"Note, \"\"old\"\"\n(2025)\"|key|name\nx|C1|Ana\ny|C2|Ana\n", &ignore, 2);
    // Names that are known say what separates, and not how many fields there would be.
    check("key,name,\"a;b;c;d\"\nC1,Ana,x\n", &ignore, 1);
    check("key,name,a;b;c;d\nC1,Ana,x\n", &ignore, 1);

    let refused = |text: &[u8], reason: &str| {
        let (said, _) = Desk::new().import("customers", "a.csv", text, &ignore);
        assert!(said.starts_with("64 ") && said.contains(reason), "{reason:?} is not in {said:?}");
    };
    refused(b"key,\"name\nC1,Ana\n", "line 1: a quote that is opened in the header is never closed");
    refused(format!("key{}\n", ",c".repeat(1024)).as_bytes(), "more than 1024 columns");
    refused(
        format!("\nkey{}\n", ",c".repeat(300_000)).as_bytes(),
        "line 2 has more than 262144 bytes: no header",
    );
}

#[test]
fn lines_keep_their_numbers_behind_a_quote_that_is_never_closed() {
    let desk = Desk::new();
    let text = format!("key,name\n\"C0,x\nC1,Ana\nC2,{}\nC3,Ana\nC4\n", "x".repeat(300_000));
    let (said, rejected) = desk.import("customers", "a.csv", text, &[]);
    assert!(said.starts_with("1 3 of 5 rows"), "{said}");
    let lines: Vec<_> =
        rejected.lines().filter_map(|line| line.split_once('\t')).map(|(line, _)| line).collect();
    assert_eq!(lines, ["2", "4", "6"], "{rejected}");
}

#[test]
fn rejected_rows_are_never_written_over_what_is_read() {
    let desk = Desk::new();
    desk.takes("customers", "a.csv", "key\nC1\n", &[]);
    let (file, link) = (desk.folder.path().join("b.csv"), desk.folder.path().join("link"));
    std::fs::write(&file, "key,value\nC2,many\n").unwrap();
    std::fs::hard_link(&file, &link).unwrap();
    let ledger = desk.ledger();
    for (rejected, reason) in [
        (&file, "it is the file that is imported"),
        (&link, "it is the file that is imported"),
        (&ledger, "it is the ledger"),
    ] {
        let before = std::fs::read(rejected).unwrap();
        let arguments = ["vigie", "import", "customers", "--rejected"].map(std::ffi::OsStr::new).into_iter();
        let paths = [rejected.as_os_str(), file.as_os_str(), "--ledger".as_ref(), ledger.as_os_str()];
        let said = Cli::try_parse_from(arguments.chain(paths)).unwrap().run();
        let Err(Failure::Mistake(error)) = said else { panic!("{said:?}") };
        assert!(format!("{error:#}").contains(reason), "{error:#}");
        assert!(before == std::fs::read(rejected).unwrap(), "{reason}: it has changed");
    }
    // Nothing is made where nothing is read.
    let made = desk.folder.path().join("made");
    let (made_name, none) = (made.to_str().unwrap(), desk.folder.path().join("none"));
    let arguments = [
        "vigie",
        "import",
        "customers",
        "--rejected",
        made_name,
        file.to_str().unwrap(),
        "-c",
        none.to_str().unwrap(),
    ];
    assert!(matches!(Cli::try_parse_from(arguments).unwrap().run(), Err(Failure::Mistake(_))));
    assert!(!made.exists());
}

#[test]
fn a_quote_that_is_never_closed_costs_one_article_and_not_the_knowledge_base() {
    let desk = Desk::new();
    let rows = |quote: &str| -> String {
        let row = |n: u32| {
            let quote = if n == 2 { quote } else { "" };
            format!("https://e.org/{n},Titre {n},{quote}texte numero {n}\n")
        };
        "url,title,text\n".to_owned() + &(1..200).map(row).collect::<String>()
    };
    assert_eq!(desk.import_articles(&rows("")), (String::new(), 199));
    let (said, articles) = desk.import_articles(&rows("\""));
    assert_eq!((said.as_str(), articles), ("1 1 of 199 articles were rejected", 198));
    // The header is read as that of customers is; columns that nobody knows are passed over.
    for text in [
        "\"Titel; alt\nund neu\";Title;BODY;Language\nx;A;texte;fr\n",
        "title\ttext\t\nA\ttexte\t\n",
        "url,title,tags;a;b;c,text\n,A,x,\"texte\non two lines\"\n",
    ] {
        assert_eq!(desk.import_articles(text), (String::new(), 1), "{text:?}");
    }
    // One field too many is a text with a comma in it, without quotes: half of it would be lost.
    let (said, _) = desk.import_articles("title,text\nA,texte, et la suite\nB,b\n");
    assert_eq!(said, "1 1 of 2 articles were rejected");
}

#[test]
fn a_wrong_row_is_rejected_with_its_line_and_the_others_are_taken() {
    let check = |kind: &str, header: &str, row: &[u8], reason: &str| {
        let desk = Desk::new();
        let right: &str = match kind {
            "customers" => "key,bluesky\nR,right.example\n",
            "agents" => "name\nR\n",
            _ => "customer,at,channel\nR,2026-11-01,phone\n",
        };
        desk.takes(kind, "right.csv", right, &[]);
        let text = [header.as_bytes(), b"\n", row, b"\n"].concat();
        let (said, rejected) = desk.import(kind, "a.csv", &text, &[]);
        assert!(said.starts_with("1 1 of 1 row was rejected"), "{reason}: {said}");
        assert!(
            rejected.starts_with("2\t") && rejected.contains(reason),
            "{reason:?} is not in {rejected:?}"
        );
    };
    let customers =
        |header: &str, row: &str, reason: &str| check("customers", header, row.as_bytes(), reason);
    customers("key", "\"\"", "key is empty");
    customers("key,tier", ",gold", "key is empty");
    customers("key,tier", "C1", "has 1 fields, and the header 2");
    customers("key,tier", "C1,gold,5", "has 3 fields, and the header 2");
    customers("key,tier", "C1,gold,5,6", "has more than 3 fields, and the header 2");
    customers("key,name", "C1,\"Ana", "a quote that is opened in this line is never closed");
    customers("key,tier", "C1,very good", "must be one word");
    customers("key,value", "C1,\"1,234\"", "value = \"1,234\": may be 1234 or 1.234: write 1234 or 1.2340");
    customers("key,value", "C1,NaN", "must be a number");
    customers("key,value", "C1,inf", "must be a number");
    customers("key,value", "C1,-5", "value = \"-5\": must be at least 0");
    customers("key,language", "C1,french", "must be a language's code");
    customers("key,language", "C1,fr en", "language: must be one");
    customers("key,purchases", "C1,02/11/2026 5 cable", "purchases = \"02/11/2026\": must be a time");
    customers("key,purchases", "C1,20261102 5 cable", "must be a time");
    customers("key,purchases", "C1,0026-11-02 5 cable", "the year 26");
    customers("key,purchases", "C1,2026-02-30 5 cable", "must be a time");
    customers("key,bluesky", "C1,ana", "must be a DID or a handle");
    customers("key,mastodon", "C1,ana", "must be user@server");
    customers("key,x", "C1,ana-d", "must be a number, or a screen name");
    customers("key,x", "C1,@", "an account of 0 bytes");
    customers("key,name", "C1,\"a\nb\"", "holds a line end");
    let long = |column: &str, text: String, reason: &str| {
        customers(&format!("key,{column}"), &format!("C1,{text}"), reason);
    };
    long("name", "n".repeat(201), "name has 201 bytes: must be at most 200");
    long("tier", "t".repeat(65), "tier has 65 bytes");
    long("flags", "f".repeat(65), "flags: a word of 65 bytes");
    long("flags", (0..=WORDS).map(|n| format!("f{n} ")).collect(), "flags: more than 100 words");
    long("facebook", (0..33).map(|n| format!("a{n} ")).collect(), "33 accounts: must be at most 32");
    long("plain", "a".repeat(513), "an account of 513 bytes");
    long("name", "n".repeat(300_000), "the row has more than 262144 bytes");
    check("customers", "key,name", b"C1,Ren\xe9e", "say --encoding latin1");
    customers(
        "key,bluesky",
        "C1,@Right.example",
        "claims bluesky \"right.example\", which is customer \"R\"'s since an earlier import",
    );

    let agents = |header: &str, row: &str, reason: &str| check("agents", header, row.as_bytes(), reason);
    agents("name,shifts", "Ana,lundi 8-18", "shifts = \"lundi 8-18\": must be days and hours");
    agents("name,zone", "Ana,Paris", "zone = \"Paris\": must be a time zone as Europe/Paris");
    agents("name,capacity", "Ana,many", "capacity = \"many\": must be a whole number from 0 to 10000");
    agents("name,capacity", "Ana,-1", "must be a whole number");
    agents("name,satisfaction", "Ana,6", "satisfaction = \"6\": must be 1 to 5");
    agents("name,answer_min", "Ana,soon", "must be a number");
    agents("name,away", "Ana,maybe", "away = \"maybe\": must be yes or no");

    let touchpoints = |row: &str, reason: &str| {
        check("touchpoints", "customer,network,account,at,channel,note", row.as_bytes(), reason);
    };
    touchpoints(",,,2026-11-01,phone,", "names nobody");
    touchpoints(",x,,2026-11-01,phone,", "belong together");
    touchpoints(",myspace,ana,2026-11-01,phone,", "must be bluesky, mastodon, x, facebook or plain");
    touchpoints(",mastodon,ana,2026-11-01,phone,", "must be user@server");
    touchpoints("C1,,,,phone,", "at is empty");
    touchpoints("C1,,,yesterday,phone,", "at = \"yesterday\": must be a time");
    touchpoints("C1,,,2026-11-01,,", "channel is missing: phone");
    touchpoints("C1,,,2026-11-01,by phone,", "channel = \"by phone\": must be one word");
    touchpoints("C1,,,0026-11-01,phone,", "the year 26");
    touchpoints(&format!("C1,,,2026-11-01,phone,{}", "n".repeat(16_385)), "note has 16385 bytes");
}

const WORDS: usize = 100;

#[test]
fn a_line_of_ndjson_is_rejected_for_what_it_is() {
    let desk = Desk::new();
    let lines = [
        r#"{"key":"C1"}"#,
        "nonsense",
        r#"["C2"]"#,
        r#"{"key":"C3","teir":"gold"}"#,
        r#"{"name":"Ana"}"#,
        r#"{"key":"C4","tier":{"a":1}}"#,
        r#"{"key":"C5","purchases":[{"when":"2026-11-01"}]}"#,
        "",
        r#"{"key":"C6","value":null}"#,
        r#"{"key":"C7","purchases":[{"at":"2026-11-01","amount":"1.290 €"}]}"#,
    ];
    let (said, rejected) = desk.import("customers", "a.ndjson", lines.join("\n"), &[]);
    assert!(said.contains("7 of 9 rows"), "{said}");
    for expected in [
        "2\tis no JSON object",
        "3\tis no JSON object",
        "4\tunknown key: \"teir\" (did you mean tier?)",
        "5\tkey is missing",
        "6\ttier: an object",
        "7\tpurchases: unknown key \"when\"",
        "10\tpurchases: amount = \"1.290 €\": may be 1290 or 1.290",
    ] {
        assert!(rejected.contains(expected), "{expected} is not in {rejected}");
    }
}

#[test]
fn latin_1_is_read_where_it_is_said() {
    let desk = Desk::new();
    let text = b"key,name,bluesky\nC1,Ren\xe9e \x80,ana.example\n";
    assert_eq!(desk.import("customers", "a.csv", text, &["--encoding", "latin1"]), Default::default());
    assert_eq!(desk.find(Network::Bluesky, "ana.example", None).customer.unwrap().name, "Renée €");
}

#[test]
fn the_first_of_two_rows_keeps_what_both_claim() {
    let desk = Desk::new();
    let text = "key,bluesky\nC1,a.example\nC1,b.example\nC2,b.example A.example\nC3,b.example\n";
    let (_, rejected) = desk.import("customers", "a.csv", text, &[]);
    assert_eq!(
        rejected,
        "3\tcustomer \"C1\" is in line 2 already\n\
         4\tcustomer \"C2\" claims bluesky \"a.example\", which is customer \"C1\"'s by line 2\n"
    );
    assert_eq!((desk.key("a.example"), desk.key("b.example")), ("C1".to_owned(), "C3".to_owned()));
    // The same over the bounds of chunks.
    let mut text = "key,bluesky\nC1,a.example\n".to_owned();
    (0..CHUNK_ROWS).for_each(|n| text.push_str(&format!("N{n},\n")));
    text.push_str("C1,\nC4,a.example\n");
    let (_, rejected) = desk.import("customers", "a.csv", &text, &[]);
    let lines = (CHUNK_ROWS + 3, CHUNK_ROWS + 4);
    assert_eq!(
        rejected,
        format!(
            "{}\tcustomer \"C1\" is in line 2 already\n\
             {}\tcustomer \"C4\" claims bluesky \"a.example\", which is customer \"C1\"'s by line 2\n",
            lines.0, lines.1
        )
    );
}

#[test]
fn rows_are_merged_by_key_and_only_a_whole_truth_removes() {
    let desk = Desk::new();
    desk.takes(
        "customers",
        "a.csv",
        "key,name,tier,bluesky\nC1,Ana,gold,a.example b.example\nC2,Ben,,c.example\n",
        &[],
    );
    desk.takes("customers", "a.csv", "key,tier\nC1,silver\n", &[]);
    let ana = desk.find(Network::Bluesky, "a.example", None).customer.unwrap();
    assert_eq!(
        (ana.name.as_str(), ana.tier.as_str()),
        ("Ana", "silver"),
        "a column that the file lacks stays"
    );
    // An account goes with the row that lacks it, and another customer of the same file may have it.
    desk.takes("customers", "a.csv", "key,bluesky\nC1,b.example\nC2,c.example a.example\n", &[]);
    assert_eq!((desk.key("a.example"), desk.key("b.example")), ("C2".to_owned(), "C1".to_owned()));

    let (said, _) = desk.import("customers", "a.csv", "key,value\nC1,many\n", &["--replace"]);
    assert!(said.contains("nothing was removed"), "{said}");
    assert_eq!(desk.key("c.example"), "C2");
    // What the file says takes the account from a customer who goes.
    desk.takes("customers", "a.csv", "key,bluesky\nC3,c.example\nC1,b.example\n", &["--replace"]);
    assert_eq!(
        (desk.key("a.example"), desk.key("b.example"), desk.key("c.example")),
        (String::new(), "C1".to_owned(), "C3".to_owned())
    );
}

#[test]
fn contacts_come_out_newest_first_and_once() {
    let desk = Desk::new();
    desk.takes("customers", "c.csv", "key,x\nC1,ana\n", &[]);
    let csv = "customer,network,account,at,channel,note\n\
        C1,,,2026-11-19T10:00:00Z,Phone,line down\n\
        ,x,@Ana,2026-11-20 11:00,mail,\n\
        ,x,ben,2026-11-20 11:30,chat,hi\n\
        C1,,,2026-11-20 13:00,mail,after the post\n\
        C1,,,2026-10-01,mail,before the window\n";
    desk.takes("touchpoints", "t.csv", csv, &[]);
    desk.takes("touchpoints", "t.csv", csv, &[]);
    let told = |person: Person| -> Vec<String> {
        person.touchpoints.iter().map(|one| format!("{} {} {}", one.at, one.channel, one.note)).collect()
    };
    let ana = told(desk.find(Network::X, "7", Some("ana")));
    assert_eq!(ana, ["2026-11-20T11:00:00Z mail ", "2026-11-19T10:00:00Z phone line down"]);
    let ben = ["2026-11-20T11:30:00Z chat hi"];
    assert_eq!(
        told(desk.find(Network::X, "8", Some("ben"))),
        ben,
        "an account that is nobody's has contacts, too"
    );
    // They stay with the customer to whom it is linked later, whatever account posts.
    desk.takes("customers", "c.csv", "key,x,bluesky\nC2,ben,ben.example\n", &[]);
    assert_eq!(told(desk.find(Network::Bluesky, "ben.example", None)), ben);
    desk.takes("touchpoints", "t.csv", "customer,at,channel\nC1,2026-11-18,visit\n", &["--replace"]);
    assert_eq!(told(desk.find(Network::X, "7", Some("ana"))), ["2026-11-18T00:00:00Z visit "]);
    assert!(told(desk.find(Network::X, "8", Some("ben"))).is_empty());
}

#[test]
fn agents_come_out_as_the_file_says_and_are_merged() {
    let desk = Desk::new();
    let csv = "name,team,skills,languages,capacity,shifts,zone,open_tickets,answer_min,satisfaction,away\n\
        Ana,billing,Fibre billing,fr en-GB,5,mon-fri 8-18,Europe/Paris,2,12.5,4.5,no\nBen,,,,,,,,,,yes\n";
    desk.takes("agents", "a.csv", csv, &[]);
    desk.takes("agents", "a.csv", "name,open_tickets\nAna,4\n", &[]);
    let agents = Reader::open(&desk.ledger()).unwrap().agents().unwrap();
    let [ana, ben] = agents.as_slice() else { panic!("{agents:?}") };
    assert_eq!((ana.team.as_str(), ana.capacity, ana.open_tickets, ana.away), ("billing", 5, 4, false));
    assert_eq!(
        (ana.skills.join(" "), ana.languages.join(" ")),
        ("fibre billing".to_owned(), "fr en".to_owned())
    );
    assert_eq!(ana.shifts, Some("mon-fri 08:00-18:00".parse().unwrap()));
    assert_eq!(
        (ana.answer_min, ana.satisfaction, ana.zone.as_deref()),
        (Some(12.5), Some(4.5), Some("Europe/Paris"))
    );
    assert_eq!((ben.capacity, ben.away, ben.shifts.clone()), (10, true, None));
    desk.takes("agents", "a.csv", "name\nBen\n", &["--replace"]);
    let agents = Reader::open(&desk.ledger()).unwrap().agents().unwrap();
    assert_eq!(agents.as_slice(), std::slice::from_ref(ben));
}

type Accounts = Vec<(Network, String)>;

fn customers() -> impl Strategy<Value = BTreeMap<String, (Customer, Accounts)>> {
    let text = "[ a-zé\"',;|]{0,12}".prop_map(|text| text.trim().to_owned());
    let purchase = (0_i64..2_000_000_000, "[a-z\"; ]{0,8}", proptest::option::of(0.0..1e9_f64)).prop_map(
        |(at, what, amount)| Purchase {
            at: Timestamp::from_second(at).unwrap(),
            date: None,
            what: what.trim().to_owned(),
            amount,
        },
    );
    let network = (0..Network::ALL.len()).prop_map(|n| Network::ALL[n]);
    let fields = (
        text,
        "[a-z]{0,5}",
        proptest::option::of(0.0..1e12_f64),
        proptest::sample::select(vec!["", "fr", "en"]),
        proptest::collection::btree_set("[a-z]{1,5}", 0..3),
        proptest::collection::vec(purchase, 0..4),
        proptest::collection::btree_set(network, 0..3),
    );
    proptest::collection::btree_map("[a-zA-Z0-9é \"',;]{0,8}[a-z]", fields, 1..20).prop_map(|rows| {
        let mut customers = BTreeMap::new();
        for (n, (key, (name, tier, value, language, flags, mut purchases, networks))) in
            rows.into_iter().enumerate()
        {
            let key = key.trim().to_owned();
            purchases.sort_by_key(|purchase| std::cmp::Reverse(purchase.at));
            let accounts = networks.into_iter().map(|network| {
                let name = match network {
                    Network::Bluesky => format!("did:plc:c{n}"),
                    Network::Mastodon => format!("c{n}@m.example"),
                    _ => format!("c{n}"),
                };
                (network, name)
            });
            let (language, flags) = (language.to_owned(), flags.into_iter().collect());
            let customer = Customer { key: key.clone(), name, tier, value, language, flags, purchases };
            customers.insert(key, (customer, accounts.collect()));
        }
        customers
    })
}

/// The customers as a CSV file, every field in quotes.
fn exported(customers: &BTreeMap<String, (Customer, Accounts)>, separator: char) -> String {
    let columns = fields::CUSTOMERS.names.iter();
    let mut rows = vec![columns.map(|name| (*name).to_owned()).collect()];
    for (customer, accounts) in customers.values() {
        let purchase = |one: &Purchase| {
            let amount = one.amount.map_or("-".to_owned(), |amount| amount.to_string());
            format!("{} {amount} {}", one.at, one.what)
        };
        let mut row = vec![
            customer.key.clone(),
            customer.name.clone(),
            customer.tier.clone(),
            customer.value.map(|value| value.to_string()).unwrap_or_default(),
            customer.language.clone(),
            customer.flags.join(" "),
            customer.purchases.iter().map(purchase).collect::<Vec<_>>().join(" | "),
        ];
        row.extend(Network::ALL.map(|network| {
            accounts
                .iter()
                .find(|(other, _)| *other == network)
                .map(|(_, name)| name.clone())
                .unwrap_or_default()
        }));
        rows.push(row);
    }
    let line = |row: &Vec<String>| {
        let quoted: Vec<_> = row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
        quoted.join(&separator.to_string())
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\r\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn what_was_exported_is_found_again(customers in customers(), separator in proptest::sample::select(vec![',', ';', '\t'])) {
        let desk = Desk::new();
        let csv = exported(&customers, separator);
        prop_assert_eq!(desk.import("customers", "a.csv", &csv, &[]), (String::new(), String::new()));
        // Over what is there, too, and as the whole truth.
        prop_assert_eq!(desk.import("customers", "a.csv", &csv, &["--replace"]), (String::new(), String::new()));
        for (customer, accounts) in customers.values() {
            for (network, name) in accounts {
                let found = desk.find(*network, name, None).customer;
                prop_assert_eq!(found.as_deref(), Some(customer));
            }
        }
    }
}
