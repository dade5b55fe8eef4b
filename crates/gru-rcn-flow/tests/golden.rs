//! TV-L1 against OpenCV's, on a small pair. `tests/peers/flow_golden.py` makes the goldens.

use std::path::PathBuf;

use gru_rcn_flow::{Image, TvL1, flo};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn grey(name: &str) -> Image {
    let picture = image::open(golden(name)).unwrap().into_luma8();
    Image::from_luma8(picture.width() as usize, picture.height() as usize, &picture).unwrap()
}

/// The settings must be those of the script. Both sides do the same arithmetic in another order:
/// found were a mean of about 1e-5 and at most 1.1e-3 pixels.
fn compare(settings: &TvL1, name: &str) {
    let expected = flo::load(golden(name)).unwrap();
    let flow = settings.flow(&grey("first.png"), &grey("second.png")).unwrap();
    let mean = flow.endpoint_error(&expected).unwrap().unwrap();
    let distances = (0..flow.u.len()).map(|i| (flow.u[i] - expected.u[i]).hypot(flow.v[i] - expected.v[i]));
    let largest = distances.fold(0.0, f32::max);
    assert!(mean < 1e-4 && largest < 1e-2, "{name}: mean {mean}, largest {largest}");
}

#[test]
fn five_scales_equal_opencv() {
    compare(&TvL1 { warps: 3, outer_iterations: 3, epsilon: 0.0, ..TvL1::default() }, "tv_l1_scales.flo");
}

#[test]
fn one_scale_with_early_stop_equals_opencv() {
    compare(&TvL1 { scales: 1, ..TvL1::default() }, "tv_l1_stop.flo");
}
