//! Whether the address that the helpdesk calls answers, and knows the secret.
//!
//! What is sent is signed as the helpdesk signs and names no ticket: the daemon refuses its body, which it looks at only
//! if the secret is right. The same with another secret must be refused for that, else something answers that takes
//! everything.

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

use super::{Test, Wrong, note, ok};
use crate::bridge::config::Place;
use crate::bridge::http::{Answer, Call, CallError, Http};
use crate::bridge::preset::Webhook;
use crate::bridge::webhook::sign;

/// A body that names no ticket.
const NOTHING: &str = "{}";
/// Of a refusal of [`NOTHING`] by a vigie that knows the secret (`bridge/webhook.rs`).
const NO_TICKET: &str = "names no ticket";

/// Where webhooks are to go, as far as is known here.
enum Door {
    /// To this address, which the operator has named.
    Named(String),
    /// Straight to the daemon.
    Local(String),
    /// There is none that can be tried, and why.
    Unknown(&'static str),
}

impl Test<'_> {
    pub(super) async fn webhook(&self) -> Result<(), Wrong> {
        let seconds = self.bridge.poll_interval.as_secs();
        let asked = format!("what becomes of tickets is asked every {seconds} s");
        let calls = &self.helpdesk.preset().calls;
        let webhook = match (&calls.webhook, self.bridge.webhook_secret.secret()) {
            (None, _) if calls.read.is_none() => {
                note("webhooks", "none, and this helpdesk's API does not say what becomes of tickets");
                return Ok(());
            }
            (None, _) => {
                note("webhooks", &format!("this helpdesk sends none; {asked}"));
                return Ok(());
            }
            (Some(_), "") => {
                note("webhooks", &format!("no webhook_secret_file; {asked}"));
                return Ok(());
            }
            (Some(webhook), _) => webhook,
        };
        if self.bridge.place == Place::Apart {
            note("webhooks", &format!("they do not reach a bridge that runs apart; {asked}"));
            return Ok(());
        }
        let (base, is_named) = match self.door()? {
            Door::Named(base) => (base, true),
            Door::Local(base) => (base, false),
            Door::Unknown(why) => {
                note("webhooks", &format!("not tried: {why}; {asked}"));
                return Ok(());
            }
        };
        let name = &self.bridge.name;
        let address = format!("{}/v1/bridge/{name}", base.trim_end_matches('/'));
        let secret = self.bridge.webhook_secret.secret();
        match self.sent(webhook, &base, secret).await {
            Err(CallError::Refused { status: 400, words }) if words.contains(NO_TICKET) => {}
            Err(CallError::Refused { status: 401, .. }) => {
                return Err(Wrong::new(
                    "webhook secret",
                    format!("what answers at {address} does not take it"),
                    "the daemon that runs has another secret, or was started before this config: restart vigie, and \
                     test again",
                ));
            }
            Err(error @ CallError::NotSent(_)) if !is_named => {
                note(
                    "webhooks",
                    &format!("not tried, as no vigie runs here ({error}); test again when it does"),
                );
                return Ok(());
            }
            Err(error @ CallError::NotSent(_)) => {
                let advice = "webhook_url is where the helpdesk reaches vigie, and this machine does not: do name, port and \
                    certificate fit, and does the proxy run?";
                return Err(Wrong::new("webhook address", error, advice));
            }
            other => {
                let what = match other {
                    Ok(answer) => format!("{address} answers {}", answer.status),
                    Err(error) => format!("{address}: {error}"),
                };
                let advice = "what answers there is no vigie that takes webhooks: does the proxy pass /v1/bridge on to \
                    [http] listen, bodies and headers as they come?";
                return Err(Wrong::new("webhook address", what, advice));
            }
        }
        match self.sent(webhook, &base, &format!("not {secret}")).await {
            Err(CallError::Refused { status: 401, .. }) => {}
            _ => {
                let what = format!("{address} takes another one, too");
                return Err(Wrong::new("webhook secret", what, "what answers there is no vigie"));
            }
        }
        let how = match &webhook.signature_header {
            Some(header) => format!("signed in {header}"),
            None => "with the secret at its end".to_owned(),
        };
        ok("webhooks", &format!("{address} answers and knows the secret, {how}; besides, {asked}"));
        if !is_named {
            let what = "whether the helpdesk reaches that is only known with webhook_url, the console's address as it is \
                from there";
            note("webhooks", what);
        }
        Ok(())
    }

    fn door(&self) -> Result<Door, Wrong> {
        if let Some(url) = &self.bridge.webhook_url {
            return Ok(Door::Named(url.clone()));
        }
        let Some(listen) = self.config.console.listen else {
            let advice = "webhooks come to the console: give [http] listen an address, or leave webhook_secret_file out";
            return Err(Wrong::new("webhook address", "[http] listen is empty", advice));
        };
        if !listen.ip().is_loopback() && self.config.access.roster().tls().is_some() {
            return Ok(Door::Unknown("[http] listen speaks TLS; webhook_url says by which name"));
        }
        let is_any = listen.ip().is_unspecified();
        let host = if is_any { "127.0.0.1".to_owned() } else { listen.ip().to_string() };
        let host = if listen.is_ipv6() && !is_any { format!("[{host}]") } else { host };
        Ok(Door::Local(format!("http://{host}:{}", listen.port())))
    }

    /// What the console answers to [`NOTHING`], signed with this.
    async fn sent(&self, webhook: &Webhook, base: &str, secret: &str) -> Result<Answer, CallError> {
        let timestamp = jiff::Timestamp::now().to_string();
        let signed = sign(webhook, secret, &timestamp, NOTHING.as_bytes());
        let headers = signed.headers.iter().filter_map(|(name, value)| {
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
        });
        let end = percent_encoding::utf8_percent_encode(&signed.secret, percent_encoding::NON_ALPHANUMERIC);
        let slash = if signed.secret.is_empty() { "" } else { "/" };
        let call = Call {
            method: Method::POST,
            path: format!("/v1/bridge/{}{slash}{end}", self.bridge.name),
            headers: headers.collect(),
            body: Some(NOTHING.to_owned()),
            ..Call::default()
        };
        let roots = self.bridge.roots.as_deref().cloned();
        Http::new(base, roots, self.bridge.call_max).call(call).await
    }
}
