//! A folder of clips with any lists, groups and quarantine, and the official lists of the data sets.

#![no_main]

use std::sync::LazyLock;

use gru_rcn_data::{Dataset, FolderOptions, Layout, fuzzing};
use gru_rcn_fuzz::{parts, put};
use libfuzzer_sys::fuzz_target;

/// Two classes of four clips.
static CLIPS: LazyLock<FolderOptions> = LazyLock::new(|| {
    for clip in ["a/v_a_g01_c01", "a/v_a_g01_c02", "a/v a", "a/x.b", "b/v_b_g01_c01", "b/1 2", "b/3", "b/4"] {
        put(&format!("clips/{clip}.avi"), clip);
    }
    let list = |name| Some(put(name, ""));
    FolderOptions {
        root: put("clips/a/x.b.avi", "x").ancestors().nth(2).expect("the folder of the clips").to_owned(),
        train_list: list("train.txt"),
        test_list: list("test.txt"),
        groups: list("groups.json"),
        quarantine: list("quarantine.jsonl"),
        ..FolderOptions::default()
    }
});

fuzz_target!(|bytes: &[u8]| {
    let options = &*CLIPS;
    let [choice, train, test, groups, quarantine] = parts(bytes);
    put("train.txt", train);
    put("test.txt", test);
    match choice {
        [] => {
            put("groups.json", if groups.is_empty() { b"{}" } else { groups });
            put("quarantine.jsonl", quarantine);
            // The lists alone, the test list alone, and none of the two.
            for (train_list, test_list) in [(true, true), (false, true), (false, false)] {
                let (train_list, test_list) = (
                    options.train_list.clone().filter(|_| train_list),
                    options.test_list.clone().filter(|_| test_list),
                );
                let _ = Dataset::from_folder(&FolderOptions { train_list, test_list, ..options.clone() });
            }
        }
        [layout, ..] => {
            let names = [
                ["ucf/trainlist01.txt", "ucf/testlist01.txt", "ucf/classInd.txt"],
                ["hmdb/a_test_split1.txt", "hmdb/b_test_split1.txt", "hmdb/b_test_split2.txt"],
                ["msvd/train_list.txt", "msvd/test_list.txt", "msvd/youtube_mapping.txt"],
            ];
            put("msvd/val_list.txt", "x_1_2\n");
            let number = usize::from(layout % 3);
            let files = [train, test, groups];
            let paths: Vec<_> = names[number].iter().zip(files).map(|(name, text)| put(name, text)).collect();
            let layout = [Layout::Ucf101, Layout::Hmdb51, Layout::Msvd][number];
            let folder = paths[0].parent().expect("the folder of the lists");
            let captions = ["captions.txt", "captions.json"].map(|name| put(name, quarantine));
            let _ = fuzzing::official_lists(layout, folder, &captions);
        }
    }
});
