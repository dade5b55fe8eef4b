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
    let run_card = [("Program", "gru-rcn 0.1.0"), ("Seed", "7"), ("Data set", "motion, 10 classes, 1 600 clips")];
    RunReport {
        title: "Motion, ten classes".into(),
        subtitle: "Which way does the shape move? A single frame cannot tell; time has to.".into(),
        run_card: run_card.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        classes: CLASSES.map(String::from).to_vec(),
        systems: vec![
            ours,
            system("Top-layer RNN", "top_rnn", 198_410, 0.8125, 0.55),
            system("Per-frame baseline", "frame", 21_770, 0.2375, 1.93),
        ],
        confusion: confusion.rows().to_vec(),
        gallery: (0..6).map(clip).collect(),
        recipe: "seed = 7\n\n[model]\nhidden = [16, 32, 64, 64]\n".into(),
    }
}

/// Of each class some clips are taken for its neighbours, in a number that depends on the class.
fn confusion() -> ConfusionMatrix {
    let mut matrix = ConfusionMatrix::new(CLASSES.len());
    for (truth, lost) in [0, 1, 0, 2, 7, 4, 3, 0, 1, 5].into_iter().enumerate() {
        for clip in 0..CLIPS {
            let shift = if clip >= lost { 0 } else { 1 + clip / 4 };
            matrix.count(truth, (truth + shift) % CLASSES.len());
        }
    }
    matrix
}

/// The curves saturate; the validation loss rises again after epoch 26.
fn system(name: &str, key: &str, parameters: usize, top1: f64, nll: f64) -> SystemResult {
    let point = |epoch: usize| {
        let left = (-(epoch as f64) / 7.0).exp();
        EpochPoint {
            epoch,
            train_loss: nll * 0.6 + (10f64.ln() - nll * 0.6) * left,
            train_accuracy: top1 * (1.0 - left),
            validation_loss: nll + (10f64.ln() - nll) * left + 0.02 * epoch.saturating_sub(26) as f64,
            validation_accuracy: 0.95 * top1 * (1.0 - left),
            best: epoch <= 26,
        }
    };
    SystemResult {
        name: name.into(),
        key: key.into(),
        parameters,
        test: Classification { top1, top5: 0.9, mean_class: top1, nll, clips: CLIPS * CLASSES.len() },
        levels: Vec::new(),
        curve: (1..=40).map(point).collect(),
        refit: None,
    }
}

/// Every third clip is wrong.
fn clip(index: usize) -> GalleryClip {
    let (truth, other) = (CLASSES[index], CLASSES[(index + 1) % CLASSES.len()]);
    let [first, second] = if index % 3 == 2 { [other, truth] } else { [truth, other] };
    GalleryClip {
        id: format!("test/{truth}/{index:04}"),
        truth: truth.into(),
        top: vec![(first.into(), 0.6), (second.into(), 0.3), (CLASSES[(index + 5) % CLASSES.len()].into(), 0.1)],
        frames_jpeg: (0..8).map(frame).collect(),
    }
}

/// A bright bar that moves to the right.
fn frame(time: usize) -> String {
    const SIDE: usize = 64;
    let bar = 4 + time * 6..18 + time * 6;
    let pixel = |n: usize| if bar.contains(&(n % SIDE)) { [236, 178, 92] } else { [60, 68, 74] };
    let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(pixel).collect();
    jpeg_base64(&rgb, SIDE, SIDE).expect("the sample frame has its size")
}
