//! Man pages, completions and text without colours, as packages need them.

use std::fs;
use std::process::Command;

use gru_rcn_tests::skip;

use crate::harness::{Call, run, temporary};

#[test]
fn man_pages_and_completions_name_every_verb() {
    let folder = temporary();
    run(&folder, "generate out/files").succeeds();
    let read = |name: &str| fs::read_to_string(folder.join("out/files").join(name)).expect(name);
    let help = run(&folder, "--help").succeeds().stdout;
    let verbs: Vec<&str> = (help.lines())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   ") && !line.trim_start().starts_with('-'))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.contains(&"watch") && verbs.len() > 15, "{verbs:?}");
    let files = ["gru-rcn.1", "gru-rcn.bash", "gru-rcn.fish", "_gru-rcn"].map(read);
    for verb in verbs {
        // A man page writes a minus as `\-`.
        assert!(files.iter().all(|text| text.replace('\\', "").contains(verb)), "{verb}");
        assert!(read(&format!("gru-rcn-{verb}.1")).contains("SYNOPSIS"), "{verb}");
    }
}

/// Bash sources the script and asks it, as on the tab key, for options that begin with `--b`.
#[test]
fn options_are_completed_in_bash() {
    let folder = temporary();
    run(&folder, "generate .").succeeds();
    let script = "source gru-rcn.bash; COMP_WORDS=(gru-rcn watch --b); COMP_CWORD=2; _gru__rcn gru-rcn --b watch; \
                  echo \"${COMPREPLY[@]}\"";
    let Ok(done) = Command::new("bash").current_dir(&*folder).args(["-c", script]).output() else {
        skip!("there is no bash");
    };
    let words = String::from_utf8(done.stdout).unwrap();
    assert_eq!(words.split_whitespace().collect::<Vec<_>>(), ["--by", "--backend"], "{words}");
}

#[test]
fn no_color_has_precedence_over_clicolor_force() {
    let folder = temporary();
    let help = || Call::new(&folder, "--help").env("CLICOLOR_FORCE", "1");
    assert!(help().without("NO_COLOR").run().succeeds().stdout.contains('\x1b'));
    assert!(!help().env("NO_COLOR", "1").run().succeeds().stdout.contains('\x1b'));
}
