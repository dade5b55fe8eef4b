//! Learning curves, written as SVG so that they take the colours of the page.

use super::format::percent;
use crate::run::card::{EpochPoint, SystemResult};
use maud::{Markup, html};

/// Sizes of the drawing in its own units; it is scaled to the width of the page.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 30.0;

/// Most marks of an axis; [`step`] makes about five.
const MOST_TICKS: u32 = 12;

/// The values of an epoch that a panel shows.
pub(super) struct Panel {
    title: &'static str,
    train: fn(&EpochPoint) -> f64,
    validation: fn(&EpochPoint) -> f64,
    /// Formats a value on the vertical axis, given the step between two of them.
    label: fn(f64, f64) -> String,
    /// The best possible value on the vertical axis, if there is one.
    ceiling: Option<f64>,
}

pub(super) const LOSS: Panel = Panel {
    title: "Loss",
    train: |p| p.train_loss,
    validation: |p| p.validation_loss,
    label: |value, step| {
        let decimals = (0..4).find(|d| (step * 10f64.powi(*d)).fract() < 1e-6).unwrap_or(4);
        format!("{value:.*}", decimals as usize)
    },
    ceiling: None,
};

const ACCURACY: Panel = Panel {
    title: "Accuracy",
    train: |p| p.train_accuracy,
    validation: |p| p.validation_accuracy,
    label: |value, _| format!("{:.0}\u{202f}%", value * 100.0),
    ceiling: Some(1.0),
};

pub(super) fn learning_curves(systems: &[SystemResult]) -> Markup {
    let trained: Vec<_> = systems.iter().filter(|s| !s.curve.is_empty()).collect();
    let again = trained.iter().find_map(|system| system.refit);
    html! {
        @if !trained.is_empty() {
            section {
                h2 { "Learning" }
                p.legend {
                    span { span.key.train {} "training" }
                    span { span.key.validation {} "validation" }
                    span { span.key.kept {} (if again.is_some() { "best epoch" } else { "epoch kept" }) }
                }
                @if let Some(epochs) = again {
                    p.note {
                        "These curves are of the trainings without the validation clips. The tested systems were trained \
                         again from the same initial weights, on training and validation clips together, for "
                        (epochs) " epochs."
                    }
                }
                @for system in trained {
                    div.curves {
                        h3 { (system.name) @if let Some(best) = kept(&system.curve) {
                            small {
                                (if system.refit.is_some() { "best" } else { "kept" }) ": epoch " (best.epoch) ", validation "
                                (percent(best.validation_accuracy))
                            }
                        } }
                        (panel(&LOSS, &system.name, &system.curve))
                        (panel(&ACCURACY, &system.name, &system.curve))
                    }
                }
            }
        }
    }
}

/// The epoch whose weights were kept: the last one marked as best so far.
pub(super) fn kept(curve: &[EpochPoint]) -> Option<&EpochPoint> {
    curve.iter().rev().find(|p| p.best)
}

/// Maps data to the units of the drawing.
struct Scale {
    first: f64,
    last: f64,
    top: f64,
}

impl Scale {
    fn x(&self, epoch: usize) -> f64 {
        let span = self.last - self.first;
        let share = if span > 0.0 { (epoch as f64 - self.first) / span } else { 0.5 };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value / self.top).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

pub(super) fn panel(panel: &Panel, name: &str, curve: &[EpochPoint]) -> Markup {
    let values = || curve.iter().flat_map(|p| [(panel.train)(p), (panel.validation)(p)]);
    let largest = values().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let step = step(panel.ceiling.unwrap_or(largest), 4);
    let top = panel.ceiling.unwrap_or((largest / step).ceil().max(1.0) * step);
    let scale = Scale {
        first: curve.first().map_or(1.0, |p| p.epoch as f64),
        last: curve.last().map_or(1.0, |p| p.epoch as f64),
        top,
    };
    let ticks = (0..MOST_TICKS).map(|i| f64::from(i) * step).take_while(|v| *v <= top * 1.001);
    let alternative = format!("{} of {name} over {} epochs", panel.title, curve.len());
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(alternative) {
            text.title x=(LEFT) y="12" { (panel.title) }
            @for tick in ticks {
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(at(scale.y(tick))) y2=(at(scale.y(tick))) {}
                text.tick x=(LEFT - 7.0) y=(at(scale.y(tick) + 4.0)) text-anchor="end" {
                    ((panel.label)(tick, step))
                }
            }
            (epoch_axis(curve, &scale))
            (line("train", curve, &scale, panel.train))
            (line("validation", curve, &scale, panel.validation))
            @if let Some(best) = kept(curve) { (mark(best, &scale, (panel.validation)(best))) }
        }
    }
}

fn epoch_axis(curve: &[EpochPoint], scale: &Scale) -> Markup {
    let every = (step(scale.last - scale.first, 6) as usize).max(1);
    let marked = |p: &&EpochPoint| p.epoch.is_multiple_of(every) || curve.len() == 1;
    html! {
        @for point in curve.iter().filter(marked) {
            text.tick x=(at(scale.x(point.epoch))) y=(HEIGHT - BOTTOM + 17.0) text-anchor="middle" {
                (point.epoch)
            }
        }
        text.tick.unit x=(LEFT - 7.0) y=(HEIGHT - BOTTOM + 17.0) text-anchor="end" { "epoch" }
    }
}

/// A line through the finite values, interrupted at others.
fn line(class: &str, curve: &[EpochPoint], scale: &Scale, value: fn(&EpochPoint) -> f64) -> Markup {
    let mut path = String::new();
    let mut pen_down = false;
    for point in curve {
        let v = value(point);
        if v.is_finite() {
            let command = if pen_down { 'L' } else { 'M' };
            path += &format!("{command}{} {}", at(scale.x(point.epoch)), at(scale.y(v)));
        }
        pen_down = v.is_finite();
    }
    let single = curve.first().filter(|_| curve.len() == 1).map(value).filter(|v| v.is_finite());
    html! {
        path class={ "line " (class) } d=(path) {}
        @if let (Some(v), Some(point)) = (single, curve.first()) {
            circle class={ "dot " (class) } cx=(at(scale.x(point.epoch))) cy=(at(scale.y(v))) r="3" {}
        }
    }
}

fn mark(best: &EpochPoint, scale: &Scale, value: f64) -> Markup {
    let x = at(scale.x(best.epoch));
    html! {
        line.kept x1=(x) x2=(x) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
        @if value.is_finite() { circle.kept cx=(x) cy=(at(scale.y(value))) r="4" {} }
    }
}

/// A tenth of a unit is finer than the resolution of screens, and keeps the file small.
fn at(position: f64) -> String {
    format!("{position:.1}")
}

/// The round step (1, 2 or 5 times a power of ten) that divides `span` into at most about `parts`.
pub(super) fn step(span: f64, parts: usize) -> f64 {
    let rough = span / parts as f64;
    if !rough.is_finite() || rough <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(rough.log10().floor());
    let fits = [1.0, 2.0, 2.5, 5.0].into_iter().find(|m| m * power >= rough * 0.999);
    fits.unwrap_or(10.0) * power
}
