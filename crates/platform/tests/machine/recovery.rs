//! What processes leave behind that were killed.

use crate::setup::*;
use hypertap_platform::{RouteKind, in_process, recover};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Not a test by itself: the process that others kill.
#[test]
#[ignore = "the victim of other tests, which start it"]
fn victim() {
    let state = std::env::var_os(CHILD_STATE).expect("started by a test");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut half = in_process(Path::new(&state)).unwrap();
        let tun = half.open_tun(&named("victim0")).await.unwrap();
        make_persistent(&tun);
        half.change_routes(&add(&[
            ("10.0.0.0/8", RouteKind::Included),
            ("10.1.0.0/16", RouteKind::Excluded),
            ("2001:db8:1::/48", RouteKind::Excluded),
        ]))
        .await
        .unwrap();
        half.capture_dns(true).await.unwrap();
        println!("\nvictim is ready");
        half.gone().await;
    });
}

/// Not a test by itself: a process that opens and closes tunnels until it is killed.
#[test]
#[ignore = "the victim of another test, which starts it"]
fn restless_victim() {
    let state = std::env::var_os(CHILD_STATE).expect("started by a test");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut half = in_process(Path::new(&state)).unwrap();
        println!("\nvictim is ready");
        loop {
            let tun = half.open_tun(&named("victim0")).await.unwrap();
            let routes = [("10.0.0.0/8", RouteKind::Included), ("10.1.0.0/16", RouteKind::Excluded)];
            half.change_routes(&add(&routes)).await.unwrap();
            half.capture_dns(true).await.unwrap();
            half.capture_dns(false).await.unwrap();
            half.capture_dns(true).await.unwrap();
            half.close_tun().await.unwrap();
            drop(tun);
        }
    });
}

/// Starts [`victim`] in this thread's namespace and waits until its tunnel is open.
fn start_victim(state: &Path) -> Child {
    start_child("recovery::victim", state)
}

fn start_child(name: &str, state: &Path) -> Child {
    let mut child = Command::new(this_program())
        .args(["--ignored", "--exact", name, "--nocapture"])
        .env(CHILD_STATE, state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "victim is ready"));
    child
}

/// Kills it, and waits until the kernel has noticed that its interface has lost its carrier.
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    let is_down = || run("ip link show dev victim0").contains("NO-CARRIER");
    while !(is_down() && run("ip route show table all dev victim0").contains("linkdown")) {
        assert!(Instant::now() < end, "the interface keeps its carrier");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn recovery_undoes_what_a_killed_process_left_and_only_that() {
    in_namespace(async |state| {
        let before = dump();
        let mut live = half(&state);
        let _tun = live.open_tun(&named("live0")).await.unwrap();
        let routes = [("10.2.0.0/16", RouteKind::Included), ("10.3.0.0/16", RouteKind::Excluded)];
        live.change_routes(&add(&routes)).await.unwrap();
        let with_live = dump();

        let child = start_victim(state.path());
        assert_eq!(recover(state.path()).await.unwrap(), Vec::new(), "its owner lives");
        assert_ne!(dump(), with_live);
        let pid = child.id();
        kill(child);
        assert_ne!(dump(), with_live, "a kill leaves things behind");

        let recovered = recover(state.path()).await.unwrap();
        assert_eq!(dump(), with_live);
        assert_eq!(recovered.len(), 1);
        assert_eq!((recovered[0].pid, recovered[0].link.as_deref()), (pid, Some("victim0")));
        // For each family three rules for the routes and two for DNS, and for IPv4 one more; two excluded
        // routes are not the link's.
        assert!(recovered[0].deleted_link);
        assert_eq!((recovered[0].rules, recovered[0].routes), (11, 2));
        assert_eq!(recover(state.path()).await.unwrap(), Vec::new());
        live.close_tun().await.unwrap();
        assert_eq!(dump(), before);
    });
}

#[test]
fn a_kill_at_any_moment_is_recovered_from() {
    in_namespace(async |state| {
        let before = dump();
        let (mut left, mut moment) = (0, 0);
        // On a busy machine it takes later moments to hit an open tunnel.
        while moment < 30 || left <= 5 {
            assert!(moment < 300, "most kills hit an open tunnel, yet only {left} left something");
            let mut child = start_child("recovery::restless_victim", state.path());
            std::thread::sleep(Duration::from_micros(5_000 + 700 * moment));
            child.kill().unwrap();
            child.wait().unwrap();
            moment += 1;
            left += usize::from(dump() != before);
            recover(state.path()).await.unwrap();
            assert_eq!(dump(), before);
            assert_eq!(journal_files(state.path()), Vec::<String>::new());
        }
    });
}

#[test]
fn recovery_leaves_another_namespace_alone() {
    in_namespace(async |state| {
        let child = start_victim(state.path());
        kill(child);
        let before = dump();
        let path = state.path().to_owned();
        in_namespace(async move |_| {
            run("ip tuntap add dev victim0 mode tun");
            let before = dump();
            assert_eq!(recover(&path).await.unwrap(), Vec::new());
            assert_eq!(dump(), before);
        });
        assert_eq!(dump(), before);
        assert_eq!(recover(state.path()).await.unwrap().len(), 1);
    });
}

#[test]
fn what_is_no_journal_entry_is_moved_aside_and_undoes_nothing() {
    in_namespace(async |state| {
        let before = dump();
        kill(start_victim(state.path()));
        let journal = state.path().join("journal");
        let name = journal_files(state.path()).remove(0);
        let entry = std::fs::read_to_string(journal.join(&name)).unwrap();
        // An entry that names the machine's own tables is none of ours.
        std::fs::write(journal.join("1-0.json"), entry.replace("26880", "254")).unwrap();
        std::fs::write(journal.join("1-1.json"), b"{\"pid\":").unwrap();
        std::fs::write(journal.join("1-2.json"), vec![0xff; 70_000]).unwrap();
        std::fs::create_dir(journal.join("1-3.json")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", journal.join("1-4.json")).unwrap();
        assert_eq!(recover(state.path()).await.unwrap().len(), 1);
        assert_eq!(dump(), before);
        let aside: Vec<String> = (0..5).map(|number| format!("1-{number}.json.bad")).collect();
        assert_eq!(journal_files(state.path()), aside);
    });
}

#[test]
fn an_entry_from_before_the_machine_started_is_dropped() {
    in_namespace(async |state| {
        kill(start_victim(state.path()));
        let journal = state.path().join("journal");
        let path = journal.join(journal_files(state.path()).remove(0));
        let mut entry: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        entry["boot"] = "00000000-0000-0000-0000-000000000000".into();
        std::fs::write(&path, entry.to_string()).unwrap();
        let before = dump();
        assert_eq!(recover(state.path()).await.unwrap(), Vec::new());
        assert_eq!(dump(), before);
        assert_eq!(journal_files(state.path()), Vec::<String>::new());
    });
}

#[test]
fn a_journal_that_cannot_be_kept_is_a_sentence_with_the_files_name() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let journal = state.path().join("journal");
        let moved = state.path().join("moved");
        std::fs::rename(&journal, &moved).unwrap();
        std::fs::remove_dir_all(&moved).unwrap();
        std::fs::write(&journal, "").unwrap();
        let error = half.open_tun(&spec()).await.unwrap_err().to_string();
        assert!(error.contains(journal.to_str().unwrap()) && error.contains("Not a directory"), "{error}");
    });
}

#[test]
fn a_state_directory_of_somebody_else_is_refused() {
    in_namespace(async |state| {
        needs_root();
        let refused = |path: &Path| in_process(path).err().expect("refused").to_string();
        let other = state.path().join("other");
        std::fs::create_dir(&other).unwrap();
        std::os::unix::fs::chown(&other, Some(65_534), None).unwrap();
        assert!(refused(&other).contains("belongs to another user"));
        let open = state.path().join("open");
        std::fs::create_dir(&open).unwrap();
        run(&format!("chmod 777 {}", open.display()));
        assert!(refused(&open).contains("others may write"));
        let link = state.path().join("link");
        std::os::unix::fs::symlink("/root", &link).unwrap();
        assert!(!refused(&link).is_empty());
        assert!(!Path::new("/root/journal").exists());
        std::os::unix::fs::chown(state.path(), Some(65_534), None).unwrap();
        let error = recover(state.path()).await.unwrap_err().to_string();
        assert!(error.contains(state.path().to_str().unwrap()), "{error}");
        assert!(error.contains("belongs to another user") && error.contains("--state-dir"), "{error}");
    });
}

/// Does something without the right to change the network: the kernel refuses whatever is tried.
pub(crate) async fn without_right<T>(job: impl Future<Output = T>) -> T {
    const NET_ADMIN: u32 = 1 << 12;
    let rights = capabilities(libc::SYS_capget, [0; 6]);
    let mut fewer = rights;
    fewer[0] &= !NET_ADMIN;
    capabilities(libc::SYS_capset, fewer);
    let done = job.await;
    capabilities(libc::SYS_capset, rights);
    done
}

/// Reads or sets this thread's effective, permitted and inheritable capabilities, of which each has two words.
fn capabilities(call: libc::c_long, mut data: [u32; 6]) -> [u32; 6] {
    // _LINUX_CAPABILITY_VERSION_3, and this thread.
    let mut header = [0x2008_0522, 0_u32];
    // SAFETY: both point to as many words as capget(2) says, which live until it returns.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(call, header.as_mut_ptr(), data.as_mut_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    data
}

#[test]
fn what_could_not_be_removed_is_removed_by_the_next_close() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        let tun = half.open_tun(&spec()).await.unwrap();
        half.change_routes(&add(&[("10.0.0.0/8", RouteKind::Excluded)])).await.unwrap();
        let open = dump();
        without_right(half.close_tun()).await.unwrap_err();
        assert_eq!(dump(), open);
        assert_eq!(recover(state.path()).await.unwrap(), Vec::new(), "its owner lives");
        half.close_tun().await.unwrap();
        assert_eq!(dump(), before);
        assert_eq!(journal_files(state.path()), Vec::<String>::new());
        drop(tun);
    });
}

#[test]
fn what_could_not_be_removed_is_removed_before_the_next_tunnel_is_made() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        let tun = half.open_tun(&spec()).await.unwrap();
        without_right(half.close_tun()).await.unwrap_err();
        let next = half.open_tun(&spec()).await.unwrap();
        assert_eq!(next.name, tun.name, "the first has gone");
        assert_eq!(journal_files(state.path()).len(), 1);
        half.close_tun().await.unwrap();
        assert_eq!(dump(), before);
    });
}

#[test]
fn what_could_not_be_removed_is_removed_when_the_half_is_dropped() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        let _tun = half.open_tun(&spec()).await.unwrap();
        without_right(half.close_tun()).await.unwrap_err();
        drop(half);
        assert_eq!(dump(), before);
        assert_eq!(journal_files(state.path()), Vec::<String>::new());
    });
}

#[test]
fn a_tunnel_that_can_never_be_removed_bounds_how_many_are_made() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        let journal = state.path().join("journal");
        let mut opened = 0;
        let mut pinned = Vec::new();
        let error = loop {
            match half.open_tun(&spec()).await {
                Ok(_) => opened += 1,
                Err(error) => break error.to_string(),
            }
            assert!(opened < 100, "there is no bound");
            // A page that is a directory's now cannot be unlinked.
            let page = journal
                .join(journal_files(state.path()).into_iter().find(|name| !pinned.contains(name)).unwrap());
            std::fs::remove_file(&page).unwrap();
            std::fs::create_dir(&page).unwrap();
            pinned.push(page.file_name().unwrap().to_str().unwrap().to_owned());
            half.close_tun().await.unwrap_err();
        };
        assert!(error.contains(&pinned[0]), "{error}");
        for name in &pinned {
            std::fs::remove_dir(journal.join(name)).unwrap();
        }
        half.open_tun(&spec()).await.unwrap();
        half.close_tun().await.unwrap();
        assert_eq!(dump(), before);
    });
}

#[test]
fn a_page_that_cannot_be_removed_keeps_no_other_from_being_recovered() {
    in_namespace(async |state| {
        let before = dump();
        kill(start_victim(state.path()));
        let journal = state.path().join("journal");
        // Where a directory of that name is in the way, a page that is none cannot be moved aside.
        for number in 0..20 {
            std::fs::write(journal.join(format!("{number}-0.json")), "{").unwrap();
            std::fs::create_dir(journal.join(format!("{number}-0.json.bad"))).unwrap();
        }
        let error = recover(state.path()).await.unwrap_err().to_string();
        assert!(error.contains("0.json"), "{error}");
        assert_eq!(dump(), before);
    });
}

#[test]
fn a_dead_owners_page_undoes_nothing_of_a_live_one_with_the_same_tables() {
    in_namespace(async |state| {
        kill(start_victim(state.path()));
        let journal = state.path().join("journal");
        let name = journal_files(state.path()).remove(0);
        let entry = std::fs::read(journal.join(&name)).unwrap();
        recover(state.path()).await.unwrap();
        let mut live = half(&state);
        let _tun = live.open_tun(&named("live0")).await.unwrap();
        live.change_routes(&add(&[("10.3.0.0/16", RouteKind::Excluded)])).await.unwrap();
        let during = dump();
        // As if the page had outlived what it names, which somebody else has now.
        std::fs::write(journal.join(&name), entry).unwrap();
        recover(state.path()).await.unwrap();
        assert_eq!(dump(), during);
        assert!(!journal.join(&name).exists());
    });
}

#[test]
fn a_journal_that_somebody_removed_is_made_anew() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        for _ in 0..2 {
            std::fs::remove_dir_all(state.path().join("journal")).unwrap();
            let _tun = half.open_tun(&spec()).await.unwrap();
            assert_eq!(journal_files(state.path()).len(), 1);
            std::fs::remove_dir_all(state.path()).unwrap();
            half.capture_dns(true).await.unwrap();
            assert_eq!(journal_files(state.path()).len(), 1);
            half.close_tun().await.unwrap();
            assert_eq!(dump(), before);
            assert_eq!(journal_files(state.path()), Vec::<String>::new());
        }
    });
}
