//! Numbers formatted for people.

/// A space that does not break and is narrower than one between words.
const THIN: char = '\u{202f}';

/// A fraction in percent: `92.4 %`.
pub(super) fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{}{THIN}%", percent_number(fraction)) } else { "–".into() }
}

/// A range of fractions in percent: `88.4–95.1 %`.
pub(super) fn percent_range((low, high): (f64, f64)) -> String {
    format!("{}–{}{THIN}%", percent_number(low), percent_number(high))
}

/// One decimal. `100.0` is reserved for exactly one; smaller fractions are at most `99.9`.
fn percent_number(fraction: f64) -> String {
    let text = format!("{:.1}", fraction * 100.0);
    match text.as_str() {
        "100.0" if fraction < 1.0 => "99.9".into(),
        "100.0" => "100".into(),
        _ => text,
    }
}

/// A number of parameters: `812`, `3.1 k`, `14.7 M`.
pub(super) fn amount(count: usize) -> String {
    let value = count as f64;
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}{THIN}k", three_digits(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{}{THIN}M", three_digits(value / 1e6)),
        _ => format!("{}{THIN}G", three_digits(value / 1e9)),
    }
}

fn three_digits(value: f64) -> String {
    if value < 99.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// A CSS length in percent of the whole, limited to 0 to 100 %.
pub(super) fn width(fraction: f64) -> String {
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
    format!("{:.2}%", fraction * 100.0)
}

/// `one clip`, `2 clips`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("one {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        assert_eq!(percent(0.924), "92.4\u{202f}%");
        assert_eq!(percent(1.0), "100\u{202f}%");
        assert_eq!(percent(0.9996), "99.9\u{202f}%");
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(percent_range((0.5, 1.0)), "50.0–100\u{202f}%");
    }

    #[test]
    fn amounts() {
        assert_eq!(amount(812), "812");
        assert_eq!(amount(3_149), "3.1\u{202f}k");
        assert_eq!(amount(14_714_688), "14.7\u{202f}M");
        assert_eq!(amount(138_357_544), "138\u{202f}M");
    }

    #[test]
    fn widths_stay_inside() {
        assert_eq!(width(0.5), "50.00%");
        assert_eq!(width(7.0), "100.00%");
        assert_eq!(width(f64::NAN), "0.00%");
    }
}
