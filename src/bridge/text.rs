//! What agents read: a ticket's subject and body, and notes of what has happened since.

use crate::ticket::proto::update::{Change, overdue};
use crate::ticket::proto::{Ticket, Update};

/// Of a post's text in a subject, in characters.
const SUBJECT_CHARS_MAX: usize = 80;

/// A ticket's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// One line.
    pub subject: String,
    /// Plain text; its last line is our reference.
    pub body: String,
}

/// The words of a new ticket.
pub fn of_ticket(ticket: &Ticket, reference: &str) -> Text {
    let post = ticket.post.clone().unwrap_or_default();
    let author = post.author.clone().unwrap_or_default();
    let name = [&author.name, &author.handle, &author.id].into_iter().find(|name| !name.is_empty());
    let name = name.cloned().unwrap_or_default();
    let line: String = post.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().take(SUBJECT_CHARS_MAX).collect();
    let factors: Vec<String> = ticket
        .factors
        .iter()
        .map(|factor| format!("{} {:+} ({})", factor.name, factor.points, factor.evidence))
        .collect();
    Text {
        subject: format!("[{}] {name}: {line}", ticket.level().as_str_name()),
        body: format!(
            "{}\n\n{}\n{name} on {}\n\n{}\n\nvigie-ref: {reference}",
            post.text,
            post.url,
            post.network,
            factors.join("\n"),
        ),
    }
}

/// What is left of a ticket whose author has taken the post back.
pub fn of_erased(reference: &str) -> Text {
    Text {
        subject: "The author has deleted this post".to_owned(),
        body: format!("The author has deleted this post; its text was removed.\n\nvigie-ref: {reference}"),
    }
}

/// What agents are told of a change; empty: nothing.
pub fn of_update(update: &Update) -> String {
    match &update.change {
        Some(Change::Edited(edited)) => format!("The author has changed the text:\n\n{}", edited.text),
        Some(Change::FollowedUp(followed)) => {
            let post = followed.post.clone().unwrap_or_default();
            format!("Another post in this conversation:\n\n{}\n\n{}", post.text, post.url)
        }
        Some(Change::Answered(answered)) => {
            format!("{} has answered on the network: {}", answered.account, answered.url)
        }
        Some(Change::Overdue(overdue)) => match overdue.state() {
            overdue::State::AtRisk => "The answer is due soon.".to_owned(),
            _ => "The answer is late.".to_owned(),
        },
        Some(Change::Assigned(assigned)) => {
            let assignment = assigned.assignment.clone().unwrap_or_default();
            let whose = [&assignment.team, &assignment.agent, &assignment.supplier];
            let whose: Vec<&str> =
                whose.into_iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
            format!("Now with {} ({})", whose.join(", "), assignment.reasons.join("; "))
        }
        Some(Change::Rescored(rescored)) if rescored.unsupported => {
            "Read again, in full: this may be no customer's message.".to_owned()
        }
        Some(Change::PostErased(_)) => {
            "The author has deleted a post that is quoted here; please remove its text.".to_owned()
        }
        Some(Change::Rescored(_) | Change::Erased(_)) | None => String::new(),
    }
}
