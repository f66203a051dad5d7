//! Internet addresses as recvmmsg(2) and sendmmsg(2) have them.

use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;

use libc::{c_int, sockaddr_in, sockaddr_in6, sockaddr_storage};

/// The address in the first `len` bytes of `name`, if it is one.
pub(super) fn source(name: &sockaddr_storage, len: usize) -> Option<SocketAddr> {
    match c_int::from(name.ss_family) {
        libc::AF_INET if len >= mem::size_of::<sockaddr_in>() => {
            // SAFETY: a sockaddr_storage is large enough and aligned for every address, and the
            // family says that this is one.
            let name = unsafe { &*ptr::from_ref(name).cast::<sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 if len >= mem::size_of::<sockaddr_in6>() => {
            // SAFETY: as above.
            let name = unsafe { &*ptr::from_ref(name).cast::<sockaddr_in6>() };
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(name.sin6_addr.s6_addr.into(), port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// How long an address is.
pub(super) fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).expect("addresses are small")
}

/// An address, and how many bytes of it count.
pub(super) fn name_of(address: SocketAddr) -> (sockaddr_storage, libc::socklen_t) {
    // SAFETY: for all these types all bytes zero is a valid value.
    let mut storage: sockaddr_storage = unsafe { mem::zeroed() };
    match address {
        SocketAddr::V4(address) => {
            let mut name: sockaddr_in = unsafe { mem::zeroed() };
            name.sin_family = libc::sa_family_t::try_from(libc::AF_INET).expect("families are small");
            name.sin_port = address.port().to_be();
            name.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            // SAFETY: a sockaddr_storage is large enough and aligned for every address.
            unsafe { ptr::from_mut(&mut storage).cast::<sockaddr_in>().write(name) };
            (storage, socklen::<sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            // SAFETY: all bytes zero is a valid value.
            let mut name: sockaddr_in6 = unsafe { mem::zeroed() };
            name.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).expect("families are small");
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_scope_id = address.scope_id();
            // SAFETY: as above.
            unsafe { ptr::from_mut(&mut storage).cast::<sockaddr_in6>().write(name) };
            (storage, socklen::<sockaddr_in6>())
        }
    }
}
