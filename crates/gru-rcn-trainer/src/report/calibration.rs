//! The reliability of the probabilities.

use gru_rcn_metrics::{Answers, BINS, Predictions, ReliabilityBin};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::RunReport;
use super::format::{Line, bar_list, counted, percent};
use crate::run::card::Calibration;

/// Thresholds that are listed.
const THRESHOLDS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Sides of a diagram in its own units.
const SIDE: f64 = 220.0;
const MARGIN: f64 = 40.0;

/// The probabilities of the first system on the test clips.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Reliability {
    /// By confidence, without temperature scaling.
    pub(crate) before: Vec<ReliabilityBin>,
    /// By confidence, with temperature scaling.
    pub(crate) after: Vec<ReliabilityBin>,
    /// By threshold, with temperature scaling.
    pub(crate) answers: Vec<Answers>,
}

impl Reliability {
    pub(crate) fn of(predictions: &Predictions, calibration: &Calibration) -> Self {
        let scaled = predictions.at_temperature(calibration.temperature);
        Self {
            before: predictions.reliability(BINS),
            after: scaled.reliability(BINS),
            answers: THRESHOLDS.iter().map(|&threshold| scaled.answers(threshold)).collect(),
        }
    }

    /// Every fraction that the page is drawn from.
    pub(super) fn fractions(&self) -> impl Iterator<Item = f64> {
        let bins = self.before.iter().chain(&self.after).flat_map(|bin| [bin.confidence, bin.accuracy]);
        bins.chain(self.answers.iter().map(|answers| answers.threshold))
    }
}

/// The section of the page; empty if no temperature was fitted.
pub(super) fn calibration(report: &RunReport) -> Markup {
    let system = report.systems.first();
    let Some((system, calibration)) = system.and_then(|system| Some((system, system.calibration.as_ref()?))) else {
        return html! {};
    };
    let Some(reliability) = &report.reliability else { return html! {} };
    let clips = calibration.test.clips;
    let names: Vec<String> =
        reliability.answers.iter().map(|answers| format!("at least {}", percent(answers.threshold))).collect();
    let mut lines = Vec::new();
    for (&Answers { answered, correct, .. }, name) in reliability.answers.iter().zip(&names) {
        let fraction = (answered > 0).then(|| correct.min(answered) as f64 / answered as f64);
        lines.push(Line { name, fraction, remark: format!("of {answered}"), strong: false });
    }
    html! {
        section {
            h2 { "What the probabilities mean" }
            p.lead {
                "A calibrated model that says 80 % is right in 80 of 100 cases. The probabilities of " (system.name)
                " are scaled by the temperature " (format!("{:.3}", calibration.temperature)) ", fitted on the "
                (counted(calibration.validation.clips, "validation clip")) ". The expected calibration error is "
                (percent(calibration.validation.before)) " before and " (percent(calibration.validation.after))
                " after scaling on these, and " (percent(calibration.test.before)) " before and "
                (percent(calibration.test.after)) " after on the " (counted(clips, "test clip"))
                ". Figures outside this section are without scaling, which changes no order of classes."
            }
            div.curves {
                (diagram("Test clips, without the temperature", &reliability.before))
                (diagram("Test clips, with the temperature", &reliability.after))
            }
            h3 { "Accuracy of the answers by threshold" }
            p.note {
                "The share of correct answers, and the number of the " (clips) " test clips that have an answer, if only a "
                "scaled probability of at least the threshold counts as one."
            }
            (bar_list(&lines, false))
        }
    }
}

/// A reliability diagram: accuracy over confidence, a point per bin, larger with more clips.
fn diagram(title: &str, bins: &[ReliabilityBin]) -> Markup {
    let most = bins.iter().map(|bin| bin.clips).max().unwrap_or(0).max(1) as f64;
    let x = |fraction: f64| format!("{:.1}", MARGIN + fraction * SIDE);
    let y = |fraction: f64| format!("{:.1}", MARGIN / 2.0 + (1.0 - fraction) * SIDE);
    html! {
        svg.plot viewBox=(format!("0 0 {} {}", SIDE + 1.5 * MARGIN, SIDE + 1.5 * MARGIN)) role="img" aria-label=(title) {
            text.title x=(MARGIN) y="12" { (title) }
            @for tick in [0.0, 0.5, 1.0] {
                line.grid x1=(x(0.0)) x2=(x(1.0)) y1=(y(tick)) y2=(y(tick)) {}
                text.tick x=(MARGIN - 6.0) y=(y(tick)) text-anchor="end" { (percent(tick)) }
                text.tick x=(x(tick)) y=(SIDE + MARGIN) text-anchor="middle" { (percent(tick)) }
            }
            text.tick.unit x=(x(1.0)) y=(SIDE + 1.4 * MARGIN) text-anchor="end" { "confidence; upwards: accuracy" }
            line.kept x1=(x(0.0)) x2=(x(1.0)) y1=(y(0.0)) y2=(y(1.0)) {}
            @for bin in bins.iter().filter(|bin| bin.clips > 0) {
                circle.dot.validation cx=(x(bin.confidence)) cy=(y(bin.accuracy))
                    r=(format!("{:.1}", 2.0 + 6.0 * (bin.clips as f64 / most).sqrt())) {
                    title { (counted(bin.clips, "clip")) }
                }
            }
        }
    }
}
