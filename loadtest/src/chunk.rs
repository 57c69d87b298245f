//! Lines or WebSocket text messages back to back, as they go into the socket in one write.
//!
//! The WebSocket library's own way (a message each, moved into its buffer) costs more than making the message does. A
//! server's frames are not masked (RFC 6455, 5.1), so that a whole one is its header and its text.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// FIN and the opcode of text.
const FINAL_TEXT: u8 = 0x81;
/// Lengths below this stand in the second byte; up to 65,535 after it, marked by this number.
const LENGTH_16: u8 = 126;
/// Greater lengths stand in the eight bytes after it, marked by this number.
const LENGTH_64: u8 = 127;
/// The header of a message of 126 to 65,535 bytes, which nearly all have.
const HEADER_BYTES: usize = 4;

/// Lines or messages of which some bytes may have been written.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    written: usize,
}

impl Chunk {
    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
    }

    /// Whether the last byte written is inside the chunk, perhaps inside a message.
    pub(crate) fn is_begun(&self) -> bool {
        self.written > 0 && self.written < self.bytes.len()
    }

    /// Whether it holds something of which nothing is written.
    pub(crate) fn is_untouched(&self) -> bool {
        self.written == 0 && !self.bytes.is_empty()
    }

    /// Appends the line that `write` makes and its end.
    pub(crate) fn push_line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.bytes.push(b'\n');
    }

    /// Appends bytes as they are: what is no whole message.
    pub(crate) fn push_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the message that `write` makes, if `takes` likes its length; whether it did.
    pub(crate) fn push_message(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
        takes: impl FnOnce(usize) -> bool,
    ) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[FINAL_TEXT, LENGTH_16, 0, 0]);
        write(&mut self.bytes);
        let length = self.bytes.len() - start - HEADER_BYTES;
        if !takes(length) {
            self.bytes.truncate(start);
            return false;
        }
        match u16::try_from(length) {
            Ok(short) if short >= u16::from(LENGTH_16) => {
                self.bytes[start + 2..start + HEADER_BYTES].copy_from_slice(&short.to_be_bytes());
            }
            Ok(short) => drop(self.bytes.splice(start + 1..start + HEADER_BYTES, [short as u8])),
            Err(_) => {
                let long = (length as u64).to_be_bytes();
                drop(self.bytes.splice(start + 1..start + HEADER_BYTES, [LENGTH_64].into_iter().chain(long)));
            }
        }
        true
    }

    /// Writes what is left. May be dropped at any await and called again.
    pub(crate) async fn write_to(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn messages_of_every_length_are_what_a_client_reads() {
        let texts: Vec<String> = [0, 1, 125, 126, 127, 550, 65_535, 65_536, 100_000]
            .iter()
            .map(|length| "x".repeat(*length))
            .collect();
        let mut chunk = Chunk::default();
        for text in &texts {
            assert!(
                chunk.push_message(
                    |out| out.extend_from_slice(text.as_bytes()),
                    |length| length == text.len()
                )
            );
            assert!(!chunk.push_message(|out| out.extend_from_slice(b"refused"), |_| false));
        }
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        chunk.write_to(&mut ours).await.unwrap();
        assert!(!chunk.is_begun());
        drop(ours);
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        for text in &texts {
            assert_eq!(client.next().await.unwrap().unwrap().into_text().unwrap(), *text);
        }
    }

    #[tokio::test]
    async fn a_dropped_write_goes_on_where_it_was() {
        let (mut ours, mut theirs) = tokio::io::duplex(4);
        let mut chunk = Chunk::default();
        assert!(!chunk.is_untouched());
        chunk.push_message(|out| out.extend_from_slice(b"seven..and more"), |_| true);
        assert!(chunk.is_untouched() && !chunk.is_begun());
        tokio::select! {
            biased;
            _ = chunk.write_to(&mut ours) => panic!("the pipe holds 4 bytes"),
            () = std::future::ready(()) => {}
        }
        assert!(chunk.is_begun() && !chunk.is_untouched());
        let read = async {
            let mut all = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut all).await.map(|_| all)
        };
        let write = async {
            chunk.write_to(&mut ours).await.unwrap();
            drop(ours);
        };
        let ((), all) = tokio::join!(write, read);
        assert_eq!(all.unwrap(), b"\x81\x0fseven..and more");
    }
}
