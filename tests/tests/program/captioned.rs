//! Captioned clips: MSVD's captions, and generated clips with theirs.

use std::fs;

use gru_rcn_tests::{needs_data, needs_ffmpeg};
use serde_json::{Value, json};

use crate::harness::{Call, read_json, run, temporary};

/// The split of Yao et al., 1200, 100 and 670 clips. The captions at hand lack 98 training clips,
/// among them one of the seven whose video is at hand, and parts of 222. Words are those of
/// coco-caption's tokenizer, counted by pycocoevalcap.
#[test]
fn msvd_has_its_counts() {
    let data = needs_data!("msvd");
    needs_ffmpeg!();
    let folder = temporary();
    let captions = data.join("captions/captions_by_split.json");
    // The lists and the numbers of the clips, in one folder.
    let lists = folder.join("lists");
    fs::create_dir(&lists).unwrap();
    for file in ["captions/train_list.txt", "captions/val_list.txt", "captions/test_list.txt", "youtube_mapping.txt"] {
        fs::copy(data.join(file), lists.join(file.rsplit('/').next().unwrap())).unwrap();
    }
    let prepare = Call::new(&folder, "prepare msvd --out out --size 32 --lists lists --json");
    let prepare = prepare.arg(data.join("clips")).arg("--captions").arg(&captions);
    let outcome = prepare.run().succeeds().json();
    let counts = |part, [listed, captioned, captions, words, in_source]: [usize; 5]| {
        json!({"part": part, "listed": listed, "captioned": captioned, "captions": captions, "words": words,
               "in_source": in_source})
    };
    let expected = json!([
        counts("train", [1200, 1102, 35_161, 8610, 6]),
        counts("validation", [100, 100, 4291, 2294, 0]),
        counts("test", [670, 670, 27_768, 7258, 0]),
    ]);
    assert_eq!(outcome["captions"], expected);
    // The clips at hand with their captions, in COCO's format.
    let all = read_json(&captions);
    let coco = read_json(&folder.join("out/captions/train.json"));
    let images = coco["images"].as_array().unwrap();
    assert_eq!(images.len(), 6);
    for image in images {
        let id = image["id"].as_str().unwrap();
        assert!(folder.join("out").join(image["file_name"].as_str().unwrap()).join("000000.jpg").is_file());
        let of_clip = coco["annotations"].as_array().unwrap().iter().filter(|entry| entry["image_id"] == id);
        let found: Vec<&Value> = of_clip.map(|entry| &entry["caption"]).collect();
        let own = all["train"][id.strip_prefix("msvd/").unwrap()].as_array().unwrap();
        assert!(found.len() > 5 && found.into_iter().eq(own), "{id}");
    }
}

#[test]
fn captions_without_lists_are_refused() {
    let folder = temporary();
    fs::create_dir(folder.join("films")).unwrap();
    fs::write(folder.join("films/a_1_2.avi"), "x").unwrap();
    run(&folder, "prepare msvd films --out out --captions c.json").refuses(&["with its official lists"]);
}

/// Generated clips are read by `score-captions` and by the reader of folders of parts.
#[test]
fn generated_clips_have_captions() {
    let folder = temporary();
    let prepare = "prepare motion-captions --out out";
    let made = run(&folder, &format!("{prepare} --train 16 --validation 8 --test 8 --frames 3")).succeeds();
    assert_eq!(made.stdout, "32 clips of 3 frames with 5 captions each; out\n");
    let coco = read_json(&folder.join("out/captions/test.json"));
    assert_eq!((coco["images"].as_array().unwrap().len(), coco["annotations"].as_array().unwrap().len()), (8, 40));
    let first: Vec<&Value> = coco["annotations"].as_array().unwrap().iter().step_by(5).collect();
    fs::write(folder.join("hyps.json"), serde_json::to_string(&first).unwrap()).unwrap();
    let scores = run(&folder, "score-captions out/captions/test.json hyps.json --json").succeeds().json();
    assert!(scores["corpus"]["bleu4"].as_f64().unwrap() > 0.999, "{scores}");
    run(&folder, prepare).refuses(&["give a new folder"]);
    run(&folder, "prepare").exits(2).says(&["<LAYOUT>", "--out <DIR>"]);
}
