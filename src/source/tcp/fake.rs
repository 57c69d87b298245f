//! A sender for tests: real sockets on loopback, one scripted visit for each connection.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// How one connection goes.
pub(super) enum Visit {
    /// Answer the greeting with this, send these bytes, then read until the client leaves.
    Stay(String, Vec<u8>),
    /// The same, each byte on its own.
    Drip(String, Vec<u8>),
    /// The same as `Stay`, then close in order.
    Close(String, Vec<u8>),
    /// Close without reading or saying anything.
    Slam,
    /// Read, and never say anything.
    Mute,
    /// Answer, send the bytes, then the lines that come from here; read only once that has ended.
    Deaf(String, mpsc::UnboundedReceiver<Vec<u8>>, oneshot::Receiver<()>),
}

/// The answer that begins after line `after`.
pub(super) fn answer(after: i64) -> String {
    format!("{{\"vigie\":1,\"after\":{after}}}\n")
}

/// A running sender. Connections beyond the script are mute.
pub(super) struct Sender {
    pub(super) address: String,
    /// Lines that vigie sent, the greetings among them.
    heard: mpsc::UnboundedReceiver<String>,
}

/// Tests that wait longer than this hang.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

impl Sender {
    pub(super) async fn start(visits: Vec<Visit>) -> Sender {
        let socket = TcpSocket::new_v4().unwrap();
        // So that a sender that does not read is soon full.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (hear, heard) = mpsc::unbounded_channel();
        tokio::spawn(accept(listener, VecDeque::from(visits), hear));
        Sender { address, heard }
    }

    /// The next line from vigie.
    pub(super) async fn hear(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("a line in time").unwrap()
    }

    /// The next greeting; acknowledgements before it are skipped.
    pub(super) async fn greeting(&mut self) -> i64 {
        loop {
            let line = self.hear().await;
            if let Some(after) = line.strip_prefix("{\"vigie\":1,\"after\":") {
                return after.strip_suffix('}').unwrap().parse().unwrap();
            }
        }
    }

    /// The next acknowledgement.
    pub(super) async fn ack(&mut self) -> i64 {
        let line = self.hear().await;
        let ack = line.strip_prefix("{\"ack\":").and_then(|line| line.strip_suffix('}'));
        ack.unwrap_or_else(|| panic!("no acknowledgement: {line:?}")).parse().unwrap()
    }
}

async fn accept(listener: TcpListener, mut visits: VecDeque<Visit>, hear: mpsc::UnboundedSender<String>) {
    while let Ok((socket, _)) = listener.accept().await {
        let visit = visits.pop_front().unwrap_or(Visit::Mute);
        tokio::spawn(serve(socket, visit, hear.clone()));
    }
}

async fn serve(mut socket: TcpStream, visit: Visit, hear: mpsc::UnboundedSender<String>) {
    if let Visit::Slam = visit {
        return;
    }
    socket.set_nodelay(true).unwrap();
    let (reader, mut writer) = socket.split();
    let mut lines = BufReader::new(reader).lines();
    if let Ok(Some(greeting)) = lines.next_line().await {
        hear.send(greeting).ok();
    }
    match visit {
        Visit::Stay(answer, bytes) => {
            writer.write_all(&[answer.as_bytes(), &bytes].concat()).await.ok();
        }
        Visit::Drip(answer, bytes) => {
            for byte in [answer.as_bytes(), &bytes].concat() {
                writer.write_all(&[byte]).await.ok();
                tokio::task::yield_now().await;
            }
        }
        Visit::Close(answer, bytes) => {
            writer.write_all(&[answer.as_bytes(), &bytes].concat()).await.ok();
            writer.shutdown().await.ok();
        }
        Visit::Mute | Visit::Slam => {}
        Visit::Deaf(answer, mut bytes, listens) => {
            writer.write_all(answer.as_bytes()).await.ok();
            while let Some(bytes) = bytes.recv().await {
                writer.write_all(&bytes).await.ok();
            }
            listens.await.ok();
        }
    }
    while let Ok(Some(line)) = lines.next_line().await {
        hear.send(line).ok();
    }
    let mut rest = Vec::new();
    lines.into_inner().read_to_end(&mut rest).await.ok();
}
