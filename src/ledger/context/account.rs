//! Accounts as they are kept and looked up.

use super::{ACCOUNT_BYTES_MAX, quoted};
use crate::parse::Network;

/// An id or handle as it is kept and looked up: without the leading `@`, in lower case.
pub fn account_name(given: &str) -> String {
    let given = given.trim();
    given.strip_prefix('@').unwrap_or(given).to_lowercase()
}

/// The name of an account, if there can be such a one on this network.
///
/// # Errors
///
/// It is too long, or no id or handle of the network looks like it.
pub fn account(network: Network, given: &str) -> Result<String, String> {
    let account = account_name(given);
    if account.is_empty() || account.len() > ACCOUNT_BYTES_MAX {
        return Err(format!(
            "{network} has an account of {} bytes: must be 1 to {ACCOUNT_BYTES_MAX}",
            account.len()
        ));
    }
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let (fits, must) = match network {
        Network::Bluesky => (
            account.starts_with("did:") || (account.contains('.') && !account.contains('/')),
            "a DID or a handle, such as ana.bsky.social",
        ),
        Network::Mastodon => (
            account.contains("://")
                || account.split_once('@').is_some_and(|(user, at)| !user.is_empty() && at.contains('.')),
            "user@server, or the account's id, an address",
        ),
        Network::X => (is_word(&account), "a number, or a screen name of letters, digits and _"),
        Network::Facebook | Network::Plain => (true, "without control characters"),
    };
    if fits && !account.chars().any(char::is_control) {
        Ok(account)
    } else {
        Err(format!("{network} = {}: must be {must}", quoted(given)))
    }
}
