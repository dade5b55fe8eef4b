//! Fine-tuning of the CNN on the clips' classes, the paper's first stage, and joint training of CNN
//! and GRU-RCN.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Call, card, read_json, run, stage_metrics, temporary};
use crate::micro;

/// The CNN of the shared run, which classifies six shapes.
fn shapes() -> PathBuf {
    micro::reference().root.join("backbone.safetensors")
}

/// The small experiment with the CNN of another run, in `folder/run`.
fn from_weights(folder: &Path, weights: &Path) -> Call {
    micro::train(folder).args(["--run", "run", "--weights"]).arg(weights)
}

const FINETUNE: &str = "backbone.finetune={frames=2, training={epochs=2, batch=32, learning_rate=1e-3}}";
const NO_BASELINES: [&str; 2] = ["baselines.frame=false", "baselines.top_rnn=0"];

/// After fine-tuning the CNN classifies eight motions instead of six shapes. A later run starts from it as from any file, frozen or with another new classifier.
#[test]
fn a_fine_tuned_cnn_starts_other_runs() {
    let folder = temporary();
    let call = from_weights(&folder, &shapes()).set(NO_BASELINES).set([FINETUNE, "training.epochs=1"]);
    let outcome = call.arg("--json").run().succeeds();
    outcome.says(&["its classifier classifier.6 of 6 classes is replaced by a new one of 8"]);
    let first = folder.join("run");
    assert_eq!(card(&first)["cnn_classes"], 8);
    let motions = first.join("backbone.safetensors");
    assert!(fs::read(&motions).unwrap() != fs::read(shapes()).unwrap());
    assert_eq!(stage_metrics(&first, "cnn_finetune").len(), 2);
    let evaluated = run(&folder, "evaluate --run run --json").succeeds().json();
    assert_eq!(evaluated["systems"], outcome.json()["systems"]);

    // Its own classifier is a system of the run, compared with GRU-RCN.
    let row = &card(&first)["systems"][1];
    assert_eq!([&row["key"], &row["name"]], ["cnn", "Small VGG, single frames"]);
    assert_eq!(row["scores"], "baselines/scores-test-cnn.safetensors");
    assert_eq!((row["curve"].as_array().unwrap().len(), &row["compared"]["clips"]), (2, &row["test"]["clips"]));
    assert_eq!(row["mean_of_probabilities"]["clips"], row["test"]["clips"]);
    let scores = |root: &Path| fs::read(root.join("baselines/scores-test-cnn.safetensors")).unwrap();
    assert!(fs::read_to_string(first.join("report.html")).unwrap().contains("mean of probabilities"));
    // Nothing of it is left to compute when the run is resumed.
    run(&folder, "train --resume --run run").succeeds().says(&["is done already"]);

    // A frozen CNN keeps its bytes, whatever is trained on its maps, and with them its classes.
    let later = temporary();
    let from_motions = |folder: &Path| from_weights(folder, &motions).set(NO_BASELINES).set(["training.epochs=1"]);
    from_motions(&later).run().succeeds();
    let root = later.join("run");
    assert_eq!(card(&root)["cnn_classes"], 8);
    assert!(fs::read(root.join("backbone.safetensors")).unwrap() == fs::read(&motions).unwrap());
    assert_eq!(card(&root)["systems"][1]["key"], "cnn");
    assert!(scores(&root) == scores(&first));
    assert_eq!(card(&root)["notes"], Value::Null);
    // A CNN that names shapes is no system of a run on motions.
    assert_eq!(card(&micro::reference().root)["cnn_is_system"], false);
    // On other clips of the same classes, the result says what the CNN has seen.
    let other = temporary();
    from_motions(&other).set(["data.motion.test=8"]).run().succeeds();
    let note = card(&other.join("run"))["notes"][0].as_str().unwrap().to_owned();
    assert!(note.contains("were fine-tuned on other clips of these classes"), "{note}");
}

/// A run of the fine-tuned CNN alone, from which others start: its row is the only one. It is tested by
/// the run's views, and its scores are fused like those of other systems.
#[test]
fn a_cnn_is_fine_tuned_and_tested_alone() {
    let folder = temporary();
    let changes = ["model.train=false", FINETUNE, "evaluation.views.starts=2"];
    let outcome = from_weights(&folder, &shapes()).set(NO_BASELINES).set(changes).run().succeeds();
    assert!(outcome.stdout.contains("Small VGG, single frames") && outcome.stdout.contains("mean of probabilities"));
    assert!(!outcome.stderr.contains("compared with"), "{}", outcome.stderr);
    let root = folder.join("run");
    assert_eq!(card(&root)["systems"].as_array().unwrap().len(), 1);
    assert!(!root.join("model.safetensors").exists());
    run(&folder, "evaluate --run run --views 1x1").succeeds();
    assert!(root.join("baselines/scores-test-1x1-cnn.safetensors").is_file());
    let fused = run(&folder, "fuse run run:cnn=3 --json").succeeds().json();
    assert_eq!(fused["fused"], card(&root)["systems"][0]["test"]);
}

/// Fine-tuning works from frames in memory and from frames read again. A run that is killed between
/// the stages resumes with the CNN that it saved.
#[test]
fn fine_tunes_from_frames_in_memory_and_resumes_with_the_saved_cnn() {
    let folder = temporary();
    let cached = "backbone.finetune={cache=true, dropout=[0.1, 0.0], training={epochs=1, batch=32}}";
    from_weights(&folder, &shapes()).set(NO_BASELINES).set([cached, "training.epochs=1"]).run().succeeds();
    let root = folder.join("run");
    let (cnn, model) = (root.join("backbone.safetensors"), root.join("model.safetensors"));
    let before = [fs::read(&cnn).unwrap(), fs::read(&model).unwrap()];
    // The state of a run that was stopped after the first stage.
    for path in ["model.safetensors", "checkpoints/gru_rcn.json"] {
        fs::remove_file(root.join(path)).unwrap();
    }
    fs::remove_dir_all(root.join("checkpoints/gru_rcn")).unwrap();
    run(&folder, "train --resume --run run").succeeds();
    assert!(before == [fs::read(&cnn).unwrap(), fs::read(&model).unwrap()]);
}

/// Joint training changes CNN and GRU-RCN, but not the frozen CNN of the baselines.
#[test]
fn cnn_and_gru_rcn_are_trained_together() {
    let folder = temporary();
    let changes = ["model.finetune_backbone=true", "training.epochs=2", "baselines.top_rnn=0"];
    from_weights(&folder, &shapes()).set(changes).run().succeeds();
    let root = folder.join("run");
    let read = |name: &str| fs::read(root.join(name)).unwrap();
    assert!(read("backbone.safetensors") == fs::read(shapes()).unwrap());
    assert!(read("backbone-joint.safetensors") != read("backbone.safetensors"));
    // The baseline has the weights of a run with a frozen CNN.
    assert!(root.join("baselines/frame.safetensors").is_file());
    // The saved files give the scores of the training run.
    let evaluated = run(&folder, "evaluate --run run --json").succeeds().json();
    assert_eq!(evaluated["test"]["top1"], card(&root)["systems"][0]["test"]["top1"]);
}

/// The CNN learns in bfloat16, and its maps are normalised in float32. The precision is in the run
/// card and in the file by which a run is resumed.
#[test]
fn cnn_and_gru_rcn_are_trained_together_in_bf16() {
    let folder = temporary();
    let call = from_weights(&folder, &shapes()).set(NO_BASELINES);
    let call = call.set(["model.finetune_backbone=true", "training.epochs=1"]);
    call.args(["--dtype", "bf16"]).run().succeeds();
    let root = folder.join("run");
    assert_eq!(card(&root)["dtype"], "bf16");
    assert_eq!(read_json(&root.join("checkpoints/identity.json"))["dtype"], "bf16");
    run(&folder, "evaluate --run run --dtype bf16 --json").succeeds();
}

#[test]
fn a_run_that_needs_too_much_memory_is_refused() {
    let folder = temporary();
    let words = ["memory: about", "more than the --max-memory of 0.00 GiB", "training.batch"];
    run(&folder, "train --max-memory 0.001").refuses(&words);
    assert!(!folder.join("runs").exists());
    assert!(micro::reference().stderr.contains("memory: about"));
}

#[test]
fn the_papers_recipes_name_missing_data_and_weights() {
    let folder = temporary();
    let train = |recipe| Call::new(&folder, "train").arg(recipe);
    let no_clips = ["needs the folder of its clips", "--data DIR"];
    for recipe in ["ucf101/rgb", "ucf101/flow"] {
        train(recipe).run().refuses(&["--weights FILE"]);
        let weighted = || train(recipe).arg("--weights").arg(shapes());
        weighted().run().refuses(&no_clips);
        weighted().args(["--data", "nowhere"]).run().refuses(&["nowhere"]);
    }
    // Those of compared systems need no weights.
    for recipe in ["ucf101/two-stream", "ucf101/lrcn-flow", "ucf101/c3d"] {
        train(recipe).run().refuses(&no_clips);
    }
}
