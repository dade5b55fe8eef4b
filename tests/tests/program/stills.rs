//! The percept rule of the recipes for UCF-101 on clips whose classes differ by appearance alone:
//! still pictures with the noise of a sensor. Without the clip's mean nothing is left of the picture.

use std::fs;
use std::path::Path;

use image::RgbImage;

use crate::harness::{Call, temporary};
use crate::micro;

/// The classes with their contrasts, in steps of 8 bits.
const CLASSES: [(&str, f64); 4] = [("faint", 11.0), ("soft", 22.0), ("clear", 44.0), ("stark", 88.0)];
/// Number of clips of each class, and of their frames.
const CLIPS: usize = 36;
const FRAMES: usize = 6;
const SIDE: u32 = 32;
/// Standard deviation of the noise, in steps of 8 bits.
const NOISE: f64 = 2.0;

/// Numbers from 0 to below 1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        // The multiplier and the increment are Knuth's.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and standard deviation 1, nearly normal: the sum of twelve.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

/// A picture of a class: stripes or checks of a period, a place and a hue of their own, with the
/// contrast of the class. The same pattern in another contrast passes the ReLUs of a CNN by the
/// same units, and so does its noise, which otherwise gives the picture away to some degree.
fn picture(contrast: f64, numbers: &mut Numbers) -> Vec<f64> {
    let (kind, period) = ((4.0 * numbers.next()) as usize, 5.0 + 5.0 * numbers.next());
    let (phase, gains) = ([(); 2].map(|()| 32.0 * numbers.next()), [(); 3].map(|()| 0.6 + 0.4 * numbers.next()));
    let rms = (gains.iter().map(|gain| gain * gain).sum::<f64>() / 3.0).sqrt();
    let stripes = |place: f64| (place / period).rem_euclid(1.0) < 0.5;
    let places = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (f64::from(x), f64::from(y))));
    let pixel = |(x, y): (f64, f64)| {
        let bright = match kind {
            0 => stripes(x + phase[0]),
            1 => stripes(y + phase[1]),
            2 => stripes(x + phase[0]) != stripes(y + phase[1]),
            _ => stripes((x + y) / 2f64.sqrt() + phase[0]),
        };
        gains.map(|gain| 127.5 + if bright { contrast } else { -contrast } * gain / rms)
    };
    places.flat_map(pixel).collect()
}

fn write(root: &Path) {
    let mut numbers = Numbers(2016);
    for (name, contrast) in CLASSES {
        for clip in 0..CLIPS {
            let folder = root.join(name).join(format!("clip-{clip:02}"));
            fs::create_dir_all(&folder).unwrap();
            let picture = picture(contrast, &mut numbers);
            for t in 0..FRAMES {
                let noisy = |value: &f64| (value + NOISE * numbers.normal()).round().clamp(0.0, 255.0) as u8;
                let image = RgbImage::from_raw(SIDE, SIDE, picture.iter().map(noisy).collect()).unwrap();
                image.save(folder.join(format!("{t:06}.png"))).unwrap();
            }
        }
    }
}

/// The recipe's own percept rule learns what pictures show; `centre` leaves their noise alone.
#[test]
fn the_percept_rule_of_ucf101_learns_still_pictures() {
    let folder = temporary();
    write(&folder.join("clips"));
    let weights = micro::reference().root.join("backbone.safetensors");
    let changes = [
        "data.folder.train_list=none",
        "data.folder.test_list=none",
        "data.folder.test_fraction=0.33",
        "clip.temporal.consecutive.frames=6",
        "clip.frame_size=[32, 32]",
        "clip.input_size=[32, 32]",
        "evaluation.views={starts=1, crops=\"centre\"}",
        "backbone.network=small",
        "backbone.taps=[\"pool2\", \"pool3\", \"fc7\"]",
        "backbone.finetune=none",
        "features={cache=true, copies=3}",
        "model.hidden=[8, 8, 16]",
        "model.dropout=0.3",
        "training.epochs=40",
        "training.patience=40",
        "training.batch=16",
        "training.learning_rate=5e-3",
        "baselines={norms=[{rule=\"centre\"}]}",
    ];
    let call = Call::new(&folder, "train ucf101/rgb --data clips --run run --json");
    let document = call.arg("--weights").arg(weights).set(changes).run().succeeds().json();
    let top1 = |result: &serde_json::Value| result["top1"].as_f64().unwrap();
    let (scaled, centred) = (top1(&document["test"]), top1(&document["baselines"]["norm_centre"]));
    // Four classes: guessing has 0.25.
    assert!(scaled >= 0.95 && centred <= 0.4, "{document:#}");
}
