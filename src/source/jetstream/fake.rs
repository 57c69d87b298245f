//! A Jetstream server for tests: real sockets on loopback, one scripted visit for each connection.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

/// How one connection goes.
pub(super) enum Visit {
    /// Accept it, send these, then read until the client leaves.
    Stay(Vec<Message>),
    /// Accept it, send these, then drop the connection without a word.
    Drop(Vec<Message>),
    /// Refuse it with these bytes instead of a handshake.
    Answer(String),
    /// Accept TCP, and never say anything.
    Mute,
    /// Accept it, then neither send nor read.
    Deaf,
}

/// A running server. Connections beyond the script are visits that bring nothing.
pub(super) struct Server {
    pub(super) url: String,
    /// Path and query of each subscription.
    requests: mpsc::UnboundedReceiver<String>,
    /// What clients sent.
    heard: mpsc::UnboundedReceiver<Message>,
}

/// Tests that wait longer than this hang.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    pub(super) async fn start(visits: Vec<Visit>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/subscribe", listener.local_addr().unwrap());
        let (request, requests) = mpsc::unbounded_channel();
        let (hear, heard) = mpsc::unbounded_channel();
        let mut visits = VecDeque::from(visits);
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    return;
                };
                let visit = visits.pop_front().unwrap_or(Visit::Stay(Vec::new()));
                tokio::spawn(serve(socket, visit, request.clone(), hear.clone()));
            }
        });
        Server { url, requests, heard }
    }

    /// The next subscription's path and query.
    pub(super) async fn request(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.requests.recv()).await.expect("a request in time").unwrap()
    }

    /// The next subscription's cursor.
    pub(super) async fn cursor(&mut self) -> Option<i64> {
        let request = self.request().await;
        request.split(['?', '&']).find_map(|pair| pair.strip_prefix("cursor=")?.parse().ok())
    }

    /// The next message from a client.
    pub(super) async fn hear(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("a message in time").unwrap()
    }
}

/// A text frame.
pub(super) fn text(text: impl Into<String>) -> Message {
    Message::text(text.into())
}

/// An event of this time, as short as they get.
pub(super) fn event(time_us: i64) -> Message {
    text(format!(r#"{{"did":"did:plc:a","time_us":{time_us},"kind":"identity"}}"#))
}

/// A text frame of any bytes.
pub(super) fn raw_text(bytes: &'static [u8]) -> Message {
    Message::Frame(Frame::message(bytes, OpCode::Data(Data::Text), true))
}

/// A farewell.
pub(super) fn close(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
}

async fn serve(
    mut socket: TcpStream,
    visit: Visit,
    request: mpsc::UnboundedSender<String>,
    hear: mpsc::UnboundedSender<Message>,
) {
    let (messages, is_deaf, stays) = match visit {
        Visit::Stay(messages) => (messages, false, true),
        Visit::Drop(messages) => (messages, false, false),
        Visit::Deaf => (Vec::new(), true, true),
        Visit::Answer(answer) => {
            let mut head = vec![0; 16 * 1024];
            let read = socket.read(&mut head).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&head[..read]);
            let _ = request.send(line.split(' ').nth(1).unwrap_or_default().to_owned());
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.shutdown().await;
            return;
        }
        Visit::Mute => {
            let _ = request.send("mute".to_owned());
            let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
            return;
        }
    };
    #[expect(clippy::result_large_err, reason = "tungstenite's own signature")]
    let note = |head: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let _ = request.send(head.uri().to_string());
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(socket, note).await else {
        return;
    };
    for message in messages {
        if socket.feed(message).await.is_err() {
            return;
        }
    }
    if socket.flush().await.is_err() || !stays {
        return;
    }
    if is_deaf {
        std::future::pending::<()>().await;
    }
    while let Some(Ok(message)) = socket.next().await {
        let _ = hear.send(message);
    }
}
