//! Invalid arguments and recipes.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use gru_rcn::recognizer::Recognizer;
use gru_rcn_tests::tensors::Tensors;
use serde_json::json;

use crate::harness::{self, Call, copied, copy_folder, run, temporary};
use crate::micro;

#[track_caller]
fn refuses(folder: &Path, line: &str, words: &[&str]) {
    harness::refuses(folder, Call::new(folder, line), words);
}

/// Checks that a change of the recipe `motion` is refused.
#[track_caller]
fn refuses_change(folder: &Path, change: &str, words: &[&str]) {
    harness::refuses(folder, Call::new(folder, "train").set([change]), words);
}

#[test]
fn unknown_verbs_and_options_are_refused() {
    let folder = temporary();
    refuses(&folder, "dance", &["unrecognized subcommand 'dance'", "--help"]);
    refuses(&folder, "train --dance", &["unexpected argument '--dance'"]);
    refuses(&folder, "predict", &["<VIDEO>"]);
    refuses(&folder, "train --seed many", &["'many'", "--seed"]);
    refuses(&folder, "evaluate --split tset", &["tset", "train, validation (or val) or test"]);
    refuses(&folder, "train motoin", &["motoin: no such recipe file", "motion, motion-tiny, actions"]);
    // Without arguments the program prints its help, as an error.
    let nothing = run(&folder, "").exits(2);
    assert!(nothing.stderr.contains("Usage:") && nothing.stderr.contains("predict"), "{}", nothing.stderr);
}

#[test]
fn help_is_not_an_error() {
    let folder = temporary();
    for verb in ["train", "evaluate", "predict", "report"] {
        let text = run(&folder, &format!("{verb} --help")).succeeds().stdout;
        assert!(text.contains("--run <DIR>"), "{text}");
    }
    assert!(run(&folder, "--version").succeeds().stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn missing_backends_are_refused() {
    let folder = temporary();
    refuses(&folder, "train --backend tpu", &["tpu: no such backend", "cuda[:N]"]);
    refuses(&folder, "train --backend cuda:first", &["cuda:first"]);
    // This package builds the program without features.
    let cuda = ["no cuda backend", "cargo xtask", "--backend cuda", "--features cuda"];
    refuses(&folder, "train --backend cuda", &cuda);
    refuses(&folder, "predict x.mp4 --backend wgpu", &["no wgpu backend", "--features wgpu"]);
}

#[test]
fn unknown_keys_of_recipes_are_refused() {
    let folder = temporary();
    fs::write(folder.join("mine.toml"), "name = \"mine\"\nseed = 1\nbogus = 3\n").unwrap();
    // The line number is that of the file.
    refuses(&folder, "train mine.toml", &["mine.toml", "line 3", "unknown field `bogus`"]);
    fs::write(folder.join("torn.toml"), "name = [").unwrap();
    refuses(&folder, "train torn.toml", &["torn.toml", "not valid TOML", "line 1"]);
    let bad = |change: &str, words: &[&str]| refuses_change(&folder, change, words);
    bad("training.bacth=3", &["unknown field `bacth`", "`batch`"]);
    bad("bogus=3", &["unknown field `bogus`"]);
    bad("training.batch", &["--set training.batch: expected KEY=VALUE"]);
    bad("training..batch=3", &["--set training..batch=3", "empty part"]);
    bad("seed.deep=3", &["--set seed.deep=3", "not a section"]);
}

#[test]
fn values_out_of_range_are_refused() {
    let folder = temporary();
    let bad = |change: &str, words: &[&str]| refuses_change(&folder, change, words);
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
    bad("backbone.finetune={dropout=[0.9, 1.0]}", &["backbone.finetune.dropout is 1", "below 1"]);
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
    fs::create_dir(folder.join("empty")).unwrap();
    let none: &[&str] = &["there is no run in runs", "train one first"];
    // Without a run `predict` asks a built-in model.
    let asks_built_in: &[&str] = &["x.mp4: no such file"];
    for (line, words) in
        [("predict x.mp4", asks_built_in), ("evaluate", none), ("report", none), ("train --resume", none)]
    {
        refuses(&folder, line, words);
        refuses(&folder, &format!("{line} --run nowhere"), &["nowhere: no such run folder"]);
        refuses(&folder, &format!("{line} --run empty"), &["empty is not a run: it has no recipe.toml"]);
    }
    fs::write(folder.join("file"), "x").unwrap();
    refuses(&folder, "train --run file", &["could not create the run folder file"]);
}

/// One file of a run is damaged: the message names it.
#[test]
fn damaged_runs_are_refused() {
    let folder = temporary();
    let root = folder.join("run");
    let cases = [
        ("recipe.toml", "name = [", "recipe.toml"),
        ("run.json", "{", "run.json"),
        ("model.safetensors", "torn", "model.safetensors: not a readable weight file"),
        ("backbone.safetensors", "torn", "backbone.safetensors: not a readable weight file"),
    ];
    for (file, content, words) in cases {
        copy_folder(&micro::reference().root, &root);
        fs::write(root.join(file), content).unwrap();
        run(&folder, "evaluate --run run").refuses(&[words]);
    }
    fs::write(root.join("report.json"), "{").unwrap();
    run(&folder, "report --run run").refuses(&["report.json is damaged"]);
}

/// A weight that is NaN or infinite makes no results: the message names the file and the tensor.
#[test]
fn weights_that_are_not_finite_are_refused() {
    let folder = temporary();
    let root = folder.join("run");
    let cases = [
        ("model.safetensors", "heads.classifiers.0.bias", f32::NAN),
        ("model.safetensors", "norm.scales", f32::INFINITY),
        ("backbone.safetensors", "features.0.weight", f32::NEG_INFINITY),
    ];
    for (file, tensor, value) in cases {
        copy_folder(&micro::reference().root, &root);
        Tensors::poke(&root.join(file), tensor, value);
        let words = [file, tensor, "not a finite number"];
        run(&folder, "evaluate --run run --json").refuses(&words);
        run(&folder, "predict --run run x.mp4").refuses(&words);
        run(&folder, "features --run run --out maps").refuses(&words);
        assert!(Recognizer::open(&root, &Device::flex()).unwrap_err().to_string().contains(tensor));
    }
}

/// Numbers in the data of a report are checked before the report is drawn.
#[test]
fn impossible_numbers_of_a_report_are_refused() {
    let folder = copied(&micro::reference().root);
    let root = folder.join("run");
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
        run(&folder, "report --run run").refuses(&["report.json is damaged", words]);
        run(&folder, "report run run").refuses(&["report.json is damaged", words]);
    }
}
