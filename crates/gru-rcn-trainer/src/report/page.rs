//! The layout of the page.

use super::RunReport;
use super::calibration::calibration;
use super::comparison::{comparison, levels};
use super::confusion::confusion;
use super::curves::learning_curves;
use super::format::{counted, percent, percent_range};
use super::gallery::{explained, gallery};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The style of the page; the only text that is not escaped, since it does not come from outside.
const STYLE: &str = include_str!("style.css");
/// The page may use its own style and images and load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Writes a report as one HTML document that needs no other file.
///
/// Every text of `report` is escaped, because class and clip names come from outside.
pub(crate) fn render(report: &RunReport) -> String {
    let body = html! {
        (head(report))
        main {
            (comparison(report))
            (levels(report))
            (learning_curves(&report.systems))
            (confusion(report))
            (calibration(report))
            (explained(&report.explained))
            (gallery(&report.gallery))
            (run_card(&report.run_card, &report.recipe))
        }
    };
    document(&report.title, body)
}

/// A page with the style of the program, which needs no other file.
pub(crate) fn document(title: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                footer {
                    "Made by gru-rcn. This page is one file and loads nothing."
                }
            }
        }
    };
    page.into_string()
}

fn head(report: &RunReport) -> Markup {
    html! {
        header {
            h1 { (report.title) }
            @if !report.subtitle.is_empty() { p.subtitle { (report.subtitle) } }
            @if let Some(system) = report.systems.first() {
                p.headline {
                    span.number { (percent(system.test.top1)) }
                    span.words {
                        "of " (counted(system.test.clips, "test clip"))
                        " named correctly by " (system.name)
                        small { "95 % interval " (percent_range(system.test.top1_interval())) }
                    }
                }
            }
            @if let Some(verdict) = &report.verdict { p.sentence { (verdict.sentence) } }
            @for note in &report.notes { p.note { (note) } }
        }
    }
}

pub(super) fn run_card(entries: &[(String, String)], recipe: &str) -> Markup {
    html! {
        section {
            h2 { "How to reproduce this" }
            dl.card {
                @for (name, value) in entries {
                    div { dt { (name) } dd { (value) } }
                }
            }
            @if !recipe.is_empty() {
                details {
                    summary { "The full recipe" }
                    pre tabindex="0" { code { (recipe) } }
                }
            }
        }
    }
}
