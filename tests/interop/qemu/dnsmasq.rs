//! A server of addresses and files for machines that boot from the network: Debian's dnsmasq.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use hypertap_tests::eventually;
use hypertap_tests::machine::scratch;

/// What a machine loads and runs first: it fetches [`BIG`], and turns itself off.
const SCRIPT: &str = "#!ipxe\nimgfetch tftp://${next-server}/big\nreboot\n";
/// A file of some hundred blocks.
const BIG: usize = 300_000;

/// The running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Dnsmasq {
    child: Child,
    log: PathBuf,
}

impl Dnsmasq {
    /// Serves on the interface `name`, whose network is 10.77.0.0/24.
    #[track_caller]
    pub fn start(name: &str) -> Self {
        let files = scratch("tftp");
        fs::create_dir_all(&files).expect("the folder is ours");
        fs::write(files.join("boot.ipxe"), SCRIPT).expect("the folder is ours");
        fs::write(files.join("big"), vec![0x5a; BIG]).expect("the folder is ours");
        let log = scratch("dnsmasq");
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--group=root",
        ]);
        command.args(["--log-facility=-", "--log-dhcp", "--leasefile-ro", "--no-ping", "--pid-file="]);
        command.args(["--bind-interfaces", "--dhcp-range=10.77.0.50,10.77.0.99,1h", "--dhcp-boot=boot.ipxe"]);
        command.arg(format!("--interface={name}")).arg("--enable-tftp");
        command.arg(format!("--tftp-root={}", files.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("it is ours"));
        let server = Self { child: command.spawn().expect("Debian's dnsmasq-base is installed"), log };
        eventually("dnsmasq serves", || server.log().contains("DHCP, sockets bound"));
        server
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails unless it gave the machine with this MAC address an address, and both files.
    #[track_caller]
    pub fn assert_served(&self, mac: &str) {
        let big = format!("sent {}", scratch("tftp").join("big").display());
        // The guest may have gone before dnsmasq has seen its last word.
        eventually("both were sent", || self.log().contains(&big));
        let log = self.log();
        let address =
            log.lines().find_map(|line| line.split_once("DHCPACK(").filter(|(_, rest)| rest.contains(mac)));
        let address = address
            .and_then(|(_, rest)| rest.split_whitespace().nth(1))
            .unwrap_or_else(|| panic!("no lease for {mac}:\n{log}"));
        for file in ["boot.ipxe", "big"] {
            let sent = format!("sent {} to {address}", scratch("tftp").join(file).display());
            assert!(log.contains(&sent), "not {sent}:\n{log}");
        }
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- dnsmasq:\n{}---", self.log());
        }
    }
}
