//! Numbers and bars for people.

use maud::{Markup, html};

/// A space that does not break and is narrower than one between words.
const THIN: char = '\u{202f}';

/// A fraction in percent: `92.4 %`.
pub(crate) fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{}{THIN}%", percent_number(fraction)) } else { "–".into() }
}

/// A range of fractions in percent: `88.4–95.1 %`.
pub(crate) fn percent_range((low, high): (f64, f64)) -> String {
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
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("one {noun}") } else { format!("{count} {noun}s") }
}

/// A bar, with a whisker over it if an interval is known.
pub(super) fn bar(fraction: f64, interval: Option<(f64, f64)>) -> Markup {
    html! {
        span.bar aria-hidden="true" {
            span.fill style=(format!("width:{}", width(fraction))) {}
            @if let Some((low, high)) = interval {
                span.whisker
                    style=(format!("left:{};width:{}", width(low), width(high - low))) {}
            }
        }
    }
}

/// One line of a list of bars: name, value, and an optional remark.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// `None` if there is no value.
    pub(super) fraction: Option<f64>,
    pub(super) remark: String,
    /// Whether the line is emphasised.
    pub(super) strong: bool,
}

/// A list of named bars on one scale.
pub(super) fn bar_list(lines: &[Line], columns: bool) -> Markup {
    html! {
        ul.bars.columns[columns] {
            @for line in lines {
                li.strong[line.strong] {
                    span.name { (line.name) }
                    (bar(line.fraction.unwrap_or(0.0), None))
                    span.value {
                        @match line.fraction { Some(f) => (percent(f)), None => "–" }
                        @if !line.remark.is_empty() { " " small { (line.remark) } }
                    }
                }
            }
        }
    }
}
