//! What a stranger writes is no markup, no program and no link in disguise, and what they take back is gone.

use firehose::helpdesk::{OsTicket, Store, Vendor};
use serde_json::json;
use vigie::bridge::text::{About, Brand, Language, Part, Shape, Texts, sample};
use vigie::ticket::proto;

use super::super::{also, reference};
use super::Desk;
use super::hosted::{freshdesk, jira, zendesk};
use super::own::{chatwoot, glpi, zammad};

/// Links that look like ours, pictures that tell of who looks, boxes over the page: in HTML and in Markdown.
const HOSTILE: &str = "[Reset your agent password](https://evil.example) ![](https://evil.example/p.png) <img src=https://evil.example/q.png>\n\
    <div style=\"position:fixed\"><a href=\"https://evil.example\">Log in again</a></div> &lt;div&gt;";

/// A ticket of a post with this text.
fn ticket(text: &str) -> proto::Ticket {
    let mut ticket = sample::tickets("Lumio").remove(0);
    ticket.post.as_mut().unwrap().text = text.to_owned();
    ticket
}

async fn osticket() -> Desk<OsTicket> {
    let store: fn(&mut OsTicket) -> &mut Store = |osticket| &mut osticket.store;
    Desk::new(OsTicket::default(), "osticket", json!({}), "/api/tickets.json", store).await
}

/// The beginnings of what a browser would do something about, each up to its first quotation mark that closes.
fn active(html: &str) -> Vec<String> {
    let tags = html.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or_default());
    tags.filter(|tag| tag.contains('=') && !tag.contains("zd-comment")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_strangers_markdown_stays_words_in_zendesk() {
    let desk = zendesk().await;
    let texts = Texts::built_in(desk.vigie.preset());
    let told = texts.ticket(&ticket(HOSTILE));
    let case = desk.vigie.create(&told).await.unwrap();
    desk.vigie.note(&case, &also(&told, json!({ "note": HOSTILE }))).await.unwrap();
    let comments = desk.kept(&case)["_comments"].clone();
    let html = |index: usize| comments[index]["html_body"].as_str().unwrap().to_owned();
    let ours = ["https://bsky.app/profile/did:plc:ana/post/1", "https://help.example/box"];
    let links = ours.map(|address| format!("a href=\"{address}\" rel=\"noopener nofollow\""));
    assert_eq!((active(&html(0)), active(&html(1))), (links.to_vec(), Vec::new()), "{comments}");
    for html in [html(0), html(1)] {
        assert!(html.contains("[Reset your agent password](https://evil.example)"), "{html}");
    }
}

#[tokio::test]
async fn what_is_too_long_for_zendesk_arrives_with_all_that_agents_need() {
    let desk = zendesk().await;
    let texts = Texts::built_in(desk.vigie.preset());
    for text in ["é", "\"", "a\n", "\n\n>", "\u{1f525} ", "{{", "- a\n"] {
        // Each is another ticket.
        let told = texts.ticket(&ticket(&text.repeat(100_000)));
        let told = also(&told, json!({ "ref": reference() }));
        let case = desk.vigie.create(&told).await.unwrap();
        let mut followed = sample::updates().remove(3);
        let Some(proto::update::Change::FollowedUp(change)) = &mut followed.change else { panic!("another") };
        change.post.as_mut().unwrap().text = text.repeat(100_000);
        let about = About { reference: "00", brand: "Lumio", language: None, level: Some("P3") };
        desk.vigie.note(&case, &also(&told, json!(texts.update(&about, &followed)))).await.unwrap();
        let kept = desk.kept(&case)["_comments"].to_string();
        for needed in
            ["cut here", "WHO THIS IS", "HOW TO ANSWER", "vigie-ref: 000102030405060708090a0b0c0d0e0f"]
        {
            assert!(kept.contains(needed), "{text:?}: {needed} is not in {} bytes", kept.len());
        }
    }
}

#[tokio::test]
async fn a_strangers_html_stays_words_in_osticket() {
    let desk = osticket().await;
    let texts = Texts::built_in(desk.vigie.preset());
    let case = desk.vigie.create(&texts.ticket(&ticket(HOSTILE))).await.unwrap();
    let kept = desk.kept(&case)["message"].as_str().unwrap().to_owned();
    assert_eq!(active(&kept), Vec::<String>::new(), "{kept}");
    assert!(!kept.contains("<div") && kept.contains("│ [Reset your agent password]"), "{kept}");
    // Where a text begins is decided by us.
    let case = desk.vigie.create(&texts.ticket(&ticket("data:text/html,<b>"))).await.unwrap();
    assert!(desk.kept(&case)["message"].as_str().unwrap().starts_with("│ data:text/html"));
}

/// What a helpdesk still has of a ticket, its history included, once the author has taken the post back, and what agents
/// were told.
async fn erased<V: Vendor>(desk: &Desk<V>, texts: &Texts) -> (String, String) {
    let told = texts.ticket(&ticket("my card 4970 was charged twice"));
    let case = desk.vigie.create(&told).await.unwrap();
    let about = About {
        reference: told["ref"].as_str().unwrap(),
        brand: "Lumio",
        language: Some(Language::En),
        level: Some("P1"),
    };
    let left = texts.erasure(&about, "post_deleted");
    desk.vigie.erase(&case, &also(&told, json!(left))).await.unwrap();
    let (store, number) = (desk.store, case.id.rsplit('-').next().unwrap().parse::<u64>().unwrap());
    let history = desk.fake.with(|vendor| store(vendor).histories.get(&number).cloned());
    let kept = desk.kept(&case).to_string();
    assert!(!kept.contains("4970") && !kept.contains("Ana"), "{}: {kept}", desk.kind);
    (json!(history).to_string(), left["note"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_is_taken_back_is_in_no_history_where_that_can_be() {
    async fn check<V: Vendor>(desk: Desk<V>) {
        let (history, note) = erased(&desk, &Texts::built_in(desk.vigie.preset())).await;
        assert!(!history.contains("4970") && !history.contains("Ana"), "{}: {history}", desk.kind);
        assert!(!note.contains("history"), "{}: {note}", desk.kind);
    }
    check(zendesk().await).await;
    check(zammad().await).await;
    check(chatwoot().await).await;
    check(freshdesk().await).await;
}

#[tokio::test]
async fn where_the_history_keeps_what_is_taken_back_agents_are_told() {
    async fn check<V: Vendor>(desk: Desk<V>, texts: Texts) {
        let (history, note) = erased(&desk, &texts).await;
        assert!(
            history.contains("4970"),
            "{}: it has changed, and may be told otherwise: {history}",
            desk.kind
        );
        assert!(note.contains("this ticket's history") && note.contains("an administrator"), "{note}");
    }
    let desk = glpi().await;
    let texts = Texts::built_in(desk.vigie.preset());
    check(desk, texts).await;
    let desk = jira().await;
    let texts = Texts::built_in(desk.vigie.preset());
    check(desk, texts).await;
    // An operator's own subject says what they want it to.
    let desk = zammad().await;
    let own = Brand {
        name: "Lumio".to_owned(),
        templates: vec![(Part::Subject, "{{ post.start }}".to_owned())],
        ..Brand::default()
    };
    let texts = Texts::new(Shape::of(desk.vigie.preset()), vec![own]).unwrap();
    check(desk, texts).await;
}
