//! The lines that are no posts: our greeting, the sender's answer, our acknowledgements.

use serde::Deserialize;

use super::trouble::Trouble;
use crate::source::quote;

/// The protocol's only version.
const VERSION: u64 = 1;

/// Longest answer to our greeting, its end included. The ones that mean something are far shorter; a
/// sender's words of refusal may be longer.
pub(super) const ANSWER_BYTES_MAX: usize = 4096;

/// Most lines that a sender may say it no longer has, 2^53: a million a second for 285 years. A mistaken
/// number beyond would become our position for good, since the ledger keeps the greatest.
const SKIPPED_MAX: i64 = 1 << 53;

/// Our greeting: `after` lines of the stream are here.
pub(super) fn hello(after: i64) -> String {
    format!("{{\"vigie\":{VERSION},\"after\":{after}}}\n")
}

/// Every line up to `position` is durable.
pub(super) fn ack(position: i64) -> String {
    format!("{{\"ack\":{position}}}\n")
}

/// After which line the sender begins, by its answer to the greeting that said `after`: one line, with or
/// without its end.
///
/// # Errors
///
/// It is not an answer that we can go on with.
pub(super) fn answer(line: &[u8], after: i64) -> Result<i64, Trouble> {
    /// Keys that we do not know are left to later versions of senders.
    #[derive(Deserialize)]
    struct Answer {
        vigie: Option<u64>,
        after: Option<i64>,
        error: Option<String>,
    }
    let nonsense = || Trouble::Nonsense(quote(line));
    let answer: Answer = serde_json::from_slice(line).map_err(|_| nonsense())?;
    match answer {
        Answer { error: Some(error), .. } => Err(Trouble::Refused(quote(error.as_bytes()))),
        Answer { vigie: Some(VERSION), after: Some(begins_after @ 0..), .. } => {
            if begins_after.saturating_sub(after) > SKIPPED_MAX {
                return Err(Trouble::TooFar { after, begins_after });
            }
            Ok(begins_after)
        }
        Answer { vigie: Some(version), .. } if version != VERSION => Err(Trouble::OtherVersion(version)),
        Answer { .. } => Err(nonsense()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_lines_are_those_of_the_protocol() {
        assert_eq!(hello(0), "{\"vigie\":1,\"after\":0}\n");
        assert_eq!(hello(i64::MAX), "{\"vigie\":1,\"after\":9223372036854775807}\n");
        assert_eq!(ack(42), "{\"ack\":42}\n");
    }

    #[test]
    fn an_answer_says_where_the_sender_begins_or_why_not() {
        let check = |line: &str, expected: Result<i64, &str>| {
            let answer = answer(line.as_bytes(), 5).map_err(|trouble| trouble.to_string());
            assert_eq!(answer, expected.map_err(str::to_owned), "{line:?}");
        };
        check("{\"vigie\":1,\"after\":0}\n", Ok(0));
        check(" {\"after\":7, \"vigie\":1, \"of\": {\"the\": [\"future\"]}}\r\n", Ok(7));
        check("{\"vigie\":2,\"after\":7}", Err("the sender speaks version 2 of the protocol, and not 1"));
        check("{\"vigie\":1,\"error\":\"not\\nyet\"}", Err("the sender refused: \"not yet\""));
        check("{\"error\":\"\"}", Err("the sender refused: \"\""));
        check("{\"vigie\":1,\"after\":9007199254740997}", Ok((1 << 53) + 5));
        check(
            "{\"vigie\":1,\"after\":9007199254740998}",
            Err("the sender begins after line 9007199254740998, which no stream of 5 lines can have reached"),
        );
        for line in [
            "",
            "\n",
            "HTTP/1.1 400 Bad Request",
            "{\"vigie\":1}",
            "{\"after\":1}",
            "{\"vigie\":1,\"after\":-1}",
        ] {
            check(line, Err(&Trouble::Nonsense(line.trim().to_owned()).to_string()));
        }
        check(
            "{\"vigie\":1,\"after\":9223372036854775808}",
            Err("the sender does not speak our protocol: it answered \
                 \"{\\\"vigie\\\":1,\\\"after\\\":9223372036854775808}\""),
        );
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(
            line in prop::collection::vec(any::<u8>(), 0..100),
            number in any::<i64>(),
            after in 0..=i64::MAX,
        ) {
            let _ = answer(&line, after);
            let _ = answer(hello(number).as_bytes(), after);
        }

        #[test]
        fn what_we_greet_with_would_be_understood(after in 0..i64::MAX) {
            prop_assert_eq!(answer(hello(after).as_bytes(), after).ok(), Some(after));
        }
    }
}
