//! Checks of targets.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::thread;

use hypertap_tests::eventually;
use hypertap_tests::namespaces::in_namespaces;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::scene::{Scene, listen};

/// Takes connections for ever: of clients and of checks.
fn take_all(listener: TcpListener) {
    thread::spawn(move || listener.incoming().for_each(drop));
}

#[test]
fn a_target_is_not_asked_while_its_last_check_failed() {
    in_namespaces(|| {
        let scene = Scene::new(json!({
            "checked": {"target": "/tcp/8080", "check": {"intervalSeconds": 3600}},
            "unchecked": "/tcp/8080",
        }));
        let (_near, far) = scene.start();
        far.log_with("failing: the target refuses connections");
        // The target is there now, but the next check is far away.
        let listener = listen(8080);
        let refused = TcpStream::connect((scene.far.service("checked"), 80)).expect_err("its check fails");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        listener.set_nonblocking(true).expect("it is open");
        let nobody = listener.accept().expect_err("the target is not asked");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
        TcpStream::connect((scene.far.service("unchecked"), 80)).expect("only the checked one is refused");
    });
}

#[test]
fn a_check_goes_with_what_is_checked() {
    in_namespaces(|| {
        let services = |target| json!({"web": {"target": target, "check": {"intervalSeconds": 3600}}});
        let scene = Scene::new(services("/tcp/8080"));
        let (_near, far) = scene.start();
        far.log_with("failing: the target refuses connections");
        let says = || scene.far.ask(&["services", "--json"]).json()["services"][0]["check"]["says"].clone();
        assert_eq!(says(), "failing: the target refuses connections");
        let listener = listen(9090);
        take_all(listener);
        scene.far.set("services", services("/tcp/9090"));
        far.signal(Signal::SIGHUP);
        eventually("another target has another check", || says() == "good");
        TcpStream::connect((scene.far.service("web"), 80)).expect("its target is there");
        scene.far.set("services", json!({"web": "/tcp/9"}));
        far.signal(Signal::SIGHUP);
        eventually("there is no check any more", || says().is_null());
    });
}

#[test]
fn a_service_follows_its_target_up_and_down() {
    in_namespaces(|| {
        let check = json!({"intervalSeconds": 1});
        let scene = Scene::new(json!({
            "tcp": {"target": "/tcp/8080", "check": check},
            "unix": {"target": "/unix/run/test/app.sock", "check": check},
        }));
        let (_near, far) = scene.start();
        far.log_with("failing");
        let unix = std::os::unix::net::UnixListener::bind("/run/test/app.sock").expect("the folder is ours");
        take_all(listen(8080));
        for name in ["tcp", "unix"] {
            let address = (scene.far.service(name), 80);
            eventually("its target is there", || TcpStream::connect(address).is_ok());
        }
        drop(unix);
        let address = (scene.far.service("unix"), 80);
        eventually("its target is gone", || far.log().matches("failing").count() >= 3);
        let refused = TcpStream::connect(address).expect_err("its target is gone");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}
