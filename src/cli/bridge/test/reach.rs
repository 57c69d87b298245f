//! Whether the helpdesk is there at all.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::{Method, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Test, Wrong, note, ok};
use crate::bridge::http::{Answer, Call, CallError, Http};

/// How long a name or a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long the first answer may take: whatever it is.
const FIRST_MAX: Duration = Duration::from_secs(5);

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
        let tcp = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(&*addresses)).await;
        match tcp {
            // Not kept open: some take one at a time.
            Ok(Ok(stream)) => {
                drop(stream);
                ok("connection", &format!("port {port} answers"));
            }
            Ok(Err(error)) => return Err(Wrong::new("connection", error, advice)),
            Err(_) => {
                let what = format!("no answer within {} s", CONNECT_MAX.as_secs());
                return Err(Wrong::new("connection", what, advice));
            }
        }
        let roots = self.bridge.roots.as_deref().cloned();
        let http = Http::new(&self.bridge.url, roots, 2 * FIRST_MAX);
        let call = Call { method: Method::GET, path: "/".into(), ..Call::default() };
        let first_max = self.bridge.call_max.min(FIRST_MAX);
        let called = tokio::time::timeout(first_max, http.call(call)).await.ok();
        if is_tls && may_be_plain(called.as_ref()) && speaks_plainly(&addresses).await {
            let what = format!("what answers on port {port} does not speak TLS here, but plain HTTP");
            let advice =
                "give the port that speaks TLS, or begin url with http:// where nobody else is on the way";
            return Err(Wrong::new("certificate", what, advice));
        }
        let late = || Err(CallError::Unclear(format!("no answer within {} s", first_max.as_secs())));
        match called.unwrap_or_else(late) {
            Err(CallError::NotSent(what)) if is_tls => {
                let advice = about_certificate(&what);
                Err(Wrong::new("certificate", what, advice))
            }
            Err(CallError::NotSent(what)) => Err(Wrong::new("connection", what, advice)),
            Err(CallError::Unclear(what)) if is_tls => {
                note("certificate", &format!("nothing is known of it: {what}"));
                Ok(())
            }
            _ if is_tls => {
                ok("certificate", "");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a call that ended so, or not in time, may be one to which nobody speaks TLS: who waits for the end of a line
/// never gets one of TLS. Whatever has answered speaks it.
fn may_be_plain(called: Option<&Result<Answer, CallError>>) -> bool {
    matches!(called, None | Some(Err(CallError::NotSent(_))))
}

/// Whether what listens there answers to HTTP without TLS. Servers with TLS answer that it is a bad request.
async fn speaks_plainly(addresses: &[SocketAddr]) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(addresses).await.ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        Some(head.starts_with(b"HTTP/1.") && !head.ends_with(b" 400"))
    };
    tokio::time::timeout(FIRST_MAX, asking).await.ok().flatten().unwrap_or(false)
}

/// What to do about a certificate of which TLS says this.
fn about_certificate(what: &str) -> &'static str {
    if what.contains("UnknownIssuer") {
        "nobody whom this machine trusts has signed it. Give a file with the certificate (PEM) of who has, your company's own \
         authority, or with the certificate itself where it has signed itself, as ca_file in the [[bridge]]"
    } else if what.contains("CaUsedAsEndEntity") {
        "it has signed itself and says that it is an authority, which no server may use as its own. Make it anew: openssl req \
         -x509 with -addext basicConstraints=critical,CA:FALSE, and give it as ca_file in the [[bridge]]"
    } else if what.contains("NotValidForName") {
        "it is for another name: write url with the name that the certificate has"
    } else if what.contains("Expired") {
        "it has run out, and needs a new one; or this machine's clock is wrong"
    } else {
        "a certificate of your company's own authority needs ca_file in the [[bridge]]; one that has run out needs a new one"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_answered_over_tls_is_asked_nothing_without_it() {
        let refused = CallError::Refused { status: 404, words: String::new() };
        let trouble = CallError::Trouble { status: 500, words: String::new(), wait: None };
        for answered in [refused, trouble, CallError::Unclear("it hangs up".to_owned())] {
            assert!(!may_be_plain(Some(&Err(answered))));
        }
        assert!(may_be_plain(Some(&Err(CallError::NotSent("corrupt message".to_owned())))));
        assert!(may_be_plain(None), "nothing within its time");
    }
}
