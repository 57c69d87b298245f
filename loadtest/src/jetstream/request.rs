//! The HTTP request that opens a subscription.
//!
//! Read here rather than by the WebSocket library, which takes at most 64 KiB: a subscription to 10,000 DIDs
//! is half a megabyte. Nothing is upgraded before every parameter has been found right.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::subscription::Opening;

/// Longest request head, in bytes: the default of Go's HTTP server, which Jetstream runs on.
const HEAD_BYTES_MAX: usize = 1 << 20;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A request that we can answer with an upgrade.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) opening: Opening,
    /// The value of `Sec-WebSocket-Accept`.
    accept: String,
    /// What came after the head.
    pub(super) rest: Vec<u8>,
}

impl Upgrade {
    /// The answer that turns the connection into a WebSocket.
    pub(super) fn answer(&self) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            self.accept
        )
    }
}

/// A request that we turn down.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: &'static str,
    reason: String,
}

impl Refusal {
    pub(super) fn new(status: &'static str, reason: impl Into<String>) -> Refusal {
        Refusal { status, reason: reason.into() }
    }

    /// The answer, which names what is wrong.
    pub(super) fn answer(&self) -> String {
        format!(
            "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: {}\
             \r\n\r\n{}\n",
            self.status,
            self.reason.len() + 1,
            self.reason
        )
    }
}

/// Reads one request.
///
/// # Errors
///
/// Answer the refusal and close.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Upgrade, Refusal> {
    let mut bytes = Vec::with_capacity(4_096);
    let end = loop {
        let seen = bytes.len().saturating_sub(END_OF_HEAD.len());
        let read = stream.read_buf(&mut bytes).await.unwrap_or(0);
        if let Some(at) = find(bytes.get(seen..).unwrap_or_default(), END_OF_HEAD) {
            break seen + at;
        }
        if read == 0 {
            return Err(bad("the request ends before its head does"));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Refusal::new(
                "431 Request Header Fields Too Large",
                format!("the request's head is longer than {HEAD_BYTES_MAX} bytes"),
            ));
        }
    };
    let rest = bytes.split_off(end + END_OF_HEAD.len());
    bytes.truncate(end);
    let head = std::str::from_utf8(&bytes).map_err(|_| bad("the request's head is not UTF-8"))?;
    let (opening, accept) = understand(head)?;
    Ok(Upgrade { opening, accept, rest })
}

fn understand(head: &str) -> Result<(Opening, String), Refusal> {
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (request_line.next(), request_line.next(), request_line.next(), request_line.next())
    else {
        return Err(bad("the first line is no HTTP/1.1 request"));
    };
    let header = |wanted: &str| {
        head.split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != "/subscribe" {
        return Err(Refusal::new("404 Not Found", format!("{path} is not served here, only /subscribe")));
    }
    if method != "GET" {
        return Err(Refusal::new("405 Method Not Allowed", format!("{method} is not served, only GET")));
    }
    if header("socket-encoding").is_some_and(|encoding| encoding.contains("zstd")) {
        return Err(bad("Socket-Encoding: zstd is not offered yet: leave it out"));
    }
    let opening = Opening::from_query(query).map_err(|invalid| bad(invalid.to_string()))?;
    let lists = |value: Option<&str>, token: &str| {
        value.is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if !lists(header("upgrade"), "websocket") || !lists(header("connection"), "upgrade") {
        return Err(Refusal::new("426 Upgrade Required", "/subscribe is a WebSocket"));
    }
    if header("sec-websocket-version") != Some("13") {
        return Err(bad("Sec-WebSocket-Version must be 13"));
    }
    // 16 bytes in base64.
    let key = header("sec-websocket-key").filter(|key| key.len() == 24 && key.ends_with("=="));
    let key = key.ok_or_else(|| bad("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    Ok((opening, derive_accept_key(key.as_bytes())))
}

fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new("400 Bad Request", reason)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "Host: x\r\nConnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[tokio::test]
    async fn an_upgrade_is_answered_with_the_key_of_the_specification() {
        // RFC 6455, 1.3: the key "dGhlIHNhbXBsZSBub25jZQ==" is accepted with this value.
        let request = format!("GET /subscribe?requireHello=true HTTP/1.1\r\n{UPGRADE}after");
        let upgrade = read(&mut request.as_bytes()).await.unwrap();
        assert!(upgrade.answer().contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(upgrade.opening.hello_required);
        assert_eq!(upgrade.rest, b"after");
    }

    #[tokio::test]
    async fn a_wrong_request_is_answered_with_what_is_wrong() {
        async fn check(request: String, status: &str, reason: &str) {
            let answer = read(&mut request.as_bytes()).await.unwrap_err().answer();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(reason), "{answer}");
        }
        check(format!("GET / HTTP/1.1\r\n{UPGRADE}"), "404", "only /subscribe").await;
        check(format!("POST /subscribe HTTP/1.1\r\n{UPGRADE}"), "405", "POST").await;
        check("GET /subscribe HTTP/1.1\r\nHost: x\r\n\r\n".into(), "426", "WebSocket").await;
        check(format!("GET /subscribe?cursor=x HTTP/1.1\r\n{UPGRADE}"), "400", "cursor").await;
        check(format!("GET /subscribe?compress=true HTTP/1.1\r\n{UPGRADE}"), "400", "zstd").await;
        check(format!("GET /subscribe HTTP/1.1\r\nSocket-Encoding: zstd\r\n{UPGRADE}"), "400", "zstd").await;
        check(format!("GET /subscribe HTTP/1.1\r\n{}", UPGRADE.replace("13", "12")), "400", "Version").await;
        check(format!("GET /subscribe HTTP/1.1\r\n{}", UPGRADE.replace("==", "")), "400", "Key").await;
        check("nonsense\r\n\r\n".into(), "400", "no HTTP/1.1 request").await;
        check("GET /subscribe HTTP/1.1\r\n".into(), "400", "ends before").await;
        check("x".repeat(HEAD_BYTES_MAX + 4_096), "431", "longer than").await;
    }
}
