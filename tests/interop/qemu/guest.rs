//! A virtual machine that boots from its network card: QEMU, with iPXE in the card's ROM.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use std::os::unix::process::CommandExt;

use hypertap_tests::machine::scratch;
use hypertap_tests::namespaces::end_within;

use crate::BOOT_TIME;

/// A running machine. It is killed when this is dropped.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    console: PathBuf,
    capture: PathBuf,
}

/// What the machine with this number calls its network card.
pub fn mac(number: u8) -> String {
    format!("52:54:00:00:00:{number:02x}")
}

/// The words for a machine whose card is joined to `netdev`, which is called `net`. All that the card sends
/// and gets is captured, too.
pub fn words(number: u8, netdev: &str) -> Vec<OsString> {
    let capture = format!("filter-dump,id=dump,netdev=net,file={}", capture(number).display());
    let card = format!("e1000,netdev=net,mac={},bootindex=0", mac(number));
    let plain =
        ["-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-no-reboot", "-no-user-config"];
    let serial = format!("file:{}", console(number).display());
    let more = ["-vga", "none", "-serial", &serial, "-netdev", netdev, "-device", &card, "-object", &capture];
    plain.into_iter().chain(more).map(OsString::from).collect()
}

fn console(number: u8) -> PathBuf {
    scratch(&format!("console-{number}"))
}

fn capture(number: u8) -> PathBuf {
    scratch(&format!("capture-{number}"))
}

/// The emulator.
pub const PROGRAM: &str = "qemu-system-x86_64";

impl Guest {
    /// Starts a machine as [`words`] says.
    #[track_caller]
    pub fn start(number: u8, netdev: &str) -> Self {
        Self::run(number, Command::new(PROGRAM).args(words(number, netdev)))
    }

    /// The same as another user.
    #[track_caller]
    pub fn run_by(uid: u32, number: u8, netdev: &str) -> Self {
        Self::run(number, Command::new(PROGRAM).args(words(number, netdev)).uid(uid).gid(uid))
    }

    /// A machine that `command` starts.
    #[track_caller]
    pub fn run(number: u8, command: &mut Command) -> Self {
        let said = File::create(scratch(&format!("qemu-{number}"))).expect("the folder is ours");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn();
        let child = child.expect("Debian's qemu-system-x86 is installed");
        Self { child, console: console(number), capture: capture(number) }
    }

    /// Waits until the machine has done what it was told, and turned itself off.
    #[track_caller]
    pub fn ends(&mut self) {
        let status = end_within(&mut self.child, BOOT_TIME);
        let status =
            status.unwrap_or_else(|| panic!("the machine runs after {BOOT_TIME:?}: {}", self.said()));
        assert!(status.success(), "{status}: {}", self.said());
    }

    /// Fails if it has ended.
    #[track_caller]
    pub fn assert_runs(&mut self) {
        let ended = self.child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "it has ended: {ended:?}");
    }

    /// What the machine said on its serial console.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// What went over its network card, as tcpdump(8) tells it, of what `filter` lets pass.
    #[track_caller]
    pub fn frames(&self, filter: &str) -> Vec<String> {
        let mut command = Command::new("tcpdump");
        command.args(["-n", "-e", "-t", "-r"]);
        let output = command.arg(&self.capture).arg(filter).output().expect("it is installed");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- console:\n{}---", self.said());
        }
    }
}
