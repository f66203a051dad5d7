//! Programs that know nothing of hypertap, through services: each one's own client says that all is well.

use std::fs;
use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hypertap_tests::machine::{output, run, scratch};
use hypertap_tests::namespaces::{in_namespaces, needs_root};
use hypertap_tests::{Daemon, eventually};
use nix::unistd::{Uid, User};
use serde_json::{Value, json};

use crate::bytes::pattern;
use crate::scene::{Scene, in_far};

/// Who the database runs as, which root may not be.
const NOBODY: u32 = 65534;
/// What is moved where it is one file, in bytes.
const FILE: usize = 10_000_000;

/// A server in the far namespace, until it is dropped.
struct Server(Child);

impl Server {
    /// Starts it, and waits until it listens on this port of its own machine alone.
    #[track_caller]
    fn start(port: u16, mut command: Command) -> Self {
        let log = scratch("server-log");
        let file = fs::File::create(&log).expect("it is ours");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a descriptor")).stderr(file);
        let mut server = Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("the server listens", || {
            let ended = server.0.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{}", fs::read_to_string(&log).unwrap_or_default());
            in_far(|| TcpStream::connect(address).is_ok())
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command in the far namespace.
fn far(program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "far", program]);
    command
}

/// Runs a client to its good end; what it printed.
#[track_caller]
fn said(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}: is it installed?"));
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {complaint}");
    String::from_utf8(done.stdout).expect("text")
}

/// Both nodes, one of which has one service, and its address.
struct Served {
    address: Ipv6Addr,
    _nodes: (Daemon, Daemon),
    _scene: Scene,
}

#[track_caller]
fn serve(name: &str, port: u16) -> Served {
    let scene = Scene::new(json!({name: format!("/tcp/{port}")}));
    let nodes = scene.start();
    Served { address: scene.far.service(name), _nodes: nodes, _scene: scene }
}

#[test]
fn curl_gets_a_file_from_a_web_server_on_any_port() {
    in_namespaces(|| {
        let served = serve("web", 8080);
        let address = served.address;
        let folder = scratch("web");
        fs::create_dir(&folder).expect("it is ours");
        fs::write(folder.join("file"), pattern(FILE, 1)).expect("it is ours");
        let mut command = far("python3");
        command.args(["-m", "http.server", "8080", "--bind", "127.0.0.1", "--directory"]).arg(&folder);
        let _server = Server::start(8080, command);
        let got = scratch("got");
        for port in [80, 8443] {
            let url = format!("http://[{address}]:{port}/file");
            said("curl", &["--silent", "--fail", "--output", got.to_str().expect("text"), &url]);
            assert!(fs::read(&got).expect("curl wrote it") == pattern(FILE, 1), "another file came");
        }
    });
}

#[test]
fn psql_asks_postgresql() {
    in_namespaces(|| {
        let served = serve("db", 5433);
        let address = served.address;
        needs_root();
        let data = scratch("data");
        fs::create_dir(&data).expect("it is ours");
        chown(&data, Some(NOBODY), Some(NOBODY)).expect("we are root");
        fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("it is there");
        let path = data.to_str().expect("text").to_owned();
        let as_nobody = |program: &str| {
            let mut command = far("setpriv");
            let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()];
            command.args(ids).arg("--").arg(postgresql(program)).current_dir("/");
            command
        };
        let mut initdb = as_nobody("initdb");
        initdb.args(["--pgdata", &path, "--username=tester", "--auth=trust", "--locale=C", "--no-sync"]);
        let done = output(&mut initdb);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let mut postgres = as_nobody("postgres");
        postgres.args(["-D", &path, "-h", "127.0.0.1", "-p", "5433", "-k", "", "-c", "fsync=off"]);
        let _server = Server::start(5433, postgres);
        // It listens before that.
        let is_ready = || output(far("pg_isready").args(["-h", "127.0.0.1", "-p", "5433"])).status.success();
        eventually("it takes queries", is_ready);
        let place = format!("host={address} port=5432 user=tester dbname=postgres sslmode=disable");
        let ask = |query: &str| said("psql", &["--no-psqlrc", "-qAt", "-d", &place, "-c", query]);
        assert_eq!(ask("select sum(n) from generate_series(1, 100000) n"), "5000050000\n");
        let rows = ask("select n, repeat('x', 100) from generate_series(1, 50000) n");
        assert_eq!((rows.lines().count(), rows.lines().last().map(str::len)), (50_000, Some(106)));
    });
}

/// A program of the database server, which Debian keeps by its version.
fn postgresql(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("Debian's postgresql is installed");
    let mut found: Vec<_> =
        versions.map(|version| version.expect("a folder").path().join("bin").join(program)).collect();
    found.retain(|file| file.exists());
    found.pop().expect("Debian's postgresql is installed")
}

#[test]
fn redis_answers_many_clients_at_once() {
    in_namespaces(|| {
        let served = serve("cache", 6380);
        let address = served.address;
        // The program is the server when it is called so.
        let mut command = far("sh");
        let script = "exec -a redis-server redis-check-rdb \"$@\"";
        command.args(["-c", &format!("exec bash -c '{script}' bash \"$@\""), "sh"]);
        command.args(["--port", "6380", "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
        let _server = Server::start(6380, command);
        let address = address.to_string();
        let ask = |words: &[&str]| said("redis-cli", &[&["-h", &address, "-p", "6379"], words].concat());
        let value = "value ".repeat(20_000);
        assert_eq!(ask(&["SET", "key", &value]), "OK\n");
        assert_eq!(ask(&["GET", "key"]).trim_end_matches('\n'), value);
        let args =
            ["-h", &address, "-p", "6379", "-c", "50", "-n", "5000", "-d", "1000", "-t", "set,get", "--csv"];
        let figures = said("redis-benchmark", &args);
        assert!(figures.contains("\"SET\"") && figures.contains("\"GET\""), "{figures}");
    });
}

#[test]
fn ssh_logs_in_and_copies() {
    in_namespaces(|| {
        let served = serve("shell", 2222);
        let address = served.address;
        needs_root();
        let home = User::from_uid(Uid::from_raw(0)).expect("it can be asked").expect("root is there").dir;
        run("mount", &["-t", "tmpfs", "-o", "mode=0700", "none", home.to_str().expect("text")]);
        let (key, folder) = (scratch("key"), home.join(".ssh"));
        let key = key.to_str().expect("text");
        said("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]);
        fs::create_dir(&folder).expect("it is ours");
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).expect("it is ours");
        fs::copy(format!("{key}.pub"), folder.join("authorized_keys")).expect("ssh-keygen wrote it");
        let host_key = scratch("host-key");
        let host_key = host_key.to_str().expect("text");
        said("dropbearkey", &["-t", "ed25519", "-f", host_key]);
        let mut command = far("dropbear");
        command.args(["-F", "-E", "-s", "-r", host_key, "-p", "127.0.0.1:2222"]);
        let _server = Server::start(2222, command);
        let to = format!("root@{address}");
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", &to, "cat"]);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut client = ssh.spawn().expect("ssh is installed");
        let mut input = client.stdin.take().expect("a pipe");
        let writer = std::thread::spawn(move || input.write_all(&pattern(FILE, 2)));
        let done = client.wait_with_output().expect("it is our child");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        writer.join().expect("it does not panic").expect("ssh takes all");
        assert!(done.stdout == pattern(FILE, 2), "{} other bytes came back", done.stdout.len());
    });
}

#[test]
fn iperf3_loads_a_service_both_ways() {
    in_namespaces(|| {
        let served = serve("speed", 5201);
        let address = served.address;
        let mut command = far("iperf3");
        command.args(["--server", "--bind", "127.0.0.1", "--forceflush"]);
        let _server = Server::start(5201, command);
        let address = address.to_string();
        // It listens anew for each, and has done so for the one that asked whether it is there.
        let log = || fs::read_to_string(scratch("server-log")).expect("it is there");
        let said_so = || log().matches("Server listening").count();
        for (turn, extra) in (2..).zip([&[][..], &["--reverse"], &["--bidir"], &["--parallel", "8"]]) {
            let args = [&["--client", &address, "--time", "1", "--json"], extra].concat();
            eventually("the server is free", || said_so() == turn);
            let report: Value = serde_json::from_str(&said("iperf3", &args)).expect("JSON");
            let bytes = &report["end"]["sum_received"]["bytes"];
            assert!(bytes.as_u64().is_some_and(|bytes| bytes > 1_000_000), "{extra:?}: {report}");
        }
    });
}
