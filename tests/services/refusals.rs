//! What a program sees of a connection that does not come about.

use std::io::ErrorKind;
use std::net::TcpStream;

use hypertap_tests::namespaces::in_namespaces;
use nix::errno::Errno;
use serde_json::json;

use crate::scene::{Scene, listen};

#[test]
fn each_refusal_is_the_error_that_the_reason_has() {
    in_namespaces(|| {
        let denied = json!({"target": "/tcp/8080", "acl": {"blacklist": ["@near"]}});
        let scene = Scene::new(json!({"web": "/tcp/8080", "shut": "/tcp/9", "private": denied}));
        let listener = listen(8080);
        let (_near, far) = scene.start();
        let connect = |name: &str| TcpStream::connect((scene.far.service(name), 80));
        connect("web").expect("it is reachable");
        listener.accept().expect("it was connected");
        for name in ["shut", "nothing"] {
            let refused = connect(name).expect_err("there is nothing");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{name}");
        }
        let denied = connect("private").expect_err("it is not for this node");
        assert_eq!(denied.raw_os_error(), Some(Errno::EACCES as i32), "{denied}");
        listener.set_nonblocking(true).expect("it is open");
        let nobody = listener.accept().expect_err("the refused are not connected");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);

        drop(far);
        let gone = connect("web").expect_err("its node is gone");
        assert_eq!(gone.raw_os_error(), Some(Errno::EHOSTUNREACH as i32), "{gone}");
    });
}
