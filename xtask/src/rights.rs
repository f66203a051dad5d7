//! Root for the tests: the machine's, or that of a user namespace of one's own.
//!
//! The tests make namespaces, give files away and start programs as other users. An ordinary user may do
//! all of that in a user namespace which holds the user's subordinate ids (subuid(5)); newuidmap(1), of
//! Debian's uidmap, maps them. What stays the machine's: control groups, and devices. A TUN device that is
//! closed to the user is replaced by the one that `HYPERTAP_TEST_TUN` names.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{cargo, command, output, run};

const TUN: &str = "/dev/net/tun";
const OTHER_TUN: &str = "HYPERTAP_TEST_TUN";

/// Whether this is the machine's root, or that of a container.
pub(crate) fn is_root() -> bool {
    output(command("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// Runs cargo so that the programs which it starts are root, one way or the other.
///
/// # Errors
/// As [`run`].
pub(crate) fn cargo_as_root(words: &[&str], network: Network) -> Result<()> {
    if is_root() {
        return run(cargo().args(words));
    }
    run(&mut as_root(cargo().args(words), network))
}

/// Runs cargo as the user whom we are, unless the device is another than that user would find.
///
/// # Errors
/// As [`run`].
pub(crate) fn cargo_with_device(words: &[&str]) -> Result<()> {
    if std::env::var_os(OTHER_TUN).is_some() {
        cargo_as_root(words, Network::Machines)
    } else {
        run(cargo().args(words))
    }
}

/// Which network an ordinary user's tests are in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// The machine's, of which they are not root. From there they may fetch packages.
    Machines,
    /// One of their own that has a loopback only, and where they may do everything.
    Own,
}

/// The same command in a user namespace, where the other device, if there is one, is in place.
fn as_root(inner: &Command, network: Network) -> Command {
    let mut outer = command("unshare");
    outer.args(["--user", "--map-root-user", "--map-auto", "--mount"]);
    let mut steps = vec![r#"exec "$@""#.to_owned()];
    if std::env::var_os(OTHER_TUN).is_some() {
        steps.insert(0, format!(r#"mount --bind "${OTHER_TUN}" {TUN}"#));
    }
    if network == Network::Own {
        outer.arg("--net");
        steps.insert(0, "ip link set lo up".to_owned());
    }
    outer.args(["--", "sh", "-c", &steps.join(" && "), "sh"]);
    outer.arg(inner.get_program()).args(inner.get_args());
    outer
}

/// Tries what the tests of an ordinary user need of the machine.
///
/// # Errors
/// It is not there; the message says what to do.
pub(crate) fn check_ordinary_user() -> Result<()> {
    let device = std::env::var_os(OTHER_TUN).map_or_else(|| TUN.into(), PathBuf::from);
    OpenOptions::new().read(true).write(true).open(&device).with_context(|| {
        format!(
            "the tests cannot open {}: run `sudo chmod 0666 {TUN}`, or have one made for them with \
             `sudo mknod --mode=0666 FILE c 10 200` and set {OTHER_TUN}=FILE",
            device.display()
        )
    })?;
    output(&mut as_root(&command("true"), Network::Own)).map(drop).context(
        "the tests cannot have a user namespace with several users: it takes a kernel that lets ordinary users \
         make one, util-linux 2.38, and ids of yours in /etc/subuid and /etc/subgid \
         (`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 YOU`)",
    )
}
