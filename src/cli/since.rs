//! How far back a command looks, as `--since` of each of them takes it.

use jiff::SignedDuration;

/// Longest look back.
const DAYS_MAX: i64 = 3_650;

/// `90m`, `12h`, `7d`, `4w`.
pub(super) fn span(text: &str) -> Result<SignedDuration, String> {
    let refused =
        || format!("must be a number with m, h, d or w, as 90m, 12h, 7d or 4w, and at most {DAYS_MAX}d");
    let unit = text.chars().last().ok_or_else(refused)?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return Err(refused()),
    };
    let number: i64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(refused)?;
    let minutes = number.checked_mul(minutes).filter(|minutes| (1..=DAYS_MAX * 24 * 60).contains(minutes));
    Ok(SignedDuration::from_mins(minutes.ok_or_else(refused)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_its_unit() {
        for (text, minutes) in
            [("90m", 90), ("12h", 720), ("7d", 10_080), ("4w", 40_320), ("3650d", 5_256_000)]
        {
            assert_eq!(span(text), Ok(SignedDuration::from_mins(minutes)), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "0d",
            "-1h",
            "9999d",
            "7 d",
            "522w",
            "7y",
            "99999999999999999999d",
            "9223372036854775807d",
        ] {
            let told = span(text).unwrap_err();
            assert!(told.contains("m, h, d or w"), "{text:?}: {told}");
        }
    }
}
