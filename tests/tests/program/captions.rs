//! A captioner from a recipe to sentences: squares of two colours that move left or right.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::json;

use crate::harness::{Call, assert_same_files, card, copy_folder, read_json, run, temporary, timeless_metrics};
use crate::micro;

const COLOURS: [(&str, [u8; 3]); 2] = [("red", [220, 40, 30]), ("blue", [30, 60, 210])];
const DIRECTIONS: [&str; 2] = ["left", "right"];

/// A recipe on the features of a small run; it learns the captions by heart in seconds.
const RECIPE: &str = r#"
name = "squares"
captions = "captions.json"
segments = 3
encoders = [{ gru_rcn = "ENCODER" }, { cnn = { run = "ENCODER" } }]

[data.folder]

[decoder]
embedding = 16
hidden = 32
dropout = 0.1

[training]
epochs = 300
batch = 3
optimizer = "adam"
learning_rate = 1e-2
validate_every = 20
patience = 100
checkpoint_steps = 7
penalties = { weights = 0.0, attention = 0.1 }

[search]
hidden = [8, 16]
embedding = [8, 8]
segments = [2, 3]
"#;

fn sentence(colour: &str, direction: &str) -> String {
    format!("a {colour} square moves {direction}")
}

/// Eight frames of a square of 8 pixels in a row of its own, on a grey ground.
fn draw(folder: &Path, colour: [u8; 3], direction: &str, row: u32) {
    fs::create_dir_all(folder).unwrap();
    for t in 0..8 {
        let mut frame = RgbImage::from_pixel(32, 32, Rgb([110, 110, 110]));
        let left = if direction == "left" { 24 - 3 * t } else { 3 * t };
        for (x, y) in (0..64).map(|n| (left + n % 8, row + n / 8)) {
            frame.put_pixel(x, y, Rgb(colour));
        }
        frame.save(folder.join(format!("{t:03}.png"))).unwrap();
    }
}

/// The clips with their captions, and the recipe. Of each part there is a clip of each kind.
pub(crate) fn write(folder: &Path) {
    let mut annotations = Vec::new();
    for (part, row) in [("train", 4), ("validation", 12), ("test", 20)] {
        for (colour, rgb) in COLOURS {
            for direction in DIRECTIONS {
                let name = format!("{part}-{colour}-{direction}");
                draw(&folder.join("clips").join(part).join("squares").join(&name), rgb, direction, row);
                annotations.push(json!({ "image_id": name, "caption": format!("{}.", sentence(colour, direction)) }));
            }
        }
    }
    let captions = json!({ "annotations": annotations }).to_string();
    fs::write(folder.join("clips/captions.json"), captions).unwrap();
    copy_folder(&micro::reference().root, &folder.join("encoder"));
    let encoder = folder.join("encoder").display().to_string();
    fs::write(folder.join("squares.toml"), RECIPE.replace("ENCODER", &encoder)).unwrap();
}

pub(crate) fn train(folder: &Path, run: &str) -> Call {
    Call::new(folder, "train squares.toml --data clips --run").arg(run)
}

/// Killed in the middle of a round and resumed, training ends in the same bytes; the captions of the
/// training clips are the references. The encoder is gone by then: the run has a copy.
#[test]
fn a_captioner_learns_its_references_by_heart() {
    let folder = temporary();
    write(&folder);
    let document = train(&folder, "whole").arg("--json").run().succeeds().json();
    assert!(document["test"]["meteor_without_paraphrases"].is_number(), "{document}");

    let mut running = train(&folder, "killed").start();
    let saved = folder.join("killed/checkpoints/captioner/step-00000035");
    running.wait_until("a step within a round", || saved.exists());
    running.stop_by("KILL");
    fs::remove_dir_all(folder.join("encoder")).unwrap();
    let resumed = run(&folder, "train --resume --run killed").succeeds();
    resumed.says(&["Captioner: resuming after epoch", "train: features: 4 of 4 clips at hand, 0 to compute"]);
    let files = ["model.safetensors", "vocabulary.json", "captions-test.json", "references-test.json"];
    assert_same_files(&folder.join("killed"), &folder.join("whole"), &files);
    assert_eq!(timeless_metrics(&folder.join("killed")), timeless_metrics(&folder.join("whole")));

    for (colour, _) in COLOURS {
        for direction in DIRECTIONS {
            let clip = format!("clips/train/squares/train-{colour}-{direction}");
            for (way, alternatives) in [("--beam 5", 4), ("--greedy", 0), ("--sample 0.05", 0)] {
                let line = format!("caption {clip} --run whole --json --html page.html {way}");
                let entries = run(&folder, &line).succeeds().json();
                let entry = &entries[0];
                assert_eq!(entry["caption"], sentence(colour, direction), "{way} {entries:#}");
                let attention = entry["attention"].as_array().unwrap();
                assert_eq!((attention.len(), entry["segments"].as_u64()), (5, Some(3)));
                for weights in attention {
                    let sum: f64 = weights.as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap()).sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{weights}");
                }
                assert_eq!(entry["alternatives"].as_array().unwrap().len(), alternatives, "{way}");
            }
            let page = fs::read_to_string(folder.join("page.html")).unwrap();
            assert!(page.contains(&sentence(colour, direction)) && page.matches("data:image/jpeg").count() == 3);
        }
    }

    let evaluated = run(&folder, "evaluate --run whole --split train --json").succeeds().json();
    assert!(evaluated["test"]["bleu4"].as_f64().unwrap() > 0.999, "{evaluated:#}");
    assert_eq!(evaluated["clips"][0]["clip"], "train/squares/train-blue-left");
    let scores = "score-captions whole/references-train.json whole/captions-train.json --json";
    let scored = run(&folder, scores).succeeds().json();
    assert_eq!(scored["corpus"]["cider_d"], evaluated["test"]["cider_d"]);
    fs::remove_file(folder.join("whole/report.html")).unwrap();
    run(&folder, "report --run whole").succeeds();
    let page = fs::read_to_string(folder.join("whole/report.html")).unwrap();
    assert!(page.contains("The best captions") && page.contains("test-red-left"));
}

/// The weights are those of the round with the highest score of the metric, while patience counts
/// rounds by the likelihood.
#[test]
fn weights_are_chosen_by_a_metric() {
    let folder = temporary();
    write(&folder);
    train(&folder, "run").set(["training.select=cider", "training.epochs=60"]).run().succeeds();
    let card = card(&folder.join("run"));
    let mut highest = f64::MIN;
    for point in card["captioner"]["result"]["curve"].as_array().unwrap() {
        let score = point["validation_score"].as_f64().unwrap();
        assert_eq!(point["best"], score > highest, "{point}");
        highest = highest.max(score);
    }
    let evaluated = run(&folder, "evaluate --run run --split validation --json").succeeds().json();
    assert!((evaluated["test"]["cider_d"].as_f64().unwrap() - highest).abs() < 1e-9, "{highest} {evaluated}");
}

#[test]
fn a_search_goes_on_and_lists_its_trials() {
    let folder = temporary();
    write(&folder);
    let line = "search squares.toml --data clips --out search --json --trials";
    let changes = ["training.epochs=4", "training.optimizer=adadelta", "training.learning_rate=1"];
    let search = |trials| Call::new(&folder, line).arg(trials).set(changes).run().succeeds();
    let written = || fs::metadata(folder.join("search/trial-0001/model.safetensors")).unwrap().modified().unwrap();
    search("1");
    let first = written();
    let outcome = search("3");
    outcome.says(&["trial-0001 is done already"]);
    assert_eq!(written(), first);
    let trials = outcome.json();
    let losses: Vec<f64> = trials.as_array().unwrap().iter().map(|t| t["validation_nll"].as_f64().unwrap()).collect();
    assert!(losses.len() == 3 && losses.is_sorted(), "{trials:#}");
    assert_eq!(read_json(&folder.join("search/search.json")), trials);
    run(&folder, &format!("{line} 1"))
        .refuses(&["trial-0001 was started by another recipe", "training.epochs was 4 and is 300"]);
}

/// A row that lacks something says so, and the others have their figures.
#[test]
fn every_row_of_the_second_table_has_figures_or_a_reason() {
    let folder = temporary();
    write(&folder);
    let line = "table2 --data clips --recipe squares.toml --encoder encoder --out table --rows googlenet,gru-rcn";
    let table = || Call::new(&folder, line).set(["training.epochs=4"]).run().exits(1);
    let outcome = table();
    let reason = "googlenet: encoder 1 of the recipe: googlenet needs pretrained weights";
    assert!(outcome.stdout.contains(reason), "{}", outcome.stdout);
    let lines = read_json(&folder.join("table/table2.json"));
    let keys: Vec<&str> = lines.as_array().unwrap().iter().map(|line| line["row"].as_str().unwrap()).collect();
    assert_eq!(keys, ["gru-rcn", "googlenet"]);
    assert!(lines[0]["cider_d"].is_number() && lines[0]["meteor_without_paraphrases"].is_number(), "{lines:#}");
    assert!(lines[1]["cider_d"].is_null() && lines[1]["note"].is_string(), "{lines:#}");
    table().says(&["table/gru-rcn is done already"]);
}

#[test]
fn unsuitable_recipes_and_runs_are_refused() {
    let folder = temporary();
    write(&folder);
    let refused = |change: &str, words: &[&str]| {
        train(&folder, "run").set([change]).run().refuses(words);
        assert!(!folder.join("run").exists());
    };
    refused("encoders=[{ gru_rcn = \"nowhere\" }]", &["encoder 1 of the recipe", "nowhere: no such run folder"]);
    refused("encoders=[{ cnn = { network = \"squeezenet\" } }]", &["needs pretrained weights", "--weights FILE"]);
    refused("captions=none.json", &["none.json"]);
    refused("text.threshold=99", &["at least 99 times"]);
    refused("text.max_words=2", &["text.max_words = 2"]);
    train(&folder, "run").args(["--weights", "x.pth"]).run().refuses(&["no encoder `cnn` of it lacks weights"]);
    run(&folder, "caption clips/test/squares/test-red-left --run encoder").refuses(&["no captioner"]);
    run(&folder, "predict x.avi --run encoder").refuses(&["x.avi"]);
    run(&folder, "features squares.toml --out x").refuses(&["trains a captioner"]);
    run(&folder, "search motion --out x --trials 1").refuses(&["no section [decoder]"]);
}
