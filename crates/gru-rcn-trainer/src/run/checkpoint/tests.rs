use super::*;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};

struct Saved {
    _folder: tempfile::TempDir,
    checkpoints: Checkpoints,
    state: State<Linear>,
}

fn fingerprint() -> RunFingerprint {
    let (burn, data) = ("0.22.1".into(), "abc".into());
    RunFingerprint { burn, data, classes: vec!["b".into()], recipe: json!({"seed": 1}), dtype: Some("f32".into()) }
}

fn optimizer() -> ModuleOptimizer {
    AdamConfig::new().init()
}

/// Checkpoints after these numbers of steps, of an optimizer with a state and with best weights.
fn saved(steps: &[u64]) -> Saved {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path().join("stage"), fingerprint());
    let mut model = LinearConfig::new(2, 3).init(&Device::flex().autodiff());
    let mut optimizer = optimizer();
    let loss = model.forward(Tensor::<2>::ones([1, 2], &Device::flex()).autodiff()).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    model = optimizer.step(0.1, model, gradients);
    let best = Some(weights(&model).unwrap());
    let mut state = State { model, optimizer, best, position: Position::default() };
    for &steps in steps {
        state.position.steps = steps;
        checkpoints.save(&state).unwrap();
    }
    Saved { _folder: folder, checkpoints, state }
}

impl Saved {
    fn load(&self) -> (Result<Option<State<Linear>>>, Vec<String>) {
        let mut warnings = Vec::new();
        let loaded =
            self.checkpoints.load_newest(&self.state.model, &optimizer(), |warning| warnings.push(warning.to_string()));
        (loaded, warnings)
    }

    fn steps(&self) -> Vec<u64> {
        self.checkpoints.list().iter().map(|(steps, _)| *steps).collect()
    }
}

/// 9, 10 and 100 have another order as text, and so do numbers with more digits than the padding.
#[test]
fn loads_the_newest_by_number_and_keeps_two() {
    let saved = saved(&[9, 99_999_999, 100_000_000]);
    assert_eq!(saved.steps(), [99_999_999, 100_000_000]);
    let (loaded, warnings) = saved.load();
    let loaded = loaded.unwrap().unwrap();
    assert_eq!((loaded.position.steps, warnings.len()), (100_000_000, 0));
    assert_eq!(loaded.best.unwrap(), weights(&saved.state.model).unwrap());
    let state = |optimizer: &ModuleOptimizer| optimizer.to_record().len();
    assert_eq!(state(&loaded.optimizer), 4, "two moments of weight and bias");
    let latest = fs::read_to_string(saved.checkpoints.root.join("latest")).unwrap();
    assert_eq!(latest, "step-100000000\n");
}

/// `latest` after a kill between two renames, without the file, after the newest was set aside, and
/// without any checkpoint.
#[test]
fn latest_is_mended() {
    let saved = saved(&[9, 10]);
    let latest = saved.checkpoints.root.join("latest");
    for before in [Some("step-00000009\n"), Some("step-0000"), None] {
        match before {
            Some(text) => fs::write(&latest, text).unwrap(),
            None => fs::remove_file(&latest).unwrap(),
        }
        saved.load().0.unwrap();
        assert_eq!(fs::read_to_string(&latest).unwrap(), "step-00000010\n");
    }
    for (steps, expected) in [(10, Some("step-00000009\n")), (9, None)] {
        fs::remove_file(saved.checkpoints.folder(steps).join(MANIFEST)).unwrap();
        saved.load().0.unwrap();
        assert_eq!(fs::read_to_string(&latest).ok().as_deref(), expected);
    }
}

/// Every member is damaged in every way: it is named and set aside, and the one before is loaded.
#[test]
fn damage_to_any_member_is_detected() {
    for member in ["model.bpk", "optimizer.bpk", "best.bpk", "state.json", MANIFEST] {
        for damage in ["truncated", "flipped", "emptied", "removed"] {
            let saved = saved(&[9, 10]);
            let path = saved.checkpoints.folder(10).join(member);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            match damage {
                "truncated" => bytes.truncate(middle),
                "flipped" => bytes[middle] ^= 1,
                _ => bytes.clear(),
            }
            match damage {
                "removed" => fs::remove_file(&path).unwrap(),
                _ => fs::write(&path, bytes).unwrap(),
            }
            let (loaded, warnings) = saved.load();
            assert_eq!(loaded.unwrap().unwrap().position.steps, 9, "{member} {damage}");
            assert!(warnings[0].contains(member) && warnings.len() == 1, "{member} {damage}: {warnings:?}");
            assert!(warnings[0].contains("step-00000010.corrupt"), "{warnings:?}");
            assert!(saved.checkpoints.root.join("step-00000010.corrupt").is_dir());
            assert_eq!(saved.steps(), [9]);
        }
    }
}

#[test]
fn loads_nothing_if_all_are_damaged() {
    let saved = saved(&[9, 10]);
    for steps in [9, 10] {
        fs::remove_file(saved.checkpoints.folder(steps).join(MANIFEST)).unwrap();
    }
    let (loaded, warnings) = saved.load();
    assert!(loaded.unwrap().is_none());
    assert_eq!(warnings.len(), 2);
}

/// The process is killed before the first rename, between the two, and after the second.
#[test]
fn cleans_up_after_a_killed_save() {
    let saved = saved(&[9, 10]);
    let (root, at) = (&saved.checkpoints.root, saved.checkpoints.folder(10));
    fs::create_dir(root.join(".step-00000011.tmp")).unwrap();
    fs::rename(&at, root.join(".step-00000010.old")).unwrap();
    assert_eq!(saved.load().0.unwrap().unwrap().position.steps, 10);
    fs::create_dir(root.join(".step-00000010.old")).unwrap();
    assert_eq!(saved.load().0.unwrap().unwrap().position.steps, 10);
    assert!(saved.checkpoints.names().iter().all(|name| !name.starts_with('.')));
}

#[test]
fn a_step_may_be_saved_again() {
    let mut saved = saved(&[9, 10]);
    (saved.state.position.epochs, saved.state.best) = (1, None);
    saved.checkpoints.save(&saved.state).unwrap();
    let loaded = saved.load().0.unwrap().unwrap();
    assert_eq!((loaded.position.epochs, loaded.best), (1, None));
    assert_eq!(saved.checkpoints.names().len(), 3);
}

#[test]
fn what_is_of_another_kind_is_refused_and_not_touched() {
    let refusal = |other: RunFingerprint| {
        let mut saved = saved(&[9, 10]);
        saved.checkpoints.fingerprint = other;
        let message = format!("{:#}", saved.load().0.err().unwrap());
        assert_eq!(saved.steps(), [9, 10]);
        message
    };
    assert!(refusal(RunFingerprint { recipe: json!({"seed": 2}), ..fingerprint() }).contains("seed was 1 and is 2"));
    assert!(
        refusal(RunFingerprint { data: "abd".into(), ..fingerprint() }).contains("other clips (abc then, abd now)")
    );
    assert!(refusal(RunFingerprint { classes: vec!["a".into()], ..fingerprint() }).contains("for other classes: b"));
    assert!(refusal(RunFingerprint { burn: "0.23.0".into(), ..fingerprint() }).contains("with Burn 0.22.1"));
}

#[test]
fn newer_and_older_formats_are_refused() {
    let saved = saved(&[9, 10]);
    let path = saved.checkpoints.folder(10).join(MANIFEST);
    let mut envelope: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    envelope["version"] = json!(3);
    let body = serde_json::to_vec(&(3, &envelope["body"])).unwrap();
    let sum = gru_rcn_data::base::Fnv64::default().bytes(&body).finish();
    envelope["checksum"] = json!(format!("{sum:016x}"));
    fs::write(&path, envelope.to_string()).unwrap();
    let message = format!("{:#}", saved.load().0.err().unwrap());
    assert!(message.contains("format 3, and this program reads 2"), "{message}");
    fs::create_dir(saved.checkpoints.root.join("epoch-000003")).unwrap();
    let message = format!("{:#}", saved.load().0.err().unwrap());
    assert!(message.contains("earlier version"), "{message}");
}

#[test]
fn another_model_is_refused() {
    let saved = saved(&[9]);
    let other = LinearConfig::new(2, 4).init(&Device::flex());
    let message = format!("{:#}", saved.checkpoints.load_newest(&other, &optimizer(), |_| ()).err().unwrap());
    assert!(message.contains("model.bpk"), "{message}");
}

/// There is a file in place of the stage's folder.
#[test]
fn a_failed_save_names_the_checkpoint() {
    let mut saved = saved(&[9]);
    let file = saved.checkpoints.root.join("latest");
    saved.state.position.steps = 11;
    let error = Checkpoints::new(file.join("stage"), fingerprint()).save(&saved.state).unwrap_err();
    let message = format!("{error:#}");
    assert!(message.contains("could not save the checkpoint") && message.contains("step-00000011"), "{message}");
}

/// A file with the temporary name is removed, like the remains of a killed process.
#[test]
fn files_with_the_temporary_name_are_removed() {
    let mut saved = saved(&[9]);
    for name in [".step-00000011.tmp", ".step-00000009.old"] {
        fs::write(saved.checkpoints.root.join(name), "in the way").unwrap();
    }
    saved.state.position.steps = 11;
    saved.checkpoints.save(&saved.state).unwrap();
    assert_eq!(saved.load().0.unwrap().unwrap().position.steps, 11);
    assert_eq!(saved.checkpoints.names().len(), 3);
}
