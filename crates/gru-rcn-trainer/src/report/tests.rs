use base64::{Engine, engine::general_purpose::STANDARD};
use gru_rcn_metrics::{Classification, ConfusionMatrix};

use super::comparison::{comparison, levels, note};
use super::confusion::confusion;
use super::curves::{LOSS, kept, learning_curves, panel, step};
use super::format::{amount, percent, percent_range, width};
use super::gallery::{card, gallery};
use super::*;
use crate::run::card::EpochPoint;

#[test]
fn top5_is_left_out_where_it_is_trivial() {
    let mut report = self::report();
    assert!(comparison(&report).into_string().contains("Top-5"));
    report.classes.truncate(5);
    assert!(!comparison(&report).into_string().contains("Top-5"));
}

/// ln 10 = 2.302585...
#[test]
fn the_note_gives_accuracy_and_nll_of_chance() {
    assert!(note(10).contains("10.0\u{202f}% and an NLL of 2.303"));
    assert!(!note(1).contains("Guessing"));
}

#[test]
fn the_words_of_the_table_are_explained() {
    let html = comparison(&report()).into_string();
    for words in
        ["NLL: mean negative log-probability", "Percepts: the maps", "a level is the depth", "a fully connected GRU"]
    {
        assert!(html.contains(words), "{words}\n{html}");
    }
    assert!(!html.contains("the maximum over time"), "of a baseline that is not there");
}

/// A CNN by the mean of its logits, with its figure by the mean of probabilities beside it.
#[test]
fn both_means_of_a_cnn_are_shown() {
    let mut report = self::report();
    assert!(!comparison(&report).into_string().contains("mean of probabilities"));
    let means = Classification { top1: 0.713, ..report.systems[1].test.clone() };
    report.systems[1].mean_of_probabilities = Some(means);
    let html = comparison(&report).into_string();
    assert!(html.contains("mean of probabilities 71.3\u{202f}%") && html.contains("fine-tuned with"), "{html}");
    report.systems[1].mean_of_probabilities.as_mut().unwrap().top1 = 1.5;
    assert!(report.check().unwrap_err().to_string().contains("top1 by the mean of probabilities"));
}

#[test]
fn the_verdict_and_the_notes_stand_at_the_top() {
    let mut report = self::report();
    report.verdict = Some(Verdict {
        enough_clips: true,
        better_than_guessing: true,
        better_than_frames: None,
        sentence: "240 test clips say <so>.".into(),
    });
    report.notes = vec!["2 of 10 classes have no test clip, the first `up`".into()];
    let html = render(&report);
    let place = |words: &str| html.find(words).unwrap_or_else(|| panic!("{words}"));
    assert!(place("240 test clips say &lt;so&gt;.") < place("<main>") && place("have no test clip") < place("<main>"));
    // Reports of earlier versions have neither.
    let mut earlier = serde_json::to_value(self::report()).unwrap();
    assert_eq!((earlier.get("verdict"), earlier.get("notes")), (None, None));
    earlier["title"] = "before".into();
    assert_eq!(serde_json::from_value::<RunReport>(earlier).unwrap().title, "before");
}

#[test]
fn a_single_level_has_no_section() {
    let mut report = self::report();
    report.systems[0].levels.truncate(1);
    assert!(levels(&report).into_string().is_empty());
}

/// A curve that no training makes is drawn to an end, within the frame.
#[test]
fn huge_losses_are_drawn() {
    let mut system = report().systems.swap_remove(0);
    for loss in [1e300, 1.7e308, f64::MAX, f64::INFINITY, f64::MIN_POSITIVE] {
        system.curve[0].train_loss = loss;
        let svg = panel(&LOSS, &system.name, &system.curve).into_string();
        assert!(svg.len() < 20_000 && svg.matches("text-anchor=\"end\"").count() < 20, "{loss}: {}", svg.len());
    }
}

#[test]
fn counts_and_mistakes_are_listed() {
    let report = self::report();
    let html = confusion(&report).into_string();
    let matrix = ConfusionMatrix::try_from(report.confusion).unwrap();
    assert_eq!(html.matches("<td class=\"right").count(), matrix.classes());
    assert!(html.contains(" taken for "));
    assert!(html.contains(&format!("{}/", matrix.rows()[0][0])));
}

#[test]
fn many_classes_become_a_map() {
    let mut report = self::report();
    report.classes = (0..101).map(|i| format!("class {i}")).collect();
    report.confusion = vec![vec![0; 101]; 101];
    report.confusion[3][5] = 2;
    let html = confusion(&report).into_string();
    assert!(html.contains("class 3 taken for class 5: 2"));
    assert!(!html.contains("<table"));
}

#[test]
fn counts_that_do_not_fit_the_classes_are_not_shown() {
    let mut report = self::report();
    report.classes.pop();
    assert!(confusion(&report).into_string().is_empty());
}

/// 2.3 / 4 = 0.575, next round number 1; 1 / 4 is itself; 39 / 6 = 6.5, next 10.
#[test]
fn steps_are_round() {
    assert_eq!(step(2.3, 4), 1.0);
    assert_eq!(step(1.0, 4), 0.25);
    assert_eq!(step(39.0, 6), 10.0);
    assert_eq!(step(0.0, 4), 1.0);
    assert_eq!(step(f64::NAN, 4), 1.0);
}

#[test]
fn a_second_training_is_mentioned() {
    let mut systems = report().systems;
    let plain = learning_curves(&systems).into_string();
    assert!(plain.contains("epoch kept") && !plain.contains("trained again"));
    systems.iter_mut().for_each(|system| system.refit = Some(20));
    let again = learning_curves(&systems).into_string();
    assert!(again.contains("for 20 epochs") && again.contains("best: epoch") && !again.contains("kept: epoch"));
}

#[test]
fn the_last_best_epoch_was_kept() {
    let curve = &report().systems[0].curve;
    let best: Vec<usize> = curve.iter().filter(|p| p.best).map(|p| p.epoch).collect();
    assert_eq!(kept(curve).map(|p| p.epoch), best.last().copied());
}

#[test]
fn a_value_that_is_not_a_number_interrupts_the_line() {
    let mut system = report().systems[0].clone();
    system.curve[3].train_loss = f64::NAN;
    let svg = panel(&LOSS, &system.name, &system.curve).into_string();
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    let path = svg.split("line train").nth(1).unwrap();
    let path = path.split("</path>").next().unwrap();
    assert_eq!(path.matches('M').count(), 2);
}

#[test]
fn one_epoch_is_a_dot() {
    let mut system = report().systems[0].clone();
    system.curve.truncate(1);
    assert_eq!(panel(&LOSS, &system.name, &system.curve).into_string().matches("class=\"dot").count(), 2);
}

#[test]
fn right_and_wrong_are_written_as_words() {
    let clips = report().gallery;
    let html = gallery(&clips).into_string();
    let right = clips.iter().filter(|c| c.is_right()).count();
    assert_eq!(html.matches("✓ correct").count(), right);
    assert_eq!(html.matches("✗ wrong").count(), clips.len() - right);
}

#[test]
fn a_clip_without_guesses_is_wrong() {
    let mut clip = report().gallery[0].clone();
    clip.top.clear();
    assert!(!clip.is_right());
    assert!(card(&clip).into_string().contains("✗ wrong"));
}

#[test]
fn names_are_escaped() {
    let mut report = self::report();
    let hostile = "<img src=x onerror=alert(1)>\"'";
    report.title = hostile.into();
    report.classes[0] = hostile.into();
    report.gallery[0].id = hostile.into();
    report.gallery[0].frames_jpeg[0] = "\" onload=\"alert(1)".into();
    report.run_card.push((hostile.into(), hostile.into()));
    report.recipe = "</code></pre><b>".into();
    let page = render(&report);
    assert!(!page.contains("<img src=x") && !page.contains("\" onload"));
    assert!(!page.contains("</pre><b>"));
}

/// A recurrent level has two strips, one of a CNN one; reports of earlier versions have neither.
#[test]
fn maps_are_shown_where_there_are_some() {
    let mut report = self::report();
    let before = render(&report);
    assert!(!before.contains("Where and when") && serde_json::to_value(&report).unwrap().get("explained").is_none());
    let level = |name: &str, gates: usize| ExplainedLevel {
        name: name.into(),
        gates_jpeg: (0..gates).map(frame).collect(),
        class_jpeg: (0..8).map(frame).collect(),
    };
    report.explained = vec![ExplainedClip { clip: clip(2), levels: vec![level("pool<8>", 8), level("fire9", 0)] }];
    let page = render(&report);
    // Three strips and the clip itself.
    assert_eq!(page.matches("data:image").count() - before.matches("data:image").count(), 4 * 8);
    assert!(
        page.contains("pool&lt;8&gt;, update gate") && page.contains("fire9, class") && !page.contains("fire9, update")
    );
    report.explained[0].clip.top[0].1 = 1.5;
    assert!(report.check().unwrap_err().to_string().contains("a probability of the gallery"));
}

#[test]
fn a_report_survives_json() {
    let report = self::report();
    let text = serde_json::to_string(&report).unwrap();
    let back: RunReport = serde_json::from_str(&text).unwrap();
    // Pages are compared, not reports: a number may differ in its last bit after JSON.
    assert!(render(&back) == render(&report));
}

#[test]
fn an_empty_report_is_still_a_page() {
    let report = RunReport { title: "empty".into(), ..RunReport::default() };
    assert!(render(&report).contains("<h1>empty</h1>"));
}

#[test]
fn percentages() {
    assert_eq!(percent(0.924), "92.4\u{202f}%");
    assert_eq!(percent(1.0), "100\u{202f}%");
    assert_eq!(percent(0.9996), "99.9\u{202f}%");
    assert_eq!(percent(f64::NAN), "–");
    assert_eq!(percent_range((0.5, 1.0)), "50.0–100\u{202f}%");
}

#[test]
fn amounts() {
    assert_eq!(amount(812), "812");
    assert_eq!(amount(3_149), "3.1\u{202f}k");
    assert_eq!(amount(14_714_688), "14.7\u{202f}M");
    assert_eq!(amount(138_357_544), "138\u{202f}M");
}

#[test]
fn widths_stay_inside() {
    assert_eq!(width(0.5), "50.00%");
    assert_eq!(width(7.0), "100.00%");
    assert_eq!(width(f64::NAN), "0.00%");
}

/// Width and height are not swapped, and a grey frame stays grey.
#[test]
fn a_frame_survives_encoding() {
    let text = jpeg_base64(&[128; 6 * 4 * 3], 4, 6).unwrap();
    let bytes = STANDARD.decode(text).unwrap();
    let frame = image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!(frame.dimensions(), (6, 4));
    assert!(frame.as_raw().iter().all(|&v| v.abs_diff(128) <= 1));
}

#[test]
fn sizes_are_checked() {
    assert!(jpeg_base64(&[0; 5], 1, 2).is_err());
    assert!(jpeg_base64(&[], 0, 0).is_err());
}

const CLASSES: [&str; 10] = ["left", "right", "up", "down", "circle", "circle back", "square", "star", "tick", "caret"];
const CLIPS: usize = 24;

/// Ten motions, three systems, forty epochs.
fn report() -> RunReport {
    let confusion = counts();
    let top1 = confusion.trace() as f64 / confusion.clips() as f64;
    let mut ours = system("GRU-RCN", "gru_rcn", 612_362, top1, 0.30);
    let levels = [("pool2", 0.662), ("pool3", 0.779), ("pool4", 0.871), ("pool5", 0.812)];
    ours.levels = levels.iter().map(|(name, value)| (name.to_string(), *value)).collect();
    let run_card = [("Program", "gru-rcn 0.1.0"), ("Seed", "7"), ("Data set", "motion, 10 classes, 1 600 clips")];
    RunReport {
        title: "Motion, ten classes".into(),
        subtitle: "Which way does the shape move? A single frame cannot tell; time has to.".into(),
        run_card: run_card.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        classes: CLASSES.map(String::from).to_vec(),
        systems: vec![
            ours,
            system("Top-layer RNN", "top_rnn", 198_410, 0.8125, 0.55),
            system("Per-frame baseline", "frame", 21_770, 0.2375, 1.93),
        ],
        confusion: confusion.rows().to_vec(),
        gallery: (0..6).map(clip).collect(),
        recipe: "seed = 7\n\n[model]\nhidden = [16, 32, 64, 64]\n".into(),
        ..RunReport::default()
    }
}

/// Of each class some clips are taken for its neighbours, in a number that depends on the class.
fn counts() -> ConfusionMatrix {
    let mut matrix = ConfusionMatrix::new(CLASSES.len());
    for (truth, lost) in [0, 1, 0, 2, 7, 4, 3, 0, 1, 5].into_iter().enumerate() {
        for clip in 0..CLIPS {
            let shift = if clip >= lost { 0 } else { 1 + clip / 4 };
            matrix.count(truth, (truth + shift) % CLASSES.len());
        }
    }
    matrix
}

/// The curves saturate; the validation loss rises again after epoch 26.
fn system(name: &str, key: &str, parameters: usize, top1: f64, nll: f64) -> SystemResult {
    let point = |epoch: usize| {
        let left = (-(epoch as f64) / 7.0).exp();
        EpochPoint {
            validation_score: None,
            epoch,
            train_loss: nll * 0.6 + (10f64.ln() - nll * 0.6) * left,
            train_accuracy: top1 * (1.0 - left),
            validation_loss: nll + (10f64.ln() - nll) * left + 0.02 * epoch.saturating_sub(26) as f64,
            validation_accuracy: 0.95 * top1 * (1.0 - left),
            best: epoch <= 26,
        }
    };
    SystemResult {
        mean_of_probabilities: None,
        scores: None,
        name: name.into(),
        key: key.into(),
        parameters,
        test: Classification { top1, top5: 0.9, mean_class: top1, nll, clips: CLIPS * CLASSES.len() },
        levels: Vec::new(),
        calibration: None,
        curve: (1..=40).map(point).collect(),
        refit: None,
        compared: None,
    }
}

/// Every third clip is wrong.
fn clip(index: usize) -> GalleryClip {
    let (truth, other) = (CLASSES[index], CLASSES[(index + 1) % CLASSES.len()]);
    let [first, second] = if index % 3 == 2 { [other, truth] } else { [truth, other] };
    GalleryClip {
        id: format!("test/{truth}/{index:04}"),
        truth: truth.into(),
        top: vec![(first.into(), 0.6), (second.into(), 0.3), (CLASSES[(index + 5) % CLASSES.len()].into(), 0.1)],
        frames_jpeg: (0..8).map(frame).collect(),
    }
}

/// A bright bar that moves to the right.
fn frame(time: usize) -> String {
    const SIDE: usize = 64;
    let bar = 4 + time * 6..18 + time * 6;
    let pixel = |n: usize| if bar.contains(&(n % SIDE)) { [236, 178, 92] } else { [60, 68, 74] };
    let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(pixel).collect();
    jpeg_base64(&rgb, SIDE, SIDE).expect("the sample frame has its size")
}

/// Three clips of two classes at 0.8, one of them wrong; at the temperature 2 they say 2/3.
#[test]
fn calibration_is_shown_where_it_was_fitted() {
    use super::calibration::{Reliability, calibration};
    use crate::run::card::{Calibration, CalibrationError};
    let mut report = report();
    assert!(calibration(&report).into_string().is_empty());
    let predictions = gru_rcn_metrics::Predictions::new(2, vec![0.8, 0.2, 0.8, 0.2, 0.2, 0.8], vec![0; 3]).unwrap();
    let error = CalibrationError::of(&predictions, 2.0);
    assert!((error.before - 0.4 / 3.0).abs() < 1e-6 && error.after < 1e-6, "{error:?}");
    let fitted = Calibration { temperature: 2.0, validation: error.clone(), test: error };
    report.reliability = Some(Reliability::of(&predictions, &fitted));
    report.systems[0].calibration = Some(fitted);
    report.check().unwrap();
    let html = calibration(&report).into_string();
    for words in [
        "temperature 2.000",
        "13.3\u{202f}% before and 0.0\u{202f}% after on the 3 test clips",
        "66.7\u{202f}%",
        "of 3",
        "of 0",
    ] {
        assert!(html.contains(words), "{words}\n{html}");
    }
    report.reliability.as_mut().unwrap().after[0].accuracy = f64::NAN;
    assert!(report.check().is_err());
}
