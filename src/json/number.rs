//! Numbers as decimals of any length.

/// A spelling that two numbers share exactly where they are the same number: `1.0`, `1` and `10e-1`, `-0` and `0`.
/// Where an exponent is too long to count with it is the text as it stands.
pub(crate) fn canonical(text: &str) -> String {
    spelled(text).unwrap_or_else(|| text.to_owned())
}

/// Whether two texts are the same number.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let is_whole = |text: &str| !text.contains(['.', 'e', 'E']) && text != "-0";
    if is_whole(a) && is_whole(b) {
        // JSON knows no leading zeros.
        return false;
    }
    canonical(a) == canonical(b)
}

/// Whether a text is the number of this [`canonical`] spelling.
pub(crate) fn is(text: &str, wanted: &str) -> bool {
    if text.contains(['.', 'e', 'E']) {
        return canonical(text) == wanted;
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return wanted == "0";
    }
    let exponent = wanted
        .strip_prefix(sign)
        .and_then(|rest| rest.strip_prefix(significant)?.strip_prefix('e'));
    exponent.is_some_and(|exponent| exponent.parse() == Ok(digits.len() - significant.len()))
}

fn spelled(text: &str) -> Option<String> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = (digits.len() - significant.len()) as i64;
    let exponent = small(exponent)? - fraction.len() as i64 + zeros;
    Some(format!("{sign}{significant}e{exponent}"))
}

/// An exponent that no sum here overflows.
fn small(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.trim_start_matches('0');
    match digits.len() {
        0 => Some(0),
        1..=15 => digits.parse::<i64>().ok().map(|number| sign * number),
        _ => None,
    }
}
