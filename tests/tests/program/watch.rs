//! `watch` on films of generated motions with pauses at known times.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gru_rcn_tests::long::{Action, Film, compare, read_csv, save};
use gru_rcn_tests::needs_ffmpeg;
use serde_json::Value;

use crate::clips::clips;
use crate::harness::{Call, FinishedRun, read_json, run, shared, temporary};

/// A run whose model goes frame by frame, trained in a few seconds.
fn reference() -> &'static FinishedRun {
    static RUN: OnceLock<FinishedRun> = OnceLock::new();
    RUN.get_or_init(|| {
        FinishedRun::of("watch-run", |folder| {
            Call::new(folder, ["train", "motion"]).set([
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
            ])
        })
    })
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
    static DRAWN: OnceLock<Drawn> = OnceLock::new();
    DRAWN.get_or_init(|| {
        let folder = shared("watch-film");
        let (film, raw) = (folder.join("film.mkv"), folder.join("film.rgb"));
        let (actions, seconds) = save(&FILM, &film, &["-c:v", "ffv1", "-pix_fmt", "bgr0"]);
        let mut bytes = Vec::new();
        FILM.draw(|scene| std::io::Write::write_all(&mut bytes, &scene.data)).unwrap();
        std::fs::write(&raw, bytes).unwrap();
        Drawn { film, raw, actions, seconds }
    })
}

/// `watch` of the film with these options.
fn watch(folder: &Path, options: &[&str]) -> Call {
    let root = reference().root.as_os_str();
    Call::new(folder, ["watch".as_ref(), drawn().film.as_os_str(), "--run".as_ref(), root]).args(options)
}

#[test]
fn events_are_where_something_moves() {
    needs_ffmpeg!();
    let (folder, drawn) = (temporary(), drawn());
    let options = ["--least", "0.3", "--csv", "e.csv", "--srt", "e.srt", "--html", "e.html"];
    let outcome = watch(folder.path(), &options).args(["--answers", "a.csv"]).run().succeeds();
    outcome.says(&["times as fast as the video", &format!("{} frames", (drawn.seconds * 20.0).round())]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let events = read_csv(&read("e.csv"));
    assert_eq!(outcome.stdout.lines().count(), events.len(), "{}", outcome.stdout);
    assert!(events.iter().all(|event| event.class != "background"));
    // The small model takes one rotation for the other; that something moves, it knows.
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
    for mode in [&["--answers", "a.csv"][..], &["--by", "windows", "--answers", "a.csv"]] {
        let answers = || std::fs::read_to_string(folder.path().join("a.csv")).unwrap();
        let file = watch(folder.path(), mode).args(["--json"]).run().succeeds();
        let of_file = answers();
        let arguments = ["watch", "-", "--size", "32x32", "--fps", "20", "--json", "--run"];
        let pipe = Call::new(folder.path(), arguments).args([&reference().root]).args(mode).input(&drawn.raw);
        let pipe = pipe.run().succeeds();
        assert!(of_file == answers() && of_file.lines().count() > 100, "{mode:?}");
        assert_eq!(pipe.stdout, file.stdout, "{mode:?}");
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
    let card = read_json(&root.join("run.json"));
    let calibration = &card["systems"][0]["calibration"];
    assert!(calibration["temperature"].as_f64().is_some_and(|t| (0.05..=20.0).contains(&t)), "{calibration}");
    assert_eq!((&calibration["validation"]["clips"], &calibration["test"]["clips"]), (&54.into(), &54.into()));
    let page = std::fs::read_to_string(root.join("report.html")).unwrap();
    assert!(page.contains("What the probabilities mean") && page.contains("expected calibration error"));
}

/// A camera is a device of FFmpeg; here it draws pictures.
#[test]
fn a_device_is_a_stream() {
    needs_ffmpeg!();
    let (folder, root) = (temporary(), &reference().root);
    let device = "lavfi:testsrc2=size=64x48:rate=10:duration=2";
    let outcome = Call::new(folder.path(), ["watch", device, "--run"]).args([root]).run().succeeds();
    outcome.says(&["20 frames of 00:00:01.900"]);
}

#[test]
fn wrong_usage_of_watch_is_refused() {
    needs_ffmpeg!();
    let (folder, root) = (temporary(), reference().root.to_str().unwrap());
    let refused = |arguments: &[&str], words: &[&str]| {
        drop(run(folder.path(), ["watch"].iter().chain(arguments).chain(&["--run", root])).refuses(words));
    };
    refused(&["-"], &["--size WxH --fps F"]);
    refused(&["none.mp4"], &["none.mp4", "no such file"]);
    refused(&["-", "--size", "32x32", "--fps", "20", "--html", "x.html"], &["--html", "--csv"]);
    refused(&["x.mp4", "--threshold", "0"], &["--threshold", "a probability above 0"]);
    refused(&["x.mp4", "--go-on", "0.9"], &["--go-on is 0.9", "above the threshold"]);
    refused(&["x.mp4", "--by", "windows", "--stride", "5"], &["--stride is 5", "4 frames"]);
    refused(&["x.mp4", "--size", "32x32", "--fps", "20"], &["standard input"]);
    // A model that has learnt frames spread over whole clips does not know how long a clip is.
    let spread = crate::clips::reference().root.to_str().unwrap();
    let film = clips().paths[0].to_str().unwrap();
    refused(&[film, "--csv", film], &["--csv would overwrite the video", film]);
    refused(&[film, "--csv", "a", "--srt", "./a"], &["--csv and --srt are the same file"]);
    assert!(Path::new(film).metadata().unwrap().len() > 0 && !folder.path().join("a").exists());
    let watch = ["watch", film, "--run", spread];
    drop(run(folder.path(), watch).refuses(&["spread over whole clips", "--window"]));
    drop(run(folder.path(), watch.iter().chain(&["--window", "2", "--by", "frames"])).refuses(&["frame by frame"]));
    let seconds = run(folder.path(), watch.iter().chain(&["--window", "2"])).succeeds();
    seconds.says(&["20 frames of 00:00:01.900"]);
}
