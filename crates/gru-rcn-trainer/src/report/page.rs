//! The layout of the page.

use super::comparison::{comparison, levels};
use super::confusion::confusion;
use super::curves::learning_curves;
use super::format::{counted, percent, percent_range};
use super::gallery::gallery;
use super::model::RunReport;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The style of the page; the only text that is not escaped, since it is our own.
const STYLE: &str = include_str!("style.css");
/// The page may use its own style and images and load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Writes a report as one HTML document that needs no other file.
///
/// Every text of `report` is escaped, because class and clip names come from outside.
pub(crate) fn render(report: &RunReport) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(report))
                main {
                    (comparison(report))
                    (levels(report))
                    (learning_curves(&report.systems))
                    (confusion(report))
                    (gallery(&report.gallery))
                    (run_card(report))
                }
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
        }
    }
}

fn run_card(report: &RunReport) -> Markup {
    html! {
        section {
            h2 { "How to get this again" }
            dl.card {
                @for (name, value) in &report.run_card {
                    div { dt { (name) } dd { (value) } }
                }
            }
            @if !report.recipe.is_empty() {
                details {
                    summary { "The full recipe" }
                    pre tabindex="0" { code { (report.recipe) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_page_loads_nothing() {
        let page = render(&sample::report());
        for forbidden in ["http://", "https://", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn names_are_escaped() {
        let mut report = sample::report();
        let hostile = "<img src=x onerror=alert(1)>\"'";
        report.title = hostile.into();
        report.classes[0] = hostile.into();
        report.gallery[0].id = hostile.into();
        report.gallery[0].frames_jpeg[0] = "\" onload=\"alert(1)".into();
        report.run_card.push((hostile.into(), hostile.into()));
        report.recipe = "</code></pre><b>".into();
        let page = render(&report);
        assert!(!page.contains("<img src=x") && !page.contains("\" onload"));
        assert!(!page.contains("</pre><b>"));
    }

    #[test]
    fn a_report_survives_json() {
        let report = sample::report();
        let text = serde_json::to_string(&report).unwrap();
        let back: RunReport = serde_json::from_str(&text).unwrap();
        // Pages are compared, not reports: a number may differ in its last bit after JSON.
        assert!(render(&back) == render(&report));
    }

    /// To look at the page, set the variable to a file name.
    #[test]
    fn the_sample_can_be_written() {
        let page = render(&sample::report());
        if let Some(path) = std::env::var_os("GRU_RCN_SAMPLE_REPORT") {
            std::fs::write(path, page).unwrap();
        }
    }

    #[test]
    fn an_empty_report_is_still_a_page() {
        let report = RunReport { title: "empty".into(), ..RunReport::default() };
        assert!(render(&report).contains("<h1>empty</h1>"));
    }
}
