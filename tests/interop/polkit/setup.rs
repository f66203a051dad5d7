//! A machine with polkit on it: the packages, the bus, and our program as it is installed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use hypertap_tests::daemon::binary;
use hypertap_tests::debian::unpacked;
use hypertap_tests::eventually;
use hypertap_tests::machine::{replace_file, run, scratch};
use hypertap_tests::namespaces::needs_root;

/// Where the action in `packaging/` says that the program is.
pub const PROGRAM: &str = "/usr/local/bin/hypertap";

/// Where packages keep their rules; polkitd's own has it.
const RULES: &str = "/usr/share/polkit-1/rules.d";

/// The unpacked packages. To be called outside, where there is a network.
pub fn packages() -> PathBuf {
    let names = ["polkitd", "pkexec", "libpolkit-gobject-1-0", "libpolkit-agent-1-0", "libduktape207"];
    unpacked(env!("CARGO_TARGET_TMPDIR"), "polkit", &names)
}

/// A system bus, which starts polkitd.
#[derive(Debug)]
pub struct Polkit {
    bus: Child,
}

impl Polkit {
    /// Starts them, with our program and action installed, and a rule of an administrator's.
    pub fn start(packages: &Path, rule: &str) -> Self {
        needs_root();
        install(packages, rule);
        fs::create_dir_all("/run/dbus").expect("/run is ours");
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--system", "--nofork", "--nopidfile", "--nosyslog"]);
        let polkit = Self { bus: bus.spawn().expect("dbus-daemon is installed") };
        let socket = Path::new("/run/dbus/system_bus_socket");
        eventually("the bus listens", || socket.exists());
        // Being asked for is what starts it.
        eventually("polkitd knows our action", || {
            let action = Command::new("pkaction").args(["--action-id", "org.hypertap.helper"]).output();
            action.is_ok_and(|output| output.status.success())
        });
        polkit
    }
}

impl Drop for Polkit {
    fn drop(&mut self) {
        // polkitd ends with it.
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

/// Shows `/usr` with the packages' files in it, our program and action, and the rule.
fn install(packages: &Path, rule: &str) {
    let ours = scratch("usr");
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let put = |path: &str, content: &[u8], mode: u32| {
        let to = ours.join(path);
        fs::create_dir_all(to.parent().expect("a folder")).expect("the folder is ours");
        fs::write(&to, content).expect("the folder is ours");
        fs::set_permissions(&to, Permissions::from_mode(mode)).expect("it is ours");
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository");
    let action = repository.join("packaging/polkit/org.hypertap.helper.policy");
    put("share/polkit-1/actions/org.hypertap.helper.policy", &read(&action), 0o644);
    // As the package's installation script does it.
    put("bin/pkexec", &read(&packages.join("usr/bin/pkexec")), 0o4755);
    // The machine's own one is of no use to an ordinary user's tests: there its owner is not root.
    let launcher = "lib/dbus-1.0/dbus-daemon-launch-helper";
    put(launcher, &read(&Path::new("/usr").join(launcher)), 0o4755);
    put("local/bin/hypertap", b"", 0o755);
    let layers = format!("lowerdir={}:{}:/usr", ours.display(), packages.join("usr").display());
    run("mount", &["-t", "overlay", "-o", &layers, "overlay", "/usr"]);
    run("mount", &["--bind".as_ref(), binary().as_os_str(), PROGRAM.as_ref()]);
    // The machine's own rules are its own administrator's business, and may be closed to us.
    for folder in ["/etc/polkit-1", RULES] {
        if Path::new(folder).exists() {
            run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", folder]);
        }
    }
    // pkexec goes to root's home, which is closed to the tests of an ordinary user.
    if fs::read_dir("/root").is_err() {
        run("mount", &["-t", "tmpfs", "tmpfs", "/root"]);
    }
    fs::write(Path::new(RULES).join("10-test.rules"), rule).expect("the folder is ours");
    let users = fs::read_to_string("/etc/passwd").expect("a machine has users");
    if !users.lines().any(|line| line.starts_with("polkitd:")) {
        replace_file("/etc/passwd", &format!("{users}polkitd:x:996:996::/:/usr/sbin/nologin\n"));
        let groups = fs::read_to_string("/etc/group").expect("a machine has groups");
        replace_file("/etc/group", &format!("{groups}polkitd:x:996:\n"));
    }
}
