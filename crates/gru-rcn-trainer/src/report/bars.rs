//! Horizontal bars: a fraction of one, with its number.

use super::format::{percent, width};
use maud::{Markup, html};

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
    /// `None` if there is nothing to measure.
    pub(super) fraction: Option<f64>,
    pub(super) remark: String,
    /// Whether the others are compared with this line.
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
