//! Whether the helpdesk is there at all.

use std::time::Duration;

use hyper::{Method, Uri};

use super::{Test, Wrong, ok};
use crate::bridge::http::{Call, CallError, Http};

/// How long a name or a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

impl Test<'_> {
    /// Name, connection, certificate.
    pub(super) async fn reach(&self) -> Result<(), Wrong> {
        let uri: Uri = self.bridge.url.parse().map_err(|error| Wrong::new("address", error, ""))?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let advice =
            format!("is {host:?} written as your browser shows it, and does this machine's DNS know it?");
        let looked_up =
            tokio::time::timeout(CONNECT_MAX, tokio::net::lookup_host((host.as_str(), port))).await;
        let addresses: Vec<_> = match looked_up {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => return Err(Wrong::new("address", error, advice)),
            Err(_) => return Err(Wrong::new("address", "the name server does not answer", advice)),
        };
        let Some(first) = addresses.first() else {
            return Err(Wrong::new("address", "the name has no address", advice));
        };
        ok("address", &format!("{host} is {}", first.ip()));
        let advice = format!(
            "does the helpdesk run, is {port} its port, and may this machine reach it through firewalls and proxies?"
        );
        let tcp = tokio::time::timeout(CONNECT_MAX, tokio::net::TcpStream::connect(&*addresses)).await;
        match tcp {
            Ok(Ok(_)) => ok("connection", &format!("port {port} answers")),
            Ok(Err(error)) => return Err(Wrong::new("connection", error, advice)),
            Err(_) => {
                let what = format!("no answer within {} s", CONNECT_MAX.as_secs());
                return Err(Wrong::new("connection", what, advice));
            }
        }
        let roots = self.bridge.roots.as_deref().cloned();
        let http = Http::new(&self.bridge.url, roots, self.bridge.call_max);
        let call = Call { method: Method::GET, path: "/".into(), ..Call::default() };
        match http.call(call).await {
            Err(CallError::NotSent(what)) if is_tls => Err(Wrong::new(
                "certificate",
                what,
                "a certificate of your company's own authority needs ca_file; one that has run out needs a new one",
            )),
            Err(CallError::NotSent(what)) => Err(Wrong::new("connection", what, advice)),
            _ if is_tls => {
                ok("certificate", "");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
