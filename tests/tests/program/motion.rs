//! The built-in experiment from beginning to end: train, evaluate, predict, report.

use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;
use serde_json::{Value, json};

use crate::clips::clips;
use crate::harness::{Call, card, copied, keys, metrics, run, temporary};
use crate::micro::{self, OUTCOME, TEST_CLIPS, assert_same_outcome, reference};

/// The keys of a test result.
const RESULT: [&str; 5] = ["top1", "top5", "mean_class", "nll", "clips"];

/// Checks a test result: its keys, and that its numbers are possible.
#[track_caller]
fn assert_is_result(result: &Value, clips: usize) {
    assert_eq!(keys(result), RESULT);
    for key in ["top1", "top5", "mean_class"] {
        assert!(result[key].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)), "{key} of {result}");
    }
    assert!(result["nll"].as_f64().is_some_and(|nll| nll > 0.0), "{result}");
    assert_eq!(result["clips"], clips);
}

#[test]
fn the_run_folder_holds_what_it_documents() {
    let root = &reference().root;
    let files = ["recipe.toml", "run.json", "metrics.jsonl", "report.json", "report.html"];
    for file in OUTCOME.iter().chain(&files) {
        assert!(root.join(file).metadata().is_ok_and(|metadata| metadata.len() > 0), "{file}");
    }
    for (stage, _) in micro::STAGES {
        assert!(root.join("checkpoints").join(stage).is_dir(), "{stage}");
    }
    let recipe = std::fs::read_to_string(root.join("recipe.toml")).unwrap();
    assert!(recipe.contains("hidden = [8, 8, 8]") && recipe.contains("patience = "), "not resolved:\n{recipe}");
    let card = card(root);
    assert_eq!((&card["recipe"], &card["seed"], &card["backend"]), (&json!("motion"), &json!(1), &json!("cpu")));
    assert_eq!(card["data"]["test"], TEST_CLIPS);
    assert_eq!(card["classes"].as_array().map(Vec::len), Some(8));
    assert_eq!(card["systems"][0]["test"], reference().document["test"]);
}

#[test]
fn metrics_are_one_line_per_epoch() {
    let lines = metrics(&reference().root);
    let found = lines.iter().map(|line| (line["stage"].as_str().unwrap(), line["epoch"].as_u64().unwrap() as usize));
    assert!(found.eq(micro::STAGES.iter().flat_map(|&(stage, epochs)| (1..=epochs).map(move |epoch| (stage, epoch)))));
    for line in lines {
        for part in ["train", "validation"] {
            assert!(line[part]["loss"].as_f64().is_some_and(f64::is_finite), "{line}");
            assert!(line[part]["accuracy"].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)), "{line}");
        }
        let levels = if line["stage"] == "gru_rcn" { 3 } else { 0 };
        assert_eq!(line["validation"]["levels"].as_array().map(Vec::len), Some(levels), "{line}");
        assert!(line["steps"].as_u64().is_some_and(|steps| steps > 0) && line["learning_rate"].is_f64(), "{line}");
    }
}

#[test]
fn the_report_is_one_file_that_loads_nothing() {
    let page = std::fs::read_to_string(reference().root.join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for foreign in ["http://", "https://", "<script", "<link", "<iframe", "@import", "url(", "src=\"/"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("data:image/jpeg;base64,"), "no clips are shown");
    for words in ["GRU-RCN", "Per-frame CNN", "RNN on the top layer", "rotate-clockwise", "hidden = [8, 8, 8]"] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn scores_have_a_row_per_test_clip() {
    let run = reference();
    for file in ["scores-test", "baselines/scores-test-frame", "baselines/scores-test-top_rnn"] {
        let scores = Tensors::read(&run.root.join(file).with_extension("safetensors"));
        assert_eq!(scores.shape("probabilities"), ("F32", vec![TEST_CLIPS as u64, 8]));
        assert_eq!(scores.shape("targets"), ("I64", vec![TEST_CLIPS as u64]));
        assert_eq!(scores.metadata("clips").as_array().map(Vec::len), Some(TEST_CLIPS));
        assert_eq!(scores.metadata("classes").as_array().map(Vec::len), Some(8));
        for row in scores.floats("probabilities").chunks(8) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
        }
    }
}

/// The reported result can be computed again from the scores.
#[test]
fn the_result_follows_from_the_scores() {
    let run = reference();
    let scores = Tensors::read(&run.root.join("scores-test.safetensors"));
    let (probabilities, targets) = (scores.floats("probabilities"), scores.integers("targets"));
    let (mut right, mut nll) = (0, 0.0);
    for (row, &target) in probabilities.chunks(8).zip(&targets) {
        let truth = row[target as usize];
        right += usize::from(row.iter().enumerate().all(|(class, &p)| class == target as usize || p < truth));
        nll -= f64::from(truth).ln() / TEST_CLIPS as f64;
    }
    let test = &run.document["test"];
    assert_eq!(test["top1"], right as f64 / TEST_CLIPS as f64);
    assert!((test["nll"].as_f64().unwrap() - nll).abs() < 1e-6, "{test} {nll}");
}

#[test]
fn train_prints_one_document() {
    let run = reference();
    assert_eq!(keys(&run.document), ["run", "test", "systems", "verdict", "baselines"]);
    assert_eq!(run.document["run"], "run");
    assert_eq!(keys(&run.document["baselines"]), ["frame", "top_rnn"]);
    for result in [&run.document["test"], &run.document["baselines"]["frame"], &run.document["baselines"]["top_rnn"]] {
        assert_is_result(result, TEST_CLIPS);
    }
    let systems = run.document["systems"].as_array().unwrap();
    for (system, result) in systems.iter().zip([&run.document["test"], &run.document["baselines"]["frame"]]) {
        assert_eq!(&system["test"], result);
        assert!(run.root.with_file_name(system["scores"].as_str().unwrap()).is_file(), "{system}");
    }
    // Everything else is on standard error, with the values of each epoch.
    let clips = "96 training, 24 validation and 48 test clips of 8 classes";
    for words in [clips, "train loss", "validation loss", "GRU-RCN epoch 6/6"] {
        assert!(run.stderr.contains(words), "{words}\n{}", run.stderr);
    }
}

#[test]
fn evaluate_reproduces_the_result_of_train() {
    let folder = copied(&reference().root);
    let run_folder = folder.join("run");
    let scores = run_folder.join("scores-test.safetensors");
    std::fs::remove_file(&scores).unwrap();

    let outcome = run(&folder, "evaluate --run run --json").succeeds();
    let clips = "48 test clips of motion";
    let document = &reference().document;
    let (test, systems) = (&document["test"], &document["systems"]);
    let expected = json!({ "test": test, "run": "run", "clips": clips, "views": "1x1", "systems": systems });
    assert_eq!(outcome.json(), expected);
    let saved = std::fs::read(&scores).unwrap();
    assert!(String::from_utf8_lossy(&saved).contains(clips));
    assert_same_outcome(&run_folder);

    let outcome = run(&folder, "evaluate --run run --json --split validation").succeeds();
    assert_is_result(&outcome.json()["test"], 24);
    let validation = Tensors::read(&run_folder.join("scores-validation.safetensors"));
    assert_eq!(validation.shape("probabilities"), ("F32", vec![24, 8]));

    let text = run(&folder, "evaluate --run run").succeeds().stdout;
    for words in ["48 test clips", "top-1", "95 % interval", "top-5", "mean class", "NLL", "pool2", "fc7"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn predict_names_the_most_probable_classes() {
    needs_ffmpeg!();
    let folder = temporary();
    let film = clips().film();
    let predict = |options| Call::new(&folder, options).args([film, "--run", reference().name()]).run().succeeds();
    let document = predict("predict --json --top 3").json();
    assert_eq!(keys(&document[0]), ["file", "frames", "from", "top"]);
    assert_eq!((&document[0]["file"], &document[0]["frames"]), (&json!(film), &json!(20)));
    // Eight of 20 frames from the middle, at ten frames a second.
    assert_eq!(document[0]["from"], json!({ "seen": 8, "first": 6, "last": 13, "seconds": [0.6, 1.3] }));
    let top = document[0]["top"].as_array().unwrap();
    assert_eq!(top.len(), 3);
    assert_eq!(keys(&top[0]), ["class", "probability"]);
    let probability = |n: usize| top[n]["probability"].as_f64().unwrap();
    assert!(probability(0) >= probability(1) && probability(1) >= probability(2), "{top:?}");

    let text = predict("predict --top 3").stdout;
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains(film) && text.contains("20 frames") && text.contains(top[0]["class"].as_str().unwrap()));
    assert_eq!(predict("predict --threshold 1 --json --top 1").json()[0]["answer"], Value::Null);
}

/// Systems have the keys that `evaluate` names. Where single frames do better, a line says so.
#[test]
fn predict_asks_any_system() {
    needs_ffmpeg!();
    let folder = copied(&reference().root);
    let predict =
        |options| Call::new(&folder, &format!("predict --run run --json {options}")).arg(clips().film()).run();
    let own = predict("").succeeds().json();
    assert_eq!(predict("--system gru_rcn").succeeds().json(), own);
    let frame = predict("--system frame").succeeds().json();
    assert_eq!(frame[0]["from"], own[0]["from"]);
    assert_ne!(frame[0]["top"], own[0]["top"]);
    predict("--system nothing").refuses(&["run has no system nothing; it has gru_rcn, frame, top_rnn"]);
    let with_frames_at = |frame: f64| {
        let mut card = card(&folder.join("run"));
        for system in card["systems"].as_array_mut().unwrap() {
            system["test"]["top1"] = json!(if system["key"] == "frame" { frame } else { 0.5 });
        }
        std::fs::write(folder.join("run/run.json"), card.to_string()).unwrap();
        predict("").succeeds()
    };
    let advice = "single frames did better on the 48 test clips of run, 75.0 % against 50.0 %: try --system frame";
    with_frames_at(0.75).says(&[advice]);
    assert!(!with_frames_at(0.5).stderr.contains("--system"));
}

#[test]
fn the_report_can_be_drawn_again() {
    let folder = copied(&reference().root);
    let page = folder.join("run/report.html");
    std::fs::remove_file(&page).unwrap();
    let text = run(&folder, "report --run run").succeeds().stdout;
    assert_eq!(text.trim_end(), "run/report.html");
    assert!(std::fs::read(page).unwrap() == std::fs::read(reference().root.join("report.html")).unwrap());
}

/// Two runs start at the same moment, one with text output, one with other numbers of threads.
#[test]
fn runs_repeat_byte_by_byte_in_folders_of_their_own() {
    let folder = temporary();
    let text = micro::train(&folder).start();
    let other = micro::train(&folder).set(["features.workers=5"]).env("RAYON_NUM_THREADS", "3").arg("--json").start();
    let (text, other) = (text.finish().succeeds().stdout, other.finish().succeeds().json());
    for number in 1..=2 {
        assert_same_outcome(&folder.join(format!("runs/motion-{number}")));
    }
    assert_eq!(other["test"], reference().document["test"]);
    for words in ["48 test clips of 8 classes", "GRU-RCN", "Per-frame CNN", "level pool3", "model   ", "report  "] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    // Without a name the other verbs use the newest run.
    let newest = run(&folder, "evaluate").succeeds();
    assert!(newest.stdout.contains("runs/motion-"), "{}", newest.stdout);
    newest.says(&["run: runs/motion-", "started last"]);
}

#[test]
fn another_seed_gives_another_run() {
    let folder = temporary();
    micro::train(&folder).set(["training.epochs=1"]).args(["--seed", "2", "--run", "run"]).run().succeeds();
    // The CNN is trained as long as in the shared run.
    for file in ["backbone.safetensors", "model.safetensors"] {
        let read = |root: &std::path::Path| std::fs::read(root.join(file)).unwrap();
        assert!(read(&folder.join("run")) != read(&reference().root), "{file}");
    }
}
