//! Precision, several devices, and the report of `doctor`.

use gru_rcn_tests::tensors::Tensors;

use crate::harness::{card, metrics, run, stage_metrics, temporary};
use crate::micro::{self, reference};

const SMALL: [&str; 3] = ["training.epochs=1", "baselines.frame=false", "baselines.top_rnn=0"];

#[test]
fn doctor_reports_a_working_cpu() {
    let folder = temporary();
    let report = run(&folder, "doctor --json").succeeds().json();
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{report}");
    let backends = report["backends"].as_array().unwrap();
    let names: Vec<&str> = backends.iter().filter_map(|backend| backend["name"].as_str()).collect();
    assert_eq!(names, ["cpu", "wgpu", "vulkan", "metal", "cuda"]);
    let cpu = &backends[0];
    assert!(cpu["built_in"] == true && cpu["smoke"]["ok"] == true && cpu["smoke"]["bf16"] == true, "{cpu}");
    for backend in backends {
        let advised = backend["advice"].as_str().is_some_and(|advice| advice.contains("--features"));
        assert!(backend["built_in"] == true || advised, "{backend}");
    }
    let text = run(&folder, "doctor --quick").succeeds().stdout;
    for word in ["cores", "memory", "disk", "ffmpeg", "cpu", "cuda"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
}

/// A machine without a GPU, or a build without CUDA, is no fault unless CUDA is requested.
#[test]
fn doctor_fails_without_the_requested_backend() {
    let folder = temporary();
    let outcome = run(&folder, "doctor --quick --json --backend metal").exits(1);
    outcome.says(&["not in order: metal"]);
    assert_eq!(outcome.json()["ok"], false);
}

/// The loss is close to that of float32, and the files have the same types.
#[test]
fn training_in_bf16() {
    let folder = temporary();
    micro::train(&folder).set(SMALL).args(["--run", "run", "--dtype", "bf16"]).run().succeeds();
    let root = folder.join("run");
    assert_eq!(card(&root)["dtype"], "bf16");
    let [found, expected] =
        [&root, &reference().root].map(|root| stage_metrics(root, "gru_rcn")[0]["train"]["loss"].as_f64().unwrap());
    assert!(found != expected && (found - expected).abs() < 0.05 * expected, "{found} against {expected}");
    let weights = Tensors::read(&root.join("model.safetensors"));
    assert_eq!(weights.shape("recurrent.layers.0.hidden_to_candidate.weight").0, "F32");
    // A model trained in one precision can be evaluated in the other.
    for dtype in ["bf16", "f32"] {
        run(&folder, &format!("evaluate --run run --json --dtype {dtype}")).succeeds();
    }
}

#[test]
fn two_devices_share_a_batch() {
    let folder = temporary();
    micro::train(&folder).set(SMALL).args(["--run", "run", "--devices", "cpu,cpu"]).run().succeeds();
    let root = folder.join("run");
    assert_eq!(card(&root)["backend"], "cpu,cpu");
    assert!(metrics(&root).iter().all(|line| line["train"]["loss"].as_f64().is_some_and(f64::is_finite)));
}

#[test]
fn devices_that_cannot_be_used_are_refused() {
    let folder = temporary();
    for line in ["--devices cpu,cpu --backend cpu", "--dtype f8", "--backend remote:3000"] {
        micro::train(&folder).args(line.split(' ')).run().exits(2);
    }
}
