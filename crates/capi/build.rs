//! Gives the library the name under which programs find it at run time. Its number is that of the ABI, which
//! is the first of the version's numbers.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = var("CARGO_PKG_VERSION_MAJOR").expect("cargo says so");
    match var("CARGO_CFG_TARGET_OS").expect("cargo says so").as_str() {
        "linux" => println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhypertap.so.{major}"),
        "macos" => println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libhypertap.{major}.dylib"),
        _ => {}
    }
}
