//! With scripts in the program's place: what it says and how it ends. The program itself is in the system
//! tests.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;
use tempfile::TempDir;

/// A shell's script, and a wish for an interface that it would make.
fn script(text: &str) -> (TempDir, TapSpec) {
    let folder = TempDir::new().expect("a temporary folder");
    let program = folder.path().join("hypertap");
    fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("it is ours");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it is ours");
    (folder, TapSpec { program, ..TapSpec::default() })
}

fn start(text: &str) -> Result<Started, TapError> {
    let (_folder, spec) = script(text);
    start_as(&spec)
}

fn start_as(spec: &TapSpec) -> Result<Started, TapError> {
    // Another thread that starts a program just then has the script open for a moment.
    loop {
        match Program::start(spec) {
            Err(TapError::Start { source, .. }) if source.kind() == io::ErrorKind::ExecutableFileBusy => {}
            outcome => return outcome,
        }
    }
}

#[test]
fn it_is_started_at_the_other_end_of_a_socket_and_says_the_name() {
    let started = start("echo tap7; exec cat >&0").expect("it started");
    assert_eq!(started.name, "tap7");
    let socket = started.socket;
    socket.write(b"there and back", None).expect("room");
    assert!(wait(socket.as_fd(), PollFlags::IN, Deadline::after(Some(END))).expect("it can be polled"));
    let mut bytes = [0; 20];
    assert_eq!(socket.read(&mut bytes, &mut Vec::new()).expect("it came"), 14);
    drop(socket);
    let mut program = started.program;
    assert_eq!(program.end(), ProgramEnd { code: Some(0), text: String::new() });
}

#[test]
fn it_is_told_what_the_interface_is_to_be() {
    let error = start("echo \"hypertap: $*\" >&2; exit 1").expect_err("no interface");
    assert_eq!(
        error.to_string(),
        "cannot make the interface: tap --fd=0 --print-name --framing=le16 --mtu=1500"
    );
}

#[test]
fn its_code_and_last_sentence_are_the_error() {
    let text = "echo WARN beware >&2; echo hypertap: not permitted: try sudo >&2; exit 3";
    match start(text) {
        Err(TapError::Refused(end)) => {
            assert_eq!(end, ProgramEnd { code: Some(3), text: "not permitted: try sudo".to_owned() });
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sentence_is_found_among_the_lines() {
    let usage = "error: unexpected argument '--x' found\n\nUsage: hypertap\n\nFor more, try '--help'.\n";
    for (said, sentence) in [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ("hypertap: a: b\nINFO done\n", "a: b"),
        (usage, "unexpected argument '--x' found"),
    ] {
        assert_eq!(last_sentence(said), sentence);
    }
}

#[test]
fn an_end_without_a_word_is_told_by_its_code() {
    let text = start("exit 5").expect_err("no interface").to_string();
    assert_eq!(text, "cannot make the interface: its program ended with code 5 and said nothing");
    let text = start("kill -9 $$").expect_err("no interface").to_string();
    assert_eq!(text, "cannot make the interface: its program was killed");
}

#[test]
fn a_program_that_is_not_there_is_named_with_the_remedy() {
    let spec = TapSpec { program: PathBuf::from("/nowhere/hypertap"), ..TapSpec::default() };
    let text = Program::start(&spec).expect_err("no program").to_string();
    assert!(text.starts_with("cannot start /nowhere/hypertap: No such file"), "{text}");
    assert!(text.contains("install hypertap"), "{text}");
}

#[test]
fn a_program_that_is_not_ready_in_time_is_given_up_and_ended() {
    let (_folder, spec) = script("exec cat");
    let begin = Instant::now();
    let spec = TapSpec { timeout: Duration::from_millis(50), ..spec };
    assert!(matches!(start_as(&spec), Err(TapError::NotReady(_))));
    assert!(begin.elapsed() < END, "it ends with its socket, not by a signal");
}

#[test]
fn a_program_that_does_not_end_is_killed() {
    let started = start("echo tap7; exec sleep 60").expect("it started");
    drop(started.socket);
    let mut program = started.program;
    assert!(!program.hear_out(Deadline::after(Some(Duration::ZERO))));
    assert!(program.child.kill().is_ok());
    assert_eq!(program.end().code, None);
}

#[test]
fn only_the_end_of_what_it_says_is_kept() {
    let text = "i=0; while [ $i -lt 3000 ]; do echo $i$i$i$i >&2; i=$((i+1)); done; exit 1";
    let error = start(text).expect_err("no interface").to_string();
    assert_eq!(error, "cannot make the interface: 2999299929992999");
}
