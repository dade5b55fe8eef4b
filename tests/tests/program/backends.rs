//! Precision, several devices, and the report of `doctor`.

use gru_rcn_tests::tensors::Tensors;
use serde_json::{Value, json};

use crate::harness::{run, temporary};
use crate::micro::{self, metrics, reference};

#[test]
fn doctor_reports_a_working_cpu() {
    let folder = temporary();
    let outcome = run(folder.path(), ["doctor", "--json"]).succeeds();
    let report = outcome.json();
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{report}");
    let backends = report["backends"].as_array().unwrap();
    let names: Vec<&str> = backends.iter().filter_map(|backend| backend["name"].as_str()).collect();
    assert_eq!(names, ["cpu", "ndarray", "wgpu", "vulkan", "metal", "cuda"]);
    let cpu = &backends[0];
    assert_eq!(
        (&cpu["built_in"], &cpu["smoke"]["ok"], &cpu["smoke"]["bf16"]),
        (&json!(true), &json!(true), &json!(true))
    );
    for backend in backends {
        assert!(
            backend["built_in"] == true
                || backend["advice"].as_str().is_some_and(|advice| advice.contains("--features"))
        );
    }
    let text = run(folder.path(), ["doctor", "--quick"]).succeeds().stdout;
    for word in ["cores", "memory", "disk", "ffmpeg", "cpu", "cuda"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
}

/// A machine without a GPU, or a build without CUDA, is no fault unless CUDA is requested.
#[test]
fn doctor_fails_without_the_requested_backend() {
    let folder = temporary();
    let asked = ["doctor", "--quick", "--json", "--backend", "metal"];
    let outcome = run(folder.path(), asked).exits(1);
    assert!(outcome.stderr.contains("not in order: metal"), "{}", outcome.stderr);
    assert_eq!(outcome.json()["ok"], false);
}

/// The loss is close to that of float32, and the files have the same types.
#[test]
fn training_in_bf16() {
    let folder = temporary();
    let small = ["--set", "training.epochs=1", "--set", "baselines.frame=false", "--set", "baselines.top_rnn=0"];
    micro::train(folder.path()).args(small).args(["--run", "run", "--dtype", "bf16"]).run().succeeds();
    let root = folder.path().join("run");
    let card: Value = serde_json::from_slice(&std::fs::read(root.join("run.json")).unwrap()).unwrap();
    assert_eq!(card["dtype"], "bf16");
    let first = |lines: Vec<Value>| {
        let line = lines.into_iter().find(|line| line["stage"] == "gru_rcn" && line["epoch"] == 1).unwrap();
        line["train"]["loss"].as_f64().unwrap()
    };
    let (found, expected) = (first(metrics(&root)), first(metrics(&reference().root)));
    assert!(found != expected && (found - expected).abs() < 0.05 * expected, "{found} against {expected}");
    let weights = Tensors::read(&root.join("model.safetensors"));
    assert_eq!(weights.shape("recurrent.layers.0.hidden_to_candidate.weight").0, "F32");
    // A model trained in one precision can be evaluated in the other.
    for dtype in ["bf16", "f32"] {
        run(folder.path(), ["evaluate", "--run", "run", "--json", "--dtype", dtype]).succeeds();
    }
}

#[test]
fn two_devices_share_a_batch() {
    let folder = temporary();
    let small = ["--set", "training.epochs=1", "--set", "baselines.frame=false", "--set", "baselines.top_rnn=0"];
    micro::train(folder.path()).args(small).args(["--run", "run", "--devices", "cpu,cpu"]).run().succeeds();
    let root = folder.path().join("run");
    let card: Value = serde_json::from_slice(&std::fs::read(root.join("run.json")).unwrap()).unwrap();
    assert_eq!(card["backend"], "cpu,cpu");
    assert!(metrics(&root).iter().all(|line| line["train"]["loss"].as_f64().is_some_and(f64::is_finite)));
    let both = ["--devices", "cpu,cpu", "--backend", "cpu"];
    micro::train(folder.path()).args(both).run().exits(2);
}

#[test]
fn devices_that_cannot_be_used_are_refused() {
    let folder = temporary();
    micro::train(folder.path()).args(["--dtype", "f8"]).run().exits(2);
    let address = ["--backend", "remote:3000"];
    micro::train(folder.path()).args(address).run().exits(2);
}
