//! The paper's first table from runs of the smallest experiment, which stands for both modalities.

use crate::harness::{run, temporary};

const TABLE: &str = "table1 --recipes motion-tiny,motion-tiny --out table --set training.epochs=2";

/// Finished runs are kept, and those of other settings are refused.
#[test]
fn the_papers_own_rows_come_from_one_run_of_each_modality_and_seed() {
    let folder = temporary();
    let table = |options: &str| run(&folder, &format!("{TABLE} {options}"));
    let first = table("--seeds 2 --json").succeeds().json();
    for seed in [0, 1] {
        for stream in ["rgb", "flow"] {
            assert!(folder.join(format!("table/own-{stream}-{seed}/run.json")).is_file());
        }
    }
    let rows = first["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    let row = |key: &str| &rows.iter().find(|row| row["key"] == key).unwrap()["cells"];
    for key in ["vgg16", "vgg16-rnn", "gru-rcn", "stacked", "bidirectional"] {
        for cell in row(key).as_array().unwrap() {
            let runs = cell["runs"].as_array().unwrap();
            let mean = runs.iter().map(|run| run["top1"].as_f64().unwrap()).sum::<f64>() / 2.0;
            assert!(runs.len() == 2 && (cell["top1"].as_f64().unwrap() - mean).abs() < 1e-12, "{key}: {cell}");
        }
    }
    assert_eq!(row("gru-rcn")[0]["printed"], 0.799);
    // Both modalities are the same run, and so is their fusion.
    assert_eq!(row("gru-rcn")[2]["top1"], row("gru-rcn")[0]["top1"]);
    // On flow the bi-directional model is the plain one.
    let files = row("bidirectional")[2]["runs"][0]["scores"].to_string();
    assert!(files.contains("rgb-0/baselines/scores-test-form_bidirectional"), "{files}");
    assert!(files.contains("flow-0/scores-test.safetensors"), "{files}");
    assert!(row("c3d")[0]["top1"].is_null());

    // A second call trains nothing.
    let again = table("--seeds 2").succeeds();
    assert!(again.stderr.matches("is done already").count() == 4, "{}", again.stderr);
    assert!(again.stdout.contains("| VGG-16 RNN |"), "{}", again.stdout);
    let page = std::fs::read_to_string(folder.join("table/table1.html")).unwrap();
    assert!(page.contains("Bi-directional GRU-RCN") && page.contains("own-flow-1"));
    let one = table("--seeds 1 --rows gru-rcn --json").succeeds().json();
    let cell = &one["rows"][0]["cells"][0];
    assert!(cell["top1"] == cell["runs"][0]["top1"] && cell["top1"].is_f64() && cell["deviation"].is_null(), "{cell}");
    table("--seeds 1 --set training.batch=9")
        .exits(1)
        .says(&["table/own-rgb-0 was started by another recipe: training.batch was"]);
}

#[test]
fn missing_data_and_unknown_rows_are_refused() {
    let folder = temporary();
    run(&folder, "table1").refuses(&["by --data"]);
    run(&folder, "table1 --rows vgg19").refuses(&["there is no row vgg19; those are vgg16, vgg16-rnn"]);
    run(&folder, "table1 --scale small --data .").refuses(&["--scale small generates its clips"]);
}
