//! A report with plausible numbers, for the tests of the page.

use super::{GalleryClip, RunReport, jpeg_base64};
use crate::run::card::{EpochPoint, SystemResult};
use gru_rcn_metrics::{Classification, ConfusionMatrix};

const CLASSES: [&str; 10] = ["left", "right", "up", "down", "circle", "circle back", "square", "star", "tick", "caret"];
const CLIPS: usize = 24;

/// Ten motions, three systems, forty epochs.
pub(super) fn report() -> RunReport {
    let confusion = confusion();
    let top1 = confusion.trace() as f64 / confusion.clips() as f64;
    let mut ours = system("GRU-RCN", "gru_rcn", 612_362, top1, 0.30);
    let levels = [("pool2", 0.662), ("pool3", 0.779), ("pool4", 0.871), ("pool5", 0.812)];
    ours.levels = levels.iter().map(|(name, value)| (name.to_string(), *value)).collect();
    RunReport {
        title: "Motion, ten classes".into(),
        subtitle: "Which way does the shape move? A single frame cannot tell; time has to.".into(),
        run_card: run_card(),
        classes: CLASSES.map(String::from).to_vec(),
        systems: vec![
            ours,
            system("Top-layer RNN", "top_rnn", 198_410, 0.8125, 0.55),
            system("Per-frame baseline", "frame", 21_770, 0.2375, 1.93),
        ],
        confusion: confusion.rows().to_vec(),
        gallery: (0..6).map(clip).collect(),
        recipe: "seed = 7\n\n[model]\nlevels = [\"pool2\", \"pool3\", \"pool4\", \"pool5\"]\n\
                 hidden = [16, 32, 64, 64]\nkernel = 3\n\n[train]\nepochs = 40\nbatch = 32\n\
                 learning_rate = 1e-3\n"
            .into(),
    }
}

fn run_card() -> Vec<(String, String)> {
    let pairs = [
        ("Program", "gru-rcn 0.1.0"),
        ("Burn", "0.22.1"),
        ("Device", "cpu, 2 threads"),
        ("Seed", "7"),
        ("Data set", "motion, 10 classes, 1 600 clips"),
        ("Fingerprint", "b1946ac92492d234 7c6235b4d2611184"),
        ("Trained for", "3 min 41 s"),
        ("Throughput", "212 clips a second"),
    ];
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// Of each class some clips are taken for its neighbour, in a number that depends on the class.
fn confusion() -> ConfusionMatrix {
    let mut matrix = ConfusionMatrix::new(CLASSES.len());
    for truth in 0..CLASSES.len() {
        let lost = [0, 1, 0, 2, 7, 4, 3, 0, 1, 5][truth];
        for clip in 0..CLIPS {
            let shift = if clip >= lost { 0 } else { 1 + clip / 4 };
            matrix.count(truth, (truth + shift) % CLASSES.len());
        }
    }
    matrix
}

fn system(name: &str, key: &str, parameters: usize, top1: f64, nll: f64) -> SystemResult {
    let clips = CLIPS * CLASSES.len();
    SystemResult {
        name: name.into(),
        key: key.into(),
        parameters,
        test: Classification { top1, top5: 1.0 - (1.0 - top1) * 0.12, mean_class: top1, nll, clips },
        levels: Vec::new(),
        curve: curve(top1, nll),
        refit: None,
    }
}

/// Saturating curves with a deviation that depends on the epoch alone.
fn curve(top1: f64, nll: f64) -> Vec<EpochPoint> {
    let mut best = f64::INFINITY;
    let point = |epoch: usize| {
        let t = epoch as f64;
        let wobble = ((t * 12.9898).sin() * 43_758.547).fract() * 0.03;
        let left = (-t / 7.0).exp();
        let validation_loss = nll + (10f64.ln() - nll) * left + 0.004 * (t - 26.0).max(0.0) + wobble;
        let is_best = validation_loss < best;
        best = best.min(validation_loss);
        EpochPoint {
            epoch,
            train_loss: nll * 0.6 + (10f64.ln() - nll * 0.6) * left + wobble / 3.0,
            train_accuracy: (0.1 + (top1 + 0.04 - 0.1) * (1.0 - left) + wobble / 3.0).min(1.0),
            validation_loss,
            validation_accuracy: 0.1 + (top1 - 0.1) * (1.0 - left) + wobble,
            best: is_best,
        }
    };
    (1..=40).map(point).collect()
}

/// A bright square that moves across a textured background.
fn clip(index: usize) -> GalleryClip {
    let wrong = index % 3 == 2;
    let (truth, other) = (CLASSES[index], CLASSES[(index + 1) % CLASSES.len()]);
    let first = if wrong { other } else { truth };
    let second = if wrong { truth } else { other };
    GalleryClip {
        id: format!("test/{truth}/{index:04}"),
        truth: truth.into(),
        top: vec![
            (first.into(), if wrong { 0.512 } else { 0.937 }),
            (second.into(), if wrong { 0.431 } else { 0.042 }),
            (CLASSES[(index + 5) % CLASSES.len()].into(), 0.012),
        ],
        frames_jpeg: (0..8).map(|time| frame(index, time)).collect(),
    }
}

fn frame(index: usize, time: usize) -> String {
    const SIDE: usize = 64;
    let mut rgb = Vec::with_capacity(SIDE * SIDE * 3);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let (left, top) = (4 + time * 6, 20 + index * 2);
            let inside = (left..left + 14).contains(&x) && (top..top + 14).contains(&y);
            let ground = (60 + (x * 7 + y * 13 + index * 31) % 40) as u8;
            rgb.extend(if inside { [236, 178, 92] } else { [ground, ground + 8, ground + 14] });
        }
    }
    jpeg_base64(&rgb, SIDE, SIDE).expect("the sample frame has its size")
}
