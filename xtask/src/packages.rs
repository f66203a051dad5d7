//! The programs that the system tests need, from Debian's packages where they are missing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};

use crate::process::{command, is_on_path, output, run as run_command};
use crate::rights::{check_ordinary_user, is_root};

/// A program, the package that has it, and who needs it.
struct Need {
    program: &'static str,
    package: &'static str,
    reason: &'static str,
}

/// Never systemd-resolved: installing it replaces the machine's resolver.
const NEEDS: &[Need] = &[
    Need {
        program: "gcc",
        package: "gcc",
        reason: "links the binary and builds the reference programs in C",
    },
    Need { program: "g++", package: "g++", reason: "system tests read the C library's header as C++" },
    Need { program: "pkg-config", package: "pkg-config", reason: "system tests find the C library with it" },
    Need {
        program: "ip",
        package: "iproute2",
        reason: "system tests make namespaces and compare dumps of rules and routes",
    },
    Need { program: "ping", package: "iputils-ping", reason: "system tests ask through the tunnel" },
    Need { program: "iperf3", package: "iperf3", reason: "system tests load the tunnel with real TCP" },
    Need { program: "tcpdump", package: "tcpdump", reason: "system tests look at what is on the wire" },
    Need { program: "python3", package: "python3", reason: "the Python client" },
    Need {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
        reason: "system tests boot guests, unmodified, from its network card",
    },
    Need { program: "dnsmasq", package: "dnsmasq-base", reason: "gives such guests addresses and files" },
    Need { program: "dig", package: "bind9-dnsutils", reason: "asks a node for its names" },
    Need { program: "nft", package: "nftables", reason: "loses packets of a test's own wire" },
    Need { program: "curl", package: "curl", reason: "gets a page from a service by its name" },
    Need { program: "openvpn", package: "openvpn", reason: "runs through the shim" },
    Need { program: "openssl", package: "openssl", reason: "makes the certificates that openvpn needs" },
    Need { program: "tincd", package: "tinc", reason: "runs through the shim" },
    Need { program: "socat", package: "socat", reason: "runs through the shim" },
    Need {
        program: "go",
        package: "golang-go",
        reason: "a program in Go runs through the shim, and a node meets a peer on go-libp2p",
    },
    Need {
        program: "psql",
        package: "postgresql",
        reason: "PostgreSQL is asked through a service; no server of it is started on the machine",
    },
    Need { program: "redis-check-rdb", package: "redis-tools", reason: "Redis is asked through a service" },
    Need { program: "dropbear", package: "dropbear-bin", reason: "ssh logs in through a service" },
    Need { program: "ssh", package: "openssh-client", reason: "ssh logs in through a service" },
    Need {
        program: "dbus-daemon",
        package: "dbus",
        reason: "system tests run a private bus for the resolver and polkit",
    },
];

/// What only an ordinary user lacks.
const USERS: Need = Need {
    program: "newuidmap",
    package: "uidmap",
    reason: "tests act as several users in a user namespace of yours",
};

/// The compiler of the Java client; any of this version or newer will do.
const JAVA: Need = Need { program: "javac", package: "openjdk-17-jdk-headless", reason: "the Java client" };
const JAVA_VERSION: u32 = 17;

/// Package lists older than this are fetched anew.
const LISTS_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Installs what is missing, as root on a Debian machine; tells an ordinary user what the machine lacks.
///
/// # Errors
/// Something is missing and cannot be installed; the message says what and why it is needed.
pub(crate) fn run() -> Result<()> {
    install()?;
    if is_root() { Ok(()) } else { check_ordinary_user() }
}

fn install() -> Result<()> {
    let missing = missing();
    if is_on_path("apt-get") && is_root() && !lists_are_fresh() {
        // A test fetches systemd-resolved's package, to unpack and not to install it. Where the
        // archive cannot be reached, that test says so, unless it was told where to find one.
        if let Err(error) = run_command(apt_get().arg("update")) {
            println!("{error:#}");
        }
    }
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    for need in &missing {
        println!("missing: {} (package {}): {}", need.program, need.package, need.reason);
    }
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    let packages_text = packages.join(" ");
    if !is_on_path("apt-get") {
        bail!("programs are missing: install what your system has in place of Debian's {packages_text}");
    }
    if !is_root() {
        bail!("programs are missing: run `sudo apt-get install --no-install-recommends {packages_text}`");
    }
    let install =
        || run_command(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&packages));
    if install().is_err() {
        // Lists can be outrun by the archive within days.
        run_command(apt_get().arg("update"))?;
        install()?;
    }
    let missing: Vec<_> = self::missing().iter().map(|need| need.program).collect();
    if !missing.is_empty() {
        bail!("still missing after apt-get install {packages_text}: {}", missing.join(" "));
    }
    Ok(())
}

fn missing() -> Vec<&'static Need> {
    let mut missing: Vec<_> = NEEDS.iter().filter(|need| !is_on_path(need.program)).collect();
    if !is_java_there() {
        missing.push(&JAVA);
    }
    if !is_root() && !is_on_path(USERS.program) {
        missing.push(&USERS);
    }
    missing
}

/// Whether PATH has a Java compiler that is new enough, and the `java` beside it.
fn is_java_there() -> bool {
    let version = output(command(JAVA.program).arg("-version"));
    is_on_path("java") && version.is_ok_and(|text| java_version(&text).is_some_and(|v| v >= JAVA_VERSION))
}

/// The feature number in `javac 17.0.15`, `javac 25`, or `javac 22-ea`.
fn java_version(text: &str) -> Option<u32> {
    let version = text.trim().strip_prefix("javac ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn apt_get() -> std::process::Command {
    let mut apt_get = command("apt-get");
    apt_get.args(["-o", "Acquire::Retries=10"]);
    apt_get.env("DEBIAN_FRONTEND", "noninteractive");
    // Packages with services start none of them (invoke-rc.d(8)).
    apt_get.env("RUNLEVEL", "1");
    apt_get
}

fn lists_are_fresh() -> bool {
    let lists = Path::new("/var/lib/apt/lists");
    let has_lists = std::fs::read_dir(lists).is_ok_and(|mut entries| {
        entries
            .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("_Packages")))
    });
    let changed = lists.metadata().and_then(|metadata| metadata.modified());
    has_lists
        && changed
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < LISTS_MAX_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_java_version_is_its_first_number() {
        assert_eq!(java_version("javac 17.0.15\n"), Some(17));
        assert_eq!(java_version("javac 25"), Some(25));
        assert_eq!(java_version("javac 22-ea"), Some(22));
        assert_eq!(java_version("javac 1.8.0_402"), Some(1));
        assert_eq!(java_version("java 17"), None);
    }

    #[test]
    fn no_package_replaces_the_machines_resolver() {
        assert!(NEEDS.iter().all(|need| !need.package.contains("resolv") && need.package != "systemd"));
    }
}
