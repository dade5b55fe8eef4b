//! Tests of the built-in data set, above all that a single frame contains no information about the
//! class.

use std::collections::HashMap;

use super::trajectory::Pose;
use super::*;
use crate::testing::refused;

type Value = fn(Pose) -> f64;

fn clip(motion: usize, index: usize) -> MotionClip {
    let index = index * MOTIONS.len() + motion;
    MotionClip { size: 32, frames: 8, seed: 5, split: Split::Train, index, background: false }
}

/// One draw for every class from the same stream, so that only the classes differ.
fn same_draw(seed: u64) -> [Trajectories; 8] {
    std::array::from_fn(|motion| Trajectories::draw(&mut Draws::new(Fnv64::default().number(seed)), motion, 32, 8))
}

fn rendered(sample: &Sample) -> Frames {
    match &sample.source {
        ClipSource::Motion(clip) => clip.render(),
        other => panic!("{other:?}"),
    }
}

/// Mean difference of the values of two frames. Noise alone makes it 2.5·2/√π = 2.8.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn near(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
}

// The argument of the module, by enumeration: over the eight times, the values of a trajectory that
// moves forwards are those of one that moves backwards, and those over the eight still times of
// either sign of one that stands still.
#[test]
fn a_frame_at_a_random_time_is_the_same_for_every_class() {
    for seed in 0..50 {
        let drawn = same_draw(seed);
        let moving = |motion: usize, value: Value| -> Vec<f64> {
            sorted((0..8).map(|t| value(drawn[motion].pose(t))).collect())
        };
        let still = |mut part: trajectory::Virtual, sign: f64| -> Vec<f64> {
            part.sign = sign;
            let at = |u| trajectory::Virtual { still: u, ..part }.value(None, 3, 8);
            sorted((0..8).map(at).collect())
        };
        let parts: [(usize, usize, Value, trajectory::Virtual); 3] = [
            (0, 1, |pose| pose.x, drawn[0].x),
            (3, 2, |pose| pose.y, drawn[0].y),
            (6, 7, |pose| pose.log_size, drawn[0].log_size),
        ];
        for (forward, backward, value, part) in parts {
            let forward = moving(forward, value);
            assert!(near(&forward, &moving(backward, value)));
            assert!(near(&forward, &still(part, 1.0)));
            assert!(near(&forward, &still(part, -1.0)));
        }
    }
}

// The same by chance: 3000 clips of each class, one random frame of each. With standard deviations
// of about 5 pixels for x and y, 0.27 for the log size and 0.71 for sine and cosine, means may
// differ by 4·√2·σ/√3000 between two classes.
#[test]
fn single_frame_statistics_agree_over_classes() {
    let mut draws = Draws::new(Fnv64::default().text("times"));
    let mut statistics = Vec::new();
    for motion in 0..8 {
        let poses: Vec<Pose> = (0..3000).map(|index| clip(motion, index).trajectories().pose(draws.below(8))).collect();
        let moments = |value: fn(&Pose) -> f64| {
            let mean = poses.iter().map(value).sum::<f64>() / 3000.0;
            (mean, poses.iter().map(|pose| (value(pose) - mean).powi(2)).sum::<f64>() / 3000.0)
        };
        statistics.push([
            moments(|pose| pose.x),
            moments(|pose| pose.y),
            moments(|pose| pose.log_size),
            moments(|pose| pose.angle.cos()),
            moments(|pose| pose.angle.sin()),
        ]);
    }
    for class in &statistics {
        for (this, first) in class.iter().zip(&statistics[0]) {
            let sigma = first.1.sqrt();
            assert!((this.0 - first.0).abs() < 4.0 * 2f64.sqrt() * sigma / 3000f64.sqrt(), "{statistics:?}");
            // The variance of a flat-topped distribution varies by less than σ²·√(2/n).
            assert!((this.1 - first.1).abs() < 4.0 * 2.0 * first.1 / 3000f64.sqrt(), "{statistics:?}");
        }
    }
}

// Backwards, a clip that moves right is a clip that moves left, of the same draw.
#[test]
fn reversal_exchanges_opposite_classes() {
    for seed in 0..20 {
        let drawn = same_draw(seed);
        for (forward, backward) in [(0, 1), (3, 2), (6, 7)] {
            for t in 0..8 {
                let (a, b) = (drawn[forward].pose(7 - t), drawn[backward].pose(t));
                assert!(near(&[a.x, a.y, a.log_size, a.angle], &[b.x, b.y, b.log_size, b.angle]));
            }
        }
    }
}

#[test]
fn only_the_trajectory_of_the_class_moves() {
    for index in 0..40 {
        for motion in 0..8 {
            let clip = clip(motion, index).trajectories();
            let (a, b) = (clip.pose(2), clip.pose(3));
            let turned = (b.angle - a.angle + 3.0 * std::f64::consts::PI).rem_euclid(std::f64::consts::TAU)
                - std::f64::consts::PI;
            let steps = [b.x - a.x, b.y - a.y, turned.to_degrees(), b.log_size.exp() / a.log_size.exp() - 1.0];
            let (low, high) =
                ([1.0, -2.2, -2.2, 1.0, 14.0, -26.0, 0.05, -0.083], [2.2, -1.0, -1.0, 2.2, 26.0, -14.0, 0.09, -0.047]);
            for (i, step) in steps.iter().enumerate() {
                let (low, high) = if i == motion / 2 { (low[motion], high[motion]) } else { (0.0, 0.0) };
                assert!((low - 1e-9..high + 1e-9).contains(step), "{}: {steps:?}", MOTIONS[motion]);
            }
        }
    }
}

// The centre stays in the frame at the fastest: 0.42·32 − 2.2·3.5 = 5.74 pixels from the border.
#[test]
fn the_centre_stays_in_view() {
    for (motion, index) in (0..8).flat_map(|motion| (0..200).map(move |index| (motion, index))) {
        for t in [0, 7] {
            let pose = clip(motion, index).trajectories().pose(t);
            assert!(pose.x.min(pose.y) >= 5.74 && pose.x.max(pose.y) <= 26.26, "{pose:?}");
        }
    }
}

#[test]
fn parts_are_balanced_and_disjoint() {
    let config = MotionConfig { train: 96, validation: 48, test: 50, ..MotionConfig::default() };
    let set = config.dataset().unwrap();
    assert_eq!((set.train.len(), set.validation.len(), set.test.len()), (96, 48, 50));
    let mut pairs = HashMap::new();
    set.train.iter().for_each(|sample| *pairs.entry((sample.class, sample.appearance)).or_insert(0) += 1);
    assert!(pairs.len() == 48 && pairs.values().all(|&n| n == 2));
    assert_ne!(rendered(&set.train[3]), rendered(&set.test[3]));
    let other = MotionConfig { seed: 1, ..config.clone() };
    assert_ne!(set.fingerprint(), other.dataset().unwrap().fingerprint());
    assert_eq!(set.fingerprint(), config.dataset().unwrap().fingerprint());
}

#[test]
fn clips_are_reproducible_and_move() {
    let frames = clip(0, 3).render();
    assert_eq!(frames, clip(0, 3).render());
    assert_eq!((frames.time, frames.height, frames.width, frames.channels, frames.bytes()), (8, 32, 32, 3, 24_576));
    let change = difference(frames.frame(0), frames.frame(7));
    assert!(change > 4.0, "{change}");
}

/// Outside both boxes and their edges, two frames differ by noise alone: at most 2.5·√6 in each, and
/// rounding. A ring reaches 0.95 radii to every side.
#[test]
fn boxes_hold_the_shape() {
    for index in 0..12 {
        let clip = clip(index % 8, index);
        let (frames, boxes) = (clip.render(), clip.boxes());
        let within = |[top, left, bottom, right]: [usize; 4], row: usize, column: usize| {
            row + 1 >= top && row <= bottom && column + 1 >= left && column <= right
        };
        for pixel in 0..32 * 32 {
            let (row, column) = (pixel / 32, pixel % 32);
            if !within(boxes[0], row, column) && !within(boxes[7], row, column) {
                for channel in 3 * pixel..3 * pixel + 3 {
                    assert!(
                        frames.frame(0)[channel].abs_diff(frames.frame(7)[channel]) <= 14,
                        "{clip:?} {row} {column}"
                    );
                }
            }
        }
        for (t, [top, left, bottom, right]) in boxes.into_iter().enumerate().filter(|_| SHAPES[clip.shape()] == "ring")
        {
            let (pose, reach) = (clip.trajectories().pose(t), 0.95 * clip.trajectories().pose(t).log_size.exp());
            for (found, expected) in
                [(top, pose.y - reach), (left, pose.x - reach), (bottom, pose.y + reach), (right, pose.x + reach)]
            {
                assert!((found as f64 - expected.clamp(0.0, 32.0)).abs() <= 1.0, "{clip:?} {t}");
            }
        }
    }
}

#[test]
fn settings_out_of_range_are_named() {
    refused(MotionConfig { size: 8, ..MotionConfig::default() }.dataset(), &["`size` = 8"]);
    refused(MotionConfig { frames: 1, ..MotionConfig::default() }.dataset(), &["`frames` = 1"]);
    refused(MotionConfig { test: 0, ..MotionConfig::default() }.dataset(), &["`test` = 0"]);
    assert!(serde_json::from_str::<MotionConfig>(r#"{"sise": 3}"#).is_err());
    assert_eq!(serde_json::from_str::<MotionConfig>("{}").unwrap(), MotionConfig::default());
}

// There are 54 pairs of nine classes and six shapes, so clips 8 and 62 are both of the class background
// and the first shape. Clip 62 has a cut.
#[test]
fn nothing_moves_in_the_background() {
    let config = MotionConfig { train: 108, background: true, ..MotionConfig::default() };
    let set = config.dataset().unwrap();
    assert_eq!((set.classes.len(), set.classes[8].as_str(), set.train[8].class), (9, "background", 8));
    assert_ne!(
        set.fingerprint(),
        MotionConfig { train: 108, ..MotionConfig::default() }.dataset().unwrap().fingerprint()
    );
    let changes = |index: usize| {
        let frames = rendered(&set.train[index]);
        (1..frames.time).filter(|&t| difference(frames.frame(t), frames.frame(t - 1)) > 3.5).count()
    };
    assert_eq!(changes(8), 0);
    let cuts: Vec<usize> = (0..6).map(|shape| changes(62 + 9 * shape)).collect();
    // A cut at frame 0 shows the other scene alone.
    assert!(cuts.iter().all(|&cuts| cuts <= 1) && cuts.iter().sum::<usize>() >= 3, "{cuts:?}");
}

// Two frames of pause, eight of motion, three of pause: apart from noise, the pauses show the first and
// the last pose.
#[test]
fn a_motion_can_be_held_before_and_after() {
    let clip = clip(0, 3);
    let (plain, held) = (clip.render(), clip.render_held(2, 3));
    assert_eq!((held.time, held.height), (13, 32));
    let near = |a: &[u8], b: &[u8]| difference(a, b) < 3.5;
    assert!([0, 1, 2].iter().all(|&t| near(held.frame(t), plain.frame(0))));
    assert!([9, 10, 11, 12].iter().all(|&t| near(held.frame(t), plain.frame(7))));
    assert!(near(held.frame(6), plain.frame(4)) && !near(held.frame(0), plain.frame(7)));
}
