//! Where in a frame the quotes, brackets and backslashes are: one pass, 64 bytes at a time.
//!
//! The method is the first stage of Langdale and Lemire, *Parsing Gigabytes of JSON per Second* (VLDB
//! Journal 28, 2019): each class of characters becomes a bit mask, and a running exclusive or over the
//! quotes tells what is inside a string. Kept here are the masks themselves and not a list of positions,
//! because most of a frame is stepped over and a list would have to be written in full.

use std::ops::Range;

use wide::u8x16;

/// The masks of one frame, bit `n` of a block standing for its `n`th byte.
#[derive(Debug, Default)]
pub(super) struct Index {
    blocks: Vec<Block>,
    /// Whether there is any backslash.
    pub(super) has_escapes: bool,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    /// Quotes that open or close a string.
    quotes: u64,
    /// `{`, `[`, `]` and `}` outside strings.
    brackets: u64,
    /// Quotes that open a string behind `{` or `,`: all keys, and some items of arrays.
    keys: u64,
    backslashes: u64,
}

/// Which bytes of a block are of each class.
#[derive(Debug, Default, PartialEq, Eq)]
struct Classes {
    quotes: u64,
    backslashes: u64,
    /// Brackets of both kinds, wherever they are.
    brackets: u64,
    /// `{` and `,`.
    before_keys: u64,
    spaces: u64,
    /// Any bit is set where a byte is below 0x20: neither strings nor what is between them may hold it.
    controls: u32,
    /// Any bit is set where a byte is beyond ASCII.
    beyond_ascii: u32,
}

impl Index {
    /// Reads `frame`. `None` unless it is UTF-8, all strings in it are closed and free of control
    /// characters, each escape stands in a string and is one that JSON knows, and nothing outside strings is
    /// blank: networks send JSON without.
    pub(super) fn read(&mut self, frame: &[u8]) -> Option<()> {
        self.blocks.clear();
        let (mut in_string, mut escaped, mut beyond_ascii, mut backslashes) = (0, 0, 0, 0);
        let (mut low_half_at, mut before_keys, mut bad) = (None, 0, 0);
        let (whole, rest) = frame.as_chunks::<64>();
        self.blocks.reserve(whole.len() + 1);
        // Filled up with what is of no class.
        let mut padded = [b'0'; 64];
        padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let last = if rest.is_empty() { None } else { Some(&padded) };
        for (block, at) in whole.iter().chain(last).zip((0..).step_by(64)) {
            let classes = Classes::of(block);
            beyond_ascii |= classes.beyond_ascii;
            backslashes |= classes.backslashes;
            let mut quotes = classes.quotes;
            let mut escapes = 0;
            if (classes.backslashes | escaped) != 0 {
                // The characters behind a backslash, each backslash that is itself escaped left out.
                let mut left = classes.backslashes & !escaped;
                quotes &= !escaped;
                escaped = 0;
                while left != 0 {
                    let bit = left.trailing_zeros() as usize;
                    is_escape(frame, at + bit, &mut low_half_at).then_some(())?;
                    escapes |= 1 << bit;
                    if bit == 63 {
                        escaped = 1;
                    }
                    left &= !(3 << bit);
                    quotes &= !(2 << bit);
                }
            }
            let strings = running_xor(quotes) ^ in_string;
            // All ones where the block ends inside a string.
            in_string = 0_u64.wrapping_sub(strings >> 63);
            bad |= u64::from(classes.controls) | ((escapes | classes.spaces) & !strings);
            let before = classes.before_keys & !strings;
            self.blocks.push(Block {
                quotes,
                brackets: classes.brackets & !strings,
                keys: quotes & (before << 1 | before_keys),
                backslashes: classes.backslashes,
            });
            before_keys = before >> 63;
        }
        self.has_escapes = backslashes != 0;
        let is_text = beyond_ascii == 0 || simdutf8::basic::from_utf8(frame).is_ok();
        (bad == 0 && in_string == 0 && is_text).then_some(())
    }

    /// The first quote at `from` or behind it that opens or closes a string.
    #[inline]
    pub(super) fn quote(&self, from: usize) -> Option<usize> {
        self.first(from, |block| block.quotes)
    }

    /// The first bracket at `from` or behind it that is outside all strings.
    #[inline]
    pub(super) fn bracket(&self, from: usize) -> Option<usize> {
        self.first(from, |block| block.brackets)
    }

    /// The first bracket or possible key at `from` or behind it.
    #[inline]
    pub(super) fn key_or_bracket(&self, from: usize) -> Option<usize> {
        self.first(from, |block| block.keys | block.brackets)
    }

    /// Whether the string that begins at `from` holds an escape.
    #[inline]
    pub(super) fn is_escaped(&self, from: usize) -> bool {
        let mut mask = !0 << (from % 64);
        for block in self.blocks.get(from / 64..).unwrap_or_default() {
            let (backslashes, quotes) = (block.backslashes & mask, block.quotes & mask);
            if (backslashes | quotes) != 0 {
                return backslashes.trailing_zeros() < quotes.trailing_zeros();
            }
            mask = !0;
        }
        false
    }

    /// The first backslash in `range`.
    #[inline]
    pub(super) fn backslash(&self, range: Range<usize>) -> Option<usize> {
        if !self.has_escapes {
            return None;
        }
        // Not by `first`, which might go on to the end of the frame, string after string.
        let mut mask = !0 << (range.start % 64);
        for block in range.start / 64..=range.end / 64 {
            let bits = self.blocks.get(block)?.backslashes & mask;
            if bits != 0 {
                return Some(block * 64 + bits.trailing_zeros() as usize).filter(|at| *at < range.end);
            }
            mask = !0;
        }
        None
    }

    #[inline]
    fn first(&self, from: usize, mask: impl Fn(&Block) -> u64) -> Option<usize> {
        let mut block = from / 64;
        let mut bits = mask(self.blocks.get(block)?) & (!0 << (from % 64));
        while bits == 0 {
            block += 1;
            bits = mask(self.blocks.get(block)?);
        }
        Some(block * 64 + bits.trailing_zeros() as usize)
    }
}

/// In each bit the exclusive or of all bits up to it.
fn running_xor(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].iter().fold(bits, |bits, shift| bits ^ (bits << shift))
}

/// Whether the backslash at `at` begins an escape. A surrogate must be followed by its other half: simd-json
/// is asked about any other. `low_half_at` is where such a half was promised, and is kept for the next call.
fn is_escape(frame: &[u8], at: usize, low_half_at: &mut Option<usize>) -> bool {
    match frame.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
        Some(b'u') => match hex4(frame, at + 2) {
            Some(0xD800..=0xDBFF) => {
                *low_half_at = Some(at + 6);
                frame.get(at + 6..at + 8) == Some(br"\u")
                    && matches!(hex4(frame, at + 8), Some(0xDC00..=0xDFFF))
            }
            Some(0xDC00..=0xDFFF) => *low_half_at == Some(at),
            Some(_) => true,
            None => false,
        },
        _ => false,
    }
}

/// Four hexadecimal digits.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | (*digit as char).to_digit(16)?))
}

impl Classes {
    /// 16 bytes a step, which every machine's vectors hold.
    #[inline]
    fn of(block: &[u8; 64]) -> Classes {
        let (mut classes, mut any, mut controls) = (Classes::default(), u8x16::splat(0), u8x16::splat(0));
        let (sixteens, _) = block.as_chunks::<16>();
        for (sixteen, shift) in sixteens.iter().zip((0..).step_by(16)) {
            let bytes = u8x16::new(*sixteen);
            let bits = |bytes: u8x16| u64::from(bytes.to_bitmask()) << shift;
            let equal = |bytes: u8x16, to| bytes.simd_eq(u8x16::splat(to));
            classes.quotes |= bits(equal(bytes, b'"'));
            classes.backslashes |= bits(equal(bytes, b'\\'));
            // This bit is all that tells `[` from `{`, and `]` from `}`.
            let curly = bytes | u8x16::splat(0x20);
            classes.brackets |= bits(equal(curly, b'{') | equal(curly, b'}'));
            classes.before_keys |= bits(equal(bytes, b'{') | equal(bytes, b','));
            classes.spaces |= bits(equal(bytes, b' '));
            controls |= bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
            any |= bytes;
        }
        classes.beyond_ascii = any.to_bitmask();
        classes.controls = controls.to_bitmask();
        classes
    }
}
