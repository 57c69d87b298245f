//! Frames: a message preceded by its length in bytes, as a Protocol Buffers varint.

use prost::Message;

/// "A frame is at most 1 MiB": of message, without the length before it.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of the longest varint: 64 bits, 7 a byte.
const VARINT_BYTES_MAX: usize = 10;

/// A stream that cannot be cut into frames any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed.
    #[error("frame of {0} bytes exceeds the limit of {FRAME_BYTES_MAX}")]
    TooLarge(u64),
    /// The length never ends.
    #[error("frame length is longer than {VARINT_BYTES_MAX} bytes")]
    EndlessLength,
}

/// Cuts a stream into frames, however it arrives.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// What lies before was taken.
    start: usize,
}

impl Frames {
    /// Where to append what arrives, with capacity for `bytes` more.
    pub fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.reserve(bytes);
        &mut self.bytes
    }

    /// The next whole frame's message; `None` until more has arrived.
    ///
    /// # Errors
    ///
    /// The stream is broken: close the connection.
    pub fn take(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let waiting = self.bytes.get(self.start..).unwrap_or_default();
        let Some((length, prefix)) = varint(waiting)? else {
            return Ok(None);
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= FRAME_BYTES_MAX)
            .ok_or(FrameError::TooLarge(length))?;
        let from = self.start + prefix;
        let Some(frame) = self.bytes.get(from..from + length) else {
            return Ok(None);
        };
        self.start = from + length;
        Ok(Some(frame))
    }
}

/// Appends `message` as one frame.
pub fn encode(message: &impl Message, out: &mut Vec<u8>) {
    let mut length = message.encoded_len() as u64;
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(message.encode_to_vec());
}

/// A number and how many bytes it takes; `None` if it is not whole.
fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((number, place + 1)));
        }
    }
    if bytes.len() < VARINT_BYTES_MAX { Ok(None) } else { Err(FrameError::EndlessLength) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::proto::Ack;

    fn messages() -> Vec<Ack> {
        // Empty, short, and long enough for a length of two bytes.
        [0, 1, 100, 300].map(|seqs| Ack { seqs: (0..seqs).collect() }).into()
    }

    fn decoded(frames: &mut Frames) -> Vec<Ack> {
        let mut messages = Vec::new();
        while let Some(frame) = frames.take().unwrap() {
            messages.push(Ack::decode(frame).unwrap());
        }
        messages
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_frames() {
        let mut stream = Vec::new();
        messages().iter().for_each(|message| encode(message, &mut stream));
        for cut in 0..=stream.len() {
            let mut frames = Frames::default();
            frames.room(0).extend_from_slice(&stream[..cut]);
            let mut received = decoded(&mut frames);
            assert!(messages().starts_with(&received), "cut at byte {cut}");
            frames.room(0).extend_from_slice(&stream[cut..]);
            received.extend(decoded(&mut frames));
            assert_eq!(received, messages(), "cut at byte {cut}");
        }
    }

    #[test]
    fn a_length_without_end_or_measure_is_refused() {
        let check = |bytes: &[u8], expected| {
            let mut frames = Frames::default();
            frames.room(0).extend_from_slice(bytes);
            assert_eq!(frames.take().map(|frame| frame.map(<[u8]>::to_vec)), expected);
        };
        check(&[0x80, 0x80, 0x40], Ok(None));
        check(&[0x81, 0x80, 0x40], Err(FrameError::TooLarge((1 << 20) + 1)));
        check(&[0xff; 9], Ok(None));
        check(&[0xff; 10], Err(FrameError::EndlessLength));
        check(
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            Err(FrameError::TooLarge(u64::MAX)),
        );
    }

    #[test]
    fn our_frames_are_those_of_the_protobuf_library() {
        for message in messages() {
            let mut ours = Vec::new();
            encode(&message, &mut ours);
            assert_eq!(ours, message.encode_length_delimited_to_vec());
        }
    }
}
