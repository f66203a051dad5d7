//! Programs that open `/dev/net/tun`, unmodified, under `hypertap shim`: real ones, and ones that nobody
//! could stand in for by a library. Each is run by a user without rights.

#[path = "shim/life.rs"]
mod life;
#[path = "shim/scene.rs"]
mod scene;

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hypertap_tests::daemon::binary;
use hypertap_tests::frame::frame;
use hypertap_tests::machine::{Uplink, ping, run, scratch};
use hypertap_tests::peer::STRANGER;
use hypertap_tests::program::Program;
use hypertap_tests::tap::{self, FrameClient, Wire};
use hypertap_tests::{Setup, eventually, in_namespaces, in_namespaces_within};
use nix::sys::signal::Signal;

use scene::{Shim, Switch, echo_in_c, echo_in_go, in_far, server};

/// A type for experiments.
const ECHO: u16 = 0x88b5;
const US: [u8; 6] = [2, 0, 0, 0, 0, 0x20];
const PROGRAM: [u8; 6] = [2, 0, 0, 0, 0, 0x55];

/// Sends a frame that the echo program sends back, until it does: it may not be there yet.
#[track_caller]
fn assert_echoes(station: &FrameClient, payload: &[u8]) {
    let sent = frame([0xff; 6], US, ECHO, payload);
    let wanted = frame(US, PROGRAM, ECHO, payload);
    eventually("the frame comes back", || {
        station.send(&sent);
        station.receive(Duration::from_millis(100)).as_ref() == Some(&wanted)
    });
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Two programs that bridge a TAP and each other: the machine's two ends reach one another.
#[track_caller]
fn assert_bridged(near: &[String], far: &[String]) {
    let (ours, theirs) = (scratch("near"), scratch("far"));
    let _servers = [server(false, &ours, "10.9.0.1/24"), server(true, &theirs, "10.9.0.2/24")];
    let at = |path: &Path| format!("--tap={}", path.display());
    let mut programs = [Shim::start(false, &[&at(&ours)], near), Shim::start(true, &[&at(&theirs)], far)];
    eventually("a ping is answered", || ping("10.9.0.2", &["-W1"]));
    eventually("a full frame goes through", || ping("10.9.0.2", &["-W1", "-s1472", "-Mdont"]));
    for program in &mut programs {
        program.signal(Signal::SIGTERM);
    }
    for mut program in programs {
        assert_eq!(program.end().code(), Some(0), "{}", program.log());
    }
}

#[test]
fn openvpn_bridges_two_machines() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let key = scratch("key");
        run("openvpn", &["--genkey".as_ref(), "secret".as_ref(), key.as_os_str()]);
        chown(&key, Some(STRANGER), None).expect("root may");
        let with = |device: &str, ours: &str, theirs: &str| {
            let link = format!("--cipher AES-256-CBC --local {ours} --remote {theirs}");
            words(&format!("openvpn {device} --secret {} {link}", key.display()))
        };
        assert_bridged(
            &with("--dev tap0", "192.0.2.1", "192.0.2.2"),
            &with("--dev tap --dev-type tap", "192.0.2.2", "192.0.2.1"),
        );
    });
}

#[test]
fn tinc_switches_between_two_machines() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        for (us, other, address) in [("near", "far", "192.0.2.1"), ("far", "near", "192.0.2.2")] {
            let folder = scratch(&format!("tinc-{us}"));
            fs::create_dir_all(folder.join("hosts")).expect("the folder is ours");
            let conf = format!(
                "Name={us}\nConnectTo={other}\nMode=switch\nDeviceType=tap\nInterface=tap0\n\
                 AddressFamily=ipv4\nBindToAddress={address}\n"
            );
            fs::write(folder.join("tinc.conf"), conf).expect("written");
            let (secret, public) = (folder.join("rsa_key.priv"), folder.join("public"));
            let made = |args: &[&str], file: &Path| {
                let mut words: Vec<&str> = args.to_vec();
                words.extend(["-out", file.to_str().expect("text")]);
                run("openssl", &words);
            };
            made(&["genpkey", "-quiet", "-algorithm", "RSA"], &folder.join("key"));
            let key = folder.join("key");
            let key = key.to_str().expect("text");
            made(&["rsa", "-traditional", "-in", key], &secret);
            made(&["rsa", "-RSAPublicKey_out", "-in", key], &public);
            let public = fs::read_to_string(public).expect("written");
            let host = format!("Address={address}\nPort=6550\n{public}");
            for at in ["near", "far"] {
                let hosts = scratch(&format!("tinc-{at}/hosts"));
                fs::create_dir_all(&hosts).expect("the folder is ours");
                fs::write(hosts.join(us), &host).expect("written");
            }
            chown(&secret, Some(STRANGER), None).expect("root may");
            chown(&folder, Some(STRANGER), None).expect("root may");
        }
        let with = |us: &str| {
            let folder = scratch(&format!("tinc-{us}"));
            words(&format!("tincd -D -c {0} --pidfile={0}/pid", folder.display()))
        };
        assert_bridged(&with("near"), &with("far"));
    });
}

#[test]
fn qemu_joins_a_tap_without_a_script() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let with = |tap: &str, ours: &str, theirs: &str| {
            let far = format!(
                "dgram,id=far,local.type=inet,local.host={ours},local.port=5000,remote.type=inet,\
                 remote.host={theirs},remote.port=5000"
            );
            let bare = "qemu-system-x86_64 -M none -nodefaults -display none -monitor none -serial none";
            let hub = "-netdev hubport,id=a,hubid=0,netdev=tap -netdev hubport,id=b,hubid=0,netdev=far";
            words(&format!("{bare} -netdev tap,id=tap,script=no,downscript=no{tap} -netdev {far} {hub}"))
        };
        assert_bridged(&with("", "192.0.2.1", "192.0.2.2"), &with(",ifname=lan7", "192.0.2.2", "192.0.2.1"));
    });
}

#[test]
fn socat_s_tun_is_a_tunnel_at_the_address_that_it_sets() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let state = scratch("far-state");
        fs::create_dir_all(&state).expect("the folder is ours");
        let state = state.to_str().expect("text");
        let _near = Setup::new().args(&["--group", "nogroup"]).start();
        let _far = Setup::new().args(&["--group", "nogroup", "--state-dir", state]).through(in_far()).start();
        let udp = |ours: &str, theirs: &str| format!("UDP-DATAGRAM:{theirs}:5555,bind={ours}:5555");
        let near = Shim::start(
            false,
            &["--tunnel=/run/hypertap/control.sock"],
            &["socat", "TUN:10.7.0.1/24,iff-up", &udp("192.0.2.1", "192.0.2.2")],
        );
        // The other way to say an address, for programs that set none.
        let control = format!("--tunnel={state}/control.sock");
        let far = Shim::start(
            true,
            &[&control, "--address=10.7.0.2", "--route=10.7.0.0/24"],
            &["socat", "TUN,tun-name=vpn", &udp("192.0.2.2", "192.0.2.1")],
        );
        near.expect("the program has a TUN");
        far.expect("the program has a TUN");
        eventually("a ping is answered", || ping("10.7.0.2", &["-W1"]));
    });
}

/// What the echo program said, without what is another thing with a kernel's interface: that may persist, and it
/// can do more.
fn told_by(log: &str) -> Vec<String> {
    let not_ours = |line: &&str| {
        let is_logged = line.split_once('T').is_some_and(|(date, _)| date.split('-').count() == 3);
        !is_logged && !line.starts_with("features ") && !line.starts_with("TUNSETPERSIST to 1")
    };
    log.lines()
        .filter(not_ours)
        .take_while(|line| !line.starts_with("protocol "))
        .map(str::to_owned)
        .collect()
}

/// The same of the machine's own TUN, by root.
#[track_caller]
fn told_by_the_kernel(echo: &str, flags: &str) -> Vec<String> {
    let log = scratch("kernel");
    let file = File::create(&log).expect("the folder is ours");
    let mut program =
        Command::new(echo).args([flags, "mytap%d"]).stdout(file).spawn().expect("it is a program");
    let said = || fs::read_to_string(&log).expect("the folder is ours");
    eventually("it has asked for all", || said().contains("mtu 1500\n"));
    program.kill().expect("it runs");
    program.wait().expect("it ends");
    told_by(&said())
}

#[test]
fn a_static_program_is_told_what_the_kernel_would_tell_it() {
    in_namespaces(|| {
        let switch = Switch::start();
        let echo = echo_in_c();
        // Bare, with packet information, with a virtio header, and with both.
        for (flags, told) in [("1002", "1002"), ("2", "1002"), ("5002", "5002"), ("4002", "5002")] {
            let mut program = switch.shim(&[echo.as_str(), flags, "mytap%d"]);
            assert_echoes(&switch.station, b"hello, there");
            let mut long = vec![7; 1500];
            long[0] = b'l';
            assert_echoes(&switch.station, &long);
            program.expect(&format!("is mytap0 mytap0 {told}\nfeatures 7003\n"));
            program.expect("TUNSETPERSIST to 1: Operation not permitted\n");
            program.expect("TUNSETPERSIST is not supported");
            program.expect("mtu 1500\n");
            assert_eq!(told_by(&program.log()), told_by_the_kernel(&echo, flags), "{flags}");
            if flags == "2" {
                program.expect("protocol 88b5");
            }
            switch.station.send(&frame([0xff; 6], US, ECHO, b"x7"));
            assert_eq!(program.end().code(), Some(7));
        }
    });
}

#[test]
fn a_static_go_program_has_a_tap() {
    in_namespaces_within(Duration::from_secs(120), || {
        let switch = Switch::start();
        let mut program = switch.shim(&[echo_in_go()]);
        for round in 0..20 {
            assert_echoes(&switch.station, &[round; 100]);
        }
        program.expect("is go0\n");
        switch.station.send(&frame([0xff; 6], US, ECHO, b"x3"));
        assert_eq!(program.end().code(), Some(3));
    });
}

#[test]
fn what_cannot_be_had_is_refused_and_said() {
    in_namespaces(|| {
        let switch = Switch::start();
        let echo = echo_in_c();
        for (flags, said) in [
            ("1102", "several queues (IFF_MULTI_QUEUE of TUNSETIFF)"),
            ("1003", "TUNSETIFF: Invalid argument"),
        ] {
            let mut program = switch.shim(&[echo.as_str(), flags]);
            assert_eq!(program.end().code(), Some(2));
            program.expect("TUNSETIFF: Invalid argument");
            program.expect(said);
        }
        let mut program = Shim::start(false, &["--tap=/run/test/nobody"], &[echo.as_str(), "1002"]);
        assert_eq!(program.end().code(), Some(2));
        program.expect("no tap server answers");
        program.expect("TUNSETIFF: No such device");
        // A TUN whose daemon is not there, but only once it has an address.
        let options = ["--tunnel=/run/test/nobody", "--address=10.7.0.1"];
        let mut program = Shim::start(false, &options, &[echo.as_str(), "1001"]);
        assert_eq!(program.end().code(), Some(2));
        program.expect("the program gets no TUN");
        let socat = ["socat", "TUN:10.7.0.1/24,iff-up", "STDIO"];
        let mut program = Shim::start(false, &["--tunnel=/run/test/nobody"], &socat);
        assert_eq!(program.end().code(), Some(1));
        program.expect(
            "the program gets no TUN: cannot connect to the daemon at /run/test/nobody: No such file",
        );
        let inner = binary().to_string_lossy().into_owned();
        let mut program = switch.shim(&[inner.as_str(), "shim", "--", "true"]);
        assert_eq!(program.end().code(), Some(1));
        program.expect("Linux allows one at a time");
        for (name, code) in [("/run/test/nobody", 127), ("/etc/passwd", 126)] {
            let mut program = switch.shim(&[name]);
            assert_eq!(program.end().code(), Some(code));
            program.expect(&format!("cannot start {name}: "));
        }
    });
}

#[test]
fn signals_and_ends_go_both_ways() {
    in_namespaces(|| {
        let mut switch = Switch::start();
        let echo = echo_in_c();
        // A signal is the program's.
        let mut program =
            switch.shim(&["sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"]);
        program.expect("ready");
        program.signal(Signal::SIGUSR1);
        assert_eq!(program.end().code(), Some(9));
        // The program's death is the connection's end.
        let mut program = switch.shim(&[echo.as_str(), "1002"]);
        assert_echoes(&switch.station, b"hello, there");
        let went = || switch.server.log().matches("a client went").count();
        let before = went();
        program.signal(Signal::SIGTERM);
        assert_eq!(program.end().code(), Some(128 + 15));
        eventually("the server sees it go", || went() > before);
        // The server's end is read as one, or waited for another.
        let mut ends = switch.shim(&[echo.as_str(), "1002"]);
        let lan = format!("--tap={}", switch.path);
        let mut stays = Shim::start(false, &["--reconnect", &lan], &[echo.as_str(), "1002", "stays"]);
        ends.expect("mtu 1500\n");
        stays.expect("mtu 1500\n");
        switch.server.signal(Signal::SIGTERM);
        switch.server.assert_ends_well();
        assert_eq!(ends.end().code(), Some(0));
        ends.expect("end 0\n");
        ends.expect("the server has ended");
        stays.expect("another is looked for");
        let again = Switch::start();
        stays.expect("a server is there again");
        assert_echoes(&again.station, b"hello again");
        stays.signal(Signal::SIGTERM);
        assert_eq!(stays.end().code(), Some(128 + 15));
    });
}

#[test]
fn what_anybody_may_have_put_at_a_default_place_is_not_used() {
    in_namespaces(|| {
        let runtime = scratch("runtime");
        let path = runtime.join("hypertap");
        fs::create_dir_all(&path).expect("the folder is ours");
        let _server = server(false, &path.join("tap"), "10.9.0.1/24");
        let echo = echo_in_c();
        // Of root's making it is as good as the user's own.
        let good = Shim::start_in(&runtime, false, &[], &[echo.as_str(), "1002"]);
        good.expect("mtu 1500\n");
        chown(&path, Some(STRANGER + 1), None).expect("root may");
        let mut bad = Shim::start_in(&runtime, false, &[], &[echo.as_str(), "1002"]);
        assert_eq!(bad.end().code(), Some(2));
        bad.expect("others could have made what is in this state directory");
        // The folder is right, but who listens is not.
        chown(&path, Some(STRANGER), None).expect("root may");
        let script = "import os, socket, sys, time\nsock = socket.socket(socket.AF_UNIX)\n\
                      sock.bind(sys.argv[1])\nos.chmod(sys.argv[1], 0o777)\nos.setresuid(4321, 4321, 4321)\n\
                      sock.listen()\ntime.sleep(60)";
        fs::remove_file(path.join("tap")).expect("it is there");
        let mut other = Command::new("python3");
        let mut other = other.args(["-c", script]).arg(path.join("tap")).spawn().expect("it is a program");
        eventually("it listens", || UnixStream::connect(path.join("tap")).is_ok());
        let mut bad = Shim::start_in(&runtime, false, &[], &[echo.as_str(), "1002"]);
        assert_eq!(bad.end().code(), Some(2));
        bad.expect("user 4321 listens there");
        let named = format!("--tap={}/tap", path.display());
        let named = Shim::start(false, &[&named], &[echo.as_str(), "1002"]);
        named.expect("mtu 1500\n");
        other.kill().expect("it runs");
        other.wait().expect("it ends");
    });
}

#[test]
fn a_server_that_is_full_is_tried_more_and_more_seldom() {
    in_namespaces(|| {
        let path = scratch("full").to_string_lossy().into_owned();
        let listen = format!("--listen={path},framing=le16");
        let _server = tap::start(&[&listen, "--socket-mode=0666", "--keep", "--no-host"]);
        let _only = FrameClient::unix(&path, Wire::Le16);
        let lan = format!("--tap={path}");
        let program = Shim::start(false, &["--reconnect", &lan], &[&echo_in_c(), "1002"]);
        program.expect("tried more and more seldom");
        program.expect("ended at once again");
        assert_eq!(program.log().matches("a server is there again").count(), 1);
    });
}

#[test]
fn a_terminal_s_signals_reach_what_they_would_without_a_shim() {
    in_namespaces(|| {
        // In a session of its own: closed, the terminal tells only its leader, which is the shim; and Ctrl-C
        // reaches no daemon by itself.
        let script = r#"
import os, pty, signal, sys, time
signal.alarm(30)
def start(program):
    pid, terminal = pty.fork()
    if pid == 0: os.execv(sys.argv[1], [sys.argv[1], 'shim', '--', 'python3', '-c', program])
    said = b''
    while b'ready' not in said: said += os.read(terminal, 1000)
    return pid, terminal
pid, terminal = start('import time; print("ready", flush=True); time.sleep(100)')
os.close(terminal)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
daemon = 'import os, time; os.fork() and os._exit(5); os.setsid(); print("ready", flush=True); time.sleep(100)'
pid, terminal = start(daemon)
ended = 0, 0
while ended[0] == 0:
    os.write(terminal, b'\x03')
    time.sleep(0.05)
    ended = os.waitpid(pid, os.WNOHANG)
assert os.waitstatus_to_exitcode(ended[1]) == 5
"#;
        run("python3", &["-c".as_ref(), script.as_ref(), binary().as_os_str()]);
    });
}

#[test]
fn a_daemon_that_leaves_its_parent_keeps_its_interface() {
    in_namespaces(|| {
        let switch = Switch::start();
        let echo = echo_in_c();
        let mut program = switch.shim(&["sh", "-c", "setsid \"$0\" 1002 & exit 5", &echo]);
        assert_echoes(&switch.station, b"hello, there");
        switch.station.send(&frame([0xff; 6], US, ECHO, b"x7"));
        assert_eq!(program.end().code(), Some(5), "the code is the program's own");
    });
}
