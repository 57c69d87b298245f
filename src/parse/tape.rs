//! JSON read off simd-json's tape, one pass, nothing copied.
//!
//! The tape is a flat list of nodes in document order: an object is its node, then key, value, key, value.
//! A [`Value`] is a place on it. Strings borrow from the frame, because simd-json resolves escapes in
//! place; the tape itself is reused from frame to frame.
//!
//! Wrong types read as absent: whoever needs a field names it in [`Malformed::Shape`].

use std::borrow::Cow;
use std::mem;

use simd_json::{Buffers, ErrorType, Node, StaticNode, Tape};

use super::select::{FieldsWanted, Selector};
use super::{DEPTH_MAX, Malformed};

/// Frames up to this size leave their buffers for the next one; longer ones give the memory back.
///
/// Sixteen times the longest frame of the recorded streams, 16,400 bytes. The frame is copied twice, and a byte of
/// JSON makes at most one 4-byte index and one 24-byte node; the selector keeps up to half a node a byte and half a
/// byte of masks beside that. So what a reader keeps is at most 46 times this, 12 MiB, and that only after frames of
/// nothing but brackets and commas.
const FRAME_BYTES_KEPT: usize = 256 * 1024;

/// Turns frames into tapes in buffers that it keeps.
pub(super) struct Reader {
    selector: Selector,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Reader {
    pub(super) fn new() -> Reader {
        // Both grow to what the stream's frames need within the first few.
        Reader {
            selector: Selector::default(),
            buffers: Buffers::with_max_depth(0, DEPTH_MAX),
            tape: Tape(Vec::new()),
        }
    }

    /// Parses all of `json`, overwriting it, and gives the root to `take`.
    ///
    /// # Errors
    ///
    /// [`Malformed::NotJson`] and [`Malformed::TooDeep`], and whatever `take` says.
    pub(super) fn read<'f, T>(
        &mut self,
        json: &'f mut [u8],
        take: impl FnOnce(Value<'_, 'f>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        self.read_wanted(json, None, take)
    }

    /// As [`Reader::read`], but where `wanted` names fields, `take` may find those alone; see
    /// [`select`](super::select).
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub(super) fn read_wanted<'f, T>(
        &mut self,
        mut json: &'f mut [u8],
        wanted: Option<&'static FieldsWanted>,
        take: impl FnOnce(Value<'_, 'f>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let kept = json.len() <= FRAME_BYTES_KEPT;
        let mut tape: Tape<'f> = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let wanted = wanted.filter(|_| kept);
        let is_read = wanted.and_then(|wanted| self.selector.read(&mut json, wanted, &mut tape.0)).is_some();
        let filled = if is_read { Ok(()) } else { simd_json::fill_tape(json, &mut self.buffers, &mut tape) };
        let read = match filled {
            Ok(()) => take(Value { nodes: &tape.0 }),
            Err(error) if *error.error() == ErrorType::DepthLimitExceeded => Err(Malformed::TooDeep),
            Err(_) => Err(Malformed::NotJson),
        };
        if kept {
            self.tape = tape.reset();
        } else {
            *self = Reader::new();
        }
        read
    }
}

/// One JSON value: the nodes from its own to the end of the tape.
#[derive(Clone, Copy)]
pub(super) struct Value<'t, 'f> {
    nodes: &'t [Node<'f>],
}

impl<'t, 'f> Value<'t, 'f> {
    /// The string here.
    pub(super) fn string(self) -> Option<&'f str> {
        match self.nodes.first()? {
            Node::String(string) => Some(string),
            _ => None,
        }
    }

    /// The integer here. Never by way of a float, so that 64-bit ids stay exact.
    pub(super) fn i64(self) -> Option<i64> {
        match *self.nodes.first()? {
            Node::Static(StaticNode::I64(number)) => Some(number),
            Node::Static(StaticNode::U64(number)) => i64::try_from(number).ok(),
            _ => None,
        }
    }

    /// The integer here, if it is not negative.
    pub(super) fn u64(self) -> Option<u64> {
        match *self.nodes.first()? {
            Node::Static(StaticNode::I64(number)) => u64::try_from(number).ok(),
            Node::Static(StaticNode::U64(number)) => Some(number),
            _ => None,
        }
    }

    /// Whether `true` is here.
    pub(super) fn is_true(self) -> bool {
        matches!(self.nodes.first(), Some(Node::Static(StaticNode::Bool(true))))
    }

    /// Whether `null` is here, which says as little as nothing.
    pub(super) fn is_null(self) -> bool {
        matches!(self.nodes.first(), None | Some(Node::Static(StaticNode::Null)))
    }

    /// Whether `false` is here.
    pub(super) fn is_false(self) -> bool {
        matches!(self.nodes.first(), Some(Node::Static(StaticNode::Bool(false))))
    }

    /// The id here: a string that is not empty, or an integer in decimal.
    pub(super) fn id(self) -> Option<Cow<'f, str>> {
        match self.string() {
            Some("") => None,
            Some(string) => Some(Cow::Borrowed(string)),
            None => self.u64().map(|number| Cow::Owned(number.to_string())),
        }
    }

    /// This value, if it is an object.
    pub(super) fn object(self) -> Option<Value<'t, 'f>> {
        matches!(self.nodes.first(), Some(Node::Object { .. })).then_some(self)
    }

    /// This value, if it is an array.
    pub(super) fn array(self) -> Option<Value<'t, 'f>> {
        matches!(self.nodes.first(), Some(Node::Array { .. })).then_some(self)
    }

    /// The fields of the object here; none if it is no object.
    ///
    /// A key that comes twice is given twice; readers keep the last, as `JSON.parse` does.
    pub(super) fn fields(self) -> Fields<'t, 'f> {
        match self.nodes.split_first() {
            Some((Node::Object { len, .. }, nodes)) => Fields { nodes, left: *len },
            _ => Fields { nodes: &[], left: 0 },
        }
    }

    /// The field of this name, the last one if it comes twice. For more than one field of an object,
    /// [`Value::fields`] reads them in one pass.
    pub(super) fn field(self, name: &str) -> Option<Value<'t, 'f>> {
        self.fields().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// The items of the array here; none if it is no array.
    pub(super) fn items(self) -> Items<'t, 'f> {
        match self.nodes.split_first() {
            Some((Node::Array { len, .. }, nodes)) => Items { nodes, left: *len },
            _ => Items { nodes: &[], left: 0 },
        }
    }

    /// Whether the array here holds anything.
    pub(super) fn has_items(self) -> bool {
        matches!(self.nodes.first(), Some(Node::Array { len: 1.., .. }))
    }
}

/// The fields of an object.
pub(super) struct Fields<'t, 'f> {
    nodes: &'t [Node<'f>],
    left: usize,
}

impl<'t, 'f> Iterator for Fields<'t, 'f> {
    type Item = (&'f str, Value<'t, 'f>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (Node::String(key), nodes) = self.nodes.split_first()? else {
            return None;
        };
        self.nodes = after_first(nodes)?;
        Some((key, Value { nodes }))
    }
}

/// The items of an array.
pub(super) struct Items<'t, 'f> {
    nodes: &'t [Node<'f>],
    left: usize,
}

impl<'t, 'f> Iterator for Items<'t, 'f> {
    type Item = Value<'t, 'f>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let nodes = self.nodes;
        self.nodes = after_first(nodes)?;
        Some(Value { nodes })
    }
}

/// What follows the value that `nodes` begin with.
fn after_first<'t, 'f>(nodes: &'t [Node<'f>]) -> Option<&'t [Node<'f>]> {
    let inside = match nodes.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => *count,
        _ => 0,
    };
    nodes.get(1 + inside..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, take: impl FnOnce(Value<'_, '_>)) {
        let mut bytes = json.as_bytes().to_vec();
        let read = Reader::new().read(&mut bytes, |root| {
            take(root);
            Ok(())
        });
        assert_eq!(read, Ok(()), "{json}");
    }

    fn check_malformed(json: &[u8], expected: Malformed) {
        let read = Reader::new().read(&mut json.to_vec(), |_| Ok(()));
        assert_eq!(read, Err(expected), "{:?}", String::from_utf8_lossy(json));
    }

    #[test]
    fn nested_values_are_skipped_whole() {
        check(r#"{"a":{"b":[1,{"c":2}],"d":{}},"e":[],"f":"g"}"#, |root| {
            let keys: Vec<&str> = root.fields().map(|(key, _)| key).collect();
            assert_eq!(keys, ["a", "e", "f"]);
            assert_eq!(root.field("f").and_then(Value::string), Some("g"));
            assert_eq!(root.field("a").map(|a| a.fields().count()), Some(2));
            assert_eq!(root.field("a").and_then(|a| a.field("b")).map(|b| b.items().count()), Some(2));
        });
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        check(r#"{"a":1,"a":2}"#, |root| {
            assert_eq!(root.field("a").and_then(Value::i64), Some(2));
        });
    }

    #[test]
    fn integers_of_64_bits_are_exact() {
        check(r"[9007199254740993,18446744073709551615,-9223372036854775808]", |root| {
            let ids: Vec<_> = root.items().map(Value::id).collect();
            assert_eq!(ids, [Some("9007199254740993".into()), Some("18446744073709551615".into()), None]);
            assert_eq!(root.items().last().and_then(Value::i64), Some(i64::MIN));
        });
    }

    #[test]
    fn a_wrong_type_reads_as_absent() {
        check(r#"[1.5,true,null,"s",{},[]]"#, |root| {
            for value in root.items() {
                assert_eq!((value.i64(), value.u64()), (None, None));
            }
            assert_eq!(root.items().filter_map(Value::string).collect::<Vec<_>>(), ["s"]);
            assert_eq!(root.items().filter(|value| value.is_true()).count(), 1);
        });
    }

    #[test]
    fn nesting_ends_at_the_limit_without_recursion() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        check(&nested(DEPTH_MAX), |_| ());
        check_malformed(nested(DEPTH_MAX + 1).as_bytes(), Malformed::TooDeep);
        check_malformed("[".repeat(100_000).as_bytes(), Malformed::TooDeep);
        check_malformed(r#"{"a":"#.repeat(100_000).as_bytes(), Malformed::TooDeep);
    }

    #[test]
    fn what_is_no_json_is_named_so() {
        for json in [
            &b""[..],
            b" ",
            b"{",
            b"{\"a\":1",
            b"{\"a\":\"b",
            b"nul",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\xed\xa0\x80\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":\"\\x\"}",
            b"{\"a\":1}{\"b\":2}",
            b"[1,]",
            b"'a'",
        ] {
            check_malformed(json, Malformed::NotJson);
        }
    }

    #[test]
    fn a_reader_serves_frame_after_frame_of_any_size() {
        let mut reader = Reader::new();
        for bytes in [1, 100, FRAME_BYTES_KEPT * 2, 10] {
            let mut json = format!("[\"{}\"]", "a".repeat(bytes)).into_bytes();
            let read = reader.read(&mut json, |root| Ok(root.items().next().and_then(Value::string)));
            assert_eq!(read.map(|string| string.map(str::len)), Ok(Some(bytes)));
            assert_eq!(reader.read(&mut b"[".to_vec(), |_| Ok(())), Err(Malformed::NotJson));
        }
    }
}
