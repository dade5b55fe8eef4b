//! Scoring by several views of a clip: the result is the average of single views that the test
//! makes itself.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use gru_rcn_metrics::at_temperature;
use gru_rcn_tests::tensors::Tensors;
use image::RgbImage;

use crate::harness::{Call, FinishedRun, Folder, card, copied, copy_folder, run, temporary, write_squeezenet};

const CLASSES: [&str; 2] = ["fine", "wide"];
/// Number of clips of each class, of their frames, and of the frames that the model takes.
const CLIPS: usize = 6;
const FRAMES: usize = 9;
const TIME: usize = 4;
/// Rows and columns, the same in the files and in the model: nothing is resized.
const SIZE: [u32; 2] = [32, 40];

/// A moving pattern, different for every clip and not symmetric.
fn frame(class: usize, clip: usize, t: usize) -> RgbImage {
    RgbImage::from_fn(SIZE[1], SIZE[0], |x, y| {
        let (x, y, t) = (x as usize, y as usize, t * (1 + clip));
        let value = (x * (3 + 4 * class) + t * 5 + clip * 31 + y * y / 3) % 256;
        image::Rgb([value as u8, (value * 7 % 256) as u8, ((x * y + t) % 256) as u8])
    })
}

/// Writes clips of these names as folders of frames: `count` frames of each from `first` on, mirrored
/// or not.
fn write(root: &Path, clip_name: &str, first: usize, count: usize, mirrored: bool) {
    for (class, name) in CLASSES.iter().enumerate() {
        for clip in 0..CLIPS {
            let folder = root.join(name).join(format!("{clip_name}-{clip}"));
            fs::create_dir_all(&folder).unwrap();
            for t in first..first + count {
                let mut image = frame(class, clip, t);
                if mirrored {
                    image::imageops::flip_horizontal_in_place(&mut image);
                }
                image.save(folder.join(format!("{:06}.png", t - first))).unwrap();
            }
        }
    }
}

/// A run tested by two starts of ten crops: of whole frames, the frame and its mirror image.
fn setting() -> &'static FinishedRun {
    fn train(folder: &Path) -> Call {
        write(&folder.join("clips"), "clip", 0, FRAMES, false);
        // The same by other names, which the run does not know.
        write(&folder.join("others"), "other", 0, FRAMES, false);
        write_squeezenet(&folder.join("squeezenet.safetensors"));
        let temporal = format!("clip.temporal={{consecutive={{frames={TIME}}}}}");
        let changes = [
            temporal.as_str(),
            "clip.frame_size=[32, 40]",
            "clip.input_size=[32, 40]",
            "clip.crop=full",
            "clip.flip=true",
            "features.copies=0",
            "model.hidden=[4, 4]",
            "training.epochs=2",
            "training.learning_rate=0.01",
            "baselines.top_rnn=4",
            "evaluation.views={starts=2, crops=\"ten\"}",
        ];
        Call::new(folder, "train folder --data clips --weights squeezenet.safetensors").set(changes)
    }
    static SETTING: LazyLock<FinishedRun> = LazyLock::new(|| FinishedRun::of("views", train));
    &SETTING
}

/// A copy of the run for a test that writes scores into it.
fn copy() -> Folder {
    let run = &setting().root;
    let folder = copied(run);
    copy_folder(&run.with_file_name("others"), &folder.join("others"));
    folder
}

/// Probabilities of all clips of a folder, by these views.
fn probabilities(folder: &Path, data: &str, views: &str, file: &str) -> Vec<f32> {
    run(folder, &format!("evaluate --run run --data {data} --views {views} --json")).succeeds();
    let scores = Tensors::read(&folder.join("run").join(file));
    assert_eq!(scores.metadata("clips").as_array().map(Vec::len), Some(CLASSES.len() * CLIPS));
    scores.floats("probabilities")
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

/// With nine frames and clips of four, the two starts are 0 and 5. Four folders hold the four
/// frames of each start, unchanged and mirrored. Scored in one view each, their average
/// probabilities are those of the views.
#[test]
fn scores_of_views_are_the_average_of_single_views() {
    let folder = copy();
    let mut mean = vec![0.0; CLASSES.len() * CLIPS * CLASSES.len()];
    for (first, mirrored) in [(0, false), (0, true), (FRAMES - TIME, false), (FRAMES - TIME, true)] {
        let name = format!("part-{first}-{mirrored}");
        write(&folder.join(&name), "other", first, TIME, mirrored);
        let single = probabilities(&folder, &name, "1x1", "scores-other-1x1.safetensors");
        mean.iter_mut().zip(single).for_each(|(sum, p)| *sum += p / 4.0);
    }
    let views = probabilities(&folder, "others", "2x10", "scores-other.safetensors");
    assert_near(&views, &mean);
    // The views differ, otherwise the test would be void.
    let plain = probabilities(&folder, "others", "1x1", "scores-other-1x1.safetensors");
    assert!(views.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 1e-4), "{views:?}");
    // A single clip gives the same result, at the temperature of the run.
    let prediction = &run(&folder, "predict --run run others/fine/other-0 --views 2x10 --json").succeeds().json()[0];
    assert_eq!(prediction["frames"], FRAMES);
    let top = prediction["top"].as_array().unwrap().iter();
    let of = |class: &str| top.clone().find(|entry| entry["class"] == class).unwrap()["probability"].as_f64().unwrap();
    let temperature = card(&folder.join("run"))["systems"][0]["calibration"]["temperature"].as_f64().unwrap();
    assert_near(&CLASSES.map(|class| of(class) as f32), &at_temperature(&mean[..2], temperature));
}

/// The test at the end of training uses the recipe's views, and `evaluate` uses the same.
#[test]
fn training_and_evaluation_use_the_recipes_views() {
    let folder = copy();
    let read = || Tensors::read(&folder.join("run/scores-test.safetensors")).floats("probabilities");
    let trained = read();
    run(&folder, "evaluate --run run --json").succeeds().says(&["20 views each"]);
    assert_near(&read(), &trained);
    // Other views have a file of their own.
    run(&folder, "evaluate --run run --views 1x1 --json").succeeds();
    assert_near(&read(), &trained);
    assert!(folder.join("run/scores-test-1x1.safetensors").is_file());
    let FinishedRun { document, stderr, .. } = setting();
    assert!(stderr.contains("by 20 views each, 2 starts of 10 crops"), "{stderr}");
    for key in ["frame", "top_rnn"] {
        assert_eq!(document["baselines"][key]["clips"], document["test"]["clips"]);
    }
}

/// Without mirror images where left and right make classes; a message says so.
#[test]
fn mirror_images_are_skipped_if_flip_is_off() {
    let folder = copy();
    let path = folder.join("run/recipe.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    assert!(recipe.contains("flip = true"));
    fs::write(&path, recipe.replace("flip = true", "flip = false")).unwrap();
    let words = "10 views each, 2 starts of 5 crops, no mirror images since clip.flip is off";
    // Each of twelve clips has ten views of four frames. Its five crops are the same, so eight of its nine
    // frames go through the CNN once.
    let counted = "96 frames went through the CNN, each once for every crop; the views show 480";
    run(&folder, "evaluate --run run --data others --views 2x10 --json").succeeds().says(&[words, counted]);
    let found = Tensors::read(&folder.join("run/scores-other.safetensors")).floats("probabilities");
    let five = probabilities(&folder, "others", "2x5", "scores-other.safetensors");
    assert_near(&found, &five);
}

#[test]
fn invalid_rules_of_views_are_refused() {
    let folder = temporary();
    for views in ["25", "25x7", "0x5", "tenx10"] {
        run(&folder, &format!("evaluate --views {views}")).exits(2).says(&[views]);
    }
    run(&folder, "train --set evaluation.views.starts=0").refuses(&["views.starts"]);
    run(&folder, "train --set evaluation.views.crops=nine").refuses(&["nine"]);
}
