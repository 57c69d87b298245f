//! What must hold of webhooks, whatever somebody sends.

use std::sync::LazyLock;

use tokio::sync::mpsc;

use super::{Hint, ID_BYTES_MAX, Inbox, Refusal, sign};
use crate::bridge::preset::{BUILT_IN, Preset, Webhook};
use crate::trials::Bytes;

const SECRET: &str = "a secret that nobody guesses";

/// Text and webhook of each preset that has one.
static PRESETS: LazyLock<Vec<(&str, Webhook)>> = LazyLock::new(|| {
    let read = |(_, text): &(&'static str, &'static str)| {
        let preset = Preset::parse(text).expect("a test reads each built-in preset");
        preset.calls.webhook.map(|webhook| (*text, webhook))
    };
    BUILT_IN.iter().filter_map(read).collect()
});

/// A request is taken only if it shows the secret; then its body names a ticket or is refused, and no id is empty or
/// longer than the case store is asked for.
pub(crate) fn webhook(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (preset, webhook) = &PRESETS[bytes.under(PRESETS.len())];
    let guess_bytes = bytes.under(64);
    let guess = String::from_utf8_lossy(bytes.take(guess_bytes)).into_owned();
    let body = bytes.rest();
    let (sender, mut ids) = mpsc::channel(1);
    let preset = Preset::parse(preset).expect("it was read before");
    let inbox = Inbox::new("desk", preset, SECRET, sender).expect("it has a webhook and a secret");

    let header = webhook.signature_header.as_deref().unwrap_or("x-signature");
    let time = webhook.timestamp_header.as_deref().unwrap_or("x-time");
    let taken = inbox.take(&Hint { secret: &guess, headers: &[(header, &guess), (time, &guess)], body });
    assert!(taken.is_err_and(|refusal| refusal.is_guess()), "a guess is taken: {guess:?}");

    let signed = sign(webhook, SECRET, &guess, body);
    let headers: Vec<(&str, &str)> =
        signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    match inbox.take(&Hint { secret: &signed.secret, headers: &headers, body }) {
        Ok(waits) => {
            let id = ids.try_recv().ok();
            assert!(waits && id.is_some_and(|id| (1..=ID_BYTES_MAX).contains(&id.len())));
        }
        Err(Refusal::Body(_)) => assert!(serde_json::from_slice::<serde_json::Value>(body).is_err()),
        Err(Refusal::Ticket(_)) => {}
        Err(refusal) => panic!("what is signed is refused: {refusal}"),
    }
}
