//! Which classes are confused, and the accuracy of each.

use super::RunReport;
use super::format::{Line, bar_list};
use gru_rcn_metrics::ConfusionMatrix;
use maud::{Markup, html};

/// Largest number of classes whose counts make a readable table.
const TABLE_CLASSES: usize = 24;
/// The strongest tint of a cell; text on it still has a contrast above 4.5 in both themes.
const STRONGEST: f64 = 0.72;
/// Number of mistakes that are listed.
const MISTAKES: usize = 6;

/// The matrix, the most frequent mistakes and the accuracy of every class; empty without counts.
pub(super) fn confusion(report: &RunReport) -> Markup {
    let Ok(matrix) = ConfusionMatrix::try_from(report.confusion.clone()) else {
        return html! {};
    };
    if matrix.clips() == 0 || matrix.classes() != report.classes.len() {
        return html! {};
    }
    html! {
        section {
            h2 { "Confusion of classes" }
            div.confusion {
                div.matrix-side {
                    div.scroll tabindex="0" role="region" aria-label="Confusion matrix" {
                        @if matrix.classes() <= TABLE_CLASSES { (table(&matrix, &report.classes)) }
                        @else { (map(&matrix, &report.classes)) }
                    }
                    p.note { "Rows are the true classes, columns what they were taken for." }
                }
                (mistakes(&matrix, &report.classes))
            }
        }
        section {
            h2 { "Accuracy by class" }
            (per_class(&matrix, &report.classes))
        }
    }
}

fn table(matrix: &ConfusionMatrix, classes: &[String]) -> Markup {
    html! {
        table.matrix {
            thead { tr {
                td {}
                @for class in classes { th scope="col" { span { (class) } } }
            } }
            tbody {
                @for (truth, row) in matrix.rows().iter().enumerate() {
                    tr {
                        th scope="row" { (classes[truth]) }
                        @for (predicted, &count) in row.iter().enumerate() {
                            (cell(count, row.iter().sum(), truth == predicted))
                        }
                    }
                }
            }
        }
    }
}

/// The cells of correct clips have a frame and a colour of their own; either is enough to recognise them.
fn cell(count: usize, clips: usize, right: bool) -> Markup {
    let share = count as f64 / clips.max(1) as f64;
    let tint = if right { "--heat-right" } else { "--heat-wrong" };
    // A single mistake among a hundred should still be visible.
    let strength = if count == 0 { 0.0 } else { 0.10 + (STRONGEST - 0.10) * share.sqrt() };
    let style = format!("background:rgb(var({tint}) / {strength:.2})");
    html! {
        @if count == 0 { td.right[right].none { "·" } }
        @else { td.right[right] style=(style) { (count) } }
    }
}

/// Too many classes for numbers: one square per pair, with the names in a tooltip.
fn map(matrix: &ConfusionMatrix, classes: &[String]) -> Markup {
    let side = matrix.classes();
    html! {
        svg.map viewBox=(format!("0 0 {side} {side}")) role="img" aria-label="Confusion matrix" {
            rect.ground width=(side) height=(side) {}
            @for (truth, row) in matrix.rows().iter().enumerate() {
                @let clips = row.iter().sum::<usize>().max(1);
                @for (predicted, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                    rect.right[truth == predicted].wrong[truth != predicted]
                        x=(predicted) y=(truth) width="1" height="1"
                        fill-opacity=(format!("{:.2}", (count as f64 / clips as f64).sqrt())) {
                        title { (classes[truth]) " taken for " (classes[predicted]) ": " (count) }
                    }
                }
            }
        }
    }
}

fn mistakes(matrix: &ConfusionMatrix, classes: &[String]) -> Markup {
    let mut pairs = Vec::new();
    for (truth, row) in matrix.rows().iter().enumerate() {
        for (predicted, &count) in row.iter().enumerate() {
            if truth != predicted && count > 0 {
                pairs.push((count, truth, predicted));
            }
        }
    }
    pairs.sort_by_key(|&(count, truth, predicted)| (usize::MAX - count, truth, predicted));
    html! {
        div.mistakes {
            h3 { "Most frequent mistakes" }
            @if pairs.is_empty() { p { "None: every test clip was named correctly." } }
            ol {
                @for &(count, truth, predicted) in pairs.iter().take(MISTAKES) {
                    @let clips: usize = matrix.rows()[truth].iter().sum();
                    li {
                        b { (classes[truth]) } " taken for " b { (classes[predicted]) }
                        " " small { (count) " of " (clips) }
                    }
                }
            }
        }
    }
}

fn per_class(matrix: &ConfusionMatrix, classes: &[String]) -> Markup {
    let accuracies = matrix.per_class_accuracy();
    let mut order: Vec<usize> = (0..classes.len()).collect();
    // Best first, classes without clips last; equal ones in the order of the labels.
    order.sort_by(|&a, &b| {
        let key = |class: usize| accuracies[class].unwrap_or(-1.0);
        key(b).total_cmp(&key(a))
    });
    let line = |class: usize| {
        let row = &matrix.rows()[class];
        Line {
            name: &classes[class],
            fraction: accuracies[class],
            remark: format!("{}/{}", row[class], row.iter().sum::<usize>()),
            strong: false,
        }
    };
    bar_list(&order.into_iter().map(line).collect::<Vec<_>>(), classes.len() > 6)
}
