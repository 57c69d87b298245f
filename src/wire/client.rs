//! The other end of the ticket socket, for vigie's own commands and tests.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use prost::Message;
use prost::bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::PROTOCOL;
use super::frame::{self, Decoded, FRAME_BYTES_MAX};
use crate::access::tls;
use crate::ticket::proto::{
    Ack, ClientMessage, Delivery, Filter, Hello, Nack, ServerMessage, Start, Subscription, Welcome,
    client_message, goodbye::Code, server_message::Kind,
};

/// How long the server may take to answer a hello: opening a subscription reads every record that waits.
const WELCOME_MAX: Duration = Duration::from_secs(60);

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The server's heartbeats count as lost after so many intervals.
const SILENT_INTERVALS: u32 = 3;

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Socket file.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Address {
    /// Anything with a slash is a path, anything else `host:port`.
    pub fn parse(text: &str) -> Address {
        if text.contains('/') { Address::Unix(text.into()) } else { Address::Tcp(text.to_owned()) }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => path.display().fmt(f),
            Address::Tcp(host) => f.write_str(host),
        }
    }
}

/// What a client wants to receive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing, as is all that a token may want that may not read.
    #[default]
    Nothing,
    /// A subscription that ends with the connection.
    Unnamed,
    /// The durable subscription of this name.
    Named(String),
}

impl From<&str> for Wanted {
    fn from(name: &str) -> Wanted {
        Wanted::Named(name.to_owned())
    }
}

/// What a client says of itself in its `Hello`.
#[derive(Clone, Default)]
pub struct Introduction {
    /// Name and version, for the operator.
    pub client: String,
    /// Empty where none is asked.
    pub token: String,
    /// What is wanted.
    pub subscription: Wanted,
    /// `None`: everything.
    pub filter: Option<Filter>,
    /// Whether a new subscription starts with the next record instead of the oldest.
    pub start_next: bool,
    /// Most deliveries unanswered at once; 0 for the server's default.
    pub window: u32,
}

impl std::fmt::Debug for Introduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is a secret.
        let Introduction { client, token: _, subscription, filter, start_next, window } = self;
        f.debug_struct("Introduction")
            .field("client", client)
            .field("subscription", subscription)
            .field("filter", filter)
            .field("start_next", start_next)
            .field("window", window)
            .finish_non_exhaustive()
    }
}

/// Why the conversation is over, or never began.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("{address}: {source}")]
    Connect {
        /// As asked.
        address: Address,
        /// Of the system.
        source: io::Error,
    },
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The server closed without a goodbye.
    #[error("the server closed the connection")]
    Closed,
    /// The server said why.
    #[error("the server said goodbye: {reason} ({})", code.as_str_name())]
    Goodbye {
        /// For programs.
        code: Code,
        /// For people.
        reason: String,
    },
    /// Whoever answers speaks TLS, and we do not.
    #[error("the server speaks TLS")]
    SpeaksTls,
    /// The server sends what is no frame, no message, or not what belongs here.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// Nothing heard for three heartbeat intervals, or no answer to the hello.
    #[error("nothing heard from the server for {0:?}")]
    Silent(Duration),
}

impl ClientError {
    /// Whether connecting again later can help.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Goodbye { code, .. } => matches!(
                code,
                Code::Shutdown
                    | Code::Silent
                    | Code::TooManyConnections
                    | Code::Fault
                    | Code::AccessChanged
                    | Code::Unspecified
            ),
            ClientError::Protocol(_) | ClientError::SpeaksTls => false,
            _ => true,
        }
    }
}

/// What the server says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A record, to be answered with `ack` or `nack`.
    Delivery(Box<Delivery>),
    /// These will never be delivered to this subscription again.
    Acked(Vec<u64>),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A subscribed client.
///
/// It answers heartbeats only while [`Client::next_event`] or [`Client::next`] is awaited: who works longer
/// than three intervals between two calls is taken for gone.
pub struct Client {
    stream: Box<dyn Stream>,
    welcome: Welcome,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Something was written that TLS may hold back.
    unflushed: bool,
    heard_at: Instant,
}

impl Client {
    /// Connects and subscribes.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; `is_transient` says whether to try again.
    pub async fn connect(address: &Address, introduction: Introduction) -> Result<Client, ClientError> {
        let failed = |source| ClientError::Connect { address: address.clone(), source };
        match address {
            Address::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await.map_err(failed)?;
                Client::over(stream, introduction).await
            }
            Address::Tcp(host) => {
                let stream = tokio::net::TcpStream::connect(host).await.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Client::over(stream, introduction).await
            }
        }
    }

    /// Connects over TLS and subscribes. The server's certificate must be for the host in `host:port`.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`]; a handshake that fails is [`ClientError::Connect`].
    pub async fn connect_tls(
        host: &str,
        connector: &TlsConnector,
        introduction: Introduction,
    ) -> Result<Client, ClientError> {
        let failed = |source| ClientError::Connect { address: Address::Tcp(host.to_owned()), source };
        let name = tls::server_name(host).map_err(|error| failed(io::Error::other(error)))?;
        let stream = tokio::net::TcpStream::connect(host).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream = tokio::time::timeout(HANDSHAKE_MAX, connector.connect(name, stream))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        Client::over(stream, introduction).await
    }

    /// Subscribes over a stream that is already connected.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn over<S>(stream: S, introduction: Introduction) -> Result<Client, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut client = Client {
            stream: Box::new(stream),
            welcome: Welcome::default(),
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            unflushed: false,
            heard_at: Instant::now(),
        };
        let start = if introduction.start_next { Start::Next } else { Start::Oldest };
        let name = match introduction.subscription {
            Wanted::Nothing => None,
            Wanted::Unnamed => Some(String::new()),
            Wanted::Named(name) => Some(name),
        };
        let subscription =
            name.map(|name| Subscription { name, filter: introduction.filter, start: start as i32 });
        client.send(client_message::Kind::Hello(Hello {
            protocol: PROTOCOL,
            client: introduction.client,
            token: introduction.token,
            subscription,
            window: introduction.window,
        }));
        let answer = client.next_message(WELCOME_MAX).await;
        match answer.map_err(|error| if client.hears_tls() { ClientError::SpeaksTls } else { error })? {
            Kind::Welcome(welcome) => client.welcome = welcome,
            other => {
                return Err(ClientError::Protocol(format!("{} before a welcome", name_of(&other))));
            }
        }
        Ok(client)
    }

    /// Whether what has arrived is a TLS alert (RFC 8446, section 5.1): the answer to a hello that is no handshake.
    /// As a frame it would be one of 21 bytes that begins with a field that no message has.
    fn hears_tls(&self) -> bool {
        self.incoming.starts_with(&[21, 3])
    }

    /// What the server granted.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The next delivery. Can be given up and called again without losing one.
    ///
    /// # Errors
    ///
    /// The conversation is over: see [`ClientError`].
    pub async fn next(&mut self) -> Result<Delivery, ClientError> {
        loop {
            if let Event::Delivery(delivery) = self.next_event().await? {
                return Ok(*delivery);
            }
        }
    }

    /// The next delivery or confirmation. Can be given up and called again without losing one.
    ///
    /// # Errors
    ///
    /// The conversation is over: see [`ClientError`].
    pub async fn next_event(&mut self) -> Result<Event, ClientError> {
        let interval = Duration::from_millis(self.welcome.heartbeat_interval_ms.into());
        let silent = if interval.is_zero() { WELCOME_MAX } else { interval * SILENT_INTERVALS };
        loop {
            match self.next_message(silent).await? {
                Kind::Delivery(delivery) => return Ok(Event::Delivery(Box::new(delivery))),
                Kind::Acked(acked) => return Ok(Event::Acked(acked.seqs)),
                Kind::Heartbeat(heartbeat) => self.send(client_message::Kind::Heartbeat(heartbeat)),
                Kind::Welcome(_) | Kind::Goodbye(_) => {}
            }
        }
    }

    /// Says that deliveries are safe here. Wait for [`Event::Acked`] to know that it is durable.
    ///
    /// # Errors
    ///
    /// The connection broke; the deliveries will come again.
    pub async fn ack(&mut self, seqs: &[u64]) -> Result<(), ClientError> {
        // A seq takes at most 10 bytes: an ack of 50,000 stays well below the smallest default limit.
        for part in seqs.chunks(50_000) {
            self.send(client_message::Kind::Ack(Ack { seqs: part.to_vec() }));
        }
        self.flush().await
    }

    /// Sends a delivery back, to be delivered again after `retry_after`.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn nack(&mut self, seq: u64, reason: &str, retry_after: Duration) -> Result<(), ClientError> {
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        self.send(client_message::Kind::Nack(Nack { seq, reason: reason.to_owned(), retry_after_ms }));
        self.flush().await
    }

    /// Reports a ticket's status, a touchpoint or an agent's state.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn report(&mut self, feedback: client_message::Kind) -> Result<(), ClientError> {
        self.send(feedback);
        self.flush().await
    }

    /// Queues a message; every wait writes what is queued first, so a wait given up half-way through a
    /// frame is taken up where it was.
    fn send(&mut self, kind: client_message::Kind) {
        let message = ClientMessage { kind: Some(kind) };
        if let Err(error) = frame::encode(&message, FRAME_BYTES_MAX, &mut self.outgoing) {
            tracing::error!(%error, "message not sent");
        }
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        self.stream.write_all_buf(&mut self.outgoing).await?;
        Ok(self.stream.flush().await?)
    }

    async fn next_message(&mut self, silent: Duration) -> Result<Kind, ClientError> {
        loop {
            if let Some(kind) = self.decode()? {
                return Ok(kind);
            }
            let deadline = self.heard_at + silent;
            let Client { stream, incoming, outgoing, unflushed, .. } = &mut *self;
            let (mut reader, mut writer) = tokio::io::split(stream);
            incoming.reserve(16 * 1024);
            // Reading goes on while a server that waits for us to read does not take our words. It comes
            // first, so that what arrived while nobody called is not taken for silence.
            tokio::select! {
                biased;
                read = reader.read_buf(incoming) => match read? {
                    0 => return Err(ClientError::Closed),
                    _ => self.heard_at = Instant::now(),
                },
                wrote = async {
                    if !outgoing.is_empty() {
                        *unflushed = true;
                        writer.write_buf(outgoing).await?;
                    }
                    writer.flush().await
                }, if *unflushed || !outgoing.is_empty() => {
                    wrote?;
                    *unflushed = false;
                }
                () = tokio::time::sleep_until(deadline) => return Err(ClientError::Silent(silent)),
            }
        }
    }

    /// The first message that has arrived whole; `None` if none has. A goodbye is an error.
    fn decode(&mut self) -> Result<Option<Kind>, ClientError> {
        loop {
            let (payload, bytes) = match frame::decode(&self.incoming, FRAME_BYTES_MAX) {
                Decoded::Frame { payload, bytes } => (payload, bytes),
                Decoded::Incomplete { .. } => return Ok(None),
                Decoded::TooLarge { bytes } => {
                    return Err(ClientError::Protocol(format!("frame of {bytes} bytes")));
                }
                Decoded::Invalid => return Err(ClientError::Protocol("no frame".to_owned())),
            };
            let message = ServerMessage::decode(payload);
            self.incoming.advance(bytes);
            match message.map_err(|error| ClientError::Protocol(error.to_string()))?.kind {
                Some(Kind::Goodbye(goodbye)) => {
                    let code = Code::try_from(goodbye.code).unwrap_or_default();
                    return Err(ClientError::Goodbye { code, reason: goodbye.reason });
                }
                Some(kind) => return Ok(Some(kind)),
                // "A client must ignore a server message whose kind it does not know."
                None => {}
            }
        }
    }
}

fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Welcome(_) => "welcome",
        Kind::Goodbye(_) => "goodbye",
        Kind::Delivery(_) => "delivery",
        Kind::Acked(_) => "acked",
        Kind::Heartbeat(_) => "heartbeat",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_slash_is_a_path() {
        assert_eq!(Address::parse("/run/vigie.sock"), Address::Unix("/run/vigie.sock".into()));
        assert_eq!(Address::parse("./sock"), Address::Unix("./sock".into()));
        assert_eq!(Address::parse("localhost:7414"), Address::Tcp("localhost:7414".into()));
    }

    #[test]
    fn a_goodbye_says_whether_to_come_back() {
        let check = |code: Code, expected: bool| {
            let error = ClientError::Goodbye { code, reason: "because".into() };
            assert_eq!(error.is_transient(), expected, "{code:?}");
            assert_eq!(
                error.to_string(),
                format!("the server said goodbye: because ({})", code.as_str_name())
            );
        };
        check(Code::Shutdown, true);
        check(Code::TooManyConnections, true);
        check(Code::TokenRefused, false);
        check(Code::HelloInvalid, false);
        check(Code::ProtocolUnsupported, false);
    }
}
