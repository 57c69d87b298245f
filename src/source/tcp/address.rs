//! Where a sender listens: a host and a port.

use std::fmt;
use std::net::SocketAddr;

use crate::source::Mistake;

/// A host name or IP address, and a port. Names are looked up anew for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// From `host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn parse(text: &str) -> Result<Address, Mistake> {
        let is_name = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        // `parse` alone would take a sign.
        let is_port = |port: &str| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        let is_right = text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0)
            || text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && is_port(port));
        if is_right {
            return Ok(Address(text.to_owned()));
        }
        let accepted = "must be a host and a port, as 127.0.0.1:6020".to_owned();
        Err(Mistake { key: "tcp", value: format!("{text:?}"), accepted })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let check = |text: &str, is_right: bool| {
            assert_eq!(Address::parse(text).is_ok(), is_right, "{text:?}");
        };
        for text in ["127.0.0.1:6020", "[::1]:6020", "localhost:1", "feed-1.example.org:65535"] {
            check(text, true);
        }
        for text in [
            "",
            "localhost",
            ":6020",
            "localhost:",
            "localhost:0",
            "127.0.0.1:0",
            "h:65536",
            "::1:6020",
            "a b:1",
        ] {
            check(text, false);
        }
        for text in ["tcp://h:1", "h:1/path", "h:+", "h:+80", "127.0.0.1:+80", "[::1]:+80", "[::1]"] {
            check(text, false);
        }
        let mistake = Address::parse("localhost").unwrap_err().to_string();
        assert_eq!(mistake, "tcp = \"localhost\": must be a host and a port, as 127.0.0.1:6020");
    }
}
