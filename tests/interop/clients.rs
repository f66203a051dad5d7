//! Programs in other languages against the real daemon: the seed's own example, and the examples of our clients.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hypertap_tests::daemon::CONTROL;
use hypertap_tests::machine::{ip, output, ping, run, scratch};
use hypertap_tests::{Daemon, Peer, Setup, in_namespaces, in_namespaces_within};

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository").join(path)
}

/// Every file below a folder whose name ends so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

fn java_classes(sources: &[PathBuf]) -> PathBuf {
    let classes = scratch("classes");
    let mut args = vec!["-d".into(), classes.clone().into_os_string()];
    args.extend(sources.iter().map(|source| source.clone().into_os_string()));
    run("javac", &args);
    classes
}

/// Runs these classes. Java names a file in /tmp by its process's number, which others have too in their namespaces.
fn java(classes: &Path) -> Command {
    let mut java = Command::new("java");
    java.args(["-XX:-UsePerfData", "-classpath"]).arg(classes);
    java
}

#[test]
fn the_seeds_java_example_gets_a_sensible_first_line() {
    in_namespaces(|| {
        let classes = java_classes(&[repository("tests/interop/ClientExample.java")]);
        let mut daemon = Daemon::start();
        let ran = output(java(&classes).arg("ClientExample"));
        let said = String::from_utf8_lossy(&ran.stdout);
        assert_eq!(said.trim(), r#"Reply: {"cmd":"event","event":"vpnApproved"}"#);
        daemon.assert_ends_well();
    });
}

#[test]
fn the_java_client_answers_pings() {
    in_namespaces_within(Duration::from_secs(120), || {
        let mut sources = files(&repository("clients/java/src"), ".java");
        sources.extend(files(&repository("clients/java/examples"), ".java"));
        let classes = java_classes(&sources);
        for plane in ["udp", "stream"] {
            for control in [false, true] {
                let mut java = java(&classes);
                java.arg("PingAnswer").args(["--data-plane", plane]);
                answers_pings(java, control);
            }
        }
    });
}

fn python(module: &str) -> Command {
    let mut python = Command::new("python3");
    // No byte code is left in the repository.
    python.env("PYTHONPATH", repository("clients/python/src")).args(["-B", "-m", module]);
    python
}

#[test]
fn the_python_client_answers_pings_on_every_data_plane() {
    in_namespaces_within(Duration::from_secs(120), || {
        for plane in ["udp", "unix", "stream", "fd"] {
            let mut command = python("hypertap.examples.ping");
            command.args(["--data-plane", plane]);
            answers_pings(command, plane == "fd");
        }
    });
}

#[test]
fn the_python_client_on_asyncio_answers_pings_on_every_data_plane() {
    in_namespaces_within(Duration::from_secs(120), || {
        for plane in ["udp", "unix", "stream", "fd"] {
            let mut command = python("hypertap.examples.ping_async");
            command.args(["--data-plane", plane]);
            answers_pings(command, plane == "fd");
        }
    });
}

/// Runs a client's ping example until it has answered a ping of each version of IP, and one more: it
/// ends as it sends the last answer, which may come too late for the tunnel.
#[track_caller]
fn answers_pings(mut command: Command, control: bool) {
    let mut daemon = Setup::new().start();
    command.args(["--route", "10.9.0.0/24", "--route", "fd77::/64", "--address6", "fd00::5"]);
    command.args(["--count", "3", "--timeout", "30"]);
    if control {
        command.args(["--control", CONTROL]);
    }
    let mut example = Peer::start(command);
    example.expect("ready: hypertap0");
    for address in ["10.9.0.7", "fd77::7"] {
        let mut observer = daemon.control();
        assert!(ping(address, &[]), "{address}: {}\n{}", observer.stats(), ip("-s link show dev hypertap0"));
    }
    ping("10.9.0.8", &["-W0.1"]);
    example.finish();
    daemon.assert_ends_well();
}

#[test]
fn the_python_client_sees_captured_queries() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut command = python("hypertap.examples.ping");
        command.args(["--dns", "--route", "10.9.0.0/24", "--timeout", "30"]);
        let mut example = Peer::start(command);
        example.expect("ready: hypertap0");
        let ask = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); \
                   s.sendto(bytes.fromhex('123401000001000000000000076578616d706c65036f72670000010001'), ('8.8.8.8', 53))";
        // Without any route to it, a query has nowhere to go but into the tunnel.
        assert!(output(Command::new("python3").args(["-c", ask])).status.success());
        let line = example.line().expect("it goes on");
        assert!(line.starts_with("dns: example.org") && line.contains("8.8.8.8"), "{line}");
        drop(daemon);
    });
}
