//! The tap clients in each form (Rust, Rust on tokio, C, Python, Python on asyncio) with the real server, and the
//! interfaces that they make themselves: each form's example plays a machine that answers ARP and pings.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hypertap_tests::daemon::binary;
use hypertap_tests::frame::frame;
use hypertap_tests::machine::{
    device_towards, executable_by_all, ip_json, is_link, output, ping, run, scratch, without_ipv6,
};
use hypertap_tests::peer::STRANGER;
use hypertap_tests::program::Program as _;
use hypertap_tests::tap::{FrameClient, Wire, start};
use hypertap_tests::{Daemon, Peer, eventually, in_namespaces, in_namespaces_within};
use nix::sys::signal::Signal;

/// How long a test that runs all forms may take.
const LONG: Duration = Duration::from_secs(120);

/// Whom the examples play.
const STATION: &str = "172.30.0.2";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Rust,
    RustAsync,
    C,
    Python,
    PythonAsync,
}

const FORMS: [Form; 5] = [Form::Rust, Form::RustAsync, Form::C, Form::Python, Form::PythonAsync];

impl Form {
    /// The form's example, with these words.
    #[track_caller]
    fn example(self, words: &[&str]) -> Command {
        let mut command = match self {
            Self::Rust => Command::new(built("examples/tap_answer")),
            Self::RustAsync => Command::new(built("examples/tap_answer_async")),
            Self::C => Command::new(c_example()),
            Self::Python => python("hypertap.examples.tap_answer"),
            Self::PythonAsync => python("hypertap.examples.tap_answer_async"),
        };
        command.args(words);
        command
    }

    /// An example that makes its interface itself, with `hypertap` from PATH.
    #[track_caller]
    fn opening(self, words: &[&str]) -> Command {
        let mut command = self.example(&[&["--open"], words].concat());
        command.env("PATH", path());
        command
    }
}

/// PATH with the binary's folder before all others.
fn path() -> String {
    let folder = binary().parent().expect("a file is in a folder").to_owned();
    format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default())
}

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository").join(path)
}

/// What cargo built beside the tests.
#[track_caller]
fn built(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own file");
    let file = test.ancestors().nth(2).expect("it is in a target folder").join(name);
    let how = "cargo build -p hypertap-capi && cargo build -p hypertap-client --examples";
    assert!(file.is_file(), "{} is missing: run `{how}` first", file.display());
    file
}

/// The example in C.
#[track_caller]
fn c_example() -> PathBuf {
    compiled("arp_answer", &repository("crates/capi/examples/arp_answer.c"))
}

/// A program in C with the library, compiled once a test.
#[track_caller]
fn compiled(name: &str, source: &Path) -> PathBuf {
    let program = scratch(name);
    if !program.exists() {
        let words = ["-Wall", "-Wextra", "-Werror", "-std=c99", "-o"].map(Into::into);
        let files = [
            program.clone().into_os_string(),
            source.as_os_str().to_owned(),
            "-I".into(),
            repository("crates/capi/include").into_os_string(),
            built("libhypertap.a").into_os_string(),
        ];
        let libraries = ["-lpthread", "-ldl", "-lm"].map(Into::into);
        run("gcc", &words.into_iter().chain(files).chain(libraries).collect::<Vec<_>>());
    }
    program
}

fn python(module: &str) -> Command {
    let mut python = Command::new("python3");
    // No byte code is left in the repository.
    python.env("PYTHONPATH", repository("clients/python/src")).args(["-B", "-m", module]);
    python
}

/// A server at a path, and a connected example.
#[track_caller]
fn served(form: Form, server: &[&str], words: &[&str]) -> (Daemon, Peer) {
    let path = scratch("tap");
    let listen = format!("--listen={}", path.display());
    let server = start(&[&[listen.as_str()], server].concat());
    let connect = ["--connect", path.to_str().expect("ours")];
    let mut example = Peer::start(form.example(&[&connect, words].concat()));
    example.expect("ready: connected");
    wait_for_interface();
    (server, example)
}

/// A server makes the interface once somebody has connected, who is not told.
#[track_caller]
fn wait_for_interface() {
    eventually("the server has made its interface", || device_towards(STATION).as_deref() == Some("tap0"));
}

#[test]
fn every_form_answers_through_a_server() {
    in_namespaces_within(LONG, || {
        for form in FORMS {
            let words = ["--count", "2", "--timeout", "20"];
            let (mut server, example) = served(form, &["--use-framed-protocol"], &words);
            for _ in 0..2 {
                assert!(ping(STATION, &[]), "{form:?}:\n{}", server.log());
            }
            example.finish();
            server.assert_ends_well();
            assert!(!is_link("tap0"), "{form:?}");
        }
    });
}

#[test]
fn every_framing_is_spoken() {
    in_namespaces_within(LONG, || {
        for form in [Form::Rust, Form::RustAsync, Form::Python] {
            for framing in ["le16", "qemu", "unframed"] {
                let words = ["--framing", framing, "--count", "1", "--timeout", "20"];
                let (mut server, example) = served(form, &["--framing", framing], &words);
                assert!(ping(STATION, &[]), "{form:?} {framing}:\n{}", server.log());
                example.finish();
                server.assert_ends_well();
            }
        }
    });
}

#[test]
fn a_server_is_reached_over_tcp() {
    in_namespaces(|| {
        for form in [Form::Rust, Form::C, Form::PythonAsync] {
            let mut server = start(&["--listen=5600", "--use-framed-protocol"]);
            let mut example =
                Peer::start(form.example(&["--connect", "5600", "--count", "1", "--timeout", "20"]));
            example.expect("ready: connected");
            wait_for_interface();
            assert!(ping(STATION, &[]), "{form:?}:\n{}", server.log());
            example.finish();
            server.assert_ends_well();
        }
    });
}

#[test]
fn an_interface_that_is_opened_is_there_at_once_and_gone_with_the_end() {
    in_namespaces_within(LONG, || {
        for form in FORMS {
            let words = ["--name", "lan7", "--count", "1", "--timeout", "20"];
            let mut example = Peer::start(form.opening(&words));
            example.expect("ready: lan7");
            let shown = ip_json("addr show dev lan7").to_string();
            assert!(shown.contains(r#""local":"172.30.0.1","prefixlen":24"#), "{form:?}: {shown}");
            assert!(shown.contains(r#""UP""#), "{form:?}: {shown}");
            assert!(ping(STATION, &[]), "{form:?}");
            example.finish();
            assert!(!is_link("lan7"), "{form:?} left its interface");
        }
    });
}

#[test]
fn a_program_that_is_killed_loses_its_interface() {
    in_namespaces_within(LONG, || {
        for form in FORMS {
            let mut example = Peer::start(form.opening(&["--timeout", "20"]));
            example.expect("ready: tap0");
            assert!(is_link("tap0"));
            // A SIGKILL.
            drop(example);
            eventually("the interface is gone", || !is_link("tap0"));
        }
    });
}

#[test]
fn two_interfaces_that_are_opened_have_addresses_of_their_own() {
    in_namespaces(|| {
        let mut examples = [(); 2].map(|()| Peer::start(Form::Rust.opening(&["--timeout", "20"])));
        let macs = examples.each_mut().map(|example| {
            let name = example.line().and_then(|line| line.strip_prefix("ready: ").map(str::to_owned));
            let name = name.expect("it has one");
            ip_json(&format!("link show dev {name}"))[0]["address"].to_string()
        });
        assert_ne!(macs[0], macs[1]);
    });
}

#[test]
fn nothing_in_time_is_no_error_of_the_interface() {
    in_namespaces_within(LONG, || {
        without_ipv6();
        for form in FORMS {
            assert_fails(form, form.opening(&["--timeout", "1"]), "nothing came in time");
            assert!(!is_link("tap0"), "{form:?} left its interface");
        }
    });
}

#[test]
fn an_absent_server_is_told_with_the_remedy() {
    in_namespaces_within(LONG, || {
        for form in FORMS {
            let command = form.example(&["--connect", "/run/test/absent"]);
            assert_fails(form, command, "sudo hypertap tap --listen=/run/test/absent");
        }
    });
}

#[test]
fn an_interface_that_cannot_be_made_is_told_in_the_programs_words() {
    in_namespaces_within(LONG, || {
        for form in FORMS {
            let wanted = "cannot make the interface: an interface named lo exists already; choose another";
            assert_fails(form, form.opening(&["--name", "lo"]), wanted);
            assert_fails(form, form.opening(&["--program", "/nowhere/hypertap"]), "install hypertap");
        }
    });
}

/// What stands in the page between fences of that language.
fn samples(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks.filter_map(|block| Some(block.split_once("```")?.0.to_owned())).collect()
}

#[test]
fn the_samples_of_the_page_say_hello_and_print_what_comes() {
    in_namespaces_within(LONG, || {
        let read = |path: &str| fs::read_to_string(repository(path)).expect("it is in the repository");
        let page = read("docs/tap-libraries.md");
        let ours = ["tap_page", "tap_page_async"];
        let files = ours.map(|name| read(&format!("crates/client/examples/{name}.rs")));
        assert_eq!(samples(&page, "rust"), files);
        let mut programs: Vec<Command> =
            ours.iter().map(|name| Command::new(built(&format!("examples/{name}")))).collect();
        let c = scratch("hello.c");
        fs::write(&c, &samples(&page, "c")[0]).expect("the folder is ours");
        programs.push(Command::new(compiled("hello", &c)));
        let in_python = samples(&page, "python");
        assert_eq!(in_python.len(), 2);
        programs.extend(in_python.iter().map(|text| {
            let mut python = Command::new("python3");
            python.env("PYTHONPATH", repository("clients/python/src")).args(["-B", "-c", text]);
            python
        }));
        for mut program in programs {
            let path = scratch("socket");
            let listen = format!("--listen={},framing=le16", path.display());
            let mut server = start(&[listen.as_str(), "--no-host", "--keep", "--max-clients=2"]);
            let station = FrameClient::unix(&path, Wire::Le16);
            program.arg(&path);
            let mut sample = Peer::start(program);
            let hello = station.expect_frame("hello", |frame| frame.ends_with(b"\x88\xb5hello"));
            assert_eq!(hello, frame([0xff; 6], [2, 0, 0, 0, 0, 2], 0x88b5, b"hello"));
            station.send(&frame([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 3], 0x88b5, b"hello, too"));
            assert!(sample.line().is_some_and(|line| line.starts_with("came: ")));
            server.signal(Signal::SIGTERM);
            server.assert_ends_well();
            assert_eq!(sample.finish(), [""; 0]);
        }
    });
}

/// Opens an interface of this MTU, name, MAC and IPv4 address, `-` where nothing is said, and prints the number.
const OPEN: &str = "
#include <hypertap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text(const char *word)
{
    return strcmp(word, \"-\") ? word : NULL;
}

int main(int argc, char **argv)
{
    struct hypertap_tap_options options;
    struct hypertap_tap *tap;
    if (argc != 5)
        return 1;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.mtu = (unsigned int)atoi(argv[1]);
    options.name = text(argv[2]);
    options.mac = text(argv[3]);
    options.ipv4 = text(argv[4]);
    printf(\"%d\\n\", hypertap_tap_open(&tap, &options, NULL, 0));
    hypertap_tap_close(tap);
    return 0;
}
";

/// A program as one starts it who wants to hear of no child.
fn ignoring_children(program: &Path) -> Command {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(program);
    command
}

#[test]
fn c_is_told_by_number_why_an_interface_cannot_be_made() {
    in_namespaces_within(LONG, || {
        let source = scratch("open.c");
        fs::write(&source, OPEN).expect("the folder is ours");
        let program = compiled("open", &source);
        for (words, code) in [
            (["5", "-", "-", "-"], "-1\n"),
            (["0", "a b/c", "-", "-"], "-1\n"),
            (["0", "-", "01:00:00:00:00:01", "-"], "-1\n"),
            (["0", "-", "-", "10.0.0.1/99"], "-1\n"),
            (["0", "lo", "-", "-"], "-13\n"),
            (["9000", "lan0", "02:00:00:00:00:01", "10.0.0.1/24"], "0\n"),
        ] {
            for mut command in [Command::new(&program), ignoring_children(&program)] {
                let ran = output(command.args(words).env("PATH", path()));
                assert_eq!(String::from_utf8_lossy(&ran.stdout), code, "{words:?}");
            }
        }
    });
}

#[test]
fn who_has_no_right_is_told_which() {
    in_namespaces(|| {
        let mut command = Command::new(executable_by_all(&built("examples/tap_answer")));
        command.args(["--open", "--program"]).arg(binary()).uid(STRANGER).gid(STRANGER);
        assert_fails(Form::Rust, command, "making an interface needs CAP_NET_ADMIN");
    });
}

#[test]
fn a_server_that_is_killed_is_told() {
    in_namespaces_within(LONG, || {
        without_ipv6();
        for form in FORMS {
            let path = scratch("tap");
            let listen = format!("--listen={}", path.display());
            let mut server = start(&[listen.as_str(), "--use-framed-protocol"]);
            let mut command = form.example(&["--connect", path.to_str().expect("ours"), "--timeout", "20"]);
            let log = scratch("errors");
            command.stderr(fs::File::create(&log).expect("the folder is ours"));
            let mut example = Peer::start(command);
            example.expect("ready: connected");
            server.kill();
            assert_eq!(example.rest(), [""; 0]);
            let said = || fs::read_to_string(&log).expect("the folder is ours");
            eventually("it says so", || said().contains("the server closed the connection"));
        }
    });
}

#[track_caller]
fn assert_fails(form: Form, mut command: Command, wanted: &str) {
    let ran = output(&mut command);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{form:?}: {said}");
    assert!(said.contains(wanted), "{form:?}: {said}");
}
