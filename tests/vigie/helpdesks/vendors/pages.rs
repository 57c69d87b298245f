//! What stands beyond the first page of a list, and what is longer than a page.

use firehose::helpdesk::{OsTicket, Store, Vendor};
use serde_json::json;
use vigie::bridge::text::{Texts, sample};

use super::super::{also, values};
use super::Desk;
use super::hosted::{jira, zendesk};
use super::own::glpi;

/// Notes of two pages and a half: all of them go, and so does the last one alone.
async fn are_erased_on_all_pages<V: Vendor>(desk: Desk<V>, list: &str) {
    let (case, ticket) = desk.make(1).await;
    let mut last = None;
    for n in 0..250 {
        let note = also(&ticket, json!({ "note": format!("kaput again, {n}.") }));
        last = Some(desk.vigie.note(&case, &note).await.unwrap());
    }
    desk.vigie.erase_note(&case, &last.unwrap(), &ticket).await.unwrap();
    let kept = desk.kept(&case).to_string();
    assert!(!kept.contains("again, 249.") && kept.contains("again, 248."), "{}", desk.kind);
    let left = json!({ "subject": "erased", "body": "Taken back." });
    desk.vigie.erase(&case, &also(&ticket, left)).await.unwrap();
    let kept = desk.kept(&case);
    let notes = kept[list].as_array().unwrap();
    let secrets = notes.iter().filter(|note| note.to_string().contains("kaput")).count();
    assert_eq!(secrets, 0, "{}", desk.kind);
}

#[tokio::test]
async fn notes_are_erased_however_many_pages_they_fill() {
    are_erased_on_all_pages(zendesk().await, "_comments").await;
    are_erased_on_all_pages(glpi().await, "_followups").await;
    are_erased_on_all_pages(jira().await, "_comments").await;
}

#[tokio::test]
async fn zendesk_fills_nothing_in_where_a_stranger_writes_a_placeholder() {
    let desk = zendesk().await;
    let hostile = "{{ticket.assignee.email}} {{{ticket.id}}} {% if true %}{{ticket.id}}{% endif %}";
    let ticket = also(
        &values(&desk.vigie, "r", 0),
        json!({ "subject": hostile, "body_html": hostile, "note": hostile }),
    );
    let case = desk.vigie.create(&ticket).await.unwrap();
    desk.vigie.note(&case, &ticket).await.unwrap();
    let kept = desk.kept(&case).to_string();
    assert!(!kept.contains("ada@vigie.test") && !kept.contains("1729"), "{kept}");
    assert_eq!(kept.matches("ticket.assignee.email").count(), 3, "{kept}");
}

#[tokio::test]
async fn what_is_too_long_for_osticket_arrives_with_all_that_agents_need() {
    let store: fn(&mut OsTicket) -> &mut Store = |osticket| &mut osticket.store;
    let desk = Desk::new(OsTicket::default(), "osticket", json!({}), "/api/tickets.json", store).await;
    let texts = Texts::built_in(desk.vigie.preset());
    for text in ["é", "\"", "a\n", "\n\n>", "\u{1f525} "] {
        let mut ticket = sample::tickets("Lumio").remove(0);
        let post = ticket.post.as_mut().unwrap();
        post.text = text.repeat(100_000);
        let url = post.url.clone();
        let case = desk.vigie.create(&texts.ticket(&ticket)).await.unwrap();
        let kept = desk.kept(&case)["message"].as_str().unwrap().to_owned();
        for needed in [url.as_str(), "cut here", "WHO THIS IS", "WHY P", "HOW TO ANSWER"] {
            assert!(kept.contains(needed), "{text:?}: {needed} is not in {} bytes", kept.len());
        }
        assert!(
            kept.trim_end_matches("</p>").ends_with("vigie-ref: 000102030405060708090a0b0c0d0e0f"),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn whatever_zendesk_has_made_of_a_text_is_blackened() {
    let desk = zendesk().await;
    let texts = [
        "kaput",
        "kaput\nkaput",
        "> kaput at <kaput>\n\nhttps://x.example/kaput\n\nkaput\n- kaput",
        "- kaput\n- see https://x.example/kaput",
        "kaput\n\n- kaput https://x.example/kaput\n- kaput\n\nkaput",
    ];
    for text in texts {
        let ticket = also(&values(&desk.vigie, &super::super::reference(), 0), json!({ "body": text }));
        let case = desk.vigie.create(&ticket).await.unwrap();
        let note = desk.vigie.note(&case, &also(&ticket, json!({ "note": text }))).await.unwrap();
        desk.vigie.erase_note(&case, &note, &ticket).await.unwrap();
        let comments = desk.kept(&case)["_comments"].clone();
        assert!(comments[0].to_string().contains("kaput"), "{text}: {comments}");
        assert!(!comments[1].to_string().contains("kaput"), "{text}: {comments}");
        let left = json!({ "subject": "erased", "body": "Taken back.\n\nvigie-ref: 00" });
        for _ in 0..2 {
            desk.vigie.erase(&case, &also(&ticket, left.clone())).await.unwrap();
        }
        let kept = desk.kept(&case).to_string();
        assert!(!kept.contains("kaput") && kept.contains("Taken back."), "{text}: {kept}");
    }
    // Pictures, too, should the account that the token is of have written one.
    let (case, ticket) = desk.make(0).await;
    let shown = "<p>kaput</p><img src=\"https://x.example/kaput.png\" alt=\"kaput\">";
    desk.agent(&case, json!({ "_comments": [{ "id": 900, "author_id": 35_436, "html_body": shown }] }));
    let left = also(&ticket, json!({ "subject": "erased", "body": "Taken back." }));
    desk.fake.with(|zendesk| zendesk.redacts_nothing = true);
    assert!(desk.vigie.erase(&case, &left).await.is_err());
    desk.fake.with(|zendesk| zendesk.redacts_nothing = false);
    desk.vigie.erase(&case, &left).await.unwrap();
    let kept = desk.kept(&case).to_string();
    assert!(!kept.contains("kaput") && !kept.contains("<img"), "{kept}");
}

#[tokio::test]
async fn what_zendesk_has_not_blackened_is_not_taken_for_erased() {
    let desk = zendesk().await;
    let (case, ticket) = desk.make(0).await;
    let note = desk.vigie.note(&case, &also(&ticket, json!({ "note": "kaput" }))).await.unwrap();
    desk.fake.with(|zendesk| zendesk.redacts_nothing = true);
    let error = desk.vigie.erase_note(&case, &note, &ticket).await.unwrap_err();
    assert!(error.is_of_one() && !error.to_string().contains("kaput"), "{error:?}");
    let left = also(&ticket, json!({ "subject": "erased", "body": "Taken back." }));
    let error = desk.vigie.erase(&case, &left).await.unwrap_err();
    assert!(error.is_of_one() && !error.to_string().contains("kaput"), "{error:?}");
    desk.fake.with(|zendesk| zendesk.redacts_nothing = false);
    desk.vigie.erase_note(&case, &note, &ticket).await.unwrap();
    desk.vigie.erase(&case, &left).await.unwrap();
}
