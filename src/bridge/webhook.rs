//! A request that the helpdesk sends of itself → the id of a ticket to be read.
//!
//! It is a hint and nothing is believed of it: what has become of the ticket is asked of the helpdesk. So an old request
//! that somebody sends again does no harm but a call, and its age is not looked at. What is signed, and how, the preset
//! says; where it says nothing the secret is the address's last part.

mod signature;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;

use minijinja::Value;
use serde_json::json;
use tokio::sync::mpsc;

pub(crate) use self::signature::from_base64;
pub use self::signature::{Signed, sign};

use self::signature::check;
use super::helpdesk::{id_of, seen_by};
use super::preset::Preset;

/// Longest id of a ticket, in bytes.
const ID_BYTES_MAX: usize = 200;

/// Where one bridge's webhooks come in.
pub struct Inbox {
    name: String,
    preset: Preset,
    secret: String,
    ids: mpsc::Sender<String>,
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not shown that the helpdesk sent it.
    #[error("the signature is missing or wrong: is webhook_secret_file what the helpdesk signs with?")]
    Signature,
    /// The same, where it signs nothing.
    #[error("the secret at the end of the address is missing or wrong")]
    Secret,
    /// It is no JSON.
    #[error("the body is no JSON: {0}")]
    Body(String),
    /// It names no ticket.
    #[error("the body names no ticket: {0}")]
    Ticket(String),
}

impl Refusal {
    /// Whether somebody may be guessing.
    pub fn is_guess(&self) -> bool {
        matches!(self, Refusal::Signature | Refusal::Secret)
    }
}

/// What comes.
#[derive(Debug, Clone, Copy)]
pub struct Hint<'r> {
    /// What the address has behind the bridge's name.
    pub secret: &'r str,
    /// Names in lower case.
    pub headers: &'r [(&'r str, &'r str)],
    /// As sent.
    pub body: &'r [u8],
}

impl Hint<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value)
    }
}

impl Inbox {
    /// For the bridge of this name, whose ids go into `ids`. `None` where its helpdesk sends nothing, or no secret is
    /// given.
    pub fn new(name: &str, preset: Preset, secret: &str, ids: mpsc::Sender<String>) -> Option<Inbox> {
        preset.calls.webhook.as_ref()?;
        if secret.is_empty() {
            return None;
        }
        Some(Inbox { name: name.to_owned(), preset, secret: secret.to_owned(), ids })
    }

    /// The bridge's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes a request; gives whether its ticket waits to be read. Where too many wait it is found without the hint.
    ///
    /// # Errors
    ///
    /// It is not the helpdesk's, or not of a ticket.
    pub fn take(&self, hint: &Hint<'_>) -> Result<bool, Refusal> {
        let Some(webhook) = &self.preset.calls.webhook else { return Err(Refusal::Secret) };
        check(webhook, self.secret.as_bytes(), hint)?;
        let event: serde_json::Value =
            serde_json::from_slice(hint.body).map_err(|error| Refusal::Body(error.to_string()))?;
        let headers: std::collections::BTreeMap<&str, &str> = hint.headers.iter().copied().collect();
        let seen: Value = seen_by(&json!({ "event": event, "headers": headers }));
        let id = self.preset.evaluate("webhook.id", &webhook.id, &seen);
        let id = id.map_err(|error| Refusal::Ticket(error.to_string()))?;
        let id = id_of(&id).filter(|id| id.len() <= ID_BYTES_MAX);
        let id = id.ok_or_else(|| Refusal::Ticket(format!("{} is no id", webhook.id)))?;
        Ok(self.ids.try_send(id).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::preset::{BUILT_IN, Webhook};

    /// With the digests of RFC 2202 and RFC 4231: case 2, key "Jefe".
    const WHAT: &[u8] = b"what do ya want for nothing?";

    fn inbox(kind: &str, secret: &str) -> (Inbox, mpsc::Receiver<String>) {
        let (_, text) = BUILT_IN.iter().find(|(name, _)| *name == kind).unwrap();
        let (ids, taken) = mpsc::channel(2);
        (Inbox::new("desk", Preset::parse(text).unwrap(), secret, ids).unwrap(), taken)
    }

    fn webhook(text: &str) -> Webhook {
        toml::from_str(&format!("id = \"event.id\"\n{text}")).unwrap()
    }

    #[track_caller]
    fn checked(webhook: &Webhook, headers: &[(&str, &str)], body: &[u8], is_right: bool) {
        let hint = Hint { secret: "", headers, body };
        assert_eq!(check(webhook, b"Jefe", &hint).is_ok(), is_right, "{headers:?}");
    }

    #[test]
    fn signatures_are_those_of_the_standards() {
        let sha1 = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        let legacy = webhook("signature_header = \"X-Sig\"\nsignature_prefix = \"sha1=\"\ndigest = \"sha1\"");
        checked(&legacy, &[("x-sig", &format!("sha1={sha1}"))], WHAT, true);
        checked(&legacy, &[("x-sig", sha1)], WHAT, false);
        checked(&legacy, &[("x-sig", &format!("sha1={}", sha1.replace('e', "f")))], WHAT, false);
        checked(&legacy, &[("x-sig", "sha1=")], WHAT, false);
        checked(&legacy, &[], WHAT, false);
        let sha256 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let modern = webhook("signature_header = \"X-Sig\"");
        checked(&modern, &[("x-sig", sha256)], WHAT, true);
        checked(&modern, &[("x-sig", &sha256.to_uppercase())], WHAT, true);
        checked(&modern, &[("x-sig", sha256)], b"what do ya want for nothing!", false);
        checked(&modern, &[("x-sig", &sha256[..62])], WHAT, false);
    }

    #[test]
    fn a_timestamp_is_signed_with_the_body_and_base64_is_read() {
        let stamped =
            webhook("signature_header = \"X-Sig\"\nencoding = \"base64\"\ntimestamp_header = \"X-Time\"");
        let base64 = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
        checked(&stamped, &[("x-time", "what do ya "), ("x-sig", base64)], b"want for nothing?", true);
        checked(&stamped, &[("x-time", "what do ya!"), ("x-sig", base64)], b"want for nothing?", false);
        checked(&stamped, &[("x-sig", base64)], WHAT, false);
        checked(&stamped, &[("x-time", "what do ya "), ("x-sig", "W9?")], b"want for nothing?", false);
        let after = webhook(
            "signature_header = \"X-Sig\"\nencoding = \"base64\"\ntimestamp_header = \"X-Time\"\ntimestamp_comes = \"after\"",
        );
        checked(&after, &[("x-time", "want for nothing?"), ("x-sig", base64)], b"what do ya ", true);
        checked(&after, &[("x-time", "what do ya "), ("x-sig", base64)], b"want for nothing?", false);
    }

    /// As GLPI's `Webhook::raise` puts it together: body, then seconds since 1970, both signed; the digests are those that
    /// `hash_hmac('sha256', $body . $timestamp, 'Jefe')` gives.
    #[test]
    fn what_glpi_sends_is_taken_and_what_is_forged_is_not() {
        let (inbox, mut ids) = inbox("glpi", "Jefe");
        let body = "{\n    \"item\": {\n        \"id\": 17\n    },\n    \"event\": \"update\"\n}";
        let signature = "ba96134d4062a4297e32bf34c29e9b0e8d5a01d2805dc5064d46c53664635c2a";
        let take = |secret: &str, time: &str, signature: &str, body: &str| {
            let headers = [("x-glpi-signature", signature), ("x-glpi-timestamp", time)];
            inbox.take(&Hint { secret, headers: &headers, body: body.as_bytes() })
        };
        assert_eq!(take("", "1795741200", signature, body), Ok(true));
        assert_eq!(ids.try_recv().unwrap(), "17");
        // Its queue sends hours later, and again: it is a hint, and the ticket is read.
        assert_eq!(take("", "1795741200", signature, body), Ok(true));
        assert_eq!(ids.try_recv().unwrap(), "17");
        let other = body.replace("17", "18");
        for (secret, time, signature, body) in [
            ("", "1795741201", signature, body),
            ("", "1795741200", signature, other.as_str()),
            ("", "1795741200", &signature.replace('a', "b"), body),
            ("", "1795741200", "", body),
            // As it was before vigie knew of the signature: the secret in the address shows nothing.
            ("Jefe", "", "", body),
        ] {
            assert_eq!(
                take(secret, time, signature, body),
                Err(Refusal::Signature),
                "{time} {signature} {body}"
            );
        }
        let unsigned = inbox.take(&Hint { secret: "Jefe", headers: &[], body: body.as_bytes() });
        assert_eq!(unsigned, Err(Refusal::Signature));
    }

    #[test]
    fn what_is_signed_here_is_taken_and_nothing_else_is() {
        for (kind, text) in BUILT_IN {
            let Some(webhook) = Preset::parse(text).unwrap().calls.webhook else { continue };
            let (inbox, _ids) = inbox(kind, "Jefe");
            let take = |signed: &Signed, body: &[u8]| {
                let headers: Vec<(&str, &str)> =
                    signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                inbox.take(&Hint { secret: &signed.secret, headers: &headers, body })
            };
            let signed = sign(&webhook, "Jefe", "2026-11-27T05:00:00Z", b"{}");
            assert!(matches!(take(&signed, b"{}"), Err(Refusal::Ticket(_))), "{kind}");
            assert!(take(&sign(&webhook, "jefe", "1", b"{}"), b"{}").unwrap_err().is_guess(), "{kind}");
            let is_signed = webhook.signature_header.is_some();
            assert_eq!(take(&signed, b"{ }").unwrap_err().is_guess(), is_signed, "{kind}");
        }
    }

    #[test]
    fn who_signs_nothing_shows_the_secret_and_whoever_lacks_it_is_refused() {
        let (inbox, mut ids) = inbox("chatwoot", "s3cret");
        let body = br#"{"event": "conversation_status_changed", "id": 17}"#;
        let take = |secret| inbox.take(&Hint { secret, headers: &[], body });
        assert_eq!(take("s3cret"), Ok(true));
        assert_eq!(ids.try_recv().unwrap(), "17");
        for wrong in ["", "s3cre", "s3crets", "S3CRET"] {
            assert_eq!(take(wrong), Err(Refusal::Secret));
        }
        let (_, text) = BUILT_IN.iter().find(|(name, _)| *name == "chatwoot").unwrap();
        let (sender, _taken) = mpsc::channel(1);
        assert!(Inbox::new("desk", Preset::parse(text).unwrap(), "", sender).is_none(), "no secret, no door");
    }

    #[test]
    fn what_names_no_ticket_is_refused_and_too_many_hints_are_dropped() {
        let (inbox, _ids) = inbox("chatwoot", "s");
        let take = |body: &str| inbox.take(&Hint { secret: "s", headers: &[], body: body.as_bytes() });
        assert!(matches!(take("<html>"), Err(Refusal::Body(_))));
        for body in ["{}", "[]", r#"{"id": []}"#, r#"{"id": ""}"#, r#"{"conversation": {}}"#] {
            assert!(matches!(take(body), Err(Refusal::Ticket(_))), "{body}");
        }
        let long = format!(r#"{{"id": "{}"}}"#, "9".repeat(201));
        assert!(matches!(take(&long), Err(Refusal::Ticket(_))));
        let hint = r#"{"id": 1}"#;
        assert_eq!([take(hint), take(hint), take(hint)], [Ok(true), Ok(true), Ok(false)]);
    }
}
