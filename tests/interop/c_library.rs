//! The library as a C program has it: installed, found with pkg-config, linked either way.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The crate of the library.
const CAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/capi");
/// What installs it.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/c/install.sh");

/// Warnings are errors.
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: is it installed?"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// The folder in which cargo put the libraries.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let folder = test.ancestors().nth(2).expect("it is in a target folder").to_owned();
    let library = folder.join("libhypertap.so");
    assert!(library.is_file(), "{} is missing: run `cargo build -p hypertap-capi` first", library.display());
    folder
}

/// Where the library is to be, on a machine whose root is a folder of ours.
const PREFIX: &str = "/opt/hypertap";

/// The library, installed on such a machine.
struct Installed {
    folder: TempDir,
}

impl Installed {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let installed = Self { folder };
        installed.script("install");
        installed
    }

    fn prefix(&self) -> PathBuf {
        self.folder.path().join("opt/hypertap")
    }

    fn script(&self, word: &str) {
        let mut script = Command::new(SCRIPT);
        script.env_remove("LIBDIR").env("DESTDIR", self.folder.path());
        run(script.arg(word).env("PREFIX", PREFIX).env("BUILT", built()));
    }

    /// What pkg-config says.
    fn flags(&self, words: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(words).arg("hypertap").env("PKG_CONFIG_PATH", self.prefix().join("lib/pkgconfig"));
        command.env("PKG_CONFIG_SYSROOT_DIR", self.folder.path());
        run(&mut command).split_whitespace().map(str::to_owned).collect()
    }

    /// The example, linked so.
    fn example(&self, flags: &[String]) -> PathBuf {
        let program = self.folder.path().join("arp_answer");
        let mut gcc = Command::new("gcc");
        gcc.args(STRICT).arg("-std=c99").arg(Path::new(CAPI).join("examples/arp_answer.c"));
        run(gcc.args(flags).arg("-o").arg(&program));
        program
    }

    fn compile(&self, compiler: &str, standard: &str, language: &str, source: &str) {
        let file = self.folder.path().join("source");
        fs::write(&file, source).expect("it is ours");
        let mut command = Command::new(compiler);
        command.args(STRICT).args([standard, "-fsyntax-only", "-x", language]).arg(&file);
        run(command.args(self.flags(&["--cflags"])));
    }
}

const SOURCE: &str = "#include <hypertap.h>
#include <hypertap.h>
int main(void)
{
    struct hypertap_tap *tap;
    return hypertap_tap_connect(&tap, \"/tmp/tap\", 0, 0, 0) == HYPERTAP_E_CONNECT;
}
";

#[test]
fn the_header_is_clean_in_the_oldest_c_and_in_cpp() {
    let installed = Installed::new();
    installed.compile("gcc", "-std=c89", "c", SOURCE);
    for standard in ["-std=c++98", "-std=c++20"] {
        installed.compile("g++", standard, "c++", SOURCE);
    }
}

#[test]
fn the_libraries_have_the_calls_of_the_header_and_no_other() {
    let header = fs::read_to_string(Path::new(CAPI).join("include/hypertap.h")).expect("it is ours");
    let mut wanted: Vec<&str> = header
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '('))
        .filter_map(|word| word.split_once('(').map(|(name, _)| name))
        .filter(|name| name.starts_with("hypertap_"))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let symbols = run(Command::new("nm").args(["-D", "--defined-only"]).arg(built().join("libhypertap.so")));
    let mut found: Vec<&str> = symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    found.sort_unstable();
    assert_eq!(found, wanted);
}

#[test]
fn what_is_installed_is_removed_again_and_has_its_name_and_number() {
    let installed = Installed::new();
    let library = installed.prefix().join("lib/libhypertap.so");
    let said = run(Command::new("objdump").arg("-p").arg(&library));
    assert!(said.contains("SONAME               libhypertap.so.0"), "{said}");
    assert_eq!(installed.flags(&["--modversion"]), [env!("CARGO_PKG_VERSION")]);
    installed.script("uninstall");
    let left = run(Command::new("find").arg(installed.prefix()).args(["-not", "-type", "d"]));
    assert_eq!(left, "");
}

#[test]
fn the_example_answers_for_its_address_with_the_shared_library() {
    let installed = Installed::new();
    let program = installed.example(&installed.flags(&["--cflags", "--libs"]));
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", installed.prefix().join("lib"));
    answers(&installed, command);
}

#[test]
fn the_example_answers_for_its_address_with_the_static_library() {
    let installed = Installed::new();
    let lib = installed.prefix().join("lib");
    for entry in fs::read_dir(&lib).expect("it is installed").flatten() {
        if entry.file_name().to_string_lossy().contains(".so") {
            fs::remove_file(entry.path()).expect("it is ours");
        }
    }
    let program = installed.example(&installed.flags(&["--static", "--cflags", "--libs"]));
    answers(&installed, Command::new(program));
}

/// Where the machine on the other side is.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OURS: [u8; 4] = [172, 30, 0, 1];
const THEIRS: [u8; 4] = [172, 30, 0, 2];

/// Plays the server: asks the example for its address, pings it, and goes.
fn answers(installed: &Installed, mut command: Command) {
    let path = installed.folder.path().join("tap");
    let listener = UnixListener::bind(&path).expect("a path of ours");
    command.arg("--connect").arg(&path).args(["--count", "1", "--timeout", "10"]);
    let mut example = Running(command.stdout(Stdio::null()).spawn().expect("it is a program"));
    let (mut socket, _) = listener.accept().expect("it connects");

    let request = [&[0xff; 6][..], &MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &MAC, &OURS, &[0; 6], &THEIRS];
    send(&mut socket, &request.concat());
    let answer = receive(&mut socket);
    let theirs = [2, 0, 0, 0, 0, 2];
    let wanted = [&MAC[..], &theirs, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &theirs, &THEIRS, &MAC, &OURS];
    assert_eq!(answer, wanted.concat());

    let icmp = |kind: u8, sum: [u8; 2]| [&[kind, 0][..], &sum, &[0, 1, 0, 2]].concat();
    let ip =
        |from: [u8; 4], to: [u8; 4]| [&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0][..], &from, &to].concat();
    let ping = [&theirs[..], &MAC, &[8, 0], &ip(OURS, THEIRS), &icmp(8, [0xf7, 0xfc])].concat();
    send(&mut socket, &ping);
    let wanted = [&MAC[..], &theirs, &[8, 0], &ip(THEIRS, OURS), &icmp(0, [0xff, 0xfc])].concat();
    assert_eq!(receive(&mut socket), wanted);
    assert!(example.0.wait().expect("it is our child").success());
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(socket: &mut UnixStream, frame: &[u8]) {
    let length = u16::try_from(frame.len()).expect("short").to_le_bytes();
    socket.write_all(&[&length, frame].concat()).expect("the example reads");
}

fn receive(socket: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 2];
    socket.read_exact(&mut length).expect("it answers");
    let mut frame = vec![0; usize::from(u16::from_le_bytes(length))];
    socket.read_exact(&mut frame).expect("the whole frame");
    frame
}
