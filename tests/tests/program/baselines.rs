//! Baselines that a recipe names.

use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;
use serde_json::Value;

use crate::harness::{copy_folder, keys, run, stage_metrics, temporary};
use crate::tiny;

/// A baseline of the model crate needs nothing in the program: it is trained, tested and reported
/// by its name.
#[test]
fn a_baseline_is_trained_by_its_name() {
    let folder = temporary();
    let changes = ["baselines.others=[\"conv_pooling\"]", "training.epochs=1"];
    let outcome = tiny::train(&folder, &changes).arg("--json").run().succeeds();
    assert_eq!(keys(&outcome.json()["baselines"]), ["top_rnn", "conv_pooling"]);
    let root = folder.join("run");
    assert!(root.join("baselines/conv_pooling.safetensors").is_file());
    assert!(root.join("baselines/scores-test-conv_pooling.safetensors").is_file());
    assert!(std::fs::read_to_string(root.join("report.html")).unwrap().contains("Conv pooling"));
    tiny::train(&folder, &["baselines.others=[\"c4d\"]"]).run().refuses(&["unknown variant `c4d`", "conv_pooling"]);
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
    let outcome = tiny::train(&folder, &changes).arg("--json").run().succeeds();
    assert_eq!(keys(&outcome.json()["baselines"]), ["top_rnn", "single_frame", "c3d", "c3d_svm"]);
    let root = folder.join("run");
    // An SVM on what C3D has learnt, which a resumed run reads again.
    assert_eq!(outcome.json()["baselines"]["c3d_svm"]["clips"], 16);
    let svm = || std::fs::read(root.join("baselines/c3d_svm.safetensors")).unwrap();
    let before = svm();
    std::fs::remove_file(root.join("report.html")).unwrap();
    let again = tiny::resume(&folder).arg("--json").run().succeeds();
    assert!(again.json() == outcome.json() && svm() == before);
    tiny::train(&folder, &["baselines.c3d_svm={}"]).run().refuses(&["name \"c3d\" in baselines.others too"]);
    assert!(root.join("baselines/c3d.safetensors").is_file());
    assert!(root.join("baselines/scores-test-c3d.safetensors").is_file());
    tiny::train(&folder, &["baselines.others=[\"two_stream\"]"])
        .run()
        .refuses(&["frames of 32x32 pixels are too small", "224x224"]);
    tiny::train(&folder, &["baselines.width=0"]).run().refuses(&["baselines.width is 0"]);
}

/// A composite LSTM learns without labels, and a classifier starts from its encoder, also where the run
/// was stopped between the two. Clips have two frames more in the first stage.
#[test]
fn a_classifier_starts_from_an_lstm_that_learnt_without_labels() {
    let folder = temporary();
    let changes = [
        "baselines.others=[\"lstm_classifier\"]",
        "baselines.hidden=8",
        "baselines.composite_lstm={future=2, training={epochs=3, batch=16, learning_rate=1e-2}}",
        "training.epochs=1",
        "data.motion.frames=6",
    ];
    tiny::train(&folder, &changes).run().succeeds();
    let root = folder.join("run");
    let lines = stage_metrics(&root, "composite_lstm");
    let losses: Vec<f64> = lines.iter().map(|line| line["validation"]["loss"].as_f64().unwrap()).collect();
    assert!(losses.len() == 3 && losses[2] < losses[0], "{losses:?}");
    // The state of a run that was stopped after the first stage.
    let weights = root.join("baselines/lstm_classifier.safetensors");
    let before = std::fs::read(&weights).unwrap();
    for path in [&weights, &root.join("checkpoints/lstm_classifier.json"), &root.join("report.html")] {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::remove_dir_all(root.join("checkpoints/lstm_classifier")).unwrap();
    tiny::resume(&folder).run().succeeds();
    assert!(std::fs::read(&weights).unwrap() == before);
    // Without the first stage it is another classifier.
    let plain = temporary();
    tiny::train(&plain, &[&changes[..2], &changes[3..]].concat()).run().succeeds();
    assert!(std::fs::read(plain.join("run/baselines/lstm_classifier.safetensors")).unwrap() != before);
    let alone = ["baselines.composite_lstm={}"];
    tiny::train(&plain, &alone).run().refuses(&["name \"lstm_classifier\" in baselines.others too"]);
}

/// Without GRU-RCN a run is about its first baseline, and no CNN is trained for networks of their
/// own. It is resumed and evaluated like any other, and `predict` asks a system that is named.
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
    let outcome = tiny::train(&folder, &changes).arg("--json").run().succeeds();
    assert_eq!(keys(&outcome.json()["baselines"]), ["single_frame"]);
    let root = folder.join("run");
    assert!(!root.join("backbone.safetensors").exists() && !root.join("model.safetensors").exists());
    assert!(root.join("baselines/early_fusion.safetensors").is_file());
    assert!(std::fs::read_to_string(root.join("report.html")).unwrap().contains("Early fusion on"));
    tiny::resume(&folder).run().succeeds();
    let scores = |key: &str| {
        Tensors::read(&root.join(format!("baselines/scores-test-{key}.safetensors"))).floats("probabilities")
    };
    let before = ["early_fusion", "single_frame"].map(scores);
    let evaluated = run(&folder, "evaluate --run run --json").succeeds().json();
    assert_eq!(keys_of_systems(&evaluated), ["early_fusion", "single_frame"]);
    assert_eq!(evaluated["test"], outcome.json()["test"]);
    assert_eq!(["early_fusion", "single_frame"].map(scores), before);
    let text = run(&folder, "evaluate --run run").succeeds().stdout;
    assert!(text.contains("run, Early fusion on 16 test clips"), "{text}");
    let predict = "predict --run run film.y4m --json";
    run(&folder, predict).refuses(&["has no GRU-RCN", "model.train = false", "--system"]);
    tiny::train(&folder, &["model.train=false", "baselines.top_rnn=none"]).run().refuses(&["nothing to train"]);
    needs_ffmpeg!();
    run(&folder, "prepare motion-film --out film.y4m --motions 1").succeeds();
    let document = run(&folder, &format!("{predict} --system early_fusion")).succeeds().json();
    assert_eq!(document[0]["top"].as_array().map(Vec::len), Some(5), "{document}");
}

/// The keys of the systems in a document of `train` or `evaluate`.
fn keys_of_systems(document: &Value) -> Vec<&str> {
    document["systems"].as_array().unwrap().iter().map(|system| system["key"].as_str().unwrap()).collect()
}

/// `evaluate` scores every system of a run as the test at the end of training did, or one of them.
#[test]
fn every_system_of_a_run_is_evaluated() {
    let folder = temporary();
    let changes = ["training.epochs=1", "baselines.frame=true", "baselines.norms=[{ rule = \"scale\", gain = 0.1 }]"];
    let trained = tiny::train(&folder, &changes).arg("--json").run().succeeds().json();
    let all = ["gru_rcn", "frame", "top_rnn", "norm_scale-0.1"];
    assert_eq!(keys_of_systems(&trained), all);
    copy_folder(&folder.join("run"), &folder.join("copy"));
    let evaluated = run(&folder, "evaluate --run run --json").succeeds().json();
    assert_eq!(keys_of_systems(&evaluated), all);
    for (system, before) in evaluated["systems"].as_array().unwrap().iter().zip(trained["systems"].as_array().unwrap())
    {
        for key in ["name", "test", "interval", "scores", "compared"] {
            assert_eq!(system[key], before[key], "{key} of {}", system["key"]);
        }
        let scores = |run: &str| {
            let path = system["scores"].as_str().unwrap().replacen("run/", run, 1);
            Tensors::read(&folder.join(path)).floats("probabilities")
        };
        assert_eq!(scores("run/"), scores("copy/"), "{}", system["key"]);
    }
    let text = run(&folder, "evaluate --run run --views 2x1 --split validation").succeeds().stdout;
    assert!(text.contains("run on 16 validation clips") && text.contains("other systems of the run, top-1"), "{text}");
    for file in ["scores-validation-2x1.safetensors", "baselines/scores-validation-2x1-top_rnn.safetensors"] {
        assert!(folder.join("run").join(file).is_file(), "{file}");
    }
    let one = run(&folder, "evaluate --run run --system top_rnn --out x.safetensors --json").succeeds().json();
    assert_eq!((keys_of_systems(&one), &one["test"]), (vec!["top_rnn"], &evaluated["systems"][2]["test"]));
    assert!(folder.join("x.safetensors").is_file());
    run(&folder, "evaluate --run run --system top_run")
        .refuses(&["has no system top_run; it has gru_rcn, frame, top_rnn, norm_scale-0.1"]);
    std::fs::remove_file(folder.join("run/baselines/frame.safetensors")).unwrap();
    run(&folder, "evaluate --run run").refuses(&["has no baselines/frame.safetensors"]);
}
