//! `watch` on films of generated motions with pauses at known times.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use gru_rcn_tests::long::{Action, Film, compare, read_csv, save};
use gru_rcn_tests::needs_ffmpeg;
use serde_json::Value;

use crate::clips::clips;
use crate::harness::{Call, FinishedRun, card, shared, temporary};

/// A run whose model goes frame by frame, trained in a few seconds.
fn reference() -> &'static FinishedRun {
    const CHANGES: [&str; 16] = [
        "data.motion.frames=10",
        "data.motion.background=true",
        "data.motion.train=540",
        "data.motion.validation=54",
        "data.motion.test=54",
        "clip.temporal={every=\"0.2 s\",frames=4}",
        "backbone.taps=[\"pool2\"]",
        "backbone.pretrain.epochs=1",
        "model.hidden=[16]",
        "model.norm.rule=difference",
        "model.context=2",
        "training.epochs=20",
        "training.batch=12",
        "training.patience=20",
        "baselines.frame=false",
        "baselines.top_rnn=0",
    ];
    static RUN: LazyLock<FinishedRun> =
        LazyLock::new(|| FinishedRun::of("watch-run", |folder| Call::new(folder, "train motion").set(CHANGES)));
    &RUN
}

/// Ten motions of a second at 20 frames a second, in 40 to 50 s; another seed than the training's.
const FILM: Film = Film { size: 32, fps: 20, motion: 1.0, pause: [1.0, 2.5], scenes: 10, seed: 9 };

struct Drawn {
    film: PathBuf,
    /// The frames of the film as they are, without a container.
    raw: PathBuf,
    actions: Vec<Action>,
    seconds: f64,
}

/// The film without loss, and its raw frames.
fn drawn() -> &'static Drawn {
    static DRAWN: LazyLock<Drawn> = LazyLock::new(|| {
        let folder = shared("watch-film");
        let (film, raw) = (folder.join("film.mkv"), folder.join("film.rgb"));
        let (actions, seconds) = save(&FILM, &film, &["-c:v", "ffv1", "-pix_fmt", "bgr0"]);
        let mut bytes = Vec::new();
        FILM.draw(|scene| std::io::Write::write_all(&mut bytes, &scene.data)).unwrap();
        std::fs::write(&raw, bytes).unwrap();
        Drawn { film, raw, actions, seconds }
    });
    &DRAWN
}

/// `watch` of the film with these options.
fn watch(folder: &Path, options: &str) -> Call {
    Call::new(folder, &format!("watch {options} --run")).arg(reference().name()).arg(&drawn().film)
}

#[test]
fn events_are_where_something_moves() {
    needs_ffmpeg!();
    let (folder, drawn) = (temporary(), drawn());
    let options = "--least 0.3 --csv e.csv --srt e.srt --html e.html --answers a.csv";
    let outcome = watch(&folder, options).run().succeeds();
    outcome.says(&["times as fast as the video", &format!("{} frames", (drawn.seconds * 20.0).round())]);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let events = read_csv(&read("e.csv"));
    assert_eq!(outcome.stdout.lines().count(), events.len(), "{}", outcome.stdout);
    assert!(events.iter().all(|event| event.class != "background"));
    // The small model confuses the two rotations, but it knows when something moves.
    let something = |actions: &[Action]| -> Vec<Action> {
        actions.iter().map(|action| Action { class: "motion".into(), ..action.clone() }).collect()
    };
    let found = compare(&something(&drawn.actions), &something(&events), drawn.seconds, 0.5);
    assert!(found.recognised >= 8 && found.in_pauses <= 4, "{found:?}\n{}\n{:?}", outcome.stdout, drawn.actions);
    // Answers lie end to end, over the whole film.
    let answers: Vec<Vec<f64>> =
        read("a.csv").lines().skip(1).map(|line| line.split(',').map(|n| n.parse().unwrap()).collect()).collect();
    assert!(answers.windows(2).all(|pair| pair[0][1] == pair[1][0]));
    assert!(answers[0][0] == 0.0 && (answers[answers.len() - 1][1] - drawn.seconds).abs() < 0.2);
    assert!(answers.iter().all(|answer| (answer[2..].iter().sum::<f64>() - 1.0).abs() < 1e-3));
    assert!(
        read("e.srt").starts_with("1\n00:00:") && read("e.html").matches("data:image/jpeg").count() == events.len()
    );
}

/// A pipe of the same frames gives the same answers, byte for byte, though they go through the CNN
/// one by one, and so do windows.
#[test]
fn a_pipe_gives_what_the_file_gives() {
    needs_ffmpeg!();
    let (folder, drawn) = (temporary(), drawn());
    for options in ["--json --answers a.csv", "--json --answers a.csv --by windows"] {
        let answers = || std::fs::read_to_string(folder.join("a.csv")).unwrap();
        let file = watch(&folder, options).run().succeeds();
        let of_file = answers();
        let pipe = Call::new(&folder, &format!("watch - --size 32x32 --fps 20 {options} --run"));
        let pipe = pipe.arg(reference().name()).input(&drawn.raw).run().succeeds();
        assert!(of_file == answers() && of_file.lines().count() > 100, "{options}");
        assert_eq!(pipe.stdout, file.stdout, "{options}");
        for line in file.stdout.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert!(event["start"].as_f64() < event["end"].as_f64() && event["class"].is_string(), "{line}");
        }
    }
}

/// The run card has the temperature, and the report shows what it is for; runs without one open.
#[test]
fn the_run_is_calibrated() {
    let root = &reference().root;
    let calibration = &card(root)["systems"][0]["calibration"];
    assert!(calibration["temperature"].as_f64().is_some_and(|t| (0.05..=20.0).contains(&t)), "{calibration}");
    assert_eq!((&calibration["validation"]["clips"], &calibration["test"]["clips"]), (&54.into(), &54.into()));
    let page = std::fs::read_to_string(root.join("report.html")).unwrap();
    assert!(page.contains("What the probabilities mean") && page.contains("expected calibration error"));
}

/// A camera is a device of FFmpeg; here it draws pictures.
#[test]
fn a_device_is_a_stream() {
    needs_ffmpeg!();
    let folder = temporary();
    let call = Call::new(&folder, "watch lavfi:testsrc2=size=64x48:rate=10:duration=2 --run").arg(reference().name());
    call.run().succeeds().says(&["20 frames of 00:00:01.900"]);
}

#[test]
fn wrong_usage_of_watch_is_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let watch = |line: &str, run: &str| Call::new(&folder, &format!("watch {line} --run")).arg(run).run();
    let refused = |line: &str, words: &[&str]| watch(line, reference().name()).refuses(words);
    refused("-", &["--size WxH --fps F"]);
    refused("none.mp4", &["none.mp4", "no such file"]);
    refused("- --size 32x32 --fps 20 --html x.html", &["--html", "--csv"]);
    refused("x.mp4 --threshold 0", &["--threshold", "a probability above 0"]);
    refused("x.mp4 --go-on 0.9", &["--go-on is 0.9", "above the threshold"]);
    refused("x.mp4 --by windows --stride 5", &["--stride is 5", "4 frames"]);
    refused("x.mp4 --size 32x32 --fps 20", &["standard input"]);
    let film = folder.join("film");
    std::fs::copy(clips().film(), &film).unwrap();
    refused("film --csv film", &["--csv would overwrite the video", "film"]);
    refused("film --csv a --srt ./a", &["--csv and --srt are the same file"]);
    assert!(film.metadata().unwrap().len() > 0 && !folder.join("a").exists());
    // A model that has learnt frames spread over whole clips does not know how long a clip is.
    let spread = crate::clips::reference().name();
    watch("film", spread).refuses(&["spread over whole clips", "--window"]);
    watch("film --window 2 --by frames", spread).refuses(&["frame by frame"]);
    watch("film --window 2", spread).succeeds().says(&["20 frames of 00:00:01.900"]);
}
