//! Prepared folders, fingerprints, random draws and serialised names must stay the same, bit for bit, in
//! all versions. Otherwise a run that was started by an older version could not resume.
//!
//! `files/prepared-schema-1` and the numbers here were made by version 0.1.0, before its modules were
//! divided into layers.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gru_rcn_data::base::Fnv64;
use gru_rcn_data::{
    ClipPlanner, ClipReader, CropRule, Dataset, FolderOptions, Manifest, Modality, MotionConfig, Photometric, PlanKey,
    Sample, TemporalSampling, TestViews, VerifyOptions, read_quarantine, verify,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/prepared-schema-1")
}

fn dataset() -> Dataset {
    let options = FolderOptions {
        root: root(),
        train_list: Some("splits/train01.txt".into()),
        test_list: Some("splits/test01.txt".into()),
        validation_fraction: 0.4,
        ..FolderOptions::default()
    };
    Dataset::from_folder(&options).unwrap()
}

fn planner(modality: Modality) -> ClipPlanner {
    let light = Photometric { brightness: 0.2, contrast: 0.2, tint: 0.1 };
    ClipPlanner {
        modality,
        temporal: TemporalSampling::Consecutive { frames: 2 },
        frame_size: [24, 32],
        input_size: [16, 16],
        crop: CropRule::FivePoint { ratios: vec![1.0, 0.75], max_distort: 1 },
        flip: true,
        photometric: if modality == Modality::Rgb { light } else { Photometric::default() },
    }
}

#[test]
fn prepared_folders_are_verified_without_a_fault() {
    let report = verify(&root(), &VerifyOptions::default(), &AtomicBool::new(false), &mut |_, _| ()).unwrap();
    assert!(report.is_sound() && report.clips == 6, "{}", report.table());
    let manifest = Manifest::read(&root().join("manifest.jsonl")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    manifest.write(&folder.path().join("manifest.jsonl")).unwrap();
    let [before, again] = [root().as_path(), folder.path()].map(|at| std::fs::read(at.join("manifest.jsonl")).unwrap());
    assert_eq!(before, again, "the manifest is written as it was read");
    let quarantine = folder.path().join("quarantine.jsonl");
    std::fs::write(&quarantine, "{\"clip\":\"a/b\",\"kind\":\"hash\",\"detail\":\"x\"}\na/c\n").unwrap();
    assert_eq!(read_quarantine(&quarantine).unwrap().into_iter().collect::<Vec<_>>(), ["a/b", "a/c"]);
}

#[test]
fn data_sets_keep_their_fingerprint_and_their_parts() {
    let set = dataset();
    assert_eq!(set.fingerprint(), "3a470c66236eeb97");
    let ids = |part: &[Sample]| part.iter().map(|sample| sample.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&set.train), ["Archery/v_Archery_g02_c01", "Diving/v_Diving_g03_c01"]);
    assert_eq!(ids(&set.validation), ["Archery/v_Archery_g03_c01", "Diving/v_Diving_g02_c01"]);
    assert_eq!(ids(&set.test), ["Archery/v_Archery_g01_c01", "Diving/v_Diving_g01_c01"]);
}

#[test]
fn clips_keep_their_draws_and_pixels() {
    for (modality, expected) in [(Modality::Rgb, 0x460a_ce7e_7819_d001), (Modality::Flow, 0x1df3_a2e2_37ae_97ed)] {
        let mut hash = Fnv64::default();
        for sample in &dataset().train {
            for epoch in 0..4 {
                let key = PlanKey { seed: 5, epoch, sample: sample.id.clone() };
                let clips = ClipReader::default().read_clips(sample, &planner(modality), &[Some(key), None]).unwrap();
                hash = clips.iter().fold(hash, |hash, clip| hash.bytes(&clip.data));
            }
        }
        assert_eq!(hash.finish(), expected, "{modality:?}");
    }
}

#[test]
fn the_built_in_data_set_keeps_its_pixels() {
    let set = MotionConfig { train: 48, validation: 8, test: 8, ..MotionConfig::default() }.dataset().unwrap();
    assert_eq!(set.fingerprint(), "e83f8bb5ad456614");
    let pixels = set.train.iter().map(|sample| ClipReader::default().read(sample, [32, 32]).unwrap().data);
    assert_eq!(pixels.fold(Fnv64::default(), |hash, data| hash.bytes(&data)).finish(), 0x0685_3136_f13d_381c);
}

#[test]
fn recipes_keep_their_keys_and_values() {
    let text = r#"{"stream":"rgb","temporal":{"consecutive":{"frames":2}},"frame_size":[24,32],"input_size":[16,16],"crop":{"five_point":{"ratios":[1.0,0.75],"max_distort":1}},"flip":true,"photometric":{"brightness":0.2,"contrast":0.2,"tint":0.1}}"#;
    assert_eq!(serde_json::to_string(&planner(Modality::Rgb)).unwrap(), text);
    assert_eq!(serde_json::from_str::<ClipPlanner>(text).unwrap(), planner(Modality::Rgb));
    let key = PlanKey { seed: 5, epoch: 1, sample: "a".to_owned() };
    let plan = planner(Modality::Flow).training(&key, 30).unwrap();
    let text = r#"{"stream":"flow","frames":[17,18],"crop":{"x":0,"y":0,"width":24,"height":18},"flip":true,"photometric":{"brightness":1.0,"contrast":1.0,"tint":[1.0,1.0,1.0]},"output":[16,16]}"#;
    assert_eq!(serde_json::to_string(&plan).unwrap(), text);
    assert_eq!(serde_json::to_string(&TestViews::paper()).unwrap(), r#"{"starts":25,"crops":"ten"}"#);
}
