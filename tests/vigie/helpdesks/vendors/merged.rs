//! What agents make of tickets: one of two, and two of one.

use serde_json::json;
use tokio::time::Instant;
use vigie::bridge::helpdesk::{Case, Values};
use vigie::ticket::proto::ticket_status::State;

use super::super::{also, read, reference, values};
use super::hosted::zendesk;
use super::own::{glpi, zammad};

fn case(id: &str) -> Case {
    Case { id: id.to_owned(), captured: Values::new() }
}

#[tokio::test]
async fn each_page_of_what_was_done_to_a_ticket_is_counted_as_a_call() {
    let desk = zendesk().await;
    let ((one, _), (two, _)) = (desk.make(0).await, desk.make(0).await);
    let done = json!({ "via": { "channel": "web", "source": { "from": {}, "to": {}, "rel": null } } });
    desk.agent(&two, json!({ "_audits": vec![done; 950] }));
    desk.fake.with(|zendesk| zendesk.merge(&two.id, &one.id));
    let (before, mut counted) = (desk.fake.counts().1, 0);
    desk.vigie.read_counting(&two, &mut counted).await.unwrap();
    let made = desk.fake.counts().1 - before;
    assert!(made > 10 && counted as usize == made, "{made} made, {counted} counted");
}

#[tokio::test]
async fn what_zendesk_has_merged_is_the_ticket_that_it_went_into() {
    let desk = zendesk().await;
    let ((one, _), (two, _), (three, _)) = (desk.make(0).await, desk.make(0).await, desk.make(0).await);
    // However much has been done to it before.
    let before = json!({ "via": { "channel": "web", "source": { "from": {}, "to": {}, "rel": null } } });
    desk.agent(&two, json!({ "_audits": vec![before; 250] }));
    desk.fake.with(|zendesk| zendesk.merge(&two.id, &one.id));
    let standing = read(&desk.vigie, &two).await;
    assert_eq!((standing.state, standing.merged_into), (Some(State::Closed), Some(one.id.clone())));
    let standing = read(&desk.vigie, &one).await;
    assert_eq!((standing.state, standing.merged_into), (Some(State::Open), None), "something went into it");
    desk.fake.with(|zendesk| zendesk.merge(&one.id, &three.id));
    assert_eq!(read(&desk.vigie, &one).await.merged_into, Some(three.id.clone()));
    // The listing does not say where it is: it is read.
    let mut cursor = None;
    let mut listed = std::collections::BTreeMap::new();
    loop {
        let page = desk.vigie.changed(cursor.as_deref(), jiff::Timestamp::now()).await.unwrap().unwrap();
        listed.extend(page.cases);
        cursor = Some(page.cursor);
        if !page.more {
            break;
        }
    }
    let is_told = |case: &Case| listed[&case.id].is_some();
    assert_eq!([&one, &two, &three].map(is_told), [false, false, true]);
    // One that agents have closed is just that.
    let (closed, _) = desk.make(0).await;
    desk.agent(&closed, json!({ "status": "closed" }));
    let audits = || desk.fake.log().calls.iter().filter(|call| call.request.path.contains("/audits")).count();
    let before = audits();
    assert_eq!(read(&desk.vigie, &closed).await.merged_into, None);
    assert_eq!(audits(), before);
}

#[tokio::test]
async fn what_glpi_has_merged_is_the_ticket_that_it_went_into() {
    let desk = glpi().await;
    let ((one, _), (two, ticket), (three, _)) = (desk.make(0).await, desk.make(0).await, desk.make(0).await);
    desk.fake.with(|glpi| glpi.merge(&two.id, &one.id));
    let standing = read(&desk.vigie, &two).await;
    assert_eq!((standing.state, standing.merged_into), (Some(State::Deleted), Some(one.id.clone())));
    assert_eq!(read(&desk.vigie, &one).await.merged_into, None);
    // Taken out of the bin again, and merged anew.
    desk.agent(&two, json!({ "is_deleted": 0 }));
    assert_eq!(read(&desk.vigie, &two).await.merged_into, None);
    desk.fake.with(|glpi| glpi.merge(&two.id, &three.id));
    assert_eq!(read(&desk.vigie, &two).await.merged_into, Some(three.id));
    // What is in the bin alone was deleted.
    desk.agent(&one, json!({ "is_deleted": 1 }));
    let standing = read(&desk.vigie, &one).await;
    assert_eq!((standing.state, standing.merged_into), (Some(State::Deleted), None));
    // The one in the bin still holds the text, which goes with an erasure.
    assert!(desk.vigie.preset().calls.merged_keeps_text);
    let left = json!({ "subject": "erased", "body_html": "<p>Taken back.</p>" });
    desk.vigie.erase(&case(&two.id), &also(&ticket, left)).await.unwrap();
    assert!(!desk.kept(&two).to_string().contains("kaput"), "{}", desk.kept(&two));
}

#[tokio::test]
async fn a_child_whose_followups_glpi_copied_to_its_parent_was_deleted_and_not_merged() {
    let desk = glpi().await;
    let ((ours, _), (others, _)) = (desk.make(0).await, desk.make(0).await);
    let answer = json!({ "users_id": 8, "itemtype": "Ticket", "items_id": ours.id.parse::<u64>().unwrap(), "content": "an answer" });
    desk.fake.with(|glpi| {
        glpi.link(&ours.id, &others.id);
        glpi.follow_up(answer)
    });
    assert!(desk.kept(&others).to_string().contains("an answer"));
    desk.agent(&ours, json!({ "is_deleted": 1 }));
    let standing = read(&desk.vigie, &ours).await;
    assert_eq!((standing.state, standing.merged_into), (Some(State::Deleted), None));
    // Nor where the parent went into it, and got a copy of its own text back.
    desk.agent(&ours, json!({ "is_deleted": 0 }));
    desk.fake.with(|glpi| glpi.merge(&others.id, &ours.id));
    desk.agent(&ours, json!({ "is_deleted": 1 }));
    assert_eq!(read(&desk.vigie, &ours).await.merged_into, None);
}

#[tokio::test]
async fn what_was_merged_in_glpi_long_ago_is_still_the_ticket_that_it_went_into() {
    let desk = glpi().await;
    let ((ours, _), (others, _)) = (desk.make(0).await, desk.make(0).await);
    desk.fake.with(|glpi| glpi.merge(&ours.id, &others.id));
    // What comes to the one in the bin is copied to the other.
    for _ in 0..101 {
        let mail = json!({ "users_id": 8, "itemtype": "Ticket", "items_id": ours.id.parse::<u64>().unwrap(), "content": "a mail" });
        desk.fake.with(|glpi| glpi.follow_up(mail));
    }
    assert_eq!(read(&desk.vigie, &ours).await.merged_into, Some(others.id));
}

#[tokio::test]
async fn an_erasure_reaches_what_glpi_has_copied_of_ours() {
    let desk = glpi().await;
    let ((ours, ticket), (others, _)) = (desk.make(0).await, desk.make(0).await);
    desk.agent(&others, json!({ "name": "another's", "content": "another's" }));
    desk.fake.with(|glpi| glpi.link(&ours.id, &others.id));
    desk.vigie.note(&ours, &also(&ticket, json!({ "note": "wrote again" }))).await.unwrap();
    let answer = json!({ "users_id": 8, "itemtype": "Ticket", "items_id": ours.id.parse::<u64>().unwrap(), "content": "an answer" });
    desk.fake.with(|glpi| {
        glpi.follow_up(answer);
        glpi.merge(&ours.id, &others.id);
    });
    let kept = desk.kept(&others).to_string();
    assert!(kept.contains("wrote again") && kept.contains("kaput") && kept.contains("an answer"), "{kept}");
    let left = json!({ "subject": "erased", "body_html": "<p>Taken back.</p>" });
    for _ in 0..2 {
        desk.vigie.erase(&ours, &also(&ticket, left.clone())).await.unwrap();
    }
    let kept = desk.kept(&others).to_string();
    assert!(!kept.contains("wrote again") && !kept.contains("kaput") && kept.contains("an answer"), "{kept}");
    assert!(kept.contains("another's"), "{kept}");
    // Where it went is known as before.
    assert_eq!(read(&desk.vigie, &ours).await.merged_into, Some(others.id));
}

#[tokio::test]
async fn of_what_agents_split_in_zammad_title_and_reference_are_ours() {
    let desk = zammad().await;
    let (made, ticket) = desk.make(0).await;
    let reference = ticket["ref"].as_str().unwrap();
    let split = desk.fake.with(|zammad| zammad.split(&made.id, Instant::now()));
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![made.id.clone(), split.clone()]));
    let left = json!({ "subject": "erased", "body": "Taken back. What agents have copied of it, ..." });
    for id in [&made.id, &split] {
        desk.vigie.erase(&case(id), &also(&ticket, left.clone())).await.unwrap();
    }
    assert!(!desk.kept(&made).to_string().contains("kaput"));
    let kept = desk.kept(&case(&split));
    assert_eq!(kept["title"], "erased");
    // What the agent wrote there is the agent's to take out, who is told.
    let articles = kept["_articles"].as_array().unwrap();
    assert_eq!((articles.len(), &articles[0]["created_by"]), (2, &json!("ada@vigie.test")), "{kept}");
    assert!(articles[1]["body"].as_str().unwrap().contains("What agents have copied"), "{kept}");
}

#[tokio::test]
async fn of_what_agents_copy_in_glpi_the_text_goes_too() {
    let desk = glpi().await;
    let (made, ticket) = desk.make(0).await;
    let reference = ticket["ref"].as_str().unwrap();
    let copy = desk.fake.with(|glpi| glpi.clone_ticket(&made.id, Instant::now()));
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![made.id.clone(), copy.clone()]));
    let left = json!({ "subject": "erased", "body_html": format!("<p>Taken back.</p><p>vigie-ref: {reference}</p>") });
    for id in [&made.id, &copy] {
        desk.vigie.erase(&case(id), &also(&ticket, left.clone())).await.unwrap();
    }
    assert!(!desk.text().contains("kaput"), "{}", desk.text());
    // As it is erased it is still found.
    assert_eq!(desk.vigie.find(reference).await.unwrap(), Some(vec![made.id, copy]));
}

#[tokio::test]
async fn a_mail_that_quotes_ours_to_its_end_is_no_ticket_of_ours_in_glpi() {
    let desk = glpi().await;
    let ours = reference();
    let quotes = [
        format!("<p>Still broken!</p><blockquote><p>the post</p><p>vigie-ref: {ours}</p></blockquote>"),
        format!("<p>Still broken!</p><div><p>From: vigie</p><p>vigie-ref: {ours}</p></div>"),
        format!("Still broken!<br>&gt; the post<br>&gt; vigie-ref: {ours}"),
        format!("Still broken!\n> the post\n>\n> vigie-ref: {ours}\n"),
        format!("&#60;p&#62;Still broken!&#60;/p&#62;&#60;p&#62;&#38;gt; vigie-ref: {ours}&#60;/p&#62;"),
        format!("<p>As to vigie-ref: {ours}</p>"),
        // As some mail programs quote what they answer: below it, as it is.
        format!("Still broken!\n\nFrom: vigie\nthe post\n\nvigie-ref: {ours}\n"),
        format!("Still broken!<br />\nFrom: vigie<br />\nvigie-ref: {ours}"),
        format!("&#60;p&#62;Still broken!&#60;br&#62;vigie-ref: {ours}&#60;/p&#62;"),
        format!("<p>vigie-ref: {ours}</p><p>Still broken!</p>"),
    ];
    for body in &quotes {
        let quoting = also(&values(&desk.vigie, &ours, 0), json!({ "body": body, "body_html": body }));
        desk.vigie.create(&quoting).await.unwrap();
    }
    assert_eq!(desk.vigie.find(&ours).await.unwrap(), Some(Vec::new()));
    // However GLPI gives what we have sent.
    let mut made = Vec::new();
    for body in [
        format!("<blockquote>the post</blockquote><p>vigie-ref: {ours}</p>"),
        format!("&lt;blockquote&gt;the post&lt;/blockquote&gt;&lt;p&gt;vigie-ref: {ours}&lt;/p&gt;"),
        format!(
            "&#60;blockquote&#62;the post&#60;/blockquote&#62;&#60;p&#62;vigie-ref: {ours}&#60;/p&#62;\n"
        ),
        format!("<p>Taken back.</p>\n<p>vigie-ref: {ours}</p>"),
    ] {
        let ticket = also(&values(&desk.vigie, &ours, 0), json!({ "body": body, "body_html": body }));
        made.push(desk.vigie.create(&ticket).await.unwrap().id);
    }
    assert_eq!(desk.vigie.find(&ours).await.unwrap(), Some(made));
}
