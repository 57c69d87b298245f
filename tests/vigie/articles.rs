//! The knowledge base: imported beside a running daemon, found by posts as people write them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firehose::client::proto;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use vigie::classify::{self, Classifier};
use vigie::desk::articles::{Config, Match, Question};
use vigie::ledger::articles::Reader;

use crate::daemon::{Output, State, patiently, run, vigie};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn import(path: &Path, ledger: &Path) -> Output {
    run(vigie().args(["import", "articles"]).arg(path).arg("--ledger").arg(ledger), b"")
}

/// A post, and the articles that answer it by the names of their files; none: nothing does.
struct Asked {
    post: String,
    right: Vec<String>,
}

fn asked() -> Vec<Asked> {
    let text = std::fs::read_to_string(data("articles.tsv")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let asked = lines.map(|line| {
        let (post, right) = line.split_once('\t').unwrap();
        let right = right.split(' ').filter(|name| *name != "-").map(str::to_owned).collect();
        Asked { post: post.to_owned(), right }
    });
    asked.collect()
}

fn names(found: &[Match]) -> Vec<&str> {
    found.iter().map(|found| found.article.url.rsplit('/').next().unwrap()).collect()
}

/// A share of the questions that have an answer, and a share of those that have none.
#[derive(Default)]
struct Recall {
    right: usize,
    of: usize,
    silent: usize,
    of_nothing: usize,
}

impl Recall {
    fn share(&self) -> f64 {
        self.right as f64 / self.of as f64
    }
}

#[test]
fn the_right_article_is_among_three() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger.sqlite");
    let output = import(&data("articles"), &ledger);
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(output.stdout, "50 articles are the knowledge base now; 0 rejected, 0 cut\n");

    let asked = asked();
    let posts: Vec<&str> = asked.iter().map(|asked| asked.post.as_str()).collect();
    let mut verdicts = Vec::new();
    let config = classify::Config {
        model: classify::ModelChoice::EMBEDDED[0].1.clone(),
        ..classify::Config::default()
    };
    Classifier::open(&config).unwrap().classify(&posts, &mut verdicts).unwrap();
    let mut reader = Reader::open(&ledger).unwrap();
    let weightless = Arc::new(std::collections::BTreeSet::from(["lumio".to_owned()]));
    let config = Config { weightless, ..Config::default() };
    // Every second question was kept aside while words and weights were chosen.
    let mut halves = [Recall::default(), Recall::default()];
    let mut by_length = BTreeMap::<usize, usize>::new();
    for (idx, (Asked { post, right }, verdict)) in asked.iter().zip(&verdicts).enumerate() {
        let language = verdict.language.code();
        let language = if language == "und" { "" } else { language };
        let question = Question::in_text(post, language, Arc::from("Lumio"), &config);
        let found = reader.try_find(&question).unwrap();
        let half = &mut halves[idx % 2];
        let names = names(&found);
        *by_length.entry(names.len()).or_default() += 1;
        let is_right = if right.is_empty() {
            names.is_empty()
        } else {
            right.iter().any(|right| names.contains(&right.as_str()))
        };
        let (right_ones, all) = match right.is_empty() {
            true => (&mut half.silent, &mut half.of_nothing),
            false => (&mut half.right, &mut half.of),
        };
        *right_ones += usize::from(is_right);
        *all += 1;
        if !is_right {
            let scores: Vec<_> =
                found.iter().map(|found| format!("{:.2} {:?}", found.article.score, found.words)).collect();
            eprintln!(
                "{} {post}\n    wants {right:?} has {names:?} {scores:?}\n    {:?}",
                ["used", "kept"][idx % 2],
                question.terms.iter().map(|term| term.term.as_str()).collect::<Vec<_>>()
            );
        }
    }
    for (name, half) in ["used for tuning", "kept aside"].iter().zip(&halves) {
        eprintln!(
            "{name}: recall at 3 {}/{} = {:.3}; {} of {} without an answer got none",
            half.right,
            half.of,
            half.share(),
            half.silent,
            half.of_nothing
        );
    }
    eprintln!("posts by how many articles they got: {by_length:?}");
    let [used, kept] = &halves;
    assert!(used.of + kept.of >= 60);
    assert!((used.right + kept.right) as f64 / (used.of + kept.of) as f64 >= 0.85);
    // Nothing is better than nonsense: of those that ask nothing, one may get something.
    assert!(used.silent + kept.silent + 1 >= used.of_nothing + kept.of_nothing);
}

#[test]
fn what_cannot_be_taken_is_named_and_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ledger = path("ledger.sqlite");
    let long = format!("https://e.org/6;Long;{};fr\n", "mot ".repeat(20_000));
    let csv = [
        b"\xEF\xBB\xBFurl;title;text;lang\r\n".as_slice(),
        b"https://e.org/1;Box;Texte de la box;fr\n",
        b"https://e.org/2;;sans titre;fr\n",
        b"https://e.org/3;Vide; ;fr\n",
        b"https://e.org/4;Latin;caf\xE9;fr\n",
        b"https://e.org/1;Encore;le m\xC3\xAAme;fr\n",
        b"javascript:alert(1);Lien;texte;fr\n",
        b"https://e.org/5;\"Cit\xC3\xA9; deux\nlignes\";texte;fr-FR\n",
        long.as_bytes(),
    ];
    std::fs::write(path("a.csv"), csv.concat()).unwrap();
    let output = import(&path("a.csv"), &ledger);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert_eq!(output.stdout, "3 articles are the knowledge base now; 5 rejected, 1 cut\n");
    assert!(output.stderr.ends_with("5 of 8 articles were rejected\n"), "{}", output.stderr);
    let said: Vec<_> = output.stderr.lines().filter_map(|line| Some(line.split_once("a.csv:")?.1)).collect();
    let expected = [
        "3: no title",
        "4: empty: there is nothing but the title",
        "5: not UTF-8 at byte 3: save it as UTF-8",
        "6: duplicate: another article before has the url https://e.org/1",
        "7: url is not http(s):// with at most 2000 bytes",
        "10: long: the first 65536 of 80000 bytes are indexed",
    ];
    assert_eq!(said, expected);

    let refused = |name: &str, code: i32, expected: &str| {
        let output = import(&path(name), &ledger);
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        assert!(output.stderr.contains(expected), "{name}: {}", output.stderr);
    };
    std::fs::write(path("b.csv"), "titre,texte\na,b\n").unwrap();
    std::fs::write(path("c.csv"), "title,text\n,b\n").unwrap();
    std::fs::write(path("d.txt"), "x").unwrap();
    std::fs::write(path("e.xml"), "<sitemapindex><sitemap/></sitemapindex>").unwrap();
    refused("b.csv", 64, "the first line must name title and text");
    refused("c.csv", 64, "no article in it; the knowledge base is left as it was");
    refused("d.txt", 64, "must be a folder of .md files, a .csv, a .ndjson or a sitemap .xml");
    refused("e.xml", 64, "an index of sitemaps");
    refused("none", 64, "No such file");

    let page = "<html lang=fr><title>x | Lumio</title><h1>Gaz</h1><p>odeur</p></html>";
    std::fs::create_dir(path("aide")).unwrap();
    std::fs::write(path("aide/gaz.html"), page).unwrap();
    let sitemap =
        "<urlset><url><loc>https://e.org/aide/gaz</loc></url><url><loc>https://e.org/b</loc></url></urlset>";
    std::fs::write(path("sitemap.xml"), sitemap).unwrap();
    let output = import(&path("sitemap.xml"), &ledger);
    assert_eq!(
        output.stdout, "1 article is the knowledge base now; 1 rejected, 0 cut\n",
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("https://e.org/b: no page of it lies beside the sitemap"),
        "{}",
        output.stderr
    );

    let lines = "{\"title\":\"Box\",\"text\":\"t\",\"url\":\"https://e.org/1\",\"id\":7}\n\nno\n";
    std::fs::write(path("site.ndjson"), lines).unwrap();
    let output = import(&path("site.ndjson"), &ledger);
    assert_eq!(
        output.stdout, "1 article is the knowledge base now; 1 rejected, 0 cut\n",
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("site.ndjson:3: no JSON object of an article"), "{}", output.stderr);
}

fn import_for(state: &State, path: &Path) -> Output {
    run(vigie().args(["import", "articles"]).arg(path).arg("-c").arg(&state.config), b"")
}

fn titles(delivery: &proto::Delivery) -> Vec<String> {
    let Some(proto::delivery::Record::Ticket(ticket)) = &delivery.record else { panic!("{delivery:?}") };
    ticket.articles.iter().map(|article| article.title.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_a_running_daemon_carry_the_articles_of_the_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let source = format!("[[source]]\nkind = \"ndjson\"\nname = \"posts\"\ntcp = \"{address}\"\n");
    let state = State::new(&source);
    let daemon = state.start();
    let (socket, _) = patiently("the daemon's connection", listener.accept()).await.unwrap();
    let (reader, mut writer) = socket.into_split();
    let mut lines = BufReader::new(reader).lines();
    patiently("the greeting", lines.next_line()).await.unwrap();
    writer.write_all(b"{\"vigie\":1,\"after\":0}\n").await.unwrap();
    let mut client = state.subscribe("helpdesk", 100).await;
    let post = "@lumio j'ai plus internet depuis ce matin, panne générale ? aidez moi";
    let one = state.path().join("one.csv");
    std::fs::write(&one, "title,text\nPanne,internet coupé\n").unwrap();
    let mut carried = Vec::new();
    for (id, set) in [None, Some(data("articles")), Some(one)].into_iter().enumerate() {
        if let Some(set) = set {
            let output = import_for(&state, &set);
            assert!(output.status.success(), "{}", output.stderr);
        }
        let line = serde_json::json!({ "id": id.to_string(), "author": format!("a{id}"), "text": post });
        writer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let delivery = patiently("a ticket", client.next()).await.unwrap();
        client.ack(vec![delivery.seq]).await.unwrap();
        carried.push(titles(&delivery));
    }
    assert_eq!(carried[0], [""; 0]);
    assert_eq!(carried[1][0], "Internet ne fonctionne pas : que faire ?");
    assert!(carried[1].len() <= 3);
    assert_eq!(carried[2], ["Panne"]);
    let (status, log) = daemon.terminate();
    assert!(status.success(), "{log}");
}

#[test]
fn replay_and_explain_read_the_ledgers_articles_and_say_the_same_each_time() {
    let state = State::new("[[source]]\nkind = \"ndjson\"\npath = \"-\"\n");
    let output = import_for(&state, &data("articles"));
    assert!(output.status.success(), "{}", output.stderr);
    let posts = state.path().join("posts.ndjson");
    let line = |(id, asked): (usize, &Asked)| {
        serde_json::json!({ "id": id.to_string(), "author": "a", "text": asked.post }).to_string() + "\n"
    };
    std::fs::write(&posts, asked().iter().enumerate().map(line).collect::<String>()).unwrap();
    let replay_with = |options: &[&str]| {
        let mut command = vigie();
        command.args(["replay", "--format", "plain"]).args(options);
        run(command.arg("-c").arg(&state.config).arg(&posts), b"").stdout
    };
    let replay = || replay_with(&[]);
    let first = replay();
    assert!(first.matches("\"url\":\"https://aide.lumio.example/").count() > 50, "{first}");
    assert_eq!(first, replay());

    let post = b"@lumio mon compte est bloque, mot de passe oublie";
    let said = run(vigie().args(["explain", "-c"]).arg(&state.config), post).stdout;
    let title = "Mot de passe oublié de l'espace client";
    let line = said.lines().find(|line| line.starts_with(&format!("  {title}")));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(["mot de passe", "bloque", "oublie"].iter().all(|word| line.contains(word)), "{line}");
    let printed = format!("articles: {title} (https://aide.lumio.example/mot-de-passe-compte)");
    assert!(said.contains(&printed), "{said}");

    for (post, expected) in [
        ("@lumio le chat a mangé ma facture hier soir, aidez moi", "none fits; the best of 50:"),
        (
            "@lumio le chat a mangé ma facture hier soir, aidez moi",
            "facture: left out, one word in common is chance",
        ),
        ("@lumio mdr vous livrez aussi des pizzas ?", "livrez: left out, under articles.score_min = 0.9"),
        ("@lumio pourquoi le ciel est si bleu, aidez moi svp", "none of 50 has a word of this post"),
    ] {
        let said = run(vigie().args(["explain", "-c"]).arg(&state.config), post.as_bytes()).stdout;
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }

    let without = replay_with(&["--no-context"]);
    assert_eq!(without.lines().count(), first.lines().count());
    assert!(!without.contains("aide.lumio.example"), "{without}");
    let said = run(vigie().args(["explain", "--no-context", "-c"]).arg(&state.config), post).stdout;
    assert!(said.contains("mot de passe") && !said.contains("aide.lumio.example"), "{said}");

    // Switched off.
    let text = std::fs::read_to_string(&state.config).unwrap();
    std::fs::write(&state.config, format!("{text}\n[articles]\nenabled = false\n")).unwrap();
    assert!(!replay().contains("aide.lumio.example"));
}
