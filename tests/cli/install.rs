//! `hypertap install` and `uninstall`, below a folder instead of `/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{output, scratch};
use hypertap_tests::{Value, in_namespaces};

/// Every path below a folder, with the content where it is a file.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else {
            let content = fs::read(&path).expect("root may");
            found.insert(path, Some(content));
        }
    }
    found
}

fn hypertap(words: &[&str], root: &Path) -> (Option<i32>, String) {
    let output = output(Command::new(binary()).args(words).arg("--root").arg(root));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// A root with something on it that must stay.
fn furnished() -> PathBuf {
    let root = scratch("root");
    for folder in ["etc/systemd/system", "usr/local/bin", "var/lib"] {
        fs::create_dir_all(root.join(folder)).expect("ours");
    }
    fs::write(root.join("etc/systemd/system/other.service"), "other").expect("ours");
    root
}

#[test]
fn uninstall_removes_what_install_put_and_nothing_else() {
    in_namespaces(|| {
        let root = furnished();
        let before = tree(&root);
        for _ in 0..2 {
            let (code, said) = hypertap(&["install"], &root);
            assert_eq!(code, Some(0), "{said}");
            let installed = tree(&root);
            assert!(before.iter().all(|(path, content)| installed.get(path) == Some(content)), "{said}");
            let copy = installed.get(&root.join("usr/local/bin/hypertap")).cloned().flatten();
            assert!(copy == fs::read(binary()).ok(), "the binary itself is there");
            let (code, said) = hypertap(&["uninstall"], &root);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(tree(&root), before);
        }
    });
}

#[test]
fn the_manifest_lists_every_file() {
    in_namespaces(|| {
        let root = furnished();
        let before = tree(&root);
        hypertap(&["install"], &root);
        let path = root.join("var/lib/hypertap/manifest.json");
        let manifest: Value = serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("JSON");
        let text = manifest.to_string();
        let new =
            tree(&root).into_iter().filter(|(path, content)| content.is_some() && !before.contains_key(path));
        for (file, _) in new.filter(|(file, _)| *file != path) {
            let below = file.strip_prefix(&root).expect("it is below the root").display().to_string();
            assert!(text.contains(&format!("\"{below}\"")), "{below} is not in {text}");
        }
        assert!(!text.contains(root.to_str().expect("a path")), "paths are relative to the root: {text}");
    });
}

#[test]
fn the_man_page_that_a_unit_names_is_installed_and_completions_where_shells_look() {
    in_namespaces(|| {
        let root = furnished();
        hypertap(&["install"], &root);
        let share = root.join("usr/local/share");
        let mut named = 0;
        for unit in ["hypertap.service", "hypertap.socket"] {
            let unit = fs::read_to_string(root.join("etc/systemd/system").join(unit)).expect("there");
            let words = unit.split([' ', '=', '\n']);
            for page in words.filter_map(|word| word.strip_prefix("man:")?.strip_suffix("(1)")) {
                let text = fs::read_to_string(share.join(format!("man/man1/{page}.1"))).expect(page);
                assert!(text.contains(".SH SYNOPSIS"), "{text}");
                named += 1;
            }
        }
        assert!(named > 0);
        for path in ["bash-completion/completions/hypertap", "zsh/site-functions/_hypertap"] {
            assert!(fs::read_to_string(share.join(path)).expect(path).contains("on-disconnect"), "{path}");
        }
    });
}

#[test]
fn a_tree_that_was_moved_is_uninstalled_where_it_is_now() {
    in_namespaces(|| {
        let root = furnished();
        let before: Vec<PathBuf> = below(&root);
        // Relative, as packagers write it.
        let mut command = Command::new(binary());
        let output = output(command.args(["install", "--root", "root"]).current_dir(scratch("")));
        assert!(output.status.success(), "{output:?}");
        let moved = scratch("moved");
        fs::rename(&root, &moved).expect("ours");
        let (code, said) = hypertap(&["uninstall"], &moved);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(below(&moved), before, "{said}");
    });
}

/// What is below a folder, wherever that is.
fn below(folder: &Path) -> Vec<PathBuf> {
    tree(folder).into_keys().map(|path| path.strip_prefix(folder).expect("below").to_owned()).collect()
}

#[test]
fn installing_again_keeps_what_was_edited_and_says_so() {
    in_namespaces(|| {
        let root = furnished();
        let before = tree(&root);
        hypertap(&["install"], &root);
        let [edited, shipped] =
            ["hypertap.service", "hypertap.socket"].map(|unit| root.join("etc/systemd/system").join(unit));
        let original = fs::read(&shipped).expect("there");
        fs::write(&edited, "[Service]\nExecStart=/bin/true\n").expect("ours");
        for _ in 0..2 {
            let (code, said) = hypertap(&["install"], &root);
            assert_eq!(code, Some(0), "{said}");
            let told: Vec<&str> = said.lines().filter(|line| line.starts_with("kept ")).collect();
            assert!(told.len() == 1 && told[0].contains("hypertap.service"), "{said}");
            assert_eq!(fs::read_to_string(&edited).expect("there"), "[Service]\nExecStart=/bin/true\n");
            assert_eq!(fs::read(&shipped).expect("there"), original);
        }
        let (code, said) = hypertap(&["uninstall"], &root);
        assert!(code == Some(0) && said.contains("hypertap.service, which was edited here"), "{said}");
        assert_eq!(tree(&root), before);
    });
}

#[test]
fn the_installed_program_can_install_itself_again() {
    in_namespaces(|| {
        let root = furnished();
        hypertap(&["install"], &root);
        let once = tree(&root);
        let mut command = Command::new(root.join("usr/local/bin/hypertap"));
        let output = output(command.arg("install").arg("--root").arg(&root));
        assert!(output.status.success(), "{output:?}");
        assert!(tree(&root) == once, "{output:?}");
    });
}

#[test]
fn an_installation_that_was_killed_amid_a_file_is_uninstalled_or_taken_up_again() {
    in_namespaces(|| {
        let root = furnished();
        let before = tree(&root);
        for remedy in ["uninstall", "install"] {
            // The kernel kills whoever writes a file larger than that (SIGXFSZ), and the program is.
            let mut limited = Command::new("prlimit");
            let limited =
                limited.args(["--fsize=65536", "--core=0"]).arg(binary()).args(["install", "--root"]);
            let killed = output(limited.arg(&root));
            assert_eq!(killed.status.code(), None, "{killed:?}");
            assert!(tree(&root) != before, "it was killed half-way");
            if remedy == "install" {
                let (code, said) = hypertap(&["install"], &root);
                assert!(code == Some(0) && !said.contains("kept"), "{said}");
                assert!(!below(&root).iter().any(|path| path.to_string_lossy().contains("hypertap-new")));
            }
            let (code, said) = hypertap(&["uninstall"], &root);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(below(&root), tree_paths(&before, &root), "after {remedy}");
        }
    });
}

fn tree_paths(tree: &BTreeMap<PathBuf, Option<Vec<u8>>>, root: &Path) -> Vec<PathBuf> {
    tree.keys().map(|path| path.strip_prefix(root).expect("below").to_owned()).collect()
}

#[test]
fn a_file_that_is_there_and_is_not_ours_refuses_the_installation_and_stays() {
    in_namespaces(|| {
        let root = furnished();
        fs::write(root.join("etc/systemd/system/hypertap.service"), "somebody's own").expect("ours");
        let before = tree(&root);
        let (code, said) = hypertap(&["install"], &root);
        assert!(code != Some(0) && said.contains("hypertap.service"), "{code:?} {said}");
        assert_eq!(tree(&root), before, "what was done is undone");
    });
}

#[test]
fn a_file_that_somebody_adds_beside_ours_stays() {
    in_namespaces(|| {
        let root = furnished();
        hypertap(&["install"], &root);
        let own = root.join("var/lib/hypertap/own");
        fs::write(&own, "mine").expect("ours");
        let (code, said) = hypertap(&["uninstall"], &root);
        assert_eq!(code, Some(0), "{said}");
        assert!(own.exists() && !root.join("usr/local/bin/hypertap").exists());
    });
}

#[test]
fn uninstall_without_an_installation_removes_nothing() {
    in_namespaces(|| {
        let root = furnished();
        fs::write(root.join("usr/local/bin/hypertap"), "not by us").expect("ours");
        let before = tree(&root);
        hypertap(&["uninstall"], &root);
        assert_eq!(tree(&root), before);
    });
}
