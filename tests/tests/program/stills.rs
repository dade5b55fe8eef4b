//! The percept rule of the recipes for UCF-101 on clips whose classes differ by what they show: still
//! pictures with the noise of a sensor. Whoever takes out each clip's mean takes the picture out.

use std::fs;
use std::path::Path;

use image::RgbImage;

use crate::harness::{Call, temporary};
use crate::micro;

const CLASSES: [&str; 4] = ["bars", "checks", "rings", "rows"];
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

/// A picture of a class, in phase, period and colours of its own.
fn picture(class: usize, numbers: &mut Numbers) -> Vec<f64> {
    let (period, phase) = (6.0 + 4.0 * numbers.next(), [(); 2].map(|()| 32.0 * numbers.next()));
    let colours = [(); 2].map(|()| [(); 3].map(|()| 120.0 * numbers.next()));
    let wave = |place: f64| (place / period).rem_euclid(1.0) < 0.5;
    let pixel = |x: f64, y: f64| match CLASSES[class] {
        "bars" => wave(x + phase[0]),
        "rows" => wave(y + phase[1]),
        "checks" => wave(x + phase[0]) != wave(y + phase[1]),
        _ => wave((x - 8.0 - phase[0] / 2.0).hypot(y - 8.0 - phase[1] / 2.0)),
    };
    let places = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (f64::from(x), f64::from(y))));
    // Colours of the brighter parts are above those of the darker ones.
    places
        .flat_map(|(x, y)| {
            let bright = pixel(x, y);
            colours[usize::from(bright)].map(|value| value + if bright { 125.0 } else { 5.0 })
        })
        .collect()
}

fn write(root: &Path) {
    let mut numbers = Numbers(2016);
    for (class, name) in CLASSES.iter().enumerate() {
        for clip in 0..CLIPS {
            let folder = root.join(name).join(format!("clip-{clip:02}"));
            fs::create_dir_all(&folder).unwrap();
            let picture = picture(class, &mut numbers);
            for t in 0..FRAMES {
                let noisy = |value: &f64| (value + NOISE * numbers.normal()).round().clamp(0.0, 255.0) as u8;
                let image = RgbImage::from_raw(SIDE, SIDE, picture.iter().map(noisy).collect()).unwrap();
                image.save(folder.join(format!("{t:06}.png"))).unwrap();
            }
        }
    }
}

/// The recipe's own percept rule learns what pictures show, where `centre` has their noise alone.
#[test]
fn the_percept_rule_of_ucf101_learns_still_pictures() {
    let folder = temporary();
    write(&folder.path().join("clips"));
    let weights = micro::reference().root.join("backbone.safetensors");
    let changes = [
        "data.folder.train_list=none",
        "data.folder.test_list=none",
        "data.folder.test_fraction=0.33",
        "clip.temporal.consecutive.frames=6",
        "clip.frame_size=[32, 32]",
        "clip.input_size=[32, 32]",
        "evaluation.views={starts=1, crops=\"five\"}",
        "backbone.network=small",
        "backbone.taps=[\"pool2\", \"pool3\", \"fc7\"]",
        "backbone.finetune=none",
        "features={cache=true, copies=3}",
        "model.hidden=[8, 8, 16]",
        "model.dropout=0.3",
        "training.epochs=20",
        "training.batch=16",
        "training.learning_rate=5e-3",
        "baselines={norms=[{rule=\"centre\"}]}",
    ];
    let call = Call::new(folder.path(), ["train", "ucf101/rgb", "--data", "clips", "--run", "run", "--json"]);
    let call = call.args(["--weights".as_ref(), weights.as_os_str()]).set(changes);
    let document = call.run().succeeds().json();
    let top1 = |result: &serde_json::Value| result["top1"].as_f64().unwrap();
    let (scaled, centred) = (top1(&document["test"]), top1(&document["baselines"]["norm_centre"]));
    assert!(scaled >= 0.95 && centred <= 0.5, "{document:#}");
}
