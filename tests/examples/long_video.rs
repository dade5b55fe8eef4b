//! Measures `gru-rcn watch` on a long film of generated motions with pauses at known times.
//!
//! - `long_video compose FOLDER SIZE [MINUTES]`: writes `film.mp4` and `actions.csv`
//! - `long_video compare FOLDER EVENTS.csv`: prints what was found of the actions, as JSON
//!
//! `tests/long_video.sh` trains a run, calls both and `watch` between them.

use std::path::Path;

use gru_rcn_tests::long::{Film, compare, read_csv, save};
use serde_json::json;

/// Farthest that an end of an event may be from that of the action, seconds.
const TOLERANCE: f64 = 0.5;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["compose", folder, size] => compose(Path::new(folder), size, 10.0),
        ["compose", folder, size, minutes] => compose(Path::new(folder), size, minutes.parse().expect("minutes")),
        ["compare", folder, events] => {
            let read = |path: &Path| std::fs::read_to_string(path).expect("a CSV file");
            let actions = read_csv(&read(&Path::new(folder).join("actions.csv")));
            let seconds = actions.last().expect("an action").end;
            let found = compare(&actions, &read_csv(&read(Path::new(events))), seconds, TOLERANCE);
            let document = json!({
                "actions": found.actions, "found": found.found, "recognised": found.recognised,
                "invented": found.invented, "in_pauses": found.in_pauses,
                "in_pauses_per_minute": found.in_pauses as f64 / found.minutes,
            });
            println!("{document}");
        }
        _ => {
            eprintln!("usage: long_video compose FOLDER SIZE [MINUTES] | compare FOLDER EVENTS.csv");
            std::process::exit(2);
        }
    }
}

/// Motions of 2.4 s, between two of them 3 to 9 s of pause with a cut: 8.4 s a scene.
fn compose(folder: &Path, size: &str, minutes: f64) {
    let (size, scenes) = (size.parse().expect("a size"), (minutes * 60.0 / 8.4).ceil() as usize);
    let film = Film { size, fps: 25, scenes, ..Film::default() };
    std::fs::create_dir_all(folder).expect("a folder");
    let (actions, seconds) =
        save(&film, &folder.join("film.mp4"), &["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p"]);
    let lines: String = actions.iter().map(|a| format!("{:.3},{:.3},{}\n", a.start, a.end, a.class)).collect();
    std::fs::write(folder.join("actions.csv"), format!("start,end,class\n{lines}")).expect("a file");
    println!("{} actions in {seconds:.1} s", actions.len());
}
