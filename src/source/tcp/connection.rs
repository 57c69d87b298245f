//! One connection, from the greeting to its end.
//!
//! Each wake reads what the socket has straight into the batch's buffer. Acknowledgements are written
//! without ever waiting: what the socket does not take is offered again an interval later.

use std::io;

use memchr::memchr;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::acks::Acks;
use super::greeting::{self, ANSWER_BYTES_MAX};
use super::trouble::Trouble;
use super::{Config, Follower};
use crate::source::batcher::Arrival;
use crate::source::{Durable, LanesGone, stopped};

/// Why reading a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The daemon goes down.
    Stopped,
    /// The connection is gone or useless.
    Lost(Trouble),
}

/// A connection whose greeting was answered.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    /// After which line the sender begins.
    pub(super) after: i64,
    /// What came together with the answer: lines.
    ahead: Vec<u8>,
}

/// What the system may keep of acknowledgements that the sender does not read, in bytes: some hundreds of
/// them. Beyond, only the newest waits. Linux would keep megabytes, hours old by the time they are read.
const UNREAD_BYTES_MAX: usize = 16 * 1024;

/// Opens a connection and asks for the lines after `after`.
pub(super) async fn connect(config: &Config, after: i64) -> Result<Connection, Trouble> {
    let deadline = Instant::now() + config.connect_timeout;
    let connecting = timeout_at(deadline, TcpStream::connect(config.address.as_str()));
    let connected = connecting.await.map_err(|_elapsed| Trouble::ConnectTimeout(config.connect_timeout))?;
    let socket = connected.map_err(Trouble::Unreachable)?;
    // Acknowledgements are small and few, and the sender holds memory for each line until one comes.
    socket.set_nodelay(true).map_err(Trouble::Lost)?;
    SockRef::from(&socket).set_send_buffer_size(UNREAD_BYTES_MAX).map_err(Trouble::Lost)?;
    let greeted = timeout_at(deadline, greet(socket, after)).await;
    greeted.map_err(|_elapsed| Trouble::NoAnswer(config.connect_timeout))?
}

async fn greet(mut socket: TcpStream, after: i64) -> Result<Connection, Trouble> {
    socket.write_all(greeting::hello(after).as_bytes()).await.map_err(Trouble::Lost)?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    loop {
        if let Some(end) = memchr(b'\n', &answer) {
            let ahead = answer.split_off(end + 1);
            return Ok(Connection { socket, after: greeting::answer(&answer, after)?, ahead });
        }
        if answer.len() >= ANSWER_BYTES_MAX {
            return Err(Trouble::Nonsense(crate::source::quote(&answer)));
        }
        if socket.read_buf(&mut answer).await.map_err(Trouble::Lost)? == 0 {
            return Err(Trouble::Closed);
        }
    }
}

/// What ended a wait.
enum Woken {
    /// The socket brought bytes, its end, or an error.
    Read(io::Result<usize>),
    /// More lines are durable.
    Durable,
    /// A batch or an acknowledgement is due, or the sender has been silent for too long.
    Time,
}

impl Follower {
    /// Hands the lines of `connection` to the lanes until it ends. What the last batch holds is left to
    /// the caller.
    ///
    /// # Errors
    ///
    /// The lanes are gone.
    pub(super) async fn read(&mut self, connection: Connection) -> Result<End, LanesGone> {
        let Connection { mut socket, ahead, .. } = connection;
        let (mut reader, writer) = socket.split();
        let mut heard_at = Instant::now();
        let mut acks = Acks::new(self.config.ack_interval, heard_at);
        // Whether the sender heard of the last acknowledgement is unknown: it is told again.
        self.see_durable(&mut acks);
        self.cutter.room().extend_from_slice(&ahead);
        self.take_lines(Arrival::now()).await?;
        loop {
            let silent_at = heard_at + self.config.silence_max;
            let unnatural_at = self.silent_at(self.pace.quiet_since());
            let dues = [self.cutter.due_at(), acks.due_at(), unnatural_at];
            let wake_at = dues.into_iter().flatten().fold(silent_at, Instant::min);
            let woken = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Ok(End::Stopped),
                read = reader.read_buf(self.cutter.room()) => Woken::Read(read),
                // An error means that the ledger has ended, and the daemon is about to.
                Ok(()) = self.durable.changed() => Woken::Durable,
                () = sleep_until(wake_at) => Woken::Time,
            };

            let arrival = Arrival::now();
            let now = arrival.instant;
            match woken {
                Woken::Read(Ok(0)) => return Ok(End::Lost(Trouble::Closed)),
                Woken::Read(Err(error)) => return Ok(End::Lost(Trouble::Lost(error))),
                Woken::Read(Ok(_)) => {
                    heard_at = now;
                    if self.take_lines(arrival).await? {
                        // The lanes may have kept us from listening.
                        heard_at = Instant::now();
                    }
                }
                Woken::Time if now >= silent_at => {
                    return Ok(End::Lost(Trouble::Silent(self.config.silence_max)));
                }
                Woken::Time if unnatural_at.is_some_and(|at| now >= at) && self.cutter.due_at().is_none() => {
                    self.look_for_silence(now);
                }
                Woken::Durable | Woken::Time => {}
            }
            if self.cutter.due_at().is_some_and(|due_at| now >= due_at) {
                self.hand_over().await?;
                heard_at = Instant::now();
            }
            let is_newer = matches!(woken, Woken::Durable) || self.durable.has_changed().unwrap_or(false);
            if is_newer {
                self.see_durable(&mut acks);
            }
            if let Err(error) = acknowledge(&writer, &mut acks, now) {
                return Ok(End::Lost(Trouble::Lost(error)));
            }
        }
    }

    /// Passes on what is durable of the sender's stream: a batch of the one before it says nothing about
    /// this one's lines.
    fn see_durable(&mut self, acks: &mut Acks) {
        let Durable { end_sequence, position } = *self.durable.borrow_and_update();
        let is_of_stream = self.stream_from.is_none_or(|from| end_sequence > from);
        if is_of_stream && let Some(position) = position {
            acks.reached(position);
        }
    }

    /// Cuts what was read, and hands over each batch that is full; whether there was one.
    async fn take_lines(&mut self, arrival: Arrival) -> Result<bool, LanesGone> {
        let mut was_full = false;
        self.cutter.cut(arrival);
        while self.cutter.is_full() {
            was_full = true;
            self.hand_over().await?;
            self.cutter.cut(arrival);
        }
        Ok(was_full)
    }
}

/// Writes what is due, as far as the socket takes it now.
fn acknowledge(writer: &WriteHalf<'_>, acks: &mut Acks, now: Instant) -> io::Result<()> {
    let Some(bytes) = acks.due(now) else { return Ok(()) };
    match writer.try_write(bytes) {
        Ok(written) => acks.wrote(written),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
