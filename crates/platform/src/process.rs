//! What this process is.

use std::os::fd::AsFd;

use nix::sys::stat::{SFlag, fstat};
use nix::unistd::geteuid;

/// This process's effective user id.
pub fn effective_uid() -> u32 {
    geteuid().as_raw()
}

/// Whether that is root's.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether a descriptor is a socket.
pub fn is_socket(descriptor: impl AsFd) -> bool {
    fstat(descriptor.as_fd())
        .is_ok_and(|file| SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_one_and_a_file_is_none() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(is_socket(&socket));
        assert!(!is_socket(std::fs::File::open("/dev/null").expect("a file")));
    }
}
