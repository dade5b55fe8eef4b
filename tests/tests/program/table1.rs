//! The paper's first table from runs of the smallest experiment, which plays both streams.

use crate::harness::{Call, run, temporary};

const TABLE: [&str; 8] =
    ["table1", "--recipes", "motion-tiny,motion-tiny", "--out", "table", "--set", "training.epochs=2", "--seeds=2"];

/// The own rows are filled from one run of each stream and seed; runs that are there are kept, and not
/// those of other settings.
#[test]
fn the_papers_own_rows_come_from_one_run_of_each_stream_and_seed() {
    let folder = temporary();
    let table = run(folder.path(), [&TABLE[..], &["--json"]].concat()).succeeds().json();
    for seed in [0, 1] {
        for stream in ["rgb", "flow"] {
            assert!(folder.path().join(format!("table/own-{stream}-{seed}/run.json")).is_file());
        }
    }
    let rows = table["rows"].as_array().unwrap();
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
    // Both streams are the same run, so that their fusion is too.
    assert_eq!(row("gru-rcn")[2]["top1"], row("gru-rcn")[0]["top1"]);
    // The flow stream of the bi-directional model is the plain one.
    let files = row("bidirectional")[2]["runs"][0]["scores"].to_string();
    assert!(files.contains("rgb-0/baselines/scores-test-form_bidirectional"), "{files}");
    assert!(files.contains("flow-0/scores-test.safetensors"), "{files}");
    assert!(row("c3d")[0]["top1"].is_null());

    // A second call trains nothing.
    let again = run(folder.path(), TABLE).succeeds();
    assert!(again.stderr.matches("is done already").count() == 4, "{}", again.stderr);
    assert!(again.stdout.contains("| VGG-16 RNN |"), "{}", again.stdout);
    let page = std::fs::read_to_string(folder.path().join("table/table1.html")).unwrap();
    assert!(page.contains("Bi-directional GRU-RCN") && page.contains("own-flow-1"));
    let one = run(folder.path(), [&TABLE[..7], &["--seeds=1", "--rows=gru-rcn", "--json"]].concat()).succeeds().json();
    let cell = &one["rows"][0]["cells"][0];
    assert!(cell["top1"] == cell["runs"][0]["top1"] && cell["top1"].is_f64() && cell["deviation"].is_null(), "{cell}");
    let other = [&TABLE[..7], &["--seeds=1", "--set", "training.batch=9"]].concat();
    let failed = Call::new(folder.path(), other).run().exits(1);
    assert!(
        failed.stderr.contains("table/own-rgb-0 was started by another recipe: training.batch was"),
        "{}",
        failed.stderr
    );
}

#[test]
fn what_is_missing_is_named() {
    let folder = temporary();
    let refused = |arguments: &[&str], words: &str| {
        Call::new(folder.path(), ["table1"]).args(arguments).run().refuses(&[words]);
    };
    refused(&[], "by --data");
    refused(&["--rows", "vgg19"], "there is no row vgg19; those are vgg16, vgg16-rnn");
    refused(&["--scale", "small", "--data", "."], "--scale small generates its clips");
}
