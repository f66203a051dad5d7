use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::*;

fn listen(paths: &[PathBuf]) -> (UnixListener, SocketFile) {
    bind(paths).expect("nobody is there")
}

#[test]
fn the_file_goes_with_its_owner_but_not_once_it_is_anothers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let (listener, file) = listen(std::slice::from_ref(&path));
    drop(listener);
    // Nobody listens any more, and another starts before the file is removed.
    let (_successor, theirs) = listen(std::slice::from_ref(&path));
    drop(file);
    assert!(path.exists(), "the successor's file was removed");
    drop(theirs);
    assert!(!path.exists());
}

#[test]
fn a_file_that_others_touch_is_the_same_still() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let (_listener, file) = listen(std::slice::from_ref(&path));
    let then = TimeSpec::new(1, 0);
    utimensat(AT_FDCWD, &path, &then, &then, UtimensatFlags::NoFollowSymlink).expect("it is ours");
    drop(file);
    assert!(!path.exists());
}

#[test]
fn the_first_path_that_is_free_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["control.sock", "control-5500.sock"].map(|name| folder.path().join(name));
    let (_first, file) = listen(&paths);
    assert_eq!(file.path(), paths[0]);
    let (_second, other) = listen(&paths);
    assert_eq!(other.path(), paths[1]);
    assert!(matches!(bind(&paths), Err((path, NotBound::Live)) if path == paths[1]));
    let file = folder.path().join("file");
    fs::write(&file, "").expect("ours");
    let refused = bind(&[file.clone(), paths[1].clone()]);
    assert!(
        matches!(refused, Err((path, NotBound::Other)) if path == file),
        "the one that is in the way is named"
    );
}

#[test]
fn many_that_start_at_once_each_get_a_path_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..50 {
        let paths = |number: usize| {
            [format!("{round}.sock"), format!("{round}-{number}.sock")].map(|name| folder.path().join(name))
        };
        drop(UnixListener::bind(&paths(0)[0]).expect("one that was left"));
        let got: Vec<_> = thread::scope(|scope| {
            let starting: Vec<_> = (0..4).map(|number| scope.spawn(move || listen(&paths(number)))).collect();
            starting.into_iter().map(|one| one.join().expect("it starts")).collect()
        });
        let first = got.iter().filter(|(_, file)| file.path() == paths(0)[0]).count();
        assert_eq!(first, 1, "round {round}");
        assert!(got.iter().all(|(_, file)| file.path().exists()));
    }
}

#[test]
fn a_file_has_the_mode_that_was_asked_for_and_a_dead_one_of_either_kind_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tap");
    for (kind, other) in [(Kind::Stream, Kind::Datagram), (Kind::Datagram, Kind::Stream)] {
        for mode in [0o600, 0o660, 0o222, 0] {
            let access = Access { mode, owner: None, group: None };
            let (socket, file) = bind_for(&path, kind, &access).expect("nobody is there");
            assert_eq!(fs::metadata(&path).expect("made").mode() & 0o777, mode);
            if nix::unistd::geteuid().is_root() {
                for kind in [kind, other] {
                    assert!(matches!(bind_for(&path, kind, &access), Err(NotBound::Live)));
                }
            }
            drop(socket);
            // As a SIGKILL leaves it.
            std::mem::forget(file);
        }
    }
    fs::remove_file(&path).expect("the last is there");
    fs::write(&path, "").expect("ours");
    let access = Access { mode: 0o600, owner: None, group: None };
    assert!(matches!(bind_for(&path, Kind::Stream, &access), Err(NotBound::Other)));
}

#[test]
fn what_somebody_has_put_in_the_sockets_place_is_not_handed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, theirs) = (folder.path().join("tap"), folder.path().join("theirs"));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    let access = Access { mode: 0o666, owner: None, group: None };
    let place = Place::of(&path).expect("the folder is there");
    let is_refused = || matches!(hand_over(&place, &access), Err(NotBound::Replaced));
    assert!(is_refused(), "nothing is there");
    fs::write(&theirs, "a secret").expect("ours");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).expect("ours");
    std::os::unix::fs::symlink(&theirs, &path).expect("ours");
    assert!(is_refused(), "a symbolic link");
    fs::remove_file(&path).expect("ours");
    fs::hard_link(&theirs, &path).expect("ours");
    assert!(is_refused(), "another file");
    assert_eq!(mode(&theirs), 0o600);

    for file in [&path, &theirs] {
        fs::remove_file(file).expect("ours");
    }
    let _listener = UnixListener::bind(&theirs).expect("ours");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::hard_link(&theirs, &path).expect("ours");
    assert!(is_refused(), "another socket");
    assert_eq!(mode(&theirs), 0o600);
    fs::remove_file(&theirs).expect("ours");
    assert_eq!(hand_over(&place, &access).ok(), place.identity());
    assert_eq!(mode(&path), 0o666);
}

#[test]
fn a_folder_that_is_put_in_the_place_of_the_sockets_loses_and_gains_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let [ours, theirs, aside] = ["ours", "theirs", "aside"].map(|name| folder.path().join(name));
    for name in [&ours, &theirs] {
        fs::create_dir(name).expect("ours");
    }
    let swap = || {
        for (from, to) in [(&ours, &aside), (&theirs, &ours), (&aside, &theirs)] {
            fs::rename(from, to).expect("ours");
        }
    };
    let access = |mode| Access { mode, owner: None, group: None };
    let (_victim, kept) = bind_for(&theirs.join("tap"), Kind::Stream, &access(0o600)).expect("it is free");

    // While it is made: somebody's socket at the path is not what was made.
    let place = Place::of(&ours.join("tap")).expect("it is there");
    place.make_room().expect("nothing is there");
    swap();
    assert!(matches!(hand_over(&place, &access(0o666)), Err(NotBound::Replaced)));
    assert_eq!(fs::metadata(ours.join("tap")).expect("it is there").mode() & 0o777, 0o600);
    swap();

    // While it is there: the end removes what was made.
    let (_socket, file) = bind_for(&ours.join("tap"), Kind::Stream, &access(0o600)).expect("it is free");
    swap();
    drop(file);
    assert!(ours.join("tap").exists() && !theirs.join("tap").exists());
    std::mem::forget(kept);
}

#[test]
fn another_process_removes_the_very_file_that_it_was_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tap");
    let (listener, file) = listen(std::slice::from_ref(&path));
    let number = file.number();
    assert!(Seen::at(&path, Some("1:1".as_ref())).is_none());
    let seen = Seen::at(&path, Some(number.as_ref())).expect("it is that one");
    std::mem::forget(file);
    seen.remove().expect("it is ours");
    assert!(!path.exists());
    drop(listener);
    assert!(Seen::at(&path, None).is_none());
}

#[test]
fn only_a_socket_that_nobody_listens_on_is_dead() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name| folder.path().join(name);
    let live = UnixListener::bind(path("live")).expect("ours");
    drop(UnixListener::bind(path("dead")).expect("ours"));
    fs::write(path("file"), "").expect("ours");
    remove_dead(&["live", "dead", "file"].map(path));
    for (name, stays) in [("live", true), ("dead", false), ("file", true)] {
        assert_eq!(path(name).exists(), stays, "{name}");
    }
    drop(live);
}
