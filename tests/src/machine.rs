//! The machine that a test has for itself: its programs, links and neighbours.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::namespaces::{SCRATCH, end_within};
use crate::peer::Peer;

/// How long a tool may take.
const TIME: Duration = Duration::from_secs(30);

/// Runs a program to its end and yields what it said.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}: is it installed?"));
    // What these tools say fits the pipe, so waiting first is safe.
    assert!(end_within(&mut child, TIME).is_some(), "{command:?} did not end within {TIME:?}");
    child.wait_with_output().expect("its pipes can be read")
}

/// Runs a program that must succeed and yields its standard output.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> String {
    let mut command = Command::new(program);
    let output = output(command.args(args));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out
}

/// Runs `ip` with the words of `args`; it must succeed.
#[track_caller]
pub fn ip(args: &str) -> String {
    run("ip", &args.split_whitespace().collect::<Vec<_>>())
}

/// What `ip -j` says.
#[track_caller]
pub fn ip_json(args: &str) -> Value {
    let text = ip(&format!("-j {args}"));
    if text.trim().is_empty() {
        Value::Array(Vec::new())
    } else {
        serde_json::from_str(&text).expect("ip writes JSON")
    }
}

/// Through which device the kernel would send to `address` (ip-route(8), `get`); `None` where it has
/// no route.
pub fn device_towards(address: &str) -> Option<String> {
    let out = output(Command::new("ip").args(["-j", "route", "get", address]));
    let routes: Value = serde_json::from_slice(&out.stdout).ok()?;
    Some(routes.get(0)?.get("dev")?.as_str()?.to_owned())
}

/// Whether there is a link of that name.
pub fn is_link(name: &str) -> bool {
    let links = ip_json("link show");
    links.as_array().is_some_and(|links| links.iter().any(|link| link["ifname"] == name))
}

/// Whether there is a link with this name that is up. One of ours is set up last.
pub fn is_up(name: &str) -> bool {
    let links = ip_json("link show up");
    links.as_array().is_some_and(|links| links.iter().any(|link| link["ifname"] == name))
}

/// Makes a link that is up and leads nowhere: one half of a pair, without addresses of its own.
#[track_caller]
pub fn add_link(name: &str) {
    ip(&format!("link add {name} type veth peer name {name}-far"));
    for half in [name, &format!("{name}-far")] {
        ip(&format!("link set {half} addrgenmode none"));
        ip(&format!("link set {half} up"));
    }
}

/// Nothing but what a test sends shall come out of links that are made from now on.
#[track_caller]
pub fn without_ipv6() {
    for which in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
        fs::write(path, "1").expect("the namespace is ours");
    }
}

/// Whether one ping to `address` is answered in time.
pub fn ping(address: &str, options: &[&str]) -> bool {
    output(Command::new("ping").args(["-n", "-c1", "-W5"]).args(options).arg(address)).status.success()
}

/// A path in the test's own folder.
pub fn scratch(name: &str) -> PathBuf {
    PathBuf::from(SCRATCH).join(name)
}

/// A program where every user can execute it: a copy in the test's own folder, if it was built in a folder
/// that is closed to others.
pub fn executable_by_all(built: &Path) -> PathBuf {
    let is_open = |folder: &Path| fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o001 != 0);
    let copy = scratch(&built.file_name().expect("it is a file").to_string_lossy());
    if built.ancestors().skip(1).all(is_open) || !Path::new(SCRATCH).is_dir() {
        return built.to_owned();
    }
    if !copy.exists() {
        fs::copy(built, &copy).expect("the folder is ours");
    }
    copy
}

/// Shows `content` in the place of a file of the machine, to this test only.
pub fn replace_file(path: &str, content: &str) {
    let ours = scratch(&path.replace('/', "_"));
    fs::write(&ours, content).expect("the folder is ours");
    run("mount", &["--bind".as_ref(), ours.as_os_str(), path.as_ref()]);
}

/// The kernel's TUN device.
const DEVICE: &str = "/dev/net/tun";

/// Whether every user may open the TUN device, as most distributions have it.
#[track_caller]
pub fn is_device_open() -> bool {
    let mode = fs::metadata(DEVICE).expect("a test with a daemon has one").permissions().mode();
    mode & 0o006 == 0o006
}

/// Lets every user open the TUN device, in this test's sight. Where it is closed this takes the machine's
/// root.
#[track_caller]
pub fn open_device() {
    if is_device_open() {
        return;
    }
    let folder = scratch("device");
    fs::create_dir_all(&folder).expect("the folder is ours");
    run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "none".as_ref(), folder.as_os_str()]);
    let open = folder.join("tun");
    run(
        "mknod",
        &["-m".as_ref(), "666".as_ref(), open.as_os_str(), "c".as_ref(), "10".as_ref(), "200".as_ref()],
    );
    run("mount", &["--bind".as_ref(), open.as_os_str(), DEVICE.as_ref()]);
}

/// A neighbour in a namespace of its own, reached over the machine's only default route: the rest
/// of the internet, as far as this machine can tell.
#[derive(Debug)]
pub struct Uplink {
    name: String,
}

/// Resolvers that the neighbour plays, one for each version of IP.
pub const RESOLVER: &str = "8.8.8.8";
/// As [`RESOLVER`].
pub const RESOLVER6: &str = "2001:4860:4860::8888";

impl Uplink {
    /// Connects the neighbour: `up0` here has 192.0.2.1 and `2001:db8::1`, it has 192.0.2.2,
    /// `2001:db8::2` and the resolvers' addresses.
    pub fn connect() -> Self {
        let name = "far".to_owned();
        ip("netns add far");
        ip("link add up0 type veth peer name far0 netns far");
        ip("link set up0 addrgenmode none");
        for (family, ours, theirs, resolver) in [
            ("-4", "192.0.2.1/24", "192.0.2.2/24", RESOLVER),
            ("-6", "2001:db8::1/64", "2001:db8::2/64", RESOLVER6),
        ] {
            let nodad = if family == "-6" { "nodad" } else { "" };
            ip(&format!("{family} addr add {ours} dev up0 {nodad}"));
            ip(&format!("{family} -n far addr add {theirs} dev far0 {nodad}"));
            ip(&format!("{family} -n far addr add {resolver} dev lo {nodad}"));
        }
        ip("-n far link set lo up");
        ip("-n far link set far0 up");
        ip("link set up0 up");
        ip("route add default via 192.0.2.2 dev up0");
        ip("-6 route add default via 2001:db8::2 dev up0");
        // Links of this kind come up at once, but the addresses of IPv6 only with the carrier.
        crate::eventually("the uplink carries IPv6", || ping("2001:db8::2", &["-W1"]));
        Self { name }
    }

    /// Runs a peer in the neighbour's namespace.
    pub fn peer<S: AsRef<str>>(&self, args: &[S]) -> Peer {
        Peer::in_namespace(&self.name, args)
    }
}
