//! The paper's first stage, a CNN fine-tuned on the clips' classes, and CNN and GRU-RCN trained together.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Call, run, temporary};
use crate::micro;

/// The small experiment from the CNN of another run, with further changes.
fn from_weights(folder: &Path, weights: &Path, changes: &[&str]) -> Call {
    let changes = changes.iter().copied().flat_map(|change| ["--set", change]);
    micro::train(folder).arg_path("--weights", weights).args(changes).args(["--run", "run"])
}

fn card(run: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(run.join("run.json")).unwrap()).unwrap()
}

const FINETUNE: &str = "backbone.finetune={frames=2, training={epochs=2, batch=32, learning_rate=1e-3}}";
const NO_BASELINES: [&str; 2] = ["baselines.frame=false", "baselines.top_rnn=0"];

/// The CNN of the shared run tells six shapes apart; fine-tuned, it tells eight motions apart, and a later run starts from
/// it as from any file, frozen or with another new classifier.
#[test]
fn a_cnn_is_fine_tuned_and_used_further() {
    let folder = temporary();
    let shapes = micro::reference().root.join("backbone.safetensors");
    let changes = [&[FINETUNE, "training.epochs=1"][..], &NO_BASELINES[..]].concat();
    let outcome = from_weights(folder.path(), &shapes, &changes).run().succeeds();
    let said = "its classifier classifier.6 of 6 classes is replaced by a new one of 8";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    let root = folder.path().join("run");
    assert_eq!(card(&root)["cnn_classes"], 8);
    let motions = root.join("backbone.safetensors");
    assert!(fs::read(&motions).unwrap() != fs::read(&shapes).unwrap());
    let lines = fs::read_to_string(root.join("metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().filter(|line| line.contains("\"cnn_finetune\"")).count(), 2, "{lines}");
    run(folder.path(), ["evaluate", "--run", "run", "--json"]).succeeds();

    // Frozen: the same bytes, whatever is trained on top of it.
    let later = temporary();
    let outcome = from_weights(later.path(), &motions, &[&["training.epochs=1"][..], &NO_BASELINES[..]].concat()).run();
    outcome.succeeds();
    let root = later.path().join("run");
    assert_eq!(card(&root)["cnn_classes"], 8);
    assert!(fs::read(root.join("backbone.safetensors")).unwrap() == fs::read(&motions).unwrap());
}

/// Fine-tuning from frames in memory and from frames read anew both work, and a run that is killed between the stages goes
/// on with the CNN it has.
#[test]
fn frames_may_be_kept_in_memory_and_the_cnn_is_kept_for_a_resumption() {
    let folder = temporary();
    let shapes = micro::reference().root.join("backbone.safetensors");
    let cached = "backbone.finetune={cache=true, dropout=[0.1, 0.0], training={epochs=1, batch=32}}";
    from_weights(folder.path(), &shapes, &[&[cached, "training.epochs=1"][..], &NO_BASELINES[..]].concat())
        .run()
        .succeeds();
    let root = folder.path().join("run");
    let (cnn, model) = (root.join("backbone.safetensors"), root.join("model.safetensors"));
    let before = [fs::read(&cnn).unwrap(), fs::read(&model).unwrap()];
    // As if it had been stopped after the first stage.
    for path in ["model.safetensors", "checkpoints/gru_rcn.json"] {
        fs::remove_file(root.join(path)).unwrap();
    }
    fs::remove_dir_all(root.join("checkpoints/gru_rcn")).unwrap();
    run(folder.path(), ["train", "--resume", "--run", "run"]).succeeds();
    assert!(before == [fs::read(&cnn).unwrap(), fs::read(&model).unwrap()]);
}

/// Trained together, CNN and GRU-RCN both move. The frozen CNN, which the baselines look through, stays as it was.
#[test]
fn cnn_and_gru_rcn_are_trained_together() {
    let folder = temporary();
    let shapes = micro::reference().root.join("backbone.safetensors");
    let changes = ["model.finetune_backbone=true", "training.epochs=2", "baselines.top_rnn=0"];
    from_weights(folder.path(), &shapes, &changes).run().succeeds();
    let root = folder.path().join("run");
    let read = |name: &str| fs::read(root.join(name)).unwrap();
    assert!(read("backbone.safetensors") == fs::read(&shapes).unwrap());
    assert!(read("backbone-joint.safetensors") != read("backbone.safetensors"));
    // The baseline's weights are those that a run with a frozen CNN would give.
    assert!(root.join("baselines/frame.safetensors").is_file());
    // What it scored in training is what the saved files score.
    let top1 = |value: &Value| value["test"]["top1"].as_f64().unwrap();
    let evaluated = run(folder.path(), ["evaluate", "--run", "run", "--json"]).succeeds().json();
    assert_eq!(top1(&evaluated), top1(&card(&root)["systems"][0]));
}

#[test]
fn a_run_that_needs_too_much_memory_is_refused() {
    let folder = temporary();
    let words = ["memory: about", "more than the --max-memory of 0.00 GiB", "training.batch"];
    run(folder.path(), ["train", "--max-memory", "0.001"]).refuses(&words);
    assert!(!folder.path().join("runs").exists());
    assert!(micro::reference().told.contains("memory: about"));
}

#[test]
fn the_papers_recipes_say_what_they_need() {
    let folder = temporary();
    let shapes = micro::reference().root.join("backbone.safetensors");
    for recipe in ["ucf101-rgb", "ucf101-flow"] {
        run(folder.path(), ["train", recipe]).refuses(&["--weights FILE"]);
        let with =
            |more: &[&str]| Call::new(folder.path(), ["train", recipe]).arg_path("--weights", &shapes).args(more).run();
        with(&[]).refuses(&["needs the folder of its clips", "--data DIR"]);
        with(&["--data", "nowhere"]).refuses(&["nowhere"]);
    }
}

#[test]
fn sections_out_of_range() {
    let folder = temporary();
    let bad = |change: &str, words: &[&str]| run(folder.path(), ["train", "--set", change]).refuses(words);
    bad("backbone.finetune={dropout=[0.9]}", &["backbone.finetune.dropout has 1 numbers, this network takes 2"]);
    bad("backbone.finetune={dropout=[0.9, 1.0]}", &["backbone.finetune.dropout has 1", "below 1"]);
    bad("backbone.finetune={frames=0}", &["backbone.finetune.frames is 0"]);
    bad("backbone.finetune={training={batch=0}}", &["backbone.finetune", "training.batch is 0"]);
    bad("model.backbone_rate=0.0", &["model.backbone_rate"]);
}
