//! Frames read only where a reader looks: a tape of the wanted fields, the rest stepped over.
//!
//! Of an X v1.1 status of 5 KB the readers look at some 40 of 150 fields. [`Selector::read`] walks the objects
//! that hold those and writes them on a tape like simd-json's own; an object or array that nobody wants is
//! stepped over by its brackets. A [`FieldsWanted`] says which fields an object's reader looks at.
//!
//! What is read is checked as simd-json does. Where anything is unusual (an escaped key, a number with an
//! exponent, a lone surrogate, deep nesting) or wrong, the answer is `None` before a byte is changed, and
//! simd-json reads the frame and has the last word: a frame is only ever refused by it.
//!
//! One thing is seen less sharply. Inside what is stepped over, UTF-8, strings, escapes and the nesting of
//! brackets are checked, commas, colons, numbers and words are not: and neither is a value beside wanted
//! ones that is no string: `{"limit":{"track"1}}` counts as if it were JSON. No network's encoder writes that, a cut
//! frame does not pass, and a post is read from parts that were checked.

mod index;
#[cfg(test)]
mod tests;

use std::ops::Range;

use simd_json::{Node, StaticNode};

use self::index::{Index, hex4};
use super::DEPTH_MAX;

/// The fields of an object that are wanted.
#[derive(Debug)]
pub(super) struct FieldsWanted {
    fields: &'static [(&'static str, Wanted)],
    /// Has the bit of each name: most other names are passed over by it.
    bits: u64,
}

/// What is wanted of a value. A value of another kind reads as `null`, as wrong types read as absent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// A string, number or word. Of an object or array only that there is something.
    Scalar,
    /// An object with these fields.
    Object(&'static FieldsWanted),
    /// An array with items like this.
    Items(&'static Wanted),
}

impl FieldsWanted {
    pub(super) const fn of(fields: &'static [(&'static str, Wanted)]) -> FieldsWanted {
        let (mut bits, mut field) = (0, 0);
        while field < fields.len() {
            match fields[field].0.as_bytes() {
                [first, second, ..] => bits |= bit([*first, *second]),
                _ => panic!("names have two letters at least"),
            }
            field += 1;
        }
        FieldsWanted { fields, bits }
    }

    /// Whether a name that begins with these two bytes may be wanted; `false` is sure.
    #[inline]
    fn may_want(&self, first: [u8; 2]) -> bool {
        self.bits & bit(first) != 0
    }

    #[inline]
    fn of_name(&self, name: &[u8]) -> Option<&'static (&'static str, Wanted)> {
        self.fields.iter().find(|(wanted, _)| wanted.as_bytes() == name)
    }
}

/// One bit for a name that begins so.
#[inline]
const fn bit(first: [u8; 2]) -> u64 {
    1 << ((first[0] as usize * 7 + first[1] as usize * 3) % 64)
}

/// What a walk has found, with strings still as they are in the frame.
#[derive(Debug, Clone)]
enum Found {
    Node(Node<'static>),
    String(Range<usize>),
}

/// Finds the wanted fields of frames, in buffers that it keeps.
#[derive(Debug, Default)]
pub(super) struct Selector {
    index: Index,
    found: Vec<Found>,
}

impl Selector {
    /// Writes the wanted fields of the object in `frame` onto `tape`, resolving escapes in place.
    ///
    /// `None` where simd-json must say what this is; `frame` is then as it was.
    pub(super) fn read<'f>(
        &mut self,
        frame: &mut &'f mut [u8],
        fields: &'static FieldsWanted,
        tape: &mut Vec<Node<'f>>,
    ) -> Option<()> {
        let json = frame.trim_ascii_end();
        self.index.read(json)?;
        self.found.clear();
        let mut walk = Walk { frame: json, index: &self.index, found: &mut self.found, at: 0, depth: 0 };
        walk.document(fields)?;
        tape.clear();
        self.write(std::mem::take(frame), tape);
        Some(())
    }

    /// Turns what was found into nodes.
    fn write<'f>(&self, frame: &'f mut [u8], tape: &mut Vec<Node<'f>>) {
        tape.reserve(self.found.len());
        if !self.index.has_escapes {
            let text = utf8(frame).unwrap_or_default();
            tape.extend(self.found.iter().map(|found| match found {
                Found::Node(node) => *node,
                Found::String(range) => Node::String(text.get(range.clone()).unwrap_or_default()),
            }));
            return;
        }
        // Strings come in the frame's order, so each takes its part of the frame for good.
        let (mut rest, mut taken) = (frame, 0);
        tape.extend(self.found.iter().map(|found| match found {
            Found::Node(node) => *node,
            Found::String(range) => {
                let (part, behind) = std::mem::take(&mut rest).split_at_mut(range.end - taken);
                let string = part.get_mut(range.start - taken..).unwrap_or_default();
                (rest, taken) = (behind, range.end);
                let bytes_len = match self.index.backslash(range.clone()) {
                    Some(at) => self.unescape(string, range.start, at - range.start),
                    None => string.len(),
                };
                let string: &'f [u8] = string;
                // The frame is UTF-8 and escapes are too, so this never is the empty one.
                Node::String(string.get(..bytes_len).and_then(utf8).unwrap_or_default())
            }
        }));
    }

    /// Resolves the escapes of `string`, which begins at `start` of the frame and whose first backslash is
    /// `first` bytes behind that. Gives how long it is then: never longer.
    fn unescape(&self, string: &mut [u8], start: usize, first: usize) -> usize {
        let (mut from, mut to) = (first, first);
        while from < string.len() {
            let (letter, read) = escaped(string, from);
            let mut utf8 = [0; 4];
            for byte in letter.encode_utf8(&mut utf8).bytes() {
                if let Some(place) = string.get_mut(to) {
                    *place = byte;
                    to += 1;
                }
            }
            from += read;
            let end = start + string.len();
            let next = self.index.backslash(start + from..end).map_or(string.len(), |at| at - start);
            string.copy_within(from..next, to);
            to += next - from;
            from = next;
        }
        to
    }
}

fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The letter that the escape at `at` stands for, and the escape's length. It has been checked.
fn escaped(string: &[u8], at: usize) -> (char, usize) {
    match string.get(at + 1) {
        Some(b'u') => {
            let high = hex4(string, at + 2).unwrap_or_default();
            let pair = match high {
                0xD800..=0xDBFF => hex4(string, at + 8),
                _ => None,
            };
            match pair {
                Some(low) => (letter(0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF)), 12),
                None => (letter(high), 6),
            }
        }
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{C}', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(itself) => (char::from(*itself), 2),
        None => (char::REPLACEMENT_CHARACTER, 2),
    }
}

fn letter(code: u32) -> char {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

struct Walk<'w> {
    frame: &'w [u8],
    index: &'w Index,
    found: &'w mut Vec<Found>,
    at: usize,
    /// Objects and arrays around `at`.
    depth: usize,
}

impl Walk<'_> {
    fn document(&mut self, fields: &'static FieldsWanted) -> Option<()> {
        (self.byte()? == b'{').then_some(())?;
        self.object(fields)?;
        (self.at == self.frame.len()).then_some(())
    }

    fn object(&mut self, fields: &'static FieldsWanted) -> Option<()> {
        let place = self.open()?;
        let mut len = 0;
        loop {
            // Values that nobody wants are not looked at: on to the next key, or a bracket.
            self.at = self.index.key_or_bracket(self.at)?;
            match self.byte()? {
                b'"' => {}
                b'}' => break,
                b']' => return None,
                _ => {
                    self.nested()?;
                    continue;
                }
            }
            // An escaped key may be a wanted one.
            if self.index.has_escapes && self.index.is_escaped(self.at + 1) {
                return None;
            }
            let first = self.frame.get(self.at + 1..self.at + 3)?;
            if !fields.may_want(first.try_into().ok()?) {
                self.at += 1;
                continue;
            }
            let key = self.string()?;
            if let Some((name, wanted)) = fields.of_name(self.frame.get(key)?) {
                self.found.push(Found::Node(Node::String(name)));
                self.eat(b':').then_some(())?;
                self.value(*wanted)?;
                matches!(self.byte()?, b',' | b'}').then_some(())?;
                len += 1;
            }
        }
        self.at += 1;
        self.depth -= 1;
        let count = self.found.len() - place - 1;
        *self.found.get_mut(place)? = Found::Node(Node::Object { len, count });
        Some(())
    }

    fn items(&mut self, wanted: Wanted) -> Option<()> {
        let place = self.open()?;
        let mut len = 0;
        if !self.eat(b']') {
            loop {
                self.value(wanted)?;
                len += 1;
                if !self.eat(b',') {
                    break;
                }
            }
            self.eat(b']').then_some(())?;
        }
        self.depth -= 1;
        let count = self.found.len() - place - 1;
        *self.found.get_mut(place)? = Found::Node(Node::Array { len, count });
        Some(())
    }

    /// Enters an object or array; gives its place in `found`, where its node belongs.
    fn open(&mut self) -> Option<usize> {
        self.depth += 1;
        self.at += 1;
        self.found.push(Found::Node(Node::Static(StaticNode::Null)));
        (self.depth <= DEPTH_MAX).then_some(self.found.len() - 1)
    }

    fn value(&mut self, wanted: Wanted) -> Option<()> {
        match (self.byte()?, wanted) {
            (b'"', _) => {
                let string = self.string()?;
                self.found.push(Found::String(string));
                Some(())
            }
            (b'{', Wanted::Object(fields)) => self.object(fields),
            (b'[', Wanted::Items(wanted)) => self.items(*wanted),
            _ => {
                let node = self.unwanted()?;
                self.found.push(Found::Node(Node::Static(node)));
                Some(())
            }
        }
    }

    /// Steps over a value; gives it where it is a word or an integer.
    fn unwanted(&mut self) -> Option<StaticNode> {
        match self.byte()? {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.nested()?,
            b't' => return self.word(b"true", StaticNode::Bool(true)),
            b'f' => return self.word(b"false", StaticNode::Bool(false)),
            b'n' => return self.word(b"null", StaticNode::Null),
            _ => return self.number(),
        }
        Some(StaticNode::Null)
    }

    /// Steps over an object or array: to the bracket that closes it, of the kind that opened it.
    fn nested(&mut self) -> Option<()> {
        // Bit 0 is the innermost bracket: 1 for an object, 0 for an array.
        let (mut kinds, mut depth) = (0_u64, 0);
        loop {
            let at = self.index.bracket(self.at)?;
            let bracket = *self.frame.get(at)?;
            self.at = at + 1;
            let kind = u64::from(bracket & 0x20 != 0);
            // This bit is set in `]` and `}` and in no other bracket.
            if bracket & 4 == 0 {
                depth += 1;
                kinds = kinds << 1 | kind;
                (self.depth + depth <= DEPTH_MAX).then_some(())?;
            } else {
                (kinds & 1 == kind).then_some(())?;
                kinds >>= 1;
                depth -= 1;
                if depth == 0 {
                    return Some(());
                }
            }
        }
    }

    /// Steps over a string; gives where it is, without its quotes.
    #[inline]
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at + 1;
        let end = self.index.quote(start)?;
        self.at = end + 1;
        Some(start..end)
    }

    fn word(&mut self, word: &[u8], node: StaticNode) -> Option<StaticNode> {
        self.frame.get(self.at..)?.starts_with(word).then_some(())?;
        self.at += word.len();
        Some(node)
    }

    /// An integer of up to 64 bits. Numbers with a fraction or an exponent are simd-json's.
    fn number(&mut self) -> Option<StaticNode> {
        let is_negative = self.byte()? == b'-';
        self.at += usize::from(is_negative);
        let digits = self.frame.get(self.at..)?;
        let (mut number, mut len) = (0_u64, 0);
        for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            len += 1;
        }
        let is_right = len == 1 || (len > 1 && digits.first() != Some(&b'0'));
        if !is_right || matches!(digits.get(len), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += len;
        match (is_negative, i64::try_from(number)) {
            (false, _) => Some(StaticNode::U64(number)),
            (true, Ok(number)) => Some(StaticNode::I64(-number)),
            (true, Err(_)) => None,
        }
    }

    /// Steps over `sign`, if it is next.
    #[inline]
    fn eat(&mut self, sign: u8) -> bool {
        let is_next = self.byte() == Some(sign);
        self.at += usize::from(is_next);
        is_next
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.frame.get(self.at).copied()
    }
}
