//! Baselines that a recipe names.

use crate::harness::{Call, keys, temporary};
use crate::tiny;

/// A baseline of the model crate needs nothing in the program: it is trained, tested and reported
/// by its name.
#[test]
fn a_baseline_is_trained_by_its_name() {
    let folder = temporary();
    let changes = ["baselines.others=[\"conv_pooling\"]", "training.epochs=1"];
    let outcome = tiny::train(folder.path(), &changes).args(["--json"]).run().succeeds();
    assert_eq!(keys(&outcome.json()["baselines"]), ["top_rnn", "conv_pooling"]);
    let root = folder.path().join("run");
    assert!(root.join("baselines/conv_pooling.safetensors").is_file());
    assert!(root.join("baselines/scores-test-conv_pooling.safetensors").is_file());
    assert!(std::fs::read_to_string(root.join("report.html")).unwrap().contains("Conv pooling"));
    tiny::train(folder.path(), &["baselines.others=[\"c4d\"]"])
        .run()
        .refuses(&["unknown variant `c4d`", "conv_pooling"]);
}

/// A network of its own is trained on the pixels of the same clips and tested by several views. One
/// that frames of 32×32 pixels are too small for is refused before anything is trained.
#[test]
fn a_baseline_on_pixels_is_trained_by_its_name() {
    let folder = temporary();
    let changes = [
        "baselines.others=[\"single_frame\", \"c3d\"]",
        "baselines.width=0.02",
        "baselines.c3d_svm={starts=2}",
        "training.epochs=1",
        "evaluation.views.starts=2",
    ];
    let outcome = tiny::train(folder.path(), &changes).args(["--json"]).run().succeeds();
    assert_eq!(keys(&outcome.json()["baselines"]), ["top_rnn", "single_frame", "c3d", "c3d_svm"]);
    let root = folder.path().join("run");
    // An SVM on what C3D has learnt, which a resumed run reads again.
    assert_eq!(outcome.json()["baselines"]["c3d_svm"]["clips"], 16);
    let svm = || std::fs::read(root.join("baselines/c3d_svm.safetensors")).unwrap();
    let before = svm();
    std::fs::remove_file(root.join("report.html")).unwrap();
    let again = tiny::resume(folder.path()).args(["--json"]).run().succeeds();
    assert!(again.json() == outcome.json() && svm() == before);
    tiny::train(folder.path(), &["baselines.c3d_svm={}"]).run().refuses(&["name \"c3d\" in baselines.others too"]);
    assert!(root.join("baselines/c3d.safetensors").is_file());
    assert!(root.join("baselines/scores-test-c3d.safetensors").is_file());
    tiny::train(folder.path(), &["baselines.others=[\"two_stream\"]"])
        .run()
        .refuses(&["frames of 32x32 pixels are too small", "224x224"]);
    tiny::train(folder.path(), &["baselines.width=0"]).run().refuses(&["baselines.width is 0"]);
}

/// Without GRU-RCN a run is about its first baseline, and no CNN is trained for networks of their
/// own. It is resumed like any other, and has nothing that `evaluate` could open.
#[test]
fn a_run_of_baselines_alone() {
    let folder = temporary();
    let changes = [
        "model.train=false",
        "backbone.pretrain=none",
        "baselines.top_rnn=none",
        "baselines.others=[\"early_fusion\", \"single_frame\"]",
        "baselines.width=0.02",
        "training.epochs=1",
    ];
    let outcome = tiny::train(folder.path(), &changes).args(["--json"]).run().succeeds();
    assert_eq!(keys(&outcome.json()["baselines"]), ["single_frame"]);
    let root = folder.path().join("run");
    assert!(!root.join("backbone.safetensors").exists() && !root.join("model.safetensors").exists());
    assert!(root.join("baselines/early_fusion.safetensors").is_file());
    assert!(std::fs::read_to_string(root.join("report.html")).unwrap().contains("Early fusion on"));
    tiny::resume(folder.path()).run().succeeds();
    Call::new(folder.path(), ["evaluate", "--run", "run"]).run().refuses(&["has no GRU-RCN", "model.train = false"]);
    tiny::train(folder.path(), &["model.train=false", "baselines.top_rnn=none"]).run().refuses(&["nothing to train"]);
}
