//! Message ↔ frame: each Protocol Buffers message behind its length as a varint.
//!
//! A frame is `length: varint, message: length bytes`. The length is written in the fewest bytes that hold
//! it; a longer spelling of the same number is refused, so that a frame has exactly one form. Nothing here
//! allocates for a length that a peer only claims: a decoded frame borrows the bytes that did arrive.

use prost::Message;
use prost::bytes::BufMut;

/// Largest message either side may send, in bytes, and the most an operator can allow.
///
/// A ticket with the longest post of any network stays under 64 KiB, and an `Ack` of a full window of
/// 65,536 seqs under 640 KiB.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// A varint carries 7 bits a byte, so no 64-bit number needs more.
const VARINT_BYTES_MAX: usize = 10;

/// What the beginning of a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'b> {
    /// A whole frame.
    Frame {
        /// The encoded message.
        payload: &'b [u8],
        /// Bytes of the buffer that the frame takes, its length included.
        bytes: usize,
    },
    /// The buffer ends before the frame does.
    Incomplete {
        /// At least so many more bytes are needed; 1 where the length itself is cut.
        missing: usize,
    },
    /// The frame claims more than the limit.
    TooLarge {
        /// What it claims.
        bytes: u64,
    },
    /// No length: more than 64 bits, or not in the fewest bytes.
    Invalid,
}

/// A message that would make a frame longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message of {bytes} bytes exceeds the limit of {limit}")]
pub struct TooLarge {
    /// Of the message.
    pub bytes: usize,
    /// In bytes.
    pub limit: usize,
}

/// Reads the first frame of `buffer`, whose message has at most `bytes_max` bytes.
pub fn decode(buffer: &[u8], bytes_max: usize) -> Decoded<'_> {
    let mut length: u64 = 0;
    for (place, &byte) in buffer.iter().enumerate().take(VARINT_BYTES_MAX) {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * place as u32;
        if bits > u64::MAX >> shift {
            return Decoded::Invalid;
        }
        length |= bits << shift;
        if byte & 0x80 != 0 {
            continue;
        }
        if byte == 0 && place > 0 {
            return Decoded::Invalid;
        }
        if length > bytes_max as u64 {
            return Decoded::TooLarge { bytes: length };
        }
        let (start, length) = (place + 1, length as usize);
        let rest = buffer.get(start..).unwrap_or_default();
        return match rest.get(..length) {
            Some(payload) => Decoded::Frame { payload, bytes: start + length },
            None => Decoded::Incomplete { missing: length - rest.len() },
        };
    }
    if buffer.len() < VARINT_BYTES_MAX { Decoded::Incomplete { missing: 1 } } else { Decoded::Invalid }
}

/// Appends `message` as one frame to `out`, the caller's buffer.
///
/// # Errors
///
/// The message has more than `bytes_max` bytes; `out` is as it was.
pub fn encode(message: &impl Message, bytes_max: usize, out: &mut impl BufMut) -> Result<(), TooLarge> {
    let bytes = message.encoded_len();
    if bytes > bytes_max {
        return Err(TooLarge { bytes, limit: bytes_max });
    }
    message.encode_length_delimited(out).expect("a growing buffer has room");
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ticket::proto::{Ack, Nack};

    fn decode_all(mut bytes: &[u8], bytes_max: usize) -> (Vec<&[u8]>, Decoded<'_>) {
        let mut payloads = Vec::new();
        loop {
            match decode(bytes, bytes_max) {
                Decoded::Frame { payload, bytes: taken } => {
                    payloads.push(payload);
                    bytes = &bytes[taken..];
                }
                other => return (payloads, other),
            }
        }
    }

    #[test]
    fn the_first_bytes_decide_what_a_frame_is() {
        let check =
            |bytes: &[u8], expected: Decoded<'_>| assert_eq!(decode(bytes, 300), expected, "{bytes:x?}");
        let long = [&[0xac, 0x02][..], &[7; 300]].concat();
        check(&[], Decoded::Incomplete { missing: 1 });
        check(&[0], Decoded::Frame { payload: &[], bytes: 1 });
        check(&[2, 8, 1, 9], Decoded::Frame { payload: &[8, 1], bytes: 3 });
        check(&[2, 8], Decoded::Incomplete { missing: 1 });
        check(&[0xac], Decoded::Incomplete { missing: 1 });
        check(&[0xac, 0x02], Decoded::Incomplete { missing: 300 });
        check(&long, Decoded::Frame { payload: &[7; 300], bytes: 302 });
        check(&[0xad, 0x02], Decoded::TooLarge { bytes: 301 });
        check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Decoded::TooLarge { bytes: u64::from(u32::MAX) });
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        check(&most, Decoded::TooLarge { bytes: u64::MAX });
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Decoded::Invalid);
        check(&[0x80; 9], Decoded::Incomplete { missing: 1 });
        check(&[0x80; 10], Decoded::Invalid);
    }

    #[test]
    fn an_overlong_length_is_refused() {
        for bytes in [&[0x80, 0x00][..], &[0x81, 0x00], &[0x81, 0x80, 0x00], &[0xac, 0x82, 0x00]] {
            assert_eq!(decode(bytes, 300), Decoded::Invalid, "{bytes:x?}");
        }
    }

    #[test]
    fn a_message_over_the_limit_leaves_the_buffer_alone() {
        let nack = Nack { seq: 1, reason: "x".repeat(100), retry_after_ms: 0 };
        let mut out = vec![1, 2];
        let bytes = nack.encoded_len();
        assert_eq!(encode(&nack, bytes - 1, &mut out), Err(TooLarge { bytes, limit: bytes - 1 }));
        assert_eq!(out, [1, 2]);
        assert_eq!(encode(&nack, bytes, &mut out), Ok(()));
        assert_eq!(out.len(), 2 + 1 + bytes);
    }

    #[test]
    fn frames_are_the_standard_delimited_form() {
        let mut out = Vec::new();
        encode(&Ack { seqs: vec![1, 300] }, FRAME_BYTES_MAX, &mut out).unwrap();
        assert_eq!(out, [0x05, 0x0a, 0x03, 0x01, 0xac, 0x02]);
    }

    /// A peer may stop sending after any byte. What was whole is decoded, the rest is waited for.
    #[test]
    fn a_stream_cut_anywhere_yields_the_whole_frames_before_the_cut() {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for number in 0..20 {
            let ack = Ack { seqs: (0..number * 9).collect() };
            encode(&ack, FRAME_BYTES_MAX, &mut bytes).unwrap();
            ends.push(bytes.len());
        }
        let (all, _) = decode_all(&bytes, FRAME_BYTES_MAX);
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let (frames, rest) = decode_all(&bytes[..cut], FRAME_BYTES_MAX);
            assert_eq!(frames, all[..whole], "cut at byte {cut}");
            let Decoded::Incomplete { missing } = rest else { panic!("{rest:?}, cut at byte {cut}") };
            let next = ends.get(whole).copied().unwrap_or(usize::MAX);
            assert!(missing > 0 && cut + missing <= next, "cut at byte {cut}, missing {missing}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic_into_no_more_than_they_are(
            bytes in prop::collection::vec(any::<u8>(), 0..64), bytes_max in 0..70_usize,
        ) {
            let (frames, rest) = decode_all(&bytes, bytes_max);
            prop_assert!(frames.iter().all(|frame| frame.len() <= bytes_max));
            prop_assert!(frames.iter().map(|frame| frame.len() + 1).sum::<usize>() <= bytes.len());
            if let Decoded::Incomplete { missing } = rest {
                prop_assert!((1..=bytes_max.max(1)).contains(&missing));
            }
        }

        #[test]
        fn encode_then_decode_is_the_identity(seqs in prop::collection::vec(any::<u64>(), 0..50)) {
            let ack = Ack { seqs };
            let mut out = Vec::new();
            encode(&ack, FRAME_BYTES_MAX, &mut out).unwrap();
            let Decoded::Frame { payload, bytes } = decode(&out, FRAME_BYTES_MAX) else { panic!() };
            prop_assert_eq!(bytes, out.len());
            prop_assert_eq!(Ack::decode(payload).unwrap(), ack);
        }
    }
}
