//! Dense inverse search on images whose flow is known.

mod common;

use common::distance;
use gru_rcn_flow::{Dis, DisWorkspace, Flow, FlowError, Image};
use proptest::prelude::*;

/// A smooth texture, moved by `(u, v)`.
fn texture(width: usize, height: usize, (u, v): (f32, f32)) -> Image {
    let pixel = |i: usize| {
        let (x, y) = ((i % width) as f32 - u, (i / width) as f32 - v);
        let waves = (0.41 * x + 0.2 * y).sin() + (0.17 * x - 0.36 * y).sin() + (0.09 * x + 0.12 * y + 1.0).sin();
        127.5 + 40.0 * waves
    };
    Image::new(width, height, (0..width * height).map(pixel).collect()).unwrap()
}

fn mirrored(width: usize, values: &[f32]) -> Vec<f32> {
    values.chunks_exact(width).flat_map(|row| row.iter().rev().copied()).collect()
}

fn presets() -> [Dis; 3] {
    [Dis::ultrafast(), Dis::fast(), Dis::medium()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn translations_are_found(u in -5.0f32..5.0, v in -5.0f32..5.0, width in 90usize..120, height in 70usize..100) {
        let flow = Dis::medium().flow(&texture(width, height, (0.0, 0.0)), &texture(width, height, (u, v))).unwrap();
        let error = distance(&flow, 12, |_, _| (u, v));
        prop_assert!(error < 0.15, "{error}");
    }

    #[test]
    fn equal_images_have_no_flow(width in 32usize..90, height in 32usize..90) {
        let image = texture(width, height, (0.0, 0.0));
        for dis in presets() {
            let flow = dis.flow(&image, &image).unwrap();
            prop_assert!(flow.u.iter().chain(&flow.v).all(|component| component.abs() < 1e-3));
        }
    }

    #[test]
    fn mirrored_images_have_mirrored_flow(u in -3.0f32..3.0, v in -3.0f32..3.0) {
        let (width, height) = (96, 80);
        let images = [texture(width, height, (0.0, 0.0)), texture(width, height, (u, v))];
        let mirror = |image: &Image| Image::new(width, height, mirrored(width, image.data())).unwrap();
        let flow = Dis::medium().flow(&images[0], &images[1]).unwrap();
        let turned = Dis::medium().flow(&mirror(&images[0]), &mirror(&images[1])).unwrap();
        let back = mirrored(width, &turned.u).into_iter().map(|u| -u).collect();
        let back = Flow::new(width, height, back, mirrored(width, &turned.v)).unwrap();
        let difference = flow.endpoint_error(&back).unwrap().unwrap();
        prop_assert!(difference < 0.1, "{difference}");
    }

    #[test]
    fn flow_is_finite_for_any_size_and_settings(
        (width, height) in (4usize..50, 4usize..50),
        (finest_scale, patch_size) in (0u32..3, 4usize..20),
        (stride, iterations) in (1usize..20, 0usize..10),
        (use_mean_normalization, use_spatial_propagation) in any::<(bool, bool)>(),
    ) {
        let patch_stride = stride.min(patch_size);
        let dis = Dis {
            finest_scale, patch_size, patch_stride, use_mean_normalization, use_spatial_propagation,
            gradient_descent_iterations: iterations,
            ..Dis::medium()
        };
        let image = |seed: usize| {
            let noise = (0..width * height).map(|i| ((i * 7919 + seed * 104729) * (i + seed) % 256) as f32);
            Image::new(width, height, noise.collect()).unwrap()
        };
        match dis.flow(&image(1), &image(2)) {
            Ok(flow) => {
                prop_assert_eq!((flow.width(), flow.height()), (width, height));
                prop_assert!(flow.u.iter().chain(&flow.v).all(|component| component.is_finite()));
            }
            Err(FlowError::TooSmall { least, .. }) => prop_assert!(width.min(height) < least),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
}

#[test]
fn flat_images_have_no_flow() {
    let flat = |value: f32| Image::new(33, 21, vec![value; 33 * 21]).unwrap();
    for dis in presets().into_iter().filter(|dis| dis.finest_scale < 2).chain([Dis { finest_scale: 0, ..Dis::fast() }])
    {
        // A change of brightness is not motion either.
        for second in [100.0, 140.0] {
            let flow = dis.flow(&flat(100.0), &flat(second)).unwrap();
            assert!(flow.u.iter().chain(&flow.v).all(|&component| component == 0.0));
        }
    }
}

#[test]
fn finds_motion_despite_a_change_of_brightness() {
    let (first, second) = (texture(100, 80, (0.0, 0.0)), texture(100, 80, (2.0, -1.0)));
    let brighter = Image::new(100, 80, second.data().iter().map(|value| value + 25.0).collect()).unwrap();
    // Without the refinement, whose brightness term does not subtract the mean.
    let dis = Dis { variational_refinement_iterations: 0, ..Dis::medium() };
    assert!(distance(&dis.flow(&first, &brighter).unwrap(), 12, |_, _| (2.0, -1.0)) < 0.15);
}

#[test]
fn rejects_small_images_and_different_sizes() {
    let flow = |first: (usize, usize), second: (usize, usize)| {
        Dis::medium().flow(&texture(first.0, first.1, (0.0, 0.0)), &texture(second.0, second.1, (1.0, 0.0)))
    };
    // (8 - 1) * 2 + 1 = 15 pixels halve to eight.
    assert!(flow((20, 15), (20, 15)).is_ok());
    let small = flow((20, 14), (20, 14));
    assert!(matches!(small, Err(FlowError::TooSmall { width: 20, height: 14, least: 15 })));
    let different = flow((40, 30), (30, 40));
    assert!(matches!(different, Err(FlowError::Sizes { first: (40, 30), second: (30, 40), .. })));
}

#[test]
fn rejects_settings_out_of_range() {
    let medium = Dis::medium;
    for (setting, dis) in [
        ("finest_scale", Dis { finest_scale: 17, ..medium() }),
        ("coarsest_scale", Dis { coarsest_scale: Some(0), ..medium() }),
        ("patch_size", Dis { patch_size: 3, ..medium() }),
        ("patch_stride", Dis { patch_stride: 0, ..medium() }),
        ("patch_stride", Dis { patch_stride: 9, ..medium() }),
        ("variational_refinement_alpha", Dis { variational_refinement_alpha: 0.0, ..medium() }),
        ("variational_refinement_delta", Dis { variational_refinement_delta: f32::NAN, ..medium() }),
        ("variational_refinement_gamma", Dis { variational_refinement_gamma: -1.0, ..medium() }),
        ("variational_refinement_epsilon", Dis { variational_refinement_epsilon: 0.0, ..medium() }),
    ] {
        let error = DisWorkspace::new(dis).unwrap_err();
        assert!(matches!(error, FlowError::Setting { setting: found, .. } if found == setting), "{setting}: {error}");
    }
}

#[test]
fn coarsest_scale_follows_the_rule() {
    // log2(584 / 32) + 0.5 = 4.69; log2(640 / 32) + 0.5 = 4.82.
    assert_eq!(Dis::medium().coarsest_scale_for(584, 388), 4);
    assert_eq!(Dis::medium().coarsest_scale_for(640, 480), 4);
    // log2(1000 / 32) + 0.5 = 5.47, but log2(20 / 8) = 1.3: from scale 2 on, a patch does not fit into the
    // shorter side.
    assert_eq!(Dis::medium().coarsest_scale_for(1000, 20), 1);
    assert_eq!(Dis::medium().coarsest_scale_for(4, 4), 0);
}

#[test]
fn video_gives_the_flow_of_its_pairs() {
    let frames: Vec<_> = (0..6).map(|i| texture(70, 50, (0.7 * i as f32, 0.3 * i as f32))).collect();
    let dis = Dis::medium();
    let pairs: Vec<_> = frames.windows(2).map(|pair| dis.flow(&pair[0], &pair[1]).unwrap()).collect();
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| dis.flows(&frames)).unwrap(), pairs);
    }
    let mut workspace = DisWorkspace::new(dis.clone()).unwrap();
    assert!(workspace.push(&frames[0]).unwrap().is_none());
    for (frame, pair) in frames[1..].iter().zip(&pairs) {
        // A frame of another size is rejected and changes nothing.
        assert!(workspace.push(&texture(50, 70, (0.0, 0.0))).is_err());
        assert_eq!(workspace.push(frame).unwrap().as_ref(), Some(pair));
    }
    workspace.restart();
    assert!(workspace.push(&texture(50, 70, (0.0, 0.0))).unwrap().is_none());

    assert!(dis.flows(&frames[..1]).unwrap().is_empty());
    assert!(dis.flows(&[]).unwrap().is_empty());
    let odd = [frames[0].clone(), texture(50, 70, (0.0, 0.0)), frames[1].clone()];
    assert!(matches!(dis.flows(&odd), Err(FlowError::Sizes { first: (70, 50), .. })));
}

#[test]
fn non_finite_intensities_do_not_panic() {
    for value in [f32::NAN, f32::INFINITY, -1e38] {
        let mut pixels = texture(40, 30, (0.0, 0.0)).data().to_vec();
        pixels[500] = value;
        let broken = Image::new(40, 30, pixels).unwrap();
        for size in [5, 8] {
            let dis = Dis { patch_size: size, patch_stride: 3, ..Dis::medium() };
            dis.flow(&broken, &texture(40, 30, (1.0, 0.0))).unwrap();
            dis.flow(&texture(40, 30, (1.0, 0.0)), &broken).unwrap();
        }
    }
}
