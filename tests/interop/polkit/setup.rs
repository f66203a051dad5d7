//! A machine with polkit on it: the packages, the bus, and our program as it is installed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use hypertap_tests::daemon::binary;
use hypertap_tests::eventually;
use hypertap_tests::machine::{replace_file, run, scratch};
use hypertap_tests::namespaces::needs_root;

/// Where the action in `packaging/` says that the program is.
pub const PROGRAM: &str = "/usr/local/bin/hypertap";

/// The unpacked packages. To be called outside, where there is a network.
pub fn packages() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("polkit");
    let root = folder.join("root");
    if !root.exists() {
        fs::create_dir_all(&folder).expect("the target folder is ours");
        let names = "polkitd pkexec libpolkit-gobject-1-0 libpolkit-agent-1-0 libduktape207";
        let script = format!(
            "rm -rf *.deb unpacking && apt-get download {names} && mkdir unpacking \
             && for deb in *.deb; do dpkg -x $deb unpacking || exit; done && mv unpacking root"
        );
        let output = Command::new("sh").args(["-c", &script]).current_dir(&folder).output().expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cannot fetch Debian's polkit: {said}");
    }
    root
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
    put("local/bin/hypertap", b"", 0o755);
    put("share/polkit-1/rules.d/10-test.rules", rule.as_bytes(), 0o644);
    let layers = format!("lowerdir={}:{}:/usr", ours.display(), packages.join("usr").display());
    run("mount", &["-t", "overlay", "-o", &layers, "overlay", "/usr"]);
    run("mount", &["--bind".as_ref(), binary().as_os_str(), PROGRAM.as_ref()]);
    if Path::new("/etc/polkit-1").exists() {
        // The machine's own rules are for its own administrator's business.
        run("mount", &["-t", "tmpfs", "tmpfs", "/etc/polkit-1"]);
    }
    let users = fs::read_to_string("/etc/passwd").expect("a machine has users");
    if !users.lines().any(|line| line.starts_with("polkitd:")) {
        replace_file("/etc/passwd", &format!("{users}polkitd:x:996:996::/:/usr/sbin/nologin\n"));
        let groups = fs::read_to_string("/etc/group").expect("a machine has groups");
        replace_file("/etc/group", &format!("{groups}polkitd:x:996:\n"));
    }
}
