//! What is a candidate, and of whom.

use super::*;
use crate::parse::Author;

fn post(text: &str) -> Post<'_> {
    Post {
        language: Some("fr".into()),
        ..Post::new(Network::Plain, "1".into(), Author { id: "42".into(), ..Author::default() }, text.into())
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).into()).collect()
}

fn lumio() -> Brand {
    Brand {
        name: "Lumio".into(),
        handles: texts(&[
            "@lumio",
            "@lumio_help",
            "lumio.bsky.social",
            "@lumio@mastodon.social",
            "did:plc:lumio",
        ]),
        names: texts(&["lumio", "lumiobox", "lumio mobile", "ルミオ"]),
        exclude: texts(&["lumio festival", "la lampe lumio"]),
        ..Brand::default()
    }
}

fn build(brands: Vec<Brand>) -> Prefilter {
    Prefilter::build(&Config { brands, ..Config::default() }).unwrap()
}

fn scan(brands: Vec<Brand>, post: &Post<'_>) -> Option<Candidate> {
    match build(brands).scan(post, &mut Scratch::default()) {
        Scan::Candidate(candidate) => Some(*candidate),
        Scan::Unmatched => None,
        Scan::Own => panic!("own: {post:?}"),
    }
}

/// The hits joined by `, `; empty where nothing matches.
fn check(text: &str, expected: &str) {
    check_post(&post(text), expected);
}

fn check_post(post: &Post<'_>, expected: &str) {
    let hits = scan(vec![lumio()], post).map(|candidate| candidate.hits.join(", ")).unwrap_or_default();
    assert_eq!(hits, expected, "{}", post.text);
}

fn check_rule(rule: &str, post: &Post<'_>, expected: bool) {
    let brand = Brand { name: "Zeta".into(), rules: texts(&[rule]), ..Brand::default() };
    assert_eq!(scan(vec![brand], post).is_some(), expected, "{rule} on {:?}", post.text);
}

#[test]
fn a_mention_is_enough() {
    check("Merci @Lumio !", "@lumio");
    check("bonjour @LUMIO.bsky.social.", "@lumio, @lumio.bsky.social");
    check("cc @lumio@mastodon.social", "@lumio, @lumio@mastodon.social");
    check("@lumiofan bravo", "");
    check_post(&Post { mentions: vec!["Lumio_Help".into()], ..post("svp") }, "@lumio_help");
    check_post(&Post { network: Network::Bluesky, ..post("@lumio.example.com panne") }, "");
    check_post(&Post { network: Network::X, ..post("@lumio.Panne totale") }, "@lumio");
}

#[test]
fn a_mention_addresses_us_and_is_worth_most() {
    for (text, addressed, value) in [("@lumio", true, 3), ("#lumio", false, 2), ("lumio en panne", false, 1)]
    {
        let candidate = scan(vec![lumio()], &post(text)).unwrap();
        assert_eq!((candidate.addressed, candidate.value), (addressed, value), "{text}");
        assert_eq!(&*candidate.brand, "Lumio");
    }
}

#[test]
fn hashtags_are_made_from_names() {
    check("vive #Lumio", "#lumio");
    check("vive #LumioMobile ＃ルミオ", "#lumiomobile, #ルミオ");
    check("vive #lumiofestival", "");
    check_post(&Post { hashtags: vec!["LumioBox".into()], ..post("vive") }, "#lumiobox");
}

#[test]
fn a_name_needs_a_service_word() {
    check("lumio c'est bien", "");
    check("L’Lumio est en panne", "lumio + en panne");
    check("ma Lumiobox ne marche plus", "lumiobox + ne marche plus");
    check("Lumio #panne", "lumio + panne");
    check("https://lumio.fr/panne", "");
    check("Lumio Mobile en panne", "lumio + en panne, lumio mobile + en panne");
}

#[test]
fn a_name_inside_an_exclusion_does_not_count() {
    check("le Lumio Festival est en panne", "");
    check("la lampe lumio en panne", "");
    check("le Lumio Festival: lumio en panne", "lumio + en panne");
    check("le Lumio Festival: lumiobox en panne", "lumiobox + en panne");
    check("@lumio festival", "@lumio");
}

#[test]
fn our_own_posts_are_own() {
    let prefilter = build(vec![lumio()]);
    let mut scratch = Scratch::default();
    for (id, handle, own) in [
        ("did:plc:lumio", None, true),
        ("DID:PLC:lumio", None, true),
        ("did:plc:other", Some("other"), false),
        ("1", Some("LUMIO_help"), true),
        ("1", Some("lumio@mastodon.social"), true),
        ("https://mastodon.social/users/lumio", Some("x"), true),
        ("1", Some("lumio@evil.example"), false),
        ("1", None, false),
    ] {
        let author = Author { id: id.into(), handle: handle.map(Into::into), ..Author::default() };
        let scan = prefilter.scan(&Post { author, ..post("@lumio en panne") }, &mut scratch);
        assert_eq!(scan == Scan::Own, own, "{id} {handle:?}");
    }
}

#[test]
fn a_quoted_text_counts_for_names_and_rules_but_addresses_nobody() {
    let quote = |text, quoted: &'static str| Post { quoted_text: Some(quoted.into()), ..post(text) };
    check_post(&quote("en panne", "Lumio c'est bien"), "lumio + en panne");
    check_post(&quote("oh", "@lumio #lumiobox"), "");
    check_rule("@lumio", &quote("oh", "@lumio"), true);
    // A phrase does not reach over the end of a text.
    check_rule("\"a b\"", &quote("a", "b"), false);
}

#[test]
fn conditions_ask_the_post() {
    let plain = post("zig");
    let rich = Post {
        author: Author { id: "7".into(), handle: Some("Bob".into()), verified: true, ..Author::default() },
        reply_to: Some("at://did:plc:ann/app.bsky.feed.post/1".into()),
        quote_of: Some("2".into()),
        reposted_by: Some("ann".into()),
        links: vec!["https://a.b".into()],
        has_media: true,
        ..post("zig #x @ann")
    };
    for rule in [
        "from:bob",
        "from:@BOB",
        "from:7",
        "to:ann",
        "to:did:plc:ann",
        "zig is:reply",
        "zig is:quote",
        "zig is:repost",
        "zig is:retweet",
        "zig is:verified",
        "zig has:links",
        "zig has:hashtags",
        "zig has:mentions",
        "zig has:media",
    ] {
        check_rule(rule, &rich, true);
        check_rule(rule, &plain, false);
    }
    check_rule("zig lang:fr", &plain, true);
    check_rule("zig lang:en", &plain, false);
    check_rule("zig -has:links", &plain, true);
    check_rule("zig has:links", &post("zig https://a.b"), true);
    check_rule("zig lang:und", &Post { language: None, ..post("zig") }, true);
}

#[test]
fn accents_count_where_a_brand_says_so() {
    let brand = |fold_accents| Brand {
        name: "Élan".into(),
        exclude: texts(&["bel élan"]),
        rules: texts(&["pâte"]),
        fold_accents,
        ..Brand::default()
    };
    for (text, folded, exact) in [
        ("l'ÉLAN en panne", true, true),
        ("l'E\u{301}lan en panne", true, true),
        ("l'elan en panne", true, false),
        ("#élan", true, true),
        ("#elan", true, false),
        ("pâte", true, true),
        ("PATE", true, false),
        ("bel élan en panne", false, false),
    ] {
        assert_eq!(scan(vec![brand(true)], &post(text)).is_some(), folded, "{text}");
        assert_eq!(scan(vec![brand(false)], &post(text)).is_some(), exact, "{text}");
    }
    let tagged = |tag: &'static str| Post { hashtags: vec!["x".into(), tag.into()], ..post("ça") };
    assert!(scan(vec![brand(false)], &tagged("Élan")).is_some());
    assert!(scan(vec![brand(false)], &tagged("Elan")).is_none());
}

#[test]
fn the_best_match_wins_then_the_first_brand() {
    let brand = |name: &str, rules: &[&str]| Brand {
        name: name.into(),
        handles: vec![format!("@{name}")],
        rules: texts(rules),
        ..Brand::default()
    };
    let brands = || vec![brand("aa", &[]), brand("bb", &["zig"]), brand("cc", &[])];
    for (text, winner) in [
        ("aa et cc en panne", "aa"),
        ("aa en panne, zig", "bb"),
        ("zig #cc", "cc"),
        ("#aa #cc", "aa"),
        ("#aa @cc", "cc"),
    ] {
        assert_eq!(&*scan(brands(), &post(text)).unwrap().brand, winner, "{text}");
    }
    let hits = scan(brands(), &post("bb zig en panne")).unwrap().hits;
    assert_eq!(hits, ["rule: zig", "bb + en panne"]);
}

#[test]
fn listen_can_be_any_rule() {
    let brand = |listen: &str| Brand { listen: listen.into(), ..lumio() };
    for (listen, text, expected) in [
        ("name", "lumio", Some("lumio")),
        ("trigger lang:fr", "en panne", Some("listen: trigger lang:fr")),
        ("handle -trigger", "@lumio en panne", None),
        ("name zig", "lumio zig", Some("lumio")),
    ] {
        let hits = scan(vec![brand(listen)], &post(text)).map(|candidate| candidate.hits.join(", "));
        assert_eq!(hits.as_deref(), expected, "{listen} on {text}");
    }
}

#[test]
fn the_companys_own_triggers_join_the_builtin_ones() {
    let config = |builtin_triggers| Config {
        brands: vec![lumio()],
        triggers: texts(&["zut alors"]),
        builtin_triggers,
        ..Config::default()
    };
    for (text, with, without) in [("lumio ZUT, alors", true, true), ("lumio en panne", true, false)] {
        for (builtin, expected) in [(true, with), (false, without)] {
            let prefilter = Prefilter::build(&config(builtin)).unwrap();
            let scan = prefilter.scan(&post(text), &mut Scratch::default());
            assert_eq!(scan != Scan::Unmatched, expected, "{text} {builtin}");
        }
    }
}

#[test]
fn a_scratch_serves_one_prefilter_after_another() {
    let mut scratch = Scratch::default();
    let large = build(vec![lumio(), Brand { name: "zig".into(), ..Brand::default() }]);
    let small = build(vec![Brand { name: "zag".into(), ..Brand::default() }]);
    for _ in 0..3 {
        assert_ne!(large.scan(&post("zig en panne"), &mut scratch), Scan::Unmatched);
        assert_eq!(small.scan(&post("zig en panne"), &mut scratch), Scan::Unmatched);
        assert_ne!(small.scan(&post("zag en panne"), &mut scratch), Scan::Unmatched);
        assert_eq!(large.scan(&post("en panne"), &mut scratch), Scan::Unmatched);
    }
}
