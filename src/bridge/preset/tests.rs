//! A preset's mistakes are named by their key, and no text breaks out of where it is put.

use minijinja::value::{Serde, Value};
use proptest::prelude::*;
use serde_json::json;

use super::{BUILT_IN, Escape, Preset};

const SMALL: &str = r#"
title = "Small"
quota_per_minute = 60
levels = ["a", "b", "c", "d"]
[options.queue]
about = "where"
default = "General"
[[create]]
method = "POST"
path = "/tickets?queue={{ option.queue }}"
body = '{"subject": {{ subject }}, "level": {{ level_value }}, "tags": {{ tags }}}'
capture = { id = "response.id" }
"#;

fn seen(values: &serde_json::Value) -> Value {
    Value::from(Serde(values))
}

fn mistake(from: &str, to: &str) -> String {
    let text = SMALL.replace(from, to);
    assert_ne!(text, SMALL, "{from} is not there");
    match Preset::parse(&text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{to} is taken"),
    }
}

#[test]
fn the_built_in_presets_are_right() {
    for (name, text) in BUILT_IN {
        let preset = Preset::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!preset.calls.title.is_empty());
        for (option, about) in &preset.calls.options {
            assert!(!about.about.is_empty(), "{name}: option {option}");
        }
    }
}

#[test]
fn mistakes_are_named_by_their_key() {
    let check = |from: &str, to: &str, expected: &str| {
        let said = mistake(from, to);
        assert!(said.contains(expected), "{from} -> {to}: {said}");
    };
    check("title", "titel", "titel");
    check("{{ subject }}", "{{ subject }", "create[0].body: ");
    check("{{ subject }}", "{{ subjct }}", "create[0].body: asks for subjct, which nothing gives");
    check(
        "option.queue",
        "option.queu",
        "create[0].path: asks for option.queu, which is not among the options",
    );
    check("{{ subject }}", "{{ subject|shout }}", "create[0].body: ");
    check("\"response.id\"", "\"response.\"", "create[0].capture.id: ");
    check("\"response.id\"", "\"answer.id\"", "create[0].capture.id: asks for answer, which nothing gives");
    check("{ id =", "{ number =", "create: exactly one step must capture id");
    check("POST", "post", "create[0].method: must be GET, POST, PUT, PATCH or DELETE");
    check("\"/tickets", "\"tickets", "create[0].path: must begin with a slash");
    check("capture", "each = \"tags\"\ncapture", "create[0].capture: a step with each captures nothing");
    check("capture", "when = \"tags and\"\ncapture", "create[0].when: ");
    check("capture", "done = \"respose\"\ncapture", "create[0].done: asks for respose");
    check(
        "capture",
        "headers = { \"a b\" = \"c\" }\ncapture",
        "create[0].headers.a b: \"a b\" is no name of a header",
    );
    check("capture", "headers = { a = \"{{ toke }}\" }\ncapture", "create[0].headers.a: asks for toke");
    check(
        "[[create]]",
        "[limits]\nremaining = \"a:\"\n[[create]]",
        "limits.remaining: \"a:\" is no name of a header",
    );
    check("[[create]]", "[headers]\na = \"{% if %}\"\n[[create]]", "headers.a: ");
    let read =
        "[read]\ncall = { method = \"GET\", path = \"/\" }\nfields = { state = \"itm.state\" }\n[[create]]";
    check("[[create]]", read, "read.fields.state: asks for itm");
    let probe = "[[probe]]\nabout = \"x\"\ncall = { method = \"GET\", path = \"/\" }\nadvice = \"{{ x }}\"\n[[create]]";
    check("[[create]]", probe, "probe[0].advice: asks for x");
}

#[test]
fn a_body_whose_values_stand_in_quotes_is_a_mistake_and_says_so() {
    let preset = Preset::parse(&SMALL.replace("{{ subject }}", "\"{{ subject }}\"")).unwrap();
    let body = preset.calls.create[0].body.as_deref().unwrap();
    let values = seen(&json!({ "subject": "x", "level_value": 1, "tags": [] }));
    let error = preset.render("create[0].body", body, Escape::Json, &values).unwrap_err();
    assert!(error.to_string().starts_with("create[0].body: gives no JSON: "), "{error}");
}

#[test]
fn what_a_template_asks_for_and_is_not_there_is_a_mistake() {
    let preset = Preset::parse(SMALL).unwrap();
    for escape in [Escape::Url, Escape::Json, Escape::Nothing] {
        let error = preset.render("create[0].x", "{{ note }}", escape, &seen(&json!({})));
        assert!(error.unwrap_err().to_string().starts_with("create[0].x: "), "{escape:?}");
    }
}

fn rendered(text: &str, escape: Escape, value: &str) -> String {
    let preset = Preset::parse(SMALL).unwrap();
    preset.render("x", text, escape, &seen(&json!({ "note": value }))).unwrap()
}

#[test]
fn hostile_texts_stay_where_they_are_put() {
    let check = |value: &str, address: &str| {
        assert_eq!(rendered("/a?b={{ note }}&c=d e", Escape::Url, value), format!("/a?b={address}&c=d%20e"));
        let body = rendered(r#"{"note": {{ note }}}"#, Escape::Json, value);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), json!({ "note": value }));
        assert_eq!(rendered("{{ note }}", Escape::Nothing, value), value);
    };
    check("a/b?c=d&e#f", "a%2Fb%3Fc%3Dd%26e%23f");
    check("\", \"admin\": true, \"x\": \"", "%22%2C%20%22admin%22%3A%20true%2C%20%22x%22%3A%20%22");
    check("{{ token }}{% raw %}", "%7B%7B%20token%20%7D%7D%7B%25%20raw%20%25%7D");
    check("line\r\nline\u{2028}", "line%0D%0Aline%E2%80%A8");
    check("\u{0}\u{1b}\u{7f}", "%00%1B%7F");
    check("\u{1f525}", "%F0%9F%94%A5");
    check("%2e%2e/", "%252e%252e%2F");
    check("</script>'", "%3C%2Fscript%3E%27");
}

#[test]
fn what_rt_says_of_a_strangers_subject_decides_nothing() {
    let (_, text) = BUILT_IN.iter().find(|(name, _)| *name == "rt").unwrap();
    let erase = Preset::parse(text).unwrap().calls.erase;
    let done: Vec<_> =
        erase.iter().filter_map(|step| Some((step.method.as_str(), step.done.as_deref()?))).collect();
    assert_eq!(done, [("GET", "response.Subject == subject")]);
}

#[test]
fn the_filters_give_what_their_standards_say() {
    let check = |template: &str, value: &str, expected: &str| {
        assert_eq!(rendered(template, Escape::Nothing, value), expected);
    };
    // RFC 4648, section 10.
    let vectors = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("foobar", "Zm9vYmFy"),
    ];
    vectors.iter().for_each(|(plain, coded)| check("{{ note|base64 }}", plain, coded));
    check("{{ note|base64 }}", "\u{fb}\u{ff}~", "w7vDv34=");
    check("{{ note|html }}", "<b a=\"'\">&\n", "&lt;b a=&quot;&#39;&quot;&gt;&amp;<br>\n");
    check(
        "{{ note|wiki }}",
        "[~ada] {code} !http://x/y.png! a|b",
        r"\[~ada\] \{code\} \!http://x/y.png\! a\|b",
    );
    // An escape of a stranger's own does not undo ours.
    check("{{ note|wiki }}", r"\[~ada] \\{code}", r"&#92;\[~ada\] &#92;&#92;\{code\}");
    check(
        "{{ note|liquid }}",
        "{{ticket.id}} {{{a}}} {%if%} {x} 100 %",
        "{ {ticket.id}} { { {a}}} { %if%} {x} 100 %",
    );
    check("{{ note|wiki }}", "https://x.com/a_b/status/1?c=d#e", "https://x.com/a_b/status/1?c=d#e");
    check("{{ note|wiki(11) }}", r"\\\", "&#92;&#92;…");
    check("{{ note|wiki(10) }}", r"\\", "&#92;&#92;");
    check("{{ note|wiki(4) }}", "a🔥🔥", "a🔥…");
    check(
        "{{ note|markdown }}",
        "![x](y) [@a](mention://user/1/a)",
        r"!\[x\](y) \[@a\](mention\://user/1/a)",
    );
    check("{{ note|markdown }}", r"\[x](y) {{ a }} <b> `c`", r"\\\[x\](y) \{\{ a \}\} \<b> \`c\`");
    check(
        "{{ note|markdown }}",
        "So:\n│ https://x.com/a_b/1\n│\n│ │ [x]",
        "So:\n> https://x.com/a_b/1\n>\n> │ \\[x\\]",
    );
    // Chatwoot makes a `%}` of a backtick, so that one that is missing ends no tag but its beginning is one.
    check(
        "{{ note|markdown }}",
        "{% for i in (1..9) ` {% endfor ` {%}",
        r"\{ % for i in (1..9) \` \{ % endfor \` \{ %\}",
    );
    check(
        "{{ note|redacted }}",
        "<div dir=\"auto\">a &amp; b<br><a href=\"https://a.example\">c</a><img src=\"d\" alt=\"e\">\n</div>f",
        "<div dir=\"auto\"><redact>a &amp; b</redact><br><a redact href=\"https://a.example\"><redact>c</redact></a>\
         <img redact src=\"d\" alt=\"e\"><redact>\n</redact></div><redact>f</redact>",
    );
    check("{{ note|redacted }}", "a", "<redact>a</redact>");
    check("{{ note|redacted }}", "", "");
    check("{{ note|redacted }}", "a <p", "<redact>a </redact><p");
    let blackened = |html: &str, expected: &str| check("{{ note is blackened }}", html, expected);
    blackened("", "True");
    blackened("<div class=\"zd-comment\" dir=\"auto\"><p>\u{2587}\u{2587}</p>\n&nbsp; <br></div>", "True");
    blackened("<p>\u{2587}a</p>", "False");
    blackened("<p>\u{2587}&amp;</p>", "False");
    for tag in ["a href=\"x\"", "IMG SRC='x'", "video\nsrc=x", "p title=\"x\"", "img alt=\"x\"", "a"] {
        let is_empty = if tag == "a" { "True" } else { "False" };
        blackened(&format!("<{tag}>\u{2587}</{tag}>"), is_empty);
    }
    blackened("\u{2587}<p", "False");
    blackened("\u{2587}<p and words", "False");
    check("{{ note|epoch }}", "2026-11-27T01:00:00+01:00", "1795737600");
    check("{{ note|epoch is undefined }}", "soon", "True");
}

proptest! {
    #[test]
    fn any_text_gives_json_that_holds_it(subject in any::<String>(), tags in proptest::collection::vec(any::<String>(), 0..4)) {
        let preset = Preset::parse(SMALL).unwrap();
        let body = preset.calls.create[0].body.as_deref().unwrap();
        let values = json!({ "subject": subject, "level_value": "a", "tags": tags });
        let body = preset.render("create[0].body", body, Escape::Json, &seen(&values)).unwrap();
        let read: serde_json::Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(&read["subject"], &values["subject"]);
        prop_assert_eq!(&read["tags"], &values["tags"]);
    }

    #[test]
    fn no_text_as_markdown_begins_a_tag_of_liquid(text in r"([a`{}%\\\n│ -]|mention://){0,30}") {
        let markdown = rendered("{{ note|markdown }}", Escape::Nothing, &text);
        prop_assert!(!markdown.contains("{%") && !markdown.contains("{{"), "{markdown}");
    }

    #[test]
    fn any_text_stays_one_value_of_an_address(text in any::<String>()) {
        let address = rendered("/a?b={{ note }}&c=d", Escape::Url, &text);
        let uri: hyper::Uri = address.parse().unwrap();
        let value = uri.query().unwrap().strip_prefix("b=").unwrap().strip_suffix("&c=d").unwrap();
        prop_assert_eq!(percent_encoding::percent_decode_str(value).decode_utf8().unwrap(), text);
    }
}
