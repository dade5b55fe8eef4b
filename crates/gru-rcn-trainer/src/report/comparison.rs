//! The systems side by side, and the levels of the first one.

use super::RunReport;
use super::format::{Line, amount, bar, bar_list, percent, percent_range};
use crate::run::card::SystemResult;
use gru_rcn::baselines::Baseline;
use gru_rcn_metrics::Comparison;
use maud::{Markup, html};

/// With this number of classes or fewer, top-5 accuracy is always 100 %.
pub(crate) const TRIVIAL_TOP5: usize = 5;

/// The meaning of NLL.
pub(crate) const NLL: &str = "mean negative log-probability of the true class, in nats; lower is better";

/// The meaning of the column of differences.
const DIFFERENCE: &str = "points of top-1 accuracy by which the first system is above this one, on the same clips; 95 % interval by the \
                          paired bootstrap, probability by McNemar's exact test";

pub(super) fn comparison(report: &RunReport) -> Markup {
    let top5 = report.classes.len() > TRIVIAL_TOP5;
    let compared = report.systems.iter().any(|system| system.compared.is_some());
    html! {
        section {
            h2 { "Results on the test clips" }
            table.systems {
                thead { tr {
                    th scope="col" { "System" }
                    th scope="col" { "Top-1" }
                    @if top5 { th scope="col" { "Top-5" } }
                    th scope="col" { "Mean class" }
                    th scope="col" { abbr title=(NLL) { "NLL" } }
                    th scope="col" { "Parameters" }
                    @if compared { th scope="col" { abbr title=(DIFFERENCE) { "Difference" } } }
                } }
                tbody {
                    @for (index, system) in report.systems.iter().enumerate() {
                        (system_row(system, index == 0, top5, compared))
                    }
                }
            }
            p.note { (note(report.classes.len())) }
            p.note { (words(&report.systems)) }
        }
    }
}

fn system_row(system: &SystemResult, first: bool, top5: bool, compared: bool) -> Markup {
    let test = &system.test;
    html! {
        tr.first[first] {
            th scope="row" { (system.name) }
            td.top1 {
                div {
                    span { (percent(test.top1)) }
                    (bar(test.top1, Some(test.top1_interval())))
                    small { (percent_range(test.top1_interval())) }
                }
                @if let Some(means) = &system.mean_of_probabilities {
                    small { "mean of probabilities " (percent(means.top1)) }
                }
            }
            @if top5 { td data-label="Top-5" { (percent(test.top5)) } }
            td data-label="Mean class" { (percent(test.mean_class)) }
            td data-label="NLL" { (format!("{:.3}", test.nll)) }
            td data-label="Parameters" { (amount(system.parameters)) }
            @if compared {
                td.difference data-label="Difference" {
                    @if let Some([points, interval, p]) = system.compared.as_ref().map(Comparison::parts) {
                        (points) small { (interval) } small { (p) }
                    }
                }
            }
        }
    }
}

pub(super) fn note(classes: usize) -> String {
    let mut note = String::from("The line over a bar is the 95 % interval (Wilson).");
    if classes > 1 {
        note += &format!(
            " Guessing among {classes} equally likely classes gives {} and an NLL of {:.3}.",
            percent(1.0 / classes as f64),
            (classes as f64).ln()
        );
    }
    note
}

/// Explains the words of the table that a reader may not know.
fn words(systems: &[SystemResult]) -> String {
    let mut words = format!(
        "NLL: {NLL}. Percepts: the maps that the CNN makes of single frames, which every system takes in; a level is the \
         depth of the CNN that they are taken from."
    );
    if systems.iter().any(|system| system.compared.is_some()) {
        words += &format!(" Difference: {DIFFERENCE}.");
    }
    if let Some(cnn) = systems.iter().find(|system| system.mean_of_probabilities.is_some()) {
        words += &format!(
            " {}: the classifier that the CNN was fine-tuned with. Its logits are averaged over frames and views, then comes \
             the softmax; below is the accuracy by the mean of the probabilities.",
            cnn.name
        );
    }
    for baseline in Baseline::ALL.iter().filter(|baseline| systems.iter().any(|s| s.key == baseline.key())) {
        words += &format!(" {}: {}.", baseline.name(), baseline.about());
    }
    words
}

/// The accuracy of every level alone and that of their average; nothing for a single level.
pub(super) fn levels(report: &RunReport) -> Markup {
    let Some(system) = report.systems.first().filter(|s| s.levels.len() > 1) else {
        return html! {};
    };
    let mut lines: Vec<Line> = system
        .levels
        .iter()
        .map(|(name, accuracy)| Line { name, fraction: Some(*accuracy), remark: String::new(), strong: false })
        .collect();
    lines.push(Line { name: "averaged", fraction: Some(system.test.top1), remark: String::new(), strong: true });
    html! {
        section {
            h2 { "What each level sees" }
            p.lead {
                "Every level of the network has a recurrent layer and a classifier of its own. "
                "Their probabilities are averaged."
            }
            (bar_list(&lines, false))
        }
    }
}
