//! Models that come with the program, and films to try them on.

use gru_rcn_tests::long::{Action, compare, read_csv};
use gru_rcn_tests::needs_ffmpeg;

use crate::harness::{Call, Outcome, run, temporary};

/// A line of `prepare motion-film`: `00:00:01.700  00:00:04.000  right`.
fn drawn(outcome: &Outcome) -> Vec<Action> {
    let seconds = |clock: &str| clock.split(':').fold(0.0, |sum, part| 60.0 * sum + part.parse::<f64>().unwrap());
    let action = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Action { start: seconds(words[0]), end: seconds(words[1]), class: words[2].into() }
    };
    outcome.stdout.lines().map(action).collect()
}

/// The first minute of the README. The files of the models are gone afterwards.
#[test]
fn models_are_used_without_training() {
    needs_ffmpeg!();
    let (folder, files) = (temporary(), temporary());
    let call = |line| Call::new(&folder, line).env("TMPDIR", &*files).run().succeeds();
    let actions = drawn(&call("prepare motion-film --out film.y4m --motions 3"));
    assert_eq!(actions.len(), 3);

    let outcome = call("watch film.y4m --run actions --by windows --csv events.csv");
    outcome.says(&["model: actions, built in", "rotate-clockwise", "background. Right on ", "360 test clips"]);
    let events = read_csv(&std::fs::read_to_string(folder.join("events.csv")).unwrap());
    let found = compare(&actions, &events, actions[2].end, 0.5);
    assert!(found.recognised == 3 && found.in_pauses == 0, "{found:?}\n{}", outcome.stdout);

    // Without a run the model of fights is used. The film shows none.
    let outcome = call("watch film.y4m");
    outcome.says(&["no run in runs: a built-in model", "model: fights, built in", "MIT licence", "background, fight"]);
    let prediction = &call("predict film.y4m --json").json()[0];
    assert_eq!(prediction["top"].as_array().unwrap().len(), 2, "{prediction}");
    assert_eq!(files.read_dir().unwrap().count(), 0);
}

#[test]
fn folders_come_before_built_in_models() {
    let folder = temporary();
    std::fs::create_dir(folder.join("fights")).unwrap();
    let outcome = run(&folder, "predict x.mp4 --run fights").refuses(&["fights is not a run"]);
    outcome.says(&["the folder fights, not the built-in model fights"]);
    run(&folder, "evaluate --run actions").refuses(&["the built-in model actions", "--out FILE"]);
    run(&folder, "report --run actions").refuses(&["actions: no such run folder"]);
}
