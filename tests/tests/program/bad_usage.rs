//! Invalid arguments and recipes.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use gru_rcn::recognizer::Recognizer;
use serde_json::json;

use crate::harness::{self, Call, run, temporary};
use crate::micro;

#[track_caller]
fn refuses(folder: &Path, line: &[&str], words: &[&str]) {
    harness::refuses(folder, Call::new(folder, line), words);
}

#[test]
fn unknown_verbs_and_options_are_refused() {
    let folder = temporary();
    refuses(folder.path(), &["dance"], &["unrecognized subcommand 'dance'", "--help"]);
    refuses(folder.path(), &["train", "--dance"], &["unexpected argument '--dance'"]);
    refuses(folder.path(), &["predict"], &["<VIDEO>"]);
    refuses(folder.path(), &["train", "--seed", "many"], &["'many'", "--seed"]);
    refuses(folder.path(), &["evaluate", "--split", "tset"], &["tset", "train, validation (or val) or test"]);
    refuses(folder.path(), &["train", "motoin"], &["motoin: no such recipe file", "motion, motion-tiny, actions"]);
    // Without arguments the program prints its help, as an error.
    let nothing = run(folder.path(), [] as [&str; 0]).exits(2);
    assert!(nothing.stderr.contains("Usage:") && nothing.stderr.contains("predict"), "{}", nothing.stderr);
}

#[test]
fn help_is_not_an_error() {
    let folder = temporary();
    for verb in ["train", "evaluate", "predict", "report"] {
        let text = run(folder.path(), [verb, "--help"]).succeeds().stdout;
        assert!(text.contains("--run <DIR>"), "{text}");
    }
    assert!(run(folder.path(), ["--version"]).succeeds().stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn missing_backends_are_refused() {
    let folder = temporary();
    refuses(folder.path(), &["train", "--backend", "tpu"], &["tpu: no such backend", "cuda[:N]"]);
    refuses(folder.path(), &["train", "--backend", "cuda:first"], &["cuda:first"]);
    // This package builds the program without features.
    let cuda = ["no cuda backend", "cargo xtask", "--backend cuda", "--features cuda"];
    refuses(folder.path(), &["train", "--backend", "cuda"], &cuda);
    refuses(folder.path(), &["predict", "x.mp4", "--backend", "wgpu"], &["no wgpu backend", "--features wgpu"]);
}

#[test]
fn unknown_keys_of_recipes_are_refused() {
    let folder = temporary();
    fs::write(folder.path().join("mine.toml"), "name = \"mine\"\nseed = 1\nbogus = 3\n").unwrap();
    // The line number is that of the file.
    refuses(folder.path(), &["train", "mine.toml"], &["mine.toml", "line 3", "unknown field `bogus`"]);
    fs::write(folder.path().join("torn.toml"), "name = [").unwrap();
    refuses(folder.path(), &["train", "torn.toml"], &["torn.toml", "not valid TOML", "line 1"]);
    let bad = |change: &str, words: &[&str]| refuses(folder.path(), &["train", "--set", change], words);
    bad("training.bacth=3", &["unknown field `bacth`", "`batch`"]);
    bad("bogus=3", &["unknown field `bogus`"]);
    bad("training.batch", &["--set training.batch: expected KEY=VALUE"]);
    bad("training..batch=3", &["--set training..batch=3", "empty part"]);
    bad("seed.deep=3", &["--set seed.deep=3", "not a section"]);
}

#[test]
fn values_out_of_range_are_refused() {
    let folder = temporary();
    let bad = |change: &str, words: &[&str]| refuses(folder.path(), &["train", "--set", change], words);
    bad("training.batch=many", &["batch", "many"]);
    bad("training.epochs=0", &["training.epochs is 0"]);
    bad("training.learning_rate=-1.0", &["training.learning_rate"]);
    bad("model.dropout=1.0", &["model.dropout is 1"]);
    bad("model.hidden=[8]", &["but model.hidden has 1 sizes; give one per level"]);
    bad("clip.input_size=[0, 0]", &["`input_size` = [0, 0]"]);
    bad("clip.input_size=[8, 8]", &["clip.input_size", "8x8", "too small"]);
    bad("backbone.taps=[\"pool9\", \"pool3\", \"fc7\"]", &["no tap \"pool9\"", "pool1, pool2"]);
    bad("backbone.taps=[\"pool2\", \"pool2\", \"fc7\"]", &["name each level once", "pool2, fc7"]);
    bad("data.motion.train=0", &["`train` = 0"]);
    bad("data.motion.size=5", &["`size` = 5"]);
    bad("backbone.finetune={dropout=[0.9]}", &["backbone.finetune.dropout has 1 numbers, this network takes 2"]);
    bad("backbone.finetune={dropout=[0.9, 1.0]}", &["backbone.finetune.dropout has 1", "below 1"]);
    bad("backbone.finetune={frames=0}", &["backbone.finetune.frames is 0"]);
    bad("backbone.finetune={training={batch=0}}", &["backbone.finetune", "training.batch is 0"]);
    bad("training.class_weights={ rigth = 2 }", &["names \"rigth\", which is no class", "nearest name is \"right\""]);
    bad("backbone.pretrain.class_weights=auto", &["backbone.pretrain.class_weights", "learns appearances"]);
    bad("backbone.pretrain.sampling=balanced", &["backbone.pretrain.sampling"]);
    bad("model.backbone_lr_factor=0.0", &["model.backbone_lr_factor is 0"]);
    bad("name=../elsewhere", &["name is \"../elsewhere\"", "no slashes"]);
}

#[test]
fn folders_without_a_run_are_refused() {
    let folder = temporary();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for verb in [vec!["predict", "x.mp4"], vec!["evaluate"], vec!["report"], vec!["train", "--resume"]] {
        let with = |more: &[&'static str]| [verb.as_slice(), more].concat();
        // A built-in model is asked.
        let none = if verb[0] == "predict" {
            ["x.mp4: no such file", ""]
        } else {
            ["there is no run in runs", "train one first"]
        };
        refuses(folder.path(), &verb, &none);
        refuses(folder.path(), &with(&["--run", "nowhere"]), &["nowhere: no such run folder"]);
        refuses(folder.path(), &with(&["--run", "empty"]), &["empty is not a run: it has no recipe.toml"]);
    }
    fs::write(folder.path().join("file"), "x").unwrap();
    refuses(folder.path(), &["train", "--run", "file"], &["could not create the run folder file"]);
}

/// One file of a run is damaged: the message names it.
#[test]
fn damaged_runs_are_refused() {
    let folder = temporary();
    let root = folder.path().join("run");
    let cases = [
        ("recipe.toml", "name = [", "recipe.toml"),
        ("run.json", "{", "run.json"),
        ("model.safetensors", "torn", "model.safetensors: not a readable weight file"),
        ("backbone.safetensors", "torn", "backbone.safetensors: not a readable weight file"),
    ];
    for (file, content, words) in cases {
        harness::copy_folder(&micro::reference().root, &root);
        fs::write(root.join(file), content).unwrap();
        run(folder.path(), ["evaluate", "--run", "run"]).refuses(&[words]);
    }
    fs::write(root.join("report.json"), "{").unwrap();
    run(folder.path(), ["report", "--run", "run"]).refuses(&["report.json is damaged"]);
}

/// A weight that is NaN or infinite makes no results: the message names the file and the tensor.
#[test]
fn weights_that_are_not_finite_are_refused() {
    let folder = temporary();
    let root = folder.path().join("run");
    let cases = [
        ("model.safetensors", "heads.classifiers.0.bias", f32::NAN),
        ("model.safetensors", "norm.scales", f32::INFINITY),
        ("backbone.safetensors", "features.0.weight", f32::NEG_INFINITY),
    ];
    for (file, tensor, value) in cases {
        harness::copy_folder(&micro::reference().root, &root);
        harness::poke(&root.join(file), tensor, value);
        let words = [file, tensor, "not a finite number"];
        run(folder.path(), ["evaluate", "--run", "run", "--json"]).refuses(&words);
        run(folder.path(), ["predict", "--run", "run", "x.mp4"]).refuses(&words);
        run(folder.path(), ["features", "--run", "run", "--out", "maps"]).refuses(&words);
        assert!(Recognizer::open(&root, &Device::flex()).unwrap_err().to_string().contains(tensor));
    }
}

/// Numbers in the data of a report are checked before anything is drawn of them.
#[test]
fn impossible_numbers_of_a_report_are_refused() {
    let folder = temporary();
    let root = folder.path().join("run");
    harness::copy_folder(&micro::reference().root, &root);
    let good = harness::read_json(&root.join("report.json"));
    let cases = [
        ("/systems/0/curve/0/train_loss", json!(1.7e308), "train_loss in epoch 1"),
        ("/systems/0/curve/0/validation_loss", json!(-1e300), "validation_loss in epoch 1"),
        ("/systems/0/curve/0/train_accuracy", json!(1e9), "train_accuracy in epoch 1"),
        ("/systems/0/curve/1/epoch", json!(0), "not in order"),
        ("/systems/0/test/top1", json!(2.0), "top1"),
        ("/systems/0/test/clips", json!(u64::MAX), "number of clips"),
        ("/systems/0/test/nll", json!(-1.0), "nll"),
        ("/confusion/0/0", json!(u64::MAX), "confusion"),
        ("/gallery/0/top/0/1", json!(-3.0), "gallery"),
    ];
    for (pointer, value, words) in cases {
        let mut report = good.clone();
        *report.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        fs::write(root.join("report.json"), report.to_string()).unwrap();
        run(folder.path(), ["report", "--run", "run"]).refuses(&["report.json is damaged", words]);
        run(folder.path(), ["report", "run", "run"]).refuses(&["report.json is damaged", words]);
    }
}
