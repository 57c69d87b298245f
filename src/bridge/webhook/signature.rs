//! What helpdesks sign their requests with, and how it is written.

use ring::hmac;

use super::{Hint, Refusal};
use crate::bridge::preset::{Comes, Digest, Encoding, Webhook, base64};

/// What shows that a request is the helpdesk's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What the address has behind the bridge's name; empty where the request is signed.
    pub secret: String,
    /// Name and value.
    pub headers: Vec<(String, String)>,
}

/// Signs a body as the helpdesk would. `timestamp` is what stands in the header for it, if there is one.
pub fn sign(webhook: &Webhook, secret: &str, timestamp: &str, body: &[u8]) -> Signed {
    let Some(header) = &webhook.signature_header else {
        return Signed { secret: secret.to_owned(), headers: Vec::new() };
    };
    let timestamp = webhook.timestamp_header.as_ref().map(|name| (name.clone(), timestamp.to_owned()));
    let time = timestamp.as_ref().map_or("", |(_, timestamp)| timestamp);
    let tag = hmac::sign(&key(webhook, secret.as_bytes()), &what_is_signed(webhook, time, body));
    let signature = match webhook.encoding {
        Encoding::Hex => tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        Encoding::Base64 => base64(tag.as_ref()),
    };
    let signature = (header.clone(), format!("{}{signature}", webhook.signature_prefix));
    Signed { secret: String::new(), headers: timestamp.into_iter().chain([signature]).collect() }
}

/// Whether who sent this knows the secret. How long it takes tells nothing of how much was right.
pub(super) fn check(webhook: &Webhook, secret: &[u8], hint: &Hint<'_>) -> Result<(), Refusal> {
    let Some(header) = &webhook.signature_header else {
        // Digests are compared: they are of one length, whatever was given.
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let expected = hmac::sign(&key, secret);
        let is_right = hmac::verify(&key, hint.secret.as_bytes(), expected.as_ref()).is_ok();
        return if is_right { Ok(()) } else { Err(Refusal::Secret) };
    };
    let given = hint.header(header).and_then(|given| given.trim().strip_prefix(&webhook.signature_prefix));
    let signature = given.and_then(|given| match webhook.encoding {
        Encoding::Hex => from_hex(given),
        Encoding::Base64 => from_base64(given),
    });
    let timestamp = match &webhook.timestamp_header {
        Some(name) => hint.header(name).ok_or(Refusal::Signature)?,
        None => "",
    };
    let signed = what_is_signed(webhook, timestamp, hint.body);
    let signature = signature.ok_or(Refusal::Signature)?;
    hmac::verify(&key(webhook, secret), &signed, &signature).map_err(|_| Refusal::Signature)
}

fn what_is_signed(webhook: &Webhook, timestamp: &str, body: &[u8]) -> Vec<u8> {
    match webhook.timestamp_comes {
        Comes::Before => [timestamp.as_bytes(), body].concat(),
        Comes::After => [body, timestamp.as_bytes()].concat(),
    }
}

fn key(webhook: &Webhook, secret: &[u8]) -> hmac::Key {
    let algorithm = match webhook.digest {
        Digest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Digest::Sha256 => hmac::HMAC_SHA256,
    };
    hmac::Key::new(algorithm, secret)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// With or without its padding (RFC 4648 section 4).
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::with_capacity(text.len());
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0;
        for place in 0..4 {
            bits = bits << 6 | group.get(place).map_or(Some(0), |byte| value(*byte))?;
        }
        let [_, whole @ ..] = bits.to_be_bytes();
        bytes.extend(whole.iter().take(group.len().checked_sub(1).filter(|bytes| *bytes > 0)?));
    }
    Some(bytes)
}
