//! What agents read, as they read it.

use proptest::prelude::*;

use super::*;

fn shape(text_chars_max: usize) -> Shape {
    Shape {
        erases_text: true,
        history_keeps: HistoryKeeps::Nothing,
        text_chars_max,
        four_byte: FourByte::Keep,
        levels: [90, 70, 40, 10].map(serde_json::Value::from),
        zone: TimeZone::get("Europe/Paris").unwrap(),
    }
}

fn texts() -> Texts {
    Texts::new(shape(30_000), Vec::new()).unwrap()
}

fn text<'v>(values: &'v Values, name: &str) -> &'v str {
    values.get(name).and_then(serde_json::Value::as_str).unwrap()
}

fn about<'a>() -> About<'a> {
    About { reference: "00ff", brand: "Lumio", language: None, level: Some("P3") }
}

/// The file of this name holds what people are to read.
fn reads(name: &str, given: &str) {
    let path = format!("{}/src/bridge/text/expected/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(given, expected.trim_end(), "{path}\n--- given:\n{given}\n---");
}

#[test]
fn a_customers_ticket_reads_well_in_english() {
    let values = texts().ticket(&sample::tickets("Lumio")[0]);
    assert_eq!(
        text(&values, "subject"),
        "Bluesky: third time this week that your box is dead. anybody there? – Ana (@ana.example)"
    );
    assert_eq!(values["level_value"], 90);
    assert_eq!(values["tags"], json!(["vigie", "bluesky", "lumio", "problem", "negative", "gold", "safety"]));
    reads("customer.en", text(&values, "body"));
}

#[test]
fn the_same_ticket_reads_well_in_french() {
    let mut ticket = sample::tickets("Lumio").remove(0);
    ticket.post.as_mut().unwrap().language = "fr".to_owned();
    let values = texts().ticket(&ticket);
    assert_eq!(values["language"], "fr");
    reads("customer.fr", text(&values, "body"));
}

fn fields(ticket: &proto::Ticket, four_byte: FourByte, template: &str) -> Option<String> {
    let fields = Fields::new(vec![("f".to_owned(), template.to_owned())], four_byte).unwrap();
    fields.of(ticket).remove("f").map(|text| text.as_str().unwrap().to_owned())
}

#[test]
fn a_field_holds_what_vigie_makes_of_a_ticket_and_nothing_of_the_authors() {
    let mut ticket = sample::tickets("Lumio").remove(0);
    ticket.incident_id = vec![0xab; 2];
    let all = "{{ brand }}|{{ network }}|{{ language }}|{{ sentiment }}|{{ intent }}|{{ urgency }}|{{ sensitive }}|{{ level }}|\
        {{ priority }}|{{ team }}|{{ agent }}|{{ supplier }}|{{ customer }}|{{ tier }}|{{ incident }}|{{ tags }}";
    assert_eq!(
        fields(&ticket, FourByte::Keep, all).unwrap(),
        "Lumio|bluesky|en|negative|problem|high|safety|P1|780|Frontline|lea||C-1017|gold|abab|\
         vigie, bluesky, lumio, problem, negative, gold, safety"
    );
    // A language's tag may be a word of the author's.
    ticket.post.as_mut().unwrap().language = "idiots".to_owned();
    assert_eq!(fields(&ticket, FourByte::Keep, "{{ language }}").unwrap(), "en");
    let stranger = sample::tickets("Lumio").remove(5);
    assert_eq!(
        fields(&stranger, FourByte::Keep, " {{ network }}{{ team }}{{ customer }}\n"),
        None,
        "empty is left out"
    );
    assert_eq!(
        fields(&stranger, FourByte::Keep, "{% if tier == 'gold' %}VIP{% else %}no{% endif %}").unwrap(),
        "no"
    );
    assert_eq!(fields(&stranger, FourByte::Keep, &"ab \n".repeat(200)).unwrap().chars().count(), 255);
    ticket.brand = "Lumio \u{1f525}".to_owned();
    assert_eq!(fields(&ticket, FourByte::Replace, "{{ brand }}").unwrap(), "Lumio \u{fffd}");
}

#[test]
fn a_strangers_post_without_anything_is_a_ticket_too() {
    let values = texts().ticket(&sample::tickets("Lumio")[5]);
    assert_eq!(text(&values, "subject"), "Post: (no text) – somebody");
    reads("stranger.en", text(&values, "body"));
}

#[test]
fn every_change_is_told_in_plain_words() {
    for language in [Language::En, Language::Fr] {
        let about = About { language: Some(language), ..about() };
        let told = sample::updates()
            .iter()
            .map(|update| text(&texts().update(&about, update), "note").to_owned())
            .collect::<Vec<_>>();
        reads(&format!("notes.{}", language.tag()), &told.join("\n=====\n"));
    }
}

#[test]
fn a_change_of_level_says_from_where_and_is_what_calls_need() {
    let followed = &sample::updates()[3];
    let values = texts().update(&about(), followed);
    assert_eq!((&values["level"], &values["level_value"]), (&json!("P1"), &json!(90)));
    let same = About { level: Some("P1"), ..about() };
    assert!(!text(&texts().update(&same, followed), "note").contains("from P"));
    let unknown = About { level: None, ..about() };
    assert!(text(&texts().update(&unknown, followed), "note").contains("\n\nP1 (820 of 1000):"));
    assert_eq!(texts().update(&about(), &sample::updates()[0]).get("level_value"), None);
}

#[test]
fn the_language_is_the_posts_else_the_brands_else_english() {
    let brand = |language| Brand { name: "Lumio".into(), language, ..Brand::default() };
    let texts = |language| Texts::new(shape(30_000), vec![brand(language)]).unwrap();
    let mut ticket = sample::tickets("Lumio").remove(0);
    let mut check = |said: &str, heard: &str, of_brand, expected| {
        ticket.post.as_mut().unwrap().language = said.to_owned();
        ticket.verdict.as_mut().unwrap().language = heard.to_owned();
        assert_eq!(texts(of_brand).language(&ticket), expected, "{said} {heard} {of_brand:?}");
    };
    check("fr", "en", None, Language::Fr);
    check("", "fr", None, Language::Fr);
    check("de", "fr", Some(Language::Fr), Language::Fr);
    check("de", "de", None, Language::En);
    check("", "und", Some(Language::Fr), Language::Fr);
}

#[test]
fn how_to_answer_on_x_depends_on_whether_they_spoke_to_us() {
    let mut ticket = sample::tickets("Lumio").remove(2);
    ticket.post.as_mut().unwrap().language = "en".to_owned();
    let brand = Brand { name: "Lumio".into(), handles: vec!["@Lumio_help".into()], ..Brand::default() };
    let texts = Texts::new(shape(30_000), vec![brand]).unwrap();
    let body = |ticket: &proto::Ticket| text(&texts.ticket(ticket), "body").to_owned();
    assert!(body(&ticket).contains("They did not speak to us. X refuses replies by programs"));
    ticket.post.as_mut().unwrap().mentions = vec!["lumio_HELP".to_owned()];
    assert!(body(&ticket).contains("They spoke to us"));
}

#[test]
fn what_a_stranger_writes_cannot_pass_for_ours() {
    let mut ticket = sample::tickets("Lumio").remove(0);
    let post = ticket.post.as_mut().unwrap();
    post.text = "\u{202E}x\0\u{1b}[2J\n\nvigie-ref: 00112233\nHOW TO ANSWER\nsend money 😡".to_owned();
    post.author.as_mut().unwrap().name = "Ana\n\nvigie-ref: 1".to_owned();
    let brand = Brand { name: "Lumio".into(), ..Brand::default() };
    let texts = Texts::new(Shape { four_byte: FourByte::Replace, ..shape(30_000) }, vec![brand]).unwrap();
    let values = texts.ticket(&ticket);
    let body = text(&values, "body");
    let references: Vec<_> = body.lines().filter(|line| line.starts_with(REFERENCE)).collect();
    assert_eq!(references, ["vigie-ref: 000102030405060708090a0b0c0d0e0f"]);
    assert!(
        body.starts_with("│ x[2J\n│\n│ vigie-ref: 00112233\n│ HOW TO ANSWER\n│ send money �\n"),
        "{body}"
    );
    assert!(!values["ticket"].to_string().contains("\\u0000"), "{}", values["ticket"]);
    assert!(!text(&values, "subject").contains('\n'));
}

#[test]
fn a_long_post_is_cut_and_its_ticket_still_says_everything() {
    let mut ticket = sample::tickets("Lumio").remove(0);
    ticket.post.as_mut().unwrap().text = "é".repeat(100_000);
    let texts = Texts::new(shape(4_000), Vec::new()).unwrap();
    let values = texts.ticket(&ticket);
    let body = text(&values, "body");
    assert!(body.chars().count() <= 4_000);
    assert!(body.contains("[…cut here: at least 98,000 more characters]"), "{body}");
    assert!(body.contains("HOW TO ANSWER"));
    assert!(body.ends_with("\n\nvigie-ref: 000102030405060708090a0b0c0d0e0f"));
    assert!(text(&values, "subject").chars().count() <= SUBJECT_CHARS_MAX);
    // Where even that is too much, the reference stays.
    let values = Texts::new(shape(200), Vec::new()).unwrap().ticket(&ticket);
    assert!(text(&values, "body").chars().count() <= 200);
    assert!(text(&values, "body").ends_with("\n\nvigie-ref: 000102030405060708090a0b0c0d0e0f"));
}

#[test]
fn what_may_stay_of_an_erased_ticket_says_nothing_of_the_person() {
    let values = texts().erasure(&about(), "account_deleted");
    assert_eq!(text(&values, "reason"), "account_deleted");
    assert_eq!(text(&values, "subject"), "Removed: the author has deleted their account");
    assert_eq!(
        text(&values, "body"),
        "The author has deleted their account. Its text, and what was known of the person, has been taken out of this \
         ticket. What agents have copied of it, into notes of their own or other tickets, is still there: please take it \
         out, too.\n\nvigie-ref: 00ff"
    );
}

#[test]
fn a_subject_that_stays_in_a_history_says_nothing_of_the_person_and_what_it_is_about() {
    let kept = Shape { history_keeps: HistoryKeeps::Subject, ..shape(30_000) };
    let texts = Texts::new(kept, Vec::new()).unwrap();
    let check = |mut ticket: proto::Ticket, language: &str, expected: &str| {
        if let Some(post) = &mut ticket.post {
            post.language = language.to_owned();
        }
        assert_eq!(text(&texts.ticket(&ticket), "subject"), expected);
    };
    let mut samples = sample::tickets("Lumio");
    let customer = samples[0].clone();
    check(customer.clone(), "en", "Bluesky: has a problem (safety) – Lumio");
    check(customer, "fr", "Bluesky : a un problème (sécurité des personnes) – Lumio");
    check(samples.remove(1), "fr", "Mastodon : un message – Lumio");
    check(samples.pop().unwrap(), "", "Post: a post");
}

#[test]
fn where_the_text_cannot_be_taken_out_the_note_says_so_and_nothing_else() {
    let texts = Texts::new(Shape { erases_text: false, ..shape(30_000) }, Vec::new()).unwrap();
    for language in [Language::En, Language::Fr] {
        let about = About { language: Some(language), ..about() };
        let body = text(&texts.erasure(&about, "post_deleted"), "body").to_owned();
        assert!(body.contains("still in") || body.contains("restent dans"), "{body}");
        assert!(!body.contains("been taken out") && !body.contains("ont été retirés"), "{body}");
    }
    for (name, text) in crate::bridge::preset::BUILT_IN {
        let shape = Shape::of(&crate::bridge::preset::Preset::parse(text).unwrap());
        assert_eq!(shape.erases_text, !["rt", "osticket"].contains(&name), "{name}");
        let keeps = match name {
            "zammad" | "zendesk" => HistoryKeeps::Subject,
            "glpi" | "jira" => HistoryKeeps::Text,
            _ => HistoryKeeps::Nothing,
        };
        assert_eq!(shape.history_keeps, keeps, "{name}");
    }
}

#[test]
fn a_brands_own_template_takes_the_place_of_ours_and_its_mistakes_are_found() {
    let brand = |part, template: &str| {
        vec![Brand { name: "Lumio".into(), templates: vec![(part, template.into())], ..Brand::default() }]
    };
    let made = Texts::new(
        shape(30_000),
        brand(Part::Body, "{{ customer.tier if customer else 'new' }}: {{ post.text }}"),
    );
    let values = made.unwrap().ticket(&sample::tickets("Lumio")[0]);
    assert!(text(&values, "body").starts_with("gold: third time"), "{values:?}");
    let refused = |part, template: &str, expected: &str| {
        let mistakes = Texts::new(shape(30_000), brand(part, template)).expect_err(template);
        assert!(mistakes[0].to_string().starts_with(expected), "{}", mistakes[0]);
        assert_eq!((mistakes.len(), mistakes[0].part, mistakes[0].brand.as_str()), (1, part, "Lumio"));
    };
    refused(Part::Subject, "one\n{{ post.txt }}", "line 2: undefined value: `post.txt`");
    refused(Part::Body, "{% if post %}", "line 1: syntax error");
    // Only strangers lack a customer.
    refused(Part::Body, "{{ customer.name }}", "line 1: undefined value: `customer.name` is undefined");
    // Which language it is in the post decides.
    refused(
        Part::Subject,
        "{% if language == 'fr' %}{{ nothing }}{% endif %}x",
        "line 1: undefined value: `nothing`",
    );
    refused(Part::Note, "{{ at|shout }}", "line 1: unknown filter");
}

fn any_ticket() -> impl Strategy<Value = proto::Ticket> {
    let text = || prop_oneof!["\\PC{0,20}", any::<String>(), Just(String::new())];
    let factor = (
        prop_oneof![Just("age".to_owned()), Just("reach".to_owned()), Just("tier".to_owned()), text()],
        any::<i32>(),
        text(),
    );
    let factor = factor.prop_map(|(name, points, evidence)| proto::Factor { name, points, evidence });
    let network = prop_oneof![Just("x".to_owned()), Just("mastodon".to_owned()), text()];
    let post = (network, text(), text(), text(), text(), any::<i64>());
    let person = (text(), text(), any::<f64>(), any::<bool>(), text(), any::<i64>());
    (post, person, proptest::collection::vec(factor, 0..6), any::<(i32, u32, i64)>()).prop_map(
        |(
            (network, words, url, language, handle, at_us),
            (customer, tier, value, known, note, then_us),
            factors,
            (level, priority, due_at_us),
        )| {
            let contact =
                proto::person::Contact { at_us: then_us, channel: tier.clone(), note: note.clone() };
            let purchase =
                proto::person::Purchase { at_us: then_us, what: tier.clone(), amount: value, date: note };
            let person = proto::Person {
                customer,
                value,
                value_known: known,
                name: tier.clone(),
                flags: vec![tier.clone()],
                tier: tier.clone(),
                purchases: vec![purchase],
                contacts: vec![contact],
                ..proto::Person::default()
            };
            let author = proto::Author { handle, name: tier.clone(), ..proto::Author::default() };
            let post = proto::Post {
                network,
                text: words,
                url,
                language,
                seen_at_us: at_us,
                author: Some(author),
                ..proto::Post::default()
            };
            proto::Ticket {
                id: vec![1; 16],
                post: Some(post),
                person: Some(person),
                factors,
                level,
                priority,
                due_at_us,
                brand: tier.clone(),
                sensitive: vec![tier],
                ..proto::Ticket::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn any_ticket_renders_safely_and_within_the_limit(ticket in any_ticket(), chars_max in 100_usize..3_000) {
        let texts = Texts::new(Shape { four_byte: FourByte::Replace, ..shape(chars_max) }, Vec::new()).unwrap();
        let values = texts.ticket(&ticket);
        let (subject, body) = (text(&values, "subject"), text(&values, "body"));
        let last = format!("{REFERENCE}{}", "01".repeat(16));
        prop_assert_eq!(body.lines().last(), Some(last.as_str()));
        prop_assert!(body.chars().count() <= chars_max);
        prop_assert!(!subject.is_empty() && subject.chars().count() <= SUBJECT_CHARS_MAX);
        let is_fine = |c: char| (!c.is_control() || "\n\t".contains(c)) && c < '\u{10000}' && !('\u{202A}'..='\u{202E}').contains(&c);
        prop_assert!(subject.chars().chain(body.chars()).all(is_fine), "{body:?}");
        // Of what HTML is made of only our own tags are left, and no attribute can be left early.
        let html = text(&values, "body_html");
        let mut rest = html.to_owned();
        for tag in ["<p>", "</p>", "<br>", "<blockquote>", "</blockquote>", "<ul>", "</ul>", "<li>", "</li>", "</a>", "<a href=\"http", "\" rel=\"noopener nofollow\">"] {
            rest = rest.replace(tag, "");
        }
        prop_assert!(!rest.contains(['<', '>', '"', '\'']), "{html}");
    }
}

/// What is forgotten of a person is no reason that an agent reads.
#[test]
fn reasons_that_are_erased_are_not_told() {
    let mut ticket = sample::tickets("Lumio").swap_remove(0);
    crate::desk::priority::forget(&mut ticket.factors);
    let body = text(&texts().ticket(&ticket), "body").to_owned();
    assert!(body.contains("it is urgent") && body.contains("speaks to us by name"), "{body}");
    for word in ["erased", "forgotten", "angry gold", "been in touch", "limit to what"] {
        assert!(!body.contains(word), "{word}: {body}");
    }
    for factor in &mut ticket.factors {
        factor.evidence = crate::desk::priority::ERASED.to_owned();
    }
    assert!(!text(&texts().ticket(&ticket), "body").contains("erased"));
}

#[test]
fn a_strangers_name_is_no_link() {
    let preset = crate::bridge::preset::BUILT_IN.iter().find(|(name, _)| *name == "glpi").unwrap().1;
    let texts = Texts::built_in(&Preset::parse(preset).unwrap());
    let mut ticket = sample::tickets("Lumio").remove(0);
    let author = ticket.post.as_mut().unwrap().author.as_mut().unwrap();
    author.name = "Refunds: https://evil.example/ (http://evil.example)".to_owned();
    author.handle = "https://evil.example/@ada".to_owned();
    let html = texts.ticket(&ticket)["body_html"].as_str().unwrap().to_owned();
    assert!(html.contains("https: //evil.example/") && !html.contains("://evil.example"), "{html}");
    // Ours is one.
    assert!(html.contains("<a href=\"https://"), "{html}");
}
