//! A client of vigie's ticket socket, for load tests and for checking the daemon from outside.
//!
//! Written from `src/wire/vigie.proto` alone. It shares no code with the daemon, so that the two can disagree.

pub mod delimited;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use delimited::{FrameError, Frames};
use proto::{ClientMessage, ServerMessage, client_message, goodbye, server_message};

/// The generated messages of wire protocol 1.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated: the comments are in vigie.proto")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/vigie.v1.rs"));
}

/// The protocol spoken.
const PROTOCOL: u32 = 1;
/// Read from the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl FromStr for Address {
    type Err = String;

    /// `host:port` without a slash is TCP, everything else a path.
    fn from_str(text: &str) -> Result<Address, String> {
        let port = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match port {
            _ if text.is_empty() => Err("an empty address".to_owned()),
            Some((host, _)) if !host.is_empty() && !text.contains('/') => Ok(Address::Tcp(text.to_owned())),
            _ => Ok(Address::Unix(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Tcp(address) => f.write_str(address),
        }
    }
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed, or ended without a goodbye.
    #[error("connection lost")]
    Lost(#[from] io::Error),
    /// The server ended it.
    #[error("server said goodbye: {code:?}, {reason}")]
    Goodbye {
        /// Its reason, for programs.
        code: goodbye::Code,
        /// Its reason, for people.
        reason: String,
    },
    /// The server broke the protocol's framing.
    #[error("broken frame from the server")]
    Frame(#[from] FrameError),
    /// A frame held no message.
    #[error("frame holds no message")]
    Message(#[from] prost::DecodeError),
    /// A message came where the protocol has no place for it.
    #[error("protocol broken: {0}")]
    Unexpected(&'static str),
}

/// A connection on which nothing has been said yet.
pub struct Socket {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Socket {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens.
    pub async fn open(address: &Address) -> io::Result<Socket> {
        match address {
            Address::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                Ok(Socket { reader: Box::new(reader), writer: Box::new(writer) })
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                // Acknowledgements are small and wanted at once.
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                Ok(Socket { reader: Box::new(reader), writer: Box::new(writer) })
            }
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

/// A subscribed connection.
pub struct Client {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    frames: Frames,
    /// Encoded and not yet written. Kept here so that [`Client::next`] can be cancelled at any time.
    outgoing: VecDeque<u8>,
    welcome: proto::Welcome,
    acks_sent: u64,
    acks_confirmed: u64,
    /// Confirmed since they were last asked for: at most what was acknowledged, which the caller paces.
    confirmed: Vec<u64>,
}

impl Client {
    /// Connects, and subscribes under the name `subscription` to everything.
    ///
    /// # Errors
    ///
    /// Nobody listens, or the server refuses: then [`ClientError::Goodbye`] says why.
    pub async fn connect(address: &Address, subscription: &str, window: u32) -> Result<Client, ClientError> {
        let subscription = proto::Subscription { name: subscription.to_owned(), ..Default::default() };
        Client::subscribe(address, subscription, window).await
    }

    /// Connects, and subscribes as asked.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn subscribe(
        address: &Address,
        subscription: proto::Subscription,
        window: u32,
    ) -> Result<Client, ClientError> {
        Client::over(Socket::open(address).await?, subscription, window).await
    }

    /// Subscribes over a connection on which nothing has been said.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn over(
        socket: Socket,
        subscription: proto::Subscription,
        window: u32,
    ) -> Result<Client, ClientError> {
        let Socket { reader, writer } = socket;
        let mut client = Client {
            reader,
            writer,
            frames: Frames::default(),
            outgoing: VecDeque::new(),
            welcome: proto::Welcome::default(),
            acks_sent: 0,
            acks_confirmed: 0,
            confirmed: Vec::new(),
        };
        client.queue(client_message::Kind::Hello(proto::Hello {
            protocol: PROTOCOL,
            client: concat!("firehose ", env!("CARGO_PKG_VERSION")).to_owned(),
            token: String::new(),
            subscription: Some(subscription),
            window,
        }));
        client.flush().await?;
        match client.receive().await?.kind {
            Some(server_message::Kind::Welcome(welcome)) => client.welcome = welcome,
            Some(server_message::Kind::Goodbye(goodbye)) => return Err(said(&goodbye)),
            _ => {
                return Err(ClientError::Unexpected("the first message is neither welcome nor goodbye"));
            }
        }
        Ok(client)
    }

    /// What the server granted.
    pub fn welcome(&self) -> &proto::Welcome {
        &self.welcome
    }

    /// The next delivery, whose record may be of a kind that we do not know: acknowledge it all the same.
    ///
    /// May be cancelled: nothing received is lost. Heartbeats are answered meanwhile.
    ///
    /// # Errors
    ///
    /// The conversation is over. What was not acknowledged comes again to the next connection.
    pub async fn next(&mut self) -> Result<proto::Delivery, ClientError> {
        loop {
            if let Some(delivery) = self.hear().await? {
                return Ok(delivery);
            }
        }
    }

    /// Acknowledges deliveries.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub async fn ack(&mut self, seqs: Vec<u64>) -> Result<(), ClientError> {
        self.acks_sent += seqs.len() as u64;
        self.queue(client_message::Kind::Ack(proto::Ack { seqs }));
        Ok(self.flush().await?)
    }

    /// Acknowledgements that the server has confirmed as durable.
    pub fn acks_confirmed(&self) -> u64 {
        self.acks_confirmed
    }

    /// The deliveries whose acknowledgements were confirmed since the last call: the server must never send
    /// one of them again.
    pub fn take_confirmed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.confirmed)
    }

    /// Waits until every acknowledgement sent is confirmed. Deliveries that come meanwhile are let go: the
    /// server sends them again to the next connection.
    ///
    /// # Errors
    ///
    /// As [`Client::next`].
    pub async fn settle(&mut self) -> Result<(), ClientError> {
        while self.acks_confirmed < self.acks_sent {
            self.hear().await?;
        }
        Ok(())
    }

    /// Takes one message; `None` if it was no delivery. May be cancelled as [`Client::next`].
    ///
    /// # Errors
    ///
    /// As [`Client::next`].
    pub async fn hear(&mut self) -> Result<Option<proto::Delivery>, ClientError> {
        self.flush().await?;
        match self.receive().await?.kind {
            Some(server_message::Kind::Delivery(delivery)) => return Ok(Some(delivery)),
            Some(server_message::Kind::Acked(acked)) => {
                self.acks_confirmed += acked.seqs.len() as u64;
                self.confirmed.extend(acked.seqs);
            }
            // "Answering each heartbeat with one is enough for a client."
            Some(server_message::Kind::Heartbeat(_)) => {
                self.queue(client_message::Kind::Heartbeat(proto::Heartbeat {}));
                self.flush().await?;
            }
            Some(server_message::Kind::Goodbye(goodbye)) => return Err(said(&goodbye)),
            Some(server_message::Kind::Welcome(_)) => {
                return Err(ClientError::Unexpected("a second welcome"));
            }
            // "A client must ignore a server message whose kind it does not know."
            None => {}
        }
        Ok(None)
    }

    fn queue(&mut self, kind: client_message::Kind) {
        let mut frame = Vec::new();
        delimited::encode(&ClientMessage { kind: Some(kind) }, &mut frame);
        self.outgoing.extend(frame);
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all_buf(&mut self.outgoing).await?;
        self.writer.flush().await
    }

    async fn receive(&mut self) -> Result<ServerMessage, ClientError> {
        loop {
            if let Some(frame) = self.frames.take()? {
                return Ok(prost::Message::decode(frame)?);
            }
            let room = self.frames.room(READ_BYTES);
            if self.reader.read_buf(room).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("welcome", &self.welcome).finish_non_exhaustive()
    }
}

fn said(goodbye: &proto::Goodbye) -> ClientError {
    ClientError::Goodbye { code: goodbye.code(), reason: goodbye.reason.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::server_message::Kind;

    fn frame(kind: Kind) -> Vec<u8> {
        let mut out = Vec::new();
        delimited::encode(&ServerMessage { kind: Some(kind) }, &mut out);
        out
    }

    /// Connects a client to a server that has said `bytes` beforehand and then closes its side.
    async fn client_of(bytes: Vec<u8>) -> (Result<Client, ClientError>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (reader, writer) = tokio::io::split(ours);
        let (replies, mut sender) = tokio::io::split(theirs);
        sender.write_all(&bytes).await.unwrap();
        sender.shutdown().await.unwrap();
        let subscription = proto::Subscription { name: "load".to_owned(), ..Default::default() };
        let socket = Socket { reader: Box::new(reader), writer: Box::new(writer) };
        let client = Client::over(socket, subscription, 7).await;
        (client, replies.unsplit(sender))
    }

    fn welcome() -> Vec<u8> {
        frame(Kind::Welcome(proto::Welcome { protocol: 1, window: 7, ..Default::default() }))
    }

    fn delivery(seq: u64) -> Vec<u8> {
        frame(Kind::Delivery(proto::Delivery { seq, attempt: 1, ..Default::default() }))
    }

    #[tokio::test]
    async fn deliveries_come_in_order_and_everything_else_is_dealt_with() {
        let unknown = vec![3, 0xfa, 0x01, 0x00];
        let said = [
            welcome(),
            delivery(3),
            frame(Kind::Heartbeat(proto::Heartbeat {})),
            unknown,
            frame(Kind::Acked(proto::Acked { seqs: vec![3] })),
            delivery(4),
        ];
        let (client, mut server) = client_of(said.concat()).await;
        let mut client = client.unwrap();
        assert_eq!(client.welcome().window, 7);
        assert_eq!(client.next().await.unwrap().seq, 3);
        client.ack(vec![3]).await.unwrap();
        assert_eq!(client.next().await.unwrap().seq, 4);
        assert_eq!(client.acks_confirmed(), 1);
        assert_eq!(client.take_confirmed(), [3]);
        assert!(client.take_confirmed().is_empty());
        client.settle().await.unwrap();
        assert!(matches!(client.next().await, Err(ClientError::Lost(_))));
        drop(client);

        let mut heard = Frames::default();
        while server.read_buf(heard.room(READ_BYTES)).await.unwrap() > 0 {}
        let mut kinds = Vec::new();
        while let Some(frame) = heard.take().unwrap() {
            let message: ClientMessage = prost::Message::decode(frame).unwrap();
            kinds.push(message.kind.unwrap());
        }
        let [client_message::Kind::Hello(hello), ack, heartbeat] = &kinds[..] else { panic!("{kinds:?}") };
        assert_eq!((hello.protocol, hello.window), (1, 7));
        assert_eq!(hello.subscription.as_ref().unwrap().name, "load");
        assert_eq!(*ack, client_message::Kind::Ack(proto::Ack { seqs: vec![3] }));
        assert_eq!(*heartbeat, client_message::Kind::Heartbeat(proto::Heartbeat {}));
    }

    #[tokio::test]
    async fn a_goodbye_is_an_error_that_says_why() {
        let goodbye = frame(Kind::Goodbye(proto::Goodbye {
            code: goodbye::Code::TokenRefused.into(),
            reason: "no".to_owned(),
        }));
        let (client, _server) = client_of(goodbye).await;
        assert!(matches!(client, Err(ClientError::Goodbye { code: goodbye::Code::TokenRefused, .. })));
        let (client, _server) = client_of(delivery(1)).await;
        assert!(matches!(client, Err(ClientError::Unexpected(_))));
    }

    #[test]
    fn an_address_is_a_path_or_a_host_with_a_port() {
        let tcp = |text: &str| Ok(Address::Tcp(text.to_owned()));
        assert_eq!("localhost:7373".parse(), tcp("localhost:7373"));
        assert_eq!("[::1]:7373".parse(), tcp("[::1]:7373"));
        assert_eq!("/run/vigie/tickets.sock".parse(), Ok(Address::Unix("/run/vigie/tickets.sock".into())));
        assert_eq!("./a:1".parse(), Ok(Address::Unix("./a:1".into())));
        assert!("".parse::<Address>().is_err());
    }
}
