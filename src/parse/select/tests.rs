//! What is read of the wanted fields alone is what simd-json reads of the whole frame.

use proptest::prelude::*;

use super::super::{Format, Malformed, Parsed, Parser, recorded, x_v1};
use super::*;

fn parsed(mut parser: Parser, frame: &[u8]) -> Result<Parsed<'static>, Malformed> {
    parser.parse(&mut frame.to_vec()).map(recorded::owned)
}

/// Both ways read the same; of what is no JSON the short way may read a part that is.
fn check(frame: &[u8]) {
    let in_full = parsed(Parser::in_full(Format::XV1), frame);
    let selected = parsed(Parser::new(Format::XV1), frame);
    let is_less_sharp = in_full == Err(Malformed::NotJson) && is_selected(frame);
    assert!(selected == in_full || is_less_sharp, "{}\n{in_full:?}\n{selected:?}", frame.escape_ascii());
}

/// Whether simd-json is not asked.
fn is_selected(frame: &[u8]) -> bool {
    let mut frame = frame.to_vec();
    Selector::default().read(&mut &mut *frame, &x_v1::LINE, &mut Vec::new()).is_some()
}

const STATUS: &str = concat!(
    r#"{"created_at":"Wed Oct 10 20:19:24 +0000 2018","id":1050118621198921728,"id_str":"1050118621198921728","#,
    r#""text":"\u00e9t\u00e9 \ud83d\ude00 \"a\" \\ \/ \b\f\n\r\t \\ud83d","source":"<a href=\"https:\/\/x\">x<\/a>","#,
    r#""user":{"id":7,"id_str":"7","name":"Ana","screen_name":"ana","description":"{\"text\":\"no\"}","entities":"#,
    r#"{"url":{"urls":[{"url":"u","indices":[0,23]}]},"text":"no"},"followers_count":42,"verified":true},"geo":null,"#,
    r#""place":{"bounding_box":{"coordinates":[[[-1.5e3,0.25],[1,2]]]},"id":"no","text":["no",{"text":"no"}]},"#,
    r#""entities":{"hashtags":[{"text":"panne","indices":[1,2]},{"text":"\u0394"}],"urls":[],"media":[{"a":[{}]}]},"#,
    r#""retweeted_status":{"id_str":"5","text":"RT","user":{"id":8,"screen_name":"bob"},"quoted_status":"#,
    r#"{"id":9,"text":"q &amp; r","user":{"text":"no"}}},"lang":"fr","text":"the last one counts"}"#
);

#[test]
fn a_status_is_read_without_simd_json() {
    for frame in [STATUS, &format!("{STATUS}\r\n"), r#"{"limit":{"track":1}}"#, "{}"] {
        assert!(is_selected(frame.as_bytes()), "{frame}");
        check(frame.as_bytes());
    }
}

#[test]
fn what_is_unusual_is_left_to_simd_json() {
    for frame in [
        "[]",
        "",
        " {}",
        r#"{"a": 1}"#,
        r#"{"id_str":"1","te\u0078t":"a"}"#,
        r#"{"id":1.5}"#,
        r#"{"id":1e3}"#,
        r#"{"id":99999999999999999999}"#,
        r#"{"text":"\ud800"}"#,
        r#"{"text":"\\ud83d\ude00"}"#,
        r#"{"a":"\x"}"#,
        "{\"a\":\"\u{1}\"}",
        r#"{"a":[}]}"#,
        r#"{"a":{"b":[1,2}}"#,
        r#"{"text":"a""id":1}"#,
        r#"{"text" "a"}"#,
        r#"{"id":01}"#,
        r#"{"id":tru}"#,
        r#"{}{}"#,
        r#"{}\n"#,
    ] {
        assert!(!is_selected(frame.as_bytes()), "{frame}");
        check(frame.as_bytes());
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    assert!(!is_selected(deep.as_bytes()));
    assert!(is_selected(&[br#"{"a":"#, &deep.as_bytes()[6..deep.len() - 2], b"}"].concat()));
    assert!(!is_selected(b"{\"a\":\"\xff\"}"));
}

/// Grammar inside what is stepped over is the one thing that is not seen.
#[test]
fn what_is_stepped_over_is_checked_for_strings_and_brackets_only() {
    let frame = br#"{"unknown":{"a"1,,nul},"delete":{"status":{"id_str":"5"}}}"#;
    assert_eq!(parsed(Parser::in_full(Format::XV1), frame), Err(Malformed::NotJson));
    assert!(is_selected(frame));
}

#[test]
fn a_frame_cut_anywhere_is_no_json() {
    for end in 1..STATUS.len() {
        let cut = &STATUS.as_bytes()[..end];
        assert!(!is_selected(cut), "{end}");
        check(cut);
    }
}

#[test]
fn recorded_statuses_are_read_alike() {
    for file in ["x_v11_stream.jsonl", "x_v11_rest_extended.jsonl"] {
        let Some(frames) = recorded::frames(file) else { return };
        frames.iter().for_each(|frame| check(frame));
        let selected = frames.iter().filter(|frame| is_selected(frame)).count();
        assert!(selected * 100 >= frames.len() * 95, "{file}: {selected} of {}", frames.len());
    }
}

/// Names that mean something at one place or another, and some that look like them.
const NAMES: [&str; 24] = [
    "id_str",
    "id",
    "text",
    "full_text",
    "lang",
    "created_at",
    "in_reply_to_status_id_str",
    "quoted_status_id_str",
    "user",
    "entities",
    "extended_entities",
    "extended_tweet",
    "retweeted_status",
    "quoted_status",
    "delete",
    "status",
    "screen_name",
    "name",
    "hashtags",
    "media",
    "",
    "i",
    "te\\u0078t",
    "texts",
];

/// A JSON value, mostly without space between its parts.
fn value() -> impl Strategy<Value = String> {
    let string = prop::collection::vec(
        prop::sample::select(vec![
            "a",
            "é",
            "日",
            "😀",
            " ",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\/",
            "\\\"",
            "\\\\",
            "\\n",
            "{",
            "}",
            "[",
            ",",
            ":",
            "\\\\ude00",
            "0123456789012345678901234567890123456789",
        ]),
        0..8,
    )
    .prop_map(|parts| format!("\"{}\"", parts.concat()));
    let number =
        prop::sample::select(vec!["0", "-1", "12", "1050118621198921728", "18446744073709551615", "1.5"]);
    let word = prop::sample::select(vec!["null", "true", "false"]);
    let leaf =
        prop_oneof![4 => string, 2 => number.prop_map(str::to_owned), 1 => word.prop_map(str::to_owned)];
    let leaf = leaf.boxed();
    leaf.prop_recursive(5, 120, 12, |inner| {
        let field = (prop::sample::select(NAMES.to_vec()), inner.clone());
        let object = prop::collection::vec(field, 0..12).prop_map(|fields| {
            let fields = fields.iter().map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        });
        let array = prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(",")));
        prop_oneof![3 => object, 1 => array]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_alike(fields in prop::collection::vec((prop::sample::select(NAMES.to_vec()), value()), 0..10)) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        // Enough of a status for all else to matter.
        let whole = format!(r#"{{"id_str":"1","text":"a","user":{{"id":2}},{}}}"#, fields.join(","));
        check(whole.trim_end_matches(",}").as_bytes());
        check(format!("{{{}}}", fields.join(",")).as_bytes());
    }

    #[test]
    fn any_change_of_a_status_is_read_alike(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut frame = STATUS.as_bytes().to_vec();
        for (at, byte, change) in changes {
            let at = at.index(frame.len());
            match change {
                0 => frame[at] = byte,
                1 => frame.insert(at, b"\"\\{}[]:, "[usize::from(byte) % 9]),
                2 => drop(frame.remove(at)),
                _ => frame[at] = b"0129\"{}[]:,-\\"[usize::from(byte) % 13],
            }
        }
        check(&frame);
    }
}
