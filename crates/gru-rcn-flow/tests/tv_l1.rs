//! TV-L1 on images whose motion is known, and against OpenCV's on a small pair.
//! `tests/peers/flow_golden.py` makes the goldens.

mod common;

use std::path::PathBuf;

use common::distance;
use gru_rcn_flow::{Flow, FlowError, Image, TvL1, flo};
use proptest::prelude::*;

/// A smooth image that has edges in every direction: four waves of wavelengths 13 to 23 pixels,
/// moved by `shift`.
fn waves(width: usize, height: usize, phase: f32, shift: (f32, f32)) -> Image {
    let value = |i: usize| {
        let (x, y) = ((i % width) as f32 - shift.0, (i / width) as f32 - shift.1);
        let wave = |fx: f32, fy: f32, at: f32| (fx * x + fy * y + at * phase).sin();
        128.0 + 28.0 * (wave(0.48, 0.05, 1.0) + wave(-0.06, 0.4, 2.0) + wave(0.25, 0.22, 3.0) + wave(0.2, -0.19, 5.0))
    };
    Image::new(width, height, (0..width * height).map(value).collect()).unwrap()
}

/// An image of `size` whose pixel `(x, y)` is the pixel `from(x, y)` of `image`.
fn rearranged(image: &Image, size: (usize, usize), from: impl Fn(usize, usize) -> (usize, usize)) -> Image {
    let value = |i: usize| {
        let (x, y) = from(i % size.0, i / size.0);
        image.data()[y * image.width() + x]
    };
    Image::new(size.0, size.1, (0..size.0 * size.1).map(value).collect()).unwrap()
}

/// The two images are equal, so every residual is 0.
#[test]
fn no_motion_is_exactly_zero() {
    let image = waves(40, 33, 1.0, (0.0, 0.0));
    assert_eq!(TvL1::default().flow(&image, &image).unwrap(), Flow::zero(40, 33));
}

#[test]
fn flat_images_do_not_move() {
    let flat = |value: f32| Image::new(20, 20, vec![value; 400]).unwrap();
    assert!(TvL1::default().flow(&flat(10.0), &flat(200.0)).unwrap().u[210].abs() < 1e-3);
}

/// Sizes down to a single pixel, with every remainder of the width by the vector length.
#[test]
fn small_sizes_have_finite_flow() {
    let settings = TvL1 { warps: 2, outer_iterations: 2, ..TvL1::default() };
    for width in 1..=18 {
        for height in [1, 2, 17] {
            let (first, second) = (waves(width, height, 0.3, (0.0, 0.0)), waves(width, height, 0.3, (0.5, 0.2)));
            let flow = settings.flow(&first, &second).unwrap();
            assert!(flow.u.iter().chain(&flow.v).all(|value| value.is_finite()), "{width}x{height}");
        }
    }
}

/// Single pairs, a sequence and any number of threads give the same bits.
#[test]
fn sequences_and_threads_give_the_same_bits() {
    let frames: Vec<Image> = (0..12).map(|t| waves(37, 29, 2.0, (0.3 * t as f32, -0.2 * t as f32))).collect();
    let settings = TvL1 { warps: 2, ..TvL1::default() };
    let single: Vec<Flow> = frames.windows(2).map(|pair| settings.flow(&pair[0], &pair[1]).unwrap()).collect();
    let mut sequence = settings.sequence().unwrap();
    let pushed: Vec<Flow> = frames.iter().filter_map(|frame| sequence.push(frame).unwrap().cloned()).collect();
    assert_eq!(pushed, single);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| settings.flows(&frames)).unwrap(), single, "{threads} threads");
    }
    assert!(settings.flows(&frames[..1]).unwrap().is_empty());
    assert!(settings.flows(&[]).unwrap().is_empty());
}

#[test]
fn rejected_frame_does_not_change_the_sequence() {
    let (first, second) = (waves(24, 20, 0.0, (0.0, 0.0)), waves(24, 20, 0.0, (1.0, 0.0)));
    let settings = TvL1::default();
    let mut sequence = settings.sequence().unwrap();
    sequence.push(&first).unwrap();
    let hole = Image::new(24, 20, vec![f32::NAN; 480]).unwrap();
    assert!(matches!(sequence.push(&hole), Err(FlowError::NotFinite)));
    assert!(matches!(sequence.push(&waves(20, 24, 0.0, (0.0, 0.0))), Err(FlowError::Sizes { .. })));
    assert_eq!(sequence.push(&second).unwrap(), Some(&settings.flow(&first, &second).unwrap()));
    sequence.restart();
    assert_eq!(sequence.push(&waves(20, 24, 0.0, (0.0, 0.0))).unwrap(), None);
}

#[test]
fn rejects_bad_input() {
    let image = waves(20, 20, 0.0, (0.0, 0.0));
    let empty = Image::new(0, 0, Vec::new()).unwrap();
    assert!(matches!(TvL1::default().flow(&empty, &empty), Err(FlowError::TooSmall { .. })));
    let usual = TvL1::default;
    for (name, settings) in [
        ("tau", TvL1 { tau: 0.0, ..usual() }),
        ("lambda", TvL1 { lambda: f32::NAN, ..usual() }),
        ("theta", TvL1 { theta: -1.0, ..usual() }),
        ("epsilon", TvL1 { epsilon: -0.1, ..usual() }),
        ("scale_step", TvL1 { scale_step: 1.0, ..usual() }),
        ("scales", TvL1 { scales: 0, ..usual() }),
        ("warps", TvL1 { warps: 0, ..usual() }),
        ("inner_iterations", TvL1 { inner_iterations: 0, ..usual() }),
        ("outer_iterations", TvL1 { outer_iterations: 0, ..usual() }),
        ("median_filtering", TvL1 { median_filtering: 4, ..usual() }),
    ] {
        let error = settings.flow(&image, &image).unwrap_err();
        assert!(matches!(error, FlowError::Setting { setting, .. } if setting == name), "{name}: {error}");
    }
}

/// Without early stop, so that both of two flows take the same iterations. Otherwise, and with more
/// warps, rounding errors grow at the borders.
fn without_stop() -> TvL1 {
    TvL1 { scales: 3, warps: 2, outer_iterations: 2, epsilon: 0.0, ..TvL1::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Translations up to two pixels come back, and the opposite when the images are swapped.
    #[test]
    fn translations_are_found(dx in -2.0f32..2.0, dy in -2.0f32..2.0, phase in 0.0f32..6.0) {
        let (first, second) = (waves(64, 56, phase, (0.0, 0.0)), waves(64, 56, phase, (dx, dy)));
        let settings = TvL1::default();
        prop_assert!(distance(&settings.flow(&first, &second).unwrap(), 8, |_, _| (dx, dy)) < 0.1);
        prop_assert!(distance(&settings.flow(&second, &first).unwrap(), 8, |_, _| (-dx, -dy)) < 0.1);
    }

    /// Transposed images have the transposed flow up to rounding, because the scheme treats both axes
    /// alike. Mirrored images have nearly the mirrored flow, because forward differences are not
    /// symmetric.
    #[test]
    fn transposed_and_mirrored_images_have_such_flow(dx in -1.5f32..1.5, dy in -1.5f32..1.5, phase in 0.0f32..6.0) {
        let (width, height) = (60, 50);
        let (first, second) = (waves(width, height, phase, (0.0, 0.0)), waves(width, height, phase, (dx, dy)));
        let settings = without_stop();
        let flow = settings.flow(&first, &second).unwrap();
        let transposed = |image: &Image| rearranged(image, (height, width), |x, y| (y, x));
        let other = settings.flow(&transposed(&first), &transposed(&second)).unwrap();
        let apart = distance(&other, 8, |x, y| (flow.v[x * width + y], flow.u[x * width + y]));
        prop_assert!(apart < 1e-3, "{}", apart);
        let mirrored = |image: &Image| rearranged(image, (width, height), |x, y| (width - 1 - x, y));
        let other = settings.flow(&mirrored(&first), &mirrored(&second)).unwrap();
        let apart = distance(&other, 8, |x, y| {
            let i = y * width + width - 1 - x;
            (-flow.u[i], flow.v[i])
        });
        prop_assert!(apart < 0.05, "{}", apart);
    }
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn grey(name: &str) -> Image {
    let picture = image::open(golden(name)).unwrap().into_luma8();
    let values = picture.iter().map(|&value| f32::from(value)).collect();
    Image::new(picture.width() as usize, picture.height() as usize, values).unwrap()
}

/// The settings must be those of the script. OpenCV does the same arithmetic in another order: the
/// measured differences are 1e-5 pixels on average and 1.1e-3 at most.
fn compare(settings: &TvL1, name: &str) {
    let expected = flo::load(golden(name)).unwrap();
    let flow = settings.flow(&grey("first.png"), &grey("second.png")).unwrap();
    let mean = flow.endpoint_error(&expected).unwrap().unwrap();
    let distances = (0..flow.u.len()).map(|i| (flow.u[i] - expected.u[i]).hypot(flow.v[i] - expected.v[i]));
    let largest = distances.fold(0.0, f32::max);
    assert!(mean < 1e-4 && largest < 1e-2, "{name}: mean {mean}, largest {largest}");
}

#[test]
fn five_scales_equal_those_of_opencv() {
    compare(&TvL1 { warps: 3, outer_iterations: 3, epsilon: 0.0, ..TvL1::default() }, "tv_l1_scales.flo");
}

#[test]
fn one_scale_with_early_stop_equals_that_of_opencv() {
    compare(&TvL1 { scales: 1, ..TvL1::default() }, "tv_l1_stop.flo");
}
